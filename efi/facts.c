/*
 * facts.c - see facts.h.
 *
 * How memory is read. Before the exit all that the memory map names is identity mapped (UEFI 2.10
 * 2.3.4), so a pointer into it can be followed; one to anywhere else may fault, and firmware's own
 * fault handler ends the machine. So every address goes through facts_reach(). Reserved memory
 * counts: firmware that keeps its ACPI tables there is common. Devices do not: to read some of
 * their registers is to change something. Nor does page 0, which firmware may have taken out of its
 * page tables to catch null pointers. The BIOS area counts although few maps name it: a table can
 * be there only if firmware put it there.
 *
 * How finds are kept. One block is taken before anything is known, and everything goes into it:
 * what a machine can have is bounded by how much fits, and one that claims more loses the end of
 * it. Lists grow from its front, as long as they are arrays with nothing in between; texts are
 * taken from its back.
 */
#include "facts.h"

#include "bytes.h"
#include "facts_parts.h"
#include "mm/mat.h"

#define BIOS_BASE UINT64_C(0xe0000)
#define BIOS_END  UINT64_C(0x100000)

#define VENDOR_MAX_UNITS 128u /* of UTF-16 */

/* ---- memory ---------------------------------------------------------------------------------- */

/* Kinds of memory that can be read, and that reading does not change. */
static bool is_readable(uint32_t kind)
{
    return kind != MEMMAP_MMIO && kind != MEMMAP_BAD && kind != MEMMAP_UNACCEPTED;
}

uint64_t facts_reach(const struct gather *g, uint64_t pa, uint64_t want)
{
    uint32_t bits = g->f->lint.phys_bits;
    uint64_t end, at = pa;

    if (pa < STUB_PAGE) {
        return 0;
    }
    if (__builtin_add_overflow(pa, want, &end)) {
        end = UINT64_MAX;
    }
    if (bits > 0 && bits < 64 && end > UINT64_C(1) << bits) {
        end = UINT64_C(1) << bits;
    }
    while (at < end) {
        const struct memmap_region *r = memmap_find(g->map, at);

        if (r != NULL && is_readable(r->kind)) {
            at = r->end;
        } else if (at >= BIOS_BASE && at < BIOS_END) {
            /* Page by page, as the map may go on in it. */
            at = (at | (STUB_PAGE - 1)) + 1;
        } else {
            break;
        }
    }
    at = mm_min(at, end);
    return at > pa ? at - pa : 0;
}

const void *facts_see(const struct gather *g, uint64_t pa, uint64_t nbytes)
{
    return nbytes > 0 && facts_reach(g, pa, nbytes) == nbytes ? fw_pointer(pa) : NULL;
}

uint64_t facts_number(const void *at, unsigned nbytes)
{
    uint64_t v = 0;

    memcpy(&v, at, nbytes);
    return v;
}

/* ---- storage --------------------------------------------------------------------------------- */

void *facts_grow(struct gather *g, size_t nbytes)
{
    void *p = g->front;

    if ((size_t)(g->back - g->front) < nbytes) {
        return NULL;
    }
    g->front += nbytes;
    memset(p, 0, nbytes);
    return p;
}

const char *facts_text(struct gather *g, const void *text, size_t n)
{
    n = n < FACTS_MAX_TEXT ? n : FACTS_MAX_TEXT;
    if ((size_t)(g->back - g->front) <= n) {
        return NULL;
    }
    g->back -= n + 1;
    memcpy(g->back, text, n);
    g->back[n] = '\0';
    return (const char *)g->back;
}

/* ---- firmware -------------------------------------------------------------------------------- */

/* One character out of `units`, whose end is a 0; what is half a pair becomes U+FFFD. */
static uint32_t take_character(const uint16_t **units)
{
    uint32_t c = *(*units)++;

    if (c < 0xd800 || c > 0xdfff) {
        return c;
    }
    if (c <= 0xdbff && **units >= 0xdc00 && **units <= 0xdfff) {
        return 0x10000 + ((c - 0xd800) << 10) + (*(*units)++ - 0xdc00u);
    }
    return 0xfffd;
}

/* `c` as UTF-8; the number of bytes, at most 4. */
static size_t put_character(char *to, uint32_t c)
{
    size_t n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    static const unsigned char first[] = { 0, 0, 0xc0, 0xe0, 0xf0 };

    for (size_t i = n - 1; i > 0; i--) {
        to[i] = (char)(0x80 | (c & 0x3f));
        c >>= 6;
    }
    to[0] = (char)(first[n] | c);
    return n;
}

