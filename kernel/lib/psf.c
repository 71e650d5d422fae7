/*
 * psf.c - PC screen fonts.
 *
 * Format: kbd's documentation, doc/font-formats (psf.txt). A header, then the glyphs, then for each
 * glyph the characters that it shows and, behind a separator, sequences of characters that it shows
 * (which we skip), up to a terminator. Version 1 writes characters as UCS-2, version 2 as UTF-8.
 *
 * Where several glyphs claim a character the first has it. Latin-1 and the block with box drawing
 * are looked up by index; the rest, rare in a kernel's text, by walking the table.
 */
#include "lib/psf.h"

#include "lib/string.h"

#define PSF1_HEADER   4u
#define PSF1_512      0x01 /* mode bits: 512 glyphs, not 256 */
#define PSF1_TABLE    0x06 /* has a table (either bit) */
#define PSF1_SEQUENCE 0xfffe
#define PSF1_END      0xffff

#define PSF2_HEADER   32u
#define PSF2_TABLE    0x01 /* flag: has a table */
#define PSF2_SEQUENCE 0xfe
#define PSF2_END      0xff

/* What table_next() found. */
enum item { ITEM_CHARACTER, ITEM_SEQUENCE, ITEM_END, ITEM_BROKEN };

static uint32_t read32(const uint8_t *p)
{
    return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static enum item utf8_next(const struct psf *f, size_t *at, uint32_t *codepoint)
{
    const uint8_t *p = f->table + *at;
    size_t room = f->table_bytes - *at;

    if (room == 0) {
        return ITEM_BROKEN;
    }
    if (*p == PSF2_END || *p == PSF2_SEQUENCE) {
        (*at)++;
        return *p == PSF2_END ? ITEM_END : ITEM_SEQUENCE;
    }

    size_t n = *p < 0x80 ? 1 : *p < 0xc0 ? 0 : *p < 0xe0 ? 2 : *p < 0xf0 ? 3 : *p < 0xf8 ? 4 : 0;

    if (n == 0 || n > room) {
        return ITEM_BROKEN;
    }
    *codepoint = n == 1 ? *p : *p & (0x7fu >> n);
    for (size_t i = 1; i < n; i++) {
        if ((p[i] & 0xc0) != 0x80) {
            return ITEM_BROKEN;
        }
        *codepoint = *codepoint << 6 | (p[i] & 0x3f);
    }
    *at += n;
    return ITEM_CHARACTER;
}

/* The item at table offset *at, which moves behind it. */
static enum item table_next(const struct psf *f, size_t *at, uint32_t *codepoint)
{
    if (f->utf8) {
        return utf8_next(f, at, codepoint);
    }
    if (f->table_bytes - *at < 2) {
        return ITEM_BROKEN;
    }
    *codepoint = f->table[*at] | (uint32_t)f->table[*at + 1] << 8;
    *at += 2;
    return *codepoint == PSF1_END        ? ITEM_END
           : *codepoint == PSF1_SEQUENCE ? ITEM_SEQUENCE
                                         : ITEM_CHARACTER;
}

/*
 * Call `fn` for each glyph and character that it shows until it returns true, then say true. False
 * at the end of the table. *broken tells an end that came too early.
 */
static bool table_walk(const struct psf *f, bool (*fn)(void *ctx, uint32_t glyph, uint32_t c),
                       void *ctx, bool *broken)
{
    size_t at = 0;

    *broken = false;
    for (uint32_t glyph = 0; glyph < f->nglyphs; glyph++) {
        bool in_sequence = false;

        for (;;) {
            uint32_t c = 0;
            enum item item = table_next(f, &at, &c);

            if (item == ITEM_BROKEN) {
                *broken = true;
                return false;
            }
            if (item == ITEM_END) {
                break;
            }
            in_sequence = in_sequence || item == ITEM_SEQUENCE;
            if (!in_sequence && fn(ctx, glyph, c)) {
                return true;
            }
        }
    }
    return false;
}

static bool note_character(void *ctx, uint32_t glyph, uint32_t c)
{
    struct psf *f = ctx;
    uint16_t *slot = c < 0x100 ? &f->latin[c] : c >> 8 == 0x25 ? &f->box[c & 0xff] : NULL;

    if (slot != NULL && *slot == PSF_NONE) {
        *slot = (uint16_t)glyph;
    }
    return false;
}

static const char *read_header(struct psf *f, const uint8_t *p, size_t n, size_t *header,
                               bool *has_table)
{
    if (n >= PSF1_HEADER && p[0] == 0x36 && p[1] == 0x04) {
        *header = PSF1_HEADER;
        *has_table = (p[2] & PSF1_TABLE) != 0;
        f->nglyphs = (p[2] & PSF1_512) != 0 ? 512 : 256;
        f->width = 8;
        f->height = p[3];
        f->glyph_bytes = p[3];
        f->utf8 = false;
    } else if (n >= PSF2_HEADER && read32(p) == 0x864ab572) {
        *header = read32(p + 8);
        *has_table = (read32(p + 12) & PSF2_TABLE) != 0;
        f->nglyphs = read32(p + 16);
        f->glyph_bytes = read32(p + 20);
        f->height = read32(p + 24);
        f->width = read32(p + 28);
        f->utf8 = true;
    } else {
        return "it is no PC screen font";
    }
    if (f->width == 0 || f->width > PSF_MAX_WIDTH || f->height == 0 || f->height > PSF_MAX_HEIGHT) {
        return "its glyphs are too large, or empty";
    }
    f->row_bytes = (f->width + 7) / 8;
    if (f->glyph_bytes < f->row_bytes * f->height) {
        return "its glyphs are shorter than they are high";
    }
    if (f->nglyphs == 0 || f->nglyphs >= PSF_NONE) {
        return "it has no glyphs, or too many";
    }
    if (*header > n || (uint64_t)f->nglyphs * f->glyph_bytes > n - *header) {
        return "it is cut off";
    }
    return NULL;
}

const char *psf_open(struct psf *f, const void *data, size_t n)
{
    const uint8_t *p = data;
    size_t header = 0, table = 0;
    bool has_table = false, broken = false;
    const char *wrong = read_header(f, p, n, &header, &has_table);

    if (wrong != NULL) {
        return wrong;
    }
    table = header + (size_t)f->nglyphs * f->glyph_bytes;
    f->glyphs = p + header;
    f->table = has_table ? p + table : NULL;
    f->table_bytes = has_table ? n - table : 0;
    memset(f->latin, 0xff, sizeof(f->latin)); /* PSF_NONE */
    memset(f->box, 0xff, sizeof(f->box));
    if (has_table) {
        table_walk(f, note_character, f, &broken);
    } else {
        for (uint32_t c = 0; c < 0x100 && c < f->nglyphs; c++) {
            f->latin[c] = (uint16_t)c;
        }
    }
    return broken ? "its table of characters is damaged" : NULL;
}

struct wanted {
    uint32_t codepoint;
    uint16_t glyph;
};

static bool match_character(void *ctx, uint32_t glyph, uint32_t c)
{
    struct wanted *w = ctx;

    if (c == w->codepoint) {
        w->glyph = (uint16_t)glyph;
    }
    return c == w->codepoint;
}

uint16_t psf_find(const struct psf *f, uint32_t codepoint)
{
    struct wanted w = { .codepoint = codepoint, .glyph = PSF_NONE };
    bool broken;

    if (codepoint < 0x100) {
        return f->latin[codepoint];
    }
    if (codepoint >> 8 == 0x25) {
        return f->box[codepoint & 0xff];
    }
    if (f->table != NULL) {
        table_walk(f, match_character, &w, &broken);
    }
    return w.glyph;
}
