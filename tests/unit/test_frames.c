/*
 * test_frames.c - mm/pmm/frames.c over windows of the host's address space.
 *
 * The window is reserved without access, as a kernel's is without mappings: an entry that is read
 * where nothing was put behind it ends the test. What back() and drop() are called for is written
 * down and compared with lists made by hand.
 */
#include "pmm_fixture.h"

#include <pthread.h>
#include <sched.h>

#include "mm/frames.h"

/* 16 bytes for each frame of 52 bits of address; ThreadSanitizer leaves no such hole. */
#ifdef HOST_TSAN
#define WINDOW_BYTES (UINT64_C(1) << 38)
#else
#define WINDOW_BYTES (UINT64_C(1) << 44)
#endif
#define MAX_CALLS 64u

struct call {
    bool drop;
    uint64_t offset, nbytes;
};

/* What is behind the window. */
static struct {
    pthread_mutex_t lock;
    unsigned char *base;
    uint64_t left;       /* bytes that there still are */
    unsigned chance;     /* one in so many calls fails, unless 0 */
    struct host_rng rng; /* for that */
    struct call calls[MAX_CALLS];
    unsigned ncalls; /* may be more than are listed */
    uint64_t backed;
} mem = { .lock = PTHREAD_MUTEX_INITIALIZER };

static void set_access(uint64_t offset, uint64_t nbytes, int prot)
{
    void *p = mmap(mem.base + offset, nbytes, prot,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);

    assert_ptr_equal(p, mem.base + offset);
}

static void note(bool drop, uint64_t offset, uint64_t nbytes)
{
    assert_int_equal(offset % 4096, 0);
    assert_int_equal(nbytes % 4096, 0);
    assert_true(nbytes > 0);
    assert_int_equal(*port_held_ranks(), 0);
    if (mem.ncalls < MAX_CALLS) {
        mem.calls[mem.ncalls] = (struct call){ drop, offset, nbytes };
    }
    mem.ncalls++;
}

static int context;

static mm_err_t back(void *ctx, uint64_t offset, uint64_t nbytes)
{
    mm_err_t err = MM_ENOMEM;

    assert_ptr_equal(ctx, &context);
    pthread_mutex_lock(&mem.lock);
    note(false, offset, nbytes);
    if (nbytes <= mem.left && (mem.chance == 0 || host_rng_below(&mem.rng, mem.chance) != 0)) {
        set_access(offset, nbytes, PROT_READ | PROT_WRITE);
        mem.left -= nbytes;
        mem.backed += nbytes;
        err = MM_OK;
    }
    pthread_mutex_unlock(&mem.lock);
    sched_yield();
    return err;
}

static void drop(void *ctx, uint64_t offset, uint64_t nbytes)
{
    assert_ptr_equal(ctx, &context);
    pthread_mutex_lock(&mem.lock);
    note(true, offset, nbytes);
    set_access(offset, nbytes, PROT_NONE);
    mem.left += nbytes;
    mem.backed -= nbytes;
    pthread_mutex_unlock(&mem.lock);
}

static const struct frames_backing backing = { back, drop, &context };

/* A table over up to PMM_KINDS pools that are made from the same parts. */
static struct {
    struct fixture f[PMM_KINDS];
    struct pmm *pools[PMM_KINDS];
    unsigned npools;
    struct frame_table *t;
    void *storage;
    uint64_t storage_bytes;
} at;

