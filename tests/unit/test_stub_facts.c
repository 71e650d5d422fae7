/*
 * What the stub finds out about a machine (efi/facts.c and its parts): all of a good one, and of a
 * damaged one what holds up. Whatever was found, the report of it is written and read back.
 */
#include "host_port.h"

#include "facts.h"
#include "plat/acpi.h"
#include "stub_facts.h"
#include "stub_fw.h"

#include <stdlib.h>

#define GIB UINT64_C(0x40000000)

static struct facts facts;
static struct pool pool;
static struct memmap map;
static void *map_storage;

static int setup(void **state)
{
    (void)state;
    stub_fw_reset();
    stub_facts_reset();
    pool = pool_make(&stub_fw_table);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    free(map_storage);
    map_storage = NULL;
    return 0;
}

static void build_map(void)
{
    static struct stub_desc descs[STUB_MAX_DESCS];
    uint32_t n = stub_fw_descs(descs, STUB_MAX_DESCS);
    struct memmap_raw raw = { descs, n * sizeof(descs[0]), sizeof(descs[0]), 1 };
    uint64_t nbytes = memmap_storage_bytes(n);

    free(map_storage);
    map_storage = aligned_alloc(16, (nbytes + 15) & ~UINT64_C(15));
    assert_non_null(map_storage);
    assert_int_equal(memmap_build(&map, &raw, map_storage, nbytes), MM_OK);
}

static char *written(const struct report *r, size_t *nbytes)
{
    static char buf[8 << 20];
    struct mm_text text;
    struct mm_sink sink = mm_text_sink(&text, buf, sizeof(buf));
    char *copy;

    report_write(r, &sink, JSON_LINE);
    assert_true(text.len < sizeof(buf));
    copy = malloc(text.len);
    assert_non_null(copy);
    memcpy(copy, buf, text.len);
    *nbytes = text.len;
    return copy;
}

/* What is written of a report is read back, and that is the same when it is written again. */
static void check_report(const struct report *r)
{
    size_t nbytes, again_bytes;
    char *text = written(r, &nbytes), *again;
    uint64_t room = report_storage_bytes(nbytes);
    void *storage = malloc(room);
    struct report_error error;
    struct report got;

    if (report_read(&got, text, nbytes, storage, room, &error) != MM_OK) {
        fail_msg("%s: %s: %.*s", error.what, error.member, (int)nbytes, text);
    }
    again = written(&got, &again_bytes);
    assert_int_equal(again_bytes, nbytes);
    assert_memory_equal(again, text, nbytes);
    assert_int_equal(got.known, r->known);
    free(again);
    free(storage);
    free(text);
}

/* Of the machine as it is now. */
static const struct report *gather(void)
{
    pool_free_all(&pool); /* of the gathering before */
    build_map();
    memset(&facts, 0xee, sizeof(facts));
    facts_gather(&stub_machine, &map, false, &pool, &facts);
    assert_true(pool.count <= 2);
    assert_null(stub_fw.violation);
    assert_string_equal(stub_fw.said, "");
    check_report(&facts.report);
    return &facts.report;
}

/* ---- a good machine -------------------------------------------------------------------------- */

static void assert_acpi(const struct report *r, uint32_t i, const char *signature, uint64_t address,
                        uint32_t nbytes)
{
    assert_true(i < r->nacpi);
    assert_string_equal(r->acpi[i].signature, signature);
    assert_int_equal(r->acpi[i].address, address);
    assert_int_equal(r->acpi[i].nbytes, nbytes);
}

static void assert_range(struct maplint_range range, uint64_t base, uint64_t nbytes)
{
    assert_int_equal(range.base, base);
    assert_int_equal(range.nbytes, nbytes);
}

static void test_all_of_it(void **state)
{
    static const unsigned char uuid[16] = { 0x67, 0x45, 0x23, 0x01, 0xab, 0x89, 0xef, 0xcd,
                                            1,    2,    3,    4,    5,    6,    7,    8 };
    const struct report *r = gather();

    (void)state;
    assert_int_equal(r->known, 0x2ff); /* all but the findings */
    assert_string_equal(r->plat, "1.2.3");
    assert_int_equal(r->arch, MAPFILE_ARCH_X86);
    assert_false(r->with_identifiers);
    assert_int_equal(r->ncaptures, 0);
    assert_int_equal(r->nfindings, 0);
    assert_int_equal(r->findings_when, REPORT_WHENS);

    assert_int_equal(r->time.year, 2026);
    assert_int_equal(r->time.month, 2);
    assert_int_equal(r->time.day, 3);
    assert_int_equal(r->time.hour, 4);
    assert_int_equal(r->time.minute, 5);
    assert_int_equal(r->time.second, 6);
    assert_int_equal(r->time.zone, -480); /* UEFI 2.10 8.3.1: PST is 480 */

    assert_string_equal(r->firmware.vendor, "Vendor \xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80");
    assert_int_equal(r->firmware.revision, 0x10203);
    assert_int_equal(r->firmware.uefi_revision, 0x2000a);
    assert_int_equal(r->security.secure_boot, REPORT_ON);
    assert_int_equal(r->security.setup_mode, REPORT_OFF);
    assert_int_equal(r->security.tpm, REPORT_TPM_20);

    assert_int_equal(r->ntables, 3);
    assert_memory_equal(r->tables, stub_facts.tables, 3 * sizeof(r->tables[0]));
    assert_int_equal(r->nframebuffers, 1);
    assert_int_equal(r->framebuffers[0].base, 0xc0000000);
    assert_int_equal(r->framebuffers[0].nbytes, 4096000);
    assert_int_equal(r->framebuffers[0].width, 1280);
    assert_int_equal(r->framebuffers[0].height, 800);
    assert_int_equal(r->framebuffers[0].stride, 1280);
    assert_int_equal(r->framebuffers[0].format, REPORT_PIXEL_BGRX);

    assert_int_equal(r->nacpi, 6);
    assert_acpi(r, 0, "XSDT", STUB_XSDT, 60);
    assert_acpi(r, 1, "FACP", STUB_FADT, 276);
    assert_acpi(r, 2, "DSDT", STUB_DSDT, 2000);
    assert_acpi(r, 3, "FACS", STUB_FACS, 64);
    assert_acpi(r, 4, "APIC", STUB_APIC, 120);
    assert_acpi(r, 5, "MCFG", STUB_MCFG, 76);
    assert_string_equal(r->acpi[4].oem_id, "MAKER");
    assert_string_equal(r->acpi[4].oem_table_id, "TABLE-ID");
    assert_int_equal(r->acpi[4].oem_revision, 0x20260102);
    assert_int_equal(r->acpi[4].revision, 3);
    assert_string_equal(r->acpi[3].oem_id, "");
    assert_int_equal(r->acpi[3].revision, 2);
    assert_int_equal(r->npci_config, 2);
    assert_int_equal(r->pci_config[0].base, 0xe0000000);
    assert_int_equal(r->pci_config[0].nbytes, 256 << 20);
    assert_int_equal(r->pci_config[1].base, 0x4001000000); /* of bus 16 */
    assert_int_equal(r->pci_config[1].nbytes, 16 << 20);
    assert_int_equal(r->pci_config[1].segment, 1);
    assert_int_equal(r->pci_config[1].first_bus, 16);
    assert_int_equal(r->pci_config[1].last_bus, 31);

    assert_int_equal(r->smbios.address, STUB_SMBIOS3);
    assert_int_equal(r->smbios.major, 3);
    assert_int_equal(r->smbios.minor, 7);
    assert_string_equal(r->smbios.bios_vendor, "Vendor");
    assert_string_equal(r->smbios.bios_version, "V 1.0");
    assert_string_equal(r->smbios.bios_date, "01/02/2026");
    assert_string_equal(r->smbios.manufacturer, "Maker");
    assert_string_equal(r->smbios.product, "Product");
    assert_string_equal(r->smbios.version, "v9");
    assert_string_equal(r->smbios.serial, "SYS-SERIAL");
    assert_string_equal(r->smbios.sku, "SKU");
    assert_string_equal(r->smbios.family, "Family");
    assert_memory_equal(r->smbios.uuid, uuid, 16);
    assert_string_equal(r->smbios.board_manufacturer, "BoardMaker");
    assert_string_equal(r->smbios.board_product, "Board");
    assert_string_equal(r->smbios.board_version, "b1");
    assert_string_equal(r->smbios.board_serial, "BOARD-SERIAL");
    assert_int_equal(r->smbios.ndevices, 2);
    assert_string_equal(r->smbios.devices[0].locator, "DIMM A");
    assert_string_equal(r->smbios.devices[0].bank, "BANK 0");
    assert_string_equal(r->smbios.devices[0].manufacturer, "Acme");
    assert_string_equal(r->smbios.devices[0].serial, "D-SERIAL");
    assert_string_equal(r->smbios.devices[0].part_number, "PART-1 ");
    assert_int_equal(r->smbios.devices[0].nbytes, 16 * GIB);
    assert_int_equal(r->smbios.devices[0].type, 26);
    assert_int_equal(r->smbios.devices[0].form_factor, 9);
    assert_int_equal(r->smbios.devices[0].total_bits, 72);
    assert_int_equal(r->smbios.devices[0].data_bits, 64);
    assert_int_equal(r->smbios.devices[0].ranks, 2);
    assert_int_equal(r->smbios.devices[0].speed, 3200);
    assert_int_equal(r->smbios.devices[0].configured_speed, 2400);
    assert_string_equal(r->smbios.devices[1].locator, "DIMM B");
    assert_null(r->smbios.devices[1].manufacturer);
    assert_int_equal(r->smbios.devices[1].nbytes, 0);
    assert_int_equal(r->smbios.devices[1].total_bits, 0);
    assert_int_equal(r->smbios.devices[1].speed, 0);

    assert_int_equal(r->attributes.address, STUB_MAT);
    assert_int_equal(r->attributes.flags, 1);
    assert_null(r->attributes.problem);
    assert_int_equal(r->attributes.raw.version, 2);
    assert_int_equal(r->attributes.raw.stride, 48);
    assert_int_equal(r->attributes.raw.nbytes, 3 * 48);
    assert_ptr_not_equal(r->attributes.raw.bytes, fw_pointer(STUB_MAT + 16));
    assert_memory_equal(r->attributes.raw.bytes, fw_pointer(STUB_MAT + 16), 3 * 48);
}

