/* Batches that are handed back at once: each job to its home, oldest first, one waking a list. */
#include <criterion/criterion.h>
#include <unistd.h>

#include "vireo/feed.h"

#define JOBS 7u

static struct vr_job job[JOBS];

static uint64_t wakings(const struct vr_handback *list)
{
    uint64_t count = 0;
    return read(vr_handback_fd(list), &count, sizeof count) == (ssize_t)sizeof count ? count : 0;
}

Test(handback, a_batch_goes_to_its_homes_in_order)
{
    struct vr_handback *home[2];
    struct vr_job *batch[JOBS];
    static const int home_of[JOBS] = {1, 0, 0, 1, 0, 1, 0};
    cr_assert_eq(vr_handback_create(&home[0]), VR_OK);
    cr_assert_eq(vr_handback_create(&home[1]), VR_OK);
    for (uint32_t i = 0; i < JOBS; i++) {
        job[i].home = home[home_of[i]];
        batch[i] = &job[i];
    }
    vr_handback_push_batch(batch, JOBS);
    for (int h = 0; h < 2; h++) {
        cr_expect_eq(wakings(home[h]), 1u);
        const struct vr_job *next = vr_handback_drain(home[h]);
        for (uint32_t i = 0; i < JOBS; i++) {
            if (home_of[i] == h) {
                cr_assert_eq(next, &job[i]);
                next = next->next;
            }
        }
        cr_expect_null(next);
        vr_handback_destroy(home[h]);
    }
}

Test(handback, a_batch_behind_others_wakes_nobody)
{
    struct vr_handback *home;
    cr_assert_eq(vr_handback_create(&home), VR_OK);
    struct vr_job *batch[2] = {&job[1], &job[2]};
    job[0].home = job[1].home = job[2].home = home;
    vr_handback_push(home, &job[0]);
    cr_expect_eq(wakings(home), 1u);
    vr_handback_push_batch(batch, 2);
    cr_expect_eq(wakings(home), 0u);
    const struct vr_job *next = vr_handback_drain(home);
    for (uint32_t i = 0; i < 3; i++, next = next->next) {
        cr_assert_eq(next, &job[i]);
    }
    cr_expect_null(next);
    vr_handback_destroy(home);
}
