/*
 * test_memmap.c - the normaliser against a naive model, against what firmware has done to others,
 * and against noise.
 *
 * The model is an array with one entry a page: it says what each page must be, by looking at every
 * descriptor for every page. Input buffers and storage are malloc'd at their exact size, so that
 * AddressSanitizer sees a read or write of one byte too many.
 */
#include <dirent.h>
#include <inttypes.h>
#include <stdlib.h>
#include <time.h>

#include "host_port.h"
#include "mm/memmap.h"
#include "plain_kind.h"

#define PAGE  UINT64_C(4096)
#define WB    UINT64_C(0xf) /* UC, WC, WT, WB: what most firmware says of RAM */
#define RT    UINT64_C(0x8000000000000000)
#define SP    UINT64_C(0x40000)
#define NV    UINT64_C(0x8000)
#define GiB   UINT64_C(0x40000000)
#define NONE  UINT32_C(0xffffffff)
#define NKIND 13

/* ---- building maps --------------------------------------------------------------------------- */

struct desc {
    uint32_t type;
    uint64_t start;
    uint64_t npages;
    uint64_t attr;
};

/* A map and all that it stands on. */
struct fixture {
    struct memmap m;
    void *bytes;
    void *storage;
    uint64_t storage_bytes;
};

static void *exact_copy(const void *bytes, size_t nbytes)
{
    void *p = malloc(nbytes);

    assert_true(p != NULL || nbytes == 0);
    if (nbytes != 0) {
        memcpy(p, bytes, nbytes);
    }
    return p;
}

static void build_raw(struct fixture *f, const void *bytes, uint64_t nbytes, uint64_t stride)
{
    uint64_t n = stride >= 40 && stride % 8 == 0 ? nbytes / stride : 0;
    struct memmap_raw raw = { .nbytes = nbytes, .stride = stride, .version = 1 };

    f->bytes = exact_copy(bytes, nbytes);
    f->storage_bytes = memmap_storage_bytes(n);
    f->storage = malloc(f->storage_bytes);
    assert_non_null(f->storage);
    memset(f->storage, 0xa5, f->storage_bytes < 1 << 20 ? f->storage_bytes : 1 << 20);
    raw.bytes = f->bytes;
    assert_int_equal(memmap_build(&f->m, &raw, f->storage, f->storage_bytes), MM_OK);
    assert_sound(memmap_check(&f->m));
}

static void put_desc(unsigned char *at, const struct desc *d)
{
    uint64_t virt = 0;

    memcpy(at, &d->type, 4);
    memcpy(at + 8, &d->start, 8);
    memcpy(at + 16, &virt, 8);
    memcpy(at + 24, &d->npages, 8);
    memcpy(at + 32, &d->attr, 8);
}

static void build_stride(struct fixture *f, const struct desc *d, size_t n, uint64_t stride)
{
    unsigned char *bytes = malloc(n * stride + 1);

    assert_non_null(bytes);
    memset(bytes, 0xee, n * stride);
    for (size_t i = 0; i < n; i++) {
        put_desc(bytes + i * stride, &d[i]);
    }
    build_raw(f, bytes, n * stride, stride);
    free(bytes);
}

static void build(struct fixture *f, const struct desc *d, size_t n)
{
    build_stride(f, d, n, 48);
}

static void drop(struct fixture *f)
{
    free(f->bytes);
    free(f->storage);
}

/* ---- looking at maps ------------------------------------------------------------------------- */

static unsigned count_rule(const struct memmap *m, const char *rule)
{
    unsigned n = 0;

    for (uint32_t i = 0; i < m->nfindings; i++) {
        n += strcmp(m->findings[i].rule, rule) == 0;
    }
    return n;
}

static const struct memmap_finding *find_rule(const struct memmap *m, const char *rule)
{
    for (uint32_t i = 0; i < m->nfindings; i++) {
        if (strcmp(m->findings[i].rule, rule) == 0) {
            return &m->findings[i];
        }
    }
    fail_msg("no finding of rule %s", rule);
    return NULL;
}

static void assert_region(const struct memmap *m, uint32_t i, uint64_t base, uint64_t end,
                          enum memmap_kind kind, uint32_t desc)
{
    assert_true(i < m->nregions);
    assert_int_equal(m->regions[i].base, base);
    assert_int_equal(m->regions[i].end, end);
    assert_int_equal(m->regions[i].kind, kind);
    assert_int_equal(m->regions[i].desc, desc);
}

/* ---- the model ------------------------------------------------------------------------------- */

/* Pages 224..319: the first MiB ends in the middle. */
#define MODEL_FIRST 224
#define MODEL_PAGES 96

struct model {
    int kind[MODEL_PAGES];      /* -1: in no region */
    uint32_t desc[MODEL_PAGES]; /* NONE: a claim */
};

static int model_kind(const struct desc *d)
{
    int kind = d->type < 16 ? plain_kind[d->type] : MEMMAP_RESERVED;
    bool ram = d->type == 1 || d->type == 2 || d->type == 3 || d->type == 4 || d->type == 7 ||
               d->type == 9 || d->type == 14;

    if (ram && (d->attr & RT) != 0) {
        return MEMMAP_RUNTIME_DATA;
    }
    if (d->type == 7 && (d->attr & NV) != 0) {
        return MEMMAP_PERSISTENT;
    }
    if (d->type == 7 && (d->attr & SP) != 0) {
        return MEMMAP_SPECIAL;
    }
    if ((d->attr & 8) == 0 && (d->type == 3 || d->type == 4 || d->type == 7 || d->type == 9)) {
        return MEMMAP_RESERVED;
    }
    return kind;
}

static bool model_covers(const struct desc *d, uint64_t page)
{
    uint64_t end = d->start + d->npages * PAGE;
    int kind = model_kind(d);
    bool inwards = kind == MEMMAP_FREE || kind == MEMMAP_FREE_AFTER_EXIT ||
                   kind == MEMMAP_FREE_AFTER_ACPI || kind == MEMMAP_SPECIAL ||
                   kind == MEMMAP_PERSISTENT;

    if (inwards) {
        return d->start <= page * PAGE && (page + 1) * PAGE <= end;
    }
    return d->start < (page + 1) * PAGE && page * PAGE < end;
}

static void model_build(struct model *w, const struct desc *d, size_t n)
{
    for (unsigned p = 0; p < MODEL_PAGES; p++) {
        w->kind[p] = -1;
        w->desc[p] = NONE;
        for (size_t i = 0; i < n; i++) {
            int kind = model_kind(&d[i]);

            if (d[i].npages != 0 && model_covers(&d[i], MODEL_FIRST + p) && kind > w->kind[p]) {
                w->kind[p] = kind;
                w->desc[p] = (uint32_t)i;
            }
        }
    }
}

