/*
 * frames map: memory as a strip, a character for each piece of equal size, lines of 64.
 *
 * A piece shows what there is most of in it, with two exceptions: where memory that is given and
 * taken is most, a digit says how much of it is in use, and one frame out of service is enough to
 * show. Pieces are as small as lets the drawing fit a screen of 24 lines. A line with no memory in
 * it is left out, and a remark says how much address space that was: on a machine with 1 TiB and
 * two islands, and on one with 64 MiB, the drawing is of what is there.
 *
 * 80 columns, because the serial line and the screen show the same text and nobody knows how wide a
 * terminal is. Everything can be read from the letters alone; colours repeat it.
 */
#include "lib/console.h"
#include "lib/fmt.h"
#include "lib/string.h"
#include "monitor/frames.h"
#include "monitor/style.h"
#include "vm.h"

#define COLS     64u
#define MAX_ROWS 16u
#define ONE_EACH (UINT64_C(4) << 20) /* SIZE if none is given: COLS * MAX_ROWS frames */
#define ROW_TEXT 1024u

enum what {
    FREE,
    USED,
    KERNEL,
    ACPI,
    FIRMWARE,
    SPECIAL,
    PERSISTENT,
    UNACCEPTED,
    RUNTIME,
    NVS,
    RESERVED,
    MMIO,
    BAD,
    HOLE,
    WHATS
};

#define ON(colour) "\033[30;" colour "m"

static const struct {
    char letter;
    const char *style, *name;
} looks[WHATS] = {
    [FREE] = { '.', ON("42"), "free" },
    [USED] = { '#', ON("104"), "in use" },
    [KERNEL] = { 'K', ON("46"), "kernel's own" },
    [ACPI] = { 'A', ON("106"), "ACPI tables" },
    [FIRMWARE] = { 'F', ON("103"), "kept for firmware" },
    [SPECIAL] = { 'S', ON("105"), "special purpose" },
    [PERSISTENT] = { 'P', ON("105"), "persistent" },
    [UNACCEPTED] = { 'U', ON("105"), "unaccepted" },
    [RUNTIME] = { 'R', ON("43"), "runtime services" },
    [NVS] = { 'N', ON("45"), "ACPI NVS" },
    [RESERVED] = { '-', ON("47"), "reserved" },
    [MMIO] = { 'M', ON("100"), "MMIO" },
    [BAD] = { 'X', "\033[97;41m", "out of service" },
    [HOLE] = { ' ', STYLE_OFF, "nothing" },
};
static const char *const some_used = ON("102"), *const much_used = ON("103");

struct drawing {
    uint64_t base, end; /* what is drawn */
    uint64_t cell;      /* bytes a character */
    uint32_t region;    /* the first that ends behind what has been drawn */
    bool seen[WHATS];
    bool seen_digits;
};

/* Is it worth a line? */
static bool is_memory(const struct memmap_region *r)
{
    return r->kind != MEMMAP_RESERVED && r->kind != MEMMAP_MMIO;
}

/* Lines of cells of `cell` bytes that have memory in them. */
static uint64_t count_rows(const struct drawing *d, uint64_t cell)
{
    uint64_t n = 0, next = 0; /* the first line that is not counted yet */

    for (uint32_t i = 0; i < vm_map.nregions; i++) {
        const struct memmap_region *r = &vm_map.regions[i];
        uint64_t lo = mm_max(r->base, d->base), hi = mm_min(r->end, d->end);

        if (is_memory(r) && lo < hi) {
            uint64_t first = (lo - mm_align_down(d->base, cell)) / cell / COLS;
            uint64_t last = (hi - 1 - mm_align_down(d->base, cell)) / cell / COLS;

            first = mm_max(first, next);
            if (first <= last) {
                n += last - first + 1;
                next = last + 1;
            }
        }
    }
    return n;
}

