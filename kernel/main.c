/*
 * From the first C function to the monitor. Each step may use what the ones before it set up, and
 * no more.
 */
#include "main.h"

#include "acpi.h"
#include "clock.h"
#include "cpu/asm.h"
#include "cpu/cpu.h"
#include "cpu/irq.h"
#include "cpu/trap.h"
#include "dev/debugcon.h"
#include "dev/fbcon.h"
#include "dev/ps2.h"
#include "dev/uart.h"
#include "lib/console.h"
#include "lib/fmt.h"
#include "lib/log.h"
#include "lib/opts.h"
#include "lib/string.h"
#include "mm/kmalloc.h"
#include "mm/port.h"
#include "mm/vmalloc.h"
#include "monitor/monitor.h"
#include "panic.h"
#include "plat/options.h"
#include "runtime.h"
#include "vm.h"

const struct plat_boot *boot_info;
uint64_t boot_tsc_ready;
struct boot_stage boot_stages[BOOT_MAX_STAGES];
unsigned boot_nstages;
volatile int gdb_wait;

/* Every function that has an array compares it on return. kmain() makes it random. */
uintptr_t __stack_chk_guard = 0x595e9fbd94fda766;
_Noreturn void __stack_chk_fail(void);
_Noreturn void kmain(const struct plat_boot *boot);

#define MAX_FINDING_LINES 8u

static const char *const known_options[] = { "run",    "nokaslr", "log",  "gdb",         "keep",
                                             "paging", "inspect", "save", "identifiers", NULL };

void __stack_chk_fail(void)
{
    panic("stack smashed: a function wrote past the end of an array on its stack");
}

static void stage_done(const char *name)
{
    MM_ASSERT(boot_nstages < BOOT_MAX_STAGES);
    boot_stages[boot_nstages++] = (struct boot_stage){ name, rdtsc() };
}

static bool have_uart;

static void start_consoles(void)
{
    have_uart = uart_init();
    if (have_uart) {
        console_add(&uart_sink);
    }
    if (debugcon_init()) {
        console_add(&debugcon_sink);
    }
}

static void check_handover(const struct plat_boot *boot)
{
    if (boot->magic != PLAT_BOOT_MAGIC || boot->version != PLAT_BOOT_VERSION ||
        boot->nbytes < sizeof(*boot)) {
        panic("the stub and this kernel do not belong together: hand-over magic %016llx, version "
              "%u, %u bytes",
              (unsigned long long)boot->magic, boot->version, boot->nbytes);
    }
}

/* Has the option `key` its one value `value`? Any other is named and ignored. */
static bool option_is(const char *key, const char *value)
{
    char word[24];

    if (!opts_get(key, word, sizeof(word))) {
        return false;
    }
    if (strcmp(word, value) != 0) {
        log_warn("option %s=%s: not %s: ignored", key, word, value);
        return false;
    }
    return true;
}

static void read_options(const struct plat_boot *boot)
{
    char word[16];
    enum log_level level;

    opts_init(port_ptr(pa_make(boot->options)), boot->options_bytes);
    if (opts_get("log", word, sizeof(word))) {
        if (log_parse_level(word, &level)) {
            log_set_console_level(level);
        } else {
            log_warn("option log=%s: not error, warn, info or debug: ignored", word);
        }
    }
    opts_check_known(known_options);
    if (option_is("gdb", "wait")) {
        gdb_wait = 1;
    }
    while (gdb_wait) {
        pause_hint();
    }
}

static void start_screen(const struct plat_boot *boot)
{
    const struct plat_framebuffer *fb = &boot->fb;
    void *pixels;

    if (fb->base == 0) {
        log_info("no frame buffer: serial only");
        return;
    }
    pixels = vmap_phys(pa_make(fb->base), fb->nbytes, PT_WRITE | PT_WC, "frame buffer");
    if (pixels == NULL) {
        log_warn("no memory to map the frame buffer at 0x%llx: serial only",
                 (unsigned long long)fb->base);
    } else if (fbcon_init(fb, pixels)) {
        log_info("screen: %u x %u pixels at 0x%llx, write-combining", fb->width, fb->height,
                 (unsigned long long)fb->base);
        console_add(&fbcon_sink);
        console_replay_log(&fbcon_sink);
    }
}

