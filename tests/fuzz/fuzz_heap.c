/*
 * fuzz_heap.c - the first-fit heaps against the naive one of tests/unit/heap_world.h, over
 * operations out of any bytes.
 *
 * After each operation all blocks, all totals and the heap's own check are compared, beside what
 * the world itself looks at: every address, every call of the backing, what blocks hold.
 *
 * Input: struct knobs, then operations of 5 bytes.
 */
#include <stdlib.h>

#include "heap_world.h"

#define MAX_OPS 2000u

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct knobs {
    uint8_t kind; /* which heap; bit 7: no backing */
    uint8_t pool; /* 64 KiB to 1 MiB */
    uint8_t grain;
    uint8_t reach; /* 64ths of the pool */
    uint8_t keep;  /* 64ths of the pool */
    uint8_t refuse;
    uint8_t seed;
};

struct op {
    uint8_t what;
    uint8_t which;
    uint8_t nbytes[2];
    uint8_t shift; /* high half: the size has so many bits and one; low half: of the alignment */
};

/* A difference ends the process: no test is running that could fail. */
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    return setenv("CMOCKA_TEST_ABORT", "1", 1);
}

static struct heap_op decode(const struct op *raw)
{
    static const uint8_t whats[16] = {
        HEAP_OP_ALLOC,   HEAP_OP_ALLOC,  HEAP_OP_ALLOC,   HEAP_OP_ALLOC,
        HEAP_OP_ALIGNED, HEAP_OP_ZEROED, HEAP_OP_REALLOC, HEAP_OP_REALLOC,
        HEAP_OP_REALLOC, HEAP_OP_FREE,   HEAP_OP_FREE,    HEAP_OP_FREE,
        HEAP_OP_FREE,    HEAP_OP_FREE,   HEAP_OP_TRIM,    HEAP_OP_ADD_ARENA,
    };
    unsigned bits = 1 + (raw->shift >> 4), low = raw->shift & 15;
    size_t size = (size_t)(raw->nbytes[0] | raw->nbytes[1] << 8);
    struct heap_op op = { .what = whats[raw->what & 15],
                          .which = raw->which,
                          .nbytes = size & (((size_t)1 << bits) - 1),
                          .align = (size_t)1 << low };

    if ((raw->what & 0xe0) == 0xe0) { /* absurd ones */
        op.nbytes = SIZE_MAX - op.nbytes;
    } else if (op.what == HEAP_OP_ADD_ARENA) {
        op.nbytes = size + 1;
        op.which = (size_t)raw->which << 4; /* in slots */
        op.align = raw->shift * 5u;
    } else if (op.what == HEAP_OP_ZEROED) {
        op.align = low == 15 ? SIZE_MAX / 3 : low;
    }
    return op;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct heap_kind *const kinds[] = { &heap_kind_list, &heap_kind_ff };
    struct heap_world_config config = { .fail_at = -1 };
    struct heap_world *w;
    struct knobs k;
    struct op raw;

    if (size < sizeof(k) || size > sizeof(k) + MAX_OPS * sizeof(raw)) {
        return -1;
    }
    memcpy(&k, data, sizeof(k));
    config.kind = kinds[(k.kind & 127) % MM_COUNTOF(kinds)];
    config.backing = k.kind < 128;
    config.pool_bytes = (size_t)65536 << k.pool % 5;
    config.grain = mm_max(HEAP_WORLD_MIN_SLOT << k.grain % 13, config.pool_bytes >> 12);
    config.reach = mm_align_up(config.pool_bytes / 64 * (k.reach % 64), config.grain);
    config.keep = config.pool_bytes / 64 * (k.keep % 64);
    config.refuse = k.refuse % 8;
    config.seed = k.seed;
    w = heap_world_open(&config);
    for (size_t at = sizeof(k); at + sizeof(raw) <= size; at += sizeof(raw)) {
        memcpy(&raw, data + at, sizeof(raw));
        struct heap_op op = decode(&raw);

        heap_world_do(w, &op);
        heap_world_compare(w);
    }
    heap_world_close(w);
    return 0;
}
