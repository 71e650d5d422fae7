/*
 * stub_fw.c - see stub_fw.h.
 *
 * The fake RAM is mapped where the stub will see it, as physical addresses are pointers to it.
 * Below 4 GiB, so that AllocateMaxAddress can be honoured, and low enough to lie in the lowest part
 * of the address space that ASan leaves to programs. Pages are handed out from the top, as EDK II
 * does.
 */
#include "stub_fw.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define PAGES STUB_RAM_PAGES

struct stub_fw stub_fw;

static bool mapped;
static unsigned char used[PAGES];
static uint64_t key;
static uint64_t key_of_last_map;
static bool quiet;      /* from a map that may be the last to the exit: nothing else may happen */
static bool exit_tried; /* only get_map, exit, print and reset from now on */
static uint32_t grown;
static uint64_t conf_at;
static uint64_t clock_now;

void stub_fw_reset(void)
{
    for (unsigned i = 0; i < 2; i++) {
        void *at = fw_pointer(i == 0 ? STUB_RAM : STUB_RAM_HIGH);

        if (!mapped &&
            mmap(at, PAGES * (size_t)4096, PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0) != at) {
            abort();
        }
        (void)madvise(at, PAGES * (size_t)4096, MADV_DONTNEED);
    }
    mapped = true;
    memset(used, 0, sizeof(used));
    key = 1000;
    key_of_last_map = 0;
    quiet = exit_tried = false;
    grown = 0;
    conf_at = 0;
    clock_now = 0;
    stub_fw = (struct stub_fw){
        .free_pages = PAGES,
        .fail_alloc = STUB_NEVER,
        .fail_free = STUB_NEVER,
        .map_error_at = STUB_NEVER,
        .overrun_at = 0,
        .stride = 48,
        .conf_error_at = STUB_NEVER,
        .rng_error = FW_NOT_FOUND,
    };
}

static uint64_t ram(void)
{
    return stub_fw.no_low_memory ? STUB_RAM_HIGH : STUB_RAM;
}

static void violated(const char *what)
{
    if (stub_fw.violation == NULL) {
        stub_fw.violation = what;
    }
}

static void boot_service(const char *what)
{
    if (stub_fw.exited || exit_tried) {
        violated(what);
    }
}

static fw_status_t stub_alloc(uint64_t npages, uint64_t max, uint64_t *pa)
{
    uint32_t run = 0;

    boot_service("alloc_pages after an exit was tried");
    quiet = false;
    if (stub_fw.nallocs++ == stub_fw.fail_alloc) {
        return FW_OUT_OF_RESOURCES;
    }
    if (stub_fw.zero_allocs > 0) {
        stub_fw.zero_allocs--;
        stub_fw.live_pages += (int64_t)npages;
        key++;
        *pa = 0;
        return FW_SUCCESS;
    }
    for (uint32_t i = stub_fw.free_pages; i > 0; i--) {
        run = used[i - 1] || ram() + i * UINT64_C(4096) - 1 > max ? 0 : run + 1;
        if (run == npages) {
            memset(used + i - 1, 1, npages);
            stub_fw.live_pages += (int64_t)npages;
            key++;
            *pa = ram() + (i - 1) * UINT64_C(4096);
            memset(fw_pointer(*pa), 0xcc, npages * 4096);
            return FW_SUCCESS;
        }
    }
    return FW_OUT_OF_RESOURCES;
}

static fw_status_t stub_free(uint64_t pa, uint64_t npages)
{
    boot_service("free_pages after an exit was tried");
    quiet = false;
    if (stub_fw.nfrees++ == stub_fw.fail_free) {
        return FW_NOT_FOUND;
    }
    if (pa % 4096 != 0 || npages == 0) {
        violated("free_pages of nothing");
        return FW_INVALID_PARAMETER;
    }
    if (pa >= ram()) { /* else a block at page 0, which has no memory behind it */
        for (uint64_t i = 0; i < npages; i++) {
            uint64_t page = (pa - ram()) / 4096 + i;

            if (page >= PAGES || !used[page]) {
                violated("free_pages of what is not allocated");
                return FW_NOT_FOUND;
            }
            used[page] = 0;
        }
    }
    stub_fw.live_pages -= (int64_t)npages;
    key++;
    return FW_SUCCESS;
}

uint32_t stub_fw_descs(struct stub_desc *to, uint32_t max)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < stub_fw.nextra && n < max; i++) {
        to[n++] = stub_fw.extra[i];
    }
    for (uint32_t i = 0, j; i < PAGES && n < max; i = j) {
        unsigned type = i >= stub_fw.free_pages ? 4 : used[i] ? 2 : 7;

        for (j = i; j < PAGES && (j >= stub_fw.free_pages ? 4 : used[j] ? 2u : 7u) == type; j++) {
        }
        to[n++] = (struct stub_desc){ type, 0, ram() + i * UINT64_C(4096), 0, j - i, 0xf };
    }
    for (uint32_t i = 0; i < grown && n < max; i++) {
        to[n++] = (struct stub_desc){ 0, 0, 0xf0000000 + i * UINT64_C(8192), 0, 1, 1 };
    }
    return n;
}

