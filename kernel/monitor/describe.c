#include "monitor/describe.h"

#include "cpu/cpu.h"
#include "lib/fmt.h"
#include "lib/ksyms.h"
#include "mm/vmalloc.h"
#include "vm.h"

extern char __image_start[], __text_start[], __text_end[], __rodata_end[], __image_end[];

struct search {
    uint64_t va;
    struct vmalloc_view found;
};

static bool match_range(void *ctx, const struct vmalloc_view *v)
{
    struct search *s = ctx;

    if (s->va - v->va < v->nbytes) {
        s->found = *v;
        return false;
    }
    return true;
}

static const struct cpu_stack *stack_of(uint64_t va)
{
    for (unsigned i = 0; i < CPU_NSTACKS; i++) {
        if (va >= cpu_stacks[i].base && va < cpu_stacks[i].top) {
            return &cpu_stacks[i];
        }
    }
    return NULL;
}

static void describe_image(uint64_t va, char *buf, size_t nbytes)
{
    const struct cpu_stack *guard = cpu_stack_guarded_by(va);
    const struct cpu_stack *stack = stack_of(va);

    if (guard != NULL) {
        fmt_s(buf, nbytes, "guard page of the %s stack", guard->name);
    } else if (stack != NULL) {
        fmt_s(buf, nbytes, "stack: %s", stack->name);
    } else {
        fmt_s(buf, nbytes, "kernel %s",
              va < (uint64_t)__text_start   ? "headers"
              : va < (uint64_t)__text_end   ? "text"
              : va < (uint64_t)__rodata_end ? "read-only data"
                                            : "data");
    }
}

static bool in_direct_map(uint64_t va)
{
    return va >= vm_layout.direct_va && va < vm_layout.direct_end;
}

static bool in_frames(uint64_t va)
{
    return va - vm_layout.frames_va < vm_layout.frames_bytes;
}

static bool in_image(uint64_t va)
{
    return va >= (uint64_t)__image_start && va < (uint64_t)__image_end;
}

void describe_area(uint64_t va, char *buf, size_t nbytes)
{
    struct search s = { .va = va };

    if (in_direct_map(va)) {
        fmt_s(buf, nbytes, "direct map");
    } else if (in_frames(va)) {
        fmt_s(buf, nbytes, "frame table");
    } else if (in_image(va)) {
        describe_image(va, buf, nbytes);
    } else if (va - vm_layout.vmalloc_va < vm_layout.vmalloc_bytes) {
        vmalloc_for_each(match_range, &s);
        if (s.found.nbytes != 0) {
            fmt_s(buf, nbytes, "vmalloc: %s", s.found.name);
        } else {
            fmt_s(buf, nbytes, "vmalloc window, not in use");
        }
    } else {
        fmt_s(buf, nbytes, va >> 63 != 0 ? "not in use" : "lower half, for processes");
    }
}

void describe_va(uint64_t va, char *buf, size_t nbytes)
{
    size_t len;
    uint64_t offset;
    const char *symbol = ksym_find(va, &offset);

    describe_area(va, buf, nbytes);
    for (len = 0; buf[len] != '\0'; len++) {
    }
    if (in_direct_map(va)) {
        fmt_s(buf + len, nbytes - len, " of physical 0x%llx",
              (unsigned long long)(va - vm_layout.direct_va));
    } else if (in_frames(va)) {
        fmt_s(buf + len, nbytes - len, ", entry of frame 0x%llx",
              (unsigned long long)((va - vm_layout.frames_va) / sizeof(struct frame)));
    } else if (in_image(va) && symbol != NULL) {
        fmt_s(buf + len, nbytes - len, ", %s+0x%llx", symbol, (unsigned long long)offset);
    }
}

void describe_pa(uint64_t pa, char *buf, size_t nbytes)
{
    const struct memmap_region *r = memmap_find(&vm_map, pa);
    pfn_t pfn = pfn_of_pa(pa_make(pa));
    struct pmm *pool = vm_pool_of(pfn);

    if (r == NULL) {
        fmt_s(buf, nbytes, "in no region of firmware's map");
        return;
    }
    fmt_s(buf, nbytes, "%s (%s) 0x%llx..0x%llx; %s", memmap_kind_name(r->kind),
          r->desc != MEMMAP_NODESC ? memmap_type_name(r->type) : "claimed",
          (unsigned long long)r->base, (unsigned long long)r->end,
          pool == NULL             ? "in no frame pool"
          : pmm_is_free(pool, pfn) ? "frame is free"
                                   : "frame is in use");
}

const char *describe_leaf(uint64_t leaf_bytes)
{
    switch (leaf_bytes) {
    case UINT64_C(1) << 12:
        return "4 KiB";
    case UINT64_C(1) << 21:
        return "2 MiB";
    case UINT64_C(1) << 30:
        return "1 GiB";
    case UINT64_C(1) << 39:
        return "512 GiB";
    default:
        return "256 TiB";
    }
}

void describe_refusal(uint64_t va, bool write, char *buf, size_t nbytes)
{
    struct pagetable live = vm_live();
    struct pt_walk w;

    pt_walk(&live, va, &w);
    if (w.nsteps == 0) {
        fmt_s(buf, nbytes, "it is not canonical: bits 63 to %u are not all equal",
              pte_shift(live.feat.levels) + 8);
    } else if (!w.present) {
        fmt_s(buf, nbytes, "not mapped: the walk ends at level %u, entry %u, %s around it",
              w.step[w.nsteps - 1].level, w.step[w.nsteps - 1].index, describe_leaf(w.leaf_bytes));
    } else if (write && (w.flags & PT_WRITE) == 0) {
        fmt_s(buf, nbytes, "it is mapped read-only");
    } else {
        fmt_s(buf, nbytes, "it is mapped, but the processor refuses the access");
    }
}
