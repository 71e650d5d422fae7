/*
 * test_pmm.c - the frame pool, call by call: what each gives, which error it returns, and that what
 * is given back is there again.
 *
 * What a pool prefers and when it refuses is in test_pmm_places.c; memory that joins and leaves in
 * test_pmm_retire.c; what stops the machine in test_pmm_deaths.c; random histories, against a
 * model, in test_pmm_model.c. All of them know the header, and not how the pool works.
 */
#include "pmm_calls.h"

#include "../../mm/pmm/pool.h" /* was it stopped for a request? To ask for that stops it. */

/* ---- making a pool --------------------------------------------------------------------------- */

static void test_init_arguments(void **state)
{
    static const struct part parts[] = { { 256, 100, GIVEN }, { 5 * GiB, 100, LATER } };
    struct fixture f;
    struct pmm *p = NULL;
    struct memmap empty;

    (void)state;
    open_pool(&f, parts, 4);
    assert_int_equal(pmm_ncpus(f.p), 4);
    assert_int_equal(pmm_init(&p, &f.map, PMM_GENERAL, 4, f.storage, f.storage_bytes - 1),
                     MM_ENOSPC);
    assert_int_equal(pmm_init(&p, &f.map, PMM_GENERAL, 4, f.storage, 0), MM_ENOSPC);
    assert_int_equal(
        pmm_init(&p, &f.map, PMM_GENERAL, 4, (char *)f.storage + 64, f.storage_bytes - 64),
        MM_EINVAL);
    assert_int_equal(pmm_init(&p, &f.map, PMM_GENERAL, 0, f.storage, f.storage_bytes), MM_EINVAL);
    assert_int_equal(
        pmm_init(&p, &f.map, PMM_GENERAL, PMM_MAX_CPUS + 1, f.storage, f.storage_bytes), MM_EINVAL);
    for (unsigned kind = PMM_LOW; kind < PMM_KINDS; kind++) { /* there is no such memory */
        assert_int_equal(pmm_storage_bytes(&f.map, (enum pmm_kind)kind, 4), 0);
        assert_int_equal(pmm_init(&p, &f.map, (enum pmm_kind)kind, 4, f.storage, f.storage_bytes),
                         MM_EINVAL);
    }
    empty = f.map;
    empty.nregions = 0;
    assert_int_equal(pmm_storage_bytes(&empty, PMM_GENERAL, 1), 0);
    assert_int_equal(pmm_init(&p, &empty, PMM_GENERAL, 1, f.storage, f.storage_bytes), MM_EINVAL);
    assert_null(p);
    assert_true(pmm_storage_bytes(&f.map, PMM_GENERAL, PMM_MAX_CPUS) > f.storage_bytes);
    close_pool(&f);

    open_pool(&f, parts, PMM_MAX_CPUS);
    for (unsigned cpu = 0; cpu < PMM_MAX_CPUS; cpu += 51) {
        host_set_cpu(cpu);
        assert_int_not_equal(get(f.p, 0), NO_BASE);
        assert_sound(pmm_check(f.p));
    }
    close_pool(&f);
}

/* Which kinds of region each pool covers, and which of them are free. */
static void test_kinds(void **state)
{
    static const struct part parts[] = { { 0, 0x1000, GIVEN }, { 0x1000, 0x1000, LATER } };
    static const unsigned covers[PMM_KINDS] = {
        [PMM_GENERAL] = 1 << MEMMAP_FREE | 1 << MEMMAP_FREE_AFTER_EXIT |
                        1 << MEMMAP_FREE_AFTER_ACPI | 1 << MEMMAP_KERNEL,
        [PMM_LOW] = 1 << MEMMAP_FREE | 1 << MEMMAP_FREE_AFTER_EXIT | 1 << MEMMAP_FREE_AFTER_ACPI |
                    1 << MEMMAP_KERNEL,
        [PMM_SPECIAL] = 1 << MEMMAP_SPECIAL,
        [PMM_UNACCEPTED] = 1 << MEMMAP_UNACCEPTED,
        [PMM_PERSISTENT] = 1 << MEMMAP_PERSISTENT,
    };
    struct fixture f;

    (void)state;
    for (unsigned pool = 0; pool < PMM_KINDS; pool++) {
        uint64_t total = 0;

        build_map(&f, parts, 2);
        for (unsigned kind = 0; kind < MEMMAP_KINDS; kind++) {
            for (uint64_t base = 0x20; base <= 0x200; base += 0x1e0) {
                assert_int_equal(
                    memmap_claim(&f.map, (base + 2 * kind) * PAGE, 1, (enum memmap_kind)kind),
                    MM_OK);
            }
        }
        make_pool(&f, (enum pmm_kind)pool, 1);
        for (uint64_t pfn = 0; pfn < 0x2002; pfn++) {
            unsigned kind = pfn >= 0x1000 ? MEMMAP_FREE_AFTER_EXIT : MEMMAP_FREE;
            bool covered;
            bool free;

            for (uint64_t base = 0x20; base <= 0x200; base += 0x1e0) {
                if (pfn >= base && pfn < base + 2 * MEMMAP_KINDS && (pfn - base) % 2 == 0) {
                    kind = (unsigned)(pfn - base) / 2;
                }
            }
            covered = (covers[pool] >> kind & 1) != 0 && pfn != 0 && pfn < 0x2000 &&
                      (pool != PMM_GENERAL || pfn >= 256) && (pool != PMM_LOW || pfn < 256);
            free = covered && (kind == MEMMAP_FREE || pool >= PMM_SPECIAL);
            total += covered;
            assert_int_equal(pmm_covers(f.p, pfn_make(pfn)), covered);
            assert_int_equal(is_free(f.p, pfn), free);
            assert_int_equal(state_of(f.p, pfn), free ? PMM_FREE : covered ? PMM_HELD : PMM_ABSENT);
        }
        assert_int_equal(stats_of(f.p).total_frames, total);
        assert_false(pmm_covers(f.p, PFN_NONE));
        assert_false(pmm_is_free(f.p, PFN_NONE));
        assert_int_equal(state_of(f.p, NO_BASE), PMM_ABSENT);
        assert_sound(pmm_check(f.p));
        close_pool(&f);
    }
}

static uint64_t scribble_of(uint64_t pfn, unsigned word)
{
    return (pfn << 9 | word) * UINT64_C(0x9e3779b97f4a7c15);
}

static void scribble(uint64_t base, uint64_t count)
{
    for (uint64_t k = 0; k < count; k++) {
        uint64_t *words = port_ptr(pa_make((base + k) * PAGE));

        for (unsigned i = 0; i < 512; i++) {
            words[i] = scribble_of(base + k, i);
        }
    }
}

static bool is_scribbled(uint64_t pfn)
{
    const uint64_t *words = port_ptr(pa_make(pfn * PAGE));

    for (unsigned i = 0; i < 512; i++) {
        if (words[i] != scribble_of(pfn, i)) {
            return false;
        }
    }
    return true;
}

