/*
 * paging.c - editing page tables: init, share, map, unmap, protect, destroy.
 *
 * Every edit goes through the same steps, under the lock from first to last:
 *
 *   look     validate; see that the range is free (map) or full (protect); count the table frames
 *            that the change needs. The count is exact, because nobody else can edit meanwhile.
 *   reserve  take that many frames. This is the last thing that can fail, and nothing has changed.
 *   commit   split, link, write. Cannot fail; has used up the reserve when it ends (asserted).
 *   flush    once, if an entry that was present changed.
 *   release  give back the tables that became empty.
 *
 * Counting costs no second walk worth the name. What is below an entry that is missing is empty, so
 * how many tables a range needs there is arithmetic (tables_below); only tables that exist are
 * read. The frames in reserve are threaded through their own first words: no array, no limit.
 * Hafnium's way, linking empty tables while preparing and pruning them on failure, needs the
 * pruning code and lets a failed call be seen; building the change aside and swapping it in copies
 * tables.
 *
 * Splitting. A change that covers a large leaf in part first replaces it by 512 smaller ones that
 * say the same. Only the two ends of a range can cut a leaf, so at most four tables are needed, and
 * after splitting at both ends every leaf lies inside the range or outside it. A split by itself
 * changes no translation. Together with what follows it can change size and rights of an address
 * in one go; until the flush a processor may then use the old or the new (SDM vol. 3A 4.10.2.3),
 * which is all that a caller of pt_protect() may expect before it returns. Leaves are not joined
 * again: the ranges that are cut once, such as the edges of sections, tend to be cut for good.
 *
 * Emptied tables. Unmapping frees a table with its last entry. A processor that cached the entry
 * which linked it may walk it until the flush is done, so until then it keeps to be an empty table:
 * the link that threads it into the list of emptied tables has bit 0, present, clear. For the same
 * reason the lock is held during the flush. If it were dropped before, another processor could link
 * a new table in the freed entry and map something there, which needs no flush; a third that still
 * remembers the old, empty table would fault on it. A processor that waits for the lock meanwhile
 * has its interrupts masked: port_spin_hint() must serve the requests that port_tlb_flush() sends.
 *
 * Accessed and dirty. Kernel leaves are written with A, and with D if writable; links with A. The
 * processor sets these bits itself when clear, by a locked write into the table on first use (SDM
 * vol. 3A 4.8). Nobody asks which kernel pages were used, so it is spared the write, tables stay in
 * shared cache lines, and only mm/paging/ ever writes to a kernel table. D is not set on read-only
 * leaves: with CET that combination means a shadow stack (SDM vol. 3A 4.6). User leaves start with
 * both clear, because there they are what swap and copy-on-write want to know.
 *
 * Rights. Links allow everything (P3 in check.c), so that a change of rights touches leaves only.
 * Links in the upper half withhold U: no mistake in a leaf can give kernel memory to user code.
 *
 * Shared upper half. The root's 256 upper entries are copied into each new root, once; so they must
 * not change any more, and the tables they link are made beforehand and kept when empty. One MiB
 * buys that a mapping made in the kernel's half shows everywhere without a lock or a fault.
 *
 * The invariants, P1 to P9, are in check.c.
 */
#include "tree.h"

/* The highest level that has leaves: 1 GiB, in a PDPT. */
#define LEAF_LEVEL_MAX 3u

/* ---- frames in hand -------------------------------------------------------------------------- */

/*
 * Table frames that are ours but in no tree, in a list through their first words: reserved, or
 * emptied. A link is a page address or SPARE_END; in both bit 0 is clear.
 */
struct spare {
    pa_t top;
};
#define SPARE_END ((pa_t){ PTE_W })

static void spare_push(struct spare *s, pa_t table)
{
    pte_store(pt_table(table), (pte_t){ s->top.v });
    s->top = table;
}

