/* Runs a planted bug in a child process, for sanitizers that end it. */
#ifndef VIREO_TESTS_KERNELS_REPORT_H
#define VIREO_TESTS_KERNELS_REPORT_H

#include "planted.h"

/* Whether the child, with or without the bug, ended with a sanitizer's report. */
bool planted_reports(const struct planted *planted, bool bug);

#endif
