/*
 * bench pmm: the frame allocator, and beside it a bitmap with a lock, at the same work.
 *
 * Both manage the same frames: one block from the general pool, as large as there is one up to
 * 256 MiB, with a pool of its own on it. The work is that of tests/bench on the host, where there
 * is room for more memory, more processors and other allocators: all frames taken and put, one
 * frame again and again, random frames with a tenth free, 2 MiB blocks of fresh memory and of
 * memory in which every second one has a frame in use. Nobody touches the frames.
 *
 * A figure is the mean of one operation; the loop around it and the call through a pointer are in
 * it, for both alike.
 */
#include "monitor/bench.h"

#include "cpu/asm.h"
#include "cpu/cpu.h"
#include "lib/console.h"
#include "lib/fmt.h"
#include "lib/string.h"
#include "mm/kmalloc.h"
#include "mm/vmalloc.h"
#include "monitor/style.h"
#include "monitor/testing.h"
#include "vm.h"

#define MAX_ORDER   16u /* 256 MiB */
#define MIN_ORDER   11u /* 8 MiB: four blocks of 2 MiB */
#define HUGE_ORDER  9u
#define HUGE_FRAMES (UINT64_C(1) << HUGE_ORDER)
#define HUGE_WORDS  (HUGE_FRAMES / 64)
#define BATCH       64u
#define REPEATS     10000u
#define MAX_SWAPS   20000u
#define REFUSALS    1000u

/* ---- a bitmap ---------------------------------------------------------------------------------- */

/* One bit a frame, set if it is free; a search goes on where the last one ended. */
static struct bitmap {
    struct mm_lock lock;
    uint64_t base, nwords, next, next_huge;
    uint64_t words[(UINT64_C(1) << MAX_ORDER) / 64];
} bitmap;

static uint64_t bitmap_find_one(struct bitmap *m)
{
    for (uint64_t i = 0; i < m->nwords; i++) {
        uint64_t w = m->next;

        if (m->words[w] != 0) {
            unsigned bit = (unsigned)__builtin_ctzll(m->words[w]);

            m->words[w] &= m->words[w] - 1;
            return w * 64 + bit;
        }
        m->next = w + 1 < m->nwords ? w + 1 : 0;
    }
    return UINT64_MAX;
}

static uint64_t bitmap_find_huge(struct bitmap *m)
{
    for (uint64_t i = 0; i < m->nwords; i += HUGE_WORDS) {
        uint64_t w = m->next_huge, all = UINT64_MAX;

        m->next_huge = w + HUGE_WORDS < m->nwords ? w + HUGE_WORDS : 0;
        for (unsigned k = 0; k < HUGE_WORDS; k++) {
            all &= m->words[w + k];
        }
        if (all == UINT64_MAX) {
            memset(&m->words[w], 0, HUGE_WORDS * sizeof(m->words[w]));
            return w * 64;
        }
    }
    return UINT64_MAX;
}

static pfn_t bitmap_get(void *self, unsigned order)
{
    struct bitmap *m = self;
    uint64_t irq = mm_lock(&m->lock), at;

    at = order == 0 ? bitmap_find_one(m) : bitmap_find_huge(m);
    mm_unlock(&m->lock, irq);
    return at != UINT64_MAX ? pfn_make(m->base + at) : PFN_NONE;
}

static void bitmap_put_one(struct bitmap *m, uint64_t at)
{
    MM_ASSERT((m->words[at / 64] >> at % 64 & 1) == 0);
    m->words[at / 64] |= UINT64_C(1) << at % 64;
}

static void bitmap_put(void *self, pfn_t pfn, unsigned order)
{
    struct bitmap *m = self;
    uint64_t irq = mm_lock(&m->lock), at = pfn.v - m->base;

    if (order == 0) {
        bitmap_put_one(m, at);
    } else {
        MM_ASSERT(m->words[at / 64] == 0);
        memset(&m->words[at / 64], 0xff, HUGE_WORDS * sizeof(m->words[0]));
    }
    mm_unlock(&m->lock, irq);
}

