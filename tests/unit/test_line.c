/*
 * test_line.c - kernel/lib/line, on a terminal of kernel/lib/term: what a person would see is what
 * is compared.
 */
#include "host_port.h"

#include "lib/line.h"
#include "lib/term.h"

#define PROMPT  "plat> "
#define COLUMNS 80
#define ROWS    24

static _Alignas(8) struct term_cell cells[TERM_CELLS(COLUMNS, ROWS)];
static struct term term;
static struct line line;
static enum line_event last;
static size_t bells;

static uint16_t glyph_of(void *ctx, uint32_t c)
{
    (void)ctx;
    return (uint16_t)c;
}

static void show(void *ctx, const char *s, size_t n)
{
    assert_ptr_equal(ctx, &term);
    for (size_t i = 0; i < n; i++) {
        bells += s[i] == '\a';
    }
    term_write(&term, s, n);
}

static const char *const words[] = { "alloc", "audit", "frames", "free", "memmap",
                                     "zone",  "zip",   "zoned",  NULL };

static const char *candidates(void *ctx, const char *text, size_t start, size_t n, size_t index)
{
    (void)ctx;
    assert_int_equal(strlen(text), n);
    assert_true(start <= n && (start == 0 || text[start - 1] == ' '));
    for (size_t i = 0; words[i] != NULL; i++) {
        if (strncmp(words[i], text + start, n - start) == 0 && index-- == 0) {
            return words[i];
        }
    }
    return NULL;
}

static void begin(const char *prompt)
{
    term_init(&term, cells, COLUMNS, ROWS, glyph_of, NULL);
    line_init(&line, prompt, show, candidates, &term);
    line_start(&line);
    assert_sound(line_check(&line));
    bells = 0;
}

static void type(const char *keys)
{
    for (; *keys != '\0'; keys++) {
        last = line_feed(&line, *keys);
        assert_sound(line_check(&line));
    }
}

/* Enter a whole line, and begin the next. */
static void enter(const char *keys)
{
    type(keys);
    type("\r");
    assert_int_equal(last, LINE_DONE);
    line_start(&line);
}

static void read_row(unsigned row, char seen[COLUMNS + 1])
{
    size_t n = 0;

    for (unsigned i = 0; i < COLUMNS; i++) {
        seen[i] = (char)term_row(&term, row)[i].glyph;
        n = seen[i] != ' ' ? i + 1 : n;
    }
    seen[n] = '\0';
}

static void assert_row(unsigned row, const char *text)
{
    char seen[COLUMNS + 1];

    read_row(row, seen);
    assert_string_equal(seen, text);
}

/* The line is `text`, the cursor is behind its first `cursor` bytes. */
static void assert_line(const char *text, size_t cursor)
{
    assert_string_equal(line_text(&line), text);
    assert_int_equal(line.cursor, cursor);
}

static void test_typing(void **state)
{
    (void)state;
    begin(PROMPT);
    type("walk 0x1000");
    assert_int_equal(last, LINE_MORE);
    assert_row(0, "plat> walk 0x1000");
    assert_int_equal(term.col, 17);
    type("\r");
    assert_int_equal(last, LINE_DONE);
    assert_line("walk 0x1000", 11);
    line_start(&line);
    assert_row(1, "plat>");
    type("\n"); /* the rest of a \r\n is no second line */
    assert_int_equal(last, LINE_MORE);
    type("\n");
    assert_int_equal(last, LINE_DONE);
    assert_line("", 0);
}

static void test_editing(void **state)
{
    (void)state;
    begin(PROMPT);
    type("hello world");
    type("\x01>\x05<"); /* ^A ^E */
    assert_line(">hello world<", 13);
    assert_row(0, "plat> >hello world<");
    type("\x02\x02\x08\x7f"); /* ^B ^B, two ways of backspace */
    assert_line(">hello wod<", 9);
    type("\x06\x04"); /* ^F ^D */
    assert_line(">hello wod", 10);
    type("\x04"); /* nothing there */
    assert_line(">hello wod", 10);
    type(" two  \x17"); /* ^W: spaces, then the word */
    assert_line(">hello wod ", 11);
    type("\x02\x02\x02\x02\x0b"); /* ^K */
    assert_line(">hello ", 7);
    type("\x02\x02\x15"); /* ^U */
    assert_line("o ", 0);
    assert_row(0, "plat> o");
    assert_int_equal(term.col, 6);
    type("\x08\x02\x17\x15"); /* nothing before the start */
    assert_line("o ", 0);
}

