#include "host_port.h"

#include <errno.h>
#include <linux/membarrier.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define IRQ_SIGNAL SIGRTMIN
#define TRAP_FLAG  0x100 /* of RFLAGS: trap after each instruction */
#define YIELD_AFTER                                                                                \
    64 /* turns of a spin loop, after which another thread may have the processor                  \
        */

/* What a thread has of a processor. Its signal handler shares the irq_ fields with it. */
struct cpu {
    uint32_t held_ranks;
    unsigned spins;
    volatile bool irq_off;
    volatile bool irq_pending;
    bool irq_armed;
    timer_t irq_timer;
    volatile bool stepping;
    volatile uint64_t steps, first_step; /* instructions, and from which on each is interrupted */
    void (*irq_fn)(void);
};

struct host_flush host_flush;
_Thread_local unsigned host_cpu; /* the number of this thread's */
_Thread_local jmp_buf *host_panic_jmp;
_Thread_local char host_panic_text[512];

static unsigned char *_Atomic phys;
static _Thread_local struct cpu this_cpu;

_Noreturn static void die(const char *what)
{
    fprintf(stderr, "host_port: %s: %s\n", what, strerror(errno));
    abort();
}

static void phys_map(void)
{
    unsigned char *old = atomic_load_explicit(&phys, memory_order_relaxed);
    void *at =
        mmap(old, HOST_PHYS_BYTES, PROT_READ | PROT_WRITE,
             MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | (old != NULL ? MAP_FIXED : 0), -1, 0);

    if (at == MAP_FAILED) {
        die("mmap of physical memory");
    }
    atomic_store_explicit(&phys, at, memory_order_release);
}

void host_phys_reset(void)
{
    phys_map();
}

/* Mapped when first asked for: programs that do without have other things at low addresses. */
void *port_ptr(pa_t pa)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    unsigned char *at = atomic_load_explicit(&phys, memory_order_acquire);

    if (pa.v >= HOST_PHYS_BYTES) {
        port_panic("port_ptr: 0x%llx is no RAM of this host", (unsigned long long)pa.v);
    }
    if (at == NULL) {
        pthread_once(&once, phys_map);
        at = atomic_load_explicit(&phys, memory_order_acquire);
    }
    return at + pa.v;
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

void host_after_panic(void)
{
    this_cpu.held_ranks = 0;
    port_irq_restore(0);
}

/* ---- processors ------------------------------------------------------------------------------- */

void host_set_cpu(unsigned cpu)
{
    host_cpu = cpu;
}

#ifndef MM_PORT_INLINE
unsigned port_cpu(void)
{
    return host_cpu;
}
#endif

/*
 * Slow, and needs nothing that a sandbox would forbid: to begin to run on a processor is to have it
 * switch threads, which is a full barrier there (membarrier(2) builds on the same), so who runs on
 * each in turn has sent all others through one. Those that do not run at the time were switched
 * out.
 */
static void visit_all_processors(void)
{
    cpu_set_t mine, one;

    if (sched_getaffinity(0, sizeof(mine), &mine) != 0) {
        die("sched_getaffinity");
    }
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        CPU_ZERO(&one);
        CPU_SET(cpu, &one);
        /* The kernel knows where threads of this process can be, and refuses all other places. */
        if (sched_setaffinity(0, sizeof(one), &one) != 0 && errno != EINVAL) {
            die("sched_setaffinity");
        }
    }
    if (sched_setaffinity(0, sizeof(mine), &mine) != 0) {
        die("sched_setaffinity");
    }
}

/*
 * The kernel interrupts those processors that run a thread of this process (membarrier(2)). The
 * process must have registered: it does when it is told so, with EPERM. A sandbox may refuse both.
 */
void port_fence_cpus(void)
{
    int saved = errno;

    if (syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0) != 0 &&
        (syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) != 0 ||
         syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0) != 0)) {
        visit_all_processors();
    }
    errno = saved;
}

uint32_t *port_held_ranks(void)
{
    return &this_cpu.held_ranks;
}

_Thread_local void (*host_on_spin)(void);

