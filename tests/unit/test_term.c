/*
 * test_term.c - kernel/lib/term: sequences by hand; then random input against a terminal that does
 * everything the simple way, with what a renderer would see through the dirty marks.
 */
#include "host_port.h"

#include "lib/term.h"

#define MAX_CELLS TERM_CELLS(TERM_MAX_COLS, TERM_MAX_ROWS)

static _Alignas(8) struct term_cell cells[MAX_CELLS];
static struct term term;

/* The code point itself, so that tests can read the grid. */
static uint16_t glyph_of(void *ctx, uint32_t c)
{
    (void)ctx;
    return c < 0x10000 ? (uint16_t)c : 0xfffe;
}

static void start(unsigned cols, unsigned rows)
{
    memset(cells, 0xee, sizeof(cells));
    term_init(&term, cells, cols, rows, glyph_of, NULL);
    assert_sound(term_check(&term));
}

static void put(const char *s)
{
    term_write(&term, s, strlen(s));
    assert_sound(term_check(&term));
}

/* Row `row` reads `text`, then blanks. */
static void assert_row(unsigned row, const char *text)
{
    char seen[TERM_MAX_COLS + 1];
    size_t n = 0;

    for (unsigned i = 0; i < term.cols; i++) {
        uint16_t g = term_row(&term, row)[i].glyph;

        seen[i] = g < 0x80 ? (char)g : '@';
        n = seen[i] != ' ' ? i + 1 : n;
    }
    seen[n] = '\0';
    assert_string_equal(seen, text);
}

static void assert_cursor(unsigned row, unsigned col)
{
    assert_int_equal(term.row, row);
    assert_int_equal(term.col, col);
}

static void assert_cell(unsigned row, unsigned col, uint32_t glyph, unsigned fg, unsigned bg)
{
    assert_int_equal(term_row(&term, row)[col].glyph, glyph);
    assert_int_equal(term_row(&term, row)[col].fg, fg);
    assert_int_equal(term_row(&term, row)[col].bg, bg);
}

static void test_text(void **state)
{
    (void)state;
    start(10, 4);
    put("hello\nx\ty\rz");
    assert_row(0, "hello");
    assert_row(1, "z       y");
    assert_cursor(1, 1);
    put("\b\b\bq"); /* stops at column 0 */
    assert_row(1, "q       y");
    put("\t\t\t!"); /* stops in the last column */
    assert_row(1, "q       y!");
    put("\n\a\x01\x7fok"); /* no characters */
    assert_row(2, "ok");
}

static void test_wrap(void **state)
{
    (void)state;
    start(5, 3);
    put("abcde");
    assert_cursor(0, 4); /* waits */
    put("\n");
    assert_cursor(1, 0); /* so that a full line takes one line */
    put("fghij\bX");     /* a step back ends the wait, on the last column */
    assert_row(1, "fghiX");
    put("klm");
    assert_row(2, "klm");
    put("noPQ"); /* wraps and scrolls */
    assert_row(0, "fghiX");
    assert_row(1, "klmno");
    assert_row(2, "PQ");
}

static void test_smallest(void **state)
{
    (void)state;
    start(1, 1);
    put("ab\n\tc\033[5;5H\033[J\033[1K");
    assert_row(0, "");
    put("de");
    assert_row(0, "e");
}

static void test_cursor(void **state)
{
    (void)state;
    start(20, 10);
    put("\033[5;7H");
    assert_cursor(4, 6);
    put("\033[2A\033[3C");
    assert_cursor(2, 9);
    put("\033[B\033[0D");
    assert_cursor(3, 8);
    put("\033[99;99f");
    assert_cursor(9, 19);
    put("\033[99A\033[99D");
    assert_cursor(0, 0);
    put("\033[12G");
    assert_cursor(0, 11);
    put("\033[s\033[H\033[u");
    assert_cursor(0, 11);
    put("\033[H");
    assert_cursor(0, 0);
    assert_true(term.cursor_shown);
    put("\033[?25l");
    assert_false(term.cursor_shown);
    put("\033[?25h");
    assert_true(term.cursor_shown);
}

