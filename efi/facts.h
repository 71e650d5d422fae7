/*
 * facts.h - what the stub finds out about the machine for the report and for the lint: firmware's
 * tables, ACPI, SMBIOS, the processor, screens, security, the time.
 *
 * Model:    firmware's tables are read where they lie, and nothing in them is believed: an address
 * is followed only into memory that the map says is there, every length is checked, what is damaged
 * is left out. The texts and lists of *f lie in storage from the pool.
 */
#ifndef EFI_FACTS_H
#define EFI_FACTS_H

#include "firmware.h"
#include "mm/maplint.h"
#include "mm/memmap.h"
#include "mm/report.h"
#include "pool.h"

struct facts {
    struct report report;      /* all but the captures and the findings */
    struct maplint_facts lint; /* all but `stack`, `map_buffer`, `handed_over` and `key_changed` */
};

/*
 * Fill *f. `map` is the normalised map by which addresses are judged. What cannot be found out, or
 * has no room, is not in *f; nothing here fails.
 */
void facts_gather(const struct fw *fw, const struct machine *machine, const struct memmap *map,
                  struct pool *pool, struct facts *f);

#endif
