/*
 * Saving reports: whole or not at all, whatever fails, wherever power is lost; and nothing else on
 * the volume is touched.
 */
#include "host_port.h"
#include "report_sample.h"
#include "save.h"
#include "stub_files.h"
#include "stub_fw.h"

#include <stdio.h>
#include <stdlib.h>

#define SAMPLE "standard-pc-q35-ich9-2009-2026-02-28-"

static struct fw fw;
static struct report_sample sample;
static struct save_result result;

/* What the two files must hold. */
static char json[1 << 20];
static char text[1 << 20];
static size_t json_bytes;
static size_t text_bytes;

static size_t put_into(char *buf, size_t room, const struct report *r, bool is_json)
{
    struct mm_text t;
    struct mm_sink to = mm_text_sink(&t, buf, room);

    if (is_json) {
        report_write(r, &to, JSON_LINE);
    } else {
        report_put_text(&to, r);
    }
    assert_true(t.len < room);
    return t.len;
}

static void use(const struct report *r)
{
    json_bytes = put_into(json, sizeof(json), r, true);
    text_bytes = put_into(text, sizeof(text), r, false);
}

static int begin(void **state)
{
    (void)state;
    stub_fw_reset();
    stub_files_reset();
    fw = stub_fw_table;
    fw.files = &stub_files_table;
    report_sample_full(&sample);
    use(&sample.report);
    return 0;
}

static int end(void **state)
{
    (void)state;
    report_sample_drop(&sample);
    assert_int_equal(stub_fw.live_pages, 0);
    return 0;
}

/* The sample with a map so long that the files take several pieces. */
static void make_long(void)
{
    static unsigned char bytes[600 * 48];

    memset(bytes, 0x11, sizeof(bytes));
    sample.report.captures[0].raw = (struct memmap_raw){ bytes, sizeof(bytes), 48, 1 };
    use(&sample.report);
    assert_true(json_bytes > 0x20000 && text_bytes > 0x10000);
}

static uint32_t ncomposed;

static const struct report *compose(void *ctx)
{
    const struct stub_node *n = stub_files_find("\\plat\\reports\\plat-unfinished.json.tmp");

    ncomposed++;
    assert_non_null(n);
    assert_int_equal(n->nbytes, 0);
    assert_int_equal(stub_files.nopen, 3); /* the directory at the top, and both files */
    return ctx;
}

static const struct report *compose_nothing(void *ctx)
{
    (void)ctx;
    return NULL;
}

/* Save, and see to what is so whatever happens. */
static void save(void)
{
    ncomposed = 0;
    memset(&result, 0xee, sizeof(result));
    save_report(&fw, compose, &sample.report, &result);
    assert_null(stub_files.violation);
    assert_int_equal(stub_files.nopen, 0);
    assert_true(stub_files.largest <= FW_READ_MAX);
    assert_true(ncomposed <= 1);
    if (result.status == FW_SUCCESS) {
        assert_true(result.name[0] != '\0' && result.why == NULL && result.advice == NULL);
    } else {
        assert_true(fw_failed(result.status));
        assert_string_equal(result.name, "");
        assert_true(result.why != NULL && result.why[0] != '\0');
        assert_true(result.advice != NULL && result.advice[0] != '\0');
    }
}

static bool holds(const char *path, const char *bytes, size_t nbytes)
{
    const struct stub_node *n = stub_files_find(path);

    return n != NULL && !n->is_directory && n->nbytes == nbytes &&
           memcmp(n->bytes, bytes, nbytes) == 0;
}

static bool is_saved(const char *name)
{
    char path[256];
    bool has_json;

    snprintf(path, sizeof(path), "\\plat\\reports\\%s.json", name);
    has_json = holds(path, json, json_bytes);
    snprintf(path, sizeof(path), "\\plat\\reports\\%s.txt", name);
    return has_json && holds(path, text, text_bytes);
}

static bool is_there(const char *path)
{
    return stub_files_find(path) != NULL;
}

