/* The words behind `vireo bench` (vireo/bench.h): which command, and its flags. */
#include <string.h>

#include "options.h"

const char vr_bench_usage[] =
    "usage: vireo bench backends --bundle DIR [--backends cpu,cuda] [--batches 1,8,32,128] [--seconds S] [--calls N]\n"
    "                            [--precision auto|fp32|fp16|bf16|int8] [--index KIND] [--json FILE]\n"
    "       vireo bench ops [--backend cpu] [--rows N] [--dim N] [--seconds S] [--json FILE]\n"
    "       vireo bench feed --bundle DIR [--backend cpu] [--config FILE] [--lanes N] [--concurrency 1,4,16,64]\n"
    "                        [--rates 100,200] [--seconds S] [--runs N] [--seed N] [--json FILE]\n"
    "       vireo bench load --url http://HOST:PORT[/PATH] [--rate R] [--schedule poisson|constant|step|spike|replay]\n"
    "                        [--seconds S] [--warm-up S | --no-warm-up] [--to-rate R] [--step-at S] [--step-for S]\n"
    "                        [--requests FILE] [--speed X] [--viewers N] [--count N] [--method POST|GET]\n"
    "                        [--connections N] [--threads N] [--timeout-ms N] [--limit N] [--interval S] [--seed N]\n"
    "                        [--p99-ms X [--loss SHARE] [--degraded SHARE] [--steps N] [--at-least N]]\n"
    "                        [--allow-remote] [--json FILE]\n"
    "\n"
    "backends  compares the backends' answers, then prints the engine's speed on each by batch size\n"
    "ops       each operation of a backend: GFLOP/s, GB/s, and the ratio to what the machine can do\n"
    "feed      the whole feed in process: closed loop by concurrency, open loop by rate, CPU and time by stage\n"
    "load      open loop against a URL, latency from the intended send time; --p99-ms searches the largest rate\n";

static const char *const schedule_names[] = {"poisson", "constant", "step", "spike", "replay", NULL};
static const char *const method_names[] = {"POST", "GET", NULL};
static const char *const backend_names[] = {"cpu", "cuda", NULL};

/* Rows of a table; SETUP is the struct that they fill. */
#define AT(member) offsetof(struct SETUP, member)
#define ROW(flag, kind, member) .name = (flag), .value = (kind), .offset = AT(member)
#define TEXT(flag, member)            \
    {                                 \
        ROW(flag, BENCH_TEXT, member) \
    }
#define TEXT_NEEDED(flag, member)                       \
    {                                                   \
        ROW(flag, BENCH_TEXT, member), .required = true \
    }
#define COUNT(flag, member, from, to)                                 \
    {                                                                 \
        ROW(flag, BENCH_COUNT, member), .least = (from), .most = (to) \
    }
#define NUMBER(flag, member, from, to)                                 \
    {                                                                  \
        ROW(flag, BENCH_NUMBER, member), .least = (from), .most = (to) \
    }
#define SWITCH(flag, member)            \
    {                                   \
        ROW(flag, BENCH_SWITCH, member) \
    }
#define NAME(flag, member, list)                       \
    {                                                  \
        ROW(flag, BENCH_NAME, member), .names = (list) \
    }
#define CHOICE(flag, member, list)                       \
    {                                                    \
        ROW(flag, BENCH_CHOICE, member), .names = (list) \
    }
