/*
 * memmap.c - from the descriptors of firmware to regions that can be trusted.
 *
 * Three steps. Every descriptor is read, judged and turned into a span: whole pages and one kind;
 * what makes no sense is left out. The spans are sorted by address. Then one sweep over them emits
 * the regions: a heap holds the spans that have begun, the most restrictive one on top, and a
 * region ends wherever the top one ends or another span begins. A span whose end has been passed
 * leaves the heap only when it comes to the top, so each is pushed and popped once: O(n log n)
 * whatever the overlaps, and at most two region bounds a span, so at most 2n - 1 regions.
 *
 * Rejected: sorting in place and fixing overlaps pair by pair, as boot loaders do it (quadratic or
 * worse on hostile maps, and the result depends on the order of repair); a per-page table (a map
 * may name any address below 2^64); merging regions of one kind (a region would no longer name the
 * descriptor that it came from).
 *
 * The storage holds two arrays of regions and one of findings:
 *
 *     regions[max_regions]   spare[max_regions]   findings[max_findings]
 *
 * While a map is built the spare array holds the spans, room to sort them, and the heap. Later, a
 * claim composes the new list of regions there and copies it back when it is complete: so a claim
 * that does not fit changes nothing.
 *
 * A range that ends at 2^64 has no end that 64 bits can say. No x86 processor has memory there
 * (SDM vol. 3A 4.1.4: at most 52 bits), so that last page is left out, with a finding.
 *
 * Invariants (memmap_check tests each):
 *  M1  regions are page aligned, not empty, sorted, and do not overlap
 *  M2  a region's kind is one of enum memmap_kind
 *  M3  a region of a descriptor lies in that descriptor's range rounded outwards to pages, and has
 *      its type and attributes, and the kind that these give
 *  M4  a region of no descriptor is a claim: type LOADER_DATA, no attributes
 *  M5  regions that touch stem from different descriptors, or are claims of different kinds
 *  M6  the lists are no longer than their storage; every finding has a rule, a text, a known
 *      severity, and names descriptors that there are; findings are lost only when the list is full
 */
#include "mm/memmap.h"

#include "mm/maplint.h"
#include "mm/port.h"

#define MIN_STRIDE   sizeof(struct efi_memory_descriptor)
#define STRIDE_ALIGN 8
#define FIRST_MIB    UINT64_C(0x100000)
#define TOP_PAGE     (UINT64_MAX & ~(MM_PAGE_SIZE - 1)) /* its end cannot be said in 64 bits */
#define MAX_PAGES    (UINT64_C(1) << (64 - MM_PAGE_SHIFT))

/* Descriptors whose regions a 32-bit count can number. */
#define MAX_DESCS ((UINT32_MAX - MEMMAP_SPARE_REGIONS) / 2)

/* Findings that there is room for besides two for each descriptor. */
#define SPARE_FINDINGS 64

_Static_assert(sizeof(struct efi_memory_descriptor) == 40, "UEFI 2.10 7.2.3");
_Static_assert(offsetof(struct efi_memory_descriptor, attribute) == 32, "UEFI 2.10 7.2.3");

/* What one descriptor says, in whole pages. */
struct span {
    uint64_t base;
    uint64_t end;
    uint32_t kind;
    uint32_t desc;
};

_Static_assert(2 * sizeof(struct span) + sizeof(struct span *) <= 2 * sizeof(struct memmap_region),
               "the spare array has room for the working lists");

static uint64_t max_regions(uint64_t ndescs)
{
    return 2 * ndescs + MEMMAP_SPARE_REGIONS;
}

static uint64_t max_findings(uint64_t ndescs)
{
    return 2 * ndescs + SPARE_FINDINGS;
}

/* RAM that is, or may become, someone's to use: a page of it must be RAM as a whole. */
static bool kind_is_usable_ram(uint32_t kind)
{
    return kind <= MEMMAP_PERSISTENT;
}

