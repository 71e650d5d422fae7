/*
 * The kernel's frame table: one for the frames of all pools, in a window of its own.
 *
 * mm/pmm/frames.c says which bytes of the window are needed, when their GiB is first asked for.
 * What is put behind them are frames of the general pool: a 2 MiB block where a large page of the
 * window is needed as a whole, which is twice for a GiB without holes, and single frames otherwise.
 * They stay for good, so nobody notes which they are: the page table knows.
 */
#include "mm/kmalloc.h"
#include "mm/port.h"
#include "panic.h"
#include "vm.h"

#define LARGE_ORDER 9u
#define LARGE_BYTES (MM_PAGE_SIZE << LARGE_ORDER)

struct frame_table vm_frames;

/* Put a block behind `va`, where `nbytes` are wanted. Returns its size; 0 if memory ran out. */
static uint64_t back_block(uint64_t va, uint64_t nbytes)
{
    bool large = mm_is_aligned(va, LARGE_BYTES) && nbytes >= LARGE_BYTES;
    pfn_t pfn = large ? pmm_get(vm_pmm, LARGE_ORDER, PMM_ZERO | PMM_QUICK) : PFN_NONE;
    unsigned order = LARGE_ORDER;
    mm_err_t err;

    if (pfn_is_none(pfn)) {
        order = 0;
        pfn = pmm_get(vm_pmm, 0, PMM_ZERO);
    }
    if (pfn_is_none(pfn)) {
        return 0;
    }
    err = pt_map(&vm_pagetable, va, pa_of_pfn(pfn), MM_PAGE_SIZE << order, PT_WRITE | PT_GLOBAL);
    if (err != MM_OK) {
        MM_ASSERT(err == MM_ENOMEM); /* else the window is not ours alone */
        pmm_put(vm_pmm, pfn, order);
        return 0;
    }
    return MM_PAGE_SIZE << order;
}

mm_err_t vm_window_back(void *ctx, uint64_t offset, uint64_t nbytes)
{
    uint64_t va = *(const uint64_t *)ctx + offset;

    for (uint64_t done = 0; done < nbytes;) {
        uint64_t step = back_block(va + done, nbytes - done);

        if (step == 0) {
            vm_window_drop(ctx, offset, done);
            return MM_ENOMEM;
        }
        done += step;
    }
    return MM_OK;
}

void vm_window_drop(void *ctx, uint64_t offset, uint64_t nbytes)
{
    uint64_t va = *(const uint64_t *)ctx + offset;

    for (uint64_t done = 0; done < nbytes;) {
        struct pt_walk w;
        mm_err_t err;

        pt_walk(&vm_pagetable, va + done, &w);
        MM_ASSERT(w.present && w.leaf_bytes <= nbytes - done);
        err = pt_unmap(&vm_pagetable, va + done, w.leaf_bytes);
        MM_ASSERT(err == MM_OK); /* a whole leaf: nothing to split, so nothing to run out of */
        pmm_put(vm_pmm, pfn_of_pa(w.pa), w.leaf_bytes == LARGE_BYTES ? LARGE_ORDER : 0);
        done += w.leaf_bytes;
    }
}

void vm_frames_init(uint64_t va)
{
    const struct frames_backing backing = { vm_window_back, vm_window_drop, &vm_layout.frames_va };
    uint64_t nbytes = frames_storage_bytes(vm_pools, PMM_KINDS);
    void *storage = kmalloc(nbytes);
    mm_err_t err = MM_ENOMEM;

    vm_layout.frames_va = va;
    vm_layout.frames_bytes = frames_window_bytes(vm_pools, PMM_KINDS);
    if (storage != NULL) {
        err = frames_init(&vm_frames, (void *)va, vm_pools, PMM_KINDS, &backing, storage, nbytes);
    }
    if (err != MM_OK) {
        panic("starting the frame table: %s", mm_strerror(err));
    }
}
