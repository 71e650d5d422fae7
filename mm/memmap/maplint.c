/*
 * maplint.c - the rules at work: over descriptors, over regions, over the facts around the map.
 *
 * A rule looks at descriptors where what firmware said counts, and at regions where what is in a
 * place counts: regions are sorted and do not overlap, so neighbours, holes and totals are one
 * walk.
 *
 * The findings are kept in the caller's array. While there is room they are appended. When it is
 * full it becomes a heap with the last one in the order on top, which gives way to any finding that
 * comes before it; at the end the heap is taken apart into the order. So the findings that are kept
 * are the first ones whatever the order in which they were found, and no storage is needed besides.
 * Rejected: a merge sort (wants as much room again), and a limit to each rule (which findings are
 * kept would depend on the order of the descriptors).
 */
#include "mm/maplint.h"

#include "mm/mat.h"

#define FIRST_MIB    UINT64_C(0x100000)
#define FOUR_GIB     UINT64_C(0x100000000)
#define VGA_BASE     UINT64_C(0xa0000)
#define BIOS_BASE    UINT64_C(0xe0000) /* to 1 MiB: tables of a PC may lie here and in no map */
#define PAGE_64K     UINT64_C(0x10000)
#define MACOS_BYTES  4096
#define MANY_DESCS   128
#define MAT_MAP_SIZE 3 /* times the size of the map: more than that Linux does not believe */

#define CACHE_BITS   (EFI_MA_UC | EFI_MA_WC | EFI_MA_WT | EFI_MA_WB | EFI_MA_UCE | EFI_MA_WP)
#define ISA_BITS     (EFI_MA_ISA_VALID | EFI_MA_ISA_MASK) /* an architecture's own cache attributes */
#define PROTECT_BITS (EFI_MA_RP | EFI_MA_XP | EFI_MA_RO)
#define DEFINED_BITS                                                                               \
    (CACHE_BITS | ISA_BITS | PROTECT_BITS | EFI_MA_NV | EFI_MA_MORE_RELIABLE | EFI_MA_SP |         \
     EFI_MA_CPU_CRYPTO | EFI_MA_HOT_PLUGGABLE | EFI_MA_RUNTIME)

/* Sets of memory types; one bit for all that UEFI does not define, one for what is in no map. */
#define TYPE(t)      (UINT32_C(1) << (t))
#define TYPE_OTHER   TYPE(16)
#define TYPE_NOWHERE TYPE(17)
#define TYPES_ALL    (TYPE_OTHER | TYPE_NOWHERE | 0xffff)
/* Ours after ExitBootServices(), UEFI 2.10 table 7.10; given to an image before it; RAM. */
#define TYPES_LOADER_OR_BOOT                                                                       \
    (TYPE(EFI_MT_LOADER_CODE) | TYPE(EFI_MT_LOADER_DATA) | TYPE(EFI_MT_BOOT_CODE) |                \
     TYPE(EFI_MT_BOOT_DATA))
#define TYPES_USABLE (TYPES_LOADER_OR_BOOT | TYPE(EFI_MT_CONVENTIONAL))
#define TYPES_TAKEN                                                                                \
    (TYPES_USABLE | TYPE(EFI_MT_ACPI_RECLAIM) | TYPE(EFI_MT_PERSISTENT) | TYPE(EFI_MT_UNACCEPTED))
#define TYPES_RAM                                                                                  \
    (TYPES_TAKEN | TYPE(EFI_MT_RUNTIME_CODE) | TYPE(EFI_MT_RUNTIME_DATA) | TYPE(EFI_MT_ACPI_NVS))
#define TYPES_MMIO (TYPE(EFI_MT_MMIO) | TYPE(EFI_MT_MMIO_PORT))

struct lint {
    struct maplint_result *out;
    const struct memmap *m;
    const struct maplint_facts *facts;
};

static uint32_t type_bit(uint32_t type)
{
    return type <= EFI_MT_UNACCEPTED ? TYPE(type) : TYPE_OTHER;
}

