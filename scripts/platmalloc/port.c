/*
 * port.c - what mm/heap asks of the machine: to stop.
 *
 * The text is made on the stack and goes to file 2 by one write, since streams may allocate. Of the
 * other functions of mm/port.h a heap without a lock inside needs none.
 */
#include "mm/port.h"

#include "platmalloc.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

void port_panic(const char *fmt, ...)
{
    char text[512] = "platmalloc: ";
    size_t n = sizeof("platmalloc: ") - 1;
    va_list ap;

    va_start(ap, fmt);
    n += (size_t)vsnprintf(text + n, sizeof(text) - n - 1, fmt, ap);
    va_end(ap);
    n = n < sizeof(text) - 1 ? n : sizeof(text) - 2;
    if (heap_caller != NULL) {
        n += (size_t)snprintf(text + n, sizeof(text) - n - 1, ", for a caller at %p", heap_caller);
        n = n < sizeof(text) - 1 ? n : sizeof(text) - 2;
    }
    text[n] = '\n';
    if (write(STDERR_FILENO, text, n + 1) < 0) {
        abort(); /* nobody to tell */
    }
    abort();
}
