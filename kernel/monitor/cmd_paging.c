/*
 * walk, pagetables, audit: the tables that CR3 holds, read entry by entry as the processor does.
 */
#include "lib/console.h"
#include "lib/fmt.h"
#include "lib/string.h"
#include "monitor/args.h"
#include "monitor/describe.h"
#include "monitor/style.h"
#include "runtime.h"
#include "vm.h"

/* One bit of an entry and what it says when set and when clear ("": nothing worth a word). */
struct entry_bit {
    uint64_t mask;
    const char *set, *clear;
};

static const struct entry_bit common_bits[] = {
    { PTE_W, "writable", "read-only" },
    { PTE_U, "user", "supervisor" },
    { PTE_NX, "no-execute", "executable" },
    { PTE_A, "accessed", "not accessed" },
};

static const struct entry_bit leaf_bits[] = {
    { PTE_D, "dirty", "clean" },
    { PTE_G, "global", "" },
    { PTE_PCD, "PCD", "" },
    { PTE_PWT, "PWT", "" },
    { PTE_SW_WX, "W+X on purpose", "" },
};

/* The words for `bits`, each with `before` in front of it, which is a comma from the second on. */
static void show_bits(pte_t e, const struct entry_bit *bits, size_t n, const char *before)
{
    for (size_t i = 0; i < n; i++) {
        const char *word = (e.v & bits[i].mask) != 0 ? bits[i].set : bits[i].clear;

        if (word[0] != '\0') {
            kprintf("%s%s", before, word);
            before = ", ";
        }
    }
}

static void show_entry(const struct pt_features *feat, const struct pt_step *s)
{
    pte_t e = s->entry;
    bool leaf = pte_is_leaf(e, s->level);
    uint64_t pat = s->level == 1 ? PTE_PAT4K : PTE_PAT_LARGE;
    uint64_t reserved = e.v & pte_reserved(s->level, leaf, feat->pa_bits, feat->nx, feat->page1g);

    kprintf("level %u, entry %3u at 0x%llx: " STYLE_BOLD "%016llx" STYLE_OFF " -> ", s->level,
            s->index, (unsigned long long)s->entry_pa.v, (unsigned long long)e.v);
    if (!pte_present(e)) {
        kputs("not present\n");
        return;
    }
    kprintf("%s at 0x%llx\n", leaf ? describe_leaf(pte_span(s->level)) : "table",
            (unsigned long long)pte_addr(e, s->level));
    show_bits(e, common_bits, MM_COUNTOF(common_bits), "    ");
    if (leaf) {
        show_bits(e, leaf_bits, MM_COUNTOF(leaf_bits), ", ");
        kputs((e.v & pat) != 0 ? ", PAT" : "");
    }
    kputs("\n");
    if (reserved != 0) {
        kprintf("    " STYLE_BAD "reserved bits set: %016llx" STYLE_OFF "\n",
                (unsigned long long)reserved);
    }
}

static int cmd_walk(int argc, char **argv)
{
    struct pagetable live = vm_live();
    char text[128], flags[16];
    struct pt_walk w;
    struct args a;
    uint64_t va;

    if (!args_parse(&a, argc, argv, "", 1, 1) || !args_address(&a, a.operand[0], &va)) {
        return 1;
    }
    pt_walk(&live, va, &w);
    if (w.nsteps == 0) {
        kprintf("0x%llx is not canonical: with %u levels bits 63 to %u must be equal\n",
                (unsigned long long)va, live.feat.levels, pte_shift(live.feat.levels) + 8);
        return 1;
    }
    describe_va(va, text, sizeof(text));
    kprintf("0x%llx: %s\n", (unsigned long long)va, text);
    for (unsigned i = 0; i < w.nsteps; i++) {
        show_entry(&live.feat, &w.step[i]);
    }
    if (!w.present) {
        uint64_t base = mm_align_down(va, w.leaf_bytes);

        kprintf("not mapped, and nothing else in 0x%llx..0x%llx\n", (unsigned long long)base,
                (unsigned long long)(base + w.leaf_bytes - 1));
        return 0;
    }
    pt_flags_text(w.flags, flags);
    describe_pa(w.pa.v, text, sizeof(text));
    kprintf("physical 0x%llx, %s page, %s\n%s\n", (unsigned long long)w.pa.v,
            describe_leaf(w.leaf_bytes), flags, text);
    return 0;
}

struct totals {
    bool lower_only;
    uint64_t ranges;
    uint64_t pages[3], nbytes[3]; /* of 4 KiB, 2 MiB, 1 GiB */
    uint64_t tables[6];           /* by level */
};

