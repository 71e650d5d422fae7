/*
 * test_pmm_threads.c - the frame pool used by several processors at once, and by interrupts.
 *
 * Every thread is a processor with a number of its own. Each frame has a stamp, one atomic byte
 * that says who has it, exchanged after each get and before each put: a frame that is given twice
 * is seen by the second who gets it. Whoever has a frame also writes to it without any care; what
 * he finds there later must be his, and ThreadSanitizer sees whether putting and getting it orders
 * the two owners' writes.
 *
 * A promise that can be held against the pool at any time: threads that together have fewer frames
 * than there are, and count a frame as theirs from before they get it until after it was put, are
 * never refused a single frame (limit_frames).
 *
 * The program is also built with ThreadSanitizer, see Makefile; it does less then.
 */
#include "pmm_fixture.h"

#include <pthread.h>
#include <stdatomic.h>

#define MAX_THREADS 8
#define MAX_FRAMES  8192
#define MAX_HELD    MAX_FRAMES /* allocations that one worker has at a time */
#define MAX_RANGE   40         /* frames */
#define NMAIL       16
#define TOP         9 /* highest order that the random steps ask for */
#define PLANE       8 /* frames that the pool may keep for its records of a GiB (pmm.h) */

#ifdef HOST_TSAN
#define SLOWER(n) ((n) / 5)
#else
#define SLOWER(n) (n)
#endif

/* ---- the pool -------------------------------------------------------------------------------- */

/* Small, so that processors are in each other's way; ragged on both sides of seams. */
static const struct part scattered[] = {
    { 300, 1500, GIVEN },          /* low memory, below 16 MiB and above */
    { GiB - 300, 812, GIVEN },     /* across a 1 GiB border, to one of 2 MiB */
    { 4 * GiB + 77, 2560, GIVEN }, /* above 4 GiB, ragged on both sides */
    { 9 * GiB, 2 * 512, GIVEN },   /* 2 MiB blocks as they are */
};
#define SCATTERED_2M  (2 + 1 + 4 + 2) /* aligned blocks of 2 MiB in it, counted by hand */
#define SCATTERED_GIB 4               /* with memory in it */

/* One run of 2 MiB blocks. */
static const struct part even[] = { { 5 * GiB, 8 * 512, GIVEN } };

/* So little that everybody wants the same two blocks. */
static const struct part tiny[] = { { 5 * GiB, 2 * 512, GIVEN } };

/* The same for runs, whose second plane the odd frames bring along. */
static const struct part crowded[] = {
    { 5 * GiB, 2 * 512, GIVEN },
    { 5 * GiB + 1024 + 3, 5, GIVEN },
};

/* Half of it comes later, some of that next to what is there. */
static const struct part growing[] = {
    { 5 * GiB + 300, 1000, GIVEN },
    { 5 * GiB + 1300, 1000, LATER },
    { 6 * GiB + 512, 1024, LATER },
    { 8 * GiB, 1024, GIVEN },
};
#define GROWING_GIB 3

static struct {
    const struct part *parts;
    size_t nparts;
    uint64_t frames; /* that the pool covers, HELD ones included */
    uint64_t held;
    struct fixture f;
    struct pmm *p; /* f.p */
} w;

static void open_world(const struct part *parts, size_t n, unsigned ncpus)
{
    w.parts = parts;
    w.nparts = n;
    w.frames = 0;
    w.held = 0;
    for (size_t i = 0; i < n; i++) {
        w.frames += parts[i].count;
        w.held += parts[i].is == LATER ? parts[i].count : 0;
    }
    assert_true(w.frames <= MAX_FRAMES);
    open_kind(&w.f, parts, n, PMM_GENERAL, ncpus);
    w.p = w.f.p;
    assert_int_equal(pmm_free_frames(w.p), w.frames - w.held);
}

static void close_world(void)
{
    close_pool(&w.f);
}

/* A number from 0 for each frame of the pool; MAX_FRAMES for any other. */
static uint64_t index_of(uint64_t pfn)
{
    uint64_t before = 0;

    for (size_t i = 0; i < w.nparts; i++) {
        if (pfn - w.parts[i].base < w.parts[i].count) {
            return before + (pfn - w.parts[i].base);
        }
        before += w.parts[i].count;
    }
    return MAX_FRAMES;
}

/* ---- who has what ---------------------------------------------------------------------------- */

struct alloc {
    uint64_t base;
    uint64_t count;
};

/* A thread, or what interrupts it. */
struct worker {
    unsigned stamp; /* 1.. */
    unsigned cpu;
    unsigned nthreads;
    struct host_rng rng;
    struct alloc held[MAX_HELD];
    unsigned nheld;
    uint64_t nframes; /* in held[] */
    uint64_t done;    /* for the test's use */
};

#define NWORKERS (3 * MAX_THREADS) /* each thread, and two depths of interrupts on it */
#define MAILED   0xff              /* stamp of frames on the way from one to another */

static struct worker workers[NWORKERS];
static _Atomic uint8_t stamps[MAX_FRAMES];
static _Atomic uint64_t mail[NMAIL]; /* base << 16 | count; 0: none */

/* Frames that all have or are about to get, and how many they may have. */
static _Atomic uint64_t counted;
static _Atomic uint64_t limit_frames;

static atomic_flag complained = ATOMIC_FLAG_INIT;
static _Atomic bool failed;
static char complaint[256];

/* cmocka's assertions work in the main thread only: the others leave this word, and end. */
MM_PRINTF(1, 2) static void complain(const char *fmt, ...)
{
    if (!atomic_flag_test_and_set(&complained)) {
        va_list ap;

        va_start(ap, fmt);
        vsnprintf(complaint, sizeof(complaint), fmt, ap);
        va_end(ap);
    }
    atomic_store(&failed, true);
}

