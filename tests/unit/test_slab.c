/*
 * test_slab.c - mm/heap/slab.c and slab_cpu.c: slabs, magazines, and what they notice.
 */
#include "slab_fixture.h"

#define CPUS 4

static struct slab_set set;
static struct slab_cache cache;
static struct slab_cpu cpus[CPUS];

static void open_cache(size_t nbytes, size_t align)
{
    const struct slab_params p = { .name = "thing", .nbytes = nbytes, .align = align };

    source_reset();
    memset(cpus, 0, sizeof(cpus));
    slab_set_init(&set, &source_backing);
    assert_int_equal(slab_cache_init(&cache, &set, &p), MM_OK);
}

/* Not inline: so that a panic, which jumps, leaves no variable of theirs in the tests. */
__attribute__((noinline)) static void *get(unsigned cpu)
{
    return slab_cpu_alloc(&cache, &cpus[cpu]);
}

__attribute__((noinline)) static void put(unsigned cpu, void *obj)
{
    slab_cpu_free(&cache, &cpus[cpu], obj);
}

static void assert_all_sound(void)
{
    assert_sound(slab_check(&cache));
    assert_sound(slab_set_check(&set));
}

static struct slab_stats stats(void)
{
    struct slab_stats s;

    slab_get_stats(&cache, &s);
    return s;
}

/* Nothing is lost: all goes back. */
static void close_cache(void)
{
    assert_all_sound();
    assert_int_equal(slab_cache_destroy(&cache), MM_OK);
    slab_set_reclaim(&set);
    assert_int_equal(source.ranges, 0);
    assert_int_equal(source.bytes, 0);
}

/* ---- what a cache gives ------------------------------------------------------------------------ */

/* At most an eighth of a slab is not objects, whatever their size; they are aligned and apart. */
static void wastes_an_eighth_at_most(void **state)
{
    (void)state;
    for (size_t nbytes = 1; nbytes <= SLAB_MAX_OBJECT; nbytes += nbytes < 600 ? 1 : 37) {
        for (size_t align = 8; align <= 4096; align *= nbytes % 64 == 0 ? 2 : 512) {
            size_t stride = mm_align_up(mm_max(nbytes, 8), align);
            struct slab_stats s;
            char *a, *b;

            open_cache(nbytes, align);
            a = get(0);
            s = stats();
            assert_int_equal(s.slabs, 1);
            if (stride <= SLAB_MAX_OBJECT) {
                assert_true((s.slab_bytes - s.capacity * stride) * 8 <= s.slab_bytes);
            }
            b = s.capacity > 1 ? get(0) : NULL;
            assert_true((uintptr_t)a % align == 0 && (uintptr_t)b % align == 0);
            assert_true(b == NULL || (size_t)(b > a ? b - a : a - b) >= nbytes);
            memset(a, 1, nbytes);
            put(0, a);
            if (b != NULL) {
                put(0, b);
            }
            close_cache();
        }
    }
}

static void refuses_what_it_cannot_serve(void **state)
{
    struct slab_params p = { .name = "thing", .nbytes = 0 };

    (void)state;
    open_cache(64, 0);
    assert_int_equal(slab_cache_init(&cache, &set, &p), MM_EINVAL);
    p.nbytes = SLAB_MAX_OBJECT + 1;
    assert_int_equal(slab_cache_init(&cache, &set, &p), MM_EINVAL);
    p.nbytes = 64;
    p.align = 48;
    assert_int_equal(slab_cache_init(&cache, &set, &p), MM_EINVAL);
    p.align = 2 * SLAB_MAX_ALIGN;
    assert_int_equal(slab_cache_init(&cache, &set, &p), MM_EINVAL);
    close_cache();
}

static void gives_back_the_last_freed_first(void **state)
{
    void *a, *b;

    (void)state;
    open_cache(64, 0);
    a = get(0);
    b = get(0);
    put(0, a);
    put(0, b);
    assert_ptr_equal(get(0), b);
    assert_ptr_equal(get(0), a);
    put(1, a); /* by another one than it came from */
    assert_ptr_equal(get(1), a);
    put(1, a);
    put(0, b);
    close_cache();
}

