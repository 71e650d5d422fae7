/*
 * bench heap: heap_ff, and beside it heap_list, the same policy over a plain list, at the same
 * work.
 *
 * Both get the same memory, one after the other, as their only arena, and play the same steps. A
 * figure is the mean of one step, be it an allocation, a free or a resize; the loop around it and
 * the call through a pointer are in it, for both alike. Nobody touches the blocks, so what a resize
 * costs is the copying, too, if it has to move.
 */
#include "cpu/asm.h"
#include "lib/console.h"
#include "lib/string.h"
#include "mm/heap_ff.h"
#include "mm/heap_list.h"
#include "mm/port.h"
#include "mm/vmalloc.h"
#include "monitor/bench.h"
#include "monitor/style.h"
#include "monitor/testing.h"

#define ARENA_BYTES (UINT64_C(4) << 20)
#define MAX_SLOTS   8192u
#define MAX_STEPS   20000u
#define LIVE        1000u
#define SWAPS       2000u
#define HOLES       4000u

/* ---- the heaps -------------------------------------------------------------------------------- */

struct allocator {
    const char *name;
    bool (*open)(void *arena, size_t nbytes);
    void *(*alloc)(size_t nbytes);
    void *(*realloc)(void *ptr, size_t nbytes);
    void (*free)(void *ptr);
    const char *(*check)(void);
};

static struct heap_ff ff;
static struct heap_list list;

static bool ff_open(void *arena, size_t nbytes)
{
    heap_ff_init(&ff, NULL, 0);
    return heap_ff_add_arena(&ff, arena, nbytes) == MM_OK;
}

static void *ff_alloc(size_t nbytes)
{
    return heap_ff_alloc(&ff, nbytes);
}

static void *ff_realloc(void *ptr, size_t nbytes)
{
    return heap_ff_realloc(&ff, ptr, nbytes);
}

static void ff_free(void *ptr)
{
    heap_ff_free(&ff, ptr);
}

static const char *ff_check(void)
{
    return heap_ff_check(&ff);
}

static bool list_open(void *arena, size_t nbytes)
{
    heap_list_init(&list, NULL);
    return heap_list_add_arena(&list, arena, nbytes) == MM_OK;
}

static void *list_alloc(size_t nbytes)
{
    return heap_list_alloc(&list, nbytes);
}

static void *list_realloc(void *ptr, size_t nbytes)
{
    return heap_list_realloc(&list, ptr, nbytes);
}

static void list_free(void *ptr)
{
    heap_list_free(&list, ptr);
}

static const char *list_check(void)
{
    return heap_list_check(&list);
}

static const struct allocator allocators[] = {
    { "heap_ff", ff_open, ff_alloc, ff_realloc, ff_free, ff_check },
    { "heap_list", list_open, list_alloc, list_realloc, list_free, list_check },
};

/* ---- the work --------------------------------------------------------------------------------- */

/* Free what the slot holds (`nbytes` 0), resize it, or allocate if it holds nothing. */
struct step {
    uint16_t slot;
    uint16_t nbytes;
};

struct work {
    struct step *steps;
    size_t nsteps;
    size_t first; /* those before it are not measured */
    struct rng rng;
};

static void add(struct work *w, uint64_t slot, uint64_t nbytes)
{
    MM_ASSERT(w->nsteps < MAX_STEPS && slot < MAX_SLOTS);
    w->steps[w->nsteps++] = (struct step){ (uint16_t)slot, (uint16_t)nbytes };
}

static uint64_t size_from_to(struct work *w, uint64_t least, uint64_t most)
{
    return least + rng_below(&w->rng, most - least + 1);
}

static void fill(struct work *w, unsigned nslots, uint64_t least, uint64_t most)
{
    for (unsigned i = 0; i < nslots; i++) {
        add(w, i, size_from_to(w, least, most));
    }
}

static void plan_one(struct work *w)
{
    for (unsigned i = 0; i < SWAPS; i++) {
        add(w, 0, 64);
        add(w, 0, 0);
    }
}

static void plan_lifo(struct work *w)
{
    for (unsigned round = 0; round < 2; round++) {
        fill(w, LIVE, 16, 1024);
        for (unsigned i = LIVE; i > 0; i--) {
            add(w, i - 1, 0);
        }
    }
}

static void plan_fifo(struct work *w)
{
    fill(w, LIVE, 16, 1024);
    w->first = w->nsteps;
    for (unsigned i = 0; i < SWAPS; i++) {
        add(w, i % LIVE, 0);
        add(w, i % LIVE, size_from_to(w, 16, 1024));
    }
}

