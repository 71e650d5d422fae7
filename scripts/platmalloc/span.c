/*
 * span.c - objects of each class, cut from spans, and the depot of magazines.
 *
 * A span is one unit of the window, or four for objects of more than 8 KiB, full of objects of one
 * class from its start on. Which of them are here is a bitmap in a record elsewhere, so nothing of
 * ours lies between the objects of callers, and free ones are neither read nor written. Where an
 * object is in its span is its distance from the start, by the reciprocal of its size.
 *
 * Threads come for a magazine of objects at a time. They get the lowest of a span, in order, so
 * what is allocated one after the other lies so; and never touched memory stays at the end of
 * spans. What comes back finds its span by the address. A span that is all here goes back to the
 * heap if enough for a magazine is left.
 *
 * In front stands the depot (Bonwick and Adams 2001), a few full magazines: what one thread frees
 * and another allocates passes as a whole. It is small, since objects that went through the spans
 * come out in order of address, and those that did not, do not.
 *
 * A second free of an object is noticed here if the first one has come here, and nobody has the
 * object again; if two come here, the second is noticed. It can't be told any more who made it.
 *
 * Invariants (span_check tests each):
 *  S1  spans with objects, and no others, are in their class' list, linked both ways
 *  S2  a bitmap has nfree bits, none behind the last object, none in the words before `hint`
 *  S3  span_of and window_class say of each listed span what it is
 *  S4  nfree of a class is the sum of its spans', nfull the length of the depot's list
 *  S5  what is in the depot is an object of the class, and not in its span
 */
#include "mm/port.h"
#include "platmalloc.h"

#define WORD         64u
#define CACHE_LINE   64u
#define ROUNDS_LEAST 4u
#define ROUND_BYTES  ((size_t)64 << 10) /* in a magazine, unless ROUNDS_LEAST are more */
#define DEPOT_MOST   4u                 /* full magazines of a class */

/* Locking: that of its class. Without objects, `next` and `prev` mean nothing; not in use, `next`
 * is the next such record. */
struct span {
    struct span *next, *prev;
    char *base;
    struct chunk *chunk;
    uint32_t nfree;  /* objects that are here */
    uint32_t hint;   /* the words before this are 0 */
    uint64_t free[]; /* a bit for each object that is here */
};

/* Locking: (l) lock   (const) set once by span_open() */
struct class
{
    struct lock lock;
    uint32_t nbytes;             /* (const) of an object */
    uint32_t nobjects;           /* (const) of a span */
    uint32_t nunits;             /* (const) of a span */
    uint32_t rounds;             /* (const) of a full magazine */
    uint32_t nfull;              /* (l) */
    size_t nfree;                /* (l) objects in spans */
    struct span *first, *last;   /* (l) with objects */
    struct span *unused_records; /* (l) */
    struct magazine *full;       /* (l) the depot */
    struct magazine *empty;      /* (l) for whoever needs one */
} __attribute__((aligned(128))); /* neighbours, too, are fetched by the processor */

struct shape shapes[NCLASSES + 1];
static struct class classes[NCLASSES];
static struct span *span_of[WINDOW_UNITS]; /* by its first unit */

void span_open(void)
{
    for (unsigned i = 1; i < NCLASSES; i++) {
        struct class *c = &classes[i];
        uint32_t nbytes = (uint32_t)class_bytes(i);

        c->nbytes = nbytes;
        c->nunits = nbytes <= UNIT_BYTES / 8 ? 1 : SPAN_UNITS;
        c->nobjects = (uint32_t)(c->nunits * UNIT_BYTES / nbytes);
        c->rounds = (uint32_t)mm_min(ROUNDS, mm_max(ROUNDS_LEAST, ROUND_BYTES / nbytes));
        shapes[i].reciprocal = UINT64_MAX / nbytes + 1;
        shapes[i].span_mask = c->nunits * UNIT_BYTES - 1;
    }
}

unsigned span_rounds(unsigned class)
{
    return classes[class].rounds;
}

/* ---- spans ----------------------------------------------------------------------------------- */

static void link_last_locked(struct class *c, struct span *s)
{
    s->next = NULL;
    s->prev = c->last;
    if (c->last != NULL) {
        c->last->next = s;
    } else {
        c->first = s;
    }
    c->last = s;
}

static void unlink_locked(struct class *c, struct span *s)
{
    if (s->prev != NULL) {
        s->prev->next = s->next;
    } else {
        c->first = s->next;
    }
    if (s->next != NULL) {
        s->next->prev = s->prev;
    } else {
        c->last = s->prev;
    }
}

static size_t unit_of(const void *base)
{
    return ((uintptr_t)base - window_base) >> UNIT_SHIFT;
}

static struct span *make_locked(struct class *c)
{
    size_t nwords = (c->nobjects + WORD - 1) / WORD;
    struct span *s = c->unused_records;

