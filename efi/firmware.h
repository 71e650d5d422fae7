/*
 * firmware.h - what the stub asks of firmware, as a small table of functions, and what it was told
 * about the machine. All decisions of the stub are written against these two, so that a host test
 * can play firmware; main.c and uefi_*.c fill them from UEFI. No other file sees a UEFI header.
 *
 * Model:    addresses are physical and identity mapped, as UEFI 2.10 2.3.4 promises for x64: a
 * physical address is a pointer. Every size is in bytes unless it is called npages (of 4 KiB).
 * Calling convention: the functions of the table have the one of the build (main.c wraps UEFI's).
 * Context:  one processor, TPL_APPLICATION, until exit() has succeeded; after that only tsc(),
 * reset() and jump() may be called.
 */
#ifndef EFI_FIRMWARE_H
#define EFI_FIRMWARE_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "plat/boot.h"

struct fw_console;   /* console.h */
struct fw_files;     /* files.h */
struct facts_source; /* facts.h */

#define STUB_PAGE UINT64_C(4096)

/* EFI_STATUS, UEFI 2.10 appendix D: 0, or a number with the top bit set. */
typedef uint64_t fw_status_t;
#define FW_ERROR(n)          (UINT64_C(1) << 63 | (n))
#define FW_SUCCESS           UINT64_C(0)
#define FW_LOAD_ERROR        FW_ERROR(1)
#define FW_INVALID_PARAMETER FW_ERROR(2)
#define FW_UNSUPPORTED       FW_ERROR(3)
#define FW_BUFFER_TOO_SMALL  FW_ERROR(5)
#define FW_NOT_READY         FW_ERROR(6)
#define FW_DEVICE_ERROR      FW_ERROR(7)
#define FW_WRITE_PROTECTED   FW_ERROR(8)
#define FW_OUT_OF_RESOURCES  FW_ERROR(9)
#define FW_VOLUME_FULL       FW_ERROR(11)
#define FW_NO_MEDIA          FW_ERROR(12)
#define FW_NOT_FOUND         FW_ERROR(14)
#define FW_TIMEOUT           FW_ERROR(18)

/* The largest single read of a file: more in one call breaks the handle on some firmware. */
#define FW_READ_MAX UINT64_C(0x100000)

/* In and out of get_map(), as UEFI 2.10 7.2.3 has it; `bytes` and `nbytes` say where to put it. */
struct fw_map {
    void *bytes;
    uint64_t nbytes; /* in: room; out: bytes written, or needed if the status is BUFFER_TOO_SMALL */
    uint64_t key;
    uint64_t stride; /* preset by the caller: not every firmware fills it in */
    uint32_t version;
};

/* Where to go after the exit: see jump.S. */
struct fw_jump {
    uint64_t root;       /* page-table root for CR3 */
    uint64_t entry;      /* of the kernel, virtual */
    uint64_t boot_va;    /* struct plat_boot, virtual */
    uint64_t low_pml4;   /* tables for the way from four to five levels, else 0 */
    uint64_t trampoline; /* a page below 4 GiB for it, else 0 */
    uint64_t nx;         /* 1: turn EFER.NXE on */
};

struct fw {
    /* LoaderData, contents undefined, wholly at or below address `max`; *pa only on success. */
    fw_status_t (*alloc_pages)(uint64_t npages, uint64_t max, uint64_t *pa);
    /* Any part of what alloc_pages() gave. */
    fw_status_t (*free_pages)(uint64_t pa, uint64_t npages);
    fw_status_t (*get_map)(struct fw_map *m);
    fw_status_t (*exit)(uint64_t key);

    /* ASCII, lines end in '\n'. */
    void (*print)(const char *text);

    /* \plat\plat.conf on the volume that the stub came from. One open file at a time. */
    fw_status_t (*conf_open)(void);
    fw_status_t (*conf_read)(void *to, uint64_t *nbytes); /* *nbytes 0: the end */
    void (*conf_close)(void);

    /* EFI_RNG_PROTOCOL, or NOT_FOUND; RDRAND once, false when it has no number. */
    fw_status_t (*rng)(void *to, uint64_t nbytes);
    bool (*rdrand)(uint64_t *v);
    uint64_t (*tsc)(void);

    void (*reset)(void);                       /* does not return on a machine */
    void (*jump)(const struct fw_jump *where); /* likewise */

    /* Restart into firmware's own set-up screens (UEFI 2.10 8.5.4, OsIndications): the one thing
     * for which a variable is written. Returns only if that failed; UNSUPPORTED if firmware has no
     * such way, which setup_is_there() says beforehand. */
    fw_status_t (*setup)(void);
    bool (*setup_is_there)(void);

    const struct fw_console *console; /* NULL: there is none */
    const struct fw_files *files; /* of the volume that the stub came from; NULL: there is none */
};

/* What was found out about the machine before anything was decided. Borrowed. */
struct machine {
    const void *kernel; /* the ELF file inside the stub's image */
    uint64_t kernel_bytes;
    uint64_t stub_base; /* the stub's PE image */
    uint64_t stub_bytes;
    uint64_t jump_code; /* jump.S in it, which must stay executable while CR3 changes */
    uint64_t jump_bytes;
    uint64_t stack; /* an address in the stack that firmware gave us */

    bool has_nx;
    bool has_la57;
    bool la57_on; /* firmware runs with five levels already */
    bool has_rdrand;

    const void *load_options;
    uint64_t load_options_bytes;

    uint64_t system_table;
    uint64_t rsdp;
    uint64_t smbios;
    uint64_t memory_attributes;
    uint32_t firmware_revision;
    uint32_t uefi_revision;
    const uint16_t *firmware_vendor; /* UTF-16, NUL-terminated, or NULL */
    bool secure_boot;
    struct plat_framebuffer fb;
    uint64_t tsc_start;
    const struct facts_source *facts; /* where the rest is to be found; NULL: nowhere */
};

static inline bool fw_failed(fw_status_t s)
{
    return s != FW_SUCCESS && (s >> 63) != 0;
}

static inline void *fw_pointer(uint64_t pa)
{
    return (void *)(uintptr_t)pa;
}

static inline uint64_t fw_round_up(uint64_t n, uint64_t align)
{
    return (n + align - 1) & ~(align - 1);
}

/* "Invalid Parameter": never NULL. */
const char *fw_status_name(fw_status_t s);

/*
 * Print, as printf does with %s, %u, %llu, %llx and %%; other conversions are printed as they
 * stand. A text of more than 300 characters is cut. Only before exit() has been tried.
 */
__attribute__((format(printf, 2, 3))) void fw_say(const struct fw *fw, const char *format, ...);
__attribute__((format(printf, 2, 0))) void fw_vsay(const struct fw *fw, const char *format,
                                                   va_list args);

#endif
