/*
 * report.h - all that is known of a machine's memory map, as one versioned JSON document: written
 * by the stub and the kernel, read back by the stub and by platmap. docs/report.md explains the
 * document, docs/report.schema.json is its grammar.
 *
 * Model:    a struct report is plain data. Whoever collects fills it in, in any order, sets the
 *           flags of what is known, and has it written; what is not known is null in the document.
 *           The members, their order and their form stand in one table (mm/memmap/report_shape.c)
 *           from which both the writer and the reader work. The same report gives the same bytes,
 *           and what was read and is written again gives the bytes that were read, if this version
 *           of Plat wrote them.
 *
 * Locking:  none; the report and all it points to must not change during a call.
 *
 * Memory:   nothing is allocated, nothing recurses. A report points to texts, maps and arrays that
 *           belong to whoever filled it in: after report_read(), to the storage given to it, which
 *           is all that must be kept. report_read() takes about 9 KiB of stack.
 *
 * Texts:    NUL-terminated; NULL is "not known". They may come straight from firmware tables: bytes
 *           that are not UTF-8 are written as U+FFFD, in `char` arrays what is not printable ASCII
 *           as '?'.
 *
 * Sources:  UEFI 2.10 4.3 (revision), 4.6 (configuration tables), 7.2.3 (descriptors), 8.3 (time),
 *           12.9 (frame buffers); ACPI 6.5 5.2.6 (table headers); PCI Firmware Specification 3.3,
 *           4.1.2 (MCFG); SMBIOS 3.7 (DSP0134) 7.1 to 7.4, 7.18.
 */
#ifndef MM_REPORT_H
#define MM_REPORT_H

#include "mm/json.h"
#include "mm/mapfile.h"
#include "mm/maplint.h"
#include "mm/mapsum.h"
#include "mm/memmap.h"

/*
 * Version of the document. A reader takes every minor version of its own major one: what the minor
 * version adds are members, and those that it does not know are skipped. Whatever else changes is
 * a new major version, which older readers refuse.
 */
#define REPORT_MAJOR 1u
#define REPORT_MINOR 0u

/* What a report in the style JSON_LINE begins with: by this it is found in a log. */
#define REPORT_MARK "{\"format\":\"plat-report\","

/* ---- the maps -------------------------------------------------------------------------------- */

/* When, or from what, a map was taken. */
enum report_when {
    REPORT_START,  /* as the stub started */
    REPORT_LAST,   /* the last one read before the report's file was closed */
    REPORT_FINAL,  /* the one that ExitBootServices() accepted */
    REPORT_KERNEL, /* what the kernel made of it: the regions are those it works with */
    REPORT_FILE,   /* of a file in another format */
    REPORT_WHENS
};

#define REPORT_MAX_CAPTURES 3

/* Flags of report_capture.known */
#define REPORT_CAPTURE_REGIONS (UINT32_C(1) << 0) /* `regions` */
#define REPORT_CAPTURE_TOTALS  (UINT32_C(1) << 1) /* `totals` */

struct report_capture {
    uint32_t known;
    uint32_t when;         /* enum report_when; no two captures of a report have the same */
    bool is_verbatim;      /* `raw` is what firmware gave, not made from a text */
    bool is_whole;         /* nothing is missing for certain: struct mapfile.whole */
    bool has_virtual;      /* the virtual addresses are firmware's: struct mapfile.virt_known */
    uint64_t attr_known;   /* attribute bits that are firmware's: struct mapfile.attr_known */
    const char *origin;    /* in words: "GetMemoryMap()", "Linux log" */
    struct memmap_raw raw; /* any bytes, any stride; without descriptors if nbytes is 0 */
    const struct memmap_region *regions;
    uint32_t nregions;
    struct mapsum totals;
};

/* EFI_MEMORY_ATTRIBUTES_TABLE. */
struct report_attributes {
    uint64_t address;    /* of its header */
    uint32_t flags;      /* of version 2 */
    const char *problem; /* what mat_check() said; NULL if nothing */
    struct memmap_raw
        raw; /* the entries behind the header, with their stride; the table's version */
};