/* ---- findings -------------------------------------------------------------------------------- */

static void add_finding(struct memmap *m, enum maplint_id id, uint32_t desc, uint32_t other,
                        uint64_t base, uint64_t end)
{
    const struct maplint_rule *rule = &maplint_rules[id];

    if (m->nfindings == m->max_findings) {
        if (m->lost_findings != UINT32_MAX) {
            m->lost_findings++;
        }
        return;
    }
    m->findings[m->nfindings++] = (struct memmap_finding){
        .rule = rule->id,
        .what = rule->what,
        .severity = rule->severity,
        .desc = desc,
        .other = other,
        .base = base,
        .end = end,
    };
}

static void find_in_map(struct memmap *m, enum maplint_id id)
{
    add_finding(m, id, MEMMAP_NODESC, MEMMAP_NODESC, 0, 0);
}

static void find_in_desc(struct memmap *m, enum maplint_id id, uint32_t desc, uint64_t base,
                         uint64_t end)
{
    add_finding(m, id, desc, MEMMAP_NODESC, base, end);
}

/* ---- descriptors to spans -------------------------------------------------------------------- */

/* The last byte of a descriptor's range. False if it has none, or not one below 2^64. */
static bool desc_last(const struct efi_memory_descriptor *d, uint64_t *last)
{
    if (d->number_of_pages == 0 || d->number_of_pages > MAX_PAGES) {
        return false;
    }
    *last = d->physical_start + (d->number_of_pages * MM_PAGE_SIZE - 1);
    return *last >= d->physical_start;
}

/* Type and attributes that contradict the specification or each other. */
static void judge_class(struct memmap *m, uint32_t i, const struct efi_memory_descriptor *d,
                        uint64_t last)
{
    uint64_t base = d->physical_start;
    uint64_t end = last == UINT64_MAX ? last : last + 1;
    bool runtime = (d->attribute & EFI_MA_RUNTIME) != 0;

    if (d->type >= EFI_MT_OEM_FIRST) {
        find_in_desc(m, MAPLINT_M13, i, base, end);
    } else if (d->type > EFI_MT_UNACCEPTED) {
        find_in_desc(m, MAPLINT_M12, i, base, end);
    } else if (memmap_type_is_ram(d->type) && (d->attribute & EFI_MA_WB) == 0) {
        find_in_desc(m, MAPLINT_M18, i, base, end);
    }

    switch (d->type) {
    case EFI_MT_RUNTIME_CODE:
    case EFI_MT_RUNTIME_DATA:
        if (!runtime) {
            find_in_desc(m, MAPLINT_M14, i, base, end);
        }
        break;
    case EFI_MT_MMIO:
    case EFI_MT_MMIO_PORT:
    case EFI_MT_PAL_CODE:
        break;
    case EFI_MT_RESERVED:
        if (runtime) {
            find_in_desc(m, MAPLINT_M16, i, base, end);
        }
        break;
    default:
        if (runtime) {
            find_in_desc(m, MAPLINT_M15, i, base, end);
        }
        break;
    }
}

/* False if nothing of the descriptor is left. */
static bool span_of_desc(struct memmap *m, uint32_t i, struct span *s)
{
    struct efi_memory_descriptor d = memmap_desc(m, i);
    uint64_t start = d.physical_start;
    uint64_t last = 0;

    if (d.number_of_pages == 0) {
        find_in_desc(m, MAPLINT_M04, i, start, start);
        return false;
    }
    if (!desc_last(&d, &last)) {
        find_in_desc(m, MAPLINT_M05, i, start, UINT64_MAX);
        return false;
    }
    judge_class(m, i, &d, last);
    if (last >= TOP_PAGE) {
        find_in_desc(m, MAPLINT_M39, i, start, UINT64_MAX);
        last = TOP_PAGE - 1;
        if (start > last) {
            return false;
        }
    }

    s->kind = memmap_kind_of(d.type, d.attribute);
    s->desc = i;
    if (!mm_is_aligned(start, MM_PAGE_SIZE)) {
        find_in_desc(m, MAPLINT_M07, i, start, last + 1);
    }
    if (kind_is_usable_ram(s->kind)) {
        s->base = mm_align_up(start, MM_PAGE_SIZE);
        s->end = mm_align_down(last + 1, MM_PAGE_SIZE);
    } else {
        s->base = mm_align_down(start, MM_PAGE_SIZE);
        s->end = mm_align_up(last + 1, MM_PAGE_SIZE);
    }
    return s->base < s->end;
}

