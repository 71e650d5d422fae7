/*
 * test_maplint.c - every rule on a map that breaks it and on one that comes close but does not; the
 * list of findings, its order and its limit; maps of real machines; noise.
 *
 * Most cases are one good map, on which no rule says anything, plus a descriptor or a fact: what is
 * found must be the rule in question and nothing else. A last test sees to it that no rule of the
 * table was left out.
 */
#include <dirent.h>
#include <inttypes.h>
#include <stdlib.h>
#include <time.h>

#include "host_port.h"
#include "mm/mapfile.h"
#include "mm/maplint.h"

#define PAGE UINT64_C(4096)
#define MiB  UINT64_C(0x100000)
#define GiB  UINT64_C(0x40000000)
#define NONE UINT32_C(0xffffffff)

/* Attributes, restated from UEFI 2.10 7.2.3. */
#define UC        UINT64_C(0x1)
#define WC        UINT64_C(0x2)
#define WT        UINT64_C(0x4)
#define WB        UINT64_C(0x8)
#define WP        UINT64_C(0x1000)
#define RP        UINT64_C(0x2000)
#define XP        UINT64_C(0x4000)
#define NV        UINT64_C(0x8000)
#define RELIABLE  UINT64_C(0x10000)
#define RO        UINT64_C(0x20000)
#define SP        UINT64_C(0x40000)
#define CRYPTO    UINT64_C(0x80000)
#define HOTPLUG   UINT64_C(0x100000)
#define ISA_VALID UINT64_C(0x4000000000000000)
#define RT        UINT64_C(0x8000000000000000)

#define X86  MAPFILE_ARCH_X86
#define ARM  MAPFILE_ARCH_ARM64
#define LOON MAPFILE_ARCH_LOONGARCH64

struct desc {
    uint32_t type;
    uint64_t start;
    uint64_t npages;
    uint64_t attr;
    uint64_t virt;
};

/* 1 GiB of a PC about which there is nothing to say, on any architecture. */
static const struct desc good[] = {
    { 7, 0x1000, 0x9e, WB, 0 },          { 7, 0x100000, 0x3ff00, WB, 0 },
    { 1, 0x40000000, 0x100, WB, 0 },     { 2, 0x40100000, 0x100, WB, 0 },
    { 3, 0x40200000, 0x100, WB, 0 },     { 4, 0x40300000, 0x1000, WB, 0 },
    { 9, 0x41300000, 0x20, WB, 0 },      { 10, 0x41320000, 0x20, WB, 0 },
    { 5, 0x41340000, 0x10, WB | RT, 0 }, { 6, 0x41350000, 0x10, WB | RT, 0 },
    { 0, 0x41360000, 0x10, WB, 0 },      { 8, 0x41370000, 0x10, WB, 0 },
    { 0, 0xb0000000, 0x1000, UC, 0 },    { 11, 0xe0000000, 0x10000, UC | RT, 0 },
};

#define FREE_SPOT UINT64_C(0x50000000)
#define FREE_64K                                                                                   \
    {                                                                                              \
        7, FREE_SPOT, 0x10, WB, 0                                                                  \
    }

static bool tripped[MAPLINT_NRULES];
static bool held[MAPLINT_NRULES]; /* was asked for on a map that must not trip it */

/* ---- linting --------------------------------------------------------------------------------- */

struct fixture {
    struct memmap m;
    void *bytes;
    void *storage;
};

static void build_raw(struct fixture *f, const struct memmap_raw *raw)
{
    uint64_t n = raw->stride >= 40 && raw->stride % 8 == 0 ? raw->nbytes / raw->stride : 0;
    struct memmap_raw copy = *raw;

    f->bytes = malloc(raw->nbytes + 1);
    f->storage = malloc(memmap_storage_bytes(n));
    assert_non_null(f->bytes);
    assert_non_null(f->storage);
    memcpy(f->bytes, raw->bytes, raw->nbytes);
    copy.bytes = f->bytes;
    assert_int_equal(memmap_build(&f->m, &copy, f->storage, memmap_storage_bytes(n)), MM_OK);
    assert_sound(memmap_check(&f->m));
}

static void put_desc(void *at, const struct desc *d)
{
    uint64_t words[5] = { d->type, d->start, d->virt, d->npages, d->attr };

    memcpy(at, words, sizeof(words));
}

static void build(struct fixture *f, const struct desc *d, size_t n)
{
    unsigned char *bytes = calloc(n + 1, 48);
    struct memmap_raw raw = { bytes, n * 48, 48, 1 };

    assert_non_null(bytes);
    for (size_t i = 0; i < n; i++) {
        put_desc(bytes + i * 48, &d[i]);
    }
    build_raw(f, &raw);
    free(bytes);
}

static void drop(struct fixture *f)
{
    free(f->bytes);
    free(f->storage);
}

static int rank(const char *a, const char *b)
{
    return strcmp(a != NULL ? a : "", b != NULL ? b : "");
}

/* The order of maplint.h, restated; 0: alike. */
static int order(const struct memmap_finding *a, const struct memmap_finding *b)
{
    if (a->severity != b->severity) {
        return a->severity > b->severity ? -1 : 1;
    }
    if (a->base != b->base) {
        return a->base < b->base ? -1 : 1;
    }
    if (a->end != b->end) {
        return a->end < b->end ? -1 : 1;
    }
    if (strcmp(a->rule, b->rule) != 0) {
        return strcmp(a->rule, b->rule);
    }
    if (a->desc != b->desc) {
        return a->desc < b->desc ? -1 : 1;
    }
    if (a->other != b->other) {
        return a->other < b->other ? -1 : 1;
    }
    return rank(a->subject, b->subject);
}

static void check_result(const struct maplint_result *out, const struct memmap *m)
{
    uint64_t count[3] = { 0 };

    assert_true(out->n <= out->max);
    assert_true(out->lost == 0 || out->n == out->max || (m != NULL && m->lost_findings != 0));
    for (uint32_t i = 0; i < out->n; i++) {
        const struct memmap_finding *x = &out->findings[i];
        const struct maplint_rule *rule = maplint_rule(x->rule);

        assert_non_null(rule);
        assert_ptr_equal(x->what, rule->what);
        assert_int_equal(x->severity, rule->severity);
        assert_true(x->base <= x->end);
        assert_true(x->desc == NONE || (m != NULL && x->desc < m->ndescs));
        assert_true(x->other == NONE || (m != NULL && x->other < m->ndescs));
        assert_true(i == 0 || order(&out->findings[i - 1], x) <= 0);
        count[x->severity]++;
    }
    for (unsigned i = 0; i < 3; i++) {
        assert_true(count[i] <= out->count[i]);
    }
    assert_int_equal(out->count[0] + out->count[1] + out->count[2] +
                         (m != NULL ? m->lost_findings : 0),
                     out->n + out->lost);
}

static struct memmap_finding found[512];
static struct maplint_result result;

static void lint(const struct memmap *m, const struct maplint_facts *facts)
{
    result = (struct maplint_result){ .findings = found, .max = MM_COUNTOF(found) };
    maplint_run(&result, m, facts);
    check_result(&result, m);
    assert_int_equal(result.lost, 0);
}

/* The rules that were found, "M04 M08", each once, in their order. */
static const char *rules_found(void)
{
    static char text[512];

    text[0] = '\0';
    for (size_t i = 0; i < MAPLINT_NRULES; i++) {
        for (uint32_t k = 0; k < result.n; k++) {
            if (strcmp(found[k].rule, maplint_rules[i].id) == 0) {
                strcat(text, text[0] != '\0' ? " " : "");
                strcat(text, found[k].rule);
                tripped[i] = true;
                break;
            }
        }
    }
    return text;
}

static struct maplint_facts all_known(void)
{
    return (struct maplint_facts){
        .arch = X86,
        .phys_bits = 52,
        .attr_known = UINT64_MAX,
        .raw_is_firmware = MAPLINT_YES,
        .virt_is_firmware = MAPLINT_YES,
        .key_changed = MAPLINT_NO,
    };
}

