/*
 * maplint_rules.c - the table of rules: the one place for what a finding says.
 *
 * Where the specification and folklore differ, the specification decides the severity and folklore
 * goes into the advice. What was decided so, and why, is in docs/lint.md.
 */
#include "mm/maplint.h"

#define GET_MAP "UEFI 2.10, 7.2.3 GetMemoryMap()"
#define MAT     "UEFI 2.10, 4.6.4 EFI_MEMORY_ATTRIBUTES_TABLE"

const struct maplint_rule maplint_rules[MAPLINT_NRULES] = {
    [MAPLINT_M01] = {
        .id = "M01",
        .severity = MEMMAP_ERROR,
        .what = "the descriptor size is below 40 or no multiple of 8; the map cannot be read",
        .consequence = "Nobody can find the second descriptor. Loaders that assume 40 or 48 bytes "
                       "read garbage.",
        .advice = "Preset DescriptorSize before the call, some firmware leaves it unset when the "
                  "buffer is too small; if it stays so, firmware has to be fixed.",
        .source = GET_MAP ", EFI_MEMORY_DESCRIPTOR (five fields, 40 bytes with natural alignment)",
    },
    [MAPLINT_M02] = {
        .id = "M02",
        .severity = MEMMAP_ERROR,
        .what = "the map is empty, or its size is no multiple of the descriptor size; a rest is "
                "left out",
        .consequence = "The last descriptor may be cut off, and with it memory that must be "
                       "preserved.",
        .advice = "Read the map again with a larger buffer and use the size that comes back.",
        .source = GET_MAP "; Microsoft Project Mu, MemmapAndMatTestApp",
    },
    [MAPLINT_M03] = {
        .id = "M03",
        .severity = MEMMAP_WARN,
        .what = "the descriptor version is not 1; it is read as if it were",
        .consequence = "Fields behind the first 40 bytes have an unknown meaning. Linux prints a "
                       "warning and goes on.",
        .advice = "Check what the version changed; later versions must stay compatible.",
        .source = GET_MAP ", EFI_MEMORY_DESCRIPTOR_VERSION; Linux, drivers/firmware/efi/efi.c",
    },
    [MAPLINT_M04] = {
        .id = "M04",
        .severity = MEMMAP_ERROR,
        .what = "a descriptor has no pages; it is left out",
        .consequence = "Code that works with the last page computes start - 1 and wraps to the "
                       "top of the address space.",
        .advice = "Drop it before any arithmetic. Firmware must not list it.",
        .source = GET_MAP ", NumberOfPages; Linux commit 0100a3e67a9c",
    },
    [MAPLINT_M05] = {
        .id = "M05",
        .severity = MEMMAP_ERROR,
        .what = "the pages of a descriptor run past 2^64; it is left out",
        .consequence = "start + size wraps: the region seems to lie at the bottom of memory.",
        .advice = "Check the multiplication and the addition for overflow, drop the descriptor.",
        .source = GET_MAP ", NumberOfPages; Linux commit 0100a3e67a9c",
    },
    [MAPLINT_M06] = {
        .id = "M06",
        .severity = MEMMAP_ERROR,
        .what = "a descriptor reaches beyond the physical addresses of this CPU",
        .consequence = "Mapping it sets reserved bits in page-table entries: a fault at the first "
                       "access.",
        .advice = "Cut the map off at 2^(address bits). Memory encryption may have taken bits "
                  "away; firmware must then shrink the map.",
        .source = "Intel SDM vol. 3A 4.1.4 and AMD APM vol. 3 (CPUID 80000008h EAX[7:0]); "
                  "Arm ARM, ID_AA64MMFR0_EL1.PARange",
    },
    [MAPLINT_M07] = {
        .id = "M07",
        .severity = MEMMAP_ERROR,
        .what = "a descriptor does not start on a 4 KiB page; usable memory is rounded inwards, "
                "all else outwards",
        .consequence = "Rounded the wrong way, a page is used that belongs to somebody else. EDK "
                       "II refuses ExitBootServices() for runtime memory that is misaligned.",
        .advice = "Round usable memory inwards and everything else outwards.",
        .source = GET_MAP ", PhysicalStart and VirtualStart; 2.3.2 to 2.3.8 (runtime memory)",
    },
    [MAPLINT_M08] = {
        .id = "M08",
        .severity = MEMMAP_ERROR,
        .what = "a descriptor overlaps another one; the more restrictive kind wins",
        .consequence = "An OS that believes the usable one overwrites what the other protects, or "
                       "stops with a panic.",
        .advice = "Give each page to the most restrictive descriptor that names it.",
        .source = GET_MAP " (each descriptor is one block of one type); Microsoft Project Mu, "
                  "MemmapAndMatTestApp; Limine issue 185",
    },
    [MAPLINT_M09] = {
        .id = "M09",
        .severity = MEMMAP_INFO,
        .what = "the map is not sorted by address; sorted",
        .consequence = "None, unless a reader takes the last descriptor for the end of memory.",
        .advice = "Sort before use: the order was never promised.",
        .source = GET_MAP " (no order is demanded)",
    },
    [MAPLINT_M10] = {
        .id = "M10",
        .severity = MEMMAP_INFO,
        .what = "neighbours of one type and with the same attributes are not merged",
        .consequence = "None but a longer map. Firmware splits regions so when sections of one "
                       "driver lie behind each other.",
        .advice = "Merge them if the number of entries matters, never for "
                  "SetVirtualAddressMap(): that wants the descriptors as they came.",
        .source = "UEFI 2.10, 4.6.4 (only entire descriptors may be passed on)",
    },
    [MAPLINT_M11] = {
        .id = "M11",
        .severity = MEMMAP_WARN,
        .what = "VirtualStart is set, and not to the physical address, before "
                "SetVirtualAddressMap()",
        .consequence = "An OS that passes such a map on gives firmware wrong addresses. EDK II "
                       "asserts that the field is 0.",
        .advice = "Write every VirtualStart yourself before the call. U-Boot sets it to the "
                  "physical address, which does no harm.",
        .source = "UEFI 2.10, 8.4.1 SetVirtualAddressMap(); EDK II, MdeModulePkg/Core/Dxe/Mem/Page.c",
    },
    [MAPLINT_M12] = {
        .id = "M12",
        .severity = MEMMAP_ERROR,
        .what = "a memory type that UEFI does not define; kept reserved",
        .consequence = "Its meaning is anybody's guess; some readers index a table with it.",
        .advice = "Treat it as reserved, and check the type before it indexes anything.",
        .source = "UEFI 2.10, 7.2.1 AllocatePages(), EFI_MEMORY_TYPE",
    },
    [MAPLINT_M13] = {
        .id = "M13",
        .severity = MEMMAP_WARN,
        .what = "a memory type of the OEM's or of an OS loader's making; kept reserved",
        .consequence = "Software that knows types 0 to 15 alone drops it, and may take the memory "
                       "for absent. Some firmware crashes when such types are allocated.",
        .advice = "Treat it as reserved unless it is your own; a loader should use LoaderData.",
        .source = "UEFI 2.10, 7.2.1 AllocatePages(), MemoryType; EDK II issue 6951",
    },
    [MAPLINT_M14] = {
        .id = "M14",
        .severity = MEMMAP_ERROR,
        .what = "runtime services code or data without the RUNTIME attribute; kept for firmware",
        .consequence = "An OS that maps by attribute leaves it out, and the first runtime call "
                       "faults.",
        .advice = "Preserve by type and map by type or attribute, whichever says so.",
        .source = GET_MAP ", EFI_MEMORY_RUNTIME; 8.4.1 SetVirtualAddressMap()",
    },
    [MAPLINT_M15] = {
        .id = "M15",
        .severity = MEMMAP_ERROR,
        .what = "the RUNTIME attribute on a type that must not have it; kept for firmware",
        .consequence = "ACPI memory must not ask for a virtual mapping, and on memory that the OS "
                       "gets the attribute contradicts the type: it cannot be both.",
        .advice = "Leave the memory to firmware and map it.",
        .source = "UEFI 2.10, 2.3.2 to 2.3.8 (ACPI memory), 7.2 table 7.10; EDK II asserts the same",
    },
    [MAPLINT_M16] = {
        .id = "M16",
        .severity = MEMMAP_WARN,
        .what = "reserved memory with the RUNTIME attribute; kept reserved",
        .consequence = "An OS that maps runtime memory by type leaves it out; Apple's firmware "
                       "needs it.",
        .advice = "Reserve it, and map it for runtime services as well.",
        .source = GET_MAP ", EFI_MEMORY_RUNTIME (the type is not restricted there)",
    },
    [MAPLINT_M17] = {
        .id = "M17",
        .severity = MEMMAP_ERROR,
        .what = "memory that firmware keeps does not fit an OS with 64 KiB pages",
        .consequence = "Such an OS maps a neighbour along with it, in a way that the neighbour "
                       "cannot bear, or fails to map either.",
        .advice = "LoongArch: align ACPI and RUNTIME descriptors to 64 KiB. AArch64: let all 4 KiB "
                  "pages of such a 64 KiB page have a cache attribute in common.",
        .source = "UEFI 2.10, 2.3.6 AArch64 Platforms, 2.3.8 LoongArch Platforms",
    },
    [MAPLINT_M18] = {
        .id = "M18",
        .severity = MEMMAP_WARN,
        .what = "RAM that cannot be cached write-back; kept reserved if it was free",
        .consequence = "Linux and Xen do not use such memory, so it is lost.",
        .advice = "Do not put it into a write-back direct map.",
        .source = GET_MAP ", EFI_MEMORY_WB; Linux, drivers/firmware/efi/efi.c and Xen, "
                  "xen/arch/x86/efi (both ask for WB)",
    },
    [MAPLINT_M19] = {
        .id = "M19",
        .severity = MEMMAP_WARN,
        .what = "memory that runtime services need has no cache attribute",
        .consequence = "The OS must map it as the map says, and the map does not say. Xen leaves "
                       "it out, and the first runtime call that touches it faults.",
        .advice = "Map it uncached (Xen: efi=attr=uc). Firmware should say UC.",
        .source = "UEFI 2.10, 8.4.1 SetVirtualAddressMap() (cacheability as in the map); Xen, "
                  "xen/common/efi/boot.c \"Unknown cachability\"",
    },
    [MAPLINT_M20] = {
        .id = "M20",
        .severity = MEMMAP_INFO,
        .what = "memory-mapped I/O that is said to bear caching",
        .consequence = "Whoever takes the attributes for a setting maps device registers cached.",
        .advice = "Attributes are what is possible, not what to do: map device registers UC.",
        .source = GET_MAP ", Attribute (a mask of capabilities)",
    },
    [MAPLINT_M21] = {
        .id = "M21",
        .severity = MEMMAP_WARN,
        .what = "memory-mapped I/O without the RUNTIME attribute",
        .consequence = "If runtime services do need it, nobody maps it for them; if not, it need "
                       "not be listed: an OS learns of devices from ACPI.",
        .advice = "Keep away from the range. Firmware should set RUNTIME or not list it.",
        .source = "UEFI 2.10, 7.2 table 7.9, EfiMemoryMappedIO",
    },
    [MAPLINT_M22] = {
        .id = "M22",
        .severity = MEMMAP_WARN,
        .what = "attribute bits that neither UEFI 2.10 nor 2.11 defines",
        .consequence = "Noise, or a newer specification. Tools that compare attributes as a whole "
                       "do not merge such regions.",
        .advice = "Ignore unknown bits. Bits 44 to 59 mean something only together with bit 62, "
                  "ISA_VALID.",
        .source = GET_MAP ", Attribute; UEFI 2.11, 7.2.3 (HOT_PLUGGABLE)",
    },
    [MAPLINT_M23] = {
        .id = "M23",
        .severity = MEMMAP_WARN,
        .what = "RP, XP or RO in the map itself",
        .consequence = "They say that the memory can be protected so, but some systems take them "
                       "for an order and fault on the first write or call. EDK II strips them.",
        .advice = "Do not apply them; protections of runtime memory are in the Memory Attributes "
                  "Table.",
        .source = GET_MAP ", Attribute; 4.6.4; EDK II, MdeModulePkg/Core/Dxe/Mem/Page.c",
    },
    [MAPLINT_M24] = {
        .id = "M24",
        .severity = MEMMAP_INFO,
        .what = "page 0 is usable memory",
        .consequence = "An allocator may return address 0, which reads as failure; null pointers "
                       "hit memory in use.",
        .advice = "Keep page 0 out of the pool, as GRUB and Linux do. Firmware may list it.",
        .source = "GRUB, grub-core/kern/efi/mm.c; Linux, arch/x86/kernel/setup.c trim_bios_range()",
    },
    [MAPLINT_M25] = {
        .id = "M25",
        .severity = MEMMAP_WARN,
        .what = "usable memory between 640 KiB and 1 MiB",
        .consequence = "VGA memory and option ROMs lie there: writes get lost or change the "
                       "screen.",
        .advice = "Leave out 0xa0000 to 0xfffff on a PC, whatever the map says.",
        .source = "Linux, arch/x86/kernel/setup.c trim_bios_range()",
    },
    [MAPLINT_M26] = {
        .id = "M26",
        .severity = MEMMAP_WARN,
        .what = "runtime services memory at address 0, or on a PC below 1 MiB",
        .consequence = "Systems put the start-up code of other CPUs there, or save and restore "
                       "all of it, or take address 0 for no address.",
        .advice = "Reserve by page, also at address 0, before placing start-up code. Firmware "
                  "should keep out.",
        .source = "Linux commit f1d4d47c5851 (the first MiB is never used); seen at address 0 on "
                  "an ASUS TRX40 board",
    },
    [MAPLINT_M27] = {
        .id = "M27",
        .severity = MEMMAP_INFO,
        .what = "ACPI or runtime services memory above 4 GiB",
        .consequence = "32-bit consumers cannot reach it: the RSDT, the 32-bit fields of the FADT, "
                       "a 32-bit kernel.",
        .advice = "Use the XSDT and the X_ fields, map with 64-bit addresses.",
        .source = "ACPI 6.5, 5.2.7 RSDT, 5.2.9 FADT",
    },
    [MAPLINT_M28] = {
        .id = "M28",
        .severity = MEMMAP_ERROR,
        .what = "a firmware table lies in memory that an OS takes for its own",
        .consequence = "The OS overwrites it: tables vanish at random, or waking up fails.",
        .advice = "Reserve the table's pages before any allocation. ACPI tables belong in "
                  "ACPIReclaim or ACPINVS, the FACS in ACPINVS, SMBIOS in RuntimeServicesData.",
        .source = "UEFI 2.10, 2.3.2 to 2.3.8 (ACPI and configuration tables); ACPI 6.5, 5.2.10 FACS",
    },
    [MAPLINT_M29] = {
        .id = "M29",
        .severity = MEMMAP_ERROR,
        .what = "the PCI configuration space of the MCFG table overlaps RAM",
        .consequence = "Writes to memory configure devices, and the other way round.",
        .advice = "Do not use the range as memory, and distrust the MCFG table.",
        .source = "PCI Firmware Specification 3.3, 4.1.2 MCFG (address range reserved)",
    },
    [MAPLINT_M30] = {
        .id = "M30",
        .severity = MEMMAP_ERROR,
        .what = "something of ours lies in memory that we have not been given",
        .consequence = "Firmware or our own allocator hands out memory that is in use.",
        .advice = "Allocate it as LoaderCode or LoaderData. A stack may be firmware's, in "
                  "BootServicesData, until the image brings its own.",
        .source = GET_MAP " (use only what was allocated), 7.2 table 7.10, 7.4.6 ExitBootServices()",
    },
    [MAPLINT_M31] = {
        .id = "M31",
        .severity = MEMMAP_WARN,
        .what = "a frame buffer lies in memory that an OS takes for its own",
        .consequence = "The picture is drawn over memory in use, or memory over the picture.",
        .advice = "Reserve the frame buffer before any allocation. Firmware should keep it in "
                  "Reserved memory.",
        .source = "UEFI 2.10, 12.9.2 EFI_GRAPHICS_OUTPUT_PROTOCOL.Mode FrameBufferBase",
    },
    [MAPLINT_M32] = {
        .id = "M32",
        .severity = MEMMAP_WARN,
        .what = "more than 128 descriptors",
        .consequence = "Fixed tables overflow: the zero page of Linux has room for 128 e820 "
                       "entries, others have overwritten memory at 128 or stopped at 256.",
        .advice = "Size tables by the map, with room for more: it grows while it is read.",
        .source = "Linux, E820_MAX_ENTRIES_ZEROPAGE; acrn-hypervisor issue 2436; Limine issue 413",
    },
    [MAPLINT_M33] = {
        .id = "M33",
        .severity = MEMMAP_INFO,
        .what = "the map is larger than 4096 bytes",
        .consequence = "The kernel of macOS maps one page of it and crashes.",
        .advice = "Only for macOS: merge descriptors (OpenCore: RebuildAppleMemoryMap).",
        .source = "OpenCore Reference Manual, Booter, Quirks, RebuildAppleMemoryMap",
    },
    [MAPLINT_M34] = {
        .id = "M34",
        .severity = MEMMAP_INFO,
        .what = "boot services use more than a quarter of RAM",
        .consequence = "Before exit little is free; a system that keeps boot services memory, for "
                       "firmware that uses it after exit, loses that much.",
        .advice = "Take the memory back at ExitBootServices(), when nothing of firmware's is in "
                  "use any more.",
        .source = "UEFI 2.10, 7.2 table 7.10 (available for general use)",
    },
    [MAPLINT_M35] = {
        .id = "M35",
        .severity = MEMMAP_INFO,
        .what = "conventional memory set aside for a purpose (SP)",
        .consequence = "It may be slow, far or precious (CXL, HBM); kernel data there cannot be "
                       "moved away again.",
        .advice = "Keep it out of the general pool, hand it out on request.",
        .source = GET_MAP ", EFI_MEMORY_SP",
    },
    [MAPLINT_M36] = {
        .id = "M36",
        .severity = MEMMAP_WARN,
        .what = "memory that has not been accepted",
        .consequence = "The first touch before it is accepted stops the guest; a system that does "
                       "not know the type loses the memory.",
        .advice = "Accept it from the hypervisor before use, in pieces and late if boot time "
                  "matters.",
        .source = "UEFI 2.10, 7.2 table 7.10, EfiUnacceptedMemoryType",
    },
    [MAPLINT_M37] = {
        .id = "M37",
        .severity = MEMMAP_WARN,
        .what = "the map key changed though nobody asked for memory",
        .consequence = "ExitBootServices() fails at random: an event of firmware's allocates in "
                       "between.",
        .advice = "Read the map and exit in a loop, with a bound, and call nothing in between.",
        .source = GET_MAP ", MapKey; 7.4.6 ExitBootServices()",
    },
    [MAPLINT_M38] = {
        .id = "M38",
        .severity = MEMMAP_ERROR,
        .what = "memory that runtime services need differs between two boots",
        .consequence = "Waking from hibernation restores over it, and the first runtime call goes "
                       "astray; kexec and crash kernels depend on it as well.",
        .advice = "Do not hibernate on this firmware if nothing was changed between the boots. "
                  "Firmware should allocate such memory in fixed bins.",
        .source = "Microsoft, UEFI Requirements: Boot time, Runtime, Hibernation State (S4)",
    },
    [MAPLINT_M39] = {
        .id = "M39",
        .severity = MEMMAP_WARN,
        .what = "a descriptor uses the last page below 2^64; that page is left out",
        .consequence = "Allowed, but the end of the range is 2^64, which 64 bits read as 0.",
        .advice = "Work with the last byte instead of the end, or leave the page out.",
        .source = GET_MAP ", PhysicalStart (may be as high as 0xfffffffffffff000)",
    },
    [MAPLINT_M40] = {
        .id = "M40",
        .severity = MEMMAP_WARN,
        .what = "a firmware table lies in memory of a type that is not meant for it",
        .consequence = "It survives, but systems that look up the type before they map the table, "
                       "or preserve only some types across kexec, miss it.",
        .advice = "Reserve its pages. ACPI tables belong in ACPIReclaim or ACPINVS, the FACS in "
                  "ACPINVS, SMBIOS in RuntimeServicesData.",
        .source = "UEFI 2.10, 2.3.2 to 2.3.8 (ACPI and configuration tables, and the note on "
                  "EfiReservedMemoryType)",
    },
    [MAPLINT_M41] = {
        .id = "M41",
        .severity = MEMMAP_INFO,
        .what = "the PCI configuration space of the MCFG table is not in the map",
        .consequence = "Allowed: the map need not name it, the ACPI namespace must (PNP0C02). "
                       "Without an AML interpreter a system cannot tell and may not use it.",
        .advice = "Firmware: name it as Reserved or MMIO as well, for systems that look early.",
        .source = "PCI Firmware Specification 3.3, 4.1.2 MCFG; Linux, "
                  "Documentation/PCI/acpi-info.rst",
    },
    [MAPLINT_M42] = {
        .id = "M42",
        .severity = MEMMAP_INFO,
        .what = "free memory is in pieces: the largest is less than a quarter of it",
        .consequence = "A loader that wants one large block may find none though enough is free.",
        .advice = "Load in pieces, or after ExitBootServices(), when boot services memory joins "
                  "the pieces. Several memory nodes look like this, too.",
        .source = "UEFI 2.10, 7.2.1 AllocatePages() (physically contiguous)",
    },
    [MAPLINT_M43] = {
        .id = "M43",
        .severity = MEMMAP_INFO,
        .what = "part of RAM is more reliable than the rest (MORE_RELIABLE)",
        .consequence = "Memory is mirrored in part; what lies outside is lost at the first "
                       "uncorrectable error.",
        .advice = "Put kernel data into the reliable part, programs into the rest.",
        .source = GET_MAP ", EFI_MEMORY_MORE_RELIABLE",
    },
    [MAPLINT_A01] = {
        .id = "A01",
        .severity = MEMMAP_ERROR,
        .what = "the header of the Memory Attributes Table makes no sense, or the table ends early",
        .consequence = "Read as it stands it leads outside the table. After kexec it is often "
                       "overwritten memory.",
        .advice = "Ignore the table: runtime memory then has no protection but works.",
        .source = MAT "; Linux, drivers/firmware/efi/memattr.c",
    },
    [MAPLINT_A02] = {
        .id = "A02",
        .severity = MEMMAP_ERROR,
        .what = "an entry of the Memory Attributes Table is empty, misaligned, not RUNTIME, out of "
                "order or overlaps another",
        .consequence = "Systems that trust the order or the bounds protect the wrong pages.",
        .advice = "Ignore the whole table.",
        .source = MAT ", Description; Microsoft Project Mu, MemmapAndMatTestApp",
    },
    [MAPLINT_A03] = {
        .id = "A03",
        .severity = MEMMAP_ERROR,
        .what = "the Memory Attributes Table and the map disagree",
        .consequence = "An entry must lie in one descriptor of its type, and entries must fill a "
                       "descriptor or leave it alone. Else data is made read-only, and the next "
                       "runtime call faults.",
        .advice = "Ignore the whole table.",
        .source = MAT " (sub-regions completely describe the larger region); Linux, "
                  "drivers/firmware/efi/memattr.c",
    },
    [MAPLINT_A04] = {
        .id = "A04",
        .severity = MEMMAP_WARN,
        .what = "runtime data that is writable and executable, by the Memory Attributes Table",
        .consequence = "Code can be planted in it. Windows demands RO or XP on every entry.",
        .advice = "Map it no-execute only if you have tested this firmware. Firmware should set "
                  "XP.",
        .source = MAT ", usage of memory attribute definitions; Microsoft, Unified Extensible "
                  "Firmware Interface (MAT)",
    },
    [MAPLINT_A05] = {
        .id = "A05",
        .severity = MEMMAP_INFO,
        .what = "runtime code that cannot be protected, by the Memory Attributes Table",
        .consequence = "Allowed: it says that code and data share pages. The memory stays writable "
                       "and executable; Windows demands RO or XP on every entry.",
        .advice = "Leave it as it is. Firmware should align the sections of runtime drivers to "
                  "pages.",
        .source = MAT ", usage of memory attribute definitions (both bits clear)",
    },
    [MAPLINT_A06] = {
        .id = "A06",
        .severity = MEMMAP_WARN,
        .what = "the Memory Attributes Table is more than three times as large as the map",
        .consequence = "Linux takes that for corruption and ignores the table. It is no fault if "
                       "the map at hand is a part only, as after kexec.",
        .advice = "Compare with the whole map of a cold boot.",
        .source = "Linux, drivers/firmware/efi/memattr.c; linux-efi list, January 2025",
    },
    [MAPLINT_A07] = {
        .id = "A07",
        .severity = MEMMAP_INFO,
        .what = "an entry of the Memory Attributes Table is neither runtime code nor runtime data",
        .consequence = "None: readers must skip it. Some reject the whole table instead.",
        .advice = "Skip the entry, keep the others.",
        .source = MAT " (consumers must ignore other types)",
    },
    [MAPLINT_A08] = {
        .id = "A08",
        .severity = MEMMAP_WARN,
        .what = "runtime services memory that the Memory Attributes Table does not name",
        .consequence = "It gets no protection. Windows demands that the table describes all of it.",
        .advice = "Leave it writable and executable.",
        .source = MAT " (assumed not compatible with protections); Microsoft, Unified Extensible "
                  "Firmware Interface (MAT)",
    },
};

