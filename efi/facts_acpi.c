/*
 * facts_acpi.c - the list of ACPI's tables, and what the lint wants to know of them.
 *
 * A table is in the list if it holds up (plat/acpi.h): what is damaged is not there for whoever
 * reads the list either, and the kernel's log says why. The order is that in which kernels print
 * it: the root table, then its tables as it names them, DSDT and FACS behind the FADT. A table that
 * is named twice is there once, so that a root table that names itself leads nowhere. The addresses
 * of RSDP, XSDT and FACS are facts for the lint whether or not there is anything to be read.
 *
 * A root table can name 512 tables of 16 MiB, and to add up all their bytes would take a minute:
 * WALK_BYTES are looked at, and a table that is more than what is left of them is not there either.
 */
#include "facts_parts.h"

#include "bytes.h"
#include "plat/acpi.h"

#define WALK_BYTES UINT64_C(0x4000000)

#define FACS_MIN_BYTES 64u /* ACPI 6.5 5.2.10 */
#define FACS_VERSION   32u

/* MCFG: PCI Firmware Specification 3.3, 4.1.2. */
#define MCFG_FIRST      44u
#define MCFG_ALLOCATION 16u
#define MCFG_BUS_BYTES  UINT64_C(0x100000)

struct walk {
    struct gather *g;
    struct acpi_view view;
    uint64_t budget; /* bytes that may still be looked at */
    struct report_acpi_table *list;
    uint32_t n;
    bool full;
};

static const void *see(void *ctx, uint64_t pa, uint64_t nbytes)
{
    struct walk *w = ctx;

    if (nbytes > w->budget) {
        return NULL;
    }
    w->budget -= nbytes;
    return facts_see(w->g, pa, nbytes);
}

static void unsee(void *ctx, const void *p, uint64_t pa, uint64_t nbytes)
{
    (void)ctx;
    (void)p;
    (void)pa;
    (void)nbytes;
}

static bool is_listed(const struct walk *w, uint64_t pa)
{
    for (uint32_t i = 0; i < w->n; i++) {
        if (w->list[i].address == pa) {
            return true;
        }
    }
    return false;
}

static struct report_acpi_table *list_one(struct walk *w, uint64_t pa)
{
    struct report_acpi_table *t = facts_grow(w->g, sizeof(*t));

    if (t == NULL) {
        w->full = true;
        return NULL;
    }
    w->list = w->n == 0 ? t : w->list;
    w->n++;
    t->address = pa;
    return t;
}

static void list_table(struct walk *w, const struct acpi_header *h, uint64_t pa)
{
    struct report_acpi_table *t = list_one(w, pa);

    if (t != NULL) {
        t->nbytes = h->length;
        t->revision = h->revision;
        t->oem_revision = h->oem_revision;
        memcpy(t->signature, h->signature, sizeof(h->signature));
        memcpy(t->oem_id, h->oem_id, sizeof(h->oem_id));
        memcpy(t->oem_table_id, h->oem_table_id, sizeof(h->oem_table_id));
    }
}

/* Without a checksum, and with another header than all other tables. */
static void take_facs(struct walk *w, uint64_t pa)
{
    struct maplint_range *range = &w->g->f->lint.facs;
    unsigned char facs[FACS_MIN_BYTES];
    struct report_acpi_table *t;
    uint32_t nbytes;

    *range = (struct maplint_range){ pa, FACS_MIN_BYTES };
    if (is_listed(w, pa) || !acpi_copy(&w->view, facs, pa, sizeof(facs))) {
        return;
    }
    nbytes = (uint32_t)facts_number(facs + 4, 4);
    if (memcmp(facs, "FACS", 4) != 0 || nbytes < FACS_MIN_BYTES || nbytes > ACPI_MAX_TABLE_BYTES ||
        facts_reach(w->g, pa, nbytes) != nbytes) {
        return;
    }
    range->nbytes = nbytes;
    t = list_one(w, pa);
    if (t != NULL) {
        t->nbytes = nbytes;
        t->revision = facs[FACS_VERSION];
        memcpy(t->signature, facs, 4);
    }
}

