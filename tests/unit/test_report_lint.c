/*
 * test_report_lint.c - what lint is told of a report.
 */
#include "host_port.h"
#include "report_sample.h"

static void assert_range(const struct maplint_range *r, uint64_t base, uint64_t nbytes)
{
    assert_int_equal(r->base, base);
    assert_int_equal(r->nbytes, nbytes);
}

static void test_full(void **state)
{
    static const struct report_acpi_table acpi[] = {
        { 0x7e7fd000, 0x1234, 2, 1, "DSDT", "", "" },
        { 0x7e7fc000, 0x74, 1, 1, "XSDT", "", "" },
        { 0x7e7fb000, 0x40, 1, 1, "FACS", "", "" },
    };
    struct report_sample s;
    struct maplint_range ranges[5];
    struct maplint_facts facts;

    (void)state;
    report_sample_full(&s);
    s.report.acpi = acpi;
    s.report.nacpi = 3;
    assert_int_equal(report_nranges(&s.report), 4);
    report_facts(&facts, &s.report, &s.report.captures[0], ranges);
    assert_int_equal(facts.arch, MAPFILE_ARCH_X86);
    assert_int_equal(facts.phys_bits, 46);
    assert_int_equal(facts.attr_known, UINT64_MAX);
    assert_int_equal(facts.raw_is_firmware, MAPLINT_YES);
    assert_int_equal(facts.virt_is_firmware, MAPLINT_YES);
    assert_int_equal(facts.key_changed, MAPLINT_UNKNOWN);
    assert_range(&facts.rsdp, 0x7e7fe014, 36);
    assert_range(&facts.xsdt, 0x7e7fc000, 0x74);
    assert_range(&facts.facs, 0x7e7fb000, 0x40);
    assert_range(&facts.smbios, 0, 0);
    assert_int_equal(facts.nframebuffers, 2);
    assert_range(&facts.framebuffers[0], 0x80000000, 0x300000);
    assert_int_equal(facts.necam, 2);
    assert_range(&facts.ecam[0], 0xe0000000, 0x10000000);
    assert_range(&facts.ecam[1], 0x4010100000, 0x700000);
    assert_int_equal(facts.mat_count, 2);
    assert_ptr_equal(facts.mat.bytes, s.report.attributes.raw.bytes);
    report_sample_drop(&s);
}

/* The 64-bit entry point is the one that counts, in whatever order they come. */
static void test_smbios(void **state)
{
    static const struct report_table smbios = { { 0x31, 0x2d, 0x9d, 0xeb, 0x88, 0x2d, 0xd3, 0x11,
                                                  0x9a, 0x16, 0x00, 0x90, 0x27, 0x3f, 0xc1, 0x4d },
                                                0xf0000 };
    static const struct report_table smbios3 = { { 0x44, 0x15, 0xfd, 0xf2, 0x94, 0x97, 0x2c, 0x4a,
                                                   0x99, 0x2e, 0xe5, 0xbb, 0xcf, 0x20, 0xe3, 0x94 },
                                                 0x7e000000 };
    struct report_table both[2];
    struct report r = { .tables = both, .ntables = 1 };
    struct report_capture c = { .when = REPORT_FINAL };
    struct maplint_facts facts;
    struct maplint_range none[1];

    (void)state;
    both[0] = smbios;
    both[1] = smbios3;
    report_facts(&facts, &r, &c, none);
    assert_range(&facts.smbios, 0xf0000, 1);
    r.ntables = 2;
    report_facts(&facts, &r, &c, none);
    assert_range(&facts.smbios, 0x7e000000, 1);
    both[0] = smbios3;
    both[1] = smbios;
    report_facts(&facts, &r, &c, none);
    assert_range(&facts.smbios, 0x7e000000, 1);
}

static void test_nothing_known(void **state)
{
    struct report_capture c = { .when = REPORT_FILE, .has_virtual = true };
    struct maplint_range none[1];
    struct maplint_facts facts;
    struct report_sample s;

    (void)state;
    report_sample_empty(&s);
    report_facts(&facts, &s.report, &c, none);
    assert_int_equal(facts.raw_is_firmware, MAPLINT_UNKNOWN);
    assert_int_equal(facts.virt_is_firmware, MAPLINT_UNKNOWN); /* an OS gave them out */
    assert_int_equal(facts.phys_bits, 0);
    assert_int_equal(facts.attr_known, 0);
    assert_int_equal(facts.nframebuffers + facts.necam + facts.mat_count, 0);
    assert_range(&facts.rsdp, 0, 0);
    assert_null(facts.mat.bytes);
    report_sample_drop(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_full),
        cmocka_unit_test(test_smbios),
        cmocka_unit_test(test_nothing_known),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
