/*
 * The audit: walk the tables that CR3 holds, entry by entry, and judge what is found against rules.
 * It trusts nothing that the mapping code noted down; only the layout's bases and the firmware map
 * are taken as given.
 */
#include "cpu/cpu.h"
#include "lib/string.h"
#include "mm/kmalloc.h"
#include "mm/port.h"
#include "vm.h"

extern char __image_start[], __text_start[], __text_end[], __rodata_end[], __image_end[];

enum rule {
    RULE_WX,
    RULE_USER,
    RULE_NULL,
    RULE_DIRECT,
    RULE_TABLES,
    RULE_TEXT_ALIAS,
    RULE_GUARDS,
    RULE_IMAGE,
    RULE_FRAMES,
};
_Static_assert(RULE_FRAMES + 1 == VM_AUDIT_RULES, "every rule has a line");

static const char *const rule_words[VM_AUDIT_RULES] = {
    [RULE_WX] = "no page is both writable and executable",
    [RULE_USER] = "nothing is accessible to user code",
    [RULE_NULL] = "page 0, and the rest of the lower half, is absent",
    [RULE_DIRECT] = "the direct map shows RAM of ours only, each byte at its place",
    [RULE_TABLES] = "page-table pages are visible in the direct map only",
    [RULE_TEXT_ALIAS] = "kernel text and read-only data have no writable alias",
    [RULE_GUARDS] = "the guard page below every stack is absent",
    [RULE_IMAGE] = "the kernel image has exactly the rights of its sections",
    [RULE_FRAMES] = "the frame table is mapped where it should be, and only there",
};

struct audit {
    struct vm_audit_line *lines;
    uint64_t image_pa;
    struct pt_range *outside; /* ranges outside the direct map */
    uint64_t noutside, max_outside;
    uint64_t table_bytes; /* mapped in the window of the frame table */
};

static void judge(struct audit *a, enum rule rule, bool ok, uint64_t va)
{
    struct vm_audit_line *l = &a->lines[rule];

    l->checked++;
    if (!ok && l->ok) {
        l->ok = false;
        l->va = va;
    }
}

static bool in_direct_map(uint64_t va)
{
    return va >= vm_layout.direct_va && va < vm_layout.direct_end;
}

/* The rights that the image's sections have at `va`: a byte of the image. */
static unsigned image_rights(uint64_t va)
{
    if (va >= (uint64_t)__text_start && va < (uint64_t)__text_end) {
        return PT_EXEC;
    }
    return va >= (uint64_t)__rodata_end ? PT_WRITE : 0;
}

static void judge_image(struct audit *a, const struct pt_range *r)
{
    const unsigned rights = PT_WRITE | PT_EXEC | PT_USER;

    for (uint64_t va = r->va; va - r->va < r->nbytes; va += MM_PAGE_SIZE) {
        judge(a, RULE_IMAGE,
              va < (uint64_t)__image_end && (r->flags & rights) == image_rights(va) &&
                  r->pa.v + (va - r->va) == a->image_pa + (va - vm_layout.image_va),
              va);
    }
}

/* Every page of the window that is mapped should be, to a frame that is in use for nothing else. */
static void judge_frames(struct audit *a, const struct pt_range *r)
{
    const unsigned rights = PT_WRITE | PT_USER | PT_TYPE_MASK;

    a->table_bytes += r->nbytes;
    for (uint64_t done = 0; done < r->nbytes; done += MM_PAGE_SIZE) {
        pfn_t pfn = pfn_of_pa(pa_make(r->pa.v + done));

        judge(a, RULE_FRAMES,
              frames_is_backed(&vm_frames, r->va + done - vm_layout.frames_va) &&
                  (r->flags & rights) == (PT_WRITE | PT_WB) && pmm_covers(vm_pmm, pfn) &&
                  !pmm_is_free(vm_pmm, pfn),
              r->va + done);
    }
}

