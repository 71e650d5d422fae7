/*
 * report_sample.c - see report_sample.h.
 */
#include "report_sample.h"

#include "host_port.h"

#include <stdlib.h>

#define STRIDE 48u

static void put_desc(unsigned char *at, uint32_t type, uint64_t start, uint64_t pages,
                     uint64_t attr)
{
    struct efi_memory_descriptor d = { type, 0, start, 0, pages, attr };

    memcpy(at, &d, sizeof(d));
    for (unsigned i = sizeof(d); i < STRIDE; i++) {
        at[i] = (unsigned char)(0xa0 + i); /* what firmware leaves behind a descriptor */
    }
}

/* Of a small machine; the last descriptor but one overlaps the last. Bytes of half a descriptor are
 * behind them. */
static const struct memmap_raw *full_map(void)
{
    static unsigned char bytes[7 * STRIDE + 20];
    static const struct memmap_raw raw = { bytes, sizeof(bytes), STRIDE, 1 };

    put_desc(bytes, 4, 0x0, 0x1, 0xf);
    put_desc(bytes + STRIDE, 7, 0x1000, 0x9f, 0xf);
    put_desc(bytes + 2 * STRIDE, 7, 0x100000, 0x7e000, 0xf);
    put_desc(bytes + 3 * STRIDE, 5, 0x7e6ed000, 0x100, UINT64_C(0x800000000000000f));
    put_desc(bytes + 4 * STRIDE, 9, 0x7e7ed000, 0x12, 0xf);
    put_desc(bytes + 5 * STRIDE, 6, 0x7f000000, 0x20, UINT64_C(0x800000000000000f));
    put_desc(bytes + 6 * STRIDE, 0, 0x7f010000, 0x20, 0xf);
    memset(bytes + 7 * STRIDE, 0x5a, 20);
    return &raw;
}

/* The map of `c->raw`, normalised, into the capture. */
static void normalise(struct report_capture *c, struct memmap *m, void **storage)
{
    uint64_t nbytes = memmap_storage_bytes(c->raw.nbytes / 40 + 1);

    *storage = aligned_alloc(16, (nbytes + 15) & ~UINT64_C(15));
    assert_non_null(*storage);
    assert_int_equal(memmap_build(m, &c->raw, *storage, nbytes), MM_OK);
    mapsum_make(&c->totals, m);
    c->regions = m->regions;
    c->nregions = m->nregions;
    c->known = REPORT_CAPTURE_REGIONS | REPORT_CAPTURE_TOTALS;
}