static void test_erase(void **state)
{
    (void)state;
    start(6, 3);
    put("aaaaaa\nbbbbbb\ncccccc\033[2;3H");
    put("\033[K");
    assert_row(1, "bb");
    put("\033[2;1Hbbbbbb\033[2;3H\033[1K");
    assert_row(1, "   bbb");
    put("\033[1J");
    assert_row(0, "");
    assert_row(1, "   bbb");
    put("\033[J");
    assert_row(1, "");
    assert_row(2, "");
    put("zzz\033[2J");
    assert_row(1, "");
    assert_cursor(1, 5);
    put("\033[44m\033[2K"); /* takes the background */
    assert_cell(1, 0, ' ', 7, 4);
    put("\033[7J\033[9K"); /* unknown: nothing */
    assert_cell(1, 0, ' ', 7, 4);
}

static void test_colours(void **state)
{
    (void)state;
    start(40, 3);
    put("a\033[31mb\033[1mc\033[44md\033[7me\033[27;22mf\033[39;49mg\033[91;102mh\033[mi");
    assert_cell(0, 0, 'a', 7, 0);
    assert_cell(0, 1, 'b', 1, 0);
    assert_cell(0, 2, 'c', 9, 0);
    assert_cell(0, 3, 'd', 9, 4);
    assert_cell(0, 4, 'e', 4, 9);
    assert_cell(0, 5, 'f', 1, 4);
    assert_cell(0, 6, 'g', 7, 0);
    assert_cell(0, 7, 'h', 9, 10);
    assert_cell(0, 8, 'i', 7, 0);
    put("\033[38;5;1;999;;35mj"); /* what is not known is passed over */
    assert_cell(0, 9, 'j', 5, 0);
}

static void test_utf8(void **state)
{
    (void)state;
    start(30, 3);
    put("\u2500\u00e9\U0001f600");
    assert_cell(0, 0, 0x2500, 7, 0);
    assert_cell(0, 1, 0xe9, 7, 0);
    assert_cell(0, 2, 0xfffe, 7, 0);
    assert_cursor(0, 3);
    /* cut short, stray, overlong, surrogate, too large, C1: U+FFFD each, what follows is kept */
    put("\r\xe2\x94z");
    assert_cell(0, 0, 0xfffd, 7, 0);
    assert_cell(0, 1, 'z', 7, 0);
    put("\r\x94y");
    assert_cell(0, 0, 0xfffd, 7, 0);
    assert_cell(0, 1, 'y', 7, 0);
    put("\r\xe0\x80\x80x");
    assert_cell(0, 0, 0xfffd, 7, 0);
    assert_cell(0, 1, 'x', 7, 0);
    put("\r\xf0\x82\x82\xac\xe0\x82\xa9X");
    assert_cell(0, 0, 0xfffd, 7, 0);
    assert_cell(0, 1, 0xfffd, 7, 0);
    assert_cell(0, 2, 'X', 7, 0);
    put("\r\xed\xa0\x80w");
    assert_cell(0, 0, 0xfffd, 7, 0);
    assert_cell(0, 1, 'w', 7, 0);
    put("\r\xf4\x90\x80\x80v");
    assert_cell(0, 0, 0xfffd, 7, 0);
    assert_cell(0, 1, 'v', 7, 0);
    put("\r\xc2\x9bu");
    assert_cell(0, 0, 0xfffd, 7, 0);
    assert_cell(0, 1, 'u', 7, 0);
    put("\r\xff\xc0t");
    assert_cell(0, 1, 0xfffd, 7, 0);
    assert_cell(0, 2, 't', 7, 0);
    put("\r\xe2\x94\033[4Cs"); /* an escape ends it */
    assert_cell(0, 0, 0xfffd, 7, 0);
    assert_cell(0, 5, 's', 7, 0);
}

