/*
 * heap_trace.h - what a program asks of its heap, as a list of operations.
 *
 * A trace in a file and one in memory are the same bytes, little-endian: a struct trace_header and
 * `nops` of struct trace_op. Blocks have numbers, which are used again. Files are written by
 * scripts/heap-traces.
 */
#ifndef BENCH_HEAP_TRACE_H
#define BENCH_HEAP_TRACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TRACE_MAGIC   "PLATHEAP"
#define TRACE_VERSION 1u

struct trace_header {
    char magic[8];    /* TRACE_MAGIC, no zero behind it */
    uint32_t version; /* TRACE_VERSION */
    uint32_t crc;     /* of the operations: CRC-32 as zlib has it */
    uint32_t nids;    /* blocks have numbers below this */
    uint32_t nbuild;  /* so many operations build up what the others work on; they are not timed */
    uint64_t nops;
};

enum trace_kind { TRACE_ALLOC, TRACE_FREE, TRACE_REALLOC, TRACE_ALIGNED };

/* `what`: kind in 31:30, log2 of the alignment in 29:25 (TRACE_ALIGNED, else 0), number of the
 * block in 24:0. */
struct trace_op {
    uint32_t what;
    uint32_t nbytes; /* > 0; 0 for TRACE_FREE */
};

#define TRACE_MAX_IDS   (1u << 25)
#define TRACE_MAX_ALIGN 20 /* log2: 1 MiB */

static inline enum trace_kind trace_kind(struct trace_op op)
{
    return (enum trace_kind)(op.what >> 30);
}

static inline uint32_t trace_id(struct trace_op op)
{
    return op.what & (TRACE_MAX_IDS - 1);
}

static inline size_t trace_align(struct trace_op op)
{
    return (size_t)1 << (op.what >> 25 & 31);
}

/* A trace that was made or read, and found to be sound. */
struct trace {
    char name[32];
    int fd; /* of memory that holds header and operations; survives exec */
    const struct trace_header *header;
    const struct trace_op *ops;
    uint64_t peak_bytes; /* asked for and not freed, at most */
    uint64_t peak_at;    /* the operation that makes it so */
};

/* Map what `fd` has, which was found to be sound before. */
void trace_map(struct trace *t, int fd);

/* The name of a synthetic trace, by number; NULL if there are no more. */
const char *trace_name(unsigned which);

/* Make it. The `small` ones, of the same forms, are for trying the benchmark itself. */
void trace_make(struct trace *t, unsigned which, bool small);

/* Read a file; fails if it is damaged. The name is the file's without what follows the dot. */
void trace_read(struct trace *t, const char *path);

#endif