static pa_t spare_pop(struct spare *s)
{
    pa_t table = s->top;

    MM_ASSERT(table.v != SPARE_END.v); /* else: the count was too low */
    s->top = pa_make(pte_load(pt_table(table)).v);
    return table;
}

static void spare_put_all(struct pagetable *pt, struct spare *s)
{
    while (s->top.v != SPARE_END.v) {
        pt->frames.put(pt->frames.ctx, pfn_of_pa(spare_pop(s)));
    }
}

/* Take `count` frames, or none. */
static mm_err_t spare_reserve(struct pagetable *pt, uint64_t count, struct spare *s)
{
    s->top = SPARE_END;
    for (; count != 0; count--) {
        pfn_t pfn = pt->frames.get(pt->frames.ctx);

        if (pfn_is_none(pfn)) {
            spare_put_all(pt, s);
            return MM_ENOMEM;
        }
        MM_ASSERT(pa_of_pfn(pfn).v >> pt->feat.pa_bits == 0);
        spare_push(s, pa_of_pfn(pfn));
    }
    return MM_OK;
}

/* ---- finding the way ------------------------------------------------------------------------- */

/* The entry for `va` that ends the walk: a leaf, or not present, or in a table of level `stop`. */
static pte_t *descend(const struct pagetable *pt, uint64_t va, unsigned stop, unsigned *level)
{
    pa_t table = pt->root;

    for (unsigned l = pt->feat.levels;; l--) {
        pte_t *entry = &pt_table(table)[pte_index(va, l)];
        pte_t e = pte_load(entry);

        if (l == stop || !pte_is_table(e, l)) {
            *level = l;
            return entry;
        }
        table = pa_make(pte_addr(e, l));
    }
}

/* Bytes of [va, va + nbytes) in the slot of `level` that `va` is in. */
static uint64_t bytes_in_slot(uint64_t va, uint64_t nbytes, unsigned level)
{
    return mm_min(nbytes, pte_span(level) - (va & (pte_span(level) - 1)));
}

/* How many entries of one table of `level`, from that of `va` on, does [va, va + nbytes) touch? */
static unsigned entries_in_table(uint64_t va, uint64_t nbytes, unsigned level)
{
    unsigned index = pte_index(va, level);
    uint64_t last = (va + (nbytes - 1)) >> pte_shift(level);

    return (unsigned)mm_min(PTE_ENTRIES - index, last - (va >> pte_shift(level)) + 1);
}

/* Bytes of [va, va + nbytes) in `count` entries of `level` from that of `va` on. */
static uint64_t bytes_in_entries(uint64_t va, uint64_t nbytes, unsigned level, unsigned count)
{
    return mm_min(nbytes, count * pte_span(level) - (va & (pte_span(level) - 1)));
}

/* How many slots of `level` do the ends `va` (if `head`) and `end` (if `tail`) cut in two? */
static unsigned slots_cut(uint64_t va, uint64_t end, unsigned level, bool head, bool tail)
{
    head = head && !mm_is_aligned(va, pte_span(level));
    tail = tail && !mm_is_aligned(end, pte_span(level));
    if (head && tail && va >> pte_shift(level) == end >> pte_shift(level)) {
        return 1;
    }
    return (unsigned)head + (unsigned)tail;
}

/* ---- writing --------------------------------------------------------------------------------- */

/* Let `entry`, in a table of `level` + 1, link `table` as the table of `level` for `va`. */
static void link_table(struct pagetable *pt, pte_t *entry, pa_t table, uint64_t va, unsigned level)
{
    pte_store(entry, pte_make_table(table.v, !pt_is_upper(va)));
    pt->ntables++;
    pt->tables_sum += pt_table_tag(table, pt_table_va(pt, va, level), level);
}