static fw_status_t stub_get_map(struct fw_map *m)
{
    static struct stub_desc descs[STUB_MAX_DESCS];
    uint32_t call = stub_fw.nmaps++;
    uint64_t room = m->nbytes;
    uint32_t n;

    if (stub_fw.exited) {
        violated("get_map after the exit");
    }
    if (call >= stub_fw.map_error_at) {
        return stub_fw.map_error;
    }
    grown += call >= stub_fw.grow_at ? stub_fw.grow : 0;
    n = stub_fw_descs(descs, STUB_MAX_DESCS);
    m->nbytes = n * stub_fw.stride;
    if (m->nbytes > room) {
        return FW_BUFFER_TOO_SMALL; /* stride left alone on purpose: U-Boot */
    }
    for (uint32_t i = 0; i < n; i++) {
        unsigned char *at = (unsigned char *)m->bytes + i * stub_fw.stride;

        memset(at, 0xee, stub_fw.stride);
        memcpy(at, &descs[i],
               stub_fw.stride < sizeof(descs[i]) ? stub_fw.stride : sizeof(descs[i]));
    }
    if (call >= stub_fw.overrun_at) {
        memset((unsigned char *)m->bytes + room, 0x77, stub_fw.overrun);
    }
    if (!stub_fw.leave_stride) {
        m->stride = stub_fw.stride;
        m->version = 1;
    }
    if (stub_fw.lie_nbytes != 0) {
        m->nbytes = stub_fw.lie_nbytes;
    }
    key += stub_fw.key_restless;
    m->key = key_of_last_map = key;
    quiet = true;
    return FW_SUCCESS;
}

static fw_status_t stub_exit(uint64_t k)
{
    stub_fw.nexits++;
    exit_tried = true;
    if (!quiet) {
        violated("something happened between the map and the exit");
    }
    if (k != key_of_last_map || k != key) {
        violated("exit with a key that is not the last map's");
    }
    if (stub_fw.stale > 0) {
        stub_fw.stale -= stub_fw.stale != STUB_NEVER;
        grown += stub_fw.grow_after_exit;
        key++; /* a callback allocated */
        return FW_INVALID_PARAMETER;
    }
    if (stub_fw.exit_error != FW_SUCCESS) {
        return stub_fw.exit_error;
    }
    stub_fw.exited = true;
    return FW_SUCCESS;
}

static void stub_print(const char *text)
{
    size_t have = strlen(stub_fw.said);

    if (stub_fw.exited) {
        violated("print after the exit");
    }
    quiet = false;
    key++; /* the console allocates to print */
    strncat(stub_fw.said, text, sizeof(stub_fw.said) - have - 1);
}

static fw_status_t stub_conf_open(void)
{
    boot_service("conf_open after an exit was tried");
    if (stub_fw.conf_open_error != FW_SUCCESS) {
        return stub_fw.conf_open_error;
    }
    if (stub_fw.conf == NULL) {
        return FW_NOT_FOUND;
    }
    stub_fw.conf_is_open = true;
    conf_at = 0;
    return FW_SUCCESS;
}

static fw_status_t stub_conf_read(void *to, uint64_t *nbytes)
{
    uint64_t n = stub_fw.conf_bytes - conf_at;

    if (!stub_fw.conf_is_open) {
        violated("read of a file that is not open");
    }
    if (*nbytes > stub_fw.largest_read) {
        stub_fw.largest_read = *nbytes;
    }
    if (stub_fw.nreads++ == stub_fw.conf_error_at) {
        return FW_DEVICE_ERROR;
    }
    if (stub_fw.conf_lies) {
        *nbytes += 1;
        return FW_SUCCESS;
    }
    n = n < *nbytes ? n : *nbytes;
    n = stub_fw.conf_chunk != 0 && n > stub_fw.conf_chunk ? stub_fw.conf_chunk : n;
    memcpy(to, (const char *)stub_fw.conf + conf_at, n);
    conf_at += n;
    *nbytes = n;
    return FW_SUCCESS;
}

static void stub_conf_close(void)
{
    if (!stub_fw.conf_is_open) {
        violated("close of a file that is not open");
    }
    stub_fw.conf_is_open = false;
}

static fw_status_t stub_rng(void *to, uint64_t nbytes)
{
    boot_service("rng after an exit was tried");
    for (uint64_t i = 0; stub_fw.rng_error == FW_SUCCESS && i < nbytes; i++) {
        ((unsigned char *)to)[i] = stub_fw.rng_constant ? 0 : (unsigned char)(i * 37 + 11);
    }
    return stub_fw.rng_error;
}

