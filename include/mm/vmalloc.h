/*
 * vmalloc.h - ranges of kernel addresses: scattered frames made contiguous, MMIO, stacks.
 *
 * Model:    a window of virtual addresses, handed out lowest fit first in whole pages, an unmapped
 *           guard page before and after each; two neighbours share one. Ranges of 2 MiB and more
 *           are placed so that large leaves can serve them.
 *
 * Locking:  one lock, rank MM_RANK_VMALLOC, taken inside, for the list of ranges only. None is held
 *           while memory is cleared, mapped, unmapped and flushed. Not from interrupt handlers.
 *
 * Memory:   list nodes come from kmalloc(), frames from the pmm, tables from the page table.
 */
#ifndef MM_VMALLOC_H
#define MM_VMALLOC_H

#include "mm/paging.h"
#include "mm/pmm.h"
#include "mm/types.h"

struct vmalloc_view {
    uint64_t va;
    uint64_t nbytes; /* guard pages not included */
    const char *name;
    pa_t pa;   /* of a vmap_phys() range */
    bool phys; /* made by vmap_phys() */
};

/*
 * Serve [base, base + nbytes) of `pt`, of which nothing is mapped, with frames from `p`.
 * Errors: MM_EINVAL (less than three pages, or not pt_range_ok()). Context: boot, one CPU, after
 * kmalloc_init().
 */
MM_MUST_CHECK mm_err_t vmalloc_init(struct pagetable *pt, struct pmm *p, uint64_t base,
                                    uint64_t nbytes);

/*
 * `nbytes` (rounded up to pages) of zeroed memory, read-write. `name` is kept, not copied. NULL
 * when out of memory or addresses, or `nbytes` is 0.
 */
MM_MUST_CHECK void *vmalloc(size_t nbytes, const char *name);

/*
 * See physical [pa, pa + nbytes), any alignment, with PT_* `flags`: memory type, PT_WRITE; PT_EXEC
 * or PT_USER stops the machine. For MMIO and memory outside the direct map. `name` is kept, not
 * copied. Returns the address of byte `pa`; NULL when out of memory or addresses, or the range is
 * empty, wraps or is beyond MAXPHYADDR.
 */
MM_MUST_CHECK void *vmap_phys(pa_t pa, uint64_t nbytes, unsigned flags, const char *name);

/* Undo vmalloc() or vmap_phys(). NULL is fine; what neither returned stops the machine. */
void vfree(void *ptr);

/* Call `fn` for each range in order of address, with the lock held; stop when it returns false.
 * `fn` may not call vmalloc. */
void vmalloc_for_each(bool (*fn)(void *ctx, const struct vmalloc_view *v), void *ctx);

/*
 * NULL if the invariants of vmalloc.c hold, else the first broken one as text. Reads only. O(pages
 * mapped). Exact while no other processor changes tables of the window.
 */
const char *vmalloc_check(void);

#endif
