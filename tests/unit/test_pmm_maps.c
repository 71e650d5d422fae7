/*
 * test_pmm_maps.c - frame pools from the memory maps of real firmware.
 *
 * Each map becomes pools of every kind. What they cover is compared with a count made straight from
 * the descriptors; then everything is taken and given back, by order, by frame and in one piece;
 * then what is free only later joins, and it is all done once more.
 *
 * Maps are text, as people post them: the EFI shell's `memmap` in both of its formats, the kernel
 * logs of Linux and FreeBSD. Some of the same shapes are written out below. Files of collected maps
 * are read if there are any: in ../shared/firmware/maps, or where PLAT_MAPS in the environment
 * says.
 */
#include <dirent.h>

#include "pmm_fixture.h"

#define MAX_DESCS 4096

/* ---- reading --------------------------------------------------------------------------------- */

struct desc {
    unsigned type; /* UEFI 2.10, table 7.9 */
    uint64_t start;
    uint64_t pages;
    uint64_t attr;
};

struct source {
    const char *name;
    struct desc descs[MAX_DESCS];
    size_t n;
};

/* What the formats call the types, beginning with the letters that tell. */
static const struct {
    const char *name;
    unsigned type;
} type_names[] = {
    { "Reserved", 0 },
    { "LoaderCode", 1 },
    { "Loader Code", 1 },
    { "LoaderData", 2 },
    { "Loader Data", 2 },
    { "BS_Code", 3 },
    { "BootServiceCode", 3 },
    { "BootServicesCode", 3 },
    { "Boot Code", 3 },
    { "BS_Data", 4 },
    { "BootServiceData", 4 },
    { "BootServicesData", 4 },
    { "Boot Data", 4 },
    { "RT_Code", 5 },
    { "RuntimeCode", 5 },
    { "RuntimeServicesCode", 5 },
    { "Runtime Code", 5 },
    { "RT_Data", 6 },
    { "RuntimeData", 6 },
    { "RuntimeServicesData", 6 },
    { "Runtime Data", 6 },
    { "Available", 7 },
    { "Conventional", 7 },
    { "Unusable", 8 },
    { "ACPI_Recl", 9 },
    { "ACPIReclaim", 9 },
    { "ACPI Reclaim", 9 },
    { "ACPI_NVS", 10 },
    { "ACPIMemoryNVS", 10 },
    { "ACPI Mem NVS", 10 },
    { "MMIO_Port", 12 },
    { "MMIO Port", 12 },
    { "MemoryMappedIOPort", 12 },
    { "MMIO", 11 },
    { "MemoryMappedIO", 11 },
    { "PalCode", 13 },
    { "Persistent", 14 },
    { "Unaccepted", 15 },
};

static bool type_of(const char *name, unsigned *type)
{
    for (size_t i = 0; i < MM_COUNTOF(type_names); i++) {
        if (strncmp(name, type_names[i].name, strlen(type_names[i].name)) == 0) {
            *type = type_names[i].type;
            return true;
        }
    }
    return false;
}

/* Words such as "WB" in the text of a line, whatever parts them. */
static uint64_t attr_of(const char *text)
{
    static const struct {
        const char *word;
        uint64_t attr;
    } words[] = {
        { "UC", 1 },      { "WC", 2 },       { "WT", 4 },       { "WB", 8 },
        { "NV", 0x8000 }, { "MR", 0x10000 }, { "SP", 0x40000 }, { "RUN", 1ull << 63 },
        { "XP", 0x4000 }, { "RO", 0x20000 },
    };
    uint64_t attr = 0;

    for (size_t i = 0; i < MM_COUNTOF(words); i++) {
        attr |= strstr(text, words[i].word) != NULL ? words[i].attr : 0;
    }
    return attr;
}

