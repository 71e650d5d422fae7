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

/* Where the linker put `p`: the compiler must not take the weak, empty table's contents for known,
 * which it does with those of a const object. */
static const void *linked(const void *p)
{
    __asm__("" : "+r"(p));
    return p;
}

static uint64_t count(void)
{
    return *(const uint64_t *)linked(&plat_ksyms_count);
}

const char *ksym_find(uint64_t addr, uint64_t *offset)
{
    const struct ksym *table = linked(plat_ksyms);
    const char *names = linked(plat_ksym_names);
    uint64_t at = addr - (uintptr_t)__image_start; /* huge for one below the image */
    uint64_t end = (uintptr_t)__text_end - (uintptr_t)__image_start;
    uint64_t low = 0, high = count();

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
    return names + table[low].name;
}

bool ksym_addr(const char *name, uint64_t *addr)
{
    const struct ksym *table = linked(plat_ksyms);
    const char *names = linked(plat_ksym_names);

    for (uint64_t i = 0, n = count(); i < n; i++) {
        if (strcmp(names + table[i].name, name) == 0) {
            *addr = (uintptr_t)__image_start + table[i].offset;
            return true;
        }
    }
    return false;
}
