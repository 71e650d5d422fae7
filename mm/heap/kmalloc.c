/*
 * kmalloc.c - the kernel's heap: slabs for small blocks, first fit for more, whole frames for many.
 *
 * Sizes up to 128 bytes are rounded up to a multiple of 16, up to 1 KiB to an eighth of the power
 * of two below: 32 sizes, each a slab cache. Small blocks are most of all blocks, and come and go
 * without a lock. Each size is aligned to the largest power of two that divides it, so an aligned
 * block is one of a size that the alignment divides.
 *
 * Above that the first-fit heap cuts blocks from arenas, to a multiple of 16 bytes. It fetches one
 * when nothing fits: a run of frames, asked for in steps that grow with the heap, about an eighth
 * of it between 256 KiB and 4 MiB, so that a large heap has few arenas and a small one wastes
 * little; if memory is too fragmented for the step, halves of it are tried, down to what the
 * request needs. Steps are powers of two: the pmm has those at hand, and looks through all memory
 * for others.
 *
 * An arena that becomes empty goes back to the pmm, but one run is kept: a heap that is just full
 * would otherwise fetch and return a run with each block that comes and goes. What is kept is no
 * longer than a step was when an arena last went back. It goes back too before a request is
 * refused: it may be part of the only place that is large enough.
 *
 * From 256 KiB on a block is whole frames, with nothing in front: at most a 65th of it is waste,
 * and it leaves no hole in the heap when it goes. Below that, runs of frames of any length would
 * make the pmm search, and stop all processors, for what is common.
 *
 * port.h turns a frame into a pointer; we rely on its being a direct map, every frame at the same
 * distance, to turn a pointer into a frame, and assert it whenever frames come in.
 *
 * A pointer that is to be freed is looked up by its frame. What the map says is ours to believe: if
 * it says slab, there is a slab of the order that it says, and what its header says of the cache is
 * believed if it is one of ours.
 *
 * Invariants (kmalloc_check tests each):
 *  K1  frames that the map says are of slabs are as many as the caches have
 *  K2  frames that the map says are of arenas are as many as the heap has, and the spare
 *  K3  blocks of whole frames are counted
 * and those of each layer.
 */
#include "mm/kmalloc.h"

#include "kmalloc_debug.h"
#include "kmalloc_map.h"
#include "mm/heap_ff.h"
#include "mm/lock.h"

#define STEP_MIN 64u   /* frames: 256 KiB */
#define STEP_MAX 1024u /* frames: 4 MiB */

#define SIZES      32u
#define EVEN_SIZES 8u /* multiples of 16; then 8 to each power of two */
#define EVEN_SHIFT 7u /* the largest of them, 128 */

/* clang-format off */
static const char *const names[SIZES] = {
    "kmalloc-16", "kmalloc-32", "kmalloc-48", "kmalloc-64", "kmalloc-80", "kmalloc-96",
    "kmalloc-112", "kmalloc-128",
    "kmalloc-144", "kmalloc-160", "kmalloc-176", "kmalloc-192", "kmalloc-208", "kmalloc-224",
    "kmalloc-240", "kmalloc-256",
    "kmalloc-288", "kmalloc-320", "kmalloc-352", "kmalloc-384", "kmalloc-416", "kmalloc-448",
    "kmalloc-480", "kmalloc-512",
    "kmalloc-576", "kmalloc-640", "kmalloc-704", "kmalloc-768", "kmalloc-832", "kmalloc-896",
    "kmalloc-960", "kmalloc-1024",
};
/* clang-format on */

/* Locking: (l) the lock, with which heap and backing are called   (const) set by kmalloc_init */
static struct {
    struct pmm *pmm;  /* (const) */
    uintptr_t direct; /* (const) where the direct map has physical 0 */
    struct kmap map;
    struct slab_set slabs;
    struct slab_cache cache[SIZES];
    struct mm_lock lock;
    struct heap_ff heap;    /* (l) */
    void *spare;            /* (l) the run that is kept, or NULL */
    uint64_t spare_frames;  /* (l) */
    _Atomic size_t nblocks; /* of whole frames */
    _Atomic size_t block_frames;
    kmalloc_trace_fn *_Atomic trace; /* or NULL */
} km;

