/*
 * lock.c - see lock.h. The states are those of Drepper, "Futexes are tricky" (2011), mutex 2.
 */
#include "lock.h"

#include <errno.h>
#include <linux/futex.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <unistd.h>

#define SPINS 100 /* about as long as a holder needs for a magazine of objects */

void lock_wait(struct lock *l)
{
    int saved = errno;

    for (unsigned i = 0; i < SPINS; i++) {
        unsigned expected = 0;

        if (atomic_load_explicit(&l->state, memory_order_relaxed) == 0 &&
            atomic_compare_exchange_weak_explicit(&l->state, &expected, 1, memory_order_acquire,
                                                  memory_order_relaxed)) {
            return;
        }
        __builtin_ia32_pause();
    }
    while (atomic_exchange_explicit(&l->state, 2, memory_order_acquire) != 0) {
        syscall(SYS_futex, &l->state, FUTEX_WAIT_PRIVATE, 2, NULL, NULL, 0);
    }
    errno = saved;
}

void lock_wake(struct lock *l)
{
    int saved = errno;

    syscall(SYS_futex, &l->state, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
    errno = saved;
}
