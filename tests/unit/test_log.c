/*
 * test_log.c - kernel/lib/log, console and opts: what sinks receive, and the ring as it overflows.
 */
#include "host_port.h"

#include <stdlib.h>

#include "lib/console.h"
#include "lib/log.h"
#include "lib/opts.h"

/* Two sinks that remember. */
static char seen[2][1 << 20];
static size_t nseen[2], writes[2];

static void sink_write(unsigned i, const char *s, size_t n)
{
    assert_true(nseen[i] + n < sizeof(seen[i]));
    memcpy(seen[i] + nseen[i], s, n);
    nseen[i] += n;
    seen[i][nseen[i]] = '\0';
    writes[i]++;
}

static void write0(const char *s, size_t n)
{
    sink_write(0, s, n);
}

static void write1(const char *s, size_t n)
{
    sink_write(1, s, n);
}

static const struct console_sink sink0 = { .name = "zero", .write = write0 };
static const struct console_sink sink1 = { .name = "one", .write = write1, .is_screen = true };

static void forget(void)
{
    nseen[0] = nseen[1] = writes[0] = writes[1] = 0;
    seen[0][0] = seen[1][0] = '\0';
}

static void assert_seen(unsigned i, const char *text)
{
    assert_string_equal(seen[i], text);
    forget();
}

/* Records are found by this. */
struct collected {
    size_t count, limit;
    char first[LOG_TEXT_MAX + 1], last[LOG_TEXT_MAX + 1];
    char stamp[LOG_STAMP_MAX];
    uint64_t tsc;
    enum log_level level;
    unsigned log_more; /* records for each that is seen */
};

static bool collect(void *ctx, const struct log_view *v)
{
    struct collected *c = ctx;

    assert_int_equal(strlen(v->text), v->nbytes);
    assert_true(c->count == 0 || v->tsc >= c->tsc);
    if (c->count++ == 0) {
        strcpy(c->first, v->text);
    }
    strcpy(c->last, v->text);
    strcpy(c->stamp, v->stamp);
    c->tsc = v->tsc;
    c->level = v->level;
    for (unsigned i = 0; i < c->log_more; i++) {
        log_debug("more, from inside %zu", c->count);
    }
    return c->count != c->limit;
}

static void test_console(void **state)
{
    (void)state;
    kputs("nobody listens\n");
    assert_false(console_send("nor here\n", 9));
    console_add(&sink0);
    assert_seen(0, "");
    kprintf("%d lines\nat %s\n", 2, "once");
    assert_int_equal(writes[0], 1);
    assert_seen(0, "2 lines\nat once\n");
    console_add(&sink1);
    console_write("abc", 2);
    assert_string_equal(seen[1], "ab");
    assert_seen(0, "ab");
    assert_true(console_send("cde", 2)); /* not to the screen */
    assert_string_equal(seen[1], "");
    assert_seen(0, "cd");
    kprintf("%*s", 5000, "x"); /* cut */
    assert_int_equal(nseen[0], CONSOLE_PRINT_MAX);
    forget();
}

static void test_lines(void **state)
{
    char longest[300];

    (void)state;
    /* no clock yet: ticks */
    log_info("number %d", 1);
    assert_null(strchr(strchr(seen[0], '[') + 1, '.'));
    assert_true(strcspn(seen[0], "]") >= 13); /* twelve columns, more for many ticks */
    assert_string_equal(strchr(seen[0], ']'), "] number 1\n");
    assert_string_equal(seen[0], seen[1]);
    assert_int_equal(writes[0], 1);
    forget();

    log_set_clock(UINT64_MAX - 1, 3000); /* far away: all is at second 0 */
    log_info("a");
    assert_seen(0, "[    0.000000] a\n");
    log_error("b");
    assert_seen(0, "[    0.000000] \033[91merror: b\033[0m\n");
    log_warn("c");
    assert_seen(0, "[    0.000000] \033[93mwarning: c\033[0m\n");
    log_debug("d");
    assert_seen(0, "");
    log_info("two\nlines\033[2J\x7f and \u00e9");
    assert_seen(0, "[    0.000000] two?lines?[2J? and \u00e9\n");
    log_info("%0300d", 1);
    memset(longest, '0', LOG_TEXT_MAX);
    strcpy(longest + LOG_TEXT_MAX - 3, "...\n");
    assert_string_equal(seen[0] + 15, longest);
    forget();
    log_error("%0300d", 1); /* the longest line */
    assert_int_equal(nseen[0], 15 + 5 + 7 + LOG_TEXT_MAX + 4 + 1);
    forget();
    assert_sound(log_check());
    assert_panics(log_set_clock(0, 0), "tsc_per_us > 0");
}

static void test_levels(void **state)
{
    static const char *const names[] = { "error", "warn", "info", "debug" };
    enum log_level level = LOG_DEBUG;

    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        assert_true(log_parse_level(names[i], &level));
        assert_int_equal(level, i);
    }
    assert_false(log_parse_level("loud", &level));
    assert_false(log_parse_level("", &level));
    assert_int_equal(level, LOG_DEBUG);
    log_set_console_level(LOG_ERROR);
    log_warn("hidden");
    assert_seen(0, "");
    log_error("shown");
    assert_true(nseen[0] > 0);
    log_set_console_level(LOG_DEBUG);
    forget();
    log_debug("shown");
    assert_true(nseen[0] > 0);
    log_set_console_level(LOG_INFO);
    forget();
}

