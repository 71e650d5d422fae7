/*
 * heapmap.h - a heap as a strip: a character for each piece of equal size, lines of 64.
 *
 * Model:    blocks come by address, and a line is drawn when it is full; addresses without blocks
 *           are left out. A piece that is partly in use shows how much of it is, in tenths.
 *           Pieces are as small as lets the drawing have HEAPMAP_ROWS lines or fewer.
 * Locking:  none. No allocation, so that a heap can be drawn while its lock is held.
 */
#ifndef LIB_HEAPMAP_H
#define LIB_HEAPMAP_H

#include "mm/types.h"

#define HEAPMAP_COLS 64u
#define HEAPMAP_ROWS 8u

struct heapmap_block {
    uint64_t at;
    uint64_t nbytes;
    bool used;
    bool first; /* of an arena; what is free at the end of one is its top */
};

/* Whose blocks: `for_each` calls fn(to, block) for each by address, until it returns false. */
struct heapmap_source {
    void (*for_each)(const struct heapmap_source *src,
                     bool (*fn)(void *to, const struct heapmap_block *b), void *to);
};

/* Draw. `line` gets each line, without its end, the first of which says how large a piece is.
 * Nothing is drawn if there is no block. */
void heapmap_draw(const struct heapmap_source *src, void (*line)(void *ctx, const char *text),
                  void *ctx);

#endif
