/*
 * From the stub's page tables to the kernel's own, and from raw descriptors to frame pools.
 *
 * The stub maps the boot arena at its direct-map address, so port_ptr() means the same before and
 * after the switch. The order is forced by what each step stands on:
 *
 *   1. normalise the map, into scratch memory of the arena, and claim what is ours;
 *   2. take one "early block" from free memory: the pools' metadata and every table that the
 *      direct map can need;
 *   3. enter that block into the *stub's* tables, so that it can be written;
 *   4. build the kernel's tables in it in one pass (the largest leaves, no exceptions to cut
 *      out), and load them;
 *   5. start the pools; from here on table frames come from the general one. It may write to any
 *      frame of its own (a zeroed one, its records): the direct map shows them all by now.
 *
 * Rejected: sizing the tables in the stub (it would have to interpret the map), and growing the
 * direct map while standing on it (the order of regions would then decide which leaf sizes fit).
 *
 * The direct map covers RAM that is or may become ours, never MMIO, and never runtime services'
 * memory, which is mapped for calls only (runtime.c). The alias of the kernel's own text and
 * read-only data in it is read-only.
 */
#include "vm.h"

#include "cpu/asm.h"
#include "cpu/cpu.h"
#include "lib/fmt.h"
#include "lib/log.h"
#include "lib/string.h"
#include "mm/dma.h"
#include "mm/kmalloc.h"
#include "mm/port.h"
#include "mm/vmalloc.h"
#include "panic.h"
#include "x86/regs.h"

#define GIB  UINT64_C(0x40000000)
#define MIB2 UINT64_C(0x200000)
#define MIB1 UINT64_C(0x100000)

/*
 * What the pools' storage may grow by when the early block is taken: it cuts a free region in
 * three, and perhaps a 2 MiB block at each of its ends, for each of which a pool may want a plane
 * of one bit a frame for the GiB around.
 */
#define CUT_BYTES (MM_PAGE_SIZE + 2 * (GIB / MM_PAGE_SIZE / 8))

extern char __image_start[], __text_start[], __text_end[], __rodata_end[], __image_end[];

struct vm_layout vm_layout;
struct memmap vm_map;
struct pagetable vm_pagetable;
struct pmm *vm_pools[PMM_KINDS];
struct pmm *vm_pmm;

/* Frames [next, end) handed out in order, to build tables before the pool lives. */
struct bump {
    uint64_t next, end;
};

static struct bump scratch, early;

static uint64_t early_base;

static pfn_t bump_get(void *ctx)
{
    struct bump *b = ctx;
    uint64_t pa = b->next;

    if (b->end - pa < MM_PAGE_SIZE) {
        return PFN_NONE;
    }
    b->next += MM_PAGE_SIZE;
    return pfn_of_pa(pa_make(pa));
}

static void bump_put(void *ctx, pfn_t pfn)
{
    (void)ctx;
    (void)pfn; /* only when a mapping fails half way, and then we panic */
}

static bool from_early_block(pfn_t pfn)
{
    uint64_t pa = pa_of_pfn(pfn).v;

    return pa >= early_base && pa < early.end;
}

/* Table frames of the kernel: from the early block until the pool lives. */
static pfn_t table_get(void *ctx)
{
    return vm_pmm != NULL ? pmm_get(vm_pmm, 0, 0) : bump_get(ctx);
}

static void table_put(void *ctx, pfn_t pfn)
{
    (void)ctx;
    if (from_early_block(pfn)) {
        mm_err_t err = pmm_add(vm_pmm, pfn, 1); /* the pool never gave it: it joins now */

        MM_ASSERT(err == MM_OK);
    } else {
        pmm_put(vm_pmm, pfn, 0);
    }
}

static struct pt_features features_now(void)
{
    return (struct pt_features){
        .levels = (read_cr4() & CR4_LA57) != 0 ? 5 : 4,
        .nx = (rdmsr(MSR_EFER) & EFER_NXE) != 0,
        .page1g = cpu_features.page1g,
        .global = cpu_features.pge,
        .pa_bits = cpu_features.pa_bits,
    };
}

struct pagetable vm_live(void)
{
    struct pagetable pt = {
        .lock = MM_LOCK_INIT(MM_RANK_PAGING),
        .root = pa_make(read_cr3() & PTE_ADDR),
        .feat = features_now(),
    };

    return pt;
}

void vm_early(const struct plat_boot *boot)
{
    vm_layout.levels = boot->levels;
    vm_layout.direct_va = boot->direct_va;
    vm_layout.image_va = boot->image_va;
    vm_layout.image_bytes = (uint64_t)(__image_end - __image_start);
}

