#include "host_port.h"

#include <stdlib.h>
#include <sys/mman.h>

struct host_flush host_flush;
jmp_buf *host_panic_jmp;
char host_panic_text[512];

static unsigned char *phys;
static _Thread_local uint32_t held_ranks;

static void phys_map(void)
{
    phys =
        mmap(phys, HOST_PHYS_BYTES, PROT_READ | PROT_WRITE,
             MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | (phys != NULL ? MAP_FIXED : 0), -1, 0);
    if (phys == MAP_FAILED) {
        perror("host_port: mmap of physical memory");
        abort();
    }
}

void host_phys_reset(void)
{
    phys_map();
}

void *port_ptr(pa_t pa)
{
    if (phys == NULL) {
        phys_map();
    }
    if (pa.v >= HOST_PHYS_BYTES) {
        port_panic("port_ptr: 0x%llx is no RAM of this host", (unsigned long long)pa.v);
    }
    return phys + pa.v;
}

void port_panic(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(host_panic_text, sizeof(host_panic_text), fmt, ap);
    va_end(ap);
    if (host_panic_jmp != NULL) {
        longjmp(*host_panic_jmp, 1);
    }
    fprintf(stderr, "panic: %s\n", host_panic_text);
    abort();
}

uint64_t port_irq_save(void)
{
    return 0;
}

void port_irq_restore(uint64_t state)
{
    (void)state;
}

uint32_t *port_held_ranks(void)
{
    return &held_ranks;
}

void port_spin_hint(void)
{
    __builtin_ia32_pause();
}

void port_tlb_flush(pa_t root, uint64_t va, uint64_t nbytes)
{
    host_flush.calls++;
    host_flush.root = root.v;
    host_flush.va = va;
    host_flush.nbytes = nbytes;
}

struct host_rng host_rng_make(const char *test)
{
    const char *env = getenv("PLAT_SEED");
    struct host_rng r = { env != NULL ? strtoull(env, NULL, 0) : UINT64_C(0x9e3779b97f4a7c15) };

    printf("%s: PLAT_SEED=0x%llx\n", test, (unsigned long long)r.state);
    return r;
}

uint64_t host_rng_next(struct host_rng *r)
{
    uint64_t z = r->state += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

uint64_t host_rng_below(struct host_rng *r, uint64_t bound)
{
    return host_rng_next(r) % bound;
}
