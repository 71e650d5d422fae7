/*
 * heap.h - the parts of the command heap.
 */
#ifndef MONITOR_HEAP_H
#define MONITOR_HEAP_H

#include "monitor/args.h"

/* Draw the first-fit heap. */
void heap_draw(void);

/* heap trace [on [N] | off | show | drop] */
int heap_trace(const struct args *a);

/* Of a debug build; others say that they are not. */
int heap_who(const struct args *a);
int heap_leaks(const struct args *a);
int heap_mark(const struct args *a);
int heap_guard(const struct args *a);

#endif
