/*
 * draw_picture.c - the picture as it is without a script, which is how the script begins with it.
 *
 * From left to right: the whole address space on the linear scale, with sizes beside it; bands that
 * lead to the even scale, where every region can be seen; marks for findings and tables; labels, as
 * many as there is room for. Of two maps there are two bars on each scale, with the changes as
 * bands between them.
 *
 * draw.js draws the same whenever something moves. What it needs to know of the lay-out is in the
 * attributes of the groups; what is here and there twice, the merging of what is too thin and the
 * choice of labels, a test compares.
 */
#include "draw.h"

#include <stdlib.h>
#include <string.h>

#define TOP           16  /* of the scales, in the picture */
#define WIDTH         900 /* of the picture */
#define AXIS_X        92  /* right end of what is written beside the linear scale */
#define BAR_X         96  /* the bars on the linear scale */
#define BAR_WIDTH     30
#define BAND_WIDTH    70 /* between the scales */
#define COLUMN_WIDTH  84 /* a bar on the even scale; one of two */
#define COLUMN_OF_TWO 64
#define CHANGE_WIDTH  84 /* between two of these */
#define FINDING_GAP   11 /* from the last column to the marks of findings, tables and to labels */
#define MARK_GAP      24
#define LEADER_GAP    32
#define LABEL_GAP     52
#define LABEL_HEIGHT  14
#define MARK_HEIGHT   11
#define TEXT_DROP     4                   /* from the middle of a line to where its letters stand */
#define THIN          (DRAW_UNIT * 3 / 4) /* less is merged with its neighbours */

/* ---- numbers --------------------------------------------------------------------------------- */

/* Pixels, with two digits. */
static void put_pixels(const struct mm_sink *to, int32_t v)
{
    int32_t hundredths = (v + (v < 0 ? -DRAW_UNIT : DRAW_UNIT) / 200) / (DRAW_UNIT / 100);

    say(to, "%s%d.%02d", hundredths < 0 ? "-" : "", abs(hundredths) / 100, abs(hundredths) % 100);
}

/* A number as attribute: ` y="12.00"`. */
static void put_attribute(const struct mm_sink *to, const char *name, int32_t v)
{
    say(to, " %s=\"", name);
    put_pixels(to, v);
    say(to, "\"");
}

static int32_t px(int32_t pixels)
{
    return pixels * DRAW_UNIT;
}

static int32_t column_width(const struct drawing *d)
{
    return px(d->nmaps > 1 ? COLUMN_OF_TWO : COLUMN_WIDTH);
}

/* Left edge of the column of map `k`. */
static int32_t column_x(uint32_t k)
{
    return px(BAR_X + BAR_WIDTH + BAND_WIDTH + (int32_t)k * (COLUMN_OF_TWO + CHANGE_WIDTH));
}

static int32_t columns_end(const struct drawing *d)
{
    return column_x(d->nmaps - 1) + column_width(d);
}

/* ---- runs: an item, or several that are too thin to be seen alone ---------------------------- */

struct run {
    uint32_t first; /* items */
    uint32_t count;
    uint32_t most; /* the item that speaks for all: of the kind of which there is most */
    struct draw_span at;
};

enum scale { EVEN, LINEAR };

static struct draw_span span_on(const struct draw_item *item, enum scale scale)
{
    return scale == EVEN ? item->even : item->linear;
}

/* What an item counts as. On the even scale a hole is beaten by any region. */
static uint32_t slot_of(const struct draw_item *item)
{
    return item->region != NULL ? item->region->kind : MEMMAP_KINDS;
}

/* The run that begins at item `first`. */
static struct run run_at(const struct draw_map *m, uint32_t first, enum scale scale)
{
    int32_t heights[MEMMAP_KINDS + 1] = { 0 };
    uint32_t last_of[MEMMAP_KINDS + 1] = { 0 };
    uint32_t most = MEMMAP_KINDS;
    struct run run = { .first = first, .at = span_on(&m->items[first], scale) };

