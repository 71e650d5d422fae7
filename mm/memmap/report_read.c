/*
 * report_read.c - a report from its JSON document.
 *
 * The text is read twice. First all of it is checked as JSON, and the members `format` and `schema`
 * are found, wherever they stand: a document of another kind or version is refused for that, and
 * not for some member that looks odd. Then the members are read by the table of report_shape.c into
 * a report of our own, which the caller gets only when all is well.
 *
 * The storage is used from both ends: arrays grow at its bottom, one after the other, since an
 * element of a list has no list in it; texts go to its top.
 *
 *     arrays ->   free   <- texts
 *
 * The order of members means nothing, as JSON has it, except that a list's elements are in order.
 *
 * Rejected: reading what explains a number (names, `end`) and holding it against the number: names
 * may be corrected in a later version, and the number stands beside them. The bytes of a descriptor
 * and its numbers are compared, since neither is an explanation of the other: a report goes through
 * serial lines, mails and editors.
 */
#include "report_shape.h"

#include "mm/port.h"

/* An object that is being read, or a list of them. */
struct frame {
    const struct report_shape *shape; /* of the object, or of the elements */
    const struct report_field *list;  /* the member that is a list; NULL for an object */
    unsigned char *base;              /* the struct that is filled in; for a list, the one it is a
                                         member of */
    uint64_t seen;                    /* bit n: member n was there */
    uint64_t count;                   /* list: elements so far */
    unsigned char *first;             /* list: its first element in the storage */
    uint64_t stride;                  /* descriptors: bytes of each; 0 before the first */

    /* An object with a memmap_raw: what is behind its descriptors. */
    const unsigned char *rest;
    uint64_t rest_bytes;

    /* A descriptor: its bytes, in the storage. */
    const unsigned char *dump;
    uint64_t dump_bytes;
};

struct reader {
    struct json_reader json;
    struct report report;
    const char *member;    /* that is wrong */
    mm_err_t err;          /* of what is wrong with it */
    unsigned char *bottom; /* of the free storage */
    unsigned char *top;
    uint32_t depth;
    struct frame frames[REPORT_SHAPE_DEPTH];
    struct efi_memory_descriptor desc; /* the one that is being read */
};

static void refuse_as(struct reader *rd, mm_err_t err, const char *member, const char *what)
{
    if (rd->json.error == NULL) {
        rd->member = member;
        rd->err = err;
        json_refuse(&rd->json, what);
    }
}

static void refuse(struct reader *rd, const char *member, const char *what)
{
    refuse_as(rd, MM_EINVAL, member, what);
}

/* ---- storage --------------------------------------------------------------------------------- */

/* `nbytes` at the bottom, not aligned; NULL, and an error, if there is no room. */
static unsigned char *take_bytes(struct reader *rd, uint64_t nbytes)
{
    unsigned char *at = rd->bottom;

    if (nbytes > (uint64_t)(rd->top - rd->bottom)) {
        refuse_as(rd, MM_ENOSPC, NULL, "there is not enough storage for the document");
        return NULL;
    }
    rd->bottom += nbytes;
    return at;
}

/* The next bytes at the bottom will be 8-byte aligned. */
static void align_bottom(struct reader *rd)
{
    (void)take_bytes(rd, -(uintptr_t)rd->bottom & 7);
}

/* The last token, a text, with its escapes undone, at the top; NULL after an error. */
static const char *take_text(struct reader *rd, const char *member)
{
    uint64_t nbytes = rd->json.raw_bytes + 1;
    size_t len;

    if (nbytes > (uint64_t)(rd->top - rd->bottom)) {
        refuse_as(rd, MM_ENOSPC, NULL, "there is not enough storage for the document");
        return NULL;
    }
    if (json_text(&rd->json, (char *)rd->top - nbytes, nbytes, &len) != MM_OK) {
        refuse(rd, member, "there is a NUL in the text");
        return NULL;
    }
    rd->top -= nbytes;
    return (const char *)rd->top;
}

/* ---- values ---------------------------------------------------------------------------------- */

