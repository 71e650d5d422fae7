/*
 * fuzz_report.c - any bytes at all as a report's document; and, if they do not begin with a brace,
 * as what firmware says, of which a document is made.
 *
 * Checked besides what the sanitizers see: a document that is read has all the storage it needs, is
 * written again, and from then on stays the same byte by byte; whatever firmware says, its document
 * is read; what is refused leaves no half of a report, and the place lies in the text; the readable
 * text is the same before and after, and plain; the lint of what was read ends. Good seeds: the
 * files that `test_report --write DIR` writes.
 */
#include <stdlib.h>
#include <string.h>

#include "mm/report.h"

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

#define READABLE 8 /* one document in so many is told for people, too: that takes long */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A sink that takes pieces whole: byte by byte, most of the time would go into it. */
struct store {
    char buf[4 << 20];
    size_t nbytes;
};

static void store_bytes(void *ctx, const char *s, size_t n)
{
    struct store *to = ctx;

    CHECK(n > 0 && n <= sizeof(to->buf) - to->nbytes);
    memcpy(to->buf + to->nbytes, s, n);
    to->nbytes += n;
}

static struct store store;

/* What is in the store, in memory of exactly its size, to be freed. */
static char *take_store(size_t *nbytes)
{
    char *exact = malloc(store.nbytes);

    CHECK(exact != NULL);
    memcpy(exact, store.buf, store.nbytes);
    *nbytes = store.nbytes;
    return exact;
}

static char *text_of(const struct report *r, enum json_style style, size_t *nbytes)
{
    struct mm_sink to = { store_bytes, &store };

    store.nbytes = 0;
    report_write(r, &to, style);
    return take_store(nbytes);
}

/* For people to read: no byte of it is a command to a terminal. */
static char *readable_of(const struct report *r, size_t *nbytes)
{
    struct mm_sink to = { store_bytes, &store };

    store.nbytes = 0;
    report_put_text(&to, r);
    for (size_t i = 0; i < store.nbytes; i++) {
        CHECK(store.buf[i] == '\n' || (store.buf[i] >= ' ' && store.buf[i] <= '~'));
    }
    return take_store(nbytes);
}

static void check_readable(const struct report *a, const struct report *b)
{
    size_t abytes;
    size_t bbytes;
    char *atext = readable_of(a, &abytes);
    char *btext = readable_of(b, &bbytes);

    CHECK(abytes == bbytes && memcmp(atext, btext, abytes) == 0);
    free(atext);
    free(btext);
}

static void *storage_for(size_t nbytes)
{
    void *storage = malloc(report_storage_bytes(nbytes));

    CHECK(storage != NULL);
    return storage;
}

static void check_error(const struct report_error *err, const char *text, size_t nbytes)
{
    char buf[256];
    struct mm_text message;
    struct mm_sink to = mm_text_sink(&message, buf, sizeof(buf));

    CHECK(err->what != NULL && err->at <= nbytes && err->line >= 1 && err->column >= 1);
    CHECK(err->column <= err->at + 1);
    CHECK(err->column == 1 || text[err->at - 1] != '\n');
    report_put_error(&to, err);
    CHECK(message.len < sizeof(buf));
}

/* Writing `r` and reading it changes nothing any more. */
static void check_stable(const struct report *r, enum json_style style)
{
    struct report got;
    struct report_error err;
    size_t nbytes;
    char *text = text_of(r, style, &nbytes);
    void *storage = storage_for(nbytes);
    size_t again_bytes;
    char *again;

    CHECK(report_recognise(text, nbytes));
    CHECK(report_read(&got, text, nbytes, storage, report_storage_bytes(nbytes), &err) == MM_OK);
    again = text_of(&got, style, &again_bytes);
    CHECK(again_bytes == nbytes && memcmp(again, text, nbytes) == 0);
    if (style == JSON_LINE && nbytes % READABLE == 0) {
        check_readable(r, &got);
    }
    free(again);
    free(storage);
    free(text);
}

