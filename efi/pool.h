/*
 * pool.h - memory from firmware, remembered, so that whatever goes wrong all of it can be given
 * back.
 *
 * Model:    a short list of page blocks. Everything is LoaderData: memory of the kinds that
 * firmware counts for its own (reserved, ACPI, runtime) or custom types must not be asked for,
 * boards have been bricked by it (EDK II issue 9629, uefi-rs issue 1526).
 * Memory:   after a successful exit the blocks belong to the kernel; nothing is freed then.
 */
#ifndef EFI_POOL_H
#define EFI_POOL_H

#include "firmware.h"

#define POOL_MAX 16u
#define POOL_ANY UINT64_MAX /* a `max` that does not limit */

struct pool {
    const struct fw *fw;
    uint32_t count;
    struct pool_block {
        uint64_t pa;
        uint64_t npages;
    } blocks[POOL_MAX];
};

static inline struct pool pool_make(const struct fw *fw)
{
    return (struct pool){ .fw = fw };
}

/*
 * `nbytes` (rounded up to pages, > 0) at a multiple of `align` (a power of two >= STUB_PAGE) if
 * firmware has such a place, else at any page; wholly at or below address `max`. Never at address
 * 0: page 0, if firmware hands it out, stays allocated and is used for nothing. Contents are
 * undefined.
 * Errors: what firmware answered; OUT_OF_RESOURCES when the pool's list is full or the size wraps.
 */
fw_status_t pool_alloc(struct pool *p, uint64_t nbytes, uint64_t align, uint64_t max, uint64_t *pa);

/* Give back the block that pool_alloc() put at `pa`; nothing if there is none, or `pa` is 0. */
void pool_free(struct pool *p, uint64_t pa);

/* Give back everything, page 0 included. */
void pool_free_all(struct pool *p);

#endif
