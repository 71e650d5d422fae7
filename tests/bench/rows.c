/*
 * rows.c - the measurements, each a function that runs in a child forked for it.
 *
 * A row makes the allocator, starts its threads, measures, stamps what is held, gives all back and
 * sees that the allocator counts it. bench_frames.c says why so.
 *
 * What is timed is the loop as it stands in the source, the frames that it writes down or reads
 * included; the `loop` column tells how much that is. Loops fetch the allocator's functions into
 * locals first: through the pointers they would be loaded anew after each call.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench.h"

#define BATCH         64 /* of the rows with random frames */
#define TURNS         5
#define CHURN_ROUNDS  100
#define FALSE_ROUNDS  5
#define REFUSALS      10000
#define GROUP         16 /* blocks put before as many are taken */
#define MIN_MIXED     1  /* orders of the row with several */
#define MAX_MIXED     8
#define RING          256 /* frames on their way to another thread */
#define RING_CHUNK    16  /* of them told at a time */
#define START_REPEATS 16

/* ---- timed sections -------------------------------------------------------------------------- */

struct watch {
    double ran; /* by this thread, when the section began */
    double end; /* the time when it has to */
};

static struct watch start_watch(const struct worker *w)
{
    struct watch watch;

    watch.end = now_ns() + w->b->limit;
    watch.ran = thread_ns();
    return watch;
}

static bool is_late(const struct watch *watch)
{
    return now_ns() > watch->end;
}

/* ns an operation since the clock was started; 0 if there was none. */
static double per_op(const struct watch *watch, uint64_t n)
{
    return n != 0 ? (thread_ns() - watch->ran) / (double)n : 0;
}

/* Take blocks until `n` more are held, one is refused, or it takes too long. */
static void take(struct worker *w, uint64_t n, unsigned order, unsigned value)
{
    uint64_t (*get)(void *, unsigned, unsigned) = w->b->a->get;
    void *self = w->b->self;
    unsigned cpu = w->cpu;
    uint64_t *to = w->held + w->nheld;
    uint64_t done = 0;
    struct watch start = start_watch(w);

    w->cut[value] = false;
    while (done < n) {
        uint64_t slice = done + SLICE < n ? done + SLICE : n;

        for (; done < slice; done++) {
            uint64_t pfn = get(self, cpu, order);

            if (pfn == FRAMES_NONE) {
                w->refused++;
                goto out;
            }
            to[done] = pfn;
        }
        if (is_late(&start) && done < n) {
            w->cut[value] = true;
            break;
        }
    }
out:
    w->v[value] = per_op(&start, done);
    w->nheld += done;
}

/* Give back all that is held, in the order it was taken. */
static void put_all(struct worker *w, unsigned order, unsigned value)
{
    void (*put)(void *, unsigned, uint64_t, unsigned) = w->b->a->put;
    void *self = w->b->self;
    unsigned cpu = w->cpu;
    const uint64_t *from = w->held;
    uint64_t n = w->nheld;
    struct watch start = start_watch(w);

    for (uint64_t i = 0; i < n; i++) {
        put(self, cpu, from[i], order);
    }
    w->v[value] = per_op(&start, n);
    w->nheld = 0;
}

/* Single frames in one call, or in a loop for an allocator that knows no batches. */
static unsigned get_many(const struct worker *w, uint64_t *pfns, unsigned n)
{
    const struct frames_allocator *a = w->b->a;
    unsigned got = 0;

    if (a->get_batch != NULL) {
        return a->get_batch(w->b->self, w->cpu, pfns, n);
    }
    while (got < n && (pfns[got] = a->get(w->b->self, w->cpu, 0)) != FRAMES_NONE) {
        got++;
    }
    return got;
}

static void put_many(const struct worker *w, const uint64_t *pfns, unsigned n)
{
    const struct frames_allocator *a = w->b->a;

    if (a->put_batch != NULL) {
        a->put_batch(w->b->self, w->cpu, pfns, n);
        return;
    }
    for (unsigned i = 0; i < n; i++) {
        a->put(w->b->self, w->cpu, pfns[i], 0);
    }
}

