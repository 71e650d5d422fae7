/*
 * screen.c - see screen.h.
 *
 * Firmware gives modes with no frame buffer (BLT only; the console splitter over two screens), a
 * line shorter than its pixels, sizes of 0. The kernel writes to this memory without asking again,
 * so whatever does not add up means: no frame buffer, use serial. Of memory that is larger than the
 * screen, only what is shown is taken: the kernel keeps RAM out of it, and a size that is too large
 * would cost all RAM behind.
 */
#include "screen.h"

bool screen_usable(const struct screen_mode *m, struct plat_framebuffer *fb)
{
    uint32_t format = m->format;

    if (format == SCREEN_MASKS && m->green == 0xff00 && m->reserved == 0xff000000) {
        if (m->red == 0xff && m->blue == 0xff0000) {
            format = SCREEN_RGBX;
        } else if (m->red == 0xff0000 && m->blue == 0xff) {
            format = SCREEN_BGRX;
        }
    }
    if (format != SCREEN_RGBX && format != SCREEN_BGRX) {
        return false;
    }
    if (m->base == 0 || m->base % 4 != 0 || m->base > UINT64_MAX - m->nbytes || m->width == 0 ||
        m->height == 0 || m->stride < m->width) {
        return false;
    }
    /* 32 + 32 bits fit, times 4 need not: so divide. */
    if ((uint64_t)m->stride * m->height > m->nbytes / 4) {
        return false;
    }
    *fb = (struct plat_framebuffer){
        .base = m->base,
        .nbytes = (uint64_t)m->stride * m->height * 4,
        .width = m->width,
        .height = m->height,
        .stride = m->stride,
        .format = format == SCREEN_RGBX ? PLAT_PIXEL_RGBX : PLAT_PIXEL_BGRX,
    };
    return true;
}
