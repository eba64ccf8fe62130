/* Request bodies: each refused document beside a valid twin, and what the valid ones say. */
#include "server/request_json.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NOW_MS 1700000000000

static const struct vr_request_rules plain = {.default_timeout_ms = 1000, .now_ms = NOW_MS, .received_us = 5};
static const struct vr_request_rules replay = {.replay = true, .default_timeout_ms = 1000, .now_ms = NOW_MS};
static const struct vr_request_rules ranking = {.kind = VR_JOB_RANK, .default_timeout_ms = 1000, .now_ms = NOW_MS};
static const struct vr_request_rules dry = {.dry_run = true, .default_timeout_ms = 1000, .now_ms = NOW_MS};

struct bench {
    struct vr_json *json;
    struct vr_arena *arena;
};

static struct bench bench_make(void)
{
    struct bench bench;
    cr_assert_eq(vr_json_create(1u << 20, 8, &bench.json), VR_OK);
    cr_assert_eq(vr_arena_create(65536, &bench.arena), VR_OK);
    return bench;
}

static void bench_end(struct bench *bench)
{
    vr_json_destroy(bench->json);
    vr_arena_destroy(bench->arena);
}

static enum vr_status read_recommend(struct bench *bench, const char *text, const struct vr_request_rules *rules,
                                     struct vr_feed_request *out)
{
    struct vr_json_value root;
    enum vr_status status = vr_json_parse(bench->json, text, strlen(text), &root);
    return status != VR_OK ? status : vr_recommend_read(root, rules, bench->arena, out);
}

static enum vr_status read_events(struct bench *bench, const char *text, struct vr_event_batch *out)
{
    struct vr_json_value root;
    enum vr_status status = vr_json_parse(bench->json, text, strlen(text), &root);
    return status != VR_OK ? status : vr_events_read(root, NOW_MS, bench->arena, out);
}

#define ID64 "0123456789012345678901234567890123456789012345678901234567890123"

