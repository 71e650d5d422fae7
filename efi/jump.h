/*
 * jump.h - what jump.S has for main.c. Microsoft's calling convention, as this target has it.
 */
#ifndef EFI_JUMP_H
#define EFI_JUMP_H

#include <stdint.h>

#include "firmware.h"

/* Go. Boot services are gone. */
_Noreturn void plat_jump(const struct fw_jump *where);

/* [plat_jump, plat_jump_end) must be mapped executable at its own address before and after. */
extern const unsigned char plat_jump_end[];

/*
 * The way from four levels of paging to five: position-independent code with its data behind it, to
 * be copied to the start of a page below 4 GiB. The fields of the data that say "+ page" hold an
 * offset, to which the address of that page must be added.
 */
extern const unsigned char plat_trampoline[];
extern const unsigned char plat_trampoline_end[];

#define JUMP_DATA 0x100u /* where the data begins */

struct jump_data {
    uint64_t gdt[4];
    uint64_t entry;   /* of the kernel; to be filled in */
    uint64_t boot_va; /* to be filled in */
    uint32_t root;    /* the PML5; to be filled in */
    uint32_t far32;   /* + page */
    uint16_t far32_selector;
    uint16_t gdt_limit;
    uint32_t gdt_base; /* + page */
    uint32_t gdt_base_high;
    uint32_t far64; /* + page */
    uint16_t far64_selector;
    uint16_t zero[3];
};

/* What jump.S counts on. */
_Static_assert(__builtin_offsetof(struct jump_data, entry) == 0x20, "jump.S");
_Static_assert(__builtin_offsetof(struct jump_data, boot_va) == 0x28, "jump.S");
_Static_assert(__builtin_offsetof(struct jump_data, root) == 0x30, "jump.S");
_Static_assert(__builtin_offsetof(struct jump_data, far32) == 0x34, "jump.S");
_Static_assert(__builtin_offsetof(struct jump_data, gdt_limit) == 0x3a, "jump.S");
_Static_assert(__builtin_offsetof(struct jump_data, far64) == 0x44, "jump.S");
_Static_assert(sizeof(struct jump_data) == 0x50, "jump.S");
_Static_assert(__builtin_offsetof(struct fw_jump, nx) == 0x28, "jump.S");

#endif