/* Is the token `t` the one that is wanted? If not, that is an error, and `what` says so. */
static bool want(struct reader *rd, enum json_token t, enum json_token wanted, const char *member,
                 const char *what)
{
    if (t != wanted && t != JSON_ERROR) {
        refuse(rd, member, what);
    }
    return t == wanted;
}

/* A whole number up to `max`. */
static bool read_number(struct reader *rd, enum json_token t, const char *member, uint64_t max,
                        uint64_t *v)
{
    if (!want(rd, t, JSON_NUMBER, member, "no number")) {
        return false;
    }
    mm_err_t err = json_u64(&rd->json, v);

    if (err == MM_EINVAL) {
        refuse(rd, member, "no whole number");
    } else if (err != MM_OK || *v > max) {
        refuse(rd, member, "a number that is too large");
    }
    return rd->json.error == NULL;
}

/* A number up to `max` as a text of hexadecimal digits. */
static bool read_hex(struct reader *rd, enum json_token t, const char *member, uint64_t max,
                     uint64_t *v)
{
    if (!want(rd, t, JSON_TEXT, member, "no text of \"0x\" and digits")) {
        return false;
    }
    if (json_hex(&rd->json, v) != MM_OK) {
        refuse(rd, member, "no text of \"0x\" and digits");
    } else if (*v > max) {
        refuse(rd, member, "a number that is too large");
    }
    return rd->json.error == NULL;
}

/* A text of two digits a byte, to the bottom of the storage. */
static bool read_dump(struct reader *rd, enum json_token t, const char *member,
                      const unsigned char **bytes, uint64_t *nbytes)
{
    const char *digits = rd->json.raw;
    size_t ndigits = rd->json.raw_bytes;
    unsigned char *to;

    if (!want(rd, t, JSON_TEXT, member, "no text of hexadecimal digits")) {
        return false;
    }
    if (ndigits % 2 != 0) {
        refuse(rd, member, "half a byte");
        return false;
    }
    to = take_bytes(rd, ndigits / 2);
    if (to == NULL) {
        return false;
    }
    for (size_t i = 0; i < ndigits; i += 2) {
        int high = json_digit(digits[i]);
        int low = json_digit(digits[i + 1]);

        if (high < 0 || low < 0) {
            refuse(rd, member, "no text of hexadecimal digits");
            return false;
        }
        to[i / 2] = (unsigned char)(high << 4 | low);
    }
    *bytes = to;
    *nbytes = ndigits / 2;
    return true;
}

static void read_ascii(struct reader *rd, enum json_token t, const struct report_field *field,
                       unsigned char *at)
{
    size_t len;

    if (!want(rd, t, JSON_TEXT, field->key, "no text")) {
        return;
    }
    if (json_text(&rd->json, (char *)at, field->count, &len) != MM_OK) {
        refuse(rd, field->key, "a text that is too long");
        return;
    }
    for (size_t i = 0; i < len; i++) {
        if (at[i] < ' ' || at[i] > '~') {
            refuse(rd, field->key, "a text that is not printable ASCII");
        }
    }
}

/* Which of the names of `field` is the last token, a text? `count` if it is none. */
static uint32_t name_number(const struct reader *rd, const struct report_field *field)
{
    uint32_t v = field->first;

    while (v < field->count && !json_is(&rd->json, field->name(v))) {
        v++;
    }
    return v;
}

static void read_name(struct reader *rd, enum json_token t, const struct report_field *field,
                      unsigned char *at)
{
    if (want(rd, t, JSON_TEXT, field->key, "no text")) {
        uint32_t v = name_number(rd, field);

        if (v == field->count) {
            refuse(rd, field->key, "a word that is none of those allowed here");
        }
        __builtin_memcpy(at, &v, sizeof(v));
    }
}

/* Names that this version does not know are skipped. */
static void read_names(struct reader *rd, enum json_token t, const struct report_field *field,
                       unsigned char *at)
{
    uint32_t bits = 0;

    if (!want(rd, t, JSON_ARRAY, field->key, "no array")) {
        return;
    }
    for (t = json_next(&rd->json); t != JSON_ARRAY_END; t = json_next(&rd->json)) {
        if (!want(rd, t, JSON_TEXT, field->key, "no text in the array")) {
            return;
        }
        uint32_t bit = name_number(rd, field);

        if (bit < field->count) {
            bits |= UINT32_C(1) << bit;
        }
    }
    __builtin_memcpy(at, &bits, sizeof(bits));
}