static const struct {
    const char *bad, *names; /* the refusal names this */
    const char *good;
    const struct vr_request_rules *rules;
} recommends[] = {
    {"[]", "object", "{\"user_id\":\"1\"}", &plain},
    {"{\"user_id\":1}", "video_ids", "{\"user_id\":1,\"video_ids\":[2]}", &ranking},
    {"{\"user_id\":1,\"video_ids\":[]}", "video_ids", "{\"user_id\":1,\"video_ids\":[\"a\",\"a\"]}", &ranking},
    {"{\"user_id\":1,\"video_ids\":[2],\"count\":3}", "count", "{\"user_id\":1,\"video_ids\":[2]}", &ranking},
    {"{\"user_id\":1,\"video_ids\":[2]}", "video_ids", "{\"user_id\":1}", &plain},
    {"{}", "user_id", "{\"user_id\":\"1\"}", &plain},
    {"{\"user_id\":\"\"}", "user_id", "{\"user_id\":\" \"}", &plain},
    {"{\"user_id\":\"" ID64 "x\"}", "user_id", "{\"user_id\":\"" ID64 "\"}", &plain},
    {"{\"user_id\":1.5}", "user_id", "{\"user_id\":15}", &plain},
    {"{\"user_id\":1e3}", "user_id", "{\"user_id\":1000}", &plain},
    {"{\"user_id\":null}", "user_id", "{\"user_id\":\"null\"}", &plain},
    {"{\"user_id\":true}", "user_id", "{\"user_id\":\"true\"}", &plain},
    {"{\"user_id\":[1]}", "user_id", "{\"user_id\":1}", &plain},
    {"{\"user_id\":18446744073709551616}", "number", "{\"user_id\":\"18446744073709551616\"}", &plain},
    {"{\"user\":\"1\"}", "user", "{\"user_id\":\"1\"}", &plain},
    {"{\"user_id\":\"1\",\"Count\":1}", "Count", "{\"user_id\":\"1\",\"count\":1}", &plain},
    {"{\"user_id\":\"1\",\"count\":0}", "count", "{\"user_id\":\"1\",\"count\":1}", &plain},
    {"{\"user_id\":\"1\",\"count\":51}", "count", "{\"user_id\":\"1\",\"count\":50}", &plain},
    {"{\"user_id\":\"1\",\"count\":-1}", "count", "{\"user_id\":\"1\",\"count\":1}", &plain},
    {"{\"user_id\":\"1\",\"count\":\"20\"}", "count", "{\"user_id\":\"1\",\"count\":20}", &plain},
    {"{\"user_id\":\"1\",\"count\":20.5}", "count", "{\"user_id\":\"1\",\"count\":20}", &plain},
    {"{\"user_id\":\"1\",\"timeout_ms\":0}", "timeout_ms", "{\"user_id\":\"1\",\"timeout_ms\":1}", &plain},
    {"{\"user_id\":\"1\",\"timeout_ms\":60001}", "timeout_ms", "{\"user_id\":\"1\",\"timeout_ms\":60000}", &plain},
    {"{\"user_id\":\"1\",\"explain\":1}", "explain", "{\"user_id\":\"1\",\"explain\":true}", &plain},
    {"{\"user_id\":\"1\",\"explain\":\"yes\"}", "explain", "{\"user_id\":\"1\",\"explain\":false}", &plain},
    {"{\"user_id\":\"1\",\"request_id\":\"\"}", "request_id", "{\"user_id\":\"1\",\"request_id\":\"r\"}", &plain},
    {"{\"user_id\":\"1\",\"exclude_ids\":\"a\"}", "exclude_ids", "{\"user_id\":\"1\",\"exclude_ids\":[\"a\"]}", &plain},
    {"{\"user_id\":\"1\",\"exclude_ids\":[null]}", "exclude_ids", "{\"user_id\":\"1\",\"exclude_ids\":[]}", &plain},
    {"{\"user_id\":\"1\",\"context\":[]}", "context", "{\"user_id\":\"1\",\"context\":{}}", &plain},
    {"{\"user_id\":\"1\",\"context\":{\"tab\":null}}", "context.tab", "{\"user_id\":\"1\",\"context\":{\"tab\":\"1\"}}",
     &plain},
    {"{\"user_id\":\"1\",\"context\":{\"tab\":{\"a\":1}}}", "context.tab",
     "{\"user_id\":\"1\",\"context\":{\"tab\":1.5}}", &plain},
    {"{\"user_id\":\"1\",\"context\":{\"\":1}}", "context", "{\"user_id\":\"1\",\"context\":{\"a\":1}}", &plain},
    {"{\"user_id\":\"1\",\"time\":1}", "time", "{\"user_id\":\"1\"}", &plain},
    {"{\"user_id\":\"1\",\"time\":-1}", "time", "{\"user_id\":\"1\",\"time\":1}", &replay},
    {"{\"user_id\":\"1\",\"time\":\"now\"}", "time", "{\"user_id\":\"1\",\"time\":1700000000000}", &replay},
    {"{\"user_id\":\"1\",\"satisfaction\":[]}", "satisfaction", "{\"user_id\":\"1\"}", &plain},
    {"{\"user_id\":\"1\",\"satisfaction\":[]}", "satisfaction",
     "{\"user_id\":\"1\",\"satisfaction\":[{\"name\":\"a\",\"expression\":\"click\"}]}", &dry},
    {"{\"user_id\":\"1\",\"satisfaction\":[{\"name\":\"a\"}]}", "satisfaction", "{\"user_id\":\"1\"}", &dry},
    {"{\"user_id\":\"1\"", "", "{\"user_id\":\"1\"}", &plain},
    {"{\"user_id\":\"1\"} x", "", "{\"user_id\":\"1\"} ", &plain},
    {"{\"user_id\":\"1\",\"user_id\":\"2\"}", "", "{\"user_id\":\"1\"}", &plain},
    {"{\"user_id\":\"1\",}", "", "{\"user_id\":\"1\"}", &plain},
    {"{'user_id':'1'}", "", "{\"user_id\":\"1\"}", &plain},
    {"{\"user_id\":\"\xff\"}", "", "{\"user_id\":\"\xc3\xbf\"}", &plain},
    {"{\"user_id\":NaN}", "", "{\"user_id\":0}", &plain},
};

