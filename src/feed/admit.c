/* The rule of admit.h. */
#include "admit.h"

#include <math.h>

#define SPREADS 3.0 /* deviations of a batch's time that a deadline leaves room for */

static const struct {
    double of_limit, own_share, of_time;
} rights[VR_PRIORITIES] = {[VR_PRIORITY_HIGH] = {1.0, 0.25, 1.0},
                           [VR_PRIORITY_NORMAL] = {0.9, 0.25, 0.9},
                           [VR_PRIORITY_LOW] = {0.5, 0.0625, 0.6}};

static uint32_t all_waiting(const struct vr_admit_question *question)
{
    uint32_t sum = 0;
    for (uint32_t p = 0; p < VR_PRIORITIES; p++) {
        sum += question->waiting[p];
    }
    return sum;
}

/* Jobs that will be served before this one: those of its class and of better ones. */
static uint32_t ahead_of(const struct vr_admit_question *question)
{
    uint32_t high = question->waiting[VR_PRIORITY_HIGH];
    switch (question->priority) {
    case VR_PRIORITY_HIGH: return high;
    case VR_PRIORITY_NORMAL: return high + question->waiting[VR_PRIORITY_NORMAL];
    case VR_PRIORITY_LOW: break;
    }
    return all_waiting(question);
}

static double batch_us(const struct vr_admit_view *view, uint32_t requests)
{
    return view->base_us + view->each_us * requests;
}

/* What is ahead in full batches over all lanes, after half of what the lanes are at now. */
static double expected_wait(const struct vr_admit_view *view, uint32_t ahead)
{
    double full_us = batch_us(view, view->batch);
    double under_way = view->in_flight >= view->lanes ? 0.5 * full_us : 0.0;
    return under_way + full_us * ahead / view->batch / view->lanes;
}

static bool is_over_limit(const struct vr_admit_view *view, const struct vr_admit_question *question, uint32_t waiting)
{
    double inside = (double)waiting + view->working;
    double own = question->waiting[question->priority];
    return inside >= rights[question->priority].of_limit * view->limit &&
           own >= rights[question->priority].own_share * view->limit;
}

static bool is_too_late(const struct vr_admit_question *question, double needed_us)
{
    double left_us =
        question->deadline_us > question->now_us ? (double)(question->deadline_us - question->now_us) : 0.0;
    return needed_us > rights[question->priority].of_time * left_us;
}

static struct vr_admit_answer refuse(struct vr_admit_answer answer, enum vr_shed reason)
{
    answer.taken = false;
    answer.reason = reason;
    answer.retry_after_s = 1 + (uint32_t)fmin((double)answer.wait_us / 1e6, 59.0);
    return answer;
}

struct vr_admit_answer vr_admit(const struct vr_admit_view *view, const struct vr_admit_question *question)
{
    struct vr_admit_answer answer = {.taken = true};
    uint32_t waiting = all_waiting(question);
    if (waiting == 0 && view->in_flight < view->lanes) {
        return answer;
    }
    uint32_t ahead = ahead_of(question);
    uint32_t batch = waiting < view->batch ? waiting + 1 : view->batch;
    double wait_us = expected_wait(view, ahead);
    double service_us = batch_us(view, batch) + SPREADS * view->spread_us;
    answer.wait_us = (uint64_t)wait_us;
    answer.service_us = (uint64_t)service_us;
    if (waiting >= question->capacity) {
        return refuse(answer, VR_SHED_FULL);
    }
    if (is_over_limit(view, question, waiting)) {
        return refuse(answer, VR_SHED_LIMIT);
    }
    if (is_too_late(question, wait_us + service_us)) {
        answer.hopeless = is_too_late(question, batch_us(view, 1));
        return refuse(answer, VR_SHED_DEADLINE);
    }
    return answer;
}
