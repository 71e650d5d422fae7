/*
 * selftest: real work on the live kernel, with its own checks as judges.
 *
 * A test returns NULL or why it failed. Around each one the free frames are counted: a test that
 * passes but loses a frame fails. kmalloc gives back what it keeps for later before they are
 * counted. Some things are made when they are first wanted, and stay, such as entries of the frame
 * table; so a test that moves the count runs once more, with the same seed, and must leave it alone
 * then. What is random follows a seed that is printed, and can be given again. No test touches more
 * than a few MiB, however large the machine is, so the whole takes seconds on an emulator.
 *
 * A failing test does not tidy up behind itself: what it held may be evidence, and the machine is
 * to be reset anyway.
 */
#include "monitor/selftest.h"

#include <stdarg.h>

#include "clock.h"
#include "cpu/asm.h"
#include "cpu/cpu.h"
#include "cpu/trap.h"
#include "lib/console.h"
#include "lib/fmt.h"
#include "lib/ksyms.h"
#include "lib/string.h"
#include "mm/dma.h"
#include "mm/heap_ff.h"
#include "mm/kmalloc.h"
#include "mm/port.h"
#include "mm/vmalloc.h"
#include "monitor/args.h"
#include "monitor/check.h"
#include "monitor/style.h"
#include "runtime.h"
#include "vm.h"
#include "x86/regs.h"

#define SLOTS 128u

extern char __text_start[], __rodata_end[], __image_start[];

struct rng rng;
static char why_text[160];

const char *why(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    fmt_v(why_text, sizeof(why_text), fmt, ap);
    va_end(ap);
    return why_text;
}

/* Can a byte at `va` be read; written (with what is there, so nothing changes)? */
static bool readable(uint64_t va)
{
    uint64_t v;

    return trap_try_read(va, 1, &v);
}

static bool writable(uint64_t va)
{
    uint64_t v;

    return trap_try_read(va, 1, &v) && trap_try_write(va, 1, v);
}

/* ---- memmap -------------------------------------------------------------------------------- */

static const char *memmap_regions(void)
{
    uint64_t last_end = 0;

    for (uint32_t i = 0; i < vm_map.nregions; i++) {
        const struct memmap_region *r = &vm_map.regions[i];

        if (r->base >= r->end || r->base < last_end || r->kind >= MEMMAP_KINDS ||
            !mm_is_aligned(r->base | r->end, MM_PAGE_SIZE)) {
            return why("region %u, 0x%llx..0x%llx, is out of order", i, (unsigned long long)r->base,
                       (unsigned long long)r->end);
        }
        if (memmap_find(&vm_map, r->base) != r || memmap_find(&vm_map, r->end - 1) != r) {
            return why("region %u is not found by its addresses", i);
        }
        if (r->base > last_end && memmap_find(&vm_map, last_end) != NULL) {
            return why("a region is found in the gap at 0x%llx", (unsigned long long)last_end);
        }
        last_end = r->end;
    }
    return memmap_check(&vm_map);
}

static const char *memmap_sums(void)
{
    uint64_t by_region = 0, by_kind = 0;

    for (uint32_t i = 0; i < vm_map.nregions; i++) {
        by_region += vm_map.regions[i].end - vm_map.regions[i].base;
    }
    for (unsigned kind = 0; kind < MEMMAP_KINDS; kind++) {
        by_kind += memmap_total(&vm_map, kind);
    }
    return by_region == by_kind ? NULL : "the kinds' totals are not the regions' sum";
}

/* The raw map, parsed again, says the same wherever nobody has claimed anything since. */
static const char *memmap_rebuild(void)
{
    uint64_t nbytes = memmap_storage_bytes(vm_map.ndescs);
    void *storage = kmalloc(nbytes);
    const char *broken;
    struct memmap m;

    if (storage == NULL || memmap_build(&m, &vm_map.raw, storage, nbytes) != MM_OK) {
        return "it can't be built a second time";
    }
    broken = memmap_check(&m);
    for (uint32_t i = 0; i < vm_map.nregions && broken == NULL; i++) {
        const struct memmap_region *r = &vm_map.regions[i];
        const struct memmap_region *again = memmap_find(&m, r->base);

        if (r->desc != MEMMAP_NODESC && (again == NULL || again->kind != r->kind)) {
            broken = why("0x%llx has another kind now", (unsigned long long)r->base);
        }
    }
    kfree(storage);
    return broken;
}

