/*
 * stub_console.c - see stub_console.h.
 */
#include "stub_console.h"

#include <stdio.h>
#include <string.h>

struct stub_console stub_console;

static bool is_clear; /* nothing may be put before the first clear() */
static uint32_t cursor_column, cursor_row;

static const struct {
    const char *name;
    struct console_key key;
} names[] = {
    { "up", { 1, 0 } },        { "down", { 2, 0 } }, { "right", { 3, 0 } },  { "left", { 4, 0 } },
    { "home", { 5, 0 } },      { "end", { 6, 0 } },  { "pgup", { 9, 0 } },   { "pgdn", { 10, 0 } },
    { "f1", { 11, 0 } },       { "f2", { 12, 0 } },  { "esc", { 0x17, 0 } }, { "cr", { 0, 13 } },
    { "tab", { 0, 9 } },       { "bs", { 0, 8 } },   { "nul", { 0, 0 } },    { "lf", { 0, 10 } },
    { "ctrl-l", { 0, 0x0c } },
};

void stub_console_reset(const char *script)
{
    stub_console = (struct stub_console){
        .columns = 80, .rows = 25, .script = script, .wait_error = FW_DEVICE_ERROR
    };
    is_clear = false;
}

static void violated(const char *what)
{
    if (stub_console.violation == NULL) {
        stub_console.violation = what;
    }
}

static fw_status_t stub_size(uint32_t *columns, uint32_t *rows)
{
    if (fw_failed(stub_console.size_error)) {
        return stub_console.size_error;
    }
    *columns = stub_console.columns;
    *rows = stub_console.rows;
    return FW_SUCCESS;
}

static bool stub_has(uint16_t c)
{
    return (c >= 0x20 && c < 0x7f) ||
           (!stub_console.is_ascii && ((c >= 0xa0 && c < 0x100) || (c >= 0x2500 && c < 0x2600)));
}

static fw_status_t stub_put(uint32_t column, uint32_t row, uint8_t attribute, const uint16_t *text)
{
    uint32_t n = 0;

    stub_console.nputs++;
    if (stub_console.put_errors > 0) {
        stub_console.put_errors -= stub_console.put_errors != UINT32_MAX;
        return stub_console.put_error;
    }
    while (text[n] != 0 && n <= STUB_CONSOLE_COLUMNS) {
        n++;
    }
    if (!is_clear) {
        violated("put before clear");
    }
    if (n == 0) {
        violated("nothing is put");
    }
    if (row >= stub_console.rows || column >= stub_console.columns ||
        n > stub_console.columns - column) {
        violated("put outside of the console");
        return FW_UNSUPPORTED;
    }
    if (stub_console.reach != 0 && column >= stub_console.reach &&
        (column != cursor_column || row != cursor_row)) {
        return FW_UNSUPPORTED;
    }
    cursor_column = column + n;
    cursor_row = row;
    if (row == stub_console.rows - 1 && column + n == stub_console.columns) {
        violated("put in the last cell");
    }
    if (attribute >= 0x80) {
        violated("an attribute that is none");
    }
    for (uint32_t i = 0; i < n; i++) {
        if (!stub_has(text[i])) {
            violated("a character that the console does not have");
        }
        stub_console.text[row][column + i] = text[i];
        stub_console.attribute[row][column + i] = attribute;
    }
    stub_console.ncells += n;
    return FW_SUCCESS;
}

static fw_status_t stub_clear(uint8_t attribute)
{
    if (fw_failed(stub_console.clear_error)) {
        return stub_console.clear_error;
    }
    for (uint32_t row = 0; row < STUB_CONSOLE_ROWS; row++) {
        for (uint32_t column = 0; column < STUB_CONSOLE_COLUMNS; column++) {
            stub_console.text[row][column] = ' ';
            stub_console.attribute[row][column] = attribute;
        }
    }
    is_clear = true;
    cursor_column = cursor_row = 0;
    stub_console.nclears++;
    return FW_SUCCESS;
}

