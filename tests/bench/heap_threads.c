/*
 * heap_threads.c - several threads at one allocator.
 *
 * Larson and Krishnan's server (1998): each thread holds blocks, and frees one at random and
 * allocates another in its stead; now and then it hands all of them to the next thread, which goes
 * on in the same way, and so frees what another allocated.
 *
 * The pipe: one thread allocates, the other frees, and blocks travel in a ring between them.
 *
 * The time is what a thread has run, for one of its operations, the mean of the threads: perfect
 * scaling leaves it as it was with one. Every block carries its address at its start and its size
 * at its end, both of which must be there when it is freed.
 */
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <string.h>

#include "heap_bench.h"

#define MAX_THREADS 2
#define HELD        4096 /* blocks of a thread */
#define HANDOVERS   80
#define CHOICES     8192 /* made before the time runs; operations between two looks at the clock */
#define MIN_SIZE    16
#define MAX_SIZE    1024
#define RING        1024 /* blocks on their way */
#define PIPED       (HANDOVERS * CHOICES)

struct choice {
    uint32_t slot;
    uint32_t nbytes;
};

/* At the start of a block. */
struct mark {
    const unsigned char *at;
    uint32_t nbytes;
};

/* Both ends in cache lines of their own. */
struct ring {
    _Alignas(64) atomic_uint head;
    _Alignas(64) atomic_uint tail;
    _Alignas(64) unsigned char *blocks[RING];
};

struct ground {
    struct job *job;
    const struct heap_allocator *a;
    void *self;
    struct meeting meeting;
    double end; /* when to stop at the latest */
    bool stop;  /* set by thread 0 while the others wait for it */
    unsigned char *held[MAX_THREADS][HELD];
    struct ring ring;
};

struct worker {
    struct ground *g;
    unsigned thread;
    uint64_t nops;
    double ns; /* for one of them */
    struct choice choices[CHOICES];
};

static struct ground ground;
static struct worker workers[MAX_THREADS];

static unsigned char *take(struct ground *g, uint32_t nbytes)
{
    unsigned char *block = g->a->alloc(g->self, nbytes);

    if (block == NULL) {
        job_wrong(g->job, "refuses %" PRIu32 " bytes", nbytes);
    }
    ((struct mark *)block)->at = block;
    ((struct mark *)block)->nbytes = nbytes;
    memcpy(block + nbytes - sizeof(nbytes), &nbytes, sizeof(nbytes));
    return block;
}

static void give(struct ground *g, unsigned char *block)
{
    uint32_t nbytes = ((struct mark *)block)->nbytes;
    uint32_t last = 0;

    if (((struct mark *)block)->at == block && nbytes <= MAX_SIZE) {
        memcpy(&last, block + nbytes - sizeof(last), sizeof(last));
    }
    if (last == 0 || last != nbytes) {
        job_wrong(g->job, "two threads had the same memory");
    }
    g->a->free(g->self, block);
}

static void larson(struct worker *w)
{
    struct ground *g = w->g;
    unsigned n = g->job->nthreads;
    unsigned round = 0;
    double spent = 0;

    for (unsigned i = 0; i < HELD; i++) {
        g->held[w->thread][i] = take(g, w->choices[i].nbytes);
    }
    meet_others(&g->meeting, n);
    while (round < HANDOVERS && !g->stop) {
        unsigned char **held = g->held[(w->thread + round) % n];
        double start = thread_ns();

        for (unsigned i = 0; i < CHOICES; i++) {
            struct choice c = w->choices[i];

            give(g, held[c.slot]);
            held[c.slot] = take(g, c.nbytes);
        }
        spent += thread_ns() - start;
        round++;
        meet_others(&g->meeting, n);
        if (w->thread == 0) {
            g->stop = now_ns() > g->end;
        }
        meet_others(&g->meeting, n);
    }
    w->nops = UINT64_C(2) * round * CHOICES;
    w->ns = spent / (double)w->nops;
}

/* NULL is the last, beyond PIPED blocks or the time. */
static void produce(struct worker *w)
{
    struct ring *r = &w->g->ring;
    unsigned char *block;
    unsigned i = 0;

    do {
        bool more = i < PIPED && (i % CHOICES != 0 || now_ns() <= w->g->end);

        block = more ? take(w->g, w->choices[i % CHOICES].nbytes) : NULL;
        for (unsigned spins = 0; i - atomic_load_explicit(&r->tail, memory_order_acquire) == RING;
             spins++) {
            relax(spins);
        }
        r->blocks[i % RING] = block;
        atomic_store_explicit(&r->head, ++i, memory_order_release);
    } while (block != NULL);
    w->nops = i - 1;
}

static void consume(struct worker *w)
{
    struct ring *r = &w->g->ring;
    unsigned char *block;
    unsigned i = 0;

    do {
        for (unsigned spins = 0; atomic_load_explicit(&r->head, memory_order_acquire) == i;
             spins++) {
            relax(spins);
        }
        block = r->blocks[i % RING];
        atomic_store_explicit(&r->tail, ++i, memory_order_release);
        if (block != NULL) {
            give(w->g, block);
        }
    } while (block != NULL);
    w->nops = i - 1;
}

static void pipe_blocks(struct worker *w)
{
    meet_others(&w->g->meeting, w->g->job->nthreads);
    double start = thread_ns();

    if (w->thread == 0) {
        produce(w);
    } else {
        consume(w);
    }
    w->ns = (thread_ns() - start) / (double)w->nops;
}

uint64_t threads_nops(enum job_kind kind)
{
    return kind == JOB_LARSON ? UINT64_C(2) * HANDOVERS * CHOICES : PIPED;
}

static void *thread_main(void *arg)
{
    struct worker *w = arg;
    struct ground *g = w->g;
    struct host_rng rng = { w->thread + 1 };

    pin(w->thread);
    if (g->a->enter != NULL) {
        g->a->enter(g->self, w->thread);
    }
    for (unsigned i = 0; i < CHOICES; i++) {
        w->choices[i] = (struct choice){
            (uint32_t)rng_below(&rng, HELD),
            MIN_SIZE + (uint32_t)rng_below(&rng, MAX_SIZE - MIN_SIZE + 1),
        };
    }
    if (g->job->kind == JOB_LARSON) {
        larson(w);
    } else {
        pipe_blocks(w);
    }
    return NULL;
}

void run_threads(struct job *j, const struct heap_allocator *a, void *self)
{
    pthread_t threads[MAX_THREADS];
    double ns = 0;

    ground.job = j;
    ground.a = a;
    ground.self = self;
    ground.end = now_ns() + j->limit;
    for (unsigned i = 0; i < j->nthreads; i++) {
        workers[i].g = &ground;
        workers[i].thread = i;
        if (i > 0 && pthread_create(&threads[i], NULL, thread_main, &workers[i]) != 0) {
            fail("pthread_create: %s", strerror(errno));
        }
    }
    thread_main(&workers[0]);
    for (unsigned i = 0; i < j->nthreads; i++) {
        if (i > 0) {
            pthread_join(threads[i], NULL);
        }
        ns += workers[i].ns / j->nthreads;
    }
    job_set(j, VALUE_TIME, ns);
    if (workers[0].nops < threads_nops(j->kind)) {
        j->cut = workers[0].nops;
    }
}
