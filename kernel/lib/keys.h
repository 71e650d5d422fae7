/*
 * keys.h - scan codes of a PC keyboard to characters: US layout.
 *
 * Model:    a state machine with no device in it. It reads scan code set 1, which the 8042 makes of
 * the keyboard's set 2 when translation is on, or set 2 itself. Keys with no character give the
 * escape sequences of a VT100: arrows, Home, End, Insert, Delete, Page Up, Page Down. Unknown codes
 * give nothing.
 */
#ifndef LIB_KEYS_H
#define LIB_KEYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KEYS_MAX 6 /* characters that one key gives at most */

struct keys {
    bool set2;     /* else set 1 */
    bool extended; /* 0xe0 was seen */
    bool released; /* set 2: 0xf0 was seen */
    uint8_t skip;  /* bytes of a Pause sequence still to come */
    uint8_t down;  /* modifiers held: bits in keys.c */
    bool caps, num;
};

/* Nothing held, caps lock off, num lock on. */
void keys_init(struct keys *k, bool set2);

/* One byte from the keyboard; the characters it makes go to `out`, their number comes back. */
size_t keys_feed(struct keys *k, uint8_t code, char out[KEYS_MAX]);

#endif