static void test_odd_sequences(void **state)
{
    (void)state;
    start(30, 3);
    put("a\033(Bb\033[5nc\033]0;title\ad\033]x\033\\e\033=f\033[1;2;3;4;5;6;7;8;9mg");
    assert_row(0, "abcdef9mg"); /* more parameters than anybody sends: given up */
    put("\r\033[3\nx");         /* a control character ends a sequence */
    assert_row(1, "x");
    put("\r\033[99999999999Cy"); /* a number that is too large */
    assert_row(1, "x"
                  "                            "
                  "y");
}

/* ---- random input against the simple way --------------------------------------------------- */

#define COLS 13
#define ROWS 7

struct simple {
    struct term_cell at[ROWS][COLS];
    int row, col;
    bool wait;
    int fg, bg;
};

static void simple_feed(struct simple *s)
{
    s->col = 0;
    s->wait = false;
    if (s->row < ROWS - 1) {
        s->row++;
        return;
    }
    memmove(s->at[0], s->at[1], sizeof(s->at[0]) * (ROWS - 1));
    for (int i = 0; i < COLS; i++) {
        s->at[ROWS - 1][i] = (struct term_cell){ ' ', 7, (uint8_t)s->bg };
    }
}

static void simple_put(struct simple *s, char c)
{
    if (s->wait) {
        simple_feed(s);
    }
    s->at[s->row][s->col] = (struct term_cell){ (uint16_t)c, (uint8_t)s->fg, (uint8_t)s->bg };
    s->wait = s->col == COLS - 1;
    s->col += !s->wait;
}

static void simple_erase(struct simple *s, int from, int to)
{
    for (int i = from; i < to; i++) {
        s->at[i / COLS][i % COLS] = (struct term_cell){ ' ', 7, (uint8_t)s->bg };
    }
}

static void simple_move(struct simple *s, int row, int col)
{
    s->row = row < 0 ? 0 : row >= ROWS ? ROWS - 1 : row;
    s->col = col < 0 ? 0 : col >= COLS ? COLS - 1 : col;
    s->wait = false;
}

/* One random thing to write: its bytes into `out`, its effect onto `s`. */
static size_t random_step(struct host_rng *r, struct simple *s, char *out)
{
    int n = (int)host_rng_below(r, 9), m = (int)host_rng_below(r, 16);
    int here = s->row * COLS + s->col, line = s->row * COLS, by = n > 0 ? n : 1;

    switch (host_rng_below(r, 14)) {
    case 0:
        simple_feed(s);
        return (size_t)sprintf(out, "\n");
    case 1:
        simple_move(s, s->row, 0);
        return (size_t)sprintf(out, "\r");
    case 2:
        simple_move(s, s->row, s->wait ? s->col : s->col - 1);
        return (size_t)sprintf(out, "\b");
    case 3:
        simple_move(s, n - 1, m - 1);
        return (size_t)sprintf(out, "\033[%d;%dH", n, m);
    case 4:
        s->fg = m;
        return (size_t)sprintf(out, "\033[%dm", m < 8 ? 30 + m : 82 + m);
    case 5:
        s->bg = m;
        return (size_t)sprintf(out, "\033[%dm", m < 8 ? 40 + m : 92 + m);
    case 6:
        simple_erase(s, n % 3 == 0 ? here : line, n % 3 == 1 ? here + 1 : line + COLS);
        return (size_t)sprintf(out, "\033[%dK", n % 3);
    case 7:
        if (n != 0) {
            return 0; /* seldom, so that there is something on the screen */
        }
        simple_erase(s, m % 3 == 0 ? here : 0, m % 3 == 1 ? here + 1 : ROWS * COLS);
        return (size_t)sprintf(out, "\033[%dJ", m % 3);
    case 8:
        simple_move(s, s->row + (m & 1 ? by : -by), s->col);
        return (size_t)sprintf(out, "\033[%d%c", n, m & 1 ? 'B' : 'A');
    case 9:
        simple_move(s, s->row, s->col + (m & 1 ? by : -by));
        return (size_t)sprintf(out, "\033[%d%c", n, m & 1 ? 'C' : 'D');
    default:
        for (int i = 0; i < m; i++) {
            out[i] = (char)('!' + host_rng_below(r, 94));
            simple_put(s, out[i]);
        }
        return (size_t)m;
    }
}