uint64_t vm_count_frames(uint64_t *nfree)
{
    static const enum pmm_kind kinds[] = { PMM_GENERAL, PMM_LOW };
    uint64_t total = 0;

    *nfree = 0;
    for (unsigned i = 0; i < MM_COUNTOF(kinds); i++) {
        struct pmm_stats s;

        if (vm_pools[kinds[i]] != NULL) {
            pmm_get_stats(vm_pools[kinds[i]], &s);
            total += s.total_frames;
            *nfree += s.free_frames;
        }
    }
    return total;
}

struct pmm *vm_pool_of(pfn_t pfn)
{
    for (unsigned kind = 0; kind < PMM_KINDS; kind++) {
        if (vm_pools[kind] != NULL && pmm_covers(vm_pools[kind], pfn)) {
            return vm_pools[kind];
        }
    }
    return NULL;
}

const char *vm_pool_name(enum pmm_kind kind)
{
    static const char *const names[PMM_KINDS] = {
        [PMM_GENERAL] = "general",       [PMM_LOW] = "low",
        [PMM_SPECIAL] = "special",       [PMM_UNACCEPTED] = "unaccepted",
        [PMM_PERSISTENT] = "persistent",
    };

    return names[kind];
}

bool vm_is_direct(uint64_t pa, uint64_t nbytes)
{
    uint64_t left = nbytes;

    while (left != 0) {
        const struct memmap_region *r = memmap_find(&vm_map, pa);
        uint64_t part;

        if (r == NULL || !memmap_kind_is_direct(r->kind)) {
            return false;
        }
        part = mm_min(left, r->end - pa);
        pa += part;
        left -= part;
    }
    return true;
}

static void must(mm_err_t err, const char *what)
{
    if (err != MM_OK) {
        panic("%s: %s", what, mm_strerror(err));
    }
}

static void claim(uint64_t base, uint64_t nbytes, enum memmap_kind kind, const char *what)
{
    if (nbytes != 0) {
        must(memmap_claim(&vm_map, base, nbytes, kind), what);
    }
}

/* Step 1. What is left of scratch behind the map is for step 3. */
static void build_map(const struct plat_boot *boot)
{
    struct memmap_raw raw = {
        .bytes = port_ptr(pa_make(boot->map)),
        .nbytes = boot->map_bytes,
        .stride = boot->map_stride,
        .version = boot->map_version,
    };
    uint64_t ndescs = raw.stride != 0 ? raw.nbytes / raw.stride : 0;
    uint64_t nbytes = mm_align_up(memmap_storage_bytes(ndescs), MM_PAGE_SIZE);
    uint64_t window;

    must(memmap_build(&vm_map, &raw, port_ptr(pa_make(boot->scratch)), boot->scratch_bytes),
         "normalising the firmware's memory map");
    scratch.next = boot->scratch + nbytes;
    scratch.end = boot->scratch + boot->scratch_bytes;

    for (uint32_t i = 0; i < boot->nranges && i < PLAT_MAX_RANGES; i++) {
        const struct plat_range *r = &boot->ranges[i];

        if (r->kind == PLAT_RANGE_KERNEL || r->kind == PLAT_RANGE_BOOT) {
            claim(r->base, r->nbytes, MEMMAP_KERNEL, "claiming the kernel's own memory");
        }
    }
    claim(boot->fb.base, boot->fb.base != 0 ? boot->fb.nbytes : 0, MEMMAP_MMIO,
          "claiming the frame buffer");

    if (!vm_is_direct(boot->arena, boot->arena_bytes)) {
        panic("firmware's map gives the memory it lent us, 0x%llx to 0x%llx, to something else too",
              (unsigned long long)boot->arena,
              (unsigned long long)(boot->arena + boot->arena_bytes));
    }

    /* RAM that the window of the direct map can't show, or the processor can't address, is RAM that
     * we can't use. */
    window = (vm_layout.levels == 5 ? PLAT_FRAMES_BASE5 : PLAT_FRAMES_BASE4) - vm_layout.direct_va;
    window = mm_min(window, UINT64_C(1) << cpu_features.pa_bits);
    if (memmap_direct_end(&vm_map) > window) {
        log_warn("memory above %llu GiB is left out: the direct map or the processor's physical "
                 "addresses end there",
                 (unsigned long long)(window / GIB));
        claim(window, memmap_direct_end(&vm_map) - window, MEMMAP_RESERVED,
              "cutting off high memory");
    }
}

