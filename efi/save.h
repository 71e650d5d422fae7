/*
 * save.h - reports on the volume that the stub came from: \plat\reports\<product>-<date>-<n>.json
 * and the readable .txt beside it.
 *
 * Model:    both files or neither, and each whole: they are written under temporary names, flushed,
 * closed, read back and compared, and only then renamed, the .json last. So a .json that is there
 * is complete and has its .txt; what an interruption leaves is a temporary file, which the next
 * save removes, or a whole .txt. Nothing that exists is ever overwritten, nothing outside of that
 * directory is touched, and room is kept free on the volume.
 * Names:    <product> is of lower-case letters, digits and dashes; <date> is yyyy-mm-dd or
 * "nodate"; <n> is one more than the highest number there, so that what is newer comes later.
 * Memory:   one static buffer: one call at a time.
 * Context:  as firmware.h says, before the exit.
 */
#ifndef EFI_SAVE_H
#define EFI_SAVE_H

#include "files.h"
#include "firmware.h"
#include "mm/report.h"
#include "pool.h"

#define SAVE_DIRECTORY "\\plat\\reports"

/* The longest name of a report, with its ending and the NUL. */
#define SAVE_NAME_CHARS 64

/* A larger report is neither saved nor loaded; one of 10,000 descriptors has 3 MB. */
#define SAVE_MAX_BYTES UINT64_C(0x4000000)

/* Of the volume, this much is left free, or a sixteenth of it if that is less. */
#define SAVE_RESERVE UINT64_C(0x100000)

/* How a save went. */
struct save_result {
    fw_status_t status;
    char name[SAVE_NAME_CHARS]; /* of the files, without the ending: "qemu-2026-11-21-1" */
    const char *why;            /* unless SUCCESS: what went wrong, and what to do */
    const char *advice;
};

/*
 * Save what `compose` gives, which is asked once, when both files are open and all that can be
 * known to be in the way is out of it: the map in it is then the last that was read before the
 * files were closed. What it gives must not change until this returns; NULL: it has nothing to
 * give. The name is that of the report's machine and time. On an error all that was made is removed
 * again, as far as the volume lets us.
 */
void save_report(const struct fw *fw, const struct report *(*compose)(void *ctx), void *ctx,
                 struct save_result *out);

/* A report that is there. */
struct save_entry {
    char name[SAVE_NAME_CHARS]; /* with the ending */
    uint64_t nbytes;
};

/*
 * The reports on the volume in the order of their names, numbers in them by their value; if they
 * are more than `max`, the last of them. *n of them, 0 if there is no such directory. Names that
 * are not printable ASCII or too long, and those that begin with a dot, are left out.
 */
fw_status_t save_list(const struct fw *fw, struct save_entry *entries, uint32_t max, uint32_t *n);

/*
 * The text of the report `name`, in memory from the pool, *nbytes of it; any bytes.
 * Errors: INVALID_PARAMETER for a name that save_list() does not give; BAD_BUFFER_SIZE for a file
 * larger than SAVE_MAX_BYTES; what firmware answered. Nothing is then left allocated.
 */
fw_status_t save_load(const struct fw *fw, struct pool *pool, const char *name, uint64_t *pa,
                      uint64_t *nbytes);

#endif