static void test_facts_for_the_lint(void **state)
{
    const struct maplint_facts *l = &facts.lint;
    struct maplint_result result = { 0 };

    (void)state;
    (void)gather();
    assert_int_equal(l->arch, MAPFILE_ARCH_X86);
    assert_int_equal(l->phys_bits, 39);
    assert_int_equal(l->attr_known, UINT64_MAX);
    assert_int_equal(l->raw_is_firmware, MAPLINT_YES);
    assert_int_equal(l->virt_is_firmware, MAPLINT_YES);
    assert_int_equal(l->key_changed, MAPLINT_UNKNOWN);
    assert_range(l->rsdp, STUB_RSDP, 36);
    assert_range(l->xsdt, STUB_XSDT, 60);
    assert_range(l->facs, STUB_FACS, 64);
    assert_range(l->smbios, STUB_SMBIOS3, 24);
    assert_range(l->image, STUB_RAM + 0x300000, 0x98000);
    assert_range(l->stack, 0, 0);
    assert_int_equal(l->necam, 2);
    assert_range(l->ecam[0], 0xe0000000, 256 << 20);
    assert_range(l->ecam[1], 0x4001000000, 16 << 20);
    assert_int_equal(l->nframebuffers, 1);
    assert_range(l->framebuffers[0], 0xc0000000, 4096000);
    assert_int_equal(l->mat_count, 3);
    assert_int_equal(l->mat.nbytes, 3 * 48);
    maplint_run(&result, &map, l);
}

static void test_identifiers(void **state)
{
    static const char *const secrets[] = { "SYS-SERIAL", "BOARD-SERIAL", "D-SERIAL",
                                           "01234567-89ab-cdef-0102-030405060708" };

    (void)state;
    build_map();
    for (unsigned with = 0; with < 2; with++) {
        size_t nbytes;
        char *text;

        facts_gather(&stub_machine, &map, with == 1, &pool, &facts);
        check_report(&facts.report);
        text = written(&facts.report, &nbytes);
        for (size_t i = 0; i < MM_COUNTOF(secrets); i++) {
            assert_true((memmem(text, nbytes, secrets[i], strlen(secrets[i])) != NULL) ==
                        (with == 1));
        }
        free(text);
    }
}

/* What is in the report and in the facts is a copy: firmware may change its mind. */
static void test_all_is_copied(void **state)
{
    size_t before_bytes, after_bytes;
    char *before = written(gather(), &before_bytes), *after;

    (void)state;
    memset(fw_pointer(STUB_RAM), 0xaa, 0x10000);
    memset(&stub_facts.tables, 0xaa, sizeof(stub_facts.tables));
    after = written(&facts.report, &after_bytes);
    assert_int_equal(after_bytes, before_bytes);
    assert_memory_equal(after, before, before_bytes);
    assert_int_equal(facts.lint.mat.stride, 48);
    free(before);
    free(after);
}

static void test_nothing_to_ask(void **state)
{
    const struct report *r;

    (void)state;
    stub_machine.facts = NULL;
    r = gather();
    assert_null(r->plat);
    assert_int_equal(r->known, REPORT_HAS_FIRMWARE | REPORT_HAS_ACPI | REPORT_HAS_SMBIOS |
                                   REPORT_HAS_ATTRIBUTES | REPORT_HAS_PCI_CONFIG);
    assert_int_equal(r->nacpi, 6);

    stub_machine = (struct machine){ .facts = NULL };
    r = gather();
    assert_int_equal(r->known, REPORT_HAS_FIRMWARE | REPORT_HAS_ACPI | REPORT_HAS_PCI_CONFIG);
    assert_null(r->firmware.vendor);
    assert_range(facts.lint.rsdp, 0, 0);
    assert_range(facts.lint.smbios, 0, 0);
    assert_null(facts.lint.mat.bytes);
}

static void test_no_memory(void **state)
{
    const struct report *r;

    (void)state;
    stub_fw.fail_alloc = 0; /* the storage */
    r = gather();
    assert_int_equal(r->cpu.family, 6);
    assert_int_equal(r->cpu.physical_bits, 39);
    assert_null(r->cpu.vendor);
    assert_null(r->firmware.vendor);
    assert_int_equal(r->ntables + r->nacpi + r->npci_config + r->nframebuffers, 0);
    assert_int_equal(r->smbios.ndevices, 0);
    assert_int_equal(r->smbios.major, 3);
    assert_range(facts.lint.facs, 0, 0);
    assert_range(facts.lint.xsdt, STUB_XSDT, 60);
    assert_int_equal(r->time.year, 2026);
    assert_int_equal(r->attributes.raw.nbytes, 3 * 48);

    stub_fw.nallocs = 0;
    stub_fw.fail_alloc = 1; /* the copy of the Memory Attributes Table */
    r = gather();
    assert_int_equal(r->known & REPORT_HAS_ATTRIBUTES, 0);
    assert_null(facts.lint.mat.bytes);
    assert_int_equal(r->nacpi, 6);
}

/* ---- where nothing can be read --------------------------------------------------------------- */

static const uint64_t nowhere[] = {
    1,
    0xfff,
    STUB_DEVICE,
    STUB_DEVICE + 8,
    STUB_DEVICE - 4, /* runs into it */
    STUB_BAD,
    STUB_UNACCEPTED - 1,
    UINT64_C(0xd0000000), /* in no region */
    UINT64_C(0xdfff0),    /* below the BIOS area */
    UINT64_C(0xffffe),    /* its end */
    UINT64_C(1) << 39,    /* outside of what the CPU can address */
    UINT64_C(0x8000000000000000),
    UINT64_C(0xfffffffffffffff0), /* wraps */
    UINT64_MAX,
};