static void take_mcfg(struct walk *w, const struct acpi_header *mcfg)
{
    const unsigned char *at = (const unsigned char *)mcfg + MCFG_FIRST;
    struct facts *f = w->g->f;
    uint32_t n = mcfg->length < MCFG_FIRST ? 0 : (mcfg->length - MCFG_FIRST) / MCFG_ALLOCATION;
    struct report_pci_config *list = NULL;
    struct maplint_range *ranges = NULL;

    for (uint32_t i = 0; i < n && f->report.npci_config < FACTS_MAX_ECAM; i++) {
        const unsigned char *a = at + (size_t)i * MCFG_ALLOCATION;
        struct report_pci_config c = {
            .segment = (uint32_t)facts_number(a + 8, 2),
            .first_bus = a[10],
            .last_bus = a[11],
        };
        struct report_pci_config *to;

        /* The address is that of bus 0, wherever the allocation begins. */
        if (c.first_bus > c.last_bus ||
            __builtin_add_overflow(facts_number(a, 8), c.first_bus * MCFG_BUS_BYTES, &c.base)) {
            continue;
        }
        c.nbytes = (c.last_bus - c.first_bus + 1) * MCFG_BUS_BYTES;
        to = facts_grow(w->g, sizeof(*to));
        if (to == NULL) {
            break;
        }
        *to = c;
        list = list == NULL ? to : list;
        f->report.npci_config++;
    }
    f->report.pci_config = list;
    for (uint32_t i = 0; i < f->report.npci_config; i++) {
        struct maplint_range *to = facts_grow(w->g, sizeof(*to));

        if (to == NULL) {
            break;
        }
        *to = (struct maplint_range){ list[i].base, list[i].nbytes };
        ranges = ranges == NULL ? to : ranges;
        f->lint.necam++;
    }
    f->lint.ecam = ranges;
}

/* The address of the first table in the list with this signature; 0 if there is none. */
static uint64_t find(const struct walk *w, const char *signature)
{
    for (uint32_t i = 0; i < w->n; i++) {
        if (memcmp(w->list[i].signature, signature, 5) == 0) {
            return w->list[i].address;
        }
    }
    return 0;
}

static void take_table(struct walk *w, uint64_t pa)
{
    const struct acpi_header *table;
    bool is_first_fadt;
    const char *why;
    uint64_t dsdt;

    if (is_listed(w, pa)) {
        return;
    }
    table = acpi_see(&w->view, pa, &why);
    if (table == NULL) {
        return;
    }
    is_first_fadt = acpi_is(table, "FACP") && find(w, "FACP") == 0;
    list_table(w, table, pa);
    if (!is_first_fadt) {
        return;
    }
    dsdt = acpi_dsdt_of(table);
    if (!is_listed(w, dsdt)) {
        const struct acpi_header *h = acpi_see(&w->view, dsdt, &why);

        if (h != NULL) {
            list_table(w, h, dsdt);
        }
    }
    if (acpi_facs_of(table) != 0) {
        take_facs(w, acpi_facs_of(table));
    }
}

void facts_acpi(struct gather *g)
{
    uint64_t pa = g->machine->rsdp, mcfg;
    struct facts *f = g->f;
    struct walk w = { .g = g, .view = { see, unsee, &w }, .budget = WALK_BYTES };
    struct acpi_rsdp rsdp;
    struct acpi_root root;

    if (pa == 0) {
        f->report.known |= REPORT_HAS_ACPI | REPORT_HAS_PCI_CONFIG; /* there are none */
        return;
    }
    f->lint.rsdp = (struct maplint_range){ pa, ACPI_RSDP1_BYTES };
    if (acpi_read_rsdp(&w.view, pa, &rsdp) != NULL) {
        return;
    }
    if (rsdp.xsdt != 0) {
        f->lint.rsdp.nbytes = sizeof(rsdp);
        f->lint.xsdt = (struct maplint_range){ rsdp.xsdt, sizeof(struct acpi_header) };
    }
    if (acpi_see_root(&w.view, &rsdp, &root) != NULL) {
        return;
    }
    if (root.entry_bytes == 8) {
        f->lint.xsdt.nbytes = root.table->length;
    }
    list_table(&w, root.table, root.pa);
    for (uint32_t i = 0; i < root.count && i < ACPI_MAX_TABLES && !w.full; i++) {
        take_table(&w, acpi_root_entry(&root, i));
    }
    f->report.acpi = w.list;
    f->report.nacpi = w.n;
    f->report.known |= REPORT_HAS_ACPI | REPORT_HAS_PCI_CONFIG;

    mcfg = find(&w, "MCFG");
    if (mcfg != 0) {
        take_mcfg(&w, facts_see(g, mcfg, 1));
    }
}
