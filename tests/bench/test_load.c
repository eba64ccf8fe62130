/* The load generator's parts without a network: the sequence of requests, answers as they arrive, reasons. */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "bench/load_parts.h"

/* ---- the sequence ---- */

static struct vr_str line[5];
static double at_s[5] = {0.0, 0.5, 0.5, 1.0, 4.0};
static const struct load_requests five = {.request = line, .at_s = at_s, .count = 5};
static const struct vr_bench_load_setup plain = {.rate = 100.0,
                                                 .to_rate = 400.0,
                                                 .step_at_s = 2.0,
                                                 .step_for_s = 1.0,
                                                 .speed = 1.0,
                                                 .seconds = 4.0,
                                                 .warm_up_s = 1.0,
                                                 .schedule = VR_BENCH_CONSTANT,
                                                 .limit = 1000000,
                                                 .seed = 1};

static uint32_t walk(struct vr_bench_load_setup setup, double rate, double *time, uint32_t *request)
{
    struct load_arrivals arrivals;
    cr_assert_eq(load_arrivals_begin(&setup, &five, rate, &arrivals), VR_OK, "%s", vr_error_text());
    uint32_t count = 0;
    while (load_arrivals_next(&arrivals, &time[count], &request[count])) {
        cr_assert_lt(++count, 5000);
    }
    return count;
}

static double when[5001];
static uint32_t which[5001];

static uint32_t between(uint32_t count, double from, double to)
{
    uint32_t inside = 0;
    for (uint32_t i = 0; i < count; i++) {
        inside += when[i] >= from && when[i] < to;
    }
    return inside;
}

Test(load, requests_go_round_and_the_limit_ends_them)
{
    struct vr_bench_load_setup setup = plain;
    cr_assert_eq(walk(setup, 100.0, when, which), 500);
    for (uint32_t i = 0; i < 500; i++) {
        cr_assert_eq(which[i], i % 5);
    }
    setup.limit = 17;
    cr_assert_eq(walk(setup, 100.0, when, which), 17);
}

Test(load, a_step_and_a_spike_keep_their_ratio_in_a_search)
{
    struct vr_bench_load_setup setup = plain;
    setup.schedule = VR_BENCH_SPIKE;
    uint32_t count = walk(setup, 200.0, when, which); /* twice the rate: 200, 800 for a second, 200 */
    cr_assert_lt(fabs((double)between(count, 0.0, 3.0) - 600.0), 150.0);
    cr_assert_lt(fabs((double)between(count, 3.0, 4.0) - 800.0), 150.0);
    cr_assert_lt(fabs((double)between(count, 4.0, 5.0) - 200.0), 75.0);
    setup.schedule = VR_BENCH_STEP;
    count = walk(setup, 100.0, when, which);
    cr_assert_lt(fabs((double)between(count, 3.0, 5.0) - 800.0), 150.0);
    setup.step_at_s = 4.0;
    struct load_arrivals arrivals;
    cr_assert_eq(load_arrivals_begin(&setup, &five, 100.0, &arrivals), VR_ERR_INVALID);
    setup.step_at_s = 3.9;
    cr_assert_eq(load_arrivals_begin(&setup, &five, 100.0, &arrivals), VR_OK);
}

Test(load, a_replay_keeps_the_times_of_the_file)
{
    struct vr_bench_load_setup setup = plain;
    setup.schedule = VR_BENCH_REPLAY;
    setup.speed = 2.0;
    setup.warm_up_s = 0.0;
    cr_assert_eq(walk(setup, 0.0, when, which), 5);
    for (uint32_t i = 0; i < 5; i++) {
        cr_assert_eq(which[i], i);
        cr_assert_float_eq(when[i], at_s[i] / 2.0, 1e-12);
    }
    setup.warm_up_s = 2.0; /* five lines in two seconds: as many before the file */
    cr_assert_eq(walk(setup, 0.0, when, which), 10);
    cr_assert_eq(which[5], 0);
    cr_assert_float_eq(when[5], 2.0, 1e-12);
    cr_assert_float_eq(when[9], 4.0, 1e-12);
    setup.seconds = 1.0;
    cr_assert_eq(walk(setup, 0.0, when, which), 9, "what lies behind the end is left out");
}

/* ---- answers ---- */

