/*
 * fuzz_memmap.c - the normaliser against a model, over maps, claims and early allocations out of
 * any bytes.
 *
 * The model is the address space cut into cells. It knows of no order: each descriptor, and each
 * claim after them, is laid over the cells one by one, and whatever is more restrictive stays. The
 * regions must be these cells, no more and no fewer, after every step; so must what is said of them
 * (totals, the end of the direct map, what a search finds), and the findings what a look at each
 * descriptor finds.
 *
 * Input: struct knobs, `nops` operations of 8 bytes, and the map: as firmware's bytes, which reach
 * the odd corners of addresses, or as descriptors of 8 bytes in the lowest or the highest 4 MiB,
 * which overlap, touch, and run past the end.
 */
#include <stdlib.h>
#include <string.h>

#include "mm/memmap.h"
#include "plain_kind.h"

#define MAX_DESCS  512
#define MAX_OPS    255
#define IS_COMPACT 1
#define IS_HIGH    2
#define PAGE       UINT64_C(4096)
#define TOP        UINT64_C(0xfffffffffffff000) /* the last page is left out */
#define NONE       UINT32_C(0xffffffff)
#define RT         UINT64_C(0x8000000000000000)

#define REQUIRE(cond)                                                                              \
    do {                                                                                           \
        if (!(cond)) {                                                                             \
            __builtin_trap();                                                                      \
        }                                                                                          \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef unsigned __int128 wide_t; /* sums that do not wrap */

struct knobs {
    uint8_t how;
    uint8_t nops;
    uint8_t stride; /* 40 + 8 * (stride % 8), or the byte itself if that is below 40 */
    uint8_t version;
};

struct op {
    uint8_t what;
    uint8_t kind;
    uint8_t base[2];
    uint8_t nbytes[2];
    uint8_t base_shift;
    uint8_t nbytes_shift;
};

/* ---- the model ------------------------------------------------------------------------------- */

struct cell {
    uint64_t base; /* up to the next one's, the last one up to TOP */
    int kind;      /* -1: in no region */
    uint32_t desc;
};

static struct {
    struct cell cells[2 * (MAX_DESCS + MAX_OPS) + 2];
    size_t n;
} model;

static uint64_t cell_end(size_t i)
{
    return i + 1 < model.n ? model.cells[i + 1].base : TOP;
}

/* The cell that begins at `at`, which is made if there is none. */
static size_t cut(uint64_t at)
{
    size_t i = 0;

    while (i < model.n && model.cells[i].base < at) {
        i++;
    }
    if (at < TOP && (i == model.n || model.cells[i].base != at)) {
        memmove(&model.cells[i + 1], &model.cells[i], (model.n - i) * sizeof(model.cells[0]));
        model.cells[i] = model.cells[i - 1];
        model.cells[i].base = at;
        model.n++;
    }
    return i;
}

static void lay(uint64_t base, uint64_t end, int kind, uint32_t desc)
{
    if (base >= end) {
        return;
    }
    size_t i = cut(base);
    size_t behind = cut(end);

    for (; i < behind; i++) {
        if (model.cells[i].kind < kind) {
            model.cells[i].kind = kind;
            model.cells[i].desc = desc;
        }
    }
}

static int kind_of(const struct efi_memory_descriptor *d)
{
    bool is_boot = d->type == 3 || d->type == 4 || d->type == 9;
    bool is_loader = d->type == 1 || d->type == 2;

    if ((d->attribute & RT) != 0 && (is_boot || is_loader || d->type == 7 || d->type == 14)) {
        return MEMMAP_RUNTIME_DATA;
    }
    if (d->type == 7 && (d->attribute & 0x8000) != 0) { /* NV */
        return MEMMAP_PERSISTENT;
    }
    if (d->type == 7 && (d->attribute & 0x40000) != 0) { /* SP */
        return MEMMAP_SPECIAL;
    }
    if ((is_boot || d->type == 7) && (d->attribute & 8) == 0) { /* no WB */
        return MEMMAP_RESERVED;
    }
    return d->type < 16 ? plain_kind[d->type] : MEMMAP_RESERVED;
}

static bool rounds_inwards(int kind)
{
    return kind == MEMMAP_FREE || kind == MEMMAP_FREE_AFTER_EXIT ||
           kind == MEMMAP_FREE_AFTER_ACPI || kind == MEMMAP_SPECIAL || kind == MEMMAP_PERSISTENT;
}

/* What a descriptor covers, in whole pages; false if nothing, and then which finding says so. */
static bool span_of(const struct efi_memory_descriptor *d, uint64_t *base, uint64_t *end,
                    const char **rule)
{
    wide_t to = (wide_t)d->physical_start + (wide_t)d->number_of_pages * PAGE;

    *rule = "";
    if (d->number_of_pages == 0 || to > (wide_t)1 << 64) {
        *rule = d->number_of_pages == 0 ? "M04" : "M05";
        return false;
    }
    if (to > TOP) {
        *rule = "M39";
        to = TOP;
    }
    if (rounds_inwards(kind_of(d))) {
        *base = (uint64_t)(((wide_t)d->physical_start + PAGE - 1) / PAGE * PAGE);
        *end = (uint64_t)(to / PAGE * PAGE);
    } else {
        *base = d->physical_start / PAGE * PAGE;
        *end = (uint64_t)((to + PAGE - 1) / PAGE * PAGE);
    }
    return *base < *end;
}

static bool is_one_region(size_t i)
{
    return model.cells[i].kind == model.cells[i + 1].kind &&
           model.cells[i].desc == model.cells[i + 1].desc;
}

static uint32_t count_regions(void)
{
    uint32_t n = 0;

    for (size_t i = 0; i < model.n; i++) {
        n += model.cells[i].kind >= 0 && (i + 1 == model.n || !is_one_region(i));
    }
    return n;
}

/* The highest place for memmap_take(), or -1. */
static wide_t place_for(uint64_t nbytes, uint64_t align, uint64_t limit)
{
    for (size_t i = model.n; i-- > 0;) {
        uint64_t end = cell_end(i) < limit ? cell_end(i) : limit;
        size_t first = i;

        if (model.cells[i].kind != MEMMAP_FREE || end < nbytes) {
            continue;
        }
        uint64_t base = (end - nbytes) / align * align;
        while (first > 0 && model.cells[first].base > base &&
               model.cells[first].kind == MEMMAP_FREE) {
            first--;
        }
        if (model.cells[first].kind == MEMMAP_FREE && model.cells[first].base <= base &&
            base < cell_end(i) && base >= 0x100000) {
            return base;
        }
    }
    return (wide_t)-1;
}

/* ---- what must hold -------------------------------------------------------------------------- */

static void check_found(const struct memmap *m, uint64_t addr, const struct memmap_region *r)
{
    REQUIRE(memmap_find(m, addr) == r);
}

static void check_regions(const struct memmap *m)
{
    const struct memmap_region *r = m->regions;

    REQUIRE(memmap_check(m) == NULL);
    REQUIRE(m->nregions == count_regions() && m->nregions <= 2 * m->ndescs + 128);
    for (size_t i = 0; i < model.n; i++) {
        const struct cell *c = &model.cells[i];

        if (c->kind < 0) {
            check_found(m, c->base, NULL);
            check_found(m, cell_end(i) - 1, NULL);
            continue;
        }
        while (i + 1 < model.n && is_one_region(i)) {
            i++;
        }
        REQUIRE(r->base == c->base && r->end == cell_end(i) && r->kind == (uint32_t)c->kind &&
                r->desc == c->desc);
        check_found(m, r->base, r);
        check_found(m, r->end - 1, r);
        r++;
    }
    check_found(m, TOP, NULL);
}

static void check_totals(const struct memmap *m)
{
    uint64_t total[MEMMAP_KINDS] = { 0 };
    uint64_t direct_end = 0;

    for (size_t i = 0; i < model.n; i++) {
        int kind = model.cells[i].kind;

        if (kind < 0) {
            continue;
        }
        total[kind] += cell_end(i) - model.cells[i].base;
        if (kind == MEMMAP_FREE || kind == MEMMAP_FREE_AFTER_EXIT ||
            kind == MEMMAP_FREE_AFTER_ACPI || kind == MEMMAP_KERNEL) {
            direct_end = cell_end(i);
        }
    }
    for (int kind = 0; kind < MEMMAP_KINDS; kind++) {
        REQUIRE(memmap_total(m, (enum memmap_kind)kind) == total[kind]);
    }
    REQUIRE(memmap_direct_end(m) == direct_end);
}

static uint32_t count_rule(const struct memmap *m, const char *rule)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < m->nfindings; i++) {
        n += strcmp(m->findings[i].rule, rule) == 0;
    }
    return n;
}