/* The pool that the map says frame `pfn` of region `r` belongs to. */
static struct pmm *pool_by_kind(const struct memmap_region *r, pfn_t pfn)
{
    if (pfn.v == 0) {
        return NULL;
    }
    switch (r->kind) {
    case MEMMAP_SPECIAL:
        return vm_pools[PMM_SPECIAL];
    case MEMMAP_UNACCEPTED:
        return vm_pools[PMM_UNACCEPTED];
    case MEMMAP_PERSISTENT:
        return vm_pools[PMM_PERSISTENT];
    default:
        return memmap_kind_is_direct(r->kind)
                   ? vm_pools[pa_of_pfn(pfn).v < UINT64_C(1) << 20 ? PMM_LOW : PMM_GENERAL]
                   : NULL;
    }
}

static const char *memmap_pool(void)
{
    for (uint32_t i = 0; i < vm_map.nregions; i++) {
        const struct memmap_region *r = &vm_map.regions[i];

        for (unsigned end = 0; end < 2; end++) {
            pfn_t pfn = pfn_of_pa(pa_make(end == 0 ? r->base : r->end - 1));

            if (vm_pool_of(pfn) != pool_by_kind(r, pfn)) {
                return why("frame 0x%llx (%s) is in the wrong pool", (unsigned long long)pfn.v,
                           memmap_kind_name(r->kind));
            }
        }
    }
    return NULL;
}

/* ---- paging -------------------------------------------------------------------------------- */

static const char *paging_rights(void)
{
    uint64_t va = testing_window();
    pfn_t pfn = pmm_get(vm_pmm, 0, 0);
    pa_t pa = pa_of_pfn(pfn);
    uint64_t v = 0;

    if (pfn_is_none(pfn) || pt_map(&vm_pagetable, va, pa, MM_PAGE_SIZE, PT_WRITE) != MM_OK) {
        return "a page can't be mapped";
    }
    pattern_fill(port_ptr(pa), MM_PAGE_SIZE, va);
    if (!writable(va) || pattern_verify((void *)va, MM_PAGE_SIZE, va) != MM_PAGE_SIZE) {
        return "a writable page does not show its frame";
    }
    if (pt_protect(&vm_pagetable, va, MM_PAGE_SIZE, 0) != MM_OK || writable(va) || !readable(va)) {
        return "read-only: a write was not refused, or a read was";
    }
    if (pt_protect(&vm_pagetable, va, MM_PAGE_SIZE, PT_WRITE) != MM_OK ||
        !trap_try_write(va, 8, 42) || !trap_try_read((uint64_t)port_ptr(pa), 8, &v) || v != 42) {
        return "writable again: a write does not arrive in the frame";
    }
    if (pt_unmap(&vm_pagetable, va, MM_PAGE_SIZE) != MM_OK || readable(va)) {
        return "unmapped: the page can still be read";
    }
    pmm_put(vm_pmm, pfn, 0);
    return pt_check(&vm_pagetable);
}