/* The entry for `va` in the table of `level`; tables that are missing on the way come from `s`. */
static pte_t *reach(struct pagetable *pt, uint64_t va, unsigned level, struct spare *s)
{
    pte_t *table = pt_table(pt->root);

    for (unsigned l = pt->feat.levels; l > level; l--) {
        pte_t *entry = &table[pte_index(va, l)];
        pte_t e = pte_load(entry);

        if (pte_present(e)) {
            table = pt_table(pa_make(pte_addr(e, l)));
        } else {
            pa_t fresh = spare_pop(s);

            table = __builtin_memset(pt_table(fresh), 0, MM_PAGE_SIZE);
            link_table(pt, entry, fresh, va, l - 1);
        }
    }
    return &table[pte_index(va, level)];
}

/* Write `count` leaves, the first of which is `e`, of `span` bytes each. */
static void write_leaves(pte_t *entry, unsigned count, pte_t e, uint64_t span)
{
    for (unsigned i = 0; i < count; i++) {
        pte_store(&entry[i], e);
        e.v += span;
    }
}

/* The level of the leaf that maps `va`, 0 if none does. */
static unsigned leaf_level(const struct pagetable *pt, uint64_t va)
{
    unsigned level;
    pte_t e = pte_load(descend(pt, va, 1, &level));

    return pte_present(e) ? level : 0;
}

/* How many tables does it take to split every leaf that an end of [va, va + nbytes) cuts? */
static unsigned tables_to_split(const struct pagetable *pt, uint64_t va, uint64_t nbytes)
{
    uint64_t end = va + nbytes; /* where it is no address of ours, it is aligned and cuts nothing */
    unsigned head = leaf_level(pt, va), tail = leaf_level(pt, end), count = 0;

    for (unsigned level = 2; level <= LEAF_LEVEL_MAX; level++) {
        count += slots_cut(va, end, level, head >= level, tail >= level);
    }
    return count;
}

/* Split the leaf that `at` cuts, if there is one, until it cuts none. */
static void split_at(struct pagetable *pt, uint64_t at, struct spare *s)
{
    unsigned level;

    for (;;) {
        pte_t *entry = descend(pt, at, 1, &level);
        pte_t e = pte_load(entry);

        if (!pte_is_leaf(e, level) || mm_is_aligned(at, pte_span(level))) {
            return;
        }
        pa_t table = spare_pop(s);

        write_leaves(pt_table(table), PTE_ENTRIES, pte_split(e, level), pte_span(level - 1));
        link_table(pt, entry, table, at, level - 1);
    }
}

/* Let no end of [va, va + nbytes) cut a leaf. *s is empty afterwards. */
static mm_err_t split_ends(struct pagetable *pt, uint64_t va, uint64_t nbytes, struct spare *s)
{
    mm_err_t err = spare_reserve(pt, tables_to_split(pt, va, nbytes), s);

    if (err != MM_OK) {
        return err;
    }
    split_at(pt, va, s);
    split_at(pt, va + nbytes, s);
    MM_ASSERT(s->top.v == SPARE_END.v); /* else: the count was too high */
    return MM_OK;
}

/* ---- map ------------------------------------------------------------------------------------- */

/* The bits of a leaf, but for address and size. */
static uint64_t leaf_bits(const struct pagetable *pt, unsigned flags)
{
    const unsigned wx = PT_WRITE | PT_EXEC | PT_WX_OK;
    unsigned type = flags & PT_TYPE_MASK;
    uint64_t bits = 0;

    bits |= (flags & PT_WRITE) != 0 ? PTE_W : 0;
    bits |= (flags & PT_EXEC) == 0 && pt->feat.nx ? PTE_NX : 0;
    bits |= (flags & PT_GLOBAL) != 0 && pt->feat.global ? PTE_G : 0;
    bits |= (flags & wx) == wx ? PTE_SW_WX : 0;
    bits |= type == PT_WC ? PTE_PWT : type == PT_UC ? PTE_PCD | PTE_PWT : 0; /* PT_PAT_VALUE */
    if ((flags & PT_USER) != 0) {
        bits |= PTE_U;
    } else {
        bits |= PTE_A | ((flags & PT_WRITE) != 0 ? PTE_D : 0);
    }
    return bits;
}

