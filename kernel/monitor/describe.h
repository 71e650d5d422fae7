/*
 * describe.h - what an address is, in words.
 */
#ifndef MONITOR_DESCRIBE_H
#define MONITOR_DESCRIBE_H

#include "mm/types.h"

/* The part of the kernel's address space that `va` lies in: "kernel text", "vmalloc: local APIC".
 */
void describe_area(uint64_t va, char *buf, size_t nbytes);

/* As above, and where in it: a symbol, an offset, a physical address. */
void describe_va(uint64_t va, char *buf, size_t nbytes);

/* What firmware's map and the frame pool say about physical `pa`. */
void describe_pa(uint64_t pa, char *buf, size_t nbytes);

/* Why the processor refuses `va`: where the walk of the live tables ends, or which right is
 * missing. `write` says what was tried. */
void describe_refusal(uint64_t va, bool write, char *buf, size_t nbytes);

/* "4 KiB", "2 MiB", "1 GiB": the size of a leaf. */
const char *describe_leaf(uint64_t leaf_bytes);

#endif