#define expect(cond)                                                                               \
    do {                                                                                           \
        if (!(cond)) {                                                                             \
            complain("line %d: not so: %s", __LINE__, #cond);                                      \
        }                                                                                          \
    } while (0)

static void expect_sound(void)
{
    const char *broken = pmm_check(w.p);

    if (broken != NULL) {
        complain("pmm_check: %s", broken);
    }
}

/* What the owner writes at the start and the end of a frame. */
static uint64_t signature(unsigned stamp, uint64_t pfn)
{
    return pfn << 8 | stamp;
}

static void write_frame(unsigned stamp, uint64_t pfn)
{
    uint64_t *words = port_ptr(pa_make(pfn * PAGE));

    words[0] = words[511] = signature(stamp, pfn);
}

static void frame_is_zero(uint64_t pfn)
{
    const uint64_t *words = port_ptr(pa_make(pfn * PAGE));
    uint64_t any = 0;

    for (unsigned i = 0; i < 512; i++) {
        any |= words[i];
    }
    if (any != 0) {
        complain("frame 0x%llx is not zero", (unsigned long long)pfn);
    }
}

static void stamp_frames(uint64_t base, uint64_t count, unsigned from, unsigned to)
{
    for (uint64_t pfn = base; pfn < base + count; pfn++) {
        uint64_t i = index_of(pfn);
        unsigned was;

        if (i == MAX_FRAMES) {
            complain("frame 0x%llx is none of the pool's", (unsigned long long)pfn);
            return;
        }
        was = atomic_exchange_explicit(&stamps[i], (uint8_t)to, memory_order_relaxed);
        if (was != from) {
            complain("frame 0x%llx: %u takes it from %u, but %u had it", (unsigned long long)pfn,
                     to, from, was);
        }
    }
}

static void add_held(struct worker *me, uint64_t base, uint64_t count)
{
    me->held[me->nheld++] = (struct alloc){ base, count };
    me->nframes += count;
}

static struct alloc drop_held(struct worker *me, unsigned i)
{
    struct alloc a = me->held[i];

    me->held[i] = me->held[--me->nheld];
    me->nframes -= a.count;
    return a;
}

/* The pool gave it. */
static void got(struct worker *me, uint64_t base, uint64_t count, unsigned flags)
{
    stamp_frames(base, count, 0, me->stamp);
    for (uint64_t pfn = base; pfn < base + count && !atomic_load(&failed); pfn++) {
        if ((flags & PMM_ZERO) != 0) {
            frame_is_zero(pfn);
        }
        write_frame(me->stamp, pfn);
    }
    add_held(me, base, count);
}

/* It goes back next. */
static void giving(struct worker *me, uint64_t base, uint64_t count)
{
    for (uint64_t pfn = base; pfn < base + count; pfn++) {
        const uint64_t *words = port_ptr(pa_make(pfn * PAGE));

        if (words[0] != signature(me->stamp, pfn) || words[511] != words[0]) {
            complain("somebody wrote to frame 0x%llx of %u", (unsigned long long)pfn, me->stamp);
        }
    }
    stamp_frames(base, count, me->stamp, 0);
}

/* May the caller get so many frames more? Then they count as its own. */
static bool reserve(uint64_t count)
{
    if (atomic_fetch_add(&counted, count) + count <= limit_frames) {
        return true;
    }
    atomic_fetch_sub(&counted, count);
    return false;
}

static void unreserve(uint64_t count)
{
    atomic_fetch_sub(&counted, count);
}

static void get_order(struct worker *me, unsigned order, unsigned flags)
{
    pfn_t pfn;

    if (me->nheld == MAX_HELD || !reserve(UINT64_C(1) << order)) {
        return;
    }
    pfn = pmm_get(w.p, order, flags);
    if (pfn_is_none(pfn)) {
        expect(order != 0 || (flags & PMM_QUICK) != 0); /* there must be one */
        unreserve(UINT64_C(1) << order);
        return;
    }
    expect(mm_is_aligned(pfn.v, UINT64_C(1) << order));
    got(me, pfn.v, UINT64_C(1) << order, flags);
}

static void get_batch(struct worker *me, unsigned n, unsigned flags)
{
    pfn_t pfns[PMM_MAX_BATCH];
    unsigned m;

    if (me->nheld + n > MAX_HELD || !reserve(n)) {
        return;
    }
    m = pmm_get_batch(w.p, pfns, n, flags);
    expect(m == n);
    for (unsigned i = 0; i < m; i++) {
        got(me, pfns[i].v, 1, flags);
    }
    unreserve(n - m);
}

static void get_range(struct worker *me)
{
    struct host_rng *r = &me->rng;
    struct pmm_want want = { .count = 1 + host_rng_below(r, MAX_RANGE),
                             .align = UINT64_C(1) << host_rng_below(r, 6),
                             .limit = host_rng_below(r, 4) == 0 ? UINT64_C(1) << 32 : 0,
                             .boundary = host_rng_below(r, 4) == 0 ? 64 * PAGE : 0,
                             .flags = host_rng_below(r, 4) == 0 ? PMM_ZERO : 0 };
    pfn_t base = PFN_NONE;
    mm_err_t err;

    if (me->nheld == MAX_HELD || !reserve(want.count)) {
        return;
    }
    err = pmm_get_range(w.p, &want, &base);
    if (err != MM_OK) {
        expect(err == MM_ENOMEM || err == MM_EFRAG || (err == MM_ELIMIT && want.limit != 0));
        expect(pfn_is_none(base));
        unreserve(want.count);
        return;
    }
    expect(mm_is_aligned(base.v, want.align));
    expect(want.limit == 0 || (base.v + want.count) * PAGE <= want.limit);
    expect(want.boundary == 0 || base.v / 64 == (base.v + want.count - 1) / 64);
    got(me, base.v, want.count, want.flags);
}

static void claim(struct worker *me)
{
    const struct part *part = &w.parts[host_rng_below(&me->rng, w.nparts)];
    uint64_t count = 1 + host_rng_below(&me->rng, MAX_RANGE);
    uint64_t base = part->base + host_rng_below(&me->rng, part->count - count + 1);
    mm_err_t err;

    if (me->nheld == MAX_HELD || !reserve(count)) {
        return;
    }
    err = pmm_claim(w.p, pfn_make(base), count);
    if (err != MM_OK) {
        expect(err == MM_EBUSY);
        unreserve(count);
        return;
    }
    got(me, base, count, 0);
}

static unsigned order_of(uint64_t count)
{
    return (unsigned)__builtin_ctzll(count);
}

/* Give back one allocation, by pmm_put() if its size and place allow that, and now and then not. */
static void put_one(struct worker *me, unsigned i)
{
    struct alloc a = drop_held(me, i);

    giving(me, a.base, a.count);
    if (mm_is_pow2(a.count) && mm_is_aligned(a.base, a.count) && host_rng_below(&me->rng, 8) != 0) {
        pmm_put(w.p, pfn_make(a.base), order_of(a.count));
    } else {
        pmm_put_range(w.p, pfn_make(a.base), a.count);
    }
    unreserve(a.count);
}

static void put_random(struct worker *me)
{
    if (me->nheld > 0) {
        put_one(me, (unsigned)host_rng_below(&me->rng, me->nheld));
    }
}

static void put_all(struct worker *me)
{
    while (me->nheld > 0) {
        put_one(me, me->nheld - 1);
    }
}

/* A batch of up to `n` single frames, from anywhere in held[]. */
static void put_batch(struct worker *me, unsigned n)
{
    pfn_t pfns[PMM_MAX_BATCH];
    unsigned m = 0;

    for (unsigned i = me->nheld; i-- > 0 && m < n;) {
        if (me->held[i].count == 1) {
            pfns[m] = pfn_make(drop_held(me, i).base);
            giving(me, pfns[m++].v, 1);
        }
    }
    if (m > 0) {
        pmm_put_batch(w.p, pfns, m);
        unreserve(m);
    }
}

/* Some of an allocation; what is left on either side becomes one of its own. */
static void put_part(struct worker *me)
{
    struct alloc a;
    uint64_t skip, count;

    if (me->nheld == 0 || me->nheld + 2 > MAX_HELD) {
        return;
    }
    a = drop_held(me, (unsigned)host_rng_below(&me->rng, me->nheld));
    skip = host_rng_below(&me->rng, a.count);
    count = 1 + host_rng_below(&me->rng, a.count - skip);
    giving(me, a.base + skip, count);
    pmm_put_range(w.p, pfn_make(a.base + skip), count);
    unreserve(count);
    if (skip > 0) {
        add_held(me, a.base, skip);
    }
    if (skip + count < a.count) {
        add_held(me, a.base + skip + count, a.count - skip - count);
    }
}

/* What a letter holds is the reader's. */
static void open_letter(struct worker *me, uint64_t letter)
{
    uint64_t base = letter >> 16;
    uint64_t count = letter & 0xffff;

    if (letter == 0) {
        return;
    }
    stamp_frames(base, count, MAILED, me->stamp);
    for (uint64_t pfn = base; pfn < base + count; pfn++) {
        write_frame(me->stamp, pfn);
    }
    add_held(me, base, count);
}

/* Leave an allocation for others, and take what one of them has left. */
static void exchange_mail(struct worker *me)
{
    uint64_t letter = 0;

    if (me->nheld > 0) {
        struct alloc a = drop_held(me, (unsigned)host_rng_below(&me->rng, me->nheld));

        stamp_frames(a.base, a.count, me->stamp, MAILED);
        letter = a.base << 16 | a.count;
    }
    open_letter(me, atomic_exchange_explicit(&mail[host_rng_below(&me->rng, NMAIL)], letter,
                                             memory_order_acq_rel));
}

static void open_all_mail(struct worker *me)
{
    for (unsigned i = 0; i < NMAIL; i++) {
        open_letter(me, atomic_exchange(&mail[i], 0));
    }
}

/* What the pool says of frames of one's own is true at any time. */
static void look(struct worker *me)
{
    struct pmm_tally t;
    struct alloc a;

    if (me->nheld == 0) {
        return;
    }
    a = me->held[host_rng_below(&me->rng, me->nheld)];
    expect(!pmm_is_free(w.p, pfn_make(a.base)));
    expect(pmm_covers(w.p, pfn_make(a.base)));
    pmm_get_tally(w.p, pfn_make(a.base), a.count, &t);
    expect(t.frames[PMM_USED] == a.count);
    expect(pmm_get_state(w.p, pfn_make(a.base)) == PMM_USED);
}

/* ---- threads --------------------------------------------------------------------------------- */

static pthread_barrier_t barrier;

static void meet(void)
{
    pthread_barrier_wait(&barrier);
}

/* On how many threads a test is to run. */
static unsigned threads_of(void **state)
{
    return *(const unsigned *)*state;
}

/* Run `body` on `nthreads` processors, each with a seed of its own, and pass on what they say. */
static void run_threads(unsigned nthreads, struct host_rng *rng, void *(*body)(void *))
{
    pthread_t threads[MAX_THREADS];

    atomic_flag_clear(&complained);
    atomic_store(&failed, false);
    atomic_store(&counted, 0);
    for (unsigned i = 0; i < MAX_FRAMES; i++) {
        atomic_store(&stamps[i], 0);
    }
    for (unsigned i = 0; i < NWORKERS; i++) {
        struct worker *me = &workers[i];

        me->stamp = i + 1;
        me->cpu = i % MAX_THREADS;
        me->nthreads = nthreads;
        me->rng.state = host_rng_next(rng);
        me->nheld = 0;
        me->nframes = 0;
        me->done = 0;
    }
    assert_int_equal(pthread_barrier_init(&barrier, NULL, nthreads), 0);
    for (unsigned i = 0; i < nthreads; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, body, &workers[i]), 0);
    }
    for (unsigned i = 0; i < nthreads; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    pthread_barrier_destroy(&barrier);
    if (atomic_load(&failed)) {
        fail_msg("%s", complaint);
    }
}

