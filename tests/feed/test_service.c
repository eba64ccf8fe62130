/* The estimate of a batch's time against model servers whose true cost is known. */
#include <criterion/criterion.h>
#include <math.h>

#include "feed/service.h"
#include "support_rerank.h"

/* Batches of 1..largest requests, whose time varies by `noise` of itself. */
static void run(struct vr_service *service, struct random *r, uint32_t batches, uint32_t largest, double base,
                double each, double noise)
{
    for (uint32_t i = 0; i < batches; i++) {
        uint32_t requests = 1 + random_below(r, largest);
        double wobble = 1.0 + noise * ((double)random_below(r, 2001) / 1000.0 - 1.0);
        vr_service_learn(service, requests, (base + each * requests) * wobble);
    }
}

static void expect_near(const struct vr_service *service, uint32_t requests, double base, double each, double share)
{
    double truth = base + each * requests;
    cr_expect_float_eq(vr_service_us(service, requests), truth, share * truth, "%u requests: %.0f, in truth %.0f",
                       requests, vr_service_us(service, requests), truth);
}

Test(service, the_first_batch_scales_a_guessed_line)
{
    struct vr_service service = {0};
    vr_service_guess(&service, 3000.0, 500.0);
    vr_service_learn(&service, 2, 2000.0); /* half of what was guessed */
    cr_expect_float_eq(service.base_us, 1500.0, 1e-9);
    cr_expect_float_eq(service.each_us, 250.0, 1e-9);
    service = (struct vr_service){0};
    vr_service_learn(&service, 2, 2000.0);
    cr_expect_float_eq(service.each_us, 1000.0, 1e-9);
    cr_expect_float_eq(service.base_us, 0.0, 1e-9);
}

/* A line that is pressed against its bounds stays a line through what is seen: long stretches of one size, then of
 * another, with no fixed part and much noise. */
Test(service, a_part_that_cannot_be_negative_does_not_drive_the_other_away)
{
    for (uint32_t seed = 1; seed <= 200; seed++) {
        struct random r = {seed};
        struct vr_service service = {0};
        for (uint32_t stretch = 0; stretch < 20; stretch++) {
            uint32_t requests = 1 + random_below(&r, stretch % 2 == 0 ? 2 : 16);
            for (uint32_t i = 0; i < 150; i++) {
                double wobble = 0.5 + (double)random_below(&r, 1001) / 1000.0;
                vr_service_learn(&service, requests, 1000.0 * requests * wobble);
                cr_assert(service.base_us >= 0.0 && service.each_us >= 0.0);
                cr_assert_lt(vr_service_us(&service, requests), 10000.0 * (requests + 4), "seed %u, stretch %u", seed,
                             stretch);
            }
        }
    }
}

Test(service, the_first_batch_counts_whole_and_a_guess_before_it_for_nothing)
{
    struct vr_service service = {0};
    cr_expect_eq(vr_service_us(&service, 8), 0.0);
    vr_service_guess(&service, 0.0, 500.0);
    cr_expect_eq(vr_service_us(&service, 2), 1000.0);
    vr_service_learn(&service, 4, 8000.0);
    cr_expect_eq(vr_service_us(&service, 4), 8000.0);
    vr_service_guess(&service, 0.0, 500.0);
    cr_expect_eq(vr_service_us(&service, 4), 8000.0);
}

Test(service, finds_what_a_batch_and_what_a_request_costs)
{
    static const double cost[][2] = {{0, 2500}, {14000, 1400}, {300, 5}, {2000, 2000}};
    for (uint32_t c = 0; c < 4; c++) {
        for (uint32_t seed = 1; seed <= 20; seed++) {
            struct random r = {seed};
            struct vr_service service = {0};
            run(&service, &r, 400, 16, cost[c][0], cost[c][1], 0.1);
            expect_near(&service, 1, cost[c][0], cost[c][1], 0.25);
            expect_near(&service, 8, cost[c][0], cost[c][1], 0.1);
            expect_near(&service, 16, cost[c][0], cost[c][1], 0.1);
        }
    }
}

