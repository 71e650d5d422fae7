/* The style sheet and the script of the pages that draw makes, as texts that end in a NUL. */
    .section .rodata.draw, "a", @progbits
    .globl draw_css, draw_js
draw_css:
    .incbin "scripts/platmap/draw.css"
    .byte 0
draw_js:
    .incbin "scripts/platmap/draw.js"
    .byte 0
    .section .note.GNU-stack, "", @progbits
