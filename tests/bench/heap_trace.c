/*
 * heap_trace.c - synthetic traces, and those in files.
 *
 * Synthetic traces have fixed seeds, so that they are the same bytes everywhere. Those with random
 * lifetimes hold a number of blocks, and then free one at random and allocate another in its stead;
 * sizes are uniform in 16 to 1024, or follow a power law, P(size > x) ~ 1/x, from 16 to 65536.
 *
 * Nothing in a file is believed: an operation on a block that is not there would have the harness
 * measure nonsense, or crash.
 */
#include "heap_trace.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common.h"

#define SEED         UINT64_C(0x68656170)
#define MIN_SIZE     16u
#define UNIFORM_MAX  1024u
#define POWER_MAX    65536u
#define HOLE_BYTES   32u /* of the adversary's: too small for its large ones */
#define LARGE_BLOCKS 16u /* of the adversary's, at a time */

/* ---- memory ---------------------------------------------------------------------------------- */

static void map_fd(struct trace *t, int fd, size_t nbytes, int prot)
{
    void *p = mmap(NULL, nbytes, prot, MAP_SHARED | MAP_POPULATE, fd, 0);

    if (p == MAP_FAILED) {
        fail("%s: mmap: %s", t->name, strerror(errno));
    }
    t->fd = fd;
    t->header = p;
    t->ops = (const struct trace_op *)(t->header + 1);
}

void trace_map(struct trace *t, int fd)
{
    struct stat st;

    if (fstat(fd, &st) != 0) {
        fail("%s: %s", t->name, strerror(errno));
    }
    map_fd(t, fd, (size_t)st.st_size, PROT_READ);
}

/* A trace with room for `nops`, all zero. */
static struct trace_op *make_room(struct trace *t, uint64_t nops)
{
    size_t nbytes = sizeof(struct trace_header) + nops * sizeof(struct trace_op);
    int fd = memfd_create(t->name, 0);

    if (fd < 0 || ftruncate(fd, (off_t)nbytes) != 0) {
        fail("%s: memory for %" PRIu64 " operations: %s", t->name, nops, strerror(errno));
    }
    map_fd(t, fd, nbytes, PROT_READ | PROT_WRITE);
    return (struct trace_op *)(t->header + 1);
}

static uint32_t crc32_of(const void *bytes, size_t nbytes)
{
    static uint32_t table[256];
    uint32_t crc = UINT32_MAX;

    for (uint32_t i = 0; i < 256 && table[255] == 0; i++) {
        uint32_t c = i;

        for (unsigned bit = 0; bit < 8; bit++) {
            c = (c & 1) != 0 ? UINT32_C(0xedb88320) ^ c >> 1 : c >> 1;
        }
        table[i] = c;
    }
    for (const unsigned char *p = bytes; nbytes-- != 0; p++) {
        crc = table[(crc ^ *p) & 0xff] ^ crc >> 8;
    }
    return ~crc;
}

/* ---- is it sound? ---------------------------------------------------------------------------- */

static const char *check_op(struct trace_op op, uint32_t nids, const uint32_t *sizes)
{
    uint32_t id = trace_id(op);
    unsigned align = op.what >> 25 & 31;
    bool frees = trace_kind(op) == TRACE_FREE;
    bool makes = trace_kind(op) == TRACE_ALLOC || trace_kind(op) == TRACE_ALIGNED;

    if (id >= nids) {
        return "a block whose number is too high";
    }
    if ((op.nbytes == 0) != frees) {
        return frees ? "a free with a size" : "a size of 0";
    }
    if (align > TRACE_MAX_ALIGN || (align != 0) != (trace_kind(op) == TRACE_ALIGNED)) {
        return "an alignment that cannot be";
    }
    if (makes != (sizes[id] == 0)) {
        return makes ? "a block is allocated that is there already"
                     : "a block is freed or resized that is not there";
    }
    return NULL;
}

/* Play it, to see that it makes sense, and what its peak is. */
static void check_ops(struct trace *t)
{
    const struct trace_header *h = t->header;
    uint32_t *sizes = calloc(h->nids, sizeof(sizes[0]));
    uint64_t live = 0;

    if (sizes == NULL) {
        fail("%s: no memory", t->name);
    }
    for (uint64_t i = 0; i < h->nops; i++) {
        struct trace_op op = t->ops[i];
        const char *bad = check_op(op, h->nids, sizes);

        if (bad != NULL) {
            fail("%s: operation %" PRIu64 ": %s", t->name, i, bad);
        }
        live = live - sizes[trace_id(op)] + op.nbytes;
        sizes[trace_id(op)] = op.nbytes;
        if (live > t->peak_bytes) {
            t->peak_bytes = live;
            t->peak_at = i;
        }
    }
    free(sizes);
}