/* Are these attribute bits what firmware said? */
static bool knows(const struct lint *l, uint64_t bits)
{
    return (l->facts->attr_known & bits) == bits;
}

/* Does firmware need it at run time? Attributes that are not known are 0 and do not say so. */
static bool is_runtime(uint32_t type, uint64_t attr)
{
    return type == EFI_MT_RUNTIME_CODE || type == EFI_MT_RUNTIME_DATA ||
           (attr & EFI_MA_RUNTIME) != 0;
}

/* The end of a range; 2^64 and more become UINT64_MAX. */
static uint64_t range_end(const struct maplint_range *r)
{
    return r->nbytes > UINT64_MAX - r->base ? UINT64_MAX : r->base + r->nbytes;
}

/* The end of a descriptor, likewise. False if it has no pages or more than there can be. */
static bool desc_end(const struct efi_memory_descriptor *d, uint64_t *end)
{
    uint64_t npages = d->number_of_pages;

    if (npages == 0 || npages - 1 > (UINT64_MAX - d->physical_start) >> MM_PAGE_SHIFT) {
        return false;
    }
    uint64_t last = d->physical_start + (npages * MM_PAGE_SIZE - 1);
    *end = last == UINT64_MAX ? last : last + 1;
    return last >= d->physical_start;
}

/* ---- the list of findings -------------------------------------------------------------------- */

static int compare_text(const char *a, const char *b)
{
    if (a == NULL || b == NULL) {
        return (a != NULL) - (b != NULL);
    }
    while (*a != '\0' && *a == *b) {
        a++;
        b++;
    }
    return (*a > *b) - (*a < *b);
}

/* The order: total, but for findings that are alike in everything. */
static bool before(const struct memmap_finding *a, const struct memmap_finding *b)
{
    if (a->severity != b->severity) {
        return a->severity > b->severity;
    }
    if (a->base != b->base) {
        return a->base < b->base;
    }
    if (a->end != b->end) {
        return a->end < b->end;
    }
    int rules = compare_text(a->rule, b->rule);
    if (rules != 0) {
        return rules < 0;
    }
    if (a->desc != b->desc) {
        return a->desc < b->desc;
    }
    if (a->other != b->other) {
        return a->other < b->other;
    }
    return compare_text(a->subject, b->subject) < 0;
}

/* Put `f` into the heap of `n` findings instead of entry `i`; nothing below may come before it. */
static void sift_down(struct memmap_finding *heap, uint32_t n, uint32_t i,
                      const struct memmap_finding *f)
{
    for (;;) {
        uint64_t child = 2 * (uint64_t)i + 1;

        if (child + 1 < n && before(&heap[child], &heap[child + 1])) {
            child++;
        }
        if (child >= n || !before(f, &heap[child])) {
            break;
        }
        heap[i] = heap[child];
        i = (uint32_t)child;
    }
    heap[i] = *f;
}

static void make_heap(struct memmap_finding *heap, uint32_t n)
{
    for (uint32_t i = n / 2; i > 0; i--) {
        struct memmap_finding f = heap[i - 1];

        sift_down(heap, n, i - 1, &f);
    }
}

static void begin(struct maplint_result *out)
{
    out->n = 0;
    out->lost = 0;
    for (size_t i = 0; i < MM_COUNTOF(out->count); i++) {
        out->count[i] = 0;
    }
}

static void keep(struct maplint_result *out, const struct memmap_finding *f)
{
    out->count[f->severity]++;
    if (out->n < out->max) {
        out->findings[out->n++] = *f;
        if (out->n == out->max) {
            make_heap(out->findings, out->n);
        }
        return;
    }
    out->lost++;
    if (out->max > 0 && before(f, &out->findings[0])) {
        sift_down(out->findings, out->n, 0, f);
    }
}

static void finish(struct maplint_result *out)
{
    if (out->n < out->max) {
        make_heap(out->findings, out->n);
    }
    for (uint32_t n = out->n; n > 1; n--) {
        struct memmap_finding f = out->findings[n - 1];

        out->findings[n - 1] = out->findings[0];
        sift_down(out->findings, n - 1, 0, &f);
    }
}