static void test_pointers_to_nowhere(void **state)
{
    (void)state;
    for (size_t i = 0; i < MM_COUNTOF(nowhere); i++) {
        uint64_t pa = nowhere[i];
        const struct report *r;

        stub_facts_reset();
        stub_facts.ntables = 0;
        stub_machine.rsdp = stub_machine.smbios = stub_machine.memory_attributes = pa;
        stub_machine.firmware_vendor = fw_pointer(pa);
        r = gather();
        assert_int_equal(r->known & (REPORT_HAS_ACPI | REPORT_HAS_PCI_CONFIG | REPORT_HAS_SMBIOS),
                         0);
        /* The lint is told where they are, readable or not. */
        assert_range(facts.lint.rsdp, pa, 20);
        assert_range(facts.lint.smbios, pa, 24);
        assert_true(r->known & REPORT_HAS_ATTRIBUTES);
        assert_int_equal(r->attributes.address, pa);
        assert_string_equal(r->attributes.problem, "it is not in memory that can be read");
        assert_null(facts.lint.mat.bytes);
        assert_int_equal(r->cpu.physical_bits, 39);

        /* The same one step further in. */
        stub_facts_reset();
        stub_put_rsdp();
        stub_put(STUB_RSDP + 16, 0, 4);
        stub_put(STUB_RSDP + 24, pa, 8);
        stub_fix_sum(STUB_RSDP, 20, 8);
        stub_fix_sum(STUB_RSDP, 36, 32);
        stub_put(STUB_SMBIOS3 + 16, pa, 8);
        stub_fix_sum(STUB_SMBIOS3, 24, 5);
        r = gather();
        assert_int_equal(r->known & REPORT_HAS_ACPI, 0);
        assert_range(facts.lint.rsdp, STUB_RSDP, 36);
        assert_range(facts.lint.xsdt, pa, 36);
        assert_true(r->known & REPORT_HAS_SMBIOS);
        assert_null(r->smbios.product);
        assert_int_equal(r->smbios.ndevices, 0);

        /* And in the FADT. */
        stub_facts_reset();
        stub_put(STUB_FADT + 132, pa, 8);
        stub_put(STUB_FADT + 140, pa, 8);
        stub_fix_table(STUB_FADT);
        r = gather();
        assert_int_equal(r->nacpi, 4);
        assert_range(facts.lint.facs, pa, 64);
    }
}

/* Old machines have their tables there, and the map says nothing of it. */
static void test_bios_area(void **state)
{
    const struct report *r;

    (void)state;
    memcpy(fw_pointer(0xf5b81), fw_pointer(STUB_RSDP), 36);
    memcpy(fw_pointer(0xfffe1), fw_pointer(STUB_SMBIOS), 31); /* its last byte is the area's */
    memcpy(fw_pointer(0xe0000), fw_pointer(STUB_DMI), stub_structures_end() - STUB_DMI);
    stub_put(0xfffe1 + 24, 0xe0000, 4);
    stub_fix_sum(0xfffe1 + 16, 15, 5);
    stub_fix_sum(0xfffe1, 31, 4);
    stub_machine.rsdp = 0xf5b81;
    stub_machine.smbios = 0xfffe1;
    r = gather();
    assert_int_equal(r->nacpi, 6);
    assert_int_equal(r->smbios.address, 0xfffe1);
    assert_int_equal(r->smbios.major, 2);
    assert_string_equal(r->smbios.product, "Product");
    assert_int_equal(r->smbios.ndevices, 2);
}

/* ---- ACPI ------------------------------------------------------------------------------------ */

static void test_root_pointer(void **state)
{
    static const struct {
        unsigned at;
        unsigned char v;
        bool fix20, fix36;
        const char *root; /* NULL: none */
    } damage[] = {
        { 0, 'r', true, true, NULL },       { 8, 0x5a, false, false, NULL },
        { 20, 0, false, false, "RSDT" }, /* the second checksum */
        { 32, 0x5a, false, false, "RSDT" }, { 15, 0, true, false, "RSDT" },
        { 15, 1, true, false, "RSDT" },     { 15, 255, true, true, "XSDT" },
        { 33, 7, false, true, "XSDT" },
    };

    (void)state;
    for (size_t i = 0; i < MM_COUNTOF(damage); i++) {
        const struct report *r;

        stub_facts_reset();
        stub_put(STUB_RSDP + damage[i].at, damage[i].v, 1);
        if (damage[i].fix20) {
            stub_fix_sum(STUB_RSDP, 20, 8);
        }
        if (damage[i].fix36) {
            stub_fix_sum(STUB_RSDP, 36, 32);
        }
        r = gather();
        if (damage[i].root == NULL) {
            assert_int_equal(r->known & (REPORT_HAS_ACPI | REPORT_HAS_PCI_CONFIG), 0);
            assert_int_equal(r->nacpi, 0);
            continue;
        }
        assert_true(r->known & REPORT_HAS_ACPI);
        assert_int_equal(r->nacpi, 6);
        assert_string_equal(r->acpi[0].signature, damage[i].root);
        if (strcmp(damage[i].root, "RSDT") == 0) {
            assert_range(facts.lint.rsdp, STUB_RSDP, 20);
            assert_range(facts.lint.xsdt, 0, 0);
        }
    }
}

static void test_root_tables(void **state)
{
    static const uint32_t lengths[] = { 0, 35, ACPI_MAX_TABLE_BYTES + 1, UINT32_MAX };
    const struct report *r;

    (void)state;
    for (size_t i = 0; i < MM_COUNTOF(lengths); i++) {
        stub_facts_reset();
        stub_put(STUB_XSDT + 4, lengths[i], 4);
        r = gather();
        assert_int_equal(r->nacpi, 6);
        assert_acpi(r, 0, "RSDT", STUB_RSDT, 48);
        assert_range(facts.lint.xsdt, STUB_XSDT, 36); /* it is there, whatever its length */
        stub_put(STUB_RSDT + 4, lengths[i], 4);
        r = gather();
        assert_int_equal(r->known & REPORT_HAS_ACPI, 0);
    }
    stub_facts_reset();
    stub_put(STUB_XSDT + 35, 1, 1);
    r = gather();
    assert_acpi(r, 0, "RSDT", STUB_RSDT, 48);

    stub_facts_reset(); /* no entries, and half an entry */
    for (uint32_t nbytes = 36; nbytes < 44; nbytes++) {
        stub_put_table(STUB_XSDT, "XSDT", nbytes);
        r = gather();
        assert_int_equal(r->nacpi, 1);
        assert_int_equal(r->npci_config, 0);
        assert_true(r->known & REPORT_HAS_PCI_CONFIG);
        assert_range(facts.lint.xsdt, STUB_XSDT, nbytes);
    }
}

/* A table that does not hold up is not there; the others are. */
static void test_damaged_tables(void **state)
{
    const struct {
        uint64_t pa;
        uint32_t length;
        bool fix;
    } damage[] = {
        { STUB_RAM + 0x20000, 0, false },
        { STUB_RAM + 0x20000, 35, false },
        { STUB_RAM + 0x20000, 4096, false }, /* checksum */
        { STUB_RAM + 0x20000, ACPI_MAX_TABLE_BYTES + 1, false },
        { STUB_RAM + 0x20000, UINT32_MAX, false },
        { STUB_RAM + 0x20000, STUB_DEVICE - STUB_RAM - 0x20000 + 1, false },
        { STUB_DEVICE - 36, 37, false }, /* behind the header is a device */
        { STUB_DEVICE - 35, 36, false },
        { STUB_BAD - 40, 4096, false },
        { STUB_UNACCEPTED - 40, 4096, false },
        { 0, 0, false },
        { 8, 0, false },
        { UINT64_MAX - 40, 0, false },
    };

    (void)state;
    for (size_t i = 0; i < MM_COUNTOF(damage); i++) {
        const uint64_t tables[] = { STUB_APIC, damage[i].pa, STUB_MCFG };
        const struct report *r;

        stub_facts_reset();
        if (damage[i].length != 0) {
            unsigned char header[36] = "EVIL";

            memcpy(header + 4, &damage[i].length, 4);
            memcpy(fw_pointer(damage[i].pa), header,
                   damage[i].pa < STUB_DEVICE ? mm_min(36, STUB_DEVICE - damage[i].pa) : 36);
        }
        stub_put_root(tables, 3);
        r = gather();
        assert_int_equal(r->nacpi, 3);
        assert_acpi(r, 1, "APIC", STUB_APIC, 120);
        assert_acpi(r, 2, "MCFG", STUB_MCFG, 76);
        assert_range(facts.lint.facs, 0, 0);
    }
}

