/*
 * fragdemo.c - the textbook case of external fragmentation, played on two allocators and drawn.
 *
 * The play knows who was given which frame; whether a frame is free it asks the allocator each
 * time. So the picture can't tell a nicer story than the one that happens: a frame in use that was
 * given to nobody is drawn as '?'.
 *
 * Why ours ends better: blocks begin at multiples of their size. A pair then lies in one group of
 * four, so it can break up only that one, and its going makes it whole. The textbook's lowest fit
 * puts B behind A, across two groups, and everything after it, too.
 */
#include "lib/fragdemo.h"

#include "lib/fmt.h"

#define GROUP      4u /* frames drawn close together: they would make a block of that size */
#define LINE_BYTES 640u
#define CAPTION    24 /* columns */

#define STYLE_OFF "\033[0m"
#define STYLE_DIM "\033[90m"
#define STYLE_BAD "\033[1;31m"

static const struct request {
    char name;
    unsigned count; /* frames wanted; 0: what `name` has is given back */
} story[] = {
    { 'A', 2 }, { 'B', 4 }, { 'C', 4 }, { 'D', 4 }, { 'A', 0 }, { 'E', 4 },
};

/* By name: 'A', 'B', ... */
static const char *const colours[] = {
    "\033[97;41m", "\033[30;42m", "\033[97;44m", "\033[97;45m", "\033[30;46m",
};

/* One performance. */
struct play {
    const struct fragdemo_allocator *a;
    const struct demo_screen *s;
    char owner[FRAGDEMO_FRAMES]; /* who was given the frame */
};

/* ---- the textbook's allocator ------------------------------------------------------------------ */

static bool textbook_take(void *ctx, unsigned count, unsigned *first)
{
    struct fragdemo_textbook *t = ctx;

    for (unsigned i = 0, run = 0; i < FRAGDEMO_FRAMES; i++) {
        run = t->used[i] ? 0 : run + 1;
        if (run == count) {
            *first = i + 1 - count;
            for (unsigned j = *first; j <= i; j++) {
                t->used[j] = true;
            }
            return true;
        }
    }
    return false;
}

static void textbook_give(void *ctx, unsigned first, unsigned count)
{
    struct fragdemo_textbook *t = ctx;

    for (unsigned i = first; i < first + count; i++) {
        t->used[i] = false;
    }
}

static bool textbook_is_free(void *ctx, unsigned frame)
{
    const struct fragdemo_textbook *t = ctx;

    return !t->used[frame];
}

struct fragdemo_allocator fragdemo_textbook(struct fragdemo_textbook *t)
{
    return (struct fragdemo_allocator){ textbook_take, textbook_give, textbook_is_free, t };
}

/* ---- ours -------------------------------------------------------------------------------------- */

static unsigned order_of(unsigned count)
{
    unsigned order = 0;

    while (1u << order < count) {
        order++;
    }
    return order;
}

static bool pool_take(void *ctx, unsigned count, unsigned *first)
{
    const struct fragdemo_pool *p = ctx;
    pfn_t pfn = pmm_get(p->pmm, order_of(count), 0);

    if (pfn_is_none(pfn)) {
        return false;
    }
    *first = (unsigned)(pfn.v - p->base);
    return true;
}

static void pool_give(void *ctx, unsigned first, unsigned count)
{
    const struct fragdemo_pool *p = ctx;

    pmm_put(p->pmm, pfn_make(p->base + first), order_of(count));
}

static bool pool_is_free(void *ctx, unsigned frame)
{
    const struct fragdemo_pool *p = ctx;

    return pmm_get_state(p->pmm, pfn_make(p->base + frame)) == PMM_FREE;
}

struct fragdemo_allocator fragdemo_pool(struct fragdemo_pool *p)
{
    return (struct fragdemo_allocator){ pool_take, pool_give, pool_is_free, p };
}

/* A map as it would come of firmware with no more memory than that. */
static void make_map(struct memmap *m, struct memmap_region *r, uint64_t base)
{
    *r = (struct memmap_region){
        .base = base << MM_PAGE_SHIFT,
        .end = (base + FRAGDEMO_FRAMES) << MM_PAGE_SHIFT,
        .attr = EFI_MA_WB,
        .kind = MEMMAP_FREE,
        .type = EFI_MT_CONVENTIONAL,
    };
    *m = (struct memmap){ .ndescs = 1, .regions = r, .nregions = 1, .max_regions = 1 };
}

