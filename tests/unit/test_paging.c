/*
 * test_paging.c - page tables, read back entry by entry.
 *
 * Bits, shifts and whole entries are restated here by hand, from the SDM (vol. 3A tables 4-15 to
 * 4-20); of x86/pte.h only the type of an entry is used.
 */
#include "host_port.h"

#include <stdlib.h>

#include "mm/paging.h"

#define KIB UINT64_C(1024)
#define MIB (1024 * KIB)
#define GIB (1024 * MIB)
#define TIB (1024 * GIB)
#define P4K (4 * KIB)
#define P2M (2 * MIB)

#define NX UINT64_C(0x8000000000000000)

/* Bytes that one entry spans, by level. */
static const uint64_t span_of[] = { 0, 4 * KIB, 2 * MIB, GIB, 512 * GIB, 256 * TIB };

/* ---- table frames ---------------------------------------------------------------------------- */

#define NFRAMES     1100
#define FRAMES_BASE UINT64_C(0x5000000)

static struct {
    bool out[NFRAMES];     /* given to paging.c and not yet back */
    uint64_t age[NFRAMES]; /* the call to the page table that it was given in */
    uint64_t nout;
    uint64_t gets;    /* since the start */
    uint64_t fail_in; /* the fail_in-th get from now fails, and all after it; 0: none fails */
    uint64_t next;
    uint64_t call;      /* counts begin_call() */
    uint64_t nflushes;  /* host_flush.calls at begin_call() */
    bool needs_flush;   /* a frame from an earlier call may come back after a flush only */
    unsigned char *was; /* contents of all frames at begin_call() */
    uint64_t extra;     /* frame number that get returns instead, once; 0: none */
} pool;

static unsigned char *frame_bytes(uint64_t i)
{
    return port_ptr(pa_make(FRAMES_BASE + i * P4K));
}

static void assert_locked(void)
{
    assert_int_equal(*port_held_ranks(), 1u << MM_RANK_PAGING);
}

static pfn_t pool_get(void *ctx)
{
    assert_ptr_equal(ctx, &pool);
    assert_locked();
    if (pool.extra != 0) {
        pfn_t pfn = { pool.extra };

        pool.extra = 0;
        return pfn;
    }
    if (pool.fail_in == 1) {
        return PFN_NONE;
    }
    pool.fail_in -= pool.fail_in != 0;
    assert_true(pool.nout < NFRAMES);
    while (pool.out[pool.next % NFRAMES]) {
        pool.next++;
    }
    uint64_t i = pool.next % NFRAMES;

    pool.next += 7; /* not in order of address */
    pool.out[i] = true;
    pool.age[i] = pool.call;
    pool.nout++;
    pool.gets++;
    memset(frame_bytes(i), 0xa5, P4K);
    return pfn_make(FRAMES_BASE / P4K + i);
}

static void pool_put(void *ctx, pfn_t pfn)
{
    uint64_t i = pfn.v - FRAMES_BASE / P4K;

    assert_ptr_equal(ctx, &pool);
    assert_locked();
    assert_true(i < NFRAMES);
    assert_true(pool.out[i]);
    if (pool.needs_flush && pool.age[i] != pool.call) {
        /* It was linked. Nobody may have it before the flush, and till then it is empty. */
        assert_int_equal(host_flush.calls, pool.nflushes + 1);
        for (unsigned k = 0; k < 512; k++) {
            assert_int_equal(frame_bytes(i)[8 * k] & 1, 0);
        }
    }
    memset(frame_bytes(i), 0xdf, P4K);
    pool.out[i] = false;
    pool.nout--;
}

static const struct pt_frames frames = { pool_get, pool_put, &pool };

static int setup(void **state)
{
    unsigned char *was = pool.was != NULL ? pool.was : malloc(NFRAMES * P4K);

    (void)state;
    host_phys_reset();
    memset(&pool, 0, sizeof(pool));
    pool.was = was;
    return was == NULL;
}

static int all_back(void **state)
{
    (void)state;
    return pool.nout != 0; /* every test destroys what it makes */
}

/* Note how things are, before a call. */
static void begin_call(void)
{
    pool.call++;
    pool.nflushes = host_flush.calls;
    pool.needs_flush = true;
}

static uint64_t flushes(void)
{
    return host_flush.calls - pool.nflushes;
}

/* Remember the contents of every frame that is out... */
static void note_tables(void)
{
    for (uint64_t i = 0; i < NFRAMES; i++) {
        if (pool.out[i]) {
            memcpy(pool.was + i * P4K, frame_bytes(i), P4K);
        }
    }
}

/* ...and see that they are the same, and that the last call kept none of those it took. */
static void assert_tables_unchanged(uint64_t nout)
{
    assert_int_equal(pool.nout, nout);
    for (uint64_t i = 0; i < NFRAMES; i++) {
        if (pool.out[i]) {
            assert_true(pool.age[i] != pool.call);
            assert_memory_equal(pool.was + i * P4K, frame_bytes(i), P4K);
        }
    }
}

/* ---- page tables ----------------------------------------------------------------------------- */

static const struct pt_features rich = {
    .levels = 4, .nx = true, .page1g = true, .global = true, .pa_bits = 46
};

static struct pt_features rich_with(unsigned levels)
{
    struct pt_features f = rich;

    f.levels = levels;
    return f;
}

static void make(struct pagetable *pt, struct pt_features f)
{
    assert_int_equal(pt_init(pt, &f, &frames), MM_OK);
    assert_sound(pt_check(pt));
}

static void assert_healthy(const struct pagetable *pt)
{
    assert_sound(pt_check(pt));
    assert_int_equal(pt->ntables, pool.nout);
    assert_int_equal(*port_held_ranks(), 0);
}

static void destroy(struct pagetable *pt)
{
    pool.needs_flush = false;
    pt_destroy(pt);
    assert_int_equal(*port_held_ranks(), 0);
}

static void map(struct pagetable *pt, uint64_t va, uint64_t pa, uint64_t nbytes, unsigned flags)
{
    begin_call();
    assert_int_equal(pt_map(pt, va, pa_make(pa), nbytes, flags), MM_OK);
    assert_int_equal(flushes(), 0);
    assert_sound(pt_check(pt));
}

static uint64_t *entries(uint64_t table)
{
    return port_ptr(pa_make(table));
}

/* What the processor would find at `va`. */
struct seen {
    bool present;
    unsigned level; /* of the leaf, or of the entry that is missing */
    uint64_t entry;
    uint64_t *at;
    uint64_t links[6]; /* the entries above it, by level */
    uint64_t pa;       /* of `va` itself */
};

static struct seen look(const struct pagetable *pt, uint64_t va)
{
    uint64_t table = pt->root.v;
    struct seen s = { .present = false };

    for (unsigned level = pt->feat.levels; level >= 1; level--) {
        s.level = level;
        s.at = &entries(table)[va / span_of[level] % 512];
        s.entry = *s.at;
        if ((s.entry & 1) == 0) {
            return s;
        }
        if (level == 1 || (level <= 3 && (s.entry & 0x80) != 0)) {
            break;
        }
        s.links[level] = s.entry;
        table = s.entry & UINT64_C(0x000ffffffffff000);
    }
    s.present = true;
    s.pa = (s.entry & UINT64_C(0x000ffffffffff000) & ~(span_of[s.level] - 1)) +
           (va & (span_of[s.level] - 1));
    return s;
}

static void assert_leaf(const struct pagetable *pt, uint64_t va, unsigned level, uint64_t entry)
{
    struct seen s = look(pt, va);

    assert_true(s.present);
    assert_int_equal(s.level, level);
    assert_int_equal(s.entry, entry);
}

static void assert_missing(const struct pagetable *pt, uint64_t va, unsigned level)
{
    struct seen s = look(pt, va);

    assert_false(s.present);
    assert_int_equal(s.level, level);
    assert_int_equal(s.entry, 0);
}

/* First addresses of interest, for each number of levels. */
#define LOW_END(levels)    ((levels) == 4 ? UINT64_C(1) << 47 : UINT64_C(1) << 56)
#define HIGH_START(levels) (-LOW_END(levels))

/* ---- tests: making --------------------------------------------------------------------------- */

static void test_init(void **state)
{
    struct pagetable pt;
    struct pt_features f;

    (void)state;
    for (unsigned levels = 0; levels < 8; levels++) {
        f = rich_with(levels);
        if (levels != 4 && levels != 5) {
            assert_int_equal(pt_init(&pt, &f, &frames), MM_EINVAL);
        }
    }
    f = rich;
    f.pa_bits = 31;
    assert_int_equal(pt_init(&pt, &f, &frames), MM_EINVAL);
    f.pa_bits = 53;
    assert_int_equal(pt_init(&pt, &f, &frames), MM_EINVAL);
    pool.fail_in = 1;
    assert_int_equal(pt_init(&pt, &rich, &frames), MM_ENOMEM);
    pool.fail_in = 0;
    assert_int_equal(pool.gets, 0);

    for (unsigned levels = 4; levels <= 5; levels++) {
        make(&pt, rich_with(levels));
        assert_int_equal(pt.ntables, 1);
        assert_int_equal(pool.nout, 1);
        for (unsigned i = 0; i < 512; i++) {
            assert_int_equal(entries(pt.root.v)[i], 0);
        }
        assert_missing(&pt, 0, levels);
        destroy(&pt);
        assert_int_equal(pool.nout, 0);
    }
}

