/* The HTTP front without a feed behind it, on Vireo's own loop and on libevent's evhttp, for bench/peers/front.py.
 *
 *     bench_front own|evhttp fixed|print PORT
 *     bench_front time print ROUNDS      nanoseconds of a feed: parsed, printed; the best round of so many
 *
 * fixed: POST /v1/recommend is answered with 1.5 KB of JSON that is always the same. print: the body is parsed and
 * checked as the server does, and a feed of 30 items (about 6 KB) is printed anew. GET of anything is answered 200, so
 * that one can wait for it. The functions here take the place of src/server/handlers.c at link time. */
#include <event2/buffer.h>
#include <event2/http.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/loop.h"
#include "server/problem.h"
#include "vireo/clock.h"

#define FIXED_BYTES 1536u
#define ITEMS 30u
#define BODY_MAX 65536u

static bool prints;
static char fixed[FIXED_BYTES + 1];
static struct vr_feed_reply reply;
static struct vr_arena *arena; /* of the request being read */

/* ---- what is answered ---- */

static void make_fixed(void)
{
    size_t len = (size_t)snprintf(fixed, sizeof fixed, "{\"items\":[");
    for (uint32_t i = 0; len + 40 < FIXED_BYTES; i++) {
        len += (size_t)snprintf(fixed + len, sizeof fixed - len, "%s\"v%06u\"", i > 0 ? "," : "", i * 7919 % 1000000);
    }
    memset(fixed + len, ' ', FIXED_BYTES - len);
    memcpy(fixed + FIXED_BYTES - 2, "]}", 2);
}

static struct vr_str numbered(const char *word, uint32_t number)
{
    char text[48];
    snprintf(text, sizeof text, "%s%u", word, number);
    struct vr_str copy = vr_arena_copy(arena, vr_str_of(text));
    return copy;
}

/* Scores with all their digits, one or two sources an item, as in a feed of the demo bundle. */
static void make_reply(void)
{
    static struct vr_feed_item item[ITEMS];
    static struct vr_found_at found[ITEMS][2];
    for (uint32_t i = 0; i < ITEMS; i++) {
        float part = (float)(i * 37 % 101) / 101.0f;
        for (uint32_t f = 0; f < 2; f++) {
            found[i][f] = (struct vr_found_at){(enum vr_source)((i + f) % VR_SOURCE_COUNT), 1 + i, 0.9f - part * 0.3f};
        }
        item[i] = (struct vr_feed_item){.id = numbered("v", 100000 + i * 7919),
                                        .title = numbered("A video about things, part ", i),
                                        .creator = numbered("creator", i * 31 % 97),
                                        .topic = numbered("topic", i % 12),
                                        .duration_s = 10.0f + (float)i,
                                        .score = 2.0f - part,
                                        .heads = {part, 3.0f + part * 7.0f, part / 9.0f, part / 3.0f},
                                        .found = found[i],
                                        .found_count = 1 + i % 2};
    }
    reply = (struct vr_feed_reply){.model_version = "bench-1", .item = item, .item_count = ITEMS};
    for (uint32_t s = 0; s < VR_SOURCE_COUNT; s++) {
        reply.source[s] = (struct vr_source_report){VR_SOURCE_OK, 50 + s, 100 + s};
    }
}

static enum vr_status answer_print(struct vr_json *json, struct vr_str body, struct vr_json_writer *out)
{
    struct vr_json_value root;
    struct vr_feed_request request;
    struct vr_request_rules rules = {.default_timeout_ms = 1000, .now_ms = vr_clock_wall_ms()};
    vr_arena_reset(arena);
    enum vr_status status = vr_json_parse(json, body.data, body.len, &root);
    if (status == VR_OK) {
        status = vr_recommend_read(root, &rules, arena, &request);
    }
    if (status == VR_OK) {
        request.request_id = vr_str_of("0123456789abcdef-1");
        vr_reply_write_feed(out, &request, &reply, NULL, 0);
    }
    return status;
}

/* ---- Vireo's front ---- */

static void put_bytes(struct vr_json_writer *out, const char *data, size_t len)
{
    if (out->capacity < len) {
        char *grown = realloc(out->data, len);
        out->failed = out->failed || grown == NULL;
        out->data = grown != NULL ? grown : out->data;
        out->capacity = grown != NULL ? len : out->capacity;
    }
    if (!out->failed) {
        memcpy(out->data, data, len);
        out->len = len;
    }
}

void vr_exchange_fail(struct vr_loop *loop, struct vr_exchange *exchange, int status, const char *code,
                      const char *detail, struct vr_str request_id)
{
    exchange->status = status;
    exchange->media_type = "application/problem+json";
    loop->writer.len = 0;
    loop->writer.need_comma = false;
    vr_problem_write(&loop->writer, status, code, detail, request_id);
}

int vr_handle_head(struct vr_loop *loop, struct vr_exchange *exchange)
{
    (void)loop;
    (void)exchange;
    return 0;
}

enum vr_handled vr_handle(struct vr_loop *loop, struct vr_exchange *exchange, struct vr_call **call)
{
    struct vr_str none = {NULL, 0};
    (void)call;
    exchange->status = 200;
    exchange->media_type = "application/json";
    loop->writer.len = 0;
    loop->writer.need_comma = false;
    if (!prints || exchange->method != VR_HTTP_POST) {
        put_bytes(&loop->writer, fixed, FIXED_BYTES);
    } else if (answer_print(loop->json, exchange->body, &loop->writer) != VR_OK) {
        vr_exchange_fail(loop, exchange, 400, "invalid", vr_error_text(), none);
    }
    return VR_HANDLED_ANSWERED;
}