/* Lint the good map plus `n` descriptors, in order of address. Returns the rules that were found.
 */
static const char *lint_plus(const struct desc *extra, size_t n, const struct maplint_facts *facts)
{
    struct desc d[MM_COUNTOF(good) + 16];
    size_t total = 0;
    struct fixture f;

    assert_true(n <= 16);
    memcpy(d, good, sizeof(good));
    for (total = MM_COUNTOF(good); n > 0; n--, extra++, total++) {
        size_t at = total;

        for (; at > 0 && d[at - 1].start > extra->start; at--) {
            d[at] = d[at - 1];
        }
        d[at] = *extra;
    }
    build(&f, d, total);
    lint(&f.m, facts);
    drop(&f);
    return rules_found();
}

static const struct memmap_finding *the_finding(const char *rule)
{
    const struct memmap_finding *x = NULL;

    for (uint32_t i = 0; i < result.n; i++) {
        if (strcmp(found[i].rule, rule) == 0) {
            assert_null(x);
            x = &found[i];
        }
    }
    assert_non_null(x);
    return x;
}

static void hold(enum maplint_id id)
{
    held[id] = true;
}

/* ---- tests: rules about descriptors ---------------------------------------------------------- */

static void test_good_map(void **state)
{
    static const enum mapfile_arch archs[] = { MAPFILE_ARCH_UNKNOWN, X86, ARM, LOON,
                                               MAPFILE_ARCH_RISCV64 };
    struct maplint_facts facts = all_known();
    struct maplint_facts nothing = { 0 };

    (void)state;
    for (size_t i = 0; i < MM_COUNTOF(archs); i++) {
        facts.arch = archs[i];
        assert_string_equal(lint_plus(NULL, 0, &facts), "");
    }
    assert_string_equal(lint_plus(NULL, 0, &nothing), "");
    hold(MAPLINT_M01);
    hold(MAPLINT_M02);
    hold(MAPLINT_M03);
    hold(MAPLINT_M09);
}

/* Descriptors beside the good map: those of `bad` trip the rule and no other, those of `fine` none.
 */
static const struct {
    enum maplint_id id;
    const char *also; /* other rules that `bad` cannot help tripping, before or behind */
    struct desc bad[3];
    struct desc fine[3];
    enum mapfile_arch arch; /* X86 if not said */
    uint32_t phys_bits;     /* 52 if not said; 64: not known */
    bool needs_facts;       /* with nothing known the rule is silent */
} cases[] = {
    { MAPLINT_M04, "M04", { { 7, FREE_SPOT, 0, WB, 0 } }, { { 7, FREE_SPOT, 1, WB, 0 } }, 0, 0, 0 },
    { MAPLINT_M05,
      "M05",
      { { 7, UINT64_C(0xfffffffffffff000), 2, WB, 0 }, { 7, FREE_SPOT, UINT64_MAX, WB, 0 } },
      { { 7, UINT64_C(0xfffffffff0000), 0x10, WB, 0 } },
      0,
      0,
      0 },
    { MAPLINT_M06,
      "M06",
      { { 7, UINT64_C(1) << 52, 1, WB, 0 } },
      { { 7, (UINT64_C(1) << 52) - PAGE, 1, WB, 0 } },
      0,
      0,
      1 },
    { MAPLINT_M06,
      "M06",
      { { 0, 0xffffff000, 2, WB, 0 } },
      { { 0, 0xffffff000, 1, WB, 0 } },
      ARM,
      36,
      1 },
    { MAPLINT_M07,
      "M07",
      { { 7, FREE_SPOT + 0x800, 2, WB, 0 } },
      { { 7, FREE_SPOT + PAGE, 2, WB, 0 } },
      0,
      0,
      0 },
    { MAPLINT_M07,
      "M07",
      { { 7, FREE_SPOT, 2, WB, 0x800 } },
      { { 7, FREE_SPOT, 2, WB, FREE_SPOT } },
      0,
      0,
      1 },
    { MAPLINT_M08, "M08", { { 0, 0x200000, 1, WB, 0 } }, { { 0, FREE_SPOT, 1, WB, 0 } }, 0, 0, 0 },
    { MAPLINT_M10,
      "M10",
      { FREE_64K, { 7, FREE_SPOT + 16 * PAGE, 1, WB, 0 } },
      { FREE_64K,
        { 7, FREE_SPOT + 16 * PAGE, 1, WB | UC, 0 },
        { 7, FREE_SPOT + 18 * PAGE, 1, WB | UC, 0 } },
      0,
      0,
      1 },
    { MAPLINT_M11,
      "M11",
      { { 6, FREE_SPOT, 1, WB | RT, UINT64_C(0xffff800000000000) } },
      { { 6, FREE_SPOT, 1, WB | RT, FREE_SPOT }, { 6, FREE_SPOT + 2 * PAGE, 1, WB | RT, 0 } },
      0,
      0,
      1 },
    { MAPLINT_M12,
      "M12",
      { { 16, FREE_SPOT, 1, WB, 0 }, { 0x6fffffff, FREE_SPOT + 2 * PAGE, 1, WB, 0 } },
      { { 8, FREE_SPOT, 1, WB, 0 }, { 14, FREE_SPOT + 2 * PAGE, 1, WB | NV, 0 } },
      0,
      0,
      0 },
    { MAPLINT_M13,
      "M13",
      { { 0x70000000, FREE_SPOT, 1, WB, 0 }, { 0xffffffff, FREE_SPOT + 2 * PAGE, 1, WB, 0 } },
      { { 13, FREE_SPOT, 1, WB, 0 } },
      0,
      0,
      0 },
    { MAPLINT_M14,
      "M14",
      { { 5, FREE_SPOT, 1, WB, 0 }, { 6, FREE_SPOT + 2 * PAGE, 1, WB, 0 } },
      { { 5, FREE_SPOT, 1, WB | RT, 0 } },
      0,
      0,
      1 },
    { MAPLINT_M15,
      "M15",
      { { 7, FREE_SPOT, 1, WB | RT, 0 },
        { 9, FREE_SPOT + 2 * PAGE, 1, WB | RT, 0 },
        { 10, FREE_SPOT + 4 * PAGE, 1, WB | RT, 0 } },
      { { 13, FREE_SPOT, 1, WB | RT, 0 }, { 12, FREE_SPOT + 2 * PAGE, 1, UC | RT, 0 } },
      0,
      0,
      1 },
    { MAPLINT_M16,
      "M16",
      { { 0, FREE_SPOT, 1, WB | RT, 0 } },
      { { 0, FREE_SPOT, 1, WB, 0 } },
      0,
      0,
      1 },
    { MAPLINT_M17,
      "M17",
      { { 10, FREE_SPOT + PAGE, 0x10, WB, 0 }, { 6, FREE_SPOT + 0x40000, 1, WB | RT, 0 } },
      { { 10, FREE_SPOT, 0x10, WB, 0 }, { 4, FREE_SPOT + 0x21000, 1, WB, 0 } },
      LOON,
      0,
      1 },
    { MAPLINT_M17,
      "M17",
      { { 6, FREE_SPOT, 8, WB | RT, 0 }, { 0, FREE_SPOT + 8 * PAGE, 8, UC, 0 } },
      { { 6, FREE_SPOT, 8, WB | UC | RT, 0 },
        { 0, FREE_SPOT + 8 * PAGE, 8, UC, 0 },
        { 0, FREE_SPOT + 16 * PAGE, 1, WB, 0 } },
      ARM,
      0,
      1 },
    { MAPLINT_M17, /* what has no attribute at all makes no statement */
      "M17",
      { { 5, FREE_SPOT, 1, WT | WB | RT, 0 },
        { 0, FREE_SPOT + 2 * PAGE, 1, 0, 0 },
        { 0, FREE_SPOT + 4 * PAGE, 1, UC, 0 } },
      { { 5, FREE_SPOT, 1, WB | RT, 0 }, { 0, FREE_SPOT + 2 * PAGE, 1, 0, 0 } },
      ARM,
      0,
      1 },
    { MAPLINT_M17, /* only where firmware keeps a part of it */
      "M17",
      { { 0, FREE_SPOT + 0x4000, 0x30, UC, 0 }, { 4, FREE_SPOT + 0x34000, 1, WB, 0 } },
      { { 4, FREE_SPOT + 0x4000, 0x30, WB | UC, 0 }, { 2, FREE_SPOT + 0x34000, 1, WB | WT, 0 } },
      ARM,
      0,
      1 },
    { MAPLINT_M18,
      "M18",
      { { 7, FREE_SPOT, 1, UC | WC | WT, 0 },
        { 10, FREE_SPOT + 2 * PAGE, 1, UC, 0 },
        { 2, FREE_SPOT + 4 * PAGE, 1, 0, 0 } },
      { { 0, FREE_SPOT, 1, UC, 0 }, { 8, FREE_SPOT + 2 * PAGE, 1, 0, 0 } },
      0,
      0,
      1 },
    { MAPLINT_M18, /* not M19 as well */
      "M18",
      { { 6, FREE_SPOT, 1, RT, 0 } },
      { { 6, FREE_SPOT, 1, WB | RT, 0 } },
      0,
      0,
      1 },
    { MAPLINT_M19,
      "M19",
      { { 11, FREE_SPOT, 1, RT, 0 } },
      { { 11, FREE_SPOT, 1, UC | RT, 0 }, { 0, FREE_SPOT + 2 * PAGE, 1, 0, 0 } },
      0,
      0,
      1 },
    { MAPLINT_M20,
      "M20",
      { { 11, FREE_SPOT, 1, UINT64_C(0x800000000000100d), 0 },
        { 12, FREE_SPOT + 2 * PAGE, 1, UC | WT, 0 } },
      { { 11, FREE_SPOT, 1, UC | WC | RT, 0 } },
      0,
      0,
      0 },
    { MAPLINT_M21,
      "M21",
      { { 11, FREE_SPOT, 1, UC, 0 } },
      { { 12, FREE_SPOT, 1, UC, 0 } },
      0,
      0,
      1 },
    { MAPLINT_M22,
      "M22",
      { { 7, FREE_SPOT, 1, WB | UINT64_C(1) << 21, 0 },
        { 7, FREE_SPOT + 2 * PAGE, 1, WB | UINT64_C(1) << 50, 0 },
        { 7, FREE_SPOT + 4 * PAGE, 1, WB | 0x20, 0 } },
      { { 7, FREE_SPOT, 1, WB | ISA_VALID | UINT64_C(1) << 50, 0 },
        { 7, FREE_SPOT + 2 * PAGE, 1, 0x1f | WP | NV | HOTPLUG | CRYPTO, 0 } },
      0,
      0,
      0 },
    { MAPLINT_M23,
      "M23",
      { { 7, FREE_SPOT, 1, WB | XP, 0 },
        { 7, FREE_SPOT + 2 * PAGE, 1, WB | RO, 0 },
        { 7, FREE_SPOT + 4 * PAGE, 1, WB | RP, 0 } },
      { { 7, FREE_SPOT, 1, WB | WP, 0 } },
      0,
      0,
      0 },
    { MAPLINT_M24, "M24", { { 4, 0, 1, WB, 0 } }, { { 0, 0, 1, WB, 0 } }, 0, 0, 0 },
    { MAPLINT_M25,
      "M25",
      { { 4, 0x9f000, 4, WB, 0 } },
      { { 4, 0x9f000, 1, WB, 0 }, { 0, 0xa0000, 0x60, WB, 0 } },
      0,
      0,
      1 },
    { MAPLINT_M26,
      "M26",
      { { 5, 0x9f000, 1, WB | RT, 0 } },
      { { 11, 0xa0000, 1, UC | RT, 0 }, { 10, 0x9f000, 1, WB, 0 } },
      0,
      0,
      1 },
    { MAPLINT_M26, /* address 0 is special everywhere */
      "M26",
      { { 6, 0, 1, WB | RT, 0 } },
      { { 11, 0, 1, UC | RT, 0 } },
      MAPFILE_ARCH_RISCV64,
      0,
      0 },
    { MAPLINT_M27,
      "M27",
      { { 9, UINT64_C(0xfffff000), 2, WB, 0 }, { 6, 8 * GiB, 1, WB | RT, 0 } },
      { { 7, 4 * GiB, 2, WB, 0 }, { 11, 8 * GiB, 1, UC | RT, 0 } },
      0,
      0,
      1 },
    { MAPLINT_M34,
      "M34",
      { { 4, FREE_SPOT, 0x20000, WB, 0 } },
      { { 4, FREE_SPOT, 0x10000, WB, 0 } },
      0,
      0,
      0 },
    { MAPLINT_M35,
      "M35",
      { { 7, FREE_SPOT, 1, WB | SP, 0 } },
      { { 7, FREE_SPOT, 1, WB | NV, 0 } },
      0,
      0,
      0 },
    { MAPLINT_M36,
      "M36",
      { { 15, FREE_SPOT, 1, WB, 0 } },
      { { 14, FREE_SPOT, 1, WB | NV, 0 } },
      0,
      0,
      0 },
    { MAPLINT_M39,
      "M39",
      { { 11, UINT64_C(0xffffffffffffe000), 2, UC | RT, 0 } },
      { { 11, UINT64_C(0xffffffffffffe000), 1, UC | RT, 0 } },
      0,
      64,
      0 },
    { MAPLINT_M43,
      "M43",
      { { 7, FREE_SPOT, 1, WB | RELIABLE, 0 } },
      { { 7, FREE_SPOT, 1, WB, 0 } },
      0,
      0,
      0 },
};

