/*
 * lock.h - a lock for threads of one process: an exchange if it is free, then a few turns of a
 * loop, then sleep in the kernel. Never allocates, unlike what a C library may do in its mutexes'
 * debugging aids, and may be held over a fork: it is a number.
 */
#ifndef PLATMALLOC_LOCK_H
#define PLATMALLOC_LOCK_H

#include <stdatomic.h>

/* 0: free, 1: taken, 2: taken, and somebody may sleep. All zeros is a good start. */
struct lock {
    atomic_uint state;
};

void lock_wait(struct lock *l);
void lock_wake(struct lock *l);

static inline void lock_take(struct lock *l)
{
    unsigned expected = 0;

    if (!atomic_compare_exchange_strong_explicit(&l->state, &expected, 1, memory_order_acquire,
                                                 memory_order_relaxed)) {
        lock_wait(l);
    }
}

static inline void lock_drop(struct lock *l)
{
    if (atomic_exchange_explicit(&l->state, 0, memory_order_release) == 2) {
        lock_wake(l);
    }
}

#endif
