/*
 * frames.c - sixteen bytes a frame, where there are frames.
 *
 * The table is flat: entry = base + 16 * frame number, so finding one is an addition, in a window
 * as long as physical addresses reach. Addresses cost nothing; memory is put behind those of them
 * that stand for frames of a pool, a GiB of frames (4 MiB of window) at a time, when the first of
 * that GiB is wanted. A machine that never shares a frame has no table, islands terabytes apart
 * have two pieces of one, and a GiB with little memory in it has the few pages that describe that,
 * of 256 entries each: a MiB.
 *
 *     window    |entries of GiB 0   |entries of GiB 1   |                |entries of GiB 5   |
 *     behind it |pages|             |pages . pages|     |     nothing    |                   |
 *     made              1                    1                  0               0
 *
 * Rejected: an array for each region behind a directory (a search or three loads for each entry, on
 * the path of every page fault, to save addresses); populating all of it at start (4 GiB to clear
 * on a machine with a TiB); filling the window in from the page-fault handler (running out of
 * memory would then have to be reported by a load instruction).
 *
 * A GiB and not a page is the unit because the question whether an entry is there must be cheap:
 * one bit of a plane with a bit a GiB. The plane is cut into groups of 8 TiB, of which only those
 * with memory of a pool in them exist, so that its size follows the islands and not the highest
 * address.
 *
 * Populating is the business of whoever sets the `busy` bit of the GiB. back() takes frames from a
 * pool, clears them and edits page tables; a lock held meanwhile would keep interrupts off for a
 * millisecond. Others that want the same GiB spin: there is nothing else that they could do. If all
 * of them backed the same pages side by side, none would have to wait, but when memory runs out
 * nobody could undo his part, as another may count on it. What fails is undone, run by run: nobody
 * has seen it, for `made` is set last, with release order, and frame_entry() reads it with acquire
 * order.
 *
 * References. A frame whose count is 0 has no owner and nobody who could add to the count but by
 * frame_adopt(), which its pool's rule makes exclusive: one caller has been given the frame.
 * frame_adopt() writes the owner first and the count last; frame_unref() takes the last count off
 * first and wipes the owner after that, before the frame can be given to anybody else. So whoever
 * gets a reference sees the owner, and a scan that comes by the frame in between is refused by
 * frame_try_ref(). A count stops the machine long before it wraps: the check comes after the
 * addition, but it would take 2^31 processors at once to get past it.
 *
 * Invariants (frames_check tests each):
 *  F1  an entry without references is all zeros
 *  F2  one with references, FRAME_MAX_REFS at most, has an owner of a kind that there is
 *  F3  a frame with references is in a pool, and not free there
 *  F4  backed_pages is the number of pages that describe frames of the pools in GiB that are `made`
 *  F5  a GiB is `made` or `busy` only if the pools have memory in it; none is `busy` at rest
 */
#include "mm/frames.h"

#include "pool.h"

#define PAGE_ENTRIES  (MM_PAGE_SIZE / sizeof(struct frame)) /* 256 */
#define SECTION_PAGES ((UINT64_C(1) << FRAMES_SECTION_SHIFT) / PAGE_ENTRIES)
#define GROUP_FRAMES  ((uint64_t)FRAMES_GROUP_SECTIONS << FRAMES_SECTION_SHIFT)
#define MAX_FRAMES    (GROUP_FRAMES * FRAMES_MAX_GROUPS)
#define MAX_SECTIONS  ((uint64_t)FRAMES_GROUP_SECTIONS * FRAMES_MAX_GROUPS)
#define KIND_MASK     UINT64_C(7)

_Static_assert(FRAME_KINDS <= KIND_MASK + 1, "a kind fits below the link");
_Static_assert(MAX_FRAMES == UINT64_C(1) << (52 - MM_PAGE_SHIFT),
               "all physical addresses there are");

/* Pages [base, end) of the window. */
struct run {
    uint64_t base, end;
};

