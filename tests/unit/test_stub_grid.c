/*
 * The picture of the console (efi/grid.c) and the keys (efi/keyboard.c), against a console that is
 * played: what is shown is what was drawn, and no more is sent than has changed.
 */
#include "host_port.h"

#include <stdlib.h>

#include "grid.h"
#include "keyboard.h"
#include "stub_console.h"
#include "stub_fw.h"

static struct pool pool;
static struct grid grid;

static int setup(void **state)
{
    (void)state;
    stub_fw_reset();
    stub_console_reset("");
    pool = pool_make(&stub_fw_table);
    grid = (struct grid){ .console = &stub_console_table };
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    assert_null(stub_console.violation);
    pool_free_all(&pool);
    assert_int_equal(stub_fw.live_pages, 0);
    return 0;
}

static void begin(void)
{
    assert_int_equal(grid_begin(&grid, &pool), FW_SUCCESS);
}

static void flush(void)
{
    stub_console.nputs = stub_console.ncells = 0;
    assert_int_equal(grid_flush(&grid), FW_SUCCESS);
}

static uint32_t text(uint32_t column, uint32_t row, uint8_t attribute, const char *s)
{
    return grid_text(&grid, column, row, UINT32_MAX, attribute, s, strlen(s));
}

/* ---- the picture ----------------------------------------------------------------------------- */

static void test_draw(void **state)
{
    (void)state;
    begin();
    assert_int_equal(text(2, 3, 0x1f, "hello"), 5);
    grid_fill(&grid, 0, 4, 10, 0x70);
    flush();
    assert_int_equal(stub_console.nclears, 1);
    assert_int_equal(stub_console.nputs, 2);
    assert_int_equal(stub_console.ncells, 15);
    assert_string_equal(stub_console_row(3), "  hello");
    assert_int_equal(stub_console.attribute[3][2], 0x1f);
    assert_int_equal(stub_console.attribute[3][1], GRID_PLAIN);
    assert_int_equal(stub_console.attribute[4][9], 0x70);
}

static void test_only_changes_are_sent(void **state)
{
    (void)state;
    begin();
    (void)text(0, 0, 0x07, "the quick brown fox jumps over the lazy dog");
    flush();
    begin();
    (void)text(0, 0, 0x07, "the quick brown fox jumps over the lazy dog");
    flush();
    assert_int_equal(stub_console.nputs, 0);
    begin();
    (void)text(0, 0, 0x07, "the quick brown cat jumps over the lazy dog");
    flush();
    assert_int_equal(stub_console.nputs, 1);
    assert_int_equal(stub_console.ncells, 3);
    begin(); /* two changes close together go in one run, two far apart in two */
    (void)text(0, 0, 0x07, "the Quick Brown cat jumps over the lazy Dog");
    flush();
    assert_int_equal(stub_console.nputs, 2);
    assert_int_equal(stub_console.ncells, 7 + 1);
    assert_string_equal(stub_console_row(0), "the Quick Brown cat jumps over the lazy Dog");
    assert_int_equal(stub_console.nclears, 1);
    begin(); /* what is not drawn again goes */
    flush();
    assert_string_equal(stub_console_row(0), "");
    begin();
    grid.unknown = true;
    (void)text(0, 1, 0x07, "again");
    flush();
    assert_int_equal(stub_console.nclears, 2);
    assert_string_equal(stub_console_row(1), "again");
}

/* The foreground of a blank does not show. */
static void test_blanks(void **state)
{
    (void)state;
    begin();
    (void)text(0, 0, 0x0f, "a ");
    (void)text(2, 0, 0x0f, "b");
    flush();
    begin();
    (void)text(0, 0, 0x0f, "a");
    (void)text(1, 0, 0x0c, " ");
    (void)text(2, 0, 0x0f, "b");
    flush();
    assert_int_equal(stub_console.nputs, 0);
    begin();
    (void)text(0, 0, 0x0f, "a");
    (void)text(1, 0, 0x1c, " ");
    (void)text(2, 0, 0x0f, "b");
    flush();
    assert_int_equal(stub_console.ncells, 1);
}