static bool show_range(void *ctx, const struct pt_range *r)
{
    struct totals *t = ctx;
    char size[FMT_BYTES_MAX], flags[16], text[40];
    unsigned leaf = r->leaf_bytes == pte_span(1) ? 0 : r->leaf_bytes == pte_span(2) ? 1 : 2;

    if (t->lower_only && r->va >> 63 != 0) {
        return false;
    }
    t->ranges++;
    t->pages[leaf] += r->nbytes / r->leaf_bytes;
    t->nbytes[leaf] += r->nbytes;
    pt_flags_text(r->flags, flags);
    if (r->va >> 63 == 0) {
        fmt_s(text, sizeof(text), "to 0x%llx", (unsigned long long)r->pa.v);
    } else {
        describe_area(r->va, text, sizeof(text));
    }
    kprintf("%016llx %012llx %10s  %s  %-8s  %s%s" STYLE_OFF "\n", (unsigned long long)r->va,
            (unsigned long long)r->pa.v, fmt_bytes(size, r->nbytes), describe_leaf(r->leaf_bytes),
            flags, (r->flags & (PT_WRITE | PT_EXEC)) == (PT_WRITE | PT_EXEC) ? STYLE_BAD : "",
            text);
    return true;
}

static bool count_table(void *ctx, pa_t table, unsigned level)
{
    struct totals *t = ctx;

    (void)table;
    t->tables[level]++;
    return true;
}

static int cmd_pagetables(int argc, char **argv)
{
    struct pagetable live = vm_live();
    const struct pagetable *pt = &live;
    char size[FMT_BYTES_MAX];
    struct totals t = { .ranges = 0 };
    uint64_t ntables = 0;
    struct args a;

    if (!args_parse(&a, argc, argv, "r", 0, 0)) {
        return 1;
    }
    if (args_has(&a, 'r')) {
        pt = runtime_pagetable();
        t.lower_only = true;
        if (pt == NULL) {
            return args_error(&a, "runtime services are not used, so they have no page tables");
        }
    }
    kputs(STYLE_HEAD "virtual          physical           size  page   rights    what" STYLE_OFF
                     "\n");
    pt_for_each(pt, show_range, &t);
    kprintf("%llu ranges\n", (unsigned long long)t.ranges);
    for (unsigned i = 0; i < 3; i++) {
        kprintf("%12llu pages of %s  %10s\n", (unsigned long long)t.pages[i],
                describe_leaf(pte_span(i + 1)), fmt_bytes(size, t.nbytes[i]));
    }
    pt_for_each_table(pt, count_table, &t);
    for (unsigned level = 1; level <= 5; level++) {
        ntables += t.tables[level];
    }
    kprintf("%12llu table frames    %10s" STYLE_HEAD "  level 1: %llu, 2: %llu, 3: %llu, 4: %llu",
            (unsigned long long)ntables, fmt_bytes(size, ntables * MM_PAGE_SIZE),
            (unsigned long long)t.tables[1], (unsigned long long)t.tables[2],
            (unsigned long long)t.tables[3], (unsigned long long)t.tables[4]);
    if (t.tables[5] != 0) {
        kprintf(", 5: %llu", (unsigned long long)t.tables[5]);
    }
    kputs(STYLE_OFF "\n");
    return 0;
}

static int cmd_audit(int argc, char **argv)
{
    struct vm_audit_line lines[VM_AUDIT_RULES];
    struct args a;
    unsigned broken;

    if (!args_parse(&a, argc, argv, "", 0, 0)) {
        return 1;
    }
    broken = vm_audit(lines);
    kputs(STYLE_HEAD "        checked  rule" STYLE_OFF "\n");
    for (unsigned i = 0; i < VM_AUDIT_RULES; i++) {
        const struct vm_audit_line *l = &lines[i];

        kprintf("%s %8llu  %s\n",
                l->ok ? STYLE_OK "ok    " STYLE_OFF : STYLE_BAD "BROKEN" STYLE_OFF,
                (unsigned long long)l->checked, l->rule);
        if (!l->ok) {
            char text[96];

            describe_va(l->va, text, sizeof(text));
            kprintf("                 first at 0x%llx: %s\n", (unsigned long long)l->va, text);
        }
    }
    kprintf("audit: %u rules hold, %u broken\n", VM_AUDIT_RULES - broken, broken);
    return 0; /* the verdict is its output; commands behind it in a sequence run all the same */
}

MONITOR_COMMAND(walk) = {
    .name = "walk",
    .args = "ADDR",
    .brief = "translate an address, level by level",
    .help = "ADDR is a virtual address: a number, the name of a kernel function, or\n"
            "NAME+OFFSET. Shows the entry of each level with its bits in words, where the\n"
            "address leads, with which rights and memory type, and what both ends of the\n"
            "translation are.\n",
    .run = cmd_walk,
};

MONITOR_COMMAND(pagetables) = {
    .name = "pagetables",
    .args = "[-r]",
    .brief = "everything that is mapped, with rights and page sizes",
    .help = "A line is a run of addresses with equal rights, mapped to one physical run by\n"
            "pages of one size. Rights: read, write, execute, user, then g for global and\n"
            "the memory type: wb write-back, uc uncached, wc write-combining.\n"
            "  -r  the tables that are in force while firmware's runtime services run\n",
    .run = cmd_pagetables,
};

MONITOR_COMMAND(audit) = {
    .name = "audit",
    .args = "",
    .brief = "prove the rules of the address space on the live page tables",
    .help = "Walks the tables that CR3 holds and judges every entry: no page writable and\n"
            "executable, nothing for user code, nothing but RAM in the direct map, and so\n"
            "on.\n",
    .run = cmd_audit,
};
