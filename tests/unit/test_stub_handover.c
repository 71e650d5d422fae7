/*
 * The whole of the stub (efi/handover.c) with the parts that have no test of their own: pool,
 * entropy, screen. The judge is plat/boot.h: what the kernel is promised at entry.
 */
#include "host_port.h"

#include <stdlib.h>

#include "entropy.h"
#include "handover.h"
#include "mm/report.h"
#include "plat/boot.h"
#include "pool.h"
#include "screen.h"
#include "stub_fw.h"

#define MIB UINT64_C(0x100000)

/* Calls of get_map() before the last: the size, the map, and again, to see whether the key stays. */
#define READS 3u

static unsigned char elf[STUB_ELF_BYTES];
static struct machine machine;

static int setup(void **state)
{
    static const uint16_t vendor[] = { 'A', 'C', 'M', 0xcb, ' ', 'B', 'I', 'O', 'S', 0 };

    (void)state;
    stub_fw_reset();
    stub_elf_make(elf);
    /* Where no allocation comes: they begin at the top. */
    memcpy(fw_pointer(STUB_RAM), vendor, sizeof(vendor));
    machine = (struct machine){
        .kernel = elf,
        .kernel_bytes = sizeof(elf),
        .stub_base = 0x5000000,
        .stub_bytes = 0x40000,
        .jump_code = 0x5001fc0,
        .jump_bytes = 0x80, /* across a page border */
        .has_nx = true,
        .system_table = 0x1111,
        .rsdp = 0x2222,
        .smbios = 0x3333,
        .memory_attributes = 0x4444,
        .firmware_revision = 0x10000,
        .uefi_revision = 0x20046,
        .firmware_vendor = fw_pointer(STUB_RAM),
        .tsc_start = 42,
    };
    return 0;
}

static void conf(const char *text)
{
    stub_fw.conf = text;
    stub_fw.conf_bytes = strlen(text);
}

static bool present(uint64_t e)
{
    return (e & 1) != 0;
}

/* What the tables at `root` say about va: physical address and P, W, NX; UINT64_MAX if nothing. */
static uint64_t walk(uint64_t root, unsigned levels, uint64_t va, uint64_t *rights)
{
    for (unsigned level = levels; level >= 1; level--) {
        unsigned shift = 12 + 9 * (level - 1);
        const uint64_t *table = (const uint64_t *)(uintptr_t)root;
        uint64_t e = table[va >> shift & 511];

        if (!present(e)) {
            return UINT64_MAX;
        }
        root = e & 0x000ffffffffff000;
        if (level == 1 || (e & 0x80) != 0) {
            *rights = e & 0x8000000000000003;
            return root | (va & ((UINT64_C(1) << shift) - 1));
        }
    }
    return UINT64_MAX;
}

static uint64_t mapped_bytes(uint64_t root, unsigned level)
{
    const uint64_t *table = (const uint64_t *)(uintptr_t)root;
    uint64_t n = 0;

    for (unsigned i = 0; i < 512; i++) {
        if (present(table[i])) {
            n += level == 1 || (table[i] & 0x80) != 0
                     ? UINT64_C(1) << (12 + 9 * (level - 1))
                     : mapped_bytes(table[i] & 0x000ffffffffff000, level - 1);
        }
    }
    return n;
}

/* The report, if there was memory for it, is about the machine and nothing else. */
static void check_report(const struct plat_boot *b)
{
    struct report_error err;
    struct report r;
    uint64_t nbytes;
    void *storage;

    if (b->report_bytes == 0) {
        assert_non_null(strstr(stub_fw.said, "no memory"));
        return;
    }
    nbytes = report_storage_bytes(b->report_bytes);
    storage = malloc(nbytes);
    assert_int_equal(report_read(&r, (const char *)(uintptr_t)b->report, b->report_bytes, storage,
                                 nbytes, &err),
                     MM_OK);
    assert_int_equal(r.ncaptures, 0);
    assert_int_equal(r.known & REPORT_HAS_FINDINGS, 0);
    /* Not there without memory for it, or where the map does not show what it points to. */
    if (r.firmware.vendor != NULL || (stub_fw.fail_alloc == STUB_NEVER && !stub_fw.no_low_memory)) {
        assert_string_equal(r.firmware.vendor, "ACM\303\213 BIOS");
    }
    free(storage);
}

