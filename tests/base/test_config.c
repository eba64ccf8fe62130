/* The configuration: defaults, every setting through file, environment and vr_config_set, each fault's one-line
 * message, and that docs/configuration.md shows the table that the program uses. */
#include "vireo/config.h"

#include <ctype.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "base/config_table.h"

static enum vr_status parse(const char *text, struct vr_config **out)
{
    return vr_config_parse("f.yaml", text, strlen(text), out);
}

static struct vr_config *parsed(const char *text)
{
    struct vr_config *config = NULL;
    cr_assert_eq(parse(text, &config), VR_OK, "%s", vr_error_text());
    return config;
}

static void check_defaults(const struct vr_config *c)
{
    cr_assert_str_eq(c->server.listen, "127.0.0.1:8080");
    cr_assert_str_eq(c->server.admin, "127.0.0.1:8081");
    cr_assert_not(c->server.admin_allow_remote || c->server.replay);
    cr_assert_eq(c->lanes.max_batch, 16);
    cr_assert_eq(c->retrieval.kind, VR_INDEX_EXACT);
    static const uint32_t counts[VR_SOURCE_COUNT] = {100, 100, 50, 50, 50};
    for (unsigned i = 0; i < VR_SOURCE_COUNT; i++) {
        cr_assert(c->source[i].enabled && c->source[i].count == counts[i] && c->source[i].budget_us == 20000);
    }
    cr_assert_eq(c->satisfaction.count, 4);
    cr_assert_str_eq(c->satisfaction.term[3].name, "likes");
    cr_assert_str_eq(c->satisfaction.term[3].expression, "5.0*like");
    cr_assert_eq(c->rerank.gain, VR_GAIN_MMR);
    cr_assert(c->rerank.cap_count == 2 && c->rerank.cap[1].by == VR_CAP_TOPIC && c->rerank.cap[1].window == 10 &&
              c->rerank.cap[1].max == 4);
    cr_assert(c->rerank.freshness_count == 2 && c->rerank.freshness[1].by_position == 30 &&
              c->rerank.freshness[1].count == 3);
    cr_assert(c->rerank.give_way_count == 3 && c->rerank.give_way[0] == VR_RULE_FRESHNESS);
    cr_assert_eq(c->rerank.blocked_count, 0);
    cr_assert(c->rerank.drop_seen && c->rerank.drop_served && c->rerank.record_served);
    cr_assert_float_eq(c->rerank.safety_threshold, 0.5, 1e-6);
}

Test(config, defaults_come_from_nothing_and_from_empty_files)
{
    struct vr_config *config = NULL;
    cr_assert_eq(vr_config_default(&config), VR_OK);
    check_defaults(config);
    vr_config_destroy(config);
    static const char *const empty[] = {"", "# only a comment\n", "server:\nlanes: ~\nrerank: {}\n", "---\n...\n"};
    for (size_t i = 0; i < 4; i++) {
        config = parsed(empty[i]);
        check_defaults(config);
        vr_config_destroy(config);
    }
    vr_config_destroy(NULL);
}

Test(config, a_file_sets_scalars_and_lists)
{
    struct vr_config *c = parsed("server: {listen: '[::1]:0', replay: true}\n"
                                 "lanes:\n  count: 4\n  pool_workers: 0\n"
                                 "retrieval: {index: faiss_hnsw}\n"
                                 "sources:\n  social: {enabled: false, count: 7}\n"
                                 "satisfaction:\n  - {expression: \"2*like\", name: only}\n"
                                 "rerank:\n  gain: dpp\n  mmr_lambda: 1e-1\n  caps: []\n"
                                 "  freshness: [{count: 2, by_position: 2}]\n"
                                 "  blocked: [17, 'a b', \"\\u00e9\"]\n  give_way: [seen, freshness]\n"
                                 "state: {recent_watches: 200}\n");
    cr_assert_str_eq(c->server.listen, "[::1]:0");
    cr_assert_str_eq(c->server.admin, "127.0.0.1:8081");
    cr_assert(c->server.replay && c->lanes.count == 4 && c->lanes.pool_workers == 0);
    cr_assert_eq(c->retrieval.kind, VR_INDEX_FAISS_HNSW);
    cr_assert(!c->source[VR_SOURCE_SOCIAL].enabled && c->source[VR_SOURCE_SOCIAL].count == 7);
    cr_assert(c->satisfaction.count == 1 && strcmp(c->satisfaction.term[0].name, "only") == 0);
    cr_assert(c->rerank.gain == VR_GAIN_DPP && c->rerank.mmr_lambda == 0.1F && c->rerank.cap_count == 0);
    cr_assert(c->rerank.freshness_count == 1 && c->rerank.freshness[0].count == 2);
    cr_assert_eq(c->rerank.blocked_count, 3);
    cr_assert_str_eq(c->rerank.blocked[0], "17");
    cr_assert_str_eq(c->rerank.blocked[1], "a b");
    cr_assert_str_eq(c->rerank.blocked[2], "\xc3\xa9");
    cr_assert(c->rerank.give_way_count == 2 && c->rerank.give_way[0] == VR_RULE_SEEN);
    cr_assert_eq(c->state.recent_watches, 200);
    vr_config_destroy(c);
}

