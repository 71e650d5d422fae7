/*
 * menu_overview.c - the first screen: the machine, its memory in a few numbers and as a bar, and
 * what is wrong with it.
 *
 * The bar is of colours with letters in them, so that it can be read on a terminal without colours,
 * and by people who cannot tell them apart; it needs no characters that a terminal may lack. The
 * line below it names what the colours hide: memory that is more restricted than most of a column.
 */
#include "menu_ui.h"

#include "mm/mapsum.h"

#define TICK_EVERY 16u /* columns; an address below 2^56 fits */
#define TYPES_AT   38u /* the column where the second list begins */

static void put_machine(const struct mm_sink *to, const struct report *r)
{
    menu_put_name(to, "Machine");
    if ((r->known & REPORT_HAS_SMBIOS) != 0) {
        menu_put_text(to, r->smbios.manufacturer, "unknown maker", 0);
        mm_put_str(to, ", ");
        menu_put_text(to, r->smbios.product, "unknown product", 0);
        mm_put_str(to, "; BIOS ");
        menu_put_text(to, r->smbios.bios_version, "of no version", 0);
        mm_put_str(to, ", ");
        menu_put_text(to, r->smbios.bios_date, "no date", 0);
    } else {
        mm_put_str(to, "unknown, there is no SMBIOS table");
    }
    mm_put_char(to, '\n');
}

static void put_firmware(const struct mm_sink *to, const struct report *r)
{
    uint32_t minor = r->firmware.uefi_revision & 0xffff;

    menu_put_name(to, "Firmware");
    if ((r->known & REPORT_HAS_FIRMWARE) != 0) {
        menu_put_text(to, r->firmware.vendor, "unknown vendor", 0);
        mm_put_str(to, ", revision ");
        mm_put_hex(to, r->firmware.revision, 1);
        mm_put_str(to, "; UEFI ");
        mm_put_u64(to, r->firmware.uefi_revision >> 16, 0);
        mm_put_char(to, '.');
        mm_put_u64(to, minor / 10, 0);
        if (minor % 10 != 0) { /* 2.3.1 is 2.31 */
            mm_put_char(to, '.');
            mm_put_u64(to, minor % 10, 0);
        }
    } else {
        mm_put_str(to, "unknown");
    }
    mm_put_char(to, '\n');
}

static void put_cpu(const struct mm_sink *to, const struct report *r)
{
    const struct report_cpu *cpu = &r->cpu;

    menu_put_name(to, "Processor");
    if ((r->known & REPORT_HAS_CPU) != 0) {
        menu_put_text(to, cpu->brand != NULL ? cpu->brand : cpu->vendor, "unknown", 0);
        if (cpu->physical_bits != 0) {
            mm_put_str(to, "; addresses of ");
            mm_put_u64(to, cpu->physical_bits, 0);
            mm_put_str(to, " bits");
        }
        mm_put_str(to, (cpu->features & REPORT_CPU_HYPERVISOR) != 0 ? "; virtual" : "");
    } else {
        mm_put_str(to, "unknown");
    }
    mm_put_char(to, '\n');
}

static void put_security(const struct mm_sink *to, const struct report *r)
{
    static const char *const states[] = { "unknown", "off", "on" };
    static const char *const tpms[REPORT_TPMS] = { "TPM unknown", "no TPM", "TPM 1.2", "TPM 2.0" };

    menu_put_name(to, "Security");
    mm_put_str(to, "Secure Boot ");
    mm_put_str(to, r->security.secure_boot <= REPORT_ON ? states[r->security.secure_boot] : "?");
    mm_put_str(to, r->security.setup_mode == REPORT_ON ? ", in set-up mode; " : "; ");
    mm_put_str(to, r->security.tpm < REPORT_TPMS ? tpms[r->security.tpm] : "?");
    mm_put_char(to, '\n');
}