static const struct part all_kinds[] = {
    { 0, 1024, GIVEN },                 /* low and general memory in one */
    { 1024, 512, LATER },               /* touches it */
    { 2048, 600, SPECIAL },             /* ragged, */
    { 8192, 1024, SPECIAL },            /* whole */
    { GiB + 100, 1500, UNACCEPTED },    /* */
    { 4 * GiB - 512, 1031, PERSISTENT } /* across 4 GiB */
};

static const uint64_t kind_frames[PMM_KINDS] = {
    [PMM_GENERAL] = 768, /* free ones */
    [PMM_LOW] = 255,     [PMM_SPECIAL] = 1624, [PMM_UNACCEPTED] = 1500, [PMM_PERSISTENT] = 1031,
};

/* Use a pool in every way that need not touch memory; all comes back but the last drain. */
static void use_pool(struct pmm *p, uint64_t nframes)
{
    pfn_t pfns[70];
    uint64_t a = get(p, 0);
    uint64_t b = get(p, 3);
    uint64_t c = get_range(p, 77, 0, 0, 0);

    assert_true(a != NO_BASE && b != NO_BASE && c != NO_BASE);
    assert_int_equal(pmm_get_batch(p, pfns, 70, 0), 70);
    put_range(p, c + 10, 20);
    assert_int_equal(claim(p, c + 12, 3), MM_OK);
    put_range(p, c, 10);
    put_range(p, c + 30, 47);
    put(p, b, 3);
    put(p, a, 0);
    pmm_put_batch(p, pfns, 70);
    put_range(p, c + 12, 3);
    pmm_idle(p);
    assert_int_equal(pmm_free_frames(p), nframes);
    assert_sound(pmm_check(p));
    assert_int_equal(drain(p), nframes);
    assert_int_equal(pmm_free_frames(p), 0);
    assert_sound(pmm_check(p));
}

/*
 * Pools of every kind from one map: none takes from another's memory, and none writes into frames.
 * (The general pool has no need of records here, because its only GiB begins ragged.)
 */
static void test_pools_apart(void **state)
{
    struct fixture f[PMM_KINDS];

    (void)state;
    host_phys_reset();
    for (size_t i = 0; i < MM_COUNTOF(all_kinds); i++) {
        scribble(all_kinds[i].base, all_kinds[i].count);
    }
    for (unsigned kind = 0; kind < PMM_KINDS; kind++) {
        open_kind(&f[kind], all_kinds, MM_COUNTOF(all_kinds), (enum pmm_kind)kind, 2);
        assert_int_equal(pmm_free_frames(f[kind].p), kind_frames[kind]);
    }
    for (unsigned kind = 0; kind < PMM_KINDS; kind++) {
        for (unsigned other = 0; other < PMM_KINDS; other++) {
            assert_int_equal(pmm_free_frames(f[other].p), other < kind ? 0 : kind_frames[other]);
        }
        use_pool(f[kind].p, kind_frames[kind]);
    }
    for (size_t i = 0; i < MM_COUNTOF(all_kinds); i++) {
        for (uint64_t pfn = all_kinds[i].base; pfn < all_kinds[i].base + all_kinds[i].count;
             pfn++) {
            unsigned nused = 0;

            for (unsigned kind = 0; kind < PMM_KINDS; kind++) {
                nused += state_of(f[kind].p, pfn) == PMM_USED;
            }
            assert_int_equal(nused, pfn == 0 || all_kinds[i].is == LATER ? 0 : 1);
#ifndef PMM_DEBUG /* poisons what it may write to */
            assert_true(is_scribbled(pfn));
#else
            assert_true(all_kinds[i].is <= LATER || is_scribbled(pfn));
#endif
        }
    }
    for (unsigned kind = 0; kind < PMM_KINDS; kind++) {
        close_pool(&f[kind]);
    }
}

/* A general pool writes to the frames that it keeps for its records, and to no others. */
static void test_records(void **state)
{
    static const struct part parts[] = { { 8 * GiB, 2048, GIVEN }, { 9 * GiB, 1024, GIVEN } };
    struct fixture f;
    struct pmm_stats s;
    struct pmm_tally t;

    (void)state;
    SKIP_IF_POISONED();
    host_phys_reset();
    scribble(8 * GiB, 2048);
    scribble(9 * GiB, 1024);
    open_pool(&f, parts, 1);
    assert_int_equal(drain(f.p), 3072); /* single frames, and whole blocks, need no records */
    close_pool(&f);
    open_pool(&f, parts, 1);
    for (unsigned i = 0; i < 6; i++) {
        assert_int_not_equal(get(f.p, 9), NO_BASE);
    }
    assert_int_equal(get(f.p, 0), NO_BASE);
    assert_int_equal(stats_of(f.p).record_frames, 0);
    close_pool(&f);

    /* Blocks smaller than 2 MiB: 8 frames for each of the two GiB. */
    open_pool(&f, parts, 1);
    assert_int_not_equal(get_range(f.p, 513, 0, 0, 0), NO_BASE);
    for (unsigned i = 0; i < 64; i++) {
        assert_int_not_equal(get(f.p, 5), NO_BASE);
    }
    s = stats_of(f.p);
    assert_int_equal(s.record_frames, 16);
    assert_int_equal(s.held_frames, 0);
    assert_int_equal(s.free_frames, 3072 - 513 - 64 * 32 - 16);
    assert_sound(pmm_check(f.p));
    assert_int_equal(drain(f.p), 3072 - 513 - 64 * 32 - 16);
    pmm_get_tally(f.p, pfn_make(8 * GiB), 2 * GiB, &t);
    assert_int_equal(t.frames[PMM_HELD], 16);
    assert_int_equal(t.frames[PMM_USED], 3072 - 16);
    for (uint64_t pfn = 8 * GiB; pfn < 9 * GiB + 1024; pfn++) {
        pfn = pfn == 8 * GiB + 2048 ? 9 * GiB : pfn;
        assert_true(is_scribbled(pfn) || state_of(f.p, pfn) == PMM_HELD);
        if (state_of(f.p, pfn) == PMM_HELD) { /* the records are nobody's to add */
            assert_int_equal(pmm_add(f.p, pfn_make(pfn), 1), MM_EBUSY);
        }
    }
    assert_sound(pmm_check(f.p));
    close_pool(&f);
}

static uint64_t resident_bytes(const struct fixture *f)
{
    uint64_t npages = (f->storage_bytes + PAGE - 1) / PAGE;
    unsigned char *in = malloc(npages);
    uint64_t n = 0;

    assert_non_null(in);
    assert_int_equal(mincore(f->storage, f->storage_bytes, in), 0);
    for (uint64_t i = 0; i < npages; i++) {
        n += in[i] & 1;
    }
    free(in);
    return n * PAGE;
}

