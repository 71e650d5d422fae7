/*
 * test_mapfile.c - memory maps out of texts and dumps of every kind, whole and damaged.
 *
 *     test_mapfile                the tests
 *     test_mapfile --write DIR    the texts as files, for scripts/fuzz
 *
 * The texts are made up in the shape of what systems print. What each must give is restated by hand
 * for some descriptors; then every text is cut at every byte, loses every line, and has every
 * character of its numbers changed: an error must come out of it, or the whole map, or a map that
 * is not said to be whole. Files of collected maps are read if there are any, in
 * ../shared/firmware/maps or where PLAT_MAPS in the environment says, and what comes out is
 * compared with a count of lines.
 */
#include <ctype.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "host_port.h"
#include "host_rng.h"
#include "mm/mapfile.h"

#define MAX_DESCS 4096
#define RUN       0x8000000000000000ull

/* ---- reading --------------------------------------------------------------------------------- */

static struct efi_memory_descriptor descs[MAX_DESCS];
static uint32_t lines[MAX_DESCS];
static struct mapfile file;

/* The input lies in a block of its own size, so that a byte read behind it is noticed. */
static mm_err_t read_bytes(const void *bytes, size_t n, uint32_t which)
{
    char *copy = malloc(n);
    mm_err_t err;

    assert_true(n == 0 || copy != NULL);
    if (n > 0) {
        memcpy(copy, bytes, n);
    }
    err = mapfile_read(&file, copy, n, which, descs, lines, MAX_DESCS);
    free(copy);
    return err;
}

static mm_err_t read_text(const char *text)
{
    return read_bytes(text, strlen(text), 0);
}

static void assert_good(mm_err_t err, enum mapfile_format format, uint32_t n)
{
    if (err != MM_OK) {
        print_error("error %d, line %u: %s\n", err, file.line, file.message);
    }
    assert_int_equal(err, MM_OK);
    assert_int_equal(file.format, format);
    assert_int_equal(file.ndescs, n);
    assert_int_equal(file.line, 0);
    assert_string_equal(file.message, "");
}

static void assert_desc(uint32_t i, uint32_t type, uint64_t start, uint64_t pages, uint64_t attr,
                        uint32_t line)
{
    assert_int_equal(descs[i].type, type);
    assert_int_equal(descs[i].pad, 0);
    assert_int_equal(descs[i].physical_start, start);
    assert_int_equal(descs[i].number_of_pages, pages);
    assert_int_equal(descs[i].attribute, attr);
    assert_int_equal(lines[i], line);
}

/* An error at `line` whose message has `part` in it. */
static void assert_damaged_bytes(const void *bytes, size_t n, uint32_t line, const char *part)
{
    mm_err_t err = read_bytes(bytes, n, 0);

    if (err != MM_EINVAL || file.line != line || strstr(file.message, part) == NULL) {
        print_error("error %d, line %u: %s\nbut expected: line %u: %s\n", err, file.line,
                    file.message, line, part);
        fail();
    }
    assert_true(strlen(file.message) < sizeof(file.message) - 1);
}

static void assert_damaged(const char *text, uint32_t line, const char *part)
{
    assert_damaged_bytes(text, strlen(text), line, part);
}

static void assert_nothing(const void *bytes, size_t n)
{
    assert_int_equal(read_bytes(bytes, n, 0), MM_ENOENT);
    assert_int_equal(file.format, MAPFILE_NONE);
    assert_true(strlen(file.message) > 0);
}

/* `text` with the first `old` in it replaced. The result lives until the next call but three. */
static const char *with(const char *text, const char *old, const char *new)
{
    static char buf[4][16384];
    static unsigned turn;
    char *out = buf[turn++ % 4];
    const char *at = strstr(text, old);

    assert_non_null(at);
    snprintf(out, sizeof(buf[0]), "%.*s%s%s", (int)(at - text), text, new, at + strlen(old));
    return out;
}

/* ---- texts ----------------------------------------------------------------------------------- */

static const char shell[] =
    "Type       Start            End              # Pages          Attributes\n"
    "BS_Code    0000000000000000-0000000000000FFF 0000000000000001 000000000000000F\n"
    "Available  0000000000001000-000000000009FFFF 000000000000009F 000000000000000F\n"
    "Available  0000000000100000-0000000000805FFF 0000000000000706 000000000000000F\n"
    "ACPI_NVS   0000000000806000-0000000000807FFF 0000000000000002 000000000000000F\n"
    "RT_Data    000000007F8EC000-000000007F9EBFFF 0000000000000100 800000000000000F\n"
    "70000001   000000007FA00000-000000007FA00FFF 0000000000000001 000000000000000F\n"
    "Reserved   00000000B0000000-00000000BFFFFFFF 0000000000010000 0000000000000001\n"
    "MMIO       00000000FFC00000-00000000FFFFFFFF 0000000000000400 8000000000000001\n"
    "  Reserved  :         65,536 Pages (268,435,456 Bytes)\n"
    "  LoaderCode:              0 Pages (0 Bytes)\n"
    "  LoaderData:              0 Pages (0 Bytes)\n"
    "  BS_Code   :              1 Pages (4,096 Bytes)\n"
    "  BS_Data   :              0 Pages (0 Bytes)\n"
    "  RT_Code   :              0 Pages (0 Bytes)\n"
    "  RT_Data   :            256 Pages (1,048,576 Bytes)\n"
    "  ACPI_Recl :              0 Pages (0 Bytes)\n"
    "  ACPI_NVS  :              2 Pages (8,192 Bytes)\n"
    "  MMIO      :          1,024 Pages (4,194,304 Bytes)\n"
    "  MMIO_Port :              0 Pages (0 Bytes)\n"
    "  PalCode   :              0 Pages (0 Bytes)\n"
    "  Unaccepted:              0 Pages (0 Bytes)\n"
    "  Available :          1,957 Pages (8,015,872 Bytes)\n"
    "  Persistent:              0 Pages (0 Bytes)\n"
    "  70000001  :              1 Pages (4,096 Bytes)\n"
    "              --------------\n"
    "Total Memory:              8 MB (9,080,832 Bytes)\n";
#define SHELL_ROWS 8

static const char shell_no_totals[] =
    "FS0:\\> memmap\n"
    "Type       Start            End              # Pages          Attributes\n"
    "Reserved   0000000000000000-00000000001CFFFF 00000000000001D0 000000000000000E\n"
    "RT_Data    00000000001D0000-00000000001EFFFF 0000000000000020 800000000000000E\n"
    "Available  0000000000200000-000000003368FFFF 0000000000033490 000000000000000E\n";

static const char sfo[] =
    "ShellCommand,\"memmap\"\n"
    "MemoryMap,\"Available\",\"0\",\"9FFFF\",\"A0\",\"F\"\n"
    "MemoryMap,\"BootServiceData\",\"100000\",\"3FFFFFFF\",\"3FF00\",\"F\"\n"
    "MemoryMap,\"Unaccepted\",\"40000000\",\"7FF12FFF\",\"3FF13\",\"F\"\n"
    "MemoryMap,\"RuntimeData\",\"7FFFE000\",\"80000FFF\",\"3\",\"800000000000000F\"\n"
    "MemoryMap,\"MemoryMappedIO\",\"FFC00000\",\"FFFFFFFF\",\"400\",\"8000000000000001\"\n"
    "MemoryMapSummary,\"2146131968\",\"0\",\"0\",\"1072693248\",\"0\",\"12288\",\"0\",\"0\","
    "\"655360\","
    "\"4194304\",\"0\",\"0\",\"0\",\"0\",\"0\",\"1072771072\", \"0\"\n";
#define SFO_ROWS 5

static const char linux_numbers[] = "[    0.000000] Linux version 3.10.0 (builder@host) #1 SMP\n"
                                    "[    0.000000] efi: EFI v2.70 by American Megatrends\n"
                                    "[    0.000000] efi: mem00: type=3, attr=0xf, "
                                    "range=[0x0000000000000000-0x0000000000008000) (0MB)\n"
                                    "[    0.000000] efi: mem01: type=7, attr=0xf, "
                                    "range=[0x0000000000100000-0x000000003c058000) (959MB)\n"
                                    "[    0.000000] efi: mem02: type=0, attr=0x0, "
                                    "range=[0x0000000000000000-0x0000000000000000) (0MB)\n"
                                    "[    0.000000] efi: mem03: type=1879048193, attr=0xf, "
                                    "range=[0x0000000100000000-0x000000804f100000) (521457MB)\n"
                                    "[    0.000000] efi: mem04: type=11, attr=0x8000000000000001, "
                                    "range=[0x0000038090000000-0x00000380a0400000) (260MB)\n"
                                    "[    0.000000] DMI: a board\n";