    if (s == NULL) {
        s = record_get(sizeof(*s) + nwords * sizeof(s->free[0]), CACHE_LINE);
    } else {
        c->unused_records = s->next;
    }
    if (s == NULL) {
        return NULL;
    }
    s->base = units_get(c->nunits, &s->chunk);
    if (s->base == NULL) {
        s->next = c->unused_records;
        c->unused_records = s;
        return NULL;
    }
    s->nfree = c->nobjects;
    s->hint = 0;
    for (size_t i = 0; i < nwords; i++) {
        s->free[i] = UINT64_MAX;
    }
    if (c->nobjects % WORD != 0) {
        s->free[nwords - 1] = (UINT64_C(1) << c->nobjects % WORD) - 1;
    }
    span_of[unit_of(s->base)] = s;
    window_set_class(s->base, c->nunits, (unsigned)(c - classes));
    link_last_locked(c, s);
    c->nfree += c->nobjects;
    return s;
}

static void release_locked(struct class *c, struct span *s)
{
    unlink_locked(c, s);
    span_of[unit_of(s->base)] = NULL;
    window_set_class(s->base, c->nunits, CLASS_NONE);
    c->nfree -= c->nobjects;
    units_put(s->chunk, s->base, c->nunits);
    s->next = c->unused_records;
    c->unused_records = s;
}

/* From one span, to the end of `out`. */
static unsigned take_locked(struct class *c, struct span *s, void **out, unsigned n)
{
    unsigned left = n < s->nfree ? n : s->nfree;
    unsigned taken = left;
    void **to = out + n;

    for (uint32_t w = s->hint; left > 0; w++) {
        uint64_t word = s->free[w];

        s->hint = w;
        for (; word != 0 && left > 0; left--) {
            *--to = s->base + ((size_t)w * WORD + (unsigned)__builtin_ctzll(word)) * c->nbytes;
            word &= word - 1;
        }
        s->free[w] = word;
    }
    s->nfree -= taken;
    c->nfree -= taken;
    if (s->nfree == 0) {
        unlink_locked(c, s);
    }
    return taken;
}

static unsigned get_locked(struct class *c, void **out, unsigned n)
{
    unsigned left = n;

    while (left > 0) {
        struct span *s = c->first != NULL ? c->first : make_locked(c);

        if (s == NULL) {
            break;
        }
        left -= take_locked(c, s, out, left);
    }
    for (unsigned i = left; left > 0 && i < n; i++) {
        out[i - left] = out[i];
    }
    return n - left;
}

/* The span of an object, and which one of it. */
static inline struct span *find(const struct shape *shape, const void *ptr, uint32_t *at)
{
    uintptr_t off = (uintptr_t)ptr - window_base;

    *at = (uint32_t)((unsigned __int128)(off & shape->span_mask) * shape->reciprocal >> 64);
    return span_of[(off & ~(uintptr_t)shape->span_mask) >> UNIT_SHIFT];
}

static void put_locked(struct class *c, void **in, unsigned n)
{
    const struct shape *shape = &shapes[c - classes];

    for (unsigned i = 0; i < n; i++) {
        uint32_t at;
        struct span *s = find(shape, in[i], &at);
        uint64_t bit = UINT64_C(1) << at % WORD;

        if (unlikely(s == NULL || (s->free[at / WORD] & bit) != 0)) {
            port_panic("%p, an object of %u bytes, was freed twice", in[i], c->nbytes);
        }
        s->free[at / WORD] |= bit;
        s->hint = at / WORD < s->hint ? at / WORD : s->hint;
        c->nfree++;
        s->nfree++;
        if (s->nfree == 1) {
            link_last_locked(c, s);
        }
        if (unlikely(s->nfree == c->nobjects) && c->nfree - s->nfree >= c->rounds) {
            release_locked(c, s);
        }
    }
}

unsigned span_get(unsigned class, void **out, unsigned n)
{
    struct class *c = &classes[class];

    lock_take(&c->lock);
    n = get_locked(c, out, n);
    lock_drop(&c->lock);
    return n;
}

void span_put(unsigned class, void **in, unsigned n)
{
    struct class *c = &classes[class];

    lock_take(&c->lock);
    put_locked(c, in, n);
    lock_drop(&c->lock);
}

/* ---- the depot ------------------------------------------------------------------------------- */

static struct magazine *empty_get_locked(struct class *c)
{
    struct magazine *m = c->empty;

    if (m != NULL) {
        c->empty = m->next;
    } else {
        m = record_get(sizeof(*m), sizeof(*m));
    }
    return m;
}

static void empty_put_locked(struct class *c, struct magazine *m)
{
    if (m != NULL) {
        m->next = c->empty;
        c->empty = m;
    }
}

struct magazine *depot_get(unsigned class, struct magazine *m, unsigned *n)
{
    struct class *c = &classes[class];

