/*
 * test_ramtest.c - kernel/lib/ramtest on memory that is simulated, whole and broken.
 *
 * The memory below has a write-back cache that is never emptied but by settle(): a line that is
 * read in the step that wrote it would come from there, and fails the test.
 */
#include "host_port.h"

#include <stdlib.h>

#include "lib/ramtest.h"

#define LINE       64u
#define WORDS      8u
#define STEPS      37u
#define BASE       UINT64_C(0x40000000)
#define BYTES      UINT64_C(0x40000) /* of address space from BASE on */
#define MAX_FAULTS 4096u

enum fault_kind {
    NO_FAULT,
    STUCK,     /* bit at word `a` reads as `value` */
    NO_RISE,   /* bit at word `a` stays 0 once it is 0 */
    COUPLED,   /* when bit `abit` of `a` changes to `value`, bit `bbit` of `b` becomes `effect` */
    BRIDGED,   /* bits `abit` and `bbit` of `a` are each the AND (or OR, by `value`) of both */
    DATA_LINE, /* bit `abit` of every word reads as `value` */
    ADDR_LINE, /* address bit `abit` is always `value` */
    NO_CELL,   /* nothing answers in line `a`: writes vanish, reads are all ones */
};

enum effect { BECOMES_0, BECOMES_1, TURNS };

static struct {
    enum fault_kind kind;
    uint64_t a, b;
    unsigned abit, bbit, value;
    enum effect effect;
} broken;

static uint64_t cells[BYTES / 8];
static uint32_t written_in[BYTES / LINE]; /* step, counted from 1, that wrote the line */
static unsigned step;                     /* begun, counted from 1 */
static uint64_t reads, writes, reports, last_done;
static uint64_t stop_at;

static struct ramtest_fault faults[MAX_FAULTS];
static unsigned nfaults;
static bool named[BYTES / 8]; /* words that had one */

/* What a step did, for the tests of order and contents. */
static bool recording;
static uint64_t record[STEPS + 1][BYTES / 8];
static uint64_t order[STEPS + 1][256];
static unsigned norder[STEPS + 1];

static uint64_t index_of(uint64_t addr)
{
    assert_int_equal(addr % 8, 0);
    assert_in_range(addr, BASE, BASE + BYTES - 8);
    return (addr - BASE) / 8;
}

/* The cell that answers at `addr`. */
static uint64_t *cell(uint64_t addr)
{
    if (broken.kind == ADDR_LINE) {
        uint64_t bit = UINT64_C(1) << broken.abit;

        addr = broken.value != 0 ? addr | bit : addr & ~bit;
    }
    return &cells[index_of(addr)];
}

static void write_word(uint64_t addr, uint64_t v)
{
    uint64_t bit = UINT64_C(1) << broken.abit, *c = cell(addr), old = *c;

    if (broken.kind == NO_CELL && addr - broken.a < LINE) {
        return;
    }
    if (broken.kind == NO_RISE && addr == broken.a) {
        v &= ~bit | old;
    }
    *c = v;
    if (broken.kind == COUPLED && addr == broken.a && ((old ^ v) & bit) != 0 &&
        ((v & bit) != 0) == (broken.value != 0)) {
        uint64_t victim = UINT64_C(1) << broken.bbit, *b = cell(broken.b);

        *b = broken.effect == TURNS       ? *b ^ victim
             : broken.effect == BECOMES_1 ? *b | victim
                                          : *b & ~victim;
    }
}

static uint64_t read_word(uint64_t addr)
{
    uint64_t a = UINT64_C(1) << broken.abit, b = UINT64_C(1) << broken.bbit, v = *cell(addr);

    if (broken.kind == DATA_LINE || (broken.kind == STUCK && addr == broken.a)) {
        v = broken.value != 0 ? v | a : v & ~a;
    } else if (broken.kind == BRIDGED && addr == broken.a) {
        bool both = (v & a) != 0 && (v & b) != 0, any = (v & (a | b)) != 0;

        v = (broken.value != 0 ? any : both) ? v | a | b : v & ~(a | b);
    } else if (broken.kind == NO_CELL && addr - broken.a < LINE) {
        v = UINT64_MAX;
    }
    return v;
}

