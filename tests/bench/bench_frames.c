/*
 * bench_frames.c - allocators of page frames side by side: speed, scaling, huge blocks, metadata.
 *
 * What is fair. Every measurement, one row of one allocator, runs in a child forked for it, so
 * each starts with the same address space, cold caches of its own and no neighbour's leftovers; a
 * crash or a hang costs one child and is reported. Children run one at a time, in rounds: each row
 * goes once through all allocators, whose order rotates, before the next row, and the whole again
 * until the time is used up. So a machine that is slow for a while is slow for all. A cell is the
 * median over the rounds, with the best of them beside it; all allocators have the same number of
 * rounds in a row, the same seeds, and are called through the same function pointers. Rejected: all
 * in one process (the second to run finds the first one's page tables, huge pages and heap), and
 * all rounds of one allocator before the next (a busy minute of the machine then looks like a slow
 * allocator).
 *
 * What is measured is the allocator and not the host. Storage and the arrays of the harness are
 * filled before, so page faults are in no figure and no allocator finds its storage zeroed; they
 * lie in huge pages, as a kernel's metadata does in its direct map (only the rows that tell how
 * much start-up touches use small ones). What the loops of the harness cost by themselves is
 * measured too, by an allocator that does nothing: the column `loop`, for the reader to subtract.
 *
 * Several threads. ns are the time of one thread for one operation, averaged over the threads:
 * perfect scaling leaves the figure as it was with one thread.
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
#define MIN_ROUNDS     3
#define HANG_SECONDS   120
#define MAX_MEMORY     (UINT64_C(4) << 30) /* bytes for one row of one allocator */

static struct {
    uint64_t frames;
    unsigned nthreads;
    uint64_t seed;
    double seconds;
    const char *rows; /* only those whose name has this in it */
    bool quick;
    bool csv;
} opt = {
    .frames = 4 * GIB, .nthreads = 2, .seed = UINT64_C(0x506c6174), .seconds = 40, .rows = ""
};

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
        pin(0);
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
    const char *none; /* why there is nothing; NULL if there is */
};

static struct cells cells[MAX_ROWS][MAX_ALLOCATORS];
static const struct frames_allocator *allocators[MAX_ALLOCATORS];
static unsigned nallocators;
static char broken[MAX_ALLOCATORS][256]; /* why it has no figures; empty if it has */

static void size_text(char *buf, size_t nbytes, uint64_t frames)
{
    static const char units[][4] = { "MiB", "GiB", "TiB" };
    uint64_t n = frames / 256;
    unsigned unit = 0;

    for (; n % 1024 == 0 && unit < 2; unit++) {
        n /= 1024;
    }
    snprintf(buf, nbytes, "%" PRIu64 " %s", n, units[unit]);
}