static void test_escape_keys(void **state)
{
    (void)state;
    begin(PROMPT);
    type("abc\033[D\033[DX\033[CY\033OHZ\033OF!");
    assert_line("ZaXbYc!", 7);
    type("\033[1~1\033[4~4\033[7~7\033[8~8\033[H\033[3~\033[F\033[D\033[D\033[3~");
    assert_line("1ZaXbYc!8", 8);
    type("\033[1;5D_"); /* Ctrl-Left: parameters are passed over */
    assert_line("1ZaXbYc_!8", 8);
}

static void test_garbage_keys(void **state)
{
    (void)state;
    begin(PROMPT);
    type("a\xc3\xa9\x80\xff"
         "b\x13\x14\x1f"
         "c");
    assert_line("abc", 3);
    type("\033[99999999999~\033[Z\033Oq\033[?25l\033xd"); /* unknown sequences */
    assert_line("abcd", 4);
    type("\033[1\x01>"); /* broken by a key, which counts */
    assert_line(">abcd", 1);
    type("\033\033[C\033[\xe9x"); /* ESC begins anew; a strange byte ends one */
    assert_line(">axbcd", 3);
}

static void test_cancel_and_clear(void **state)
{
    (void)state;
    begin(PROMPT);
    type("oops\x03");
    assert_int_equal(last, LINE_CANCEL);
    line_start(&line);
    assert_line("", 0);
    assert_row(0, "plat> oops^C");
    assert_row(1, "plat>");
    type("keep\x02\x0c"); /* ^L */
    assert_row(0, "plat> keep");
    assert_row(1, "");
    assert_int_equal(term.row, 0);
    assert_int_equal(term.col, 9);
    type("\x04"); /* end of input: nothing, not even on an empty line */
    type("\x15\x04");
    assert_int_equal(last, LINE_MORE);
}

static void test_history(void **state)
{
    char text[16];

    (void)state;
    begin(PROMPT);
    type("\033[A"); /* nothing there */
    assert_int_equal(bells, 1);
    enter("one");
    enter("two");
    enter("two"); /* not twice in a row */
    enter("");    /* and no empty ones */
    enter("three");
    type("ty\x02\033[A");
    assert_line("three", 5);
    type("\x10\x10"); /* ^P */
    assert_line("one", 3);
    type("\033[A");
    assert_int_equal(bells, 2);
    type("\033[B\x0e\x0e"); /* down, ^N */
    assert_line("ty", 2);
    type("\x0e");
    assert_int_equal(bells, 3);
    type("\x15y\033[A\033[B"); /* shorter than what was kept the last time */
    assert_line("y", 1);
    type("\033[A\033[A!");
    assert_line("two!", 4); /* an old line, edited */
    enter("");
    type("\033[A");
    assert_line("two!", 4);
    type("\033[A\033[A\033[A\r"); /* and the old one is as it was */
    line_start(&line);
    assert_string_equal(line.history[1], "two");

    for (unsigned i = 0; i < 40; i++) {
        sprintf(text, "line %u", i);
        enter(text);
    }
    for (unsigned i = 0; i < 50; i++) {
        type("\x10");
    }
    assert_line("line 8", 6); /* the oldest of 32 */
}

static void test_completion(void **state)
{
    (void)state;
    begin(PROMPT);
    type("m\t");
    assert_line("memmap ", 7);
    type("fr\t");
    assert_line("memmap fr", 9);
    assert_row(1, "frames  free");
    assert_row(2, "plat> memmap fr");
    assert_int_equal(term.row, 2);
    assert_int_equal(term.col, 15);
    type("e\t");
    assert_line("memmap free ", 12);
    type("x\t");
    assert_line("memmap free x", 13);
    assert_int_equal(bells, 1);
    type("\x15"
         "au x\x02\x02\t"); /* in the middle */
    assert_line("audit  x", 6);
    type("\x15\x0b"
         "f\t"); /* goes as far as all agree */
    assert_line("fr", 2);
    type("\x15\x0b\t"); /* nothing yet: everything */
    assert_row(3, "alloc   audit   frames  free    memmap  zone    zip     zoned");
    type("z\t"); /* the last has more in common with the first than the second has */
    assert_line("z", 1);
    line_init(&line, PROMPT, show, NULL, &term);
    line_start(&line);
    bells = 0;
    type("m\t");
    assert_int_equal(bells, 1);
}

static void test_full(void **state)
{
    char expected[LINE_MAX];

    (void)state;
    begin(PROMPT);
    for (unsigned i = 0; i < 300; i++) {
        type("x");
    }
    memset(expected, 'x', LINE_MAX - 1);
    expected[LINE_MAX - 1] = '\0';
    assert_line(expected, LINE_MAX - 1);
    assert_int_equal(bells, 300 - 255);
}

static void test_prompt(void **state)
{
    (void)state;
    begin("\033[1;32mplat\033[0m> ");
    type("ab\x02");
    assert_row(0, "plat> ab");
    assert_int_equal(term.col, 7);
    begin("");
    type("ab\x01");
    assert_int_equal(term.col, 0);
    assert_row(0, "ab");
    assert_panics(line_init(&line, "0123456789012345678901234567890123456789>", show, NULL, NULL),
                  "prompt_columns");
}

