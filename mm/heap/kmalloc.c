/*
 * kmalloc.c - the kernel's heap: first fit over runs of frames.
 *
 * The heap fetches an arena when nothing fits. A run of frames is asked for in steps that grow with
 * the heap, an eighth of it between 256 KiB and 4 MiB, so that a large heap has few arenas and a
 * small one wastes little; if memory is too fragmented for the step, halves of it are tried, down
 * to what the request needs.
 *
 * An arena that becomes empty goes back to the pmm, but one run is kept: a heap that is just full
 * would otherwise fetch and return a run with each block that comes and goes. What is kept is no
 * longer than a step was when an arena last went back. It goes back too before a request is
 * refused: it may be part of the only place that is large enough.
 *
 * port.h turns a frame into a pointer but not a pointer into a frame, so each run starts with 16
 * bytes that say where it came from. They can be checked against port_ptr(), and are.
 *
 * Not done here: whole frames for large requests without a header. Every block has its header in
 * front, so 4096 bytes at a multiple of 4096 cost two frames' worth of room at worst.
 */
#include "mm/kmalloc.h"

#include "mm/heap_list.h"
#include "mm/lock.h"

#define STEP_MIN 64u   /* frames: 256 KiB */
#define STEP_MAX 1024u /* frames: 4 MiB */

/* At the start of each run of frames; the arena is what follows. */
struct run {
    pfn_t base;
    uint64_t nframes;
};

_Static_assert(KMALLOC_ALIGN == HEAP_LIST_ALIGN, "the heap's alignment is ours");
_Static_assert(sizeof(struct run) % HEAP_LIST_ALIGN == 0, "the arena behind it is aligned");

/* Locking: (l) the lock, with which heap and backing are called   (const) set by kmalloc_init */
static struct {
    struct mm_lock lock;
    struct heap_list heap; /* (l) */
    struct pmm *pmm;       /* (const) */
    struct run *spare;     /* (l) the run that is kept, or NULL */
} km;

/* Frames to fetch at once, now. */
static uint64_t step(void)
{
    return mm_min(mm_max(km.heap.arena_bytes / 8 >> MM_PAGE_SHIFT, STEP_MIN), STEP_MAX);
}

static void run_put(struct run *run)
{
    pmm_put_range(km.pmm, run->base, run->nframes);
}

static struct run *run_get(uint64_t need)
{
    struct pmm_want want = { .count = mm_max(need, step()) };
    struct run *run;
    pfn_t base;

    if (km.spare != NULL && km.spare->nframes >= need) {
        run = km.spare;
        km.spare = NULL;
        return run;
    }
    while (pmm_get_range(km.pmm, &want, &base) != MM_OK) {
        if (want.count > need) {
            want.count = mm_max(need, want.count / 2);
        } else if (km.spare != NULL) {
            run_put(km.spare);
            km.spare = NULL;
        } else {
            return NULL;
        }
    }
    run = port_ptr(pa_of_pfn(base));
    *run = (struct run){ base, want.count };
    return run;
}

static void *backing_get(void *ctx, size_t nbytes, size_t align, size_t *got)
{
    uint64_t room = mm_align_up(nbytes + sizeof(struct run), MM_PAGE_SIZE);
    struct run *run = run_get(room >> MM_PAGE_SHIFT);

    (void)ctx;
    MM_ASSERT(align <= sizeof(struct run)); /* where the arena begins in its first frame */
    if (run == NULL) {
        return NULL;
    }
    *got = (run->nframes << MM_PAGE_SHIFT) - sizeof(*run);
    return run + 1;
}

/* Keep `run`, unless it is too long or the one that is kept already serves more requests. */
static void run_keep_or_put(struct run *run)
{
    if (run->nframes > step() || (km.spare != NULL && km.spare->nframes >= run->nframes)) {
        run_put(run);
        return;
    }
    if (km.spare != NULL) {
        run_put(km.spare);
    }
    km.spare = run;
}

static void backing_put(void *ctx, void *base, size_t nbytes)
{
    struct run *run = (struct run *)base - 1;
    struct run *old = km.spare;

    (void)ctx;
    MM_ASSERT(run->nframes << MM_PAGE_SHIFT == nbytes + sizeof(*run));
    MM_ASSERT(port_ptr(pa_of_pfn(run->base)) == run);
    /* The old spare is judged anew too: it may be too long for what the heap has shrunk to. */
    km.spare = NULL;
    run_keep_or_put(run);
    if (old != NULL) {
        run_keep_or_put(old);
    }
}

void kmalloc_init(struct pmm *p)
{
    const struct mm_backing backing = {
        .name = "pmm", .grain = KMALLOC_ALIGN, .get = backing_get, .put = backing_put
    };

    km.lock = (struct mm_lock)MM_LOCK_INIT(MM_RANK_HEAP);
    heap_list_init(&km.heap, &backing);
    km.pmm = p;
    km.spare = NULL;
}

void *kmalloc(size_t nbytes)
{
    uint64_t irq = mm_lock(&km.lock);
    void *ptr = heap_list_alloc(&km.heap, nbytes);

    mm_unlock(&km.lock, irq);
    return ptr;
}

void *kmalloc_aligned(size_t nbytes, size_t align)
{
    uint64_t irq = mm_lock(&km.lock);
    void *ptr = heap_list_alloc_aligned(&km.heap, nbytes, align);

    mm_unlock(&km.lock, irq);
    return ptr;
}

/* Cleared without the lock: interrupts need not wait for it. */
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

void *krealloc(void *ptr, size_t nbytes)
{
    uint64_t irq = mm_lock(&km.lock);
    void *now = heap_list_realloc(&km.heap, ptr, nbytes);

    mm_unlock(&km.lock, irq);
    return now;
}

void kfree(void *ptr)
{
    uint64_t irq = mm_lock(&km.lock);

    heap_list_free(&km.heap, ptr);
    mm_unlock(&km.lock, irq);
}

void kmalloc_get_stats(struct kmalloc_stats *s)
{
    struct heap_list_stats h;
    uint64_t irq = mm_lock(&km.lock);

    heap_list_get_stats(&km.heap, &h);
    mm_unlock(&km.lock, irq);
    *s = (struct kmalloc_stats){ .arena_bytes = h.arena_bytes,
                                 .used_bytes = h.used_bytes,
                                 .free_bytes = h.free_bytes,
                                 .largest_free = h.largest_free,
                                 .nused = h.nused,
                                 .nfree = h.nfree,
                                 .narenas = h.narenas };
}

struct viewer {
    bool (*fn)(void *ctx, const struct kmalloc_view *b);
    void *ctx;
};

static bool show(void *ctx, const struct heap_list_view *b)
{
    const struct viewer *v = ctx;

    return v->fn(v->ctx, &(struct kmalloc_view){ b->ptr, b->nbytes, b->used, b->first_in_arena });
}

void kmalloc_for_each(bool (*fn)(void *ctx, const struct kmalloc_view *b), void *ctx)
{
    struct viewer v = { fn, ctx };
    uint64_t irq = mm_lock(&km.lock);

    heap_list_for_each(&km.heap, show, &v);
    mm_unlock(&km.lock, irq);
}

const char *kmalloc_check(void)
{
    uint64_t irq = mm_lock(&km.lock);
    const char *broken = heap_list_check(&km.heap);

    mm_unlock(&km.lock, irq);
    return broken;
}
