/*
 * vm.h - the kernel's own address space: what is mapped where, and the proof of it.
 *
 * Picture and numbers: docs/address-space.md. The layers it stands on: mm/memmap, mm/pmm,
 * mm/paging.
 */
#ifndef VM_H
#define VM_H

#include "mm/frames.h"
#include "mm/memmap.h"
#include "mm/paging.h"
#include "mm/pmm.h"
#include "plat/boot.h"

struct vm_layout {
    unsigned levels;
    uint64_t direct_va;  /* virtual minus physical address */
    uint64_t direct_end; /* one past the highest direct-mapped byte, virtual */
    uint64_t frames_va, frames_bytes;
    uint64_t vmalloc_va, vmalloc_bytes;
    uint64_t image_va, image_bytes;
};

extern struct vm_layout vm_layout;
extern struct memmap vm_map;          /* the normalised map, with our claims */
extern struct pagetable vm_pagetable; /* the kernel's own, once vm_init() is through */

/*
 * The frame pools by kind, NULL where the machine has no such memory. General memory there always
 * is, and vm_pmm is its pool. The low pool is for what must lie below 1 MiB, such as the page at
 * which another processor starts (SDM vol. 3A 8.4.4): nothing takes from it so far. The frames of
 * the last three kinds are not in the direct map.
 */
extern struct pmm *vm_pools[PMM_KINDS];
extern struct pmm *vm_pmm;

/* Who uses a frame, and how often: the frames of all pools. Entries come into being when they are
 * first wanted (frames_populate()). */
extern struct frame_table vm_frames;

/* The least that port_ptr() needs, before anything else: where the direct map lies. */
void vm_early(const struct plat_boot *boot);

/*
 * From the stub's tables to our own: normalise the map, claim what is ours, build and load the
 * kernel's PML4 (or PML5), start the frame pools, kmalloc, the frame table and vmalloc. Panics if
 * memory does not suffice.
 */
void vm_init(const struct plat_boot *boot);

/*
 * Firmware is out of use for good: its boot-services memory, the stub and the stub's tables become
 * free frames. With `keep_boot_services`, boot-services memory stays as it is (for machines whose
 * runtime services still use it). Returns the number of frames gained.
 */
uint64_t vm_reclaim(bool keep_boot_services);

/* Frames in the pools of memory that anybody may have, general and low; *nfree is how many are
 * free. */
uint64_t vm_count_frames(uint64_t *nfree);

/* The pool that covers the frame, or NULL. O(log regions). */
struct pmm *vm_pool_of(pfn_t pfn);

/* "general", "low", ... */
const char *vm_pool_name(enum pmm_kind kind);

/* Start the frame table, in a window at `va`: part of vm_init(). Panics if memory does not suffice.
 */
void vm_frames_init(uint64_t va);

/*
 * A struct frames_backing: zeroed frames behind [offset, offset + nbytes) of the window at
 * *(const uint64_t *)ctx, of which nothing is mapped, and back to the pool again.
 */
MM_MUST_CHECK mm_err_t vm_window_back(void *ctx, uint64_t offset, uint64_t nbytes);
void vm_window_drop(void *ctx, uint64_t offset, uint64_t nbytes);

/* Is all of physical [pa, pa + nbytes) RAM that the direct map shows? O(log regions) a region. */
bool vm_is_direct(uint64_t pa, uint64_t nbytes);

/*
 * See physical [pa, pa + nbytes), read only, wherever it lies: through the direct map if it covers
 * all of it, else mapped for the purpose. NULL if that fails. vm_unsee() undoes it.
 */
const void *vm_see(uint64_t pa, uint64_t nbytes);
void vm_unsee(const void *p, uint64_t pa, uint64_t nbytes);

/* A read-only view of the page tables that CR3 holds now, whoever made them. */
struct pagetable vm_live(void);

/* One rule of the audit: its words, and NULL or what breaks it. */
struct vm_audit_line {
    const char *rule;
    bool ok;
    uint64_t checked; /* things looked at */
    uint64_t va;      /* of the first offender */
};
#define VM_AUDIT_RULES 9

/* Walk the live tables and judge every rule. Returns how many are broken. */
unsigned vm_audit(struct vm_audit_line lines[VM_AUDIT_RULES]);

#endif