/* Nobody counts a frame but the `nbad` bad ones. All others are there, and can be had, once. */
static void assert_all_is_back(uint64_t nbad)
{
    struct worker *me = &workers[0];
    struct pmm_stats s;
    uint64_t sum = 0;
    pfn_t pfn;

    assert_int_equal(atomic_load(&counted), nbad);
    assert_sound(pmm_check(w.p));
    pmm_get_stats(w.p, &s);
    assert_int_equal(s.total_frames, w.frames);
    assert_int_equal(s.bad_frames, nbad);
    assert_int_equal(s.held_frames + s.leaving_frames, 0);
    assert_int_equal(s.free_frames + s.record_frames + nbad, w.frames);
    assert_int_equal(pmm_free_frames(w.p), s.free_frames);
    for (unsigned order = 0; order <= PMM_MAX_ORDER; order++) {
        sum += s.free_blocks[order] << order;
    }
    assert_int_equal(sum, s.free_frames);

    while (!pfn_is_none(pfn = pmm_get(w.p, 0, 0))) {
        got(me, pfn.v, 1, 0);
    }
    assert_int_equal(me->nframes, s.free_frames);
    assert_int_equal(pmm_free_frames(w.p), 0);
    assert_int_equal(pmm_why(w.p, 0), MM_ENOMEM);
    assert_sound(pmm_check(w.p));
    assert_false(atomic_load(&failed));
}

