/* Re-ranking of one request: what the rules read is gathered from catalogue and viewer, the guardrails choose, and the
 * reply is filled. */
#include "reply.h"
#include "rerank.h"
#include "rows.h"
#include "steps.h"

/* The gathered attributes, arrays [count] in arena memory. */
struct gathered {
    int32_t *creator, *topic;
    float *age_h, *unsafe_score, *vector;
    uint8_t *safety, *min_age;
    bool *blocked, *excluded, *seen, *served;
};

static bool allocate(struct vr_arena *arena, size_t count, size_t vector_floats, struct gathered *g)
{
    g->creator = vr_arena_calloc(arena, count, sizeof *g->creator);
    g->topic = vr_arena_calloc(arena, count, sizeof *g->topic);
    g->age_h = vr_arena_calloc(arena, count, sizeof *g->age_h);
    g->unsafe_score = vr_arena_calloc(arena, count, sizeof *g->unsafe_score);
    g->safety = vr_arena_calloc(arena, count, sizeof *g->safety);
    g->min_age = vr_arena_calloc(arena, count, sizeof *g->min_age);
    g->blocked = vr_arena_calloc(arena, count, sizeof *g->blocked);
    g->excluded = vr_arena_calloc(arena, count, sizeof *g->excluded);
    g->seen = vr_arena_calloc(arena, count, sizeof *g->seen);
    g->served = vr_arena_calloc(arena, count, sizeof *g->served);
    g->vector = vr_arena_calloc(arena, vector_floats, sizeof *g->vector);
    return g->creator != NULL && g->topic != NULL && g->age_h != NULL && g->unsafe_score != NULL && g->safety != NULL &&
           g->min_age != NULL && g->blocked != NULL && g->excluded != NULL && g->seen != NULL && g->served != NULL &&
           g->vector != NULL;
}

static void gather_row(const struct vr_lane *lane, const struct vr_visit *visit, uint32_t i, struct gathered *g)
{
    const struct vr_model *model = lane->binding->model;
    const struct vr_bundle_videos *videos = &model->bundle->videos;
    int32_t row = visit->candidates.row[i];
    g->creator[i] = videos->creator[row];
    g->topic[i] = videos->topic[row];
    g->age_h[i] = (float)vr_age_hours(visit->job->request.now_ms, model->catalogue->upload_ms[row]);
    g->unsafe_score[i] = videos->unsafe_score[row];
    g->safety[i] = videos->safety[row];
    g->min_age[i] = videos->min_age[row];
    g->blocked[i] = vr_rows_hold(&lane->binding->blocked, row) || vr_model_has_removed(model, row);
    g->excluded[i] = vr_rows_hold(&visit->excluded, row);
    g->seen[i] = vr_rows_hold(&visit->seen, row);
    g->served[i] = vr_rows_hold(&visit->served, row);
}

static void connect(const struct vr_visit *visit, const struct vr_rerank_config *rules, const struct gathered *g,
                    struct vr_rerank_input *input)
{
    input->config = rules;
    input->count = visit->candidates.count;
    input->want = visit->job->request.count;
    input->viewer_age = visit->viewer.age;
    input->score = visit->candidates.score;
    input->creator = g->creator;
    input->topic = g->topic;
    input->age_h = g->age_h;
    input->safety = g->safety;
    input->min_age = g->min_age;
    input->unsafe_score = g->unsafe_score;
    input->blocked = g->blocked;
    input->excluded = g->excluded;
    input->seen = g->seen;
    input->served = g->served;
    input->vector = g->vector;
    input->want_trace = visit->job->request.explain;
}

/* VR_ERR_NOMEM. */
static enum vr_status gather(const struct vr_lane *lane, const struct vr_visit *visit,
                             const struct vr_rerank_config *rules, struct vr_rerank_input *input)
{
    const struct vr_model *model = lane->binding->model;
    uint32_t count = visit->candidates.count;
    uint32_t dim = rules->gain == VR_GAIN_SCORE ? 0 : model->bundle->content_dim;
    struct gathered g;
    if (!allocate(visit->job->arena, count, (size_t)count * dim, &g)) {
        return VR_ERR_NOMEM;
    }
    for (uint32_t i = 0; i < count; i++) {
        gather_row(lane, visit, i, &g);
        if (dim > 0) {
            vr_engine_content_vector(model->engine, visit->candidates.row[i], g.vector + (size_t)i * dim);
        }
    }
    connect(visit, rules, &g, input);
    input->dim = dim;
    return VR_OK;
}

void vr_step_guard(const struct vr_lane *lane, struct vr_visit *visit, const struct vr_rerank_config *rules)
{
    struct vr_rerank_input input = {0};
    struct vr_rerank_output chosen;
    enum vr_status status = gather(lane, visit, rules, &input);
    if (status == VR_OK) {
        status = vr_rerank(&input, visit->job->arena, &chosen);
    }
    if (status == VR_OK) {
        status = vr_reply_fill(lane, visit, &chosen);
    }
    if (status != VR_OK) {
        vr_visit_fail(visit, status);
    }
}
