/*
 * The boot processor's own tables and features.
 *
 * Everything here is static: it must work before there is an allocator, and keep working in a
 * panic. The GDT holds flat code and data for the kernel and the TSS; long mode ignores bases and
 * limits.
 */
#include "cpu/cpu.h"

#include "cpu/asm.h"
#include "cpu/trap.h"
#include "lib/string.h"
#include "mm/paging.h"
#include "x86/regs.h"

/* Segment descriptors, SDM vol. 3A 3.4.5 and 7.2.3. */
#define GDT_CODE64        UINT64_C(0x00af9b000000ffff)
#define GDT_DATA          UINT64_C(0x00cf93000000ffff)
#define GDT_TSS_AVAILABLE (UINT64_C(0x89) << 40)

_Static_assert(sizeof(struct cpu_tss) == 104, "the processor fixes the size of a 64-bit TSS");
_Static_assert(offsetof(struct cpu, self) == 0, "cpu_this() reads it at GS:0");

struct cpu_features cpu_features;

static struct cpu boot_cpu;

#define STACK_DECL(name) extern char cpu_stack_##name[], cpu_stack_##name##_top[]
STACK_DECL(main);
STACK_DECL(df);
STACK_DECL(nmi);
STACK_DECL(mc);

struct cpu_stack cpu_stacks[CPU_NSTACKS];

static void stacks_describe(void)
{
    const struct cpu_stack all[CPU_NSTACKS] = {
        { "main", (uint64_t)cpu_stack_main, (uint64_t)cpu_stack_main_top },
        { "double fault", (uint64_t)cpu_stack_df, (uint64_t)cpu_stack_df_top },
        { "NMI", (uint64_t)cpu_stack_nmi, (uint64_t)cpu_stack_nmi_top },
        { "machine check", (uint64_t)cpu_stack_mc, (uint64_t)cpu_stack_mc_top },
    };

    memcpy(cpu_stacks, all, sizeof(all));
}

static void gdt_load(struct cpu *c)
{
    struct {
        uint16_t limit;
        uint64_t base;
    } __attribute__((packed)) gdtr = { sizeof(c->gdt) - 1, (uint64_t)c->gdt };
    uint64_t tss = (uint64_t)&c->tss;

    c->tss.io_map = sizeof(c->tss);
    for (unsigned i = CPU_IST_DF; i < CPU_IST_COUNT; i++) {
        c->tss.ist[i - 1] = cpu_stacks[i].top;
    }
    c->gdt[CPU_SEL_CODE / 8] = GDT_CODE64;
    c->gdt[CPU_SEL_DATA / 8] = GDT_DATA;
    c->gdt[CPU_SEL_TSS / 8] = GDT_TSS_AVAILABLE | (sizeof(c->tss) - 1) | (tss & 0xffffff) << 16 |
                              (tss >> 24 & 0xff) << 56;
    c->gdt[CPU_SEL_TSS / 8 + 1] = tss >> 32;

    __asm__ volatile("lgdt %0\n\t"
                     "movw %w1, %%ds\n\t"
                     "movw %w1, %%es\n\t"
                     "movw %w1, %%ss\n\t"
                     "movw %w2, %%fs\n\t"
                     "movw %w2, %%gs\n\t"
                     "pushq %3\n\t"
                     "leaq 1f(%%rip), %%rax\n\t"
                     "pushq %%rax\n\t"
                     "lretq\n"
                     "1:\n\t"
                     "ltr %w4"
                     :
                     : "m"(gdtr), "r"(CPU_SEL_DATA), "r"(0), "i"(CPU_SEL_CODE), "r"(CPU_SEL_TSS)
                     : "rax", "memory");
    wrmsr(MSR_GS_BASE, (uint64_t)c);
}

