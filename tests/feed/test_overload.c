/* Overload on a fake clock: the queue's line-up, the take rule, admission and the governor as they are, before a model
 * server whose batches take base + each * requests, less at a lower quality, plus noise. Arrivals are Poisson and do
 * not wait for answers (open loop). Everything follows from the seed. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "feed/dispatch.h"
#include "support_rerank.h"

#define LANES_MAX 4u
#define S 1000000u /* of the clock */
#define CAPACITY 1024u
#define SLOTS 8192u /* jobs at a time, in the feed or on the way */

struct server {
    uint32_t lanes, max_batch;
    double base_us, each_us; /* at full quality; a third of each_us does not shrink with the candidates */
    double noise;            /* of a batch's time, to both sides */
    double hiccup;           /* share of batches that take ten times as long */
};

struct load {
    double rate; /* jobs a second */
    uint32_t timeout_ms;
    uint32_t high, low; /* percent of the jobs */
};

/* What became of the jobs that arrived within a window. */
struct score {
    uint32_t arrived, admitted, refused, in_time, late, let_go;
    uint32_t in_time_of[VR_PRIORITIES], arrived_of[VR_PRIORITIES];
    uint64_t first_refused_us, last_refused_us;
    uint64_t longest_us; /* of those answered with a feed */
    uint32_t full_quality;
};

struct sim {
    struct server server;
    struct random random;
    struct vr_dispatch dispatch;
    uint64_t now_us;
    double next_arrival_us;
    struct {
        bool busy;
        uint64_t until_us; /* busy: its batch ends; else ask again */
        struct vr_taken taken;
        struct vr_job *batch[256];
        uint64_t since_us;
    } lane[LANES_MAX];
    uint32_t waiting[VR_PRIORITIES];
    uint32_t refused; /* since the last tick */
    struct vr_job job[SLOTS];
    bool used[SLOTS];
    uint32_t next_slot;
    struct score *score; /* of the window at hand */
};

static void sim_open(struct sim *sim, const struct server *server, uint32_t seed)
{
    struct vr_lane_config limits = {.count = server->lanes,
                                    .max_batch = server->max_batch,
                                    .target_batch_ms = 10,
                                    .target_wait_ms = 50,
                                    .max_delay_us = 500,
                                    .queue_capacity = CAPACITY};
    memset(sim, 0, sizeof *sim);
    sim->server = *server;
    sim->random.state = 0x9e3779b97f4a7c15ull * (seed + 1);
    sim->now_us = 10 * S;
    cr_assert_eq(vr_dispatch_create(&sim->dispatch, &limits, sim->now_us), VR_OK);
    for (uint32_t i = 0; i < LANES_MAX; i++) {
        sim->lane[i].taken.batch = sim->lane[i].batch;
        sim->lane[i].until_us = UINT64_MAX;
    }
}

static void sim_close(struct sim *sim)
{
    vr_dispatch_destroy(&sim->dispatch);
}

static struct sim *sim_new(const struct server *server, uint32_t seed)
{
    struct sim *sim = malloc(sizeof *sim);
    cr_assert_not_null(sim);
    sim_open(sim, server, seed);
    return sim;
}

static void sim_free(struct sim *sim)
{
    sim_close(sim);
    free(sim);
}

static double unit(struct sim *sim)
{
    return random_unit(&sim->random);
}

/* ---- jobs ---- */

static struct vr_job *job_take(struct sim *sim)
{
    for (uint32_t i = 0; i < SLOTS; i++) {
        uint32_t slot = (sim->next_slot + i) % SLOTS;
        if (!sim->used[slot]) {
            sim->used[slot] = true;
            sim->next_slot = slot + 1;
            memset(&sim->job[slot], 0, sizeof sim->job[slot]);
            return &sim->job[slot];
        }
    }
    cr_assert_fail("more jobs in the feed than it takes");
    return NULL;
}

static void job_put(struct sim *sim, const struct vr_job *job)
{
    sim->used[job - sim->job] = false;
}

