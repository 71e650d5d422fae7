/*
 * kmalloc_debug.c - kmalloc of the debug build: records, canaries, quarantine, guard pages.
 *
 * A block of kmalloc.c, of `room` bytes, is used so:
 *
 *     | asked for           | canary ...     | record |
 *     ptr                   ptr + asked              ptr + room
 *
 * The record is at the end, whatever was asked for, since kmalloc.c knows where that is. Writing
 * behind what was asked for hits the canary or the seal that the record begins with.
 *
 * A freed block stays allocated as far as kmalloc.c knows while it waits. So what is found there
 * later was written by one who had lost it, and a second free finds a record that says who was
 * first. A wait is over when KMALLOC_QUARANTINE later blocks were freed, or many bytes; or when
 * memory is short.
 *
 * A guarded block has its record in a table: behind it there is no room. When it is freed its range
 * is unmapped at once, and whoever still uses it faults; until its addresses are given again, which
 * with the lowest first may be soon.
 *
 * The lock here is a leaf: no call goes out under it. Its rank is that of kmalloc.c's, which is
 * never held at the same time.
 *
 * Invariants (kdebug_check() tests each):
 *  D1  the record of a block in use is sealed, and its canary intact
 *  D2  a block that waits holds what a free leaves behind, in all its bytes
 */
#include "mm/kmalloc_debug.h"

#ifdef PMM_DEBUG

#include <stdatomic.h>

#include "kmalloc_debug.h"
#include "mm/kmalloc.h"
#include "mm/lock.h"

#define CANARY 0xc5
#define NEW    0xa5
#define FREED  0xdf

#define SEAL_USED  UINT64_C(0x6b6d2d7573656421)
#define SEAL_FREED UINT64_C(0x6b6d2d6672656564)

struct record {
    uint64_t seal; /* SEAL_... ^ its address */
    uint64_t asked;
    uint64_t serial;
    uint64_t site;
    uint64_t freed_by;
};

/* Locking: (l) the lock */
struct guarded {
    uintptr_t base;  /* (l) of its range; 0: the entry was never used */
    size_t nbytes;   /* (l) of its range */
    bool mapped;     /* (l) else the range was given back */
    uintptr_t ptr;   /* (l) */
    struct record r; /* (l) seal unused */
};

static struct {
    struct mm_lock lock;
    _Atomic uint64_t serial;
    void *waiting[KMALLOC_QUARANTINE]; /* (l) a ring */
    unsigned first, nwaiting;          /* (l) */
    size_t waiting_bytes;              /* (l) */
    struct kmalloc_guard guard;        /* (l) */
    struct guarded guarded[KMALLOC_GUARDED];
    _Atomic unsigned nguarded;   /* entries that were ever used */
    atomic_bool in_guard;        /* get() or put() is under way */
    struct kmalloc_block broken; /* what kdebug_check() found; ptr is NULL: nothing */
} kd = { .lock = MM_LOCK_INIT(MM_RANK_HEAP) };

static size_t room_for(size_t nbytes)
{
    return mm_align_up(nbytes + sizeof(struct record), KMALLOC_ALIGN);
}

static struct record *record_at(const void *ptr, size_t room)
{
    return (struct record *)((uintptr_t)ptr + room - sizeof(struct record));
}

static uint64_t seal(const struct record *r, uint64_t kind)
{
    return (uintptr_t)r ^ kind;
}

/* The first of `nbytes` bytes that is not `byte`; nbytes if all are. */
static size_t first_other(const void *at, size_t nbytes, unsigned char byte)
{
    const unsigned char *p = at;
    size_t i = 0;

    while (i < nbytes && p[i] == byte) {
        i++;
    }
    return i;
}

static struct kmalloc_block describe(const void *ptr, const struct record *r, bool guarded)
{
    return (struct kmalloc_block){ ptr, r->asked, r->site, r->freed_by, r->serial, guarded };
}

/* ---- stopping ---------------------------------------------------------------------------------- */

#define BLOCK_FORMAT "the block of %llu bytes at 0x%llx, allocated from 0x%llx"
#define BLOCK_ARGS(b)                                                                              \
    (unsigned long long)(b)->asked, (unsigned long long)(uintptr_t)(b)->ptr,                       \
        (unsigned long long)(b)->site

