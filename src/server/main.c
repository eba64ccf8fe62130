/* vireo: the program. Commands and flags are in options.c; exit status 0 is success, 1 a failure, 2 a wrong command
 * line or configuration. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "commands.h"
#include "options.h"
#include "role.h"
#include "server.h"
#include "supervisor.h"
#include "vireo/backend.h"
#ifdef VIREO_HAVE_CUDA
#include "vireo/backend_cuda.h"
#endif

#define EXIT_FAILED 1
#define EXIT_USAGE 2

static int complain(int exit_status)
{
    fprintf(stderr, "vireo: %s\n", vr_error_text());
    return exit_status;
}

static int complain_of(enum vr_status status)
{
    return complain(status == VR_ERR_INVALID ? EXIT_USAGE : EXIT_FAILED);
}

static int run_server(const struct vr_server_setup *setup)
{
    static const int exit_statuses[] = {[VR_SERVER_END_CLEAN] = 0,
                                        [VR_SERVER_END_CUT] = EXIT_FAILED,
                                        [VR_SERVER_END_FORCED] = EXIT_FAILED,
                                        [VR_SERVER_END_LOADING] = 0,
                                        [VR_SERVER_END_DEVICE] = VR_EXIT_DEVICE_LOST,
                                        [VR_SERVER_END_UNTIDY] = 0};
    enum vr_server_end end = VR_SERVER_END_CLEAN;
    enum vr_status status = vr_server_run(setup, &end);
    if (end > VR_SERVER_END_CUT) {
        _exit(exit_statuses[end]);
    }
    return status == VR_OK ? exit_statuses[end] : complain_of(status);
}

static int supervise(const struct vr_config *config, char *const *argv)
{
    int exit_status = 0;
    enum vr_status status = vr_supervisor_run(config, argv, &exit_status);
    return status == VR_OK ? exit_status : complain_of(status);
}

static int serve_as(const struct vr_role *role, const struct vr_options *options, const struct vr_config *config,
                    char *const *argv)
{
    struct vr_server_setup setup = {
        .config = config, .bundle = options->bundle, .data_dir = options->data_dir, .role = role, .argv = argv};
    if (role->kind == VR_ROLE_PROBE) {
        const char *bundle = role->bundle != NULL ? role->bundle : options->bundle;
        _exit(vr_probe_device(bundle, config) == VR_OK ? 0 : EXIT_FAILED); /* the device may not let go */
    }
    return role->kind == VR_ROLE_FIRST && vr_device_is_wanted(&config->compute) ? supervise(config, argv)
                                                                                : run_server(&setup);
}

static int serve(const struct vr_options *options, char *const *argv)
{
    struct vr_config *config = NULL;
    struct vr_role role;
    if (vr_options_config(options, environ, &config) != VR_OK) {
        return complain(EXIT_USAGE);
    }
    int exit_status = vr_role_take(&role) == VR_OK ? serve_as(&role, options, config, argv) : complain(EXIT_USAGE);
    vr_config_destroy(config);
    return exit_status;
}

/* A command that prints has done its work once all of it is out: a full disk is a failure. */
static int printed(enum vr_status status)
{
    if (status == VR_OK && (fflush(stdout) != 0 || ferror(stdout))) {
        status = vr_fail(VR_ERR_IO, "printing: %s", strerror(errno));
    }
    return status == VR_OK ? 0 : complain(EXIT_FAILED);
}

static int check(const struct vr_options *options)
{
    struct vr_config *config = NULL;
    if (vr_options_config(options, environ, &config) != VR_OK) {
        return complain(EXIT_USAGE);
    }
    int exit_status = printed(vr_check_bundle(options->bundle, config, stdout));
    vr_config_destroy(config);
    return exit_status;
}

static int bench(const struct vr_options *options)
{
    if (options->wants_help) {
        fputs(vr_bench_usage, stdout);
        return printed(VR_OK);
    }
    const enum vr_status status = vr_bench_run(&options->bench, stdout);
    return status == VR_OK ? printed(status) : complain_of(status);
}

static enum vr_status register_backends(void)
{
#ifdef VIREO_HAVE_CUDA
    vr_backend_name_libraries(vr_cuda_libraries());
    return vr_backend_register("cuda", vr_cuda_backend_open);
#else
    return VR_OK;
#endif
}

int main(int argc, char **argv)
{
    struct vr_options options;
    if (register_backends() != VR_OK) {
        return complain(EXIT_FAILED);
    }
    if (vr_options_read(argc, argv, &options) != VR_OK) {
        fprintf(stderr, "vireo: %s\n%s", vr_error_text(),
                options.command == VR_COMMAND_BENCH ? vr_bench_usage : vr_usage);
        return EXIT_USAGE;
    }
    switch (options.command) {
    case VR_COMMAND_BENCH: return bench(&options);
    case VR_COMMAND_SERVE: return serve(&options, argv);
    case VR_COMMAND_CHECK: return check(&options);
    case VR_COMMAND_SHOW: return printed(vr_show_feed(options.server, options.user, options.count, stdout));
    case VR_COMMAND_VERSION: vr_version_print(stdout); return printed(VR_OK);
    case VR_COMMAND_HELP: fputs(vr_usage, stdout); return printed(VR_OK);
    }
    return EXIT_USAGE;
}
