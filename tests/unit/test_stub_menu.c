/*
 * The inspector's screens (efi/menu*.c) on a console that is played: driven by scripts of keys,
 * compared as text with tests/unit/menu.txt, and by random keys over random maps. MENU_SCREENS=FILE
 * writes the screens to FILE; look at them before they become the new menu.txt.
 */
#include "host_port.h"

#include <stdlib.h>

#include "menu.h"
#include "menu_ui.h"
#include "mm/mapshow.h"
#include "report_sample.h"
#include "stub_console.h"
#include "stub_fw.h"

#define MIB UINT64_C(0x100000)

static struct fw fw;
static struct inspect in;
static struct report_sample sample;
static struct memmap_finding findings[64];
static void *storage;
static struct host_rng rng;
static fw_status_t setup_status;
static bool setup_there;
static unsigned setups;

/* ---- a volume with reports, which cannot be written ------------------------------------------- */

static struct {
    const char *name;
    const void *bytes;
    uint64_t nbytes;
} volume[8];
static uint32_t nvolume;
static fw_status_t read_status;

struct fw_file {
    uint32_t index; /* in the volume; UINT32_MAX: a directory */
    uint64_t at;
    bool is_open;
};
static struct fw_file handles[8];

static struct fw_file *volume_handle(uint32_t index)
{
    for (size_t i = 0; i < MM_COUNTOF(handles); i++) {
        if (!handles[i].is_open) {
            handles[i] = (struct fw_file){ index, 0, true };
            return &handles[i];
        }
    }
    fail_msg("files are left open");
    return NULL;
}

static fw_status_t volume_root(struct fw_file **root)
{
    *root = volume_handle(UINT32_MAX);
    return FW_SUCCESS;
}

static fw_status_t volume_info(struct fw_file *root, struct fw_volume_info *info)
{
    (void)root;
    *info = (struct fw_volume_info){ true, 64 * MIB, 32 * MIB, 512 };
    return FW_SUCCESS;
}

static fw_status_t volume_open(struct fw_file *from, const char *path, enum fw_open how,
                               struct fw_file **f)
{
    const char *name = strrchr(path, '\\');

    (void)from;
    if (how != FW_OPEN_READ) {
        return FW_WRITE_PROTECTED;
    }
    if (strcmp(path, SAVE_DIRECTORY) == 0) {
        *f = volume_handle(UINT32_MAX);
        return FW_SUCCESS;
    }
    name = name != NULL ? name + 1 : path;
    for (uint32_t i = 0; i < nvolume; i++) {
        if (strcmp(name, volume[i].name) == 0) {
            *f = volume_handle(i);
            return FW_SUCCESS;
        }
    }
    return FW_NOT_FOUND;
}

static void volume_describe(uint32_t i, struct fw_file_info *info)
{
    memset(info, 0, sizeof(*info));
    info->nbytes = volume[i].nbytes;
    for (size_t n = 0; volume[i].name[n] != '\0'; n++) {
        info->name[n] = (unsigned char)volume[i].name[n];
    }
}

static fw_status_t volume_next(struct fw_file *directory, struct fw_file_info *info)
{
    memset(info, 0, sizeof(*info));
    if (directory->at < nvolume) {
        volume_describe((uint32_t)directory->at++, info);
    }
    return FW_SUCCESS;
}

static fw_status_t volume_file_info(struct fw_file *f, struct fw_file_info *info)
{
    if (f->index == UINT32_MAX) {
        memset(info, 0, sizeof(*info));
        info->is_directory = true;
    } else {
        volume_describe(f->index, info);
    }
    return FW_SUCCESS;
}

static fw_status_t volume_read(struct fw_file *f, void *to, uint64_t *nbytes)
{
    *nbytes = mm_min(*nbytes, volume[f->index].nbytes - f->at);
    memcpy(to, (const char *)volume[f->index].bytes + f->at, *nbytes);
    f->at += *nbytes;
    return read_status;
}

static fw_status_t volume_close(struct fw_file *f)
{
    f->is_open = false;
    return FW_SUCCESS;
}

