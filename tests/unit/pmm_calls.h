/*
 * pmm_calls.h - the calls of mm/pmm.h with plain numbers, for tests.
 */
#ifndef PMM_CALLS_H
#define PMM_CALLS_H

#include "pmm_fixture.h"

static inline uint64_t get(struct pmm *p, unsigned order)
{
    pfn_t pfn = pmm_get(p, order, 0);

    if (pfn_is_none(pfn)) {
        return NO_BASE;
    }
    assert_true(pfn.v % (UINT64_C(1) << order) == 0);
    return pfn.v;
}

/* *base is untouched if it fails. */
static inline mm_err_t try_range(struct pmm *p, const struct pmm_want *want, uint64_t *base)
{
    pfn_t pfn = { 12345 };
    mm_err_t err = pmm_get_range(p, want, &pfn);

    if (err == MM_OK) {
        *base = pfn.v;
    } else {
        assert_int_equal(pfn.v, 12345);
    }
    return err;
}

/* NO_BASE if there is none, for whatever reason. */
static inline uint64_t get_range(struct pmm *p, uint64_t count, uint64_t align, uint64_t limit,
                                 uint64_t boundary)
{
    const struct pmm_want want = { count, align, limit, boundary, 0 };
    uint64_t base = NO_BASE;
    mm_err_t err = try_range(p, &want, &base);

    assert_true(err == MM_OK || err == MM_ENOMEM || err == MM_ELIMIT || err == MM_EFRAG);
    return base;
}

static inline mm_err_t range_error(struct pmm *p, uint64_t count, uint64_t align, uint64_t limit,
                                   uint64_t boundary)
{
    const struct pmm_want want = { count, align, limit, boundary, 0 };
    uint64_t base;
    mm_err_t err = try_range(p, &want, &base);

    assert_int_not_equal(err, MM_OK);
    return err;
}

static inline void put(struct pmm *p, uint64_t base, unsigned order)
{
    pmm_put(p, pfn_make(base), order);
}

static inline void put_range(struct pmm *p, uint64_t base, uint64_t count)
{
    pmm_put_range(p, pfn_make(base), count);
}

static inline mm_err_t claim(struct pmm *p, uint64_t base, uint64_t count)
{
    return pmm_claim(p, pfn_make(base), count);
}

/* *in_use is 777 if it fails. */
static inline mm_err_t retire(struct pmm *p, uint64_t base, uint64_t count, uint64_t *in_use)
{
    *in_use = 777;
    return pmm_retire(p, pfn_make(base), count, in_use);
}

static inline enum pmm_state state_of(struct pmm *p, uint64_t pfn)
{
    return pmm_get_state(p, pfn_make(pfn));
}

static inline bool is_free(struct pmm *p, uint64_t pfn)
{
    return pmm_is_free(p, pfn_make(pfn));
}

/* Take all single frames there are; returns how many. */
static inline uint64_t drain(struct pmm *p)
{
    uint64_t n = 0;
    pfn_t pfns[PMM_MAX_BATCH];
    unsigned got;

    do {
        got = pmm_get_batch(p, pfns, PMM_MAX_BATCH, 0);
        n += got;
    } while (got == PMM_MAX_BATCH);
    return n;
}

static inline uint64_t whole_blocks(struct pmm *p)
{
    struct pmm_stats s = stats_of(p);

    return (s.free_frames - s.outside_2m) / 512;
}

#endif
