/*
 * stop.c - operations take turns with those that need the whole pool to themselves.
 *
 * An operation on a processor's cache sets `busy` with a plain store, and then looks at `stop`.
 * Who wants the pool sets `stop`, has every processor pass a barrier, and then looks at `busy`. The
 * barrier makes up for the one that the operation leaves out: an operation that did not see `stop`
 * has its `busy` seen. So the common path pays for two plain stores, and the rare one for all.
 *
 * Interrupts. A cache hit runs with interrupts on; all else runs with interrupts off. So a handler
 * may come upon a hit on its own processor, half way. It leaves the slots alone then, and takes
 * from the planes and puts into them. But if it needs all that is free, or somebody else does, the
 * slots are emptied and `busy`, a HIT so far, says SHAKEN. What was in a slot is kept in `lost`.
 * The hit loads the mask, stores it with one bit less or more, and then looks at `busy`. If it is
 * SHAKEN, the store may have come after the slot was emptied, with a mask of before; it empties the
 * slot once more, and finds in `lost` whether its own change had been seen. If so, all is well; if
 * not, the frame that it thought to have taken is back in the planes, or the one that it thought to
 * have put is not: it begins anew, in a turn. Until the hit has ended nobody believes its slots.
 *
 * A handler that has to wait while the pool is stopped says so in `parked`: without that, it would
 * wait for who has stopped the pool, who waits for the hit, which waits for the handler. So who has
 * stopped the pool empties the slots of those that are at rest, and of those that are parked.
 *
 * A hit that puts into the plane has looked at the state of the block and the section before. Of
 * what may have changed by the time it puts, one thing matters: that frames of the section are
 * leaving. Who makes them leave waits until no processor is parked (`hit_waits`). So does who
 * checks the pool: of a hit half way, the planes may say one thing already, and summaries and
 * counts another. A handler that came upon a hit can't wait so: of two, neither hit would end.
 *
 * Rejected: interrupts off in every operation (the common path is shorter than masking them), an
 * unlocked compare-and-exchange in hits (as slow as a locked one on the processors measured), and
 * an interrupt to every processor that makes it empty its cache (it does not come while interrupts
 * are off, and there is none on a host).
 */
#include "pool.h"

enum work empty_cache(struct pmm *p, struct pmm_cpu *c, enum work upon)
{
    for (unsigned i = 0; i < SLOTS; i++) {
        if (upon != SHAKEN || i == ZERO) { /* which hits leave alone */
            c->slot[i].lost = empty_slot(p, c, (enum slot_use)i);
        }
    }
    for (unsigned i = 0; i < OWNED_BLOCKS; i++) {
        uint64_t b = atomic_load_explicit(&c->block[i], memory_order_relaxed);

        if (b != NO_BLOCK) {
            atomic_store_explicit(&c->block[i], NO_BLOCK, memory_order_relaxed);
            disown(p, b);
        }
    }
    if (upon == IDLE) {
        c->last = NO_FRAME;
        return IDLE;
    }
    if (c->last != NO_FRAME) {
        merge_if_full(p,
                      block_of(p, c->last * WORD_FRAMES)); /* the hit may have filled it just now */
    }
    return SHAKEN;
}

/*
 * What is said there is for one to take: the handler that goes on, or who empties the slots for it,
 * who says TURN meanwhile. (A handler may be about to go on when the pool is stopped again.)
 */
static bool take_parked(struct pmm_cpu *c, uint32_t *parked, enum work instead)
{
    return *parked != TURN &&
           atomic_compare_exchange_strong_explicit(&c->parked, parked, instead,
                                                   memory_order_acq_rel, memory_order_relaxed);
}

static enum work unpark(struct pmm_cpu *c)
{
    uint32_t parked = atomic_load_explicit(&c->parked, memory_order_relaxed);

    while (!take_parked(c, &parked, IDLE)) {
        port_spin_hint();
        parked = atomic_load_explicit(&c->parked, memory_order_relaxed);
    }
    return (enum work)parked;
}

void wait_turn(struct turn *t)
{
    struct pmm_cpu *c = t->c;

    do {
        if (is_nested(t)) {
            atomic_store_explicit(&c->parked, t->upon, memory_order_release);
        } else {
            set_work(c, IDLE);
        }
        while (must_wait(c)) {
            port_spin_hint();
        }
        if (is_nested(t)) {
            t->upon = unpark(c);
        }
        set_work(c, TURN);
    } while (must_wait(c));
}

/* Wait for the operation on `c`, if there is one, and empty its cache. */
static void quiet(struct pmm *p, struct pmm_cpu *c)
{
    while (work_on(c) != IDLE) {
        uint32_t parked = atomic_load_explicit(&c->parked, memory_order_relaxed);

        if (parked != IDLE && take_parked(c, &parked, TURN)) {
            p->hit_waits = true;
            atomic_store_explicit(&c->parked, empty_cache(p, c, (enum work)parked),
                                  memory_order_release);
            return;
        }
        port_spin_hint();
    }
    empty_cache(p, c, IDLE);
}

uint64_t stop_all(struct pmm *p)
{
    uint64_t irq = port_irq_save();
    struct pmm_cpu *self = this_cpu(p);
    enum work upon = work_on(self);

    atomic_store_explicit(&self->parked, upon,
                          memory_order_release); /* while we wait for the lock */
    mm_lock(&p->lock);
    upon = (enum work)atomic_load_explicit(&self->parked, memory_order_relaxed);
    atomic_store_explicit(&self->parked, IDLE, memory_order_relaxed);
    for (unsigned i = 0; i < p->ncpus; i++) {
        if (&p->cpus[i] != self) {
            atomic_store_explicit(&p->cpus[i].stop, 1, memory_order_relaxed);
        }
    }
    p->hit_waits = false;
    if (p->ncpus > 1) {
        port_fence_cpus();
    }
    for (unsigned i = 0; i < p->ncpus; i++) {
        if (&p->cpus[i] != self) {
            quiet(p, &p->cpus[i]);
        }
    }
    set_work(self, empty_cache(p, self, upon));
    p->stops++;
    return irq;
}

uint64_t stop_at_rest(struct pmm *p)
{
    uint64_t irq;

    while (irq = stop_all(p), p->hit_waits) {
        go_on(p, irq);
        port_spin_hint();
    }
    return irq;
}

void go_on(struct pmm *p, uint64_t irq)
{
    for (unsigned i = 0; i < p->ncpus; i++) {
        atomic_store_explicit(&p->cpus[i].stop, 0, memory_order_release);
    }
    mm_unlock(&p->lock, irq);
}
