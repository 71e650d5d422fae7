/*
 * fuzz_maplint.c - lint under libFuzzer: two maps, a Memory Attributes Table and facts out of one
 * input. The lists must be in order, complete, and of the table's rules, and the map as a terminal
 * shows it must agree; the rest is for the sanitizers to see.
 *
 * Input: struct knobs, the first map, the table, and what is left as the second map. What is
 * missing is zero.
 */
#include <stdlib.h>
#include <string.h>

#include "mm/maplint.h"
#include "mm/mapshow.h"

#define MAX_FINDINGS 255
#define SHOWN        8 /* one input in so many: text takes long */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct knobs {
    uint8_t room;
    uint8_t stride; /* 40 + 8 * (stride % 8), or the byte itself if that is below 40 */
    uint16_t map_bytes;
    uint16_t mat_bytes;
    uint8_t arch;
    uint8_t answers;
    uint32_t version;
    uint32_t phys_bits;
    uint64_t attr_known;
    struct maplint_range ranges[8];
};

struct map {
    struct memmap m;
    void *bytes;
    void *storage;
};

static void check(bool good)
{
    if (!good) {
        abort();
    }
}

/* `n` bytes of the input in an allocation of their own, so that one too many is seen. */
static void *take(const uint8_t **data, size_t *size, size_t n)
{
    n = n < *size ? n : *size;
    void *p = malloc(n + 1);

    check(p != NULL);
    memcpy((uint8_t *)p + 1, *data, n);
    *data += n;
    *size -= n;
    return p;
}

static void build(struct map *map, const uint8_t **data, size_t *size, size_t n, uint64_t stride,
                  uint32_t version)
{
    size_t before = *size;
    struct memmap_raw raw = { .stride = stride, .version = version };

    map->bytes = take(data, size, n);
    raw.bytes = (uint8_t *)map->bytes + 1;
    raw.nbytes = before - *size;

    uint64_t ndescs = stride >= 40 && stride % 8 == 0 ? raw.nbytes / stride : 0;
    map->storage = malloc(memmap_storage_bytes(ndescs));
    check(map->storage != NULL);
    check(memmap_build(&map->m, &raw, map->storage, memmap_storage_bytes(ndescs)) == MM_OK);
    check(memmap_check(&map->m) == NULL);
}

static void drop(struct map *map)
{
    free(map->bytes);
    free(map->storage);
}

static void write_nowhere(void *ctx, const char *s, size_t n)
{
    size_t *len = ctx;

    check(n > 0 && s[0] != '\0' && s[n - 1] != '\0');
    *len += n;
}

/* Lines for a terminal: nothing in them is a command to it but colours, if it has any. */
static void write_line(void *ctx, const char *s, size_t n)
{
    const bool *colour = ctx;

    check(n > 0);
    for (size_t i = 0; i < n; i++) {
        check((s[i] >= ' ' && s[i] <= '~') || s[i] == '\n' || (s[i] == '\033' && *colour));
    }
}

static void show(const struct memmap *m, const struct maplint_result *lint, const struct knobs *k)
{
    bool colour = k->answers % 2 != 0;
    struct mapshow shown = { .map = m, .colour = colour, .attr_known = k->attr_known };
    struct mm_sink to = { write_line, &colour };
    uint64_t addr = k->ranges[0].base;

    check(mapshow_put_at(&to, &shown, lint, addr) == (memmap_find(m, addr) != NULL));
    mapshow_put_bar(&to, &shown, 1 + k->room % MAPSHOW_MAX_COLUMNS);
    mapshow_put_count(&to, lint);
}

/* The rule of a finding; its id must be the table's own text. */
static const struct maplint_rule *rule_of(const struct memmap_finding *f)
{
    for (size_t i = 0; i < MAPLINT_NRULES; i++) {
        if (maplint_rules[i].id == f->rule) {
            return &maplint_rules[i];
        }
    }
    abort();
}

