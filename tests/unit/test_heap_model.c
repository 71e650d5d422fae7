/*
 * test_heap_model.c - every address that a first-fit heap gives, beside a naive first fit
 * (heap_world.h), over random operations of all kinds and sizes.
 *
 * Each run is a world of its own: arenas that are given, or come from a backing and go back, or
 * both; ranges that grow or not; few blocks or many; sizes of one of several kinds; a backing that
 * refuses. PLAT_HEAP_OPS says how many operations there are in all, PLAT_SEED where they begin.
 */
#include "heap_world.h"

#include <stdlib.h>

#define DEFAULT_OPS 300000u
#define MOST_ZEROED ((size_t)2 << 20) /* bytes, for the time that it takes */
#define RUN_OPS     10000u            /* on average, of most runs */

static const struct heap_kind *const kinds[] = { &heap_kind_list, &heap_kind_ff };

static uint64_t total_ops(void)
{
    const char *env = getenv("PLAT_HEAP_OPS");

    return env != NULL ? strtoull(env, NULL, 0) : DEFAULT_OPS;
}

static uint64_t below(struct host_rng *r, uint64_t bound)
{
    return host_rng_below(r, bound);
}

static bool once_in(struct host_rng *r, uint64_t n)
{
    return below(r, n) == 0;
}

/* ---- sizes ------------------------------------------------------------------------------------ */

/* Any of the first are mixed at random. */
enum sizes { UNIFORM, POWER, FEW, EDGES, TINY, LARGE, ANY_SIZES, HUGE = ANY_SIZES };

static size_t size_of(struct host_rng *r, enum sizes kind)
{
    static const size_t few[] = { 16, 24, 48, 64, 100, 256, 1000, 4096 };

    switch (kind) {
    case UNIFORM:
        return 16 + below(r, 1009);
    case POWER: /* P(size > x) ~ 1/x, 16 to 64 Ki */
        return (size_t)(65536 / (1 + below(r, 4096)));
    case FEW:
        return few[below(r, MM_COUNTOF(few))];
    case EDGES: /* around powers of two */
        return ((size_t)1 << below(r, 16)) + below(r, 35) - mm_min(below(r, 35), 1);
    case TINY:
        return below(r, 70);
    case HUGE:
        return below(r, (size_t)1 << below(r, 29));
    default:
        return below(r, once_in(r, 8) ? 1 << 20 : 1 << 16);
    }
}

/* What nobody has. */
static size_t absurd_size(struct host_rng *r)
{
    switch (below(r, 4)) {
    case 0:
        return SIZE_MAX - below(r, 5000);
    case 1:
        return ((size_t)1 << (40 + below(r, 24))) + below(r, 64) - 32;
    case 2:
        return SIZE_MAX / 2 + below(r, 64) - 32;
    default:
        return HEAP_WORLD_MAX_POOL + below(r, 64) - 32;
    }
}

/* ---- runs ------------------------------------------------------------------------------------- */

struct plan {
    struct heap_world_config world;
    uint64_t nops;
    size_t max_live, build;     /* live blocks at most; that many before anything else is done */
    size_t arenas, arena_bytes; /* to begin with, and how large one is at most */
    enum sizes sizes;
    unsigned mixed;         /* one size in so many is of another kind, 0: none */
    unsigned resize;        /* percent of the operations */
    uint64_t tide;          /* operations from low to high water */
    uint64_t compare_every; /* operations */
};

static void add_arena(struct heap_world *w, struct host_rng *r, const struct plan *p)
{
    /* `align` is small and random: how crooked it is. A multiple of 7 would overlap another. */
    struct heap_op op = { HEAP_OP_ADD_ARENA, host_rng_next(r), 1 + below(r, p->arena_bytes),
                          1 + below(r, 4000) * 7 };

    if (once_in(r, 3)) {
        op.align = 7 * 64 * 5 + 1; /* or not at all, so that arenas touch */
    }
    if (once_in(r, 10)) {
        op.align -= op.align % 7;
    }
    heap_world_do(w, &op);
}

