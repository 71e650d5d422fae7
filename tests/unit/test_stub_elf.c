/*
 * The ELF loader (efi/elf.c): a sound file, then every field of it damaged, then random damage.
 */
#include "host_port.h"

#include <stdlib.h>

#include "elf.h"
#include "stub_fw.h"

#define BASE UINT64_C(0xffffffff80000000)
#define MAX  UINT64_C(0x40000000)

static unsigned char elf[STUB_ELF_BYTES];

/* Program header i of the small kernel is at 0x40 + i * 56; offsets of its fields. */
enum { P_TYPE = 0, P_FLAGS = 4, P_OFFSET = 8, P_VADDR = 16, P_FILESZ = 32, P_MEMSZ = 40 };
#define PROGRAM(i, field) (0x40u + (i)*56u + (field))

static void put64(unsigned at, uint64_t v)
{
    memcpy(elf + at, &v, 8);
}

static void put32(unsigned at, uint32_t v)
{
    memcpy(elf + at, &v, 4);
}

static void put16(unsigned at, uint16_t v)
{
    memcpy(elf + at, &v, 2);
}

static uint64_t get64(const unsigned char *at)
{
    uint64_t v;

    memcpy(&v, at, 8);
    return v;
}

static int setup(void **state)
{
    (void)state;
    stub_elf_make(elf);
    return 0;
}

static const char *parse(uint64_t nbytes)
{
    struct elf_image im;
    unsigned char *exact = malloc(nbytes + 1); /* ASan sees a read past the end */
    const char *wrong;

    memcpy(exact, elf, nbytes);
    wrong = elf_parse(exact, nbytes, BASE, MAX, &im);
    free(exact);
    return wrong;
}

#define assert_wrong(words)                                                                        \
    do {                                                                                           \
        const char *wrong_ = parse(sizeof(elf));                                                   \
        assert_non_null(wrong_);                                                                   \
        if (strstr(wrong_, (words)) == NULL) {                                                     \
            fail_msg("says \"%s\", not \"%s\"", wrong_, (words));                                  \
        }                                                                                          \
        stub_elf_make(elf);                                                                        \
    } while (0)

static void test_sound(void **state)
{
    struct elf_image im;

    (void)state;
    assert_null(elf_parse(elf, sizeof(elf), BASE, MAX, &im));
    assert_int_equal(im.nbytes, 0x4000);
    assert_int_equal(im.entry, 0x1010);
    assert_int_equal(im.nrelas, 2);
    assert_int_equal(im.nsegments, 3);
    assert_int_equal(im.segments[0].offset, 0);
    assert_int_equal(im.segments[0].nbytes, 0x500);
    assert_false(im.segments[0].writable);
    assert_false(im.segments[0].executable);
    assert_int_equal(im.segments[1].offset, 0x1000);
    assert_false(im.segments[1].writable);
    assert_true(im.segments[1].executable);
    assert_int_equal(im.segments[2].offset, 0x2000);
    assert_int_equal(im.segments[2].nbytes, 0x1800);
    assert_true(im.segments[2].writable);
    assert_false(im.segments[2].executable);
}

static void test_load(void **state)
{
    static const uint64_t slides[] = { 0, 0x200000, 0x3fe00000 };
    unsigned char *to = malloc(0x4000);
    struct elf_image im;

    (void)state;
    assert_null(elf_parse(elf, sizeof(elf), BASE, MAX, &im));
    for (size_t i = 0; i < 3; i++) {
        memset(to, 0xcc, 0x4000);
        elf_load(&im, to, slides[i]);
        assert_memory_equal(to, elf, 0x500);
        assert_memory_equal(to + 0x1000, elf + 0x1000, 0x200);
        assert_int_equal(to[0x500], 0);
        assert_int_equal(to[0x1200], 0);
        assert_true(get64(to + 0x2000) == BASE + 0x123 + slides[i]);
        assert_int_equal(to[0x2008], 0x5a);
        assert_memory_equal(to + 0x2080, elf + 0x2080, 0x180);
        assert_true(get64(to + 0x2ff8) == BASE + 0x3800 + slides[i]);
        for (unsigned at = 0x2200; at < 0x4000; at++) {
            assert_true(to[at] == 0 || (at >= 0x2ff8 && at < 0x3000));
        }
    }
    free(to);
}