/* Everything that belongs to no section's time: fill all, however long it takes. */
static void fill(struct worker *w)
{
    while (w->nheld < w->share) {
        uint64_t pfn = w->b->a->get(w->b->self, w->cpu, 0);

        if (pfn == FRAMES_NONE) {
            w->refused++;
            break;
        }
        w->held[w->nheld++] = pfn;
    }
}

/* Make the first `n` held a random choice in random order. A partner is drawn some steps before it
 * is exchanged, so that the harness waits for several cache misses at a time. */
static void shuffle(struct worker *w, uint64_t n)
{
    enum { AHEAD = 16 };
    uint64_t partner[AHEAD];

    for (uint64_t i = 0; i < n + AHEAD; i++) {
        uint64_t *slot = &partner[i % AHEAD];

        if (i >= AHEAD) {
            uint64_t pfn = w->held[i - AHEAD];

            w->held[i - AHEAD] = w->held[*slot];
            w->held[*slot] = pfn;
        }
        if (i < n) {
            *slot = i + rng_below(&w->rng, w->nheld - i);
            __builtin_prefetch(&w->held[*slot], 1);
        }
    }
}

/* Give back the first `n` held. */
static void put_first(struct worker *w, uint64_t n)
{
    for (uint64_t i = 0; i < n; i++) {
        w->b->a->put(w->b->self, w->cpu, w->held[i], 0);
    }
    w->held += n;
    w->nheld -= n;
}

/* Forget the places whose frame was put and not replaced. */
static void drop_refused(struct worker *w)
{
    uint64_t kept = 0;

    for (uint64_t i = 0; i < w->nheld; i++) {
        if (w->held[i] != FRAMES_NONE) {
            w->held[kept++] = w->held[i];
        }
    }
    w->nheld = kept;
}

static void run_all(struct bench *b, void (*run)(struct worker *w))
{
    open_bench(b);
    run_workers(b, run);
    close_bench(b, 0);
}

/* ---- all frames ------------------------------------------------------------------------------ */

/* All is taken and given back once before, untimed: a machine is new only once. */
static void bulk_worker(struct worker *w)
{
    for (unsigned pass = 0; pass < 2; pass++) {
        meet(w->b);
        take(w, w->share, 0, 0);
        verify_held(w, 0);
        put_all(w, 0, 1);
    }
}

static void run_bulk(struct bench *b)
{
    run_all(b, bulk_worker);
}

static void bulk_batch_worker(struct worker *w)
{
    unsigned batch = w->b->batch;

    for (unsigned pass = 0; pass < 2; pass++) {
        uint64_t done = 0;
        unsigned got = batch;

        meet(w->b);
        struct watch start = start_watch(w);
        while (w->nheld + batch <= w->share && got == batch) {
            got = get_many(w, w->held + w->nheld, batch);
            w->nheld += got;
        }
        w->v[0] = per_op(&start, w->nheld);
        w->refused += got < batch;
        verify_held(w, 0);
        start = start_watch(w);
        for (; done + batch <= w->nheld; done += batch) {
            put_many(w, w->held + done, batch);
        }
        w->v[1] = per_op(&start, done);
        for (; done < w->nheld; done++) {
            w->b->a->put(w->b->self, w->cpu, w->held[done], 0);
        }
        w->nheld = 0;
    }
}

static void run_bulk_batch(struct bench *b)
{
    run_all(b, bulk_batch_worker);
}

/* ---- one frame again and again --------------------------------------------------------------- */

static void repeat_worker(struct worker *w)
{
    uint64_t (*get)(void *, unsigned, unsigned) = w->b->a->get;
    void (*put)(void *, unsigned, uint64_t, unsigned) = w->b->a->put;
    void *self = w->b->self;
    unsigned cpu = w->cpu;
    uint64_t done = 0;

    meet(w->b);
    struct watch start = start_watch(w);
    while (done < w->b->npairs && !w->cut[0]) {
        for (unsigned i = 0; i < SLICE; i++, done++) {
            uint64_t pfn = get(self, cpu, 0);

            if (pfn == FRAMES_NONE) {
                w->refused++;
            } else {
                put(self, cpu, pfn, 0);
            }
        }
        w->cut[0] = is_late(&start);
    }
    w->v[0] = per_op(&start, done);
}

