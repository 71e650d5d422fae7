/*
 * Why identity mapped: SetVirtualAddressMap can be called once only and many firmwares get it
 * wrong; at physical addresses nothing in them has to move. Why not always mapped: firmware's
 * runtime code is no part of the kernel, and where there is no attributes table it is writable and
 * executable.
 *
 * What is mapped, by kind of region: runtime code and data; MMIO that carries EFI_MEMORY_RUNTIME.
 * Not reserved memory that does (Apple): its owner is unknown.
 */
#include "runtime.h"

#include "cpu/asm.h"
#include "lib/log.h"
#include "lib/string.h"
#include "mm/kmalloc.h"
#include "mm/mat.h"
#include "mm/port.h"
#include "vm.h"

/* EFI_TABLE_HEADER is 24 bytes; offsets of EFI_SYSTEM_TABLE (UEFI 2.10 4.3) and
 * EFI_RUNTIME_SERVICES (4.5). */
#define SYSTEM_TABLE_RUNTIME   88u
#define SYSTEM_TABLE_SIGNATURE UINT64_C(0x5453595320494249)
#define RUNTIME_SIGNATURE      UINT64_C(0x56524553544e5552)
#define RUNTIME_GET_TIME       24u
#define RUNTIME_GET_VARIABLE   72u
#define RUNTIME_NEXT_VARIABLE  80u
#define RUNTIME_RESET          104u

extern uint64_t runtime_call_rsp;
extern const char runtime_call_failed[];
uint64_t runtime_call(uint64_t fn, uint64_t a1, uint64_t a2, uint64_t a3, uint64_t a4, uint64_t a5,
                      uint64_t cr3);

static struct pagetable runtime_pt;
static bool available;
static uint64_t services; /* physical address of EFI_RUNTIME_SERVICES */
static void *mat;         /* our copy, or NULL */

/* Copy the attributes table if it holds up. */
static void take_mat(const struct plat_boot *boot)
{
    const void *p;
    const char *wrong;
    uint64_t nbytes;

    if (boot->memory_attributes == 0) {
        log_warn("firmware has no memory attributes table: its runtime code is mapped writable");
        return;
    }
    p = vm_see(boot->memory_attributes, MAT_HEADER_BYTES);
    nbytes = p != NULL ? mat_bytes(p) : 0;
    vm_unsee(p, boot->memory_attributes, MAT_HEADER_BYTES);
    p = nbytes != 0 ? vm_see(boot->memory_attributes, nbytes) : NULL;
    if (p != NULL) {
        mat = kmalloc(nbytes);
        if (mat != NULL) {
            memcpy(mat, p, nbytes);
        }
        vm_unsee(p, boot->memory_attributes, nbytes);
    }
    wrong = mat != NULL ? mat_check(mat, nbytes, &vm_map) : "it can't be read";
    if (wrong != NULL) {
        log_warn("the memory attributes table is not used: %s", wrong);
        kfree(mat);
        mat = NULL;
    }
}

static bool map_identity(uint64_t base, uint64_t end, unsigned flags)
{
    mm_err_t err;

    if (base >= end) {
        return true;
    }
    err = pt_map(&runtime_pt, base, pa_make(base), end - base, flags);
    if (err != MM_OK) {
        log_warn("runtime memory at 0x%llx can't be mapped: %s", (unsigned long long)base,
                 mm_strerror(err));
    }
    return err == MM_OK;
}

static unsigned entry_flags(uint64_t attr)
{
    unsigned flags =
        ((attr & EFI_MA_RO) == 0 ? PT_WRITE : 0) | ((attr & EFI_MA_XP) == 0 ? PT_EXEC : 0);

    return flags == (PT_WRITE | PT_EXEC) ? flags | PT_WX_OK : flags;
}

/* One region: what the attributes table describes of it as it says, the rest as its kind allows. */
static bool map_region(const struct memmap_region *r)
{
    unsigned other = r->kind == MEMMAP_RUNTIME_CODE ? PT_WRITE | PT_EXEC | PT_WX_OK : PT_WRITE;
    uint64_t at = r->base;
    bool ok = true;

    if (r->kind == MEMMAP_MMIO) {
        return map_identity(r->base, r->end, PT_WRITE | PT_UC);
    }
    for (uint32_t i = 0; mat != NULL && i < mat_count(mat); i++) {
        struct efi_memory_descriptor d = mat_entry(mat, i);
        uint64_t base = mm_max(d.physical_start, r->base);
        uint64_t end = mm_min(d.physical_start + (d.number_of_pages << MM_PAGE_SHIFT), r->end);

        if (mat_is_type(d.type) && base < end) {
            ok = map_identity(at, base, other) &&
                 map_identity(base, end, entry_flags(d.attribute)) && ok;
            at = end;
        }
    }
    return map_identity(at, r->end, other) && ok;
}