/* A frame that the tables can't link stops the machine: the low bits of an entry would lie. */
static void test_frame_too_high(void **state)
{
    struct pagetable pt;

    (void)state;
    make(&pt, rich);
    pool.extra = UINT64_C(1) << (46 - 12);
    assert_panics(pt_map(&pt, 0, pa_make(0), P4K, 0) == MM_OK, "pa_bits");
    pool.nout = 0;
}

static void test_pat_value(void **state)
{
    /* SDM vol. 3A table 11-10: 0 UC, 1 WC, 4 WT, 5 WP, 6 WB, 7 UC-. */
    static const unsigned char want[8] = { 6, 1, 7, 0, 6, 1, 7, 0 };

    (void)state;
    for (unsigned i = 0; i < 8; i++) {
        assert_int_equal(PT_PAT_VALUE >> (8 * i) & 0xff, want[i]);
    }
}

/* ---- tests: single leaves -------------------------------------------------------------------- */

/* Flags, and the leaf's bits but for PS and address, with NX and PGE. By hand: P 1, W 2, U 4, PWT
 * 8, PCD 10, A 20, D 40, G 100, ours 200. */
static const struct {
    unsigned flags;
    uint64_t bits;
} leaf_cases[] = {
    { 0, NX | 0x21 },
    { PT_WRITE, NX | 0x63 },
    { PT_EXEC, 0x21 },
    { PT_USER, NX | 0x05 },
    { PT_USER | PT_WRITE, NX | 0x07 },
    { PT_USER | PT_EXEC, 0x05 },
    { PT_GLOBAL, NX | 0x121 },
    { PT_GLOBAL | PT_WRITE, NX | 0x163 },
    { PT_GLOBAL | PT_EXEC, 0x121 },
    { PT_UC, NX | 0x39 },
    { PT_UC | PT_WRITE, NX | 0x7b },
    { PT_WC, NX | 0x29 },
    { PT_WC | PT_WRITE | PT_GLOBAL, NX | 0x16b },
    { PT_USER | PT_WRITE | PT_UC, NX | 0x1f },
    { PT_USER | PT_WRITE | PT_WC, NX | 0x0f },
    { PT_WRITE | PT_EXEC | PT_WX_OK, 0x263 },
    { PT_USER | PT_WRITE | PT_EXEC | PT_WX_OK, 0x207 },
    { PT_WRITE | PT_WX_OK, NX | 0x63 },
    { PT_EXEC | PT_WX_OK, 0x21 },
};

static void test_leaf_bits(void **state)
{
    (void)state;
    for (unsigned levels = 4; levels <= 5; levels++) {
        for (unsigned level = 1; level <= 3; level++) {
            for (size_t i = 0; i < MM_COUNTOF(leaf_cases); i++) {
                const uint64_t va[] = { 3 * GIB, HIGH_START(levels) + 5 * 512 * GIB };
                unsigned flags = leaf_cases[i].flags;

                for (unsigned half = 0; half < ((flags & PT_USER) != 0 ? 1 : 2); half++) {
                    uint64_t pa = 7 * GIB;
                    struct pagetable pt;
                    struct pt_walk w;

                    make(&pt, rich_with(levels));
                    map(&pt, va[half], pa, span_of[level], flags);
                    assert_int_equal(pt.ntables, 1 + levels - level);
                    assert_leaf(&pt, va[half], level,
                                leaf_cases[i].bits | pa | (level > 1 ? 0x80 : 0));

                    struct seen s = look(&pt, va[half] + span_of[level] - 1);

                    assert_int_equal(s.pa, pa + span_of[level] - 1);
                    for (unsigned l = levels; l > level; l--) {
                        /* P W A, and U in the lower half */
                        assert_int_equal(s.links[l] & ~UINT64_C(0x000ffffffffff000),
                                         half == 0 ? 0x27 : 0x23);
                    }
                    pt_walk(&pt, va[half], &w);
                    if ((flags & (PT_WRITE | PT_EXEC)) != (PT_WRITE | PT_EXEC)) {
                        flags &= ~PT_WX_OK;
                    }
                    assert_int_equal(w.flags, flags);
                    assert_int_equal(w.leaf_bytes, span_of[level]);
                    destroy(&pt);
                }
            }
        }
    }
}

/* Without NX nothing may carry bit 63, and everything is executable; without PGE nothing is global.
 */
static void test_poor_processor(void **state)
{
    struct pt_features f = { .levels = 4, .pa_bits = 36 };
    struct pagetable pt;
    struct pt_walk w;

    (void)state;
    make(&pt, f);
    map(&pt, GIB, GIB, GIB, PT_WRITE | PT_GLOBAL);
    assert_leaf(&pt, GIB, 2, GIB | 0xe3);
    assert_leaf(&pt, 2 * GIB - P2M, 2, (2 * GIB - P2M) | 0xe3);
    pt_walk(&pt, GIB, &w);
    assert_int_equal(w.flags, PT_WRITE | PT_EXEC);
    assert_int_equal(pt_map(&pt, 0, pa_make(0), P4K, PT_WRITE | PT_EXEC), MM_EINVAL);
    destroy(&pt);
}

static void test_leaf_choice(void **state)
{
    struct pagetable pt;

    (void)state;
    for (unsigned levels = 4; levels <= 5; levels++) {
        uint64_t base = HIGH_START(levels);

        /* 4K up to the first 2M, 2M up to the first 1G, one 1G, 2M, 4K */
        make(&pt, rich_with(levels));
        map(&pt, base + GIB - P2M - P4K, 2 * GIB - P2M - P4K, P4K + P2M + GIB + 3 * P2M + 2 * P4K,
            PT_WRITE);
        assert_missing(&pt, base + GIB - P2M - 2 * P4K, 1);
        assert_leaf(&pt, base + GIB - P2M - P4K, 1, (2 * GIB - P2M - P4K) | NX | 0x63);
        assert_leaf(&pt, base + GIB - P2M, 2, (2 * GIB - P2M) | NX | 0xe3);
        assert_leaf(&pt, base + GIB, 3, 2 * GIB | NX | 0xe3);
        for (unsigned i = 0; i < 3; i++) {
            assert_leaf(&pt, base + 2 * GIB + i * P2M, 2, (3 * GIB + i * P2M) | NX | 0xe3);
        }
        assert_leaf(&pt, base + 2 * GIB + 3 * P2M, 1, (3 * GIB + 3 * P2M) | NX | 0x63);
        assert_leaf(&pt, base + 2 * GIB + 3 * P2M + P4K, 1, (3 * GIB + 3 * P2M + P4K) | NX | 0x63);
        assert_missing(&pt, base + 2 * GIB + 3 * P2M + 2 * P4K, 1);
        /* root, (PML4,) PDPT, PD PT below, PD PT above */
        assert_int_equal(pt.ntables, levels - 4 + 6);
        assert_healthy(&pt);
        destroy(&pt);

        /* aligned differently: as large as the distance of va and pa allows */
        make(&pt, rich_with(levels));
        map(&pt, base, GIB + P2M, GIB, 0);
        assert_leaf(&pt, base, 2, (GIB + P2M) | NX | 0xa1);
        map(&pt, base + GIB, P4K, P2M, 0);
        assert_leaf(&pt, base + GIB, 1, P4K | NX | 0x21);
        map(&pt, base + 4 * GIB, 0, P2M, PT_SMALL);
        assert_leaf(&pt, base + 4 * GIB, 1, NX | 0x21);
        assert_healthy(&pt);
        destroy(&pt);
    }

    struct pt_features f = rich;

    f.page1g = false;
    make(&pt, f);
    map(&pt, 4 * GIB, 4 * GIB, 2 * GIB, 0);
    assert_leaf(&pt, 4 * GIB, 2, 4 * GIB | NX | 0xa1);
    assert_leaf(&pt, 6 * GIB - P2M, 2, (6 * GIB - P2M) | NX | 0xa1);
    assert_int_equal(pt.ntables, 4);
    destroy(&pt);
}

/* Each place where an address might wrap, sign-extend wrongly, or change tables at every level. */
static void test_edges(void **state)
{
    (void)state;
    for (unsigned levels = 4; levels <= 5; levels++) {
        const uint64_t low_end = LOW_END(levels), high = HIGH_START(levels);
        const struct {
            uint64_t va, nbytes;
        } at[] = {
            { 0, P4K },
            { low_end - P4K, P4K },
            { low_end - GIB - P4K, GIB + P4K },
            { high, P2M + P4K },
            { -P4K, P4K },
            { -(GIB + P2M), GIB + P2M },
            { -(GIB + P4K), GIB + P4K },
            { 512 * GIB - P4K, 2 * P4K },
            { 512 * GIB - P2M, 2 * P2M },
            { high + 512 * GIB - P4K, GIB + 2 * P4K },
            { low_end / 256 - P4K, 2 * P4K }, /* across two entries of the root */
        };

        for (size_t i = 0; i < MM_COUNTOF(at); i++) {
            struct pagetable pt;
            uint64_t va = at[i].va, nbytes = at[i].nbytes, pa = (va & (GIB - 1)) + 2 * GIB;

            make(&pt, rich_with(levels));
            map(&pt, va, pa, nbytes, PT_WRITE);
            assert_healthy(&pt);
            for (uint64_t off = 0; off < nbytes; off += P4K) {
                assert_int_equal(look(&pt, va + off).pa, pa + off);
            }
            if (va != 0 && va != high) {
                assert_false(look(&pt, va - 1).present);
            }
            if (va + nbytes != 0 && va + nbytes != low_end) {
                assert_false(look(&pt, va + nbytes).present);
            }
            begin_call();
            assert_int_equal(pt_protect(&pt, va, nbytes, 0), MM_OK);
            assert_int_equal(flushes(), 1);
            assert_healthy(&pt);
            begin_call();
            assert_int_equal(pt_unmap(&pt, va, nbytes), MM_OK);
            assert_int_equal(flushes(), 1);
            assert_int_equal(host_flush.root, pt.root.v);
            assert_int_equal(host_flush.va, va);
            assert_int_equal(host_flush.nbytes, nbytes);
            assert_healthy(&pt);
            assert_int_equal(pt.ntables, 1);
            destroy(&pt);
        }
    }
}