/* No call is ever made. */
void vr_handle_reply(struct vr_loop *loop, struct vr_call *call, struct vr_exchange *exchange)
{
    (void)loop;
    (void)call;
    (void)exchange;
}

static enum vr_status run_own(const struct vr_config *config, const char *address)
{
    int fd;
    struct vr_shared shared = {.config = config, .loop_count = 1, .readiness = VR_READY_YES};
    enum vr_status status = vr_admission_create(config->server.max_connections, 0, &shared.admission);
    if (status == VR_OK) {
        status = vr_loops_create(&shared);
    }
    if (status == VR_OK) {
        status = vr_listener_bind(address, 1, &fd);
    }
    if (status == VR_OK) {
        vr_listener_adopt(shared.loop[0], VR_PORT_PUBLIC, fd);
        vr_listener_start(&shared.loop[0]->listener[VR_PORT_PUBLIC]);
        event_base_dispatch(shared.loop[0]->base);
    }
    return status;
}

/* ---- evhttp's ---- */

struct peer {
    struct vr_json *json;
    struct vr_json_writer writer;
};

static void on_request(struct evhttp_request *request, void *argument)
{
    struct peer *peer = argument;
    struct evbuffer *in = evhttp_request_get_input_buffer(request);
    struct evbuffer *out = evhttp_request_get_output_buffer(request);
    size_t len = evbuffer_get_length(in);
    int status = 200;
    evhttp_add_header(evhttp_request_get_output_headers(request), "Content-Type", "application/json");
    if (!prints || evhttp_request_get_command(request) != EVHTTP_REQ_POST) {
        evbuffer_add(out, fixed, FIXED_BYTES);
    } else {
        struct vr_str body = {(const char *)evbuffer_pullup(in, -1), len};
        peer->writer.len = 0;
        peer->writer.need_comma = false;
        status = answer_print(peer->json, body, &peer->writer) == VR_OK ? 200 : 400;
        evbuffer_add(out, peer->writer.data, peer->writer.len);
    }
    evhttp_send_reply(request, status, NULL, NULL);
}

static enum vr_status run_evhttp(uint16_t port)
{
    struct peer peer = {0};
    enum vr_status status = vr_json_create(BODY_MAX, 8, &peer.json);
    struct event_base *base = event_base_new();
    struct evhttp *http = base != NULL ? evhttp_new(base) : NULL;
    if (status != VR_OK || http == NULL || evhttp_bind_socket(http, "127.0.0.1", port) != 0) {
        return vr_fail(VR_ERR_IO, "evhttp does not listen");
    }
    evhttp_set_gencb(http, on_request, &peer);
    event_base_dispatch(base);
    return VR_OK;
}

/* ---- without a network ---- */

#define A_ROUND 2000u

static double best_ns(struct vr_json *json, struct vr_json_writer *writer, bool parse, uint32_t rounds)
{
    static const char body[] = "{\"user_id\":\"42\",\"count\":30}";
    struct vr_feed_request request = {.request_id = vr_str_of("0123456789abcdef-1")};
    struct vr_str text = {body, sizeof body - 1};
    double best = 1e12;
    for (uint32_t r = 0; r < rounds; r++) {
        uint64_t began_us = vr_clock_mono_us();
        for (uint32_t i = 0; i < A_ROUND; i++) {
            writer->len = 0;
            writer->need_comma = false;
            if (parse) {
                (void)answer_print(json, text, writer);
            } else {
                vr_reply_write_feed(writer, &request, &reply, NULL, 0);
            }
        }
        double ns = (double)(vr_clock_mono_us() - began_us) * 1e3 / A_ROUND;
        best = ns < best ? ns : best;
    }
    return best;
}

static enum vr_status time_it(uint32_t rounds)
{
    struct vr_json *json;
    struct vr_json_writer writer = {0};
    enum vr_status status = vr_json_create(BODY_MAX, 8, &json);
    if (status == VR_OK) {
        double printed = best_ns(json, &writer, false, rounds);
        double both = best_ns(json, &writer, true, rounds);
        printf("{\"print_ns\": %.0f, \"parse_and_print_ns\": %.0f, \"bytes\": %zu}\n", printed, both, writer.len);
        vr_json_writer_destroy(&writer);
        vr_json_destroy(json);
    }
    return status;
}

int main(int argc, char **argv)
{
    struct vr_config *config;
    struct vr_arena *kept; /* of the reply */
    bool own = argc == 4 && strcmp(argv[1], "own") == 0;
    bool timed = argc == 4 && strcmp(argv[1], "time") == 0;
    if (argc != 4 || (!own && !timed && strcmp(argv[1], "evhttp") != 0)) {
        fprintf(stderr, "usage: bench_front own|evhttp fixed|print PORT\n");
        return 2;
    }
    prints = strcmp(argv[2], "print") == 0;
    if (vr_config_default(&config) != VR_OK || vr_arena_create(65536, &kept) != VR_OK) {
        return 1;
    }
    arena = kept;
    make_fixed();
    make_reply();
    char address[32];
    uint16_t port = (uint16_t)strtoul(argv[3], NULL, 10);
    snprintf(address, sizeof address, "127.0.0.1:%" PRIu16, port);
    enum vr_status status = vr_arena_create(65536, &arena);
    if (status == VR_OK) {
        status = timed ? time_it(port) : own ? run_own(config, address) : run_evhttp(port);
    }
    if (status != VR_OK) {
        fprintf(stderr, "bench_front: %s\n", vr_error_text());
    }
    vr_arena_destroy(arena);
    vr_arena_destroy(kept);
    vr_config_destroy(config);
    return status == VR_OK ? 0 : 1;
}
