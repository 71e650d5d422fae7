/*
 * ffdemo.c - first fit in address order, played step by step on an arena of its own, and drawn.
 *
 * The script has names and sizes only. Which blocks were free, how many of them would have done,
 * which one was taken and what a freed block joined is asked of the heap before and after each
 * step. A cell in use that was given to nobody is drawn as '?'.
 */
#include "lib/ffdemo.h"

#include <stdarg.h>

#include "lib/fmt.h"
#include "mm/heap_ff.h"

#define CELL       64u /* bytes a character */
#define CELLS      64u
#define NAMES      8u
#define LINE_BYTES 1024u

#define STYLE_OFF  "\033[0m"
#define STYLE_DIM  "\033[90m"
#define STYLE_BOLD "\033[1m"

static const struct {
    char name;
    unsigned nbytes; /* wanted; 0: what `name` has is given back */
} story[] = {
    { 'A', 512 }, { 'B', 1024 }, { 'C', 256 }, { 'D', 768 }, { 'E', 256 }, { 'B', 0 },
    { 'D', 0 },   { 'F', 640 },  { 'G', 512 }, { 'H', 256 }, { 'C', 0 },   { 'G', 0 },
};

/* By name: 'A', 'B', ... */
static const char *const colours[NAMES] = {
    "\033[97;41m", "\033[30;42m", "\033[97;44m", "\033[97;45m",
    "\033[30;46m", "\033[30;43m", "\033[30;47m", "\033[97;100m",
};

/* One performance. */
struct play {
    const struct demo_screen *s;
    struct heap_ff heap;
    uintptr_t base;       /* of the lowest block */
    uintptr_t at[NAMES];  /* who has what */
    size_t nbytes[NAMES]; /* of it; 0: nothing */
};

/* Free blocks, as one request or free sees them. */
struct census {
    size_t want;        /* in: bytes of a request */
    uintptr_t from, to; /* in: a block */
    unsigned nfree, nfit;
    size_t before, behind; /* bytes of the free block that ends where it begins, begins where it
                            * ends; 0: none */
    size_t around;         /* of the free block that has its first byte */
};

static bool count_block(void *ctx, const struct heap_ff_view *b)
{
    struct census *c = ctx;
    uintptr_t at = (uintptr_t)b->ptr;

    if (!b->used) {
        c->nfree++;
        c->nfit += b->nbytes >= c->want;
        c->before = at + b->nbytes == c->from ? b->nbytes : c->before;
        c->behind = at == c->to ? b->nbytes : c->behind;
        c->around = at <= c->from && c->from < at + b->nbytes ? b->nbytes : c->around;
    }
    return true;
}

static struct census census(const struct play *p, size_t want, uintptr_t at, size_t nbytes)
{
    struct census c = { .want = want, .from = at, .to = at + nbytes };

    heap_ff_for_each(&p->heap, count_block, &c);
    return c;
}

/* ---- drawing ----------------------------------------------------------------------------------- */

static void tell(const struct play *p, const char *style, const char *fmt, ...) MM_PRINTF(3, 4);

static void tell(const struct play *p, const char *style, const char *fmt, ...)
{
    char text[128], line[160];
    va_list ap;

    va_start(ap, fmt);
    fmt_v(text, sizeof(text), fmt, ap);
    va_end(ap);
    fmt_s(line, sizeof(line), "%s%s" STYLE_OFF, style, text);
    p->s->line(p->s->ctx, line);
}

/* Where blocks begin, in bytes, every eight characters. */
static void draw_scale(const struct play *p)
{
    char text[LINE_BYTES];
    size_t n = 0;

    for (unsigned i = 0; i < CELLS; i += 8) {
        n += fmt_s(text + n, sizeof(text) - n, "%-8u", i * CELL);
    }
    tell(p, STYLE_DIM, "  %s", text);
}

struct strip {
    const struct play *p;
    char cells[CELLS];
};

static bool draw_block(void *ctx, const struct heap_ff_view *b)
{
    struct strip *strip = ctx;
    size_t first = ((uintptr_t)b->ptr - strip->p->base) / CELL;

    for (size_t i = first; i < first + b->nbytes / CELL && i < CELLS; i++) {
        strip->cells[i] = b->used ? '?' : '.';
    }
    return true;
}