static struct heap_op next_op(struct heap_world *w, struct host_rng *r, const struct plan *p,
                              uint64_t step)
{
    bool rising = step / p->tide % 2 == 0;
    enum sizes sizes =
        p->mixed != 0 && once_in(r, p->mixed) ? (enum sizes)below(r, ANY_SIZES) : p->sizes;
    struct heap_op op = { .which = host_rng_next(r), .nbytes = size_of(r, sizes) };
    size_t n = heap_world_nlive(w);
    unsigned what = (unsigned)below(r, 100);

    if (once_in(r, 500)) {
        op.nbytes = absurd_size(r);
    }
    if (once_in(r, 300)) {
        op.what = HEAP_OP_TRIM;
    } else if (what < p->resize) {
        op.what = HEAP_OP_REALLOC;
    } else if (n >= p->max_live || below(r, 100) < (rising ? 30u : 70u)) {
        op.what = HEAP_OP_FREE;
        if (once_in(r, 4)) { /* the newest, the oldest: whole neighbourhoods go */
            op.which = n == 0 || once_in(r, 2) ? 0 : n - 1;
        }
    } else if (once_in(r, 6)) {
        op.what = HEAP_OP_ALIGNED;
        op.align = (size_t)1 << below(r, once_in(r, 20) ? 22 : 13);
    } else if (once_in(r, 6) && (op.nbytes < MOST_ZEROED || op.nbytes > HEAP_WORLD_MAX_POOL)) {
        op.what = HEAP_OP_ZEROED;
        op.align = once_in(r, 50) ? SIZE_MAX / (1 + below(r, 64)) : 1 + below(r, 4);
        op.nbytes /= op.align < 5 ? op.align : 1;
    }
    return op;
}

static struct heap_world_counts run(const struct plan *p, struct host_rng *r)
{
    struct heap_world *w = heap_world_open(&p->world);

    for (size_t i = 0; i < p->arenas; i++) {
        add_arena(w, r, p);
    }
    for (size_t i = 0; i < p->build; i++) {
        struct heap_op op = { .what = HEAP_OP_ALLOC, .nbytes = size_of(r, p->sizes) };

        heap_world_do(w, &op);
    }
    heap_world_compare(w);
    for (uint64_t step = 0; step < p->nops; step++) {
        struct heap_op op = next_op(w, r, p, step);

        if (p->arenas != 0 && once_in(r, 1000)) {
            add_arena(w, r, p);
        }
        heap_world_do(w, &op);
        if (step % p->compare_every == 0) {
            heap_world_compare(w);
        }
    }
    return heap_world_close(w);
}

static void add_counts(struct heap_world_counts *sum, const struct heap_world_counts *c)
{
    sum->nnull += c->nnull;
    sum->ncalls += c->ncalls;
    sum->ngot += c->ngot;
    sum->ngrown += c->ngrown;
    sum->nput += c->nput;
    sum->ncut += c->ncut;
    sum->nmoved += c->nmoved;
    sum->nresized += c->nresized;
    sum->most_blocks = mm_max(sum->most_blocks, c->most_blocks);
}

static void print_counts(const struct heap_kind *kind, uint64_t nops,
                         const struct heap_world_counts *c)
{
    print_message("%s: %llu operations, up to %zu blocks; refused %zu, resized %zu, moved %zu; "
                  "arenas fetched %zu, grown %zu, returned %zu, shortened %zu\n",
                  kind->name, (unsigned long long)nops, c->most_blocks, c->nnull, c->nresized,
                  c->nmoved, c->ngot, c->ngrown, c->nput, c->ncut);
}

/* Up to a thousand blocks or two, in worlds of all kinds. */
static struct plan random_plan(const struct heap_kind *kind, struct host_rng *r)
{
    static const size_t lives[] = { 3, 20, 100, 100, 400, 1000 };
    size_t max_live = lives[below(r, MM_COUNTOF(lives))];
    size_t grain = HEAP_WORLD_MIN_SLOT << below(r, 13), pool;
    unsigned from = (unsigned)below(r, 4); /* bit 0: a backing, else arenas; both if neither */
    struct plan p = { .max_live = max_live,
                      .sizes = (enum sizes)below(r, ANY_SIZES),
                      .mixed = once_in(r, 2) ? 0 : 2 + (unsigned)below(r, 20),
                      .resize = (unsigned)below(r, 50),
                      .tide = 1 + below(r, 8 * max_live),
                      .compare_every = 1 + max_live / 4,
                      .nops = 1 + below(r, 2 * RUN_OPS) };

    /* Now and then too little for what is live. */
    pool = mm_align_up((max_live + 20) * (p.sizes == LARGE ? 40000u : 600u), 65536);
    pool = mm_min(pool << below(r, 3), (size_t)64 << 20);
    grain = mm_max(grain, pool >> 14);
    grain = mm_min((size_t)1 << (63 - __builtin_clzll(grain)), 65536);
    if (from != 1) {
        p.arenas = 1 + below(r, 6);
        p.arena_bytes = 1 + pool / p.arenas;
    }
    p.world = (struct heap_world_config){ .kind = kind,
                                          .pool_bytes = pool,
                                          .backing = from != 0,
                                          .grain = grain,
                                          .refuse = once_in(r, 3) ? 2 + (unsigned)below(r, 9) : 0,
                                          .fail_at = -1,
                                          .seed = host_rng_next(r) };
    if (p.world.backing && once_in(r, 2)) {
        p.world.reach = mm_align_up(1 + below(r, pool / 2), grain);
        p.world.keep = once_in(r, 3) ? 0 : below(r, pool / 4);
    }
    return p;
}