    do {
        const struct draw_item *item = &m->items[first + run.count];
        struct draw_span at = span_on(item, scale);
        uint32_t slot = slot_of(item);

        /* What can be seen stands alone. */
        if (run.count > 0 && at.to - at.from >= THIN) {
            break;
        }
        heights[slot] += at.to - at.from;
        last_of[slot] = first + run.count;
        run.at.to = at.to;
        run.count++;
        if (scale == EVEN && most == MEMMAP_KINDS) {
            most = slot;
        } else if (heights[slot] > heights[most] && (scale == LINEAR || item->region != NULL)) {
            most = slot;
        }
    } while (run.at.to - run.at.from < THIN && first + run.count < m->nitems);
    run.most = last_of[most];
    return run;
}

/* "0x1000 - 0x9ffff, 636.0 KiB, free": what shows when the pointer rests there. */
static void put_run_title(const struct mm_sink *to, const struct draw_map *m, const struct run *run)
{
    const struct draw_item *first = &m->items[run->first];
    const struct draw_item *last = &m->items[run->first + run->count - 1];
    struct size_text size;

    say(to, "<title>0x%llx \xe2\x80\x93 0x%llx, %s, ", (unsigned long long)first->base,
        (unsigned long long)last->last, size_text(&size, last->last - first->base + 1));
    if (run->count > 1) {
        say(to, "%u regions and holes, mostly ", run->count);
    }
    say(to, "%s</title>", draw_item_name(&m->items[run->most]));
}

static void put_column(const struct drawing *d, uint32_t k)
{
    const struct draw_map *m = &d->maps[k];
    const struct mm_sink *to = d->to;
    struct run run;

    say(to, "<g class=\"column\" data-map=\"%u\" data-x=\"%d\">\n", k, column_x(k) / DRAW_UNIT);
    for (uint32_t i = 0; i < m->nitems; i += run.count) {
        int32_t height;

        run = run_at(m, i, EVEN);
        height = run.at.to - run.at.from;
        say(to, "<rect class=\"");
        draw_put_class(to, &m->items[run.most]);
        say(to, "\"");
        put_attribute(to, "x", column_x(k));
        put_attribute(to, "y", px(TOP) + run.at.from);
        put_attribute(to, "width", column_width(d));
        /* Neighbours are told apart by a hair between them, if there is room for it. */
        put_attribute(to, "height", height >= px(2) ? height - DRAW_UNIT / 2 : height);
        say(to, ">");
        put_run_title(to, m, &run);
        say(to, "</rect>\n");
    }
    say(to, "</g>\n");
}

/* A over the one column, B over the other. */
static void put_letters(const struct drawing *d)
{
    say(d->to, "<g class=\"letters\">");
    for (uint32_t k = 0; k < d->nmaps; k++) {
        say(d->to, "<text");
        put_attribute(d->to, "x", column_x(k) + column_width(d) / 2);
        put_attribute(d->to, "y", px(TOP - 5));
        say(d->to, ">%c</text>", 'A' + (int)k);
    }
    say(d->to, "</g>\n");
}

/* ---- the linear scale ------------------------------------------------------------------------ */

static int32_t bar_width(const struct drawing *d)
{
    return px(BAR_WIDTH) / (int32_t)d->nmaps - (d->nmaps > 1 ? px(1) : 0);
}

static int32_t bar_x(const struct drawing *d, uint32_t k)
{
    return px(BAR_X) + (int32_t)k * (bar_width(d) + px(2));
}

