/*
 * ramtest.c - does memory keep what is written to it?
 *
 * The test is a march: every step reads and at once rewrites each line before it goes on to the
 * next, and the steps go up and down. What this finds and a plain "fill, then compare" does not is
 * one cell that disturbs another: the line that is written now spoils one that the step has passed
 * already (the next step reads it) or has yet to come to (this one reads it). Lines, 64 bytes, are
 * the unit because they are the unit of memory itself: one burst on the bus, which no order of
 * writing its words can divide.
 *
 * The steps, each of a pattern followed by its complement:
 *
 *   solid     0, 1, 0 upwards, 1, 0 downwards: March C- (van de Goor, Using March Tests to Test
 *             SRAMs, IEEE Design & Test of Computers 10(1), 1993). Finds each cell that is stuck or
 *             does not switch, each that is changed by a change of one in another line, and two
 *             addresses that reach the same cell or none.
 *   address   each word holds its own address. Finds nothing that those have not, but says more: a
 *             word that reads as another's address shows which address lines are at fault.
 *   checker   6 patterns, the last of stripes 32 bits wide: any two bits of a word differ in at
 *             least one of them, and the other way round in its complement, so bits tied to each
 *             other show. Each second word is inverted: all data lines switch from beat to beat.
 *   walking   a single 1 (then 0) among 64 data lines. In 8 turns it visits each of them, in every
 *             turn 8 neighbours, one in each beat of a line.
 *   random    what nobody thought of. The value follows from seed and address, so these steps need
 *             no more memory than the others, and may go downwards.
 *
 * Rejected: a walking bit through all 64 places of every word, 128 steps, since the cells of a word
 * are covered by the checkers and the data lines by 8 turns; tests of quadratic cost (galloping
 * patterns); testing piece by piece, which never sees that an address line beyond the size of a
 * piece is broken, and whose small pieces stay in caches.
 *
 * Not found: what needs heat, a rare voltage, hours, or one row opened a hundred thousand times
 * (row hammer). Errors that ECC corrects do not get here either.
 */
#include "lib/ramtest.h"

#include "lib/mix.h"

#define WORD_BITS 64u

enum pattern { SOLID, ADDRESS, CHECKER, WALKING, RANDOM };

static const char *const names[] = {
    [SOLID] = "solid",         [ADDRESS] = "own address", [CHECKER] = "checker",
    [WALKING] = "walking bit", [RANDOM] = "random",
};

struct step {
    enum pattern pattern;
    unsigned turn; /* which of its kind */
    bool inverted, down;
};

static const struct step march[] = {
    { SOLID, 0, false, false }, { SOLID, 0, true, false }, { SOLID, 0, false, false },
    { SOLID, 0, true, true },   { SOLID, 0, false, true },
};

/* Bit i of checkers[t] is bit t of i. */
static const uint64_t checkers[] = {
    UINT64_C(0xaaaaaaaaaaaaaaaa), UINT64_C(0xcccccccccccccccc), UINT64_C(0xf0f0f0f0f0f0f0f0),
    UINT64_C(0xff00ff00ff00ff00), UINT64_C(0xffff0000ffff0000), UINT64_C(0xffffffff00000000),
};

/* What comes behind the march; each turn twice: upwards, and inverted downwards. */
static const struct {
    enum pattern pattern;
    unsigned turns;
} rest[] = {
    { ADDRESS, 1 },
    { CHECKER, MM_COUNTOF(checkers) },
    { WALKING, WORD_BITS / RAMTEST_LINE_WORDS },
    { RANDOM, 1 },
};

_Static_assert(RAMTEST_STEPS == MM_COUNTOF(march) + 2 * (1 + MM_COUNTOF(checkers) +
                                                         WORD_BITS / RAMTEST_LINE_WORDS + 1),
               "the header says how many steps there are");

struct run {
    const struct ramtest_ops *ops;
    void *ctx;
    const struct ramtest_span *spans;
    size_t nspans;
    uint64_t seed;
    struct step old;    /* what memory holds, once there is anything */
    uint64_t done, all; /* lines */
};

