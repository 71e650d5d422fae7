/*
 * dma.c - memory for devices, from buddies over runs of frames, or from frames.
 *
 * The buddies deal in physical addresses: as they don't touch the memory, that costs nothing, and
 * alignment means what a device means by it. Their metadata comes from kmalloc.
 *
 * A block of more than half a page is frames: the pool finds any number of them that are
 * contiguous, and a power of two would be up to twice as many.
 */
#include "mm/dma.h"

#include "mm/kmalloc.h"
#include "mm/lock.h"

#define UNIT_SHIFT 6u                  /* a line of cache */
#define STEP       (16 * MM_PAGE_SIZE) /* fetched at once */
#define SMALL      (MM_PAGE_SIZE / 2)

/* Locking: (l) the lock   (const) set by dma_init */
static struct {
    struct mm_lock lock;
    struct pmm *pmm;                 /* (const) */
    struct buddy buddy[DMA_CLASSES]; /* (l) */
    uint64_t nlarge, frames;         /* (l) */
} dma;

static const uint64_t limits[DMA_CLASSES] = {
    [DMA_ANYWHERE] = DMA_NO_LIMIT,
    [DMA_BELOW_4G] = UINT64_C(1) << 32,
    [DMA_BELOW_16M] = UINT64_C(1) << 24,
};

/* One at least. */
static uint64_t frames_for(size_t nbytes)
{
    return mm_max((nbytes >> MM_PAGE_SHIFT) + (nbytes % MM_PAGE_SIZE != 0), 1);
}

/* Frames at a multiple of `align` bytes. */
static bool get_frames(size_t nbytes, size_t align, uint64_t limit, pa_t *pa)
{
    const struct pmm_want want = { .count = frames_for(nbytes),
                                   .align = mm_max(align >> MM_PAGE_SHIFT, 1),
                                   .limit = limit == DMA_NO_LIMIT ? 0 : limit };
    pfn_t base;

    if (limit < MM_PAGE_SIZE || pmm_get_range(dma.pmm, &want, &base) != MM_OK) {
        return false;
    }
    *pa = pa_of_pfn(base);
    return true;
}

/* ---- what the buddies stand on ---- */

/* `ctx` is the class's limit. */
static void *frames_get(void *ctx, size_t nbytes, size_t align, size_t *got)
{
    const uint64_t *limit = ctx;
    pa_t pa;

    if (!get_frames(nbytes, align, *limit, &pa)) {
        return NULL;
    }
    *got = frames_for(nbytes) << MM_PAGE_SHIFT;
    return (void *)(uintptr_t)pa.v;
}

static void frames_put(void *ctx, void *base, size_t nbytes)
{
    (void)ctx;
    pmm_put_range(dma.pmm, pfn_of_pa(pa_make((uintptr_t)base)), nbytes >> MM_PAGE_SHIFT);
}

static void *meta_get(void *ctx, size_t nbytes, size_t align, size_t *got)
{
    (void)ctx;
    *got = nbytes;
    return kmalloc_aligned(nbytes, align);
}

static void meta_put(void *ctx, void *base, size_t nbytes)
{
    (void)ctx;
    (void)nbytes;
    kfree(base);
}

void dma_init(struct pmm *p)
{
    const struct mm_backing meta = {
        .name = "kmalloc", .grain = KMALLOC_ALIGN, .get = meta_get, .put = meta_put
    };

    dma.lock = (struct mm_lock)MM_LOCK_INIT(MM_RANK_DMA);
    dma.pmm = p;
    dma.nlarge = 0;
    dma.frames = 0;
    for (unsigned c = 0; c < DMA_CLASSES; c++) {
        const struct mm_backing backing = { .name = "pmm",
                                            .ctx = (void *)(uintptr_t)&limits[c],
                                            .grain = MM_PAGE_SIZE,
                                            .get = frames_get,
                                            .put = frames_put };

        buddy_init(&dma.buddy[c], UNIT_SHIFT, &backing, &meta, STEP);
    }
}

/* ---- giving and taking ---- */

