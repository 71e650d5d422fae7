/*
 * frames test: does memory that is free keep what is written to it?
 *
 * What is tested is taken out of the pools before, so nobody else has it: every free frame from the
 * lowest address on, up to an eighth of what is free, which stays for the kernel to live on. That
 * is one round; what was left over is the next one's, when the first has been given back. Small
 * portions would do for single cells, but two places that a broken address line mixes up must both
 * be under test to be noticed. Memory in use is not tested at all.
 *
 * To test memory and not caches, each line is flushed (clflush: written back and dropped by every
 * cache of the machine) as it is written, and mfence at the end of a step waits for all of them
 * (SDM vol. 2A, CLFLUSH). The next step, which begins with reading the line, must get it from
 * memory; so must a prefetcher. Between the two a whole step lies, and so much other memory that
 * the memory controller's queues of some dozen lines hold other things by then. What this cannot
 * rule out: a cache behind the controller (memory-side cache), a hypervisor, and the correction of
 * errors by ECC, which hides single bits.
 *
 * What fails is taken out of service while it is still ours, so it never goes out again. Should the
 * pool's list of bad ranges be full, the frames are just not given back.
 *
 * faulty=ADDR:MASK is how all that is tried on a machine whose memory is good: what is *read* of
 * the word at ADDR has the bits of MASK set, as if they were stuck. Nothing else is changed; what
 * follows is real.
 */
#include "clock.h"
#include "cpu/asm.h"
#include "lib/badram.h"
#include "lib/console.h"
#include "lib/fmt.h"
#include "lib/ramtest.h"
#include "lib/string.h"
#include "mm/port.h"
#include "monitor/args.h"
#include "monitor/frames.h"
#include "monitor/style.h"
#include "vm.h"

#define MAX_SPANS      512u
#define MAX_SIMULATED  8u
#define MAX_SHOWN      8u             /* faults; the others are counted */
#define RESERVE_FRAMES UINT64_C(2048) /* 8 MiB that stay free at least */
#define MAX_PASSES     1000000u
#define REPORT_US      500000u

_Static_assert(RAMTEST_LINE_BYTES == 64, "clflush takes a line of 64 bytes, or of more");

/* A word of 8 bytes that is read with some bits set. */
struct simulated {
    uint64_t addr, mask;
};

static struct session {
    uint64_t next, end; /* bytes; what was in [next, end) is still to be tested */
    uint64_t seed, passes;
    struct simulated simulated[MAX_SIMULATED];
    unsigned nsimulated;

    struct ramtest_span spans[MAX_SPANS]; /* the round: ours meanwhile */
    size_t nspans;
    uint64_t pass;
    struct badram found; /* in this round */

    uint64_t goal, tested; /* bytes: free at the start, and done with */
    uint64_t faults;
    uint64_t nretired;  /* frames */
    struct badram kept; /* never given back: the pool's list is full */
    bool cancelled;
    bool full; /* of faults that lie so far apart that no list has room for them */

    uint64_t started, reported; /* time-stamp counter */
    bool line_shown;            /* the line of progress is on the screen */
} session;                      /* too large for a stack; the monitor runs one command at a time */

/* ---- what ramtest.h asks for ------------------------------------------------------------------- */

static void write_line(void *ctx, uint64_t addr, const uint64_t line[RAMTEST_LINE_WORDS])
{
    volatile uint64_t *p = port_ptr(pa_make(addr));

    (void)ctx;
    for (unsigned i = 0; i < RAMTEST_LINE_WORDS; i++) {
        p[i] = line[i];
    }
    clflush(p);
}

static void read_line(void *ctx, uint64_t addr, uint64_t line[RAMTEST_LINE_WORDS])
{
    const volatile uint64_t *p = port_ptr(pa_make(addr));
    const struct session *s = ctx;

    for (unsigned i = 0; i < RAMTEST_LINE_WORDS; i++) {
        line[i] = p[i];
    }
    for (unsigned i = 0; i < s->nsimulated; i++) {
        uint64_t offset = s->simulated[i].addr - addr;

        if (offset < RAMTEST_LINE_BYTES) {
            line[offset / 8] |= s->simulated[i].mask;
        }
    }
}

static void settle(void *ctx)
{
    (void)ctx;
    mfence();
}

static void clear_progress(struct session *s)
{
    if (s->line_shown) {
        kputs("\r\033[K");
        s->line_shown = false;
    }
}