/* One line of any format; false if it is no descriptor. */
static bool read_line(const char *line, struct desc *d)
{
    unsigned long long a, b, n, attr;
    char name[32];
    const char *at;

    /*     Available  0000000000001000-000000000009FFFF 000000000000009F 000000000000000F */
    if (sscanf(line, "%31s %16llx-%16llx %16llx %16llx", name, &a, &b, &n, &attr) == 5) {
        *d = (struct desc){ 0, a, n, attr };
        assert_int_equal((b + 1 - a) / PAGE, n);
        return type_of(name, &d->type);
    }
    /*     MemoryMap,"Available","1000","9FFFF","9F","F" */
    if (sscanf(line, "MemoryMap,\"%31[^\"]\",\"%llx\",\"%llx\",\"%llx\",\"%llx\"", name, &a, &b, &n,
               &attr) == 5) {
        *d = (struct desc){ 0, a, n, attr };
        assert_int_equal((b + 1 - a) / PAGE, n);
        return type_of(name, &d->type);
    }
    /*     efi: mem02: type=7, attr=0xf, range=[0x0000000000009000-0x000000000002f000) (0MB) */
    at = strstr(line, "type=");
    if (at != NULL &&
        sscanf(at, "type=%u, attr=0x%llx, range=[0x%llx-0x%llx)", &d->type, &attr, &a, &b) == 4) {
        d->start = a;
        d->pages = (b - a) / PAGE;
        d->attr = attr;
        return true;
    }
    /*     efi:   0x00005fff0000-0x00005fffefff [Conventional|   |  |  |  |  |   |WB|WT|WC|  ] */
    at = strstr(line, "0x");
    if (at != NULL && sscanf(at, "0x%llx-0x%llx [%31[^|]|", &a, &b, name) == 3) {
        *d = (struct desc){ 0, a, (b + 1 - a) / PAGE, attr_of(strchr(at, '|')) };
        return type_of(name, &d->type);
    }
    /*     ConventionalMemory 000080000000 000080000000 00007efa WB */
    if (sscanf(line, "%31s %12llx %12llx %8llx", name, &a, &b, &n) == 4) {
        *d = (struct desc){ 0, a, n, attr_of(line + strcspn(line, "0123456789")) };
        return type_of(name, &d->type);
    }
    return false;
}

static void read_text(struct source *src, const char *name, const char *text)
{
    src->name = name;
    src->n = 0;
    while (*text != '\0') {
        size_t len = strcspn(text, "\n");
        char line[256];

        snprintf(line, sizeof(line), "%.*s", (int)len, text);
        assert_true(src->n < MAX_DESCS);
        src->n += read_line(line, &src->descs[src->n]);
        text += len + (text[len] == '\n');
    }
    assert_true(src->n > 0);
}

/* ---- counting by other means ------------------------------------------------------------------ */

/* What a frame is to the pools, by UEFI type and attributes: the most restrictive claim wins. */
enum claim { NONE, FREE_NOW, FREE_LATER, FOR_PURPOSE, LASTING, FIRMWARE, TO_ACCEPT, NOT_RAM };

static enum claim claim_of(const struct desc *d)
{
    bool write_back = (d->attr & 8) != 0;
    enum claim claim = NOT_RAM;

    switch (d->type) {
    case 7:
        claim = (d->attr & 0x8000) != 0    ? LASTING
                : (d->attr & 0x40000) != 0 ? FOR_PURPOSE
                                           : FREE_NOW;
        break;
    case 1:
    case 2:
        claim = FREE_LATER;
        write_back = true; /* we run in it */
        break;
    case 3:
    case 4:
    case 9:
        claim = FREE_LATER;
        break;
    case 5:
    case 6:
    case 10:
    case 13:
        return FIRMWARE;
    case 14:
        claim = LASTING;
        break;
    case 15:
        claim = TO_ACCEPT;
        break;
    default:
        break;
    }
    if (claim <= LASTING && d->attr >> 63 != 0) {
        return FIRMWARE; /* which goes on using it */
    }
    return claim <= FREE_LATER && !write_back ? NOT_RAM : claim;
}

/* Frames [base, end) of one claim. */
struct stretch {
    uint64_t base;
    uint64_t end;
    enum claim claim;
};

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

/*
 * Cut the address space wherever a descriptor begins or ends, and ask all descriptors about each
 * piece. Whole frames: what could be free rounds inwards, all else outwards.
 */
