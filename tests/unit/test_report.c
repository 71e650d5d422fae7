/*
 * The report: what is written is read back, byte by byte the same when it is written again; what is
 * damaged is refused as a whole, and the message says where.
 *
 *     test_report --write DIR     the sample reports as files, for tests/tools/test_report.py
 *     test_report --again FILE    reads a report, and writes it to standard output, in one line
 */
#include "report_sample.h"

#include "host_port.h"

#include <stdlib.h>

static void (*const samples[])(struct report_sample *) = { report_sample_full, report_sample_empty,
                                                           report_sample_hostile };
static const char *const sample_names[] = { "full", "empty", "hostile" };

/* ---- to text and back ------------------------------------------------------------------------ */

/* Into memory of exactly the text's size, without the NUL; to be freed. */
static char *text_of(const struct report *r, enum json_style style, size_t *nbytes)
{
    static char buf[1 << 20];
    char *exact;
    struct mm_text text;
    struct mm_sink sink = mm_text_sink(&text, buf, sizeof(buf));

    report_write(r, &sink, style);
    assert_true(text.len < sizeof(buf));
    exact = malloc(text.len);
    assert_non_null(exact);
    memcpy(exact, buf, text.len);
    *nbytes = text.len;
    return exact;
}

struct read {
    struct report report;
    struct report_error error;
    mm_err_t err;
    void *storage;
};

/* With storage of exactly the size that is said to do. */
static struct read read_of(const char *text, size_t nbytes)
{
    struct read got = { .report.known = 0xdead };
    uint64_t storage_bytes = report_storage_bytes(nbytes);

    got.storage = malloc(storage_bytes);
    assert_non_null(got.storage);
    got.err = report_read(&got.report, text, nbytes, got.storage, storage_bytes, &got.error);
    if (got.err == MM_OK) {
        assert_int_equal(got.report.major, REPORT_MAJOR);
    } else {
        assert_int_equal(got.report.known, 0xdead); /* nothing is half read */
        assert_true(got.err == MM_EINVAL || got.err == MM_ELIMIT);
        assert_non_null(got.error.what);
        assert_true(got.error.at <= nbytes && got.error.line >= 1 && got.error.column >= 1);
    }
    return got;
}

static void assert_reads(const struct read *got)
{
    if (got->err != MM_OK) {
        char buf[256];
        struct mm_text text;
        struct mm_sink sink = mm_text_sink(&text, buf, sizeof(buf));

        report_put_error(&sink, &got->error);
        fail_msg("%s", buf);
    }
}

static void assert_same_text(const char *a, size_t an, const char *b, size_t bn)
{
    assert_int_equal(an, bn);
    assert_memory_equal(a, b, an);
}

/* Every sample in every style, read and written again in every style. */
static void test_round_trip(void **state)
{
    static const enum json_style styles[] = { JSON_LINE, JSON_PRETTY };

    (void)state;
    for (size_t i = 0; i < MM_COUNTOF(samples); i++) {
        struct report_sample s;
        char *text[2];
        size_t nbytes[2];

        samples[i](&s);
        for (size_t a = 0; a < 2; a++) {
            text[a] = text_of(&s.report, styles[a], &nbytes[a]);
        }
        report_sample_drop(&s); /* what is read needs nothing of it */
        for (size_t a = 0; a < 2; a++) {
            char *copy = malloc(nbytes[a]);

            memcpy(copy, text[a], nbytes[a]);

            struct read got = read_of(copy, nbytes[a]);

            free(copy); /* nor of the text */
            assert_reads(&got);
            for (size_t b = 0; b < 2; b++) {
                size_t again_bytes;
                char *again = text_of(&got.report, styles[b], &again_bytes);

                assert_same_text(again, again_bytes, text[b], nbytes[b]);
                free(again);
            }
            free(got.storage);
        }
        free(text[0]);
        free(text[1]);
    }
}

