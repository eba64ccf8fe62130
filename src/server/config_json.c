/* The writer of config_json.h: the keys are those of the YAML file. */
#include "config_json.h"

static void put_uint(struct vr_json_writer *out, const char *key, uint64_t value)
{
    vr_json_key(out, key);
    vr_json_put_uint(out, value);
}

static void put_bool(struct vr_json_writer *out, const char *key, bool value)
{
    vr_json_key(out, key);
    vr_json_put_bool(out, value);
}

static void put_float(struct vr_json_writer *out, const char *key, float value)
{
    vr_json_key(out, key);
    vr_json_put_float(out, value);
}

static void put_text(struct vr_json_writer *out, const char *key, const char *value)
{
    vr_json_key(out, key);
    vr_json_put_text(out, value);
}

static void open_object(struct vr_json_writer *out, const char *key)
{
    vr_json_key(out, key);
    vr_json_open_object(out);
}

static void open_array(struct vr_json_writer *out, const char *key)
{
    vr_json_key(out, key);
    vr_json_open_array(out);
}

static void put_server(struct vr_json_writer *out, const struct vr_server_config *server)
{
    open_object(out, "server");
    put_text(out, "listen", server->listen);
    put_text(out, "admin", server->admin);
    put_bool(out, "admin_allow_remote", server->admin_allow_remote);
    put_uint(out, "loops", server->loops);
    put_uint(out, "max_connections", server->max_connections);
    put_uint(out, "max_connections_per_address", server->max_connections_per_address);
    put_uint(out, "max_body_bytes", server->max_body_bytes);
    put_uint(out, "request_deadline_ms", server->request_deadline_ms);
    put_uint(out, "idle_timeout_ms", server->idle_timeout_ms);
    put_uint(out, "write_timeout_ms", server->write_timeout_ms);
    put_uint(out, "drain_timeout_ms", server->drain_timeout_ms);
    put_uint(out, "slow_request_ms", server->slow_request_ms);
    put_bool(out, "replay", server->replay);
    vr_json_close_object(out);
}

static void put_model(struct vr_json_writer *out, const struct vr_model_config *model)
{
    open_object(out, "model");
    put_text(out, "watch", model->watch);
    put_uint(out, "watch_ms", model->watch_ms);
    vr_json_close_object(out);
}

static void put_compute(struct vr_json_writer *out, const struct vr_compute_config *compute)
{
    open_object(out, "compute");
    put_text(out, "backend", vr_compute_backend_name(compute->backend));
    put_text(out, "precision", vr_precision_name(compute->precision));
    put_uint(out, "video_table_mb", compute->video_table_mb);
    put_uint(out, "device_timeout_ms", compute->device_timeout_ms);
    vr_json_close_object(out);
}

static void put_lanes(struct vr_json_writer *out, const struct vr_lane_config *lanes)
{
    open_object(out, "lanes");
    put_uint(out, "count", lanes->count);
    put_uint(out, "max_batch", lanes->max_batch);
    put_uint(out, "target_batch_ms", lanes->target_batch_ms);
    put_uint(out, "target_wait_ms", lanes->target_wait_ms);
    put_uint(out, "max_delay_us", lanes->max_delay_us);
    put_uint(out, "queue_capacity", lanes->queue_capacity);
    put_uint(out, "pool_workers", lanes->pool_workers);
    put_uint(out, "default_timeout_ms", lanes->default_timeout_ms);
    vr_json_close_object(out);
}

static void put_retrieval(struct vr_json_writer *out, const struct vr_index_config *retrieval)
{
    open_object(out, "retrieval");
    put_text(out, "index", vr_index_kind_name(retrieval->kind));
    put_uint(out, "hnsw_m", retrieval->hnsw_m);
    put_uint(out, "hnsw_ef_search", retrieval->hnsw_ef_search);
    put_uint(out, "ivf_lists", retrieval->ivf_lists);
    put_uint(out, "ivf_probes", retrieval->ivf_probes);
    vr_json_close_object(out);
}