/* Start-up costs the number of regions and GiB, not of frames: seen by what the host had to map. */
static void test_start_up(void **state)
{
    static const struct part parts[] = {
        { 0, 160, GIVEN },
        { 256, 3 * GiB - 256, GIVEN },
        { 4 * GiB, TiB, GIVEN },
        { 40 * TiB, 2 * GiB, GIVEN },
    };
    struct fixture f;
    struct pmm_stats s;

    (void)state;
    SKIP_IF_POISONED();
    open_pool(&f, parts, 2); /* also checks it: that touches nothing either */
    s = stats_of(f.p);
    assert_int_equal(s.total_frames, 3 * GiB - 256 + TiB + 2 * GiB);
    assert_int_equal(s.free_frames, s.total_frames);
    assert_int_equal(s.free_blocks[18], 2 + 1024 + 2);
    assert_int_equal(s.storage_bytes, f.storage_bytes);
    assert_int_equal(s.sections, 3 + 1024 + 2);
    assert_true(s.open_sections <= 1); /* the ragged one */
    assert_true(f.storage_bytes < UINT64_C(34) << 20);
    assert_true(resident_bytes(&f) <= 128 * 1024);
    printf("1 TiB: %llu KiB of %llu KiB of storage written\n",
           (unsigned long long)resident_bytes(&f) >> 10, (unsigned long long)f.storage_bytes >> 10);

    /* The first frames open one section, however many they are; a refusal opens none. */
    for (unsigned i = 0; i < 1000; i++) {
        assert_true(get(f.p, 0) >= 4 * GiB);
    }
    assert_int_equal(range_error(f.p, TiB, 0, 0, 0), MM_EFRAG);
    assert_int_equal(range_error(f.p, 2 * TiB, 0, 0, 0), MM_ENOMEM);
    assert_int_equal(stats_of(f.p).open_sections, s.open_sections + 1);
    assert_true(resident_bytes(&f) <= 192 * 1024);
    assert_sound(pmm_check(f.p));
    close_pool(&f);
}

/* ---- blocks by order ------------------------------------------------------------------------- */

static void test_orders(void **state)
{
    static const struct part parts[] = { { 8 * GiB, 2 * GiB, GIVEN } };
    struct fixture f;

    (void)state;
    SKIP_IF_POISONED();
    open_pool(&f, parts, 2);
    assert_true(pfn_is_none(pmm_get(f.p, PMM_MAX_ORDER + 1, 0)));
    assert_true(pfn_is_none(pmm_get(f.p, UINT32_MAX, PMM_WAIT)));
    for (unsigned order = 0; order <= PMM_MAX_ORDER; order++) {
        uint64_t count = UINT64_C(1) << order;
        uint64_t before = pmm_free_frames(f.p);
        uint64_t records = stats_of(f.p).record_frames;
        uint64_t base = get(f.p, order);

        assert_int_not_equal(base, NO_BASE);
        records = stats_of(f.p).record_frames - records;
        assert_int_equal(pmm_free_frames(f.p), before - count - records);
        assert_int_equal(state_of(f.p, base), PMM_USED);
        assert_int_equal(state_of(f.p, base + count - 1), PMM_USED);
        assert_sound(pmm_check(f.p));
        put(f.p, base, order);
        assert_int_equal(pmm_free_frames(f.p), before - records);
        assert_true(is_free(f.p, base) && is_free(f.p, base + count - 1));
        assert_sound(pmm_check(f.p));
    }
    close_pool(&f);
}

/* Every block of an order that there is, and all of them merge again. */
static void test_all_of_an_order(void **state)
{
    static const struct part parts[] = { { 8 * GiB, 2 * GiB, GIVEN } };
    uint64_t *got = malloc((2 * GiB + 1) * sizeof(*got));

    (void)state;
    SKIP_IF_POISONED();
    assert_non_null(got);
    for (unsigned order = 0; order <= PMM_MAX_ORDER; order++) {
        struct fixture f;
        uint64_t n = 0;
        struct pmm_stats s;

        open_pool(&f, parts, 2);
        while ((got[n] = get(f.p, order)) != NO_BASE) {
            n++;
            host_set_cpu(n / 3 % 2);
        }
        s = stats_of(f.p);
        assert_true(order >= 1 && order <= 8 ? s.record_frames <= 16 : s.record_frames == 0);
        assert_int_equal(s.free_frames, 2 * GiB - (n << order) - s.record_frames);
        assert_true(s.free_frames >> order < 2); /* what the records have left of two blocks */
        assert_true(order > 3 || s.free_frames == 0);
        assert_int_equal(pmm_why(f.p, order), s.free_frames >> order == 0 ? MM_ENOMEM : MM_EFRAG);
        assert_sound(pmm_check(f.p));
        for (uint64_t i = 0; i < n; i += 2) { /* every second one, and then the others */
            put(f.p, got[i], order);
        }
        for (uint64_t i = 1; i < n; i += 2) {
            host_set_cpu(i / 5 % 2);
            put(f.p, got[i], order);
        }
        s = stats_of(f.p);
        assert_int_equal(s.free_frames, 2 * GiB - s.record_frames);
        assert_true(whole_blocks(f.p) >= 1024 - s.record_frames / 8);
        assert_true(s.record_frames != 0 || s.free_blocks[18] == 2);
        assert_sound(pmm_check(f.p));
        close_pool(&f);
    }
    free(got);
}

/* Halves merge at once, at every order: the last piece to come back makes the GiB whole. */
static void test_merge(void **state)
{
    static const struct part parts[] = { { 6 * GiB, GiB, GIVEN } };
    struct fixture f;

    (void)state;
    SKIP_IF_POISONED();
    open_pool(&f, parts, 2);
    assert_int_equal(get(f.p, 18), 6 * GiB);
    assert_int_equal(pmm_why(f.p, 0), MM_ENOMEM);
    for (uint64_t piece = 512; piece-- > 0;) {
        put_range(f.p, 6 * GiB + (piece * 77 + 300) % 512 * 512, 512);
        assert_int_equal(get(f.p, 18), piece != 0 ? NO_BASE : 6 * GiB);
    }
    for (uint64_t frame = GiB; frame-- > 0;) { /* 77 is odd: each comes once */
        put_range(f.p, 6 * GiB + (frame * 77 + 300) % GiB, 1);
        if ((frame & (frame - 1)) == 0) {
            assert_int_equal(pmm_why(f.p, 18), frame != 0 ? MM_ENOMEM : MM_OK);
        }
    }
    assert_int_equal(stats_of(f.p).record_frames, 0);
    assert_int_equal(get(f.p, 18), 6 * GiB);
    assert_sound(pmm_check(f.p));
    close_pool(&f);
}

/*
 * The textbook case of external fragmentation. 16 frames; one request for 2 and three for 4; the
 * pair comes back, and another 4 are wanted: 4 are free. Side by side, as they come, the pair and
 * the rest lie apart; naturally aligned, they are neighbours.
 */
