/*
 * What `frames` and `frames at` say of the frame table.
 */
#include "lib/console.h"
#include "lib/fmt.h"
#include "monitor/frames.h"
#include "vm.h"

void frames_show_table(void)
{
    char size[FMT_BYTES_MAX];
    struct frames_stats s;

    frames_get_stats(&vm_frames, &s);
    if (s.sections == 0) {
        kputs("\nframe table: nobody has wanted an entry yet\n");
    } else {
        kprintf("\nframe table: %s, the entries of %llu GiB\n", fmt_bytes(size, s.backed_bytes),
                (unsigned long long)s.sections);
    }
}

void frames_show_entry(pfn_t pfn)
{
    const struct frame *f = frame_entry(&vm_frames, pfn);
    struct frame_owner o;
    uint32_t refs;

    if (!frames_cover(&vm_frames, pfn)) {
        return;
    }
    if (f == NULL) {
        kputs("entry:    none, as nobody has wanted one in this GiB\n");
        return;
    }
    refs = frame_refs(f);
    o = frame_get_owner(f);
    kprintf("entry:    0x%llx, %u reference%s\n", (unsigned long long)(uintptr_t)f, refs,
            refs == 1 ? "" : "s");
    if (refs != 0) {
        kprintf("owner:    %s 0x%llx, index %u\n", frame_kind_name(o.kind),
                (unsigned long long)o.link, o.index);
    }
}
