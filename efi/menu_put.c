/*
 * menu_put.c - what the screens say in the same words.
 *
 * Kinds have the letters of mm/mapshow.h, so that all faces of the inspector say the same. Of its
 * colours only the order is kept, an operating system's own, soon its own, firmware's, no
 * memory: a console of firmware's has eight for a background, and dark grey, over a serial line, is
 * a bold black that many terminals show as black.
 */
#include "menu_ui.h"

#define NAME_CHARS 11u
#define ATTR_CHARS 160u
#define TEXT_CHARS 100u

const struct menu_kind menu_kinds[MEMMAP_KINDS] = {
    [MEMMAP_FREE] = { 0x12, 2, "Free: an operating system may use it as it likes." },
    [MEMMAP_FREE_AFTER_EXIT] = { 0x13, 3,
                                 "Firmware's or Plat's until boot services are left "
                                 "(ExitBootServices), then free." },
    [MEMMAP_FREE_AFTER_ACPI] = { 0x1b, 1,
                                 "ACPI tables: free once an operating system has read them." },
    [MEMMAP_SPECIAL] = { 0x15, 5,
                         "Memory set aside for a purpose, such as a device with fast memory; for "
                         "drivers, not for general use." },
    [MEMMAP_PERSISTENT] = { 0x15, 5,
                            "Keeps its contents without power: a storage device, not for general "
                            "use." },
    [MEMMAP_KERNEL] = { 0x19, 1, "Plat's own." },
    [MEMMAP_RUNTIME_DATA] = { 0x16, 6,
                              "Data of firmware's runtime services: must stay as it is, and "
                              "mapped, for as long as the machine runs." },
    [MEMMAP_RUNTIME_CODE] = { 0x1e, 6,
                              "Code of firmware's runtime services: must stay as it is, and "
                              "mapped, for as long as the machine runs." },
    [MEMMAP_ACPI_NVS] = { 0x16, 6,
                          "Firmware's across sleep: must stay as it is, and be saved when the "
                          "machine hibernates." },
    [MEMMAP_UNACCEPTED] = { 0x14, 4,
                            "A guest's memory that must be accepted from the hypervisor before it "
                            "is touched." },
    [MEMMAP_RESERVED] = { 0x17, 7, "Reserved: nobody may touch it, and nobody says why." },
    [MEMMAP_MMIO] = { 0x17, 7, "Devices, not memory." },
    [MEMMAP_BAD] = { 0x1c, 4, "Memory with errors: not to be used." },
};

void menu_put_text(const struct mm_sink *to, const char *text, const char *otherwise, size_t width)
{
    size_t n = 0, end = 0;

    for (; text != NULL && text[n] != '\0' && n < TEXT_CHARS; n++) {
        end = text[n] != ' ' ? n + 1 : end;
    }
    if (end == 0) {
        mm_put_left(to, otherwise, width);
        return;
    }
    for (size_t i = 0; i < end; i++) {
        mm_put_char(to, (unsigned char)text[i] < 0x20 || text[i] == 0x7f ? '?' : text[i]);
    }
    mm_put_str(to, text[n] != '\0' ? "..." : "");
    mm_put_fill(to, ' ', width > end ? width - end : 0);
}

void menu_put_heading(const struct mm_sink *to, const char *text)
{
    mm_put_str(to, MENU_HEADING);
    mm_put_str(to, text);
    mm_put_char(to, '\n');
}

void menu_put_name(const struct mm_sink *to, const char *name)
{
    mm_put_str(to, MENU_HEADING);
    mm_put_left(to, name, NAME_CHARS);
    mm_put_str(to, MENU_NORMAL MENU_HANG);
}

void menu_put_kind(const struct mm_sink *to, enum memmap_kind kind, size_t width)
{
    if ((unsigned)kind < MEMMAP_KINDS) {
        mm_put_char(to, menu_kinds[kind].colour);
    }
    mm_put_left(to, memmap_kind_name(kind), width);
    mm_put_str(to, MENU_NORMAL);
}

void menu_put_attr(const struct mm_sink *to, uint64_t attr)
{
    char text[ATTR_CHARS];

    mm_put_str(to, memmap_attr_text(attr, text, sizeof(text)) != 0 ? text : "none");
}

void menu_put_range(const struct mm_sink *to, uint64_t base, uint64_t end)
{
    mm_put_hex(to, base, 1);
    mm_put_char(to, '-');
    mm_put_hex(to, end != UINT64_MAX ? end - 1 : end, 1);
}

void menu_put_count(const struct mm_sink *to, uint64_t n, const char *one, const char *many)
{
    mm_put_u64(to, n, 0);
    mm_put_char(to, ' ');
    mm_put_str(to, n == 1 ? one : many);
}

/* At least two digits. */
static void put_two(const struct mm_sink *to, char before, uint32_t v)
{
    mm_put_char(to, before);
    mm_put_str(to, v < 10 ? "0" : "");
    mm_put_u64(to, v, 0);
}

void menu_put_time(const struct mm_sink *to, const struct report_time *t)
{
    mm_put_u64(to, t->year, 0);
    put_two(to, '-', t->month);
    put_two(to, '-', t->day);
    put_two(to, ' ', t->hour);
    put_two(to, ':', t->minute);
}

void menu_put_severity(const struct mm_sink *to, uint32_t severity, size_t width)
{
    mm_put_str(to, severity == MEMMAP_ERROR  ? MENU_BAD
                   : severity == MEMMAP_WARN ? MENU_WARN
                                             : MENU_HEADING);
    mm_put_left(to, maplint_severity_name(severity), width);
    mm_put_str(to, MENU_NORMAL);
}
