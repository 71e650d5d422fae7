/*
 * uefi_facts.c - the machine itself as a struct facts_source.
 *
 * Whatever is asked here must be asked of what is there already: protocols are located, never
 * connected, and those of a TPM are asked only for what their drivers know without a command to it.
 * gnu-efi has none of them, so they are declared here, as far as they are used.
 */
#include <efi.h>
#undef __attribute__ /* gnu-efi 3.0 defines it away on this target */

#include "bytes.h"
#include "facts.h"

static EFI_SYSTEM_TABLE *st;

static EFI_GUID gop_guid = EFI_GRAPHICS_OUTPUT_PROTOCOL_GUID;
static EFI_GUID global_guid = EFI_GLOBAL_VARIABLE;
static EFI_GUID tcg2_guid = {
    0x607f766c, 0x7455, 0x42be, { 0x93, 0x0b, 0xe4, 0xd7, 0x6d, 0xb2, 0x72, 0x0f }
};
static EFI_GUID tcg_guid = {
    0xf541796d, 0xa62e, 0x4954, { 0xa7, 0x75, 0x95, 0x84, 0xf6, 0x1b, 0x9c, 0xdd }
};

/* TCG EFI Protocol Specification, family 2.0, 6.4. */
struct tcg2_capability {
    uint8_t nbytes; /* in: of this struct; out: of what there is */
    uint8_t structure_version[2];
    uint8_t protocol_version[2];
    uint32_t hash_algorithms;
    uint32_t event_logs;
    uint8_t tpm_present;
    uint16_t max_command;
    uint16_t max_response;
    uint32_t manufacturer;
    uint32_t npcr_banks;
    uint32_t active_pcr_banks;
};
_Static_assert(sizeof(struct tcg2_capability) == 36, "as the specification has it");

struct tcg2_protocol {
    EFI_STATUS(EFIAPI *get_capability)(struct tcg2_protocol *self, struct tcg2_capability *c);
};

/* TCG EFI Protocol Specification for TPM 1.1 and 1.2, 1.22, 5.3. */
struct tcg_capability {
    uint8_t nbytes;
    uint8_t structure_version[4];
    uint8_t protocol_version[4];
    uint8_t hash_algorithms;
    uint8_t tpm_present;
    uint8_t tpm_deactivated;
};
_Static_assert(sizeof(struct tcg_capability) == 12, "as the specification has it");

struct tcg_protocol {
    EFI_STATUS(EFIAPI *status_check)
    (struct tcg_protocol *self, struct tcg_capability *c, uint32_t *features,
     EFI_PHYSICAL_ADDRESS *log, EFI_PHYSICAL_ADDRESS *last_entry);
};

static void uefi_cpuid(uint32_t leaf, uint32_t subleaf, uint32_t r[4])
{
    __asm__ volatile("cpuid"
                     : "=a"(r[0]), "=b"(r[1]), "=c"(r[2]), "=d"(r[3])
                     : "a"(leaf), "c"(subleaf));
}

static fw_status_t uefi_time(struct facts_time *t)
{
    EFI_TIME now = { 0 };
    EFI_STATUS s = st->RuntimeServices->GetTime(&now, NULL);

    *t = (struct facts_time){
        .year = now.Year,
        .month = now.Month,
        .day = now.Day,
        .hour = now.Hour,
        .minute = now.Minute,
        .second = now.Second,
        .zone = now.TimeZone,
        .daylight = now.Daylight,
    };
    return s;
}

static bool uefi_table(uint32_t i, struct report_table *t)
{
    if (st->ConfigurationTable == NULL || i >= st->NumberOfTableEntries) {
        return false;
    }
    memcpy(t->guid, &st->ConfigurationTable[i].VendorGuid, sizeof(t->guid));
    t->address = (uintptr_t)st->ConfigurationTable[i].VendorTable;
    return true;
}

/* Modes that were found; `n` counts those that have no room, too. */
struct modes {
    struct screen_mode *to;
    uint32_t max;
    uint32_t n;
};