#define LINUX_NUMBERS 5

static const char linux_old[] =
    "EFI v1.10 by Apple\n"
    "EFI: mem00: type=7, attr=0xf, range=[0x0000000000000000-0x000000000008b000) (0MB)\n"
    "EFI: mem01: type=2, attr=0xf, range=[0x000000000008b000-0x000000000008f000) (0MB)\n";

/* Words, exclusive and inclusive ends, and the prefixes of journals and consoles. */
static const char linux_words[] =
    "Nov 21 13:00:01 host kernel: efi: mem00: [Boot Code          |   |  |  |  |  |   "
    "|WB|WT|WC|UC] "
    "range=[0x0000000000000000-0x0000000000001000) (0MB)\n"
    "Nov 21 13:00:01 host kernel: efi: mem01: [Conventional Memory|   |  |  |  |  |   "
    "|WB|WT|WC|UC] "
    "range=[0x0000000000001000-0x00000000000a0000) (0MB)\n"
    "kern  :info  : [    0.000000][    T0] efi: mem02: [Memory Mapped I/O  "
    "|RUN|  |  |  |  |   |  |  |  |UC] range=[0x00000000fed1c000-0x00000000fed20000) (0MB)\n"
    "<6>[    0.000000] efi: mem03: [Runtime Code|RUN|  |MR|CC|SP|NV|XP|RP|WP|RO|UCE|WB|WT|WC|UC] "
    "range=[0x00000000ffc00000-0x00000000ffffffff] (4MB)\n"
    "<6>[    0.000000] efi: mem04: [ACPI Mem NVS|attr=0x0010000000000008] "
    "range=[0x0000000100000000-0x00000001000fffff] (1MB)\n"
    "<6>[    0.000000] efi: mem05: [type=2147483648|   |  |  |  |  |   |WB|  |  |  ] "
    "range=[0x0000000000000000-0xffffffffffffffff] (0MB)\n"
    "<6>[    0.000000] efi: Remove mem03: MMIO range=[0xffc00000-0xffffffff] (4MB) from e820 map\n";

static const char linux_plain[] =
    "[    0.000000] Booting Linux on physical CPU 0x0000000000 [0x481fd010]\n"
    "[    0.000000] Linux version 6.1.0 (gcc on x86_64, for aarch64) riscv64\n"
    "[    0.000000] Machine: aarch64\n"
    "[    0.000000] efi: Processing EFI memory map:\n"
    "[    0.000000] efi:   0x00005fff0000-0x00005fffefff [Conventional|   |  |  |WB|WT|WC|  ]\n"
    "[    0.000000] efi:   0x082080000000-0x08247fffffff [Conventional|   |  |MR|WB|WT|WC|  ]\n"
    "[    0.000000] efi:   0x0842bf380000-0x0842c21effff [Loader Code |   |  |  |WB|WT|WC|  ]*\n"
    "[    0.000000] efi:   0x0004002c0000-0x0004002cffff [MMIO        |RUN|  |  |  |  |  |UC]\n"
    "[    0.000000] NUMA: a node\n";

static const char e820_new[] =
    "[    0.000000] BIOS-provided physical RAM map:\n"
    "[    0.000000] BIOS-e820: [mem 0x0000000000000000-0x000000000009fbff] usable\n"
    "[    0.000000] BIOS-e820: [mem 0x000000000009fc00-0x000000000009ffff] reserved\n"
    "[    0.000000] BIOS-e820: [mem 0x0000000000100000-0x00000000bffd9fff] usable\n"
    "[    0.000000] BIOS-e820: [mem 0x00000000bffda000-0x00000000bfffffff] ACPI data\n"
    "[    0.000000] BIOS-e820: [mem 0x00000000c0000000-0x00000000c0000fff] ACPI NVS\n"
    "[    0.000000] BIOS-e820: [mem 0x00000000d0000000-0x00000000d0000fff] type 20\n"
    "[    0.000000] BIOS-e820: [mem 0x0000000100000000-0x000000013fffffff] persistent (type 7)\n"
    "[    0.000000] BIOS-e820: [mem 0x0000000140000000-0x000000017fffffff] soft reserved\n"
    "[    0.000000] NX (Execute Disable) protection: active\n";

static const char e820_old[] = "BIOS-provided physical RAM map:\n"
                               " BIOS-e820: 0000000000000000 - 000000000009fc00 (usable)\n"
                               " BIOS-e820: 00000000000f0000 - 0000000000100000 (reserved)\n"
                               " BIOS-e820: 0000000000100000 - 000000003fff0000 (usable)\n"
                               " BIOS-e820: 000000003fff0000 - 000000003fff3000 (ACPI data)\n"
                               "0MB HIGHMEM available.\n";

static const char e820_gaps[] =
    "BIOS-provided physical RAM map:\n"
    "BIOS-e820: [mem 0x0000000000000000-0x000000000009efff]  636   KB System RAM\n"
    "BIOS-e820: [mem 0x000000000009f000-0x00000000000fffff]  device reserved\n"
    "BIOS-e820: [mem 0x0000000000100000-0x000000007ffdbfff]    1.9 GB kernel usable RAM\n"
    "BIOS-e820: [gap 0x000000007ffdc000-0x00000000febfffff]\n"
    "BIOS-e820: [gap 0x00000000fec00000-0x00000000fec0ffff]  64 KB ...\n"
    "BIOS-e820: [mem 0x00000000ffc00000-0x00000000ffffffff]  device reserved\n"
    "NX (Execute Disable) protection: active\n";

static const char freebsd[] =
    "---<<BOOT>>---\n"
    "                   Type     Physical      Virtual   #Pages Attr\n"
    "         MemoryMappedIO 000001e88180 000001e88180 00000001 RUNTIME\n"
    "     ConventionalMemory 000080000000 000080000000 00007efa WB \n"
    "       BootServicesData 000087efa000 000087efa000 0000000c UC WC WT WB \n"
    "    RuntimeServicesData 0000f6b27000 0000f6b27000 00000001 WB MORE_RELIABLE RUNTIME\n"
    "             LoaderData 2002177eb3000 2002177eb3000 00008001 WB \n"
    "FreeBSD 14.0-CURRENT GENERIC arm64\n";

static const char freebsd_amd64[] =
    "Nov 21 13:00:01 host kernel:                    Type     Physical      Virtual   #Pages Attr\n"
    "Nov 21 13:00:01 host kernel:      ConventionalMemory 000000001000            0 0000009f UC WC "
    "\n"
    "Nov 21 13:00:01 host kernel:     RuntimeServicesCode 000000100000 0xfffff80000100000 00000100 "
    "WB XP RUNTIME\n"
    "Nov 21 13:00:01 host kernel: real memory  = 17179869184 (16384 MB)\n";

