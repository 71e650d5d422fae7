/*
 * peek and poke: memory at any address whatever. Each access is one that may fault (trap.h), so a
 * bad address is an answer in words and never a panic. A write that is allowed is done, wherever it
 * goes: it is the user's machine.
 */
#include "cpu/cpu.h"
#include "cpu/trap.h"
#include "lib/console.h"
#include "lib/fmt.h"
#include "mm/port.h"
#include "mm/vmalloc.h"
#include "monitor/args.h"
#include "monitor/describe.h"
#include "monitor/style.h"
#include "vm.h"

#define PEEK_DEFAULT 64u
#define PEEK_MAX     UINT64_C(0x10000)
#define LINE_BYTES   16u
#define HEX_COLUMNS  40 /* the widest: eight groups of four digits, a space before each */

/* A stretch of memory to access: at `va`, shown as `shown`. */
struct target {
    uint64_t va;
    uint64_t shown; /* the address the user gave */
    void *mapping;  /* to be dropped afterwards, or NULL */
};

/* 1, 2, 4 or 8 bytes by the options; false if more than one was given. */
static bool read_width(const struct args *a, unsigned *width)
{
    *width = args_has(a, 'w') ? 2 : args_has(a, 'l') ? 4 : args_has(a, 'q') ? 8 : 1;
    return args_at_most_one(a, "bwlq");
}

static bool in_direct_map(uint64_t pa, uint64_t nbytes)
{
    const struct memmap_region *r = memmap_find(&vm_map, pa);

    return r != NULL && memmap_kind_is_direct(r->kind) && r->end - pa >= nbytes;
}

/* Make `nbytes` at the address that `word` names accessible: at once if it is virtual, through the
 * direct map or a mapping for the purpose if it is physical (-p). */
static bool target_open(const struct args *a, const char *word, uint64_t nbytes, struct target *t)
{
    uint64_t end, addr;

    if (!args_address(a, word, &addr)) {
        return false;
    }
    *t = (struct target){ .va = addr, .shown = addr };
    if (__builtin_add_overflow(addr, nbytes - 1, &end)) {
        args_fail(a, "0x%llx + %llu wraps around", (unsigned long long)addr,
                  (unsigned long long)nbytes);
        return false;
    }
    if (!args_has(a, 'p')) {
        return true;
    }
    if (end >> cpu_features.pa_bits != 0) {
        args_fail(a, "0x%llx: this processor has %u bits of physical address",
                  (unsigned long long)end, cpu_features.pa_bits);
        return false;
    }
    if (in_direct_map(addr, nbytes)) {
        t->va = (uint64_t)port_ptr(pa_make(addr));
        return true;
    }
    t->mapping = vmap_phys(pa_make(addr), nbytes, PT_WRITE | PT_UC, "peek or poke");
    if (t->mapping == NULL) {
        args_error(a, "no memory to map physical 0x%llx", (unsigned long long)addr);
        return false;
    }
    t->va = (uint64_t)t->mapping;
    return true;
}

static void target_close(const struct target *t)
{
    vfree(t->mapping);
}

static int refuse(const struct args *a, const struct target *t, uint64_t va, bool write)
{
    char why[96];

    describe_refusal(va, write, why, sizeof(why));
    return args_error(a, "0x%llx can't be %s: %s", (unsigned long long)(t->shown + (va - t->va)),
                      write ? "written" : "read", why);
}

static char printable(uint8_t c)
{
    return c >= 0x20 && c < 0x7f ? (char)c : '.';
}

/* One line of the dump, [offset, offset + n) of the target; false where it can't be read. Bytes
 * stand in pairs, or the line would be wider than 80 columns. */
static bool dump_line(const struct target *t, uint64_t offset, unsigned n, unsigned width,
                      uint64_t *bad)
{
    char hex[64], text[LINE_BYTES + 1];
    size_t len = 0;
    unsigned done = 0;

    for (; done < n; done += width) {
        uint64_t v;

        if (!trap_try_read(t->va + offset + done, width, &v)) {
            *bad = t->va + offset + done;
            break;
        }
        len += fmt_s(hex + len, sizeof(hex) - len, "%s%0*llx", done % 2 == 0 ? " " : "",
                     (int)(2 * width), (unsigned long long)v);
        for (unsigned i = 0; i < width; i++) {
            text[done + i] = printable((uint8_t)(v >> (8 * i)));
        }
    }
    if (done > 0) {
        text[done] = '\0';
        kprintf(STYLE_HEAD "%016llx" STYLE_OFF " %-*s" STYLE_HEAD "  %s" STYLE_OFF "\n",
                (unsigned long long)(t->shown + offset), HEX_COLUMNS, hex, text);
    }
    return done >= n;
}

static int cmd_peek(int argc, char **argv)
{
    uint64_t nbytes = PEEK_DEFAULT, bad;
    struct target t;
    struct args a;
    unsigned width;
    int status = 0;

    if (!args_parse(&a, argc, argv, "bwlqp", 1, 2) || !read_width(&a, &width) ||
        (a.n > 1 && !args_number(&a, "COUNT", a.operand[1], 1, PEEK_MAX, &nbytes))) {
        return 1;
    }
    nbytes = mm_align_up(nbytes, width);
    if (!target_open(&a, a.operand[0], nbytes, &t)) {
        return 1;
    }
    for (uint64_t at = 0; at < nbytes && status == 0; at += LINE_BYTES) {
        if (!dump_line(&t, at, (unsigned)mm_min(LINE_BYTES, nbytes - at), width, &bad)) {
            status = refuse(&a, &t, bad, false);
        }
    }
    target_close(&t);
    return status;
}

static int cmd_poke(int argc, char **argv)
{
    struct target t;
    struct args a;
    unsigned width;
    uint64_t v;
    int status = 0;

    if (!args_parse(&a, argc, argv, "bwlqp", 2, 2) || !read_width(&a, &width) ||
        !args_number(&a, "VALUE", a.operand[1], 0, UINT64_MAX >> (64 - 8 * width), &v) ||
        !target_open(&a, a.operand[0], width, &t)) {
        return 1;
    }
    if (trap_try_write(t.va, width, v)) {
        kprintf("0x%llx: %u byte%s written, 0x%llx\n", (unsigned long long)t.shown, width,
                width > 1 ? "s" : "", (unsigned long long)v);
    } else {
        status = refuse(&a, &t, t.va, true);
    }
    target_close(&t);
    return status;
}

MONITOR_COMMAND(peek) = {
    .name = "peek",
    .args = "ADDR [COUNT] [-b | -w | -l | -q] [-p]",
    .brief = "show memory, at any address",
    .help = "COUNT bytes (64, at most 64k) from ADDR on, read as bytes (-b, shown in\n"
            "pairs), or as units of 2 (-w), 4 (-l) or 8 bytes (-q), least significant byte\n"
            "first. ADDR may be the name of a function. -p: ADDR is physical; what the\n"
            "direct map does not show is mapped, uncached, for the time of the command. An\n"
            "address that can't be read is no accident: the answer says where its walk\n"
            "ends.\n",
    .run = cmd_peek,
};

MONITOR_COMMAND(poke) = {
    .name = "poke",
    .args = "ADDR VALUE [-b | -w | -l | -q] [-p]",
    .brief = "write memory, at any address",
    .help = "One write of 1 (-b, if nothing is said), 2 (-w), 4 (-l) or 8 bytes (-q).\n"
            "Read-only and unmapped memory says so. Everything else is written, also what\n"
            "the kernel needs to live. -p: ADDR is physical.\n",
    .run = cmd_poke,
};
