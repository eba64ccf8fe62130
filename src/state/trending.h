/* The trending list: the videos of the highest decayed weight, as an immutable counted snapshot. Whoever asks for a
 * list that has grown old builds the next one; meanwhile all others get the old one at once. */
#ifndef VIREO_STATE_TRENDING_H
#define VIREO_STATE_TRENDING_H

#include "store.h"

struct vr_trending_board;

/* Starts with an empty list that counts as old. Ops and store are borrowed. VR_ERR_NOMEM. */
enum vr_status vr_trending_board_create(const struct vr_state_config *config, const struct vr_store_ops *ops,
                                        struct vr_store *store, struct vr_trending_board **out);
void vr_trending_board_destroy(struct vr_trending_board *board); /* NULL is accepted; lists that are held stay */

/* A reference to the list as of about now_ms; never NULL. When memory is short the old list stays. */
const struct vr_trending *vr_trending_board_get(struct vr_trending_board *board, int64_t now_ms);

/* The next get builds anew, whatever the age of the list. */
void vr_trending_board_expire(struct vr_trending_board *board);

void vr_trending_release(const struct vr_trending *list);

#endif
