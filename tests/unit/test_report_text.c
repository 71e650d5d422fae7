/*
 * A report as text: as it should look; the same after a report was written and read back; and
 * nothing in it that a terminal would obey.
 */
#include "report_sample.h"

#include "host_port.h"

#include <stdlib.h>

static void (*const samples[])(struct report_sample *) = { report_sample_full, report_sample_empty,
                                                           report_sample_hostile };

/* Of the sample of which all is known. */
static const char golden[] =
    "Memory report\n"
    "=============\n"
    "made by Plat    0.4\n"
    "time            2026-02-28T23:59:60-03:30\n"
    "architecture    x86\n"
    "identifiers     serial numbers and UUIDs are included\n"
    "\n"
    "Firmware\n"
    "--------\n"
    "vendor          EDK II \"quoted\" ?\n"
    "revision        0x00010000\n"
    "UEFI            2.7\n"
    "Secure Boot     on\n"
    "setup mode      off\n"
    "TPM             2.0\n"
    "\n"
    "Processor\n"
    "---------\n"
    "vendor          GenuineIntel\n"
    "brand           Xeon(R)\n"
    "version         family 6, model 143, stepping 8\n"
    "addresses       physical 46 bits, linear 57 bits\n"
    "features        pat nx la57 hypervisor\n"
    "\n"
    "System (SMBIOS)\n"
    "---------------\n"
    "SMBIOS          3.7, entry point at 0xf0000\n"
    "manufacturer    QEMU\n"
    "product         Standard PC (Q35 + ICH9, 2009)\n"
    "version         pc-q35-7.2\n"
    "family          not known\n"
    "SKU             (empty)\n"
    "serial number   SECRET-SYSTEM\n"
    "UUID            00112233-4455-6677-8899-aabbccddeeff\n"
    "board maker     board maker\n"
    "board           board\n"
    "board version   1\n"
    "board serial    SECRET-BOARD\n"
    "BIOS vendor     EDK II\n"
    "BIOS version    edk2-stable\n"
    "BIOS date       02/02/2022\n"
    "memory device   DIMM 0, BANK 0: 8.0 GiB DDR4, made for 3200 MT/s, runs at 2933\n"
    "                MT/s, 64 data bits of 72, 1 rank, Micron 8ATF1G64AZ, serial\n"
    "                number SECRET-DIMM\n"
    "memory device   DIMM 1: empty\n"
    "memory device   DIMM 2: size not known, ? ?\n"
    "\n"
    "Screens\n"
    "-------\n"
    "screen          1024 x 768, pixels bgrx, 1024 to a line, frame buffer of 3.0 MiB\n"
    "                at 0x80000000\n"
    "screen          640 x 480, pixels blt-only, 640 to a line\n"
    "\n"
    "Map \"start\"\n"
    "-----------\n"
    "taken           as Plat started\n"
    "origin          GetMemoryMap()\n"
    "descriptors     7 of 48 bytes, version 1, as firmware gave it\n"
    "\n"
    "RAM                        1.9 GiB, 1.9 GiB below 4 GiB, ends at 0x7f010000\n"
    "usable now                 1.9 GiB, the largest block 1.9 GiB at 0x100000\n"
    "usable after exit          1.9 GiB, the largest block 1.9 GiB at 0x100000\n"
    "usable after ACPI          1.9 GiB, the largest block 1.9 GiB at 0x100000\n"
    "kept for runtime           1.0 MiB\n"
    "MMIO for runtime               0 B\n"
    "descriptors                      7, in 7 regions\n"
    "\n"
    "by type\n"
    "  Reserved               128.0 KiB\n"
    "  BootServicesData         4.0 KiB\n"
    "  RuntimeServicesCode      1.0 MiB\n"
    "  RuntimeServicesData     64.0 KiB\n"
    "  Conventional             1.9 GiB\n"
    "  ACPIReclaim             72.0 KiB\n"
    "by use\n"
    "  free                     1.9 GiB\n"
    "  free after exit          4.0 KiB\n"
    "  free after ACPI         72.0 KiB\n"
    "  runtime data            64.0 KiB\n"
    "  runtime code             1.0 MiB\n"
    "  reserved               128.0 KiB\n"
    "\n"
    "Map \"final\"\n"
    "-----------\n"
    "taken           as boot services ended\n"
    "origin          GetMemoryMap()\n"
    "descriptors     3 of 48 bytes, version 1, as firmware gave it\n"
    "difference      to \"start\": 4 descriptors less; sums not known\n"
    "\n"
    "Map \"kernel\"\n"
    "------------\n"
    "taken           what the kernel works with\n"
    "origin          not known\n"
    "difference      to \"final\": sums not known\n"
    "\n"
    "RAM                        1.9 GiB, 1.9 GiB below 4 GiB, ends at 0x7f010000\n"
    "usable now                 1.9 GiB, the largest block 1.9 GiB at 0x500000\n"
    "usable after exit          1.9 GiB, the largest block 1.9 GiB at 0x500000\n"
    "usable after ACPI          1.9 GiB, the largest block 1.9 GiB at 0x500000\n"
    "kept for runtime           1.0 MiB\n"
    "MMIO for runtime               0 B\n"
    "descriptors                      7, in 9 regions\n"
    "\n"
    "by type\n"
    "  Reserved               128.0 KiB\n"
    "  BootServicesData         4.0 KiB\n"
    "  RuntimeServicesCode      1.0 MiB\n"
    "  RuntimeServicesData     64.0 KiB\n"
    "  Conventional             1.9 GiB\n"
    "  ACPIReclaim             72.0 KiB\n"
    "  claimed                  3.0 MiB\n"
    "by use\n"
    "  free                     1.9 GiB\n"
    "  free after exit          4.0 KiB\n"
    "  free after ACPI         72.0 KiB\n"
    "  kernel                   3.0 MiB\n"
    "  runtime data            64.0 KiB\n"
    "  runtime code             1.0 MiB\n"
    "  reserved               128.0 KiB\n"
    "\n"
    "Findings\n"
    "--------\n"
    "About the map \"start\", whose descriptors they name.\n"
    "error M02: the map is empty, or its size is no multiple of the descriptor size;\n"
    "a rest is left out\n"
    "  consequence   The last descriptor may be cut off, and with it memory that must\n"
    "                be preserved.\n"
    "  advice        Read the map again with a larger buffer and use the size that\n"
    "                comes back.\n"
    "error M08 at 0x7f010000-0x7f01ffff, descriptor 6 and 5: a descriptor overlaps\n"
    "another one; the more restrictive kind wins\n"
    "  consequence   An OS that believes the usable one overwrites what the other\n"
    "                protects, or stops with a panic.\n"
    "  advice        Give each page to the most restrictive descriptor that names it.\n"
    "There was no room for 2 more.\n"
    "\n"
    "Descriptors of the map \"start\"\n"
    "------------------------------\n"
    "  # start        end                size type                attributes\n"
    "  0 0x0000000000 0x0000001000    4.0 KiB BootServicesData    UC|WC|WT|WB\n"
    "  1 0x0000001000 0x00000a0000  636.0 KiB Conventional        UC|WC|WT|WB\n"
    "  2 0x0000100000 0x007e100000    1.9 GiB Conventional        UC|WC|WT|WB\n"
    "  3 0x007e6ed000 0x007e7ed000    1.0 MiB RuntimeServicesCode UC|WC|WT|WB|RUNTIME\n"
    "  4 0x007e7ed000 0x007e7ff000   72.0 KiB ACPIReclaim         UC|WC|WT|WB\n"
    "  5 0x007f000000 0x007f020000  128.0 KiB RuntimeServicesData UC|WC|WT|WB|RUNTIME\n"
    "  6 0x007f010000 0x007f030000  128.0 KiB Reserved            UC|WC|WT|WB\n"
    "\n"
    "Descriptors of the map \"final\"\n"
    "------------------------------\n"
    "  # start        end                size type                attributes\n"
    "  0 0x0000000000 0x0000001000    4.0 KiB BootServicesData    UC|WC|WT|WB\n"
    "  1 0x0000001000 0x00000a0000  636.0 KiB Conventional        UC|WC|WT|WB\n"
    "  2 0x0000100000 0x007e100000    1.9 GiB Conventional        UC|WC|WT|WB\n"
    "\n"
    "Regions of the map \"kernel\"\n"
    "---------------------------\n"
    "start        end                size use             type\n"
    "0x0000000000 0x0000001000    4.0 KiB free after exit BootServicesData\n"
    "0x0000001000 0x00000a0000  636.0 KiB free            Conventional\n"
    "0x0000100000 0x0000200000    1.0 MiB free            Conventional\n"
    "0x0000200000 0x0000500000    3.0 MiB kernel          (claimed)\n"
    "0x0000500000 0x007e100000    1.9 GiB free            Conventional\n"
    "0x007e6ed000 0x007e7ed000    1.0 MiB runtime code    RuntimeServicesCode\n"
    "0x007e7ed000 0x007e7ff000   72.0 KiB free after ACPI ACPIReclaim\n"
    "0x007f000000 0x007f010000   64.0 KiB runtime data    RuntimeServicesData\n"
    "0x007f010000 0x007f030000  128.0 KiB reserved        Reserved\n"
    "\n"
    "Memory Attributes Table\n"
    "-----------------------\n"
    "table           at 0x7e500018, version 2, flags 0x1, 2 entries\n"
    "not usable      an entry does not match the memory map\n"
    "  # start        end                size type                attributes\n"
    "  0 0x007e6ed000 0x007e76d000  512.0 KiB RuntimeServicesCode RO|RUNTIME\n"
    "  1 0x007e76d000 0x007e7ed000  512.0 KiB RuntimeServicesCode XP|RUNTIME\n"
    "\n"
    "Configuration tables\n"
    "--------------------\n"
    "0x007e7fe014 8868e871-e4f1-11d3-bc22-0080c73c8881 ACPI 2.0\n"
    "0xffffffffffffffff 67452301-ab89-efcd-0123-456789abcdef not known\n"
    "\n"
    "ACPI tables\n"
    "-----------\n"
    "table address          bytes  rev maker  product  product's revision\n"
    "DSDT  0x007e7fd000       4660    2 BOCHS  BXPC     0x00000001\n"
    "FACP  0x007e7fc000        116    6        A?\?\"\\    0xffffffff\n"
    "\n"
    "PCI configuration space\n"
    "-----------------------\n"
    "0x00e0000000  256.0 MiB  segment 0, buses 0 to 255\n"
    "0x4010100000    7.0 MiB  segment 1, buses 1 to 7\n";

