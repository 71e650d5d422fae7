/*
 * pmm.c - the frame pool: two bits a frame, written a GiB at a time when first needed.
 *
 * What is kept. A frame is in one of four states, told by one bit in each of two planes:
 *
 *     mark  given
 *       0     0     HELD  used since pmm_init(), never given by us; also where there is no frame
 *       1     0     FREE
 *       1     1     HEAD  the first frame of an allocation
 *       0     1     BODY  any other frame of an allocation
 *
 * HEAD and BODY let pmm_put_range() tell one allocation from its neighbour. There are no lists and
 * no buddies to merge: a free block is whatever aligned run of frames is FREE, so coalescing cannot
 * be late or wrong, and a request is refused only if nothing fits.
 *
 * When it is written. Frames are grouped in sections of 1 GiB. The planes of a section, its book,
 * are written when the section is opened, which is when a frame in it first changes state. Until
 * then the ranges copied from the memory map say all there is to know. So start-up writes a few
 * bytes for each region and each GiB, and pmm_get() goes on with opened sections while one of them
 * has a block that fits, so that a machine that uses little of its memory pays for little.
 *
 * How it is searched. One routine answers every request: it goes from free run to free run and
 * looks at the lowest place in each that meets alignment and boundary. Free frames counted by
 * chunk (2 MiB) let it skip what is full and cross what is empty. For pmm_get(), a hint for each
 * section and order says where looking is in vain. Hints are lower bounds: taking leaves them
 * valid, giving lowers them.
 *
 * Rejected: free lists threaded through the frames (every frame would be touched, and a stray write
 * breaks the pool); a buddy tree (requests by count, by place or across sections would need a
 * second algorithm beside it); a record for each frame (64 bytes a frame, as Linux keeps, are
 * 16 GiB for a TiB, written at start-up).
 *
 * Frame 0 is covered like any other but is never FREE: it stays HELD, even through pmm_add().
 *
 * Invariants (pmm_check tests each):
 *  P1  ranges are not empty, sorted, and do not overlap; ranges that touch differ in state; frame 0
 *      is in no free one; together they have `total` frames
 *  P2  sections are sorted; every frame of every range is in one, and none is without such a frame
 *  P3  in an opened section, frame 0 and a frame that no range covers are neither marked nor given
 *  P4  each chunk, section and the pool count their free frames, the pool its opened sections
 *  P5  a BODY frame follows a HEAD or a BODY frame
 *  P6  no free block that pmm_get() may give begins in a chunk below the hint for its order or a
 *      smaller one, and no section that may have one lies before its zone's start
 */
#include "mm/pmm.h"

#include "mm/port.h"
#include "pool.h"

#define LOW_END  UINT64_C(256)       /* first frame at or above 1 MiB */
#define HIGH     (UINT64_C(1) << 20) /* first frame at or above 4 GiB */
#define NO_FRAME UINT64_MAX

enum state { HELD, FREE, HEAD, BODY, NOT_OURS };

/* A request, in frames. */
struct wish {
    uint64_t count;
    uint64_t align;    /* >= 1 */
    uint64_t boundary; /* 0: none */
};

/* The part of a range of frames that lies in one section. */
struct piece {
    struct section *s;
    struct book *book;
    uint32_t off; /* of its first frame in the section */
    uint32_t end;
};

/* ---- finding ranges and sections ------------------------------------------------------------- */

/* Index of the first range that ends after `pfn`; nranges if there is none. */
static uint64_t range_ending_after(const struct pmm *p, uint64_t pfn)
{
    uint64_t lo = 0;
    uint64_t hi = p->nranges;

    while (lo < hi) {
        uint64_t mid = lo + (hi - lo) / 2;

        if (p->ranges[mid].end > pfn) {
            hi = mid;
        } else {
            lo = mid + 1;
        }
    }
    return lo;
}

static bool covers(const struct pmm *p, uint64_t base, uint64_t count)
{
    uint64_t end = base + count;

    for (uint64_t i = range_ending_after(p, base); i < p->nranges && p->ranges[i].base <= base;
         i++) {
        if (p->ranges[i].end >= end) {
            return true;
        }
        base = p->ranges[i].end;
    }
    return false;
}

/*
 * Index of the first section whose number is not below `number`; nsections if there is none.
 * Numbers rise by at least one from section to section, which bounds the answer from both ends:
 * where memory has no holes the two bounds meet at once.
 */
static uint64_t section_from(const struct pmm *p, uint64_t number)
{
    uint64_t first = p->sections[0].number;
    uint64_t last = p->sections[p->nsections - 1].number;

    if (number <= first) {
        return 0;
    }
    if (number > last) {
        return p->nsections;
    }
    uint64_t hi = mm_min(number - first, p->nsections - 1);
    uint64_t lo = p->nsections - 1 - mm_min(last - number, p->nsections - 1);
    while (lo < hi) {
        uint64_t mid = lo + (hi - lo) / 2;

        if (p->sections[mid].number >= number) {
            hi = mid;
        } else {
            lo = mid + 1;
        }
    }
    return hi;
}

