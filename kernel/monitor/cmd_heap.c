/*
 * heap, alloc, free: kernel memory in blocks, as seen from outside and as used.
 *
 * alloc fills what it got with a pattern, and free looks whether it is still there: memory given
 * twice, or written by somebody else meanwhile, shows.
 */
#include "lib/console.h"
#include "lib/fmt.h"
#include "lib/string.h"
#include "mm/kmalloc.h"
#include "mm/port.h"
#include "mm/vmalloc.h"
#include "monitor/args.h"
#include "monitor/heap.h"
#include "monitor/style.h"
#include "monitor/testing.h"
#include "vm.h"

#define MAX_HELD 64u

enum held_kind { HELD_NONE, HELD_KMALLOC, HELD_VMALLOC, HELD_FRAMES };

static struct held {
    enum held_kind kind;
    unsigned order; /* of HELD_FRAMES */
    void *ptr;
    uint64_t nbytes;
} held[MAX_HELD]; /* ID i + 1 */

static const char *const kind_names[] = {
    [HELD_KMALLOC] = "kmalloc",
    [HELD_VMALLOC] = "vmalloc",
    [HELD_FRAMES] = "frames",
};

struct listing {
    bool used_too;
    uint64_t shown;
};

static bool show_block(void *ctx, const struct kmalloc_view *b)
{
    struct listing *l = ctx;
    char size[FMT_BYTES_MAX];

    if (b->first_in_arena && l->used_too) {
        kputs(STYLE_HEAD "arena" STYLE_OFF "\n");
    }
    if (!b->used || l->used_too) {
        kprintf("  %016llx %14zu %10s  %s\n", (unsigned long long)(uint64_t)b->ptr, b->nbytes,
                fmt_bytes(size, b->nbytes), b->used ? "used" : STYLE_OK "free" STYLE_OFF);
        l->shown++;
    }
    return true;
}

static bool show_vmalloc(void *ctx, const struct vmalloc_view *v)
{
    struct listing *l = ctx;
    char size[FMT_BYTES_MAX];

    l->shown++;
    kprintf("  %016llx %14llu %10s  %s", (unsigned long long)v->va, (unsigned long long)v->nbytes,
            fmt_bytes(size, v->nbytes), v->name);
    if (v->phys) {
        kprintf(STYLE_HEAD " (physical 0x%llx)" STYLE_OFF, (unsigned long long)v->pa.v);
    }
    kputs("\n");
    return true;
}

static bool show_cache(void *ctx, struct slab_cache *c)
{
    struct listing *l = ctx;
    char size[FMT_BYTES_MAX];
    struct slab_stats s;

    slab_get_stats(c, &s);
    if (s.slabs != 0) {
        kprintf("  %-16s %14zu %10s %7zu %8zu %6zu\n", c->name, c->nbytes,
                fmt_bytes(size, s.slab_bytes), s.used, s.depot + s.cpus, s.slabs);
        l->shown++;
    }
    return true;
}

/* 100 times a / b; 1 if there is nothing of both. */
static unsigned long long hundredths(uint64_t a, uint64_t b)
{
    return b != 0 ? a * 100 / b : 100;
}

