/*
 * mapfile_text.c - the pieces that lines of memory maps are made of.
 *
 * Names are compared folded: lower case, without blanks, '_' and '-'. So one table serves the EFI
 * shell of every age ("BS_Code", "BS_code", "BootServiceCode"), FreeBSD ("BootServicesCode") and
 * Linux ("Boot Code"): no two of them call different types the same.
 */
#include "mapfile_import.h"

int memcmp(const void *a, const void *b, size_t n);
void *memcpy(void *restrict dst, const void *restrict src, size_t n);

#define HEX_DIGITS_MAX 16

/* ---- taking ---------------------------------------------------------------------------------- */

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

/* One more than what each digit is worth; 0 for what is none. */
static const uint8_t hex_digits[256] = {
    ['0'] = 1,  ['1'] = 2,  ['2'] = 3,  ['3'] = 4,  ['4'] = 5,  ['5'] = 6,  ['6'] = 7,  ['7'] = 8,
    ['8'] = 9,  ['9'] = 10, ['a'] = 11, ['b'] = 12, ['c'] = 13, ['d'] = 14, ['e'] = 15, ['f'] = 16,
    ['A'] = 11, ['B'] = 12, ['C'] = 13, ['D'] = 14, ['E'] = 15, ['F'] = 16,
};

bool text_take_hex(struct text *t, unsigned ndigits, uint64_t *v)
{
    const char *at = t->at;
    const char *end = t->end - at > HEX_DIGITS_MAX ? at + HEX_DIGITS_MAX : t->end;
    uint64_t value = 0;

    for (; at != end && hex_digits[(unsigned char)*at] != 0; at++) {
        value = value << 4 | (hex_digits[(unsigned char)*at] - 1u);
    }
    if (at - t->at < (ptrdiff_t)ndigits || at == t->at ||
        (at != t->end && hex_digits[(unsigned char)*at] != 0)) {
        return false;
    }
    t->at = at;
    *v = value;
    return true;
}

bool text_take_0x(struct text *t, unsigned ndigits, uint64_t *v)
{
    struct text rest = *t;

    if (!text_take(&rest, "0x") || !text_take_hex(&rest, ndigits, v)) {
        return false;
    }
    *t = rest;
    return true;
}

static bool take_decimal(struct text *t, bool grouped, uint64_t *v)
{
    const char *at = t->at;
    uint64_t value = 0;

    for (; at != t->end; at++) {
        unsigned d = (unsigned char)*at - '0';

        if (grouped && *at == ',' && at != t->at) {
            continue;
        }
        if (d > 9) {
            break;
        }
        if (__builtin_mul_overflow(value, 10, &value) || __builtin_add_overflow(value, d, &value)) {
            return false;
        }
    }
    if (at == t->at) {
        return false;
    }
    t->at = at;
    *v = value;
    return true;
}

bool text_take_dec(struct text *t, uint64_t *v)
{
    return take_decimal(t, false, v);
}

bool text_take_grouped(struct text *t, uint64_t *v)
{
    return take_decimal(t, true, v);
}

struct text text_take_word(struct text *t)
{
    struct text word = { t->at, t->at };

    while (word.end != t->end && !is_blank(*word.end)) {
        word.end++;
    }
    t->at = word.end;
    return word;
}

struct text text_take_until(struct text *t, char a, char b)
{
    struct text taken = { t->at, t->at };

    while (taken.end != t->end && *taken.end != a && *taken.end != b) {
        taken.end++;
    }
    t->at = taken.end;
    return text_trim(taken);
}

/* Control characters go as well: carriage returns, and the NULs that some consoles begin with. */
struct text text_trim(struct text t)
{
    while (t.at != t.end && (unsigned char)*t.at <= ' ') {
        t.at++;
    }
    while (t.at != t.end && (unsigned char)t.end[-1] <= ' ') {
        t.end--;
    }
    return t;
}

/* Eight at a time: a byte of x is zero where one of v is `c`, and then its top bit is in the mask.
 */
const char *text_find(const char *at, const char *end, char c)
{
    const uint64_t ones = UINT64_C(0x0101010101010101);
    uint64_t x;

    for (; end - at >= (ptrdiff_t)sizeof(x); at += sizeof(x)) {
        memcpy(&x, at, sizeof(x));
        x ^= ones * (unsigned char)c;
        if (((x - ones) & ~x & (ones << 7)) != 0) {
            break;
        }
    }
    while (at != end && *at != c) {
        at++;
    }
    return at;
}