static struct section *section_of(const struct pmm *p, uint64_t pfn)
{
    uint64_t i = section_from(p, pfn >> SECTION_SHIFT);

    return i < p->nsections && p->sections[i].number == pfn >> SECTION_SHIFT ? &p->sections[i]
                                                                             : NULL;
}

static struct book *book_of(const struct pmm *p, const struct section *s)
{
    return &p->books[s - p->sections];
}

static uint64_t section_base(const struct section *s)
{
    return s->number << SECTION_SHIFT;
}

static enum zone zone_of(const struct pmm *p, const struct section *s)
{
    return (uint64_t)(s - p->sections) >= p->zone_begin[ZONE_ABOVE_4G] ? ZONE_ABOVE_4G
                                                                       : ZONE_BELOW_4G;
}

/* The part of [pfn, end) that lies in pfn's section; the pool covers the frame `pfn`. */
static struct piece piece_at(const struct pmm *p, uint64_t pfn, uint64_t end)
{
    struct section *s = section_of(p, pfn);
    uint64_t base = pfn & ~(SECTION_FRAMES - 1);

    return (struct piece){ s, book_of(p, s), (uint32_t)(pfn - base),
                           (uint32_t)mm_min(end - base, SECTION_FRAMES) };
}

/* ---- planes ---------------------------------------------------------------------------------- */

/* Bits [off, end) of the word that holds bit `off`. */
static uint64_t word_mask(uint32_t off, uint32_t end)
{
    uint64_t mask = ~UINT64_C(0) << (off & 63);

    if (end < (off | 63) + 1) {
        mask &= ~(~UINT64_C(0) << (end & 63));
    }
    return mask;
}

static uint64_t free_word(const struct book *b, uint32_t word)
{
    return b->mark[word] & ~b->given[word];
}

static enum state state_of(const struct pmm *p, uint64_t pfn)
{
    uint64_t i = range_ending_after(p, pfn);

    if (i == p->nranges || p->ranges[i].base > pfn) {
        return NOT_OURS;
    }
    const struct section *s = section_of(p, pfn);
    /* Asked without the lock, too: the book of a section is complete before `opened` is set. */
    if (!__atomic_load_n(&s->opened, __ATOMIC_ACQUIRE)) {
        return p->ranges[i].free ? FREE : HELD;
    }
    const struct book *b = book_of(p, s);
    uint32_t off = pfn & (SECTION_FRAMES - 1);
    bool mark = (__atomic_load_n(&b->mark[off / 64], __ATOMIC_RELAXED) >> (off % 64) & 1) != 0;
    bool given = (__atomic_load_n(&b->given[off / 64], __ATOMIC_RELAXED) >> (off % 64) & 1) != 0;

    if (given) {
        return mark ? HEAD : BODY;
    }
    return mark ? FREE : HELD;
}

static void paint(struct book *b, uint32_t off, uint32_t end, enum state state)
{
    bool mark = state == FREE || state == HEAD;
    bool given = state == HEAD || state == BODY;

    for (; off < end; off = (off | 63) + 1) {
        uint64_t mask = word_mask(off, end);

        b->mark[off / 64] = mark ? b->mark[off / 64] | mask : b->mark[off / 64] & ~mask;
        b->given[off / 64] = given ? b->given[off / 64] | mask : b->given[off / 64] & ~mask;
    }
}

/* Write the book of a section, if it has not been. */
static void open_section(struct pmm *p, struct section *s)
{
    struct book *b = book_of(p, s);
    uint64_t base = section_base(s);

    if (s->opened) {
        return;
    }
    __builtin_memset(b, 0, sizeof(*b));
    for (uint64_t i = range_ending_after(p, base); i < p->nranges; i++) {
        const struct range *r = &p->ranges[i];

        if (r->base >= base + SECTION_FRAMES) {
            break;
        }
        if (!r->free) {
            continue;
        }
        uint32_t off = (uint32_t)(mm_max(r->base, base) - base);
        uint32_t end = (uint32_t)mm_min(r->end - base, SECTION_FRAMES);

        paint(b, off, end, FREE);
        for (uint32_t at = off; at < end; at = (at | (CHUNK_FRAMES - 1)) + 1) {
            b->nfree[at >> CHUNK_SHIFT] +=
                (uint16_t)(mm_min(end, (at | (CHUNK_FRAMES - 1)) + 1) - at);
        }
    }
    p->nopened++;
    __atomic_store_n(&s->opened, true, __ATOMIC_RELEASE);
}

/* ---- searching ------------------------------------------------------------------------------- */