static unsigned bitmap_get_batch(void *self, pfn_t *pfns, unsigned n)
{
    struct bitmap *m = self;
    uint64_t irq = mm_lock(&m->lock), at;
    unsigned got = 0;

    for (; got < n && (at = bitmap_find_one(m)) != UINT64_MAX; got++) {
        pfns[got] = pfn_make(m->base + at);
    }
    mm_unlock(&m->lock, irq);
    return got;
}

static void bitmap_put_batch(void *self, const pfn_t *pfns, unsigned n)
{
    struct bitmap *m = self;
    uint64_t irq = mm_lock(&m->lock);

    for (unsigned i = 0; i < n; i++) {
        bitmap_put_one(m, pfns[i].v - m->base);
    }
    mm_unlock(&m->lock, irq);
}

/* ---- the pool ---------------------------------------------------------------------------------- */

static pfn_t pool_get(void *self, unsigned order)
{
    return pmm_get(self, order, 0);
}

static void pool_put(void *self, pfn_t pfn, unsigned order)
{
    pmm_put(self, pfn, order);
}

static unsigned pool_get_batch(void *self, pfn_t *pfns, unsigned n)
{
    return pmm_get_batch(self, pfns, n, 0);
}

static void pool_put_batch(void *self, const pfn_t *pfns, unsigned n)
{
    pmm_put_batch(self, pfns, n);
}

/* ---- the work ---------------------------------------------------------------------------------- */

struct allocator {
    void *self;
    pfn_t (*get)(void *self, unsigned order);
    void (*put)(void *self, pfn_t pfn, unsigned order);
    unsigned (*get_batch)(void *self, pfn_t *pfns, unsigned n);
    void (*put_batch)(void *self, const pfn_t *pfns, unsigned n);
};

enum row {
    ALL_GET,
    ALL_PUT,
    ONE,
    RANDOM,
    RANDOM_BATCH,
    HUGE_GET,
    HUGE_PUT,
    PINNED_FOUND,
    PINNED_GET,
    PINNED_REFUSE,
    ROWS
};

static const char *const row_names[ROWS] = {
    [ALL_GET] = "all frames, get",
    [ALL_PUT] = "all frames, put",
    [ONE] = "one frame again and again, get + put",
    [RANDOM] = "random at 90 % full, put + get",
    [RANDOM_BATCH] = "the same in batches of 64",
    [HUGE_GET] = "2 MiB, fresh, get",
    [HUGE_PUT] = "2 MiB, fresh, put",
    [PINNED_FOUND] = "2 MiB, half of them pinned: blocks found",
    [PINNED_GET] = "2 MiB, half of them pinned, get",
    [PINNED_REFUSE] = "2 MiB, half of them pinned, refuse",
};

/* One allocator at work on `count` frames; `held` has room for as many. */
struct run {
    const struct allocator *a;
    uint64_t count;
    pfn_t *held;
    uint64_t nheld;
    struct rng rng;
    uint64_t result[ROWS];
};

static uint64_t since(uint64_t start, uint64_t nops)
{
    return nops != 0 ? (rdtsc() - start) / nops : 0;
}

static void take_all(struct run *r, unsigned order)
{
    pfn_t pfn = r->a->get(r->a->self, order);

    while (!pfn_is_none(pfn)) {
        r->held[r->nheld++] = pfn;
        pfn = r->a->get(r->a->self, order);
    }
}

static void put_all(struct run *r, unsigned order)
{
    for (uint64_t i = 0; i < r->nheld; i++) {
        r->a->put(r->a->self, r->held[i], order);
    }
    r->nheld = 0;
}

static void run_all(struct run *r, unsigned order, enum row get, enum row put)
{
    uint64_t start = rdtsc(), n;

    take_all(r, order);
    r->result[get] = since(start, r->nheld);
    n = r->nheld;
    start = rdtsc();
    put_all(r, order);
    r->result[put] = since(start, n);
}

