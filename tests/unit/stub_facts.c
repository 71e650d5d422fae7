/*
 * stub_facts.c - see stub_facts.h. Offsets are those of the specifications, written out by hand.
 */
#include "stub_facts.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define PAGES4 (4 * UINT64_C(4096))

struct stub_facts stub_facts;
struct machine stub_machine;

static uint64_t structures, structures_end;
static uint32_t nstructures;

/* ---- answers --------------------------------------------------------------------------------- */

static void play_cpuid(uint32_t leaf, uint32_t subleaf, uint32_t r[4])
{
    static const struct stub_cpu_leaf end;

    for (const struct stub_cpu_leaf *c = stub_facts.cpu;
         c == stub_facts.cpu || memcmp(c, &end, sizeof(end)) != 0; c++) {
        if (c->leaf == leaf && subleaf == 0) {
            memcpy(r, c->r, sizeof(c->r));
            return;
        }
    }
    stub_fw.violation = "cpuid of a leaf that is not there";
    memset(r, 0xff, 4 * sizeof(*r));
}

static fw_status_t play_time(struct facts_time *t)
{
    *t = stub_facts.time;
    return stub_facts.time_error;
}

static bool play_table(uint32_t i, struct report_table *t)
{
    if (i >= stub_facts.ntables) {
        return false;
    }
    *t = stub_facts.tables[i];
    return true;
}

static uint32_t play_screens(struct screen_mode *to, uint32_t max)
{
    for (uint32_t i = 0; i < max && i < stub_facts.nscreens; i++) {
        to[i] = stub_facts.screens[i];
    }
    return stub_facts.nscreens;
}

static bool is_name(const uint16_t *name, const char *text)
{
    while (*text != '\0' && *name == (unsigned char)*text) {
        name++;
        text++;
    }
    return *name == 0 && *text == '\0';
}

static fw_status_t play_variable(const uint16_t *name, uint8_t *value)
{
    int v = is_name(name, "SecureBoot")  ? stub_facts.secure_boot
            : is_name(name, "SetupMode") ? stub_facts.setup_mode
                                         : -1;

    if (v < 0) {
        return FW_NOT_FOUND;
    }
    *value = (uint8_t)v;
    return FW_SUCCESS;
}

static uint32_t play_tpm(void)
{
    return stub_facts.tpm;
}

const struct facts_source stub_facts_source = {
    .plat = "1.2.3",
    .cpuid = play_cpuid,
    .time = play_time,
    .table = play_table,
    .screens = play_screens,
    .variable = play_variable,
    .tpm = play_tpm,
};

/* ---- tables ---------------------------------------------------------------------------------- */

static unsigned char *bytes_at(uint64_t pa)
{
    return fw_pointer(pa);
}

void stub_put(uint64_t pa, uint64_t v, unsigned nbytes)
{
    for (unsigned i = 0; i < nbytes; i++) {
        bytes_at(pa)[i] = (unsigned char)(v >> 8 * i);
    }
}

static void put_text(uint64_t pa, const char *text)
{
    memcpy(bytes_at(pa), text, strlen(text));
}

void stub_fix_sum(uint64_t pa, uint64_t nbytes, uint64_t at)
{
    unsigned char sum = 0;

    bytes_at(pa)[at] = 0;
    for (uint64_t i = 0; i < nbytes; i++) {
        sum = (unsigned char)(sum + bytes_at(pa)[i]);
    }
    bytes_at(pa)[at] = (unsigned char)-sum;
}

void stub_fix_table(uint64_t pa)
{
    uint32_t nbytes;

    memcpy(&nbytes, bytes_at(pa) + 4, 4);
    stub_fix_sum(pa, nbytes, 9);
}

void stub_put_table(uint64_t pa, const char *signature, uint32_t nbytes)
{
    memset(bytes_at(pa), 0, nbytes);
    put_text(pa, signature);
    stub_put(pa + 4, nbytes, 4);
    stub_put(pa + 8, 3, 1);
    put_text(pa + 10, "MAKER");
    put_text(pa + 16, "TABLE-ID");
    stub_put(pa + 24, 0x20260102, 4);
    stub_fix_table(pa);
}

