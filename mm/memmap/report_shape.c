/*
 * report_shape.c - the table of a report's members.
 *
 * To add a member: a line here, in the schema and in docs/report.md, and REPORT_MINOR goes up.
 * Names that people read (of types, attributes, GUIDs) stand beside the numbers they explain, as
 * members that are not read: a later Plat may know better names and still read the report.
 */
#include "report_shape.h"

#include "mm/maplint.h"
#include "report_names.h"

/* ---- how members are written down here ------------------------------------------------------- */

#define MEMBER(type, member) .at = offsetof(struct type, member)

#define TEXT(name, type, member)                                                                   \
    {                                                                                              \
        .key = name, .form = FORM_TEXT, MEMBER(type, member)                                       \
    }
#define ASCII(name, type, member)                                                                  \
    {                                                                                              \
        .key = name, .form = FORM_ASCII, .count = sizeof(((struct type *)0)->member),              \
        MEMBER(type, member)                                                                       \
    }
#define PRIVATE_TEXT(name, type, member)                                                           \
    {                                                                                              \
        .key = name, .form = FORM_TEXT, .flags = FIELD_PRIVATE, MEMBER(type, member)               \
    }
#define BOOL(name, type, member)                                                                   \
    {                                                                                              \
        .key = name, .form = FORM_BOOL, MEMBER(type, member)                                       \
    }
#define STATE(name, type, member)                                                                  \
    {                                                                                              \
        .key = name, .form = FORM_STATE, MEMBER(type, member)                                      \
    }
#define U32(name, type, member)                                                                    \
    {                                                                                              \
        .key = name, .form = FORM_U32, MEMBER(type, member)                                        \
    }
#define U64(name, type, member)                                                                    \
    {                                                                                              \
        .key = name, .form = FORM_U64, MEMBER(type, member)                                        \
    }
#define HEX32(name, type, member)                                                                  \
    {                                                                                              \
        .key = name, .form = FORM_HEX32, MEMBER(type, member)                                      \
    }
#define HEX64(name, type, member)                                                                  \
    {                                                                                              \
        .key = name, .form = FORM_HEX64, MEMBER(type, member)                                      \
    }
#define U32_OR(name, type, member, v)                                                              \
    {                                                                                              \
        .key = name, .form = FORM_U32, .flags = FIELD_OR_NULL, .none = (v), MEMBER(type, member)   \
    }
#define U64_OR(name, type, member, v)                                                              \
    {                                                                                              \
        .key = name, .form = FORM_U64, .flags = FIELD_OR_NULL, .none = (v), MEMBER(type, member)   \
    }
#define NAME(key_, type, member, name_, end)                                                       \
    {                                                                                              \
        .key = key_, .form = FORM_NAME, .name = name_, .count = (end), MEMBER(type, member)        \
    }
#define NAME_OR(key_, type, member, name_, begin, end, v)                                          \
    {                                                                                              \
        .key = key_, .form = FORM_NAME, .flags = FIELD_OR_NULL, .none = (v), .name = name_,        \
        .first = (begin), .count = (end), MEMBER(type, member)                                     \
    }
#define TALLY(key_, type, member, name_)                                                           \
    {                                                                                              \
        .key = key_, .form = FORM_TALLY, .name = name_,                                            \
        .count = MM_COUNTOF(((struct type *)0)->member), MEMBER(type, member)                      \
    }
#define SAID(name, type, member, by)                                                               \
    {                                                                                              \
        .key = name, .form = FORM_SAID, .say = by, MEMBER(type, member)                            \
    }
#define OBJECT(name, type, member, of)                                                             \
    {                                                                                              \
        .key = name, .form = FORM_OBJECT, .shape = &(of), MEMBER(type, member)                     \
    }
#define KNOWN_OBJECT(name, type, member, of, bit)                                                  \
    {                                                                                              \
        .key = name, .form = FORM_OBJECT, .shape = &(of), .known = (bit), MEMBER(type, member)     \
    }
#define LIST(name, type, member, n, of)                                                            \
    {                                                                                              \
        .key = name, .form = FORM_LIST, .shape = &(of), .count_at = offsetof(struct type, n),      \
        MEMBER(type, member)                                                                       \
    }
