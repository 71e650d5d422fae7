/*
 * The last map and the exit (efi/exit.c, efi/map.c) against firmware that misbehaves.
 */
#include "host_port.h"

#include "exit.h"
#include "map.h"
#include "stub_fw.h"

#define ROOM 8192u

/* A buffer of ROOM bytes and its guard page, from the fake firmware. */
static struct map_buffer buffer_make(void)
{
    struct map_buffer m = { .room = ROOM };
    uint64_t pa = 0;

    assert_int_equal(stub_fw_table.alloc_pages((ROOM + 4096) / 4096, UINT64_MAX, &pa), 0);
    m.bytes = (void *)(uintptr_t)pa;
    return m;
}

static enum exit_result leave(struct map_buffer *m, struct exit_report *r)
{
    enum exit_result got;

    *m = buffer_make();
    *r = (struct exit_report){ 0 };
    got = exit_leave(&stub_fw_table, m, r);
    assert_null(stub_fw.violation);
    assert_string_equal(stub_fw.said, "");
    assert_int_equal(stub_fw.nallocs, 1);
    return got;
}

static int setup(void **state)
{
    (void)state;
    stub_fw_reset();
    return 0;
}

static void test_first_time(void **state)
{
    struct map_buffer m;
    struct exit_report r;
    struct stub_desc now[STUB_MAX_DESCS];
    uint32_t n;

    (void)state;
    assert_int_equal(leave(&m, &r), EXIT_DONE);
    assert_int_equal(r.tries, 1);
    assert_int_equal(r.grew, 0);
    assert_true(stub_fw.exited);
    n = stub_fw_descs(now, STUB_MAX_DESCS);
    assert_int_equal(m.nbytes, n * 48u);
    assert_int_equal(m.stride, 48);
    assert_int_equal(m.version, 1);
    for (uint32_t i = 0; i < n; i++) { /* verbatim, padding too */
        assert_memory_equal((char *)m.bytes + i * 48u, &now[i], 40);
        assert_int_equal(((unsigned char *)m.bytes)[i * 48u + 47], 0xee);
    }
}

static void test_stale_key(void **state)
{
    static const uint32_t times[] = { 1, 2, 7, 15 };
    struct map_buffer m;
    struct exit_report r;

    (void)state;
    for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
        stub_fw_reset();
        stub_fw.stale = times[i];
        stub_fw.grow_after_exit = 1; /* the new key's map is the one handed over */
        assert_int_equal(leave(&m, &r), EXIT_DONE);
        assert_int_equal(r.tries, times[i] + 1);
        assert_int_equal(stub_fw.nmaps, times[i] + 1);
        assert_int_equal(m.nbytes % 48, 0);
        assert_true(m.nbytes / 48 > times[i]);
    }
}

static void test_stale_for_ever(void **state)
{
    static const uint32_t times[] = { 16, STUB_NEVER };
    struct map_buffer m;
    struct exit_report r;

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        stub_fw_reset();
        stub_fw.stale = times[i];
        assert_int_equal(leave(&m, &r), EXIT_STUCK);
        assert_int_equal(r.tries, 16);
        assert_int_equal(stub_fw.nexits, 16);
        assert_true(r.status == FW_INVALID_PARAMETER);
        assert_non_null(r.why);
    }
    exit_give_up(&stub_fw_table, &r);
    assert_int_equal(stub_fw.nresets, 1);
    assert_non_null(strstr(stub_fw.said, "ExitBootServices"));
    assert_non_null(strstr(stub_fw.said, "Invalid Parameter after 16 calls"));
    assert_null(stub_fw.violation); /* no boot service on the way */
}

static void test_refused(void **state)
{
    struct map_buffer m;
    struct exit_report r;

    (void)state;
    stub_fw.stale = 2;
    stub_fw.exit_error = FW_DEVICE_ERROR;
    assert_int_equal(leave(&m, &r), EXIT_STUCK);
    assert_int_equal(r.tries, 3);
    assert_true(r.status == FW_DEVICE_ERROR);
}