static void name_row(const struct row *r, char *buf, size_t nbytes)
{
    char size[32];

    size_text(size, sizeof(size), opt.frames * r->scale);
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

static bool is_chosen(const struct row *r)
{
    char name[64];

    name_row(r, name, sizeof(name));
    return strstr(name, opt.rows) != NULL;
}

static bool is_loop(unsigned which)
{
    return allocators[which] == &frames_loop;
}

static void set_row(struct bench *b, const struct row *r, unsigned round)
{
    b->unverified = b->a == &frames_loop || r->scale >= 256;
    b->nthreads = r->threaded ? opt.nthreads : 1;
    b->batch = r->batch;
    b->seed = opt.seed + round * 1000 + (uint64_t)(r - rows) * 100000;
    b->limit = opt.quick ? 5e7 : 5e8;
    b->npairs = opt.quick ? 20 * SLICE : 500 * SLICE;
    set_ranges(b, 1, (struct frames_range[]){ { BASE, opt.frames * r->scale } });
}

/* Does a row of this allocator leave most of a developer's machine alone? Those without a scale
 * touch little. */
static bool is_small(const struct bench *b, const struct row *r)
{
    uint64_t bytes = b->total * sizeof(b->held[0]);

    if (b->a->storage_bytes != NULL) {
        bytes += b->a->storage_bytes(b->ranges, b->nranges, b->nthreads);
    }
    return r->scale == 0 || bytes < MAX_MEMORY;
}

/* Why a row has nothing for an allocator, before it is tried; NULL: it may be. */
static const char *excluded(const struct bench *b, const struct row *r)
{
    bool loops = false;

    for (const struct value *v = r->values; v->name != NULL; v++) {
        loops |= v->loop;
    }
    return b->a == &frames_loop && !loops ? "-" : !is_small(b, r) ? "too big" : NULL;
}

/* One measurement, unless there is nothing to measure. */
static void measure_cell(struct bench *b, const struct row *r, unsigned which)
{
    struct cells *c = &cells[r - rows][which];
    char name[64];

    if (c->n == 0) {
        c->none = excluded(b, r);
    }
    if (broken[which][0] != '\0' || c->none != NULL) {
        return;
    }
    measure(b, r->run);
    if (b->out->outcome == CANNOT) {
        c->none = "cannot";
        return;
    }
    if (b->out->outcome != DONE) {
        name_row(r, name, sizeof(name));
        snprintf(broken[which], sizeof(broken[which]), "%s (%s)", b->out->why, name);
        return;
    }
    for (unsigned v = 0; v < MAX_VALUES; v++) {
        c->v[v][c->n] = b->out->v[v];
        c->cut[v] |= b->out->cut[v];
    }
    if (!is_loop(which) && b->out->refused > c->refused) {
        c->refused = b->out->refused;
    }
    c->n++;
}

static void measure_all(struct result *shared)
{
    double spent[MAX_ROWS] = { 0 };
    unsigned weights = 0;

    for (unsigned r = 0; r < nrows; r++) {
        weights += is_chosen(&rows[r]) ? rows[r].weight : 0;
    }
    for (unsigned round = 0; round < (opt.quick ? 1 : MAX_ROUNDS); round++) {
        for (unsigned r = 0; r < nrows; r++) {
            double share = opt.seconds * 1e9 * rows[r].weight / weights;
            unsigned at_least = rows[r].nrounds != 0 ? rows[r].nrounds : MIN_ROUNDS;

            if (!is_chosen(&rows[r]) ||
                (round >= at_least && spent[r] + spent[r] / round > share)) {
                spent[r] = 1e18; /* enough: the rounds of a row are the first ones */
                continue;
            }
            double start = now_ns();
            for (unsigned i = 0; i < nallocators; i++) {
                unsigned which = (i + round) % nallocators;
                struct bench b = { .a = allocators[which], .out = shared };

                set_row(&b, &rows[r], round);
                measure_cell(&b, &rows[r], which);
            }
            spent[r] += now_ns() - start;
        }
    }
}

static void verify_all(struct result *shared)
{
    for (unsigned i = 0; i < nallocators; i++) {
        for (unsigned pass = 0; pass < 4 && broken[i][0] == '\0' && !is_loop(i); pass++) {
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
                       pass < 2 ? "2 GiB" : "ragged ranges with holes");
                pass |= 1; /* nor with more threads */
            } else if (!opt.csv && shared->refused != 0) {
                printf("%s refuses while frames are free (verifying run, %u threads)\n",
                       allocators[i]->name, b.nthreads);
            }
        }
    }
}

/* ---- the table ------------------------------------------------------------------------------- */

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

static const char *no_figure(unsigned r, unsigned v, unsigned which)
{
    const struct cells *c = &cells[r][which];

    return broken[which][0] != '\0'                    ? "WRONG"
           : c->none != NULL                           ? c->none
           : is_loop(which) && !rows[r].values[v].loop ? "-"
                                                       : NULL;
}

/* One allocator's part of a line. */
struct cell {
    char median[32];
    char min[32];
    char ratio[32]; /* to the bitmap */
    const char *mark;
    uint64_t refused;
};

static struct cell cell_of(unsigned r, unsigned v, unsigned which)
{
    const struct cells *c = &cells[r][which];
    const char *none = no_figure(r, v, which);
    struct cell cell = { .mark = "", .refused = c->refused };
    int base = base_column();