/* ---- synthetic ------------------------------------------------------------------------------- */

/* A trace being written. */
struct writer {
    struct trace_op *ops;
    uint64_t n;
    struct host_rng rng;
    bool power; /* sizes by the power law */
};

struct form {
    const char *name;
    bool power;
    uint64_t live;       /* of the small ones: 100 times fewer */
    uint64_t nexchanges; /* a free and an allocation each; of the small ones: 20 times fewer */
    uint64_t (*nops)(uint64_t live, uint64_t n);
    uint64_t (*write)(struct writer *w, uint64_t live, uint64_t n); /* returns `nbuild` */
};

static uint32_t some_size(struct writer *w)
{
    if (!w->power) {
        return MIN_SIZE + (uint32_t)rng_below(&w->rng, UNIFORM_MAX - MIN_SIZE + 1);
    }
    /* u in [0, 1) of the way from 1/16 down to 1/65536, in integers: the same everywhere. */
    uint64_t u = host_rng_next(&w->rng) >> 32;
    uint64_t inverse =
        (UINT64_C(1) << 32) / MIN_SIZE -
        (u * ((UINT64_C(1) << 32) / MIN_SIZE - (UINT64_C(1) << 32) / POWER_MAX) >> 32);

    return (uint32_t)((UINT64_C(1) << 32) / inverse);
}

static void add(struct writer *w, enum trace_kind kind, uint64_t id, uint32_t nbytes)
{
    w->ops[w->n++] = (struct trace_op){ (uint32_t)kind << 30 | (uint32_t)id, nbytes };
}

static void exchange(struct writer *w, uint64_t id, uint32_t nbytes)
{
    add(w, TRACE_FREE, id, 0);
    add(w, TRACE_ALLOC, id, nbytes);
}

static void fill(struct writer *w, uint64_t live)
{
    for (uint64_t i = 0; i < live; i++) {
        add(w, TRACE_ALLOC, i, some_size(w));
    }
}

static uint64_t nops_exchanged(uint64_t live, uint64_t n)
{
    return live + 2 * n;
}

static uint64_t write_random(struct writer *w, uint64_t live, uint64_t n)
{
    fill(w, live);
    for (uint64_t i = 0; i < n; i++) {
        exchange(w, rng_below(&w->rng, live), some_size(w));
    }
    return live;
}

/* The oldest goes. */
static uint64_t write_fifo(struct writer *w, uint64_t live, uint64_t n)
{
    fill(w, live);
    for (uint64_t i = 0; i < n; i++) {
        exchange(w, i % live, some_size(w));
    }
    return live;
}

static uint64_t nops_lifo(uint64_t live, uint64_t n)
{
    return n / live * live * 2;
}

/* All are taken, and freed from the last to the first, again and again. */
static uint64_t write_lifo(struct writer *w, uint64_t live, uint64_t n)
{
    for (uint64_t round = 0; round < n / live; round++) {
        fill(w, live);
        for (uint64_t i = live; i-- != 0;) {
            add(w, TRACE_FREE, i, 0);
        }
    }
    return 0;
}

static uint64_t nops_adversary(uint64_t live, uint64_t n)
{
    return 3 * live + LARGE_BLOCKS + 2 * n;
}

/* Blocks with holes between them, none of which is large enough for what is then asked for. The
 * holes are made from the top down, which costs no list a search. */
static uint64_t write_adversary(struct writer *w, uint64_t live, uint64_t n)
{
    for (uint64_t i = 0; i < 2 * live; i++) {
        add(w, TRACE_ALLOC, i, HOLE_BYTES);
    }
    for (uint64_t i = live; i-- != 0;) {
        add(w, TRACE_FREE, 2 * i, 0);
    }
    for (uint64_t i = 0; i < LARGE_BLOCKS; i++) {
        add(w, TRACE_ALLOC, 2 * live + i, UNIFORM_MAX);
    }

    uint64_t nbuild = w->n;

    for (uint64_t i = 0; i < n; i++) {
        exchange(w, 2 * live + rng_below(&w->rng, LARGE_BLOCKS),
                 UNIFORM_MAX / 4 + (uint32_t)rng_below(&w->rng, UNIFORM_MAX));
    }
    return nbuild;
}