/* `m` is NULL for a list over two maps. */
static void check_list(const struct maplint_result *out, const struct memmap *m)
{
    uint64_t all = m != NULL ? m->lost_findings : 0;

    check(out->n <= out->max);
    for (size_t i = 0; i < MM_COUNTOF(out->count); i++) {
        all += out->count[i];
    }
    check(all == out->n + out->lost);
    for (uint32_t i = 0; i < out->n; i++) {
        const struct memmap_finding *f = &out->findings[i];
        const struct maplint_rule *rule = rule_of(f);

        check(f->what == rule->what && f->severity == rule->severity);
        check(f->base <= f->end);
        check(f->desc == MEMMAP_NODESC || (m != NULL && f->desc < m->ndescs));
        check(f->other == MEMMAP_NODESC || (m != NULL && f->other < m->ndescs));
        check(i == 0 || f[-1].severity > f->severity ||
              (f[-1].severity == f->severity && f[-1].base <= f->base));
    }
    if (out->n > 0) {
        size_t len = 0;
        struct mm_sink to = { write_nowhere, &len };

        maplint_put_finding(&to, &out->findings[out->n - 1]);
        check(len > 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct memmap_finding all[1 << 14];
    static struct memmap_finding some[MAX_FINDINGS];
    struct knobs k = { 0 };
    struct map first;
    struct map second;

    memcpy(&k, data, size < sizeof(k) ? size : sizeof(k));
    data += size < sizeof(k) ? size : sizeof(k);
    size -= size < sizeof(k) ? size : sizeof(k);

    uint64_t stride = k.stride < 40 ? k.stride : 40 + 8 * (k.stride % 8u);
    build(&first, &data, &size, k.map_bytes, stride, k.version);

    size_t left = size;
    void *mat = take(&data, &size, k.mat_bytes);
    struct maplint_facts facts = {
        .arch = (enum mapfile_arch)(k.arch % MAPFILE_ARCHS),
        .phys_bits = k.phys_bits,
        .attr_known = k.attr_known,
        .raw_is_firmware = (enum maplint_answer)(k.answers % 3),
        .virt_is_firmware = (enum maplint_answer)(k.answers / 3 % 3),
        .key_changed = (enum maplint_answer)(k.answers / 9 % 3),
        .rsdp = k.ranges[0],
        .xsdt = k.ranges[1],
        .facs = k.ranges[2],
        .smbios = k.ranges[3],
        .image = k.ranges[4],
        .stack = k.ranges[5],
        .map_buffer = k.ranges[6],
        .handed_over = &k.ranges[4],
        .nhanded_over = 4,
        .ecam = &k.ranges[2],
        .necam = 4,
        .framebuffers = &k.ranges[6],
        .nframebuffers = 2,
    };
    if (k.answers / 27 % 2 == 0) {
        maplint_set_mat(&facts, (uint8_t *)mat + 1, left - size);
    }
    build(&second, &data, &size, size, stride, k.version);

    struct maplint_result whole = { .findings = all, .max = MM_COUNTOF(all) };
    struct maplint_result part = { .findings = some, .max = k.room };
    maplint_run(&whole, &first.m, &facts);
    maplint_run(&part, &first.m, &facts);
    check_list(&whole, &first.m);
    check_list(&part, &first.m);
    check(whole.n == whole.max || whole.lost == first.m.lost_findings);
    check(part.n + part.lost == whole.n + whole.lost);
    for (uint32_t i = 0; i < part.n; i++) {
        check(some[i].rule == all[i].rule && some[i].base == all[i].base &&
              some[i].end == all[i].end && some[i].desc == all[i].desc);
    }

    if (k.room % SHOWN == 0) {
        show(&first.m, &whole, &k);
    }

    maplint_compare(&part, &first.m, &second.m);
    check_list(&part, NULL);
    maplint_compare(&part, &second.m, &second.m);
    check(part.n + part.lost == 0);

    drop(&first);
    drop(&second);
    free(mat);
    return 0;
}
