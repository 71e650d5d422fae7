/*
 * findings.c - the lint of an input: what is found here, and what the machine that made a report
 * had found itself.
 */
#include "platmap.h"

#include <stdlib.h>
#include <string.h>

/* As maplint_run() sorts: the worst first, then by place. */
static int compare_findings(const void *a, const void *b)
{
    const struct memmap_finding *x = a;
    const struct memmap_finding *y = b;
    int rule = strcmp(x->rule, y->rule);

    if (x->severity != y->severity) {
        return x->severity > y->severity ? -1 : 1;
    }
    if (x->base != y->base) {
        return x->base < y->base ? -1 : 1;
    }
    if (x->end != y->end) {
        return x->end < y->end ? -1 : 1;
    }
    return rule != 0 ? rule : (x->desc > y->desc) - (x->desc < y->desc);
}

/* Could a Plat have found this? */
static bool is_credible(const struct input *in, const struct memmap_finding *f)
{
    return is_plain(f->rule) && is_plain(f->what) && (f->subject == NULL || is_plain(f->subject)) &&
           f->base <= f->end && (f->desc == MEMMAP_NODESC || f->desc < in->map.ndescs);
}

/* Add the findings of the machine itself, which knew its stack, its buffers and more. */
static void add_recorded(struct maplint_result *out, const struct input *in)
{
    const struct report *r = &in->report;
    uint32_t nours = out->n;

    if (r->findings_when != in->capture->when) {
        return;
    }
    for (uint32_t i = 0; i < r->nfindings; i++) {
        const struct memmap_finding *f = &r->findings[i];
        uint32_t k = 0;

        if (!is_credible(in, f)) {
            continue;
        }
        while (k < nours && compare_findings(f, &out->findings[k]) != 0) {
            k++;
        }
        if (k == nours) {
            out->findings[out->n++] = *f;
            out->count[f->severity]++;
        }
    }
    qsort(out->findings, out->n, sizeof(*out->findings), compare_findings);
}

struct maplint_result input_lint(const struct input *in)
{
    struct maplint_range *ranges = must_alloc((report_nranges(&in->report) + 1) * sizeof(*ranges));
    struct maplint_facts facts;
    struct maplint_result out = { .max = 0 };
    uint64_t room;

    report_facts(&facts, &in->report, in->capture, ranges);
    maplint_run(&out, &in->map, &facts);
    room = out.n + out.lost;
    out.max = room < UINT32_MAX ? (uint32_t)room : UINT32_MAX;
    out.findings =
        must_alloc((out.max + (uint64_t)in->report.nfindings + 1) * sizeof(*out.findings));
    maplint_run(&out, &in->map, &facts);
    free(ranges);
    add_recorded(&out, in);
    return out;
}

static bool differs(const char *a, const char *b)
{
    return a != NULL && b != NULL && strcmp(a, b) != 0;
}

/* Does what is known of both machines say that they are two? */
static bool are_two_machines(const struct report *a, const struct report *b)
{
    static const unsigned char none[sizeof(a->smbios.uuid)];
    const struct report_smbios *x = &a->smbios;
    const struct report_smbios *y = &b->smbios;

    if ((a->known & b->known & REPORT_HAS_SMBIOS) == 0) {
        return false;
    }
    return differs(x->product, y->product) || differs(x->serial, y->serial) ||
           (memcmp(x->uuid, none, sizeof(none)) != 0 && memcmp(y->uuid, none, sizeof(none)) != 0 &&
            memcmp(x->uuid, y->uuid, sizeof(none)) != 0);
}

void input_compare(struct maplint_result *out, const struct input *first, const struct input *in)
{
    struct maplint_result more = { .max = 0 };

    if (are_two_machines(&first->report, &in->report)) {
        complain("note: %s and %s are of different machines", first->name, in->name);
    }
    maplint_compare(&more, &first->map, &in->map);
    if (more.lost == 0) {
        return;
    }
    more.max = (uint32_t)more.lost;
    out->findings = realloc(out->findings, (out->n + more.lost) * sizeof(*out->findings));
    if (out->findings == NULL) {
        complain("out of memory");
        exit(STATUS_TROUBLE);
    }
    more.findings = out->findings + out->n;
    maplint_compare(&more, &first->map, &in->map);
    out->n += more.n;
    for (size_t i = 0; i < MM_COUNTOF(more.count); i++) {
        out->count[i] += more.count[i];
    }
    qsort(out->findings, out->n, sizeof(*out->findings), compare_findings);
}

bool input_has_runtime(const struct input *in)
{
    if ((in->capture->attr_known & EFI_MA_RUNTIME) == 0) {
        complain("%s: this format does not tell which memory runtime services need", in->name);
        return false;
    }
    if (in->capture->when == REPORT_KERNEL) {
        complain("%s: the kernel's view has no map of firmware's to compare", in->name);
        return false;
    }
    return true;
}