static void put_leftovers(void)
{
    stub_files_put("\\plat\\reports\\plat-unfinished.json.tmp", "half a rep", 10);
    stub_files_put("\\plat\\reports\\plat-unfinished.txt.tmp", "", 0);
}

static bool has_leftovers(void)
{
    return is_there("\\plat\\reports\\plat-unfinished.json.tmp") ||
           is_there("\\plat\\reports\\plat-unfinished.txt.tmp");
}

/* A volume with other things on it, and reports. */
static void put_others(void)
{
    stub_files_put("\\EFI\\BOOT\\BOOTX64.EFI", "MZ", 2);
    stub_files_put("\\plat\\plat.conf", "nokaslr", 7);
    stub_files_put("\\plat\\reports\\" SAMPLE "1.json", "{}", 2);
    stub_files_put("\\plat\\reports\\" SAMPLE "1.txt", "Memory report", 13);
    stub_files_put("\\plat\\reports\\plat-unfinished.json", "somebody else's", 15);
    stub_files_put("\\plat\\reports\\notes.tmp", "somebody else's", 15);
}

/* ---- when all is well ------------------------------------------------------------------------ */

static void test_first_save(void **state)
{
    (void)state;
    save();
    assert_int_equal(result.status, FW_SUCCESS);
    assert_string_equal(result.name, SAMPLE "1");
    assert_int_equal(ncomposed, 1);
    assert_true(is_saved(SAMPLE "1"));
    assert_int_equal(stub_files_count("\\"), 1);
    assert_int_equal(stub_files_count("\\plat"), 1);
    assert_int_equal(stub_files_count("\\plat\\reports"), 2);
    assert_int_equal(json[json_bytes - 1], '\n');
    assert_ptr_equal(memchr(json, '\n', json_bytes), json + json_bytes - 1);

    save();
    assert_string_equal(result.name, SAMPLE "2");
    assert_true(is_saved(SAMPLE "1") && is_saved(SAMPLE "2"));
    assert_int_equal(stub_files_count("\\plat\\reports"), 4);
}

static void test_long_report(void **state)
{
    (void)state;
    make_long();
    save();
    assert_int_equal(result.status, FW_SUCCESS);
    assert_true(is_saved(SAMPLE "1"));

    /* Read back in small pieces, as some firmware gives it. */
    stub_files.read_chunk = 1000;
    save();
    assert_true(is_saved(SAMPLE "2"));
}

static void test_leftovers_go(void **state)
{
    (void)state;
    put_others();
    put_leftovers();
    save();
    assert_string_equal(result.name, SAMPLE "2");
    assert_true(is_saved(SAMPLE "2"));
    assert_false(has_leftovers());
    assert_int_equal(stub_files_count("\\plat\\reports"), 6);
    assert_true(holds("\\plat\\reports\\notes.tmp", "somebody else's", 15));
    assert_true(holds("\\plat\\reports\\plat-unfinished.json", "somebody else's", 15));
}

/* ---- names ----------------------------------------------------------------------------------- */

static void expect_name(const char *name)
{
    char path[256];

    use(&sample.report);
    save();
    assert_int_equal(result.status, FW_SUCCESS);
    assert_string_equal(result.name, name);
    assert_true(is_saved(name));
    for (const char *s = name; *s != '\0'; s++) {
        assert_true((*s >= 'a' && *s <= 'z') || (*s >= '0' && *s <= '9') || *s == '-');
    }
    snprintf(path, sizeof(path), "%s.json", name);
    assert_true(strlen(path) < SAVE_NAME_CHARS);
    stub_files_reset();
}