static void run_repeat(struct bench *b)
{
    run_all(b, repeat_worker);
}

/* ---- random frames --------------------------------------------------------------------------- */

/* Put the first held, get another, and so on with the next, `n` times. */
static void swap_singly(struct worker *w, uint64_t n, unsigned value)
{
    uint64_t (*get)(void *, unsigned, unsigned) = w->b->a->get;
    void (*put)(void *, unsigned, uint64_t, unsigned) = w->b->a->put;
    void *self = w->b->self;
    unsigned cpu = w->cpu;
    uint64_t *held = w->held;
    uint64_t done = 0;
    struct watch start = start_watch(w);

    w->cut[value] = false;
    while (done < n && !w->cut[value]) {
        for (unsigned i = 0; i < SLICE && done < n; i++, done++) {
            put(self, cpu, held[done], 0);
            held[done] = get(self, cpu, 0);
            w->refused += held[done] == FRAMES_NONE;
        }
        w->cut[value] = is_late(&start);
    }
    w->v[value] = per_op(&start, done);
}

/* The same by batches. */
static void swap_batches(struct worker *w, uint64_t n, unsigned value)
{
    uint64_t done = 0;
    struct watch start = start_watch(w);

    while (n - done >= BATCH && !w->cut[value]) {
        for (unsigned i = 0; i < SLICE / BATCH && n - done >= BATCH; i++, done += BATCH) {
            uint64_t *pfns = w->held + done;

            put_many(w, pfns, BATCH);
            for (unsigned got = get_many(w, pfns, BATCH); got < BATCH; got++) {
                pfns[got] = FRAMES_NONE;
                w->refused++;
            }
        }
        w->cut[value] = is_late(&start);
    }
    w->v[value] = per_op(&start, done);
}

/*
 * Memory is filled, and a tenth of it, frames chosen at random, given back. The frames then put are
 * random ones as well; they were shuffled to the front before, so that walking them costs the
 * harness no cache miss.
 */
static void random_worker(struct worker *w)
{
    uint64_t nfree, pairs;

    fill(w);
    nfree = w->nheld / 10;
    pairs = w->b->npairs < w->nheld / 3 ? w->b->npairs : w->nheld / 3;
    shuffle(w, nfree + pairs * 2);
    put_first(w, nfree);
    meet(w->b);
    swap_singly(w, pairs, 0);
    w->held += pairs; /* the next ones are still random */
    w->nheld -= pairs;
    meet(w->b);
    swap_batches(w, pairs, 1);
    w->held -= pairs;
    w->nheld += pairs;
    meet(w->b);
    drop_refused(w);
    if (w->b->unverified) { /* then no time is spent on giving all back either */
        atomic_fetch_add(&w->b->sum, w->nheld);
        return;
    }
    verify_held(w, 0);
    put_first(w, w->nheld);
}

/* The same when nothing is left of how memory was filled: every frame has been exchanged several
 * times. Timed is the last turn. */
static void worn_worker(struct worker *w)
{
    uint64_t nfree;

    fill(w);
    nfree = w->nheld / 10;
    shuffle(w, nfree);
    put_first(w, nfree);
    for (unsigned turn = 0; turn < TURNS; turn++) {
        shuffle(w, w->nheld);
        meet(w->b);
        swap_singly(w, w->nheld, 0);
        meet(w->b);
        drop_refused(w);
    }
    verify_held(w, 0);
    put_first(w, w->nheld);
}

static void run_worn(struct bench *b)
{
    run_all(b, worn_worker);
}

static void run_random(struct bench *b)
{
    open_bench(b);
    run_workers(b, random_worker);
    close_bench(b, b->sum);
}

/* ---- blocks of several frames ---------------------------------------------------------------- */

/* What a worker of the row with several orders holds: frame number and order in one. */
static uint64_t pack(uint64_t pfn, unsigned order)
{
    return pfn << 8 | order;
}