static const struct fw_files volume_table = {
    .root = volume_root,
    .volume = volume_info,
    .open = volume_open,
    .next = volume_next,
    .info = volume_file_info,
    .read = volume_read,
    .close = volume_close,
};

static void volume_add(const char *name, const void *bytes, uint64_t nbytes)
{
    volume[nvolume].name = name;
    volume[nvolume].bytes = bytes;
    volume[nvolume++].nbytes = nbytes;
}

/* ---- a machine ------------------------------------------------------------------------------- */

static bool stub_setup_is_there(void)
{
    return setup_there;
}

static fw_status_t stub_setup(void)
{
    setups++;
    return setup_status;
}

/* The inspector of a machine with this map; the lint knows what the report does. */
static void use_map(const struct memmap_raw *raw)
{
    static struct maplint_range ranges[64];
    uint64_t nbytes = memmap_storage_bytes(raw->nbytes / 40 + 1);
    struct maplint_facts facts = { 0 };

    free(storage);
    storage = aligned_alloc(16, (nbytes + 15) & ~UINT64_C(15));
    assert_non_null(storage);
    assert_int_equal(memmap_build(&in.map, raw, storage, nbytes), MM_OK);
    if (in.report.ncaptures > 0 && report_nranges(&in.report) < MM_COUNTOF(ranges)) {
        report_facts(&facts, &in.report, &in.report.captures[0], ranges);
    }
    in.lint = (struct maplint_result){ .findings = findings, .max = MM_COUNTOF(findings) };
    maplint_run(&in.lint, &in.map, &facts);
}

static int setup(void **state)
{
    (void)state;
    stub_fw_reset();
    stub_console_reset("");
    memset(handles, 0, sizeof(handles));
    nvolume = 0;
    read_status = FW_SUCCESS;
    setup_there = true;
    setup_status = FW_DEVICE_ERROR;
    setups = 0;
    fw = stub_fw_table;
    fw.console = &stub_console_table;
    fw.files = &volume_table;
    fw.setup = stub_setup;
    fw.setup_is_there = stub_setup_is_there;
    report_sample_full(&sample);
    sample.report.with_identifiers = false;
    in = (struct inspect){ .fw = &fw, .pool = pool_make(&fw), .report = sample.report };
    in.report.ncaptures = 1;
    use_map(&sample.report.captures[0].raw);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    assert_null(stub_console.violation);
    assert_int_equal(stub_fw.live_pages, 0);
    for (size_t i = 0; i < MM_COUNTOF(handles); i++) {
        assert_false(handles[i].is_open);
    }
    report_sample_drop(&sample);
    free(storage);
    storage = NULL;
    return 0;
}

/* Run the screens by a script, on a console of the size it has. */
static enum menu_choice run(const char *script)
{
    struct stub_console before = stub_console;
    enum menu_choice choice;

    stub_console_reset(script);
    stub_console.columns = before.columns;
    stub_console.rows = before.rows;
    stub_console.is_ascii = before.is_ascii;
    stub_console.mark = before.mark;
    stub_fw.said[0] = '\0';
    choice = menu_run(&in);
    assert_null(stub_console.violation);
    assert_true(stub_console.cursor_shown);
    return choice;
}

/* At a mark: these words must be on the screen; "!words" must not. */
static void expect_mark(const char *word, size_t n)
{
    char text[200];

    assert_true(n < sizeof(text));
    assert_false(stub_console.cursor_shown);
    memcpy(text, word, n);
    text[n] = '\0';
    if (text[0] == '!' ? stub_console_shows(text + 1) : !stub_console_shows(text)) {
        for (uint32_t row = 0; row < stub_console.rows; row++) {
            print_message("%s\n", stub_console_row(row));
        }
        fail_msg("expected: %s", text);
    }
}

static enum menu_choice expect(const char *script)
{
    stub_console.mark = expect_mark;
    return run(script);
}

/* ---- whole screens --------------------------------------------------------------------------- */

static char shown[1 << 20];
static size_t shown_bytes;