#define KNOWN_LIST(name, type, member, n, of, bit)                                                 \
    {                                                                                              \
        .key = name, .form = FORM_LIST, .shape = &(of), .count_at = offsetof(struct type, n),      \
        .known = (bit), MEMBER(type, member)                                                       \
    }
#define SHAPE(table, type)                                                                         \
    {                                                                                              \
        .fields = (table), .nfields = MM_COUNTOF(table), .nbytes = sizeof(struct type)             \
    }
#define ROW_SHAPE(table, type)                                                                     \
    {                                                                                              \
        .fields = (table), .nfields = MM_COUNTOF(table), .nbytes = sizeof(struct type),            \
        .is_row = true                                                                             \
    }

_Static_assert(offsetof(struct report, known) == 0, "report_field.known");
_Static_assert(offsetof(struct report_capture, known) == 0, "report_field.known");

/* ---- names, by number ------------------------------------------------------------------------ */

static const char *kind_name(uint32_t v)
{
    return memmap_kind_name((enum memmap_kind)v);
}

static const char *row_name(uint32_t v)
{
    return mapsum_row_name((enum mapsum_row)v);
}

static const char *arch_name(uint32_t v)
{
    return mapfile_arch_name((enum mapfile_arch)v);
}

static const char *when_name(uint32_t v)
{
    return report_when_name((enum report_when)v);
}

/* ---- explanations ---------------------------------------------------------------------------- */

static void say_format(struct json_writer *w, const void *at)
{
    (void)at;
    json_put_text(w, "plat-report");
}

static void say_schema(struct json_writer *w, const void *at)
{
    char buf[24];
    struct mm_text text;
    struct mm_sink to = mm_text_sink(&text, buf, sizeof(buf));

    (void)at;
    mm_put_u64(&to, REPORT_MAJOR, 0);
    mm_put_char(&to, '.');
    mm_put_u64(&to, REPORT_MINOR, 0);
    json_put_text(w, buf);
}

static void say_uefi(struct json_writer *w, const void *at)
{
    char buf[24];
    struct mm_text text;
    struct mm_sink to = mm_text_sink(&text, buf, sizeof(buf));

    report_put_uefi(&to, report_load32(at));
    json_put_text(w, buf);
}

static void say_guid(struct json_writer *w, const void *at)
{
    json_put_text(w, report_guid_name(at));
}

static void say_memory_type(struct json_writer *w, const void *at)
{
    json_put_text(w, report_memory_type_name(report_load32(at)));
}

static void say_type(struct json_writer *w, const void *at)
{
    json_put_text(w, memmap_type_name(report_load32(at)));
}

static void say_attribute(struct json_writer *w, const void *at)
{
    char buf[128];

    (void)memmap_attr_text(report_load64(at), buf, sizeof(buf));
    json_put_text(w, buf);
}

/* `at` is the whole region. */
static void say_bytes(struct json_writer *w, const void *at)
{
    uint64_t base = report_load64((const unsigned char *)at + offsetof(struct memmap_region, base));
    uint64_t end = report_load64((const unsigned char *)at + offsetof(struct memmap_region, end));

    json_put_u64(w, end - base);
}

/* `at` is the whole descriptor. */
static void say_end(struct json_writer *w, const void *at)
{
    uint64_t end = 0;

    if (report_desc_end(at, &end)) {
        json_put_hex(w, end, 16);
    } else {
        json_put_null(w);
    }
}

/* ---- the members ----------------------------------------------------------------------------- */

static const struct report_field firmware_fields[] = {
    TEXT("vendor", report_firmware, vendor),
    HEX32("revision", report_firmware, revision),
    SAID("uefi", report_firmware, uefi_revision, say_uefi),
    HEX32("uefi_revision", report_firmware, uefi_revision),
};
static const struct report_shape firmware_shape = SHAPE(firmware_fields, report_firmware);

static const struct report_field security_fields[] = {
    STATE("secure_boot", report_security, secure_boot),
    STATE("setup_mode", report_security, setup_mode),
    NAME_OR("tpm", report_security, tpm, report_tpm_name, REPORT_TPM_NONE, REPORT_TPMS,
            REPORT_TPM_UNKNOWN),
};
static const struct report_shape security_shape = SHAPE(security_fields, report_security);

