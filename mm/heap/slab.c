/*
 * slab.c - objects of one size, cut from slabs.
 *
 * A slab is a range of 2^n bytes, aligned to that, so that its header is found by masking the
 * address of an object:
 *
 *     | head, links, bitmap | colour | object | object | ... | object | rest |
 *
 * Its size is the smallest at which header and rest are at most an eighth of it; objects that need
 * more than half of that are few to a slab, and there is no other kind of slab for them: a header
 * elsewhere would need a table to find it, and what it saves is within the eighth. From slab to
 * slab the objects begin a cache line further on, as far as the rest allows (colour), so that the
 * first fields of all objects do not compete for the same sets of the cache.
 *
 * The free list of a slab is a bitmap in its header, one bit for each object that is in the slab,
 * with a word that says which words of it are not 0. Free objects hold no links that a stale
 * pointer could damage; a run of objects is taken with one look at a word; the lowest go first, so
 * what has never been used stays together at the end (`fresh`) and need not be constructed, marked
 * or even touched before its time: making a slab is O(1). And a bit that is set already is a double
 * free.
 *
 * Slabs that are partly used stand in four lists, by how full they are; objects are taken from the
 * fullest list that has any. So the emptier ones get the chance to become empty, for the price of
 * changing the list now and then. Exact order would need a heap, and gain little.
 *
 * Some empty slabs stay, enough for what magazines take and put at once; the others go back.
 *
 * What is checked, and when
 *
 * Every free object is marked: a word of it is its own address, combined with a number of the
 * cache's. The word is the first of the object or, if there is a constructor, which may not find
 * its work destroyed, one of its own behind the object. So, at once, in every build, with a few
 * instructions:
 *
 *  - a second free of an object, if it has not been given again meanwhile, wherever it is: its mark
 *    is there. Only two processors that do it in the same moment both pass; then the object is in
 *    two magazines, and the machine stops when it is allocated a second time without a mark, or
 * goes back to its slab twice.
 *  - a free of an address inside an object, in a header or behind the last object, or of an object
 *    of another cache: by the slab's head, and whether the distance from the first object is a
 *    multiple of the stride. With r = ceil(2^32 / stride), a distance d below 2^17 is one if and
 *    only if d * r modulo 2^32 is below r (Lemire, Kaser, Kurz 2019; r is 2^32 / 8200 at least, and
 *    the error of d * r is below 2^17). An address far from every slab may point at nothing that
 * can be read; then the processor stops it.
 *  - a write to the marked word of a free object: when it is given again.
 *
 * An object that is given loses its mark. A user who reads the mark of an object that he has freed,
 * and writes it back when he has it again, will be stopped when he frees it; nobody else can hit
 * upon it but by chance, of 1 in 2^64.
 *
 * The header lies behind what the slab below ends with, and in front of objects. All of it is under
 * a seal, checked before it is believed or changed, and each word of the bitmap has one of its own.
 * What is wrong in the first line of it, which the fast path reads, shows as an object that is not
 * of this cache. Marks and seals are a guard against accidents: they hide no secret.
 *
 * Poison goes with all this: it may be written to every byte of a free object but its mark, if
 * there is no constructor; with one, a free object has contents that must stay.
 *
 * Invariants (slab_check tests each):
 *  S1  each slab is aligned to its size, sealed, and in the list that says how full it is; lists
 *      are linked both ways
 *  S2  the bitmap is sealed and has nfree bits, none beyond the last object; `nonempty` says which
 *      of its words are not 0; all objects from `fresh` on are in the slab
 *  S3  nslabs, nempty and nout say what there is
 *  S4  an object that is in its slab, below `fresh`, is marked as free
 *  S5  an object that is in a magazine is not in its slab, and marked; no object is in two, and all
 *      that are marked and not in slabs are in one
 *  S6  magazines in the depot are counted; full ones hold an object at least, empty ones none
 *  S7  the struct slab_cpu that have magazines are linked both ways and know the cache
 */