static _Noreturn void die(const char *verb, const void *ptr, const void *from, const char *what)
{
    port_panic("heap: %s(0x%llx), called from 0x%llx: %s", verb, (unsigned long long)(uintptr_t)ptr,
               (unsigned long long)(uintptr_t)from, what);
}

static inline void note(const void *was, const void *now, size_t nbytes, size_t align)
{
    kmalloc_trace_fn *trace = atomic_load_explicit(&km.trace, memory_order_relaxed);

    if (__builtin_expect(trace != NULL, 0) && (was != NULL || now != NULL)) {
        trace(was, now, nbytes, align);
    }
}

/* ---- frames ---- */

static uint64_t frames_for(size_t nbytes)
{
    return (nbytes >> MM_PAGE_SHIFT) + ((nbytes & (MM_PAGE_SIZE - 1)) != 0);
}

static void *ptr_of(pfn_t pfn)
{
    void *ptr = port_ptr(pa_of_pfn(pfn));

    MM_ASSERT((uintptr_t)ptr - pa_of_pfn(pfn).v == km.direct);
    return ptr;
}

static pfn_t pfn_of(const void *ptr)
{
    return pfn_of_pa(pa_make((uintptr_t)ptr - km.direct));
}

static struct kmap_entry entry_of(const void *ptr)
{
    return kmap_get(&km.map, pfn_of(ptr));
}

/* `want`, entered in the map: all frames as `e`, or the first one of a block only. */
static void *frames_get(const struct pmm_want *want, struct kmap_entry e)
{
    pfn_t base;

    if (pmm_get_range(km.pmm, want, &base) != MM_OK) {
        return NULL;
    }
    if (!kmap_set(&km.map, base, e.kind == KMAP_BLOCK ? 1 : want->count, e)) {
        pmm_put_range(km.pmm, base, want->count);
        return NULL;
    }
    return ptr_of(base);
}

static void frames_put(void *ptr, uint64_t count, enum kmap_kind kind)
{
    kmap_clear(&km.map, pfn_of(ptr), kind == KMAP_BLOCK ? 1 : count);
    pmm_put_range(km.pmm, pfn_of(ptr), count);
}

/* ---- small blocks: slabs ---- */

/* Number of the smallest size of at least `nbytes` <= KMALLOC_SLAB_MAX. */
static unsigned size_for(size_t nbytes)
{
    unsigned shift;

    if (nbytes <= 1u << EVEN_SHIFT) {
        return nbytes == 0 ? 0 : (unsigned)((nbytes - 1) / KMALLOC_ALIGN);
    }
    shift = 63 - (unsigned)__builtin_clzll(nbytes - 1); /* of the power of two below */
    return EVEN_SIZES * (shift - EVEN_SHIFT) + (unsigned)((nbytes - 1) >> (shift - 3));
}

static size_t size_bytes(unsigned size)
{
    unsigned octave = size / EVEN_SIZES;

    return octave == 0 ? (size + 1) * KMALLOC_ALIGN
                       : (size_t)(EVEN_SIZES + 1 + size % EVEN_SIZES) << (EVEN_SHIFT - 4 + octave);
}

/* The largest power of two that divides it. */
static size_t size_align(unsigned size)
{
    return size_bytes(size) & -size_bytes(size);
}

static void *slab_backing_get(void *ctx, size_t nbytes, size_t align, size_t *got)
{
    struct pmm_want want = { .count = frames_for(nbytes), .align = align >> MM_PAGE_SHIFT };
    unsigned order = (unsigned)__builtin_ctzll(want.count);

    (void)ctx;
    *got = nbytes;
    return frames_get(&want, (struct kmap_entry){ KMAP_SLAB, order });
}

static void slab_backing_put(void *ctx, void *base, size_t nbytes)
{
    (void)ctx;
    frames_put(base, frames_for(nbytes), KMAP_SLAB);
}

/* The cache that `ptr` is from, which is in a slab of 2^order frames. */
static struct slab_cache *cache_of(const void *ptr, unsigned order, const char *verb,
                                   const void *from)
{
    const struct slab_head *s =
        (const struct slab_head *)((uintptr_t)ptr & -(MM_PAGE_SIZE << order));
    uintptr_t at = (uintptr_t)s->cache - (uintptr_t)km.cache;

    if (at >= sizeof(km.cache) || at % sizeof(km.cache[0]) != 0) {
        die(verb, ptr, from, "it was never given, or the header of its slab is damaged");
    }
    return s->cache;
}