/* Everything that boot.h promises, of a hand-over that went through. */
static const struct plat_boot *check_entry(void)
{
    static struct stub_desc now[STUB_MAX_DESCS];
    const struct fw_jump *j = &stub_fw.jump;
    const struct plat_boot *b;
    uint64_t five_tables = 0, rights = 0, pa, next, pages;
    unsigned levels = j->low_pml4 != 0 || machine.la57_on ? 5 : 4;
    uint64_t nx = machine.has_nx ? UINT64_C(1) << 63 : 0;
    uint32_t n;

    assert_null(stub_fw.violation);
    assert_true(stub_fw.exited);
    assert_int_equal(stub_fw.njumps, 1);
    assert_int_equal(stub_fw.nresets, 0);
    assert_int_equal(j->nx, machine.has_nx);
    pa = walk(j->root, levels, j->boot_va, &rights);
    assert_true(pa != UINT64_MAX && rights == (3 | nx));
    b = (const struct plat_boot *)(uintptr_t)pa;

    assert_true(b->magic == 0x544f4f4254414c50);
    assert_int_equal(b->version, 1);
    assert_int_equal(b->nbytes, sizeof(*b));
    assert_int_equal(b->levels, levels);
    assert_true(b->direct_va + pa == j->boot_va);

    /* The arena, as firmware knows it: ours, LoaderData. */
    assert_int_equal(b->arena % 4096, 0);
    assert_int_equal(b->arena_bytes % 4096, 0);
    assert_int_equal(stub_fw.live_pages, b->arena_bytes / 4096);

    /* Every byte of it is in one range, in order. */
    assert_int_equal(b->nranges, 4);
    next = b->arena;
    for (uint32_t i = 0; i < 3; i++) {
        assert_true(b->ranges[i].base == next && b->ranges[i].nbytes > 0);
        next += b->ranges[i].nbytes;
    }
    assert_true(next == b->arena + b->arena_bytes);
    assert_int_equal(b->ranges[0].kind, 1);
    assert_int_equal(b->ranges[1].kind, 2);
    assert_int_equal(b->ranges[2].kind, 3);
    assert_int_equal(b->ranges[3].kind, 4);
    assert_int_equal(b->ranges[3].base, 0x5000000);
    assert_int_equal(b->ranges[3].nbytes, 0x40000);
    assert_true(pa >= b->ranges[1].base && pa < b->ranges[1].base + b->ranges[1].nbytes);
    assert_true(j->root >= b->ranges[2].base && j->root < b->ranges[2].base + b->ranges[2].nbytes);

    /* The image. */
    assert_true(b->image == b->ranges[0].base && b->image_bytes == b->ranges[0].nbytes);
    assert_int_equal(b->image_bytes, 0x4000);
    assert_true(b->image_va >= 0xffffffff80000000 && b->image_va % 0x200000 == 0);
    assert_true(b->image_va + b->image_bytes <= 0xffffffffc0000000);
    assert_true(j->entry == b->image_va + 0x1010);
    assert_true(walk(j->root, levels, b->image_va, &rights) == b->image && rights == (1 | nx));
    assert_true(walk(j->root, levels, j->entry, &rights) == b->image + 0x1010 && rights == 1);
    assert_true(walk(j->root, levels, b->image_va + 0x3fff, &rights) == b->image + 0x3fff);
    assert_true(rights == (3 | nx));
    assert_true(*(const uint64_t *)(uintptr_t)(b->image + 0x2000) == b->image_va + 0x123);
    assert_int_equal(*(const unsigned char *)(uintptr_t)(b->image + 0x1010), 0xc3);

    /* Nothing else is mapped than image, arena and the stub's code. */
    pages = b->image_bytes + b->arena_bytes + 0x2000;
    for (uint64_t at = 0; at < b->arena_bytes; at += 4096) {
        assert_true(walk(j->root, levels, b->direct_va + b->arena + at, &rights) == b->arena + at);
        assert_true(rights == (3 | nx));
    }
    assert_true(walk(j->root, levels, 0x5001fc0, &rights) == 0x5001fc0 && rights == 1);
    assert_true(walk(j->root, levels, 0x5002030, &rights) == 0x5002030 && rights == 1);
    if (j->low_pml4 != 0) {
        five_tables = b->ranges[2].base + b->ranges[2].nbytes;
        assert_true(five_tables <= UINT64_C(1) << 32 && j->root <= UINT32_MAX);
        assert_true(j->trampoline >= b->ranges[2].base && j->trampoline < five_tables);
        assert_true(walk(j->root, 5, j->trampoline, &rights) == j->trampoline && rights == 1);
        assert_true(walk(j->low_pml4, 4, j->trampoline, &rights) == j->trampoline);
        assert_true(walk(j->low_pml4, 4, 0x5001fc0, &rights) == 0x5001fc0);
        pages += 0x1000;
    } else {
        assert_int_equal(j->trampoline, 0);
    }
    assert_true(mapped_bytes(j->root, levels) == pages);

    /* The map: what firmware has at this moment, with the padding. */
    n = stub_fw_descs(now, STUB_MAX_DESCS);
    assert_int_equal(b->map_stride, stub_fw.stride);
    assert_int_equal(b->map_bytes, n * stub_fw.stride);
    for (uint32_t i = 0; i < n; i++) {
        assert_memory_equal((const void *)(uintptr_t)(b->map + i * b->map_stride), &now[i], 40);
    }
    assert_true(b->map >= b->ranges[1].base && b->map + b->map_bytes + 4096 <= b->scratch);
    assert_int_equal(b->map_version, 1);

    /* The first map, whatever it was, and the report on the machine. */
    assert_int_equal(b->start_map_stride, stub_fw.stride);
    assert_int_equal(b->start_map_version, 1);
    assert_true(b->start_map_bytes > 0 && b->start_map_bytes % b->start_map_stride == 0);
    assert_true(b->start_map >= b->options + b->options_bytes);
    assert_true(b->start_map + b->start_map_bytes <= b->report);
    assert_true(b->report + b->report_bytes <= b->map);
    check_report(b);

    /* Scratch: 512 bytes a descriptor and a megabyte. */
    assert_int_equal(b->scratch % 4096, 0);
    assert_true(b->scratch_bytes >= n * 512 + MIB);
    assert_true(b->scratch + b->scratch_bytes == b->ranges[2].base);

    assert_true(b->options + b->options_bytes <= b->map);
    assert_int_equal(strlen((const char *)(uintptr_t)b->options) + 1, b->options_bytes);
    assert_int_equal(b->system_table, 0x1111);
    assert_int_equal(b->rsdp, 0x2222);
    assert_int_equal(b->smbios, 0x3333);
    assert_int_equal(b->memory_attributes, 0x4444);
    assert_int_equal(b->firmware_revision, 0x10000);
    assert_int_equal(b->uefi_revision, 0x20046);
    assert_string_equal(b->firmware_vendor, "ACM? BIOS");
    assert_int_equal(b->tsc_start, 42);
    assert_true(b->tsc_exit > 42);
    return b;
}

