/* Videos that leave a model: what no guardrail would let pass is in no index, and what is removed while the feed serves
 * is in no feed from then on. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "support_feed.h"
#include "vireo/clock.h"

#define MOST 200u /* results of a search */

static struct feed_rig rig;

static bool open_rig(void)
{
    if (feed_bundle(1) == NULL) {
        cr_skip("skipped: no data (the small bundle is made by the Python environment)");
        return false;
    }
    feed_rig_open(&rig, NULL);
    return true;
}

static bool is_never_shown(const struct vr_bundle_videos *videos, int32_t row)
{
    return videos->safety[row] != VR_SAFETY_SAFE || !(videos->unsafe_score[row] <= 0.5f);
}

static struct vr_engine_found similar(struct vr_engine_slot *slot, int32_t row)
{
    struct vr_engine_found found;
    cr_assert_eq(vr_engine_similar(slot, row, MOST, vr_clock_mono_us() + 60000000, &found), VR_OK, "%s",
                 vr_error_text());
    return found;
}

/* How often the neighbours of the first rows are never shown, or are `row`. */
static uint32_t count_found(struct vr_engine *engine, int32_t row)
{
    struct vr_engine_slot *slot = NULL;
    const struct vr_bundle_videos *videos = &vr_engine_bundle(engine)->videos;
    uint32_t count = 0, all = 0;
    cr_assert_eq(vr_engine_slot_create(engine, 1, 1, MOST, &slot), VR_OK, "%s", vr_error_text());
    for (int32_t query = 0; query < 20; query++) {
        const struct vr_engine_found found = similar(slot, query);
        for (uint32_t i = 0; i < found.count; i++) {
            count += found.row[i] == row || (row < 0 && is_never_shown(videos, found.row[i]));
        }
        all += found.count;
    }
    vr_engine_slot_destroy(slot);
    cr_assert_gt(all, 100);
    return count;
}

/* An engine of the same bundle that nobody told is the twin. */
Test(removal, what_is_never_shown_is_in_no_index)
{
    if (!open_rig()) {
        return;
    }
    struct vr_engine *plain = NULL;
    cr_assert_eq(vr_engine_create(rig.backend, rig.model->bundle, &rig.config->retrieval, &plain), VR_OK);
    cr_assert_gt(count_found(plain, -1), 0, "the bundle has videos that are not safe");
    cr_assert_eq(count_found(rig.model->engine, -1), 0);
    vr_engine_destroy(plain);
    feed_rig_close(&rig);
}

static struct vr_str id_of(const struct vr_model *model, int32_t row)
{
    return vr_dict_name(model->bundle->video_rows, (uint32_t)row);
}

/* A safe video that is somebody's neighbour. */
static int32_t some_neighbour(void)
{
    struct vr_engine_slot *slot = NULL;
    cr_assert_eq(vr_engine_slot_create(rig.model->engine, 1, 1, MOST, &slot), VR_OK);
    const struct vr_engine_found found = similar(slot, 0);
    cr_assert_gt(found.count, 0);
    const int32_t row = found.row[0];
    vr_engine_slot_destroy(slot);
    return row;
}

Test(removal, the_block_list_is_in_no_index)
{
    if (!open_rig()) {
        return;
    }
    struct vr_model *other = NULL;
    char id[65] = "";
    const int32_t row = some_neighbour();
    const struct vr_str blocked = id_of(rig.model, row);
    memcpy(id, blocked.data, blocked.len);
    const char *list[] = {"nobody knows this one", id};
    cr_assert_gt(count_found(rig.model->engine, row), 0);
    struct vr_config config = *rig.config;
    config.rerank.blocked = list;
    config.rerank.blocked_count = 2;
    cr_assert_eq(vr_model_load(feed_bundle(1), rig.backend, &config, rig.state, FEED_NOW_MS, &other), VR_OK, "%s",
                 vr_error_text());
    cr_assert_eq(count_found(other->engine, row), 0);
    vr_model_release(other);
    feed_rig_close(&rig);
}

/* The position of a row in a viewer's feed, -1: it is not there. */
static int32_t place_in_feed(const char *viewer, int32_t row, int32_t *first)
{
    struct vr_job *job = feed_job(&rig, viewer);
    int32_t place = -1;
    feed_ask(&rig, job);
    cr_assert_eq(job->reply.status, VR_OK, "%s", job->reply.error);
    cr_assert_gt(job->reply.item_count, 10);
    *first = job->reply.item[0].row;
    for (uint32_t p = 0; p < job->reply.item_count; p++) {
        place = job->reply.item[p].row == row ? (int32_t)p : place;
    }
    feed_job_free(job);
    return place;
}

Test(removal, a_removed_video_is_in_no_feed)
{
    if (!open_rig()) {
        return;
    }
    static const char *const viewer[] = {"1", "2", "3", "nobody"};
    for (size_t i = 0; i < 4; i++) {
        int32_t first = -1, next = -1;
        place_in_feed(viewer[i], -1, &first);
        cr_assert_eq(place_in_feed(viewer[i], first, &next), 0, "the twin: it is there as long as it is not removed");
        cr_assert_not(vr_model_has_removed(rig.model, first));
        cr_assert_eq(vr_model_remove_video(rig.model, id_of(rig.model, first)), VR_OK, "%s", vr_error_text());
        cr_assert(vr_model_has_removed(rig.model, first));
        for (size_t j = 0; j < 4; j++) {
            cr_assert_eq(place_in_feed(viewer[j], first, &next), -1, "%s", viewer[j]);
        }
        cr_assert_eq(count_found(rig.model->engine, first), 0);
        cr_assert_eq(vr_model_remove_video(rig.model, id_of(rig.model, first)), VR_OK, "again is no error");
    }
    cr_assert_eq(vr_model_remove_video(rig.model, vr_str_of("no such video")), VR_ERR_NOT_FOUND);
    feed_rig_close(&rig);
}
