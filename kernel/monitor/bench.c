/*
 * bench: what the basic operations cost, in cycles.
 *
 * Each figure is the time of many operations between two readings of the time-stamp counter,
 * divided by their number; interrupts stay on, as they are in real use. There is no statistics
 * here: on hardware take the best of a few runs; under QEMU with -icount the figure is the number
 * of instructions, and repeats.
 */
#include "monitor/bench.h"

#include "clock.h"
#include "cpu/asm.h"
#include "lib/console.h"
#include "lib/string.h"
#include "mm/kmalloc.h"
#include "mm/port.h"
#include "mm/vmalloc.h"
#include "monitor/args.h"
#include "monitor/style.h"
#include "monitor/testing.h"
#include "vm.h"

#define ROUNDS    1000u
#define MIX_SLOTS 256u
#define MIX_STEPS 4000u
#define HUGE      (UINT64_C(1) << 21)

/* Each runs its operation many times, tells how often, and returns false if memory ran out. */
struct bench {
    const char *name, *what;
    bool (*run)(unsigned *count);
};

static bool frames_of_order(unsigned order, unsigned *count)
{
    for (unsigned i = 0; i < ROUNDS; i++) {
        pfn_t pfn = pmm_get(vm_pmm, order, 0);

        if (pfn_is_none(pfn)) {
            return false;
        }
        pmm_put(vm_pmm, pfn, order);
    }
    *count = ROUNDS;
    return true;
}

static bool bench_frame(unsigned *count)
{
    return frames_of_order(0, count);
}

static bool bench_frames_2m(unsigned *count)
{
    return frames_of_order(9, count);
}

static bool bench_kmalloc_64(unsigned *count)
{
    for (unsigned i = 0; i < ROUNDS; i++) {
        void *p = kmalloc(64);

        if (p == NULL) {
            return false;
        }
        kfree(p);
    }
    *count = ROUNDS;
    return true;
}

/* 64 bytes and 4 KiB by turns of a coin, in random order, with about 128 blocks live. */
static bool bench_kmalloc_mix(unsigned *count)
{
    static void *slots[MIX_SLOTS];
    struct rng r = { 1 };
    bool good = true;

    for (unsigned i = 0; i < MIX_STEPS && good; i++) {
        void **slot = &slots[rng_below(&r, MIX_SLOTS)];

        if (*slot != NULL) {
            kfree(*slot);
            *slot = NULL;
        } else {
            *slot = kmalloc(rng_below(&r, 2) != 0 ? 64 : 4096);
            good = *slot != NULL;
        }
    }
    for (unsigned i = 0; i < MIX_SLOTS; i++) {
        kfree(slots[i]);
        slots[i] = NULL;
    }
    *count = MIX_STEPS;
    return good;
}

static bool map_and_unmap(pfn_t pfn, uint64_t nbytes)
{
    uint64_t va = testing_window();

    for (unsigned i = 0; i < ROUNDS; i++) {
        if (pt_map(&vm_pagetable, va, pa_of_pfn(pfn), nbytes, PT_WRITE) != MM_OK ||
            pt_unmap(&vm_pagetable, va, nbytes) != MM_OK) {
            return false;
        }
    }
    return true;
}

static bool map_order(unsigned order, unsigned *count)
{
    pfn_t pfn = pmm_get(vm_pmm, order, 0);
    bool good = !pfn_is_none(pfn) && map_and_unmap(pfn, MM_PAGE_SIZE << order);

    if (!pfn_is_none(pfn)) {
        pmm_put(vm_pmm, pfn, order);
    }
    *count = ROUNDS;
    return good;
}

static bool bench_map_4k(unsigned *count)
{
    return map_order(0, count);
}

static bool bench_map_2m(unsigned *count)
{
    return map_order(9, count);
}

static bool bench_vmalloc(unsigned *count)
{
    for (unsigned i = 0; i < ROUNDS; i++) {
        void *p = vmalloc(4 * MM_PAGE_SIZE, "bench");

        if (p == NULL) {
            return false;
        }
        vfree(p);
    }
    *count = ROUNDS;
    return true;
}

static bool bench_walk(unsigned *count)
{
    struct pt_walk w;

    for (unsigned i = 0; i < ROUNDS; i++) {
        pt_walk(&vm_pagetable, vm_layout.image_va + i, &w);
    }
    *count = ROUNDS;
    return true;
}