/* Add the mode that the output of `handle` is in, if there is one. */
static void look_at_screen(EFI_HANDLE handle, struct modes *m)
{
    EFI_GRAPHICS_OUTPUT_PROTOCOL *gop = NULL;

    if (handle == NULL ||
        EFI_ERROR(st->BootServices->HandleProtocol(handle, &gop_guid, (void **)&gop)) ||
        gop->Mode == NULL || gop->Mode->Info == NULL) {
        return;
    }
    if (m->n < m->max) {
        m->to[m->n] = (struct screen_mode){
            .base = gop->Mode->FrameBufferBase,
            .nbytes = gop->Mode->FrameBufferSize,
            .width = gop->Mode->Info->HorizontalResolution,
            .height = gop->Mode->Info->VerticalResolution,
            .stride = gop->Mode->Info->PixelsPerScanLine,
            .format = (uint32_t)gop->Mode->Info->PixelFormat,
            .red = gop->Mode->Info->PixelInformation.RedMask,
            .green = gop->Mode->Info->PixelInformation.GreenMask,
            .blue = gop->Mode->Info->PixelInformation.BlueMask,
            .reserved = gop->Mode->Info->PixelInformation.ReservedMask,
        };
    }
    m->n++;
}

static uint32_t uefi_screens(struct screen_mode *to, uint32_t max)
{
    struct modes m = { .to = to, .max = max };
    EFI_HANDLE *handles = NULL;
    UINTN n = 0;

    look_at_screen(st->ConsoleOutHandle, &m);
    if (EFI_ERROR(
            st->BootServices->LocateHandleBuffer(ByProtocol, &gop_guid, NULL, &n, &handles))) {
        return m.n;
    }
    for (UINTN i = 0; i < n; i++) {
        if (handles[i] != st->ConsoleOutHandle) {
            look_at_screen(handles[i], &m);
        }
    }
    (void)st->BootServices->FreePool(handles);
    return m.n;
}

static fw_status_t uefi_variable(const uint16_t *name, uint8_t *value)
{
    UINTN nbytes = sizeof(*value);
    EFI_STATUS s =
        st->RuntimeServices->GetVariable((CHAR16 *)name, &global_guid, NULL, &nbytes, value);

    return !EFI_ERROR(s) && nbytes != sizeof(*value) ? FW_LOAD_ERROR : s;
}

static uint32_t uefi_tpm(void)
{
    struct tcg2_protocol *tcg2 = NULL;
    struct tcg_protocol *tcg = NULL;

    if (!EFI_ERROR(st->BootServices->LocateProtocol(&tcg2_guid, NULL, (void **)&tcg2))) {
        struct tcg2_capability c = { .nbytes = sizeof(c) };

        if (EFI_ERROR(tcg2->get_capability(tcg2, &c))) {
            return REPORT_TPM_UNKNOWN;
        }
        if (c.tpm_present != 0) {
            return REPORT_TPM_20;
        }
    }
    if (!EFI_ERROR(st->BootServices->LocateProtocol(&tcg_guid, NULL, (void **)&tcg))) {
        struct tcg_capability c = { .nbytes = sizeof(c) };
        EFI_PHYSICAL_ADDRESS log = 0, last_entry = 0;
        uint32_t features = 0;

        if (EFI_ERROR(tcg->status_check(tcg, &c, &features, &log, &last_entry))) {
            return REPORT_TPM_UNKNOWN;
        }
        if (c.tpm_present != 0) {
            return REPORT_TPM_12;
        }
    }
    return REPORT_TPM_NONE;
}

const struct facts_source *facts_uefi(void *system_table)
{
    static const struct facts_source source = {
        .plat = PLAT_VERSION,
        .cpuid = uefi_cpuid,
        .time = uefi_time,
        .table = uefi_table,
        .screens = uefi_screens,
        .variable = uefi_variable,
        .tpm = uefi_tpm,
    };

    st = system_table;
    return &source;
}