static void read_tally(struct reader *rd, enum json_token t, const struct report_field *field,
                       unsigned char *at)
{
    uint64_t seen = 0;

    if (!want(rd, t, JSON_OBJECT, field->key, "no object")) {
        return;
    }
    while (json_next(&rd->json) == JSON_KEY) {
        uint32_t i = name_number(rd, field);
        uint64_t v;

        if (i == field->count) {
            (void)json_skip(&rd->json);
        } else if (read_number(rd, json_next(&rd->json), field->key, UINT64_MAX, &v)) {
            __builtin_memcpy(at + i * sizeof(v), &v, sizeof(v));
            seen |= UINT64_C(1) << i;
        }
    }
    if (seen != (UINT64_C(1) << field->count) - 1) {
        refuse(rd, field->key, "one of its members is missing");
    }
}

static void read_guid(struct reader *rd, enum json_token t, const struct report_field *field,
                      unsigned char *at)
{
    char text[37];
    size_t len;
    bool is_good;

    if (!want(rd, t, JSON_TEXT, field->key, "no GUID")) {
        return;
    }
    is_good = json_text(&rd->json, text, sizeof(text), &len) == MM_OK && len == 36 &&
              text[8] == '-' && text[13] == '-' && text[18] == '-' && text[23] == '-';
    for (size_t i = 0; is_good && i < 16; i++) {
        int high = json_digit(text[report_guid_places[i]]);
        int low = json_digit(text[report_guid_places[i] + 1]);

        is_good = high >= 0 && low >= 0;
        at[i] = (unsigned char)((uint32_t)high << 4 | (uint32_t)low);
    }
    if (!is_good) {
        refuse(rd, field->key, "no GUID");
    }
}

/* `ndigits` decimal digits, and behind them `sep` unless that is NUL. NULL if they are not there.
 */
static const char *read_digits(const char *s, uint32_t ndigits, char sep, uint32_t *v)
{
    uint32_t sum = 0;

    for (uint32_t i = 0; i < ndigits; i++) {
        if (s[i] < '0' || s[i] > '9') {
            return NULL;
        }
        sum = sum * 10 + (uint32_t)(s[i] - '0');
    }
    *v = sum;
    if (sep == '\0') {
        return s + ndigits;
    }
    return s[ndigits] == sep ? s + ndigits + 1 : NULL;
}

/* NULL-terminated text to time: "2025-03-01T12:34:56", with "Z", "+01:00" or nothing behind. */
static bool parse_time(const char *s, struct report_time *t)
{
    uint32_t hours;
    uint32_t minutes;

    if ((s = read_digits(s, 4, '-', &t->year)) == NULL ||
        (s = read_digits(s, 2, '-', &t->month)) == NULL ||
        (s = read_digits(s, 2, 'T', &t->day)) == NULL ||
        (s = read_digits(s, 2, ':', &t->hour)) == NULL ||
        (s = read_digits(s, 2, ':', &t->minute)) == NULL ||
        (s = read_digits(s, 2, '\0', &t->second)) == NULL) {
        return false;
    }
    if (s[0] == '\0') {
        t->zone = REPORT_NO_ZONE;
    } else if (s[0] == 'Z' && s[1] == '\0') {
        t->zone = 0;
    } else {
        const char *zone = s + 1;

        if ((s[0] != '+' && s[0] != '-') || (zone = read_digits(zone, 2, ':', &hours)) == NULL ||
            (zone = read_digits(zone, 2, '\0', &minutes)) == NULL || zone[0] != '\0' ||
            minutes > 59) {
            return false;
        }
        t->zone = (int32_t)(hours * 60 + minutes);
        t->zone = s[0] == '-' ? -t->zone : t->zone;
    }
    return report_time_is_valid(t);
}

static void read_time(struct reader *rd, enum json_token t, const struct report_field *field,
                      unsigned char *at)
{
    struct report_time time;
    char text[32];
    size_t len;

    if (!want(rd, t, JSON_TEXT, field->key, "no time")) {
        return;
    }
    if (json_text(&rd->json, text, sizeof(text), &len) != MM_OK || !parse_time(text, &time)) {
        refuse(rd, field->key, "no time");
        return;
    }
    __builtin_memcpy(at, &time, sizeof(time));
}

