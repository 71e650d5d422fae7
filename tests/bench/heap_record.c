/*
 * heap_record.c - preloaded into a program, it writes down what that asks of its heap.
 *
 * With HEAP_RECORD=PREFIX in the environment, each process writes a file PREFIX.PID.N of its own,
 * one after a fork and one after each exec. scripts/heap-traces makes a trace of one. What a
 * program did is in its file even if it is killed: the file is mapped, and its header counts.
 *
 * Order. An address may be used again by another thread at once, so a free is written down before
 * it is done and an allocation after; of a resizing, which is both, nobody may write in between. So
 * a file reads as if one thread had done everything, and every address in it is allocated when it
 * is freed.
 *
 * All is glibc's malloc, by the names that it has for this purpose, and nothing here allocates.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define PUBLIC  __attribute__((visibility("default")))
#define RECORDS (UINT64_C(1) << 26) /* room; the file is sparse */
#define PATH    256

/* A 0 in `was` makes it an allocation, one in `is` a free. */
struct record {
    uint64_t was;
    uint64_t is;
    uint64_t nbytes; /* log2 of the alignment in 63:56, 0 if none was asked for */
};

struct file {
    char magic[8];
    uint32_t version;
    uint32_t pid;
    uint64_t nrecords;
    uint64_t nlost; /* for lack of room */
    char program[PATH];
    struct record records[];
};

extern void *__libc_malloc(size_t nbytes);
extern void *__libc_calloc(size_t count, size_t nbytes);
extern void *__libc_realloc(void *ptr, size_t nbytes);
extern void *__libc_memalign(size_t align, size_t nbytes);
extern void __libc_free(void *ptr);
PUBLIC void *pvalloc(size_t nbytes);
PUBLIC void *valloc(size_t nbytes);
PUBLIC void *memalign(size_t align, size_t nbytes);
PUBLIC void *reallocarray(void *ptr, size_t count, size_t nbytes);

static struct file *file; /* NULL: not open */
static bool off;          /* nothing is to be recorded */
static atomic_flag busy = ATOMIC_FLAG_INIT;

static void lock(void)
{
    while (atomic_flag_test_and_set_explicit(&busy, memory_order_acquire)) {
        sched_yield();
    }
}

static void unlock(void)
{
    atomic_flag_clear_explicit(&busy, memory_order_release);
}

/* ---- the file -------------------------------------------------------------------------------- */

/* A file that is not there yet; -1 if there can be none. */
static int create(const char *prefix)
{
    char path[PATH];
    int fd = -1;

    for (unsigned n = 0; fd < 0 && n < 1000; n++) {
        if (snprintf(path, sizeof(path), "%s.%d.%u", prefix, (int)getpid(), n) >= PATH) {
            return -1;
        }
        fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        if (fd < 0 && errno != EEXIST) {
            return -1;
        }
    }
    return fd;
}

static void open_file(const char *prefix)
{
    size_t nbytes = sizeof(struct file) + RECORDS * sizeof(struct record);
    int fd = create(prefix);
    void *at = MAP_FAILED;

    if (fd >= 0 && ftruncate(fd, (off_t)nbytes) == 0) {
        at = mmap(NULL, nbytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
    }
    if (fd >= 0) {
        close(fd);
    }
    if (at == MAP_FAILED) {
        off = true;
        return;
    }
    file = at;
    memcpy(file->magic, "PLATHREC", sizeof(file->magic));
    file->version = 1;
    file->pid = (uint32_t)getpid();
    if (readlink("/proc/self/exe", file->program, sizeof(file->program) - 1) < 0) {
        file->program[0] = '\0';
    }
}

/* The dynamic linker allocates before there is an environment. */
static bool is_open(void)
{
    if (file == NULL && !off && environ != NULL) {
        int saved = errno;
        const char *prefix = getenv("HEAP_RECORD");

        off = prefix == NULL;
        if (prefix != NULL) {
            open_file(prefix);
        }
        errno = saved;
    }
    return file != NULL;
}

static void note_locked(const void *was, const void *is, size_t nbytes, size_t align)
{
    if (!is_open()) {
        return;
    }
    if (file->nrecords == RECORDS) {
        file->nlost++;
        return;
    }
    file->records[file->nrecords] = (struct record){
        (uintptr_t)was,
        (uintptr_t)is,
        nbytes | (align != 0 ? (uint64_t)__builtin_ctzll(align) << 56 : 0),
    };
    file->nrecords++;
}

static void note(const void *was, const void *is, size_t nbytes, size_t align)
{
    lock();
    note_locked(was, is, nbytes, align);
    unlock();
}

/* The child has the parent's file mapped, which is not its own. */
static void in_child(void)
{
    if (file != NULL) {
        munmap(file, sizeof(struct file) + RECORDS * sizeof(struct record));
        file = NULL;
    }
    unlock();
}

__attribute__((constructor)) static void survive_forks(void)
{
    pthread_atfork(lock, unlock, in_child);
}

/* ---- malloc and its family ------------------------------------------------------------------- */

static void *note_new(void *ptr, size_t nbytes, size_t align)
{
    if (ptr != NULL) {
        note(NULL, ptr, nbytes, align);
    }
    return ptr;
}

PUBLIC void *malloc(size_t nbytes)
{
    return note_new(__libc_malloc(nbytes), nbytes, 0);
}

PUBLIC void *calloc(size_t count, size_t nbytes)
{
    return note_new(__libc_calloc(count, nbytes), count * nbytes, 0);
}

PUBLIC void free(void *ptr)
{
    if (ptr != NULL) {
        note(ptr, NULL, 0, 0);
    }
    __libc_free(ptr);
}

PUBLIC void *realloc(void *ptr, size_t nbytes)
{
    lock();
    void *is = __libc_realloc(ptr, nbytes);

    if (is != NULL || (ptr != NULL && nbytes == 0)) {
        note_locked(ptr, is, nbytes, 0);
    }
    unlock();
    return is;
}

PUBLIC void *reallocarray(void *ptr, size_t count, size_t nbytes)
{
    size_t product;

    if (__builtin_mul_overflow(count, nbytes, &product)) {
        errno = ENOMEM;
        return NULL;
    }
    return realloc(ptr, product);
}

PUBLIC void *memalign(size_t align, size_t nbytes)
{
    return note_new(__libc_memalign(align, nbytes), nbytes, align);
}

PUBLIC void *aligned_alloc(size_t align, size_t nbytes)
{
    return memalign(align, nbytes);
}

PUBLIC int posix_memalign(void **ptr, size_t align, size_t nbytes)
{
    int saved = errno;
    void *is;

    if (align % sizeof(void *) != 0 || align == 0 || (align & (align - 1)) != 0) {
        return EINVAL;
    }
    is = memalign(align, nbytes);
    errno = saved;
    if (is == NULL) {
        return ENOMEM;
    }
    *ptr = is;
    return 0;
}

PUBLIC void *valloc(size_t nbytes)
{
    return memalign((size_t)sysconf(_SC_PAGESIZE), nbytes);
}

PUBLIC void *pvalloc(size_t nbytes)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);

    return memalign(page, (nbytes + page - 1) / page * page);
}