/* Call `fn` for each run of adjacent regions that the direct map covers; returns their number. */
static uint64_t for_each_run(void (*fn)(void *ctx, uint64_t base, uint64_t end), void *ctx)
{
    uint64_t n = 0;

    for (uint32_t i = 0; i < vm_map.nregions;) {
        const struct memmap_region *r = &vm_map.regions[i++];
        uint64_t end = r->end;

        if (!memmap_kind_is_direct(r->kind)) {
            continue;
        }
        while (i < vm_map.nregions && vm_map.regions[i].base == end &&
               memmap_kind_is_direct(vm_map.regions[i].kind)) {
            end = vm_map.regions[i++].end;
        }
        fn(ctx, r->base, end);
        n++;
    }
    return n;
}

/* An upper bound of the tables below the root that one run needs: partial tables at both ends, full
 * ones between. */
static void count_tables(void *ctx, uint64_t base, uint64_t end)
{
    uint64_t *n = ctx;

    *n += 2 + 2 + 2 * (vm_layout.levels - 3);
    *n += (end - base) >> pte_shift(4);
    if (!cpu_features.page1g) {
        *n += (end - base) >> pte_shift(3);
    }
}

/* Whole pages that the pool of this kind needs, as the map is now. */
static uint64_t pool_bytes(enum pmm_kind kind)
{
    return mm_align_up(pmm_storage_bytes(&vm_map, kind, CPU_COUNT), MM_PAGE_SIZE);
}

static uint64_t all_pools_bytes(void)
{
    uint64_t nbytes = 0;

    for (unsigned kind = 0; kind < PMM_KINDS; kind++) {
        nbytes += pool_bytes(kind);
    }
    return nbytes;
}

/* Step 2: the storage of the pools is at the start of the block, tables come behind it. */
static void take_early_block(void)
{
    uint64_t image_tables = vm_layout.image_bytes / MIB2 + 2;
    uint64_t tables = 32 + 2 * image_tables; /* root, image, and the split at its read-only alias */
    uint64_t nbytes;
    pa_t pa;

    for_each_run(count_tables, &tables);
    nbytes = all_pools_bytes() + CUT_BYTES + tables * MM_PAGE_SIZE;
    if (memmap_take(&vm_map, nbytes, MIB2, UINT64_MAX, &pa) != MM_OK) {
        must(memmap_take(&vm_map, nbytes, MM_PAGE_SIZE, UINT64_MAX, &pa),
             "finding memory for the frame pools' metadata and page tables");
    }
    early_base = pa.v;
    early.next = pa.v + all_pools_bytes(); /* now that the block is not free any more */
    early.end = pa.v + mm_align_up(nbytes, MM_PAGE_SIZE);
}

/* Step 3. */
static void show_early_block(void)
{
    struct pagetable stub = vm_live();

    stub.frames = (struct pt_frames){ bump_get, bump_put, &scratch };
    must(pt_map(&stub, vm_layout.direct_va + early_base, pa_make(early_base),
                early.end - early_base, PT_WRITE),
         "mapping the early block");
}

static void map_run(void *ctx, uint64_t base, uint64_t end)
{
    (void)ctx;
    must(pt_map(&vm_pagetable, vm_layout.direct_va + base, pa_make(base), end - base,
                PT_WRITE | PT_GLOBAL),
         "building the direct map");
    vm_layout.direct_end = vm_layout.direct_va + end;
}

/* [from, to) of the kernel image, addresses as linked and slid. */
static void map_image_part(const struct plat_boot *boot, const char *from, const char *to,
                           unsigned flags)
{
    uint64_t va = (uint64_t)from;

    must(pt_map(&vm_pagetable, va, pa_make(boot->image + (va - boot->image_va)),
                (uint64_t)(to - from), flags | PT_GLOBAL),
         "mapping the kernel image");
}

/* Step 4. */
static void build_tables(const struct plat_boot *boot)
{
    const struct pt_features feat = features_now();
    const struct pt_frames frames = { table_get, table_put, &early };

    must(pt_init(&vm_pagetable, &feat, &frames), "making the kernel's page table");
    for_each_run(map_run, NULL);

    map_image_part(boot, __image_start, __text_start, 0);
    map_image_part(boot, __text_start, __text_end, PT_EXEC);
    map_image_part(boot, __text_end, __rodata_end, 0);
    /* Data up to the first guard page; then each stack, leaving the guards out. */
    map_image_part(boot, __rodata_end, (const char *)cpu_stacks[0].base - MM_PAGE_SIZE, PT_WRITE);
    for (unsigned i = 0; i < CPU_NSTACKS; i++) {
        map_image_part(boot, (const char *)cpu_stacks[i].base, (const char *)cpu_stacks[i].top,
                       PT_WRITE);
    }
    must(pt_protect(&vm_pagetable, vm_layout.direct_va + boot->image,
                    (uint64_t)(__rodata_end - __image_start), PT_GLOBAL),
         "making the direct map's view of the kernel read-only");

    write_cr3(vm_pagetable.root.v);
    cpu_protect();
}

