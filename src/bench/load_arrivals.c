/* The sequence of requests (load_parts.h). */
#include "load_parts.h"

/* Steps and spikes are pieces of another rate; the warm-up belongs to the first piece. */
static enum vr_status set_pieces(const struct vr_bench_load_setup *setup, double rate, struct bench_schedule *schedule)
{
    const double end = setup->warm_up_s + setup->seconds, at = setup->warm_up_s + setup->step_at_s;
    const double other = setup->to_rate * rate / setup->rate, until = at + setup->step_for_s;
    const bool spike = setup->schedule == VR_BENCH_SPIKE;
    *schedule = (struct bench_schedule){
        .piece = {{end, rate}}, .pieces = 1, .poisson = setup->schedule != VR_BENCH_CONSTANT, .random = setup->seed};
    if (setup->schedule != VR_BENCH_STEP && !spike) {
        return VR_OK;
    }
    if (at >= end || (spike && until > end)) {
        return vr_fail(VR_ERR_INVALID, "--step-at: the %s lies behind the end", spike ? "spike" : "step");
    }
    schedule->piece[0].until_s = at;
    schedule->piece[1] = (struct bench_piece){spike ? until : end, other};
    schedule->piece[2] = (struct bench_piece){end, rate};
    schedule->pieces = spike && until < end ? 3 : 2;
    return VR_OK;
}

/* The file's mean rate at the replay's speed; of one line, or of lines all at once, one a second. */
static double replay_rate(const struct load_requests *requests, double speed)
{
    const double last = requests->at_s[requests->count - 1];
    return last > 0.0 ? speed * (double)requests->count / last : 1.0;
}

enum vr_status load_arrivals_begin(const struct vr_bench_load_setup *setup, const struct load_requests *requests,
                                   double rate, struct load_arrivals *out)
{
    *out = (struct load_arrivals){.requests = requests,
                                  .replay = setup->schedule == VR_BENCH_REPLAY,
                                  .warm_up_s = setup->warm_up_s,
                                  .seconds = setup->seconds,
                                  .speed = setup->speed,
                                  .limit = setup->limit};
    if (!out->replay) {
        return set_pieces(setup, rate, &out->schedule);
    }
    if (setup->warm_up_s > 0.0) {
        out->schedule =
            (struct bench_schedule){.piece = {{setup->warm_up_s, replay_rate(requests, setup->speed)}}, .pieces = 1};
    }
    return VR_OK;
}

static bool next_replayed(struct load_arrivals *arrivals, double *at_s, uint32_t *request)
{
    const struct load_requests *requests = arrivals->requests;
    if (arrivals->replayed == requests->count) {
        return false;
    }
    const double since = requests->at_s[arrivals->replayed] / arrivals->speed;
    *at_s = arrivals->warm_up_s + since;
    *request = arrivals->replayed++;
    return since < arrivals->seconds;
}

bool load_arrivals_next(struct load_arrivals *arrivals, double *at_s, uint32_t *request)
{
    if (arrivals->next == arrivals->limit) {
        return false;
    }
    *request = (uint32_t)(arrivals->next % arrivals->requests->count);
    arrivals->next++;
    return bench_schedule_next(&arrivals->schedule, at_s) ||
           (arrivals->replay && next_replayed(arrivals, at_s, request));
}
