/* cuVS behind knn.h, through its C API: the one file that sees its headers. Written against 26.08 and newer. */
#include <stdlib.h>

#include <cuvs/core/c_api.h>
#include <cuvs/core/dataset.h>
#include <cuvs/neighbors/brute_force.h>
#include <cuvs/neighbors/cagra.h>
#include <cuvs/neighbors/ivf_flat.h>
#include <cuvs/neighbors/ivf_pq.h>

#include "knn.h"

extern const struct vr_knn_library vr_knn_cuvs;

#define DEVICE 0
#define GRAPH_DEGREE 64u
#define WIDTH_STEP 32u /* CAGRA keeps rows in blocks of so many */

/* Handles that were not made are NULL, and 0 for resources. */
struct vr_knn {
    enum vr_index_kind kind;
    uint32_t dim;
    cuvsResources_t resources;
    cuvsBruteForceIndex_t flat; /* reads the caller's vectors where they lie, as does cagra */
    cuvsIvfFlatIndex_t ivf;
    cuvsIvfFlatSearchParams_t ivf_params;
    cuvsIvfPqIndex_t ivfpq;
    cuvsIvfPqSearchParams_t ivfpq_params;
    cuvsCagraIndex_t cagra;
    cuvsCagraSearchParams_t cagra_params;
    cuvsDataset_t dataset; /* of cagra */
};

/* Success is 1 there. The text is the thread's. */
static enum vr_status said(cuvsError_t result)
{
    const char *text = result == CUVS_SUCCESS ? NULL : cuvsGetLastErrorText();
    return result == CUVS_SUCCESS ? VR_OK : vr_knn_fail("cuvs", text != NULL ? text : "no reason given");
}

/* A matrix [rows, columns] on the device, as cuVS takes it. The shape belongs to the object: do not copy it. */
struct matrix {
    int64_t shape[2];
    DLManagedTensor tensor;
};

static DLManagedTensor *matrix(struct matrix *out, const void *data, size_t rows, size_t columns, uint8_t code,
                               uint8_t bits)
{
    *out = (struct matrix){.shape = {(int64_t)rows, (int64_t)columns}};
    out->tensor.dl_tensor = (DLTensor){
        .data = (void *)data, /* the API has no const */
        .device = {kDLCUDA, DEVICE},
        .ndim = 2,
        .dtype = {code, bits, 1},
        .shape = out->shape,
    };
    return &out->tensor;
}

/* ---- making ---- */

static enum vr_status build_flat(struct vr_knn *knn, const struct vr_knn_spec *spec, DLManagedTensor *vectors)
{
    (void)spec;
    const enum vr_status status = said(cuvsBruteForceIndexCreate(&knn->flat));
    return status == VR_OK ? said(cuvsBruteForceBuild(knn->resources, vectors, InnerProduct, 0.0f, knn->flat)) : status;
}

static enum vr_status build_ivf(struct vr_knn *knn, const struct vr_knn_spec *spec, DLManagedTensor *vectors)
{
    cuvsIvfFlatIndexParams_t params = NULL;
    enum vr_status status = said(cuvsIvfFlatIndexParamsCreate(&params));
    if (status != VR_OK) {
        return status;
    }
    params->metric = InnerProduct;
    params->n_lists = spec->lists;
    params->conservative_memory_allocation = true;
    status = said(cuvsIvfFlatSearchParamsCreate(&knn->ivf_params));
    if (status == VR_OK) {
        knn->ivf_params->n_probes = spec->probes;
        status = said(cuvsIvfFlatIndexCreate(&knn->ivf));
    }
    if (status == VR_OK) {
        status = said(cuvsIvfFlatBuild(knn->resources, params, vectors, knn->ivf));
    }
    (void)cuvsIvfFlatIndexParamsDestroy(params);
    return status;
}