Test(request_json, refuses_each_malformed_recommend_and_takes_its_twin)
{
    struct bench bench = bench_make();
    for (size_t i = 0; i < sizeof recommends / sizeof *recommends; i++) {
        struct vr_feed_request request;
        cr_expect_neq(read_recommend(&bench, recommends[i].bad, recommends[i].rules, &request), VR_OK, "%s",
                      recommends[i].bad);
        cr_expect_not_null(strstr(vr_error_text(), recommends[i].names), "%s: %s", recommends[i].bad, vr_error_text());
        cr_expect_eq(read_recommend(&bench, recommends[i].good, recommends[i].rules, &request), VR_OK, "%s: %s",
                     recommends[i].good, vr_error_text());
    }
    bench_end(&bench);
}

Test(request_json, fills_a_request)
{
    struct bench bench = bench_make();
    struct vr_feed_request r;
    enum vr_status status =
        read_recommend(&bench,
                       "{\"request_id\":\"r-1\",\"user_id\":-42,\"count\":7,\"timeout_ms\":250,\"explain\":true,"
                       "\"exclude_ids\":[\"a\",12],\"context\":{\"tab\":\"1\",\"x\":2}}",
                       &plain, &r);
    cr_assert_eq(status, VR_OK, "%s", vr_error_text());
    cr_expect(vr_str_equal(r.request_id, vr_str_of("r-1")));
    cr_expect(vr_str_equal(r.user_id, vr_str_of("-42")), "an integer means its decimal text");
    cr_expect_eq(r.count, 7u);
    cr_expect_eq(r.deadline_us, 250005u);
    cr_expect(r.explain && !r.dry_run);
    cr_expect_eq(r.now_ms, NOW_MS);
    cr_assert_eq(r.exclude_count, 2u);
    cr_expect(vr_str_equal(r.exclude[1], vr_str_of("12")));
    cr_assert_eq(r.context_count, 2u);
    cr_expect(r.context[0].is_text && vr_str_equal(r.context[0].text, vr_str_of("1")));
    cr_expect(!r.context[1].is_text && r.context[1].number == 2.0);
    cr_assert_eq(read_recommend(&bench, "{\"user_id\":\"u\"}", &plain, &r), VR_OK);
    cr_expect_eq(r.count, VR_COUNT_DEFAULT);
    cr_expect_eq(r.request_id.len, 0u);
    cr_expect_eq(r.deadline_us, 1000005u);
    bench_end(&bench);
}

/* {"user_id":"1","exclude_ids":[0,1,...]} */
static char *many_excluded(int count)
{
    char *text = malloc((size_t)count * 6 + 64);
    size_t n = (size_t)sprintf(text, "{\"user_id\":\"1\",\"exclude_ids\":[");
    for (int i = 0; i < count; i++) {
        n += (size_t)sprintf(text + n, "%s%d", i > 0 ? "," : "", i);
    }
    sprintf(text + n, "]}");
    return text;
}

Test(request_json, takes_a_thousand_excluded_ids_and_no_more)
{
    struct bench bench = bench_make();
    struct vr_feed_request request;
    char *good = many_excluded(1000), *bad = many_excluded(1001);
    cr_expect_eq(read_recommend(&bench, good, &plain, &request), VR_OK, "%s", vr_error_text());
    cr_expect_eq(request.exclude_count, 1000u);
    cr_expect_eq(read_recommend(&bench, bad, &plain, &request), VR_ERR_INVALID);
    free(good);
    free(bad);
    bench_end(&bench);
}

#define EVENT_BUT_TYPE "\"event_id\":\"e\",\"request_id\":\"r\",\"user_id\":\"u\",\"video_id\":\"v\""
#define EVENT EVENT_BUT_TYPE ",\"type\":\"click\""

