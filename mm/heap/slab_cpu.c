/*
 * slab_cpu.c - magazines: how a cache serves many processors, and one without a lock.
 *
 * A struct slab_cpu has a loaded magazine, from which objects are taken and into which they are put
 * like on a stack, and a previous one, which is full or empty. When the loaded one is empty (or
 * full), the two change places if that helps; a user who takes and frees about as many objects as a
 * magazine holds never comes further. Otherwise the previous one goes to the depot, and a full (or
 * empty) one comes from there: one visit under the lock for as many objects as a magazine holds.
 *
 * If the depot has no full magazine, the empty one is filled from the slabs, in the same visit, as
 * far as they reach without a new slab. If it has as many full ones as it may have, the objects of
 * one go back to their slabs, and the magazine is empty. So memory that is free does not pile up:
 * a depot holds DEPOT_BYTES, or DEPOT_LEAST magazines. Objects that leave a slab for the first time
 * are constructed after the lock was dropped: constructors may take other locks.
 *
 * Magazines are objects themselves, of caches without magazines: sizes of 64 bytes to 1 KiB. If
 * there is no memory for one, objects come from the slabs and go there one by one: what memory
 * there is can always be had, and a free can't fail.
 *
 * Contention: who finds the lock taken counts that. If it was so in an eighth of the last
 * WINDOW visits, new magazines are twice as large from then on, up to a limit that follows the
 * size of objects. Old ones are used until they come by the depot empty. Bonwick and Adams measure
 * by time; there is no clock here.
 *
 * Locks: none is held while a magazine is made or given back, so no two of rank MM_RANK_SLAB are
 * held at once. slab_set_reclaim() holds the set's while it calls the caches one after the other.
 */
#include "slab_layer.h"

#define WINDOW      64u
#define DEPOT_BYTES (UINT32_C(64) << 10)
#define DEPOT_LEAST 4u
#define DEPOT_MOST  64u
#define KEEP_BYTES  (UINT32_C(32) << 10)
#define KEEP_MOST   8u
#define CACHE_LINE  64u

static const char *const mag_names[] = { "magazines of 6", "magazines of 14", "magazines of 30",
                                         "magazines of 62", "magazines of 126" };
_Static_assert(MM_COUNTOF(mag_names) == SLAB_MAG_SIZES, "one name each");

static size_t mag_bytes(uint32_t size)
{
    return (size_t)64 << size;
}

static uint32_t mag_capacity(uint32_t size)
{
    return (uint32_t)((mag_bytes(size) - sizeof(struct slab_magazine)) / sizeof(void *));
}

/* ---- magazines -------------------------------------------------------------------------------- */

/* NULL if there is no memory. */
static struct slab_magazine *magazine_new(struct slab_cache *c)
{
    uint32_t size = atomic_load_explicit(&c->mag_size, memory_order_relaxed);
    struct slab_cache *mags = &c->set->mags[size];
    uint64_t irq = mm_lock(&mags->lock);
    struct slab_magazine *m = NULL;
    void *obj;

    if (slab_take_locked(mags, &obj, 1) == 1) {
        m = (struct slab_magazine *)((uintptr_t)obj & ~SLAB_VIRGIN);
    }
    mm_unlock(&mags->lock, irq);
    if (m != NULL) {
        m->next = NULL;
        m->capacity = mag_capacity(size);
        m->nrounds = 0;
    }
    return m;
}

/* All of a list. */
static void magazines_free(struct slab_cache *c, struct slab_magazine *m)
{
    while (m != NULL) {
        struct slab_magazine *next = m->next;
        struct slab_cache *mags = c->set->mags;
        void *obj = m;
        uint64_t irq;

        while (mag_capacity((uint32_t)(mags - c->set->mags)) != m->capacity) {
            mags++;
            MM_ASSERT(mags < c->set->mags + SLAB_MAG_SIZES); /* else: it was written to */
        }
        irq = mm_lock(&mags->lock);
        slab_put_locked(mags, &obj, 1, NULL);
        mm_unlock(&mags->lock, irq);
        m = next;
    }
}

