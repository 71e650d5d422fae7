/*
 * ffdemo.h - first fit in address order, played step by step on an arena of its own, and drawn.
 *
 * Model:    blocks come and go in a heap of 4 KiB (heap_ff). Each step is told in a sentence and
 *           drawn as a strip, a character for 64 bytes; both say what the heap says, not what a
 *           script expects.
 * Locking:  none. Memory: the caller's.
 */
#ifndef LIB_FFDEMO_H
#define LIB_FFDEMO_H

#include "lib/demo.h"
#include "mm/types.h"

#define FFDEMO_BYTES 8192u /* for the arena: room for what the heap needs for itself, too */

enum ffdemo_end { FFDEMO_DONE, FFDEMO_STOPPED, FFDEMO_NO_STAGE };

/* Play it in FFDEMO_BYTES at `arena`. Stopped: pause() ended it. No stage: the heap cuts no 4 KiB
 * out of that. */
MM_MUST_CHECK enum ffdemo_end ffdemo_play(void *arena, const struct demo_screen *s);

#endif