/* What the round trip cannot show: that the reader puts things where they belong. */
static void test_fields(void **state)
{
    struct report_sample s;
    size_t nbytes;
    char *text;

    (void)state;
    report_sample_full(&s);
    text = text_of(&s.report, JSON_LINE, &nbytes);

    struct read got = read_of(text, nbytes);
    const struct report *r = &got.report;
    const struct report_capture *c;

    assert_reads(&got);
    assert_int_equal(r->known, s.report.known);
    assert_int_equal(r->minor, REPORT_MINOR);
    assert_string_equal(r->plat, "0.4");
    assert_true(r->with_identifiers);
    assert_int_equal(r->arch, MAPFILE_ARCH_X86);
    assert_int_equal(r->time.year, 2026);
    assert_int_equal(r->time.second, 60);
    assert_int_equal(r->time.zone, -210);
    assert_string_equal(r->firmware.vendor, "EDK II \"quoted\" \xe2\x82\xac");
    assert_int_equal(r->firmware.uefi_revision, 0x20046);
    assert_int_equal(r->security.secure_boot, REPORT_ON);
    assert_int_equal(r->security.setup_mode, REPORT_OFF);
    assert_int_equal(r->security.tpm, REPORT_TPM_20);
    assert_int_equal(r->cpu.model, 143);
    assert_int_equal(r->cpu.features,
                     REPORT_CPU_PAT | REPORT_CPU_NX | REPORT_CPU_LA57 | REPORT_CPU_HYPERVISOR);
    assert_null(r->smbios.family);
    assert_string_equal(r->smbios.sku, "");
    assert_memory_equal(r->smbios.uuid, s.report.smbios.uuid, 16);
    assert_int_equal(r->smbios.ndevices, 3);
    assert_string_equal(r->smbios.devices[0].serial, "SECRET-DIMM");
    assert_int_equal(r->smbios.devices[0].nbytes, UINT64_C(1) << 33);
    assert_int_equal(r->smbios.devices[1].nbytes, 0);
    assert_int_equal(r->smbios.devices[2].nbytes, REPORT_NO_SIZE);
    assert_int_equal(r->nframebuffers, 2);
    assert_int_equal(r->framebuffers[1].format, REPORT_PIXEL_BLT_ONLY);
    assert_int_equal(r->ntables, 2);
    assert_memory_equal(r->tables, s.report.tables, 2 * sizeof(*r->tables));
    assert_int_equal(r->nacpi, 2);
    assert_memory_equal(&r->acpi[0], &s.report.acpi[0], sizeof(*r->acpi));
    assert_string_equal(r->acpi[1].oem_table_id, "A??\"\\");
    assert_int_equal(r->npci_config, 2);
    assert_memory_equal(r->pci_config, s.report.pci_config, 2 * sizeof(*r->pci_config));
    assert_int_equal(r->attributes.flags, 1);
    assert_int_equal(r->attributes.raw.version, 2);
    assert_int_equal(r->attributes.raw.nbytes, 96);
    assert_memory_equal(r->attributes.raw.bytes, s.report.attributes.raw.bytes, 96);

    assert_int_equal(r->ncaptures, 3);
    c = report_capture_at(r, REPORT_START);
    assert_ptr_equal(c, &r->captures[0]);
    assert_null(report_capture_at(r, REPORT_LAST));
    assert_true(c->is_verbatim && c->is_whole && c->has_virtual);
    assert_int_equal(c->attr_known, UINT64_MAX);
    assert_int_equal(c->raw.stride, 48);
    assert_int_equal(c->raw.version, 1);
    assert_int_equal(c->raw.nbytes, 7 * 48 + 20);
    assert_memory_equal(c->raw.bytes, s.report.captures[0].raw.bytes, 7 * 48 + 20);
    assert_int_equal(c->nregions, s.report.captures[0].nregions);
    assert_memory_equal(&c->totals, &s.report.captures[0].totals, sizeof(c->totals));
    for (uint32_t i = 0; i < c->nregions; i++) {
        const struct memmap_region *a = &c->regions[i];
        const struct memmap_region *b = &s.report.captures[0].regions[i];

        assert_true(a->base == b->base && a->end == b->end && a->attr == b->attr &&
                    a->kind == b->kind && a->type == b->type && a->desc == b->desc);
    }
    assert_int_equal(r->captures[1].known, 0);
    assert_int_equal(r->captures[2].raw.nbytes, 0);
    assert_null(r->captures[2].origin);
    assert_int_equal(r->findings_when, REPORT_START);
    assert_int_equal(r->lost_findings, 2);
    assert_int_equal(r->nfindings, s.report.nfindings);
    assert_true(r->nfindings >= 2);
    for (uint32_t i = 0; i < r->nfindings; i++) {
        const struct memmap_finding *a = &r->findings[i];
        const struct memmap_finding *b = &s.report.findings[i];

        assert_string_equal(a->rule, b->rule);
        assert_string_equal(a->what, b->what);
        assert_true(a->base == b->base && a->end == b->end && a->desc == b->desc &&
                    a->other == b->other && a->severity == b->severity);
    }
    free(got.storage);
    free(text);
    report_sample_drop(&s);
}