/* ---- the sort, and the heap of the sweep ----------------------------------------------------- */

/*
 * Sort `n` spans by base; equal ones keep their order, which is that of the descriptors. Merges
 * runs of doubling length back and forth between `a` and `b`; returns the one they end up in.
 */
static struct span *sort_by_base(struct span *a, struct span *b, uint32_t n)
{
    for (uint64_t width = 1; width < n; width *= 2) {
        for (uint64_t lo = 0; lo < n; lo += 2 * width) {
            uint64_t mid = mm_min(lo + width, n);
            uint64_t hi = mm_min(lo + 2 * width, n);
            uint64_t left = lo;
            uint64_t right = mid;

            for (uint64_t to = lo; to < hi; to++) {
                bool take_left = left < mid && (right == hi || a[left].base <= a[right].base);

                b[to] = take_left ? a[left++] : a[right++];
            }
        }
        struct span *sorted = b;
        b = a;
        a = sorted;
    }
    return a;
}

/* Of spans over one page: whose is it? */
static bool outranks(const struct span *a, const struct span *b)
{
    return a->kind != b->kind ? a->kind > b->kind : a->desc < b->desc;
}

static void heap_push(const struct span **heap, uint32_t *n, const struct span *s)
{
    uint32_t i = (*n)++;

    while (i > 0 && outranks(s, heap[(i - 1) / 2])) {
        heap[i] = heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    heap[i] = s;
}

static void heap_pop(const struct span **heap, uint32_t *n)
{
    const struct span *s = heap[--*n]; /* sinks from the top to its place */
    uint64_t i = 0;

    for (;;) {
        uint64_t child = 2 * i + 1;

        if (child + 1 < *n && outranks(heap[child + 1], heap[child])) {
            child++;
        }
        if (child >= *n || !outranks(heap[child], s)) {
            break;
        }
        heap[i] = heap[child];
        i = child;
    }
    heap[i] = s;
}

/* ---- spans to regions ------------------------------------------------------------------------ */

/* Would the two be one region, if they touch? */
static bool same_origin(const struct memmap_region *a, const struct memmap_region *b)
{
    return a->desc == b->desc && a->kind == b->kind;
}

/* Add `r` behind the `n` regions of `list`. False if there is no room. */
static bool append(struct memmap_region *list, uint32_t *n, uint32_t max,
                   const struct memmap_region *r)
{
    if (*n > 0 && list[*n - 1].end == r->base && same_origin(&list[*n - 1], r)) {
        list[*n - 1].end = r->end;
        return true;
    }
    if (*n == max) {
        return false;
    }
    list[(*n)++] = *r;
    return true;
}

/*
 * Each span that begins within reach of an earlier one overlaps it: one finding a span, not one a
 * pair, so that a hostile map cannot ask for n^2 of them.
 */
static void report_overlaps(struct memmap *m, const struct span *spans, uint32_t n)
{
    const struct span *reach = spans; /* of the spans so far, the one that ends last */

    for (const struct span *s = spans + 1; s < spans + n; s++) {
        if (s->base < reach->end) {
            struct efi_memory_descriptor a = memmap_desc(m, reach->desc);
            struct efi_memory_descriptor b = memmap_desc(m, s->desc);
            uint64_t last_a = 0;
            uint64_t last_b = 0;

            (void)desc_last(&a, &last_a); /* true: it became a span */
            (void)desc_last(&b, &last_b);

            uint64_t base = mm_max(a.physical_start, b.physical_start);
            uint64_t last = mm_min(mm_min(last_a, last_b), TOP_PAGE - 1);

            /* Two that merely share a page, because each was rounded outwards, do not overlap. */
            if (base <= last) {
                add_finding(m, MAPLINT_M08, s->desc, reach->desc, base, last + 1);
            }
        }
        if (s->end > reach->end) {
            reach = s;
        }
    }
}

static void sweep(struct memmap *m, const struct span *spans, const struct span **heap, uint32_t n)
{
    const struct span *next = spans; /* the first that has not begun */
    const struct span *end = spans + n;
    uint32_t nbegun = 0; /* in the heap */
    uint64_t pos = 0;

    for (;;) {
        while (nbegun > 0 && heap[0]->end <= pos) {
            heap_pop(heap, &nbegun);
        }
        if (nbegun == 0) {
            if (next == end) {
                return;
            }
            pos = next->base;
        }
        for (; next < end && next->base == pos; next++) {
            heap_push(heap, &nbegun, next);
        }

        const struct span *top = heap[0];
        struct efi_memory_descriptor d = memmap_desc(m, top->desc);
        struct memmap_region r = {
            .base = pos,
            .end = next < end ? mm_min(top->end, next->base) : top->end,
            .attr = d.attribute,
            .kind = top->kind,
            .type = d.type,
            .desc = top->desc,
        };
        bool room = append(m->regions, &m->nregions, m->max_regions, &r);

        MM_ASSERT(room); /* at most 2n - 1 regions: see above */
        pos = r.end;
    }
}

/* ---- claims ---------------------------------------------------------------------------------- */

/* Index of the first region that ends after `addr`; nregions if there is none. */
static uint32_t first_ending_after(const struct memmap *m, uint64_t addr)
{
    uint32_t lo = 0;
    uint32_t hi = m->nregions;

    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;

        if (m->regions[mid].end > addr) {
            hi = mid;
        } else {
            lo = mid + 1;
        }
    }
    return lo;
}

