/*
 * facts_cpu.c - the processor, by CPUID.
 *
 * Sources: Intel SDM vol. 2A, CPUID; AMD64 APM vol. 3, appendix E (8000001Fh: E.4.17); Intel TDX
 * Module Base Architecture Specification, "CPUID leaf 21h".
 */
#include "facts_parts.h"

#include "bytes.h"

enum { EAX, EBX, ECX, EDX };

#define LEAF_TDX      0x21u
#define LEAF_EXTENDED 0x80000000u
#define LEAF_BRAND    0x80000002u /* and the two behind it */
#define LEAF_WIDTHS   0x80000008u

/* All of subleaf 0. */
static const struct {
    uint32_t leaf;
    uint8_t reg;
    uint8_t bit;
    uint32_t feature;
} features[] = {
    { 1, EDX, 12, REPORT_CPU_MTRR },
    { 1, EDX, 13, REPORT_CPU_PGE },
    { 1, EDX, 16, REPORT_CPU_PAT },
    { 1, ECX, 17, REPORT_CPU_PCID },
    { 1, ECX, 31, REPORT_CPU_HYPERVISOR },
    { 7, EBX, 7, REPORT_CPU_SMEP },
    { 7, EBX, 9, REPORT_CPU_ERMS },
    { 7, EBX, 10, REPORT_CPU_INVPCID },
    { 7, EBX, 20, REPORT_CPU_SMAP },
    { 7, EBX, 23, REPORT_CPU_CLFLUSHOPT },
    { 7, EBX, 24, REPORT_CPU_CLWB },
    { 7, ECX, 2, REPORT_CPU_UMIP },
    { 7, ECX, 3, REPORT_CPU_PKU },
    { 7, ECX, 7, REPORT_CPU_CET_SS },
    { 7, ECX, 16, REPORT_CPU_LA57 },
    { 7, EDX, 4, REPORT_CPU_FSRM },
    { 0x80000001, EDX, 20, REPORT_CPU_NX },
    { 0x80000001, EDX, 26, REPORT_CPU_PAGE_1G },
    { 0x8000001f, EAX, 0, REPORT_CPU_SME },
    { 0x8000001f, EAX, 1, REPORT_CPU_SEV },
    { 0x8000001f, EAX, 3, REPORT_CPU_SEV_ES },
    { 0x8000001f, EAX, 4, REPORT_CPU_SEV_SNP },
};

/* The last leaf of each range; beyond it Intel's answer with data of another leaf. */
struct leaves {
    uint32_t basic;
    uint32_t extended; /* 0: there is no such range */
};

/* False, and zeros, if the processor has no such leaf. */
static bool ask(const struct gather *g, const struct leaves *last, uint32_t leaf, uint32_t r[4])
{
    if (leaf > (leaf >= LEAF_EXTENDED ? last->extended : last->basic)) {
        memset(r, 0, 4 * sizeof(*r));
        return false;
    }
    g->source->cpuid(leaf, 0, r);
    return true;
}

/* Text in registers, up to its NUL; NULL if it is empty. */
static const char *register_text(struct gather *g, const uint32_t *r, size_t nbytes)
{
    const char *text = (const char *)r;
    size_t n = 0;

    while (n < nbytes && text[n] != '\0') {
        n++;
    }
    return n > 0 ? facts_text(g, text, n) : NULL;
}

/* The numbers that are in the data sheets; the extended parts count in these families only. */
static void take_signature(struct report_cpu *cpu, uint32_t eax)
{
    uint32_t family = eax >> 8 & 0xf;

    cpu->stepping = eax & 0xf;
    cpu->model = eax >> 4 & 0xf;
    cpu->family = family;
    if (family == 0xf) {
        cpu->family += eax >> 20 & 0xff;
    }
    if (family == 0xf || family == 6) {
        cpu->model |= (eax >> 16 & 0xf) << 4;
    }
}

static void take_widths(struct report_cpu *cpu, uint32_t eax)
{
    uint32_t physical = eax & 0xff, linear = eax >> 8 & 0xff;

    cpu->physical_bits = physical <= 64 ? physical : 0;
    cpu->linear_bits = linear <= 64 ? linear : 0;
}

void facts_cpu(struct gather *g)
{
    struct report *report = &g->f->report;
    struct report_cpu *cpu = &report->cpu;
    struct leaves last;
    uint32_t r[4], text[12];

    if (g->source == NULL) {
        return;
    }
    report->known |= REPORT_HAS_CPU;
    g->source->cpuid(0, 0, r);
    last.basic = r[EAX] < LEAF_EXTENDED ? r[EAX] : 0;
    text[0] = r[EBX];
    text[1] = r[EDX];
    text[2] = r[ECX];
    cpu->vendor = register_text(g, text, 12);
    g->source->cpuid(LEAF_EXTENDED, 0, r);
    last.extended = r[EAX] >> 16 == LEAF_EXTENDED >> 16 ? r[EAX] : 0;

    if (ask(g, &last, LEAF_BRAND + 2, text + 8)) {
        (void)ask(g, &last, LEAF_BRAND, text);
        (void)ask(g, &last, LEAF_BRAND + 1, text + 4);
        cpu->brand = register_text(g, text, sizeof(text));
    }
    (void)ask(g, &last, 1, r);
    take_signature(cpu, r[EAX]);
    (void)ask(g, &last, LEAF_WIDTHS, r);
    take_widths(cpu, r[EAX]);
    for (size_t i = 0; i < sizeof(features) / sizeof(features[0]); i++) {
        (void)ask(g, &last, features[i].leaf, r);
        if ((r[features[i].reg] >> features[i].bit & 1) != 0) {
            cpu->features |= features[i].feature;
        }
    }
    if (ask(g, &last, LEAF_TDX, r)) {
        const uint32_t name[3] = { r[EBX], r[EDX], r[ECX] };

        if (memcmp(name, "IntelTDX    ", sizeof(name)) == 0) {
            cpu->features |= REPORT_CPU_TDX_GUEST;
        }
    }
    g->f->lint.phys_bits = cpu->physical_bits;
}
