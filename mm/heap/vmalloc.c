/*
 * vmalloc.c - a list of address ranges, and the frames and mappings behind them.
 *
 * The window [base, end) starts and ends with a page that is never mapped, and so does the space
 * between two ranges:
 *
 *     | guard | range ...... | guard | range | guard ............................. | guard |
 *
 * A guard page between two ranges serves both. Ranges are list nodes from kmalloc, sorted by
 * address; a search from the bottom finds the lowest gap. Linear, like the heap's: there are dozens
 * of ranges, stacks and devices, and what each costs is its mapping.
 *
 * Memory comes in blocks of 2 MiB as long as there are any and that much is wanted, then in single
 * frames: what lies between would be mapped by 4 KiB leaves all the same. A range of 2 MiB or more
 * starts at a multiple of 2 MiB, so that its large blocks become 2 MiB leaves; one that shows
 * physical memory starts as far into 2 MiB as that memory does, for the same reason. The price is
 * the part of a gap that can't be used; the window is terabytes. A large block is a nicety, for
 * which no other processor is disturbed (PMM_QUICK); that no single frame is left must be certain.
 *
 * The lock guards the list and nothing else. A range is put on it first, not live, which keeps its
 * addresses for it; then it is filled, mapped and declared live. vfree() goes the same way back.
 * So clearing, mapping and the TLB flush of any number of pages run with interrupts as the caller
 * had them. Holding the lock throughout would be less to think about, and would keep interrupts off
 * for the milliseconds that clearing megabytes takes.
 *
 * Which frames are behind a range is not recorded: the page table knows. A walk collects some of
 * them, one pt_unmap() with its flush makes them unreachable, and only then are they given back.
 * Every leaf is one allocation: a large block becomes one large leaf, and single frames that happen
 * to be neighbours are mapped together, but never so many that they could become one.
 *
 * Invariants (vmalloc_check tests each):
 *  V1  ranges are whole pages, lie within the window, rise in address, and a page at least is left
 *      before, between and after them
 *  V2  every page of a live range is mapped, with the range's rights and memory type
 *  V3  a live range of physical memory leads to that memory; the frames behind any other are the
 *      pool's, and not free
 *  V4  nothing else in the window is mapped, but for ranges that are not live
 *  V5  the list has nranges entries
 */
#include "mm/vmalloc.h"
#include "mm/kmalloc.h"

#define LARGE_ORDER 9u
#define LARGE_BYTES (MM_PAGE_SIZE << LARGE_ORDER)
#define BATCH       64u /* frames to get or put, leaves to unmap, at once */

_Static_assert(BATCH <= PMM_MAX_BATCH && BATCH < 1u << LARGE_ORDER,
               "one call, and no large leaf of single frames");

/* Locking: (l) lock   (const) set before the range is live */
struct range {
    struct range *next; /* (l) */
    uint64_t va;        /* (const) of the first mapped page */
    uint64_t nbytes;    /* (const) whole pages, > 0 */
    void *ptr;          /* (const) what the caller has: va, or that of a byte in the first page */
    const char *name;   /* (const) */
    pa_t pa;            /* (const) if phys: what `va` shows */
    unsigned flags;     /* (const) PT_* */
    bool phys;          /* (const) */
    bool live;          /* (l) if not, it is being built or torn down by one thread */
};

/* Locking: (l) lock   (const) set by vmalloc_init */
static struct {
    struct mm_lock lock;
    struct pagetable *pt; /* (const) */
    struct pmm *pmm;      /* (const) */
    uint64_t base;        /* (const) the guard page at the bottom */
    uint64_t top;         /* (const) the guard page at the top */
    struct range *ranges; /* (l) sorted by address */
    uint64_t nranges;     /* (l) */
} vm = { .lock = MM_LOCK_INIT(MM_RANK_VMALLOC) };

/* ---- addresses ---- */

/*
 * Find the lowest place for r->nbytes whose address is `phase` modulo `align`, a power of two, and
 * put `r` there.
 */