static void test_textbook(void **state)
{
    static const struct part parts[] = { { 5 * GiB + 16, 16, GIVEN } };
    struct fixture f;
    uint64_t two;

    (void)state;
    open_pool(&f, parts, 1);
    assert_int_equal(claim(f.p, 5 * GiB + 16, 2), MM_OK);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(claim(f.p, 5 * GiB + 18 + i * 4, 4), MM_OK);
    }
    put_range(f.p, 5 * GiB + 16, 2);
    assert_int_equal(pmm_free_frames(f.p), 4);
    assert_int_equal(range_error(f.p, 4, 0, 0, 0), MM_EFRAG);
    assert_int_equal(stats_of(f.p).largest_free, 2);
    close_pool(&f);

    open_pool(&f, parts, 1);
    two = get(f.p, 1);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_not_equal(get(f.p, 2), NO_BASE);
    }
    put(f.p, two, 1);
    assert_int_not_equal(get(f.p, 2), NO_BASE);
    assert_int_equal(pmm_free_frames(f.p), 0);
    assert_sound(pmm_check(f.p));
    close_pool(&f);
}

/* ---- ranges ---------------------------------------------------------------------------------- */

static void test_ranges(void **state)
{
    static const struct part parts[] = {
        { 256, 3 * GiB - 256, GIVEN },
        { 4 * GiB, 5 * GiB, GIVEN },
        { 9 * GiB, GiB / 2, LATER },
    };
    struct fixture f;
    struct pmm_stats s;
    uint64_t a;

    (void)state;
    SKIP_IF_POISONED();
    open_pool(&f, parts, 2);
    assert_int_equal(range_error(f.p, 5 * GiB + 1, 0, 0, 0), MM_EFRAG);
    assert_int_equal(get_range(f.p, 5 * GiB, 0, 0, 0), 4 * GiB);
    assert_sound(pmm_check(f.p));
    assert_int_equal(range_error(f.p, 3 * GiB - 255, 0, 0, 0), MM_ENOMEM);
    assert_int_equal(get_range(f.p, 3 * GiB - 256, 0, 0, 0), 256);
    assert_int_equal(pmm_free_frames(f.p), 0);
    assert_sound(pmm_check(f.p));
    put_range(f.p, 4 * GiB, 5 * GiB);
    put_range(f.p, 256, 3 * GiB - 256);
    assert_int_equal(pmm_free_frames(f.p), 8 * GiB - 256);
    assert_sound(pmm_check(f.p));

    /* 3 GiB at a 1 GiB border; a hole in the middle of it can be used, and what remains is given
     * back in parts. */
    a = get_range(f.p, 3 * GiB, GiB, 0, 0);
    assert_int_equal(a, 4 * GiB);
    assert_int_equal(range_error(f.p, 3 * GiB, GiB, 0, 0), MM_EFRAG);
    assert_int_equal(get_range(f.p, 2 * GiB, GiB, 0, 0), 7 * GiB);
    put_range(f.p, a + GiB - 3, 6);
    assert_sound(pmm_check(f.p));
    assert_int_equal(get_range(f.p, 6, 0, 0, 0), a + GiB - 3);
    put_range(f.p, a + GiB - 3, 6);
    put_range(f.p, a, GiB - 3);
    assert_sound(pmm_check(f.p));
    put_range(f.p, a + GiB + 3, 2 * GiB - 3);
    put_range(f.p, 7 * GiB, 2 * GiB);
    assert_sound(pmm_check(f.p));
    close_pool(&f);

    /* Held memory joins, and merges with what was beside it. */
    open_pool(&f, parts, 2);
    assert_int_equal(pmm_add(f.p, pfn_make(9 * GiB), GiB / 2), MM_OK);
    assert_sound(pmm_check(f.p));
    assert_int_equal(get_range(f.p, 5 * GiB + GiB / 2, 0, 0, 0), 4 * GiB);
    put_range(f.p, 4 * GiB, 5 * GiB + GiB / 2);
    s = stats_of(f.p);
    assert_int_equal(s.largest_free, 5 * GiB + GiB / 2);
    assert_int_equal(s.free_blocks[18], 7);
    assert_int_equal(s.free_blocks[17], 2);
    assert_int_equal(s.free_blocks[8], 1);
    assert_int_equal(s.free_blocks[0], 0);
    for (unsigned i = 0; i < 7; i++) {
        assert_int_not_equal(get(f.p, 18), NO_BASE);
    }
    assert_int_equal(get(f.p, 18), NO_BASE);
    assert_int_equal(pmm_why(f.p, 18), MM_EFRAG);
    assert_sound(pmm_check(f.p));
    close_pool(&f);
}

/* Exact counts: what is beside the block stays free. */
static void test_counts(void **state)
{
    static const struct part parts[] = { { 5 * GiB + 7, 3000, GIVEN } };
    struct fixture f;

    (void)state;
    open_pool(&f, parts, 2);
    for (uint64_t count = 1; count <= 3000; count += count < 140 ? 1 : 71) {
        uint64_t base = get_range(f.p, count, 0, 0, 0);

        assert_int_not_equal(base, NO_BASE);
        assert_int_equal(pmm_free_frames(f.p), 3000 - count);
        assert_true(base + count == 5 * GiB + 3007 || is_free(f.p, base + count));
        assert_true(base == 5 * GiB + 7 || is_free(f.p, base - 1));
        assert_sound(pmm_check(f.p));
        put_range(f.p, base, count);
        assert_int_equal(pmm_free_frames(f.p), 3000);
    }
    assert_int_equal(stats_of(f.p).largest_free, 3000);
    close_pool(&f);
}

/* Alignment, limit and boundary, alone and together, on one run of frames. */
static void test_shapes(void **state)
{
    static const struct part parts[] = { { 1000, 5000, GIVEN } };
    struct fixture f;

    (void)state;
    open_pool(&f, parts, 2);
    for (uint64_t count = 1; count <= 300; count += 23) {
        for (uint64_t align = 1; align <= 4096; align *= 4) {
            for (uint64_t boundary = 256; boundary <= 4096; boundary *= 2) {
                for (uint64_t last = 1000; last < 6000; last += 777) {
                    uint64_t place = NO_BASE; /* the lowest there is */
                    uint64_t base;

                    for (uint64_t at = 1000; at + count <= last; at++) {
                        if (at % align == 0 && at / boundary == (at + count - 1) / boundary) {
                            place = at;
                            break;
                        }
                    }
                    base = get_range(f.p, count, align, last * PAGE, boundary * PAGE);
                    assert_int_equal(base == NO_BASE, place == NO_BASE);
                    if (base != NO_BASE) {
                        assert_true(base >= place && base % align == 0 && base + count <= last);
                        assert_true(base / boundary == (base + count - 1) / boundary);
                        put_range(f.p, base, count);
                    }
                }
            }
        }
    }
    assert_int_equal(pmm_free_frames(f.p), 5000);
    assert_sound(pmm_check(f.p));
    close_pool(&f);
}