static struct slab_magazine *pop(struct slab_magazine **list, uint32_t *n)
{
    struct slab_magazine *m = *list;

    if (m != NULL) {
        *list = m->next;
        m->next = NULL;
        --*n;
    }
    return m;
}

static void push(struct slab_magazine **list, uint32_t *n, struct slab_magazine *m)
{
    m->next = *list;
    *list = m;
    ++*n;
}

/* ---- struct slab_cpu -------------------------------------------------------------------------- */

static void **cpu_base(const struct slab_cpu *cpu)
{
    return atomic_load_explicit(&cpu->base, memory_order_relaxed);
}

static uint32_t cpu_rounds(const struct slab_cpu *cpu)
{
    return (uint32_t)(atomic_load_explicit(&cpu->top, memory_order_relaxed) - cpu_base(cpu));
}

/* The loaded magazine; there is one. */
static struct slab_magazine *cpu_loaded(const struct slab_cpu *cpu)
{
    return (struct slab_magazine *)((uintptr_t)cpu_base(cpu) - sizeof(struct slab_magazine));
}

/* Load `m`, which replaces the one that was loaded, if any. */
static void cpu_load(struct slab_cpu *cpu, struct slab_magazine *m)
{
    atomic_store_explicit(&cpu->base, m->rounds, memory_order_relaxed);
    atomic_store_explicit(&cpu->top, m->rounds + m->nrounds, memory_order_relaxed);
    cpu->limit = m->rounds + m->capacity;
}

/* Make the loaded magazine, if there is one, the previous one, and load `m`. */
static void cpu_shift(struct slab_cpu *cpu, struct slab_magazine *m)
{
    uint32_t n = cpu_rounds(cpu);

    cpu->previous = NULL;
    if (cpu_base(cpu) != NULL) {
        cpu->previous = cpu_loaded(cpu);
        cpu->previous->nrounds = n;
    }
    atomic_store_explicit(&cpu->previous_rounds, n, memory_order_relaxed);
    cpu_load(cpu, m);
}

static void attach(struct slab_cache *c, struct slab_cpu *cpu)
{
    uint64_t irq = mm_lock(&c->lock);

    cpu->cache = c;
    cpu->prev = NULL;
    cpu->next = c->attached;
    if (cpu->next != NULL) {
        cpu->next->prev = cpu;
    }
    c->attached = cpu;
    mm_unlock(&c->lock, irq);
}

static void detach(struct slab_cache *c, struct slab_cpu *cpu)
{
    uint64_t irq = mm_lock(&c->lock);

    if (cpu->next != NULL) {
        cpu->next->prev = cpu->prev;
    }
    if (cpu->prev != NULL) {
        cpu->prev->next = cpu->next;
    } else {
        c->attached = cpu->next;
    }
    mm_unlock(&c->lock, irq);
}

/* See to it that a magazine is loaded; false if there is no memory for one. */
static bool cpu_is_loaded(struct slab_cache *c, struct slab_cpu *cpu)
{
    struct slab_magazine *m;

    if (cpu_base(cpu) == NULL) {
        m = magazine_new(c);
        if (m == NULL) {
            return false;
        }
        attach(c, cpu);
        cpu_load(cpu, m);
    }
    MM_ASSERT(cpu->cache == c); /* else: it is another cache's */
    return true;
}

/* ---- the depot -------------------------------------------------------------------------------- */

/* How many magazines of objects it may hold: DEPOT_BYTES of them, as magazines are now. */
static uint32_t depot_room(const struct slab_cache *c)
{
    size_t n = DEPOT_BYTES / (mag_capacity(c->mag_size) * c->stride);

    return (uint32_t)mm_min(mm_max(n, DEPOT_LEAST), DEPOT_MOST);
}

static uint64_t depot_lock(struct slab_cache *c)
{
    bool waited;
    uint64_t irq = mm_lock_noting(&c->lock, &waited);

    c->waits += waited;
    if (++c->visits == WINDOW) {
        if (c->waits >= WINDOW / 8 && c->mag_size < c->mag_size_max) {
            atomic_fetch_add_explicit(&c->mag_size, 1, memory_order_relaxed);
            c->full_max = depot_room(c);
        }
        c->visits = 0;
        c->waits = 0;
    }
    return irq;
}