/* What report_put_text() gives. */
static const char *text_of(const struct report *r)
{
    static char buf[1 << 20];
    struct mm_text t;
    struct mm_sink to = mm_text_sink(&t, buf, sizeof(buf));

    report_put_text(&to, r);
    assert_true(t.len < sizeof(buf));
    assert_int_equal(strlen(buf), t.len);
    return buf;
}

/* Printable ASCII and line feeds, no blanks at the ends of lines; lines as long as `columns`. */
static void check_plain(const char *text, size_t columns)
{
    size_t n = 0;

    for (; *text != '\0'; text++) {
        assert_true(*text == '\n' || (*text >= ' ' && *text <= '~'));
        if (*text == '\n') {
            assert_true(n <= columns);
            n = 0;
        } else {
            n++;
            assert_false(*text == ' ' && text[1] == '\n');
        }
    }
    assert_int_equal(n, 0);
}

static void test_golden(void **state)
{
    struct report_sample s;

    (void)state;
    report_sample_full(&s);
    assert_string_equal(text_of(&s.report), golden);
    report_sample_drop(&s);
}

static void test_read_back(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 2 * MM_COUNTOF(samples); i++) {
        static char json[1 << 20];
        struct report_sample s;
        struct report_error err;
        struct report back;
        struct mm_text t;
        struct mm_sink to = mm_text_sink(&t, json, sizeof(json));
        void *storage;
        char *text;

        samples[i / 2](&s);
        s.report.with_identifiers = i % 2;
        text = strdup(text_of(&s.report));
        assert_non_null(text);
        report_write(&s.report, &to, JSON_LINE);
        storage = malloc(report_storage_bytes(t.len));
        assert_int_equal(
            report_read(&back, json, t.len, storage, report_storage_bytes(t.len), &err), MM_OK);
        assert_string_equal(text_of(&back), text);
        check_plain(text, i / 2 == 2 ? SIZE_MAX : 80);
        free(text);
        free(storage);
        report_sample_drop(&s);
    }
}

