/*
 * test_vmalloc.c - mm/heap/vmalloc.c on the real pmm, page tables and kmalloc.
 *
 * Nothing here runs on the page tables: what a range holds is read by walking them, as a processor
 * would, and then through port_ptr().
 */
#include "heap_fixture.h"

#include <pthread.h>

#include "mm/paging.h"
#include "mm/vmalloc.h"

#define NODE_BYTES 64 /* as the nodes of vmalloc's list */
#define PAGE       UINT64_C(4096)
#define LARGE      (UINT64_C(2) << 20)
#define WINDOW     UINT64_C(0xffffd00000000000)

static struct pagetable table;

static pfn_t table_get(void *ctx)
{
    (void)ctx;
    return pmm_get(pool, 0, 0);
}

static void (*on_table_put)(void); /* called once, when a table frame comes back */

static void table_put(void *ctx, pfn_t pfn)
{
    void (*hook)(void) = on_table_put;

    (void)ctx;
    on_table_put = NULL;
    if (hook != NULL) {
        hook();
    }
    pmm_put(pool, pfn, 0);
}

static void window_make_with(uint64_t nframes, uint64_t base, uint64_t npages,
                             const struct pt_features *feat)
{
    const struct pt_frames frames = { .get = table_get, .put = table_put };

    pool_make(nframes);
    assert_int_equal(pt_init(&table, feat, &frames), MM_OK);
    assert_int_equal(vmalloc_init(&table, pool, base, npages * PAGE), MM_OK);
}

static const struct pt_features usual = {
    .levels = 4, .nx = true, .page1g = true, .global = true, .pa_bits = 46
};

/* A fresh pool of `nframes`, and a window of `npages` at WINDOW, guard pages included. */
static void window_make(uint64_t nframes, uint64_t npages)
{
    window_make_with(nframes, WINDOW, npages, &usual);
}

/* What kmalloc keeps for later goes back first. */
static uint64_t free_frames(void)
{
    kmalloc_reclaim();
    return pmm_free_frames(pool);
}

static void assert_all_sound(void)
{
    assert_sound(vmalloc_check());
    assert_sound(pt_check(&table));
    assert_sound(pmm_check(pool));
    assert_sound(kmalloc_check());
}

static struct pt_walk walk(uint64_t va)
{
    struct pt_walk w;

    pt_walk(&table, va, &w);
    return w;
}

static unsigned char *byte_at(uint64_t va)
{
    struct pt_walk w = walk(va);

    assert_true(w.present);
    return port_ptr(w.pa);
}

/* [va, va + npages) is mapped read-write to memory full of `fill`, and nothing beside it is. */
static void assert_range(const void *ptr, uint64_t npages, unsigned char fill)
{
    uint64_t va = (uint64_t)(uintptr_t)ptr;

    assert_int_equal(va % PAGE, 0);
    assert_false(walk(va - 1).present);
    assert_false(walk(va + npages * PAGE).present);
    for (uint64_t p = va; p != va + npages * PAGE; p += PAGE) {
        const unsigned char *bytes = byte_at(p);
        unsigned i = 0;

        assert_int_equal(walk(p).flags, PT_WRITE | PT_GLOBAL | PT_WB);
        while (i < PAGE && bytes[i] == fill) {
            i++;
        }
        assert_int_equal(i, PAGE);
    }
}

static void fill_range(const void *ptr, uint64_t npages, unsigned char fill)
{
    uint64_t va = (uint64_t)(uintptr_t)ptr;

    for (uint64_t p = va; p != va + npages * PAGE; p += PAGE) {
        memset(byte_at(p), fill, PAGE);
    }
}

static bool count_range(void *ctx, const struct vmalloc_view *v)
{
    (void)v;
    ++*(unsigned *)ctx;
    return true;
}

static unsigned nranges(void)
{
    unsigned n = 0;

    vmalloc_for_each(count_range, &n);
    return n;
}

static void *page_of_window(uint64_t page)
{
    return (void *)(uintptr_t)(WINDOW + page * PAGE);
}