/* Does one that stands before `i` in the order of addresses reach into it? */
static bool is_overlapped(const struct memmap *m, uint32_t i, uint64_t base)
{
    for (uint32_t j = 0; j < m->ndescs; j++) {
        struct efi_memory_descriptor d = memmap_desc(m, j);
        const char *rule;
        uint64_t other;
        uint64_t end;

        if (j != i && span_of(&d, &other, &end, &rule) &&
            (other < base || (other == base && j < i)) && end > base) {
            return true;
        }
    }
    return false;
}

/* Where room for findings ran out, there is nothing to compare. */
static void check_findings(const struct memmap *m)
{
    uint32_t ncut = 0;
    uint32_t nempty = 0;
    uint32_t nwrapped = 0;
    uint32_t nmisaligned = 0;
    uint32_t noverlaps = 0;
    bool is_sorted = true;
    uint64_t before = 0;

    for (uint32_t i = 0; i < m->ndescs; i++) {
        struct efi_memory_descriptor d = memmap_desc(m, i);
        const char *rule;
        uint64_t base = 0;
        uint64_t end = 0;
        bool is_span = span_of(&d, &base, &end, &rule);

        nempty += strcmp(rule, "M04") == 0;
        nwrapped += strcmp(rule, "M05") == 0;
        ncut += strcmp(rule, "M39") == 0;
        nmisaligned += (rule[0] == '\0' || (strcmp(rule, "M39") == 0 && d.physical_start < TOP)) &&
                       d.physical_start % PAGE != 0;
        if (is_span) {
            is_sorted = is_sorted && base >= before;
            before = base;
            noverlaps += is_overlapped(m, i, base);
        }
    }
    REQUIRE(count_rule(m, "M04") == nempty && count_rule(m, "M05") == nwrapped);
    REQUIRE(count_rule(m, "M39") == ncut && count_rule(m, "M07") == nmisaligned);
    REQUIRE(count_rule(m, "M09") == !is_sorted);
    /* Two that only share a page, because each was rounded outwards, do not overlap. */
    REQUIRE(nmisaligned > 0 ? count_rule(m, "M08") <= noverlaps
                            : count_rule(m, "M08") == noverlaps);
    REQUIRE(count_rule(m, "M02") == (m->raw.nbytes == 0 || m->raw.nbytes % m->raw.stride != 0));
    REQUIRE(count_rule(m, "M03") == (m->raw.version != 1));
}

