/*
 * pages.c - see pages.h.
 *
 * The number of tables is bounded beforehand (pages_bound), because they lie in the arena, whose
 * size must be known before the slides and its address are; running out is then a bug of ours, but
 * still a line of text and not a triple fault.
 *
 * 1 GiB pages are not used: not every processor has them, and the arena is far smaller.
 */
#include "pages.h"

#include "bytes.h"
#include "firmware.h"

static pte_t *pages_table(uint64_t pa)
{
    return fw_pointer(pa);
}

/* An empty table, or 0 when there is no room. */
static uint64_t pages_new_table(struct pages *p)
{
    uint64_t pa = p->next;

    if (pa >= p->end) {
        return 0;
    }
    p->next += STUB_PAGE;
    memset(pages_table(pa), 0, STUB_PAGE);
    return pa;
}

uint64_t pages_bound(unsigned levels, uint64_t nbytes)
{
    uint64_t n = 0;

    for (unsigned level = 1; level < levels; level++) {
        /* A table at `level` covers what one entry of the level above does; both ends may stick
         * out. */
        n += nbytes / pte_span(level + 1) + 2;
    }
    return n;
}

struct pages pages_make(uint64_t base, uint64_t npages, unsigned levels, bool nx)
{
    struct pages p = { .next = base, .end = base + npages * STUB_PAGE, .levels = levels, .nx = nx };

    p.root = pages_new_table(&p);
    return p;
}

/* Put one leaf of `level` in place. */
static const char *pages_map_one(struct pages *p, uint64_t va, pte_t leaf, unsigned level)
{
    uint64_t table = p->root;
    pte_t *e;

    for (unsigned l = p->levels; l > level; l--) {
        e = &pages_table(table)[pte_index(va, l)];
        if (pte_is_leaf(*e, l)) {
            return "mapped twice";
        }
        if (!pte_present(*e)) {
            uint64_t below = pages_new_table(p);

            if (below == 0) {
                return "no room for page tables";
            }
            e->v = below | PTE_W | PTE_P; /* the leaf alone decides about rights */
        }
        table = pte_addr(*e, l);
    }
    e = &pages_table(table)[pte_index(va, level)];
    if (pte_present(*e)) {
        return "mapped twice";
    }
    *e = leaf;
    return NULL;
}

const char *pages_map(struct pages *p, uint64_t va, uint64_t pa, uint64_t nbytes, unsigned rights)
{
    uint64_t flags = PTE_P;

    if (((va | pa | nbytes) & (STUB_PAGE - 1)) != 0 || nbytes == 0 || va + (nbytes - 1) < va ||
        !va_is_canonical(va, p->levels) || !va_is_canonical(va + (nbytes - 1), p->levels) ||
        (va >> 63) != ((va + (nbytes - 1)) >> 63) || pa > PTE_ADDR || nbytes - 1 > PTE_ADDR - pa) {
        return "an address that cannot be mapped";
    }
    if ((rights & PAGES_WRITE) != 0 && (rights & PAGES_EXECUTE) != 0) {
        return "writable and executable";
    }
    flags |= (rights & PAGES_WRITE) != 0 ? PTE_W : 0;
    flags |= (rights & PAGES_EXECUTE) == 0 && p->nx ? PTE_NX : 0;
    for (uint64_t done = 0; done < nbytes;) {
        uint64_t large = pte_span(2);
        bool fits = ((va + done) & (large - 1)) == 0 && ((pa + done) & (large - 1)) == 0 &&
                    nbytes - done >= large;
        const char *wrong = pages_map_one(
            p, va + done, (pte_t){ (pa + done) | flags | (fits ? PTE_PS : 0) }, fits ? 2 : 1);

        if (wrong != NULL) {
            return wrong;
        }
        done += fits ? large : STUB_PAGE;
    }
    return NULL;
}

uint64_t pages_low_pml4(const struct pages *p)
{
    pte_t e = pages_table(p->root)[0];

    return p->levels == 5 && pte_present(e) ? pte_addr(e, 5) : 0;
}
