/*
 * bench_heap.c - allocators of blocks side by side: speed, the slowest operation, footprint.
 *
 * What is fair. Every measurement, one trace played to one allocator, is a process of its own, tied
 * to a processor, and all allocators get the same bytes as a trace. Processes run one at a time, in
 * rounds: each trace goes once through all allocators, whose order rotates, before the next trace,
 * and the whole again until the time is used up. A figure is the median over the rounds. All are
 * called through the same function pointers; what that costs, with reading the trace and touching
 * the block, is the column `loop`, an allocator that does nothing. How each figure is taken is told
 * at the top of heap_replay.c and heap_threads.c.
 *
 * Libraries that replace malloc are preloaded, as programs use them, and not loaded beside another:
 * only then are their thread-local variables as fast as they are meant to be. For the rounds of
 * speed alone two of them are told by their environment to keep what they have: between two passes
 * all is freed, which a program does not do, and to fetch it anew from the host would be counted.
 * Footprints are taken without that.
 *
 * Nothing wrong looks fast. Before it is measured, each allocator plays each trace with patterns at
 * both ends of every block, and a map of who has which bytes. One that fails has no figures and the
 * exit status is 1. What was cut for time is marked with `~`; notes say to how many operations.
 */
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "heap_bench.h"

#define MAX_PEERS    16
#define MAX_WORKS    64
#define MIN_ROUNDS   3
#define HANG_SECONDS 300

/* An allocator to be measured. */
struct peer {
    const char *name;
    const struct heap_allocator *a; /* `libc` for all that are preloaded */
    const char *object;             /* its adapter; NULL: linked in */
    const char *preload;            /* NULL: nothing */
    const char *env;                /* for the rounds of speed; NULL: nothing */
    const char *package;            /* of Debian, where `preload` is; NULL: the user's */
    char broken[256];               /* why it has no figures; empty if it has */
};

/* A trace, or a work of several threads. */
struct work {
    enum job_kind speed; /* JOB_SPEED, or the work of threads */
    unsigned nthreads;
    struct trace t;       /* threads: its name only */
    double bytes_without; /* that the process has where no allocator is */
};

struct cell {
    unsigned n; /* rounds */
    double v[MAX_ROUNDS];
    uint64_t cut;     /* operations that were done, if not all were */
    const char *none; /* why there is no figure; NULL: there is, or it was not tried */
};

static const struct {
    const char *name;
    const char *title;
    const char *unit;
    enum job_kind by; /* or by the works of threads, the first */
    unsigned digits;  /* behind the point; 0: as text_of() has it */
    bool loop;        /* the empty loop has it too */
    bool ratio;       /* is something to compare by */
} values[NVALUES] = {
    [VALUE_TIME] = { "time", "Time of an operation", "ns", JOB_SPEED, 0, true, true },
    [VALUE_9999] = { "99.99 %", "Time that 99.99 % of allocations and frees stay within", "ns",
                     JOB_LATENCY, 0, true, true },
    [VALUE_SLOWEST] = { "slowest", "The slowest allocation or free", "ns", JOB_LATENCY, 0, true,
                        true },
    [VALUE_FOOTPRINT] = { "footprint", "Memory taken to bytes asked for, both at their peaks",
                          "times", JOB_FOOTPRINT, 3, false, true },
    [VALUE_INSIDE] = { "inside", "Of that, inside of blocks: usable bytes to bytes asked for",
                       "times", JOB_FOOTPRINT, 3, false, true },
    [VALUE_FAULTS] = { "faults", "Page faults in the time measured, of 1000 operations", "faults",
                       JOB_SPEED, 2, false, false },
    [VALUE_HUGE] = { "huge", "Memory in huge pages, at the peak", "%", JOB_SPEED, 0, false, false },
};

static struct {
    double seconds;
    const char *recorded; /* folder of traces */
    char *traces;
    char *only;
    const char *base;
    bool quick, csv, list;
} opt = { .seconds = 120, .base = "glibc" };

static struct peer peers[MAX_PEERS];
static unsigned npeers;
static struct work works[MAX_WORKS];
static unsigned nworks;
static struct cell cells[MAX_WORKS][MAX_PEERS][NVALUES];
static int job_fd;

