/*
 * ksyms.c - the symbol table's reader.
 *
 * The first link of the kernel has no table yet. It gets the empty one below, whose symbols are
 * weak: the real table of the second link takes their place. (A weak *reference* would not do:
 * relative to the instruction pointer, an absent symbol's address is not 0 but wherever the image
 * was moved to.) Entries are sorted by offset.
 */
#include "lib/ksyms.h"

#include <stddef.h>

#include "lib/string.h"

struct ksym {
    uint32_t offset; /* of the function's first byte, from __image_start */
    uint32_t name;   /* offset from plat_ksym_names */
};

extern const char __image_start[], __text_end[];

/* Only this file and the table know these names, so no header declares them. */
extern const uint64_t plat_ksyms_count;
extern const struct ksym plat_ksyms[];
extern const char plat_ksym_names[];

__attribute__((weak)) const uint64_t plat_ksyms_count = 0;
__attribute__((weak)) const struct ksym plat_ksyms[1] = { { 0, 0 } };
__attribute__((weak)) const char plat_ksym_names[1] = "";

const char *ksym_find(uint64_t addr, uint64_t *offset)
{
    const struct ksym *table = plat_ksyms;
    uint64_t at = addr - (uintptr_t)__image_start; /* huge for one below the image */
    uint64_t end = (uintptr_t)__text_end - (uintptr_t)__image_start;
    uint64_t low = 0, high = plat_ksyms_count;

    __asm__("" : "+r"(table)); /* it may be longer than the weak one that the compiler sees */
    if (at >= end || high == 0 || at < table[0].offset) {
        return NULL;
    }
    while (high - low > 1) { /* table[low].offset <= at; behind `high` all are greater */
        uint64_t mid = low + (high - low) / 2;

        if (table[mid].offset <= at) {
            low = mid;
        } else {
            high = mid;
        }
    }
    *offset = at - table[low].offset;
    return plat_ksym_names + table[low].name;
}

bool ksym_addr(const char *name, uint64_t *addr)
{
    const struct ksym *table = plat_ksyms;
    const char *names = plat_ksym_names;

    __asm__("" : "+r"(table), "+r"(names)); /* as above */
    for (uint64_t i = 0; i < plat_ksyms_count; i++) {
        if (strcmp(names + table[i].name, name) == 0) {
            *addr = (uintptr_t)__image_start + table[i].offset;
            return true;
        }
    }
    return false;
}