/* ---- making a finding ------------------------------------------------------------------------ */

static void find_full(struct maplint_result *out, enum maplint_id id, const char *subject,
                      uint32_t desc, uint32_t other, uint64_t base, uint64_t end)
{
    const struct maplint_rule *rule = &maplint_rules[id];
    struct memmap_finding f = {
        .rule = rule->id,
        .what = rule->what,
        .subject = subject,
        .severity = rule->severity,
        .desc = desc,
        .other = other,
        .base = base,
        .end = end,
    };

    keep(out, &f);
}

static void find_in_map(struct lint *l, enum maplint_id id)
{
    find_full(l->out, id, NULL, MEMMAP_NODESC, MEMMAP_NODESC, 0, 0);
}

static void find_at(struct lint *l, enum maplint_id id, uint32_t desc, uint64_t base, uint64_t end)
{
    find_full(l->out, id, NULL, desc, MEMMAP_NODESC, base, end);
}

/* ---- one descriptor -------------------------------------------------------------------------- */

static void judge_addresses(struct lint *l, uint32_t i, const struct efi_memory_descriptor *d,
                            uint64_t end)
{
    const struct maplint_facts *facts = l->facts;
    uint64_t base = d->physical_start;
    bool runtime = is_runtime(d->type, d->attribute);
    bool device = (type_bit(d->type) & TYPES_MMIO) != 0;
    bool acpi = d->type == EFI_MT_ACPI_RECLAIM || d->type == EFI_MT_ACPI_NVS;

    if (facts->phys_bits > 0 && facts->phys_bits < 64 && (end - 1) >> facts->phys_bits != 0) {
        find_at(l, MAPLINT_M06, i, base, end);
    }
    if (facts->virt_is_firmware == MAPLINT_YES) {
        if (!mm_is_aligned(d->virtual_start, MM_PAGE_SIZE)) {
            find_full(l->out, MAPLINT_M07, "VirtualStart", i, MEMMAP_NODESC, base, end);
        } else if (d->virtual_start != 0 && d->virtual_start != base) {
            find_at(l, MAPLINT_M11, i, base, end);
        }
    }
    if (facts->arch == MAPFILE_ARCH_LOONGARCH64 && (acpi || runtime) &&
        !mm_is_aligned(base | d->number_of_pages << MM_PAGE_SHIFT, PAGE_64K)) {
        find_at(l, MAPLINT_M17, i, base, end);
    }
    if (runtime && !device && base < (facts->arch == MAPFILE_ARCH_X86 ? FIRST_MIB : MM_PAGE_SIZE)) {
        find_at(l, MAPLINT_M26, i, base, end);
    }
    if (facts->arch == MAPFILE_ARCH_X86 && (acpi || runtime) && !device && end > FOUR_GIB) {
        find_at(l, MAPLINT_M27, i, base, end);
    }
}

static void judge_attributes(struct lint *l, uint32_t i, const struct efi_memory_descriptor *d,
                             uint64_t end)
{
    uint64_t base = d->physical_start;
    uint64_t attr = d->attribute;
    bool runtime = (attr & EFI_MA_RUNTIME) != 0;
    bool device = (type_bit(d->type) & TYPES_MMIO) != 0;

    if (runtime && knows(l, CACHE_BITS) && (attr & (CACHE_BITS | ISA_BITS)) == 0 &&
        !memmap_type_is_ram(d->type)) { /* RAM without a cache attribute lacks WB: M18 */
        find_at(l, MAPLINT_M19, i, base, end);
    }
    if (device && (attr & (EFI_MA_WB | EFI_MA_WT | EFI_MA_WP)) != 0) {
        find_at(l, MAPLINT_M20, i, base, end);
    }
    if (d->type == EFI_MT_MMIO && !runtime && knows(l, EFI_MA_RUNTIME)) {
        find_at(l, MAPLINT_M21, i, base, end);
    }
    if ((attr & ~DEFINED_BITS) != 0 ||
        ((attr & EFI_MA_ISA_MASK) != 0 && (attr & EFI_MA_ISA_VALID) == 0)) {
        find_at(l, MAPLINT_M22, i, base, end);
    }
    if ((attr & PROTECT_BITS) != 0) {
        find_at(l, MAPLINT_M23, i, base, end);
    }
    if (d->type == EFI_MT_CONVENTIONAL && (attr & EFI_MA_SP) != 0) {
        find_at(l, MAPLINT_M35, i, base, end);
    }
    if (d->type == EFI_MT_UNACCEPTED) {
        find_at(l, MAPLINT_M36, i, base, end);
    }
}