static void test_map_grows(void **state)
{
    struct map_buffer m;
    struct exit_report r;

    (void)state;
    stub_fw.grow = 9; /* with each call, but it still fits */
    stub_fw.stale = 10;
    assert_int_equal(leave(&m, &r), EXIT_DONE);
    assert_int_equal(r.tries, 11);

    /* Too large before the first try: nothing is lost, and the size needed is known. */
    stub_fw_reset();
    stub_fw.grow = 171;
    assert_int_equal(leave(&m, &r), EXIT_GREW);
    assert_int_equal(r.tries, 0);
    assert_int_equal(r.grew, 1);
    assert_true(m.nbytes > ROOM);
    assert_int_equal(stub_fw.nexits, 0);

    /* A size that no map has. */
    stub_fw_reset();
    stub_fw.stride = UINT64_C(0x1000001);
    assert_int_equal(leave(&m, &r), EXIT_STAY);
    assert_string_equal(r.why, "firmware asks for an absurd size");

    /* Too large after it: no way back, and an end. */
    stub_fw_reset();
    stub_fw.stale = STUB_NEVER;
    stub_fw.grow_after_exit = 60;
    assert_int_equal(leave(&m, &r), EXIT_STUCK);
    assert_int_equal(r.tries, 3);
    assert_int_equal(r.grew, 13);
    assert_int_equal(stub_fw.nmaps, 16);
    assert_true(r.status == FW_BUFFER_TOO_SMALL);
}

static void test_descriptor_size(void **state)
{
    static const struct {
        uint64_t stride;
        bool good;
    } sizes[] = { { 40, true }, { 48, true },  { 56, true },  { 128, true }, { 32, false },
                  { 8, false }, { 39, false }, { 44, false }, { 41, false } };
    struct map_buffer m;
    struct exit_report r;

    (void)state;
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        stub_fw_reset();
        stub_fw.stride = sizes[i].stride;
        assert_int_equal(leave(&m, &r), sizes[i].good ? EXIT_DONE : EXIT_STAY);
        assert_int_equal(stub_fw.nexits, sizes[i].good);
        if (sizes[i].good) {
            assert_int_equal(m.stride, sizes[i].stride);
        }
    }
    /* Never filled in: what was preset holds. */
    stub_fw_reset();
    stub_fw.leave_stride = true;
    stub_fw.stride = 40;
    assert_int_equal(leave(&m, &r), EXIT_DONE);
    assert_int_equal(m.stride, 40);
    assert_int_equal(m.version, 1);
}

static void test_size_lies(void **state)
{
    static const uint64_t lies[] = { ROOM + 1, UINT64_MAX, 39, 1 };
    struct map_buffer m;
    struct exit_report r;

    (void)state;
    for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
        stub_fw_reset();
        stub_fw.lie_nbytes = lies[i];
        assert_int_equal(leave(&m, &r), EXIT_STAY);
        assert_int_equal(stub_fw.nexits, 0);
        assert_non_null(r.why);
    }
}

static void test_overrun(void **state)
{
    static const struct {
        uint64_t nbytes;
        bool good;
    } over[] = { { 1, true },    { 16, true },    { 48, true },
                 { 4032, true }, { 4033, false }, { 4096, false } };
    struct map_buffer m;
    struct exit_report r;

    (void)state;
    for (size_t i = 0; i < sizeof(over) / sizeof(over[0]); i++) {
        stub_fw_reset();
        stub_fw.overrun = over[i].nbytes;
        assert_int_equal(leave(&m, &r), over[i].good ? EXIT_DONE : EXIT_STAY);
        assert_int_equal(m.overrun, over[i].nbytes);
    }
    /* The first time when there is no way back any more. */
    stub_fw_reset();
    stub_fw.stale = 1;
    stub_fw.overrun = 4096;
    stub_fw.overrun_at = 1;
    assert_int_equal(leave(&m, &r), EXIT_STUCK);
    assert_int_equal(r.tries, 1);
}