/* ---- tests: refusals ------------------------------------------------------------------------- */

static void test_bad_arguments(void **state)
{
    (void)state;
    for (unsigned levels = 4; levels <= 5; levels++) {
        const uint64_t low_end = LOW_END(levels), high = HIGH_START(levels);
        const struct {
            uint64_t va, nbytes;
        } range[] = {
            { 0, 0 },
            { P4K, 0 },
            { 1, P4K },
            { P4K, 1 },
            { P4K, P4K + 8 },
            { low_end, P4K },
            { low_end - P4K, 2 * P4K },
            { high - P4K, P4K },
            { high - P4K, 2 * P4K },
            { low_end - P4K, high - low_end + 2 * P4K }, /* from one half into the other */
            { -P4K, 2 * P4K },                           /* wraps */
            { P4K, -P4K },
            { high, -high + P4K },
            { 0, UINT64_MAX & ~(P4K - 1) },
            { UINT64_C(1) << 63, P4K },
            { 2 * P4K, -P4K }, /* wraps into its own half */
            { -P4K, -P4K },
        };
        struct pagetable pt;

        make(&pt, rich_with(levels));
        map(&pt, 0, 0, P2M, 0);
        begin_call();
        note_tables();
        uint64_t nout = pool.nout;

        for (size_t i = 0; i < MM_COUNTOF(range); i++) {
            uint64_t va = range[i].va, nbytes = range[i].nbytes;

            assert_false(pt_range_ok(&pt, va, nbytes));
            assert_int_equal(pt_map(&pt, va, pa_make(0), nbytes, 0), MM_EINVAL);
            assert_int_equal(pt_unmap(&pt, va, nbytes), MM_EINVAL);
            assert_int_equal(pt_protect(&pt, va, nbytes, 0), MM_EINVAL);
        }
        assert_true(pt_range_ok(&pt, 0, low_end));
        assert_true(pt_range_ok(&pt, high, -high));
        assert_true(pt_range_ok(&pt, -P4K, P4K));

        /* physical addresses: the features say 46 bits */
        const struct {
            uint64_t pa, nbytes;
        } phys[] = {
            { 1, P4K },    { 64 * TIB, P4K }, { 64 * TIB - P4K, 2 * P4K }, { 0, 64 * TIB + P4K },
            { -P4K, P4K }, { -P4K, 2 * P4K },
        };

        for (size_t i = 0; i < MM_COUNTOF(phys); i++) {
            assert_int_equal(pt_map(&pt, high, pa_make(phys[i].pa), phys[i].nbytes, 0), MM_EINVAL);
        }

        static const unsigned flags[] = {
            PT_WRITE | PT_EXEC, PT_USER | PT_WRITE | PT_EXEC, 3u << 4, 1u << 8, 1u << 31,
        };

        for (size_t i = 0; i < MM_COUNTOF(flags); i++) {
            assert_int_equal(pt_map(&pt, GIB, pa_make(0), P4K, flags[i]), MM_EINVAL);
            assert_int_equal(pt_protect(&pt, 0, P4K, flags[i]), MM_EINVAL);
        }
        assert_int_equal(pt_map(&pt, high, pa_make(0), P4K, PT_USER), MM_EINVAL);
        assert_int_equal(flushes(), 0);
        assert_tables_unchanged(nout);

        map(&pt, high, 64 * TIB - P4K, P4K, 0); /* the last page there can be */
        assert_leaf(&pt, high, 1, (64 * TIB - P4K) | NX | 0x21);
        assert_healthy(&pt);
        destroy(&pt);
    }
}

static void test_busy(void **state)
{
    /* what is there: 1G at 1G, 2M at 4G, 4K at 6G + 4K */
    static const struct {
        uint64_t va, nbytes;
    } range[] = {
        { GIB, GIB },           { GIB, P4K },
        { GIB + P2M, P2M },     { 2 * GIB - P4K, P4K },
        { 0, 2 * GIB },         { GIB - P4K, 2 * P4K },
        { 4 * GIB, P2M },       { 4 * GIB + P4K, P4K },
        { 3 * GIB, 2 * GIB },   { 4 * GIB - P4K, 2 * P4K },
        { 6 * GIB + P4K, P4K }, { 6 * GIB, 2 * P4K },
        { 6 * GIB, P2M },       { 6 * GIB, GIB },
        { 5 * GIB, 512 * GIB },
    };
    struct pagetable pt;

    (void)state;
    make(&pt, rich);
    map(&pt, GIB, GIB, GIB, 0);
    map(&pt, 4 * GIB, 4 * GIB, P2M, 0);
    map(&pt, 6 * GIB + P4K, P4K, P4K, 0);
    note_tables();
    for (size_t i = 0; i < MM_COUNTOF(range); i++) {
        uint64_t nout = pool.nout;

        begin_call();
        assert_int_equal(pt_map(&pt, range[i].va, pa_make(range[i].va), range[i].nbytes, 0),
                         MM_EBUSY);
        assert_int_equal(pt_map(&pt, range[i].va, pa_make(P4K), range[i].nbytes, PT_SMALL),
                         MM_EBUSY);
        assert_int_equal(flushes(), 0);
        assert_tables_unchanged(nout);
    }
    map(&pt, 6 * GIB, 0, P4K, 0); /* beside it is free */
    assert_healthy(&pt);
    destroy(&pt);
}

/*
 * All or nothing: let the n-th frame fail, for every n until the call needs no more. `op` does one
 * thing to a table made by `prepare`.
 */
static void starve(unsigned levels, void (*prepare)(struct pagetable *),
                   mm_err_t (*op)(struct pagetable *), unsigned frames_needed)
{
    struct pagetable pt;

    make(&pt, rich_with(levels));
    prepare(&pt);
    for (unsigned n = 1;; n++) {
        uint64_t nout = pool.nout;
        struct pagetable before = pt;
        mm_err_t err;

        note_tables();
        begin_call();
        pool.fail_in = n;
        err = op(&pt);
        pool.fail_in = 0;
        if (err == MM_OK) {
            assert_int_equal(n, frames_needed + 1);
            break;
        }
        assert_int_equal(err, MM_ENOMEM);
        assert_int_equal(flushes(), 0);
        assert_tables_unchanged(nout);
        assert_int_equal(pt.ntables, before.ntables);
        assert_int_equal(pt.tables_sum, before.tables_sum);
        assert_healthy(&pt);
    }
    assert_healthy(&pt);
    destroy(&pt);
}

static void prepare_nothing(struct pagetable *pt)
{
    (void)pt;
}

static void prepare_1g(struct pagetable *pt)
{
    map(pt, 4 * GIB, 8 * GIB, 2 * GIB, PT_WRITE);
}

static void prepare_2m(struct pagetable *pt)
{
    map(pt, 4 * GIB, 8 * GIB, 4 * P2M, PT_WRITE);
}

static mm_err_t map_page(struct pagetable *pt)
{
    return pt_map(pt, 4 * GIB, pa_make(0), P4K, 0);
}

static mm_err_t map_ragged(struct pagetable *pt)
{
    return pt_map(pt, 510 * GIB + P4K, pa_make(GIB + P4K), 4 * GIB, 0);
}

static mm_err_t unmap_two_ends(struct pagetable *pt)
{
    return pt_unmap(pt, 4 * GIB + P2M + P4K, 2 * GIB - 2 * P2M - 2 * P4K);
}

static mm_err_t unmap_middle_page(struct pagetable *pt)
{
    return pt_unmap(pt, 4 * GIB + P2M + P4K, P4K);
}

static mm_err_t unmap_middle_2m(struct pagetable *pt)
{
    return pt_unmap(pt, 4 * GIB + P2M, P2M);
}

static mm_err_t unmap_across_2m(struct pagetable *pt)
{
    return pt_unmap(pt, 4 * GIB + P2M - P4K, 2 * P4K);
}

static mm_err_t protect_two_ends(struct pagetable *pt)
{
    return pt_protect(pt, 4 * GIB + P2M + P4K, 2 * GIB - 2 * P2M - 2 * P4K, 0);
}

static mm_err_t protect_across_2m(struct pagetable *pt)
{
    return pt_protect(pt, 4 * GIB + P2M - P4K, 2 * P4K, 0);
}

static mm_err_t protect_whole(struct pagetable *pt)
{
    return pt_protect(pt, 4 * GIB, 2 * GIB, 0);
}