/* ---- what is given ---- */

static void layout_by_hand(void **state)
{
    void *a, *b, *c;

    (void)state;
    window_make(256, 64);
    assert_all_sound();
    a = vmalloc(1, "a");
    b = vmalloc(PAGE + 1, "b");
    c = vmalloc(3 * PAGE, "c");
    assert_ptr_equal(a, page_of_window(1));
    assert_ptr_equal(b, page_of_window(3));
    assert_ptr_equal(c, page_of_window(6));
    assert_range(a, 1, 0);
    assert_range(b, 2, 0);
    assert_range(c, 3, 0);
    fill_range(b, 2, 0x77);
    assert_range(a, 1, 0);
    assert_range(c, 3, 0);
    assert_all_sound();

    vfree(b);
    vfree(NULL);
    assert_false(walk(WINDOW + 3 * PAGE).present);
    assert_false(walk(WINDOW + 4 * PAGE).present);
    assert_all_sound();
    assert_ptr_equal(vmalloc(3 * PAGE, "d"), page_of_window(10)); /* no room between a and c */
    b = vmalloc(2 * PAGE, "e");
    assert_ptr_equal(b, page_of_window(3));
    assert_range(b, 2, 0); /* zeroed again */
    assert_null(vmalloc(0, "none"));
    assert_null(vmalloc(SIZE_MAX, "all"));
    assert_null(vmalloc(SIZE_MAX - 4095, "all"));
    assert_all_sound();
}

struct seen {
    unsigned n;
    struct vmalloc_view v[3];
};

static bool see_two(void *ctx, const struct vmalloc_view *v)
{
    struct seen *s = ctx;

    s->v[s->n++] = *v;
    return s->n < 2;
}

static void ranges_are_shown_in_order(void **state)
{
    struct seen s = { .n = 0 };
    void *first;

    (void)state;
    window_make(256, 64);
    first = vmalloc(PAGE, "gone");
    assert_non_null(vmalloc(2 * PAGE, "stack"));
    assert_non_null(vmalloc(2 * PAGE, "last"));
    vfree(first);
    assert_non_null(vmap_phys(pa_make(0xfee00020), 0x10, PT_UC, "device"));
    vmalloc_for_each(see_two, &s);
    assert_int_equal(s.n, 2);
    assert_int_equal(s.v[0].va, WINDOW + PAGE);
    assert_int_equal(s.v[0].nbytes, PAGE);
    assert_string_equal(s.v[0].name, "device");
    assert_true(s.v[0].phys);
    assert_int_equal(s.v[0].pa.v, 0xfee00000);
    assert_int_equal(s.v[1].va, WINDOW + 3 * PAGE);
    assert_int_equal(s.v[1].nbytes, 2 * PAGE);
    assert_string_equal(s.v[1].name, "stack");
    assert_false(s.v[1].phys);
}

/* 5 MiB + 1 page: two 2 MiB leaves and 257 small ones, at a multiple of 2 MiB. */
static void large_ranges_get_large_leaves(void **state)
{
    uint64_t flushes;
    void *small, *a;

    (void)state;
    window_make(4096, 8192);
    small = vmalloc(PAGE, "small");
    a = vmalloc(5 * (LARGE / 2) + PAGE, "large");
    assert_ptr_equal(a, (void *)(uintptr_t)(WINDOW + LARGE));
    assert_int_equal(walk(WINDOW + LARGE).leaf_bytes, LARGE);
    assert_int_equal(walk(WINDOW + 2 * LARGE).leaf_bytes, LARGE);
    assert_int_equal(walk(WINDOW + 3 * LARGE).leaf_bytes, PAGE);
    assert_range(a, 5 * 256 + 1, 0);
    assert_all_sound();
    flushes = host_flush.calls;
    vfree(a);
    /* 259 leaves in batches of 64. */
    assert_int_equal(host_flush.calls - flushes, 5);
    assert_all_sound();
    vfree(small);
    assert_all_sound();
}