#define MANY 20000

static unsigned char *held[MANY];

static int by_address(const void *a, const void *b)
{
    uintptr_t x = *(const uintptr_t *)a, y = *(const uintptr_t *)b;

    return (x > y) - (x < y);
}

static void take_many(unsigned n, size_t nbytes)
{
    for (unsigned i = 0; i < n; i++) {
        held[i] = get(0);
        assert_non_null(held[i]);
        memset(held[i], (int)i, nbytes);
    }
}

static void put_many(unsigned n, size_t nbytes)
{
    for (unsigned i = 0; i < n; i++) {
        assert_int_equal(held[i][0], (unsigned char)i);
        assert_int_equal(held[i][nbytes - 1], (unsigned char)i);
        put(0, held[i]);
    }
}

/* Of slabs that are partly used, the fullest serves, so that the emptiest can become empty. */
static void empties_the_emptiest_slab(void **state)
{
    unsigned per_slab, left = 0;
    struct slab_stats s;

    (void)state;
    open_cache(512, 0);
    take_many(700, 512);
    per_slab = (unsigned)(stats().capacity / stats().slabs);
    assert_int_equal(per_slab, 7); /* 4096 - 7 * 512 = 512: header and rest */
    slab_cpu_drain(&cache, &cpus[0]);
    /* Of each slab but every tenth all go but one. */
    qsort(held, 700, sizeof(held[0]), by_address);
    for (unsigned i = 0; i < 700; i++) {
        if (left > 0 &&
            ((uintptr_t)held[left - 1] & ~(uintptr_t)4095) ==
                ((uintptr_t)held[i] & ~(uintptr_t)4095) &&
            i / 70 % 2 == 0) {
            put(0, held[i]);
        } else {
            held[left++] = held[i];
        }
    }
    slab_cpu_drain(&cache, &cpus[0]);
    slab_reclaim(&cache);
    assert_all_sound();
    s = stats();
    assert_int_equal(s.used, left);
    assert_int_equal(s.slabs, 100);
    /* One by one, as a drained magazine takes no more than it must: they come from full ones. */
    for (unsigned i = 0; i < 60; i++) {
        held[left] = get(0);
        slab_cpu_drain(&cache, &cpus[0]);
        left++;
    }
    assert_int_equal(stats().slabs, 100);
    while (left > 0) {
        put(0, held[--left]);
    }
    close_cache();
}

/* The objects of one slab begin a cache line behind those of the one before. */
static void colours_slabs(void **state)
{
    size_t seen[64] = { 0 };
    unsigned nseen = 0, n;
    uintptr_t slab = 0;

    (void)state;
    open_cache(600, 8); /* 6 to a slab of 4096: 360 bytes less the header are for colour */
    take_many(60, 600);
    n = (unsigned)(stats().capacity / stats().slabs);
    assert_int_equal(n, 6);
    qsort(held, 60, sizeof(held[0]), by_address);
    for (unsigned i = 0; i < 60; i++) {
        size_t at = (uintptr_t)held[i] % 4096;

        if (((uintptr_t)held[i] & ~(uintptr_t)4095) != slab) {
            slab = (uintptr_t)held[i] & ~(uintptr_t)4095;
            assert_true(at < 64 * MM_COUNTOF(seen));
            nseen += seen[at / 64]++ == 0;
        }
    }
    assert_true(nseen >= 3);
    for (unsigned i = 0; i < 60; i++) {
        put(0, held[i]);
    }
    close_cache();
}

/* ---- constructors ------------------------------------------------------------------------------ */

struct thing {
    uint64_t magic;
    struct thing *self;
    char rest[21];
};

static unsigned constructed;

static void construct(void *obj, void *ctx)
{
    struct thing *t = obj;

    *(unsigned *)ctx += 1;
    t->magic = 0x7468696e67;
    t->self = t;
    memset(t->rest, 'x', sizeof(t->rest));
}

