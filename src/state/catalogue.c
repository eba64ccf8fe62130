/* A bundle's videos joined to the store's numbers (vireo/state.h, "catalogue"). Built once a model load; every array is
 * the catalogue's own and nothing in it changes afterwards. */
#include <stdlib.h>
#include <string.h>

#include "state_internal.h"

/* The catalogue while it can still be written. */
struct draft {
    struct vr_state *state;
    const struct vr_bundle *bundle;
    uint32_t *number;
    int32_t *row;
    uint32_t numbers;
    int64_t *upload_ms;
    uint32_t *creator_number;
    int32_t *creator_of_number;
    uint32_t creator_numbers;
    uint32_t *upload_offset;
    int32_t *upload_row;
};

static void *array_of(size_t count, size_t size)
{
    return calloc(count + 1, size); /* never 0 bytes */
}

/* Intern the ids of a list, then turn the numbers round: (*row)[number] is the place in the list, -1 none. */
static enum vr_status join(struct vr_state *state, enum vr_id_kind kind, const struct vr_string_list *list,
                           uint32_t **number, int32_t **row, uint32_t *numbers)
{
    enum vr_status status = vr_state_intern_list(state, kind, list, number);
    if (status != VR_OK) {
        return status;
    }
    *numbers = state->ops->id_count(state->store, kind);
    *row = array_of(*numbers, sizeof **row);
    if (*row == NULL) {
        return VR_ERR_NOMEM;
    }
    memset(*row, 0xff, (size_t)*numbers * sizeof **row);
    for (uint32_t i = 0; i < list->count; i++) {
        (*row)[(*number)[i]] = (int32_t)i;
    }
    return VR_OK;
}

/* A time that no clock shows counts as unknown, so that ages can be computed without overflow. */
static int64_t shifted(int64_t upload_ms, int64_t shift_ms)
{
    bool known = upload_ms >= -VR_TIME_MAX_MS && upload_ms <= VR_TIME_MAX_MS;
    return known ? upload_ms + shift_ms : INT64_MIN;
}

static enum vr_status shift_uploads(struct draft *draft, int64_t shift_ms)
{
    const struct vr_bundle_videos *videos = &draft->bundle->videos;
    draft->upload_ms = array_of(videos->count, sizeof *draft->upload_ms);
    if (draft->upload_ms == NULL) {
        return VR_ERR_NOMEM;
    }
    for (uint32_t i = 0; i < videos->count; i++) {
        draft->upload_ms[i] = shifted(videos->upload_ms[i], shift_ms);
    }
    return VR_OK;
}

/* Newest first, then by row: unknown uploads (INT64_MIN) come last. */
static int compare_uploads(const void *left, const void *right, void *context)
{
    const int64_t *upload_ms = context;
    int32_t a = *(const int32_t *)left;
    int32_t b = *(const int32_t *)right;
    if (upload_ms[a] != upload_ms[b]) {
        return upload_ms[a] > upload_ms[b] ? -1 : 1;
    }
    return (a > b) - (a < b);
}

/* Counting sort of rows by creator. offset [creators + 2] is all zero; counts start two places on, so that after the
 * rows are placed offset[c] .. offset[c + 1] is creator c's range. */
static void place_uploads(const struct vr_bundle_videos *videos, uint32_t *offset, int32_t *row)
{
    for (uint32_t i = 0; i < videos->count; i++) {
        if (videos->creator[i] >= 0) {
            offset[videos->creator[i] + 2]++;
        }
    }
    for (uint32_t c = 1; c < videos->creator_id.count; c++) {
        offset[c + 1] += offset[c];
    }
    for (uint32_t i = 0; i < videos->count; i++) {
        if (videos->creator[i] >= 0) {
            row[offset[videos->creator[i] + 1]++] = (int32_t)i;
        }
    }
}