static size_t survey(const struct source *src, struct stretch *out)
{
    static uint64_t cuts[2 * MAX_DESCS + 1];
    static struct stretch span[MAX_DESCS];
    size_t ncuts = 0;
    size_t n = 0;

    cuts[ncuts++] = MiB;
    for (size_t i = 0; i < src->n; i++) {
        const struct desc *d = &src->descs[i];
        enum claim claim = claim_of(d);
        bool inwards = claim <= LASTING;

        span[i] = (struct stretch){ (d->start + (inwards ? PAGE - 1 : 0)) / PAGE,
                                    (d->start + d->pages * PAGE + (inwards ? 0 : PAGE - 1)) / PAGE,
                                    d->pages > 0 ? claim : NONE };
        cuts[ncuts++] = span[i].base;
        cuts[ncuts++] = span[i].end;
    }
    qsort(cuts, ncuts, sizeof(cuts[0]), by_value);
    for (size_t c = 0; c + 1 < ncuts; c++) {
        struct stretch s = { mm_max(cuts[c], 1), cuts[c + 1], NONE };

        for (size_t i = 0; i < src->n; i++) {
            if (span[i].base <= cuts[c] && span[i].end >= s.end && span[i].claim > s.claim) {
                s.claim = span[i].claim;
            }
        }
        if (s.base < s.end) {
            out[n++] = s;
        }
    }
    return n;
}

static bool belongs(const struct stretch *s, enum pmm_kind kind)
{
    switch (kind) {
    case PMM_GENERAL:
        return (s->claim == FREE_NOW || s->claim == FREE_LATER) && s->base >= MiB;
    case PMM_LOW:
        return (s->claim == FREE_NOW || s->claim == FREE_LATER) && s->base < MiB;
    case PMM_SPECIAL:
        return s->claim == FOR_PURPOSE;
    case PMM_UNACCEPTED:
        return s->claim == TO_ACCEPT;
    default:
        return s->claim == LASTING;
    }
}

/* What a pool should be. */
struct count {
    uint64_t total;
    struct free_count free;
};

/* `all`: what is free later is free as well. */
static struct count count_of(const struct stretch *s, size_t n, enum pmm_kind kind, bool all)
{
    struct count c = { 0 };
    uint64_t base = 0;
    uint64_t end = 0;

    for (size_t i = 0; i < n; i++) {
        if (!belongs(&s[i], kind)) {
            continue;
        }
        c.total += s[i].end - s[i].base;
        if (s[i].claim == FREE_LATER && !all) {
            continue;
        }
        if (end != s[i].base) {
            count_free_run(&c.free, base, end);
            base = s[i].base;
        }
        end = s[i].end;
    }
    count_free_run(&c.free, base, end);
    return c;
}

/* ---- using ----------------------------------------------------------------------------------- */

/* A pool that is all free, but for its records, which lie anywhere. */
static void assert_all_free(struct pmm *p, const struct count *c)
{
    struct pmm_stats s = stats_of(p);

    assert_sound(pmm_check(p));
    assert_int_equal(s.total_frames, c->total);
    assert_int_equal(s.free_frames, c->free.frames - s.record_frames);
    assert_int_equal(s.held_frames, c->total - c->free.frames);
    assert_int_equal(s.free_frames, pmm_free_frames(p));
    assert_true(s.record_frames <= 8 * s.sections);
    if (s.record_frames == 0) {
        assert_free_count(&s, &c->free);
    }
}

static void assert_all_gone(struct pmm *p)
{
    assert_int_equal(pmm_free_frames(p), 0);
    assert_int_equal(pmm_why(p, 0), MM_ENOMEM);
    assert_true(pfn_is_none(pmm_get(p, 0, 0)));
    assert_sound(pmm_check(p));
}

struct block {
    pfn_t base;
    unsigned order;
};

/* Take all blocks there are, the largest first, and give them back, every seventh in turn. */
static void use_by_order(struct pmm *p, const struct count *c)
{
    uint64_t most = 64;
    uint64_t n = 0;
    struct block *got;

    for (unsigned order = 0; order <= PMM_MAX_ORDER; order++) {
        most += c->free.blocks[order];
    }
    most += stats_of(p).sections * 64; /* records fall among them */
    got = malloc(most * sizeof(*got));
    assert_non_null(got);
    for (unsigned order = PMM_MAX_ORDER + 1; order-- > 0;) {
        uint64_t before = n;

        for (;;) {
            struct block b = { pmm_get(p, order, 0), order };

            if (pfn_is_none(b.base)) {
                break;
            }
            assert_true(n < most && b.base.v % (UINT64_C(1) << order) == 0);
            got[n++] = b;
            host_set_cpu((unsigned)n % 2);
        }
        if (stats_of(p).record_frames == 0 && order == PMM_MAX_ORDER) {
            assert_int_equal(n - before, c->free.blocks[order]);
        }
    }
    assert_all_gone(p);
    for (uint64_t first = 0; first < 7; first++) {
        for (uint64_t i = first; i < n; i += 7) {
            host_set_cpu(i / 7 % 2);
            pmm_put(p, got[i].base, got[i].order);
        }
    }
    free(got);
    assert_all_free(p, c);
}