static bool place_locked(struct range *r, uint64_t align, uint64_t phase)
{
    struct range **link = &vm.ranges;
    uint64_t lo = vm.base + MM_PAGE_SIZE; /* the gap is [lo, hi), guard pages not included */

    for (;;) {
        uint64_t hi = *link != NULL ? (*link)->va - MM_PAGE_SIZE : vm.top;
        uint64_t skip = (phase - lo) & (align - 1);

        if (lo < hi && skip < hi - lo && r->nbytes <= hi - lo - skip) {
            r->va = lo + skip;
            r->next = *link;
            *link = r;
            vm.nranges++;
            return true;
        }
        if (*link == NULL) {
            return false;
        }
        lo = (*link)->va + (*link)->nbytes + MM_PAGE_SIZE;
        link = &(*link)->next;
    }
}

/*
 * A range, not live, for `nbytes` from byte `offset` of a page on; the address of that page leaves
 * the remainder `phase` when divided by LARGE_BYTES, if the range is that large.
 */
static struct range *range_make(uint64_t nbytes, uint64_t offset, uint64_t phase, unsigned flags,
                                const char *name)
{
    struct range *r;
    uint64_t irq;
    bool placed;

    if (nbytes == 0 || nbytes > vm.top - vm.base) {
        return NULL;
    }
    r = kzalloc(1, sizeof(*r));
    if (r == NULL) {
        return NULL;
    }
    r->nbytes = mm_align_up(offset + nbytes, MM_PAGE_SIZE);
    r->flags = flags;
    r->name = name;
    irq = mm_lock(&vm.lock);
    placed = r->nbytes >= LARGE_BYTES ? place_locked(r, LARGE_BYTES, phase)
                                      : place_locked(r, MM_PAGE_SIZE, 0);
    r->ptr = (void *)(uintptr_t)(r->va + offset);
    mm_unlock(&vm.lock, irq);
    if (!placed) {
        kfree(r);
        return NULL;
    }
    return r;
}

static void range_publish(struct range *r)
{
    uint64_t irq = mm_lock(&vm.lock);

    r->live = true;
    mm_unlock(&vm.lock, irq);
}

/* Take the live range that the caller knows as `ptr` out of use. Its addresses stay taken. */
static struct range *range_retire(const void *ptr, const void *from)
{
    uint64_t irq = mm_lock(&vm.lock);
    struct range *r = vm.ranges;

    while (r != NULL && !(r->live && r->ptr == ptr)) {
        r = r->next;
    }
    if (r == NULL) {
        port_panic(
            "vfree(0x%llx), called from 0x%llx: no such range: never given, or freed already",
            (unsigned long long)(uintptr_t)ptr, (unsigned long long)(uintptr_t)from);
    }
    r->live = false;
    mm_unlock(&vm.lock, irq);
    return r;
}

/* Nothing is mapped in `r` any more: its addresses are free. */
static void range_drop(struct range *r)
{
    uint64_t irq = mm_lock(&vm.lock);
    struct range **link = &vm.ranges;

    while (*link != r) {
        link = &(*link)->next;
    }
    *link = r->next;
    vm.nranges--;
    mm_unlock(&vm.lock, irq);
    kfree(r);
}

/* ---- frames ---- */

/* Map `n` frames from `pfn` on at `done` bytes into `r`; false if there is no memory for tables. */
static bool map_run(const struct range *r, uint64_t done, pfn_t pfn, uint64_t n)
{
    mm_err_t err = pt_map(vm.pt, r->va + done, pa_of_pfn(pfn), n << MM_PAGE_SHIFT, r->flags);

    MM_ASSERT(err == MM_OK || err == MM_ENOMEM); /* else our window is not ours alone */
    return err == MM_OK;
}

/* The same for single frames, neighbours together. Returns how many are mapped. */
static unsigned map_frames(const struct range *r, uint64_t done, const pfn_t *pfns, unsigned n)
{
    unsigned mapped = 0;

    while (mapped < n) {
        unsigned run = 1;

        while (mapped + run < n && pfns[mapped + run].v == pfns[mapped].v + run) {
            run++;
        }
        if (!map_run(r, done + (uint64_t)mapped * MM_PAGE_SIZE, pfns[mapped], run)) {
            break;
        }
        mapped += run;
    }
    return mapped;
}

