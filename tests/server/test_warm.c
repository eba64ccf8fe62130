/* A warm connection takes no memory from the system: thousands of requests of each kind through a loop and its lanes,
 * parsed, served and printed, with every allocation of the process counted. What time takes and not requests, a new
 * list of what is trending each second, is known. Idle connections hold no buffers. */
#include <criterion/criterion.h>
#include <limits.h>
#include <sys/socket.h>

#include "../base/failing_alloc.h"
#include "../support/loop_rig.h"

#define WARM_UP 300u
#define COUNTED 2000u

static struct loop_rig rig;

/* The client's end of a connection to the first loop. */
static int connect_to_loop(void)
{
    int ends[2];
    struct sockaddr nobody = {.sa_family = AF_UNIX};
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends), 0);
    struct vr_place place = vr_admission_enter(rig.shared.admission, VR_PORT_PUBLIC, &nobody);
    vr_connection_open(rig.shared.loop[0], &place, ends[1]);
    return ends[0];
}

/* Everything that one answer brings, its head included; 0 until it is complete. */
static size_t answer_bytes(const char *data, size_t len)
{
    const char *end = len > 0 ? memmem(data, len, "\r\n\r\n", 4) : NULL;
    const char *field = end != NULL ? memmem(data, (size_t)(end - data), "Content-Length: ", 16) : NULL;
    size_t whole = field != NULL ? (size_t)(end + 4 - data) + strtoul(field + 16, NULL, 10) : SIZE_MAX;
    return whole <= len ? whole : 0;
}

/* Send a request and turn the loop until its answer is there, which must be a 200. */
static void ask(int client, const char *request)
{
    static char answer[1u << 18];
    size_t len = 0;
    cr_assert_eq(write(client, request, strlen(request)), (ssize_t)strlen(request));
    while (answer_bytes(answer, len) == 0) {
        event_base_loop(rig.shared.loop[0]->base, EVLOOP_ONCE);
        ssize_t got = read(client, answer + len, sizeof answer - len);
        cr_assert_neq(got, 0);
        len += got > 0 ? (size_t)got : 0;
    }
    cr_assert_eq(answer_bytes(answer, len), len);
    cr_assert_eq(memcmp(answer, "HTTP/1.1 200 OK\r\n", 17), 0, "%.*s", (int)len, answer);
}

#define GET(path) "GET " path " HTTP/1.1\r\nHost: a\r\n\r\n"

static const struct {
    const char *path, *body; /* NULL: a GET */
} requests[] = {
    {"/v1/recommend", "{\"user_id\":\"1\"}"},
    {"/v1/recommend", "{\"user_id\":3,\"count\":50,\"context\":{\"x\":1}}"},
    {"/v1/recommend", "{\"user_id\":\"nobody\",\"exclude_ids\":[\"v1\",\"v2\"],\"count\":5}"},
    {"/v1/recommend", "{\"user_id\":\"2\",\"explain\":true}"},
    {"/v1/rank", "{\"user_id\":\"2\",\"video_ids\":[\"v1\",\"v2\",\"v1\",\"no\"],\"explain\":true}"},
    {"/v1/events", "{\"events\":[{\"event_id\":\"e1\",\"request_id\":\"r\",\"user_id\":\"4\",\"video_id\":\"v1\","
                   "\"type\":\"click\"}]}"},
    {"/v1/similar/v1?count=20", NULL},
    {"/healthz", NULL},
    {"/readyz", NULL},
};
#define REQUESTS (sizeof requests / sizeof *requests)

static void ask_for(int client, size_t which)
{
    char text[512];
    const char *body = requests[which].body;
    if (body == NULL) {
        snprintf(text, sizeof text, "GET %s HTTP/1.1\r\nHost: a\r\n\r\n", requests[which].path);
    } else {
        snprintf(text, sizeof text,
                 "POST %s HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
                 requests[which].path, strlen(body), body);
    }
    ask(client, text);
}

static void narrow(struct vr_feed_config *config)
{
    config->lanes.count = 1;
    config->lanes.pool_workers = 0;
}

Test(warm, requests_take_no_memory)
{
    if (feed_bundle(1) == NULL) {
        cr_skip("skipped: no data (the small bundle is made by the Python environment)");
        return;
    }
    loop_rig_open(&rig, 1, narrow);
    int client = connect_to_loop();
    for (uint32_t i = 0; i < WARM_UP; i++) {
        ask_for(client, i % REQUESTS);
    }
    long before = alloc_total();
    uint64_t began_us = vr_clock_mono_us();
    fail_from(LONG_MAX);
    for (uint32_t i = 0; i < COUNTED; i++) {
        ask_for(client, i % REQUESTS);
    }
    long by_the_loop = fail_calls();
    fail_stop();
    long taken = alloc_total() - before;
    uint64_t passed_ms = (vr_clock_mono_us() - began_us) / 1000;
    long refreshed = (long)(passed_ms / rig.feed.config->state.trending_refresh_ms) + 1;
    cr_expect_eq(by_the_loop, 0, "%ld allocations by the loop in %u requests", by_the_loop, COUNTED);
    cr_expect_leq(taken, refreshed, "%ld allocations, though trending was made anew %ld times at most", taken,
                  refreshed);
    close(client);
    loop_rig_close(&rig);
}

Test(warm, the_count_sees_an_allocation)
{
    long before = alloc_total();
    void *volatile block = malloc(10);
    free(block);
    cr_expect_eq(alloc_total() - before, 1);
}

/* More than the loop keeps: what is over goes back, and idle connections hold nothing. */
Test(warm, idle_connections_hold_no_buffers)
{
    static int client[VR_BUFFERS_KEPT + 40];
    const uint32_t count = sizeof client / sizeof *client;
    if (feed_bundle(1) == NULL) {
        cr_skip("skipped: no data (the small bundle is made by the Python environment)");
        return;
    }
    loop_rig_open(&rig, 1, narrow);
    for (uint32_t i = 0; i < count; i++) {
        client[i] = connect_to_loop();
        cr_assert_eq(write(client[i], GET("/healthz"), 10), 10);
    }
    event_base_loop(rig.shared.loop[0]->base, EVLOOP_NONBLOCK);
    cr_expect_eq(rig.shared.loop[0]->buffers.count, 0u, "each holds the beginning of a request");
    for (uint32_t i = 0; i < count; i++) {
        ask(client[i], GET("/healthz") + 10);
    }
    cr_expect_eq(rig.shared.loop[0]->buffers.count, VR_BUFFERS_KEPT);
    for (uint32_t i = 0; i < count; i++) {
        close(client[i]);
    }
    loop_rig_close(&rig);
}