static void test_all_or_nothing(void **state)
{
    (void)state;
    for (unsigned l = 4; l <= 5; l++) {
        starve(l, prepare_nothing, map_page, l - 1);
        /* 510G+4K..514G+4K, 1G leaves: below each of two 512G slots a PDPT; the first and the last
         * GiB have a PD and a PT each */
        starve(l, prepare_nothing, map_ragged, 2 + 4 + (l - 4));
        starve(l, prepare_1g, unmap_two_ends, 4);
        starve(l, prepare_1g, unmap_middle_page, 2);
        starve(l, prepare_1g, unmap_middle_2m, 1);
        starve(l, prepare_1g, unmap_across_2m, 3);
        starve(l, prepare_2m, unmap_middle_page, 1);
        starve(l, prepare_2m, unmap_middle_2m, 0);
        starve(l, prepare_2m, unmap_across_2m, 2);
        starve(l, prepare_1g, protect_two_ends, 4);
        starve(l, prepare_1g, protect_across_2m, 3);
        starve(l, prepare_2m, protect_across_2m, 2);
        starve(l, prepare_1g, protect_whole, 0);
    }
}

/* ---- tests: splitting ------------------------------------------------------------------------ */

/* Unmapping one page of 1 GiB leaves 511 leaves of 2 MiB and 511 pages that say what it said, for
 * every kind of leaf, and with bits planted that only others set: PAT, and A and D of user pages.
 */
static void test_split(void **state)
{
    (void)state;
    for (unsigned levels = 4; levels <= 5; levels++) {
        for (size_t i = 0; i < 2 * MM_COUNTOF(leaf_cases); i++) {
            unsigned flags = leaf_cases[i / 2].flags;
            bool user = (flags & PT_USER) != 0, planted = i % 2 != 0;
            uint64_t va = user ? 5 * GIB : HIGH_START(levels) + 5 * GIB, pa = 9 * GIB;
            uint64_t bits = leaf_cases[i / 2].bits, pat = 0;
            struct pagetable pt;

            make(&pt, rich_with(levels));
            map(&pt, va, pa, GIB, flags);
            if (planted) {
                pat = 1;
                bits |= user ? 0x60 : 0;
                *look(&pt, va).at |= 0x1000 | (user ? 0x60 : 0);
                assert_sound(pt_check(&pt));
            }
            begin_call();
            assert_int_equal(pt_unmap(&pt, va + 7 * P2M + 3 * P4K, P4K), MM_OK);
            assert_int_equal(flushes(), 1);
            assert_healthy(&pt);
            for (uint64_t k = 0; k < 512; k++) {
                if (k == 7) {
                    continue;
                }
                /* 2M: PS is bit 7, PAT bit 12 */
                assert_leaf(&pt, va + k * P2M, 2, (pa + k * P2M) | bits | 0x80 | pat << 12);
            }
            for (uint64_t k = 0; k < 512; k++) {
                if (k == 3) {
                    assert_missing(&pt, va + 7 * P2M + k * P4K, 1);
                    continue;
                }
                /* 4K: PAT is bit 7 */
                assert_leaf(&pt, va + 7 * P2M + k * P4K, 1,
                            (pa + 7 * P2M + k * P4K) | bits | pat << 7);
            }
            assert_int_equal(look(&pt, va).links[3] & 0xfff, user ? 0x27 : 0x23);
            begin_call();
            assert_int_equal(pt_unmap(&pt, va, GIB), MM_OK);
            assert_int_equal(pt.ntables, 1);
            assert_healthy(&pt);
            destroy(&pt);
        }
    }
}

/* ---- tests: unmap, protect, and the TLB ------------------------------------------------------ */

static void test_unmap(void **state)
{
    struct pagetable pt;

    (void)state;
    make(&pt, rich);

    /* nothing there: nothing to flush, nothing taken */
    begin_call();
    assert_int_equal(pt_unmap(&pt, 0, LOW_END(4)), MM_OK);
    assert_int_equal(flushes(), 0);
    assert_int_equal(pool.gets, 1);

    /* two pages in one table: it goes with the second */
    map(&pt, GIB, 0, 2 * P4K, 0);
    assert_int_equal(pt.ntables, 4);
    begin_call();
    assert_int_equal(pt_unmap(&pt, GIB, P4K), MM_OK);
    assert_int_equal(flushes(), 1);
    assert_missing(&pt, GIB, 1);
    assert_leaf(&pt, GIB + P4K, 1, P4K | NX | 0x21);
    assert_int_equal(pt.ntables, 4);
    begin_call();
    assert_int_equal(pt_unmap(&pt, GIB + P4K, P4K), MM_OK);
    assert_int_equal(flushes(), 1);
    assert_missing(&pt, GIB, 4);
    assert_int_equal(pt.ntables, 1);
    assert_healthy(&pt);

    /* holes are fine: pages here and there, all tables go, one flush of the range as asked */
    map(&pt, 3 * P4K, 0, P4K, 0);
    map(&pt, 7 * GIB, 0, P2M + P4K, 0);
    map(&pt, 600 * GIB, 0, GIB, 0);
    map(&pt, HIGH_START(4), 0, P4K, 0);
    begin_call();
    assert_int_equal(pt_unmap(&pt, 0, LOW_END(4)), MM_OK);
    assert_int_equal(flushes(), 1);
    assert_int_equal(host_flush.root, pt.root.v);
    assert_int_equal(host_flush.va, 0);
    assert_int_equal(host_flush.nbytes, LOW_END(4));
    assert_int_equal(pt.ntables, 4); /* the upper page's */
    assert_leaf(&pt, HIGH_START(4), 1, NX | 0x21);
    assert_healthy(&pt);

    /* an upper half of one's own gives its tables back too */
    begin_call();
    assert_int_equal(pt_unmap(&pt, HIGH_START(4), P2M), MM_OK);
    assert_int_equal(flushes(), 1);
    assert_int_equal(pt.ntables, 1);
    assert_healthy(&pt);
    destroy(&pt);
}

static void test_protect(void **state)
{
    struct pagetable pt;
    uint64_t nout;

    (void)state;
    make(&pt, rich);

    /* every change of a leaf into every other */
    for (size_t i = 0; i < MM_COUNTOF(leaf_cases); i++) {
        for (size_t k = 0; k < MM_COUNTOF(leaf_cases); k++) {
            unsigned from = leaf_cases[i].flags, to = leaf_cases[k].flags;
            uint64_t bits = leaf_cases[k].bits;

            /* A and D stay as they are only where they are the user's */
            if ((to & PT_USER) != 0) {
                bits |= leaf_cases[i].bits & 0x60;
            }
            map(&pt, GIB - P2M, 3 * GIB - P2M, GIB + 2 * P2M, from);
            begin_call();
            assert_int_equal(pt_protect(&pt, GIB - P2M, GIB + 2 * P2M, to), MM_OK);
            assert_int_equal(flushes(), leaf_cases[i].bits != bits);
            assert_leaf(&pt, GIB - P2M, 2, (3 * GIB - P2M) | bits | 0x80);
            assert_leaf(&pt, GIB, 3, 3 * GIB | bits | 0x80);
            assert_leaf(&pt, 2 * GIB, 2, 4 * GIB | bits | 0x80);
            assert_healthy(&pt);
            begin_call();
            assert_int_equal(pt_unmap(&pt, 0, 4 * GIB), MM_OK);
            assert_int_equal(flushes(), 1);
        }
    }

    /* what the processor noted on a user's page survives a change of rights */
    map(&pt, 0, 0, P4K, PT_USER | PT_WRITE);
    *look(&pt, 0).at |= 0x60;
    assert_int_equal(pt_protect(&pt, 0, P4K, PT_USER), MM_OK);
    assert_leaf(&pt, 0, 1, NX | 0x65);
    assert_int_equal(pt_unmap(&pt, 0, P4K), MM_OK);

    /* in the middle of large leaves; the flush names the range as asked */
    map(&pt, 4 * GIB, 8 * GIB, 2 * GIB, PT_WRITE);
    begin_call();
    assert_int_equal(pt_protect(&pt, 5 * GIB - P4K, P2M + P4K, PT_EXEC | PT_GLOBAL), MM_OK);
    assert_int_equal(flushes(), 1);
    assert_int_equal(host_flush.root, pt.root.v);
    assert_int_equal(host_flush.va, 5 * GIB - P4K);
    assert_int_equal(host_flush.nbytes, P2M + P4K);
    assert_leaf(&pt, 5 * GIB - P2M - P2M, 2, (9 * GIB - 2 * P2M) | NX | 0xe3);
    assert_leaf(&pt, 5 * GIB - 2 * P4K, 1, (9 * GIB - 2 * P4K) | NX | 0x63);
    assert_leaf(&pt, 5 * GIB - P4K, 1, (9 * GIB - P4K) | 0x121);
    assert_leaf(&pt, 5 * GIB, 2, 9 * GIB | 0x1a1);
    assert_leaf(&pt, 5 * GIB + P2M, 2, (9 * GIB + P2M) | NX | 0xe3);
    assert_healthy(&pt);

    /* as asked for already, in part of a large leaf: not even split */
    nout = pool.nout;
    note_tables();
    begin_call();
    assert_int_equal(pt_protect(&pt, 4 * GIB + P4K, P4K, PT_WRITE | PT_SMALL), MM_OK);
    assert_int_equal(flushes(), 0);
    assert_tables_unchanged(nout);

    /* holes: before, behind, between, at every level */
    assert_int_equal(pt_unmap(&pt, 5 * GIB + 2 * P2M, P4K), MM_OK);
    nout = pool.nout;
    note_tables();
    begin_call();
    assert_int_equal(pt_protect(&pt, 4 * GIB - P4K, 2 * P4K, 0), MM_ENOENT);
    assert_int_equal(pt_protect(&pt, 6 * GIB - P4K, 2 * P4K, 0), MM_ENOENT);
    assert_int_equal(pt_protect(&pt, 4 * GIB, 2 * GIB, 0), MM_ENOENT);
    assert_int_equal(pt_protect(&pt, 5 * GIB + 2 * P2M, P4K, 0), MM_ENOENT);
    assert_int_equal(pt_protect(&pt, 600 * GIB, P4K, 0), MM_ENOENT);
    assert_int_equal(pt_protect(&pt, HIGH_START(4), P4K, 0), MM_ENOENT);
    assert_int_equal(flushes(), 0);
    assert_tables_unchanged(nout);
    destroy(&pt);
}