/* No two free frames touch: single frames serve any length. */
static void fragments_serve(void **state)
{
    uint64_t before;
    void *a, *keep;

    (void)state;
    window_make(4096, 4096);
    keep = kmalloc(NODE_BYTES);
    assert_non_null(keep);
    for (uint64_t i = 1; i < 4096; i += 2) {
        pfn_t pfn = pfn_make((POOL_BASE >> 12) + i);

        if (pmm_is_free(pool, pfn)) {
            assert_int_equal(pmm_claim(pool, pfn, 1), MM_OK);
        }
    }
    before = free_frames();
    a = vmalloc(3 * (LARGE / 2), "pieces");
    assert_non_null(a);
    assert_range(a, 3 * 256, 0);
    assert_all_sound();
    vfree(a);
    assert_int_equal(free_frames(), before);
    assert_all_sound();
}

static void works_on_a_poor_processor(void **state)
{
    const struct pt_features poor = { .levels = 4, .pa_bits = 36 };
    void *a;

    (void)state;
    window_make_with(1024, WINDOW, 2048, &poor);
    a = vmalloc(LARGE, "no NX, no global pages");
    assert_non_null(a);
    assert_int_equal(walk(WINDOW + LARGE).flags, PT_WRITE | PT_EXEC);
    assert_all_sound();
    vfree(a);
    assert_all_sound();
}

/* A window that ends with the address space. */
static void works_at_the_very_top(void **state)
{
    const uint64_t base = UINT64_C(0xffffffffffff8000);
    void *a;

    (void)state;
    window_make_with(256, base, 7, &usual);
    assert_null(vmalloc(6 * PAGE, "too much"));
    a = vmalloc(5 * PAGE, "all");
    assert_ptr_equal(a, (void *)(uintptr_t)(base + PAGE));
    assert_range(a, 5, 0);
    assert_all_sound();
    vfree(a);
    assert_all_sound();
}

static void windows_are_refused(void **state)
{
    (void)state;
    window_make(256, 64);
    assert_int_equal(vmalloc_init(&table, pool, WINDOW + 1, 64 * PAGE), MM_EINVAL);
    assert_int_equal(vmalloc_init(&table, pool, WINDOW, 64 * PAGE + 5), MM_EINVAL);
    assert_int_equal(vmalloc_init(&table, pool, WINDOW, 2 * PAGE), MM_EINVAL);
    assert_int_equal(vmalloc_init(&table, pool, WINDOW, 0), MM_EINVAL);
    assert_int_equal(vmalloc_init(&table, pool, UINT64_C(1) << 50, 64 * PAGE), MM_EINVAL);
    assert_int_equal(vmalloc_init(&table, pool, UINT64_MAX - 4095, 64 * PAGE), MM_EINVAL);
}

/* ---- physical memory ---- */

static void physical_memory_at_any_alignment(void **state)
{
    uint64_t before, flushes;
    void *a, *b, *c;

    (void)state;
    window_make(256, 64);
    vfree(vmap_phys(pa_make(0xfee00000), 1, PT_UC, "warm"));
    before = free_frames();
    a = vmap_phys(pa_make(0xfee00123), 0x20, PT_WRITE | PT_UC, "inside a page");
    assert_int_equal((uintptr_t)a, WINDOW + PAGE + 0x123);
    assert_int_equal(walk((uintptr_t)a).pa.v, 0xfee00123);
    assert_int_equal(walk((uintptr_t)a).flags, PT_WRITE | PT_UC | PT_GLOBAL);
    assert_false(walk(WINDOW + 2 * PAGE).present);

    b = vmap_phys(pa_make(0xfed01ffe), 4, PT_UC, "across pages");
    assert_int_equal((uintptr_t)b, WINDOW + 3 * PAGE + 0xffe);
    assert_int_equal(walk(WINDOW + 4 * PAGE).pa.v, 0xfed02000);
    assert_int_equal(walk(WINDOW + 4 * PAGE).flags, PT_UC | PT_GLOBAL);
    assert_false(walk(WINDOW + 5 * PAGE).present);

    c = vmap_phys(pa_make(0xfed00000), PAGE, PT_WRITE | PT_WC, "whole page");
    assert_int_equal((uintptr_t)c, WINDOW + 6 * PAGE);
    assert_false(walk(WINDOW + 7 * PAGE).present);
    assert_all_sound();

    flushes = host_flush.calls;
    vfree(b);
    assert_int_equal(host_flush.calls, flushes + 1);
    vfree(a);
    vfree(c);
    assert_int_equal(nranges(), 0);
    assert_all_sound();
    assert_int_equal(free_frames(), before);
}