static const struct report_field cpu_fields[] = {
    TEXT("vendor", report_cpu, vendor),
    TEXT("brand", report_cpu, brand),
    U32("family", report_cpu, family),
    U32("model", report_cpu, model),
    U32("stepping", report_cpu, stepping),
    U32_OR("physical_bits", report_cpu, physical_bits, 0),
    U32_OR("linear_bits", report_cpu, linear_bits, 0),
    { .key = "features",
      .form = FORM_NAMES,
      .name = report_feature_name,
      .count = REPORT_CPU_FEATURES,
      MEMBER(report_cpu, features) },
};
static const struct report_shape cpu_shape = SHAPE(cpu_fields, report_cpu);

static const struct report_field device_fields[] = {
    TEXT("locator", report_memory_device, locator),
    TEXT("bank", report_memory_device, bank),
    U64_OR("bytes", report_memory_device, nbytes, REPORT_NO_SIZE),
    U32("type", report_memory_device, type),
    SAID("type_name", report_memory_device, type, say_memory_type),
    U32("form_factor", report_memory_device, form_factor),
    U32_OR("data_bits", report_memory_device, data_bits, 0),
    U32_OR("total_bits", report_memory_device, total_bits, 0),
    U32_OR("ranks", report_memory_device, ranks, 0),
    U32_OR("speed", report_memory_device, speed, 0),
    U32_OR("configured_speed", report_memory_device, configured_speed, 0),
    TEXT("manufacturer", report_memory_device, manufacturer),
    TEXT("part_number", report_memory_device, part_number),
    PRIVATE_TEXT("serial", report_memory_device, serial),
};
static const struct report_shape device_shape = ROW_SHAPE(device_fields, report_memory_device);

static const struct report_field smbios_fields[] = {
    HEX64("address", report_smbios, address),
    U32("major", report_smbios, major),
    U32("minor", report_smbios, minor),
    TEXT("bios_vendor", report_smbios, bios_vendor),
    TEXT("bios_version", report_smbios, bios_version),
    TEXT("bios_date", report_smbios, bios_date),
    TEXT("manufacturer", report_smbios, manufacturer),
    TEXT("product", report_smbios, product),
    TEXT("version", report_smbios, version),
    TEXT("family", report_smbios, family),
    TEXT("sku", report_smbios, sku),
    PRIVATE_TEXT("serial", report_smbios, serial),
    { .key = "uuid",
      .form = FORM_GUID,
      .flags = FIELD_PRIVATE | FIELD_OR_NULL,
      MEMBER(report_smbios, uuid) },
    TEXT("board_manufacturer", report_smbios, board_manufacturer),
    TEXT("board_product", report_smbios, board_product),
    TEXT("board_version", report_smbios, board_version),
    PRIVATE_TEXT("board_serial", report_smbios, board_serial),
    LIST("memory_devices", report_smbios, devices, ndevices, device_shape),
};
static const struct report_shape smbios_shape = SHAPE(smbios_fields, report_smbios);

static const struct report_field framebuffer_fields[] = {
    HEX64("base", report_framebuffer, base),
    U64("bytes", report_framebuffer, nbytes),
    U32("width", report_framebuffer, width),
    U32("height", report_framebuffer, height),
    U32("stride", report_framebuffer, stride),
    NAME("format", report_framebuffer, format, report_pixel_name, REPORT_PIXEL_FORMATS),
};
static const struct report_shape framebuffer_shape =
    ROW_SHAPE(framebuffer_fields, report_framebuffer);

static const struct report_field table_fields[] = {
    { .key = "guid", .form = FORM_GUID, MEMBER(report_table, guid) },
    SAID("name", report_table, guid, say_guid),
    HEX64("address", report_table, address),
};
static const struct report_shape table_shape = ROW_SHAPE(table_fields, report_table);

static const struct report_field acpi_fields[] = {
    ASCII("signature", report_acpi_table, signature),
    HEX64("address", report_acpi_table, address),
    U32("bytes", report_acpi_table, nbytes),
    U32("revision", report_acpi_table, revision),
    ASCII("oem_id", report_acpi_table, oem_id),
    ASCII("oem_table_id", report_acpi_table, oem_table_id),
    HEX32("oem_revision", report_acpi_table, oem_revision),
};
static const struct report_shape acpi_shape = ROW_SHAPE(acpi_fields, report_acpi_table);