/* Add the part of `r` inside [base, end) to the spare list, if there is any. */
static bool append_part(struct memmap *m, uint32_t *n, const struct memmap_region *r, uint64_t base,
                        uint64_t end)
{
    struct memmap_region part = *r;

    part.base = mm_max(r->base, base);
    part.end = mm_min(r->end, end);
    return part.base >= part.end || append(m->regions + m->max_regions, n, m->max_regions, &part);
}

/* Compose the regions with [base, end) claimed in the spare list. False if they do not fit. */
static bool compose_claim(struct memmap *m, uint64_t base, uint64_t end, uint32_t kind, uint32_t *n)
{
    struct memmap_region claim = {
        .base = base,
        .end = end,
        .kind = kind,
        .type = EFI_MT_LOADER_DATA,
        .desc = MEMMAP_NODESC,
    };
    uint64_t pos = base; /* all below is composed */
    bool room = true;

    for (uint32_t i = 0; i < m->nregions && room; i++) {
        const struct memmap_region *r = &m->regions[i];
        const struct memmap_region *inside = r->kind >= kind ? r : &claim;

        /* What of it lies before the claim, the gap that leads up to it, its part in the claim,
         * what lies behind. Each may be nothing. */
        room = append_part(m, n, r, 0, base) && append_part(m, n, &claim, pos, r->base) &&
               append_part(m, n, inside, mm_max(r->base, base), mm_min(r->end, end)) &&
               append_part(m, n, r, end, UINT64_MAX);
        pos = r->end;
    }
    return room && append_part(m, n, &claim, pos, end);
}

/* ---- public ---------------------------------------------------------------------------------- */