static _Noreturn void die_front(const char *verb, const struct kmalloc_block *b, const void *from)
{
    port_panic("kmalloc: %s called from 0x%llx: " BLOCK_FORMAT ", was written in front of it", verb,
               (unsigned long long)(uintptr_t)from, BLOCK_ARGS(b));
}

static _Noreturn void die_behind(const char *verb, const struct kmalloc_block *b, size_t at,
                                 const void *from)
{
    port_panic("kmalloc: %s called from 0x%llx: " BLOCK_FORMAT
               ", was written %llu bytes behind its end",
               verb, (unsigned long long)(uintptr_t)from, BLOCK_ARGS(b), (unsigned long long)at);
}

static _Noreturn void die_freed(const char *verb, const struct kmalloc_block *b, const void *from)
{
    port_panic("kmalloc: %s called from 0x%llx: " BLOCK_FORMAT ", was freed already, from 0x%llx",
               verb, (unsigned long long)(uintptr_t)from, BLOCK_ARGS(b),
               (unsigned long long)b->freed_by);
}

static _Noreturn void die_used(const struct kmalloc_block *b, size_t at)
{
    port_panic("kmalloc: " BLOCK_FORMAT
               " and freed from 0x%llx, was written at byte %llu after that",
               BLOCK_ARGS(b), (unsigned long long)b->freed_by, (unsigned long long)at);
}

/* The record of a block that a user has, which has `room`; stops if it is not that. */
static struct record *record_of(const void *ptr, size_t room, const char *verb, const void *from)
{
    struct record *r = record_at(ptr, room);
    struct kmalloc_block b = describe(ptr, r, false);
    size_t space = room - sizeof(*r), at;

    if (r->seal == seal(r, SEAL_FREED)) {
        die_freed(verb, &b, from);
    }
    if (r->seal != seal(r, SEAL_USED) || r->asked > space) {
        port_panic("kmalloc: %s(0x%llx), called from 0x%llx: it was never given, or was written "
                   "far behind its end: there is no record of it",
                   verb, (unsigned long long)(uintptr_t)ptr, (unsigned long long)(uintptr_t)from);
    }
    at = first_other((const char *)ptr + r->asked, space - r->asked, CANARY);
    if (at != space - r->asked) {
        die_behind(verb, &b, at, from);
    }
    return r;
}

static void set_asked(void *ptr, size_t room, struct record *r, size_t asked, const void *site)
{
    r->asked = asked;
    r->site = (uintptr_t)site;
    __builtin_memset((char *)ptr + asked, CANARY, room - sizeof(*r) - asked);
}

/* ---- quarantine -------------------------------------------------------------------------------- */

/* The wait of a block is over. */
static void release(void *ptr, const void *from)
{
    size_t room = kraw_size(ptr, "free", from), space = room - sizeof(struct record), at;
    struct record *r = record_at(ptr, room);
    struct kmalloc_block b = describe(ptr, r, false);

    at = first_other(ptr, space, FREED);
    if (at != space || r->seal != seal(r, SEAL_FREED)) {
        die_used(&b, at);
    }
    r->seal = 0;
    kraw_free(ptr, from);
}

/* Takes the oldest one out, if more than `most` bytes or as many blocks as there can be wait. */
static void *oldest(size_t most)
{
    uint64_t irq = mm_lock(&kd.lock);
    void *ptr = NULL;

    if (kd.nwaiting != 0 && (kd.waiting_bytes > most || kd.nwaiting == KMALLOC_QUARANTINE)) {
        ptr = kd.waiting[kd.first];
        kd.first = (kd.first + 1) % KMALLOC_QUARANTINE;
        kd.nwaiting--;
    }
    mm_unlock(&kd.lock, irq);
    return ptr;
}