static enum vr_priority any_priority(struct sim *sim, const struct load *load)
{
    uint32_t percent = random_below(&sim->random, 100);
    if (percent < load->high) {
        return VR_PRIORITY_HIGH;
    }
    return percent < load->high + load->low ? VR_PRIORITY_LOW : VR_PRIORITY_NORMAL;
}

static void note_refusal(struct sim *sim, const struct vr_admit_answer *answer)
{
    sim->score->refused++;
    sim->refused += answer->hopeless ? 0 : 1;
    sim->score->first_refused_us = sim->score->first_refused_us == 0 ? sim->now_us : sim->score->first_refused_us;
    sim->score->last_refused_us = sim->now_us;
}

static void arrive(struct sim *sim, const struct load *load)
{
    struct vr_admit_view view = vr_dispatch_view(&sim->dispatch);
    struct vr_admit_question question = {.priority = any_priority(sim, load),
                                         .now_us = sim->now_us,
                                         .deadline_us = sim->now_us + 1000ull * load->timeout_ms,
                                         .capacity = CAPACITY};
    memcpy(question.waiting, sim->waiting, sizeof question.waiting);
    struct vr_admit_answer answer = vr_admit(&view, &question);
    sim->score->arrived++;
    sim->score->arrived_of[question.priority]++;
    if (!answer.taken) {
        note_refusal(sim, &answer);
        return;
    }
    struct vr_job *job = job_take(sim);
    job->request.priority = question.priority;
    job->request.received_us = sim->now_us;
    job->request.deadline_us = question.deadline_us;
    sim->waiting[question.priority]++;
    sim->score->admitted++;
    vr_dispatch_add(&sim->dispatch, job);
}

/* ---- lanes ---- */

/* A third of a request's cost is there whatever its candidates are. */
static double batch_us(struct sim *sim, uint32_t requests, uint32_t level)
{
    double share = (double)(VR_QUALITY_LEVELS - level) / VR_QUALITY_LEVELS;
    double us = sim->server.base_us + requests * sim->server.each_us * (1.0 + 2.0 * share) / 3.0;
    us *= 1.0 + sim->server.noise * (2.0 * unit(sim) - 1.0);
    return unit(sim) < sim->server.hiccup ? 10.0 * us : us;
}

static void answer(struct sim *sim, const struct vr_job *job, uint32_t level)
{
    uint64_t took_us = sim->now_us - job->request.received_us;
    bool in_time = sim->now_us <= job->request.deadline_us;
    sim->score->in_time += in_time ? 1 : 0;
    sim->score->late += in_time ? 0 : 1;
    sim->score->in_time_of[job->request.priority] += in_time ? 1 : 0;
    sim->score->longest_us = took_us > sim->score->longest_us ? took_us : sim->score->longest_us;
    sim->score->full_quality += level == 0 ? 1 : 0;
    job_put(sim, job);
}

static void finish(struct sim *sim, uint32_t lane)
{
    const struct vr_taken *taken = &sim->lane[lane].taken;
    struct vr_batch_done done = {.jobs = taken->count,
                                 .requests = taken->count,
                                 .level = taken->level,
                                 .us = sim->now_us - sim->lane[lane].since_us};
    for (uint32_t i = 0; i < taken->count; i++) {
        answer(sim, taken->batch[i], taken->level);
    }
    vr_dispatch_done(&sim->dispatch, &done);
    sim->lane[lane].busy = false;
}

static void leave_line(struct sim *sim, const struct vr_job *job)
{
    sim->waiting[job->request.priority]--;
}

