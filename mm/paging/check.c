/*
 * check.c - the invariants of a page table.
 *
 * They are stated here, in one place, because they bind all of mm/paging/:
 *
 *  P1  features are in range; the root is page aligned and below 2^pa_bits.
 *  P2  no present entry has a bit set that the processor reserves: so none leads beyond pa_bits, PS
 *      is only where a leaf of that size can be, and NX only with EFER.NXE.
 *  P3  an entry that links a table has W and A, U in the lower half only, and nothing else: rights
 *      are decided by the leaf alone (hardware takes the AND over the levels).
 *  P4  an entry that is not present is all zero. (Swap will store something there; then this names
 *      its format.)
 *  P5  no leaf is writable and executable, unless noted in the leaf as wanted (PTE_SW_WX), or the
 *      processor has no NX.
 *  P6  a leaf has U in the lower half only and G only if the processor has global pages. Without U
 *      it has A, and D if it has W: the processor never writes to a table for the kernel's sake.
 *      Bits that mean nothing are clear.
 *  P7  every table holds a present entry, except the root and those linked from the upper half of a
 *      root that is lent.
 *  P8  if the upper half is lent or borrowed, all 256 upper entries of the root link tables.
 *  P9  the tables reached are exactly those taken, each in the place it was put: as many as
 *      `ntables`, with `tables_sum`. So none is reached twice, lost, swapped or foreign.
 *
 * P9 by comparing each table with each would take the square of their number, and by a list or a
 * bitmap would take memory. A sum of well mixed 64-bit numbers, one for each (frame, place), kept
 * as tables come and go, sees every one of these faults in one pass, but for one chance in 2^64.
 *
 * Every table is checked entry by entry before any of its entries is followed, and no more than
 * `ntables` tables are: the check ends on any contents. What it cannot know is whether an address
 * below 2^pa_bits is RAM that port_ptr() reaches.
 */
#include "tree.h"

static const char *check_leaf(const struct pagetable *pt, pte_t e, bool upper)
{
    uint64_t need = (e.v & PTE_W) != 0 ? PTE_A | PTE_D : PTE_A;

    if (pt->feat.nx && (e.v & PTE_W) != 0 && (e.v & (PTE_NX | PTE_SW_WX)) == 0) {
        return "P5: a page is writable and executable";
    }
    if (upper && (e.v & PTE_U) != 0) {
        return "P6: a page in the upper half is the user's";
    }
    if (!pt->feat.global && (e.v & PTE_G) != 0) {
        return "P6: a page is global, which the processor has not";
    }
    if ((e.v & PTE_IGNORED) != 0) {
        return "P6: a page has a bit set that means nothing";
    }
    if ((e.v & PTE_U) == 0 && (e.v & need) != need) {
        return "P6: a kernel page has A or D clear";
    }
    return NULL;
}

/* P2 to P8 for one table of `level` that begins at `va`. */
static const char *check_table(const struct pagetable *pt, pa_t at, unsigned level, uint64_t va)
{
    const struct pt_features *f = &pt->feat;
    const uint64_t reserved[] = { pte_reserved(level, false, f->pa_bits, f->nx, f->page1g),
                                  pte_reserved(level, true, f->pa_bits, f->nx, f->page1g) };
    const pte_t *table = pt_table(at);
    unsigned npresent = 0;
    bool root = level == f->levels, shared = pt->upper != PT_UPPER_OWN;

    for (unsigned i = 0; i < PTE_ENTRIES; i++) {
        pte_t e = pte_load(&table[i]);
        bool upper = root ? i >= PTE_ENTRIES / 2 : pt_is_upper(va);
        bool leaf = pte_is_leaf(e, level);
        const char *broken;

        if (root && upper && shared && !pte_present(e)) {
            return "P8: an upper entry of a shared root links no table";
        }
        if (!pte_present(e)) {
            if (e.v != 0) {
                return "P4: an entry that is not present is not zero";
            }
            continue;
        }
        npresent++;
        if ((e.v & reserved[leaf]) != 0) {
            return "P2: a reserved bit is set";
        }
        if (!leaf && e.v != pte_make_table(pte_addr(e, level), !upper).v) {
            return "P3: an entry that links a table has not the rights it should";
        }
        if (leaf && (broken = check_leaf(pt, e, upper)) != NULL) {
            return broken;
        }
    }
    if (npresent == 0 && !root && !(shared && level == f->levels - 1 && pt_is_upper(va))) {
        return "P7: a table is empty";
    }
    return NULL;
}

const char *pt_check(const struct pagetable *pt)
{
    const struct pt_features *f = &pt->feat;
    uint64_t ntables = 0, sum = 0;
    struct pt_cursor c;
    enum pt_event event;

    if (f->levels < 4 || f->levels > 5 || f->pa_bits < 32 || f->pa_bits > 52) {
        return "P1: features are out of range";
    }
    if (!mm_is_aligned(pt->root.v, MM_PAGE_SIZE) || pt->root.v >> f->pa_bits != 0) {
        return "P1: the root's address is misaligned or too high";
    }
    pt_cursor_init(&c, pt, true);
    while ((event = pt_cursor_next(&c)) != PT_END) {
        if (event != PT_ENTER_TABLE) {
            continue;
        }
        pa_t table = c.at[c.level].table;
        const char *broken;

        if (ntables++ == pt->ntables) {
            return "P9: more tables are reached than were taken";
        }
        sum += pt_table_tag(table, c.at[c.level].va, c.level);
        broken = check_table(pt, table, c.level, c.at[c.level].va);
        if (broken != NULL) {
            return broken;
        }
    }
    if (ntables != pt->ntables) {
        return "P9: fewer tables are reached than were taken";
    }
    if (sum != pt->tables_sum) {
        return "P9: a table is not in the place it was put";
    }
    return NULL;
}