/* Memory that runs through 4 GiB without a hole: a block that lies across is found. */
static void test_across_4g(void **state)
{
    static const struct part parts[] = { { 4 * GiB - 1000, 2000, GIVEN } };
    struct fixture f;

    (void)state;
    open_pool(&f, parts, 2);
    assert_int_equal(get_range(f.p, 2000, 0, 0, 0), 4 * GiB - 1000);
    put_range(f.p, 4 * GiB - 1000, 2000);
    assert_int_equal(get_range(f.p, 1000, 0, 0, 0), 4 * GiB);
    assert_int_equal(get_range(f.p, 1000, 0, 0, 0), 4 * GiB - 1000);
    assert_sound(pmm_check(f.p));
    close_pool(&f);
}

static void test_range_errors(void **state)
{
    static const struct part parts[] = { { 256, 600, GIVEN }, { 5 * GiB, 512, GIVEN } };
    static const struct pmm_want bad[] = {
        { 0, 0, 0, 0, 0 }, { 1, 3, 0, 0, 0 },    { 1, 0, 0, 2048, 0 }, { 1, 0, 0, 3 * PAGE, 0 },
        { 0, 6, 0, 6, 0 }, { 1, 6, 0, PAGE, 0 }, { 1, 0, 0, 1, 0 },    { 0, 0, 1, 0, PMM_WAIT },
    };
    struct fixture f;
    pfn_t base = { 99 };
    uint64_t refusals;

    (void)state;
    open_pool(&f, parts, 2);
    for (size_t i = 0; i < MM_COUNTOF(bad); i++) {
        assert_int_equal(pmm_get_range(f.p, &bad[i], &base), MM_EINVAL);
        assert_int_equal(base.v, 99);
    }
    refusals = stats_of(f.p).refusals;
    assert_int_equal(range_error(f.p, 1113, 0, 0, 0), MM_ENOMEM);
    assert_int_equal(range_error(f.p, 1113, 0, 1, PAGE), MM_ENOMEM); /* the first that applies */
    assert_int_equal(range_error(f.p, UINT64_MAX, 0, 0, 0), MM_ENOMEM);
    assert_int_equal(range_error(f.p, UINT64_MAX, UINT64_C(1) << 63, 0, 0), MM_ENOMEM);
    assert_int_equal(range_error(f.p, 601, 0, 0, 0), MM_EFRAG);
    assert_int_equal(range_error(f.p, 1, UINT64_C(1) << 63, 0, 0), MM_EFRAG);
    assert_int_equal(range_error(f.p, 3, 0, 0, 2 * PAGE), MM_EFRAG);
    assert_int_equal(range_error(f.p, 3, 0, 1, 2 * PAGE), MM_EFRAG); /* nor anywhere else */
    assert_int_equal(range_error(f.p, 1, 0, 1, 0), MM_ELIMIT);
    assert_int_equal(range_error(f.p, 1, 0, 257 * PAGE - 1, 0), MM_ELIMIT);
    assert_int_equal(range_error(f.p, 600, 0, 856 * PAGE - 1, 0), MM_ELIMIT);
    assert_int_equal(range_error(f.p, 512, 512, 4 * GiB * PAGE, 0), MM_ELIMIT);
    assert_int_equal(stats_of(f.p).refusals, refusals + 12);
    assert_int_equal(get_range(f.p, 600, 0, 856 * PAGE, 0), 256);
    assert_int_equal(range_error(f.p, 1, 0, 4 * GiB * PAGE, 0), MM_ELIMIT);
    put_range(f.p, 256, 600);
    assert_int_equal(get_range(f.p, 1, 0, 257 * PAGE, 0), 256);
    assert_int_equal(get_range(f.p, 512, 0, PMM_NO_LIMIT, 0), 5 * GiB);
    assert_int_equal(get_range(f.p, 300, 0, 0, UINT64_C(1) << 63), 257);
    assert_sound(pmm_check(f.p));
    close_pool(&f);
}

static void test_claim(void **state)
{
    static const struct part parts[] = { { 0, 2304, GIVEN },
                                         { 2304, 64, LATER },
                                         { 4 * GiB, 3 * GiB, GIVEN } };
    struct fixture f;

    (void)state;
    SKIP_IF_POISONED();
    open_pool(&f, parts, 2);
    assert_int_equal(claim(f.p, 300, 0), MM_EINVAL);
    assert_int_equal(claim(f.p, 300, UINT64_MAX), MM_EINVAL);
    assert_int_equal(claim(f.p, UINT64_MAX, 1), MM_EINVAL);
    assert_int_equal(claim(f.p, 0, 1), MM_ENOENT);
    assert_int_equal(claim(f.p, 255, 2), MM_ENOENT);
    assert_int_equal(claim(f.p, 2300, 100), MM_ENOENT);
    assert_int_equal(claim(f.p, UINT64_C(1) << 60, 1), MM_ENOENT);
    assert_int_equal(claim(f.p, 7 * GiB - 1, 2), MM_ENOENT);
    assert_int_equal(claim(f.p, 2300, 5), MM_EBUSY); /* held in part */
    assert_int_equal(claim(f.p, 2368 - 1, 1), MM_EBUSY);
    assert_int_equal(pmm_free_frames(f.p), 2048 + 3 * GiB);

    assert_int_equal(claim(f.p, 256, 2048), MM_OK);
    assert_int_equal(claim(f.p, 256, 1), MM_EBUSY);
    assert_int_equal(claim(f.p, 2303, 1), MM_EBUSY);
    put_range(f.p, 256, 2048);
    assert_int_equal(claim(f.p, 590, 10), MM_OK);
    assert_int_equal(claim(f.p, 590, 1), MM_EBUSY);
    assert_int_equal(claim(f.p, 580, 11), MM_EBUSY);
    assert_int_equal(claim(f.p, 599, 11), MM_EBUSY);
    assert_int_equal(claim(f.p, 580, 10), MM_OK);
    assert_int_equal(claim(f.p, 600, 1), MM_OK);

    /* Whole blocks, whole GiB, and what lies across. */
    assert_int_equal(claim(f.p, 4 * GiB, GiB), MM_OK);
    assert_int_equal(claim(f.p, 5 * GiB + 512, 512), MM_OK);
    assert_int_equal(claim(f.p, 6 * GiB - 700, GiB), MM_OK);
    assert_int_equal(claim(f.p, 5 * GiB + 512 - 1, 2), MM_EBUSY);
    assert_int_equal(claim(f.p, 5 * GiB + 512 - 1, 1), MM_OK);
    assert_sound(pmm_check(f.p));
    put_range(f.p, 6 * GiB - 700, GiB);
    put(f.p, 4 * GiB, 18);
    put(f.p, 5 * GiB + 512, 9);
    put(f.p, 5 * GiB + 511, 0);
    put_range(f.p, 580, 10);
    put_range(f.p, 590, 10);
    put(f.p, 600, 0);
    assert_int_equal(pmm_free_frames(f.p), 2048 + 3 * GiB - stats_of(f.p).record_frames);
    assert_sound(pmm_check(f.p));

    /* A frame in the cache of another processor is free, and can be claimed. */
    host_set_cpu(1);
    put(f.p, get(f.p, 0), 0);
    for (uint64_t pfn = 4 * GiB; pfn < 7 * GiB; pfn += 64) {
        host_set_cpu(pfn / 64 % 2);
        if (is_free(f.p, pfn)) {
            assert_int_equal(claim(f.p, pfn, 1), MM_OK);
        }
    }
    assert_sound(pmm_check(f.p));
    close_pool(&f);
}