/* ---- which frames there are ---- */

/* The first frame from `from` on that a pool covers; NO_FRAME if there is none. Firmware's map may
 * tell of memory beyond MAX_FRAMES; no processor can address it, so it is not there. */
static uint64_t next_covered(struct pmm *const *pools, unsigned npools, uint64_t from)
{
    uint64_t first = NO_FRAME;

    for (unsigned i = 0; i < npools; i++) {
        const struct pmm *p = pools[i];
        uint64_t r = p != NULL ? range_ending_after(p, from) : 0;

        if (p != NULL && r < p->nranges) {
            first = mm_min(first, mm_max(from, p->ranges[r].base));
        }
    }
    return first < MAX_FRAMES ? first : NO_FRAME;
}

/* One past the last frame that a pool covers; 0 if there is none. */
static uint64_t end_covered(struct pmm *const *pools, unsigned npools)
{
    uint64_t end = 0;

    for (unsigned i = 0; i < npools; i++) {
        const struct pmm *p = pools[i];

        if (p != NULL && p->nranges != 0) {
            end = mm_max(end, p->ranges[p->nranges - 1].end);
        }
    }
    return mm_min(end, MAX_FRAMES);
}

static const struct pmm *pool_of(const struct frame_table *t, uint64_t pfn)
{
    for (unsigned i = 0; i < t->npools && pfn < MAX_FRAMES; i++) {
        if (t->pool[i] != NULL && pmm_covers(t->pool[i], pfn_make(pfn))) {
            return t->pool[i];
        }
    }
    return NULL;
}

/* Does page `page` of the window describe any frame of the pools? */
static bool page_describes(const struct frame_table *t, uint64_t page)
{
    return next_covered(t->pool, t->npools, page * PAGE_ENTRIES) < (page + 1) * PAGE_ENTRIES;
}

/* Move *r on to the next run of pages that describe frames, within section `s`: from its start, if
 * r->end is there. False if there is none any more. */
static bool next_run(const struct frame_table *t, uint64_t s, struct run *r)
{
    const uint64_t limit = (s + 1) * SECTION_PAGES;
    uint64_t pfn = next_covered(t->pool, t->npools, r->end * PAGE_ENTRIES);

    if (pfn >= limit * PAGE_ENTRIES) {
        return false;
    }
    r->base = pfn / PAGE_ENTRIES;
    r->end = r->base + 1;
    while (r->end < limit && page_describes(t, r->end)) {
        r->end++;
    }
    return true;
}

static struct run section_start(uint64_t s)
{
    return (struct run){ s * SECTION_PAGES, s * SECTION_PAGES };
}

/* ---- populating ---- */

static struct frames_group *group_of(const struct frame_table *t, uint64_t s)
{
    return t->group[s / FRAMES_GROUP_SECTIONS];
}

static bool is_made(const struct frame_table *t, uint64_t s)
{
    return test_bit(group_of(t, s)->made, s % FRAMES_GROUP_SECTIONS);
}

static bool is_busy(const struct frame_table *t, uint64_t s)
{
    return test_bit(group_of(t, s)->busy, s % FRAMES_GROUP_SECTIONS);
}

static bool set_busy(struct frame_table *t, uint64_t s) /* was it? */
{
    return set_bit(group_of(t, s)->busy, s % FRAMES_GROUP_SECTIONS);
}

static void clear_busy(struct frame_table *t, uint64_t s)
{
    clear_bit(group_of(t, s)->busy, s % FRAMES_GROUP_SECTIONS);
}

/* Move *s on to the next section, itself included, that has its entries or is getting them; false
 * if there is none. */
static bool next_begun(const struct frame_table *t, uint64_t *s)
{
    while (*s < MAX_SECTIONS) {
        const struct frames_group *g = group_of(t, *s);
        uint64_t i = *s % FRAMES_GROUP_SECTIONS;
        uint64_t begun =
            g != NULL ? (load(&g->made[i / 64]) | load(&g->busy[i / 64])) >> (i & 63) : 0;

        if (begun != 0) {
            *s += (uint64_t)__builtin_ctzll(begun);
            return true;
        }
        *s += g != NULL ? 64 - (i & 63) : FRAMES_GROUP_SECTIONS - i;
    }
    return false;
}

