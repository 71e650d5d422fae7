/*
 * The inspector before exit as a whole (efi/inspect.c): what the options ask for is done, whatever
 * fails is missing and nothing else, and all memory goes back.
 */
#include "host_port.h"

#include <stdlib.h>

#include "handover.h"
#include "inspect.h"
#include "stub_console.h"
#include "stub_files.h"
#include "stub_fw.h"

static struct fw fw;
static struct machine machine;
static struct pool pool;
static struct map_survey survey;
static struct inspect in;
static struct conf conf;

static void begin_with(const char *options, const char *script)
{
    stub_fw_reset();
    stub_files_reset();
    stub_console_reset(script);
    fw = stub_fw_table;
    fw.console = &stub_console_table;
    fw.files = &stub_files_table;
    machine = (struct machine){ .stub_base = STUB_RAM, .stub_bytes = 0x10000 };
    pool = pool_make(&fw);
    conf.len = strlen(options);
    memcpy(conf.text, options, conf.len + 1);
}

static void look(void)
{
    const char *why;

    assert_int_equal(map_look(&fw, &pool, &survey, &why), FW_SUCCESS);
    inspect_begin(&in, &fw, &machine, &survey, false);
}

static void end(void)
{
    inspect_drop(&in);
    pool_free_all(&pool);
    assert_int_equal(stub_fw.live_pages, 0);
    assert_int_equal(stub_files.nopen, 0);
    assert_null(stub_fw.violation);
    assert_null(stub_files.violation);
    assert_null(stub_console.violation);
}

static enum inspect_choice run(const char *options, const char *script)
{
    begin_with(options, script);
    look();
    return inspect_run(&in, &conf);
}

static bool said(const char *words)
{
    return strstr(stub_fw.said, words) != NULL;
}

static void test_first_map(void **state)
{
    (void)state;
    begin_with("", "");
    look();
    assert_int_equal(in.report.ncaptures, 1);
    assert_int_equal(in.report.captures[0].when, REPORT_START);
    assert_int_equal(in.report.captures[0].raw.nbytes, survey.nbytes);
    assert_memory_equal(in.report.captures[0].raw.bytes, survey.copy, survey.nbytes);
    assert_int_equal(in.report.findings_when, REPORT_START);
    assert_int_equal(in.report.nfindings, in.lint.n);
    assert_null(memmap_check(&in.map));
    assert_int_equal(in.map.ndescs, survey.nbytes / survey.stride);
    end();

    /* A key that changes by itself is a finding, and one of the facts about our own memory. */
    begin_with("", "");
    stub_fw.key_restless = true;
    look();
    assert_int_equal(in.facts.lint.key_changed, MAPLINT_YES);
    assert_true(in.facts.lint.map_buffer.base == (uintptr_t)survey.copy);
    end();
}

static void test_nothing_asked_for(void **state)
{
    (void)state;
    assert_int_equal(run("inspect=off", ""), INSPECT_BOOT);
    assert_int_equal(stub_files.nops, 0);
    assert_int_equal(stub_console.nputs, 0);
    assert_int_equal(stub_console.waited_us, 0);
    assert_string_equal(stub_fw.said, "");
    end();
    assert_int_equal(run("inspect=off save=off", ""), INSPECT_BOOT);
    assert_int_equal(stub_files.nops, 0);
    end();
}

static void test_waits(void **state)
{
    static const struct {
        const char *options;
        unsigned seconds;
        const char *complaint;
    } t[] = {
        { "", INSPECT_SECONDS, NULL },
        { "inspect=0", 0, NULL },
        { "inspect=1", 1, NULL },
        { "inspect=60", 60, NULL },
        { "inspect=1 inspect=3", 3, NULL },
        { "inspect=61", INSPECT_SECONDS,
          "plat: option inspect: is menu, off, or seconds up to 60" },
        { "inspect=4294967297", INSPECT_SECONDS, "option inspect" },
        { "inspect=-1", INSPECT_SECONDS, "option inspect" },
        { "inspect", INSPECT_SECONDS, "option inspect" },
        { "inspect=menus", INSPECT_SECONDS, "option inspect" },
    };

    (void)state;
    for (size_t i = 0; i < MM_COUNTOF(t); i++) {
        assert_int_equal(run(t[i].options, ""), INSPECT_BOOT);
        if (stub_console.waited_us != t[i].seconds * UINT64_C(1000000)) {
            fail_msg("\"%s\": waited %llu us", t[i].options,
                     (unsigned long long)stub_console.waited_us);
        }
        assert_int_equal(said("option inspect"), t[i].complaint != NULL);
        assert_true(t[i].complaint == NULL || said(t[i].complaint));
        end();
    }
    /* Nobody to wait for. */
    begin_with("", "");
    fw.console = NULL;
    look();
    assert_int_equal(inspect_run(&in, &conf), INSPECT_BOOT);
    assert_int_equal(stub_console.waited_us, 0);
    end();
}