static size_t count_descs(const struct desc d[3])
{
    size_t n = 0;

    while (n < 3 && (d[n].npages != 0 || d[n].start != 0)) {
        n++;
    }
    return n;
}

static void test_descriptor_rules(void **state)
{
    (void)state;
    for (size_t i = 0; i < MM_COUNTOF(cases); i++) {
        struct maplint_facts facts = all_known();
        struct maplint_facts nothing = { 0 };
        const char *id = maplint_rules[cases[i].id].id;
        size_t n = count_descs(cases[i].bad);

        if (cases[i].arch != MAPFILE_ARCH_UNKNOWN) {
            facts.arch = cases[i].arch;
        }
        if (cases[i].phys_bits != 0) {
            facts.phys_bits = cases[i].phys_bits % 64;
        }
        assert_true(n > 0);
        assert_string_equal(lint_plus(cases[i].bad, n, &facts), cases[i].also);
        assert_string_equal(lint_plus(cases[i].bad, n, &nothing), cases[i].needs_facts ? "" : id);
        for (size_t k = 0; k < n && n > 1; k++) { /* each by itself, where it is not the pair */
            if (cases[i].id != MAPLINT_M10 && (cases[i].id != MAPLINT_M17 || facts.arch != ARM)) {
                assert_string_equal(lint_plus(&cases[i].bad[k], 1, &facts), cases[i].also);
                assert_int_equal(result.n, 1);
                assert_int_equal(found[0].severity, maplint_rules[cases[i].id].severity);
            }
        }
        assert_string_equal(lint_plus(cases[i].fine, count_descs(cases[i].fine), &facts), "");
        hold(cases[i].id);
    }
}

