/* The three look-up sources of sources.h. Each collects into a bounded heap, so a viewer with many friends or follows
 * costs time, which the deadline bounds, and little memory. */
#include "sources.h"

#include <math.h>

#include "vireo/clock.h"
#include "vireo/top.h"

#define WEIGHT_LIKE 2.0
#define WEIGHT_FINISH 1.5
#define WEIGHT_LONG_VIEW 1.0
#define MS_PER_HOUR 3600000.0
#define CHECK_EVERY 16u /* friends or creators between two looks at the clock */
#define FIRST_SUMS 256u

/* True when the row must be left out, or is none of this bundle's. */
static bool is_left_out(const struct vr_source_input *input, int32_t row)
{
    uint32_t low = 0;
    uint32_t high = input->skip_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (input->skip[middle] < row) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return row < 0 || (low < input->skip_count && input->skip[low] == row);
}

static enum vr_status check_time(const struct vr_source_input *input, const char *source, uint32_t step)
{
    if (step % CHECK_EVERY != 0 || vr_clock_mono_us() < input->deadline_us) {
        return VR_OK;
    }
    return vr_fail(VR_ERR_TIMEOUT, "source %s: its time budget has passed", source);
}

static enum vr_status top_create(const struct vr_source_input *input, struct vr_top *top)
{
    top->entry = vr_arena_alloc(input->arena, (size_t)input->want * sizeof *top->entry);
    top->capacity = input->want;
    top->count = 0;
    return top->entry != NULL ? VR_OK : VR_ERR_NOMEM;
}

/* Room for input->want rows. */
static enum vr_status result_create(const struct vr_source_input *input, int32_t **row, float **score)
{
    *row = vr_arena_alloc(input->arena, (size_t)input->want * sizeof **row);
    *score = vr_arena_alloc(input->arena, (size_t)input->want * sizeof **score);
    return *row != NULL && *score != NULL ? VR_OK : VR_ERR_NOMEM;
}

static enum vr_status result_of(const struct vr_source_input *input, struct vr_top *top, struct vr_source_result *out)
{
    int32_t *row;
    float *score;
    enum vr_status status = result_create(input, &row, &score);
    if (status != VR_OK) {
        return status;
    }
    vr_top_finish(top);
    for (uint32_t i = 0; i < top->count; i++) {
        row[i] = (int32_t)top->entry[i].id;
        score[i] = (float)top->entry[i].key;
    }
    out->row = row;
    out->score = score;
    out->count = top->count;
    return VR_OK;
}

/* ---- trending ---- */

static uint32_t take_trending(const struct vr_source_input *input, const struct vr_trending *list, int32_t *row,
                              float *score)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < list->count && count < input->want; i++) {
        int32_t at = vr_catalogue_row(input->catalogue, list->video[i]);
        if (!is_left_out(input, at)) {
            row[count] = at;
            score[count++] = list->score[i];
        }
    }
    return count;
}

enum vr_status vr_source_trending(const struct vr_source_input *input, struct vr_source_result *out)
{
    int32_t *row;
    float *score;
    enum vr_status status = result_create(input, &row, &score);
    if (status != VR_OK) {
        return status;
    }
    const struct vr_trending *list = vr_state_trending(input->state, input->now_ms);
    out->count = take_trending(input, list, row, score);
    out->row = row;
    out->score = score;
    vr_state_trending_release(input->state, list);
    return check_time(input, "trending", 0);
}

/* ---- social ---- */

/* What friends made of one video. */
struct sum {
    int32_t row;     /* -1: free */
    uint32_t friend; /* the latest one, by place in the viewer's list */
    double best;     /* his strongest watch so far */
    double total;
};

/* Sums by row: open addressing in the arena, at most half full, grown by doubling. */
struct sums {
    struct vr_arena *arena;
    struct sum *sum; /* [mask + 1] */
    uint32_t mask, used;
};

static enum vr_status sums_allocate(struct sums *sums, uint32_t size)
{
    sums->sum = vr_arena_alloc(sums->arena, (size_t)size * sizeof *sums->sum);
    if (sums->sum == NULL) {
        return VR_ERR_NOMEM;
    }
    for (uint32_t i = 0; i < size; i++) {
        sums->sum[i].row = -1;
    }
    sums->mask = size - 1;
    return VR_OK;
}

/* The sum of a row, or the free place where it belongs. */
static struct sum *sums_find(const struct sums *sums, int32_t row)
{
    uint32_t hash = (uint32_t)row * 0x9e3779b1u;
    uint32_t i = (hash ^ (hash >> 15)) & sums->mask;
    while (sums->sum[i].row >= 0 && sums->sum[i].row != row) {
        i = (i + 1) & sums->mask;
    }
    return &sums->sum[i];
}

static enum vr_status sums_grow(struct sums *sums)
{
    struct sums old = *sums;
    enum vr_status status = sums_allocate(sums, (old.mask + 1) * 2);
    if (status != VR_OK) {
        return status;
    }
    for (uint32_t i = 0; i <= old.mask; i++) {
        if (old.sum[i].row >= 0) {
            *sums_find(sums, old.sum[i].row) = old.sum[i];
        }
    }
    return VR_OK;
}

