/*
 * A panic prints with interrupts off and without locks, from the most to the least important: what
 * broke, where, the registers, the call chain, the page walk of a faulting address, the last log
 * lines. Anything in it may fault again: the second panic says only its own line and stops.
 */
#include "panic.h"

#include <stdarg.h>

#include "cpu/asm.h"
#include "cpu/cpu.h"
#include "heapdebug.h"
#include "lib/console.h"
#include "lib/fmt.h"
#include "lib/ksyms.h"
#include "lib/log.h"
#include "mm/paging.h"
#include "runtime.h"
#include "vm.h"
#include "x86/regs.h"

#define BACKTRACE_DEPTH 32u
#define CHAIN_TITLE     "call chain, innermost first:\n"
#define LOG_LINES       12u

static const char *const exception_names[TRAP_EXCEPTIONS] = {
    [0] = "divide error",
    [1] = "debug exception",
    [2] = "non-maskable interrupt",
    [3] = "breakpoint",
    [4] = "overflow",
    [5] = "bound range exceeded",
    [6] = "invalid opcode",
    [7] = "device not available",
    [8] = "double fault",
    [10] = "invalid TSS",
    [11] = "segment not present",
    [12] = "stack-segment fault",
    [13] = "general protection fault",
    [14] = "page fault",
    [16] = "x87 floating-point error",
    [17] = "alignment check",
    [18] = "machine check",
    [19] = "SIMD floating-point error",
    [21] = "control-protection fault",
};

/* Codes of clang's -fsanitize-trap, in the immediate of ud1 (clang/lib/CodeGen: SanitizerHandler).
 */
static const char *const ub_names[] = {
    "addition overflow",
    "unreachable code was reached",
    "control-flow check",
    "division overflow or by zero",
    "dynamic type mismatch",
    "floating-point conversion overflow",
    "function type mismatch",
    "implicit conversion changed the value",
    "invalid argument of a builtin",
    "invalid cast",
    "invalid bool or enum value",
    "function ended without a value",
    "multiplication overflow",
    "negation overflow",
    "null argument",
    "null return value",
    "null argument",
    "null return value",
    "index out of bounds",
    "pointer arithmetic overflow",
    "shift out of bounds",
    "subtraction overflow",
};

static volatile unsigned depth; /* panics begun */

_Noreturn static void stop(void)
{
    for (;;) {
        cli();
        __asm__ volatile("hlt");
    }
}

/* First words of a panic; what follows is printed without locks. */
static void begin(void)
{
    cli();
    if (++depth > 1) {
        if (depth == 2) { /* else printing itself is what fails */
            kputs("\nPANIC in a panic: stopping here\n");
        }
        stop();
    }
    log_panic_mode();
    kputs("\n\033[1;31mPANIC: \033[0m");
}

/* "kmalloc+0x12", or "?" for an address outside the kernel's text, into buf. */
static void panic_symbol(uint64_t addr, char *buf, size_t nbytes)
{
    uint64_t offset;
    const char *name = ksym_find(addr, &offset);

    if (name != NULL) {
        fmt_s(buf, nbytes, "%s+0x%llx", name, (unsigned long long)offset);
    } else {
        fmt_s(buf, nbytes, "?");
    }
}

/* Names for the addresses in a message that are in the kernel's text. */
static void print_names(const char *text)
{
    for (const char *p = text; *p != '\0'; p++) {
        uint64_t addr = 0, offset;
        const char *name;

        if (p[0] != '0' || p[1] != 'x') {
            continue;
        }
        for (p += 2; (*p >= '0' && *p <= '9') || (*p >= 'a' && *p <= 'f'); p++) {
            addr = addr << 4 | (uint64_t)(*p <= '9' ? *p - '0' : *p - 'a' + 10);
        }
        name = ksym_find(addr, &offset);
        if (name != NULL) {
            kprintf("  0x%llx is %s+0x%llx\n", (unsigned long long)addr, name,
                    (unsigned long long)offset);
        }
        p--; /* it may be the end */
    }
}