/* Take memory away again from the pages of section `s` below `end`. */
static void drop_section(const struct frame_table *t, uint64_t s, uint64_t end)
{
    struct run r = section_start(s);

    while (next_run(t, s, &r) && r.base < end) {
        t->backing.drop(t->backing.ctx, r.base * MM_PAGE_SIZE, (r.end - r.base) * MM_PAGE_SIZE);
    }
}

static mm_err_t back_section(struct frame_table *t, uint64_t s)
{
    struct run r = section_start(s);
    uint64_t npages = 0;

    while (next_run(t, s, &r)) {
        mm_err_t err =
            t->backing.back(t->backing.ctx, r.base * MM_PAGE_SIZE, (r.end - r.base) * MM_PAGE_SIZE);

        if (err != MM_OK) {
            drop_section(t, s, r.base);
            return err;
        }
        npages += r.end - r.base;
    }
    atomic_fetch_add_explicit(&t->backed_pages, npages, memory_order_relaxed);
    return MM_OK;
}

/* Become the one that makes the entries of section `s`; false if they are there. */
static bool begin_section(struct frame_table *t, uint64_t s)
{
    while (!is_made(t, s)) {
        if (is_busy(t, s) || set_busy(t, s)) {
            port_spin_hint();
        } else if (is_made(t, s)) {
            clear_busy(t, s); /* somebody came and went between two looks */
        } else {
            return true;
        }
    }
    return false;
}

static mm_err_t populate_section(struct frame_table *t, uint64_t s)
{
    mm_err_t err;

    if (!begin_section(t, s)) {
        return MM_OK;
    }
    err = back_section(t, s);
    if (err == MM_OK) {
        set_bit(group_of(t, s)->made, s % FRAMES_GROUP_SECTIONS);
    }
    clear_busy(t, s);
    return err;
}

/* ---- the table ---- */

uint64_t frames_window_bytes(struct pmm *const *pools, unsigned npools)
{
    return mm_align_up(end_covered(pools, npools) * sizeof(struct frame), MM_PAGE_SIZE);
}

uint64_t frames_storage_bytes(struct pmm *const *pools, unsigned npools)
{
    uint64_t ngroups = 0;
    uint64_t pfn = next_covered(pools, npools, 0);

    while (pfn != NO_FRAME) {
        ngroups++;
        pfn = next_covered(pools, npools, (pfn / GROUP_FRAMES + 1) * GROUP_FRAMES);
    }
    return ngroups * sizeof(struct frames_group);
}

mm_err_t frames_init(struct frame_table *t, void *window, struct pmm *const *pools, unsigned npools,
                     const struct frames_backing *backing, void *storage, uint64_t nbytes)
{
    struct frames_group *next = storage;
    uint64_t pfn;

    if (npools > PMM_KINDS || !mm_is_aligned((uint64_t)(uintptr_t)window, MM_PAGE_SIZE)) {
        return MM_EINVAL;
    }
    pfn = next_covered(pools, npools, 0);
    if (pfn == NO_FRAME) {
        return MM_EINVAL;
    }
    if (nbytes < frames_storage_bytes(pools, npools)) {
        return MM_ENOSPC;
    }
    *t = (struct frame_table){ .entries = window, .npools = npools, .backing = *backing };
    for (unsigned i = 0; i < npools; i++) {
        t->pool[i] = pools[i];
    }
    while (pfn != NO_FRAME) {
        *next = (struct frames_group){ .made = { 0 } };
        t->group[pfn / GROUP_FRAMES] = next++;
        pfn = next_covered(pools, npools, (pfn / GROUP_FRAMES + 1) * GROUP_FRAMES);
    }
    return MM_OK;
}