static void put_bar(const struct drawing *d, uint32_t k)
{
    const struct draw_map *m = &d->maps[k];
    struct run run;

    for (uint32_t i = 0; i < m->nitems; i += run.count) {
        run = run_at(m, i, LINEAR);
        if (m->items[run.most].region == NULL || run.at.from == run.at.to) {
            continue;
        }
        say(d->to, "<rect class=\"");
        draw_put_class(d->to, &m->items[run.most]);
        say(d->to, "\"");
        put_attribute(d->to, "x", bar_x(d, k));
        put_attribute(d->to, "y", px(TOP) + run.at.from);
        put_attribute(d->to, "width", bar_width(d));
        put_attribute(d->to, "height", run.at.to - run.at.from);
        say(d->to, "/>\n");
    }
}

/* Text beside the bars, unless it would touch what is there. `taken` are middles of lines. */
struct axis {
    const struct mm_sink *to;
    int32_t taken[3 * DRAW_BREAKS + 64];
    uint32_t n;
};

static bool axis_claim(struct axis *a, int32_t y)
{
    for (uint32_t i = 0; i < a->n; i++) {
        if (abs(a->taken[i] - y) < px(12)) {
            return false;
        }
    }
    if (a->n == MM_COUNTOF(a->taken)) {
        return false;
    }
    a->taken[a->n++] = y;
    return true;
}

static void put_axis_text(struct axis *a, int32_t y, const char *class, const char *text)
{
    if (!axis_claim(a, y)) {
        return;
    }
    say(a->to, "<text class=\"%s\"", class);
    put_attribute(a->to, "x", px(AXIS_X - 4));
    put_attribute(a->to, "y", px(TOP + TEXT_DROP) + y);
    say(a->to, ">%s</text>\n", text);
}

static void put_axis_tick(const struct mm_sink *to, int32_t y)
{
    say(to, "<path class=\"tick\" d=\"M%d ", AXIS_X - 1);
    put_pixels(to, px(TOP) + y);
    say(to, "h4\"/>\n");
}

static void put_axis_address(struct axis *a, uint64_t addr, int32_t y)
{
    char text[24];

    snprintf(text, sizeof(text), "0x%llx", (unsigned long long)addr);
    put_axis_text(a, y, "address", text);
    put_axis_tick(a->to, y);
}

/* Round sizes in the segments, at a power of two that puts them 50 pixels apart at least. */
static void put_ticks(struct axis *a, const struct draw_scale *s)
{
    uint64_t step = MM_PAGE_SIZE;

    while (step < UINT64_C(1) << 62 && s->span_bytes / step > DRAW_PIXELS / 50) {
        step *= 2;
    }
    for (uint32_t i = 0; i < s->nsegments; i++) {
        const struct draw_segment *g = &s->segments[i];

        for (uint64_t at = (g->base / step + 1) * step; at < g->end && at >= step; at += step) {
            unsigned unit = (unsigned)__builtin_ctzll(at) / 10;
            char text[32];

            unit = unit < 6 ? unit : 6;
            snprintf(text, sizeof(text), "%llu %ciB", (unsigned long long)(at >> (10 * unit)),
                     "BKMGTPE"[unit]);
            put_axis_text(a, draw_linear(s, at), "size", text);
            put_axis_tick(a->to, draw_linear(s, at));
        }
    }
}

/* Where a hole was cut out: a zigzag over the bars, and how much is missing. */
static void put_break(struct axis *a, const struct draw_segment *above,
                      const struct draw_segment *below)
{
    int32_t middle = above->at.to + (below->at.from - above->at.to) / 2;
    struct size_text size;
    char text[32];

    for (int32_t side = -1; side <= 1; side += 2) {
        say(a->to, "<path class=\"break\" d=\"M%d ", BAR_X - 3);
        put_pixels(a->to, px(TOP) + middle + side * px(2));
        say(a->to, "l6 3 6 -6 6 6 6 -6 6 6 6 -3\"/>\n");
    }
    snprintf(text, sizeof(text), "%s hole", size_text(&size, below->base - above->end));
    put_axis_text(a, middle, "gap", text);
}

