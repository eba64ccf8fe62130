/* Captured steps (vireo/backend.h, plans). A plan's numbers are fixed, so a call is padded: to the next of 1, 2, 4 ...
 * requests, and the rows that fill no chunk to the next eighth of one. Padding is a request without history whose
 * features are zeros, and rows of zeros that belong to request 0: work whose results nobody reads, on defined bytes. No
 * operation lets a row see its neighbours, so padding changes no bits, and no kernel needs the true count. Exclusions
 * alone are read by their own offsets, so their copy is as long as the call's lists.
 *
 * A backend without plans runs the same steps with the true counts. So does the retrieve step on any backend where an
 * outside library searches, whose calls cannot be captured. */
#include <stdlib.h>

#include "engine_parts.h"
#include "vireo/clock.h"

#define WARM_UP_LIMIT_US 60000000u

/* ---- rooms ---- */

static uint32_t room_of(const struct vr_engine_slot *slot, uint32_t number)
{
    const uint64_t room = UINT64_C(1) << number;
    return room < slot->max_requests ? (uint32_t)room : slot->max_requests;
}

/* The number of the smallest room that holds so many. */
static uint32_t room_number(uint32_t requests)
{
    uint32_t number = 0;
    while (UINT64_C(1) << number < requests) {
        number++;
    }
    return number;
}

uint32_t slot_room(const struct vr_engine_slot *slot, uint32_t requests)
{
    return slot_has_plans(slot) ? room_of(slot, room_number(requests)) : requests;
}

static uint32_t granules(const struct vr_engine_slot *slot, uint32_t rows)
{
    return (rows + slot->granule - 1) / slot->granule;
}

uint32_t slot_tail_room(const struct vr_engine_slot *slot, uint32_t rows)
{
    const uint32_t room = granules(slot, rows) * slot->granule;
    return room < slot->chunk ? room : slot->chunk;
}

/* ---- steps ---- */

static enum vr_status pool(struct vr_engine_slot *slot)
{
    return slot_pool(slot, slot->ranking.vector);
}

static enum vr_status tower(struct vr_engine_slot *slot)
{
    return slot_tower(slot, slot->ranking.vector);
}

static enum vr_status (*const run_step[ENGINE_STEPS])(struct vr_engine_slot *) = {
    [ENGINE_STEP_RETRIEVE] = slot_retrieve,
    [ENGINE_STEP_POOL] = pool,
    [ENGINE_STEP_TOWER] = tower,
    [ENGINE_STEP_HOIST] = slot_hoist,
};

static enum vr_status launch(struct vr_engine_slot *slot, struct vr_plan *plan)
{
    return slot_ops(slot)->plan_launch(slot->stream, plan);
}

static bool has_plan(const struct vr_engine_slot *slot, enum engine_step step)
{
    return step == ENGINE_STEP_RETRIEVE ? slot_plans_retrieval(slot) : slot_has_plans(slot);
}

enum vr_status slot_step(struct vr_engine_slot *slot, enum engine_step step)
{
    slot->busy = true;
    const uint32_t room = step == ENGINE_STEP_HOIST ? slot->ranking.room : slot->retrieval.room;
    return has_plan(slot, step) ? launch(slot, slot->plan[step][room_number(room)]) : run_step[step](slot);
}

enum vr_status slot_chunk(struct vr_engine_slot *slot, uint32_t first, uint32_t room)
{
    slot->busy = true;
    if (!slot_has_plans(slot)) {
        return slot_network(slot, first, room);
    }
    const bool whole = first >= slot->chunk;
    return launch(slot, whole ? slot->whole[first / slot->chunk - 1] : slot->tail[granules(slot, room) - 1]);
}

/* ---- recording ---- */

static enum vr_status begin(struct vr_engine_slot *slot)
{
    return slot_ops(slot)->plan_begin(slot->stream);
}

/* End what begin began, whatever happened since: `status` of what was recorded. */
static enum vr_status end(struct vr_engine_slot *slot, enum vr_status status, struct vr_plan **out)
{
    struct vr_plan *plan = NULL;
    const enum vr_status ended = slot_ops(slot)->plan_end(slot->stream, &plan);
    if (status != VR_OK && ended == VR_OK) {
        slot_ops(slot)->plan_destroy(plan);
        return status;
    }
    *out = plan;
    return ended;
}

