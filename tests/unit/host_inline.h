/*
 * host_inline.h - what mm/port.h asks for most often, for mm/ itself (MM_PORT_INLINE).
 */
#ifndef HOST_INLINE_H
#define HOST_INLINE_H

extern _Thread_local unsigned host_cpu
    __attribute__((tls_model("local-exec"))); /* host_set_cpu() */

static inline unsigned port_cpu(void)
{
    return host_cpu;
}

#endif