    if (none != NULL) {
        snprintf(cell.median, sizeof(cell.median), "%s", none);
        return cell;
    }
    text_of(cell.median, sizeof(cell.median), median(c->v[v], c->n));
    text_of(cell.min, sizeof(cell.min), least(c->v[v], c->n));
    if (base >= 0 && cells[r][base].n != 0 && median(cells[r][base].v[v], cells[r][base].n) > 0 &&
        !is_loop(which)) {
        ratio_text(cell.ratio, sizeof(cell.ratio),
                   median(c->v[v], c->n) / median(cells[r][base].v[v], cells[r][base].n));
    }
    cell.mark = c->cut[v] ? "~" : c->refused != 0 ? "!" : "";
    return cell;
}

static void print_name(const char *work, const char *value, const char *unit, unsigned rounds)
{
    int n = printf("%s: %s", work, value);

    printf("%*s %-6s %2u", n < 58 ? 58 - n : 0, "", unit, rounds);
}

static void print_cell(unsigned which, const struct cell *cell)
{
    if (is_loop(which)) {
        printf(" %7s ", cell->median);
    } else {
        printf(" %8s%1s %7s %6s%1s", cell->median, cell->mark, cell->min, cell->ratio,
               cell->ratio[0] != '\0' ? "x" : "");
    }
}

/* A value of a row for all allocators: a line of the table, or one for each in CSV. */
static void print_line(unsigned r, const char *value, const char *unit, unsigned rounds,
                       const struct cell line[])
{
    char name[64];

    name_row(&rows[r], name, sizeof(name));
    if (!opt.csv) {
        print_name(name, value, unit, rounds);
    }
    for (unsigned i = 0; i < nallocators; i++) {
        const struct cell *cell = &line[i];

        if (opt.csv) {
            printf("\"%s\",\"%s\",%s,%s,%s,%s,%s,%s,%u,%" PRIu64 "\n", name, value, unit,
                   allocators[i]->name, cell->median, cell->min, cell->ratio, cell->mark,
                   cells[r][i].n, cell->refused);
        } else {
            print_cell(i, cell);
        }
    }
    if (!opt.csv) {
        putchar('\n');
    }
}

static void print_value(unsigned r, unsigned v)
{
    const struct value *value = &rows[r].values[v];
    struct cell line[MAX_ALLOCATORS];
    unsigned rounds = 0;

    for (unsigned i = 0; i < nallocators; i++) {
        line[i] = cell_of(r, v, i);
        rounds = rounds > cells[r][i].n ? rounds : cells[r][i].n;
    }
    print_line(r, value->name, value->unit, rounds, line);
}

/* How much longer the first value of a row takes than that of the same work over less memory. */
static void print_growth(unsigned r)
{
    struct cell line[MAX_ALLOCATORS];
    char value[64], size[32];
    unsigned base = 0;

    while (base < nrows &&
           (rows[base].run != rows[r].run || rows[base].scale != 1 || rows[base].threaded)) {
        base++;
    }
    if (rows[r].scale <= 1 || base == nrows || !is_chosen(&rows[base])) {
        return;
    }
    size_text(size, sizeof(size), opt.frames);
    snprintf(value, sizeof(value), "%s, to that at %s", rows[r].values[0].name, size);
    for (unsigned i = 0; i < nallocators; i++) {
        const char *none = no_figure(r, 0, i);

        line[i] = (struct cell){ .mark = "" };
        if (none != NULL) {
            snprintf(line[i].median, sizeof(line[i].median), "%s", none);
        } else {
            ratio_text(line[i].median, sizeof(line[i].median),
                       median(cells[r][i].v[0], cells[r][i].n) /
                           median(cells[base][i].v[0], cells[base][i].n));
        }
    }
    print_line(r, value, "times", 0, line);
}