static enum vr_status record_steps(struct vr_engine_slot *slot, uint32_t number)
{
    slot_lay_retrieval(slot, room_of(slot, number), slot->max_k, slot->max_k);
    slot_lay_ranking(slot, room_of(slot, number));
    enum vr_status status = VR_OK;
    for (uint32_t s = 0; status == VR_OK && s < ENGINE_STEPS; s++) {
        if (!has_plan(slot, (enum engine_step)s)) {
            continue;
        }
        status = begin(slot);
        if (status == VR_OK) {
            status = end(slot, run_step[s](slot), &slot->plan[s][number]);
        }
    }
    return status;
}

static enum vr_status record_chunk(struct vr_engine_slot *slot, uint32_t first, uint32_t room, struct vr_plan **out)
{
    const enum vr_status status = begin(slot);
    return status == VR_OK ? end(slot, slot_network(slot, first, room), out) : status;
}

static enum vr_status record_all(struct vr_engine_slot *slot)
{
    const uint32_t rooms = room_number(slot->max_requests) + 1, tails = granules(slot, slot->chunk);
    enum vr_status status = VR_OK;
    for (uint32_t number = 0; status == VR_OK && number < rooms; number++) {
        status = record_steps(slot, number);
    }
    for (uint32_t t = 0; status == VR_OK && t < tails; t++) {
        const uint32_t room = slot_tail_room(slot, (t + 1) * slot->granule);
        status = record_chunk(slot, slot->chunk - room, room, &slot->tail[t]);
    }
    for (uint32_t c = 0; status == VR_OK && c < slot->chunks; c++) {
        status = record_chunk(slot, (c + 1) * slot->chunk, slot->chunk, &slot->whole[c]);
    }
    return status;
}

/* One search of an index, and its end: the first may take memory of the stream in place of less. */
static enum vr_status warm_index(struct vr_engine_slot *slot, bool content)
{
    const struct engine_retrieval *at = &slot->retrieval;
    const enum vr_status status =
        content ? slot_search(slot, slot->engine->content_index, at->vector[ENGINE_HIST_CONTENT].device, 1,
                              at->content_k, &at->content_row, &at->content_score, false)
                : slot_search(slot, slot->engine->tower_index, at->vector[ENGINE_USER_TOWER].device, 1, at->tower_k,
                              &at->tower_row, &at->tower_score, false);
    return status == VR_OK ? slot_wait(slot, vr_clock_mono_us() + WARM_UP_LIMIT_US) : status;
}

/* Each operation once, in its smallest size, on memory of zeros. */
static enum vr_status warm_up(struct vr_engine_slot *slot)
{
    const uint32_t room = slot_tail_room(slot, 1);
    slot_lay_retrieval(slot, 1, slot->max_k, slot->max_k);
    slot_lay_ranking(slot, 1);
    slot->busy = true;
    enum vr_status status = warm_index(slot, false);
    if (status == VR_OK) {
        status = warm_index(slot, true);
    }
    for (uint32_t s = 0; status == VR_OK && s < ENGINE_STEPS; s++) {
        status = run_step[s](slot);
    }
    if (status == VR_OK) {
        status = slot_network(slot, slot->chunk - room, room);
    }
    return status == VR_OK ? slot_wait(slot, vr_clock_mono_us() + WARM_UP_LIMIT_US) : status;
}

enum vr_status slot_record_plans(struct vr_engine_slot *slot)
{
    if (!slot_has_plans(slot)) {
        return VR_OK;
    }
    slot->whole = calloc(slot->chunks > 0 ? slot->chunks : 1, sizeof(void *));
    if (slot->whole == NULL) {
        return vr_fail(VR_ERR_NOMEM, "no memory for a lane's plans");
    }
    slot->ranking.want_gates = true;
    const enum vr_status status = warm_up(slot);
    return status == VR_OK ? record_all(slot) : status;
}

void slot_drop_plans(struct vr_engine_slot *slot)
{
    if (!slot_has_plans(slot)) {
        return;
    }
    void (*drop)(struct vr_plan *) = slot_ops(slot)->plan_destroy;
    for (uint32_t i = 0; i < ENGINE_STEPS * ENGINE_ROOMS; i++) {
        drop(slot->plan[i / ENGINE_ROOMS][i % ENGINE_ROOMS]);
    }
    for (uint32_t t = 0; t < ENGINE_TAILS; t++) {
        drop(slot->tail[t]);
    }
    for (uint32_t c = 0; slot->whole != NULL && c < slot->chunks; c++) {
        drop(slot->whole[c]);
    }
    free(slot->whole);
}
