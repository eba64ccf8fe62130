/* The spare list of buffers.h. */
#include "buffers.h"

#include <stdlib.h>
#include <string.h>

static void *next_of(const void *spare)
{
    void *next;
    memcpy(&next, spare, sizeof next);
    return next;
}

char *vr_buffer_take(struct vr_buffers *buffers, size_t bytes, size_t *capacity)
{
    char *data = buffers->spare;
    *capacity = bytes > VR_BUFFER_BYTES ? bytes : VR_BUFFER_BYTES;
    if (bytes > VR_BUFFER_BYTES || data == NULL) {
        return malloc(*capacity);
    }
    buffers->spare = next_of(data);
    buffers->count--;
    return data;
}

void vr_buffer_put(struct vr_buffers *buffers, char *data, size_t capacity)
{
    if (data == NULL || capacity != VR_BUFFER_BYTES || buffers->count >= VR_BUFFERS_KEPT) {
        free(data);
        return;
    }
    memcpy(data, &buffers->spare, sizeof buffers->spare);
    buffers->spare = data;
    buffers->count++;
}

void vr_buffers_free(struct vr_buffers *buffers)
{
    while (buffers->spare != NULL) {
        void *spare = buffers->spare;
        buffers->spare = next_of(spare);
        free(spare);
    }
    buffers->count = 0;
}
