/* The emulator can be trusted as far as it catches planted bugs (planted/): each is run with seeds 1 to 64, beside its
 * correct twin, and must be caught under at least one of the first four, which are those that tests of kernels use. The
 * twin must pass under all. Prints how many seeds caught each. */
#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "kernels/emulator/emulator.h"
#include "kernels/seam.h"
#include "planted/report.h"
#include "vireo/status.h"

#define FEW 4u
#define MANY 64u

#if defined(__SANITIZE_ADDRESS__)
#define WATCHED true
#else
#define WATCHED false
#endif

/* Reports are looked for, not read: names of functions would take seconds. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "symbolize=0";
}

static bool is_caught(const struct planted *planted)
{
    if (planted->by == CATCH_SANITIZER) {
        return planted_reports(planted, true);
    }
    const int found = planted->run(true);
    return planted->by == CATCH_RESULT ? found == 1 : found == 2 && strstr(vr_error_text(), planted->text) != NULL;
}

static void check(const struct planted *planted)
{
    static const char *const ways[] = {
        [CATCH_RESULT] = "numbers", [CATCH_TEXT] = "error", [CATCH_SANITIZER] = "report"};
    unsigned few = 0, many = 0;
    for (unsigned seed = 1; seed <= MANY; seed++) {
        vr_emulator_seed(seed);
        cr_expect_eq(planted->run(false), 0, "%s: the correct twin under seed %u: %s", planted->name, seed,
                     vr_error_text());
        if (planted->by == CATCH_SANITIZER && !WATCHED) {
            continue;
        }
        vr_emulator_seed(seed);
        const unsigned caught = is_caught(planted);
        few += seed <= FEW ? caught : 0;
        many += caught;
    }
    fprintf(stderr, "%-46s %-8s %u/4 %2u/64%s\n", planted->name, ways[planted->by], few, many,
            planted->by == CATCH_SANITIZER && !WATCHED ? " (needs AddressSanitizer)" : "");
    cr_expect(few > 0 || (planted->by == CATCH_SANITIZER && !WATCHED), "%s: not caught", planted->name);
}

Test(emulator, catches_planted_bugs)
{
    static const struct planted *const tables[] = {planted_barriers, planted_warps, planted_copies, planted_memory,
                                                   planted_hosts};
    for (size_t t = 0; t < sizeof tables / sizeof tables[0]; t++) {
        for (const struct planted *planted = tables[t]; planted->name != NULL; planted++) {
            check(planted);
        }
    }
    cr_assert_eq(vr_emulator_memory_used(), 0);
}

/* A host that frees what a destroyed stream's work needs is found, one that waits is not. */
static void end_without_waiting(bool waits)
{
    for (uint64_t seed = 1; seed <= FEW; seed++) {
        struct vr_seam_stream *stream = NULL;
        void *from = NULL, *to = NULL;
        bool done = !waits;
        vr_emulator_seed(seed);
        cr_assert_eq(vr_seam_memory_create(false, 64, &from), VR_OK);
        cr_assert_eq(vr_seam_memory_create(false, 64, &to), VR_OK);
        cr_assert_eq(vr_seam_stream_create(&stream), VR_OK);
        cr_assert_eq(vr_seam_copy(stream, to, from, 64), VR_OK);
        while (!done) {
            cr_assert_eq(vr_seam_stream_poll(stream, &done), VR_OK);
        }
        vr_seam_stream_destroy(stream);
        vr_seam_memory_destroy(false, from);
        vr_seam_memory_destroy(false, to);
    }
}

Test(emulator, memory_under_a_destroyed_stream_is_found, .signal = SIGABRT)
{
    end_without_waiting(false);
}

Test(emulator, memory_after_a_stream_that_was_waited_for)
{
    end_without_waiting(true);
}