static const char *paging_refusals(void)
{
    uint64_t va = testing_window();
    const struct {
        uint64_t va, pa, nbytes;
        unsigned flags;
        mm_err_t err;
        const char *what;
    } bad[] = {
        { va, 0x1000, 0x1000, PT_WRITE | PT_EXEC, MM_EINVAL, "writable and executable" },
        { va, 0x1000, 0x1000, PT_USER, MM_EINVAL, "user in the upper half" },
        { va + 1, 0x1000, 0x1000, 0, MM_EINVAL, "misaligned" },
        { va, 0x1000, 0, 0, MM_EINVAL, "of no length" },
        { UINT64_C(1) << 60, 0x1000, 0x1000, 0, MM_EINVAL, "not canonical" },
        { va, UINT64_C(1) << 52, 0x1000, 0, MM_EINVAL, "beyond physical memory" },
        { UINT64_MAX - 0xfff, 0x1000, 0x2000, 0, MM_EINVAL, "wrapping" },
        { vm_layout.image_va, 0x1000, 0x1000, 0, MM_EBUSY, "over the kernel" },
    };

    for (size_t i = 0; i < MM_COUNTOF(bad); i++) {
        if (pt_map(&vm_pagetable, bad[i].va, pa_make(bad[i].pa), bad[i].nbytes, bad[i].flags) !=
            bad[i].err) {
            return why("a mapping that is %s was not refused as it should", bad[i].what);
        }
    }
    return pt_check(&vm_pagetable);
}

/* A 2 MiB page, of which the middle becomes read-only and then goes. */
static const char *paging_split(void)
{
    const uint64_t nbytes = UINT64_C(1) << 21, middle = 100 * MM_PAGE_SIZE;
    uint64_t va = testing_window(), tables = vm_pagetable.ntables;
    pfn_t pfn = pmm_get(vm_pmm, 9, 0);
    struct pt_walk w;

    if (pfn_is_none(pfn)) {
        return NULL; /* a machine with so little memory has none to spare */
    }
    if (pt_map(&vm_pagetable, va, pa_of_pfn(pfn), nbytes, PT_WRITE) != MM_OK) {
        return "2 MiB can't be mapped";
    }
    pt_walk(&vm_pagetable, va + middle, &w);
    if (!w.present || w.leaf_bytes != nbytes || !writable(va + middle)) {
        return "2 MiB were not mapped by one page";
    }
    if (pt_protect(&vm_pagetable, va + middle, MM_PAGE_SIZE, 0) != MM_OK || writable(va + middle) ||
        !writable(va + middle - 1) || !writable(va + middle + MM_PAGE_SIZE)) {
        return "after a split not exactly the middle page is read-only";
    }
    if (pt_unmap(&vm_pagetable, va + middle, MM_PAGE_SIZE) != MM_OK || readable(va + middle) ||
        !readable(va + middle - 1) || !readable(va + nbytes - 1)) {
        return "after an unmap not exactly the middle page is gone";
    }
    if (pt_unmap(&vm_pagetable, va, nbytes) != MM_OK || readable(va)) {
        return "2 MiB can't be unmapped";
    }
    pmm_put(vm_pmm, pfn, 9);
    if (vm_pagetable.ntables != tables) {
        return why("%lld table frames stay behind", (long long)(vm_pagetable.ntables - tables));
    }
    return pt_check(&vm_pagetable);
}

#define RANDOM_PAGES 32u

enum shadow { ABSENT, READ_ONLY, READ_WRITE };

/* Does the processor see pages [0, RANDOM_PAGES) at `va` as `shadow` says? */
static const char *compare_shadow(uint64_t va, const enum shadow *shadow)
{
    for (unsigned i = 0; i < RANDOM_PAGES; i++) {
        uint64_t page = va + i * MM_PAGE_SIZE, v;
        bool read = trap_try_read(page, 8, &v);

        if (read != (shadow[i] != ABSENT) || (read && v != i) ||
            trap_try_write(page, 8, i) != (shadow[i] == READ_WRITE)) {
            return why("page %u of the window is not as it was mapped", i);
        }
    }
    return NULL;
}

