/*
 * test_fbcon.c - kernel/dev/fbcon on a frame buffer in the host's memory.
 *
 * The proof that video memory is never read, and that what does not change is not drawn: before
 * each write all pixels are inverted. Afterwards a pixel must either be right, which means drawn,
 * or be the inverse of what it was while that was right already. And what lies outside of the
 * visible pixels must not have been written at all.
 */
#include "host_port.h"

#include <stdlib.h>

#include "dev/fbcon.c"

#define FONT_BYTES 32768

/* What scripts/font.S gives the kernel; each test puts a font in. */
__asm__(".data\n"
        ".globl plat_font, plat_font_end, font_storage\n"
        "font_storage: plat_font: .skip 32768\n"
        "plat_font_end:\n"
        ".text\n");
extern uint8_t font_storage[]; /* plat_font, but not const */

#define POISON UINT32_C(0xffffffff)

static uint32_t *video, *before;
static size_t npixels;
static struct plat_framebuffer fb;
static size_t drawn; /* pixels, in the last write */

static uint32_t rng_font(uint32_t glyph, uint32_t y)
{
    uint32_t v = glyph * 2654435761u + y * 40503u;

    return y < 4 ? 0 : v ^ v >> 13;
}

/* 128 glyphs of any shape, though all begin with four blank bytes; as psf.h describes version 2. */
static void make_font(uint32_t width, uint32_t height)
{
    uint32_t row = (width + 7) / 8;
    uint8_t *p = font_storage;
    const uint32_t header[] = { 0x864ab572, 0, 32, 0, 128, row * height, height, width };

    assert_int_equal(plat_font_end - plat_font, FONT_BYTES);
    assert_true(32 + 128 * row * height <= FONT_BYTES);
    memset(p, 0, FONT_BYTES);
    memcpy(p, header, sizeof(header));
    for (uint32_t g = 0; g < 128; g++) {
        for (uint32_t i = 0; i < row * height; i++) {
            p[32 + g * row * height + i] = g == ' ' ? 0 : (uint8_t)rng_font(g, i);
        }
    }
}

static uint32_t font_pixel(uint32_t width, uint32_t g, uint32_t x, uint32_t y)
{
    uint32_t row = (width + 7) / 8;

    return g == ' ' ? 0 : rng_font(g, y * row + x / 8) >> (7 - x % 8) & 1;
}

static void make_video(uint32_t width, uint32_t height, uint32_t stride, uint32_t format)
{
    free(video);
    free(before);
    npixels = (size_t)stride * height;
    fb = (struct plat_framebuffer){ .base = 0x80000000,
                                    .nbytes = npixels * 4,
                                    .width = width,
                                    .height = height,
                                    .stride = stride,
                                    .format = format };
    video = malloc(npixels * 4);
    before = malloc(npixels * 4);
    memset(video, 0x5a, npixels * 4);
}

/* Colours restated: VGA's, by ANSI number, 0xrrggbb. */
static uint32_t colour(unsigned n)
{
    static const char *const names[] = { "000000", "aa0000", "00aa00", "aa5500", "0000aa", "aa00aa",
                                         "00aaaa", "aaaaaa", "555555", "ff5555", "55ff55", "ffff55",
                                         "5555ff", "ff55ff", "55ffff", "ffffff" };
    uint32_t c = (uint32_t)strtoul(names[n], NULL, 16);

    return fb.format == PLAT_PIXEL_BGRX ? c : (c & 0xff) << 16 | (c & 0xff00) | c >> 16;
}

/* The pixel that belongs at x, y of the screen. */
static uint32_t expected_pixel(uint32_t x, uint32_t y, uint32_t zoom)
{
    uint32_t w = font.width, h = font.height;
    uint32_t col = x / (w * zoom), row = y / (h * zoom);

    if (col >= term.cols || row >= term.rows) {
        return 0;
    }

    struct term_cell c = term_row(&term, row)[col];
    bool on = font_pixel(w, c.glyph, x / zoom % w, y / zoom % h) != 0;

    if (term.cursor_shown && row == term.row && col == term.col) {
        on = !on;
    }
    return colour(on ? c.fg : c.bg);
}

static void check_pixels(uint32_t zoom)
{
    drawn = 0;
    for (uint32_t y = 0; y < fb.height; y++) {
        for (uint32_t x = 0; x < fb.stride; x++) {
            size_t i = (size_t)y * fb.stride + x;

            if (x >= fb.width) {
                assert_int_equal(video[i], before[i] ^ POISON);
                continue;
            }

            uint32_t right = expected_pixel(x, y, zoom);
            bool untouched = video[i] == (before[i] ^ POISON) && before[i] == right;

            if (!untouched && video[i] != right) {
                fail_msg("pixel %u,%u is %06x, not %06x", x, y, video[i], right);
            }
            drawn += !untouched;
            video[i] = right;
        }
    }
}

static void put(const char *s, size_t n, uint32_t zoom)
{
    for (size_t i = 0; i < npixels; i++) {
        before[i] = video[i];
        video[i] ^= POISON;
    }
    fbcon_sink.write(s, n);
    check_pixels(zoom);
}