static void put_overview(const struct drawing *d)
{
    const struct draw_scale *s = &d->scale;
    const struct draw_segment *last = &s->segments[s->nsegments - 1];
    struct axis axis = { .to = d->to };

    say(d->to, "<g class=\"overview\">\n");
    for (uint32_t i = 0; i < s->nsegments; i++) {
        const struct draw_segment *g = &s->segments[i];

        say(d->to, "<rect class=\"hole\"");
        put_attribute(d->to, "x", px(BAR_X));
        put_attribute(d->to, "y", px(TOP) + g->at.from);
        put_attribute(d->to, "width", px(BAR_WIDTH));
        put_attribute(d->to, "height", g->at.to - g->at.from);
        say(d->to, "/>\n");
    }
    for (uint32_t k = 0; k < d->nmaps; k++) {
        put_bar(d, k);
    }
    put_axis_address(&axis, last->end, last->at.to);
    for (uint32_t i = 0; i + 1 < s->nsegments; i++) {
        put_break(&axis, &s->segments[i], &s->segments[i + 1]);
    }
    for (uint32_t i = 0; i < s->nsegments; i++) {
        put_axis_address(&axis, s->segments[i].base, s->segments[i].at.from);
    }
    put_ticks(&axis, s);
    say(d->to, "</g>\n");
}

/* ---- bands ----------------------------------------------------------------------------------- */

/* A band from `left`, at x0, to `right`, at x1: the path's data. */
static void put_band(const struct mm_sink *to, int32_t x0, struct draw_span left, int32_t x1,
                     struct draw_span right)
{
    const int32_t middle = (x0 + x1) / 2;
    const struct point {
        char letter;
        int32_t x;
        int32_t y;
    } points[] = { { 'M', x0, left.from },      { 'C', middle, left.from },
                   { ' ', middle, right.from }, { ' ', x1, right.from },
                   { 'L', x1, right.to },       { 'C', middle, right.to },
                   { ' ', middle, left.to },    { ' ', x0, left.to } };

    say(to, " d=\"");
    for (size_t i = 0; i < MM_COUNTOF(points); i++) {
        say(to, "%c", points[i].letter);
        put_pixels(to, points[i].x);
        say(to, " ");
        put_pixels(to, px(TOP) + points[i].y);
    }
    say(to, "Z\"");
}

/* From the linear scale to the even one, by the first map; of two, in its colours as well. */
static void put_magnifier(const struct drawing *d)
{
    const struct draw_map *m = &d->maps[0];
    struct run run;

    say(d->to, "<g class=\"bands\" data-from=\"%d\" data-to=\"%d\">\n", BAR_X + BAR_WIDTH,
        column_x(0) / DRAW_UNIT);
    for (uint32_t i = 0; i < m->nitems; i += run.count) {
        run = run_at(m, i, EVEN);
        if (m->items[run.most].region == NULL) {
            continue;
        }
        say(d->to, "<path class=\"");
        draw_put_class(d->to, &m->items[run.most]);
        say(d->to, "\"");
        put_band(
            d->to, px(BAR_X + BAR_WIDTH),
            (struct draw_span){ m->items[i].linear.from, m->items[i + run.count - 1].linear.to },
            column_x(0), run.at);
        say(d->to, "/>\n");
    }
    say(d->to, "</g>\n");
}

static struct draw_span span_of(const struct drawing *d, const struct mapdiff_place *p)
{
    return (struct draw_span){ draw_even(&d->scale, p->base), draw_even(&d->scale, p->end) };
}

static bool is_somewhere(const struct mapdiff_place *p)
{
    return p->base < p->end;
}

/* The ends of a change's band; that of a side where there is nothing is a point. False: nowhere. */
static bool change_spans(const struct drawing *d, const struct mapdiff_change *c,
                         struct draw_span *left, struct draw_span *right)
{
    bool has_from = is_somewhere(&c->from) && c->kind != MAPDIFF_APPEARED;
    bool has_to = is_somewhere(&c->to) && c->kind != MAPDIFF_VANISHED;