static void keep_mark(const char *word, size_t n)
{
    shown_bytes +=
        (size_t)snprintf(shown + shown_bytes, sizeof(shown) - shown_bytes, "==== %.*s, %ux%u\n",
                         (int)n, word, stub_console.columns, stub_console.rows);
    for (uint32_t row = 0; row < stub_console.rows; row++) {
        shown_bytes += (size_t)snprintf(shown + shown_bytes, sizeof(shown) - shown_bytes, "%s\n",
                                        stub_console_row(row));
    }
    assert_true(shown_bytes < sizeof(shown) - 1);
}

static void add_report(const char *name, const struct report *r)
{
    static char texts[4][1 << 16];
    static unsigned next;
    char *at = texts[next++ % MM_COUNTOF(texts)];
    struct mm_text t;
    struct mm_sink sink = mm_text_sink(&t, at, sizeof(texts[0]));

    report_write(r, &sink, JSON_PRETTY);
    assert_true(t.len < sizeof(texts[0]));
    volume_add(name, at, t.len);
}

/* The sample, as it was before the firmware was updated: runtime data elsewhere, less ACPI. */
static void add_older_report(const char *name)
{
    static unsigned char bytes[6 * 48];
    struct report r = sample.report;
    uint64_t v;

    memcpy(bytes, r.captures[0].raw.bytes, sizeof(bytes));
    v = 0x7e6e0000;
    memcpy(bytes + 3 * 48 + 8, &v, 8);
    v = 0x10;
    memcpy(bytes + 4 * 48 + 24, &v, 8);
    r.ncaptures = 1;
    r.captures[0].raw.bytes = bytes;
    r.captures[0].raw.nbytes = sizeof(bytes);
    r.captures[0].known = 0;
    r.smbios.bios_version = "edk2-older";
    r.known &= ~REPORT_HAS_FINDINGS;
    r.findings_when = REPORT_WHENS;
    r.findings = NULL;
    r.nfindings = 0;
    add_report(name, &r);
}

static void read_golden(const char *path, char *to, size_t room)
{
    FILE *f = fopen(path, "r");
    size_t n;

    assert_non_null(f);
    n = fread(to, 1, room - 1, f);
    assert_true(n < room - 1);
    to[n] = '\0';
    fclose(f);
}

static void test_screens(void **state)
{
    static char expected[sizeof(shown)];
    const char *to = getenv("MENU_SCREENS");
    size_t at = 0, line = 1;

    (void)state;
    shown_bytes = 0;
    stub_console.mark = keep_mark;
    add_report("qemu-2026-02-28-1.json", &sample.report);
    add_older_report("qemu-2026-02-28-2.json");
    volume_add("qemu-2026-03-01-1.json", "{\"format\":\"plat-report\",", 24);
    assert_int_equal(
        run("<overview>jj<scrolled>?<help>q2<map>Gr<raw>ff<filter>/7e6f0000<question><cr>"
            "<address>q3<findings><cr><finding>4<tables><pgdn><tables on>5<reports><cr>"
            "<damaged>qk<cr><changes>qk<cr><same>6<save><cr><not saved>?<help>90<setup>"
            "n9<restart>n7"),
        MENU_BOOT);
    stub_console.columns = 80;
    stub_console.rows = 24;
    assert_int_equal(run("<overview>2<map>7"), MENU_BOOT);
    stub_console.columns = 100;
    stub_console.rows = 31;
    assert_int_equal(run("<overview>2<map>r<raw>4<tables>7"), MENU_BOOT);
    stub_console.columns = 128;
    stub_console.rows = 40;
    assert_int_equal(run("<overview>2<map>?<help>7"), MENU_BOOT);
    stub_console.columns = 240;
    stub_console.rows = 67;
    assert_int_equal(run("<overview>2<map>7"), MENU_BOOT);
    stub_console.columns = 40;
    stub_console.rows = 12;
    assert_int_equal(run("<overview>2<map>3<cr><finding>7"), MENU_BOOT);
    stub_console.columns = 39;
    assert_int_equal(run("<small>7"), MENU_BOOT);
    if (to != NULL) {
        FILE *f = fopen(to, "w");

        assert_non_null(f);
        assert_int_equal(fwrite(shown, 1, shown_bytes, f), shown_bytes);
        assert_int_equal(fclose(f), 0);
    }
    read_golden("tests/unit/menu.txt", expected, sizeof(expected));
    while (shown[at] == expected[at] && at < shown_bytes) {
        line += shown[at++] == '\n';
    }
    if (at != shown_bytes || expected[at] != '\0') {
        while (at > 0 && shown[at - 1] != '\n') {
            at--;
        }
        fail_msg("tests/unit/menu.txt, line %zu:\n%.*s\nnow:\n%.*s", line,
                 (int)strcspn(expected + at, "\n"), expected + at, (int)strcspn(shown + at, "\n"),
                 shown + at);
    }
}

