/*
 * report_sample.h - reports to write and read: of a machine where everything is known, of one where
 * nothing is, and of one whose firmware says what no firmware should.
 */
#ifndef REPORT_SAMPLE_H
#define REPORT_SAMPLE_H

#include "mm/report.h"

struct report_sample {
    struct report report;
    void *storage[2]; /* of the maps; freed by report_sample_drop() */
};

void report_sample_full(struct report_sample *s);
void report_sample_empty(struct report_sample *s);
void report_sample_hostile(struct report_sample *s);
void report_sample_drop(struct report_sample *s);

#endif