static void model_claim(struct model *w, uint64_t base, uint64_t nbytes, int kind)
{
    for (unsigned p = 0; p < MODEL_PAGES; p++) {
        uint64_t at = (MODEL_FIRST + p) * PAGE;

        if (at < base + nbytes && base < at + PAGE && w->kind[p] < kind) {
            w->kind[p] = kind;
            w->desc[p] = NONE;
        }
    }
}

/* The highest place for memmap_take(), or -1. */
static int64_t model_take(const struct model *w, uint64_t npages, uint64_t align, uint64_t limit)
{
    for (uint64_t base = MODEL_FIRST + MODEL_PAGES; base-- > 256;) {
        bool fits = base * PAGE % align == 0 && (base + npages) * PAGE <= limit &&
                    base + npages <= MODEL_FIRST + MODEL_PAGES;

        for (uint64_t p = base; fits && p < base + npages; p++) {
            fits = w->kind[p - MODEL_FIRST] == MEMMAP_FREE;
        }
        if (fits) {
            return (int64_t)(base * PAGE);
        }
    }
    return -1;
}

static void assert_model(const struct memmap *m, const struct model *w)
{
    uint64_t total[NKIND] = { 0 };
    uint64_t direct_end = 0;

    assert_sound(memmap_check(m));
    for (unsigned p = 0; p < MODEL_PAGES; p++) {
        uint64_t at = (MODEL_FIRST + p) * PAGE;
        const struct memmap_region *r = memmap_find(m, at);

        assert_ptr_equal(r, memmap_find(m, at + PAGE - 1));
        if (w->kind[p] < 0) {
            assert_null(r);
            continue;
        }
        assert_non_null(r);
        assert_int_equal(r->kind, w->kind[p]);
        assert_int_equal(r->desc, w->desc[p]);
        total[w->kind[p]] += PAGE;
        if (w->kind[p] == MEMMAP_FREE || w->kind[p] == MEMMAP_FREE_AFTER_EXIT ||
            w->kind[p] == MEMMAP_FREE_AFTER_ACPI || w->kind[p] == MEMMAP_KERNEL) {
            direct_end = at + PAGE;
        }
    }
    for (int k = 0; k < NKIND; k++) {
        assert_int_equal(memmap_total(m, (enum memmap_kind)k), total[k]);
    }
    assert_int_equal(memmap_direct_end(m), direct_end);
}

static struct desc random_desc(struct host_rng *r)
{
    static const uint64_t attrs[] = { WB, WB, WB, WB, WB | RT, 0, 1, WB | SP, WB | NV };
    uint64_t first = MODEL_FIRST + host_rng_below(r, MODEL_PAGES - 1);
    uint64_t npages = host_rng_below(r, 20);
    uint32_t type = host_rng_below(r, 3) == 0 ? 7 : (uint32_t)host_rng_below(r, 17);
    uint64_t start = first * PAGE;

    if (npages > MODEL_FIRST + MODEL_PAGES - 1 - first) {
        npages = MODEL_FIRST + MODEL_PAGES - 1 - first;
    }
    if (host_rng_below(r, 8) == 0) {
        start += host_rng_below(r, PAGE); /* stays inside the window: one page was kept free */
    }
    if (type == 16) {
        type = (uint32_t)host_rng_next(r) | 16;
    }
    return (struct desc){ type, start, npages, attrs[host_rng_below(r, MM_COUNTOF(attrs))] };
}

/* ---- tests: one map, one thing --------------------------------------------------------------- */

static void test_plain_map(void **state)
{
    static const struct desc d[] = {
        { 7, 0, 0xa0, WB },
        { 7, 0x100000, 0x700, WB },
        { 4, 0x800000, 0x100, WB },
        { 5, 0x900000, 0x10, WB | RT },
        { 11, 0xfee00000, 1, 1 | RT },
    };
    struct fixture f;

    (void)state;
    build(&f, d, MM_COUNTOF(d));
    assert_int_equal(f.m.ndescs, 5);
    assert_int_equal(f.m.nregions, 5);
    assert_int_equal(f.m.nfindings, 0);
    assert_region(&f.m, 0, 0, 0xa0000, MEMMAP_FREE, 0);
    assert_region(&f.m, 1, 0x100000, 0x800000, MEMMAP_FREE, 1);
    assert_region(&f.m, 2, 0x800000, 0x900000, MEMMAP_FREE_AFTER_EXIT, 2);
    assert_region(&f.m, 3, 0x900000, 0x910000, MEMMAP_RUNTIME_CODE, 3);
    assert_region(&f.m, 4, 0xfee00000, 0xfee01000, MEMMAP_MMIO, 4);
    assert_int_equal(f.m.regions[3].attr, WB | RT);
    assert_int_equal(f.m.regions[3].type, 5);
    assert_int_equal(memmap_desc(&f.m, 3).number_of_pages, 0x10);
    assert_null(memmap_find(&f.m, 0xa0000));
    assert_null(memmap_find(&f.m, UINT64_MAX));
    assert_int_equal(memmap_direct_end(&f.m), 0x900000);
    drop(&f);
}

static void test_kinds(void **state)
{
    (void)state;
    for (uint32_t type = 0; type < 16; type++) {
        assert_int_equal(memmap_kind_of(type, WB), plain_kind[type]);
    }
    assert_int_equal(memmap_kind_of(7, WB | SP), MEMMAP_SPECIAL);
    assert_int_equal(memmap_kind_of(7, WB | NV), MEMMAP_PERSISTENT);
    assert_int_equal(memmap_kind_of(7, WB | RT), MEMMAP_RUNTIME_DATA);
    assert_int_equal(memmap_kind_of(7, 0), MEMMAP_RESERVED);
    assert_int_equal(memmap_kind_of(7, 7), MEMMAP_RESERVED);
    assert_int_equal(memmap_kind_of(7, 8), MEMMAP_FREE);
    assert_int_equal(memmap_kind_of(4, 1), MEMMAP_RESERVED);
    assert_int_equal(memmap_kind_of(9, 1), MEMMAP_RESERVED);
    assert_int_equal(memmap_kind_of(2, 0), MEMMAP_FREE_AFTER_EXIT);
    assert_int_equal(memmap_kind_of(0, WB | RT), MEMMAP_RESERVED);
    assert_int_equal(memmap_kind_of(4, WB | RT), MEMMAP_RUNTIME_DATA);
    assert_int_equal(memmap_kind_of(9, WB | RT), MEMMAP_RUNTIME_DATA);
    assert_int_equal(memmap_kind_of(14, WB | RT), MEMMAP_RUNTIME_DATA);
    assert_int_equal(memmap_kind_of(10, WB | RT), MEMMAP_ACPI_NVS);
    assert_int_equal(memmap_kind_of(8, WB | RT), MEMMAP_BAD);
    assert_int_equal(memmap_kind_of(15, WB | RT), MEMMAP_UNACCEPTED);
    assert_int_equal(memmap_kind_of(5, 0), MEMMAP_RUNTIME_CODE);
    assert_int_equal(memmap_kind_of(16, WB), MEMMAP_RESERVED);
    assert_int_equal(memmap_kind_of(0x70000000, WB), MEMMAP_RESERVED);
    assert_int_equal(memmap_kind_of(0xffffffff, WB), MEMMAP_RESERVED);
    for (int kind = 0; kind < NKIND; kind++) {
        assert_int_equal(memmap_kind_is_direct((enum memmap_kind)kind),
                         kind == MEMMAP_FREE || kind == MEMMAP_FREE_AFTER_EXIT ||
                             kind == MEMMAP_FREE_AFTER_ACPI || kind == MEMMAP_KERNEL);
    }
}

