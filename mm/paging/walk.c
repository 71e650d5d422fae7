/*
 * walk.c - reading page tables: one address, all ranges, all tables, and flags as text.
 *
 * Nothing here takes the lock or writes. pt_walk() is what a page-fault handler calls, perhaps
 * while this very processor holds the lock, so it trusts nothing it need not: it reads one entry a
 * level and no more than five.
 *
 * The walks over everything are one cursor (tree.h). A recursive function would be shorter and its
 * depth is bounded too, but its callers' callbacks run at the bottom of it, on kernel stacks of a
 * few pages; and one that can be resumed serves listing, checking and destroying alike.
 */
#include "tree.h"

unsigned pt_flags_of(pte_t e)
{
    /* By PWT and PCD: indexes 0 to 3 of PT_PAT_VALUE. We never write UC- (PCD alone), which lets an
     * MTRR make it write-combining; it is uncached to us. */
    static const unsigned type[4] = { PT_WB, PT_WC, PT_UC, PT_UC };
    unsigned flags = type[((e.v & PTE_PWT) != 0) + 2 * ((e.v & PTE_PCD) != 0)];

    flags |= (e.v & PTE_W) != 0 ? PT_WRITE : 0;
    flags |= (e.v & PTE_NX) == 0 ? PT_EXEC : 0;
    flags |= (e.v & PTE_U) != 0 ? PT_USER : 0;
    flags |= (e.v & PTE_G) != 0 ? PT_GLOBAL : 0;
    flags |= (e.v & PTE_SW_WX) != 0 ? PT_WX_OK : 0;
    return flags;
}

void pt_cursor_init(struct pt_cursor *c, const struct pagetable *pt, bool tables)
{
    unsigned root = pt->feat.levels;

    c->pt = pt;
    c->tables = tables;
    c->last = PT_END;
    c->level = root;
    c->at[root].table = pt->root;
    c->at[root].va = 0;
    c->at[root].rights = PT_ALL_RIGHTS;
    c->at[root].next = 0;
}

/* How many entries of the table at the cursor are to be read. */
static unsigned cursor_entries(const struct pt_cursor *c)
{
    if (c->tables && c->level == 1) {
        return 0; /* leaves only */
    }
    if (c->tables && c->level == c->pt->feat.levels && c->pt->upper == PT_UPPER_BORROWED) {
        return PTE_ENTRIES / 2;
    }
    return PTE_ENTRIES;
}

enum pt_event pt_cursor_next(struct pt_cursor *c)
{
    unsigned root = c->pt->feat.levels;

    if (c->last == PT_END) { /* nothing was returned yet */
        return c->last = PT_ENTER_TABLE;
    }
    if (c->last == PT_LEAVE_TABLE) {
        if (c->level == root) {
            return PT_END;
        }
        c->level++;
    }

    unsigned level = c->level, nentries = cursor_entries(c);
    const pte_t *table = pt_table(c->at[level].table);

    while (c->at[level].next < nentries) {
        unsigned index = c->at[level].next++;
        pte_t e = pte_load(&table[index]);

        if (!pte_present(e) || (c->tables && pte_is_leaf(e, level))) {
            continue;
        }
        uint64_t va = pt_entry_va(c->pt, c->at[level].va, level, index);
        pte_t narrowed = pte_narrow(c->at[level].rights, e);

        if (pte_is_leaf(e, level)) {
            c->leaf = narrowed;
            c->leaf_va = va;
            return c->last = PT_LEAF;
        }
        c->level = level - 1;
        c->at[level - 1].table = pa_make(pte_addr(e, level));
        c->at[level - 1].va = va;
        c->at[level - 1].rights = narrowed;
        c->at[level - 1].next = 0;
        return c->last = PT_ENTER_TABLE;
    }
    return c->last = PT_LEAVE_TABLE;
}

unsigned pt_cursor_pass_alike(struct pt_cursor *c)
{
    unsigned level = c->level, first = c->at[level].next, i;
    const pte_t *table = pt_table(c->at[level].table);
    pte_t e = pte_load(&table[first - 1]);

    for (i = first; i < PTE_ENTRIES; i++) {
        e.v += pte_span(level);
        if (pte_load(&table[i]).v != e.v) {
            break;
        }
    }
    c->at[level].next = i;
    return i - first;
}

void pt_walk(const struct pagetable *pt, uint64_t va, struct pt_walk *w)
{
    pa_t table = pt->root;
    pte_t rights = PT_ALL_RIGHTS;

    *w = (struct pt_walk){ .nsteps = 0 };
    if (!va_is_canonical(va, pt->feat.levels)) {
        return;
    }
    for (unsigned level = pt->feat.levels;; level--) {
        unsigned index = pte_index(va, level);
        pte_t e = pte_load(&pt_table(table)[index]);

        w->step[w->nsteps++] =
            (struct pt_step){ level, index, pa_make(table.v + index * sizeof(pte_t)), e };
        rights = pte_narrow(rights, e);
        if (!pte_is_table(e, level)) {
            w->leaf_bytes = pte_span(level);
            w->present = pte_present(e);
            if (w->present) {
                w->pa = pa_make(pte_addr(e, level) + (va & (pte_span(level) - 1)));
                w->flags = pt_flags_of(rights);
            }
            return;
        }
        table = pa_make(pte_addr(e, level));
    }
}

void pt_for_each(const struct pagetable *pt, bool (*fn)(void *ctx, const struct pt_range *r),
                 void *ctx)
{
    struct pt_range run = { .nbytes = 0 };
    struct pt_cursor c;
    enum pt_event event;

    pt_cursor_init(&c, pt, false);
    while ((event = pt_cursor_next(&c)) != PT_END) {
        if (event != PT_LEAF) {
            continue;
        }
        uint64_t pa = pte_addr(c.leaf, c.level), span = pte_span(c.level);
        uint64_t nbytes = (1 + pt_cursor_pass_alike(&c)) * span;
        unsigned flags = pt_flags_of(c.leaf);

        if (run.nbytes != 0 && run.va + run.nbytes == c.leaf_va && run.pa.v + run.nbytes == pa &&
            run.leaf_bytes == span && run.flags == flags) {
            run.nbytes += nbytes;
            continue;
        }
        if (run.nbytes != 0 && !fn(ctx, &run)) {
            return;
        }
        run = (struct pt_range){ c.leaf_va, nbytes, pa_make(pa), span, flags };
    }
    if (run.nbytes != 0) {
        (void)fn(ctx, &run);
    }
}

void pt_for_each_table(const struct pagetable *pt,
                       bool (*fn)(void *ctx, pa_t table, unsigned level), void *ctx)
{
    struct pt_cursor c;
    enum pt_event event;

    pt_cursor_init(&c, pt, true);
    while ((event = pt_cursor_next(&c)) != PT_END) {
        if (event == PT_ENTER_TABLE && !fn(ctx, c.at[c.level].table, c.level)) {
            return;
        }
    }
}

void pt_flags_text(unsigned flags, char buf[16])
{
    static const char type[4][3] = { "wb", "uc", "wc", "??" };
    const char *t = type[(flags & PT_TYPE_MASK) / PT_UC];
    const char text[] = {
        'r',
        (flags & PT_WRITE) != 0 ? 'w' : '-',
        (flags & PT_EXEC) != 0 ? 'x' : '-',
        (flags & PT_USER) != 0 ? 'u' : ' ',
        (flags & PT_GLOBAL) != 0 ? 'g' : ' ',
        ' ',
        t[0],
        t[1],
        '\0',
    };

    for (size_t i = 0; i < sizeof(text); i++) {
        buf[i] = text[i];
    }
}