static void judge_descriptors(struct lint *l)
{
    for (uint32_t i = 0; i < l->m->ndescs; i++) {
        struct efi_memory_descriptor d = memmap_desc(l->m, i);
        uint64_t end = 0;

        if (desc_end(&d, &end)) { /* else M04 or M05 has said it */
            judge_addresses(l, i, &d, end);
            judge_attributes(l, i, &d, end);
        }
    }
}

/* ---- the regions in order -------------------------------------------------------------------- */

static void judge_merging(struct lint *l)
{
    const struct memmap *m = l->m;

    if (!knows(l, UINT64_MAX)) {
        return;
    }
    for (uint32_t i = 1; i < m->nregions; i++) {
        const struct memmap_region *r = &m->regions[i];

        /* One finding is enough: a map that has one such pair often has hundreds. */
        if (r[-1].end == r->base && r[-1].type == r->type && r[-1].attr == r->attr &&
            r[-1].desc != r->desc && r[-1].desc != MEMMAP_NODESC && r->desc != MEMMAP_NODESC) {
            find_full(l->out, MAPLINT_M10, NULL, r[-1].desc, r->desc, r[-1].base, r->end);
            return;
        }
    }
}

static void judge_low_memory(struct lint *l)
{
    const struct memmap *m = l->m;

    for (uint32_t i = 0; i < m->nregions && m->regions[i].base < FIRST_MIB; i++) {
        const struct memmap_region *r = &m->regions[i];

        if ((type_bit(r->type) & TYPES_USABLE) == 0 || r->desc == MEMMAP_NODESC) {
            continue;
        }
        if (r->base == 0) {
            find_at(l, MAPLINT_M24, r->desc, 0, MM_PAGE_SIZE);
        }
        if (l->facts->arch == MAPFILE_ARCH_X86 && r->end > VGA_BASE) {
            find_at(l, MAPLINT_M25, r->desc, mm_max(r->base, VGA_BASE), mm_min(r->end, FIRST_MIB));
        }
    }
}

/* What is known of one 64 KiB page, while regions in it are met in order. */
struct big_page {
    uint64_t number; /* address / 64 KiB */
    uint64_t cache;  /* attributes that all regions in it have in common */
    uint32_t desc;   /* the first in it that firmware keeps, or MEMMAP_NODESC */
};

static void close_page(struct lint *l, const struct big_page *p)
{
    if (p->desc != MEMMAP_NODESC && p->cache == 0) {
        find_at(l, MAPLINT_M17, p->desc, p->number * PAGE_64K, (p->number + 1) * PAGE_64K);
    }
}

/* Region `r` has a part in 64 KiB page `number`, the one in *p or a later one. */
static void meet_page(struct lint *l, struct big_page *p, uint64_t number,
                      const struct memmap_region *r)
{
    const uint32_t kept = TYPE(EFI_MT_RUNTIME_CODE) | TYPE(EFI_MT_RUNTIME_DATA) |
                          TYPE(EFI_MT_RESERVED) | TYPE(EFI_MT_ACPI_NVS);

    if (number != p->number) {
        close_page(l, p);
        *p = (struct big_page){ number, CACHE_BITS | ISA_BITS, MEMMAP_NODESC };
    }
    p->cache &= r->attr;
    if (p->desc == MEMMAP_NODESC && (type_bit(r->type) & kept) != 0) {
        p->desc = r->desc;
    }
}

