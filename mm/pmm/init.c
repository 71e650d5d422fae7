/*
 * init.c - a pool from a memory map: what it covers, and where its metadata lies in the storage.
 *
 * Only sections that are not free as a whole are opened here. So a TiB without holes costs a few
 * bytes for each GiB, and a map full of holes what its edges cost.
 *
 * A section gets its second plane here if some of it is HELD, or covered in part: frames of such a
 * block are told apart by it, and what is HELD comes in pieces of any size later (pmm_add). Pools
 * whose memory must not be touched get it for all sections.
 */
#include "pool.h"

#define DIR_MAX 4096u /* entries of the directory: beyond, they stand for several GiB each */
#define HANDS   512u  /* words in hand that can be told apart; more if processors are many */

/* Where things lie in the storage, in bytes from its start. */
struct plan {
    uint64_t nranges, nsections, nmulti, first, last; /* section numbers */
    uint64_t ndir, dir_shift, nsum, nhands;
    uint64_t cpus, hands, ranges, sections, dir, sums, books, multi, frames, sites, end;
};

/* The part of a region that belongs to a pool of `kind`; count 0 if none. */
static struct range part_of(const struct memmap_region *r, enum pmm_kind kind)
{
    struct range part = { r->base >> MM_PAGE_SHIFT, r->end >> MM_PAGE_SHIFT, true };

    switch (r->kind) {
    case MEMMAP_FREE:
    case MEMMAP_FREE_AFTER_EXIT:
    case MEMMAP_FREE_AFTER_ACPI:
    case MEMMAP_KERNEL:
        part.free = r->kind == MEMMAP_FREE;
        if (kind == PMM_GENERAL) {
            part.base = mm_max(part.base, LOW_END);
            break;
        }
        if (kind == PMM_LOW) {
            part.end = mm_min(part.end, LOW_END);
            break;
        }
        return (struct range){ 0 };
    case MEMMAP_SPECIAL:
        part.end = kind == PMM_SPECIAL ? part.end : 0;
        break;
    case MEMMAP_UNACCEPTED:
        part.end = kind == PMM_UNACCEPTED ? part.end : 0;
        break;
    case MEMMAP_PERSISTENT:
        part.end = kind == PMM_PERSISTENT ? part.end : 0;
        break;
    default:
        part.end = 0;
        break;
    }
    part.base = mm_max(part.base, 1); /* frame 0 is never ours */
    return part.base < part.end ? part : (struct range){ 0 };
}

/* Ranges of the pool, one at a time, those that touch and are alike joined. `at`: begin with 0. */
static struct range next_range(const struct memmap *m, enum pmm_kind kind, uint32_t *at)
{
    struct range r = { 0 };

    for (; *at < m->nregions; ++*at) {
        struct range part = part_of(&m->regions[*at], kind);

        if (part.end == 0) {
            continue;
        }
        if (r.end == 0) {
            r = part;
        } else if (part.base == r.end && part.free == r.free) {
            r.end = part.end;
        } else {
            break;
        }
    }
    return r;
}

/* Is a section cut by, or HELD in part by, the range [base, end) of it? */
static bool needs_multi(const struct range *r, uint64_t section)
{
    uint64_t lo = section << SECTION_SHIFT;
    uint64_t hi = lo + SECTION_FRAMES;

    return !r->free || (r->base > lo && r->base % BLOCK_FRAMES != 0) ||
           (r->end < hi && r->end % BLOCK_FRAMES != 0);
}

/* Call for every section of every range, in order; a section of several ranges comes several times.
 */
typedef void (*visit_fn)(void *ctx, const struct range *r, uint64_t section);

static void for_sections(const struct memmap *m, enum pmm_kind kind, visit_fn visit, void *ctx)
{
    uint32_t at = 0;

    for (struct range r; (r = next_range(m, kind, &at)).end != 0;) {
        for (uint64_t n = r.base >> SECTION_SHIFT; n <= (r.end - 1) >> SECTION_SHIFT; n++) {
            visit(ctx, &r, n);
        }
    }
}

struct counting {
    struct plan *plan;
    bool all_multi;
    bool counted; /* the plane of section `plan->last` */
};