static void features_read(struct cpu_features *f)
{
    uint32_t r[4];
    uint32_t max, max_ext;

    cpuid(0, 0, r);
    max = r[0];
    memcpy(f->vendor, &r[1], 4);
    memcpy(f->vendor + 4, &r[3], 4);
    memcpy(f->vendor + 8, &r[2], 4);

    cpuid(1, 0, r);
    f->family = r[0] >> 8 & 15;
    f->model = r[0] >> 4 & 15;
    if (f->family == 6 || f->family == 15) {
        f->model |= r[0] >> 12 & 0xf0;
    }
    if (f->family == 15) {
        f->family += r[0] >> 20 & 0xff;
    }
    f->stepping = r[0] & 15;
    f->x2apic = (r[2] & CPUID1_ECX_X2APIC) != 0;
    f->rdrand = (r[2] & CPUID1_ECX_RDRAND) != 0;
    f->hypervisor = (r[2] & CPUID1_ECX_HYPERVISOR) != 0;
    f->apic = (r[3] & CPUID1_EDX_APIC) != 0;
    f->pge = (r[3] & CPUID1_EDX_PGE) != 0;
    f->pat = (r[3] & CPUID1_EDX_PAT) != 0;
    if (max >= 7) {
        cpuid(7, 0, r);
        f->smep = (r[1] & CPUID7_EBX_SMEP) != 0;
        f->smap = (r[1] & CPUID7_EBX_SMAP) != 0;
        f->umip = (r[2] & CPUID7_ECX_UMIP) != 0;
        f->la57 = (r[2] & CPUID7_ECX_LA57) != 0;
    }

    f->pa_bits = 36;
    f->va_bits = 48;
    cpuid(0x80000000, 0, r);
    max_ext = r[0];
    if (max_ext >= 0x80000001) {
        cpuid(0x80000001, 0, r);
        f->nx = (r[3] & CPUID81_EDX_NX) != 0;
        f->page1g = (r[3] & CPUID81_EDX_PAGE1GB) != 0;
    }
    if (max_ext >= 0x80000004) {
        for (uint32_t i = 0; i < 3; i++) {
            cpuid(0x80000002 + i, 0, r);
            memcpy(f->brand + 16 * i, r, sizeof(r));
        }
    }
    if (max_ext >= 0x80000007) {
        cpuid(0x80000007, 0, r);
        f->invariant_tsc = (r[3] & CPUID87_EDX_INVARIANT_TSC) != 0;
    }
    if (max_ext >= 0x80000008) {
        cpuid(0x80000008, 0, r);
        f->pa_bits = r[0] & 0xff;
        f->va_bits = r[0] >> 8 & 0xff;
    }
}

void cpu_init(void)
{
    boot_cpu.self = &boot_cpu;
    stacks_describe();
    gdt_load(&boot_cpu);
    trap_init();
    features_read(&cpu_features);
}

void cpu_protect(void)
{
    const struct cpu_features *f = &cpu_features;
    /* All else that firmware set is dropped; its runtime code may count on XSAVE being on. */
    uint64_t cr4 = read_cr4() & (CR4_LA57 | CR4_OSXSAVE);

    write_cr0(CR0_PE | CR0_MP | CR0_NE | CR0_WP | CR0_PG);
    if (f->nx) {
        wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_NXE);
    }
    if (f->pat) {
        wrmsr(MSR_PAT, PT_PAT_VALUE);
    }
    /* Runtime services may use vector registers: UEFI 2.10 2.3.4 has them enabled. */
    cr4 |= CR4_PAE | CR4_DE | CR4_MCE | CR4_OSFXSR | CR4_OSXMMEXCPT;
    cr4 |= f->smep ? CR4_SMEP : 0;
    cr4 |= f->smap ? CR4_SMAP : 0;
    cr4 |= f->umip ? CR4_UMIP : 0;
    write_cr4(cr4);
    if (f->pge) {
        write_cr4(cr4 |
                  CR4_PGE); /* the change flushes what was cached under the old memory types */
    } else {
        write_cr3(read_cr3());
    }
}

const struct cpu_stack *cpu_stack_guarded_by(uint64_t va)
{
    for (unsigned i = 0; i < CPU_NSTACKS; i++) {
        if (va < cpu_stacks[i].base && cpu_stacks[i].base - va <= MM_PAGE_SIZE) {
            return &cpu_stacks[i];
        }
    }
    return NULL;
}
