/*
 * conf.c - see conf.h.
 *
 * Both sources become plain ASCII first, then are cut into words by the parser that the kernel uses
 * as well, and only whole words go into the result. So the kernel's parser never meets anything but
 * what this file wrote, and a text that is too long ends at a word.
 *
 * The file may be UTF-8 or ASCII, or UTF-16 as Windows editors and the EDK II shell's redirection
 * write it: told apart by the byte order mark, or without one by which byte of the first character
 * is zero. A file that fails in the middle is not used at all: half of a list of commands is worse
 * than none.
 *
 * LoadOptions are UTF-16 by custom only. Boot managers store binary data there, of odd sizes,
 * without a NUL; the EDK II shell puts the program's name in front, other loaders do not. So: take
 * whole 16-bit units up to the first NUL, and only if every one is printable ASCII.
 */
#include "conf.h"

/* Spaces and such; also what a NUL byte or a control character in the file turns into. */
static bool conf_is_text(uint32_t c)
{
    return (c >= 0x20 && c < 0x7f) || c == '\t' || c == '\r' || c == '\n';
}

/* What was odd about a text as it was turned to ASCII. */
struct conf_oddities {
    bool nul;
    bool foreign; /* characters that are not ASCII; in comments they are fine */
};

/* One character of any encoding, as ASCII: NUL becomes a space, what has no ASCII '?', and CR a
 * line end, so that a quote which is never closed does not take it into its value. */
static char conf_ascii(uint32_t c, struct conf_oddities *odd)
{
    if (c == 0) {
        odd->nul = true;
        return ' ';
    }
    if (!conf_is_text(c)) {
        odd->foreign = true;
        return '?';
    }
    return c == '\r' ? '\n' : (char)c;
}

/* Turn text[0, len) to ASCII in place; returns the new length, never more than the old one. */
static size_t conf_to_ascii(unsigned char *text, size_t len, struct conf_oddities *odd)
{
    bool bom8 = len >= 3 && text[0] == 0xef && text[1] == 0xbb && text[2] == 0xbf;
    bool bom_le = len >= 2 && text[0] == 0xff && text[1] == 0xfe;
    bool bom_be = len >= 2 && text[0] == 0xfe && text[1] == 0xff;
    bool le = bom_le || (len >= 2 && text[0] != 0 && text[1] == 0);
    bool be = bom_be || (len >= 2 && text[0] == 0 && text[1] != 0);
    size_t out = 0;

    if (le || be) {
        for (size_t in = bom_le || bom_be ? 2 : 0; in + 1 < len; in += 2) {
            uint32_t c = le ? text[in] | (uint32_t)text[in + 1] << 8
                            : text[in + 1] | (uint32_t)text[in] << 8;

            text[out++] = (unsigned char)conf_ascii(c, odd);
        }
        return out;
    }
    for (size_t in = bom8 ? 3 : 0; in < len; in++) {
        bool continues = (text[in] & 0xc0) == 0x80; /* UTF-8: a further byte of one character */

        if (!continues) {
            text[out++] = (unsigned char)conf_ascii(text[in], odd);
        }
    }
    return out;
}

/*
 * Append the words of text[0, len) to c, one to a line, as long as they end before `room`. `cut`:
 * the text goes on behind len, so a word that touches the end is not whole. False: some were left
 * out.
 */
static bool conf_append(struct conf *c, const char *text, size_t len, bool cut, size_t room)
{
    struct plat_option o;
    size_t pos = 0;

    while (plat_option_next(text, len, &pos, &o)) {
        size_t nbytes = (size_t)(text + pos - o.key);

        if ((cut && pos == len) || c->len + nbytes + 1 >= room) {
            return false;
        }
        for (size_t i = 0; i < nbytes; i++) {
            c->text[c->len++] = o.key[i];
        }
        c->text[c->len++] = '\n';
    }
    return !cut;
}

/* Length of the first word if it names a program (it ends in .efi, in quotes or not), else 0. */
static size_t conf_program_name(const char *text, size_t len)
{
    bool quoted = len > 0 && text[0] == '"';
    size_t end = quoted;
    size_t behind;

    while (end < len && (quoted ? text[end] != '"' : !plat_option_space(text[end]))) {
        if (text[end] == '=') {
            return 0;
        }
        end++;
    }
    behind = end + (quoted && end < len);
    if (end < 4) {
        return 0;
    }
    for (size_t i = 0; i < 4; i++) {
        char ch = text[end - 4 + i];

        if (ch != ".efi"[i] && ch != ".EFI"[i]) {
            return 0;
        }
    }
    return behind;
}

/* LoadOptions into *c, which is empty. */
static void conf_load_options(const struct fw *fw, const unsigned char *bytes, uint64_t nbytes,
                              struct conf *c)
{
    char text[PLAT_OPTIONS_MAX];
    uint64_t units = bytes == NULL ? 0 : nbytes / 2;
    size_t len = 0, skip;
    bool cut = false;

