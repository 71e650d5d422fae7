/*
 * test_heaptrace.c - kernel/lib/heaptrace: what is recorded, and its text. That the text becomes a
 * trace again is tested by tests/tools/test_bench_heap.py, with lines from here.
 */
#include "host_port.h"

#include <stdlib.h>

#include "lib/heaptrace.h"

static char text[1 << 16];
static unsigned nlines, lines_allowed;

static bool keep_line(void *ctx, const char *line)
{
    assert_ptr_equal(ctx, text);
    assert_in_range(strlen(line), 1, 79);
    if (nlines == lines_allowed) {
        return false;
    }
    nlines++;
    strcat(strcat(text, line), "\n");
    return true;
}

static bool make_text(const struct heaptrace *t)
{
    text[0] = '\0';
    nlines = 0;
    return heaptrace_text(t, keep_line, text);
}

static const void *at(uint64_t va)
{
    return (const void *)va;
}

static void test_text(void **state)
{
    struct heaptrace_event events[6];
    struct heaptrace t;

    (void)state;
    lines_allowed = 100;
    heaptrace_init(&t, events, MM_COUNTOF(events));
    assert_true(make_text(&t));
    assert_string_equal(text, "heap trace 1: 0 events, 0 lost\nheap trace ends: 00000000\n");

    heaptrace_add(&t, NULL, at(0xffff800000100010), 0x40, 0);
    heaptrace_add(&t, NULL, at(0xffff800000100000), 0, 0x1000);
    heaptrace_add(&t, at(0xffff800000100010), at(0xffff800000100400), 0x12345, 0);
    heaptrace_add(&t, at(0xffff800000100000), NULL, 0, 0);
    assert_int_equal(heaptrace_count(&t), 4);
    assert_int_equal(heaptrace_lost(&t), 0);
    assert_true(make_text(&t));
    assert_string_equal(text, "heap trace 1: 4 events, 0 lost\n"
                              "0 +1:40 +0:0@c 1>40:12345 -0\n"
                              "heap trace ends: 2d86b1a4\n");
}

/* The first ones stay. */
static void test_lost(void **state)
{
    struct heaptrace_event events[2];
    struct heaptrace t;

    (void)state;
    lines_allowed = 100;
    heaptrace_init(&t, events, MM_COUNTOF(events));
    for (uint64_t i = 1; i <= 5; i++) {
        heaptrace_add(&t, NULL, at(i << 12), i, 0);
    }
    assert_int_equal(heaptrace_count(&t), 2);
    assert_int_equal(heaptrace_lost(&t), 3);
    assert_true(make_text(&t));
    assert_non_null(strstr(text, "heap trace 1: 2 events, 3 lost\n0 +0:1 +100:2\n"));
}

/* Long lines are broken, and each says where it is. */
static void test_long(void **state)
{
    enum { N = 1000 };
    struct heaptrace_event *events = calloc(N, sizeof(*events));
    struct heaptrace t;
    unsigned n = 0;

    (void)state;
    assert_non_null(events);
    heaptrace_init(&t, events, N);
    for (uint64_t i = 0; i < N; i++) {
        heaptrace_add(&t, i % 3 == 0 ? NULL : at(16 + i * 160), i % 3 == 1 ? NULL : at(16 + i * 96),
                      SIZE_MAX >> 8, i % 5 == 0 ? UINT64_C(1) << 63 : 0);
    }
    lines_allowed = UINT32_MAX;
    assert_true(make_text(&t));
    strtok(text, "\n");
    for (char *line = strtok(NULL, "\n"); strncmp(line, "heap", 4) != 0;
         line = strtok(NULL, "\n")) {
        assert_int_equal(strtoul(line, NULL, 16), n);
        for (char *p = line; (p = strchr(p, ' ')) != NULL; p++) {
            n++;
        }
    }
    assert_int_equal(n, N);
    for (lines_allowed = 0; lines_allowed < 50; lines_allowed += 7) {
        assert_false(make_text(&t));
        assert_int_equal(nlines, lines_allowed);
    }
    free(events);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_lost),
        cmocka_unit_test(test_long),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