/* ---- everything at random -------------------------------------------------------------------- */

static void random_step(struct worker *me)
{
    uint64_t what = host_rng_below(&me->rng, 1000);
    unsigned flags = host_rng_below(&me->rng, 16) == 0 ? PMM_ZERO : 0;

    if (what < 270) {
        get_order(me, 0, flags);
    } else if (what < 560) {
        put_random(me);
    } else if (what < 640) {
        get_order(me, (unsigned)host_rng_below(&me->rng, TOP + 1), flags);
    } else if (what < 680) {
        get_batch(me, 1 + (unsigned)host_rng_below(&me->rng, 64), flags);
    } else if (what < 720) {
        put_batch(me, 1 + (unsigned)host_rng_below(&me->rng, 64));
    } else if (what < 722) {
        get_batch(me, PMM_MAX_BATCH, 0);
    } else if (what < 724) {
        put_batch(me, PMM_MAX_BATCH);
    } else if (what < 760) {
        get_range(me);
    } else if (what < 780) {
        claim(me);
    } else if (what < 810) {
        put_part(me);
    } else if (what < 950) {
        exchange_mail(me);
    } else if (what < 960) {
        get_order(me, 0, PMM_QUICK);
    } else if (what < 970) {
        get_order(me, TOP, PMM_QUICK);
    } else if (what < 980) {
        pmm_fill_zeroed(w.p, 1 + (unsigned)host_rng_below(&me->rng, 8));
        get_order(me, 0, PMM_ZERO);
    } else if (what < 990) {
        pmm_idle(w.p);
    } else {
        look(me);
    }
}

static void inspect(void)
{
    struct pmm_stats s;
    struct pmm_cpu_stats c;
    uint64_t sum = 0;

    expect_sound();
    pmm_get_stats(w.p, &s);
    expect(s.total_frames == w.frames);
    for (unsigned order = 0; order <= PMM_MAX_ORDER; order++) {
        sum += s.free_blocks[order] << order;
    }
    expect(sum == s.free_frames);
    expect(s.free_frames + s.record_frames + limit_frames >= w.frames);
    expect(pmm_why(w.p, 0) == MM_OK);
    for (unsigned i = 0; i < pmm_ncpus(w.p); i++) {
        pmm_get_cpu_stats(w.p, i, &c);
        expect(c.zeroed_frames <= c.cached_frames && c.cached_frames <= w.frames);
    }
}

#define RANDOM_STEPS SLOWER(200000) /* of all threads together */

static void *random_body(void *arg)
{
    struct worker *me = arg;
    uint64_t steps = RANDOM_STEPS / me->nthreads;

    host_set_cpu(me->cpu);
    meet();
    for (uint64_t i = 0; i < steps && !atomic_load(&failed); i++) {
        random_step(me);
        if (me->cpu == 0 && i % 64 == 0) {
            inspect();
        }
    }
    meet();
    if (me->cpu == 0) {
        open_all_mail(me);
    }
    put_all(me);
    return NULL;
}

/* ---- no refusal while there is a fit --------------------------------------------------------- */

#define ROUNDS SLOWER(30)

static _Atomic uint64_t sum; /* of something, over the threads, between two meetings */

/* Single frames until there are no more, in batches; returns how many there were. */
static uint64_t take_all(struct worker *me, unsigned batch)
{
    pfn_t pfns[PMM_MAX_BATCH];
    uint64_t taken = 0;
    unsigned n;

    do {
        if (batch == 1) {
            pfns[0] = pmm_get(w.p, 0, 0);
            n = !pfn_is_none(pfns[0]);
        } else {
            n = pmm_get_batch(w.p, pfns, batch, 0);
        }
        for (unsigned i = 0; i < n; i++) {
            got(me, pfns[i].v, 1, 0);
        }
        taken += n;
        atomic_fetch_add(&counted, n);
    } while (n == batch && !atomic_load(&failed));
    return taken;
}

/*
 * In each round all take all there is, then each gives some back, which stay in the caches of all,
 * and one asks for everything while the others stand still.
 */
static void *drain_body(void *arg)
{
    static const unsigned batches[] = { 1, 64, PMM_MAX_BATCH };
    static const unsigned shares[] = { 1, 3, 64, 300 };
    struct worker *me = arg;

    host_set_cpu(me->cpu);
    for (unsigned round = 0; round < ROUNDS; round++) {
        unsigned back = shares[round % MM_COUNTOF(shares)];
        bool mine = me->cpu == round % me->nthreads;

        meet();
        take_all(me, batches[round % MM_COUNTOF(batches)]);
        atomic_fetch_add(&sum, me->nframes);
        meet();
        if (mine) { /* racing for the last ones they have lost none */
            expect(atomic_exchange(&sum, 0) == w.frames);
            expect(pmm_free_frames(w.p) == 0);
        }
        meet();
        for (unsigned i = 0; i < back && me->nheld > 0; i++) {
            put_random(me);
            atomic_fetch_add(&sum, 1);
        }
        meet();
        if (mine) {
            uint64_t free_frames = atomic_exchange(&sum, 0);

            expect(pmm_free_frames(w.p) == free_frames);
            expect(take_all(me, batches[round / 3 % MM_COUNTOF(batches)]) == free_frames);
            expect_sound();
        }
        meet();
        for (unsigned i = me->nheld / 2; i > 0; i--) {
            put_random(me);
        }
    }
    put_all(me);
    return NULL;
}

/*
 * All take single frames and put them in an order of their own. Then each in turn finds every block
 * of 2 MiB that there is, and the longest run.
 */