/* The first free frame in [off, end) of a section; `end` if there is none. */
static uint32_t next_free_in(const struct pmm *p, const struct section *s, uint32_t off,
                             uint32_t end)
{
    const struct book *b = book_of(p, s);
    uint64_t base = section_base(s);

    if (!s->opened) {
        for (uint64_t i = range_ending_after(p, base + off); i < p->nranges; i++) {
            const struct range *r = &p->ranges[i];

            if (r->free) {
                return (uint32_t)mm_min(mm_max(r->base, base + off) - base, end);
            }
        }
        return end;
    }
    while (off < end) {
        if (b->nfree[off >> CHUNK_SHIFT] == 0) {
            off = (off | (CHUNK_FRAMES - 1)) + 1;
            continue;
        }
        uint64_t word = free_word(b, off / 64) >> (off & 63);
        if (word != 0) {
            return (uint32_t)mm_min(off + (uint32_t)__builtin_ctzll(word), end);
        }
        off = (off | 63) + 1;
    }
    return end;
}

/* The first frame in [off, end) of a section that is not free; `end` if there is none. */
static uint32_t free_until_in(const struct pmm *p, const struct section *s, uint32_t off,
                              uint32_t end)
{
    const struct book *b = book_of(p, s);
    uint64_t base = section_base(s);

    if (!s->opened) {
        uint64_t i = range_ending_after(p, base + off);

        if (i == p->nranges || p->ranges[i].base > base + off || !p->ranges[i].free) {
            return off;
        }
        return (uint32_t)mm_min(p->ranges[i].end - base, end);
    }
    while (off < end) {
        if (b->nfree[off >> CHUNK_SHIFT] == CHUNK_FRAMES) {
            off = (off | (CHUNK_FRAMES - 1)) + 1;
            continue;
        }
        uint64_t word = ~free_word(b, off / 64) >> (off & 63);
        if (word != 0) {
            return (uint32_t)mm_min(off + (uint32_t)__builtin_ctzll(word), end);
        }
        off = (off | 63) + 1;
    }
    return end;
}

/* The first free frame in [pfn, end); `end` if there is none. */
static uint64_t next_free(const struct pmm *p, uint64_t pfn, uint64_t end)
{
    for (uint64_t i = section_from(p, pfn >> SECTION_SHIFT); i < p->nsections; i++) {
        const struct section *s = &p->sections[i];
        uint64_t base = section_base(s);

        if (base >= end) {
            break;
        }
        if (s->nfree != 0) {
            uint32_t off = (uint32_t)(mm_max(pfn, base) - base);
            uint32_t to = (uint32_t)mm_min(end - base, SECTION_FRAMES);
            uint32_t found = next_free_in(p, s, off, to);

            if (found < to) {
                return base + found;
            }
        }
    }
    return end;
}

/* The first frame in [pfn, end) that is not free; `end` if there is none. */
static uint64_t free_until(const struct pmm *p, uint64_t pfn, uint64_t end)
{
    while (pfn < end) {
        const struct section *s = section_of(p, pfn);

        if (s == NULL) {
            return pfn;
        }
        uint64_t base = section_base(s);
        uint32_t to = (uint32_t)mm_min(end - base, SECTION_FRAMES);
        uint32_t found = free_until_in(p, s, (uint32_t)(pfn - base), to);

        pfn = base + found;
        if (found < to) {
            break;
        }
    }
    return pfn;
}

/* The lowest place at or above `pfn` that meets alignment and boundary. Frame numbers are below
 * 2^52, so nothing here wraps. */
static uint64_t lowest_place(uint64_t pfn, const struct wish *w)
{
    uint64_t place = mm_align_up(pfn, w->align);

    /* A place that crosses a multiple of `boundary` is not at one. Hence align < boundary, and the
     * next multiple is aligned as well. */
    if (w->boundary != 0 && (place & (w->boundary - 1)) + w->count > w->boundary) {
        place = mm_align_up(place, w->boundary);
    }
    return place;
}

/* The lowest free place in [lo, hi) for `w`; NO_FRAME if there is none. */
static uint64_t search(const struct pmm *p, uint64_t lo, uint64_t hi, const struct wish *w)
{
    uint64_t pfn = next_free(p, lo, hi);

    while (pfn < hi) {
        uint64_t place = lowest_place(pfn, w);

        if (place >= hi || hi - place < w->count) {
            break;
        }
        uint64_t until = free_until(p, place, place + w->count);
        if (until == place + w->count) {
            return place;
        }
        /* Any later place below `until` would hold that frame, which is not free. */
        pfn = next_free(p, until, hi);
    }
    return NO_FRAME;
}

static uint64_t search_section(struct section *s, const struct pmm *p, unsigned order)
{
    const struct wish w = { .count = UINT64_C(1) << order, .align = UINT64_C(1) << order };
    uint64_t base = section_base(s);
    uint64_t lo = mm_max(base + ((uint64_t)s->hint[order] << CHUNK_SHIFT), LOW_END);
    uint64_t found = s->nfree < w.count ? NO_FRAME : search(p, lo, base + SECTION_FRAMES, &w);

    s->hint[order] = found == NO_FRAME ? SECTION_CHUNKS : (uint16_t)((found - base) >> CHUNK_SHIFT);
    return found;
}