void stub_put_rsdp(void)
{
    memset(bytes_at(STUB_RSDP), 0, 36);
    put_text(STUB_RSDP, "RSD PTR ");
    put_text(STUB_RSDP + 9, "MAKER");
    stub_put(STUB_RSDP + 15, 2, 1);
    stub_put(STUB_RSDP + 16, STUB_RSDT, 4);
    stub_put(STUB_RSDP + 20, 36, 4);
    stub_put(STUB_RSDP + 24, STUB_XSDT, 8);
    stub_fix_sum(STUB_RSDP, 20, 8);
    stub_fix_sum(STUB_RSDP, 36, 32);
}

void stub_put_root(const uint64_t *tables, uint32_t n)
{
    stub_put_table(STUB_XSDT, "XSDT", 36 + 8 * n);
    stub_put_table(STUB_RSDT, "RSDT", 36 + 4 * n);
    for (uint32_t i = 0; i < n; i++) {
        stub_put(STUB_XSDT + 36 + 8 * i, tables[i], 8);
        stub_put(STUB_RSDT + 36 + 4 * i, tables[i], 4);
    }
    stub_fix_table(STUB_XSDT);
    stub_fix_table(STUB_RSDT);
}

void stub_begin_structures(uint64_t at)
{
    structures = structures_end = at;
    nstructures = 0;
}

uint64_t stub_structures_end(void)
{
    return structures_end;
}

void stub_put_structure(const void *bytes, const char *texts)
{
    unsigned char *to = bytes_at(structures_end);
    size_t nbytes = ((const unsigned char *)bytes)[1], ntexts = 0;

    memcpy(to, bytes, nbytes);
    do { /* at least the two NULs */
        ntexts += strlen(texts + ntexts) + 1;
    } while (texts[ntexts] != '\0');
    memcpy(to + nbytes, texts, ntexts);
    to[nbytes + ntexts] = '\0';
    structures_end += nbytes + ntexts + 1;
    nstructures++;
}

void stub_put_smbios3(void)
{
    memset(bytes_at(STUB_SMBIOS3), 0, 24);
    put_text(STUB_SMBIOS3, "_SM3_");
    stub_put(STUB_SMBIOS3 + 6, 24, 1);
    stub_put(STUB_SMBIOS3 + 7, 3, 1);
    stub_put(STUB_SMBIOS3 + 8, 7, 1);
    stub_put(STUB_SMBIOS3 + 10, 1, 1);
    stub_put(STUB_SMBIOS3 + 12, structures_end - structures, 4);
    stub_put(STUB_SMBIOS3 + 16, structures, 8);
    stub_fix_sum(STUB_SMBIOS3, 24, 5);
}

void stub_put_smbios2(uint32_t count)
{
    memset(bytes_at(STUB_SMBIOS), 0, 31);
    put_text(STUB_SMBIOS, "_SM_");
    stub_put(STUB_SMBIOS + 5, 31, 1);
    stub_put(STUB_SMBIOS + 6, 2, 1);
    stub_put(STUB_SMBIOS + 7, 8, 1);
    put_text(STUB_SMBIOS + 16, "_DMI_");
    stub_put(STUB_SMBIOS + 22, structures_end - structures, 2);
    stub_put(STUB_SMBIOS + 24, structures, 4);
    stub_put(STUB_SMBIOS + 28, count, 2);
    stub_fix_sum(STUB_SMBIOS + 16, 15, 5);
    stub_fix_sum(STUB_SMBIOS, 31, 4);
}

/* ---- the machine ----------------------------------------------------------------------------- */

static const struct stub_desc extra[] = {
    { 7, 0, 0, 0, 1, 0xf }, /* page 0, which cannot be touched either */
    { 9, 0, STUB_RAM, 0, 16, 0xf },
    { 0, 0, STUB_BEFORE_DEVICE, 0, 1, 0xf },
    { 11, 0, STUB_DEVICE, 0, 4, UINT64_C(1) },
    { 8, 0, STUB_BAD, 0, 4, 0xf },
    { 15, 0, STUB_UNACCEPTED, 0, 4, 0xf },
    { 5, 0, STUB_RUNTIME, 0, 16, UINT64_C(0x800000000000000f) },
    { 6, 0, STUB_RUNTIME + 0x10000, 0, 16, UINT64_C(0x800000000000000f) },
};

