/*
 * Just enough ACPI. The DSDT is not interpreted: the package \_S5 is found by its bytes, as every
 * small kernel does, and only constants in it are understood.
 */
#include "acpi.h"

#include "cpu/asm.h"
#include "lib/log.h"
#include "lib/string.h"
#include "mm/types.h"
#include "plat/acpi.h"
#include "vm.h"

#define PM1_SCI_EN         1u
#define PM1_SLP_EN         (1u << 13)
#define FADT_TMR_VAL_EXT   (1u << 8)
#define FADT_RESET_REG_SUP (1u << 10)

struct acpi_facts acpi_facts;

static const void *see(void *ctx, uint64_t pa, uint64_t nbytes)
{
    (void)ctx;
    return vm_see(pa, nbytes);
}

static void unsee(void *ctx, const void *p, uint64_t pa, uint64_t nbytes)
{
    (void)ctx;
    vm_unsee(p, pa, nbytes);
}

static const struct acpi_view view = { .see = see, .unsee = unsee };

/* A whole, sound table at `pa`, or NULL. acpi_unsee() when done. */
static const struct acpi_header *table_see(uint64_t pa)
{
    const char *why;
    const struct acpi_header *table = acpi_see(&view, pa, &why);

    if (table == NULL) {
        log_warn("ACPI table at 0x%llx: %s: left out", (unsigned long long)pa, why);
    }
    return table;
}

/* Call `fn` for each table that the root table lists and that holds up. */
static void for_each_table(uint64_t rsdp_pa, void (*fn)(const struct acpi_header *table))
{
    struct acpi_rsdp rsdp;
    struct acpi_root root;
    const char *wrong;

    if (rsdp_pa == 0) {
        return;
    }
    wrong = acpi_read_rsdp(&view, rsdp_pa, &rsdp);
    if (wrong != NULL) {
        log_warn("ACPI root pointer at 0x%llx: %s: no ACPI tables", (unsigned long long)rsdp_pa,
                 wrong);
        return;
    }
    wrong = acpi_see_root(&view, &rsdp, &root);
    if (wrong != NULL) {
        log_warn("ACPI root table at 0x%llx: %s: no ACPI tables", (unsigned long long)root.pa,
                 wrong);
        return;
    }
    if (root.count > ACPI_MAX_TABLES) {
        log_warn("ACPI root table names %u tables: those after the first %u are left out",
                 root.count, ACPI_MAX_TABLES);
        root.count = ACPI_MAX_TABLES;
    }
    for (uint32_t i = 0; i < root.count; i++) {
        uint64_t pa = acpi_root_entry(&root, i);
        const struct acpi_header *table = table_see(pa);

        if (table != NULL) {
            fn(table);
            acpi_unsee(&view, table, pa);
        }
    }
    acpi_unsee(&view, root.table, root.pa);
}

/* A small constant at aml[*at, end): ByteConst, WordConst, ZeroOp, OneOp (ACPI 6.5 20.2.3). */
static bool aml_constant(const uint8_t *aml, uint32_t end, uint32_t *at, uint8_t *v)
{
    if (*at >= end) {
        return false;
    }
    switch (aml[(*at)++]) {
    case 0x00:
        *v = 0;
        return true;
    case 0x01:
        *v = 1;
        return true;
    case 0x0a: /* BytePrefix */
    case 0x0b: /* WordPrefix: SLP_TYP is in the low byte */
        if (end - *at < (aml[*at - 1] == 0x0b ? 2u : 1u)) {
            return false;
        }
        *v = aml[*at];
        *at += aml[*at - 1] == 0x0b ? 2 : 1;
        return true;
    default:
        return false;
    }
}

