/*
 * memmap.h - turns the memory map of UEFI firmware, whatever its bytes, into regions that can be
 * trusted.
 *
 * Model:    in goes the answer of GetMemoryMap(), verbatim. Out come regions that are sorted, do
 *           not overlap, have page-aligned bounds and one kind each, and a list of findings: what
 *           was wrong with the input and what was done about it. Where descriptors overlap, the
 *           more restrictive kind wins (enum memmap_kind). RAM that is or may become usable rounds
 *           inwards to whole pages, everything else outwards. Address ranges that no descriptor
 *           names are in no region.
 *
 * Locking:  none; one owner at a time. Readers may share a map that nobody changes.
 *
 * Memory:   nothing is allocated. The caller gives one block of storage, memmap_storage_bytes()
 *           says how large. No recursion.
 *
 * Source:   UEFI 2.10, 7.2.3 GetMemoryMap(), table 7.10 (memory types after ExitBootServices).
 */
#ifndef MM_MEMMAP_H
#define MM_MEMMAP_H

#include "mm/types.h"

/* EFI_MEMORY_TYPE, UEFI 2.10 table 7.9. */
enum efi_memory_type {
    EFI_MT_RESERVED = 0,
    EFI_MT_LOADER_CODE = 1,
    EFI_MT_LOADER_DATA = 2,
    EFI_MT_BOOT_CODE = 3,
    EFI_MT_BOOT_DATA = 4,
    EFI_MT_RUNTIME_CODE = 5,
    EFI_MT_RUNTIME_DATA = 6,
    EFI_MT_CONVENTIONAL = 7,
    EFI_MT_UNUSABLE = 8,
    EFI_MT_ACPI_RECLAIM = 9,
    EFI_MT_ACPI_NVS = 10,
    EFI_MT_MMIO = 11,
    EFI_MT_MMIO_PORT = 12,
    EFI_MT_PAL_CODE = 13,
    EFI_MT_PERSISTENT = 14,
    EFI_MT_UNACCEPTED = 15,
    EFI_MT_OEM_FIRST = 0x70000000,
    EFI_MT_OS_FIRST = INT32_MIN, /* 0x80000000 and up */
};

/*
 * Attribute bits, UEFI 2.10 7.2.3; HOT_PLUGGABLE came with 2.11. UC to UCE, WP, RP, XP, RO and
 * CPU_CRYPTO say what the memory can be made to be, not what it is; the others are facts.
 */
#define EFI_MA_UC            (UINT64_C(1) << 0)
#define EFI_MA_WC            (UINT64_C(1) << 1)
#define EFI_MA_WT            (UINT64_C(1) << 2)
#define EFI_MA_WB            (UINT64_C(1) << 3)
#define EFI_MA_UCE           (UINT64_C(1) << 4)
#define EFI_MA_WP            (UINT64_C(1) << 12)
#define EFI_MA_RP            (UINT64_C(1) << 13)
#define EFI_MA_XP            (UINT64_C(1) << 14)
#define EFI_MA_NV            (UINT64_C(1) << 15)
#define EFI_MA_MORE_RELIABLE (UINT64_C(1) << 16)
#define EFI_MA_RO            (UINT64_C(1) << 17)
#define EFI_MA_SP            (UINT64_C(1) << 18)
#define EFI_MA_CPU_CRYPTO    (UINT64_C(1) << 19)
#define EFI_MA_HOT_PLUGGABLE (UINT64_C(1) << 20)
#define EFI_MA_ISA_MASK      UINT64_C(0x0ffff00000000000) /* for one architecture, if ISA_VALID */
#define EFI_MA_ISA_VALID     (UINT64_C(1) << 62)
#define EFI_MA_RUNTIME       (UINT64_C(1) << 63)