/* Parts of allocations of every make come back one by one; the rest stays the caller's. */
static void test_partial(void **state)
{
    static const struct part parts[] = { { 8 * GiB + 5, 7000, GIVEN } };
    struct host_rng r = host_rng_make("parts");

    (void)state;
    for (unsigned round = 0; round < 60; round++) {
        unsigned char mine[7000] = { 0 };
        unsigned order = round % 12;
        uint64_t count = round < 24 ? UINT64_C(1) << order : 1 + host_rng_below(&r, 7000);
        uint64_t left = count;
        uint64_t base;
        struct fixture f;

        open_pool(&f, parts, 2);
        base = round < 24 ? get(f.p, order) : get_range(f.p, count, 0, 0, 0);
        assert_int_not_equal(base, NO_BASE);
        memset(mine, 1, count);
        while (left > 0) {
            uint64_t at = host_rng_below(&r, count);
            uint64_t n = 0;
            uint64_t most = 1 + host_rng_below(&r, 1 + count / 4);

            while (at + n < count && mine[at + n] != 0 && n < most) {
                mine[at + n++] = 0;
            }
            if (n > 0) {
                host_set_cpu((unsigned)n % 2);
                put_range(f.p, base + at, n);
                left -= n;
                assert_int_equal(pmm_free_frames(f.p), 7000 - left);
            }
            if (n > 0 && host_rng_below(&r, 8) == 0) {
                assert_sound(pmm_check(f.p));
                for (uint64_t k = 0; k < count; k++) {
                    assert_int_equal(is_free(f.p, base + k), !mine[k]);
                }
            }
        }
        assert_int_equal(stats_of(f.p).largest_free, 7000);
        assert_sound(pmm_check(f.p));
        close_pool(&f);
    }
}

/* ---- batches, caches, zeros ------------------------------------------------------------------ */

static void test_batches(void **state)
{
    static const struct part parts[] = { { 8 * GiB + 100, 5000, GIVEN } };
    static unsigned char have[5000];
    struct fixture f;
    pfn_t pfns[PMM_MAX_BATCH];

    (void)state;
    open_pool(&f, parts, 3);
    assert_int_equal(pmm_get_batch(f.p, pfns, 0, 0), 0);
    pmm_put_batch(f.p, pfns, 0);
    for (unsigned n = 1; n <= PMM_MAX_BATCH; n++) {
        host_set_cpu(n % 3);
        assert_int_equal(pmm_get_batch(f.p, pfns, n, 0), n);
        assert_int_equal(pmm_free_frames(f.p), 5000 - n);
        for (unsigned i = 0; i < n; i++) {
            uint64_t k = pfns[i].v - (8 * GiB + 100);

            assert_true(k < 5000 && have[k] == 0);
            have[k] = 1;
            assert_false(pmm_is_free(f.p, pfns[i]));
        }
        memset(have, 0, sizeof(have));
        host_set_cpu(n % 2);
        if (n % 16 == 0) { /* each is an allocation of its own */
            for (unsigned i = 0; i < n; i++) {
                put(f.p, pfns[i * 521 % n].v, 0);
            }
        } else {
            for (unsigned i = 0; i + 1 < n; i += 2) {
                pfn_t swap = pfns[i];

                pfns[i] = pfns[n - 1 - i];
                pfns[n - 1 - i] = swap;
            }
            pmm_put_batch(f.p, pfns, n);
        }
        assert_int_equal(pmm_free_frames(f.p), 5000);
        assert_sound(pmm_check(f.p));
    }

    /* Fewer than asked for only if there are no more; those in other caches count. */
    host_set_cpu(1);
    put(f.p, get(f.p, 0), 0);
    host_set_cpu(2);
    put(f.p, get(f.p, 0), 0);
    host_set_cpu(0);
    for (unsigned i = 0; i < 9; i++) {
        assert_int_equal(pmm_get_batch(f.p, pfns, PMM_MAX_BATCH, 0), PMM_MAX_BATCH);
    }
    assert_int_equal(pmm_get_batch(f.p, pfns, PMM_MAX_BATCH, 0), 5000 - 9 * PMM_MAX_BATCH);
    assert_int_equal(pmm_get_batch(f.p, pfns, 1, 0), 0);
    assert_int_equal(pmm_free_frames(f.p), 0);
    assert_sound(pmm_check(f.p));
    close_pool(&f);
}

/* A frame in a cache is free; it is in the way of nothing. */
static void test_caches(void **state)
{
    enum { CPUS = 5 };
    static const struct part parts[] = { { 8 * GiB, CPUS * 512, GIVEN } };
    struct fixture f;
    struct pmm_cpu_stats s;
    uint64_t got[CPUS];

    (void)state;
    open_pool(&f, parts, CPUS);
    for (unsigned cpu = 0; cpu < CPUS; cpu++) {
        host_set_cpu(cpu);
        got[cpu] = get(f.p, 0);
        assert_int_not_equal(got[cpu], NO_BASE);
        for (unsigned other = 0; other < cpu; other++) { /* a block of its own for each */
            assert_int_not_equal(got[cpu] / 512, got[other] / 512);
        }
    }
    for (unsigned cpu = 0; cpu < CPUS; cpu++) {
        pmm_get_cpu_stats(f.p, cpu, &s);
        assert_true(s.cached_frames > 0 && s.refills > 0 && s.blocks > 0);
        assert_int_equal(s.zeroed_frames, 0);
    }
    assert_int_equal(pmm_free_frames(f.p), CPUS * 512 - CPUS);
    for (uint64_t pfn = 8 * GiB; pfn < 8 * GiB + CPUS * 512; pfn++) {
        bool mine = false;

        for (unsigned cpu = 0; cpu < CPUS; cpu++) {
            mine |= got[cpu] == pfn;
        }
        assert_int_equal(is_free(f.p, pfn), !mine);
    }

    /* Who idles has nothing in hand any more, and nobody has after everything was counted. */
    host_set_cpu(2);
    pmm_idle(f.p);
    pmm_get_cpu_stats(f.p, 2, &s);
    assert_int_equal(s.cached_frames, 0);
    assert_int_equal(stats_of(f.p).free_frames, CPUS * 512 - CPUS);
    for (unsigned cpu = 0; cpu < CPUS; cpu++) {
        pmm_get_cpu_stats(f.p, cpu, &s);
        assert_int_equal(s.cached_frames, 0);
    }
    for (unsigned cpu = 0; cpu < CPUS; cpu++) {
        host_set_cpu(CPUS - 1 - cpu);
        put(f.p, got[cpu], 0); /* by another than who took it, who has it at hand then */
        pmm_get_cpu_stats(f.p, CPUS - 1 - cpu, &s);
        assert_int_equal(s.cached_frames, 1);
        assert_true(is_free(f.p, got[cpu]));
        if (cpu % 2 == 0) {
            pmm_idle(f.p);
        }
    }
    assert_int_equal(pmm_free_frames(f.p), CPUS * 512);
    host_set_cpu(3);
    for (unsigned i = 0; i < CPUS; i++) { /* whole again, whoever has put the frames */
        assert_int_not_equal(get(f.p, 9), NO_BASE);
    }
    assert_sound(pmm_check(f.p));
    close_pool(&f);
}