Test(service, one_outlier_moves_it_little)
{
    struct random r = {7};
    struct vr_service service = {0};
    run(&service, &r, 200, 8, 1000, 1000, 0.05);
    vr_service_learn(&service, 4, 1e7); /* ten seconds for what takes five milliseconds */
    expect_near(&service, 4, 1000, 1000, 0.1);
    expect_near(&service, 1, 1000, 1000, 0.2);
}

Test(service, follows_a_lasting_change_within_a_few_dozen_batches)
{
    struct random r = {11};
    struct vr_service service = {0};
    run(&service, &r, 1000, 8, 500, 2000, 0.05);
    run(&service, &r, 60, 8, 1000, 4000, 0.05);
    expect_near(&service, 8, 1000, 4000, 0.15);
    run(&service, &r, 60, 8, 250, 1000, 0.05);
    expect_near(&service, 8, 250, 1000, 0.15);
}

/* An hour of full batches says nothing of what a batch of one costs, and must not make anything up. */
Test(service, full_batches_do_not_forget_what_one_request_costs)
{
    struct random r = {13};
    struct vr_service service = {0};
    run(&service, &r, 400, 10, 14000, 1400, 0.02);
    double before = vr_service_us(&service, 1);
    for (uint32_t i = 0; i < 100000; i++) {
        vr_service_learn(&service, 10, 28000.0 * (1.0 + 0.02 * ((i % 2) * 2.0 - 1.0)));
    }
    cr_expect_float_eq(vr_service_us(&service, 1), before, 0.05 * before);
}

Test(service, another_levels_base_changes_no_batch_of_the_usual_size)
{
    struct vr_service service = {0};
    vr_service_take_base(&service, 500.0);
    cr_expect_eq(service.base_us, 0.0, "nothing to divide yet");
    vr_service_learn(&service, 4, 8000.0);
    vr_service_take_base(&service, 6000.0);
    cr_expect_float_eq(vr_service_us(&service, 4), 8000.0, 1e-6);
    cr_expect_float_eq(vr_service_us(&service, 8), 10000.0, 1e-6);
    vr_service_take_base(&service, 90000.0);
    cr_expect_float_eq(vr_service_us(&service, 8), 8000.0, 1e-6, "no more than all of it");
}

Test(service, the_largest_batch_fits_the_target_and_shares_the_fixed_part)
{
    struct vr_service service = {0};
    cr_expect_eq(vr_service_batch(&service, 10000.0, 16), 16u, "nothing known: as many as there may be");
    service.each_us = 2500.0;
    cr_expect_eq(vr_service_batch(&service, 10000.0, 16), 4u);
    cr_expect_eq(vr_service_batch(&service, 10000.0, 3), 3u);
    service.base_us = 5000.0;
    cr_expect_eq(vr_service_batch(&service, 10000.0, 16), 2u);
    service = (struct vr_service){.base_us = 14000.0, .each_us = 1400.0};
    cr_expect_eq(vr_service_batch(&service, 10000.0, 16), 10u, "the fixed part is half of the batch");
    service = (struct vr_service){.each_us = 60000.0};
    cr_expect_eq(vr_service_batch(&service, 10000.0, 16), 2u);
    cr_expect_eq(vr_service_batch(&service, 10000.0, 1), 1u);
    service.each_us = 1e-30;
    cr_expect_eq(vr_service_batch(&service, 10000.0, 16), 16u);
}

/* Under load every batch is as large as it may be, so the rule itself has to make the estimate see different sizes. */
Test(service, a_large_fixed_part_is_found_from_batches_of_the_rules_own_size)
{
    for (uint32_t seed = 1; seed <= 20; seed++) {
        struct random r = {seed};
        struct vr_service service = {0};
        for (uint32_t i = 0; i < 600; i++) {
            uint32_t batch = vr_service_batch(&service, 10000.0, 64);
            uint32_t requests = i == 0 || i % 8 == 7 ? 1 : batch; /* now and then the queue is nearly empty */
            double wobble = 1.0 + 0.05 * ((double)random_below(&r, 2001) / 1000.0 - 1.0);
            vr_service_learn(&service, requests, (14000.0 + 1400.0 * requests) * wobble);
        }
        uint32_t batch = vr_service_batch(&service, 10000.0, 64);
        cr_expect(batch >= 7 && batch <= 14, "seed %u: %u", seed, batch);
    }
}
