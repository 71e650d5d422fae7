/*
 * cpu, boot, log, runtime, reboot, poweroff: the machine and how we came to run on it.
 */
#include "clock.h"
#include "cpu/asm.h"
#include "cpu/cpu.h"
#include "lib/console.h"
#include "lib/fmt.h"
#include "lib/log.h"
#include "lib/opts.h"
#include "lib/string.h"
#include "main.h"
#include "monitor/args.h"
#include "monitor/style.h"
#include "plat/options.h"
#include "runtime.h"
#include "vm.h"
#include "x86/regs.h"

#define MAX_VARIABLES 4096u /* a firmware that lists more is going round in circles */

/* ---- cpu ----------------------------------------------------------------------------------- */

struct bit_name {
    uint64_t mask;
    const char *name;
};

static const struct bit_name cr0_bits[] = {
    { CR0_PE, "PE" }, { CR0_MP, "MP" }, { CR0_EM, "EM" }, { CR0_TS, "TS" }, { CR0_ET, "ET" },
    { CR0_NE, "NE" }, { CR0_WP, "WP" }, { CR0_NW, "NW" }, { CR0_CD, "CD" }, { CR0_PG, "PG" },
};

static const struct bit_name cr4_bits[] = {
    { CR4_TSD, "TSD" },     { CR4_DE, "DE" },     { CR4_PAE, "PAE" },
    { CR4_MCE, "MCE" },     { CR4_PGE, "PGE" },   { CR4_OSFXSR, "OSFXSR" },
    { CR4_UMIP, "UMIP" },   { CR4_LA57, "LA57" }, { CR4_OSXMMEXCPT, "OSXMMEXCPT" },
    { CR4_PCIDE, "PCIDE" }, { CR4_SMEP, "SMEP" }, { CR4_SMAP, "SMAP" },
    { CR4_CET, "CET" },
};

static const struct bit_name efer_bits[] = {
    { EFER_LME, "LME" },
    { EFER_LMA, "LMA" },
    { EFER_NXE, "NXE" },
};

static void show_register(const char *name, uint64_t v, const struct bit_name *bits, size_t n)
{
    kprintf("%-5s %016llx ", name, (unsigned long long)v);
    for (size_t i = 0; i < n; i++) {
        if ((v & bits[i].mask) != 0) {
            kprintf(" %s", bits[i].name);
            v &= ~bits[i].mask;
        }
    }
    if (v != 0) {
        kprintf(" +0x%llx", (unsigned long long)v);
    }
    kputs("\n");
}

/* SDM vol. 3A 11.12.2: memory types of the PAT's bytes. */
static void show_pat(uint64_t pat)
{
    static const char *const types[8] = { "UC", "WC", "?", "?", "WT", "WP", "WB", "UC-" };

    kprintf("%-5s %016llx ", "PAT", (unsigned long long)pat);
    for (unsigned i = 0; i < 8; i++) {
        kprintf(" %s", types[pat >> (8 * i) & 7]);
    }
    kputs("\n");
}

static void show_feature(const char *name, bool has, bool used, const char *what)
{
    kprintf("  %-14s%s  %s\n", name,
            used  ? STYLE_OK "in use   " STYLE_OFF
            : has ? "available"
                  : STYLE_HEAD "absent   " STYLE_OFF,
            what);
}

static int cmd_cpu(int argc, char **argv)
{
    const struct cpu_features *f = &cpu_features;
    uint64_t cr4 = read_cr4(), efer = rdmsr(MSR_EFER);
    bool pat_used = f->pat && rdmsr(MSR_PAT) == PT_PAT_VALUE;
    struct args a;

    if (!args_parse(&a, argc, argv, "", 0, 0)) {
        return 1;
    }
    kprintf("%s, %s\nfamily %u, model %u, stepping %u%s\n", f->vendor,
            f->brand[0] != '\0' ? f->brand : "no brand string", f->family, f->model, f->stepping,
            f->hypervisor ? ", under a hypervisor" : "");
    kprintf("addresses: %u bits physical, %u bits virtual, %u levels of tables\n", f->pa_bits,
            f->va_bits, vm_layout.levels);
    kprintf("time-stamp counter: %llu MHz (%s%s)\n", (unsigned long long)clock_tsc_per_us,
            clock_source, f->invariant_tsc ? ", invariant" : "");
    kputs(STYLE_HEAD "features" STYLE_OFF "\n");
    show_feature("NX", f->nx, (efer & EFER_NXE) != 0, "pages that can't be executed");
    show_feature("1 GiB pages", f->page1g, vm_pagetable.feat.page1g, "in the direct map");
    show_feature("PGE", f->pge, (cr4 & CR4_PGE) != 0, "global pages");
    show_feature("PAT", f->pat, pat_used, "memory types by page: write-combining");
    show_feature("SMEP", f->smep, (cr4 & CR4_SMEP) != 0, "the kernel executes no user page");
    show_feature("SMAP", f->smap, (cr4 & CR4_SMAP) != 0,
                 "the kernel reads no user page by accident");
    show_feature("UMIP", f->umip, (cr4 & CR4_UMIP) != 0, "user code learns no descriptor tables");
    show_feature("LA57", f->la57, (cr4 & CR4_LA57) != 0, "five levels of page tables");
    show_feature("RDRAND", f->rdrand, false, "random numbers");
    show_feature("APIC", f->apic, f->apic, "local interrupt controller");
    show_feature("x2APIC", f->x2apic, f->apic && (rdmsr(MSR_APIC_BASE) & APIC_BASE_EXTD) != 0,
                 "the same, by MSR");
    kputs(STYLE_HEAD "control registers" STYLE_OFF "\n");
    show_register("CR0", read_cr0(), cr0_bits, MM_COUNTOF(cr0_bits));
    kprintf("CR3   %016llx\n", (unsigned long long)read_cr3());
    show_register("CR4", cr4, cr4_bits, MM_COUNTOF(cr4_bits));
    show_register("EFER", efer, efer_bits, MM_COUNTOF(efer_bits));
    if (f->pat) {
        show_pat(rdmsr(MSR_PAT));
    }
    return 0;
}