/* ---- the machine ----------------------------------------------------------------------------- */

struct report_time {
    uint32_t year; /* 1900 to 9999 */
    uint32_t month;
    uint32_t day;
    uint32_t hour;
    uint32_t minute;
    uint32_t second; /* to 60, as clocks with leap seconds have it */
    int32_t zone;    /* minutes east of UTC, -1440 to 1440; or REPORT_NO_ZONE */
};
#define REPORT_NO_ZONE INT32_MAX /* local time, nobody knows where */

struct report_firmware {
    const char *vendor;
    uint32_t revision;      /* the vendor's own */
    uint32_t uefi_revision; /* EFI_TABLE_HEADER.Revision: 2.7 is 0x00020046 */
};

/* An EFI_CONFIGURATION_TABLE. */
struct report_table {
    unsigned char guid[16]; /* as in memory: EFI_GUID, the first three fields little-endian */
    uint64_t address;
};

struct report_acpi_table {
    uint64_t address;
    uint32_t nbytes;
    uint32_t revision;
    uint32_t oem_revision;
    char signature[5];
    char oem_id[7];
    char oem_table_id[9];
};

/* Where the configuration space of some PCI buses is mapped: an allocation of the MCFG table. */
struct report_pci_config {
    uint64_t base;      /* of the first bus's: 1 MiB a bus follow */
    uint64_t nbytes;    /* of all of them */
    uint32_t segment;   /* PCI segment group */
    uint32_t first_bus; /* to last_bus, both included */
    uint32_t last_bus;
};

/* SMBIOS type 17. */
struct report_memory_device {
    const char *locator;
    const char *bank;
    const char *manufacturer;
    const char *part_number;
    const char *serial;   /* only in reports with identifiers */
    uint64_t nbytes;      /* 0 for an empty slot; REPORT_NO_SIZE if not known */
    uint32_t type;        /* 7.18.2 */
    uint32_t form_factor; /* 7.18.1 */
    uint32_t data_bits;   /* 0 if not known, as the four below */
    uint32_t total_bits;  /* with those for error correction */
    uint32_t ranks;
    uint32_t speed;            /* MT/s that it is made for */
    uint32_t configured_speed; /* MT/s that it runs at */
};
#define REPORT_NO_SIZE UINT64_MAX

struct report_smbios {
    uint64_t address; /* of the entry point */
    uint32_t major;
    uint32_t minor;
    const char *bios_vendor;
    const char *bios_version;
    const char *bios_date;
    const char *manufacturer;
    const char *product;
    const char *version;
    const char *family;
    const char *sku;
    const char *serial;     /* only in reports with identifiers, as the UUID */
    unsigned char uuid[16]; /* as in memory; zeros if there is none, SMBIOS 7.2.1 */
    const char *board_manufacturer;
    const char *board_product;
    const char *board_version;
    const char *board_serial; /* only in reports with identifiers */
    const struct report_memory_device *devices;
    uint32_t ndevices;
};

/* Bits of report_cpu.features: what matters to memory. */
enum report_cpu_feature {
    REPORT_CPU_PAT = 1 << 0,
    REPORT_CPU_MTRR = 1 << 1,
    REPORT_CPU_PGE = 1 << 2,
    REPORT_CPU_NX = 1 << 3,
    REPORT_CPU_PAGE_1G = 1 << 4,
    REPORT_CPU_LA57 = 1 << 5,
    REPORT_CPU_PCID = 1 << 6,
    REPORT_CPU_INVPCID = 1 << 7,
    REPORT_CPU_SMEP = 1 << 8,
    REPORT_CPU_SMAP = 1 << 9,
    REPORT_CPU_UMIP = 1 << 10,
    REPORT_CPU_PKU = 1 << 11,
    REPORT_CPU_CET_SS = 1 << 12,
    REPORT_CPU_ERMS = 1 << 13,
    REPORT_CPU_FSRM = 1 << 14,
    REPORT_CPU_CLFLUSHOPT = 1 << 15,
    REPORT_CPU_CLWB = 1 << 16,
    REPORT_CPU_SME = 1 << 17,
    REPORT_CPU_SEV = 1 << 18,
    REPORT_CPU_SEV_ES = 1 << 19,
    REPORT_CPU_SEV_SNP = 1 << 20,
    REPORT_CPU_TDX_GUEST = 1 << 21,
    REPORT_CPU_HYPERVISOR = 1 << 22,
};