uint64_t fragdemo_pool_bytes(uint64_t base, unsigned ncpus)
{
    struct memmap_region r;
    struct memmap m;

    make_map(&m, &r, base);
    return pmm_storage_bytes(&m, PMM_GENERAL, ncpus);
}

mm_err_t fragdemo_pool_init(struct fragdemo_pool *p, uint64_t base, unsigned ncpus, void *storage,
                            uint64_t nbytes)
{
    struct memmap_region r;
    struct memmap m;

    make_map(&m, &r, base);
    p->base = base;
    return pmm_init(&p->pmm, &m, PMM_GENERAL, ncpus, storage, nbytes);
}

/* ---- drawing ----------------------------------------------------------------------------------- */

static void draw_numbers(const struct play *p)
{
    char text[LINE_BYTES];
    size_t n = fmt_s(text, sizeof(text), STYLE_DIM "%*s", CAPTION, "");

    for (unsigned i = 0; i < FRAGDEMO_FRAMES; i++) {
        n += fmt_s(text + n, sizeof(text) - n, "%s%2u ", i % GROUP == 0 ? " " : "", i);
    }
    fmt_s(text + n, sizeof(text) - n, STYLE_OFF);
    p->s->line(p->s->ctx, text);
}

static void draw(const struct play *p, const char *style, const char *caption)
{
    char text[LINE_BYTES];
    size_t n = fmt_s(text, sizeof(text), "%s%-*s" STYLE_OFF, style, CAPTION, caption);

    for (unsigned i = 0; i < FRAGDEMO_FRAMES; i++) {
        bool free = p->a->is_free(p->a->ctx, i);
        char c = free ? '.' : p->owner[i] != '\0' ? p->owner[i] : '?';

        n += fmt_s(text + n, sizeof(text) - n, "%s%s %c " STYLE_OFF, i % GROUP == 0 ? " " : "",
                   c >= 'A' ? colours[c - 'A'] : STYLE_DIM, c);
    }
    p->s->line(p->s->ctx, text);
}

/* ---- the play ---------------------------------------------------------------------------------- */

/* What `name` has, given back. */
static void give_back(struct play *p, char name)
{
    unsigned first = FRAGDEMO_FRAMES, count = 0;
    char caption[CAPTION + 1];

    for (unsigned i = 0; i < FRAGDEMO_FRAMES; i++) {
        if (p->owner[i] == name) {
            first = mm_min(first, i);
            count++;
            p->owner[i] = '\0';
        }
    }
    p->a->give(p->a->ctx, first, count);
    fmt_s(caption, sizeof(caption), "%c gives back its %u", name, count);
    draw(p, "", caption);
}

/* False if it was refused. */
static bool take(struct play *p, char name, unsigned count)
{
    char caption[CAPTION + 1];
    unsigned first;
    bool good = p->a->take(p->a->ctx, count, &first);

    for (unsigned i = 0; good && i < count; i++) {
        p->owner[first + i] = name;
    }
    fmt_s(caption, sizeof(caption), good ? "%c takes %u" : "%c wants %u: refused", name, count);
    draw(p, good ? "" : STYLE_BAD, caption);
    return good;
}

static void count_free(const struct play *p, struct fragdemo_end *end)
{
    *end = (struct fragdemo_end){ .free = 0 };
    for (unsigned i = 0, run = 0; i < FRAGDEMO_FRAMES; i++) {
        run = p->a->is_free(p->a->ctx, i) ? run + 1 : 0;
        end->free += run != 0;
        end->longest_run = run > end->longest_run ? run : end->longest_run;
    }
}

bool fragdemo_play(const struct fragdemo_allocator *a, const struct demo_screen *s,
                   struct fragdemo_end *end)
{
    struct play p = { .a = a, .s = s };

    draw_numbers(&p);
    draw(&p, "", "all are free");
    for (size_t i = 0; i < MM_COUNTOF(story); i++) {
        if (!s->pause(s->ctx)) {
            return false;
        }
        count_free(&p, end);
        if (story[i].count == 0) {
            give_back(&p, story[i].name);
        } else {
            end->refused = !take(&p, story[i].name, story[i].count);
        }
    }
    return true;
}
