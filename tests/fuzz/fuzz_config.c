/* Fuzz target: any bytes are read as a configuration. A refusal has a one-line message that names the file; what is
 * accepted obeys the ranges that the rest of the program relies on. */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "vireo/config.h"

static void require(bool condition)
{
    if (!condition) {
        abort();
    }
}

static void check_lists(const struct vr_config *c)
{
    require(c->satisfaction.count >= 1 && c->satisfaction.count <= VR_TERMS_MAX);
    for (uint32_t i = 0; i < c->satisfaction.count; i++) {
        require(*c->satisfaction.term[i].name != '\0' && *c->satisfaction.term[i].expression != '\0');
    }
    require(c->rerank.cap_count <= VR_CAPS_MAX && c->rerank.freshness_count <= VR_CAPS_MAX);
    for (uint32_t i = 0; i < c->rerank.cap_count; i++) {
        const struct vr_cap_config *cap = &c->rerank.cap[i];
        require(cap->by <= VR_CAP_TOPIC && cap->window <= 50 && cap->max >= 1 && cap->max < cap->window);
    }
    for (uint32_t i = 0; i < c->rerank.freshness_count; i++) {
        const struct vr_freshness_config *quota = &c->rerank.freshness[i];
        require(quota->count >= 1 && quota->count <= quota->by_position && quota->by_position <= 50);
    }
    require(c->rerank.give_way_count <= VR_RULE_COUNT);
    for (uint32_t i = 0; i < c->rerank.blocked_count; i++) {
        size_t len = strlen(c->rerank.blocked[i]);
        require(len >= 1 && len <= 64);
    }
}

static void check_config(const struct vr_config *c)
{
    require(strchr(c->server.listen, ':') != NULL && strchr(c->server.admin, ':') != NULL);
    require(c->lanes.count >= 1 && c->lanes.count <= 16 && c->lanes.pool_workers <= 4096);
    require(c->lanes.max_batch >= 1 && c->lanes.max_batch <= 256);
    require(c->retrieval.kind <= VR_INDEX_EXACT_INT8 && c->rerank.gain <= VR_GAIN_DPP);
    require(c->rerank.mmr_lambda >= 0 && c->rerank.mmr_lambda <= 1);
    require(c->rerank.safety_threshold >= 0 && c->rerank.safety_threshold <= 1);
    require(c->state.trending_half_life_h > 0 && c->state.recent_watches <= 200);
    check_lists(c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct vr_config *config = NULL;
    if (vr_config_parse("f.yaml", (const char *)data, size, &config) == VR_OK) {
        check_config(config);
        vr_config_destroy(config);
        return 0;
    }
    require(config == NULL);
    require(strncmp(vr_error_text(), "f.yaml:", 7) == 0);
    require(strchr(vr_error_text(), '\n') == NULL);
    return 0;
}