/*
 * UEFI 2.10 2.3.6: where firmware keeps a 4 KiB page, the whole 64 KiB page must be mapped with one
 * cache attribute. Those in the map are the possible ones; with none in common that cannot be. A
 * region without any makes no statement: a claim, or what nobody should map.
 */
static void judge_big_pages(struct lint *l)
{
    struct big_page page = { 0, CACHE_BITS | ISA_BITS, MEMMAP_NODESC };

    if (l->facts->arch != MAPFILE_ARCH_ARM64 || !knows(l, CACHE_BITS)) {
        return;
    }
    for (uint32_t i = 0; i < l->m->nregions; i++) {
        const struct memmap_region *r = &l->m->regions[i];

        if ((r->attr & (CACHE_BITS | ISA_BITS)) != 0) {
            /* Only the first and the last 64 KiB page of a region may be shared with another. */
            meet_page(l, &page, r->base / PAGE_64K, r);
            meet_page(l, &page, (r->end - 1) / PAGE_64K, r);
        }
    }
    close_page(l, &page);
}

static void judge_totals(struct lint *l)
{
    const struct memmap *m = l->m;
    uint64_t ram = 0;
    uint64_t boot = 0;
    uint64_t reliable = 0;
    uint64_t free = 0;
    uint64_t run = 0; /* bytes of the free regions that touch, up to here */
    uint64_t longest = 0;

    for (uint32_t i = 0; i < m->nregions; i++) {
        const struct memmap_region *r = &m->regions[i];
        uint64_t nbytes = r->end - r->base;

        if (i > 0 && r[-1].end != r->base) {
            run = 0;
        }
        if (r->type == EFI_MT_CONVENTIONAL && (r->attr & EFI_MA_SP) == 0) {
            free += nbytes;
            run += nbytes;
            longest = mm_max(longest, run);
        } else {
            run = 0;
        }
        if (memmap_type_is_ram(r->type)) {
            ram += nbytes;
            reliable += (r->attr & EFI_MA_MORE_RELIABLE) != 0 ? nbytes : 0;
        }
        if (r->type == EFI_MT_BOOT_CODE || r->type == EFI_MT_BOOT_DATA) {
            boot += nbytes;
        }
    }
    if (boot > ram / 4) {
        find_in_map(l, MAPLINT_M34);
    }
    if (longest < free / 4) {
        find_in_map(l, MAPLINT_M42);
    }
    if (reliable != 0 && reliable != ram) {
        find_in_map(l, MAPLINT_M43);
    }
}

/* ---- what lies where ------------------------------------------------------------------------- */

struct piece {
    uint64_t base;
    uint64_t end;
    uint32_t desc;
};

/*
 * The first piece of `range` that lies in memory of one of `types`. A claim is of no type: what was
 * there before is not known any more.
 */
static bool find_piece(const struct memmap *m, const struct maplint_range *range, uint32_t types,
                       struct piece *p)
{
    uint64_t pos = range->base;
    uint64_t end = range_end(range);

    for (uint32_t i = 0; i < m->nregions && pos < end; i++) {
        const struct memmap_region *r = &m->regions[i];

        if (r->end <= pos) {
            continue;
        }
        if (r->base > pos && (types & TYPE_NOWHERE) != 0) {
            *p = (struct piece){ pos, mm_min(r->base, end), MEMMAP_NODESC };
            return true;
        }
        pos = mm_max(pos, r->base);
        if (pos < end && r->desc != MEMMAP_NODESC && (type_bit(r->type) & types) != 0) {
            *p = (struct piece){ pos, mm_min(r->end, end), r->desc };
            return true;
        }
        pos = r->end;
    }
    if (pos < end && (types & TYPE_NOWHERE) != 0) {
        *p = (struct piece){ pos, end, MEMMAP_NODESC };
        return true;
    }
    return false;
}

