/*
 * mapsum.c - a memory map in a few numbers.
 *
 * One walk over the regions, which are sorted and do not overlap: so no sum can pass 2^64, and runs
 * of usable memory are found by remembering where the current one began, once for each stage.
 *
 * The bar walks regions and columns side by side. Rejected: a bar over all of address space
 * (machines put RAM above holes of terabytes), and at least one column for every kind (then the bar
 * is not in proportion; the strictest kind of each column says what lies hidden in it).
 */
#include "mm/mapsum.h"

#include "mm/port.h"

#define FOUR_GIB (UINT64_C(1) << 32)

enum mapsum_row mapsum_row_of(const struct memmap_region *r)
{
    if (r->desc == MEMMAP_NODESC) {
        return MAPSUM_CLAIMED;
    }
    if (r->type <= EFI_MT_UNACCEPTED) {
        return (enum mapsum_row)r->type;
    }
    if (r->type >= (uint32_t)EFI_MT_OS_FIRST) {
        return MAPSUM_OS;
    }
    return r->type >= EFI_MT_OEM_FIRST ? MAPSUM_OEM : MAPSUM_UNDEFINED;
}

const char *mapsum_row_name(enum mapsum_row row)
{
    switch (row) {
    case MAPSUM_UNDEFINED:
        return "undefined types";
    case MAPSUM_OEM:
        return memmap_type_name(EFI_MT_OEM_FIRST);
    case MAPSUM_OS:
        return memmap_type_name((uint32_t)EFI_MT_OS_FIRST);
    case MAPSUM_CLAIMED:
        return "claimed";
    default:
        return memmap_type_name(row);
    }
}

bool mapsum_is_ram(const struct memmap_region *r)
{
    if (r->desc == MEMMAP_NODESC) {
        return memmap_kind_is_direct(r->kind);
    }
    switch (r->type) {
    case EFI_MT_LOADER_CODE:
    case EFI_MT_LOADER_DATA:
    case EFI_MT_BOOT_CODE:
    case EFI_MT_BOOT_DATA:
    case EFI_MT_RUNTIME_CODE:
    case EFI_MT_RUNTIME_DATA:
    case EFI_MT_CONVENTIONAL:
    case EFI_MT_ACPI_RECLAIM:
    case EFI_MT_ACPI_NVS:
    case EFI_MT_UNACCEPTED:
        return r->kind != MEMMAP_PERSISTENT;
    default:
        return false;
    }
}

/* ---- sums ------------------------------------------------------------------------------------ */

/* Add `r` to what is usable; *run_base and *run_end are the bounds of the last run of such regions.
 */
static void add_usable(struct mapsum_usable *u, const struct memmap_region *r, uint64_t *run_base,
                       uint64_t *run_end)
{
    if (*run_end != r->base) {
        *run_base = r->base;
    }
    *run_end = r->end;
    u->nbytes += r->end - r->base;
    if (*run_end - *run_base > u->largest_bytes) {
        u->largest_base = *run_base;
        u->largest_bytes = *run_end - *run_base;
    }
}

void mapsum_make(struct mapsum *s, const struct memmap *m)
{
    uint64_t run_base[MAPSUM_WHENS] = { 0 };
    uint64_t run_end[MAPSUM_WHENS] = { 0 };

    *s = (struct mapsum){ .ndescs = m->ndescs, .nregions = m->nregions };
    for (const struct memmap_region *r = m->regions; r < m->regions + m->nregions; r++) {
        uint64_t nbytes = r->end - r->base;

        s->type_bytes[mapsum_row_of(r)] += nbytes;
        s->kind_bytes[r->kind] += nbytes;
        if (mapsum_is_ram(r)) {
            uint64_t low = r->base < FOUR_GIB ? mm_min(r->end, FOUR_GIB) - r->base : 0;

            s->ram_bytes += nbytes;
            s->ram_low_bytes += low;
            s->ram_high_bytes += nbytes - low;
            s->ram_end = r->end;
        }
        if (r->kind == MEMMAP_MMIO && (r->attr & EFI_MA_RUNTIME) != 0) {
            s->runtime_mmio_bytes += nbytes;
        }
        for (uint32_t when = r->kind; when < MAPSUM_WHENS; when++) {
            add_usable(&s->usable[when], r, &run_base[when], &run_end[when]);
        }
    }
    s->runtime_bytes = s->kind_bytes[MEMMAP_RUNTIME_CODE] + s->kind_bytes[MEMMAP_RUNTIME_DATA];
}

/* ---- the bar --------------------------------------------------------------------------------- */

/* The first region from `r` on that takes part in the bar, or `end`. */
static const struct memmap_region *next_in_bar(const struct memmap_region *r,
                                               const struct memmap_region *end)
{
    while (r < end && r->kind == MEMMAP_MMIO) {
        r++;
    }
    return r;
}

