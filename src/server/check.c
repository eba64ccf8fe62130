/* `vireo check` and `vireo version` (commands.h). */
#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "commands.h"
#include "vireo/backend.h"
#include "vireo/bundle.h"
#include "vireo/config.h"
#include "vireo/engine.h"
#include "vireo/feed.h"

static void print_networks(const struct vr_bundle *bundle, FILE *out)
{
    const struct vr_ranker *ranker = &bundle->ranker;
    fprintf(out, "%-16s %u columns, %u layers, %u outputs\n", "user tower", bundle->user_tower.width,
            bundle->user_tower.layer_count, bundle->tower_dim);
    fprintf(out, "%-16s %u columns, %u layers, %u outputs\n", "item tower", bundle->item_tower.width,
            bundle->item_tower.layer_count, bundle->tower_dim);
    fprintf(out, "%-16s %s, %u columns (viewer %u, context %u, video %u, pair %u)\n", "ranker", ranker->architecture,
            ranker->width, ranker->block[VR_ENTITY_VIEWER].width, ranker->block[VR_ENTITY_CONTEXT].width,
            ranker->block[VR_ENTITY_VIDEO].width, ranker->block[VR_ENTITY_PAIR].width);
    for (uint32_t l = 0; l < ranker->level_count; l++) {
        const struct vr_level *level = &ranker->level[l];
        fprintf(out, "%-16s %u experts of %u -> %u, %u gates\n", l == 0 ? "levels" : "", level->experts, level->hidden,
                level->width, level->gates);
    }
}

static void print_videos(const struct vr_bundle_videos *videos, FILE *out)
{
    uint32_t safe = 0, with_content = 0;
    for (uint32_t i = 0; i < videos->count; i++) {
        safe += videos->safety[i] == VR_SAFETY_SAFE;
        with_content += videos->content_scale[i] > 0.0f;
    }
    fprintf(out, "%-16s %u, %u known to be safe, %u with content vectors\n", "videos", videos->count, safe,
            with_content);
    fprintf(out, "%-16s %u creators, %u topics\n", "", videos->creator_id.count, videos->topic_name.count);
}

static void print_state(const struct vr_bundle_state *state, FILE *out)
{
    if (!state->present) {
        fprintf(out, "%-16s none\n", "seed state");
        return;
    }
    uint32_t viewers = state->viewer_id.count;
    fprintf(out, "%-16s %u viewers, %u watches, %u follows, %u friendships\n", "seed state", viewers,
            state->recent_offset[viewers], state->follow_offset[viewers], state->friend_offset[viewers]);
}

static void print_terms(const struct vr_bundle *bundle, FILE *out)
{
    for (uint32_t i = 0; i < bundle->term_count; i++) {
        fprintf(out, "%-16s %.*s: %.*s\n", i == 0 ? "satisfaction" : "", (int)bundle->term[i].name.len,
                bundle->term[i].name.data, (int)bundle->term[i].expression.len, bundle->term[i].expression.data);
    }
}

static void print_bundle(const char *folder, const struct vr_bundle *bundle, FILE *out)
{
    char as_of[32] = "";
    time_t seconds = (time_t)(bundle->as_of_ms / 1000);
    struct tm utc;
    if (gmtime_r(&seconds, &utc) != NULL) {
        strftime(as_of, sizeof as_of, "%Y-%m-%d %H:%M:%S UTC", &utc);
    }
    fprintf(out, "%-16s %s\n", "bundle", folder);
    fprintf(out, "%-16s %s, as of %s\n", "model version", bundle->model_version, as_of);
    fprintf(out, "%-16s %.*s\n", "data", (int)bundle->data.len, bundle->data.data);
    print_videos(&bundle->videos, out);
    fprintf(out, "%-16s tower %u, content %u\n", "vectors", bundle->tower_dim, bundle->content_dim);
    print_networks(bundle, out);
    print_terms(bundle, out);
    print_state(&bundle->state, out);
}

static void print_selftest(const struct vr_golden_report *worst, uint32_t topk_count, FILE *out)
{
    fprintf(
        out,
        "%-16s passed, %u cases, ranker in %s; largest differences: user tower %.2g, probability %.2g, watch %.2g\n",
        "self-test", worst->cases, vr_precision_name(worst->precision), worst->user_tower, worst->probability,
        worst->watch_s_relative);
    if (worst->heads < worst->cases) {
        fprintf(out, "%-16s the video table was judged by %u cases, whose videos are as the bundle has them\n", "",
                worst->heads);
    }
    if (topk_count > 0) {
        fprintf(out, "%-16s at least %u of 10 top rows agree\n", "", worst->topk_worst_agreement);
    }
}