/* The last frames are in the caches of others: they are found, but not by who is in a hurry. */
static void test_quick(void **state)
{
    enum { CPUS = 4 };
    static const struct part parts[] = { { 8 * GiB, CPUS * 512, GIVEN } };
    struct fixture f;
    uint64_t got[CPUS];
    uint64_t stops;
    pfn_t pfns[PMM_MAX_BATCH];
    struct pmm_want want = { .count = 1, .flags = PMM_QUICK };

    (void)state;
    open_pool(&f, parts, CPUS);
    for (unsigned cpu = 0; cpu < CPUS; cpu++) {
        host_set_cpu(cpu);
        got[cpu] = get(f.p, 0);
    }
    assert_int_equal(drain(f.p), CPUS * 512 - CPUS);
    for (unsigned cpu = 1; cpu < CPUS; cpu++) {
        host_set_cpu(cpu);
        put(f.p, got[cpu], 0);
        assert_int_equal(get(f.p, 0), got[cpu]);
        put(f.p, got[cpu], 0);
    }
    host_set_cpu(0);
    assert_int_equal(pmm_free_frames(f.p), CPUS - 1);
    stops = f.p->stops;
    for (unsigned order = 0; order <= PMM_MAX_ORDER; order++) {
        assert_true(pfn_is_none(pmm_get(f.p, order, PMM_QUICK)));
    }
    assert_int_equal(pmm_get_batch(f.p, pfns, 7, PMM_QUICK), 0);
    assert_true(pmm_get_range(f.p, &want, &pfns[0]) != MM_OK);
    want.count = 3;
    assert_true(pmm_get_range(f.p, &want, &pfns[0]) != MM_OK);
    assert_int_equal(f.p->stops, stops);
    assert_int_equal(pmm_why(f.p, 0), MM_OK);
    assert_int_equal(pmm_get_batch(f.p, pfns, 7, 0), CPUS - 1);
    assert_int_equal(pmm_free_frames(f.p), 0);

    /* What is at hand is given in a hurry as well. */
    put(f.p, got[0], 0);
    assert_int_equal(pmm_get(f.p, 0, PMM_QUICK).v, got[0]);
    assert_sound(pmm_check(f.p));
    close_pool(&f);
}

static bool is_zero(uint64_t base, uint64_t count)
{
    const unsigned char *at = port_ptr(pa_make(base * PAGE));

    return at[0] == 0 && memcmp(at, at + 1, count * PAGE - 1) == 0;
}

static void test_zero(void **state)
{
    static const struct part parts[] = { { 8 * GiB, 2048, GIVEN } };
    static const struct pmm_want wants[] = {
        { .count = 1, .flags = PMM_ZERO },
        { .count = 3, .flags = PMM_ZERO },
        { .count = 600, .align = 2, .flags = PMM_ZERO },
    };
    struct fixture f;
    struct pmm_cpu_stats s;
    pfn_t pfns[PMM_MAX_BATCH];
    pfn_t base;
    uint64_t free;

    (void)state;
    host_phys_reset();
    scribble(8 * GiB, 2048);
    open_pool(&f, parts, 2);
    for (unsigned order = 0; order <= 9; order++) {
        base = pmm_get(f.p, order, PMM_ZERO);
        assert_false(pfn_is_none(base));
        assert_true(is_zero(base.v, UINT64_C(1) << order));
        scribble(base.v, UINT64_C(1) << order);
        put(f.p, base.v, order);
    }
    for (size_t i = 0; i < MM_COUNTOF(wants); i++) {
        assert_int_equal(pmm_get_range(f.p, &wants[i], &base), MM_OK);
        assert_true(is_zero(base.v, wants[i].count));
        scribble(base.v, wants[i].count);
        put_range(f.p, base.v, wants[i].count);
    }
    assert_int_equal(pmm_get_batch(f.p, pfns, 300, PMM_ZERO), 300);
    for (unsigned i = 0; i < 300; i++) {
        assert_true(is_zero(pfns[i].v, 1));
        scribble(pfns[i].v, 1);
    }
    pmm_put_batch(f.p, pfns, 300);

    /* Ahead of need: such frames are free, counted, and given only as what they are. */
    free = pmm_free_frames(f.p);
    assert_int_equal(pmm_fill_zeroed(f.p, 0), 0);
    assert_true(pmm_fill_zeroed(f.p, 5) <= 5);
    for (unsigned i = 0; i < 100; i++) {
        unsigned n = pmm_fill_zeroed(f.p, 10);

        assert_true(n <= 10);
        if (n == 0) {
            break;
        }
    }
    pmm_get_cpu_stats(f.p, 0, &s);
    assert_true(s.zeroed_frames > 0 && s.zeroed_frames <= s.cached_frames);
    assert_int_equal(pmm_free_frames(f.p), free);
    free = s.zeroed_frames;
    for (uint64_t i = 0; i < 2 * free; i++) {
        pmm_get_cpu_stats(f.p, 0, &s);
        pfns[i] = pmm_get(f.p, 0, PMM_ZERO);
        assert_false(pfn_is_none(pfns[i]));
        assert_true(is_zero(pfns[i].v, 1));
        scribble(pfns[i].v, 1);
    }
    for (uint64_t i = 0; i < 2 * free; i++) {
        put(f.p, pfns[i].v, 0);
    }
    pmm_get_cpu_stats(f.p, 0, &s);
    assert_int_equal(s.zeroed_frames, 0);

    /* They are in nobody's way, and after a stop they are frames like others. */
    assert_true(pmm_fill_zeroed(f.p, 64) > 0);
    host_set_cpu(1);
    free = pmm_free_frames(f.p);
    assert_int_equal(drain(f.p), free);
    host_set_cpu(0);
    pmm_get_cpu_stats(f.p, 0, &s);
    assert_int_equal(s.zeroed_frames, 0);
    assert_int_equal(pmm_fill_zeroed(f.p, 64), 0);
    assert_sound(pmm_check(f.p));
    close_pool(&f);
}

