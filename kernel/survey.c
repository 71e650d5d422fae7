/*
 * survey.c - the report that the stub began, completed.
 *
 * Lint looks at the map before anything is claimed in it (mm/maplint.h), so the map is normalised
 * once more, into storage of its own: vm_map has the kernel's claims. Nothing of this is kept from
 * boot on; who never asks does not pay.
 */
#include "survey.h"

#include "cpu/cpu.h"
#include "lib/log.h"
#include "main.h"
#include "mm/kmalloc.h"
#include "mm/port.h"
#include "mm/vmalloc.h"
#include "vm.h"

enum held { HELD_REPORT, HELD_START, HELD_FINAL, HELD_RANGES, HELD_FINDINGS };

#define RSDP_BYTES 20u /* as in ACPI 1.0, with which every later one begins; 6.5, 5.2.5.3 */

static void *hold(struct survey *s, enum held what, uint64_t nbytes)
{
    s->held[what] = nbytes != 0 ? vmalloc(nbytes, "report") : NULL;
    return s->held[what];
}

/* The stub's part. False if memory does not suffice; one that is damaged is left out. */
static bool read_handed_over(struct survey *s, const struct plat_boot *boot)
{
    uint64_t nbytes = report_storage_bytes(boot->report_bytes);
    struct report_error err;

    if (boot->report_bytes == 0) {
        return true;
    }
    if (hold(s, HELD_REPORT, nbytes) == NULL) {
        return false;
    }
    if (report_read(&s->report, port_ptr(pa_make(boot->report)), boot->report_bytes,
                    s->held[HELD_REPORT], nbytes, &err) != MM_OK) {
        log_warn("the stub's report can't be read: %s: %s, byte %llu; it is left out",
                 err.member != NULL ? err.member : "the document", err.what,
                 (unsigned long long)err.at);
    }
    return true;
}

/* The map `raw` of firmware's as the next capture, and normalised in *m. */
static bool add_map(struct survey *s, enum report_when when, enum held where, struct memmap *m,
                    const struct memmap_raw *raw)
{
    uint64_t ndescs = raw->stride != 0 ? raw->nbytes / raw->stride : 0;
    uint64_t nbytes = memmap_storage_bytes(ndescs);

    if (hold(s, where, nbytes) == NULL || memmap_build(m, raw, s->held[where], nbytes) != MM_OK) {
        return false;
    }
    s->report.captures[s->report.ncaptures++] = report_capture_of(m, when);
    return true;
}

static bool add_maps(struct survey *s, const struct plat_boot *boot)
{
    const struct memmap_raw start = {
        .bytes = port_ptr(pa_make(boot->start_map)),
        .nbytes = boot->start_map_bytes,
        .stride = boot->start_map_stride,
        .version = boot->start_map_version,
    };

    s->report.ncaptures = 0; /* the stub's report has none */
    return add_map(s, REPORT_START, HELD_START, &s->start, &start) &&
           add_map(s, REPORT_FINAL, HELD_FINAL, &s->final, &vm_map.raw);
}

/* What we made of the last one. */
static void add_kernels_view(struct survey *s)
{
    struct report_capture *c = &s->report.captures[s->report.ncaptures++];

    *c = (struct report_capture){
        .known = REPORT_CAPTURE_REGIONS | REPORT_CAPTURE_TOTALS,
        .when = REPORT_KERNEL,
        .is_whole = true,
        .attr_known = UINT64_MAX,
        .origin = "Plat's kernel",
        .regions = vm_map.regions,
        .nregions = vm_map.nregions,
    };
    mapsum_make(&c->totals, &vm_map);
}

/* What we know without the stub's report, and what lies where it must not be overwritten. `ranges`
 * has room for PLAT_MAX_RANGES + 1. */
static void add_own_facts(struct maplint_facts *facts, const struct plat_boot *boot,
                          struct maplint_range *ranges)
{
    facts->arch = MAPFILE_ARCH_X86;
    if (facts->phys_bits == 0) {
        facts->phys_bits = cpu_features.pa_bits;
    }
    if (facts->rsdp.nbytes == 0 && boot->rsdp != 0) {
        facts->rsdp = (struct maplint_range){ boot->rsdp, RSDP_BYTES };
    }
    if (facts->smbios.nbytes == 0 && boot->smbios != 0) {
        facts->smbios = (struct maplint_range){ boot->smbios, 1 };
    }
    if (facts->nframebuffers == 0 && boot->fb.base != 0) {
        *ranges = (struct maplint_range){ boot->fb.base, boot->fb.nbytes };
        facts->framebuffers = ranges++;
        facts->nframebuffers = 1;
    }
    facts->handed_over = ranges;
    for (uint32_t i = 0; i < boot->nranges && i < PLAT_MAX_RANGES; i++) {
        const struct plat_range *r = &boot->ranges[i];

        if (r->kind == PLAT_RANGE_STUB) {
            facts->image = (struct maplint_range){ r->base, r->nbytes };
        } else {
            ranges[facts->nhanded_over++] = (struct maplint_range){ r->base, r->nbytes };
        }
    }
}

static bool run_lint(struct survey *s, const struct plat_boot *boot)
{
    struct report *r = &s->report;
    const struct report_capture *final = report_capture_at(r, REPORT_FINAL);
    uint64_t nreported = report_nranges(r) + 1;
    struct maplint_range *ranges =
        hold(s, HELD_RANGES, (nreported + PLAT_MAX_RANGES + 1) * sizeof(*ranges));
    struct maplint_facts facts;
    uint64_t room;

    if (ranges == NULL) {
        return false;
    }
    report_facts(&facts, r, final, ranges);
    add_own_facts(&facts, boot, ranges + nreported);

    /* Once to count them, once to have them. */
    maplint_run(&s->lint, &s->final, &facts);
    room = mm_min(s->lint.lost, (uint64_t)UINT32_MAX);
    s->lint.findings = hold(s, HELD_FINDINGS, room * sizeof(*s->lint.findings));
    if (room != 0 && s->lint.findings == NULL) {
        return false;
    }
    s->lint.max = (uint32_t)room;
    maplint_run(&s->lint, &s->final, &facts);

    report_set_findings(r, REPORT_FINAL, &s->lint);
    return true;
}

struct survey *survey_take(void)
{
    struct survey *s = kzalloc(1, sizeof(*s));

    if (s == NULL) {
        return NULL;
    }
    s->report = (struct report){ .arch = MAPFILE_ARCH_X86, .findings_when = REPORT_WHENS };
    if (!read_handed_over(s, boot_info) || !add_maps(s, boot_info) || !run_lint(s, boot_info)) {
        survey_drop(s);
        return NULL;
    }
    add_kernels_view(s);
    return s;
}

void survey_drop(struct survey *s)
{
    for (size_t i = 0; i < MM_COUNTOF(s->held); i++) {
        vfree(s->held[i]);
    }
    kfree(s);
}
