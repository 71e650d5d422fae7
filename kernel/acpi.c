/*
 * Just enough ACPI. The DSDT is not interpreted: the package \_S5 is found by its bytes, as every
 * small kernel does, and only constants in it are understood.
 */
#include "acpi.h"

#include "cpu/asm.h"
#include "lib/log.h"
#include "lib/string.h"
#include "mm/types.h"
#include "vm.h"

#define MAX_TABLE_BYTES    (UINT32_C(16) << 20)
#define MAX_ROOT_BYTES     UINT32_C(4096) /* 500 tables; real machines have 10 to 60 */
#define PM1_SCI_EN         1u
#define PM1_SLP_EN         (1u << 13)
#define FADT_TMR_VAL_EXT   (1u << 8)
#define FADT_RESET_REG_SUP (1u << 10)

struct acpi_header {
    char signature[4];
    uint32_t length;
    uint8_t revision;
    uint8_t checksum;
    char oem_id[6];
    char oem_table_id[8];
    uint32_t oem_revision;
    uint32_t creator_id;
    uint32_t creator_revision;
} __attribute__((packed));
_Static_assert(sizeof(struct acpi_header) == 36, "ACPI 6.5 5.2.6");

struct acpi_rsdp {
    char signature[8];
    uint8_t checksum;
    char oem_id[6];
    uint8_t revision;
    uint32_t rsdt;
    uint32_t length;
    uint64_t xsdt;
    uint8_t extended_checksum;
    uint8_t zero[3];
} __attribute__((packed));
_Static_assert(sizeof(struct acpi_rsdp) == 36, "ACPI 6.5 5.2.5.3");

struct acpi_facts acpi_facts;

static uint8_t sum(const void *p, uint64_t nbytes)
{
    const uint8_t *b = p;
    uint8_t s = 0;

    for (uint64_t i = 0; i < nbytes; i++) {
        s = (uint8_t)(s + b[i]);
    }
    return s;
}

/* A whole, sound table at `pa`, or NULL. vm_unsee(table, pa, table->length) when done. */
static const struct acpi_header *table_see(uint64_t pa)
{
    const struct acpi_header *h = pa != 0 ? vm_see(pa, sizeof(*h)) : NULL;
    uint32_t length;

    if (h == NULL) {
        return NULL;
    }
    length = h->length;
    vm_unsee(h, pa, sizeof(*h));
    if (length < sizeof(*h) || length > MAX_TABLE_BYTES) {
        log_warn("ACPI table at 0x%llx: its length of %u bytes can't be right: left out",
                 (unsigned long long)pa, length);
        return NULL;
    }
    h = vm_see(pa, length);
    if (h != NULL && sum(h, length) != 0) {
        log_warn("ACPI table %.4s at 0x%llx: wrong checksum: left out", h->signature,
                 (unsigned long long)pa);
        vm_unsee(h, pa, length);
        return NULL;
    }
    return h;
}

/* Call `fn` for each table that the root table lists and that holds up. */
static void for_each_table(uint64_t rsdp_pa, void (*fn)(const struct acpi_header *table))
{
    struct acpi_rsdp rsdp = { .revision = 0 };
    const void *p = rsdp_pa != 0 ? vm_see(rsdp_pa, 20) : NULL;
    const struct acpi_header *root;
    uint64_t root_pa;
    unsigned entry;

    if (p == NULL) {
        return;
    }
    memcpy(&rsdp, p, 20); /* the part that ACPI 1.0 has too */
    vm_unsee(p, rsdp_pa, 20);
    if (memcmp(rsdp.signature, "RSD PTR ", 8) != 0 || sum(&rsdp, 20) != 0) {
        log_warn("ACPI root pointer at 0x%llx is damaged: no ACPI tables",
                 (unsigned long long)rsdp_pa);
        return;
    }
    if (rsdp.revision >= 2) {
        p = vm_see(rsdp_pa, sizeof(rsdp));
        if (p != NULL) {
            memcpy(&rsdp, p, sizeof(rsdp));
            vm_unsee(p, rsdp_pa, sizeof(rsdp));
        }
    }
    root_pa = rsdp.revision >= 2 && rsdp.xsdt != 0 ? rsdp.xsdt : rsdp.rsdt;
    entry = root_pa == rsdp.rsdt && root_pa != rsdp.xsdt ? 4 : 8;
    root = table_see(root_pa);
    if (root == NULL) {
        log_warn("ACPI root table at 0x%llx can't be used: no ACPI tables",
                 (unsigned long long)root_pa);
        return;
    }
    for (uint32_t at = sizeof(*root); at + entry <= root->length; at += entry) {
        if (at > MAX_ROOT_BYTES) {
            log_warn("ACPI root table names more tables than make sense: the rest is left out");
            break;
        }
        const struct acpi_header *h;
        uint64_t pa = 0;

        memcpy(&pa, (const uint8_t *)root + at, entry);
        h = table_see(pa);
        if (h != NULL) {
            fn(h);
            vm_unsee(h, pa, h->length);
        }
    }
    vm_unsee(root, root_pa, root->length);
}

/* The field at `at` of a table; 0 if the table ends before it, as older revisions do. */
static uint64_t field(const struct acpi_header *h, uint32_t at, uint32_t nbytes)
{
    uint64_t v = 0;

    if (at + nbytes <= h->length) {
        memcpy(&v, (const uint8_t *)h + at, nbytes);
    }
    return v;
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
    uint64_t addr = field(fadt, gas_at + 4, 8);

    if (addr == 0 || field(fadt, gas_at, 1) != 1) {
        addr = field(fadt, old_at, 4);
    }
    return addr <= UINT16_MAX ? (uint16_t)addr : 0;
}

static void take_fadt(const struct acpi_header *fadt)
{
    const struct acpi_header *dsdt;
    struct acpi_facts *f = &acpi_facts;
    uint64_t flags, dsdt_pa;

    if (memcmp(fadt->signature, "FACP", 4) != 0) {
        return;
    }
    flags = field(fadt, 112, 4);
    f->smi_cmd = (uint16_t)field(fadt, 48, 4);
    f->acpi_enable = (uint8_t)field(fadt, 52, 1);
    f->pm1a_cnt = io_block(fadt, 64, 172);
    f->pm1b_cnt = io_block(fadt, 68, 184);
    if (field(fadt, 91, 1) == 4) { /* PM_TMR_LEN */
        f->pm_timer = io_block(fadt, 76, 208);
    }
    f->pm_timer_32 = (flags & FADT_TMR_VAL_EXT) != 0;
    if ((flags & FADT_RESET_REG_SUP) != 0) {
        f->reset_space = (uint8_t)field(fadt, 116, 1);
        f->reset_addr = field(fadt, 120, 8);
        f->reset_value = (uint8_t)field(fadt, 128, 1);
    }
    dsdt_pa = field(fadt, 140, 8);
    if (dsdt_pa == 0) {
        dsdt_pa = field(fadt, 40, 4);
    }
    dsdt = table_see(dsdt_pa);
    if (dsdt != NULL) {
        find_s5(dsdt);
        vm_unsee(dsdt, dsdt_pa, dsdt->length);
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
