/*
 * menu_map.c - the map as a table: firmware's descriptors in their order, or the regions that were
 * made of them; all, or those of one type or use.
 *
 * Which descriptor or region stands in which line is written down when the filter is set, so that
 * scrolling costs what is seen.
 */
#include "menu_ui.h"

/* With addresses of 8 digits, a descriptor fits into 80 columns with the commonest attributes. */
#define INDEX_CHARS 4u
#define KIND_CHARS  16u
#define TYPE_CHARS  20u
#define ATTR_CHARS  11u /* "UC|WC|WT|WB" */

static uint32_t map_size(const struct menu *m)
{
    return m->map.is_raw ? m->in->map.ndescs : m->in->map.nregions;
}

/* What the filter asks for: the row of mapsum.h of a descriptor's type, or the kind of a region. */
static uint32_t map_class(const struct menu *m, uint32_t i)
{
    struct memmap_region r = { .desc = i };

    if (!m->map.is_raw) {
        return m->in->map.regions[i].kind;
    }
    r.type = memmap_desc(&m->in->map, i).type;
    return mapsum_row_of(&r);
}

static const char *class_name(const struct menu *m, uint32_t c)
{
    return m->map.is_raw ? mapsum_row_name(c) : memmap_kind_name(c);
}

static uint32_t map_classes(const struct menu *m)
{
    return m->map.is_raw ? MAPSUM_ROWS : MEMMAP_KINDS;
}

/* ---- which lines there are ------------------------------------------------------------------- */

static void map_close(struct menu *m)
{
    if (m->map.rows_pa != 0) {
        pool_free(&m->pool, m->map.rows_pa);
        m->map.rows_pa = 0;
    }
    m->list->n = 0;
}

/* Make the list anew, with the filter as it is. */
static void map_open(struct menu *m)
{
    struct menu_map_state *s = &m->map;
    uint32_t n = map_size(m);

    map_close(m);
    for (uint32_t c = 0; c < MAPSUM_ROWS; c++) {
        s->count[c] = 0;
    }
    if (n == 0 || fw_failed(pool_alloc(&m->pool, (uint64_t)n * sizeof(*s->rows), STUB_PAGE,
                                       POOL_ANY, &s->rows_pa))) {
        return;
    }
    s->rows = fw_pointer(s->rows_pa);
    for (uint32_t i = 0; i < n; i++) {
        uint32_t c = map_class(m, i);

        s->count[c]++;
        if (s->filter == 0 || s->filter == c + 1) {
            s->rows[m->list->n++] = i;
        }
    }
}

/* The next filter, or the one before, that leaves anything. */
static void map_filter(struct menu *m, bool forward)
{
    uint32_t n = map_classes(m) + 1;

    do {
        m->map.filter = (m->map.filter + (forward ? 1 : n - 1)) % n;
    } while (m->map.filter != 0 && m->map.count[m->map.filter - 1] == 0);
    m->list->at = 0;
    map_open(m);
}

/* Put the bar on descriptor or region `i`; the filter goes if it hides that. */
static void map_go(struct menu *m, uint32_t i)
{
    for (unsigned round = 0; round < 2; round++) {
        for (uint32_t row = 0; row < m->list->n; row++) {
            if (m->map.rows[row] == i) {
                m->list->at = row;
                return;
            }
        }
        m->map.filter = 0;
        map_open(m);
    }
}

/* The region that holds the address, or the last one below it; of a map with regions. */
static uint32_t region_near(const struct memmap *map, uint64_t address)
{
    const struct memmap_region *r = memmap_find(map, address);
    uint32_t i = 0;

    if (r != NULL) {
        return (uint32_t)(r - map->regions);
    }
    while (i + 1 < map->nregions && map->regions[i + 1].base <= address) {
        i++;
    }
    return i;
}