/* Each faulty text, the whole message, and a twin without the fault. */
Test(config, every_fault_is_named_with_its_place)
{
    static const struct {
        const char *bad, *message, *good;
    } cases[] = {
        {"server:\n  listn: x\n", "f.yaml:2:3: server.listn: unknown key", "server:\n  listen: x:1\n"},
        {"sever: {}\n", "f.yaml:1:1: sever: unknown key", "server: {}\n"},
        {"sources:\n  friends: {}\n", "f.yaml:2:3: sources.friends: unknown key", "sources:\n  social: {}\n"},
        {"server.replay: true\n", "f.yaml:1:1: server.replay: unknown key", "server: {replay: true}\n"},
        {"lanes: {count: 17}\n", "f.yaml:1:16: lanes.count: expected a whole number from 1 to 16, found '17'",
         "lanes: {count: 16}\n"},
        {"lanes: {count: 0}\n", "f.yaml:1:16: lanes.count: expected a whole number from 1 to 16, found '0'",
         "lanes: {count: 1}\n"},
        {"lanes: {count: 010}\n", "f.yaml:1:16: lanes.count: expected a whole number from 1 to 16, found '010'",
         "lanes: {count: 10}\n"},
        {"lanes: {count: 4294967297}\n",
         "f.yaml:1:16: lanes.count: expected a whole number from 1 to 16, found '4294967297'", "lanes: {count: 2}\n"},
        {"lanes: {count: -1}\n", "f.yaml:1:16: lanes.count: expected a whole number from 1 to 16, found '-1'",
         "lanes: {count: 3}\n"},
        {"lanes: {count: 2.0}\n", "f.yaml:1:16: lanes.count: expected a whole number from 1 to 16, found '2.0'",
         "lanes: {count: 2}\n"},
        {"lanes: {count: '2'}\n", "f.yaml:1:16: lanes.count: expected a number, found a quoted text",
         "lanes: {count: 2}\n"},
        {"lanes: {count: }\n", "f.yaml:1:16: lanes.count: expected a value, found none", "lanes: {count: 2}\n"},
        {"lanes: {count: [2]}\n", "f.yaml:1:16: lanes.count: expected a value, found a list", "lanes: {count: 2}\n"},
        {"lanes: 3\n", "f.yaml:1:8: lanes: expected a mapping, found a scalar", "lanes:\n"},
        {"[lanes]\n", "f.yaml:1:1: expected a mapping, found a list", "lanes:\n"},
        {"server: {replay: flase}\n", "f.yaml:1:18: server.replay: expected true or false, found 'flase'",
         "server: {replay: false}\n"},
        {"server: {replay: yes}\n", "f.yaml:1:18: server.replay: expected true or false, found 'yes'",
         "server: {replay: true}\n"},
        {"server: {listen: 8080}\n", "f.yaml:1:18: server.listen: expected HOST:PORT, found '8080'",
         "server: {listen: 'localhost:8080'}\n"},
        {"server: {listen: 'a:65536'}\n", "f.yaml:1:18: server.listen: expected HOST:PORT, found 'a:65536'",
         "server: {listen: 'a:65535'}\n"},
        {"server: {listen: '::1:80'}\n", "f.yaml:1:18: server.listen: expected HOST:PORT, found '::1:80'",
         "server: {listen: '[::1]:80'}\n"},
        {"server: {listen: 'a b:80'}\n", "f.yaml:1:18: server.listen: expected HOST:PORT, found 'a b:80'",
         "server: {listen: 'ab:80'}\n"},
        {"server: {listen: ':80'}\n", "f.yaml:1:18: server.listen: expected HOST:PORT, found ':80'",
         "server: {listen: '0.0.0.0:80'}\n"},
        {"rerank: {gain: mmmr}\n", "f.yaml:1:16: rerank.gain: expected one of score, mmr, dpp, found 'mmmr'",
         "rerank: {gain: mmr}\n"},
        {"rerank: {mmr_lambda: 1.5}\n", "f.yaml:1:22: rerank.mmr_lambda: expected a number from 0 to 1, found '1.5'",
         "rerank: {mmr_lambda: 1}\n"},
        {"rerank: {mmr_lambda: .nan}\n", "f.yaml:1:22: rerank.mmr_lambda: expected a number from 0 to 1, found '.nan'",
         "rerank: {mmr_lambda: .5}\n"},
        {"rerank: {mmr_lambda: 0x1p-1}\n",
         "f.yaml:1:22: rerank.mmr_lambda: expected a number from 0 to 1, found '0x1p-1'",
         "rerank: {mmr_lambda: 5e-1}\n"},
        {"rerank: {mmr_lambda: 1e-}\n", "f.yaml:1:22: rerank.mmr_lambda: expected a number from 0 to 1, found '1e-'",
         "rerank: {mmr_lambda: 1e-1}\n"},
        {"server: {replay: true, replay: true}\n", "f.yaml:1:24: server: the key 'replay' occurs twice",
         "server: {replay: true}\n"},
        {"server: {}\nserver: {}\n", "f.yaml:2:1: the key 'server' occurs twice", "server: {}\nlanes: {}\n"},
        {"{[a]: 1}\n", "f.yaml:1:2: expected a key, found a list", "{lanes: }\n"},
        {"satisfaction: []\n", "f.yaml:1:15: satisfaction: expected a list of 1 to 16, found 0",
         "satisfaction: [{name: a, expression: b}]\n"},
        {"satisfaction: {a: b}\n", "f.yaml:1:15: satisfaction: expected a list, found a mapping",
         "satisfaction: [{name: a, expression: b}]\n"},
        {"satisfaction:\n  - {name: a, expression: b}\n  - {name: a, expression: c}\n",
         "f.yaml:3:5: satisfaction[1]: the name 'a' occurs twice",
         "satisfaction:\n  - {name: a, expression: b}\n  - {name: c, expression: c}\n"},
        {"satisfaction: [{name: A, expression: b}]\n",
         "f.yaml:1:23: satisfaction[0].name: expected a name of the characters a-z, 0-9 and _, found 'A'",
         "satisfaction: [{name: a_1, expression: b}]\n"},
        {"satisfaction: [{name: a, expression: ''}]\n",
         "f.yaml:1:38: satisfaction[0].expression: expected a text of 1 to 1024 bytes without NUL, found 0 bytes",
         "satisfaction: [{name: a, expression: '1'}]\n"},
        {"satisfaction: [{name: a}]\n", "f.yaml:1:16: satisfaction[0]: 1 of its 2 keys are missing",
         "satisfaction: [{name: a, expression: '1'}]\n"},
        {"rerank: {caps: [{by: creator, window: 3, max: 3}]}\n",
         "f.yaml:1:17: rerank.caps[0]: max 3 is not below the window of 3",
         "rerank: {caps: [{by: creator, window: 3, max: 2}]}\n"},
        {"rerank: {caps: [{by: creator, window: 3, min: 2}]}\n", "f.yaml:1:42: rerank.caps[0].min: unknown key",
         "rerank: {caps: [{by: creator, window: 3, max: 2}]}\n"},
        {"rerank: {caps: [{by: creator, by: topic}]}\n", "f.yaml:1:31: rerank.caps[0]: the key 'by' occurs twice",
         "rerank: {caps: [{by: creator, window: 4, max: 2}]}\n"},
        {"rerank: {caps: [3]}\n", "f.yaml:1:17: rerank.caps[0]: expected a mapping, found a scalar",
         "rerank: {caps: []}\n"},
        {"rerank: {freshness: [{by_position: 2, count: 3}]}\n",
         "f.yaml:1:22: rerank.freshness[0]: count 3 is more than by_position 2",
         "rerank: {freshness: [{by_position: 3, count: 3}]}\n"},
        {"rerank: {give_way: [seen, seen]}\n", "f.yaml:1:27: rerank.give_way[1]: the rule 'seen' occurs twice",
         "rerank: {give_way: [seen, freshness]}\n"},
        {"rerank: {give_way: [safety]}\n",
         "f.yaml:1:21: rerank.give_way[0]: expected one of freshness, topic_cap, creator_cap, seen, found 'safety'",
         "rerank: {give_way: []}\n"},
        {"rerank: {blocked: [\"a\\0b\"]}\n",
         "f.yaml:1:20: rerank.blocked[0]: expected a text of 1 to 1024 bytes without NUL, found 3 bytes",
         "rerank: {blocked: [\"a\"]}\n"},
        {"rerank: {blocked: [0123456789012345678901234567890123456789012345678901234567890123x]}\n",
         "f.yaml:1:20: rerank.blocked[0]: an id of more than 64 bytes",
         "rerank: {blocked: [0123456789012345678901234567890123456789012345678901234567890123]}\n"},
        {"lanes: {count: \"1\\n2\"}\n", "f.yaml:1:16: lanes.count: expected a number, found a quoted text",
         "lanes: {count: 1}\n"},
        {"\"a\\nb\": 1\n", "f.yaml:1:1: a?b: unknown key", "lanes:\n"},
        {"lanes:\n---\nlanes:\n", "f.yaml:3:1: a second document; one is expected", "---\nlanes:\n...\n"},
        {"lanes: {\n", "f.yaml:2:1: not YAML: did not find expected node content", "lanes: {}\n"},
        {"lanes:\n\tcount: 2\n", "f.yaml:2:1: not YAML: found character that cannot start any token",
         "lanes:\n  count: 2\n"},
        {"lanes: {count: 2}\nx\xff", "f.yaml:2:2: not YAML: invalid leading UTF-8 octet", "lanes: {count: 2}\n"},
        {"lanes: *a\n", "f.yaml:1:8: not YAML: found undefined alias",
         "server: {replay: &a true, admin_allow_remote: *a}\n"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct vr_config *config = NULL;
        cr_expect_eq(parse(cases[i].bad, &config), VR_ERR_FORMAT, "accepted: %s", cases[i].bad);
        cr_expect_str_eq(vr_error_text(), cases[i].message);
        cr_expect_null(config);
        cr_expect_eq(parse(cases[i].good, &config), VR_OK, "refused: %s: %s", cases[i].good, vr_error_text());
        vr_config_destroy(config);
    }
}

/* A value inside the range of a setting that differs from its default, as text. */
static void other_value(const struct setting *setting, bool flag_is, char *text, size_t size)
{
    switch (setting->type) {
    case SETTING_BOOL: snprintf(text, size, "%s", flag_is ? "false" : "true"); break;
    case SETTING_U32: snprintf(text, size, "%.0f", setting->max); break;
    case SETTING_FLOAT: snprintf(text, size, "%g", (setting->min + setting->max) / 4); break;
    case SETTING_CHOICE: snprintf(text, size, "%s", setting->choice(2)); break;
    default: snprintf(text, size, "host.example:99"); break;
    }
}

static void environment_name(const char *path, const char *value, char *out, size_t size)
{
    int len = snprintf(out, size, "VIREO_%s", path);
    for (int i = 0; i < len; i++) {
        out[i] = out[i] == '.' ? '_' : (char)toupper((unsigned char)out[i]);
    }
    snprintf(out + len, size - (size_t)len, "=%s", value);
}

/* Nested YAML for one dotted path. */
static void yaml_of(const char *path, const char *value, char *out, size_t size)
{
    size_t len = 0;
    int depth = 0;
    for (const char *at = path; *at != '\0'; at++) {
        len += (size_t)snprintf(out + len, size - len, *at == '.' ? ": {" : "%c", *at);
        depth += *at == '.';
    }
    len += (size_t)snprintf(out + len, size - len, ": %s", value);
    while (depth-- > 0) {
        len += (size_t)snprintf(out + len, size - len, "}");
    }
}

static size_t size_of(const struct setting *setting)
{
    switch (setting->type) {
    case SETTING_BOOL: return sizeof(bool);
    case SETTING_TEXT:
    case SETTING_NAME:
    case SETTING_ADDRESS: return sizeof(const char *);
    default: return 4;
    }
}

static bool same(const struct setting *setting, const struct vr_config *a, const struct vr_config *b)
{
    const char *x = (const char *)a + setting->offset;
    const char *y = (const char *)b + setting->offset;
    if (size_of(setting) == sizeof(const char *)) {
        return strcmp(*(const char *const *)x, *(const char *const *)y) == 0;
    }
    return memcmp(x, y, size_of(setting)) == 0;
}

/* File, environment and vr_config_set give the same struct, which differs from the defaults in that setting alone. */
Test(config, every_setting_works_by_all_three_ways)
{
    struct vr_config *plain = NULL;
    cr_assert_eq(vr_config_default(&plain), VR_OK);
    for (size_t i = 0; i < config_settings_count; i++) {
        const struct setting *setting = &config_settings[i];
        char value[64];
        char text[256];
        bool flag;
        memcpy(&flag, (const char *)plain + setting->offset, sizeof flag * (setting->type == SETTING_BOOL));
        other_value(setting, setting->type == SETTING_BOOL && flag, value, sizeof value);
        struct vr_config *by_set = NULL;
        struct vr_config *by_environment = NULL;
        cr_assert_eq(vr_config_default(&by_set), VR_OK);
        cr_assert_eq(vr_config_default(&by_environment), VR_OK);
        cr_assert_eq(vr_config_set(by_set, setting->path, value), VR_OK, "%s", vr_error_text());
        environment_name(setting->path, value, text, sizeof text);
        char *environment[] = {(char[]){"HOME=/"}, text, (char[]){"VIREO_LONG=1"}, NULL};
        cr_assert_eq(vr_config_apply_environment(by_environment, environment), VR_OK, "%s", vr_error_text());
        char yaml[256];
        yaml_of(setting->path, value, yaml, sizeof yaml);
        struct vr_config *by_file = parsed(yaml);
        for (size_t k = 0; k < config_settings_count; k++) {
            const struct setting *other = &config_settings[k];
            bool follower = strcmp(other->path, "lanes.pool_workers") == 0 || strcmp(other->path, "server.loops") == 0;
            bool follows = strcmp(setting->path, "lanes.count") == 0 && follower;
            cr_assert(same(other, by_set, by_file), "%s by file: %s", setting->path, other->path);
            cr_assert(same(other, by_set, by_environment), "%s by environment: %s", setting->path, other->path);
            cr_assert(follows || same(other, by_set, plain) == (k != i), "%s changes %s", setting->path, other->path);
        }
        vr_config_destroy(by_set);
        vr_config_destroy(by_environment);
        vr_config_destroy(by_file);
    }
    vr_config_destroy(plain);
}

Test(config, faults_of_set_and_environment)
{
    struct vr_config *config = NULL;
    cr_assert_eq(vr_config_default(&config), VR_OK);
    cr_assert_eq(vr_config_set(config, "server.listn", "x:1"), VR_ERR_NOT_FOUND);
    cr_assert_str_eq(vr_error_text(), "server.listn: unknown setting");
    cr_assert_eq(vr_config_set(config, "satisfaction", "1"), VR_ERR_NOT_FOUND);
    cr_assert_eq(vr_config_set(config, "lanes.count", "99"), VR_ERR_FORMAT);
    cr_assert_str_eq(vr_error_text(), "lanes.count: expected a whole number from 1 to 16, found '99'");
    char *unknown[] = {(char[]){"VIREO_SERVER_LISTN=x:1"}, NULL};
    cr_assert_eq(vr_config_apply_environment(config, unknown), VR_ERR_NOT_FOUND);
    cr_assert_str_eq(vr_error_text(), "VIREO_SERVER_LISTN: no such setting in the environment");
    char *prefix[] = {(char[]){"VIREO_SERVER=x:1"}, NULL};
    cr_assert_eq(vr_config_apply_environment(config, prefix), VR_ERR_NOT_FOUND);
    char *bad[] = {(char[]){"VIREO_LANES_COUNT=2 "}, NULL};
    cr_assert_eq(vr_config_apply_environment(config, bad), VR_ERR_FORMAT);
    cr_assert_str_eq(vr_error_text(), "VIREO_LANES_COUNT: expected a whole number from 1 to 16, found '2 '");
    check_defaults(config);
    vr_config_destroy(config);
}

Test(config, pool_workers_follow_the_lanes_until_they_are_set)
{
    cpu_set_t set;
    cr_assert_eq(sched_getaffinity(0, sizeof set, &set), 0);
    int cores = CPU_COUNT(&set);
    struct vr_config *config = NULL;
    cr_assert_eq(vr_config_default(&config), VR_OK);
    cr_assert_eq(config->lanes.pool_workers, (uint32_t)(cores > 3 ? cores - 3 : 0));
    cr_assert_eq(vr_config_set(config, "lanes.count", "1"), VR_OK);
    cr_assert_eq(config->lanes.pool_workers, (uint32_t)(cores > 2 ? cores - 2 : 0));
    cr_assert_eq(vr_config_set(config, "lanes.pool_workers", "5"), VR_OK);
    cr_assert_eq(vr_config_set(config, "lanes.count", "2"), VR_OK);
    cr_assert_eq(config->lanes.pool_workers, 5);
    vr_config_destroy(config);
    config = parsed("lanes: {pool_workers: 7}");
    cr_assert_eq(vr_config_set(config, "lanes.count", "1"), VR_OK);
    cr_assert_eq(config->lanes.pool_workers, 7);
    vr_config_destroy(config);
}

Test(config, files_are_read_and_their_absence_named)
{
    char path[] = "/tmp/vireo-config-XXXXXX";
    int fd = mkstemp(path);
    cr_assert_geq(fd, 0);
    const char *text = "lanes: {count: 3}\nlanes: {}\n";
    struct vr_config *config = NULL;
    cr_assert_eq(write(fd, text, 18), 18);
    cr_assert_eq(vr_config_load(path, &config), VR_OK, "%s", vr_error_text());
    cr_assert_eq(config->lanes.count, 3);
    vr_config_destroy(config);
    cr_assert_eq(write(fd, text + 18, 10), 10);
    cr_assert_eq(vr_config_load(path, &config), VR_ERR_FORMAT);
    char message[128];
    snprintf(message, sizeof message, "%s:2:1: the key 'lanes' occurs twice", path);
    cr_assert_str_eq(vr_error_text(), message);
    cr_assert_eq(ftruncate(fd, 1024 * 1024 + 1), 0);
    cr_assert_eq(vr_config_load(path, &config), VR_ERR_TOO_LARGE);
    close(fd);
    unlink(path);
    cr_assert_eq(vr_config_load(path, &config), VR_ERR_IO);
    snprintf(message, sizeof message, "%s: No such file or directory", path);
    cr_assert_str_eq(vr_error_text(), message);
    cr_assert_eq(vr_config_load("/", &config), VR_ERR_IO);
}

Test(config, names_of_enums)
{
    cr_assert_str_eq(vr_source_name(VR_SOURCE_SUBSCRIPTIONS), "subscriptions");
    cr_assert_str_eq(vr_rule_name(VR_RULE_CREATOR_CAP), "creator_cap");
    cr_assert_str_eq(vr_gain_name(VR_GAIN_DPP), "dpp");
    cr_assert_str_eq(vr_index_kind_name(VR_INDEX_FAISS_IVF), "faiss_ivf");
    cr_assert_str_eq(vr_index_kind_name(VR_INDEX_IVF), "ivf");
    cr_assert_str_eq(vr_index_kind_name(VR_INDEX_EXACT_INT8), "exact_int8");
    cr_assert_str_eq(vr_source_name((enum vr_source)77), "unknown");
    for (size_t i = 0; i < config_settings_count; i++) {
        for (size_t k = 0; k < i; k++) {
            cr_assert_str_neq(config_settings[i].path, config_settings[k].path);
        }
    }
}

/* Each kind of index by its name; the refusal of another lists them all. */
Test(config, every_kind_of_index)
{
    struct vr_config *config = NULL;
    cr_assert_eq(vr_config_default(&config), VR_OK);
    for (unsigned kind = 0; kind < VR_INDEX_KINDS; kind++) {
        const char *name = vr_index_kind_name((enum vr_index_kind)kind);
        cr_assert_eq(vr_config_set(config, "retrieval.index", name), VR_OK, "%s", vr_error_text());
        cr_assert_eq((unsigned)config->retrieval.kind, kind, "%s", name);
    }
    cr_assert_eq(vr_config_set(config, "retrieval.index", "faiss_gpu"), VR_ERR_FORMAT);
    cr_assert(strstr(vr_error_text(), "exact, ") != NULL && strstr(vr_error_text(), ", cuvs_cagra") != NULL, "%s",
              vr_error_text());
    vr_config_destroy(config);
}

/* The row that docs/configuration.md must hold for a setting, up to its default. */
static void documented_row(const struct setting *setting, char *row, size_t size)
{
    static const char *const types[] = {[SETTING_BOOL] = "bool",
                                        [SETTING_U32] = "whole",
                                        [SETTING_FLOAT] = "number",
                                        [SETTING_ADDRESS] = "HOST:PORT",
                                        [SETTING_TEXT] = "text"};
    char choices[256] = "";
    for (unsigned v = 0; setting->type == SETTING_CHOICE && setting->choice(v) != NULL; v++) {
        snprintf(choices + strlen(choices), sizeof choices - strlen(choices), "%s%s", v > 0 ? ", " : "",
                 setting->choice(v));
    }
    snprintf(row, size, "| `%s` | %s | ", setting->path,
             setting->type == SETTING_CHOICE ? choices : types[setting->type]);
}

static void default_of(const struct setting *setting, const struct vr_config *config, char *text, size_t size)
{
    const char *place = (const char *)config + setting->offset;
    uint32_t number;
    float real;
    switch (setting->type) {
    case SETTING_BOOL: snprintf(text, size, "%s", *(const bool *)place ? "true" : "false"); break;
    case SETTING_FLOAT:
        memcpy(&real, place, sizeof real);
        snprintf(text, size, "%g", (double)real);
        break;
    case SETTING_U32:
    case SETTING_CHOICE:
        memcpy(&number, place, sizeof number);
        snprintf(text, size, "%u", number);
        if (setting->type == SETTING_CHOICE) {
            snprintf(text, size, "%s", setting->choice(number));
        }
        break;
    default: snprintf(text, size, "%s", *(const char *const *)place); break;
    }
}

Test(config, loops_follow_the_lanes_until_they_are_set)
{
    cpu_set_t set;
    cr_assert_eq(sched_getaffinity(0, sizeof set, &set), 0);
    int cores = CPU_COUNT(&set);
    struct vr_config *config = NULL;
    cr_assert_eq(vr_config_default(&config), VR_OK);
    cr_assert_eq(config->server.loops, (uint32_t)(cores > 3 ? cores - 2 : 1));
    cr_assert_eq(vr_config_set(config, "lanes.count", "1"), VR_OK);
    cr_assert_eq(config->server.loops, (uint32_t)(cores > 2 ? cores - 1 : 1));
    cr_assert_eq(vr_config_set(config, "server.loops", "3"), VR_OK);
    cr_assert_eq(vr_config_set(config, "lanes.count", "2"), VR_OK);
    cr_assert_eq(config->server.loops, 3);
    vr_config_destroy(config);
    config = parsed("server: {loops: 7}");
    cr_assert_eq(vr_config_set(config, "lanes.count", "1"), VR_OK);
    cr_assert_eq(config->server.loops, 7);
    vr_config_destroy(config);
}

Test(config, the_documentation_shows_the_same_table)
{
    static char page[65536];
    FILE *file = fopen(VIREO_SOURCE_DIR "/docs/configuration.md", "r");
    cr_assert_not_null(file);
    page[fread(page, 1, sizeof page - 1, file)] = '\0';
    fclose(file);
    struct vr_config *config = NULL;
    cr_assert_eq(vr_config_default(&config), VR_OK);
    for (size_t i = 0; i < config_settings_count; i++) {
        const struct setting *setting = &config_settings[i];
        char row[512];
        char range[64];
        documented_row(setting, row, sizeof row);
        if (strcmp(setting->path, "lanes.pool_workers") == 0) {
            strncat(row, "cores - lanes - 1, at least 0", sizeof row - strlen(row) - 1);
        } else if (strcmp(setting->path, "server.loops") == 0) {
            strncat(row, "cores - lanes, at least 1", sizeof row - strlen(row) - 1);
        } else {
            default_of(setting, config, row + strlen(row), sizeof row - strlen(row));
        }
        if (setting->type == SETTING_U32 || setting->type == SETTING_FLOAT) {
            snprintf(range, sizeof range, setting->type == SETTING_U32 ? " | %.0f..%.0f |\n" : " | %g..%g |\n",
                     setting->min, setting->max);
            strncat(row, range, sizeof row - strlen(row) - 1);
        }
        cr_expect_not_null(strstr(page, row), "docs/configuration.md lacks %s", row);
    }
    size_t rows = 0;
    for (const char *at = strstr(page, "\n| `"); at != NULL; at = strstr(at + 1, "\n| `")) {
        rows++;
    }
    cr_assert_eq(rows, config_settings_count);
    vr_config_destroy(config);
}