/* Largest first within each group: then those that were put have room for those that are taken. */
static void sort_groups(struct worker *w)
{
    for (uint64_t base = 0; base + GROUP <= w->nheld; base += GROUP) {
        uint64_t *group = w->held + base;

        for (unsigned i = 1; i < GROUP; i++) {
            uint64_t block = group[i];
            unsigned k = i;

            for (; k > 0 && (group[k - 1] & 0xff) < (block & 0xff); k--) {
                group[k] = group[k - 1];
            }
            group[k] = block;
        }
    }
}

/* Three quarters of memory are given in blocks of random orders. Then random ones are put, a group
 * at a time, and as many of the same orders taken, until all have been moved, and so on. */
static void mixed_worker(struct worker *w)
{
    uint64_t (*get)(void *, unsigned, unsigned) = w->b->a->get;
    void (*put)(void *, unsigned, uint64_t, unsigned) = w->b->a->put;
    void *self = w->b->self;
    unsigned cpu = w->cpu;
    uint64_t frames = 0, done = 0, refused = 0;
    double ns = 0;

    while (frames < w->share / 4 * 3) {
        unsigned order = MIN_MIXED + (unsigned)rng_below(&w->rng, MAX_MIXED - MIN_MIXED + 1);
        uint64_t pfn = get(self, cpu, order);

        if (pfn == FRAMES_NONE) { /* what is free may be all in pieces */
            break;
        }
        w->held[w->nheld++] = pack(pfn, order);
        frames += UINT64_C(1) << order;
    }
    meet(w->b);
    while (done < w->b->npairs / 4 && w->nheld >= GROUP && ns < w->b->limit) {
        shuffle(w, w->nheld);
        sort_groups(w);
        double start = thread_ns();
        for (uint64_t base = 0; base + GROUP <= w->nheld; base += GROUP) {
            uint64_t *group = w->held + base;

            for (unsigned i = 0; i < GROUP; i++) {
                put(self, cpu, group[i] >> 8, group[i] & 0xff);
            }
            for (unsigned i = 0; i < GROUP; i++) {
                uint64_t pfn = get(self, cpu, group[i] & 0xff);

                refused += pfn == FRAMES_NONE;
                group[i] = pfn == FRAMES_NONE ? FRAMES_NONE : pack(pfn, group[i] & 0xff);
            }
        }
        ns += thread_ns() - start;
        done += w->nheld / GROUP * GROUP;
        drop_refused(w);
    }
    w->v[0] = done != 0 ? ns / (double)done : 0;
    w->refused += w->b->nthreads == 1 ? refused : 0; /* else another may have taken the room */
    meet(w->b);
    for (uint64_t i = 0; i < w->nheld; i++) {
        stamp(w->b, w->held[i] >> 8, w->held[i] & 0xff);
    }
    meet(w->b);
    for (uint64_t i = 0; i < w->nheld; i++) {
        put(self, cpu, w->held[i] >> 8, w->held[i] & 0xff);
    }
}

static void run_mixed(struct bench *b)
{
    run_all(b, mixed_worker);
}

/* ---- from one thread to another -------------------------------------------------------------- */

/* Frames on their way. Both ends are told of several at a time, so that the ring itself costs
 * little. FRAMES_NONE is the end. */
struct ring {
    _Alignas(64) _Atomic uint64_t sent;
    _Alignas(64) _Atomic uint64_t received;
    _Alignas(64) uint64_t pfns[RING];
};

static void send_frames(struct worker *w, struct ring *r)
{
    const struct frames_allocator *a = w->b->a;
    uint64_t done = 0;
    struct watch start = start_watch(w);

    for (bool last = false; !last; done += RING_CHUNK) {
        for (unsigned spins = 0; done + RING_CHUNK - atomic_load(&r->received) > RING; spins++) {
            relax(spins);
        }
        last = done >= w->b->npairs || (done % SLICE == 0 && is_late(&start));
        for (unsigned i = 0; i < RING_CHUNK; i++) {
            uint64_t pfn = last ? FRAMES_NONE : a->get(w->b->self, w->cpu, 0);

            while (pfn == FRAMES_NONE && !last) {
                w->refused++;
                pfn = a->get(w->b->self, w->cpu, 0);
            }
            r->pfns[(done + i) % RING] = pfn;
        }
        atomic_store_explicit(&r->sent, done + RING_CHUNK, memory_order_release);
    }
    w->v[0] = per_op(&start, done - RING_CHUNK);
}

