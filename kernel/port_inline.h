/*
 * port_inline.h - what mm/port.h asks for most often, for mm/ itself (MM_PORT_INLINE).
 */
#ifndef PORT_INLINE_H
#define PORT_INLINE_H

#include "cpu/cpu.h"

static inline unsigned port_cpu(void)
{
    return cpu_this()->number;
}

#endif
