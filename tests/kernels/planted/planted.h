/* Planted bugs, each beside the same code without it: what the emulator must catch, and must not. A planted source
 * lists its bugs in a table; test_emulator.c runs both twins of each under the same seeds. */
#ifndef VIREO_TESTS_KERNELS_PLANTED_H
#define VIREO_TESTS_KERNELS_PLANTED_H

#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* How a bug is caught. */
enum way {
    CATCH_RESULT = 0, /* the numbers are wrong */
    CATCH_TEXT,       /* the launch or a poll fails, and its text names the cause */
    CATCH_SANITIZER,  /* the process ends with a report of AddressSanitizer or UndefinedBehaviorSanitizer */
};

struct planted {
    const char *name;
    enum way by;
    const char *text; /* part of the error's text; NULL but for CATCH_TEXT */
    /* Run the code with or without its bug on a new stream. 0: the right numbers; 1: wrong ones; 2: an error, its text
     * in vr_error_text(). */
    int (*run)(bool bug);
};

extern const struct planted planted_barriers[], planted_warps[], planted_copies[], planted_memory[], planted_hosts[];
extern const struct planted planted_races[]; /* for ThreadSanitizer: threads that run in turn give the right numbers */

#ifdef __cplusplus
}
#endif
#endif