/* ---- objects and lists ----------------------------------------------------------------------- */

static struct frame *push(struct reader *rd, const struct report_shape *shape, unsigned char *base)
{
    MM_ASSERT(rd->depth < REPORT_SHAPE_DEPTH);
    struct frame *f = &rd->frames[rd->depth++];

    *f = (struct frame){ .shape = shape, .base = base };
    return f;
}

static void begin_list(struct reader *rd, enum json_token t, const struct frame *parent,
                       const struct report_field *field)
{
    if (want(rd, t, JSON_ARRAY, field->key, "no array")) {
        align_bottom(rd);

        struct frame *f = push(rd, field->shape, parent->base);

        f->list = field;
        f->first = rd->bottom;
    }
}

/* An element of the innermost list begins. */
static void begin_element(struct reader *rd)
{
    struct frame *f = &rd->frames[rd->depth - 1];
    const struct report_field *field = f->list;
    unsigned char *base = NULL;

    switch (field->form) {
    case FORM_ARRAY:
        if (f->count == field->count) {
            refuse(rd, field->key, "too many elements");
            return;
        }
        base = f->base + field->at + f->count * f->shape->nbytes;
        break;
    case FORM_DESCS:
        rd->desc = (struct efi_memory_descriptor){ 0 };
        base = (unsigned char *)&rd->desc;
        break;
    default:
        if (f->count == UINT32_MAX) {
            refuse(rd, field->key, "too many elements");
            return;
        }
        base = take_bytes(rd, f->shape->nbytes);
        if (base == NULL) {
            return;
        }
        __builtin_memset(base, 0, f->shape->nbytes);
        break;
    }
    f->count++;
    (void)push(rd, f->shape, base);
}

static void end_list(struct reader *rd)
{
    const struct frame *f = &rd->frames[--rd->depth];
    const struct report_field *field = f->list;
    uint32_t count = (uint32_t)f->count;
    void *first = f->count == 0 ? NULL : f->first;

    if (field->form == FORM_DESCS) {
        struct memmap_raw *raw = (struct memmap_raw *)(void *)(f->base + field->at);

        raw->bytes = first;
        raw->nbytes = f->count * f->stride;
        /* For end_raw(), which knows what the document says the stride is. */
        rd->frames[rd->depth - 1].stride = f->stride;
        return;
    }
    __builtin_memcpy(f->base + field->count_at, &count, sizeof(count));
    if (field->form == FORM_LIST) {
        __builtin_memcpy(f->base + field->at, &first, sizeof(first));
    }
}

/* A descriptor is complete: its bytes and its numbers must agree. */
static void end_desc(struct reader *rd, const struct frame *f)
{
    struct frame *list = &rd->frames[rd->depth - 2];
    struct efi_memory_descriptor d;
    const struct efi_memory_descriptor *said = &rd->desc;

    if (!report_is_stride(f->dump_bytes)) {
        refuse(rd, "raw", "no descriptor has that size");
        return;
    }
    if (list->stride != 0 && list->stride != f->dump_bytes) {
        refuse(rd, "raw", "not as long as that of the descriptor before");
        return;
    }
    list->stride = f->dump_bytes;
    __builtin_memcpy(&d, f->dump, sizeof(d));
    if (d.type != said->type) {
        refuse(rd, "type", "the bytes of the descriptor say otherwise");
    } else if (d.physical_start != said->physical_start) {
        refuse(rd, "physical_start", "the bytes of the descriptor say otherwise");
    } else if (d.virtual_start != said->virtual_start) {
        refuse(rd, "virtual_start", "the bytes of the descriptor say otherwise");
    } else if (d.number_of_pages != said->number_of_pages) {
        refuse(rd, "pages", "the bytes of the descriptor say otherwise");
    } else if (d.attribute != said->attribute) {
        refuse(rd, "attribute", "the bytes of the descriptor say otherwise");
    }
}