static void begin(struct sim *sim, uint32_t lane, uint32_t count)
{
    struct vr_taken *taken = &sim->lane[lane].taken;
    vr_dispatch_take(&sim->dispatch, sim->now_us, count, taken);
    for (uint32_t i = 0; i < taken->count; i++) {
        leave_line(sim, taken->batch[i]);
    }
    for (struct vr_job *job = taken->dead, *next; job != NULL; job = next) {
        next = job->next;
        leave_line(sim, job);
        sim->score->let_go++;
        job_put(sim, job);
    }
    sim->lane[lane].busy = taken->count > 0;
    sim->lane[lane].since_us = sim->now_us;
    sim->lane[lane].until_us = sim->now_us;
    if (taken->count > 0) {
        sim->lane[lane].until_us += (uint64_t)batch_us(sim, taken->count, taken->level);
    }
}

static void ask(struct sim *sim, uint32_t lane)
{
    if (vr_dispatch_is_due(&sim->dispatch, sim->now_us)) {
        vr_dispatch_tick(&sim->dispatch, sim->now_us, sim->refused);
        sim->refused = 0;
    }
    struct vr_take take = vr_dispatch_decide(&sim->dispatch, sim->now_us);
    if (take.kind == VR_TAKE_BATCH) {
        begin(sim, lane, take.count);
    } else {
        sim->lane[lane].until_us = take.kind == VR_TAKE_WAIT ? take.until_us : UINT64_MAX;
    }
}

static void look_after_lanes(struct sim *sim)
{
    for (uint32_t i = 0; i < sim->server.lanes; i++) {
        if (sim->lane[i].busy && sim->lane[i].until_us <= sim->now_us) {
            finish(sim, i);
        }
        if (!sim->lane[i].busy) {
            ask(sim, i);
        }
    }
}

/* ---- time ---- */

static uint64_t next_lane_event(const struct sim *sim)
{
    uint64_t next = UINT64_MAX;
    for (uint32_t i = 0; i < sim->server.lanes; i++) {
        next = sim->lane[i].until_us < next ? sim->lane[i].until_us : next;
    }
    return next;
}

static double interval_us(struct sim *sim, double rate)
{
    return -log(1.0 - unit(sim)) * S / rate;
}

/* Let `load` arrive for `seconds` more; what is in the feed at the end stays there. */
static struct score run(struct sim *sim, const struct load *load, double seconds)
{
    struct score score = {0};
    uint64_t end_us = sim->now_us + (uint64_t)(seconds * S);
    sim->score = &score;
    sim->next_arrival_us = (double)sim->now_us + interval_us(sim, load->rate);
    while (sim->now_us < end_us) {
        uint64_t lane_us = next_lane_event(sim);
        uint64_t arrival_us = (uint64_t)sim->next_arrival_us;
        uint64_t next = lane_us < arrival_us ? lane_us : arrival_us;
        sim->now_us = next > sim->now_us ? next : sim->now_us;
        if (arrival_us <= sim->now_us) {
            arrive(sim, load);
            sim->next_arrival_us += interval_us(sim, load->rate);
        }
        look_after_lanes(sim);
    }
    return score;
}

/* ---- what must hold ---- */

static const struct {
    const char *name;
    struct server server;
    uint32_t timeout_ms;
} cases[] = {
    {"cpu, a second", {2, 16, 300.0, 2500.0, 0.2, 0.0}, 1000},
    {"cpu, 100 ms", {2, 16, 300.0, 2500.0, 0.2, 0.0}, 100},
    {"cpu with hiccups", {2, 16, 300.0, 2500.0, 0.3, 0.005}, 500},
    {"one lane", {1, 16, 1000.0, 1000.0, 0.1, 0.0}, 250},
    {"a dear scan", {2, 32, 14000.0, 1400.0, 0.1, 0.0}, 500},
    {"a device", {4, 128, 2000.0, 100.0, 0.1, 0.0}, 50},
};
#define CASES (sizeof cases / sizeof *cases)

/* Jobs a second of full batches at a level, as large as the server may make them. */
static double capacity(const struct server *server, uint32_t level)
{
    double share = (double)(VR_QUALITY_LEVELS - level) / VR_QUALITY_LEVELS;
    double each_us = server->each_us * (1.0 + 2.0 * share) / 3.0;
    double batch = fmax(2.0, fmax((10000.0 - server->base_us) / each_us, ceil(server->base_us / each_us)));
    batch = fmin(floor(batch), server->max_batch);
    return server->lanes * batch / (server->base_us + each_us * batch) * S;
}

