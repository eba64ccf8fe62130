/* The results of `vireo bench backends` as a table (backends_parts.h). */
#include <math.h>

#include "backends_parts.h"

static void print_head(const struct bench *bench, FILE *out)
{
    const struct vr_bench_backends_setup *setup = &bench->setup;
    fprintf(out, "%-12s %s, %u videos\n", "bundle", bench->bundle->model_version, bench->bundle->videos.count);
    fprintf(out, "%-12s %u, seed %llu: %u candidates and %u results an index each; one lane, exact search\n",
            "requests", bench->pool.count, (unsigned long long)setup->seed, setup->candidates, setup->k);
    if (bench->nvml != NULL) {
        fprintf(out, "%-12s %s, driver %s\n", "GPU", vr_nvml_device(bench->nvml), vr_nvml_driver(bench->nvml));
    } else {
        fprintf(out, "%-12s not known, and no energy is measured: %s\n", "GPU", bench->no_nvml);
    }
    bench_machine_print(&bench->machine, out);
}

static const char *precision_of(const struct bench_side *side)
{
    return vr_precision_name(vr_engine_precision(side->engine));
}

static void print_agreement(const struct bench *bench, FILE *out)
{
    const struct bench_side *first = &bench->side[bench->first];
    for (uint32_t i = 0; i < bench->setup.backend_count; i++) {
        const struct bench_side *side = &bench->side[i];
        const struct bench_difference *worst = &bench->worst[i], *bound = &bench->bound[i];
        if (!bench_side_is_open(side)) {
            fprintf(out, "%-12s not measured: %s\n", side->name, side->reason);
        } else if (i != bench->first) {
            fprintf(
                out,
                "%-12s %s in %s and %s in %s, %u answers; largest differences: user tower %.1e (bound %.0e), score %.1e (%.0e), "
                "probability %.1e (%.0e), watch %.1e (%.0e, relative)\n",
                "agreement", first->name, precision_of(first), side->name, precision_of(side), worst->requests,
                worst->user_tower, bound->user_tower, worst->score, bound->score, worst->probability,
                bound->probability, worst->watch_s_relative, bound->watch_s_relative);
        }
    }
}

static void print_number(FILE *out, int width, int digits, double value)
{
    if (isnan(value)) {
        fprintf(out, " %*s", width, "-");
    } else {
        fprintf(out, " %*.*f", width, digits, value);
    }
}

static void print_result(const struct bench_side *side, uint32_t batch, const struct bench_result *result, FILE *out)
{
    fprintf(out, "%-8s %5u %7u %12.1f", side->name, batch, result->calls, result->requests_per_s);
    for (uint32_t s = 0; s < BENCH_STAGES; s++) {
        print_number(out, 10, 0, result->p50_us[s]);
        print_number(out, 9, 0, result->p99_us[s]);
    }
    print_number(out, 10, 3, result->millijoules);
    fputc('\n', out);
}

static void print_crossover(const struct bench *bench, const struct bench_side *side, FILE *out)
{
    const char *first = bench->side[bench->first].name;
    const uint32_t from = bench_crossover(bench, side);
    if (from > 0) {
        fprintf(out, "crossover: %s answers more requests a second than %s from batches of %u on\n", side->name, first,
                from);
    } else {
        fprintf(out, "crossover: none, %s does not overtake %s at the largest batch\n", side->name, first);
    }
}

void bench_print(const struct bench *bench, FILE *out)
{
    print_head(bench, out);
    print_agreement(bench, out);
    fprintf(out, "\n%-8s %5s %7s %12s", "backend", "batch", "calls", "requests/s");
    for (uint32_t s = 0; s < BENCH_STAGES; s++) {
        fprintf(out, " %10s %9s", bench_stage_name[s], "p99 us");
    }
    fprintf(out, " %10s\n", "mJ/request");
    for (uint32_t b = 0; b < bench->setup.batch_count; b++) {
        for (uint32_t i = 0; i < bench->setup.backend_count; i++) {
            if (bench_side_is_open(&bench->side[i])) {
                print_result(&bench->side[i], bench->setup.batch[b], &bench->side[i].result[b], out);
            }
        }
    }
    for (uint32_t i = bench->first + 1; i < bench->setup.backend_count; i++) {
        if (bench_side_is_open(&bench->side[i])) {
            print_crossover(bench, &bench->side[i], out);
        }
    }
}