/* The descriptors and what is behind them, as one piece again. */
static void end_raw(struct reader *rd, const struct frame *f, struct memmap_raw *raw)
{
    if (f->stride != 0 && f->stride != raw->stride) {
        refuse(rd, "descriptor_size", "not the size of the descriptors");
        return;
    }
    if (report_is_stride(raw->stride) && f->rest_bytes >= raw->stride) {
        refuse(rd, "rest", "not shorter than a descriptor");
        return;
    }
    if (f->rest_bytes == 0) {
        return;
    }
    if (raw->nbytes == 0) {
        raw->bytes = f->rest;
    } else {
        unsigned char *all = take_bytes(rd, raw->nbytes + f->rest_bytes);

        if (all == NULL) {
            return;
        }
        __builtin_memcpy(all, raw->bytes, raw->nbytes);
        __builtin_memcpy(all + raw->nbytes, f->rest, f->rest_bytes);
        raw->bytes = all;
    }
    raw->nbytes += f->rest_bytes;
}

static void end_object(struct reader *rd)
{
    const struct frame *f = &rd->frames[rd->depth - 1];

    for (uint32_t i = 0; i < f->shape->nfields && rd->json.error == NULL; i++) {
        const struct report_field *field = &f->shape->fields[i];

        if ((f->seen >> i & 1) == 0 && (field->flags & FIELD_PRIVATE) == 0 &&
            field->form != FORM_SAID) {
            refuse(rd, field->key, "missing");
        }
        if (field->form == FORM_DESCS) {
            end_raw(rd, f, (struct memmap_raw *)(void *)(f->base + field->at));
        }
    }
    if (rd->json.error == NULL && f->shape == &report_shape_desc) {
        end_desc(rd, f);
    }
    rd->depth--;
}

/* ---- members --------------------------------------------------------------------------------- */

/* The member is null. False if it cannot be. */
static bool take_null(const struct report_field *field, unsigned char *at)
{
    uint32_t none = (uint32_t)field->none;

    if (field->known != 0 || field->form == FORM_TEXT || field->form == FORM_STATE) {
        return true; /* all zero, as it is */
    }
    if ((field->flags & FIELD_OR_NULL) == 0) {
        return false;
    }
    if (field->form == FORM_U64) {
        __builtin_memcpy(at, &field->none, sizeof(field->none));
    } else if (field->form != FORM_GUID) {
        __builtin_memcpy(at, &none, sizeof(none));
    }
    return true;
}

/* The value of the member `field` of the innermost object; `t` is its first token. */
static void read_value(struct reader *rd, enum json_token t, struct frame *f,
                       const struct report_field *field)
{
    unsigned char *at = f->base + field->at;
    uint32_t narrow;
    uint64_t v;

    switch (field->form) {
    case FORM_TEXT:
        if (want(rd, t, JSON_TEXT, field->key, "no text")) {
            const char *text = take_text(rd, field->key);

            __builtin_memcpy(at, &text, sizeof(text));
        }
        break;
    case FORM_ASCII:
        read_ascii(rd, t, field, at);
        break;
    case FORM_BOOL:
    case FORM_STATE:
        if (t != JSON_TRUE && t != JSON_FALSE) {
            refuse(rd, field->key, "neither true nor false");
        } else if (field->form == FORM_BOOL) {
            *(bool *)(void *)at = t == JSON_TRUE;
        } else {
            *(uint32_t *)(void *)at = t == JSON_TRUE ? REPORT_ON : REPORT_OFF;
        }
        break;
    case FORM_U32:
    case FORM_HEX32:
        if (field->form == FORM_U32 ? read_number(rd, t, field->key, UINT32_MAX, &v)
                                    : read_hex(rd, t, field->key, UINT32_MAX, &v)) {
            narrow = (uint32_t)v;
            __builtin_memcpy(at, &narrow, sizeof(narrow));
        }
        break;
    case FORM_U64:
    case FORM_HEX64:
        if (field->form == FORM_U64 ? read_number(rd, t, field->key, UINT64_MAX, &v)
                                    : read_hex(rd, t, field->key, UINT64_MAX, &v)) {
            __builtin_memcpy(at, &v, sizeof(v));
        }
        break;
    case FORM_NAME:
        read_name(rd, t, field, at);
        break;
    case FORM_NAMES:
        read_names(rd, t, field, at);
        break;
    case FORM_TALLY:
        read_tally(rd, t, field, at);
        break;
    case FORM_GUID:
        read_guid(rd, t, field, at);
        break;
    case FORM_TIME:
        read_time(rd, t, field, at);
        break;
    case FORM_SAID:
        (void)json_skip(&rd->json);
        break;
    case FORM_OBJECT:
        if (want(rd, t, JSON_OBJECT, field->key, "no object")) {
            (void)push(rd, field->shape, at);
        }
        break;
    case FORM_ARRAY:
    case FORM_LIST:
    case FORM_DESCS:
        begin_list(rd, t, f, field);
        break;
    case FORM_REST:
        (void)read_dump(rd, t, field->key, &f->rest, &f->rest_bytes);
        break;
    case FORM_INDEX:
        if (read_number(rd, t, field->key, UINT64_MAX, &v) &&
            v != rd->frames[rd->depth - 2].count - 1) {
            refuse(rd, field->key, "a descriptor is missing, or is there twice");
        }
        break;
    case FORM_DUMP:
        (void)read_dump(rd, t, field->key, &f->dump, &f->dump_bytes);
        break;
    }
}