/* Keep an empty magazine, or return it: there are enough, or it is of a size that is not made any
 * more. */
static struct slab_magazine *keep_empty_locked(struct slab_cache *c, struct slab_magazine *m)
{
    if (m != NULL && m->capacity == mag_capacity(c->mag_size) && c->nempties < c->full_max) {
        push(&c->empty, &c->nempties, m);
        return NULL;
    }
    return m;
}

/* Construct those that are new, and mark them as the others are. */
static void make_ready(struct slab_cache *c, void **objs, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        if (((uintptr_t)objs[i] & SLAB_VIRGIN) != 0) {
            objs[i] = (void *)((uintptr_t)objs[i] & ~SLAB_VIRGIN);
            if (c->ctor != NULL) {
                c->ctor(objs[i], c->ctx);
            }
            *slab_mark(c, objs[i]) = slab_free_mark(c, objs[i]);
        }
    }
}

/* Get at least one object into the loaded magazine, which is empty; false if there is none. */
static bool refill(struct slab_cache *c, struct slab_cpu *cpu)
{
    struct slab_magazine *m, *spare = NULL;
    unsigned n = 0;
    uint64_t irq = depot_lock(c);

    m = pop(&c->full, &c->nfull);
    if (m != NULL) {
        spare = keep_empty_locked(c, cpu->previous);
    } else {
        n = slab_take_locked(c, cpu_base(cpu), (unsigned)(cpu->limit - cpu_base(cpu)));
    }
    mm_unlock(&c->lock, irq);
    if (m != NULL) {
        cpu_shift(cpu, m);
        magazines_free(c, spare);
        return true;
    }
    make_ready(c, cpu_base(cpu), n);
    atomic_store_explicit(&cpu->top, cpu_base(cpu) + n, memory_order_relaxed);
    return n > 0;
}

/* One object past all magazines: there is no memory for one. */
static void *take_one(struct slab_cache *c)
{
    uint64_t irq = depot_lock(c);
    struct slab_magazine *m = c->full;
    void *obj = NULL;

    if (m != NULL) {
        obj = m->rounds[--m->nrounds];
        if (m->nrounds == 0) {
            m = pop(&c->full, &c->nfull);
            push(&c->empty, &c->nempties, m);
        }
    } else {
        slab_take_locked(c, &obj, 1);
    }
    mm_unlock(&c->lock, irq);
    if (obj != NULL) {
        make_ready(c, &obj, 1);
    }
    return obj;
}

static void put_objects(struct slab_cache *c, void *const *objs, unsigned n, const void *from)
{
    uint64_t irq = mm_lock(&c->lock);

    slab_put_locked(c, objs, n, from);
    mm_unlock(&c->lock, irq);
}

/* `obj` leaves the layers of the cache. */
static void *give(struct slab_cache *c, void *obj, const void *from)
{
    if (!slab_is_marked(c, obj)) {
        slab_die_written(c, obj, from);
    }
    *slab_mark(c, obj) = 0;
    return obj;
}

/* As slab_cpu_alloc_slow(), but for asking others for memory. */
static void *alloc_once(struct slab_cache *c, struct slab_cpu *cpu, const void *from)
{
    void **top;
    void *obj;

    if (cpu_rounds(cpu) > 0) {
        /* It is not marked: give() will see. */
    } else if (cpu->previous != NULL && cpu->previous->nrounds > 0) {
        cpu_shift(cpu, cpu->previous);
    } else if (!cpu_is_loaded(c, cpu)) {
        obj = take_one(c);
        return obj != NULL ? give(c, obj, from) : NULL;
    } else if (!refill(c, cpu)) {
        return NULL;
    }
    top = atomic_load_explicit(&cpu->top, memory_order_relaxed) - 1;
    obj = give(c, *top, from);
    atomic_store_explicit(&cpu->top, top, memory_order_relaxed);
    return obj;
}