mm_err_t frames_populate(struct frame_table *t, pfn_t base, uint64_t count)
{
    mm_err_t err = MM_OK;

    MM_ASSERT(*port_held_ranks() == 0); /* back() takes locks, and may work long */
    if (count == 0 || base.v + count < base.v) {
        return MM_EINVAL;
    }
    for (uint64_t at = base.v; at < base.v + count;) {
        const struct pmm *p = pool_of(t, at);

        if (p == NULL) {
            return MM_ENOENT;
        }
        at = mm_min(p->ranges[range_ending_after(p, at)].end, MAX_FRAMES);
    }
    for (uint64_t s = base.v >> FRAMES_SECTION_SHIFT;
         err == MM_OK && s <= (base.v + count - 1) >> FRAMES_SECTION_SHIFT; s++) {
        err = populate_section(t, s);
    }
    return err;
}

bool frames_cover(const struct frame_table *t, pfn_t pfn)
{
    return pool_of(t, pfn.v) != NULL;
}

bool frames_is_backed(const struct frame_table *t, uint64_t offset)
{
    uint64_t page = offset / MM_PAGE_SIZE;

    return frame_entry(t, pfn_make(page * PAGE_ENTRIES)) != NULL && page_describes(t, page);
}

/* ---- entries ---- */

_Noreturn static void stop(const struct frame *f, uint32_t refs, const char *what, const void *from)
{
    port_panic(
        "frame table entry at 0x%llx, called from 0x%llx: %s (0x%x references, owner 0x%llx)",
        (unsigned long long)(uintptr_t)f, (unsigned long long)(uintptr_t)from, what, refs,
        (unsigned long long)atomic_load_explicit(&f->owner, memory_order_relaxed));
}

/* The index first: who sees the owner sees what comes with it. */
static void write_owner(struct frame *f, struct frame_owner o)
{
    MM_ASSERT(o.kind > FRAME_UNOWNED && o.kind < FRAME_KINDS && (o.link & KIND_MASK) == 0);
    atomic_store_explicit(&f->index, o.index, memory_order_relaxed);
    atomic_store_explicit(&f->owner, o.link | (uint64_t)o.kind, memory_order_release);
}

void frame_adopt(struct frame *f, struct frame_owner o)
{
    uint32_t refs = frame_refs(f);

    if (refs != 0 || atomic_load_explicit(&f->owner, memory_order_relaxed) != 0) {
        stop(f, refs, "a frame is adopted that has an owner", __builtin_return_address(0));
    }
    write_owner(f, o);
    atomic_store_explicit(&f->refs, 1, memory_order_release);
}

void frame_ref(struct frame *f)
{
    uint32_t refs = atomic_fetch_add_explicit(&f->refs, 1, memory_order_relaxed);

    if (refs == 0 || refs >= FRAME_MAX_REFS) {
        stop(f, refs,
             refs == 0 ? "one reference more to a frame that has none" : "too many references",
             __builtin_return_address(0));
    }
}

bool frame_try_ref(struct frame *f)
{
    uint32_t refs = atomic_load_explicit(&f->refs, memory_order_relaxed);

    while (refs != 0 && refs < FRAME_MAX_REFS) {
        if (atomic_compare_exchange_weak_explicit(&f->refs, &refs, refs + 1, memory_order_acquire,
                                                  memory_order_relaxed)) {
            return true;
        }
    }
    return false;
}

bool frame_unref(struct frame *f)
{
    uint32_t refs = atomic_fetch_sub_explicit(&f->refs, 1, memory_order_acq_rel);

    if (refs == 0 || refs > FRAME_MAX_REFS) {
        stop(f, refs, "one reference less than there are", __builtin_return_address(0));
    }
    if (refs != 1) {
        return false;
    }
    atomic_store_explicit(&f->index, 0, memory_order_relaxed);
    atomic_store_explicit(&f->owner, 0, memory_order_relaxed);
    return true;
}