static void sim_write(void *ctx, uint64_t addr, const uint64_t line[WORDS])
{
    assert_ptr_equal(ctx, cells);
    assert_int_equal(addr % LINE, 0);
    for (unsigned i = 0; i < WORDS; i++) {
        write_word(addr + 8 * i, line[i]);
        if (recording) {
            record[step][index_of(addr) + i] = line[i];
        }
    }
    if (recording) {
        order[step][norder[step]++] = addr;
    }
    written_in[index_of(addr) / WORDS] = step;
    writes++;
}

static void sim_read(void *ctx, uint64_t addr, uint64_t line[WORDS])
{
    assert_ptr_equal(ctx, cells);
    assert_int_equal(addr % LINE, 0);
    assert_int_equal(written_in[index_of(addr) / WORDS], step - 1);
    for (unsigned i = 0; i < WORDS; i++) {
        line[i] = read_word(addr + 8 * i);
    }
    reads++;
}

static void sim_settle(void *ctx)
{
    assert_ptr_equal(ctx, cells);
    step++;
}

static void sim_fault(void *ctx, const struct ramtest_fault *f)
{
    assert_ptr_equal(ctx, cells);
    assert_true(f->read != f->wrote);
    if (nfaults < MAX_FAULTS) {
        faults[nfaults] = *f;
    }
    nfaults++;
    named[index_of(f->addr)] = true;
}

static bool sim_progress(void *ctx, const struct ramtest_progress *p)
{
    assert_ptr_equal(ctx, cells);
    assert_true(p->done < p->all);
    assert_in_range(p->done - last_done, 0, 4096);
    last_done = p->done;
    assert_true(strlen(p->pattern) > 2);
    reports++;
    return p->done < stop_at;
}

static const struct ramtest_ops ops = { sim_read, sim_write, sim_settle, sim_fault, sim_progress };

/* Two lines, a gap, three lines, a gap, one: small, so that every fault can be tried. */
static const struct ramtest_span few[] = {
    { BASE + 0x1000, 2 * LINE },
    { BASE + 0x2fc0, 3 * LINE },
    { BASE + 0x8040, LINE },
};
#define FEW_LINES 6u

static bool run(const struct ramtest_span *spans, size_t n, uint64_t seed)
{
    memset(written_in, 0, sizeof(written_in));
    memset(named, 0, sizeof(named));
    step = 1;
    reads = writes = reports = last_done = nfaults = 0;
    return ramtest_pass(&ops, cells, spans, n, seed);
}

static void run_few(void)
{
    stop_at = UINT64_MAX;
    assert_true(run(few, 3, 1));
}

static uint64_t few_word(unsigned i)
{
    uint64_t at = (uint64_t)i * 8;

    for (unsigned s = 0;; s++) {
        if (at < few[s].nbytes) {
            return few[s].base + at;
        }
        at -= few[s].nbytes;
    }
}

/* There are faults, all of them at `addr`, in no other bits than `bits`. */
static void assert_faults_at(uint64_t addr, uint64_t bits)
{
    assert_in_range(nfaults, 1, MAX_FAULTS);
    for (unsigned i = 0; i < nfaults; i++) {
        assert_int_equal(faults[i].addr, addr);
        assert_int_equal((faults[i].read ^ faults[i].wrote) & ~bits, 0);
    }
}

static void test_good_memory(void **state)
{
    (void)state;
    broken.kind = NO_FAULT;
    run_few();
    assert_int_equal(nfaults, 0);
    assert_int_equal(writes, STEPS * FEW_LINES);
    assert_int_equal(reads, STEPS * FEW_LINES);
    assert_int_equal(step, STEPS + 2);
    assert_int_equal(reports, 1);
}

static bool seen_value(unsigned from, unsigned to, uint64_t word, uint64_t v)
{
    for (unsigned s = from; s <= to; s++) {
        if (record[s][word] == v) {
            return true;
        }
    }
    return false;
}