/* ---- boot ---------------------------------------------------------------------------------- */

static void show_time(const char *what, uint64_t from, uint64_t to)
{
    kprintf("%-36s%14llu cycles %10llu us\n", what, (unsigned long long)(to - from),
            (unsigned long long)clock_us(to - from));
}

static void show_options(void)
{
    const char *text = opts_text();
    struct plat_option o;
    size_t pos = 0, len = strlen(text);
    bool any = false;

    kputs("options       ");
    while (plat_option_next(text, len, &pos, &o)) {
        kprintf("%s%.*s", any ? " " : "", (int)o.key_len, o.key);
        if (o.value_len != 0) {
            kprintf("=\"%.*s\"", (int)o.value_len, o.value);
        }
        any = true;
    }
    kputs(any ? "\n" : "none\n");
}

static void show_handover(const struct plat_boot *b)
{
    static const char *const range_names[] = {
        [0] = "unknown",
        [PLAT_RANGE_KERNEL] = "kernel image: kept",
        [PLAT_RANGE_BOOT] = "hand-over: kept",
        [PLAT_RANGE_TABLES] = "the stub's page tables: free since",
        [PLAT_RANGE_STUB] = "the stub: free since",
    };
    char size[FMT_BYTES_MAX];

    kprintf("firmware      %s, revision 0x%x, UEFI %u.%u\n", b->firmware_vendor,
            b->firmware_revision, b->uefi_revision >> 16, (b->uefi_revision & 0xffff) / 10);
    kprintf("secure boot   %s\n", (b->flags & PLAT_BOOT_SECURE_BOOT) != 0 ? "on" : "off");
    kprintf("entropy       %s\n", (b->flags & PLAT_BOOT_ENTROPY) != 0
                                      ? "from firmware's generator or RDRAND"
                                      : "from the clock only: addresses can be guessed");
    show_options();
    kprintf("exit tries    %u\nmap grew      %u times while it was read\n", b->exit_tries,
            b->map_grew);
    kprintf("tables        ACPI 0x%llx, SMBIOS 0x%llx, memory attributes 0x%llx\n",
            (unsigned long long)b->rsdp, (unsigned long long)b->smbios,
            (unsigned long long)b->memory_attributes);
    if (b->fb.base != 0) {
        kprintf("frame buffer  0x%llx, %u x %u, %s\n", (unsigned long long)b->fb.base, b->fb.width,
                b->fb.height, fmt_bytes(size, b->fb.nbytes));
    } else {
        kputs("frame buffer  none\n");
    }
    kprintf("layout        %u levels, %s\n", vm_layout.levels,
            (b->flags & PLAT_BOOT_PINNED) != 0 ? "pinned (nokaslr)" : "slid at random");
    kprintf("  direct map  %016llx  %s\n", (unsigned long long)vm_layout.direct_va,
            fmt_bytes(size, vm_layout.direct_end - vm_layout.direct_va));
    kprintf("  vmalloc     %016llx  %s\n", (unsigned long long)vm_layout.vmalloc_va,
            fmt_bytes(size, vm_layout.vmalloc_bytes));
    kprintf("  image       %016llx  %s, physical 0x%llx\n", (unsigned long long)vm_layout.image_va,
            fmt_bytes(size, vm_layout.image_bytes), (unsigned long long)b->image);
    kprintf("arena         0x%llx, %s\n", (unsigned long long)b->arena,
            fmt_bytes(size, b->arena_bytes));
    for (uint32_t i = 0; i < b->nranges && i < PLAT_MAX_RANGES; i++) {
        const struct plat_range *r = &b->ranges[i];

        kprintf("  0x%-11llx %10s  %s\n", (unsigned long long)r->base, fmt_bytes(size, r->nbytes),
                range_names[r->kind < MM_COUNTOF(range_names) ? r->kind : 0]);
    }
}

