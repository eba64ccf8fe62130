/* The small tables of the server room: routes, problems, command line, addresses, exposition. */
#include <criterion/criterion.h>
#include <string.h>

#include "server/exposition.h"
#include "server/loop.h"
#include "server/options.h"
#include "server/problem.h"
#include "server/route.h"

Test(route, finds_paths_and_methods_by_port)
{
    static const struct {
        enum vr_port port;
        enum vr_http_method method;
        const char *path;
        enum vr_route route;
        bool allowed;
        const char *parameter;
    } cases[] = {
        {VR_PORT_PUBLIC, VR_HTTP_POST, "/v1/recommend", VR_ROUTE_RECOMMEND, true, ""},
        {VR_PORT_PUBLIC, VR_HTTP_GET, "/v1/recommend", VR_ROUTE_RECOMMEND, false, ""},
        {VR_PORT_PUBLIC, VR_HTTP_POST, "/v1/recommend/", VR_ROUTE_NONE, false, ""},
        {VR_PORT_PUBLIC, VR_HTTP_POST, "/v1/Recommend", VR_ROUTE_NONE, false, ""},
        {VR_PORT_PUBLIC, VR_HTTP_POST, "/v1/events", VR_ROUTE_EVENTS, true, ""},
        {VR_PORT_PUBLIC, VR_HTTP_POST, "/v1/rank", VR_ROUTE_RANK, true, ""},
        {VR_PORT_ADMIN, VR_HTTP_POST, "/v1/rank", VR_ROUTE_NONE, false, ""},
        {VR_PORT_PUBLIC, VR_HTTP_GET, "/v1/similar/v1", VR_ROUTE_SIMILAR, true, "v1"},
        {VR_PORT_PUBLIC, VR_HTTP_HEAD, "/v1/similar/a%2Fb", VR_ROUTE_SIMILAR, true, "a%2Fb"},
        {VR_PORT_PUBLIC, VR_HTTP_POST, "/v1/similar/v1", VR_ROUTE_SIMILAR, false, "v1"},
        {VR_PORT_PUBLIC, VR_HTTP_GET, "/v1/similar/", VR_ROUTE_NONE, false, ""},
        {VR_PORT_PUBLIC, VR_HTTP_GET, "/v1/similar", VR_ROUTE_NONE, false, ""},
        {VR_PORT_PUBLIC, VR_HTTP_GET, "/v1/similar/a/b", VR_ROUTE_NONE, false, ""},
        {VR_PORT_PUBLIC, VR_HTTP_GET, "/v1/../healthz", VR_ROUTE_NONE, false, ""},
        {VR_PORT_PUBLIC, VR_HTTP_HEAD, "/healthz", VR_ROUTE_HEALTH, true, ""},
        {VR_PORT_PUBLIC, VR_HTTP_GET, "/admin/config", VR_ROUTE_NONE, false, ""},
        {VR_PORT_PUBLIC, VR_HTTP_POST, "/admin/dry_run", VR_ROUTE_NONE, false, ""},
        {VR_PORT_ADMIN, VR_HTTP_GET, "/admin/config", VR_ROUTE_CONFIG, true, ""},
        {VR_PORT_ADMIN, VR_HTTP_POST, "/admin/dry_run", VR_ROUTE_DRY_RUN, true, ""},
        {VR_PORT_ADMIN, VR_HTTP_GET, "/debug", VR_ROUTE_DEBUG, true, ""},
        {VR_PORT_ADMIN, VR_HTTP_GET, "/admin/models", VR_ROUTE_MODELS, true, ""},
        {VR_PORT_ADMIN, VR_HTTP_POST, "/admin/models/load", VR_ROUTE_MODEL_LOAD, true, ""},
        {VR_PORT_ADMIN, VR_HTTP_GET, "/admin/models/rollback", VR_ROUTE_MODEL_ROLLBACK, false, ""},
        {VR_PORT_PUBLIC, VR_HTTP_POST, "/admin/models/load", VR_ROUTE_NONE, false, ""},
        {VR_PORT_PUBLIC, VR_HTTP_GET, "/debug", VR_ROUTE_NONE, false, ""},
        {VR_PORT_ADMIN, VR_HTTP_POST, "/v1/recommend", VR_ROUTE_NONE, false, ""},
        {VR_PORT_ADMIN, VR_HTTP_GET, "/metrics", VR_ROUTE_METRICS, true, ""},
        {VR_PORT_ADMIN, VR_HTTP_DELETE, "/readyz", VR_ROUTE_READY, false, ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct vr_route_match match;
        vr_route_find(cases[i].port, cases[i].method, vr_str_of(cases[i].path), &match);
        cr_expect_eq(match.route, cases[i].route, "%s", cases[i].path);
        cr_expect_eq(match.method_allowed, cases[i].allowed, "%s", cases[i].path);
        cr_expect(match.route == VR_ROUTE_NONE || vr_str_equal(match.parameter, vr_str_of(cases[i].parameter)), "%s",
                  cases[i].path);
        cr_expect_eq(match.allow[0] != '\0', match.route != VR_ROUTE_NONE, "%s", cases[i].path);
    }
}

Test(problem, every_status_has_an_answer)
{
    for (int s = VR_OK; s <= VR_ERR_DEVICE_LOST; s++) {
        int http = vr_problem_http_status((enum vr_status)s);
        cr_expect_str_neq(vr_problem_phrase(http), "Unknown", "%s", vr_status_name((enum vr_status)s));
    }
    cr_expect_eq(vr_problem_http_status(VR_ERR_INVALID), 400);
    cr_expect_eq(vr_problem_http_status(VR_ERR_FORMAT), 400);
    cr_expect_eq(vr_problem_http_status(VR_ERR_NOT_FOUND), 404);
    cr_expect_eq(vr_problem_http_status(VR_ERR_BUSY), 503);
    cr_expect_eq(vr_problem_http_status(VR_ERR_TIMEOUT), 504);
}

Test(problem, is_written_as_a_problem_document)
{
    struct vr_json_writer out = {0};
    vr_problem_write(&out, 404, "not_found", "no \"x\"", vr_str_of("r1"));
    struct vr_str text = {out.data, out.len};
    cr_expect(vr_str_equal(text, vr_str_of("{\"type\":\"about:blank\",\"title\":\"Not Found\",\"status\":404,\"code\":"
                                           "\"not_found\",\"detail\":\"no \\\"x\\\"\",\"request_id\":\"r1\"}")),
              "%.*s", (int)out.len, out.data);
    vr_json_writer_destroy(&out);
}

#define WORDS(...) ((char *[]){"vireo", __VA_ARGS__, NULL})

static enum vr_status read_words(char **words, struct vr_options *out)
{
    int count = 0;
    while (words[count] != NULL) {
        count++;
    }
    return vr_options_read(count, words, out);
}

Test(options, reads_serve)
{
    struct vr_options o;
    cr_assert_eq(read_words(WORDS("serve", "--bundle", "B", "--listen=1.2.3.4:0", "--set", "lanes.count=3", "--replay",
                                  "--data", "D", "--config=C"),
                            &o),
                 VR_OK, "%s", vr_error_text());
    cr_expect_str_eq(o.bundle, "B");
    cr_expect_str_eq(o.data_dir, "D");
    cr_expect_str_eq(o.config_file, "C");
    cr_assert_eq(o.setting_count, 3u);
    cr_expect_str_eq(o.setting[0].path, "server.listen");
    cr_expect_str_eq(o.setting[0].value, "1.2.3.4:0");
    cr_expect_str_eq(o.setting[1].path, "lanes.count");
    cr_expect_str_eq(o.setting[1].value, "3");
    cr_expect_str_eq(o.setting[2].path, "server.replay");
}

Test(options, refuses_with_the_word)
{
    static const struct {
        char *words[6];
        const char *names;
    } cases[] = {
        {{"vireo"}, "command"},
        {{"vireo", "sevre"}, "sevre"},
        {{"vireo", "serve"}, "--bundle"},
        {{"vireo", "serve", "--bundel", "B"}, "--bundel"},
        {{"vireo", "serve", "--bundle"}, "--bundle"},
        {{"vireo", "serve", "--bundle", "A", "--bundle=B"}, "--bundle"},
        {{"vireo", "serve", "B"}, "B"},
        {{"vireo", "serve", "--bundle", "B", "--replay=1"}, "--replay"},
        {{"vireo", "serve", "--bundle", "B", "--set=x"}, "--set"},
        {{"vireo", "serve", "--bundle", "B", "--user=1"}, "--user"},
        {{"vireo", "check"}, "BUNDLE"},
        {{"vireo", "check", "A", "B"}, "BUNDLE"},
        {{"vireo", "show", "--count=51"}, "--count"},
        {{"vireo", "show", "--count", "x"}, "--count"},
        {{"vireo", "show", "--count=+5"}, "--count"},
        {{"vireo", "show", "--server=a:65536"}, "a:65536"},
        {{"vireo", "version", "--listen=1"}, "--listen"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct vr_options o;
        cr_expect_eq(read_words((char **)cases[i].words, &o), VR_ERR_INVALID, "case %zu", i);
        cr_expect_not_null(strstr(vr_error_text(), cases[i].names), "case %zu: %s", i, vr_error_text());
    }
}

Test(options, flags_win_over_the_environment)
{
    struct vr_options o;
    struct vr_config *config = NULL;
    char *environment[] = {"VIREO_LANES_COUNT=5", "VIREO_LANES_MAX_BATCH=9", "HOME=/", NULL};
    cr_assert_eq(read_words(WORDS("serve", "--bundle", "B", "--set=lanes.count=3"), &o), VR_OK);
    cr_assert_eq(vr_options_config(&o, environment, &config), VR_OK, "%s", vr_error_text());
    cr_expect_eq(config->lanes.count, 3u);
    cr_expect_eq(config->lanes.max_batch, 9u);
    vr_config_destroy(config);
    char *wrong[] = {"VIREO_LANES_COUTN=5", NULL};
    cr_expect_neq(vr_options_config(&o, wrong, &config), VR_OK);
    cr_expect_not_null(strstr(vr_error_text(), "VIREO_LANES_COUTN"), "%s", vr_error_text());
}

Test(address, splits_host_and_port)
{
    static const struct {
        const char *address, *host, *port; /* NULL: refused */
    } cases[] = {{"127.0.0.1:80", "127.0.0.1", "80"},
                 {"[::1]:8080", "::1", "8080"},
                 {"localhost:0", "localhost", "0"},
                 {"a:65535", "a", "65535"},
                 {"a:65536", NULL, NULL},
                 {"127.0.0.1", NULL, NULL},
                 {":80", NULL, NULL},
                 {"a:", NULL, NULL},
                 {"::1:80", NULL, NULL},
                 {"a:8x", NULL, NULL},
                 {"a:123456", NULL, NULL},
                 {"", NULL, NULL},
                 {"[]:1", NULL, NULL}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char host[64], port[8];
        enum vr_status status = vr_address_split(cases[i].address, host, port);
        cr_expect_eq(status, cases[i].host != NULL ? VR_OK : VR_ERR_INVALID, "%s", cases[i].address);
        if (status == VR_OK && cases[i].host != NULL) {
            cr_expect_str_eq(host, cases[i].host);
            cr_expect_str_eq(port, cases[i].port);
        }
    }
}

Test(address, tells_loopback)
{
    bool loopback;
    cr_assert_eq(vr_address_is_loopback("127.0.0.1:1", &loopback), VR_OK);
    cr_expect(loopback);
    cr_assert_eq(vr_address_is_loopback("[::1]:1", &loopback), VR_OK);
    cr_expect(loopback);
    cr_assert_eq(vr_address_is_loopback("0.0.0.0:1", &loopback), VR_OK);
    cr_expect_not(loopback);
    cr_assert_eq(vr_address_is_loopback("[::]:1", &loopback), VR_OK);
    cr_expect_not(loopback);
}

Test(exposition, writes_the_text_format)
{
    struct vr_exposition out = {0};
    struct vr_histogram h = {0};
    static const uint64_t bounds[] = {1000, 1000000};
    vr_histogram_record(&h, 500);
    vr_histogram_record(&h, 2000000);
    vr_exposition_family(&out, "a_seconds", "histogram", "Help.");
    vr_exposition_histogram(&out, "a_seconds", "s=\"x\"", &h, bounds, 2, 1e-6);
    vr_exposition_sample(&out, "b", "", 3.0);
    static const char wanted[] = "# HELP a_seconds Help.\n# TYPE a_seconds histogram\n"
                                 "a_seconds_bucket{s=\"x\",le=\"0.001\"} 1\na_seconds_bucket{s=\"x\",le=\"1\"} 1\n"
                                 "a_seconds_bucket{s=\"x\",le=\"+Inf\"} 2\na_seconds_sum{s=\"x\"} 2.0005\n"
                                 "a_seconds_count{s=\"x\"} 2\nb 3\n";
    cr_expect(out.len == sizeof wanted - 1 && memcmp(out.data, wanted, out.len) == 0, "%.*s", (int)out.len, out.data);
    vr_exposition_destroy(&out);
}