static void test_names(void **state)
{
    char buf[128];

    (void)state;
    assert_string_equal(memmap_kind_name(MEMMAP_FREE_AFTER_EXIT), "free after exit");
    assert_string_equal(memmap_kind_name(MEMMAP_BAD), "bad");
    assert_string_equal(memmap_kind_name(MEMMAP_KINDS), "unknown");
    assert_string_equal(memmap_type_name(4), "BootServicesData");
    assert_string_equal(memmap_type_name(15), "Unaccepted");
    assert_string_equal(memmap_type_name(16), "unknown");
    assert_string_equal(memmap_type_name(0x6fffffff), "unknown");
    assert_string_equal(memmap_type_name(0x70000000), "OEM-defined");
    assert_string_equal(memmap_type_name(0x80000000), "OS-defined");
    for (uint32_t type = 0; type < 16; type++) {
        assert_string_not_equal(memmap_type_name(type), "unknown");
    }

    assert_int_equal(memmap_attr_text(WB | RT, buf, sizeof(buf)), 19);
    assert_string_equal(buf, "UC|WC|WT|WB|RUNTIME");
    assert_int_equal(memmap_attr_text(0, buf, sizeof(buf)), 0);
    assert_string_equal(buf, "");
    assert_int_equal(memmap_attr_text(8 | UINT64_C(1) << 40 | 0x20, buf, sizeof(buf)), 16);
    assert_string_equal(buf, "WB|0x10000000020");
    assert_int_equal(memmap_attr_text(UINT64_C(0xf00000000000000), buf, sizeof(buf)), 17);
    assert_string_equal(buf, "0xf00000000000000");
    assert_int_equal(memmap_attr_text(WB | RT, buf, 6), 19);
    assert_string_equal(buf, "UC|WC");
    assert_int_equal(memmap_attr_text(WB | RT, buf, 1), 19);
    assert_string_equal(buf, "");
    memmap_attr_text(UINT64_MAX, buf, sizeof(buf));
    assert_non_null(strstr(buf, "MORE_RELIABLE|RO|SP|CPU_CRYPTO|HOT_PLUGGABLE|RUNTIME|0x"));

    for (int err = 0; err >= -5; err--) {
        assert_string_not_equal(mm_strerror(err), "unknown error");
    }
    assert_string_equal(mm_strerror(MM_ENOMEM), "out of memory");
    assert_string_equal(mm_strerror(-77), "unknown error");
    assert_string_equal(mm_strerror(1), "unknown error");
}

/* Sizes that cannot be strode, or do not come out even: rows 4 and 5 of the catalogue. */
static void test_strides(void **state)
{
    static const struct desc d[] = { { 7, 0x200000, 16, WB }, { 0, 0x300000, 16, WB } };
    static const uint64_t bad[] = { 0, 1, 8, 32, 39, 41, 44, 50, UINT64_MAX, UINT64_MAX - 3 };
    struct fixture f;

    (void)state;
    for (uint64_t stride = 40; stride <= 256; stride += 8) {
        build_stride(&f, d, 2, stride);
        assert_int_equal(f.m.nregions, 2);
        assert_int_equal(f.m.nfindings, 0);
        assert_region(&f.m, 1, 0x300000, 0x310000, MEMMAP_RESERVED, 1);
        drop(&f);
    }
    for (size_t i = 0; i < MM_COUNTOF(bad); i++) {
        unsigned char bytes[96] = { 0 };

        build_raw(&f, bytes, sizeof(bytes), bad[i]);
        assert_int_equal(f.m.ndescs, 0);
        assert_int_equal(f.m.nregions, 0);
        assert_int_equal(f.m.nfindings, 1);
        assert_int_equal(f.m.findings[0].severity, MEMMAP_ERROR);
        assert_int_equal(f.m.findings[0].desc, NONE);
        assert_string_equal(f.m.findings[0].rule, "M01");
        drop(&f);
    }
    for (uint64_t nbytes = 0; nbytes <= 96; nbytes++) { /* partial last descriptors, none at all */
        unsigned char bytes[96];

        put_desc(bytes, &d[0]);
        put_desc(bytes + 48, &d[1]);
        build_raw(&f, bytes, nbytes, 48);
        assert_int_equal(f.m.ndescs, nbytes / 48);
        assert_int_equal(f.m.nregions, nbytes / 48);
        assert_int_equal(count_rule(&f.m, "M02"), nbytes == 0 || nbytes % 48 != 0);
        drop(&f);
    }
}

static void test_version(void **state)
{
    unsigned char bytes[40];
    unsigned char storage[32768] __attribute__((aligned(16)));
    struct desc d = { 7, 0x200000, 1, WB };
    struct memmap_raw raw = { bytes, sizeof(bytes), 40, 2 };
    struct memmap m;

    (void)state;
    put_desc(bytes, &d);
    assert_true(memmap_storage_bytes(1) <= sizeof(storage));
    assert_int_equal(memmap_build(&m, &raw, storage, sizeof(storage)), MM_OK);
    assert_int_equal(find_rule(&m, "M03")->severity, MEMMAP_WARN);
    assert_int_equal(m.nregions, 1);
}