/* Early records show the right time once there is a clock. */
static void test_time(void **state)
{
    struct collected c = { .limit = 0 };

    (void)state;
    log_debug("now");
    log_for_last(1, collect, &c);
    log_set_clock(c.tsc - UINT64_C(3000) * 12345678, 3000);
    log_for_last(1, collect, &c);
    assert_string_equal(c.stamp, "   12.345678");
    log_set_clock(0, 1);
    log_for_last(1, collect, &c);
    assert_int_equal(strlen(c.stamp) - (size_t)(strchr(c.stamp, '.') - c.stamp), 7);
    log_set_clock(UINT64_MAX - 1, 1);
}

static void test_walks(void **state)
{
    struct collected c = { .limit = 3 };

    (void)state;
    for (unsigned i = 0; i < 10; i++) {
        log_debug("walk %u", i);
    }
    log_for_last(4, collect, &c);
    assert_string_equal(c.first, "walk 6");
    assert_string_equal(c.last, "walk 8"); /* stopped */
    c = (struct collected){ .log_more = 1 };
    log_for_last(4, collect, &c); /* ends although each record makes another */
    assert_int_equal(c.count, 4);
    assert_string_equal(c.last, "walk 9");
    c = (struct collected){ .limit = 0 };
    log_for_last(0, collect, &c);
    assert_int_equal(c.count, 0);
    log_for_last(1, collect, &c);
    assert_string_equal(c.last, "more, from inside 4");
    assert_int_equal(c.level, LOG_DEBUG);
    assert_sound(log_check());
}

/* Many times around the ring, with records of all lengths. */
static void test_ring(void **state)
{
    struct host_rng r = host_rng_make("log");
    struct collected c = { .limit = 0 };
    unsigned first, last;

    (void)state;
    for (unsigned i = 0; i < 20000; i++) {
        log_debug("%u %*s", i, (int)host_rng_below(&r, LOG_TEXT_MAX - 8), "");
        if (i % 7 == 0) {
            assert_sound(log_check());
        }
        if (i % 1000 == 999) {
            c = (struct collected){ .limit = 0 };
            log_for_each(collect, &c);
            assert_true(c.count > 65536 / (LOG_TEXT_MAX + 32));
            if (i > 2000) { /* the older tests' records are gone: no gap */
                assert_int_equal(sscanf(c.first, "%u", &first), 1);
                assert_int_equal(sscanf(c.last, "%u", &last), 1);
                assert_int_equal(last, i);
                assert_int_equal(last - first + 1, c.count);
            }
        }
    }
    /* A reader that is overtaken goes on with what is left. */
    c = (struct collected){ .log_more = 20 };
    log_for_each(collect, &c);
    assert_in_range(c.count, 10, 200);
    assert_sound(log_check());
}

static void test_replay(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 500; i++) {
        log_debug("hidden %u", i);
        if (i % 5 == 0) {
            log_info("line %u", i);
        }
    }
    char *expected = strdup(seen[0]);

    forget();
    console_replay_log(&sink1);
    assert_string_equal(seen[0], "");
    assert_string_equal(seen[1], expected);
    assert_true(writes[1] < 4); /* in few pieces */
    free(expected);
    forget();
}

static void test_input(void **state)
{
    (void)state;
    assert_int_equal(console_getc(), -1);
    console_input('a');
    console_input('\xff');
    assert_int_equal(console_getc(), 'a');
    assert_int_equal(console_getc(), 0xff);
    assert_int_equal(console_getc(), -1);
    for (unsigned i = 0; i < 300; i++) {
        console_input((char)i);
    }
    for (unsigned i = 0; i < 255; i++) {
        assert_int_equal(console_getc(), i);
    }
    assert_int_equal(console_getc(), -1);
    console_input('z');
    console_wait(); /* returns at once */
    assert_int_equal(console_getc(), 'z');
}

static void test_opts(void **state)
{
    static const char *const known[] = { "log", "run", "quiet", NULL };
    char value[8] = "before";

    (void)state;
    opts_init("log=warn # a comment\nrun=\"memmap; audit\" quiet log=info x=no\0hidden", 70);
    assert_true(opts_get("log", value, sizeof(value)));
    assert_string_equal(value, "info"); /* the last one */
    assert_true(opts_get("run", value, sizeof(value)));
    assert_string_equal(value, "memmap;"); /* cut */
    assert_true(opts_get("quiet", value, sizeof(value)));
    assert_string_equal(value, "");
    strcpy(value, "before");
    assert_false(opts_get("hidden", value, sizeof(value)));
    assert_string_equal(value, "before");
    forget();
    opts_check_known(known);
    assert_seen(
        0, "[    0.000000] \033[93mwarning: option x is unknown and ignored; known are log run "
           "quiet\033[0m\n");

    /* more text than there is room for */
    char *big = test_malloc(5000);

    memset(big, 'a', 5000);
    opts_init(big, 5000);
    test_free(big);
    assert_int_equal(strlen(opts_text()), 4095);
}

static void test_too_many_sinks(void **state)
{
    (void)state;
    console_add(&sink0);
    console_add(&sink1);
    assert_panics(console_add(&sink0), "nsinks < CONSOLE_MAX_SINKS");
}

/* Last: the lock that the panic left taken is ignored from here on. */
static void test_panic_mode(void **state)
{
    (void)state;
    log_panic_mode();
    forget();
    log_debug("last %s", "words");
    assert_seen(0, "[    0.000000] last words\n[    0.000000] last words\n");
    kputs("!");
    assert_string_equal(seen[1], "!!");
    assert_sound(log_check());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_console),    cmocka_unit_test(test_lines),
        cmocka_unit_test(test_levels),     cmocka_unit_test(test_time),
        cmocka_unit_test(test_walks),      cmocka_unit_test(test_ring),
        cmocka_unit_test(test_replay),     cmocka_unit_test(test_input),
        cmocka_unit_test(test_opts),       cmocka_unit_test(test_too_many_sinks),
        cmocka_unit_test(test_panic_mode),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
