/*
 * menu_tables.c - the tables that firmware hands over beside the map, one list after the other.
 */
#include "menu_ui.h"

static void put_none(const struct mm_sink *to, bool looked)
{
    mm_put_str(to, looked ? "  none\n" : "  not known\n");
}

/* "8868e871-e4f1-11d3-bc22-0080c73c8881", UEFI 2.10 appendix A. */
static void put_guid(const struct mm_sink *to, const unsigned char guid[16])
{
    static const unsigned char order[16] = { 3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15 };

    for (unsigned i = 0; i < 16; i++) {
        mm_put_char(to, "0123456789abcdef"[guid[order[i]] >> 4]);
        mm_put_char(to, "0123456789abcdef"[guid[order[i]] & 15]);
        mm_put_str(to, i == 3 || i == 5 || i == 7 || i == 9 ? "-" : "");
    }
}

/* An address, and in which kind of memory it is. */
static void put_place(struct menu *m, const struct mm_sink *to, uint64_t address)
{
    const struct memmap_region *r = memmap_find(&m->in->map, address);
    char text[24];
    struct mm_text t;
    struct mm_sink sink = mm_text_sink(&t, text, sizeof(text));

    mm_put_hex(&sink, address, 8);
    mm_put_str(to, "  ");
    mm_put_left(to, text, 14);
    mm_put_char(to, ' ');
    if (r != NULL) {
        menu_put_kind(to, r->kind, 17);
    } else {
        mm_put_left(to, "in no region", 17);
    }
}

static void put_configuration(struct menu *m, const struct mm_sink *to, const struct report *r)
{
    menu_put_heading(to, "Configuration tables");
    if (r->ntables == 0) {
        put_none(to, (r->known & REPORT_HAS_TABLES) != 0);
    }
    for (uint32_t i = 0; i < r->ntables; i++) {
        const char *name = report_guid_name(r->tables[i].guid);

        put_place(m, to, r->tables[i].address);
        mm_put_str(to, MENU_HANG);
        if (name != NULL) {
            mm_put_str(to, name);
        } else {
            put_guid(to, r->tables[i].guid);
        }
        mm_put_char(to, '\n');
    }
}

static void put_acpi(struct menu *m, const struct mm_sink *to, const struct report *r)
{
    mm_put_char(to, '\n');
    menu_put_heading(to, "ACPI tables");
    if (r->nacpi == 0) {
        put_none(to, (r->known & REPORT_HAS_ACPI) != 0);
    }
    for (uint32_t i = 0; i < r->nacpi; i++) {
        const struct report_acpi_table *t = &r->acpi[i];

        put_place(m, to, t->address);
        mm_put_str(to, MENU_STRONG);
        menu_put_text(to, t->signature, "?", 5);
        mm_put_str(to, MENU_NORMAL);
        mm_put_size(to, t->nbytes, MM_SIZE_CHARS);
        mm_put_str(to, "  " MENU_HANG "revision ");
        mm_put_u64(to, t->revision, 0);
        mm_put_str(to, ", ");
        menu_put_text(to, t->oem_id, "-", 0);
        mm_put_char(to, ' ');
        menu_put_text(to, t->oem_table_id, "-", 0);
        mm_put_char(to, '\n');
    }
}

static void put_devices(const struct mm_sink *to, const struct report *r)
{
    mm_put_char(to, '\n');
    menu_put_heading(to, "Memory modules (SMBIOS)");
    if (r->smbios.ndevices == 0) {
        put_none(to, (r->known & REPORT_HAS_SMBIOS) != 0);
    }
    for (uint32_t i = 0; i < r->smbios.ndevices; i++) {
        const struct report_memory_device *d = &r->smbios.devices[i];

        mm_put_str(to, "  ");
        menu_put_text(to, d->locator != NULL ? d->locator : d->bank, "no name", 18);
        mm_put_str(to, "  ");
        if (d->nbytes == 0) {
            mm_put_str(to, "empty\n");
            continue;
        }
        if (d->nbytes == REPORT_NO_SIZE) {
            mm_put_str(to, "size unknown");
        } else {
            mm_put_size(to, d->nbytes, MM_SIZE_CHARS);
        }
        mm_put_str(to, "  " MENU_HANG);
        if (d->configured_speed != 0 || d->speed != 0) {
            mm_put_u64(to, d->configured_speed != 0 ? d->configured_speed : d->speed, 0);
            mm_put_str(to, " MT/s, ");
        }
        if (d->total_bits > d->data_bits && d->data_bits != 0) {
            mm_put_str(to, "ECC, ");
        }
        menu_put_text(to, d->manufacturer, "unknown maker", 0);
        mm_put_char(to, ' ');
        menu_put_text(to, d->part_number, "", 0);
        mm_put_char(to, '\n');
    }
}

