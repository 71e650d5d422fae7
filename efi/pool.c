/*
 * pool.c - see pool.h.
 *
 * An aligned block is made by asking for more and giving back both ends: AllocatePages knows no
 * alignment, and looking for a place in the memory map and then claiming it by address would race
 * with whatever firmware does between the two. If the larger block does not exist, the exact size
 * at any page will do: alignment is a wish.
 *
 * Firmware with page 0 in the map as free memory (18 of 22 maps that we have) may hand it out. A
 * pointer to it looks like NULL to every piece of C in sight, so page 0 is kept, unused, and the
 * rest of that block is given back; while page 0 is ours, the next answer cannot be 0 again.
 */
#include "pool.h"

static fw_status_t pool_remember(struct pool *p, uint64_t pa, uint64_t npages)
{
    if (p->count == POOL_MAX) {
        (void)p->fw->free_pages(pa, npages);
        return FW_OUT_OF_RESOURCES;
    }
    p->blocks[p->count++] = (struct pool_block){ .pa = pa, .npages = npages };
    return FW_SUCCESS;
}

/* A block that firmware will not take back stays in the list: it is tried again at the end. */
static void pool_return(struct pool *p, uint64_t pa, uint64_t npages)
{
    if (npages != 0 && fw_failed(p->fw->free_pages(pa, npages))) {
        (void)pool_remember(p, pa, npages);
    }
}

/* Pages from firmware, not at 0; not yet in the list. */
static fw_status_t pool_take(struct pool *p, uint64_t npages, uint64_t max, uint64_t *pa)
{
    fw_status_t s = p->fw->alloc_pages(npages, max, pa);

    if (!fw_failed(s) && *pa == 0) {
        s = pool_remember(p, 0, 1);
        pool_return(p, STUB_PAGE, npages - 1);
        if (!fw_failed(s)) {
            s = p->fw->alloc_pages(npages, max, pa);
        }
        if (!fw_failed(s) && *pa == 0) {
            return FW_OUT_OF_RESOURCES; /* one page handed out twice: do not touch any of it */
        }
    }
    return s;
}

fw_status_t pool_alloc(struct pool *p, uint64_t nbytes, uint64_t align, uint64_t max, uint64_t *pa)
{
    uint64_t npages, extra = align / STUB_PAGE - 1;
    uint64_t got = 0;
    fw_status_t s;

    if (nbytes == 0 || nbytes > UINT64_MAX / 2 || p->count == POOL_MAX) {
        return FW_OUT_OF_RESOURCES;
    }
    npages = fw_round_up(nbytes, STUB_PAGE) / STUB_PAGE;
    s = pool_take(p, npages + extra, max, &got);
    if (fw_failed(s) && extra != 0) {
        extra = 0;
        s = pool_take(p, npages, max, &got);
    }
    if (fw_failed(s)) {
        return s;
    }
    if (extra != 0) {
        uint64_t at = fw_round_up(got, align);
        uint64_t before = (at - got) / STUB_PAGE;

        pool_return(p, got, before);
        pool_return(p, at + npages * STUB_PAGE, extra - before);
        got = at;
    }
    s = pool_remember(p, got, npages);
    if (!fw_failed(s)) {
        *pa = got;
    }
    return s;
}

void pool_free(struct pool *p, uint64_t pa)
{
    for (uint32_t i = 0; pa != 0 && i < p->count; i++) {
        if (p->blocks[i].pa == pa) {
            (void)p->fw->free_pages(pa, p->blocks[i].npages);
            p->blocks[i] = p->blocks[--p->count];
            return;
        }
    }
}

void pool_free_all(struct pool *p)
{
    while (p->count > 0) {
        p->count--;
        (void)p->fw->free_pages(p->blocks[p->count].pa, p->blocks[p->count].npages);
    }
}