/* Count a friend's watch: of several watches of one video his strongest counts. */
static enum vr_status sums_add(struct sums *sums, int32_t row, uint32_t friend, double weight)
{
    struct sum *sum = sums_find(sums, row);
    if (sum->row < 0) {
        if (sums->used >= (sums->mask + 1) / 2) {
            enum vr_status status = sums_grow(sums);
            if (status != VR_OK) {
                return status;
            }
            sum = sums_find(sums, row);
        }
        sums->used++;
        *sum = (struct sum){.row = row, .friend = friend};
    } else if (sum->friend != friend) {
        sum->friend = friend;
        sum->best = 0;
    }
    if (weight > sum->best) {
        sum->total += weight - sum->best;
        sum->best = weight;
    }
    return VR_OK;
}

/* The weight of a watch by its strongest label, 0 for none of them or an unknown time. */
static double watch_weight(const struct vr_source_input *input, const struct vr_watch *watch)
{
    double weight = (watch->flags & VR_WATCH_LIKE) != 0        ? WEIGHT_LIKE
                    : (watch->flags & VR_WATCH_FINISH) != 0    ? WEIGHT_FINISH
                    : (watch->flags & VR_WATCH_LONG_VIEW) != 0 ? WEIGHT_LONG_VIEW
                                                               : 0;
    if (weight == 0 || watch->time_ms == INT64_MIN) {
        return 0;
    }
    double age_h = (double)(input->now_ms - watch->time_ms) / MS_PER_HOUR;
    return age_h > 0 ? weight * exp2(-age_h / (double)input->config->social_half_life_h) : weight;
}

static enum vr_status add_friend(const struct vr_source_input *input, uint32_t friend, struct sums *sums)
{
    struct vr_watch watch[VR_RECENT_WATCHES_MAX];
    uint32_t count = vr_state_recent_of(input->state, input->viewer->friends[friend], watch, VR_RECENT_WATCHES_MAX);
    enum vr_status status = VR_OK;
    for (uint32_t i = 0; i < count && status == VR_OK; i++) {
        int32_t row = vr_catalogue_row(input->catalogue, watch[i].video);
        double weight = row >= 0 ? watch_weight(input, &watch[i]) : 0;
        if (weight > 0) {
            status = sums_add(sums, row, friend, weight);
        }
    }
    return status;
}

static void take_sums(const struct vr_source_input *input, const struct sums *sums, struct vr_top *top)
{
    for (uint32_t i = 0; i <= sums->mask; i++) {
        if (!is_left_out(input, sums->sum[i].row)) {
            vr_top_push(top, sums->sum[i].total, (uint32_t)sums->sum[i].row);
        }
    }
}

enum vr_status vr_source_social(const struct vr_source_input *input, struct vr_source_result *out)
{
    struct sums sums = {.arena = input->arena};
    struct vr_top top;
    enum vr_status status = sums_allocate(&sums, FIRST_SUMS);
    for (uint32_t i = 0; i < input->viewer->friend_count && status == VR_OK; i++) {
        status = check_time(input, "social", i);
        if (status == VR_OK) {
            status = add_friend(input, i, &sums);
        }
    }
    if (status == VR_OK) {
        status = top_create(input, &top);
    }
    if (status != VR_OK) {
        return status;
    }
    take_sums(input, &sums, &top);
    return result_of(input, &top, out);
}

/* ---- subscriptions ---- */

/* The bundle's creator of a creator number, -1 for none. */
static int32_t creator_of(const struct vr_catalogue *catalogue, uint32_t number)
{
    return number < catalogue->creator_numbers ? catalogue->creator_of_number[number] : -1;
}

/* A creator's uploads stand newest first, so the first one that is too old, or that the heap turns away, ends it. Those
 * of after now (offline replay) are passed over. The key is minus the age in hours. */
static void take_uploads(const struct vr_source_input *input, int32_t creator, struct vr_top *top)
{
    const struct vr_catalogue *catalogue = input->catalogue;
    for (uint32_t i = catalogue->upload_offset[creator]; i < catalogue->upload_offset[creator + 1]; i++) {
        int32_t row = catalogue->upload_row[i];
        int64_t upload_ms = catalogue->upload_ms[row];
        if (upload_ms > input->now_ms) {
            continue;
        }
        double age_h = upload_ms != INT64_MIN ? (double)(input->now_ms - upload_ms) / MS_PER_HOUR : (double)INFINITY;
        if (age_h > (double)input->config->subscription_max_age_h) {
            return;
        }
        if (!is_left_out(input, row) && !vr_top_push(top, -age_h, (uint32_t)row)) {
            return;
        }
    }
}

enum vr_status vr_source_subscriptions(const struct vr_source_input *input, struct vr_source_result *out)
{
    struct vr_top top;
    enum vr_status status = top_create(input, &top);
    for (uint32_t i = 0; i < input->viewer->follow_count && status == VR_OK; i++) {
        int32_t creator = creator_of(input->catalogue, input->viewer->follow[i]);
        status = check_time(input, "subscriptions", i);
        if (status == VR_OK && creator >= 0) {
            take_uploads(input, creator, &top);
        }
    }
    return status == VR_OK ? result_of(input, &top, out) : status;
}