static void note_fault(void *ctx, const struct ramtest_fault *f)
{
    struct session *s = ctx;

    if (s->faults++ < MAX_SHOWN) {
        clear_progress(s);
        kprintf(STYLE_BAD "fault" STYLE_OFF " at 0x%llx: %016llx written, %016llx read (%s)\n",
                (unsigned long long)f->addr, (unsigned long long)f->wrote,
                (unsigned long long)f->read, f->pattern);
    }
    if (!badram_add_frame(&s->found, f->addr >> MM_PAGE_SHIFT)) {
        s->full = true;
    }
}

static bool show_progress(void *ctx, const struct ramtest_progress *p)
{
    struct session *s = ctx;
    uint64_t now = rdtsc(), round = 0, percent;

    s->cancelled = console_cancelled();
    if (clock_us(now - s->reported) >= REPORT_US) {
        for (size_t i = 0; i < s->nspans; i++) {
            round += s->spans[i].nbytes;
        }
        percent = (s->pass * 100 + p->done * 100 / p->all) / s->passes;
        percent = (s->tested + round / 100 * percent) / (s->goal / 100 + 1);
        kprintf("\r%3llu %%, pass %llu of %llu: %s " STYLE_HEAD "(Ctrl-C stops)" STYLE_OFF "\033[K",
                (unsigned long long)percent, (unsigned long long)s->pass + 1,
                (unsigned long long)s->passes, p->pattern);
        s->reported = now;
        s->line_shown = true;
    }
    return !s->cancelled && !s->full;
}

static const struct ramtest_ops ops = { read_line, write_line, settle, note_fault, show_progress };

/* ---- taking memory, and giving it back --------------------------------------------------------- */

/* The pool of a frame that can be tested: its memory is in the direct map. */
static struct pmm *pool_of(uint64_t frame)
{
    struct pmm *p = vm_pool_of(pfn_make(frame));

    return p != NULL && (p == vm_pools[PMM_GENERAL] || p == vm_pools[PMM_LOW]) ? p : NULL;
}

/* Take free frames from `base` on, `count` at most; returns how many. None, if what was free has
 * become the pool's own meanwhile. */
static uint64_t claim(struct pmm *p, uint64_t base, uint64_t count)
{
    while (count > 0 && pmm_claim(p, pfn_make(base), count) != MM_OK) {
        count /= 2;
    }
    return count;
}

/* Take what is free of frames [base, end), as far as `budget` and room for spans last. */
static void take_frames(struct session *s, uint64_t base, uint64_t end, uint64_t *budget)
{
    while (*budget > 0 && base < end && s->nspans < MAX_SPANS) {
        struct pmm *p = pool_of(base);
        uint64_t count = 0;

        while (p != NULL && base + count < end && count < *budget &&
               pmm_is_free(p, pfn_make(base + count))) {
            count++;
        }
        count = claim(p, base, count);
        if (count > 0) {
            s->spans[s->nspans++] =
                (struct ramtest_span){ base << MM_PAGE_SHIFT, count << MM_PAGE_SHIFT };
            *budget -= count;
        }
        base += count > 0 ? count : 1;
        s->next = base << MM_PAGE_SHIFT;
    }
}

/* The next round; false if nothing is left, or too little is free. */
static bool take_round(struct session *s)
{
    uint64_t unused = pmm_free_frames(vm_pmm);
    uint64_t reserve = mm_max(unused / 8, RESERVE_FRAMES);
    uint64_t budget = unused > reserve ? unused - reserve : 0;

    s->nspans = 0;
    for (uint32_t i = 0; i < vm_map.nregions; i++) {
        const struct memmap_region *r = &vm_map.regions[i];
        uint64_t base = mm_max(s->next, r->base), end = mm_min(s->end, r->end);

        if (memmap_kind_is_direct(r->kind) && base < end) {
            take_frames(s, base >> MM_PAGE_SHIFT, end >> MM_PAGE_SHIFT, &budget);
        }
    }
    return s->nspans > 0;
}

static void retire_found(struct session *s)
{
    for (unsigned i = 0; i < s->found.n; i++) {
        const struct badram_range *r = &s->found.range[i];

        if (pmm_retire(pool_of(r->base), pfn_make(r->base), r->count, NULL) == MM_OK) {
            s->nretired += r->count;
        } else {
            bool fits = badram_add(&s->kept, r->base, r->count);

            MM_ASSERT(fits); /* for what one round has found there is room, */
            s->full = true;  /* and there is no other round */
        }
    }
    s->found.n = 0;
}

/* Give back frames [base, end), but for those that are kept. */
static void give_back(const struct session *s, uint64_t base, uint64_t end)
{
    struct pmm *p = pool_of(base);

    for (unsigned i = 0; i < s->kept.n; i++) {
        const struct badram_range *k = &s->kept.range[i];

        if (k->base < end && k->base + k->count > base) {
            if (k->base > base) {
                pmm_put_range(p, pfn_make(base), k->base - base);
            }
            base = mm_min(k->base + k->count, end);
        }
    }
    if (base < end) {
        pmm_put_range(p, pfn_make(base), end - base);
    }
}

