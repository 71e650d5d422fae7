/*
 * entry.S - the first instructions of the kernel. State: include/plat/boot.h.
 */
    .section .text.entry, "ax"
    .globl kernel_entry
    .hidden kernel_entry
    .type kernel_entry, @function
kernel_entry:
    endbr64
    rdtsc
    shlq $32, %rdx
    orq %rdx, %rax
    movq %rax, boot_tsc_entry(%rip)
    leaq cpu_stack_main_top(%rip), %rsp
    xorl %ebp, %ebp                     /* ends a backtrace */
    cld
    pushq $0
    pushq %rbp
    call kmain                          /* RDI: struct plat_boot; does not return */
    ud2
    .size kernel_entry, . - kernel_entry

    .bss
    .balign 8
    .globl boot_tsc_entry
    .hidden boot_tsc_entry
boot_tsc_entry:
    .quad 0

/* Stacks, a guard page below each: vm.c leaves the guards out of the kernel's mapping. */
    .macro STACK name, nbytes
    .globl cpu_stack_\name, cpu_stack_\name\()_top
    .hidden cpu_stack_\name, cpu_stack_\name\()_top
    .skip 4096
cpu_stack_\name:
    .skip \nbytes
cpu_stack_\name\()_top:
    .endm

    .section .stacks, "aw", @nobits
    .balign 4096
    STACK main, 32768
    STACK df, 16384
    STACK nmi, 16384
    STACK mc, 16384
