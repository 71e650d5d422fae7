/*
 * printer.h - a sink for mm/sink.h that ends at the consoles: text in lines, which Ctrl-C stops.
 *
 * What mm/ prints comes in small pieces; they go out a line at a time, or a part of a long one, so
 * that a screen draws once a line, and no write keeps interrupts off for longer than a line does.
 */
#ifndef MONITOR_PRINTER_H
#define MONITOR_PRINTER_H

#include "mm/sink.h"

#define PRINTER_CHUNK 120u /* bytes that are written at once: 10 ms at 115200 baud */

enum printer_where {
    PRINTER_EVERYWHERE,
    PRINTER_NO_SCREEN, /* to serial ports and debug consoles: for programs */
};

struct printer {
    struct mm_sink sink; /* print here */
    enum printer_where where;
    uint64_t nbytes; /* printed so far; after Ctrl-C, with what was left out */
    bool stopped;    /* by Ctrl-C: what came behind it was left out */
    bool in_line;    /* the last byte that went out ended no line */
    size_t n;
    char text[PRINTER_CHUNK];
};

/* Begin; *p must not move until printer_end(). */
void printer_begin(struct printer *p, enum printer_where where);

/* Print what is left; if Ctrl-C was typed, end the line and return false. */
MM_MUST_CHECK bool printer_end(struct printer *p);

#endif
