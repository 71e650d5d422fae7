/*
 * bench_frames.c - allocators of page frames side by side: speed, scaling, huge blocks, metadata.
 *
 * What is fair. Every measurement, one row of one allocator, runs in a child forked for it, so
 * each starts with the same address space, cold caches of its own and no neighbour's leftovers; a
 * crash or a hang costs one child and is reported. Children run one at a time, in rounds: each row
 * goes once through all allocators, whose order rotates, before the next row, and the whole again
 * until the time is used up. So a machine that is slow for a while is slow for all. A cell is the
 * median over the rounds; all allocators have the same number of rounds in a row, the same seeds,
 * and are called through the same function pointers. Rejected: all in one process (the second to
 * run finds the first one's page tables, huge pages and heap), and all rounds of one allocator
 * before the next (a busy minute of the machine then looks like a slow allocator).
 *
 * Huge pages of the host would make one allocator's metadata cheap by luck of alignment: they are
 * switched off for the process. Storage is filled before speed is measured, so the host's page
 * faults are in no figure, and no allocator finds it zeroed.
 *
 * Two threads. ns are the time of one thread for one operation, averaged over the threads: perfect
 * scaling leaves the figure as it was with one thread.
 *
 * Nothing wrong looks fast. Before it is measured, each allocator passes a verifying run in which
 * every block given is stamped, frame by frame, in an array of the harness; a frame outside of the
 * ranges, misaligned, or handed out twice ends it. After every timed section what is held is
 * stamped the same way, and when all is given back the allocator must count all frames free. One
 * that fails has no figures and the exit status is 1. A refusal while enough frames are free is not
 * wrong but marked with `!`, and a section that was cut for time with `~`.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "builtin.h"

#define MAX_ALLOCATORS 8
#define MAX_THREADS    64
#define MAX_VALUES     3 /* of one row */
#define MAX_ROUNDS     15
#define MIN_ROUNDS     3
#define SLICE          1024 /* operations between two looks at the clock */
#define BATCH          64
#define HUGE           9 /* order of 2 MiB */
#define HUGE_FRAMES    (UINT64_C(1) << HUGE)
#define CHURN_ROUNDS   100
#define HANG_SECONDS   120
#define GIB            UINT64_C(0x40000) /* in frames */
#define BASE           (4 * GIB) /* an allocator may treat lower memory specially; this is above */

/* What a child says, in memory it shares with the parent. */
enum outcome { DIED, DONE, CANNOT, WRONG };
struct result {
    enum outcome outcome;
    double v[MAX_VALUES];
    bool cut[MAX_VALUES]; /* the section was ended for time */
    uint64_t refused;     /* refusals while enough frames were free */
    char why[160];        /* WRONG, DIED */
};

struct bench {
    const struct frames_allocator *a;
    struct frames_range ranges[4];
    unsigned nranges;
    uint64_t total; /* frames in the ranges */
    unsigned nthreads;
    uint64_t seed;
    double limit; /* ns that a timed section may take */
    uint64_t npairs;
    struct result *out;

    void *self;
    unsigned char *storage;
    uint64_t storage_bytes;
    uint64_t *held;                /* frames of all workers, each its share */
    _Atomic unsigned char *stamps; /* one a frame of the span: 1 if somebody has it */
    atomic_uint arrived;
    atomic_uint generation;
};

struct rng {
    uint64_t state;
};

/* One thread. Only it uses its worker until it has ended. */
struct worker {
    struct bench *b;
    unsigned cpu;
    struct rng rng;
    uint64_t *held;
    uint64_t nheld;
    uint64_t share; /* frames that it may hold */
    uint64_t refused;
    double ns[MAX_VALUES]; /* for one operation */
    bool cut[MAX_VALUES];
};

struct row {
    const char *name; /* of the measurement; %s is the size, %u the threads */
    void (*run)(struct bench *b);
    const char *values[MAX_VALUES];
    const char *units[MAX_VALUES];
    bool threaded; /* with --threads, else one */
    bool large;    /* 16 times --size */
    unsigned weight;
};

static struct {
    uint64_t frames;
    unsigned nthreads;
    uint64_t seed;
    double seconds;
    bool quick;
    bool csv;
} opt = { .frames = 4 * GIB, .nthreads = 2, .seed = UINT64_C(0x506c6174), .seconds = 45 };

/* ---- small helpers --------------------------------------------------------------------------- */

_Noreturn static void fail(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    fputs("bench_frames: ", stderr);
    vfprintf(stderr, fmt, ap);
    fputc('\n', stderr);
    va_end(ap);
    exit(2);
}

/* The allocator is wrong: say so to the parent and end this child. Any thread. */
_Noreturn __attribute__((format(printf, 2, 3))) static void wrong(struct bench *b, const char *fmt,
                                                                  ...)
{
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(b->out->why, sizeof(b->out->why), fmt, ap);
    va_end(ap);
    b->out->outcome = WRONG;
    _exit(0);
}

static double now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