/* Rules that ask for an architecture say nothing on another, and nothing if it is not known. */
static void test_architectures(void **state)
{
    static const struct {
        enum maplint_id id;
        unsigned archs; /* bit 1 << enum mapfile_arch */
    } bound[] = {
        { MAPLINT_M25, 1u << X86 },
        { MAPLINT_M26, 1u << X86 },
        { MAPLINT_M27, 1u << X86 },
        { MAPLINT_M17, 1u << ARM | 1u << LOON },
    };

    (void)state;
    for (size_t i = 0; i < MM_COUNTOF(cases); i++) {
        unsigned archs = ~0u;

        for (size_t k = 0; k < MM_COUNTOF(bound); k++) {
            archs = bound[k].id == cases[i].id && cases[i].needs_facts ? bound[k].archs : archs;
        }
        for (unsigned arch = 0; arch < MAPFILE_ARCHS; arch++) {
            struct maplint_facts facts = all_known();

            facts.arch = (enum mapfile_arch)arch;
            facts.phys_bits = cases[i].phys_bits != 0 ? cases[i].phys_bits % 64 : 52;
            lint_plus(cases[i].bad, count_descs(cases[i].bad), &facts);
            if ((archs & 1u << arch) == 0) {
                assert_null(strstr(rules_found(), maplint_rules[cases[i].id].id));
            } else if (arch != LOON) { /* whose alignment many of the cases do not have */
                assert_true(cases[i].id == MAPLINT_M17 || result.n > 0);
            }
        }
    }
}

/* ---- tests: rules about the map as a whole --------------------------------------------------- */

static void lint_raw(const void *bytes, uint64_t nbytes, uint64_t stride, uint32_t version)
{
    struct memmap_raw raw = { bytes, nbytes, stride, version };
    struct maplint_facts facts = all_known();
    struct fixture f;

    build_raw(&f, &raw);
    lint(&f.m, &facts);
    drop(&f);
}

static void test_map_rules(void **state)
{
    unsigned char bytes[130 * 48] = { 0 };
    struct maplint_facts facts = all_known();
    struct fixture f;
    struct desc d[130];

    (void)state;
    put_desc(bytes, &(struct desc){ 7, MiB, 16, WB, 0 });
    lint_raw(bytes, 48, 32, 1);
    assert_string_equal(rules_found(), "M01");
    lint_raw(bytes, 48, 44, 1);
    assert_string_equal(rules_found(), "M01");
    lint_raw(bytes, 0, 48, 1);
    assert_string_equal(rules_found(), "M02");
    lint_raw(bytes, 50, 48, 1);
    assert_string_equal(rules_found(), "M02");
    lint_raw(bytes, 48, 48, 2);
    assert_string_equal(rules_found(), "M03");
    lint_raw(bytes, 48, 48, 1);
    assert_string_equal(rules_found(), "");

    put_desc(bytes + 48, &(struct desc){ 7, MiB / 2, 16, WB, 0 });
    lint_raw(bytes, 96, 48, 1);
    assert_string_equal(rules_found(), "M09");

    /* M32, M33: many descriptors, none of which may be merged. */
    for (unsigned i = 0; i < 130; i++) {
        d[i] = (struct desc){ i % 2 != 0 ? 2 : 1, MiB + i * PAGE, 1, WB, 0 };
    }
    build(&f, d, 129);
    lint(&f.m, &facts);
    assert_string_equal(rules_found(), "M32 M33");
    facts.raw_is_firmware = MAPLINT_NO;
    lint(&f.m, &facts);
    assert_string_equal(rules_found(), "M32");
    facts.raw_is_firmware = MAPLINT_YES;
    drop(&f);
    build(&f, d, 128);
    lint(&f.m, &facts);
    assert_string_equal(rules_found(), "M33");
    hold(MAPLINT_M32);
    drop(&f);
    build(&f, d, 86); /* 4128 bytes */
    lint(&f.m, &facts);
    assert_string_equal(rules_found(), "M33");
    drop(&f);
    build(&f, d, 85); /* 4080 bytes */
    lint(&f.m, &facts);
    assert_string_equal(rules_found(), "");
    hold(MAPLINT_M33);
    drop(&f);

    /* M37 */
    facts.key_changed = MAPLINT_YES;
    assert_string_equal(lint_plus(NULL, 0, &facts), "M37");
    facts.key_changed = MAPLINT_UNKNOWN;
    assert_string_equal(lint_plus(NULL, 0, &facts), "");
    hold(MAPLINT_M37);
    facts.key_changed = MAPLINT_NO;

    /* M42: five pieces, then four; two that touch are one piece. */
    for (unsigned i = 0; i < 5; i++) {
        d[i] = (struct desc){ 7, MiB * (i + 1), 16, WB, 0 };
    }
    build(&f, d, 5);
    lint(&f.m, &facts);
    assert_string_equal(rules_found(), "M42");
    drop(&f);
    build(&f, d, 4);
    lint(&f.m, &facts);
    assert_string_equal(rules_found(), "");
    drop(&f);
    d[1].start = d[0].start + 16 * PAGE;
    d[1].attr = WB | UC;
    build(&f, d, 5);
    lint(&f.m, &facts);
    assert_string_equal(rules_found(), "");
    hold(MAPLINT_M42);
    drop(&f);

    /* M43: memory that is all the same has nothing that is more reliable. */
    d[0] = (struct desc){ 7, MiB, 16, WB | RELIABLE, 0 };
    d[1] = (struct desc){ 4, 3 * MiB, 1, WB | RELIABLE, 0 };
    d[2] = (struct desc){ 11, 4 * MiB, 1, UC | RT, 0 };
    build(&f, d, 3);
    lint(&f.m, &facts);
    assert_string_equal(rules_found(), "");
    drop(&f);
}

/* ---- tests: what lies where ------------------------------------------------------------------ */

/* Addresses in the good map by what lies there; then some that lie in no descriptor. */
static const struct {
    uint64_t at;
    int type; /* -1: in none */
} places[] = {
    { 0x200000, 7 },   { 0x40000100, 1 },  { 0x40100000, 2 }, { 0x40200000, 3 }, { 0x40300000, 4 },
    { 0x41300010, 9 }, { 0x41320000, 10 }, { 0x41340000, 5 }, { 0x41350000, 6 }, { 0x41360000, 0 },
    { 0x41370000, 8 }, { 0xe0000000, 11 }, { FREE_SPOT, -1 }, { 0xf0480, -1 },
};

/* What must be found about a table at each place: '-', 'E' for M28, 'W' for M40. */
static void test_tables(void **state)
{
    static const struct {
        const char *subject;
        const char *x86; /* one letter a place */
    } want[] = {
        { "RSDP", "EEEEE--WWWWWW-" },
        { "XSDT", "EEEEE--WWWWWW-" },
        { "FACS", "EEEEEE-WWWWWW-" },
        { "SMBIOS", "EEEE---W-WWWW-" },
    };

    (void)state;
    for (size_t t = 0; t < MM_COUNTOF(want); t++) {
        for (size_t p = 0; p < MM_COUNTOF(places); p++) {
            for (unsigned arch = 0; arch < MAPFILE_ARCHS; arch++) {
                struct maplint_facts facts = all_known();
                struct maplint_range r = { places[p].at, 36 };
                char letter = want[t].x86[p];

                if (places[p].at == 0xf0480 && arch != X86) {
                    letter = 'W';
                }
                *(t == 0   ? &facts.rsdp
                  : t == 1 ? &facts.xsdt
                  : t == 2 ? &facts.facs
                           : &facts.smbios) = r;
                facts.arch = (enum mapfile_arch)arch;
                assert_string_equal(lint_plus(NULL, 0, &facts), letter == 'E'   ? "M28"
                                                                : letter == 'W' ? "M40"
                                                                                : "");
                if (letter != '-') {
                    assert_int_equal(result.n, 1);
                    assert_string_equal(found[0].subject, want[t].subject);
                    assert_int_equal(found[0].base, r.base);
                    assert_int_equal(found[0].end, r.base + 36);
                    assert_true((found[0].desc == NONE) == (places[p].type < 0));
                    if (places[p].type >= 0) {
                        assert_int_equal(good[found[0].desc].type, places[p].type);
                    }
                }
            }
        }
    }
    hold(MAPLINT_M28);
    hold(MAPLINT_M40);

    /* A BIOS table in a BIOS's reserved memory; a table of which only the end is lost. */
    struct desc bios = { 0, 0xf0000, 0x10, WB, 0 };
    struct maplint_facts facts = all_known();
    facts.rsdp = (struct maplint_range){ 0xf0480, 36 };
    facts.smbios = (struct maplint_range){ 0xf0000, 24 };
    assert_string_equal(lint_plus(&bios, 1, &facts), "");
    facts.xsdt = (struct maplint_range){ 0x412fff00, 0x200 }; /* 4, then 9 */
    assert_string_equal(lint_plus(NULL, 0, &facts), "M28");
    assert_int_equal(the_finding("M28")->end, 0x41300000);
    facts.xsdt = (struct maplint_range){ UINT64_MAX - 3, 36 };
    assert_string_equal(lint_plus(NULL, 0, &facts), "M40");
    assert_int_equal(the_finding("M40")->end, UINT64_MAX);
}