/* Up to the last byte before a device. */
static void test_table_at_the_edge(void **state)
{
    const uint64_t tables[] = { STUB_DEVICE - 100 };
    const struct report *r;

    (void)state;
    stub_put_table(STUB_DEVICE - 100, "EDGE", 100);
    stub_put_root(tables, 1);
    r = gather();
    assert_int_equal(r->nacpi, 2);
    assert_acpi(r, 1, "EDGE", STUB_DEVICE - 100, 100);
}

static void test_named_twice(void **state)
{
    const uint64_t tables[] = { STUB_XSDT, STUB_APIC, STUB_DSDT, STUB_FADT, STUB_APIC,
                                STUB_FADT, STUB_FACS, STUB_RSDP, STUB_XSDT };
    const struct report *r;

    (void)state;
    stub_put_root(tables, MM_COUNTOF(tables));
    r = gather();
    assert_int_equal(r->nacpi, 5);
    assert_acpi(r, 0, "XSDT", STUB_XSDT, 36 + 8 * 9);
    assert_acpi(r, 1, "APIC", STUB_APIC, 120);
    assert_acpi(r, 2, "DSDT", STUB_DSDT, 2000);
    assert_acpi(r, 3, "FACP", STUB_FADT, 276);
    assert_acpi(r, 4, "FACS", STUB_FACS, 64);
}

static void test_ten_thousand_tables(void **state)
{
    const uint64_t at = STUB_RAM + 0x400000;
    const struct report *r;

    (void)state;
    /* Each a table of its own, beside an entry for it. */
    stub_put_table(at, "XSDT", 36 + 8 * 10000);
    for (uint32_t i = 0; i < 10000; i++) {
        stub_put(at + 36 + 8 * i, at + 0x100000 + 64 * i, 8);
        stub_put_table(at + 0x100000 + 64 * i, "MANY", 40);
    }
    stub_fix_table(at);
    stub_put(STUB_RSDP + 24, at, 8);
    stub_fix_sum(STUB_RSDP, 36, 32);
    r = gather();
    assert_int_equal(r->nacpi, 1 + ACPI_MAX_TABLES);
    assert_acpi(r, ACPI_MAX_TABLES, "MANY", at + 0x100000 + 64 * (ACPI_MAX_TABLES - 1), 40);
    assert_int_equal(r->smbios.ndevices, 2); /* there is room left for the rest */

    for (uint32_t i = 0; i < 10000; i++) { /* and all the same one */
        stub_put(at + 36 + 8 * i, STUB_APIC, 8);
    }
    stub_fix_table(at);
    r = gather();
    assert_int_equal(r->nacpi, 2);
}

/* Sound tables of 16 MiB each, one inside the other: not even four of them are looked at. */
static void test_tables_too_large_in_sum(void **state)
{
    const uint64_t at = STUB_RAM + 0x400000;
    const uint64_t tables[] = { at, at + 64, at + 128, at + 192, STUB_APIC };
    const struct report *r;

    (void)state;
    memset(fw_pointer(at), 0, ACPI_MAX_TABLE_BYTES + 4096);
    for (int i = 3; i >= 0; i--) { /* each has the headers behind its own inside */
        stub_put_table(tables[i], "HUGE", 36);
        stub_put(tables[i] + 4, ACPI_MAX_TABLE_BYTES, 4);
        stub_fix_table(tables[i]);
    }
    stub_put_root(tables, 5);
    r = gather();
    assert_int_equal(r->nacpi, 5);
    for (uint32_t i = 0; i < 3; i++) {
        assert_acpi(r, 1 + i, "HUGE", tables[i], ACPI_MAX_TABLE_BYTES);
    }
    assert_acpi(r, 4, "APIC", STUB_APIC, 120); /* there is time for this one */
}

static void test_fadt(void **state)
{
    const uint64_t twice[] = { STUB_FADT, STUB_RAM + 0x20000 };
    const struct report *r;

    (void)state;
    /* ACPI 1.0: shorter, with 32 bits. */
    stub_put_table(STUB_FADT, "FACP", 116);
    stub_put(STUB_FADT + 36, STUB_FACS, 4);
    stub_put(STUB_FADT + 40, STUB_DSDT, 4);
    stub_fix_table(STUB_FADT);
    r = gather();
    assert_int_equal(r->nacpi, 6);
    assert_acpi(r, 2, "DSDT", STUB_DSDT, 2000);
    assert_acpi(r, 3, "FACS", STUB_FACS, 64);

    /* Too short for either, and a DSDT that is the FADT itself. */
    stub_put_table(STUB_FADT, "FACP", 43);
    stub_put(STUB_FADT + 36, STUB_FADT, 4);
    stub_fix_table(STUB_FADT);
    r = gather();
    assert_int_equal(r->nacpi, 4);
    assert_range(facts.lint.facs, STUB_FADT, 64);

    /* The first of two counts. */
    stub_facts_reset();
    stub_put_table(twice[1], "FACP", 276);
    stub_put(twice[1] + 132, STUB_APIC, 8);
    stub_put(twice[1] + 140, STUB_MCFG, 8);
    stub_fix_table(twice[1]);
    stub_put_root(twice, 2);
    r = gather();
    assert_int_equal(r->nacpi, 5);
    assert_range(facts.lint.facs, STUB_FACS, 64);
}

static void test_facs(void **state)
{
    static const uint32_t lengths[] = { 0, 63, ACPI_MAX_TABLE_BYTES + 1, UINT32_MAX,
                                        STUB_DEVICE - STUB_FACS + 1 };
    const struct report *r;

    (void)state;
    for (size_t i = 0; i < MM_COUNTOF(lengths); i++) {
        stub_put(STUB_FACS + 4, lengths[i], 4);
        r = gather();
        assert_int_equal(r->nacpi, 5);
        assert_range(facts.lint.facs, STUB_FACS, 64);
    }
    stub_put(STUB_FACS + 4, 4096, 4);
    r = gather();
    assert_acpi(r, 3, "FACS", STUB_FACS, 4096);
    assert_range(facts.lint.facs, STUB_FACS, 4096);
    stub_put(STUB_FACS, 'f', 1);
    r = gather();
    assert_int_equal(r->nacpi, 5);
}

static void test_mcfg(void **state)
{
    static const uint64_t table[] = { STUB_MCFG };
    const struct report *r;

    (void)state;
    for (uint32_t nbytes = 36; nbytes < 60; nbytes++) { /* no whole allocation */
        stub_put_table(STUB_MCFG, "MCFG", nbytes);
        stub_put_root(table, 1);
        r = gather();
        assert_int_equal(r->npci_config, 0);
        assert_int_equal(facts.lint.necam, 0);
    }
    stub_put_table(STUB_MCFG, "MCFG", 44 + 100 * 16);
    for (uint32_t i = 0; i < 100; i++) {
        stub_put(STUB_MCFG + 44 + 16 * i, i * GIB, 8);
        stub_put(STUB_MCFG + 44 + 16 * i + 8, i, 2);
    }
    stub_put(STUB_MCFG + 44 + 10, 0x0001, 2); /* from bus 1 to 0 */
    stub_put(STUB_MCFG + 60, UINT64_MAX, 8);  /* bus 1 wraps */
    stub_put(STUB_MCFG + 60 + 10, 0x0101, 2);
    stub_put(STUB_MCFG + 76, UINT64_MAX - 0xfffff, 8); /* ends with the address space */
    stub_fix_table(STUB_MCFG);
    stub_put_root(table, 1);
    r = gather();
    assert_int_equal(r->npci_config, FACTS_MAX_ECAM);
    assert_int_equal(facts.lint.necam, FACTS_MAX_ECAM);
    assert_int_equal(r->pci_config[0].segment, 2);
    assert_int_equal(r->pci_config[0].base, UINT64_MAX - 0xfffff);
    assert_int_equal(r->pci_config[0].nbytes, 1 << 20);
    assert_int_equal(r->pci_config[63].segment, 65);
    assert_range(facts.lint.ecam[63], 65 * GIB, 1 << 20);
}

/* ---- SMBIOS ---------------------------------------------------------------------------------- */