/* ---- getting about --------------------------------------------------------------------------- */

static void test_between_screens(void **state)
{
    (void)state;
    assert_int_equal(
        expect(
            "<[1 Overview]><tab><[2 Map]>n<[3 Findings]><right><[4 Tables]><tab><[5 Compare]>"
            "<tab><[6 Save]><tab><[1 Overview]>p<[6 Save]><left><[5 Compare]>2<[2 Map]>"
            "q<[1 Overview]>4<esc><wait><[1 Overview]>?<Keys><tab><[2 Map]>?<Keys>3<[3 Findings]>"
            "<cr><Consequence>?<Keys>q<Consequence><esc><wait><!Consequence><cr><Consequence>"
            "4<[4 Tables]><f1><Keys><cr><!Keys>zZx^7"),
        MENU_BOOT);
    assert_string_equal(stub_fw.said, "");
}

static void test_list_keys(void **state)
{
    (void)state;
    stub_console.rows = 12; /* five lines of the list */
    assert_int_equal(
        expect(
            "2<1/7>j<2/7><down><3/7>k<2/7><up><1/7>k<1/7>G<7/7>j<7/7>g<1/7> <5/7> <7/7>b<3/7>b<1/7>"
            "<end><7/7><home><1/7><pgdn><5/7><pgup><1/7><esc>[6~<5/7><esc>[5~<1/7><esc>[B<2/7>"
            "3n2<2/7>7"),
        MENU_BOOT);
}

static void test_text_keys(void **state)
{
    (void)state;
    stub_console.rows = 15;
    assert_int_equal(
        expect("4<lines 1-11/>j<lines 2-12/>k<lines 1-11/>k<lines 1-11/> <lines 11-21/>"
               "b<lines 1-11/>G<!lines 1->g<lines 1-11/><100x40>z<!lines><80x15>z"
               "<lines 1-11/>G<100x40>z<Configuration>7"),
        MENU_BOOT);
}

static void test_filter(void **state)
{
    (void)state;
    assert_int_equal(
        expect("2<regions>f<only free: ><Conventional><!RuntimeServicesData>f<only free "
               "after exit>F<only free: >F<!only>F<only reserved>r<descriptors><!only>"
               "f<only Reserved: 1>f<only BootServicesData: 1><!Conventional>"
               "/1m<cr><descriptor 2: Conventional>q<!only><3/7>7"),
        MENU_BOOT);
}

static void test_search(void **state)
{
    (void)state;
    assert_int_equal(
        expect("2/7e6ed123<cr><0x7e6ed123: runtime code, 0x123 into><RuntimeServicesCode>"
               "<descriptor 3><Around it>q<4/7>"
               "a0x7e7fe014<cr><configuration table: ACPI 2.0><ACPI table DSDT>q<5/7>"
               "/4g<cr><0x100000000: in no region><> 0x7f030000-0xffffffffffffffff>q"
               "/ffffffffffffffff<cr><0xffffffffffffffff: in no region>q"
               "/0<cr><0x0: free after exit><> 0x0-0xfff>q<1/7>"
               "/xyz<cr><That is no address><bs><bs>7e7ed000<cr><0x7e7ed000: free after ACPI>q"
               "/12<esc><wait><!0x12:>/<cr><!Around>/7f010000<cr><M0>q"
               "r/7f018000<cr><descriptor 5><descriptor 6>q7"),
        MENU_BOOT);
}