static void put_memory(const struct mm_sink *to, const struct mapsum *s)
{
    static const char *const whens[MAPSUM_WHENS] = {
        [MAPSUM_NOW] = " now",
        [MAPSUM_AFTER_EXIT] = " after exit",
        [MAPSUM_AFTER_ACPI] = " after ACPI",
    };
    const struct mapsum_usable *u = s->usable;

    menu_put_name(to, "Memory");
    mm_put_size(to, s->ram_bytes, 0);
    mm_put_str(to, " up to ");
    mm_put_hex(to, s->ram_end, 1);
    mm_put_str(to, ", ");
    mm_put_size(to, s->ram_low_bytes, 0);
    mm_put_str(to, " below 4 GiB; ");
    menu_put_count(to, s->ndescs, "descriptor\n", "descriptors\n");

    /* All in one unit that is small enough for the differences to show. */
    menu_put_name(to, "Usable");
    for (unsigned when = 0; when < MAPSUM_WHENS; when++) {
        mm_put_str(to, when > 0 ? ", " : "");
        mm_put_u64(to, u[when].nbytes >> 20, 0);
        mm_put_str(to, " MiB");
        mm_put_str(to, whens[when]);
    }
    mm_put_char(to, '\n');

    menu_put_name(to, "Largest");
    for (unsigned when = 0; when < MAPSUM_WHENS; when++) {
        if (u[when].largest_bytes == 0 ||
            (when > 0 && u[when].largest_bytes == u[when - 1].largest_bytes)) {
            continue;
        }
        mm_put_str(to, when > 0 ? ", " : "block ");
        mm_put_size(to, u[when].largest_bytes, 0);
        mm_put_str(to, " at ");
        mm_put_hex(to, u[when].largest_base, 1);
        mm_put_str(to, whens[when]);
    }
    mm_put_char(to, '\n');
}

static void put_findings(const struct mm_sink *to, const struct maplint_result *lint)
{
    static const struct {
        const char *one, *many, *colour;
    } words[] = {
        [MEMMAP_INFO] = { "info", "infos", MENU_NORMAL },
        [MEMMAP_WARN] = { "warning", "warnings", MENU_WARN },
        [MEMMAP_ERROR] = { "error", "errors", MENU_BAD },
    };

    menu_put_name(to, "Findings");
    for (int i = MEMMAP_ERROR; i >= MEMMAP_INFO; i--) {
        mm_put_str(to, lint->count[i] != 0 ? words[i].colour : MENU_NORMAL);
        menu_put_count(to, lint->count[i], words[i].one, words[i].many);
        mm_put_str(to, i > MEMMAP_INFO ? MENU_NORMAL ", " : MENU_NORMAL);
    }
    mm_put_str(to, lint->n > 0 ? "; press 3 to read them\n" : "\n");
}

/* ---- the bar --------------------------------------------------------------------------------- */

/* Static: too large for the stack. */
static struct mapsum_column bar[GRID_MAX_COLUMNS];

static void put_bar_row(const struct mm_sink *to, uint32_t n, bool with_letters)
{
    for (uint32_t i = 0; i < n; i++) {
        const struct menu_kind *k = &menu_kinds[bar[i].kind];

        if (i == 0 || bar[i].kind != bar[i - 1].kind) {
            mm_put_char(to, k->background);
        }
        mm_put_char(to, with_letters ? mapshow_kind_letter(bar[i].kind) : ' ');
    }
    mm_put_char(to, '\n');
}

static void put_bar_hidden(const struct mm_sink *to, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        if (bar[i].strictest != bar[i].kind) {
            mm_put_char(to, menu_kinds[bar[i].strictest].colour);
            mm_put_char(to, mapshow_kind_letter(bar[i].strictest));
        } else {
            mm_put_char(to, ' ');
        }
    }
    mm_put_char(to, '\n');
}