static const char sysfs[] = "/sys/firmware/memmap/0/end:0x9fbff\n"
                            "/sys/firmware/memmap/0/start:0x0\n"
                            "/sys/firmware/memmap/0/type:System RAM\n"
                            "/sys/firmware/memmap/1/end:0x9ffff\n"
                            "/sys/firmware/memmap/1/start:0x9fc00\n"
                            "/sys/firmware/memmap/1/type:Reserved\n"
                            "/sys/firmware/memmap/10/end:0xffffffff\n"
                            "/sys/firmware/memmap/10/start:0xfffc0000\n"
                            "/sys/firmware/memmap/10/type:Unknown E820 type\n"
                            "/sys/firmware/memmap/2/end:0x7fffffff\n"
                            "/sys/firmware/memmap/2/start:0x100000\n"
                            "/sys/firmware/memmap/2/type:System RAM\n"
                            "/sys/firmware/memmap/3/type:ACPI Tables\n"
                            "/sys/firmware/memmap/3/start:0x80000000\n"
                            "/sys/firmware/memmap/3/end:0x80000fff\n"
                            "/sys/firmware/memmap/4/end:0x80001fff\n"
                            "/sys/firmware/memmap/4/start:0x80001000\n"
                            "/sys/firmware/memmap/4/type:ACPI Non-volatile Storage\n"
                            "/sys/firmware/memmap/5/end:0x80002fff\n"
                            "/sys/firmware/memmap/6/end:0x80003fff\n"
                            "/sys/firmware/memmap/7/end:0x80004fff\n"
                            "/sys/firmware/memmap/8/end:0x80005fff\n"
                            "/sys/firmware/memmap/9/end:0x800063ff\n"
                            "/sys/firmware/memmap/5/start:0x80002000\n"
                            "/sys/firmware/memmap/6/start:0x80003000\n"
                            "/sys/firmware/memmap/7/start:0x80004000\n"
                            "/sys/firmware/memmap/8/start:0x80005000\n"
                            "/sys/firmware/memmap/9/start:0x80006100\n"
                            "/sys/firmware/memmap/5/type:Unusable memory\n"
                            "/sys/firmware/memmap/6/type:Persistent Memory\n"
                            "/sys/firmware/memmap/7/type:Persistent Memory (legacy)\n"
                            "/sys/firmware/memmap/8/type:Soft Reserved\n"
                            "/sys/firmware/memmap/9/type:System RAM\n";

static const char runtime_map[] = "/sys/firmware/efi/runtime-map/0/attribute:0x800000000000000f\n"
                                  "/sys/firmware/efi/runtime-map/0/num_pages:0x100\n"
                                  "/sys/firmware/efi/runtime-map/0/phys_addr:0x7f8ec000\n"
                                  "/sys/firmware/efi/runtime-map/0/type:0x6\n"
                                  "/sys/firmware/efi/runtime-map/0/virt_addr:0xfffffffeffed2000\n"
                                  "/sys/firmware/efi/runtime-map/1/attribute:0x8000000000000001\n"
                                  "/sys/firmware/efi/runtime-map/1/num_pages:0x400\n"
                                  "/sys/firmware/efi/runtime-map/1/phys_addr:0xffc00000\n"
                                  "/sys/firmware/efi/runtime-map/1/type:0xb\n"
                                  "/sys/firmware/efi/runtime-map/1/virt_addr:0xfffffffeff800000\n";

static const char runtime_map_tail[] = "==> 0/attribute <==\n0x800000000000000f\n\n"
                                       "==> 0/num_pages <==\n0x100\n\n"
                                       "==> 0/phys_addr <==\n0x7f8ec000\n\n"
                                       "==> 0/type <==\n0x6\n\n"
                                       "==> 0/virt_addr <==\n0xfffffffeffed2000\n";

static const char sysfs_tail[] = "==> /sys/firmware/memmap/0/end <==\n0x9fbff\n\n"
                                 "==> /sys/firmware/memmap/0/start <==\n0x0\n\n"
                                 "==> /sys/firmware/memmap/0/type <==\nSystem RAM\n";

static const struct {
    const char *name;
    const char *text;
    enum mapfile_format format;
    uint32_t n;
    bool whole;
} texts[] = {
    { "shell", shell, MAPFILE_SHELL, SHELL_ROWS, true },
    { "shell, no totals", shell_no_totals, MAPFILE_SHELL, 3, false },
    { "-sfo", sfo, MAPFILE_SFO, SFO_ROWS, true },
    { "linux, numbers", linux_numbers, MAPFILE_LINUX_EFI, LINUX_NUMBERS, true },
    { "linux, 2.6", linux_old, MAPFILE_LINUX_EFI, 2, false },
    { "linux, words", linux_words, MAPFILE_LINUX_EFI, 6, true },
    { "linux, plain", linux_plain, MAPFILE_LINUX_EFI, 4, true },
    { "e820", e820_new, MAPFILE_E820, 8, true },
    { "e820, 2.6", e820_old, MAPFILE_E820, 4, true },
    { "e820, gaps", e820_gaps, MAPFILE_E820, 4, true },
    { "freebsd", freebsd, MAPFILE_FREEBSD, 5, true },
    { "freebsd, amd64", freebsd_amd64, MAPFILE_FREEBSD, 2, true },
    { "sysfs", sysfs, MAPFILE_SYSFS_MAP, 10, false },
    { "sysfs, tail", sysfs_tail, MAPFILE_SYSFS_MAP, 1, false },
    { "runtime-map", runtime_map, MAPFILE_RUNTIME_MAP, 2, false },
    { "runtime-map, tail", runtime_map_tail, MAPFILE_RUNTIME_MAP, 1, false },
};

/* ---- what is read ---------------------------------------------------------------------------- */

static void test_every_text(void **state)
{
    (void)state;
    for (size_t i = 0; i < MM_COUNTOF(texts); i++) {
        assert_good(read_text(texts[i].text), texts[i].format, texts[i].n);
        assert_int_equal(file.nmaps, 1);
        assert_int_equal(file.also, 0);
        if (file.whole != texts[i].whole) {
            fail_msg("%s: whole is wrong", texts[i].name);
        }
        assert_int_equal(file.stride, 0);
    }
}

static void test_shell(void **state)
{
    (void)state;
    assert_good(read_text(shell), MAPFILE_SHELL, SHELL_ROWS);
    assert_desc(0, 3, 0, 1, 0xf, 2);
    assert_desc(2, 7, 0x100000, 0x706, 0xf, 4);
    assert_desc(4, 6, 0x7f8ec000, 0x100, RUN | 0xf, 6);
    assert_desc(5, 0x70000001, 0x7fa00000, 1, 0xf, 7);
    assert_desc(7, 11, 0xffc00000, 0x400, RUN | 1, 9);
    assert_int_equal(file.attr_known, UINT64_MAX);
    assert_false(file.virt_known);
    assert_int_equal(file.arch, MAPFILE_ARCH_UNKNOWN);

    /* The first shells: other spellings, another total. */
    assert_good(
        read_text("Type      Start            End               # Pages             Attributes\n"
                  "available 0000000000000000-0000000000000FFF  0000000000000001 000000000000000F\n"
                  "BS_code   0000000000001000-0000000000001FFF  0000000000000001 000000000000000F\n"
                  "ACPI_recl 0000000000002000-0000000000002FFF  0000000000000001 000000000000000F\n"
                  "MemMapIO  0000000000003000-0000000000003FFF  0000000000000001 8000000000000001\n"
                  "  reserved  :              0 Pages (0)\n"
                  "  BS_code   :              1 Pages (4,096)\n"
                  "  available :              1 Pages (4,096)\n"
                  "Total Memory: 0 MB (16,384) Bytes\n"),
        MAPFILE_SHELL, 4);
    assert_true(file.whole);
    assert_desc(2, 9, 0x2000, 1, 0xf, 4);

    /* What firmware itself got wrong is not the text's fault. */
    assert_good(
        read_text(
            "Type       Start            End              # Pages          Attributes\r\n"
            "Reserved   0000000000000000-FFFFFFFFFFFFFFFF 0000000000000000 0000000000000000\r\n"
            "Available  FFFFFFFFFFFFF000-0000000000000FFF 0000000000000002 000000000000000F\r\n"),
        MAPFILE_SHELL, 2);
    assert_desc(0, 0, 0, 0, 0, 2);
    assert_desc(1, 7, 0xfffffffffffff000, 2, 0xf, 3);
}

static void test_sfo(void **state)
{
    (void)state;
    assert_good(read_text(sfo), MAPFILE_SFO, SFO_ROWS);
    assert_desc(0, 7, 0, 0xa0, 0xf, 2);
    assert_desc(2, 15, 0x40000000, 0x3ff13, 0xf, 4);
    assert_desc(4, 11, 0xffc00000, 0x400, RUN | 1, 6);
    assert_int_equal(file.attr_known, UINT64_MAX);
}

