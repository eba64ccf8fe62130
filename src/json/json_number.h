/* Numbers as JSON text, private to src/json: the shortest digits that read back to the same value, no locale, no
 * allocation. */
#ifndef VIREO_JSON_NUMBER_H
#define VIREO_JSON_NUMBER_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define JSON_NUMBER_BYTES 32u /* room for any of them */

/* Each writes at most JSON_NUMBER_BYTES bytes, no NUL, and returns how many. Floats must be finite. */
size_t json_number_int(char *text, int64_t value);
size_t json_number_uint(char *text, uint64_t value);
size_t json_number_float(char *text, float value);
size_t json_number_double(char *text, double value);

#ifdef __cplusplus
}
#endif
#endif