static void gather_firmware(struct gather *g)
{
    const struct machine *m = g->machine;
    struct report *r = &g->f->report;
    uint16_t units[VENDOR_MAX_UNITS + 1] = { 0 };
    char vendor[3 * VENDOR_MAX_UNITS]; /* two units make four bytes, one makes three */
    const uint16_t *at = units;
    uint64_t nbytes = 0;
    size_t n = 0;

    r->known |= REPORT_HAS_FIRMWARE;
    r->firmware.revision = m->firmware_revision;
    r->firmware.uefi_revision = m->uefi_revision;
    if (m->firmware_vendor != NULL) {
        nbytes = facts_reach(g, (uintptr_t)m->firmware_vendor, 2 * VENDOR_MAX_UNITS) & ~UINT64_C(1);
        memcpy(units, m->firmware_vendor, nbytes);
    }
    while (*at != 0) {
        n += put_character(vendor + n, take_character(&at));
    }
    r->firmware.vendor = n > 0 ? facts_text(g, vendor, n) : NULL;
}

static void gather_tables(struct gather *g)
{
    struct report *r = &g->f->report;
    struct report_table t, *to;

    if (g->source == NULL) {
        return;
    }
    r->known |= REPORT_HAS_TABLES;
    while (r->ntables < FACTS_MAX_TABLES && g->source->table(r->ntables, &t)) {
        to = facts_grow(g, sizeof(*to));
        if (to == NULL) {
            break;
        }
        *to = t;
        r->tables = r->ntables == 0 ? to : r->tables;
        r->ntables++;
    }
}

/* The table is copied as far as it can be read: that it ends early is for the lint to say. */
static void gather_attributes(struct gather *g, struct pool *pool)
{
    struct report_attributes *a = &g->f->report.attributes;
    struct maplint_facts *lint = &g->f->lint;
    uint64_t pa = g->machine->memory_attributes, nbytes, copy;
    const void *header = facts_see(g, pa, MAT_HEADER_BYTES);

    if (pa == 0) {
        return;
    }
    a->address = pa;
    if (header == NULL) {
        g->f->report.known |= REPORT_HAS_ATTRIBUTES;
        a->problem = "it is not in memory that can be read";
        return;
    }
    nbytes = mat_bytes(header);
    nbytes = facts_reach(g, pa, nbytes != 0 ? nbytes : MAT_HEADER_BYTES);
    if (fw_failed(pool_alloc(pool, nbytes, STUB_PAGE, POOL_ANY, &copy))) {
        return;
    }
    g->f->report.known |= REPORT_HAS_ATTRIBUTES;
    memcpy(fw_pointer(copy), header, nbytes);
    maplint_set_mat(lint, fw_pointer(copy), nbytes);
    a->raw = lint->mat;
    a->flags = lint->mat.version >= 2 ? (uint32_t)facts_number(fw_pointer(copy + 12), 4) : 0;
    if (mat_bytes(header) > nbytes) {
        a->problem = "it runs on where there is no memory that can be read";
    } else {
        a->problem = mat_check(fw_pointer(copy), nbytes, g->map);
    }
}

/* ---- the rest -------------------------------------------------------------------------------- */

static bool is_time(const struct facts_time *t)
{
    static const uint8_t days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
    bool is_leap = (t->year % 4 == 0 && t->year % 100 != 0) || t->year % 400 == 0;

    return t->year >= 1900 && t->year <= 9999 && t->month >= 1 && t->month <= 12 && t->day >= 1 &&
           t->day <= days[t->month - 1] + (is_leap && t->month == 2) && t->hour < 24 &&
           t->minute < 60 && t->second < 60;
}

/*
 * UEFI has Localtime = UTC - TimeZone, a report minutes east of UTC. Whether TimeZone holds the
 * hour of daylight saving time nobody says, so the zone of such a time is not known.
 */
static void gather_time(struct gather *g)
{
    struct report *r = &g->f->report;
    struct facts_time t;

    if (g->source == NULL || fw_failed(g->source->time(&t)) || !is_time(&t)) {
        return;
    }
    r->known |= REPORT_HAS_TIME;
    r->time = (struct report_time){
        .year = t.year,
        .month = t.month,
        .day = t.day,
        .hour = t.hour,
        .minute = t.minute,
        .second = t.second,
        .zone = t.zone >= -1440 && t.zone <= 1440 && (t.daylight & FACTS_IN_DAYLIGHT) == 0
                    ? -t.zone
                    : REPORT_NO_ZONE,
    };
}