static bool map_all(void)
{
    bool ok = true;

    for (uint32_t i = 0; i < vm_map.nregions; i++) {
        const struct memmap_region *r = &vm_map.regions[i];

        if (r->kind == MEMMAP_RUNTIME_CODE || r->kind == MEMMAP_RUNTIME_DATA ||
            (r->kind == MEMMAP_MMIO && (r->attr & EFI_MA_RUNTIME) != 0)) {
            ok = map_region(r) && ok;
        }
    }
    return ok;
}

/* Eight bytes of runtime memory; false if they are not mapped for calls. */
static bool read_runtime(uint64_t pa, uint64_t *v)
{
    struct pt_walk w;
    const void *p;

    pt_walk(&runtime_pt, pa, &w);
    if (!w.present || !mm_is_aligned(pa, 8) || (p = vm_see(pa, 8)) == NULL) {
        return false;
    }
    memcpy(v, p, 8);
    vm_unsee(p, pa, 8);
    return true;
}

void runtime_init(const struct plat_boot *boot)
{
    uint64_t signature;
    bool mapped;

    take_mat(boot);
    if (pt_share_upper(&runtime_pt, &vm_pagetable) != MM_OK) {
        log_warn("no memory for the page tables of runtime services: they are not used");
        return;
    }
    mapped = map_all();
    available = mapped && read_runtime(boot->system_table, &signature) &&
                signature == SYSTEM_TABLE_SIGNATURE &&
                read_runtime(boot->system_table + SYSTEM_TABLE_RUNTIME, &services) &&
                read_runtime(services, &signature) && signature == RUNTIME_SIGNATURE;
    if (!available) {
        log_warn(
            "firmware's runtime services can't be found in its runtime memory: they are not used");
    }
}

bool runtime_available(void)
{
    return available;
}

const struct pagetable *runtime_pagetable(void)
{
    return available ? &runtime_pt : NULL;
}

/* Call the service at `offset` of the table. */
static uint64_t call(unsigned offset, uint64_t a1, uint64_t a2, uint64_t a3, uint64_t a4,
                     uint64_t a5)
{
    uint64_t fn, irq, status;
    struct pt_walk w;

    if (!available || !read_runtime(services + offset, &fn)) {
        return RUNTIME_UNAVAILABLE;
    }
    pt_walk(&runtime_pt, fn, &w);
    if (!w.present || (w.flags & PT_EXEC) == 0) {
        log_warn("runtime service at 0x%llx is not in runtime code: not called",
                 (unsigned long long)fn);
        return RUNTIME_UNAVAILABLE;
    }
    irq = port_irq_save();
    status = runtime_call(fn, a1, a2, a3, a4, a5, runtime_pt.root.v);
    port_irq_restore(irq);
    if (status == RUNTIME_UNAVAILABLE) {
        log_error("a runtime service of the firmware faulted: they are not used any more");
        available = false;
    }
    return status;
}

bool runtime_recover(uint64_t *rip, uint64_t *rsp)
{
    if (runtime_call_rsp == 0 || *rip >> 63 != 0) {
        return false;
    }
    *rip = (uint64_t)runtime_call_failed;
    *rsp = runtime_call_rsp;
    return true;
}

uint64_t runtime_frame(void)
{
    /* Beyond the five registers that runtime_call pushed last: RBP, then its return address. */
    return runtime_call_rsp != 0 ? runtime_call_rsp + 5 * sizeof(uint64_t) : 0;
}

uint64_t runtime_get_time(struct runtime_time *t)
{
    return call(RUNTIME_GET_TIME, (uint64_t)t, 0, 0, 0, 0);
}

uint64_t runtime_next_variable(struct runtime_variable *v)
{
    uint64_t nbytes = sizeof(v->name);

    return call(RUNTIME_NEXT_VARIABLE, (uint64_t)&nbytes, (uint64_t)v->name, (uint64_t)&v->vendor,
                0, 0);
}

uint64_t runtime_variable_size(const struct runtime_variable *v, uint64_t *nbytes,
                               uint32_t *attributes)
{
    *nbytes = 0;
    *attributes = 0;
    return call(RUNTIME_GET_VARIABLE, (uint64_t)v->name, (uint64_t)&v->vendor, (uint64_t)attributes,
                (uint64_t)nbytes, 0);
}

uint64_t runtime_reset(enum runtime_reset_kind kind)
{
    return call(RUNTIME_RESET, kind, RUNTIME_SUCCESS, 0, 0, 0);
}