static void run_one(struct run *r)
{
    uint64_t start = rdtsc();

    for (unsigned i = 0; i < REPEATS; i++) {
        r->a->put(r->a->self, r->a->get(r->a->self, 0), 0);
    }
    r->result[ONE] = since(start, REPEATS);
}

/* Make the first `n` of what is held a random choice in random order. */
static void shuffle(struct run *r, uint64_t n)
{
    for (uint64_t i = 0; i < n; i++) {
        uint64_t j = i + rng_below(&r->rng, r->nheld - i);
        pfn_t pfn = r->held[i];

        r->held[i] = r->held[j];
        r->held[j] = pfn;
    }
}

/* A tenth of all, chosen at random, is put; then random frames are exchanged. */
static void run_random(struct run *r)
{
    uint64_t tenth, swaps, start, done = 0;
    pfn_t *at;

    take_all(r, 0);
    tenth = r->nheld / 10;
    swaps = mm_align_down(mm_min(MAX_SWAPS, r->nheld / 3), BATCH);
    shuffle(r, tenth + 2 * swaps);
    at = r->held + r->nheld - tenth; /* those to put go to the end */
    for (uint64_t i = 0; i < tenth; i++) {
        pfn_t pfn = r->held[2 * swaps + i];

        r->held[2 * swaps + i] = at[i];
        at[i] = pfn;
        r->a->put(r->a->self, pfn, 0);
    }
    r->nheld -= tenth;

    start = rdtsc();
    for (uint64_t i = 0; i < swaps; i++) {
        r->a->put(r->a->self, r->held[i], 0);
        r->held[i] = r->a->get(r->a->self, 0);
    }
    r->result[RANDOM] = since(start, swaps);

    at = r->held + swaps;
    start = rdtsc();
    for (; done < swaps; done += BATCH) {
        r->a->put_batch(r->a->self, at + done, BATCH);
        MM_ASSERT(r->a->get_batch(r->a->self, at + done, BATCH) == BATCH); /* they were just put */
    }
    r->result[RANDOM_BATCH] = since(start, swaps);
    put_all(r, 0);
}

/* All is taken, and put but for one frame, at random, in every second block of 2 MiB. */
static void run_pinned(struct run *r)
{
    uint64_t npins = 0, start;
    pfn_t *blocks;

    take_all(r, 0);
    for (uint64_t i = 0; i < r->nheld; i++) {
        uint64_t block = r->held[i].v / HUGE_FRAMES, rest = r->held[i].v % HUGE_FRAMES;

        if (block % 2 == 0 && rest == block * 37 % HUGE_FRAMES) {
            r->held[npins++] = r->held[i];
        } else {
            r->a->put(r->a->self, r->held[i], 0);
        }
    }
    blocks = r->held;
    r->held += npins;
    r->nheld = 0;

    start = rdtsc();
    take_all(r, HUGE_ORDER);
    r->result[PINNED_FOUND] = r->nheld;
    r->result[PINNED_GET] = since(start, r->nheld);
    start = rdtsc();
    for (unsigned i = 0; i < REFUSALS; i++) {
        MM_ASSERT(pfn_is_none(r->a->get(r->a->self, HUGE_ORDER)));
    }
    r->result[PINNED_REFUSE] = since(start, REFUSALS);

    put_all(r, HUGE_ORDER);
    r->held = blocks;
    r->nheld = npins;
    put_all(r, 0);
}

static void run_everything(struct run *r)
{
    run_all(r, 0, ALL_GET, ALL_PUT);
    run_one(r);
    run_random(r);
    run_pinned(r);
    run_all(r, HUGE_ORDER, HUGE_GET, HUGE_PUT);
}

/* ---- the command ------------------------------------------------------------------------------- */