static void map_go_address(struct menu *m, uint64_t address)
{
    const struct memmap *map = &m->in->map;
    uint32_t i;

    if (map->nregions == 0) {
        return;
    }
    i = region_near(map, address);
    if (!m->map.is_raw) {
        map_go(m, i);
    } else if (map->regions[i].desc != MEMMAP_NODESC) {
        map_go(m, map->regions[i].desc);
    }
}

/* ---- what is in them ------------------------------------------------------------------------- */

/* Digits of the highest address, so that the columns are no wider than they have to be. */
static size_t map_digits(const struct menu *m)
{
    const struct memmap *map = &m->in->map;
    uint64_t last = map->nregions > 0 ? map->regions[map->nregions - 1].end - 1 : 0;
    size_t n = 8;

    while (n < 16 && last >> (4 * n) != 0) {
        n += 2;
    }
    return n;
}

/* Are there columns for the attributes behind all else? If not, the line below the list has them.
 */
static bool has_attributes(const struct menu *m)
{
    size_t others = 1 + INDEX_CHARS + 1 + 2 * (2 + map_digits(m) + 1) + MM_SIZE_CHARS + 1 +
                    (m->map.is_raw ? 0 : KIND_CHARS) + TYPE_CHARS;

    return m->grid.columns >= others + ATTR_CHARS;
}

/* The columns that both tables have, but for the bar's. */
static void put_place(const struct mm_sink *to, uint32_t i, uint64_t base, uint64_t nbytes,
                      size_t digits)
{
    mm_put_u64(to, i, INDEX_CHARS);
    mm_put_char(to, ' ');
    mm_put_hex(to, base, digits);
    mm_put_char(to, ' ');
    mm_put_hex(to, base + nbytes - 1, digits); /* of a descriptor this may wrap */
    mm_put_size(to, nbytes, MM_SIZE_CHARS + 1);
    mm_put_char(to, ' ');
}

static void map_head(struct menu *m, const struct mm_sink *to)
{
    const struct menu_map_state *s = &m->map;
    size_t digits = map_digits(m);

    if (s->rows_pa == 0) {
        mm_put_str(to, map_size(m) == 0 ? "There is no memory map.\n"
                                        : "There is not enough free memory to list the map.\n");
        return;
    }
    menu_put_count(to, map_size(m), "", "");
    mm_put_str(to, s->is_raw ? "descriptors as firmware gave them"
                             : "regions, as made of the descriptors");
    if (s->filter != 0) {
        mm_put_str(to, "; only " MENU_STRONG);
        mm_put_str(to, class_name(m, s->filter - 1));
        mm_put_str(to, MENU_NORMAL ": ");
        mm_put_u64(to, m->list->n, 0);
    }
    mm_put_str(to, "\n" MENU_HEADING "   # ");
    mm_put_left(to, "first byte", digits + 3);
    mm_put_left(to, "last byte", digits + 2);
    mm_put_str(to, "       size ");
    mm_put_left(to, s->is_raw ? "" : "use", s->is_raw ? 0 : KIND_CHARS);
    mm_put_left(to, "type", TYPE_CHARS);
    mm_put_str(to, has_attributes(m) ? "attributes\n" : "\n");
}

static uint64_t desc_bytes(const struct efi_memory_descriptor *d)
{
    return d->number_of_pages <= UINT64_MAX >> MM_PAGE_SHIFT ? d->number_of_pages << MM_PAGE_SHIFT
                                                             : UINT64_MAX;
}

static void put_descriptor(struct menu *m, const struct mm_sink *to, uint32_t i)
{
    struct efi_memory_descriptor d = memmap_desc(&m->in->map, i);
    enum memmap_kind kind = memmap_kind_of(d.type, d.attribute);

    put_place(to, i, d.physical_start, desc_bytes(&d), map_digits(m));
    mm_put_char(to, menu_kinds[kind].colour);
    mm_put_left(to, memmap_type_name(d.type), TYPE_CHARS - 1);
    mm_put_str(to, MENU_NORMAL " ");
    if (has_attributes(m)) {
        menu_put_attr(to, d.attribute);
    }
}

