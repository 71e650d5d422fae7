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

#include "bench.h"

#define MAX_ALLOCATORS 8
#define MAX_ROUNDS     15
#define MIN_ROUNDS     3
#define HANG_SECONDS   120

static struct {
    uint64_t frames;
    unsigned nthreads;
    uint64_t seed;
    double seconds;
    bool quick;
    bool csv;
} opt = { .frames = 4 * GIB, .nthreads = 2, .seed = UINT64_C(0x506c6174), .seconds = 45 };

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

        if (c[0] == '%' && c[1] == 'u') {
            snprintf(buf + n, nbytes - n, "%u", opt.nthreads);
            c++;
        } else if (c[0] == '%' && c[1] == 's') {
            snprintf(buf + n, nbytes - n, "%s", size);
            c++;
        } else {
            snprintf(buf + n, nbytes - n, "%c", *c);
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
    snprintf(buf, nbytes,
             ratio < 0.0095  ? "%.1g"
             : ratio < 0.995 ? "%.2f"
             : ratio < 99.95 ? "%.1f"
                             : "%.0f",
             ratio);
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
        double load = 0;

        getloadavg(&load, 1);
        printf("%" PRIu64 " MiB, seed 0x%" PRIx64
               ", %u threads, %ld processors, load %.1f, built by %s\n",
               opt.frames / 256, opt.seed, opt.nthreads, sysconf(_SC_NPROCESSORS_ONLN), load,
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