static void test_products(void **state)
{
    static const struct {
        const char *product;
        const char *name;
    } cases[] = {
        { "20Y7S0XX00", "20y7s0xx00" },
        { "  ThinkPad   X1 ", "thinkpad-x1" },
        { "../../EFI\\BOOT/x:y*?\"<>|", "efi-boot-x-y" },
        { "CON", "con" },
        { "a\x01\x1b[31m\nb", "a-31m-b" },
        { "\xe2\x82\xac uro", "uro" },
        { "0123456789012345678901234567890123456789", "01234567890123456789012345678901" },
        { "0123456789012345678901234567890-x", "0123456789012345678901234567890" },
        /* Those that say nothing: the board's. */
        { NULL, "board" },
        { "", "board" },
        { "---", "board" },
        { "\xff\xfe", "board" },
        { "To Be Filled By O.E.M.", "board" },
        { "Default string", "board" },
        { "System Product Name", "board" },
        { "N/A", "board" },
    };

    (void)state;
    for (size_t i = 0; i < MM_COUNTOF(cases); i++) {
        char name[128];

        sample.report.smbios.product = cases[i].product;
        snprintf(name, sizeof(name), "%s-2026-02-28-1", cases[i].name);
        expect_name(name);
    }
}

static void test_what_to_call_it(void **state)
{
    struct report *r = &sample.report;

    (void)state;
    r->smbios.product = r->smbios.board_product = NULL;
    expect_name("qemu-2026-02-28-1");
    r->smbios.manufacturer = "None";
    expect_name("edk-ii-quoted-2026-02-28-1");
    r->smbios.product = "not looked at";
    r->known &= ~REPORT_HAS_SMBIOS;
    expect_name("edk-ii-quoted-2026-02-28-1");
    r->firmware.vendor = NULL;
    expect_name("machine-2026-02-28-1");
    r->known &= ~REPORT_HAS_FIRMWARE;
    expect_name("machine-2026-02-28-1");
    r->time.month = 13;
    expect_name("machine-nodate-1");
    r->time = (struct report_time){ 10000, 1, 1, 0, 0, 0, 0 };
    expect_name("machine-nodate-1");
    r->time = (struct report_time){ 2026, 1, 9, 0, 0, 0, 0 };
    expect_name("machine-2026-01-09-1");
    r->known &= ~REPORT_HAS_TIME;
    expect_name("machine-nodate-1");
}

static void test_numbers(void **state)
{
    static const struct {
        const char *file;
        const char *name;
    } cases[] = {
        { SAMPLE "1.txt", SAMPLE "2" }, /* left by a run that ended between the two */
        { "STANDARD-PC-Q35-ICH9-2009-2026-02-28-7.JSON", SAMPLE "8" },
        { SAMPLE "007.json", SAMPLE "8" },
        { SAMPLE "3", SAMPLE "4" },
        { SAMPLE "5.bak", SAMPLE "6" },
        { SAMPLE "99998.json", SAMPLE "99999" },
        /* No numbers of ours. */
        { SAMPLE ".json", SAMPLE "1" },
        { SAMPLE "0.json", SAMPLE "1" },
        { SAMPLE "1x.json", SAMPLE "1" },
        { SAMPLE "100000.json", SAMPLE "1" },
        { SAMPLE "18446744073709551617.json", SAMPLE "1" },
        { "standard-pc-q35-ich9-2009-2026-02-27-4.json", SAMPLE "1" },
        { "x" SAMPLE "4.json", SAMPLE "1" },
    };

    (void)state;
    for (size_t i = 0; i < MM_COUNTOF(cases); i++) {
        char path[256];

        snprintf(path, sizeof(path), "\\PLAT\\Reports\\%s", cases[i].file);
        stub_files_put(path, "x", 1);
        expect_name(cases[i].name);
    }
    stub_files_put_directory("\\plat\\reports\\" SAMPLE "2.json");
    expect_name(SAMPLE "3");

    stub_files_put("\\plat\\reports\\" SAMPLE "99999.txt", "x", 1);
    save();
    assert_int_equal(result.status, FW_ACCESS_DENIED);
    assert_int_equal(stub_files_count("\\plat\\reports"), 1);
}