bool text_seek(struct text *t, const char *literal)
{
    for (;; t->at++) {
        struct text rest;

        t->at = text_find(t->at, t->end, literal[0]);
        if (text_is_empty(t)) {
            return false;
        }
        rest = *t;
        if (text_take(&rest, literal)) {
            return true;
        }
    }
}

/* ---- names ----------------------------------------------------------------------------------- */

struct name {
    const char *folded;
    uint8_t length;
    uint8_t type; /* enum efi_memory_type */
};

#define NAME(folded, type)                                                                         \
    {                                                                                              \
        folded, sizeof(folded) - 1, type                                                           \
    }

static const struct name type_names[] = {
    NAME("available", EFI_MT_CONVENTIONAL),
    NAME("bsdata", EFI_MT_BOOT_DATA),
    NAME("bscode", EFI_MT_BOOT_CODE),
    NAME("reserved", EFI_MT_RESERVED),
    NAME("loadercode", EFI_MT_LOADER_CODE),
    NAME("loaderdata", EFI_MT_LOADER_DATA),
    NAME("rtcode", EFI_MT_RUNTIME_CODE),
    NAME("rtdata", EFI_MT_RUNTIME_DATA),
    NAME("acpinvs", EFI_MT_ACPI_NVS),
    NAME("acpirecl", EFI_MT_ACPI_RECLAIM),
    NAME("mmio", EFI_MT_MMIO),
    NAME("conventional", EFI_MT_CONVENTIONAL),
    NAME("conventionalmemory", EFI_MT_CONVENTIONAL),
    NAME("bootcode", EFI_MT_BOOT_CODE),
    NAME("bootdata", EFI_MT_BOOT_DATA),
    NAME("bootservicecode", EFI_MT_BOOT_CODE),
    NAME("bootservicedata", EFI_MT_BOOT_DATA),
    NAME("bootservicescode", EFI_MT_BOOT_CODE),
    NAME("bootservicesdata", EFI_MT_BOOT_DATA),
    NAME("runtimecode", EFI_MT_RUNTIME_CODE),
    NAME("runtimedata", EFI_MT_RUNTIME_DATA),
    NAME("runtimeservicescode", EFI_MT_RUNTIME_CODE),
    NAME("runtimeservicesdata", EFI_MT_RUNTIME_DATA),
    NAME("acpireclaim", EFI_MT_ACPI_RECLAIM),
    NAME("acpireclaimmemory", EFI_MT_ACPI_RECLAIM),
    NAME("acpimemnvs", EFI_MT_ACPI_NVS),
    NAME("acpimemorynvs", EFI_MT_ACPI_NVS),
    NAME("memmapio", EFI_MT_MMIO),
    NAME("memorymappedio", EFI_MT_MMIO),
    NAME("memorymappedi/o", EFI_MT_MMIO),
    NAME("memportio", EFI_MT_MMIO_PORT),
    NAME("mmioport", EFI_MT_MMIO_PORT),
    NAME("mmioportspace", EFI_MT_MMIO_PORT),
    NAME("memorymappedioportspace", EFI_MT_MMIO_PORT),
    NAME("unusable", EFI_MT_UNUSABLE),
    NAME("unusablememory", EFI_MT_UNUSABLE),
    NAME("palcode", EFI_MT_PAL_CODE),
    NAME("persistent", EFI_MT_PERSISTENT),
    NAME("persistentmemory", EFI_MT_PERSISTENT),
    NAME("unaccepted", EFI_MT_UNACCEPTED),
    NAME("unacceptedmemory", EFI_MT_UNACCEPTED),
};

/* Linux, e820_print_type() and e820_type_to_string(). */
static const struct name e820_names[] = {
    NAME("usable", EFI_MT_CONVENTIONAL),
    NAME("systemram", EFI_MT_CONVENTIONAL),
    NAME("kernelusableram", EFI_MT_CONVENTIONAL),
    NAME("softreserved", EFI_MT_CONVENTIONAL),
    NAME("reserved", EFI_MT_RESERVED),
    NAME("devicereserved", EFI_MT_RESERVED),
    NAME("unknowne820type", EFI_MT_RESERVED),
    NAME("acpidata", EFI_MT_ACPI_RECLAIM),
    NAME("acpitables", EFI_MT_ACPI_RECLAIM),
    NAME("acpinvs", EFI_MT_ACPI_NVS),
    NAME("acpinonvolatilestorage", EFI_MT_ACPI_NVS),
    NAME("unusable", EFI_MT_UNUSABLE),
    NAME("unusablememory", EFI_MT_UNUSABLE),
    NAME("persistent", EFI_MT_PERSISTENT),
    NAME("persistentram", EFI_MT_PERSISTENT),
    NAME("persistentmemory", EFI_MT_PERSISTENT),
};

