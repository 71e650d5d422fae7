/* The console font, a PSF file from a Debian package, as read-only data of the kernel. */
    .section .rodata.font, "a", @progbits
    .balign 16
    .globl plat_font, plat_font_end
    .hidden plat_font, plat_font_end
plat_font:
    .incbin "font.psf"
plat_font_end:
