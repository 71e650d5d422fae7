/*
 * demo: ideas of memory management, acted out. What is drawn is what really happens, on a stage
 * small enough to be seen whole.
 */
#include "clock.h"
#include "cpu/asm.h"
#include "lib/console.h"
#include "lib/ffdemo.h"
#include "lib/fragdemo.h"
#include "lib/string.h"
#include "mm/port.h"
#include "mm/vmalloc.h"
#include "monitor/args.h"
#include "monitor/style.h"
#include "vm.h"

#define SLOW_US 1500000u /* between two steps */

static void show_line(void *ctx, const char *text)
{
    (void)ctx;
    kprintf("%s\n", text);
}

static bool go_on(void *ctx)
{
    const bool *slow = ctx;
    uint64_t start = rdtsc();

    while (*slow && clock_us(rdtsc() - start) < SLOW_US) {
        if (console_cancelled()) {
            return false;
        }
        pause_hint();
    }
    return true;
}

static void tell_refusal(const struct fragdemo_end *end)
{
    kprintf("%u frames are free when E asks for 4, but no more than %u side by side: E gets\n"
            "none. That is external fragmentation.\n",
            end->free, end->longest_run);
}

/* Both acts. False if Ctrl-C ended it. */
static bool play_both(struct fragdemo_pool *pool, bool slow)
{
    const struct demo_screen screen = { show_line, go_on, &slow };
    struct fragdemo_textbook textbook = { .used = { false } };
    const struct fragdemo_allocator theirs = fragdemo_textbook(&textbook);
    const struct fragdemo_allocator ours = fragdemo_pool(pool);
    struct fragdemo_end end;

    kputs("Sixteen frames. A wants 2 of them, B, C and D want 4 each, always side by side;\n"
          "then A gives its 2 back, and E wants 4.\n\n" STYLE_BOLD "The textbook's way:" STYLE_OFF
          " the lowest free run that is long enough.\n");
    if (!fragdemo_play(&theirs, &screen, &end)) {
        return false;
    }
    if (end.refused) {
        tell_refusal(&end);
    }
    kputs("\n" STYLE_BOLD "Plat's way:" STYLE_OFF
          " a frame pool like the kernel's own, made of these 16"
          " frames.\nA block of 2 begins at a multiple of 2, one of 4 at a multiple of 4.\n");
    if (!fragdemo_play(&ours, &screen, &end)) {
        return false;
    }
    if (end.refused) {
        tell_refusal(&end);
        return true;
    }
    kprintf("%u frames are free when E asks for 4, as before, but now side by side. A pair\n"
            "that is aligned lies in a single group of four: it can spoil no more than that\n"
            "one, and when it goes the four are whole again.\n\n"
            "This is no cure for everything: had A kept one frame of its two, E would wait\n"
            "here too. And a block of 3 by order would take 4; the pool's pmm_get_range()\n"
            "takes 3 and leaves the fourth to others.\n",
            end.free);
    return true;
}

static int demo_fragmentation(const struct args *a, bool slow)
{
    pfn_t stage = pmm_get(vm_pmm, FRAGDEMO_ORDER, 0);
    unsigned ncpus = pmm_ncpus(vm_pmm);
    uint64_t nbytes = fragdemo_pool_bytes(stage.v, ncpus);
    struct fragdemo_pool pool;
    bool done = false;
    void *storage;

    if (pfn_is_none(stage)) {
        return args_error(a, "no 16 frames of memory side by side");
    }
    storage = vmalloc(nbytes, "demo");
    if (storage == NULL || fragdemo_pool_init(&pool, stage.v, ncpus, storage, nbytes) != MM_OK) {
        args_error(a, "no memory for a pool of 16 frames");
    } else {
        done = play_both(&pool, slow);
    }
    vfree(storage);
    pmm_put(vm_pmm, stage, FRAGDEMO_ORDER);
    return !done;
}

static int demo_firstfit(const struct args *a, bool slow)
{
    const struct demo_screen screen = { show_line, go_on, &slow };
    void *arena = vmalloc(FFDEMO_BYTES, "demo");
    enum ffdemo_end end;

    if (arena == NULL) {
        return args_error(a, "no memory for an arena");
    }
    kputs("A heap of 4 KiB, a character for 64 bytes. Who asks gets the lowest free block\n"
          "that is large enough; what goes joins its free neighbours.\n\n");
    end = ffdemo_play(arena, &screen);
    vfree(arena);
    if (end == FFDEMO_NO_STAGE) {
        return args_error(a, "no heap of 4 KiB can be made");
    }
    if (end == FFDEMO_DONE) {
        kputs("\nH could have had a hole of just its size, and took the lowest. So low holes are\n"
              "filled again and again, and high memory stays free in one piece. None of this is\n"
              "a search through blocks: it takes as long however many there are.\n");
    }
    return end != FFDEMO_DONE;
}

static const struct {
    const char *name;
    int (*run)(const struct args *a, bool slow);
} demos[] = {
    { "firstfit", demo_firstfit },
    { "fragmentation", demo_fragmentation },
};

static int cmd_demo(int argc, char **argv)
{
    struct args a;

    if (!args_parse(&a, argc, argv, "", 1, 2)) {
        return 1;
    }
    if (a.n == 2 && strcmp(a.operand[1], "slow") != 0) {
        return args_fail(&a, "\"%s\" is not \"slow\"", a.operand[1]);
    }
    for (size_t i = 0; i < MM_COUNTOF(demos); i++) {
        if (strcmp(a.operand[0], demos[i].name) == 0) {
            return demos[i].run(&a, a.n == 2);
        }
    }
    return args_fail(&a, "there is no demo \"%s\"", a.operand[0]);
}

MONITOR_COMMAND(demo) = {
    .name = "demo",
    .args = "(firstfit | fragmentation) [slow]",
    .brief = "memory management acted out: first fit, external fragmentation",
    .help = "  firstfit       blocks come and go in a small heap: which free block is taken,\n"
            "                 and how those that go grow together\n"
            "  fragmentation  sixteen frames and five requests: placed as a textbook does it,\n"
            "                 one of them is refused though enough frames are free; placed by\n"
            "                 a frame pool like the kernel's own, it is not\n"
            "  slow           with a pause after each step (Ctrl-C stops)\n",
    .run = cmd_demo,
};