#include "slab_layer.h"

#define SEAL_FACTOR UINT64_C(0x9e3779b97f4a7c15) /* odd, bits well mixed: 2^64 / golden ratio */

#define SLAB_MIN_BYTES 4096u
#define SLAB_MAX_BYTES 131072u
#define CACHE_LINE     64u
#define WORD_BITS      64u
#define MAX_WORDS      64u /* of a bitmap: as many as `nonempty` has bits */
#define MIN_ALIGN      8u  /* room for SLAB_VIRGIN, and for the mark */
#define MIN_STRIDE     8u

enum {
    LIST_EMPTY = SLAB_LISTS - 2, /* below: partly used, the fullest first */
    LIST_FULL = SLAB_LISTS - 1,
    PARTIAL_LISTS = LIST_EMPTY
};

/* One word of the bitmap. */
struct word {
    uint64_t free; /* 1: in the slab */
    uint64_t seal;
};

/* Locking: (const) from when the slab is made   (l) the cache's lock */
struct slab {
    struct slab_head head;                                  /* (const) */
    size_t range_bytes;                                     /* (const) what the backing gave */
    struct slab *next __attribute__((aligned(CACHE_LINE))); /* (l) in its list */
    struct slab *prev;                                      /* (l) */
    uint32_t nfree;                                         /* (l) objects in the slab */
    uint32_t fresh;      /* (l) nobody had this one or a later one */
    uint64_t nonempty;   /* (l) bit w: words[w].free != 0 */
    uint64_t seal;       /* (l) over all of the above */
    struct word words[]; /* (l) */
};

static _Noreturn void die(const struct slab_cache *c, const char *verb, const void *obj,
                          const void *from, const char *what, const void *where)
{
    port_panic("slab \"%s\": %s(0x%llx), called from 0x%llx: %s (0x%llx)", c->name, verb,
               (unsigned long long)(uintptr_t)obj, (unsigned long long)(uintptr_t)from, what,
               (unsigned long long)(uintptr_t)where);
}

/* ---- seals ---- */

static uint64_t mix(uint64_t x)
{
    x *= SEAL_FACTOR;
    return x ^ x >> 32;
}

/* Each field has an odd factor of its own, so a change of any one of them changes the sum. */
static uint64_t slab_seal(const struct slab *s)
{
    return mix((uintptr_t)s * 3 + (uintptr_t)s->head.cache * 5 +
               ((uint64_t)s->head.first_low << 32 | s->head.span) * 7 + s->range_bytes * 9 +
               (uintptr_t)s->next * UINT64_C(0x100000001b3) + (uintptr_t)s->prev * SEAL_FACTOR +
               ((uint64_t)s->nfree << 32 | s->fresh) * UINT64_C(0xc2b2ae3d27d4eb4f) +
               s->nonempty * UINT64_C(0x165667b19e3779f9) + 1);
}

static uint64_t word_seal(const struct word *w)
{
    return mix(w->free + (uintptr_t)w * SEAL_FACTOR);
}

static bool slab_is_sealed(const struct slab_cache *c, const struct slab *s)
{
    return s->head.cache == c && s->seal == slab_seal(s);
}

/* For a slab that is about to be read or changed on behalf of `from`. */
static void check_slab(const struct slab_cache *c, const struct slab *s, const void *obj,
                       const void *from)
{
    if (!slab_is_sealed(c, s)) {
        die(c, obj != NULL ? "free" : "alloc", obj, from, "the header of a slab is damaged", s);
    }
}

static void check_word(const struct slab_cache *c, const struct word *w, const void *obj,
                       const void *from)
{
    if (w->seal != word_seal(w)) {
        die(c, obj != NULL ? "free" : "alloc", obj, from, "the bitmap of a slab is damaged", w);
    }
}

static void set_word(struct word *w, uint64_t free)
{
    w->free = free;
    w->seal = word_seal(w);
}