static void *whole_body(void *arg)
{
    struct worker *me = arg;
    const struct part *longest = &w.parts[0];
    struct pmm_want want = { 0 };
    pfn_t base;

    for (size_t i = 1; i < w.nparts; i++) {
        longest = w.parts[i].count > longest->count ? &w.parts[i] : longest;
    }
    want.count = longest->count;

    host_set_cpu(me->cpu);
    for (unsigned round = 0; round < me->nthreads; round++) {
        unsigned blocks = 0;

        meet();
        take_all(me, 1);
        meet();
        while (me->nheld > 0) {
            put_random(me);
        }
        meet();
        if (me->cpu == round) {
            while (!pfn_is_none(base = pmm_get(w.p, TOP, 0))) {
                got(me, base.v, UINT64_C(1) << TOP, 0);
                atomic_fetch_add(&counted, UINT64_C(1) << TOP);
                blocks++;
            }
            expect(blocks == SCATTERED_2M);
            expect(pmm_why(w.p, TOP) == MM_EFRAG);
            expect_sound();
            put_all(me);
        }
        meet();
        if (me->cpu == me->nthreads - 1 - round) {
            expect(pmm_get_range(w.p, &want, &base) == MM_OK && base.v == longest->base);
            expect_sound();
            pmm_put_range(w.p, base, want.count);
        }
    }
    return NULL;
}

/* One takes all there is, while each of the others has no more than one frame at a time. */
static void *snatch_body(void *arg)
{
    struct worker *me = arg;

    host_set_cpu(me->cpu);
    for (unsigned round = 0; round < ROUNDS; round++) {
        meet();
        if (me->cpu == round % me->nthreads) {
            expect(take_all(me, 1) + me->nthreads - 1 >= w.frames);
            atomic_store(&sum, 1);
        } else {
            while (atomic_load(&sum) == 0) {
                pfn_t pfn = pmm_get(w.p, 0, 0);

                if (!pfn_is_none(pfn)) {
                    got(me, pfn.v, 1, 0);
                    atomic_fetch_add(&counted, 1);
                    put_random(me);
                }
            }
        }
        meet();
        atomic_store(&sum, 0);
        put_all(me);
    }
    return NULL;
}

static void scattered_with(const char *test, unsigned nthreads, void *(*body)(void *))
{
    struct host_rng rng = host_rng_make(test);

    open_world(scattered, MM_COUNTOF(scattered), nthreads);
    atomic_store(&limit_frames, w.frames - SCATTERED_GIB * PLANE);
    run_threads(nthreads, &rng, body);
    assert_all_is_back(0);
    close_world();
}

static void test_random(void **state)
{
    scattered_with("random", threads_of(state), random_body);
}

static void test_drain(void **state)
{
    scattered_with("drain", threads_of(state), drain_body);
}

static void test_whole_blocks(void **state)
{
    scattered_with("whole blocks", threads_of(state), whole_body);
}

static void test_snatch(void **state)
{
    scattered_with("snatch", threads_of(state), snatch_body);
}

/*
 * A refusal is remembered, so that the next one is cheap, until there may be a fit again: also if
 * the last frames of a block come back by no other way than a processor's cache.
 */
static void test_refusal_is_forgotten(void **state)
{
    static pfn_t pfns[8 * 512];
    pfn_t last, block;

    (void)state;
    open_world(even, 1, 1);
    for (uint64_t i = 0; i < w.frames; i++) {
        pfns[i] = pmm_get(w.p, 0, 0);
        assert_false(pfn_is_none(pfns[i]));
    }
    last = pfns[w.frames - 1];
    for (uint64_t i = 0; i < w.frames - 1; i++) {
        if (pfns[i].v / 512 == last.v / 512 && pfns[i].v / 64 != last.v / 64) {
            pmm_put(w.p, pfns[i], 0);
        }
    }
    assert_true(pfn_is_none(pmm_get(w.p, TOP, 0))); /* seven words of a block are free */
    for (uint64_t i = 0; i < w.frames - 1; i++) {
        if (pfns[i].v / 64 == last.v / 64) {
            pmm_put(w.p, pfns[i], 0);
        }
    }
    assert_true(pfn_is_none(pmm_get(w.p, TOP, 0))); /* all but one frame */
    block = pmm_get(w.p, 0, 0);
    assert_false(pfn_is_none(block));
    pmm_put(w.p, last, 0);
    assert_true(pfn_is_none(pmm_get(w.p, TOP, 0)));
    last = pmm_get(w.p, 0, 0);
    assert_false(pfn_is_none(last));
    pmm_put(w.p, block, 0);
    pmm_put(w.p, last, 0);
    block = pmm_get(w.p, TOP, 0);
    assert_int_equal(block.v, mm_align_down(last.v, 512));
    assert_sound(pmm_check(w.p));
    close_world();
}

/* ---- blocks that are split and merged all the time ------------------------------------------- */

#define MERGE_STEPS SLOWER(200000) /* of all threads together */

static void *merge_body(void *arg)
{
    struct worker *me = arg;
    uint64_t steps = MERGE_STEPS / me->nthreads;

    host_set_cpu(me->cpu);
    meet();
    for (uint64_t i = 0; i < steps && !atomic_load(&failed); i++) {
        switch (host_rng_below(&me->rng, 8)) {
        case 0:
        case 1:
            get_order(me, 0, 0);
            break;
        case 2:
            get_order(me, TOP, 0);
            break;
        case 3:
        case 4:
            exchange_mail(me);
            break;
        case 5:
            pmm_idle(w.p);
            break;
        default:
            put_random(me);
        }
        if (me->nheld > 3) {
            put_all(me);
        }
        if (me->cpu == 0 && i % 64 == 0) {
            expect_sound();
        }
    }
    meet();
    if (me->cpu == 0) {
        open_all_mail(me);
    }
    put_all(me);
    return NULL;
}

static void test_merge(void **state)
{
    unsigned nthreads = threads_of(state);
    struct host_rng rng = host_rng_make("merging");
    pfn_t block[2];

    open_world(tiny, 1, nthreads);
    atomic_store(&limit_frames, w.frames);
    run_threads(nthreads, &rng, merge_body);
    for (unsigned i = 0; i < 2; i++) {
        block[i] = pmm_get(w.p, TOP, 0);
        assert_false(pfn_is_none(block[i]));
    }
    for (unsigned i = 0; i < 2; i++) {
        pmm_put(w.p, block[i], TOP);
    }
    assert_all_is_back(0);
    close_world();
}