/* A block of 2^order frames: the lowest in an opened section, else the lowest. */
static uint64_t search_zone(struct pmm *p, enum zone z, unsigned order)
{
    uint64_t end = p->zone_begin[z + 1];
    uint64_t *start = &p->start[z][order];
    uint64_t unopened = end; /* the first that may have one */

    while (*start < end && p->sections[*start].hint[order] == SECTION_CHUNKS) {
        ++*start;
    }
    for (uint64_t i = *start; i < end; i++) {
        struct section *s = &p->sections[i];

        if (s->hint[order] == SECTION_CHUNKS) {
            continue;
        }
        if (!s->opened) {
            unopened = mm_min(unopened, i);
            continue;
        }
        uint64_t found = search_section(s, p, order);
        if (found != NO_FRAME) {
            return found;
        }
    }
    for (uint64_t i = unopened; i < end; i++) {
        struct section *s = &p->sections[i];

        if (!s->opened && s->hint[order] != SECTION_CHUNKS) {
            uint64_t found = search_section(s, p, order);

            if (found != NO_FRAME) {
                return found;
            }
        }
    }
    return NO_FRAME;
}

/* ---- taking and giving ----------------------------------------------------------------------- */

static void set_head(struct pmm *p, uint64_t pfn)
{
    struct piece at = piece_at(p, pfn, pfn + 1);

    paint(at.book, at.off, at.end, HEAD);
}

/* [base, base + count), all free, becomes one allocation. */
static void take_locked(struct pmm *p, uint64_t base, uint64_t count)
{
    MM_ASSERT(mm_lock_is_held(&p->lock));
    for (uint64_t pfn = base; pfn < base + count;) {
        struct piece at = piece_at(p, pfn, base + count);

        open_section(p, at.s);
        paint(at.book, at.off, at.end, BODY);
        at.s->nfree -= at.end - at.off;
        pfn += at.end - at.off;
        while (at.off < at.end) {
            uint32_t to = (uint32_t)mm_min((at.off | (CHUNK_FRAMES - 1)) + 1, at.end);

            at.book->nfree[at.off >> CHUNK_SHIFT] -= (uint16_t)(to - at.off);
            at.off = to;
        }
    }
    p->nfree -= count;
    set_head(p, base);
}

/* Frames of a chunk became free: blocks that hold it may be found again. */
static void lower_hints(struct pmm *p, struct section *s, uint32_t chunk, bool all_free)
{
    uint64_t index = (uint64_t)(s - p->sections);
    uint64_t *start = p->start[zone_of(p, s)];
    unsigned top = all_free ? PMM_MAX_ORDER : CHUNK_SHIFT - 1; /* largest order that may gain */

    for (unsigned order = 0; order <= top; order++) {
        uint32_t first =
            order <= CHUNK_SHIFT ? chunk : chunk & ~((UINT32_C(1) << (order - CHUNK_SHIFT)) - 1);

        s->hint[order] = (uint16_t)mm_min(s->hint[order], first);
        start[order] = mm_min(start[order], index);
    }
}

/* [base, base + count), none of it free, becomes free. */
static void give_locked(struct pmm *p, uint64_t base, uint64_t count)
{
    MM_ASSERT(mm_lock_is_held(&p->lock));
    for (uint64_t pfn = base; pfn < base + count;) {
        struct piece at = piece_at(p, pfn, base + count);

        open_section(p, at.s);
        paint(at.book, at.off, at.end, FREE);
        at.s->nfree += at.end - at.off;
        pfn += at.end - at.off;
        while (at.off < at.end) {
            uint32_t to = (uint32_t)mm_min((at.off | (CHUNK_FRAMES - 1)) + 1, at.end);
            uint32_t chunk = at.off >> CHUNK_SHIFT;

            at.book->nfree[chunk] += (uint16_t)(to - at.off);
            lower_hints(p, at.s, chunk, at.book->nfree[chunk] == CHUNK_FRAMES);
            at.off = to;
        }
    }
    p->nfree += count;
}

/* Is all of [base, base + count), which the pool covers, HELD? */
static bool all_held(const struct pmm *p, uint64_t base, uint64_t count)
{
    for (uint64_t pfn = base; pfn < base + count;) {
        struct piece at = piece_at(p, pfn, base + count);

        if (next_free_in(p, at.s, at.off, at.end) < at.end) {
            return false;
        }
        for (uint32_t off = at.off; at.s->opened && off < at.end; off = (off | 63) + 1) {
            if ((at.book->given[off / 64] & word_mask(off, at.end)) != 0) {
                return false;
            }
        }
        pfn += at.end - at.off;
    }
    return true;
}

/* ---- who gives back what is not theirs ------------------------------------------------------- */