    for (uint64_t i = 0; i < units; i++) {
        uint32_t u = bytes[2 * i] | (uint32_t)bytes[2 * i + 1] << 8;

        if (u == 0) {
            break;
        }
        if (u < 0x20 || u >= 0x7f) {
            fw_say(fw, "plat: load options: not plain text, ignored\n");
            return;
        }
        if (len == sizeof(text)) {
            cut = true;
            break;
        }
        text[len++] = (char)u;
    }
    skip = 0;
    while (skip < len && text[skip] == ' ') {
        skip++;
    }
    skip += conf_program_name(text + skip, len - skip);
    if (!conf_append(c, text + skip, len - skip, cut, CONF_LOAD_OPTIONS_MAX)) {
        fw_say(fw, "plat: load options: longer than %llu characters, the rest is ignored\n",
               (unsigned long long)CONF_LOAD_OPTIONS_MAX);
    }
}

/* All of the open file, up to `max` bytes, into `to`. */
static fw_status_t conf_read(const struct fw *fw, unsigned char *to, uint64_t max, uint64_t *nbytes)
{
    uint64_t have = 0;

    while (have < max) {
        uint64_t want = max - have < FW_READ_MAX ? max - have : FW_READ_MAX;
        uint64_t got = want;
        fw_status_t s = fw->conf_read(to + have, &got);

        if (fw_failed(s)) {
            return s;
        }
        if (got == 0) {
            break;
        }
        if (got > want) {
            return FW_DEVICE_ERROR; /* firmware claims more than there was room for */
        }
        have += got;
    }
    *nbytes = have;
    return FW_SUCCESS;
}

/* plat.conf, as far as it fits below `room`, into *c, which is empty. */
static void conf_file(const struct fw *fw, struct pool *pool, size_t room, struct conf *c)
{
    struct conf_oddities odd = { false, false };
    uint64_t buffer, nbytes = 0;
    fw_status_t s = fw->conf_open();
    bool cut;

    if (fw_failed(s)) {
        fw_say(fw, "plat: \\plat\\plat.conf: cannot be opened, %s; using defaults\n",
               fw_status_name(s));
        return;
    }
    /* One byte more than the limit, to tell a file that ends there from one that goes on. */
    s = pool_alloc(pool, CONF_FILE_MAX + 1, STUB_PAGE, POOL_ANY, &buffer);
    if (!fw_failed(s)) {
        unsigned char *bytes = fw_pointer(buffer);

        s = conf_read(fw, bytes, CONF_FILE_MAX + 1, &nbytes);
        if (!fw_failed(s)) {
            size_t len;

            cut = nbytes > CONF_FILE_MAX;
            len = conf_to_ascii(bytes, cut ? CONF_FILE_MAX : nbytes, &odd);
            if (!conf_append(c, (const char *)bytes, len, cut, room)) {
                fw_say(fw,
                       "plat: \\plat\\plat.conf: too long, words that do not fit are ignored\n");
            }
        }
        pool_free(pool, buffer);
    }
    fw->conf_close();
    if (fw_failed(s)) {
        fw_say(fw, "plat: \\plat\\plat.conf: cannot be read, %s; using defaults\n",
               fw_status_name(s));
    }
    if (odd.nul) {
        fw_say(fw, "plat: \\plat\\plat.conf: has NUL bytes, taken as spaces; is it a text file?\n");
    }
    for (size_t i = 0; odd.foreign && i < c->len; i++) {
        if (c->text[i] == '?') {
            fw_say(fw, "plat: \\plat\\plat.conf: options are plain ASCII, other characters "
                       "became '?'\n");
            break;
        }
    }
}

void conf_gather(const struct fw *fw, struct pool *pool, const void *load_options,
                 uint64_t load_options_bytes, struct conf *c)
{
    struct conf from_options;

    from_options.len = 0;
    conf_load_options(fw, load_options, load_options_bytes, &from_options);
    c->len = 0;
    conf_file(fw, pool, sizeof(c->text) - from_options.len, c);
    for (size_t i = 0; i < from_options.len; i++) {
        c->text[c->len++] = from_options.text[i];
    }
    c->text[c->len] = '\0';
}

bool conf_is_on(const struct conf *c, const char *key)
{
    struct plat_option o = { .key_len = 0 };
    struct plat_option word;

    if (!plat_option_find(c->text, c->len, key, &o)) {
        return false;
    }
    if (o.value_len == 0 && o.value[0] == '\0') {
        return true;
    }
    word = (struct plat_option){ .key = o.value, .key_len = o.value_len };
    return plat_option_is(&word, "1") || plat_option_is(&word, "on") ||
           plat_option_is(&word, "yes");
}
