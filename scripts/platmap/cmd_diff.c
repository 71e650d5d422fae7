/*
 * cmd_diff.c - diff: what became of one map in another.
 */
#include "platmap.h"

#include <stdlib.h>
#include <string.h>

#include "mm/mapdiff.h"

#define MAX_NOTES 2

/* What the format of a map leaves out, and what that makes of a comparison; NULL if nothing. */
static const char *limits_of(const struct input *in)
{
    if (in->capture->attr_known == 0) {
        return "tells no UEFI types and attributes, and its bounds were rounded to pages. "
               "Runtime services memory is Reserved there, boot services and loader memory is "
               "free: such changes are the format's, and so may be what is said to break. RAM "
               "and ACPI memory can be compared";
    }
    return in->found.format == MAPFILE_RUNTIME_MAP
               ? "holds only what runtime services need; all else appears or vanishes with the "
                 "format. Runtime services memory can be compared"
               : NULL;
}

/* Formats that tell less than others make differences where there are none. */
static uint32_t notes_about(const char *notes[MAX_NOTES], const struct input *in,
                            const struct input *other)
{
    uint32_t n = 0;

    if (limits_of(in) != NULL && limits_of(in) != limits_of(other)) {
        notes[n++] = limits_of(in);
    } else if ((in->capture->attr_known & ~other->capture->attr_known) != 0 &&
               limits_of(other) == NULL) {
        notes[n++] = "has attributes that the other's format does not show; they are not compared";
    }
    if (!in->capture->is_whole) {
        notes[n++] = NOT_WHOLE "; what vanished or appeared may only be missing";
    }
    return n;
}

static void put_notes(const struct mm_sink *to, const struct input *in, const struct input *other)
{
    const char *notes[MAX_NOTES];
    uint32_t n = notes_about(notes, in, other);

    for (uint32_t i = 0; i < n; i++) {
        say(to, "Note: %.900s: %s.\n", in->name, notes[i]);
    }
}

static void put_notes_json(struct json_writer *w, const char *key, const struct input *in,
                           const struct input *other)
{
    const char *notes[MAX_NOTES];
    uint32_t n = notes_about(notes, in, other);

    json_key(w, key);
    json_begin_array(w);
    for (uint32_t i = 0; i < n; i++) {
        json_put_text(w, notes[i]);
    }
    json_end_array(w);
}

static int compare(const struct args *a, const struct input *from, const struct input *to)
{
    uint64_t nbytes = mapdiff_storage_bytes(from->map.nregions, to->map.nregions);
    void *storage = must_alloc(nbytes);
    struct mapdiff d;
    int status;

    if (mapdiff_make(&d, &from->map, &to->map, from->capture->attr_known & to->capture->attr_known,
                     storage, nbytes) != MM_OK) {
        complain("diff: the maps are too large");
        free(storage);
        return STATUS_TROUBLE;
    }
    status = d.nchanges == 0 ? STATUS_OK : STATUS_FOUND;
    if (a->option[OPT_JSON] != NULL) {
        struct json_writer w;

        json_write_begin(&w, a->to, JSON_PRETTY);
        json_begin_object(&w);
        json_key(&w, "from");
        json_put_text(&w, from->name);
        json_key(&w, "to");
        json_put_text(&w, to->name);
        json_key(&w, "diff");
        mapdiff_put_json(&w, &d);
        put_notes_json(&w, "from_notes", from, to);
        put_notes_json(&w, "to_notes", to, from);
        json_end_object(&w);
        json_write_end(&w);
    } else {
        mapdiff_put(a->to, &d);
        put_notes(a->to, from, to);
        put_notes(a->to, to, from);
    }
    free(storage);
    return status;
}

int cmd_diff(const struct args *a)
{
    const char *with = a->option[OPT_WITH] != NULL ? a->option[OPT_WITH] : a->option[OPT_MAP];
    const char *second = a->words[a->nwords - 1];
    struct input from;
    struct input to;
    int status = STATUS_TROUBLE;

    if (a->nwords == 1 && a->option[OPT_WITH] == NULL) {
        complain("diff: one file: --map and --with say which of its maps to compare");
        return STATUS_TROUBLE;
    }
    if (strcmp(a->words[0], "-") == 0 && strcmp(second, "-") == 0) {
        complain("diff: standard input can be read only once");
        return STATUS_TROUBLE;
    }
    if (!input_open(&from, a->words[0], a->option[OPT_MAP])) {
        return STATUS_TROUBLE;
    }
    if (input_open(&to, second, with)) {
        status = compare(a, &from, &to);
        input_close(&to);
    }
    input_close(&from);
    return status;
}