struct report_cpu {
    const char *vendor; /* "GenuineIntel" */
    const char *brand;
    uint32_t family;
    uint32_t model;
    uint32_t stepping;
    uint32_t physical_bits; /* of addresses; 0 if not known */
    uint32_t linear_bits;
    uint32_t features; /* enum report_cpu_feature */
};

enum report_pixel_format {
    REPORT_PIXEL_RGBX,
    REPORT_PIXEL_BGRX,
    REPORT_PIXEL_MASK,     /* by bit masks, which are not kept */
    REPORT_PIXEL_BLT_ONLY, /* there is no linear frame buffer */
    REPORT_PIXEL_FORMATS
};

struct report_framebuffer {
    uint64_t base;
    uint64_t nbytes;
    uint32_t width;
    uint32_t height;
    uint32_t stride; /* pixels from one line to the next */
    uint32_t format; /* enum report_pixel_format */
};

/* Yes, no, or nobody knows. */
enum report_state { REPORT_UNKNOWN, REPORT_OFF, REPORT_ON };

enum report_tpm { REPORT_TPM_UNKNOWN, REPORT_TPM_NONE, REPORT_TPM_12, REPORT_TPM_20, REPORT_TPMS };

struct report_security {
    uint32_t secure_boot; /* enum report_state: the variable SecureBoot */
    uint32_t setup_mode;  /* enum report_state: the variable SetupMode */
    uint32_t tpm;         /* enum report_tpm */
};

/* ---- the report ------------------------------------------------------------------------------ */

/* Flags of report.known: what was looked at. A list that was looked at may be empty. */
#define REPORT_HAS_TIME         (UINT32_C(1) << 0)
#define REPORT_HAS_FIRMWARE     (UINT32_C(1) << 1)
#define REPORT_HAS_TABLES       (UINT32_C(1) << 2)
#define REPORT_HAS_ACPI         (UINT32_C(1) << 3)
#define REPORT_HAS_SMBIOS       (UINT32_C(1) << 4)
#define REPORT_HAS_CPU          (UINT32_C(1) << 5)
#define REPORT_HAS_FRAMEBUFFERS (UINT32_C(1) << 6)
#define REPORT_HAS_ATTRIBUTES   (UINT32_C(1) << 7)
#define REPORT_HAS_FINDINGS     (UINT32_C(1) << 8)
#define REPORT_HAS_PCI_CONFIG   (UINT32_C(1) << 9)

struct report {
    uint32_t known;
    uint32_t major; /* report_write() writes its own; after report_read(), the document's */
    uint32_t minor;
    const char *plat;      /* version of the Plat that filled it in */
    bool with_identifiers; /* serial numbers and UUIDs are written; else they are left out */
    uint32_t arch;         /* enum mapfile_arch */
    struct report_time time;
    struct report_firmware firmware;
    struct report_security security;
    struct report_cpu cpu;
    struct report_smbios smbios;
    const struct report_framebuffer *framebuffers;
    uint32_t nframebuffers;
    const struct report_table *tables;
    uint32_t ntables;
    const struct report_acpi_table *acpi;
    uint32_t nacpi;
    const struct report_pci_config *pci_config;
    uint32_t npci_config;
    struct report_attributes attributes;
    uint32_t ncaptures;
    struct report_capture captures[REPORT_MAX_CAPTURES];
    /* The findings are about the capture taken at `findings_when`, and name its descriptors. */
    uint32_t findings_when; /* enum report_when; REPORT_WHENS if there is no such capture */
    uint32_t nfindings;
    uint32_t lost_findings; /* found, but not kept */
    const struct memmap_finding *findings;
};