#define NAMES(flag, member, list)                                                           \
    {                                                                                       \
        ROW(flag, BENCH_NAMES, member), .count_offset = AT(member##_count), .names = (list) \
    }
#define COUNTS(flag, member, from, to)                                                                     \
    {                                                                                                      \
        ROW(flag, BENCH_COUNTS, member), .count_offset = AT(member##_count), .least = (from), .most = (to) \
    }
#define NUMBERS(flag, member, from, to)                                                                     \
    {                                                                                                       \
        ROW(flag, BENCH_NUMBERS, member), .count_offset = AT(member##_count), .least = (from), .most = (to) \
    }

#define SETUP vr_bench_backends_setup
static const struct bench_flag backends_flags[] = {
    TEXT_NEEDED("--bundle", bundle),
    TEXT("--json", json),
    TEXT("--precision", precision),
    TEXT("--index", index),
    NAMES("--backends", backend, backend_names),
    COUNTS("--batches", batch, 1, VR_BENCH_BATCH_MAX),
    NUMBER("--seconds", seconds, 0.01, 600),
    COUNT("--calls", calls, 1, VR_BENCH_CALLS_MAX),
};
#undef SETUP

#define SETUP vr_bench_ops_setup
static const struct bench_flag ops_flags[] = {
    TEXT("--json", json),         CHOICE("--backend", backend, backend_names), COUNT("--rows", rows, 1000, 20000000),
    COUNT("--dim", dim, 8, 1024), NUMBER("--seconds", seconds, 0.001, 60),
};
#undef SETUP

#define SETUP vr_bench_feed_setup
static const struct bench_flag feed_flags[] = {
    TEXT_NEEDED("--bundle", bundle),
    TEXT("--json", json),
    TEXT("--config", config),
    CHOICE("--backend", backend, backend_names),
    COUNT("--lanes", lanes, 1, 16),
    COUNTS("--concurrency", concurrency, 1, 1024),
    NUMBERS("--rates", rate, 0.1, 1e6),
    NUMBER("--seconds", seconds, 0.05, 600),
    COUNT("--runs", runs, 1, VR_BENCH_RUNS_MAX),
    COUNT("--seed", seed, 1, 1e9),
};
#undef SETUP

#define SETUP vr_bench_load_setup
static const struct bench_flag load_flags[] = {
    TEXT_NEEDED("--url", url),
    TEXT("--requests", requests),
    TEXT("--json", json),
    NAME("--schedule", schedule, schedule_names),
    NAME("--method", method, method_names),
    NUMBER("--rate", rate, 0.01, 1e6),
    NUMBER("--to-rate", to_rate, 0.01, 1e6),
    NUMBER("--step-at", step_at_s, 0.01, 86400),
    NUMBER("--step-for", step_for_s, 0.01, 86400),
    NUMBER("--speed", speed, 0.001, 1000),
    NUMBER("--seconds", seconds, 0.1, 86400),
    NUMBER("--warm-up", warm_up_s, 0.01, 3600),
    SWITCH("--no-warm-up", no_warm_up),
    NUMBER("--interval", interval_s, 0.01, 3600),
    NUMBER("--p99-ms", p99_ms, 0.01, 60000),
    NUMBER("--loss", loss, 1e-9, 1.0),
    NUMBER("--degraded", degraded, 1e-9, 1.0),
    COUNT("--steps", steps, 1, 64),
    COUNT("--at-least", at_least, 1, 1000000),
    COUNT("--viewers", viewers, 1, 10000000),
    COUNT("--count", count, 1, 50),
    COUNT("--connections", connections, 1, VR_BENCH_CONNECTIONS_MAX),
    COUNT("--threads", threads, 1, VR_BENCH_THREADS_MAX),
    COUNT("--timeout-ms", timeout_ms, 1, 600000),
    COUNT("--limit", limit, 1, 4e9),
    COUNT("--seed", seed, 1, 1e9),
    SWITCH("--allow-remote", allow_remote),
};
#undef SETUP

#define FLAGS(type) type##_flags, sizeof type##_flags / sizeof type##_flags[0]

static const struct command {
    const char *word;
    enum vr_bench_kind kind;
    const struct bench_flag *flags;
    size_t flag_count;
} commands[] = {
    {"backends", VR_BENCH_BACKENDS, FLAGS(backends)},
    {"ops", VR_BENCH_OPS, FLAGS(ops)},
    {"feed", VR_BENCH_FEED, FLAGS(feed)},
    {"load", VR_BENCH_LOAD, FLAGS(load)},
};

enum vr_status vr_bench_read(int argc, char *const *argv, struct vr_bench_command *out)
{
    *out = (struct vr_bench_command){0};
    if (argc < 1) {
        return vr_fail(VR_ERR_INVALID, "bench: what is to be measured is missing");
    }
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        if (strcmp(argv[0], commands[i].word) == 0) {
            out->kind = commands[i].kind;
            return bench_options_read(commands[i].flags, commands[i].flag_count, argc - 1, argv + 1, &out->of);
        }
    }
    return vr_fail(VR_ERR_INVALID, "bench %s: unknown", argv[0]);
}

enum vr_status vr_bench_run(const struct vr_bench_command *command, FILE *out)
{
    switch (command->kind) {
    case VR_BENCH_BACKENDS: return vr_bench_backends_run(&command->of.backends, out);
    case VR_BENCH_LOAD: return vr_bench_load_run(&command->of.load, out);
    case VR_BENCH_OPS: return vr_bench_ops_run(&command->of.ops, out);
    case VR_BENCH_FEED: return vr_bench_feed_run(&command->of.feed, out);
    }
    return VR_ERR_INVALID;
}
