/* The command line of `vireo`: words in, typed options out. No printing, no exiting. */
#ifndef VIREO_SERVER_OPTIONS_H
#define VIREO_SERVER_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "vireo/bench.h"
#include "vireo/config.h"
#include "vireo/status.h"

enum vr_command {
    VR_COMMAND_SERVE = 0,
    VR_COMMAND_CHECK,
    VR_COMMAND_BENCH,
    VR_COMMAND_SHOW,
    VR_COMMAND_VERSION,
    VR_COMMAND_HELP
};

#define VR_SETTINGS_MAX 32u /* --set */

struct vr_options {
    enum vr_command command;
    const char *bundle;      /* serve --bundle, check BUNDLE */
    const char *config_file; /* serve and check --config */
    const char *data_dir;    /* serve --data */
    /* Settings given by flags, in order: PATH and VALUE of vr_config_set. */
    struct vr_setting {
        char path[64];
        const char *value;
    } setting[VR_SETTINGS_MAX];
    uint32_t setting_count;
    const char *server; /* show --server, default "127.0.0.1:8080" */
    const char *user;   /* show --user, default "42" */
    uint32_t count;     /* show --count, default 20 */
    struct vr_bench_command bench;
    bool wants_help; /* bench --help */
};

/* Read the words behind the program's name. Text members point into argv. VR_ERR_INVALID with a text that names the
 * word: unknown command or flag, a missing, odd or repeated value. */
enum vr_status vr_options_read(int argc, char **argv, struct vr_options *out);

/* The settings in force: flags over environment over file over defaults. The caller frees with vr_config_destroy. */
enum vr_status vr_options_config(const struct vr_options *options, char **environment, struct vr_config **out);

extern const char vr_usage[];

#endif