static void test_storage(void **state)
{
    static const struct desc d[] = { { 7, 0x200000, 16, WB }, { 0, 0x300000, 16, WB } };
    unsigned char bytes[80];
    struct memmap_raw raw = { bytes, sizeof(bytes), 40, 1 };
    struct memmap m;
    struct memmap before;
    uint64_t needed = memmap_storage_bytes(2);
    unsigned char *storage = malloc(needed + 16);

    (void)state;
    put_desc(bytes, &d[0]);
    put_desc(bytes + 40, &d[1]);
    memset(&m, 0x5a, sizeof(m));
    memcpy(&before, &m, sizeof(m));
    for (uint64_t n = 0; n < needed; n += n + 64 < needed ? 61 : 1) {
        assert_int_equal(memmap_build(&m, &raw, storage, n), MM_ENOSPC);
    }
    for (unsigned off = 1; off < 16; off++) {
        assert_int_equal(memmap_build(&m, &raw, storage + off, needed), MM_EINVAL);
    }
    assert_memory_equal(&m, &before, sizeof(m));
    assert_int_equal(memmap_build(&m, &raw, storage, needed), MM_OK);
    assert_int_equal(m.nregions, 2);
    free(storage);

    assert_true(memmap_storage_bytes(0) > 0);
    assert_int_equal(memmap_storage_bytes(UINT64_MAX), 0);
    assert_int_equal(memmap_storage_bytes(UINT64_MAX / 2), 0);
    assert_int_equal(memmap_storage_bytes(UINT64_C(1) << 31), 0);
    assert_true(memmap_storage_bytes(UINT64_C(1) << 30) > UINT64_C(1) << 36);

    /* A size that says more than any storage could hold is refused before a byte is read. */
    raw.nbytes = UINT64_MAX;
    assert_int_equal(memmap_build(&m, &raw, &m, 0), MM_ENOSPC);
}

/* Rows 7, 8, 9: no pages, past 2^64, misaligned; and the very end of the address space. */
static void test_bounds(void **state)
{
    static const struct desc d[] = {
        { 3, 0, 0, WB },                                 /* 0: ThinkPad: no pages, at 0 */
        { 7, 0x100000, 0x100, WB },                      /* 1 */
        { 7, UINT64_C(0xfffffffffffff000), 2, WB },      /* 2: wraps */
        { 7, 0x300000, UINT64_MAX, WB },                 /* 3: product wraps */
        { 7, 0x300000, UINT64_C(1) << 52, WB },          /* 4: sum wraps */
        { 11, 0x1e88180, 1, 1 | RT },                    /* 5: LX2160A's misaligned MMIO */
        { 7, 0x2000800, 4, WB },                         /* 6: misaligned RAM */
        { 7, 0x3000001, 1, WB },                         /* 7: misaligned, no whole page */
        { 11, UINT64_C(0xffffffffffffd000), 3, 1 | RT }, /* 8: ends at 2^64 */
        { 0, UINT64_C(0xfffffffffffff000), 1, WB },      /* 9: nothing but the last page */
        { 8, UINT64_C(0xffffffffffffeff8), 1, WB },      /* 10: rounds up to 2^64 */
        { 7, 0x300000, (UINT64_C(1) << 52) + 1, WB },    /* 11: product wraps to one page */
    };
    static const struct desc last_byte[] = { { 8, UINT64_C(0xffffffffffffe001), 1, WB } };
    struct fixture f;

    (void)state;
    build(&f, d, MM_COUNTOF(d));
    assert_int_equal(f.m.nregions, 5);
    assert_region(&f.m, 0, 0x100000, 0x200000, MEMMAP_FREE, 1);
    assert_region(&f.m, 1, 0x1e88000, 0x1e8a000, MEMMAP_MMIO, 5);
    assert_region(&f.m, 2, 0x2001000, 0x2004000, MEMMAP_FREE, 6);
    assert_region(&f.m, 3, UINT64_C(0xffffffffffffd000), UINT64_C(0xffffffffffffe000), MEMMAP_MMIO,
                  8);
    assert_region(&f.m, 4, UINT64_C(0xffffffffffffe000), UINT64_C(0xfffffffffffff000), MEMMAP_BAD,
                  10);
    assert_int_equal(count_rule(&f.m, "M04"), 1);
    assert_int_equal(count_rule(&f.m, "M05"), 4);
    assert_int_equal(count_rule(&f.m, "M39"), 3);
    assert_int_equal(count_rule(&f.m, "M07"), 4);
    assert_int_equal(count_rule(&f.m, "M08"), 1);
    assert_int_equal(count_rule(&f.m, "M09"), 0);
    assert_int_equal(find_rule(&f.m, "M04")->desc, 0);
    assert_int_equal(find_rule(&f.m, "M07")->base, 0x1e88180);
    assert_int_equal(find_rule(&f.m, "M07")->end, 0x1e89180);
    drop(&f);

    build(&f, last_byte, 1); /* one byte of it lies in the last page */
    assert_int_equal(f.m.nregions, 1);
    assert_region(&f.m, 0, UINT64_C(0xffffffffffffe000), UINT64_C(0xfffffffffffff000), MEMMAP_BAD,
                  0);
    drop(&f);
}

/* Row 11, Limine#185: usable and reserved overlap; the order in the map must not matter. */
static void test_overlaps(void **state)
{
    static const struct desc forth[] = {
        { 7, 0x100000, 0x100, WB }, { 0, 0x140000, 0x20, WB },  { 4, 0x1f0000, 0x20, WB },
        { 7, 0x1f0000, 0x10, WB },  { 7, 0x100000, 0x100, WB },
    };
    struct desc back[5];
    struct fixture f;

    (void)state;
    build(&f, forth, 5);
    assert_int_equal(f.m.nregions, 4);
    assert_region(&f.m, 0, 0x100000, 0x140000, MEMMAP_FREE, 0);
    assert_region(&f.m, 1, 0x140000, 0x160000, MEMMAP_RESERVED, 1);
    assert_region(&f.m, 2, 0x160000, 0x1f0000, MEMMAP_FREE, 0);
    assert_region(&f.m, 3, 0x1f0000, 0x210000, MEMMAP_FREE_AFTER_EXIT, 2);
    assert_int_equal(count_rule(&f.m, "M08"), 4);
    assert_int_equal(count_rule(&f.m, "M09"), 1);
    assert_int_equal(find_rule(&f.m, "M08")->desc, 4); /* the twin of descriptor 0 */
    assert_int_equal(find_rule(&f.m, "M08")->other, 0);
    assert_int_equal(find_rule(&f.m, "M08")->base, 0x100000);
    assert_int_equal(find_rule(&f.m, "M08")->end, 0x200000);
    drop(&f);

    for (unsigned i = 0; i < 5; i++) {
        back[i] = forth[4 - i];
    }
    build(&f, back, 5);
    assert_int_equal(f.m.nregions, 4);
    assert_region(&f.m, 1, 0x140000, 0x160000, MEMMAP_RESERVED, 3);
    assert_region(&f.m, 3, 0x1f0000, 0x210000, MEMMAP_FREE_AFTER_EXIT, 2);
    drop(&f);

    /* Two that share a page only because both were rounded outwards do not overlap. */
    static const struct desc shared[] = { { 0, 0x100800, 1, WB }, { 11, 0x101800, 1, 1 | RT } };
    build(&f, shared, 2);
    assert_int_equal(count_rule(&f.m, "M08"), 0);
    assert_int_equal(f.m.nregions, 2);
    assert_region(&f.m, 0, 0x100000, 0x101000, MEMMAP_RESERVED, 0);
    assert_region(&f.m, 1, 0x101000, 0x103000, MEMMAP_MMIO, 1);
    drop(&f);
}