static void test_ranges(void **state)
{
    static const char *const subjects[] = { "image", "stack", "map buffer", "hand-over" };

    (void)state;
    for (size_t p = 0; p < MM_COUNTOF(places); p++) {
        struct maplint_range r = { places[p].at, 0x1000 };
        bool ram = places[p].type >= 1 && places[p].type <= 10 && places[p].type != 8;
        bool taken = (places[p].type >= 1 && places[p].type <= 4) || places[p].type == 7 ||
                     places[p].type == 9;

        for (unsigned s = 0; s < 4; s++) {
            struct maplint_facts facts = all_known();
            bool ours = places[p].type >= 1 && places[p].type <= 4;

            *(s == 0 ? &facts.image : s == 1 ? &facts.stack : &facts.map_buffer) = r;
            if (s == 3) {
                facts.map_buffer.nbytes = 0;
                facts.handed_over = &r;
                facts.nhanded_over = 1;
            }
            assert_string_equal(lint_plus(NULL, 0, &facts), ours ? "" : "M30");
            if (!ours) {
                assert_string_equal(the_finding("M30")->subject, subjects[s]);
            }
        }
        hold(MAPLINT_M30);

        struct maplint_facts facts = all_known();
        facts.ecam = &r;
        facts.necam = 1;
        assert_string_equal(lint_plus(NULL, 0, &facts), ram                  ? "M29"
                                                        : places[p].type < 0 ? "M41"
                                                                             : "");
        facts.necam = 0;
        facts.framebuffers = &r;
        facts.nframebuffers = 1;
        assert_string_equal(lint_plus(NULL, 0, &facts), taken ? "M31" : "");
    }
    hold(MAPLINT_M29);
    hold(MAPLINT_M31);
    hold(MAPLINT_M41);

    /* A range of many regions: the first piece that matters is named. */
    struct maplint_range wide[2] = { { 0x41360000, 0x10000000 }, { 0x412f0000, 0x8000 } };
    struct maplint_facts facts = all_known();
    facts.handed_over = wide;
    facts.nhanded_over = 2;
    assert_string_equal(lint_plus(NULL, 0, &facts), "M30");
    assert_int_equal(result.n, 1);
    assert_int_equal(found[0].base, 0x41360000);
    assert_int_equal(found[0].end, 0x41370000);

    /* From a hole into a descriptor, and from a descriptor into a hole. */
    facts.nhanded_over = 1;
    wide[0] = (struct maplint_range){ 0xaffff000, 0x2000 };
    assert_string_equal(lint_plus(NULL, 0, &facts), "M30");
    assert_int_equal(found[0].base, 0xaffff000);
    assert_int_equal(found[0].end, 0xb0000000);
    assert_int_equal(found[0].desc, NONE);
    facts.nhanded_over = 0;
    facts.ecam = wide;
    facts.necam = 1;
    wide[0] = (struct maplint_range){ 0xb0ff0000, 0x20000 };
    assert_string_equal(lint_plus(NULL, 0, &facts), "M41");
    assert_int_equal(found[0].base, 0xb1000000);
    assert_int_equal(found[0].end, 0xb1010000);
}

/* A claim hides what firmware said: no rule speaks about it. */
static void test_claims(void **state)
{
    struct maplint_facts facts = all_known();
    struct maplint_range r = { 0x200000, 0x10000 };
    struct fixture f;

    (void)state;
    facts.framebuffers = &r;
    facts.nframebuffers = 1;
    facts.image = r;
    build(&f, good, MM_COUNTOF(good));
    lint(&f.m, &facts);
    assert_string_equal(rules_found(), "M30 M31");
    assert_int_equal(memmap_claim(&f.m, r.base, r.nbytes, MEMMAP_KERNEL), MM_OK);
    lint(&f.m, &facts);
    assert_string_equal(rules_found(), "");
    drop(&f);
}

/* ---- tests: the Memory Attributes Table ------------------------------------------------------ */

/* Lint the good map with a table of `n` entries of which `nbytes` can be read. */
static const char *lint_mat(const struct desc *d, uint32_t n, uint32_t version, uint32_t stride,
                            uint64_t cut)
{
    unsigned char *table = calloc(1, 16 + (uint64_t)n * 48 + 1);
    uint32_t header[4] = { version, n, stride, 0 };
    uint64_t nbytes = 16 + (uint64_t)n * stride;
    struct maplint_facts facts = all_known();
    unsigned char *exact;
    const char *rules;

    assert_non_null(table);
    memcpy(table, header, sizeof(header));
    for (uint32_t i = 0; i < n && d != NULL; i++) {
        put_desc(table + 16 + (uint64_t)i * 48, &d[i]);
    }
    nbytes = cut < nbytes ? nbytes - cut : 0;
    nbytes = nbytes < 16 + (uint64_t)n * 48 ? nbytes : 16 + (uint64_t)n * 48;
    exact = malloc(nbytes + 1);
    assert_non_null(exact);
    memcpy(exact + 1, table, nbytes); /* not aligned */
    maplint_set_mat(&facts, exact + 1, nbytes);
    rules = lint_plus(NULL, 0, &facts);
    free(exact);
    free(table);
    return rules;
}

static const char *lint_entries(const struct desc *d, uint32_t n)
{
    return lint_mat(d, n, 2, 48, 0);
}