static const char *paging_random(void)
{
    static const unsigned flags[] = { [READ_ONLY] = 0, [READ_WRITE] = PT_WRITE };
    enum shadow shadow[RANDOM_PAGES] = { ABSENT };
    uint64_t va = testing_window() + 500 * MM_PAGE_SIZE; /* across two page tables */
    pfn_t pfn = pmm_get(vm_pmm, 5, 0);

    if (pfn_is_none(pfn)) {
        return "no 32 frames";
    }
    for (unsigned i = 0; i < RANDOM_PAGES; i++) {
        *(uint64_t *)frame_ptr(pfn_make(pfn.v + i)) = i;
    }
    for (unsigned step = 0; step < 200; step++) {
        unsigned first = (unsigned)rng_below(&rng, RANDOM_PAGES);
        unsigned count = 1 + (unsigned)rng_below(&rng, RANDOM_PAGES - first);
        enum shadow to = (enum shadow)rng_below(&rng, 3);
        unsigned nmapped = 0;
        const char *broken;
        mm_err_t err, want = MM_OK;

        for (unsigned i = first; i < first + count; i++) {
            nmapped += shadow[i] != ABSENT;
        }
        if (to == ABSENT) {
            err = pt_unmap(&vm_pagetable, va + first * MM_PAGE_SIZE, count * MM_PAGE_SIZE);
        } else if (rng_below(&rng, 2) != 0) {
            err = pt_protect(&vm_pagetable, va + first * MM_PAGE_SIZE, count * MM_PAGE_SIZE,
                             flags[to]);
            want = nmapped == count ? MM_OK : MM_ENOENT;
        } else {
            err = pt_map(&vm_pagetable, va + first * MM_PAGE_SIZE,
                         pa_of_pfn(pfn_make(pfn.v + first)), count * MM_PAGE_SIZE, flags[to]);
            want = nmapped == 0 ? MM_OK : MM_EBUSY;
        }
        if (err != want) {
            return why("step %u: \"%s\" instead of \"%s\"", step, mm_strerror(err),
                       mm_strerror(want));
        }
        for (unsigned i = first; i < first + count && err == MM_OK; i++) {
            shadow[i] = to;
        }
        broken = compare_shadow(va, shadow);
        if (broken != NULL) {
            return broken;
        }
    }
    if (pt_unmap(&vm_pagetable, va, RANDOM_PAGES * MM_PAGE_SIZE) != MM_OK) {
        return "the window can't be unmapped";
    }
    pmm_put(vm_pmm, pfn, 5);
    return pt_check(&vm_pagetable);
}

static const char *paging_audit(void)
{
    struct vm_audit_line lines[VM_AUDIT_RULES];

    if (vm_audit(lines) == 0 || !vm_pagetable.feat.nx) {
        return NULL; /* without NX the rules about execution can't hold, and audit says so */
    }
    for (unsigned i = 0; i < VM_AUDIT_RULES; i++) {
        if (!lines[i].ok) {
            return why("%s: broken at 0x%llx", lines[i].rule, (unsigned long long)lines[i].va);
        }
    }
    return "rules are broken";
}

/* ---- heap ---------------------------------------------------------------------------------- */

static struct slot {
    void *ptr;
    size_t nbytes;
    uint64_t seed;
} slots[SLOTS];

/* Mostly small, sometimes some pages. */
static size_t random_size(void)
{
    return (size_t)rng_below(&rng, UINT64_C(16) << rng_below(&rng, 12));
}

static bool slot_intact(const struct slot *s, size_t nbytes)
{
    return pattern_verify(s->ptr, nbytes, s->seed) == nbytes;
}

static void slot_fill(struct slot *s, void *ptr, size_t nbytes)
{
    *s = (struct slot){ ptr, nbytes, rng_next(&rng) };
    pattern_fill(ptr, nbytes, s->seed);
}

static const char *heap_random(void)
{
    const char *broken;

    memset(slots, 0, sizeof(slots));
    for (unsigned step = 0; step < 3000; step++) {
        struct slot *s = &slots[rng_below(&rng, SLOTS)];
        size_t nbytes = random_size();
        void *p;

        if (s->ptr != NULL && !slot_intact(s, s->nbytes)) {
            return why("step %u: a block of %zu bytes was overwritten", step, s->nbytes);
        }
        if (s->ptr == NULL) {
            p = kmalloc(nbytes);
        } else if (rng_below(&rng, 4) == 0) {
            p = krealloc(s->ptr, nbytes);
            s->ptr = p;
            if (p != NULL && !slot_intact(s, mm_min(s->nbytes, nbytes))) {
                return why("step %u: krealloc lost what was in the block", step);
            }
        } else {
            kfree(s->ptr);
            s->ptr = NULL;
            continue;
        }
        if (p == NULL || !mm_is_aligned((uint64_t)p, KMALLOC_ALIGN)) {
            return why("step %u: no block of %zu bytes, or a misaligned one", step, nbytes);
        }
        slot_fill(s, p, nbytes);
        broken = step % 64 == 0 ? kmalloc_check() : NULL;
        if (broken != NULL) {
            return broken;
        }
    }
    for (unsigned i = 0; i < SLOTS; i++) {
        if (slots[i].ptr != NULL && !slot_intact(&slots[i], slots[i].nbytes)) {
            return "a block was overwritten";
        }
        kfree(slots[i].ptr);
    }
    return kmalloc_check();
}

