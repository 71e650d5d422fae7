/*
 * badram.h - frames that failed, and the words that keep other systems off them.
 *
 * Model:    a list of ranges of frames, and two ways to say it. Linux: one word a range,
 *           memmap=SIZE$BASE (Documentation/admin-guide/kernel-parameters.txt). GRUB's command
 *           badram, and Linux kernels with the BadRAM patch: pairs of address and mask; a page is
 *           bad if (page & mask) == (address & mask) for one of them (GRUB manual, "badram"). A
 *           clear bit of a mask stands for both its values, so a row or column of a memory chip,
 *           which is a page at every multiple of some power of two, is one pair.
 * Memory:   all in struct badram, 2 KiB. No locking.
 */
#ifndef LIB_BADRAM_H
#define LIB_BADRAM_H

#include "mm/types.h"

#define BADRAM_MAX       128u
#define BADRAM_MAX_PAIRS 64u
#define BADRAM_WORD_MAX  56u /* bytes of one word or pair, NUL included */

struct badram_range {
    uint64_t base, count; /* frames */
};

struct badram {
    struct badram_range range[BADRAM_MAX]; /* by address; no two touch */
    unsigned n;
};

struct badram_pair {
    uint64_t addr, mask; /* bytes, page aligned */
};

/*
 * Add frames [base, base + count); what overlaps or touches becomes one range. False, with nothing
 * changed, if that would be more than BADRAM_MAX of them, or if count is 0 or the last byte lies
 * beyond 2^64.
 */
MM_MUST_CHECK bool badram_add(struct badram *b, uint64_t base, uint64_t count);

/*
 * Add a frame below 2^52, whatever happens: where there is no room for another range, the one below
 * it, or else the one above, grows until it reaches the frame. False then: good frames came in.
 */
MM_MUST_CHECK bool badram_add_frame(struct badram *b, uint64_t frame);

/* Frames in all. */
uint64_t badram_frames(const struct badram *b);

/*
 * Pairs that together match every frame of the list; returns how many. *extra is the number of
 * frames that they match besides: 0, unless BADRAM_MAX_PAIRS do not suffice for the exact list.
 * There may be a smaller set of pairs (badram.c).
 */
unsigned badram_cover(const struct badram *b, struct badram_pair pair[BADRAM_MAX_PAIRS],
                      uint64_t *extra);

/* "memmap=0x2000$0x12345000" and "0x12345000,0xffffffffffffe000". Both return `buf`. */
char *badram_memmap_word(char buf[BADRAM_WORD_MAX], const struct badram_range *r);
char *badram_pair_text(char buf[BADRAM_WORD_MAX], const struct badram_pair *p);

/* NULL if the ranges are as `struct badram` says, else what is wrong. */
const char *badram_check(const struct badram *b);

#endif