static char upper(char c)
{
    return c >= 'a' && c <= 'z' ? (char)(c - 'a' + 'A') : c;
}

const struct maplint_rule *maplint_rule(const char *id)
{
    for (size_t i = 0; i < MAPLINT_NRULES; i++) {
        const char *want = maplint_rules[i].id;
        size_t n = 0;

        while (want[n] != '\0' && want[n] == upper(id[n])) {
            n++;
        }
        if (want[n] == '\0' && id[n] == '\0') {
            return &maplint_rules[i];
        }
    }
    return NULL;
}

const char *maplint_severity_name(uint32_t severity)
{
    static const char *const names[] = {
        [MEMMAP_INFO] = "info",
        [MEMMAP_WARN] = "warning",
        [MEMMAP_ERROR] = "error",
    };

    return severity < MM_COUNTOF(names) ? names[severity] : "unknown";
}

/* ---- saying it ------------------------------------------------------------------------------- */

void maplint_put_finding(const struct mm_sink *to, const struct memmap_finding *f)
{
    mm_put_str(to, maplint_severity_name(f->severity));
    mm_put_char(to, ' ');
    mm_put_str(to, f->rule);
    if (f->base != 0 || f->end != 0) {
        mm_put_str(to, " at ");
        mm_put_hex(to, f->base, 1);
        if (f->end > f->base) {
            mm_put_str(to, "-");
            mm_put_hex(to, f->end == UINT64_MAX ? f->end : f->end - 1, 1);
        }
    }
    if (f->desc != MEMMAP_NODESC) {
        mm_put_str(to, f->base != 0 || f->end != 0 ? ", descriptor " : " at 0x0, descriptor ");
        mm_put_u64(to, f->desc, 0);
    }
    if (f->other != MEMMAP_NODESC) {
        mm_put_str(to, " and ");
        mm_put_u64(to, f->other, 0);
    }
    mm_put_str(to, ": ");
    if (f->subject != NULL) {
        mm_put_str(to, f->subject);
        mm_put_str(to, ": ");
    }
    mm_put_str(to, f->what);
}

/* `text` behind a label, broken between words; lines after the first are indented under it. */
static void put_wrapped(const struct mm_sink *to, const char *label, const char *text,
                        size_t columns)
{
    const size_t indent = 14;
    size_t at = indent;

    mm_put_left(to, label, indent);
    while (*text != '\0') {
        size_t n = 0;

        while (text[n] != '\0' && text[n] != ' ') {
            n++;
        }
        if (at != indent && at + 1 + n > columns) {
            mm_put_char(to, '\n');
            mm_put_fill(to, ' ', indent);
            at = indent;
        } else if (at != indent) {
            mm_put_char(to, ' ');
            at++;
        }
        mm_put(to, text, n);
        at += n;
        text += n;
        while (*text == ' ') {
            text++;
        }
    }
    mm_put_char(to, '\n');
}

void maplint_put_rule(const struct mm_sink *to, const struct maplint_rule *rule, size_t columns)
{
    put_wrapped(to, rule->id, rule->what, columns);
    put_wrapped(to, "Severity", maplint_severity_name(rule->severity), columns);
    put_wrapped(to, "Consequence", rule->consequence, columns);
    put_wrapped(to, "Advice", rule->advice, columns);
    put_wrapped(to, "Source", rule->source, columns);
}