/*
 * Runs as long as half a block, from two blocks that are whole again and again: between the moment
 * in which one thread splits a block and that in which it owns it, others take all that is in it.
 */
static void *runs_body(void *arg)
{
    struct worker *me = arg;
    uint64_t steps = MERGE_STEPS / me->nthreads;

    host_set_cpu(me->cpu);
    meet();
    for (uint64_t i = 0; i < steps && !atomic_load(&failed); i++) {
        get_order(me, host_rng_below(&me->rng, 4) != 0 ? 8 : 7, PMM_QUICK);
        pmm_idle(w.p); /* what it took, it leaves to others as it is */
        if (me->nheld > 3 || host_rng_below(&me->rng, 3) == 0) {
            put_all(me);
        }
    }
    meet();
    put_all(me);
    return NULL;
}

static void test_runs(void **state)
{
    unsigned nthreads = threads_of(state);
    struct host_rng rng = host_rng_make("runs");

    open_world(crowded, MM_COUNTOF(crowded), nthreads);
    atomic_store(&limit_frames, w.frames);
    run_threads(nthreads, &rng, runs_body);
    assert_all_is_back(0);
    close_world();
}

/* ---- memory that comes and goes -------------------------------------------------------------- */

#define MAX_RETIRED 20
#define RETIRED     0xfe /* stamp of frames out of service */

static struct alloc retired[MAX_RETIRED];
static unsigned nretired;

/* Add the next piece of what is HELD; false if there is none. */
static bool add_piece(struct worker *me)
{
    uint64_t at = me->done;

    for (size_t i = 0; i < w.nparts; i++) {
        const struct part *part = &w.parts[i];

        if (part->is != LATER) {
            continue;
        }
        if (at < part->count) {
            uint64_t count = mm_min(part->count - at, 1 + host_rng_below(&me->rng, 100));

            expect(pmm_add(w.p, pfn_make(part->base + at), count) == MM_OK);
            expect(pmm_add(w.p, pfn_make(part->base + at), count) == MM_EBUSY);
            atomic_fetch_add(&limit_frames, count);
            me->done += count;
            return true;
        }
        at -= part->count;
    }
    return false;
}

/* Take a few frames out of service, whoever has them. Nobody gets them any more, from now on if
 * they were free, from when they were put if they were not. */
static void retire_some(struct worker *me)
{
    const struct part *part = &w.parts[host_rng_below(&me->rng, w.nparts)];
    uint64_t count = 1 + host_rng_below(&me->rng, 3);
    uint64_t base = part->base + host_rng_below(&me->rng, part->count - count + 1);
    uint64_t in_use = 0;

    if (part->is == LATER) { /* may be HELD, and to be added */
        return;
    }
    for (unsigned i = 0; i < nretired; i++) {
        if (base < retired[i].base + retired[i].count && retired[i].base < base + count) {
            return;
        }
    }
    if (nretired == MAX_RETIRED || !reserve(count)) {
        return;
    }
    expect(pmm_retire(w.p, pfn_make(base), count, &in_use) == MM_OK);
    expect(in_use <= count);
    retired[nretired++] = (struct alloc){ base, count };
    if (in_use == 0) {
        stamp_frames(base, count, 0, RETIRED);
    }
}

static void *come_and_go_body(void *arg)
{
    struct worker *me = arg;
    uint64_t steps = RANDOM_STEPS / me->nthreads;

    host_set_cpu(me->cpu);
    for (uint64_t i = 0; i < steps && !atomic_load(&failed); i++) {
        random_step(me);
        if (me->cpu == 0 && i % (steps / 100) == 0) {
            add_piece(me);
            expect_sound();
            retire_some(me);
            expect_sound();
        }
    }
    meet();
    if (me->cpu == 0) {
        open_all_mail(me);
        while (add_piece(me)) {
        }
    }
    put_all(me);
    return NULL;
}

static void test_come_and_go(void **state)
{
    unsigned nthreads = threads_of(state);
    struct host_rng rng = host_rng_make("memory comes and goes");
    uint64_t nbad = 0;

    open_world(growing, MM_COUNTOF(growing), nthreads);
    atomic_store(&limit_frames, w.frames - w.held - GROWING_GIB * PLANE);
    nretired = 0;
    run_threads(nthreads, &rng, come_and_go_body);
    for (unsigned i = 0; i < nretired; i++) {
        struct pmm_tally t;

        pmm_get_tally(w.p, pfn_make(retired[i].base), retired[i].count, &t);
        assert_int_equal(t.frames[PMM_BAD], retired[i].count);
        for (uint64_t pfn = retired[i].base; pfn < retired[i].base + retired[i].count; pfn++) {
            atomic_store(&stamps[index_of(pfn)], RETIRED);
        }
        nbad += retired[i].count;
    }
    assert_all_is_back(nbad);
    close_world();
}

/* ---- interrupts ------------------------------------------------------------------------------ */

#define IRQ_NS    100000
#define IRQ_STEPS SLOWER(200000) /* of all threads together */
#define IRQ_DEPTH 2

static _Thread_local struct worker *handlers; /* workers of this thread's interrupts, by depth */
static _Thread_local unsigned irq_depth;

static void light_step(struct worker *me)
{
    uint64_t what = host_rng_below(&me->rng, 1000);

    if (what < 480 && me->nheld < 100) {
        get_order(me, 0, 0);
    } else if (what < 960) {
        put_random(me);
    } else if (what < 975) {
        get_order(me, (unsigned)host_rng_below(&me->rng, TOP + 1), 0);
    } else if (what < 985) {
        get_batch(me, 1 + (unsigned)host_rng_below(&me->rng, 8), 0);
    } else if (what < 993) {
        put_batch(me, 8);
    } else if (what < 995) {
        claim(me);
    } else if (what < 997) {
        pmm_fill_zeroed(w.p, 1);
    } else if (what < 999) {
        pmm_idle(w.p);
    } else {
        look(me);
    }
}

/* Does some work with the pool; some of these let themselves be interrupted. */
static void interrupt(void)
{
    struct worker *me = &handlers[irq_depth * MAX_THREADS];
    bool open = irq_depth + 1 < IRQ_DEPTH && host_rng_below(&me->rng, 4) == 0;

    if (atomic_load(&failed)) {
        return;
    }
    me->done++;
    irq_depth++;
    if (open) {
        port_irq_restore(0);
    }
    for (uint64_t n = host_rng_below(&me->rng, 6); n > 0; n--) {
        light_step(me);
    }
    if (open) {
        port_irq_save();
    }
    irq_depth--;
}

