/*
 * mapshow.h - a memory map for a person at a terminal: its colours, physical memory as a bar, and
 * what is at an address. Shared by the monitor and platmap, so that they say the same.
 *
 * Model:    text goes to a sink, a line at a time. Colours repeat what the text says; without them
 *           nothing is lost. They are SGR sequences (ECMA-48, 8.3.117).
 *
 * Locking:  none; the map must not change during a call.
 *
 * Memory:   nothing is allocated. mapshow_put_bar() takes 2 KiB of stack.
 */
#ifndef MM_MAPSHOW_H
#define MM_MAPSHOW_H

#include "mm/maplint.h"
#include "mm/memmap.h"
#include "mm/sink.h"

/* The end of each of these styles. */
#define MAPSHOW_OFF "\033[0m"

/* By what a kind means for an OS: its own, soon its own, firmware's, no memory. Never NULL. */
const char *mapshow_kind_style(enum memmap_kind kind);

/* What stands for a kind in a bar: one of its own for each, '?' for what is none. */
char mapshow_kind_letter(enum memmap_kind kind);

/* Of a finding, enum memmap_severity; empty for what is no fault. Never NULL. */
const char *mapshow_severity_style(uint32_t severity);

/* A map, and how it is shown. */
struct mapshow {
    const struct memmap *map;
    bool colour;
    uint64_t attr_known;   /* attribute bits that are firmware's; 0: none is known */
    const uint32_t *lines; /* of each descriptor, in the text that it comes from; or NULL */
};

/*
 * What the map says of the byte at `addr`: its region, or the hole that it lies in; every
 * descriptor that names it, also one that was left out; every finding of `lint` about the place.
 * Is it in a region? O(regions + descriptors + findings).
 */
bool mapshow_put_at(const struct mm_sink *to, const struct mapshow *show,
                    const struct maplint_result *lint, uint64_t addr);

/*
 * mapsum_bar() as a line of `ncolumns`, a letter for each kind, at most MAPSHOW_MAX_COLUMNS; and
 * below it how much a column is and what the letters mean, in lines of at most 79 characters.
 * Nothing if there is no memory to show.
 */
#define MAPSHOW_MAX_COLUMNS 79u
void mapshow_put_bar(const struct mm_sink *to, const struct mapshow *show, uint32_t ncolumns);

/* "2 errors, 1 warning, 5 infos", and what there was no room for; without the line's end. */
void mapshow_put_count(const struct mm_sink *to, const struct maplint_result *lint);

#endif