static void test_round(struct session *s)
{
    bool going = true;

    for (s->pass = 0; s->pass < s->passes && going; s->pass++) {
        going = ramtest_pass(&ops, s, s->spans, s->nspans, s->seed + s->pass);
    }
    retire_found(s);
    for (size_t i = 0; i < s->nspans; i++) {
        const struct ramtest_span *span = &s->spans[i];

        give_back(s, span->base >> MM_PAGE_SHIFT, (span->base + span->nbytes) >> MM_PAGE_SHIFT);
        s->tested += going ? span->nbytes : 0;
    }
}

/* ---- the command ------------------------------------------------------------------------------- */

static void show_words(struct session *s)
{
    static struct badram all; /* out of service, by this command or whatever else */
    static struct badram_pair pairs[BADRAM_MAX_PAIRS];
    char text[BADRAM_WORD_MAX];
    uint64_t extra;
    unsigned n;

    all = s->kept;
    for (unsigned kind = PMM_GENERAL; kind <= PMM_LOW; kind++) {
        uint64_t count;
        pfn_t base;

        for (unsigned i = 0;
             vm_pools[kind] != NULL && pmm_get_bad(vm_pools[kind], i, &base, &count); i++) {
            if (!badram_add(&all, base.v, count)) {
                kputs("The words that follow are not all: there are too many ranges.\n");
            }
        }
    }
    kputs("Linux, on the kernel's command line (in GRUB's files $ is written \\$, in\n"
          "/etc/default/grub \\\\\\$):\n");
    for (unsigned i = 0; i < all.n; i++) {
        kprintf("  %s\n", badram_memmap_word(text, &all.range[i]));
    }
    n = badram_cover(&all, pairs, &extra);
    kputs("GRUB, for whatever it starts (GRUB_BADRAM in /etc/default/grub, without \"badram=\"):\n"
          "  badram=");
    for (unsigned i = 0; i < n; i++) {
        kprintf("%s%s", i > 0 ? "," : "", badram_pair_text(text, &pairs[i]));
    }
    if (extra == 0) {
        kputs("\nBoth say exactly the frames that are out of service.\n");
    } else {
        kprintf("\nThe pairs match %llu good frames besides: exact ones would be more than %u.\n",
                (unsigned long long)extra, BADRAM_MAX_PAIRS);
    }
}

static void show_result(struct session *s)
{
    char size[FMT_BYTES_MAX], took[24];
    uint64_t us = clock_us(rdtsc() - s->started), bad = s->nretired + badram_frames(&s->kept);

    clear_progress(s);
    if (s->faults > MAX_SHOWN) {
        kprintf("and %llu faults more\n", (unsigned long long)s->faults - MAX_SHOWN);
    }
    fmt_bytes(size, s->tested);
    fmt_s(took, sizeof(took), "%llu.%llu s", (unsigned long long)us / 1000000,
          (unsigned long long)us / 100000 % 10);
    if (s->cancelled) {
        kprintf("Stopped after %s, with the test of %s complete: ", took, size);
    } else {
        kprintf("%s tested in %llu pass%s of %u steps, %s: ", size, (unsigned long long)s->passes,
                s->passes != 1 ? "es" : "", RAMTEST_STEPS, took);
    }
    if (bad == 0) {
        kputs(STYLE_OK "no fault" STYLE_OFF "\n");
    } else {
        kprintf(STYLE_BAD "%llu fault%s in %llu frame%s" STYLE_OFF "\n",
                (unsigned long long)s->faults, s->faults != 1 ? "s" : "", (unsigned long long)bad,
                bad != 1 ? "s" : "");
    }
    if (s->nretired != 0) {
        kprintf("%llu frame%s out of service now, until the next boot.\n",
                (unsigned long long)s->nretired, s->nretired != 1 ? "s are" : " is");
    }
    if (s->kept.n != 0) {
        kprintf("%llu frames stay in use for ever: the pool's list of bad ranges is full.\n",
                (unsigned long long)badram_frames(&s->kept));
    }
    if (s->full) {
        kputs("Stopped: so many separate ranges fail that single frames are not the matter.\n");
    }
    if (bad != 0) {
        show_words(s);
    }
}

/* The value of `word`, if it is `key` and '=' and that; else NULL. */
static const char *value_of(const char *word, const char *key)
{
    size_t n = strlen(key);

    return strncmp(word, key, n) == 0 && word[n] == '=' ? word + n + 1 : NULL;
}

