/* The emulated device under ThreadSanitizer: several host threads with a stream each, as lanes have; then kernels
 * themselves, each CUDA thread being a thread to it: planted races are reported at the first seed, whatever numbers
 * come out, and their correct twins are not. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/emulator/emulator.h"
#include "kernels/planted/meaning.h"
#include "kernels/planted/report.h"

enum { LANES = 4, ROUNDS = 3, THREADS = 64 };

/* A child's first report is enough; set TSAN_OPTIONS=symbolize=1 to read one. */
const char *__tsan_default_options(void);
const char *__tsan_default_options(void)
{
    return "halt_on_error=1:symbolize=0:atexit_sleep_ms=0";
}

static void *drive(void *argument)
{
    int *faults = argument, order[THREADS];
    for (int round = 0; round < ROUNDS; round++) {
        *faults += meaning_capture_and_run() + meaning_order(order) + meaning_after_errors();
    }
    return NULL;
}

static int check_lanes(void)
{
    pthread_t thread[LANES];
    int faults[LANES] = {0}, sum = 0;
    for (int i = 0; i < LANES; i++) {
        if (pthread_create(&thread[i], NULL, drive, &faults[i]) != 0) {
            abort();
        }
    }
    for (int i = 0; i < LANES; i++) {
        pthread_join(thread[i], NULL);
        sum += faults[i];
    }
    return sum + (vr_emulator_memory_used() != 0);
}

/* The bugs of a table that are races: by their numbers under some orders, or by nothing else. */
static int check_races(const struct planted *planted, enum way by)
{
    int faults = 0;
    for (; planted->name != NULL; planted++) {
        if (planted->by != by) {
            continue;
        }
        vr_emulator_seed(1);
        const bool bug = planted_reports(planted, true), twin = planted_reports(planted, false);
        printf("%-46s %s%s\n", planted->name, bug ? "reported" : "MISSED", twin ? ", AND ITS TWIN" : "");
        faults += !bug || twin;
    }
    return faults;
}

int main(void)
{
    int faults = 0;
#if defined(__SANITIZE_THREAD__)
    faults += check_races(planted_races, CATCH_SANITIZER) + check_races(planted_barriers, CATCH_RESULT);
    faults += check_races(planted_warps, CATCH_RESULT);
#else
    puts("races are not looked for: built without ThreadSanitizer");
#endif
    faults += check_lanes();
    printf("emulator: %d faults\n", faults);
    return faults != 0;
}
