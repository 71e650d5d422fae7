/*
 * vectors.S - one entry per vector, a common frame (struct trap_frame), and the accesses that may fault.
 */
    .text

    .macro ENTRY vector
    .balign 16
    .if \vector == 8 || (\vector >= 10 && \vector <= 14) || \vector == 17 || \vector == 21 || \vector == 29 || \vector == 30
    /* the processor has pushed an error code, SDM vol. 3A table 6-1 */
    .else
    pushq $0
    .endif
    pushq $\vector
    jmp trap_common
    .endm

    .balign 16
    .globl trap_entries
    .hidden trap_entries
trap_entries:                           /* 16 bytes each */
    .altmacro
    .set i, 0
    .rept 256
    ENTRY %i
    .set i, i + 1
    .endr
    .noaltmacro

    .type trap_common, @function
trap_common:
    pushq %rax
    pushq %rcx
    pushq %rdx
    pushq %rbx
    pushq %rbp
    pushq %rsi
    pushq %rdi
    pushq %r8
    pushq %r9
    pushq %r10
    pushq %r11
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    cld
    movq %rsp, %rdi
    /* A frame record, so that a backtrace crosses the trap. Both pushes keep the stack 16-byte aligned. */
    pushq 136(%rsp)                     /* rip of the interrupted code */
    pushq %rbp
    movq %rsp, %rbp
    call trap_handle
    addq $16, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %r11
    popq %r10
    popq %r9
    popq %r8
    popq %rdi
    popq %rsi
    popq %rbp
    popq %rbx
    popq %rdx
    popq %rcx
    popq %rax
    addq $16, %rsp
    iretq
    .size trap_common, . - trap_common

/*
 * bool trap_try_load{1,2,4,8}(uint64_t va, uint64_t *v), bool trap_try_store{1,2,4,8}(uint64_t va, uint64_t v).
 * A fault at any address in [trap_try_begin, trap_try_end) resumes at trap_try_failed.
 */
    .macro TRY_LOAD n, insn, reg
    .globl trap_try_load\n
    .hidden trap_try_load\n
    .type trap_try_load\n, @function
trap_try_load\n:
    xorl %eax, %eax
    \insn (%rdi), \reg
    jmp trap_try_loaded
    .endm
    .macro TRY_STORE n, insn, reg
    .globl trap_try_store\n
    .hidden trap_try_store\n
    .type trap_try_store\n, @function
trap_try_store\n:
    \insn \reg, (%rdi)
    jmp trap_try_stored
    .endm

    .globl trap_try_begin, trap_try_end, trap_try_failed
    .hidden trap_try_begin, trap_try_end, trap_try_failed
trap_try_begin:
    TRY_LOAD 1, movb, %al
    TRY_LOAD 2, movw, %ax
    TRY_LOAD 4, movl, %eax
    TRY_LOAD 8, movq, %rax
    TRY_STORE 1, movb, %sil
    TRY_STORE 2, movw, %si
    TRY_STORE 4, movl, %esi
    TRY_STORE 8, movq, %rsi
trap_try_end:
trap_try_loaded:
    movq %rax, (%rsi)
trap_try_stored:
    movl $1, %eax
    ret
trap_try_failed:
    xorl %eax, %eax
    ret

    .section .note.GNU-stack, "", @progbits
