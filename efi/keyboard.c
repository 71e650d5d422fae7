/*
 * keyboard.c - see keyboard.h.
 *
 * The wait may end without a key: a shift key alone wakes it on EDK II, and so may a fault. That is
 * a miss, and a console that has nothing but misses is given up, as the loop that waits for a key
 * would never end.
 */
#include "keyboard.h"

#include "mm/types.h"

#define MISSES_MAX      1000u
#define SEQUENCE_CHARS  32u
#define TYPED_AHEAD_MAX 256u

#define CHAR_ESC    0x1bu
#define CHAR_DELETE 0x7fu

/* UEFI 2.10, table 12.4. */
#define SCAN_ESC 0x17u
static const uint16_t scan_keys[] = {
    [0x01] = KEY_UP,        [0x02] = KEY_DOWN, [0x03] = KEY_RIGHT,     [0x04] = KEY_LEFT,
    [0x05] = KEY_HOME,      [0x06] = KEY_END,  [0x08] = KEY_BACKSPACE, [0x09] = KEY_PAGE_UP,
    [0x0a] = KEY_PAGE_DOWN, [0x0b] = KEY_F1,
};

/* What firmware holds ready, or what comes within the time. KEY_OTHER: *raw was filled in. */
static enum key keyboard_raw(struct keyboard *k, uint64_t us, struct console_key *raw)
{
    fw_status_t s;

    if (k->is_held) {
        k->is_held = false;
        *raw = k->held;
        return KEY_OTHER;
    }
    while (k->misses < MISSES_MAX) {
        s = k->console->key(raw);
        if (!fw_failed(s)) {
            k->misses = 0;
            return KEY_OTHER;
        }
        s = k->console->wait(us);
        if (s == FW_TIMEOUT) {
            return KEY_NONE;
        }
        k->misses++;
    }
    return KEY_FAILED;
}

static enum key keyboard_of_final(uint16_t final, uint32_t number)
{
    switch (final) {
    case 'A':
        return KEY_UP;
    case 'B':
        return KEY_DOWN;
    case 'C':
        return KEY_RIGHT;
    case 'D':
        return KEY_LEFT;
    case 'H':
        return KEY_HOME;
    case 'F':
        return KEY_END;
    case 'P':
        return KEY_F1;
    case '~':
        break;
    default:
        return KEY_OTHER;
    }
    switch (number) {
    case 1:
    case 7:
        return KEY_HOME;
    case 4:
    case 8:
        return KEY_END;
    case 5:
        return KEY_PAGE_UP;
    case 6:
        return KEY_PAGE_DOWN;
    case 11:
        return KEY_F1;
    default:
        return KEY_OTHER;
    }
}

/* Behind an Esc: ECMA-48 5.4 control sequences ("[", parameters, a final character) and "O". */
static enum key keyboard_sequence(struct keyboard *k)
{
    struct console_key raw;
    uint32_t number = 0;

    if (keyboard_raw(k, KEYBOARD_SEQUENCE_US, &raw) != KEY_OTHER) {
        return KEY_ESC;
    }
    if (raw.scan != 0 || (raw.character != '[' && raw.character != 'O')) {
        k->held = raw;
        k->is_held = true;
        return KEY_ESC;
    }
    for (uint32_t i = 0; i < SEQUENCE_CHARS; i++) {
        if (keyboard_raw(k, KEYBOARD_SEQUENCE_US, &raw) != KEY_OTHER) {
            return KEY_OTHER;
        }
        if (raw.scan != 0 || raw.character < 0x20 || raw.character > 0x7e) {
            k->held = raw;
            k->is_held = true;
            return KEY_OTHER;
        }
        if (raw.character >= 0x40) {
            return keyboard_of_final(raw.character, number);
        }
        if (raw.character >= '0' && raw.character <= '9' && number < 100) {
            number = number * 10 + (raw.character - '0');
        } else {
            number = 100; /* parameters of which no key has that many */
        }
    }
    return KEY_OTHER;
}

enum key keyboard_next(struct keyboard *k, uint64_t us)
{
    struct console_key raw;
    enum key key = keyboard_raw(k, us, &raw);

    if (key != KEY_OTHER) {
        return key;
    }
    if (raw.scan == SCAN_ESC || (raw.scan == 0 && raw.character == CHAR_ESC)) {
        return keyboard_sequence(k);
    }
    if (raw.scan != 0) {
        return raw.scan < MM_COUNTOF(scan_keys) && scan_keys[raw.scan] != 0 ? scan_keys[raw.scan]
                                                                            : KEY_OTHER;
    }
    switch (raw.character) {
    case '\n':
        return KEY_ENTER;
    case CHAR_DELETE:
        return KEY_BACKSPACE;
    case KEY_BACKSPACE:
    case KEY_TAB:
    case KEY_REDRAW:
    case KEY_ENTER:
        return raw.character;
    default:
        return raw.character >= 0x20 && raw.character < 0x7f ? raw.character : KEY_OTHER;
    }
}

void keyboard_drain(struct keyboard *k)
{
    struct console_key raw;

    k->is_held = false;
    for (uint32_t i = 0; i < TYPED_AHEAD_MAX && !fw_failed(k->console->key(&raw)); i++) {
    }
}