/* ---- objects ---- */

static struct slab *slab_of(const struct slab_cache *c, const void *obj)
{
    return (struct slab *)((uintptr_t)obj & c->slab_mask);
}

static char *first_object(const struct slab *s)
{
    return (char *)s + (uint32_t)(s->head.first_low - (uint32_t)(uintptr_t)s);
}

/* Of an object of `s`, which must be one. */
static unsigned index_of(const struct slab_cache *c, const struct slab *s, const void *obj)
{
    uint32_t off = (uint32_t)(uintptr_t)obj - s->head.first_low;

    return (unsigned)((uint64_t)off * c->reciprocal >> 32);
}

_Noreturn void slab_die_written(const struct slab_cache *c, const void *obj, const void *from)
{
    die(c, "alloc", obj, from, "a free object was written to, or freed twice at once", obj);
}

_Noreturn void slab_die_not_used(const struct slab_cache *c, const void *obj, const void *from)
{
    const struct slab *s = slab_of(c, obj);
    uint32_t off = (uint32_t)(uintptr_t)obj - s->head.first_low;

    if (s->head.cache != c) {
        die(c, "free", obj, from,
            "it is no object of this cache, or the header of its slab is damaged", s);
    }
    if (off >= s->head.span) {
        die(c, "free", obj, from, "it was never given: it lies beside the objects of its slab", s);
    }
    if (off * c->reciprocal >= c->reciprocal) {
        die(c, "free", obj, from, "it was never given: it lies inside an object",
            first_object(s) + index_of(c, s, obj) * c->stride);
    }
    die(c, "free", obj, from, "it was freed already", obj);
}

/* ---- lists ---- */

static unsigned list_for(const struct slab_cache *c, uint32_t nfree)
{
    if (nfree == 0) {
        return LIST_FULL;
    }
    return nfree == c->nobjects ? LIST_EMPTY : (unsigned)((uint64_t)nfree * c->list_factor >> 32);
}

/* Take `s`, checked, out of its list; its own links stay, to be replaced. */
static void list_remove(struct slab_cache *c, struct slab *s, unsigned list, const void *obj,
                        const void *from)
{
    if (s->next != NULL) {
        check_slab(c, s->next, obj, from);
        s->next->prev = s->prev;
        s->next->seal = slab_seal(s->next);
    }
    if (s->prev != NULL) {
        check_slab(c, s->prev, obj, from);
        s->prev->next = s->next;
        s->prev->seal = slab_seal(s->prev);
    } else {
        c->lists[list] = s->next;
    }
}

/* The caller seals `s` when it is done with it. */
static void list_insert(struct slab_cache *c, struct slab *s, unsigned list, const void *obj,
                        const void *from)
{
    s->prev = NULL;
    s->next = c->lists[list];
    if (s->next != NULL) {
        check_slab(c, s->next, obj, from);
        s->next->prev = s;
        s->next->seal = slab_seal(s->next);
    }
    c->lists[list] = s;
}

/* `s` had `was` free objects and has others now: put it where it belongs, and seal it. */
static void settle(struct slab_cache *c, struct slab *s, uint32_t was, const void *obj,
                   const void *from)
{
    unsigned old = list_for(c, was), list = list_for(c, s->nfree);

    if (old != list) {
        list_remove(c, s, old, obj, from);
        list_insert(c, s, list, obj, from);
        c->nempty += (list == LIST_EMPTY) - (size_t)(old == LIST_EMPTY);
    }
    s->seal = slab_seal(s);
}

/* ---- slabs come and go ---- */