static void open_things(void)
{
    const struct slab_params p = {
        .name = "thing", .nbytes = sizeof(struct thing), .ctor = construct, .ctx = &constructed
    };

    source_reset();
    constructed = 0;
    memset(cpus, 0, sizeof(cpus));
    slab_set_init(&set, &source_backing);
    assert_int_equal(slab_cache_init(&cache, &set, &p), MM_OK);
}

static void assert_constructed(const struct thing *t)
{
    assert_int_equal(t->magic, 0x7468696e67);
    assert_ptr_equal(t->self, t);
    assert_int_equal(t->rest[20], 'x');
}

static void constructs_once(void **state)
{
    struct thing *t[1000];
    unsigned before;

    (void)state;
    open_things();
    t[0] = (struct thing *)get(0);
    assert_constructed(t[0]);
    assert_true(constructed < stats().capacity); /* not those that nobody wanted */
    put(0, t[0]);
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned i = 0; i < MM_COUNTOF(t); i++) {
            t[i] = (struct thing *)get(round);
            assert_constructed(t[i]);
        }
        if (round == 0) {
            before = constructed;
        }
        for (unsigned i = 0; i < MM_COUNTOF(t); i++) {
            put(round, t[i]);
            assert_constructed(t[i]);
        }
        slab_cpu_drain(&cache, &cpus[round]);
        assert_all_sound();
        if (round == 0) {
            assert_true(constructed - before < 100);
        }
    }
    slab_reclaim(&cache);
    assert_int_equal(source.bytes >> 17, 0);
    before = constructed;
    put(0, get(0)); /* in a new slab */
    assert_true(constructed > before);
    close_cache();
}

/* ---- magazines and the depot ------------------------------------------------------------------- */

/* A user who swings by less than two magazines never comes to the depot. */
static void swings_without_a_lock(void **state)
{
    unsigned rounds;

    (void)state;
    open_cache(64, 0);
    rounds = stats().mag_rounds;
    take_many(rounds, 64);
    put_many(rounds, 64);
    cache.lock.taken = 1; /* who comes there now waits for ever */
    for (unsigned i = 0; i < 1000; i++) {
        unsigned n = 1 + i % rounds;

        take_many(n, 64);
        put_many(n, 64);
    }
    cache.lock.taken = 0;
    close_cache();
}

static void what_is_free_does_not_pile_up(void **state)
{
    struct slab_stats s;

    (void)state;
    open_cache(256, 0);
    take_many(MANY, 256);
    s = stats();
    assert_int_equal(s.used, MANY);
    assert_true(s.cpus < 2 * s.mag_rounds);
    put_many(MANY, 256);
    s = stats();
    assert_int_equal(s.used, 0);
    assert_true(s.depot * 256 <= 256 << 10);
    assert_true(s.slab_bytes < 1 << 20); /* of 5 MiB */
    assert_all_sound();
    close_cache();
}

static void objects_travel_between_cpus(void **state)
{
    (void)state;
    open_cache(48, 0);
    for (unsigned round = 0; round < 50; round++) {
        take_many(500, 48);
        for (unsigned i = 0; i < 500; i++) {
            put(1, held[i]);
        }
    }
    assert_true(stats().slabs < 60); /* cpu 0 got what cpu 1 put */
    assert_all_sound();
    close_cache();
}

/* The cache's lock, as if another processor had it until somebody waits. */
static void occupy(bool occupied)
{
    atomic_store(&cache.lock.taken, occupied ? 1 : 0);
}

static void release(void)
{
    occupy(false);
}

/* Fill and empty magazines; with the lock occupied at each visit of the depot, or at none. */
static void visit_often(bool occupied)
{
    void *p[200];

    for (unsigned i = 0; i < 4; i++) {
        for (unsigned j = 0; j < MM_COUNTOF(p); j++) {
            occupy(occupied);
            p[j] = slab_cpu_alloc(&cache, &cpus[0]);
        }
        for (unsigned j = 0; j < MM_COUNTOF(p); j++) {
            occupy(occupied);
            slab_cpu_free(&cache, &cpus[0], p[j]);
        }
    }
    occupy(false);
    slab_cpu_drain(&cache, &cpus[0]);
}

