/*
 * jump.S - from the firmware's page tables to ours, and into the kernel. See plat/boot.h for the
 * state that the kernel finds.
 *
 * Nothing here may touch the stack or any memory of firmware's once CR3 has changed: our tables map
 * this code at its own address and nothing else of what was there. An NMI or machine check in
 * these few instructions has no handler and resets the machine; no loader can help that.
 *
 * From four levels to five (Intel SDM vol. 3A 4.1.2, 10.8.5): CR4.LA57 may only change while paging
 * is off, and paging can only be switched off in compatibility mode. So: load the PML4 that is
 * entry 0 of the new PML5 (a tree of four levels that maps this page and the trampoline), go to the
 * trampoline below 4 GiB, leave 64-bit mode, paging off, LA57 on, CR3 = PML5, paging on, back to
 * 64-bit mode. EFER.LME stays on throughout. The upper halves of the registers do not survive 32-bit
 * code, so what is still needed lies in the trampoline's page. That page is not writable: the GDT
 * in it has its accessed bits set already, and there is no stack.
 */

#define MSR_EFER     0xc0000080
#define EFER_NXE     0x800
#define CR0_WP       0x10000
#define CR0_PG       0x80000000
#define CR4_PGE      0x80
#define CR4_LA57     0x1000
#define CR4_PCIDE    0x20000
#define CR4_CET      0x800000

/* struct fw_jump */
#define J_ROOT       0x00
#define J_ENTRY      0x08
#define J_BOOT_VA    0x10
#define J_LOW_PML4   0x18
#define J_TRAMPOLINE 0x20
#define J_NX         0x28

/* struct jump_data, from the start of the trampoline */
#define JUMP_DATA    0x100
#define T_ENTRY      (JUMP_DATA + 0x20)
#define T_BOOT_VA    (JUMP_DATA + 0x28)
#define T_ROOT       (JUMP_DATA + 0x30)
#define T_FAR32      (JUMP_DATA + 0x34)
#define T_GDTR       (JUMP_DATA + 0x3a)
#define T_FAR64      (JUMP_DATA + 0x44)

#define SEL_CODE32   0x08
#define SEL_DATA     0x10
#define SEL_CODE64   0x18

    .text
    .balign 64
    .globl plat_jump, plat_jump_end
plat_jump:
    endbr64
    cli
    cld
    movq J_ROOT(%rcx), %r8
    movq J_ENTRY(%rcx), %r9
    movq J_BOOT_VA(%rcx), %rdi
    movq J_LOW_PML4(%rcx), %r10
    movq J_TRAMPOLINE(%rcx), %r11
    cmpq $0, J_NX(%rcx)
    je 1f
    movl $MSR_EFER, %ecx            /* before CR3: without it the NX bits are reserved bits */
    rdmsr
    orl $EFER_NXE, %eax
    wrmsr
1:  movq %cr4, %rax                 /* PGE off drops firmware's global translations too */
    andq $~(CR4_PGE | CR4_PCIDE | CR4_CET), %rax
    movq %rax, %cr4
    movq %cr0, %rax                 /* the rights in our tables bind us as well */
    orq $CR0_WP, %rax
    movq %rax, %cr0
    testq %r11, %r11
    jnz 2f
    movq %r8, %cr3
    jmpq *%r9
2:  movq %r10, %cr3
    jmpq *%r11
plat_jump_end:

    .balign 64
    .globl plat_trampoline, plat_trampoline_end
plat_trampoline:
    endbr64
    leaq plat_trampoline(%rip), %rbx
    lgdt T_GDTR(%rbx)
    movl $SEL_DATA, %eax
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %ss
    ljmpl *T_FAR32(%rbx)

    .code32
.Lbits32:
    movl %cr0, %eax
    andl $~CR0_PG, %eax
    movl %eax, %cr0
    movl %cr4, %eax
    orl $CR4_LA57, %eax
    movl %eax, %cr4
    movl T_ROOT(%ebx), %eax
    movl %eax, %cr3
    movl %cr0, %eax
    orl $CR0_PG, %eax
    movl %eax, %cr0
    ljmpl *T_FAR64(%ebx)

    .code64
.Lbits64:
    leaq plat_trampoline(%rip), %rbx
    movq T_ENTRY(%rbx), %rax
    movq T_BOOT_VA(%rbx), %rdi
    jmpq *%rax

    .org plat_trampoline + JUMP_DATA
    .quad 0
    .quad 0x00cf9b000000ffff        /* SEL_CODE32: flat, accessed */
    .quad 0x00cf93000000ffff        /* SEL_DATA */
    .quad 0x00af9b000000ffff        /* SEL_CODE64 */
    .quad 0                         /* entry */
    .quad 0                         /* boot_va */
    .long 0                         /* root */
    .long .Lbits32 - plat_trampoline
    .word SEL_CODE32
    .word 4 * 8 - 1
    .long JUMP_DATA, 0              /* of the GDT, from the start of the page */
    .long .Lbits64 - plat_trampoline
    .word SEL_CODE64, 0, 0, 0
plat_trampoline_end:
