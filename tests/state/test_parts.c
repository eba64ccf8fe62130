/* The state's parts alone: labels of an impression, the number set, the event window, the bounded heap, decayed sums.
 */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "../support/colliding_id.h"
#include "state/event_window.h"
#include "state/labels.h"
#include "state/number_set.h"
#include "vireo/top.h"

/* ---- labels ---- */

struct label_case {
    const char *what;
    float duration_s;
    float plays[3]; /* ended by a negative one */
    bool finish_event;
    double watch_s;
    uint32_t flags;
};

Test(labels, of_plays_and_finishes)
{
    const uint32_t long_view = VR_WATCH_LONG_VIEW, both = VR_WATCH_LONG_VIEW | VR_WATCH_FINISH;
    const struct label_case cases[] = {
        {"nothing played", 10, {-1}, false, 0, 0},
        {"short of 0.95", 10, {9.4F, -1}, false, 9.4, 0},
        {"exactly 0.95 finishes, but is no long view", 10, {9.5F, -1}, false, 9.5, VR_WATCH_FINISH},
        {"plays add up", 10, {5, 5, -1}, false, 10, both},
        {"0.95 of a long video is long too", 100, {95, -1}, false, 95, both},
        {"18 s are a long view", 100, {17.5F, 0.5F, -1}, false, 18, long_view},
        {"under 18 s", 100, {17.9F, -1}, false, 17.9, 0},
        {"duration unknown: no finish, long view at 18 s", 0, {18, -1}, false, 18, long_view},
        {"duration unknown: a finish event says nothing", 0, {3, -1}, true, 3, 0},
        {"a finish event raises to the duration", 10, {2, -1}, true, 10, both},
        {"and lowers nothing", 10, {25, -1}, true, 25, both},
        {"the cap", 400, {200, 150, -1}, false, 300, long_view},
        {"finish is judged before the cap", 400, {200, 190, -1}, false, 300, both},
        {"finish event of a video beyond the cap", 400, {-1}, true, 300, both},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        for (int finish_first = 0; finish_first < 2; finish_first++) { /* the order of events must not matter */
            struct vr_impression impression = {.request = 1, .time_ms = 5};
            struct vr_event event = {.type = VR_EVENT_FINISH, .time_ms = 5, .duration_s = cases[i].duration_s};
            if (cases[i].finish_event && finish_first) {
                vr_impression_apply(&impression, &event, false);
            }
            for (const float *play = cases[i].plays; *play >= 0; play++) {
                struct vr_event played = event;
                played.type = VR_EVENT_PLAY;
                played.watch_s = *play;
                vr_impression_apply(&impression, &played, false);
            }
            if (cases[i].finish_event && !finish_first) {
                vr_impression_apply(&impression, &event, false);
            }
            cr_assert_float_eq(vr_impression_watch_s(&impression), cases[i].watch_s, 1e-5, "%s", cases[i].what);
            cr_assert_eq(impression.flags, cases[i].flags, "%s: flags %u", cases[i].what, impression.flags);
        }
    }
}

Test(labels, change_once_an_impression)
{
    struct vr_impression impression = {.request = 1, .time_ms = 100};
    struct vr_event event = {.type = VR_EVENT_CLICK, .time_ms = 90, .duration_s = NAN};
    struct vr_label_change change = vr_impression_apply(&impression, &event, true);
    cr_assert_eq(change.delta.impressions, 1);
    cr_assert_eq(change.delta.clicks, 1);
    cr_assert_eq(change.trend, 1);
    cr_assert_eq(impression.time_ms, 90, "an impression stands at its earliest event");
    change = vr_impression_apply(&impression, &event, false);
    cr_assert_eq(change.delta.impressions + change.delta.clicks + change.trend, 0);
    event.type = VR_EVENT_LIKE;
    cr_assert_eq(vr_impression_apply(&impression, &event, false).trend, 4);
    event.type = VR_EVENT_FINISH;
    event.duration_s = 20;
    change = vr_impression_apply(&impression, &event, false);
    cr_assert_eq(change.delta.finishes, 1);
    cr_assert_eq(change.delta.watch_s, 20);
    cr_assert_eq(change.trend, 2);
    event.type = VR_EVENT_PLAY;
    event.watch_s = 19;
    change = vr_impression_apply(&impression, &event, false);
    cr_assert_eq(change.delta.finishes + change.delta.watch_s + change.trend, 0, "already counted by the finish");
    for (unsigned type = VR_EVENT_SHARE; type < VR_EVENT_TYPE_COUNT; type++) {
        event.type = (enum vr_event_type)type;
        change = vr_impression_apply(&impression, &event, false);
        cr_assert_eq(change.delta.impressions + change.delta.watch_s + change.trend, 0);
    }
}

Test(labels, decayed_sum_is_exact_in_any_order)
{
    const double half_life_ms = 1000;
    const int64_t time_ms[] = {5000, 1000, 9000, 2500, 9000, 0};
    struct vr_trend trend = {0};
    double expected = 0;
    for (size_t i = 0; i < sizeof time_ms / sizeof *time_ms; i++) {
        vr_trend_add(&trend, (double)i + 1, time_ms[i], half_life_ms);
        expected += ((double)i + 1) * pow(0.5, (double)(10000 - time_ms[i]) / half_life_ms);
    }
    cr_assert_float_eq(vr_trend_at(&trend, 10000, half_life_ms), expected, 1e-12);
    cr_assert_leq(vr_trend_at(&trend, 0, half_life_ms), 22, "a weight from the future is not grown");
}

/* ---- number set ---- */

Test(number_set, keeps_the_latest)
{
    struct vr_number_set set = {0};
    uint32_t model[40]; /* latest last: a plain list that the set must agree with */
    uint32_t count = 0;
    const uint32_t limit = 37;
    srand(1);
    for (int step = 0; step < 5000; step++) {
        uint32_t number = (uint32_t)rand() % 90;
        uint32_t at = 0;
        while (at < count && model[at] != number) {
            at++;
        }
        if (at == count && count == limit) {
            at = 0;
        }
        bool replaces = at < count;
        for (; replaces && at + 1 < count; at++) {
            model[at] = model[at + 1];
        }
        count -= replaces ? 1 : 0;
        model[count++] = number;

        cr_assert(vr_number_set_reserve(&set, 1, limit));
        vr_number_set_add(&set, number, limit);
        cr_assert(vr_number_set_is_valid(&set));
        cr_assert_eq(set.count, count);
        cr_assert_arr_eq(set.order, model, count * sizeof *model);
    }
    cr_assert_leq(set.capacity, limit);
    vr_number_set_clear(&set);
    cr_assert_eq(vr_number_set_bytes(&set), 0);
}

/* ---- event window ---- */

static bool add_id(struct vr_event_window *window, unsigned id)
{
    char text[16];
    snprintf(text, sizeof text, "event-%u", id);
    return vr_event_window_add(window, vr_str_of(text));
}

Test(event_window, remembers_exactly_the_latest)
{
    struct vr_event_window *window;
    const unsigned capacity = 50;
    unsigned last_added[400]; /* step at which an id was last added, counted in additions; 0 never */
    unsigned additions = 0;
    memset(last_added, 0, sizeof last_added);
    cr_assert_eq(vr_event_window_create(capacity, &window), VR_OK);
    srand(2);
    for (int step = 0; step < 50000; step++) {
        unsigned id = (unsigned)rand() % (step % 2 == 0 ? 70 : 400);
        bool expected_new = last_added[id] == 0 || additions - last_added[id] >= capacity;
        cr_assert_eq(add_id(window, id), expected_new, "step %d", step);
        if (expected_new) {
            last_added[id] = ++additions;
        }
    }
    vr_event_window_destroy(window);
}

Test(event_window, forgets_on_demand)
{
    struct vr_event_window *window;
    cr_assert_eq(vr_event_window_create(3, &window), VR_OK);
    cr_assert(add_id(window, 1));
    vr_event_window_forget(window, vr_str_of("event-1"));
    vr_event_window_forget(window, vr_str_of("never there"));
    cr_assert(add_id(window, 1), "a forgotten id is new again");
    cr_assert(add_id(window, 2));
    cr_assert(add_id(window, 3), "takes the forgotten id's place in the ring");
    cr_assert_not(add_id(window, 1), "whose eviction must not take the second one along");
    cr_assert(add_id(window, 4));
    cr_assert(add_id(window, 1), "now it is the oldest and has gone");
    vr_event_window_destroy(window);
}

Test(event_window, ids_made_to_collide_are_told_apart)
{
    struct vr_event_window *window;
    cr_assert_eq(vr_event_window_create(1000, &window), VR_OK);
    for (uint64_t n = 0; n < 1000; n++) {
        struct colliding_id id = colliding_id(n);
        cr_assert(vr_event_window_add(window, (struct vr_str){id.byte, sizeof id.byte}), "id %u", (unsigned)n);
    }
    vr_event_window_destroy(window);
}

/* ---- top ---- */

static int compare_entries(const void *left, const void *right)
{
    const struct vr_top_entry *a = left, *b = right;
    if (a->key != b->key) {
        return a->key > b->key ? -1 : 1;
    }
    return (a->id > b->id) - (a->id < b->id);
}

Test(top, equals_a_sort)
{
    srand(3);
    for (int round = 0; round < 300; round++) {
        struct vr_top_entry all[200], kept[64];
        struct vr_top top = {.entry = kept, .capacity = (uint32_t)rand() % 64};
        uint32_t count = (uint32_t)rand() % 200;
        for (uint32_t i = 0; i < count; i++) {
            all[i] = (struct vr_top_entry){rand() % 20, i};
        }
        for (uint32_t i = count; i-- > 0;) {
            vr_top_push(&top, all[i].key, all[i].id);
        }
        vr_top_finish(&top);
        qsort(all, count, sizeof *all, compare_entries);
        cr_assert_eq(top.count, count < top.capacity ? count : top.capacity);
        for (uint32_t i = 0; i < top.count; i++) {
            cr_assert_eq(kept[i].id, all[i].id);
            cr_assert_eq(kept[i].key, all[i].key);
        }
    }
}