static void test_entry_points(void **state)
{
    static const struct {
        unsigned at;
        unsigned char v;
        bool fix;
    } damage3[] = { { 0, '-', true },
                    { 5, 0x11, false },
                    { 6, 23, true },
                    { 6, 255, false },
                    { 6, 0, false } },
      damage2[] = { { 0, '-', true },  { 4, 0x11, false }, { 5, 29, true },   { 5, 0, false },
                    { 5, 255, false }, { 16, '-', true },  { 21, 0x11, true } };
    const struct report *r;

    (void)state;
    for (size_t i = 0; i < MM_COUNTOF(damage3); i++) {
        stub_facts_reset();
        stub_put(STUB_SMBIOS3 + damage3[i].at, damage3[i].v, 1);
        if (damage3[i].fix) {
            stub_fix_sum(STUB_SMBIOS3, ((unsigned char *)fw_pointer(STUB_SMBIOS3))[6], 5);
        }
        r = gather(); /* the other one serves */
        assert_int_equal(r->smbios.address, STUB_SMBIOS);
        assert_int_equal(r->smbios.major, 2);
        assert_int_equal(r->smbios.ndevices, 2);
        assert_range(facts.lint.smbios, STUB_SMBIOS, 31);
        stub_facts.ntables = 2;
        r = gather();
        assert_int_equal(r->known & REPORT_HAS_SMBIOS, 0);
        assert_range(facts.lint.smbios, STUB_SMBIOS3, 24);
    }
    for (size_t i = 0; i < MM_COUNTOF(damage2); i++) {
        stub_facts_reset();
        stub_machine.smbios = STUB_SMBIOS;
        stub_put(STUB_SMBIOS + damage2[i].at, damage2[i].v, 1);
        if (damage2[i].fix) {
            stub_fix_sum(STUB_SMBIOS, ((unsigned char *)fw_pointer(STUB_SMBIOS))[5], 4);
        }
        r = gather();
        assert_int_equal(r->known & REPORT_HAS_SMBIOS, 0);
    }
    /* The length that an edition of the specification had wrong; checksums are right over 31. */
    stub_facts_reset();
    stub_machine.smbios = STUB_SMBIOS;
    stub_put(STUB_SMBIOS + 5, 30, 1);
    stub_fix_sum(STUB_SMBIOS, 31, 4);
    r = gather();
    assert_int_equal(r->smbios.major, 2);
    assert_int_equal(r->smbios.ndevices, 2);

    stub_facts_reset();
    stub_machine.smbios = 0;
    r = gather();
    assert_int_equal(r->known & REPORT_HAS_SMBIOS, 0);
}

/* More than there is memory for: what is there is read. */
static void test_structures_at_the_edge(void **state)
{
    static const unsigned char board[8] = { 2, 8, 0, 0, 1 };
    const uint64_t at = STUB_DEVICE - 12;
    const struct report *r;

    (void)state;
    memcpy(fw_pointer(at), board, 8);
    memcpy(fw_pointer(at + 8), "AB\0", 4);
    stub_put(STUB_SMBIOS3 + 12, UINT32_MAX, 4);
    stub_put(STUB_SMBIOS3 + 16, at, 8);
    stub_fix_sum(STUB_SMBIOS3, 24, 5);
    r = gather();
    assert_string_equal(r->smbios.board_manufacturer, "AB");

    stub_put(at + 11, 'C', 1); /* the text goes on in the device */
    r = gather();
    assert_null(r->smbios.board_manufacturer);
    stub_put(at + 8, 0, 3); /* no text, and one NUL is missing */
    r = gather();
    assert_null(r->smbios.board_manufacturer);
    stub_put(at + 1, 255, 1);
    r = gather();
    assert_null(r->smbios.board_manufacturer);
    stub_put(STUB_SMBIOS3 + 16, 0, 8); /* no table at all */
    stub_fix_sum(STUB_SMBIOS3, 24, 5);
    r = gather();
    assert_true(r->known & REPORT_HAS_SMBIOS);
    assert_null(r->smbios.board_manufacturer);
}

static void test_structure_lengths(void **state)
{
    static const unsigned char product[6] = { 1, 6, 0, 0, 1, 2 };
    static const unsigned char end[4] = { 127, 4, 0, 0 };
    const struct report *r;

    (void)state;
    for (unsigned length = 0; length < 4; length++) {
        uint64_t at;

        stub_begin_structures(STUB_DMI);
        stub_put_structure(product, "\2\2\2\2\0P\0"); /* texts that may be taken for fields */
        at = stub_structures_end();
        stub_put_structure(end, "\0");
        stub_put_structure(end, "\0");
        stub_put(at, 2, 1);
        stub_put(at + 1, length, 1); /* would never end */
        stub_put_smbios3();
        r = gather();
        assert_string_equal(r->smbios.product, "P"); /* what came before it stays */
        assert_null(r->smbios.version);              /* the structure ends before */
        assert_null(r->smbios.serial);
        assert_null(r->smbios.board_product);
    }
}

static void test_end_of_structures(void **state)
{
    static const unsigned char end[4] = { 127, 4, 0, 0 };
    static const unsigned char board[6] = { 2, 6, 0, 0, 0, 1 };
    const struct report *r;

    (void)state;
    stub_begin_structures(STUB_DMI);
    stub_put_structure(end, "\0");
    stub_put_structure(board, "Behind\0");
    stub_put_smbios3();
    r = gather();
    assert_null(r->smbios.board_product); /* the mark ends it */
    stub_put_smbios2(2);
    stub_machine.smbios = STUB_SMBIOS;
    r = gather();
    assert_string_equal(r->smbios.board_product, "Behind"); /* the count does */
    stub_put_smbios2(1);
    r = gather();
    assert_null(r->smbios.board_product);
    stub_put_smbios2(0);
    r = gather();
    assert_null(r->smbios.board_product); /* none: the mark */
    stub_put_smbios2(3);
    r = gather();
    assert_string_equal(r->smbios.board_product, "Behind"); /* or the end of the bytes */

    /* Without a mark, the end of the bytes. */
    stub_begin_structures(STUB_DMI);
    stub_put_structure(board, "Last\0");
    stub_put_smbios3();
    memset(fw_pointer(stub_structures_end()), 0x41, 64);
    stub_machine.smbios = STUB_SMBIOS3;
    r = gather();
    assert_string_equal(r->smbios.board_product, "Last");
}

static void test_first_of_each(void **state)
{
    static const unsigned char board[6] = { 2, 6, 0, 0, 1, 1 };
    const struct report *r;

    (void)state;
    stub_begin_structures(STUB_DMI);
    stub_put_structure(board, "First\0");
    stub_put_structure(board, "Second\0");
    stub_put_smbios3();
    r = gather();
    assert_string_equal(r->smbios.board_product, "First");
    assert_string_equal(r->smbios.board_manufacturer, "First");
}

static void test_texts(void **state)
{
    static char longest[1000];
    unsigned char board[8] = { 2, 8, 0, 0, 1, 2, 3, 255 };
    const struct report *r;

    (void)state;
    memset(longest, 'x', sizeof(longest) - 2);
    stub_begin_structures(STUB_DMI);
    stub_put_structure(board, longest);
    stub_put_smbios3();
    r = gather();
    assert_int_equal(strlen(r->smbios.board_manufacturer), FACTS_MAX_TEXT);
    assert_null(r->smbios.board_product);
    assert_null(r->smbios.board_serial);

    stub_begin_structures(STUB_DMI); /* bytes that are no UTF-8, a blank, and a number of no text */
    stub_put_structure(board, "\xff\xfe\x80\0 \0");
    stub_put_smbios3();
    r = gather();
    assert_string_equal(r->smbios.board_manufacturer, "\xff\xfe\x80");
    assert_string_equal(r->smbios.board_product, " ");
    assert_null(r->smbios.board_version);

    stub_begin_structures(STUB_DMI); /* an empty one cannot be, and hides what is behind it */
    stub_put_structure(board, "\0behind\0");
    stub_put_smbios3();
    r = gather();
    assert_null(r->smbios.board_manufacturer);
}

static void test_uuid(void **state)
{
    static const unsigned char none[16];
    unsigned char system[24] = { 1, 24, 0, 0 };
    const struct report *r;

    (void)state;
    for (unsigned v = 0; v < 256; v += 255) { /* not there; not there, but it can be set */
        memset(system + 8, (int)v, 16);
        stub_begin_structures(STUB_DMI);
        stub_put_structure(system, "\0");
        stub_put_smbios3();
        r = gather();
        assert_memory_equal(r->smbios.uuid, none, 16);
    }
}