static void put_sources(struct vr_json_writer *out, const struct vr_source_config source[VR_SOURCE_COUNT])
{
    open_object(out, "sources");
    for (uint32_t i = 0; i < VR_SOURCE_COUNT; i++) {
        open_object(out, vr_source_name((enum vr_source)i));
        put_bool(out, "enabled", source[i].enabled);
        put_uint(out, "count", source[i].count);
        put_uint(out, "budget_us", source[i].budget_us);
        vr_json_close_object(out);
    }
    vr_json_close_object(out);
}

static void put_satisfaction(struct vr_json_writer *out, const struct vr_satisfaction_config *satisfaction)
{
    open_array(out, "satisfaction");
    for (uint32_t i = 0; i < satisfaction->count; i++) {
        vr_json_open_object(out);
        put_text(out, "name", satisfaction->term[i].name);
        put_text(out, "expression", satisfaction->term[i].expression);
        vr_json_close_object(out);
    }
    vr_json_close_array(out);
}

static void put_caps(struct vr_json_writer *out, const struct vr_rerank_config *rerank)
{
    open_array(out, "caps");
    for (uint32_t i = 0; i < rerank->cap_count; i++) {
        vr_json_open_object(out);
        put_text(out, "by", rerank->cap[i].by == VR_CAP_CREATOR ? "creator" : "topic");
        put_uint(out, "window", rerank->cap[i].window);
        put_uint(out, "max", rerank->cap[i].max);
        vr_json_close_object(out);
    }
    vr_json_close_array(out);
    open_array(out, "freshness");
    for (uint32_t i = 0; i < rerank->freshness_count; i++) {
        vr_json_open_object(out);
        put_uint(out, "by_position", rerank->freshness[i].by_position);
        put_uint(out, "count", rerank->freshness[i].count);
        vr_json_close_object(out);
    }
    vr_json_close_array(out);
}

static void put_rerank(struct vr_json_writer *out, const struct vr_rerank_config *rerank)
{
    open_object(out, "rerank");
    put_text(out, "gain", vr_gain_name(rerank->gain));
    put_float(out, "mmr_lambda", rerank->mmr_lambda);
    put_float(out, "dpp_theta", rerank->dpp_theta);
    put_uint(out, "min_items", rerank->min_items);
    put_caps(out, rerank);
    put_float(out, "fresh_max_age_h", rerank->fresh_max_age_h);
    put_bool(out, "drop_seen", rerank->drop_seen);
    put_bool(out, "drop_served", rerank->drop_served);
    put_bool(out, "record_served", rerank->record_served);
    put_float(out, "safety_threshold", rerank->safety_threshold);
    put_uint(out, "adult_age", rerank->adult_age);
    open_array(out, "blocked");
    for (uint32_t i = 0; i < rerank->blocked_count; i++) {
        vr_json_put_text(out, rerank->blocked[i]);
    }
    vr_json_close_array(out);
    open_array(out, "give_way");
    for (uint32_t i = 0; i < rerank->give_way_count; i++) {
        vr_json_put_text(out, vr_rule_name(rerank->give_way[i]));
    }
    vr_json_close_array(out);
    vr_json_close_object(out);
}

static void put_state(struct vr_json_writer *out, const struct vr_state_config *state)
{
    open_object(out, "state");
    put_uint(out, "max_viewers", state->max_viewers);
    put_uint(out, "recent_watches", state->recent_watches);
    put_float(out, "trending_half_life_h", state->trending_half_life_h);
    put_uint(out, "trending_refresh_ms", state->trending_refresh_ms);
    put_float(out, "social_half_life_h", state->social_half_life_h);
    put_float(out, "subscription_max_age_h", state->subscription_max_age_h);
    vr_json_close_object(out);
}

void vr_config_write(struct vr_json_writer *out, const struct vr_config *config)
{
    vr_json_open_object(out);
    put_server(out, &config->server);
    put_model(out, &config->model);
    put_compute(out, &config->compute);
    put_lanes(out, &config->lanes);
    put_retrieval(out, &config->retrieval);
    put_sources(out, config->source);
    put_satisfaction(out, &config->satisfaction);
    put_rerank(out, &config->rerank);
    put_state(out, &config->state);
    vr_json_close_object(out);
}
