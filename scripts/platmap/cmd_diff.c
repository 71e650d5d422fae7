/*
 * cmd_diff.c - diff: what became of one map in another.
 */
#include "platmap.h"

#include <stdlib.h>
#include <string.h>

#include "mm/mapdiff.h"

/* What the format of a map leaves out, NULL if nothing. */
static const char *limits_of(const struct input *in)
{
    if (in->capture->attr_known == 0) {
        return "knows no UEFI types and attributes";
    }
    return in->found.format == MAPFILE_RUNTIME_MAP ? "holds only what runtime services need" : NULL;
}

/* Formats that tell less than others make differences where there are none. */
static void warn_of_formats(const struct input *from, const struct input *to)
{
    const struct input *both[] = { from, to };

    for (size_t i = 0; i < MM_COUNTOF(both) && limits_of(from) != limits_of(to); i++) {
        if (limits_of(both[i]) != NULL) {
            complain("note: %s %s: much of the difference is the format's", both[i]->name,
                     limits_of(both[i]));
        }
    }
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
        json_end_object(&w);
        json_write_end(&w);
    } else {
        mapdiff_put(a->to, &d);
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
        warn_of_formats(&from, &to);
        status = compare(a, &from, &to);
        input_close(&to);
    }
    input_close(&from);
    return status;
}
