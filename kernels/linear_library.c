/* linear by cuBLASLt (linear.h): the families of shapes that have been made ready. They are made under a lock, found
 * without one: an entry is never changed once the count covers it. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "linear.h"
#include "seam_matmul.h"

#define FAMILIES 64u

struct family {
    struct vr_seam_matmul_shape shape;
    struct vr_seam_matmul *matmul;
};

struct vr_linear_library {
    struct vr_seam_library *seam;
    pthread_mutex_t lock; /* of making a family */
    atomic_uint count;
    struct family family[FAMILIES];
};

static bool is_same(const struct vr_seam_matmul_shape *a, const struct vr_seam_matmul_shape *b)
{
    return a->in == b->in && a->out == b->out && a->batch == b->batch && a->x_stride == b->x_stride &&
           a->weight_stride == b->weight_stride && a->y_stride == b->y_stride && a->x_step == b->x_step &&
           a->weight_step == b->weight_step && a->bias_step == b->bias_step && a->y_step == b->y_step &&
           a->y_half == b->y_half && a->has_bias == b->has_bias && a->relu == b->relu;
}

static struct vr_seam_matmul_shape shape_of(const struct vr_linear *args)
{
    const bool many = args->batch > 1;
    return (struct vr_seam_matmul_shape){
        .in = args->in,
        .out = args->out,
        .batch = many ? args->batch : 1,
        .x_stride = args->x_stride,
        .weight_stride = args->weight_stride,
        .y_stride = args->y_stride,
        .x_step = many ? args->x_step : 0,
        .weight_step = many ? args->weight_step : 0,
        .bias_step = many && args->has_bias ? args->bias_step : 0,
        .y_step = many ? args->y_step : 0,
        .y_half = args->y_element == VR_ELEMENT_F16,
        .has_bias = args->has_bias,
        .relu = args->activation == VR_LINEAR_RELU,
    };
}

static const struct vr_seam_matmul *find(struct vr_linear_library *library, const struct vr_seam_matmul_shape *shape)
{
    const unsigned count = atomic_load_explicit(&library->count, memory_order_acquire);
    for (unsigned i = 0; i < count; i++) {
        if (is_same(&library->family[i].shape, shape)) {
            return library->family[i].matmul;
        }
    }
    return NULL;
}

/* Under the lock; another lane may have made it meanwhile. */
static enum vr_status make(struct vr_linear_library *library, const struct vr_seam_matmul_shape *shape,
                           const struct vr_seam_matmul **out)
{
    *out = find(library, shape);
    if (*out != NULL) {
        return VR_OK;
    }
    const unsigned count = atomic_load(&library->count);
    if (count == FAMILIES) {
        return vr_fail(VR_ERR_UNSUPPORTED, "linear: more than %u families of shapes", FAMILIES);
    }
    struct vr_seam_matmul *matmul = NULL;
    const enum vr_status status = vr_seam_matmul_create(library->seam, shape, &matmul);
    if (status == VR_OK) {
        library->family[count] = (struct family){*shape, matmul};
        atomic_store_explicit(&library->count, count + 1, memory_order_release);
        *out = matmul;
    }
    return status;
}

enum vr_status vr_linear_library_open(struct vr_linear_library **out)
{
    struct vr_linear_library *library = calloc(1, sizeof *library);
    if (library == NULL || pthread_mutex_init(&library->lock, NULL) != 0) {
        free(library);
        return vr_fail(VR_ERR_NOMEM, "no memory for a library of products");
    }
    const enum vr_status status = vr_seam_library_open(&library->seam);
    if (status != VR_OK) {
        vr_linear_library_close(library);
        return status;
    }
    *out = library;
    return VR_OK;
}

void vr_linear_library_close(struct vr_linear_library *library)
{
    if (library == NULL) {
        return;
    }
    for (unsigned i = 0; i < atomic_load(&library->count); i++) {
        vr_seam_matmul_destroy(library->family[i].matmul);
    }
    vr_seam_library_close(library->seam);
    pthread_mutex_destroy(&library->lock);
    free(library);
}

static enum vr_status ready(struct vr_stream *stream, const struct vr_seam_matmul_shape *shape,
                            const struct vr_seam_matmul **out)
{
    struct vr_linear_library *library = stream->device->library;
    *out = find(library, shape);
    if (*out != NULL && stream->matmul_workspace != NULL) {
        return VR_OK;
    }
    if (stream->capturing) {
        return vr_fail(VR_ERR_INVALID, "linear: a plan needs a product [%u, %u] made ready: run it once before",
                       shape->in, shape->out);
    }
    enum vr_status status = VR_OK;
    if (stream->matmul_workspace == NULL) {
        void *memory = NULL;
        status = vr_seam_memory_create(false, VR_SEAM_MATMUL_WORKSPACE, &memory);
        stream->matmul_workspace = status == VR_OK ? memory : NULL;
    }
    if (status == VR_OK && *out == NULL) {
        pthread_mutex_lock(&library->lock);
        status = make(library, shape, out);
        pthread_mutex_unlock(&library->lock);
    }
    return status;
}

enum vr_status vr_linear_library_run(struct vr_stream *stream, const struct vr_linear *args, const void *x,
                                     const void *weight, const void *bias, void *y)
{
    const struct vr_seam_matmul_shape shape = shape_of(args);
    const struct vr_seam_matmul *matmul = NULL;
    const enum vr_status status = ready(stream, &shape, &matmul);
    return status == VR_OK
               ? vr_seam_matmul_run(stream->seam, matmul, args->rows, x, weight, bias, y, stream->matmul_workspace)
               : status;
}