static void test_linux_efi(void **state)
{
    (void)state;
    assert_good(read_text(linux_numbers), MAPFILE_LINUX_EFI, LINUX_NUMBERS);
    assert_desc(0, 3, 0, 8, 0xf, 3);
    assert_desc(2, 0, 0, 0, 0, 5);
    assert_desc(3, 0x70000001, 0x100000000, 0x7f4f100, 0xf, 6);
    assert_desc(4, 11, 0x38090000000, 0x10400, RUN | 1, 7);
    assert_int_equal(file.arch, MAPFILE_ARCH_X86);
    assert_int_equal(file.attr_known, UINT64_MAX);

    /* Other lines in between: that one stands behind the last says nothing then. */
    assert_good(read_text(with(linux_numbers, "[    0.000000] efi: mem03",
                               "efi: memattr: Entry attributes invalid\n"
                               "efi: Remove mem03: MMIO range=[0xffc00000-0xffffffff] (4MB)\n"
                               "[    0.000000] efi: mem03")),
                MAPFILE_LINUX_EFI, LINUX_NUMBERS);
    assert_false(file.whole);

    assert_good(read_text(linux_words), MAPFILE_LINUX_EFI, 6);
    assert_desc(0, 3, 0, 1, 0xf, 1);
    assert_desc(1, 7, 0x1000, 0x9f, 0xf, 2);
    assert_desc(2, 11, 0xfed1c000, 4, RUN | 1, 3);
    assert_desc(3, 5, 0xffc00000, 0x400, RUN | 0xff01f, 4);
    assert_desc(4, 10, 0x100000000, 0x100, 0x0010000000000008, 5);
    assert_desc(5, 0x80000000, 0, 0, 8, 6);

    assert_good(read_text(linux_plain), MAPFILE_LINUX_EFI, 4);
    assert_desc(1, 7, 0x82080000000, 0x400000, 0x1000e, 6);
    assert_desc(2, 1, 0x842bf380000, 0x2e70, 0xe, 7);
    assert_desc(3, 11, 0x4002c0000, 0x10, RUN | 1, 8);
    assert_int_equal(file.attr_known, UINT64_MAX);
    assert_int_equal(file.arch, MAPFILE_ARCH_UNKNOWN); /* three are named */
    assert_good(read_text(with(linux_plain, "(gcc on x86_64, for aarch64) riscv64", "")),
                MAPFILE_LINUX_EFI, 4);
    assert_int_equal(file.arch, MAPFILE_ARCH_ARM64);

    /* The first kernels for arm64 print types alone. */
    assert_good(read_text("efi: Processing EFI memory map:\n"
                          "efi:   0x000080000000-0x00008007ffff [Conventional Memory]\n"
                          "efi:   0x000080080000-0x0000808effff [Loader Data]*\n"),
                MAPFILE_LINUX_EFI, 2);
    assert_int_equal(file.attr_known, 0);
    assert_false(file.whole);
}

static void test_e820(void **state)
{
    (void)state;
    assert_good(read_text(e820_new), MAPFILE_E820, 8);
    assert_desc(0, 7, 0, 0x9f, 0, 2);
    assert_desc(1, 0, 0x9f000, 1, 0, 3);
    assert_desc(3, 9, 0xbffda000, 0x26, 0, 5);
    assert_desc(4, 10, 0xc0000000, 1, 0, 6);
    assert_desc(5, 0, 0xd0000000, 1, 0, 7);
    assert_desc(6, 14, 0x100000000, 0x40000, 0, 8);
    assert_desc(7, 7, 0x140000000, 0x40000, 0x40000, 9);
    assert_int_equal(file.nrounded, 2);
    assert_int_equal(file.attr_known, 0x40000);
    assert_false(file.virt_known);
    assert_int_equal(file.arch, MAPFILE_ARCH_X86);

    assert_good(read_text(e820_old), MAPFILE_E820, 4);
    assert_desc(0, 7, 0, 0x9f, 0, 2);
    assert_desc(3, 9, 0x3fff0000, 3, 0, 5);
    assert_int_equal(file.attr_known, 0);
    assert_int_equal(file.nrounded, 1);

    assert_good(read_text(e820_gaps), MAPFILE_E820, 4);
    assert_desc(1, 0, 0x9f000, 0x61, 0, 3);
    assert_desc(3, 0, 0xffc00000, 0x400, 0, 7);

    /* Less than a page of RAM, and nothing at all, give no descriptor. */
    assert_good(read_text("BIOS-e820: 0000000000000000 - 0000000000000000 (usable)\n"
                          "BIOS-e820: 0000000000000400 - 0000000000000c00 (usable)\n"
                          "BIOS-e820: 0000000000000c00 - 0000000000001400 (usable)\n"
                          "BIOS-e820: 0000000000100000 - 0000000000100000 (reserved)\n"
                          "BIOS-88: 0000000000100000 - 0000000000200000 (usable)\n"),
                MAPFILE_E820, 1);
    assert_desc(0, 7, 0x100000, 0x100, 0, 5);
    assert_int_equal(file.nrounded, 4);
    assert_good(read_text("BIOS-e820: [mem 0xffffffffffffe800-0xffffffffffffffff] reserved\n"),
                MAPFILE_E820, 1);
    assert_desc(0, 0, 0xffffffffffffe000, 2, 0, 1);
}

static void test_freebsd(void **state)
{
    const uint64_t shown = 0x3f01f;

    (void)state;
    assert_good(read_text(freebsd), MAPFILE_FREEBSD, 5);
    assert_desc(0, 11, 0x1e88180, 1, RUN, 3);
    assert_desc(3, 6, 0xf6b27000, 1, RUN | 0x10008, 6);
    assert_desc(4, 2, 0x2002177eb3000, 0x8001, 8, 7);
    assert_int_equal(descs[4].virtual_start, 0x2002177eb3000);
    assert_true(file.virt_known);
    assert_int_equal(file.attr_known, RUN | shown);
    assert_int_equal(file.arch, MAPFILE_ARCH_ARM64);

    assert_good(read_text(freebsd_amd64), MAPFILE_FREEBSD, 2);
    assert_desc(0, 7, 0x1000, 0x9f, 3, 2);
    assert_int_equal(descs[0].virtual_start, 0);
    assert_desc(1, 5, 0x100000, 0x100, RUN | 0x4008, 3);
    assert_int_equal(descs[1].virtual_start, 0xfffff80000100000);

    /* The loader says nothing about RUNTIME. */
    assert_good(
        read_text("Type     Physical      Virtual   #Pages Attr\n"
                  "RuntimeServicesCode 000000100000 000000000000 00000100 UC WC WT WB MR\n"),
        MAPFILE_FREEBSD, 1);
    assert_desc(0, 5, 0x100000, 0x100, 0x1000f, 2);
    assert_int_equal(file.attr_known, shown);
    assert_false(file.whole);
}

static void test_sysfs(void **state)
{
    (void)state;
    assert_good(read_text(sysfs), MAPFILE_SYSFS_MAP, 10); /* one has no whole page */
    assert_desc(0, 7, 0, 0x9f, 0, 1);
    assert_desc(1, 0, 0x9f000, 1, 0, 4);
    assert_desc(2, 7, 0x100000, 0x7ff00, 0, 10);
    assert_desc(3, 9, 0x80000000, 1, 0, 13);
    assert_desc(4, 10, 0x80001000, 1, 0, 16);
    assert_desc(5, 8, 0x80002000, 1, 0, 19);
    assert_desc(6, 14, 0x80003000, 1, 0, 20);
    assert_desc(7, 14, 0x80004000, 1, 0, 21);
    assert_desc(8, 7, 0x80005000, 1, 0x40000, 22);
    assert_desc(9, 0, 0xfffc0000, 0x40, 0, 7);
    assert_int_equal(file.nrounded, 4);
    assert_int_equal(file.attr_known, 0x40000);

    assert_good(read_text("./0/type:System RAM\n./0/start:0x0\n./0/end:0xfff\n"), MAPFILE_SYSFS_MAP,
                1);
    assert_desc(0, 7, 0, 1, 0, 1);

    assert_good(read_text(runtime_map), MAPFILE_RUNTIME_MAP, 2);
    assert_desc(0, 6, 0x7f8ec000, 0x100, RUN | 0xf, 1);
    assert_desc(1, 11, 0xffc00000, 0x400, RUN | 1, 6);
    assert_int_equal(descs[1].virtual_start, 0xfffffffeff800000);
    assert_int_equal(file.attr_known, UINT64_MAX);
    assert_true(file.virt_known);
    assert_good(read_text(runtime_map_tail), MAPFILE_RUNTIME_MAP, 1);
    assert_desc(0, 6, 0x7f8ec000, 0x100, RUN | 0xf, 2);
    assert_good(read_text("0/type:0x5\n0/attribute:0x8000000000000000\n0/num_pages:0x1\n"
                          "0/phys_addr:0x0\n0/virt_addr:0x1000\n"),
                MAPFILE_RUNTIME_MAP, 1);

    /* Files of the same name elsewhere are not these. */
    assert_nothing("/sys/class/thing/0/type:Battery\n", 32);
    assert_nothing("type:Battery\nx0/type:7\n0/what:7\n", 33);
}

