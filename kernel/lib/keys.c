/*
 * keys.c - scan codes to characters.
 *
 * Sources: IBM Personal System/2 Hardware Interface Technical Reference, keyboard, scan code sets 1
 * and 2; Microsoft "Keyboard Scan Code Specification" 1.3a, which has both and the extended keys.
 *
 * Codes of set 2 are first made into those of set 1, with the table that is in each 8042, and then
 * share one layout. Modifiers are kept as bits, one per physical key, so that releasing one Shift
 * while the other is held does what it should. When the keyboard says that it lost codes, all
 * modifiers count as released.
 */
#include "lib/keys.h"

#include "lib/string.h"

enum {
    DOWN_LSHIFT = 1 << 0,
    DOWN_RSHIFT = 1 << 1,
    DOWN_LCTRL = 1 << 2,
    DOWN_RCTRL = 1 << 3,
    DOWN_CAPS = 1 << 4, /* these two so that the repeats of a held key do not count */
    DOWN_NUM = 1 << 5,
    DOWN_SHIFT = DOWN_LSHIFT | DOWN_RSHIFT,
    DOWN_CTRL = DOWN_LCTRL | DOWN_RCTRL,
};

/* Set 1 make codes with a meaning of their own; a release has bit 7 set. */
enum {
    KEY_BREAK = 0x80,
    KEY_CTRL = 0x1d,
    KEY_LSHIFT = 0x2a,
    KEY_SLASH = 0x35,
    KEY_RSHIFT = 0x36,
    KEY_CAPS = 0x3a,
    KEY_NUM = 0x45,
    KEY_PAD_FIRST = 0x47, /* 7 Home */
    KEY_PAD_LAST = 0x53,  /* . Delete */
};

#define CODE_EXTENDED 0xe0
#define CODE_PAUSE    0xe1
#define CODE_RELEASED 0xf0 /* set 2 */

/* Set 1 to characters, US layout; 0: none. */
static const char plain[0x59] = {
    [0x01] = 0x1b, [0x02] = '1',  [0x03] = '2',  [0x04] = '3',  [0x05] = '4',  [0x06] = '5',
    [0x07] = '6',  [0x08] = '7',  [0x09] = '8',  [0x0a] = '9',  [0x0b] = '0',  [0x0c] = '-',
    [0x0d] = '=',  [0x0e] = 0x7f, [0x0f] = '\t', [0x10] = 'q',  [0x11] = 'w',  [0x12] = 'e',
    [0x13] = 'r',  [0x14] = 't',  [0x15] = 'y',  [0x16] = 'u',  [0x17] = 'i',  [0x18] = 'o',
    [0x19] = 'p',  [0x1a] = '[',  [0x1b] = ']',  [0x1c] = '\r', [0x1e] = 'a',  [0x1f] = 's',
    [0x20] = 'd',  [0x21] = 'f',  [0x22] = 'g',  [0x23] = 'h',  [0x24] = 'j',  [0x25] = 'k',
    [0x26] = 'l',  [0x27] = ';',  [0x28] = '\'', [0x29] = '`',  [0x2b] = '\\', [0x2c] = 'z',
    [0x2d] = 'x',  [0x2e] = 'c',  [0x2f] = 'v',  [0x30] = 'b',  [0x31] = 'n',  [0x32] = 'm',
    [0x33] = ',',  [0x34] = '.',  [0x35] = '/',  [0x37] = '*',  [0x39] = ' ',  [0x4a] = '-',
    [0x4e] = '+',  [0x56] = '\\',
};

/* What Shift makes of the characters that are no letters. */
static const char unshifted[] = "1234567890-=[];'`\\,./";
static const char shifted[] = "!@#$%^&*()_+{}:\"~|<>?";

/* The keypad from KEY_PAD_FIRST on: with num lock, and without it as the end of ESC [. */
static const char pad_digit[] = "789-456+1230.";
static const char *const pad_key[] = { "H", "A", "5~", "",   "D",  "",  "C",
                                       "",  "F", "B",  "6~", "2~", "3~" };

/* Set 2 to set 1, as the 8042 translates; 0: no such key. */
static const uint8_t set2_to_set1[0x84] = {
    [0x01] = 0x43, [0x03] = 0x3f, [0x04] = 0x3d, [0x05] = 0x3b, [0x06] = 0x3c, [0x07] = 0x58,
    [0x09] = 0x44, [0x0a] = 0x42, [0x0b] = 0x40, [0x0c] = 0x3e, [0x0d] = 0x0f, [0x0e] = 0x29,
    [0x11] = 0x38, [0x12] = 0x2a, [0x14] = 0x1d, [0x15] = 0x10, [0x16] = 0x02, [0x1a] = 0x2c,
    [0x1b] = 0x1f, [0x1c] = 0x1e, [0x1d] = 0x11, [0x1e] = 0x03, [0x21] = 0x2e, [0x22] = 0x2d,
    [0x23] = 0x20, [0x24] = 0x12, [0x25] = 0x05, [0x26] = 0x04, [0x29] = 0x39, [0x2a] = 0x2f,
    [0x2b] = 0x21, [0x2c] = 0x14, [0x2d] = 0x13, [0x2e] = 0x06, [0x31] = 0x31, [0x32] = 0x30,
    [0x33] = 0x23, [0x34] = 0x22, [0x35] = 0x15, [0x36] = 0x07, [0x3a] = 0x32, [0x3b] = 0x24,
    [0x3c] = 0x16, [0x3d] = 0x08, [0x3e] = 0x09, [0x41] = 0x33, [0x42] = 0x25, [0x43] = 0x17,
    [0x44] = 0x18, [0x45] = 0x0b, [0x46] = 0x0a, [0x49] = 0x34, [0x4a] = 0x35, [0x4b] = 0x26,
    [0x4c] = 0x27, [0x4d] = 0x19, [0x4e] = 0x0c, [0x52] = 0x28, [0x54] = 0x1a, [0x55] = 0x0d,
    [0x58] = 0x3a, [0x59] = 0x36, [0x5a] = 0x1c, [0x5b] = 0x1b, [0x5d] = 0x2b, [0x61] = 0x56,
    [0x66] = 0x0e, [0x69] = 0x4f, [0x6b] = 0x4b, [0x6c] = 0x47, [0x70] = 0x52, [0x71] = 0x53,
    [0x72] = 0x50, [0x73] = 0x4c, [0x74] = 0x4d, [0x75] = 0x48, [0x76] = 0x01, [0x77] = 0x45,
    [0x78] = 0x57, [0x79] = 0x4e, [0x7a] = 0x51, [0x7b] = 0x4a, [0x7c] = 0x37, [0x7d] = 0x49,
    [0x7e] = 0x46, [0x83] = 0x41,
};