/* SplitMix64. */
static uint64_t rng_next(struct rng *r)
{
    uint64_t z = r->state += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

static uint64_t rng_below(struct rng *r, uint64_t bound)
{
    return (uint64_t)((unsigned __int128)rng_next(r) * bound >> 64);
}

static void *map_anon(uint64_t nbytes)
{
    void *p = mmap(NULL, nbytes, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (p == MAP_FAILED) {
        fail("no memory for %" PRIu64 " MiB", nbytes >> 20);
    }
    return p;
}

static uint64_t span_base(const struct bench *b)
{
    return b->ranges[0].base;
}

static uint64_t span_frames(const struct bench *b)
{
    const struct frames_range *last = &b->ranges[b->nranges - 1];

    return last->base + last->count - span_base(b);
}

/* ---- making and dropping an allocator -------------------------------------------------------- */

static void set_ranges(struct bench *b, unsigned n, const struct frames_range *ranges)
{
    b->nranges = n;
    b->total = 0;
    for (unsigned i = 0; i < n; i++) {
        b->ranges[i] = ranges[i];
        b->total += ranges[i].count;
    }
}

/* Storage with a page behind it that must not be touched. */
static void map_storage(struct bench *b)
{
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);

    b->storage_bytes =
        b->a->storage_bytes != NULL ? b->a->storage_bytes(b->ranges, b->nranges, b->nthreads) : 0;
    if (b->storage_bytes == 0) {
        return;
    }
    uint64_t nbytes = (b->storage_bytes + page - 1) / page * page;
    b->storage = map_anon(nbytes + page);
    if (mprotect(b->storage + nbytes, page, PROT_NONE) != 0) {
        fail("mprotect: %s", strerror(errno));
    }
}

static void make(struct bench *b)
{
    b->self = b->a->create(b->ranges, b->nranges, b->nthreads, b->storage, b->storage_bytes);
    if (b->self == NULL) {
        b->out->outcome = CANNOT;
        _exit(0);
    }
}

/* One allocator over frames of one flat range or of those set before, all that it and the harness
 * need already touched. */
static void open_bench(struct bench *b)
{
    map_storage(b);
    if (b->storage != NULL) {
        memset(b->storage, 0xa5, b->storage_bytes);
    }
    b->held = map_anon(b->total * sizeof(b->held[0]));
    memset(b->held, 0xff, b->total * sizeof(b->held[0]));
    b->stamps = map_anon(span_frames(b));
    memset((void *)b->stamps, 0, span_frames(b));
    make(b);
}

static void must_be_free(struct bench *b, uint64_t frames)
{
    uint64_t said = b->a->free_frames != NULL ? b->a->free_frames(b->self) : frames;

    if (said != frames) {
        wrong(b, "counts %" PRIu64 " frames free, but %" PRIu64 " are", said, frames);
    }
}

/* All has been given back. */
static void close_bench(struct bench *b)
{
    must_be_free(b, b->total);
    b->a->destroy(b->self);
}

/* ---- stamps ---------------------------------------------------------------------------------- */

static bool in_ranges(const struct bench *b, uint64_t pfn, uint64_t count)
{
    for (unsigned i = 0; i < b->nranges; i++) {
        const struct frames_range *r = &b->ranges[i];

        if (pfn >= r->base && pfn - r->base < r->count && count <= r->count - (pfn - r->base)) {
            return true;
        }
    }
    return false;
}

/* A block was given: nobody else may have any frame of it. */
static void stamp(struct bench *b, uint64_t pfn, unsigned order)
{
    uint64_t count = UINT64_C(1) << order;

    if (!in_ranges(b, pfn, count)) {
        wrong(b, "hands out 0x%" PRIx64 ", order %u, which is not its", pfn, order);
    }
    if ((pfn & (count - 1)) != 0) {
        wrong(b, "hands out 0x%" PRIx64 ", misaligned for order %u", pfn, order);
    }
    for (uint64_t i = 0; i < count; i++) {
        if (atomic_exchange_explicit(&b->stamps[pfn - span_base(b) + i], 1, memory_order_relaxed) !=
            0) {
            wrong(b, "hands out frame 0x%" PRIx64 " twice", pfn + i);
        }
    }
}

/* A block is about to be given back. */
static void unstamp(struct bench *b, uint64_t pfn, unsigned order)
{
    memset((void *)&b->stamps[pfn - span_base(b)], 0, UINT64_C(1) << order);
}

/* Stamp what a worker holds, and take the stamps off again. */
static void stamp_held(struct worker *w, unsigned order)
{
    for (uint64_t i = 0; i < w->nheld; i++) {
        stamp(w->b, w->held[i], order);
    }
}

static void unstamp_held(struct worker *w, unsigned order)
{
    for (uint64_t i = 0; i < w->nheld; i++) {
        unstamp(w->b, w->held[i], order);
    }
}

/* ---- threads --------------------------------------------------------------------------------- */

/* All workers wait here for the last. Spinning, so that they leave together. */
static void meet(struct bench *b)
{
    unsigned generation = atomic_load(&b->generation);

    if (atomic_fetch_add(&b->arrived, 1) + 1 == b->nthreads) {
        atomic_store(&b->arrived, 0);
        atomic_store(&b->generation, generation + 1);
        return;
    }
    for (unsigned spins = 0; atomic_load(&b->generation) == generation; spins++) {
        if (spins > 10000) { /* fewer processors than threads */
            sched_yield();
        }
    }
}

/* The processor that thread `i` belongs on: those that we may use, in turn. */
static void pin(unsigned i)
{
    cpu_set_t all, one;
    unsigned n;

    if (sched_getaffinity(0, sizeof(all), &all) != 0 || CPU_COUNT(&all) == 0) {
        return;
    }
    n = i % (unsigned)CPU_COUNT(&all);
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (CPU_ISSET(cpu, &all) && n-- == 0) {
            CPU_ZERO(&one);
            CPU_SET(cpu, &one);
            pthread_setaffinity_np(pthread_self(), sizeof(one), &one);
            return;
        }
    }
}

struct start {
    struct worker *w;
    void (*run)(struct worker *w);
};

static void *thread_main(void *arg)
{
    struct start *s = arg;

    pin(s->w->cpu);
    s->run(s->w);
    return NULL;
}

