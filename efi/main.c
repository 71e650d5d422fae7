/*
 * main.c - the entry of the PE file, and the only place that talks to UEFI: it asks firmware what
 * the machine is like, wraps the services of firmware.h, and leaves every decision to handover.c.
 *
 * Nothing is connected, installed or set here that firmware does not have already: a driver that is
 * started for no reason is one that can make the exit fail. The only setting is the watchdog, off,
 * as the boot manager gives a loader five minutes before it resets the machine.
 *
 * A pointer that firmware gives may be NULL where the specification does not say otherwise, and is
 * looked at first: there are headless machines without ConOut, images without a device.
 */
#include <efi.h>
#undef __attribute__ /* gnu-efi 3.0 defines it away on this target */

#include "bytes.h"
#include "console.h"
#include "facts.h"
#include "files.h"
#include "firmware.h"
#include "handover.h"
#include "jump.h"
#include "mm/port.h"
#include "screen.h"
#include "x86/regs.h"

EFI_STATUS EFIAPI efi_main(EFI_HANDLE image, EFI_SYSTEM_TABLE *system_table);

/* scripts/payload.S */
extern const unsigned char plat_kernel_elf[];
extern const unsigned char plat_kernel_elf_end[];

/* How long a message stays before firmware goes on, and perhaps clears the screen. */
#define PAUSE_US 3000000u

static EFI_HANDLE self;
static EFI_SYSTEM_TABLE *st;
static EFI_BOOT_SERVICES *bs;
static EFI_LOADED_IMAGE *loaded;
static EFI_FILE_HANDLE conf_handle;

static EFI_GUID loaded_image_guid = EFI_LOADED_IMAGE_PROTOCOL_GUID;
static EFI_GUID file_system_guid = EFI_SIMPLE_FILE_SYSTEM_PROTOCOL_GUID;
static EFI_GUID file_info_guid = EFI_FILE_INFO_ID;
static EFI_GUID rng_guid = EFI_RNG_PROTOCOL_GUID;
static EFI_GUID global_guid = EFI_GLOBAL_VARIABLE;
static EFI_GUID acpi20_guid = ACPI_20_TABLE_GUID;
static EFI_GUID acpi10_guid = ACPI_TABLE_GUID;
static EFI_GUID smbios3_guid = SMBIOS3_TABLE_GUID;
static EFI_GUID smbios_guid = SMBIOS_TABLE_GUID;
/* EFI_MEMORY_ATTRIBUTES_TABLE, UEFI 2.10 4.6.4; gnu-efi has no name for it. */
static EFI_GUID memory_attributes_guid = {
    0xdcfa911d, 0x26eb, 0x469f, { 0xa2, 0x20, 0x38, 0xb7, 0xdc, 0x46, 0x12, 0x20 }
};

/* ---- instructions -------------------------------------------------------------------------- */

static uint64_t main_tsc(void)
{
    uint32_t lo, hi;

    __asm__ volatile("rdtsc" : "=a"(lo), "=d"(hi) : : "memory");
    return (uint64_t)hi << 32 | lo;
}

static bool main_rdrand(uint64_t *v)
{
    bool ok;

    __asm__ volatile("rdrand %0; setc %1" : "=r"(*v), "=qm"(ok) : : "cc");
    return ok;
}

/* ---- the services of firmware.h -------------------------------------------------------------- */

static fw_status_t main_alloc_pages(uint64_t npages, uint64_t max, uint64_t *pa)
{
    EFI_PHYSICAL_ADDRESS at = max;
    EFI_STATUS s = bs->AllocatePages(max == UINT64_MAX ? AllocateAnyPages : AllocateMaxAddress,
                                     EfiLoaderData, npages, &at);

    if (!EFI_ERROR(s)) {
        *pa = at;
    }
    return s;
}

static fw_status_t main_free_pages(uint64_t pa, uint64_t npages)
{
    return bs->FreePages(pa, npages);
}

