/*
 * save.h - reports on the volume that the stub came from: \plat\reports\<product>-<date>-<n>.json
 * and the readable .txt beside it.
 *
 * Model:    whole or not at all: a file is written under a temporary name, flushed, and renamed
 * when all of it is there. Nothing that exists is ever overwritten, and room is kept free on the
 * volume.
 */
#ifndef EFI_SAVE_H
#define EFI_SAVE_H

#include "firmware.h"
#include "mm/report.h"
#include "pool.h"

#define SAVE_NAME_CHARS 64

/* How a save went. */
struct save_result {
    fw_status_t status;
    char name[SAVE_NAME_CHARS]; /* of the files, without the ending: "qemu-2026-11-21-1" */
    const char *why;            /* unless SUCCESS: what went wrong, and what to do */
    const char *advice;
};

/*
 * Save what `compose` gives, which is asked once, while the first file is open: the map in it is
 * then the last that was read before the file was closed.
 */
void save_report(const struct fw *fw, const struct report *(*compose)(void *ctx), void *ctx,
                 struct save_result *out);

/* A report that is there. */
struct save_entry {
    char name[SAVE_NAME_CHARS]; /* with the ending */
    uint64_t nbytes;
};

/* The reports on the volume, in the order of their names, at most `max`; *n of them. */
fw_status_t save_list(const struct fw *fw, struct save_entry *entries, uint32_t max, uint32_t *n);

/* The text of the report `name`, in memory from the pool, *nbytes of it. */
fw_status_t save_load(const struct fw *fw, struct pool *pool, const char *name, uint64_t *pa,
                      uint64_t *nbytes);

#endif
