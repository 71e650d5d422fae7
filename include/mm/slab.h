/*
 * slab.h - caches of objects of one size: slabs, magazines, and a fast path of a few instructions.
 *
 * Model:    after Bonwick (1994), and Bonwick and Adams (2001). A cache gets slabs, ranges of
 * memory aligned to their size, from a backing, and cuts them into objects. In front of the slabs
 * stand magazines, arrays of free objects: a struct slab_cpu has two of them and serves from them
 * without a lock; full and empty ones are exchanged at the cache's depot. Magazines grow when
 * processors wait for each other there.
 *
 *           A struct slab_set joins the caches that have one backing: they share the memory for
 *           magazines, and when memory runs short all of them are asked for what they don't use.
 *
 * Who has the struct slab_cpu: in a kernel the cache knows one for each processor, and slab_alloc()
 *           and slab_free() use that of port_cpu() with interrupts off. In a program a thread has
 *           its own, all zeros at first, passes them to slab_cpu_alloc() and slab_cpu_free(), and
 *           calls slab_cpu_drain() before it exits. An object may be freed through another one than
 *           it came from.
 *
 * Constructors: an object is constructed when it leaves its slab for the first time, and stays so
 *           until the slab goes back: whoever frees an object leaves it in the state in which it
 *           was given. Free objects are not written to then. Without a constructor an object has
 *           any contents, and the first 8 bytes of a free one are the cache's.
 *
 * Locking:  one lock a cache, rank MM_RANK_SLAB, and one a set, rank MM_RANK_SLABS, both taken
 *           inside, the backing is called under them. A struct slab_cpu is used by one context at
 *           a time. Nothing sleeps.
 *
 * Memory:   sets, caches and struct slab_cpu are the caller's, and stay where they are.
 *
 * Errors:   out of memory is NULL, after slab_set_reclaim() brought nothing. A second free, the
 *           free of what is not an object of the cache, a write to a free object and a damaged slab
 *           stop the machine (port_panic), saying which and who asked; the essay of mm/heap/slab.c
 *           says at which moment each is noticed.
 */
#ifndef MM_SLAB_H
#define MM_SLAB_H

#include <stdatomic.h>

#include "mm/backing.h"
#include "mm/lock.h"
#include "mm/types.h"

#define SLAB_MAX_OBJECT 8192u /* bytes */
#define SLAB_MAX_ALIGN  4096u
#define SLAB_LISTS      6u /* of slabs: four partly used ones by how full, empty, full */
#define SLAB_MAG_SIZES  5u /* of magazines: 64 bytes to 1 KiB */

struct slab;     /* the header of a slab, in front of its objects */
struct slab_set; /* see below */

struct slab_magazine {
    struct slab_magazine *next; /* in the depot */
    uint32_t capacity;          /* (const) */
    uint32_t nrounds;           /* objects in it; meaningless while it is a slab_cpu's loaded one */
    void *rounds[];
};

/*
 * The layer without a lock, of one cache: a loaded magazine and the previous one. All zeros is a
 * good start. Locking: the owner; (l) the cache's lock; what is atomic others may read as a hint.
 */
struct slab_cpu {
    void **_Atomic top;  /* in the loaded magazine: where the next object freed goes */
    void **_Atomic base; /* the loaded magazine's rounds; NULL: none is loaded */
    void **limit;        /* behind the last of them */
    struct slab_magazine *previous;
    _Atomic uint32_t previous_rounds; /* objects in it */
    struct slab_cache *cache;         /* (l) that knows this one, or NULL */
    struct slab_cpu *next, *prev;     /* (l) those that it knows */
} __attribute__((aligned(64)));

/* Locking: (const) set once by init   (l) the cache's lock   (s) the set's lock */
struct slab_cache {
    /* What the fast path reads. */
    uintptr_t slab_mask;   /* (const) an object's address & this: its slab */
    uint64_t mark_key;     /* (const) an object's address ^ this: what marks it as free */
    uint32_t mark_at;      /* (const) where in an object its mark is */
    uint32_t reciprocal;   /* (const) 2^32 / stride, rounded up */
    struct slab_cpu *cpus; /* (const) one for each processor, or NULL */

