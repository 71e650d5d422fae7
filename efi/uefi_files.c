/*
 * uefi_files.c - the functions of files.h by EFI_SIMPLE_FILE_SYSTEM_PROTOCOL and EFI_FILE_PROTOCOL.
 *
 * The protocol is asked for at every root(): a stick that was taken out and put back has another.
 */
#include <efi.h>
#undef __attribute__ /* gnu-efi 3.0 defines it away on this target */

#include "bytes.h"
#include "files.h"

#define PATH_UNITS        128u
#define FILE_INFO_BYTES   offsetof(EFI_FILE_INFO, FileName)
#define VOLUME_INFO_BYTES offsetof(EFI_FILE_SYSTEM_INFO, VolumeLabel)

/* EFI_FILE_INFO with room for the name that is its end. */
union file_info {
    EFI_FILE_INFO info;
    unsigned char room[FILE_INFO_BYTES + FW_FILE_NAME_UNITS * sizeof(CHAR16)];
};

static EFI_BOOT_SERVICES *bs;
static EFI_HANDLE volume_handle;

static EFI_GUID file_system_guid = EFI_SIMPLE_FILE_SYSTEM_PROTOCOL_GUID;
static EFI_GUID file_info_guid = EFI_FILE_INFO_ID;
static EFI_GUID volume_info_guid = EFI_FILE_SYSTEM_INFO_ID;

static EFI_FILE_HANDLE handle_of(struct fw_file *f)
{
    return (EFI_FILE_HANDLE)(void *)f;
}

/* False if it does not fit. */
static bool widen(CHAR16 *to, size_t room, const char *text)
{
    size_t n = 0;

    for (; text[n] != '\0' && n < room - 1; n++) {
        to[n] = (CHAR16)text[n];
    }
    to[n] = 0;
    return text[n] == '\0';
}

static fw_status_t files_root(struct fw_file **root)
{
    EFI_FILE_IO_INTERFACE *volume = NULL;
    EFI_FILE_HANDLE h = NULL;
    EFI_STATUS s = bs->HandleProtocol(volume_handle, &file_system_guid, (void **)&volume);

    if (!EFI_ERROR(s)) {
        s = volume->OpenVolume(volume, &h);
    }
    if (s == EFI_SUCCESS) {
        *root = (struct fw_file *)(void *)h;
    }
    return s;
}

static fw_status_t files_volume(struct fw_file *root, struct fw_volume_info *info)
{
    union {
        EFI_FILE_SYSTEM_INFO info;
        unsigned char room[VOLUME_INFO_BYTES + FW_FILE_NAME_UNITS * sizeof(CHAR16)];
    } u;
    UINTN nbytes = sizeof(u);
    EFI_STATUS s = handle_of(root)->GetInfo(handle_of(root), &volume_info_guid, &nbytes, &u);

    if (s == EFI_SUCCESS) {
        *info = (struct fw_volume_info){
            .is_read_only = u.info.ReadOnly != FALSE,
            .nbytes = u.info.VolumeSize,
            .free_bytes = u.info.FreeSpace,
            .block_bytes = u.info.BlockSize,
        };
    }
    return s;
}

static fw_status_t files_open(struct fw_file *from, const char *path, enum fw_open how,
                              struct fw_file **f)
{
    static const UINT64 modes[] = {
        [FW_OPEN_READ] = EFI_FILE_MODE_READ,
        [FW_OPEN_WRITE] = EFI_FILE_MODE_READ | EFI_FILE_MODE_WRITE,
        [FW_OPEN_CREATE] = EFI_FILE_MODE_READ | EFI_FILE_MODE_WRITE | EFI_FILE_MODE_CREATE,
        [FW_OPEN_MAKE_DIR] = EFI_FILE_MODE_READ | EFI_FILE_MODE_WRITE | EFI_FILE_MODE_CREATE,
    };
    EFI_FILE_HANDLE h = NULL;
    CHAR16 wide[PATH_UNITS];
    EFI_STATUS s;

    if (!widen(wide, PATH_UNITS, path)) {
        return FW_INVALID_PARAMETER;
    }
    s = handle_of(from)->Open(handle_of(from), &h, wide, modes[how],
                              how == FW_OPEN_MAKE_DIR ? EFI_FILE_DIRECTORY : 0);
    if (s == EFI_SUCCESS) {
        *f = (struct fw_file *)(void *)h;
    }
    return s;
}

