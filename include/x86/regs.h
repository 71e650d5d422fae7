/*
 * regs.h - control registers, model-specific registers, RFLAGS and CPUID: numbers, no instructions.
 *
 * Source:   Intel SDM vol. 3A 2.3 (RFLAGS), 2.5 (control registers), 4.7 (page-fault error codes),
 *           vol. 4 (MSRs), vol. 2A (CPUID); AMD64 APM vol. 2 ch. 3.
 */
#ifndef X86_REGS_H
#define X86_REGS_H

#include <stdint.h>

#define CR0_PE (UINT64_C(1) << 0)
#define CR0_MP (UINT64_C(1) << 1)
#define CR0_EM (UINT64_C(1) << 2)
#define CR0_TS (UINT64_C(1) << 3)
#define CR0_ET (UINT64_C(1) << 4) /* reads as 1 */
#define CR0_NE (UINT64_C(1) << 5)
#define CR0_WP (UINT64_C(1) << 16)
#define CR0_NW (UINT64_C(1) << 29)
#define CR0_CD (UINT64_C(1) << 30)
#define CR0_PG (UINT64_C(1) << 31)

#define CR4_TSD        (UINT64_C(1) << 2)
#define CR4_DE         (UINT64_C(1) << 3)
#define CR4_PAE        (UINT64_C(1) << 5)
#define CR4_MCE        (UINT64_C(1) << 6)
#define CR4_PGE        (UINT64_C(1) << 7)
#define CR4_OSFXSR     (UINT64_C(1) << 9)
#define CR4_OSXMMEXCPT (UINT64_C(1) << 10)
#define CR4_UMIP       (UINT64_C(1) << 11)
#define CR4_LA57       (UINT64_C(1) << 12)
#define CR4_PCIDE      (UINT64_C(1) << 17)
#define CR4_OSXSAVE    (UINT64_C(1) << 18)
#define CR4_SMEP       (UINT64_C(1) << 20)
#define CR4_SMAP       (UINT64_C(1) << 21)
#define CR4_CET        (UINT64_C(1) << 23)

#define MSR_APIC_BASE  0x1bu
#define APIC_BASE_EXTD (UINT64_C(1) << 10) /* x2APIC mode */
#define APIC_BASE_EN   (UINT64_C(1) << 11)
#define APIC_BASE_ADDR UINT64_C(0x000ffffffffff000)
#define MSR_PAT        0x277u
#define MSR_X2APIC     0x800u /* + register offset / 16 */
#define MSR_EFER       0xc0000080u
#define EFER_LME       (UINT64_C(1) << 8)
#define EFER_LMA       (UINT64_C(1) << 10)
#define EFER_NXE       (UINT64_C(1) << 11)
#define MSR_GS_BASE    0xc0000101u

#define RFLAGS_TF (UINT64_C(1) << 8)
#define RFLAGS_IF (UINT64_C(1) << 9)
#define RFLAGS_AC (UINT64_C(1) << 18)

/* Page-fault error code, SDM vol. 3A 4.7. */
#define PF_P    (UINT64_C(1) << 0)
#define PF_W    (UINT64_C(1) << 1)
#define PF_U    (UINT64_C(1) << 2)
#define PF_RSVD (UINT64_C(1) << 3)
#define PF_I    (UINT64_C(1) << 4)

/* CPUID leaf 1 */
#define CPUID1_ECX_X2APIC     (1u << 21)
#define CPUID1_ECX_RDRAND     (1u << 30)
#define CPUID1_ECX_HYPERVISOR (1u << 31)
#define CPUID1_EDX_APIC       (1u << 9)
#define CPUID1_EDX_PGE        (1u << 13)
#define CPUID1_EDX_PAT        (1u << 16)
/* leaf 7, subleaf 0 */
#define CPUID7_EBX_SMEP (1u << 7)
#define CPUID7_EBX_SMAP (1u << 20)
#define CPUID7_ECX_UMIP (1u << 2)
#define CPUID7_ECX_LA57 (1u << 16)
/* leaf 80000001h */
#define CPUID81_EDX_NX      (1u << 20)
#define CPUID81_EDX_PAGE1GB (1u << 26)
/* leaf 80000007h */
#define CPUID87_EDX_INVARIANT_TSC (1u << 8)

#endif