/* The document itself, by hand: names, order and forms are a promise. */
static void test_bytes(void **state)
{
    static const unsigned char bytes[40] = { 7, 0, 0,    0, 0xef, 0xbe, 0xad, 0xde, 0, 0x10, 0,
                                             0, 0, 0,    0, 0,    0,    0,    0,    0, 0,    0,
                                             0, 0, 0x9f, 0, 0,    0,    0,    0,    0, 0,    3 };
    static const struct memmap_finding finding = { "M24", "page 0",      NULL, MEMMAP_WARN,
                                                   0,     MEMMAP_NODESC, 0,    0x1000 };
    static const char want[] =
        "{\n"
        "  \"format\": \"plat-report\",\n"
        "  \"schema\": \"1.0\",\n"
        "  \"plat\": \"0.4\",\n"
        "  \"time\": \"2026-02-03T04:05:06\",\n"
        "  \"identifiers\": false,\n"
        "  \"arch\": \"x86\",\n"
        "  \"firmware\": {\n"
        "    \"vendor\": \"EDK II\",\n"
        "    \"revision\": \"0x00010000\",\n"
        "    \"uefi\": \"2.3.1\",\n"
        "    \"uefi_revision\": \"0x0002001f\"\n"
        "  },\n"
        "  \"security\": {\n"
        "    \"secure_boot\": true,\n"
        "    \"setup_mode\": null,\n"
        "    \"tpm\": \"none\"\n"
        "  },\n"
        "  \"cpu\": null,\n"
        "  \"smbios\": null,\n"
        "  \"framebuffers\": [],\n"
        "  \"configuration_tables\": null,\n"
        "  \"acpi_tables\": null,\n"
        "  \"pci_configuration\": null,\n"
        "  \"memory_attributes\": null,\n"
        "  \"captures\": [\n"
        "    {\n"
        "      \"when\": \"start\",\n"
        "      \"origin\": \"GetMemoryMap()\",\n"
        "      \"verbatim\": true,\n"
        "      \"whole\": true,\n"
        "      \"virtual_known\": true,\n"
        "      \"attribute_known\": \"0xffffffffffffffff\",\n"
        "      \"descriptor_size\": 40,\n"
        "      \"descriptor_version\": 1,\n"
        "      \"descriptors\": [\n"
        "        {\"index\": 0, \"type\": 7, \"type_name\": \"Conventional\", "
        "\"physical_start\": \"0x0000000000001000\", \"end\": \"0x00000000000a0000\", "
        "\"virtual_start\": \"0x0000000000000000\", \"pages\": 159, "
        "\"attribute\": \"0x0000000000000003\", \"attribute_names\": \"UC|WC\", "
        "\"raw\": "
        "\"07000000efbeadde001000000000000000000000000000009f000000000000000300000000000000"
        "\"}\n"
        "      ],\n"
        "      \"rest\": \"\",\n"
        "      \"regions\": null,\n"
        "      \"totals\": null\n"
        "    }\n"
        "  ],\n"
        "  \"findings_capture\": \"start\",\n"
        "  \"findings_lost\": 0,\n"
        "  \"findings\": [\n"
        "    {\"rule\": \"M24\", \"severity\": \"warning\", \"subject\": null, "
        "\"what\": \"page 0\", \"base\": \"0x0000000000000000\", \"end\": \"0x0000000000001000\", "
        "\"descriptor\": 0, \"other_descriptor\": null}\n"
        "  ]\n"
        "}\n";
    struct report r = {
        .known =
            REPORT_HAS_TIME | REPORT_HAS_FIRMWARE | REPORT_HAS_FINDINGS | REPORT_HAS_FRAMEBUFFERS,
        .plat = "0.4",
        .arch = MAPFILE_ARCH_X86,
        .time = { 2026, 2, 3, 4, 5, 6, REPORT_NO_ZONE },
        .firmware = { "EDK II", 0x10000, 0x2001f },
        .security = { REPORT_ON, REPORT_UNKNOWN, REPORT_TPM_NONE },
        .ncaptures = 1,
        .captures = { { .when = REPORT_START,
                        .is_verbatim = true,
                        .is_whole = true,
                        .has_virtual = true,
                        .attr_known = UINT64_MAX,
                        .origin = "GetMemoryMap()",
                        .raw = { bytes, sizeof(bytes), 40, 1 } } },
        .findings_when = REPORT_START,
        .findings = &finding,
        .nfindings = 1,
    };
    size_t nbytes;
    char *text = text_of(&r, JSON_PRETTY, &nbytes);

    (void)state;
    assert_same_text(text, nbytes, want, sizeof(want) - 1);
    free(text);
}

static bool contains(const char *text, size_t nbytes, const char *what)
{
    return memmem(text, nbytes, what, strlen(what)) != NULL;
}

static void test_one_line_and_mark(void **state)
{
    struct report_sample s;
    size_t nbytes;
    char *text;

    (void)state;
    report_sample_full(&s);
    text = text_of(&s.report, JSON_LINE, &nbytes);
    assert_memory_equal(text, REPORT_MARK, strlen(REPORT_MARK));
    assert_ptr_equal(memchr(text, '\n', nbytes), text + nbytes - 1);
    assert_true(report_recognise(text, nbytes));
    assert_true(report_recognise(text, strlen(REPORT_MARK)));
    assert_false(report_recognise(text, 10));
    assert_false(report_recognise("[]", 2));
    assert_false(report_recognise("{\"format\":\"other\"}", 18));
    assert_true(report_recognise("{\"a\":[1,{}],\"format\":\"plat-report\"", 36));
    assert_false(report_recognise("{\"a\":[1,{]},\"format\":\"plat-report\"", 37));
    assert_false(report_recognise("{\"a\":1}", 7));
    free(text);
    text = text_of(&s.report, JSON_PRETTY, &nbytes);
    assert_true(report_recognise(text, nbytes));
    free(text);
    report_sample_drop(&s);
}

