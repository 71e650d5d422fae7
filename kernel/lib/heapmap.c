/*
 * heapmap.c - a heap as a strip.
 *
 * The blocks are walked once for their extent, once or twice for the size of a piece, and once to
 * draw them. Memory of the heap's own, between an arena's start and its first block, is drawn as
 * nothing, as is what belongs to others.
 *
 * 12 digits of an address stand before a line: with 64 pieces that leaves a terminal of 80 columns
 * three, and all arenas of a heap lie in one half of the address space.
 */
#include "lib/heapmap.h"

#include "lib/fmt.h"

#define MIN_CELL   16u
#define LINE_BYTES 1024u

#define STYLE_OFF  "\033[0m"
#define STYLE_DIM  "\033[90m"
#define ON(colour) "\033[30;" colour "m"

enum what { FREE, TOP, USED, WHATS };
enum look { IS_FREE, IS_TOP, IS_USED, SOME_USED, MUCH_USED, NOTHING, LOOKS };

static const struct {
    const char *style, *sample, *name;
} looks[LOOKS] = {
    [IS_FREE] = { ON("42"), ".", "free" },
    [IS_TOP] = { ON("46"), "_", "free to the end" },
    [IS_USED] = { ON("104"), "#", "in use" },
    [SOME_USED] = { ON("102"), "1-4", "tenths in use" },
    [MUCH_USED] = { ON("103"), "5-9", "half or more" },
    [NOTHING] = { STYLE_OFF, " ", "" },
};

struct drawing {
    void (*line)(void *ctx, const char *text); /* NULL: lines are only counted */
    void *ctx;
    uint64_t cell; /* bytes a character */
    uint64_t row;  /* where the current line begins */
    unsigned nrows;
    uint64_t holds[HEAPMAP_COLS][WHATS];
    bool seen[LOOKS];
    struct heapmap_block last; /* held back until it is known what follows; nbytes of 0: none */
};

static uint64_t line_bytes(const struct drawing *d)
{
    return d->cell * HEAPMAP_COLS;
}

static enum look look_of(const uint64_t holds[WHATS], char *letter)
{
    uint64_t unused = holds[FREE] + holds[TOP];
    unsigned tenths;

    if (holds[USED] != 0 && unused != 0) {
        tenths = (unsigned)mm_max(1, holds[USED] * 10 / (holds[USED] + unused));
        *letter = (char)('0' + tenths);
        return tenths < 5 ? SOME_USED : MUCH_USED;
    }
    if (holds[USED] != 0) {
        *letter = '#';
        return IS_USED;
    }
    *letter = unused == 0 ? ' ' : holds[TOP] > holds[FREE] ? '_' : '.';
    return unused == 0 ? NOTHING : holds[TOP] > holds[FREE] ? IS_TOP : IS_FREE;
}

static void end_row(struct drawing *d)
{
    char text[LINE_BYTES], letter;
    enum look now, before = NOTHING;
    size_t n;

    if (d->nrows == 0 || d->line == NULL) {
        return;
    }
    n = fmt_s(text, sizeof(text), "%012llx ", (unsigned long long)(d->row & 0xffffffffffff));
    for (unsigned i = 0; i < HEAPMAP_COLS; i++) {
        now = look_of(d->holds[i], &letter);
        n += fmt_s(text + n, sizeof(text) - n, "%s%c", now != before ? looks[now].style : "",
                   letter);
        d->seen[now] = true;
        before = now;
    }
    fmt_s(text + n, sizeof(text) - n, STYLE_OFF);
    d->line(d->ctx, text);
    __builtin_memset(d->holds, 0, sizeof(d->holds));
}

/* Have a line for `at`, which is not before the current one. */
static void go_to(struct drawing *d, uint64_t at)
{
    char text[64], size[FMT_BYTES_MAX];
    uint64_t end = d->row + line_bytes(d);

    if (d->nrows != 0 && at < end) {
        return;
    }
    end_row(d);
    if (d->nrows != 0 && at >= end + d->cell && d->line != NULL) {
        fmt_s(text, sizeof(text), STYLE_DIM "%12s %s without blocks" STYLE_OFF, ":",
              fmt_bytes(size, mm_align_down(at, d->cell) - end));
        d->line(d->ctx, text);
    }
    d->row = mm_align_down(at, d->cell);
    d->nrows++;
}

static void add(struct drawing *d, const struct heapmap_block *b, enum what what)
{
    for (uint64_t at = b->at, end = b->at + b->nbytes; at < end;) {
        uint64_t stop;

        go_to(d, at);
        stop = mm_min(end, mm_align_down(at, d->cell) + d->cell);
        d->holds[(at - d->row) / d->cell][what] += stop - at;
        at = stop;
    }
}

/* `next` is NULL at the end. */
static bool add_last(struct drawing *d, const struct heapmap_block *next)
{
    bool ends = next == NULL || next->first;

    if (d->last.nbytes != 0) {
        add(d, &d->last, d->last.used ? USED : ends ? TOP : FREE);
    }
    return d->line != NULL || d->nrows <= HEAPMAP_ROWS;
}

static bool take_block(void *to, const struct heapmap_block *b)
{
    struct drawing *d = to;
    bool go_on = add_last(d, b);

    d->last = *b;
    return go_on;
}

static void walk(const struct heapmap_source *src, struct drawing *d)
{
    d->nrows = 0;
    d->last.nbytes = 0;
    src->for_each(src, take_block, d);
    add_last(d, NULL);
    end_row(d);
}

static bool add_size(void *to, const struct heapmap_block *b)
{
    *(uint64_t *)to += b->nbytes;
    return true;
}

/* What the characters mean, of those that were drawn. */
static void legend(const struct drawing *d)
{
    char text[256];
    size_t n = 0;

    for (unsigned i = 0; i < NOTHING; i++) {
        if (d->seen[i]) {
            n += fmt_s(text + n, sizeof(text) - n, "%s%s%s" STYLE_OFF " %s", n != 0 ? "  " : "",
                       looks[i].style, looks[i].sample, looks[i].name);
        }
    }
    d->line(d->ctx, text);
}

void heapmap_draw(const struct heapmap_source *src, void (*line)(void *ctx, const char *text),
                  void *ctx)
{
    struct drawing d = { .cell = MIN_CELL };
    char cell[FMT_BYTES_MAX], whole[FMT_BYTES_MAX], text[96];
    uint64_t total = 0;

    src->for_each(src, add_size, &total);
    if (total == 0) {
        return;
    }
    while (line_bytes(&d) * HEAPMAP_ROWS < total) {
        d.cell *= 2;
    }
    for (walk(src, &d); d.nrows > HEAPMAP_ROWS; walk(src, &d)) {
        d.cell *= 2;
    }
    __builtin_memset(d.holds, 0, sizeof(d.holds));
    d.line = line;
    d.ctx = ctx;
    fmt_s(text, sizeof(text), STYLE_DIM "a character is %s, a line %s" STYLE_OFF,
          fmt_bytes(cell, d.cell), fmt_bytes(whole, line_bytes(&d)));
    line(ctx, text);
    walk(src, &d);
    legend(&d);
}
