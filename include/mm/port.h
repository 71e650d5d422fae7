/*
 * port.h - all that mm/ asks of the machine. Whoever lifts mm/ out implements these.
 *
 * The kernel's implementation is kernel/port.c, the host's tests/unit/host_port.c. What libmm.a
 * leaves undefined is exactly these names, beside what the compiler calls by itself: memcpy,
 * memmove, memset, memcmp and the stack protector's two. A test holds us to it.
 */
#ifndef MM_PORT_H
#define MM_PORT_H

#include "mm/types.h"

/*
 * A pointer through which the memory at `pa` is read and written.
 * Only asked for RAM that the direct map covers; stays valid for ever. Any context. O(1).
 */
void *port_ptr(pa_t pa);

/*
 * A broken invariant: report `fmt` with its arguments and stop this processor for good.
 * Any context, any locks held.
 */
_Noreturn void port_panic(const char *fmt, ...) MM_PRINTF(1, 2);

/* Mask interrupts on this processor; returns the state that port_irq_restore() puts back. Nests. */
uint64_t port_irq_save(void);
void port_irq_restore(uint64_t state);

/*
 * The number of this processor, from 0. A caller inside mm/ stays on it, and nothing else runs on
 * it but interrupt handlers, which finish first, until it returns from mm/: a kernel that preempts
 * itself, or a program with more threads than numbers, sees to that around its calls.
 *
 * Every operation of the frame pool asks, and a call costs as much as the rest of the shortest:
 * whoever compiles mm/ may have MM_PORT_INLINE name a header that defines this inline instead.
 */
#ifdef MM_PORT_INLINE
#include MM_PORT_INLINE
#else
unsigned port_cpu(void);
#endif

/*
 * Every other processor passes through a full memory barrier between the call and the return: what
 * it stored before is visible here, and what it loads after is current. Interrupts may be off, and
 * others may wait in port_spin_hint() with theirs off: that must not stop it.
 */
void port_fence_cpus(void);

/* The word in which this processor notes the ranks of the locks it holds (mm/lock.h). */
uint32_t *port_held_ranks(void);

/* Called by a processor that spins on a lock. */
void port_spin_hint(void);

/*
 * Drop every translation this machine's TLBs hold for [va, va + nbytes) of the address space whose
 * root table is at `root`, or, in the upper half, of every one; global ones included. Returns when
 * no processor can use a stale one any more. Interrupts are off, and a lock of MM_RANK_PAGING is
 * held, none above it.
 */
void port_tlb_flush(pa_t root, uint64_t va, uint64_t nbytes);

/* An O(1) fact that must hold; checked always. */
#define MM_ASSERT(cond)                                                                            \
    do {                                                                                           \
        if (__builtin_expect(!(cond), 0)) {                                                        \
            port_panic("%s:%u: assertion failed: %s", __FILE_NAME__, (unsigned)__LINE__, #cond);   \
        }                                                                                          \
    } while (0)

#endif
