/*
 * ksyms.h - names for addresses in the kernel's text.
 *
 * The table is made by scripts/ksyms.awk from a first link of the kernel and linked into the
 * second; in a kernel without it nothing has a name. Any context. O(log symbols).
 */
#ifndef LIB_KSYMS_H
#define LIB_KSYMS_H

#include <stdbool.h>
#include <stdint.h>

/* The symbol at or before `addr`, and how far behind it `addr` lies; NULL if there is none. */
const char *ksym_find(uint64_t addr, uint64_t *offset);

/* Where the function `name` begins; false if there is none, *addr is then untouched. O(symbols). */
bool ksym_addr(const char *name, uint64_t *addr);

#endif
