/*
 * test_psf.c - kernel/lib/psf: fonts made by hand, whole and damaged.
 */
#include "host_port.h"

#include <stdlib.h>

#include "lib/psf.h"

static uint8_t font[16384];
static size_t nfont;
static struct psf psf;

static void put16(uint32_t v)
{
    font[nfont++] = (uint8_t)v;
    font[nfont++] = (uint8_t)(v >> 8);
}

static void put32(uint32_t v)
{
    put16(v);
    put16(v >> 16);
}

static void put_text(const char *s)
{
    memcpy(font + nfont, s, strlen(s));
    nfont += strlen(s);
}

static void put_glyphs(size_t nbytes)
{
    for (size_t i = 0; i < nbytes; i++) {
        font[nfont++] = (uint8_t)(i * 7);
    }
}

/* Version 1, 256 glyphs of 8 x 16. */
static void make1(uint8_t mode)
{
    nfont = 0;
    put16(0x0436);
    font[nfont++] = mode;
    font[nfont++] = 16;
    put_glyphs((mode & 1 ? 512 : 256) * 16);
}

/* Its table: glyph n shows 'A' + n, glyph 5 also U+2500 and a sequence with U+2502 in it. */
static void make1_table(void)
{
    for (uint32_t i = 0; i < 256; i++) {
        put16('A' + i);
        if (i == 5) {
            put16(0x2500);
            put16(0x20ac);
            put16(0xfffe);
            put16(0x2502);
            put16(0x301);
        }
        put16(0xffff);
    }
}

/* Version 2, `count` glyphs of 10 x 3 and 7 bytes each. */
static void make2(uint32_t flags, uint32_t count)
{
    nfont = 0;
    put32(0x864ab572);
    put32(0);
    put32(36); /* a header longer than we know */
    put32(flags);
    put32(count);
    put32(7);
    put32(3);
    put32(10);
    put32(0xdeadbeef);
    put_glyphs(count * 7);
}

static const char *open_font(void)
{
    /* In storage of exactly its size, where ASan sees each byte read behind it. */
    uint8_t *exact = malloc(nfont + (nfont == 0));
    const char *wrong;

    memcpy(exact, font, nfont);
    wrong = psf_open(&psf, exact, nfont);
    if (wrong == NULL) {
        for (uint32_t c = 0; c < 0x3000; c += c < 0x100 ? 1 : 61) {
            uint16_t g = psf_find(&psf, c);

            assert_true(g == PSF_NONE || g < psf.nglyphs);
        }
        for (uint32_t g = 0; g < psf.nglyphs; g++) {
            for (uint32_t y = 0; y < psf.height; y++) {
                (void)psf_bits(psf.glyphs + g * psf.glyph_bytes + y * psf.row_bytes, psf.row_bytes);
            }
        }
    }
    free(exact);
    return wrong;
}

static void assert_wrong(const char *words)
{
    const char *wrong = open_font();

    assert_non_null(wrong);
    assert_string_equal(wrong, words);
}

static void test_version1(void **state)
{
    (void)state;
    make1(0);
    assert_null(psf_open(&psf, font, nfont));
    assert_int_equal(psf.nglyphs, 256);
    assert_int_equal(psf.width, 8);
    assert_int_equal(psf.height, 16);
    assert_int_equal(psf_find(&psf, 'A'), 'A'); /* no table: as numbered */
    assert_int_equal(psf_find(&psf, 0x2500), PSF_NONE);
    assert_int_equal(psf_find(&psf, 0x20ac), PSF_NONE);
    assert_int_equal(psf_bits(psf.glyphs + 3, psf.row_bytes), 21u << 24);

    make1(2);
    make1_table();
    assert_null(psf_open(&psf, font, nfont));
    assert_int_equal(psf_find(&psf, 'A'), 0);
    assert_int_equal(psf_find(&psf, 'F'), 5);
    assert_int_equal(psf_find(&psf, 0x2500), 5);
    assert_int_equal(psf_find(&psf, 0x20ac), 5);
    assert_int_equal(psf_find(&psf, 0x2502), PSF_NONE); /* only in a sequence */
    assert_int_equal(psf_find(&psf, 0x301), PSF_NONE);
    assert_int_equal(psf_find(&psf, '@'), PSF_NONE);

    make1(1);
    assert_null(open_font());
    assert_int_equal(psf.nglyphs, 512);
}

