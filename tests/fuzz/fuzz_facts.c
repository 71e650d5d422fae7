/*
 * fuzz_facts.c - what the stub finds out about a machine, under libFuzzer: firmware's tables of any
 * bytes, and any answers. What is found must be written as a report that reads back, and the lint
 * must bear it; what may not be touched is memory that ends the run.
 *
 * Input: struct knobs, and what lies in memory from MEMORY on, but for one page that is a device.
 * What is missing is zero. Of one input in 64 the report is written and read back. The bits of
 * `repair` make signatures, lengths and sums right, as random ones never are: with none of them,
 * firmware's bytes are the input's.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "facts.h"
#include "plat/acpi.h"

#define MEMORY UINT64_C(0x10000000)
#define PAGE   UINT64_C(4096)
#define NPAGES 16u
#define DEVICE 9u /* this page */

/* The BIOS area, which is read wherever it comes up. All zero: nothing in it holds up. */
#define BIOS       UINT64_C(0xe0000)
#define BIOS_BYTES UINT64_C(0x20000)

/* What is allocated ends where this memory does; a page behind it ends the run. */
#define STORAGE       UINT64_C(0x20000000)
#define STORAGE_BYTES FACTS_STORAGE
#define NSTORAGES     2u

enum {
    REPAIR_RSDP = 1,
    REPAIR_ROOT = 2,   /* XSDT, with addresses inside the memory */
    REPAIR_TABLES = 4, /* their lengths and sums */
    REPAIR_NAMES = 8,  /* those that are looked into */
    REPAIR_FADT = 16,  /* its pointers */
    REPAIR_SMBIOS3 = 32,
    REPAIR_SMBIOS2 = 64,
    REPAIR_MAT = 128,
};

