/*
 * port.h - mm/port.h for platmap: one processor, and address space that plays physical memory.
 */
#ifndef PLATMAP_PORT_H
#define PLATMAP_PORT_H

#include "mm/port.h"

/* Make physical addresses [0, nbytes) exist. They read as zeros; only what is written costs memory.
 * False if there is not so much address space. */
MM_MUST_CHECK bool port_begin(uint64_t nbytes);
void port_end(void);

#endif
