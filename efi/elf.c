/*
 * elf.c - see elf.h.
 *
 * Everything is read by memcpy into aligned structs, at offsets that were compared with the size of
 * the file before. Lengths are compared by subtraction from a known larger number, so that nothing
 * can wrap; an address below the base becomes an offset that is too large, on purpose.
 *
 * What elf_parse() proves, so that elf_load() can be plain copying:
 *  E1  each segment's bytes lie in the file, its memory in the image
 *  E2  segments ascend, each begins on a page of its own, none is writable and executable
 *  E3  the first segment begins at link_base
 *  E4  the relocation table lies in the file
 *  E5  each relocation is RELATIVE; its 8 bytes lie in one segment that is not executable, and it
 *      points into the image or just behind it
 *  E6  the entry lies in the bytes of an executable segment
 */
#include "elf.h"

#include "bytes.h"
#include "firmware.h"

struct elf_header {
    uint8_t ident[16];
    uint16_t type;
    uint16_t machine;
    uint32_t version;
    uint64_t entry;
    uint64_t phoff;
    uint64_t shoff;
    uint32_t flags;
    uint16_t ehsize;
    uint16_t phentsize;
    uint16_t phnum;
    uint16_t shentsize;
    uint16_t shnum;
    uint16_t shstrndx;
};
_Static_assert(sizeof(struct elf_header) == 64, "gABI: Elf64_Ehdr");

struct elf_program {
    uint32_t type;
    uint32_t flags;
    uint64_t offset;
    uint64_t vaddr;
    uint64_t paddr;
    uint64_t filesz;
    uint64_t memsz;
    uint64_t align;
};
_Static_assert(sizeof(struct elf_program) == 56, "gABI: Elf64_Phdr");

struct elf_dynamic {
    uint64_t tag;
    uint64_t value;
};

struct elf_rela {
    uint64_t offset;
    uint64_t info;
    uint64_t addend;
};

#define ELF_DYN     3u
#define ELF_X86_64  62u
#define PT_LOAD     1u
#define PT_DYNAMIC  2u
#define PT_INTERP   3u
#define PT_TLS      7u
#define PF_EXEC     1u
#define PF_WRITE    2u
#define PF_READ     4u
#define DT_NULL     0u
#define DT_NEEDED   1u
#define DT_PLTRELSZ 2u
#define DT_RELA     7u
#define DT_RELASZ   8u
#define DT_RELAENT  9u
#define DT_REL      17u
#define DT_TEXTREL  22u
#define DT_RELR     36u
#define R_RELATIVE  8u /* with symbol 0 in the upper half of `info` */
#define PROGRAMS    32u

/* Is [start, start + n) inside [0, size)? */
static bool elf_inside(uint64_t start, uint64_t n, uint64_t size)
{
    return n <= size && start <= size - n;
}

static struct elf_program elf_program_at(const struct elf_image *im, const struct elf_header *h,
                                         unsigned i)
{
    struct elf_program p;

    memcpy(&p, im->bytes + h->phoff + (uint64_t)i * sizeof(p), sizeof(p));
    return p;
}

static struct elf_rela elf_rela_at(const struct elf_image *im, uint64_t i)
{
    struct elf_rela r;

    memcpy(&r, im->bytes + im->rela + i * sizeof(r), sizeof(r));
    return r;
}

static const char *elf_check_header(const struct elf_header *h, uint64_t nbytes)
{
    static const uint8_t magic[7] = { 0x7f, 'E', 'L', 'F', 2, 1, 1 }; /* 64 bit, little endian */

    if (memcmp(h->ident, magic, sizeof(magic)) != 0 || h->version != 1) {
        return "not a 64-bit ELF file";
    }
    if (h->machine != ELF_X86_64 || h->type != ELF_DYN) {
        return "not a position-independent program for x86-64";
    }
    if (h->ehsize != sizeof(*h) || h->phentsize != sizeof(struct elf_program) || h->phnum == 0 ||
        h->phnum > PROGRAMS) {
        return "odd headers";
    }
    if (!elf_inside(h->phoff, (uint64_t)h->phnum * sizeof(struct elf_program), nbytes)) {
        return "the program headers are not in the file";
    }
    return NULL;
}

/* E1 to E3: one PT_LOAD more. */
static const char *elf_add_segment(struct elf_image *im, const struct elf_program *p,
                                   uint64_t nbytes, uint64_t max_bytes)
{
    uint64_t offset = p->vaddr - im->link_base;
    struct elf_segment *s = &im->segments[im->nsegments];

    if (im->nsegments == ELF_MAX_SEGMENTS) {
        return "too many segments";
    }
    if (p->vaddr % STUB_PAGE != 0 || p->memsz == 0 || !elf_inside(offset, p->memsz, max_bytes)) {
        return "a segment is out of place";
    }
    if (p->filesz > p->memsz || !elf_inside(p->offset, p->filesz, nbytes)) {
        return "a segment's bytes are not in the file";
    }
    if (im->nsegments == 0 ? offset != 0 : offset < im->nbytes) {
        return "segments overlap or are out of order";
    }
    if ((p->flags & PF_READ) == 0 || (p->flags & (PF_WRITE | PF_EXEC)) == (PF_WRITE | PF_EXEC)) {
        return "a segment is writable and executable, or not readable";
    }
    *s = (struct elf_segment){
        .offset = offset,
        .nbytes = p->memsz,
        .file = p->offset,
        .file_bytes = p->filesz,
        .writable = (p->flags & PF_WRITE) != 0,
        .executable = (p->flags & PF_EXEC) != 0,
    };
    im->nsegments++;
    im->nbytes = fw_round_up(offset + p->memsz, STUB_PAGE);
    return NULL;
}

