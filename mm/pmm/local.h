/*
 * local.h - changes to a word that interrupts of this processor cannot get in between.
 *
 * One instruction without the lock prefix: an interrupt comes before it or after it (SDM vol. 3A
 * 6.6), other processors may come in the middle. Who uses it must keep those out by other means.
 * Where there is no such instruction, or a tool has to see the access, the usual one serves.
 */
#ifndef MM_PMM_LOCAL_H
#define MM_PMM_LOCAL_H

#include <stdatomic.h>
#include <stdint.h>

#if defined(__SANITIZE_THREAD__)
#define LOCAL_IS_SHARED 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define LOCAL_IS_SHARED 1
#endif
#endif

#if defined(__x86_64__) && !defined(LOCAL_IS_SHARED)

static inline void local_and(_Atomic uint64_t *w, uint64_t mask)
{
    __asm__ volatile("andq %1, %0" : "+m"(*w) : "r"(mask) : "cc", "memory");
}

static inline void local_or(_Atomic uint64_t *w, uint64_t mask)
{
    __asm__ volatile("orq %1, %0" : "+m"(*w) : "r"(mask) : "cc", "memory");
}

static inline void local_add(_Atomic int64_t *w, int64_t n)
{
    __asm__ volatile("addq %1, %0" : "+m"(*w) : "er"(n) : "cc", "memory");
}

#else

static inline void local_and(_Atomic uint64_t *w, uint64_t mask)
{
    atomic_fetch_and_explicit(w, mask, memory_order_relaxed);
}

static inline void local_or(_Atomic uint64_t *w, uint64_t mask)
{
    atomic_fetch_or_explicit(w, mask, memory_order_relaxed);
}

static inline void local_add(_Atomic int64_t *w, int64_t n)
{
    atomic_fetch_add_explicit(w, n, memory_order_relaxed);
}

#endif

#endif