/* A cache whose lock is found taken makes larger magazines, up to a limit. */
static void magazines_grow_with_contention(void **state)
{
    unsigned before, after;

    (void)state;
    open_cache(32, 0);
    before = stats().mag_rounds;
    for (unsigned i = 0; i < 64; i++) {
        visit_often(false);
    }
    assert_int_equal(stats().mag_rounds, before); /* nobody had to wait */
    host_on_spin = release;
    for (unsigned i = 0; i < 64; i++) {
        visit_often(true);
    }
    host_on_spin = NULL;
    after = stats().mag_rounds;
    assert_true(after > 3 * before && after <= 126);
    visit_often(false);
    assert_int_equal(stats().mag_rounds, after);
    close_cache();
}

/* In a kernel: one for each processor. */
static void processors_have_their_own(void **state)
{
    const struct slab_params p = { .name = "thing", .nbytes = 40, .cpus = cpus };
    void *a, *b;

    (void)state;
    open_cache(64, 0);
    assert_int_equal(slab_cache_destroy(&cache), MM_OK);
    assert_int_equal(slab_cache_init(&cache, &set, &p), MM_OK);
    host_set_cpu(2);
    a = slab_alloc(&cache);
    assert_true(atomic_load(&cpus[2].base) != NULL);
    slab_free(&cache, a);
    host_set_cpu(1);
    b = slab_alloc(&cache);
    assert_ptr_not_equal(a, b);
    slab_free(&cache, b);
    slab_reclaim(&cache); /* the processor's own magazines too */
    assert_null(atomic_load(&cpus[1].base));
    assert_non_null(atomic_load(&cpus[2].base));
    host_set_cpu(0);
    close_cache();
}

/* ---- memory is short --------------------------------------------------------------------------- */

/* Every call to the backing is refused in turn: what then can't be had is NULL, no more. */
static void each_refusal_in_turn(void **state)
{
    size_t calls = 1;

    (void)state;
    for (size_t at = 0; at < calls; at++) {
        unsigned refused = 0;

        open_cache(300, 0);
        source.refuse_at = at;
        for (unsigned i = 0; i < 400; i++) {
            held[i] = get(i % CPUS);
            refused += held[i] == NULL;
        }
        assert_true(refused <= 1);
        assert_all_sound();
        for (unsigned i = 0; i < 400; i++) {
            if (held[i] != NULL) {
                put((i + 1) % CPUS, held[i]);
            }
        }
        assert_int_equal(stats().used, 0);
        calls = source.calls;
        close_cache();
    }
    assert_true(calls > 30);
}

/* There is memory for one slab of objects, and none for magazines: all can be had, all go back. */
static void works_without_magazines(void **state)
{
    unsigned n = 0;
    void *p;

    (void)state;
    open_cache(128, 0);
    source.limit = 4096;
    source.refuse_at = 0;
    while ((p = get(0)) != NULL) {
        assert_true(n < 32);
        held[n++] = p;
    }
    assert_int_equal(n, stats().capacity);
    assert_int_equal(n, 31);
    assert_all_sound();
    assert_panics(put(0, held[0] + 16), "inside an object");
    for (unsigned i = 0; i < n; i++) {
        put(0, held[i]);
    }
    assert_int_equal(stats().used, 0);
    assert_panics(put(0, held[0]), "freed already");
    close_cache();
}

/* What one cache does not use another one gets. */
static void caches_help_each_other(void **state)
{
    const struct slab_params p = { .name = "other", .nbytes = 1000 };
    static struct slab_cache other;
    static struct slab_cpu other_cpu;
    void *q[400];

    (void)state;
    open_cache(500, 0);
    assert_int_equal(slab_cache_init(&other, &set, &p), MM_OK);
    source.limit = 40 * 8192;
    for (unsigned round = 0; round < 3; round++) {
        unsigned n = 0;

        take_many(500, 500);
        put_many(500, 500);
        slab_cpu_drain(&cache, &cpus[0]);
        while (n < MM_COUNTOF(q) && (q[n] = slab_cpu_alloc(&other, &other_cpu)) != NULL) {
            n++;
        }
        assert_true(n > 250 && n < 320); /* 8 to a slab of 8192; magazines need some, too */
        assert_sound(slab_check(&other));
        assert_all_sound();
        while (n > 0) {
            slab_cpu_free(&other, &other_cpu, q[--n]);
        }
        slab_cpu_drain(&other, &other_cpu);
    }
    assert_int_equal(slab_cache_destroy(&other), MM_OK);
    close_cache();
}