/* What the essay of ramtest.c says of the patterns, word by word. */
static void test_patterns(void **state)
{
    const uint64_t ones = UINT64_MAX;

    (void)state;
    broken.kind = NO_FAULT;
    memset(norder, 0, sizeof(norder));
    recording = true;
    run_few();
    recording = false;

    static const bool down[] = { 0, 0, 0, 1, 1 };
    static const uint64_t solid[] = { 0, UINT64_MAX, 0, UINT64_MAX, 0 };

    for (unsigned s = 1; s <= STEPS; s++) {
        bool falls = s <= 5 ? down[s - 1] : s % 2 != 0;

        assert_int_equal(norder[s], FEW_LINES);
        for (unsigned i = 0; i < FEW_LINES; i++) {
            assert_int_equal(order[s][i], few_word((falls ? FEW_LINES - 1 - i : i) * WORDS));
        }
        for (unsigned i = 0; i < FEW_LINES * WORDS; i++) {
            uint64_t w = index_of(few_word(i));

            if (s <= 5) {
                assert_int_equal(record[s][w], solid[s - 1]);
            } else if (s % 2 != 0) {
                assert_int_equal(record[s][w], ~record[s - 1][w]);
            }
        }
    }
    for (unsigned i = 0; i < FEW_LINES * WORDS; i++) {
        uint64_t w = index_of(few_word(i));

        assert_int_equal(record[6][w], few_word(i));
        for (unsigned k = 8; k <= 19 && i % 2 == 0; k++) {
            assert_int_equal(record[k][w + 1], ~record[k][w]);
        }
        for (unsigned a = 0; a < 64; a++) {
            for (unsigned b = 0; b < 64; b++) {
                bool differ = false;

                for (unsigned s = 8; s <= 19; s++) {
                    differ |= (record[s][w] >> a & 1) == 1 && (record[s][w] >> b & 1) == 0;
                }
                assert_int_equal(differ, a != b);
            }
        }
    }
    /* In each line, each data line is once the only one at 1, once the only one at 0. */
    for (unsigned line = 0; line < FEW_LINES; line++) {
        for (unsigned bit = 0; bit < 64; bit++) {
            unsigned found = 0;

            for (unsigned i = 0; i < WORDS; i++) {
                uint64_t w = index_of(few_word(line * WORDS + i));

                found += seen_value(20, 35, w, UINT64_C(1) << bit) &&
                         seen_value(20, 35, w, ones ^ UINT64_C(1) << bit);
            }
            assert_int_equal(found, 1);
        }
    }
}

static void test_random_follows_the_seed(void **state)
{
    uint64_t first[FEW_LINES * WORDS];

    (void)state;
    broken.kind = NO_FAULT;
    stop_at = UINT64_MAX;
    recording = true;
    for (unsigned round = 0; round < 3; round++) {
        memset(norder, 0, sizeof(norder));
        assert_true(run(few, 3, round < 2 ? 7 : 8));
        for (unsigned i = 0; i < FEW_LINES * WORDS; i++) {
            uint64_t v = record[36][index_of(few_word(i))];

            if (round == 0) {
                first[i] = v;
            } else {
                assert_int_equal(v == first[i], round == 1);
            }
        }
    }
    recording = false;
}

static void test_stuck_bits(void **state)
{
    (void)state;
    for (unsigned i = 0; i < FEW_LINES * WORDS; i++) {
        for (unsigned bit = 0; bit < 64; bit++) {
            broken.a = few_word(i);
            broken.abit = bit;
            broken.kind = STUCK;
            for (broken.value = 0; broken.value < 2; broken.value++) {
                run_few();
                assert_faults_at(broken.a, UINT64_C(1) << bit);
            }
            cells[index_of(broken.a)] = 0;
            broken.kind = NO_RISE;
            run_few();
            assert_faults_at(broken.a, UINT64_C(1) << bit);
        }
    }
}

/* Every pair of lines, in both directions: any change of one bit to any effect on another. */
static void test_coupled_bits(void **state)
{
    struct host_rng rng = host_rng_make("test_coupled_bits");

    (void)state;
    broken.kind = COUPLED;
    for (unsigned a = 0; a < FEW_LINES; a++) {
        for (unsigned b = 0; b < FEW_LINES; b++) {
            for (unsigned kind = 0; kind < 6 * 20 && a != b; kind++) {
                broken.a = few_word(a * WORDS + (unsigned)host_rng_below(&rng, WORDS));
                broken.b = few_word(b * WORDS + (unsigned)host_rng_below(&rng, WORDS));
                broken.abit = (unsigned)host_rng_below(&rng, 64);
                broken.bbit = (unsigned)host_rng_below(&rng, 64);
                broken.value = kind % 2;
                broken.effect = (enum effect)(kind / 2 % 3);
                run_few();
                assert_faults_at(broken.b, UINT64_C(1) << broken.bbit);
            }
        }
    }
}

