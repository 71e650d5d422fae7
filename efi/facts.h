/*
 * facts.h - what the stub finds out about the machine for the report and for the lint: firmware's
 * tables, ACPI, SMBIOS, the processor, screens, security, the time.
 *
 * Model:    firmware's tables are read where they lie, and nothing in them is believed: an address
 * is followed only into memory that the map says is there, every length is checked, what is damaged
 * is left out. What only the machine itself can answer is asked through struct facts_source, so
 * that a host test can play it. Finding out changes nothing: no driver is connected, no variable
 * written, no device spoken to.
 *
 * Limits:   of SMBIOS the first MiB is looked at, of ACPI 512 tables of at most 16 MiB each and
 * 64 MiB together. What is beyond is as if it was not there.
 *
 * Memory:   the texts and lists of *f are copies in storage from the pool. All of them together
 * have FACTS_STORAGE bytes, the Memory Attributes Table a block of its own.
 *
 * Sources:  UEFI 2.10 4.2 to 4.6, 8.2, 8.3, 12.9; TCG EFI Protocol Specification, family 2.0,
 *           rev. 13, 6.4; Intel SDM vol. 2A, CPUID; AMD64 APM vol. 3, appendix E; Intel TDX module,
 *           CPUID leaf 21h.
 */
#ifndef EFI_FACTS_H
#define EFI_FACTS_H

#include "firmware.h"
#include "mm/maplint.h"
#include "mm/memmap.h"
#include "mm/report.h"
#include "pool.h"
#include "screen.h"

/* Of each list this many are kept, those that come first; real machines have a tenth. */
#define FACTS_MAX_TABLES  256u
#define FACTS_MAX_SCREENS 16u
#define FACTS_MAX_ECAM    64u
#define FACTS_MAX_TEXT    255u /* bytes of one text */
#define FACTS_STORAGE     UINT64_C(0x40000)

/* EFI_TIME, as firmware gives it. UEFI 2.10 8.3. */
struct facts_time {
    uint16_t year;
    uint8_t month, day, hour, minute, second;
    int16_t zone; /* minutes that UTC is ahead of local time, or FACTS_NO_ZONE */
    uint8_t daylight;
};
#define FACTS_NO_ZONE     2047
#define FACTS_IN_DAYLIGHT 2u /* of `daylight`: an hour was added */

/* What only the machine can answer; uefi_facts.c asks UEFI and the processor. */
struct facts_source {
    const char *plat; /* version of this Plat */

    /* r: EAX, EBX, ECX, EDX. */
    void (*cpuid)(uint32_t leaf, uint32_t subleaf, uint32_t r[4]);

    fw_status_t (*time)(struct facts_time *t);

    /* Configuration table `i`; false: there are only i of them. */
    bool (*table)(uint32_t i, struct report_table *t);

    /*
     * The modes that the graphics outputs are in now, the console's first; returns how many there
     * are, which may be more than the `max` that were filled in. One screen may be there twice, as
     * the output itself and as part of a console.
     */
    uint32_t (*screens)(struct screen_mode *to, uint32_t max);

    /* A global variable (UEFI 2.10 3.3) of one byte. */
    fw_status_t (*variable)(const uint16_t *name, uint8_t *value);

    uint32_t (*tpm)(void); /* enum report_tpm */
};

struct facts {
    struct report report;      /* all but the captures and the findings */
    struct maplint_facts lint; /* all but `stack`, `map_buffer`, `handed_over` and `key_changed` */
};

/*
 * Fill *f. `map` is the normalised map by which addresses are judged; no claims. `identifiers`:
 * the report is to have serial numbers and UUIDs. What cannot be found out, or has no room, is not
 * in *f; nothing here fails. `machine->facts` may be NULL: only what `machine` has is then known.
 */
void facts_gather(const struct machine *machine, const struct memmap *map, bool identifiers,
                  struct pool *pool, struct facts *f);

/*
 * The real source, for machine.facts: uefi_facts.c. `system_table` is the EFI_SYSTEM_TABLE;
 * borrowed. Only before the exit.
 */
const struct facts_source *facts_uefi(void *system_table);

#endif