static void count_section(void *ctx, const struct range *r, uint64_t section)
{
    struct counting *c = ctx;

    if (c->plan->nsections == 0 || section != c->plan->last) {
        c->plan->first = c->plan->nsections == 0 ? section : c->plan->first;
        c->plan->last = section;
        c->plan->nsections++;
        c->counted = false;
    }
    if (!c->counted && (c->all_multi || needs_multi(r, section))) {
        c->plan->nmulti++;
        c->counted = true;
    }
}

static uint64_t place(uint64_t *end, uint64_t align, uint64_t count, uint64_t size)
{
    uint64_t at = mm_align_up(*end, align);

    *end = at + count * size;
    return at;
}

static struct plan make_plan(const struct memmap *m, enum pmm_kind kind, unsigned ncpus)
{
    struct plan plan = { 0 };
    struct counting c = { .plan = &plan, .all_multi = kind != PMM_GENERAL };
    uint32_t at = 0;

    while (next_range(m, kind, &at).end != 0) {
        plan.nranges++;
    }
    if (plan.nranges == 0) {
        return plan;
    }
    for_sections(m, kind, count_section, &c);
    while ((plan.last - plan.first) >> plan.dir_shift >= DIR_MAX) {
        plan.dir_shift++;
    }
    plan.ndir = ((plan.last - plan.first) >> plan.dir_shift) + 1;
    plan.nsum = (plan.nsections + 63) / 64;

    plan.end = sizeof(struct pmm);
    plan.cpus = place(&plan.end, _Alignof(struct pmm_cpu), ncpus, sizeof(struct pmm_cpu));
    plan.nhands = HANDS;
    while (plan.nhands < ncpus * HANDS / 2) {
        plan.nhands *= 2;
    }
    plan.hands = place(&plan.end, 64, plan.nhands, sizeof(aword));
    plan.ranges = place(&plan.end, 64, plan.nranges, sizeof(struct range));
    plan.sections = place(&plan.end, 64, plan.nsections, sizeof(struct section));
    plan.dir = place(&plan.end, 64, plan.ndir + 1, sizeof(uint32_t));
    plan.sums = place(&plan.end, 64, plan.nsum * 3, sizeof(aword));
    plan.books = place(&plan.end, 64, plan.nsections, sizeof(struct book));
    plan.multi = place(&plan.end, MM_PAGE_SIZE, plan.nmulti, SECTION_WORDS * sizeof(aword));
    plan.frames = place(&plan.end, MM_PAGE_SIZE, plan.nsections, SECTION_WORDS * sizeof(aword));
#ifdef PMM_DEBUG
    plan.sites = place(&plan.end, MM_PAGE_SIZE, plan.nsections, SECTION_FRAMES * sizeof(uint32_t));
#endif
    return plan;
}

uint64_t pmm_storage_bytes(const struct memmap *m, enum pmm_kind kind, unsigned ncpus)
{
    return make_plan(m, kind, ncpus).end;
}

struct filling {
    struct pmm *p;
    aword *multi; /* the next plane to give */
    uint64_t n;   /* sections so far */
};

static void fill_section(void *ctx, const struct range *r, uint64_t section)
{
    struct filling *f = ctx;
    struct pmm *p = f->p;

    if (f->n == 0 || p->sections[f->n - 1].number != section) {
        p->sections[f->n++] = (struct section){ .number = (uint32_t)section };
    }
    struct section *s = &p->sections[f->n - 1];
    if (s->multi == NULL && (p->kind != PMM_GENERAL || needs_multi(r, section))) {
        s->multi = f->multi;
        f->multi += SECTION_WORDS;
    }
    uint64_t lo = section << SECTION_SHIFT;
    if (r->free && r->base <= lo && r->end >= lo + SECTION_FRAMES) {
        aword *closed = &p->closed[(f->n - 1) / 64];

        store(closed, load(closed) | bit(f->n - 1)); /* nobody else is here yet: no locked OR */
    }
}

static void fill_directory(struct pmm *p)
{
    uint64_t s = 0;

    for (uint64_t at = 0; at < p->ndir; at++) {
        while (p->sections[s].number < p->dir_first + (at << p->dir_shift)) {
            s++;
        }
        p->dir[at] = (uint32_t)s;
    }
    p->dir[p->ndir] = (uint32_t)p->nsections;
}