/* ---- processes ------------------------------------------------------------------------------- */

static struct job *share_job(int fd)
{
    void *p = mmap(NULL, sizeof(struct job), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

    if (p == MAP_FAILED) {
        fail("mmap: %s", strerror(errno));
    }
    return p;
}

/* In the child: this program again, with the library and what it is told. */
static _Noreturn void start(const struct peer *p, enum job_kind kind)
{
    char fd[16];
    char env[256];

    alarm(HANG_SECONDS);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    unsetenv("LD_PRELOAD");
    if (p->preload != NULL) {
        setenv("LD_PRELOAD", p->preload, 1);
    }
    if (p->env != NULL && (kind == JOB_SPEED || kind == JOB_LATENCY)) {
        snprintf(env, sizeof(env), "%s", p->env);
        putenv(env);
    }
    if (kind == JOB_PROBE && freopen("/dev/null", "w", stderr) == NULL) {
        _exit(2);
    }
    snprintf(fd, sizeof(fd), "%d", job_fd);
    execl("/proc/self/exe", "bench_heap", "--job", fd, NULL);
    _exit(2);
}

/* What it says is in *j. */
static void measure(const struct peer *p, const struct work *w, enum job_kind kind, struct job *j)
{
    int status;

    *j = (struct job){ .kind = kind, .outcome = DIED, .limit = opt.quick ? 3e7 : 2e9 };
    if (kind == JOB_VERIFY || kind == JOB_LATENCY) {
        j->limit *= 4; /* they do more than what they look at */
    }
    snprintf(j->builtin, sizeof(j->builtin), "%s", p->a->name);
    snprintf(j->object, sizeof(j->object), "%s", p->object != NULL ? p->object : "");
    snprintf(j->preload, sizeof(j->preload), "%s", p->preload != NULL ? p->preload : "");
    if (w != NULL) {
        j->trace_fd = w->t.fd;
        j->peak_bytes = w->t.peak_bytes;
        j->peak_at = w->t.peak_at;
        j->nthreads = w->nthreads;
    }
    fflush(stdout);
    pid_t child = fork();
    if (child < 0) {
        fail("fork: %s", strerror(errno));
    }
    if (child == 0) {
        start(p, kind);
    }
    while (waitpid(child, &status, 0) < 0) {
        if (errno != EINTR) {
            fail("waitpid: %s", strerror(errno));
        }
    }
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM) {
        j->outcome = SLOW;
    } else if (WIFSIGNALED(status)) {
        j->outcome = DIED;
        snprintf(j->why, sizeof(j->why), "ends by signal %d", WTERMSIG(status));
    } else if (WEXITSTATUS(status) != 0) {
        j->outcome = DIED;
        snprintf(j->why, sizeof(j->why), "exits with status %d", WEXITSTATUS(status));
    }
}

/* ---- what is measured ------------------------------------------------------------------------ */

static bool is_loop(const struct peer *p)
{
    return p->a == &heap_loop;
}

/* Why a peer does not have a work at all; NULL: it has. */
static const char *excluded(const struct peer *p, const struct work *w)
{
    return p->broken[0] != '\0'                  ? "WRONG"
           : w->speed != JOB_SPEED && is_loop(p) ? "-"
           : w->nthreads > 1 && !p->a->threads   ? "-"
                                                 : NULL;
}

/* Has it been too slow for this? */
static bool was_slow(const struct cell *c, enum job_kind kind)
{
    bool slow = false;

    for (enum value v = 0; v < NVALUES; v++) {
        slow |= values[v].by == kind && c[v].none != NULL;
    }
    return slow;
}

/* Who is too slow to be verified is so for everything. */
static void note_slow(struct cell *c, enum job_kind kind)
{
    for (enum value v = 0; v < NVALUES; v++) {
        if (c[v].n == 0 && (kind == JOB_VERIFY || kind == values[v].by ||
                            (v == VALUE_TIME && (kind == JOB_LARSON || kind == JOB_PIPE)))) {
            c[v].none = "slow";
        }
    }
}