static void test_memory_devices(void **state)
{
    static const struct {
        uint32_t size, extended;
        uint64_t nbytes;
    } sizes[] = {
        { 0, 77, 0 },
        { 0xffff, 77, REPORT_NO_SIZE },
        { 0x7fff, 0, 0 },
        { 0x7fff, 32768, 32 * GIB },
        { 0x7fff, 0xffffffff, UINT64_C(0x7fffffff) << 20 },
        { 0x7ffe, 77, UINT64_C(0x7ffe) << 20 },
        { 0x8001, 77, 1024 },
        { 0xfffe, 77, UINT64_C(0x7ffe) << 10 },
    };
    static const struct {
        uint32_t old, extended, speed;
    } speeds[] = {
        { 0, 77, 0 },
        { 1, 77, 1 },
        { 0xfffe, 77, 0xfffe },
        { 0xffff, 70000, 70000 },
        { 0xffff, 0xffffffff, 0x7fffffff },
    };
    unsigned char device[92] = { 17, 92 };
    const struct report *r;

    (void)state;
    stub_begin_structures(STUB_DMI);
    for (size_t i = 0; i < MM_COUNTOF(sizes); i++) {
        memcpy(device + 0x0c, &sizes[i].size, 2);
        memcpy(device + 0x1c, &sizes[i].extended, 4);
        stub_put_structure(device, "\0");
    }
    for (size_t i = 0; i < MM_COUNTOF(speeds); i++) {
        memcpy(device + 0x15, &speeds[i].old, 2);
        memcpy(device + 0x54, &speeds[i].extended, 4);
        memcpy(device + 0x20, &speeds[MM_COUNTOF(speeds) - 1 - i].old, 2);
        memcpy(device + 0x58, &speeds[MM_COUNTOF(speeds) - 1 - i].extended, 4);
        stub_put_structure(device, "\0");
    }
    stub_put_smbios3();
    r = gather();
    assert_int_equal(r->smbios.ndevices, MM_COUNTOF(sizes) + MM_COUNTOF(speeds));
    for (size_t i = 0; i < MM_COUNTOF(sizes); i++) {
        assert_int_equal(r->smbios.devices[i].nbytes, sizes[i].nbytes);
    }
    for (size_t i = 0; i < MM_COUNTOF(speeds); i++) {
        const struct report_memory_device *d = &r->smbios.devices[MM_COUNTOF(sizes) + i];

        assert_int_equal(d->speed, speeds[i].speed);
        assert_int_equal(d->configured_speed, speeds[MM_COUNTOF(speeds) - 1 - i].speed);
    }

    stub_begin_structures(STUB_DMI); /* of every version, and of none */
    for (unsigned length = 4; length <= 92; length++) {
        device[1] = (unsigned char)length;
        stub_put_structure(device, "\0");
    }
    stub_put_smbios3();
    r = gather();
    assert_int_equal(r->smbios.ndevices, 89);
    assert_int_equal(r->smbios.devices[0].nbytes, REPORT_NO_SIZE);
    assert_int_equal(r->smbios.devices[0x0d - 4].nbytes, REPORT_NO_SIZE);
    assert_int_equal(r->smbios.devices[0x0e - 4].nbytes, UINT64_C(0x7ffe) << 10);
}

/* As many as fit; then the end, and nothing is torn. */
static void test_too_many_devices(void **state)
{
    static const unsigned char device[32] = { 17, 32, [16] = 1, [17] = 1, [23] = 1, [26] = 1 };
    const struct report *r;

    (void)state;
    stub_begin_structures(STUB_RAM + 0x400000);
    for (unsigned i = 0; i < 20000; i++) {
        stub_put_structure(device, "A text that takes room\0");
    }
    stub_put_smbios3();
    r = gather();
    assert_true(r->smbios.ndevices > 500 && r->smbios.ndevices < 20000);
    assert_string_equal(r->smbios.devices[r->smbios.ndevices / 2].locator,
                        "A text that takes room");
}

/* ---- the processor --------------------------------------------------------------------------- */

/* A desktop processor of Intel's: i7-13700, as CPUID gives it, but for leaves not looked at. */
static const struct stub_cpu_leaf intel[] = {
    { 0, { 0x20, 0x756e6547, 0x6c65746e, 0x49656e69 } },
    { 1, { 0x000b0671, 0x00800800, 0x7ffafbff, 0xbfebfbff } },
    { 7, { 2, 0x239c27eb, 0x98c027bc, 0xfc1cc410 } },
    { 0x80000000, { 0x80000008, 0, 0, 0 } },
    { 0x80000001, { 0, 0, 0x121, 0x2c100800 } },
    { 0x80000002, { 0x68743331, 0x6e654720, 0x746e4920, 0x52286c65 } },
    { 0x80000003, { 0x6f432029, 0x54286572, 0x6920294d, 0x33312d37 } },
    { 0x80000004, { 0x00303037, 0, 0, 0 } },
    { 0x80000008, { 0x302e, 0, 0, 0 } },
    { 0, { 0 } },
};

/* EPYC 9654, with all of its memory encryption. */
static const struct stub_cpu_leaf amd[] = {
    { 0, { 0x10, 0x68747541, 0x444d4163, 0x69746e65 } },
    { 1, { 0x00a10f11, 0, 0x7efa320b, 0x178bfbff } },
    { 7, { 1, 0xf1bf97a9, 0x00405fce, 0x10000010 } },
    { 0x80000000, { 0x80000028, 0x68747541, 0x444d4163, 0x69746e65 } },
    { 0x80000001, { 0x00a10f11, 0, 0x75c237ff, 0x2fd3fbff } },
    { 0x80000002, { 0x20444d41, 0x43595045, 0x36393920, 0 } },
    { 0x80000003, { 0, 0, 0, 0 } },
    { 0x80000004, { 0, 0, 0, 0 } },
    { 0x80000008, { 0x00303934, 0, 0, 0 } },
    { 0x8000001f, { 0x0007b1fb, 0x173, 0x3ee, 1 } },
    { 0, { 0 } },
};

/* QEMU's qemu64. */
static const struct stub_cpu_leaf qemu[] = {
    { 0, { 0xd, 0x68747541, 0x444d4163, 0x69746e65 } },
    { 1, { 0x00060fb1, 0x00000800, 0x80002001, 0x078bfbfd } },
    { 7, { 0, 0, 0, 0 } },
    { 0x80000000, { 0x8000000a, 0, 0, 0 } },
    { 0x80000001, { 0x00060fb1, 0, 0x5, 0x2191abfd } },
    { 0x80000002, { 0x554d4551, 0x72695620, 0x6c617574, 0x55504320 } },
    { 0x80000003, { 0x72657620, 0x6e6f6973, 0x352e3220, 0x0000002b } },
    { 0x80000004, { 0, 0, 0, 0 } },
    { 0x80000008, { 0x3028, 0, 0, 0 } },
    { 0, { 0 } },
};

/* As little as there can be; its last leaves are 0 and, beyond the range, whatever. */
static const struct stub_cpu_leaf minimal[] = {
    { 0, { 0, 0, 0, 0 } },
    { 0x80000000, { 0x00000007, 0x55555555, 0x55555555, 0x55555555 } },
    { 0, { 0 } },
};

/* A guest under TDX; its hypervisor tells nonsense about widths. */
static const struct stub_cpu_leaf tdx[] = {
    { 0, { 0x21, 0x756e6547, 0x6c65746e, 0x49656e69 } },
    { 1, { 0x000c06f2, 0, 0x80000000, 0 } },
    { 7, { 0, 0, 0, 0 } },
    { 0x21, { 0, 0x65746e49, 0x20202020, 0x5844546c } },
    { 0x80000000, { 0x80000008, 0, 0, 0 } },
    { 0x80000001, { 0, 0, 0, 0 } },
    { 0x80000002, { 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff } },
    { 0x80000003, { 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff } },
    { 0x80000004, { 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff } },
    { 0x80000008, { 0xff41, 0, 0, 0 } },
    { 0, { 0 } },
};