/* Linux has HP, MR, CC, RUN; FreeBSD's loader MR, its kernel MORE_RELIABLE and RUNTIME. */
static const struct {
    const char *word;
    uint64_t bit;
} attr_words[] = {
    { "WB", EFI_MA_WB },
    { "UC", EFI_MA_UC },
    { "WC", EFI_MA_WC },
    { "WT", EFI_MA_WT },
    { "RUNTIME", EFI_MA_RUNTIME },
    { "RUN", EFI_MA_RUNTIME },
    { "UCE", EFI_MA_UCE },
    { "WP", EFI_MA_WP },
    { "RP", EFI_MA_RP },
    { "XP", EFI_MA_XP },
    { "NV", EFI_MA_NV },
    { "MR", EFI_MA_MORE_RELIABLE },
    { "MORE_RELIABLE", EFI_MA_MORE_RELIABLE },
    { "RO", EFI_MA_RO },
    { "SP", EFI_MA_SP },
    { "CC", EFI_MA_CPU_CRYPTO },
    { "HP", EFI_MA_HOT_PLUGGABLE },
};

#define FOLDED_MAX 24

/* The length, or 0 if it is longer than any name. */
static size_t fold(struct text name, char folded[FOLDED_MAX])
{
    size_t n = 0;

    for (; name.at != name.end; name.at++) {
        char c = *name.at;

        if (is_blank(c) || c == '_' || c == '-') {
            continue;
        }
        if (n == FOLDED_MAX) {
            return 0;
        }
        folded[n++] = c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
    }
    return n;
}

static const struct name *find_name(struct text name, const struct name *names, size_t nnames)
{
    char folded[FOLDED_MAX];
    size_t n = fold(name, folded);

    for (size_t i = 0; i < nnames; i++) {
        if (names[i].length == n && memcmp(names[i].folded, folded, n) == 0) {
            return &names[i];
        }
    }
    return NULL;
}

bool text_is_type(struct text name, uint32_t *type)
{
    const struct name *found = find_name(name, type_names, MM_COUNTOF(type_names));

    if (found != NULL) {
        *type = found->type;
    }
    return found != NULL;
}

bool text_begins_type(struct text name)
{
    char folded[FOLDED_MAX];
    size_t n = fold(name, folded);

    for (size_t i = 0; n > 0 && i < MM_COUNTOF(type_names); i++) {
        if (type_names[i].length >= n && memcmp(type_names[i].folded, folded, n) == 0) {
            return true;
        }
    }
    return false;
}

bool text_is_attr(struct text word, uint64_t *bit)
{
    for (size_t i = 0; i < MM_COUNTOF(attr_words); i++) {
        struct text rest = word;

        if (text_take(&rest, attr_words[i].word) && text_is_empty(&rest)) {
            *bit = attr_words[i].bit;
            return true;
        }
    }
    return false;
}

bool text_is_e820_type(struct text name, uint32_t *type, uint64_t *attr)
{
    struct text rest = name;
    struct text word = text_take_until(&rest, '(', '(');
    const struct name *found;
    uint64_t number;

    *attr = 0;
    if (text_take(&rest, "(type ")) { /* "persistent (type 7)" */
        if (!text_take_dec(&rest, &number) || !text_take(&rest, ")")) {
            return false;
        }
    } else if (!text_is_empty(&rest) && !text_take(&rest, "(legacy)")) {
        return false;
    }
    if (!text_is_empty(&rest)) {
        return false;
    }
    found = find_name(word, e820_names, MM_COUNTOF(e820_names));
    if (found != NULL) {
        *type = found->type;
        *attr = memcmp(found->folded, "soft", 4) == 0 ? EFI_MA_SP : 0;
        return true;
    }
    *type = EFI_MT_RESERVED;
    return text_take(&word, "type ") && text_take_dec(&word, &number) && text_is_empty(&word);
}