static const struct plat_boot *run(void)
{
    const struct plat_boot *b;

    assert_int_equal(handover_run(&stub_fw_table, &machine), FW_SUCCESS);
    b = check_entry();
    assert_int_equal(b->arena % (2 * MIB), 0);
    return b;
}

/* It must come back, with everything given back and this said. */
static fw_status_t run_fails(const char *words)
{
    fw_status_t s = handover_run(&stub_fw_table, &machine);

    assert_true(fw_failed(s));
    assert_null(stub_fw.violation);
    assert_int_equal(stub_fw.njumps, 0);
    assert_int_equal(stub_fw.nresets, 0);
    assert_int_equal(stub_fw.nexits, 0);
    assert_int_equal(stub_fw.live_pages, 0);
    assert_false(stub_fw.conf_is_open);
    if (strstr(stub_fw.said, words) == NULL) {
        fail_msg("said \"%s\", not \"%s\"", stub_fw.said, words);
    }
    return s;
}

static void test_pinned(void **state)
{
    const struct plat_boot *b;

    (void)state;
    conf("nokaslr run=\"memmap; audit\"");
    machine.secure_boot = true;
    machine.fb = (struct plat_framebuffer){ .base = 0xc0000000, .width = 800 };
    b = run();
    assert_true(b->image_va == 0xffffffff80000000);
    assert_true(b->direct_va == 0xffff800000000000);
    assert_string_equal((const char *)(uintptr_t)b->options, "nokaslr\nrun=\"memmap; audit\"\n");
    assert_int_equal(b->flags, 1 | 4); /* secure boot, pinned; no entropy but the clock */
    assert_int_equal(b->fb.base, 0xc0000000);
    assert_int_equal(b->exit_tries, 1);
    assert_int_equal(b->map_grew, 0);
    assert_non_null(strstr(stub_fw.said, "Plat: loading the kernel\n"));
}