static void start(void)
{
    assert_true(fbcon_init(&fb, video));
    for (uint32_t y = 0; y < fb.height; y++) {
        for (uint32_t x = 0; x < fb.stride; x++) {
            assert_int_equal(video[(size_t)y * fb.stride + x], x < fb.width ? 0 : 0x5a5a5a5a);
        }
    }
}

static void put_text(const char *s)
{
    put(s, strlen(s), 1);
}

static void test_drawing(void **state)
{
    (void)state;
    make_font(8, 16);
    make_video(8 * 20 + 3, 16 * 5 + 7, 8 * 20 + 10, PLAT_PIXEL_BGRX);
    start();
    assert_int_equal(term.cols, 20);
    assert_int_equal(term.rows, 5);
    put_text("");
    assert_int_equal(drawn, 8 * 16); /* the cursor */
    put_text("hello");
    /* two cells change colours; in four, the first four rows of the font are what they were */
    assert_in_range(drawn, 2 * 8 * 16, 2 * 8 * 16 + 4 * 8 * 12);
    put_text("");
    assert_int_equal(drawn, 0); /* nothing has changed */
    put_text("\rhello");
    assert_int_equal(drawn, 0); /* the same again */
    put_text("\033[?25l");
    assert_in_range(drawn, 1, 8 * 16);
    put_text("\n\n\n\n\n"); /* scrolls by one line: five cells change */
    assert_in_range(drawn, 1, 5 * 8 * 16);
    put_text("\033[2J\033[31;44mcolour\033[7m!\033[K");
    put_text("\033[1;1H\033[1mtop\033[5;1Hbottom of it, wraps, scrolls \033[m");
}

/* Any text on any kind of screen. */
static void test_random(void **state)
{
    static const struct {
        uint32_t font_width, font_height, width, height, extra, format, zoom;
    } screens[] = {
        { 8, 16, 250, 100, 0, PLAT_PIXEL_RGBX, 1 },  { 8, 8, 91, 50, 5, PLAT_PIXEL_BGRX, 1 },
        { 12, 24, 301, 75, 1, PLAT_PIXEL_BGRX, 1 },  { 7, 9, 100, 60, 3, PLAT_PIXEL_RGBX, 1 },
        { 5, 5, 5, 5, 0, PLAT_PIXEL_RGBX, 1 },       { 19, 20, 200, 100, 2, PLAT_PIXEL_BGRX, 1 },
        { 32, 16, 2561, 70, 1, PLAT_PIXEL_BGRX, 2 }, { 9, 31, 2600, 61, 0, PLAT_PIXEL_BGRX, 1 },
    };
    static const char spice[] = "\n\n\033[31m\033[0m\033[2;3H\033[K\033[44m\033[7m\r\b\t";
    struct host_rng r = host_rng_make("fbcon");
    char text[200];

    (void)state;
    for (size_t s = 0; s < MM_COUNTOF(screens); s++) {
        make_font(screens[s].font_width, screens[s].font_height);
        make_video(screens[s].width, screens[s].height, screens[s].width + screens[s].extra,
                   screens[s].format);
        start();
        assert_int_equal(scale, screens[s].zoom);
        assert_int_equal(term.cols, screens[s].width / screens[s].font_width / screens[s].zoom);
        for (unsigned i = 0; i < (fb.width > 1000 ? 15 : 100); i++) {
            size_t n = host_rng_below(&r, sizeof(text));

            for (size_t k = 0; k < n; k++) {
                text[k] = host_rng_below(&r, 3) != 0 ? (char)(' ' + host_rng_below(&r, 95))
                                                     : spice[host_rng_below(&r, sizeof(spice) - 1)];
            }
            put(text, n, screens[s].zoom);
        }
    }
}

/* A screen larger than the grid: the rest stays black. */
static void test_huge(void **state)
{
    (void)state;
    make_font(8, 8);
    make_video(5200, 2100, 5200, PLAT_PIXEL_BGRX);
    start();
    assert_int_equal(term.cols, 320);
    assert_int_equal(term.rows, 128);
    put("\033[999;999Hx", 11, 2);
}

static void test_refused(void **state)
{
    (void)state;
    make_font(8, 16);
    make_video(100, 100, 100, PLAT_PIXEL_BGRX);
    fb.base = 0;
    assert_false(fbcon_init(&fb, video));
    fb.base = 4096;
    fb.width = 0;
    assert_false(fbcon_init(&fb, video));
    fb.width = 101;
    assert_false(fbcon_init(&fb, video));
    fb.width = 100;
    fb.nbytes--;
    assert_false(fbcon_init(&fb, video));
    fb.nbytes++;
    fb.format = 2;
    assert_false(fbcon_init(&fb, video));
    fb.format = PLAT_PIXEL_BGRX;
    fb.width = 7;
    assert_false(fbcon_init(&fb, video));
    fb.width = 100;
    fb.height = 15;
    assert_false(fbcon_init(&fb, video));
    fb.height = fb.width = fb.stride = UINT32_MAX; /* the product does not wrap */
    assert_false(fbcon_init(&fb, video));
    fb.height = fb.width = fb.stride = 100;
    font_storage[0] = 0;
    assert_false(fbcon_init(&fb, video));
    make_font(8, 16);
    assert_true(fbcon_init(&fb, video));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_drawing),
        cmocka_unit_test(test_random),
        cmocka_unit_test(test_huge),
        cmocka_unit_test(test_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