static void test_bridged_bits(void **state)
{
    (void)state;
    broken.kind = BRIDGED;
    broken.a = few_word(19);
    for (unsigned a = 0; a < 64; a++) {
        for (unsigned b = 0; b < a; b++) {
            broken.abit = a;
            broken.bbit = b;
            for (broken.value = 0; broken.value < 2; broken.value++) {
                run_few();
                assert_faults_at(broken.a, UINT64_C(1) << a | UINT64_C(1) << b);
            }
        }
    }
}

static bool was_named(uint64_t addr)
{
    return named[index_of(addr)];
}

static void test_data_lines(void **state)
{
    (void)state;
    broken.kind = DATA_LINE;
    for (unsigned bit = 0; bit < 64; bit++) {
        broken.abit = bit;
        broken.value = bit % 2;
        run_few();
        for (unsigned i = 0; i < FEW_LINES * WORDS; i++) {
            assert_true(was_named(few_word(i)));
        }
        for (unsigned i = 0; i < nfaults; i++) {
            assert_int_equal(faults[i].read ^ faults[i].wrote, UINT64_C(1) << bit);
        }
    }
}

static void test_line_without_cells(void **state)
{
    (void)state;
    broken.kind = NO_CELL;
    for (unsigned line = 0; line < FEW_LINES; line++) {
        broken.a = few_word(line * WORDS);
        run_few();
        assert_in_range(nfaults, 1, MAX_FAULTS);
        for (unsigned i = 0; i < nfaults; i++) {
            assert_int_equal(faults[i].addr / LINE, broken.a / LINE);
            assert_int_equal(faults[i].read, UINT64_MAX);
        }
    }
}

/*
 * An address line that is always 0 or 1: of each two addresses that then are one, both are named if
 * both are tested, and only those.
 */
static void test_address_lines(void **state)
{
    /* All of it but its last line, in two spans: a line whose twin is not tested is no fault. */
    static const struct ramtest_span spans[] = {
        { BASE, 0x400 },
        { BASE + 0x800, 0x800 - LINE },
    };
    const unsigned lowest = 6, highest = 11; /* bits of addresses that differ in there */

    (void)state;
    broken.kind = ADDR_LINE;
    stop_at = UINT64_MAX;
    for (unsigned line = lowest; line <= highest; line++) {
        uint64_t bit = UINT64_C(1) << line;

        broken.abit = line;
        for (broken.value = 0; broken.value < 2; broken.value++) {
            assert_true(run(spans, 2, 1));
            assert_true(nfaults > 0);
            for (uint64_t addr = BASE; addr < BASE + 0x1000; addr += 8) {
                bool here = addr - BASE < 0x400 || addr - BASE - 0x800 < 0x800 - LINE;
                bool twin =
                    (addr ^ bit) - BASE < 0x400 || (addr ^ bit) - BASE - 0x800 < 0x800 - LINE;

                assert_int_equal(was_named(addr), here && twin);
            }
        }
    }
}

static void test_stops_when_told(void **state)
{
    static const struct ramtest_span all = { BASE, BYTES };
    const uint64_t lines = BYTES / LINE;

    (void)state;
    broken.kind = NO_FAULT;
    for (uint64_t at = 0; at < 40 * lines; at += 7001) {
        stop_at = at;
        assert_int_equal(run(&all, 1, 3), at >= (STEPS + 1) * lines - 4096);
        assert_in_range(writes, 0, mm_min(at, lines * STEPS) + 4096);
        assert_true(writes + 4096 >= mm_min(at, lines * STEPS));
        assert_int_equal(nfaults, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good_memory),
        cmocka_unit_test(test_patterns),
        cmocka_unit_test(test_random_follows_the_seed),
        cmocka_unit_test(test_stuck_bits),
        cmocka_unit_test(test_coupled_bits),
        cmocka_unit_test(test_bridged_bits),
        cmocka_unit_test(test_data_lines),
        cmocka_unit_test(test_line_without_cells),
        cmocka_unit_test(test_address_lines),
        cmocka_unit_test(test_stops_when_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