/* All frames one by one, in batches of every length. */
static void use_by_frame(struct pmm *p, const struct count *c)
{
    uint64_t left = pmm_free_frames(p);
    uint64_t n = 0;
    uint64_t records = c->free.frames - left;
    pfn_t *got = malloc((c->free.frames + PMM_MAX_BATCH) * sizeof(*got));

    assert_non_null(got);
    for (unsigned most = 1, k = most; k == most; most = most % PMM_MAX_BATCH + 1) {
        host_set_cpu(most % 2);
        k = pmm_get_batch(p, got + n, most, 0);
        n += k;
        if (k < most) {
            break;
        }
        k = most % PMM_MAX_BATCH + 1;
    }
    assert_int_equal(n + records, c->free.frames);
    assert_all_gone(p);
    for (uint64_t i = 0; i < n;) {
        unsigned k = (unsigned)mm_min(n - i, i % PMM_MAX_BATCH + 1);

        host_set_cpu(i % 2);
        if (k % 2 == 0) {
            pmm_put_batch(p, got + i, k);
        } else {
            pmm_put(p, got[i], 0);
            k = 1;
        }
        i += k;
    }
    free(got);
    assert_all_free(p, c);
}

/* The longest run in one piece, and every run by name. */
static void use_by_run(struct pmm *p, const struct stretch *s, size_t n, enum pmm_kind kind,
                       const struct count *c)
{
    struct pmm_want want = { .count = stats_of(p).largest_free };
    pfn_t base;

    if (want.count > 0) {
        assert_int_equal(pmm_get_range(p, &want, &base), MM_OK);
        want.count++;
        assert_true(pmm_get_range(p, &want, &base) != MM_OK);
        pmm_put_range(p, base, want.count - 1);
    }
    for (size_t i = 0; i < n; i++) {
        pfn_t at = pfn_make(s[i].base);
        uint64_t count = s[i].end - s[i].base;
        struct pmm_tally t;

        pmm_get_tally(p, at, count, &t);
        if (!belongs(&s[i], kind)) {
            assert_int_equal(t.frames[PMM_ABSENT], count);
            assert_int_equal(pmm_claim(p, at, count), MM_ENOENT);
        } else if (t.frames[PMM_FREE] == count) {
            assert_int_equal(pmm_claim(p, at, count), MM_OK);
            pmm_put_range(p, at, count);
        } else {
            assert_int_equal(t.frames[PMM_USED] + t.frames[PMM_BAD] + t.frames[PMM_ABSENT], 0);
            assert_int_equal(pmm_claim(p, at, count), MM_EBUSY);
        }
    }
    assert_all_free(p, c);
}

#define SMALL (GiB * 2) /* frame by frame only so many: it takes seconds for more */

static void use_pool(const struct source *src, const struct memmap *map, enum pmm_kind kind,
                     const struct stretch *s, size_t n)
{
    struct count now = count_of(s, n, kind, false);
    struct count later = count_of(s, n, kind, true);
    struct fixture f = { .map = *map };

#ifdef PMM_DEBUG /* writes to all of it */
    if (now.total > SMALL) {
        return;
    }
#endif
    if (now.total == 0) {
        assert_int_equal(pmm_storage_bytes(map, kind, 2), 0);
        return;
    }
    make_pool(&f, kind, 2);
    assert_all_free(f.p, &now);
    for (unsigned round = 0; round < 2; round++) {
        const struct count *c = round == 0 ? &now : &later;

        use_by_run(f.p, s, n, kind, c);
        use_by_order(f.p, c);
        if (c->free.frames <= SMALL) {
            use_by_frame(f.p, c);
        }
        for (size_t i = 0; i < n && round == 0; i++) {
            if (belongs(&s[i], kind) && s[i].claim == FREE_LATER) {
                assert_int_equal(pmm_add(f.p, pfn_make(s[i].base), s[i].end - s[i].base), MM_OK);
            }
        }
        assert_all_free(f.p, &later);
    }
    printf("%-46s %-10s %4llu regions, %9llu frames, %9llu free, storage %6llu KiB\n", src->name,
           kind == PMM_GENERAL ? "general"
           : kind == PMM_LOW   ? "low"
                               : "set apart",
           (unsigned long long)map->nregions, (unsigned long long)now.total,
           (unsigned long long)now.free.frames, (unsigned long long)f.storage_bytes >> 10);
    drop_pool(&f);
}

