/*
 * menu_compare.c - what has changed since a report was saved.
 *
 * A report on a stick may be of any machine, version or size, or damaged: it is read by
 * report_read(), which takes any bytes, and its map is normalised as firmware's was. Everything
 * lies in a pool of its own, which is given back when the answer has been read.
 */
#include "menu_ui.h"

#include "mm/mapdiff.h"

#define ENTRIES_MAX 500u
#define DESC_MIN    40u /* bytes of a descriptor, at least */

/* The answer. Static: too large for the stack. */
static struct comparison {
    const char *name;
    const char *trouble; /* a sentence; NULL: there is a comparison */
    const char *advice;
    fw_status_t status;        /* shown with the trouble, unless SUCCESS */
    struct report_error error; /* likewise, if it has a text */
    struct report report;
    const struct report_capture *capture;
    struct memmap map;
    struct mapdiff diff;
} comparison;

/* ---- reading and comparing ------------------------------------------------------------------- */

static bool trouble(struct comparison *c, const char *what, const char *advice)
{
    c->trouble = what;
    c->advice = advice;
    return false;
}

static void *compare_alloc(struct comparison *c, struct pool *pool, uint64_t nbytes)
{
    uint64_t pa = 0;

    c->status =
        nbytes == 0 ? FW_OUT_OF_RESOURCES : pool_alloc(pool, nbytes, STUB_PAGE, POOL_ANY, &pa);
    if (fw_failed(c->status)) {
        trouble(c, "There is not enough free memory to compare with this report.",
                "Compare on another machine: platmap diff");
        return NULL;
    }
    return fw_pointer(pa);
}

static bool compare_read(struct menu *m, struct comparison *c, struct pool *pool)
{
    uint64_t text = 0, nbytes = 0, room;
    void *storage;

    c->status = save_load(m->fw, pool, c->name, &text, &nbytes);
    if (fw_failed(c->status)) {
        return trouble(c, "The report cannot be read.", "Is the volume still there?");
    }
    room = report_storage_bytes(nbytes);
    storage = compare_alloc(c, pool, room);
    if (storage == NULL) {
        return false;
    }
    switch (report_read(&c->report, fw_pointer(text), nbytes, storage, room, &c->error)) {
    case MM_OK:
        pool_free(pool, text);
        return true;
    case MM_ELIMIT:
        return trouble(c, "The report was written by a newer version of Plat.", "Update Plat.");
    default:
        return trouble(c, "This is no report of Plat, or it is damaged.",
                       "Copy it again, or save a new one.");
    }
}

/* The map that says most about that boot: like with like, else as early as there is one. */
static const struct report_capture *compare_choose(const struct report *then,
                                                   const struct report *now)
{
    static const enum report_when order[] = { REPORT_START, REPORT_LAST, REPORT_FINAL,
                                              REPORT_FILE };
    const struct report_capture *c = NULL;

    if (now->ncaptures > 0) {
        c = report_capture_at(then, now->captures[now->ncaptures - 1].when);
    }
    for (size_t i = 0; (c == NULL || c->raw.nbytes == 0) && i < MM_COUNTOF(order); i++) {
        c = report_capture_at(then, order[i]);
    }
    return c != NULL && c->raw.nbytes != 0 ? c : NULL;
}

static bool compare_maps(struct menu *m, struct comparison *c, struct pool *pool)
{
    const struct memmap *now = &m->in->map;
    uint64_t room;
    void *storage;

    c->capture = compare_choose(&c->report, &m->in->report);
    if (c->capture == NULL) {
        return trouble(c, "There is no memory map in this report.", "Choose another one.");
    }
    room = memmap_storage_bytes(c->capture->raw.nbytes / DESC_MIN + 1);
    storage = compare_alloc(c, pool, room);
    if (storage == NULL) {
        return false;
    }
    if (memmap_build(&c->map, &c->capture->raw, storage, room) != MM_OK || c->map.nregions == 0) {
        return trouble(c, "The memory map in this report has nothing in it that makes sense.",
                       "Choose another one.");
    }
    room = mapdiff_storage_bytes(c->map.nregions, now->nregions);
    storage = compare_alloc(c, pool, room);
    if (storage == NULL) {
        return false;
    }
    if (mapdiff_make(&c->diff, &c->map, now, c->capture->attr_known, storage, room) != MM_OK) {
        return trouble(c, "The maps cannot be compared.", "This is a defect of Plat.");
    }
    return true;
}

/* ---- showing it ------------------------------------------------------------------------------ */

static void put_trouble(const struct mm_sink *to, const struct comparison *c)
{
    mm_put_str(to, MENU_BAD);
    mm_put_str(to, c->trouble);
    mm_put_char(to, '\n');
    if (fw_failed(c->status)) {
        mm_put_str(to, "Firmware says: ");
        mm_put_str(to, fw_status_name(c->status));
        mm_put_str(to, ".\n");
    }
    if (c->error.what != NULL) {
        report_put_error(to, &c->error);
        mm_put_str(to, ".\n");
    }
    mm_put_char(to, '\n');
    mm_put_str(to, c->advice);
    mm_put_char(to, '\n');
}

static bool same_text(const char *a, const char *b)
{
    if (a == NULL || b == NULL) {
        return a == b;
    }
    while (*a != '\0' && *a == *b) {
        a++;
        b++;
    }
    return *a == *b;
}

