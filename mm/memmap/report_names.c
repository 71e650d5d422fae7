/*
 * report_names.c - words for numbers in a report.
 *
 * GUIDs of configuration tables: UEFI 2.10 4.6, and EDK II's own (MdePkg, MdeModulePkg), which most
 * firmware installs. Memory types: DSP0134 (SMBIOS 3.7) 7.18.2.
 */
#include "report_names.h"

static const char *const when_names[REPORT_WHENS] = {
    [REPORT_START] = "start",   [REPORT_LAST] = "last", [REPORT_FINAL] = "final",
    [REPORT_KERNEL] = "kernel", [REPORT_FILE] = "file",
};

static const char *const tpm_names[REPORT_TPMS] = {
    [REPORT_TPM_UNKNOWN] = "unknown",
    [REPORT_TPM_NONE] = "none",
    [REPORT_TPM_12] = "1.2",
    [REPORT_TPM_20] = "2.0",
};

static const char *const pixel_names[REPORT_PIXEL_FORMATS] = {
    [REPORT_PIXEL_RGBX] = "rgbx",
    [REPORT_PIXEL_BGRX] = "bgrx",
    [REPORT_PIXEL_MASK] = "mask",
    [REPORT_PIXEL_BLT_ONLY] = "blt-only",
};

/* By bit of enum report_cpu_feature. */
static const char *const feature_names[REPORT_CPU_FEATURES] = {
    "pat",  "mtrr", "pge",  "nx",     "1gb-pages", "la57",      "pcid",       "invpcid",
    "smep", "smap", "umip", "pku",    "cet-ss",    "erms",      "fsrm",       "clflushopt",
    "clwb", "sme",  "sev",  "sev-es", "sev-snp",   "tdx-guest", "hypervisor",
};
_Static_assert(REPORT_CPU_HYPERVISOR == 1 << (REPORT_CPU_FEATURES - 1), "a name for each bit");

static const char *const memory_types[] = {
    [0x01] = "other",  [0x02] = "unknown", [0x03] = "DRAM",   [0x04] = "EDRAM",
    [0x05] = "VRAM",   [0x06] = "SRAM",    [0x07] = "RAM",    [0x08] = "ROM",
    [0x09] = "flash",  [0x0a] = "EEPROM",  [0x0b] = "FEPROM", [0x0c] = "EPROM",
    [0x0d] = "CDRAM",  [0x0e] = "3DRAM",   [0x0f] = "SDRAM",  [0x10] = "SGRAM",
    [0x11] = "RDRAM",  [0x12] = "DDR",     [0x13] = "DDR2",   [0x14] = "DDR2 FB-DIMM",
    [0x18] = "DDR3",   [0x19] = "FBD2",    [0x1a] = "DDR4",   [0x1b] = "LPDDR",
    [0x1c] = "LPDDR2", [0x1d] = "LPDDR3",  [0x1e] = "LPDDR4", [0x1f] = "logical non-volatile",
    [0x20] = "HBM",    [0x21] = "HBM2",    [0x22] = "DDR5",   [0x23] = "LPDDR5",
    [0x24] = "HBM3",
};

#define GUID(a, b, c, d0, d1, d2, d3, d4, d5, d6, d7)                                              \
    {                                                                                              \
        (a) & 0xff, (a) >> 8 & 0xff, (a) >> 16 & 0xff, (a) >> 24, (b)&0xff, (b) >> 8, (c)&0xff,    \
            (c) >> 8, d0, d1, d2, d3, d4, d5, d6, d7                                               \
    }