/* A call of pmm_put() or pmm_put_range(), for the words of a panic. */
struct put {
    const char *function;
    uint64_t base;
    uint64_t count;
    const void *caller;
};

_Noreturn static void stop(const struct put *put, uint64_t pfn, const char *what)
{
    port_panic("%s: frame at 0x%llx %s (%llu frames from 0x%llx, called from 0x%llx)",
               put->function, (unsigned long long)pfn << MM_PAGE_SHIFT, what,
               (unsigned long long)put->count, (unsigned long long)put->base << MM_PAGE_SHIFT,
               (unsigned long long)(uintptr_t)put->caller);
}

/* Stops unless all of it was given, in one allocation. */
static void must_be_given(const struct pmm *p, const struct put *put)
{
    static const char *const wrong[] = {
        [HELD] = "was never given",
        [FREE] = "is free already",
        [HEAD] = "begins another allocation",
        [NOT_OURS] = "is not in the pool",
    };
    uint64_t end = put->base + put->count;

    if (put->count == 0 || end < put->base) {
        stop(put, put->base, "is given back with a count of 0, or one that wraps");
    }
    for (uint64_t pfn = put->base; pfn < end;) {
        const struct section *s = section_of(p, pfn);

        if (s == NULL || !s->opened) {
            stop(put, pfn, wrong[state_of(p, pfn)]);
        }
        struct piece at = piece_at(p, pfn, end);
        uint64_t base = pfn - at.off;

        for (uint32_t off = at.off; off < at.end; off = (off | 63) + 1) {
            uint64_t given = at.book->given[off / 64];
            uint64_t bad = ~given | at.book->mark[off / 64]; /* neither HEAD nor BODY, or HEAD */

            if (base + off == put->base) {
                bad ^= at.book->mark[off / 64] & given & UINT64_C(1) << (off & 63);
            }
            bad &= word_mask(off, at.end);
            if (bad != 0) {
                uint64_t frame = base + (off & ~UINT32_C(63)) + (uint32_t)__builtin_ctzll(bad);

                stop(put, frame, wrong[state_of(p, frame)]);
            }
        }
        pfn += at.end - at.off;
    }
}

/* ---- making a pool --------------------------------------------------------------------------- */

/* How much of what a pool over `m` needs. */
struct layout {
    uint64_t max_ranges;
    uint64_t nsections;
    uint64_t ranges_at; /* bytes from the start of the storage */
    uint64_t sections_at;
    uint64_t books_at;
    uint64_t nbytes;
};

/* The pool covers what the direct map covers: what is free, will be free, or is the kernel's. */
static bool is_covered(const struct memmap_region *r)
{
    return memmap_kind_is_direct(r->kind);
}

static struct layout layout_for(const struct memmap *m)
{
    struct layout l = { .max_ranges = 1 }; /* frame 0 may need one of its own */
    uint64_t seen = 0;                     /* sections below this number are counted */

    for (uint32_t i = 0; i < m->nregions; i++) {
        const struct memmap_region *r = &m->regions[i];

        if (is_covered(r)) {
            uint64_t first = r->base >> MM_PAGE_SHIFT >> SECTION_SHIFT;
            uint64_t end = ((r->end - 1) >> MM_PAGE_SHIFT >> SECTION_SHIFT) + 1;

            l.max_ranges++;
            l.nsections += end - mm_min(mm_max(first, seen), end);
            seen = end;
        }
    }
    l.ranges_at = mm_align_up(sizeof(struct pmm), 64);
    l.sections_at = mm_align_up(l.ranges_at + l.max_ranges * sizeof(struct range), 64);
    l.books_at = mm_align_up(l.sections_at + l.nsections * sizeof(struct section), MM_PAGE_SIZE);
    l.nbytes = mm_align_up(l.books_at + l.nsections * sizeof(struct book), MM_PAGE_SIZE);
    return l;
}

static void add_range(struct pmm *p, uint64_t base, uint64_t end, bool is_free)
{
    struct range *last = p->nranges > 0 ? &p->ranges[p->nranges - 1] : NULL;

    if (base == end) {
        return;
    }
    if (last != NULL && last->end == base && last->free == is_free) {
        last->end = end;
    } else {
        p->ranges[p->nranges++] = (struct range){ base, end, is_free };
    }
    p->total += end - base;
    p->nfree += is_free ? end - base : 0;
}

static void add_sections(struct pmm *p, const struct range *r)
{
    for (uint64_t number = r->base >> SECTION_SHIFT; number << SECTION_SHIFT < r->end; number++) {
        uint64_t base = number << SECTION_SHIFT;
        struct section *s = p->nsections > 0 ? &p->sections[p->nsections - 1] : NULL;

        if (s == NULL || s->number != number) {
            s = &p->sections[p->nsections++];
            *s = (struct section){ .number = number };
        }
        if (r->free) {
            s->nfree += (uint32_t)(mm_min(r->end, base + SECTION_FRAMES) - mm_max(r->base, base));
        }
    }
}

