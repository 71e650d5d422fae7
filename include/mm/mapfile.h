/*
 * mapfile.h - reads a memory map out of whatever people save one in.
 *
 * Model:    bytes of unknown format in; descriptors, in the order of the input, and what the format
 *           can and cannot tell, out. The format is recognised. Kernel logs may have any other
 *           lines around the map, time stamps and syslog prefixes before each line; shell output
 *           may be UTF-16 with a byte order mark, UTF-8, or a terminal's recording with escape
 *           sequences. What firmware got wrong (overlaps, empty or misaligned descriptors) is
 *           passed on as it is: that is for memmap_build() and the lint to judge. What happened to
 *           the text afterwards is an error: lines missing, cut in half, or at odds with another.
 *
 * Locking:  none; no state outlives a call. Any context.
 *
 * Memory:   nothing is allocated; input and arrays are the caller's and borrowed for the call.
 *
 * Sources:  UEFI 2.10, 7.2.3 (descriptors); UEFI Shell 2.2, 5.3 "memmap" (-sfo columns); EDK II,
 *           ShellPkg MemMap.c; Linux, drivers/firmware/efi/efi.c and arch/x86/platform/efi/efi.c
 *           (efi_print_memmap, efi_md_typeattr_format), arch/x86/kernel/e820.c, and
 *           Documentation/ABI/testing/sysfs-firmware-memmap and -efi-runtime-map; FreeBSD,
 *           stand/efi/loader/main.c (memmap) and sys/kern/subr_efi_map.c.
 */
#ifndef MM_MAPFILE_H
#define MM_MAPFILE_H

#include "mm/memmap.h"

/*
 * Ranked: of several in one input the first one is read, since it tells more about the same
 * machine.
 */
enum mapfile_format {
    MAPFILE_NONE,
    MAPFILE_REPORT,      /* a report of ours (JSON): recognised here, read by report.h */
    MAPFILE_SHELL,       /* EFI shell: memmap */
    MAPFILE_SFO,         /* EFI shell: memmap -sfo */
    MAPFILE_FREEBSD,     /* FreeBSD: table of loader or kernel; types above 14 have no name there */
    MAPFILE_LINUX_EFI,   /* Linux log: "efi: memNN: ..." or "efi:   0x...-0x... [...]" */
    MAPFILE_SYSFS_MAP,   /* Linux: /sys/firmware/memmap, by `grep .` or `tail -n +1`; as e820 */
    MAPFILE_E820,        /* Linux log: "BIOS-e820: ..." */
    MAPFILE_RUNTIME_MAP, /* Linux: /sys/firmware/efi/runtime-map; only what has RUNTIME */
    MAPFILE_RAW,         /* the bytes of GetMemoryMap() */
    MAPFILE_FORMATS
};

enum mapfile_arch {
    MAPFILE_ARCH_UNKNOWN,
    MAPFILE_ARCH_X86,
    MAPFILE_ARCH_ARM64,
    MAPFILE_ARCH_RISCV64,
    MAPFILE_ARCH_LOONGARCH64,
    MAPFILE_ARCHS
};

#define MAPFILE_MESSAGE_BYTES 160

struct mapfile {
    enum mapfile_format format;
    enum mapfile_arch arch; /* if the text tells */
    uint32_t ndescs;        /* of the map asked for */
    uint32_t nmaps;         /* maps of this format in the input, such as a log of several boots */
    uint32_t also;          /* other formats seen: bit 1 << enum mapfile_format */

    /*
     * Attribute bits that the format can show; those outside are 0 in the descriptors and mean
     * nothing. 0 for e820, which knows no attributes; all ones for most.
     */
    uint64_t attr_known;
    bool virt_known; /* virtual_start is the input's, else 0 */

    /*
     * True if the input shows that it holds the whole map: numbers or a heading at its beginning,
     * and a summary that agrees or some other line behind it. False if lines may be missing at an
     * end without a trace.
     */
    bool whole;
    uint32_t nrounded; /* bounds moved to whole pages (e820: RAM inwards, the rest outwards) */
    uint64_t stride;   /* MAPFILE_RAW: bytes from one descriptor to the next; else 0 */

    /* MAPFILE_REPORT: where it begins; what is around it is a log's. Nothing else is filled in. */
    uint64_t report_at;

    /* On error: where (0: the input as a whole) and what, a sentence without a full stop. */
    uint32_t line;
    char message[MAPFILE_MESSAGE_BYTES];
};

/*
 * Read map number `which` (from 0; nearly always 0) of the input into descs[max].
 * `lines`, of max entries or NULL, gets the line of each descriptor, counted from 1; 0 in a raw
 * dump. `max` may be 0 and `descs` NULL, to ask for the size.
 *
 * e820 and /sys/firmware/memmap have bytes for bounds and types of their own: usable RAM becomes
 * Conventional and shrinks to whole pages (if none is left there is no descriptor), ACPI data
 * becomes ACPIReclaim, soft reserved becomes Conventional with SP, types without a counterpart
 * become Reserved.
 *
 * Errors: MM_ENOENT, there is no memory map in the input, or no map `which`; MM_EINVAL, there is
 *         one, but it is damaged: f->line and f->message say where and how; MM_ENOSPC, `max` is too
 *         small: f->ndescs are enough. *f is always filled in as far as known; the
 *         arrays' contents are to be used on MM_OK alone.
 * Cost:   O(nbytes); about 2 KiB of stack.
 */
MM_MUST_CHECK mm_err_t mapfile_read(struct mapfile *f, const void *bytes, uint64_t nbytes,
                                    uint32_t which, struct efi_memory_descriptor *descs,
                                    uint32_t *lines, uint32_t max);

/* Names to print: "EFI shell memmap", "arm64"; "unknown" for what is none. Never NULL. */
const char *mapfile_format_name(enum mapfile_format format);
const char *mapfile_arch_name(enum mapfile_arch arch);

#endif