void *slab_cpu_alloc_slow(struct slab_cache *c, struct slab_cpu *cpu, const void *from)
{
    void *obj = alloc_once(c, cpu, from);

    if (obj == NULL && slab_set_reclaim(c->set) > 0) {
        obj = alloc_once(c, cpu, from);
    }
    return obj;
}

/*
 * Make room in the loaded magazine, which is full, as the previous one is, if there is one: put
 * that in the depot, and load an empty one; or empty that one into the slabs.
 */
static void make_room(struct slab_cache *c, struct slab_cpu *cpu, const void *from)
{
    struct slab_magazine *full = cpu->previous;
    uint64_t irq = depot_lock(c);
    bool room = c->nfull < c->full_max;
    struct slab_magazine *m = room ? pop(&c->empty, &c->nempties) : NULL;

    if (room && m == NULL) {
        mm_unlock(&c->lock, irq);
        m = magazine_new(c);
        irq = mm_lock(&c->lock);
    }
    if (m != NULL && full != NULL) {
        push(&c->full, &c->nfull, full);
    }
    mm_unlock(&c->lock, irq);
    if (m == NULL && full == NULL) {
        put_objects(c, cpu_base(cpu), cpu_rounds(cpu), from);
        atomic_store_explicit(&cpu->top, cpu_base(cpu), memory_order_relaxed);
        return;
    }
    if (m == NULL) {
        put_objects(c, full->rounds, full->nrounds, from);
        full->nrounds = 0;
        m = full;
    }
    cpu_shift(cpu, m);
}

void slab_cpu_free_slow(struct slab_cache *c, struct slab_cpu *cpu, void *obj, const void *from)
{
    void **top;

    if (!slab_is_used(c, obj)) {
        slab_die_not_used(c, obj, from);
    }
    *slab_mark(c, obj) = slab_free_mark(c, obj);
    if (!cpu_is_loaded(c, cpu)) {
        put_objects(c, &obj, 1, from);
        return;
    }
    if (cpu_base(cpu) + cpu_rounds(cpu) == cpu->limit) {
        if (cpu->previous != NULL && cpu->previous->nrounds < cpu->previous->capacity) {
            cpu_shift(cpu, cpu->previous);
        } else {
            make_room(c, cpu, from);
        }
    }
    top = atomic_load_explicit(&cpu->top, memory_order_relaxed);
    *top = obj;
    atomic_store_explicit(&cpu->top, top + 1, memory_order_relaxed);
}

void slab_cpu_drain(struct slab_cache *c, struct slab_cpu *cpu)
{
    const void *from = __builtin_return_address(0);
    struct slab_magazine *m;

    if (cpu_base(cpu) == NULL) {
        return;
    }
    MM_ASSERT(cpu->cache == c);
    detach(c, cpu);
    m = cpu_loaded(cpu);
    m->nrounds = cpu_rounds(cpu);
    m->next = cpu->previous;
    if (m->next != NULL) {
        m->next->next = NULL;
    }
    *cpu = (struct slab_cpu){ .top = NULL };
    for (struct slab_magazine *at = m; at != NULL; at = at->next) {
        if (at->nrounds > 0) {
            put_objects(c, at->rounds, at->nrounds, from);
        }
    }
    magazines_free(c, m);
}

/* ---- the processor's own ----------------------------------------------------------------------- */

void *slab_alloc(struct slab_cache *c)
{
    uint64_t irq = port_irq_save();
    void *obj = slab_cpu_alloc(c, &c->cpus[port_cpu()]);

    port_irq_restore(irq);
    return obj;
}

void slab_free(struct slab_cache *c, void *obj)
{
    uint64_t irq = port_irq_save();

    slab_cpu_free(c, &c->cpus[port_cpu()], obj);
    port_irq_restore(irq);
}

/* ---- memory is short --------------------------------------------------------------------------- */

