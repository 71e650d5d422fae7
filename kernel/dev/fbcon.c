/*
 * fbcon.c - text on a linear frame buffer.
 *
 * The terminal says which cells may have changed. `shown` holds the cells as they are on the glass,
 * so only those that really differ are drawn, and of those only the pixel rows in which the old
 * glyph and the new one differ: after a scroll most cells of a text screen are blank or keep half
 * of their rows. Drawing happens once per write: a write of a hundred lines scrolls once.
 *
 * Video memory is written in 64-bit stores, never read: across a bus a read costs about a
 * microsecond. Rejected: a copy of the screen in memory from which to scroll, which costs 4 to
 * 130 MB and moves all of it for each line; scrolling by block copy in video memory, which reads
 * it; drawing later, by timer: the last line before a hang is the one that matters.
 *
 * Costs, instructions: about 150 for a character on a blank cell, and for a scroll of a full screen
 * about as many for each cell that changes.
 */
#include "dev/fbcon.h"

#include "lib/log.h"
#include "lib/psf.h"
#include "lib/string.h"
#include "lib/term.h"

#define DOUBLE_ABOVE 2560u /* pixels of width from which on text is drawn at double size */

/* A pixel row begins at any multiple of 4. Volatile: no store is dropped, split or turned around
 * into a read. */
typedef volatile uint32_t __attribute__((may_alias)) pixel_t;
typedef volatile uint64_t __attribute__((may_alias, aligned(4))) pixel_pair_t;
/* Two cells at once. */
typedef const uint64_t __attribute__((may_alias)) cell_pair_t;

extern const uint8_t plat_font[], plat_font_end[];

/* Guarded by the console lock. */
static struct psf font;
static struct term term;
static _Alignas(8) struct term_cell cells[TERM_CELLS(TERM_MAX_COLS, TERM_MAX_ROWS)];
static _Alignas(8) struct term_cell shown[TERM_CELLS(TERM_MAX_COLS, TERM_MAX_ROWS)];
static unsigned cursor_row, cursor_col; /* where `shown` has the cursor, if it has one */
static uint8_t *screen;
static size_t line_bytes; /* from one pixel line to the next */
static unsigned scale;
static uint32_t palette[16];

/* The colours of the Linux console and of VGA before it, as 0xrrggbb. */
static const uint32_t vga_colours[16] = {
    0x000000, 0xaa0000, 0x00aa00, 0xaa5500, 0x0000aa, 0xaa00aa, 0x00aaaa, 0xaaaaaa,
    0x555555, 0xff5555, 0x55ff55, 0xffff55, 0x5555ff, 0xff55ff, 0x55ffff, 0xffffff,
};

static uint16_t find_glyph(void *ctx, uint32_t codepoint)
{
    static const uint32_t instead[] = { 0xfffd, '?', ' ' };
    uint16_t glyph = psf_find(ctx, codepoint);

    for (size_t i = 0; glyph == PSF_NONE && i < MM_COUNTOF(instead); i++) {
        glyph = psf_find(ctx, instead[i]);
    }
    return glyph == PSF_NONE ? 0 : glyph;
}

/* One pixel row of a glyph at `at`, `pair[n]` being the pixels of two bits; leftmost bit highest.
 */
static inline void draw_bits(uint8_t *at, uint32_t bits, unsigned width, const uint64_t pair[4])
{
    for (; width >= 8; width -= 8, bits <<= 8, at += 32) {
        pixel_pair_t *p = (pixel_pair_t *)(void *)at;

        p[0] = pair[bits >> 30];
        p[1] = pair[bits >> 28 & 3];
        p[2] = pair[bits >> 26 & 3];
        p[3] = pair[bits >> 24 & 3];
    }
    for (; width >= 2; width -= 2, bits <<= 2, at += 8) {
        *(pixel_pair_t *)(void *)at = pair[bits >> 30];
    }
    if (width > 0) {
        *(pixel_t *)(void *)at = (uint32_t)pair[bits >> 30 & 2 ? 3 : 0];
    }
}

/* The same with each pixel two wide and two high. */
static inline void draw_bits_double(uint8_t *at, uint32_t bits, unsigned width,
                                    const uint64_t pair[4])
{
    for (; width > 0; width--, bits <<= 1, at += 8) {
        uint64_t two = pair[bits >> 31 ? 3 : 0];

        *(pixel_pair_t *)(void *)at = two;
        *(pixel_pair_t *)(void *)(at + line_bytes) = two;
    }
}

/* Make the glass show `now` where it shows `old`. */
static void draw_cell(unsigned row, unsigned col, struct term_cell old, struct term_cell now)
{
    uint64_t fg = palette[now.fg], bg = palette[now.bg];
    /* A set bit is the left pixel if it is the higher one; the left pixel is the lower half. */
    const uint64_t pair[4] = { bg | bg << 32, bg | fg << 32, fg | bg << 32, fg | fg << 32 };
    const uint8_t *was = font.glyphs + (size_t)old.glyph * font.glyph_bytes;
    const uint8_t *is = font.glyphs + (size_t)now.glyph * font.glyph_bytes;
    bool same_bg = old.bg == now.bg, same_fg = old.fg == now.fg;
    uint8_t *at = screen + row * font.height * scale * line_bytes +
                  (size_t)col * font.width * scale * sizeof(uint32_t);

    for (unsigned y = 0; y < font.height; y++) {
        uint32_t before = psf_bits(&font, was), after = psf_bits(&font, is);
        bool keep = same_bg && before == after && (same_fg || after == 0);

        if (!keep && scale == 1) {
            draw_bits(at, after, font.width, pair);
        } else if (!keep) {
            draw_bits_double(at, after, font.width, pair);
        }
        was += font.row_bytes;
        is += font.row_bytes;
        at += scale * line_bytes;
    }
}

