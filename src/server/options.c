/* The command line of options.h. */
#include "options.h"

#include <stdlib.h>
#include <string.h>

#include "loop.h"
#include "vireo/feed.h"

const char vr_usage[] =
    "usage: vireo serve --bundle DIR [--listen HOST:PORT] [--admin HOST:PORT] [--config FILE] [--data DIR]\n"
    "                   [--replay] [--set SECTION.KEY=VALUE]...\n"
    "       vireo bench backends|ops|feed|load ...\n"
    "       vireo check [--config FILE] [--set SECTION.KEY=VALUE]... BUNDLE\n"
    "       vireo show [--server HOST:PORT] [--user ID] [--count N]\n"
    "       vireo version\n"
    "\n"
    "serve    answers requests; port 0 takes a free one, which the log names\n"
    "check    opens a bundle, computes its golden cases and prints what is inside\n"
    "bench    measures; `vireo bench --help` tells the four ways\n"
    "show     asks a running server for one feed and prints it as a table\n"
    "version  prints the version and what is built in\n"
    "\n"
    "Flags win over the environment (VIREO_SECTION_KEY), which wins over the file.\n";

/* A flag with what it does to the options: `path` names a setting, else `take` reads the value. */
struct flag {
    enum vr_command command;
    bool is_switch; /* takes no value: the setting becomes "true" */
    const char *name;
    const char *path; /* a setting of the configuration */
    enum vr_status (*take)(struct vr_options *out, const char *value);
};

static enum vr_status take_once(const char **slot, const char *name, const char *value)
{
    if (*slot != NULL) {
        return vr_fail(VR_ERR_INVALID, "%s: given twice", name);
    }
    *slot = value;
    return VR_OK;
}

static enum vr_status take_bundle(struct vr_options *out, const char *value)
{
    return take_once(&out->bundle, "--bundle", value);
}

static enum vr_status take_config(struct vr_options *out, const char *value)
{
    return take_once(&out->config_file, "--config", value);
}

static enum vr_status take_data(struct vr_options *out, const char *value)
{
    return take_once(&out->data_dir, "--data", value);
}

static enum vr_status take_server(struct vr_options *out, const char *value)
{
    char host[64], port[8];
    enum vr_status status = vr_address_split(value, host, port);
    return status == VR_OK ? take_once(&out->server, "--server", value) : status;
}

static enum vr_status take_user(struct vr_options *out, const char *value)
{
    return take_once(&out->user, "--user", value);
}

static enum vr_status take_count(struct vr_options *out, const char *value)
{
    size_t len = strlen(value);
    long count = len <= 2 && strspn(value, "0123456789") == len ? strtol(value, NULL, 10) : 0;
    if (count < 1 || count > (long)VR_COUNT_MAX) {
        return vr_fail(VR_ERR_INVALID, "--count: a number in 1..%u, not \"%s\"", VR_COUNT_MAX, value);
    }
    if (out->count != 0) {
        return vr_fail(VR_ERR_INVALID, "--count: given twice");
    }
    out->count = (uint32_t)count;
    return VR_OK;
}

static enum vr_status add_setting(struct vr_options *out, const char *path, size_t path_len, const char *value)
{
    if (out->setting_count == VR_SETTINGS_MAX) {
        return vr_fail(VR_ERR_INVALID, "more than %u settings on the command line", VR_SETTINGS_MAX);
    }
    struct vr_setting *setting = &out->setting[out->setting_count];
    if (path_len == 0 || path_len >= sizeof setting->path) {
        return vr_fail(VR_ERR_INVALID, "--set: SECTION.KEY=VALUE");
    }
    memcpy(setting->path, path, path_len);
    setting->path[path_len] = '\0';
    for (uint32_t i = 0; i < out->setting_count; i++) {
        if (strcmp(out->setting[i].path, setting->path) == 0) {
            return vr_fail(VR_ERR_INVALID, "%s: given twice", setting->path);
        }
    }
    setting->value = value;
    out->setting_count++;
    return VR_OK;
}

static enum vr_status take_set(struct vr_options *out, const char *value)
{
    const char *equals = strchr(value, '=');
    if (equals == NULL) {
        return vr_fail(VR_ERR_INVALID, "--set: SECTION.KEY=VALUE, not \"%s\"", value);
    }
    return add_setting(out, value, (size_t)(equals - value), equals + 1);
}

static const struct flag flags[] = {
    {VR_COMMAND_SERVE, false, "--bundle", NULL, take_bundle},
    {VR_COMMAND_SERVE, false, "--listen", "server.listen", NULL},
    {VR_COMMAND_SERVE, false, "--admin", "server.admin", NULL},
    {VR_COMMAND_SERVE, false, "--config", NULL, take_config},
    {VR_COMMAND_SERVE, false, "--data", NULL, take_data},
    {VR_COMMAND_SERVE, true, "--replay", "server.replay", NULL},
    {VR_COMMAND_SERVE, false, "--set", NULL, take_set},
    {VR_COMMAND_CHECK, false, "--config", NULL, take_config},
    {VR_COMMAND_CHECK, false, "--set", NULL, take_set},
    {VR_COMMAND_SHOW, false, "--server", NULL, take_server},
    {VR_COMMAND_SHOW, false, "--user", NULL, take_user},
    {VR_COMMAND_SHOW, false, "--count", NULL, take_count},
};