/* The layers, and what each has its memory from. */
static void show_layers(const struct kmalloc_stats *s)
{
    char all[FMT_BYTES_MAX], used[FMT_BYTES_MAX], unused[FMT_BYTES_MAX], largest[FMT_BYTES_MAX];
    unsigned long long largest_part = hundredths(s->largest_free, s->free_bytes);
    unsigned long long peak = hundredths(s->peak_arena_bytes, s->peak_used_bytes);

    kprintf("slabs, from %s: %s\n  used %10s in %zu objects\n", kmalloc_slabs()->backing.name,
            fmt_bytes(all, s->slab_bytes), fmt_bytes(used, s->slab_used_bytes), s->nobjects);
    kprintf("first fit, from %s: %zu arena%s, %s", kmalloc_heap_backing(), s->narenas,
            s->narenas != 1 ? "s" : "", fmt_bytes(all, s->arena_bytes));
    kprintf(", and %s kept for the next\n", fmt_bytes(unused, s->spare_bytes));
    kprintf("  used %10s in %zu blocks\n  free %10s in %zu blocks, the largest %s\n",
            fmt_bytes(used, s->used_bytes), s->nused, fmt_bytes(unused, s->free_bytes), s->nfree,
            fmt_bytes(largest, s->largest_free));
    kprintf("  fragmentation: largest / free is %llu.%02llu\n", largest_part / 100,
            largest_part % 100);
    kprintf("  peak: arenas / used is %llu.%02llu (%s / %s)\n", peak / 100, peak % 100,
            fmt_bytes(all, s->peak_arena_bytes), fmt_bytes(used, s->peak_used_bytes));
    kprintf("whole frames: %s in %zu blocks; %s say which frame is whose\n",
            fmt_bytes(all, s->block_bytes), s->nblocks, fmt_bytes(used, s->map_bytes));
}

static void end_listing(const struct listing *l)
{
    if (l->shown == 0) {
        kputs("  none\n");
    }
}

static int heap_overview(const struct args *a)
{
    struct listing caches = { .shown = 0 }, blocks = { .shown = 0 }, ranges = { .shown = 0 };
    struct kmalloc_stats s;

    kmalloc_get_stats(&s);
    show_layers(&s);
    heap_draw();
    kprintf(STYLE_HEAD "%-18s %14s %10s %7s %8s %6s" STYLE_OFF "\n", "slab caches", "bytes", "size",
            "used", "at hand", "slabs");
    slab_set_for_each(kmalloc_slabs(), show_cache, &caches);
    end_listing(&caches);

    blocks.used_too = args_has(a, 'b');
    kprintf(STYLE_HEAD "%-18s %14s %10s" STYLE_OFF "\n",
            blocks.used_too ? "all blocks" : "free blocks", "bytes", "size");
    kmalloc_for_each(KMALLOC_HEAP, show_block, &blocks);
    if (blocks.used_too) {
        kputs(STYLE_HEAD "whole frames" STYLE_OFF "\n");
        kmalloc_for_each(KMALLOC_FRAMES, show_block, &blocks);
    }
    end_listing(&blocks);
    kprintf(STYLE_HEAD "%-18s %14s %10s" STYLE_OFF "\n", "vmalloc ranges", "bytes", "size");
    vmalloc_for_each(show_vmalloc, &ranges);
    end_listing(&ranges);
    return 0;
}

static const struct {
    const char *word;
    unsigned min, max; /* operands, the word included */
    int (*run)(const struct args *a);
} subcommands[] = {
    { "trace", 1, 3, heap_trace }, { "who", 2, 2, heap_who },     { "leaks", 1, 1, heap_leaks },
    { "mark", 1, 1, heap_mark },   { "guard", 2, 3, heap_guard },
};

static int cmd_heap(int argc, char **argv)
{
    struct args a;

    if (!args_parse(&a, argc, argv, "b", 0, 3)) {
        return 1;
    }
    if (a.n == 0) {
        return heap_overview(&a);
    }
    if (args_has(&a, 'b')) {
        return args_fail(&a, "-b has no place beside \"%s\"", a.operand[0]);
    }
    for (size_t i = 0; i < MM_COUNTOF(subcommands); i++) {
        if (strcmp(a.operand[0], subcommands[i].word) != 0) {
            continue;
        }
        if (a.n < subcommands[i].min || a.n > subcommands[i].max) {
            return args_fail(&a, "%s: too %s words", subcommands[i].word,
                             a.n < subcommands[i].min ? "few" : "many");
        }
        return subcommands[i].run(&a);
    }
    return args_fail(&a, "there is no \"heap %s\"", a.operand[0]);
}