static const struct {
    const char *text;
    enum load_outcome outcome;
    int status;
    bool close;
} answers[] = {
    {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", LOAD_COMPLETE, 200, false},
    {"HTTP/1.1 503 No\r\ncontent-length:0\r\nConnection: close\r\n\r\n", LOAD_COMPLETE, 503, true},
    {"HTTP/1.1 204 No Content\r\nServer: x\r\n\r\n", LOAD_COMPLETE, 204, false},
    {"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx", LOAD_COMPLETE, 200, true},
    {"HTTP/1.1 200 OK\r\nX-Content-Length: 9\r\nContent-Length: \t2\r\nConnection: keep-alive\r\n\r\nok", LOAD_COMPLETE,
     200, false},
    {"HTTP/1.1 200 OK\r\nServer: x\r\n\r\n", LOAD_BAD, 0, false},
    {"HTTP/1.1 200 OK\r\nContent-Length: 5x\r\n\r\nhello", LOAD_BAD, 0, false},
    {"HTTP/1.1 200 OK\r\nContent-Length: \r\n\r\n", LOAD_BAD, 0, false},
    {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", LOAD_BAD, 0, false},
    {"HTTP/1.1 100 Continue\r\n\r\n", LOAD_BAD, 0, false},
    {"HTTP/1.1 2x0 OK\r\nContent-Length: 0\r\n\r\n", LOAD_BAD, 0, false},
    {"SSH-2.0-x\r\n\r\n", LOAD_BAD, 0, false},
};

/* Byte by byte, each time from a copy of its own size, so that a read past the end shows. */
Test(load, answers_are_read_as_they_arrive)
{
    for (size_t i = 0; i < sizeof answers / sizeof answers[0]; i++) {
        const size_t len = strlen(answers[i].text);
        struct load_answer answer = {0};
        enum load_outcome outcome = LOAD_MORE;
        size_t had = 0;
        while (outcome == LOAD_MORE && had < len) {
            char *copy = malloc(++had);
            memcpy(copy, answers[i].text, had);
            outcome = load_answer_read(copy, had, &answer);
            free(copy);
        }
        cr_assert_eq(outcome, answers[i].outcome, "answer %zu", i);
        if (outcome == LOAD_COMPLETE && answers[i].outcome == LOAD_COMPLETE) {
            cr_assert_eq(had, len, "answer %zu is complete after %zu bytes", i, had);
            cr_assert_eq(answer.status, answers[i].status);
            cr_assert_eq(answer.close, answers[i].close, "answer %zu", i);
        }
    }
}

Test(load, bytes_behind_an_answer_are_no_part_of_it)
{
    static const char more[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhello";
    struct load_answer answer = {0};
    cr_assert_eq(load_answer_read(more, sizeof more - 1, &answer), LOAD_BAD);
    answer = (struct load_answer){0};
    cr_assert_eq(load_answer_read(more, sizeof more - 4, &answer), LOAD_COMPLETE);
}

static void count(struct load_degraded *degraded, const char *body)
{
    load_degraded_count(degraded, body, strlen(body));
}

static uint64_t count_of(const struct load_degraded *degraded, const char *name)
{
    for (uint32_t i = 0; i < degraded->names; i++) {
        if (strcmp(degraded->name[i], name) == 0) {
            return degraded->count[i];
        }
    }
    return 0;
}

Test(load, reasons_are_counted_by_name)
{
    struct load_degraded one = {0}, both = {0};
    count(&one, "{\"coverage\":{\"degraded\":[]},\"items\":[]}");
    cr_assert_eq(one.answers, 0);
    count(&one, "{\"coverage\":{\"degraded\":[\"short:seen\"]}}");
    count(&one, "{\"coverage\":{\"degraded\":[\"short:seen\",\"ranker_fewer\"]}}");
    count(&one, "{\"coverage\":{\"degraded\":[\"cut");
    count(&one, "{\"coverage\":{\"degraded\":[");
    cr_assert_eq(one.answers, 3);
    cr_assert_eq(count_of(&one, "short:seen"), 2);
    cr_assert_eq(count_of(&one, "ranker_fewer"), 1);
    for (int i = 0; i < 40; i++) {
        char body[64];
        snprintf(body, sizeof body, "{\"degraded\":[\"reason_%d\"]}", i);
        count(&both, body);
    }
    cr_assert_eq(both.names, LOAD_REASONS_MAX);
    cr_assert_eq(count_of(&both, "reason_3"), 1);
    cr_assert_eq(count_of(&both, "other"), 40 - (LOAD_REASONS_MAX - 1));
    load_degraded_merge(&both, &one);
    cr_assert_eq(both.answers, 43);
    cr_assert_eq(count_of(&both, "other"), 40 - (LOAD_REASONS_MAX - 1) + 3);
}

/* ---- where it goes ---- */

Test(load, urls_lead_to_this_machine_or_nowhere)
{
    static const struct {
        const char *url, *host, *path;
        enum vr_status status;
    } cases[] = {
        {"http://127.0.0.1:8080", "127.0.0.1:8080", "/v1/recommend", VR_OK},
        {"http://127.9.9.9/x?y=1", "127.9.9.9", "/x?y=1", VR_OK},
        {"http://[::1]:80/", "[::1]:80", "/", VR_OK},
        {"http://[::ffff:127.0.0.1]:80/", "[::ffff:127.0.0.1]:80", "/", VR_OK},
        {"http://localhost?a", "localhost", "/?a", VR_OK},
        {"http://128.0.0.1:8080", NULL, NULL, VR_ERR_INVALID},
        {"http://[::ffff:10.0.0.1]:80/", NULL, NULL, VR_ERR_INVALID},
        {"http://[fe80::1]/", NULL, NULL, VR_ERR_INVALID},
        {"http://0.0.0.0:1/", NULL, NULL, VR_ERR_INVALID},
        {"https://127.0.0.1/", NULL, NULL, VR_ERR_INVALID},
        {"127.0.0.1:8080", NULL, NULL, VR_ERR_INVALID},
        {"http://", NULL, NULL, VR_ERR_INVALID},
        {"http://127.0.0.1:", NULL, NULL, VR_ERR_INVALID},
        {"http://127.0.0.1:80x", NULL, NULL, VR_ERR_INVALID},
        {"http://[::1/", NULL, NULL, VR_ERR_INVALID},
        {"http://127.0.0.1@10.0.0.1/", NULL, NULL, VR_ERR_INVALID},
        {"http://127.0.0.1/a\r\nX: y", NULL, NULL, VR_ERR_INVALID},
    };
    struct load_target target;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        cr_assert_eq(load_url_read(cases[i].url, false, &target), cases[i].status, "%s", cases[i].url);
        if (cases[i].status == VR_OK) {
            cr_assert_str_eq(target.host, cases[i].host);
            cr_assert_str_eq(target.path, cases[i].path);
        }
    }
    cr_assert_eq(load_url_read("http://128.0.0.1:8080", true, &target), VR_OK);
}