static bool stub_rdrand(uint64_t *v)
{
    static uint64_t n;

    if (stub_fw.rdrand_misses > 0) {
        stub_fw.rdrand_misses -= stub_fw.rdrand_misses != STUB_NEVER;
        return false;
    }
    *v = stub_fw.rdrand_constant ? UINT64_MAX : ++n * UINT64_C(0x9e3779b97f4a7c15);
    return true;
}

static uint64_t stub_tsc(void)
{
    clock_now += UINT64_C(1) << 30;
    return clock_now;
}

static void stub_reset(void)
{
    stub_fw.nresets++;
}

static void stub_jump(const struct fw_jump *j)
{
    if (!stub_fw.exited) {
        violated("jump before the exit");
    }
    stub_fw.njumps++;
    stub_fw.jump = *j;
}

static bool stub_setup_is_there(void)
{
    return false;
}

static fw_status_t stub_setup(void)
{
    boot_service("setup after an exit was tried");
    return FW_UNSUPPORTED;
}

const struct fw stub_fw_table = {
    .alloc_pages = stub_alloc,
    .free_pages = stub_free,
    .get_map = stub_get_map,
    .exit = stub_exit,
    .print = stub_print,
    .conf_open = stub_conf_open,
    .conf_read = stub_conf_read,
    .conf_close = stub_conf_close,
    .rng = stub_rng,
    .rdrand = stub_rdrand,
    .tsc = stub_tsc,
    .reset = stub_reset,
    .jump = stub_jump,
    .setup = stub_setup,
    .setup_is_there = stub_setup_is_there,
};

/* ---- a small kernel ------------------------------------------------------------------------- */

static void put(unsigned char *at, uint64_t v, unsigned nbytes)
{
    for (unsigned i = 0; i < nbytes; i++) {
        at[i] = (unsigned char)(v >> 8 * i);
    }
}

static void put_program(unsigned char *at, uint32_t type, uint32_t flags, uint64_t offset,
                        uint64_t filesz, uint64_t memsz)
{
    put(at + 0, type, 4);
    put(at + 4, flags, 4);
    put(at + 8, offset, 8);
    put(at + 16, 0xffffffff80000000 + offset, 8);
    put(at + 24, 0xffffffff80000000 + offset, 8);
    put(at + 32, filesz, 8);
    put(at + 40, memsz, 8);
    put(at + 48, 4096, 8);
}

/*
 *  0000  header, program headers from 0040; relocations at 0400; R, 0x500 bytes
 *  1000  code, entry at 1010; RX, 0x200 bytes
 *  2000  data: two pointers to relocate at 2000 and, in .bss, at 2ff8; dynamic section at 2080;
 *        RW, 0x200 bytes of file, 0x1800 of memory
 */
void stub_elf_make(unsigned char elf[STUB_ELF_BYTES])
{
    static const unsigned char ident[] = { 0x7f, 'E', 'L', 'F', 2, 1, 1 };
    unsigned char *p = elf + 0x40;

    memset(elf, 0, STUB_ELF_BYTES);
    memcpy(elf, ident, sizeof(ident));
    put(elf + 16, 3, 2);  /* ET_DYN */
    put(elf + 18, 62, 2); /* x86-64 */
    put(elf + 20, 1, 4);
    put(elf + 24, 0xffffffff80001010, 8); /* entry */
    put(elf + 32, 0x40, 8);               /* program headers */
    put(elf + 52, 64, 2);
    put(elf + 54, 56, 2);
    put(elf + 56, 5, 2);
    put_program(p + 0 * 56, 1, 4, 0, 0x500, 0x500);
    put_program(p + 1 * 56, 1, 5, 0x1000, 0x200, 0x200);
    put_program(p + 2 * 56, 1, 6, 0x2000, 0x200, 0x1800);
    put_program(p + 3 * 56, 2, 6, 0x2080, 0x80, 0x80);
    put_program(p + 4 * 56, 0x6474e551, 6, 0, 0, 0); /* PT_GNU_STACK */

    put(elf + 0x400, 0xffffffff80002000, 8);
    put(elf + 0x408, 8, 8);
    put(elf + 0x410, 0xffffffff80000123, 8);
    put(elf + 0x418, 0xffffffff80002ff8, 8);
    put(elf + 0x420, 8, 8);
    put(elf + 0x428, 0xffffffff80003800, 8);

    memset(elf + 0x1000, 0xc3, 0x200);
    memset(elf + 0x2000, 0x5a, 0x80);
    put(elf + 0x2080, 7, 8); /* DT_RELA */
    put(elf + 0x2088, 0xffffffff80000400, 8);
    put(elf + 0x2090, 8, 8); /* DT_RELASZ */
    put(elf + 0x2098, 48, 8);
    put(elf + 0x20a0, 9, 8); /* DT_RELAENT */
    put(elf + 0x20a8, 24, 8);
    put(elf + 0x20b0, 0x6ffffff9, 8); /* DT_RELACOUNT, which nobody needs */
    put(elf + 0x20b8, 2, 8);
}
