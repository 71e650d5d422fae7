/*
 * elf.h - checks and loads the kernel: an ELF64 static PIE (System V gABI, x86-64 psABI 1.0 ch. 4).
 *
 * Model:    elf_parse() looks at the whole file and trusts nothing in it, although it is our own:
 * a damaged stick or a bad download must end in a line of text, not in a jump to nowhere.
 * elf_load() then cannot fail. Only R_X86_64_RELATIVE relocations are known, which is all that a
 * static PIE needs.
 * Memory:   the file is borrowed and only read; nothing is allocated.
 */
#ifndef EFI_ELF_H
#define EFI_ELF_H

#include <stdbool.h>
#include <stdint.h>

#define ELF_MAX_SEGMENTS 8u

struct elf_segment {
    uint64_t offset; /* from the start of the image, page aligned */
    uint64_t nbytes; /* in memory, > 0 */
    uint64_t file;   /* where its bytes are in the file */
    uint64_t file_bytes;
    bool writable;
    bool executable; /* never both */
};

struct elf_image {
    const unsigned char *bytes; /* the file */
    uint64_t link_base;
    uint64_t nbytes; /* of the image in memory, whole pages */
    uint64_t entry;  /* from the start of the image; inside an executable segment */
    uint64_t rela;   /* where the relocations are in the file */
    uint64_t nrelas;
    uint32_t nsegments;
    struct elf_segment segments[ELF_MAX_SEGMENTS]; /* ascending, no two on one page */
};

/*
 * Check the ELF file bytes[0, nbytes), which must be linked at `link_base` (page aligned) and take
 * at most `max_bytes` in memory. NULL and *image filled if it is sound, else what is wrong with it,
 * as text; *image is then undefined.
 */
const char *elf_parse(const void *bytes, uint64_t nbytes, uint64_t link_base, uint64_t max_bytes,
                      struct elf_image *image);

/*
 * Put the image at to[0, image->nbytes) as it has to be to run at virtual address link_base +
 * slide: segments copied, the rest zero, relocations applied.
 */
void elf_load(const struct elf_image *image, void *to, uint64_t slide);

#endif
