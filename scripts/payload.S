/* The kernel, as a section of the PE file: read-only data that the stub loads. */
    .section .kernel, "dr"
    .balign 4096
    .globl plat_kernel_elf, plat_kernel_elf_end
plat_kernel_elf:
    .incbin "kernel.stripped.elf"
plat_kernel_elf_end:
    .byte 0