    *left = span_of(d, has_from ? &c->from : &c->to);
    *right = span_of(d, has_to ? &c->to : &c->from);
    if (!has_from) {
        left->from = left->to = left->from + (left->to - left->from) / 2;
    }
    if (!has_to) {
        right->from = right->to = right->from + (right->to - right->from) / 2;
    }
    return has_from || has_to;
}

static void put_changes(const struct drawing *d)
{
    say(d->to, "<g class=\"changes\">\n");
    /* The most important ones on top. */
    for (uint32_t i = d->diff.nchanges; i-- > 0;) {
        const struct mapdiff_change *c = &d->diff.changes[i];
        struct draw_span left;
        struct draw_span right;

        if (!change_spans(d, c, &left, &right)) {
            continue;
        }
        say(d->to, "<path class=\"i%u\" data-change=\"%u\"", c->importance, i);
        put_band(d->to, column_x(0) + column_width(d) + px(1), left, column_x(1) - px(1), right);
        say(d->to, "><title>");
        draw_put_change(d->to, c);
        say(d->to, "</title></path>\n");
    }
    say(d->to, "</g>\n");
}

/* ---- labels ---------------------------------------------------------------------------------- */

struct label {
    int32_t at; /* what it is about, on the even scale */
    int32_t y;  /* where it stands */
    uint32_t rank;
    const struct draw_item *item; /* either */
    uint32_t change;              /* or, if item is NULL */
};

static int by_rank(const void *a, const void *b)
{
    const struct label *x = a;
    const struct label *y = b;

    return (x->rank > y->rank) - (x->rank < y->rank);
}

static int by_place(const void *a, const void *b)
{
    const struct label *x = a;
    const struct label *y = b;

    return x->at != y->at ? (x->at > y->at) - (x->at < y->at) : by_rank(a, b);
}

/* Down where the one above is in the way; what leaves the picture by that, back up. */
static void spread(struct label *labels, uint32_t n)
{
    const int32_t height = px(LABEL_HEIGHT);

    for (uint32_t i = 0; i < n; i++) {
        int32_t least = i > 0 ? labels[i - 1].y + height : height / 2;

        labels[i].y = labels[i].at > least ? labels[i].at : least;
    }
    for (uint32_t i = n; i-- > 0;) {
        int32_t most = i + 1 < n ? labels[i + 1].y - height : DRAW_HEIGHT - height / 2;

        labels[i].y = labels[i].y < most ? labels[i].y : most;
    }
}

static int32_t middle_of(struct draw_span s)
{
    return s.from + (s.to - s.from) / 2;
}

/* Changes come before regions. */
static uint32_t collect_labels(const struct drawing *d, struct label *labels)
{
    const struct draw_map *m = &d->maps[d->nmaps - 1];
    uint32_t n = 0;

    for (uint32_t i = 0; d->nmaps > 1 && i < d->diff.nchanges; i++) {
        struct draw_span left;
        struct draw_span right;

        if (change_spans(d, &d->diff.changes[i], &left, &right)) {
            labels[n] = (struct label){ .at = middle_of(right), .rank = n, .change = i };
            n++;
        }
    }
    for (uint32_t i = 0, nchanges = n; i < m->nitems; i++) {
        labels[n++] = (struct label){ .at = middle_of(m->items[i].even),
                                      .rank = nchanges + m->items[i].rank,
                                      .item = &m->items[i] };
    }
    return n;
}

/* Right end of addresses of as many digits as the last one has, and of sizes behind them. Beside
 * two maps there is no room for sizes. */
static int32_t label_size_x(const struct drawing *d)
{
    const struct draw_map *m = &d->maps[d->nmaps - 1];
    int nchars = snprintf(NULL, 0, "0x%llx", (unsigned long long)m->items[m->nitems - 1].base);

    return px(d->nmaps > 1 ? 0 : 78) + nchars * DRAW_UNIT * 69 / 10;
}