static void test_identifiers(void **state)
{
    struct report_sample s;
    size_t nbytes;
    char *text;

    (void)state;
    report_sample_full(&s);
    text = text_of(&s.report, JSON_LINE, &nbytes);
    assert_true(contains(text, nbytes, "SECRET-SYSTEM"));
    assert_true(contains(text, nbytes, "SECRET-BOARD"));
    assert_true(contains(text, nbytes, "SECRET-DIMM"));
    assert_true(contains(text, nbytes, "\"uuid\":\"00112233-4455-6677-8899-aabbccddeeff\""));
    free(text);

    s.report.with_identifiers = false;
    text = text_of(&s.report, JSON_LINE, &nbytes);
    assert_false(contains(text, nbytes, "SECRET"));
    assert_false(contains(text, nbytes, "serial"));
    assert_false(contains(text, nbytes, "uuid"));
    assert_false(contains(text, nbytes, "00112233"));

    struct read got = read_of(text, nbytes);

    assert_reads(&got);
    assert_false(got.report.with_identifiers);
    assert_null(got.report.smbios.serial);
    free(got.storage);
    free(text);

    /* A UUID of zeros is none. */
    s.report.with_identifiers = true;
    memset(s.report.smbios.uuid, 0, 16);
    text = text_of(&s.report, JSON_LINE, &nbytes);
    assert_true(contains(text, nbytes, "\"uuid\":null"));
    free(text);
    report_sample_drop(&s);
}

/* ---- what is refused ------------------------------------------------------------------------- */

/* The first `from` in the text is replaced; to be freed. */
static char *replaced(const char *text, size_t nbytes, const char *from, const char *to,
                      size_t *new_bytes)
{
    const char *at = memmem(text, nbytes, from, strlen(from));
    char *copy = malloc(nbytes + strlen(to));
    size_t before;

    if (at == NULL) {
        fail_msg("there is no %s", from);
    }
    before = (size_t)(at - text);
    assert_non_null(copy);
    memcpy(copy, text, before);
    memcpy(copy + before, to, strlen(to));
    memcpy(copy + before + strlen(to), at + strlen(from), nbytes - before - strlen(from));
    *new_bytes = nbytes + strlen(to) - strlen(from);
    return copy;
}

static void test_cut_off(void **state)
{
    struct report_sample s;
    size_t nbytes;
    char *text;

    (void)state;
    report_sample_full(&s);
    text = text_of(&s.report, JSON_LINE, &nbytes);
    /* All but the last line feed belongs to it. */
    for (size_t n = 0; n + 1 < nbytes; n += n < 2000 ? 1 : 7) {
        char *copy = malloc(n + 1);

        memcpy(copy, text, n);

        struct read got = read_of(copy, n);

        assert_int_equal(got.err, MM_EINVAL);
        /* Half a character is not UTF-8, half an escape none. */
        assert_true(got.error.at == n || n - got.error.at < 6);
        free(got.storage);
        free(copy);
    }
    free(text);
    report_sample_drop(&s);
}

/* One byte is another one: refused, or read as something that can be written and read. */
static void test_damaged_bytes(void **state)
{
    struct host_rng rng = host_rng_make("damaged reports");
    struct report_sample s;
    size_t nbytes;
    char *text;
    unsigned nrefused = 0;

    (void)state;
    report_sample_full(&s);
    text = text_of(&s.report, JSON_PRETTY, &nbytes);
    for (unsigned round = 0; round < 3000; round++) {
        size_t at = host_rng_below(&rng, nbytes);
        char was = text[at];

        text[at] = "0123456789abcdef{}[]\",: x\n\\\xff"[host_rng_below(&rng, 28)];

        struct read got = read_of(text, nbytes);

        if (got.err != MM_OK) {
            nrefused++;
        } else {
            size_t again_bytes;
            char *again = text_of(&got.report, JSON_LINE, &again_bytes);
            struct read second = read_of(again, again_bytes);

            assert_reads(&second);
            free(second.storage);
            free(again);
        }
        free(got.storage);
        text[at] = was;
    }
    assert_true(nrefused > 1500);
    free(text);
    report_sample_drop(&s);
}