static inline void *slab_get(unsigned size)
{
    struct slab_cache *c = &km.cache[size];
    uint64_t irq = port_irq_save();
    void *ptr = slab_cpu_alloc(c, &c->cpus[port_cpu()]);

    port_irq_restore(irq);
    return ptr;
}

/* ---- medium ones: first fit ---- */

/* Frames to fetch at once, now: the power of two below an eighth of the heap. */
static uint64_t step(void)
{
    uint64_t eighth = km.heap.arena_bytes / 8 >> MM_PAGE_SHIFT;

    if (eighth < STEP_MIN) {
        return STEP_MIN;
    }
    return mm_min(UINT64_C(1) << (63 - __builtin_clzll(eighth)), STEP_MAX);
}

/* For a request of `need` frames: a power of two, if that is not too many. */
static uint64_t run_frames(uint64_t need)
{
    uint64_t n = step();

    while (n < need && n < STEP_MAX) {
        n *= 2;
    }
    return mm_max(n, need);
}

static void spare_put(void)
{
    if (km.spare != NULL) {
        frames_put(km.spare, km.spare_frames, KMAP_ARENA);
        km.spare = NULL;
        km.spare_frames = 0;
    }
}

static void *heap_backing_get(void *ctx, size_t nbytes, size_t align, size_t *got)
{
    uint64_t need = frames_for(nbytes);
    struct pmm_want want = { .count = run_frames(need) };
    void *run = NULL;

    (void)ctx;
    MM_ASSERT(align <= MM_PAGE_SIZE);
    if (km.spare_frames >= need) {
        run = km.spare;
        *got = km.spare_frames << MM_PAGE_SHIFT;
        km.spare = NULL;
        km.spare_frames = 0;
        return run;
    }
    for (;;) {
        run = frames_get(&want, (struct kmap_entry){ .kind = KMAP_ARENA });
        if (run != NULL) {
            *got = want.count << MM_PAGE_SHIFT;
            return run;
        }
        if (want.count > need) {
            want.count = mm_max(need, want.count / 2);
        } else if (km.spare != NULL) {
            spare_put();
        } else {
            return NULL;
        }
    }
}

/* Keep a run, unless it is too long or the one that is kept already serves more requests. */
static void run_keep_or_put(void *run, uint64_t nframes)
{
    if (nframes > step() || km.spare_frames >= nframes) {
        frames_put(run, nframes, KMAP_ARENA);
        return;
    }
    spare_put();
    km.spare = run;
    km.spare_frames = nframes;
}

static void heap_backing_put(void *ctx, void *base, size_t nbytes)
{
    void *old = km.spare;
    uint64_t old_frames = km.spare_frames;

    (void)ctx;
    /* The old spare is judged anew too: it may be too long for what the heap has shrunk to. */
    km.spare = NULL;
    km.spare_frames = 0;
    run_keep_or_put(base, frames_for(nbytes));
    if (old != NULL) {
        run_keep_or_put(old, old_frames);
    }
}

static void *heap_get(size_t nbytes, size_t align)
{
    uint64_t irq = mm_lock(&km.lock);
    void *ptr = heap_ff_alloc_aligned(&km.heap, nbytes, align);

    mm_unlock(&km.lock, irq);
    return ptr;
}

/* ---- large ones: whole frames ---- */

static void *block_get(size_t nbytes, size_t align)
{
    struct pmm_want want = { .count = mm_max(frames_for(nbytes), 1),
                             .align = mm_max(align >> MM_PAGE_SHIFT, 1) };
    void *ptr;

    if (want.count > KMAP_MAX_NUMBER) {
        return NULL;
    }
    ptr = frames_get(&want, (struct kmap_entry){ KMAP_BLOCK, (uint32_t)want.count });
    if (ptr != NULL) {
        atomic_fetch_add_explicit(&km.nblocks, 1, memory_order_relaxed);
        atomic_fetch_add_explicit(&km.block_frames, want.count, memory_order_relaxed);
    }
    return ptr;
}

