/* The thread that makes events durable: it takes all tickets that wait, judges their events, writes the new ones to the
 * log as one group, and applies them in the log's order once they are synced; then it hands the tickets back. So what
 * can be seen is always what the log says up to some record, and nobody waits for a sync but the events in it. */
#ifndef VIREO_STATE_EVENT_WRITER_H
#define VIREO_STATE_EVENT_WRITER_H

#include "vireo/state.h"

struct vr_event_writer;

/* Start the thread for a store with a log. VR_ERR_NOMEM, VR_ERR_IO. */
enum vr_status vr_event_writer_start(struct vr_state *state, struct vr_event_writer **out);

/* VR_ERR_BUSY, VR_ERR_CLOSED. */
enum vr_status vr_event_writer_submit(struct vr_event_writer *writer, struct vr_event_ticket *ticket);

/* Take no more, finish what waits, end the thread; then free. */
void vr_event_writer_stop(struct vr_event_writer *writer);
void vr_event_writer_destroy(struct vr_event_writer *writer); /* stops; NULL is accepted */

#endif