static bool add_slab_locked(struct slab_cache *c)
{
    const struct mm_backing *b = &c->set->backing;
    size_t got = 0;
    struct slab *s = b->get(b->ctx, c->slab_bytes, c->slab_bytes, &got);
    uint32_t rest = c->nobjects;

    if (s == NULL) {
        return false;
    }
    MM_ASSERT(mm_is_aligned((uintptr_t)s, c->slab_bytes) && got >= c->slab_bytes);
    *s = (struct slab){ .head = { .cache = c,
                                  .first_low = (uint32_t)(uintptr_t)s + c->first + c->colour,
                                  .span = c->nobjects * (uint32_t)c->stride },
                        .range_bytes = got,
                        .nfree = c->nobjects };
    c->colour = c->colour + c->colour_step <= c->colour_max ? c->colour + c->colour_step : 0;
    for (unsigned w = 0; rest > 0; w++) {
        uint32_t n = rest < WORD_BITS ? rest : WORD_BITS;

        set_word(&s->words[w], UINT64_MAX >> (WORD_BITS - n));
        s->nonempty |= UINT64_C(1) << w;
        rest -= n;
    }
    list_insert(c, s, LIST_EMPTY, NULL, NULL);
    s->seal = slab_seal(s);
    c->nslabs++;
    c->nempty++;
    return true;
}

void slab_trim_locked(struct slab_cache *c, size_t keep)
{
    const struct mm_backing *b = &c->set->backing;

    while (c->nempty > keep) {
        struct slab *s = c->lists[LIST_EMPTY];
        size_t nbytes = s->range_bytes;

        check_slab(c, s, NULL, NULL);
        list_remove(c, s, LIST_EMPTY, NULL, NULL);
        c->nslabs--;
        c->nempty--;
        s->head.cache = NULL; /* who still frees an object of it is told */
        b->put(b->ctx, s, nbytes);
    }
}

/* ---- objects leave their slabs, and return ---- */

/* Up to `n` > 0 objects of `s`, which is sealed and not full. */
static unsigned take_from(struct slab_cache *c, struct slab *s, void **objs, unsigned n)
{
    char *first = first_object(s);
    uint32_t was = s->nfree;
    unsigned got = 0;

    while (got < n && s->nonempty != 0) {
        unsigned w = (unsigned)__builtin_ctzll(s->nonempty);
        uint64_t bits;

        check_word(c, &s->words[w], NULL, NULL);
        for (bits = s->words[w].free; bits != 0 && got < n; bits &= bits - 1) {
            uint32_t i = w * WORD_BITS + (unsigned)__builtin_ctzll(bits);
            uintptr_t obj = (uintptr_t)first + i * c->stride;

            if (i >= s->fresh) { /* and so it is the first of those */
                s->fresh = i + 1;
                obj |= SLAB_VIRGIN;
            }
            objs[got++] = (void *)obj;
        }
        set_word(&s->words[w], bits);
        if (bits == 0) {
            s->nonempty &= s->nonempty - 1;
        }
    }
    s->nfree -= got;
    settle(c, s, was, NULL, NULL);
    return got;
}

unsigned slab_take_locked(struct slab_cache *c, void **objs, unsigned n)
{
    unsigned got = 0, list = 0;

    MM_ASSERT(mm_lock_is_held(&c->lock));
    while (got < n) {
        while (list < LIST_FULL && c->lists[list] == NULL) {
            list++;
        }
        if (list == LIST_FULL) {
            if (got > 0 || !add_slab_locked(c)) {
                break;
            }
            list = LIST_EMPTY;
        }
        check_slab(c, c->lists[list], NULL, NULL);
        got += take_from(c, c->lists[list], objs + got, n - got);
    }
    c->nout += got;
    return got;
}