static void test_messages(void **state)
{
    static const struct {
        const char *from;
        const char *to;
        const char *message; /* behind the place */
    } cases[] = {
        { "\"plat-report\"", "\"other\"", "not a report of Plat" },
        { "\"format\"", "\"Format\"", "not a report of Plat" },
        { "\"1.0\"", "\"0.9\"", "schema: no version of a report" },
        { "\"1.0\"", "\"1\"", "schema: no version of a report" },
        { "\"1.0\"", "\"1.0.0\"", "schema: no version of a report" },
        { "\"1.0\"", "1.0", "schema: no version of a report" },
        { "\"1.0\"", "\"2.0\"", "schema: the report is of a later kind; a later Plat reads it" },
        { "\"schema\"", "\"scheme\"", "schema: no version of a report" },
        { "\"plat\": \"0.4\"", "\"plat\": 4", "plat: no text" },
        { "\"plat\": \"0.4\"", "\"plat\": \"\\u0000\"", "plat: there is a NUL in the text" },
        { "\"time\": \"2026-", "\"time\": \"26-", "time: no time" },
        { "T23:59:60-03:30", "T24:59:60-03:30", "time: no time" },
        { "T23:59:60-03:30", "T23:59:60-03:60", "time: no time" },
        { "T23:59:60-03:30", "T23:59:60 03:30", "time: no time" },
        { "T23:59:60-03:30", "T23:59:60-03:30Z", "time: no time" },
        { "T23:59:60-03:30", "T23:59:60Zulu", "time: no time" },
        { "T23:59:60-03:30", "T23:59", "time: no time" },
        { "T23:59:60-03:30", "T23:59:60-03:30 and a long way to go", "time: no time" },
        { "\"identifiers\": true", "\"identifiers\": 1", "identifiers: neither true nor false" },
        { "\"identifiers\": true", "\"identifiers\": null", "identifiers: must not be null" },
        { "\"arch\": \"x86\"", "\"arch\": \"vax\"",
          "arch: a word that is none of those allowed here" },
        { "\"revision\": \"0x00010000\"", "\"revision\": \"0x100000000\"",
          "revision: a number that is too large" },
        { "\"revision\": \"0x00010000\"", "\"revision\": 65536",
          "revision: no text of \"0x\" and digits" },
        { "\"family\": 6", "\"family\": -6", "family: no whole number" },
        { "\"family\": 6", "\"family\": 6.5", "family: no whole number" },
        { "\"family\": 6", "\"family\": 4294967296", "family: a number that is too large" },
        { "\"family\": 6", "\"family\": \"6\"", "family: no number" },
        { "\"family\": 6", "\"famlly\": 6", "family: missing" },
        { "\"features\": [", "\"features\": [1, ", "features: no text in the array" },
        { "00112233-4455", "0011223-34455", "uuid: no GUID" },
        { "00112233-4455", "0011223g-4455", "uuid: no GUID" },
        { "\"8868e871-", "\"8868e87-", "guid: no GUID" },
        { "\"signature\": \"DSDT\"", "\"signature\": \"DSDT1\"",
          "signature: a text that is too long" },
        { "\"signature\": \"DSDT\"", "\"signature\": \"D\\nDT\"",
          "signature: a text that is not printable ASCII" },
        { "\"captures\": [", "\"captures\": [1, ", "captures: an element that is no object" },
        { "\"when\": \"final\"", "\"when\": \"start\"",
          "captures: two of them were taken at the same time" },
        { "\"when\": \"final\"", "\"when\": \"never\"",
          "when: a word that is none of those allowed here" },
        { "\"when\": \"final\"", "\"when\": null", "when: must not be null" },
        { "\"index\": 1", "\"index\": 2", "index: a descriptor is missing, or is there twice" },
        { "\"pages\": 159", "\"pages\": 158", "pages: the bytes of the descriptor say otherwise" },
        { "\"type\": 9,", "\"type\": 10,", "type: the bytes of the descriptor say otherwise" },
        { "\"physical_start\": \"0x0000000000100000\"",
          "\"physical_start\": \"0x0000000000100001\"",
          "physical_start: the bytes of the descriptor say otherwise" },
        { "\"virtual_start\": \"0x0", "\"virtual_start\": \"0x1",
          "virtual_start: the bytes of the descriptor say otherwise" },
        { "\"attribute\": \"0x800000000000000f\"", "\"attribute\": \"0x800000000000000e\"",
          "attribute: the bytes of the descriptor say otherwise" },
        { "\"raw\": \"07", "\"raw\": \"7", "raw: half a byte" },
        { "\"raw\": \"07", "\"raw\": \"0x", "raw: no text of hexadecimal digits" },
        { "\"raw\": \"07", "\"raw\": \"0000000000000000", "raw: no descriptor has that size" },
        { "\"raw\": \"0700000000000000", "\"raw\": \"",
          "raw: not as long as that of the descriptor before" },
        { "\"descriptor_size\": 48", "\"descriptor_size\": 56",
          "descriptor_size: not the size of the descriptors" },
        { "\"rest\": \"5a5a",
          "\"rest\": \"5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a",
          "rest: not shorter than a descriptor" },
        { "\"kind\": \"free\"", "\"kind\": \"frei\"",
          "kind: a word that is none of those allowed here" },
        { "\"Conventional\": ", "\"Konventional\": ", "type_bytes: one of its members is missing" },
        { "\"free\": ", "\"free\": -", "kind_bytes: no whole number" },
        { "\"largest_bytes\": ", "\"largest_bytes\": 18446744073709551615",
          "largest_bytes: a number that is too large" },
        { "\"findings_lost\": 2", "\"findings_lost\": null", "findings_lost: must not be null" },
        { "\"severity\": \"", "\"severity\": \"fatal ",
          "severity: a word that is none of those allowed here" },
        { "\"cpu\": {", "\"cpu\": 1, \"was\": {", "cpu: no object" },
        { "\"framebuffers\": [", "\"framebuffers\": 0, \"was\": [", "framebuffers: no array" },
        { "\"bank\": \"BANK 0\"", "\"bank\": \"a\", \"bank\": \"b\"",
          "a key for the second time in its object" },
    };
    struct report_sample s;
    size_t nbytes;
    char *text;

    (void)state;
    report_sample_full(&s);
    text = text_of(&s.report, JSON_PRETTY, &nbytes);
    for (size_t i = 0; i < MM_COUNTOF(cases); i++) {
        size_t damaged_bytes;
        char *damaged = replaced(text, nbytes, cases[i].from, cases[i].to, &damaged_bytes);
        struct read got = read_of(damaged, damaged_bytes);
        char buf[256];
        struct mm_text message;
        struct mm_sink sink = mm_text_sink(&message, buf, sizeof(buf));

        if (got.err == MM_OK) {
            fail_msg("%s is read", cases[i].to);
        }
        report_put_error(&sink, &got.error);
        if (strstr(buf, "): ") == NULL || strcmp(strstr(buf, "): ") + 3, cases[i].message) != 0) {
            fail_msg("\"%s\", not \"%s\"", buf, cases[i].message);
        }
        assert_int_equal(got.err,
                         contains(cases[i].to, strlen(cases[i].to), "2.0") ? MM_ELIMIT : MM_EINVAL);
        free(got.storage);
        free(damaged);
    }
    free(text);
    report_sample_drop(&s);
}