/* A frame buffer that starts 64 KiB into a 2 MiB: so does its range, and the middle is large. */
static void physical_memory_keeps_its_phase(void **state)
{
    void *a;

    (void)state;
    window_make(256, 8192);
    a = vmap_phys(pa_make(0x80010000), 3 * LARGE, PT_WRITE | PT_WC, "frame buffer");
    assert_int_equal((uintptr_t)a, WINDOW + 0x10000);
    assert_int_equal(walk(WINDOW + LARGE).leaf_bytes, LARGE);
    assert_int_equal(walk(WINDOW + LARGE).pa.v, 0x80000000 + LARGE);
    assert_int_equal(walk(WINDOW + 3 * LARGE + 0xffff).pa.v, 0x80000000 + 3 * LARGE + 0xffff);
    assert_false(walk(WINDOW + 3 * LARGE + 0x10000).present);
    assert_all_sound();
    vfree(a);
    a = vmap_phys(pa_make(0x80000000), LARGE, PT_WC, "exactly one leaf");
    assert_int_equal((uintptr_t)a, WINDOW + LARGE); /* the window's first page is a guard */
    assert_all_sound();
    vfree(a);
    assert_all_sound();
}

static void physical_ranges_are_refused(void **state)
{
    (void)state;
    window_make(256, 64);
    assert_null(vmap_phys(pa_make(0x1000), 0, PT_UC, "nothing"));
    assert_null(vmap_phys(pa_make(UINT64_MAX - 10), 11, PT_UC, "to the end"));
    assert_null(vmap_phys(pa_make(UINT64_MAX - 10), 100, PT_UC, "wraps"));
    assert_null(vmap_phys(pa_make(5), UINT64_MAX - 5, PT_UC, "everything"));
    assert_null(vmap_phys(pa_make((UINT64_C(1) << 46) - PAGE), 2 * PAGE, PT_UC, "too high"));
    assert_null(vmap_phys(pa_make(0x1000), 63 * PAGE, PT_UC, "larger than the window"));
    assert_null(vmap_phys(pa_make(0x1fff), 62 * PAGE, PT_UC, "a page more than it looks"));
    assert_int_equal(nranges(), 0);
    assert_all_sound();
    assert_non_null(vmap_phys(pa_make(0x1000), 62 * PAGE, PT_UC, "just fits"));
    assert_all_sound();
}

/* ---- running out ---- */

/* 8 pages: guards at 0 and 7; single pages fit at 1, 3, 5. */
static void addresses_run_out(void **state)
{
    void *a, *b, *c;
    uint64_t before;

    (void)state;
    window_make(256, 8);
    a = vmalloc(PAGE, "a");
    b = vmalloc(PAGE, "b");
    c = vmalloc(PAGE, "c");
    assert_ptr_equal(c, page_of_window(5));
    before = free_frames();
    assert_null(vmalloc(PAGE, "d"));
    assert_null(vmap_phys(pa_make(0), 1, PT_UC, "d"));
    assert_int_equal(free_frames(), before);
    vfree(b);
    assert_null(vmalloc(2 * PAGE, "d"));
    assert_ptr_equal(vmalloc(PAGE, "d"), b);
    vfree(b);
    vfree(a);
    assert_null(vmalloc(4 * PAGE, "d"));
    assert_ptr_equal(vmalloc(3 * PAGE, "d"), a);
    assert_null(vmalloc(LARGE, "e"));
    assert_all_sound();
}