static void test_map_fails(void **state)
{
    struct map_buffer m;
    struct exit_report r;

    (void)state;
    stub_fw.map_error = FW_DEVICE_ERROR;
    stub_fw.map_error_at = 0;
    assert_int_equal(leave(&m, &r), EXIT_STAY);
    assert_true(r.status == FW_DEVICE_ERROR);

    stub_fw_reset();
    stub_fw.stale = 5;
    stub_fw.map_error = FW_DEVICE_ERROR;
    stub_fw.map_error_at = 3;
    assert_int_equal(leave(&m, &r), EXIT_STUCK);
    assert_int_equal(r.tries, 3);
    assert_true(r.status == FW_DEVICE_ERROR);
}

/* ---- the look at the map beforehand ------------------------------------------------------------
 */

static fw_status_t look(struct map_survey *s, const char **why)
{
    struct pool pool = pool_make(&stub_fw_table);
    fw_status_t status = map_look(&stub_fw_table, &pool, s, why);

    assert_null(stub_fw.violation);
    if (status == FW_SUCCESS) {
        assert_true(s->copy_bytes >= s->nbytes + MAP_GUARD);
        assert_int_equal(s->version, 1);
        assert_false(s->key_changed);
        assert_int_equal(pool.count, 1);
        pool_free(&pool, (uintptr_t)s->copy);
    }
    assert_int_equal(pool.count, 0);
    assert_int_equal(stub_fw.live_pages, 0);
    return status;
}

static void test_look(void **state)
{
    static const struct stub_desc extra[] = {
        { 7, 0, 0x100000000, 0, 0x100, 0xf },                 /* 1 MiB, free */
        { 7, 0, 0x200000000, 0, 0x100, 0xf | 1u << 18 },      /* set aside for a purpose */
        { 7, 0, 0xfffffffffffff000, 0, 2, 0xf },              /* wraps */
        { 7, 0, 0x1000, 0, UINT64_MAX, 0xf },                 /* wraps in bytes */
        { 11, 0, 0x7000000000, 0, 0x1000, 1 },                /* MMIO is not RAM */
        { 0, 0, 0x8000000000, 0, 0x1000, 0 },                 /* nor is reserved */
        { 0x80000001, 0, 0x9000000000, 0, 1, 0 },             /* nor what nobody knows */
        { 6, 0, 0x300000800, 0, 1, 0xf | UINT64_C(1) << 63 }, /* runtime, not page aligned */
        { 15, 0, 0x400000000, 0, 0x10, 0xf },                 /* unaccepted: RAM */
    };
    struct map_survey s;
    const char *why;

    (void)state;
    stub_fw.extra = extra;
    stub_fw.nextra = sizeof(extra) / sizeof(extra[0]);
    assert_int_equal(look(&s, &why), FW_SUCCESS);
    /* As it was while the copy of the map itself took three pages. */
    assert_int_equal(s.free_bytes, 0x4000000 + 0x100000 - 3 * 4096);
    assert_int_equal(s.ram_end, 0x400010000);
    assert_true(s.has_odd_runtime);
    assert_int_equal(s.odd_runtime, 0x300000800);
    assert_int_equal(s.stride, 48);
    assert_int_equal(s.grew, 0);
    assert_int_equal(s.overrun, 0);
}

static void test_look_fails(void **state)
{
    struct map_survey s;
    const char *why;

    (void)state;
    stub_fw.map_error = FW_UNSUPPORTED;
    stub_fw.map_error_at = 0; /* the size query */
    assert_true(look(&s, &why) == FW_UNSUPPORTED);

    stub_fw_reset();
    stub_fw.map_error_at = 0;
    stub_fw.map_error = FW_SUCCESS; /* "here is your map of no bytes" */
    assert_true(look(&s, &why) == FW_DEVICE_ERROR);

    stub_fw_reset();
    stub_fw.map_error = FW_DEVICE_ERROR;
    stub_fw.map_error_at = 1; /* the read */
    assert_true(look(&s, &why) == FW_DEVICE_ERROR);
    assert_string_equal(why, "cannot be read");

    stub_fw_reset();
    stub_fw.fail_alloc = 0;
    assert_true(look(&s, &why) == FW_OUT_OF_RESOURCES);
    assert_string_equal(why, "no memory for a copy of it");

    stub_fw_reset();
    stub_fw.stride = UINT64_C(0x1000001); /* asks for more than 16 MiB */
    assert_true(look(&s, &why) == FW_DEVICE_ERROR);

    stub_fw_reset();
    stub_fw.overrun = 4096;
    assert_true(look(&s, &why) == FW_DEVICE_ERROR);
    assert_string_equal(why, "firmware wrote far past its buffer");
}

