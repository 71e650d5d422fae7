/*
 * plain_kind.h - the kinds of include/mm/memmap.h restated, for the models that its results are
 * compared with, in the unit test and in the fuzzer: of types 0 to 15, cacheable and nothing else.
 */
#ifndef PLAIN_KIND_H
#define PLAIN_KIND_H

#include "mm/memmap.h"

static const int plain_kind[16] = {
    MEMMAP_RESERVED,
    MEMMAP_FREE_AFTER_EXIT,
    MEMMAP_FREE_AFTER_EXIT,
    MEMMAP_FREE_AFTER_EXIT,
    MEMMAP_FREE_AFTER_EXIT,
    MEMMAP_RUNTIME_CODE,
    MEMMAP_RUNTIME_DATA,
    MEMMAP_FREE,
    MEMMAP_BAD,
    MEMMAP_FREE_AFTER_ACPI,
    MEMMAP_ACPI_NVS,
    MEMMAP_MMIO,
    MEMMAP_MMIO,
    MEMMAP_RUNTIME_CODE,
    MEMMAP_PERSISTENT,
    MEMMAP_UNACCEPTED,
};

#endif