static const struct form forms[] = {
    { "uniform-1e3", false, 1000, 500000, nops_exchanged, write_random },
    { "uniform-1e4", false, 10000, 500000, nops_exchanged, write_random },
    { "uniform-1e5", false, 100000, 1000000, nops_exchanged, write_random },
    { "uniform-1e6", false, 1000000, 2000000, nops_exchanged, write_random },
    { "power-1e3", true, 1000, 500000, nops_exchanged, write_random },
    { "power-1e4", true, 10000, 500000, nops_exchanged, write_random },
    { "power-1e5", true, 100000, 1000000, nops_exchanged, write_random },
    { "power-1e6", true, 1000000, 2000000, nops_exchanged, write_random },
    { "lifo-1e5", false, 100000, 500000, nops_lifo, write_lifo },
    { "fifo-1e5", false, 100000, 500000, nops_exchanged, write_fifo },
    { "adversary-1e5", false, 100000, 500000, nops_adversary, write_adversary },
};

const char *trace_name(unsigned which)
{
    return which < sizeof(forms) / sizeof(forms[0]) ? forms[which].name : NULL;
}

void trace_make(struct trace *t, unsigned which, bool small)
{
    const struct form *f = &forms[which];
    uint64_t live = f->live / (small ? 100 : 1);
    uint64_t n = f->nexchanges / (small ? 20 : 1);

    snprintf(t->name, sizeof(t->name), "%s%s", f->name, small ? "-small" : "");

    struct writer w = { make_room(t, f->nops(live, n)), 0, { SEED + which }, f->power };
    struct trace_header *h = (struct trace_header *)(uintptr_t)t->header;

    *h = (struct trace_header){
        .version = TRACE_VERSION,
        .nids = (uint32_t)(f->write == write_adversary ? 2 * live + LARGE_BLOCKS : live),
        .nbuild = (uint32_t)f->write(&w, live, n),
        .nops = w.n,
    };
    memcpy(h->magic, TRACE_MAGIC, sizeof(h->magic));
    h->crc = crc32_of(t->ops, h->nops * sizeof(t->ops[0]));
    check_ops(t);
}

/* ---- files ----------------------------------------------------------------------------------- */

static void read_all(int fd, void *at, size_t nbytes, const char *path)
{
    for (size_t done = 0; done < nbytes;) {
        ssize_t n = read(fd, (char *)at + done, nbytes - done);

        if (n <= 0) {
            fail("%s: %s", path, n == 0 ? "shorter than it was" : strerror(errno));
        }
        done += (size_t)n;
    }
}

static const char *check_header(const struct trace_header *h, uint64_t file_bytes)
{
    if (memcmp(h->magic, TRACE_MAGIC, sizeof(h->magic)) != 0) {
        return "not a trace of a heap";
    }
    if (h->version != TRACE_VERSION) {
        return "a trace of another version; delete it, and it is recorded again";
    }
    if (h->nops > file_bytes / sizeof(struct trace_op) ||
        sizeof(*h) + h->nops * sizeof(struct trace_op) != file_bytes) {
        return "its length is not what its header says";
    }
    if (h->nops == 0 || h->nids == 0 || h->nids > TRACE_MAX_IDS || h->nbuild >= h->nops) {
        return "its header makes no sense";
    }
    return NULL;
}

void trace_read(struct trace *t, const char *path)
{
    const char *base = strrchr(path, '/') != NULL ? strrchr(path, '/') + 1 : path;
    struct trace_header h;
    const char *bad;
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    snprintf(t->name, sizeof(t->name), "%.*s", (int)strcspn(base, "."), base);
    if (fd < 0 || fstat(fd, &st) != 0) {
        fail("%s: %s", path, strerror(errno));
    }
    if ((uint64_t)st.st_size < sizeof(h)) {
        fail("%s: not a trace of a heap", path);
    }
    read_all(fd, &h, sizeof(h), path);
    bad = check_header(&h, (uint64_t)st.st_size);
    if (bad != NULL) {
        fail("%s: %s", path, bad);
    }
    read_all(fd, make_room(t, h.nops), h.nops * sizeof(struct trace_op), path);
    close(fd);
    *(struct trace_header *)(uintptr_t)t->header = h;
    if (crc32_of(t->ops, h.nops * sizeof(t->ops[0])) != h.crc) {
        fail("%s: damaged: its checksum is another", path);
    }
    check_ops(t);
}