static void test_version2(void **state)
{
    (void)state;
    make2(0, 3);
    assert_null(psf_open(&psf, font, nfont));
    assert_int_equal(psf.nglyphs, 3);
    assert_int_equal(psf.row_bytes, 2);
    assert_int_equal(psf_find(&psf, 2), 2);
    assert_int_equal(psf_find(&psf, 3), PSF_NONE);
    /* glyph 1, row 1: bytes 9 and 10 */
    assert_int_equal(psf_bits(psf.glyphs + 7 + 2, psf.row_bytes), (63u << 24) | (70u << 16));

    make2(1, 3);
    put_text("A\u00e9\u2500\xff"
             "B\u20ac\xfe\u2502"
             "e\xff\U0001f600"
             "A\xff");
    assert_null(psf_open(&psf, font, nfont));
    assert_int_equal(psf_find(&psf, 'A'), 0); /* the first that claims it */
    assert_int_equal(psf_find(&psf, 0xe9), 0);
    assert_int_equal(psf_find(&psf, 0x2500), 0);
    assert_int_equal(psf_find(&psf, 0x20ac), 1);
    assert_int_equal(psf_find(&psf, 'e'), PSF_NONE);
    assert_int_equal(psf_find(&psf, 0x1f600), 2);
}

static void test_damaged(void **state)
{
    (void)state;
    nfont = 0;
    assert_wrong("it is no PC screen font");
    make1(0);
    nfont = 3;
    assert_wrong("it is no PC screen font");
    make1(0);
    font[0] = 'x';
    assert_wrong("it is no PC screen font");
    make1(0);
    font[3] = 0;
    assert_wrong("its glyphs are too large, or empty");
    make1(0);
    font[3] = 65;
    assert_wrong("its glyphs are too large, or empty");
    make1(0);
    nfont--;
    assert_wrong("it is cut off");
    make1(2);
    assert_wrong("its table of characters is damaged");
    make1_table();
    nfont--;
    assert_wrong("its table of characters is damaged");
    make2(0, 3);
    font[28] = 33;
    assert_wrong("its glyphs are too large, or empty");
    make2(0, 3);
    font[20] = 5;
    assert_wrong("its glyphs are shorter than they are high");
    make2(0, 0);
    assert_wrong("it has no glyphs, or too many");
    make2(0, 3);
    font[19] = 1;
    assert_wrong("it has no glyphs, or too many");
    make2(0, 3);
    font[8] = 255;
    assert_wrong("it is cut off");
    make2(0, 3);
    memset(font + 20, 0xff, 4); /* glyphs of 4 GiB */
    assert_wrong("it is cut off");
    make2(1, 1);
    put_text("\x80\xff");
    assert_wrong("its table of characters is damaged");
    make2(1, 1);
    put_text("\xe2\x94");
    assert_wrong("its table of characters is damaged");
    make2(1, 1);
    put_text("\xe2z\x80\xff");
    assert_wrong("its table of characters is damaged");
}

/* Random bytes in a good font: never a read outside it (ASan), never a glyph that is not there. */
static void test_random_damage(void **state)
{
    struct host_rng r = host_rng_make("psf");
    unsigned opened = 0;

    (void)state;
    for (unsigned i = 0; i < 300; i++) {
        if (i % 2 == 0) {
            make1((uint8_t)host_rng_below(&r, 8));
            make1_table();
        } else {
            make2((uint32_t)host_rng_below(&r, 2), 1 + (uint32_t)host_rng_below(&r, 9));
            put_text("A\xff"
                     "B\xff\u2500\xff"
                     "C\xff"
                     "D\xff"
                     "E\xff"
                     "F\xff"
                     "G\xff"
                     "H\xff");
        }
        for (unsigned n = (unsigned)host_rng_below(&r, 4); n > 0; n--) {
            size_t reach = host_rng_below(&r, 2) != 0 ? 36 : nfont;

            font[host_rng_below(&r, reach)] = (uint8_t)host_rng_next(&r);
        }
        opened += open_font() == NULL;
    }
    assert_true(opened > 30);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_version1),
        cmocka_unit_test(test_version2),
        cmocka_unit_test(test_damaged),
        cmocka_unit_test(test_random_damage),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