/* Are `flags` fit for a mapping at `va`? */
static bool flags_ok(uint64_t va, unsigned flags)
{
    const unsigned all =
        PT_WRITE | PT_EXEC | PT_USER | PT_GLOBAL | PT_TYPE_MASK | PT_SMALL | PT_WX_OK;
    const unsigned wx = PT_WRITE | PT_EXEC;

    return (flags & ~all) == 0 && (flags & PT_TYPE_MASK) <= PT_WC &&
           ((flags & wx) != wx || (flags & PT_WX_OK) != 0) &&
           ((flags & PT_USER) == 0 || !pt_is_upper(va));
}

/* May [va, va + nbytes) be edited here? Needs no lock: what is borrowed was so from the start. */
static bool range_is_ours(const struct pagetable *pt, uint64_t va, uint64_t nbytes)
{
    return pt_range_ok(pt, va, nbytes) && !(pt->upper == PT_UPPER_BORROWED && pt_is_upper(va));
}

/* The largest leaf that fits `va` and `pa` anywhere in a range: their distance stays the same. */
static unsigned largest_leaf(const struct pagetable *pt, uint64_t va, pa_t pa, unsigned flags)
{
    unsigned level = pt->feat.page1g ? LEAF_LEVEL_MAX : LEAF_LEVEL_MAX - 1;

    if ((flags & PT_SMALL) != 0) {
        return 1;
    }
    while (level > 1 && !mm_is_aligned(va ^ pa.v, pte_span(level))) {
        level--;
    }
    return level;
}

/* The largest leaf, up to `largest`, that fits at the start of [va, va + nbytes). */
static unsigned fitting_leaf(uint64_t va, uint64_t nbytes, unsigned largest)
{
    while (largest > 1 && (!mm_is_aligned(va, pte_span(largest)) || nbytes < pte_span(largest))) {
        largest--;
    }
    return largest;
}

/*
 * How many tables does mapping [va, va + nbytes) take below one missing entry of `level`? One for
 * each slot that is touched and becomes no leaf: above the largest leaf that is each slot, at and
 * below it those that the ends cut.
 */
static uint64_t tables_below(uint64_t va, uint64_t nbytes, unsigned level, unsigned largest)
{
    uint64_t count = 0, last = va + (nbytes - 1);

    for (; level > largest; level--) {
        count += (last >> pte_shift(level)) - (va >> pte_shift(level)) + 1;
    }
    for (; level > 1; level--) {
        count += slots_cut(va, va + nbytes, level, true, true);
    }
    return count;
}

/* Look: is all of the range free, and how many tables does it take? */
static mm_err_t look_free(const struct pagetable *pt, uint64_t va, uint64_t nbytes,
                          unsigned largest, uint64_t *ntables)
{
    *ntables = 0;
    while (nbytes != 0) {
        unsigned want = fitting_leaf(va, nbytes, largest), level, count = 0;
        const pte_t *entry = descend(pt, va, want, &level);
        uint64_t step;

        if (level > want) { /* a table is missing, or a larger leaf is there */
            step = bytes_in_slot(va, nbytes, level);
            *ntables += tables_below(va, step, level, largest);
            count = 1;
        } else {
            count = (unsigned)mm_min(PTE_ENTRIES - pte_index(va, level), nbytes / pte_span(level));
            step = count * pte_span(level);
        }
        for (unsigned i = 0; i < count; i++) {
            if (pte_present(pte_load(&entry[i]))) {
                return MM_EBUSY;
            }
        }
        va += step;
        nbytes -= step;
    }
    return MM_OK;
}

