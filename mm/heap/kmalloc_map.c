/*
 * kmalloc_map.c - a radix tree: 4096 pointers, two levels of 512, leaves of 1024 entries.
 *
 * A page of the tree is published by one compare-and-exchange of the pointer to it, which was NULL;
 * who loses that race gives his page back. So there is no lock, and an interrupt may come at any
 * point.
 *
 * Rejected: the frame table (mm/frames.h), whose entries may be made by nobody who holds a lock and
 * not in interrupts; a header in front of each block, which costs whole pages their alignment; and
 * an array over all of memory, which costs a machine of 1 TiB 1 GiB of it, or a window of addresses
 * and page tables.
 */
#include "kmalloc_map.h"

#define LEAF_BITS 10
#define NODE_BITS 9

_Static_assert(LEAF_BITS + 2 * NODE_BITS + MM_PAGE_SHIFT == 40,
               "what one pointer of the root is for");
_Static_assert(sizeof(_Atomic uint32_t) << LEAF_BITS == MM_PAGE_SIZE, "a leaf is a page");
_Static_assert(sizeof(void *) << NODE_BITS == MM_PAGE_SIZE, "a node is a page");

struct node {
    void *_Atomic slot[1u << NODE_BITS];
};

struct leaf {
    _Atomic uint32_t entry[1u << LEAF_BITS];
};

static uint32_t pack(struct kmap_entry e)
{
    return (uint32_t)e.kind | e.number << KMAP_KIND_BITS;
}

static struct kmap_entry unpack(uint32_t word)
{
    return (struct kmap_entry){ (enum kmap_kind)(word & ((1u << KMAP_KIND_BITS) - 1)),
                                word >> KMAP_KIND_BITS };
}

/* The page that *slot points to; made, if there is none and `m` is not NULL. */
static void *child(void *_Atomic *slot, struct kmap *m)
{
    void *page = atomic_load_explicit(slot, memory_order_acquire);
    void *made;
    pfn_t pfn;

    if (page != NULL || m == NULL) {
        return page;
    }
    pfn = pmm_get(m->pmm, 0, PMM_ZERO);
    if (pfn_is_none(pfn)) {
        return NULL;
    }
    made = port_ptr(pa_of_pfn(pfn));
    if (!atomic_compare_exchange_strong_explicit(slot, &page, made, memory_order_acq_rel,
                                                 memory_order_acquire)) {
        pmm_put(m->pmm, pfn, 0);
        return page;
    }
    atomic_fetch_add_explicit(&m->npages, 1, memory_order_relaxed);
    return made;
}

static _Atomic uint32_t *entry_at(const struct kmap *m, uint64_t pfn, struct kmap *make)
{
    uint64_t i = pfn >> (LEAF_BITS + 2 * NODE_BITS);
    struct node *n;
    struct leaf *l;

    if (i >= KMAP_ROOT) {
        return NULL;
    }
    n = child((void *_Atomic *)&m->root[i], make);
    if (n == NULL) {
        return NULL;
    }
    n = child(&n->slot[pfn >> (LEAF_BITS + NODE_BITS) & ((1u << NODE_BITS) - 1)], make);
    if (n == NULL) {
        return NULL;
    }
    l = child(&n->slot[pfn >> LEAF_BITS & ((1u << NODE_BITS) - 1)], make);
    return l != NULL ? &l->entry[pfn & ((1u << LEAF_BITS) - 1)] : NULL;
}

void kmap_init(struct kmap *m, struct pmm *p)
{
    m->pmm = p;
    for (unsigned i = 0; i < KMAP_ROOT; i++) {
        atomic_init(&m->root[i], NULL);
    }
    atomic_init(&m->npages, 0);
}

bool kmap_set(struct kmap *m, pfn_t base, uint64_t count, struct kmap_entry e)
{
    for (uint64_t pfn = base.v; pfn < base.v + count; pfn++) {
        _Atomic uint32_t *at = entry_at(m, pfn, m);

        if (at == NULL) {
            kmap_clear(m, base, pfn - base.v);
            return false;
        }
        atomic_store_explicit(at, pack(e), memory_order_relaxed);
    }
    return true;
}

void kmap_clear(struct kmap *m, pfn_t base, uint64_t count)
{
    for (uint64_t pfn = base.v; pfn < base.v + count; pfn++) {
        atomic_store_explicit(entry_at(m, pfn, NULL), 0, memory_order_relaxed);
    }
}

struct kmap_entry kmap_get(const struct kmap *m, pfn_t pfn)
{
    _Atomic uint32_t *at = entry_at(m, pfn.v, NULL);

    return unpack(at != NULL ? atomic_load_explicit(at, memory_order_relaxed) : 0);
}

struct walk {
    bool (*fn)(void *ctx, pfn_t pfn, struct kmap_entry e);
    void *ctx;
};

static bool walk_leaf(struct leaf *l, uint64_t pfn, const struct walk *w)
{
    for (unsigned i = 0; i < 1u << LEAF_BITS; i++) {
        uint32_t word = atomic_load_explicit(&l->entry[i], memory_order_relaxed);

        if (word != 0 && !w->fn(w->ctx, pfn_make(pfn + i), unpack(word))) {
            return false;
        }
    }
    return true;
}

/* A node from which `depth` levels of nodes lead to leaves. */
static bool walk_node(struct node *n, uint64_t pfn, unsigned depth, const struct walk *w)
{
    for (uint64_t i = 0; i < 1u << NODE_BITS; i++) {
        void *below = child(&n->slot[i], NULL);
        uint64_t at = pfn + (i << (LEAF_BITS + (depth - 1) * NODE_BITS));

        if (below != NULL &&
            !(depth == 1 ? walk_leaf(below, at, w) : walk_node(below, at, depth - 1, w))) {
            return false;
        }
    }
    return true;
}

void kmap_for_each(const struct kmap *m, bool (*fn)(void *ctx, pfn_t pfn, struct kmap_entry e),
                   void *ctx)
{
    const struct walk w = { fn, ctx };

    for (uint64_t i = 0; i < KMAP_ROOT; i++) {
        struct node *n = child((void *_Atomic *)&m->root[i], NULL);

        if (n != NULL && !walk_node(n, i << (LEAF_BITS + 2 * NODE_BITS), 2, &w)) {
            return;
        }
    }
}