/* Can the frame record at `rbp` be read: mapped, aligned? */
static bool record_readable(uint64_t rbp)
{
    uint64_t v;

    return rbp >= vm_layout.image_va && mm_is_aligned(rbp, 8) && trap_try_read(rbp, 8, &v) &&
           trap_try_read(rbp + 8, 8, &v);
}

/* One line of the chain. A return address belongs to the call before it, which may end its
 * function. */
static void print_call(uint64_t addr, bool returns)
{
    char name[64];

    panic_symbol(returns ? addr - 1 : addr, name, sizeof(name));
    kprintf("  %016llx  %s\n", (unsigned long long)addr, name);
}

/* The functions that called, from the frame record at `rbp` outwards. */
static void print_callers(uint64_t rbp)
{
    for (unsigned i = 0; i < BACKTRACE_DEPTH && record_readable(rbp); i++) {
        const uint64_t *record = (const uint64_t *)rbp;

        if (record[1] == 0) {
            break;
        }
        print_call(record[1], true);
        rbp = record[0];
    }
}

static void print_registers(const struct trap_frame *f)
{
    const struct {
        const char *name;
        uint64_t v;
    } regs[] = {
        { "rax", f->rax },     { "rbx", f->rbx },     { "rcx", f->rcx },     { "rdx", f->rdx },
        { "rsi", f->rsi },     { "rdi", f->rdi },     { "rbp", f->rbp },     { "rsp", f->rsp },
        { "r8 ", f->r8 },      { "r9 ", f->r9 },      { "r10", f->r10 },     { "r11", f->r11 },
        { "r12", f->r12 },     { "r13", f->r13 },     { "r14", f->r14 },     { "r15", f->r15 },
        { "cr0", read_cr0() }, { "cr2", read_cr2() }, { "cr3", read_cr3() }, { "cr4", read_cr4() },
    };

    for (unsigned i = 0; i < MM_COUNTOF(regs); i++) {
        kprintf("%s %016llx%s", regs[i].name, (unsigned long long)regs[i].v,
                i % 4 == 3 ? "\n" : "  ");
    }
    kprintf("cs %04llx  ss %04llx  rflags %08llx  error %llx\n", (unsigned long long)f->cs,
            (unsigned long long)f->ss, (unsigned long long)f->rflags, (unsigned long long)f->error);
}

static void print_walk(uint64_t va)
{
    struct pagetable live = vm_live();
    struct pt_walk w;
    char flags[16];

    pt_walk(&live, va, &w);
    kprintf("page walk of 0x%llx:%s\n", (unsigned long long)va,
            w.nsteps == 0 ? " the address is not canonical" : "");
    for (unsigned i = 0; i < w.nsteps; i++) {
        kprintf("  level %u [%3u]  %016llx%s\n", w.step[i].level, w.step[i].index,
                (unsigned long long)w.step[i].entry.v,
                pte_present(w.step[i].entry) ? "" : "  not present");
    }
    if (w.present) {
        pt_flags_text(w.flags, flags);
        kprintf("  leads to physical 0x%llx, %s\n", (unsigned long long)w.pa.v, flags);
    }
}

static bool print_line(void *ctx, const struct log_view *v)
{
    (void)ctx;
    kprintf("  [%s] %s\n", v->stamp, v->text);
    return true;
}

static void print_log(void)
{
    kputs("last log lines:\n");
    log_for_last(LOG_LINES, print_line, NULL);
}

void panic(const char *fmt, ...)
{
    char text[256];
    va_list ap;

    begin();
    va_start(ap, fmt);
    fmt_v(text, sizeof(text), fmt, ap);
    va_end(ap);
    kprintf("%s\n", text);
    print_names(text);
    kputs(CHAIN_TITLE);
    print_callers((uint64_t)__builtin_frame_address(0));
    print_log();
    kputs("The machine is stopped. Reset it to go on.\n");
    stop();
}