/* With only k frames free, for every k: all or nothing, and nothing lost. */
static void out_of_memory_with_every_pool(void **state)
{
    bool warm = true;

    (void)state;
    do { /* with room for the node, and with slabs that must fetch frames first */
        bool done = false;

        for (uint64_t k = 0; !done; k++) {
            uint64_t before, after;
            void *node = NULL, *a;

            window_make(1024, 4096);
            if (warm) {
                node = kmalloc(NODE_BYTES);
                assert_non_null(node);
            }
            /* Scattered, so that each order is tried: k frames free, every third claimed. */
            for (uint64_t i = 0; i < 1024 && pmm_free_frames(pool) > k; i++) {
                pfn_t pfn = pfn_make((POOL_BASE >> 12) + i * 683 % 1024);

                if (pmm_is_free(pool, pfn)) {
                    assert_int_equal(pmm_claim(pool, pfn, 1), MM_OK);
                }
            }
            before = free_frames();
            a = vmalloc(20 * PAGE, "some");
            assert_all_sound();
            done = a != NULL;
            assert_true(done || nranges() == 0);
            if (done) {
                assert_range(a, 20, 0);
                /* 20 frames and three tables below the root; and perhaps slabs. */
                assert_true(before >= 23);
            }
            vfree(a);
            assert_all_sound();
            after = free_frames();
            /* But for the map of kmalloc. */
            assert_true(after == before || (!warm && before - after <= 3));
        }
        warm = !warm;
    } while (!warm);
}

static void physical_mapping_without_tables(void **state)
{
    (void)state;
    for (uint64_t k = 0; k <= 3; k++) {
        void *node, *a;

        window_make(256, 64);
        node = kmalloc(NODE_BYTES);
        assert_non_null(node);
        while (pmm_free_frames(pool) > k) {
            assert_false(pfn_is_none(pmm_get(pool, 0, 0)));
        }
        a = vmap_phys(pa_make(0xfee00000), 1, PT_UC, "device");
        assert_int_equal(a != NULL, k == 3);
        assert_int_equal(nranges(), k == 3);
        assert_all_sound();
        vfree(a);
        assert_int_equal(pmm_free_frames(pool), k);
        assert_all_sound();
    }
}

/* ---- a model ---- */

#define MODEL_PAGES 6000u

struct model {
    unsigned char taken[MODEL_PAGES]; /* the window, page by page */
};

/* The lowest place whose neighbours on both sides are not taken, at `phase` pages modulo 512. */
static uint64_t model_place(struct model *m, uint64_t npages, uint64_t phase)
{
    for (uint64_t at = 1; at + npages < MODEL_PAGES; at++) {
        uint64_t n = 0;

        if (npages >= 512 && at % 512 != phase) {
            continue;
        }
        while (n < npages + 2 && m->taken[at - 1 + n] == 0) {
            n++;
        }
        if (n == npages + 2) {
            memset(m->taken + at, 1, npages);
            return at;
        }
    }
    return 0;
}