/* Rows 12, 18, 20 to 25, 33, 34: shapes that real machines have shown. */
static void test_firmware_shapes(void **state)
{
    static const struct desc d[] = {
        { 6, 0, 1, WB | RT },                                /* 0: TRX40: runtime data at 0 */
        { 7, 0x1000, 0x8f, WB },                             /* 1 */
        { 5, 0x200000, 0x10, WB },                           /* 2: eve#1396: no RUNTIME */
        { 0, 0x210000, 0x10, RT },                           /* 3: Apple: RUNTIME on type 0 */
        { 7, 0x220000, 0x10, 0 },                            /* 4: no cacheability */
        { 7, 0x230000, 0x10, WB | SP },                      /* 5: HBM or CXL */
        { 15, 0x240000, 0x10, WB },                          /* 6: unaccepted */
        { 0x80000001, 0x250000, 0x10, WB },                  /* 7: an OS loader's type */
        { 0x70000001, 0x260000, 0x10, WB },                  /* 8: an OEM's type */
        { 0x1234, 0x270000, 0x10, WB },                      /* 9: nobody's type */
        { 4, 0x280000, 0x10, WB | RT },                      /* 10: RUNTIME on boot data */
        { 7, 0x100000000, 0x1000, WB },                      /* 11 */
        { 11, 0xfee00000, 1, UINT64_C(0x800000000000100d) }, /* 12: MMIO claims WB */
        { 11, UINT64_C(0x10000000000), 0x20200, 1 | RT },    /* 13: MMIO above 1 TiB */
        { 0, UINT64_C(0xfd00000000), 0x300000, 1 },          /* 14: HyperTransport hole */
        { 8, 0x300000000, 0x10, WB },                        /* 15: memory with errors */
        { 7, 0x400000000, 0x10, WB | UINT64_C(0x10000) },    /* 16: MORE_RELIABLE */
    };
    static const int kinds[] = {
        MEMMAP_RUNTIME_DATA, MEMMAP_FREE,     MEMMAP_RUNTIME_CODE, MEMMAP_RESERVED,
        MEMMAP_RESERVED,     MEMMAP_SPECIAL,  MEMMAP_UNACCEPTED,   MEMMAP_RESERVED,
        MEMMAP_RESERVED,     MEMMAP_RESERVED, MEMMAP_RUNTIME_DATA, MEMMAP_FREE,
        MEMMAP_MMIO,         MEMMAP_MMIO,     MEMMAP_RESERVED,     MEMMAP_BAD,
        MEMMAP_FREE,
    };
    static const struct {
        const char *rule;
        uint32_t desc;
    } said[] = { { "M14", 2 }, { "M16", 3 }, { "M18", 4 }, { "M12", 9 }, { "M15", 10 } };
    struct fixture f;

    (void)state;
    build(&f, d, MM_COUNTOF(d));
    assert_int_equal(f.m.nregions, MM_COUNTOF(d));
    for (uint32_t i = 0; i < MM_COUNTOF(d); i++) {
        const struct memmap_region *r = memmap_find(&f.m, d[i].start);

        assert_non_null(r);
        assert_int_equal(r->desc, i);
        assert_int_equal(r->kind, kinds[i]);
        assert_int_equal(r->attr, d[i].attr);
        assert_int_equal(r->end - r->base, d[i].npages * PAGE);
    }
    for (size_t i = 0; i < MM_COUNTOF(said); i++) {
        assert_int_equal(count_rule(&f.m, said[i].rule), 1);
        assert_int_equal(find_rule(&f.m, said[i].rule)->desc, said[i].desc);
    }
    assert_int_equal(count_rule(&f.m, "M13"), 2);
    assert_int_equal(count_rule(&f.m, "M09"), 1);
    assert_int_equal(f.m.nfindings, 8);
    /* Row 25: the direct map ends with RAM, far below the highest MMIO. */
    assert_int_equal(memmap_direct_end(&f.m), 0x400010000);
    drop(&f);
}

static void test_nothing_usable(void **state)
{
    static const struct desc d[] = { { 0, 0, 0x100, WB }, { 8, 0x100000, 0x100, WB } };
    struct fixture f;
    pa_t pa = { 77 };

    (void)state;
    build(&f, d, 2);
    assert_int_equal(memmap_direct_end(&f.m), 0);
    assert_int_equal(memmap_take(&f.m, PAGE, PAGE, UINT64_MAX, &pa), MM_ENOMEM);
    assert_int_equal(pa.v, 77);
    drop(&f);
    build(&f, NULL, 0);
    assert_int_equal(memmap_direct_end(&f.m), 0);
    assert_null(memmap_find(&f.m, 0));
    assert_int_equal(memmap_claim(&f.m, 0x5000, 1, MEMMAP_KERNEL), MM_OK);
    assert_region(&f.m, 0, 0x5000, 0x6000, MEMMAP_KERNEL, NONE);
    drop(&f);
}