/* ---- tests: reading -------------------------------------------------------------------------- */

static void test_walk(void **state)
{
    (void)state;
    for (unsigned levels = 4; levels <= 5; levels++) {
        uint64_t va = HIGH_START(levels) + 3 * 512 * GIB + 5 * GIB + 7 * P2M + 9 * P4K;
        struct pagetable pt;
        struct pt_walk w;
        uint64_t table;

        make(&pt, rich_with(levels));
        pt_walk(&pt, va, &w);
        assert_int_equal(w.nsteps, 1);
        assert_false(w.present);
        assert_int_equal(w.leaf_bytes, span_of[levels]);

        map(&pt, va, 77 * P4K, P4K, PT_WRITE | PT_GLOBAL);
        pt_walk(&pt, va + 0x123, &w);
        assert_int_equal(w.nsteps, levels);
        assert_true(w.present);
        assert_int_equal(w.pa.v, 77 * P4K + 0x123);
        assert_int_equal(w.leaf_bytes, P4K);
        assert_int_equal(w.flags, PT_WRITE | PT_GLOBAL);
        table = pt.root.v;
        for (unsigned i = 0; i < levels; i++) {
            unsigned level = levels - i, index = (unsigned)(va / span_of[level] % 512);

            assert_int_equal(w.step[i].level, level);
            assert_int_equal(w.step[i].index, index);
            assert_int_equal(w.step[i].entry_pa.v, table + 8 * index);
            assert_int_equal(w.step[i].entry.v, entries(table)[index]);
            table = entries(table)[index] & UINT64_C(0x000ffffffffff000);
        }

        pt_walk(&pt, va + P4K, &w);
        assert_int_equal(w.nsteps, levels);
        assert_false(w.present);
        assert_int_equal(w.leaf_bytes, P4K);
        pt_walk(&pt, va + GIB, &w);
        assert_int_equal(w.nsteps, levels - 2);
        assert_int_equal(w.leaf_bytes, GIB);

        pt_walk(&pt, LOW_END(levels), &w);
        assert_int_equal(w.nsteps, 0);
        assert_false(w.present);
        pt_walk(&pt, HIGH_START(levels) - 1, &w);
        assert_int_equal(w.nsteps, 0);

        /* rights are those that every level grants; here others have made the links */
        map(&pt, 0, 0, P4K, PT_USER | PT_WRITE | PT_EXEC | PT_WX_OK);
        for (unsigned level = levels; level >= 2; level--) {
            uint64_t *link = entries(pt.root.v);

            for (unsigned l = levels; l > level; l--) {
                link = entries(*link & UINT64_C(0x000ffffffffff000));
            }
            uint64_t was = *link;

            *link = was & ~UINT64_C(2);
            pt_walk(&pt, 0, &w);
            assert_int_equal(w.flags, PT_USER | PT_EXEC | PT_WX_OK);
            *link = was & ~UINT64_C(4);
            pt_walk(&pt, 0, &w);
            assert_int_equal(w.flags, PT_WRITE | PT_EXEC | PT_WX_OK);
            *link = was | NX;
            pt_walk(&pt, 0, &w);
            assert_int_equal(w.flags, PT_USER | PT_WRITE | PT_WX_OK);
            *link = was;
        }
        *look(&pt, 0).at = NX | 0x31; /* PCD alone is UC-, uncached */
        pt_walk(&pt, 0, &w);
        assert_int_equal(w.flags, PT_UC);
        destroy(&pt);
    }
}

struct list {
    struct pt_range r[16];
    size_t n, stop_at;
};

static bool list_add(void *ctx, const struct pt_range *r)
{
    struct list *l = ctx;

    assert_true(l->n < MM_COUNTOF(l->r));
    l->r[l->n++] = *r;
    return l->n != l->stop_at;
}

static void test_for_each(void **state)
{
    (void)state;
    for (unsigned levels = 4; levels <= 5; levels++) {
        const uint64_t high = HIGH_START(levels), end = LOW_END(levels);
        const struct pt_range want[] = {
            { P4K, 2 * P4K, { 5 * P4K }, P4K, 0 },
            { 3 * P4K, P4K, { 9 * P4K }, P4K, 0 },         /* physical addresses jump */
            { 4 * P4K, P4K, { 10 * P4K }, P4K, PT_WRITE }, /* rights change */
            { 6 * P4K, P4K, { 11 * P4K }, P4K, PT_WRITE }, /* a hole, in va only */
            { P2M - P4K, P4K, { P2M - P4K }, P4K, PT_WRITE },
            { P2M, GIB - P2M, { P2M }, P2M, PT_WRITE },                     /* leaves grow */
            { GIB, 3 * GIB, { GIB }, GIB, PT_WRITE },                       /* and grow */
            { 512 * GIB - GIB, 2 * GIB, { 5 * GIB }, GIB, PT_WRITE },       /* across tables */
            { end - 2 * P4K, P4K, { GIB - P4K }, P4K, PT_USER | PT_WRITE }, /* one bit */
            { end - P4K, P4K, { GIB }, P4K, PT_USER },                      /* the last below */
            { high, P4K, { GIB + P4K }, P4K, PT_GLOBAL },                   /* the first above */
            { high + 512 * GIB - P2M, 2 * P2M, { 0 }, P2M, PT_UC },         /* across, upper half */
            { -(2 * P4K), 2 * P4K, { 8 * GIB }, P4K, PT_WC | PT_GLOBAL },   /* the last of all */
        };
        struct list l = { .n = 0 };
        struct pagetable pt;

        make(&pt, rich_with(levels));
        pt_for_each(&pt, list_add, &l);
        assert_int_equal(l.n, 0);
        for (size_t i = MM_COUNTOF(want); i-- > 0;) {
            map(&pt, want[i].va, want[i].pa.v, want[i].nbytes, want[i].flags);
        }
        assert_int_equal(pt_unmap(&pt, P4K, P4K), MM_OK);
        map(&pt, P4K, 5 * P4K, P4K, 0); /* made in two calls, still one range */

        pt_for_each(&pt, list_add, &l);
        assert_int_equal(l.n, MM_COUNTOF(want));
        for (size_t i = 0; i < l.n; i++) {
            assert_int_equal(l.r[i].va, want[i].va);
            assert_int_equal(l.r[i].nbytes, want[i].nbytes);
            assert_int_equal(l.r[i].pa.v, want[i].pa.v);
            assert_int_equal(l.r[i].leaf_bytes, want[i].leaf_bytes);
            assert_int_equal(l.r[i].flags, want[i].flags);
        }
        l = (struct list){ .stop_at = 3 };
        pt_for_each(&pt, list_add, &l);
        assert_int_equal(l.n, 3);

        /* the rights above count here too: no write below this link */
        entries(pt.root.v)[0] &= ~UINT64_C(2);
        l = (struct list){ .n = 0 };
        pt_for_each(&pt, list_add, &l);
        assert_int_equal(l.r[2].flags, 0);
        entries(pt.root.v)[0] |= 2;
        assert_healthy(&pt);
        destroy(&pt);
    }
}

struct tables {
    uint64_t n, stop_at;
    uint64_t of_level[6];
    bool seen[NFRAMES];
    uint64_t first;
};

static bool tables_add(void *ctx, pa_t table, unsigned level)
{
    struct tables *t = ctx;
    uint64_t i = (table.v - FRAMES_BASE) / P4K;

    assert_true(i < NFRAMES && pool.out[i] && !t->seen[i]);
    t->seen[i] = true;
    t->first = t->n == 0 ? table.v : t->first;
    t->of_level[level]++;
    return ++t->n != t->stop_at;
}

static void test_for_each_table(void **state)
{
    struct tables t = { .n = 0 };
    struct pagetable pt;

    (void)state;
    make(&pt, rich_with(5));
    map(&pt, 0, 0, P4K, 0);
    map(&pt, GIB, 0, P4K, 0);
    map(&pt, -P4K, 0, P4K, 0);
    pt_for_each_table(&pt, tables_add, &t);
    assert_int_equal(t.n, pt.ntables);
    assert_int_equal(t.n, pool.nout);
    assert_int_equal(t.first, pt.root.v);
    assert_int_equal(t.of_level[5], 1);
    assert_int_equal(t.of_level[4], 2);
    assert_int_equal(t.of_level[3], 2);
    assert_int_equal(t.of_level[2], 3);
    assert_int_equal(t.of_level[1], 3);
    t = (struct tables){ .stop_at = 4 };
    pt_for_each_table(&pt, tables_add, &t);
    assert_int_equal(t.n, 4);
    destroy(&pt);
}

