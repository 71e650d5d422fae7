/*
 * files.h - what the stub asks of the volume that it was loaded from, as a table of functions
 * beside that of firmware.h, for the same reason: a host test can play it.
 *
 * Model:    EFI_SIMPLE_FILE_SYSTEM_PROTOCOL and EFI_FILE_PROTOCOL, with the names and results of C
 * and nothing decided. Paths are ASCII, parted by '\', and taken from a directory that is open.
 * Names are compared as the volume does it; on FAT the case of letters is no difference.
 * Files:    whatever is open was opened under root(), so that all of it belongs to one volume: a
 * stick that is changed in between gives FW_MEDIA_CHANGED, and never the other stick.
 * Source:   UEFI 2.10, 13.4 (the volume) and 13.5 (files).
 */
#ifndef EFI_FILES_H
#define EFI_FILES_H

#include "firmware.h"

#define FW_BAD_BUFFER_SIZE  FW_ERROR(4)
#define FW_VOLUME_CORRUPTED FW_ERROR(10)
#define FW_MEDIA_CHANGED    FW_ERROR(13)
#define FW_ACCESS_DENIED    FW_ERROR(15)

struct fw_file; /* an open file or directory */

enum fw_open {
    FW_OPEN_READ,
    FW_OPEN_WRITE,    /* and read */
    FW_OPEN_CREATE,   /* the same; made if it is not there. One that is there keeps its contents. */
    FW_OPEN_MAKE_DIR, /* a directory, made if it is not there */
};

/* Code units of a name, with the NUL: VFAT's 255 and room for what is longer elsewhere. */
#define FW_FILE_NAME_UNITS 512

struct fw_file_info {
    uint64_t nbytes;
    bool is_directory;
    uint16_t name[FW_FILE_NAME_UNITS]; /* any 16-bit units, ended by a NUL; cut off if need be */
};

struct fw_volume_info {
    bool is_read_only;
    uint64_t nbytes;
    uint64_t free_bytes;  /* as far as firmware knows */
    uint32_t block_bytes; /* by which files grow; any number */
};

/* What one of these functions gives is set on FW_SUCCESS only, `*nbytes` excepted. */
struct fw_files {
    /* The directory at the top. UNSUPPORTED: what the stub came from is no file system. */
    fw_status_t (*root)(struct fw_file **root);
    fw_status_t (*volume)(struct fw_file *root, struct fw_volume_info *info);
    fw_status_t (*open)(struct fw_file *from, const char *path, enum fw_open how,
                        struct fw_file **f);

    /* The next thing in a directory that was opened for reading, "." and ".." included; FW_SUCCESS
     * with an empty name at the end. */
    fw_status_t (*next)(struct fw_file *directory, struct fw_file_info *info);
    fw_status_t (*info)(struct fw_file *f, struct fw_file_info *info);

    /* From where the last one ended; in: how much, at most FW_READ_MAX; out: how much it was. */
    fw_status_t (*read)(struct fw_file *f, void *to, uint64_t *nbytes);
    fw_status_t (*write)(struct fw_file *f, const void *from, uint64_t *nbytes);
    fw_status_t (*flush)(struct fw_file *f);

    /* Another name in the same directory. Not every firmware can. */
    fw_status_t (*rename)(struct fw_file *f, const char *name);

    /* The handle is gone after either, whatever the status. Anything but FW_SUCCESS: the file, or
     * the directory that is not empty, is still there. */
    fw_status_t (*remove)(struct fw_file *f);
    fw_status_t (*close)(struct fw_file *f);
};

/*
 * The table for the volume on `device`, an EFI_HANDLE: that of EFI_LOADED_IMAGE_PROTOCOL. NULL if
 * that is NULL. `boot_services` is an EFI_BOOT_SERVICES *. In uefi_files.c, of which there is one.
 */
const struct fw_files *files_uefi(void *boot_services, void *device);

#endif