/* One measurement of as many values as it has; false if there was none. */
static bool measure_cells(unsigned work, unsigned peer, enum job_kind kind, struct job *j)
{
    struct peer *p = &peers[peer];
    struct work *w = &works[work];
    struct cell *c = cells[work][peer];

    if (excluded(p, w) != NULL || was_slow(c, kind)) {
        return false;
    }
    measure(p, w, kind, j);
    if (j->outcome == WRONG || j->outcome == DIED) {
        snprintf(p->broken, sizeof(p->broken), "%s (%s)", j->why, w->t.name);
        return false;
    }
    if (j->outcome == SLOW) {
        note_slow(c, kind);
        return false;
    }
    if (kind == JOB_FOOTPRINT && !p->a->arena) {
        j->v[VALUE_FOOTPRINT] =
            (j->v[VALUE_FOOTPRINT] - w->bytes_without) / (double)w->t.peak_bytes;
    }
    for (unsigned v = 0; v < NVALUES; v++) {
        if (j->has[v]) {
            c[v].v[c[v].n++] = j->v[v];
            c[v].cut = j->cut;
        }
    }
    return true;
}

static void probe_all(struct job *j)
{
    unsigned n = 0;

    for (unsigned i = 0; i < npeers; i++) {
        measure(&peers[i], NULL, JOB_PROBE, j);
        if (j->outcome == DONE) {
            peers[n++] = peers[i];
        } else if (peers[i].package != NULL && j->outcome == ABSENT) {
            printf("%s%s is skipped: there is no %s (Debian's package %s)\n", opt.csv ? "# " : "",
                   peers[i].name, peers[i].preload, peers[i].package);
        } else {
            fail("%s: %s", peers[i].preload != NULL ? peers[i].preload : peers[i].name,
                 j->outcome == ABSENT ? "malloc does not come from there" : j->why);
        }
    }
    npeers = n;
}

static void verify_all(struct job *j)
{
    for (unsigned w = 0; w < nworks; w++) {
        for (unsigned i = 0; i < npeers && works[w].speed == JOB_SPEED; i++) {
            if (is_loop(&peers[i])) {
                continue;
            }
            if (measure_cells(w, i, JOB_VERIFY, j) && j->cut != 0) {
                printf("%s%s is slow: only %" PRIu64 " operations of %s were verified\n",
                       opt.csv ? "# " : "", peers[i].name, j->cut, works[w].t.name);
            }
        }
    }
}

static bool wants_more(const struct cell *c)
{
    return c->none == NULL && c->cut == 0;
}

static void measure_speed(struct job *j)
{
    double begin = now_ns();

    for (unsigned round = 0; round < (opt.quick ? 1 : MAX_ROUNDS); round++) {
        double spent = now_ns() - begin;

        if (round >= MIN_ROUNDS && spent + spent / round > opt.seconds * 1e9) {
            break;
        }
        for (unsigned w = 0; w < nworks; w++) {
            for (unsigned i = 0; i < npeers; i++) {
                unsigned which = (i + round) % npeers;

                if (wants_more(&cells[w][which][VALUE_TIME])) {
                    measure_cells(w, which, works[w].speed, j);
                }
            }
        }
    }
}

static void measure_once(struct job *j)
{
    const struct peer loop = { .name = "loop", .a = &heap_loop };

    for (unsigned w = 0; w < nworks; w++) {
        if (works[w].speed != JOB_SPEED) {
            continue;
        }
        measure(&loop, &works[w], JOB_FOOTPRINT, j);
        if (j->outcome != DONE) {
            fail("%s: footprint of nothing: %s", works[w].t.name, j->why);
        }
        works[w].bytes_without = j->v[VALUE_FOOTPRINT];
        for (unsigned i = 0; i < npeers; i++) {
            measure_cells(w, i, JOB_LATENCY, j);
            if (!is_loop(&peers[i])) {
                measure_cells(w, i, JOB_FOOTPRINT, j);
            }
        }
    }
}

/* ---- the table ------------------------------------------------------------------------------- */

static const char *no_figure(unsigned work, unsigned peer, enum value v)
{
    const struct cell *c = &cells[work][peer][v];
    const char *none = excluded(&peers[peer], &works[work]);

    return none != NULL                               ? none
           : is_loop(&peers[peer]) && !values[v].loop ? "-"
           : c->none != NULL                          ? c->none
           : c->n == 0                                ? "-"
                                                      : NULL;
}