/* Answers in time a second, in a steady state. */
static double goodput(struct sim *sim, double rate, uint32_t timeout_ms, double seconds)
{
    struct load load = {.rate = rate, .timeout_ms = timeout_ms};
    struct score score = run(sim, &load, seconds);
    return score.in_time / seconds;
}

static double peak_of(const struct server *server, uint32_t timeout_ms, uint32_t seed)
{
    static const double share[] = {0.8, 0.9, 1.0, 1.1, 1.3};
    double peak = 0.0;
    for (uint32_t i = 0; i < sizeof share / sizeof *share; i++) {
        struct sim *sim = sim_new(server, seed);
        double rate = share[i] * capacity(server, VR_QUALITY_LEVELS - 1);
        (void)goodput(sim, rate, timeout_ms, 1.0);
        peak = fmax(peak, goodput(sim, rate, timeout_ms, 5.0));
        sim_free(sim);
    }
    return peak;
}

static uint32_t seeds(void)
{
    const char *text = getenv("VIREO_LONG");
    return text != NULL && text[0] == '1' ? 50 : 3;
}

static double missed(const struct score *score)
{
    return (double)(score->late + score->let_go) / score->admitted;
}

/* The onset counts too, but for itself: a cold server learns what a batch costs and gives up quality first. */
static void five_times(uint32_t c, uint32_t seed)
{
    const struct server *server = &cases[c].server;
    double peak = peak_of(server, cases[c].timeout_ms, seed);
    struct load load = {.rate = 5.0 * peak, .timeout_ms = cases[c].timeout_ms};
    struct sim *sim = sim_new(server, seed);
    struct score onset = run(sim, &load, 1.0);
    struct score steady = run(sim, &load, 5.0);
    double share = steady.in_time / 5.0 / peak;
    cr_log_info(
        "%s, seed %u: peak %.0f/s; at five times that %.3f of it (%.3f in the first second), missed %.4f (%.4f)",
        cases[c].name, seed, peak, share, onset.in_time / peak, missed(&steady), missed(&onset));
    cr_expect_geq(share, 0.9, "%s, seed %u: %.3f of the peak", cases[c].name, seed, share);
    cr_expect_geq(onset.in_time / peak, 0.5, "%s, seed %u: %.3f of the peak", cases[c].name, seed,
                  onset.in_time / peak);
    cr_expect_leq(missed(&steady), 0.01, "%s, seed %u: %.4f missed", cases[c].name, seed, missed(&steady));
    cr_expect_leq(missed(&onset), 0.15, "%s, seed %u: %.4f missed at first", cases[c].name, seed, missed(&onset));
    sim_free(sim);
}

Test(overload, five_times_capacity_costs_no_goodput_and_no_deadline)
{
    for (uint32_t c = 0; c < CASES; c++) {
        for (uint32_t seed = 1; seed <= seeds(); seed++) {
            five_times(c, seed);
        }
    }
}

Test(overload, a_second_after_the_load_ends_nothing_is_left_of_it)
{
    for (uint32_t c = 0; c < CASES; c++) {
        for (uint32_t seed = 1; seed <= seeds(); seed++) {
            const struct server *server = &cases[c].server;
            struct load flood = {.rate = 5.0 * capacity(server, 2), .timeout_ms = cases[c].timeout_ms};
            struct load usual = {.rate = 0.4 * capacity(server, 0), .timeout_ms = cases[c].timeout_ms};
            struct sim *sim = sim_new(server, seed);
            (void)run(sim, &flood, 2.0);
            cr_expect_eq(sim->dispatch.governor.level, VR_QUALITY_LEVELS - 1);
            (void)run(sim, &usual, 1.0);
            struct score after = run(sim, &usual, 1.0);
            cr_expect_eq(after.refused, 0u, "%s, seed %u: %u of %u refused", cases[c].name, seed, after.refused,
                         after.arrived);
            cr_expect_leq(missed(&after), 0.01, "%s, seed %u", cases[c].name, seed);
            cr_expect_eq(after.full_quality, after.in_time + after.late, "%s, seed %u", cases[c].name, seed);
            sim_free(sim);
        }
    }
}