/* There may be more threads than processors: whom this one waits for may wait for its processor. */
void port_spin_hint(void)
{
    if (host_on_spin != NULL) {
        host_on_spin();
    }
    __builtin_ia32_pause();
    if (++this_cpu.spins % YIELD_AFTER == 0) {
        sched_yield();
    }
}

/* ---- interrupts ------------------------------------------------------------------------------- */

/*
 * Interrupts are on, and one is due; others may be noted meanwhile. The signal is let through while
 * `irq_fn` runs, which may turn interrupts on, and not before and after: were each signal
 * interrupted by the next, on a machine that is slow to deliver them, the stack would not last.
 */
static void take_interrupts(void)
{
    sigset_t irq, before;

    sigemptyset(&irq);
    sigaddset(&irq, IRQ_SIGNAL);
    do {
        this_cpu.irq_off = true;
        this_cpu.irq_pending = false;
        pthread_sigmask(SIG_UNBLOCK, &irq, &before);
        if (this_cpu.irq_fn != NULL) {
            this_cpu.irq_fn();
        }
        pthread_sigmask(SIG_SETMASK, &before, NULL);
        this_cpu.irq_off = false;
    } while (this_cpu.irq_pending);
}

static void on_signal(int sig)
{
    int saved = errno;

    (void)sig;
    if (this_cpu.irq_off) {
        this_cpu.irq_pending = true;
    } else {
        take_interrupts();
    }
    errno = saved;
}

void host_interrupts(void (*fn)(void), uint64_t ns)
{
    struct sigaction act = { .sa_handler = on_signal, .sa_flags = SA_RESTART };
    struct sigevent event = { .sigev_notify = SIGEV_THREAD_ID, .sigev_signo = IRQ_SIGNAL };
    struct timespec every = { (time_t)(ns / 1000000000), (long)(ns % 1000000000) };
    struct itimerspec spec = { every, every };

    if (this_cpu.irq_armed) {
        timer_delete(this_cpu.irq_timer);
        this_cpu.irq_armed = false;
    }
    this_cpu.irq_fn = fn;
    if (fn == NULL) {
        return;
    }
    event._sigev_un._tid = gettid(); /* glibc has no better name for it yet */
    if (sigaction(IRQ_SIGNAL, &act, NULL) != 0 ||
        timer_create(CLOCK_MONOTONIC, &event, &this_cpu.irq_timer) != 0) {
        die("a timer for interrupts");
    }
    this_cpu.irq_armed = true;
    if (timer_settime(this_cpu.irq_timer, 0, &spec, NULL) != 0) {
        die("timer_settime");
    }
}

/* Runs after each instruction while the processor's trap flag is set; with it clear, itself. */
static void on_step(int sig, siginfo_t *info, void *context)
{
    ucontext_t *at = context;
    int saved = errno;

    (void)sig;
    (void)info;
    if (!this_cpu.stepping) {
        at->uc_mcontext.gregs[REG_EFL] &= ~(greg_t)TRAP_FLAG;
    } else if (this_cpu.steps++ >= this_cpu.first_step && !this_cpu.irq_off) {
        take_interrupts();
    }
    errno = saved;
}

void host_interrupt_steps(uint64_t from, void (*fn)(void))
{
    struct sigaction act = { .sa_sigaction = on_step, .sa_flags = SA_SIGINFO | SA_RESTART };

    if (sigaction(SIGTRAP, &act, NULL) != 0) {
        die("sigaction of SIGTRAP");
    }
    this_cpu.irq_fn = fn;
    this_cpu.steps = 0;
    this_cpu.first_step = from;
    this_cpu.stepping = true;
    __builtin_ia32_writeeflags_u64(__builtin_ia32_readeflags_u64() | TRAP_FLAG);
}

uint64_t host_end_steps(void)
{
    this_cpu.stepping = false;
    this_cpu.irq_fn = NULL;
    return this_cpu.steps;
}

uint64_t port_irq_save(void)
{
    uint64_t off = this_cpu.irq_off;

    this_cpu.irq_off = true;
    return off;
}

void port_irq_restore(uint64_t off)
{
    this_cpu.irq_off = off != 0;
    if (off == 0 && this_cpu.irq_pending) {
        take_interrupts();
    }
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

uint64_t host_rng_below(struct host_rng *r, uint64_t bound)
{
    return host_rng_next(r) % bound;
}
