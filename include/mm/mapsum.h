/*
 * mapsum.h - a memory map in a few numbers: how much there is, of what, and how much of it is
 * usable when; and physical memory as a bar of any width.
 *
 * Model:    sums are over the regions of a normalised map, so each byte counts once, as what it was
 *           found to be. RAM is what has a UEFI type of RAM: 1 to 7, 9, 10 and 15, and what we have
 *           claimed of it. Reserved memory is not counted as RAM, because the map does not say
 *           whether there is any behind it; nor is persistent memory, nor RAM with errors.
 *
 * Locking:  none; the map must not change during a call.
 *
 * Memory:   nothing is allocated; a summary holds no pointers, so the map may be dropped.
 *
 * Source:   UEFI 2.10, 7.2.3, table 7.9 (the types) and 7.10 (their use after ExitBootServices).
 */
#ifndef MM_MAPSUM_H
#define MM_MAPSUM_H

#include "mm/memmap.h"
#include "mm/sink.h"

/* Rows of the table by type: the types of UEFI under their own numbers, then the others together.
 */
enum mapsum_row {
    MAPSUM_UNDEFINED = EFI_MT_UNACCEPTED + 1, /* types that UEFI does not define */
    MAPSUM_OEM,                               /* 0x70000000 to 0x7fffffff */
    MAPSUM_OS,                                /* 0x80000000 and up */
    MAPSUM_CLAIMED,                           /* claims, which have no type of firmware's */
    MAPSUM_ROWS
};

/* When memory can be used: each stage includes those before it. */
enum mapsum_when {
    MAPSUM_NOW = MEMMAP_FREE,
    MAPSUM_AFTER_EXIT = MEMMAP_FREE_AFTER_EXIT,
    MAPSUM_AFTER_ACPI = MEMMAP_FREE_AFTER_ACPI,
    MAPSUM_WHENS
};

struct mapsum_usable {
    uint64_t nbytes;
    uint64_t largest_base; /* the largest run without a gap, the lowest of equals; bytes */
    uint64_t largest_bytes;
};

struct mapsum {
    uint64_t type_bytes[MAPSUM_ROWS];
    uint64_t kind_bytes[MEMMAP_KINDS];
    struct mapsum_usable usable[MAPSUM_WHENS];
    uint64_t ram_bytes;     /* = ram_low_bytes + ram_high_bytes */
    uint64_t ram_low_bytes; /* below 4 GiB */
    uint64_t ram_high_bytes;
    uint64_t ram_end;            /* one past the highest byte of RAM; 0 if there is none */
    uint64_t runtime_bytes;      /* kept for good by runtime services: their code and data */
    uint64_t runtime_mmio_bytes; /* MMIO that must be mapped for them */
    uint32_t ndescs;
    uint32_t nregions;
};

/* Sum up `m`. O(regions). */
void mapsum_make(struct mapsum *s, const struct memmap *m);

/* Is the region RAM as said above? */
bool mapsum_is_ram(const struct memmap_region *r);

/* The row of a region, and its name: "RuntimeServicesData", "OEM-defined". */
enum mapsum_row mapsum_row_of(const struct memmap_region *r);
const char *mapsum_row_name(enum mapsum_row row);

/* The summary as lines of text, at most 79 columns wide. */
void mapsum_put(const struct mm_sink *to, const struct mapsum *s);

/*
 * Physical memory from its bottom to its top in equal parts, one a column. Gaps, MMIO, and whatever
 * lies above the highest RAM take no part, so that a machine with memory at 44 TiB still shows its
 * memory and not its holes.
 */
struct mapsum_column {
    uint64_t base;      /* where its part begins, bytes */
    uint32_t kind;      /* enum memmap_kind of the most of it; of equals, the most restrictive */
    uint32_t strictest; /* the most restrictive kind in it: what `kind` alone would hide */
};

#define MAPSUM_MAX_COLUMNS 4096

/*
 * Fill `columns` with `n` columns, at most MAPSUM_MAX_COLUMNS. Returns the bytes of memory that the
 * bar stands for; if that is 0, nothing was written, and there is nothing to show. O(regions + n *
 * MEMMAP_KINDS).
 */
uint64_t mapsum_bar(const struct memmap *m, struct mapsum_column *columns, uint32_t n);

#endif