static void test_random(void **state)
{
    struct host_rng r = host_rng_make("term");
    struct simple s = { .fg = 7 };
    struct term_cell glass[ROWS][COLS]; /* what a renderer that trusts the marks has drawn */
    char bytes[64];
    unsigned from, to;

    (void)state;
    start(COLS, ROWS);
    simple_erase(&s, 0, ROWS * COLS);
    memset(glass, 0x77, sizeof(glass));
    for (unsigned step = 0; step < 200000; step++) {
        size_t n = random_step(&r, &s, bytes), cut = n > 0 ? host_rng_below(&r, n) : 0;

        term_write(&term, bytes, cut); /* in two pieces anywhere */
        term_write(&term, bytes + cut, n - cut);
        assert_sound(term_check(&term));
        assert_cursor((unsigned)s.row, (unsigned)s.col);
        for (unsigned row = 0; row < ROWS; row++) {
            assert_memory_equal(term_row(&term, row), s.at[row], sizeof(s.at[row]));
        }
        if (host_rng_below(&r, 3) != 0) {
            continue;
        }
        for (unsigned row = 0; row < ROWS; row++) {
            if (term_dirty(&term, row, &from, &to)) {
                assert_true(from < to && to <= COLS);
                memcpy(&glass[row][from], term_row(&term, row) + from,
                       (to - from) * sizeof(s.at[0][0]));
            }
            assert_false(term_dirty(&term, row, &from, &to));
        }
        assert_memory_equal(glass, s.at, sizeof(glass));
    }
}

/* Any bytes at all: no harm, on any size. */
static void test_garbage(void **state)
{
    static const char spice[] = "\033[0123456789;?mHJKABCDGsu\n\r\t\b]P\\\xe2\x94\x80";
    static const unsigned sizes[][2] = { { 1, 1 }, { 1, 9 }, { 9, 1 }, { 80, 25 }, { 320, 128 } };
    struct host_rng r = host_rng_make("term garbage");
    char bytes[512];

    (void)state;
    for (unsigned round = 0; round < 2000; round++) {
        if (round % 400 == 0) {
            start(sizes[round / 400][0], sizes[round / 400][1]);
        }
        for (size_t i = 0; i < sizeof(bytes); i++) {
            bytes[i] = host_rng_below(&r, 2) != 0 ? spice[host_rng_below(&r, sizeof(spice))]
                                                  : (char)host_rng_next(&r);
        }
        term_write(&term, bytes, sizeof(bytes));
        assert_sound(term_check(&term));
    }
}

static void test_check_sees_damage(void **state)
{
    (void)state;
    start(5, 3);
    term.col = 5;
    assert_non_null(term_check(&term));
    start(5, 3);
    term.top = 3;
    assert_non_null(term_check(&term));
    start(5, 3);
    term.wrap_pending = true;
    assert_non_null(term_check(&term));
    start(5, 3);
    cells[7].bg = 16;
    assert_string_equal(term_check(&term), "T2: a colour that there is not");
    start(5, 3);
    cells[5].glyph = 'x';
    assert_string_equal(term_check(&term), "T3: the pad cell was written");
}

static void test_stops(void **state)
{
    unsigned from, to;

    (void)state;
    start(5, 3);
    assert_panics(term_row(&term, 3), "row < t->rows");
    assert_panics(term_dirty(&term, 3, &from, &to), "row < t->rows");
    assert_panics(term_init(&term, cells, 0, 3, glyph_of, NULL), "cols >= 1");
    assert_panics(term_init(&term, cells, 5, 129, glyph_of, NULL), "rows <= TERM_MAX_ROWS");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_wrap),
        cmocka_unit_test(test_smallest),
        cmocka_unit_test(test_cursor),
        cmocka_unit_test(test_erase),
        cmocka_unit_test(test_colours),
        cmocka_unit_test(test_utf8),
        cmocka_unit_test(test_odd_sequences),
        cmocka_unit_test(test_random),
        cmocka_unit_test(test_garbage),
        cmocka_unit_test(test_check_sees_damage),
        cmocka_unit_test(test_stops),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