static void put_label_text(const struct drawing *d, const struct label *l, int32_t x)
{
    const struct mapdiff_change *c = l->item == NULL ? &d->diff.changes[l->change] : NULL;
    const struct mapdiff_place *place = c == NULL                     ? NULL
                                        : c->kind == MAPDIFF_VANISHED ? &c->from
                                                                      : &c->to;
    uint64_t base = c != NULL ? place->base : l->item->base;
    int32_t size_x = label_size_x(d);
    struct size_text size;

    say(d->to, "<rect class=\"");
    if (c != NULL) {
        say(d->to, "i%u", c->importance);
    } else {
        draw_put_class(d->to, l->item);
    }
    say(d->to, "\"");
    put_attribute(d->to, "x", x - px(8));
    put_attribute(d->to, "y", px(TOP - 4) + l->y);
    say(d->to, " width=\"3.00\" height=\"8.00\"/><text class=\"%s\"",
        c != NULL                 ? "change"
        : l->item->region == NULL ? "hole"
                                  : "region");
    put_attribute(d->to, "y", px(TOP + TEXT_DROP) + l->y);
    say(d->to, "><tspan class=\"address\"");
    put_attribute(d->to, "x", x);
    say(d->to, ">0x%llx</tspan>", (unsigned long long)base);
    if (d->nmaps == 1) {
        say(d->to, "<tspan class=\"size\"");
        put_attribute(d->to, "x", x + size_x);
        say(d->to, ">%s</tspan>", size_text(&size, l->item->last - base + 1));
    }
    say(d->to, "<tspan");
    put_attribute(d->to, "x", x + size_x + px(12));
    say(d->to, ">");
    if (c != NULL) {
        draw_put_change_label(d->to, c);
    } else {
        say(d->to, "%s", draw_item_name(l->item));
    }
    say(d->to, "</tspan></text>");
}

static void put_labels(const struct drawing *d)
{
    const uint32_t room = DRAW_PIXELS / LABEL_HEIGHT;
    struct label *labels =
        must_alloc((d->diff.nchanges + (uint64_t)d->maps[d->nmaps - 1].nitems) * sizeof(*labels));
    uint32_t n = collect_labels(d, labels);
    int32_t x = columns_end(d);

    qsort(labels, n, sizeof(*labels), by_rank);
    n = n < room ? n : room;
    qsort(labels, n, sizeof(*labels), by_place);
    spread(labels, n);
    say(d->to, "<g class=\"labels\">\n");
    for (uint32_t i = 0; i < n; i++) {
        say(d->to, "<path class=\"leader\" d=\"M");
        put_pixels(d->to, x + px(1));
        say(d->to, " ");
        put_pixels(d->to, px(TOP) + labels[i].at);
        say(d->to, "H");
        put_pixels(d->to, x + px(LEADER_GAP));
        say(d->to, "L");
        put_pixels(d->to, x + px(LABEL_GAP - 9));
        say(d->to, " ");
        put_pixels(d->to, px(TOP) + labels[i].y);
        say(d->to, "\"/>");
        put_label_text(d, &labels[i], x + px(LABEL_GAP));
        say(d->to, "\n");
    }
    say(d->to, "</g>\n");
    free(labels);
}

/* ---- findings and tables, at their places ---------------------------------------------------- */

static void put_finding_mark(const struct drawing *d, const struct draw_item *item)
{
    if (item != NULL) {
        say(d->to, "<use href=\"#s%u\"", item->mark - 1);
        put_attribute(d->to, "x", columns_end(d) + px(FINDING_GAP));
        put_attribute(d->to, "y", px(TOP) + middle_of(item->even));
        say(d->to, "/>\n");
    }
}

