/*
 * names.c - what memory types, kinds and attributes are called.
 *
 * Types carry the names of UEFI 2.10 table 7.9 without their "Efi"; attributes those of 7.2.3
 * without "EFI_MEMORY_".
 */
#include "mm/memmap.h"

static const char *const type_names[] = {
    [EFI_MT_RESERVED] = "Reserved",
    [EFI_MT_LOADER_CODE] = "LoaderCode",
    [EFI_MT_LOADER_DATA] = "LoaderData",
    [EFI_MT_BOOT_CODE] = "BootServicesCode",
    [EFI_MT_BOOT_DATA] = "BootServicesData",
    [EFI_MT_RUNTIME_CODE] = "RuntimeServicesCode",
    [EFI_MT_RUNTIME_DATA] = "RuntimeServicesData",
    [EFI_MT_CONVENTIONAL] = "Conventional",
    [EFI_MT_UNUSABLE] = "Unusable",
    [EFI_MT_ACPI_RECLAIM] = "ACPIReclaim",
    [EFI_MT_ACPI_NVS] = "ACPINVS",
    [EFI_MT_MMIO] = "MMIO",
    [EFI_MT_MMIO_PORT] = "MMIOPortSpace",
    [EFI_MT_PAL_CODE] = "PalCode",
    [EFI_MT_PERSISTENT] = "Persistent",
    [EFI_MT_UNACCEPTED] = "Unaccepted",
};

static const char *const kind_names[MEMMAP_KINDS] = {
    [MEMMAP_FREE] = "free",
    [MEMMAP_FREE_AFTER_EXIT] = "free after exit",
    [MEMMAP_FREE_AFTER_ACPI] = "free after ACPI",
    [MEMMAP_SPECIAL] = "special purpose",
    [MEMMAP_PERSISTENT] = "persistent",
    [MEMMAP_KERNEL] = "kernel",
    [MEMMAP_RUNTIME_DATA] = "runtime data",
    [MEMMAP_RUNTIME_CODE] = "runtime code",
    [MEMMAP_ACPI_NVS] = "ACPI NVS",
    [MEMMAP_UNACCEPTED] = "unaccepted",
    [MEMMAP_RESERVED] = "reserved",
    [MEMMAP_MMIO] = "MMIO",
    [MEMMAP_BAD] = "bad",
};

static const struct {
    uint64_t bit;
    const char *name;
} attr_names[] = {
    { EFI_MA_UC, "UC" },
    { EFI_MA_WC, "WC" },
    { EFI_MA_WT, "WT" },
    { EFI_MA_WB, "WB" },
    { EFI_MA_UCE, "UCE" },
    { EFI_MA_WP, "WP" },
    { EFI_MA_RP, "RP" },
    { EFI_MA_XP, "XP" },
    { EFI_MA_NV, "NV" },
    { EFI_MA_MORE_RELIABLE, "MORE_RELIABLE" },
    { EFI_MA_RO, "RO" },
    { EFI_MA_SP, "SP" },
    { EFI_MA_CPU_CRYPTO, "CPU_CRYPTO" },
    { EFI_MA_HOT_PLUGGABLE, "HOT_PLUGGABLE" },
    { EFI_MA_RUNTIME, "RUNTIME" },
};

/* Text that grows in a buffer and goes on counting when that is full. */
struct text {
    char *buf;
    size_t nbytes; /* of buf, > 0 */
    size_t len;
};

static void text_add(struct text *t, char c)
{
    if (t->len + 1 < t->nbytes) {
        t->buf[t->len] = c;
        t->buf[t->len + 1] = '\0';
    }
    t->len++;
}

static void text_add_word(struct text *t, const char *word)
{
    if (t->len != 0) {
        text_add(t, '|');
    }
    for (; *word != '\0'; word++) {
        text_add(t, *word);
    }
}

const char *memmap_kind_name(enum memmap_kind kind)
{
    return (unsigned)kind < MEMMAP_KINDS ? kind_names[kind] : "unknown";
}

const char *memmap_type_name(uint32_t type)
{
    if (type < MM_COUNTOF(type_names)) {
        return type_names[type];
    }
    if (type >= (uint32_t)EFI_MT_OS_FIRST) {
        return "OS-defined";
    }
    return type >= EFI_MT_OEM_FIRST ? "OEM-defined" : "unknown";
}

size_t memmap_attr_text(uint64_t attr, char *buf, size_t nbytes)
{
    struct text t = { buf, nbytes, 0 };

    buf[0] = '\0';
    for (size_t i = 0; i < MM_COUNTOF(attr_names); i++) {
        if ((attr & attr_names[i].bit) != 0) {
            text_add_word(&t, attr_names[i].name);
            attr &= ~attr_names[i].bit;
        }
    }
    if (attr != 0) {
        unsigned shift = 60;

        while ((attr >> shift) == 0) {
            shift -= 4;
        }
        text_add_word(&t, "0x");
        for (;; shift -= 4) {
            text_add(&t, "0123456789abcdef"[attr >> shift & 15]);
            if (shift == 0) {
                break;
            }
        }
    }
    return t.len;
}
