/*
 * test_slab_threads.c - one cache used by several threads, and by processors with interrupts.
 *
 * Every thread writes to all of each object it has, without any care, and finds later what it
 * wrote: an object that is given twice, or touched while it is somebody's, shows. Objects change
 * hands through boxes, so many are freed by others than have allocated them. The program is also
 * built with ThreadSanitizer (see Makefile), which sees whether free and alloc order the owners'
 * writes.
 */
#include "slab_fixture.h"

#define THREADS 4
#define MOST    400 /* objects that a thread has at a time */
#define NBOXES  16
#define WORDS   5

#ifdef HOST_TSAN
#define STEPS 100000
#else
#define STEPS 500000
#endif

static struct slab_set set;
static struct slab_cache cache;
static struct slab_cpu cpus[THREADS];
static uint64_t *_Atomic boxes[NBOXES];
static _Atomic unsigned errors, running, interrupts;

/* cmocka's assertions work in the main thread only. */
#define expect(cond)                                                                               \
    do {                                                                                           \
        if (!(cond)) {                                                                             \
            fprintf(stderr, "line %d: not so: %s\n", __LINE__, #cond);                             \
            atomic_fetch_add(&errors, 1);                                                          \
        }                                                                                          \
    } while (0)

struct worker {
    unsigned number;
    struct slab_cpu cpu; /* a thread's own */
    struct host_rng rng;
    uint64_t *held[MOST];
    unsigned n;
};

static struct worker workers[THREADS];

static void open_cache(bool per_cpu)
{
    const struct slab_params p = {
        .name = "thing", .nbytes = WORDS * 8, .align = 8, .cpus = per_cpu ? cpus : NULL
    };

    source_reset();
    memset(cpus, 0, sizeof(cpus));
    slab_set_init(&set, &source_backing);
    assert_int_equal(slab_cache_init(&cache, &set, &p), MM_OK);
    atomic_store(&errors, 0);
}

static void close_cache(void)
{
    assert_int_equal(atomic_load(&errors), 0);
    assert_sound(slab_check(&cache));
    assert_sound(slab_set_check(&set));
    assert_int_equal(slab_cache_destroy(&cache), MM_OK);
    slab_set_reclaim(&set);
    assert_int_equal(source.bytes, 0);
}

static void stamp(uint64_t *obj, unsigned who)
{
    for (unsigned i = 0; i < WORDS; i++) {
        obj[i] = (uintptr_t)obj + who + i;
    }
}

static void expect_stamp(const uint64_t *obj, unsigned who)
{
    for (unsigned i = 0; i < WORDS; i++) {
        expect(obj[i] == (uintptr_t)obj + who + i);
    }
}

/* Leave one in a box, and take what was there. */
static uint64_t *exchange(struct worker *w, uint64_t *obj)
{
    if (obj != NULL) {
        expect_stamp(obj, w->number);
        stamp(obj, THREADS);
    }
    obj = atomic_exchange_explicit(&boxes[host_rng_below(&w->rng, NBOXES)], obj,
                                   memory_order_acq_rel);
    if (obj != NULL) {
        expect_stamp(obj, THREADS);
        stamp(obj, w->number);
    }
    return obj;
}

static void step(struct worker *w, uint64_t *(*get)(struct worker *),
                 void (*put)(struct worker *, uint64_t *), bool grow)
{
    uint64_t what = host_rng_below(&w->rng, 100);

    if (what < (grow ? 55 : 30) && w->n < MOST) {
        uint64_t *obj = get(w);

        expect(obj != NULL);
        stamp(obj, w->number);
        w->held[w->n++] = obj;
    } else if (what < 85 && w->n > 0) {
        unsigned i = (unsigned)host_rng_below(&w->rng, w->n);
        uint64_t *obj = w->held[i];

        expect_stamp(obj, w->number);
        w->held[i] = w->held[--w->n];
        put(w, obj);
    } else if (w->n > 0) {
        uint64_t *obj = exchange(w, w->held[w->n - 1]);

        if (obj != NULL) {
            w->held[w->n - 1] = obj;
        } else {
            w->n--;
        }
    }
}

static void put_all(struct worker *w, void (*put)(struct worker *, uint64_t *))
{
    for (unsigned i = 0; i < NBOXES; i++) {
        uint64_t *obj = atomic_exchange_explicit(&boxes[i], NULL, memory_order_acq_rel);

        if (obj != NULL) {
            expect_stamp(obj, THREADS);
            put(w, obj);
        }
    }
    while (w->n > 0) {
        expect_stamp(w->held[--w->n], w->number);
        put(w, w->held[w->n]);
    }
}

static void run(void *(*body)(void *), struct host_rng *rng)
{
    pthread_t threads[THREADS];

    atomic_store(&running, THREADS);
    for (unsigned i = 0; i < THREADS; i++) {
        workers[i] = (struct worker){ .number = i, .rng = { host_rng_next(rng) } };
        assert_int_equal(pthread_create(&threads[i], NULL, body, &workers[i]), 0);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
}

/* ---- threads with their own struct slab_cpu ---------------------------------------------------- */

static uint64_t *thread_get(struct worker *w)
{
    return slab_cpu_alloc(&cache, &w->cpu);
}

static void thread_put(struct worker *w, uint64_t *obj)
{
    slab_cpu_free(&cache, &w->cpu, obj);
}

static void *thread_body(void *arg)
{
    struct worker *w = arg;

    for (unsigned i = 0; i < STEPS && atomic_load(&errors) == 0; i++) {
        struct slab_stats s;

        step(w, thread_get, thread_put, i / 1000 % 2 == 0);
        switch (host_rng_below(&w->rng, 4000)) {
        case 0:
            slab_reclaim(&cache);
            break;
        case 1:
            slab_set_reclaim(&set);
            break;
        case 2:
            slab_get_stats(&cache, &s);
            expect(s.used <= (THREADS * MOST + NBOXES) + THREADS * 2 * 126);
            break;
        case 3:
            slab_cpu_drain(&cache, &w->cpu); /* a thread ends, and another begins */
            break;
        default:
            break;
        }
    }
    put_all(w, thread_put);
    slab_cpu_drain(&cache, &w->cpu);
    return NULL;
}

static void threads(void **state)
{
    struct host_rng rng = host_rng_make("test_slab_threads");
    struct slab_stats s;

    (void)state;
    open_cache(false);
    run(thread_body, &rng);
    slab_get_stats(&cache, &s);
    assert_int_equal(s.cpus, 0);
    /* The last one may have looked into a box before another filled it. */
    put_all(&workers[0], thread_put);
    slab_cpu_drain(&cache, &workers[0].cpu);
    slab_get_stats(&cache, &s);
    assert_int_equal(s.used, 0);
    close_cache();
}

/* One gives, another frees: all objects go one way, and all magazines come back. */
static void *producer_body(void *arg)
{
    struct worker *w = arg;

    if (w->number % 2 == 0) {
        for (unsigned i = 0; i < STEPS / 2 && atomic_load(&errors) == 0;) {
            uint64_t *_Atomic *box = &boxes[(w->number / 2) * (NBOXES / 2) + i % (NBOXES / 2)];
            uint64_t *obj;

            if (atomic_load_explicit(box, memory_order_acquire) != NULL) {
                sched_yield();
                continue;
            }
            obj = thread_get(w);
            stamp(obj, w->number);
            atomic_store_explicit(box, obj, memory_order_release);
            i++;
        }
        atomic_fetch_sub(&running, 1);
    } else {
        bool last = false;

        while (!last) {
            last = atomic_load(&running) == THREADS / 2;
            for (unsigned i = 0; i < NBOXES / 2; i++) {
                uint64_t *obj = atomic_exchange_explicit(&boxes[(w->number / 2) * (NBOXES / 2) + i],
                                                         NULL, memory_order_acq_rel);

                if (obj != NULL) {
                    expect_stamp(obj, w->number - 1);
                    thread_put(w, obj);
                }
            }
            if (!last) {
                sched_yield();
            }
        }
    }
    slab_cpu_drain(&cache, &w->cpu);
    return NULL;
}

static void producers_and_consumers(void **state)
{
    struct host_rng rng = host_rng_make("test_slab_threads");
    struct slab_stats s;

    (void)state;
    open_cache(false);
    run(producer_body, &rng);
    slab_get_stats(&cache, &s);
    assert_int_equal(s.used, 0);
    assert_true(s.slabs < 200); /* what was freed was used again */
    close_cache();
}

/* ---- processors, and what interrupts them ------------------------------------------------------ */

static uint64_t *cpu_get(struct worker *w)
{
    (void)w;
    return slab_alloc(&cache);
}

static void cpu_put(struct worker *w, uint64_t *obj)
{
    (void)w;
    slab_free(&cache, obj);
}

static _Thread_local uint64_t *in_handler[8];
static _Thread_local unsigned turn;

static void handler(void)
{
    uint64_t **slot = &in_handler[turn++ % MM_COUNTOF(in_handler)];

    atomic_fetch_add(&interrupts, 1);
    if (*slot != NULL) {
        expect_stamp(*slot, 99);
        slab_free(&cache, *slot);
    }
    *slot = slab_alloc(&cache);
    expect(*slot != NULL);
    stamp(*slot, 99);
}

static void *cpu_body(void *arg)
{
    struct worker *w = arg;

    host_set_cpu(w->number);
    host_interrupts(handler, 50000);
    for (unsigned i = 0; i < STEPS && atomic_load(&errors) == 0; i++) {
        step(w, cpu_get, cpu_put, i / 1000 % 2 == 0);
        if (host_rng_below(&w->rng, 4000) == 0) {
            slab_reclaim(&cache);
        }
    }
    host_interrupts(NULL, 0);
    put_all(w, cpu_put);
    for (unsigned i = 0; i < MM_COUNTOF(in_handler); i++) {
        if (in_handler[i] != NULL) {
            slab_free(&cache, in_handler[i]);
        }
    }
    return NULL;
}

static void processors_and_interrupts(void **state)
{
    struct host_rng rng = host_rng_make("test_slab_threads");

    (void)state;
    open_cache(true);
    run(cpu_body, &rng);
    put_all(&workers[0], cpu_put);
    assert_true(atomic_load(&interrupts) > 0);
    close_cache();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(threads),
        cmocka_unit_test(producers_and_consumers),
        cmocka_unit_test(processors_and_interrupts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