/* What a region may be used for, least restrictive first: in an overlap the higher one wins. */
enum memmap_kind {
    MEMMAP_FREE,            /* ours now */
    MEMMAP_FREE_AFTER_EXIT, /* loader and boot-services memory: ours once nothing of firmware's is
                               in use */
    MEMMAP_FREE_AFTER_ACPI, /* ACPI tables: ours once they have been read */
    MEMMAP_SPECIAL,         /* RAM set aside for a purpose (EFI_MEMORY_SP): never by accident */
    MEMMAP_PERSISTENT,      /* keeps its contents without power */
    MEMMAP_KERNEL,          /* claimed by us: kernel image, hand-over, early tables */
    MEMMAP_RUNTIME_DATA,    /* runtime services read and write it */
    MEMMAP_RUNTIME_CODE,
    MEMMAP_ACPI_NVS,   /* firmware's across sleep states */
    MEMMAP_UNACCEPTED, /* must be accepted from the hypervisor before the first touch */
    MEMMAP_RESERVED,
    MEMMAP_MMIO, /* not RAM at all */
    MEMMAP_BAD,  /* RAM with errors */
    MEMMAP_KINDS
};

enum memmap_severity { MEMMAP_INFO, MEMMAP_WARN, MEMMAP_ERROR };

/* Descriptor index of a region or finding that stems from no descriptor. */
#define MEMMAP_NODESC UINT32_MAX

/* The answer of GetMemoryMap(), as it came. Borrowed for as long as the struct memmap lives. */
struct memmap_raw {
    const void *bytes;
    uint64_t nbytes;  /* MemoryMapSize; a last partial descriptor is a finding, and ignored */
    uint64_t stride;  /* DescriptorSize */
    uint32_t version; /* DescriptorVersion */
};

/* EFI_MEMORY_DESCRIPTOR version 1, UEFI 2.10 7.2.3; the stride between two may be larger. */
struct efi_memory_descriptor {
    uint32_t type;
    uint32_t pad;
    uint64_t physical_start;
    uint64_t virtual_start;
    uint64_t number_of_pages;
    uint64_t attribute;
};

struct memmap_region {
    uint64_t base; /* bytes, page aligned */
    uint64_t end;  /* bytes, page aligned, > base */
    uint64_t attr; /* of the descriptor; 0 for a claim */
    uint32_t kind; /* enum memmap_kind */
    uint32_t type; /* enum efi_memory_type of the descriptor; LOADER_DATA for a claim */
    uint32_t desc; /* index of the descriptor, or MEMMAP_NODESC for a claim */
};

/*
 * Something wrong with, or worth knowing about, the input. Rule, text and severity are those of a
 * line of the table in mm/maplint.h, which also says what comes of it and what to do.
 */
struct memmap_finding {
    const char *rule;    /* its short name, such as "M04" */
    const char *what;    /* what is wrong and what was done, one sentence without a full stop */
    const char *subject; /* which of several things it is about: "FACS", "stack"; mostly NULL */
    uint32_t severity;
    uint32_t desc;  /* the descriptor, or MEMMAP_NODESC for the map as a whole */
    uint32_t other; /* the other descriptor of an overlap, or MEMMAP_NODESC */
    uint64_t base;  /* where, bytes; 0, 0 for the map as a whole */
    uint64_t end;   /* >= base; UINT64_MAX also for the end of the address space */
};

struct memmap {
    struct memmap_raw raw;
    uint32_t ndescs; /* whole descriptors in `raw` */
    struct memmap_region *regions;
    uint32_t nregions;
    uint32_t max_regions;
    struct memmap_finding *findings;
    uint32_t nfindings;
    uint32_t max_findings;
    uint32_t lost_findings; /* found, but there was no room to keep them */
};

/* Regions that memmap_claim() and memmap_take() may add to a map before they return MM_ENOSPC. */
#define MEMMAP_SPARE_REGIONS 128

/*
 * Storage, in bytes, that memmap_build() needs for `ndescs` descriptors: room for 2n +
 * MEMMAP_SPARE_REGIONS regions, for findings, and for its working lists. 0 if the size would
 * overflow.
 */