static void check_block(const void *ptr, const char *verb, const void *from)
{
    if (!mm_is_aligned((uintptr_t)ptr, MM_PAGE_SIZE)) {
        die(verb, ptr, from, "it was never given: it lies inside a block of whole frames");
    }
}

static void block_put(void *ptr, uint64_t count)
{
    atomic_fetch_sub_explicit(&km.nblocks, 1, memory_order_relaxed);
    atomic_fetch_sub_explicit(&km.block_frames, count, memory_order_relaxed);
    frames_put(ptr, count, KMAP_BLOCK);
}

/* ---- all of them ---- */

/* From the layer for that size, or one further on. */
static void *get_once(size_t nbytes, size_t align)
{
    void *ptr = NULL;

    if (nbytes <= KMALLOC_SLAB_MAX && align <= KMALLOC_SLAB_MAX) {
        unsigned size = size_for(mm_align_up(mm_max(nbytes, 1), align));

        while (size_align(size) < align) {
            size++; /* ends at a power of two */
        }
        ptr = slab_get(size);
    }
    if (ptr == NULL && nbytes < KMALLOC_FRAMES_MIN && align <= MM_PAGE_SIZE) {
        ptr = heap_get(nbytes, align);
    }
    return ptr != NULL ? ptr : block_get(nbytes, align);
}

/* When the short way had nothing. */
static void *get(size_t nbytes, size_t align)
{
    void *ptr = get_once(nbytes, align);

    if (ptr == NULL && kmalloc_reclaim() > 0) {
        ptr = get_once(nbytes, align);
    }
    return ptr;
}

/* Inlined, as alloc() is: the caller that slab.h's calls name is that of the function around it. */
static inline __attribute__((always_inline)) void give(void *ptr, const void *from)
{
    struct kmap_entry e = entry_of(ptr);
    struct slab_cache *c;
    uint64_t irq;

    switch (e.kind) {
    case KMAP_SLAB:
        c = cache_of(ptr, e.number, "free", from);
        irq = port_irq_save();
        slab_cpu_free(c, &c->cpus[port_cpu()], ptr);
        port_irq_restore(irq);
        return;
    case KMAP_ARENA:
        irq = mm_lock(&km.lock);
        heap_ff_free(&km.heap, ptr);
        mm_unlock(&km.lock, irq);
        return;
    case KMAP_BLOCK:
        check_block(ptr, "free", from);
        block_put(ptr, e.number);
        return;
    default:
        die("free", ptr, from, "it was never given, or freed already");
    }
}

static size_t size_of(const void *ptr, const char *verb, const void *from)
{
    struct kmap_entry e = entry_of(ptr);
    const struct slab_cache *c;
    size_t nbytes;
    uint64_t irq;

    switch (e.kind) {
    case KMAP_SLAB:
        c = cache_of(ptr, e.number, verb, from);
        if (!slab_is_used(c, ptr)) {
            slab_die_not_used(c, ptr, from);
        }
        return c->nbytes;
    case KMAP_ARENA:
        irq = mm_lock(&km.lock);
        nbytes = heap_ff_size(&km.heap, ptr);
        mm_unlock(&km.lock, irq);
        return nbytes;
    case KMAP_BLOCK:
        check_block(ptr, verb, from);
        return (size_t)e.number << MM_PAGE_SHIFT;
    default:
        die(verb, ptr, from, "it was never given, or freed already");
    }
}

/* ---- the calls; the debug build has its own, in kmalloc_debug.c ---- */

#ifdef PMM_DEBUG

void *kraw_alloc(size_t nbytes, size_t align)
{
    return get(nbytes, align);
}

void kraw_free(void *ptr, const void *from)
{
    give(ptr, from);
}

size_t kraw_size(const void *ptr, const char *verb, const void *from)
{
    return size_of(ptr, verb, from);
}

void kraw_note(const void *was, const void *now, size_t nbytes, size_t align)
{
    note(was, now, nbytes, align);
}

#else

