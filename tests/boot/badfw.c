/*
 * badfw.c - plays misbehaving firmware on a real one: a UEFI program that spoils GetMemoryMap() and
 * ExitBootServices() in the ways of real machines, and then starts Plat, \plat\real.efi on its own
 * volume.
 *
 * \plat\badfw.conf says which faults, as words:
 *   map     the map gets descriptors of every bad kind, and is turned upside down
 *   stale=N the first N calls of ExitBootServices say INVALID_PARAMETER, stale=0 all of them
 *   grow    each size query is short by one descriptor, three times
 *   unset   DescriptorSize and version are left as they were on BUFFER_TOO_SMALL
 *   overrun GetMemoryMap writes 16 bytes past the end of the buffer that it was given
 */
#include <efi.h>
#undef __attribute__ /* gnu-efi 3.0.15 defines it away for this target */

#include <stdbool.h>

#define NEXTRA 13u

EFI_STATUS efi_main(EFI_HANDLE image, EFI_SYSTEM_TABLE *st);
void *memcpy(void *restrict dst, const void *restrict src, size_t n);
void *memset(void *dst, int byte, size_t n);

static EFI_SYSTEM_TABLE *system_table;
static EFI_GET_MEMORY_MAP real_get_map;
static EFI_EXIT_BOOT_SERVICES real_exit;

static bool fault_map, fault_grow, fault_unset, fault_overrun;
static UINTN stale_left;
static UINTN grown;

/* The compiler calls these by itself. */
void *memcpy(void *restrict dst, const void *restrict src, size_t n)
{
    __asm__ volatile("rep movsb" : "+D"(dst), "+S"(src), "+c"(n) : : "memory");
    return dst;
}

void *memset(void *dst, int byte, size_t n)
{
    void *at = dst;

    __asm__ volatile("rep stosb" : "+D"(at), "+c"(n) : "a"(byte) : "memory");
    return dst;
}

static void say(const CHAR16 *text)
{
    system_table->ConOut->OutputString(system_table->ConOut, (CHAR16 *)text);
}

static EFI_MEMORY_DESCRIPTOR *at(void *map, UINTN stride, UINTN i)
{
    return (EFI_MEMORY_DESCRIPTOR *)((char *)map + stride * i);
}

/* Descriptors as real machines have shown them, behind the true ones. */
static UINTN spoil(EFI_MEMORY_DESCRIPTOR *map, UINTN n, UINTN stride)
{
    static const EFI_MEMORY_DESCRIPTOR bad[] = {
        { EfiBootServicesData, 0, 0, 0, 0, 0xf },                     /* no pages, at 0 */
        { EfiReservedMemoryType, 0, 0, 0, 0, 0 },                     /* again */
        { EfiConventionalMemory, 0, 0xfffffffffffff000, 0, 16, 0xf }, /* wraps */
        { EfiConventionalMemory, 0, 0x1000, 0, 0xffffffffffffffff, 0xf },
        { EfiRuntimeServicesData, 0, 0x7f1e88180, 0, 3,
          EFI_MEMORY_RUNTIME | 0xf }, /* not page aligned */
        { EfiMemoryMappedIO, 0, 0x3f8000000000, 0, 0x100,
          0x800000000000100d },                     /* MMIO far up, "WB" */
        { 0x80000001, 0, 0x7f2000000, 0, 16, 0xf }, /* an OS type */
        { 0x70000001, 0, 0x7f3000000, 0, 16, 0xf }, /* an OEM type */
        { 15, 0, 0x7f4000000, 0, 16, 0xf },         /* unaccepted */
        { EfiReservedMemoryType, 0, 0x7f5000000, 0, 16, EFI_MEMORY_RUNTIME }, /* Apple */
        { EfiReservedMemoryType, 0, 0xa0000, 0, 0x60, 0 },
        /* RAM above all that QEMU's processors can address (40 bits), within the direct map */
        { EfiConventionalMemory, 0, 0x3f0000000000, 0, 16, 0xf },
    };
    UINTN nbad = sizeof(bad) / sizeof(bad[0]);

    _Static_assert(sizeof(bad) / sizeof(bad[0]) + 1 == NEXTRA, "room is kept for all of them");
    for (UINTN i = 0; i < nbad; i++) {
        memset(at(map, stride, n + i), 0, stride);
        *at(map, stride, n + i) = bad[i];
    }
    /* Usable memory on top of the first ACPI NVS or runtime region. */
    memset(at(map, stride, n + nbad), 0, stride);
    for (UINTN i = 0; i < n; i++) {
        EFI_MEMORY_DESCRIPTOR *d = at(map, stride, i);

        if (d->Type == EfiACPIMemoryNVS || d->Type == EfiRuntimeServicesData) {
            *at(map, stride, n + nbad) = *d;
            at(map, stride, n + nbad)->Type = EfiConventionalMemory;
            at(map, stride, n + nbad)->Attribute = 0xf;
            break;
        }
    }
    n += nbad + 1;
    for (UINTN i = 0; i < n / 2; i++) {
        char swap[256];

        memcpy(swap, at(map, stride, i), stride);
        memcpy(at(map, stride, i), at(map, stride, n - 1 - i), stride);
        memcpy(at(map, stride, n - 1 - i), swap, stride);
    }
    return n;
}

