/*
 * pages.h - the page tables on which the kernel is entered, as plat/boot.h describes them.
 *
 * Model:    a tree of four or five levels in a run of pages that the caller gives; it is only built
 * up, never changed. Whatever is not mapped here is not there for the kernel.
 * Source:   Intel SDM vol. 3A ch. 4; bits in x86/pte.h.
 */
#ifndef EFI_PAGES_H
#define EFI_PAGES_H

#include <stdbool.h>
#include <stdint.h>

#include "x86/pte.h"

enum pages_rights { PAGES_READ = 0, PAGES_WRITE = 1, PAGES_EXECUTE = 2 };

struct pages {
    uint64_t root;
    uint64_t next; /* the next free page for a table */
    uint64_t end;
    unsigned levels;
    bool nx; /* the processor knows no-execute; else everything is executable */
};

/* Tables that [va, va + nbytes) can need besides the root, at any va. */
uint64_t pages_bound(unsigned levels, uint64_t nbytes);

/* An empty tree with room for tables in [base, base + npages * 4 KiB), npages >= 1, page aligned.
 */
struct pages pages_make(uint64_t base, uint64_t npages, unsigned levels, bool nx);

/*
 * Map [va, va + nbytes) to `pa`, all page aligned, nbytes > 0, with `rights` and for the supervisor
 * only; with 2 MiB pages where both addresses allow. NULL, or what is wrong, as text: the tree is
 * then of no use any more. Writable and executable together is wrong.
 */
const char *pages_map(struct pages *p, uint64_t va, uint64_t pa, uint64_t nbytes, unsigned rights);

/* Five levels: the PML4 for the lowest 256 TiB, or 0. A tree of four levels for the same
 * addresses, and so the step on the way from four levels to five. */
uint64_t pages_low_pml4(const struct pages *p);

#endif