static void put_bar_ticks(const struct mm_sink *to, uint32_t n)
{
    for (uint32_t i = 0; i + TICK_EVERY <= n; i += TICK_EVERY) {
        char text[TICK_EVERY];
        struct mm_text t;
        struct mm_sink sink = mm_text_sink(&t, text, sizeof(text));

        mm_put_char(&sink, '|');
        mm_put_hex(&sink, bar[i].base & ~(MM_PAGE_SIZE - 1), 1);
        mm_put_left(to, text, TICK_EVERY);
    }
    mm_put_char(to, '\n');
}

static void put_bar(const struct menu *m, const struct mm_sink *to)
{
    uint32_t n = menu_view_columns(m);
    uint64_t nbytes = mapsum_bar(&m->in->map, bar, n);

    if (nbytes == 0) {
        menu_put_heading(to, "There is no memory in the map");
        return;
    }
    mm_put_str(to, MENU_HEADING "Physical memory" MENU_NORMAL " from bottom to top, ");
    mm_put_size(to, nbytes / n, 0);
    mm_put_str(to, " a column, holes left out\n");
    put_bar_row(to, n, false);
    put_bar_row(to, n, true);
    put_bar_hidden(to, n);
    put_bar_ticks(to, n);
}

/* ---- the totals ------------------------------------------------------------------------------ */

/* The first kind of memory from `kind` on of which there is any, or MEMMAP_KINDS. */
static uint32_t next_kind(const struct mapsum *s, uint32_t kind)
{
    while (kind < MEMMAP_KINDS && s->kind_bytes[kind] == 0) {
        kind++;
    }
    return kind;
}

static uint32_t next_row(const struct mapsum *s, uint32_t row)
{
    while (row < MAPSUM_ROWS && s->type_bytes[row] == 0) {
        row++;
    }
    return row;
}

static void put_totals(const struct mm_sink *to, const struct mapsum *s)
{
    uint32_t kind = next_kind(s, 0), row = next_row(s, 0);

    mm_put_str(to, MENU_HEADING);
    mm_put_left(to, "By use", TYPES_AT);
    mm_put_str(to, "By type\n");
    while (kind < MEMMAP_KINDS || row < MAPSUM_ROWS) {
        if (kind < MEMMAP_KINDS) {
            mm_put_char(to, ' ');
            mm_put_char(to, menu_kinds[kind].background);
            mm_put_char(to, mapshow_kind_letter(kind));
            mm_put_str(to, MENU_NORMAL " ");
            menu_put_kind(to, kind, 19);
            mm_put_size(to, s->kind_bytes[kind], MM_SIZE_CHARS);
            mm_put_fill(to, ' ', TYPES_AT - 22 - MM_SIZE_CHARS);
            kind = next_kind(s, kind + 1);
        } else {
            mm_put_fill(to, ' ', TYPES_AT);
        }
        if (row < MAPSUM_ROWS) {
            mm_put_left(to, mapsum_row_name(row), 20);
            mm_put_size(to, s->type_bytes[row], MM_SIZE_CHARS);
            row = next_row(s, row + 1);
        }
        mm_put_char(to, '\n');
    }
}

static void overview_put(struct menu *m, const struct mm_sink *to, const void *ctx)
{
    const struct report *r = &m->in->report;
    struct mapsum s;

    (void)ctx;
    mapsum_make(&s, &m->in->map);
    put_machine(to, r);
    put_firmware(to, r);
    put_cpu(to, r);
    put_security(to, r);
    put_memory(to, &s);
    put_findings(to, &m->in->lint);
    mm_put_char(to, '\n');
    put_bar(m, to);
    mm_put_char(to, '\n');
    put_totals(to, &s);
}

const struct menu_screen menu_overview = {
    .name = "Overview",
    .keys = "",
    .help = "The machine and its memory at a glance.\n\n"
            "The bar is all of memory from the lowest address to the highest, in equal parts, "
            "without holes and devices. The letters in it say what most of a part is, as listed "
            "under By use. The line below them names what else is there that is more restricted. "
            "The addresses are those where a part begins.\n\n"
            "Usable memory: now, what is free already; after exit, with what firmware and loaders "
            "give back; after ACPI, with the tables that an operating system has read by then.\n",
    .put = overview_put,
};