static void reclaim_returns_everything(void **state)
{
    (void)state;
    open_cache(100, 0);
    take_many(5000, 100);
    put_many(5000, 100);
    assert_true(stats().slabs > 0);
    slab_cpu_drain(&cache, &cpus[0]);
    assert_true(slab_set_reclaim(&set) > 0);
    assert_int_equal(stats().slabs, 0);
    assert_int_equal(source.bytes, 0);
    assert_int_equal(slab_set_reclaim(&set), 0);
    assert_all_sound();
    put(0, get(0));
    close_cache();
}

static bool count_used(void *ctx, void *obj, bool used)
{
    (void)obj;
    *(size_t *)ctx += used;
    return true;
}

static bool stop_at_once(void *ctx, void *obj, bool used)
{
    (void)obj;
    (void)used;
    *(size_t *)ctx += 1;
    return false;
}

static bool find_leak(void *ctx, void *obj, bool used)
{
    if (used) {
        *(void **)ctx = obj;
    }
    return true;
}

static void destroy_shows_leaks(void **state)
{
    size_t n = 0;
    void *leak = NULL;

    (void)state;
    open_cache(72, 0);
    take_many(100, 72);
    for (unsigned i = 1; i < 100; i++) {
        put(i % CPUS, held[i]);
    }
    assert_int_equal(slab_cache_destroy(&cache), MM_EBUSY);
    slab_for_each(&cache, count_used, &n);
    assert_int_equal(n, 1);
    slab_for_each(&cache, find_leak, &leak);
    assert_ptr_equal(leak, held[0]);
    n = 0;
    slab_for_each(&cache, stop_at_once, &n);
    assert_int_equal(n, 1);
    put(0, leak);
    close_cache();
}

/* ---- against a model --------------------------------------------------------------------------- */

#define MODEL_MOST 3000

/* An object that is in use: its contents say whose it is. */
struct owned {
    uint64_t *p;
    uint64_t stamp;
};

static struct owned owned[MODEL_MOST];

static void write_stamp(const struct owned *o, size_t nbytes)
{
    for (size_t i = 0; i < nbytes / 8; i++) {
        o->p[i] = o->stamp + i;
    }
}

static void assert_stamp(const struct owned *o, size_t nbytes)
{
    for (size_t i = 0; i < nbytes / 8; i++) {
        assert_int_equal(o->p[i], o->stamp + i);
    }
}

static void random_walk(struct host_rng *r, size_t nbytes, unsigned steps)
{
    unsigned n = 0, most = 1 + (unsigned)host_rng_below(r, MODEL_MOST);
    size_t seen = 0;

    open_cache(nbytes, 8);
    source.limit = (size_t)4 << 20;
    for (unsigned step = 0; step < steps; step++) {
        unsigned what = (unsigned)host_rng_below(r, 1000);
        unsigned cpu = (unsigned)host_rng_below(r, CPUS);
        /* It swings: for a while there is more taking than freeing, then the other way. */
        unsigned grow = step / 1500 % 2 == 0 ? 600 : 380;

        if (what < grow && n < most) {
            struct owned o = { get(cpu), host_rng_next(r) };

            if (o.p != NULL) {
                write_stamp(&o, nbytes);
                owned[n++] = o;
            }
        } else if (what < 980 && n > 0) {
            unsigned i = (unsigned)host_rng_below(r, n);
            struct owned o = owned[i];

            assert_stamp(&o, nbytes);
            owned[i] = owned[--n];
            put(cpu, o.p);
        } else if (what < 990) {
            slab_cpu_drain(&cache, &cpus[cpu]);
        } else if (what < 993) {
            slab_reclaim(&cache);
        } else if (what < 995) {
            source.refuse_at = source.calls;
        }
        if (step % 64 == 0) {
            assert_int_equal(stats().used, n);
            assert_all_sound();
        }
    }
    seen = 0;
    slab_for_each(&cache, count_used, &seen);
    assert_int_equal(seen, n);
    while (n > 0) {
        assert_stamp(&owned[--n], nbytes);
        put(n % CPUS, owned[n].p);
    }
    close_cache();
}