static inline __attribute__((always_inline)) void *alloc(size_t nbytes)
{
    void *ptr = nbytes <= KMALLOC_SLAB_MAX ? slab_get(size_for(nbytes)) : NULL;

    return ptr != NULL ? ptr : get(nbytes, KMALLOC_ALIGN);
}

void *kmalloc(size_t nbytes)
{
    void *ptr = alloc(nbytes);

    note(NULL, ptr, nbytes, 0);
    return ptr;
}

void *kmalloc_aligned(size_t nbytes, size_t align)
{
    void *ptr = mm_is_pow2(align) ? get(nbytes, mm_max(align, KMALLOC_ALIGN)) : NULL;

    note(NULL, ptr, nbytes, align);
    return ptr;
}

void *kzalloc(size_t count, size_t nbytes)
{
    size_t total;
    void *ptr;

    if (__builtin_mul_overflow(count, nbytes, &total)) {
        return NULL;
    }
    ptr = kmalloc(total);
    if (ptr != NULL) {
        __builtin_memset(ptr, 0, total);
    }
    return ptr;
}

void kfree(void *ptr)
{
    if (ptr != NULL) {
        note(ptr, NULL, 0, 0);
        give(ptr, __builtin_return_address(0));
    }
}

size_t kmalloc_size(const void *ptr)
{
    return size_of(ptr, "size", __builtin_return_address(0));
}

/* The block at `ptr` has `count` frames and keeps the first `keep`. */
static void block_shrink(void *ptr, uint64_t count, uint64_t keep)
{
    bool done;

    if (keep < count) {
        done = kmap_set(&km.map, pfn_of(ptr), 1, (struct kmap_entry){ KMAP_BLOCK, (uint32_t)keep });
        MM_ASSERT(done); /* its leaf is there */
        atomic_fetch_sub_explicit(&km.block_frames, count - keep, memory_order_relaxed);
        pmm_put_range(km.pmm, pfn_make(pfn_of(ptr).v + keep), count - keep);
    }
}

/* Resize the block at `ptr`, of `old` usable bytes, in its own layer and where it is. NULL: not so.
 */
static void *resize(void *ptr, size_t old, size_t nbytes)
{
    struct kmap_entry e = entry_of(ptr);
    void *now = NULL;
    uint64_t irq;

    switch (e.kind) {
    case KMAP_SLAB:
        if (nbytes > old || size_bytes(size_for(nbytes)) != old) {
            return NULL;
        }
        note(ptr, ptr, nbytes, 0);
        return ptr;
    case KMAP_ARENA:
        if (nbytes > KMALLOC_SLAB_MAX && nbytes < KMALLOC_FRAMES_MIN) {
            irq = mm_lock(&km.lock);
            if (heap_ff_resize(&km.heap, ptr, nbytes)) {
                now = ptr;
                note(ptr, ptr, nbytes, 0);
            }
            mm_unlock(&km.lock, irq);
        }
        return now;
    default:
        if (nbytes > old || nbytes < KMALLOC_FRAMES_MIN) {
            return NULL;
        }
        note(ptr, ptr, nbytes, 0);
        block_shrink(ptr, e.number, frames_for(nbytes));
        return ptr;
    }
}

void *krealloc(void *ptr, size_t nbytes)
{
    const void *from = __builtin_return_address(0);
    size_t old;
    void *now;

    if (ptr == NULL) {
        return kmalloc(nbytes);
    }
    old = size_of(ptr, "realloc", from);
    now = resize(ptr, old, nbytes);
    if (now != NULL) {
        return now;
    }
    now = alloc(nbytes);
    if (now == NULL) {
        return nbytes <= old ? ptr : NULL;
    }
    __builtin_memcpy(now, ptr, mm_min(old, nbytes));
    note(ptr, now, nbytes, 0);
    give(ptr, from);
    return now;
}

#endif

size_t kmalloc_reclaim(void)
{
    size_t sum = 0;
    uint64_t irq;

#ifdef PMM_DEBUG
    sum += kdebug_flush(__builtin_return_address(0));
#endif
    sum += slab_set_reclaim(&km.slabs);
    irq = mm_lock(&km.lock);
    sum += km.spare_frames << MM_PAGE_SHIFT;
    spare_put();
    mm_unlock(&km.lock, irq);
    return sum;
}