/* Both page operations on one pair of frames: what is measured is the copy, not cache misses. */
static bool on_two_pages(void (*fn)(void *a, void *b), unsigned *count)
{
    pfn_t pfn = pmm_get(vm_pmm, 1, 0);
    char *p;

    if (pfn_is_none(pfn)) {
        return false;
    }
    p = port_ptr(pa_of_pfn(pfn));
    for (unsigned i = 0; i < ROUNDS; i++) {
        fn(p, p + MM_PAGE_SIZE);
    }
    pmm_put(vm_pmm, pfn, 1);
    *count = ROUNDS;
    return true;
}

static void copy_page(void *a, void *b)
{
    memcpy(a, b, MM_PAGE_SIZE);
    __asm__ volatile("" : : "r"(a) : "memory");
}

static void clear_page(void *a, void *b)
{
    (void)b;
    memset(a, 0, MM_PAGE_SIZE);
    __asm__ volatile("" : : "r"(a) : "memory");
}

static bool bench_copy(unsigned *count)
{
    return on_two_pages(copy_page, count);
}

static bool bench_clear(unsigned *count)
{
    return on_two_pages(clear_page, count);
}

static const struct bench benches[] = {
    { "frame", "pmm_get + pmm_put, 4 KiB", bench_frame },
    { "frame2m", "pmm_get + pmm_put, 2 MiB", bench_frames_2m },
    { "kmalloc", "kmalloc + kfree, 64 bytes", bench_kmalloc_64 },
    { "mix", "kmalloc or kfree, 64 B and 4 KiB mixed", bench_kmalloc_mix },
    { "map", "pt_map + pt_unmap, 4 KiB", bench_map_4k },
    { "map2m", "pt_map + pt_unmap, 2 MiB", bench_map_2m },
    { "walk", "pt_walk", bench_walk },
    { "vmalloc", "vmalloc + vfree, 16 KiB", bench_vmalloc },
    { "copy", "memcpy of a page", bench_copy },
    { "clear", "memset of a page", bench_clear },
};

/* Of more work, and beside others. */
static const struct table {
    const char *name;
    bool (*run)(void);
} tables[] = {
    { "pmm", bench_pmm },
    { "heap", bench_heap },
};

static bool run_bench(const struct bench *b)
{
    unsigned count = 1;
    uint64_t start = rdtsc(), cycles, ns;
    bool good = b->run(&count);

    cycles = (rdtsc() - start) / count;
    ns = cycles * 1000 / clock_tsc_per_us;
    if (good) {
        kprintf("%-10s%-40s%10llu%10llu %8u\n", b->name, b->what, (unsigned long long)cycles,
                (unsigned long long)ns, count);
    } else {
        kprintf("%-10s%-40s" STYLE_BAD "  out of memory" STYLE_OFF "\n", b->name, b->what);
    }
    return good;
}

static int cmd_bench(int argc, char **argv)
{
    bool good = true, any = false;
    struct args a;

    if (!args_parse(&a, argc, argv, "", 0, 1)) {
        return 1;
    }
    for (size_t i = 0; i < MM_COUNTOF(benches); i++) {
        if (a.n != 0 && strcmp(a.operand[0], benches[i].name) != 0) {
            continue;
        }
        if (!any) {
            kputs(STYLE_HEAD "name      operation                                   cycles"
                             "        ns    times" STYLE_OFF "\n");
        }
        any = true;
        good = run_bench(&benches[i]) && good;
    }
    for (size_t i = 0; i < MM_COUNTOF(tables); i++) {
        if (a.n != 0 && strcmp(a.operand[0], tables[i].name) != 0) {
            continue;
        }
        kputs(any ? "\n" : "");
        any = true;
        if (!tables[i].run()) {
            kprintf(STYLE_BAD "%s: out of memory" STYLE_OFF "\n", tables[i].name);
            good = false;
        }
    }
    if (!any) {
        return args_fail(&a, "there is no measurement \"%s\"", a.operand[0]);
    }
    kputs(STYLE_HEAD "cycles of the time-stamp counter for each; under QEMU with -icount shift=0 "
                     "these\nare instructions" STYLE_OFF "\n");
    return !good;
}

MONITOR_COMMAND(bench) = {
    .name = "bench",
    .args = "[NAME]",
    .brief = "what the basic operations cost, in cycles",
    .help = "NAME is one line of the table, or pmm: the frame allocator at more work, beside\n"
            "a plain bitmap with a lock; or heap: first fit in bounded time beside the same\n"
            "over a list. Emulated cycles say nothing about real ones, but under -icount\n"
            "shift=0 they are instructions, which repeat from run to run.\n",
    .run = cmd_bench,
};