static int base_peer(void)
{
    for (unsigned i = 0; i < npeers; i++) {
        if (strcmp(peers[i].name, opt.base) == 0) {
            return (int)i;
        }
    }
    return -1;
}

static void figure_text(char *buf, size_t nbytes, enum value which, double v)
{
    if (values[which].digits != 0) {
        snprintf(buf, nbytes, "%.*f", (int)values[which].digits, v);
    } else {
        text_of(buf, nbytes, v);
    }
}

/* To the chosen peer; empty if that has no figure, or none but 0. */
static void cell_ratio(char *buf, size_t nbytes, unsigned work, unsigned peer, enum value v)
{
    int base = base_peer();
    const struct cell *c = &cells[work][peer][v];

    buf[0] = '\0';
    if (values[v].ratio && base >= 0 && !is_loop(&peers[peer]) &&
        no_figure(work, (unsigned)base, v) == NULL) {
        const struct cell *b = &cells[work][base][v];

        if (median(b->v, b->n) > 0) {
            double ratio = median(c->v, c->n) / median(b->v, b->n);

            if (ratio >= 0.1 && ratio < 9.995) {
                snprintf(buf, nbytes, "%.2f", ratio);
            } else {
                ratio_text(buf, nbytes, ratio);
            }
        }
    }
}

static void print_cell(unsigned work, unsigned peer, enum value v)
{
    const struct cell *c = &cells[work][peer][v];
    const char *none = no_figure(work, peer, v);
    char mid[32] = "", min[32] = "", ratio[32] = "";

    if (none == NULL) {
        figure_text(mid, sizeof(mid), v, median(c->v, c->n));
        figure_text(min, sizeof(min), v, least(c->v, c->n));
        cell_ratio(ratio, sizeof(ratio), work, peer, v);
    }
    if (opt.csv) {
        printf("%s,%s,%s,%s,%s,%s,%s,%s,%u,%" PRIu64 "\n", works[work].t.name, values[v].name,
               values[v].unit, peers[peer].name, none != NULL ? none : mid, min, ratio,
               none == NULL && c->cut != 0 ? "~" : "", c->n, c->cut);
    } else if (is_loop(&peers[peer])) {
        printf(" %7s", none != NULL ? none : mid);
    } else {
        printf(" %8s%1s %5s%1s", none != NULL ? none : mid, none == NULL && c->cut != 0 ? "~" : "",
               ratio, ratio[0] != '\0' ? "x" : "");
    }
}

static bool has_line(unsigned work, enum value v)
{
    return v == VALUE_TIME || works[work].speed == JOB_SPEED;
}

static void print_value(enum value v)
{
    if (!opt.csv) {
        printf("\n%s, %s\n%-20s %2s", values[v].title, values[v].unit, "", "n");
        for (unsigned i = 0; i < npeers; i++) {
            printf(is_loop(&peers[i]) ? " %7.7s" : " %8.8s  %6s", peers[i].name, "");
        }
        putchar('\n');
    }
    for (unsigned w = 0; w < nworks; w++) {
        unsigned rounds = 0;

        if (!has_line(w, v)) {
            continue;
        }
        for (unsigned i = 0; i < npeers; i++) {
            rounds = rounds > cells[w][i][v].n ? rounds : cells[w][i][v].n;
        }
        if (!opt.csv) {
            printf("%-20.20s %2u", works[w].t.name, rounds);
        }
        for (unsigned i = 0; i < npeers; i++) {
            print_cell(w, i, v);
        }
        if (!opt.csv) {
            putchar('\n');
        }
    }
}

/* What was cut for time, and to how many operations. */
static void print_cuts(unsigned work, unsigned peer)
{
    const struct work *w = &works[work];
    const struct trace *t = &w->t;
    uint64_t nops =
        w->speed == JOB_SPEED ? t->header->nops - t->header->nbuild : threads_nops(w->speed);
    const char *comma = "";

    for (enum value v = 0; v < NVALUES; v++) {
        const struct cell *c = &cells[work][peer][v];

        if (c->cut == 0 || no_figure(work, peer, v) != NULL) {
            continue;
        }
        if (comma[0] == '\0') {
            printf("~ %s, %s, of %" PRIu64 " operations:", t->name, peers[peer].name, nops);
        }
        printf("%s %s %" PRIu64, comma, values[v].name, c->cut);
        comma = ",";
    }
    if (comma[0] != '\0') {
        printf("; the first time\n");
    }
}