    const char *name;                   /* (const) */
    struct slab_set *set;               /* (const) */
    void (*ctor)(void *obj, void *ctx); /* (const) */
    void *ctx;                          /* (const) */
    size_t nbytes, align, stride;       /* (const) from one object to the next: stride */
    size_t slab_bytes;                  /* (const) */
    uint32_t nobjects;                  /* (const) in a slab */
    uint32_t first;                     /* (const) offset of the first, without colour */
    uint32_t colour_step, colour_max;   /* (const) bytes */
    uint64_t list_factor;               /* (const) 2^32 * partial lists / nobjects */
    uint32_t keep;                      /* (const) empty slabs that stay */

    struct mm_lock lock;
    struct slab *lists[SLAB_LISTS]; /* (l) */
    size_t nslabs, nempty;          /* (l) */
    size_t nout;                    /* (l) objects that are not in slabs */
    uint32_t colour;                /* (l) of the next slab */

    struct slab_magazine *full,
        *empty;                /* (l) the depot; some of `full` hold less than they could */
    uint32_t nfull, nempties;  /* (l) */
    uint32_t full_max;         /* (l) as many as there may be of each */
    _Atomic uint32_t mag_size; /* (l) of new ones, 0 to SLAB_MAG_SIZES - 1 */
    uint32_t mag_size_max;     /* (const) */
    uint32_t visits, waits;    /* (l) to the depot, for its lock: of late */
    struct slab_cpu *attached; /* (l) those with magazines */

    struct slab_cache *next, *prev; /* (s) */
};

/* Locking: (l) its lock   (const) set by init */
struct slab_set {
    struct mm_lock lock;
    struct slab_cache *caches;              /* (l) */
    struct mm_backing backing;              /* (const) */
    struct slab_cache mags[SLAB_MAG_SIZES]; /* slabs of magazines, with no magazines of their own */
};

/* Zero-initialise, set `name` and `nbytes`, and what else matters. */
struct slab_params {
    const char *name;                   /* kept, not copied */
    size_t nbytes;                      /* of an object, 1 to SLAB_MAX_OBJECT */
    size_t align;                       /* a power of two up to SLAB_MAX_ALIGN; 0: 16 */
    void (*ctor)(void *obj, void *ctx); /* called without a lock; may not use this cache */
    void *ctx;
    struct slab_cpu *cpus; /* for slab_alloc(): one for each processor, all zeros */
};

struct slab_stats {
    size_t slabs, empty_slabs;
    size_t slab_bytes;   /* of all slabs */
    size_t capacity;     /* objects that fit in them */
    size_t used;         /* with users */
    size_t depot, cpus;  /* free, in magazines there; `cpus` and so `used` are hints while the
                          * cache is in use */
    unsigned mag_rounds; /* objects in a new magazine */
};

/* Caches of `s`, none at first, take their slabs from `backing`, which is copied. */
void slab_set_init(struct slab_set *s, const struct mm_backing *backing);

/*
 * Give back to the backing all that no cache of the set uses: what is in depots, empty slabs, and
 * the magazines of this processor. Returns how many bytes. Call it when memory is short; the caller
 * holds no lock of rank MM_RANK_SLABS or higher. O(free objects).
 */
size_t slab_set_reclaim(struct slab_set *s);

/* Call `fn` for each cache, with the set's lock held; stop when it returns false. */
void slab_set_for_each(struct slab_set *s, bool (*fn)(void *ctx, struct slab_cache *c), void *ctx);

/* NULL if the magazines' slabs are sound, else the first broken invariant as text. */
const char *slab_set_check(struct slab_set *s);

/* Make a cache without slabs yet. Errors: MM_EINVAL (size or alignment out of range, or the backing
 * deals in ranges of more than 128 KiB). */
MM_MUST_CHECK mm_err_t slab_cache_init(struct slab_cache *c, struct slab_set *s,
                                       const struct slab_params *p);

/*
 * Give all memory back. The cache is not in use, and its struct slab_cpu are empty afterwards.
 * Errors: MM_EBUSY if there are objects that were not freed: the cache can still be used then, and
 * slab_for_each() shows them.
 */
MM_MUST_CHECK mm_err_t slab_cache_destroy(struct slab_cache *c);

/* One object, through this processor's struct slab_cpu. Any context. */
MM_MUST_CHECK void *slab_alloc(struct slab_cache *c);
void slab_free(struct slab_cache *c, void *obj);

/* Give back what `cpu` holds; it is as new then. For threads that exit. */
void slab_cpu_drain(struct slab_cache *c, struct slab_cpu *cpu);