/* `run` in every thread; then the means of what they measured go to the result. */
static void run_workers(struct bench *b, void (*run)(struct worker *w))
{
    struct worker workers[MAX_THREADS];
    struct start starts[MAX_THREADS];
    pthread_t threads[MAX_THREADS];
    uint64_t share = b->total / b->nthreads;

    for (unsigned i = 0; i < b->nthreads; i++) {
        workers[i] = (struct worker){
            .b = b,
            .cpu = i,
            .rng = { b->seed + i },
            .held = b->held + i * share,
            .share = share,
        };
        starts[i] = (struct start){ &workers[i], run };
        if (pthread_create(&threads[i], NULL, thread_main, &starts[i]) != 0) {
            fail("pthread_create: %s", strerror(errno));
        }
    }
    for (unsigned i = 0; i < b->nthreads; i++) {
        pthread_join(threads[i], NULL);
        b->out->refused += workers[i].refused;
        for (unsigned v = 0; v < MAX_VALUES; v++) {
            b->out->v[v] += workers[i].ns[v] / b->nthreads;
            b->out->cut[v] |= workers[i].cut[v];
        }
    }
}

/* ---- timed sections -------------------------------------------------------------------------- */

/* ns an operation since `start`; 0 if there was none. */
static double per_op(double start, uint64_t n)
{
    return n != 0 ? (now_ns() - start) / (double)n : 0;
}

/* Take blocks until `n` more are held, one is refused, or it takes too long. */
static void take(struct worker *w, uint64_t n, unsigned order, unsigned value)
{
    const struct frames_allocator *a = w->b->a;
    void *self = w->b->self;
    uint64_t *to = w->held + w->nheld;
    uint64_t done = 0;
    double start = now_ns();

    while (done < n) {
        uint64_t slice = done + SLICE < n ? done + SLICE : n;

        for (; done < slice; done++) {
            uint64_t pfn = a->get(self, w->cpu, order);

            if (pfn == FRAMES_NONE) {
                w->refused++;
                goto out;
            }
            to[done] = pfn;
        }
        if (now_ns() - start > w->b->limit && done < n) {
            w->cut[value] = true;
            break;
        }
    }
out:
    w->ns[value] = per_op(start, done);
    w->nheld += done;
}

/* Give back all that is held, in the order it was taken. */
static void put_all(struct worker *w, unsigned order, unsigned value)
{
    const struct frames_allocator *a = w->b->a;
    void *self = w->b->self;
    double start = now_ns();

    for (uint64_t i = 0; i < w->nheld; i++) {
        a->put(self, w->cpu, w->held[i], order);
    }
    w->ns[value] = per_op(start, w->nheld);
    w->nheld = 0;
}

/* Everything that belongs to no section's time: fill all, however long it takes. */
static void fill(struct worker *w)
{
    uint64_t pfn;

    while (w->nheld < w->share) {
        pfn = w->b->a->get(w->b->self, w->cpu, 0);
        if (pfn == FRAMES_NONE) {
            w->refused++;
            break;
        }
        w->held[w->nheld++] = pfn;
    }
}