static mm_err_t map_locked(struct pagetable *pt, uint64_t va, pa_t pa, uint64_t nbytes,
                           unsigned flags)
{
    unsigned largest = largest_leaf(pt, va, pa, flags);
    uint64_t bits = leaf_bits(pt, flags), ntables;
    struct spare s;
    mm_err_t err;

    MM_ASSERT(mm_lock_is_held(&pt->lock));
    err = look_free(pt, va, nbytes, largest, &ntables);
    if (err == MM_OK) {
        err = spare_reserve(pt, ntables, &s);
    }
    if (err != MM_OK) {
        return err;
    }
    while (nbytes != 0) {
        unsigned level = fitting_leaf(va, nbytes, largest);
        uint64_t span = pte_span(level);
        unsigned count = (unsigned)mm_min(PTE_ENTRIES - pte_index(va, level), nbytes / span);

        write_leaves(reach(pt, va, level, &s), count, pte_make_leaf(pa.v, level, bits), span);
        va += count * span;
        pa.v += count * span;
        nbytes -= count * span;
    }
    MM_ASSERT(s.top.v == SPARE_END.v); /* else: the count was too high */
    return MM_OK;
}

/* ---- unmap ----------------------------------------------------------------------------------- */

static bool table_is_empty(const pte_t *table)
{
    for (unsigned i = 0; i < PTE_ENTRIES; i++) {
        if (pte_present(pte_load(&table[i]))) {
            return false;
        }
    }
    return true;
}

/* Unlink the table of `level` for `va` if it is empty, and then those above it that become so. */
static void prune(struct pagetable *pt, uint64_t va, unsigned level, struct spare *emptied)
{
    unsigned root = pt->feat.levels, above;

    for (; level < root; level++) {
        pte_t *entry = descend(pt, va, level + 1, &above);
        pa_t table = pa_make(pte_addr(pte_load(entry), above));

        if (!table_is_empty(pt_table(table)) ||
            (level == root - 1 && pt_is_upper(va) && pt->upper == PT_UPPER_LENT)) {
            return;
        }
        pte_store(entry, (pte_t){ 0 });
        pt->ntables--;
        pt->tables_sum -= pt_table_tag(table, pt_table_va(pt, va, level), level);
        spare_push(emptied, table);
    }
}

static mm_err_t unmap_locked(struct pagetable *pt, uint64_t va, uint64_t nbytes)
{
    const uint64_t first = va, total = nbytes;
    bool changed = false;
    struct spare s;
    mm_err_t err;

    MM_ASSERT(mm_lock_is_held(&pt->lock));
    err = split_ends(pt, va, nbytes, &s);
    if (err != MM_OK) {
        return err;
    }

    /* Now no leaf is cut. From here on `s` gathers the emptied tables. */
    while (nbytes != 0) {
        unsigned level, count, i;
        pte_t *entry = descend(pt, va, 1, &level);
        bool cleared = false;
        uint64_t step;

        count = entries_in_table(va, nbytes, level);
        for (i = 0; i < count && !pte_is_table(pte_load(&entry[i]), level); i++) {
            if (pte_present(pte_load(&entry[i]))) {
                pte_store(&entry[i], (pte_t){ 0 });
                cleared = true;
            }
        }
        if (cleared) {
            changed = true;
            prune(pt, va, level, &s);
        }
        step = bytes_in_entries(va, nbytes, level, i);
        va += step;
        nbytes -= step;
    }
    if (changed) {
        port_tlb_flush(pt->root, first, total);
    }
    spare_put_all(pt, &s);
    return MM_OK;
}

/* ---- protect --------------------------------------------------------------------------------- */

/* Leaf `e` with `bits` of leaf_bits() in place of its own. */
static pte_t leaf_with(pte_t e, unsigned level, uint64_t bits)
{
    uint64_t used = (bits & PTE_U) != 0 ? e.v & (PTE_A | PTE_D) : 0;

    return pte_make_leaf(pte_addr(e, level), level, bits | used);
}