/* ---- encodings ------------------------------------------------------------------------------- */

static size_t to_utf16(unsigned char *out, const char *text, bool big)
{
    size_t n = 0;

    out[n++] = big ? 0xfe : 0xff;
    out[n++] = big ? 0xff : 0xfe;
    for (; *text != '\0'; text++) {
        if (*text == '\n') {
            out[n++] = big ? 0 : '\r';
            out[n++] = big ? '\r' : 0;
        }
        out[n++] = big ? 0 : (unsigned char)*text;
        out[n++] = big ? (unsigned char)*text : 0;
    }
    return n;
}

static void test_encodings(void **state)
{
    static unsigned char wide[16384];
    char text[16384];
    size_t n;

    (void)state;
    for (size_t i = 0; i < MM_COUNTOF(texts); i++) {
        for (int big = 0; big < 2; big++) {
            n = to_utf16(wide, texts[i].text, big != 0);
            assert_int_equal(read_bytes(wide, n, 0), MM_OK);
            assert_int_equal(file.ndescs, texts[i].n);
            assert_int_equal(file.whole, texts[i].whole);
        }
        snprintf(text, sizeof(text), "\xef\xbb\xbf%s", texts[i].text);
        assert_good(read_text(text), texts[i].format, texts[i].n);
    }
    n = to_utf16(wide, shell, false);
    assert_damaged_bytes(wide, n - 1, 27, "in the middle of a UTF-16 character");
    assert_damaged_bytes("\xff\xfe"
                         "A",
                         3, 1, "in the middle of a UTF-16 character");
    memcpy(wide + n, "\x42\x30\x42\x30\n\0", 6); /* not ASCII, behind the map */
    assert_good(read_bytes(wide, n + 6, 0), MAPFILE_SHELL, SHELL_ROWS);
    n = to_utf16(wide, "nothing of interest\n", true);
    assert_nothing(wide, n);
    memset(text, ' ', 1025);
    snprintf(text + 1025, sizeof(text) - 1025, "\n%s", shell_no_totals);
    n = to_utf16(wide, text, false);
    assert_good(read_bytes(wide, n, 0), MAPFILE_SHELL, 3);
    snprintf(text, sizeof(text), "%s%1025s\n", shell_no_totals, "x");
    n = to_utf16(wide, text, false);
    assert_damaged_bytes(wide, n, 6, "longer than 1024");

    /* As a serial line records it: colours and cursor positions. */
    snprintf(
        text, sizeof(text), "\x1b[2J\x1b[01;01H\x1b[37m\x1b[40m%s",
        with(with(shell, "Available", "\x1b[1mAvai\x1b[0mlable"), "\nReserved", "\n\x1b=Reserved"));
    assert_good(read_text(text), MAPFILE_SHELL, SHELL_ROWS);
    snprintf(text, sizeof(text), "\x1b[0m%1100s\n%s", "x", shell_no_totals);
    assert_good(read_text(text), MAPFILE_SHELL, 3);
    snprintf(text, sizeof(text), "%s\x1b[0m%1025s\n", shell_no_totals, "x");
    assert_damaged(text, 6, "longer than 1024");
    snprintf(text, sizeof(text), "%s%1025s\n", shell_no_totals, "x"); /* as it is, it may be */
    assert_good(read_text(text), MAPFILE_SHELL, 3);
    assert_nothing("\x1b", 1);
    assert_nothing("\x1b[", 2);
    assert_nothing("\x1b[0", 3);
}

/* ---- damage ---------------------------------------------------------------------------------- */

static void test_shell_damage(void **state)
{
    const char *half = "Available  0000000000001000-000000000009FFFF 0000000000000";

    (void)state;
    assert_damaged(with(shell, "0000000000805FFF", "0000000000806FFF"), 4, "contradict");
    assert_damaged(with(shell, "9F 000000000000000F\n", "9F 000000000000000\n"), 3, "no whole row");
    assert_damaged(with(shell, "9F 000000000000000F\n", "9F 000000000000000F 0\n"), 3,
                   "no whole row");
    assert_damaged(with(shell, "Available", "Avoilable"), 3, "unknown memory type");
    assert_damaged(with(shell, "0000000000001000-", "0000000000001000 "), 23, "have 1798 pages");
    assert_damaged(with(shell, "RT_Data    000000007F8EC000", "RT_Data    0000"), 6,
                   "no whole row");
    assert_damaged(with(shell,
                        "RT_Data    000000007F8EC000-000000007F9EBFFF 0000000000000100 "
                        "800000000000000F\n",
                        ""),
                   15, "have 0 pages");
    assert_damaged(with(shell,
                        "70000001   000000007FA00000-000000007FA00FFF 0000000000000001 "
                        "000000000000000F\n",
                        ""),
                   26, "9076736 bytes");
    assert_damaged(with(shell, "1,957 Pages", "1,958 Pages"), 23, "totals is cut off or damaged");
    assert_damaged(with(shell, "(4,096 Bytes)", "(4,096 By"), 13, "totals is cut off or damaged");
    assert_damaged(with(shell, "8 MB", "9 MB"), 27, "totals is cut off or damaged");
    assert_damaged(with(shell, "Total Memory:              8 MB (9,080,832 Bytes)\n", ""), 26,
                   "totals at the end of the table are cut off");
    assert_damaged(with(shell, "  LoaderCode:",
                        "Available  0000000000900000-0000000000900FFF 0000000000000001 "
                        "000000000000000F\n  LoaderCode:"),
                   11, "behind its totals");
    assert_damaged(with(shell_no_totals, "RT_Data ", "something else\nRT_Data "), 4,
                   "no row of it, and there are no totals");
    assert_good(read_text(with(shell, "RT_Data ", "Press ENTER to continue\nRT_Data ")),
                MAPFILE_SHELL, SHELL_ROWS); /* the totals agree */
    assert_damaged("Type Start End # Pages Attributes\nFS0:\\>\n", 2, "none of it is there");

    /* Without totals, cut at the end: in a number, in a name. */
    for (size_t n = 1; half[n] != '\0'; n++) {
        char text[1024];

        snprintf(text, sizeof(text), "%s%.*s", shell_no_totals, (int)n, half);
        assert_int_equal(read_text(text), MM_EINVAL);
        assert_int_equal(file.line, 6);
    }
    assert_nothing(shell + 71, sizeof(shell) - 72); /* no heading */
}

static void test_sfo_damage(void **state)
{
    (void)state;
    assert_damaged(with(sfo, "\"A0\"", "\"A1\""), 2, "contradict");
    assert_damaged(with(sfo, "\"A0\",\"F\"", "\"A0\",\"F"), 2, "no whole row");
    assert_damaged(with(sfo, "\"A0\",\"F\"", "\"A0\""), 2, "no whole row");
    assert_damaged(with(sfo, "\"A0\"", "\"XX\""), 2, "no whole row");
    assert_damaged(with(sfo, "Available", "Avail"), 2, "memory type");
    assert_damaged(with(sfo, "\"0\",\"0\",\"0\",\"1072771072\", \"0\"\n", ""), 7, "cut off");
    assert_damaged(with(sfo, "\"1072771072\", \"0\"\n", "\"1072771072\"\n"), 7, "17 columns");
    assert_damaged(with(sfo, "\"655360\"", "\"655361\""), 7, "of column 9 ");
    assert_damaged(with(sfo, "\"2146131968\"", "\"2146136064\""), 7, "4096 bytes of memory: use");
    assert_damaged(with(sfo, "\"2146131968\"", "\"2146127872\""), 7, "do not agree");
    assert_damaged(with(sfo,
                        "MemoryMap,\"RuntimeData\",\"7FFFE000\",\"80000FFF\",\"3\","
                        "\"800000000000000F\"\n",
                        ""),
                   6, "of column 6 ");
    assert_damaged("ShellCommand,\"memmap\"\n", 1, "MemoryMapSummary, is missing");
    assert_damaged("MemoryMap,\"Available\",\"0\",\"9FFFF\",\"A0\",\"F\"\n", 1, "is missing");
    assert_damaged(
        with(sfo, " \"0\"\n", " \"0\"\nMemoryMap,\"Available\",\"0\",\"9FFFF\",\"A0\",\"F\"\n"), 8,
        "behind the totals");
}