static void test_addresses(void **state)
{
    static const struct {
        const char *text;
        bool good;
        uint64_t address;
    } cases[] = {
        { "0", true, 0 },
        { "0x0", true, 0 },
        { "7e6ed000", true, 0x7e6ed000 },
        { "0x7E6ed000", true, 0x7e6ed000 },
        { "0XFF", true, 0xff },
        { "100000", true, 0x100000 },
        { " 1m ", true, MIB },
        { "512k", true, 0x80000 },
        { "4G", true, UINT64_C(1) << 32 },
        { "16T", true, UINT64_C(1) << 44 },
        { "ffffffffffffffff", true, UINT64_MAX },
        { "16777215t", true, UINT64_C(0xffffff0000000000) },
        { "16777216t", false, 0 },
        { "10000000000000000", false, 0 },
        { "", false, 0 },
        { " ", false, 0 },
        { "k", false, 0 },
        { "0x", false, 0 },
        { "0x10k", false, 0 },
        { "-1", false, 0 },
        { "1 2", false, 0 },
        { "fm", false, 0 },
        { "0x1g", false, 0 },
    };

    (void)state;
    for (size_t i = 0; i < MM_COUNTOF(cases); i++) {
        uint64_t address = 0;

        if (menu_address(cases[i].text, &address) != cases[i].good || address != cases[i].address) {
            fail_msg("\"%s\": 0x%llx", cases[i].text, (unsigned long long)address);
        }
    }
}

/* ---- ways out -------------------------------------------------------------------------------- */

static void test_ways_out(void **state)
{
    (void)state;
    assert_int_equal(expect("7"), MENU_BOOT);
    assert_int_equal(expect("8"), MENU_EXIT);
    assert_int_equal(expect("3<cr>8"), MENU_EXIT);
    assert_int_equal(expect("9<Restart the machine?>n<!did not>9<esc><wait><!Restart the>7"),
                     MENU_BOOT);
    assert_int_equal(stub_fw.nresets, 0);
    assert_int_equal(expect("9y<did not restart>q7"), MENU_BOOT);
    assert_int_equal(stub_fw.nresets, 1);
    assert_int_equal(
        expect("<0 Firmware set-up>0<set-up screens?>n0y<cannot be restarted><Device Error>"
               "<cr>8"),
        MENU_EXIT);
    assert_int_equal(setups, 1);
    setup_there = false;
    assert_int_equal(expect("<!0 Firmware set-up>0<cannot be restarted><Unsupported>q7"),
                     MENU_BOOT);
    assert_int_equal(setups, 1);
}

static void test_console_that_fails(void **state)
{
    (void)state;
    fw.console = NULL;
    assert_int_equal(menu_run(&in), MENU_BOOT);
    assert_non_null(strstr(stub_fw.said, "no console"));
    assert_false(menu_wait_key(&fw, 3));
    fw.console = &stub_console_table;

    assert_int_equal(expect("2j<2/7>"), MENU_BOOT); /* nobody types, and the wait fails */
    assert_non_null(strstr(stub_fw.said, "console does not work"));

    stub_console_reset("jjjjjjjjjjjjjjjjjjjjjj8");
    stub_console.size_error = FW_DEVICE_ERROR;
    assert_int_equal(menu_run(&in), MENU_BOOT);

    stub_console_reset("jjjjjjjjjjjjjjjjjjjjjj8");
    stub_console.clear_error = FW_DEVICE_ERROR;
    assert_int_equal(menu_run(&in), MENU_BOOT);

    stub_console_reset("2222222222222222222228");
    stub_console.put_error = FW_DEVICE_ERROR;
    stub_console.put_errors = UINT32_MAX;
    assert_int_equal(menu_run(&in), MENU_BOOT);

    stub_console_reset("2jjjjjj8"); /* it recovers */
    stub_console.put_error = FW_DEVICE_ERROR;
    stub_console.put_errors = 40;
    assert_int_equal(menu_run(&in), MENU_EXIT);

    stub_console_reset("8");
    stub_fw.fail_alloc = stub_fw.nallocs;
    assert_int_equal(menu_run(&in), MENU_EXIT); /* the second try has memory */
}