static const struct {
    const char *bad, *names, *good;
} events[] = {
    {"[]", "object", "{" EVENT "}"},
    {"{}", "event_id", "{" EVENT "}"},
    {"{\"events\":[]}", "events", "{\"events\":[{" EVENT "}]}"},
    {"{\"events\":{}}", "events", "{\"events\":[{" EVENT "}]}"},
    {"{\"events\":[1]}", "events[0]: an event is an object", "{\"events\":[{" EVENT "}]}"},
    {"{\"events\":[{" EVENT "}],\"x\":1}", "events", "{\"events\":[{" EVENT "}]}"},
    {"{\"events\":[{" EVENT "},{" EVENT_BUT_TYPE "}]}", "events[1].type", "{\"events\":[{" EVENT "},{" EVENT "}]}"},
    {"{" EVENT_BUT_TYPE "}", "type", "{" EVENT "}"},
    {"{" EVENT_BUT_TYPE ",\"type\":\"view\"}", "type", "{" EVENT_BUT_TYPE ",\"type\":\"skip\"}"},
    {"{" EVENT_BUT_TYPE ",\"type\":1}", "type", "{" EVENT_BUT_TYPE ",\"type\":\"like\"}"},
    {"{" EVENT_BUT_TYPE ",\"type\":\"play\"}", "watch_s", "{" EVENT_BUT_TYPE ",\"type\":\"play\",\"watch_s\":0}"},
    {"{" EVENT ",\"watch_s\":1}", "watch_s", "{" EVENT "}"},
    {"{" EVENT_BUT_TYPE ",\"type\":\"play\",\"watch_s\":-1}", "watch_s",
     "{" EVENT_BUT_TYPE ",\"type\":\"play\",\"watch_s\":1.5}"},
    {"{" EVENT_BUT_TYPE ",\"type\":\"play\",\"watch_s\":\"1\"}", "watch_s",
     "{" EVENT_BUT_TYPE ",\"type\":\"play\",\"watch_s\":1}"},
    {"{" EVENT ",\"time\":-5}", "time", "{" EVENT ",\"time\":5}"},
    {"{" EVENT ",\"time\":1.5}", "time", "{" EVENT ",\"time\":15}"},
    {"{" EVENT ",\"time\":4102444800001}", "time", "{" EVENT ",\"time\":4102444800000}"},
    {"{" EVENT ",\"place\":1}", "place", "{" EVENT "}"},
    {"{" EVENT ",\"position\":0}", "position", "{" EVENT ",\"position\":1}"},
    {"{" EVENT ",\"position\":51}", "position", "{" EVENT ",\"position\":50}"},
    {"{" EVENT ",\"arm\":1}", "arm", "{" EVENT ",\"arm\":\"\"}"},
    {"{\"event_id\":\"\",\"request_id\":\"r\",\"user_id\":\"u\",\"video_id\":\"v\",\"type\":\"click\"}", "event_id",
     "{\"event_id\":1,\"request_id\":2,\"user_id\":3,\"video_id\":4,\"type\":\"click\"}"},
};

Test(request_json, refuses_each_malformed_event_and_takes_its_twin)
{
    struct bench bench = bench_make();
    for (size_t i = 0; i < sizeof events / sizeof *events; i++) {
        struct vr_event_batch batch;
        cr_expect_eq(read_events(&bench, events[i].bad, &batch), VR_ERR_INVALID, "%s", events[i].bad);
        cr_expect_not_null(strstr(vr_error_text(), events[i].names), "%s: %s", events[i].bad, vr_error_text());
        cr_expect_eq(read_events(&bench, events[i].good, &batch), VR_OK, "%s: %s", events[i].good, vr_error_text());
    }
    bench_end(&bench);
}