static void test_flags_text(void **state)
{
    static const struct {
        unsigned flags;
        const char *text;
    } want[] = {
        { PT_WRITE | PT_GLOBAL, "rw- g wb" },
        { PT_EXEC | PT_USER, "r-xu  wb" },
        { PT_WRITE | PT_UC, "rw-   uc" },
        { PT_WC, "r--   wc" },
        { PT_WRITE | PT_EXEC | PT_WX_OK, "rwx   wb" },
        { PT_TYPE_MASK | PT_USER | PT_GLOBAL, "r--ug ??" },
    };

    (void)state;
    for (size_t i = 0; i < MM_COUNTOF(want); i++) {
        char buf[16];

        memset(buf, 'z', sizeof(buf));
        pt_flags_text(want[i].flags, buf);
        assert_string_equal(buf, want[i].text);
    }
}

/* ---- tests: the shared upper half ------------------------------------------------------------ */

static void test_share_upper(void **state)
{
    (void)state;
    for (unsigned levels = 4; levels <= 5; levels++) {
        const uint64_t high = HIGH_START(levels), slot = span_of[levels];
        struct pagetable kernel, a, b;
        struct tables t = { .n = 0 };
        struct list l = { .n = 0 };

        make(&kernel, rich_with(levels));
        map(&kernel, high, 0, P4K, PT_GLOBAL);
        map(&kernel, GIB, 0, P4K, 0); /* the lower half is not shared */

        /* 255 tables for the entries without one, and a root; any failing changes nothing */
        uint64_t nout = pool.nout;

        note_tables();
        memset(&a, 0x77, sizeof(a));
        for (unsigned n = 1; n <= 256; n += n == 1 ? 127 : 128) {
            struct pagetable untouched;

            memset(&untouched, 0x77, sizeof(untouched));
            begin_call();
            pool.fail_in = n;
            assert_int_equal(pt_share_upper(&a, &kernel), MM_ENOMEM);
            assert_memory_equal(&a, &untouched, sizeof(a));
            assert_tables_unchanged(nout);
            assert_healthy(&kernel);
        }
        pool.fail_in = 0;
        begin_call();
        assert_int_equal(pt_share_upper(&a, &kernel), MM_OK);
        assert_int_equal(flushes(), 0);
        assert_int_equal(pool.nout, nout + 256);
        assert_int_equal(kernel.ntables, nout + 255);
        assert_int_equal(a.ntables, 1);
        assert_int_equal(pt_share_upper(&b, &kernel), MM_OK); /* now it takes a root only */
        assert_int_equal(pool.nout, nout + 257);
        for (unsigned i = 0; i < 512; i++) {
            uint64_t e = entries(kernel.root.v)[i];

            assert_int_equal(entries(a.root.v)[i], i < 256 ? 0 : e);
            assert_int_equal(entries(b.root.v)[i], i < 256 ? 0 : e);
            assert_int_equal(e & 0xfff, i >= 256 ? 0x23 : i == 0 ? 0x27 : 0);
        }
        assert_sound(pt_check(&kernel));
        assert_sound(pt_check(&a));
        assert_sound(pt_check(&b));

        /* what the kernel maps later shows, in slots that were empty and in others */
        const uint64_t later[] = { high + P4K, high + 5 * slot, high + 200 * slot + GIB, -P4K };

        for (size_t i = 0; i < MM_COUNTOF(later); i++) {
            map(&kernel, later[i], (i + 3) * P4K, P4K, PT_WRITE | PT_GLOBAL);
            assert_leaf(&a, later[i], 1, (i + 3) * P4K | NX | 0x163);
            assert_leaf(&b, later[i], 1, (i + 3) * P4K | NX | 0x163);
        }
        for (size_t i = 0; i < MM_COUNTOF(later); i++) {
            begin_call();
            assert_int_equal(pt_unmap(&kernel, later[i], P4K), MM_OK);
            assert_int_equal(flushes(), 1);
            assert_false(look(&a, later[i]).present);
        }
        begin_call();
        assert_int_equal(pt_unmap(&kernel, high, -high), MM_OK);
        assert_int_equal(flushes(), 1);
        /* the tables that roots link stay, all others go */
        for (unsigned i = 256; i < 512; i++) {
            assert_int_equal(entries(a.root.v)[i], entries(kernel.root.v)[i]);
            assert_missing(&a, high + (i - 256) * slot, levels - 1);
        }
        assert_int_equal(kernel.ntables, 1 + 256 + levels - 1); /* the lower page's */
        assert_sound(pt_check(&kernel));

        /* the lender's lower half comes and goes as before */
        uint64_t *link = &entries(look(&kernel, GIB).links[levels] &
                                  UINT64_C(0x000ffffffffff000))[GIB / span_of[levels - 1]];
        uint64_t was_link = *link;

        *link = 0;
        assert_ptr_equal(strstr(pt_check(&kernel), "P7"), pt_check(&kernel));
        *link = was_link;
        begin_call();
        assert_int_equal(pt_unmap(&kernel, GIB, P4K), MM_OK);
        assert_int_equal(kernel.ntables, 1 + 256);
        assert_sound(pt_check(&kernel));
        map(&kernel, GIB, 0, P4K, 0);

        /* the borrower's own half is its own; the other it sees but can't edit */
        map(&kernel, high, 0, P4K, 0);
        map(&a, GIB, P4K, P4K, PT_USER);
        assert_leaf(&kernel, GIB, 1, NX | 0x21);
        assert_missing(&b, GIB, levels);
        assert_int_equal(pt_map(&a, high + P4K, pa_make(0), P4K, 0), MM_EINVAL);
        assert_int_equal(pt_unmap(&a, high, P4K), MM_EINVAL);
        assert_int_equal(pt_protect(&a, high, P4K, PT_WRITE), MM_EINVAL);
        pt_for_each(&a, list_add, &l);
        assert_int_equal(l.n, 2);
        assert_int_equal(l.r[0].va, GIB);
        assert_int_equal(l.r[1].va, high);
        pt_for_each_table(&a, tables_add, &t);
        assert_int_equal(t.n, a.ntables);
        assert_int_equal(t.n, levels);
        assert_sound(pt_check(&a));

        /* damage to shared entries */
        uint64_t *e = &entries(a.root.v)[300], was = *e;

        *e = 0;
        assert_string_equal(pt_check(&a), "P8: an upper entry of a shared root links no table");
        *e = was | 4;
        assert_ptr_equal(strstr(pt_check(&a), "P3"), pt_check(&a));
        *e = was;
        e = &entries(kernel.root.v)[300];
        *e = 0;
        assert_string_equal(pt_check(&kernel),
                            "P8: an upper entry of a shared root links no table");
        *e = was;
        assert_sound(pt_check(&kernel));

        nout = pool.nout;
        destroy(&a);
        assert_int_equal(pool.nout, nout - levels);
        assert_sound(pt_check(&kernel));
        destroy(&b);
        assert_int_equal(pool.nout, kernel.ntables);
        assert_leaf(&kernel, high, 1, NX | 0x21);
        destroy(&kernel);
        assert_int_equal(pool.nout, 0);
    }
}

static void test_share_borrowed(void **state)
{
    struct pagetable kernel, a, b;

    (void)state;
    make(&kernel, rich);
    assert_int_equal(pt_share_upper(&a, &kernel), MM_OK);
    assert_panics(pt_share_upper(&b, &a) == MM_OK, "BORROWED");
    pool.nout = 0;
}

/* ---- tests: damage --------------------------------------------------------------------------- */

static void assert_broken(const struct pagetable *pt, const char *rule)
{
    const char *broken = pt_check(pt);

    if (broken == NULL || strncmp(broken, rule, strlen(rule)) != 0) {
        fail_msg("pt_check says \"%s\", not %s", broken != NULL ? broken : "sound", rule);
    }
}

/* Plant `value` in an entry, expect `rule`, and put it right again. */
static void plant(const struct pagetable *pt, uint64_t *at, uint64_t value, const char *rule)
{
    uint64_t was = *at;

    *at = value;
    assert_broken(pt, rule);
    *at = was;
    assert_sound(pt_check(pt));
}