size_t slab_reclaim(struct slab_cache *c)
{
    struct slab_magazine *full, *empty;
    uint64_t irq = mm_lock(&c->lock);
    size_t before = c->nslabs, after;

    mm_unlock(&c->lock, irq);
    irq = port_irq_save();
    if (c->cpus != NULL) {
        slab_cpu_drain(c, &c->cpus[port_cpu()]);
    }
    port_irq_restore(irq);

    irq = mm_lock(&c->lock);
    full = c->full;
    empty = c->empty;
    c->full = NULL;
    c->empty = NULL;
    c->nfull = 0;
    c->nempties = 0;
    for (struct slab_magazine *m = full; m != NULL; m = m->next) {
        slab_put_locked(c, m->rounds, m->nrounds, NULL);
    }
    slab_trim_locked(c, 0);
    after = c->nslabs;
    mm_unlock(&c->lock, irq);
    magazines_free(c, full);
    magazines_free(c, empty);
    return before > after ? (before - after) * c->slab_bytes : 0;
}

size_t slab_set_reclaim(struct slab_set *s)
{
    uint64_t irq = mm_lock(&s->lock);
    size_t sum = 0;

    for (struct slab_cache *c = s->caches; c != NULL; c = c->next) {
        sum += slab_reclaim(c);
    }
    for (unsigned i = 0; i < SLAB_MAG_SIZES; i++) {
        sum += slab_reclaim(&s->mags[i]);
    }
    mm_unlock(&s->lock, irq);
    return sum;
}

/* ---- sets and caches --------------------------------------------------------------------------- */

void slab_set_init(struct slab_set *s, const struct mm_backing *backing)
{
    *s = (struct slab_set){ .lock = MM_LOCK_INIT(MM_RANK_SLABS), .backing = *backing };
    for (uint32_t i = 0; i < SLAB_MAG_SIZES; i++) {
        mm_err_t err = slab_layer_init(&s->mags[i], s, mag_bytes(i), CACHE_LINE, false);

        MM_ASSERT(err == MM_OK); /* the backing's grain is too large for slabs */
        s->mags[i].name = mag_names[i];
        s->mags[i].keep = 1;
    }
}

void slab_set_for_each(struct slab_set *s, bool (*fn)(void *ctx, struct slab_cache *c), void *ctx)
{
    uint64_t irq = mm_lock(&s->lock);

    for (struct slab_cache *c = s->caches; c != NULL && fn(ctx, c); c = c->next) {
    }
    mm_unlock(&s->lock, irq);
}

mm_err_t slab_cache_init(struct slab_cache *c, struct slab_set *s, const struct slab_params *p)
{
    mm_err_t err = slab_layer_init(c, s, p->nbytes, p->align, p->ctor != NULL);
    uint64_t irq;

    if (err != MM_OK) {
        return err;
    }
    c->name = p->name;
    c->ctor = p->ctor;
    c->ctx = p->ctx;
    c->cpus = p->cpus;
    atomic_init(&c->mag_size, c->stride <= 128 ? 2 : c->stride <= 1024 ? 1 : 0);
    c->mag_size_max = c->mag_size + 2;
    c->full_max = depot_room(c);
    c->keep = (uint32_t)mm_min(mm_max(KEEP_BYTES / c->slab_bytes, 1), KEEP_MOST);

    irq = mm_lock(&s->lock);
    c->next = s->caches;
    if (c->next != NULL) {
        c->next->prev = c;
    }
    s->caches = c;
    mm_unlock(&s->lock, irq);
    return MM_OK;
}

mm_err_t slab_cache_destroy(struct slab_cache *c)
{
    struct slab_set *s = c->set;
    uint64_t irq;

    while (c->attached != NULL) {
        slab_cpu_drain(c, c->attached);
    }
    slab_reclaim(c);
    if (c->nout != 0) {
        return MM_EBUSY;
    }
    irq = mm_lock(&s->lock);
    if (c->next != NULL) {
        c->next->prev = c->prev;
    }
    if (c->prev != NULL) {
        c->prev->next = c->next;
    } else {
        s->caches = c->next;
    }
    mm_unlock(&s->lock, irq);
    return MM_OK;
}

/* ---- looking at it ----------------------------------------------------------------------------- */