/* The last token is a key of the innermost object. */
static void read_member(struct reader *rd)
{
    struct frame *f = &rd->frames[rd->depth - 1];
    const struct report_field *field = f->shape->fields;
    uint32_t i = 0;
    enum json_token t;

    while (i < f->shape->nfields && !json_is(&rd->json, field[i].key)) {
        i++;
    }
    if (i == f->shape->nfields) {
        (void)json_skip(&rd->json);
        return;
    }
    field += i;
    f->seen |= UINT64_C(1) << i;
    t = json_next(&rd->json);
    if (t == JSON_NULL && field->form != FORM_SAID) {
        if (!take_null(field, f->base + field->at)) {
            refuse(rd, field->key, "must not be null");
        }
        return;
    }
    if (field->known != 0) {
        *(uint32_t *)(void *)f->base |= field->known;
    }
    read_value(rd, t, f, field);
}

/* Read the document's object, of which the first token is still to come. */
static void read_document(struct reader *rd)
{
    (void)want(rd, json_next(&rd->json), JSON_OBJECT, NULL, "no object");
    (void)push(rd, &report_shape_root, (unsigned char *)&rd->report);
    while (rd->depth > 0 && rd->json.error == NULL) {
        switch (json_next(&rd->json)) {
        case JSON_KEY:
            read_member(rd);
            break;
        case JSON_OBJECT:
            begin_element(rd);
            break;
        case JSON_OBJECT_END:
            end_object(rd);
            break;
        case JSON_ARRAY_END:
            end_list(rd);
            break;
        case JSON_ERROR:
            break;
        default:
            refuse(rd, rd->frames[rd->depth - 1].list->key, "an element that is no object");
            break;
        }
    }
}

/* What the table cannot say. */
static void check_whole(struct reader *rd)
{
    const struct report *r = &rd->report;

    for (uint32_t i = 0; i < r->ncaptures && rd->json.error == NULL; i++) {
        if (report_capture_at(r, (enum report_when)r->captures[i].when) != &r->captures[i]) {
            refuse(rd, "captures", "two of them were taken at the same time");
        }
    }
}

/* ---- which document is it? ------------------------------------------------------------------- */

/* "1.0", the last token. */
static bool parse_schema(const struct reader *rd, uint32_t *major, uint32_t *minor)
{
    uint32_t v[2] = { 0, 0 };
    size_t part = 0;
    bool has_digit = false;

    for (size_t i = 0; i < rd->json.raw_bytes; i++) {
        char c = rd->json.raw[i];

        if (c == '.' && part == 0 && has_digit) {
            part = 1;
            has_digit = false;
        } else if (c >= '0' && c <= '9' && v[part] < 100000) {
            v[part] = v[part] * 10 + (uint32_t)(c - '0');
            has_digit = true;
        } else {
            return false;
        }
    }
    *major = v[0];
    *minor = v[1];
    return part == 1 && has_digit;
}