static void every_address(void **state)
{
    const struct heap_kind *kind = *state;
    struct host_rng r = host_rng_make(kind->name);
    struct heap_world_counts sum = { 0 };
    uint64_t left = total_ops(), done = 0;

    while (left > done) {
        struct plan p = random_plan(kind, &r);
        struct heap_world_counts c;

        p.nops = mm_min(p.nops, left - done);
        c = run(&p, &r);
        add_counts(&sum, &c);
        done += p.nops;
    }
    print_counts(kind, done, &sum);
    assert_true(sum.nnull > 0 && sum.nmoved > 0 && sum.nresized > 0 && sum.ngot > 0);
}

/* A few operations with many thousands of blocks: the model is slow there. */
static void every_address_of_many(void **state)
{
    const struct heap_kind *kind = *state;
    struct host_rng r = host_rng_make(kind->name);
    uint64_t nops = total_ops() / 250;
    size_t max_live = mm_min(mm_max(nops, 10000), 40000);
    const struct plan p = { .world = { .kind = kind,
                                       .pool_bytes = (size_t)64 << 20,
                                       .backing = true,
                                       .grain = (size_t)1 << 16,
                                       .reach = kind->bounded ? (size_t)4 << 20 : 0,
                                       .keep = (size_t)1 << 20,
                                       .fail_at = -1,
                                       .seed = host_rng_next(&r) },
                            .nops = nops,
                            .max_live = max_live,
                            .build = max_live / 2,
                            .arenas = 3,
                            .arena_bytes = (size_t)1 << 20,
                            .sizes = POWER,
                            .mixed = 20,
                            .resize = 10,
                            .tide = max_live,
                            .compare_every = 4000 };
    struct heap_world_counts c = run(&p, &r);

    print_counts(kind, nops, &c);
}

/* A few blocks of up to half of one long arena: an index of more levels. Nothing is copied. */
static void every_address_of_long(void **state)
{
    const struct heap_kind *kind = *state;
    struct host_rng r = host_rng_make(kind->name);
    const struct plan p = { .world = { .kind = kind,
                                       .pool_bytes = (size_t)512 << 20,
                                       .backing = true,
                                       .grain = (size_t)1 << 16,
                                       .reach = kind->bounded ? (size_t)400 << 20 : 0,
                                       .keep = (size_t)1 << 20,
                                       .fail_at = -1,
                                       .seed = host_rng_next(&r) },
                            .nops = total_ops() / 50,
                            .max_live = 200,
                            .sizes = HUGE,
                            .mixed = 2,
                            .tide = 400,
                            .compare_every = 100 };
    struct heap_world_counts c = run(&p, &r);

    print_counts(kind, p.nops, &c);
}

/* The same operations again and again, each time with another call of the backing refused. */
static void out_of_memory_at_each_call(void **state)
{
    const struct heap_kind *kind = *state;
    struct host_rng seed = host_rng_make(kind->name);

    for (unsigned reach = 0; reach < 2; reach++) {
        long ncalls = 1, failures = 0;

        for (long fail_at = 0; fail_at < ncalls; fail_at++) {
            struct host_rng r = seed;
            const struct plan p = { .world = { .kind = kind,
                                               .pool_bytes = (size_t)4 << 20,
                                               .backing = true,
                                               .grain = 4096,
                                               .reach = (size_t)reach * 65536,
                                               .keep = 8192,
                                               .fail_at = fail_at,
                                               .seed = seed.state },
                                    .nops = 600,
                                    .max_live = 100,
                                    .sizes = EDGES,
                                    .resize = 25,
                                    .tide = 150,
                                    .compare_every = 1 };
            struct heap_world_counts c = run(&p, &r);

            ncalls = c.ncalls;
            failures += c.nnull > 0;
        }
        assert_true(ncalls > 20 && failures > 5);
    }
}

int main(void)
{
    static const struct {
        const char *name;
        CMUnitTestFunction fn;
    } tests[] = {
        { "every_address", every_address },
        { "every_address_of_many", every_address_of_many },
        { "every_address_of_long", every_address_of_long },
        { "out_of_memory_at_each_call", out_of_memory_at_each_call },
    };
    static char names[MM_COUNTOF(kinds)][MM_COUNTOF(tests)][64];
    struct CMUnitTest all[MM_COUNTOF(kinds) * MM_COUNTOF(tests)];

    for (size_t k = 0; k < MM_COUNTOF(kinds); k++) {
        for (size_t t = 0; t < MM_COUNTOF(tests); t++) {
            snprintf(names[k][t], sizeof(names[k][t]), "%s_%s", kinds[k]->name, tests[t].name);
            all[k * MM_COUNTOF(tests) + t] =
                (struct CMUnitTest){ names[k][t], tests[t].fn, NULL, NULL, (void *)kinds[k] };
        }
    }
    return cmocka_run_group_tests_name("heap_model", all, NULL, NULL);
}
