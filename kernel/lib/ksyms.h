/*
 * ksyms.h - names for addresses in the kernel's text.
 *
 * The table is made by scripts/ksyms.awk from a first link of the kernel and linked into the
 * second; in a kernel without it nothing has a name. Any context. O(log symbols).
 */
#ifndef LIB_KSYMS_H
#define LIB_KSYMS_H

#include <stdint.h>

/* The symbol at or before `addr`, and how far behind it `addr` lies; NULL if there is none. */
const char *ksym_find(uint64_t addr, uint64_t *offset);

#endif