static double mib(uint64_t bytes)
{
    return (double)bytes / 1048576.0;
}

/* The device where it is configured and opens, else the CPU with the reason. */
static enum vr_status open_backend(const struct vr_config *config, FILE *out, struct vr_backend **backend)
{
    bool built = strstr(vr_backend_built(), "cuda") != NULL;
    if (config->compute.backend == VR_COMPUTE_CUDA || (config->compute.backend == VR_COMPUTE_AUTO && built)) {
        enum vr_status status = vr_backend_open("cuda", 0, backend);
        if (status == VR_OK || config->compute.backend == VR_COMPUTE_CUDA) {
            fprintf(out, "%-16s cuda\n", "backend");
            return status;
        }
        fprintf(out, "%-16s cpu, for cuda does not open: %s\n", "backend", vr_error_text());
    } else {
        fprintf(out, "%-16s cpu\n", "backend");
    }
    return vr_backend_open("cpu", 0, backend);
}

/* Told before anything is taken, so that a bundle too large for the device can be seen to be. */
static enum vr_status print_memory(const struct vr_bundle *bundle, struct vr_backend *backend,
                                   const struct vr_config *config, FILE *out)
{
    const struct vr_engine_options options = vr_engine_options_of(config, backend);
    const struct vr_feed_config feed = vr_feed_config_of(config);
    const struct vr_engine_shape shape = vr_feed_engine_shape(&feed);
    struct vr_engine_memory memory;
    const enum vr_status status = vr_engine_memory_needed(backend, bundle, &options, &shape, &memory);
    if (status == VR_OK) {
        fprintf(out,
                "%-16s %.1f MiB mapped; on the backend %.1f MiB: model %.1f (video table %.1f), %u lanes of %.1f and "
                "%.1f pinned\n",
                "memory", mib(bundle->bytes_mapped), mib(memory.device), mib(memory.engine), mib(memory.video_table),
                shape.lanes, mib(memory.lane), mib(memory.lane_pinned));
    }
    return status;
}

/* The backend's part: make the bundle resident and compute its golden cases. */
static enum vr_status selftest(const struct vr_bundle *bundle, const struct vr_config *config, FILE *out)
{
    struct vr_backend *backend = NULL;
    struct vr_engine *engine = NULL;
    struct vr_golden_report worst = {0};
    enum vr_status status = open_backend(config, out, &backend);
    if (status == VR_OK) {
        status = print_memory(bundle, backend, config, out);
    }
    if (status == VR_OK) {
        const struct vr_engine_options options = vr_engine_options_of(config, backend);
        status = vr_engine_create_tested(backend, bundle, &options, &worst, &engine);
    }
    if (status == VR_OK) {
        print_selftest(&worst, bundle->golden.topk_count, out);
    }
    vr_engine_destroy(engine);
    vr_backend_destroy(backend);
    return status;
}

enum vr_status vr_check_bundle(const char *folder, const struct vr_config *config, FILE *out)
{
    struct vr_bundle *bundle = NULL;
    enum vr_status status = vr_bundle_open(folder, &bundle);
    if (status == VR_OK) {
        print_bundle(folder, bundle, out);
        status = selftest(bundle, config, out);
    }
    vr_bundle_close(bundle);
    return status;
}

static const char *yes_no(bool yes)
{
    return yes ? "yes" : "no";
}

void vr_version_print(FILE *out)
{
    const char *built = vr_backend_built();
    fprintf(out, "vireo %s\n", VIREO_VERSION);
    fprintf(out, "%-16s %d\n", "bundle format", VR_BUNDLE_FORMAT_VERSION);
    fprintf(out, "%-16s %s\n", "backends", built);
    fprintf(out, "%-16s %s\n", "processor", vr_backend_cpu_forms());
    fprintf(out, "%-16s %s\n", "openblas", yes_no(strstr(built, "openblas") != NULL));
    fprintf(out, "%-16s %s\n", "faiss", yes_no(strstr(built, "faiss") != NULL));
    fprintf(out, "%-16s %s\n", "faiss_gpu", yes_no(strstr(built, "faiss_gpu") != NULL));
    fprintf(out, "%-16s %s\n", "cuvs", yes_no(strstr(built, "cuvs") != NULL));
    fprintf(out, "%-16s %s\n", "cuda", yes_no(strstr(built, "cuda") != NULL));
    fprintf(out, "%-16s %s\n", "redis", "no");
    fprintf(out, "%-16s %s\n", "kafka", "no");
}