/* ---- random keys against an editor that does everything the simple way ----------------------- */

struct simple {
    char text[LINE_MAX];
    size_t len, cursor;
};

static void simple_delete(struct simple *s, size_t from, size_t to)
{
    memmove(s->text + from, s->text + to, s->len + 1 - to);
    s->len -= to - from;
    s->cursor = from;
}

static void random_key(struct host_rng *r, struct simple *s)
{
    size_t at = s->cursor;

    switch (host_rng_below(r, 24)) {
    case 0:
        type("\x01");
        s->cursor = 0;
        break;
    case 1:
        type("\033[F");
        s->cursor = s->len;
        break;
    case 2:
    case 3:
        type("\033[D");
        s->cursor -= at > 0;
        break;
    case 4:
    case 5:
        type("\x06");
        s->cursor += at < s->len;
        break;
    case 6:
        type("\x08");
        simple_delete(s, at - (at > 0), at);
        break;
    case 7:
        type("\033[3~");
        simple_delete(s, at, at + (at < s->len));
        break;
    case 8:
        if (host_rng_below(r, 20) == 0) {
            type("\x0b");
            simple_delete(s, at, s->len);
        }
        break;
    case 9:
        if (host_rng_below(r, 20) == 0) {
            type("\x15");
            simple_delete(s, 0, at);
        }
        break;
    case 10:
        type("\x17");
        while (at > 0 && s->text[at - 1] == ' ') {
            at--;
        }
        while (at > 0 && s->text[at - 1] != ' ') {
            at--;
        }
        simple_delete(s, at, s->cursor);
        break;
    default: {
        char key[2] = { (char)(' ' + host_rng_below(r, 95)), '\0' };

        type(key);
        if (s->len < LINE_MAX - 1) {
            memmove(s->text + at + 1, s->text + at, s->len + 1 - at);
            s->text[at] = key[0];
            s->len++;
            s->cursor++;
        }
        break;
    }
    }
}

static void test_random(void **state)
{
    struct host_rng r = host_rng_make("line");
    struct simple s = { .len = 0 };

    (void)state;
    begin(PROMPT);
    for (unsigned step = 0; step < 100000; step++) {
        char seen[COLUMNS + 1], expected[COLUMNS + 1];

        random_key(&r, &s);
        assert_line(s.text, s.cursor);
        /* On the screen: the prompt, a piece of the line with the cursor in it, nothing else. */
        snprintf(expected, sizeof(expected), PROMPT "%.73s", s.text + line.left);
        for (size_t n = strlen(expected); n > 0 && expected[n - 1] == ' '; n--) {
            expected[n - 1] = '\0';
        }
        read_row(0, seen);
        assert_string_equal(seen, expected);
        assert_int_equal(term.row, 0);
        assert_int_equal(term.col, 6 + s.cursor - line.left);
    }
}

static void test_any_bytes(void **state)
{
    struct host_rng r = host_rng_make("line bytes");

    (void)state;
    begin(PROMPT);
    for (unsigned step = 0; step < 200000; step++) {
        char key[2] = { (char)(1 + host_rng_below(&r, 255)), '\0' };

        if (host_rng_below(&r, 8) == 0) {
            type(host_rng_below(&r, 2) != 0 ? "\033[" : "\033O");
        }
        type(key);
        if (last != LINE_MORE) {
            line_start(&line);
        }
    }
}

static void test_check_sees_damage(void **state)
{
    (void)state;
    begin(PROMPT);
    type("text");
    line.cursor = 5;
    assert_string_equal(line_check(&line), "L1: the text");
    line.cursor = 4;
    line.text[1] = '\n';
    assert_string_equal(line_check(&line), "L1: the text");
    line.text[1] = 'e';
    line.left = 5;
    assert_string_equal(line_check(&line), "L2: the cursor is out of sight");
    line.left = 0;
    line.back = 1;
    assert_string_equal(line_check(&line), "L3: history counts");
    line.back = 0;
    line.nhistory = 1;
    assert_string_equal(line_check(&line), "L3: a history entry is empty or comes twice");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_typing),           cmocka_unit_test(test_editing),
        cmocka_unit_test(test_escape_keys),      cmocka_unit_test(test_garbage_keys),
        cmocka_unit_test(test_cancel_and_clear), cmocka_unit_test(test_history),
        cmocka_unit_test(test_completion),       cmocka_unit_test(test_full),
        cmocka_unit_test(test_prompt),           cmocka_unit_test(test_random),
        cmocka_unit_test(test_any_bytes),        cmocka_unit_test(test_check_sees_damage),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