static void draw(const struct play *p)
{
    struct strip strip = { .p = p };
    char text[LINE_BYTES];
    size_t n = fmt_s(text, sizeof(text), "  ");
    const char *style = "", *now;

    heap_ff_for_each(&p->heap, draw_block, &strip);
    for (unsigned i = 0; i < CELLS; i++) {
        char c = strip.cells[i];

        for (unsigned j = 0; j < NAMES && c == '?'; j++) {
            if (p->base + i * CELL - p->at[j] < p->nbytes[j]) {
                c = (char)('A' + j);
            }
        }
        now = c >= 'A' ? colours[c - 'A'] : STYLE_DIM;
        n += fmt_s(text + n, sizeof(text) - n, "%s%s%c", now != style ? STYLE_OFF : "",
                   now != style ? now : "", c);
        style = now;
    }
    fmt_s(text + n, sizeof(text) - n, STYLE_OFF);
    p->s->line(p->s->ctx, text);
}

/* ---- the play ---------------------------------------------------------------------------------- */

static void take(struct play *p, char name, size_t nbytes)
{
    struct census c = census(p, nbytes, 0, 0);
    void *ptr = heap_ff_alloc(&p->heap, nbytes);
    unsigned i = (unsigned)(name - 'A');

    if (ptr == NULL) {
        tell(p, STYLE_BOLD, "%c asks for %zu: none of %u free blocks is large enough.", name,
             nbytes, c.nfree);
    } else {
        p->at[i] = (uintptr_t)ptr;
        p->nbytes[i] = heap_ff_size(&p->heap, ptr);
        tell(p, STYLE_BOLD,
             "%c asks for %zu: %u of %u free block%s large enough; the lowest is at %zu.", name,
             nbytes, c.nfit, c.nfree, c.nfree == 1 ? " is" : "s are", (size_t)(p->at[i] - p->base));
    }
    draw(p);
}

static void give_back(struct play *p, char name)
{
    unsigned i = (unsigned)(name - 'A');
    struct census c = census(p, 0, p->at[i], p->nbytes[i]);
    const char *where = c.before == 0 && c.behind == 0 ? "it has no free neighbour"
                        : c.behind == 0                ? "it joins the free block in front"
                        : c.before == 0                ? "it joins the free block behind"
                                                       : "it joins the free blocks on both sides";
    uintptr_t at = p->at[i];
    size_t nbytes = p->nbytes[i];

    heap_ff_free(&p->heap, (void *)at);
    p->at[i] = p->nbytes[i] = 0;
    c = census(p, 0, at, 0);
    tell(p, STYLE_BOLD, "%c gives back %zu: %s; %zu are free there.", name, nbytes, where,
         c.around);
    draw(p);
}

static bool find_base(void *ctx, const struct heap_ff_view *b)
{
    *(uintptr_t *)ctx = (uintptr_t)b->ptr;
    return false;
}

/* A heap with one free block of as much as is drawn: what it keeps for itself is found by trying.
 */
static bool set_stage(struct play *p, void *arena)
{
    struct heap_ff_stats stats = { .free_bytes = 0 };

    for (size_t nbytes = CELLS * CELL; nbytes <= FFDEMO_BYTES; nbytes += HEAP_FF_ALIGN) {
        heap_ff_init(&p->heap, NULL, 0);
        if (heap_ff_add_arena(&p->heap, arena, nbytes) == MM_OK) {
            heap_ff_get_stats(&p->heap, &stats);
        }
        if (stats.free_bytes == CELLS * CELL) {
            heap_ff_for_each(&p->heap, find_base, &p->base);
            return true;
        }
    }
    return false;
}

enum ffdemo_end ffdemo_play(void *arena, const struct demo_screen *s)
{
    struct play p = { .s = s };

    if (!set_stage(&p, arena)) {
        return FFDEMO_NO_STAGE;
    }
    draw_scale(&p);
    draw(&p);
    for (size_t i = 0; i < MM_COUNTOF(story); i++) {
        if (!s->pause(s->ctx)) {
            return FFDEMO_STOPPED;
        }
        if (story[i].nbytes == 0) {
            give_back(&p, story[i].name);
        } else {
            take(&p, story[i].name, story[i].nbytes);
        }
    }
    return FFDEMO_DONE;
}
