/* History and time values against numbers worked out by hand. */
#include "vireo/features.h"

#include <math.h>

#include <criterion/criterion.h>

static const struct vr_recent recent[] = {
    {3, 100, 4, VR_WATCH_CLICK}, {5, 50, NAN, VR_WATCH_LONG_VIEW | VR_WATCH_CLICK},
    {-1, 40, 6, VR_WATCH_LIKE},  {5, 30, 8, 0},
    {4, 10, 2, VR_WATCH_FINISH},
};

Test(history, weights)
{
    float weight[5];
    double click = 0.1 * pow(0.5, 4 / 16.0), long_view = pow(0.5, 3 / 16.0), finish = 1,
           sum = click + long_view + finish;
    vr_history_weights(recent, 5, weight);
    cr_expect_float_eq(weight[0], click / sum, 1e-7);
    cr_expect_float_eq(weight[1], long_view / sum, 1e-7);
    cr_expect_eq(weight[2], 0); /* not known to the bundle; it takes a rank all the same */
    cr_expect_eq(weight[3], 0);
    cr_expect_float_eq(weight[4], finish / sum, 1e-7);
    vr_history_weights(recent + 2, 2, weight);
    cr_expect_eq(weight[0], 0);
    cr_expect_eq(weight[1], 0);
}

Test(history, fields)
{
    double raw[VR_VIEWER_FIELDS] = {0};
    vr_history_fields(recent, 5, raw);
    cr_expect_eq(raw[VR_VIEWER_RECENT_N], 5);
    cr_expect_eq(raw[VR_VIEWER_RECENT_LONG], 1);
    cr_expect_eq(raw[VR_VIEWER_RECENT_WATCH_S], 5);
    cr_expect_eq(raw[VR_VIEWER_RECENT_LIKES], 1);
    vr_history_fields(recent, 0, raw);
    cr_expect_eq(raw[VR_VIEWER_RECENT_N], 0);
    cr_expect(isnan(raw[VR_VIEWER_RECENT_WATCH_S]));
    cr_expect(isnan(raw[VR_VIEWER_LAST_WATCH_S]));
    cr_expect(isnan(raw[VR_VIEWER_SINCE_S]));
}

/* The five newest of seven, one of them without a time; the hour reaches further back. */
Test(history, windows)
{
    static const struct vr_recent seven[] = {
        {1, NAN, NAN, VR_WATCH_LIKE},
        {1, 3601, 9, VR_WATCH_CLICK | VR_WATCH_LIKE},
        {2, 3600, 10, VR_WATCH_CLICK},
        {3, NAN, NAN, VR_WATCH_LONG_VIEW},
        {4, 60, 20, VR_WATCH_CLICK | VR_WATCH_LONG_VIEW},
        {5, 40, NAN, VR_WATCH_FINISH},
        {6, 20, 0, 0},
    };
    double raw[VR_VIEWER_FIELDS] = {0};
    vr_history_fields(seven, 7, raw);
    cr_expect_eq(raw[VR_VIEWER_RECENT_LIKES], 2);
    cr_expect_eq(raw[VR_VIEWER_LAST_N], 4);
    cr_expect_eq(raw[VR_VIEWER_LAST_CLICKS], 2);
    cr_expect_eq(raw[VR_VIEWER_LAST_LONG], 1);
    cr_expect_eq(raw[VR_VIEWER_LAST_FINISHES], 1);
    cr_expect_eq(raw[VR_VIEWER_LAST_WATCH_S], 10);
    cr_expect_eq(raw[VR_VIEWER_HOUR_N], 4);
    cr_expect_eq(raw[VR_VIEWER_SINCE_S], 20);
    vr_history_fields(seven, 1, raw);
    cr_expect_eq(raw[VR_VIEWER_LAST_N], 0);
    cr_expect(isnan(raw[VR_VIEWER_SINCE_S]));
}

Test(history, matches)
{
    static const int32_t topic[] = {0, 1, 2, 1, -1, 1}, creator[] = {7, 7, 7, 8, 9, -1};
    double raw[VR_PAIR_FIELDS] = {0};
    vr_history_matches(recent, 5, topic, creator, 1, raw);
    cr_expect_eq(raw[VR_PAIR_TOPIC_N], 3); /* 3, 5, 5 */
    cr_expect_eq(raw[VR_PAIR_TOPIC_LONG], 1);
    cr_expect_eq(raw[VR_PAIR_CREATOR_N], 0);
    cr_expect_eq(raw[VR_PAIR_WATCHED_N], 0);
    vr_history_matches(recent, 5, topic, creator, 5, raw);
    cr_expect_eq(raw[VR_PAIR_TOPIC_N], 3);
    cr_expect_eq(raw[VR_PAIR_CREATOR_N], 0); /* an unknown creator matches nothing, not even itself */
    cr_expect_eq(raw[VR_PAIR_WATCHED_N], 2);
    vr_history_matches(recent, 5, topic, creator, 4, raw);
    cr_expect_eq(raw[VR_PAIR_TOPIC_N], 0);
    cr_expect_eq(raw[VR_PAIR_CREATOR_N], 1);
    cr_expect_eq(raw[VR_PAIR_CREATOR_LONG], 0);
    vr_history_matches(recent, 5, topic, creator, -1, raw);
    for (int i = VR_PAIR_TOPIC_N; i < (int)VR_PAIR_FIELDS; i++) {
        cr_expect_eq(raw[i], 0);
    }
}

Test(history, hour_and_weekday)
{
    static const struct {
        int64_t now_ms;
        int32_t offset;
        double hour, weekday;
    } cases[] = {
        {0, 0, 0, 3},                        /* Thursday, 1 January 1970 */
        {0, 480, 8, 3},                      /* in Beijing */
        {0, -60, 23, 2},                     /* still Wednesday in the west */
        {-1, 0, 23, 2},                      /* before 1970 */
        {INT64_C(1700000000000), 0, 22, 1},  /* Tuesday, 14 November 2023, 22:13 */
        {INT64_C(1700000000000), 120, 0, 2}, /* past midnight */
        {INT64_C(1709251199999), 0, 23, 3},  /* the last millisecond of 29 February 2024 */
        {INT64_C(1709251200000), 0, 0, 4},   /* and the next */
        {INT64_MAX, 840, 21, 6},             /* no overflow */
        {INT64_MIN, -840, 2, 6},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        double raw[VR_CONTEXT_FIELDS];
        vr_time_fields(cases[i].now_ms, cases[i].offset, raw);
        cr_expect_eq(raw[VR_CONTEXT_HOUR], cases[i].hour, "case %zu: hour %g", i, raw[VR_CONTEXT_HOUR]);
        cr_expect_eq(raw[VR_CONTEXT_WEEKDAY], cases[i].weekday, "case %zu: weekday %g", i, raw[VR_CONTEXT_WEEKDAY]);
    }
}

Test(history, age)
{
    cr_expect_eq(vr_age_hours(7200000, 0), 2);
    cr_expect_eq(vr_age_hours(0, 7200000), 0);
    cr_expect(isnan(vr_age_hours(0, INT64_MIN)));
    cr_expect_gt(vr_age_hours(INT64_MAX, INT64_MIN + 1), 5e12);
}
