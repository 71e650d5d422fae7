/*
 * boot.h - the hand-over from the stub (efi/) to the kernel (kernel/).
 *
 * At entry to the kernel:
 *
 *   - RDI holds the *virtual* address of a struct plat_boot; every address inside it is physical
 *     unless its name ends in `_va`.
 *   - Boot services are gone, interrupts are off, and CR3 holds tables that the stub made. They map
 *     these and nothing else: the kernel image at `image_va`, with the rights of its segments (so
 *     no page is writable and executable); the boot arena [arena, arena + arena_bytes) at
 *     `direct_va` + physical address, read-write, no-execute; and at their physical addresses the
 *     one or two pages of the stub's code from which it jumped, and the page of the arena with the
 *     code that changed to five levels, if it did.
 *   - Paging has four or five levels, as `levels` says. EFER.NXE is on if the processor has it.
 *     CR4.PGE and PCIDE are off.
 *   - The stack is unspecified: the kernel brings its own.
 *
 * All the memory of the hand-over lies in the boot arena, LoaderData in the firmware's map.
 * `ranges` lists what is in it, and the stub itself, and what becomes of each.
 */
#ifndef PLAT_BOOT_H
#define PLAT_BOOT_H

#include <stdint.h>

#define PLAT_BOOT_MAGIC   UINT64_C(0x544f4f4254414c50) /* "PLATBOOT" */
#define PLAT_BOOT_VERSION 1u

/*
 * Address space. The bases of the windows; each may slide upwards by a random amount within its
 * window. With five levels the upper half is 2^56 bytes and the windows grow with it; the image
 * window stays.
 */
#define PLAT_DIRECT_BASE4  UINT64_C(0xffff800000000000) /* direct map, 64 TiB */
#define PLAT_FRAMES_BASE4  UINT64_C(0xffffc00000000000) /* frame table, 16 TiB */
#define PLAT_VMALLOC_BASE4 UINT64_C(0xffffd00000000000) /* vmalloc, MMIO, stacks, 16 TiB */
#define PLAT_VMALLOC_END4  UINT64_C(0xffffe00000000000)
#define PLAT_DIRECT_BASE5  UINT64_C(0xff00000000000000) /* direct map, 32 PiB */
#define PLAT_FRAMES_BASE5  UINT64_C(0xff80000000000000) /* frame table, 8 PiB */
#define PLAT_VMALLOC_BASE5 UINT64_C(0xffa0000000000000) /* vmalloc, MMIO, stacks, 8 PiB */
#define PLAT_VMALLOC_END5  UINT64_C(0xffc0000000000000)
/* The kernel image slides within 1 GiB, in steps of 2 MiB. */
#define PLAT_IMAGE_BASE  UINT64_C(0xffffffff80000000)
#define PLAT_IMAGE_SLIDE UINT64_C(0x40000000)
#define PLAT_IMAGE_ALIGN UINT64_C(0x200000)
/* The direct map slides in steps of 1 GiB, so that 1 GiB pages fit. */
#define PLAT_DIRECT_ALIGN UINT64_C(0x40000000)

/* What a part of memory holds at entry, and so what the kernel may do with it. */
enum plat_range_kind {
    PLAT_RANGE_KERNEL = 1, /* the kernel image: keep */
    PLAT_RANGE_BOOT = 2,   /* this struct, option text, memory map, scratch: may be reclaimed when
                              copied or done with */
    PLAT_RANGE_TABLES = 3, /* the stub's page tables: reclaim once CR3 holds others */
    PLAT_RANGE_STUB = 4,   /* the stub's PE image: reclaim once its identity mapping is gone */
};

struct plat_range {
    uint64_t base;
    uint64_t nbytes;
    uint32_t kind;
    uint32_t zero;
};

#define PLAT_MAX_RANGES 8

enum plat_pixel_format { PLAT_PIXEL_RGBX = 0, PLAT_PIXEL_BGRX = 1 };

/* A linear frame buffer of 32-bit pixels; `base` == 0: there is none. UEFI 2.10, 12.9. */
struct plat_framebuffer {
    uint64_t base;
    uint64_t nbytes;
    uint32_t width;
    uint32_t height;
    uint32_t stride; /* pixels from one line to the next, >= width */
    uint32_t format; /* enum plat_pixel_format */
};

/* Flags of plat_boot.flags */
#define PLAT_BOOT_SECURE_BOOT (UINT32_C(1) << 0) /* the SecureBoot variable reads 1 */
/* `entropy` is from EFI_RNG_PROTOCOL or RDRAND, not from the clock. */
#define PLAT_BOOT_ENTROPY (UINT32_C(1) << 1)
#define PLAT_BOOT_PINNED  (UINT32_C(1) << 2) /* nokaslr: nothing slides */
/* GetMemoryMap wrote past the end of a buffer it was given, into a guard area. */
#define PLAT_BOOT_MAP_OVERRUN (UINT32_C(1) << 3)

struct plat_boot {
    uint64_t magic;
    uint32_t version;
    uint32_t nbytes; /* of this struct; a reader ignores what lies beyond the size that it knows */

    uint32_t levels; /* of paging: 4 or 5 */
    uint32_t flags;

    uint64_t image; /* the kernel's ELF image in memory */
    uint64_t image_bytes;
    uint64_t image_va;  /* where it is linked for and mapped */
    uint64_t direct_va; /* virtual minus physical address in the direct map */

    uint64_t arena; /* the boot arena, 2 MiB aligned if firmware had such a place */
    uint64_t arena_bytes;
    uint64_t scratch; /* free for the kernel from the start: normalised map and first page tables */
    uint64_t scratch_bytes;

    uint64_t map; /* the map whose key ExitBootServices accepted, verbatim */
    uint64_t map_bytes;
    uint64_t map_stride;
    uint32_t map_version;
    uint32_t exit_tries; /* calls of ExitBootServices, the good one included */
    uint32_t map_grew;   /* times GetMemoryMap said BUFFER_TOO_SMALL after the first size query */
    uint32_t nranges;
    struct plat_range ranges[PLAT_MAX_RANGES];

    uint64_t options;       /* NUL-terminated text: plat.conf, then LoadOptions */
    uint64_t options_bytes; /* with the NUL */

    uint64_t system_table; /* EFI_SYSTEM_TABLE; after exit only its runtime parts mean anything */
    uint64_t rsdp;         /* ACPI 2.0 root pointer, else 1.0's, else 0 */
    uint64_t smbios;       /* 64-bit entry point, else the 32-bit one, else 0 */
    uint64_t memory_attributes; /* EFI_MEMORY_ATTRIBUTES_TABLE, or 0 */
    uint32_t firmware_revision;
    uint32_t uefi_revision;
    char firmware_vendor[48]; /* ASCII, NUL-terminated, others as '?' */

    struct plat_framebuffer fb;
    uint8_t entropy[32];

    uint64_t tsc_start; /* time-stamp counter as the stub began */
    uint64_t tsc_exit;  /* as ExitBootServices returned */

    /* The map as the stub found it when it started, verbatim. */
    uint64_t start_map;
    uint64_t start_map_bytes;
    uint64_t start_map_stride;
    uint32_t start_map_version;

    /* The report on the machine (mm/report.h), without maps and findings; 0 bytes: there is none.
     */
    uint32_t report_bytes;
    uint64_t report;
};

#endif