Test(overload, an_idle_time_forgets_the_load)
{
    const struct server *server = &cases[0].server;
    struct load flood = {.rate = 5.0 * capacity(server, 2), .timeout_ms = 1000};
    struct load alone = {.rate = 2.0, .timeout_ms = 1000};
    struct sim *sim = sim_new(server, 1);
    (void)run(sim, &flood, 2.0);
    (void)run(sim, &alone, 1.5);
    struct score after = run(sim, &alone, 5.0);
    cr_expect_gt(after.arrived, 0u);
    cr_expect_eq(after.full_quality, after.arrived);
    cr_expect_lt(after.longest_us, 10000u);
    sim_free(sim);
}

/* Between the capacities of two levels quality does not swing: each change is a tenth of a second's worth of noise to
 * whoever compares two feeds. */
Test(overload, a_load_between_two_levels_does_not_swing)
{
    for (uint32_t seed = 1; seed <= seeds(); seed++) {
        const struct server *server = &cases[0].server;
        double rate = 0.5 * (capacity(server, 0) + capacity(server, 1));
        struct load load = {.rate = rate, .timeout_ms = 1000};
        struct sim *sim = sim_new(server, seed);
        uint32_t changes = 0, refused = 0, arrived = 0;
        (void)run(sim, &load, 2.0);
        for (uint32_t i = 0, level = sim->dispatch.governor.level; i < 200; i++) { /* 20 s */
            struct score score = run(sim, &load, 0.1);
            arrived += score.arrived;
            refused += score.refused;
            changes += sim->dispatch.governor.level != level ? 1 : 0;
            level = sim->dispatch.governor.level;
        }
        cr_expect_leq(changes, 16u, "seed %u: %u changes", seed, changes);
        cr_expect_leq(refused, arrived / 200, "seed %u: %u of %u refused, though quality goes first", seed, refused,
                      arrived);
        sim_free(sim);
    }
}

Test(overload, a_load_that_can_be_borne_costs_neither_quality_nor_requests)
{
    for (uint32_t c = 0; c < CASES; c++) {
        const struct server *server = &cases[c].server;
        struct load load = {.rate = 0.6 * capacity(server, 0), .timeout_ms = cases[c].timeout_ms};
        struct sim *sim = sim_new(server, 5);
        (void)run(sim, &load, 2.0);
        struct score score = run(sim, &load, 5.0);
        cr_expect_leq(score.refused, score.arrived / 1000, "%s: %u of %u", cases[c].name, score.refused, score.arrived);
        cr_expect_geq(score.full_quality, 0.98 * score.in_time, "%s: %u of %u", cases[c].name, score.full_quality,
                      score.in_time);
        cr_expect_leq(missed(&score), 0.01, "%s", cases[c].name);
        sim_free(sim);
    }
}

static double served(const struct score *score, enum vr_priority priority)
{
    return (double)score->in_time_of[priority] / score->arrived_of[priority];
}

Test(overload, low_is_shed_first_and_high_last)
{
    for (uint32_t seed = 1; seed <= seeds(); seed++) {
        const struct server *server = &cases[0].server;
        struct load load = {.rate = 2.0 * capacity(server, 2), .timeout_ms = 500, .high = 20, .low = 40};
        struct sim *sim = sim_new(server, seed);
        (void)run(sim, &load, 1.0);
        struct score score = run(sim, &load, 4.0);
        double high = served(&score, VR_PRIORITY_HIGH), normal = served(&score, VR_PRIORITY_NORMAL),
               low = served(&score, VR_PRIORITY_LOW);
        cr_expect(high > 0.95 && normal > 0.5 && low < 0.3, "seed %u: %.3f, %.3f, %.3f", seed, high, normal, low);
        cr_expect_gt(low, 0.0);
        sim_free(sim);
    }
}

