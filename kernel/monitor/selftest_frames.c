/*
 * selftest: the frame table and what is behind its window.
 */
#include "cpu/trap.h"
#include "monitor/selftest.h"
#include "vm.h"

#define LARGE_BYTES UINT64_C(0x200000)
#define FEW         8u /* frames: two become page tables */

static bool readable(uint64_t va)
{
    uint64_t v;

    return trap_try_read(va, 1, &v);
}

/*
 * An entry from nothing to the last reference. The GiB that is populated for it stays so: a second
 * run must find it. So it is that of the lowest free frame, and not one of where frames are taken
 * from just now.
 */
const char *selftest_frames_entry(void)
{
    const struct pmm_want low = { .count = 1, .limit = UINT64_C(1) << 32 };
    const struct frame_owner o = { FRAME_ANON, (uint32_t)rng_next(&rng), rng_next(&rng) << 3 };
    struct frame_owner is;
    const char *broken;
    struct frame *f;
    pfn_t pfn;

    if (pmm_get_range(vm_pmm, &low, &pfn) != MM_OK ||
        frames_populate(&vm_frames, pfn, 1) != MM_OK) {
        return "no frame, or no memory for the entries of its GiB";
    }
    f = frame_entry(&vm_frames, pfn);
    if ((uint64_t)f != vm_layout.frames_va + 16 * pfn.v || frame_refs(f) != 0 || frame_try_ref(f)) {
        return "a fresh entry is not at its place, or has references";
    }
    frame_adopt(f, o);
    frame_ref(f);
    is = frame_get_owner(f);
    if (frame_refs(f) != 2 || is.kind != o.kind || is.link != o.link || is.index != o.index) {
        return "the entry does not hold what was written";
    }
    broken = frames_check(&vm_frames);
    if (broken != NULL) {
        return broken;
    }
    if (frame_unref(f) || !frame_unref(f) || frame_get_owner(f).kind != FRAME_UNOWNED) {
        return "the last reference is not the last";
    }
    pmm_put_range(vm_pmm, pfn, 1);
    return frames_check(&vm_frames);
}

/* Small pages, a large one and small pages again; and nothing once they are dropped. */
const char *selftest_frames_window(void)
{
    const uint64_t va = testing_window();
    const uint64_t offset = LARGE_BYTES - 3 * MM_PAGE_SIZE;
    const uint64_t nbytes = LARGE_BYTES + 5 * MM_PAGE_SIZE;

    if (vm_window_back((void *)&va, offset, nbytes) != MM_OK) {
        return "no memory";
    }
    for (uint64_t at = 0; at < nbytes; at += 8) {
        uint64_t *word = (uint64_t *)(va + offset + at);

        if (*word != 0) {
            return "what is behind the window is not zeroed";
        }
        *word = va + at;
    }
    for (uint64_t at = 0; at < nbytes; at += 8) {
        if (*(uint64_t *)(va + offset + at) != va + at) {
            return "pages of the window overlap";
        }
    }
    if (readable(va + offset - 1) || readable(va + offset + nbytes)) {
        return "more is mapped than was asked for";
    }
    vm_window_drop((void *)&va, offset, nbytes);
    for (uint64_t at = 0; at < nbytes; at += MM_PAGE_SIZE) {
        if (readable(va + offset + at)) {
            return "a page that was dropped can be read";
        }
    }
    return pt_check(&vm_pagetable);
}

/* Whatever is free, as a list through the blocks themselves: few, and so few frames touched. */
struct taken {
    struct taken *next;
    pfn_t base;
    uint64_t count;
};

static struct taken *note_taken(struct taken *list, pfn_t base, uint64_t count)
{
    struct taken *t = frame_ptr(base);

    *t = (struct taken){ list, base, count };
    return t;
}

static struct taken *take_all(void)
{
    struct pmm_want want = { .count = pmm_free_frames(vm_pmm) };
    struct taken *list = NULL;
    pfn_t pfn;

    while (want.count > 1) {
        if (pmm_get_range(vm_pmm, &want, &pfn) == MM_OK) {
            list = note_taken(list, pfn, want.count);
        } else {
            want.count /= 2;
        }
    }
    for (pfn = pmm_get(vm_pmm, 0, 0); !pfn_is_none(pfn); pfn = pmm_get(vm_pmm, 0, 0)) {
        list = note_taken(list, pfn, 1);
    }
    return list;
}

/* With a few frames left, more than a few can't be put behind the window, and none is lost. */
const char *selftest_frames_memory(void)
{
    const uint64_t va = testing_window();
    struct taken *list;
    pfn_t few[FEW];
    uint64_t left;
    mm_err_t err;

    if (pmm_get_batch(vm_pmm, few, FEW, 0) != FEW) {
        return "no frames";
    }
    list = take_all();
    pmm_put_batch(vm_pmm, few, FEW);
    err = vm_window_back((void *)&va, MM_PAGE_SIZE, 2 * FEW * MM_PAGE_SIZE);
    left = pmm_free_frames(vm_pmm);
    while (list != NULL) {
        struct taken *t = list;

        list = t->next;
        pmm_put_range(vm_pmm, t->base, t->count);
    }
    if (err != MM_ENOMEM || left != FEW) {
        return why("%llu of %u frames are left, after error %d", (unsigned long long)left, FEW,
                   err);
    }
    return readable(va + MM_PAGE_SIZE) ? "a page can be read that was taken back"
                                       : pt_check(&vm_pagetable);
}