/* An overlap lies in both descriptors. */
static void check_overlaps(const struct memmap *m)
{
    for (uint32_t i = 0; i < m->nfindings; i++) {
        const struct memmap_finding *f = &m->findings[i];

        if (strcmp(f->rule, "M08") != 0) {
            continue;
        }
        struct efi_memory_descriptor a = memmap_desc(m, f->desc);
        struct efi_memory_descriptor b = memmap_desc(m, f->other);

        REQUIRE(f->base < f->end && f->desc != f->other);
        REQUIRE(f->base >= a.physical_start && f->base >= b.physical_start);
        REQUIRE(f->end <= a.physical_start + (wide_t)a.number_of_pages * PAGE);
        REQUIRE(f->end <= b.physical_start + (wide_t)b.number_of_pages * PAGE);
    }
}

/* ---- steps ----------------------------------------------------------------------------------- */

static uint64_t number(const uint8_t at[2], uint8_t shift)
{
    return (uint64_t)(at[0] | at[1] << 8) << shift % 49;
}

static bool would_fit(const struct memmap *m, uint64_t base, uint64_t end, int kind)
{
    static struct cell before[MM_COUNTOF(model.cells)];
    size_t n = model.n;

    memcpy(before, model.cells, n * sizeof(before[0]));
    lay(base, end, kind, NONE);
    if (count_regions() <= 2 * m->ndescs + 128) {
        return true;
    }
    memcpy(model.cells, before, n * sizeof(before[0]));
    model.n = n;
    return false;
}