/* The place is that of the value that is wrong. */
static void test_place(void **state)
{
    struct report_sample s;
    size_t nbytes;
    size_t damaged_bytes;
    char *text;
    char *damaged;
    char buf[256];
    struct mm_text message;
    struct mm_sink sink = mm_text_sink(&message, buf, sizeof(buf));

    (void)state;
    report_sample_empty(&s);
    text = text_of(&s.report, JSON_PRETTY, &nbytes);
    damaged =
        replaced(text, nbytes, "\"identifiers\": false", "\"identifiers\": 0", &damaged_bytes);

    struct read got = read_of(damaged, damaged_bytes);

    assert_int_equal(got.err, MM_EINVAL);
    assert_int_equal(damaged[got.error.at], '0');
    report_put_error(&sink, &got.error);
    assert_string_equal(buf, "line 6, column 18 (byte 97): identifiers: neither true nor false");
    free(got.storage);
    free(damaged);
    free(text);
}

/* A later minor version has members that we do not know, everywhere. */
static void test_newer_minor(void **state)
{
    static const char *const places[] = { "\"plat\":",     "\"vendor\":",        "\"locator\":",
                                          "\"when\":",     "\"virtual_start\":", "\"ram_bytes\":",
                                          "\"Reserved\":", "\"base\":",          "\"rule\":" };
    struct report_sample s;
    size_t nbytes;
    size_t want_bytes;
    char *text;
    char *want;

    (void)state;
    report_sample_full(&s);
    want = text_of(&s.report, JSON_LINE, &want_bytes);
    text = replaced(want, want_bytes, "\"schema\":\"1.0\"", "\"schema\":\"1.17\"", &nbytes);
    for (size_t i = 0; i < MM_COUNTOF(places); i++) {
        char with[128];
        size_t more_bytes;
        char *more;

        snprintf(with, sizeof(with), "\"new\":[{\"k\":[1e9,{}]},null,\"\\u20ac\"],%s", places[i]);
        more = replaced(text, nbytes, places[i], with, &more_bytes);
        free(text);
        text = more;
        nbytes = more_bytes;
    }

    /* A new feature of a CPU is one word more. */
    size_t more_bytes;
    char *more = replaced(text, nbytes, "\"features\":[", "\"features\":[\"new\",", &more_bytes);
    struct read got = read_of(more, more_bytes);

    assert_reads(&got);
    assert_int_equal(got.report.minor, 17);

    size_t again_bytes;
    char *again = text_of(&got.report, JSON_LINE, &again_bytes);

    assert_same_text(again, again_bytes, want, want_bytes);
    free(again);
    free(got.storage);
    free(more);
    free(text);
    free(want);
    report_sample_drop(&s);
}

/* Each member that must be there is missed when it is not. */
static void test_missing_members(void **state)
{
    /* Some only where another certain key comes next: the `end` of a region is no explanation. */
    static const struct {
        const char *key;
        const char *next;
    } explained[] = {
        { "uefi", "" },
        { "type_name", "" },
        { "name", "" },
        { "attribute_names", "" },
        { "end", "virtual_start\"" },
        { "bytes", "kind\"" },
    };
    static const char *const private[] = { "serial", "uuid", "board_serial" };
    struct report_sample s;
    size_t nbytes;
    char *text;
    unsigned nmissed = 0;

    (void)state;
    report_sample_full(&s);
    text = text_of(&s.report, JSON_LINE, &nbytes);
    for (size_t at = 0; at + 2 < nbytes; at++) {
        char *end;
        char key[32];
        bool may_miss = false;

        /* Every key: a quote behind a bracket or a comma, up to a quote and a colon. */
        if (text[at] != '"' || (text[at - 1] != '{' && text[at - 1] != ',')) {
            continue;
        }
        end = memchr(text + at + 1, '"', nbytes - at - 1);
        if (end == NULL || end[1] != ':' || (size_t)(end - text) - at > sizeof(key)) {
            continue;
        }
        snprintf(key, sizeof(key), "%.*s", (int)(end - text - (long)at - 1), text + at + 1);

        const char *next = memmem(end, nbytes - (size_t)(end - text), ",\"", 2);

        for (size_t i = 0; i < MM_COUNTOF(explained); i++) {
            may_miss =
                may_miss || (strcmp(key, explained[i].key) == 0 && next != NULL &&
                             strncmp(next + 2, explained[i].next, strlen(explained[i].next)) == 0);
        }
        for (size_t i = 0; i < MM_COUNTOF(private); i++) {
            may_miss = may_miss || strcmp(key, private[i]) == 0;
        }
        text[at + 1] = '_';

        struct read got = read_of(text, nbytes);

        if (!may_miss) {
            nmissed++;
            if (got.err != MM_EINVAL) {
                fail_msg("%s is not missed", key);
            }
        } else {
            assert_reads(&got);
        }
        free(got.storage);
        text[at + 1] = key[0];
    }
    assert_true(nmissed > 300);
    free(text);
    report_sample_drop(&s);
}