static int cmd_boot(int argc, char **argv)
{
    const struct plat_boot *b = boot_info;
    uint64_t last = boot_tsc_entry;
    struct args a;

    if (!args_parse(&a, argc, argv, "", 0, 0)) {
        return 1;
    }
    show_handover(b);
    kputs(STYLE_HEAD "time" STYLE_OFF "\n");
    show_time("stub, until ExitBootServices", b->tsc_start, b->tsc_exit);
    show_time("from there to the kernel", b->tsc_exit, boot_tsc_entry);
    for (unsigned i = 0; i < boot_nstages; i++) {
        show_time(boot_stages[i].name, last, boot_stages[i].tsc);
        last = boot_stages[i].tsc;
    }
    show_time("entry to prompt", boot_tsc_entry, boot_tsc_ready);
    return 0;
}

/* ---- log ----------------------------------------------------------------------------------- */

struct log_pick {
    enum log_level level;
    uint64_t skip;  /* matching records to leave out */
    uint64_t count; /* matching records seen */
    bool show;
};

static bool pick_record(void *ctx, const struct log_view *v)
{
    static const char *const styles[] = { STYLE_BAD, "\033[33m", "", STYLE_HEAD };
    struct log_pick *p = ctx;

    if (v->level <= p->level && p->count++ >= p->skip && p->show) {
        kprintf(STYLE_HEAD "[%s]" STYLE_OFF " %s%s" STYLE_OFF "\n", v->stamp, styles[v->level],
                v->text);
    }
    return true;
}

static int cmd_log(int argc, char **argv)
{
    struct log_pick count = { .level = LOG_DEBUG }, show;
    uint64_t last = UINT64_MAX;
    struct args a;

    if (!args_parse(&a, argc, argv, "l:", 0, 1) ||
        (a.n > 0 && !args_number(&a, "N", a.operand[0], 0, UINT64_MAX, &last))) {
        return 1;
    }
    if (args_has(&a, 'l') && !log_parse_level(args_value(&a, 'l'), &count.level)) {
        return args_fail(&a, "\"%s\" is no level: error, warn, info or debug", args_value(&a, 'l'));
    }
    log_for_each(pick_record, &count);
    show = (struct log_pick){ .level = count.level, .show = true };
    show.skip = count.count > last ? count.count - last : 0;
    log_for_each(pick_record, &show);
    return 0;
}

/* ---- runtime ------------------------------------------------------------------------------- */

static int runtime_status(const struct args *a, const char *what, uint64_t status)
{
    if (status == RUNTIME_UNAVAILABLE) {
        return args_error(a, "firmware's runtime services are not used; \"log\" says why");
    }
    return args_error(a, "%s: firmware answered with status %016llx", what,
                      (unsigned long long)status);
}

static int show_clock(const struct args *a)
{
    struct runtime_time t = { .year = 0 };
    uint64_t status = runtime_get_time(&t);

    if (status != RUNTIME_SUCCESS) {
        return runtime_status(a, "GetTime", status);
    }
    kprintf("firmware's clock: %04u-%02u-%02u %02u:%02u:%02u", t.year, t.month, t.day, t.hour,
            t.minute, t.second);
    if (t.zone >= -1440 && t.zone <= 1440) {
        unsigned minutes = (unsigned)(t.zone < 0 ? -t.zone : t.zone);

        /* UEFI 2.10 8.3: local time = UTC - zone. */
        kprintf(" UTC%c%02u:%02u\n", t.zone > 0 ? '-' : '+', minutes / 60, minutes % 60);
    } else {
        kputs(", time zone not said\n");
    }
    return 0;
}

/* UEFI 2.10 8.2.1: attributes of a variable. */
static const struct bit_name variable_bits[] = {
    { 0x01, "NV" }, { 0x02, "BS" }, { 0x04, "RT" },  { 0x08, "HR" },
    { 0x10, "AW" }, { 0x20, "AT" }, { 0x40, "APP" },
};