static void receive_frames(struct worker *w, struct ring *r)
{
    const struct frames_allocator *a = w->b->a;
    uint64_t done = 0;
    struct watch start = start_watch(w);

    for (bool last = false; !last;) {
        uint64_t sent = atomic_load_explicit(&r->sent, memory_order_acquire);

        for (unsigned spins = 0; sent == done; spins++) {
            relax(spins);
            sent = atomic_load_explicit(&r->sent, memory_order_acquire);
        }
        for (; done < sent && !last; done++) {
            last = r->pfns[done % RING] == FRAMES_NONE;
            if (!last) {
                a->put(w->b->self, w->cpu, r->pfns[done % RING], 0);
            }
        }
        atomic_store_explicit(&r->received, done, memory_order_release);
    }
    w->v[0] = per_op(&start, done - 1);
}

static void handover_worker(struct worker *w)
{
    struct ring *r = (struct ring *)w->b->shared + w->cpu / 2;

    meet(w->b);
    if (w->cpu % 2 == 0) {
        send_frames(w, r);
    } else {
        receive_frames(w, r);
    }
}

/* Threads work in pairs: an even number, and two at least. */
static void run_handover(struct bench *b)
{
    b->nthreads = b->nthreads < 2 ? 2 : b->nthreads & ~1U;
    b->shared = map_touched(b->nthreads / 2 * sizeof(struct ring), 0);
    run_all(b, handover_worker);
}

/* ---- blocks of 2 MiB ------------------------------------------------------------------------- */

static void huge_worker(struct worker *w)
{
    meet(w->b);
    take(w, w->share / HUGE_FRAMES, HUGE, 0);
    verify_held(w, HUGE);
    put_all(w, HUGE, 1);
}

/* A few thousand blocks are over too soon for the clock: the mean of several fresh allocators,
 * after one whose work brings the code into the caches. */
static void run_huge(struct bench *b)
{
    const unsigned times = 8;

    open_bench(b);
    for (unsigned i = 0; i <= times; i++) {
        run_workers(b, huge_worker);
        must_be_free(b, b->total);
        if (i == 0) {
            memset(b->out->v, 0, sizeof(b->out->v));
        }
        drop(b);
        make(b);
    }
    b->out->v[0] /= times;
    b->out->v[1] /= times;
    close_bench(b, 0);
}

/* Give back all held but one frame each in a random half of the blocks; those come to the front.
 * Returns how many they are. */
static uint64_t put_but_pins(struct worker *w)
{
    uint64_t nblocks = w->share / HUGE_FRAMES;
    uint64_t *pins = map_touched(nblocks * sizeof(*pins), 0xff); /* by block */
    uint64_t npinned = 0;

    for (uint64_t i = 0; i < nblocks; i++) { /* choose nblocks / 2 out of nblocks */
        bool pin_it = rng_below(&w->rng, nblocks - i) < nblocks / 2 - npinned;

        npinned += pin_it;
        pins[i] = pin_it ? BASE + i * HUGE_FRAMES + rng_below(&w->rng, HUGE_FRAMES) : FRAMES_NONE;
    }
    npinned = 0;
    for (uint64_t i = 0; i < w->nheld; i++) {
        if (pins[(w->held[i] - BASE) / HUGE_FRAMES] == w->held[i]) {
            w->held[npinned++] = w->held[i];
        } else {
            w->b->a->put(w->b->self, w->cpu, w->held[i], 0);
        }
    }
    return npinned;
}

/* Ask for blocks when there are none; each time one frame is taken and put before, if `move`. */
static void ask_in_vain(struct worker *w, bool move, unsigned value)
{
    const struct frames_allocator *a = w->b->a;
    uint64_t asked = 0;
    struct watch start = start_watch(w);

    while (asked < REFUSALS && !w->cut[value]) {
        if (move) {
            uint64_t pfn = a->get(w->b->self, w->cpu, 0);

            if (pfn != FRAMES_NONE) {
                a->put(w->b->self, w->cpu, pfn, 0);
            }
        }
        uint64_t pfn = a->get(w->b->self, w->cpu, HUGE);
        if (pfn != FRAMES_NONE) { /* refused before, found now */
            a->put(w->b->self, w->cpu, pfn, HUGE);
            w->refused++;
        }
        asked++;
        w->cut[value] = asked % 64 == 0 && is_late(&start);
    }
    w->v[value] = per_op(&start, asked);
}