static void test_identifiers(void **state)
{
    struct report_sample s;

    (void)state;
    report_sample_full(&s);
    assert_non_null(strstr(text_of(&s.report), "SECRET"));
    s.report.with_identifiers = false;
    assert_null(strstr(text_of(&s.report), "SECRET"));
    assert_null(strstr(text_of(&s.report), "00112233"));
    report_sample_drop(&s);
}

/* Any bytes where firmware puts a text: none of them gets through, and all lines keep their width.
 */
static void test_any_bytes(void **state)
{
    struct report_sample s;
    struct report_acpi_table acpi = { .signature = "\x1b[2J" };
    struct host_rng rng = { 20261121 };

    (void)state;
    report_sample_full(&s);
    for (unsigned round = 0; round < 300; round++) {
        char junk[400];
        struct report r = s.report;
        size_t n = host_rng_next(&rng) % sizeof(junk);

        for (size_t i = 0; i < n; i++) {
            uint64_t v = host_rng_next(&rng);

            junk[i] = round < 100 ? (char)(1 + v % 255) : "\x1b[31m\xc2\x9b x"[v % 9];
        }
        junk[n] = '\0';
        r.plat = r.firmware.vendor = r.cpu.brand = junk;
        r.smbios.product = r.smbios.bios_date = junk;
        r.attributes.problem = junk;
        r.captures[0].origin = junk;
        memcpy(acpi.oem_id, junk, n < 6 ? n : 6);
        r.acpi = &acpi;
        r.nacpi = 1;
        check_plain(text_of(&r), 80);
    }
    report_sample_drop(&s);
}