static void random_operations_against_a_model(void **state)
{
    struct host_rng rng = host_rng_make("random_operations_against_a_model");
    static struct model m;
    struct {
        unsigned char *ptr;
        uint64_t at, npages;
        unsigned char fill;
        bool phys;
    } live[24] = { { .ptr = NULL } };
    unsigned nulls = 0;
    uint64_t before;
    void *node;

    (void)state;
    memset(&m, 0, sizeof(m));
    window_make(2000, MODEL_PAGES);
    node = kmalloc(NODE_BYTES); /* so that its slab stays */
    before = free_frames();
    for (unsigned op = 0; op < 1500; op++) {
        size_t i = host_rng_below(&rng, MM_COUNTOF(live));
        uint64_t npages = 1 + host_rng_below(&rng, op % 8 == 0 ? 1200 : 40);
        uint64_t pa = 0x80000000 + host_rng_below(&rng, 0x10000000);

        if (live[i].ptr != NULL) {
            if (!live[i].phys) {
                assert_range(live[i].ptr, live[i].npages, live[i].fill);
            }
            vfree(live[i].ptr);
            memset(m.taken + live[i].at, 0, live[i].npages);
            live[i].ptr = NULL;
        } else if (host_rng_below(&rng, 3) == 0) {
            uint64_t nbytes = 1 + host_rng_below(&rng, npages * PAGE);

            npages = (pa % PAGE + nbytes + PAGE - 1) / PAGE;
            live[i].at = model_place(&m, npages, pa / PAGE % 512);
            live[i].ptr = vmap_phys(pa_make(pa), nbytes, PT_UC | PT_WRITE, "phys");
            if (live[i].at == 0) {
                assert_null(live[i].ptr);
            } else if (live[i].ptr == NULL) { /* out of table frames */
                memset(m.taken + live[i].at, 0, npages);
                nulls++;
            } else {
                assert_int_equal((uintptr_t)live[i].ptr, WINDOW + live[i].at * PAGE + pa % PAGE);
                assert_int_equal(walk((uintptr_t)live[i].ptr + nbytes - 1).pa.v, pa + nbytes - 1);
            }
            live[i].npages = npages;
            live[i].phys = true;
        } else {
            uint64_t free_now = pmm_free_frames(pool);

            live[i].at = model_place(&m, npages, 0);
            live[i].ptr = vmalloc(npages * PAGE - host_rng_below(&rng, PAGE), "some");
            if (live[i].at == 0) {
                assert_null(live[i].ptr);
            } else if (live[i].ptr == NULL) {
                memset(m.taken + live[i].at, 0, npages);
                assert_true(free_now < npages + 5); /* nothing but lack of frames is a reason */
                nulls++;
            } else {
                assert_ptr_equal(live[i].ptr, page_of_window(live[i].at));
                assert_range(live[i].ptr, npages, 0);
                live[i].fill = (unsigned char)host_rng_next(&rng);
                fill_range(live[i].ptr, npages, live[i].fill);
            }
            live[i].npages = npages;
            live[i].phys = false;
        }
        assert_all_sound();
    }
    for (size_t i = 0; i < MM_COUNTOF(live); i++) {
        vfree(live[i].ptr);
        assert_all_sound();
    }
    assert_true(nulls > 0);
    assert_int_equal(nranges(), 0);
    assert_int_equal(free_frames(), before);
    assert_int_equal(table.ntables, 1);
    kfree(node);
}

static void *hammer(void *seed)
{
    struct host_rng rng = { (uintptr_t)seed };
    void *ptr[4] = { NULL };

    host_set_cpu((unsigned)(uintptr_t)seed); /* 1 and 2; the main thread is 0 */

    for (unsigned op = 0; op < 2000; op++) {
        size_t i = host_rng_below(&rng, MM_COUNTOF(ptr));

        vfree(ptr[i]);
        ptr[i] = vmalloc(1 + host_rng_below(&rng, 20 * PAGE), "hammer");
    }
    for (size_t i = 0; i < MM_COUNTOF(ptr); i++) {
        vfree(ptr[i]);
    }
    kmalloc_reclaim(); /* what this processor keeps */
    return NULL;
}

static void threads_share_the_window(void **state)
{
    pthread_t thread[2];
    uint64_t before;
    void *node;

    (void)state;
    window_make(256, 256);
    node = kmalloc(NODE_BYTES);
    before = free_frames();
    for (uintptr_t i = 0; i < MM_COUNTOF(thread); i++) {
        assert_int_equal(pthread_create(&thread[i], NULL, hammer, (void *)(i + 1)), 0);
    }
    for (size_t i = 0; i < MM_COUNTOF(thread); i++) {
        pthread_join(thread[i], NULL);
    }
    assert_all_sound();
    assert_int_equal(free_frames(), before);
    kfree(node);
}