static void *interrupted_body(void *arg)
{
    struct worker *me = arg;
    uint64_t steps = IRQ_STEPS / me->nthreads;

    host_set_cpu(me->cpu);
    handlers = me + MAX_THREADS;
    meet();
    host_interrupts(interrupt, IRQ_NS);
    for (uint64_t i = 0; i < steps && !atomic_load(&failed); i++) {
        light_step(me);
        if (i % 4096 == 0) {
            expect_sound();
        }
    }
    host_interrupts(NULL, 0);
    put_all(me);
    for (unsigned i = 0; i < IRQ_DEPTH; i++) {
        expect(i > 0 || handlers[i * MAX_THREADS].done > 0);
        put_all(&handlers[i * MAX_THREADS]);
    }
    return NULL;
}

static void test_interrupts(void **state)
{
    scattered_with("interrupts", threads_of(state), interrupted_body);
}

/* ---- a check amid a hit ---------------------------------------------------------------------- */

/*
 * A hit that works on the planes changes several things in turn, with interrupts on. After each of
 * its instructions an interrupt comes upon it, and the pool is checked: by the handler, or by
 * another processor while the handler waits.
 */
#ifndef HOST_TSAN

#define HITS_SINGLE 512 /* frames of one block, and */
#define HITS_X      512 /* number of one that is not of it */
#define HITS_LAST   100 /* number of one of it */
#define HITS_ASK    7   /* instructions */
#define HITS_PARTS  4   /* of a hit's instructions, at the beginning of which interrupts begin */

static pfn_t hit_pfns[HITS_SINGLE + 1];
static pfn_t hit_whole;
static _Atomic bool asked, asking;

static void nothing(void)
{
}

static void take_single(unsigned i)
{
    hit_pfns[i] = pmm_get(w.p, 0, 0);
    expect(!pfn_is_none(hit_pfns[i]));
}

/*
 * All of a block but one frame becomes free, which then goes into the plane, and makes the block
 * whole: the cache is empty at first, so its GIVE slot has the word of the frame put first.
 */
static void fill_block(void)
{
    pmm_idle(w.p);
    pmm_put(w.p, hit_pfns[HITS_X], 0);
    for (unsigned i = 0; i < HITS_SINGLE; i++) {
        if (i != HITS_LAST) {
            pmm_put(w.p, hit_pfns[i], 0);
        }
    }
}

static void put_last(void)
{
    pmm_put(w.p, hit_pfns[HITS_LAST], 0);
}

static void take_singles(void)
{
    for (unsigned i = 0; i <= HITS_SINGLE; i++) {
        take_single(i);
    }
}

static void take_whole(void)
{
    hit_whole = pmm_get(w.p, TOP, 0);
    expect(!pfn_is_none(hit_whole));
}

static void put_whole(void)
{
    pmm_put(w.p, hit_whole, TOP);
}

/* So that the next one comes from the same word. */
static void take_and_put_whole(void)
{
    take_whole();
    put_whole();
}

static const struct {
    void (*before)(void);
    void (*hit)(void);
    void (*after)(void);
} hits[] = {
    { fill_block, put_last, take_singles },
    { take_and_put_whole, take_whole, put_whole },
    { take_whole, put_whole, nothing },
};

/* Now and then, as it takes long where threads have to wait for a processor: have the other stop
 * the pool, and check it. Stop it, too, until that has happened. */
static void ask_for_check(void)
{
    struct pmm_stats s;
    uint64_t stops;

    if (++workers[0].done % HITS_ASK != 0) {
        return;
    }
    pmm_get_stats(w.p, &s);
    atomic_store(&asked, true);
    do {
        stops = s.stops;
        port_spin_hint();
        pmm_get_stats(w.p, &s);
    } while (s.stops == stops + 1);
}

/* One hit, interrupted from its instruction `from` on; returns how many it had. */
static uint64_t interrupted_hit(unsigned i, uint64_t from, void (*check)(void))
{
    uint64_t n;

    hits[i].before();
    host_interrupt_steps(from, check);
    hits[i].hit();
    n = host_end_steps();
    while (atomic_load(&asked)) {
        port_spin_hint();
    }
    hits[i].after();
    return n;
}

/* A hit that was interrupted early may go on otherwise than one that has decided already. */
static void check_amid(unsigned i, void (*check)(void))
{
    uint64_t n = interrupted_hit(i, UINT64_MAX, nothing);

    for (uint64_t part = 0; part < HITS_PARTS && !atomic_load(&failed); part++) {
        interrupted_hit(i, n * part / HITS_PARTS, check);
    }
    expect(n > 50);
}

static void *hits_body(void *arg)
{
    struct worker *me = arg;

    host_set_cpu(me->cpu);
    if (me->cpu != 0) {
        while (atomic_load(&asking)) {
            if (atomic_load(&asked)) {
                expect_sound();
                atomic_store(&asked, false);
            }
            port_spin_hint();
        }
        return NULL;
    }
    take_singles();
    for (unsigned i = 0; i < MM_COUNTOF(hits); i++) {
        check_amid(i, expect_sound);
        check_amid(i, ask_for_check);
    }
    for (unsigned i = 0; i <= HITS_SINGLE; i++) {
        pmm_put(w.p, hit_pfns[i], 0);
    }
    atomic_store(&asking, false);
    return NULL;
}

static void test_check_amid_hits(void **state)
{
    struct host_rng rng = host_rng_make("checks amid hits");

    (void)state;
    open_world(even, 1, 2);
    atomic_store(&limit_frames, w.frames);
    atomic_store(&asking, true);
    run_threads(2, &rng, hits_body);
    assert_all_is_back(0);
    close_world();
}

#endif

/* ---- giving back what is not one's own ------------------------------------------------------- */

/* Frame `k` that processor 1 gets, of so many; it puts those that are not kept. */
static pfn_t got_by_other[64];