static void test_many_reports(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 10000; i++) {
        char name[SAVE_NAME_CHARS];
        uint16_t wide[SAVE_NAME_CHARS] = { 0 };

        snprintf(name, sizeof(name), SAMPLE "%u.%s", i / 2 + 1, i % 2 != 0 ? "json" : "txt");
        for (size_t k = 0; name[k] != '\0'; k++) {
            wide[k] = (unsigned char)name[k];
        }
        stub_files_put_wide("\\plat\\reports", wide, false);
    }
    save();
    assert_string_equal(result.name, SAMPLE "5001");
    assert_true(is_saved(SAMPLE "5001"));
    assert_int_equal(stub_files_count("\\plat\\reports"), 10002);
}

/* ---- what stands in the way ------------------------------------------------------------------ */

static void expect_nothing_new(fw_status_t status, uint64_t digest)
{
    save();
    assert_int_equal(result.status, status);
    assert_int_equal(stub_files_digest(), digest);
}

static void test_no_volume(void **state)
{
    (void)state;
    stub_files.no_volume = true;
    expect_nothing_new(FW_UNSUPPORTED, stub_files_digest());
    fw.files = NULL;
    expect_nothing_new(FW_UNSUPPORTED, stub_files_digest());
}

static void test_read_only(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        stub_files_reset();
        if (i & 1) {
            put_others();
            put_leftovers();
        }
        stub_files.is_read_only = true;
        stub_files.hides_it = i >= 2;
        expect_nothing_new(FW_WRITE_PROTECTED, stub_files_digest());
        assert_int_equal(ncomposed, 0);
    }
}

static void test_things_in_the_way(void **state)
{
    (void)state;
    stub_files_put("\\plat", "a file", 6);
    expect_nothing_new(FW_ACCESS_DENIED, stub_files_digest());
    stub_files_reset();
    stub_files_put("\\plat\\reports", "a file", 6);
    expect_nothing_new(FW_ACCESS_DENIED, stub_files_digest());
    stub_files_reset();
    stub_files_put_directory("\\plat\\reports\\plat-unfinished.json.tmp");
    expect_nothing_new(FW_ACCESS_DENIED, stub_files_digest());
    stub_files_reset();
    stub_files_put_directory("\\plat\\reports");
    stub_files.is_endless = true;
    expect_nothing_new(FW_VOLUME_CORRUPTED, stub_files_digest());
}

static void test_nothing_to_save(void **state)
{
    (void)state;
    put_others();
    save_report(&fw, compose_nothing, NULL, &result);
    assert_int_equal(result.status, FW_OUT_OF_RESOURCES);
    assert_int_equal(stub_files_count("\\plat\\reports"), 4);
    assert_int_equal(stub_files.nopen, 0);
    assert_null(stub_files.violation);
}

/* ---- room ------------------------------------------------------------------------------------ */

static uint64_t blocks(uint64_t nbytes)
{
    return (nbytes + 4095) / 4096;
}

/* Directories take a block each here, and four are kept for such; a sixteenth stays free, too. */
static void test_full(void **state)
{
    unsigned nsaved = 0;

    (void)state;
    for (unsigned lies = 0; lies < 2; lies++) {
        for (uint64_t n = 0; n <= 64; n++) {
            uint64_t files = blocks(json_bytes) + blocks(text_bytes);
            bool fits;

            stub_files_reset();
            stub_files.nblocks = n;
            stub_files.says_free = lies ? UINT64_C(1) << 40 : 0;
            save();
            fits = lies ? n >= files + 2 : n >= files + 6 && (n - files - 6) * 4096 >= n * 256;
            assert_int_equal(result.status, fits ? FW_SUCCESS : FW_VOLUME_FULL);
            /* Not even a directory is tried if there is no room for one. */
            assert_true(lies || n > 4 || stub_files.nmade == 0);
            if (fits) {
                nsaved++;
                assert_true(is_saved(SAMPLE "1"));
            } else {
                assert_int_equal(stub_files_count("\\"), 0);
            }
        }
    }
    assert_true(nsaved > 40);
}

