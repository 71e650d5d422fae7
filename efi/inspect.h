/*
 * inspect.h - the inspector before exit: takes the map as the stub starts, gathers what is known of
 * the machine, lets a person look at it, and saves the report.
 *
 * Model:    one struct inspect, filled in step by step, that menu.c shows and save.c writes. What
 * cannot be had (no memory, no clock, damaged tables) is missing from it and stops nothing: a
 * machine that can boot boots.
 * Memory:   from a pool of its own, all given back by inspect_drop(), but for what the hand-over
 * takes along.
 */
#ifndef EFI_INSPECT_H
#define EFI_INSPECT_H

#include "conf.h"
#include "console.h"
#include "facts.h"
#include "firmware.h"
#include "mm/maplint.h"
#include "mm/memmap.h"
#include "mm/report.h"
#include "pool.h"
#include "save.h"

struct inspect {
    const struct fw *fw;
    const struct machine *machine;
    struct pool pool;
    struct facts facts; /* what the report points to */

    /* captures[0] is REPORT_START; once something was saved, captures[1] is REPORT_LAST. */
    struct report report;

    /* Made of the newest capture; no claims. */
    struct memmap map;
    struct maplint_result lint;
};

/*
 * Save the report under \plat\reports with the map as it is while the file is open, which becomes
 * the newest capture. *out says how it went.
 */
void inspect_save(struct inspect *in, struct save_result *out);

#endif