void slab_get_stats(struct slab_cache *c, struct slab_stats *s)
{
    uint64_t irq = mm_lock(&c->lock);

    *s = (struct slab_stats){ .slabs = c->nslabs,
                              .empty_slabs = c->nempty,
                              .slab_bytes = c->nslabs * c->slab_bytes,
                              .capacity = c->nslabs * c->nobjects,
                              .mag_rounds = mag_capacity(c->mag_size) };
    for (const struct slab_magazine *m = c->full; m != NULL; m = m->next) {
        s->depot += m->nrounds;
    }
    for (const struct slab_cpu *cpu = c->attached; cpu != NULL; cpu = cpu->next) {
        s->cpus += mm_min(cpu_rounds(cpu), mag_capacity(SLAB_MAG_SIZES - 1)) +
                   atomic_load_explicit(&cpu->previous_rounds, memory_order_relaxed);
    }
    s->cpus = mm_min(s->cpus, c->nout - s->depot);
    s->used = c->nout - s->depot - s->cpus;
    mm_unlock(&c->lock, irq);
}

/* S5 of the first `n` objects of a magazine, which are counted in *sum. */
static const char *check_rounds(const struct slab_cache *c, const struct slab_magazine *m,
                                uint32_t n, size_t *sum)
{
    if (n > m->capacity || m->capacity > mag_capacity(SLAB_MAG_SIZES - 1)) {
        return "S6: a magazine holds more than it can";
    }
    for (uint32_t i = 0; i < n; i++) {
        if (!slab_is_out_locked(c, m->rounds[i])) {
            return "S5: a magazine holds what is in a slab, or is no object";
        }
        if (!slab_is_marked(c, m->rounds[i])) {
            return "S5: a free object in a magazine was written to";
        }
    }
    *sum += n;
    return NULL;
}

static const char *check_depot(const struct slab_cache *c, size_t *sum)
{
    uint32_t nfull = 0, nempties = 0;
    const char *broken = NULL;

    for (const struct slab_magazine *m = c->full; m != NULL && broken == NULL; m = m->next) {
        if (++nfull > c->nfull || m->nrounds == 0) {
            return "S6: the depot's full magazines are not as many, or not full";
        }
        broken = check_rounds(c, m, m->nrounds, sum);
    }
    for (const struct slab_magazine *m = c->empty; m != NULL && broken == NULL; m = m->next) {
        if (++nempties > c->nempties || m->nrounds != 0) {
            return "S6: the depot's empty magazines are not as many, or not empty";
        }
    }
    if (broken == NULL && (nfull != c->nfull || nempties != c->nempties)) {
        return "S6: the depot has less magazines than are counted";
    }
    return broken;
}

/* Ends, as no two can have the same one before them. */
static const char *check_cpus(const struct slab_cache *c, size_t *sum)
{
    const struct slab_cpu *prev = NULL;
    const char *broken = NULL;

    for (const struct slab_cpu *cpu = c->attached; cpu != NULL && broken == NULL; cpu = cpu->next) {
        if (cpu->prev != prev || cpu->cache != c || cpu_base(cpu) == NULL) {
            return "S7: a struct slab_cpu is linked wrongly, or does not know its cache";
        }
        broken = check_rounds(c, cpu_loaded(cpu), cpu_rounds(cpu), sum);
        if (broken == NULL && cpu->previous != NULL) {
            broken = check_rounds(c, cpu->previous, cpu->previous->nrounds, sum);
        }
        prev = cpu;
    }
    return broken;
}

static const char *check_locked(const struct slab_cache *c)
{
    size_t marked, sum = 0;
    const char *broken = slab_check_slabs_locked(c, &marked);

    if (broken == NULL) {
        broken = check_depot(c, &sum);
    }
    if (broken == NULL) {
        broken = check_cpus(c, &sum);
    }
    if (broken == NULL && sum != marked) {
        return "S5: an object is free in two magazines, or in none";
    }
    return broken;
}

const char *slab_check(struct slab_cache *c)
{
    uint64_t irq = mm_lock(&c->lock);
    const char *broken = check_locked(c);

    mm_unlock(&c->lock, irq);
    return broken;
}

const char *slab_set_check(struct slab_set *s)
{
    const char *broken = NULL;

    for (unsigned i = 0; i < SLAB_MAG_SIZES && broken == NULL; i++) {
        broken = slab_check(&s->mags[i]);
    }
    return broken;
}
