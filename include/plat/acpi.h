/*
 * acpi.h - the outside of ACPI's tables: root pointer, root table, headers, checksums. For whoever
 * looks through them: the stub while firmware is there, the kernel after it is gone.
 *
 * Model:    the two see physical memory in different ways, and lend their own to these functions.
 * The tables are firmware's and are not trusted: a table is looked at only if it is there from end
 * to end, of a length that makes sense, and its bytes add up to zero. Nothing here follows a
 * pointer but those of the root pointer and the root table.
 * Sources:  ACPI 6.5 5.2.5 (RSDP), 5.2.6 (header), 5.2.7, 5.2.8 (RSDT, XSDT), 5.2.9 (FADT).
 */
#ifndef PLAT_ACPI_H
#define PLAT_ACPI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ACPI_MAX_TABLE_BYTES (UINT32_C(16) << 20)
#define ACPI_MAX_TABLES      512u /* that the root table may name; real machines have 10 to 60 */

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
    uint32_t length; /* from here on in revision 2 and later only */
    uint64_t xsdt;
    uint8_t extended_checksum;
    uint8_t zero[3];
} __attribute__((packed));
_Static_assert(sizeof(struct acpi_rsdp) == 36, "ACPI 6.5 5.2.5.3");
#define ACPI_RSDP1_BYTES offsetof(struct acpi_rsdp, length)

/* A way of seeing physical memory. */
struct acpi_view {
    /* `nbytes` > 0 at `pa`, to be read until unsee(); NULL: they can't be. Any pa, any nbytes. */
    const void *(*see)(void *ctx, uint64_t pa, uint64_t nbytes);
    void (*unsee)(void *ctx, const void *p, uint64_t pa, uint64_t nbytes); /* p may be NULL */
    void *ctx;
};

static inline uint8_t acpi_sum(const void *p, uint64_t nbytes)
{
    const uint8_t *b = p;
    uint8_t s = 0;

    for (uint64_t i = 0; i < nbytes; i++) {
        s = (uint8_t)(s + b[i]);
    }
    return s;
}

/* Copy `nbytes` > 0 from `pa`; false if they can't be read. */
static inline bool acpi_copy(const struct acpi_view *v, void *to, uint64_t pa, uint64_t nbytes)
{
    const void *p = v->see(v->ctx, pa, nbytes);

    if (p != NULL) {
        __builtin_memcpy(to, p, nbytes);
    }
    v->unsee(v->ctx, p, pa, nbytes);
    return p != NULL;
}

/* The table at `pa` if it is whole and sound, until acpi_unsee(); else NULL, and *why it is not. */
static inline const struct acpi_header *acpi_see(const struct acpi_view *v, uint64_t pa,
                                                 const char **why)
{
    const struct acpi_header *table;
    struct acpi_header h;

    *why = "it can't be read";
    if (pa == 0 || !acpi_copy(v, &h, pa, sizeof(h))) {
        return NULL;
    }
    if (h.length < sizeof(h) || h.length > ACPI_MAX_TABLE_BYTES) {
        *why = "its length can't be right";
        return NULL;
    }
    table = v->see(v->ctx, pa, h.length);
    if (table != NULL && acpi_sum(table, h.length) != 0) {
        *why = "wrong checksum";
        v->unsee(v->ctx, table, pa, h.length);
        return NULL;
    }
    return table;
}

static inline void acpi_unsee(const struct acpi_view *v, const struct acpi_header *table,
                              uint64_t pa)
{
    v->unsee(v->ctx, table, pa, table->length);
}

/* The root pointer at `pa`; `xsdt` is 0 if it has none. NULL, or what is wrong with it. */
static inline const char *acpi_read_rsdp(const struct acpi_view *v, uint64_t pa,
                                         struct acpi_rsdp *rsdp)
{
    *rsdp = (struct acpi_rsdp){ .revision = 0 };
    if (pa == 0 || !acpi_copy(v, rsdp, pa, ACPI_RSDP1_BYTES)) {
        return "it can't be read";
    }
    if (__builtin_memcmp(rsdp->signature, "RSD PTR ", 8) != 0 ||
        acpi_sum(rsdp, ACPI_RSDP1_BYTES) != 0) {
        return "it is damaged";
    }
    if (rsdp->revision >= 2 &&
        (!acpi_copy(v, rsdp, pa, sizeof(*rsdp)) || acpi_sum(rsdp, sizeof(*rsdp)) != 0)) {
        rsdp->xsdt = 0; /* the part for ACPI 1.0 holds up */
    }
    return NULL;
}

/* The root table. */
struct acpi_root {
    const struct acpi_header *table;
    uint64_t pa;
    uint32_t entry_bytes; /* 8: it is the XSDT; 4: the RSDT */
    uint32_t count;       /* of its entries, whatever ACPI_MAX_TABLES is */
};

/* The XSDT, or if that does not hold up the RSDT, until acpi_unsee(). NULL, or what is wrong. */
static inline const char *acpi_see_root(const struct acpi_view *v, const struct acpi_rsdp *rsdp,
                                        struct acpi_root *root)
{
    const char *why = "it names no root table";

    *root = (struct acpi_root){ .pa = rsdp->xsdt, .entry_bytes = 8 };
    if (rsdp->xsdt != 0) {
        root->table = acpi_see(v, root->pa, &why);
    }
    if (root->table == NULL && rsdp->rsdt != 0) {
        root->pa = rsdp->rsdt;
        root->entry_bytes = 4;
        root->table = acpi_see(v, root->pa, &why);
    }
    if (root->table == NULL) {
        return why;
    }
    root->count = (uint32_t)(root->table->length - sizeof(*root->table)) / root->entry_bytes;
    return NULL;
}

/* The address in entry `i` < count. */
static inline uint64_t acpi_root_entry(const struct acpi_root *root, uint32_t i)
{
    const uint8_t *entries = (const uint8_t *)(root->table + 1);
    uint64_t pa = 0;

    __builtin_memcpy(&pa, entries + (uint64_t)i * root->entry_bytes, root->entry_bytes);
    return pa;
}

static inline bool acpi_is(const struct acpi_header *table, const char signature[4])
{
    return __builtin_memcmp(table->signature, signature, 4) == 0;
}

/* The field at `at` of a table; 0 if the table ends before it, as older revisions do. */
static inline uint64_t acpi_field(const struct acpi_header *table, uint32_t at, uint32_t nbytes)
{
    uint64_t v = 0;

    if (at + nbytes <= table->length) {
        __builtin_memcpy(&v, (const uint8_t *)table + at, nbytes);
    }
    return v;
}

/* Addresses that the FADT has in 64 bits or else in 32; 0: none. ACPI 6.5 table 5.9. */
static inline uint64_t acpi_facs_of(const struct acpi_header *fadt)
{
    uint64_t pa = acpi_field(fadt, 132, 8);

    return pa != 0 ? pa : acpi_field(fadt, 36, 4);
}

static inline uint64_t acpi_dsdt_of(const struct acpi_header *fadt)
{
    uint64_t pa = acpi_field(fadt, 140, 8);

    return pa != 0 ? pa : acpi_field(fadt, 40, 4);
}

#endif
