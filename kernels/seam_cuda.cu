/* The CUDA API on a GPU (seam.h): the one file that calls it. */
#include <cstdlib>
#include <cstring>

#include "kernel.cuh"

namespace
{

constexpr int DEVICE = 0;
constexpr int LEAST_MAJOR = 8; /* compute capability: cp.async and mma on halves */

/* CUDA's documentation calls these sticky: the context is gone, and with it every later call of the process. */
bool is_sticky(cudaError_t error)
{
    switch (error) {
    case cudaErrorIllegalAddress:
    case cudaErrorIllegalInstruction:
    case cudaErrorMisalignedAddress:
    case cudaErrorInvalidAddressSpace:
    case cudaErrorInvalidPc:
    case cudaErrorLaunchFailure:
    case cudaErrorLaunchTimeout:
    case cudaErrorHardwareStackError:
    case cudaErrorAssert:
    case cudaErrorECCUncorrectable:
    case cudaErrorUnknown: return true;
    default: return false;
    }
}

enum vr_status status_of(cudaError_t error, const char *what)
{
    if (error == cudaSuccess) {
        return VR_OK;
    }
    enum vr_status status = is_sticky(error) ? VR_ERR_DEVICE_LOST : VR_ERR_BACKEND;
    if (error == cudaErrorMemoryAllocation) {
        status = VR_ERR_NOMEM;
    } else if (error == cudaErrorNoDevice || error == cudaErrorInsufficientDriver) {
        status = VR_ERR_UNSUPPORTED;
    }
    return vr_fail(status, "%s: %s (%s)", what, cudaGetErrorString(error), cudaGetErrorName(error));
}

cudaStream_t raw(struct vr_seam_stream *stream)
{
    return reinterpret_cast<cudaStream_t>(stream);
}

enum vr_status describe(struct vr_seam_device *out)
{
    cudaDeviceProp properties;
    enum vr_status status = status_of(cudaGetDeviceProperties(&properties, DEVICE), "device properties");
    if (status != VR_OK) {
        return status;
    }
    *out = {};
    memcpy(out->name, properties.name, sizeof out->name - 1);
    out->major = properties.major;
    out->minor = properties.minor;
    out->processors = static_cast<unsigned>(properties.multiProcessorCount);
    out->shared_bytes = properties.sharedMemPerBlockOptin;
    if (properties.major < LEAST_MAJOR) {
        return vr_fail(VR_ERR_UNSUPPORTED, "%s has compute capability %d.%d, at least %d.0 is needed", out->name,
                       properties.major, properties.minor, LEAST_MAJOR);
    }
    return status_of(cudaMemGetInfo(&out->memory_free_bytes, &out->memory_bytes), "memory");
}

} // namespace

enum vr_status vr_seam_open(struct vr_seam_device *out)
{
    enum vr_status status = vr_seam_enter(VR_SEAM_OPEN, "device");
    int count = 0; /* without a driver the call leaves it as it is */
    if (status == VR_OK) {
        status = status_of(cudaGetDeviceCount(&count), "device count");
    }
    if (status == VR_OK && count == 0) {
        status = vr_fail(VR_ERR_UNSUPPORTED, "there is no CUDA device");
    }
    if (status == VR_OK) {
        status = status_of(cudaSetDevice(DEVICE), "device");
    }
    return status == VR_OK ? describe(out) : status;
}

enum vr_status vr_seam_memory_create(bool pinned, size_t bytes, void **out)
{
    enum vr_status status = vr_seam_enter(VR_SEAM_MEMORY, pinned ? "pinned" : "device");
    void *memory = nullptr;
    if (status == VR_OK && pinned) {
        status = status_of(cudaMallocHost(&memory, bytes), "pinned memory");
    } else if (status == VR_OK) {
        status = status_of(cudaMalloc(&memory, bytes), "device memory");
    }
    if (status != VR_OK) {
        return status;
    }
    if (pinned) {
        memset(memory, 0, bytes);
    } else {
        status = status_of(cudaMemset(memory, 0, bytes), "device memory");
    }
    if (status != VR_OK) {
        vr_seam_memory_destroy(pinned, memory);
        return status;
    }
    *out = memory;
    return VR_OK;
}

void vr_seam_memory_destroy(bool pinned, void *memory)
{
    (void)(pinned ? cudaFreeHost(memory) : cudaFree(memory)); /* after a sticky error it fails, and nothing helps */
}

enum vr_status vr_seam_stream_create(struct vr_seam_stream **out)
{
    enum vr_status status = vr_seam_enter(VR_SEAM_STREAM, "create");
    cudaStream_t stream = nullptr;
    if (status == VR_OK) {
        status = status_of(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "stream");
    }
    if (status == VR_OK) {
        *out = reinterpret_cast<struct vr_seam_stream *>(stream);
    }
    return status;
}