static void test_damage(void **state)
{
    (void)state;
    for (unsigned levels = 4; levels <= 5; levels++) {
        const uint64_t high = HIGH_START(levels), addr = UINT64_C(0x000ffffffffff000);
        struct pagetable pt, was;
        uint64_t *e, *up, v;

        make(&pt, rich_with(levels));
        map(&pt, 0, 0, P4K, PT_USER | PT_WRITE); /* user page */
        map(&pt, P2M, P2M, P2M, PT_WRITE);       /* kernel page in the lower half */
        map(&pt, high, 0, P4K, PT_WRITE);        /* 4K, 2M, 1G in the upper half */
        map(&pt, high + P2M, 4 * P2M, P2M, PT_EXEC);
        map(&pt, high + 4 * GIB, 4 * GIB, GIB, PT_GLOBAL);
        map(&pt, high + 512 * GIB, 0, P4K, PT_WRITE);
        map(&pt, high + 512 * GIB + P2M, 0, P4K, PT_WRITE);

        /* P1 */
        was = pt;
        pt.root.v += 8;
        assert_broken(&pt, "P1");
        pt.root.v = UINT64_C(1) << 46;
        assert_broken(&pt, "P1");
        pt = was;
        pt.feat.levels = 3;
        assert_broken(&pt, "P1");
        pt.feat.levels = 6;
        assert_broken(&pt, "P1");
        pt = was;
        pt.feat.pa_bits = 64;
        assert_broken(&pt, "P1");
        pt = was;

        /* P2: every reserved bit, at every level */
        e = entries(pt.root.v);
        plant(&pt, e, *e | 0x80, "P2");
        for (unsigned level = levels; level >= 2; level--) {
            for (unsigned bit = 46; bit < 52; bit++) {
                plant(&pt, e, *e | UINT64_C(1) << bit, "P2");
            }
            if (level == 4) {
                plant(&pt, e, *e | 0x80, "P2");
            }
            e = entries(*e & addr);
        }
        for (unsigned bit = 46; bit < 52; bit++) {
            plant(&pt, e, *e | UINT64_C(1) << bit, "P2");
        }
        e = look(&pt, high + P2M).at;
        for (unsigned bit = 13; bit < 21; bit++) {
            plant(&pt, e, *e | UINT64_C(1) << bit, "P2");
        }
        e = look(&pt, high + 4 * GIB).at;
        for (unsigned bit = 13; bit < 30; bit++) {
            plant(&pt, e, *e | UINT64_C(1) << bit, "P2");
        }
        pt.feat.page1g = false;
        assert_broken(&pt, "P2");
        pt = was;
        pt.feat.nx = false;
        assert_broken(&pt, "P2");
        pt = was;

        /* P3: links */
        e = entries(pt.root.v);
        up = &e[256];
        for (unsigned bit = 1; bit < 12; bit++) {
            if (bit != 7) {
                plant(&pt, e, *e ^ UINT64_C(1) << bit, "P3");
                plant(&pt, up, *up ^ UINT64_C(1) << bit, "P3");
            }
        }
        plant(&pt, e, *e | NX, "P3");
        plant(&pt, e, *e | UINT64_C(1) << 52, "P3");

        /* P4 */
        plant(&pt, &e[100], 2, "P4");
        plant(&pt, look(&pt, P4K).at, NX, "P4");
        plant(&pt, look(&pt, high + P4K).at, UINT64_C(0x5000), "P4");

        /* P5 */
        e = look(&pt, high).at;
        plant(&pt, e, *e & ~NX, "P5");
        e = look(&pt, 0).at;
        plant(&pt, e, *e & ~NX, "P5");
        e = look(&pt, high + P2M).at;
        plant(&pt, e, *e | 0x42, "P5");

        /* P6 */
        e = look(&pt, high).at;
        plant(&pt, e, *e | 4, "P6");
        plant(&pt, e, *e & ~UINT64_C(0x20), "P6");
        plant(&pt, e, *e & ~UINT64_C(0x40), "P6");
        e = look(&pt, P2M).at;
        plant(&pt, e, *e & ~UINT64_C(0x20), "P6");
        for (unsigned bit = 52; bit < 63; bit++) {
            plant(&pt, e, *e | UINT64_C(1) << bit, "P6");
        }
        plant(&pt, e, *e | 0x400, "P6");
        plant(&pt, e, *e | 0x800, "P6");
        pt.feat.global = false;
        assert_broken(&pt, "P6");
        pt = was;

        /* P7: the only page of a table goes, by another's hand */
        plant(&pt, look(&pt, 0).at, 0, "P7");

        /* P9: counts, a table lost, foreign, twice, swapped, a cycle */
        pt.ntables++;
        assert_broken(&pt, "P9");
        pt.ntables -= 2;
        assert_broken(&pt, "P9");
        pt = was;
        pt.tables_sum ^= 1;
        assert_broken(&pt, "P9");
        pt = was;

        uint64_t *pd = entries(look(&pt, high + 512 * GIB).links[3] & addr);

        assert_int_equal(pd[0] & 0xfff, 0x23);
        assert_int_equal(pd[1] & 0xfff, 0x23);
        plant(&pt, &pd[1], 0, "P9");
        plant(&pt, &pd[1], pd[0], "P9"); /* as many tables as before, one of them twice */
        v = pd[0];
        pd[0] = pd[1];
        pd[1] = v;
        assert_broken(&pt, "P9"); /* the right tables in each other's place */
        pd[1] = pd[0];
        pd[0] = v;
        assert_sound(pt_check(&pt));
        memcpy(port_ptr(pa_make(64 * MIB * 4)), entries(pd[1] & addr), P4K);
        plant(&pt, &pd[1], (64 * MIB * 4) | 0x23, "P9"); /* a copy in a frame that is not ours */
        up = &entries(pt.root.v)[256];
        plant(&pt, &entries(*up & addr)[511], (pt.root.v) | 0x23,
              "P");                                      /* ends, whatever it finds */
        plant(&pt, &entries(*up & addr)[511], *up, "P"); /* a cycle */
        assert_healthy(&pt);
        destroy(&pt);
    }
}

/* Any bits at all in a table: the check ends, and leads nowhere outside (the host would stop it).
 */
static void test_random_damage(void **state)
{
    struct host_rng rng = host_rng_make("test_random_damage");

    (void)state;
    for (unsigned round = 0; round < 3000; round++) {
        struct pt_features f = rich_with(4 + round % 2);
        struct pagetable pt;
        uint64_t *e, was;

        f.pa_bits = 42; /* what the host has: any address below is a zero page at least */
        if (round % 100 == 0) {
            host_phys_reset(); /* forget the pages that were touched all over */
        }
        make(&pt, f);
        map(&pt, 0, 0, P2M + P4K, PT_USER);
        map(&pt, -P4K, 0, P4K, PT_WRITE);
        /* one word of one table, or all of one table */
        struct seen s = look(&pt, host_rng_below(&rng, 2) != 0 ? 0 : -P4K);
        unsigned level = 1 + (unsigned)host_rng_below(&rng, f.levels - 1);
        uint64_t link = s.links[level + 1];

        if (link == 0) { /* a leaf is there */
            link = pt.root.v;
        }
        e = entries(link & UINT64_C(0x000ffffffffff000));
        if (host_rng_below(&rng, 4) == 0) {
            for (unsigned i = 0; i < 512; i++) {
                e[i] = host_rng_next(&rng);
            }
            assert_non_null(pt_check(&pt));
        } else {
            e += host_rng_below(&rng, 512);
            was = *e;
            *e ^= UINT64_C(1) << host_rng_below(&rng, 64) | UINT64_C(1) << host_rng_below(&rng, 64);
            (void)pt_check(&pt);
            *e = was;
            assert_sound(pt_check(&pt));
        }
        memset(pool.out, 0, sizeof(pool.out)); /* the tree is lost: take the frames back */
        pool.nout = 0;
    }
}

/* ---- tests: at random, against a model ------------------------------------------------------- */

#define UNITS 1536

/* A window of addresses in units of one leaf size, each mapped or not. */
struct model {
    struct host_rng rng;
    uint64_t base, unit;
    struct {
        bool mapped;
        uint64_t pa;
        unsigned flags;
    } at[UNITS];
};

static unsigned random_flags(struct model *m, bool upper)
{
    static const unsigned rights[] = { 0, PT_WRITE, PT_EXEC, PT_WRITE | PT_EXEC | PT_WX_OK,
                                       PT_WRITE };
    static const unsigned type[] = { PT_WB, PT_WB, PT_WB, PT_UC, PT_WC };
    unsigned flags = rights[host_rng_below(&m->rng, MM_COUNTOF(rights))];

    flags |= type[host_rng_below(&m->rng, MM_COUNTOF(type))];
    flags |= host_rng_below(&m->rng, 4) == 0 ? PT_GLOBAL : 0;
    flags |= !upper && host_rng_below(&m->rng, 3) == 0 ? PT_USER : 0;
    return flags;
}

/* One operation, with what the model says must come of it. */
static void random_step(struct model *m, struct pagetable *pt, bool starving)
{
    uint64_t first = host_rng_below(&m->rng, UNITS), count = 1, nout = pool.nout;
    unsigned what = (unsigned)host_rng_below(&m->rng, 8), flags, mapped = 0;
    uint64_t va, pa, nbytes;
    bool differs = false;
    mm_err_t err;

    /* short, long, or to a boundary where large leaves begin */
    switch (host_rng_below(&m->rng, 4)) {
    case 0:
        count = 1 + host_rng_below(&m->rng, 8);
        break;
    case 1:
        count = 1 + host_rng_below(&m->rng, UNITS);
        break;
    case 2:
        first &= ~UINT64_C(511);
        count = 512;
        break;
    default:
        count = 1 + host_rng_below(&m->rng, 700);
        break;
    }
    count = mm_min(count, UNITS - first);
    va = m->base + first * m->unit;
    nbytes = count * m->unit;
    flags = random_flags(m, va >> 63 != 0);
    for (uint64_t i = first; i < first + count; i++) {
        mapped += m->at[i].mapped;
        differs = differs || (m->at[i].mapped && m->at[i].flags != flags);
    }
    if (starving) {
        pool.fail_in = 1 + host_rng_below(&m->rng, 4);
        note_tables();
    }
    begin_call();
    if (what < 4) {
        unsigned small = host_rng_below(&m->rng, 8) == 0 && m->unit == P4K ? PT_SMALL : 0;

        /* most often so that va and pa agree in their low bits */
        pa = (va & (4 * GIB - 1)) + 4 * GIB * host_rng_below(&m->rng, 8);
        pa += host_rng_below(&m->rng, 4) == 0 ? m->unit * host_rng_below(&m->rng, 512) : 0;
        err = pt_map(pt, va, pa_make(pa), nbytes, flags | small);
        assert_int_equal(flushes(), 0);
        assert_true(mapped != 0 ? err == MM_EBUSY : err == MM_OK || (starving && err == MM_ENOMEM));
        for (uint64_t i = 0; err == MM_OK && i < count; i++) {
            m->at[first + i].mapped = true;
            m->at[first + i].pa = pa + i * m->unit;
            m->at[first + i].flags = flags;
        }
    } else if (what < 6) {
        err = pt_unmap(pt, va, nbytes);
        assert_true(err == MM_OK || (starving && err == MM_ENOMEM));
        assert_int_equal(flushes(), err == MM_OK && mapped != 0);
        for (uint64_t i = 0; err == MM_OK && i < count; i++) {
            m->at[first + i].mapped = false;
        }
    } else {
        err = pt_protect(pt, va, nbytes, flags);
        assert_true(mapped != count ? err == MM_ENOENT
                                    : err == MM_OK || (starving && err == MM_ENOMEM));
        assert_int_equal(flushes(), err == MM_OK && differs);
        for (uint64_t i = 0; err == MM_OK && i < count; i++) {
            m->at[first + i].flags = flags;
        }
    }
    pool.fail_in = 0;
    if (starving && err != MM_OK) {
        assert_tables_unchanged(nout);
    }
    if (flushes() != 0) {
        assert_int_equal(host_flush.va, va);
        assert_int_equal(host_flush.nbytes, nbytes);
    }
}