static void swap_random(struct work *w, unsigned nlive)
{
    fill(w, nlive, 16, 1024);
    w->first = w->nsteps;
    for (unsigned i = 0; i < SWAPS; i++) {
        uint64_t slot = rng_below(&w->rng, nlive);

        add(w, slot, 0);
        add(w, slot, size_from_to(w, 16, 1024));
    }
}

static void plan_random_few(struct work *w)
{
    swap_random(w, LIVE / 10);
}

static void plan_random(struct work *w)
{
    swap_random(w, LIVE);
}

static void plan_resize(struct work *w)
{
    fill(w, LIVE, 16, 1024);
    w->first = w->nsteps;
    for (unsigned i = 0; i < SWAPS; i++) {
        add(w, rng_below(&w->rng, LIVE), size_from_to(w, 16, 1024));
    }
}

/* Large requests, and in front of all memory that has the room small holes that have not. */
static void plan_holes(struct work *w)
{
    fill(w, HOLES, 32, 32);
    for (unsigned i = 0; i < HOLES; i += 2) {
        add(w, i, 0);
    }
    w->first = w->nsteps;
    for (unsigned i = 0; i < SWAPS / 4; i++) {
        add(w, HOLES + i % 100, 0);
        add(w, HOLES + i % 100, size_from_to(w, 256, 1280));
    }
}

static const struct row {
    const char *name;
    void (*plan)(struct work *w);
} rows[] = {
    { "one block of 64 again and again", plan_one },
    { "last in, first out, 1000 live", plan_lifo },
    { "first in, first out, 1000 live", plan_fifo },
    { "random, 100 live", plan_random_few },
    { "random, 1000 live", plan_random },
    { "resize at random, 1000 live", plan_resize },
    { "2000 small holes in front", plan_holes },
};

/* False if memory ran out. */
static bool play(const struct allocator *a, void **slots, const struct step *s, size_t n)
{
    for (const struct step *end = s + n; s < end; s++) {
        void **slot = &slots[s->slot];

        if (s->nbytes == 0) {
            a->free(*slot);
            *slot = NULL;
            continue;
        }
        *slot = *slot == NULL ? a->alloc(s->nbytes) : a->realloc(*slot, s->nbytes);
        if (*slot == NULL) {
            return false;
        }
    }
    return true;
}

/* The cost of a step; 0 if memory ran out. */
static uint64_t measure(const struct allocator *a, void *arena, void **slots, const struct work *w)
{
    size_t n = w->nsteps - w->first;
    uint64_t start;
    bool good;

    memset(slots, 0, MAX_SLOTS * sizeof(*slots));
    if (!a->open(arena, ARENA_BYTES) || !play(a, slots, w->steps, w->first)) {
        return 0;
    }
    start = rdtsc();
    good = play(a, slots, w->steps + w->first, n);
    start = (rdtsc() - start) / n;
    MM_ASSERT(a->check() == NULL);
    return good ? start : 0;
}

static bool run_row(const struct row *row, struct work *w, void *arena, void **slots)
{
    uint64_t cost[MM_COUNTOF(allocators)], tenths;

    w->nsteps = w->first = 0;
    row->plan(w);
    for (size_t i = 0; i < MM_COUNTOF(allocators); i++) {
        cost[i] = measure(&allocators[i], arena, slots, w);
        if (cost[i] == 0) {
            return false;
        }
    }
    tenths = cost[1] * 10 / cost[0];
    kprintf("%-42s%10llu%10llu%8llu.%llu\n", row->name, (unsigned long long)cost[0],
            (unsigned long long)cost[1], (unsigned long long)tenths / 10,
            (unsigned long long)tenths % 10);
    return true;
}

bool bench_heap(void)
{
    void *arena = vmalloc(ARENA_BYTES, "bench");
    void **slots = vmalloc(MAX_SLOTS * sizeof(*slots), "bench");
    struct work w = { .steps = vmalloc(MAX_STEPS * sizeof(*w.steps), "bench"), .rng = { 1 } };
    bool good = arena != NULL && slots != NULL && w.steps != NULL;

    if (good) {
        kprintf(STYLE_HEAD "%-42s%10s%10s     ratio" STYLE_OFF "\n", "heaps, an operation",
                allocators[0].name, allocators[1].name);
    }
    for (size_t i = 0; i < MM_COUNTOF(rows) && good; i++) {
        good = run_row(&rows[i], &w, arena, slots);
    }
    vfree(w.steps);
    vfree(slots);
    vfree(arena);
    return good;
}