/* Of a large volume, 1 MiB. */
static void test_reserve(void **state)
{
    uint64_t need = (blocks(json_bytes) + blocks(text_bytes) + 4) * 4096 + 0x100000;

    (void)state;
    stub_files.nblocks = 1u << 20;
    stub_files.says_free = need - 1;
    expect_nothing_new(FW_VOLUME_FULL, stub_files_digest());
    stub_files.says_free = need;
    save();
    assert_int_equal(result.status, FW_SUCCESS);

    /* Nonsense instead of a block size. */
    stub_files.block_bytes = 0;
    save();
    assert_int_equal(result.status, FW_SUCCESS);
    stub_files.block_bytes = UINT32_MAX;
    save();
    assert_int_equal(result.status, FW_VOLUME_FULL);
    stub_files.says_free = UINT64_MAX;
    save();
    assert_int_equal(result.status, FW_SUCCESS);
}

/* ---- failures -------------------------------------------------------------------------------- */

static void test_every_failure(void **state)
{
    static const fw_status_t statuses[] = { FW_DEVICE_ERROR,
                                            FW_WRITE_PROTECTED,
                                            FW_VOLUME_FULL,
                                            FW_NO_MEDIA,
                                            FW_MEDIA_CHANGED,
                                            FW_NOT_FOUND,
                                            FW_ACCESS_DENIED,
                                            FW_VOLUME_CORRUPTED,
                                            FW_UNSUPPORTED,
                                            FW_OUT_OF_RESOURCES,
                                            2 };
    unsigned nfailed = 0;

    (void)state;
    sample.report.ncaptures = 1; /* thousands of saves: a short report */
    use(&sample.report);
    for (unsigned variant = 0; variant < 4 * MM_COUNTOF(statuses); variant++) {
        bool has_others = variant & 1;

        for (uint32_t k = 0;; k++) {
            uint32_t before;
            uint64_t digest;

            stub_files_reset();
            if (has_others) {
                put_others();
            }
            digest = stub_files_digest();
            before = stub_files_count("\\plat\\reports");
            if (has_others && k % 2 != 0) {
                put_leftovers();
            }
            stub_files.fail_at = k;
            stub_files.fail_late = variant & 2;
            stub_files.fail_with = statuses[variant / 4];
            save();
            if (result.status == FW_SUCCESS) {
                assert_true(is_saved(has_others ? SAMPLE "2" : SAMPLE "1"));
                assert_int_equal(stub_files_count("\\plat\\reports"), before + 2);
                assert_false(has_leftovers());
            } else if (stub_files.failed != STUB_OP_REMOVE) {
                bool found_old = has_leftovers();

                nfailed++;
                if (found_old) { /* it did not come to removing them */
                    assert_true(has_others && k % 2 != 0);
                    assert_true(ncomposed == 0);
                } else {
                    assert_int_equal(stub_files_digest(), digest);
                }
            }
            if (stub_files.failed == STUB_OP_NONE) {
                assert_int_equal(result.status, FW_SUCCESS);
                assert_true(k > 40);
                break;
            }
            /* And the next one is well. */
            stub_files_calm();
            save();
            assert_int_equal(result.status, FW_SUCCESS);
            assert_false(has_leftovers());
        }
    }
    assert_true(nfailed > 1000);
}

/* A stick that is changed: nothing is done to the other one, which holds the same here. */
static void test_media_changed(void **state)
{
    (void)state;
    for (uint32_t k = 1;; k++) {
        uint64_t digest;

        stub_files_reset();
        put_others();
        digest = stub_files_digest();
        stub_files.gone_at = k;
        save();
        if (result.status == FW_SUCCESS) {
            assert_true(k > 40);
            break;
        }
        assert_int_equal(result.status, FW_MEDIA_CHANGED);
        /* What was begun stays on the first one. */
        assert_true(stub_files_digest() == digest || has_leftovers() ||
                    is_there("\\plat\\reports\\" SAMPLE "2.txt"));
    }
}