static const struct {
    unsigned char guid[16];
    const char *name;
} guid_names[] = {
    { GUID(0x8868e871, 0xe4f1, 0x11d3, 0xbc, 0x22, 0x00, 0x80, 0xc7, 0x3c, 0x88, 0x81),
      "ACPI 2.0" },
    { GUID(0xeb9d2d30, 0x2d88, 0x11d3, 0x9a, 0x16, 0x00, 0x90, 0x27, 0x3f, 0xc1, 0x4d),
      "ACPI 1.0" },
    { GUID(0xf2fd1544, 0x9794, 0x4a2c, 0x99, 0x2e, 0xe5, 0xbb, 0xcf, 0x20, 0xe3, 0x94),
      "SMBIOS 3.0" },
    { GUID(0xeb9d2d31, 0x2d88, 0x11d3, 0x9a, 0x16, 0x00, 0x90, 0x27, 0x3f, 0xc1, 0x4d), "SMBIOS" },
    { GUID(0xeb9d2d2f, 0x2d88, 0x11d3, 0x9a, 0x16, 0x00, 0x90, 0x27, 0x3f, 0xc1, 0x4d), "MPS" },
    { GUID(0xeb9d2d32, 0x2d88, 0x11d3, 0x9a, 0x16, 0x00, 0x90, 0x27, 0x3f, 0xc1, 0x4d),
      "SAL system table" },
    { GUID(0xb1b621d5, 0xf19c, 0x41a5, 0x83, 0x0b, 0xd9, 0x15, 0x2c, 0x69, 0xaa, 0xe0),
      "device tree" },
    { GUID(0xdcfa911d, 0x26eb, 0x469f, 0xa2, 0x20, 0x38, 0xb7, 0xdc, 0x46, 0x12, 0x20),
      "memory attributes" },
    { GUID(0xeb66918a, 0x7eef, 0x402a, 0x84, 0x2e, 0x93, 0x1d, 0x21, 0xc3, 0x8a, 0xe9),
      "runtime properties" },
    { GUID(0x880aaca3, 0x4adc, 0x4a04, 0x90, 0x79, 0xb7, 0x47, 0x34, 0x08, 0x25, 0xe5),
      "properties" },
    { GUID(0xb122a263, 0x3661, 0x4f68, 0x99, 0x29, 0x78, 0xf8, 0xb0, 0xd6, 0x21, 0x80),
      "system resources (ESRT)" },
    { GUID(0x36122546, 0xf7e7, 0x4c8f, 0xbd, 0x9b, 0xeb, 0x85, 0x25, 0xb5, 0x0c, 0x0b),
      "conformance profiles" },
    { GUID(0xd719b2cb, 0x3d3a, 0x4596, 0xa3, 0xbc, 0xda, 0xd0, 0x0e, 0x67, 0x65, 0x6f),
      "image execution information" },
    { GUID(0x1e2ed096, 0x30e2, 0x4254, 0xbd, 0x89, 0x86, 0x3b, 0xbe, 0xf8, 0x23, 0x25),
      "TCG2 final events" },
    { GUID(0xdd4a4648, 0x2de7, 0x4665, 0x96, 0x4d, 0x21, 0xd9, 0xef, 0x5f, 0xb4, 0x46),
      "CC final events" },
    { GUID(0x49152e77, 0x1ada, 0x4764, 0xb7, 0xa2, 0x7a, 0xfe, 0xfe, 0xd9, 0x5e, 0x8b),
      "debug images" },
    { GUID(0x05ad34ba, 0x6f02, 0x4214, 0x95, 0x2e, 0x4d, 0xa0, 0x39, 0x8e, 0x2b, 0xb9),
      "DXE services" },
    { GUID(0x7739f24c, 0x93d7, 0x11d4, 0x9a, 0x3a, 0x00, 0x90, 0x27, 0x3f, 0xc1, 0x4d),
      "HOB list" },
    { GUID(0x4c19049f, 0x4137, 0x4dd3, 0x9c, 0x10, 0x8b, 0x97, 0xa8, 0x3f, 0xfd, 0xfa),
      "memory type information" },
    { GUID(0x888eb0c6, 0x8ede, 0x4ff5, 0xa8, 0xf0, 0x9a, 0xee, 0x5c, 0xb9, 0x77, 0xc2),
      "Linux memory reservations" },
};

static const char *name_of(const char *const *names, uint32_t n, uint32_t v)
{
    return v < n ? names[v] : "unknown";
}

const char *report_when_name(enum report_when when)
{
    return name_of(when_names, REPORT_WHENS, (uint32_t)when);
}

const char *report_tpm_name(uint32_t tpm)
{
    return name_of(tpm_names, REPORT_TPMS, tpm);
}

const char *report_pixel_name(uint32_t format)
{
    return name_of(pixel_names, REPORT_PIXEL_FORMATS, format);
}

const char *report_feature_name(uint32_t bit)
{
    return name_of(feature_names, REPORT_CPU_FEATURES, bit);
}

const char *report_memory_type_name(uint32_t type)
{
    return type < MM_COUNTOF(memory_types) ? memory_types[type] : NULL;
}

const char *report_guid_name(const unsigned char guid[16])
{
    for (size_t i = 0; i < MM_COUNTOF(guid_names); i++) {
        if (__builtin_memcmp(guid_names[i].guid, guid, sizeof(guid_names[i].guid)) == 0) {
            return guid_names[i].name;
        }
    }
    return NULL;
}
