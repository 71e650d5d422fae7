/*
 * input.c - a map out of a file of any format that mm/ knows, and what the file says around it.
 *
 * Whatever comes in becomes a report: one of ours as it is, all else as a report whose only capture
 * is the map. So there is one thing for commands to look at, and converting is writing it.
 */
#include "platmap.h"

#include <stdlib.h>
#include <string.h>

enum held { HELD_NAME, HELD_DESCS, HELD_LINES, HELD_ASSUMED, HELD_MAP };

/* ---- a report -------------------------------------------------------------------------------- */

static bool is_number(const char *s, uint32_t *n)
{
    char *end;
    unsigned long v;

    if (s == NULL || *s < '1' || *s > '9') {
        return false;
    }
    v = strtoul(s, &end, 10);
    *n = v < UINT32_MAX ? (uint32_t)v : UINT32_MAX;
    return *end == '\0';
}

/* Several maps, and nobody said which: not a thing to keep quiet about. */
static void tell_of_others(const struct input *in, const char *which, uint64_t n, const char *what)
{
    uint32_t number;

    if (!is_number(which, &number) && n > 1) {
        complain("%s: there are %llu %s in it; this is about the first (see --map)", in->name,
                 (unsigned long long)n, what);
    }
}

/* The one that counts: what an OS was given, or the nearest to it. */
static const struct report_capture *capture_by_default(const struct report *r)
{
    static const enum report_when order[] = { REPORT_FINAL, REPORT_LAST, REPORT_START, REPORT_FILE,
                                              REPORT_KERNEL };
    const struct report_capture *c = NULL;

    for (size_t i = 0; c == NULL && i < MM_COUNTOF(order); i++) {
        c = report_capture_at(r, order[i]);
    }
    return c;
}

static bool choose_capture(struct input *in, const char *which)
{
    const struct report *r = &in->report;
    uint32_t number;

    in->capture = which == NULL || is_number(which, &number) ? capture_by_default(r) : NULL;
    for (uint32_t i = 0; in->capture == NULL && i < r->ncaptures; i++) {
        if (strcmp(which, report_when_name(r->captures[i].when)) == 0) {
            in->capture = &r->captures[i];
        }
    }
    if (in->capture == NULL) {
        complain("%s: there is no map %s%sin the report", in->name, which != NULL ? which : "",
                 which != NULL ? " " : "");
        return false;
    }
    return true;
}

static bool open_report(struct input *in, const struct report_text *text, const char *which)
{
    size_t nbytes = (size_t)(text->end - text->text);
    uint64_t storage_bytes = report_storage_bytes(nbytes);
    struct report_error err;

    in->found.format = MAPFILE_REPORT;
    in->line = text->line;
    in->held[HELD_DESCS] = must_alloc(storage_bytes);
    if (report_read(&in->report, text->text, nbytes, in->held[HELD_DESCS], storage_bytes, &err) !=
        MM_OK) {
        complain("%s:%llu: column %llu: %s%s%s", in->source.name,
                 (unsigned long long)(text->line + err.line - 1), (unsigned long long)err.column,
                 err.member != NULL ? err.member : "", err.member != NULL ? ": " : "", err.what);
        return false;
    }
    return choose_capture(in, which);
}

/* Of the reports in a file the one whose number `which` is, or the first. */
static bool open_one_report(struct input *in, const char *which)
{
    struct report_text text = source_first_report(&in->source, in->found.report_at);
    struct report_text next = text;
    uint32_t number = 1;
    uint64_t n = 1;

    (void)is_number(which, &number);
    while (source_next_report(&in->source, &next)) {
        if (++n == number) {
            text = next;
        }
    }
    if (number > n) {
        complain("%s: there are only %llu reports in it", in->name, (unsigned long long)n);
        return false;
    }
    tell_of_others(in, which, n, "reports");
    return open_report(in, &text, which);
}

/* ---- everything else ------------------------------------------------------------------------- */