/* Look: is all of the range mapped, and does any leaf differ from what `bits` make it? */
static mm_err_t look_full(const struct pagetable *pt, uint64_t va, uint64_t nbytes, uint64_t bits,
                          bool *differs)
{
    *differs = false;
    while (nbytes != 0) {
        unsigned level, count, i;
        const pte_t *entry = descend(pt, va, 1, &level);
        uint64_t step;

        count = entries_in_table(va, nbytes, level);
        for (i = 0; i < count; i++) {
            pte_t e = pte_load(&entry[i]);

            if (!pte_present(e)) {
                return MM_ENOENT;
            }
            if (pte_is_table(e, level)) {
                break;
            }
            *differs |= leaf_with(e, level, bits).v != e.v;
        }
        step = bytes_in_entries(va, nbytes, level, i);
        va += step;
        nbytes -= step;
    }
    return MM_OK;
}

static mm_err_t protect_locked(struct pagetable *pt, uint64_t va, uint64_t nbytes, unsigned flags)
{
    const uint64_t first = va, total = nbytes, bits = leaf_bits(pt, flags);
    bool differs;
    struct spare s;
    mm_err_t err;

    MM_ASSERT(mm_lock_is_held(&pt->lock));
    err = look_full(pt, va, nbytes, bits, &differs);
    if (err != MM_OK || !differs) {
        return err;
    }
    err = split_ends(pt, va, nbytes, &s);
    if (err != MM_OK) {
        return err;
    }

    while (nbytes != 0) {
        unsigned level, count, i;
        pte_t *entry = descend(pt, va, 1, &level);
        uint64_t step;

        count = entries_in_table(va, nbytes, level);
        for (i = 0; i < count && !pte_is_table(pte_load(&entry[i]), level); i++) {
            pte_store(&entry[i], leaf_with(pte_load(&entry[i]), level, bits));
        }
        step = bytes_in_entries(va, nbytes, level, i);
        va += step;
        nbytes -= step;
    }
    port_tlb_flush(pt->root, first, total);
    return MM_OK;
}

/* ---- public ---------------------------------------------------------------------------------- */

mm_err_t pt_init(struct pagetable *pt, const struct pt_features *feat,
                 const struct pt_frames *frames)
{
    struct pagetable new = {
        .lock = MM_LOCK_INIT(MM_RANK_PAGING),
        .feat = *feat,
        .frames = *frames,
        .upper = PT_UPPER_OWN,
        .ntables = 1,
    };
    struct spare s;
    uint64_t irq;
    mm_err_t err;

    if (feat->levels < 4 || feat->levels > 5 || feat->pa_bits < 32 || feat->pa_bits > 52) {
        return MM_EINVAL;
    }
    irq = mm_lock(&new.lock);
    err = spare_reserve(&new, 1, &s);
    mm_unlock(&new.lock, irq);
    if (err != MM_OK) {
        return err;
    }
    new.root = spare_pop(&s);
    new.tables_sum = pt_table_tag(new.root, 0, feat->levels);
    __builtin_memset(pt_table(new.root), 0, MM_PAGE_SIZE);
    *pt = new;
    return MM_OK;
}