/*
 * Memory is filled and given back but for one frame in each block of a random half of the blocks;
 * then the other half of the blocks is taken, timed, and whatever else may be found. All blocks are
 * taken once before, for their code to be in the caches.
 */
static void pinned_worker(struct worker *w)
{
    uint64_t nblocks = w->share / HUGE_FRAMES;
    uint64_t npinned, refused;

    take(w, nblocks, HUGE, 1);
    put_all(w, HUGE, 1);
    fill(w);
    stamp_held(w, 0);
    unstamp_held(w, 0);
    npinned = put_but_pins(w);
    for (uint64_t i = 0; i < npinned; i++) {
        stamp(w->b, w->held[i], 0);
    }
    w->held += npinned;
    w->nheld = 0;
    refused = w->refused;
    take(w, nblocks - npinned, HUGE, 1);
    if (w->refused == refused) {
        take(w, nblocks, HUGE, 2); /* ends with a refusal, which is right */
    }
    w->refused = refused;
    w->v[0] = (double)w->nheld;
    ask_in_vain(w, false, 2);
    ask_in_vain(w, true, 3);

    stamp_held(w, HUGE);
    for (uint64_t i = 0; i < w->nheld; i++) {
        w->b->a->put(w->b->self, w->cpu, w->held[i], HUGE);
    }
    w->held -= npinned;
    w->nheld = npinned;
    put_first(w, npinned);
}

static void run_pinned(struct bench *b)
{
    run_all(b, pinned_worker);
}

/* Blocks of 2 MiB from frame `from` of the span on, `n` of them, of which nobody has a frame. */
static uint64_t count_whole(const struct bench *b, uint64_t from, uint64_t n)
{
    uint64_t whole = 0;

    for (uint64_t i = 0; i < n; i++) {
        whole += memchr((void *)&b->stamps[from + i * HUGE_FRAMES], 1, HUGE_FRAMES) == NULL;
    }
    return whole;
}

/* Half of memory, frames chosen at random, is given back; then in each of 100 rounds a random tenth
 * of what is held is given back and as much taken. Nothing is timed: what counts is how many
 * 2 MiB blocks nobody has a frame of, told by the stamps. With perfect packing it is half of all.
 */
static void churn_worker(struct worker *w)
{
    fill(w);
    shuffle(w, w->nheld / 2);
    put_first(w, w->nheld / 2);

    double end = now_ns() + 20 * w->b->limit;
    for (unsigned round = 0; round < CHURN_ROUNDS && !w->cut[0]; round++) {
        uint64_t n = w->nheld / 10;

        shuffle(w, n);
        for (uint64_t i = 0; i < n; i++) {
            w->b->a->put(w->b->self, w->cpu, w->held[i], 0);
        }
        for (uint64_t i = 0; i < n; i++) {
            w->held[i] = w->b->a->get(w->b->self, w->cpu, 0);
            w->refused += w->held[i] == FRAMES_NONE;
        }
        drop_refused(w);
        w->cut[0] = now_ns() > end && round + 1 < CHURN_ROUNDS;
    }
    stamp_held(w, 0);
    w->v[0] = (double)count_whole(w->b, 0, w->share / HUGE_FRAMES);
    put_first(w, w->nheld);
}

static void run_churn(struct bench *b)
{
    run_all(b, churn_worker);
}

/* ---- false refusals -------------------------------------------------------------------------- */

struct verdict {
    atomic_bool refused;    /* somebody was, in this phase */
    _Atomic uint64_t found; /* what had been refused to somebody */
};

/*
 * Take blocks until the share is held or one is refused. While nothing is put, a block that is
 * given after another was refused proves that there was one to give: those are counted.
 */
static void take_to_the_last(struct worker *w, unsigned order, struct verdict *v)
{
    while (w->nheld < w->share) {
        bool after = atomic_load(&v->refused);
        uint64_t pfn = w->b->a->get(w->b->self, w->cpu, order);

        if (pfn == FRAMES_NONE) {
            atomic_store(&v->refused, true);
            break;
        }
        if (after) {
            atomic_fetch_add(&v->found, 1);
        }
        w->held[w->nheld++] = pfn;
    }
}