/* What a page fault was about, in words. */
static void print_page_fault(const struct trap_frame *f)
{
    uint64_t va = read_cr2();
    const struct cpu_stack *stack = cpu_stack_guarded_by(va);
    const char *what = (f->error & PF_I) != 0   ? "execution"
                       : (f->error & PF_W) != 0 ? "write"
                                                : "read";

    if (stack != NULL) {
        kprintf("stack overflow: %s at 0x%llx, in the guard page of the %s stack\n", what,
                (unsigned long long)va, stack->name);
    } else if ((f->error & PF_RSVD) != 0) {
        kprintf("page fault: %s at 0x%llx met a page-table entry with reserved bits set\n", what,
                (unsigned long long)va);
    } else if ((f->error & PF_P) == 0) {
        kprintf("page fault: %s of unmapped address 0x%llx%s\n", what, (unsigned long long)va,
                va < MM_PAGE_SIZE ? " (a null pointer)" : "");
    } else if ((f->error & PF_I) != 0) {
        kprintf("page fault: execution of no-execute memory at 0x%llx\n", (unsigned long long)va);
    } else {
        kprintf("page fault: %s of %s memory at 0x%llx\n", what,
                (f->error & PF_W) != 0 ? "read-only" : "protected", (unsigned long long)va);
    }
}

/*
 * clang says which check failed by the operand of a ud1: 67 0f b9 40 and the check's number, or
 * 67 0f b9 00 for number 0.
 */
static bool print_ub(const struct trap_frame *f)
{
    uint64_t code;
    unsigned kind;

    if (f->vector != TRAP_UD || !trap_try_read(f->rip, 8, &code)) {
        return false;
    }
    if ((code & 0xffffffff) == 0x40b90f67) {
        kind = (unsigned)(code >> 32) & 0xff;
    } else if ((code & 0xffffffff) == 0x00b90f67) {
        kind = 0;
    } else {
        return false;
    }
    kprintf("undefined behaviour: %s\n",
            kind < MM_COUNTOF(ub_names) ? ub_names[kind] : "unknown check");
    return true;
}

/* Is `rip` in the kernel's text? */
static bool in_text(uint64_t rip)
{
    uint64_t offset;

    return ksym_find(rip, &offset) != NULL;
}

/*
 * The chain of a trap. After a jump to nowhere the caller is known by what its call left behind.
 * Firmware keeps no frame records: from it the chain goes on with who called it.
 */
static void print_trap_chain(const struct trap_frame *f)
{
    uint64_t caller;

    kputs(CHAIN_TITLE);
    print_call(f->rip, false);
    if (!in_text(f->rip) && trap_try_read(f->rsp, 8, &caller) && in_text(caller)) {
        print_call(caller, true);
    }
    print_callers(f->rip >> 63 == 0 && runtime_frame() != 0 ? runtime_frame() : f->rbp);
}

void panic_trap(const struct trap_frame *f)
{
    bool walk = f->vector == TRAP_PF || f->vector == TRAP_DF;

    begin();
    if (f->vector == TRAP_PF) {
        print_page_fault(f);
        heapdebug_tell_fault(read_cr2());
    } else if (f->vector == TRAP_DF && cpu_stack_guarded_by(read_cr2()) != NULL) {
        kprintf("stack overflow: double fault at 0x%llx, in the guard page of the %s stack\n",
                (unsigned long long)read_cr2(), cpu_stack_guarded_by(read_cr2())->name);
    } else if (!print_ub(f)) {
        const char *name = f->vector < TRAP_EXCEPTIONS ? exception_names[f->vector] : NULL;

        kprintf("%s, error code 0x%llx\n", name != NULL ? name : "unknown exception",
                (unsigned long long)f->error);
    }
    print_registers(f);
    print_trap_chain(f);
    if (walk) {
        print_walk(read_cr2());
    }
    print_log();
    kputs("The machine is stopped. Reset it to go on.\n");
    stop();
}
