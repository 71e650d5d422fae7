/*
 * kmalloc_debug.h - what the debug build (PMM_DEBUG) knows of each block, and does to it.
 *
 * Model:    a block is followed by a record: how many bytes were asked for, and the return address
 *           of the call, its site. What lies between is filled with a pattern, which is looked at
 *           when the block goes, and by kmalloc_check(). A block that was freed is filled with
 *           another one and waits, the last KMALLOC_QUARANTINE of them, before its memory is used
 *           again; that it is as it was left is looked at when the wait is over, and by
 *           kmalloc_check(). New blocks are filled with a third. Blocks of chosen sizes can have a
 *           mapping of their own with nothing behind it, see kmalloc_set_guard().
 *
 * Locking:  inside, as kmalloc.h.
 *
 * Errors:   what is found by a call stops the machine, saying which block, its site, who freed it,
 *           and who asked.
 *
 * In other builds none of this is there.
 */
#ifndef MM_KMALLOC_DEBUG_H
#define MM_KMALLOC_DEBUG_H

#ifdef PMM_DEBUG

#include "mm/types.h"

#define KMALLOC_QUARANTINE       512u                /* blocks */
#define KMALLOC_QUARANTINE_BYTES (UINT64_C(1) << 20) /* of them; a larger block does not wait */
#define KMALLOC_GUARDED          512u                /* blocks that can be guarded at a time */

struct kmalloc_block {
    const void *ptr;
    size_t asked;      /* bytes */
    uint64_t site;     /* return address of the call that allocated or resized it */
    uint64_t freed_by; /* likewise; 0: it was not freed */
    uint64_t serial;   /* rises with each allocation */
    bool guarded;
};

/* The block that has `addr`, or had it last; false if there is none. O(blocks). */
MM_MUST_CHECK bool kmalloc_who(uint64_t addr, struct kmalloc_block *b);

/* Likewise, of guarded ones, and up to a page before and behind. Takes no lock: for panics. */
MM_MUST_CHECK bool kmalloc_who_guarded(uint64_t addr, struct kmalloc_block *b);

/* Call `fn` for each block that is in use. Locks are held: `fn` may not allocate or free. Exact
 * while nobody else does. */
void kmalloc_for_each_live(void (*fn)(void *ctx, const struct kmalloc_block *b), void *ctx);

/* The block of which the last kmalloc_check() said that it is damaged; false if it said nothing. */
MM_MUST_CHECK bool kmalloc_broken(struct kmalloc_block *b);

/* The serial number of the last block. */
uint64_t kmalloc_serial(void);

/*
 * Sizes lo to hi are guarded from now on; a `hi` of 0: none. Their blocks are ranges of whole pages
 * that `get` gives, with nothing mapped behind them, and end there but for what rounds them up to
 * 16 bytes or their alignment. `put` unmaps one. Both are only called where `may` allows, and not
 * one in the other; a block that is wanted elsewhere is not guarded, one that is freed elsewhere
 * goes later.
 */
struct kmalloc_guard {
    size_t lo, hi;
    void *(*get)(size_t nbytes);
    void (*put)(void *base);
    bool (*may)(void);
};
void kmalloc_set_guard(const struct kmalloc_guard *g);

#endif

#endif
