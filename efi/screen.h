/*
 * screen.h - is a graphics mode one that the kernel can draw in?
 */
#ifndef EFI_SCREEN_H
#define EFI_SCREEN_H

#include <stdbool.h>
#include <stdint.h>

#include "plat/boot.h"

/* EFI_GRAPHICS_PIXEL_FORMAT, UEFI 2.10 12.9.2 */
enum screen_format { SCREEN_RGBX = 0, SCREEN_BGRX = 1, SCREEN_MASKS = 2, SCREEN_BLT_ONLY = 3 };

/* The mode that a GOP is in, as it says. */
struct screen_mode {
    uint64_t base;
    uint64_t nbytes;
    uint32_t width;
    uint32_t height;
    uint32_t stride;                     /* PixelsPerScanLine */
    uint32_t format;                     /* enum screen_format */
    uint32_t red, green, blue, reserved; /* bits of a pixel, for SCREEN_MASKS */
};

/* True and *fb filled if it is linear, has 32-bit pixels of an order that we know, and its sizes
 * fit together. */
bool screen_usable(const struct screen_mode *m, struct plat_framebuffer *fb);

#endif
