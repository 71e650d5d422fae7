/*
 * mat.h - the EFI Memory Attributes Table: which part of runtime memory is code, which data.
 *
 * Model:    any bytes in; a verdict on the whole table, and its entries one by one, out. A table
 *           that does not match the memory map is of no use: it would make us write-protect data
 *           or execute nothing.
 *
 * Memory:   nothing is allocated; the table is borrowed for the time of a call.
 *
 * Source:   UEFI 2.10, 4.6.4 EFI_MEMORY_ATTRIBUTES_TABLE.
 */
#ifndef MM_MAT_H
#define MM_MAT_H

#include "mm/memmap.h"

#define MAT_HEADER_BYTES 16u
#define MAT_MAX_ENTRIES  4096u

/*
 * Bytes of the whole table, from its header; 0 if the header makes no sense: version 1 or 2, one
 * to MAT_MAX_ENTRIES entries, 40 to 256 bytes apart. `header` has MAT_HEADER_BYTES.
 */
uint64_t mat_bytes(const void *header);

/*
 * NULL if the table holds up against `m`, else what is wrong with it: every entry that counts is of
 * whole pages, in rising order, without overlap, and in regions of `m` of the same type from end to
 * end. `nbytes` is what mat_bytes() said, and all of that is readable.
 */
const char *mat_check(const void *table, uint64_t nbytes, const struct memmap *m);

/*
 * Does an entry of this memory type count? Runtime code and data do. Readers must ignore others, so
 * that later versions of UEFI can have them; nothing in them was checked.
 */
static inline bool mat_is_type(uint32_t type)
{
    return type == EFI_MT_RUNTIME_CODE || type == EFI_MT_RUNTIME_DATA;
}

/* The number of entries, and entry `i` of them, of a table that mat_check() passed. */
uint32_t mat_count(const void *table);
struct efi_memory_descriptor mat_entry(const void *table, uint32_t i);

#endif