static void show_variable(const struct runtime_variable *v, uint64_t nbytes, uint32_t attributes)
{
    char name[RUNTIME_NAME_MAX], attr[32];
    size_t len = 0;
    unsigned n = 0;

    for (; n < RUNTIME_NAME_MAX - 1 && v->name[n] != 0; n++) {
        name[n] = v->name[n] >= 0x20 && v->name[n] < 0x7f ? (char)v->name[n] : '?';
    }
    name[n] = '\0';
    attr[0] = '\0';
    for (size_t i = 0; i < MM_COUNTOF(variable_bits); i++) {
        if ((attributes & variable_bits[i].mask) != 0) {
            len += fmt_s(attr + len, sizeof(attr) - len, "%s%s", len != 0 ? "|" : "",
                         variable_bits[i].name);
        }
    }
    kprintf("%08x-%04x-%04x-%02x%02x-%02x%02x%02x%02x%02x%02x %8llu  %-9s %s\n", v->vendor.a,
            v->vendor.b, v->vendor.c, v->vendor.d[0], v->vendor.d[1], v->vendor.d[2],
            v->vendor.d[3], v->vendor.d[4], v->vendor.d[5], v->vendor.d[6], v->vendor.d[7],
            (unsigned long long)nbytes, attr, name);
}

static int show_variables(const struct args *a)
{
    static struct runtime_variable v; /* firmware writes it: not on the stack */
    uint64_t status, nbytes, total = 0;
    uint32_t attributes;
    unsigned n = 0;

    memset(&v, 0, sizeof(v));
    kputs(STYLE_HEAD "vendor                                  bytes  attributes and name" STYLE_OFF
                     "\n");
    for (; n < MAX_VARIABLES; n++) {
        status = runtime_next_variable(&v);
        if (status == RUNTIME_NOT_FOUND) {
            kprintf("%u variables, %llu bytes\n", n, (unsigned long long)total);
            return 0;
        }
        if (status != RUNTIME_SUCCESS) {
            return runtime_status(a, "GetNextVariableName", status);
        }
        status = runtime_variable_size(&v, &nbytes, &attributes);
        if (status != RUNTIME_SUCCESS && status != RUNTIME_BUFFER_TOO_SMALL) {
            return runtime_status(a, "GetVariable", status);
        }
        show_variable(&v, nbytes, attributes);
        total += nbytes;
    }
    return args_error(a, "more than %u variables: firmware's list does not end", MAX_VARIABLES);
}

static int cmd_runtime(int argc, char **argv)
{
    struct args a;

    if (!args_parse(&a, argc, argv, "t", 0, 0)) {
        return 1;
    }
    return show_clock(&a) != 0 || (!args_has(&a, 't') && show_variables(&a) != 0);
}

/* ---- the way out --------------------------------------------------------------------------- */

static int cmd_reboot(int argc, char **argv)
{
    struct args a;

    if (!args_parse(&a, argc, argv, "", 0, 0)) {
        return 1;
    }
    kputs("reset\n");
    machine_reboot();
}

static int cmd_poweroff(int argc, char **argv)
{
    struct args a;

    if (!args_parse(&a, argc, argv, "", 0, 0)) {
        return 1;
    }
    kputs("power off\n");
    machine_poweroff();
}

MONITOR_COMMAND(cpu) = {
    .name = "cpu",
    .args = "",
    .brief = "the processor: features there and in use, control registers",
    .help = "Bits of a register that have no name here are shown as one number behind a +.\n",
    .run = cmd_cpu,
};

MONITOR_COMMAND(boot) = {
    .name = "boot",
    .args = "",
    .brief = "the hand-over from firmware, the layout, and where the time went",
    .help = "Cycles are those of the time-stamp counter; in QEMU with -icount shift=0 they\n"
            "are instructions.\n",
    .run = cmd_boot,
};

MONITOR_COMMAND(log) = {
    .name = "log",
    .args = "[-l LEVEL] [N]",
    .brief = "the kernel's log, or its last N lines",
    .help = "  -l  only lines of this level and graver: error, warn, info, debug\n",
    .run = cmd_log,
};

MONITOR_COMMAND(runtime) = {
    .name = "runtime",
    .args = "[-t]",
    .brief = "firmware's clock and variables, through its runtime services",
    .help = "Attributes: NV kept without power, BS and RT readable before and after the\n"
            "start of an OS, HR hardware error record, AW AT authenticated writes, APP\n"
            "append.\n"
            "  -t  the clock only\n",
    .run = cmd_runtime,
};

MONITOR_COMMAND(reboot) = {
    .name = "reboot",
    .args = "",
    .brief = "reset the machine",
    .help = "By runtime services, ACPI's reset register, the keyboard controller, a triple\n"
            "fault: whatever works first.\n",
    .run = cmd_reboot,
};

MONITOR_COMMAND(poweroff) = {
    .name = "poweroff",
    .args = "",
    .brief = "switch the machine off",
    .help = "By runtime services, else by ACPI.\n",
    .run = cmd_poweroff,
};
