/*
 * pool.h - what a frame pool is made of; for pmm.c and its tests only.
 *
 * The storage of a pool, in this order: struct pmm, its ranges, its sections, and from the next
 * page boundary on a book for each section. pmm.c explains how they work together.
 */
#ifndef MM_PMM_POOL_H
#define MM_PMM_POOL_H

#include "mm/pmm.h"

#define SECTION_SHIFT  18 /* 1 GiB, the largest block: so none crosses a section border */
#define SECTION_FRAMES (UINT64_C(1) << SECTION_SHIFT)
#define SECTION_WORDS  (SECTION_FRAMES / 64)
#define CHUNK_SHIFT    9 /* 2 MiB */
#define CHUNK_FRAMES   (UINT64_C(1) << CHUNK_SHIFT)
#define SECTION_CHUNKS (SECTION_FRAMES / CHUNK_FRAMES)
#define NORDERS        (PMM_MAX_ORDER + 1)

_Static_assert(SECTION_SHIFT == PMM_MAX_ORDER,
               "a section holds exactly one block of the top order");

/* Frames [base, end) that the pool covers, as they were at pmm_init(). */
struct range {
    uint64_t base;
    uint64_t end;
    bool free; /* else USED */
};

/* Locking: (l) pool lock   (const) set by pmm_init */
struct section {
    uint64_t number; /* (const) frame number >> SECTION_SHIFT */
    uint32_t nfree;  /* (l) free frames */
    bool opened;     /* (l) its book is written; read without the lock by pmm_is_free() */
    /*
     * (l) By order: pmm_get() finds no block of that order in any chunk below this one.
     * SECTION_CHUNKS: in none.
     */
    uint16_t hint[NORDERS];
};

/* State of each frame of an opened section: two bits, one in each plane, and free frames counted by
 * chunk. All (l); the planes are read without the lock by pmm_is_free(). */
struct book {
    uint64_t mark[SECTION_WORDS];
    uint64_t given[SECTION_WORDS];
    uint16_t nfree[SECTION_CHUNKS];
};

enum zone { ZONE_BELOW_4G, ZONE_ABOVE_4G, ZONES };

struct pmm {
    struct mm_lock lock;
    struct range *ranges; /* (const) by address */
    uint64_t nranges;
    struct section *sections; /* by number; the array is (const) */
    uint64_t nsections;
    struct book *books; /* one for each section; those of unopened ones are not written */
    uint64_t zone_begin[ZONES + 1]; /* (const) the sections of zone z: [zone_begin[z], [z + 1]) */
    uint64_t start[ZONES][NORDERS]; /* (l) the zone's sections before this one have no such block */
    uint64_t total;                 /* (const) frames covered */
    uint64_t nfree;                 /* (l) read without the lock by pmm_free_frames() */
    uint64_t nopened;               /* (l) sections */
    uint64_t fixed_bytes;           /* (const) all but the books */
};

#endif