/* Step 5. */
static void start_pools(void)
{
    uint64_t at = early_base;

    for (unsigned kind = 0; kind < PMM_KINDS; kind++) {
        uint64_t nbytes = pool_bytes(kind);

        if (nbytes != 0) {
            must(pmm_init(&vm_pools[kind], &vm_map, kind, CPU_COUNT, port_ptr(pa_make(at)), nbytes),
                 "starting a frame pool");
            at += nbytes;
        }
    }
    vm_pmm = vm_pools[PMM_GENERAL];
}

static uint64_t random_below(const uint8_t *entropy, uint64_t bound)
{
    uint64_t v;

    memcpy(&v, entropy, sizeof(v));
    return v % bound;
}

void vm_init(const struct plat_boot *boot)
{
    uint64_t base, end, slots;

    build_map(boot);
    take_early_block();
    show_early_block();
    build_tables(boot);

    start_pools();
    kmalloc_init(vm_pmm);
    dma_init(vm_pmm);

    /* The frame table slides in steps of 1 GiB as far as its window leaves room. */
    base = vm_layout.levels == 5 ? PLAT_FRAMES_BASE5 : PLAT_FRAMES_BASE4;
    end = vm_layout.levels == 5 ? PLAT_VMALLOC_BASE5 : PLAT_VMALLOC_BASE4;
    slots = (end - base - frames_window_bytes(vm_pools, PMM_KINDS)) / GIB + 1;
    if ((boot->flags & PLAT_BOOT_PINNED) == 0) {
        base += random_below(boot->entropy + 16, slots) * GIB;
    }
    vm_frames_init(base);

    /* vmalloc slides within the lower half of its window, in steps of 1 GiB. */
    base = vm_layout.levels == 5 ? PLAT_VMALLOC_BASE5 : PLAT_VMALLOC_BASE4;
    end = vm_layout.levels == 5 ? PLAT_VMALLOC_END5 : PLAT_VMALLOC_END4;
    slots = (end - base) / 2 / GIB;
    if ((boot->flags & PLAT_BOOT_PINNED) == 0) {
        base += random_below(boot->entropy + 8, slots) * GIB;
    }
    vm_layout.vmalloc_va = base;
    vm_layout.vmalloc_bytes = end - base;
    must(vmalloc_init(&vm_pagetable, vm_pmm, base, end - base), "starting vmalloc");
}

/* Memory in one pool that was never given becomes free; returns the number of frames, 0 if that
 * can't be. */
static uint64_t gain_in(enum pmm_kind kind, uint64_t base, uint64_t end)
{
    uint64_t count = (end - base) >> MM_PAGE_SHIFT;
    mm_err_t err;

    if (base >= end) {
        return 0;
    }
    err = pmm_add(vm_pools[kind], pfn_of_pa(pa_make(base)), count);
    if (err != MM_OK) {
        log_warn("memory at 0x%llx (%llu KiB) could not be reclaimed: %s", (unsigned long long)base,
                 (unsigned long long)(end - base) / 1024, mm_strerror(err));
        return 0;
    }
    return count;
}

/* Frame 0 is in no pool. */
static uint64_t gain(uint64_t base, uint64_t end)
{
    return gain_in(PMM_LOW, mm_max(base, MM_PAGE_SIZE), mm_min(end, MIB1)) +
           gain_in(PMM_GENERAL, mm_max(base, MIB1), end);
}

uint64_t vm_reclaim(bool keep_boot_services)
{
    uint64_t n = 0;

    for (uint32_t i = 0; i < vm_map.nregions; i++) {
        const struct memmap_region *r = &vm_map.regions[i];
        bool boot_services = r->type == EFI_MT_BOOT_CODE || r->type == EFI_MT_BOOT_DATA;

        if (r->kind == MEMMAP_FREE_AFTER_EXIT && !(keep_boot_services && boot_services)) {
            n += gain(r->base, r->end);
        }
    }
    n += gain(scratch.next, scratch.end);
    n += gain(early.next, early.end);
    early.end = early.next; /* what is left of the block is in use for good */
    return n;
}

const void *vm_see(uint64_t pa, uint64_t nbytes)
{
    const struct memmap_region *r = memmap_find(&vm_map, pa);

    if (vm_is_direct(pa, nbytes)) {
        return port_ptr(pa_make(pa));
    }
    return vmap_phys(pa_make(pa), nbytes, r != NULL && (r->attr & EFI_MA_WB) != 0 ? PT_WB : PT_UC,
                     "firmware table");
}

void vm_unsee(const void *p, uint64_t pa, uint64_t nbytes)
{
    if (p != NULL && !vm_is_direct(pa, nbytes)) {
        vfree((void *)(uintptr_t)p);
    }
}