static void use_map(const struct source *src)
{
    static struct stretch s[2 * MAX_DESCS + 1];
    size_t n = survey(src, s);
    uint64_t nbytes = memmap_storage_bytes(src->n);
    unsigned char *bytes = calloc(src->n, 48);
    void *storage = malloc(nbytes);
    struct memmap_raw raw = { bytes, src->n * 48, 48, 1 };
    struct memmap map;

    assert_true(bytes != NULL && storage != NULL);
    for (size_t i = 0; i < src->n; i++) {
        const struct desc *d = &src->descs[i];

        memcpy(bytes + i * 48, &d->type, 4);
        memcpy(bytes + i * 48 + 8, &d->start, 8);
        memcpy(bytes + i * 48 + 24, &d->pages, 8);
        memcpy(bytes + i * 48 + 32, &d->attr, 8);
    }
    assert_int_equal(memmap_build(&map, &raw, storage, nbytes), MM_OK);
    assert_sound(memmap_check(&map));
    for (unsigned kind = 0; kind < PMM_KINDS; kind++) {
        use_pool(src, &map, (enum pmm_kind)kind, s, n);
    }
    host_phys_reset(); /* of records */
    free(storage);
    free(bytes);
}

/* ---- maps ------------------------------------------------------------------------------------ */

static struct source source;

/* A virtual machine of 2 GiB: the shell's table. */
static const char virtual_machine[] =
    "Type       Start            End              # Pages          Attributes\n"
    "BS_Code    0000000000000000-0000000000000FFF 0000000000000001 000000000000000F\n"
    "Available  0000000000001000-000000000009FFFF 000000000000009F 000000000000000F\n"
    "Available  0000000000100000-0000000000805FFF 0000000000000706 000000000000000F\n"
    "ACPI_NVS   0000000000806000-0000000000807FFF 0000000000000002 000000000000000F\n"
    "Available  0000000000808000-000000000080FFFF 0000000000000008 000000000000000F\n"
    "ACPI_NVS   0000000000810000-00000000008FFFFF 00000000000000F0 000000000000000F\n"
    "BS_Data    0000000000900000-00000000014FFFFF 0000000000000C00 000000000000000F\n"
    "Available  0000000001500000-000000007BB74FFF 000000000007A675 000000000000000F\n"
    "BS_Data    000000007BB75000-000000007BB94FFF 0000000000000020 000000000000000F\n"
    "LoaderCode 000000007BB95000-000000007BC6BFFF 00000000000000D7 000000000000000F\n"
    "RT_Data    000000007F8EC000-000000007F9EBFFF 0000000000000100 800000000000000F\n"
    "ACPI_Recl  000000007FB6C000-000000007FB7DFFF 0000000000000012 000000000000000F\n"
    "Available  000000007FE00000-000000007FE80FFF 0000000000000081 000000000000000F\n"
    "Reserved   00000000B0000000-00000000BFFFFFFF 0000000000010000 0000000000000001\n"
    "MMIO       00000000FFC00000-00000000FFFFFFFF 0000000000000400 8000000000000001\n"
    "  Reserved  :         65,536 Pages (268,435,456 Bytes)\n"
    "Total Memory:          2,040 MB (2,139,095,040 Bytes)\n";

/* The same shell, `-sfo`; with memory set apart in every way, some of it claimed twice. */
static const char set_apart[] =
    "ShellCommand,\"memmap\"\n"
    "MemoryMap,\"Available\",\"0\",\"9FFFF\",\"A0\",\"F\"\n"
    "MemoryMap,\"Available\",\"100000\",\"3FFFFFFF\",\"3FF00\",\"F\"\n"
    "MemoryMap,\"Unaccepted\",\"40000000\",\"7FF12FFF\",\"3FF13\",\"F\"\n"
    "MemoryMap,\"RuntimeData\",\"3FFFE000\",\"40000FFF\",\"3\",\"800000000000000F\"\n"
    "MemoryMap,\"Persistent\",\"140000000\",\"1FFFFFFFF\",\"C0000\",\"F\"\n"
    "MemoryMap,\"Available\",\"240003000\",\"25FFFFFFF\",\"1FFFD\",\"4000F\"\n"
    "MemoryMap,\"Available\",\"280000000\",\"28000FFFF\",\"10\",\"7\"\n"
    "MemoryMapSummary,\"1\",\"2\"\n";