static void show_held(const struct held *h)
{
    char size[FMT_BYTES_MAX], kind[20];

    if (h->kind == HELD_FRAMES) {
        fmt_s(kind, sizeof(kind), "frames, order %u", h->order);
    } else {
        fmt_s(kind, sizeof(kind), "%s", kind_names[h->kind]);
    }
    kprintf("%3u  %016llx %14llu %10s  %s\n", (unsigned)(h - held) + 1,
            (unsigned long long)(uint64_t)h->ptr, (unsigned long long)h->nbytes,
            fmt_bytes(size, h->nbytes), kind);
}

static int list_held(void)
{
    unsigned n = 0;

    for (unsigned i = 0; i < MAX_HELD; i++) {
        if (held[i].kind == HELD_NONE) {
            continue;
        }
        if (n++ == 0) {
            kputs(STYLE_HEAD " ID  address                   bytes       size  from" STYLE_OFF
                             "\n");
        }
        show_held(&held[i]);
    }
    kprintf("%u allocations held\n", n);
    return 0;
}

/* Get the memory that *h describes; false if there is none. */
static bool acquire(struct held *h, uint64_t align)
{
    pfn_t pfn;

    switch (h->kind) {
    case HELD_FRAMES:
        pfn = pmm_get(vm_pmm, h->order, 0);
        h->ptr = pfn_is_none(pfn) ? NULL : port_ptr(pa_of_pfn(pfn));
        break;
    case HELD_VMALLOC:
        h->ptr = vmalloc(h->nbytes, "alloc");
        break;
    default:
        h->ptr = align != 0 ? kmalloc_aligned(h->nbytes, align) : kmalloc(h->nbytes);
    }
    return h->ptr != NULL;
}

static void release(const struct held *h)
{
    switch (h->kind) {
    case HELD_FRAMES:
        pmm_put(vm_pmm, pfn_of_pa(pa_make((uint64_t)h->ptr - vm_layout.direct_va)), h->order);
        break;
    case HELD_VMALLOC:
        vfree(h->ptr);
        break;
    default:
        kfree(h->ptr);
    }
}

static int cmd_alloc(int argc, char **argv)
{
    struct held want = { .kind = HELD_KMALLOC };
    struct held *slot = held;
    uint64_t align = 0, order;
    struct args a;

    if (!args_parse(&a, argc, argv, "va:f:", 0, 1) || !args_at_most_one(&a, "va") ||
        !args_at_most_one(&a, "vf") || !args_at_most_one(&a, "af")) {
        return 1;
    }
    if (args_has(&a, 'f')) {
        if (a.n != 0) {
            return args_fail(&a, "-f ORDER says the size: N has no place beside it");
        }
        if (!args_number(&a, "ORDER", args_value(&a, 'f'), 0, PMM_MAX_ORDER, &order)) {
            return 1;
        }
        want.kind = HELD_FRAMES;
        want.order = (unsigned)order;
        want.nbytes = MM_PAGE_SIZE << order;
    } else if (a.n == 0) {
        return argc == 1 ? list_held() : args_fail(&a, "N is missing");
    } else if (!args_number(&a, "N", a.operand[0], 0, UINT64_MAX, &want.nbytes)) {
        return 1;
    }
    if (args_has(&a, 'a')) {
        if (!args_number(&a, "ALIGN", args_value(&a, 'a'), 1, UINT64_C(1) << 62, &align)) {
            return 1;
        }
        if (!mm_is_pow2(align)) {
            return args_fail(&a, "ALIGN: %llu is no power of two", (unsigned long long)align);
        }
    }
    want.kind = args_has(&a, 'v') ? HELD_VMALLOC : want.kind;

    while (slot < held + MAX_HELD && slot->kind != HELD_NONE) {
        slot++;
    }
    if (slot == held + MAX_HELD) {
        return args_error(&a, "%u allocations are held already: free one first", MAX_HELD);
    }
    if (!acquire(&want, align)) {
        if (want.kind == HELD_FRAMES) {
            return args_error(&a, "out of memory: no block of order %u: %s", want.order,
                              mm_strerror(pmm_why(vm_pmm, want.order)));
        }
        return args_error(&a, "out of memory: there is no such block");
    }
    *slot = want;
    pattern_fill(slot->ptr, slot->nbytes, (uint64_t)slot->ptr);
    show_held(slot);
    return 0;
}