static void test_edges(void **state)
{
    char line[200];

    (void)state;
    memset(line, 'x', sizeof(line) - 1);
    line[sizeof(line) - 1] = '\0';
    begin();
    assert_int_equal(text(0, 0, 0x07, line), 80);
    assert_int_equal(text(79, 1, 0x07, line), 1);
    assert_int_equal(text(80, 2, 0x07, line), 0);
    assert_int_equal(text(UINT32_MAX, 2, 0x07, line), 0);
    assert_int_equal(text(0, 25, 0x07, line), 0);
    assert_int_equal(text(0, UINT32_MAX, 0x07, line), 0);
    assert_int_equal(grid_text(&grid, 0, 3, 4, 0x07, line, sizeof(line) - 1), 4);
    assert_int_equal(text(0, 24, 0x07, line), 80); /* its last cell is not sent */
    grid_fill(&grid, 78, 4, UINT32_MAX, 0x70);
    grid_fill(&grid, 0, 25, 1, 0x70);
    flush();
    assert_int_equal(strlen(stub_console_row(0)), 80);
    assert_int_equal(strlen(stub_console_row(24)), 79);
    assert_string_equal(stub_console_row(3), "xxxx");
    assert_string_equal(stub_console_row(2), "");
}

static void test_characters(void **state)
{
    (void)state;
    begin();
    assert_int_equal(text(0, 0, 0x07, "a\tb\x1b[2J\x7f\x01"), 9);
    assert_int_equal(text(0, 1, 0x07, "\xc3\xbc\xe2\x96\x88\xe2\x82\xac"),
                     3); /* u-umlaut, full block, euro */
    assert_int_equal(text(0, 2, 0x07, "\xf0\x9f\x98\x80|\xff\xc0\x80|\xe2\x96"), 11);
    assert_int_equal(text(0, 3, 0x07, "\xed\xa0\x80\xe0\x80\x80\xc2\xad\xc2\x85"), 8);
    flush();
    assert_string_equal(stub_console_row(0), "a?b?[2J??");
    assert_string_equal(stub_console_row(1), "\xc3\xbc\xe2\x96\x88?");
    assert_string_equal(stub_console_row(2), "????|???|??");
    assert_string_equal(stub_console_row(3), "????????");
    stub_console.is_ascii = true;
    begin();
    assert_int_equal(text(0, 1, 0x07, "\xc3\xbc\xe2\x96\x88"), 2);
    flush();
    assert_string_equal(stub_console_row(1), "??");
}

static void test_other_size(void **state)
{
    static const struct {
        uint32_t columns, rows;
    } sizes[] = {
        { 100, 31 }, { 80, 24 }, { 240, 67 }, { 1, 1 }, { 2, 300 }, { 600, 2 }, { 80, 25 }
    };

    (void)state;
    for (size_t i = 0; i < MM_COUNTOF(sizes); i++) {
        uint32_t row = sizes[i].rows > 1 ? 1 : 0;

        stub_console.columns = sizes[i].columns;
        stub_console.rows = sizes[i].rows;
        begin();
        assert_int_equal(grid.columns, mm_min(sizes[i].columns, GRID_MAX_COLUMNS));
        assert_int_equal(grid.rows, mm_min(sizes[i].rows, GRID_MAX_ROWS));
        for (uint32_t r = 0; r < grid.rows; r++) {
            grid_fill(&grid, 0, r, UINT32_MAX, 0x17);
        }
        (void)text(0, row, 0x07, "abc");
        flush();
        assert_int_equal(stub_console.nclears, i + 1);
        assert_memory_equal(stub_console_row(row), "abc",
                            sizes[i].rows > 1 ? mm_min(2, grid.columns) : 0);
        assert_int_equal(pool.count, 1);
    }
}

/* A mode that has more cells than there is memory for: as many rows as there is. */
static void test_no_memory(void **state)
{
    (void)state;
    begin();
    stub_fw.fail_alloc = stub_fw.nallocs;
    stub_console.columns = 160;
    stub_console.rows = 60;
    begin();
    assert_int_equal(grid.columns, 160);
    assert_int_equal(grid.rows, 80 * 25 / 160);
    (void)text(0, 11, 0x07, "last");
    flush();
    assert_string_equal(stub_console_row(11), "last");

    grid = (struct grid){ .console = &stub_console_table };
    stub_fw.fail_alloc = stub_fw.nallocs;
    assert_int_equal(grid_begin(&grid, &pool), FW_OUT_OF_RESOURCES);
}