static const struct report_field pci_config_fields[] = {
    U32("segment", report_pci_config, segment),   U32("first_bus", report_pci_config, first_bus),
    U32("last_bus", report_pci_config, last_bus), HEX64("base", report_pci_config, base),
    U64("bytes", report_pci_config, nbytes),
};
static const struct report_shape pci_config_shape = ROW_SHAPE(pci_config_fields, report_pci_config);

static const struct report_field desc_fields[] = {
    { .key = "index", .form = FORM_INDEX },
    U32("type", efi_memory_descriptor, type),
    SAID("type_name", efi_memory_descriptor, type, say_type),
    HEX64("physical_start", efi_memory_descriptor, physical_start),
    SAID("end", efi_memory_descriptor, type, say_end),
    HEX64("virtual_start", efi_memory_descriptor, virtual_start),
    U64("pages", efi_memory_descriptor, number_of_pages),
    HEX64("attribute", efi_memory_descriptor, attribute),
    SAID("attribute_names", efi_memory_descriptor, attribute, say_attribute),
    { .key = "raw", .form = FORM_DUMP },
};
const struct report_shape report_shape_desc = ROW_SHAPE(desc_fields, efi_memory_descriptor);

/* The members of a struct memmap_raw. */
#define RAW(type, member)                                                                          \
    U64("descriptor_size", type, member.stride), U32("descriptor_version", type, member.version),  \
        { .key = "descriptors",                                                                    \
          .form = FORM_DESCS,                                                                      \
          .shape = &report_shape_desc,                                                             \
          MEMBER(type, member) },                                                                  \
    {                                                                                              \
        .key = "rest", .form = FORM_REST, MEMBER(type, member)                                     \
    }

static const struct report_field attributes_fields[] = {
    HEX64("address", report_attributes, address),
    HEX32("flags", report_attributes, flags),
    TEXT("problem", report_attributes, problem),
    RAW(report_attributes, raw),
};
static const struct report_shape attributes_shape = SHAPE(attributes_fields, report_attributes);

static const struct report_field region_fields[] = {
    HEX64("base", memmap_region, base),
    HEX64("end", memmap_region, end),
    { .key = "bytes", .form = FORM_SAID, .say = say_bytes },
    NAME("kind", memmap_region, kind, kind_name, MEMMAP_KINDS),
    U32("type", memmap_region, type),
    SAID("type_name", memmap_region, type, say_type),
    HEX64("attribute", memmap_region, attr),
    U32_OR("descriptor", memmap_region, desc, MEMMAP_NODESC),
};
static const struct report_shape region_shape = ROW_SHAPE(region_fields, memmap_region);

static const struct report_field usable_fields[] = {
    U64("bytes", mapsum_usable, nbytes),
    HEX64("largest_base", mapsum_usable, largest_base),
    U64("largest_bytes", mapsum_usable, largest_bytes),
};
static const struct report_shape usable_shape = ROW_SHAPE(usable_fields, mapsum_usable);

static const struct report_field totals_fields[] = {
    U32("descriptors", mapsum, ndescs),
    U32("regions", mapsum, nregions),
    U64("ram_bytes", mapsum, ram_bytes),
    U64("ram_low_bytes", mapsum, ram_low_bytes),
    U64("ram_high_bytes", mapsum, ram_high_bytes),
    HEX64("ram_end", mapsum, ram_end),
    U64("runtime_bytes", mapsum, runtime_bytes),
    U64("runtime_mmio_bytes", mapsum, runtime_mmio_bytes),
    OBJECT("usable_now", mapsum, usable[MAPSUM_NOW], usable_shape),
    OBJECT("usable_after_exit", mapsum, usable[MAPSUM_AFTER_EXIT], usable_shape),
    OBJECT("usable_after_acpi", mapsum, usable[MAPSUM_AFTER_ACPI], usable_shape),
    TALLY("type_bytes", mapsum, type_bytes, row_name),
    TALLY("kind_bytes", mapsum, kind_bytes, kind_name),
};
static const struct report_shape totals_shape = SHAPE(totals_fields, mapsum);