/* Map zeroed memory from the start of `r`, as far as memory lasts. Returns how many bytes. */
static uint64_t populate(const struct range *r)
{
    uint64_t done = 0;

    while (r->nbytes - done >= LARGE_BYTES) {
        pfn_t pfn = pmm_get(vm.pmm, LARGE_ORDER, PMM_ZERO | PMM_QUICK);

        if (pfn_is_none(pfn)) {
            break;
        }
        if (!map_run(r, done, pfn, UINT64_C(1) << LARGE_ORDER)) {
            pmm_put(vm.pmm, pfn, LARGE_ORDER);
            return done;
        }
        done += LARGE_BYTES;
    }
    while (done < r->nbytes) {
        unsigned want = (unsigned)mm_min(BATCH, (r->nbytes - done) >> MM_PAGE_SHIFT);
        pfn_t pfns[BATCH];
        unsigned got = pmm_get_batch(vm.pmm, pfns, want, PMM_ZERO);
        unsigned mapped = map_frames(r, done, pfns, got);

        done += (uint64_t)mapped * MM_PAGE_SIZE;
        if (mapped < got) {
            pmm_put_batch(vm.pmm, pfns + mapped, got - mapped);
        }
        if (mapped < want) {
            break;
        }
    }
    return done;
}

static void unmap(uint64_t va, uint64_t nbytes)
{
    mm_err_t err = pt_unmap(vm.pt, va, nbytes);

    MM_ASSERT(err == MM_OK); /* whole leaves: nothing to split, so nothing to run out of */
}

/* Undo populate(): unmap [va, va + nbytes), then give the frames that were there back. */
static void depopulate(uint64_t va, uint64_t nbytes)
{
    uint64_t end = va + nbytes;

    while (va != end) {
        pfn_t large[BATCH], small[BATCH];
        unsigned nlarge = 0, nsmall = 0;
        uint64_t start = va;

        while (va != end && nlarge + nsmall < BATCH) {
            struct pt_walk w;

            pt_walk(vm.pt, va, &w);
            MM_ASSERT(w.present && mm_is_aligned(va, w.leaf_bytes) && w.leaf_bytes <= end - va);
            if (w.leaf_bytes == MM_PAGE_SIZE) {
                small[nsmall++] = pfn_of_pa(w.pa);
            } else {
                MM_ASSERT(w.leaf_bytes == LARGE_BYTES);
                large[nlarge++] = pfn_of_pa(w.pa);
            }
            va += w.leaf_bytes;
        }
        unmap(start, va - start);
        pmm_put_batch(vm.pmm, small, nsmall);
        for (unsigned i = 0; i < nlarge; i++) {
            pmm_put(vm.pmm, large[i], LARGE_ORDER);
        }
    }
}

/* ---- the interface ---- */

mm_err_t vmalloc_init(struct pagetable *pt, struct pmm *p, uint64_t base, uint64_t nbytes)
{
    if (!pt_range_ok(pt, base, nbytes) || nbytes < 3 * MM_PAGE_SIZE) {
        return MM_EINVAL;
    }
    vm.pt = pt;
    vm.pmm = p;
    vm.base = base;
    vm.top = base + (nbytes - MM_PAGE_SIZE);
    vm.ranges = NULL;
    vm.nranges = 0;
    vm.lock = (struct mm_lock)MM_LOCK_INIT(MM_RANK_VMALLOC);
    return MM_OK;
}

void *vmalloc(size_t nbytes, const char *name)
{
    struct range *r = range_make(nbytes, 0, 0, PT_WRITE | PT_GLOBAL, name);
    uint64_t done;

    if (r == NULL) {
        return NULL;
    }
    done = populate(r);
    if (done < r->nbytes) {
        depopulate(r->va, done);
        range_drop(r);
        return NULL;
    }
    range_publish(r);
    return r->ptr;
}

void *vmap_phys(pa_t pa, uint64_t nbytes, unsigned flags, const char *name)
{
    uint64_t offset = pa.v & (MM_PAGE_SIZE - 1);
    pa_t first = pa_make(pa.v - offset);
    struct range *r;

    MM_ASSERT((flags & (PT_EXEC | PT_USER)) == 0);
    r = range_make(nbytes, offset, first.v & (LARGE_BYTES - 1), flags | PT_GLOBAL, name);
    if (r == NULL) {
        return NULL;
    }
    r->phys = true;
    r->pa = first;
    /* What wraps or is beyond MAXPHYADDR is refused here. */
    if (pt_map(vm.pt, r->va, first, r->nbytes, r->flags) != MM_OK) {
        range_drop(r);
        return NULL;
    }
    range_publish(r);
    return r->ptr;
}