/* The first byte of memory at or behind `pa`; UINT64_MAX if there is none. */
static uint64_t next_memory(uint64_t pa)
{
    for (uint32_t i = 0; i < vm_map.nregions; i++) {
        const struct memmap_region *r = &vm_map.regions[i];

        if (is_memory(r) && r->end > pa) {
            return mm_max(r->base, pa);
        }
    }
    return UINT64_MAX;
}

/* What a frame that no pool gives is. */
static enum what what_is_held(const struct memmap_region *r)
{
    switch (r->kind) {
    case MEMMAP_FREE: /* the pool's own records */
    case MEMMAP_KERNEL:
        return KERNEL;
    case MEMMAP_FREE_AFTER_ACPI:
        return ACPI;
    case MEMMAP_SPECIAL:
        return SPECIAL;
    case MEMMAP_PERSISTENT:
        return PERSISTENT;
    case MEMMAP_UNACCEPTED:
        return UNACCEPTED;
    case MEMMAP_RUNTIME_CODE:
    case MEMMAP_RUNTIME_DATA:
        return RUNTIME;
    case MEMMAP_ACPI_NVS:
        return NVS;
    case MEMMAP_RESERVED:
        return RESERVED;
    case MEMMAP_MMIO:
        return MMIO;
    case MEMMAP_BAD:
        return BAD;
    default:
        return FIRMWARE;
    }
}

/* Add `count` frames of region `r` at `base` to what a cell holds. */
static void add_part(uint64_t holds[WHATS], const struct memmap_region *r, pfn_t base,
                     uint64_t count)
{
    enum what held = what_is_held(r);
    uint64_t rest = count;

    for (unsigned kind = 0; kind < PMM_KINDS; kind++) {
        bool shared = kind == PMM_GENERAL || kind == PMM_LOW;
        struct pmm_tally t;

        if (vm_pools[kind] == NULL) {
            continue;
        }
        pmm_get_tally(vm_pools[kind], base, count, &t);
        holds[shared ? FREE : held] += t.frames[PMM_FREE];
        holds[USED] += t.frames[PMM_USED];
        holds[held] += t.frames[PMM_HELD];
        holds[BAD] += t.frames[PMM_BAD];
        rest -= count - t.frames[PMM_ABSENT];
    }
    holds[held] += rest;
}

static void look_at(struct drawing *d, uint64_t base, uint64_t end, uint64_t holds[WHATS])
{
    uint64_t frames = (end - base) >> MM_PAGE_SHIFT;

    memset(holds, 0, WHATS * sizeof(holds[0]));
    while (d->region < vm_map.nregions && vm_map.regions[d->region].end <= base) {
        d->region++;
    }
    for (uint32_t i = d->region; i < vm_map.nregions && vm_map.regions[i].base < end; i++) {
        const struct memmap_region *r = &vm_map.regions[i];
        uint64_t lo = mm_max(base, r->base), hi = mm_min(end, r->end);

        add_part(holds, r, pfn_of_pa(pa_make(lo)), (hi - lo) >> MM_PAGE_SHIFT);
        frames -= (hi - lo) >> MM_PAGE_SHIFT;
    }
    holds[HOLE] = frames;
}

/* The character for a cell, and its colours. */
static char choose(struct drawing *d, const uint64_t holds[WHATS], const char **style)
{
    uint64_t given = holds[FREE] + holds[USED];
    enum what most = FREE;
    unsigned tenths;

    for (unsigned w = KERNEL; w < WHATS; w++) {
        if (holds[w] > (most == FREE ? given : holds[most])) {
            most = w;
        }
    }
    if (holds[BAD] != 0) {
        most = BAD;
    } else if (most == FREE && holds[FREE] == 0) {
        most = USED;
    }
    if (most == FREE && holds[USED] != 0) {
        tenths = (unsigned)mm_max(1, holds[USED] * 10 / given);
        d->seen_digits = true;
        *style = tenths < 5 ? some_used : much_used;
        return (char)('0' + tenths);
    }
    d->seen[most] = true;
    *style = looks[most].style;
    return looks[most].letter;
}