/* Returns how many bytes wait no longer. */
static size_t shorten(size_t most, const void *from)
{
    size_t sum = 0;

    for (void *ptr = oldest(most); ptr != NULL; ptr = oldest(most)) {
        size_t room = kraw_size(ptr, "free", from);
        uint64_t irq = mm_lock(&kd.lock);

        kd.waiting_bytes -= room;
        mm_unlock(&kd.lock, irq);
        release(ptr, from);
        sum += room;
    }
    return sum;
}

static void enqueue(void *ptr, size_t room, const void *from)
{
    bool done = false;

    while (!done) {
        uint64_t irq = mm_lock(&kd.lock);

        done = kd.nwaiting < KMALLOC_QUARANTINE;
        if (done) {
            kd.waiting[(kd.first + kd.nwaiting++) % KMALLOC_QUARANTINE] = ptr;
            kd.waiting_bytes += room;
        }
        mm_unlock(&kd.lock, irq);
        shorten(KMALLOC_QUARANTINE_BYTES, from);
    }
}

size_t kdebug_flush(const void *from)
{
    return shorten(0, from);
}

/* ---- guarded blocks ---------------------------------------------------------------------------- */

/* The mapped entry of the block at `ptr`, else one that had it; NULL. Lock held. */
static struct guarded *guarded_locked(const void *ptr)
{
    struct guarded *found = NULL;

    for (unsigned i = 0; i < atomic_load(&kd.nguarded); i++) {
        struct guarded *g = &kd.guarded[i];

        if (g->ptr == (uintptr_t)ptr && (found == NULL || g->r.serial > found->r.serial)) {
            found = g;
        }
    }
    return found;
}

/* Where a new block may be entered: an unmapped entry, the one freed longest ago. Lock held. */
static struct guarded *unused_locked(void)
{
    struct guarded *found = NULL;
    unsigned n = atomic_load(&kd.nguarded);

    if (n < KMALLOC_GUARDED) {
        atomic_store(&kd.nguarded, n + 1);
        return &kd.guarded[n];
    }
    for (unsigned i = 0; i < n; i++) {
        struct guarded *g = &kd.guarded[i];

        if (!g->mapped && (found == NULL || g->r.serial < found->r.serial)) {
            found = g;
        }
    }
    return found;
}

/* Give back ranges of freed blocks. Guard's. */
static void unmap_freed(const struct kmalloc_guard *guard)
{
    for (unsigned i = 0; i < atomic_load(&kd.nguarded); i++) {
        struct guarded *g = &kd.guarded[i];
        uint64_t irq = mm_lock(&kd.lock);
        uintptr_t base = g->mapped && g->r.freed_by != 0 ? g->base : 0;

        g->mapped = g->mapped && base == 0;
        mm_unlock(&kd.lock, irq);
        if (base != 0) {
            guard->put((void *)base);
        }
    }
}

/* May get() and put() be called now? Then true, and nobody else may until guard_leave(). */
static bool guard_enter(struct kmalloc_guard *guard)
{
    uint64_t irq;

    if (*port_held_ranks() != 0 || atomic_exchange(&kd.in_guard, true)) {
        return false;
    }
    irq = mm_lock(&kd.lock);
    *guard = kd.guard;
    mm_unlock(&kd.lock, irq);
    if (guard->get == NULL || !guard->may()) {
        atomic_store(&kd.in_guard, false);
        return false;
    }
    return true;
}

static void guard_leave(void)
{
    atomic_store(&kd.in_guard, false);
}

static void *guard_alloc(const struct kmalloc_guard *guard, size_t nbytes, size_t align,
                         const void *from)
{
    size_t length = mm_align_up(mm_align_up(mm_max(nbytes, 1), align), MM_PAGE_SIZE);
    void *base = guard->get(length);
    struct guarded *g;
    uint64_t irq;
    void *ptr;

    if (base == NULL) {
        return NULL;
    }
    irq = mm_lock(&kd.lock);
    g = unused_locked();
    ptr = (char *)base + length - mm_align_up(mm_max(nbytes, 1), align);
    if (g != NULL) {
        *g = (struct guarded){ .base = (uintptr_t)base,
                               .nbytes = length,
                               .mapped = true,
                               .ptr = (uintptr_t)ptr,
                               .r = { .asked = nbytes,
                                      .serial = atomic_fetch_add(&kd.serial, 1) + 1,
                                      .site = (uintptr_t)from } };
    }
    mm_unlock(&kd.lock, irq);
    if (g == NULL) {
        guard->put(base);
        return NULL;
    }
    __builtin_memset(base, CANARY, length);
    __builtin_memset(ptr, NEW, nbytes);
    return ptr;
}