static void test_media_that_lie(void **state)
{
    (void)state;
    put_others();
    for (unsigned i = 0; i < 6; i++) {
        uint64_t digest = stub_files_digest();

        stub_files_calm();
        stub_files.drops_writes = i == 0;
        stub_files.loses_tail = i == 1;
        stub_files.short_writes = i == 2;
        stub_files.reads_too_much = i == 3;
        stub_files.cannot_rename = i == 4;
        stub_files.rename_lies = i == 5;
        save();
        assert_int_equal(result.status, i == 2   ? FW_VOLUME_FULL
                                        : i == 4 ? FW_UNSUPPORTED
                                        : i == 5 ? FW_NOT_FOUND
                                                 : FW_DEVICE_ERROR);
        assert_int_equal(stub_files_digest(), digest);
    }
}

/* ---- power ----------------------------------------------------------------------------------- */

/* No name of a report has anything in it but all of the report. */
static void check_after_power(uint32_t before)
{
    static const char *const names[] = { "\\plat\\reports\\" SAMPLE "2.json",
                                         "\\plat\\reports\\" SAMPLE "2.txt" };
    uint32_t n = before;

    n += is_there("\\plat\\reports\\plat-unfinished.json.tmp");
    n += is_there("\\plat\\reports\\plat-unfinished.txt.tmp");
    for (unsigned i = 0; i < 2; i++) {
        if (is_there(names[i])) {
            n++;
            assert_true(i == 0 ? holds(names[i], json, json_bytes)
                               : holds(names[i], text, text_bytes));
        }
    }
    if (is_there(names[0])) {
        assert_true(is_there(names[1]));
    }
    assert_int_equal(stub_files_count("\\plat\\reports"), n);
}

static void test_power_loss(void **state)
{
    volatile bool is_done = false;

    (void)state;
    make_long();
    for (volatile uint32_t k = 0; !is_done; k++) {
        stub_files_reset();
        put_others();
        if (k % 2 != 0) {
            put_leftovers();
        }
        stub_files.stop_at = k;
        if (setjmp(stub_files.stop) == 0) {
            save();
            is_done = stub_files.nops <= k;
        }
        assert_null(stub_files.violation);
        stub_files_lose_power();
        stub_files_calm();
        check_after_power(4);
        /* The next run finds its way, and leaves nothing behind. */
        save();
        assert_int_equal(result.status, FW_SUCCESS);
        assert_true(is_saved(result.name));
        assert_false(has_leftovers());
        assert_true(holds("\\plat\\reports\\" SAMPLE "1.json", "{}", 2));
        assert_true(holds("\\plat\\reports\\notes.tmp", "somebody else's", 15));
        assert_true(k < 200);
    }
}

/* ---- reports that are there ------------------------------------------------------------------ */