static void test_linux_damage(void **state)
{
    (void)state;
    assert_damaged(with(linux_numbers, "mem00", "mem07"), 3, "begins with descriptor 7");
    assert_damaged(with(linux_numbers, "mem03", "mem04"), 6, "descriptor 3 was to follow");
    assert_damaged(with(linux_numbers, "mem01: type=7", "mem01; type=7"), 4, "\"memNN: \"");
    assert_damaged(with(linux_numbers, "type=7", "type=x"), 4, "type or attributes");
    assert_damaged(with(linux_numbers, "type=7", "type=4294967296"), 4, "type or attributes");
    assert_damaged(with(linux_numbers, "attr=0xf, range", "attr=0xf range"), 3, "type or attr");
    assert_damaged(with(linux_numbers, "0x000000003c058000", "0x000000003c058"), 4, "range");
    assert_damaged(with(linux_numbers, "0x000000003c058000", "0x000000003c058001"), 4, "range");
    assert_damaged(with(linux_numbers, "0x000000003c058000", "0x000000004c058000"), 4, "959 MB");
    assert_damaged(with(linux_numbers, "(959MB)", "(95"), 4, "(NMB)");
    assert_damaged(with(linux_numbers, "(959MB)\n", "(959MB) "), 4, "(NMB)");
    assert_damaged(with(linux_words, "|WB|WT|WC|UC]", "|WB|WT|WC|UC "), 1, "type or attributes");
    assert_damaged(with(linux_words, "|WB|WT|WC|UC]", "|WB|WX|WC|UC]"), 1, "type or attributes");
    assert_damaged(with(linux_words, "Boot Code ", "Boat Code "), 1, "type or attributes");
    assert_damaged(with(linux_words, "type=2147483648", "type="), 6, "type or attributes");
    assert_damaged(with(linux_words, "attr=0x001", "attr=1"), 5, "type or attributes");
    assert_damaged(with(linux_plain, "0x00005fff0000", "0x00006fff0000"), 5, "ends before");
    assert_damaged(with(linux_plain, "0x00005fff0000", "0x00005fff0001"), 5, "whole pages");
    assert_damaged(with(linux_plain, "0x00005fff0000", "0x5fff0000"), 5, "range");
    assert_damaged(with(linux_plain, "|WB|WT|WC|  ]\n", "|WB|WT|W"), 5, "type or attributes");
    assert_damaged(with(linux_plain, "|  ]\n", "|  ] "), 5, "more text");
    assert_damaged("efi: Processing EFI memory map:\nsomething\n", 2, "none of it is there");
    assert_damaged(with(e820_new, "9fbff] usable", "9fbff] us"), 2, "type at the end");
    assert_damaged(with(e820_new, "9fbff] usable", "9fb"), 2, "range");
    assert_damaged(with(e820_new, "(type 7)", "(type"), 8, "type at the end");
    assert_damaged(with(e820_new, "(type 7)", "(type 7"), 8, "type at the end");
    assert_damaged(with(e820_new, "(type 7)", "(type 7) x"), 8, "type at the end");
    assert_damaged(with(e820_new, "0x00000000bffda000", "0x00000000cffda000"), 5, "ends before");
    assert_damaged(with(e820_old, "(usable)", "(usable"), 2, "range");
    assert_damaged("BIOS-e820: \n", 1, "range");
}

static void test_freebsd_damage(void **state)
{
    (void)state;
    assert_damaged(with(freebsd, "000080000000 000080000000 00007efa", "000080000000 0000800"), 4,
                   "no whole row");
    assert_damaged(with(freebsd, "000080000000 000080000000 00007efa", "00008000"), 4,
                   "no whole row");
    assert_damaged(with(freebsd, "00007efa WB \n", "00007e\n"), 4, "no whole row");
    assert_damaged(with(freebsd, "00007efa WB \n", "00007efa W\n"), 4, "an attribute");
    assert_damaged(with(freebsd, " 000080000000 000080000000 00007efa WB \n", "\n"), 4,
                   "no whole row");
    assert_damaged(with(freebsd, "ConventionalMemory", "ConventionalMemo"), 4, "no row of it");
    assert_damaged(with(freebsd, "ConventionalMemory", "<INVALID>"), 4, "type");
    assert_damaged(with(freebsd, "ConventionalMemory", "Unknown"), 4, "type");
    assert_damaged("Type     Physical      Virtual   #Pages Attr\n", 1, "none of it is there");
    assert_damaged("Type     Physical      Virtual   #Pages Attr\n"
                   "LoaderData 2002177eb3000 2002177eb3000 00008001 WB \n"
                   "  LoaderD",
                   3, "no whole row");
}

static void test_sysfs_damage(void **state)
{
    (void)state;
    assert_damaged(with(sysfs, "/sys/firmware/memmap/2/start:0x100000\n", ""), 0, "number 2 ");
    assert_damaged(with(sysfs, "memmap/2/start", "memmap/3/start"), 14, "twice");
    assert_damaged(with(sysfs, "start:0x100000", "start:0x"), 11, "value");
    assert_damaged(with(sysfs, "start:0x100000", "start:0x80000000"), 10, "ends before");
    assert_damaged(with(sysfs, "type:Reserved", "type:Reser"), 6, "value");
    assert_damaged(with(sysfs, "memmap/2/start", "memmap/4294967295/start"), 11, "path");
    assert_damaged(with(sysfs, "memmap/2/start", "memmap/4294967294/start"), 0, "number 2 ");
    assert_damaged(with(runtime_map, "type:0x6", "type:0x600000000"), 4, "value");
    assert_damaged(with(runtime_map, "type:0x6",
                        "type:0x6 "
                        "x"),
                   4, "value");
    assert_damaged_bytes(runtime_map, sizeof(runtime_map) - 2, 10, "has no end");
    assert_damaged("==> 0/attribute <==\n", 1, "value of the last file is missing");
    assert_damaged("==> 0/attribute <\n", 1, "names a file");
    assert_damaged("==> 0/attribute <==\n==> 0/num_pages <==\n", 2, "named before");
    assert_damaged(with(sysfs_tail, "0x9fbff\n", ""), 3, "named before");
    assert_int_equal(read_bytes("0/start:0x0\n", 12, 0), MM_EINVAL);
    assert_int_equal(mapfile_read(&file, "0/start:0x0\n", 12, 0, NULL, NULL, 0), MM_EINVAL);
    assert_string_equal(file.message, "files of some numbers are missing");
}

/* Whatever comes of a damaged text, it must not be fewer descriptors that are said to be all. */
static void assert_not_passed_off(mm_err_t err, uint32_t n, const char *name, const char *how,
                                  size_t at)
{
    if (err == MM_OK && file.whole && file.ndescs != n) {
        fail_msg("%s, %s at %zu: %u of %u descriptors passed off as the whole map", name, how, at,
                 file.ndescs, n);
    }
}

static void test_cut_anywhere(void **state)
{
    (void)state;
    for (size_t i = 0; i < MM_COUNTOF(texts); i++) {
        static struct efi_memory_descriptor good[64];
        size_t n = strlen(texts[i].text);

        assert_good(read_text(texts[i].text), texts[i].format, texts[i].n);
        memcpy(good, descs, texts[i].n * sizeof(good[0]));
        for (size_t at = 0; at < n; at++) {
            mm_err_t err = read_bytes(texts[i].text, at, 0);

            assert_not_passed_off(err, texts[i].n, texts[i].name, "cut", at);
            if (err != MM_OK) {
                assert_true(err == MM_EINVAL || err == MM_ENOENT);
                continue;
            }
            if (texts[i].text[at] == '\n' || texts[i].text[at - 1] == '\n') {
                assert_true(file.ndescs <= texts[i].n);
                assert_memory_equal(descs, good, file.ndescs * sizeof(good[0]));
            } else {
                assert_memory_equal(descs, good, (file.ndescs - 1) * sizeof(good[0]));
                assert_int_equal(descs[file.ndescs - 1].physical_start,
                                 good[file.ndescs - 1].physical_start);
                assert_int_equal(descs[file.ndescs - 1].number_of_pages,
                                 good[file.ndescs - 1].number_of_pages);
            }
        }
    }
}