/* As slab_set_reclaim(), of one cache; but empty slabs of magazines stay. */
size_t slab_reclaim(struct slab_cache *c);

void slab_get_stats(struct slab_cache *c, struct slab_stats *s);

/*
 * Call `fn` for each object that was ever used, with the lock held, until it returns false. `used`
 * says whether a user has it; exact while nobody else uses the cache. `fn` may not use it.
 */
void slab_for_each(struct slab_cache *c, bool (*fn)(void *ctx, void *obj, bool used), void *ctx);

/*
 * NULL if the invariants of slab.c hold, else the first broken one as text. Reads only. Nobody else
 * uses the cache meanwhile. O(objects).
 */
const char *slab_check(struct slab_cache *c);

/* ---- the fast path --------------------------------------------------------------------------- */

typedef uint64_t __attribute__((may_alias)) slab_mark_t;

/* What the header of a slab begins with; nothing of it changes while there are objects. */
struct slab_head {
    struct slab_cache *cache;
    uint32_t first_low; /* address of the first object, modulo 2^32 */
    uint32_t span;      /* bytes from there to the end of the last object */
};

/* Out of line, for when a magazine is not enough, or something is wrong. */
void *slab_cpu_alloc_slow(struct slab_cache *c, struct slab_cpu *cpu, const void *from);
void slab_cpu_free_slow(struct slab_cache *c, struct slab_cpu *cpu, void *obj, const void *from);
_Noreturn void slab_die_not_used(const struct slab_cache *c, const void *obj, const void *from);

static inline slab_mark_t *slab_mark(const struct slab_cache *c, const void *obj)
{
    return (slab_mark_t *)((uintptr_t)obj + c->mark_at);
}

static inline uint64_t slab_free_mark(const struct slab_cache *c, const void *obj)
{
    return (uintptr_t)obj ^ c->mark_key;
}

/* Does `obj`, an object of the cache, bear the mark of a free one? */
static inline bool slab_is_marked(const struct slab_cache *c, const void *obj)
{
    return *slab_mark(c, obj) == slab_free_mark(c, obj);
}

/*
 * Is `obj` an object of the cache that a user has? The memory can be read at `obj`, and where its
 * slab would begin. A false answer is for slab_die_not_used().
 */
static inline bool slab_is_used(const struct slab_cache *c, const void *obj)
{
    const struct slab_head *s = (const struct slab_head *)((uintptr_t)obj & c->slab_mask);
    uint32_t off = (uint32_t)(uintptr_t)obj - s->first_low;

    return __builtin_expect(s->cache == c, 1) && __builtin_expect(off < s->span, 1) &&
           __builtin_expect(off * c->reciprocal < c->reciprocal, 1) && /* see slab.c */
           __builtin_expect(!slab_is_marked(c, obj), 1);
}

/*
 * One object; NULL when out of memory. A panic names the caller of the function that this is
 * inlined into, which is meant to be the face of an allocator; so does the next one.
 */
MM_MUST_CHECK static inline void *slab_cpu_alloc(struct slab_cache *c, struct slab_cpu *cpu)
{
    void **top = atomic_load_explicit(&cpu->top, memory_order_relaxed);
    void *obj;

    if (__builtin_expect(top == atomic_load_explicit(&cpu->base, memory_order_relaxed), 0) ||
        __builtin_expect(!slab_is_marked(c, top[-1]), 0)) {
        return slab_cpu_alloc_slow(c, cpu, __builtin_return_address(0));
    }
    obj = top[-1];
    *slab_mark(c, obj) = 0;
    atomic_store_explicit(&cpu->top, top - 1, memory_order_relaxed);
    return obj;
}

static inline void slab_cpu_free(struct slab_cache *c, struct slab_cpu *cpu, void *obj)
{
    void **top = atomic_load_explicit(&cpu->top, memory_order_relaxed);

    if (__builtin_expect(!slab_is_used(c, obj), 0) || __builtin_expect(top == cpu->limit, 0)) {
        slab_cpu_free_slow(c, cpu, obj, __builtin_return_address(0));
        return;
    }
    *slab_mark(c, obj) = slab_free_mark(c, obj);
    *top = obj;
    atomic_store_explicit(&cpu->top, top + 1, memory_order_relaxed);
}

#endif