/* 0, or 1 if the pattern is damaged. The memory is given back either way. */
static int free_held(const struct args *a, struct held *h)
{
    size_t bad = pattern_verify(h->ptr, h->nbytes, (uint64_t)h->ptr);
    unsigned id = (unsigned)(h - held) + 1;
    char size[FMT_BYTES_MAX];

    release(h);
    h->kind = HELD_NONE;
    if (bad != h->nbytes) {
        return args_error(a, "ID %u was damaged: byte %zu, at 0x%llx, is not as alloc left it", id,
                          bad, (unsigned long long)((uint64_t)h->ptr + bad));
    }
    kprintf("%u: %s given back, contents intact\n", id, fmt_bytes(size, h->nbytes));
    return 0;
}

static int cmd_free(int argc, char **argv)
{
    int status = 0;
    struct args a;
    uint64_t id;

    if (!args_parse(&a, argc, argv, "a", 0, 1)) {
        return 1;
    }
    if (args_has(&a, 'a') ? a.n != 0 : a.n == 0) {
        return args_fail(&a, "either an ID or -a");
    }
    if (args_has(&a, 'a')) {
        for (struct held *h = held; h < held + MAX_HELD; h++) {
            status |= h->kind != HELD_NONE ? free_held(&a, h) : 0;
        }
        return status;
    }
    if (!args_number(&a, "ID", a.operand[0], 1, MAX_HELD, &id)) {
        return 1;
    }
    if (held[id - 1].kind == HELD_NONE) {
        return args_error(&a, "nothing is held under ID %llu; \"alloc\" lists what is",
                          (unsigned long long)id);
    }
    return free_held(&a, &held[id - 1]);
}

MONITOR_COMMAND(heap) = {
    .name = "heap",
    .args = "[-b | trace [WORD [N]] | who ADDR | mark | leaks | guard LO HI|off]",
    .brief = "kmalloc's layers, free blocks, vmalloc's ranges",
    .help = "kmalloc serves up to 1 KiB from slab caches, less than 256 KiB by first fit,\n"
            "and what is larger by whole frames. Listed are the caches that have slabs, with\n"
            "the objects that are used and those at hand in magazines, and the free blocks\n"
            "of first fit. The drawing is of its arenas, without what each keeps for itself,\n"
            "with a character for pieces of equal size. vmalloc ranges have a guard page on\n"
            "each side.\n"
            "  -b                 all blocks, used ones too, but those in slabs\n"
            "  trace              is there a recording, and of how much\n"
            "  trace on [N]       record each kmalloc, krealloc and kfree, until there are N\n"
            "                     (16384); those that come later are counted\n"
            "  trace off          it is enough\n"
            "  trace show         all of it; scripts/heap-traces --text makes of that what\n"
            "                     bench_heap replays\n"
            "  trace drop         give the memory of the recording back\n"
            "In a debug build:\n"
            "  who ADDR           which block has the address, and which call allocated it\n"
            "  mark               from here on ...\n"
            "  leaks              ... which blocks came and are still in use, by call\n"
            "  guard LO HI | off  blocks of that many bytes get a guard page behind them\n",
    .run = cmd_heap,
};

MONITOR_COMMAND(alloc) = {
    .name = "alloc",
    .args = "[N [-a ALIGN | -v] | -f ORDER]",
    .brief = "allocate memory and fill it with a pattern; alone: list it",
    .help = "N bytes from kmalloc, at a multiple of ALIGN, or from vmalloc (-v); or a block\n"
            "of 2^ORDER frames (-f). The ID it gets is for free, which looks whether the\n"
            "pattern is still there.\n",
    .run = cmd_alloc,
};

MONITOR_COMMAND(free_) = {
    .name = "free",
    .args = "ID | -a",
    .brief = "give back what alloc got, after a look at its contents",
    .help = "  -a  all of it\n",
    .run = cmd_free,
};