Test(overload, who_floods_as_high_starves_nobody)
{
    for (uint32_t seed = 1; seed <= seeds(); seed++) {
        const struct server *server = &cases[0].server;
        struct load load = {.rate = 5.0 * capacity(server, 2), .timeout_ms = 500, .high = 95, .low = 1};
        struct sim *sim = sim_new(server, seed);
        (void)run(sim, &load, 1.0);
        for (uint32_t second = 0; second < 5; second++) {
            struct score score = run(sim, &load, 1.0);
            cr_expect_gt(served(&score, VR_PRIORITY_NORMAL), 0.2, "seed %u: %.3f of normal", seed,
                         served(&score, VR_PRIORITY_NORMAL));
            cr_expect_gt(score.in_time_of[VR_PRIORITY_LOW], 0u, "seed %u", seed);
            cr_expect_leq(missed(&score), 0.01);
        }
        sim_free(sim);
    }
}

/* ---- whatever comes ---- */

static void check_books(const struct sim *sim)
{
    uint32_t waiting = 0, working = 0, busy = 0, inside = 0;
    for (uint32_t p = 0; p < VR_PRIORITIES; p++) {
        waiting += sim->waiting[p];
    }
    for (uint32_t i = 0; i < sim->server.lanes; i++) {
        busy += sim->lane[i].busy ? 1 : 0;
        working += sim->lane[i].busy ? sim->lane[i].taken.count : 0;
    }
    for (uint32_t i = 0; i < SLOTS; i++) {
        inside += sim->used[i] ? 1 : 0;
    }
    cr_assert_eq(sim->dispatch.lineup.length, waiting);
    cr_assert_eq(sim->dispatch.working, working);
    cr_assert_eq(sim->dispatch.in_flight, busy);
    cr_assert_eq(inside, waiting + working, "every job is answered once");
    struct vr_admit_view view = vr_dispatch_view(&sim->dispatch);
    cr_assert(view.batch >= 1 && view.batch <= sim->server.max_batch);
    cr_assert(isfinite(view.base_us) && isfinite(view.each_us) && view.base_us >= 0.0 && view.each_us >= 0.0);
    cr_assert(view.limit >= 1 && view.limit <= CAPACITY + sim->server.lanes * sim->server.max_batch);
    cr_assert_lt(sim->dispatch.governor.level, VR_QUALITY_LEVELS);
}

static void cancel_some(struct sim *sim)
{
    for (uint32_t i = 0; i < 64; i++) {
        uint32_t slot = random_below(&sim->random, SLOTS);
        sim->job[slot].cancelled = sim->job[slot].cancelled || sim->used[slot];
    }
}

Test(overload, any_load_on_any_server_keeps_the_books)
{
    for (uint32_t seed = 1; seed <= 30 * seeds(); seed++) {
        struct random r = {seed};
        struct server server = {.lanes = 1 + random_below(&r, LANES_MAX),
                                .max_batch = 1 + random_below(&r, 64),
                                .base_us = random_below(&r, 20000),
                                .each_us = 20 + random_below(&r, 5000),
                                .noise = 0.9 * random_unit(&r),
                                .hiccup = 0.05 * random_unit(&r)};
        struct sim *sim = sim_new(&server, seed);
        for (uint32_t turn = 0; turn < 20; turn++) {
            struct load load = {.rate = 1.0 + 20000.0 * pow(random_unit(&r), 4.0),
                                .timeout_ms = 1 + random_below(&r, 1000),
                                .high = random_below(&r, 60),
                                .low = random_below(&r, 40)};
            struct score score = run(sim, &load, 0.25);
            cr_assert_eq(score.arrived, score.admitted + score.refused);
            check_books(sim);
            cancel_some(sim);
        }
        sim_free(sim);
    }
}