uint64_t memmap_storage_bytes(uint64_t ndescs)
{
    if (ndescs > MAX_DESCS) {
        return 0;
    }
    return 2 * max_regions(ndescs) * sizeof(struct memmap_region) +
           max_findings(ndescs) * sizeof(struct memmap_finding);
}

mm_err_t memmap_build(struct memmap *m, const struct memmap_raw *raw, void *storage,
                      uint64_t storage_bytes)
{
    bool strideable = raw->stride >= MIN_STRIDE && raw->stride % STRIDE_ALIGN == 0;
    uint64_t ndescs = strideable ? raw->nbytes / raw->stride : 0;
    uint64_t needed = memmap_storage_bytes(ndescs);

    if (!mm_is_aligned((uintptr_t)storage, 16)) {
        return MM_EINVAL;
    }
    if (needed == 0 || storage_bytes < needed) {
        return MM_ENOSPC;
    }
    *m = (struct memmap){
        .raw = *raw,
        .ndescs = (uint32_t)ndescs,
        .regions = storage,
        .max_regions = (uint32_t)max_regions(ndescs),
        .max_findings = (uint32_t)max_findings(ndescs),
    };
    m->findings = (struct memmap_finding *)(m->regions + 2 * (uint64_t)m->max_regions);
    if (!strideable) {
        find_in_map(m, MAPLINT_M01);
        return MM_OK;
    }
    if (raw->nbytes == 0 || raw->nbytes % raw->stride != 0) {
        find_in_map(m, MAPLINT_M02);
    }
    if (raw->version != 1) {
        find_in_map(m, MAPLINT_M03);
    }

    struct span *spans = (struct span *)(m->regions + m->max_regions);
    struct span *sort_room = spans + ndescs;
    const struct span **heap = (const struct span **)(sort_room + ndescs);
    uint32_t n = 0;
    bool sorted = true;

    for (uint32_t i = 0; i < m->ndescs; i++) {
        if (span_of_desc(m, i, &spans[n])) {
            sorted = sorted && (n == 0 || spans[n].base >= spans[n - 1].base);
            n++;
        }
    }
    if (!sorted) {
        find_in_map(m, MAPLINT_M09);
        spans = sort_by_base(spans, sort_room, n);
    }
    report_overlaps(m, spans, n);
    sweep(m, spans, heap, n);
    return MM_OK;
}

mm_err_t memmap_claim(struct memmap *m, uint64_t base, uint64_t nbytes, enum memmap_kind kind)
{
    struct memmap_region *spare = m->regions + m->max_regions;
    uint32_t n = 0;

    /* The end, rounded up, must be one that 64 bits can say. */
    if (nbytes == 0 || nbytes > TOP_PAGE || base > TOP_PAGE - nbytes ||
        (unsigned)kind >= MEMMAP_KINDS) {
        return MM_EINVAL;
    }
    uint64_t end = mm_align_up(base + nbytes, MM_PAGE_SIZE);
    if (!compose_claim(m, mm_align_down(base, MM_PAGE_SIZE), end, kind, &n)) {
        return MM_ENOSPC;
    }
    __builtin_memcpy(m->regions, spare, n * sizeof(*spare));
    m->nregions = n;
    return MM_OK;
}

mm_err_t memmap_take(struct memmap *m, uint64_t nbytes, uint64_t align, uint64_t limit, pa_t *pa)
{
    if (nbytes == 0 || nbytes > TOP_PAGE || !mm_is_pow2(align) || align < MM_PAGE_SIZE) {
        return MM_EINVAL;
    }
    nbytes = mm_align_up(nbytes, MM_PAGE_SIZE);

    /* From the top down, run by run: free regions that touch serve a request together. */
    for (uint32_t i = m->nregions; i > 0; i--) {
        const struct memmap_region *r = &m->regions[i - 1];
        uint64_t end = mm_min(r->end, limit);

        if (r->kind != MEMMAP_FREE) {
            continue;
        }
        while (i > 1 && r[-1].kind == MEMMAP_FREE && r[-1].end == r->base) {
            r--;
            i--;
        }
        uint64_t lowest = mm_max(r->base, FIRST_MIB);
        if (end <= lowest || end - lowest < nbytes) {
            continue;
        }
        uint64_t base = mm_align_down(end - nbytes, align);
        if (base < lowest) {
            continue;
        }
        mm_err_t err = memmap_claim(m, base, nbytes, MEMMAP_KERNEL);
        if (err == MM_OK) {
            *pa = pa_make(base);
        }
        return err;
    }
    return MM_ENOMEM;
}

