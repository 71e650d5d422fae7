/*
 * tree.h - what the files of mm/paging/ share: reading a tree of tables. Private to this folder.
 *
 * "Level" of an entry is that of the table it is in (x86/pte.h); a table's level is that of its
 * entries. A slot is the range of addresses that one entry decides.
 */
#ifndef MM_PAGING_TREE_H
#define MM_PAGING_TREE_H

#include "mm/paging.h"
#include "mm/port.h"

static inline pte_t *pt_table(pa_t table)
{
    return port_ptr(table);
}

/* Is `va` in the upper half: the kernel's? */
static inline bool pt_is_upper(uint64_t va)
{
    return va >> 63 != 0;
}

/* First address of the table of `level` that translates `va`. The root's is 0. */
static inline uint64_t pt_table_va(const struct pagetable *pt, uint64_t va, unsigned level)
{
    return level == pt->feat.levels ? 0 : mm_align_down(va, pte_span(level + 1));
}

/* Address of entry `index` of a table that begins at `table_va`. The upper half of the root's
 * entries is sign-extended: it counts down from 2^64. */
static inline uint64_t pt_entry_va(const struct pagetable *pt, uint64_t table_va, unsigned level,
                                   unsigned index)
{
    uint64_t va = table_va + index * pte_span(level);

    if (level == pt->feat.levels && index >= PTE_ENTRIES / 2) {
        va -= PTE_ENTRIES * pte_span(level);
    }
    return va;
}

/*
 * A number for "frame `table` is the table of `level` at `va`", mixed well (the finaliser of
 * SplitMix64), so that two different sets of such facts practically never have the same sum.
 */
static inline uint64_t pt_table_tag(pa_t table, uint64_t va, unsigned level)
{
    uint64_t z = (table.v | level) ^ va * UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

/* PT_* of leaf `e`, whose rights have been narrowed by the entries above it. Without EFER.NXE, NX
 * is reserved and so clear: then everything is executable here too. */
unsigned pt_flags_of(pte_t e);

/* The root's "entry": what the walk from it may do at most. */
#define PT_ALL_RIGHTS ((pte_t){ PTE_W | PTE_U })

/*
 * A walk over the whole tree in order of address, with a place for each level in place of
 * recursion. Each table is entered, then its leaves and the tables below it come in order, and then
 * it is left; after PT_LEAVE_TABLE the cursor reads it no more.
 */
enum pt_event { PT_ENTER_TABLE, PT_LEAF, PT_LEAVE_TABLE, PT_END };

struct pt_cursor {
    const struct pagetable *pt;
    bool tables;        /* only tables, and only those that `pt` owns: no PT_LEAF */
    enum pt_event last; /* what the last call returned */
    unsigned level;     /* of the table, or of the table that the leaf is in */
    struct {
        pa_t table;
        uint64_t va;   /* where it begins */
        pte_t rights;  /* W, U, NX: what the entries above leave */
        unsigned next; /* index of the entry to read next */
    } at[6];           /* by level */
    pte_t leaf;        /* PT_LEAF: the entry, its rights narrowed, */
    uint64_t leaf_va;  /* and its address */
};

void pt_cursor_init(struct pt_cursor *c, const struct pagetable *pt, bool tables);
enum pt_event pt_cursor_next(struct pt_cursor *c);

/* After PT_LEAF: pass over the leaves that go on where it ends, in the same table, to the next
 * physical address with the same bits. Returns how many. */
unsigned pt_cursor_pass_alike(struct pt_cursor *c);

#endif