static void model(void **state)
{
    static const size_t sizes[] = { 8, 16, 40, 64, 200, 512, 1024, 1536, 4096, 8192 };
    struct host_rng r = host_rng_make("test_slab");

    (void)state;
    for (unsigned i = 0; i < MM_COUNTOF(sizes); i++) {
        random_walk(&r, sizes[i], sizes[i] > 1000 ? 6000 : 12000);
    }
}

/* ---- what stops the machine -------------------------------------------------------------------- */

static void stops_at_a_second_free(void **state)
{
    void *a, *b;

    (void)state;
    open_cache(64, 0);
    a = get(0);
    b = get(0);
    put(0, a);
    assert_panics(put(0, a), "it was freed already");
    put(0, b);
    assert_panics(put(0, a), "slab \"thing\": free(0x"); /* not the last one */
    assert_panics(put(1, a), "it was freed already");    /* elsewhere */
    slab_cpu_drain(&cache, &cpus[0]);
    assert_panics(put(1, a), "it was freed already"); /* it is in its slab */
    a = get(0);
    put(0, a);
    for (unsigned i = 0; i < 500; i++) {
        held[i] = get(2);
        memset(held[i], 0xab, 64);
    }
    for (unsigned i = 0; i < 500; i++) {
        put(2, held[i]);
    }
    assert_panics(put(1, held[3]), "it was freed already"); /* it is in the depot */
    close_cache();
}

/* With a constructor the mark is behind the object. */
static void stops_at_a_second_free_of_the_constructed(void **state)
{
    void *a;

    (void)state;
    open_things();
    a = get(0);
    put(0, a);
    assert_panics(put(1, a), "it was freed already");
    slab_cpu_drain(&cache, &cpus[0]);
    assert_panics(put(0, a), "it was freed already");
    a = get(0);
    memset(a, 0, sizeof(struct thing)); /* all of an object is the user's */
    construct(a, &constructed);
    put(0, a);
    assert_constructed(a);
    close_cache();
}

/* Two that free the same object in the same moment: neither sees the other's mark. */
static void stops_at_two_frees_at_once(void **state)
{
    uint64_t *a;

    (void)state;
    open_cache(64, 0);
    a = get(0);
    put(0, a);
    *a = 0;
    put(1, a);
    assert_ptr_equal(get(1), a);
    assert_panics((void)get(0), "a free object was written to, or freed twice at once");

    open_cache(64, 0);
    a = get(0);
    put(0, a);
    *a = 0;
    put(1, a);
    assert_non_null(slab_check(&cache));
    slab_cpu_drain(&cache, &cpus[0]);
    assert_panics(slab_cpu_drain(&cache, &cpus[1]), "it was freed already");
}

static struct slab_cache other;
static struct slab_cpu other_cpu;

static void open_other(void)
{
    const struct slab_params p = { .name = "other", .nbytes = 64 };

    memset(&other_cpu, 0, sizeof(other_cpu));
    assert_int_equal(slab_cache_init(&other, &set, &p), MM_OK);
}

__attribute__((noinline)) static void *get_other(void)
{
    return slab_cpu_alloc(&other, &other_cpu);
}

__attribute__((noinline)) static void put_other(void *obj)
{
    slab_cpu_free(&other, &other_cpu, obj);
}