enum damage { INTACT, IN_FRONT, BEHIND };

/* Of what lies around the block on its pages. *at: how many bytes behind it. */
static enum damage guard_damage(const struct guarded *g, size_t *at)
{
    size_t front = g->ptr - g->base, behind = g->nbytes - front - g->r.asked;

    *at = first_other((const char *)g->ptr + g->r.asked, behind, CANARY);
    if (*at != behind) {
        return BEHIND;
    }
    return first_other((const void *)g->base, front, CANARY) != front ? IN_FRONT : INTACT;
}

/* Was it a guarded block? Then it is freed; or only measured, where `asked` is not NULL. */
static bool guard_take(void *ptr, size_t *asked, const char *verb, const void *from)
{
    struct kmalloc_guard guard;
    struct kmalloc_block b;
    struct guarded *g;
    enum damage damage = INTACT;
    size_t at = 0;
    uint64_t irq;

    if (atomic_load(&kd.nguarded) == 0) {
        return false;
    }
    irq = mm_lock(&kd.lock);
    g = guarded_locked(ptr);
    if (g == NULL) {
        mm_unlock(&kd.lock, irq);
        return false;
    }
    b = describe(ptr, &g->r, true);
    if (b.freed_by == 0) {
        damage = guard_damage(g, &at);
    }
    if (asked != NULL) {
        *asked = g->r.asked;
    } else if (b.freed_by == 0 && damage == INTACT) {
        g->r.freed_by = (uintptr_t)from;
        __builtin_memset((void *)g->base, FREED, g->nbytes);
    }
    mm_unlock(&kd.lock, irq);
    if (b.freed_by != 0) {
        die_freed(verb, &b, from);
    }
    if (damage == BEHIND) {
        die_behind(verb, &b, at, from);
    }
    if (damage == IN_FRONT) {
        die_front(verb, &b, from);
    }
    if (asked == NULL && guard_enter(&guard)) {
        unmap_freed(&guard);
        guard_leave();
    }
    return true;
}

void kmalloc_set_guard(const struct kmalloc_guard *g)
{
    uint64_t irq = mm_lock(&kd.lock);

    kd.guard = *g;
    mm_unlock(&kd.lock, irq);
}

/* ---- the calls of kmalloc.h -------------------------------------------------------------------- */

/* What kmalloc() promises of blocks of that size. */
static size_t own_align(size_t nbytes)
{
    if (nbytes >= KMALLOC_FRAMES_MIN) {
        return MM_PAGE_SIZE;
    }
    return nbytes > KMALLOC_ALIGN && nbytes <= KMALLOC_SLAB_MAX && mm_is_pow2(nbytes)
               ? nbytes
               : KMALLOC_ALIGN;
}

static void *alloc(size_t nbytes, size_t align, const void *from)
{
    struct kmalloc_guard guard;
    struct record *r;
    void *ptr = NULL;
    size_t room;

    if (nbytes >= SIZE_MAX / 2) {
        return NULL;
    }
    if (align <= MM_PAGE_SIZE && guard_enter(&guard)) {
        unmap_freed(&guard);
        if (nbytes >= guard.lo && nbytes <= guard.hi && guard.hi != 0) {
            ptr = guard_alloc(&guard, nbytes, align, from);
        }
        guard_leave();
    }
    if (ptr != NULL) {
        return ptr;
    }
    ptr = kraw_alloc(room_for(nbytes), align);
    if (ptr == NULL) {
        return NULL;
    }
    room = kraw_size(ptr, "size", from);
    __builtin_memset(ptr, NEW, nbytes);
    r = record_at(ptr, room);
    *r = (struct record){ .seal = seal(r, SEAL_USED),
                          .serial = atomic_fetch_add(&kd.serial, 1) + 1 };
    set_asked(ptr, room, r, nbytes, from);
    return ptr;
}