const struct memmap_region *memmap_find(const struct memmap *m, uint64_t addr)
{
    uint32_t i = first_ending_after(m, addr);

    return i < m->nregions && m->regions[i].base <= addr ? &m->regions[i] : NULL;
}

struct efi_memory_descriptor memmap_desc(const struct memmap *m, uint32_t i)
{
    struct efi_memory_descriptor d;

    MM_ASSERT(i < m->ndescs);
    /* Copied, because nothing says that firmware's bytes are aligned. */
    __builtin_memcpy(&d, (const unsigned char *)m->raw.bytes + i * m->raw.stride, sizeof(d));
    return d;
}

uint64_t memmap_total(const struct memmap *m, enum memmap_kind kind)
{
    uint64_t nbytes = 0;

    for (uint32_t i = 0; i < m->nregions; i++) {
        if (m->regions[i].kind == (uint32_t)kind) {
            nbytes += m->regions[i].end - m->regions[i].base;
        }
    }
    return nbytes;
}

bool memmap_kind_is_direct(enum memmap_kind kind)
{
    return kind <= MEMMAP_FREE_AFTER_ACPI || kind == MEMMAP_KERNEL;
}

bool memmap_type_is_ram(uint32_t type)
{
    return (type >= EFI_MT_LOADER_CODE && type <= EFI_MT_CONVENTIONAL) ||
           type == EFI_MT_ACPI_RECLAIM || type == EFI_MT_ACPI_NVS || type == EFI_MT_PERSISTENT;
}

uint64_t memmap_direct_end(const struct memmap *m)
{
    for (uint32_t i = m->nregions; i > 0; i--) {
        if (memmap_kind_is_direct(m->regions[i - 1].kind)) {
            return m->regions[i - 1].end;
        }
    }
    return 0;
}

enum memmap_kind memmap_kind_of(uint32_t type, uint64_t attr)
{
    enum memmap_kind kind = MEMMAP_RESERVED;

    switch (type) {
    case EFI_MT_CONVENTIONAL:
        kind = (attr & EFI_MA_NV) != 0   ? MEMMAP_PERSISTENT
               : (attr & EFI_MA_SP) != 0 ? MEMMAP_SPECIAL
                                         : MEMMAP_FREE;
        break;
    case EFI_MT_LOADER_CODE:
    case EFI_MT_LOADER_DATA:
    case EFI_MT_BOOT_CODE:
    case EFI_MT_BOOT_DATA:
        kind = MEMMAP_FREE_AFTER_EXIT;
        break;
    case EFI_MT_ACPI_RECLAIM:
        kind = MEMMAP_FREE_AFTER_ACPI;
        break;
    case EFI_MT_RUNTIME_CODE:
    case EFI_MT_PAL_CODE:
        kind = MEMMAP_RUNTIME_CODE;
        break;
    case EFI_MT_RUNTIME_DATA:
        kind = MEMMAP_RUNTIME_DATA;
        break;
    case EFI_MT_ACPI_NVS:
        kind = MEMMAP_ACPI_NVS;
        break;
    case EFI_MT_PERSISTENT:
        kind = MEMMAP_PERSISTENT;
        break;
    case EFI_MT_UNACCEPTED:
        kind = MEMMAP_UNACCEPTED;
        break;
    case EFI_MT_MMIO:
    case EFI_MT_MMIO_PORT:
        kind = MEMMAP_MMIO;
        break;
    case EFI_MT_UNUSABLE:
        kind = MEMMAP_BAD;
        break;
    default:
        break;
    }