static enum vr_status build_ivfpq(struct vr_knn *knn, const struct vr_knn_spec *spec, DLManagedTensor *vectors)
{
    cuvsIvfPqIndexParams_t params = NULL;
    enum vr_status status = said(cuvsIvfPqIndexParamsCreate(&params));
    if (status != VR_OK) {
        return status;
    }
    params->metric = InnerProduct;
    params->n_lists = spec->lists;
    params->pq_bits = 8;
    params->pq_dim = vr_knn_code_bytes(spec->dim);
    params->conservative_memory_allocation = true;
    status = said(cuvsIvfPqSearchParamsCreate(&knn->ivfpq_params));
    if (status == VR_OK) {
        knn->ivfpq_params->n_probes = spec->probes;
        status = said(cuvsIvfPqIndexCreate(&knn->ivfpq));
    }
    if (status == VR_OK) {
        status = said(cuvsIvfPqBuild(knn->resources, params, vectors, knn->ivfpq));
    }
    (void)cuvsIvfPqIndexParamsDestroy(params);
    return status;
}

/* Rows that do not begin at multiples of 16 bytes are copied. */
static enum vr_status make_dataset(struct vr_knn *knn, DLManagedTensor *vectors)
{
    return knn->dim % 4 == 0
               ? said(cuvsDatasetMakePaddedView(knn->resources, vectors, &knn->dataset))
               : said(cuvsDatasetMakePadded(knn->resources, vectors, CUVS_DATASET_MEM_TYPE_DEVICE, &knn->dataset));
}

static enum vr_status build_cagra(struct vr_knn *knn, const struct vr_knn_spec *spec, DLManagedTensor *vectors)
{
    (void)spec;
    cuvsCagraIndexParams_t params = NULL;
    enum vr_status status = said(cuvsCagraIndexParamsCreate(&params));
    if (status != VR_OK) {
        return status;
    }
    params->metric = InnerProduct;
    params->graph_degree = GRAPH_DEGREE;
    params->build_algo = NN_DESCENT; /* needs no codes, so any dimensions do */
    status = said(cuvsCagraSearchParamsCreate(&knn->cagra_params));
    if (status == VR_OK) {
        status = make_dataset(knn, vectors);
    }
    if (status == VR_OK) {
        status = said(cuvsCagraIndexCreate(&knn->cagra));
    }
    if (status == VR_OK) {
        status = said(cuvsCagraBuild(knn->resources, params, knn->dataset, knn->cagra));
    }
    (void)cuvsCagraIndexParamsDestroy(params);
    return status;
}

static enum vr_status build(struct vr_knn *knn, const struct vr_knn_spec *spec)
{
    struct matrix vectors;
    DLManagedTensor *tensor = matrix(&vectors, spec->vector, spec->rows, spec->dim, kDLFloat, 32);
    switch (spec->kind) {
    case VR_INDEX_CUVS_IVF: return build_ivf(knn, spec, tensor);
    case VR_INDEX_CUVS_IVFPQ: return build_ivfpq(knn, spec, tensor);
    case VR_INDEX_CUVS_CAGRA: return build_cagra(knn, spec, tensor);
    default: return build_flat(knn, spec, tensor);
    }
}

/* The index before what it reads, the handles last. What fails here has nobody to be told. */
static void destroy(struct vr_knn *knn)
{
    if (knn->flat != NULL) {
        (void)cuvsBruteForceIndexDestroy(knn->flat);
    }
    if (knn->ivf != NULL) {
        (void)cuvsIvfFlatIndexDestroy(knn->ivf);
    }
    if (knn->ivf_params != NULL) {
        (void)cuvsIvfFlatSearchParamsDestroy(knn->ivf_params);
    }
    if (knn->ivfpq != NULL) {
        (void)cuvsIvfPqIndexDestroy(knn->ivfpq);
    }
    if (knn->ivfpq_params != NULL) {
        (void)cuvsIvfPqSearchParamsDestroy(knn->ivfpq_params);
    }
    if (knn->cagra != NULL) {
        (void)cuvsCagraIndexDestroy(knn->cagra);
    }
    if (knn->cagra_params != NULL) {
        (void)cuvsCagraSearchParamsDestroy(knn->cagra_params);
    }
    if (knn->dataset != NULL) {
        (void)cuvsDatasetDestroy(knn->dataset);
    }
    if (knn->resources != 0) {
        (void)cuvsResourcesDestroy(knn->resources);
    }
    free(knn);
}