void slab_put_locked(struct slab_cache *c, void *const *objs, unsigned n, const void *from)
{
    MM_ASSERT(mm_lock_is_held(&c->lock));
    for (unsigned i = 0; i < n;) {
        struct slab *s = slab_of(c, objs[i]);
        uint32_t was;

        check_slab(c, s, objs[i], from);
        was = s->nfree;
        for (; i < n && slab_of(c, objs[i]) == s; i++) {
            unsigned at = index_of(c, s, objs[i]);
            struct word *w = &s->words[at / WORD_BITS];
            uint64_t bit = UINT64_C(1) << (at % WORD_BITS);

            check_word(c, w, objs[i], from);
            if ((w->free & bit) != 0) {
                die(c, "free", objs[i], from, "it was freed already", objs[i]);
            }
            set_word(w, w->free | bit);
            s->nonempty |= UINT64_C(1) << (at / WORD_BITS);
            s->nfree++;
        }
        settle(c, s, was, objs[i - 1], from);
    }
    c->nout -= n;
    slab_trim_locked(c, c->keep);
}

/* ---- making a cache ---- */

/* How many objects fit in slabs of `slab_bytes`, and where the first may lie. */
static uint32_t objects_in(size_t slab_bytes, size_t stride, size_t align, uint32_t *first)
{
    size_t n = mm_min(slab_bytes / stride, MAX_WORDS * WORD_BITS);
    size_t head;

    for (;; n--) {
        head = offsetof(struct slab, words) + (n + WORD_BITS - 1) / WORD_BITS * sizeof(struct word);
        head = mm_align_up(head, align);
        if (n == 0 || head + n * stride <= slab_bytes) {
            *first = (uint32_t)head;
            return (uint32_t)n;
        }
    }
}

mm_err_t slab_layer_init(struct slab_cache *c, struct slab_set *set, size_t nbytes, size_t align,
                         bool marked)
{
    size_t slab_bytes = mm_max(SLAB_MIN_BYTES, set->backing.grain);
    size_t body, rest;

    align = align == 0 ? 16 : mm_max(align, MIN_ALIGN);
    if (nbytes == 0 || nbytes > SLAB_MAX_OBJECT || !mm_is_pow2(align) || align > SLAB_MAX_ALIGN ||
        slab_bytes > SLAB_MAX_BYTES) {
        return MM_EINVAL;
    }
    *c = (struct slab_cache){ .lock = MM_LOCK_INIT(MM_RANK_SLAB), .set = set };
    c->nbytes = nbytes;
    c->align = align;
    body = mm_max(nbytes, MIN_STRIDE);
    if (marked) {
        c->mark_at = (uint32_t)mm_align_up(nbytes, sizeof(slab_mark_t));
        body = c->mark_at + sizeof(slab_mark_t);
    }
    c->stride = mm_align_up(body, align);
    for (;; slab_bytes *= 2) {
        c->nobjects = objects_in(slab_bytes, c->stride, align, &c->first);
        rest = slab_bytes - c->nobjects * c->stride;
        if (rest <= slab_bytes / 8 || slab_bytes >= SLAB_MAX_BYTES) {
            break;
        }
    }
    rest -= c->first;
    c->slab_bytes = slab_bytes;
    c->slab_mask = ~(uintptr_t)(slab_bytes - 1);
    c->mark_key = mix((uintptr_t)c) | UINT64_C(1) << 63 | 1; /* no pointer, no small number */
    c->reciprocal = (uint32_t)((UINT32_MAX + UINT64_C(1) + c->stride - 1) / c->stride);
    c->colour_step = (uint32_t)mm_max(align, CACHE_LINE);
    c->colour_max = (uint32_t)rest;
    c->list_factor = ((uint64_t)PARTIAL_LISTS << 32) / c->nobjects;
    return MM_OK;
}

/* ---- looking at all of it ---- */

static bool is_in_slab(const struct slab *s, uint32_t i)
{
    return (s->words[i / WORD_BITS].free >> (i % WORD_BITS) & 1) != 0;
}

/* Do the objects of a cache have marks? Those of the set's own caches, magazines, do not. */
static bool has_marks(const struct slab_cache *c)
{
    return c->full_max != 0;
}