static void expect_vendor(const char *vendor, const char *shown)
{
    struct report r = { .known = REPORT_HAS_FIRMWARE, .firmware = { .vendor = vendor } };
    char line[600];

    snprintf(line, sizeof(line), "\nvendor          %s\nrevision ", shown);
    assert_non_null(strstr(text_of(&r), line));
}

static void test_characters(void **state)
{
    char word[200];

    (void)state;
    expect_vendor("", "(empty)");
    expect_vendor("   ", "(empty)");
    expect_vendor(NULL, "not known");
    expect_vendor("  a  b ", "a b");
    expect_vendor("\xe2\x82\xac\xf0\x9f\x98\x80", "?\?");
    expect_vendor("\xe2\x82 \xed\xa0\x80\x80", "?\? ?\?\?\?");
    expect_vendor("\x1b]0;x\x07\r\n\t\x7f\xc2\x9b", "?]0;x?\?\?\?\?\?");

    /* A word longer than a line is broken where the line ends. */
    memset(word, 'x', 130);
    word[130] = '\0';
    expect_vendor(
        word, "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\n"
              "                xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\n"
              "                xx");
}

/* Bits that have no name yet say no more than none: they are not in the document, either. */
static void test_features(void **state)
{
    struct report r = { .known = REPORT_HAS_CPU, .cpu = { .features = REPORT_CPU_HYPERVISOR } };

    (void)state;
    assert_non_null(strstr(text_of(&r), "\nfeatures        hypervisor\n"));
    r.cpu.features = UINT32_C(3) << 30;
    assert_non_null(strstr(text_of(&r), "\nfeatures        none\n"));
}

static void test_differences(void **state)
{
    struct report_sample s;
    struct report_capture *c;

    (void)state;
    report_sample_full(&s);
    c = s.report.captures;
    s.report.ncaptures = 2;
    c[1] = c[0];
    c[1].when = REPORT_LAST;
    assert_non_null(
        strstr(text_of(&s.report), "to \"start\": none, the maps are the same byte for"));
    assert_non_null(strstr(text_of(&s.report), "\nThe same as those of the map before.\n"));
    c[1].raw.nbytes -= 48;
    c[1].totals.ram_bytes -= 4096;
    c[1].totals.runtime_bytes += 8192;
    assert_non_null(
        strstr(text_of(&s.report),
               "to \"start\": 1 descriptor less; RAM 4.0 KiB less, usable now as\n"
               "                before, usable after exit as before, kept for runtime 8.0 KiB\n"
               "                more\n"));
    c[1].raw = c[0].raw;
    c[1].raw.version = 2;
    assert_non_null(strstr(text_of(&s.report), "as many descriptors; RAM"));
    report_sample_drop(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden),      cmocka_unit_test(test_read_back),
        cmocka_unit_test(test_identifiers), cmocka_unit_test(test_any_bytes),
        cmocka_unit_test(test_characters),  cmocka_unit_test(test_differences),
        cmocka_unit_test(test_features),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