static void test_slides(void **state)
{
    static const struct stub_desc high[] = { { 7, 0, 0x3f0000000000, 0, 1, 0xf } };
    unsigned images = 0, directs = 0;
    uint64_t image_va = 0, direct_va = 0;

    for (unsigned i = 0; i < 40; i++) {
        const struct plat_boot *b;

        (void)setup(state);
        machine.has_rdrand = true;
        machine.la57_on = i % 4 == 3;
        stub_fw.extra = high; /* RAM up to 63 TiB: a direct map of 64 TiB can slide by 1 */
        stub_fw.nextra = i % 2;
        conf("");
        b = run();
        assert_int_equal(b->flags, 2);
        assert_int_equal(b->direct_va % 0x40000000, 0);
        if (machine.la57_on) {
            assert_true(b->direct_va >= 0xff00000000000000);
            assert_true(b->direct_va + 0x3f0000001000 <= 0xff80000000000000);
        } else {
            assert_true(b->direct_va >= 0xffff800000000000);
            assert_true(b->direct_va + (i % 2 ? 0x3f0000001000 : STUB_RAM + 64 * MIB) <=
                        0xffffc00000000000);
        }
        images += b->image_va != image_va;
        directs += b->direct_va != direct_va;
        image_va = b->image_va;
        direct_va = b->direct_va;
    }
    assert_true(images > 30 && directs > 30);

    /* RAM beyond the window: the kernel's problem, no slide. */
    static const struct stub_desc absurd[] = { { 7, 0, UINT64_C(1) << 47, 0, 1, 0xf } };
    (void)setup(state);
    stub_fw.extra = absurd;
    stub_fw.nextra = 1;
    assert_true(run()->direct_va == 0xffff800000000000);
}

static void test_paging(void **state)
{
    static const struct {
        const char *conf;
        bool has, on, low;
        unsigned levels;
        const char *words;
    } t[] = {
        { "", true, false, true, 4, "" },
        { "paging=5", true, false, true, 5, "" },
        { "paging=5", false, false, true, 4, "four levels only" },
        { "paging=5", true, true, true, 5, "" },
        { "", true, true, true, 5, "" },
        { "paging=4", true, true, true, 5, "keeps them" },
        { "paging=4", true, false, true, 4, "" },
        { "paging=6", true, false, true, 4, "is 4 or 5" },
        { "paging", true, false, true, 4, "is 4 or 5" },
        { "paging=5 paging=4", true, false, true, 4, "" },
    };

    for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
        (void)setup(state);
        conf(t[i].conf);
        machine.has_la57 = t[i].has;
        machine.la57_on = t[i].on;
        assert_int_equal(run()->levels, t[i].levels);
        assert_int_equal(stub_fw.jump.low_pml4 != 0, t[i].levels == 5 && !t[i].on);
        assert_non_null(strstr(stub_fw.said, t[i].words));
    }
}

static void test_no_nx(void **state)
{
    (void)state;
    machine.has_nx = false;
    (void)run();
}

static void test_stale_then_good(void **state)
{
    const struct plat_boot *b;

    (void)state;
    stub_fw.stale = 3;
    stub_fw.grow_after_exit = 2;
    b = run();
    assert_int_equal(b->exit_tries, 4);
}

