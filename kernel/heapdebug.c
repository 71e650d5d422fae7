/*
 * heapdebug.c - what the debug build knows of kmalloc's blocks, in words.
 */
#include "heapdebug.h"

#ifdef PMM_DEBUG

#include "cpu/asm.h"
#include "lib/console.h"
#include "lib/fmt.h"
#include "lib/ksyms.h"
#include "mm/vmalloc.h"
#include "x86/regs.h"

char *heapdebug_site(char text[SITE_TEXT], uint64_t site)
{
    uint64_t offset;
    const char *name = ksym_find(site - 1, &offset); /* of the call, which may end its function */

    if (name != NULL) {
        fmt_s(text, SITE_TEXT, "0x%llx, %s+0x%llx", (unsigned long long)site, name,
              (unsigned long long)offset + 1);
    } else {
        fmt_s(text, SITE_TEXT, "0x%llx", (unsigned long long)site);
    }
    return text;
}

void heapdebug_tell(uint64_t addr, const struct kmalloc_block *b)
{
    uint64_t at = (uint64_t)b->ptr;
    char site[SITE_TEXT];

    if (addr < at) {
        kprintf("0x%llx is %llu bytes in front of", (unsigned long long)addr,
                (unsigned long long)(at - addr));
    } else if (addr < at + b->asked) {
        kprintf("0x%llx is byte %llu of", (unsigned long long)addr,
                (unsigned long long)(addr - at));
    } else {
        kprintf("0x%llx is %llu bytes behind the end of", (unsigned long long)addr,
                (unsigned long long)(addr - at - b->asked));
    }
    kprintf(" the %sblock of %zu bytes at 0x%llx\n", b->guarded ? "guarded " : "", b->asked,
            (unsigned long long)at);
    kprintf("  allocated from %s\n", heapdebug_site(site, b->site));
    if (b->freed_by != 0) {
        kprintf("  freed from %s\n", heapdebug_site(site, b->freed_by));
    }
}

void heapdebug_tell_fault(uint64_t addr)
{
    struct kmalloc_block b;

    if (kmalloc_who_guarded(addr, &b)) {
        heapdebug_tell(addr, &b);
    }
}

const char *heapdebug_broken(const char *broken)
{
    static char text[256];
    struct kmalloc_block b;
    char site[SITE_TEXT];

    if (broken == NULL || !kmalloc_broken(&b)) {
        return broken;
    }
    if (b.site == 0) {
        fmt_s(text, sizeof(text), "%s: 0x%llx", broken, (unsigned long long)(uint64_t)b.ptr);
    } else {
        fmt_s(text, sizeof(text), "%s: 0x%llx, %zu bytes, allocated from %s", broken,
              (unsigned long long)(uint64_t)b.ptr, b.asked, heapdebug_site(site, b.site));
    }
    return text;
}

static void *range_get(size_t nbytes)
{
    return vmalloc(nbytes, "guarded kmalloc");
}

/* vmalloc is not for interrupt handlers. */
static bool range_may(void)
{
    return (read_rflags() & RFLAGS_IF) != 0;
}

void heapdebug_guard(size_t lo, size_t hi)
{
    kmalloc_set_guard(&(struct kmalloc_guard){ lo, hi, range_get, vfree, range_may });
}

#endif
