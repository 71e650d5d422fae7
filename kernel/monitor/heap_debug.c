/*
 * heap who, leaks, mark, guard: what the debug build knows of each block, and does to it.
 */
#include "heapdebug.h"
#include "lib/console.h"
#include "lib/fmt.h"
#include "lib/string.h"
#include "monitor/heap.h"
#include "monitor/style.h"

#ifdef PMM_DEBUG

#define MAX_SITES 128u

static uint64_t marked; /* serial number of the last block before the mark */

struct site {
    uint64_t site, count, nbytes;
};

static struct {
    struct site sites[MAX_SITES];
    unsigned n;
    struct site others; /* of more sites than that */
} leaks;

static void count_block(void *ctx, const struct kmalloc_block *b)
{
    struct site *s = leaks.sites;

    (void)ctx;
    if (b->serial <= marked) {
        return;
    }
    while (s < leaks.sites + leaks.n && s->site != b->site) {
        s++;
    }
    if (s == leaks.sites + MAX_SITES) {
        s = &leaks.others;
    } else if (s == leaks.sites + leaks.n) {
        leaks.n++;
    }
    s->site = b->site;
    s->count++;
    s->nbytes += b->asked;
}

static void show_site(const struct site *s, const char *name)
{
    kprintf("%8llu %14llu  %s\n", (unsigned long long)s->count, (unsigned long long)s->nbytes,
            name);
}

/* The most bytes first. */
static void show_sites(void)
{
    char text[SITE_TEXT];

    kputs(STYLE_HEAD "  blocks          bytes  allocated from" STYLE_OFF "\n");
    for (unsigned shown = 0; shown < leaks.n; shown++) {
        struct site *most = leaks.sites;

        for (unsigned i = 1; i < leaks.n; i++) {
            most = leaks.sites[i].count != 0 &&
                           (most->count == 0 || leaks.sites[i].nbytes > most->nbytes)
                       ? &leaks.sites[i]
                       : most;
        }
        show_site(most, heapdebug_site(text, most->site));
        most->count = 0;
        most->nbytes = 0;
    }
    if (leaks.others.count != 0) {
        show_site(&leaks.others, "other places");
    }
}

int heap_leaks(const struct args *a)
{
    struct site sum = { .count = 0 };

    (void)a;
    memset(&leaks, 0, sizeof(leaks));
    kmalloc_for_each_live(count_block, NULL);
    sum = leaks.others;
    for (unsigned i = 0; i < leaks.n; i++) {
        sum.count += leaks.sites[i].count;
        sum.nbytes += leaks.sites[i].nbytes;
    }
    show_sites();
    kprintf("%llu blocks, %llu bytes in use%s\n", (unsigned long long)sum.count,
            (unsigned long long)sum.nbytes, marked != 0 ? " that came after the mark" : "");
    return 0;
}

int heap_mark(const struct args *a)
{
    (void)a;
    marked = kmalloc_serial();
    kprintf("marked behind block number %llu\n", (unsigned long long)marked);
    return 0;
}

int heap_who(const struct args *a)
{
    struct kmalloc_block b;
    uint64_t addr;

    if (!args_address(a, a->operand[1], &addr)) {
        return 1;
    }
    if (!kmalloc_who(addr, &b)) {
        return args_error(a, "0x%llx is in no block", (unsigned long long)addr);
    }
    heapdebug_tell(addr, &b);
    return 0;
}

int heap_guard(const struct args *a)
{
    uint64_t lo, hi;

    if (a->n == 2 && strcmp(a->operand[1], "off") == 0) {
        heapdebug_guard(0, 0);
        return 0;
    }
    if (a->n != 3) {
        return args_fail(a, "guard: either LO and HI, or off");
    }
    if (!args_number(a, "LO", a->operand[1], 1, UINT32_MAX, &lo) ||
        !args_number(a, "HI", a->operand[2], lo, UINT32_MAX, &hi)) {
        return 1;
    }
    heapdebug_guard(lo, hi);
    return 0;
}

#else

static int not_here(const struct args *a)
{
    return args_error(a, "this build does not note who allocates; one made with DEBUG=1 does");
}

int heap_leaks(const struct args *a)
{
    return not_here(a);
}

int heap_mark(const struct args *a)
{
    return not_here(a);
}

int heap_who(const struct args *a)
{
    return not_here(a);
}

int heap_guard(const struct args *a)
{
    return not_here(a);
}

#endif