static void test_stale_for_ever(void **state)
{
    (void)state;
    stub_fw.stale = STUB_NEVER;
    assert_true(fw_failed(handover_run(&stub_fw_table, &machine)));
    assert_null(stub_fw.violation); /* in particular: nothing was freed after the first try */
    assert_int_equal(stub_fw.njumps, 0);
    assert_int_equal(stub_fw.nexits, 16);
    assert_int_equal(stub_fw.nresets, 1);
    assert_non_null(strstr(stub_fw.said, "ExitBootServices: firmware calls every map stale"));
}

static void test_map_grows(void **state)
{
    const struct plat_boot *b;

    (void)state;
    stub_fw.grow = 60;
    b = run();
    assert_true(b->map_grew <= 3);
    /* Past the slack of the first arena: another is made. */
    (void)setup(state);
    stub_fw.grow = 150;
    stub_fw.grow_at = READS; /* those of the look */
    b = run();
    assert_int_equal(b->map_grew, 1);
    assert_int_equal(stub_fw.nmaps, READS + 2);
}

static void test_map_errors(void **state)
{
    (void)state;
    stub_fw.map_error = FW_DEVICE_ERROR;
    stub_fw.map_error_at = 0;
    (void)run_fails("plat: memory map: its size cannot be read, Device Error; update the firmware");
    (void)setup(state);
    stub_fw.map_error = FW_DEVICE_ERROR;
    stub_fw.map_error_at = READS; /* the last one */
    (void)run_fails("plat: memory map: cannot be read, Device Error; update the firmware");
    (void)setup(state);
    stub_fw.stride = 44;
    (void)run_fails("descriptor size");
    (void)setup(state);
    stub_fw.map_error = FW_BUFFER_TOO_SMALL; /* whatever the buffer */
    stub_fw.map_error_at = READS;
    (void)run_fails("grows faster");
    assert_int_equal(stub_fw.nmaps, READS + 4);
}

static void test_overrun(void **state)
{
    (void)state;
    stub_fw.overrun = 100;
    assert_true((run()->flags & 8) != 0);
    assert_non_null(strstr(stub_fw.said, "wrote 100 bytes past the end of the buffer"));
    (void)setup(state);
    stub_fw.overrun = 100;
    stub_fw.overrun_at = READS; /* for the first time at the last map: nothing can be said any more */
    assert_true((run()->flags & 8) != 0);
    (void)setup(state);
    stub_fw.overrun = 4096;
    stub_fw.overrun_at = READS;
    (void)run_fails("far past");
}

static void test_odd_runtime(void **state)
{
    static const struct stub_desc odd[] = { { 5, 0, 0x1e88180, 0, 1, UINT64_C(1) << 63 } };

    (void)state;
    stub_fw.extra = odd;
    stub_fw.nextra = 1;
    (void)run();
    assert_non_null(strstr(stub_fw.said, "runtime memory at 0x1e88180 is not page aligned"));
}

static void test_little_memory(void **state)
{
    uint32_t free_pages;

    /* One page short of 16 MiB, with the three pages that the look at the map takes itself. */
    (void)state;
    stub_fw.free_pages = 4096 + 3 - 1;
    assert_true(
        run_fails("Plat needs at least 16 MiB of free memory; this machine has 16380 KiB\n") ==
        FW_OUT_OF_RESOURCES);
    for (free_pages = 4096; free_pages > 0; free_pages = free_pages * 2 / 3) {
        (void)setup(state);
        stub_fw.free_pages = free_pages;
        (void)run_fails("plat");
    }
    /* Just enough. */
    (void)setup(state);
    stub_fw.free_pages = 4096 + 3;
    (void)run();
}

/* Each allocation in turn fails: whatever could not go on has given everything back. */
static void test_each_allocation_fails(void **state)
{
    unsigned came_through = 0;

    for (uint32_t i = 0; i < 20; i++) {
        (void)setup(state);
        conf("nokaslr");
        stub_fw.fail_alloc = i;
        if (handover_run(&stub_fw_table, &machine) == FW_SUCCESS) {
            came_through++;
            (void)check_entry();
        } else {
            assert_null(stub_fw.violation);
            assert_int_equal(stub_fw.live_pages, 0);
            assert_int_equal(stub_fw.nexits, 0);
            assert_true(strstr(stub_fw.said, "Out of Resources") != NULL);
        }
    }
    assert_true(came_through >= 16);
}

