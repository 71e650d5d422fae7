/*
 * heap_replay.c - a trace is played to an allocator, in a process of its own.
 *
 * Speed. The trace is played once untimed, which maps the memory and moves it into huge pages, what
 * is left is freed, and the second pass is timed. The operations that build up a synthetic trace's
 * blocks are not timed in either. A pass stores one byte at the start of every block it gets, since
 * the next thing that a program does is to write there, and pays for the cache miss.
 *
 * The slowest operation. Time is taken around each one, and each counts with the fastest of several
 * passes: an interrupt does not hit the same operation every time, and what an operation has to do
 * is the same in each pass. Resizing is left out, whose time is mostly that of copying.
 *
 * Footprint. An allocator over an arena gets smaller and smaller ones, by bisection, down to one in
 * which the trace is not refused anything. For others every page of every block is written, without
 * huge pages, and the process' anonymous memory is looked up at the peak and at SAMPLES moments
 * beside it; from that the program takes away what the same process has with no allocator.
 *
 * Who is slow. A pass that exceeds its limit ends there: the figure is of what was done, and the
 * first pass is the only one, for the second would have to begin with freeing everything.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "heap_bench.h"

#define SLICE        1024 /* operations between two looks at the clock, if there is a limit */
#define PASSES       3    /* over which an operation's fastest time is taken */
#define SAMPLES      128
#define HUGE_PAGE    UINT64_C(0x200000)
#define PAGE         UINT64_C(4096)
#define GRANULE      8  /* bytes for a bit of the map that shows overlaps */
#define PATTERN      16 /* bytes at each end of a block that is verified */
#define ADDRESS_BITS 47
#define THREAD_ARENA (UINT64_C(1) << 28)

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

/* A trace, and the allocator that plays it. */
struct player {
    struct job *job;
    const struct heap_allocator *a;
    void *self;
    struct trace t;
    void **blocks; /* by number; NULL: not there */
    unsigned char *arena;
    size_t arena_bytes;
};

void job_wrong(struct job *j, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(j->why, sizeof(j->why), fmt, ap);
    va_end(ap);
    j->outcome = WRONG;
    _exit(0);
}

void job_set(struct job *j, enum value which, double v)
{
    j->v[which] = v;
    j->has[which] = true;
}

/* ---- what the kernel says of this process ---------------------------------------------------- */

/* A file of /proc/self as text, empty where there is none. Nothing here may allocate. */
static const char *read_proc(const char *path)
{
    static char text[1 << 20];
    size_t n = 0;
    ssize_t got;
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    while (fd >= 0 && (got = read(fd, text + n, sizeof(text) - 1 - n)) > 0) {
        n += (size_t)got;
    }
    if (fd >= 0) {
        close(fd);
    }
    text[n] = '\0';
    return text;
}

static double rollup_bytes(const char *field)
{
    const char *at = strstr(read_proc("/proc/self/smaps_rollup"), field);

    return at != NULL ? 1024 * strtod(at + strlen(field), NULL) : 0;
}

static double anonymous_bytes(void)
{
    return rollup_bytes("\nAnonymous:");
}