static void test_list(void **state)
{
    static const uint16_t foreign[] = { 'a', 0xe9, '.', 'j', 's', 'o', 'n', 0 };
    static const uint16_t escape[] = { 'a', 0x1b, '.', 'j', 's', 'o', 'n', 0 };
    static const uint16_t path[] = { '.', '.', '\\', 'a', '.', 'j', 's', 'o', 'n', 0 };
    static const uint16_t colon[] = { 'f', 's', '0', ':', '.', 'j', 's', 'o', 'n', 0 };
    uint16_t endless[300] = { 0 };
    struct save_entry e[8];
    uint32_t n = 7;

    (void)state;
    assert_int_equal(save_list(&fw, e, 8, &n), FW_SUCCESS);
    assert_int_equal(n, 0);
    stub_files_put("\\plat\\reports\\b-2026-01-10-1.json", "1234", 4);
    stub_files_put("\\plat\\reports\\b-2026-01-09-10.json", "123", 3);
    stub_files_put("\\plat\\reports\\B-2026-01-09-2.JSON", "12", 2);
    stub_files_put("\\plat\\reports\\b-2026-01-09-10.txt", "", 0);
    stub_files_put("\\plat\\reports\\a-nodate-1.json", "", 0);
    stub_files_put("\\plat\\reports\\._a-nodate-1.json", "", 0);
    stub_files_put("\\plat\\reports\\.json", "", 0);
    stub_files_put("\\plat\\reports\\json", "", 0);
    stub_files_put("\\plat\\reports\\plat-unfinished.json.tmp", "", 0);
    stub_files_put_directory("\\plat\\reports\\c.json");
    stub_files_put_wide("\\plat\\reports", foreign, false);
    stub_files_put_wide("\\plat\\reports", escape, false);
    stub_files_put_wide("\\plat\\reports", path, false);
    stub_files_put_wide("\\plat\\reports", colon, false);
    for (unsigned i = 0; i < 255; i++) {
        endless[i] = "x.json"[i < 250 ? 0 : i - 249];
    }
    stub_files_put_wide("\\plat\\reports", endless, false);
    assert_int_equal(save_list(&fw, e, 8, &n), FW_SUCCESS);
    assert_int_equal(n, 4);
    assert_string_equal(e[0].name, "a-nodate-1.json");
    assert_string_equal(e[1].name, "B-2026-01-09-2.JSON");
    assert_string_equal(e[2].name, "b-2026-01-09-10.json");
    assert_string_equal(e[3].name, "b-2026-01-10-1.json");
    assert_int_equal(e[3].nbytes, 4);

    /* The last of them, if there is no room for all. */
    assert_int_equal(save_list(&fw, e, 2, &n), FW_SUCCESS);
    assert_int_equal(n, 2);
    assert_string_equal(e[0].name, "b-2026-01-09-10.json");
    assert_string_equal(e[1].name, "b-2026-01-10-1.json");
    assert_int_equal(save_list(&fw, e, 0, &n), FW_SUCCESS);
    assert_int_equal(n, 0);
    stub_files.is_endless = true;
    assert_int_equal(save_list(&fw, e, 8, &n), FW_VOLUME_CORRUPTED);
    fw.files = NULL;
    assert_int_equal(save_list(&fw, e, 8, &n), FW_UNSUPPORTED);
    assert_int_equal(n, 0);
    assert_int_equal(stub_files.nopen, 0);
    assert_null(stub_files.violation);
}

static void test_load(void **state)
{
    struct pool pool = pool_make(&fw);
    uint64_t pa = 0;
    uint64_t nbytes = 0;

    (void)state;
    make_long();
    stub_files_put("\\plat\\reports\\a.json", json, json_bytes);
    stub_files_put("\\plat\\reports\\empty.json", "", 0);
    stub_files_put("\\plat\\reports\\a.txt", "", 0);
    stub_files_put("\\plat\\a.json", "", 0);
    stub_files_put_directory("\\plat\\reports\\d.json");
    for (unsigned i = 0; i < 2; i++) {
        stub_files.read_chunk = i * 777;
        assert_int_equal(save_load(&fw, &pool, "A.json", &pa, &nbytes), FW_SUCCESS);
        assert_int_equal(nbytes, json_bytes);
        assert_memory_equal(fw_pointer(pa), json, json_bytes);
        pool_free(&pool, pa);
    }
    assert_int_equal(save_load(&fw, &pool, "empty.json", &pa, &nbytes), FW_SUCCESS);
    assert_int_equal(nbytes, 0);
    pool_free(&pool, pa);
    assert_int_equal(save_load(&fw, &pool, "d.json", &pa, &nbytes), FW_UNSUPPORTED);
    assert_int_equal(save_load(&fw, &pool, "b.json", &pa, &nbytes), FW_NOT_FOUND);
    assert_int_equal(save_load(&fw, &pool, "a.txt", &pa, &nbytes), FW_INVALID_PARAMETER);
    assert_int_equal(save_load(&fw, &pool, "..\\a.json", &pa, &nbytes), FW_INVALID_PARAMETER);
    assert_int_equal(save_load(&fw, &pool, "", &pa, &nbytes), FW_INVALID_PARAMETER);
    stub_files.reads_too_much = true;
    assert_int_equal(save_load(&fw, &pool, "a.json", &pa, &nbytes), FW_DEVICE_ERROR);
    stub_files.reads_too_much = false;
    for (uint32_t k = 0; k < 6; k++) {
        stub_files.nops = 0;
        stub_files.fail_at = k;
        stub_files.fail_with = FW_DEVICE_ERROR;
        if (save_load(&fw, &pool, "a.json", &pa, &nbytes) == FW_SUCCESS) {
            pool_free(&pool, pa);
        }
        assert_int_equal(pool.count, 0);
    }
    stub_files.fail_at = STUB_NEVER_AT;
    stub_fw.fail_alloc = stub_fw.nallocs;
    assert_int_equal(save_load(&fw, &pool, "a.json", &pa, &nbytes), FW_OUT_OF_RESOURCES);
    assert_true(stub_files.largest <= FW_READ_MAX);
    assert_int_equal(stub_files.nopen, 0);
    assert_null(stub_files.violation);
}