static void give(void *ptr, const void *from)
{
    struct record *r;
    size_t room;

    if (guard_take(ptr, NULL, "free", from)) {
        return;
    }
    room = kraw_size(ptr, "free", from);
    r = record_of(ptr, room, "free", from);
    r->seal = seal(r, SEAL_FREED);
    r->freed_by = (uintptr_t)from;
    __builtin_memset(ptr, FREED, room - sizeof(*r));
    enqueue(ptr, room, from);
}

static size_t asked_of(void *ptr, const char *verb, const void *from)
{
    size_t asked;

    if (guard_take(ptr, &asked, verb, from)) {
        return asked;
    }
    return record_of(ptr, kraw_size(ptr, verb, from), verb, from)->asked;
}

void *kmalloc(size_t nbytes)
{
    void *ptr = alloc(nbytes, own_align(nbytes), __builtin_return_address(0));

    kraw_note(NULL, ptr, nbytes, 0);
    return ptr;
}

void *kmalloc_aligned(size_t nbytes, size_t align)
{
    void *ptr = mm_is_pow2(align)
                    ? alloc(nbytes, mm_max(align, own_align(nbytes)), __builtin_return_address(0))
                    : NULL;

    kraw_note(NULL, ptr, nbytes, align);
    return ptr;
}

void *kzalloc(size_t count, size_t nbytes)
{
    size_t total;
    void *ptr;

    if (__builtin_mul_overflow(count, nbytes, &total)) {
        return NULL;
    }
    ptr = alloc(total, own_align(total), __builtin_return_address(0));
    if (ptr != NULL) {
        __builtin_memset(ptr, 0, total);
    }
    kraw_note(NULL, ptr, total, 0);
    return ptr;
}

void kfree(void *ptr)
{
    if (ptr != NULL) {
        kraw_note(ptr, NULL, 0, 0);
        give(ptr, __builtin_return_address(0));
    }
}

size_t kmalloc_size(const void *ptr)
{
    return asked_of((void *)(uintptr_t)ptr, "size", __builtin_return_address(0));
}

/* Moves always: who kept the old address is found out. */
void *krealloc(void *ptr, size_t nbytes)
{
    const void *from = __builtin_return_address(0);
    size_t old;
    void *now;

    if (ptr == NULL) {
        now = alloc(nbytes, own_align(nbytes), from);
        kraw_note(NULL, now, nbytes, 0);
        return now;
    }
    old = asked_of(ptr, "realloc", from);
    now = alloc(nbytes, own_align(nbytes), from);
    if (now == NULL) {
        return nbytes <= old ? ptr : NULL;
    }
    __builtin_memcpy(now, ptr, mm_min(old, nbytes));
    kraw_note(ptr, now, nbytes, 0);
    give(ptr, from);
    return now;
}

/* ---- looking at it ----------------------------------------------------------------------------- */

enum state { NOT_OURS, USED, WAITING };

/* What a block of kmalloc.c is by its record. */
static enum state state_of(const struct record *r, size_t room)
{
    if (r->asked > room - sizeof(*r)) {
        return NOT_OURS;
    }
    return r->seal == seal(r, SEAL_USED)    ? USED
           : r->seal == seal(r, SEAL_FREED) ? WAITING
                                            : NOT_OURS;
}

static void for_each_raw(bool (*fn)(void *ctx, const struct kmalloc_view *b), void *ctx)
{
    kmalloc_for_each(KMALLOC_SLAB, fn, ctx);
    kmalloc_for_each(KMALLOC_HEAP, fn, ctx);
    kmalloc_for_each(KMALLOC_FRAMES, fn, ctx);
}

struct seeker {
    uint64_t addr;
    struct kmalloc_block *b;
    bool found;
};

static bool seek(void *ctx, const struct kmalloc_view *v)
{
    struct seeker *s = ctx;
    const struct record *r;

    if (!v->used || s->addr - (uintptr_t)v->ptr >= v->nbytes) {
        return !s->found;
    }
    r = record_at(v->ptr, v->nbytes);
    if (state_of(r, v->nbytes) != NOT_OURS) {
        *s->b = describe(v->ptr, r, false);
        s->found = true;
    }
    return false;
}