void kmalloc_init(struct pmm *p)
{
    const struct mm_backing frames = {
        .name = "frames", .grain = MM_PAGE_SIZE, .get = slab_backing_get, .put = slab_backing_put
    };
    const struct mm_backing runs = { .name = "runs of frames",
                                     .grain = MM_PAGE_SIZE,
                                     .get = heap_backing_get,
                                     .put = heap_backing_put };
    const size_t nbytes = pmm_ncpus(p) * SIZES * sizeof(struct slab_cpu);
    const struct pmm_want want = { .count = frames_for(nbytes), .flags = PMM_ZERO };
    const struct pmm_want want_run = { .count = STEP_MIN };
    struct slab_cpu *cpus;
    pfn_t base, run;
    bool have_run;
    mm_err_t err;

    /* A run before single frames: with those the processor gets a block of 2 MiB to itself, and
     * runs would have to be looked for elsewhere. */
    have_run = pmm_get_range(p, &want_run, &run) == MM_OK;
    err = pmm_get_range(p, &want, &base);
    MM_ASSERT(err == MM_OK); /* else: there is no memory at all */
    cpus = port_ptr(pa_of_pfn(base));
    km.direct = (uintptr_t)cpus - pa_of_pfn(base).v;
    km.pmm = p;
    kmap_init(&km.map, p);
    km.spare = NULL;
    km.spare_frames = 0;
    if (have_run && kmap_set(&km.map, run, STEP_MIN, (struct kmap_entry){ .kind = KMAP_ARENA })) {
        km.spare = ptr_of(run);
        km.spare_frames = STEP_MIN;
    } else if (have_run) {
        pmm_put_range(p, run, STEP_MIN);
    }
    slab_set_init(&km.slabs, &frames);
    for (unsigned size = SIZES; size-- > 0;) { /* the smallest will be the first in the set */
        const struct slab_params params = { .name = names[size],
                                            .nbytes = size_bytes(size),
                                            .align = size_align(size),
                                            .cpus = cpus + size * pmm_ncpus(p) };

        err = slab_cache_init(&km.cache[size], &km.slabs, &params);
        MM_ASSERT(err == MM_OK);
    }
    km.lock = (struct mm_lock)MM_LOCK_INIT(MM_RANK_HEAP);
    heap_ff_init(&km.heap, &runs, 0);
    atomic_init(&km.nblocks, 0);
    atomic_init(&km.block_frames, 0);
    atomic_init(&km.trace, NULL);
#ifdef PMM_DEBUG
    kdebug_init();
#endif
}

/* ---- looking at it ---- */

void kmalloc_set_trace(kmalloc_trace_fn *fn)
{
    atomic_store_explicit(&km.trace, fn, memory_order_release);
}

struct slab_set *kmalloc_slabs(void)
{
    return &km.slabs;
}

const char *kmalloc_heap_backing(void)
{
    return km.heap.backing.name;
}

void kmalloc_get_stats(struct kmalloc_stats *s)
{
    struct heap_ff_stats h;
    struct slab_stats c;
    uint64_t irq = mm_lock(&km.lock);

    heap_ff_get_stats(&km.heap, &h);
    *s = (struct kmalloc_stats){ .arena_bytes = h.arena_bytes,
                                 .used_bytes = h.used_bytes,
                                 .free_bytes = h.free_bytes,
                                 .largest_free = h.largest_free,
                                 .nused = h.nused,
                                 .nfree = h.nfree,
                                 .narenas = h.narenas,
                                 .peak_arena_bytes = h.peak_arena_bytes,
                                 .peak_used_bytes = h.peak_used_bytes,
                                 .spare_bytes = km.spare_frames << MM_PAGE_SHIFT };
    mm_unlock(&km.lock, irq);
    for (unsigned size = 0; size < SIZES; size++) {
        slab_get_stats(&km.cache[size], &c);
        s->slab_bytes += c.slab_bytes;
        s->nobjects += c.used;
        s->slab_used_bytes += c.used * size_bytes(size);
    }
    for (unsigned i = 0; i < SLAB_MAG_SIZES; i++) {
        slab_get_stats(&km.slabs.mags[i], &c);
        s->slab_bytes += c.slab_bytes;
    }
    s->nblocks = atomic_load_explicit(&km.nblocks, memory_order_relaxed);
    s->block_bytes = atomic_load_explicit(&km.block_frames, memory_order_relaxed) << MM_PAGE_SHIFT;
    s->map_bytes = atomic_load_explicit(&km.map.npages, memory_order_relaxed) << MM_PAGE_SHIFT;
}

