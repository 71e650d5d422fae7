/*
 * options.h - how words are told apart in the text of options that the hand-over carries. Used on
 * both sides of it.
 *
 * Grammar:  words parted by white space; a word is `key` or `key=value`; a value in double quotes
 *           may hold spaces (run="memmap; audit"). `#` at the start of a word begins a comment that
 *           ends with the line. Later words win.
 *
 * The text comes from a file that anyone can write: nothing here trusts it beyond its length.
 */
#ifndef PLAT_OPTIONS_H
#define PLAT_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>

/* Bytes of text in all, NUL included; what is longer is cut at a word, with a message. */
#define PLAT_OPTIONS_MAX 4096u

struct plat_option {
    const char *key; /* into the text; not NUL-terminated */
    size_t key_len;
    const char *value; /* "" with value_len 0 for a bare key */
    size_t value_len;
};

static inline bool plat_option_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/*
 * The next word of text[*pos, len) into *o, and *pos behind it; false at the end (a NUL ends the
 * text too). An unclosed quote runs to the end of its line.
 */
static inline bool plat_option_next(const char *text, size_t len, size_t *pos,
                                    struct plat_option *o)
{
    size_t i = *pos;

    for (;;) {
        while (i < len && plat_option_space(text[i])) {
            i++;
        }
        if (i >= len || text[i] == '\0') {
            *pos = i;
            return false;
        }
        if (text[i] != '#') {
            break;
        }
        while (i < len && text[i] != '\0' && text[i] != '\n') {
            i++;
        }
    }
    o->key = text + i;
    while (i < len && text[i] != '\0' && text[i] != '=' && !plat_option_space(text[i])) {
        i++;
    }
    o->key_len = (size_t)(text + i - o->key);
    o->value = "";
    o->value_len = 0;
    if (i < len && text[i] == '=') {
        bool quoted = ++i < len && text[i] == '"';

        i += quoted;
        o->value = text + i;
        while (i < len && text[i] != '\0' &&
               (quoted ? text[i] != '"' && text[i] != '\n' : !plat_option_space(text[i]))) {
            i++;
        }
        o->value_len = (size_t)(text + i - o->value);
        if (quoted && i < len && text[i] == '"') {
            i++;
        }
    }
    *pos = i;
    return true;
}

static inline bool plat_option_is(const struct plat_option *o, const char *key)
{
    for (size_t i = 0; i < o->key_len; i++) {
        if (key[i] == '\0' || key[i] != o->key[i]) {
            return false;
        }
    }
    return key[o->key_len] == '\0';
}

/* The last word with `key`, into *o. */
static inline bool plat_option_find(const char *text, size_t len, const char *key,
                                    struct plat_option *o)
{
    struct plat_option w;
    size_t pos = 0;
    bool found = false;

    while (plat_option_next(text, len, &pos, &w)) {
        if (plat_option_is(&w, key)) {
            *o = w;
            found = true;
        }
    }
    return found;
}

#endif