/* Too little storage is said to be that, and nothing is written beyond it. */
static void test_storage(void **state)
{
    struct report_sample s;
    size_t nbytes;
    char *text;
    bool was_enough = false;

    (void)state;
    report_sample_full(&s);
    text = text_of(&s.report, JSON_LINE, &nbytes);
    assert_true(report_storage_bytes(nbytes) <= nbytes + 4096);
    assert_int_equal(report_storage_bytes(UINT64_MAX), 0);
    for (size_t size = 0; size <= nbytes; size += 8) {
        void *storage = malloc(size == 0 ? 1 : size);
        struct report r;
        struct report_error error;
        mm_err_t err = report_read(&r, text, nbytes, storage, size, &error);

        assert_true(err == MM_OK || (err == MM_ENOSPC && !was_enough));
        was_enough = was_enough || err == MM_OK;
        free(storage);
    }
    assert_true(was_enough);
    free(text);
    report_sample_drop(&s);
}

static void test_times(void **state)
{
    static const struct {
        struct report_time time;
        const char *text;
    } cases[] = {
        { { 1900, 1, 1, 0, 0, 0, 0 }, "\"1900-01-01T00:00:00Z\"" },
        { { 9999, 12, 31, 23, 59, 59, REPORT_NO_ZONE }, "\"9999-12-31T23:59:59\"" },
        { { 2026, 2, 3, 4, 5, 6, 60 }, "\"2026-02-03T04:05:06+01:00\"" },
        { { 2026, 2, 3, 4, 5, 6, 1440 }, "\"2026-02-03T04:05:06+24:00\"" },
        { { 2026, 2, 3, 4, 5, 6, -1439 }, "\"2026-02-03T04:05:06-23:59\"" },
        { { 2026, 2, 3, 4, 5, 6, 1441 }, "null" },
        { { 1899, 2, 3, 4, 5, 6, 0 }, "null" },
        { { 10000, 2, 3, 4, 5, 6, 0 }, "null" },
        { { 2026, 0, 3, 4, 5, 6, 0 }, "null" },
        { { 2026, 1, 0, 4, 5, 6, 0 }, "null" },
        { { 2026, 1, 32, 4, 5, 6, 0 }, "null" },
        { { 2026, 1, 3, 24, 5, 6, 0 }, "null" },
        { { 2026, 1, 3, 4, 60, 6, 0 }, "null" },
        { { 2026, 1, 3, 4, 5, 61, 0 }, "null" },
    };

    (void)state;
    for (size_t i = 0; i < MM_COUNTOF(cases); i++) {
        struct report_sample s;
        char want[64];
        size_t nbytes;
        char *text;

        report_sample_empty(&s);
        s.report.known = REPORT_HAS_TIME;
        s.report.time = cases[i].time;
        text = text_of(&s.report, JSON_LINE, &nbytes);
        snprintf(want, sizeof(want), "\"time\":%s,", cases[i].text);
        assert_true(contains(text, nbytes, want));

        struct read got = read_of(text, nbytes);

        assert_reads(&got);
        if (cases[i].text[0] == '"') {
            assert_int_equal(got.report.known, REPORT_HAS_TIME);
            assert_memory_equal(&got.report.time, &cases[i].time, sizeof(cases[i].time));
        } else {
            assert_int_equal(got.report.known, 0);
        }
        free(got.storage);
        free(text);
    }
}

/* ---- rows ------------------------------------------------------------------------------------ */