/* Of those that would lie on top of each other, the worst. */
static void put_finding_marks(const struct drawing *d)
{
    const struct draw_map *m = &d->maps[d->nmaps - 1];
    const struct draw_item *worst = NULL;
    int32_t first = 0;

    say(d->to, "<g class=\"findings\">\n");
    for (uint32_t i = 0; i < m->nitems; i++) {
        const struct draw_item *item = &m->items[i];
        int32_t y = middle_of(item->even);

        if (item->mark == 0) {
            continue;
        }
        if (worst == NULL || y - first >= px(MARK_HEIGHT)) {
            put_finding_mark(d, worst);
            worst = item;
            first = y;
        } else if (item->mark > worst->mark) {
            worst = item;
        }
    }
    put_finding_mark(d, worst);
    say(d->to, "</g>\n");
}

static void put_table_marks(const struct drawing *d)
{
    const struct draw_map *m = &d->maps[d->nmaps - 1];

    say(d->to, "<g class=\"marks\">\n");
    for (uint32_t i = 0; i < m->nmarks; i++) {
        if (m->marks[i].base > m->items[m->nitems - 1].last) {
            continue;
        }
        say(d->to, "<use href=\"#mark\"");
        put_attribute(d->to, "x", columns_end(d) + px(MARK_GAP));
        put_attribute(d->to, "y", px(TOP) + draw_even(&d->scale, m->marks[i].base));
        say(d->to, "><title>");
        draw_put_text(d->to, m->marks[i].name, strlen(m->marks[i].name));
        say(d->to, "</title></use>\n");
    }
    say(d->to, "</g>\n");
}

/* ---- all of it ------------------------------------------------------------------------------- */

static const char defs[] =
    "<g id=\"s2\"><circle r=\"5.5\"/><path d=\"M-2.3 -2.3l4.6 4.6m0 -4.6l-4.6 4.6\"/></g>\n"
    "<g id=\"s1\"><path d=\"M0 -6l6 10.5h-12z\"/><path d=\"M0 -2.5v3.5m0 1.2v1.2\"/></g>\n"
    "<g id=\"s0\"><circle r=\"5\"/><path d=\"M0 -2.8v1.2m0 1.2v3.2\"/></g>\n"
    "<path id=\"mark\" d=\"M0 -3.5l3.5 3.5 -3.5 3.5 -3.5 -3.5z\"/>\n";

/* Hatched is what must not be touched: for who does not see the colours, and on paper. */
static void put_defs(const struct mm_sink *to)
{
    static const uint32_t hatched[] = { MEMMAP_UNACCEPTED, MEMMAP_MMIO, MEMMAP_BAD };

    say(to, "<defs>\n%s", defs);
    for (size_t i = 0; i < MM_COUNTOF(hatched); i++) {
        say(to,
            "<pattern id=\"hatch%u\" width=\"5\" height=\"5\" patternUnits=\"userSpaceOnUse\" "
            "patternTransform=\"rotate(45)\"><rect width=\"5\" height=\"5\"/>"
            "<path d=\"M1 0v5\"/></pattern>\n",
            hatched[i]);
    }
    say(to, "</defs>\n");
}

void draw_picture(const struct drawing *d)
{
    say(d->to,
        "<svg id=\"picture\" role=\"img\" aria-labelledby=\"caption\" viewBox=\"0 0 %d %d\" "
        "width=\"%d\" height=\"%d\" data-pixels=\"%d\" data-unit=\"%d\">\n",
        WIDTH, DRAW_PIXELS + 2 * TOP, WIDTH, DRAW_PIXELS + 2 * TOP, DRAW_PIXELS, DRAW_UNIT);
    put_defs(d->to);
    put_overview(d);
    put_magnifier(d);
    for (uint32_t k = 0; k < d->nmaps; k++) {
        put_column(d, k);
    }
    if (d->nmaps > 1) {
        put_letters(d);
        put_changes(d);
    }
    put_labels(d);
    put_finding_marks(d);
    put_table_marks(d);
    say(d->to, "</svg>\n");
}
