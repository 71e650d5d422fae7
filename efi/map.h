/*
 * map.h - reads the firmware memory map into a buffer of ours, guarded.
 *
 * Model:    a buffer with a guard page behind it, which is filled with a pattern before every read
 * and looked at afterwards. Nothing of what firmware answers is believed before it was checked.
 * The stub interprets as little of the map as it can: how much is free, how high RAM reaches.
 * All else is for mm/memmap.
 * Source:   UEFI 2.10, 7.2.3 EFI_BOOT_SERVICES.GetMemoryMap().
 */
#ifndef EFI_MAP_H
#define EFI_MAP_H

#include "firmware.h"
#include "pool.h"

#define MAP_GUARD STUB_PAGE

/* More than a map can sensibly need; a firmware that asks for more is broken. */
#define MAP_MAX_BYTES UINT64_C(0x1000000)

struct map_buffer {
    void *bytes; /* `room` bytes for the map, MAP_GUARD bytes of guard behind them */
    uint64_t room;
    uint64_t nbytes; /* of the map, after a good read; of the room that it needs, after GREW */
    uint64_t stride;
    uint64_t key;
    uint32_t version;
    uint64_t overrun;   /* bytes that firmware wrote behind the buffer: the most ever seen */
    fw_status_t status; /* of the last call */
};

enum map_result {
    MAP_OK,
    MAP_GREW, /* does not fit into `room` */
    MAP_BAD,  /* see *why */
};

/* Read the map once. Prints nothing, allocates nothing. *why is set for MAP_BAD only. */
enum map_result map_read(const struct fw *fw, struct map_buffer *m, const char **why);

/* What the stub needs to know before it decides anything. */
struct map_survey {
    uint64_t nbytes; /* of the map */
    uint64_t stride;
    uint64_t free_bytes;  /* EfiConventionalMemory, without what is set aside for a purpose */
    uint64_t ram_end;     /* one past the highest byte of RAM of any kind; 0: none */
    uint64_t odd_runtime; /* start of a runtime descriptor that is not page aligned, or... */
    bool has_odd_runtime; /* ... false if there is none */
    uint64_t overrun;     /* see struct map_buffer */
    uint32_t grew;        /* times that the buffer turned out too small after the size query */
    bool key_changed;     /* between two reads that nothing came between */
    void *copy;           /* the map, `nbytes` of it: memory of the pool */
    uint64_t copy_bytes;  /* of the buffer that it lies in */
    uint32_t version;
};

/*
 * Read the map into a buffer of its own, which the pool keeps, and look at it. On an error nothing
 * is left allocated and *why says what is wrong, beside the status.
 */
fw_status_t map_look(const struct fw *fw, struct pool *pool, struct map_survey *s,
                     const char **why);

#endif
