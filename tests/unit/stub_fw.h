/*
 * stub_fw.h - plays firmware for the tests of the stub (efi/firmware.h): with real memory at low
 * addresses, a memory map that follows every allocation, and every misbehaviour that a test asks
 * for.
 *
 * It also judges: a call that the stub must not make at that moment is noted in `violation`.
 */
#ifndef STUB_FW_H
#define STUB_FW_H

#include "firmware.h"

#define STUB_RAM       UINT64_C(0x10000000)     /* physical and virtual address of the fake RAM */
#define STUB_RAM_HIGH  UINT64_C(0x200000000000) /* where it is on a machine with no low memory */
#define STUB_RAM_PAGES 16384u                   /* 64 MiB */
#define STUB_NEVER     UINT32_MAX
#define STUB_MAX_DESCS 4096u

struct stub_desc {
    uint32_t type;
    uint32_t pad;
    uint64_t start;
    uint64_t virtual_start;
    uint64_t npages;
    uint64_t attribute;
};

struct stub_fw {
    /* What goes wrong; all 0 or STUB_NEVER after stub_fw_reset(): nothing. */
    uint32_t free_pages;           /* of the fake RAM that are free at the start */
    uint32_t fail_alloc;           /* this allocation, counted from 0, fails */
    bool no_low_memory;            /* all of the fake RAM is at STUB_RAM_HIGH */
    uint32_t zero_allocs;          /* so many allocations begin at page 0 */
    uint32_t fail_free;            /* this call of free_pages fails */
    uint32_t stale;                /* so many exits say INVALID_PARAMETER; STUB_NEVER: all */
    fw_status_t exit_error;        /* what exit says instead of success, once not stale */
    fw_status_t map_error;         /* what get_map says ... */
    uint32_t map_error_at;         /* ... from this call on */
    uint32_t grow;                 /* so many descriptors more with each call of get_map ... */
    uint32_t grow_at;              /* ... from this call on */
    uint32_t grow_after_exit;      /* so many more after an exit failed */
    bool key_restless;             /* each read of the map gives another key */
    bool leave_stride;             /* descriptor size and version are not filled in */
    uint64_t stride;               /* 48 unless a test says otherwise */
    uint64_t lie_nbytes;           /* not 0: the size that a good get_map reports */
    uint64_t overrun;              /* bytes written behind the buffer */
    uint32_t overrun_at;           /* from this call of get_map on */
    const struct stub_desc *extra; /* put in front of the descriptors of the fake RAM */
    uint32_t nextra;
    fw_status_t conf_open_error;
    const void *conf; /* contents; NULL: there is no file */
    uint64_t conf_bytes;
    uint64_t conf_chunk;    /* the most that a read gives; 0: no limit */
    uint32_t conf_error_at; /* this read fails */
    bool conf_lies;         /* a read claims more than was asked for */
    fw_status_t rng_error;
    bool rng_constant;
    uint32_t rdrand_misses; /* so many calls have no number; STUB_NEVER: all */
    bool rdrand_constant;

    /* What happened. */
    char said[8192];
    uint32_t nallocs, nfrees, nmaps, nexits, nresets, njumps, nreads;
    uint64_t largest_read;
    int64_t live_pages; /* allocated and not freed */
    bool exited;
    bool conf_is_open;
    struct fw_jump jump;
    const char *violation;
};

extern struct stub_fw stub_fw;
extern const struct fw stub_fw_table;

/* A machine like any other: 64 MiB, all free, nothing wrong. Its memory reads as 0xcc. */
void stub_fw_reset(void);

/* The descriptors that get_map would give now. */
uint32_t stub_fw_descs(struct stub_desc *to, uint32_t max);

/* Bytes of a small kernel, a static PIE; written out by hand in stub_fw.c. */
#define STUB_ELF_BYTES 0x3000u
void stub_elf_make(unsigned char elf[STUB_ELF_BYTES]);

#endif
