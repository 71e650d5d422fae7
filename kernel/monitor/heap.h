/*
 * heap.h - the parts of the command heap.
 */
#ifndef MONITOR_HEAP_H
#define MONITOR_HEAP_H

#include "monitor/args.h"

/* Draw the first-fit heap. */
void heap_draw(void);

/* heap trace [on [EVENTS] | off | show | drop] */
int heap_trace(const struct args *a);

#endif