void slab_for_each(struct slab_cache *c, bool (*fn)(void *ctx, void *obj, bool used), void *ctx)
{
    uint64_t irq = mm_lock(&c->lock);
    bool more = true;

    for (unsigned list = 0; list < SLAB_LISTS; list++) {
        for (const struct slab *s = c->lists[list]; s != NULL && more; s = s->next) {
            check_slab(c, s, NULL, __builtin_return_address(0));
            for (uint32_t i = 0; i < s->fresh && more; i++) {
                char *obj = first_object(s) + i * c->stride;

                more = fn(ctx, obj, !is_in_slab(s, i) && !slab_is_marked(c, obj));
            }
        }
    }
    mm_unlock(&c->lock, irq);
}

bool slab_is_out_locked(const struct slab_cache *c, const void *obj)
{
    const struct slab *s = slab_of(c, obj);
    uint32_t off;

    for (unsigned list = 0; list < SLAB_LISTS; list++) {
        for (const struct slab *at = c->lists[list]; at != NULL; at = at->next) {
            if (at == s) {
                off = (uint32_t)(uintptr_t)obj - s->head.first_low;
                return off < s->head.span && off * c->reciprocal < c->reciprocal &&
                       !is_in_slab(s, index_of(c, s, obj));
            }
        }
    }
    return false;
}

/* S2 and S4 of one slab, whose header is sealed. */
static const char *check_bitmap(const struct slab_cache *c, const struct slab *s, size_t *marked)
{
    uint32_t nfree = 0;

    for (uint32_t at = 0; at < c->nobjects; at += WORD_BITS) {
        const struct word *w = &s->words[at / WORD_BITS];
        uint32_t n = c->nobjects - at;

        if (w->seal != word_seal(w)) {
            return "S2: a word of a slab's bitmap is damaged";
        }
        if (n < WORD_BITS && w->free >> n != 0) {
            return "S2: an object beyond the last one is free";
        }
        if ((w->free != 0) != ((s->nonempty >> (at / WORD_BITS) & 1) != 0)) {
            return "S2: a slab does not know which words of its bitmap are 0";
        }
        nfree += (uint32_t)__builtin_popcountll(w->free);
    }
    if (nfree != s->nfree) {
        return "S2: a slab does not know how many of its objects are free";
    }
    for (uint32_t i = 0; i < c->nobjects; i++) {
        const char *obj = first_object(s) + i * c->stride;

        if (i >= s->fresh) {
            if (!is_in_slab(s, i)) {
                return "S2: an object has left its slab unnoticed";
            }
        } else if (has_marks(c)) {
            if (is_in_slab(s, i) && !slab_is_marked(c, obj)) {
                return "S4: a free object was written to";
            }
            *marked += !is_in_slab(s, i) && slab_is_marked(c, obj);
        }
    }
    return NULL;
}

/* Ends because each step counts towards nslabs. A pointer is followed only if a seal covers it. */
const char *slab_check_slabs_locked(const struct slab_cache *c, size_t *marked)
{
    size_t nslabs = 0, nempty = 0, nout = 0;

    *marked = 0;
    for (unsigned list = 0; list < SLAB_LISTS; list++) {
        const struct slab *prev = NULL;

        for (const struct slab *s = c->lists[list]; s != NULL; s = s->next) {
            const char *broken;

            if (++nslabs > c->nslabs) {
                return "S3: there are more slabs than are counted";
            }
            if (slab_of(c, s) != s || !slab_is_sealed(c, s)) {
                return "S1: the header of a slab is damaged";
            }
            if (s->prev != prev) {
                return "S1: slabs are not linked both ways";
            }
            if (list_for(c, s->nfree) != list) {
                return "S1: a slab is in the wrong list";
            }
            broken = check_bitmap(c, s, marked);
            if (broken != NULL) {
                return broken;
            }
            nempty += list == LIST_EMPTY;
            nout += c->nobjects - s->nfree;
            prev = s;
        }
    }
    if (nslabs != c->nslabs || nempty != c->nempty || nout != c->nout) {
        return "S3: the totals are wrong";
    }
    return NULL;
}
