/*
 * inspect.h - the inspector before exit: what is known of the machine and of the map that the stub
 * began with, looked at by a person, saved to the volume, and made ready for the hand-over.
 *
 * Model:    one struct inspect, which menu.c shows and save.c writes. What cannot be had (memory, a
 * clock, sound tables) is missing from it and stops nothing: a machine that can boot boots.
 * Memory:   from a pool of its own, all given back by inspect_drop(). The map that it begins with
 * is borrowed.
 */
#ifndef EFI_INSPECT_H
#define EFI_INSPECT_H

#include "conf.h"
#include "console.h"
#include "facts.h"
#include "firmware.h"
#include "map.h"
#include "mm/maplint.h"
#include "mm/memmap.h"
#include "mm/report.h"
#include "pool.h"
#include "save.h"

/* How long the line about the key stays, unless the options say otherwise. */
#define INSPECT_SECONDS 2u

/* A capture, made into what is shown. */
struct inspect_capture {
    struct memmap map; /* no claims */
    struct maplint_result lint;
    uint64_t raw, storage, findings; /* blocks of the pool; 0: none */
};

struct inspect {
    const struct fw *fw;
    const struct machine *machine;
    struct pool pool;
    struct facts facts; /* what the report points to */

    /* captures[0] is REPORT_START; once something was saved, captures[1] is REPORT_LAST. The
     * findings are those of the newest. */
    struct report report;

    /* The newest capture; without descriptors if there was no memory for it. */
    struct memmap map;
    struct maplint_result lint;

    struct inspect_capture start, last;
    bool was_saved;           /* by inspect_save(), at least once */
    struct save_result saved; /* how the last try went */
};

enum inspect_choice { INSPECT_BOOT, INSPECT_EXIT };

/*
 * Begin with the map that the stub found; `start` is borrowed for as long as `in` is used.
 * `identifiers`: the report is to have serial numbers and UUIDs.
 */
void inspect_begin(struct inspect *in, const struct fw *fw, const struct machine *machine,
                   const struct map_survey *start, bool identifiers);

/*
 * As the options say: save, wait for a key, show the screens. Options: inspect=menu, inspect=off,
 * inspect=SECONDS; save=auto, save=off; identifiers=on.
 */
enum inspect_choice inspect_run(struct inspect *in, const struct conf *conf);

/*
 * Save the report under \plat\reports with the map as it is while the file is open, which becomes
 * the newest capture: in->map and in->lint are new then. in->saved says how it went.
 */
void inspect_save(struct inspect *in);

/*
 * The report without maps and findings, a line of JSON, in memory of `pool`; *nbytes 0 if there was
 * no memory for it.
 */
void inspect_facts(const struct inspect *in, struct pool *pool, uint64_t *pa, uint64_t *nbytes);

/* Give back all memory. */
void inspect_drop(struct inspect *in);

#endif