static bool judge_range(void *ctx, const struct pt_range *r)
{
    struct audit *a = ctx;
    uint64_t readonly_end = a->image_pa + (uint64_t)(__rodata_end - __image_start);
    bool shows_text = r->pa.v < readonly_end && a->image_pa < r->pa.v + r->nbytes;

    judge(a, RULE_WX, (r->flags & PT_WRITE) == 0 || (r->flags & PT_EXEC) == 0, r->va);
    judge(a, RULE_USER, (r->flags & PT_USER) == 0, r->va);
    judge(a, RULE_NULL, r->va >> 63 != 0, r->va);
    judge(a, RULE_TEXT_ALIAS, !shows_text || (r->flags & PT_WRITE) == 0, r->va);
    if (in_direct_map(r->va)) {
        judge(a, RULE_DIRECT,
              r->pa.v == r->va - vm_layout.direct_va && vm_is_direct(r->pa.v, r->nbytes) &&
                  (r->flags & PT_EXEC) == 0 && (r->flags & PT_TYPE_MASK) == PT_WB,
              r->va);
    } else if (a->noutside < a->max_outside) {
        a->outside[a->noutside++] = *r;
    }
    if (r->va >= vm_layout.image_va) {
        judge_image(a, r);
    }
    if (r->va - vm_layout.frames_va < vm_layout.frames_bytes) {
        judge_frames(a, r);
    }
    return true;
}

static bool judge_table(void *ctx, pa_t table, unsigned level)
{
    struct audit *a = ctx;
    bool alone = vm_is_direct(table.v, MM_PAGE_SIZE);

    (void)level;
    for (uint64_t i = 0; i < a->noutside; i++) {
        const struct pt_range *r = &a->outside[i];

        alone = alone && (table.v < r->pa.v || table.v - r->pa.v >= r->nbytes);
    }
    judge(a, RULE_TABLES, alone, vm_layout.direct_va + table.v);
    return true;
}

static bool count_outside(void *ctx, const struct pt_range *r)
{
    *(uint64_t *)ctx += !in_direct_map(r->va);
    return true;
}

unsigned vm_audit(struct vm_audit_line lines[VM_AUDIT_RULES])
{
    struct pagetable live = vm_live();
    struct audit a = { .lines = lines };
    struct frames_stats frames;
    struct pt_walk w;
    unsigned broken = 0;

    for (unsigned i = 0; i < VM_AUDIT_RULES; i++) {
        lines[i] = (struct vm_audit_line){ .rule = rule_words[i], .ok = true };
    }
    pt_walk(&live, vm_layout.image_va, &w);
    a.image_pa = w.pa.v;
    pt_for_each(&live, count_outside, &a.max_outside);
    a.max_outside += 16; /* the list itself may add a few */
    a.outside = kzalloc(a.max_outside, sizeof(a.outside[0]));
    if (a.outside == NULL) {
        lines[RULE_TABLES].ok = false; /* not proven is not true */
        a.max_outside = 0;
    }
    pt_for_each(&live, judge_range, &a);
    if (a.outside != NULL) {
        pt_for_each_table(&live, judge_table, &a);
    }
    frames_get_stats(&vm_frames, &frames);
    judge(&a, RULE_FRAMES, a.table_bytes == frames.backed_bytes, vm_layout.frames_va);
    pt_walk(&live, 0, &w);
    judge(&a, RULE_NULL, !w.present, 0);
    for (unsigned i = 0; i < CPU_NSTACKS; i++) {
        pt_walk(&live, cpu_stacks[i].base - MM_PAGE_SIZE, &w);
        judge(&a, RULE_GUARDS, !w.present, cpu_stacks[i].base - MM_PAGE_SIZE);
    }
    kfree(a.outside);
    for (unsigned i = 0; i < VM_AUDIT_RULES; i++) {
        broken += !lines[i].ok;
    }
    return broken;
}
