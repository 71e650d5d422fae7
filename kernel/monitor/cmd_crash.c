/*
 * crash: one bug of each kind, to see that it is caught, and named, where it happens.
 *
 * Each is a function of its own that is never inlined, so that the backtrace can name it. What the
 * compiler must not see through goes through a volatile variable.
 */
#include "cpu/asm.h"
#include "lib/console.h"
#include "lib/string.h"
#include "mm/kmalloc.h"
#include "mm/port.h"
#include "monitor/args.h"
#include "monitor/style.h"
#include "vm.h"

#define NOINLINE __attribute__((noinline))

static volatile uint64_t zero;
static volatile int largest_int = INT32_MAX;
static volatile uint64_t sink;

static NOINLINE void crash_null(void)
{
    sink = *(volatile uint64_t *)zero;
}

/* Two bytes of writable data that are an instruction (ud2): if they run, it is no page fault. */
static volatile uint8_t code_in_data[2];

static NOINLINE void crash_nx(void)
{
    code_in_data[0] = 0x0f;
    code_in_data[1] = 0x0b;
    ((void (*)(void))(uint64_t)code_in_data)();
    sink = 1;
}

static NOINLINE void crash_text(void)
{
    *(volatile uint8_t *)(uint64_t)crash_text = 0;
}

static NOINLINE uint64_t crash_stack(uint64_t depth)
{
    volatile uint64_t space[64];

    space[depth % MM_COUNTOF(space)] = depth;
    if (depth == UINT64_MAX) {
        return 0;
    }
    return crash_stack(depth + 1) + space[0];
}

static NOINLINE void crash_stack_begin(void)
{
    sink = crash_stack(zero);
}

/* With no stack to push to, the fault itself faults. */
static NOINLINE void crash_df(void)
{
    __asm__ volatile("movq %0, %%rsp\n\tpushq $0" : : "r"(zero) : "memory");
    __builtin_unreachable();
}

static NOINLINE void crash_ub(void)
{
    sink = (uint64_t)(largest_int + 1);
}

static NOINLINE void crash_assert(void)
{
    MM_ASSERT(zero == 1);
    sink = 1;
}

static NOINLINE void crash_heap(void)
{
    void *volatile p = kmalloc(64);

    kfree(p);
    kfree(p);
    sink = 1;
}

#ifdef PMM_DEBUG

static NOINLINE void crash_overrun(void)
{
    char *volatile p = kmalloc(96);

    MM_ASSERT(p != NULL);
    p[96] = 1;
    kfree(p);
    sink = 1;
}

static NOINLINE void crash_late(void)
{
    char *volatile p = kmalloc(96);

    kfree(p);
    p[10] = 1;
    kmalloc_reclaim();
    sink = 1;
}

#endif

static NOINLINE void crash_pmm(void)
{
    pfn_t pfn = pmm_get(vm_pmm, 0, 0);

    MM_ASSERT(!pfn_is_none(pfn));
    pmm_put(vm_pmm, pfn, 0);
    pmm_put(vm_pmm, pfn, 0);
    sink = 1;
}

static NOINLINE void crash_smash(void)
{
    char array[32];
    char *volatile p = array;

    memset(p, 0x41, sizeof(array) + 16 + zero);
    sink = (uint8_t)array[0];
}

static const struct {
    const char *name;
    void (*run)(void);
    const char *what;
} kinds[] = {
    { "null", crash_null, "read through a null pointer" },
    { "nx", crash_nx, "execute data" },
    { "text", crash_text, "write to the kernel's text" },
    { "stack", crash_stack_begin, "recurse until the stack's guard page" },
    { "df", crash_df, "a fault without a stack: double fault" },
    { "ub", crash_ub, "signed overflow, which C leaves undefined" },
    { "assert", crash_assert, "a false assertion" },
    { "heap", crash_heap, "kfree the same block twice" },
#ifdef PMM_DEBUG
    { "overrun", crash_overrun, "write behind the end of a block of 96 bytes" },
    { "late", crash_late, "write to a block of 96 bytes after kfree" },
#endif
    { "pmm", crash_pmm, "give back the same frame twice" },
    { "smash", crash_smash, "write past an array on the stack" },
};

static int cmd_crash(int argc, char **argv)
{
    struct args a;

    if (!args_parse(&a, argc, argv, "", 0, 1)) {
        return 1;
    }
    for (size_t i = 0; i < MM_COUNTOF(kinds); i++) {
        if (a.n == 0) {
            kprintf("  " STYLE_BOLD "%-8s" STYLE_OFF "%s\n", kinds[i].name, kinds[i].what);
        } else if (strcmp(kinds[i].name, a.operand[0]) == 0) {
            kinds[i].run();
            return args_error(&a, "the machine survived it, and should not have");
        }
    }
    return a.n == 0 ? 0
                    : args_fail(&a, "there is no kind \"%s\"; \"crash\" lists them", a.operand[0]);
}

MONITOR_COMMAND(crash) = {
    .name = "crash",
    .args = "[KIND]",
    .brief = "commit a bug on purpose, to see it caught; alone: list the kinds",
    .help = "Every kind ends in a panic that says what broke. The machine has to be reset\n"
            "then.\n",
    .run = cmd_crash,
};