static void put_screens(struct menu *m, const struct mm_sink *to, const struct report *r)
{
    static const char *const formats[REPORT_PIXEL_FORMATS] = { "RGBX", "BGRX", "bit masks",
                                                               "no linear memory" };

    mm_put_char(to, '\n');
    menu_put_heading(to, "Frame buffers");
    if (r->nframebuffers == 0) {
        put_none(to, (r->known & REPORT_HAS_FRAMEBUFFERS) != 0);
    }
    for (uint32_t i = 0; i < r->nframebuffers; i++) {
        const struct report_framebuffer *f = &r->framebuffers[i];

        put_place(m, to, f->base);
        mm_put_size(to, f->nbytes, MM_SIZE_CHARS);
        mm_put_str(to, "  " MENU_HANG);
        mm_put_u64(to, f->width, 0);
        mm_put_char(to, 'x');
        mm_put_u64(to, f->height, 0);
        mm_put_str(to, ", ");
        mm_put_str(to, f->format < REPORT_PIXEL_FORMATS ? formats[f->format] : "unknown format");
        mm_put_char(to, '\n');
    }
}

static void put_attributes(const struct mm_sink *to, const struct report *r)
{
    /* memmap_desc() needs the bytes and the stride of a map, and nothing else. */
    struct memmap entries = { .raw = r->attributes.raw };

    mm_put_char(to, '\n');
    menu_put_heading(to, "Memory Attributes Table: how runtime memory may be mapped");
    if ((r->known & REPORT_HAS_ATTRIBUTES) == 0 || r->attributes.raw.nbytes == 0) {
        put_none(to, (r->known & REPORT_HAS_ATTRIBUTES) != 0);
        return;
    }
    if (r->attributes.problem != NULL) {
        mm_put_str(to, "  " MENU_WARN MENU_HANG);
        mm_put_str(to, r->attributes.problem);
        mm_put_char(to, '\n');
    }
    if (entries.raw.stride < sizeof(struct efi_memory_descriptor)) {
        return;
    }
    entries.ndescs = (uint32_t)mm_min(entries.raw.nbytes / entries.raw.stride, UINT32_MAX);
    for (uint32_t i = 0; i < entries.ndescs; i++) {
        struct efi_memory_descriptor d = memmap_desc(&entries, i);
        char text[24];
        struct mm_text t;
        struct mm_sink sink = mm_text_sink(&t, text, sizeof(text));

        mm_put_hex(&sink, d.physical_start, 8);
        mm_put_str(to, "  ");
        mm_put_left(to, text, 14);
        mm_put_char(to, ' ');
        mm_put_u64(to, d.number_of_pages, 6);
        mm_put_str(to, d.number_of_pages == 1 ? " page   " : " pages  ");
        mm_put_left(to, memmap_type_name(d.type), 21);
        mm_put_str(to, MENU_HANG);
        menu_put_attr(to, d.attribute);
        mm_put_char(to, '\n');
    }
}

static void tables_put(struct menu *m, const struct mm_sink *to, const void *ctx)
{
    const struct report *r = &m->in->report;

    (void)ctx;
    put_configuration(m, to, r);
    put_acpi(m, to, r);
    put_devices(to, r);
    put_screens(m, to, r);
    put_attributes(to, r);
}

const struct menu_screen menu_tables = {
    .name = "Tables",
    .keys = "",
    .help = "What firmware hands over beside the memory map: configuration tables (UEFI 4.6) with "
            "their addresses and the use of the memory they are in, ACPI tables, memory modules "
            "as SMBIOS lists them, frame buffers, and the Memory Attributes Table, which says "
            "what of runtime memory is code (RO) and what is data (XP).\n\n"
            "A table in memory that is free, or free after exit, is lost when an operating system "
            "uses that memory.\n",
    .put = tables_put,
};
