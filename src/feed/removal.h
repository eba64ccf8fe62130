/* Rows that leave a model: at load those that no guardrail would ever let pass, later what was removed
 * (vr_model_remove_video). */
#ifndef VIREO_FEED_REMOVAL_H
#define VIREO_FEED_REMOVAL_H

#include "vireo/feed.h"

/* The memory of a model's removals. VR_ERR_NOMEM; NULL is accepted by the second. */
enum vr_status vr_model_removal_create(uint32_t rows, struct vr_model_removal **out);
void vr_model_removal_destroy(struct vr_model_removal *removal);

/* An engine that was made: the videos that are never shown leave its indexes, *count of them. */
enum vr_status vr_engine_withhold(struct vr_engine *engine, const struct vr_rerank_config *config, uint32_t *count);

/* From here on removals reach this engine too, those that were made before at once; until it leaves. */
enum vr_status vr_model_removal_join(struct vr_model_removal *removal, struct vr_engine *engine);
void vr_model_removal_leave(struct vr_model_removal *removal, const struct vr_engine *engine);

#endif