/* ADDR:MASK */
static bool read_simulated(const struct args *a, struct session *s, const char *value)
{
    struct simulated *f = &s->simulated[s->nsimulated];
    const char *colon = strchr(value, ':');
    char addr[32] = "";

    if (s->nsimulated == MAX_SIMULATED) {
        args_fail(a, "more than %u simulated faults", MAX_SIMULATED);
        return false;
    }
    if (colon == NULL || (size_t)(colon - value) >= sizeof(addr)) {
        args_fail(a, "faulty: \"%s\" is not ADDR:MASK", value);
        return false;
    }
    memcpy(addr, value, (size_t)(colon - value));
    if (!args_number(a, "faulty", addr, 0, UINT64_MAX, &f->addr) ||
        !args_number(a, "faulty", colon + 1, 1, UINT64_MAX, &f->mask)) {
        return false;
    }
    f->addr = mm_align_down(f->addr, 8);
    s->nsimulated++;
    return true;
}

static bool read_arguments(const struct args *a, struct session *s)
{
    uint64_t addr = 0, size = 0;
    unsigned places = 0;

    for (unsigned i = 1; i < a->n; i++) {
        const char *word = a->operand[i], *value;
        bool good;

        if ((value = value_of(word, "seed")) != NULL) {
            good = args_number(a, "seed", value, 0, UINT64_MAX, &s->seed);
        } else if ((value = value_of(word, "passes")) != NULL) {
            good = args_number(a, "passes", value, 1, MAX_PASSES, &s->passes);
        } else if ((value = value_of(word, "faulty")) != NULL) {
            good = read_simulated(a, s, value);
        } else if (places == 0) {
            good = args_number(a, "ADDR", word, 0, UINT64_MAX, &addr);
            places++;
        } else if (places == 1) {
            good = args_number(a, "SIZE", word, 1, UINT64_MAX, &size);
            places++;
        } else {
            args_fail(a, "\"%s\" is one word too many", word);
            good = false;
        }
        if (!good) {
            return false;
        }
    }
    s->next = mm_align_down(addr, MM_PAGE_SIZE);
    s->end = memmap_direct_end(&vm_map);
    if (places == 2) {
        if (addr + size < addr) {
            args_fail(a, "0x%llx + 0x%llx wraps around", (unsigned long long)addr,
                      (unsigned long long)size);
            return false;
        }
        s->end = mm_min(s->end, mm_align_up(addr + size, MM_PAGE_SIZE));
    }
    return true;
}

/* Free bytes of [s->next, s->end) that can be tested. */
static uint64_t free_bytes(const struct session *s)
{
    uint64_t frames = 0;

    for (unsigned kind = PMM_GENERAL; kind <= PMM_LOW; kind++) {
        struct pmm_tally t;

        if (vm_pools[kind] != NULL && s->next < s->end) {
            pmm_get_tally(vm_pools[kind], pfn_of_pa(pa_make(s->next)),
                          (s->end - s->next) >> MM_PAGE_SHIFT, &t);
            frames += t.frames[PMM_FREE];
        }
    }
    return frames << MM_PAGE_SHIFT;
}

int frames_test(const struct args *a)
{
    char size[FMT_BYTES_MAX];
    struct session *s = &session;

    *s = (struct session){ .seed = rdtsc(), .passes = 1 };
    if (!read_arguments(a, s)) {
        return 1;
    }
    s->goal = free_bytes(s);
    if (s->goal == 0) {
        return args_error(a, "nothing there is free");
    }
    kprintf("%llu frames, %s, are free there; seed 0x%llx\n",
            (unsigned long long)s->goal >> MM_PAGE_SHIFT, fmt_bytes(size, s->goal),
            (unsigned long long)s->seed);
    for (unsigned i = 0; i < s->nsimulated; i++) {
        kprintf(STYLE_BAD "SIMULATION:" STYLE_OFF " 0x%llx is read with the bits 0x%llx set\n",
                (unsigned long long)s->simulated[i].addr, (unsigned long long)s->simulated[i].mask);
    }
    s->started = s->reported = rdtsc();
    while (!s->cancelled && !s->full && take_round(s)) {
        test_round(s);
    }
    if (s->tested == 0 && !s->cancelled && !s->full) {
        return args_error(a, "too little memory is free to spare any for a test");
    }
    show_result(s);
    if (s->nsimulated != 0) {
        kputs(STYLE_BAD "SIMULATION:" STYLE_OFF " faulty= asked for faults: do not believe them\n");
    }
    return s->cancelled;
}