static fw_status_t main_get_map(struct fw_map *m)
{
    UINTN nbytes = m->nbytes, key = 0, stride = m->stride;
    UINT32 version = m->version;
    EFI_STATUS s = bs->GetMemoryMap(&nbytes, m->bytes, &key, &stride, &version);

    m->nbytes = nbytes;
    m->key = key;
    m->stride = stride;
    m->version = version;
    return s;
}

static fw_status_t main_exit(uint64_t key)
{
    return bs->ExitBootServices(self, key);
}

static void main_print(const char *text)
{
    CHAR16 wide[64];
    size_t n = 0;

    if (st->ConOut == NULL) {
        return;
    }
    while (*text != '\0') {
        if (*text == '\n') {
            wide[n++] = '\r';
        }
        wide[n++] = (CHAR16)*text++;
        if (*text == '\0' || n >= sizeof(wide) / sizeof(wide[0]) - 3) { /* \r, \n and NUL fit */
            wide[n] = 0;
            (void)st->ConOut->OutputString(st->ConOut, wide);
            n = 0;
        }
    }
}

/* A directory of that name opens and reads too, as a list of what is in it. */
static bool main_is_directory(EFI_FILE_HANDLE f)
{
    union {
        EFI_FILE_INFO info;
        unsigned char room[sizeof(EFI_FILE_INFO) + 2 * 64]; /* the name is part of it */
    } u;
    UINTN nbytes = sizeof(u);

    return !EFI_ERROR(f->GetInfo(f, &file_info_guid, &nbytes, &u)) &&
           (u.info.Attribute & EFI_FILE_DIRECTORY) != 0;
}

static fw_status_t main_conf_open(void)
{
    static CHAR16 path[] = L"\\plat\\plat.conf";
    EFI_FILE_IO_INTERFACE *volume = NULL;
    EFI_FILE_HANDLE root = NULL;
    EFI_STATUS s;

    if (loaded->DeviceHandle == NULL) {
        return FW_NOT_FOUND;
    }
    s = bs->HandleProtocol(loaded->DeviceHandle, &file_system_guid, (void **)&volume);
    if (EFI_ERROR(s)) {
        return s;
    }
    s = volume->OpenVolume(volume, &root);
    if (EFI_ERROR(s)) {
        return s;
    }
    s = root->Open(root, &conf_handle, path, EFI_FILE_MODE_READ, 0);
    (void)root->Close(root);
    if (!EFI_ERROR(s) && main_is_directory(conf_handle)) {
        (void)conf_handle->Close(conf_handle);
        return FW_UNSUPPORTED;
    }
    return s;
}

static fw_status_t main_conf_read(void *to, uint64_t *nbytes)
{
    UINTN n = *nbytes;
    EFI_STATUS s = conf_handle->Read(conf_handle, &n, to);

    *nbytes = n;
    return s;
}

static void main_conf_close(void)
{
    (void)conf_handle->Close(conf_handle);
}

static fw_status_t main_rng(void *to, uint64_t nbytes)
{
    EFI_RNG_PROTOCOL *rng = NULL;
    EFI_STATUS s = bs->LocateProtocol(&rng_guid, NULL, (void **)&rng);

    return EFI_ERROR(s) ? s : rng->GetRNG(rng, NULL, nbytes, to);
}

static struct fw main_fw;

/* mm/ found a fault of ours. Firmware takes its machine back; it goes on with the next boot entry.
 */
void port_panic(const char *fmt, ...)
{
    va_list args;

    fw_say(&main_fw, "plat: a fault of Plat itself, please report it: ");
    va_start(args, fmt);
    fw_vsay(&main_fw, fmt, args);
    va_end(args);
    fw_say(&main_fw, "\n");
    (void)bs->Stall(PAUSE_US);
    (void)bs->Exit(self, EFI_ABORTED, 0, NULL);
    for (;;) {
        __asm__ volatile("cli; hlt");
    }
}