/* Resources on our stream, with memory for searches set aside: else each of them would take it from the driver. */
static enum vr_status open_resources(struct vr_knn *knn, const struct vr_knn_spec *spec)
{
    enum vr_status status = said(cuvsResourcesCreate(&knn->resources));
    if (status == VR_OK) {
        status = said(cuvsStreamSet(knn->resources, spec->stream));
    }
    return status == VR_OK ? said(cuvsResourcesSetWorkspacePool(knn->resources, VR_KNN_RESERVE)) : status;
}

static enum vr_status create(const struct vr_knn_spec *spec, struct vr_knn **out)
{
    struct vr_knn *knn = calloc(1, sizeof *knn);
    if (knn == NULL) {
        return vr_fail(VR_ERR_NOMEM, "no memory for an index");
    }
    knn->kind = spec->kind;
    knn->dim = spec->dim;
    enum vr_status status = open_resources(knn, spec);
    if (status == VR_OK) {
        status = build(knn, spec);
    }
    if (status != VR_OK) {
        destroy(knn);
        return status;
    }
    *out = knn;
    return VR_OK;
}

/* ---- searching ---- */

static enum vr_status search(struct vr_knn *knn, uint32_t queries, const float *query, uint32_t k, int64_t *id,
                             float *score)
{
    const cuvsFilter none = {0, NO_FILTER};
    struct matrix at[3];
    DLManagedTensor *x = matrix(&at[0], query, queries, knn->dim, kDLFloat, 32);
    DLManagedTensor *found = matrix(&at[1], id, queries, k, kDLInt, 64);
    DLManagedTensor *scores = matrix(&at[2], score, queries, k, kDLFloat, 32);
    switch (knn->kind) {
    case VR_INDEX_CUVS_IVF:
        return said(cuvsIvfFlatSearch(knn->resources, knn->ivf_params, knn->ivf, x, found, scores, none));
    case VR_INDEX_CUVS_IVFPQ:
        return said(cuvsIvfPqSearch(knn->resources, knn->ivfpq_params, knn->ivfpq, x, found, scores));
    case VR_INDEX_CUVS_CAGRA:
        knn->cagra_params->itopk_size = (k + WIDTH_STEP - 1) / WIDTH_STEP * WIDTH_STEP;
        return said(cuvsCagraSearch(knn->resources, knn->cagra_params, knn->cagra, x, found, scores, none));
    default: return said(cuvsBruteForceSearch(knn->resources, knn->flat, x, found, scores, none));
    }
}

static uint64_t memory(const struct vr_knn_spec *spec)
{
    const uint64_t rows = spec->rows, dim = spec->dim, centroids = spec->lists * dim * sizeof(float);
    switch (spec->kind) {
    case VR_INDEX_CUVS_IVF: return VR_KNN_RESERVE + centroids + rows * (dim * sizeof(float) + sizeof(int64_t));
    case VR_INDEX_CUVS_IVFPQ:
        return VR_KNN_RESERVE + 2 * centroids + rows * (vr_knn_code_bytes(spec->dim) + sizeof(int64_t));
    case VR_INDEX_CUVS_CAGRA:
        return VR_KNN_RESERVE +
               rows * (GRAPH_DEGREE * sizeof(uint32_t) + (dim % 4 == 0 ? 0 : (dim + 3) * sizeof(float)));
    default: return VR_KNN_RESERVE;
    }
}

const struct vr_knn_library vr_knn_cuvs = {
    .name = "cuvs",
    .kinds = 1u << VR_INDEX_CUVS_FLAT | 1u << VR_INDEX_CUVS_IVF | 1u << VR_INDEX_CUVS_IVFPQ | 1u << VR_INDEX_CUVS_CAGRA,
    .create = create,
    .search = search,
    .destroy = destroy,
    .memory = memory,
};
