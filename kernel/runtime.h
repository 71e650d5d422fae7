/*
 * runtime.h - UEFI runtime services, after ExitBootServices.
 *
 * Model:    runtime memory is mapped at its physical addresses (no SetVirtualAddressMap) in page
 * tables of its own, which CR3 holds for the time of a call only, interrupts off. Rights come from
 * the Memory Attributes Table where that holds up. A fault inside firmware's code ends the call,
 * and runtime services are not used again. Context:  not from interrupt handlers; one caller at a
 * time. Source:   UEFI 2.10 ch. 8.
 */
#ifndef RUNTIME_H
#define RUNTIME_H

#include <stdbool.h>
#include <stdint.h>

#include "plat/boot.h"

/* EFI_TIME, UEFI 2.10 8.3.1. */
struct runtime_time {
    uint16_t year;
    uint8_t month, day, hour, minute, second, pad1;
    uint32_t nanosecond;
    int16_t zone; /* minutes from UTC, 2047: unspecified */
    uint8_t daylight, pad2;
};

struct runtime_guid {
    uint32_t a;
    uint16_t b, c;
    uint8_t d[8];
};

#define RUNTIME_NAME_MAX 256 /* characters of a variable's name, NUL included */

struct runtime_variable {
    uint16_t name[RUNTIME_NAME_MAX];
    struct runtime_guid vendor;
};

/* Nothing was called: no memory for the tables, services not mapped, or they faulted before. */
#define RUNTIME_UNAVAILABLE UINT64_MAX
/* Statuses, UEFI 2.10 appendix D. */
#define RUNTIME_SUCCESS          UINT64_C(0)
#define RUNTIME_BUFFER_TOO_SMALL (UINT64_C(1) << 63 | 5)
#define RUNTIME_NOT_FOUND        (UINT64_C(1) << 63 | 14)

enum runtime_reset_kind { RUNTIME_RESET_COLD, RUNTIME_RESET_WARM, RUNTIME_RESET_SHUTDOWN };

/*
 * Read the attributes table, while the memory it lies in is still firmware's, and build the page
 * tables. Says in the log what it found. Before vm_reclaim().
 */
void runtime_init(const struct plat_boot *boot);

/* Can calls be made? */
bool runtime_available(void);

/* Each returns an EFI_STATUS or RUNTIME_UNAVAILABLE. */
uint64_t runtime_get_time(struct runtime_time *t);
/* The variable after *v; start with an empty name. */
uint64_t runtime_next_variable(struct runtime_variable *v);
/* Size and attributes of *v. The value is not read. */
uint64_t runtime_variable_size(const struct runtime_variable *v, uint64_t *nbytes,
                               uint32_t *attributes);
/* Returns only if firmware does not do it. */
uint64_t runtime_reset(enum runtime_reset_kind kind);

/* For the trap handler: a fault at `rip` was inside a call; go on at *rip with *rsp. */
bool runtime_recover(uint64_t *rip, uint64_t *rsp);

/* For a panic: the frame record of the call that is under way, 0 if none is. */
uint64_t runtime_frame(void);

/* What is mapped for calls, in words of one line each: for the monitor. */
struct pagetable;
const struct pagetable *runtime_pagetable(void);

#endif
