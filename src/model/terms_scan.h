/* What an expression may consist of, checked before muParser sees it. */
#ifndef VIREO_MODEL_TERMS_SCAN_H
#define VIREO_MODEL_TERMS_SCAN_H

#include <stdbool.h>

#include "vireo/arena.h"

/* VR_ERR_FORMAT "term 'NAME', column N: ..." for characters outside of arithmetic, assignments, strings, commas outside
 * of a function's arguments, and nesting deeper than 64. `*plain`: only numbers, variables, + - * / and parentheses, so
 * that a test at points can tell whether it is linear. */
enum vr_status vr_terms_scan(const char *term, struct vr_str expression, bool *plain);

#endif
