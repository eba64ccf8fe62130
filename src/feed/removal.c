/* See removal.h. A removal marks the row first, which the guardrails ask, and then tells each engine under a mutex that
 * nobody holds who serves: so an engine that joins meanwhile misses nothing. */
#include "removal.h"

#include <pthread.h>
#include <stdlib.h>

#include "vireo/clock.h"
#include "vireo/log.h"

#define ENGINES_MAX 4u /* the stand-by, a device's, and one that is made beside it */
#define WAIT_US 1000000u
#define LOAD_WAIT_US 60000000u

struct vr_model_removal {
    struct vr_rowset rows;
    pthread_mutex_t mutex; /* of the engines */
    struct vr_engine *engine[ENGINES_MAX];
    uint32_t engines;
};

enum vr_status vr_model_removal_create(uint32_t rows, struct vr_model_removal **out)
{
    struct vr_model_removal *removal = calloc(1, sizeof *removal);
    if (removal == NULL || vr_rowset_open(rows, &removal->rows) != VR_OK) {
        free(removal);
        return vr_fail(VR_ERR_NOMEM, "model: no memory");
    }
    pthread_mutex_init(&removal->mutex, NULL); /* cannot fail with default attributes on Linux */
    *out = removal;
    return VR_OK;
}

void vr_model_removal_destroy(struct vr_model_removal *removal)
{
    if (removal != NULL) {
        vr_rowset_close(&removal->rows);
        pthread_mutex_destroy(&removal->mutex);
        free(removal);
    }
}

/* ---- at load ---- */

/* What the filters of filter.c say of it whoever asks. */
static bool is_never_shown(const struct vr_bundle_videos *videos, uint32_t row, const struct vr_rerank_config *config)
{
    const bool classified = videos->unsafe_score[row] <= config->safety_threshold; /* false for NaN */
    return videos->safety[row] != VR_SAFETY_SAFE || !classified;
}

/* Rows of the block list, then those that are not safe; row [videos + blocked]. */
static uint32_t find_never_shown(const struct vr_bundle *bundle, const struct vr_rerank_config *config, int32_t *row)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < config->blocked_count; i++) {
        const uint32_t found = vr_dict_find(bundle->video_rows, vr_str_of(config->blocked[i]));
        if (found != VR_DICT_NONE && !is_never_shown(&bundle->videos, found, config)) {
            row[count++] = (int32_t)found;
        }
    }
    for (uint32_t r = 0; r < bundle->videos.count; r++) {
        if (is_never_shown(&bundle->videos, r, config)) {
            row[count++] = (int32_t)r;
        }
    }
    return count;
}

enum vr_status vr_engine_withhold(struct vr_engine *engine, const struct vr_rerank_config *config, uint32_t *count)
{
    const struct vr_bundle *bundle = vr_engine_bundle(engine);
    int32_t *row = malloc(((size_t)bundle->videos.count + config->blocked_count + 1) * sizeof *row);
    if (row == NULL) {
        return vr_fail(VR_ERR_NOMEM, "model: no memory");
    }
    *count = find_never_shown(bundle, config, row);
    const enum vr_status status = vr_engine_remove(engine, row, *count, vr_clock_mono_us() + LOAD_WAIT_US);
    free(row);
    return status;
}

/* ---- while it serves ---- */

/* All that was removed so far, to an engine that knows nothing of it. The mutex is held. */
static enum vr_status catch_up(const struct vr_rowset *rows, struct vr_engine *engine)
{
    const uint32_t most = vr_rowset_is_used(rows) ? rows->rows : 0;
    int32_t *row = malloc(((size_t)most + 1) * sizeof *row);
    uint32_t count = 0;
    if (row == NULL) {
        return vr_fail(VR_ERR_NOMEM, "model: no memory");
    }
    for (uint32_t r = 0; r < most; r++) {
        if (vr_rowset_has(rows, (int32_t)r)) {
            row[count++] = (int32_t)r;
        }
    }
    const enum vr_status status = vr_engine_remove(engine, row, count, vr_clock_mono_us() + LOAD_WAIT_US);
    free(row);
    return status;
}

enum vr_status vr_model_removal_join(struct vr_model_removal *removal, struct vr_engine *engine)
{
    pthread_mutex_lock(&removal->mutex);
    enum vr_status status = removal->engines < ENGINES_MAX
                                ? catch_up(&removal->rows, engine)
                                : vr_fail(VR_ERR_BUSY, "model: it has %u engines already", ENGINES_MAX);
    if (status == VR_OK) {
        removal->engine[removal->engines++] = engine;
    }
    pthread_mutex_unlock(&removal->mutex);
    return status;
}

void vr_model_removal_leave(struct vr_model_removal *removal, const struct vr_engine *engine)
{
    pthread_mutex_lock(&removal->mutex);
    for (uint32_t i = 0; i < removal->engines; i++) {
        if (removal->engine[i] == engine) {
            removal->engine[i] = removal->engine[--removal->engines];
            break;
        }
    }
    pthread_mutex_unlock(&removal->mutex);
}

enum vr_status vr_model_remove_video(struct vr_model *model, struct vr_str video_id)
{
    struct vr_model_removal *removal = model->removal;
    const uint32_t found = vr_dict_find(model->bundle->video_rows, video_id);
    const int32_t row = (int32_t)found;
    if (found == VR_DICT_NONE) {
        return vr_fail(VR_ERR_NOT_FOUND, "no video '%.*s'", (int)video_id.len, video_id.data);
    }
    vr_rowset_add(&removal->rows, row);
    pthread_mutex_lock(&removal->mutex);
    for (uint32_t i = 0; i < removal->engines; i++) {
        if (vr_engine_remove(removal->engine[i], &row, 1, vr_clock_mono_us() + WAIT_US) != VR_OK) {
            vr_log(VR_LOG_WARN, "index_keeps_video", "row=%d error=%s", row, vr_error_text());
        }
    }
    pthread_mutex_unlock(&removal->mutex);
    return VR_OK;
}

bool vr_model_has_removed(const struct vr_model *model, int32_t row)
{
    return vr_rowset_is_used(&model->removal->rows) && vr_rowset_has(&model->removal->rows, row);
}