/*
 * Check the text as JSON from end to end, and what it says it is. A newer kind is refused as such
 * even if its members mean nothing to us, damage before that.
 */
static void check_kind(struct reader *rd)
{
    struct json_reader *j = &rd->json;
    struct report *r = &rd->report;
    bool is_report = false;
    bool has_schema = false;
    size_t schema_at = 0;

    if (!want(rd, json_next(j), JSON_OBJECT, NULL, "not a report of Plat")) {
        return;
    }
    while (json_next(j) == JSON_KEY) {
        bool is_format = json_is(j, "format");
        bool is_schema = json_is(j, "schema");
        enum json_token t = json_next(j);

        if (is_format) {
            is_report = t == JSON_TEXT && json_is(j, "plat-report");
        } else if (is_schema) {
            has_schema = t == JSON_TEXT && parse_schema(rd, &r->major, &r->minor);
            schema_at = j->at;
        }
        (void)json_skip(j);
    }
    if (json_next(j) != JSON_END) {
        return;
    }
    j->at = schema_at;
    if (!is_report) {
        refuse(rd, NULL, "not a report of Plat");
    } else if (!has_schema || r->major == 0) {
        refuse(rd, "schema", "no version of a report");
    } else if (r->major > REPORT_MAJOR) {
        refuse_as(rd, MM_ELIMIT, "schema", "the report is of a later kind; a later Plat reads it");
    }
}

bool report_recognise(const char *text, size_t nbytes)
{
    struct json_reader j;

    json_read_begin(&j, text, nbytes);
    if (json_next(&j) != JSON_OBJECT) {
        return false;
    }
    while (json_next(&j) == JSON_KEY) {
        if (json_is(&j, "format")) {
            return json_next(&j) == JSON_TEXT && json_is(&j, "plat-report");
        }
        (void)json_skip(&j);
    }
    return false;
}

uint64_t report_storage_bytes(uint64_t nbytes)
{
    uint64_t sum;

    /*
     * A text is shorter than its token, bytes take half of theirs (and once more if there are some
     * behind the last descriptor), and an element's struct is smaller than the keys that it must
     * have. The rest is alignment, and an element that is damaged.
     */
    return __builtin_add_overflow(nbytes, UINT64_C(256), &sum) ? 0 : sum;
}

/* Where the damage is, for people. */
static void locate(const struct reader *rd, struct report_error *err)
{
    const struct json_reader *j = &rd->json;
    size_t start = j->at;

    while (start > 0 && j->text[start - 1] != '\n') {
        start--;
    }
    *err = (struct report_error){
        .what = j->error,
        .member = rd->member,
        .at = j->at,
        .line = json_line(j, j->at),
        .column = j->at - start + 1,
    };
}

mm_err_t report_read(struct report *r, const char *text, size_t nbytes, void *storage,
                     uint64_t storage_bytes, struct report_error *err)
{
    struct reader rd;

    MM_ASSERT(((uintptr_t)storage & 7) == 0);
    __builtin_memset(&rd.report, 0, sizeof(rd.report));
    rd.member = NULL;
    rd.err = MM_EINVAL;
    rd.bottom = storage;
    rd.top = rd.bottom + storage_bytes;
    rd.depth = 0;

    json_read_begin(&rd.json, text, nbytes);
    check_kind(&rd);
    if (rd.json.error == NULL) {
        json_read_begin(&rd.json, text, nbytes);
        read_document(&rd);
        check_whole(&rd);
    }
    if (rd.json.error != NULL) {
        locate(&rd, err);
        return rd.err;
    }
    *r = rd.report;
    return MM_OK;
}

void report_put_error(const struct mm_sink *to, const struct report_error *err)
{
    mm_put_str(to, "line ");
    mm_put_u64(to, err->line, 0);
    mm_put_str(to, ", column ");
    mm_put_u64(to, err->column, 0);
    mm_put_str(to, " (byte ");
    mm_put_u64(to, err->at, 0);
    mm_put_str(to, "): ");
    if (err->member != NULL) {
        mm_put_str(to, err->member);
        mm_put_str(to, ": ");
    }
    mm_put_str(to, err->what);
}