/* Each allocation fails once; and from each on, all of them do. */
static void test_no_memory(void **state)
{
    (void)state;
    add_report("a.json", &sample.report);
    for (uint32_t i = 0; i < 40; i++) {
        stub_fw.nallocs = 0;
        stub_fw.fail_alloc = i;
        assert_int_equal(run("22f/1m<cr>q3<cr>q4?q5<cr>q6<cr>18"), MENU_EXIT);
        assert_int_equal(stub_fw.live_pages, 0);
    }
    stub_fw.fail_alloc = STUB_NEVER;
    for (uint32_t pages = 0; pages < 64; pages++) {
        stub_fw.free_pages = pages;
        (void)run("22f/1m<cr>q3<cr>q4?q5<cr>q6<cr>18");
        assert_int_equal(stub_fw.live_pages, 0);
    }
}

/* ---- the offer ------------------------------------------------------------------------------- */

static bool offered(const char *script, uint32_t seconds)
{
    stub_console_reset(script);
    stub_fw.said[0] = '\0';
    return menu_wait_key(&fw, seconds);
}

static void test_offer(void **state)
{
    (void)state;
    assert_false(offered("", 0));
    assert_string_equal(stub_fw.said, "");
    assert_false(offered("", 3));
    assert_string_equal(stub_fw.said, "\rPress a key for the inspector (3) "
                                      "\rPress a key for the inspector (2) "
                                      "\rPress a key for the inspector (1) \n");
    assert_int_equal(stub_console.waited_us, 3000000);
    assert_false(offered("typed before", 1));
    assert_true(offered("<wait>x", 3));
    assert_true(offered("<wait><wait><cr>", 3));
    assert_true(offered("<wait><down>", 3));
    assert_true(offered("<wait><esc>[5~", 3));
    assert_false(offered("<wait><nul><nul><nul>", 3));
    assert_true(stub_console.waited_us >= 3000000); /* it did not end sooner for them */
    assert_false(offered("<wait><esc>[24;80R<esc>[?1;2c", 3));
    assert_false(offered("<wait><esc><wait>", 3));
    assert_true(offered("<wait><nul><esc>[24;80R <wait>", 3));
    stub_console_reset("");
    stub_console.wait_error = FW_SUCCESS;
    stub_console.key_error = FW_DEVICE_ERROR;
    assert_false(menu_wait_key(&fw, 60));
}

/* A line that brings nothing but noise ends the wait. */
static void test_noise(void **state)
{
    static char noise[6 * 1000 + 7] = "<wait>";

    (void)state;
    for (unsigned i = 0; i < 1000; i++) {
        memcpy(noise + 6 + 5 * (size_t)i, "<nul>", 5);
    }
    assert_false(offered(noise, 60));
    assert_true(stub_console.nkeys < 300);
}

/* ---- reports on the volume ------------------------------------------------------------------- */

static void test_no_reports(void **state)
{
    (void)state;
    assert_int_equal(expect("5<There are no saved reports><0/0><cr>jkGg <cr>7"), MENU_BOOT);
    fw.files = NULL;
    assert_int_equal(expect("5<cannot be listed: Not Found>7"), MENU_BOOT);
}

static void test_compare(void **state)
{
    (void)state;
    add_report("qemu-1.json", &sample.report);
    add_older_report("qemu-2.json");
    assert_int_equal(expect("5<2/2><qemu-1.json><cr><Compared with qemu-2.json><other firmware>"
                            "<edk2-older><Breaks hibernation>qk<1/2><cr><The maps are the same.>"
                            "<0 changes>6q57"),
                     MENU_BOOT);
}

