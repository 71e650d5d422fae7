/*
 * psf.h - reads PC screen fonts, versions 1 and 2: glyph bitmaps and which characters they show.
 *
 * Memory:   the font stays where it is, read-only and valid for ever; nothing in it is trusted.
 * Locking:  none; a font does not change after psf_open().
 */
#ifndef LIB_PSF_H
#define LIB_PSF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PSF_MAX_WIDTH  32u
#define PSF_MAX_HEIGHT 64u

struct psf {
    const uint8_t *glyphs;
    uint32_t nglyphs; /* >= 1, at most 65535 */
    uint32_t width, height;
    uint32_t row_bytes;   /* of one pixel row of a glyph: most significant bit left */
    uint32_t glyph_bytes; /* of one glyph, >= row_bytes * height */
    const uint8_t *table; /* which characters, or NULL: then glyph n shows character n */
    size_t table_bytes;
    bool utf8;                         /* the table is version 2's */
    uint16_t latin[0x100], box[0x100]; /* glyphs of U+00xx and U+25xx, PSF_NONE */
};

#define PSF_NONE 0xffffu

/* Read the font in data[0, n). NULL, or what is wrong with it; then *f is not to be used. */
const char *psf_open(struct psf *f, const void *data, size_t n);

/* The glyph that shows `codepoint`, or PSF_NONE. O(1) for U+00xx and U+25xx, else O(table). */
uint16_t psf_find(const struct psf *f, uint32_t codepoint);

/* The pixel row of `row_bytes` bytes at `p`; leftmost pixel in bit 31. */
static inline uint32_t psf_bits(const uint8_t *p, uint32_t row_bytes)
{
    uint32_t bits = (uint32_t)p[0] << 24; /* all of it for most fonts: 8 pixels wide */

    for (uint32_t i = 1; i < row_bytes; i++) {
        bits |= (uint32_t)p[i] << (24 - 8 * i);
    }
    return bits;
}

#endif