static enum vr_status group_uploads(struct draft *draft)
{
    const struct vr_bundle_videos *videos = &draft->bundle->videos;
    uint32_t creators = videos->creator_id.count;
    draft->upload_offset = array_of((size_t)creators + 2, sizeof *draft->upload_offset);
    draft->upload_row = array_of(videos->count, sizeof *draft->upload_row);
    if (draft->upload_offset == NULL || draft->upload_row == NULL) {
        return VR_ERR_NOMEM;
    }
    place_uploads(videos, draft->upload_offset, draft->upload_row);
    for (uint32_t c = 0; c < creators; c++) {
        int32_t *first = draft->upload_row + draft->upload_offset[c];
        qsort_r(first, draft->upload_offset[c + 1] - draft->upload_offset[c], sizeof *first, compare_uploads,
                draft->upload_ms);
    }
    return VR_OK;
}

static enum vr_status fill(struct draft *draft, int64_t now_ms)
{
    struct vr_state *state = draft->state;
    const struct vr_bundle_videos *videos = &draft->bundle->videos;
    enum vr_status status = join(state, VR_ID_VIDEO, &videos->id, &draft->number, &draft->row, &draft->numbers);
    if (status == VR_OK) {
        status = join(state, VR_ID_CREATOR, &videos->creator_id, &draft->creator_number, &draft->creator_of_number,
                      &draft->creator_numbers);
    }
    if (status == VR_OK) {
        status = shift_uploads(draft, vr_state_shift_ms(state, draft->bundle, now_ms));
    }
    return status == VR_OK ? group_uploads(draft) : status;
}

static void free_draft(struct draft *draft)
{
    free(draft->number);
    free(draft->row);
    free(draft->upload_ms);
    free(draft->creator_number);
    free(draft->creator_of_number);
    free(draft->upload_offset);
    free(draft->upload_row);
}

static struct vr_catalogue catalogue_of(const struct draft *draft)
{
    struct vr_catalogue catalogue = {
        .bundle = draft->bundle,
        .count = draft->bundle->videos.count,
        .number = draft->number,
        .row = draft->row,
        .numbers = draft->numbers,
        .upload_ms = draft->upload_ms,
        .creator_number = draft->creator_number,
        .upload_offset = draft->upload_offset,
        .upload_row = draft->upload_row,
        .creator_of_number = draft->creator_of_number,
        .creator_numbers = draft->creator_numbers,
    };
    return catalogue;
}

enum vr_status vr_catalogue_create(struct vr_state *state, const struct vr_bundle *bundle, int64_t now_ms,
                                   struct vr_catalogue **out)
{
    struct draft draft = {.state = state, .bundle = bundle};
    struct vr_catalogue *catalogue = malloc(sizeof *catalogue);
    enum vr_status status = catalogue != NULL ? fill(&draft, now_ms) : VR_ERR_NOMEM;
    if (status != VR_OK) {
        free_draft(&draft);
        free(catalogue);
        return status == VR_ERR_NOMEM ? vr_fail(status, "catalogue: no memory for %u videos", bundle->videos.count)
                                      : status;
    }
    *catalogue = catalogue_of(&draft);
    *out = catalogue;
    return VR_OK;
}

void vr_catalogue_destroy(struct vr_catalogue *catalogue)
{
    if (catalogue == NULL) {
        return;
    }
    struct draft owned = {
        .number = (uint32_t *)(uintptr_t)catalogue->number,
        .row = (int32_t *)(uintptr_t)catalogue->row,
        .upload_ms = (int64_t *)(uintptr_t)catalogue->upload_ms,
        .creator_number = (uint32_t *)(uintptr_t)catalogue->creator_number,
        .creator_of_number = (int32_t *)(uintptr_t)catalogue->creator_of_number,
        .upload_offset = (uint32_t *)(uintptr_t)catalogue->upload_offset,
        .upload_row = (int32_t *)(uintptr_t)catalogue->upload_row,
    };
    free_draft(&owned);
    free(catalogue);
}