static void test_processors(void **state)
{
    static const struct {
        const struct stub_cpu_leaf *leaves;
        const char *vendor, *brand;
        uint32_t family, model, stepping, physical, linear, features;
    } cpus[] = {
        { intel, "GenuineIntel", "13th Gen Intel(R) Core(TM) i7-13700", 6, 0xb7, 1, 46, 48,
          REPORT_CPU_PAT | REPORT_CPU_MTRR | REPORT_CPU_PGE | REPORT_CPU_NX | REPORT_CPU_PAGE_1G |
              REPORT_CPU_PCID | REPORT_CPU_INVPCID | REPORT_CPU_SMEP | REPORT_CPU_SMAP |
              REPORT_CPU_UMIP | REPORT_CPU_PKU | REPORT_CPU_CET_SS | REPORT_CPU_ERMS |
              REPORT_CPU_FSRM | REPORT_CPU_CLFLUSHOPT | REPORT_CPU_CLWB },
        { amd, "AuthenticAMD", "AMD EPYC 996", 0x19, 0x11, 1, 52, 57,
          REPORT_CPU_PAT | REPORT_CPU_MTRR | REPORT_CPU_PGE | REPORT_CPU_NX | REPORT_CPU_PAGE_1G |
              REPORT_CPU_PCID | REPORT_CPU_INVPCID | REPORT_CPU_SMEP | REPORT_CPU_SMAP |
              REPORT_CPU_UMIP | REPORT_CPU_PKU | REPORT_CPU_CET_SS | REPORT_CPU_ERMS |
              REPORT_CPU_FSRM | REPORT_CPU_CLFLUSHOPT | REPORT_CPU_CLWB | REPORT_CPU_SME |
              REPORT_CPU_SEV | REPORT_CPU_SEV_ES | REPORT_CPU_SEV_SNP },
        { qemu, "AuthenticAMD", "QEMU Virtual CPU version 2.5+", 15, 0x6b, 1, 40, 48,
          REPORT_CPU_PAT | REPORT_CPU_MTRR | REPORT_CPU_PGE | REPORT_CPU_NX |
              REPORT_CPU_HYPERVISOR },
        { minimal, NULL, NULL, 0, 0, 0, 0, 0, 0 },
        { tdx, "GenuineIntel",
          "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"
          "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"
          "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
          6, 0xcf, 2, 0, 0, REPORT_CPU_HYPERVISOR | REPORT_CPU_TDX_GUEST },
    };

    (void)state;
    for (size_t i = 0; i < MM_COUNTOF(cpus); i++) {
        const struct report *r;

        stub_facts.cpu = cpus[i].leaves;
        r = gather();
        if (cpus[i].vendor == NULL) {
            assert_null(r->cpu.vendor);
            assert_null(r->cpu.brand);
        } else {
            assert_string_equal(r->cpu.vendor, cpus[i].vendor);
            assert_string_equal(r->cpu.brand, cpus[i].brand);
        }
        assert_int_equal(r->cpu.family, cpus[i].family);
        assert_int_equal(r->cpu.model, cpus[i].model);
        assert_int_equal(r->cpu.stepping, cpus[i].stepping);
        assert_int_equal(r->cpu.physical_bits, cpus[i].physical);
        assert_int_equal(r->cpu.linear_bits, cpus[i].linear);
        assert_int_equal(r->cpu.features, cpus[i].features);
        assert_int_equal(facts.lint.phys_bits, cpus[i].physical);
        assert_int_equal(r->nacpi, 6); /* also where the width is not known */
    }
}

/* ---- the rest -------------------------------------------------------------------------------- */

static void test_times(void **state)
{
    static const struct facts_time none[] = {
        { 0 },
        { 1899, 1, 1, 0, 0, 0, 0, 0 },
        { 10000, 1, 1, 0, 0, 0, 0, 0 },
        { 2026, 0, 1, 0, 0, 0, 0, 0 },
        { 2026, 13, 1, 0, 0, 0, 0, 0 },
        { 2026, 1, 0, 0, 0, 0, 0, 0 },
        { 2026, 4, 31, 0, 0, 0, 0, 0 },
        { 2026, 2, 29, 0, 0, 0, 0, 0 },
        { 1900, 2, 29, 0, 0, 0, 0, 0 },
        { 2026, 1, 1, 24, 0, 0, 0, 0 },
        { 2026, 1, 1, 0, 60, 0, 0, 0 },
        { 2026, 1, 1, 0, 0, 60, 0, 0 },
        { 65535, 255, 255, 255, 255, 255, -1, 255 },
    };
    static const struct {
        struct facts_time t;
        int32_t zone;
    } good[] = {
        { { 2024, 2, 29, 23, 59, 59, 0, 0 }, 0 },
        { { 2000, 2, 29, 0, 0, 0, -60, 0 }, 60 },
        { { 1900, 1, 1, 0, 0, 0, 1440, 1 }, -1440 },
        { { 9999, 12, 31, 0, 0, 0, -1440, 0 }, 1440 },
        { { 2026, 6, 30, 0, 0, 0, 2047, 0 }, REPORT_NO_ZONE },
        { { 2026, 6, 30, 0, 0, 0, 1441, 0 }, REPORT_NO_ZONE },
        { { 2026, 6, 30, 0, 0, 0, INT16_MIN, 0 }, REPORT_NO_ZONE },
        { { 2026, 6, 30, 0, 0, 0, 60, 3 }, REPORT_NO_ZONE }, /* summer time */
    };

    (void)state;
    for (size_t i = 0; i < MM_COUNTOF(none); i++) {
        stub_facts.time = none[i];
        assert_int_equal(gather()->known & REPORT_HAS_TIME, 0);
    }
    for (size_t i = 0; i < MM_COUNTOF(good); i++) {
        const struct report *r;

        stub_facts.time = good[i].t;
        r = gather();
        assert_true(r->known & REPORT_HAS_TIME);
        assert_int_equal(r->time.year, good[i].t.year);
        assert_int_equal(r->time.zone, good[i].zone);
    }
    stub_facts.time_error = FW_DEVICE_ERROR;
    assert_int_equal(gather()->known & REPORT_HAS_TIME, 0);
}

static void test_security(void **state)
{
    static const struct {
        int value;
        uint32_t is;
    } states[] = {
        { -1, REPORT_UNKNOWN }, { 0, REPORT_OFF },       { 1, REPORT_ON },
        { 2, REPORT_UNKNOWN },  { 255, REPORT_UNKNOWN },
    };

    (void)state;
    for (size_t i = 0; i < MM_COUNTOF(states); i++) {
        const struct report *r;

        stub_facts.secure_boot = states[i].value;
        stub_facts.setup_mode = states[MM_COUNTOF(states) - 1 - i].value;
        stub_facts.tpm = (uint32_t)i; /* the last one is no answer */
        r = gather();
        assert_int_equal(r->security.secure_boot, states[i].is);
        assert_int_equal(r->security.setup_mode, states[MM_COUNTOF(states) - 1 - i].is);
        assert_int_equal(r->security.tpm, i < REPORT_TPMS ? i : REPORT_TPM_UNKNOWN);
    }
}

static void test_screens(void **state)
{
    static const struct screen_mode console = { 0, 0, 1024, 768, 0, 3, 0, 0, 0, 0 };
    static const struct screen_mode first = { 0xc0000000, 4096000, 1280, 800, 1280, 1, 0, 0, 0, 0 };
    static const struct screen_mode second = { 0xd0000000, 0x1000000, 1920,   1080, 1920,
                                               2,          0xff,      0xff00, 0,    0 };
    static const struct screen_mode empty = { 0xe0000000, 0, 640, 480, 640, 0, 0, 0, 0, 0 };
    static const struct screen_mode strange = { 0xf0000000, 4096, 1, 1, 1, 4, 0, 0, 0, 0 };
    const struct screen_mode all[] = { console, first, second, first, strange, empty };
    const struct report *r;

    (void)state;
    memcpy(stub_facts.screens, all, sizeof(all));
    stub_facts.nscreens = MM_COUNTOF(all);
    r = gather();
    assert_int_equal(r->nframebuffers, 4); /* one is there twice, one is of no kind */
    assert_int_equal(r->framebuffers[0].format, REPORT_PIXEL_BLT_ONLY);
    assert_int_equal(r->framebuffers[1].format, REPORT_PIXEL_BGRX);
    assert_int_equal(r->framebuffers[2].format, REPORT_PIXEL_MASK);
    assert_int_equal(r->framebuffers[3].format, REPORT_PIXEL_RGBX);
    assert_int_equal(facts.lint.nframebuffers, 2); /* with memory to draw in */
    assert_range(facts.lint.framebuffers[0], 0xc0000000, 4096000);
    assert_range(facts.lint.framebuffers[1], 0xd0000000, 0x1000000);

    for (uint32_t i = 0; i < MM_COUNTOF(stub_facts.screens); i++) {
        stub_facts.screens[i] = first;
        stub_facts.screens[i].base += i;
    }
    stub_facts.nscreens = UINT32_MAX;
    r = gather();
    assert_int_equal(r->nframebuffers, FACTS_MAX_SCREENS);
    stub_facts.nscreens = 0;
    r = gather();
    assert_int_equal(r->nframebuffers, 0);
    assert_true(r->known & REPORT_HAS_FRAMEBUFFERS);
}

