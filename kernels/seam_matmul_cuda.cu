/* cuBLASLt on a GPU (seam_matmul.h): the one file that calls it.
 *
 * cuBLASLt's matrices are stored by columns. Ours, read so, are transposed, and the product is made as
 * y^T [out, rows] = weight [out, in] * x^T [in, rows]: A is weight, transposed once more, B is x, and the bias runs
 * along the columns of y^T, as the epilogue has it. */
#include <cublasLt.h>

#include <new>

#include "seam_matmul.h"

struct vr_seam_library {
    cublasLtHandle_t handle;
};

/* Opaque descriptors by value: a call changes its own copies (rows, the bias' address) and no family, since lanes run
 * side by side. */
struct vr_seam_matmul {
    cublasLtHandle_t handle;
    vr_seam_matmul_shape shape;
    cublasLtMatmulDescOpaque_t product;
    cublasLtMatrixLayoutOpaque_t weight, x, y; /* x and y with no more than VR_SEAM_MATMUL_ROWS rows */
    cublasLtMatmulAlgo_t algorithm;
};

namespace
{

enum vr_status status_of(cublasStatus_t error, const char *what)
{
    switch (error) {
    case CUBLAS_STATUS_SUCCESS: return VR_OK;
    case CUBLAS_STATUS_ALLOC_FAILED: return vr_fail(VR_ERR_NOMEM, "%s: %s", what, cublasLtGetStatusString(error));
    case CUBLAS_STATUS_NOT_SUPPORTED:
        return vr_fail(VR_ERR_UNSUPPORTED, "%s: %s", what, cublasLtGetStatusString(error));
    default: return vr_fail(VR_ERR_BACKEND, "%s: %s", what, cublasLtGetStatusString(error));
    }
}

/* The first thing that went wrong of several settings. */
struct settings {
    cublasStatus_t first = CUBLAS_STATUS_SUCCESS;
    void add(cublasStatus_t error)
    {
        first = first == CUBLAS_STATUS_SUCCESS ? error : first;
    }
};

template <typename T>
void set(settings &all, cublasLtMatmulDesc_t product, cublasLtMatmulDescAttributes_t what, const T &value)
{
    all.add(cublasLtMatmulDescSetAttribute(product, what, &value, sizeof value));
}

template <typename T>
void set(settings &all, cublasLtMatrixLayout_t layout, cublasLtMatrixLayoutAttribute_t what, const T &value)
{
    all.add(cublasLtMatrixLayoutSetAttribute(layout, what, &value, sizeof value));
}

template <typename T>
void set(settings &all, cublasLtMatmulPreference_t preference, cublasLtMatmulPreferenceAttributes_t what,
         const T &value)
{
    all.add(cublasLtMatmulPreferenceSetAttribute(preference, what, &value, sizeof value));
}

cublasLtEpilogue_t epilogue_of(const vr_seam_matmul_shape &shape)
{
    if (shape.has_bias) {
        return shape.relu ? CUBLASLT_EPILOGUE_RELU_BIAS : CUBLASLT_EPILOGUE_BIAS;
    }
    return shape.relu ? CUBLASLT_EPILOGUE_RELU : CUBLASLT_EPILOGUE_DEFAULT;
}

void describe_product(settings &all, const vr_seam_matmul_shape &shape, cublasLtMatmulDesc_t product)
{
    all.add(cublasLtMatmulDescInit(product, CUBLAS_COMPUTE_32F, CUDA_R_32F));
    set(all, product, CUBLASLT_MATMUL_DESC_TRANSA, CUBLAS_OP_T);
    set(all, product, CUBLASLT_MATMUL_DESC_TRANSB, CUBLAS_OP_N);
    set(all, product, CUBLASLT_MATMUL_DESC_EPILOGUE, epilogue_of(shape));
    if (shape.has_bias) {
        set(all, product, CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, shape.y_half ? CUDA_R_16F : CUDA_R_32F);
        set(all, product, CUBLASLT_MATMUL_DESC_BIAS_BATCH_STRIDE, static_cast<int64_t>(shape.bias_step));
        /* An aligned address for the heuristic to look at, never read; each call sets its own. */
        set(all, product, CUBLASLT_MATMUL_DESC_BIAS_POINTER, reinterpret_cast<const void *>(uintptr_t{256}));
    }
}

void describe(settings &all, cublasLtMatrixLayout_t layout, cudaDataType_t type, uint64_t rows, uint64_t columns,
              uint32_t stride, uint32_t batch, size_t step)
{
    all.add(cublasLtMatrixLayoutInit(layout, type, rows, columns, stride));
    set(all, layout, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, static_cast<int32_t>(batch));
    set(all, layout, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, static_cast<int64_t>(step));
}

/* The library's first choice for VR_SEAM_MATMUL_ROWS rows among algorithms that split no sum. */
enum vr_status choose(struct vr_seam_matmul *matmul)
{
    cublasLtMatmulPreferenceOpaque_t preference;
    settings all;
    all.add(cublasLtMatmulPreferenceInit(&preference));
    set(all, &preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, static_cast<uint64_t>(VR_SEAM_MATMUL_WORKSPACE));
    set(all, &preference, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
        static_cast<uint32_t>(CUBLASLT_REDUCTION_SCHEME_NONE));
    for (const cublasLtMatmulPreferenceAttributes_t what :
         {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
          CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES}) {
        set(all, &preference, what, uint32_t{16});
    }
    if (all.first != CUBLAS_STATUS_SUCCESS) {
        return status_of(all.first, "matmul preference");
    }
    cublasLtMatmulHeuristicResult_t found = {};
    int count = 0;
    const cublasStatus_t error =
        cublasLtMatmulAlgoGetHeuristic(matmul->handle, &matmul->product, &matmul->weight, &matmul->x, &matmul->y,
                                       &matmul->y, &preference, 1, &found, &count);
    if (error != CUBLAS_STATUS_SUCCESS || count == 0) {
        return status_of(error != CUBLAS_STATUS_SUCCESS ? error : CUBLAS_STATUS_NOT_SUPPORTED, "matmul algorithm");
    }
    matmul->algorithm = found.algo;
    return status_of(found.state, "matmul algorithm");
}

} // namespace