/* A finding of rule `id` if part of the range lies in one of `types`. */
static bool find_if_in(struct lint *l, enum maplint_id id, const char *subject,
                       const struct maplint_range *range, uint32_t types)
{
    struct piece p;

    if (range->nbytes == 0 || !find_piece(l->m, range, types, &p)) {
        return false;
    }
    find_full(l->out, id, subject, p.desc, MEMMAP_NODESC, p.base, p.end);
    return true;
}

/* `meant`: the types that the specification names for this table; `lost`: those of an OS. */
static void judge_table(struct lint *l, const char *subject, const struct maplint_range *range,
                        uint32_t meant, uint32_t lost)
{
    uint32_t other = TYPES_ALL & ~meant & ~lost;

    if (l->facts->arch == MAPFILE_ARCH_X86 && range->base >= BIOS_BASE &&
        range_end(range) <= FIRST_MIB) {
        other &= ~(TYPE_NOWHERE | TYPE(EFI_MT_RESERVED)); /* where a BIOS has always put it */
    }
    if (!find_if_in(l, MAPLINT_M28, subject, range, lost & ~meant)) {
        (void)find_if_in(l, MAPLINT_M40, subject, range, other);
    }
}

static void judge_places(struct lint *l)
{
    const struct maplint_facts *facts = l->facts;
    const uint32_t reclaim = TYPE(EFI_MT_ACPI_RECLAIM);
    const uint32_t nvs = TYPE(EFI_MT_ACPI_NVS);
    const uint32_t not_ours = TYPES_ALL & ~TYPES_LOADER_OR_BOOT;

    judge_table(l, "RSDP", &facts->rsdp, reclaim | nvs, TYPES_USABLE);
    judge_table(l, "XSDT", &facts->xsdt, reclaim | nvs, TYPES_USABLE);
    judge_table(l, "FACS", &facts->facs, nvs, TYPES_USABLE | reclaim);
    judge_table(l, "SMBIOS", &facts->smbios,
                reclaim | nvs | TYPE(EFI_MT_RUNTIME_DATA) | TYPE(EFI_MT_BOOT_DATA), TYPES_USABLE);

    (void)find_if_in(l, MAPLINT_M30, "image", &facts->image, not_ours);
    (void)find_if_in(l, MAPLINT_M30, "stack", &facts->stack, not_ours);
    (void)find_if_in(l, MAPLINT_M30, "map buffer", &facts->map_buffer, not_ours);
    for (uint32_t i = 0; i < facts->nhanded_over; i++) {
        (void)find_if_in(l, MAPLINT_M30, "hand-over", &facts->handed_over[i], not_ours);
    }
    for (uint32_t i = 0; i < facts->necam; i++) {
        if (!find_if_in(l, MAPLINT_M29, NULL, &facts->ecam[i], TYPES_RAM)) {
            (void)find_if_in(l, MAPLINT_M41, NULL, &facts->ecam[i], TYPE_NOWHERE);
        }
    }
    for (uint32_t i = 0; i < facts->nframebuffers; i++) {
        (void)find_if_in(l, MAPLINT_M31, NULL, &facts->framebuffers[i], TYPES_TAKEN);
    }
}

/* ---- the Memory Attributes Table ------------------------------------------------------------- */

static bool is_mat_type(uint32_t type)
{
    return type == EFI_MT_RUNTIME_CODE || type == EFI_MT_RUNTIME_DATA;
}

/* Is [base, end) in one descriptor of `type`? *desc: the one that its first byte is in. */
static bool in_one_descriptor(const struct memmap *m, uint64_t base, uint64_t end, uint32_t type,
                              uint32_t *desc)
{
    const struct memmap_region *r = memmap_find(m, base);
    struct efi_memory_descriptor d;
    uint64_t desc_ends = 0;

    *desc = r != NULL ? r->desc : MEMMAP_NODESC;
    if (r == NULL || r->type != type) { /* a claim is LoaderData */
        return false;
    }
    d = memmap_desc(m, r->desc);
    return desc_end(&d, &desc_ends) && d.physical_start <= base && end <= desc_ends;
}