/* Complete what mapfile_read() began by saying `err`, and how many descriptors there are. */
static bool open_map(struct input *in, const char *which, mm_err_t err)
{
    struct mapfile *f = &in->found;
    struct report_capture *c = &in->report.captures[0];
    struct efi_memory_descriptor *descs;
    uint32_t number = 1;

    if (which != NULL && !is_number(which, &number) && err != MM_EINVAL) {
        complain("%s: only reports have a map %s; here maps have numbers", in->name, which);
        return false;
    }
    if (err == MM_ENOSPC) {
        in->held[HELD_DESCS] = must_alloc((uint64_t)f->ndescs * sizeof(*descs));
        in->held[HELD_LINES] = must_alloc((uint64_t)f->ndescs * sizeof(*in->lines));
        err = mapfile_read(f, in->source.bytes, in->source.nbytes, number - 1, in->held[HELD_DESCS],
                           in->held[HELD_LINES], f->ndescs);
    }
    if (err != MM_OK) {
        if (f->line != 0) {
            complain("%s:%u: %s", in->name, f->line, f->message);
        } else {
            complain("%s: %s", in->name, f->message);
        }
        return false;
    }
    tell_of_others(in, which, f->nmaps, "memory maps");
    in->lines = f->format == MAPFILE_RAW ? NULL : in->held[HELD_LINES];
    in->report = (struct report){
        .plat = PLAT_VERSION, .arch = f->arch, .ncaptures = 1, .findings_when = REPORT_WHENS
    };
    *c = (struct report_capture){
        .when = REPORT_FILE,
        .is_whole = f->whole,
        .has_virtual = f->virt_known,
        .attr_known = f->attr_known,
        .origin = mapfile_format_name(f->format),
        .raw = { in->held[HELD_DESCS], (uint64_t)f->ndescs * sizeof(*descs), sizeof(*descs), 1 },
    };
    if (f->format == MAPFILE_RAW) {
        c->is_verbatim = true;
        c->raw = (struct memmap_raw){ in->source.bytes, in->source.nbytes, f->stride, 1 };
    }
    in->capture = c;
    return true;
}

/* ---- a map, normalised ----------------------------------------------------------------------- */

/*
 * A format that knows no attributes cannot say that RAM bears write-back caching, without which
 * none of it would be usable. A copy of the map that says so.
 */
static struct memmap_raw assume_write_back(struct input *in, const struct memmap_raw *raw)
{
    unsigned char *bytes = must_alloc(raw->nbytes);
    struct efi_memory_descriptor d;

    if (raw->nbytes != 0) {
        memcpy(bytes, raw->bytes, raw->nbytes);
    }
    for (uint64_t at = 0; raw->stride >= sizeof(d) && raw->stride <= raw->nbytes - at;
         at += raw->stride) {
        memcpy(&d, bytes + at, sizeof(d));
        d.attribute |= memmap_type_is_ram(d.type) ? EFI_MA_WB : 0;
        memcpy(bytes + at, &d, sizeof(d));
    }
    in->held[HELD_ASSUMED] = bytes;
    return (struct memmap_raw){ bytes, raw->nbytes, raw->stride, raw->version };
}

/* The kernel's view has no descriptors: its regions name those of the final map. */
static const struct report_capture *capture_with_descriptors(const struct input *in)
{
    const struct report_capture *c = in->capture;
    const struct report_capture *final = report_capture_at(&in->report, REPORT_FINAL);

    return c->when == REPORT_KERNEL && c->raw.nbytes == 0 && final != NULL ? final : c;
}

static bool build_map(struct input *in)
{
    const struct report_capture *c = in->capture;
    const struct report_capture *given = capture_with_descriptors(in);
    struct memmap *m = &in->map;
    bool knows_caching = (c->attr_known & EFI_MA_WB) != 0;
    struct memmap_raw raw = knows_caching ? given->raw : assume_write_back(in, &given->raw);
    uint64_t ndescs =
        raw.stride >= sizeof(struct efi_memory_descriptor) ? raw.nbytes / raw.stride : 0;
    uint64_t nbytes = memmap_storage_bytes(ndescs);

    in->held[HELD_MAP] = must_alloc(nbytes);
    if (memmap_build(m, &raw, in->held[HELD_MAP], nbytes) != MM_OK) {
        complain("%s: the map is too large", in->name);
        return false;
    }
    m->raw = given->raw;
    for (uint32_t i = 0; i < m->nregions && !knows_caching; i++) {
        m->regions[i].attr &= ~EFI_MA_WB;
    }
    /* What the kernel made of its map are its regions, with all that it has claimed. */
    if (c->when == REPORT_KERNEL && (c->known & REPORT_CAPTURE_REGIONS) != 0) {
        const char *broken = "there are too many for their descriptors";

        if (c->nregions <= m->max_regions) {
            m->nregions = c->nregions;
            for (uint32_t i = 0; i < c->nregions; i++) {
                m->regions[i] = c->regions[i];
            }
            broken = memmap_check(m);
        }
        if (broken != NULL) {
            complain("%s: the kernel's regions make no sense: %s", in->name, broken);
            return false;
        }
    }
    return true;
}

