/*
 * inspect.c - see inspect.h.
 *
 * The save comes before the wait and the screens: a machine that hangs, or that somebody switches
 * off while looking, has its report on the stick already.
 */
#include "inspect.h"

#include "bytes.h"
#include "menu.h"

/* Seconds of inspect=SECONDS at most: firmware's watchdog is off, nobody waits longer by mistake.
 */
#define SECONDS_MAX 60u

/* ---- a map, and what is to be said about it -------------------------------------------------- */

static void capture_drop(struct inspect *in, struct inspect_capture *c)
{
    uint64_t *blocks[] = { &c->raw, &c->storage, &c->findings };

    for (unsigned i = 0; i < sizeof(blocks) / sizeof(blocks[0]); i++) {
        if (*blocks[i] != 0) {
            pool_free(&in->pool, *blocks[i]);
            *blocks[i] = 0;
        }
    }
}

/* Normalise `raw`; false if there is no memory for it. */
static bool capture_make(struct inspect *in, struct inspect_capture *c,
                         const struct memmap_raw *raw)
{
    uint64_t storage = memmap_storage_bytes(raw->nbytes / raw->stride);
    uint64_t findings = MAPLINT_ROOM * sizeof(struct memmap_finding);

    if (storage == 0 ||
        fw_failed(pool_alloc(&in->pool, storage, STUB_PAGE, POOL_ANY, &c->storage)) ||
        fw_failed(pool_alloc(&in->pool, findings, STUB_PAGE, POOL_ANY, &c->findings)) ||
        memmap_build(&c->map, raw, fw_pointer(c->storage), storage) != MM_OK) {
        capture_drop(in, c);
        return false;
    }
    c->lint = (struct maplint_result){ .findings = fw_pointer(c->findings), .max = MAPLINT_ROOM };
    return true;
}

/* Make it, which lint was run over, the newest of the report. */
static void capture_show(struct inspect *in, const struct inspect_capture *c, enum report_when when)
{
    struct report *r = &in->report;
    uint32_t i = when == REPORT_START ? 0 : 1;

    r->captures[i] = report_capture_of(&c->map, when);
    r->ncaptures = i + 1;
    report_set_findings(r, when, &c->lint);
    in->map = c->map;
    in->lint = c->lint;
}

void inspect_begin(struct inspect *in, const struct fw *fw, const struct machine *machine,
                   const struct map_survey *start, bool identifiers)
{
    struct memmap_raw raw = { start->copy, start->nbytes, start->stride, start->version };

    *in = (struct inspect){ .fw = fw, .machine = machine, .pool = pool_make(fw) };
    in->report.findings_when = REPORT_WHENS;
    if (!capture_make(in, &in->start, &raw)) {
        fw_say(fw, "plat: inspector: no memory for it; Plat starts without\n");
        return;
    }
    facts_gather(machine, &in->start.map, identifiers, &in->pool, &in->facts);
    in->report = in->facts.report;
    in->facts.lint.stack = (struct maplint_range){ machine->stack, 1 };
    in->facts.lint.map_buffer = (struct maplint_range){ (uintptr_t)start->copy, start->copy_bytes };
    in->facts.lint.key_changed = start->key_changed ? MAPLINT_YES : MAPLINT_NO;
    maplint_run(&in->start.lint, &in->start.map, &in->facts.lint);
    capture_show(in, &in->start, REPORT_START);
}

/* ---- saving ---------------------------------------------------------------------------------- */

/* While the file is open: the map as it is now. The report is as before if there is no memory. */
static const struct report *inspect_compose(void *ctx)
{
    struct inspect *in = ctx;
    struct inspect_capture c = { .raw = 0 };
    struct map_survey now;
    const char *why;
    struct memmap_raw raw;

    if (fw_failed(map_look(in->fw, &in->pool, &now, &why))) {
        fw_say(in->fw, "plat: report: the map cannot be read again, %s: it has the first one\n",
               why);
        return &in->report;
    }
    c.raw = (uintptr_t)now.copy;
    raw = (struct memmap_raw){ now.copy, now.nbytes, now.stride, now.version };
    if (!capture_make(in, &c, &raw)) {
        fw_say(in->fw, "plat: report: no memory for a second map: it has the first one\n");
        return &in->report;
    }
    in->facts.lint.map_buffer = (struct maplint_range){ c.raw, now.copy_bytes };
    in->facts.lint.key_changed = now.key_changed ? MAPLINT_YES : MAPLINT_NO;
    maplint_run(&c.lint, &c.map, &in->facts.lint);
    capture_show(in, &c, REPORT_LAST);
    capture_drop(in, &in->last);
    in->last = c;
    return &in->report;
}