static const struct report_field capture_fields[] = {
    NAME("when", report_capture, when, when_name, REPORT_WHENS),
    TEXT("origin", report_capture, origin),
    BOOL("verbatim", report_capture, is_verbatim),
    BOOL("whole", report_capture, is_whole),
    BOOL("virtual_known", report_capture, has_virtual),
    HEX64("attribute_known", report_capture, attr_known),
    RAW(report_capture, raw),
    KNOWN_LIST("regions", report_capture, regions, nregions, region_shape, REPORT_CAPTURE_REGIONS),
    KNOWN_OBJECT("totals", report_capture, totals, totals_shape, REPORT_CAPTURE_TOTALS),
};
static const struct report_shape capture_shape = SHAPE(capture_fields, report_capture);

static const struct report_field finding_fields[] = {
    TEXT("rule", memmap_finding, rule),
    NAME("severity", memmap_finding, severity, maplint_severity_name, MEMMAP_ERROR + 1),
    TEXT("subject", memmap_finding, subject),
    TEXT("what", memmap_finding, what),
    HEX64("base", memmap_finding, base),
    HEX64("end", memmap_finding, end),
    U32_OR("descriptor", memmap_finding, desc, MEMMAP_NODESC),
    U32_OR("other_descriptor", memmap_finding, other, MEMMAP_NODESC),
};
static const struct report_shape finding_shape = ROW_SHAPE(finding_fields, memmap_finding);

static const struct report_field root_fields[] = {
    SAID("format", report, known, say_format), /* REPORT_MARK */
    SAID("schema", report, known, say_schema),
    TEXT("plat", report, plat),
    { .key = "time", .form = FORM_TIME, .known = REPORT_HAS_TIME, MEMBER(report, time) },
    BOOL("identifiers", report, with_identifiers),
    NAME_OR("arch", report, arch, arch_name, MAPFILE_ARCH_UNKNOWN + 1, MAPFILE_ARCHS,
            MAPFILE_ARCH_UNKNOWN),
    KNOWN_OBJECT("firmware", report, firmware, firmware_shape, REPORT_HAS_FIRMWARE),
    OBJECT("security", report, security, security_shape),
    KNOWN_OBJECT("cpu", report, cpu, cpu_shape, REPORT_HAS_CPU),
    KNOWN_OBJECT("smbios", report, smbios, smbios_shape, REPORT_HAS_SMBIOS),
    KNOWN_LIST("framebuffers", report, framebuffers, nframebuffers, framebuffer_shape,
               REPORT_HAS_FRAMEBUFFERS),
    KNOWN_LIST("configuration_tables", report, tables, ntables, table_shape, REPORT_HAS_TABLES),
    KNOWN_LIST("acpi_tables", report, acpi, nacpi, acpi_shape, REPORT_HAS_ACPI),
    KNOWN_LIST("pci_configuration", report, pci_config, npci_config, pci_config_shape,
               REPORT_HAS_PCI_CONFIG),
    KNOWN_OBJECT("memory_attributes", report, attributes, attributes_shape, REPORT_HAS_ATTRIBUTES),
    { .key = "captures",
      .form = FORM_ARRAY,
      .shape = &capture_shape,
      .count = REPORT_MAX_CAPTURES,
      .count_at = offsetof(struct report, ncaptures),
      MEMBER(report, captures) },
    NAME_OR("findings_capture", report, findings_when, when_name, REPORT_START, REPORT_WHENS,
            REPORT_WHENS),
    U32("findings_lost", report, lost_findings),
    KNOWN_LIST("findings", report, findings, nfindings, finding_shape, REPORT_HAS_FINDINGS),
};
const struct report_shape report_shape_root = SHAPE(root_fields, report);

/* ---- what writer and reader share ------------------------------------------------------------ */

const unsigned char report_guid_places[16] = { 6,  4,  2,  0,  11, 9,  16, 14,
                                               19, 21, 24, 26, 28, 30, 32, 34 };

bool report_is_stride(uint64_t stride)
{
    return stride >= sizeof(struct efi_memory_descriptor) && stride % 8 == 0;
}

uint64_t report_ndescs(const struct memmap_raw *raw)
{
    return report_is_stride(raw->stride) ? raw->nbytes / raw->stride : 0;
}