/* The model goes along if the claim is good. */
static mm_err_t model_claim(const struct memmap *m, uint64_t base, uint64_t nbytes, int kind)
{
    wide_t end = (wide_t)base + nbytes;

    if (nbytes == 0 || end > TOP || kind >= MEMMAP_KINDS) {
        return MM_EINVAL;
    }
    return would_fit(m, base / PAGE * PAGE, (uint64_t)((end + PAGE - 1) / PAGE * PAGE), kind)
               ? MM_OK
               : MM_ENOSPC;
}

static void claim(struct memmap *m, const struct op *op)
{
    uint64_t base = number(op->base, op->base_shift);
    uint64_t nbytes = number(op->nbytes, op->nbytes_shift);
    int kind = op->kind % (MEMMAP_KINDS + 1);

    base = (op->what & 2) != 0 ? 0 - base : base;
    REQUIRE(memmap_claim(m, base, nbytes, (enum memmap_kind)kind) ==
            model_claim(m, base, nbytes, kind));
}

static void take(struct memmap *m, const struct op *op)
{
    uint64_t nbytes = number(op->nbytes, op->nbytes_shift);
    uint64_t limit = number(op->base, op->base_shift);
    uint64_t align = PAGE << op->kind % 16;
    pa_t pa = { 0x5a5a };
    mm_err_t expected = MM_EINVAL;

    limit = (op->what & 2) != 0 ? 0 - limit : limit;
    align = op->kind == 255 ? PAGE + PAGE / 2 : op->kind == 254 ? PAGE / 2 : align;
    if (nbytes != 0 && nbytes <= TOP && align >= PAGE && op->kind != 255) {
        uint64_t whole = (nbytes + PAGE - 1) / PAGE * PAGE;
        wide_t place = place_for(whole, align, limit);

        expected = MM_ENOMEM;
        if (place != (wide_t)-1) {
            expected = model_claim(m, (uint64_t)place, whole, MEMMAP_KERNEL);
            REQUIRE(memmap_take(m, nbytes, align, limit, &pa) == expected);
            REQUIRE(pa.v == (expected == MM_OK ? place : 0x5a5a));
            return;
        }
    }
    REQUIRE(memmap_take(m, nbytes, align, limit, &pa) == expected && pa.v == 0x5a5a);
}

/* 8 bytes: type, attributes, pages, how it is misaligned, and the first page's number. */
static struct efi_memory_descriptor expand(const uint8_t *at, unsigned how)
{
    static const uint16_t off[4] = { 1, PAGE - 1, PAGE / 2, 0x180 };
    static const uint64_t attrs[] = { 0x8, 0x1, 0x8000, 0x40000, RT, 0x4000, 0x2000, 0x1000 };
    uint64_t page = (uint64_t)(at[4] | (at[5] & 3) << 8) - ((how & IS_HIGH) != 0 ? 1024 : 0);
    struct efi_memory_descriptor d = {
        .type = at[0] % 18 == 17 ? 0x80000000u : at[0] % 18,
        .number_of_pages = at[2],
        .physical_start = page * PAGE + (at[3] < 16 ? off[at[3] % 4] : 0),
    };