static void print_notes(void)
{
    bool slow = false;

    for (unsigned w = 0; w < nworks; w++) {
        for (unsigned i = 0; i < npeers; i++) {
            print_cuts(w, i);
            for (enum value v = 0; v < NVALUES; v++) {
                slow |= cells[w][i][v].none != NULL;
            }
        }
    }
    if (slow) {
        printf("slow: not done after %d s\n", HANG_SECONDS);
    }
    for (unsigned i = 0; i < npeers; i++) {
        if (peers[i].a->align != HEAP_ALIGN) {
            printf("%s aligns blocks to %u bytes, where C wants %d\n", peers[i].name,
                   peers[i].a->align, HEAP_ALIGN);
        }
    }
    if (base_peer() < 0) {
        printf("no ratios: %s is not here\n", opt.base);
    }
    if (opt.quick) {
        printf("--quick: one short round, figures are not meant to be compared\n");
    }
}

static void print_tables(void)
{
    if (opt.csv) {
        printf("trace,value,unit,allocator,median,min,ratio to %s,mark,rounds,operations\n",
               opt.base);
    }
    for (enum value v = 0; v < NVALUES; v++) {
        print_value(v);
    }
    if (!opt.csv) {
        putchar('\n');
        print_notes();
    }
}

/* So that a shell reads it as one word. */
static void print_word(const char *word)
{
    if (word[strspn(word,
                    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./,=:+")] ==
        '\0') {
        printf(" %s", word);
        return;
    }
    printf(" '");
    for (; *word != '\0'; word++) {
        printf(*word == '\'' ? "'\\''" : "%c", *word);
    }
    putchar('\'');
}

/* The command that repeats all this. */
static void print_again(char **argv)
{
    printf("%sagain:", opt.csv ? "# " : "");
    for (char **arg = argv; *arg != NULL; arg++) {
        print_word(*arg);
    }
    putchar('\n');
}

static void print_list(void)
{
    printf("%-20s %10s %10s %10s %14s  %s\n", "trace", "operations", "untimed", "blocks",
           "peak, bytes", "crc");
    for (unsigned w = 0; w < nworks; w++) {
        const struct trace *t = &works[w].t;

        if (works[w].speed == JOB_SPEED) {
            printf("%-20s %10" PRIu64 " %10u %10u %14" PRIu64 "  %08x\n", works[w].t.name,
                   t->header->nops, t->header->nbuild, t->header->nids, t->peak_bytes,
                   t->header->crc);
        }
    }
}

/* ---- the works ------------------------------------------------------------------------------- */

/* Does a list of beginnings, NULL being all, have this name? */
static bool is_chosen(const char *list, const char *name)
{
    for (const char *item = list; item != NULL;) {
        size_t n = strcspn(item, ",");

        if (n != 0 && strncmp(item, name, n) == 0) {
            return true;
        }
        item = item[n] == ',' ? item + n + 1 : NULL;
    }
    return list == NULL;
}

static struct work *add_work(enum job_kind speed, unsigned nthreads)
{
    struct work *w = &works[nworks];

    if (nworks == MAX_WORKS) {
        fail("no more than %d traces", MAX_WORKS);
    }
    w->speed = speed;
    w->nthreads = nthreads;
    nworks++;
    return w;
}

static int is_trace(const struct dirent *e)
{
    const char *dot = strchr(e->d_name, '.');

    return dot != NULL && strcmp(dot, ".trace") == 0;
}

static void add_recorded(void)
{
    struct dirent **files;
    int n = scandir(opt.recorded, &files, is_trace, alphasort);

    if (n < 0) {
        fail("%s: %s", opt.recorded, strerror(errno));
    }
    for (int i = 0; i < n; i++) {
        char path[PATH_MAX];

        if (is_chosen(opt.traces, files[i]->d_name)) {
            snprintf(path, sizeof(path), "%s/%s", opt.recorded, files[i]->d_name);
            trace_read(&add_work(JOB_SPEED, 1)->t, path);
        }
        free(files[i]);
    }
    free(files);
}

static void add_works(void)
{
    static const struct {
        const char *name;
        enum job_kind kind;
        unsigned nthreads;
    } threaded[] = {
        { "larson-1", JOB_LARSON, 1 },
        { "larson-2", JOB_LARSON, 2 },
        { "pipe-2", JOB_PIPE, 2 },
    };

    if (opt.recorded != NULL) {
        add_recorded();
    }
    for (unsigned i = 0; trace_name(i) != NULL; i++) {
        if (is_chosen(opt.traces, trace_name(i))) {
            trace_make(&add_work(JOB_SPEED, 1)->t, i, opt.quick);
        }
    }
    for (unsigned i = 0; i < sizeof(threaded) / sizeof(threaded[0]); i++) {
        if (is_chosen(opt.traces, threaded[i].name)) {
            struct work *w = add_work(threaded[i].kind, threaded[i].nthreads);

            snprintf(w->t.name, sizeof(w->t.name), "%s", threaded[i].name);
        }
    }
    if (nworks == 0) {
        fail("--traces %s: there is no such trace", opt.traces);
    }
}

/* ---- command line ---------------------------------------------------------------------------- */

static const char help[] =
    "usage: bench_heap [OPTION]...\n"
    "Measure allocators of blocks beside each other, each in processes of its own.\n\n"
    "  --only NAME,..    these of loop, ff, list, buddy, glibc, jemalloc, mimalloc, tcmalloc and\n"
    "                    those of --so and --preload\n"
    "  --so FILE         also the allocator in this shared object (tests/bench/heap.h)\n"
    "  --preload FILE    also this library, which replaces malloc\n"
    "  --base NAME       ratios are to this one, glibc unless said\n"
    "  --recorded DIR    also the traces in this folder (scripts/heap-traces)\n"
    "  --traces TEXT,..  only traces whose names begin so\n"
    "  --seconds N       to aim at for the rounds of speed, 120 unless said; the rest comes on "
    "top\n"
    "  --quick           one short round over small traces: does it all work?\n"
    "  --csv             a line a figure\n"
    "  --list            print the traces there are, and measure nothing\n"
    "  --help\n\n"
    "Exit status: 0 if all allocators are right, 1 if one is wrong, 2 for anything else.\n";

static struct peer *add_peer(const char *name, const struct heap_allocator *a)
{
    struct peer *p = &peers[npeers];

    if (npeers == MAX_PEERS) {
        fail("no more than %d allocators", MAX_PEERS);
    }
    *p = (struct peer){ .name = name, .a = a };
    npeers++;
    return p;
}

static void add_packaged(const char *name, const char *preload, const char *package,
                         const char *env)
{
    struct peer *p = add_peer(name, &heap_libc);

    p->preload = preload;
    p->package = package;
    p->env = env;
}

static void add_builtin(void)
{
    add_peer("loop", &heap_loop);
    add_peer("ff", &heap_ff);
    add_peer("list", &heap_list);
    add_peer("buddy", &heap_buddy);
    /* The threshold is the largest that its own adjustment would come to. */
    add_peer("glibc", &heap_libc)->env = "GLIBC_TUNABLES=glibc.malloc.mmap_threshold=33554432:"
                                         "glibc.malloc.trim_threshold=68719476736"
                                         ":glibc.malloc.hugetlb=1";
    add_packaged("jemalloc", "libjemalloc.so.2", "libjemalloc2", "MALLOC_CONF=thp:always");
    add_packaged("mimalloc", "libmimalloc.so.2", "libmimalloc2.0", "MIMALLOC_ALLOW_DECOMMIT=0");
    add_packaged("tcmalloc", "libtcmalloc_minimal.so.4", "libtcmalloc-minimal4", NULL);
}

static void add_object(const char *path)
{
    void *object = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    const struct heap_allocator *a = object != NULL ? dlsym(object, HEAP_SYMBOL) : NULL;

    if (a == NULL) {
        fail("%s", dlerror());
    }
    if (a->version != HEAP_VERSION) {
        fail("%s: adapter version %u, wanted %u", path, a->version, HEAP_VERSION);
    }
    if (a->align != HEAP_ALIGN && a->align != HEAP_ALIGN / 2) {
        fail("%s: blocks aligned to %u, wanted %d, or %d at least", path, a->align, HEAP_ALIGN,
             HEAP_ALIGN / 2);
    }
    add_peer(a->name, a)->object = realpath(path, NULL);
}

/* Its name is the file's, without `lib` and what follows the dot. */
static void add_preload(const char *path)
{
    char *full = realpath(path, NULL);
    char *base = full != NULL ? strrchr(full, '/') + 1 : NULL;

    if (full == NULL) {
        fail("--preload %s: %s", path, strerror(errno));
    }
    base += strncmp(base, "lib", 3) == 0 ? 3 : 0;
    add_peer(strndup(base, strcspn(base, ".")), &heap_libc)->preload = full;
}

/* Keep the allocators that a list of names has, in its order. */
static void choose(char *names)
{
    static struct peer all[MAX_PEERS];
    unsigned n = npeers;

    memcpy(all, peers, sizeof(all));
    npeers = 0;
    for (char *name = strtok(names, ","); name != NULL; name = strtok(NULL, ",")) {
        unsigned i = 0;

        while (i < n && strcmp(all[i].name, name) != 0) {
            i++;
        }
        if (i == n) {
            fail("--only %s: there is no such allocator", name);
        }
        *add_peer(name, all[i].a) = all[i];
    }
}

static void parse(int argc, char **argv)
{
    static const struct option options[] = {
        { "only", required_argument, NULL, 'o' },
        { "so", required_argument, NULL, 'f' },
        { "preload", required_argument, NULL, 'p' },
        { "base", required_argument, NULL, 'b' },
        { "recorded", required_argument, NULL, 'r' },
        { "traces", required_argument, NULL, 't' },
        { "seconds", required_argument, NULL, 's' },
        { "quick", no_argument, NULL, 'q' },
        { "csv", no_argument, NULL, 'c' },
        { "list", no_argument, NULL, 'l' },
        { "help", no_argument, NULL, 'h' },
        { NULL, 0, NULL, 0 },
    };
    int c;

    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (c) {
        case 'o':
            opt.only = strdup(optarg);
            break;
        case 'f':
            add_object(optarg);
            break;
        case 'p':
            add_preload(optarg);
            break;
        case 'b':
            opt.base = optarg;
            break;
        case 'r':
            opt.recorded = optarg;
            break;
        case 't':
            opt.traces = optarg;
            break;
        case 's':
            opt.seconds = (double)parse_number("--seconds", optarg, 1, 86400);
            break;
        case 'q':
            opt.quick = true;
            break;
        case 'c':
            opt.csv = true;
            break;
        case 'l':
            opt.list = true;
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
    if (opt.only != NULL) {
        choose(opt.only);
    }
}

int main(int argc, char **argv)
{
    struct job *j;
    int status = 0;

    note_processors();
    if (argc == 3 && strcmp(argv[1], "--job") == 0) {
        pin(0);
        job_run(share_job(atoi(argv[2])));
    }
    add_builtin();
    parse(argc, argv);
    add_works();
    if (opt.list) {
        print_list();
        return 0;
    }
    job_fd = memfd_create("job", 0);
    if (job_fd < 0 || ftruncate(job_fd, sizeof(*j)) != 0) {
        fail("memfd: %s", strerror(errno));
    }
    j = share_job(job_fd);
    if (!opt.csv) {
        double load = 0;

        getloadavg(&load, 1);
        printf("%u traces, %ld processors, load %.1f, built by %s\n", nworks,
               sysconf(_SC_NPROCESSORS_ONLN), load, __VERSION__);
    }
    probe_all(j);
    verify_all(j);
    measure_speed(j);
    measure_once(j);
    print_tables();
    for (unsigned i = 0; i < npeers; i++) {
        if (peers[i].broken[0] != '\0') {
            printf("%s%s is WRONG: %s\n", opt.csv ? "# " : "", peers[i].name, peers[i].broken);
            status = 1;
        }
    }
    print_again(argv);
    return status;
}