/* EDK II's splitter in a mode of 100 columns; and any console from column 99 on. */
static void test_reach(void **state)
{
    char line[201];

    (void)state;
    for (uint32_t reach = 80; reach <= 99; reach += 19) {
        (void)setup(NULL);
        stub_console.columns = 200;
        stub_console.reach = reach;
        srand(7);
        for (unsigned round = 0; round < 200; round++) {
            begin();
            for (uint32_t row = 0; row < 25; row++) {
                for (uint32_t i = 0; i < 200; i++) {
                    line[i] = rand() % 50 == 0 ? (char)('a' + rand() % 26) : '.';
                }
                line[200] = '\0';
                (void)text(0, row, 0x07, line);
                (void)text((uint32_t)(rand() % 200), row, (uint8_t)(rand() % 128), "mark");
            }
            flush();
            for (uint32_t row = 0; row < 25; row++) {
                for (uint32_t i = 0; i < (row == 24 ? 199u : 200u); i++) {
                    struct grid_cell c = grid.wanted[row * 200 + i];

                    assert_int_equal(stub_console.text[row][i], c.character);
                    assert_true(stub_console.attribute[row][i] == c.attribute ||
                                c.character == ' ');
                }
            }
        }
        (void)teardown(NULL);
    }
    (void)setup(NULL);
}

static void test_failures(void **state)
{
    (void)state;
    stub_console.size_error = FW_DEVICE_ERROR;
    assert_int_equal(grid_begin(&grid, &pool), FW_DEVICE_ERROR);
    stub_console.size_error = FW_SUCCESS;
    stub_console.columns = 0;
    assert_int_equal(grid_begin(&grid, &pool), FW_DEVICE_ERROR);
    stub_console.columns = 80;
    begin();
    (void)text(0, 0, 0x07, "hello");
    (void)text(0, 1, 0x07, "world");
    stub_console.clear_error = FW_DEVICE_ERROR;
    assert_int_equal(grid_flush(&grid), FW_DEVICE_ERROR);
    assert_int_equal(stub_console.nputs, 0);
    stub_console.clear_error = FW_SUCCESS;
    stub_console.put_error = FW_DEVICE_ERROR;
    stub_console.put_errors = UINT32_MAX;
    assert_int_equal(grid_flush(&grid), FW_DEVICE_ERROR);
    stub_console.put_errors = 1;
    assert_int_equal(grid_flush(&grid), FW_SUCCESS); /* some of it */
    assert_string_equal(stub_console_row(0), "");
    assert_string_equal(stub_console_row(1), "world");
    flush();
    assert_string_equal(stub_console_row(0), "hello");
    assert_int_equal(stub_console.nputs, 1);
    stub_console.size_error = FW_DEVICE_ERROR; /* it had a size once */
    begin();
}

/* ---- keys ------------------------------------------------------------------------------------ */

static struct keyboard typing(const char *script)
{
    stub_console_reset(script);
    return (struct keyboard){ .console = &stub_console_table };
}

