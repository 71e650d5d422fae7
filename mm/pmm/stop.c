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
 * from the planes and puts into them. But if it needs all that is free, or somebody else does, it
 * empties the slots:
 *
 *  - A hit that takes a frame loads the mask, clears one bit in it with one instruction, and has
 * the frame. If all frames were taken away in between, it clears what is clear; `raided` tells it
 *    that its frame was among them, and it begins anew.
 *  - A hit that puts a frame looks at the slot, and then sets one bit with one instruction. That
 *    may come after the slot was emptied: so the slot keeps its word, and the block its owner. The
 *    frame is in use until then, so nobody else wants the whole block.
 *
 * A handler that has to wait while the pool is stopped says so in `parked`, when it has emptied the
 * slots: without that, it would wait for who has stopped the pool, who waits for the hit, which
 * waits for the handler.
 *
 * Rejected: interrupts off in every operation (the common path is shorter than masking them), an
 * unlocked compare-and-exchange in hits (as slow as a locked one on the processors measured), and
 * an interrupt to every processor that makes it empty its cache (it does not come while interrupts
 * are off, and there is none on a host).
 */
#include "pool.h"

void empty_cache(struct pmm *p, struct pmm_cpu *c, struct hit *hit)
{
    uint64_t keep = NO_BLOCK;

    if (hit != NULL && hit->puts != NO_FRAME) {
        uint64_t s = section_of(p, hit->puts);

        keep = s == NO_SECTION ? NO_BLOCK
                               : s * SECTION_BLOCKS + hit->puts % SECTION_FRAMES / BLOCK_FRAMES;
    }
    for (unsigned i = 0; i < SLOTS; i++) {
        uint64_t mask = empty_slot(p, c, (enum slot_use)i);

        if (hit != NULL && i == TAKE) {
            hit->raided |= mask;
        }
    }
    for (unsigned i = 0; i < OWNED_BLOCKS; i++) {
        uint64_t b = atomic_load_explicit(&c->block[i], memory_order_relaxed);

        if (b != NO_BLOCK && b != keep) {
            atomic_store_explicit(&c->block[i], NO_BLOCK, memory_order_relaxed);
            disown(p, b);
        }
    }
    if (c->last != NO_BLOCK && block_is_full(p, c->last) && try_own(p, c->last)) {
        disown(p, c->last); /* filled by a put that has yet to merge it */
    }
    c->last = NO_BLOCK;
}

void wait_turn(struct pmm *p, struct turn *t)
{
    struct pmm_cpu *c = t->c;

    if (t->nested != NULL) {
        empty_cache(p, c, t->nested);
    }
    do {
        if (t->nested != NULL) {
            atomic_store_explicit(&c->parked, 1, memory_order_release);
        } else {
            atomic_store_explicit(&c->busy, NULL, memory_order_release);
        }
        while (atomic_load_explicit(&c->stop, memory_order_acquire) != 0) {
            port_spin_hint();
        }
        atomic_store_explicit(&c->parked, 0, memory_order_relaxed);
        atomic_store_explicit(&c->busy, &t->self, memory_order_relaxed);
        atomic_signal_fence(memory_order_seq_cst); /* the barrier is the other side's */
    } while (atomic_load_explicit(&c->stop, memory_order_acquire) != 0);
}

/* Wait for the operation on `c`, if there is one, and empty its cache. */
static void quiet(struct pmm *p, struct pmm_cpu *c)
{
    while (atomic_load_explicit(&c->busy, memory_order_acquire) != NULL) {
        if (atomic_load_explicit(&c->parked, memory_order_acquire) != 0) {
            p->hit_waits = true;
            return; /* emptied by who waits there */
        }
        port_spin_hint();
    }
    empty_cache(p, c, NULL);
}

uint64_t stop_all(struct pmm *p)
{
    uint64_t irq = port_irq_save();
    struct pmm_cpu *self = &p->cpus[port_cpu()];
    struct hit *hit = atomic_load_explicit(&self->busy, memory_order_relaxed);

    if (hit != NULL) { /* who stops the pool meanwhile must not wait for it */
        struct turn t;

        begin_turn(p, &t);
        empty_cache(p, self, hit);
        end_turn(&t);
        atomic_store_explicit(&self->parked, 1, memory_order_release);
    }
    mm_lock(&p->lock);
    atomic_store_explicit(&self->parked, 0, memory_order_relaxed);
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
    if (hit == NULL) {
        empty_cache(p, self, NULL);
    }
    p->stops++;
    return irq;
}

void go_on(struct pmm *p, uint64_t irq)
{
    for (unsigned i = 0; i < p->ncpus; i++) {
        atomic_store_explicit(&p->cpus[i].stop, 0, memory_order_release);
    }
    mm_unlock(&p->lock, irq);
}
