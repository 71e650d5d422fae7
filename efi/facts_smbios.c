/*
 * facts_smbios.c - BIOS, system, board and memory devices, out of the SMBIOS tables.
 *
 * The structures lie one after another without an index, and each ends where a search through its
 * texts says: one wrong length, and the rest is garbage. So the walk ends at the first structure
 * that makes no sense, and what it found until then stays. A field that a structure is too short
 * for is not there: older versions of a structure are shorter.
 *
 * The 64-bit entry point gives the most that the table may have, not its length, and some give far
 * more than there is memory behind it; what is not there from end to end is cut, not refused.
 *
 * Source: SMBIOS 3.7 (DSP0134): 5.2 (entry points), 6.1 (structures), 7.1 to 7.3 (BIOS, system,
 * board), 7.18 (memory device), 7.45 (end of table).
 */
#include "facts_parts.h"

#include "bytes.h"

#define TABLE_MAX_BYTES  UINT64_C(0x100000) /* real tables have 2 to 100 KiB */
#define HEADER_BYTES     4u
#define ENTRY3_MIN_BYTES 24u
#define ENTRY2_BYTES     31u
#define ENTRY2_DMI       16u /* the old entry point inside the 32-bit one, and its length */
#define ENTRY2_DMI_BYTES 15u
#define UUID_BYTES       16u

enum { TYPE_BIOS = 0, TYPE_SYSTEM = 1, TYPE_BOARD = 2, TYPE_DEVICE = 17, TYPE_END = 127 };

struct walk {
    const unsigned char *at;
    const unsigned char *end;
    uint32_t left; /* structures to come, if `counted` */
    bool counted;  /* there is a number of structures; else the end has a mark */
    uint32_t seen; /* bit 1 << type, of types 0 to 2 */
};

struct structure {
    const unsigned char *at;
    uint32_t nbytes; /* of the formatted part */
    const unsigned char *texts;
    const unsigned char *texts_end; /* behind the NUL of the last text */
};

/* The next structure; false at the end, or where there is none that makes sense. */
static bool next(struct walk *w, struct structure *s)
{
    size_t rest = (size_t)(w->end - w->at), at;

    if (rest < HEADER_BYTES || (w->counted && w->left-- == 0)) {
        return false;
    }
    *s = (struct structure){ .at = w->at, .nbytes = w->at[1] };
    /* A table with a count may hold marks of an end that is not its end. */
    if (s->nbytes < HEADER_BYTES || (!w->counted && s->at[0] == TYPE_END)) {
        return false;
    }
    at = s->nbytes;
    while (at + 1 < rest && (s->at[at] != 0 || s->at[at + 1] != 0)) {
        at++;
    }
    if (at + 1 >= rest) {
        return false; /* the texts have no end */
    }
    s->texts = s->at + s->nbytes;
    s->texts_end = s->at + at + 1;
    w->at = s->at + at + 2;
    return true;
}

/* The number at `at` of the formatted part, or 0. */
static uint64_t number(const struct structure *s, uint32_t at, unsigned nbytes)
{
    return at + nbytes <= s->nbytes ? facts_number(s->at + at, nbytes) : 0;
}

/* The text whose number is at `at`; NULL if there is none. */
static const char *text(struct gather *g, const struct structure *s, uint32_t at)
{
    uint64_t which = number(s, at, 1);
    const unsigned char *p = s->texts;

    for (; which > 0 && p < s->texts_end; which--) {
        const unsigned char *begin = p;

        while (*p != '\0') {
            p++;
        }
        if (which == 1) {
            return p > begin ? facts_text(g, begin, (size_t)(p - begin)) : NULL;
        }
        p++;
    }
    return NULL;
}

static void take_bios(struct gather *g, const struct structure *s)
{
    struct report_smbios *r = &g->f->report.smbios;

    r->bios_vendor = text(g, s, 0x04);
    r->bios_version = text(g, s, 0x05);
    r->bios_date = text(g, s, 0x08);
}