/* Where virtual [va, va + n) is in the file; UINT64_MAX if it is not wholly in one segment's bytes.
 */
static uint64_t elf_file_offset(const struct elf_image *im, uint64_t va, uint64_t n)
{
    for (uint32_t i = 0; i < im->nsegments; i++) {
        const struct elf_segment *s = &im->segments[i];
        uint64_t at = va - im->link_base - s->offset;

        if (elf_inside(at, n, s->file_bytes)) {
            return s->file + at;
        }
    }
    return UINT64_MAX;
}

/* E4: what the dynamic section says about relocations. */
static const char *elf_read_dynamic(struct elf_image *im, const struct elf_program *p,
                                    uint64_t nbytes)
{
    uint64_t rela = 0, relasz = 0, relaent = sizeof(struct elf_rela);

    if (!elf_inside(p->offset, p->filesz, nbytes)) {
        return "the dynamic section is not in the file";
    }
    for (uint64_t i = 0; i < p->filesz / sizeof(struct elf_dynamic); i++) {
        struct elf_dynamic d;

        memcpy(&d, im->bytes + p->offset + i * sizeof(d), sizeof(d));
        if (d.tag == DT_NULL) {
            break;
        }
        switch (d.tag) {
        case DT_RELA:
            rela = d.value;
            break;
        case DT_RELASZ:
            relasz = d.value;
            break;
        case DT_RELAENT:
            relaent = d.value;
            break;
        case DT_NEEDED:
        case DT_PLTRELSZ:
        case DT_REL:
        case DT_TEXTREL:
        case DT_RELR:
            return "it needs a dynamic linker";
        default:
            break;
        }
    }
    if (relasz == 0) {
        return NULL;
    }
    if (relaent != sizeof(struct elf_rela) || relasz % sizeof(struct elf_rela) != 0) {
        return "odd relocations";
    }
    im->rela = elf_file_offset(im, rela, relasz);
    im->nrelas = relasz / sizeof(struct elf_rela);
    return im->rela == UINT64_MAX ? "the relocations are not in the file" : NULL;
}

/* E5 */
static const char *elf_check_relocations(const struct elf_image *im)
{
    for (uint64_t i = 0; i < im->nrelas; i++) {
        struct elf_rela r = elf_rela_at(im, i);
        uint64_t at = r.offset - im->link_base;
        bool placed = false;

        if (r.info != R_RELATIVE) {
            return "a relocation that is not RELATIVE";
        }
        for (uint32_t k = 0; k < im->nsegments; k++) {
            const struct elf_segment *s = &im->segments[k];

            placed = placed || (!s->executable && at >= s->offset &&
                                elf_inside(at - s->offset, sizeof(uint64_t), s->nbytes));
        }
        if (!placed) {
            return "a relocation outside the data";
        }
        if (r.addend - im->link_base > im->nbytes) {
            return "a relocation that points outside the image";
        }
    }
    return NULL;
}

/* E6 */
static bool elf_entry_is_code(const struct elf_image *im)
{
    for (uint32_t i = 0; i < im->nsegments; i++) {
        const struct elf_segment *s = &im->segments[i];

        if (s->executable && im->entry >= s->offset && im->entry - s->offset < s->file_bytes) {
            return true;
        }
    }
    return false;
}

const char *elf_parse(const void *bytes, uint64_t nbytes, uint64_t link_base, uint64_t max_bytes,
                      struct elf_image *image)
{
    struct elf_image im = { .bytes = bytes, .link_base = link_base };
    struct elf_header h;
    const char *wrong;

    if (nbytes < sizeof(h)) {
        return "too short for an ELF file";
    }
    memcpy(&h, bytes, sizeof(h));
    wrong = elf_check_header(&h, nbytes);
    for (unsigned i = 0; wrong == NULL && i < h.phnum; i++) {
        struct elf_program p = elf_program_at(&im, &h, i);

        if (p.type == PT_LOAD) {
            wrong = elf_add_segment(&im, &p, nbytes, max_bytes);
        } else if (p.type == PT_INTERP || p.type == PT_TLS) {
            wrong = "it needs a dynamic linker";
        }
    }
    /* Only now: the relocations are found through the segments. */
    for (unsigned i = 0; wrong == NULL && i < h.phnum; i++) {
        struct elf_program p = elf_program_at(&im, &h, i);

        if (p.type == PT_DYNAMIC) {
            wrong = elf_read_dynamic(&im, &p, nbytes);
        }
    }
    if (wrong == NULL) {
        wrong = elf_check_relocations(&im);
    }
    im.entry = h.entry - link_base;
    if (wrong == NULL && !elf_entry_is_code(&im)) {
        wrong = "the entry is not in the code";
    }
    *image = im;
    return wrong;
}

void elf_load(const struct elf_image *image, void *to, uint64_t slide)
{
    unsigned char *at = to;

    memset(at, 0, image->nbytes);
    for (uint32_t i = 0; i < image->nsegments; i++) {
        const struct elf_segment *s = &image->segments[i];

        memcpy(at + s->offset, image->bytes + s->file, s->file_bytes);
    }
    for (uint64_t i = 0; i < image->nrelas; i++) {
        struct elf_rela r = elf_rela_at(image, i);
        uint64_t v = r.addend + slide;

        memcpy(at + (r.offset - image->link_base), &v, sizeof(v));
    }
}