void vfree(void *ptr)
{
    struct range *r;

    if (ptr == NULL) {
        return;
    }
    r = range_retire(ptr, __builtin_return_address(0));
    if (r->phys) {
        unmap(r->va, r->nbytes);
    } else {
        depopulate(r->va, r->nbytes);
    }
    range_drop(r);
}

void vmalloc_for_each(bool (*fn)(void *ctx, const struct vmalloc_view *v), void *ctx)
{
    uint64_t irq = mm_lock(&vm.lock);
    bool more = true;

    for (const struct range *r = vm.ranges; r != NULL && more; r = r->next) {
        struct vmalloc_view v = {
            .va = r->va, .nbytes = r->nbytes, .name = r->name, .pa = r->pa, .phys = r->phys
        };

        if (r->live) {
            more = fn(ctx, &v);
        }
    }
    mm_unlock(&vm.lock, irq);
}

/* ---- the check ---- */

/* V2, V3 */
static const char *check_mapped(const struct range *r)
{
    unsigned flags = r->flags & ~PT_SMALL;

    /* What the processor can't do, pt_walk() does not show. */
    flags &= vm.pt->feat.global ? ~0u : ~PT_GLOBAL;
    flags |= vm.pt->feat.nx ? 0 : PT_EXEC;
    for (uint64_t done = 0; done < r->nbytes;) {
        struct pt_walk w;

        pt_walk(vm.pt, r->va + done, &w);
        if (!w.present) {
            return "V2: a page of a live range is not mapped";
        }
        if (w.flags != flags) {
            return "V2: a page has other rights or another type than its range";
        }
        if (r->phys && w.pa.v != r->pa.v + done) {
            return "V3: a range leads to other physical memory than it should";
        }
        for (uint64_t i = 0; !r->phys && i < w.leaf_bytes >> MM_PAGE_SHIFT; i++) {
            pfn_t pfn = pfn_make(pfn_of_pa(w.pa).v + i);

            if (!pmm_covers(vm.pmm, pfn) || pmm_is_free(vm.pmm, pfn)) {
                return "V3: a frame behind a range is free, or not the pool's";
            }
        }
        done += w.leaf_bytes;
    }
    return NULL;
}

/* Is nothing mapped from byte `va` to byte `last`? In steps of what an absent entry spans. */
static bool is_unmapped(uint64_t va, uint64_t last)
{
    struct pt_walk w;

    do {
        pt_walk(vm.pt, va, &w);
        if (w.present) {
            return false;
        }
        va = mm_align_down(va, w.leaf_bytes) + (w.leaf_bytes - 1); /* the last byte of the span */
    } while (va++ < last);
    return true;
}

static const char *check_locked(void)
{
    uint64_t lo = vm.base; /* from here on nothing is mapped, up to the next range */
    uint64_t n = 0;

    for (const struct range *r = vm.ranges; r != NULL; r = r->next) {
        const char *broken = NULL;

        if (n++ == vm.nranges) {
            return "V5: the list has more entries than there are ranges";
        }
        if (!mm_is_aligned(r->va | r->nbytes, MM_PAGE_SIZE) || r->nbytes == 0 || r->va <= lo ||
            r->va >= vm.top || r->nbytes > vm.top - r->va) {
            return "V1: a range is out of order or of the window, or has no guard page";
        }
        if (!is_unmapped(lo, r->va - 1)) {
            return "V4: a page outside every range is mapped";
        }
        if (r->live) {
            broken = check_mapped(r);
        }
        if (broken != NULL) {
            return broken;
        }
        lo = r->va + r->nbytes;
    }
    if (n != vm.nranges) {
        return "V5: the list has fewer entries than there are ranges";
    }
    if (!is_unmapped(lo, vm.top + (MM_PAGE_SIZE - 1))) {
        return "V4: a page outside every range is mapped";
    }
    return NULL;
}

const char *vmalloc_check(void)
{
    uint64_t irq = mm_lock(&vm.lock);
    const char *broken = check_locked();

    mm_unlock(&vm.lock, irq);
    return broken;
}