/* From the least strict class that will do, before it takes what others need more. */
static bool get_small(size_t nbytes, uint64_t limit, pa_t *pa)
{
    void *block = NULL;
    uint64_t irq = mm_lock(&dma.lock);

    for (unsigned c = 0; c < DMA_CLASSES && block == NULL; c++) {
        if (limits[c] <= limit) {
            block = buddy_alloc(&dma.buddy[c], buddy_order_for(&dma.buddy[c], nbytes));
        }
    }
    mm_unlock(&dma.lock, irq);
    *pa = pa_make((uintptr_t)block);
    return block != NULL;
}

static void count_taken(uint64_t frames)
{
    uint64_t irq = mm_lock(&dma.lock);

    dma.nlarge++;
    dma.frames += frames;
    mm_unlock(&dma.lock, irq);
}

static bool get(size_t nbytes, size_t align, uint64_t limit, pa_t *pa)
{
    size_t block = mm_max(nbytes, align);

    if (block <= SMALL && get_small(block, limit, pa)) {
        return true;
    }
    if (!get_frames(nbytes, align, limit, pa)) {
        return false;
    }
    count_taken(frames_for(nbytes));
    return true;
}

/* Give back what the buddies keep. */
static void trim(void)
{
    uint64_t irq = mm_lock(&dma.lock);

    for (unsigned c = 0; c < DMA_CLASSES; c++) {
        buddy_trim(&dma.buddy[c]);
    }
    mm_unlock(&dma.lock, irq);
}

static void count_given(pa_t pa, uint64_t frames)
{
    uint64_t irq = mm_lock(&dma.lock);

    if (dma.nlarge == 0 || dma.frames < frames) {
        port_panic("dma_free(0x%llx): none of its blocks is as large", (unsigned long long)pa.v);
    }
    dma.nlarge--;
    dma.frames -= frames;
    mm_unlock(&dma.lock, irq);
}

void *dma_alloc(size_t nbytes, size_t align, uint64_t limit, pa_t *pa)
{
    pa_t at;

    if (!mm_is_pow2(align)) {
        return NULL;
    }
    if (!get(nbytes, align, limit, &at)) {
        trim(); /* what a buddy keeps may be all that is left, or in the way */
        if (!get(nbytes, align, limit, &at)) {
            return NULL;
        }
    }
    *pa = at;
    return port_ptr(at);
}

/* Give back a block of a buddy; false if it is of none. */
static bool put_small(pa_t pa, size_t nbytes)
{
    void *block = (void *)(uintptr_t)pa.v;
    uint64_t irq = mm_lock(&dma.lock);
    struct buddy *b = NULL;

    for (unsigned c = 0; c < DMA_CLASSES && b == NULL; c++) {
        b = buddy_covers(&dma.buddy[c], block) ? &dma.buddy[c] : NULL;
    }
    if (b != NULL) {
        unsigned order = buddy_order(b, block);

        if (buddy_order_for(b, nbytes) > order) {
            port_panic("dma_free(0x%llx): it has no %zu bytes", (unsigned long long)pa.v, nbytes);
        }
        buddy_free(b, block, order);
    }
    mm_unlock(&dma.lock, irq);
    return b != NULL;
}

void dma_free(pa_t pa, size_t nbytes)
{
    if (put_small(pa, nbytes)) {
        return;
    }
    if (!mm_is_aligned(pa.v, MM_PAGE_SIZE)) {
        port_panic("dma_free(0x%llx): lies in none of its arenas", (unsigned long long)pa.v);
    }
    count_given(pa, frames_for(nbytes));
    pmm_put_range(dma.pmm, pfn_of_pa(pa), frames_for(nbytes));
}

void dma_get_stats(struct dma_stats *s)
{
    uint64_t irq = mm_lock(&dma.lock);

    for (unsigned c = 0; c < DMA_CLASSES; c++) {
        s->small[c].limit = limits[c];
        buddy_get_stats(&dma.buddy[c], &s->small[c].blocks);
    }
    s->nlarge = dma.nlarge;
    s->frames = dma.frames;
    mm_unlock(&dma.lock, irq);
}

const char *dma_check(void)
{
    uint64_t irq = mm_lock(&dma.lock);
    const char *broken = NULL;

    for (unsigned c = 0; c < DMA_CLASSES && broken == NULL; c++) {
        broken = buddy_check(&dma.buddy[c]);
    }
    mm_unlock(&dma.lock, irq);
    return broken;
}