uint64_t pmm_storage_bytes(const struct memmap *m)
{
    struct layout l = layout_for(m);

    return l.nsections != 0 ? l.nbytes : 0;
}

mm_err_t pmm_init(struct pmm **pool, const struct memmap *m, void *storage, uint64_t nbytes)
{
    struct layout l = layout_for(m);
    unsigned char *bytes = storage;
    struct pmm *p = storage;

    if (l.nsections == 0 || !mm_is_aligned((uintptr_t)storage, MM_PAGE_SIZE)) {
        return MM_EINVAL;
    }
    if (nbytes < l.nbytes) {
        return MM_ENOSPC;
    }
    *p = (struct pmm){
        .lock = MM_LOCK_INIT(MM_RANK_PMM),
        .ranges = (struct range *)(bytes + l.ranges_at),
        .sections = (struct section *)(bytes + l.sections_at),
        .books = (struct book *)(bytes + l.books_at),
        .fixed_bytes = l.books_at,
    };
    for (uint32_t i = 0; i < m->nregions; i++) {
        const struct memmap_region *r = &m->regions[i];
        uint64_t base = r->base >> MM_PAGE_SHIFT;

        if (!is_covered(r)) {
            continue;
        }
        if (base == 0) {
            add_range(p, 0, 1, false);
            base = 1;
        }
        add_range(p, base, r->end >> MM_PAGE_SHIFT, r->kind == MEMMAP_FREE);
    }
    for (uint64_t i = 0; i < p->nranges; i++) {
        add_sections(p, &p->ranges[i]);
    }
    p->zone_begin[ZONE_ABOVE_4G] = section_from(p, HIGH >> SECTION_SHIFT);
    p->zone_begin[ZONES] = p->nsections;
    for (unsigned z = 0; z < ZONES; z++) {
        for (unsigned order = 0; order < NORDERS; order++) {
            p->start[z][order] = p->zone_begin[z];
        }
    }
    *pool = p;
    return MM_OK;
}

/* ---- the rest of the public face ------------------------------------------------------------- */

mm_err_t pmm_add(struct pmm *p, pfn_t base, uint64_t count)
{
    uint64_t first = base.v;
    mm_err_t err = MM_OK;

    if (count == 0 || first + count < first) {
        return MM_EINVAL;
    }
    if (!covers(p, first, count)) {
        return MM_ENOENT;
    }
    if (first == 0) { /* stays HELD */
        first++;
        count--;
    }
    uint64_t irq = mm_lock(&p->lock);
    if (!all_held(p, first, count)) {
        err = MM_EBUSY;
    } else {
        give_locked(p, first, count);
    }
    mm_unlock(&p->lock, irq);
    return err;
}

pfn_t pmm_get(struct pmm *p, unsigned order)
{
    if (order > PMM_MAX_ORDER) {
        return PFN_NONE;
    }
    uint64_t irq = mm_lock(&p->lock);
    uint64_t pfn = search_zone(p, ZONE_ABOVE_4G, order);

    if (pfn == NO_FRAME) {
        pfn = search_zone(p, ZONE_BELOW_4G, order);
    }
    if (pfn != NO_FRAME) {
        take_locked(p, pfn, UINT64_C(1) << order);
    }
    mm_unlock(&p->lock, irq);
    return pfn == NO_FRAME ? PFN_NONE : pfn_make(pfn);
}

mm_err_t pmm_get_range(struct pmm *p, const struct pmm_want *want, pfn_t *base)
{
    struct wish w = {
        .count = want->count,
        .align = want->align != 0 ? want->align : 1,
        .boundary = want->boundary >> MM_PAGE_SHIFT,
    };
    uint64_t top = p->ranges[p->nranges - 1].end;
    uint64_t end = want->limit != 0 ? mm_min(want->limit >> MM_PAGE_SHIFT, top) : top;
    uint64_t pfn = NO_FRAME;

    if (w.count == 0 || !mm_is_pow2(w.align) ||
        (want->boundary != 0 && (!mm_is_pow2(want->boundary) || w.boundary == 0))) {
        return MM_EINVAL;
    }
    if (w.count > p->total || (w.boundary != 0 && w.count > w.boundary)) {
        return MM_ENOMEM;
    }
    uint64_t irq = mm_lock(&p->lock);
    if (want->limit != 0 && want->limit <= LOW_END << MM_PAGE_SHIFT) {
        pfn = search(p, 1, end, &w);
    } else {
        pfn = search(p, HIGH, end, &w);
        if (pfn == NO_FRAME) { /* up to `end`, not to 4 GiB: the block may lie across */
            pfn = search(p, LOW_END, end, &w);
        }
    }
    if (pfn != NO_FRAME) {
        take_locked(p, pfn, w.count);
    }
    mm_unlock(&p->lock, irq);
    if (pfn == NO_FRAME) {
        return MM_ENOMEM;
    }
    *base = pfn_make(pfn);
    return MM_OK;
}