struct knobs {
    uint8_t repair;
    uint8_t fail_alloc; /* this allocation fails, from 1 */
    uint16_t rsdp;      /* offsets in the memory */
    uint16_t smbios;
    uint16_t mat;
    uint16_t vendor;
    uint16_t nscreens;
    uint16_t ntables;
    uint8_t secure_boot, setup_mode, tpm;
    uint8_t cpuid_limit;
    uint32_t cpuid;
    struct facts_time time;
    struct screen_mode screen;
    struct report_table table;
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct knobs knobs;
static uint32_t nallocs;

static void check(bool good)
{
    if (!good) {
        abort();
    }
}

/* ---- the machine ----------------------------------------------------------------------------- */

static fw_status_t play_alloc(uint64_t npages, uint64_t max, uint64_t *pa)
{
    uint64_t end = STORAGE + nallocs * (STORAGE_BYTES + PAGE) + STORAGE_BYTES;

    (void)max;
    check(nallocs < NSTORAGES && npages * PAGE <= STORAGE_BYTES);
    nallocs++;
    *pa = end - npages * PAGE;
    return nallocs != knobs.fail_alloc ? FW_SUCCESS : FW_OUT_OF_RESOURCES;
}

static fw_status_t play_free(uint64_t pa, uint64_t npages)
{
    (void)pa;
    (void)npages;
    return FW_SUCCESS;
}

static const struct fw fw = { .alloc_pages = play_alloc, .free_pages = play_free };

static void play_cpuid(uint32_t leaf, uint32_t subleaf, uint32_t r[4])
{
    (void)subleaf;
    for (uint32_t i = 0; i < 4; i++) {
        r[i] = (knobs.cpuid ^ leaf * 0x9e3779b9u) * (i * 2 + 0x85ebca6bu);
    }
    if ((leaf & 0x7fffffff) == 0) {
        r[0] = leaf + knobs.cpuid_limit;
    }
}

static fw_status_t play_time(struct facts_time *t)
{
    *t = knobs.time;
    return FW_SUCCESS;
}

static bool play_table(uint32_t i, struct report_table *t)
{
    *t = knobs.table;
    return i < knobs.ntables;
}

static uint32_t play_screens(struct screen_mode *to, uint32_t max)
{
    for (uint32_t i = 0; i < max && i < knobs.nscreens; i++) {
        to[i] = knobs.screen;
        to[i].base += i / 2;
    }
    return knobs.nscreens;
}

static fw_status_t play_variable(const uint16_t *name, uint8_t *value)
{
    *value = name[1] == 'e' && name[2] == 'c' ? knobs.secure_boot : knobs.setup_mode;
    return *value < 3 ? FW_SUCCESS : FW_NOT_FOUND;
}

static uint32_t play_tpm(void)
{
    return knobs.tpm;
}

static const struct facts_source source = {
    .plat = "fuzz",
    .cpuid = play_cpuid,
    .time = play_time,
    .table = play_table,
    .screens = play_screens,
    .variable = play_variable,
    .tpm = play_tpm,
};

/* ---- memory ---------------------------------------------------------------------------------- */

/* Address space that nobody may touch, and a part of it that may be touched. */
static void reserve(uint64_t pa, uint64_t nbytes)
{
    check(mmap(fw_pointer(pa), nbytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE,
               -1, 0) == fw_pointer(pa));
}

static void open_up(uint64_t pa, uint64_t nbytes)
{
    check(mprotect(fw_pointer(pa), nbytes, PROT_READ | PROT_WRITE) == 0);
}

static void map_once(void)
{
    static bool is_mapped;

    if (is_mapped) {
        return;
    }
    reserve(MEMORY - PAGE, (NPAGES + 2) * PAGE);
    open_up(MEMORY, DEVICE * PAGE);
    open_up(MEMORY + (DEVICE + 1) * PAGE, (NPAGES - DEVICE - 1) * PAGE);
    reserve(BIOS, BIOS_BYTES);
    open_up(BIOS, BIOS_BYTES);
    reserve(STORAGE, NSTORAGES * (STORAGE_BYTES + PAGE));
    for (uint32_t i = 0; i < NSTORAGES; i++) {
        open_up(STORAGE + i * (STORAGE_BYTES + PAGE), STORAGE_BYTES);
    }
    is_mapped = true;
}

static bool is_memory(uint64_t pa, uint64_t nbytes)
{
    uint64_t hole = MEMORY + DEVICE * PAGE;

    return pa >= MEMORY && nbytes <= NPAGES * PAGE && pa + nbytes <= MEMORY + NPAGES * PAGE &&
           (pa + nbytes <= hole || pa >= hole + PAGE);
}

static void fill(const uint8_t *data, size_t size)
{
    for (uint32_t i = 0; i < NPAGES; i++) {
        size_t n = size < PAGE ? size : PAGE;

        if (i != DEVICE) {
            uint8_t *to = fw_pointer(MEMORY + i * PAGE);

            memset(to, 0, PAGE);
            memcpy(to, data, n);
            data += n;
            size -= n;
        }
    }
}

static uint64_t get(uint64_t pa, unsigned nbytes)
{
    uint64_t v = 0;

    if (is_memory(pa, nbytes)) {
        memcpy(&v, fw_pointer(pa), nbytes);
    }
    return v;
}

static void put(uint64_t pa, const void *bytes, size_t nbytes)
{
    if (is_memory(pa, nbytes)) {
        memcpy(fw_pointer(pa), bytes, nbytes);
    }
}

static void put_number(uint64_t pa, uint64_t v, unsigned nbytes)
{
    put(pa, &v, nbytes);
}

static void fix_sum(uint64_t pa, uint64_t nbytes, uint64_t at)
{
    if (is_memory(pa, nbytes)) {
        uint8_t *p = fw_pointer(pa);

        p[at] = (uint8_t)(p[at] - acpi_sum(p, nbytes));
    }
}

/* ---- repairs --------------------------------------------------------------------------------- */

/* Length and sum of the table at `pa`. */
static void repair_table(uint64_t pa)
{
    uint64_t nbytes = sizeof(struct acpi_header) + (get(pa + 4, 4) & 0xff);

    put_number(pa + 4, nbytes, 4);
    fix_sum(pa, nbytes, 9);
}

static void repair_acpi(uint64_t rsdp)
{
    static const char names[][5] = { "FACP", "MCFG", "APIC", "FACP" };
    uint64_t root = MEMORY + get(rsdp + 24, 2), nbytes;

    if ((knobs.repair & REPAIR_ROOT) != 0) {
        nbytes = sizeof(struct acpi_header) + (get(root + 4, 4) & 0x7f);
        put_number(root + 4, nbytes, 4);
        for (uint64_t at = sizeof(struct acpi_header); at + 8 <= nbytes; at += 8) {
            uint64_t table = MEMORY + get(root + at, 2);

            put_number(root + at, table, 8);
            if ((knobs.repair & REPAIR_NAMES) != 0) {
                put(table, names[at / 8 % 4], 4);
            }
            if ((knobs.repair & REPAIR_FADT) != 0) {
                put_number(table + 132, MEMORY + get(table + 132, 2), 8);
                put_number(table + 140, MEMORY + get(table + 140, 2), 8);
                put(MEMORY + get(table + 132, 2), "FACS", 4);
                repair_table(MEMORY + get(table + 140, 2));
            }
            if ((knobs.repair & REPAIR_TABLES) != 0) {
                repair_table(table);
            }
        }
        fix_sum(root, nbytes, 9);
    }
    if ((knobs.repair & REPAIR_RSDP) != 0) {
        put(rsdp, "RSD PTR ", 8);
        put_number(rsdp + 16, root, 4);
        put_number(rsdp + 24, root, 8);
        fix_sum(rsdp, 20, 8);
        fix_sum(rsdp, 36, 32);
    }
}

static void repair_smbios(uint64_t pa)
{
    if ((knobs.repair & REPAIR_SMBIOS3) != 0) {
        put(pa, "_SM3_", 5);
        put_number(pa + 6, 24, 1);
        put_number(pa + 16, MEMORY + get(pa + 16, 2), 8);
        fix_sum(pa, 24, 5);
    } else if ((knobs.repair & REPAIR_SMBIOS2) != 0) {
        put(pa, "_SM_", 4);
        put_number(pa + 5, 31, 1);
        put(pa + 16, "_DMI_", 5);
        put_number(pa + 24, MEMORY + get(pa + 24, 2), 4);
        fix_sum(pa + 16, 15, 5);
        fix_sum(pa, 31, 4);
    }
}

static void repair_mat(uint64_t pa)
{
    put_number(pa, 1 + (get(pa, 4) & 1), 4);
    put_number(pa + 4, 1 + (get(pa + 4, 4) & 0x3f), 4);
    put_number(pa + 8, 40 + (get(pa + 8, 4) & 0x18), 4);
}

/* ---- judging --------------------------------------------------------------------------------- */

/* The report as text; to be freed. */
static char *written(const struct report *r, size_t *nbytes)
{
    static char buf[4 << 20];
    struct mm_text text;
    struct mm_sink sink = mm_text_sink(&text, buf, sizeof(buf));
    char *copy;

    report_write(r, &sink, JSON_LINE);
    check(text.len < sizeof(buf));
    copy = malloc(text.len);
    check(copy != NULL);
    memcpy(copy, buf, text.len);
    *nbytes = text.len;
    return copy;
}

static void judge_report(const struct report *r)
{
    size_t nbytes, again_bytes;
    char *text = written(r, &nbytes), *again;
    uint64_t room = report_storage_bytes(nbytes);
    void *storage = malloc(room);
    struct report_error error;
    struct report got;

    check(report_read(&got, text, nbytes, storage, room, &error) == MM_OK);
    again = written(&got, &again_bytes);
    check(again_bytes == nbytes && memcmp(again, text, nbytes) == 0);
    free(again);
    free(storage);
    free(text);
}

static void judge_lists(const struct facts *f)
{
    const struct report *r = &f->report;

    check(r->ntables <= FACTS_MAX_TABLES && r->nframebuffers <= FACTS_MAX_SCREENS &&
          r->npci_config <= FACTS_MAX_ECAM && f->lint.necam <= r->npci_config);
    for (uint32_t i = 0; i < r->nacpi; i++) {
        const struct report_acpi_table *t = &r->acpi[i];

        check(is_memory(t->address, t->nbytes));
        check(t->nbytes >= sizeof(struct acpi_header) && t->nbytes <= ACPI_MAX_TABLE_BYTES);
        for (uint32_t j = 0; j < i; j++) {
            check(r->acpi[j].address != t->address);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct efi_memory_descriptor descs[] = {
        { EFI_MT_ACPI_RECLAIM, 0, MEMORY, 0, NPAGES / 2, 0xf },
        { EFI_MT_RUNTIME_DATA, 0, MEMORY + NPAGES / 2 * PAGE, 0, NPAGES / 2, EFI_MA_RUNTIME | 0xf },
        { EFI_MT_MMIO, 0, MEMORY + DEVICE * PAGE, 0, 1, 1 },
    };
    static const struct memmap_raw raw = { descs, sizeof(descs), sizeof(descs[0]), 1 };
    static uint64_t map_storage[1 << 13] __attribute__((aligned(16)));
    static struct memmap_finding findings[256];
    struct maplint_result lint = { .findings = findings, .max = MM_COUNTOF(findings) };
    size_t n = size < sizeof(knobs) ? size : sizeof(knobs);
    struct pool pool = pool_make(&fw);
    struct machine machine = { .facts = &source };
    struct memmap map;
    struct facts f;

    memset(&knobs, 0, sizeof(knobs));
    memcpy(&knobs, data, n);
    map_once();
    fill(data + n, size - n);
    machine.rsdp = MEMORY + knobs.rsdp;
    machine.smbios = MEMORY + knobs.smbios;
    machine.memory_attributes = MEMORY + knobs.mat;
    machine.firmware_vendor = fw_pointer(MEMORY + knobs.vendor);
    if ((knobs.repair & REPAIR_MAT) != 0) {
        repair_mat(machine.memory_attributes);
    }
    repair_smbios(machine.smbios);
    repair_acpi(machine.rsdp);

    check(memmap_build(&map, &raw, map_storage, sizeof(map_storage)) == MM_OK);
    nallocs = 0;
    facts_gather(&machine, &map, (knobs.tpm & 1) != 0, &pool, &f);
    memset(fw_pointer(MEMORY), 0x5a, DEVICE * PAGE); /* all that was found is copies */
    judge_lists(&f);
    if (acpi_sum(data, size) % 64 == 0) { /* it takes longer than all the rest */
        judge_report(&f.report);
    }
    maplint_run(&lint, &map, &f.lint);
    pool_free_all(&pool);
    return 0;
}