/* Lint bears whatever a document says of a map and around it. */
static void check_lint(const struct report *r)
{
    struct memmap_finding findings[64];
    struct maplint_range *ranges = malloc((report_nranges(r) + 1) * sizeof(*ranges));

    CHECK(ranges != NULL);
    for (uint32_t i = 0; i < r->ncaptures; i++) {
        const struct memmap_raw *raw = &r->captures[i].raw;
        bool is_strideable = raw->stride >= 40 && raw->stride % 8 == 0;
        uint64_t nbytes = memmap_storage_bytes(is_strideable ? raw->nbytes / raw->stride : 0);
        void *storage = malloc(nbytes);
        struct memmap m;
        struct maplint_facts facts;
        struct maplint_result lint = { .findings = findings, .max = MM_COUNTOF(findings) };

        CHECK(storage != NULL && memmap_build(&m, raw, storage, nbytes) == MM_OK);
        CHECK(memmap_check(&m) == NULL);
        report_facts(&facts, r, &r->captures[i], ranges);
        maplint_run(&lint, &m, &facts);
        CHECK(lint.n <= lint.max && (lint.lost == 0 || lint.n == lint.max || m.lost_findings > 0));
        free(storage);
    }
    free(ranges);
}

static void read_document(const uint8_t *data, size_t size)
{
    char *text = malloc(size);
    void *storage = storage_for(size);
    struct report got;
    struct report untouched;
    struct report_error err;
    mm_err_t result;

    CHECK(text != NULL);
    memcpy(text, data, size);
    memset(&got, 0x5a, sizeof(got));
    untouched = got;
    result = report_read(&got, text, size, storage, report_storage_bytes(size), &err);
    if (result == MM_OK) {
        free(text); /* not needed any more */
        check_lint(&got);
        check_stable(&got, (enum json_style)(size & 1));
    } else {
        CHECK(result == MM_EINVAL || result == MM_ELIMIT);
        CHECK(memcmp(&got, &untouched, sizeof(got)) == 0);
        check_error(&err, text, size);
        free(text);
    }
    free(storage);
}

/* ---- what firmware says ---------------------------------------------------------------------- */

struct input {
    const uint8_t *data;
    size_t size;
};

static uint64_t take(struct input *in, size_t n)
{
    uint64_t v = 0;

    n = n < in->size ? n : in->size;
    memcpy(&v, in->data, n);
    in->data += n;
    in->size -= n;
    return v;
}

/* NUL-terminated; NULL sometimes. */
static const char *take_text(struct input *in, char buf[24])
{
    uint64_t n = take(in, 1) % 25;

    if (n == 24) {
        return NULL;
    }
    n = n < in->size ? n : in->size;
    memset(buf, 0, 24);
    memcpy(buf, in->data, n);
    in->data += n;
    in->size -= n;
    return buf;
}

/* The rest of the input, or a part of it, with a stride that is often one. */
static struct memmap_raw take_raw(struct input *in)
{
    uint64_t stride = take(in, 1);
    uint64_t nbytes = take(in, 1) % 160;
    struct memmap_raw raw;

    stride = stride < 128 ? 40 + 8 * (stride % 8) : stride < 250 ? stride - 128 : take(in, 8);
    raw.version = (uint32_t)take(in, 4);
    raw.stride = stride;
    raw.nbytes = nbytes < in->size ? nbytes : in->size;
    raw.bytes = in->data;
    in->data += raw.nbytes;
    in->size -= raw.nbytes;
    return raw;
}