/* Zeroed ahead and taken in turn, to the last frame. */
static void test_zero_all(void **state)
{
    static const struct part parts[] = { { 8 * GiB, 1024 + 300, GIVEN } };
    struct fixture f;
    unsigned ntaken = 0;
    unsigned nfilled = 0;

    (void)state;
    host_phys_reset();
    scribble(8 * GiB, 1024 + 300);
    open_pool(&f, parts, 2);
    while (pmm_free_frames(f.p) > 0) {
        unsigned n = pmm_fill_zeroed(f.p, 50);

        nfilled += n;
        do {
            pfn_t pfn = pmm_get(f.p, 0, PMM_ZERO);

            assert_false(pfn_is_none(pfn));
            assert_true(is_zero(pfn.v, 1));
            scribble(pfn.v, 1);
            ntaken++;
        } while (n-- > 1);
    }
    assert_int_equal(ntaken, 1024 + 300);
    assert_true(nfilled > ntaken / 2);
    assert_sound(pmm_check(f.p));
    close_pool(&f);
}

/* A frame known to be zero that is given without the flag, dirtied and put, is zero no more. */
static void test_zero_after_use(void **state)
{
    static const struct part parts[] = { { 8 * GiB, 64, GIVEN } };
    struct fixture f;
    pfn_t pfns[64];

    (void)state;
    host_phys_reset();
    scribble(8 * GiB, 64);
    open_pool(&f, parts, 2);
    for (unsigned round = 0; round < 20; round++) {
        unsigned n;

        host_set_cpu(round / 3 % 2);
        assert_true(pmm_fill_zeroed(f.p, 1 + round) <= 1 + round);
        assert_int_equal(pmm_get_batch(f.p, pfns, 64, round % 2 == 0 ? 0 : PMM_ZERO), 64);
        for (unsigned i = 0; i < 64; i++) {
            assert_true(round % 2 == 0 || is_zero(pfns[i].v, 1));
            scribble(pfns[i].v, 1);
        }
        n = round % 5 * 13;
        for (unsigned i = 0; i < n; i++) {
            put(f.p, pfns[i].v, 0);
        }
        for (unsigned i = 0; i < n; i++) {
            pfns[i] = pmm_get(f.p, 0, PMM_ZERO);
            assert_true(is_zero(pfns[i].v, 1));
            scribble(pfns[i].v, 1);
        }
        pmm_put_batch(f.p, pfns, 64);
    }
    assert_sound(pmm_check(f.p));
    close_pool(&f);
}

/* ---- what one can ask ------------------------------------------------------------------------ */

static void test_statistics(void **state)
{
    static const struct part parts[] = {
        { 256, 512 * 3 - 256, GIVEN }, /* 256 frames, then two whole blocks */
        { 1536, 100, LATER },
        { 5 * GiB, 2048, GIVEN },
    };
    struct fixture f;
    struct pmm_stats s;
    struct pmm_tally t;
    uint64_t site;

    (void)state;
    open_pool(&f, parts, 2);
    assert_int_equal(claim(f.p, 5 * GiB + 700, 200), MM_OK);
    s = stats_of(f.p);
    assert_int_equal(s.total_frames, 1280 + 100 + 2048);
    assert_int_equal(s.free_frames, 1280 + 1848 - s.record_frames);
    assert_int_equal(s.held_frames, 100);
    assert_int_equal(s.bad_frames + s.leaving_frames, 0);
    assert_true(s.record_frames == 0 || s.record_frames == 8);
    assert_int_equal(s.below_4g_free, 1280);
    assert_int_equal(s.largest_free, 1280);
    assert_int_equal(s.outside_2m, 256 + 512 - 200 - s.record_frames);
    assert_int_equal(s.free_blocks[10], 1); /* 1024 at 5 GiB + 1024 */
    assert_int_equal(s.free_blocks[9], 3);
    assert_int_equal(s.sections, 2);
    assert_int_equal(s.open_sections, 2);

    pmm_get_tally(f.p, pfn_make(0), UINT64_MAX, &t);
    assert_int_equal(t.frames[PMM_ABSENT], UINT64_MAX - s.total_frames);
    assert_int_equal(t.frames[PMM_FREE], s.free_frames);
    assert_int_equal(t.frames[PMM_USED], 200);
    assert_int_equal(t.frames[PMM_HELD], 100 + s.record_frames);
    assert_int_equal(t.frames[PMM_BAD], 0);
    pmm_get_tally(f.p, pfn_make(1500), 200, &t);
    assert_int_equal(t.frames[PMM_ABSENT], 64);
    assert_int_equal(t.frames[PMM_FREE], 36);
    assert_int_equal(t.frames[PMM_HELD], 100);
    pmm_get_tally(f.p, pfn_make(5 * GiB + 850), 0, &t);
    assert_int_equal(t.frames[PMM_USED], 0);
    pmm_get_tally(f.p, pfn_make(UINT64_MAX - 5), 5, &t);
    assert_int_equal(t.frames[PMM_ABSENT], 5);

    assert_false(pmm_who(f.p, pfn_make(300), &site));  /* not in use */
    assert_false(pmm_who(f.p, pfn_make(10), &site));   /* not there */
    assert_false(pmm_who(f.p, pfn_make(1536), &site)); /* not given */
#ifdef PMM_DEBUG
    assert_true(pmm_who(f.p, pfn_make(5 * GiB + 800), &site));
    assert_true(site != 0);
#else
    assert_false(pmm_who(f.p, pfn_make(5 * GiB + 800), &site));
#endif
    close_pool(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_init_arguments),  cmocka_unit_test(test_kinds),
        cmocka_unit_test(test_pools_apart),     cmocka_unit_test(test_records),
        cmocka_unit_test(test_start_up),        cmocka_unit_test(test_orders),
        cmocka_unit_test(test_all_of_an_order), cmocka_unit_test(test_merge),
        cmocka_unit_test(test_textbook),        cmocka_unit_test(test_ranges),
        cmocka_unit_test(test_counts),          cmocka_unit_test(test_shapes),
        cmocka_unit_test(test_across_4g),       cmocka_unit_test(test_range_errors),
        cmocka_unit_test(test_claim),           cmocka_unit_test(test_partial),
        cmocka_unit_test(test_batches),         cmocka_unit_test(test_caches),
        cmocka_unit_test(test_quick),           cmocka_unit_test(test_zero),
        cmocka_unit_test(test_zero_all),        cmocka_unit_test(test_zero_after_use),
        cmocka_unit_test(test_statistics),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