/* A lost line shows wherever something numbers or adds up the lines; but not the last one that only
 * has a number. */
static void test_lost_lines(void **state)
{
    (void)state;
    for (size_t i = 0; i < MM_COUNTOF(texts); i++) {
        const char *text = texts[i].text;
        bool shows = texts[i].format == MAPFILE_SFO || texts[i].format == MAPFILE_SYSFS_MAP ||
                     texts[i].format == MAPFILE_RUNTIME_MAP || strstr(text, "mem01:") != NULL ||
                     text == shell;
        const char *last = "";

        for (const char *row = text; (row = strstr(row, "efi: mem")) != NULL; row++) {
            last = row;
        }
        while (last > text && last[-1] != '\n' && *last != '\0') {
            last--;
        }
        assert_good(read_text(text), texts[i].format, texts[i].n);
        for (const char *at = text; *at != '\0';) {
            size_t line = strcspn(at, "\n") + 1;
            char rest[16384];
            mm_err_t err;

            snprintf(rest, sizeof(rest), "%.*s%s", (int)(at - text), text, at + line);
            err = read_text(rest);
            if (shows && strncmp(at, last, 40) != 0) {
                assert_not_passed_off(err, texts[i].n, texts[i].name, "line lost",
                                      (size_t)(at - text));
            }
            at += line;
        }
    }
}

/* Start, end and page count of a row contradict each other when any one digit of them changes. */
static void change_digits(const char *text, const char *from, const char *to, uint32_t line)
{
    for (const char *at = from; at < to; at++) {
        static char changed[16384];

        if (isxdigit((unsigned char)*at)) {
            strcpy(changed, text);
            changed[at - text] = *at == '0' ? '1' : '0';
            assert_damaged(changed, line, "");
        }
    }
}

static void test_changed_digits(void **state)
{
    const char *at = shell;

    (void)state;
    for (uint32_t line = 2; line < 2 + SHELL_ROWS; line++) {
        at = strchr(at, '\n') + 1;
        change_digits(shell, at + 11, at + 61, line);
    }
    at = sfo;
    for (uint32_t line = 2; line < 2 + SFO_ROWS; line++) {
        const char *column[5];

        at = strchr(at, '\n') + 1;
        column[0] = at;
        for (size_t i = 1; i < 5; i++) {
            column[i] = strchr(column[i - 1], ',') + 1;
        }
        change_digits(sfo, column[2], strchr(column[4], ','), line);
    }
}

/* ---- several maps, several formats ----------------------------------------------------------- */

static void test_several(void **state)
{
    char text[16384];

    (void)state;
    snprintf(text, sizeof(text), "%s%s%s", linux_numbers, linux_old, linux_numbers);
    assert_int_equal(read_bytes(text, strlen(text), 0), MM_OK);
    assert_int_equal(file.nmaps, 3);
    assert_int_equal(file.ndescs, LINUX_NUMBERS);
    assert_true(file.whole);
    assert_int_equal(read_bytes(text, strlen(text), 1), MM_OK);
    assert_int_equal(file.ndescs, 2);
    assert_desc(1, 2, 0x8b000, 4, 0xf, 11);
    assert_true(file.whole); /* another line stands behind it here */
    assert_int_equal(read_bytes(text, strlen(text), 2), MM_OK);
    assert_desc(0, 3, 0, 8, 0xf, 14);
    assert_int_equal(read_bytes(text, strlen(text), 3), MM_ENOENT);
    assert_string_equal(file.message, "there are only 3 memory maps in it");

    snprintf(text, sizeof(text), "%s%s", shell, shell);
    assert_good(read_text(text), MAPFILE_SHELL, SHELL_ROWS);
    assert_int_equal(file.nmaps, 2);
    snprintf(text, sizeof(text), "%s%s%s", e820_new, e820_old, strchr(e820_old, '\n') + 1);
    assert_int_equal(read_bytes(text, strlen(text), 2), MM_OK); /* by its addresses */
    assert_int_equal(file.ndescs, 4);
    assert_int_equal(file.nmaps, 3);
    assert_false(file.whole); /* no heading */
    snprintf(text, sizeof(text), "%s%s", sfo, sfo);
    assert_int_equal(read_bytes(text, strlen(text), 1), MM_OK);
    assert_int_equal(file.nmaps, 2);

    /* The format that tells most is read, wherever it stands. */
    snprintf(text, sizeof(text), "%s%s%s", e820_new, linux_numbers, e820_old);
    assert_good(read_text(text), MAPFILE_LINUX_EFI, LINUX_NUMBERS);
    assert_int_equal(file.also, 1u << MAPFILE_E820);
    assert_int_equal(file.nmaps, 1);
    snprintf(text, sizeof(text), "%s%s", linux_numbers, e820_new);
    assert_good(read_text(text), MAPFILE_LINUX_EFI, LINUX_NUMBERS);
    assert_int_equal(file.also, 1u << MAPFILE_E820);
    snprintf(text, sizeof(text), "%s%s", runtime_map, sysfs);
    assert_good(read_text(text), MAPFILE_SYSFS_MAP, 10);
    assert_int_equal(file.also, 1u << MAPFILE_RUNTIME_MAP);
    snprintf(text, sizeof(text), "%s%s", sysfs, runtime_map);
    assert_good(read_text(text), MAPFILE_SYSFS_MAP, 10);
}

static void test_report(void **state)
{
    static const char line[] = "{\"format\":\"plat-report\",\"version\":[1,0]}\n";
    char text[16384];

    (void)state;
    assert_good(read_text(line), MAPFILE_REPORT, 0);
    assert_int_equal(file.report_at, 0);
    assert_good(read_text("\xef\xbb\xbf \n{ \"format\": \"plat-report\" }"), MAPFILE_REPORT, 0);
    assert_int_equal(file.report_at, 5);
    snprintf(text, sizeof(text), "%splat> report\n%s%s", linux_numbers, line, shell);
    assert_good(read_text(text), MAPFILE_REPORT, 0);
    assert_int_equal(file.report_at, strlen(linux_numbers) + 13);
    assert_nothing("{\"format\":\"else\"}", 17);
    assert_nothing("{", 1);
}

/* ---- raw dumps ------------------------------------------------------------------------------- */

static void put_desc(unsigned char *at, uint32_t type, uint64_t start, uint64_t pages,
                     uint64_t attr)
{
    memcpy(at, &type, 4);
    memcpy(at + 8, &start, 8);
    memcpy(at + 24, &pages, 8);
    memcpy(at + 32, &attr, 8);
}

static void test_raw(void **state)
{
    static unsigned char raw[300 * 256];
    struct host_rng r = host_rng_make("raw");

    (void)state;
    for (size_t stride = 40; stride <= 256; stride += 8) {
        for (size_t n = 1; n <= 300; n += 1 + n / 2) {
            uint64_t at = 0;

            memset(raw, 0, sizeof(raw));
            for (size_t i = 0; i < n; i++) {
                uint64_t pages = 1 + host_rng_below(&r, 1000);

                put_desc(raw + i * stride, (uint32_t)host_rng_below(&r, 16), at, pages,
                         host_rng_below(&r, 2) * RUN | 0xf);
                for (size_t k = 40; k < stride; k++) {
                    raw[i * stride + k] = 0xaf; /* what is behind it may be anything */
                }
                at += pages << 12;
            }
            if (n >= 8) { /* two that firmware got wrong */
                put_desc(raw + stride, 11, 0x1e88180, 1, RUN);
                put_desc(raw + 2 * stride, 0, 0, 0, 0);
            }
            assert_good(read_bytes(raw, n * stride, 0), MAPFILE_RAW, (uint32_t)n);
            assert_int_equal(file.stride, stride);
            assert_int_equal(file.nmaps, 1);
            assert_true(file.virt_known);
            assert_false(file.whole);
            for (size_t i = 0; i < n; i++) {
                uint64_t start;

                memcpy(&start, raw + i * stride + 8, 8);
                assert_int_equal(descs[i].physical_start, start);
                assert_int_equal(lines[i], 0);
            }
            if (n >= 13 && stride == 48) {
                assert_damaged_bytes(raw, n * stride - 8, 0, "cut off: it has only 40 bytes");
            }
        }
    }
    memset(raw, 0, sizeof(raw));
    assert_nothing(raw, 4800);
    memset(raw, 0xff, sizeof(raw));
    assert_nothing(raw, 4800);
    assert_nothing(raw, 39);
    assert_nothing(raw, 0);
    put_desc(raw, 7, 0, 1, 0xf);
    assert_nothing(raw, 39);
    for (size_t i = 0; i < sizeof(raw); i++) {
        raw[i] = (unsigned char)host_rng_below(&r, 256);
    }
    for (size_t n = 0; n < 5000; n += 8) {
        assert_true(read_bytes(raw, n, 0) == MM_ENOENT);
    }
}

