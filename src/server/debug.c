/* GET /debug: what the loops and lanes have in hand, for a person who wonders (loop.h). */
#include "loop.h"
#include "vireo/clock.h"

static void put_uint(struct vr_json_writer *out, const char *key, uint64_t value)
{
    vr_json_key(out, key);
    vr_json_put_uint(out, value);
}

static void put_text(struct vr_json_writer *out, const char *key, const char *value)
{
    vr_json_key(out, key);
    vr_json_put_text(out, value);
}

static void put_loop(struct vr_json_writer *out, const struct vr_loop *loop)
{
    static const char *const phase[VR_PHASE_COUNT] = {"reading", "waiting", "writing", "lingering"};
    const struct vr_loop_counts *counts = &loop->counts;
    vr_json_open_object(out);
    put_uint(out, "index", loop->index);
    put_uint(out, "public_connections", vr_counted(&counts->connections[VR_PORT_PUBLIC]));
    put_uint(out, "admin_connections", vr_counted(&counts->connections[VR_PORT_ADMIN]));
    for (uint32_t p = 0; p < VR_PHASE_COUNT; p++) {
        put_uint(out, phase[p], vr_counted(&counts->phase[p]));
    }
    put_uint(out, "calls", vr_counted(&counts->calls));
    put_uint(out, "accepted", vr_counted(&loop->metrics.accepted));
    put_uint(out, "refused", vr_counted(&loop->metrics.refused[0]) + vr_counted(&loop->metrics.refused[1]));
    put_uint(out, "clients_gone", vr_counted(&loop->metrics.cancelled));
    vr_json_close_object(out);
}

static void put_loops(struct vr_json_writer *out, const struct vr_shared *shared)
{
    vr_json_key(out, "loops");
    vr_json_open_array(out);
    for (uint32_t i = 0; i < shared->loop_count; i++) {
        put_loop(out, shared->loop[i]);
    }
    vr_json_close_array(out);
}

static void put_connections(struct vr_json_writer *out, const struct vr_shared *shared)
{
    vr_json_key(out, "connections");
    vr_json_open_object(out);
    put_uint(out, "public", vr_admission_count(shared->admission, VR_PORT_PUBLIC));
    put_uint(out, "public_limit", vr_admission_limit(shared->admission, VR_PORT_PUBLIC));
    put_uint(out, "admin", vr_admission_count(shared->admission, VR_PORT_ADMIN));
    put_uint(out, "admin_limit", vr_admission_limit(shared->admission, VR_PORT_ADMIN));
    vr_json_close_object(out);
}

/* Returns how many requests the lanes have in hand. */
static uint32_t put_lanes(struct vr_json_writer *out, const struct vr_shared *shared)
{
    struct vr_lane_status lane;
    uint32_t in_hand = 0;
    vr_json_key(out, "lanes");
    vr_json_open_array(out);
    for (uint32_t i = 0; vr_feed_lane_read(shared->feed, i, &lane); i++) {
        vr_json_open_object(out);
        put_uint(out, "index", i);
        put_uint(out, "in_hand", lane.in_hand);
        put_uint(out, "busy_us", lane.busy_us);
        put_uint(out, "batches", lane.batches);
        put_uint(out, "jobs", lane.jobs);
        vr_json_close_object(out);
        in_hand += lane.in_hand;
    }
    vr_json_close_array(out);
    return in_hand;
}

static void put_queue(struct vr_json_writer *out, const struct vr_loop *loop, uint32_t in_hand)
{
    vr_json_key(out, "queue");
    vr_json_open_object(out);
    for (uint32_t p = 0; p < VR_PRIORITIES; p++) {
        put_uint(out, vr_priority_name((enum vr_priority)p), loop->feed_metrics.load.waiting[p]);
    }
    put_uint(out, "capacity", loop->shared->config->lanes.queue_capacity);
    put_uint(out, "in_flight", in_hand);
    vr_json_close_object(out);
}

static void put_model(struct vr_json_writer *out, const struct vr_shared *shared)
{
    struct vr_model *model = vr_feed_model(shared->feed);
    put_text(out, "model_version", model != NULL ? model->bundle->model_version : NULL);
    vr_model_release(model);
}

static void put_device(struct vr_json_writer *out, const struct vr_shared *shared)
{
    struct vr_device_status device;
    vr_feed_device_read(shared->feed, &device);
    put_text(out, "device", vr_device_state_name(device.state));
}

void vr_handle_debug(struct vr_loop *loop, struct vr_exchange *exchange)
{
    static const char *const readiness[] = {"loading", "ready", "draining"};
    const struct vr_shared *shared = loop->shared;
    struct vr_json_writer *out = &loop->writer;
    (void)exchange;
    vr_feed_metrics_read(shared->feed, &loop->feed_metrics);
    vr_json_open_object(out);
    put_text(out, "readiness", readiness[__atomic_load_n(&shared->readiness, __ATOMIC_ACQUIRE)]);
    put_model(out, shared);
    put_device(out, shared);
    put_uint(out, "uptime_s", (uint64_t)(vr_clock_wall_ms() - shared->started_ms) / 1000);
    put_uint(out, "restarts", shared->restarts);
    put_connections(out, shared);
    put_loops(out, shared);
    uint32_t in_hand = put_lanes(out, shared);
    put_queue(out, loop, in_hand);
    vr_json_close_object(out);
}