struct viewer {
    bool (*fn)(void *ctx, const struct kmalloc_view *b);
    void *ctx;
    size_t nbytes; /* of an object */
    bool more;
};

static bool show_object(void *ctx, void *obj, bool used)
{
    struct viewer *v = ctx;

    v->more =
        v->fn(v->ctx, &(struct kmalloc_view){
                          .ptr = obj, .nbytes = v->nbytes, .used = used, .layer = KMALLOC_SLAB });
    return v->more;
}

static bool show_heap(void *ctx, const struct heap_ff_view *b)
{
    const struct viewer *v = ctx;

    return v->fn(v->ctx, &(struct kmalloc_view){ b->ptr, b->nbytes, b->used, b->first_in_arena,
                                                 KMALLOC_HEAP });
}

static bool show_frames(void *ctx, pfn_t pfn, struct kmap_entry e)
{
    const struct viewer *v = ctx;

    return e.kind != KMAP_BLOCK ||
           v->fn(v->ctx, &(struct kmalloc_view){ .ptr = ptr_of(pfn),
                                                 .nbytes = (size_t)e.number << MM_PAGE_SHIFT,
                                                 .used = true,
                                                 .layer = KMALLOC_FRAMES });
}

void kmalloc_for_each(enum kmalloc_layer layer, bool (*fn)(void *ctx, const struct kmalloc_view *b),
                      void *ctx)
{
    struct viewer v = { .fn = fn, .ctx = ctx, .more = true };
    uint64_t irq;

    switch (layer) {
    case KMALLOC_SLAB:
        for (unsigned size = 0; size < SIZES && v.more; size++) {
            v.nbytes = size_bytes(size);
            slab_for_each(&km.cache[size], show_object, &v);
        }
        return;
    case KMALLOC_HEAP:
        irq = mm_lock(&km.lock);
        heap_ff_for_each(&km.heap, show_heap, &v);
        mm_unlock(&km.lock, irq);
        return;
    default:
        kmap_for_each(&km.map, show_frames, &v);
    }
}

struct tally {
    uint64_t slabs, arenas, blocks, block_frames;
};

static bool count_entry(void *ctx, pfn_t pfn, struct kmap_entry e)
{
    struct tally *t = ctx;

    (void)pfn;
    t->slabs += e.kind == KMAP_SLAB;
    t->arenas += e.kind == KMAP_ARENA;
    t->blocks += e.kind == KMAP_BLOCK;
    t->block_frames += e.kind == KMAP_BLOCK ? e.number : 0;
    return true;
}

const char *kmalloc_check(void)
{
    struct tally t = { .slabs = 0 };
    struct kmalloc_stats s;
    const char *broken = NULL;
    uint64_t irq;

    for (unsigned size = 0; size < SIZES && broken == NULL; size++) {
        broken = slab_check(&km.cache[size]);
    }
    if (broken == NULL) {
        broken = slab_set_check(&km.slabs);
    }
    if (broken == NULL) {
        irq = mm_lock(&km.lock);
        broken = heap_ff_check(&km.heap);
        mm_unlock(&km.lock, irq);
    }
    if (broken != NULL) {
        return broken;
    }
    kmap_for_each(&km.map, count_entry, &t);
    kmalloc_get_stats(&s);
    if (t.slabs << MM_PAGE_SHIFT != s.slab_bytes) {
        return "K1: the map does not know the frames of slabs";
    }
    if (t.arenas << MM_PAGE_SHIFT != s.arena_bytes + s.spare_bytes) {
        return "K2: the map does not know the frames of arenas";
    }
    if (t.blocks != s.nblocks || t.block_frames << MM_PAGE_SHIFT != s.block_bytes) {
        return "K3: the map does not know the blocks of whole frames";
    }
#ifdef PMM_DEBUG
    return kdebug_check();
#else
    return NULL;
#endif
}
