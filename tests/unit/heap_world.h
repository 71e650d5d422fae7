/*
 * heap_world.h - a first-fit heap, a naive model of it, and a backing for it, all at work together.
 *
 * Model:    heap_world_do() has the heap do one operation, works out with the model what must come
 *           of it - the address to the byte, NULL, or the calls of the backing - and fails the test
 *           if anything else did. What blocks hold is watched, too.
 *
 * Errors:   a difference is cmocka's fail_msg(). Where no test is running, set CMOCKA_TEST_ABORT=1.
 *
 * Threads:  one world at a time: there is one pool of memory, which all use in turn.
 */
#ifndef HEAP_WORLD_H
#define HEAP_WORLD_H

#include "heap_kind.h"
#include "host_port.h"

#define HEAP_WORLD_MAX_POOL ((size_t)1 << 30)
#define HEAP_WORLD_MIN_SLOT 16u

struct heap_world_config {
    const struct heap_kind *kind;
    size_t pool_bytes; /* where arenas can be, in all; a multiple of `grain` */
    bool backing;      /* else what HEAP_OP_ADD_ARENA adds is all that there is */
    size_t grain;      /* of the backing; HEAP_WORLD_MIN_SLOT at least */
    size_t reach;      /* of the backing */
    size_t keep;       /* the heap's */
    unsigned refuse;   /* the backing refuses one call in so many at random, 0 none */
    long fail_at;      /* and call number so and so, from 0, -1 none */
    uint64_t seed;     /* of the choices that are the backing's: places, surpluses, refusals */
};

enum heap_op_what {
    HEAP_OP_ALLOC,
    HEAP_OP_ALIGNED,
    HEAP_OP_ZEROED,
    HEAP_OP_REALLOC,
    HEAP_OP_FREE,
    HEAP_OP_TRIM,
    HEAP_OP_ADD_ARENA,
    HEAP_OP_WHATS
};

struct heap_op {
    enum heap_op_what what;
    size_t which;  /* of the live blocks, modulo their number; REALLOC, if there is none: of NULL;
                    * ADD_ARENA: where in the pool to look for a place */
    size_t nbytes; /* ADD_ARENA: its length */
    size_t align;  /* ALIGNED; ZEROED: how many pieces of `nbytes`; ADD_ARENA: by how much its ends
                    * miss the slots of the pool */
};

struct heap_world;

struct heap_world *heap_world_open(const struct heap_world_config *config);
void heap_world_do(struct heap_world *w, const struct heap_op *op);
size_t heap_world_nlive(const struct heap_world *w);

/* The heap's own check, each block, each total: all as the model has them. O(blocks). */
void heap_world_compare(struct heap_world *w);

struct heap_world_counts {
    size_t nnull;                    /* requests that found no memory */
    long ncalls;                     /* of the backing's get and grow */
    size_t ngot, ngrown, nput, ncut; /* ranges fetched, made longer, given back, made shorter */
    size_t nmoved, nresized;         /* reallocs: elsewhere, in place */
    size_t most_blocks;              /* there were at once, free ones too */
};

/* Frees what is live; all that came from the backing must be back then. */
struct heap_world_counts heap_world_close(struct heap_world *w);

#endif