static mm_err_t share_upper_locked(struct pagetable *pt, struct pagetable *kernel)
{
    const unsigned root = kernel->feat.levels, half = PTE_ENTRIES / 2;
    pte_t *from = pt_table(kernel->root), *to;
    uint64_t missing = 0;
    struct spare s;
    mm_err_t err;

    MM_ASSERT(mm_lock_is_held(&kernel->lock));
    for (unsigned i = half; i < PTE_ENTRIES; i++) {
        missing += !pte_present(pte_load(&from[i]));
    }
    err = spare_reserve(kernel, missing + 1, &s);
    if (err != MM_OK) {
        return err;
    }
    for (unsigned i = half; i < PTE_ENTRIES; i++) {
        (void)reach(kernel, pt_entry_va(kernel, 0, root, i), root - 1, &s);
    }
    kernel->upper = PT_UPPER_LENT;

    *pt = (struct pagetable){
        .lock = MM_LOCK_INIT(MM_RANK_PAGING),
        .root = spare_pop(&s),
        .feat = kernel->feat,
        .frames = kernel->frames,
        .upper = PT_UPPER_BORROWED,
        .ntables = 1,
    };
    MM_ASSERT(s.top.v == SPARE_END.v);
    pt->tables_sum = pt_table_tag(pt->root, 0, root);
    to = pt_table(pt->root);
    __builtin_memset(to, 0, half * sizeof(*to));
    for (unsigned i = half; i < PTE_ENTRIES; i++) {
        to[i] = pte_load(&from[i]);
    }
    return MM_OK;
}

mm_err_t pt_share_upper(struct pagetable *pt, struct pagetable *kernel)
{
    uint64_t irq = mm_lock(&kernel->lock);
    mm_err_t err;

    MM_ASSERT(kernel->upper != PT_UPPER_BORROWED);
    err = share_upper_locked(pt, kernel);
    mm_unlock(&kernel->lock, irq);
    return err;
}

void pt_destroy(struct pagetable *pt)
{
    uint64_t irq = mm_lock(&pt->lock);
    struct pt_cursor c;
    enum pt_event event;

    pt_cursor_init(&c, pt, true);
    while ((event = pt_cursor_next(&c)) != PT_END) {
        if (event == PT_LEAVE_TABLE) {
            pt->frames.put(pt->frames.ctx, pfn_of_pa(c.at[c.level].table));
            pt->ntables--;
        }
    }
    MM_ASSERT(pt->ntables == 0);
    mm_unlock(&pt->lock, irq);
}

bool pt_range_ok(const struct pagetable *pt, uint64_t va, uint64_t nbytes)
{
    uint64_t last = va + (nbytes - 1);

    return nbytes != 0 && mm_is_aligned(va | nbytes, MM_PAGE_SIZE) && last > va &&
           pt_is_upper(va) == pt_is_upper(last) && va_is_canonical(va, pt->feat.levels) &&
           va_is_canonical(last, pt->feat.levels);
}

mm_err_t pt_map(struct pagetable *pt, uint64_t va, pa_t pa, uint64_t nbytes, unsigned flags)
{
    const uint64_t pa_end = UINT64_C(1) << pt->feat.pa_bits;
    uint64_t irq;
    mm_err_t err;

    if (!range_is_ours(pt, va, nbytes) || !flags_ok(va, flags) ||
        !mm_is_aligned(pa.v, MM_PAGE_SIZE) || pa.v >= pa_end || nbytes > pa_end - pa.v) {
        return MM_EINVAL;
    }
    irq = mm_lock(&pt->lock);
    err = map_locked(pt, va, pa, nbytes, flags);
    mm_unlock(&pt->lock, irq);
    return err;
}

mm_err_t pt_unmap(struct pagetable *pt, uint64_t va, uint64_t nbytes)
{
    uint64_t irq;
    mm_err_t err;

    if (!range_is_ours(pt, va, nbytes)) {
        return MM_EINVAL;
    }
    irq = mm_lock(&pt->lock);
    err = unmap_locked(pt, va, nbytes);
    mm_unlock(&pt->lock, irq);
    return err;
}

mm_err_t pt_protect(struct pagetable *pt, uint64_t va, uint64_t nbytes, unsigned flags)
{
    uint64_t irq;
    mm_err_t err;

    if (!range_is_ours(pt, va, nbytes) || !flags_ok(va, flags)) {
        return MM_EINVAL;
    }
    irq = mm_lock(&pt->lock);
    err = protect_locked(pt, va, nbytes, flags);
    mm_unlock(&pt->lock, irq);
    return err;
}