static void test_look_grows(void **state)
{
    struct map_survey s;
    struct pool pool;
    const char *why;

    (void)state;
    stub_fw.grow = 150; /* 7200 bytes more with each call: past the first slack and the second */
    assert_int_equal(look(&s, &why), FW_SUCCESS);
    assert_int_equal(s.grew, 2);

    stub_fw_reset();
    stub_fw.grow = 500; /* 24,000 bytes, twice: only a slack of 64 KiB is enough */
    assert_int_equal(look(&s, &why), FW_SUCCESS);
    assert_int_equal(s.grew, 4);

    stub_fw_reset();
    stub_fw.key_restless = true; /* the map is good, and the restlessness is told */
    pool = pool_make(&stub_fw_table);
    assert_int_equal(map_look(&stub_fw_table, &pool, &s, &why), FW_SUCCESS);
    assert_true(s.key_changed);
    pool_free_all(&pool);

    /* A firmware that always wants one descriptor more than it is given. */
    stub_fw_reset();
    stub_fw.map_error_at = 1;
    stub_fw.map_error = FW_BUFFER_TOO_SMALL;
    assert_true(look(&s, &why) == FW_BUFFER_TOO_SMALL);
    assert_int_equal(stub_fw.nmaps, 9);
}

static void test_status_names(void **state)
{
    (void)state;
    assert_string_equal(fw_status_name(0), "Success");
    assert_string_equal(fw_status_name(UINT64_C(0x8000000000000002)), "Invalid Parameter");
    assert_string_equal(fw_status_name(UINT64_C(0x8000000000000005)), "Buffer Too Small");
    assert_string_equal(fw_status_name(UINT64_C(0x8000000000000009)), "Out of Resources");
    assert_string_equal(fw_status_name(UINT64_C(0x800000000000000e)), "Not Found");
    assert_string_equal(fw_status_name(UINT64_C(0x800000000000000f)), "Access Denied");
    assert_string_equal(fw_status_name(UINT64_C(0x800000000000001a)), "Security Violation");
    assert_string_equal(fw_status_name(UINT64_C(0x8000000000000021)), "Compromised Data");
    assert_string_equal(fw_status_name(UINT64_C(0x8000000000000023)), "HTTP Error");
    assert_string_equal(fw_status_name(UINT64_C(0x8000000000000024)), "an unknown error");
    assert_string_equal(fw_status_name(UINT64_C(0xc000000000000001)), "an unknown error");
    assert_string_equal(fw_status_name(4), "a warning");
}

static void test_say(void **state)
{
    char longer[400];

    (void)state;
    fw_say(&stub_fw_table, "%s %llu %llx %% %llu", "text", 18446744073709551615ull, 0xbeefull,
           0ull);
    assert_string_equal(stub_fw.said, "text 18446744073709551615 beef % 0");
    stub_fw_reset();
    memset(longer, 'x', sizeof(longer) - 1);
    longer[sizeof(longer) - 1] = '\0';
    fw_say(&stub_fw_table, "%s", longer);
    assert_int_equal(strlen(stub_fw.said), 300);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_first_time, setup),
        cmocka_unit_test_setup(test_stale_key, setup),
        cmocka_unit_test_setup(test_stale_for_ever, setup),
        cmocka_unit_test_setup(test_refused, setup),
        cmocka_unit_test_setup(test_map_grows, setup),
        cmocka_unit_test_setup(test_descriptor_size, setup),
        cmocka_unit_test_setup(test_size_lies, setup),
        cmocka_unit_test_setup(test_overrun, setup),
        cmocka_unit_test_setup(test_map_fails, setup),
        cmocka_unit_test_setup(test_look, setup),
        cmocka_unit_test_setup(test_look_fails, setup),
        cmocka_unit_test_setup(test_look_grows, setup),
        cmocka_unit_test_setup(test_status_names, setup),
        cmocka_unit_test_setup(test_say, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
