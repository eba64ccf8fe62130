/* A model from its folder: bundle, engine, self-test, seed state, catalogue; counted, so that a swap frees the old one
 * when its last answer has gone. */
#include <stdlib.h>

#include "removal.h"
#include "vireo/log.h"

static void destroy(struct vr_model *model)
{
    if (model->device != NULL) {
        vr_model_removal_leave(model->removal, model->device);
    }
    vr_engine_destroy(model->device);
    if (model->base != NULL) {
        vr_model_release(model->base);
        free(model);
        return;
    }
    vr_model_removal_destroy(model->removal);
    vr_catalogue_destroy(model->catalogue);
    vr_engine_destroy(model->engine);
    vr_bundle_close(model->bundle);
    free(model);
}

/* A failure leaves the parts so far in `model`. */
static enum vr_status fill(struct vr_model *model, const char *folder, struct vr_backend *backend,
                           const struct vr_config *config)
{
    const struct vr_engine_options options = vr_engine_options_of(config, backend);
    struct vr_golden_report worst;
    uint32_t withheld = 0;
    enum vr_status status = vr_bundle_open(folder, &model->bundle);
    if (status == VR_OK) {
        status = vr_engine_create_tested(backend, model->bundle, &options, &worst, &model->engine);
    }
    if (status == VR_OK) {
        status = vr_engine_withhold(model->engine, &config->rerank, &withheld);
    }
    if (status == VR_OK) {
        status = vr_model_removal_create(model->bundle->videos.count, &model->removal);
    }
    if (status == VR_OK) {
        status = vr_model_removal_join(model->removal, model->engine);
    }
    if (status == VR_OK) {
        model->row_us = (double)worst.took_us / (worst.cases > 0 ? worst.cases : 1);
        vr_log(VR_LOG_INFO, "model_opened",
               "version=%s precision=%s videos=%u never_shown=%u golden_cases=%u worst_probability=%.2e",
               model->bundle->model_version, vr_precision_name(worst.precision), model->bundle->videos.count, withheld,
               worst.cases, worst.probability);
    }
    return status;
}

enum vr_status vr_model_open(const char *folder, struct vr_backend *backend, const struct vr_config *config,
                             struct vr_model **out)
{
    struct vr_model *model = calloc(1, sizeof *model);
    if (model == NULL) {
        return vr_fail(VR_ERR_NOMEM, "model: no memory");
    }
    model->references = 1;
    enum vr_status status = fill(model, folder, backend, config);
    if (status != VR_OK) {
        destroy(model);
        return status;
    }
    *out = model;
    return VR_OK;
}

enum vr_status vr_model_join(struct vr_model *model, struct vr_state *state, int64_t now_ms)
{
    uint32_t imported = 0;
    enum vr_status status = vr_state_import(state, model->bundle, now_ms, &imported);
    if (status == VR_OK) {
        status = vr_catalogue_create(state, model->bundle, now_ms, &model->catalogue);
    }
    if (status == VR_OK) {
        vr_log(VR_LOG_INFO, "model_loaded", "version=%s videos=%u viewers_imported=%u", model->bundle->model_version,
               model->bundle->videos.count, imported);
    }
    return status;
}

enum vr_status vr_model_load(const char *folder, struct vr_backend *backend, const struct vr_config *config,
                             struct vr_state *state, int64_t now_ms, struct vr_model **out)
{
    struct vr_model *model = NULL;
    enum vr_status status = vr_model_open(folder, backend, config, &model);
    if (status != VR_OK || model == NULL) {
        return status;
    }
    status = vr_model_join(model, state, now_ms);
    if (status != VR_OK) {
        vr_model_release(model);
        return status;
    }
    *out = model;
    return VR_OK;
}

enum vr_status vr_model_on_device(struct vr_model *base, struct vr_backend *device, const struct vr_config *config,
                                  struct vr_model **out)
{
    struct vr_golden_report worst;
    uint32_t withheld = 0;
    struct vr_model *model = calloc(1, sizeof *model);
    if (model == NULL) {
        return vr_fail(VR_ERR_NOMEM, "model: no memory");
    }
    const struct vr_engine_options options = vr_engine_options_of(config, device);
    *model = (struct vr_model){.bundle = base->bundle,
                               .engine = base->engine,
                               .catalogue = base->catalogue,
                               .removal = base->removal,
                               .row_us = base->row_us,
                               .base = vr_model_retain(base),
                               .references = 1};
    enum vr_status status = vr_engine_create_tested(device, model->bundle, &options, &worst, &model->device);
    if (status == VR_OK) {
        status = vr_engine_withhold(model->device, &config->rerank, &withheld);
    }
    if (status == VR_OK) {
        status = vr_model_removal_join(model->removal, model->device);
    }
    if (status != VR_OK) {
        destroy(model);
        return status;
    }
    vr_log(VR_LOG_INFO, "model_on_device", "version=%s device=%s precision=%s mib=%.1f worst_probability=%.2e",
           model->bundle->model_version, device->ops->name, vr_precision_name(worst.precision),
           (double)vr_engine_bytes(model->device) / 1048576.0, worst.probability);
    *out = model;
    return VR_OK;
}

struct vr_model *vr_model_retain(struct vr_model *model)
{
    __atomic_fetch_add(&model->references, 1, __ATOMIC_RELAXED);
    return model;
}

void vr_model_release(struct vr_model *model)
{
    if (model != NULL && __atomic_sub_fetch(&model->references, 1, __ATOMIC_ACQ_REL) == 0) {
        destroy(model);
    }
}

void vr_job_release(struct vr_job *job)
{
    vr_model_release(job->model);
    job->model = NULL;
}