void keys_init(struct keys *k, bool set2)
{
    *k = (struct keys){ .set2 = set2, .num = true };
}

static void set_down(struct keys *k, uint8_t bit, bool pressed)
{
    k->down = pressed ? k->down | bit : k->down & (uint8_t)~bit;
}

/* Is it a modifier? Then note its state. */
static bool modifier(struct keys *k, uint8_t key, bool extended, bool pressed)
{
    switch (key) {
    case KEY_LSHIFT:
    case KEY_RSHIFT:
        /* Extended ones are the fake shifts that keyboards send around the keys beside the pad. */
        if (!extended) {
            set_down(k, key == KEY_LSHIFT ? DOWN_LSHIFT : DOWN_RSHIFT, pressed);
        }
        return true;
    case KEY_CTRL:
        set_down(k, extended ? DOWN_RCTRL : DOWN_LCTRL, pressed);
        return true;
    case KEY_CAPS:
        k->caps ^= pressed && (k->down & DOWN_CAPS) == 0;
        set_down(k, DOWN_CAPS, pressed);
        return true;
    case KEY_NUM:
        k->num ^= pressed && (k->down & DOWN_NUM) == 0;
        set_down(k, DOWN_NUM, pressed);
        return true;
    default:
        return false;
    }
}

static size_t put_sequence(const char *end, char *out)
{
    size_t n = strlen(end);

    if (n == 0) {
        return 0;
    }
    memcpy(out, "\033[", 2);
    memcpy(out + 2, end, n);
    return n + 2;
}

static char apply_modifiers(const struct keys *k, char c)
{
    bool shift = (k->down & DOWN_SHIFT) != 0;
    const char *at;

    if (c >= 'a' && c <= 'z') {
        if (shift != k->caps) {
            c = (char)(c - 'a' + 'A');
        }
    } else if (shift && (at = strchr(unshifted, c)) != NULL && *at != '\0') {
        c = shifted[at - unshifted];
    }
    /* ^@ to ^_ and their lower-case twins */
    if ((k->down & DOWN_CTRL) != 0 && ((c >= '@' && c <= '_') || (c >= 'a' && c <= 'z'))) {
        c &= 0x1f;
    }
    return c;
}

/* A key of set 1 went down. */
static size_t key_down(const struct keys *k, uint8_t key, bool extended, char *out)
{
    if (key >= KEY_PAD_FIRST && key <= KEY_PAD_LAST) {
        unsigned i = key - KEY_PAD_FIRST;

        if (!extended && (k->num || pad_digit[i] == '-' || pad_digit[i] == '+')) {
            out[0] = pad_digit[i];
            return 1;
        }
        return put_sequence(pad_key[i], out);
    }
    if (key >= sizeof(plain) || plain[key] == 0 ||
        (extended && plain[key] != '\r' && key != KEY_SLASH)) {
        return 0;
    }
    /* The pad's / and Enter are extended, its * is not; Shift changes none of them. */
    bool on_pad = extended || plain[key] == '*';

    out[0] = on_pad ? plain[key] : apply_modifiers(k, plain[key]);
    return 1;
}

size_t keys_feed(struct keys *k, uint8_t code, char out[KEYS_MAX])
{
    if (k->skip > 0) {
        k->skip--;
        return 0;
    }
    switch (code) {
    case CODE_EXTENDED:
        k->extended = true;
        return 0;
    case CODE_PAUSE: /* e1 1d 45 e1 9d c5, or e1 14 77 e1 f0 14 f0 77: one key, no release */
        k->skip = k->set2 ? 7 : 5;
        return 0;
    case 0x00:
    case 0xff: /* the keyboard's buffer ran over */
        k->down = 0;
        k->extended = k->released = false;
        return 0;
    default:
        break;
    }

    bool extended = k->extended, pressed;
    uint8_t key;

    if (k->set2) {
        if (code == CODE_RELEASED) {
            k->released = true;
            return 0;
        }
        pressed = !k->released;
        key = code < sizeof(set2_to_set1) ? set2_to_set1[code] : 0;
    } else {
        pressed = (code & KEY_BREAK) == 0;
        key = code & (uint8_t)~KEY_BREAK;
    }
    k->extended = k->released = false;
    if (modifier(k, key, extended, pressed) || !pressed) {
        return 0;
    }
    return key_down(k, key, extended, out);
}