static void test_damaged_reports(void **state)
{
    static const char newer[] =
        "{\"format\":\"plat-report\",\"version\":{\"major\":99,\"minor\":0}}";
    struct report none = { .findings_when = REPORT_WHENS };
    static char zeros[5000];

    (void)state;
    add_report("1.json", &sample.report);
    volume[0].nbytes /= 2; /* cut off */
    volume_add("2.json", "", 0);
    volume_add("3.json", zeros, sizeof(zeros));
    volume_add("4.json", newer, sizeof(newer) - 1);
    add_report("5.json", &none);
    assert_int_equal(
        expect("5<5/5><cr><There is no memory map in this report>qk<cr><!Compared with 5>"
               "qk<cr><no report of Plat, or it is damaged><line 1>qk<cr><damaged>qk<cr>"
               "<damaged><line >7"),
        MENU_BOOT);
    read_status = FW_DEVICE_ERROR;
    assert_int_equal(expect("5<cr><The report cannot be read.><Device Error>7"), MENU_BOOT);
}

static void test_save(void **state)
{
    (void)state;
    assert_int_equal(expect("6<Press Enter to save><left out><cr><It was not saved><What to do>"
                            "1<[1 Overview]>6<It was not saved>7"),
                     MENU_BOOT);
    in.saved = (struct save_result){ .name = "qemu-2026-02-28-7" };
    in.was_saved = true;
    in.report.with_identifiers = true;
    assert_int_equal(
        expect("6<Saved as \\plat\\reports\\qemu-2026-02-28-7.json><UUIDs are in it>7"), MENU_BOOT);
}

/* ---- any machine at all ---------------------------------------------------------------------- */

static void test_hostile_report(void **state)
{
    (void)state;
    for (unsigned with = 0; with < 2; with++) {
        report_sample_drop(&sample);
        (with ? report_sample_hostile : report_sample_empty)(&sample);
        in.report = sample.report;
        stub_console.columns = with ? 81 : 80;
        assert_int_equal(run("2r4G5<cr>q6<cr>3<cr>?q/fr8"), MENU_EXIT);
    }
}

static void test_texts_of_firmware(void **state)
{
    static char text[70000];

    (void)state;
    rng = host_rng_make("test_texts_of_firmware");
    memset(text, 'w', sizeof(text) - 1);
    in.report.smbios.product = text;
    in.report.smbios.bios_version = "1\n2\r3\t4\x1b[2J\x0e\x02\x1c";
    in.report.cpu.brand = "\xff\xfe\xc3\xbc";
    assert_int_equal(expect("<[1 Overview]><1?2?3?4?[2J\?\?\?>G4j7"), MENU_BOOT);
    for (size_t i = 0; i < sizeof(text) - 1; i++) {
        text[i] = (char)(host_rng_below(&rng, 255) + 1);
    }
    assert_int_equal(run("<100x31> 41G7"), MENU_BOOT);
}

static void test_empty_map(void **state)
{
    static const struct efi_memory_descriptor none[1];
    const struct memmap_raw raw = { none, 0, sizeof(none[0]), 1 };

    (void)state;
    use_map(&raw);
    in.report.ncaptures = 0;
    assert_int_equal(
        expect("<no memory in the map>2<There is no memory map.><0/0>rf/1m<cr><0x100000: in "
               "no region>q<cr>3<M02><cr><Consequence>7"),
        MENU_BOOT);
}

static uint32_t cells_at[4];

static void count_mark(const char *word, size_t n)
{
    assert_int_equal(n, 1);
    cells_at[word[0] - 'a'] = stub_console.ncells;
}

/* Moving the bar costs two lines, scrolling no more than the list, however long the map. */
static void test_long_map(void **state)
{
    static struct efi_memory_descriptor descs[20000];
    const struct memmap_raw raw = { descs, sizeof(descs), sizeof(descs[0]), 1 };

    (void)state;
    for (uint32_t i = 0; i < MM_COUNTOF(descs); i++) {
        descs[i] = (struct efi_memory_descriptor){
            i % 2 == 0 ? EFI_MT_CONVENTIONAL : EFI_MT_BOOT_DATA, 0, i * UINT64_C(0x3000), 0, 1, 0xf
        };
    }
    use_map(&raw);
    stub_console.mark = count_mark;
    assert_int_equal(run("2<a>j<b>jjjjjjjjjjjjjjjj<c>j<d>8"), MENU_EXIT);
    assert_in_range(cells_at[1] - cells_at[0], 1, 80 * 2 + 40);
    assert_in_range(cells_at[3] - cells_at[2], 1, 80 * 18 + 40);
    assert_int_equal(expect("2<1/20000>G<20000/20000>/1000<cr><in no region>qf<only free: 10000>"
                            "G<10000/10000>8"),
                     MENU_EXIT);
}