static void stops_at_what_is_no_object(void **state)
{
    static char page[3 * 4096] __attribute__((aligned(4096)));
    char *a, *b;

    (void)state;
    open_cache(80, 0);
    open_other();
    a = get(0);
    b = get_other();
    assert_panics(put(0, a + 1), "it lies inside an object");
    assert_panics(put(0, a + 16), "it lies inside an object");
    assert_panics(put(0, a - 64), "it lies inside an object");
    assert_panics(put(0, (void *)((uintptr_t)a & ~UINT64_C(4095))), "beside the objects");
    assert_panics(put(0, (void *)(((uintptr_t)a & ~UINT64_C(4095)) + 32)), "beside the objects");
    assert_panics(put(0, (void *)(((uintptr_t)a & ~UINT64_C(4095)) + 4095)), "beside the objects");
    assert_panics(put(0, b), "it is no object of this cache");
    assert_panics(put_other(a), "slab \"other\"");
    assert_panics(put(0, page + 4096 + 80), "it is no object of this cache");
    assert_panics(put(0, page + 4096), "it is no object of this cache");
    put(0, a);
    put_other(b);
    assert_int_equal(slab_cache_destroy(&other), MM_OK);
    close_cache();
}

static void stops_at_another_caches_cpu(void **state)
{
    (void)state;
    open_cache(80, 0);
    open_other();
    put(0, get(0));
    while (stats().cpus > 0) {
        held[0] = get(0);
    }
    assert_panics(held[0] = slab_cpu_alloc(&other, &cpus[0]), "cpu->cache == c");
}

static void stops_at_a_write_after_free(void **state)
{
    uint64_t *a;

    (void)state;
    open_cache(64, 0);
    a = get(0);
    put(0, a);
    *a ^= 1;
    assert_string_equal(slab_check(&cache), "S5: a free object in a magazine was written to");
    assert_panics((void)get(0), "a free object was written to");
    *a ^= 1;
    slab_cpu_drain(&cache, &cpus[0]);
    *a ^= 1;
    assert_string_equal(slab_check(&cache), "S4: a free object was written to");
    assert_panics((void)get(0), "a free object was written to");

    open_things();
    a = get(0);
    put(0, a);
    memset(a, 0, sizeof(struct thing) + 8); /* over its end */
    assert_panics((void)get(0), "a free object was written to");
}

/* The header of the only slab, which begins at a multiple of 4096; by hand, from slab.c: cache,
 * first and span, then at 64 next, prev, counts, nonempty, seal, and the bitmap behind them. */
static uint64_t *header(const void *obj)
{
    return (uint64_t *)((uintptr_t)obj & ~UINT64_C(4095));
}

/* A slab whose header has a bit wrong in word `at`. Returns an object of it. */
static void *damage_header(unsigned at, const char *found)
{
    void *a;

    open_cache(64, 0);
    a = get(0);
    header(a)[at] ^= 0x10;
    assert_string_equal(slab_check(&cache), found);
    return a;
}

static void damage_as_seen_at_once(unsigned at, const char *says)
{
    void *a = damage_header(at, "S1: the header of a slab is damaged");

    assert_panics(put(0, a), says);
}

static void damage_as_seen_later(unsigned at, const char *found, const char *says)
{
    put(0, damage_header(at, found));
    assert_panics(slab_cpu_drain(&cache, &cpus[0]), says);
}

static void stops_at_a_damaged_header(void **state)
{
    (void)state;
    damage_as_seen_at_once(0, "the header of its slab is damaged");
    damage_as_seen_at_once(1, "it was never given");
    damage_as_seen_later(2, "S1: the header of a slab is damaged", "the header of a slab");
    for (unsigned at = 8; at < 13; at++) {
        damage_as_seen_later(at, "S1: the header of a slab is damaged", "the header of a slab");
    }
    for (unsigned at = 13; at < 15; at++) {
        damage_as_seen_later(at, "S2: a word of a slab's bitmap is damaged", "the bitmap of a");
    }
}

/* A neighbour in a list is looked at before its links are changed. */
static void stops_at_a_damaged_neighbour(void **state)
{
    (void)state;
    open_cache(1024, 0); /* 7 to a slab of 8192 */
    take_many(14, 1024); /* two slabs, both in the list of full ones */
    assert_true((uintptr_t)held[0] >> 13 != (uintptr_t)held[13] >> 13);
    slab_cpu_drain(&cache, &cpus[0]);
    put(0, held[13]);
    ((uint64_t *)((uintptr_t)held[0] & ~UINT64_C(8191)))[8] ^= 0x40;
    assert_panics(slab_cpu_drain(&cache, &cpus[0]), "the header of a slab is damaged");
}