static void test_attributes_table(void **state)
{
    const struct desc right[] = {
        { 5, 0x41340000, 4, RT | XP, 0 },
        { 5, 0x41344000, 8, RT | RO, 0 },
        { 5, 0x4134c000, 4, RT | XP | RO, 0 },
        { 6, 0x41350000, 16, RT | XP, 0 },
    };
    struct desc d[5];

#define WITH(i, field, value, rules)                                                               \
    do {                                                                                           \
        memcpy(d, right, sizeof(right));                                                           \
        d[i].field = (value);                                                                      \
        assert_string_equal(lint_entries(d, 4), (rules));                                          \
    } while (0)

    (void)state;
    assert_string_equal(lint_entries(right, 4), "");
    assert_string_equal(lint_mat(right, 4, 1, 48, 0), "");
    hold(MAPLINT_A01);
    hold(MAPLINT_A02);
    hold(MAPLINT_A03);
    hold(MAPLINT_A04);
    hold(MAPLINT_A05);
    hold(MAPLINT_A06);
    hold(MAPLINT_A07);
    hold(MAPLINT_A08);

    assert_string_equal(lint_mat(right, 4, 0, 48, 0), "A01");
    assert_string_equal(lint_mat(right, 4, 3, 48, 0), "A01");
    assert_string_equal(lint_mat(right, 4, 2, 32, 0), "A01");
    assert_string_equal(lint_mat(right, 4, 2, 44, 0), "A01");
    assert_string_equal(lint_mat(right, 4, 2, 0x7b82f97b, 0), "A01");
    assert_string_equal(lint_mat(right, 4, 2, 48, 1), "A01");
    assert_string_equal(lint_mat(right, 4, 2, 48, 4 * 48 + 1), "A01");
    assert_string_equal(lint_mat(right, 4, 2, 48, 4 * 48 + 16), "A01");
    assert_string_equal(lint_mat(NULL, 0, 2, 48, 0), "A01");

    struct maplint_facts facts = all_known();
    facts.mat = (struct memmap_raw){ right, sizeof(right), (UINT64_C(1) << 32) + 48, 2 };
    facts.mat_count = 1;
    assert_string_equal(lint_plus(NULL, 0, &facts), "A01");

    WITH(1, npages, 0, "A02");
    WITH(1, npages, UINT64_MAX, "A02");
    WITH(1, start, 0x41344800, "A02");
    WITH(1, start, 0x41343000, "A02"); /* overlaps the one before */
    WITH(1, attr, RO, "A02");
    memcpy(d, right, sizeof(right));
    d[0] = right[1];
    d[1] = right[0];
    assert_string_equal(lint_entries(d, 4), "A02");
    assert_int_equal(the_finding("A02")->base, 0x41340000);

    WITH(3, npages, 17, "A03");        /* beyond the descriptor */
    WITH(3, npages, 15, "A03");        /* not all of it */
    WITH(1, start, 0x41345000, "A02"); /* a gap, and then the next one overlaps */
    WITH(1, npages, 7, "A03");         /* a gap */
    WITH(3, type, 5, "A03");           /* the wrong type */
    WITH(3, start, FREE_SPOT, "A03 A08");
    memcpy(d, right, sizeof(right));
    d[2].npages = 20; /* one entry over two descriptors */
    assert_string_equal(lint_entries(d, 3), "A03");

    WITH(3, attr, RT, "A04");
    assert_int_equal(found[0].desc, 9);
    WITH(1, attr, RT, "A05");
    WITH(1, attr, RT | RO | XP, "");

    assert_string_equal(lint_entries(right, 3), "A08");
    assert_int_equal(the_finding("A08")->base, 0x41350000);

    memcpy(d + 1, right, sizeof(right));
    d[0] = (struct desc){ 11, 0x1000, 1, RT, 0 };
    assert_string_equal(lint_entries(d, 5), "A07");
    d[0] = (struct desc){ 0xffffffff, UINT64_MAX, UINT64_MAX, 0, 0 };
    assert_string_equal(lint_entries(d, 5), "A07");

    /* A06: 14 descriptors of 48 bytes; 42 entries are three times that, 43 are more. */
    struct desc many[43];
    memcpy(many, right, sizeof(right));
    for (unsigned i = 0; i < 40; i++) {
        many[3 + i] = (struct desc){ 6, 0x41350000 + i * PAGE, 1, RT | XP, 0 };
    }
    assert_string_equal(lint_entries(many, 19), "");
    assert_non_null(strstr(lint_entries(many, 43), "A06"));
    assert_null(strstr(lint_entries(many, 42), "A06"));
#undef WITH
}

/* ---- tests: two maps ------------------------------------------------------------------------- */

static const char *compare(const struct desc *a, size_t na, const struct desc *b, size_t nb)
{
    struct fixture fa;
    struct fixture fb;

    build(&fa, a, na);
    build(&fb, b, nb);
    result = (struct maplint_result){ .findings = found, .max = MM_COUNTOF(found) };
    maplint_compare(&result, &fa.m, &fb.m);
    check_result(&result, NULL);
    drop(&fa);
    drop(&fb);
    return rules_found();
}

static void test_two_maps(void **state)
{
    static const struct desc a[] = { { 7, MiB, 256, WB, 0 },
                                     { 5, 2 * MiB, 16, WB | RT, 0 },
                                     { 11, 0xfee00000, 1, UC | RT, 0 } };
    static const struct desc split[] = { { 11, 0xfee00000, 1, UC | RT, 0 },
                                         { 6, 2 * MiB + 8 * PAGE, 8, WB | RT, 0 },
                                         { 5, 2 * MiB, 8, WB | RT, 0 },
                                         { 4, MiB, 256, WB, 0 } };
    static const struct desc moved[] = { { 5, 2 * MiB - 2 * PAGE, 16, WB | RT, 0 },
                                         { 11, 0xfee00000, 2, UC | RT, 0 } };

    (void)state;
    assert_string_equal(compare(a, 3, a, 3), "");
    assert_string_equal(compare(a, 3, split, 4), "");
    assert_string_equal(compare(NULL, 0, NULL, 0), "");
    hold(MAPLINT_M38);
    assert_string_equal(compare(a, 3, moved, 2), "M38");
    assert_int_equal(result.n, 3);
    assert_int_equal(result.count[MEMMAP_ERROR], 3);
    assert_int_equal(found[0].base, 2 * MiB - 2 * PAGE);
    assert_int_equal(found[0].end, 2 * MiB);
    assert_string_equal(found[0].subject, "only in the second map");
    assert_int_equal(found[1].base, 2 * MiB + 14 * PAGE);
    assert_int_equal(found[1].end, 2 * MiB + 16 * PAGE);
    assert_string_equal(found[1].subject, "only in the first map");
    assert_int_equal(found[2].base, 0xfee01000);
    assert_string_equal(compare(a, 3, NULL, 0), "M38");
    assert_int_equal(result.n, 2);
}

static struct desc random_small(struct host_rng *r)
{
    static const uint64_t attrs[] = { WB, WB | RT, UC | RT, UC };

    return (struct desc){ (uint32_t)host_rng_below(r, 12), host_rng_below(r, 40) * PAGE,
                          host_rng_below(r, 6), attrs[host_rng_below(r, 4)], 0 };
}

/* Against a bit for each page; overlaps are left to the normaliser. */
static void test_two_random_maps(void **state)
{
    struct host_rng r = host_rng_make("two maps");

    (void)state;
    for (unsigned round = 0; round < 3000; round++) {
        struct desc d[2][12];
        size_t n[2];
        bool runtime[2][64];
        struct fixture f[2];

        for (unsigned k = 0; k < 2; k++) {
            n[k] = host_rng_below(&r, 13);
            for (size_t i = 0; i < n[k]; i++) {
                d[k][i] =
                    k == 1 && i < n[0] && host_rng_below(&r, 3) != 0 ? d[0][i] : random_small(&r);
            }
            build(&f[k], d[k], n[k]);
            for (unsigned p = 0; p < 64; p++) {
                const struct memmap_region *x = memmap_find(&f[k].m, p * PAGE);

                runtime[k][p] = x != NULL && (x->type == 5 || x->type == 6 || (x->attr & RT) != 0);
            }
            drop(&f[k]);
        }
        compare(d[0], n[0], d[1], n[1]);
        for (unsigned p = 0; p < 64; p++) {
            unsigned hits = 0;

            for (uint32_t i = 0; i < result.n; i++) {
                if (found[i].base <= p * PAGE && p * PAGE < found[i].end) {
                    hits++;
                    assert_string_equal(found[i].subject, runtime[0][p] ? "only in the first map"
                                                                        : "only in the second map");
                }
            }
            assert_int_equal(hits, runtime[0][p] != runtime[1][p]);
        }
        for (uint32_t i = 1; i < result.n; i++) { /* no piece is cut in two */
            assert_true(found[i - 1].end < found[i].base ||
                        (found[i - 1].end == found[i].base &&
                         strcmp(found[i - 1].subject, found[i].subject) != 0));
        }
    }
}

/* ---- tests: the list ------------------------------------------------------------------------- */

static struct desc random_desc(struct host_rng *r)
{
    uint64_t attr = host_rng_below(r, 3) == 0 ? WB : host_rng_next(r) & host_rng_next(r);

    return (struct desc){ host_rng_below(r, 20) == 0 ? (uint32_t)host_rng_next(r)
                                                     : (uint32_t)host_rng_below(r, 17),
                          host_rng_below(r, 512) * PAGE / (1 + host_rng_below(r, 2)),
                          host_rng_below(r, 30), attr, host_rng_below(r, 4) * 0x800 };
}