void frame_set_owner(struct frame *f, struct frame_owner o)
{
    uint32_t refs = frame_refs(f);

    if (refs == 0) {
        stop(f, refs, "an owner for a frame without references", __builtin_return_address(0));
    }
    write_owner(f, o);
}

struct frame_owner frame_get_owner(const struct frame *f)
{
    uint64_t owner = atomic_load_explicit(&f->owner, memory_order_acquire);

    return (struct frame_owner){
        .kind = (enum frame_kind)(owner & KIND_MASK),
        .link = owner & ~KIND_MASK,
        .index = atomic_load_explicit(&f->index, memory_order_relaxed),
    };
}

const char *frame_kind_name(enum frame_kind kind)
{
    static const char *const names[FRAME_KINDS] = {
        [FRAME_UNOWNED] = "no owner",
        [FRAME_ANON] = "anonymous memory",
        [FRAME_FILE] = "file",
        [FRAME_TABLE] = "page table",
        [FRAME_STORE] = "swap's compressed store",
    };

    return kind < FRAME_KINDS ? names[kind] : "no kind that there is";
}

void frames_get_stats(const struct frame_table *t, struct frames_stats *s)
{
    *s = (struct frames_stats){
        .backed_bytes = atomic_load_explicit(&t->backed_pages, memory_order_relaxed) * MM_PAGE_SIZE,
    };
    for (uint64_t section = 0; next_begun(t, &section); section++) {
        s->sections += is_made(t, section);
    }
}

/* ---- the check ---- */

/* F1, F2, F3 */
static const char *check_entry(const struct frame_table *t, uint64_t pfn)
{
    const struct frame *f = &t->entries[pfn];
    uint32_t refs = frame_refs(f);
    struct frame_owner o = frame_get_owner(f);
    const struct pmm *p;

    if (refs == 0) {
        return o.kind == FRAME_UNOWNED && o.link == 0 && o.index == 0
                   ? NULL
                   : "F1: an entry without references is not all zeros";
    }
    if (refs > FRAME_MAX_REFS || o.kind == FRAME_UNOWNED || o.kind >= FRAME_KINDS) {
        return "F2: an entry has too many references, or no owner of a kind that there is";
    }
    p = pool_of(t, pfn);
    if (p == NULL || pmm_is_free(p, pfn_make(pfn))) {
        return "F3: a frame with references is in no pool, or free";
    }
    return NULL;
}

/* F5, and adds to *npages what section `s` must have. */
static const char *check_section(const struct frame_table *t, uint64_t s, uint64_t *npages)
{
    struct run r = section_start(s);
    uint64_t before = *npages;

    if (is_busy(t, s)) {
        return "F5: a GiB is still being populated";
    }
    while (next_run(t, s, &r)) {
        *npages += r.end - r.base;
    }
    return *npages == before ? "F5: a GiB without memory has entries" : NULL;
}

static const char *check_entries(const struct frame_table *t, uint64_t s)
{
    const char *broken = NULL;
    struct run r = section_start(s);

    while (broken == NULL && next_run(t, s, &r)) {
        for (uint64_t i = r.base * PAGE_ENTRIES; i < r.end * PAGE_ENTRIES && broken == NULL; i++) {
            broken = check_entry(t, i);
        }
    }
    return broken;
}

const char *frames_check(const struct frame_table *t)
{
    const char *broken = NULL;
    uint64_t npages = 0;

    for (uint64_t s = 0; broken == NULL && next_begun(t, &s); s++) {
        broken = check_section(t, s, &npages);
    }
    if (broken == NULL && npages != atomic_load(&t->backed_pages)) {
        broken = "F4: more or fewer pages are backed than there are to describe frames";
    }
    /* Only now is it certain that what is read next is there. */
    for (uint64_t s = 0; broken == NULL && next_begun(t, &s); s++) {
        broken = check_entries(t, s);
    }
    return broken;
}