/* floor(total * i / n) for i <= n, without passing 2^64. */
static uint64_t share(uint64_t total, uint32_t i, uint32_t n)
{
    return total / n * i + total % n * i / n;
}

/* What a column holds: most bytes, and the most restrictive. */
static void judge_column(struct mapsum_column *c, const uint64_t nbytes[MEMMAP_KINDS])
{
    c->kind = 0;
    for (uint32_t kind = 0; kind < MEMMAP_KINDS; kind++) {
        if (nbytes[kind] >= nbytes[c->kind]) {
            c->kind = kind;
        }
        if (nbytes[kind] > 0) {
            c->strictest = kind;
        }
    }
}

uint64_t mapsum_bar(const struct memmap *m, struct mapsum_column *columns, uint32_t n)
{
    const struct memmap_region *end = m->regions + m->nregions;
    const struct memmap_region *r;
    uint64_t total = 0;
    uint64_t done = 0; /* bytes of *r that are in columns */

    MM_ASSERT(n <= MAPSUM_MAX_COLUMNS); /* so that each stands for a byte at least */
    while (end > m->regions && !mapsum_is_ram(end - 1)) {
        end--;
    }
    for (r = next_in_bar(m->regions, end); r < end; r = next_in_bar(r + 1, end)) {
        total += r->end - r->base;
    }
    r = next_in_bar(m->regions, end);
    for (uint32_t i = 0; i < n && total > 0; i++) {
        uint64_t nbytes[MEMMAP_KINDS] = { 0 };
        uint64_t left = share(total, i + 1, n) - share(total, i, n);

        columns[i].base = r->base + done;
        while (left > 0) {
            uint64_t part = mm_min(left, r->end - r->base - done);

            nbytes[r->kind] += part;
            left -= part;
            done += part;
            if (done == r->end - r->base) {
                r = next_in_bar(r + 1, end);
                done = 0;
            }
        }
        judge_column(&columns[i], nbytes);
    }
    return total;
}

/* ---- text ------------------------------------------------------------------------------------ */

static void put_usable(const struct mm_sink *to, const char *when, const struct mapsum_usable *u)
{
    mm_put_left(to, when, 24);
    mm_put_size(to, u->nbytes, MM_SIZE_CHARS);
    if (u->nbytes > 0) {
        mm_put_str(to, ", the largest block ");
        mm_put_size(to, u->largest_bytes, 0);
        mm_put_str(to, " at ");
        mm_put_hex(to, u->largest_base, 1);
    }
    mm_put_char(to, '\n');
}

static void put_amount(const struct mm_sink *to, const char *what, uint64_t nbytes)
{
    mm_put_left(to, what, 24);
    mm_put_size(to, nbytes, MM_SIZE_CHARS);
    mm_put_char(to, '\n');
}

void mapsum_put(const struct mm_sink *to, const struct mapsum *s)
{
    mm_put_left(to, "RAM", 24);
    mm_put_size(to, s->ram_bytes, MM_SIZE_CHARS);
    if (s->ram_bytes > 0) {
        mm_put_str(to, ", ");
        mm_put_size(to, s->ram_low_bytes, 0);
        mm_put_str(to, " below 4 GiB, ends at ");
        mm_put_hex(to, s->ram_end, 1);
    }
    mm_put_char(to, '\n');
    put_usable(to, "usable now", &s->usable[MAPSUM_NOW]);
    put_usable(to, "usable after exit", &s->usable[MAPSUM_AFTER_EXIT]);
    put_usable(to, "usable after ACPI", &s->usable[MAPSUM_AFTER_ACPI]);
    put_amount(to, "kept for runtime", s->runtime_bytes);
    put_amount(to, "MMIO for runtime", s->runtime_mmio_bytes);
    mm_put_left(to, "descriptors", 24);
    mm_put_u64(to, s->ndescs, MM_SIZE_CHARS);
    mm_put_str(to, ", in ");
    mm_put_u64(to, s->nregions, 0);
    mm_put_str(to, " regions\n\nby type\n");
    for (uint32_t row = 0; row < MAPSUM_ROWS; row++) {
        if (s->type_bytes[row] > 0) {
            mm_put_str(to, "  ");
            mm_put_left(to, mapsum_row_name(row), 22);
            mm_put_size(to, s->type_bytes[row], MM_SIZE_CHARS);
            mm_put_char(to, '\n');
        }
    }
    mm_put_str(to, "by use\n");
    for (uint32_t kind = 0; kind < MEMMAP_KINDS; kind++) {
        if (s->kind_bytes[kind] > 0) {
            mm_put_str(to, "  ");
            mm_put_left(to, memmap_kind_name(kind), 22);
            mm_put_size(to, s->kind_bytes[kind], MM_SIZE_CHARS);
            mm_put_char(to, '\n');
        }
    }
}