static void stops_at_a_bad_backing(void **state)
{
    struct mm_backing b = source_backing;

    (void)state;
    open_cache(64, 0);
    b.grain = 1 << 20;
    assert_panics(slab_set_init(&set, &b), "err == MM_OK");
}

/* ---- the check sees what is wrong -------------------------------------------------------------- */

static void check_sees_damage(void **state)
{
    void *a, *b;

    (void)state;
    open_cache(64, 0);
    a = get(0);
    b = get(0);
    assert_all_sound();
    cache.nslabs++;
    assert_string_equal(slab_check(&cache), "S3: the totals are wrong");
    cache.nslabs -= 2;
    assert_string_equal(slab_check(&cache), "S3: there are more slabs than are counted");
    cache.nslabs++;
    cache.nout++;
    assert_string_equal(slab_check(&cache), "S3: the totals are wrong");
    cache.nout--;
    for (unsigned i = 0; i < 4; i++) {
        if (cache.lists[i] != NULL) {
            cache.lists[5] = cache.lists[i];
            cache.lists[i] = NULL;
        }
    }
    assert_string_equal(slab_check(&cache), "S1: a slab is in the wrong list");

    open_cache(64, 0);
    a = get(0);
    b = get(0);
    put(0, a);
    cpus[0].top[-1] = b;
    assert_string_equal(slab_check(&cache), "S5: a free object in a magazine was written to");
    cpus[0].top[-1] = (char *)a + 8;
    assert_string_equal(slab_check(&cache),
                        "S5: a magazine holds what is in a slab, or is no object");
    cpus[0].top[-1] = a;
    cpus[0].top--;
    assert_string_equal(slab_check(&cache), "S5: an object is free in two magazines, or in none");
    cpus[0].top++;
    cpus[0].cache = NULL;
    assert_string_equal(slab_check(&cache),
                        "S7: a struct slab_cpu is linked wrongly, or does not know its cache");
    cpus[0].cache = &cache;
    cache.nfull++;
    assert_string_equal(slab_check(&cache), "S6: the depot has less magazines than are counted");
    cache.nfull--;
    put(0, b);
    close_cache();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wastes_an_eighth_at_most),
        cmocka_unit_test(refuses_what_it_cannot_serve),
        cmocka_unit_test(gives_back_the_last_freed_first),
        cmocka_unit_test(empties_the_emptiest_slab),
        cmocka_unit_test(colours_slabs),
        cmocka_unit_test(constructs_once),
        cmocka_unit_test(swings_without_a_lock),
        cmocka_unit_test(what_is_free_does_not_pile_up),
        cmocka_unit_test(objects_travel_between_cpus),
        cmocka_unit_test(magazines_grow_with_contention),
        cmocka_unit_test(processors_have_their_own),
        cmocka_unit_test(each_refusal_in_turn),
        cmocka_unit_test(works_without_magazines),
        cmocka_unit_test(caches_help_each_other),
        cmocka_unit_test(reclaim_returns_everything),
        cmocka_unit_test(destroy_shows_leaks),
        cmocka_unit_test(model),
        cmocka_unit_test(stops_at_a_second_free),
        cmocka_unit_test(stops_at_a_second_free_of_the_constructed),
        cmocka_unit_test(stops_at_two_frees_at_once),
        cmocka_unit_test(stops_at_what_is_no_object),
        cmocka_unit_test(stops_at_another_caches_cpu),
        cmocka_unit_test(stops_at_a_write_after_free),
        cmocka_unit_test(stops_at_a_damaged_header),
        cmocka_unit_test(stops_at_a_damaged_neighbour),
        cmocka_unit_test(stops_at_a_bad_backing),
        cmocka_unit_test(check_sees_damage),
    };

    int failed = cmocka_run_group_tests(tests, NULL, NULL);

    source_reset();
    return failed;
}
