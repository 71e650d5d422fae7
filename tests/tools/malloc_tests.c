/*
 * malloc_tests.c - what any malloc must do, and how ours dies: a test each, by name.
 *
 *     malloc_tests NAME...
 *
 * Nothing here knows whose malloc it is, but for the checks of ours, which are there only in a
 * program that is linked with libplatmalloc.a. test_platmalloc.py runs it.
 */
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define MIB (UINT64_C(1) << 20)

#define CHECK(cond)                                                                                \
    do {                                                                                           \
        if (!(cond)) {                                                                             \
            fprintf(stderr, "%s:%d: %s\n", __func__, __LINE__, #cond);                             \
            _exit(1);                                                                              \
        }                                                                                          \
    } while (0)

extern const char *span_check(void) __attribute__((weak));
extern const char *heap_check(void) __attribute__((weak));

/* So that the compiler knows nothing of what it is given. */
static void *hidden(void *ptr)
{
    __asm__ volatile("" : "+r"(ptr));
    return ptr;
}

static void check_all(void)
{
    const char *broken = span_check != NULL ? span_check() : NULL;

    broken = broken == NULL && heap_check != NULL ? heap_check() : broken;
    if (broken != NULL) {
        fprintf(stderr, "broken: %s\n", broken);
        _exit(1);
    }
}

static uint64_t next_random(uint64_t *state)
{
    *state += UINT64_C(0x9e3779b97f4a7c15);
    uint64_t x = *state;
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

/* Mostly small; up to 1 MiB. */
static size_t random_size(uint64_t *state)
{
    uint64_t r = next_random(state);
    unsigned log = (unsigned)(r % 64 < 48 ? r >> 8 & 7 : r % 64 < 62 ? r >> 8 & 15 : 19);

    return (size_t)(next_random(state) % (UINT64_C(2) << log));
}

static void fill(unsigned char *p, size_t nbytes, unsigned char with)
{
    memset(p, with, nbytes);
}

static bool is_filled(const unsigned char *p, size_t nbytes, unsigned char with)
{
    for (size_t i = 0; i < nbytes; i++) {
        if (p[i] != with) {
            return false;
        }
    }
    return true;
}

static uint64_t resident(void)
{
    unsigned long pages = 0;
    char text[64] = "";
    int fd = open("/proc/self/statm", O_RDONLY);

    CHECK(fd >= 0 && read(fd, text, sizeof(text) - 1) > 0);
    close(fd);
    CHECK(sscanf(text, "%*u %lu", &pages) == 1);
    return pages * 4096;
}

/* ---- what is promised ------------------------------------------------------------------------ */

static void sizes(void)
{
    enum { STEPS = 600 };
    static unsigned char *blocks[STEPS];
    static size_t nbytes[STEPS];

    for (unsigned i = 0; i < STEPS; i++) {
        nbytes[i] = i < 300 ? i : i < 400 ? (i - 299) * 512 - 1 : (i - 399) * 4097;
        blocks[i] = malloc(nbytes[i]);
        CHECK(blocks[i] != NULL && (uintptr_t)blocks[i] % 16 == 0);
        CHECK(malloc_usable_size(blocks[i]) >= nbytes[i]);
        fill(blocks[i], malloc_usable_size(blocks[i]), (unsigned char)i);
    }
    for (unsigned i = 0; i < STEPS; i++) {
        CHECK(is_filled(blocks[i], malloc_usable_size(blocks[i]), (unsigned char)i));
        free(blocks[i]);
    }
    CHECK(malloc_usable_size(NULL) == 0);
    free(NULL);
    check_all();
}

/* Under an eighth of the request, or what 16 bytes round to. */
static void waste(void)
{
    for (size_t nbytes = 1; nbytes <= 200000; nbytes += nbytes < 2000 ? 1 : 97) {
        void *p = malloc(nbytes);

        CHECK(p != NULL);
        CHECK(malloc_usable_size(p) - nbytes <= (nbytes < 128 ? 15 : nbytes / 8));
        free(p);
    }
}

static void zeroed(void)
{
    static unsigned char *blocks[64];

    for (size_t nbytes = 1; nbytes < 40 * MIB; nbytes = nbytes * 5 / 3 + 1) {
        unsigned n = nbytes < MIB ? 64 : 2;

        for (unsigned round = 0; round < 2; round++) {
            for (unsigned i = 0; i < n; i++) {
                blocks[i] = calloc(nbytes, 1);
                CHECK(blocks[i] != NULL && is_filled(blocks[i], nbytes, 0));
                fill(blocks[i], nbytes, 0xaa);
            }
            for (unsigned i = 0; i < n; i++) {
                free(blocks[i]);
            }
        }
    }
}

static void errors(void)
{
    size_t half = (size_t)hidden((void *)(SIZE_MAX / 2 + 1));
    void *p = malloc(10);
    void *q = p;

    errno = 0;
    CHECK(calloc(half, 2) == NULL && errno == ENOMEM);
    errno = 0;
    CHECK(calloc(2, half) == NULL && errno == ENOMEM);
    errno = 0;
    CHECK(malloc(half) == NULL && errno == ENOMEM);
    errno = 0;
    CHECK(malloc(SIZE_MAX - 4096 + half - half) == NULL && errno == ENOMEM);
    errno = 0;
    CHECK(reallocarray(p, half, 2) == NULL && errno == ENOMEM);
    errno = 0;
    CHECK(realloc(p, half) == NULL && errno == ENOMEM);
    errno = 0;
    CHECK(memalign(4096, SIZE_MAX - 4095 + half - half) == NULL && errno == ENOMEM);
    errno = 0;
    CHECK(memalign(half, 1) == NULL && errno == ENOMEM);
    errno = 0;
    CHECK(aligned_alloc(half - 8, 1) == NULL && errno == EINVAL);
    errno = 0;
    CHECK(pvalloc(SIZE_MAX - 1 + half - half) == NULL && errno == ENOMEM);
    errno = 7;
    CHECK(posix_memalign(&q, 4, 1) == EINVAL && posix_memalign(&q, 24, 1) == EINVAL);
    CHECK(posix_memalign(&q, 0, 1) == EINVAL && posix_memalign(&q, 64, half) == ENOMEM);
    CHECK(q == p && errno == 7);
    for (size_t nbytes = 1; nbytes < 100 * MIB; nbytes *= 3) {
        void *r = malloc(nbytes);

        memset(r, 1, nbytes);
        errno = 7;
        free(r);
        CHECK(errno == 7);
    }
    free(p);
}

static void aligned(void)
{
    static unsigned char *blocks[2000];
    static size_t nbytes[2000];
    uint64_t seed = 3;
    void *p;

    for (size_t align = 8; align <= 4 * MIB; align *= 2) {
        unsigned n = align < 65536 ? 500 : 10;

        for (unsigned i = 0; i < n; i++) {
            nbytes[i] = random_size(&seed);
            switch (i % 3) {
            case 0:
                blocks[i] = memalign(align, nbytes[i]);
                break;
            case 1:
                blocks[i] = aligned_alloc(align, nbytes[i]);
                break;
            default:
                CHECK(posix_memalign(&p, align, nbytes[i]) == 0);
                blocks[i] = p;
            }
            CHECK(blocks[i] != NULL && (uintptr_t)blocks[i] % align == 0);
            CHECK(malloc_usable_size(blocks[i]) >= nbytes[i]);
            fill(blocks[i], malloc_usable_size(blocks[i]), (unsigned char)i);
        }
        for (unsigned i = 0; i < n; i++) {
            CHECK(is_filled(blocks[i], malloc_usable_size(blocks[i]), (unsigned char)i));
            if (i % 2 == 0) {
                blocks[i] = realloc(blocks[i], nbytes[i] + 100);
                CHECK(is_filled(blocks[i], nbytes[i], (unsigned char)i));
            }
            free(blocks[i]);
        }
    }
    p = valloc(1);
    CHECK((uintptr_t)p % 4096 == 0);
    free(p);
    p = pvalloc(1);
    CHECK((uintptr_t)p % 4096 == 0 && malloc_usable_size(p) >= 4096);
    free(p);
    check_all();
}

static void resized(void)
{
    static const size_t steps[] = { 0,     1,      16,     17,       100,     1000, 1024,   1025,
                                    8192,  8193,   32768,  32769,    100000,  1,    300000, 5000000,
                                    65536, 100000, 200000, 40000000, 1000000, 50,   0,      12 };
    unsigned char *guard = malloc(16);
    unsigned char *p = realloc(NULL, 10);
    size_t was = 10;

    fill(p, 10, 1);
    for (unsigned i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        size_t kept = was < steps[i] ? was : steps[i];
        unsigned char *is = realloc(p, steps[i]);

        CHECK(is != NULL && is_filled(is, kept, (unsigned char)(i + 1)));
        CHECK(malloc_usable_size(is) >= steps[i]);
        fill(is, steps[i], (unsigned char)(i + 2));
        p = is;
        was = steps[i];
    }
    free(p);
    free(guard);
    p = NULL;
    for (size_t n = 0; n < 400000; n += 1 + n / 16) { /* a string that grows */
        p = reallocarray(p, n + 1, 1);
        p[n] = (unsigned char)n;
        CHECK(p[0] == 0);
    }
    free(p);
    check_all();
}

#define MANY 400000

/* 256 MiB in blocks of `nbytes`, or of any size, are written to and freed; what is in memory then.
 */
static uint64_t use_and_free(size_t nbytes)
{
    static unsigned char *blocks[MANY];
    uint64_t seed = 4;
    size_t total = 0;
    unsigned n = 0;

    while (n < MANY && total < 256 * MIB) {
        size_t one = nbytes != 0 ? nbytes : random_size(&seed);

        blocks[n] = malloc(one);
        fill(blocks[n], one, 1);
        n++;
        total += one;
    }
    CHECK(resident() > total / 2);
    while (n > 0) {
        free(blocks[--n]);
    }
    return resident();
}

/* Memory that is free goes back to the kernel: much of it by itself, all when asked for. */
static void returned(void)
{
    CHECK(use_and_free(300) < 160 * MIB);
    CHECK(malloc_trim(0) == 1);
    CHECK(resident() < 20 * MIB);
    (void)use_and_free(200000);
    (void)malloc_trim(0);
    CHECK(resident() < 20 * MIB);
    (void)use_and_free(0);
    (void)malloc_trim(0);
    CHECK(resident() < 20 * MIB);
    check_all();
}

/* And all by itself, after a while. */
static void decays(void)
{
    (void)use_and_free(200000);
    sleep(12);
    free(hidden(malloc(2 * MIB)));
    CHECK(resident() < 20 * MIB);
}

static void limited(void)
{
    static void *blocks[100000];
    const struct rlimit limit = { 500 * MIB, 500 * MIB };
    size_t nbytes = 100000;

    CHECK(setrlimit(RLIMIT_DATA, &limit) == 0);
    for (unsigned round = 0; round < 3; round++) {
        unsigned n = 0;

        errno = 0;
        while (n < 100000 && (blocks[n] = malloc(nbytes)) != NULL) {
            fill(blocks[n], nbytes, 2);
            n++;
        }
        CHECK(n * nbytes > 200 * MIB && n < 100000 && errno == ENOMEM);
        while (n > 0) {
            free(blocks[--n]);
        }
        nbytes /= 3;
        check_all();
    }
}

/* Beyond what an arena holds. */
static void huge(void)
{
    for (unsigned round = 0; round < 3; round++) {
        size_t nbytes = (size_t)5 << (28 + 4 * round); /* to 320 GiB */
        unsigned char *p = malloc(nbytes);
        unsigned char *q = calloc(nbytes, 1);

        CHECK(p != NULL && q != NULL);
        CHECK(malloc_usable_size(p) >= nbytes);
        p[0] = 1;
        p[nbytes - 1] = 2;
        CHECK(q[0] == 0 && q[nbytes - 1] == 0 && q[nbytes / 2] == 0);
        free(q);
        q = malloc(100);
        p = realloc(p, 100000);
        CHECK(p[0] == 1);
        free(p);
        free(q);
    }
    check_all();
}

/* ---- threads --------------------------------------------------------------------------------- */

#define SLOTS 2000

struct block {
    size_t nbytes;
    unsigned char with;
    unsigned char bytes[];
};

static struct block *_Atomic slots[SLOTS];
static atomic_bool stop;

static struct block *make(uint64_t *seed)
{
    size_t nbytes = random_size(seed) / 4;
    struct block *b = next_random(seed) % 8 == 0 ? memalign(64, sizeof(*b) + nbytes)
                                                 : malloc(sizeof(*b) + nbytes);

    CHECK(b != NULL);
    b->nbytes = nbytes;
    b->with = (unsigned char)next_random(seed);
    fill(b->bytes, nbytes, b->with);
    return b;
}

static struct block *resize(struct block *b, uint64_t *seed)
{
    size_t nbytes = random_size(seed) / 4;
    size_t kept = b->nbytes < nbytes ? b->nbytes : nbytes;

    b = realloc(b, sizeof(*b) + nbytes);
    CHECK(b != NULL && is_filled(b->bytes, kept, b->with));
    b->nbytes = nbytes;
    fill(b->bytes, nbytes, b->with);
    return b;
}

static void unmake(struct block *b)
{
    if (b != NULL) {
        CHECK(is_filled(b->bytes, b->nbytes, b->with));
        free(b);
    }
}

static void churn(uint64_t seed, unsigned nops)
{
    for (unsigned i = 0; i < nops && !stop; i++) {
        struct block *_Atomic *slot = &slots[next_random(&seed) % SLOTS];
        struct block *b = NULL;

        if (next_random(&seed) % 3 != 0) {
            b = make(&seed);
        }
        b = atomic_exchange(slot, b);
        if (b != NULL && next_random(&seed) % 4 == 0) {
            b = atomic_exchange(slot, resize(b, &seed));
        }
        unmake(b);
    }
}

static void *churn_thread(void *arg)
{
    churn((uintptr_t)arg, 60000);
    return NULL;
}

static void empty_slots(void)
{
    for (unsigned i = 0; i < SLOTS; i++) {
        unmake(atomic_exchange(&slots[i], NULL));
    }
}

static void shared(void)
{
    pthread_t threads[4];

    for (uintptr_t i = 0; i < 4; i++) {
        CHECK(pthread_create(&threads[i], NULL, churn_thread, (void *)(i + 1)) == 0);
    }
    for (unsigned i = 0; i < 20; i++) {
        usleep(10000);
        check_all();
    }
    for (unsigned i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
    }
    empty_slots();
    check_all();
}

static pthread_key_t keys[2];

/* Runs after ours, too: the one for the other key is made anew. */
static void late(void *arg)
{
    static atomic_uint n;

    free(arg);
    if (atomic_fetch_add(&n, 1) % 3 != 0) {
        pthread_setspecific(keys[atomic_load(&n) % 2], malloc(100));
    }
}

static void *short_thread(void *arg)
{
    void *blocks[200];

    pthread_setspecific(keys[0], malloc(1000));
    pthread_setspecific(keys[1], malloc(5000));
    for (unsigned i = 0; i < 200; i++) {
        blocks[i] = malloc(((uintptr_t)arg + i) * 37 % 3000);
        CHECK(blocks[i] != NULL);
    }
    for (unsigned i = 0; i < 200; i++) {
        free(blocks[i]);
    }
    return malloc(10);
}

static void run_threads(unsigned n)
{
    for (uintptr_t i = 0; i < n; i++) {
        pthread_t t;
        void *p;

        CHECK(pthread_create(&t, NULL, short_thread, (void *)i) == 0);
        CHECK(pthread_join(t, &p) == 0);
        free(p);
    }
}

static void exits(void)
{
    uint64_t before;

    CHECK(pthread_key_create(&keys[0], late) == 0 && pthread_key_create(&keys[1], late) == 0);
    run_threads(500);
    before = resident();
    run_threads(10000);
    CHECK(resident() < before + MIB);
    check_all();
}

static void *forever(void *arg)
{
    uint64_t seed = (uintptr_t)arg;

    while (!stop) {
        churn(next_random(&seed), 1000);
    }
    return NULL;
}

/* The child has the locks, whoever held them, and all blocks. */
static _Noreturn void child(unsigned i)
{
    pthread_t t;

    alarm(60);
    CHECK(pthread_create(&t, NULL, churn_thread, (void *)(uintptr_t)i) == 0);
    churn(i, 2000);
    if (i % 8 == 0) {
        int status;
        pid_t grandchild = fork();

        if (grandchild == 0) {
            churn(i + 1, 1000);
            check_all();
            _exit(0);
        }
        CHECK(waitpid(grandchild, &status, 0) == grandchild && status == 0);
    }
    stop = true;
    pthread_join(t, NULL);
    check_all();
    _exit(0);
}

static void forks(void)
{
    pthread_t threads[3];

    for (uintptr_t i = 0; i < 3; i++) {
        CHECK(pthread_create(&threads[i], NULL, forever, (void *)(i + 100)) == 0);
    }
    for (unsigned i = 0; i < 100; i++) {
        int status;
        pid_t pid = fork();

        CHECK(pid >= 0);
        if (pid == 0) {
            child(i);
        }
        churn(i, 200);
        CHECK(waitpid(pid, &status, 0) == pid && status == 0);
    }
    stop = true;
    for (unsigned i = 0; i < 3; i++) {
        pthread_join(threads[i], NULL);
    }
    empty_slots();
    check_all();
}

/* ---- deaths ---------------------------------------------------------------------------------- */

static void die_double(void)
{
    void *p = hidden(malloc(100));

    free(p);
    free(hidden(p));
}

/* The first of two frees has gone back to its span, with many others. */
static void die_double_later(void)
{
    static void *blocks[5000];

    for (unsigned i = 0; i < 5000; i++) {
        blocks[i] = malloc(100);
    }
    for (unsigned i = 0; i < 5000; i++) {
        free(blocks[i]);
    }
    for (unsigned i = 0; i < 5000; i++) {
        free(hidden(blocks[i]));
    }
}

/* Nothing is left of the span that it was in. */
static void die_double_gone(void)
{
    static void *blocks[5000];

    for (unsigned i = 0; i < 5000; i++) {
        blocks[i] = malloc(5000);
    }
    for (unsigned i = 0; i < 5000; i++) {
        free(blocks[i]);
    }
    malloc_trim(0);
    free(hidden(blocks[2500]));
}

static void die_double_large(void)
{
    void *p = hidden(malloc(100000));

    free(p);
    free(hidden(p));
}

static void die_inside(void)
{
    free(hidden((char *)malloc(100) + 16));
}

static void die_inside_large(void)
{
    free(hidden((char *)malloc(100000) + 4096));
}

static void die_stack(void)
{
    char some[100];

    free(hidden(some));
}

static void die_realloc(void)
{
    free(realloc(hidden((char *)malloc(3000) + 8), 100));
}

static void die_usable(void)
{
    static char some[100];

    printf("%zu\n", malloc_usable_size(hidden(some)));
}

int main(int argc, char **argv)
{
#define TEST(name)                                                                                 \
    {                                                                                              \
#name, name                                                                                \
    }
    static const struct {
        const char *name;
        void (*run)(void);
    } tests[] = {
        TEST(sizes),
        TEST(waste),
        TEST(zeroed),
        TEST(errors),
        TEST(aligned),
        TEST(resized),
        TEST(returned),
        TEST(decays),
        TEST(limited),
        TEST(huge),
        TEST(shared),
        TEST(exits),
        TEST(forks),
        TEST(die_double),
        TEST(die_double_later),
        TEST(die_double_gone),
        TEST(die_double_large),
        TEST(die_inside),
        TEST(die_inside_large),
        TEST(die_stack),
        TEST(die_realloc),
        TEST(die_usable),
    };

    for (int i = 1; i < argc; i++) {
        unsigned t = 0;

        while (t < sizeof(tests) / sizeof(tests[0]) && strcmp(argv[i], tests[t].name) != 0) {
            t++;
        }
        if (t == sizeof(tests) / sizeof(tests[0])) {
            fprintf(stderr, "%s: there is no such test\n", argv[i]);
            return 2;
        }
        tests[t].run();
    }
    puts("done");
    return 0;
}