/* However little room there is, what is kept is the beginning of the whole list. */
static void test_room(void **state)
{
    struct host_rng r = host_rng_make("room");

    (void)state;
    for (unsigned round = 0; round < 200; round++) {
        struct memmap_finding small[512];
        struct maplint_facts facts = all_known();
        struct desc d[40];
        size_t n = host_rng_below(&r, MM_COUNTOF(d) + 1);
        struct fixture f;

        for (size_t i = 0; i < n; i++) {
            d[i] = random_desc(&r);
        }
        build(&f, d, n);
        facts.arch = (enum mapfile_arch)host_rng_below(&r, MAPFILE_ARCHS);
        result = (struct maplint_result){ .findings = found, .max = MM_COUNTOF(found) };
        maplint_run(&result, &f.m, &facts);
        check_result(&result, &f.m);
        assert_true(result.n < MM_COUNTOF(found));
        for (uint32_t max = 0; max <= result.n + 1; max++) {
            struct maplint_result less = { .findings = small, .max = max };

            memset(small, 0xa5, sizeof(small));
            maplint_run(&less, &f.m, &facts);
            check_result(&less, &f.m);
            assert_int_equal(less.n, max < result.n ? max : result.n);
            assert_int_equal(less.n + less.lost, result.n + result.lost);
            for (uint32_t i = 0; i < less.n; i++) {
                assert_int_equal(order(&less.findings[i], &found[i]), 0);
            }
            assert_memory_equal(less.count, result.count, sizeof(less.count));
        }
        drop(&f);
    }
}

/* What memmap_build() had no room for is lost here, too. */
static void test_lost_before(void **state)
{
    struct maplint_facts facts = all_known();
    struct desc d[100];
    struct fixture f;

    (void)state;
    for (unsigned i = 0; i < MM_COUNTOF(d); i++) { /* M07, M08, M12, M15 each */
        d[i] = (struct desc){ 99, 0x100800, 10, WB | RT, 0 };
    }
    build(&f, d, MM_COUNTOF(d));
    assert_true(f.m.lost_findings > 100);
    result = (struct maplint_result){ .findings = found, .max = MM_COUNTOF(found) };
    maplint_run(&result, &f.m, &facts);
    check_result(&result, &f.m);
    assert_int_equal(result.lost, f.m.lost_findings);
    drop(&f);
}

/* ---- tests: words ---------------------------------------------------------------------------- */

static void test_lookup(void **state)
{
    (void)state;
    for (size_t i = 0; i < MAPLINT_NRULES; i++) {
        const struct maplint_rule *rule = &maplint_rules[i];
        const char *texts[] = { rule->what, rule->consequence, rule->advice, rule->source };

        assert_ptr_equal(maplint_rule(rule->id), rule);
        assert_true(rule->severity <= MEMMAP_ERROR);
        for (size_t k = 0; k < MM_COUNTOF(texts); k++) {
            size_t len = texts[k] != NULL ? strlen(texts[k]) : 0;

            assert_true(len > 10 && len < 300);
            assert_null(strstr(texts[k], "  "));
            assert_null(strchr(texts[k], '\n'));
            /* Whole sentences end in a full stop, what goes into other lines does not. */
            assert_true((texts[k][len - 1] == '.') == (k == 1 || k == 2));
        }
        for (size_t k = 0; k < i; k++) {
            assert_string_not_equal(rule->id, maplint_rules[k].id);
            assert_string_not_equal(rule->what, maplint_rules[k].what);
        }
    }
    assert_string_equal(maplint_rule("m04")->id, "M04");
    assert_string_equal(maplint_rule("a08")->id, "A08");
    assert_null(maplint_rule(""));
    assert_null(maplint_rule("M"));
    assert_null(maplint_rule("M0"));
    assert_null(maplint_rule("M044"));
    assert_null(maplint_rule("M99"));
    assert_string_equal(maplint_severity_name(MEMMAP_WARN), "warning");
    assert_string_equal(maplint_severity_name(3), "unknown");
}

static const char *line_of(const struct memmap_finding *f)
{
    static char buf[512];
    struct mm_text t;
    struct mm_sink to = mm_text_sink(&t, buf, sizeof(buf));

    maplint_put_finding(&to, f);
    assert_true(t.len < sizeof(buf));
    return buf;
}

static void test_lines(void **state)
{
    struct memmap_finding f = { "M08", "it is so", NULL, MEMMAP_ERROR, 5, 7, 0x1000, 0x3000 };
    char buf[2048];
    struct mm_text t;
    struct mm_sink to = mm_text_sink(&t, buf, sizeof(buf));

    (void)state;
    assert_string_equal(line_of(&f), "error M08 at 0x1000-0x2fff, descriptor 5 and 7: it is so");
    f.other = NONE;
    f.end = UINT64_MAX;
    f.severity = MEMMAP_INFO;
    assert_string_equal(line_of(&f),
                        "info M08 at 0x1000-0xffffffffffffffff, descriptor 5: it is so");
    f.base = f.end = 0;
    f.subject = "FACS";
    assert_string_equal(line_of(&f), "info M08 at 0x0, descriptor 5: FACS: it is so");
    f.desc = NONE;
    f.subject = NULL;
    assert_string_equal(line_of(&f), "info M08: it is so");

    maplint_put_rule(&to, maplint_rule("M24"), 60);
    assert_string_equal(buf, "M24           page 0 is usable memory\n"
                             "Severity      info\n"
                             "Consequence   An allocator may return address 0, which reads\n"
                             "              as failure; null pointers hit memory in use.\n"
                             "Advice        Keep page 0 out of the pool, as GRUB and Linux\n"
                             "              do. Firmware may list it.\n"
                             "Source        GRUB, grub-core/kern/efi/mm.c; Linux,\n"
                             "              arch/x86/kernel/setup.c trim_bios_range()\n");
    for (size_t i = 0; i < MAPLINT_NRULES; i++) {
        to = mm_text_sink(&t, buf, sizeof(buf));
        maplint_put_rule(&to, &maplint_rules[i], 80);
        assert_true(t.len < sizeof(buf));
        for (const char *line = buf; *line != '\0';) {
            size_t n = strcspn(line, "\n");

            assert_true(n <= 80);
            assert_true(n > 14 && line[n - 1] != ' ');
            line += n + 1;
        }
    }
}

/* docs/lint.md lists each rule as the table has it, in its order, and no other. */
static void test_document(void **state)
{
    char line[1024];
    size_t next = 0;
    FILE *file = fopen("docs/lint.md", "r");

    (void)state;
    assert_non_null(file);
    while (fgets(line, sizeof(line), file) != NULL) {
        char want[1024];

        if (strncmp(line, "| ", 2) != 0 || maplint_rule(strtok(strcpy(want, line), "| ")) == NULL) {
            continue;
        }
        assert_true(next < MAPLINT_NRULES);
        snprintf(want, sizeof(want), "| %s | %s | %s | %s |\n", maplint_rules[next].id,
                 maplint_severity_name(maplint_rules[next].severity), maplint_rules[next].what,
                 maplint_rules[next].source);
        assert_string_equal(line, want);
        next++;
    }
    assert_int_equal(next, MAPLINT_NRULES);
    fclose(file);
}

/* ---- tests: noise, speed --------------------------------------------------------------------- */

static uint64_t noisy(struct host_rng *r)
{
    switch (host_rng_below(r, 6)) {
    case 0:
        return host_rng_below(r, 20);
    case 1:
        return host_rng_below(r, 64) * PAGE;
    case 2:
        return (uint64_t)0 - host_rng_below(r, 4) * PAGE;
    case 3:
        return UINT64_C(1) << host_rng_below(r, 64);
    case 4:
        return host_rng_below(r, 17) | RT | WB;
    default:
        return host_rng_next(r);
    }
}

