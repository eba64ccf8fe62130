/* What counts and logs beside the metrics: names that come up while the server runs, and how many slow requests a
 * second are told. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "server/slow_log.h"
#include "server/tally.h"

Test(tally, counts_names_and_puts_the_rest_together)
{
    static struct vr_tally tally, sum;
    char name[16];
    for (uint32_t i = 0; i < VR_TALLY_NAMES + 20; i++) {
        snprintf(name, sizeof name, "n%u", i);
        vr_tally_count(&tally, name, i + 1);
        vr_tally_count(&tally, name, 1);
    }
    cr_expect_eq(tally.names, VR_TALLY_NAMES);
    cr_expect_eq(vr_tally_of(&tally, "n0"), 2u);
    cr_expect_eq(vr_tally_of(&tally, "n5"), 7u);
    cr_expect_eq(vr_tally_of(&tally, "n60"), 0u);
    uint64_t all = 0, expected = 0;
    for (uint32_t i = 0; i < VR_TALLY_NAMES; i++) {
        all += tally.entry[i].count;
    }
    for (uint32_t i = 0; i < VR_TALLY_NAMES + 20; i++) {
        expected += i + 2;
    }
    cr_expect_eq(all, expected);
    cr_expect_gt(vr_tally_of(&tally, "other"), 0u);
    vr_tally_add(&sum, &tally);
    vr_tally_add(&sum, &tally);
    cr_expect_eq(vr_tally_of(&sum, "n5"), 14u);
}

Test(tally, long_names_are_cut)
{
    static struct vr_tally tally;
    char name[200];
    memset(name, 'x', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    vr_tally_count(&tally, name, 3);
    cr_expect_eq(strlen(tally.entry[0].name), VR_TALLY_NAME_BYTES - 1);
    cr_expect_eq(tally.entry[0].count, 3u);
}

Test(slow_log, a_second_has_so_many_lines)
{
    struct vr_slow_log log;
    uint32_t skipped = 99, told = 0;
    vr_slow_log_open(&log, 100, 2);
    cr_expect_not(vr_slow_log_admits(&log, 1000000, 99999, &skipped));
    for (uint32_t i = 0; i < 20; i++) {
        told += vr_slow_log_admits(&log, 1000000 + i, 100000, &skipped);
    }
    cr_expect_eq(told, VR_SLOW_LINES / 2);
    cr_expect_eq(skipped, 0u);
    cr_expect(vr_slow_log_admits(&log, 2000000, 100000, &skipped));
    cr_expect_eq(skipped, 20 - VR_SLOW_LINES / 2);
    vr_slow_log_open(&log, 0, 1);
    cr_expect_not(vr_slow_log_admits(&log, 1000000, UINT64_MAX, &skipped));
}