static const char *heap_aligned(void)
{
    for (uint64_t align = 1; align <= UINT64_C(1) << 16; align *= 2) {
        void *p = kmalloc_aligned(random_size(), align);
        bool good = p != NULL && mm_is_aligned((uint64_t)p, align);

        kfree(p);
        if (!good) {
            return why("no block aligned to %llu", (unsigned long long)align);
        }
    }
    return kmalloc_aligned(64, 24) == NULL ? NULL : "an alignment of 24 was accepted";
}

/* The lowest free block that fits, exactly, and merging: on an arena of its own. */
static const char *heap_first_fit(void)
{
    const size_t nbytes = 65536;
    void *arena = kmalloc(nbytes);
    struct heap_ff_stats before, after;
    struct heap_ff h;
    void *p[8];

    heap_ff_init(&h, NULL, 0);
    if (arena == NULL || heap_ff_add_arena(&h, arena, nbytes) != MM_OK) {
        return "no arena";
    }
    heap_ff_get_stats(&h, &before);
    for (unsigned i = 0; i < 8; i++) {
        p[i] = heap_ff_alloc(&h, 1000);
        if (p[i] == NULL || (i > 0 && p[i] <= p[i - 1])) {
            return "blocks do not follow each other";
        }
    }
    heap_ff_free(&h, p[1]);
    heap_ff_free(&h, p[5]);
    heap_ff_free(&h, p[4]); /* 4 and 5 are one block now */
    if (heap_ff_alloc(&h, 1800) != p[4] || heap_ff_alloc(&h, 1000) != p[1]) {
        return "not the lowest block that fits was given";
    }
    for (unsigned i = 0; i < 8; i++) {
        if (i != 5) {
            heap_ff_free(&h, p[i]);
        }
    }
    heap_ff_get_stats(&h, &after);
    if (after.nused != 0 || after.nfree != 1 || after.largest_free != before.largest_free) {
        return "what was freed did not merge into one block";
    }
    if (heap_ff_check(&h) != NULL) {
        return heap_ff_check(&h);
    }
    kfree(arena);
    return NULL;
}

static const char *heap_limits(void)
{
    uint8_t *zeroes = kzalloc(100, 41);

    for (unsigned i = 0; zeroes != NULL && i < 4100; i++) {
        if (zeroes[i] != 0) {
            return "kzalloc gave bytes that are not zero";
        }
    }
    kfree(zeroes);
    if (zeroes == NULL) {
        return "no 4100 bytes";
    }
    if (kmalloc(SIZE_MAX) != NULL || kmalloc((size_t)1 << 50) != NULL ||
        kzalloc(SIZE_MAX / 2, 3) != NULL) {
        return "more than all memory was given";
    }
    return NULL;
}

