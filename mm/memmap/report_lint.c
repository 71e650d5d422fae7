/*
 * report_lint.c - what a report says around a map, as lint asks for it.
 */
#include "mm/maplint.h"
#include "mm/report.h"

#define RSDP_BYTES 36u /* ACPI 6.5, 5.2.5.3 */

static bool is_text(const char *a, const char *b)
{
    while (*a != '\0' && *a == *b) {
        a++;
        b++;
    }
    return *a == *b;
}

static enum maplint_answer yes_if(bool known)
{
    return known ? MAPLINT_YES : MAPLINT_UNKNOWN;
}

/* SMBIOS has two entry points; the 64-bit one is the one that counts. */
static void take_tables(struct maplint_facts *facts, const struct report *r)
{
    for (uint32_t i = 0; i < r->ntables; i++) {
        const struct report_table *t = &r->tables[i];
        const char *name = report_guid_name(t->guid);

        if (name == NULL) {
            continue;
        }
        if (is_text(name, "ACPI 2.0")) {
            facts->rsdp = (struct maplint_range){ t->address, RSDP_BYTES };
        } else if (is_text(name, "SMBIOS 3.0") ||
                   (is_text(name, "SMBIOS") && facts->smbios.nbytes == 0)) {
            facts->smbios = (struct maplint_range){ t->address, 1 };
        }
    }
    for (uint32_t i = 0; i < r->nacpi; i++) {
        const struct report_acpi_table *t = &r->acpi[i];

        if (is_text(t->signature, "XSDT")) {
            facts->xsdt = (struct maplint_range){ t->address, t->nbytes };
        } else if (is_text(t->signature, "FACS")) {
            facts->facs = (struct maplint_range){ t->address, t->nbytes };
        }
    }
}

uint64_t report_nranges(const struct report *r)
{
    return (uint64_t)r->nframebuffers + r->npci_config;
}

void report_facts(struct maplint_facts *facts, const struct report *r,
                  const struct report_capture *c, struct maplint_range *ranges)
{
    *facts = (struct maplint_facts){
        .arch = r->arch,
        .phys_bits = r->cpu.physical_bits,
        .attr_known = c->attr_known,
        .raw_is_firmware = yes_if(c->is_verbatim),
        /* In what an OS or its loader printed, they are those that it gave out itself. */
        .virt_is_firmware = yes_if(c->has_virtual && c->is_verbatim),
        .framebuffers = ranges,
        .nframebuffers = r->nframebuffers,
        .ecam = ranges + r->nframebuffers,
        .necam = r->npci_config,
        .mat = r->attributes.raw,
    };
    for (uint32_t i = 0; i < r->nframebuffers; i++) {
        *ranges++ = (struct maplint_range){ r->framebuffers[i].base, r->framebuffers[i].nbytes };
    }
    for (uint32_t i = 0; i < r->npci_config; i++) {
        *ranges++ = (struct maplint_range){ r->pci_config[i].base, r->pci_config[i].nbytes };
    }
    take_tables(facts, r);
    if (facts->mat.bytes != NULL && facts->mat.stride != 0) {
        facts->mat_count = (uint32_t)(facts->mat.nbytes / facts->mat.stride);
    }
}