/* ---- the caller's array ---------------------------------------------------------------------- */

static void test_room(void **state)
{
    (void)state;
    for (size_t i = 0; i < MM_COUNTOF(texts); i++) {
        size_t n = strlen(texts[i].text);
        uint32_t need;

        assert_int_equal(mapfile_read(&file, texts[i].text, n, 0, NULL, NULL, 0), MM_ENOSPC);
        need = file.ndescs;
        assert_true(need >= texts[i].n && need <= texts[i].n + 1);
        assert_int_equal(file.format, texts[i].format);
        for (uint32_t max = 0; max <= need; max++) {
            struct efi_memory_descriptor *d = malloc(max * sizeof(*d) + 1);
            uint32_t *l = malloc(max * sizeof(*l) + 1);
            mm_err_t err = mapfile_read(&file, texts[i].text, n, 0, d, l, max);

            assert_int_equal(err, max < need ? MM_ENOSPC : MM_OK);
            assert_int_equal(file.ndescs, max < need ? need : texts[i].n);
            free(d);
            free(l);
        }
        assert_int_equal(mapfile_read(&file, texts[i].text, n, 0, descs, NULL, need), MM_OK);
    }
}

static void test_names(void **state)
{
    (void)state;
    for (int i = -1; i <= MAPFILE_FORMATS; i++) {
        assert_true(strlen(mapfile_format_name((enum mapfile_format)i)) > 0);
    }
    for (int i = -1; i <= MAPFILE_ARCHS; i++) {
        assert_true(strlen(mapfile_arch_name((enum mapfile_arch)i)) > 0);
    }
    assert_string_equal(mapfile_format_name(MAPFILE_FORMATS), "unknown");
    assert_string_equal(mapfile_arch_name(MAPFILE_ARCH_ARM64), "arm64");
}

/* ---- long inputs ----------------------------------------------------------------------------- */

#define MANY 100000

static void test_many(void **state)
{
    size_t size = (size_t)MANY * 96;
    char *text = malloc(size);
    struct efi_memory_descriptor *d = malloc(MANY * sizeof(*d));
    size_t n = 0;
    struct timespec from;
    struct timespec to;

    (void)state;
    assert_true(text != NULL && d != NULL);
    for (unsigned i = 0; i < MANY; i++) {
        n += (size_t)snprintf(text + n, size - n,
                              "efi: mem%02u: type=7, attr=0xf, range=[0x%016llx-0x%016llx) (0MB)\n",
                              i, i * 0x2000ull, i * 0x2000ull + 0x1000);
    }
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &from);
    assert_int_equal(mapfile_read(&file, text, n, 0, d, NULL, MANY), MM_OK);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &to);
    assert_int_equal(file.ndescs, MANY);
    assert_int_equal(d[MANY - 1].physical_start, (MANY - 1) * 0x2000ull);
    printf("%d lines, %zu KiB: %.1f ms\n", MANY, n >> 10,
           (double)(to.tv_sec - from.tv_sec) * 1e3 + (double)(to.tv_nsec - from.tv_nsec) / 1e6);
    free(text);
    free(d);
}

/* ---- maps that people have posted ------------------------------------------------------------- */

/* Descriptor lines, by a look at each line that knows nothing of the importer. */
static uint32_t count_lines(const char *text)
{
    uint32_t n = 0;

    while (*text != '\0') {
        size_t len = strcspn(text, "\n");
        char line[256];

        snprintf(line, sizeof(line), "%.*s", (int)len, text);
        n += strstr(line, ": type=") != NULL || strncmp(line, "MemoryMap,", 10) == 0 ||
             (strlen(line) == 78 && line[27] == '-') || strstr(line, "efi:   0x") != NULL ||
             (strlen(line) > 52 && strspn(line + 24, "0123456789abcdef") == 12);
        text += len + (text[len] != '\0');
    }
    return n;
}

static void test_files(void **state)
{
    const char *folder = getenv("PLAT_MAPS");
    struct dirent **names;
    unsigned nmaps = 0;
    unsigned ndescs = 0;
    int n;

    (void)state;
    folder = folder != NULL ? folder : "../shared/firmware/maps";
    n = scandir(folder, &names, NULL, alphasort);
    if (n < 0) {
        printf("no maps in %s\n", folder);
        skip();
    }
    for (int i = 0; i < n; i++) {
        static char text[1 << 20];
        static unsigned char wide[3 << 20];
        char path[512];
        size_t len = strlen(names[i]->d_name);

        snprintf(path, sizeof(path), "%s/%s", folder, names[i]->d_name);
        if (len > 4 && strcmp(names[i]->d_name + len - 4, ".txt") == 0) {
            FILE *in = fopen(path, "r");
            size_t nbytes;

            assert_non_null(in);
            nbytes = fread(text, 1, sizeof(text) - 1, in);
            text[nbytes] = '\0';
            fclose(in);
            printf("%-46s", names[i]->d_name);
            assert_int_equal(read_bytes(text, nbytes, 0), MM_OK);
            printf("%-24s %4u descriptors%s\n", mapfile_format_name(file.format), file.ndescs,
                   file.whole ? ", whole" : "");
            assert_int_equal(file.ndescs, count_lines(text));
            assert_int_equal(file.nmaps, 1);
            assert_int_equal(read_bytes(wide, to_utf16(wide, text, false), 0), MM_OK);
            assert_int_equal(file.ndescs, count_lines(text));
            nmaps++;
            ndescs += file.ndescs;
        }
        free(names[i]);
    }
    free(names);
    printf("%u maps with %u descriptors from %s\n", nmaps, ndescs, folder);
}

static int write_texts(const char *dir)
{
    for (size_t i = 0; i < MM_COUNTOF(texts); i++) {
        char path[4096];
        FILE *f;

        snprintf(path, sizeof(path), "%s/%02zu.txt", dir, i);
        f = fopen(path, "wb");
        if (f == NULL || fputs(texts[i].text, f) == EOF || fclose(f) != 0) {
            perror(path);
            return 1;
        }
    }
    return 0;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_text),   cmocka_unit_test(test_shell),
        cmocka_unit_test(test_sfo),          cmocka_unit_test(test_linux_efi),
        cmocka_unit_test(test_e820),         cmocka_unit_test(test_freebsd),
        cmocka_unit_test(test_sysfs),        cmocka_unit_test(test_encodings),
        cmocka_unit_test(test_shell_damage), cmocka_unit_test(test_sfo_damage),
        cmocka_unit_test(test_linux_damage), cmocka_unit_test(test_freebsd_damage),
        cmocka_unit_test(test_sysfs_damage), cmocka_unit_test(test_cut_anywhere),
        cmocka_unit_test(test_lost_lines),   cmocka_unit_test(test_changed_digits),
        cmocka_unit_test(test_several),      cmocka_unit_test(test_report),
        cmocka_unit_test(test_raw),          cmocka_unit_test(test_room),
        cmocka_unit_test(test_names),        cmocka_unit_test(test_many),
        cmocka_unit_test(test_files),
    };

    if (argc == 3 && strcmp(argv[1], "--write") == 0) {
        return write_texts(argv[2]);
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