/* From `nbytes` of what firmware wrote into *u, which began as zeros. */
static void take_info(const union file_info *u, UINTN nbytes, struct fw_file_info *info)
{
    size_t room = nbytes < sizeof(*u) ? nbytes : sizeof(*u);
    size_t units = room > FILE_INFO_BYTES ? (room - FILE_INFO_BYTES) / 2 : 0;

    units = units < FW_FILE_NAME_UNITS ? units : FW_FILE_NAME_UNITS - 1;
    info->nbytes = u->info.FileSize;
    info->is_directory = (u->info.Attribute & EFI_FILE_DIRECTORY) != 0;
    memcpy(info->name, u->room + FILE_INFO_BYTES, units * sizeof(CHAR16));
    info->name[units] = 0;
}

static fw_status_t files_next(struct fw_file *directory, struct fw_file_info *info)
{
    union file_info u;
    UINTN nbytes = sizeof(u);
    EFI_STATUS s;

    memset(&u, 0, sizeof(u));
    s = handle_of(directory)->Read(handle_of(directory), &nbytes, &u);
    if (s == EFI_SUCCESS) {
        take_info(&u, nbytes, info); /* at the end: 0 bytes, and so no name */
    }
    return s;
}

static fw_status_t files_info(struct fw_file *f, struct fw_file_info *info)
{
    union file_info u;
    UINTN nbytes = sizeof(u);
    EFI_STATUS s;

    memset(&u, 0, sizeof(u));
    s = handle_of(f)->GetInfo(handle_of(f), &file_info_guid, &nbytes, &u);
    if (s == EFI_SUCCESS) {
        take_info(&u, nbytes, info);
    }
    return s;
}

static fw_status_t files_read(struct fw_file *f, void *to, uint64_t *nbytes)
{
    UINTN n = *nbytes;
    EFI_STATUS s = handle_of(f)->Read(handle_of(f), &n, to);

    *nbytes = n;
    return s;
}

static fw_status_t files_write(struct fw_file *f, const void *from, uint64_t *nbytes)
{
    UINTN n = *nbytes;
    EFI_STATUS s = handle_of(f)->Write(handle_of(f), &n, (void *)(uintptr_t)from);

    *nbytes = n;
    return s;
}

static fw_status_t files_flush(struct fw_file *f)
{
    return handle_of(f)->Flush(handle_of(f));
}

/*
 * All but the name is set to what it is. Times of zero are left alone (UEFI 2.10 13.5.16): a driver
 * may refuse those that it gave itself, on a machine whose clock is wrong.
 */
static fw_status_t files_rename(struct fw_file *f, const char *name)
{
    union file_info u;
    UINTN nbytes = sizeof(u);
    EFI_STATUS s;
    CHAR16 *wide = (CHAR16 *)(void *)(u.room + FILE_INFO_BYTES);
    size_t n = 0;

    memset(&u, 0, sizeof(u));
    s = handle_of(f)->GetInfo(handle_of(f), &file_info_guid, &nbytes, &u);
    if (s != EFI_SUCCESS) {
        return s;
    }
    if (!widen(wide, FW_FILE_NAME_UNITS, name)) {
        return FW_INVALID_PARAMETER;
    }
    while (wide[n] != 0) {
        n++;
    }
    memset(&u.info.CreateTime, 0, sizeof(u.info.CreateTime));
    memset(&u.info.LastAccessTime, 0, sizeof(u.info.LastAccessTime));
    memset(&u.info.ModificationTime, 0, sizeof(u.info.ModificationTime));
    u.info.Size = FILE_INFO_BYTES + (n + 1) * sizeof(CHAR16);
    return handle_of(f)->SetInfo(handle_of(f), &file_info_guid, u.info.Size, &u);
}

static fw_status_t files_remove(struct fw_file *f)
{
    return handle_of(f)->Delete(handle_of(f)); /* EFI_WARN_DELETE_FAILURE is no success, either */
}

static fw_status_t files_close(struct fw_file *f)
{
    return handle_of(f)->Close(handle_of(f));
}

static const struct fw_files uefi_table = {
    .root = files_root,
    .volume = files_volume,
    .open = files_open,
    .next = files_next,
    .info = files_info,
    .read = files_read,
    .write = files_write,
    .flush = files_flush,
    .rename = files_rename,
    .remove = files_remove,
    .close = files_close,
};

const struct fw_files *files_uefi(void *boot_services, void *device)
{
    bs = boot_services;
    volume_handle = device;
    return device != NULL ? &uefi_table : NULL;
}