void report_sample_full(struct report_sample *s)
{
    static const struct report_memory_device devices[] = {
        { "DIMM 0", "BANK 0", "Micron", "8ATF1G64AZ", "SECRET-DIMM", UINT64_C(1) << 33, 0x1a, 9, 64,
          72, 1, 3200, 2933 },
        { "DIMM 1", NULL, NULL, NULL, NULL, 0, 2, 2, 0, 0, 0, 0, 0 },
        { "DIMM 2", "", "?", "?", NULL, REPORT_NO_SIZE, 0xfe, 2, 0, 0, 0, 0, 0 },
    };
    static const struct report_framebuffer framebuffers[] = {
        { 0x80000000, 0x300000, 1024, 768, 1024, REPORT_PIXEL_BGRX },
        { 0, 0, 640, 480, 640, REPORT_PIXEL_BLT_ONLY },
    };
    static const struct report_table tables[] = {
        { { 0x71, 0xe8, 0x68, 0x88, 0xf1, 0xe4, 0xd3, 0x11, 0xbc, 0x22, 0x00, 0x80, 0xc7, 0x3c,
            0x88, 0x81 },
          0x7e7fe014 },
        { { 0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef, 0x01, 0x23, 0x45, 0x67, 0x89, 0xab,
            0xcd, 0xef },
          UINT64_MAX },
    };
    static const struct report_acpi_table acpi[] = {
        { 0x7e7fd000, 0x1234, 2, 1, "DSDT", "BOCHS ", "BXPC    " },
        { 0x7e7fc000, 0x74, 6, UINT32_MAX, "FACP", "", "A\x80\n\"\\" },
    };
    static const struct report_pci_config pci_config[] = {
        { 0xe0000000, 0x10000000, 0, 0, 255 },
        { 0x4010100000, 0x700000, 1, 1, 7 },
    };
    static unsigned char mat[2 * STRIDE];
    struct report *r = &s->report;
    struct report_capture *c = r->captures;
    struct memmap first;
    struct memmap kernel;

    put_desc(mat, 5, 0x7e6ed000, 0x80, UINT64_C(0x8000000000020000));
    put_desc(mat + STRIDE, 5, 0x7e76d000, 0x80, UINT64_C(0x8000000000004000));
    *s = (struct report_sample){ 0 };
    *r = (struct report){
        .known = REPORT_HAS_TIME | REPORT_HAS_FIRMWARE | REPORT_HAS_TABLES | REPORT_HAS_ACPI |
                 REPORT_HAS_SMBIOS | REPORT_HAS_CPU | REPORT_HAS_FRAMEBUFFERS |
                 REPORT_HAS_ATTRIBUTES | REPORT_HAS_FINDINGS | REPORT_HAS_PCI_CONFIG,
        .plat = "0.4",
        .with_identifiers = true,
        .arch = MAPFILE_ARCH_X86,
        .time = { 2026, 2, 28, 23, 59, 60, -210 },
        .firmware = { "EDK II \"quoted\" \xe2\x82\xac", 0x10000, 0x20046 },
        .security = { REPORT_ON, REPORT_OFF, REPORT_TPM_20 },
        .cpu = { "GenuineIntel", "Xeon(R)  ", 6, 143, 8, 46, 57,
                 REPORT_CPU_PAT | REPORT_CPU_NX | REPORT_CPU_LA57 | REPORT_CPU_HYPERVISOR },
        .smbios = { 0xf0000,
                    3,
                    7,
                    "EDK II",
                    "edk2-stable",
                    "02/02/2022",
                    "QEMU",
                    "Standard PC (Q35 + ICH9, 2009)",
                    "pc-q35-7.2",
                    NULL,
                    "",
                    "SECRET-SYSTEM",
                    { 0x33, 0x22, 0x11, 0x00, 0x55, 0x44, 0x77, 0x66, 0x88, 0x99, 0xaa, 0xbb, 0xcc,
                      0xdd, 0xee, 0xff },
                    "board maker",
                    "board",
                    "1",
                    "SECRET-BOARD",
                    devices,
                    3 },
        .framebuffers = framebuffers,
        .nframebuffers = 2,
        .tables = tables,
        .ntables = 2,
        .acpi = acpi,
        .nacpi = 2,
        .pci_config = pci_config,
        .npci_config = 2,
        .attributes = { 0x7e500018,
                        1,
                        "an entry does not match the memory map",
                        { mat, sizeof(mat), STRIDE, 2 } },
        .ncaptures = 3,
        .findings_when = REPORT_START,
        .lost_findings = 2,
    };

    c[0] = (struct report_capture){ .when = REPORT_START,
                                    .is_verbatim = true,
                                    .is_whole = true,
                                    .has_virtual = true,
                                    .attr_known = UINT64_MAX,
                                    .origin = "GetMemoryMap()",
                                    .raw = *full_map() };
    normalise(&c[0], &first, &s->storage[0]);
    r->findings = first.findings;
    r->nfindings = first.nfindings;

    c[1] = c[0];
    c[1].when = REPORT_FINAL;
    c[1].known = 0;
    c[1].raw.nbytes = 3 * STRIDE;

    /* What the kernel works with has no bytes of its own, and claims. */
    c[2] = c[0];
    c[2].when = REPORT_KERNEL;
    c[2].origin = NULL;
    normalise(&c[2], &kernel, &s->storage[1]);
    assert_int_equal(memmap_claim(&kernel, 0x200000, 0x300000, MEMMAP_KERNEL), MM_OK);
    c[2].nregions = kernel.nregions;
    c[2].raw = (struct memmap_raw){ 0 };
    mapsum_make(&c[2].totals, &kernel);
}

void report_sample_empty(struct report_sample *s)
{
    *s = (struct report_sample){ .report = { .findings_when = REPORT_WHENS } };
}

void report_sample_hostile(struct report_sample *s)
{
    static unsigned char bytes[3 * 56 + 7];
    static const struct memmap_finding findings[] = {
        { "M05", "runs past 2^64; left out", "\xff\x01\\\"", MEMMAP_ERROR, 0, 1, 0x1000,
          UINT64_MAX },
        { NULL, "", NULL, MEMMAP_INFO, MEMMAP_NODESC, MEMMAP_NODESC, 0, 0 },
    };
    struct report *r = &s->report;

    report_sample_empty(s);
    memset(bytes, 0xff, sizeof(bytes));
    r->plat = "\xc0\x80 \xed\xa0\x80 \x7f\x1f\xe2\x82";
    r->known = REPORT_HAS_TIME | REPORT_HAS_FIRMWARE | REPORT_HAS_ATTRIBUTES | REPORT_HAS_CPU |
               REPORT_HAS_FINDINGS | REPORT_HAS_FRAMEBUFFERS | REPORT_HAS_SMBIOS;
    r->time = (struct report_time){ 2026, 13, 1, 0, 0, 0, 0 };
    r->firmware = (struct report_firmware){ NULL, UINT32_MAX, UINT32_MAX };
    r->cpu = (struct report_cpu){ "", "", UINT32_MAX, UINT32_MAX, UINT32_MAX, 0, 0, 0 };
    r->attributes.raw = (struct memmap_raw){ bytes, sizeof(bytes), 41, UINT32_MAX };
    r->attributes.flags = UINT32_MAX;
    r->findings = findings;
    r->nfindings = 2;
    r->lost_findings = UINT32_MAX;
    r->ncaptures = 3;
    r->captures[0] = (struct report_capture){ .when = REPORT_FILE,
                                              .attr_known = 0,
                                              .raw = { bytes, sizeof(bytes), 56, 0 } };
    r->captures[1] = (struct report_capture){ .when = REPORT_LAST, .raw = { bytes, 48, 0, 1 } };
    r->captures[2] =
        (struct report_capture){ .when = REPORT_START, .raw = { bytes, 48, UINT64_MAX - 7, 1 } };
}

void report_sample_drop(struct report_sample *s)
{
    free(s->storage[0]);
    free(s->storage[1]);
}