static void reset_window(void)
{
    if (mem.base == NULL) {
        mem.base =
            mmap(NULL, WINDOW_BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        assert_true(mem.base != MAP_FAILED);
    } else {
        set_access(0, WINDOW_BYTES, PROT_NONE);
    }
    mem.left = UINT64_MAX;
    mem.chance = 0;
    mem.ncalls = 0;
    mem.backed = 0;
}

static void make_table(void)
{
    uint64_t nbytes = frames_storage_bytes(at.pools, at.npools);

    reset_window();
    at.storage_bytes = nbytes;
    at.storage = malloc(nbytes); /* exactly: a byte too many is seen */
    at.t = malloc(sizeof(*at.t));
    assert_true(at.storage != NULL && at.t != NULL);
    memset(at.storage, 0xa5, nbytes);
    memset(at.t, 0xa5, sizeof(*at.t));
    assert_int_equal(frames_init(at.t, mem.base, at.pools, at.npools, &backing, at.storage, nbytes),
                     MM_OK);
    assert_sound(frames_check(at.t));
}

static void open_kinds(const struct part *parts, size_t n, const enum pmm_kind *kinds,
                       unsigned nkinds)
{
    for (unsigned i = 0; i < nkinds; i++) {
        open_kind(&at.f[i], parts, n, kinds[i], 1);
        at.pools[i] = at.f[i].p;
    }
    at.npools = nkinds;
    make_table();
}

static void open_table(const struct part *parts, size_t n)
{
    const enum pmm_kind general = PMM_GENERAL;

    open_kinds(parts, n, &general, 1);
}

static void close_table(void)
{
    free(at.t);
    free(at.storage);
    for (unsigned i = 0; i < at.npools; i++) {
        close_pool(&at.f[i]);
    }
}

static mm_err_t populate(uint64_t base, uint64_t count)
{
    return frames_populate(at.t, pfn_make(base), count);
}

static struct frame *entry(uint64_t pfn)
{
    return frame_entry(at.t, pfn_make(pfn));
}

/* The entry is there, where it should be, and zeros. */
static void assert_fresh(uint64_t pfn)
{
    static const unsigned char zeros[16];
    struct frame *f = entry(pfn);

    assert_ptr_equal(f, mem.base + 16 * pfn);
    assert_memory_equal(f, zeros, 16);
}

static void assert_calls(const struct call *want, unsigned n)
{
    assert_int_equal(mem.ncalls, n);
    for (unsigned i = 0; i < n; i++) {
        assert_int_equal(mem.calls[i].drop, want[i].drop);
        assert_int_equal(mem.calls[i].offset, want[i].offset);
        assert_int_equal(mem.calls[i].nbytes, want[i].nbytes);
    }
    mem.ncalls = 0;
}

static void assert_stats(uint64_t sections, uint64_t npages)
{
    struct frames_stats s;

    frames_get_stats(at.t, &s);
    assert_int_equal(s.sections, sections);
    assert_int_equal(s.backed_bytes, npages * 4096);
    assert_int_equal(mem.backed, npages * 4096);
    assert_sound(frames_check(at.t));
}

/* ---- what is there, and where ---- */

/* 1 MiB to 3 GiB, flat. */
static const struct part flat[] = { { MiB, 3 * GiB - MiB, GIVEN } };

static void nothing_at_first(void **state)
{
    (void)state;
    open_table(flat, MM_COUNTOF(flat));
    assert_int_equal(frames_window_bytes(at.pools, 1), 12 << 20);
    assert_int_equal(at.storage_bytes, 2048);
    assert_null(entry(MiB));
    assert_null(entry(3 * GiB - 1));
    assert_null(entry(0));                 /* in no pool */
    assert_null(entry(100 * TiB));         /* nor is this, far away */
    assert_null(entry(UINT64_C(1) << 40)); /* beyond what there can be */
    assert_null(entry(UINT64_MAX));
    assert_stats(0, 0);
    assert_calls(NULL, 0);
    close_table();
}

static void a_gib_at_a_time(void **state)
{
    static const struct call middle[] = { { false, 4 << 20, 4 << 20 } };
    static const struct call rest[] = { { false, 4096, (4 << 20) - 4096 },
                                        { false, 8 << 20, 4 << 20 } };

    (void)state;
    open_table(flat, MM_COUNTOF(flat));
    assert_int_equal(populate(GiB + 77, 1), MM_OK);
    assert_calls(middle, 1);
    assert_fresh(GiB);
    assert_fresh(GiB + 77);
    assert_fresh(2 * GiB - 1);
    assert_null(entry(GiB - 1));
    assert_null(entry(2 * GiB));
    assert_stats(1, 1024);
    assert_int_equal(populate(GiB, GiB), MM_OK); /* all there */
    assert_calls(NULL, 0);
    assert_int_equal(populate(GiB - 1, GiB + 2), MM_OK); /* a frame on either side */
    assert_calls(rest, 2);
    assert_fresh(MiB);
    assert_fresh(GiB - 1);
    assert_fresh(2 * GiB);
    assert_fresh(3 * GiB - 1);
    assert_stats(3, 3071);
    assert_int_equal(populate(MiB, 3 * GiB - MiB), MM_OK);
    assert_calls(NULL, 0);
    close_table();
}

/* In the fourth GiB: a few frames of page 0 and one of page 1; one of page 7; the last of all. The
 * fifth begins with the frame after that. */
static const struct part ragged[] = {
    { 4 * GiB + 5, 5, GIVEN }, { 4 * GiB + 300, 1, LATER }, { 4 * GiB + 7 * 256, 1, GIVEN },
    { 5 * GiB - 1, 1, GIVEN }, { 5 * GiB, 1, GIVEN },       { 5 * GiB + 255, 2, GIVEN },
};
#define RAGGED_PAGE (UINT64_C(4) * GiB / 256) /* the first one of the fourth GiB */

static void only_pages_with_frames(void **state)
{
    static const struct call four[] = { { false, RAGGED_PAGE * 4096, 8192 },
                                        { false, (RAGGED_PAGE + 7) * 4096, 4096 },
                                        { false, (RAGGED_PAGE + 1023) * 4096, 4096 } };
    static const struct call five[] = { { false, (RAGGED_PAGE + 1024) * 4096, 8192 } };

    (void)state;
    open_table(ragged, MM_COUNTOF(ragged));
    assert_int_equal(frames_window_bytes(at.pools, 1), (RAGGED_PAGE + 1026) * 4096);
    assert_int_equal(populate(4 * GiB + 300, 1), MM_OK);
    assert_calls(four, 3);
    for (uint64_t page = 0; page < 1026; page++) {
        bool there = page < 2 || page == 7 || page == 1023;

        assert_int_equal(frames_is_backed(at.t, (RAGGED_PAGE + page) * 4096), there);
        assert_int_equal(frames_is_backed(at.t, (RAGGED_PAGE + page) * 4096 + 4095), there);
    }
    assert_fresh(4 * GiB + 5);
    assert_fresh(4 * GiB + 300);
    assert_fresh(5 * GiB - 1);
    assert_null(entry(5 * GiB));
    assert_stats(1, 4);
    assert_int_equal(populate(5 * GiB, 1), MM_OK);
    assert_calls(five, 1);
    assert_fresh(5 * GiB + 256);
    assert_stats(2, 6);
    assert_true(frames_cover(at.t, pfn_make(4 * GiB + 9)));
    assert_true(frames_cover(at.t, pfn_make(4 * GiB + 300)));
    assert_false(frames_cover(at.t, pfn_make(4 * GiB + 10)));
    assert_false(frames_cover(at.t, pfn_make(4 * GiB + 299)));
    assert_false(frames_cover(at.t, pfn_make(0)));
    close_table();
}

/* Below 1 MiB, above it, and special-purpose memory that shares a page of entries with both of its
 * neighbours. */
static void pools_share_a_table(void **state)
{
    static const struct part parts[] = {
        { 1, 159, GIVEN },  { MiB, 1000 - MiB, GIVEN }, { 1000, 2000, SPECIAL },
        { 3000, 1, GIVEN }, { 9 * TiB, 1, PERSISTENT },
    };
    static const enum pmm_kind kinds[] = { PMM_GENERAL, PMM_PERSISTENT, PMM_LOW, PMM_SPECIAL };
    static const struct call low[] = { { false, 0, 12 * 4096 } };
    static const struct call far[] = { { false, 9 * TiB * 16, 4096 } };

    (void)state;
    open_kinds(parts, MM_COUNTOF(parts), kinds, 4);
    assert_int_equal(at.storage_bytes, 2 * 2048);
    assert_int_equal(frames_window_bytes(at.pools, 4), 9 * TiB * 16 + 4096);
    assert_int_equal(populate(MiB, 2745), MM_OK); /* across three pools */
    assert_calls(low, 1);
    for (uint64_t pfn = 1; pfn < 3001; pfn += 37) {
        assert_fresh(pfn);
        assert_int_equal(frames_cover(at.t, pfn_make(pfn)), pfn < 160 || pfn >= 256);
    }
    assert_int_equal(populate(100, 61), MM_ENOENT); /* a frame of the hole before 1 MiB */
    assert_int_equal(populate(9 * TiB, 1), MM_OK);
    assert_calls(far, 1);
    assert_stats(2, 13);
    close_table();

    /* What the machine has not is NULL. */
    open_kinds(parts, MM_COUNTOF(parts), kinds, 1);
    at.pools[1] = at.pools[0];
    at.pools[0] = NULL;
    free(at.t);
    free(at.storage);
    at.npools = 2;
    make_table();
    assert_int_equal(frames_window_bytes(at.pools, 2), 12 * 4096);
    assert_int_equal(populate(3000, 1), MM_OK);
    assert_fresh(3000);
    assert_false(frames_cover(at.t, pfn_make(1000)));
    assert_stats(1, 4); /* 256 to 999: three pages, and that of frame 3000 */
    at.npools = 1;
    close_table();
}

/* To the end of what 52 bits address, and across a border of 8 TiB. */
static void islands(void **state)
{
    static const struct part parts[] = {
        { 8 * TiB - 2, 4, GIVEN },
        { 63 * TiB, GiB, GIVEN },
        { 72 * TiB, 1, GIVEN },
        { 4096 * TiB - GiB, 2 * GiB, GIVEN }, /* half of it beyond 52 bits */
    };

    (void)state;
#ifdef HOST_TSAN
    skip();
#endif
    open_table(parts, MM_COUNTOF(parts));
    assert_int_equal(frames_window_bytes(at.pools, 1), WINDOW_BYTES);
    assert_int_equal(at.storage_bytes, 5 * 2048);
    assert_int_equal(populate(4096 * TiB - 1, 1), MM_OK);
    assert_fresh(4096 * TiB - 1);
    assert_fresh(4096 * TiB - GiB);
    assert_null(entry(63 * TiB));
    assert_null(entry(4096 * TiB));
    assert_false(frames_cover(at.t, pfn_make(4096 * TiB)));
    assert_int_equal(populate(4096 * TiB - 1, 2), MM_ENOENT);
    assert_stats(1, 1024);
    assert_int_equal(populate(8 * TiB - 1, 2), MM_OK);
    assert_fresh(8 * TiB - 2);
    assert_fresh(8 * TiB + 1);
    assert_stats(3, 1026);
    assert_int_equal(populate(63 * TiB + 1, 1), MM_OK);
    assert_fresh(63 * TiB);
    assert_stats(4, 2050);
    assert_int_equal(populate(72 * TiB, 1), MM_OK);
    assert_stats(5, 2051);
    close_table();
}

static void refused_tables(void **state)
{
    struct frame_table before;

    (void)state;
    open_table(ragged, MM_COUNTOF(ragged));
    before = *at.t;
    assert_int_equal(frames_init(at.t, mem.base + 16, at.pools, 1, &backing, at.storage, 2048),
                     MM_EINVAL);
    assert_int_equal(
        frames_init(at.t, mem.base, at.pools, PMM_KINDS + 1, &backing, at.storage, 2048),
        MM_EINVAL);
    assert_int_equal(frames_init(at.t, mem.base, at.pools, 0, &backing, at.storage, 2048),
                     MM_EINVAL);
    assert_int_equal(frames_init(at.t, mem.base, at.pools, 1, &backing, at.storage, 2047),
                     MM_ENOSPC);
    assert_int_equal(frames_storage_bytes(at.pools, 0), 0);
    assert_int_equal(frames_window_bytes(at.pools, 0), 0);
    assert_memory_equal(at.t, &before, sizeof(before));
    close_table();
}

/* ---- populating that fails ---- */

static void refused_ranges(void **state)
{
    (void)state;
    open_table(ragged, MM_COUNTOF(ragged));
    assert_int_equal(populate(4 * GiB + 5, 0), MM_EINVAL);
    assert_int_equal(populate(4 * GiB + 5, UINT64_MAX), MM_EINVAL);
    assert_int_equal(populate(UINT64_MAX, 1), MM_EINVAL);
    assert_int_equal(populate(4 * GiB + 4, 1), MM_ENOENT);
    assert_int_equal(populate(4 * GiB + 4, 2), MM_ENOENT);
    assert_int_equal(populate(4 * GiB + 5, 6), MM_ENOENT);
    assert_int_equal(populate(4 * GiB + 5, 300), MM_ENOENT);
    assert_int_equal(populate(5 * GiB + 256, 2), MM_ENOENT);
    assert_int_equal(populate(UINT64_MAX - 1, 1), MM_ENOENT);
    assert_stats(0, 0);
    assert_calls(NULL, 0);
    *port_held_ranks() = 1u << MM_RANK_VMALLOC;
    assert_panics(populate(4 * GiB + 5, 1), "assertion failed");
    close_table();
}

static void out_of_memory(void **state)
{
    static const struct call undone[] = { { false, RAGGED_PAGE * 4096, 8192 },
                                          { false, (RAGGED_PAGE + 7) * 4096, 4096 },
                                          { false, (RAGGED_PAGE + 1023) * 4096, 4096 },
                                          { true, RAGGED_PAGE * 4096, 8192 },
                                          { true, (RAGGED_PAGE + 7) * 4096, 4096 } };
    static const struct call half[] = { { false, RAGGED_PAGE * 4096, 8192 },
                                        { false, (RAGGED_PAGE + 7) * 4096, 4096 },
                                        { false, (RAGGED_PAGE + 1023) * 4096, 4096 },
                                        { false, (RAGGED_PAGE + 1024) * 4096, 8192 } };
    static const struct call done[] = { { false, (RAGGED_PAGE + 1024) * 4096, 8192 } };

    (void)state;
    open_table(ragged, MM_COUNTOF(ragged));
    mem.left = 3 * 4096;
    assert_int_equal(populate(5 * GiB - 1, 2), MM_ENOMEM); /* not the first of the two */
    assert_calls(undone, 5);
    assert_null(entry(5 * GiB - 1));
    assert_stats(0, 0);
    mem.left = 5 * 4096;
    assert_int_equal(populate(5 * GiB - 1, 2), MM_ENOMEM); /* only the first */
    assert_calls(half, 4);
    assert_fresh(5 * GiB - 1);
    assert_null(entry(5 * GiB));
    assert_stats(1, 4);
    mem.left = 2 * 4096;
    assert_int_equal(populate(5 * GiB - 1, 2), MM_OK);
    assert_calls(done, 1);
    assert_stats(2, 6);
    close_table();
}

/* ---- entries ---- */

static struct frame_owner owner(enum frame_kind kind, uint64_t link, uint32_t index)
{
    return (struct frame_owner){ .kind = kind, .link = link, .index = index };
}

static void assert_owner(const struct frame *f, enum frame_kind kind, uint64_t link, uint32_t index)
{
    struct frame_owner o = frame_get_owner(f);

    assert_int_equal(o.kind, kind);
    assert_int_equal(o.link, link);
    assert_int_equal(o.index, index);
}

static uint64_t take_frame(void)
{
    pfn_t pfn = pmm_get(at.pools[0], 0, 0);

    assert_false(pfn_is_none(pfn));
    return pfn.v;
}

static struct frame *open_entry(void)
{
    static const struct part small[] = { { 2 * GiB, 1024, GIVEN } };
    uint64_t pfn;

    open_table(small, MM_COUNTOF(small));
    pfn = take_frame();
    assert_int_equal(populate(pfn, 1), MM_OK);
    assert_fresh(pfn);
    return entry(pfn);
}

static void references(void **state)
{
    struct frame *f = open_entry();
    uint64_t pfn = (uint64_t)(f - at.t->entries);

    (void)state;
    assert_false(frame_try_ref(f));
    assert_fresh(pfn);
    frame_adopt(f, owner(FRAME_ANON, 0xffff800000001238, 7));
    assert_int_equal(frame_refs(f), 1);
    assert_owner(f, FRAME_ANON, 0xffff800000001238, 7);
    frame_ref(f);
    assert_true(frame_try_ref(f));
    assert_int_equal(frame_refs(f), 3);
    assert_false(frame_unref(f));
    assert_false(frame_unref(f));
    assert_owner(f, FRAME_ANON, 0xffff800000001238, 7);
    assert_sound(frames_check(at.t));
    assert_true(frame_unref(f));
    assert_fresh(pfn);
    assert_sound(frames_check(at.t));
    frame_adopt(f, owner(FRAME_STORE, 0, 0)); /* and from the start */
    assert_int_equal(frame_refs(f), 1);
    assert_sound(frames_check(at.t));
    close_table();
}

static void owners(void **state)
{
    struct frame *f = open_entry();

    (void)state;
    frame_adopt(f, owner(FRAME_FILE, 8, UINT32_MAX));
    assert_owner(f, FRAME_FILE, 8, UINT32_MAX);
    assert_int_equal(frame_get_owner(f + 1).kind, FRAME_UNOWNED);
    for (int kind = FRAME_ANON; kind < FRAME_KINDS; kind++) {
        frame_set_owner(f, owner((enum frame_kind)kind, UINT64_MAX - 7, (uint32_t)kind));
        assert_owner(f, (enum frame_kind)kind, UINT64_MAX - 7, (uint32_t)kind);
        assert_int_equal(frame_refs(f), 1);
        assert_sound(frames_check(at.t));
    }
    assert_fresh((uint64_t)(f + 1 - at.t->entries));
    close_table();
}

static void names(void **state)
{
    (void)state;
    for (int a = FRAME_UNOWNED; a <= FRAME_KINDS; a++) {
        for (int b = FRAME_UNOWNED; b < a; b++) {
            assert_string_not_equal(frame_kind_name((enum frame_kind)a),
                                    frame_kind_name((enum frame_kind)b));
        }
    }
    assert_string_equal(frame_kind_name((enum frame_kind)7), frame_kind_name(FRAME_KINDS));
}

static void most_references(void **state)
{
    struct frame *f = open_entry();

    (void)state;
    frame_adopt(f, owner(FRAME_ANON, 8, 0));
    atomic_store(&f->refs, 0x7ffffffe);
    frame_ref(f);
    assert_int_equal(frame_refs(f), 0x7fffffff);
    assert_sound(frames_check(at.t));
    assert_false(frame_try_ref(f));
    assert_int_equal(frame_refs(f), 0x7fffffff);
    assert_false(frame_unref(f));
    assert_true(frame_try_ref(f));
    assert_panics(frame_ref(f), "too many references");
    close_table();
}

static void misuse_stops(void **state)
{
    struct frame *f = open_entry();

    (void)state;
    assert_panics(assert_true(frame_unref(f)),
                  "one reference less than there are (0x0 references, owner 0x0)");
    atomic_store(&f->refs, 0);
    assert_panics(frame_ref(f), "one reference more to a frame that has none");
    atomic_store(&f->refs, 0);
    assert_panics(frame_set_owner(f, owner(FRAME_ANON, 8, 0)), "without references");
    assert_panics(frame_adopt(f, owner(FRAME_ANON, 12, 0)), "assertion failed");
    assert_panics(frame_adopt(f, owner(FRAME_UNOWNED, 8, 0)), "assertion failed");
    assert_panics(frame_adopt(f, owner(FRAME_KINDS, 8, 0)), "assertion failed");
    frame_adopt(f, owner(FRAME_ANON, 16, 0));
    assert_panics(frame_adopt(f, owner(FRAME_ANON, 16, 0)),
                  "adopted that has an owner (0x1 references, owner 0x11)");
    assert_panics(frame_set_owner(f, owner(FRAME_UNOWNED, 0, 0)), "assertion failed");
    assert_true(frame_unref(f));
    atomic_store(&f->refs, 1);
    assert_panics(frame_adopt(f, owner(FRAME_ANON, 16, 0)), "adopted that has an owner");
    atomic_store(&f->refs, 0);
    atomic_store(&f->owner, 9); /* somebody wrote where he should not */
    assert_panics(frame_adopt(f, owner(FRAME_ANON, 16, 0)), "adopted that has an owner");
    atomic_store(&f->owner, 0);
    assert_sound(frames_check(at.t));
    close_table();
}

/* ---- the check ---- */

static void assert_broken(const char *rule)
{
    const char *broken = frames_check(at.t);

    assert_non_null(broken);
    assert_memory_equal(broken, rule, strlen(rule));
}

static void damage_is_found(void **state)
{
    struct frame *f = open_entry();
    struct frames_group *g = at.storage;
    struct frames_stats s;

    (void)state;
    atomic_store(&f->owner, FRAME_FILE);
    assert_broken("F1:");
    atomic_store(&f->owner, 8);
    assert_broken("F1:");
    atomic_store(&f->owner, 0);
    atomic_store(&f->index, 1);
    assert_broken("F1:");
    atomic_store(&f->index, 0);

    atomic_store(&f->refs, 1);
    assert_broken("F2:");
    atomic_store(&f->owner, FRAME_KINDS);
    assert_broken("F2:");
    atomic_store(&f->owner, FRAME_FILE);
    assert_sound(frames_check(at.t));
    atomic_store(&f->refs, 0x80000000);
    assert_broken("F2:");
    atomic_store(&f->refs, 1);

    pmm_put(at.pools[0], pfn_make((uint64_t)(f - at.t->entries)), 0);
    pmm_idle(at.pools[0]);
    assert_broken("F3:");
    memset(f, 0, sizeof(*f));
    assert_sound(frames_check(at.t));

    atomic_fetch_add(&at.t->backed_pages, 1);
    assert_broken("F4:");
    atomic_fetch_sub(&at.t->backed_pages, 2);
    assert_broken("F4:");
    atomic_fetch_add(&at.t->backed_pages, 1);

    g->busy[0] = 1u << 2;
    assert_broken("F5:");
    g->busy[0] = 1u << 1;
    assert_broken("F5:");
    frames_get_stats(at.t, &s);
    assert_int_equal(s.sections, 1);
    g->busy[0] = 0;
    g->busy[127] = UINT64_C(1) << 63;
    assert_broken("F5:");
    g->busy[127] = 0;
    g->made[0] |= 1u << 3;
    assert_broken("F5:");
    g->made[0] = 1u << 2;
    assert_sound(frames_check(at.t));
    close_table();

    /* A frame in a page of entries that is there, but in no pool; and a GiB that only says that it
     * has entries: they must not be looked at. */
    open_table(ragged, MM_COUNTOF(ragged));
    assert_int_equal(populate(4 * GiB + 5, 1), MM_OK);
    f = entry(4 * GiB + 4);
    atomic_store(&f->refs, 1);
    atomic_store(&f->owner, FRAME_ANON);
    assert_broken("F3:");
    memset(f, 0, sizeof(*f));
    g = at.storage;
    g->made[0] |= 1u << 5;
    assert_broken("F4:");
    close_table();
}

/* ---- at random ---- */

#define MODEL_FRAMES 700u

static void random_entries(void **state)
{
    static const struct part parts[] = { { 3 * GiB - 300, MODEL_FRAMES, GIVEN } };
    static struct {
        uint32_t refs, index;
        uint64_t owner;
    } model[MODEL_FRAMES];
    struct host_rng rng = host_rng_make("random_entries");

    (void)state;
    memset(model, 0, sizeof(model));
    open_table(parts, MM_COUNTOF(parts));
    assert_int_equal(pmm_claim(at.pools[0], pfn_make(3 * GiB - 300), MODEL_FRAMES), MM_OK);
    assert_int_equal(populate(3 * GiB - 300, MODEL_FRAMES), MM_OK);
    for (unsigned step = 0; step < 60000; step++) {
        unsigned i = (unsigned)host_rng_below(&rng, MODEL_FRAMES / 10) * 10;
        struct frame *f = entry(3 * GiB - 300 + i);
        struct frame_owner o =
            owner((enum frame_kind)(1 + host_rng_below(&rng, 4)),
                  host_rng_next(&rng) & ~UINT64_C(7), (uint32_t)host_rng_next(&rng));
        uint64_t what = host_rng_below(&rng, 8);

        if (what < 3) {
            assert_int_equal(frame_try_ref(f), model[i].refs != 0);
            model[i].refs += model[i].refs != 0;
        } else if (model[i].refs == 0) {
            frame_adopt(f, o);
            model[i].refs = 1;
        } else if (what < 7) {
            assert_int_equal(frame_unref(f), --model[i].refs == 0);
            continue;
        } else {
            frame_set_owner(f, o);
        }
        if (what >= 3) {
            model[i].owner = o.link | o.kind;
            model[i].index = o.index;
        }
        for (unsigned j = 0; step % 1000 == 0 && j < MODEL_FRAMES; j++) {
            struct frame_owner is;

            f = entry(3 * GiB - 300 + j);
            is = frame_get_owner(f);
            assert_int_equal(frame_refs(f), model[j].refs);
            assert_int_equal(is.link | is.kind, model[j].refs != 0 ? model[j].owner : 0);
            assert_int_equal(is.index, model[j].refs != 0 ? model[j].index : 0);
        }
        if (step % 100 == 0) {
            assert_sound(frames_check(at.t));
        }
    }
    close_table();
}

/* ---- with others at work ---- */

#define NTHREADS 8u
#define NISLANDS 40u

static void run_threads(void *(*fn)(void *))
{
    pthread_t thread[NTHREADS];

    for (uintptr_t i = 0; i < NTHREADS; i++) {
        assert_int_equal(pthread_create(&thread[i], NULL, fn, (void *)i), 0);
    }
    for (unsigned i = 0; i < NTHREADS; i++) {
        assert_int_equal(pthread_join(thread[i], NULL), 0);
    }
}

/* Island i: the last 200 frames of a GiB, a hole, the first 200 of the next, a hole and one more.
 */
static uint64_t island(uint64_t i)
{
    return (3 * i + 1) * GiB - 200;
}

static atomic_uint counted, refused;

static uint64_t seed; /* of the threads, each with its number added */
static bool in_step;
static pthread_barrier_t barrier;

/* Everybody populates everything, in an order of his own or all the same at the same time, and adds
 * one to each of some entries as soon as he may. */
static void *populate_all(void *ctx)
{
    struct host_rng rng = { seed + (uintptr_t)ctx };

    for (uint64_t n = 0, i = host_rng_below(&rng, NISLANDS); n < NISLANDS; n++, i += 7) {
        uint64_t base = island(in_step ? n : i % NISLANDS);
        const uint64_t touched[3] = { base, base + 200, base + 1600 };

        if (in_step) {
            pthread_barrier_wait(&barrier);
        }
        for (unsigned j = 0; j < 3; j++) {
            mm_err_t err = MM_ENOMEM;

            while (err != MM_OK) {
                err = populate(touched[j], 1);
                refused += err == MM_ENOMEM;
            }
            atomic_fetch_add(&entry(touched[j])->refs, 1);
            counted++;
        }
    }
    return NULL;
}

static void many_populate(void **state)
{
    struct part parts[3 * NISLANDS];

    (void)state;
    seed = host_rng_make("many_populate").state;
    for (uint64_t i = 0; i < NISLANDS; i++) {
        parts[3 * i] = (struct part){ island(i), 200, GIVEN };
        parts[3 * i + 1] = (struct part){ island(i) + 200, 200, GIVEN };
        parts[3 * i + 2] = (struct part){ island(i) + 1600, 1, GIVEN };
    }
    assert_int_equal(pthread_barrier_init(&barrier, NULL, NTHREADS), 0);
    for (unsigned round = 0; round < 40; round++) {
        unsigned sum = 0;

        open_table(parts, MM_COUNTOF(parts));
        counted = refused = 0;
        in_step = round % 2 != 0;
        mem.chance = round % 3 == 0 ? 0 : 1 + round % 3; /* none, every second, every third fails */
        mem.rng.state = ++seed;
        run_threads(populate_all);
        assert_true(mem.chance == 0 || refused > 0);
        assert_int_equal(counted, NTHREADS * NISLANDS * 3);
        for (uint64_t i = 0; i < NISLANDS; i++) {
            const uint64_t touched[3] = { island(i), island(i) + 200, island(i) + 1600 };

            for (unsigned j = 0; j < 3; j++) {
                sum += frame_refs(entry(touched[j]));
                memset(entry(touched[j]), 0, sizeof(struct frame));
            }
        }
        assert_int_equal(sum, NTHREADS * NISLANDS * 3); /* no entry was thrown away with a count */
        assert_stats(2 * NISLANDS, 3 * NISLANDS); /* the holes are wider than a page of entries */
        close_table();
    }
    pthread_barrier_destroy(&barrier);
}

#define SHARE_ROUNDS 20000u

static struct frame *shared;
static atomic_uint token; /* 1: nobody has dropped the reference that adoption gave */
static atomic_uint generation, wrong;

static void next_generation(void)
{
    uint32_t g = ++generation;

    frame_adopt(shared, owner(FRAME_ANON, UINT64_C(8) * g, g));
    token = 1;
}

/* Whoever drops the last reference has the frame to himself, and lets the next generation begin. */
static void drop_one(void)
{
    if (frame_unref(shared)) {
        wrong += frame_refs(shared) != 0 || frame_get_owner(shared).kind != FRAME_UNOWNED;
        next_generation();
    }
}

/* Take references as they can be had, see that the owner fits together, and drop them. */
static void *share(void *ctx)
{
    struct host_rng rng = { seed + (uintptr_t)ctx };

    for (unsigned i = 0; i < SHARE_ROUNDS; i++) {
        if (frame_try_ref(shared)) {
            unsigned more = (unsigned)host_rng_below(&rng, 3);
            struct frame_owner o = frame_get_owner(shared);

            for (unsigned j = 0; j < more; j++) {
                frame_ref(shared);
            }
            wrong += o.kind != FRAME_ANON || o.link != UINT64_C(8) * o.index || o.index == 0;
            wrong += o.index != frame_get_owner(shared).index; /* it is no other's meanwhile */
            for (unsigned j = 0; j <= more; j++) {
                drop_one();
            }
        }
        if (host_rng_below(&rng, 4) == 0 && atomic_exchange(&token, 0) == 1) {
            drop_one();
        }
    }
    return NULL;
}

static void many_share(void **state)
{
    (void)state;
    seed = host_rng_make("many_share").state;
    shared = open_entry();
    generation = wrong = 0;
    next_generation();
    run_threads(share);
    assert_int_equal(wrong, 0);
    assert_true(generation > 1000);
    assert_int_equal(token, 1); /* whoever ends a generation begins one */
    assert_int_equal(frame_refs(shared), 1);
    assert_owner(shared, FRAME_ANON, UINT64_C(8) * generation, generation);
    assert_sound(frames_check(at.t));
    close_table();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_at_first),
        cmocka_unit_test(a_gib_at_a_time),
        cmocka_unit_test(only_pages_with_frames),
        cmocka_unit_test(pools_share_a_table),
        cmocka_unit_test(islands),
        cmocka_unit_test(refused_tables),
        cmocka_unit_test(refused_ranges),
        cmocka_unit_test(out_of_memory),
        cmocka_unit_test(references),
        cmocka_unit_test(owners),
        cmocka_unit_test(names),
        cmocka_unit_test(most_references),
        cmocka_unit_test(misuse_stops),
        cmocka_unit_test(damage_is_found),
        cmocka_unit_test(random_entries),
        cmocka_unit_test(many_populate),
        cmocka_unit_test(many_share),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
