/*
 * rows.c - the measurements, each a function that runs in a child forked for it.
 *
 * A row makes the allocator, starts its threads, measures, stamps what is held, gives all back and
 * sees that the allocator counts it. bench_frames.c says why so.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "bench.h"

#define BATCH        64
#define HUGE         9 /* order of 2 MiB */
#define CHURN_ROUNDS 100

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

/* ---- small helpers --------------------------------------------------------------------------- */

_Noreturn void fail(const char *fmt, ...)
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

double now_ns(void)
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

void set_ranges(struct bench *b, unsigned n, const struct frames_range *ranges)
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
    uint64_t refused;

    fill(w);
    refused = w->refused;
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
    w->refused = refused;
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

const struct row rows[NROWS] = {
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
    { "random at 90 % full, 1 thread", run_random, { "put+get" }, { "ns" }, .weight = 6 },
    { "random at 90 % full, %u threads",
      run_random,
      { "put+get" },
      { "ns" },
      .threaded = true,
      .weight = 8 },
    { "random at 90 % full, %s",
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
_Static_assert(sizeof(rows) / sizeof(rows[0]) == NROWS, "bench.h says how many rows there are");

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

void verify_flat(struct bench *b)
{
    set_ranges(b, 1, (struct frames_range[]){ { BASE, GIB / 4 } });
    open_bench(b);
    run_workers(b, verify_worker);
    close_bench(b);
}

void verify_ragged(struct bench *b)
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