/* Name (_S5, Package { a, b, ... }): 08 [5c] 5f 53 35 5f 12 PkgLength NumElements a b. */
static void find_s5(const struct acpi_header *dsdt)
{
    const uint8_t *aml = (const uint8_t *)dsdt;
    uint32_t end = dsdt->length;

    for (uint32_t i = sizeof(*dsdt) + 1; i + 8 < end; i++) {
        uint32_t at = i + 4;
        uint8_t a, b;

        if (memcmp(aml + i, "_S5_", 4) != 0 || aml[at] != 0x12 ||
            (aml[i - 1] != 0x08 && aml[i - 1] != '\\')) {
            continue;
        }
        at += 2 + (aml[at + 1] >> 6); /* PkgLength takes 1 to 4 bytes */
        at += 1;                      /* NumElements */
        if (aml_constant(aml, end, &at, &a) && aml_constant(aml, end, &at, &b)) {
            acpi_facts.s5_known = true;
            acpi_facts.s5_a = a;
            acpi_facts.s5_b = b;
            return;
        }
    }
}

/* Offsets: ACPI 6.5 table 5.9. A block is given by a 32-bit field, or by a later Generic Address
 * that overrides it. */
static uint16_t io_block(const struct acpi_header *fadt, uint32_t old_at, uint32_t gas_at)
{
    uint64_t addr = acpi_field(fadt, gas_at + 4, 8);

    if (addr == 0 || acpi_field(fadt, gas_at, 1) != 1) {
        addr = acpi_field(fadt, old_at, 4);
    }
    return addr <= UINT16_MAX ? (uint16_t)addr : 0;
}

static void take_fadt(const struct acpi_header *fadt)
{
    const struct acpi_header *dsdt;
    struct acpi_facts *f = &acpi_facts;
    uint64_t flags, dsdt_pa;

    if (!acpi_is(fadt, "FACP")) {
        return;
    }
    flags = acpi_field(fadt, 112, 4);
    f->smi_cmd = (uint16_t)acpi_field(fadt, 48, 4);
    f->acpi_enable = (uint8_t)acpi_field(fadt, 52, 1);
    f->pm1a_cnt = io_block(fadt, 64, 172);
    f->pm1b_cnt = io_block(fadt, 68, 184);
    if (acpi_field(fadt, 91, 1) == 4) { /* PM_TMR_LEN */
        f->pm_timer = io_block(fadt, 76, 208);
    }
    f->pm_timer_32 = (flags & FADT_TMR_VAL_EXT) != 0;
    if ((flags & FADT_RESET_REG_SUP) != 0) {
        f->reset_space = (uint8_t)acpi_field(fadt, 116, 1);
        f->reset_addr = acpi_field(fadt, 120, 8);
        f->reset_value = (uint8_t)acpi_field(fadt, 128, 1);
    }
    dsdt_pa = acpi_dsdt_of(fadt);
    dsdt = dsdt_pa != 0 ? table_see(dsdt_pa) : NULL;
    if (dsdt != NULL) {
        find_s5(dsdt);
        acpi_unsee(&view, dsdt, dsdt_pa);
    }
}

void acpi_init(uint64_t rsdp)
{
    for_each_table(rsdp, take_fadt);
}

void acpi_poweroff(void)
{
    const struct acpi_facts *f = &acpi_facts;

    if (!f->s5_known || f->pm1a_cnt == 0) {
        return;
    }
    if (f->smi_cmd != 0 && f->acpi_enable != 0 && (inw(f->pm1a_cnt) & PM1_SCI_EN) == 0) {
        outb(f->smi_cmd, f->acpi_enable);
        for (unsigned i = 0; i < 3000000 && (inw(f->pm1a_cnt) & PM1_SCI_EN) == 0; i++) {
            pause_hint();
        }
    }
    outw(f->pm1a_cnt,
         (uint16_t)((inw(f->pm1a_cnt) & ~(7u << 10)) | (f->s5_a & 7u) << 10 | PM1_SLP_EN));
    if (f->pm1b_cnt != 0) {
        outw(f->pm1b_cnt,
             (uint16_t)((inw(f->pm1b_cnt) & ~(7u << 10)) | (f->s5_b & 7u) << 10 | PM1_SLP_EN));
    }
    for (unsigned i = 0; i < 3000000; i++) {
        pause_hint();
    }
}

void acpi_reset(void)
{
    const struct acpi_facts *f = &acpi_facts;

    if (f->reset_addr != 0 && f->reset_space == 1 && f->reset_addr <= UINT16_MAX) {
        outb((uint16_t)f->reset_addr, f->reset_value);
    }
    for (unsigned i = 0; i < 3000000; i++) {
        pause_hint();
    }
}