static void test_claim_arguments(void **state)
{
    static const struct desc d[] = { { 7, 0x100000, 0x100, WB } };
    struct fixture f;
    pa_t pa;

    (void)state;
    build(&f, d, 1);
    assert_int_equal(memmap_claim(&f.m, 0x100000, 0, MEMMAP_KERNEL), MM_EINVAL);
    assert_int_equal(memmap_claim(&f.m, UINT64_MAX, 2, MEMMAP_KERNEL), MM_EINVAL);
    assert_int_equal(memmap_claim(&f.m, 2, UINT64_MAX, MEMMAP_KERNEL), MM_EINVAL);
    assert_int_equal(memmap_claim(&f.m, 0, UINT64_MAX, MEMMAP_KERNEL), MM_EINVAL);
    assert_int_equal(memmap_claim(&f.m, UINT64_C(0xfffffffffffff000), 1, MEMMAP_MMIO), MM_EINVAL);
    assert_int_equal(memmap_claim(&f.m, 0x100000, 1, MEMMAP_KINDS), MM_EINVAL);
    assert_int_equal(memmap_take(&f.m, 0, PAGE, UINT64_MAX, &pa), MM_EINVAL);
    assert_int_equal(memmap_take(&f.m, UINT64_MAX, PAGE, UINT64_MAX, &pa), MM_EINVAL);
    assert_int_equal(memmap_take(&f.m, 1, 0, UINT64_MAX, &pa), MM_EINVAL);
    assert_int_equal(memmap_take(&f.m, 1, 2048, UINT64_MAX, &pa), MM_EINVAL);
    assert_int_equal(memmap_take(&f.m, 1, 3 * PAGE, UINT64_MAX, &pa), MM_EINVAL);
    assert_int_equal(memmap_take(&f.m, 1, PAGE, 0, &pa), MM_ENOMEM);
    assert_int_equal(memmap_take(&f.m, 1, PAGE, 0x100fff, &pa), MM_ENOMEM);
    assert_int_equal(memmap_take(&f.m, 1, UINT64_C(1) << 63, UINT64_MAX, &pa), MM_ENOMEM);
    assert_int_equal(memmap_take(&f.m, 0x101000, PAGE, UINT64_MAX, &pa), MM_ENOMEM);
    assert_int_equal(f.m.nregions, 1);
    assert_region(&f.m, 0, 0x100000, 0x200000, MEMMAP_FREE, 0);

    assert_int_equal(memmap_claim(&f.m, UINT64_C(0xffffffffffffefff), 1, MEMMAP_MMIO), MM_OK);
    assert_region(&f.m, 1, UINT64_C(0xffffffffffffe000), UINT64_C(0xfffffffffffff000), MEMMAP_MMIO,
                  NONE);
    assert_int_equal(memmap_take(&f.m, 0x100000, 0x100000, 0x200000, &pa), MM_OK);
    assert_int_equal(pa.v, 0x100000);
    assert_region(&f.m, 0, 0x100000, 0x200000, MEMMAP_KERNEL, NONE);
    assert_sound(memmap_check(&f.m));
    drop(&f);
}

/* Free memory that firmware cut into pieces serves one request as a whole. */
static void test_take_across_descriptors(void **state)
{
    static const struct desc d[] = {
        { 7, 0x100000, 0x10, WB },
        { 7, 0x110000, 0x10, WB },
        { 7, 0x120000, 0x10, WB },
        { 4, 0x130000, 0x10, WB },
    };
    struct fixture f;
    pa_t pa;

    (void)state;
    build(&f, d, 4);
    assert_int_equal(f.m.nregions, 4);
    assert_int_equal(memmap_take(&f.m, 0x2e000, PAGE, UINT64_MAX, &pa), MM_OK);
    assert_int_equal(pa.v, 0x102000);
    assert_sound(memmap_check(&f.m));
    assert_int_equal(f.m.nregions, 3);
    assert_region(&f.m, 1, 0x102000, 0x130000, MEMMAP_KERNEL, NONE);
    drop(&f);

    /* The only aligned place lies below 1 MiB. */
    static const struct desc low[] = { { 7, 0, 0x180, WB } };
    build(&f, low, 1);
    assert_int_equal(memmap_take(&f.m, PAGE, 0x200000, UINT64_MAX, &pa), MM_ENOMEM);
    assert_int_equal(memmap_take(&f.m, 0x81000, PAGE, UINT64_MAX, &pa), MM_ENOMEM);
    assert_int_equal(memmap_take(&f.m, 0x80000, PAGE, UINT64_MAX, &pa), MM_OK);
    assert_int_equal(pa.v, 0x100000);
    drop(&f);
}

/* At least MEMMAP_SPARE_REGIONS regions can be added; a claim that does not fit changes nothing. */
static void test_claims_until_full(void **state)
{
    static const struct desc d[] = { { 7, 0x100000, 0x10000, WB } };
    struct fixture f;
    struct memmap_region *before;
    uint32_t n;
    mm_err_t err = MM_OK;
    pa_t pa;

    (void)state;
    build(&f, d, 1);
    for (uint64_t i = 0; err == MM_OK; i++) {
        n = f.m.nregions;
        before = exact_copy(f.m.regions, n * sizeof(*before));
        err = memmap_claim(&f.m, 0x100000 + (2 * i + 1) * PAGE, PAGE, MEMMAP_KERNEL);
        assert_sound(memmap_check(&f.m));
        if (err == MM_OK) {
            assert_int_equal(f.m.nregions, n + 2);
        } else {
            assert_int_equal(err, MM_ENOSPC);
            assert_int_equal(f.m.nregions, n);
            assert_memory_equal(before, f.m.regions, n * sizeof(*before));
        }
        free(before);
    }
    assert_true(f.m.nregions >= 1 + MEMMAP_SPARE_REGIONS);
    assert_int_equal(memmap_take(&f.m, PAGE, 0x8000, UINT64_MAX, &pa), MM_ENOSPC);
    /* A claim over everything needs no room: the pieces become one. */
    assert_int_equal(memmap_claim(&f.m, 0x100000, 0x10000 * PAGE, MEMMAP_RESERVED), MM_OK);
    assert_int_equal(f.m.nregions, 1);
    assert_region(&f.m, 0, 0x100000, 0x10100000, MEMMAP_RESERVED, NONE);
    assert_sound(memmap_check(&f.m));
    drop(&f);
}

/* More findings than there is room for: the first ones are kept, the others counted. */
static void test_lost_findings(void **state)
{
    struct desc d[100];
    struct fixture f;

    (void)state;
    for (unsigned i = 0; i < 100; i++) { /* M12, M15, M07, M08 each */
        d[i] = (struct desc){ 99, 0x100800, 10, WB | RT };
    }
    build(&f, d, 100);
    assert_int_equal(f.m.nfindings, 264);
    assert_int_equal(f.m.nfindings + f.m.lost_findings, 4 * 100 - 1);
    assert_int_equal(f.m.nregions, 1);
    drop(&f);
}

/* ---- tests: random maps and noise ------------------------------------------------------------ */