    for (unsigned i = 0; i < 8; i++) {
        d.attribute |= (at[1] >> i & 1) != 0 ? attrs[i] : 0;
    }
    return d;
}

/* The map's bytes, in an allocation of their own, at an odd address. */
static uint8_t *make_bytes(struct memmap_raw *raw, unsigned how, const uint8_t *data, size_t size)
{
    size_t ndescs = (how & IS_COMPACT) != 0 ? size / 8 : 0;
    size_t nbytes = (how & IS_COMPACT) != 0 ? ndescs * sizeof(struct efi_memory_descriptor) : size;
    uint8_t *bytes = malloc(nbytes + 1);

    REQUIRE(bytes != NULL);
    if ((how & IS_COMPACT) != 0) {
        raw->stride = sizeof(struct efi_memory_descriptor);
        for (size_t i = 0; i < ndescs; i++) {
            struct efi_memory_descriptor d = expand(data + 8 * i, how);

            memcpy(bytes + 1 + i * sizeof(d), &d, sizeof(d));
        }
    } else {
        memcpy(bytes + 1, data, nbytes);
    }
    raw->bytes = bytes + 1;
    raw->nbytes = nbytes;
    return bytes;
}

static void *build(struct memmap *m, const struct memmap_raw *raw)
{
    bool is_strideable = raw->stride >= 40 && raw->stride % 8 == 0;
    uint64_t ndescs = is_strideable ? raw->nbytes / raw->stride : 0;
    uint64_t nbytes = memmap_storage_bytes(ndescs);
    void *storage = malloc(nbytes);

    REQUIRE(storage != NULL && ndescs <= MAX_DESCS);
    REQUIRE(memmap_build(m, raw, storage, nbytes - 1) == MM_ENOSPC);
    REQUIRE(memmap_build(m, raw, storage, nbytes) == MM_OK && m->ndescs == ndescs);
    model.n = 1;
    model.cells[0] = (struct cell){ .kind = -1, .desc = NONE };
    for (uint32_t i = 0; i < ndescs; i++) {
        struct efi_memory_descriptor d = memmap_desc(m, i);
        const char *rule;
        uint64_t base;
        uint64_t end;

        if (span_of(&d, &base, &end, &rule)) {
            lay(base, end, kind_of(&d), i);
        }
    }
    check_regions(m);
    check_overlaps(m);
    if (!is_strideable) {
        REQUIRE(m->nfindings == 1 && count_rule(m, "M01") == 1);
    } else if (m->lost_findings == 0) {
        check_findings(m);
    }
    return storage;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct knobs k;
    struct memmap_raw raw = { 0 };
    struct memmap m;

    if (size < sizeof(k) || size > sizeof(k) + MAX_DESCS * 8) {
        return -1;
    }
    memcpy(&k, data, sizeof(k));
    data += sizeof(k);
    size -= sizeof(k);

    size_t nops = k.nops < size / sizeof(struct op) ? k.nops : size / sizeof(struct op);
    const uint8_t *ops = data;

    raw.stride = k.stride < 40 ? k.stride : 40 + 8 * (k.stride % 8u);
    raw.version = k.version;
    data += nops * sizeof(struct op);
    size -= nops * sizeof(struct op);

    uint8_t *bytes = make_bytes(&raw, k.how, data, size);
    void *storage = build(&m, &raw);

    for (size_t i = 0; i < nops; i++) {
        struct op op;

        memcpy(&op, ops + i * sizeof(op), sizeof(op));
        if ((op.what & 1) != 0) {
            take(&m, &op);
        } else {
            claim(&m, &op);
        }
        check_regions(&m);
    }
    check_totals(&m);
    free(storage);
    free(bytes);
    return 0;
}
