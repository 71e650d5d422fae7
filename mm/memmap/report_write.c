/*
 * report_write.c - a report as JSON, and the descriptors of a map as rows.
 *
 * A walk over the table of report_shape.c with a stack of its own: each frame is a struct, or a run
 * of them, that is being written. The table's depth bounds the stack.
 */
#include "report_shape.h"

#include "mm/port.h"

struct frame {
    const struct report_shape *shape;
    const unsigned char *base; /* of the struct that is being written */
    uint32_t next;             /* member */
    uint64_t nbytes;           /* from one struct to the next */
    uint64_t index;            /* of this one */
    uint64_t count;
    bool is_list; /* there are brackets around them */
};

struct walk {
    struct json_writer *w;
    bool with_private;
    uint32_t depth;
    struct frame frames[REPORT_SHAPE_DEPTH];
};

/* Begin the next struct of the innermost frame. */
static void begin_struct(struct walk *k)
{
    struct frame *f = &k->frames[k->depth - 1];

    f->next = 0;
    if (f->shape->is_row) {
        json_begin_row(k->w);
    } else {
        json_begin_object(k->w);
    }
}

static void push(struct walk *k, const struct frame *f)
{
    if (f->is_list) {
        json_begin_array(k->w);
        if (f->count == 0) {
            json_end_array(k->w);
            return;
        }
    }
    MM_ASSERT(k->depth < REPORT_SHAPE_DEPTH);
    k->frames[k->depth++] = *f;
    begin_struct(k);
}

/* All members of a struct are written. */
static void end_struct(struct walk *k)
{
    struct frame *f = &k->frames[k->depth - 1];

    json_end_object(k->w);
    if (++f->index < f->count) {
        f->base += f->nbytes;
        begin_struct(k);
        return;
    }
    if (f->is_list) {
        json_end_array(k->w);
    }
    k->depth--;
}

/* ---- values ---------------------------------------------------------------------------------- */

static void put_ascii(struct json_writer *w, const unsigned char *s, uint32_t size)
{
    char buf[16];
    uint32_t n = 0;

    MM_ASSERT(size <= sizeof(buf));
    while (n + 1 < size && s[n] != '\0') {
        buf[n] = s[n] >= ' ' && s[n] <= '~' ? (char)s[n] : '?';
        n++;
    }
    json_put_bytes(w, buf, n);
}

static void put_state(struct json_writer *w, uint32_t state)
{
    MM_ASSERT(state <= REPORT_ON);
    if (state == REPORT_UNKNOWN) {
        json_put_null(w);
    } else {
        json_put_bool(w, state == REPORT_ON);
    }
}

static void put_name(struct json_writer *w, const struct report_field *field, uint32_t v)
{
    MM_ASSERT(v >= field->first && v < field->count);
    json_put_text(w, field->name(v));
}

static void put_names(struct json_writer *w, const struct report_field *field, uint32_t bits)
{
    json_begin_array(w);
    for (uint32_t bit = 0; bit < field->count; bit++) {
        if ((bits >> bit & 1) != 0) {
            json_put_text(w, field->name(bit));
        }
    }
    json_end_array(w);
}

static void put_tally(struct json_writer *w, const struct report_field *field,
                      const unsigned char *at)
{
    json_begin_object(w);
    for (uint32_t i = 0; i < field->count; i++) {
        json_key(w, field->name(i));
        json_put_u64(w, report_load64(at + i * sizeof(uint64_t)));
    }
    json_end_object(w);
}

static void put_guid(struct json_writer *w, const unsigned char *guid)
{
    char text[REPORT_GUID_CHARS + 1];

    report_guid_text(guid, text);
    json_put_text(w, text);
}

static void put_time(struct json_writer *w, const struct report_time *t)
{
    char text[REPORT_TIME_CHARS + 1];

    json_put_text(w, report_time_text(t, text) != 0 ? text : NULL);
}

static void put_rest(struct json_writer *w, const struct memmap_raw *raw)
{
    uint64_t whole = report_ndescs(raw) * raw->stride;

    json_put_dump(w, raw->nbytes == 0 ? NULL : (const unsigned char *)raw->bytes + whole,
                  report_is_stride(raw->stride) ? raw->nbytes - whole : raw->nbytes);
}

/* ---- the walk -------------------------------------------------------------------------------- */

/* Is the member at `at` what null stands for? */
static bool is_none(const struct report_field *field, const unsigned char *at)
{
    if ((field->flags & FIELD_OR_NULL) == 0) {
        return false;
    }
    switch (field->form) {
    case FORM_U64:
        return report_load64(at) == field->none;
    case FORM_GUID:
        return report_load64(at) == 0 && report_load64(at + 8) == 0;
    default:
        return report_load32(at) == field->none;
    }
}