/* Memory for devices: where the processor sees it, below its limit, aligned, and nobody else's. */
static const char *heap_dma(void)
{
    static const uint64_t limits[] = { DMA_NO_LIMIT, UINT64_C(1) << 32, UINT64_C(1) << 24 };
    struct {
        void *ptr;
        pa_t pa;
        size_t nbytes;
    } b[48];

    for (unsigned i = 0; i < MM_COUNTOF(b); i++) {
        uint64_t limit = limits[i % MM_COUNTOF(limits)];
        size_t align = (size_t)1 << rng_below(&rng, 14);

        b[i].nbytes = random_size() + 1;
        b[i].ptr = dma_alloc(b[i].nbytes, align, limit, &b[i].pa);
        if (b[i].ptr == NULL) {
            return why("no %zu bytes aligned to %zu below 0x%llx", b[i].nbytes, align,
                       (unsigned long long)limit);
        }
        if (b[i].ptr != port_ptr(b[i].pa) || !mm_is_aligned(b[i].pa.v, align) ||
            b[i].pa.v + b[i].nbytes > limit) {
            return why("0x%llx is not where it should be", (unsigned long long)b[i].pa.v);
        }
        pattern_fill(b[i].ptr, b[i].nbytes, i);
    }
    for (unsigned i = 0; i < MM_COUNTOF(b); i++) {
        if (pattern_verify(b[i].ptr, b[i].nbytes, i) != b[i].nbytes) {
            return "a block was overwritten";
        }
        dma_free(b[i].pa, b[i].nbytes);
    }
    return dma_check();
}

/* ---- vmalloc ------------------------------------------------------------------------------- */

static const char *vmalloc_guards(void)
{
    const size_t nbytes = 5 * MM_PAGE_SIZE;
    void *p = vmalloc(nbytes - 100, "selftest");
    uint64_t va = (uint64_t)p;

    if (p == NULL || !mm_is_aligned(va, MM_PAGE_SIZE)) {
        return "no five pages";
    }
    for (size_t i = 0; i < nbytes; i++) {
        if (((char *)p)[i] != 0) {
            return "the memory is not zeroed";
        }
    }
    pattern_fill(p, nbytes, va);
    if (pattern_verify(p, nbytes, va) != nbytes) {
        return "the pages overlap";
    }
    if (readable(va - 1) || readable(va + nbytes)) {
        return "a guard page can be read";
    }
    vfree(p);
    if (readable(va) || readable(va + nbytes - 1)) {
        return "freed memory can still be read";
    }
    if (vmalloc(nbytes, "selftest") != p) {
        return "the lowest range that fits was not used again";
    }
    vfree(p);
    return vmalloc_check();
}

static const char *vmalloc_phys(void)
{
    pfn_t pfn = pmm_get(vm_pmm, 0, 0);
    uint64_t va;

    if (pfn_is_none(pfn)) {
        return "no frame";
    }
    pattern_fill(frame_ptr(pfn), MM_PAGE_SIZE, pfn.v);
    va = (uint64_t)vmap_phys(pa_make(pa_of_pfn(pfn).v + 8), 80, 0, "selftest");
    if (va == 0 || memcmp((void *)va, (char *)frame_ptr(pfn) + 8, 80) != 0) {
        return "a frame does not show what is in it";
    }
    if (writable(va)) {
        return "a read-only view can be written";
    }
    vfree((void *)va);
    if (readable(va)) {
        return "a view that was dropped can still be read";
    }
    pmm_put(vm_pmm, pfn, 0);
    return vmalloc_check();
}

static const char *vmalloc_random(void)
{
    memset(slots, 0, sizeof(slots));
    for (unsigned step = 0; step < 200; step++) {
        struct slot *s = &slots[rng_below(&rng, 16)];
        size_t nbytes = 1 + rng_below(&rng, 64 * 1024);
        void *p;

        if (s->ptr != NULL) {
            if (!slot_intact(s, s->nbytes)) {
                return why("step %u: a range of %zu bytes was overwritten", step, s->nbytes);
            }
            vfree(s->ptr);
            s->ptr = NULL;
            continue;
        }
        p = vmalloc(nbytes, "selftest");
        if (p == NULL) {
            return why("step %u: no range of %zu bytes", step, nbytes);
        }
        slot_fill(s, p, nbytes);
    }
    for (unsigned i = 0; i < 16; i++) {
        if (slots[i].ptr != NULL && !slot_intact(&slots[i], slots[i].nbytes)) {
            return "a range was overwritten";
        }
        vfree(slots[i].ptr);
    }
    return vmalloc_check();
}

/* ---- kernel -------------------------------------------------------------------------------- */

