/*
 * stub_facts.h - plays the machine for what the stub finds out about it (efi/facts.h): firmware's
 * tables by hand, in the fake RAM of stub_fw.h, and answers to all that is asked.
 *
 * What a processor is asked for and does not have is a violation (stub_fw.h), answered with ones.
 */
#ifndef STUB_FACTS_H
#define STUB_FACTS_H

#include "facts.h"
#include "stub_fw.h"

/* Where things are; the first 64 KiB are ACPIReclaim, as are the last 64 KiB of this MiB. */
#define STUB_RSDP    (STUB_RAM + 0x0010)
#define STUB_XSDT    (STUB_RAM + 0x0100)
#define STUB_RSDT    (STUB_RAM + 0x1000)
#define STUB_FADT    (STUB_RAM + 0x2000)
#define STUB_DSDT    (STUB_RAM + 0x3000)
#define STUB_FACS    (STUB_RAM + 0x4000)
#define STUB_MCFG    (STUB_RAM + 0x5000)
#define STUB_APIC    (STUB_RAM + 0x6001) /* no address is aligned */
#define STUB_SMBIOS3 (STUB_RAM + 0x7000)
#define STUB_SMBIOS  (STUB_RAM + 0x7103)
#define STUB_DMI     (STUB_RAM + 0x8000) /* the structures */
#define STUB_MAT     (STUB_RAM + 0xd008)
#define STUB_VENDOR  (STUB_RAM + 0xe000)

/* Four pages each that are no memory to read; to touch one of them ends the test. */
#define STUB_DEVICE     (STUB_RAM + 0x100000)
#define STUB_BAD        (STUB_RAM + 0x108000)
#define STUB_UNACCEPTED (STUB_RAM + 0x110000)
/* Reserved, and at once before the devices: what begins here may run into them. */
#define STUB_BEFORE_DEVICE (STUB_DEVICE - 0x1000)
/* Runtime services: code, 16 pages, and 16 of data behind it. */
#define STUB_RUNTIME (STUB_RAM + 0x200000)

/* The BIOS area of a PC, in no region of the map. */
#define STUB_BIOS       UINT64_C(0xe0000)
#define STUB_BIOS_BYTES UINT64_C(0x20000)

struct stub_cpu_leaf {
    uint32_t leaf;
    uint32_t r[4];
};

struct stub_facts {
    const struct stub_cpu_leaf *cpu; /* ends with four zeros behind a leaf 0 */
    struct facts_time time;
    fw_status_t time_error;
    struct report_table tables[400];
    uint32_t ntables;
    struct screen_mode screens[20];
    uint32_t nscreens; /* may be more than there are */
    int secure_boot;   /* below 0: there is no such variable */
    int setup_mode;
    uint32_t tpm;
};

extern struct stub_facts stub_facts;
extern const struct facts_source stub_facts_source;
extern struct machine stub_machine;

/* A machine where all can be found out. After stub_fw_reset(). */
void stub_facts_reset(void);

/* ---- to build tables with -------------------------------------------------------------------- */

/* A little-endian number at `pa`. */
void stub_put(uint64_t pa, uint64_t v, unsigned nbytes);

/* Make the bytes at `pa` add up to 0 by the one at `at`. */
void stub_fix_sum(uint64_t pa, uint64_t nbytes, uint64_t at);

/* A whole ACPI table of `nbytes` with header and checksum; what is behind the header is zero. */
void stub_put_table(uint64_t pa, const char *signature, uint32_t nbytes);
void stub_fix_table(uint64_t pa); /* its checksum, after a change */

/* The root pointer of revision 2, to an XSDT and an RSDT that name `n` tables. */
void stub_put_rsdp(void);
void stub_put_root(const uint64_t *tables, uint32_t n);

/*
 * SMBIOS: a structure behind the ones before, with its texts, each of which ends in a NUL:
 * "first\0second\0"; "\0" for none. `bytes` is the formatted part, whose length is in it.
 */
void stub_put_structure(const void *bytes, const char *texts);
void stub_begin_structures(uint64_t at);
uint64_t stub_structures_end(void);

/* Entry points to the structures as they are now, from where they were begun. */
void stub_put_smbios3(void);
void stub_put_smbios2(uint32_t count);

#endif
