/*
 * input.c - a map out of a file of any format that mm/ knows, and what the file says around it.
 *
 * Whatever comes in becomes a report: one of ours as it is, all else as a report whose only capture
 * is the map. So there is one thing for commands to look at, and converting is writing it.
 */
#include "platmap.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MAX_FILE_BYTES UINT32_MAX /* mapfile_read() takes no more */

enum held { HELD_BYTES, HELD_DESCS, HELD_LINES, HELD_ASSUMED, HELD_MAP };

/* ---- bytes ----------------------------------------------------------------------------------- */

static bool read_stream(struct input *in, FILE *f, size_t *nbytes)
{
    size_t room = 1u << 16;
    char *bytes = must_alloc(room);
    size_t n = 0;
    size_t got;

    while ((got = fread(bytes + n, 1, room - n, f)) != 0 && n <= MAX_FILE_BYTES) {
        n += got;
        if (n == room) {
            char *more = realloc(bytes, room *= 2);

            if (more == NULL) {
                complain("%s: out of memory", in->name);
                free(bytes);
                return false;
            }
            bytes = more;
        }
    }
    in->held[HELD_BYTES] = bytes;
    *nbytes = n;
    if (ferror(f) != 0) {
        complain("%s: %s", in->name, strerror(errno));
        return false;
    }
    return true;
}

static bool read_file(struct input *in, const char *name, size_t *nbytes)
{
    bool is_stdin = strcmp(name, "-") == 0;
    FILE *f = is_stdin ? stdin : fopen(name, "rb");
    bool done;

    in->name = is_stdin ? "standard input" : name;
    if (f == NULL) {
        complain("%s: %s", name, strerror(errno));
        return false;
    }
    done = read_stream(in, f, nbytes);
    if (!is_stdin) {
        (void)fclose(f);
    }
    return done;
}

/* ---- a report -------------------------------------------------------------------------------- */

