/* The vectors of a ranking's requests: given by the caller (retrieval made them), or else computed here, each kind for
 * the whole batch. The dot products of a row need them on the host, so what is computed costs a wait of its own: one
 * for history vectors, one for the user tower, which reads history vectors whoever they come from. Seldom: in the
 * self-test, and where retrieval failed or was switched off. */
#include <string.h>

#include "engine_parts.h"

static const float *given(const struct vr_engine_rank *request, enum engine_vector v)
{
    const float *const vector[ENGINE_VECTORS] = {
        [ENGINE_HIST_TOWER] = request->hist_tower,
        [ENGINE_HIST_CONTENT] = request->hist_content,
        [ENGINE_USER_TOWER] = request->user_tower,
    };
    return vector[v];
}

static float *computed(const struct vr_engine_slot *slot, uint32_t r, enum engine_vector v)
{
    return (float *)slot->ranking.vector[v].host + (size_t)r * engine_vector_dim(slot->engine, v);
}

const float *slot_vector(const struct vr_engine_slot *slot, const struct vr_engine_rank *request, uint32_t r,
                         enum engine_vector v)
{
    const float *vector = given(request, v);
    return vector != NULL ? vector : computed(slot, r, v);
}

static bool lacks(uint32_t requests, const struct vr_engine_rank *request, enum engine_vector v)
{
    for (uint32_t r = 0; r < requests; r++) {
        if (given(&request[r], v) == NULL) {
            return true;
        }
    }
    return false;
}

static enum vr_status send_users(struct vr_engine_slot *slot, uint32_t requests, const struct vr_engine_rank *request)
{
    for (uint32_t r = 0; r < requests; r++) {
        slot_fill_user(slot, r, request[r].viewer_raw, request[r].context_raw);
        slot_fill_recent(slot, r, request[r].recent, request[r].recent_count);
    }
    slot_pad_users(slot, requests);
    return slot_copy(slot, slot->in.device, slot->in.staging, slot->retrieval.in_bytes);
}

static enum vr_status compute_history(struct vr_engine_slot *slot, uint64_t deadline_us)
{
    enum vr_status status = slot_step(slot, ENGINE_STEP_POOL);
    if (status == VR_OK) {
        status = slot_copy(slot, slot->vector.staging, slot->vector.device, slot->ranking.hist_bytes);
    }
    return status == VR_OK ? slot_wait(slot, deadline_us) : status;
}

/* What was given takes the place of what was computed, zeros that of padding; both go back for the user tower. */
static void place_history(struct vr_engine_slot *slot, uint32_t requests, const struct vr_engine_rank *request,
                          enum engine_vector v)
{
    const size_t bytes = engine_vector_dim(slot->engine, v) * sizeof(float);
    for (uint32_t r = 0; r < requests; r++) {
        if (given(&request[r], v) != NULL) {
            memcpy(computed(slot, r, v), given(&request[r], v), bytes);
        }
    }
    memset(computed(slot, requests, v), 0, (slot->ranking.room - requests) * bytes);
}

static enum vr_status compute_users(struct vr_engine_slot *slot, uint32_t requests,
                                    const struct vr_engine_rank *request, uint64_t deadline_us)
{
    const struct engine_pair *user = &slot->ranking.vector[ENGINE_USER_TOWER];
    place_history(slot, requests, request, ENGINE_HIST_TOWER);
    place_history(slot, requests, request, ENGINE_HIST_CONTENT);
    enum vr_status status = slot_copy(slot, slot->vector.device, slot->vector.staging, slot->ranking.hist_bytes);
    if (status == VR_OK) {
        status = slot_step(slot, ENGINE_STEP_TOWER);
    }
    if (status == VR_OK) {
        const size_t floats = (size_t)requests * slot->engine->bundle->tower_dim;
        status = slot_copy(slot, user->staging, user->device, floats * sizeof(float));
    }
    return status == VR_OK ? slot_wait(slot, deadline_us) : status;
}

enum vr_status slot_settle(struct vr_engine_slot *slot, uint32_t requests, const struct vr_engine_rank *request,
                           uint64_t deadline_us)
{
    const bool history = lacks(requests, request, ENGINE_HIST_TOWER) || lacks(requests, request, ENGINE_HIST_CONTENT);
    const bool user = lacks(requests, request, ENGINE_USER_TOWER);
    enum vr_status status = VR_OK;
    if (history || user) {
        slot_lay_retrieval(slot, slot->ranking.room, 0, 0);
        status = send_users(slot, requests, request);
    }
    if (status == VR_OK && history) {
        status = compute_history(slot, deadline_us);
    }
    return status == VR_OK && user ? compute_users(slot, requests, request, deadline_us) : status;
}