    /* Firmware means to go on using it: it stays firmware's, whatever its type promises. */
    if ((attr & EFI_MA_RUNTIME) != 0 && kind < MEMMAP_RUNTIME_DATA) {
        return MEMMAP_RUNTIME_DATA;
    }
    /*
     * The direct map is write-back, so what cannot be cached so is not for it. Linux and Xen leave
     * such memory alone as well. Loader memory is excepted: we run in it, so it works.
     */
    bool is_loader = type == EFI_MT_LOADER_CODE || type == EFI_MT_LOADER_DATA;
    if ((attr & EFI_MA_WB) == 0 && memmap_kind_is_direct(kind) && !is_loader) {
        return MEMMAP_RESERVED;
    }
    return kind;
}

/* ---- check ----------------------------------------------------------------------------------- */

static const char *check_region(const struct memmap *m, const struct memmap_region *r)
{
    if (!mm_is_aligned(r->base | r->end, MM_PAGE_SIZE) || r->base >= r->end) {
        return "M1: a region is empty or not page aligned";
    }
    if (r->kind >= MEMMAP_KINDS) {
        return "M2: a region of no known kind";
    }
    if (r->desc == MEMMAP_NODESC) {
        return r->type == EFI_MT_LOADER_DATA && r->attr == 0
                   ? NULL
                   : "M4: a claim has a type or attributes";
    }
    if (r->desc >= m->ndescs) {
        return "M3: a region of a descriptor that there is not";
    }

    struct efi_memory_descriptor d = memmap_desc(m, r->desc);
    uint64_t last = 0;
    if (!desc_last(&d, &last) || r->base < mm_align_down(d.physical_start, MM_PAGE_SIZE) ||
        r->end - 1 > (last | (MM_PAGE_SIZE - 1))) {
        return "M3: a region lies outside its descriptor";
    }
    if (r->type != d.type || r->attr != d.attribute ||
        r->kind != (uint32_t)memmap_kind_of(d.type, d.attribute)) {
        return "M3: a region is not what its descriptor says";
    }
    return NULL;
}

static const char *check_finding(const struct memmap *m, const struct memmap_finding *f)
{
    if (f->rule == NULL || f->what == NULL || f->severity > MEMMAP_ERROR) {
        return "M6: a finding without a rule, a text or a severity";
    }
    if ((f->desc != MEMMAP_NODESC && f->desc >= m->ndescs) ||
        (f->other != MEMMAP_NODESC && f->other >= m->ndescs)) {
        return "M6: a finding on a descriptor that there is not";
    }
    return f->base <= f->end ? NULL : "M6: a finding on a range that ends before it begins";
}

const char *memmap_check(const struct memmap *m)
{
    if (m->nregions > m->max_regions || m->nfindings > m->max_findings ||
        (m->lost_findings != 0 && m->nfindings != m->max_findings)) {
        return "M6: a list is longer than its storage, or findings were lost for nothing";
    }
    for (uint32_t i = 0; i < m->nregions; i++) {
        const struct memmap_region *r = &m->regions[i];
        const char *broken = check_region(m, r);

        if (broken != NULL) {
            return broken;
        }
        if (i > 0 && r[-1].end > r->base) {
            return "M1: regions overlap or are not sorted";
        }
        if (i > 0 && r[-1].end == r->base && same_origin(&r[-1], r)) {
            return "M5: two regions should be one";
        }
    }
    for (uint32_t i = 0; i < m->nfindings; i++) {
        const char *broken = check_finding(m, &m->findings[i]);

        if (broken != NULL) {
            return broken;
        }
    }
    return NULL;
}