/* All memory is above 4 GiB: the arena goes there, and there is no switch of levels. */
static void test_no_low_memory(void **state)
{
    const struct plat_boot *b;

    (void)state;
    stub_fw.no_low_memory = true;
    machine.has_la57 = true;
    conf("paging=5");
    b = run();
    assert_true(b->arena >= STUB_RAM_HIGH);
    assert_int_equal(b->levels, 4);
    assert_non_null(strstr(stub_fw.said, "no memory below 4 GiB to switch in"));
    (void)setup(state);
    stub_fw.no_low_memory = true;
    machine.has_la57 = machine.la57_on = true; /* nothing to switch */
    conf("paging=5");
    assert_int_equal(run()->levels, 5);
}

static void test_bad_kernel(void **state)
{
    (void)state;
    elf[1] = 'x';
    (void)run_fails(
        "plat: the kernel inside this file: not a 64-bit ELF file, Load Error; copy the "
        "file again");
}

/* ---- pool ------------------------------------------------------------------------------------ */

static void test_pool_aligns(void **state)
{
    (void)state;
    for (uint64_t n = 1; n < 40; n++) {
        struct pool p = pool_make(&stub_fw_table);
        uint64_t a, b;

        assert_int_equal(pool_alloc(&p, n * 4096 - 17, 2 * MIB, POOL_ANY, &a), 0);
        assert_int_equal(pool_alloc(&p, 1, 4096, UINT32_MAX, &b), 0);
        assert_int_equal(a % (2 * MIB), 0);
        assert_int_equal(p.count, 2);
        assert_int_equal(stub_fw.live_pages, n + 1); /* both ends went back */
        pool_free(&p, a);
        assert_int_equal(stub_fw.live_pages, 1);
        pool_free_all(&p);
        assert_int_equal(stub_fw.live_pages, 0);
        assert_null(stub_fw.violation);
    }
    /* Too little for alignment: then without. */
    stub_fw.free_pages = 300;
    struct pool p = pool_make(&stub_fw_table);
    uint64_t a;

    assert_int_equal(pool_alloc(&p, 200 * 4096, 2 * MIB, POOL_ANY, &a), 0);
    assert_int_equal(stub_fw.live_pages, 200);
    pool_free_all(&p);
    assert_int_equal(pool_alloc(&p, 0, 4096, POOL_ANY, &a), FW_OUT_OF_RESOURCES);
    assert_int_equal(pool_alloc(&p, UINT64_MAX, 4096, POOL_ANY, &a), FW_OUT_OF_RESOURCES);
    assert_int_equal(stub_fw.live_pages, 0);
}

/* Page 0 is kept, once; the rest of its block goes back; the answer is never 0. */
static void test_pool_page_0(void **state)
{
    struct pool p = pool_make(&stub_fw_table);
    uint64_t a = 1;

    (void)state;
    stub_fw.zero_allocs = 1;
    assert_int_equal(pool_alloc(&p, 5 * 4096, 4096, POOL_ANY, &a), 0);
    assert_true(a >= STUB_RAM);
    assert_int_equal(stub_fw.live_pages, 5 + 1);
    pool_free_all(&p);
    assert_int_equal(stub_fw.live_pages, 0);
    assert_null(stub_fw.violation);

    /* One page, and it is page 0: nothing to give back of it. */
    stub_fw_reset();
    stub_fw.zero_allocs = 1;
    assert_int_equal(pool_alloc(&p, 4096, 4096, POOL_ANY, &a), 0);
    assert_int_equal(stub_fw.live_pages, 2);
    pool_free_all(&p);

    /* Firmware that hands it out again and again is not to be trusted with anything. */
    stub_fw_reset();
    stub_fw.zero_allocs = 2;
    assert_int_equal(pool_alloc(&p, 4096, 4096, POOL_ANY, &a), FW_OUT_OF_RESOURCES);
}