static void stub_show_cursor(bool shown)
{
    stub_console.cursor_shown = shown;
}

/* Is the next thing in the script "<word>"? */
static bool at_word(const char *word)
{
    size_t n = strlen(word);
    const char *s = stub_console.script;

    return s[0] == '<' && strncmp(s + 1, word, n) == 0 && s[n + 1] == '>';
}

/* Marks and new sizes: things that happen while nobody types. */
static void pass_marks(void)
{
    while (stub_console.script[0] == '<' && !at_word("wait") && !at_word("miss")) {
        const char *end = strchr(stub_console.script, '>');
        size_t n = (size_t)(end - stub_console.script - 1);
        unsigned columns, rows;
        int used = 0; /* until all of it matches */

        for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
            if (at_word(names[i].name)) {
                return;
            }
        }
        if (sscanf(stub_console.script, "<%ux%u>%n", &columns, &rows, &used) == 2 && used > 0) {
            stub_console.columns = columns;
            stub_console.rows = rows;
        } else if (stub_console.mark != NULL) {
            stub_console.mark(stub_console.script + 1, n);
        }
        stub_console.script = end + 1;
    }
}

static fw_status_t stub_key(struct console_key *key)
{
    pass_marks();
    if (stub_console.script[0] == '\0' || at_word("wait") || at_word("miss")) {
        return fw_failed(stub_console.key_error) ? stub_console.key_error : FW_NOT_READY;
    }
    stub_console.nkeys++;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (at_word(names[i].name)) {
            *key = names[i].key;
            stub_console.script += strlen(names[i].name) + 2;
            return FW_SUCCESS;
        }
    }
    *key = (struct console_key){ 0, (unsigned char)*stub_console.script++ };
    return FW_SUCCESS;
}

static fw_status_t stub_wait(uint64_t us)
{
    pass_marks();
    if (at_word("miss")) {
        stub_console.script += strlen("<miss>");
        return FW_SUCCESS;
    }
    if (at_word("wait")) {
        stub_console.script += strlen("<wait>");
        if (us != CONSOLE_FOREVER) {
            stub_console.waited_us += us;
            return FW_TIMEOUT;
        }
        return FW_SUCCESS; /* somebody typed at last */
    }
    if (stub_console.script[0] != '\0') {
        return FW_SUCCESS;
    }
    if (us == CONSOLE_FOREVER) {
        return stub_console.wait_error;
    }
    stub_console.waited_us += us;
    return FW_TIMEOUT;
}

const struct fw_console stub_console_table = {
    .size = stub_size,
    .put = stub_put,
    .clear = stub_clear,
    .show_cursor = stub_show_cursor,
    .has = stub_has,
    .key = stub_key,
    .wait = stub_wait,
};

const char *stub_console_row(uint32_t row)
{
    static char text[3 * STUB_CONSOLE_COLUMNS + 1];
    size_t n = 0, end = 0;

    for (uint32_t i = 0; i < stub_console.columns; i++) {
        uint16_t c = stub_console.text[row][i];

        if (c < 0x80) {
            text[n++] = (char)c;
        } else if (c < 0x800) {
            text[n++] = (char)(0xc0 | c >> 6);
            text[n++] = (char)(0x80 | (c & 0x3f));
        } else {
            text[n++] = (char)(0xe0 | c >> 12);
            text[n++] = (char)(0x80 | (c >> 6 & 0x3f));
            text[n++] = (char)(0x80 | (c & 0x3f));
        }
        end = c != ' ' ? n : end;
    }
    text[end] = '\0';
    return text;
}

bool stub_console_shows(const char *text)
{
    for (uint32_t row = 0; row < stub_console.rows; row++) {
        if (strstr(stub_console_row(row), text) != NULL) {
            return true;
        }
    }
    return false;
}
