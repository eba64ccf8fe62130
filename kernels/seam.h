/* The one seam between this room and the CUDA API: devices, memory, streams, copies, launches, graphs. Two files
 * implement it, seam_cuda.cu on a GPU and emulator/seam_emulator.cc in tests, and every call passes vr_seam_enter
 * (seam_fault.c) first, which tests can make fail: so each failure of a device is tested without one.
 *
 * Errors: VR_ERR_NOMEM when memory is out, VR_ERR_DEVICE_LOST when the device's context is beyond use (every later call
 * fails alike; only a new process helps), VR_ERR_UNSUPPORTED for no driver, no device or one that is too old,
 * VR_ERR_BACKEND for all else; the text holds CUDA's own words. */
#ifndef VIREO_KERNELS_SEAM_H
#define VIREO_KERNELS_SEAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vireo/status.h"

#ifdef __cplusplus
extern "C" {
#endif

struct vr_seam_stream;
struct vr_seam_graph;

/* What is known of the device that was opened. */
struct vr_seam_device {
    char name[64];
    int major, minor;         /* compute capability */
    unsigned processors;      /* streaming multiprocessors */
    size_t shared_bytes;      /* that one block can be given */
    size_t memory_bytes;      /* in all */
    size_t memory_free_bytes; /* when it was opened */
};

enum vr_status vr_seam_open(struct vr_seam_device *out);

/* Memory of the device, or of the host where the device can reach it (pinned). Zeroed. */
enum vr_status vr_seam_memory_create(bool pinned, size_t bytes, void **out);
void vr_seam_memory_destroy(bool pinned, void *memory); /* NULL is accepted */

enum vr_status vr_seam_stream_create(struct vr_seam_stream **out);
/* Does not wait: work in flight goes on, with the memory that it was given. NULL is accepted. */
void vr_seam_stream_destroy(struct vr_seam_stream *stream);
enum vr_status vr_seam_stream_poll(struct vr_seam_stream *stream, bool *done); /* never waits */

/* What is put on `stream` from here on begins once all that has been put on `other` has ended. Not while either is
 * captured. */
enum vr_status vr_seam_stream_follow(struct vr_seam_stream *stream, struct vr_seam_stream *other);

/* Between any two places that vr_seam_memory_create gave; in the stream's order. */
enum vr_status vr_seam_copy(struct vr_seam_stream *stream, void *to, const void *from, size_t bytes);
enum vr_status vr_seam_fill(struct vr_seam_stream *stream, void *to, int byte, size_t bytes); /* device memory */

/* Around a kernel launch (kernel.cuh's vr_launch); `on` is CUDA's own handle. */
enum vr_status vr_seam_launch_begin(struct vr_seam_stream *stream, const char *name);
void *vr_seam_launch_on(struct vr_seam_stream *stream);
enum vr_status vr_seam_launch_end(struct vr_seam_stream *stream, const char *name);
enum vr_status vr_seam_allow_shared(const void *kernel, size_t bytes);

/* What is put on the stream between begin and end is recorded with its arguments, not run. */
enum vr_status vr_seam_capture_begin(struct vr_seam_stream *stream);
enum vr_status vr_seam_capture_end(struct vr_seam_stream *stream, struct vr_seam_graph **out);
enum vr_status vr_seam_graph_launch(struct vr_seam_stream *stream, struct vr_seam_graph *graph);
void vr_seam_graph_destroy(struct vr_seam_graph *graph); /* NULL is accepted */

/* ---- faults, for tests ---- */

enum vr_seam_call {
    VR_SEAM_OPEN = 0,
    VR_SEAM_MEMORY,
    VR_SEAM_STREAM,
    VR_SEAM_POLL,
    VR_SEAM_COPY,
    VR_SEAM_FILL,
    VR_SEAM_LAUNCH,
    VR_SEAM_CAPTURE,
    VR_SEAM_GRAPH,
};
#define VR_SEAM_CALLS 9u

enum vr_seam_failure {
    VR_SEAM_FAIL_ONCE = 0, /* VR_ERR_BACKEND, this call alone */
    VR_SEAM_FAIL_NOMEM,    /* VR_ERR_NOMEM, this call alone */
    VR_SEAM_FAIL_LOST,     /* VR_ERR_DEVICE_LOST, and every call from here on */
    VR_SEAM_FAIL_ABSENT,   /* VR_ERR_UNSUPPORTED, this call alone: no driver, no device */
    VR_SEAM_FAIL_HANG,     /* the call is made, and no poll says done from here on */
};

/* The `at`-th call from now on (1 is the next), of `call` or, with VR_SEAM_CALLS, of any kind, fails. */
void vr_seam_fail(uint32_t call, uint64_t at, enum vr_seam_failure failure);
void vr_seam_heal(void);               /* no failure is pending, nothing is lost or hangs */
uint64_t vr_seam_calls(uint32_t call); /* so far, of one kind or of all */
enum vr_status vr_seam_enter(enum vr_seam_call call, const char *name); /* the implementations' first line */
bool vr_seam_hangs(void);
bool vr_seam_is_lost(void);

#ifdef __cplusplus
}
#endif
#endif
