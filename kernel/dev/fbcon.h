/*
 * fbcon.h - text on a linear frame buffer.
 *
 * A terminal (lib/term.h) drawn with the font that is linked into the kernel, from pixel 0,0 on, at
 * double size on screens wider than 2560 pixels. Video memory is only ever written.
 * Locking:  fbcon_sink runs under the console lock.
 */
#ifndef DEV_FBCON_H
#define DEV_FBCON_H

#include <stdbool.h>

#include "lib/console.h"
#include "plat/boot.h"

/*
 * Clear the screen and make ready. `pixels` is where `fb` is mapped, all fb->nbytes of it,
 * write-combining if the processor can, and stays so for ever. False, with the reason in the log:
 * no such screen, one that makes no sense or is too small for a character, or a font that is
 * damaged; fbcon_sink must not be added then. Boot, once, without the console lock.
 */
bool fbcon_init(const struct plat_framebuffer *fb, void *pixels);

extern const struct console_sink fbcon_sink;

#endif
