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
 * Measured with QEMU's instruction count at 1280 x 800, 8 x 16 font: a character on a blank cell
 * 370 with all that surrounds it; scrolling a screen full of 90-column lines 240,000; clearing the
 * screen 627,000.
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

/* The pixels that two bits stand for, the higher bit on the left, in the colours used last. */
static struct {
    uint64_t pair[4];
    uint8_t fg, bg; /* both 0 at first, for which the zeros in `pair` are right: black on black */
} ink;

static void take_ink(struct term_cell c)
{
    uint64_t fg = palette[c.fg], bg = palette[c.bg];

    if (ink.fg != c.fg || ink.bg != c.bg) {
        ink.fg = c.fg;
        ink.bg = c.bg;
        ink.pair[0] = bg | bg << 32; /* the left pixel is the lower half */
        ink.pair[1] = bg | fg << 32;
        ink.pair[2] = fg | bg << 32;
        ink.pair[3] = fg | fg << 32;
    }
}

/* How cells are drawn. In locals and parameters only: a store to the screen could change anything
 * else that has an address, as far as the compiler knows. */
struct shape {
    unsigned width, height, row_bytes, scale;
    size_t line_bytes;
};

/* One pixel row at `at`. */
static inline void draw_row(const struct shape s, uint8_t *at, uint32_t bits)
{
    unsigned width = s.width;

    for (; width >= 8; width -= 8, bits <<= 8, at += 32) {
        pixel_pair_t *p = (pixel_pair_t *)(void *)at;

        p[0] = ink.pair[bits >> 30];
        p[1] = ink.pair[bits >> 28 & 3];
        p[2] = ink.pair[bits >> 26 & 3];
        p[3] = ink.pair[bits >> 24 & 3];
    }
    for (; width >= 2; width -= 2, bits <<= 2, at += 8) {
        *(pixel_pair_t *)(void *)at = ink.pair[bits >> 30];
    }
    if (width > 0) {
        *(pixel_t *)(void *)at = (uint32_t)ink.pair[bits >> 31 ? 3 : 0];
    }
}

/* One pixel row with each pixel two wide and two high. */
static inline void draw_row_double(const struct shape s, uint8_t *at, uint32_t bits)
{
    for (unsigned width = s.width; width > 0; width--, bits <<= 1, at += 8) {
        uint64_t two = ink.pair[bits >> 31 ? 3 : 0];

        *(pixel_pair_t *)(void *)at = two;
        *(pixel_pair_t *)(void *)(at + s.line_bytes) = two;
    }
}

/*
 * Draw glyph `is` at `at` where `was` is on the glass; if it is there in the same colours, rows
 * that are equal are left out. Inlined into a caller that knows the shape, it becomes straight code
 * for that shape.
 */
static inline __attribute__((always_inline)) void draw_glyph(const struct shape s, uint8_t *at,
                                                             const uint8_t *was, const uint8_t *is,
                                                             bool same_colours)
{
    for (unsigned y = 0; y < s.height; y++) {
        uint32_t bits = psf_bits(is, s.row_bytes);

        if (!same_colours || bits != psf_bits(was, s.row_bytes)) {
            if (s.scale == 1) {
                draw_row(s, at, bits);
            } else {
                draw_row_double(s, at, bits);
            }
        }
        was += s.row_bytes;
        is += s.row_bytes;
        at += s.scale * s.line_bytes;
    }
}

/* Make the glass show `now` where it shows `old`. */
static void draw_cell(unsigned row, unsigned col, struct term_cell old, struct term_cell now)
{
    const uint8_t *was = font.glyphs + (size_t)old.glyph * font.glyph_bytes;
    const uint8_t *is = font.glyphs + (size_t)now.glyph * font.glyph_bytes;
    const struct shape s = { font.width, font.height, font.row_bytes, scale, line_bytes };
    const struct shape usual = { 8, font.height, 1, 1, line_bytes };
    bool same_colours = old.fg == now.fg && old.bg == now.bg;
    uint8_t *at = screen + row * s.height * s.scale * s.line_bytes +
                  (size_t)col * s.width * s.scale * sizeof(uint32_t);

    take_ink(now);
    if (s.width != 8 || s.row_bytes != 1 || s.scale != 1) {
        draw_glyph(s, at, was, is, same_colours);
    } else if (same_colours) { /* nearly always */
        draw_glyph(usual, at, was, is, true);
    } else {
        draw_glyph(usual, at, was, is, false);
    }
}

static bool same_cell(struct term_cell a, struct term_cell b)
{
    return a.glyph == b.glyph && a.fg == b.fg && a.bg == b.bg;
}

/* Bring cells [from, to) of `row` onto the glass. */
static void update_row(unsigned row, unsigned from, unsigned to)
{
    const struct term_cell *is = term_row(&term, row);
    struct term_cell *was = &shown[(size_t)row * term.stride];
    /* term.stride is even, so pairs are aligned, and the last one ends within the row. */
    cell_pair_t *is_pair = (cell_pair_t *)(const void *)is;
    cell_pair_t *was_pair = (cell_pair_t *)(const void *)was;
    unsigned cursor = term.cursor_shown && row == term.row ? term.col : UINT32_MAX;

    for (unsigned i = from / 2; i < (to + 1) / 2; i++) {
        if (is_pair[i] == was_pair[i] && i != cursor / 2) {
            continue;
        }
        for (unsigned col = 2 * i; col < 2 * i + 2 && col < term.cols; col++) {
            struct term_cell now = is[col];

            if (col == cursor) { /* is a cell with its colours swapped */
                now = (struct term_cell){ now.glyph, now.bg, now.fg };
            }
            if (!same_cell(now, was[col])) {
                draw_cell(row, col, was[col], now);
                was[col] = now;
            }
        }
    }
}

static void fbcon_write(const char *s, size_t n)
{
    unsigned from, to;

    term_write(&term, s, n);
    update_row(cursor_row, cursor_col, cursor_col + 1); /* take the old cursor away */
    for (unsigned row = 0; row < term.rows; row++) {
        if (term_dirty(&term, row, &from, &to)) {
            update_row(row, from, to);
        }
    }
    cursor_row = term.row;
    cursor_col = term.col;
    update_row(cursor_row, cursor_col, cursor_col + 1);
}

const struct console_sink fbcon_sink = { .name = "screen",
                                         .write = fbcon_write,
                                         .is_screen = true };

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