/* ---- callers who break the rules ---- */

static void *being_freed;

/* Another processor, which holds no lock, looks while vfree() unmaps. */
static void look(void)
{
    uint32_t held = *port_held_ranks();

    *port_held_ranks() = 0;
    assert_int_equal(nranges(), 0);
    *port_held_ranks() = held;
}

/* ... or frees the range a second time. */
static void free_again(void)
{
    *port_held_ranks() = 0;
    vfree(being_freed);
}

static void a_range_being_freed_is_gone(void **state)
{
    (void)state;
    window_make(256, 64);
    being_freed = vmalloc(PAGE, "a");
    on_table_put = look;
    vfree(being_freed);
    assert_null(on_table_put); /* it was called */
    being_freed = vmalloc(PAGE, "a");
    on_table_put = free_again;
    assert_panics(vfree(being_freed), "no such range");
}

static void map_with(unsigned flags)
{
    void *ptr = vmap_phys(pa_make(0x1000), 1, flags, "bad");

    (void)ptr;
}

static void stops_on_what_was_not_given(void **state)
{
    static const char words[] = "no such range: never given, or freed already";
    unsigned char *a, *b;

    (void)state;
    window_make(256, 64);
    a = vmalloc(PAGE, "a");
    b = vmalloc(2 * PAGE, "b");
    vfree(a);
    assert_panics(vfree(a), words);
    assert_non_null(strstr(host_panic_text, "vfree(0xffffd00000001000), called from 0x"));

    window_make(256, 64);
    a = vmalloc(PAGE, "a");
    b = vmalloc(2 * PAGE, "b");
    assert_panics(vfree(b + PAGE), words);
    window_make(256, 64);
    a = vmalloc(PAGE, "a");
    assert_panics(vfree(a + 1), words);
    window_make(256, 64);
    assert_panics(vfree(page_of_window(0)), words);
    window_make(256, 64);
    a = vmap_phys(pa_make(0xfee00123), 4, PT_UC, "device");
    assert_panics(vfree(a - 0x123), words);
    window_make(256, 64);
    assert_panics(vfree(&table), words);
    window_make(256, 64);
    assert_panics(map_with(PT_EXEC), "assertion failed");
    window_make(256, 64);
    assert_panics(map_with(PT_USER), "assertion failed");
}

/* ---- the checker ---- */

static void assert_broken(const char *number)
{
    const char *broken = vmalloc_check();

    assert_non_null(broken);
    if (strncmp(broken, number, strlen(number)) != 0) {
        fail_msg("%s instead of %s", broken, number);
    }
}

/* The list node of the range at `va`: { next, va, nbytes, ... }, somewhere in the heap. */
struct node {
    struct node *next;
    uint64_t va;
    uint64_t nbytes;
};

struct search {
    uint64_t va;
    struct node *found;
};

static bool is_node(void *ctx, const struct kmalloc_view *v)
{
    struct search *s = ctx;
    struct node *n = (struct node *)(uintptr_t)v->ptr;

    if (v->used && v->nbytes >= sizeof(*n) && n->va == s->va) {
        s->found = n;
    }
    return s->found == NULL;
}

static struct node *node_of(uint64_t page)
{
    struct search s = { .va = WINDOW + page * PAGE };

    kmalloc_for_each(KMALLOC_SLAB, is_node, &s);
    assert_non_null(s.found);
    return s.found;
}

/* Ranges at pages 1 (1 long), 3 (2 long), 6 (1 long, physical). */
static void three_ranges(void)
{
    window_make(256, 64);
    assert_ptr_equal(vmalloc(PAGE, "a"), page_of_window(1));
    assert_ptr_equal(vmalloc(2 * PAGE, "b"), page_of_window(3));
    assert_ptr_equal(vmap_phys(pa_make(0xfee00000), 1, PT_WRITE | PT_UC, "c"), page_of_window(6));
    assert_all_sound();
}