static void put_origin(struct menu *m, const struct mm_sink *to, const struct comparison *c)
{
    const struct report *then = &c->report, *now = &m->in->report;

    menu_put_name(to, "Then");
    if ((then->known & REPORT_HAS_TIME) != 0) {
        menu_put_time(to, &then->time);
        mm_put_str(to, ", ");
    }
    menu_put_text(to, then->smbios.product, "a machine without a name", 0);
    mm_put_str(to, ", the map taken at: ");
    mm_put_str(to, report_when_name(c->capture->when));
    mm_put_char(to, '\n');
    menu_put_name(to, "Now");
    menu_put_count(to, c->diff.nchanges, "change", "changes");
    mm_put_char(to, '\n');
    if (!same_text(then->smbios.product, now->smbios.product) ||
        !same_text(then->smbios.bios_version, now->smbios.bios_version)) {
        mm_put_str(to, MENU_WARN "The report is of another machine, or of other firmware: ");
        menu_put_text(to, then->smbios.product, "unknown", 0);
        mm_put_str(to, ", BIOS ");
        menu_put_text(to, then->smbios.bios_version, "unknown", 0);
        mm_put_str(to, ".\n");
    }
}

static void compare_put(struct menu *m, const struct mm_sink *to, const void *ctx)
{
    static const char *const marks[] = {
        [MAPDIFF_ROUTINE] = "  " MENU_HANG,
        [MAPDIFF_NOTABLE] = MENU_WARN "* " MENU_HANG,
        [MAPDIFF_BREAKING] = MENU_BAD "! " MENU_HANG,
    };
    const struct comparison *c = ctx;

    mm_put_str(to, MENU_HEADING "Compared with ");
    mm_put_str(to, c->name);
    mm_put_str(to, "\n\n");
    if (c->trouble != NULL) {
        put_trouble(to, c);
        return;
    }
    put_origin(m, to, c);
    mm_put_char(to, '\n');
    mapdiff_put_verdict(to, &c->diff);
    mm_put_char(to, '\n');
    for (uint32_t i = 0; i < c->diff.nchanges; i++) {
        const struct mapdiff_change *change = &c->diff.changes[i];

        mm_put_str(to, marks[change->importance]);
        mapdiff_put_change(to, change);
        mm_put_char(to, '\n');
    }
    if (c->diff.nchanges > 0) {
        mm_put_str(to, "\n! breaks something   * firmware, its settings or the machine changed\n");
    }
}

static void compare_choose_entry(struct menu *m, uint32_t i)
{
    struct pool pool = pool_make(m->fw);

    comparison = (struct comparison){ .name = m->compare.entries[i].name };
    if (compare_read(m, &comparison, &pool)) {
        (void)compare_maps(m, &comparison, &pool);
    }
    menu_page(m, "", compare_put, &comparison);
    pool_free_all(&pool);
}

/* ---- the list -------------------------------------------------------------------------------- */

static void compare_close(struct menu *m)
{
    if (m->compare.entries_pa != 0) {
        pool_free(&m->pool, m->compare.entries_pa);
        m->compare.entries_pa = 0;
    }
    m->list->n = 0;
}

static void compare_open(struct menu *m)
{
    struct menu_compare_state *s = &m->compare;

    s->status = pool_alloc(&m->pool, ENTRIES_MAX * sizeof(struct save_entry), STUB_PAGE, POOL_ANY,
                           &s->entries_pa);
    if (fw_failed(s->status)) {
        return;
    }
    s->entries = fw_pointer(s->entries_pa);
    s->status = m->fw->files == NULL
                    ? FW_NOT_FOUND
                    : save_list(m->fw, fw_pointer(s->entries_pa), ENTRIES_MAX, &m->list->n);
    if (fw_failed(s->status)) {
        m->list->n = 0;
    }
    m->list->at = m->list->n; /* the newest; menu_list_fit() puts it on the last line */
}

static void compare_head(struct menu *m, const struct mm_sink *to)
{
    if (fw_failed(m->compare.status)) {
        mm_put_str(to, MENU_BAD "The reports on the volume cannot be listed: ");
        mm_put_str(to, fw_status_name(m->compare.status));
        mm_put_str(to, "\nPlat must have been started from a volume that firmware can read.\n");
    } else if (m->list->n == 0) {
        mm_put_str(to, "There are no saved reports in " SAVE_DIRECTORY " yet.\n"
                       "Press 6 to save one, and compare with it at the next start.\n");
    } else {
        mm_put_str(to, "Compare the map with that of a saved report, the newest last:\n");
    }
}

static void compare_row(struct menu *m, const struct mm_sink *to, uint32_t i)
{
    mm_put_str(to, "  ");
    mm_put_left(to, m->compare.entries[i].name, SAVE_NAME_CHARS - 4);
    mm_put_size(to, m->compare.entries[i].nbytes, MM_SIZE_CHARS);
}

const struct menu_screen menu_compare = {
    .name = "Compare",
    .keys = "Enter compares",
    .help = "What has changed in the memory map since a report was saved, on this start of the "
            "machine or an earlier one.\n\n"
            "Memory that is free, or is so after exit, lies differently at every start and is "
            "compared by its sums. Everything else is followed: what moved, grew, came or went. "
            "If runtime or ACPI memory differs, a hibernated system does not resume, and kexec "
            "fails.\n",
    .open = compare_open,
    .close = compare_close,
    .head = compare_head,
    .row = compare_row,
    .choose = compare_choose_entry,
};