/* A server of 512 GiB: the log of Linux, with descriptors of no length. */
static const char server[] =
    "[    0.000000] efi: EFI v2.70 by American Megatrends\n"
    "[    0.0] efi: mem00: type=3, attr=0xf, range=[0x0000000000000000-0x0000000000008000) (0MB)\n"
    "[    0.0] efi: mem01: type=7, attr=0xf, range=[0x0000000000009000-0x000000000002f000) (0MB)\n"
    "[    0.0] efi: mem02: type=7, attr=0xf, range=[0x0000000000100000-0x000000003c058000) (9MB)\n"
    "[    0.0] efi: mem03: type=2, attr=0xf, range=[0x000000003c058000-0x0000000040000000) (6MB)\n"
    "[    0.0] efi: mem04: type=7, attr=0xf, range=[0x0000000040000000-0x000000004cc59000) (2MB)\n"
    "[    0.0] efi: mem05: type=10, attr=0xf, range=[0x0000000074000000-0x0000000074022000) (0MB)\n"
    "[    0.0] efi: mem06: type=9, attr=0xf, range=[0x00000000a7f00000-0x00000000a7fff000) (0MB)\n"
    "[    0.0] efi: mem07: type=0, attr=0x0, range=[0x0000000000000000-0x0000000000000000) (0MB)\n"
    "[    0.0] efi: mem08: type=7, attr=0xf, range=[0x0000000100000000-0x000000804f100000) (5MB)\n"
    "[    0.0] efi: mem09: type=11, attr=0x8000000000000001, "
    "range=[0x0000038090000000-0x00000380a0400000) (260MB)\n";

/* Four nodes, terabytes apart, in part mirrored: Linux again, newer. */
static const char nodes[] =
    "efi: Processing EFI memory map:\n"
    "efi:   0x00005fff0000-0x00005fffefff [Conventional|   |  |  |  |  |  |  |  |WB|WT|WC|  ]\n"
    "efi:   0x00005ffff000-0x00005fffffff [Boot Data   |   |  |  |  |  |  |  |  |WB|WT|WC|  ]\n"
    "efi:   0x000060000000-0x00007fffffff [Conventional|   |  |  |  |  |  |  |  |WB|WT|WC|  ]\n"
    "efi:   0x000004000000-0x000007dfffff [Reserved    |   |  |  |  |  |  |  |  |  |  |  |UC]\n"
    "efi:   0x082080000000-0x08247fffffff [Conventional|   |  |MR|  |  |  |  |  |WB|WT|WC|  ]\n"
    "efi:   0x084004000000-0x0842bf37ffff [Conventional|   |  |MR|  |  |  |  |  |WB|WT|WC|  ]\n"
    "efi:   0x0842bf380000-0x0842c21effff [Loader Code |   |  |MR|  |  |  |  |  |WB|WT|WC|  ]\n"
    "efi:   0x282000000000-0x2820ffffffff [Conventional|   |  |MR|  |  |  |  |  |WB|WT|WC|  ]\n"
    "efi:   0x283f9c000000-0x283fffffffff [Loader Code |   |  |  |  |  |  |  |  |WB|WT|WC|  ]\n"
    "efi:   0x284400000000-0x28441fffffff [Conventional|   |  |  |  |  |  |  |  |WB|WT|WC|  ]\n"
    "efi:   0x0004002c0000-0x0004002cffff [MMIO        |RUN|  |  |  |  |  |  |  |  |  |  |UC]\n";

/* A board whose first entry does not begin at a page: the table of FreeBSD. */
static const char board[] =
    "                   Type     Physical      Virtual   #Pages Attr\n"
    "         MemoryMappedIO 000001e88180 000001e88180 00000001 RUNTIME\n"
    "     ConventionalMemory 000080000000 000080000000 00007efa WB\n"
    "       BootServicesData 000087efa000 000087efa000 0000000c WB\n"
    "     ConventionalMemory 000087f06000 000087f06000 0006ec21 WB\n"
    "    RuntimeServicesData 0000f6b27000 0000f6b27000 00000001 WB RUNTIME\n"
    "             LoaderData 0000f6b28000 0000f6b28000 00005208 WB\n"
    "     ConventionalMemory 002080000000 002080000000 000f7eb3 WB\n"
    "             LoaderData 002177eb3000 002177eb3000 00008001 WB\n";

