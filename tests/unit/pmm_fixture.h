/*
 * pmm_fixture.h - frame pools for tests, each made by the real memmap from a list of parts.
 */
#ifndef PMM_FIXTURE_H
#define PMM_FIXTURE_H

#include "host_port.h"

#include <stdlib.h>
#include <sys/mman.h>

#include "mm/memmap.h"
#include "mm/pmm.h"

#define PAGE UINT64_C(4096)
#define MiB  UINT64_C(256) /* in frames, like all that follows */
#define GiB  UINT64_C(0x40000)
#define TiB  UINT64_C(0x10000000)

#define NO_BASE UINT64_MAX

/* What firmware says of a part of memory. */
enum part_is {
    GIVEN, /* conventional memory: free at the start */
    LATER, /* boot services data: not before pmm_add() */
    SPECIAL,
    UNACCEPTED,
    PERSISTENT,
};

struct part {
    uint64_t base; /* in frames */
    uint64_t count;
    enum part_is is;
};

struct fixture {
    struct memmap map;
    void *map_bytes;
    void *map_storage;
    void *storage;
    uint64_t storage_bytes;
    struct pmm *p;
};

static inline void build_map(struct fixture *f, const struct part *parts, size_t n)
{
    static const struct {
        uint32_t type;
        uint64_t attr; /* beside WB */
    } efi[] = {
        [GIVEN] = { 7, 0 },
        [LATER] = { 4, 0 },
        [SPECIAL] = { 7, 0x40000 },
        [UNACCEPTED] = { 15, 0 },
        [PERSISTENT] = { 14, 0x8000 },
    };
    struct memmap_raw raw = { .nbytes = n * 48, .stride = 48, .version = 1 };
    uint64_t nbytes = memmap_storage_bytes(n);
    unsigned char *bytes = calloc(n, 48);

    assert_non_null(bytes);
    for (size_t i = 0; i < n; i++) {
        uint64_t start = parts[i].base * PAGE;
        uint64_t attr = efi[parts[i].is].attr | 8;

        memcpy(bytes + i * 48, &efi[parts[i].is].type, 4);
        memcpy(bytes + i * 48 + 8, &start, 8);
        memcpy(bytes + i * 48 + 24, &parts[i].count, 8);
        memcpy(bytes + i * 48 + 32, &attr, 8);
    }
    raw.bytes = f->map_bytes = bytes;
    f->map_storage = malloc(nbytes);
    assert_non_null(f->map_storage);
    assert_int_equal(memmap_build(&f->map, &raw, f->map_storage, nbytes), MM_OK);
    assert_sound(memmap_check(&f->map));
}

/* Large storage is mapped, and full of zeros by accident of the host only: what is touched shows.
 * Small storage is of exact size, so that a byte too many is seen, and full of rubbish. */
#define MAPPED_STORAGE (UINT64_C(16) << 20)

/* A pool of `kind` from f->map. */
static inline void make_pool(struct fixture *f, enum pmm_kind kind, unsigned ncpus)
{
    f->storage_bytes = pmm_storage_bytes(&f->map, kind, ncpus);
    assert_true(f->storage_bytes > 0);
    if (f->storage_bytes <= MAPPED_STORAGE) {
        assert_int_equal(posix_memalign(&f->storage, PAGE, f->storage_bytes), 0);
        memset(f->storage, 0xa5, f->storage_bytes);
    } else {
        f->storage = mmap(NULL, f->storage_bytes, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        assert_true(f->storage != MAP_FAILED);
    }
    host_set_cpu(0);
    assert_int_equal(pmm_init(&f->p, &f->map, kind, ncpus, f->storage, f->storage_bytes), MM_OK);
    assert_ptr_equal(f->p, f->storage);
}

static inline void drop_pool(struct fixture *f)
{
    if (f->storage_bytes <= MAPPED_STORAGE) {
        free(f->storage);
    } else {
        munmap(f->storage, f->storage_bytes);
    }
    f->storage = NULL;
}

static inline void open_kind(struct fixture *f, const struct part *parts, size_t n,
                             enum pmm_kind kind, unsigned ncpus)
{
    build_map(f, parts, n);
    make_pool(f, kind, ncpus);
    assert_sound(pmm_check(f->p));
}

static inline void close_pool(struct fixture *f)
{
    drop_pool(f);
    free(f->map_storage);
    free(f->map_bytes);
    host_set_cpu(0);
}

/* Of PMM_GENERAL, as nearly always. `parts` is an array. */
#define open_pool(f, parts, ncpus) open_kind((f), (parts), MM_COUNTOF(parts), PMM_GENERAL, (ncpus))

/* A build with PMM_DEBUG writes to every frame that is taken or put: not for tests of many GiB, or
 * of memory that the host does not have. */
#ifdef PMM_DEBUG
#define SKIP_IF_POISONED() skip()
#else
#define SKIP_IF_POISONED() ((void)0)
#endif

static inline struct pmm_stats stats_of(struct pmm *p)
{
    struct pmm_stats s;

    pmm_get_stats(p, &s);
    return s;
}

/* What statistics should say of free memory, counted from its runs. */
struct free_count {
    uint64_t frames, below_4g, longest, outside_2m;
    uint64_t blocks[PMM_MAX_ORDER + 1];
};

/* [base, end), which may be empty, is free, and what is beside it is not. */
static inline void count_free_run(struct free_count *c, uint64_t base, uint64_t end)
{
    c->frames += end - base;
    c->below_4g += base < 4 * GiB ? mm_min(end, 4 * GiB) - base : 0;
    c->longest = mm_max(c->longest, end - base);
    while (base < end) {
        unsigned order = 0;

        while (order < PMM_MAX_ORDER && base % (UINT64_C(2) << order) == 0 &&
               base + (UINT64_C(2) << order) <= end) {
            order++;
        }
        c->blocks[order]++;
        c->outside_2m += order < 9 ? UINT64_C(1) << order : 0;
        base += UINT64_C(1) << order;
    }
}

static inline void assert_free_count(const struct pmm_stats *s, const struct free_count *c)
{
    assert_int_equal(s->free_frames, c->frames);
    assert_int_equal(s->below_4g_free, c->below_4g);
    assert_int_equal(s->largest_free, c->longest);
    assert_int_equal(s->outside_2m, c->outside_2m);
    for (unsigned order = 0; order <= PMM_MAX_ORDER; order++) {
        assert_int_equal(s->free_blocks[order], c->blocks[order]);
    }
}

#endif
