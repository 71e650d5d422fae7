/*
 * The host's port itself: what it gives is what a processor gives. The rest of port.h is used by
 * all other tests, and wrong there if it is wrong.
 */
#include "host_port.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/membarrier.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define FENCES       2000
#define SLOW_FENCES  100
#define INTERRUPT_NS 100000
#define WAIT_NS      (UINT64_C(20) * INTERRUPT_NS)
#define NESTED       100
#define PATIENCE_NS  (UINT64_C(10) * 1000000000)

static uint64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static void wait_ns(uint64_t ns)
{
    uint64_t end = now_ns() + ns;

    while (now_ns() < end) {
    }
}

/* ---- fences ----------------------------------------------------------------------------------- */

/*
 * Two threads that exclude each other, of which one uses no fence, in thousands of rounds: on x86,
 * where a load may pass an older store, that works only if the other one fences both (Intel SDM
 * vol. 3A 8.2.3.4).
 */
static _Alignas(64) _Atomic bool busy; /* lines of their own: or the one's misses order the other */
static _Alignas(64) _Atomic bool stop;
static _Alignas(64) _Atomic uint32_t inside; /* whoever is inside counts up, and down again */
static _Atomic bool done;
static _Atomic uint64_t entered, met;

static void enter(void)
{
    if (atomic_fetch_add_explicit(&inside, 1, memory_order_relaxed) != 0) {
        atomic_fetch_add(&met, 1);
    }
    atomic_fetch_sub_explicit(&inside, 1, memory_order_relaxed);
}

static void *without_fence(void *arg)
{
    while (!atomic_load(&done)) {
        atomic_store_explicit(&busy, true, memory_order_relaxed);
        atomic_signal_fence(memory_order_seq_cst);
        if (!atomic_load_explicit(&stop, memory_order_acquire)) {
            enter();
            atomic_fetch_add_explicit(&entered, 1, memory_order_relaxed);
        }
        atomic_store_explicit(&busy, false, memory_order_release);
    }
    return arg;
}

/* How often the two met. */
static uint64_t exclude(unsigned rounds)
{
    pthread_t other;

    atomic_store(&done, false);
    atomic_store(&met, 0);
    if (pthread_create(&other, NULL, without_fence, NULL) != 0) {
        return UINT64_MAX;
    }
    for (unsigned i = 0; i < rounds; i++) {
        uint64_t before = atomic_load(&entered);

        atomic_store_explicit(&stop, true, memory_order_relaxed);
        port_fence_cpus();
        while (atomic_load_explicit(&busy, memory_order_acquire)) {
            port_spin_hint();
        }
        enter();
        atomic_store_explicit(&stop, false, memory_order_release);
        while (atomic_load(&entered) == before) {
            port_spin_hint();
        }
    }
    atomic_store(&done, true);
    pthread_join(other, NULL);
    return atomic_load(&met);
}

static void test_fence(void **state)
{
    (void)state;
    assert_int_equal(exclude(FENCES), 0);
}

/* The same where membarrier(2) is forbidden, in a child, for that can't be undone. */
static int child_without_membarrier(void)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_membarrier, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog filter = { sizeof(code) / sizeof(code[0]), code };

    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) != 0 ||
        syscall(SYS_membarrier, MEMBARRIER_CMD_QUERY, 0, 0) == 0) {
        return 2;
    }
    return exclude(SLOW_FENCES) == 0 ? 0 : 1;
}

static void test_fence_in_sandbox(void **state)
{
    int status;
    pid_t child;

    (void)state;
    child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        _exit(child_without_membarrier());
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == 2) {
        print_message("this machine can't forbid a system call\n");
        skip();
    }
    assert_int_equal(WEXITSTATUS(status), 0);
}

/* ---- interrupts ------------------------------------------------------------------------------- */

static volatile uint64_t interrupts, nested, seen_on;
static volatile unsigned depth;

static void count_interrupt(void)
{
    uint64_t off = port_irq_save();

    seen_on += off == 0;
    interrupts++;
    port_irq_restore(off);
}

/* Lets itself be interrupted, but not the one that interrupts it. */
static void open_interrupt(void)
{
    interrupts++;
    nested += depth > 0;
    if (depth++ == 0) {
        port_irq_restore(0);
        wait_ns(INTERRUPT_NS / 4);
        port_irq_save();
    }
    depth--;
}

static void test_interrupts_wait_while_off(void **state)
{
    uint64_t outer, inner, before;

    (void)state;
    interrupts = 0;
    seen_on = 0;
    outer = port_irq_save();
    host_interrupts(count_interrupt, INTERRUPT_NS);
    wait_ns(WAIT_NS);
    inner = port_irq_save();
    port_irq_restore(inner);
    assert_int_equal(interrupts, 0);
    port_irq_restore(outer);
    assert_true(interrupts > 0);

    before = interrupts;
    wait_ns(WAIT_NS);
    assert_true(interrupts > before);
    host_interrupts(NULL, 0);
    before = interrupts;
    wait_ns(WAIT_NS);
    assert_int_equal(interrupts, before);
    assert_int_equal(seen_on, 0);
}

static void test_interrupts_nest_when_let(void **state)
{
    uint64_t end = now_ns() + PATIENCE_NS;

    (void)state;
    nested = 0;
    host_interrupts(open_interrupt, INTERRUPT_NS);
    while (nested < NESTED && now_ns() < end) {
    }
    host_interrupts(NULL, 0);
    assert_true(nested >= NESTED);
    assert_int_equal(depth, 0);
    assert_int_equal(port_irq_save(), 0);
    port_irq_restore(0);
}

/* A few instructions, some of them with interrupts off; returns how many there were. */
static __attribute__((noinline)) uint64_t stepped(uint64_t from)
{
    uint64_t irq;

    interrupts = 0;
    host_interrupt_steps(from, count_interrupt);
    irq = port_irq_save();
    for (volatile unsigned i = 0; i < 10; i++) {
    }
    port_irq_restore(irq);
    return host_end_steps();
}

static void test_interrupts_at_each_step(void **state)
{
    uint64_t n = stepped(UINT64_MAX);

    (void)state;
    seen_on = 0;
    assert_true(n > 40);
    assert_int_equal(interrupts, 0);
    assert_int_equal(stepped(0), n);
    assert_true(interrupts > 0 && interrupts < n - 30);
    assert_int_equal(stepped(n - 1), n);
    assert_int_equal(interrupts, 1);
    assert_int_equal(seen_on, 0);
}

static void test_threads_have_numbers(void **state)
{
    (void)state;
    assert_int_equal(port_cpu(), 0);
    host_set_cpu(7);
    assert_int_equal(port_cpu(), 7);
    host_set_cpu(0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fence),
        cmocka_unit_test(test_fence_in_sandbox),
        cmocka_unit_test(test_interrupts_wait_while_off),
        cmocka_unit_test(test_interrupts_nest_when_let),
        cmocka_unit_test(test_interrupts_at_each_step),
        cmocka_unit_test(test_threads_have_numbers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