static void test_large_files(void **state)
{
    static char bytes[3 << 20];
    struct pool pool = pool_make(&fw);
    uint64_t pa = 0;
    uint64_t nbytes = 0;
    struct stub_node *n;

    (void)state;
    memset(bytes, 'x', sizeof(bytes));
    stub_files_put("\\plat\\reports\\a.json", bytes, sizeof(bytes));
    assert_int_equal(save_load(&fw, &pool, "a.json", &pa, &nbytes), FW_SUCCESS);
    assert_int_equal(nbytes, sizeof(bytes));
    assert_memory_equal(fw_pointer(pa), bytes, sizeof(bytes));
    assert_int_equal(stub_files.largest, FW_READ_MAX);
    pool_free(&pool, pa);

    /* A directory that says more than there is. */
    n = (struct stub_node *)stub_files_find("\\plat\\reports\\a.json");
    n->nbytes = SAVE_MAX_BYTES + 1;
    assert_int_equal(save_load(&fw, &pool, "a.json", &pa, &nbytes), FW_BAD_BUFFER_SIZE);
    n->nbytes = sizeof(bytes);
    assert_int_equal(pool.count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_first_save, begin, end),
        cmocka_unit_test_setup_teardown(test_long_report, begin, end),
        cmocka_unit_test_setup_teardown(test_leftovers_go, begin, end),
        cmocka_unit_test_setup_teardown(test_products, begin, end),
        cmocka_unit_test_setup_teardown(test_what_to_call_it, begin, end),
        cmocka_unit_test_setup_teardown(test_numbers, begin, end),
        cmocka_unit_test_setup_teardown(test_many_reports, begin, end),
        cmocka_unit_test_setup_teardown(test_no_volume, begin, end),
        cmocka_unit_test_setup_teardown(test_read_only, begin, end),
        cmocka_unit_test_setup_teardown(test_things_in_the_way, begin, end),
        cmocka_unit_test_setup_teardown(test_nothing_to_save, begin, end),
        cmocka_unit_test_setup_teardown(test_full, begin, end),
        cmocka_unit_test_setup_teardown(test_reserve, begin, end),
        cmocka_unit_test_setup_teardown(test_every_failure, begin, end),
        cmocka_unit_test_setup_teardown(test_media_changed, begin, end),
        cmocka_unit_test_setup_teardown(test_media_that_lie, begin, end),
        cmocka_unit_test_setup_teardown(test_power_loss, begin, end),
        cmocka_unit_test_setup_teardown(test_list, begin, end),
        cmocka_unit_test_setup_teardown(test_load, begin, end),
        cmocka_unit_test_setup_teardown(test_large_files, begin, end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
