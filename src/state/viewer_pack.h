/* A viewer's record as one run of bytes, for drivers: what is kept and in what order is in viewer_pack.c. */
#ifndef VIREO_STATE_VIEWER_PACK_H
#define VIREO_STATE_VIEWER_PACK_H

#include "viewer_record.h"

size_t vr_viewer_pack_bytes(const struct vr_viewer_record *record);
void vr_viewer_pack(const struct vr_viewer_record *record, char *out); /* [vr_viewer_pack_bytes] */

/* A new record of these bytes, which the caller frees. VR_ERR_FORMAT (they are none of a record), VR_ERR_NOMEM. */
enum vr_status vr_viewer_unpack(const void *data, size_t len, struct vr_viewer_record **out);

#endif