/* The cell as it should look: the cursor is a cell with its colours swapped. */
static struct term_cell wanted_cell(unsigned row, unsigned col)
{
    struct term_cell c = term_row(&term, row)[col];

    if (term.cursor_shown && row == term.row && col == term.col) {
        return (struct term_cell){ c.glyph, c.bg, c.fg };
    }
    return c;
}

static void update_cell(unsigned row, unsigned col)
{
    struct term_cell *s = &shown[(size_t)row * term.stride + col];
    struct term_cell now = wanted_cell(row, col);

    if (s->glyph != now.glyph || s->fg != now.fg || s->bg != now.bg) {
        draw_cell(row, col, *s, now);
        *s = now;
    }
}

static void update_row(unsigned row, unsigned from, unsigned to)
{
    /* term.stride is even, so pairs are aligned, and the last one ends within the row. */
    cell_pair_t *is = (cell_pair_t *)(const void *)term_row(&term, row);
    cell_pair_t *was = (cell_pair_t *)(const void *)&shown[(size_t)row * term.stride];

    for (unsigned i = from / 2; i < (to + 1) / 2; i++) {
        if (is[i] != was[i]) {
            update_cell(row, 2 * i);
            if (2 * i + 1 < term.cols) {
                update_cell(row, 2 * i + 1);
            }
        }
    }
}

static void fbcon_write(const char *s, size_t n)
{
    unsigned from, to;

    term_write(&term, s, n);
    update_cell(cursor_row, cursor_col); /* take the old cursor away */
    for (unsigned row = 0; row < term.rows; row++) {
        if (term_dirty(&term, row, &from, &to)) {
            update_row(row, from, to);
        }
    }
    cursor_row = term.row;
    cursor_col = term.col;
    update_cell(cursor_row, cursor_col);
}

const struct console_sink fbcon_sink = { .name = "screen", .write = fbcon_write };

/* NULL, or why this is no screen to draw on. */
static const char *check_screen(const struct plat_framebuffer *fb)
{
    if (fb->base == 0 || fb->width == 0 || fb->height == 0) {
        return "it has no size";
    }
    if (fb->format != PLAT_PIXEL_RGBX && fb->format != PLAT_PIXEL_BGRX) {
        return "its pixels have a format that is not known";
    }
    if (fb->stride < fb->width) {
        return "its lines are longer than the distance between them";
    }
    /* (height - 1) * stride + width, below 2^64; the division keeps the product from wrapping */
    if ((uint64_t)(fb->height - 1) * fb->stride + fb->width > fb->nbytes / sizeof(uint32_t)) {
        return "it is larger than its memory";
    }
    return NULL;
}

static void set_palette(uint32_t format)
{
    for (size_t i = 0; i < MM_COUNTOF(palette); i++) {
        uint32_t c = vga_colours[i];

        /* Blue in the lowest byte is 0xrrggbb as it stands. */
        palette[i] =
            format == PLAT_PIXEL_BGRX ? c : (c >> 16 & 0xff) | (c & 0xff00) | (c & 0xff) << 16;
    }
}

bool fbcon_init(const struct plat_framebuffer *fb, void *pixels)
{
    const char *wrong = check_screen(fb);

    if (wrong == NULL) {
        wrong = psf_open(&font, plat_font, (size_t)(plat_font_end - plat_font));
        if (wrong != NULL) {
            log_warn("no text on the screen: the font can't be used: %s", wrong);
            return false;
        }
        scale = fb->width > DOUBLE_ABOVE && fb->height >= 2 * font.height ? 2 : 1;
        if (fb->width < font.width || fb->height < font.height) {
            wrong = "it is smaller than a character";
        }
    }
    if (wrong != NULL) {
        log_warn("no text on the screen of %u x %u pixels: %s", fb->width, fb->height, wrong);
        return false;
    }

    screen = pixels;
    line_bytes = (size_t)fb->stride * sizeof(uint32_t);
    set_palette(fb->format);
    for (uint32_t y = 0; y < fb->height; y++) {
        memset(screen + y * line_bytes, 0, (size_t)fb->width * sizeof(uint32_t)); /* black */
    }
    term_init(&term, cells, (unsigned)mm_min(fb->width / (font.width * scale), TERM_MAX_COLS),
              (unsigned)mm_min(fb->height / (font.height * scale), TERM_MAX_ROWS), find_glyph,
              &font);
    /* The glass is black: a blank terminal. */
    memcpy(shown, cells, TERM_CELLS(term.cols, term.rows) * sizeof(cells[0]));
    cursor_row = cursor_col = 0;
    return true;
}

void fbcon_size(unsigned *cols, unsigned *rows)
{
    *cols = term.cols;
    *rows = term.rows;
}
