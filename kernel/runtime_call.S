/*
 * uint64_t runtime_call(fn, a1, a2, a3, a4, a5, cr3): call firmware's function in its own page tables.
 * System V in, Microsoft out (UEFI 2.10 2.3.4.2). Interrupts are off. If the function faults, the trap handler resumes at
 * runtime_call_failed with the stack pointer that runtime_call_rsp holds.
 */
    .text
    .globl runtime_call, runtime_call_failed
    .hidden runtime_call, runtime_call_failed
    .type runtime_call, @function
runtime_call:
    pushq %rbp
    movq %rsp, %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %cr3, %rax
    movq %rax, runtime_call_cr3(%rip)
    movq %rsp, runtime_call_rsp(%rip)
    movq 16(%rbp), %rax
    movq %rax, %cr3
    subq $56, %rsp                      /* 32 bytes that the callee may use, its fifth argument, alignment */
    movq %rdi, %rax
    movq %r9, 32(%rsp)
    movq %r8, %r9
    movq %rcx, %r8
    movq %rsi, %rcx
    call *%rax                          /* second argument: RDX in both conventions */
runtime_call_done:
    movq runtime_call_cr3(%rip), %rcx
    movq %rcx, %cr3
    movq runtime_call_rsp(%rip), %rsp
    movq $0, runtime_call_rsp(%rip)
    cld
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
runtime_call_failed:
    movq $-1, %rax
    jmp runtime_call_done
    .size runtime_call, . - runtime_call

    .bss
    .balign 8
    .globl runtime_call_rsp
    .hidden runtime_call_rsp
runtime_call_rsp:                       /* 0: no call is under way */
    .quad 0
runtime_call_cr3:
    .quad 0

    .section .note.GNU-stack, "", @progbits