static void write_document(struct input in)
{
    char texts[12][24];
    struct report r = { .known = (uint32_t)take(&in, 2) };
    struct report_memory_device device;
    struct report_table table;
    struct report_acpi_table acpi = { 0 };
    struct report_framebuffer fb;
    struct memmap_finding finding;
    struct memmap_region region;

    r.plat = take_text(&in, texts[0]);
    r.with_identifiers = take(&in, 1) & 1;
    r.arch = (uint32_t)take(&in, 1) % MAPFILE_ARCHS;
    r.time = (struct report_time){ (uint32_t)take(&in, 2), (uint32_t)take(&in, 1),
                                   (uint32_t)take(&in, 1), (uint32_t)take(&in, 1),
                                   (uint32_t)take(&in, 1), (uint32_t)take(&in, 1),
                                   (int16_t)take(&in, 2) };
    r.firmware = (struct report_firmware){ take_text(&in, texts[1]), (uint32_t)take(&in, 4),
                                           (uint32_t)take(&in, 4) };
    r.security = (struct report_security){ (uint32_t)take(&in, 1) % 3, (uint32_t)take(&in, 1) % 3,
                                           (uint32_t)take(&in, 1) % REPORT_TPMS };
    r.cpu = (struct report_cpu){ take_text(&in, texts[2]), take_text(&in, texts[3]),
                                 (uint32_t)take(&in, 4),   (uint32_t)take(&in, 4),
                                 (uint32_t)take(&in, 4),   (uint32_t)take(&in, 4),
                                 (uint32_t)take(&in, 4),   (uint32_t)take(&in, 4) };
    device = (struct report_memory_device){ .locator = take_text(&in, texts[4]),
                                            .serial = take_text(&in, texts[5]),
                                            .nbytes = take(&in, 8),
                                            .type = (uint32_t)take(&in, 4),
                                            .ranks = (uint32_t)take(&in, 4) };
    r.smbios.product = take_text(&in, texts[6]);
    r.smbios.serial = take_text(&in, texts[7]);
    r.smbios.uuid[take(&in, 1) % 16] = (unsigned char)take(&in, 1);
    r.smbios.devices = &device;
    r.smbios.ndevices = 1;
    fb = (struct report_framebuffer){ .base = take(&in, 8),
                                      .format = (uint32_t)take(&in, 1) % REPORT_PIXEL_FORMATS };
    r.framebuffers = &fb;
    r.nframebuffers = 1;
    table.address = take(&in, 8);
    for (unsigned i = 0; i < 16; i++) {
        table.guid[i] = (unsigned char)take(&in, 1);
    }
    r.tables = &table;
    r.ntables = 1;
    acpi.address = take(&in, 8);
    for (unsigned i = 0; i < 4; i++) {
        acpi.signature[i] = (char)take(&in, 1);
        acpi.oem_id[i] = (char)take(&in, 1);
        acpi.oem_table_id[i] = (char)take(&in, 1);
    }
    r.acpi = &acpi;
    r.nacpi = 1;
    finding = (struct memmap_finding){ .rule = take_text(&in, texts[8]),
                                       .what = take_text(&in, texts[9]),
                                       .subject = take_text(&in, texts[10]),
                                       .severity = (uint32_t)take(&in, 1) % (MEMMAP_ERROR + 1),
                                       .desc = (uint32_t)take(&in, 4),
                                       .base = take(&in, 8) };
    r.findings = &finding;
    r.nfindings = 1;
    r.findings_when = (uint32_t)take(&in, 1) % (REPORT_WHENS + 1);
    region = (struct memmap_region){ .base = take(&in, 8),
                                     .attr = take(&in, 8),
                                     .kind = (uint32_t)take(&in, 1) % MEMMAP_KINDS,
                                     .type = (uint32_t)take(&in, 4),
                                     .desc = (uint32_t)take(&in, 4) };
    r.attributes.problem = take_text(&in, texts[11]);
    r.attributes.raw = take_raw(&in);
    r.ncaptures = (uint32_t)take(&in, 1) % (REPORT_MAX_CAPTURES + 1);
    for (uint32_t i = 0; i < r.ncaptures; i++) {
        struct report_capture *c = &r.captures[i];

        c->when = i;
        c->known = (uint32_t)take(&in, 1);
        c->attr_known = take(&in, 8);
        c->regions = &region;
        c->nregions = 1;
        c->totals.type_bytes[take(&in, 1) % MAPSUM_ROWS] = take(&in, 8);
        c->raw = take_raw(&in);
    }
    check_stable(&r, (enum json_style)(r.known & 1));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > 0 && data[0] != '{') {
        write_document((struct input){ data, size });
    } else {
        read_document(data, size);
    }
    return 0;
}