/* Make the first `n` held a random choice in random order. */
static void shuffle(struct worker *w, uint64_t n)
{
    for (uint64_t i = 0; i < n; i++) {
        uint64_t j = i + rng_below(&w->rng, w->nheld - i);
        uint64_t pfn = w->held[i];

        w->held[i] = w->held[j];
        w->held[j] = pfn;
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

/* Stamp what all threads hold, outside of any section, and meet before and after. */
static void verify_held(struct worker *w, unsigned order)
{
    meet(w->b);
    stamp_held(w, order);
    meet(w->b);
    unstamp_held(w, order);
    meet(w->b);
}

/* ---- the rows -------------------------------------------------------------------------------- */

static void bulk_worker(struct worker *w)
{
    meet(w->b);
    take(w, w->share, 0, 0);
    verify_held(w, 0);
    put_all(w, 0, 1);
}

static void run_bulk(struct bench *b)
{
    open_bench(b);
    run_workers(b, bulk_worker);
    close_bench(b);
}

static void repeat_worker(struct worker *w)
{
    const struct frames_allocator *a = w->b->a;
    void *self = w->b->self;
    uint64_t done = 0;

    meet(w->b);
    double start = now_ns();
    while (done < w->b->npairs && !w->cut[0]) {
        for (unsigned i = 0; i < SLICE; i++, done++) {
            uint64_t pfn = a->get(self, w->cpu, 0);

            if (pfn == FRAMES_NONE) {
                w->refused++;
            } else {
                a->put(self, w->cpu, pfn, 0);
            }
        }
        w->cut[0] = now_ns() - start > w->b->limit;
    }
    w->ns[0] = per_op(start, done);
}

static void run_repeat(struct bench *b)
{
    open_bench(b);
    run_workers(b, repeat_worker);
    close_bench(b);
}

/* Put the first held, get another, and so on with the next, `n` times. */
static void swap_singly(struct worker *w, uint64_t n, unsigned value)
{
    const struct frames_allocator *a = w->b->a;
    void *self = w->b->self;
    uint64_t done = 0;
    double start = now_ns();

    while (done < n && !w->cut[value]) {
        for (unsigned i = 0; i < SLICE && done < n; i++, done++) {
            a->put(self, w->cpu, w->held[done], 0);
            w->held[done] = a->get(self, w->cpu, 0);
            w->refused += w->held[done] == FRAMES_NONE;
        }
        w->cut[value] = now_ns() - start > w->b->limit;
    }
    w->ns[value] = per_op(start, done);
}

/* The same by batches. */
static void swap_batches(struct worker *w, uint64_t n, unsigned value)
{
    const struct frames_allocator *a = w->b->a;
    void *self = w->b->self;
    uint64_t done = 0;
    double start = now_ns();

    while (n - done >= BATCH && !w->cut[value]) {
        for (unsigned i = 0; i < SLICE / BATCH && n - done >= BATCH; i++, done += BATCH) {
            uint64_t *pfns = w->held + done;
            unsigned got = 0;

            if (a->put_batch != NULL) {
                a->put_batch(self, w->cpu, pfns, BATCH);
            } else {
                for (unsigned k = 0; k < BATCH; k++) {
                    a->put(self, w->cpu, pfns[k], 0);
                }
            }
            if (a->get_batch != NULL) {
                got = a->get_batch(self, w->cpu, pfns, BATCH);
            } else {
                for (; got < BATCH; got++) {
                    pfns[got] = a->get(self, w->cpu, 0);
                    if (pfns[got] == FRAMES_NONE) {
                        break;
                    }
                }
            }
            for (; got < BATCH; got++, w->refused++) {
                pfns[got] = FRAMES_NONE;
            }
        }
        w->cut[value] = now_ns() - start > w->b->limit;
    }
    w->ns[value] = per_op(start, done);
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

/*
 * Memory is filled, and a tenth of it, frames chosen at random, given back. The frames then put are
 * random ones as well; they were shuffled to the front before, so that walking them costs the
 * harness no cache miss.
 */
static void random_worker(struct worker *w, bool batches)
{
    uint64_t nfree, pairs;

    fill(w);
    nfree = w->nheld / 10;
    pairs = w->b->npairs < w->nheld / 3 ? w->b->npairs : w->nheld / 3;
    shuffle(w, nfree + pairs * (batches ? 2 : 1));
    put_first(w, nfree);
    meet(w->b);
    swap_singly(w, pairs, 0);
    if (batches) {
        w->held += pairs; /* the next ones are still random */
        w->nheld -= pairs;
        swap_batches(w, pairs, 1);
        w->held -= pairs;
        w->nheld += pairs;
    }
    meet(w->b);
    drop_refused(w);
    verify_held(w, 0);
    for (uint64_t i = 0; i < w->nheld; i++) {
        w->b->a->put(w->b->self, w->cpu, w->held[i], 0);
    }
}

static void random_single_worker(struct worker *w)
{
    random_worker(w, false);
}

static void random_both_worker(struct worker *w)
{
    random_worker(w, true);
}

static void run_random(struct bench *b)
{
    open_bench(b);
    run_workers(b, random_single_worker);
    close_bench(b);
}

static void run_random_large(struct bench *b)
{
    open_bench(b);
    run_workers(b, random_both_worker);
    close_bench(b);
}

static void huge_worker(struct worker *w)
{
    take(w, w->share / HUGE_FRAMES, HUGE, 0);
    verify_held(w, HUGE);
    put_all(w, HUGE, 1);
}

/* A few thousand blocks are over too soon for the clock: the mean of several fresh allocators. */
static void run_huge(struct bench *b)
{
    const unsigned times = 8;

    open_bench(b);
    for (unsigned i = 0; i < times; i++) {
        if (i != 0) {
            b->a->destroy(b->self);
            make(b);
        }
        run_workers(b, huge_worker);
        must_be_free(b, b->total);
    }
    b->out->v[0] /= times;
    b->out->v[1] /= times;
    close_bench(b);
}

/* Memory is filled and given back but for one frame in each block of a random half of the blocks;
 * then blocks are taken until there is none. */
static void pinned_worker(struct worker *w)
{
    const struct frames_allocator *a = w->b->a;
    uint64_t nblocks = w->share / HUGE_FRAMES;
    uint64_t *pins = map_anon(nblocks * sizeof(*pins)); /* by block, the frame that stays */
    uint64_t npinned = 0;
    uint64_t refusals = 0;

    fill(w);
    for (uint64_t i = 0; i < nblocks; i++) { /* choose nblocks / 2 out of nblocks */
        bool pin_it = rng_below(&w->rng, nblocks - i) < nblocks / 2 - npinned;

        npinned += pin_it;
        pins[i] = pin_it ? BASE + i * HUGE_FRAMES + rng_below(&w->rng, HUGE_FRAMES) : FRAMES_NONE;
    }
    stamp_held(w, 0);
    unstamp_held(w, 0);
    npinned = 0;
    for (uint64_t i = 0; i < w->nheld; i++) {
        if (pins[(w->held[i] - BASE) / HUGE_FRAMES] == w->held[i]) {
            stamp(w->b, w->held[i], 0);
            w->held[npinned++] = w->held[i];
        } else {
            a->put(w->b->self, w->cpu, w->held[i], 0);
        }
    }
    w->held += npinned;
    w->nheld = 0;
    take(w, nblocks, HUGE, 1); /* ends with a refusal, which is right */
    w->refused = 0;
    w->ns[0] = (double)w->nheld;

    double start = now_ns();
    while (refusals < 10000 && !w->cut[1] && !w->cut[2]) {
        uint64_t pfn = a->get(w->b->self, w->cpu, HUGE);

        if (pfn != FRAMES_NONE) { /* refused before, found now */
            w->held[w->nheld++] = pfn;
            w->refused++;
        }
        refusals++;
        w->cut[2] = refusals % 64 == 0 && now_ns() - start > w->b->limit;
    }
    w->ns[2] = per_op(start, refusals);

    stamp_held(w, HUGE);
    for (uint64_t i = 0; i < w->nheld; i++) {
        a->put(w->b->self, w->cpu, w->held[i], HUGE);
    }
    w->held -= npinned;
    for (uint64_t i = 0; i < npinned; i++) {
        a->put(w->b->self, w->cpu, w->held[i], 0);
    }
}

static void run_pinned(struct bench *b)
{
    open_bench(b);
    run_workers(b, pinned_worker);
    close_bench(b);
}

/*
 * Half of memory, frames chosen at random, is given back; then in each of 100 rounds a random tenth
 * of what is held is given back and as much taken. Nothing is timed: what counts is how many
 * 2 MiB blocks nobody has a frame of, told by the stamps. With perfect packing it is half of all.
 */
static void churn_worker(struct worker *w)
{
    uint64_t whole = 0;

    fill(w);
    shuffle(w, w->nheld / 2);
    put_first(w, w->nheld / 2);

    double start = now_ns();
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
        w->cut[0] = now_ns() - start > 20 * w->b->limit && round + 1 < CHURN_ROUNDS;
    }
    stamp_held(w, 0);
    for (uint64_t at = 0; at + HUGE_FRAMES <= w->share; at += HUGE_FRAMES) {
        whole += memchr((void *)&w->b->stamps[at], 1, HUGE_FRAMES) == NULL;
    }
    w->ns[0] = (double)whole;
    put_first(w, w->nheld);
}

static void run_churn(struct bench *b)
{
    open_bench(b);
    run_workers(b, churn_worker);
    close_bench(b);
}

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
    const unsigned times = 5;
    double ns = 0;

    map_storage(b);
    touched_bytes(); /* its own stack and pages */
    uint64_t before = touched_bytes();
    make(b);
    b->out->v[1] = (double)(touched_bytes() - before) / 1024;
    b->out->v[2] = (double)b->a->meta_bytes(b->self) / 1e6;
    for (unsigned i = 0; i < times; i++) {
        b->a->destroy(b->self);
        double start = now_ns();

        make(b);
        ns += now_ns() - start;
    }
    b->out->v[0] = ns / times / 1e3;
    close_bench(b);
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

static const struct row rows[] = {
    { "all frames, 1 thread", run_bulk, { "get", "put" }, { "ns", "ns" }, .weight = 4 },
    { "all frames, %u threads",
      run_bulk,
      { "get", "put" },
      { "ns", "ns" },
      .threaded = true,
      .weight = 6 },
    { "one frame again and again, 1 thread", run_repeat, { "get+put" }, { "ns" }, .weight = 2 },
    { "one frame again and again, %u threads",
      run_repeat,
      { "get+put" },
      { "ns" },
      .threaded = true,
      .weight = 6 },
    { "random at 90 %% full, 1 thread", run_random, { "put+get" }, { "ns" }, .weight = 6 },
    { "random at 90 %% full, %u threads",
      run_random,
      { "put+get" },
      { "ns" },
      .threaded = true,
      .weight = 8 },
    { "random at 90 %% full, %s",
      run_random_large,
      { "put+get", "put+get, batches of 64" },
      { "ns", "ns" },
      .large = true,
      .weight = 30 },
    { "order 9, fresh", run_huge, { "get", "put" }, { "ns", "ns" }, .weight = 2 },
    { "order 9, half the blocks pinned",
      run_pinned,
      { "found", "get", "refuse" },
      { "blocks", "ns", "ns" },
      .weight = 6 },
    { "half freed, 100 rounds of churn", run_churn, { "whole 2 MiB" }, { "blocks" }, .weight = 20 },
    { "1 TiB, flat",
      run_flat,
      { "start-up", "touched before use", "metadata" },
      { "us", "KiB", "MB" },
      .weight = 6 },
    { "1 TiB with 2 x 32 GiB in it",
      run_islands,
      { "start-up", "touched before use", "metadata" },
      { "us", "KiB", "MB" },
      .weight = 6 },
};
#define NROWS (sizeof(rows) / sizeof(rows[0]))

/* ---- the verifying run ----------------------------------------------------------------------- */

#define VERIFY_HELD 4096
#define VERIFY_OPS  100000

/* Random blocks and batches, every one stamped while it is held; then everything is taken singly:
 * one that loses what comes back has little to give. */
static void verify_worker(struct worker *w)
{
    struct bench *b = w->b;
    const struct frames_allocator *a = b->a;
    uint8_t orders[VERIFY_HELD];
    uint64_t batch[BATCH];

    for (unsigned op = 0; op < VERIFY_OPS; op++) {
        bool batches = a->get_batch != NULL && a->put_batch != NULL && rng_below(&w->rng, 8) == 0;

        if (batches) {
            unsigned want = 1 + (unsigned)rng_below(&w->rng, BATCH);
            unsigned got = a->get_batch(b->self, w->cpu, batch, want);

            if (got > want) {
                wrong(b, "gives %u frames when %u are asked for", got, want);
            }
            for (unsigned i = 0; i < got; i++) {
                stamp(b, batch[i], 0);
            }
            for (unsigned i = 0; i < got; i++) {
                unstamp(b, batch[i], 0);
            }
            a->put_batch(b->self, w->cpu, batch, got);
        } else if (w->nheld < VERIFY_HELD && rng_below(&w->rng, 16) < 9) {
            unsigned order = rng_below(&w->rng, 2) != 0 ? 0 : (unsigned)rng_below(&w->rng, 10);
            uint64_t pfn = a->get(b->self, w->cpu, order);

            if (pfn != FRAMES_NONE) {
                stamp(b, pfn, order);
                orders[w->nheld] = (uint8_t)order;
                w->held[w->nheld++] = pfn;
            }
        } else if (w->nheld != 0) {
            uint64_t i = rng_below(&w->rng, w->nheld);
            uint64_t pfn = w->held[i];
            unsigned order = orders[i];

            w->held[i] = w->held[--w->nheld];
            orders[i] = orders[w->nheld];
            unstamp(b, pfn, order);
            a->put(b->self, w->cpu, pfn, order);
        }
    }
    for (uint64_t i = 0; i < w->nheld; i++) {
        unstamp(b, w->held[i], orders[i]);
        a->put(b->self, w->cpu, w->held[i], orders[i]);
    }
    w->nheld = 0;
    meet(b);
    if (w->cpu == 0) {
        must_be_free(b, b->total);
    }
    meet(b);
    fill(w);
    verify_held(w, 0);
    if (b->nthreads == 1) {
        must_be_free(b, b->total - w->nheld);
        if (w->nheld < b->total / 4 * 3) {
            wrong(b, "has %" PRIu64 " of %" PRIu64 " frames left when all came back", w->nheld,
                  b->total);
        }
    }
    for (uint64_t i = 0; i < w->nheld; i++) {
        a->put(b->self, w->cpu, w->held[i], 0);
    }
}

static void verify_flat(struct bench *b)
{
    set_ranges(b, 1, (struct frames_range[]){ { BASE, GIB / 4 } });
    open_bench(b);
    run_workers(b, verify_worker);
    close_bench(b);
}

static void verify_ragged(struct bench *b)
{
    set_ranges(b, 4,
               (struct frames_range[]){ { BASE + 3, 1000 },
                                        { BASE + 2048, 8192 + 77 },
                                        { BASE + 2048 + 8192 + 79, 1 },
                                        { BASE + GIB + 511, 40000 } });
    open_bench(b);
    run_workers(b, verify_worker);
    close_bench(b);
}

/* ---- children -------------------------------------------------------------------------------- */

/* Run `run` in a child with everything set as the row says; its answer is in *b->out. */
static void measure(struct bench *b, void (*run)(struct bench *b))
{
    int status;

    *b->out = (struct result){ .outcome = DIED };
    fflush(stdout);
    pid_t child = fork();
    if (child < 0) {
        fail("fork: %s", strerror(errno));
    }
    if (child == 0) {
        alarm(HANG_SECONDS);
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        run(b);
        b->out->outcome = DONE;
        _exit(0);
    }
    while (waitpid(child, &status, 0) < 0) {
        if (errno != EINTR) {
            fail("waitpid: %s", strerror(errno));
        }
    }
    if (WIFSIGNALED(status)) {
        b->out->outcome = DIED;
        snprintf(b->out->why, sizeof(b->out->why),
                 WTERMSIG(status) == SIGALRM ? "hangs for %d s" : "ends by signal %d",
                 WTERMSIG(status) == SIGALRM ? HANG_SECONDS : WTERMSIG(status));
    } else if (WEXITSTATUS(status) != 0) {
        b->out->outcome = DIED;
        snprintf(b->out->why, sizeof(b->out->why), "exits with status %d", WEXITSTATUS(status));
    }
}

/* What the rounds of a row gave for one allocator. */
struct cells {
    unsigned n; /* rounds */
    double v[MAX_VALUES][MAX_ROUNDS];
    bool cut[MAX_VALUES];
    uint64_t refused; /* in the worst round */
    bool cannot;
};

static struct cells cells[NROWS][MAX_ALLOCATORS];
static const struct frames_allocator *allocators[MAX_ALLOCATORS];
static unsigned nallocators;
static char broken[MAX_ALLOCATORS][256]; /* why it has no figures; empty if it has */

static void name_row(const struct row *r, char *buf, size_t nbytes)
{
    uint64_t mib = opt.frames * 16 / 256;
    char size[32];

    snprintf(size, sizeof(size), mib % 1024 == 0 ? "%" PRIu64 " GiB" : "%" PRIu64 " MiB",
             mib % 1024 == 0 ? mib / 1024 : mib);
    buf[0] = '\0';
    for (const char *c = r->name; *c != '\0'; c++) {
        size_t n = strlen(buf);

        if (*c != '%') {
            snprintf(buf + n, nbytes - n, "%c", *c);
            continue;
        }
        c++;
        if (*c == 'u') {
            snprintf(buf + n, nbytes - n, "%u", opt.nthreads);
        } else {
            snprintf(buf + n, nbytes - n, "%s", *c == 's' ? size : "%");
        }
    }
}

/* One measurement; false if the allocator is out from now on. */
static bool measure_cell(struct bench *b, const struct row *r, unsigned which)
{
    struct cells *c = &cells[r - rows][which];
    char name[64];

    measure(b, r->run);
    if (b->out->outcome == CANNOT) {
        c->cannot = true;
        return true;
    }
    if (b->out->outcome != DONE) {
        name_row(r, name, sizeof(name));
        snprintf(broken[which], sizeof(broken[which]), "%s (%s)", b->out->why, name);
        return false;
    }
    for (unsigned v = 0; v < MAX_VALUES; v++) {
        c->v[v][c->n] = b->out->v[v];
        c->cut[v] |= b->out->cut[v];
    }
    c->refused = c->refused > b->out->refused ? c->refused : b->out->refused;
    c->n++;
    return true;
}

static void set_row(struct bench *b, const struct row *r, unsigned round)
{
    b->nthreads = r->threaded ? opt.nthreads : 1;
    b->seed = opt.seed + round * 1000 + (uint64_t)(r - rows) * 100000;
    b->limit = opt.quick ? 5e7 : 5e8;
    b->npairs = opt.quick ? 20 * SLICE : 500 * SLICE;
    set_ranges(b, 1, (struct frames_range[]){ { BASE, opt.frames * (r->large ? 16 : 1) } });
}

static void measure_all(struct result *shared)
{
    double spent[NROWS] = { 0 };
    unsigned weights = 0;

    for (unsigned r = 0; r < NROWS; r++) {
        weights += rows[r].weight;
    }
    for (unsigned round = 0; round < (opt.quick ? 1 : MAX_ROUNDS); round++) {
        for (unsigned r = 0; r < NROWS; r++) {
            double share = opt.seconds * 1e9 * rows[r].weight / weights;

            if (round >= MIN_ROUNDS && spent[r] + spent[r] / round > share) {
                spent[r] = 1e18; /* enough: the rounds of a row are the first ones */
                continue;
            }
            double start = now_ns();
            for (unsigned i = 0; i < nallocators; i++) {
                unsigned which = (i + round) % nallocators;
                struct bench b = { .a = allocators[which], .out = shared };

                if (broken[which][0] == '\0' && !cells[r][which].cannot) {
                    set_row(&b, &rows[r], round);
                    measure_cell(&b, &rows[r], which);
                }
            }
            spent[r] += now_ns() - start;
        }
    }
}

static void verify_all(struct result *shared)
{
    for (unsigned i = 0; i < nallocators; i++) {
        for (unsigned pass = 0; pass < 4 && broken[i][0] == '\0'; pass++) {
            struct bench b = {
                .a = allocators[i],
                .out = shared,
                .nthreads = pass % 2 == 0 ? 1 : opt.nthreads,
                .seed = opt.seed + pass,
            };

            measure(&b, pass < 2 ? verify_flat : verify_ragged);
            if (shared->outcome == WRONG || shared->outcome == DIED) {
                snprintf(broken[i], sizeof(broken[i]), "%s (verifying run, %u threads)",
                         shared->why, b.nthreads);
            } else if (!opt.csv && shared->outcome == CANNOT) {
                printf("%s does not manage %s\n", allocators[i]->name,
                       pass < 2 ? "256 MiB" : "ragged ranges with holes");
                pass |= 1; /* nor with more threads */
            } else if (!opt.csv && shared->refused != 0) {
                printf("%s refuses while frames are free (verifying run, %u threads)\n",
                       allocators[i]->name, b.nthreads);
            }
        }
    }
}

/* ---- the table ------------------------------------------------------------------------------- */

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;

    return (x > y) - (x < y);
}

static double median(const struct cells *c, unsigned v)
{
    double sorted[MAX_ROUNDS];

    memcpy(sorted, c->v[v], c->n * sizeof(sorted[0]));
    qsort(sorted, c->n, sizeof(sorted[0]), compare_doubles);
    return c->n % 2 != 0 ? sorted[c->n / 2] : (sorted[c->n / 2 - 1] + sorted[c->n / 2]) / 2;
}

/* The column of the bitmap that ratios are taken to; -1 if it is not in the run. */
static int base_column(void)
{
    for (unsigned i = 0; i < nallocators; i++) {
        if (allocators[i] == &frames_bitmap && broken[i][0] == '\0') {
            return (int)i;
        }
    }
    return -1;
}

static const char *no_figure(unsigned which, const struct cells *c)
{
    return broken[which][0] != '\0' ? "WRONG" : c->cannot ? "cannot" : NULL;
}

static void text_of(char *buf, size_t nbytes, double v)
{
    snprintf(buf, nbytes, v >= 1000 || v == (double)(long)v ? "%.0f" : "%.1f", v);
}

static void ratio_text(char *buf, size_t nbytes, unsigned r, unsigned v, unsigned which)
{
    int base = base_column();

    buf[0] = '\0';
    if (base < 0 || cells[r][base].n == 0 || median(&cells[r][base], v) <= 0) {
        return;
    }
    double ratio = median(&cells[r][which], v) / median(&cells[r][base], v);
    snprintf(buf, nbytes, ratio < 0.995 ? "%.2f" : ratio < 99.95 ? "%.1f" : "%.0f", ratio);
}

static void print_value(unsigned r, unsigned v)
{
    char name[64], what[112], text[32], ratio[32];
    unsigned rounds = 0;

    name_row(&rows[r], name, sizeof(name));
    snprintf(what, sizeof(what), "%s: %s", name, rows[r].values[v]);
    for (unsigned i = 0; i < nallocators; i++) {
        rounds = rounds > cells[r][i].n ? rounds : cells[r][i].n;
    }
    if (!opt.csv) {
        printf("%-60s %-6s %2u ", what, rows[r].units[v], rounds);
    }
    for (unsigned i = 0; i < nallocators; i++) {
        const struct cells *c = &cells[r][i];
        const char *none = no_figure(i, c);
        const char *mark = none != NULL ? "" : c->cut[v] ? "~" : c->refused != 0 ? "!" : "";

        if (none == NULL) {
            text_of(text, sizeof(text), median(c, v));
            ratio_text(ratio, sizeof(ratio), r, v, i);
        } else {
            snprintf(text, sizeof(text), "%s", none);
            ratio[0] = '\0';
        }
        if (opt.csv) {
            printf("\"%s\",\"%s\",%s,%s,%s,%s,%s,%u,%" PRIu64 "\n", name, rows[r].values[v],
                   rows[r].units[v], allocators[i]->name, text, ratio, mark, c->n, c->refused);
        } else {
            printf(" %9s%1s %6s%s", text, mark, ratio, ratio[0] != '\0' ? "x" : " ");
        }
    }
    if (!opt.csv) {
        putchar('\n');
    }
}

static void print_notes(void)
{
    bool cut = false;

    for (unsigned r = 0; r < NROWS; r++) {
        char name[64];

        name_row(&rows[r], name, sizeof(name));
        for (unsigned i = 0; i < nallocators; i++) {
            for (unsigned v = 0; v < MAX_VALUES; v++) {
                cut |= broken[i][0] == '\0' && cells[r][i].cut[v];
            }
            if (broken[i][0] == '\0' && cells[r][i].refused != 0) {
                printf("! %s: %s refused %" PRIu64 " times while enough was free\n", name,
                       allocators[i]->name, cells[r][i].refused);
            }
        }
    }
    if (cut) {
        printf("~ cut for time: the figure is of the part that was done\n");
    }
    if (opt.quick) {
        printf("--quick: one short round, figures are not meant to be compared\n");
    }
}

static void print_table(void)
{
    if (opt.csv) {
        puts("work,value,unit,allocator,median,ratio to bitmap,mark,rounds,refused");
    } else {
        printf("\n%-60s %-6s %2s ", "", "unit", "n");
        for (unsigned i = 0; i < nallocators; i++) {
            printf(" %9.9s %8s", allocators[i]->name, "");
        }
        putchar('\n');
    }
    for (unsigned r = 0; r < NROWS; r++) {
        for (unsigned v = 0; v < MAX_VALUES && rows[r].values[v] != NULL; v++) {
            print_value(r, v);
        }
    }
    if (!opt.csv) {
        print_notes();
    }
}

/* ---- command line ---------------------------------------------------------------------------- */

static const char help[] =
    "usage: bench_frames [OPTION]...\n"
    "Measure allocators of page frames beside each other; ratios are to the bitmap.\n\n"
    "  --size SIZE     memory managed, 4G unless said; with M or G; the large row has 16 times it\n"
    "  --threads N     threads of the rows with several, 2 unless said\n"
    "  --only NAME,..  these of bitmap, buddy, plat and those of --so\n"
    "  --so FILE       also the allocator in this shared object (tests/bench/frames.h)\n"
    "  --seed N        of all random choices\n"
    "  --seconds N     to aim at in all, 45 unless said; no row has fewer than 3 rounds\n"
    "  --quick         one short round over little memory: does it all work?\n"
    "  --csv           a line a figure\n"
    "  --help\n\n"
    "Exit status: 0 if all allocators are right, 1 if one is wrong, 2 for anything else.\n";

static void add_allocator(const struct frames_allocator *a, const char *from)
{
    if (a->version != FRAMES_VERSION) {
        fail("%s: adapter version %u, wanted %u", from, a->version, FRAMES_VERSION);
    }
    if (nallocators == MAX_ALLOCATORS) {
        fail("no more than %d allocators", MAX_ALLOCATORS);
    }
    allocators[nallocators++] = a;
}

static void add_object(const char *path)
{
    void *object = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    const struct frames_allocator *a = object != NULL ? dlsym(object, FRAMES_SYMBOL) : NULL;

    if (a == NULL) {
        fail("%s", dlerror());
    }
    add_allocator(a, path);
}

static uint64_t parse_number(const char *option, const char *text, uint64_t min, uint64_t max)
{
    char *end;
    uint64_t v = strtoull(text, &end, 0);

    if (end == text || *end != '\0' || v < min || v > max) {
        fail("%s %s: want a number from %" PRIu64 " to %" PRIu64, option, text, min, max);
    }
    return v;
}

/* Frames of a size such as 4G or 512M: whole blocks of 2 MiB, at least 16 MiB. */
static uint64_t parse_size(const char *text)
{
    char *end;
    uint64_t v = strtoull(text, &end, 0);
    uint64_t unit = *end == 'G' ? GIB : *end == 'M' ? GIB / 1024 : 0;

    if (end == text || unit == 0 || end[1] != '\0' || v > 4096 * 1024 || v * unit < 16 * 256 ||
        v * unit > 1024 * GIB || v * unit % HUGE_FRAMES != 0) {
        fail("--size %s: want a size from 16M to 1024G, such as 4G", text);
    }
    return v * unit;
}

/* Keep the allocators that a list of names has, in its order. */
static void choose(char *names)
{
    const struct frames_allocator *all[MAX_ALLOCATORS];
    unsigned n = nallocators;

    memcpy(all, allocators, sizeof(all));
    nallocators = 0;
    for (char *name = strtok(names, ","); name != NULL; name = strtok(NULL, ",")) {
        unsigned i = 0;

        while (i < n && strcmp(all[i]->name, name) != 0) {
            i++;
        }
        if (i == n) {
            fail("--only %s: there is no such allocator", name);
        }
        add_allocator(all[i], name);
    }
}

static void parse(int argc, char **argv)
{
    static const struct option options[] = {
        { "size", required_argument, NULL, 's' }, { "threads", required_argument, NULL, 't' },
        { "only", required_argument, NULL, 'o' }, { "so", required_argument, NULL, 'f' },
        { "seed", required_argument, NULL, 'r' }, { "seconds", required_argument, NULL, 'b' },
        { "quick", no_argument, NULL, 'q' },      { "csv", no_argument, NULL, 'c' },
        { "help", no_argument, NULL, 'h' },       { NULL, 0, NULL, 0 },
    };
    bool sized = false;
    char *only = NULL;
    int c;

    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (c) {
        case 's':
            opt.frames = parse_size(optarg);
            sized = true;
            break;
        case 't':
            opt.nthreads = (unsigned)parse_number("--threads", optarg, 1, MAX_THREADS);
            break;
        case 'o':
            only = optarg;
            break;
        case 'f':
            add_object(optarg);
            break;
        case 'r':
            opt.seed = parse_number("--seed", optarg, 0, UINT64_MAX);
            break;
        case 'b':
            opt.seconds = (double)parse_number("--seconds", optarg, 1, 86400);
            break;
        case 'q':
            opt.quick = true;
            break;
        case 'c':
            opt.csv = true;
            break;
        case 'h':
            fputs(help, stdout);
            exit(0);
        default:
            exit(2);
        }
    }
    if (optind != argc) {
        fail("%s: what is that? See --help", argv[optind]);
    }
    if (opt.quick && !sized) {
        opt.frames = GIB / 16;
    }
    if (only != NULL) {
        choose(only);
    }
}

int main(int argc, char **argv)
{
    struct result *shared =
        mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int status = 0;

    if (shared == MAP_FAILED) {
        fail("mmap: %s", strerror(errno));
    }
    add_allocator(&frames_bitmap, "bitmap");
    add_allocator(&frames_buddy, "buddy");
    add_allocator(&frames_plat, "plat");
    parse(argc, argv);
    prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0); /* children inherit it */
    if (!opt.csv) {
        printf("%" PRIu64 " MiB, seed 0x%" PRIx64 ", %u threads, %ld processors, built by %s\n",
               opt.frames / 256, opt.seed, opt.nthreads, sysconf(_SC_NPROCESSORS_ONLN),
               __VERSION__);
    }
    verify_all(shared);
    measure_all(shared);
    print_table();
    for (unsigned i = 0; i < nallocators; i++) {
        if (broken[i][0] != '\0') {
            printf("%s%s is WRONG: %s\n", opt.csv ? "# " : "", allocators[i]->name, broken[i]);
            status = 1;
        }
    }
    return status;
}