static const struct stub_cpu_leaf small_cpu[] = {
    { 0, { 1, 0x756e6547, 0x6c65746e, 0x49656e69 } }, /* GenuineIntel */
    { 1, { 0x000306a9, 0, 0, 1u << 16 } },
    { 0x80000000, { 0x80000008, 0, 0, 0 } },
    { 0x80000001, { 0, 0, 0, 1u << 20 } },
    { 0x80000002, { 0x65572041, 0x6c20, 0, 0 } },
    { 0x80000003, { 0, 0, 0, 0 } },
    { 0x80000004, { 0, 0, 0, 0 } },
    { 0x80000008, { 0x3027, 0, 0, 0 } },
    { 0, { 0 } },
};

static void put_acpi(void)
{
    static const uint64_t tables[] = { STUB_FADT, STUB_APIC, STUB_MCFG };

    stub_put_rsdp();
    stub_put_table(STUB_FADT, "FACP", 276);
    stub_put(STUB_FADT + 132, STUB_FACS, 8);
    stub_put(STUB_FADT + 140, STUB_DSDT, 8);
    stub_fix_table(STUB_FADT);
    stub_put_table(STUB_DSDT, "DSDT", 2000);
    stub_put_table(STUB_APIC, "APIC", 120);
    stub_put_table(STUB_MCFG, "MCFG", 44 + 2 * 16);
    stub_put(STUB_MCFG + 44, 0xe0000000, 8);
    stub_put(STUB_MCFG + 55, 255, 1);
    stub_put(STUB_MCFG + 60, 0x4000000000, 8);
    stub_put(STUB_MCFG + 68, 1, 2);
    stub_put(STUB_MCFG + 70, 0x10, 1);
    stub_put(STUB_MCFG + 71, 0x1f, 1);
    stub_fix_table(STUB_MCFG);
    memset(bytes_at(STUB_FACS), 0, 64);
    put_text(STUB_FACS, "FACS");
    stub_put(STUB_FACS + 4, 64, 4);
    stub_put(STUB_FACS + 32, 2, 1);
    stub_put_root(tables, 3);
}

static void put_smbios(void)
{
    static const unsigned char bios[24] = { 0, 24, 0, 0, 1, 2, 0, 0xe0, 3 };
    static const unsigned char system[27] = { 1,    27,   1,    0,    1,    2,    3,    4, 0x67,
                                              0x45, 0x23, 0x01, 0xab, 0x89, 0xef, 0xcd, 1, 2,
                                              3,    4,    5,    6,    7,    8,    6,    5, 6 };
    static const unsigned char board[15] = { 2, 15, 2, 0, 1, 2, 3, 4 };
    static const unsigned char chassis[22] = { 3, 22, 3, 0, 1 };
    static const unsigned char device[40] = { 17, 40,   4,    0,    0, 0, 0xfe, 0xff, 72, 0,
                                              64, 0,    0x00, 0x40, 9, 0, 1,    2,    26, 0,
                                              0,  0x80, 12,   3,    4, 0, 5,    0x82, 0,  0,
                                              0,  0,    0x60, 9,    0, 0, 0,    0,    0,  0 };
    static const unsigned char empty[34] = { 17,   34,   5, 0, 0, 0, 0xfe, 0xff, 0xff, 0xff,
                                             0xff, 0xff, 0, 0, 2, 0, 1,    2,    2 };
    static const unsigned char end[4] = { 127, 4, 6, 0 };

    stub_begin_structures(STUB_DMI);
    stub_put_structure(bios, "Vendor\0V 1.0\00001/02/2026\0");
    stub_put_structure(system, "Maker\0Product\0v9\0SYS-SERIAL\0SKU\0Family\0");
    stub_put_structure(chassis, "Chassis\0");
    stub_put_structure(board, "BoardMaker\0Board\0b1\0BOARD-SERIAL\0");
    stub_put_structure(device, "DIMM A\0BANK 0\0Acme\0D-SERIAL\0PART-1 \0");
    stub_put_structure(empty, "DIMM B\0BANK 1\0");
    stub_put_structure(end, "\0");
    stub_put_smbios3();
    stub_put_smbios2(nstructures);
}

