/* A probe (role.h): whether the device would do, tried in a process that nothing is lost with. */
#include "commands.h"
#include "vireo/backend.h"
#include "vireo/bundle.h"
#include "vireo/engine.h"
#include "vireo/log.h"

enum vr_status vr_probe_device(const char *folder, const struct vr_config *config)
{
    struct vr_backend *device = NULL;
    struct vr_bundle *bundle = NULL;
    struct vr_engine *engine = NULL;
    enum vr_status status = vr_backend_open("cuda", 1, &device);
    if (status == VR_OK) {
        status = vr_bundle_open(folder, &bundle);
    }
    if (status == VR_OK) {
        const struct vr_engine_options options = vr_engine_options_of(config, device);
        status = vr_engine_create_tested(device, bundle, &options, NULL, &engine);
    }
    vr_log(status == VR_OK ? VR_LOG_INFO : VR_LOG_WARN, "device_probed", "status=%s error=\"%s\"",
           vr_status_name(status), status == VR_OK ? "" : vr_error_text());
    return status;
}