/* What step `s` writes to the line at `addr`. */
static void make_line(const struct step *s, uint64_t seed, uint64_t addr,
                      uint64_t line[RAMTEST_LINE_WORDS])
{
    uint64_t flip = s->inverted ? UINT64_MAX : 0;

    for (unsigned i = 0; i < RAMTEST_LINE_WORDS; i++) {
        uint64_t v = 0;

        switch (s->pattern) {
        case SOLID:
            break;
        case ADDRESS:
            v = addr + 8 * i;
            break;
        case CHECKER:
            v = i % 2 == 0 ? checkers[s->turn] : ~checkers[s->turn];
            break;
        case WALKING:
            v = UINT64_C(1) << (i + s->turn * RAMTEST_LINE_WORDS);
            break;
        case RANDOM:
            v = mix64(seed + addr + 8 * i);
            break;
        }
        line[i] = v ^ flip;
    }
}

static void verify(const struct run *r, uint64_t addr)
{
    uint64_t wrote[RAMTEST_LINE_WORDS], line[RAMTEST_LINE_WORDS], wrong = 0;

    make_line(&r->old, r->seed, addr, wrote);
    r->ops->read(r->ctx, addr, line);
    for (unsigned i = 0; i < RAMTEST_LINE_WORDS; i++) {
        wrong |= line[i] ^ wrote[i];
    }
    for (unsigned i = 0; wrong != 0 && i < RAMTEST_LINE_WORDS; i++) {
        const struct ramtest_fault f = { addr + 8 * i, wrote[i], line[i], names[r->old.pattern] };

        if (line[i] != wrote[i]) {
            r->ops->fault(r->ctx, &f);
        }
    }
}

static void fill(const struct run *r, const struct step *s, uint64_t addr)
{
    uint64_t line[RAMTEST_LINE_WORDS];

    make_line(s, r->seed, addr, line);
    r->ops->write(r->ctx, addr, line);
}

/* False if the pass is to end. */
static bool report(const struct run *r, const char *pattern)
{
    const struct ramtest_progress p = { pattern, r->done, r->all };

    return r->ops->progress(r->ctx, &p);
}

/*
 * Go over all lines: see whether they hold what the step before wrote, if there was one, and write
 * what `s` says, unless it is NULL. False if progress() ended it.
 */
static bool take_step(struct run *r, const struct step *s)
{
    bool first = r->done == 0, down = s != NULL && s->down;
    const char *name = names[s != NULL ? s->pattern : r->old.pattern];

    for (size_t i = 0; i < r->nspans; i++) {
        const struct ramtest_span *span = &r->spans[down ? r->nspans - 1 - i : i];

        for (uint64_t at = 0; at < span->nbytes; at += RAMTEST_LINE_BYTES) {
            uint64_t addr = span->base + (down ? span->nbytes - RAMTEST_LINE_BYTES - at : at);

            if (r->done % RAMTEST_REPORT_LINES == 0 && !report(r, name)) {
                return false;
            }
            r->done++;
            if (!first) {
                verify(r, addr);
            }
            if (s != NULL) {
                fill(r, s, addr);
            }
        }
    }
    r->ops->settle(r->ctx);
    if (s != NULL) {
        r->old = *s;
    }
    return true;
}

bool ramtest_pass(const struct ramtest_ops *ops, void *ctx, const struct ramtest_span *spans,
                  size_t nspans, uint64_t seed)
{
    struct run r = { .ops = ops, .ctx = ctx, .spans = spans, .nspans = nspans, .seed = seed };
    bool going = true;

    for (size_t i = 0; i < nspans; i++) {
        r.all += spans[i].nbytes / RAMTEST_LINE_BYTES * (RAMTEST_STEPS + 1);
    }
    for (size_t i = 0; i < MM_COUNTOF(march) && going; i++) {
        going = take_step(&r, &march[i]);
    }
    for (size_t i = 0; i < MM_COUNTOF(rest) && going; i++) {
        for (unsigned turn = 0; turn < rest[i].turns && going; turn++) {
            const struct step up = { rest[i].pattern, turn, false, false };
            const struct step down = { rest[i].pattern, turn, true, true };

            going = take_step(&r, &up) && take_step(&r, &down);
        }
    }
    return going && take_step(&r, NULL);
}