static const char *find(const char *at, const char *end, const char *what)
{
    size_t n = strlen(what);

    for (; (size_t)(end - at) >= n; at++) {
        at = memchr(at, what[0], (size_t)(end - at) - n + 1);
        if (at == NULL) {
            return NULL;
        }
        if (memcmp(at, what, n) == 0) {
            return at;
        }
    }
    return NULL;
}

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
    if (which == NULL && n > 1) {
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

/* In a log a report takes a line, and there may be several; else it is the whole file. */
static bool open_report(struct input *in, size_t nbytes, const char *which)
{
    const char *bytes = in->held[HELD_BYTES];
    const char *at = bytes + in->found.report_at;
    const char *end = bytes + nbytes;
    bool is_line = (size_t)(end - at) >= strlen(REPORT_MARK) &&
                   memcmp(at, REPORT_MARK, strlen(REPORT_MARK)) == 0;
    const char *report = at;
    struct report_error err;
    uint64_t storage_bytes;
    uint64_t before = 0;
    uint32_t number = 1;
    uint64_t n = 1;

    (void)is_number(which, &number);
    while (is_line && (at = find(at + 1, end, REPORT_MARK)) != NULL) {
        if (++n == number) {
            report = at;
        }
    }
    if (number > n) {
        complain("%s: there are only %llu reports in it", in->name, (unsigned long long)n);
        return false;
    }
    tell_of_others(in, which, n, "reports");
    if (is_line) {
        const char *newline = memchr(report, '\n', (size_t)(end - report));

        end = newline != NULL ? newline : end;
    }

    storage_bytes = report_storage_bytes((uint64_t)(end - report));
    in->held[HELD_DESCS] = must_alloc(storage_bytes);
    if (report_read(&in->report, report, (size_t)(end - report), in->held[HELD_DESCS],
                    storage_bytes, &err) != MM_OK) {
        for (at = bytes; at < report; at++) {
            before += *at == '\n';
        }
        complain("%s:%llu: column %llu: %s%s%s", in->name, (unsigned long long)(before + err.line),
                 (unsigned long long)err.column, err.member != NULL ? err.member : "",
                 err.member != NULL ? ": " : "", err.what);
        return false;
    }
    return choose_capture(in, which);
}

/* ---- everything else ------------------------------------------------------------------------- */

/* Complete what mapfile_read() began by saying `err`, and how many descriptors there are. */
static bool open_map(struct input *in, size_t nbytes, const char *which, mm_err_t err)
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
        err = mapfile_read(f, in->held[HELD_BYTES], nbytes, number - 1, in->held[HELD_DESCS],
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
        c->raw = (struct memmap_raw){ in->held[HELD_BYTES], nbytes, f->stride, 1 };
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

static bool open_any(struct input *in, size_t nbytes, const char *which)
{
    uint32_t number = 1;
    mm_err_t err;

    (void)is_number(which, &number);
    err = mapfile_read(&in->found, in->held[HELD_BYTES], nbytes, number - 1, NULL, NULL, 0);
    if (err == MM_OK && in->found.format == MAPFILE_REPORT) {
        return open_report(in, nbytes, which) && build_map(in);
    }
    if (!open_map(in, nbytes, which, err) || !build_map(in)) {
        return false;
    }
    complete_report(in);
    return true;
}

bool input_open(struct input *in, const char *name, const char *which)
{
    size_t nbytes = 0;
    bool done;

    *in = (struct input){ .name = name };
    done = read_file(in, name, &nbytes) && open_any(in, nbytes, which);
    if (!done) {
        input_close(in);
    }
    return done;
}

void input_close(struct input *in)
{
    for (size_t i = 0; i < MM_COUNTOF(in->held); i++) {
        free(in->held[i]);
        in->held[i] = NULL;
    }
}

/* ---- lint ------------------------------------------------------------------------------------ */

/* As maplint_run() sorts: the worst first, then by place. */
static int compare_findings(const void *a, const void *b)
{
    const struct memmap_finding *x = a;
    const struct memmap_finding *y = b;
    int rule = strcmp(x->rule, y->rule);

    if (x->severity != y->severity) {
        return x->severity > y->severity ? -1 : 1;
    }
    if (x->base != y->base) {
        return x->base < y->base ? -1 : 1;
    }
    if (x->end != y->end) {
        return x->end < y->end ? -1 : 1;
    }
    return rule != 0 ? rule : (x->desc > y->desc) - (x->desc < y->desc);
}

/* May it go to a terminal: is it a text, without control characters? */
static bool is_plain(const char *s)
{
    for (; s != NULL && *s != '\0'; s++) {
        unsigned char c = (unsigned char)s[0];
        unsigned char next = (unsigned char)s[1];

        if (c < ' ' || c == 0x7f || (c == 0xc2 && next < 0xa0)) {
            return false;
        }
    }
    return s != NULL;
}

/* Could a Plat have found this? */
static bool is_credible(const struct input *in, const struct memmap_finding *f)
{
    return is_plain(f->rule) && is_plain(f->what) && (f->subject == NULL || is_plain(f->subject)) &&
           f->base <= f->end && (f->desc == MEMMAP_NODESC || f->desc < in->map.ndescs);
}

/* Add the findings of the machine itself, which knew its stack, its buffers and more. */
static void add_recorded(struct maplint_result *out, const struct input *in)
{
    const struct report *r = &in->report;
    uint32_t nours = out->n;

    if (r->findings_when != in->capture->when) {
        return;
    }
    for (uint32_t i = 0; i < r->nfindings; i++) {
        const struct memmap_finding *f = &r->findings[i];
        uint32_t k = 0;

        if (!is_credible(in, f)) {
            continue;
        }
        while (k < nours && compare_findings(f, &out->findings[k]) != 0) {
            k++;
        }
        if (k == nours) {
            out->findings[out->n++] = *f;
            out->count[f->severity]++;
        }
    }
    qsort(out->findings, out->n, sizeof(*out->findings), compare_findings);
}

struct maplint_result input_lint(const struct input *in)
{
    struct maplint_range *ranges = must_alloc((report_nranges(&in->report) + 1) * sizeof(*ranges));
    struct maplint_facts facts;
    struct maplint_result out = { .max = 0 };
    uint64_t room;

    report_facts(&facts, &in->report, in->capture, ranges);
    maplint_run(&out, &in->map, &facts);
    room = out.n + out.lost;
    out.max = room < UINT32_MAX ? (uint32_t)room : UINT32_MAX;
    out.findings =
        must_alloc((out.max + (uint64_t)in->report.nfindings + 1) * sizeof(*out.findings));
    maplint_run(&out, &in->map, &facts);
    free(ranges);
    add_recorded(&out, in);
    return out;
}

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
    say(to, " %u descriptors%s\n", in->map.ndescs,
        c->is_whole ? "" : "; nothing shows whether more are missing");
}