static void put_region(struct menu *m, const struct mm_sink *to, uint32_t i)
{
    const struct memmap_region *r = &m->in->map.regions[i];

    put_place(to, i, r->base, r->end - r->base, map_digits(m));
    menu_put_kind(to, r->kind, KIND_CHARS);
    mm_put_left(to, r->desc != MEMMAP_NODESC ? memmap_type_name(r->type) : "-", TYPE_CHARS);
    if (has_attributes(m)) {
        menu_put_attr(to, r->attr);
    }
}

static void map_row(struct menu *m, const struct mm_sink *to, uint32_t i)
{
    if (m->map.is_raw) {
        put_descriptor(m, to, m->map.rows[i]);
    } else {
        put_region(m, to, m->map.rows[i]);
    }
}

/* What has no room in a line of 80 columns. */
static void map_foot(struct menu *m, const struct mm_sink *to, uint32_t i)
{
    uint32_t at = m->map.rows[i];
    const struct memmap_region *r = &m->in->map.regions[at];

    if (m->map.is_raw) {
        struct efi_memory_descriptor d = memmap_desc(&m->in->map, at);

        menu_put_count(to, d.number_of_pages, "page", "pages");
        mm_put_str(to, ", ");
        menu_put_kind(to, memmap_kind_of(d.type, d.attribute), 0);
        if (d.type > EFI_MT_UNACCEPTED) {
            mm_put_str(to, ", type ");
            mm_put_hex(to, d.type, 1);
        }
        mm_put_str(to, ", virtual ");
        mm_put_hex(to, d.virtual_start, 1);
        mm_put_str(to, ", ");
        menu_put_attr(to, d.attribute);
        return;
    }
    menu_put_count(to, (r->end - r->base) >> MM_PAGE_SHIFT, "page", "pages");
    if (r->desc != MEMMAP_NODESC) {
        mm_put_str(to, " of descriptor ");
        mm_put_u64(to, r->desc, 0);
    }
    mm_put_str(to, ", ");
    menu_put_attr(to, r->attr);
}

/* ---- keys ------------------------------------------------------------------------------------ */

static void map_choose(struct menu *m, uint32_t i)
{
    uint32_t at = m->map.rows[i];
    uint64_t address =
        m->map.is_raw ? memmap_desc(&m->in->map, at).physical_start : m->in->map.regions[at].base;

    menu_page(m, "", menu_put_at, &address);
}

static void map_search(struct menu *m)
{
    const char *question = "Address, hexadecimal, or 512k, 1m, 4g: ";
    char answer[32];
    uint64_t address;

    while (menu_ask(m, question, answer, sizeof(answer))) {
        if (menu_address(answer, &address)) {
            map_go_address(m, address);
            menu_page(m, "", menu_put_at, &address);
            return;
        }
        question = "That is no address. Write 0x7e6ed000, or 16m: ";
    }
}

static bool map_key(struct menu *m, enum key key)
{
    switch ((int)key) {
    case 'r':
        m->map.is_raw = !m->map.is_raw;
        m->map.filter = 0;
        m->list->at = 0;
        map_open(m);
        return true;
    case 'f':
    case 'F':
        map_filter(m, key == 'f');
        return true;
    case '/':
    case 'a':
        map_search(m);
        return true;
    default:
        return false;
    }
}

const struct menu_screen menu_map = {
    .name = "Map",
    .keys = "/ address  r raw  f filter  Enter more",
    .help = "The memory map as a table.\n\n"
            "/ or a     What is at this address? Type it in hexadecimal, with or without 0x, or "
            "in decimal with a unit: 512k, 1m, 4g.\n"
            "r          Descriptors as firmware gave them, in its order; or regions: sorted, "
            "without overlaps, each with its use.\n"
            "f, F       Only one type, or one use: the next, the one before.\n"
            "Enter      All about the line with the bar.\n",
    .open = map_open,
    .close = map_close,
    .head = map_head,
    .row = map_row,
    .foot = map_foot,
    .choose = map_choose,
    .key = map_key,
};