mm_err_t pmm_claim(struct pmm *p, pfn_t base, uint64_t count)
{
    mm_err_t err = MM_OK;

    if (count == 0 || base.v + count < base.v || base.v == 0) {
        return MM_EINVAL;
    }
    if (!covers(p, base.v, count)) {
        return MM_ENOENT;
    }
    uint64_t irq = mm_lock(&p->lock);
    if (free_until(p, base.v, base.v + count) < base.v + count) {
        err = MM_EBUSY;
    } else {
        take_locked(p, base.v, count);
    }
    mm_unlock(&p->lock, irq);
    return err;
}

void pmm_put(struct pmm *p, pfn_t base, unsigned order)
{
    struct put put = { "pmm_put", base.v, 0, __builtin_return_address(0) };

    if (order > PMM_MAX_ORDER) {
        stop(&put, base.v, "is given back with an order that there is not");
    }
    put.count = UINT64_C(1) << order;
    if (!mm_is_aligned(base.v, put.count)) {
        stop(&put, base.v, "is misaligned for the order it is given back with");
    }
    uint64_t irq = mm_lock(&p->lock);
    must_be_given(p, &put);
    if (state_of(p, base.v) != HEAD) {
        stop(&put, base.v, "is not where its allocation begins");
    }
    if (state_of(p, base.v + put.count) == BODY) {
        stop(&put, base.v, "begins a larger allocation");
    }
    give_locked(p, base.v, put.count);
    mm_unlock(&p->lock, irq);
}

void pmm_put_range(struct pmm *p, pfn_t base, uint64_t count)
{
    struct put put = { "pmm_put_range", base.v, count, __builtin_return_address(0) };
    uint64_t irq = mm_lock(&p->lock);

    must_be_given(p, &put);
    if (state_of(p, base.v + count) == BODY) { /* what remains behind is an allocation of its own */
        set_head(p, base.v + count);
    }
    give_locked(p, base.v, count);
    mm_unlock(&p->lock, irq);
}

bool pmm_covers(const struct pmm *p, pfn_t pfn)
{
    return state_of(p, pfn.v) != NOT_OURS;
}

bool pmm_is_free(const struct pmm *p, pfn_t pfn)
{
    return state_of(p, pfn.v) == FREE;
}

uint64_t pmm_free_frames(const struct pmm *p)
{
    return __atomic_load_n(&p->nfree, __ATOMIC_RELAXED);
}

/* The order of the largest naturally aligned block that begins at `pfn` and ends by `end`. */
static unsigned order_at(uint64_t pfn, uint64_t end)
{
    unsigned order = 0;

    while (order < PMM_MAX_ORDER && mm_is_aligned(pfn, UINT64_C(2) << order) &&
           end - pfn >= UINT64_C(2) << order) {
        order++;
    }
    return order;
}

void pmm_get_stats(struct pmm *p, struct pmm_stats *s)
{
    uint64_t top = p->ranges[p->nranges - 1].end;
    uint64_t irq = mm_lock(&p->lock);
    uint64_t end;

    *s = (struct pmm_stats){
        .total_frames = p->total,
        .meta_bytes =
            mm_align_up(p->fixed_bytes + p->nsections * sizeof(struct book), MM_PAGE_SIZE),
        .meta_used_bytes = p->fixed_bytes + p->nopened * sizeof(struct book),
    };
    for (uint64_t i = 0; i < p->nranges && p->ranges[i].base < LOW_END; i++) {
        s->low_frames += mm_min(p->ranges[i].end, LOW_END) - p->ranges[i].base;
    }
    for (uint64_t pfn = next_free(p, 0, top); pfn < top; pfn = next_free(p, end, top)) {
        end = free_until(p, pfn, top);
        s->free_frames += end - pfn;
        s->low_free_frames += mm_min(end, LOW_END) - mm_min(pfn, LOW_END);
        s->largest_free = mm_max(s->largest_free, end - pfn);
        for (uint64_t at = pfn; at < end; at += UINT64_C(1) << order_at(at, end)) {
            s->free_blocks[order_at(at, end)]++;
        }
    }
    mm_unlock(&p->lock, irq);
}

/* ---- check ----------------------------------------------------------------------------------- */

static const char *check_ranges(const struct pmm *p)
{
    uint64_t total = 0;
    uint64_t s = 0; /* the section that the range at hand has reached */

    for (uint64_t i = 0; i < p->nranges; i++) {
        const struct range *r = &p->ranges[i];

        if (r->base >= r->end || (i > 0 && r[-1].end > r->base)) {
            return "P1: ranges are empty, overlap, or are not sorted";
        }
        if (i > 0 && r[-1].end == r->base && r[-1].free == r->free) {
            return "P1: two ranges should be one";
        }
        if (r->base == 0 && r->free) {
            return "P1: frame 0 is free";
        }
        total += r->end - r->base;

        for (uint64_t number = r->base >> SECTION_SHIFT; number << SECTION_SHIFT < r->end;
             number++) {
            if (s < p->nsections && p->sections[s].number < number) {
                s++;
            }
            if (s == p->nsections || p->sections[s].number != number) {
                return "P2: sections are not those that the ranges lie in";
            }
        }
    }
    if (total != p->total) {
        return "P1: the ranges do not have as many frames as the pool";
    }
    return s + 1 == p->nsections ? NULL : "P2: sections are not those that the ranges lie in";
}