static void assert_like_model(const struct model *m, const struct pagetable *pt)
{
    assert_healthy(pt);
    for (uint64_t i = 0; i < UNITS; i++) {
        uint64_t va = m->base + i * m->unit, last = va + (m->unit - 1);
        struct seen s = look(pt, va);

        assert_int_equal(s.present, m->at[i].mapped);
        if (s.present) {
            unsigned flags = m->at[i].flags;
            uint64_t bits = 1;

            bits |= (flags & PT_WRITE) != 0 ? 2 : 0;
            bits |= (flags & PT_USER) != 0 ? 4 : 0;
            bits |= (flags & PT_TYPE_MASK) == PT_WC ? 8 : 0;
            bits |= (flags & PT_TYPE_MASK) == PT_UC ? 0x18 : 0;
            bits |= (flags & PT_GLOBAL) != 0 ? 0x100 : 0;
            bits |= (flags & PT_EXEC) != 0 ? 0 : NX;
            bits |= (flags & PT_WX_OK) != 0 ? 0x200 : 0;
            bits |= s.level > 1 ? 0x80 : 0;
            /* A and D of a user's page depend on its history */
            assert_int_equal(s.entry & (NX | 0xf9f), bits);
            assert_int_equal(s.pa, m->at[i].pa);
            assert_int_equal(look(pt, last).pa, m->at[i].pa + (m->unit - 1));
            if ((flags & PT_USER) == 0) {
                assert_int_equal(s.entry & 0x60, (flags & PT_WRITE) != 0 ? 0x60 : 0x20);
            }
        }
    }
}

/* What pt_for_each() says, applied to the model: the same, and no two runs could be one. */
struct compare {
    const struct model *m;
    uint64_t next; /* unit that comes next */
    struct pt_range last;
};

static bool compare_range(void *ctx, const struct pt_range *r)
{
    struct compare *c = ctx;
    uint64_t first = (r->va - c->m->base) / c->m->unit;

    assert_false(c->last.nbytes != 0 && c->last.va + c->last.nbytes == r->va &&
                 c->last.pa.v + c->last.nbytes == r->pa.v && c->last.leaf_bytes == r->leaf_bytes &&
                 c->last.flags == r->flags);
    for (; c->next < first; c->next++) {
        assert_false(c->m->at[c->next].mapped);
    }
    for (uint64_t off = 0; off < r->nbytes; off += c->m->unit, c->next++) {
        assert_true(c->next < UNITS);
        assert_true(c->m->at[c->next].mapped);
        assert_int_equal(c->m->at[c->next].pa, r->pa.v + off);
        assert_int_equal(c->m->at[c->next].flags, r->flags);
    }
    c->last = *r;
    return true;
}

static void random_run(unsigned levels, uint64_t base, uint64_t unit, unsigned steps)
{
    static struct model m;
    struct pt_features f = rich_with(levels);
    struct pagetable pt;

    memset(&m, 0, sizeof(m));
    m.rng = host_rng_make("random_run");
    m.rng.state ^= base + levels;
    m.base = base;
    m.unit = unit;
    f.page1g = base / GIB % 2 == 0;
    make(&pt, f);
    for (unsigned i = 0; i < steps; i++) {
        struct compare c = { .m = &m };

        random_step(&m, &pt, i % 4 == 3);
        assert_like_model(&m, &pt);
        if (i % 8 == 0) {
            pt_for_each(&pt, compare_range, &c);
            for (; c.next < UNITS; c.next++) {
                assert_false(m.at[c.next].mapped);
            }
        }
    }
    begin_call();
    assert_int_equal(pt_unmap(&pt, base, UNITS * unit), MM_OK);
    assert_int_equal(pt.ntables, 1);
    assert_healthy(&pt);
    destroy(&pt);
}

static void test_random(void **state)
{
    (void)state;
    for (unsigned levels = 4; levels <= 5; levels++) {
        const uint64_t low_end = LOW_END(levels), high = HIGH_START(levels);
        const uint64_t small[] = {
            /* 6 MiB across: two tables, a GiB, 512 GiB, an entry of the root; at every edge */
            0,
            GIB - 2 * P2M,
            512 * GIB - P2M,
            low_end / 256 - P2M,
            low_end - 3 * P2M,
            high,
            high + 512 * GIB - 2 * P2M,
            -(3 * P2M),
        };
        const uint64_t large[] = {
            /* 3 GiB across */
            0, 512 * GIB - GIB, low_end - 3 * GIB, high, -(3 * GIB), high + 512 * GIB - 2 * GIB,
        };

        for (size_t i = 0; i < MM_COUNTOF(small); i++) {
            random_run(levels, small[i], P4K, 160);
        }
        for (size_t i = 0; i < MM_COUNTOF(large); i++) {
            random_run(levels, large[i], P2M, 200);
        }
    }
}

/* ---- tests: size ----------------------------------------------------------------------------- */

/* The direct map of a large machine: as many tables as there must be, and not one more. */
static void test_terabyte(void **state)
{
    struct pt_features f = rich;
    struct list l = { .n = 0 };
    struct pagetable pt;
    uint64_t high = HIGH_START(4);

    (void)state;
    f.page1g = false;
    make(&pt, f);
    map(&pt, high, 0, TIB, PT_WRITE | PT_GLOBAL);
    assert_int_equal(pool.gets, 1 + 2 + 1024);
    assert_leaf(&pt, high + TIB - P2M, 2, (TIB - P2M) | NX | 0x1e3);
    pt_for_each(&pt, list_add, &l);
    assert_int_equal(l.n, 1);
    assert_int_equal(l.r[0].nbytes, TIB);
    begin_call();
    assert_int_equal(pt_unmap(&pt, high, TIB), MM_OK);
    assert_int_equal(flushes(), 1);
    assert_healthy(&pt);
    assert_int_equal(pt.ntables, 1);
    destroy(&pt);

    f.page1g = true;
    make(&pt, f);
    pool.gets = 0;
    map(&pt, high, 0, TIB, PT_WRITE | PT_GLOBAL);
    assert_int_equal(pool.gets, 2);
    destroy(&pt);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_init, setup, all_back),
        cmocka_unit_test_setup_teardown(test_frame_too_high, setup, all_back),
        cmocka_unit_test(test_pat_value),
        cmocka_unit_test_setup_teardown(test_leaf_bits, setup, all_back),
        cmocka_unit_test_setup_teardown(test_poor_processor, setup, all_back),
        cmocka_unit_test_setup_teardown(test_leaf_choice, setup, all_back),
        cmocka_unit_test_setup_teardown(test_edges, setup, all_back),
        cmocka_unit_test_setup_teardown(test_bad_arguments, setup, all_back),
        cmocka_unit_test_setup_teardown(test_busy, setup, all_back),
        cmocka_unit_test_setup_teardown(test_all_or_nothing, setup, all_back),
        cmocka_unit_test_setup_teardown(test_split, setup, all_back),
        cmocka_unit_test_setup_teardown(test_unmap, setup, all_back),
        cmocka_unit_test_setup_teardown(test_protect, setup, all_back),
        cmocka_unit_test_setup_teardown(test_walk, setup, all_back),
        cmocka_unit_test_setup_teardown(test_for_each, setup, all_back),
        cmocka_unit_test_setup_teardown(test_for_each_table, setup, all_back),
        cmocka_unit_test(test_flags_text),
        cmocka_unit_test_setup_teardown(test_share_upper, setup, all_back),
        cmocka_unit_test_setup_teardown(test_share_borrowed, setup, all_back),
        cmocka_unit_test_setup_teardown(test_damage, setup, all_back),
        cmocka_unit_test_setup_teardown(test_random_damage, setup, all_back),
        cmocka_unit_test_setup_teardown(test_random, setup, all_back),
        cmocka_unit_test_setup_teardown(test_terabyte, setup, all_back),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