static void main_reset(void)
{
    st->RuntimeServices->ResetSystem(EfiResetCold, EFI_SUCCESS, 0, NULL);
    for (;;) {
        __asm__ volatile("cli; hlt");
    }
}

/* OsIndications and what firmware supports of them; UEFI 2.10 8.5.4. */
#define BOOT_TO_FW_UI UINT64_C(1)

static EFI_STATUS main_get_indications(CHAR16 *name, uint64_t *v)
{
    UINTN nbytes = sizeof(*v);
    EFI_STATUS s = st->RuntimeServices->GetVariable(name, &global_guid, NULL, &nbytes, v);

    return !EFI_ERROR(s) && nbytes != sizeof(*v) ? EFI_COMPROMISED_DATA : s;
}

static bool main_setup_is_there(void)
{
    static CHAR16 name[] = L"OsIndicationsSupported";
    uint64_t supported = 0;

    return !EFI_ERROR(main_get_indications(name, &supported)) && (supported & BOOT_TO_FW_UI) != 0;
}

static fw_status_t main_setup(void)
{
    static CHAR16 name[] = L"OsIndications";
    uint64_t v = 0;
    EFI_STATUS s;

    if (!main_setup_is_there()) {
        return FW_UNSUPPORTED;
    }
    s = main_get_indications(name, &v);
    if (EFI_ERROR(s) && s != EFI_NOT_FOUND) {
        return s;
    }
    v |= BOOT_TO_FW_UI;
    s = st->RuntimeServices->SetVariable(
        name, &global_guid,
        EFI_VARIABLE_NON_VOLATILE | EFI_VARIABLE_BOOTSERVICE_ACCESS | EFI_VARIABLE_RUNTIME_ACCESS,
        sizeof(v), &v);
    if (!EFI_ERROR(s)) {
        main_reset();
    }
    return s;
}

static void main_jump(const struct fw_jump *j)
{
    if (j->trampoline != 0) {
        unsigned char *page = fw_pointer(j->trampoline);
        uint32_t at = (uint32_t)j->trampoline;
        struct jump_data d;

        memcpy(page, plat_trampoline, (size_t)(plat_trampoline_end - plat_trampoline));
        memcpy(&d, page + JUMP_DATA, sizeof(d));
        d.entry = j->entry;
        d.boot_va = j->boot_va;
        d.root = (uint32_t)j->root;
        d.far32 += at;
        d.gdt_base += at;
        d.far64 += at;
        memcpy(page + JUMP_DATA, &d, sizeof(d));
    }
    plat_jump(j);
}

static struct fw main_fw = {
    .alloc_pages = main_alloc_pages,
    .free_pages = main_free_pages,
    .get_map = main_get_map,
    .exit = main_exit,
    .print = main_print,
    .conf_open = main_conf_open,
    .conf_read = main_conf_read,
    .conf_close = main_conf_close,
    .rng = main_rng,
    .rdrand = main_rdrand,
    .tsc = main_tsc,
    .reset = main_reset,
    .jump = main_jump,
    .setup = main_setup,
    .setup_is_there = main_setup_is_there,
};

/* ---- the machine ----------------------------------------------------------------------------- */

static void main_look_at_cpu(struct machine *m)
{
    uint32_t r[4], basic, extended;
    uint64_t cr4;

    m->facts->cpuid(0, 0, r);
    basic = r[0];
    m->facts->cpuid(0x80000000, 0, r);
    extended = r[0];
    m->facts->cpuid(1, 0, r);
    m->has_rdrand = (r[2] & CPUID1_ECX_RDRAND) != 0;
    if (basic >= 7) {
        m->facts->cpuid(7, 0, r);
        m->has_la57 = (r[2] & CPUID7_ECX_LA57) != 0;
    }
    if (extended >= 0x80000001) {
        m->facts->cpuid(0x80000001, 0, r);
        m->has_nx = (r[3] & CPUID81_EDX_NX) != 0;
    }
    __asm__ volatile("movq %%cr4, %0" : "=r"(cr4));
    m->la57_on = (cr4 & CR4_LA57) != 0;
}