void inspect_save(struct inspect *in)
{
    save_report(in->fw, inspect_compose, in, &in->saved);
    in->was_saved = in->was_saved || in->saved.status == FW_SUCCESS;
}

static void inspect_save_now(struct inspect *in)
{
    inspect_save(in);
    if (in->saved.status == FW_SUCCESS) {
        fw_say(in->fw, "Plat: report saved: \\plat\\reports\\%s.json, and .txt\n", in->saved.name);
    } else {
        fw_say(in->fw, "plat: report not saved: %s; %s\n", in->saved.why, in->saved.advice);
    }
}

/* ---- what the options say -------------------------------------------------------------------- */

static bool value_is(const struct plat_option *o, const char *word)
{
    struct plat_option value = { .key = o->value, .key_len = o->value_len };

    return plat_option_is(&value, word);
}

static bool wants_save(const struct inspect *in, const struct conf *conf)
{
    struct plat_option o;

    if (!plat_option_find(conf->text, conf->len, "save", &o) || value_is(&o, "off")) {
        return false;
    }
    if (!value_is(&o, "auto")) {
        fw_say(in->fw, "plat: option save: is auto or off, nothing is saved\n");
        return false;
    }
    return true;
}

/* Does somebody want the screens? */
static bool wants_menu(const struct inspect *in, const struct conf *conf)
{
    unsigned seconds = INSPECT_SECONDS;
    struct plat_option o;

    if (plat_option_find(conf->text, conf->len, "inspect", &o)) {
        if (value_is(&o, "menu")) {
            return true;
        }
        if (value_is(&o, "off")) {
            return false;
        }
        seconds = 0;
        for (size_t i = 0; i < o.value_len && seconds <= SECONDS_MAX; i++) {
            seconds = o.value[i] >= '0' && o.value[i] <= '9'
                          ? seconds * 10 + (unsigned)(o.value[i] - '0')
                          : SECONDS_MAX + 1;
        }
        if (o.value_len == 0 || seconds > SECONDS_MAX) {
            fw_say(in->fw, "plat: option inspect: is menu, off, or seconds up to %u, ignored\n",
                   SECONDS_MAX);
            seconds = INSPECT_SECONDS;
        }
    }
    return menu_wait_key(in->fw, seconds);
}

enum inspect_choice inspect_run(struct inspect *in, const struct conf *conf)
{
    if (in->report.ncaptures == 0) {
        return INSPECT_BOOT;
    }
    if (wants_save(in, conf)) {
        inspect_save_now(in);
    }
    if (wants_menu(in, conf) && menu_run(in) == MENU_EXIT) {
        return INSPECT_EXIT;
    }
    return INSPECT_BOOT;
}

/* ---- the hand-over --------------------------------------------------------------------------- */

static void count_bytes(void *ctx, const char *s, size_t n)
{
    (void)s;
    *(uint64_t *)ctx += n;
}

void inspect_facts(const struct inspect *in, struct pool *pool, uint64_t *pa, uint64_t *nbytes)
{
    struct report r = in->report;
    uint64_t n = 0;
    struct mm_sink counter = { count_bytes, &n };
    struct mm_text text;
    struct mm_sink to;

    *pa = 0;
    *nbytes = 0;
    if (in->report.ncaptures == 0) {
        return;
    }
    r.ncaptures = 0;
    r.known &= ~REPORT_HAS_FINDINGS;
    r.findings_when = REPORT_WHENS;
    r.nfindings = 0;
    r.lost_findings = 0;
    report_write(&r, &counter, JSON_LINE);
    if (n >= UINT32_MAX || fw_failed(pool_alloc(pool, n + 1, STUB_PAGE, POOL_ANY, pa))) {
        fw_say(in->fw, "plat: report: no memory to hand it to the kernel\n");
        *pa = 0;
        return;
    }
    to = mm_text_sink(&text, fw_pointer(*pa), n + 1);
    report_write(&r, &to, JSON_LINE);
    *nbytes = n;
}

void inspect_drop(struct inspect *in)
{
    pool_free_all(&in->pool);
    in->report.ncaptures = 0;
}