static void test_keys(void **state)
{
    static const struct {
        const char *script;
        int keys[8];
    } cases[] = {
        { "aZ~ 0", { 'a', 'Z', '~', ' ', '0' } },
        { "<cr><lf><tab><bs>\x7f<ctrl-l>",
          { KEY_ENTER, KEY_ENTER, KEY_TAB, KEY_BACKSPACE, KEY_BACKSPACE, KEY_REDRAW } },
        { "<up><down><left><right>", { KEY_UP, KEY_DOWN, KEY_LEFT, KEY_RIGHT } },
        { "<home><end><pgup><pgdn><f1><f2>",
          { KEY_HOME, KEY_END, KEY_PAGE_UP, KEY_PAGE_DOWN, KEY_F1, KEY_OTHER } },
        { "<nul>\x01\xff", { KEY_OTHER, KEY_OTHER, KEY_OTHER } },
        { "<esc>", { KEY_ESC } },
        { "<esc><wait>x", { KEY_ESC, 'x' } },
        { "\x1b<wait>x", { KEY_ESC, 'x' } },
        { "<esc>x", { KEY_ESC, 'x' } },
        { "<esc><esc><wait>", { KEY_ESC, KEY_ESC } },
        { "<esc><up>", { KEY_ESC, KEY_UP } },
        { "<esc>[A<esc>[B<esc>[C<esc>[D", { KEY_UP, KEY_DOWN, KEY_RIGHT, KEY_LEFT } },
        { "<esc>[5~<esc>[6~", { KEY_PAGE_UP, KEY_PAGE_DOWN } },
        { "<esc>[1~<esc>[4~<esc>[H<esc>[F<esc>[7~<esc>[8~",
          { KEY_HOME, KEY_END, KEY_HOME, KEY_END, KEY_HOME, KEY_END } },
        { "<esc>OP<esc>[11~<esc>OH", { KEY_F1, KEY_F1, KEY_HOME } },
        { "<esc>[24;80R7", { KEY_OTHER, '7' } }, /* an answer about the cursor */
        { "<esc>[?1;2c7", { KEY_OTHER, '7' } },  /* what kind of terminal it is */
        { "<esc>[5;5~<esc>[15~<esc>[3~", { KEY_OTHER, KEY_OTHER, KEY_OTHER } },
        { "<esc>[<wait>7", { KEY_OTHER, '7' } }, /* broken off */
        { "<esc>[5<esc>[A", { KEY_OTHER, KEY_UP } },
        { "<esc>[5<down>", { KEY_OTHER, KEY_DOWN } },
        { "<esc>[99999999999999999999999999999999~", { KEY_OTHER, '~' } },
    };

    (void)state;
    for (size_t i = 0; i < MM_COUNTOF(cases); i++) {
        struct keyboard k = typing(cases[i].script);

        for (size_t n = 0; n < MM_COUNTOF(cases[i].keys) && cases[i].keys[n] != 0; n++) {
            int key = (int)keyboard_next(&k, CONSOLE_FOREVER);

            if (key != cases[i].keys[n]) {
                fail_msg("\"%s\", key %zu: %d", cases[i].script, n, key);
            }
        }
    }
}

static void test_waiting(void **state)
{
    struct keyboard k = typing("");

    (void)state;
    assert_int_equal(keyboard_next(&k, 5000), KEY_NONE);
    assert_int_equal(stub_console.waited_us, 5000);
    k = typing("<miss><miss>a");
    assert_int_equal(keyboard_next(&k, 5000), 'a');
    k = typing("<esc>x");
    assert_int_equal(keyboard_next(&k, 5000), KEY_ESC);
    keyboard_drain(&k);
    assert_int_equal(keyboard_next(&k, 5000), KEY_NONE);
    k = typing("abc<up><nul>");
    keyboard_drain(&k);
    assert_int_equal(keyboard_next(&k, 5000), KEY_NONE);
}

/* A console that works no more is given up, whatever it says. */
static void test_broken_keyboard(void **state)
{
    static const struct {
        fw_status_t key, wait;
    } cases[] = {
        { FW_SUCCESS, FW_DEVICE_ERROR },
        { FW_SUCCESS, FW_SUCCESS },
        { FW_DEVICE_ERROR, FW_SUCCESS },
        { FW_DEVICE_ERROR, FW_UNSUPPORTED },
    };

    (void)state;
    for (size_t i = 0; i < MM_COUNTOF(cases); i++) {
        struct keyboard k = typing("ab");

        stub_console.key_error = cases[i].key;
        stub_console.wait_error = cases[i].wait;
        assert_int_equal(keyboard_next(&k, CONSOLE_FOREVER), 'a');
        assert_int_equal(keyboard_next(&k, CONSOLE_FOREVER), 'b');
        assert_int_equal(keyboard_next(&k, CONSOLE_FOREVER), KEY_FAILED);
        assert_int_equal(keyboard_next(&k, CONSOLE_FOREVER), KEY_FAILED);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_draw, setup, teardown),
        cmocka_unit_test_setup_teardown(test_only_changes_are_sent, setup, teardown),
        cmocka_unit_test_setup_teardown(test_blanks, setup, teardown),
        cmocka_unit_test_setup_teardown(test_edges, setup, teardown),
        cmocka_unit_test_setup_teardown(test_characters, setup, teardown),
        cmocka_unit_test_setup_teardown(test_other_size, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_memory, setup, teardown),
        cmocka_unit_test_setup_teardown(test_reach, setup, teardown),
        cmocka_unit_test_setup_teardown(test_failures, setup, teardown),
        cmocka_unit_test(test_keys),
        cmocka_unit_test(test_waiting),
        cmocka_unit_test(test_broken_keyboard),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