/* What is wrong with the map, the errors and warnings of it; the monitor's `lint` has all. */
static void log_findings(const struct plat_boot *boot)
{
    unsigned n = 0;

    log_info("memory map: %u descriptors, %u regions, %u findings", vm_map.ndescs, vm_map.nregions,
             vm_map.nfindings);
    if ((boot->flags & PLAT_BOOT_MAP_OVERRUN) != 0) {
        log_warn("firmware wrote past the end of the buffer it was given for the map");
    }
    for (uint32_t i = 0; i < vm_map.nfindings; i++) {
        const struct memmap_finding *f = &vm_map.findings[i];

        if (f->severity < MEMMAP_WARN) {
            continue;
        }
        if (n++ == MAX_FINDING_LINES) {
            log_warn("map: and more; lint lists them");
            return;
        }
        log_warn("map: %s at 0x%llx: %s", f->rule, (unsigned long long)f->base, f->what);
    }
}

static void log_memory(uint64_t reclaimed)
{
    char all[FMT_BYTES_MAX], unused[FMT_BYTES_MAX], gained[FMT_BYTES_MAX];
    uint64_t nfree, nframes = vm_count_frames(&nfree);

    fmt_bytes(all, nframes * MM_PAGE_SIZE);
    fmt_bytes(unused, nfree * MM_PAGE_SIZE);
    fmt_bytes(gained, reclaimed * MM_PAGE_SIZE);
    log_info("memory: %s in all, %s free, of which %s were firmware's until now", all, unused,
             gained);
}

/* All C from here on runs with the canary in place, so this must not be left. */
static void boot_kernel(const struct plat_boot *boot)
{
    uint64_t reclaimed;

    log_info("Plat: %u-level paging, kernel at 0x%llx, direct map at 0x%llx%s", boot->levels,
             (unsigned long long)boot->image_va, (unsigned long long)boot->direct_va,
             (boot->flags & PLAT_BOOT_PINNED) != 0 ? " (pinned)" : "");
    log_info("firmware: %s, revision 0x%x, UEFI %u.%u", boot->firmware_vendor,
             boot->firmware_revision, boot->uefi_revision >> 16,
             (boot->uefi_revision & 0xffff) / 10);
    read_options(boot);
    stage_done("consoles, options");

    vm_init(boot);
    log_findings(boot);
    stage_done("map, page tables, frames, heap");

    acpi_init(boot->rsdp);
    clock_init(boot_tsc_entry);
    stage_done("ACPI tables, clock");
    runtime_init(boot);
    stage_done("runtime services");
    reclaimed = vm_reclaim(option_is("keep", "boot-services"));
    log_memory(reclaimed);
    stage_done("firmware's memory reclaimed");

    start_screen(boot);
    stage_done("screen");
    irq_init();
    if (have_uart) {
        trap_set_irq(UART_IRQ, uart_irq);
    }
    if (ps2_init()) {
        trap_set_irq(PS2_IRQ, ps2_irq);
    } else {
        log_info("no PS/2 keyboard: type over serial");
    }
    sti();
    stage_done("interrupts, keyboard");
}

static void run_option(void)
{
    static char line[PLAT_OPTIONS_MAX];

    if (opts_get("run", line, sizeof(line))) {
        monitor_execute(line);
    }
}

__attribute__((no_stack_protector)) void kmain(const struct plat_boot *boot)
{
    memcpy(&__stack_chk_guard, boot->entropy, sizeof(__stack_chk_guard));
    __stack_chk_guard &= ~UINT64_C(0xff); /* a zero byte first: no string function copies past it */
    vm_early(boot);
    boot_info = boot;
    cpu_init();
    start_consoles();
    check_handover(boot);
    boot_kernel(boot);
    boot_tsc_ready = rdtsc();
    run_option();
    monitor_run();
}

/* The keyboard controller's reset line, then an exception with no IDT. */
_Noreturn static void reset_by_force(void)
{
    const struct {
        uint16_t limit;
        uint64_t base;
    } __attribute__((packed)) none = { 0, 0 };

    for (unsigned i = 0; i < 1000 && (inb(0x64) & 2) != 0; i++) {
        pause_hint();
    }
    outb(0x64, 0xfe);
    for (unsigned i = 0; i < 1000000; i++) {
        pause_hint();
    }
    __asm__ volatile("lidt %0; int3" : : "m"(none));
    for (;;) {
        __asm__ volatile("hlt");
    }
}

void machine_reboot(void)
{
    runtime_reset(RUNTIME_RESET_COLD);
    acpi_reset();
    reset_by_force();
}

void machine_poweroff(void)
{
    runtime_reset(RUNTIME_RESET_SHUTDOWN);
    acpi_poweroff();
    kputs("The machine does not switch itself off: do it by hand.\n");
    for (;;) {
        cli();
        __asm__ volatile("hlt");
    }
}