static bool is_same_screen(const struct report_framebuffer *a, const struct report_framebuffer *b)
{
    return a->base == b->base && a->nbytes == b->nbytes && a->width == b->width &&
           a->height == b->height && a->stride == b->stride && a->format == b->format;
}

static void add_screen(struct gather *g, const struct screen_mode *mode)
{
    struct report *r = &g->f->report;
    struct report_framebuffer fb = {
        .base = mode->base,
        .nbytes = mode->nbytes,
        .width = mode->width,
        .height = mode->height,
        .stride = mode->stride,
        .format = mode->format, /* the same numbers as in UEFI 2.10 12.9.2 */
    };
    struct report_framebuffer *to;

    if (fb.format >= REPORT_PIXEL_FORMATS) {
        return;
    }
    for (uint32_t i = 0; i < r->nframebuffers; i++) {
        if (is_same_screen(&r->framebuffers[i], &fb)) {
            return;
        }
    }
    to = facts_grow(g, sizeof(*to));
    if (to != NULL) {
        *to = fb;
        r->framebuffers = r->nframebuffers == 0 ? to : r->framebuffers;
        r->nframebuffers++;
    }
}

static void gather_screens(struct gather *g)
{
    struct report *r = &g->f->report;
    struct maplint_facts *lint = &g->f->lint;
    struct screen_mode modes[FACTS_MAX_SCREENS];
    struct maplint_range *ranges = NULL;
    uint32_t n;

    if (g->source == NULL) {
        return;
    }
    r->known |= REPORT_HAS_FRAMEBUFFERS;
    n = g->source->screens(modes, FACTS_MAX_SCREENS);
    for (uint32_t i = 0; i < n && i < FACTS_MAX_SCREENS; i++) {
        add_screen(g, &modes[i]);
    }
    for (uint32_t i = 0; i < r->nframebuffers; i++) {
        const struct report_framebuffer *fb = &r->framebuffers[i];
        struct maplint_range *to;

        if (fb->format == REPORT_PIXEL_BLT_ONLY || fb->nbytes == 0) {
            continue; /* nothing to draw in */
        }
        to = facts_grow(g, sizeof(*to));
        if (to == NULL) {
            break;
        }
        *to = (struct maplint_range){ fb->base, fb->nbytes };
        ranges = ranges == NULL ? to : ranges;
        lint->nframebuffers++;
    }
    lint->framebuffers = ranges;
}

static uint32_t state_of(const struct facts_source *source, const uint16_t *name)
{
    uint8_t value;

    if (fw_failed(source->variable(name, &value)) || value > 1) {
        return REPORT_UNKNOWN;
    }
    return value == 1 ? REPORT_ON : REPORT_OFF;
}

static void gather_security(struct gather *g)
{
    struct report_security *s = &g->f->report.security;
    uint32_t tpm;

    if (g->source == NULL) {
        return;
    }
    s->secure_boot = state_of(g->source, u"SecureBoot");
    s->setup_mode = state_of(g->source, u"SetupMode");
    tpm = g->source->tpm();
    s->tpm = tpm < REPORT_TPMS ? tpm : REPORT_TPM_UNKNOWN;
}

void facts_gather(const struct machine *machine, const struct memmap *map, bool identifiers,
                  struct pool *pool, struct facts *f)
{
    struct gather g = { .machine = machine, .source = machine->facts, .map = map, .f = f };
    uint64_t storage;

    memset(f, 0, sizeof(*f));
    f->report.plat = machine->facts != NULL ? machine->facts->plat : NULL;
    f->report.with_identifiers = identifiers;
    f->report.arch = MAPFILE_ARCH_X86;
    f->report.findings_when = REPORT_WHENS;
    f->lint.arch = MAPFILE_ARCH_X86;
    f->lint.attr_known = UINT64_MAX;
    f->lint.raw_is_firmware = MAPLINT_YES;
    f->lint.virt_is_firmware = MAPLINT_YES;
    f->lint.image = (struct maplint_range){ machine->stub_base, machine->stub_bytes };
    if (!fw_failed(pool_alloc(pool, FACTS_STORAGE, STUB_PAGE, POOL_ANY, &storage))) {
        g.front = fw_pointer(storage);
        g.back = g.front + FACTS_STORAGE;
    }
    facts_cpu(&g);
    gather_firmware(&g);
    gather_tables(&g);
    gather_time(&g);
    gather_security(&g);
    gather_screens(&g);
    gather_attributes(&g, pool);
    facts_acpi(&g);
    facts_smbios(&g);
}
