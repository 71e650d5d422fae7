/*
 * heap_fixture.h - a pool of frames for tests of what stands on one.
 *
 * One region of free memory at POOL_BASE, made by the real memmap and pmm. One frame more, in the
 * same GiB and alone in its 2 MiB, is taken at once: for its sake the pool keeps the records of
 * exact counts in its storage from the start, and all the frames that a test counts are the test's
 * own.
 */
#ifndef HEAP_FIXTURE_H
#define HEAP_FIXTURE_H

#include "host_port.h"

#include <stdlib.h>

#include "mm/kmalloc.h"
#include "mm/memmap.h"
#include "mm/pmm.h"

#define POOL_BASE UINT64_C(0x140000000) /* 5 GiB, so that no limit or low memory comes in */
#define POOL_ODD  (POOL_BASE + UINT64_C(0x3ff01000))
#define POOL_CPUS 4

static struct pmm *pool;
static void *pool_storage, *pool_map_storage;
static uint64_t pool_free; /* frames that are free, or kmalloc's map, once kmalloc is ready */

static void pool_drop(void)
{
    free(pool_storage);
    free(pool_map_storage);
    pool_storage = NULL;
    pool_map_storage = NULL;
}

/* A fresh pool of `nframes`, all free and full of rubbish, and a fresh kmalloc on it. */
static void pool_make(uint64_t nframes)
{
    static struct memmap map;
    const struct efi_memory_descriptor descs[] = {
        { .type = EFI_MT_CONVENTIONAL,
          .physical_start = POOL_BASE,
          .number_of_pages = nframes,
          .attribute = EFI_MA_WB },
        { .type = EFI_MT_CONVENTIONAL,
          .physical_start = POOL_ODD,
          .number_of_pages = 1,
          .attribute = EFI_MA_WB },
    };
    const struct memmap_raw raw = {
        .bytes = descs, .nbytes = sizeof(descs), .stride = sizeof(descs[0]), .version = 1
    };
    uint64_t nbytes = memmap_storage_bytes(MM_COUNTOF(descs));
    struct kmalloc_stats s;

    pool_drop();
    *port_held_ranks() = 0;
    pool_map_storage = aligned_alloc(4096, mm_align_up(nbytes, 4096));
    assert_int_equal(memmap_build(&map, &raw, pool_map_storage, nbytes), MM_OK);
    nbytes = mm_align_up(pmm_storage_bytes(&map, PMM_GENERAL, POOL_CPUS), 4096);
    pool_storage = aligned_alloc(4096, nbytes);
    assert_int_equal(pmm_init(&pool, &map, PMM_GENERAL, POOL_CPUS, pool_storage, nbytes), MM_OK);
    assert_int_equal(pmm_claim(pool, pfn_make(POOL_ODD >> 12), 1), MM_OK);
    assert_int_equal(pmm_free_frames(pool), nframes);
    memset(port_ptr(pa_make(POOL_BASE)), 0xee, nframes * 4096);
    kmalloc_init(pool);
    kmalloc_reclaim();
    kmalloc_get_stats(&s);
    pool_free = pmm_free_frames(pool) + s.map_bytes / 4096;
}

#endif