bool kmalloc_who_guarded(uint64_t addr, struct kmalloc_block *b)
{
    bool found = false;

    for (unsigned i = 0; i < atomic_load(&kd.nguarded); i++) {
        const struct guarded *g = &kd.guarded[i];

        if (addr - (g->base - MM_PAGE_SIZE) < g->nbytes + 2 * MM_PAGE_SIZE &&
            (!found || g->r.serial > b->serial)) {
            *b = describe((const void *)g->ptr, &g->r, true);
            found = true;
        }
    }
    return found;
}

bool kmalloc_who(uint64_t addr, struct kmalloc_block *b)
{
    struct seeker s = { .addr = addr, .b = b };

    if (kmalloc_who_guarded(addr, b)) {
        return true;
    }
    for_each_raw(seek, &s);
    return s.found;
}

struct visitor {
    void (*fn)(void *ctx, const struct kmalloc_block *b);
    void *ctx;
};

static bool visit(void *ctx, const struct kmalloc_view *v)
{
    const struct visitor *to = ctx;
    const struct record *r = record_at(v->ptr, v->nbytes);
    struct kmalloc_block b;

    if (v->used && state_of(r, v->nbytes) == USED) {
        b = describe(v->ptr, r, false);
        to->fn(to->ctx, &b);
    }
    return true;
}

void kmalloc_for_each_live(void (*fn)(void *ctx, const struct kmalloc_block *b), void *ctx)
{
    struct visitor v = { fn, ctx };
    struct kmalloc_block b;

    for_each_raw(visit, &v);
    for (unsigned i = 0; i < atomic_load(&kd.nguarded); i++) {
        const struct guarded *g = &kd.guarded[i];

        if (g->mapped && g->r.freed_by == 0) {
            b = describe((const void *)g->ptr, &g->r, true);
            fn(ctx, &b);
        }
    }
}

uint64_t kmalloc_serial(void)
{
    return atomic_load(&kd.serial);
}

static bool check_block(void *ctx, const struct kmalloc_view *v)
{
    const char **broken = ctx;
    const struct record *r = record_at(v->ptr, v->nbytes);
    size_t space = v->nbytes - sizeof(*r);

    if (!v->used || *broken != NULL) {
        return *broken == NULL;
    }
    switch (state_of(r, v->nbytes)) {
    case USED:
        if (first_other((const char *)v->ptr + r->asked, space - r->asked, CANARY) !=
            space - r->asked) {
            *broken = "D1: a block was written behind its end";
        }
        break;
    case WAITING:
        if (first_other(v->ptr, space, FREED) != space) {
            *broken = "D2: a block was written after it was freed";
        }
        break;
    default:
        *broken = "D1: a block was written far behind its end: its record is gone";
        kd.broken = (struct kmalloc_block){ .ptr = v->ptr };
        return false;
    }
    if (*broken != NULL) {
        kd.broken = describe(v->ptr, r, false);
    }
    return *broken == NULL;
}

const char *kdebug_check(void)
{
    const char *broken = NULL;
    size_t at;

    kd.broken.ptr = NULL;
    for_each_raw(check_block, &broken);
    for (unsigned i = 0; i < atomic_load(&kd.nguarded) && broken == NULL; i++) {
        const struct guarded *g = &kd.guarded[i];

        if (g->mapped && g->r.freed_by == 0 && guard_damage(g, &at) != INTACT) {
            broken = "D1: a guarded block was written in front of it or behind its end";
            kd.broken = describe((const void *)g->ptr, &g->r, true);
        }
    }
    return broken;
}

bool kmalloc_broken(struct kmalloc_block *b)
{
    *b = kd.broken;
    return b->ptr != NULL;
}

void kdebug_init(void)
{
    kd.first = kd.nwaiting = 0;
    kd.waiting_bytes = 0;
    kd.guard = (struct kmalloc_guard){ .get = NULL };
    atomic_init(&kd.nguarded, 0);
    atomic_init(&kd.in_guard, false);
    kd.broken.ptr = NULL;
}

#endif