/* A report made here has the same members as those of machines. */
static void complete_report(struct input *in)
{
    struct report_capture *c = &in->report.captures[0];

    c->known = REPORT_CAPTURE_REGIONS | REPORT_CAPTURE_TOTALS;
    c->regions = in->map.regions;
    c->nregions = in->map.nregions;
    mapsum_make(&c->totals, &in->map);
}

/* What is in the file: in->found says so, but for what mapfile_read() has to say in `err`. */
static mm_err_t look_into(struct input *in, const char *which)
{
    uint32_t number = 1;

    (void)is_number(which, &number);
    return mapfile_read(&in->found, in->source.bytes, in->source.nbytes, number - 1, NULL, NULL, 0);
}

static bool open_one(struct input *in, const char *which, mm_err_t err)
{
    if (err == MM_OK && in->found.format == MAPFILE_REPORT) {
        return open_one_report(in, which) && build_map(in);
    }
    if (!open_map(in, which, err) || !build_map(in)) {
        return false;
    }
    complete_report(in);
    return true;
}

/* Give back all but the source. */
static void drop_map(struct input *in)
{
    for (size_t i = 0; i < MM_COUNTOF(in->held); i++) {
        free(in->held[i]);
        in->held[i] = NULL;
    }
}

bool input_open(struct input *in, const char *name, const char *which)
{
    *in = (struct input){ .name = name };
    if (!source_read(&in->source, name)) {
        return false;
    }
    in->name = in->source.name;
    if (!open_one(in, which, look_into(in, which))) {
        input_close(in);
        return false;
    }
    return true;
}

void input_close(struct input *in)
{
    drop_map(in);
    source_drop(&in->source);
}

/* ---- all that is in a file ------------------------------------------------------------------- */

/* One of several reports, called by its place: "fleet.jsonl:12". */
static int use_report(const struct source *s, const struct report_text *text, const char *which,
                      input_use *use, void *ctx)
{
    struct input in = { .source = *s };
    size_t room = strlen(s->name) + 32;
    char *name = must_alloc(room);
    int status = STATUS_TROUBLE;

    snprintf(name, room, "%s:%llu", s->name, (unsigned long long)text->line);
    in.held[HELD_NAME] = name;
    in.name = name;
    if (open_report(&in, text, which) && build_map(&in)) {
        status = use(ctx, &in);
    }
    drop_map(&in);
    return status;
}

int input_each(const char *name, const char *which, input_use *use, void *ctx)
{
    struct input in = { .name = name };
    int status = STATUS_TROUBLE;
    uint32_t number;
    mm_err_t err;

    if (!source_read(&in.source, name)) {
        return STATUS_TROUBLE;
    }
    in.name = in.source.name;
    err = look_into(&in, which);
    if (err == MM_OK && in.found.format == MAPFILE_REPORT && !is_number(which, &number)) {
        struct report_text text = source_first_report(&in.source, in.found.report_at);
        struct report_text next = text;

        if (source_next_report(&in.source, &next)) {
            status = use_report(&in.source, &text, which, use, ctx);
            do {
                status = worse_of(status, use_report(&in.source, &next, which, use, ctx));
            } while (source_next_report(&in.source, &next));
            source_drop(&in.source);
            return status;
        }
    }
    if (open_one(&in, which, err)) {
        status = use(ctx, &in);
    }
    input_close(&in);
    return status;
}

void input_assume_arch(struct input *in, enum mapfile_arch arch)
{
    if (in->report.arch == MAPFILE_ARCH_UNKNOWN) {
        in->report.arch = arch;
    }
}

/* ---- saying what it is ------------------------------------------------------------------------ */

void input_put_title(const struct mm_sink *to, const struct input *in)
{
    const struct report_capture *c = in->capture;

    if (in->found.format == MAPFILE_REPORT) {
        say(to, "%s, map %s", mapfile_format_name(in->found.format), report_when_name(c->when));
        if (is_plain(c->origin)) {
            say(to, " (%.200s)", c->origin);
        }
    } else {
        say(to, "%s", mapfile_format_name(in->found.format));
    }
    if (c->when == REPORT_KERNEL) {
        say(to, ", %u regions, made of", in->map.nregions);
    } else {
        say(to, ",");
    }
    say(to, " %u descriptors%s\n", in->map.ndescs, c->is_whole ? "" : "; " NOT_WHOLE);
}