static void test_saves(void **state)
{
    const struct report_capture *first, *last;

    (void)state;
    assert_int_equal(run("inspect=off save=auto", ""), INSPECT_BOOT);
    assert_true(in.was_saved);
    assert_true(said("Plat: report saved: \\plat\\reports\\"));
    assert_int_equal(in.report.ncaptures, 2);
    first = report_capture_at(&in.report, REPORT_START);
    last = report_capture_at(&in.report, REPORT_LAST);
    assert_non_null(first);
    assert_non_null(last);
    /* Our own memory came between the two. */
    assert_true(first->totals.type_bytes[EFI_MT_LOADER_DATA] <
                last->totals.type_bytes[EFI_MT_LOADER_DATA]);
    assert_int_equal(in.report.findings_when, REPORT_LAST);
    assert_ptr_equal(in.map.raw.bytes, last->raw.bytes);
    /* Once more: the newest takes the place of the last. */
    inspect_save(&in);
    assert_int_equal(in.saved.status, FW_SUCCESS);
    assert_int_equal(in.report.ncaptures, 2);
    assert_null(memmap_check(&in.map));
    end();

    assert_int_equal(run("inspect=off save=sometimes", ""), INSPECT_BOOT);
    assert_true(said("plat: option save: is auto or off, nothing is saved\n"));
    assert_int_equal(stub_files.nops, 0);
    end();

    begin_with("inspect=off save=auto", "");
    stub_files.no_volume = true;
    look();
    assert_int_equal(inspect_run(&in, &conf), INSPECT_BOOT);
    assert_false(in.was_saved);
    assert_true(said("plat: report not saved: "));
    end();
}

/* The second map cannot be had: the report has the first one, and says why there is one only. */
static void test_saves_without_a_second_map(void **state)
{
    (void)state;
    begin_with("inspect=off save=auto", "");
    look();
    stub_fw.map_error_at = stub_fw.nmaps;
    stub_fw.map_error = FW_DEVICE_ERROR;
    assert_int_equal(inspect_run(&in, &conf), INSPECT_BOOT);
    assert_true(in.was_saved);
    assert_int_equal(in.report.ncaptures, 1);
    assert_true(said("plat: report: the map cannot be read again"));
    end();
}

/* Each allocation in turn fails: what needs it is missing, and the machine boots. */
static void test_each_allocation_fails(void **state)
{
    unsigned saved = 0, empty = 0;

    (void)state;
    for (uint32_t i = 1; i < 16; i++) { /* the first is the look's at the map */
        uint64_t pa, nbytes;

        begin_with("inspect=off save=auto", "");
        stub_fw.fail_alloc = i;
        look();
        assert_int_equal(inspect_run(&in, &conf), INSPECT_BOOT);
        inspect_facts(&in, &pool, &pa, &nbytes);
        assert_int_equal(nbytes == 0, pa == 0);
        assert_true(nbytes != 0 || said("no memory"));
        saved += in.was_saved;
        empty += in.report.ncaptures == 0;
        end();
    }
    assert_int_equal(empty, 2);
    assert_true(saved > 8 && saved < 15);
}

static void test_facts(void **state)
{
    struct report_error err;
    struct report r;
    uint64_t pa, nbytes, room;
    void *storage;

    (void)state;
    assert_int_equal(run("inspect=off save=auto", ""), INSPECT_BOOT);
    inspect_facts(&in, &pool, &pa, &nbytes);
    room = report_storage_bytes(nbytes);
    storage = malloc(room);
    assert_int_equal(report_read(&r, fw_pointer(pa), nbytes, storage, room, &err), MM_OK);
    assert_int_equal(r.ncaptures, 0);
    assert_int_equal(r.known & REPORT_HAS_FINDINGS, 0);
    assert_int_equal(in.report.ncaptures, 2); /* the report itself is as it was */
    free(storage);
    end();
}

static void test_screens(void **state)
{
    (void)state;
    /* At once, without a wait; and a key brings them up. */
    assert_int_equal(run("inspect=menu", "7"), INSPECT_BOOT);
    assert_true(stub_console.nputs > 20);
    end();
    assert_int_equal(run("inspect=menu", "8"), INSPECT_EXIT);
    end();
    assert_int_equal(run("inspect=9", "<wait>i8"), INSPECT_EXIT);
    end();
}

/* The whole stub: back to firmware, with everything given back and nothing said of a failure. */
static void test_exit_to_firmware(void **state)
{
    static unsigned char elf[STUB_ELF_BYTES];

    (void)state;
    begin_with("", "8");
    stub_elf_make(elf);
    machine.kernel = elf;
    machine.kernel_bytes = sizeof(elf);
    stub_fw.conf = "inspect=menu save=auto";
    stub_fw.conf_bytes = strlen(stub_fw.conf);
    assert_int_equal(handover_run(&fw, &machine), FW_SUCCESS);
    assert_int_equal(stub_fw.njumps, 0);
    assert_int_equal(stub_fw.nexits, 0);
    assert_int_equal(stub_fw.live_pages, 0);
    assert_true(said("Plat: report saved"));
    assert_false(said("loading the kernel"));
    assert_null(stub_fw.violation);
    assert_null(stub_files.violation);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_first_map),
        cmocka_unit_test(test_nothing_asked_for),
        cmocka_unit_test(test_waits),
        cmocka_unit_test(test_saves),
        cmocka_unit_test(test_saves_without_a_second_map),
        cmocka_unit_test(test_each_allocation_fails),
        cmocka_unit_test(test_facts),
        cmocka_unit_test(test_screens),
        cmocka_unit_test(test_exit_to_firmware),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