void vr_seam_stream_destroy(struct vr_seam_stream *stream)
{
    if (stream != nullptr) {
        (void)cudaStreamDestroy(raw(stream));
    }
}

enum vr_status vr_seam_stream_poll(struct vr_seam_stream *stream, bool *done)
{
    *done = false;
    const enum vr_status status = vr_seam_enter(VR_SEAM_POLL, "stream");
    if (status != VR_OK || vr_seam_hangs()) {
        return status;
    }
    const cudaError_t error = cudaStreamQuery(raw(stream));
    if (error == cudaErrorNotReady) {
        return VR_OK;
    }
    *done = error == cudaSuccess;
    return status_of(error, "stream");
}

/* An event that is destroyed before it has come is CUDA's to keep until then. */
enum vr_status vr_seam_stream_follow(struct vr_seam_stream *stream, struct vr_seam_stream *other)
{
    enum vr_status status = vr_seam_enter(VR_SEAM_STREAM, "follow");
    cudaEvent_t event = nullptr;
    if (status == VR_OK) {
        status = status_of(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), "event");
    }
    if (status != VR_OK) {
        return status;
    }
    status = status_of(cudaEventRecord(event, raw(other)), "event record");
    if (status == VR_OK) {
        status = status_of(cudaStreamWaitEvent(raw(stream), event, 0), "event wait");
    }
    (void)cudaEventDestroy(event);
    return status;
}

enum vr_status vr_seam_copy(struct vr_seam_stream *stream, void *to, const void *from, size_t bytes)
{
    const enum vr_status status = vr_seam_enter(VR_SEAM_COPY, "memory");
    return status == VR_OK ? status_of(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, raw(stream)), "copy")
                           : status;
}

enum vr_status vr_seam_fill(struct vr_seam_stream *stream, void *to, int byte, size_t bytes)
{
    const enum vr_status status = vr_seam_enter(VR_SEAM_FILL, "memory");
    return status == VR_OK ? status_of(cudaMemsetAsync(to, byte, bytes, raw(stream)), "fill") : status;
}

enum vr_status vr_seam_launch_begin(struct vr_seam_stream *, const char *name)
{
    return vr_seam_enter(VR_SEAM_LAUNCH, name);
}

void *vr_seam_launch_on(struct vr_seam_stream *stream)
{
    return stream;
}

enum vr_status vr_seam_launch_end(struct vr_seam_stream *, const char *name)
{
    return status_of(cudaGetLastError(), name);
}

enum vr_status vr_seam_allow_shared(const void *kernel, size_t bytes)
{
    return status_of(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(bytes)),
                     "shared memory");
}

enum vr_status vr_seam_capture_begin(struct vr_seam_stream *stream)
{
    const enum vr_status status = vr_seam_enter(VR_SEAM_CAPTURE, "begin");
    return status == VR_OK
               ? status_of(cudaStreamBeginCapture(raw(stream), cudaStreamCaptureModeThreadLocal), "capture begin")
               : status;
}

enum vr_status vr_seam_capture_end(struct vr_seam_stream *stream, struct vr_seam_graph **out)
{
    cudaGraph_t graph = nullptr;
    cudaGraphExec_t executable = nullptr;
    /* Ended whatever happens: a stream left in capture refuses all work. */
    enum vr_status status = status_of(cudaStreamEndCapture(raw(stream), &graph), "capture end");
    const enum vr_status planned = vr_seam_enter(VR_SEAM_CAPTURE, "end");
    status = planned != VR_OK ? planned : status;
    if (status == VR_OK) {
        status = status_of(cudaGraphInstantiate(&executable, graph, 0), "graph");
    }
    if (graph != nullptr) {
        (void)cudaGraphDestroy(graph);
    }
    if (status == VR_OK) {
        *out = reinterpret_cast<struct vr_seam_graph *>(executable);
    }
    return status;
}

enum vr_status vr_seam_graph_launch(struct vr_seam_stream *stream, struct vr_seam_graph *graph)
{
    const enum vr_status status = vr_seam_enter(VR_SEAM_GRAPH, "launch");
    return status == VR_OK
               ? status_of(cudaGraphLaunch(reinterpret_cast<cudaGraphExec_t>(graph), raw(stream)), "graph launch")
               : status;
}

void vr_seam_graph_destroy(struct vr_seam_graph *graph)
{
    if (graph != nullptr) {
        (void)cudaGraphExecDestroy(reinterpret_cast<cudaGraphExec_t>(graph));
    }
}
