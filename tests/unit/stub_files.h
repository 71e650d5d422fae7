/*
 * stub_files.h - plays the volume that the stub was loaded from (efi/files.h): FAT-like, in memory,
 * with a write-back cache, and with every failure that a test asks for.
 *
 * It also judges: a call that must not be made, and anything that is changed outside of
 * \plat\reports, is noted in `violation`.
 */
#ifndef STUB_FILES_H
#define STUB_FILES_H

#include <setjmp.h>

#include "files.h"

#define STUB_NEVER_AT UINT32_MAX

enum stub_op {
    STUB_OP_NONE,
    STUB_OP_ROOT,
    STUB_OP_VOLUME,
    STUB_OP_OPEN,
    STUB_OP_CREATE,
    STUB_OP_NEXT,
    STUB_OP_INFO,
    STUB_OP_READ,
    STUB_OP_WRITE,
    STUB_OP_FLUSH,
    STUB_OP_RENAME,
    STUB_OP_REMOVE,
    STUB_OP_CLOSE,
};

struct stub_files {
    /* What goes wrong. */
    uint32_t fail_at; /* this call, counted from 0, fails ... */
    fw_status_t fail_with;
    bool fail_late;    /* ... after it has done what it should */
    uint32_t stop_at;  /* at this call power fails: longjmp(stop), half of a write is done */
    bool has_stop;     /* `stop` is set */
    uint32_t gone_at;  /* from this call on the medium is another */
    bool no_volume;    /* there is no file system */
    bool is_read_only; /* nothing can be written ... */
    bool hides_it;     /* ... and the volume does not say so */
    bool cannot_rename;
    bool rename_lies;     /* it says that it did, and did not */
    bool drops_writes;    /* the same of writing: the size is right, the bytes are zeros */
    bool loses_tail;      /* the last byte that is written never arrives */
    bool is_endless;      /* a directory gives its entries again and again */
    bool short_writes;    /* half of it, and success */
    bool reads_too_much;  /* more than was asked for */
    uint64_t read_chunk;  /* the most that a read gives; 0: no limit */
    uint64_t says_free;   /* not 0: what is said to be free */
    uint64_t nblocks;     /* of the volume */
    uint32_t block_bytes; /* as is said; blocks are of 4096 bytes */
    jmp_buf stop;

    /* What happened. */
    uint32_t nops;
    enum stub_op failed; /* the call that failed_at asked for */
    uint32_t nopen;      /* handles */
    uint32_t nmade;      /* things that were to be made */
    uint64_t largest;    /* read or write */
    const char *violation;
};

extern struct stub_files stub_files;
extern const struct fw_files stub_files_table;

struct stub_node {
    bool is_there;
    bool is_directory;
    uint32_t parent;
    uint16_t name[FW_FILE_NAME_UNITS];
    unsigned char *bytes;
    uint64_t nbytes;
    uint64_t nflushed; /* of them on the medium */
};

/* An empty volume of 4 MiB; nothing goes wrong. */
void stub_files_reset(void);

/* The failures and the counters alone: what is on the volume stays. Open handles are gone. */
void stub_files_calm(void);

/* Put something there, whatever it is called; directories above it are made. */
void stub_files_put(const char *path, const void *bytes, uint64_t nbytes);
void stub_files_put_directory(const char *path);
void stub_files_put_wide(const char *directory, const uint16_t *name, bool is_directory);

/* NULL: it is not there. */
const struct stub_node *stub_files_find(const char *path);

/* Things in a directory, "." and ".." not counted; 0 if it is not there. */
uint32_t stub_files_count(const char *path);

/* Power was lost: what was not flushed is not what was written. */
void stub_files_lose_power(void);

/* All that is on the volume, as one number. */
uint64_t stub_files_digest(void);

#endif