bool report_desc_end(const void *desc, uint64_t *end)
{
    struct efi_memory_descriptor d;

    __builtin_memcpy(&d, desc, sizeof(d));
    return d.number_of_pages <= UINT64_MAX >> MM_PAGE_SHIFT &&
           !__builtin_add_overflow(d.physical_start, d.number_of_pages << MM_PAGE_SHIFT, end);
}

bool report_time_is_valid(const struct report_time *t)
{
    return t->year >= 1900 && t->year <= 9999 && t->month >= 1 && t->month <= 12 && t->day >= 1 &&
           t->day <= 31 && t->hour <= 23 && t->minute <= 59 && t->second <= 60 &&
           (t->zone == REPORT_NO_ZONE || (t->zone >= -1440 && t->zone <= 1440));
}

void report_guid_text(const unsigned char guid[16], char text[REPORT_GUID_CHARS + 1])
{
    text[8] = text[13] = text[18] = text[23] = '-';
    for (size_t i = 0; i < 16; i++) {
        text[report_guid_places[i]] = "0123456789abcdef"[guid[i] >> 4];
        text[report_guid_places[i] + 1] = "0123456789abcdef"[guid[i] & 15];
    }
    text[REPORT_GUID_CHARS] = '\0';
}

/* `ndigits` decimal digits to the text at `to`. Returns where it goes on. */
static char *put_digits(char *to, uint32_t v, uint32_t ndigits)
{
    for (uint32_t i = ndigits; i > 0; i--) {
        to[i - 1] = (char)('0' + v % 10);
        v /= 10;
    }
    return to + ndigits;
}

size_t report_time_text(const struct report_time *t, char text[REPORT_TIME_CHARS + 1])
{
    char *to = text;

    *to = '\0';
    if (!report_time_is_valid(t)) {
        return 0;
    }
    to = put_digits(to, t->year, 4);
    *to++ = '-';
    to = put_digits(to, t->month, 2);
    *to++ = '-';
    to = put_digits(to, t->day, 2);
    *to++ = 'T';
    to = put_digits(to, t->hour, 2);
    *to++ = ':';
    to = put_digits(to, t->minute, 2);
    *to++ = ':';
    to = put_digits(to, t->second, 2);
    if (t->zone == 0) {
        *to++ = 'Z';
    } else if (t->zone != REPORT_NO_ZONE) {
        uint32_t minutes = (uint32_t)(t->zone < 0 ? -t->zone : t->zone);

        *to++ = t->zone < 0 ? '-' : '+';
        to = put_digits(to, minutes / 60, 2);
        *to++ = ':';
        to = put_digits(to, minutes % 60, 2);
    }
    *to = '\0';
    return (size_t)(to - text);
}

/* UEFI 2.10 4.3.1: 2.3.1 is 2 << 16 | 31, 2.7 is 2 << 16 | 70. */
void report_put_uefi(const struct mm_sink *to, uint32_t revision)
{
    uint32_t minor = revision & 0xffff;

    mm_put_u64(to, revision >> 16, 0);
    mm_put_char(to, '.');
    mm_put_u64(to, minor / 10, 0);
    if (minor % 10 != 0) {
        mm_put_char(to, '.');
        mm_put_u64(to, minor % 10, 0);
    }
}

const struct report_capture *report_capture_at(const struct report *r, enum report_when when)
{
    for (uint32_t i = 0; i < r->ncaptures; i++) {
        if (r->captures[i].when == (uint32_t)when) {
            return &r->captures[i];
        }
    }
    return NULL;
}

struct report_capture report_capture_of(const struct memmap *m, enum report_when when)
{
    struct report_capture c = {
        .known = REPORT_CAPTURE_REGIONS | REPORT_CAPTURE_TOTALS,
        .when = when,
        .is_verbatim = true,
        .is_whole = true,
        .has_virtual = true,
        .attr_known = UINT64_MAX,
        .origin = "GetMemoryMap()",
        .raw = m->raw,
        .regions = m->regions,
        .nregions = m->nregions,
    };

    mapsum_make(&c.totals, m);
    return c;
}

void report_set_findings(struct report *r, enum report_when when, const struct maplint_result *lint)
{
    r->known |= REPORT_HAS_FINDINGS;
    r->findings_when = when;
    r->findings = lint->findings;
    r->nfindings = lint->n;
    r->lost_findings = (uint32_t)mm_min(lint->lost, (uint64_t)UINT32_MAX);
}