static void test_rows(void **state)
{
    unsigned char bytes[2 * 48 + 3];
    struct efi_memory_descriptor d[2] = {
        { 7, 0, 0x1000, 0x2000, 0x9f, 0xf },
        { 0x80000001, 0, UINT64_C(0xfffffffffffff000), 0, 1, UINT64_C(0x8000000000000000) },
    };
    struct memmap_raw raw = { bytes, sizeof(bytes), 48, 1 };
    char buf[2048];
    struct mm_text text;
    struct mm_sink sink = mm_text_sink(&text, buf, sizeof(buf));

    (void)state;
    memset(bytes, 0, sizeof(bytes));
    memcpy(bytes, &d[0], 40);
    memcpy(bytes + 48, &d[1], 40);
    bytes[47] = 0xab;
    report_put_csv(&sink, &raw);
    assert_string_equal(
        buf,
        "index,type,type_name,physical_start,end,virtual_start,pages,attribute,attribute_names\n"
        "0,7,Conventional,0x0000000000001000,0x00000000000a0000,0x0000000000002000,159,"
        "0x000000000000000f,UC|WC|WT|WB\n"
        "1,2147483649,OS-defined,0xfffffffffffff000,,0x0000000000000000,1,0x8000000000000000,"
        "RUNTIME\n");
    sink = mm_text_sink(&text, buf, sizeof(buf));
    report_put_jsonl(&sink, &raw);
    assert_string_equal(
        buf,
        "{\"index\":0,\"type\":7,\"type_name\":\"Conventional\","
        "\"physical_start\":\"0x0000000000001000\",\"end\":\"0x00000000000a0000\","
        "\"virtual_start\":\"0x0000000000002000\",\"pages\":159,"
        "\"attribute\":\"0x000000000000000f\",\"attribute_names\":\"UC|WC|WT|WB\","
        "\"raw\":\"0700000000000000001000000000000000200000000000009f000000000000000f00000000"
        "00000000000000000000ab\"}\n"
        "{\"index\":1,\"type\":2147483649,\"type_name\":\"OS-defined\","
        "\"physical_start\":\"0xfffffffffffff000\",\"end\":null,"
        "\"virtual_start\":\"0x0000000000000000\",\"pages\":1,"
        "\"attribute\":\"0x8000000000000000\",\"attribute_names\":\"RUNTIME\","
        "\"raw\":\"010000800000000000f0ffffffffffff00000000000000000100000000000000000000000000"
        "00800000000000000000\"}\n");

    /* No descriptors: names alone, and nothing. */
    raw.stride = 0;
    sink = mm_text_sink(&text, buf, sizeof(buf));
    report_put_csv(&sink, &raw);
    assert_int_equal(strchr(buf, '\n') - buf + 1, text.len);
    sink = mm_text_sink(&text, buf, sizeof(buf));
    report_put_jsonl(&sink, &raw);
    assert_int_equal(text.len, 0);
}

static void test_wrong_callers(void **state)
{
    struct report_sample s;
    size_t nbytes;

    (void)state;
    report_sample_empty(&s);
    s.report.ncaptures = 1;
    s.report.captures[0].when = REPORT_WHENS;
    assert_panics(text_of(&s.report, JSON_LINE, &nbytes), "assertion failed");
    report_sample_empty(&s);
    s.report.security.secure_boot = 3;
    assert_panics(text_of(&s.report, JSON_LINE, &nbytes), "assertion failed");
}

/* ---- for other programs ---------------------------------------------------------------------- */

static int write_samples(const char *dir)
{
    for (size_t i = 0; i < MM_COUNTOF(samples); i++) {
        for (unsigned style = 0; style < 2; style++) {
            struct report_sample s;
            char path[4096];
            size_t nbytes;
            char *text;
            FILE *f;

            samples[i](&s);
            text = text_of(&s.report, style == 0 ? JSON_LINE : JSON_PRETTY, &nbytes);
            snprintf(path, sizeof(path), "%s/%s%s.json", dir, sample_names[i],
                     style == 0 ? "" : "-pretty");
            f = fopen(path, "wb");
            if (f == NULL || fwrite(text, 1, nbytes, f) != nbytes || fclose(f) != 0) {
                perror(path);
                return 1;
            }
            free(text);
            report_sample_drop(&s);
        }
    }
    return 0;
}

static void write_stdout(void *ctx, const char *s, size_t n)
{
    (void)ctx;
    fwrite(s, 1, n, stdout);
}

static int again(const char *path)
{
    static char text[1 << 20];
    const struct mm_sink sink = { write_stdout, NULL };
    FILE *f = fopen(path, "rb");
    size_t nbytes = f == NULL ? 0 : fread(text, 1, sizeof(text), f);
    struct read got = read_of(text, nbytes);

    if (got.err == MM_OK) {
        report_write(&got.report, &sink, JSON_LINE);
    } else {
        report_put_error(&sink, &got.error);
    }
    free(got.storage);
    return got.err == MM_OK ? 0 : 1;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),      cmocka_unit_test(test_fields),
        cmocka_unit_test(test_bytes),           cmocka_unit_test(test_one_line_and_mark),
        cmocka_unit_test(test_identifiers),     cmocka_unit_test(test_cut_off),
        cmocka_unit_test(test_damaged_bytes),   cmocka_unit_test(test_messages),
        cmocka_unit_test(test_place),           cmocka_unit_test(test_newer_minor),
        cmocka_unit_test(test_missing_members), cmocka_unit_test(test_storage),
        cmocka_unit_test(test_times),           cmocka_unit_test(test_rows),
        cmocka_unit_test(test_wrong_callers),
    };

    if (argc == 3 && strcmp(argv[1], "--write") == 0) {
        return write_samples(argv[2]);
    }
    if (argc == 3 && strcmp(argv[1], "--again") == 0) {
        return again(argv[2]);
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