static struct pmm *make_pool(pfn_t base, uint64_t count, void *map_storage, uint64_t map_bytes,
                             void **storage)
{
    const struct efi_memory_descriptor desc = { .type = EFI_MT_CONVENTIONAL,
                                                .physical_start = pa_of_pfn(base).v,
                                                .number_of_pages = count,
                                                .attribute = EFI_MA_WB };
    const struct memmap_raw raw = {
        .bytes = &desc, .nbytes = sizeof(desc), .stride = sizeof(desc), .version = 1
    };
    struct pmm *p = NULL;
    struct memmap m;
    uint64_t nbytes;

    if (memmap_build(&m, &raw, map_storage, map_bytes) != MM_OK) {
        return NULL;
    }
    nbytes = mm_align_up(pmm_storage_bytes(&m, PMM_GENERAL, CPU_COUNT), MM_PAGE_SIZE);
    *storage = kmalloc_aligned(nbytes, MM_PAGE_SIZE);
    if (*storage == NULL || pmm_init(&p, &m, PMM_GENERAL, CPU_COUNT, *storage, nbytes) != MM_OK) {
        return NULL;
    }
    return p;
}

static void make_bitmap(pfn_t base, uint64_t count)
{
    bitmap.lock = (struct mm_lock)MM_LOCK_INIT(MM_RANK_PMM);
    bitmap.base = base.v;
    bitmap.nwords = count / 64;
    bitmap.next = bitmap.next_huge = 0;
    memset(bitmap.words, 0xff, bitmap.nwords * sizeof(bitmap.words[0]));
}

static void show(const struct run *pool, const struct run *map)
{
    char size[FMT_BYTES_MAX];

    kprintf(STYLE_HEAD "frames of %-32s%10s%10s     ratio" STYLE_OFF "\n",
            fmt_bytes(size, pool->count << MM_PAGE_SHIFT), "pool", "bitmap");
    for (unsigned row = 0; row < ROWS; row++) {
        uint64_t ours = pool->result[row], theirs = map->result[row];
        uint64_t tenths = ours != 0 ? theirs * 10 / ours : 0;

        kprintf("%-42s%10llu%10llu", row_names[row], (unsigned long long)ours,
                (unsigned long long)theirs);
        if (row != PINNED_FOUND) {
            kprintf("%8llu.%llu", (unsigned long long)tenths / 10, (unsigned long long)tenths % 10);
        }
        kputs("\n");
    }
}

bool bench_pmm(void)
{
    const struct allocator pool = { NULL, pool_get, pool_put, pool_get_batch, pool_put_batch };
    const struct allocator map = { &bitmap, bitmap_get, bitmap_put, bitmap_get_batch,
                                   bitmap_put_batch };
    struct allocator with_self = pool;
    uint64_t count, map_bytes = memmap_storage_bytes(1);
    void *map_storage = kmalloc(map_bytes), *storage = NULL;
    unsigned order = MAX_ORDER + 1;
    pfn_t base = PFN_NONE;
    pfn_t *held;
    bool good = false;

    while (order > MIN_ORDER && pfn_is_none(base)) {
        base = pmm_get(vm_pmm, --order, 0);
    }
    count = UINT64_C(1) << order;
    held = vmalloc(count * sizeof(*held), "bench");
    if (map_storage != NULL && held != NULL && !pfn_is_none(base)) {
        with_self.self = make_pool(base, count, map_storage, map_bytes, &storage);
    }
    if (with_self.self != NULL) {
        struct run ours = { .a = &with_self, .count = count, .held = held, .rng = { 1 } };
        struct run theirs = { .a = &map, .count = count, .held = held, .rng = { 1 } };

        make_bitmap(base, count);
        run_everything(&ours);
        run_everything(&theirs);
        show(&ours, &theirs);
        good = pmm_free_frames(with_self.self) == count;
    }
    kfree(storage);
    kfree(map_storage);
    vfree(held);
    if (!pfn_is_none(base)) {
        pmm_put(vm_pmm, base, order);
    }
    return good;
}