/* Give back, in random order, all frames in a random half of the blocks, which is the same half for
 * all threads, and a random half of all others. */
static void put_most(struct worker *w, unsigned round)
{
    uint64_t kept = 0;

    shuffle(w, w->nheld);
    for (uint64_t i = 0; i < w->nheld; i++) {
        struct host_rng block = { w->b->seed + round + (w->held[i] / HUGE_FRAMES << 8) };

        if (rng_below(&block, 2) == 0 || rng_below(&w->rng, 2) == 0) {
            w->b->a->put(w->b->self, w->cpu, w->held[i], 0);
        } else {
            w->held[kept++] = w->held[i];
        }
    }
    w->nheld = kept;
}

/* Full memory is given back so that half of the blocks become whole. Then blocks of 2 MiB are taken
 * to the last, given back, and single frames taken to the last. */
static void false_worker(struct worker *w)
{
    struct bench *b = w->b;
    struct verdict *huge = b->shared, *single = huge + 1;

    fill(w);
    w->refused = 0; /* what matters comes */
    for (unsigned round = 0; round < FALSE_ROUNDS; round++) {
        put_most(w, round);
        stamp_held(w, 0);
        uint64_t kept = w->nheld;
        w->held += kept;
        w->share -= kept;
        w->nheld = 0;
        atomic_store(&huge->refused, false);
        atomic_store(&single->refused, false);
        atomic_store(&b->sum, 0);
        meet(b);
        take_to_the_last(w, HUGE, huge);
        meet(b);
        stamp_held(w, HUGE);
        meet(b);
        if (w->cpu == 0) {
            huge->found += count_whole(b, 0, b->total / HUGE_FRAMES);
        }
        meet(b);
        unstamp_held(w, HUGE);
        put_all(w, HUGE, 0);
        w->held -= kept;
        w->share += kept;
        w->nheld = kept;
        unstamp_held(w, 0);
        meet(b);
        take_to_the_last(w, 0, single);
        verify_held(w, 0);
        atomic_fetch_add(&b->sum, w->share - w->nheld);
        meet(b);
        if (w->cpu == 0) {
            single->found += b->sum;
        }
    }
    w->v[0] = (double)huge->found; /* the same in all threads, so the mean is it too */
    w->v[1] = (double)single->found;
    meet(b);
    put_first(w, w->nheld);
}

static void run_false(struct bench *b)
{
    b->shared = map_touched(2 * sizeof(struct verdict), 0);
    run_all(b, false_worker);
}

/* ---- start-up -------------------------------------------------------------------------------- */

/* Bytes of memory of its own that this process has touched, page tables not counted. */
static uint64_t touched_bytes(void)
{
    char text[4096] = "";
    int fd = open("/proc/self/smaps_rollup", O_RDONLY);
    const char *at;

    if (fd < 0 || read(fd, text, sizeof(text) - 1) < 0 ||
        (at = strstr(text, "Anonymous:")) == NULL) {
        fail("/proc/self/smaps_rollup: cannot be read");
    }
    close(fd);
    return strtoull(at + strlen("Anonymous:"), NULL, 10) << 10;
}

/*
 * The first create() shows what it touches; its time would be that of the host's page faults. So
 * the allocator is dropped and made anew, in the same storage, and that is timed.
 */
static void start_up(struct bench *b)
{
    double ns = 0;

    map_storage(b, false);
    touched_bytes(); /* its own stack and pages */
    uint64_t before = touched_bytes();
    make(b);
    b->out->v[1] = (double)(touched_bytes() - before) / 1024;
    b->out->v[2] = (double)b->a->meta_bytes(b->self) / 1e6;
    for (unsigned i = 0; i < START_REPEATS; i++) {
        drop(b);
        double start = thread_ns();

        make(b);
        ns += thread_ns() - start;
    }
    b->out->v[0] = ns / START_REPEATS / 1e3;
    close_bench(b, 0);
}