static struct efi_memory_descriptor mat_desc(const struct lint *l, uint32_t i)
{
    const struct memmap_raw *mat = &l->facts->mat;
    struct efi_memory_descriptor d;

    __builtin_memcpy(&d, (const unsigned char *)mat->bytes + i * mat->stride, sizeof(d));
    return d;
}

/* False if the entries cannot be walked in order. */
static bool judge_mat_entries(struct lint *l)
{
    uint64_t done = 0; /* end of the entries so far */
    bool sound = true;

    for (uint32_t i = 0; i < l->facts->mat_count; i++) {
        struct efi_memory_descriptor d = mat_desc(l, i);
        uint64_t base = d.physical_start;
        uint64_t end = 0;
        uint32_t desc = 0;

        if (!is_mat_type(d.type)) {
            find_at(l, MAPLINT_A07, MEMMAP_NODESC, base, desc_end(&d, &end) ? end : base);
            continue;
        }
        if (!desc_end(&d, &end) || !mm_is_aligned(base, MM_PAGE_SIZE) || base < done ||
            (d.attribute & EFI_MA_RUNTIME) == 0) {
            find_at(l, MAPLINT_A02, MEMMAP_NODESC, base, mm_max(base, end));
            sound = false;
            continue;
        }
        done = end;
        if (!in_one_descriptor(l->m, base, end, d.type, &desc)) {
            find_at(l, MAPLINT_A03, desc, base, end);
        }
        if ((d.attribute & (EFI_MA_RO | EFI_MA_XP)) == 0) {
            find_at(l, d.type == EFI_MT_RUNTIME_DATA ? MAPLINT_A04 : MAPLINT_A05, desc, base, end);
        }
    }
    return sound;
}

/* Entries in order meet regions in order: each region is named from end to end, or not at all. */
static void judge_mat_cover(struct lint *l)
{
    uint32_t k = 0; /* the first entry that does not end before the region */

    for (uint32_t i = 0; i < l->m->nregions; i++) {
        const struct memmap_region *r = &l->m->regions[i];
        uint64_t named = 0;

        if (!is_mat_type(r->type) || r->desc == MEMMAP_NODESC) {
            continue;
        }
        for (; k < l->facts->mat_count; k++) {
            struct efi_memory_descriptor d = mat_desc(l, k);
            uint64_t end = 0;

            if (!is_mat_type(d.type) || !desc_end(&d, &end) || end <= r->base) {
                continue;
            }
            if (d.physical_start < r->end) {
                named += mm_min(end, r->end) - mm_max(d.physical_start, r->base);
            }
            if (end > r->end) {
                break; /* it may go on in the next region */
            }
        }
        if (named != r->end - r->base) {
            find_at(l, named == 0 ? MAPLINT_A08 : MAPLINT_A03, r->desc, r->base, r->end);
        }
    }
}

static void judge_mat(struct lint *l)
{
    const struct memmap_raw *mat = &l->facts->mat;
    uint32_t header[MAT_HEADER_BYTES / 4] = { mat->version, l->facts->mat_count,
                                              (uint32_t)mat->stride };

    if (mat->bytes == NULL) {
        return;
    }
    if (mat->stride > UINT32_MAX || mat_bytes(header) == 0 ||
        l->facts->mat_count * mat->stride > mat->nbytes) {
        find_in_map(l, MAPLINT_A01);
        return;
    }
    if (l->facts->raw_is_firmware == MAPLINT_YES &&
        l->facts->mat_count * mat->stride / MAT_MAP_SIZE > l->m->raw.nbytes) {
        find_in_map(l, MAPLINT_A06);
    }
    if (judge_mat_entries(l)) {
        judge_mat_cover(l);
    }
}

/* ---- public ---------------------------------------------------------------------------------- */