static EFI_STATUS EFIAPI bad_get_map(UINTN *nbytes, EFI_MEMORY_DESCRIPTOR *map, UINTN *key,
                                     UINTN *stride, UINT32 *version)
{
    UINTN room = *nbytes, need = *nbytes, s = 0;
    UINT32 v = 0;
    EFI_STATUS status = real_get_map(&need, map, key, &s, &v);
    UINTN extra = fault_map ? NEXTRA * s : 0;

    if (status == EFI_BUFFER_TOO_SMALL || need + extra > room) {
        *nbytes = need + extra;
        if (fault_grow && grown < 3) {
            grown++;
            *nbytes -= s; /* what it took is not what it said it would take */
        }
        if (!fault_unset) {
            *stride = s;
            *version = v;
        }
        return EFI_BUFFER_TOO_SMALL;
    }
    *nbytes = need;
    *stride = s;
    *version = v;
    if (!EFI_ERROR(status)) {
        if (fault_map) {
            *nbytes = spoil(map, need / s, s) * s;
        }
        if (fault_overrun) {
            memset((char *)map + room, 0xee, 16);
        }
    }
    return status;
}

static EFI_STATUS EFIAPI bad_exit(EFI_HANDLE image, UINTN key)
{
    if (stale_left > 0) {
        stale_left--;
        return EFI_INVALID_PARAMETER;
    }
    return real_exit(image, key);
}

/* Does `text` hold `word`? */
static const char *find(const char *text, const char *word)
{
    for (; *text != '\0'; text++) {
        UINTN i = 0;

        while (word[i] != '\0' && text[i] == word[i]) {
            i++;
        }
        if (word[i] == '\0') {
            return text + i;
        }
    }
    return NULL;
}

static void configure(const char *text)
{
    const char *stale = find(text, "stale=");

    fault_map = find(text, "map") != NULL;
    fault_grow = find(text, "grow") != NULL;
    fault_unset = find(text, "unset") != NULL;
    fault_overrun = find(text, "overrun") != NULL;
    for (; stale != NULL && *stale >= '0' && *stale <= '9'; stale++) {
        stale_left = stale_left * 10 + (UINTN)(*stale - '0');
    }
    if (find(text, "stale=0") != NULL) {
        stale_left = ~(UINTN)0;
    }
}

static EFI_STATUS read_file(EFI_FILE_PROTOCOL *root, CHAR16 *path, void *to, UINTN *nbytes)
{
    EFI_FILE_PROTOCOL *f;
    EFI_STATUS status = root->Open(root, &f, path, EFI_FILE_MODE_READ, 0);

    if (!EFI_ERROR(status)) {
        status = f->Read(f, nbytes, to);
        f->Close(f);
    }
    return status;
}

EFI_STATUS efi_main(EFI_HANDLE image, EFI_SYSTEM_TABLE *st)
{
    static const EFI_GUID loaded_guid = EFI_LOADED_IMAGE_PROTOCOL_GUID;
    static const EFI_GUID fs_guid = EFI_SIMPLE_FILE_SYSTEM_PROTOCOL_GUID;
    static char conf[256];
    EFI_BOOT_SERVICES *bs = st->BootServices;
    EFI_LOADED_IMAGE_PROTOCOL *self, *other;
    EFI_SIMPLE_FILE_SYSTEM_PROTOCOL *fs;
    EFI_FILE_PROTOCOL *root;
    EFI_HANDLE plat;
    UINTN nbytes = sizeof(conf) - 1;
    void *file;

    system_table = st;
    if (EFI_ERROR(bs->HandleProtocol(image, (EFI_GUID *)&loaded_guid, (void **)&self)) ||
        EFI_ERROR(bs->HandleProtocol(self->DeviceHandle, (EFI_GUID *)&fs_guid, (void **)&fs)) ||
        EFI_ERROR(fs->OpenVolume(fs, &root)) ||
        EFI_ERROR(read_file(root, L"\\plat\\badfw.conf", conf, &nbytes))) {
        say(L"badfw: no \\plat\\badfw.conf\r\n");
        return EFI_NOT_FOUND;
    }
    configure(conf);
    nbytes = 8 << 20;
    if (EFI_ERROR(bs->AllocatePool(EfiLoaderData, nbytes, &file)) ||
        EFI_ERROR(read_file(root, L"\\plat\\real.efi", file, &nbytes)) ||
        EFI_ERROR(bs->LoadImage(FALSE, image, NULL, file, nbytes, &plat)) ||
        EFI_ERROR(bs->HandleProtocol(plat, (EFI_GUID *)&loaded_guid, (void **)&other))) {
        say(L"badfw: can't load \\plat\\real.efi\r\n");
        return EFI_LOAD_ERROR;
    }
    bs->FreePool(file);
    other->DeviceHandle = self->DeviceHandle;
    real_get_map = bs->GetMemoryMap;
    real_exit = bs->ExitBootServices;
    bs->GetMemoryMap = bad_get_map;
    bs->ExitBootServices = bad_exit;
    say(L"badfw: starting Plat\r\n");
    return bs->StartImage(plat, NULL, NULL);
}