    lock_take(&c->lock);
    if (c->full != NULL) {
        empty_put_locked(c, m);
        m = c->full;
        c->full = m->next;
        c->nfull--;
        *n = c->rounds;
    } else {
        struct magazine *new = m != NULL ? m : empty_get_locked(c);

        *n = new != NULL ? get_locked(c, new->round, c->rounds) : 0;
        if (*n == 0 && m == NULL) {
            empty_put_locked(c, new);
            new = NULL;
        }
        m = *n != 0 ? new : NULL;
    }
    lock_drop(&c->lock);
    return m;
}

struct magazine *depot_put(unsigned class, struct magazine *m)
{
    struct class *c = &classes[class];
    struct magazine *empty = m;

    lock_take(&c->lock);
    if (m == NULL || c->nfull < DEPOT_MOST) {
        empty = empty_get_locked(c);
    }
    if (m != NULL && empty != NULL && empty != m) {
        m->next = c->full;
        c->full = m;
        c->nfull++;
    } else if (m != NULL) {
        put_locked(c, m->round, c->rounds);
        empty = m;
    }
    lock_drop(&c->lock);
    return empty;
}

void depot_take_back(unsigned class, struct magazine *m, unsigned n)
{
    struct class *c = &classes[class];

    if (m == NULL) {
        return;
    }
    lock_take(&c->lock);
    put_locked(c, m->round, n);
    empty_put_locked(c, m);
    lock_drop(&c->lock);
}

/* ---- all classes ----------------------------------------------------------------------------- */

void span_trim(void)
{
    for (unsigned i = 1; i < NCLASSES; i++) {
        struct class *c = &classes[i];
        struct span *next;

        lock_take(&c->lock);
        while (c->full != NULL) {
            struct magazine *m = c->full;

            c->full = m->next;
            c->nfull--;
            put_locked(c, m->round, c->rounds);
            empty_put_locked(c, m);
        }
        for (struct span *s = c->first; s != NULL; s = next) {
            next = s->next;
            if (s->nfree == c->nobjects) {
                release_locked(c, s);
            }
        }
        lock_drop(&c->lock);
    }
}

void span_lock_all(void)
{
    for (unsigned i = 1; i < NCLASSES; i++) {
        lock_take(&classes[i].lock);
    }
}

void span_unlock_all(void)
{
    for (unsigned i = NCLASSES - 1; i > 0; i--) {
        lock_drop(&classes[i].lock);
    }
}

/* ---- the check ------------------------------------------------------------------------------- */

static const char *check_span(const struct class *c, const struct span *s)
{
    uint32_t nwords = (c->nobjects + WORD - 1) / WORD;
    uint32_t n = 0;

    for (uint32_t w = 0; w < nwords; w++) {
        n += (uint32_t)__builtin_popcountll(s->free[w]);
        if (w < s->hint && s->free[w] != 0) {
            return "S2: an object lies before the hint";
        }
    }
    if (n != s->nfree ||
        (c->nobjects % WORD != 0 && s->free[nwords - 1] >> c->nobjects % WORD != 0)) {
        return "S2: a bitmap and its count differ";
    }
    for (uint32_t i = 0; i < c->nunits; i++) {
        if (window_class[unit_of(s->base) + i] != c - classes) {
            return "S3: a unit of a span is of another class";
        }
    }
    return span_of[unit_of(s->base)] != s ? "S3: a span is not found by its address" : NULL;
}

static const char *check_class_locked(const struct class *c)
{
    const struct span *prev = NULL;
    size_t nfree = 0;
    uint32_t nfull = 0;

    for (const struct span *s = c->first; s != NULL; prev = s, s = s->next) {
        const char *broken = check_span(c, s);

        if (broken != NULL) {
            return broken;
        }
        if (s->prev != prev || s->nfree == 0 || (nfree += s->nfree) > c->nfree) {
            return "S1: a span is linked wrongly, or wrongly linked";
        }
    }
    if (prev != c->last || nfree != c->nfree) {
        return "S4: objects are miscounted";
    }
    for (const struct magazine *m = c->full; m != NULL && nfull <= c->nfull; m = m->next) {
        nfull++;
        for (uint32_t i = 0; i < c->rounds; i++) {
            uint32_t at;
            const struct span *s = find(&shapes[c - classes], m->round[i], &at);

            if (s == NULL || s->base + (size_t)at * c->nbytes != m->round[i] ||
                (s->free[at / WORD] >> at % WORD & 1) != 0) {
                return "S5: what is in the depot is no object, or is in its span";
            }
        }
    }
    return nfull != c->nfull ? "S4: magazines are miscounted" : NULL;
}

const char *span_check(void)
{
    const char *broken = NULL;

    for (unsigned i = 1; i < NCLASSES && broken == NULL; i++) {
        lock_take(&classes[i].lock);
        broken = check_class_locked(&classes[i]);
        lock_drop(&classes[i].lock);
    }
    return broken;
}