static void run_flat(struct bench *b)
{
    set_ranges(b, 1, (struct frames_range[]){ { BASE, 1024 * GIB } });
    start_up(b);
}

static void run_islands(struct bench *b)
{
    set_ranges(b, 2, (struct frames_range[]){ { BASE, 32 * GIB }, { BASE + 992 * GIB, 32 * GIB } });
    start_up(b);
}

/* ---- the table of rows ----------------------------------------------------------------------- */

static const struct value get_put[] = { { "get", "ns", true }, { "put", "ns", true }, { 0 } };
static const struct value pair[] = { { "get+put", "ns", true }, { 0 } };
static const struct value random_pairs[] = { { "put+get", "ns", true },
                                             { "put+get, batches of 64", "ns", true },
                                             { 0 } };
static const struct value worn[] = { { "put+get", "ns", true }, { 0 } };
static const struct value handed[] = { { "get, put", "ns", true }, { 0 } };
static const struct value mixed[] = { { "put+get", "ns", true }, { 0 } };
static const struct value pinned[] = { { "found", "blocks", false },
                                       { "get", "ns", true },
                                       { "refuse", "ns", false },
                                       { "get+put of a frame, refuse", "ns", false },
                                       { 0 } };
static const struct value churn[] = { { "whole 2 MiB", "blocks", false }, { 0 } };
static const struct value refusals[] = { { "of 2 MiB", "blocks", false },
                                         { "of a frame", "frames", false },
                                         { 0 } };
static const struct value start[] = { { "start-up", "us", false },
                                      { "touched before use", "KiB", false },
                                      { "metadata", "MB", false },
                                      { 0 } };

/* name, run, values, threaded, scale, batch, weight, nrounds */
const struct row rows[] = {
    { "all frames, 1 thread", run_bulk, get_put, false, 1, 0, 5, 0 },
    { "all frames, %u threads", run_bulk, get_put, true, 1, 0, 6, 0 },
    { "all frames, batches of 64", run_bulk_batch, get_put, false, 1, 64, 5, 0 },
    { "all frames, batches of 512", run_bulk_batch, get_put, false, 1, 512, 5, 0 },
    { "one frame repeated, 1 thread", run_repeat, pair, false, 1, 0, 2, 0 },
    { "one frame repeated, %u threads", run_repeat, pair, true, 1, 0, 5, 0 },
    { "from one thread to another", run_handover, handed, true, 1, 0, 4, 0 },
    { "random at 90 % full, %s", run_random, random_pairs, false, 1, 0, 6, 0 },
    { "random at 90 % full, %u threads", run_random, random_pairs, true, 1, 0, 7, 0 },
    { "random at 90 % full, %s", run_random, random_pairs, false, 16, 0, 20, 0 },
    { "random at 90 % full, %s", run_random, random_pairs, false, 256, 0, 20, 1 },
    { "random at 90 % full, worn, 1 thread", run_worn, worn, false, 1, 0, 6, 0 },
    { "random at 90 % full, worn, %u threads", run_worn, worn, true, 1, 0, 7, 0 },
    { "orders 1 to 8 at random, 1 thread", run_mixed, mixed, false, 1, 0, 2, 0 },
    { "orders 1 to 8 at random, %u threads", run_mixed, mixed, true, 1, 0, 3, 0 },
    { "order 9, fresh, 1 thread", run_huge, get_put, false, 1, 0, 2, 0 },
    { "order 9, fresh, %u threads", run_huge, get_put, true, 1, 0, 2, 0 },
    { "order 9, half the blocks pinned", run_pinned, pinned, false, 1, 0, 6, 0 },
    { "half freed, 100 rounds of churn", run_churn, churn, false, 1, 0, 12, 0 },
    { "false refusals, %u threads", run_false, refusals, true, 1, 0, 6, 0 },
    { "1 TiB, flat", run_flat, start, false, 0, 0, 5, 0 },
    { "1 TiB with 2 x 32 GiB in it", run_islands, start, false, 0, 0, 5, 0 },
};
const unsigned nrows = sizeof(rows) / sizeof(rows[0]);
_Static_assert(sizeof(rows) / sizeof(rows[0]) <= MAX_ROWS, "bench.h sets a limit");
