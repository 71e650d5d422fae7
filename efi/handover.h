/*
 * handover.h - the stub from its first line on the console to the jump into the kernel.
 *
 * Implements plat/boot.h. Everything that can fail fails before ExitBootServices(), with a line
 * that says what, why and what to do, and leaves firmware as it was: all memory given back.
 */
#ifndef EFI_HANDOVER_H
#define EFI_HANDOVER_H

#include "firmware.h"

/*
 * The kernel is not started with less free memory (EfiConventionalMemory) than this, the arena
 * included. A guest of 64 MiB under OVMF has about 17.5 MiB, and must boot; what boot services hold
 * does not count, because the kernel must come up before it can take that.
 */
#define HANDOVER_MIN_FREE UINT64_C(0x1000000)

/*
 * Load the kernel and go there. Returns only if that is not possible, with a status to return to
 * firmware (or, in a host test, after fw->jump() or fw->reset() returned).
 */
fw_status_t handover_run(const struct fw *fw, const struct machine *machine);

#endif