static void test_random_maps(void **state)
{
    struct host_rng r = host_rng_make("random maps");

    (void)state;
    for (unsigned round = 0; round < 3000; round++) {
        struct desc d[24];
        struct fixture f;
        struct model w;
        size_t n = host_rng_below(&r, MM_COUNTOF(d) + 1);

        for (size_t i = 0; i < n; i++) {
            d[i] = random_desc(&r);
        }
        build_stride(&f, d, n, 40 + 8 * host_rng_below(&r, 4));
        model_build(&w, d, n);
        assert_model(&f.m, &w);
        assert_int_equal(f.m.lost_findings, 0);

        /* An overlap finding names the place of a real overlap; none: no page is claimed twice. */
        for (uint32_t i = 0; i < f.m.nfindings; i++) {
            const struct memmap_finding *x = &f.m.findings[i];

            if (strcmp(x->rule, "M08") == 0) {
                const struct desc *a = &d[x->desc];
                const struct desc *b = &d[x->other];

                assert_true(x->base < x->end);
                assert_true(x->base >= a->start && x->end <= a->start + a->npages * PAGE);
                assert_true(x->base >= b->start && x->end <= b->start + b->npages * PAGE);
            }
        }

        for (unsigned step = 0; step < 12; step++) {
            if (host_rng_below(&r, 2) == 0) {
                uint64_t at = host_rng_below(&r, MODEL_PAGES * PAGE - 1);
                uint64_t nbytes = 1 + host_rng_below(&r, MODEL_PAGES * PAGE - at - 1);
                int kind = (int)host_rng_below(&r, NKIND);

                if (host_rng_below(&r, 2) == 0) {
                    nbytes = 1 + nbytes % (6 * PAGE);
                    at = at + nbytes < MODEL_PAGES * PAGE ? at : 0;
                }
                assert_int_equal(
                    memmap_claim(&f.m, MODEL_FIRST * PAGE + at, nbytes, (enum memmap_kind)kind),
                    MM_OK);
                model_claim(&w, MODEL_FIRST * PAGE + at, nbytes, kind);
            } else {
                uint64_t npages = 1 + host_rng_below(&r, 6);
                uint64_t align = PAGE << host_rng_below(&r, 5);
                uint64_t limit = host_rng_below(&r, 2) == 0
                                     ? UINT64_MAX
                                     : (MODEL_FIRST + host_rng_below(&r, MODEL_PAGES)) * PAGE +
                                           host_rng_below(&r, PAGE);
                int64_t want = model_take(&w, npages, align, limit);
                pa_t pa = { 0 };
                mm_err_t err =
                    memmap_take(&f.m, npages * PAGE - host_rng_below(&r, PAGE), align, limit, &pa);

                assert_int_equal(err, want < 0 ? MM_ENOMEM : MM_OK);
                if (want >= 0) {
                    assert_int_equal(pa.v, want);
                    model_claim(&w, pa.v, npages * PAGE, MEMMAP_KERNEL);
                }
            }
            assert_model(&f.m, &w);
        }
        drop(&f);
    }
}

/* Bytes of any kind, of any length, at any stride: no crash, no bad read, a sound map. */
static void test_noise(void **state)
{
    struct host_rng r = host_rng_make("noise");

    (void)state;
    for (unsigned round = 0; round < 6000; round++) {
        unsigned char bytes[2048];
        uint64_t nbytes = host_rng_below(&r, sizeof(bytes) + 1);
        uint64_t stride = 40 + 8 * host_rng_below(&r, 8);
        struct fixture f;

        for (size_t i = 0; i < sizeof(bytes); i += 8) {
            uint64_t v = host_rng_next(&r);

            /* Now and then numbers that mean something, so that the noise gets past the gate. */
            switch (host_rng_below(&r, 6)) {
            case 0:
                v &= 0xffff;
                break;
            case 1:
                v = host_rng_below(&r, 20) * PAGE;
                break;
            case 2:
                v = (uint64_t)0 - host_rng_below(&r, 4) * PAGE;
                break;
            case 3:
                v = UINT64_C(1) << host_rng_below(&r, 64);
                break;
            default:
                break;
            }
            memcpy(bytes + i, &v, 8);
        }
        if (host_rng_below(&r, 8) == 0) {
            stride = host_rng_below(&r, 2) == 0 ? host_rng_next(&r) : host_rng_below(&r, 64);
        }
        build_raw(&f, bytes, nbytes, stride);
        for (unsigned i = 0; i < 8; i++) {
            uint64_t addr = host_rng_next(&r) >> host_rng_below(&r, 64);
            const struct memmap_region *x = memmap_find(&f.m, addr);
            pa_t pa;

            assert_true(x == NULL || (x->base <= addr && addr < x->end));
            if (memmap_claim(&f.m, addr, host_rng_next(&r) >> host_rng_below(&r, 64),
                             (enum memmap_kind)host_rng_below(&r, NKIND)) == MM_OK) {
                assert_non_null(memmap_find(&f.m, addr));
            }
            (void)!memmap_take(&f.m, addr, PAGE << host_rng_below(&r, 40), host_rng_next(&r), &pa);
            assert_sound(memmap_check(&f.m));
        }
        drop(&f);
    }
}

static void test_speed(void **state)
{
    enum { N = 100000 };
    struct host_rng r = host_rng_make("speed");
    struct desc *d = malloc(N * sizeof(*d));
    struct fixture f;
    struct memmap_raw raw;
    struct timespec a;
    struct timespec b;

    (void)state;
    assert_non_null(d);
    for (unsigned i = 0; i < N; i++) {
        d[i] = (struct desc){ (uint32_t)host_rng_below(&r, 16), host_rng_below(&r, 1 << 24) * PAGE,
                              1 + host_rng_below(&r, 400), WB };
    }
    build(&f, d, N);
    raw = f.m.raw;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &a);
    assert_int_equal(memmap_build(&f.m, &raw, f.storage, f.storage_bytes), MM_OK);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &b);
    printf("normalised 100000 random descriptors to %" PRIu32 " regions, %" PRIu32
           " findings in %.1f ms\n",
           f.m.nregions, f.m.nfindings,
           (double)(b.tv_sec - a.tv_sec) * 1e3 + (double)(b.tv_nsec - a.tv_nsec) / 1e6);
    drop(&f);
    free(d);
}

/* ---- tests: planted damage ------------------------------------------------------------------- */

static void assert_broken(const struct memmap *m, const char *id)
{
    const char *broken = memmap_check(m);

    if (broken == NULL || strncmp(broken, id, strlen(id)) != 0) {
        fail_msg("check says \"%s\", not %s", broken != NULL ? broken : "sound", id);
    }
}

