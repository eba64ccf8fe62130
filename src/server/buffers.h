/* The byte buffers of a loop's connections: those of the usual size are kept when they are given back, so that requests
 * on warm connections take no memory from the system and idle connections hold none. One thread. */
#ifndef VIREO_SERVER_BUFFERS_H
#define VIREO_SERVER_BUFFERS_H

#include <stddef.h>
#include <stdint.h>

#define VR_BUFFER_BYTES 16384u /* the usual size */
#define VR_BUFFERS_KEPT 64u

struct vr_buffers {
    void *spare; /* linked through their first bytes */
    uint32_t count;
};

/* At least `bytes` bytes: a kept buffer, or a new one of exactly max(bytes, VR_BUFFER_BYTES), said in *capacity. NULL
 * when memory is short. */
char *vr_buffer_take(struct vr_buffers *buffers, size_t bytes, size_t *capacity);
/* Give back what vr_buffer_take gave; NULL is accepted. */
void vr_buffer_put(struct vr_buffers *buffers, char *data, size_t capacity);
void vr_buffers_free(struct vr_buffers *buffers);

#endif