static void test_page_0_on_the_way(void **state)
{
    (void)state;
    conf("nokaslr");
    stub_fw.zero_allocs = 1;
    assert_int_equal(handover_run(&stub_fw_table, &machine), FW_SUCCESS);
    stub_fw.live_pages--; /* page 0, kept on purpose */
    (void)check_entry();
}

static void test_pool_is_full(void **state)
{
    struct pool p = pool_make(&stub_fw_table);
    uint64_t a;

    (void)state;
    for (unsigned i = 0; i < POOL_MAX; i++) {
        assert_int_equal(pool_alloc(&p, 1, 4096, POOL_ANY, &a), 0);
    }
    assert_int_equal(pool_alloc(&p, 1, 4096, POOL_ANY, &a), FW_OUT_OF_RESOURCES);
    assert_int_equal(stub_fw.live_pages, POOL_MAX);
    pool_free_all(&p);
    assert_int_equal(stub_fw.live_pages, 0);
}

/* An end that firmware does not take back is remembered, and tried again at the end. */
static void test_pool_free_fails(void **state)
{
    struct pool p = pool_make(&stub_fw_table);
    uint64_t a;

    (void)state;
    stub_fw.fail_free = 0;
    assert_int_equal(pool_alloc(&p, 3 * 4096, 2 * MIB, POOL_ANY, &a), 0);
    assert_int_equal(a % (2 * MIB), 0);
    assert_int_equal(p.count, 2);
    pool_free_all(&p);
    assert_int_equal(stub_fw.live_pages, 0);
}

/* ---- entropy --------------------------------------------------------------------------------- */

static void test_entropy(void **state)
{
    static const struct {
        fw_status_t rng_error;
        bool rng_constant, has_rdrand;
        uint32_t misses;
        bool rdrand_constant, good;
    } t[] = {
        { FW_NOT_FOUND, false, false, 0, false, false },
        { FW_SUCCESS, false, false, 0, false, true },
        { FW_DEVICE_ERROR, false, true, 0, false, true },
        { FW_SUCCESS, true, false, 0, false, false },
        { FW_NOT_FOUND, false, true, 9, false, true },
        { FW_NOT_FOUND, false, true, 10, false, false },
        { FW_NOT_FOUND, false, true, STUB_NEVER, false, false },
        { FW_NOT_FOUND, false, true, 0, true, false },
        { FW_SUCCESS, true, true, 0, true, false },
        { FW_SUCCESS, false, true, STUB_NEVER, false, true },
        { FW_SUCCESS, false, true, 0, true, true },
    };

    for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
        struct entropy e;
        uint64_t a;

        (void)setup(state);
        stub_fw.rng_error = t[i].rng_error;
        stub_fw.rng_constant = t[i].rng_constant;
        stub_fw.rdrand_misses = t[i].misses;
        stub_fw.rdrand_constant = t[i].rdrand_constant;
        machine.has_rdrand = t[i].has_rdrand;
        e = entropy_gather(&stub_fw_table, &machine);
        assert_int_equal(e.good, t[i].good);
        a = entropy_next(&e);
        assert_true(a != entropy_next(&e));
    }
}

/* Each input changes the output; bits of the output are about half ones. */
static void test_entropy_mixes(void **state)
{
    uint64_t first[3];
    unsigned ones = 0;

    for (unsigned i = 0; i < 3; i++) {
        struct entropy e;

        (void)setup(state);
        machine.tsc_start += i == 1;
        stub_fw.rng_error = i == 2 ? FW_SUCCESS : FW_NOT_FOUND;
        e = entropy_gather(&stub_fw_table, &machine);
        first[i] = entropy_next(&e);
        for (unsigned k = 0; i == 0 && k < 1000; k++) {
            ones += (unsigned)__builtin_popcountll(entropy_next(&e));
        }
    }
    assert_true(first[0] != first[1] && first[0] != first[2] && first[1] != first[2]);
    assert_true(ones > 31000 && ones < 33000);
}

/* ---- screen ---------------------------------------------------------------------------------- */