static void test_header(void **state)
{
    (void)state;
    elf[0] = 'X';
    assert_wrong("64-bit ELF");
    elf[4] = 1; /* 32-bit */
    assert_wrong("64-bit ELF");
    elf[5] = 2; /* big endian */
    assert_wrong("64-bit ELF");
    put16(16, 2); /* ET_EXEC */
    assert_wrong("position-independent");
    put16(18, 183); /* AArch64 */
    assert_wrong("position-independent");
    put16(52, 52);
    assert_wrong("odd headers");
    put16(54, 32);
    assert_wrong("odd headers");
    put16(56, 0);
    assert_wrong("odd headers");
    put16(56, 0xffff);
    assert_wrong("odd headers");
    put64(32, sizeof(elf) - 5 * 56 + 1);
    assert_wrong("not in the file");
    put64(32, UINT64_MAX - 8); /* wraps */
    assert_wrong("not in the file");
    put64(24, BASE); /* entry in read-only data */
    assert_wrong("entry");
    put64(24, BASE + 0x1200);
    assert_wrong("entry");
    put64(24, 0x1010);
    assert_wrong("entry");
}

static void test_segments(void **state)
{
    (void)state;
    put64(PROGRAM(1, P_VADDR), BASE - 0x1000);
    assert_wrong("out of place");
    put64(PROGRAM(1, P_VADDR), BASE + 0x1008);
    assert_wrong("out of place");
    put64(PROGRAM(1, P_MEMSZ), 0);
    put64(PROGRAM(1, P_FILESZ), 0);
    assert_wrong("out of place");
    put64(PROGRAM(2, P_MEMSZ), MAX); /* ends past the limit */
    assert_wrong("out of place");
    put64(PROGRAM(2, P_MEMSZ), UINT64_MAX - 0x1000); /* wraps */
    assert_wrong("out of place");
    put64(PROGRAM(2, P_MEMSZ), 0x1ff); /* more of file than of memory */
    assert_wrong("not in the file");
    put64(PROGRAM(2, P_OFFSET), sizeof(elf) - 0x1ff);
    assert_wrong("not in the file");
    put64(PROGRAM(2, P_OFFSET), UINT64_MAX - 0x10);
    assert_wrong("not in the file");
    put64(PROGRAM(2, P_VADDR), BASE + 0x1000); /* on the page of the one before */
    assert_wrong("overlap");
    put64(PROGRAM(1, P_VADDR), BASE); /* likewise */
    assert_wrong("overlap");
    put64(PROGRAM(0, P_VADDR), BASE + 0x1000); /* nothing at the base */
    assert_wrong("overlap");
    put32(PROGRAM(2, P_FLAGS), 7);
    assert_wrong("writable and executable");
    put32(PROGRAM(1, P_FLAGS), 1);
    assert_wrong("not readable");
    put32(PROGRAM(4, P_TYPE), 3); /* PT_INTERP */
    assert_wrong("dynamic linker");
    put32(PROGRAM(4, P_TYPE), 7); /* PT_TLS */
    assert_wrong("dynamic linker");
    put32(PROGRAM(1, P_TYPE), 0); /* no code at all */
    assert_wrong("entry");
}

static void test_too_many_segments(void **state)
{
    (void)state;
    put64(32, 0x600); /* ten pages, each a segment */
    put16(56, 10);
    for (unsigned i = 0; i < 10; i++) {
        memcpy(elf + 0x600 + i * 56, elf + 0x40, 56);
        put64(0x600 + i * 56 + P_VADDR, BASE + i * UINT64_C(4096));
    }
    assert_wrong("too many");
}