static void put_member(struct walk *k, const struct frame *f, const struct report_field *field)
{
    const unsigned char *at = f->base + field->at;
    struct json_writer *w = k->w;

    if ((field->flags & FIELD_PRIVATE) != 0 && !k->with_private) {
        return;
    }
    json_key(w, field->key);
    if ((field->known != 0 && (report_load32(f->base) & field->known) == 0) || is_none(field, at)) {
        json_put_null(w);
        return;
    }
    switch (field->form) {
    case FORM_TEXT:
        json_put_text(w, report_load_pointer(at));
        break;
    case FORM_ASCII:
        put_ascii(w, at, field->count);
        break;
    case FORM_BOOL:
        json_put_bool(w, *(const bool *)(const void *)at);
        break;
    case FORM_STATE:
        put_state(w, report_load32(at));
        break;
    case FORM_U32:
        json_put_u64(w, report_load32(at));
        break;
    case FORM_U64:
        json_put_u64(w, report_load64(at));
        break;
    case FORM_HEX32:
        json_put_hex(w, report_load32(at), 8);
        break;
    case FORM_HEX64:
        json_put_hex(w, report_load64(at), 16);
        break;
    case FORM_NAME:
        put_name(w, field, report_load32(at));
        break;
    case FORM_NAMES:
        put_names(w, field, report_load32(at));
        break;
    case FORM_TALLY:
        put_tally(w, field, at);
        break;
    case FORM_GUID:
        put_guid(w, at);
        break;
    case FORM_TIME:
        put_time(w, (const struct report_time *)(const void *)at);
        break;
    case FORM_SAID:
        field->say(w, at);
        break;
    case FORM_INDEX:
        json_put_u64(w, f->index);
        break;
    case FORM_DUMP:
        json_put_dump(w, f->base, f->nbytes);
        break;
    case FORM_REST:
        put_rest(w, (const struct memmap_raw *)(const void *)at);
        break;
    case FORM_OBJECT:
        push(k, &(struct frame){ .shape = field->shape, .base = at, .count = 1 });
        break;
    case FORM_ARRAY:
    case FORM_LIST: {
        bool is_here = field->form == FORM_ARRAY;

        push(k, &(struct frame){
                    .shape = field->shape,
                    .base = is_here ? at : report_load_pointer(at),
                    .nbytes = field->shape->nbytes,
                    .count = report_load32(f->base + field->count_at),
                    .is_list = true,
                });
        break;
    }
    case FORM_DESCS: {
        const struct memmap_raw *raw = (const struct memmap_raw *)(const void *)at;

        push(k, &(struct frame){
                    .shape = field->shape,
                    .base = raw->bytes,
                    .nbytes = raw->stride,
                    .count = report_ndescs(raw),
                    .is_list = true,
                });
        break;
    }
    }
}

/* Write all that is on the stack. */
static void walk(struct walk *k)
{
    while (k->depth > 0) {
        struct frame *f = &k->frames[k->depth - 1];

        if (f->next < f->shape->nfields) {
            const struct report_field *field = &f->shape->fields[f->next++];

            put_member(k, f, field);
        } else {
            end_struct(k);
        }
    }
}

void report_write(const struct report *r, const struct mm_sink *to, enum json_style style)
{
    struct json_writer w;
    struct walk k = { .w = &w, .with_private = r->with_identifiers };

    json_write_begin(&w, to, style);
    push(&k, &(struct frame){
                 .shape = &report_shape_root,
                 .base = (const unsigned char *)r,
                 .count = 1,
             });
    walk(&k);
    json_write_end(&w);
}

/* ---- rows ------------------------------------------------------------------------------------ */

void report_put_jsonl(const struct mm_sink *to, const struct memmap_raw *raw)
{
    for (uint64_t i = 0; i < report_ndescs(raw); i++) {
        struct json_writer w;
        struct walk k = { .w = &w };

        json_write_begin(&w, to, JSON_LINE);
        push(&k, &(struct frame){
                     .shape = &report_shape_desc,
                     .base = (const unsigned char *)raw->bytes + i * raw->stride,
                     .nbytes = raw->stride,
                     .index = i,
                     .count = i + 1,
                 });
        walk(&k);
        json_write_end(&w);
    }
}

/* No value has a comma or a quote in it. */
void report_put_csv(const struct mm_sink *to, const struct memmap_raw *raw)
{
    mm_put_str(to, "index,type,type_name,physical_start,end,virtual_start,pages,attribute,"
                   "attribute_names\n");
    for (uint64_t i = 0; i < report_ndescs(raw); i++) {
        const unsigned char *at = (const unsigned char *)raw->bytes + i * raw->stride;
        struct efi_memory_descriptor d;
        char names[128];
        uint64_t end = 0;

        __builtin_memcpy(&d, at, sizeof(d));
        mm_put_u64(to, i, 0);
        mm_put_char(to, ',');
        mm_put_u64(to, d.type, 0);
        mm_put_char(to, ',');
        mm_put_str(to, memmap_type_name(d.type));
        mm_put_char(to, ',');
        mm_put_hex(to, d.physical_start, 16);
        mm_put_char(to, ',');
        if (report_desc_end(at, &end)) {
            mm_put_hex(to, end, 16);
        }
        mm_put_char(to, ',');
        mm_put_hex(to, d.virtual_start, 16);
        mm_put_char(to, ',');
        mm_put_u64(to, d.number_of_pages, 0);
        mm_put_char(to, ',');
        mm_put_hex(to, d.attribute, 16);
        mm_put_char(to, ',');
        (void)memmap_attr_text(d.attribute, names, sizeof(names));
        mm_put_str(to, names);
        mm_put_char(to, '\n');
    }
}