static void draw_row(struct drawing *d, uint64_t row)
{
    const char *style = STYLE_OFF;
    char text[ROW_TEXT];
    size_t n = fmt_s(text, sizeof(text), "%012llx ", (unsigned long long)row);

    for (unsigned i = 0; i < COLS; i++) {
        uint64_t base = mm_max(row + i * d->cell, d->base);
        uint64_t end = mm_min(row + (i + 1) * d->cell, d->end);
        uint64_t holds[WHATS];
        const char *now = STYLE_OFF;
        char letter = ' ';

        if (base < end) {
            look_at(d, base, end, holds);
            letter = choose(d, holds, &now);
        }
        if (now != style) {
            n += fmt_s(text + n, sizeof(text) - n, "%s", now);
            style = now;
        }
        n += fmt_s(text + n, sizeof(text) - n, "%c", letter);
    }
    kprintf("%s" STYLE_OFF "\n", text);
}

static void draw(struct drawing *d)
{
    const uint64_t line = COLS * d->cell;
    uint64_t row = mm_align_down(d->base, d->cell);
    char size[FMT_BYTES_MAX];

    while (row < d->end) {
        uint64_t from = mm_max(row, d->base), memory = next_memory(from);

        if (memory < row + line && memory < d->end) {
            draw_row(d, row);
            row += line;
        } else {
            row = memory < d->end ? row + mm_align_down(memory - row, line) : d->end;
            kprintf(STYLE_HEAD "%12s %s without memory" STYLE_OFF "\n", ":",
                    fmt_bytes(size, row - from));
        }
    }
}

/* One entry, on a new line if this one is full. */
static void explain(size_t *column, const char *style, const char *sample, const char *name)
{
    size_t width = strlen(sample) + 1 + strlen(name);

    if (*column == 0 || *column + 2 + width > 80) {
        kputs("\n"); /* the first of all leaves a line blank */
        *column = 0;
    }
    kprintf("%s%s%s" STYLE_OFF " %s", *column != 0 ? "  " : "", style, sample, name);
    *column += (*column != 0 ? 2 : 0) + width;
}

/* What the characters mean, of those that were drawn. */
static void legend(const struct drawing *d)
{
    size_t column = 0;

    for (unsigned w = 0; w < HOLE; w++) {
        if (d->seen[w]) {
            explain(&column, looks[w].style, (char[]){ looks[w].letter, '\0' }, looks[w].name);
        }
        if (w == FREE && d->seen_digits) {
            explain(&column, some_used, "1-4", "tenths in use");
            explain(&column, much_used, "5-9", "half or more");
        }
    }
    kputs(column != 0 ? "\n" : "");
}

/* One past the last byte of memory. */
static uint64_t memory_end(void)
{
    uint64_t end = 0;

    for (uint32_t i = 0; i < vm_map.nregions; i++) {
        if (is_memory(&vm_map.regions[i])) {
            end = vm_map.regions[i].end;
        }
    }
    return end;
}

int frames_map(const struct args *a)
{
    struct drawing d = { .cell = MM_PAGE_SIZE, .end = memory_end() };
    char cell[FMT_BYTES_MAX], line[FMT_BYTES_MAX];
    uint64_t nbytes = ONE_EACH;
    const uint64_t max = UINT64_C(1) << 52;

    if (a->n > 1) {
        if (!args_number(a, "ADDR", a->operand[1], 0, max - 1, &d.base) ||
            (a->n > 2 && !args_number(a, "SIZE", a->operand[2], 1, max, &nbytes))) {
            return 1;
        }
        d.end = mm_align_up(mm_min(d.base + nbytes, max), MM_PAGE_SIZE);
        d.base = mm_align_down(d.base, MM_PAGE_SIZE);
    }
    while (count_rows(&d, d.cell) > MAX_ROWS) {
        d.cell *= 2;
    }
    kprintf(STYLE_HEAD "a character is %s, a line %s" STYLE_OFF "\n", fmt_bytes(cell, d.cell),
            fmt_bytes(line, d.cell * COLS));
    draw(&d);
    legend(&d);
    return 0;
}