static const struct flag *find_flag(enum vr_command command, const char *name, size_t len)
{
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++) {
        if (flags[i].command == command && strlen(flags[i].name) == len && memcmp(flags[i].name, name, len) == 0) {
            return &flags[i];
        }
    }
    return NULL;
}

/* Take the flag at argv[*at], with its value behind '=' or in the next word; *at moves past both. */
static enum vr_status take_flag(int argc, char **argv, int *at, struct vr_options *out)
{
    const char *word = argv[*at];
    const char *equals = strchr(word, '=');
    const struct flag *flag = find_flag(out->command, word, equals != NULL ? (size_t)(equals - word) : strlen(word));
    if (flag == NULL) {
        return vr_fail(VR_ERR_INVALID, "%s: unknown flag", word);
    }
    const char *value = equals != NULL ? equals + 1 : NULL;
    if (flag->is_switch && equals != NULL) {
        return vr_fail(VR_ERR_INVALID, "%s: takes no value", flag->name);
    }
    if (flag->is_switch) {
        value = "true";
    } else if (value == NULL && *at + 1 < argc) {
        value = argv[++*at];
    }
    if (value == NULL) {
        return vr_fail(VR_ERR_INVALID, "%s: needs a value", flag->name);
    }
    ++*at;
    return flag->take != NULL ? flag->take(out, value) : add_setting(out, flag->path, strlen(flag->path), value);
}

static enum vr_status read_command(const char *word, enum vr_command *out)
{
    static const struct {
        const char *word;
        enum vr_command command;
    } commands[] = {{"serve", VR_COMMAND_SERVE}, {"check", VR_COMMAND_CHECK},     {"show", VR_COMMAND_SHOW},
                    {"bench", VR_COMMAND_BENCH}, {"version", VR_COMMAND_VERSION}, {"help", VR_COMMAND_HELP},
                    {"--help", VR_COMMAND_HELP}, {"-h", VR_COMMAND_HELP},         {"--version", VR_COMMAND_VERSION}};
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        if (strcmp(word, commands[i].word) == 0) {
            *out = commands[i].command;
            return VR_OK;
        }
    }
    return vr_fail(VR_ERR_INVALID, "%s: unknown command", word);
}

static enum vr_status read_words(int argc, char **argv, struct vr_options *out)
{
    for (int at = 2; at < argc;) {
        enum vr_status status;
        if (out->command == VR_COMMAND_HELP || strcmp(argv[at], "--help") == 0 || strcmp(argv[at], "-h") == 0) {
            out->command = VR_COMMAND_HELP;
            return VR_OK;
        }
        if (argv[at][0] == '-') {
            status = take_flag(argc, argv, &at, out);
        } else if (out->command == VR_COMMAND_CHECK) {
            status = take_once(&out->bundle, "BUNDLE", argv[at++]);
        } else {
            status = vr_fail(VR_ERR_INVALID, "%s: not expected here", argv[at]);
        }
        if (status != VR_OK) {
            return status;
        }
    }
    return VR_OK;
}

static bool asks_for_help(int argc, char **argv)
{
    for (int i = 2; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            return true;
        }
    }
    return false;
}

enum vr_status vr_options_read(int argc, char **argv, struct vr_options *out)
{
    *out = (struct vr_options){0};
    if (argc < 2) {
        return vr_fail(VR_ERR_INVALID, "a command is missing");
    }
    enum vr_status status = read_command(argv[1], &out->command);
    if (status == VR_OK && out->command == VR_COMMAND_BENCH) {
        out->wants_help = asks_for_help(argc, argv);
        return out->wants_help ? VR_OK : vr_bench_read(argc - 2, argv + 2, &out->bench);
    }
    if (status == VR_OK) {
        status = read_words(argc, argv, out);
    }
    if (status != VR_OK || out->command == VR_COMMAND_HELP) {
        return status;
    }
    if (out->bundle == NULL && out->command == VR_COMMAND_SERVE) {
        return vr_fail(VR_ERR_INVALID, "--bundle: missing");
    }
    if (out->bundle == NULL && out->command == VR_COMMAND_CHECK) {
        return vr_fail(VR_ERR_INVALID, "BUNDLE: missing");
    }
    out->server = out->server != NULL ? out->server : "127.0.0.1:8080";
    out->user = out->user != NULL ? out->user : "42";
    out->count = out->count != 0 ? out->count : 20;
    return VR_OK;
}

enum vr_status vr_options_config(const struct vr_options *options, char **environment, struct vr_config **out)
{
    struct vr_config *config = NULL;
    enum vr_status status =
        options->config_file != NULL ? vr_config_load(options->config_file, &config) : vr_config_default(&config);
    if (status == VR_OK) {
        status = vr_config_apply_environment(config, environment);
    }
    for (uint32_t i = 0; status == VR_OK && i < options->setting_count; i++) {
        status = vr_config_set(config, options->setting[i].path, options->setting[i].value);
    }
    if (status != VR_OK) {
        vr_config_destroy(config);
        return status;
    }
    *out = config;
    return VR_OK;
}