static void test_shapes(void **state)
{
    static const struct {
        const char *name;
        const char *text;
        size_t ndescs;
    } maps[] = {
        { "virtual machine", virtual_machine, 15 },
        { "set apart", set_apart, 7 },
        { "server", server, 10 },
        { "nodes", nodes, 11 },
        { "board", board, 8 },
    };

    (void)state;
    for (size_t i = 0; i < MM_COUNTOF(maps); i++) {
        read_text(&source, maps[i].name, maps[i].text);
        assert_int_equal(source.n, maps[i].ndescs);
        use_map(&source);
    }
}

/* Some numbers that were counted by hand, so that reader and count are not wrong alike. */
static void test_by_hand(void **state)
{
    static struct stretch s[64];
    struct count c;
    size_t n;

    (void)state;
    read_text(&source, "virtual machine", virtual_machine);
    n = survey(&source, s);
    c = count_of(s, n, PMM_LOW, false);
    assert_int_equal(c.total, 0x9f);
    c = count_of(s, n, PMM_GENERAL, false);
    assert_int_equal(c.free.frames, 0x706 + 8 + 0x7a675 + 0x81);
    assert_int_equal(c.total, c.free.frames + 0xc00 + 0x20 + 0xd7 + 0x12);
    assert_int_equal(c.free.longest, 0x7a675);

    read_text(&source, "set apart", set_apart);
    n = survey(&source, s);
    c = count_of(s, n, PMM_GENERAL, false);
    assert_int_equal(c.free.frames, 0x3ff00 - 2);
    c = count_of(s, n, PMM_UNACCEPTED, false);
    assert_int_equal(c.free.frames, 0x3ff13); /* it outranks the firmware's */
    c = count_of(s, n, PMM_SPECIAL, false);
    assert_int_equal(c.free.frames, 0x1fffd);
    c = count_of(s, n, PMM_PERSISTENT, false);
    assert_int_equal(c.free.blocks[18], 3);
}

/* Hundreds of descriptors of a few pages, free and not in turn. */
static void test_many_small(void **state)
{
    struct host_rng r = host_rng_make("many small");
    uint64_t at = 0;

    (void)state;
    for (unsigned round = 0; round < 4; round++) {
        static const unsigned types[] = { 7, 4, 7, 3, 7, 6, 0, 9, 7, 2 };

        source.name = "many small";
        source.n = 200 << 2 * round > MAX_DESCS ? MAX_DESCS : 200 << 2 * round;
        for (size_t i = 0; i < source.n; i++) {
            uint64_t pages = 1 + host_rng_below(&r, i % 32 == 0 ? 3000 : 40);
            unsigned type = types[host_rng_below(&r, MM_COUNTOF(types))];

            at = i == 0 ? 0 : at + host_rng_below(&r, 16) % 8 * host_rng_below(&r, 100);
            source.descs[i] =
                (struct desc){ type, at * PAGE, pages, type == 6 ? 0xfull | 1ull << 63 : 0xf };
            at += pages;
        }
        use_map(&source);
    }
}

/* Maps that people have posted. */
static void test_files(void **state)
{
    const char *folder = getenv("PLAT_MAPS");
    struct dirent **names;
    unsigned nmaps = 0;
    int n;

    (void)state;
    folder = folder != NULL ? folder : "../shared/firmware/maps";
    n = scandir(folder, &names, NULL, alphasort);
    if (n < 0) {
        printf("no maps in %s\n", folder);
        skip();
    }
    for (int i = 0; i < n; i++) {
        static char text[1 << 20];
        char path[512];
        size_t len = strlen(names[i]->d_name);
        FILE *in;

        snprintf(path, sizeof(path), "%s/%s", folder, names[i]->d_name);
        if (len > 4 && strcmp(names[i]->d_name + len - 4, ".txt") == 0) {
            in = fopen(path, "r");
            assert_non_null(in);
            text[fread(text, 1, sizeof(text) - 1, in)] = '\0';
            fclose(in);
            read_text(&source, names[i]->d_name, text);
            use_map(&source);
            nmaps++;
        }
        free(names[i]);
    }
    free(names);
    printf("%u maps from %s\n", nmaps, folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_by_hand),
        cmocka_unit_test(test_shapes),
        cmocka_unit_test(test_many_small),
        cmocka_unit_test(test_files),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