/* The capture taken at `when`, or NULL. */
const struct report_capture *report_capture_at(const struct report *r, enum report_when when);

/*
 * The capture of a map that GetMemoryMap() gave at `when`, of which `m` was made: verbatim, with
 * its regions and totals. Points to what `m` does. O(regions).
 */
struct report_capture report_capture_of(const struct memmap *m, enum report_when when);

/* Make the findings of `lint`, over the capture taken at `when`, those of `r`. */
void report_set_findings(struct report *r, enum report_when when,
                         const struct maplint_result *lint);

/*
 * Write `r` as a JSON document, ended by a line feed. What firmware said may be anything: a time
 * that is none is written as null, all else as it is. What this header enumerates must be in its
 * range. Cost: O(what is written).
 */
void report_write(const struct report *r, const struct mm_sink *to, enum json_style style);

/*
 * The report for a person to read: lines of printable ASCII, of at most 80 characters but for rows
 * of tables with large addresses or many attributes. Every other character, of the texts of
 * firmware, is a '?'. As with the document, the same report gives the same bytes, and so does one
 * that was written and read back. Takes about 2 KiB of stack. Cost: O(what is written).
 */
void report_put_text(const struct mm_sink *to, const struct report *r);

/*
 * Is this the beginning of a report, of whatever version? For telling formats apart. O(1) for what
 * Plat wrote; where other programs have put members before `format`, O(those).
 */
bool report_recognise(const char *text, size_t nbytes);

/* Why a document was refused. */
struct report_error {
    const char *what;   /* a phrase */
    const char *member; /* the member it is about; NULL if it is about none */
    uint64_t at;        /* offset in bytes */
    uint64_t line;      /* from 1 */
    uint64_t column;    /* in bytes, from 1 */
};

/* Storage, in bytes, that report_read() needs at most for a document of `nbytes`; 0 on overflow. */
uint64_t report_storage_bytes(uint64_t nbytes);

/*
 * Read a document, any bytes at all. `storage` is `storage_bytes` long and 8-byte aligned; the text
 * is not needed any more afterwards. What the document says twice (the bytes of a descriptor and
 * its fields) must agree; what only explains (names of types, attributes, GUIDs) is not read.
 * Errors, with *err filled in: MM_EINVAL if the document is damaged, incomplete, or of another
 * kind; MM_ELIMIT if its major version is newer; MM_ENOSPC if the storage is too small. *r is then
 * not touched. Cost: O(nbytes).
 */
MM_MUST_CHECK mm_err_t report_read(struct report *r, const char *text, size_t nbytes, void *storage,
                                   uint64_t storage_bytes, struct report_error *err);

/* "line 3, column 17 (byte 240): pages: no whole number", without a line feed. */
void report_put_error(const struct mm_sink *to, const struct report_error *err);

/* ---- lint ------------------------------------------------------------------------------------ */

/*
 * What the report says around the map of its capture `c`, for maplint_run(). `ranges` has room for
 * report_nranges() + 1; *facts points to it, and to what the report points to.
 */
uint64_t report_nranges(const struct report *r);
void report_facts(struct maplint_facts *facts, const struct report *r,
                  const struct report_capture *c, struct maplint_range *ranges);

/* ---- tables of a map ------------------------------------------------------------------------- */

/*
 * The whole descriptors of `raw`, one a line: as CSV (RFC 4180, but lines end in a line feed alone)
 * with a line of names first, or as JSON Lines, each line as an element of `descriptors` in a
 * report. docs/report.md explains the columns; `end` is empty, or null, where it does not fit into
 * 64 bits.
 */
void report_put_csv(const struct mm_sink *to, const struct memmap_raw *raw);
void report_put_jsonl(const struct mm_sink *to, const struct memmap_raw *raw);

/* ---- names ----------------------------------------------------------------------------------- */

/* What a configuration table is called: "ACPI 2.0"; NULL if it is not known. */
const char *report_guid_name(const unsigned char guid[16]);

/* "start", "final"; "unknown" for what is none. */
const char *report_when_name(enum report_when when);

#endif