Test(request_json, fills_events)
{
    struct bench bench = bench_make();
    struct vr_event_batch batch;
    cr_assert_eq(read_events(&bench,
                             "{\"events\":[{" EVENT "},{" EVENT_BUT_TYPE ",\"type\":\"play\",\"watch_s\":2.5,"
                             "\"time\":7}]}",
                             &batch),
                 VR_OK, "%s", vr_error_text());
    cr_assert_eq(batch.count, 2u);
    cr_expect_eq(batch.event[0].type, VR_EVENT_CLICK);
    cr_expect_eq(batch.event[0].time_ms, NOW_MS, "the server's time where the event has none");
    cr_expect(vr_str_equal(batch.event[0].video_id, vr_str_of("v")));
    cr_expect_eq(batch.event[1].type, VR_EVENT_PLAY);
    cr_expect_eq(batch.event[1].time_ms, 7);
    cr_expect_float_eq(batch.event[1].watch_s, 2.5f, 0.0f);
    bench_end(&bench);
}

/* ---- header fields ---- */

static struct vr_str field(const char *text)
{
    struct vr_str absent = {NULL, 0};
    return text != NULL ? vr_str_of(text) : absent;
}

Test(request_json, a_timeout_field_is_a_plain_number_within_bounds)
{
    static const char *const bad[] = {"", "0", "60001", "-1", "+5", "05", "5 ", "1.5", "1e3", "0x10", "999999", "ten"};
    static const struct {
        const char *text;
        uint32_t ms;
    } good[] = {{NULL, 0}, {"1", 1}, {"250", 250}, {"60000", 60000}};
    uint32_t ms;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        cr_expect_eq(vr_timeout_field_read(field(bad[i]), &ms), VR_ERR_INVALID, "'%s'", bad[i]);
        cr_expect_not_null(strstr(vr_error_text(), "X-Request-Timeout-Ms"));
    }
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        cr_expect_eq(vr_timeout_field_read(field(good[i].text), &ms), VR_OK);
        cr_expect_eq(ms, good[i].ms);
    }
}

Test(request_json, a_priority_field_is_one_of_three_words)
{
    static const char *const bad[] = {"", "High", "urgent", "low ", "1", "high,low"};
    static const struct {
        const char *text;
        enum vr_priority priority;
    } good[] = {
        {NULL, VR_PRIORITY_LOW}, {"high", VR_PRIORITY_HIGH}, {"normal", VR_PRIORITY_NORMAL}, {"low", VR_PRIORITY_LOW}};
    enum vr_priority priority;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        cr_expect_eq(vr_priority_field_read(field(bad[i]), VR_PRIORITY_LOW, &priority), VR_ERR_INVALID, "'%s'", bad[i]);
        cr_expect_not_null(strstr(vr_error_text(), "X-Request-Priority"));
    }
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        cr_expect_eq(vr_priority_field_read(field(good[i].text), VR_PRIORITY_LOW, &priority), VR_OK);
        cr_expect_eq(priority, good[i].priority);
    }
}

Test(request_json, the_smaller_of_two_timeouts_counts)
{
    static const struct {
        uint32_t head, body, ms;
    } cases[] = {{0, 0, 1000},    {0, 300, 300},   {0, 5000, 5000}, {200, 0, 200},
                 {5000, 0, 5000}, {200, 300, 200}, {300, 200, 200}};
    struct bench bench = bench_make();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct vr_request_rules rules = plain;
        struct vr_feed_request request;
        char body[64] = "{\"user_id\":1}";
        rules.header_timeout_ms = cases[i].head;
        rules.priority = VR_PRIORITY_HIGH;
        if (cases[i].body > 0) {
            snprintf(body, sizeof body, "{\"user_id\":1,\"timeout_ms\":%u}", cases[i].body);
        }
        cr_assert_eq(read_recommend(&bench, body, &rules, &request), VR_OK, "%s", vr_error_text());
        cr_expect_eq(request.deadline_us, rules.received_us + 1000ull * cases[i].ms, "%u, %u", cases[i].head,
                     cases[i].body);
        cr_expect_eq(request.priority, VR_PRIORITY_HIGH);
    }
    bench_end(&bench);
}