static void take_system(struct gather *g, const struct structure *s)
{
    struct report_smbios *r = &g->f->report.smbios;
    bool is_set = false;

    r->manufacturer = text(g, s, 0x04);
    r->product = text(g, s, 0x05);
    r->version = text(g, s, 0x06);
    r->serial = text(g, s, 0x07);
    r->sku = text(g, s, 0x19);
    r->family = text(g, s, 0x1a);
    for (uint32_t i = 0; i < UUID_BYTES; i++) {
        r->uuid[i] = (unsigned char)number(s, 0x08 + i, 1);
        is_set = is_set || r->uuid[i] != 0xff;
    }
    if (!is_set) {
        memset(r->uuid, 0, sizeof(r->uuid)); /* all ones: it is still to be set */
    }
}

static void take_board(struct gather *g, const struct structure *s)
{
    struct report_smbios *r = &g->f->report.smbios;

    r->board_manufacturer = text(g, s, 0x04);
    r->board_product = text(g, s, 0x05);
    r->board_version = text(g, s, 0x06);
    r->board_serial = text(g, s, 0x07);
}

static uint64_t device_bytes(const struct structure *s)
{
    uint64_t size = number(s, 0x0c, 2);

    if (s->nbytes < 0x0e || size == 0xffff) {
        return REPORT_NO_SIZE;
    }
    if (size == 0x7fff) {
        return (number(s, 0x1c, 4) & 0x7fffffff) << 20;
    }
    return (size & 0x7fff) << ((size & 0x8000) != 0 ? 10 : 20);
}

/* 0: not known, as 0xffff is. */
static uint32_t device_bits(const struct structure *s, uint32_t at)
{
    uint32_t bits = (uint32_t)number(s, at, 2);

    return bits != 0xffff ? bits : 0;
}

/* 0xffff: too fast for the old field, it is in the new one. */
static uint32_t device_speed(const struct structure *s, uint32_t at, uint32_t extended_at)
{
    uint32_t speed = (uint32_t)number(s, at, 2);

    return speed != 0xffff ? speed : (uint32_t)number(s, extended_at, 4) & 0x7fffffff;
}

static void take_device(struct gather *g, const struct structure *s)
{
    struct report_smbios *r = &g->f->report.smbios;
    struct report_memory_device *d = facts_grow(g, sizeof(*d));

    if (d == NULL) {
        return;
    }
    r->devices = r->ndevices == 0 ? d : r->devices;
    r->ndevices++;
    *d = (struct report_memory_device){
        .locator = text(g, s, 0x10),
        .bank = text(g, s, 0x11),
        .manufacturer = text(g, s, 0x17),
        .part_number = text(g, s, 0x1a),
        .serial = text(g, s, 0x18),
        .nbytes = device_bytes(s),
        .type = (uint32_t)number(s, 0x12, 1),
        .form_factor = (uint32_t)number(s, 0x0e, 1),
        .data_bits = device_bits(s, 0x0a),
        .total_bits = device_bits(s, 0x08),
        .ranks = (uint32_t)number(s, 0x1b, 1) & 0xf,
        .speed = device_speed(s, 0x15, 0x54),
        .configured_speed = device_speed(s, 0x20, 0x58),
    };
}

/* Of the types 0 to 2 the first: there may be boards for every drawer of a large machine. */
static void take(struct gather *g, struct walk *w, const struct structure *s)
{
    uint32_t type = s->at[0];

    if (type == TYPE_DEVICE) {
        take_device(g, s);
        return;
    }
    if (type > TYPE_BOARD || (w->seen >> type & 1) != 0) {
        return;
    }
    w->seen |= UINT32_C(1) << type;
    if (type == TYPE_BIOS) {
        take_bios(g, s);
    } else if (type == TYPE_SYSTEM) {
        take_system(g, s);
    } else {
        take_board(g, s);
    }
}

static unsigned char sum(const unsigned char *p, uint64_t nbytes)
{
    unsigned char s = 0;

    for (uint64_t i = 0; i < nbytes; i++) {
        s = (unsigned char)(s + p[i]);
    }
    return s;
}

/* What an entry point says. */
struct entry {
    uint32_t major, minor;
    uint32_t nbytes;
    uint64_t table;
    uint64_t table_bytes;
    uint32_t count; /* of structures; 0: not known */
};