static void *other_gets_and_puts(void *arg)
{
    unsigned n = *(unsigned *)arg;

    host_set_cpu(1);
    for (unsigned i = 0; i < n; i++) {
        got_by_other[i] = pmm_get(w.p, 0, 0);
    }
    for (unsigned i = 0; i < n; i++) {
        pmm_put(w.p, got_by_other[i], 0);
    }
    return NULL;
}

/* A thread that was on processor 1 has put frames, which lie in its cache; it is gone. */
static void other_put(unsigned n)
{
    pthread_t other;

    open_world(even, 1, 3);
    assert_int_equal(pthread_create(&other, NULL, other_gets_and_puts, &n), 0);
    assert_int_equal(pthread_join(other, NULL), 0);
}

/* The last of `n` frames in the cache of processor 1 is put once more, on processor `cpu`. */
static void second_put(unsigned n, unsigned cpu)
{
    other_put(n);
    host_set_cpu(cpu);
    assert_panics(pmm_put(w.p, got_by_other[n - 1], 0), "is free already");
    host_set_cpu(0);
    close_world();
}

static void test_second_put_of_a_cached_frame(void **state)
{
    pfn_t pfn;

    (void)state;
    for (unsigned n = 1; n <= 64; n += 21) {
        for (unsigned cpu = 0; cpu < 3; cpu++) {
            second_put(n, cpu);
        }
    }

    /* A frame that nobody ever got, fetched by processor 1 with others of its word. */
    other_put(1);
    assert_panics(pmm_put(w.p, pfn_make(got_by_other[0].v + 1), 0), "is free already");
    close_world();

    /* One of its zeroed frames. */
    other_put(1);
    host_set_cpu(1);
    assert_int_equal(pmm_fill_zeroed(w.p, 8), 8);
    pfn = pmm_get(w.p, 0, PMM_ZERO);
    host_set_cpu(2);
    assert_panics(pmm_put(w.p, pfn_make(pfn.v + 1), 0), "is free already");
    host_set_cpu(0);
    close_world();
}

static void test_second_put_in_a_batch(void **state)
{
    pfn_t pfns[3];

    (void)state;
    other_put(3);
    pfns[0] = pmm_get(w.p, 0, 0);
    pfns[1] = got_by_other[1];
    pfns[2] = got_by_other[1];
    assert_panics(pmm_put_batch(w.p, pfns, 2), "is free already");
    close_world();

    other_put(1);
    assert_panics(pmm_put_range(w.p, got_by_other[0], 1), "is free already");
    close_world();
}

/* A block whose frames lie in the cache of another is no allocation to be put. */
static void put_of_cached(unsigned order)
{
    other_put(1);
    assert_panics(pmm_put(w.p, pfn_make(mm_align_down(got_by_other[0].v, 1u << order)), order),
                  "frame");
    close_world();
}

static void test_put_of_a_block_that_is_cached(void **state)
{
    (void)state;
    for (unsigned order = 1; order <= TOP; order++) {
        put_of_cached(order);
    }
}

/*
 * Two processors put one frame at the same moment. If each finds it in use, nobody can know; but it
 * is seen when the two meet, at the latest when the caches are emptied.
 */
static pfn_t put_twice;

static void put_or_panic(void (*put)(void))
{
    jmp_buf jmp;

    host_panic_jmp = &jmp;
    if (setjmp(jmp) == 0) {
        put();
    } else {
        atomic_fetch_add(&sum, 1);
        host_after_panic();
    }
    host_panic_jmp = NULL;
}

static void put_it(void)
{
    pmm_put(w.p, put_twice, 0);
}

static void empty_cache(void)
{
    pmm_idle(w.p);
}

static void *put_at_once(void *arg)
{
    const struct worker *me = arg;

    host_set_cpu(me->cpu);
    meet();
    put_or_panic(put_it);
    return NULL;
}

static void test_two_puts_at_once(void **state)
{
    struct host_rng rng = host_rng_make("two puts at once");

    (void)state;
    for (unsigned round = 0; round < SLOWER(400); round++) {
        open_world(even, 1, 2);
        put_twice = pmm_get(w.p, 0, 0);
        if (round % 2 != 0) { /* else both find its word in the cache of processor 0 */
            pmm_idle(w.p);
        }
        atomic_store(&sum, 0);
        run_threads(2, &rng, put_at_once);
        for (unsigned cpu = 0; cpu < 2 && atomic_load(&sum) == 0; cpu++) {
            host_set_cpu(cpu);
            put_or_panic(empty_cache);
        }
        host_set_cpu(0);
        assert_true(atomic_load(&sum) >= 1);
        close_world();
    }
    atomic_store(&sum, 0);
}

int main(void)
{
    static unsigned one = 1, two = 2, eight = 8; /* threads */
    const struct CMUnitTest tests[] = {
        { "test_random_2", test_random, NULL, NULL, &two },
        { "test_random_8", test_random, NULL, NULL, &eight },
        { "test_merge_2", test_merge, NULL, NULL, &two },
        { "test_merge_8", test_merge, NULL, NULL, &eight },
        { "test_runs_2", test_runs, NULL, NULL, &two },
        { "test_runs_8", test_runs, NULL, NULL, &eight },
        { "test_come_and_go_2", test_come_and_go, NULL, NULL, &two },
        { "test_come_and_go_8", test_come_and_go, NULL, NULL, &eight },
        { "test_drain_2", test_drain, NULL, NULL, &two },
        { "test_drain_8", test_drain, NULL, NULL, &eight },
        { "test_whole_blocks_2", test_whole_blocks, NULL, NULL, &two },
        { "test_whole_blocks_8", test_whole_blocks, NULL, NULL, &eight },
        { "test_snatch_2", test_snatch, NULL, NULL, &two },
        { "test_snatch_8", test_snatch, NULL, NULL, &eight },
        cmocka_unit_test(test_refusal_is_forgotten),
        { "test_interrupts_1", test_interrupts, NULL, NULL, &one },
        { "test_interrupts_2", test_interrupts, NULL, NULL, &two },
#ifndef HOST_TSAN
        cmocka_unit_test(test_check_amid_hits),
#endif
        cmocka_unit_test(test_second_put_of_a_cached_frame),
        cmocka_unit_test(test_second_put_in_a_batch),
        cmocka_unit_test(test_put_of_a_block_that_is_cached),
        cmocka_unit_test(test_two_puts_at_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