static void test_check_sees(void **state)
{
    static const struct desc d[] = { { 99, 0x100000, 0x10, WB },
                                     { 7, 0x110000, 0x10, WB },
                                     { 7, 0x120000, 0x10, WB } };
    struct fixture f;
    struct memmap_region *r;
    struct memmap_finding *x;
    struct memmap sound;

#define PLANT(place, value, id)                                                                    \
    do {                                                                                           \
        __typeof__(place) was_ = (place);                                                          \
        (place) = (value);                                                                         \
        assert_broken(&f.m, (id));                                                                 \
        (place) = was_;                                                                            \
        assert_sound(memmap_check(&f.m));                                                          \
    } while (0)

    (void)state;
    build(&f, d, 3);
    assert_int_equal(memmap_claim(&f.m, 0x200000, 0x4000, MEMMAP_KERNEL), MM_OK);
    assert_int_equal(memmap_claim(&f.m, 0x204000, 0x4000, MEMMAP_MMIO), MM_OK);
    assert_int_equal(f.m.nregions, 5);
    r = f.m.regions;
    x = f.m.findings;
    sound = f.m;

    PLANT(r[1].base, 0x110800, "M1");
    PLANT(r[1].end, 0x110000, "M1");
    PLANT(r[3].base, 0x12f000, "M1");
    PLANT(r[3].end, 0x205000, "M1");
    PLANT(r[3].kind, 13, "M2");
    PLANT(r[1].base, 0x10f000, "M3");
    PLANT(r[1].end, 0x121000, "M3");
    PLANT(r[1].kind, MEMMAP_KERNEL, "M3");
    PLANT(r[1].attr, 0, "M3");
    PLANT(r[1].type, 4, "M3");
    PLANT(r[1].desc, 3, "M3");
    PLANT(r[3].type, 7, "M4");
    PLANT(r[3].attr, 1, "M4");
    PLANT(r[4].kind, MEMMAP_KERNEL, "M5");
    PLANT(f.m.nregions, f.m.max_regions + 1, "M6");
    PLANT(f.m.nfindings, f.m.max_findings + 1, "M6");
    PLANT(f.m.lost_findings, 1, "M6");
    PLANT(x[0].rule, NULL, "M6");
    PLANT(x[0].what, NULL, "M6");
    PLANT(x[0].severity, 3, "M6");
    PLANT(x[0].desc, 3, "M6");
    PLANT(x[0].other, 3, "M6");
    PLANT(x[0].base, x[0].end + 1, "M6");
#undef PLANT
    assert_memory_equal(&f.m, &sound, sizeof(sound));
    assert_panics(memmap_desc(&f.m, 3).type, "assertion failed");
    drop(&f);
}

/* ---- tests: maps of real machines ------------------------------------------------------------ */

static const char *const shell_types[16] = {
    "Reserved",  "LoaderCode", "LoaderData", "BS_Code",    "BS_Data",  "RT_Code",
    "RT_Data",   "Available",  "Unusable",   "ACPI_Recl",  "ACPI_NVS", "MMIO",
    "MMIO_Port", "PalCode",    "Persistent", "Unaccepted",
};

static int shell_type(const char *word)
{
    for (int i = 0; i < 16; i++) {
        size_t n = strlen(shell_types[i]);

        if (strncmp(word, shell_types[i], n) == 0 && (word[n] == '\0' || word[n] == ':')) {
            return i;
        }
    }
    return -1;
}

/* Feed one file of the EDK2 shell's memmap command through, and compare with its own summary. */
static void check_shell_map(const char *path, const char *name)
{
    struct desc d[512];
    size_t n = 0;
    uint64_t said[16] = { 0 }; /* pages, from the summary */
    bool has_summary = false;
    uint64_t pages[16] = { 0 };
    uint64_t kind_bytes[NKIND] = { 0 };
    char line[256];
    struct fixture f;
    FILE *file = fopen(path, "r");

    assert_non_null(file);
    while (fgets(line, sizeof(line), file) != NULL) {
        char word[32];
        char count[32];
        uint64_t start, last, npages, attr;

        if (sscanf(line, "%31s %" SCNx64 "-%" SCNx64 " %" SCNx64 " %" SCNx64, word, &start, &last,
                   &npages, &attr) == 5 &&
            shell_type(word) >= 0) {
            assert_true(n < MM_COUNTOF(d));
            assert_int_equal(last + 1 - start, npages * PAGE);
            d[n++] = (struct desc){ (uint32_t)shell_type(word), start, npages, attr };
        } else if ((sscanf(line, " %31[A-Za-z_] : %31[0-9,] Pages", word, count) == 2 ||
                    sscanf(line, " %31[A-Za-z_]: %31[0-9,] Pages", word, count) == 2) &&
                   shell_type(word) >= 0) {
            for (const char *c = count; *c != '\0'; c++) {
                if (*c != ',') {
                    said[shell_type(word)] = said[shell_type(word)] * 10 + (uint64_t)(*c - '0');
                }
            }
            has_summary = true;
        }
    }
    fclose(file);
    assert_true(n > 0);

    build(&f, d, n);
    assert_int_equal(count_rule(&f.m, "M08"), 0); /* none of the collected maps overlaps */
    assert_int_equal(f.m.nregions, n);
    for (uint32_t i = 0; i < f.m.nregions; i++) {
        pages[f.m.regions[i].type] += (f.m.regions[i].end - f.m.regions[i].base) / PAGE;
    }
    for (size_t i = 0; i < n; i++) {
        kind_bytes[model_kind(&d[i])] += d[i].npages * PAGE;
    }
    for (int i = 0; i < NKIND; i++) {
        assert_int_equal(memmap_total(&f.m, (enum memmap_kind)i), kind_bytes[i]);
    }
    for (int i = 0; has_summary && i < 16; i++) {
        /* The shell leaves MMIO and reserved memory above 4 GiB out of its summary on some. */
        if (i != EFI_MT_RESERVED && i != EFI_MT_MMIO) {
            assert_int_equal(pages[i], said[i]);
        }
    }
    printf("  %-44s %3zu descriptors, %8" PRIu64 " MiB free, %5" PRIu64 " MiB after exit, %" PRIu32
           " findings\n",
           name, n, memmap_total(&f.m, MEMMAP_FREE) >> 20,
           memmap_total(&f.m, MEMMAP_FREE_AFTER_EXIT) >> 20, f.m.nfindings);
    drop(&f);
}

static void test_real_maps(void **state)
{
    const char *folder =
        getenv("PLAT_MAPS") != NULL ? getenv("PLAT_MAPS") : "../shared/firmware/maps";
    DIR *dir = opendir(folder);

    (void)state;
    if (dir == NULL) {
        printf("no folder %s (PLAT_MAPS): collected maps not tested\n", folder);
        skip();
        return;
    }
    for (struct dirent *e = readdir(dir); e != NULL; e = readdir(dir)) {
        const char *suffix = strstr(e->d_name, ".memmap.txt");

        if (suffix != NULL && suffix[strlen(".memmap.txt")] == '\0') {
            char path[1024];

            snprintf(path, sizeof(path), "%s/%s", folder, e->d_name);
            check_shell_map(path, e->d_name);
        }
    }
    closedir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain_map),
        cmocka_unit_test(test_kinds),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_strides),
        cmocka_unit_test(test_version),
        cmocka_unit_test(test_storage),
        cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_overlaps),
        cmocka_unit_test(test_firmware_shapes),
        cmocka_unit_test(test_nothing_usable),
        cmocka_unit_test(test_claim_arguments),
        cmocka_unit_test(test_take_across_descriptors),
        cmocka_unit_test(test_claims_until_full),
        cmocka_unit_test(test_lost_findings),
        cmocka_unit_test(test_random_maps),
        cmocka_unit_test(test_noise),
        cmocka_unit_test(test_speed),
        cmocka_unit_test(test_check_sees),
        cmocka_unit_test(test_real_maps),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
