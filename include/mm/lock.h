/*
 * lock.h - the spin lock of mm/, with ranks.
 *
 * Model:    a processor takes locks in strictly rising rank, interrupts off while it holds one. The
 *           ranks it holds are bits of *port_held_ranks(), so one that takes a lock out of order,
 *           or drops it so, is stopped at once, in every build.
 *
 * Context:  any, interrupt handlers included. The order, and what each lock guards, is in
 *           docs/locking.md.
 */
#ifndef MM_LOCK_H
#define MM_LOCK_H

#include <stdatomic.h>

#include "mm/port.h"

/* Lowest rank is taken first (outermost). */
enum mm_rank {
    MM_RANK_VMALLOC, /* the list of virtual ranges */
    MM_RANK_DMA,     /* memory for devices */
    MM_RANK_SLABS,   /* the caches of one struct slab_set */
    MM_RANK_SLAB,    /* one slab cache */
    MM_RANK_HEAP,    /* kmalloc */
    MM_RANK_PAGING,  /* one set of page tables */
    MM_RANK_PMM,     /* one frame pool */
    MM_RANK_LOG,     /* the kernel's log ring and consoles */
};

struct mm_lock {
    atomic_uint taken;
    enum mm_rank rank;
};

#define MM_LOCK_INIT(r)                                                                            \
    {                                                                                              \
        .taken = 0, .rank = (r)                                                                    \
    }

/* As mm_lock(); *waited says whether another processor had the lock. */
static inline uint64_t mm_lock_noting(struct mm_lock *l, bool *waited)
{
    uint64_t irq = port_irq_save();
    uint32_t *held = port_held_ranks();

    MM_ASSERT((*held >> l->rank) == 0); /* else: taken out of order, or taken twice */
    *waited = false;
    while (atomic_exchange_explicit(&l->taken, 1, memory_order_acquire) != 0) {
        *waited = true;
        port_spin_hint();
    }
    *held |= UINT32_C(1) << l->rank;
    return irq;
}

/* Returns what mm_unlock() needs to put the interrupt state back. */
static inline uint64_t mm_lock(struct mm_lock *l)
{
    bool waited;

    return mm_lock_noting(l, &waited);
}

static inline void mm_unlock(struct mm_lock *l, uint64_t irq)
{
    uint32_t *held = port_held_ranks();

    MM_ASSERT((*held >> l->rank) == 1); /* locks are dropped in reverse order */
    *held &= ~(UINT32_C(1) << l->rank);
    atomic_store_explicit(&l->taken, 0, memory_order_release);
    port_irq_restore(irq);
}

/* Does this processor hold a lock of l's rank? It can hold only one, so that is as good as `l`. */
static inline bool mm_lock_is_held(const struct mm_lock *l)
{
    return (*port_held_ranks() >> l->rank & 1) != 0;
}

#endif