/* Addresses that must not be readable, and ones that must not be writable. */
static const char *kernel_bounds(void)
{
    uint64_t text = (uint64_t)__text_start;
    struct pt_walk w;

    pt_walk(&vm_pagetable, text, &w);
    if (readable(0) || readable(MM_PAGE_SIZE) || readable(UINT64_C(1) << 60)) {
        return "page 0, the lower half or a place that is no address can be read";
    }
    if (writable(text) || writable((uint64_t)__rodata_end - 1) ||
        writable((uint64_t)__image_start)) {
        return "text or read-only data can be written";
    }
    if (writable((uint64_t)port_ptr(w.pa))) {
        return "text can be written through the direct map";
    }
    for (unsigned i = 0; i < CPU_NSTACKS; i++) {
        if (readable(cpu_stacks[i].base - 1) || !writable(cpu_stacks[i].base)) {
            return why("the %s stack has no guard page, or no bottom", cpu_stacks[i].name);
        }
    }
    for (uint32_t i = 0; i < vm_map.nregions; i++) {
        const struct memmap_region *r = &vm_map.regions[i];

        if (memmap_kind_is_direct(r->kind) != readable(vm_layout.direct_va + r->base)) {
            return why("the direct map is wrong about 0x%llx (%s)", (unsigned long long)r->base,
                       memmap_kind_name(r->kind));
        }
    }
    return NULL;
}

static const char *kernel_state(void)
{
    uint64_t entry = 0, offset;
    const char *name = ksym_find((uint64_t)kfree, &offset);

    if ((read_rflags() & RFLAGS_IF) == 0 || *port_held_ranks() != 0) {
        return "interrupts are off, or a lock is held";
    }
    if ((read_cr0() & CR0_WP) == 0) {
        return "CR0.WP is off";
    }
    if (name == NULL || strcmp(name, "kfree") != 0 || offset != 0 || !ksym_addr("kfree", &entry) ||
        entry != (uint64_t)kfree) {
        return "the symbol table does not know kfree";
    }
    return NULL;
}

static const char *kernel_runtime(void)
{
    struct runtime_time t = { .year = 0 };

    if (!runtime_available()) {
        return NULL;
    }
    if (runtime_get_time(&t) != RUNTIME_SUCCESS || t.year < 1998 || t.month < 1 || t.month > 12 ||
        t.day < 1 || t.day > 31) {
        return "GetTime fails, or tells no date";
    }
    return (read_rflags() & RFLAGS_IF) != 0 && !readable(0)
               ? NULL
               : "after a runtime call the kernel is not as it was";
}

static const struct test {
    const char *group, *name;
    const char *(*run)(void);
} tests[] = {
    { "memmap", "memmap.regions", memmap_regions },
    { "memmap", "memmap.sums", memmap_sums },
    { "memmap", "memmap.rebuild", memmap_rebuild },
    { "memmap", "memmap.pool", memmap_pool },
    { "pmm", "pmm.orders", selftest_pmm_orders },
    { "pmm", "pmm.wants", selftest_pmm_wants },
    { "pmm", "pmm.place", selftest_pmm_place },
    { "pmm", "pmm.low", selftest_pmm_low },
    { "pmm", "pmm.reclaimed", selftest_pmm_reclaimed },
    { "pmm", "pmm.batches", selftest_pmm_batches },
    { "pmm", "pmm.zeroed", selftest_pmm_zeroed },
    { "pmm", "pmm.tally", selftest_pmm_tally },
    { "pmm", "pmm.model", selftest_pmm_model },
    { "pmm", "pmm.exhaust", selftest_pmm_exhaust },
    { "pmm", "pmm.retire", selftest_pmm_retire },
    { "pmm", "pmm.hook", selftest_pmm_hook },
    { "pmm", "pmm.steps", selftest_pmm_steps },
    { "pmm", "pmm.interrupts", selftest_pmm_interrupts },
    { "frames", "frames.entry", selftest_frames_entry },
    { "frames", "frames.window", selftest_frames_window },
    { "frames", "frames.memory", selftest_frames_memory },
    { "paging", "paging.rights", paging_rights },
    { "paging", "paging.refusals", paging_refusals },
    { "paging", "paging.split", paging_split },
    { "paging", "paging.random", paging_random },
    { "paging", "paging.audit", paging_audit },
    { "heap", "heap.random", heap_random },
    { "heap", "heap.aligned", heap_aligned },
    { "heap", "heap.first-fit", heap_first_fit },
    { "heap", "heap.limits", heap_limits },
    { "heap", "heap.dma", heap_dma },
    { "vmalloc", "vmalloc.guards", vmalloc_guards },
    { "vmalloc", "vmalloc.phys", vmalloc_phys },
    { "vmalloc", "vmalloc.random", vmalloc_random },
    { "kernel", "kernel.bounds", kernel_bounds },
    { "kernel", "kernel.state", kernel_state },
    { "kernel", "kernel.runtime", kernel_runtime },
    { "kernel", "kernel.checks", check_everything },
};