/* Are frames [base, end) of an opened section neither marked nor given? */
static bool untouched(const struct pmm *p, const struct section *s, uint64_t base, uint64_t end)
{
    const struct book *b = book_of(p, s);
    uint32_t to = (uint32_t)(end - section_base(s));

    for (uint32_t off = (uint32_t)(base - section_base(s)); off < to; off = (off | 63) + 1) {
        if (((b->mark[off / 64] | b->given[off / 64]) & word_mask(off, to)) != 0) {
            return false;
        }
    }
    return true;
}

/* P3, P4 and P5 of an opened section. `*before`: was the frame before it given? */
static const char *check_book(const struct pmm *p, const struct section *s, bool *before)
{
    const struct book *b = book_of(p, s);
    uint64_t end = section_base(s) + SECTION_FRAMES;
    uint64_t pos = section_base(s);
    uint64_t nfree = 0;
    bool prev = *before;

    for (uint64_t i = range_ending_after(p, pos); i < p->nranges && p->ranges[i].base < end; i++) {
        if (p->ranges[i].base > pos && !untouched(p, s, pos, p->ranges[i].base)) {
            return "P3: a frame that is not there has a state";
        }
        pos = p->ranges[i].end;
    }
    if ((pos < end && !untouched(p, s, pos, end)) || (s->number == 0 && !untouched(p, s, 0, 1))) {
        return "P3: a frame that is not there, or frame 0, has a state";
    }
    for (uint32_t chunk = 0; chunk < SECTION_CHUNKS; chunk++) {
        uint64_t n = 0;

        for (uint32_t word = chunk * 8; word < chunk * 8 + 8; word++) {
            uint64_t body = b->given[word] & ~b->mark[word];

            if ((body & ~(b->given[word] << 1 | prev)) != 0) {
                return "P5: part of an allocation that has no beginning";
            }
            prev = b->given[word] >> 63 != 0;
            n += (uint64_t)__builtin_popcountll(free_word(b, word));
        }
        if (n != b->nfree[chunk]) {
            return "P4: a chunk miscounts its free frames";
        }
        nfree += n;
    }
    *before = prev;
    return nfree == s->nfree ? NULL : "P4: a section miscounts its free frames";
}

static const char *check_hints(const struct pmm *p, const struct section *s)
{
    uint64_t base = section_base(s);
    uint64_t end = base + SECTION_FRAMES;
    uint64_t nfree = 0;
    uint64_t until;

    for (uint64_t pfn = next_free(p, base, end); pfn < end; pfn = next_free(p, until, end)) {
        until = free_until(p, pfn, end);
        nfree += until - pfn;
        for (uint64_t at = mm_max(pfn, LOW_END); at < until;) {
            unsigned top = order_at(at, until);

            for (unsigned order = 0; order <= top; order++) {
                if (s->hint[order] > (at - base) >> CHUNK_SHIFT) {
                    return "P6: a free block lies before the hint for its order";
                }
            }
            at += UINT64_C(1) << top;
        }
    }
    /* The other half of P4, for sections without a book. */
    return nfree == s->nfree ? NULL : "P4: a section miscounts its free frames";
}

static const char *check_sections(const struct pmm *p)
{
    uint64_t nfree = 0;
    uint64_t nopened = 0;
    bool before = false;

    for (uint64_t i = 0; i < p->nsections; i++) {
        const struct section *s = &p->sections[i];
        const char *broken = NULL;

        if (i > 0 && s[-1].number + 1 != s->number) {
            before = false;
        }
        if (s->opened) {
            broken = check_book(p, s, &before);
            nopened++;
        } else {
            before = false;
        }
        if (broken == NULL) {
            broken = check_hints(p, s);
        }
        if (broken != NULL) {
            return broken;
        }
        for (unsigned order = 0; order < NORDERS; order++) {
            if (i < p->start[zone_of(p, s)][order] && s->hint[order] != SECTION_CHUNKS) {
                return "P6: a section that may have a block lies before the start for its order";
            }
        }
        nfree += s->nfree;
    }
    return nfree == p->nfree && nopened == p->nopened
               ? NULL
               : "P4: the pool miscounts its free frames or its opened sections";
}

const char *pmm_check(struct pmm *p)
{
    uint64_t irq = mm_lock(&p->lock);
    const char *broken = check_ranges(p);

    if (broken == NULL) {
        broken = check_sections(p);
    }
    mm_unlock(&p->lock, irq);
    return broken;
}