static bool read_entry3(const struct gather *g, uint64_t pa, struct entry *e)
{
    const unsigned char *p = facts_see(g, pa, ENTRY3_MIN_BYTES);

    if (p == NULL || memcmp(p, "_SM3_", 5) != 0) {
        return false;
    }
    *e = (struct entry){
        .major = p[7],
        .minor = p[8],
        .nbytes = p[6],
        .table = facts_number(p + 16, 8),
        .table_bytes = facts_number(p + 12, 4),
    };
    return e->nbytes >= ENTRY3_MIN_BYTES && facts_see(g, pa, e->nbytes) != NULL &&
           sum(p, e->nbytes) == 0;
}

static bool read_entry2(const struct gather *g, uint64_t pa, struct entry *e)
{
    const unsigned char *p = facts_see(g, pa, ENTRY2_BYTES);

    if (p == NULL || memcmp(p, "_SM_", 4) != 0 || memcmp(p + ENTRY2_DMI, "_DMI_", 5) != 0 ||
        sum(p + ENTRY2_DMI, ENTRY2_DMI_BYTES) != 0) {
        return false;
    }
    *e = (struct entry){
        .major = p[6],
        .minor = p[7],
        .nbytes = p[5],
        .table = facts_number(p + 24, 4),
        .table_bytes = facts_number(p + 22, 2),
        .count = (uint32_t)facts_number(p + 28, 2),
    };
    /* Version 2.1 of the specification gave the length as 30, and firmware followed it. */
    if (e->nbytes == ENTRY2_BYTES - 1) {
        e->nbytes = ENTRY2_BYTES;
    }
    return e->nbytes >= ENTRY2_BYTES && facts_see(g, pa, e->nbytes) != NULL &&
           sum(p, e->nbytes) == 0;
}

static bool read_entry(const struct gather *g, uint64_t pa, struct entry *e)
{
    return read_entry3(g, pa, e) || read_entry2(g, pa, e);
}

/* SMBIOS_TABLE_GUID, UEFI 2.10 4.6.1: the 32-bit entry point, which may be there beside the other.
 */
static uint64_t find_entry2(const struct gather *g)
{
    static const unsigned char guid[16] = { 0x31, 0x2d, 0x9d, 0xeb, 0x88, 0x2d, 0xd3, 0x11,
                                            0x9a, 0x16, 0x00, 0x90, 0x27, 0x3f, 0xc1, 0x4d };
    const struct report *r = &g->f->report;

    for (uint32_t i = 0; i < r->ntables; i++) {
        if (memcmp(r->tables[i].guid, guid, sizeof(guid)) == 0) {
            return r->tables[i].address;
        }
    }
    return 0;
}

void facts_smbios(struct gather *g)
{
    struct facts *f = g->f;
    uint64_t pa = g->machine->smbios;
    struct structure s;
    struct entry e;
    struct walk w;

    if (pa == 0) {
        return;
    }
    f->lint.smbios = (struct maplint_range){ pa, ENTRY3_MIN_BYTES };
    if (!read_entry(g, pa, &e)) {
        pa = find_entry2(g);
        if (!read_entry(g, pa, &e)) {
            return;
        }
    }
    f->lint.smbios = (struct maplint_range){ pa, e.nbytes };
    f->report.known |= REPORT_HAS_SMBIOS;
    f->report.smbios.address = pa;
    f->report.smbios.major = e.major;
    f->report.smbios.minor = e.minor;

    e.table_bytes = e.table_bytes < TABLE_MAX_BYTES ? e.table_bytes : TABLE_MAX_BYTES;
    e.table_bytes = facts_reach(g, e.table, e.table_bytes);
    if (e.table_bytes == 0) {
        return;
    }
    w = (struct walk){
        .at = fw_pointer(e.table),
        .end = (const unsigned char *)fw_pointer(e.table) + e.table_bytes,
        .left = e.count,
        .counted = e.count != 0,
    };
    while (next(&w, &s)) {
        take(g, &w, &s);
    }
}