/* Each processor begins at a section of its own, in the zone that is used first. */
static void fill_cpus(struct pmm *p)
{
    bool above = p->zone_begin[ZONE_ABOVE_4G] < p->nsections;
    uint64_t lo = above ? p->zone_begin[ZONE_ABOVE_4G] : 0;

    for (unsigned i = 0; i < p->ncpus; i++) {
        struct pmm_cpu *c = &p->cpus[i];

        __builtin_memset(c, 0, sizeof(*c));
        for (unsigned k = 0; k < OWNED_BLOCKS; k++) {
            atomic_init(&c->block[k], NO_BLOCK);
        }
        c->home = lo + (p->nsections - lo) * i / p->ncpus;
        c->cursor = c->home * SECTION_BLOCKS;
        c->runs = c->cursor;
        c->left = p->stretch;
        c->hand = &c->no_hand;
        c->last = NO_FRAME;
        for (unsigned k = 0; k < SLOTS; k++) {
            atomic_init(&c->slot[k].first, NO_FRAME);
        }
    }
}

mm_err_t pmm_init(struct pmm **out, const struct memmap *m, enum pmm_kind kind, unsigned ncpus,
                  void *storage, uint64_t nbytes)
{
    if ((unsigned)kind >= PMM_KINDS || ncpus == 0 || ncpus > PMM_MAX_CPUS ||
        !mm_is_aligned((uint64_t)(uintptr_t)storage, MM_PAGE_SIZE)) {
        return MM_EINVAL;
    }
    struct plan plan = make_plan(m, kind, ncpus);
    unsigned char *at = storage;
    struct pmm *p = storage;
    uint32_t region = 0;

    if (plan.nranges == 0) {
        return MM_EINVAL;
    }
    if (nbytes < plan.end) {
        return MM_ENOSPC;
    }
    __builtin_memset(p, 0, sizeof(*p));
    p->lock = (struct mm_lock)MM_LOCK_INIT(MM_RANK_PMM);
    p->kind = kind;
    p->ncpus = ncpus;
    p->nsections = plan.nsections;
    p->cpus = (struct pmm_cpu *)(at + plan.cpus);
    p->hands = (aword *)(at + plan.hands);
    p->hand_mask = plan.nhands - 1;
    p->ranges = (struct range *)(at + plan.ranges);
    p->sections = (struct section *)(at + plan.sections);
    p->dir = (uint32_t *)(at + plan.dir);
    p->dir_first = plan.first;
    p->dir_shift = (unsigned)plan.dir_shift;
    p->ndir = plan.ndir;
    p->nsum = plan.nsum;
    p->closed = (aword *)(at + plan.sums);
    p->some_whole = p->closed + plan.nsum;
    p->some_free = p->some_whole + plan.nsum;
    p->books = (struct book *)(at + plan.books);
    p->frames = (aword *)(at + plan.frames);
#ifdef PMM_DEBUG
    p->sites = (_Atomic uint32_t *)(at + plan.sites);
#endif
    p->storage_bytes = plan.end;
    __builtin_memset(p->closed, 0, plan.nsum * 3 * sizeof(aword));
    __builtin_memset(p->hands, 0, plan.nhands * sizeof(aword));

    for (struct range r; (r = next_range(m, kind, &region)).end != 0;) {
        p->ranges[p->nranges++] = r;
        p->total += r.end - r.base;
        p->held += r.free ? 0 : (int64_t)(r.end - r.base);
    }
    p->stretch = mm_max(p->total / 8, BLOCK_FRAMES);
    struct filling f = { .p = p, .multi = (aword *)(at + plan.multi) };
    for_sections(m, kind, fill_section, &f);
    fill_directory(p);
    p->zone_begin[ZONE_BELOW_4G] = 0;
    p->zone_begin[ZONE_ABOVE_4G] = section_from(p, HIGH >> SECTION_SHIFT);
    p->zone_begin[ZONES] = p->nsections;
    fill_cpus(p);
    for (uint64_t s = 0; s < p->nsections; s += 64) {
        uint64_t open = ~load(&p->closed[s / 64]) & word_mask(s, p->nsections);

        for (; open != 0; open &= open - 1) {
            open_section(p, s + (unsigned)__builtin_ctzll(open));
        }
    }
    *out = p;
    return MM_OK;
}