static void test_noise(void **state)
{
    struct host_rng r = host_rng_make("noise");

    (void)state;
    for (unsigned round = 0; round < 6000; round++) {
        uint64_t words[2][128];
        struct maplint_range ranges[8];
        struct memmap_raw raw = { words[0], host_rng_below(&r, sizeof(words[0]) + 1),
                                  40 + 8 * host_rng_below(&r, 4), 1 };
        struct maplint_facts facts = {
            .arch = (enum mapfile_arch)host_rng_below(&r, MAPFILE_ARCHS),
            .phys_bits = (uint32_t)noisy(&r),
            .attr_known = host_rng_below(&r, 2) == 0 ? noisy(&r) : UINT64_MAX,
            .raw_is_firmware = (enum maplint_answer)host_rng_below(&r, 3),
            .virt_is_firmware = (enum maplint_answer)host_rng_below(&r, 3),
            .key_changed = (enum maplint_answer)host_rng_below(&r, 3),
        };
        struct memmap_finding kept[64];
        struct maplint_result out = { .findings = kept, .max = (uint32_t)host_rng_below(&r, 65) };
        uint64_t mat_bytes = host_rng_below(&r, sizeof(words[1]) + 1);
        void *mat = malloc(mat_bytes + 1);
        struct fixture f;

        assert_non_null(mat);
        for (unsigned i = 0; i < 128; i++) {
            words[0][i] = noisy(&r);
            words[1][i] = noisy(&r);
        }
        if (host_rng_below(&r, 2) == 0) {
            words[1][0] = 2 | host_rng_below(&r, 26) << 32;
            words[1][1] = 40;
        }
        for (unsigned i = 0; i < 8; i++) {
            ranges[i] = (struct maplint_range){ noisy(&r), noisy(&r) };
        }
        memcpy(mat, words[1], mat_bytes);
        maplint_set_mat(&facts, mat, mat_bytes);
        facts.rsdp = ranges[0];
        facts.facs = ranges[1];
        facts.image = ranges[2];
        facts.smbios = ranges[3];
        facts.ecam = facts.framebuffers = facts.handed_over = ranges;
        facts.necam = facts.nframebuffers = facts.nhanded_over = 8;
        build_raw(&f, &raw);
        maplint_run(&out, &f.m, &facts);
        check_result(&out, &f.m);
        for (uint32_t i = 0; i < out.n; i++) {
            assert_true(strlen(line_of(&kept[i])) > 10);
        }
        maplint_compare(&out, &f.m, &f.m);
        assert_int_equal(out.n + out.lost, 0);
        drop(&f);
        free(mat);
    }
}

static double since(const struct timespec *a)
{
    struct timespec b;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &b);
    return (double)(b.tv_sec - a->tv_sec) * 1e3 + (double)(b.tv_nsec - a->tv_nsec) / 1e6;
}

static void test_speed(void **state)
{
    enum { N = 100000, ROOM = 1000000 };
    static const uint32_t rooms[] = { MAPLINT_ROOM, ROOM };
    struct host_rng r = host_rng_make("speed");
    struct desc *d = malloc(N * sizeof(*d));
    struct memmap_finding *room = malloc(ROOM * sizeof(*room));
    struct maplint_facts facts = all_known();
    struct fixture f;

    (void)state;
    assert_non_null(d);
    assert_non_null(room);
    for (unsigned i = 0; i < N; i++) {
        d[i] = (struct desc){ (uint32_t)host_rng_below(&r, 16), host_rng_below(&r, 1 << 24) * PAGE,
                              1 + host_rng_below(&r, 400), WB, 0 };
    }
    build(&f, d, N);
    memset(room, 1, ROOM * sizeof(*room)); /* the kernel's page faults are not at issue */
    for (size_t i = 0; i < MM_COUNTOF(rooms); i++) {
        struct maplint_result out = { .findings = room, .max = rooms[i] };
        struct memmap_raw raw = f.m.raw;
        struct timespec a;
        double built;

        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &a);
        assert_int_equal(memmap_build(&f.m, &raw, f.storage, memmap_storage_bytes(N)), MM_OK);
        built = since(&a);
        maplint_run(&out, &f.m, &facts);
        printf("100000 random descriptors: normalised in %.1f ms, and linted in %.1f ms, %" PRIu32
               " findings and %" PRIu64 " more\n",
               built, since(&a), out.n, out.lost);
        check_result(&out, &f.m);
    }
    drop(&f);
    free(room);
    free(d);
}

/* ---- tests: maps of real machines ------------------------------------------------------------ */

/* Errors that are real; nothing else on a machine that boots may be one. */
static const struct {
    const char *file;
    const char *rule;
    uint32_t n;
} real_errors[] = {
    { "lenovo-thinkpad-x240-8g.dmesg.txt", "M04", 7 },
    { "nxp-lx2160a-clearfog-uboot.freebsd.txt", "M07", 1 },
};

static void check_real_map(const char *path, const char *name)
{
    static struct efi_memory_descriptor descs[4096];
    static char bytes[1 << 20];
    struct maplint_facts facts = { 0 };
    struct mapfile file;
    struct memmap_raw raw;
    struct fixture f;
    FILE *in = fopen(path, "r");
    size_t nbytes;

    assert_non_null(in);
    nbytes = fread(bytes, 1, sizeof(bytes), in);
    fclose(in);
    assert_int_equal(mapfile_read(&file, bytes, nbytes, 0, descs, NULL, MM_COUNTOF(descs)), MM_OK);
    raw = (struct memmap_raw){ descs, file.ndescs * sizeof(descs[0]), sizeof(descs[0]), 1 };
    facts.arch = file.arch;
    facts.attr_known = file.attr_known;
    build_raw(&f, &raw);
    lint(&f.m, &facts);
    printf("  %-42s %3" PRIu64 " errors, %3" PRIu64 " warnings, %3" PRIu64 " infos: %s\n", name,
           result.count[MEMMAP_ERROR], result.count[MEMMAP_WARN], result.count[MEMMAP_INFO],
           rules_found());
    for (size_t i = 0; i < MM_COUNTOF(real_errors); i++) {
        if (strcmp(name, real_errors[i].file) == 0) {
            assert_int_equal(result.count[MEMMAP_ERROR], real_errors[i].n);
            for (uint32_t k = 0; k < real_errors[i].n; k++) {
                assert_string_equal(found[k].rule, real_errors[i].rule);
            }
            result.count[MEMMAP_ERROR] = 0;
        }
    }
    assert_int_equal(result.count[MEMMAP_ERROR], 0);
    drop(&f);
}

static void test_real_maps(void **state)
{
    const char *folder =
        getenv("PLAT_MAPS") != NULL ? getenv("PLAT_MAPS") : "../shared/firmware/maps";
    struct dirent **names = NULL;
    int n = scandir(folder, &names, NULL, alphasort);

    (void)state;
    if (n < 0) {
        printf("no folder %s (PLAT_MAPS): collected maps not tested\n", folder);
        skip();
        return;
    }
    for (int i = 0; i < n; i++) {
        const char *suffix = strrchr(names[i]->d_name, '.');

        if (suffix != NULL && strcmp(suffix, ".txt") == 0) {
            char path[1024];

            snprintf(path, sizeof(path), "%s/%s", folder, names[i]->d_name);
            check_real_map(path, names[i]->d_name);
        }
        free(names[i]);
    }
    free(names);
}

/* The last test: has every rule been seen, and been seen silent? */
static void test_all_rules_seen(void **state)
{
    (void)state;
    for (size_t i = 0; i < MAPLINT_NRULES; i++) {
        if (!tripped[i] || !held[i]) {
            fail_msg("rule %s: tripped %d, held %d", maplint_rules[i].id, tripped[i], held[i]);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good_map),       cmocka_unit_test(test_descriptor_rules),
        cmocka_unit_test(test_architectures),  cmocka_unit_test(test_map_rules),
        cmocka_unit_test(test_tables),         cmocka_unit_test(test_ranges),
        cmocka_unit_test(test_claims),         cmocka_unit_test(test_attributes_table),
        cmocka_unit_test(test_two_maps),       cmocka_unit_test(test_two_random_maps),
        cmocka_unit_test(test_room),           cmocka_unit_test(test_lost_before),
        cmocka_unit_test(test_lookup),         cmocka_unit_test(test_lines),
        cmocka_unit_test(test_document),       cmocka_unit_test(test_noise),
        cmocka_unit_test(test_speed),          cmocka_unit_test(test_real_maps),
        cmocka_unit_test(test_all_rules_seen),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