uint64_t memmap_storage_bytes(uint64_t ndescs);

/*
 * Parse and normalise. `raw` may hold any bytes at all; of what it says only that `nbytes` are
 * readable is trusted. `storage` is `storage_bytes` long, 16-byte aligned, and belongs to the map
 * until it is dropped. A descriptor that makes no sense (no pages, runs past 2^64) is left out with
 * a finding; so is a map whose stride cannot be right (below 40 or no multiple of 8): it then has
 * no regions and one finding.
 * Errors: MM_EINVAL when `storage` is misaligned, MM_ENOSPC when it is too small; *m is then not
 * touched. Cost: O(n log n) in descriptors.
 */
MM_MUST_CHECK mm_err_t memmap_build(struct memmap *m, const struct memmap_raw *raw, void *storage,
                                    uint64_t storage_bytes);

/*
 * Lay a claim of `kind` over [base, base + nbytes), rounded outwards to pages: the more restrictive
 * kind wins everywhere in it. Address space in no region becomes a region of the claim's kind.
 * Errors: MM_EINVAL if nbytes is 0, if the range wraps or reaches the last page below 2^64, or if
 * there is no such kind; MM_ENOSPC if the map has no room for the new bounds. The map is then
 * unchanged. Cost: O(regions).
 */
MM_MUST_CHECK mm_err_t memmap_claim(struct memmap *m, uint64_t base, uint64_t nbytes,
                                    enum memmap_kind kind);

/*
 * Early allocation, before there is a frame allocator: carve `nbytes` (rounded up to pages), at a
 * multiple of `align` (a power of two, a page at least), out of MEMMAP_FREE below `limit` and at or
 * above 1 MiB, and make it MEMMAP_KERNEL. The highest fit is taken, so that low memory stays whole.
 * Contents are what they were.
 * Errors: MM_EINVAL, MM_ENOMEM, MM_ENOSPC as above; nothing has changed then. Cost: O(regions).
 */
MM_MUST_CHECK mm_err_t memmap_take(struct memmap *m, uint64_t nbytes, uint64_t align,
                                   uint64_t limit, pa_t *pa);

/* The region that holds byte `addr`, or NULL. O(log regions). */
const struct memmap_region *memmap_find(const struct memmap *m, uint64_t addr);

/* Descriptor `i` < ndescs, copied out of the raw bytes. O(1). */
struct efi_memory_descriptor memmap_desc(const struct memmap *m, uint32_t i);

/* Bytes in regions of `kind`. */
uint64_t memmap_total(const struct memmap *m, enum memmap_kind kind);

/* Is memory of this kind RAM that the direct map covers: free, free after something, or ours? */
bool memmap_kind_is_direct(enum memmap_kind kind);

/*
 * Does UEFI type `type` name RAM that is free or in use? Not so reserved address space, devices,
 * memory with errors and memory that has not been accepted yet.
 */
bool memmap_type_is_ram(uint32_t type);

/* One past the last byte of the highest region that is in the direct map; 0 if there is none. */
uint64_t memmap_direct_end(const struct memmap *m);

/* What memory of UEFI type `type` with attributes `attr` may be used for. */
enum memmap_kind memmap_kind_of(uint32_t type, uint64_t attr);

/* Names to print: "free after exit", "BootServicesData"; "unknown" for what is none. Never NULL. */
const char *memmap_kind_name(enum memmap_kind kind);
const char *memmap_type_name(uint32_t type);

/*
 * Attributes as words parted by '|', "UC|WC|WT|WB|RUNTIME"; unknown bits as one hexadecimal number.
 * Always ends in a NUL, cut off if need be. Returns the length without the NUL that the whole text
 * has. `nbytes` > 0.
 */
size_t memmap_attr_text(uint64_t attr, char *buf, size_t nbytes);

/* NULL if the invariants of memmap.c hold, else the first broken one as text. O(regions). */
const char *memmap_check(const struct memmap *m);

#endif