/* The configuration table with this GUID, or 0. */
static uint64_t main_find_table(const struct machine *m, const EFI_GUID *guid)
{
    struct report_table t;

    for (uint32_t i = 0; m->facts->table(i, &t); i++) {
        if (memcmp(t.guid, guid, sizeof(t.guid)) == 0) {
            return t.address;
        }
    }
    return 0;
}

static void main_look_at_tables(struct machine *m)
{
    static CHAR16 secure_boot[] = L"SecureBoot";
    uint8_t on = 0;

    m->system_table = (uintptr_t)st;
    m->rsdp = main_find_table(m, &acpi20_guid);
    if (m->rsdp == 0) {
        m->rsdp = main_find_table(m, &acpi10_guid);
    }
    m->smbios = main_find_table(m, &smbios3_guid);
    if (m->smbios == 0) {
        m->smbios = main_find_table(m, &smbios_guid);
    }
    m->memory_attributes = main_find_table(m, &memory_attributes_guid);
    m->firmware_revision = st->FirmwareRevision;
    m->uefi_revision = st->Hdr.Revision;
    m->firmware_vendor = st->FirmwareVendor;
    m->secure_boot = !fw_failed(m->facts->variable(secure_boot, &on)) && on == 1;
}

/* The screen that firmware's console is on; if that one cannot be drawn in (a console spread over
 * two screens has no memory of its own), the first that can. */
static void main_look_at_screens(struct machine *m)
{
    struct screen_mode modes[FACTS_MAX_SCREENS];
    uint32_t n = m->facts->screens(modes, FACTS_MAX_SCREENS);

    for (uint32_t i = 0; i < n && i < FACTS_MAX_SCREENS; i++) {
        if (screen_usable(&modes[i], &m->fb)) {
            break;
        }
    }
}

EFI_STATUS EFIAPI efi_main(EFI_HANDLE image, EFI_SYSTEM_TABLE *system_table)
{
    struct machine m = { .tsc_start = main_tsc() };
    EFI_STATUS s;

    self = image;
    st = system_table;
    bs = st->BootServices;
    (void)bs->SetWatchdogTimer(0, 0, 0, NULL);
    s = bs->HandleProtocol(image, &loaded_image_guid, (void **)&loaded);
    if (EFI_ERROR(s)) {
        fw_say(&main_fw,
               "plat: loaded image: firmware does not say where Plat is, %s; update the "
               "firmware\n",
               fw_status_name(s));
        return s;
    }
    m.kernel = plat_kernel_elf;
    m.kernel_bytes = (uint64_t)(plat_kernel_elf_end - plat_kernel_elf);
    m.stub_base = (uintptr_t)loaded->ImageBase;
    m.stub_bytes = fw_round_up(loaded->ImageSize, STUB_PAGE);
    m.jump_code = (uintptr_t)plat_jump;
    m.jump_bytes = (uint64_t)(plat_jump_end - (const unsigned char *)plat_jump);
    m.stack = (uintptr_t)__builtin_frame_address(0);
    m.load_options = loaded->LoadOptions;
    m.load_options_bytes = loaded->LoadOptionsSize;
    m.facts = facts_uefi(st);
    main_fw.files = files_uefi(bs, loaded->DeviceHandle);
    main_fw.console = console_uefi(st);
    main_look_at_cpu(&m);
    main_look_at_tables(&m);
    main_look_at_screens(&m);

    s = handover_run(&main_fw, &m);
    if (EFI_ERROR(s)) {
        (void)bs->Stall(PAUSE_US);
    }
    return s;
}