static void test_relocations(void **state)
{
    (void)state;
    put64(0x408, 6); /* R_X86_64_GLOB_DAT */
    assert_wrong("not RELATIVE");
    put64(0x408, UINT64_C(1) << 32 | 8); /* with a symbol */
    assert_wrong("not RELATIVE");
    put64(0x400, BASE + 0x1100); /* into the code */
    assert_wrong("outside the data");
    put64(0x400, BASE + 0x37f9); /* the last 8 bytes begin at 37f8 */
    assert_wrong("outside the data");
    put64(0x400, BASE + 0x800); /* into a hole */
    assert_wrong("outside the data");
    put64(0x400, BASE - 8);
    assert_wrong("outside the data");
    put64(0x400, 0x2000);
    assert_wrong("outside the data");
    put64(0x400, UINT64_MAX - 3);
    assert_wrong("outside the data");
    put64(0x410, BASE - 1);
    assert_wrong("points outside");
    put64(0x410, BASE + 0x4001);
    assert_wrong("points outside");
    put64(0x410, BASE + 0x4000); /* just behind: a pointer to the end */
    assert_null(parse(sizeof(elf)));
    put64(0x400, BASE + 0x37f8);
    assert_null(parse(sizeof(elf)));
}

static void test_dynamic(void **state)
{
    static const uint64_t foreign[] = { 1, 2, 17, 22, 36 }; /* NEEDED PLTRELSZ REL TEXTREL RELR */

    (void)state;
    put64(0x2088, BASE + 0x4e0); /* the table leaves its segment's bytes */
    assert_wrong("not in the file");
    put64(0x2088, 0x400);
    assert_wrong("not in the file");
    put64(0x2098, 47);
    assert_wrong("odd relocations");
    put64(0x2098, UINT64_MAX - 15);
    assert_wrong("not in the file");
    put64(0x20a8, 16);
    assert_wrong("odd relocations");
    for (unsigned i = 0; i < 5; i++) {
        put64(0x20b0, foreign[i]);
        assert_wrong("dynamic linker");
    }
    put64(PROGRAM(3, P_OFFSET), sizeof(elf) - 0x7f);
    assert_wrong("not in the file");
    put64(0x2098, 0); /* no relocations: fine */
    assert_null(parse(sizeof(elf)));
}

static void test_short_file(void **state)
{
    (void)state;
    for (uint64_t n = 0; n < 0x2200; n++) { /* what is behind is in no segment */
        assert_non_null(parse(n));
    }
    assert_null(parse(0x2200));
}

/* Damage anywhere: what is still called sound must load without touching anything outside. */
static void test_random_damage(void **state)
{
    struct host_rng r = host_rng_make("stub_elf");
    unsigned sound = 0;

    (void)state;
    for (unsigned i = 0; i < 40000; i++) {
        unsigned n = 1 + (unsigned)host_rng_below(&r, 3);
        struct elf_image im;

        stub_elf_make(elf);
        while (n-- > 0) {
            static const unsigned where[][2] = { { 0, 0x158 },
                                                 { 0x400, 0x430 },
                                                 { 0x2080, 0x20d0 } };
            size_t w = host_rng_below(&r, 3);
            uint64_t at = where[w][0] + host_rng_below(&r, where[w][1] - where[w][0]);

            elf[at] = (unsigned char)host_rng_next(&r);
        }
        if (elf_parse(elf, sizeof(elf), BASE, 0x10000, &im) == NULL) {
            unsigned char *to = malloc(im.nbytes);

            sound++;
            assert_true(im.nbytes <= 0x10000);
            elf_load(&im, to, 0x200000);
            free(to);
        }
    }
    assert_true(sound > 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_sound, setup),
        cmocka_unit_test_setup(test_load, setup),
        cmocka_unit_test_setup(test_header, setup),
        cmocka_unit_test_setup(test_segments, setup),
        cmocka_unit_test_setup(test_too_many_segments, setup),
        cmocka_unit_test_setup(test_relocations, setup),
        cmocka_unit_test_setup(test_dynamic, setup),
        cmocka_unit_test_setup(test_short_file, setup),
        cmocka_unit_test_setup(test_random_damage, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
