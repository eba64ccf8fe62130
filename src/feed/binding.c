/* What a lane holds for one model (lane.h): its engine slot, the terms and merge tables of its workers, and the rows of
 * the block list. */
#include <stdlib.h>
#include <string.h>

#include "lane.h"
#include "rerank.h"
#include "rows.h"

#define SIMILAR_RESULTS 200u /* looked at for GET /v1/similar, before the filters */

uint32_t vr_binding_max_candidates(const struct vr_feed_config *config)
{
    uint32_t sum = vr_rule_may_give_way(&config->rerank, VR_RULE_SEEN) ? VR_COUNT_MAX : 0;
    for (uint32_t s = 0; s < VR_SOURCE_COUNT; s++) {
        sum += config->source[s].enabled ? config->source[s].count : 0;
    }
    return sum > 0 ? sum : 1;
}

uint32_t vr_binding_max_k(const struct vr_feed_config *config)
{
    uint32_t tower = config->source[VR_SOURCE_TWO_TOWER].count;
    uint32_t content = config->source[VR_SOURCE_CONTENT].count;
    uint32_t most = tower > content ? tower : content;
    return most > SIMILAR_RESULTS ? most : SIMILAR_RESULTS;
}

struct vr_feed_config vr_feed_config_of(const struct vr_config *config)
{
    struct vr_feed_config feed = {.lanes = config->lanes,
                                  .satisfaction = config->satisfaction,
                                  .rerank = config->rerank,
                                  .state = config->state,
                                  .device_timeout_ms = config->compute.device_timeout_ms};
    memcpy(feed.source, config->source, sizeof feed.source);
    return feed;
}

struct vr_engine_shape vr_feed_engine_shape(const struct vr_feed_config *config)
{
    const uint32_t requests = config->lanes.max_batch, own = (VR_RANK_MAX + requests - 1) / requests;
    const uint32_t found = vr_binding_max_candidates(config);
    return (struct vr_engine_shape){config->lanes.count, requests, found > own ? found : own, vr_binding_max_k(config)};
}

enum vr_status vr_binding_terms(const struct vr_satisfaction_config *config, const struct vr_bundle *bundle,
                                struct vr_terms **out)
{
    struct vr_term_spec spec[VR_TERMS_MAX];
    if (config->count == 0) {
        return vr_terms_create(bundle->term, bundle->term_count, out);
    }
    if (config->count > VR_TERMS_MAX) {
        return vr_fail(VR_ERR_FORMAT, "satisfaction: %u terms, at most %u", config->count, VR_TERMS_MAX);
    }
    for (uint32_t i = 0; i < config->count; i++) {
        spec[i].name = vr_str_of(config->term[i].name);
        spec[i].expression = vr_str_of(config->term[i].expression);
    }
    return vr_terms_create(spec, config->count, out);
}

static enum vr_status make_kits(struct vr_binding *binding, const struct vr_feed_config *config)
{
    binding->kit = calloc(binding->kit_count, sizeof *binding->kit);
    if (binding->kit == NULL) {
        return vr_fail(VR_ERR_NOMEM, "lane: no memory");
    }
    for (uint32_t i = 0; i < binding->kit_count; i++) {
        struct vr_kit *kit = &binding->kit[i];
        enum vr_status status = vr_binding_terms(&config->satisfaction, binding->model->bundle, &kit->terms);
        if (status == VR_OK) {
            status = vr_merge_scratch_create(vr_binding_max_candidates(config), &kit->merge);
        }
        if (status != VR_OK) {
            return status;
        }
    }
    binding->linear = vr_terms_are_linear(binding->kit[0].terms) != 0;
    return VR_OK;
}

static enum vr_status find_blocked(struct vr_binding *binding, const struct vr_rerank_config *config)
{
    enum vr_status status = vr_arena_create(4096, &binding->arena);
    if (status != VR_OK) {
        return status;
    }
    struct vr_str *id = vr_arena_calloc(binding->arena, config->blocked_count, sizeof *id);
    if (id == NULL) {
        return VR_ERR_NOMEM;
    }
    for (uint32_t i = 0; i < config->blocked_count; i++) {
        id[i] = vr_str_of(config->blocked[i]);
    }
    return vr_rows_of_ids(binding->model->bundle, id, config->blocked_count, binding->arena, &binding->blocked);
}

static enum vr_status make_slot(struct vr_engine *engine, const struct vr_engine_shape *shape,
                                struct vr_engine_slot **out)
{
    return vr_engine_slot_create(engine, shape->max_requests, shape->max_candidates, shape->max_k, out);
}

enum vr_status vr_binding_create(const struct vr_feed_config *config, struct vr_model *model, struct vr_binding **out)
{
    struct vr_binding *binding = calloc(1, sizeof *binding);
    if (binding == NULL) {
        return vr_fail(VR_ERR_NOMEM, "lane: no memory");
    }
    binding->model = vr_model_retain(model);
    binding->kit_count = config->lanes.pool_workers + 1;
    enum vr_status status = make_kits(binding, config);
    if (status == VR_OK) {
        status = find_blocked(binding, &config->rerank);
    }
    const struct vr_engine_shape shape = vr_feed_engine_shape(config);
    if (status == VR_OK) {
        status = make_slot(model->engine, &shape, &binding->slot);
    }
    if (status == VR_OK && model->device != NULL) {
        status = make_slot(model->device, &shape, &binding->device);
    }
    if (status != VR_OK) {
        vr_binding_destroy(binding);
        return status;
    }
    *out = binding;
    return VR_OK;
}

void vr_binding_destroy(struct vr_binding *binding)
{
    if (binding == NULL) {
        return;
    }
    vr_engine_slot_destroy(binding->device);
    vr_engine_slot_destroy(binding->slot);
    for (uint32_t i = 0; binding->kit != NULL && i < binding->kit_count; i++) {
        vr_terms_destroy(binding->kit[i].terms);
        vr_merge_scratch_destroy(binding->kit[i].merge);
    }
    free(binding->kit);
    vr_arena_destroy(binding->arena);
    vr_model_release(binding->model);
    free(binding);
}

struct vr_kit *vr_kit_take(const struct vr_binding *binding)
{
    for (uint32_t i = 0;; i = (i + 1) % binding->kit_count) {
        if (!__atomic_exchange_n(&binding->kit[i].busy, true, __ATOMIC_ACQUIRE)) {
            return &binding->kit[i];
        }
    }
}

void vr_kit_give_back(struct vr_kit *kit)
{
    __atomic_store_n(&kit->busy, false, __ATOMIC_RELEASE);
}