static void put_mat(void)
{
    static const uint64_t entries[3][4] = {
        { 5, STUB_RUNTIME, 4, UINT64_C(0x8000000000020000) },
        { 5, STUB_RUNTIME + 0x4000, 12, UINT64_C(0x8000000000004000) },
        { 6, STUB_RUNTIME + 0x10000, 16, UINT64_C(0x8000000000004000) },
    };

    memset(bytes_at(STUB_MAT), 0, 16 + 3 * 48);
    stub_put(STUB_MAT, 2, 4);
    stub_put(STUB_MAT + 4, 3, 4);
    stub_put(STUB_MAT + 8, 48, 4);
    stub_put(STUB_MAT + 12, 1, 4);
    for (unsigned i = 0; i < 3; i++) {
        uint64_t at = STUB_MAT + 16 + 48 * i;

        stub_put(at, entries[i][0], 4);
        stub_put(at + 8, entries[i][1], 8);
        stub_put(at + 24, entries[i][2], 8);
        stub_put(at + 32, entries[i][3], 8);
    }
}

static void map_once(void)
{
    static bool mapped;

    if (!mapped &&
        mmap(fw_pointer(STUB_BIOS), STUB_BIOS_BYTES, PROT_READ | PROT_WRITE,
             MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) != fw_pointer(STUB_BIOS)) {
        abort();
    }
    mapped = true;
    (void)mprotect(fw_pointer(STUB_DEVICE), PAGES4, PROT_NONE);
    (void)mprotect(fw_pointer(STUB_BAD), PAGES4, PROT_NONE);
    (void)mprotect(fw_pointer(STUB_UNACCEPTED), PAGES4, PROT_NONE);
}

void stub_facts_reset(void)
{
    static const struct report_table tables[] = {
        { { 0x71, 0xe8, 0x68, 0x88, 0xf1, 0xe4, 0xd3, 0x11, 0xbc, 0x22, 0x00, 0x80, 0xc7, 0x3c,
            0x88, 0x81 },
          STUB_RSDP },
        { { 0x44, 0x15, 0xfd, 0xf2, 0x94, 0x97, 0x2c, 0x4a, 0x99, 0x2e, 0xe5, 0xbb, 0xcf, 0x20,
            0xe3, 0x94 },
          STUB_SMBIOS3 },
        { { 0x31, 0x2d, 0x9d, 0xeb, 0x88, 0x2d, 0xd3, 0x11, 0x9a, 0x16, 0x00, 0x90, 0x27, 0x3f,
            0xc1, 0x4d },
          STUB_SMBIOS },
    };

    map_once();
    stub_fw.extra = extra;
    stub_fw.nextra = sizeof(extra) / sizeof(extra[0]);
    stub_facts = (struct stub_facts){
        .cpu = small_cpu,
        .time = { 2026, 2, 3, 4, 5, 6, 480, 0 },
        .ntables = sizeof(tables) / sizeof(tables[0]),
        .screens = { { 0xc0000000, 4096000, 1280, 800, 1280, 1, 0, 0, 0, 0 } },
        .nscreens = 1,
        .secure_boot = 1,
        .setup_mode = 0,
        .tpm = REPORT_TPM_20,
    };
    memcpy(stub_facts.tables, tables, sizeof(tables));
    put_acpi();
    put_smbios();
    put_mat();
    memcpy(bytes_at(STUB_VENDOR), u"Vendor \u00e9\u20ac\U0001f600",
           sizeof(u"Vendor \u00e9\u20ac\U0001f600"));
    stub_machine = (struct machine){
        .stub_base = STUB_RAM + 0x300000,
        .stub_bytes = 0x98000,
        .rsdp = STUB_RSDP,
        .smbios = STUB_SMBIOS3,
        .memory_attributes = STUB_MAT,
        .firmware_revision = 0x10203,
        .uefi_revision = 0x2000a,
        .firmware_vendor = fw_pointer(STUB_VENDOR),
        .facts = &stub_facts_source,
    };
}