/* Move all memory of the process that can be into huge pages. An older kernel does what it will. */
static void use_huge_pages(void)
{
    for (const char *line = read_proc("/proc/self/maps"); line != NULL && *line != '\0';) {
        unsigned long begin, end, inode;
        char prot[8];

        if (sscanf(line, "%lx-%lx %7s %*x %*s %lu", &begin, &end, prot, &inode) == 4 &&
            strcmp(prot, "rw-p") == 0 && inode == 0 && end - begin >= HUGE_PAGE) {
            madvise((void *)begin, end - begin, MADV_HUGEPAGE);
            /* One by one: a call for all ends where nothing was touched yet. */
            begin = (begin + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
            for (; begin + HUGE_PAGE <= end; begin += HUGE_PAGE) {
                madvise((void *)begin, HUGE_PAGE, MADV_COLLAPSE);
            }
        }
        line = strchr(line, '\n');
        line += line != NULL;
    }
}

/* ---- playing --------------------------------------------------------------------------------- */

static void open_over(struct player *p, size_t nbytes)
{
    memset(p->blocks, 0, p->t.header->nids * sizeof(p->blocks[0]));
    p->self = p->a->open(p->arena, nbytes);
    if (p->self != NULL && p->a->enter != NULL) {
        p->a->enter(p->self, 0);
    }
}

/* The block that was made or resized, NULL if that was refused; of a free, what was freed. */
static inline void *play_op(struct player *p, struct trace_op op)
{
    void **block = &p->blocks[trace_id(op)];
    void *was = *block;
    void *is = NULL;

    switch (trace_kind(op)) {
    case TRACE_ALLOC:
        is = p->a->alloc(p->self, op.nbytes);
        break;
    case TRACE_FREE:
        p->a->free(p->self, was);
        *block = NULL;
        return was;
    case TRACE_REALLOC:
        is = p->a->realloc(p->self, was, op.nbytes);
        break;
    case TRACE_ALIGNED:
        is = p->a->alloc_aligned != NULL ? p->a->alloc_aligned(p->self, trace_align(op), op.nbytes)
                                         : p->a->alloc(p->self, op.nbytes + trace_align(op));
        break;
    }
    if (is != NULL) {
        *block = is;
    }
    return is;
}

static _Noreturn void refused(struct player *p, uint64_t at)
{
    job_wrong(p->job, "refuses %u bytes (operation %" PRIu64 ")", p->t.ops[at].nbytes, at);
}

/* [from, to), or until this thread has run for `limit` ns. Returns up to where. */
static uint64_t play(struct player *p, uint64_t from, uint64_t to, double limit)
{
    double end = thread_ns() + limit;
    uint64_t i = from;

    while (i < to) {
        uint64_t stop = to - i < SLICE ? to : i + SLICE;

        for (; i < stop; i++) {
            struct trace_op op = p->t.ops[i];
            unsigned char *block = play_op(p, op);

            if (block == NULL) {
                refused(p, i);
            }
            if (trace_kind(op) != TRACE_FREE) {
                *(volatile unsigned char *)block = 1;
            }
        }
        if (limit < INFINITY && thread_ns() > end) {
            break;
        }
    }
    return i;
}

/* Free what is left; false if that takes longer than a pass may. */
static bool drain(struct player *p)
{
    double end = thread_ns() + p->job->limit;

    for (uint32_t id = 0; id < p->t.header->nids; id++) {
        if (p->blocks[id] != NULL) {
            p->a->free(p->self, p->blocks[id]);
            p->blocks[id] = NULL;
        }
        if (id % SLICE == 0 && thread_ns() > end) {
            return false;
        }
    }
    return true;
}

static void build(struct player *p)
{
    play(p, 0, p->t.header->nbuild, INFINITY);
}

static uint64_t page_faults(void)
{
    struct rusage r;

    getrusage(RUSAGE_SELF, &r);
    return (uint64_t)(r.ru_minflt + r.ru_majflt);
}

/* ---- speed ----------------------------------------------------------------------------------- */

/* The first pass; false if it is all there is. */
static bool warm_up(struct player *p)
{
    const struct trace_header *h = p->t.header;
    uint64_t peak = p->job->peak_at >= h->nbuild ? p->job->peak_at + 1 : h->nbuild;
    double spent, start;
    uint64_t done;

    build(p);
    start = thread_ns();
    done = play(p, h->nbuild, peak, p->job->limit);
    spent = thread_ns() - start;
    if (done == peak) {
        use_huge_pages();
        if (anonymous_bytes() > 0) {
            job_set(p->job, VALUE_HUGE, 100 * rollup_bytes("\nAnonHugePages:") / anonymous_bytes());
        }
        start = thread_ns();
        done = play(p, peak, h->nops, p->job->limit - spent);
        spent += thread_ns() - start;
    }
    if (done == h->nops && drain(p)) {
        return true;
    }
    job_set(p->job, VALUE_TIME, spent / (double)(done - h->nbuild));
    p->job->cut = done - h->nbuild;
    return false;
}

static void measure_speed(struct player *p)
{
    const struct trace_header *h = p->t.header;
    double nops = (double)(h->nops - h->nbuild);

    if (!warm_up(p)) {
        return;
    }
    build(p);

    uint64_t faults = page_faults();
    double start = thread_ns();

    play(p, h->nbuild, h->nops, INFINITY);
    job_set(p->job, VALUE_TIME, (thread_ns() - start) / nops);
    job_set(p->job, VALUE_FAULTS, 1000 * (double)(page_faults() - faults) / nops);
}

/* ---- the slowest operation ------------------------------------------------------------------- */

static inline uint64_t ticks_before(void)
{
    uint32_t lo, hi;

    __asm__ volatile("lfence\n\trdtsc\n\tlfence" : "=a"(lo), "=d"(hi)::"memory");
    return (uint64_t)hi << 32 | lo;
}

static inline uint64_t ticks_after(void)
{
    uint32_t lo, hi, cpu;

    __asm__ volatile("rdtscp\n\tlfence" : "=a"(lo), "=d"(hi), "=c"(cpu)::"memory");
    return (uint64_t)hi << 32 | lo;
}

/* As play(), and each operation's ticks go to best[] if they are fewer. */
static uint64_t play_timed(struct player *p, uint32_t *best, double limit)
{
    uint64_t nops = p->t.header->nops;
    double end = thread_ns() + limit;
    uint64_t i = p->t.header->nbuild;

    for (; i < nops && (i % SLICE != 0 || thread_ns() <= end); i++) {
        struct trace_op op = p->t.ops[i];
        uint64_t start = ticks_before();
        unsigned char *block = play_op(p, op);
        uint64_t ticks = ticks_after() - start;

        if (block == NULL) {
            refused(p, i);
        }
        if (trace_kind(op) != TRACE_FREE) {
            *(volatile unsigned char *)block = 1;
        }
        if (ticks < best[i]) {
            best[i] = (uint32_t)ticks;
        }
    }
    return i;
}

static int compare_ticks(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a;
    uint32_t y = *(const uint32_t *)b;

    return (x > y) - (x < y);
}

static void measure_latency(struct player *p)
{
    const struct trace_header *h = p->t.header;
    uint32_t *best = map_touched(h->nops * sizeof(best[0]), 0xff);
    double start_ns = now_ns();
    uint64_t start = ticks_before();
    uint64_t done;

    build(p);
    done = play_timed(p, best, p->job->limit);
    if (done == h->nops && drain(p)) {
        use_huge_pages();
        memset(best, 0xff, h->nops * sizeof(best[0])); /* the page faults of the first pass */
        for (unsigned pass = 0; pass < PASSES; pass++) {
            build(p);
            play_timed(p, best, INFINITY);
            drain(p);
        }
    } else {
        p->job->cut = done - h->nbuild;
    }

    double ns = (now_ns() - start_ns) / (double)(ticks_after() - start); /* for a tick */
    uint64_t n = 0;

    for (uint64_t i = h->nbuild; i < done; i++) {
        if (trace_kind(p->t.ops[i]) != TRACE_REALLOC) {
            best[n++] = best[i];
        }
    }
    if (n != 0) {
        qsort(best, n, sizeof(best[0]), compare_ticks);
        job_set(p->job, VALUE_9999, ns * best[n - 1 - n / 10000]);
        job_set(p->job, VALUE_SLOWEST, ns * best[n - 1]);
    }
}

/* ---- footprint ------------------------------------------------------------------------------- */

/* What the first `nops` operations have live at most, and where. */
static uint64_t peak_of(const struct trace *t, uint64_t nops, uint64_t *at)
{
    uint32_t *sizes = map_touched(t->header->nids * sizeof(sizes[0]), 0);
    uint64_t live = 0;
    uint64_t peak = 0;

    for (uint64_t i = 0; i < nops; i++) {
        uint32_t *size = &sizes[trace_id(t->ops[i])];

        live = live - *size + t->ops[i].nbytes;
        *size = t->ops[i].nbytes;
        if (live > peak) {
            peak = live;
            *at = i;
        }
    }
    return peak;
}

/* Up to the peak, in the largest arena: what do the blocks have that nobody asked for? */
static void measure_inside(struct player *p, uint64_t peak, uint64_t peak_at)
{
    uint64_t usable = 0;

    if (p->a->usable == NULL) {
        return;
    }
    open_over(p, p->arena_bytes);
    play(p, 0, peak_at + 1, INFINITY);
    for (uint32_t id = 0; id < p->t.header->nids; id++) {
        usable += p->blocks[id] != NULL ? p->a->usable(p->self, p->blocks[id]) : 0;
    }
    job_set(p->job, VALUE_INSIDE, (double)usable / (double)peak);
}

static bool fits(struct player *p, size_t nbytes, uint64_t nops)
{
    uint64_t i = 0;

    open_over(p, nbytes);
    if (p->self == NULL) {
        return false;
    }
    while (i < nops && play_op(p, p->t.ops[i]) != NULL) {
        i++;
    }
    return i == nops;
}

static void measure_arena(struct player *p)
{
    const struct trace_header *h = p->t.header;
    uint64_t nops, peak, peak_at = 0;

    build(p);
    nops = play(p, h->nbuild, h->nops, p->job->limit);
    if (nops < h->nops) {
        p->job->cut = nops - h->nbuild;
    }
    peak = peak_of(&p->t, nops, &peak_at);

    size_t step = peak / 2048 > 64 ? peak / 2048 / 64 * 64 : 64;
    size_t bad = 0;
    size_t good = (p->arena_bytes + step - 1) / step;

    while (good - bad > 1) {
        size_t middle = bad + (good - bad) / 2;

        if (fits(p, middle * step, nops)) {
            good = middle;
        } else {
            bad = middle;
        }
    }
    job_set(p->job, VALUE_FOOTPRINT, (double)(good * step) / (double)peak);
    measure_inside(p, peak, peak_at);
}

static void touch_pages(unsigned char *block, size_t nbytes)
{
    for (size_t at = 0; at < nbytes; at += PAGE) {
        *(volatile unsigned char *)(block + at) = 1;
    }
    *(volatile unsigned char *)(block + nbytes - 1) = 1;
}

/* The process' anonymous memory at its peak, in bytes. */
static void measure_resident(struct player *p)
{
    uint64_t nops = p->t.header->nops;
    uint64_t every = nops / SAMPLES + 1;
    double most = 0;

    for (uint64_t i = 0; i < nops; i++) {
        struct trace_op op = p->t.ops[i];
        unsigned char *block = play_op(p, op);

        if (block == NULL) {
            refused(p, i);
        }
        if (trace_kind(op) != TRACE_FREE && p->a != &heap_loop) {
            touch_pages(block, op.nbytes);
        }
        if (i % every == 0 || i == p->job->peak_at) {
            double now = anonymous_bytes();

            most = now > most ? now : most;
        }
    }
    if (most > 0) {
        job_set(p->job, VALUE_FOOTPRINT, most);
    }
    measure_inside(p, p->job->peak_bytes, p->job->peak_at);
}

/* ---- is it right? ---------------------------------------------------------------------------- */

/* What verification knows of the blocks. */
struct shadow {
    uint64_t *bits;  /* one for each granule of the address space: somebody has it */
    uint32_t *sizes; /* by number */
};

/* Set the bits of a block, which must be clear, or clear them. */
static void shadow_mark(struct player *p, struct shadow *s, const void *block, size_t nbytes,
                        bool set)
{
    uint64_t first = (uintptr_t)block / GRANULE;
    uint64_t end = ((uintptr_t)block + nbytes + GRANULE - 1) / GRANULE;

    for (uint64_t i = first; i < end;) {
        uint64_t n = 64 - i % 64 < end - i ? 64 - i % 64 : end - i;
        uint64_t mask = (n == 64 ? UINT64_MAX : (UINT64_C(1) << n) - 1) << i % 64;

        if (set && (s->bits[i / 64] & mask) != 0) {
            job_wrong(p->job, "hands out %zu bytes that overlap another block", nbytes);
        }
        s->bits[i / 64] ^= mask;
        i += n;
    }
}

static unsigned char pattern(uint32_t id, size_t at)
{
    return (unsigned char)(id * 37 + id / 256 * 101 + at * 11 + 1);
}

/* Write the patterns at both ends. */
static void stamp_ends(unsigned char *block, uint32_t id, size_t nbytes)
{
    for (size_t i = 0; i < nbytes; i++) {
        if (i == PATTERN && nbytes > 2 * PATTERN) {
            i = nbytes - PATTERN;
        }
        block[i] = pattern(id, i);
    }
}

/* A block of `nbytes` has kept the first `kept` of them. */
static void check_ends(struct player *p, const unsigned char *block, uint32_t id, size_t nbytes,
                       size_t kept)
{
    for (size_t i = 0; i < kept; i++) {
        if (i == PATTERN && nbytes > 2 * PATTERN) {
            i = nbytes - PATTERN;
        }
        if (i < kept && block[i] != pattern(id, i)) {
            job_wrong(p->job, "a block of %zu bytes has another byte at %zu than was written",
                      nbytes, i);
        }
    }
}

static void check_block(struct player *p, const unsigned char *block, struct trace_op op)
{
    bool aligned = trace_kind(op) == TRACE_ALIGNED && p->a->alloc_aligned != NULL;
    size_t align = aligned ? trace_align(op) : op.nbytes >= HEAP_ALIGN ? p->a->align : 8;

    if ((uintptr_t)block % align != 0) {
        job_wrong(p->job, "hands out %u bytes at %p, not aligned to %zu", op.nbytes,
                  (const void *)block, align);
    }
    if (p->a->arena && (block < p->arena || block > p->arena + p->arena_bytes - op.nbytes)) {
        job_wrong(p->job, "hands out %u bytes outside of its arena", op.nbytes);
    }
    if ((uintptr_t)block >> ADDRESS_BITS != 0) {
        job_wrong(p->job, "hands out %p, which is no address", (const void *)block);
    }
    if (p->a->usable != NULL && p->a->usable(p->self, (void *)(uintptr_t)block) < op.nbytes) {
        job_wrong(p->job, "says that less than the %u bytes asked for may be used", op.nbytes);
    }
}

/* Take note that block `id` goes away, or is about to be resized. */
static void forget(struct player *p, struct shadow *s, uint32_t id)
{
    check_ends(p, p->blocks[id], id, s->sizes[id], s->sizes[id]);
    shadow_mark(p, s, p->blocks[id], s->sizes[id], false);
}

static uint64_t verify_pass(struct player *p, struct shadow *s)
{
    double end = thread_ns() + p->job->limit;
    uint64_t nops = p->t.header->nops;
    uint64_t i = 0;

    for (; i < nops && (i < p->t.header->nbuild || i % SLICE != 0 || thread_ns() <= end); i++) {
        struct trace_op op = p->t.ops[i];
        uint32_t id = trace_id(op);
        size_t old = s->sizes[id];
        unsigned char *block;

        if (old != 0) {
            forget(p, s, id);
        }
        block = play_op(p, op);
        if (block == NULL) {
            refused(p, i);
        }
        s->sizes[id] = op.nbytes;
        if (trace_kind(op) != TRACE_FREE) {
            check_block(p, block, op);
            shadow_mark(p, s, block, op.nbytes, true);
            check_ends(p, block, id, old, old < op.nbytes ? old : op.nbytes);
            stamp_ends(block, id, op.nbytes);
        }
    }
    return i;
}

/* Two passes: what comes back must be there for the second. */
static void verify(struct player *p)
{
    struct shadow s = {
        .bits = mmap(NULL, (UINT64_C(1) << ADDRESS_BITS) / GRANULE / 8, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0),
        .sizes = map_touched(p->t.header->nids * sizeof(s.sizes[0]), 0),
    };

    if (s.bits == MAP_FAILED) {
        fail("no address space to note blocks in: %s", strerror(errno));
    }
    for (unsigned pass = 0; pass < 2; pass++) {
        uint64_t done = verify_pass(p, &s);

        if (done < p->t.header->nops) {
            p->job->cut = done;
            return;
        }
        for (uint32_t id = 0; id < p->t.header->nids; id++) {
            if (p->blocks[id] != NULL) {
                forget(p, &s, id);
                s.sizes[id] = 0;
            }
        }
        if (!drain(p)) {
            p->job->cut = done;
            return;
        }
    }
}

/* ---- the process ----------------------------------------------------------------------------- */

static const struct heap_allocator *find(struct job *j)
{
    static const struct heap_allocator *const builtin[] = { &heap_loop, &heap_libc, &heap_ff,
                                                            &heap_list, &heap_buddy };
    void *object;

    for (unsigned i = 0; j->object[0] == '\0'; i++) {
        if (strcmp(builtin[i]->name, j->builtin) == 0) {
            return builtin[i];
        }
    }
    object = dlopen(j->object, RTLD_NOW | RTLD_LOCAL);
    return object != NULL ? dlsym(object, HEAP_SYMBOL) : NULL;
}

/* A library that cannot be preloaded is passed over by the dynamic linker with a warning; glibc
 * under another name would be measured. */
static void check_preload(struct job *j)
{
    Dl_info info;

    if (j->preload[0] != '\0' && (dladdr(dlsym(RTLD_DEFAULT, "malloc"), &info) == 0 ||
                                  strstr(info.dli_fname, j->preload) == NULL)) {
        j->outcome = ABSENT;
        _exit(0);
    }
}

static void open_player(struct player *p)
{
    struct job *j = p->job;

    trace_map(&p->t, j->trace_fd);
    if (j->kind == JOB_FOOTPRINT && !p->a->arena) {
        prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
    }
    p->blocks = map_touched(p->t.header->nids * sizeof(p->blocks[0]), 0);
    if (p->a->arena) {
        p->arena_bytes = whole_pages(3 * j->peak_bytes + (UINT64_C(8) << 20));
    }
}

static void open_arena(struct player *p)
{
    unsigned char *at = p->arena_bytes != 0
                            ? mmap(NULL, p->arena_bytes + HUGE_PAGE, PROT_READ | PROT_WRITE,
                                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)
                            : NULL;

    if (at == MAP_FAILED) {
        fail("no memory for an arena of %zu MiB", p->arena_bytes >> 20);
    }
    if (at != NULL) {
        p->arena = at + (HUGE_PAGE - (uintptr_t)at % HUGE_PAGE) % HUGE_PAGE;
        madvise(p->arena, p->arena_bytes, MADV_HUGEPAGE);
    }
}

void job_run(struct job *j)
{
    struct player p = { .job = j };

    check_preload(j);
    p.a = find(j);
    if (p.a == NULL) {
        job_wrong(j, "%s", dlerror());
    }
    if (j->kind == JOB_LARSON || j->kind == JOB_PIPE) {
        p.arena_bytes = p.a->arena ? THREAD_ARENA : 0;
        open_arena(&p);
        run_threads(j, p.a, p.a->open(p.arena, p.arena_bytes));
    } else if (j->kind != JOB_PROBE) {
        open_player(&p);
        open_arena(&p);
        open_over(&p, p.arena_bytes);
        if (p.self == NULL) {
            job_wrong(j, "does not open %zu MiB", p.arena_bytes >> 20);
        }
        switch (j->kind) {
        case JOB_VERIFY:
            verify(&p);
            break;
        case JOB_SPEED:
            measure_speed(&p);
            break;
        case JOB_LATENCY:
            measure_latency(&p);
            break;
        default:
            p.a->arena ? measure_arena(&p) : measure_resident(&p);
            break;
        }
    }
    j->outcome = DONE;
    _exit(0);
}