static void test_screen(void **state)
{
    const struct screen_mode good = {
        .base = 0xc0000000, .nbytes = 1024 * 768 * 4, .width = 1000, .height = 768, .stride = 1024
    };
    struct plat_framebuffer fb = { .base = 1 };
    struct screen_mode m = good;

    (void)state;
    assert_true(screen_usable(&m, &fb));
    assert_int_equal(fb.base, 0xc0000000);
    assert_int_equal(fb.nbytes, 1024 * 768 * 4);
    assert_int_equal(fb.width, 1000);
    assert_int_equal(fb.height, 768);
    assert_int_equal(fb.stride, 1024);
    assert_int_equal(fb.format, PLAT_PIXEL_RGBX);
    m.format = 1;
    assert_true(screen_usable(&m, &fb));
    assert_int_equal(fb.format, PLAT_PIXEL_BGRX);
    m.base = 0x7000000000; /* above 4 GiB is fine */
    assert_true(screen_usable(&m, &fb));
    m.nbytes = UINT64_C(1) << 40; /* more than is shown: not ours */
    assert_true(screen_usable(&m, &fb));
    assert_int_equal(fb.nbytes, 1024 * 768 * 4);

    m = good; /* masks that say what a format would */
    m.format = 2;
    m.red = 0xff;
    m.green = 0xff00;
    m.blue = 0xff0000;
    m.reserved = 0xff000000;
    assert_true(screen_usable(&m, &fb));
    assert_int_equal(fb.format, PLAT_PIXEL_RGBX);
    m.red = 0xff0000;
    m.blue = 0xff;
    assert_true(screen_usable(&m, &fb));
    assert_int_equal(fb.format, PLAT_PIXEL_BGRX);

    fb = (struct plat_framebuffer){ .base = 77 };
    m.reserved = 0; /* 24 bits */
    assert_false(screen_usable(&m, &fb));
    m.reserved = 0xff000000;
    m.green = 0x7e0; /* 16 bits */
    assert_false(screen_usable(&m, &fb));
#define BAD(field, value)                                                                          \
    m = good;                                                                                      \
    m.field = (value);                                                                             \
    assert_false(screen_usable(&m, &fb))
    BAD(format, 3); /* BLT only */
    BAD(format, 4);
    BAD(base, 0);
    BAD(base, 0xc0000002);
    BAD(base, UINT64_MAX - 3);
    BAD(width, 0);
    BAD(height, 0);
    BAD(stride, 999);
    BAD(stride, 0);
    BAD(stride, 1025);
    BAD(height, 769);
    BAD(nbytes, 1024 * 768 * 4 - 1);
    BAD(nbytes, 0);
    m = good;
    m.stride = m.width = m.height = UINT32_MAX; /* times 4 is more than 64 bits */
    assert_false(screen_usable(&m, &fb));
    m.stride = m.width = m.height = UINT32_C(1) << 31; /* times 4 is 0 */
    assert_false(screen_usable(&m, &fb));
    assert_int_equal(fb.base, 77);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_pinned, setup),
        cmocka_unit_test_setup(test_slides, setup),
        cmocka_unit_test_setup(test_paging, setup),
        cmocka_unit_test_setup(test_no_nx, setup),
        cmocka_unit_test_setup(test_stale_then_good, setup),
        cmocka_unit_test_setup(test_stale_for_ever, setup),
        cmocka_unit_test_setup(test_map_grows, setup),
        cmocka_unit_test_setup(test_map_errors, setup),
        cmocka_unit_test_setup(test_overrun, setup),
        cmocka_unit_test_setup(test_odd_runtime, setup),
        cmocka_unit_test_setup(test_little_memory, setup),
        cmocka_unit_test_setup(test_each_allocation_fails, setup),
        cmocka_unit_test_setup(test_no_low_memory, setup),
        cmocka_unit_test_setup(test_bad_kernel, setup),
        cmocka_unit_test_setup(test_pool_aligns, setup),
        cmocka_unit_test_setup(test_pool_page_0, setup),
        cmocka_unit_test_setup(test_page_0_on_the_way, setup),
        cmocka_unit_test_setup(test_pool_is_full, setup),
        cmocka_unit_test_setup(test_pool_free_fails, setup),
        cmocka_unit_test_setup(test_entropy, setup),
        cmocka_unit_test_setup(test_entropy_mixes, setup),
        cmocka_unit_test_setup(test_screen, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