static void test_configuration_tables(void **state)
{
    const struct report *r;

    (void)state;
    stub_facts.ntables = 400;
    r = gather();
    assert_int_equal(r->ntables, FACTS_MAX_TABLES);
    assert_memory_equal(r->tables, stub_facts.tables, FACTS_MAX_TABLES * sizeof(r->tables[0]));
    stub_facts.ntables = 0;
    r = gather();
    assert_int_equal(r->ntables, 0);
    assert_true(r->known & REPORT_HAS_TABLES);
}

static void test_vendor(void **state)
{
    static const struct {
        const uint16_t *units;
        const char *is; /* NULL: not known */
    } vendors[] = {
        { u"", NULL },
        { u"A", "A" },
        { u"\x7f\x80\x7ff\x800\xffff", "\x7f\xc2\x80\xdf\xbf\xe0\xa0\x80\xef\xbf\xbf" },
        { u"\xd800", "\xef\xbf\xbd" }, /* half a pair at the end */
        { u"\xd800\xd800\xdc00", "\xef\xbf\xbd\xf0\x90\x80\x80" },
        { u"\xdfffZ", "\xef\xbf\xbdZ" }, /* the second half alone */
        { u"\xdbff\xdfff", "\xf4\x8f\xbf\xbf" },
    };
    uint16_t *at = fw_pointer(STUB_VENDOR);
    const struct report *r;

    (void)state;
    for (size_t i = 0; i < MM_COUNTOF(vendors); i++) {
        size_t n = 0;

        do {
            at[n] = vendors[i].units[n];
        } while (vendors[i].units[n++] != 0);
        r = gather();
        if (vendors[i].is == NULL) {
            assert_null(r->firmware.vendor);
        } else {
            assert_string_equal(r->firmware.vendor, vendors[i].is);
        }
    }
    for (size_t n = 0; n < 4096; n++) { /* without end, three bytes each, and into a device */
        ((uint16_t *)fw_pointer(STUB_DEVICE - 8192))[n] = 0x20ac;
    }
    stub_machine.firmware_vendor = fw_pointer(STUB_DEVICE - 8192);
    assert_int_equal(strlen(gather()->firmware.vendor), FACTS_MAX_TEXT);
    stub_machine.firmware_vendor = fw_pointer(STUB_DEVICE - 4);
    assert_string_equal(gather()->firmware.vendor, "\xe2\x82\xac\xe2\x82\xac");
    stub_machine.firmware_vendor = fw_pointer(STUB_DEVICE - 3);
    assert_int_equal(strlen(gather()->firmware.vendor), 3);
}

static void test_memory_attributes(void **state)
{
    static const struct {
        unsigned at;
        uint32_t v;
    } bad[] = { { 0, 0 }, { 0, 3 },  { 4, 0 },  { 4, 4097 }, { 4, UINT32_MAX },
                { 8, 0 }, { 8, 39 }, { 8, 44 }, { 8, 264 },  { 8, UINT32_MAX } };
    const uint64_t edge = STUB_DEVICE - 16 - 48 - 10;
    const struct report *r;

    (void)state;
    for (size_t i = 0; i < MM_COUNTOF(bad); i++) {
        stub_facts_reset();
        stub_put(STUB_MAT + bad[i].at, bad[i].v, 4);
        r = gather();
        assert_true(r->known & REPORT_HAS_ATTRIBUTES);
        assert_string_equal(r->attributes.problem, "its header makes no sense");
        assert_int_equal(r->attributes.raw.nbytes, 0);
        assert_non_null(facts.lint.mat.bytes); /* for the lint to find fault with */
    }
    stub_facts_reset(); /* version 1 has no flags */
    stub_put(STUB_MAT, 1, 4);
    r = gather();
    assert_null(r->attributes.problem);
    assert_int_equal(r->attributes.flags, 0);

    stub_put(STUB_MAT + 16 + 8, 0x5000, 8); /* an entry that is not in the map */
    r = gather();
    assert_string_equal(r->attributes.problem, "an entry does not match the memory map");
    assert_int_equal(r->attributes.raw.nbytes, 3 * 48);

    stub_facts_reset(); /* it ends in a device */
    memcpy(fw_pointer(edge), fw_pointer(STUB_MAT), 16 + 48);
    stub_machine.memory_attributes = edge;
    r = gather();
    assert_string_equal(r->attributes.problem,
                        "it runs on where there is no memory that can be read");
    assert_int_equal(r->attributes.raw.nbytes, 48 + 10);
    assert_int_equal(facts.lint.mat_count, 3);

    stub_put(STUB_RAM + 0x400000, 2, 4); /* as many and as large as there can be */
    stub_put(STUB_RAM + 0x400004, 4096, 4);
    stub_put(STUB_RAM + 0x400008, 256, 4);
    stub_machine.memory_attributes = STUB_RAM + 0x400000;
    r = gather();
    assert_int_equal(r->attributes.raw.nbytes, 4096 * 256);
    assert_null(r->attributes.problem); /* all of a type that does not count */
}

/* Bytes that turned over, anywhere: the sanitizers judge, and the report must still read back. */
static void test_any_damage(void **state)
{
    struct host_rng rng = host_rng_make("test_any_damage");
    static unsigned char good[0x10000];

    (void)state;
    memcpy(good, fw_pointer(STUB_RAM), sizeof(good));
    for (unsigned round = 0; round < 3000; round++) {
        static const uint64_t parts[] = { STUB_RSDP,    STUB_XSDT,   STUB_RSDT,  STUB_FADT,
                                          STUB_FACS,    STUB_MCFG,   STUB_DMI,   STUB_MAT,
                                          STUB_SMBIOS3, STUB_SMBIOS, STUB_VENDOR };

        memcpy(fw_pointer(STUB_RAM), good, sizeof(good));
        for (unsigned i = 0; i < 3; i++) {
            uint64_t at = parts[host_rng_below(&rng, MM_COUNTOF(parts))] + host_rng_below(&rng, 64);

            stub_put(at, host_rng_below(&rng, 4) == 0 ? 0xff : host_rng_below(&rng, 256), 1);
        }
        stub_fix_sum(STUB_RSDP, 20, 8); /* or nothing behind them would be looked at */
        stub_fix_sum(STUB_RSDP, 36, 32);
        stub_fix_sum(STUB_SMBIOS3, 24, 5);
        (void)gather();
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_all_of_it),
        TEST(test_facts_for_the_lint),
        TEST(test_identifiers),
        TEST(test_all_is_copied),
        TEST(test_nothing_to_ask),
        TEST(test_no_memory),
        TEST(test_pointers_to_nowhere),
        TEST(test_bios_area),
        TEST(test_root_pointer),
        TEST(test_root_tables),
        TEST(test_damaged_tables),
        TEST(test_table_at_the_edge),
        TEST(test_named_twice),
        TEST(test_ten_thousand_tables),
        TEST(test_tables_too_large_in_sum),
        TEST(test_fadt),
        TEST(test_facs),
        TEST(test_mcfg),
        TEST(test_entry_points),
        TEST(test_structures_at_the_edge),
        TEST(test_structure_lengths),
        TEST(test_end_of_structures),
        TEST(test_first_of_each),
        TEST(test_texts),
        TEST(test_uuid),
        TEST(test_memory_devices),
        TEST(test_too_many_devices),
        TEST(test_processors),
        TEST(test_times),
        TEST(test_security),
        TEST(test_screens),
        TEST(test_configuration_tables),
        TEST(test_vendor),
        TEST(test_memory_attributes),
        TEST(test_any_damage),
    };
#undef TEST

    return cmocka_run_group_tests(tests, NULL, NULL);
}
