/*
 * draw.h - what the files of `platmap draw` share: the maps as they are drawn, and their scale.
 *
 * Model:    addresses go down the page. There are two scales, and both are monotone functions of
 *           the address, one for all maps of a page: the even one gives each region a height that
 *           grows with the logarithm of its size, so that 4 KiB can be seen beside 512 GiB; the
 *           true one is linear, with the widest holes cut out. Heights are whole numbers of
 *           1/DRAW_UNIT pixel, so that the same map gives the same page everywhere.
 */
#ifndef PLATMAP_DRAW_H
#define PLATMAP_DRAW_H

#include "platmap.h"

#include "mm/mapdiff.h"
#include "mm/mapsum.h"

#define DRAW_UNIT   10000
#define DRAW_PIXELS 680 /* height of both scales */
#define DRAW_HEIGHT (DRAW_PIXELS * DRAW_UNIT)
#define DRAW_MAPS   2
#define DRAW_BREAKS 12 /* holes that are cut out of the linear scale, at most */

/* Where something lies on a scale: from the one height down to the other. */
struct draw_span {
    int32_t from;
    int32_t to;
};

/* What shows at [base, last]: a region, or a hole between regions. */
struct draw_item {
    uint64_t base;
    uint64_t last;
    const struct memmap_region *region; /* NULL: a hole */
    struct draw_span even;
    struct draw_span linear;
    uint32_t rank; /* who is labelled first, from 0; unique in a map */
    bool changed;  /* a change begins here; in the second map of two */
    uint32_t mark; /* 1 + the worst severity of findings that begin here; 0 if there are none */
};

/* Something at a place that is no region: a table, a screen. */
struct draw_mark {
    uint64_t base;
    uint64_t nbytes;
    char name[64]; /* out of a report: any bytes */
};

struct draw_map {
    struct input in;
    struct maplint_result lint;
    struct mapsum sum;
    struct draw_item *items; /* from address 0 to the end of the scale, without gaps */
    uint32_t nitems;
    struct draw_mark *marks;
    uint32_t nmarks;
};

/* A stretch of the linear scale without a break in it. */
struct draw_segment {
    uint64_t base;
    uint64_t end;
    struct draw_span at;
};

struct draw_scale {
    uint64_t *cuts; /* ascending, from 0: where anything begins or ends */
    int32_t *even;  /* of each cut */
    uint32_t ncuts;
    struct draw_segment segments[DRAW_BREAKS + 1];
    uint32_t nsegments;
    uint64_t span_bytes; /* in the segments together */
};

struct drawing {
    const struct mm_sink *to;
    uint32_t nmaps;
    struct draw_map maps[DRAW_MAPS];
    struct draw_scale scale;
    struct mapdiff diff; /* of two maps */
    void *diff_storage;
};

/* ---- draw_scale.c ---------------------------------------------------------------------------- */

/* Lay out the maps of `d`, of which `in` and `lint` are there: their items, and the scale. */
void draw_lay_out(struct drawing *d);
void draw_scale_drop(struct draw_scale *s);

/* The heights of an address up to the end of the scale. O(log cuts). */
int32_t draw_even(const struct draw_scale *s, uint64_t addr);
int32_t draw_linear(const struct draw_scale *s, uint64_t addr);

/* The item of `m` that holds `addr`, NULL past the end of the scale. O(log items). */
const struct draw_item *draw_find(const struct draw_map *m, uint64_t addr);

/* ---- draw_picture.c -------------------------------------------------------------------------- */

/* The whole picture as an <svg> element. */
void draw_picture(const struct drawing *d);

/* ---- cmd_draw.c ------------------------------------------------------------------------------ */

/* Any bytes as text of an element or a quoted attribute: markup is escaped; control characters,
 * what turns the direction of text, and what is not UTF-8 become U+FFFD. */
void draw_put_text(const struct mm_sink *to, const char *s, size_t n);

/* "hole", or the type's name; of a claim, its kind. */
const char *draw_item_name(const struct draw_item *item);

/* The class of an item by its use: "k3"; holes are "hole". */
void draw_put_class(const struct mm_sink *to, const struct draw_item *item);

/* A change in words, escaped; and in few: "ACPINVS moved up 1.7 GiB". */
void draw_put_change(const struct mm_sink *to, const struct mapdiff_change *c);
void draw_put_change_label(const struct mm_sink *to, const struct mapdiff_change *c);

#endif
