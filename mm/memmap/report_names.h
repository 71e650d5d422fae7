/* report_names.h - what a report calls the values of its enumerations; "unknown" for what is none,
 * NULL where that is said. */
#ifndef REPORT_NAMES_H
#define REPORT_NAMES_H

#include "mm/report.h"

const char *report_tpm_name(uint32_t tpm);
const char *report_pixel_name(uint32_t format);

/* Bit `bit` of report_cpu.features. */
#define REPORT_CPU_FEATURES 23
const char *report_feature_name(uint32_t bit);

/* Type of a memory device, SMBIOS 7.18.2: "DDR4". NULL if it is not known. */
const char *report_memory_type_name(uint32_t type);

#endif