/* What memmap_build() found, except what rests on attributes that are not firmware's. */
static void take_over(struct lint *l)
{
    const struct memmap *m = l->m;

    for (uint32_t i = 0; i < m->nfindings; i++) {
        const char *rule = m->findings[i].rule;
        uint64_t needs = 0;

        if (rule == maplint_rules[MAPLINT_M14].id || rule == maplint_rules[MAPLINT_M15].id ||
            rule == maplint_rules[MAPLINT_M16].id) {
            needs = EFI_MA_RUNTIME;
        } else if (rule == maplint_rules[MAPLINT_M18].id) {
            needs = EFI_MA_WB;
        }
        if (knows(l, needs)) {
            keep(l->out, &m->findings[i]);
        }
    }
    l->out->lost += m->lost_findings;
}

void maplint_set_mat(struct maplint_facts *facts, const void *table, uint64_t nbytes)
{
    uint32_t header[MAT_HEADER_BYTES / 4] = { 0 };

    /* A table that is too short for its header has no entries: A01. */
    if (nbytes >= MAT_HEADER_BYTES) {
        __builtin_memcpy(header, table, sizeof(header));
        nbytes -= MAT_HEADER_BYTES;
        table = (const unsigned char *)table + MAT_HEADER_BYTES;
    }
    facts->mat = (struct memmap_raw){
        .bytes = table,
        .nbytes = nbytes,
        .stride = header[2],
        .version = header[0],
    };
    facts->mat_count = header[1];
}

void maplint_run(struct maplint_result *out, const struct memmap *m,
                 const struct maplint_facts *facts)
{
    struct lint l = { out, m, facts };

    begin(out);
    take_over(&l);
    judge_descriptors(&l);
    judge_merging(&l);
    judge_low_memory(&l);
    judge_big_pages(&l);
    judge_totals(&l);
    judge_places(&l);
    judge_mat(&l);
    if (m->ndescs > MANY_DESCS) {
        find_in_map(&l, MAPLINT_M32);
    }
    if (facts->raw_is_firmware == MAPLINT_YES && m->raw.nbytes > MACOS_BYTES) {
        find_in_map(&l, MAPLINT_M33);
    }
    if (facts->key_changed == MAPLINT_YES) {
        find_in_map(&l, MAPLINT_M37);
    }
    finish(out);
}

/* Runtime memory of a map, one touching run after the other. base == end: there is no more. */
struct runtime_run {
    const struct memmap *m;
    uint32_t next; /* the first region behind it */
    uint64_t base;
    uint64_t end;
};

static void next_run(struct runtime_run *run)
{
    const struct memmap *m = run->m;

    run->base = run->end = 0;
    for (; run->next < m->nregions; run->next++) {
        const struct memmap_region *r = &m->regions[run->next];

        if (!is_runtime(r->type, r->attr)) {
            continue;
        }
        if (run->end == 0) {
            run->base = r->base;
        } else if (run->end != r->base) {
            break;
        }
        run->end = r->end;
    }
}

/* The first bound of the run above `pos`, if it is below `bound`. */
static uint64_t lower_bound(const struct runtime_run *run, uint64_t pos, uint64_t bound)
{
    if (run->base > pos) {
        return mm_min(run->base, bound);
    }
    return run->end > pos ? mm_min(run->end, bound) : bound;
}

void maplint_compare(struct maplint_result *out, const struct memmap *first,
                     const struct memmap *second)
{
    struct runtime_run a = { first, 0, 0, 0 };
    struct runtime_run b = { second, 0, 0, 0 };
    uint64_t pos = 0;

    begin(out);
    next_run(&a);
    next_run(&b);
    while (a.end != 0 || b.end != 0) {
        uint64_t bound = lower_bound(&b, pos, lower_bound(&a, pos, UINT64_MAX));
        bool in_a = a.base <= pos && pos < a.end;
        bool in_b = b.base <= pos && pos < b.end;

        if (in_a != in_b) {
            find_full(out, MAPLINT_M38, in_a ? "only in the first map" : "only in the second map",
                      MEMMAP_NODESC, MEMMAP_NODESC, pos, bound);
        }
        pos = bound;
        if (a.end == pos) {
            next_run(&a);
        }
        if (b.end == pos) {
            next_run(&b);
        }
    }
    finish(out);
}