static void checker_finds_planted_damage(void **state)
{
    const uint64_t b = WINDOW + 3 * PAGE, c = WINDOW + 6 * PAGE;
    pa_t pa;

    (void)state;
    three_ranges();
    node_of(3)->nbytes = 3 * PAGE; /* no guard page left before the next */
    assert_broken("V");
    three_ranges();
    node_of(1)->nbytes = 2 * PAGE;
    assert_broken("V2");
    three_ranges();
    node_of(6)->nbytes = 64 * PAGE;
    assert_broken("V1");
    three_ranges();
    node_of(3)->nbytes = PAGE + 1;
    assert_broken("V1");
    three_ranges();
    node_of(6)->va = WINDOW + 5 * PAGE;
    assert_broken("V1");
    three_ranges();
    node_of(6)->next = node_of(1);
    assert_broken("V5");
    three_ranges();
    node_of(3)->next = NULL;
    assert_broken("V5");

    three_ranges();
    assert_int_equal(pt_unmap(&table, b + PAGE, PAGE), MM_OK);
    assert_broken("V2");
    three_ranges();
    assert_int_equal(pt_protect(&table, b, PAGE, PT_GLOBAL), MM_OK);
    assert_broken("V2");
    three_ranges();
    assert_int_equal(pt_protect(&table, c, PAGE, PT_WRITE | PT_GLOBAL), MM_OK);
    assert_broken("V2");
    three_ranges();
    pa = walk(b + PAGE).pa;
    pmm_put_range(pool, pfn_of_pa(pa), 1);
    assert_broken("V3");
    three_ranges();
    assert_int_equal(pt_unmap(&table, b, PAGE), MM_OK);
    assert_int_equal(pt_map(&table, b, pa_make(0x1000), PAGE, PT_WRITE | PT_GLOBAL), MM_OK);
    assert_broken("V3");
    three_ranges();
    assert_int_equal(pt_unmap(&table, c, PAGE), MM_OK);
    assert_int_equal(pt_map(&table, c, pa_make(0x1000), PAGE, PT_WRITE | PT_GLOBAL | PT_UC), MM_OK);
    assert_broken("V3");

    /* Guard pages, free space, and the guards of the window itself. */
    static const uint64_t page[] = { 0, 2, 5, 7, 40, 63 };

    for (size_t i = 0; i < MM_COUNTOF(page); i++) {
        three_ranges();
        assert_int_equal(pt_map(&table, WINDOW + page[i] * PAGE, pa_make(0), PAGE, PT_UC), MM_OK);
        assert_broken("V4");
    }
    three_ranges();
    assert_int_equal(pt_map(&table, WINDOW + 64 * PAGE, pa_make(0), PAGE, PT_UC), MM_OK);
    assert_sound(vmalloc_check()); /* not ours */
}

static int teardown(void **state)
{
    (void)state;
    pool_drop();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(layout_by_hand),
        cmocka_unit_test(ranges_are_shown_in_order),
        cmocka_unit_test(large_ranges_get_large_leaves),
        cmocka_unit_test(fragments_serve),
        cmocka_unit_test(works_on_a_poor_processor),
        cmocka_unit_test(works_at_the_very_top),
        cmocka_unit_test(windows_are_refused),
        cmocka_unit_test(physical_memory_at_any_alignment),
        cmocka_unit_test(physical_memory_keeps_its_phase),
        cmocka_unit_test(physical_ranges_are_refused),
        cmocka_unit_test(addresses_run_out),
        cmocka_unit_test(out_of_memory_with_every_pool),
        cmocka_unit_test(physical_mapping_without_tables),
        cmocka_unit_test(random_operations_against_a_model),
        cmocka_unit_test(threads_share_the_window),
        cmocka_unit_test(a_range_being_freed_is_gone),
        cmocka_unit_test(stops_on_what_was_not_given),
        cmocka_unit_test(checker_finds_planted_damage),
    };

    return cmocka_run_group_tests_name("vmalloc", tests, NULL, teardown);
}