/* Frames that are free, or that hold records of the pool or the map of kmalloc: both grow with the
 * places where there ever was something, and are kept. */
static uint64_t count_frames(void)
{
    struct kmalloc_stats k;
    struct pmm_stats s;

    kmalloc_reclaim();
    kmalloc_get_stats(&k);
    pmm_get_stats(vm_pmm, &s);
    return s.free_frames + s.record_frames + (k.map_bytes >> MM_PAGE_SHIFT);
}

/* Run one test and say how it went. */
static bool run_test(const struct test *t, uint64_t seed)
{
    uint64_t start = rdtsc();
    const char *broken = NULL;

    for (unsigned i = 0; i < 2 && broken == NULL; i++) {
        uint64_t before = count_frames(), after;

        rng.state = seed; /* each test alone does what it does among all */
        broken = t->run();
        after = count_frames();
        if (after == before) {
            break;
        }
        if (i == 1 && broken == NULL) {
            broken = why("%lld frames were lost", (long long)(before - after));
        }
    }
    if (broken != NULL) {
        kprintf(STYLE_BAD "FAIL" STYLE_OFF " %s: %s\n", t->name, broken);
    } else {
        kprintf(STYLE_OK "ok" STYLE_OFF " %-18s" STYLE_HEAD "%8llu us" STYLE_OFF "\n", t->name,
                (unsigned long long)clock_us(rdtsc() - start));
    }
    return broken == NULL;
}

static int cmd_selftest(int argc, char **argv)
{
    unsigned passed = 0, failed = 0;
    uint64_t seed = rdtsc() & UINT32_MAX;
    struct args a;

    if (!args_parse(&a, argc, argv, "s:", 0, 1) ||
        (args_has(&a, 's') &&
         !args_number(&a, "SEED", args_value(&a, 's'), 0, UINT64_MAX, &seed))) {
        return 1;
    }
    for (size_t i = 0; i < MM_COUNTOF(tests); i++) {
        const struct test *t = &tests[i];

        if (a.n != 0 && strcmp(a.operand[0], t->group) != 0 && strcmp(a.operand[0], t->name) != 0) {
            continue;
        }
        if (passed + failed == 0) {
            kprintf("seed %llu\n", (unsigned long long)seed);
        }
        if (run_test(t, seed)) {
            passed++;
        } else {
            failed++;
        }
    }
    if (passed + failed == 0) {
        return args_fail(&a, "there is no test or group \"%s\"", a.operand[0]);
    }
    kprintf("selftest: %u passed, %u failed\n", passed, failed);
    return 0; /* as of audit: the verdict is its output */
}

MONITOR_COMMAND(selftest) = {
    .name = "selftest",
    .args = "[-s SEED] [NAME]",
    .brief = "allocate, map, write, verify and free on the live kernel",
    .help = "NAME is a test or a group: memmap, pmm, frames, paging, heap, vmalloc,\n"
            "kernel. Every test must leave as many free frames as it found. Each prints\n"
            "\"ok\" or \"FAIL\" with the reason; what is random follows the seed.\n",
    .run = cmd_selftest,
};