static void print_notes(void)
{
    bool cut = false;

    for (unsigned r = 0; r < nrows; r++) {
        char name[64];

        name_row(&rows[r], name, sizeof(name));
        for (unsigned i = 0; i < nallocators; i++) {
            for (unsigned v = 0; rows[r].values[v].name != NULL; v++) {
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
        puts("work,value,unit,allocator,median,min,ratio to bitmap,mark,rounds,refused");
    } else {
        printf("\n%-58s %-6s %2s", "", "unit", "n");
        for (unsigned i = 0; i < nallocators; i++) {
            printf(is_loop(i) ? " %7.7s " : " %8.8s  %7s %7s", allocators[i]->name, "min", "ratio");
        }
        putchar('\n');
    }
    for (unsigned r = 0; r < nrows; r++) {
        if (is_chosen(&rows[r])) {
            for (unsigned v = 0; rows[r].values[v].name != NULL; v++) {
                print_value(r, v);
            }
            print_growth(r);
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
    "  --size SIZE     memory managed, 4G unless said; with M or G; two rows have 16 and 256 times "
    "it\n"
    "  --threads N     threads of the rows with several, 2 unless said\n"
    "  --only NAME,..  these of loop, bitmap, buddy, plat and those of --so\n"
    "  --rows TEXT     only the rows whose name has TEXT in it\n"
    "  --so FILE       also the allocator in this shared object (tests/bench/frames.h)\n"
    "  --seed N        of all random choices\n"
    "  --seconds N     to aim at in all, 40 unless said; no row has fewer rounds than it needs\n"
    "  --quick         one short round over little memory: does it all work?\n"
    "  --csv           a line a figure\n"
    "  --help\n\n"
    "Exit status: 0 if all allocators are right, 1 if one is wrong, 2 for anything else.\n";

static void add_allocator(const struct frames_allocator *a, const char *from)
{
    if (a->version != FRAMES_VERSION) {
        fail("%s: adapter version %u, wanted %u", from, a->version, FRAMES_VERSION);
    }
    if (a->max_order < FRAMES_MIN_ORDER || a->max_order > FRAMES_MAX_ORDER) {
        fail("%s: blocks up to order %u, wanted %d to %d", from, a->max_order, FRAMES_MIN_ORDER,
             FRAMES_MAX_ORDER);
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

/* Frames of a size such as 4G or 512M: whole blocks of 2 MiB, at least 16 MiB. */
static uint64_t parse_size(const char *text)
{
    char *end;
    uint64_t v = strtoull(text, &end, 0);
    uint64_t unit = *end == 'G' ? GIB : *end == 'M' ? GIB / 1024 : 0;

    if (end == text || unit == 0 || end[1] != '\0' || v > 4096 * 1024 || v * unit < 16 * 256 ||
        v * unit > 64 * GIB || v * unit % HUGE_FRAMES != 0) {
        fail("--size %s: want a size from 16M to 64G, such as 4G", text);
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

static bool any_row(void)
{
    unsigned r = 0;

    while (r < nrows && !is_chosen(&rows[r])) {
        r++;
    }
    return r < nrows;
}

static void parse(int argc, char **argv)
{
    static const struct option options[] = {
        { "size", required_argument, NULL, 's' },
        { "threads", required_argument, NULL, 't' },
        { "only", required_argument, NULL, 'o' },
        { "so", required_argument, NULL, 'f' },
        { "seed", required_argument, NULL, 'r' },
        { "seconds", required_argument, NULL, 'b' },
        { "rows", required_argument, NULL, 'w' },
        { "quick", no_argument, NULL, 'q' },
        { "csv", no_argument, NULL, 'c' },
        { "help", no_argument, NULL, 'h' },
        { NULL, 0, NULL, 0 },
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
        case 'w':
            opt.rows = optarg;
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
    if (!any_row()) {
        fail("--rows %s: no row has that in its name", opt.rows);
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
    note_processors();
    add_allocator(&frames_loop, "loop");
    add_allocator(&frames_bitmap, "bitmap");
    add_allocator(&frames_buddy, "buddy");
    add_allocator(&frames_plat, "plat");
    parse(argc, argv);
    if (!opt.csv) {
        char size[32];
        double load = 0;

        getloadavg(&load, 1);
        size_text(size, sizeof(size), opt.frames);
        printf("%s, seed 0x%" PRIx64 ", %u threads, %ld processors, load %.1f, built by %s\n", size,
               opt.seed, opt.nthreads, sysconf(_SC_NPROCESSORS_ONLN), load, __VERSION__);
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
