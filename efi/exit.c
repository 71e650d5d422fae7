/*
 * exit.c - see exit.h.
 *
 * The loop. A key is stale when anything was allocated since the map was read; some firmware does
 * so inside ExitBootServices(), in the callbacks of its own drivers, and then answers INVALID
 * PARAMETER: the map is read again, into the same buffer, and the new key tried. One retry is
 * common, a few are known, and some firmware never agrees: EDK II also answers INVALID PARAMETER
 * when a runtime region is not aligned, with a key that is right. So there is a limit. Only this
 * answer means "try again"; any other error will be the same next time.
 *
 * What may still be called. UEFI 2.10 7.4.6: firmware may shut down parts of itself during the
 * first call of ExitBootServices(), and after it a loader should call no boot service but the
 * memory allocation ones. Of these we use GetMemoryMap() alone: an allocation would need a free
 * one beside it if it then fails, and there is slack in the buffer for it. So from the first try on
 *
 *  X1  a map that no longer fits is read again like a stale one, and counts as a try;
 *  X2  we never return to firmware: its caller would go on using services that may be gone;
 *  X3  there is no Stall() to wait with, no event, no file.
 *
 * Giving up. What is left is ResetSystem(), a runtime service and so always allowed. But a machine
 * that resets without a word helps nobody. Output on ConOut is not a boot service, though the
 * drivers behind it call some: it is not promised to work, it does on the firmware at hand, and
 * the worst that it can do is to hang, with a machine that nothing could be done with anyway. That
 * is better than a silent loop of resets, so: print, wait by the time-stamp counter, reset.
 * Writing to a serial port ourselves was rejected, because nobody told us that there is one.
 */
#include "exit.h"

/* How long a last message stays: 17 s at 2 GHz, 9 s at 4 GHz. */
#define EXIT_PAUSE_TICKS (UINT64_C(1) << 35)
/* Turns of the waiting loop, in case the counter stands still. */
#define EXIT_PAUSE_TURNS (UINT64_C(1) << 32)

enum exit_result exit_leave(const struct fw *fw, struct map_buffer *m, struct exit_report *r)
{
    r->tries = 0;
    r->status = FW_SUCCESS;
    for (unsigned turn = 0; turn < EXIT_TRIES; turn++) {
        enum map_result got = map_read(fw, m, &r->why);

        if (got == MAP_BAD) {
            r->status = m->status;
            return r->tries == 0 ? EXIT_STAY : EXIT_STUCK;
        }
        if (got == MAP_GREW) {
            r->grew++;
            r->status = m->status;
            if (r->tries == 0) {
                return EXIT_GREW;
            }
            r->why = "the memory map outgrew its buffer"; /* X1 */
            continue;
        }
        r->tries++;
        r->status = fw->exit(m->key);
        if (!fw_failed(r->status)) {
            return EXIT_DONE;
        }
        if (r->status != FW_INVALID_PARAMETER) {
            r->why = "firmware refuses";
            return EXIT_STUCK;
        }
        r->why = "firmware calls every map stale";
    }
    return EXIT_STUCK;
}

void exit_give_up(const struct fw *fw, const struct exit_report *r)
{
    uint64_t start;

    fw_say(fw,
           "plat: ExitBootServices: %s, %s after %llu calls; the machine will be reset. "
           "Update the firmware or boot with fewer devices\n",
           r->why, fw_status_name(r->status), (unsigned long long)r->tries);
    start = fw->tsc();
    for (uint64_t turn = 0; turn < EXIT_PAUSE_TURNS && fw->tsc() - start < EXIT_PAUSE_TICKS;
         turn++) {
    }
    fw->reset();
}
