/* vireo: the program. Commands and flags are in options.c; exit status 0 is success, 1 a failure, 2 a wrong command
 * line or configuration. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "commands.h"
#include "options.h"
#include "server.h"
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

static int serve(const struct vr_options *options)
{
    struct vr_config *config = NULL;
    if (vr_options_config(options, environ, &config) != VR_OK) {
        return complain(EXIT_USAGE);
    }
    struct vr_server_setup setup = {.config = config, .bundle = options->bundle, .data_dir = options->data_dir};
    enum vr_server_end end = VR_SERVER_END_CLEAN;
    enum vr_status status = vr_server_run(&setup, &end);
    if (end == VR_SERVER_END_FORCED || end == VR_SERVER_END_LOADING) {
        _exit(end == VR_SERVER_END_LOADING ? 0 : EXIT_FAILED);
    }
    int exit_status = end == VR_SERVER_END_CLEAN ? 0 : EXIT_FAILED;
    if (status != VR_OK) {
        exit_status = complain(status == VR_ERR_INVALID ? EXIT_USAGE : EXIT_FAILED);
    }
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

static enum vr_status register_backends(void)
{
#ifdef VIREO_HAVE_CUDA
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
        fprintf(stderr, "vireo: %s\n%s", vr_error_text(), vr_usage);
        return EXIT_USAGE;
    }
    switch (options.command) {
    case VR_COMMAND_SERVE: return serve(&options);
    case VR_COMMAND_CHECK: return printed(vr_check_bundle(options.bundle, stdout));
    case VR_COMMAND_BENCH: return printed(vr_bench_run(&options.bench, stdout));
    case VR_COMMAND_SHOW: return printed(vr_show_feed(options.server, options.user, options.count, stdout));
    case VR_COMMAND_VERSION: vr_version_print(stdout); return printed(VR_OK);
    case VR_COMMAND_HELP: fputs(vr_usage, stdout); return printed(VR_OK);
    }
    return EXIT_USAGE;
}