/* Of 500 keys. */
#define ROUNDS 40u

static uint32_t below(uint32_t bound)
{
    return (uint32_t)host_rng_below(&rng, bound);
}

static const char *random_key(void)
{
    static const char *const words[] = {
        "<up>",     "<down>", "<home>",      "<end>",  "<pgup>", "<pgdn>",   "<cr>",
        "<tab>",    "<bs>",   "<esc><wait>", "<f1>",   "<nul>",  "2",        "2/",
        "2/1m<cr>", "5",      "<ctrl-l>",    "<miss>", "3<cr>",  "<esc>[6~",
    };
    static const char *const sizes[] = { "<80x25>", "<80x24>",  "<100x31>", "<41x13>",  "<20x5>",
                                         "<1x1>",   "<240x67>", "<512x20>", "<600x300>" };
    static char one[2] = "x";

    switch (below(4)) {
    case 0:
        return words[below(MM_COUNTOF(words))];
    case 1:
        if (below(8) == 0) {
            return sizes[below(MM_COUNTOF(sizes))];
        }
        /* fall through */
    default:
        one[0] = "jkgG bfFr/a?qnp123456\r"[below(22)];
        return one;
    }
}

static void random_map(struct efi_memory_descriptor *descs, uint32_t n)
{
    uint64_t at = 0;

    for (uint32_t i = 0; i < n; i++) {
        uint64_t bits = host_rng_next(&rng);

        descs[i] = (struct efi_memory_descriptor){ below(17), 0, at, bits, bits % 5000 + 1, bits };
        at += (descs[i].number_of_pages + (below(4) == 0 ? 100 : 0)) << 12;
        if (below(50) == 0) { /* any bytes */
            descs[i].type = (uint32_t)bits;
            descs[i].physical_start = bits << below(20);
            descs[i].number_of_pages = bits >> below(60);
        }
    }
}

static void test_random_keys(void **state)
{
    static struct efi_memory_descriptor descs[3000];
    static char script[8000];

    (void)state;
    rng = host_rng_make("test_random_keys");
    add_report("1.json", &sample.report);
    add_older_report("2.json");
    volume_add("3.json", "{\"format\":\"plat-report\",", 24);
    stub_console.mark = NULL;
    for (unsigned round = 0; round < ROUNDS; round++) {
        const struct memmap_raw raw = { descs, (uint64_t)below(3000) * sizeof(descs[0]),
                                        sizeof(descs[0]), 1 };

        random_map(descs, MM_COUNTOF(descs));
        use_map(&raw);
        script[0] = '\0';
        for (size_t n = 0; n < 500; n++) {
            strcat(script, random_key());
        }
        strcat(script, "<80x25><esc><wait><esc><wait>qq8");
        stub_fw.fail_alloc = below(3) == 0 ? stub_fw.nallocs + below(200) : STUB_NEVER;
        stub_console.columns = 80;
        stub_console.rows = 25;
        assert_int_equal(run(script), MENU_EXIT);
        assert_int_equal(stub_fw.live_pages, 0);
        assert_null(stub_fw.violation);
    }
}

int main(void)
{
#define TEST(t) cmocka_unit_test_setup_teardown(t, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_screens),    TEST(test_between_screens), TEST(test_list_keys),
        TEST(test_text_keys),  TEST(test_filter),          TEST(test_search),
        TEST(test_addresses),  TEST(test_ways_out),        TEST(test_console_that_fails),
        TEST(test_no_memory),  TEST(test_offer),           TEST(test_noise),
        TEST(test_no_reports), TEST(test_compare),         TEST(test_damaged_reports),
        TEST(test_save),       TEST(test_hostile_report),  TEST(test_texts_of_firmware),
        TEST(test_empty_map),  TEST(test_long_map),        TEST(test_random_keys),
    };
#undef TEST

    return cmocka_run_group_tests(tests, NULL, NULL);
}