enum vr_status vr_seam_library_open(struct vr_seam_library **out)
{
    enum vr_status status = vr_seam_enter(VR_SEAM_OPEN, "library");
    cublasLtHandle_t handle = nullptr;
    if (status == VR_OK) {
        status = status_of(cublasLtCreate(&handle), "cuBLASLt");
    }
    if (status != VR_OK) {
        return status;
    }
    *out = new (std::nothrow) vr_seam_library{handle};
    if (*out == nullptr) {
        (void)cublasLtDestroy(handle);
        return vr_fail(VR_ERR_NOMEM, "no memory for cuBLASLt");
    }
    return VR_OK;
}

void vr_seam_library_close(struct vr_seam_library *library)
{
    if (library != nullptr) {
        (void)cublasLtDestroy(library->handle);
        delete library;
    }
}

enum vr_status vr_seam_matmul_create(struct vr_seam_library *library, const struct vr_seam_matmul_shape *shape,
                                     struct vr_seam_matmul **out)
{
    enum vr_status status = vr_seam_enter(VR_SEAM_OPEN, "matmul");
    if (status != VR_OK) {
        return status;
    }
    struct vr_seam_matmul *matmul = new (std::nothrow) vr_seam_matmul{};
    if (matmul == nullptr) {
        return vr_fail(VR_ERR_NOMEM, "no memory for a product");
    }
    matmul->handle = library->handle;
    matmul->shape = *shape;
    settings all;
    describe_product(all, *shape, &matmul->product);
    describe(all, &matmul->weight, CUDA_R_16F, shape->in, shape->out, shape->weight_stride, shape->batch,
             shape->weight_step);
    describe(all, &matmul->x, CUDA_R_16F, shape->in, VR_SEAM_MATMUL_ROWS, shape->x_stride, shape->batch, shape->x_step);
    describe(all, &matmul->y, shape->y_half ? CUDA_R_16F : CUDA_R_32F, shape->out, VR_SEAM_MATMUL_ROWS, shape->y_stride,
             shape->batch, shape->y_step);
    status = status_of(all.first, "matmul descriptors");
    status = status == VR_OK ? choose(matmul) : status;
    if (status != VR_OK) {
        delete matmul;
        return status;
    }
    *out = matmul;
    return VR_OK;
}

void vr_seam_matmul_destroy(struct vr_seam_matmul *matmul)
{
    delete matmul;
}

enum vr_status vr_seam_matmul_run(struct vr_seam_stream *stream, const struct vr_seam_matmul *matmul, uint32_t rows,
                                  const void *x, const void *weight, const void *bias, void *y, void *workspace)
{
    const enum vr_status status = vr_seam_launch_begin(stream, "matmul");
    if (status != VR_OK) {
        return status;
    }
    cublasLtMatmulDescOpaque_t product = matmul->product;
    cublasLtMatrixLayoutOpaque_t weight_layout = matmul->weight, x_layout = matmul->x, y_layout = matmul->y;
    settings all;
    if (matmul->shape.has_bias) {
        set(all, &product, CUBLASLT_MATMUL_DESC_BIAS_POINTER, bias);
    }
    set(all, &x_layout, CUBLASLT_MATRIX_LAYOUT_COLS, uint64_t{rows});
    set(all, &y_layout, CUBLASLT_MATRIX_LAYOUT_COLS, uint64_t{rows});
    const float one = 1.0f, zero = 0.0f;
    if (all.first == CUBLAS_STATUS_SUCCESS) {
        all.add(cublasLtMatmul(matmul->handle, &product, &one, weight, &weight_layout, x, &x_layout, &zero, y,
                               &y_layout, y, &y_layout, &matmul->algorithm, workspace, VR_SEAM_MATMUL_WORKSPACE,
                               static_cast<cudaStream_t>(vr_seam_launch_on(stream))));
    }
    return status_of(all.first, "matmul");
}
