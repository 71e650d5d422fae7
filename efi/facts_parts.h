/*
 * facts_parts.h - what the parts of facts.c share: how memory is looked at, where finds are kept.
 * Nobody else includes this.
 */
#ifndef EFI_FACTS_PARTS_H
#define EFI_FACTS_PARTS_H

#include "facts.h"

struct gather {
    const struct machine *machine;
    const struct facts_source *source; /* NULL: there is none */
    const struct memmap *map;
    struct facts *f;
    unsigned char *front; /* the storage that is left: lists are taken from its front, ... */
    unsigned char *back;  /* ... texts from its back */
};

/*
 * How many bytes from `pa` on can be read without a gap, at most `want`. Readable is memory of
 * every kind but devices, memory with errors and memory that was not accepted, within the address
 * width of the CPU; and the BIOS area of a PC, 0xe0000 to 0xfffff, whatever the map says of it.
 * Page 0 is not: address 0 is how tables say that there is nothing.
 */
uint64_t facts_reach(const struct gather *g, uint64_t pa, uint64_t want);

/* All of [pa, pa + nbytes), or NULL if some of it can't be read. Not aligned. */
const void *facts_see(const struct gather *g, uint64_t pa, uint64_t nbytes);

/*
 * Room for one more element of a list, zeroed; NULL: there is no more. Elements that are asked for
 * one after another, only texts in between, are an array. `nbytes` is a multiple of 8.
 */
void *facts_grow(struct gather *g, size_t nbytes);

/* A copy of a text of `n` bytes, cut off at FACTS_MAX_TEXT, with a NUL; NULL: no room. */
const char *facts_text(struct gather *g, const void *text, size_t n);

/* A little-endian number of 1 to 8 bytes, not aligned. */
uint64_t facts_number(const void *at, unsigned nbytes);

/* The parts. Each fills in its own of g->f->report and g->f->lint. */
void facts_cpu(struct gather *g);    /* before the others: the address width */
void facts_acpi(struct gather *g);   /* facts_acpi.c: tables, RSDP, XSDT, FACS, MCFG */
void facts_smbios(struct gather *g); /* facts_smbios.c */

#endif
