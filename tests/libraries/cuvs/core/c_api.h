/* Stand-in (standin.h): all of the C API that knn_cuvs.c calls; the other headers include this one. */
#ifndef VIREO_STANDIN_CUVS_H
#define VIREO_STANDIN_CUVS_H

#include <dlpack/dlpack.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum { CUVS_ERROR = 0, CUVS_SUCCESS = 1 } cuvsError_t;
typedef enum { L2Expanded = 0, InnerProduct = 6 } cuvsDistanceType;
typedef enum { CUVS_DATASET_MEM_TYPE_HOST = 0, CUVS_DATASET_MEM_TYPE_DEVICE } cuvsDatasetMemType_t;
enum cuvsFilterType { NO_FILTER = 0 };
enum cuvsCagraGraphBuildAlgo { AUTO_SELECT = 0, IVF_PQ, NN_DESCENT };
typedef struct CUstream_st *cudaStream_t;
typedef uintptr_t cuvsResources_t;
typedef struct {
    uintptr_t addr;
    enum cuvsFilterType type;
} cuvsFilter;
typedef struct standin_cuvs_index *cuvsBruteForceIndex_t, *cuvsIvfFlatIndex_t, *cuvsIvfPqIndex_t, *cuvsCagraIndex_t;
typedef struct standin_cuvs_dataset *cuvsDataset_t;

typedef struct cuvsIndexParams {
    cuvsDistanceType metric;
    bool conservative_memory_allocation;
    uint32_t n_lists, pq_bits, pq_dim;
    size_t graph_degree;
    enum cuvsCagraGraphBuildAlgo build_algo;
} * cuvsIvfFlatIndexParams_t, *cuvsIvfPqIndexParams_t, *cuvsCagraIndexParams_t;
typedef struct cuvsSearchParams {
    uint32_t n_probes;
    size_t itopk_size;
} * cuvsIvfFlatSearchParams_t, *cuvsIvfPqSearchParams_t, *cuvsCagraSearchParams_t;

const char *cuvsGetLastErrorText(void);
cuvsError_t cuvsResourcesCreate(cuvsResources_t *res);
cuvsError_t cuvsResourcesDestroy(cuvsResources_t res);
cuvsError_t cuvsStreamSet(cuvsResources_t res, cudaStream_t stream);
cuvsError_t cuvsResourcesSetWorkspacePool(cuvsResources_t res, size_t bytes);

cuvsError_t cuvsDatasetMakePaddedView(cuvsResources_t res, DLManagedTensor *from, cuvsDataset_t *out);
cuvsError_t cuvsDatasetMakePadded(cuvsResources_t res, DLManagedTensor *from, cuvsDatasetMemType_t to,
                                  cuvsDataset_t *out);
cuvsError_t cuvsDatasetDestroy(cuvsDataset_t dataset);

#define STANDIN_KIND(Kind)                                           \
    cuvsError_t cuvs##Kind##IndexCreate(cuvs##Kind##Index_t *index); \
    cuvsError_t cuvs##Kind##IndexDestroy(cuvs##Kind##Index_t index)
#define STANDIN_PARAMS(Kind)                                                        \
    cuvsError_t cuvs##Kind##IndexParamsCreate(cuvs##Kind##IndexParams_t *params);   \
    cuvsError_t cuvs##Kind##IndexParamsDestroy(cuvs##Kind##IndexParams_t params);   \
    cuvsError_t cuvs##Kind##SearchParamsCreate(cuvs##Kind##SearchParams_t *params); \
    cuvsError_t cuvs##Kind##SearchParamsDestroy(cuvs##Kind##SearchParams_t params)
STANDIN_KIND(BruteForce);
STANDIN_KIND(IvfFlat);
STANDIN_KIND(IvfPq);
STANDIN_KIND(Cagra);
STANDIN_PARAMS(IvfFlat);
STANDIN_PARAMS(IvfPq);
STANDIN_PARAMS(Cagra);

cuvsError_t cuvsBruteForceBuild(cuvsResources_t res, DLManagedTensor *vectors, cuvsDistanceType metric, float arg,
                                cuvsBruteForceIndex_t index);
cuvsError_t cuvsIvfFlatBuild(cuvsResources_t res, cuvsIvfFlatIndexParams_t params, DLManagedTensor *vectors,
                             cuvsIvfFlatIndex_t index);
cuvsError_t cuvsIvfPqBuild(cuvsResources_t res, cuvsIvfPqIndexParams_t params, DLManagedTensor *vectors,
                           cuvsIvfPqIndex_t index);
cuvsError_t cuvsCagraBuild(cuvsResources_t res, cuvsCagraIndexParams_t params, cuvsDataset_t dataset,
                           cuvsCagraIndex_t index);
cuvsError_t cuvsBruteForceSearch(cuvsResources_t res, cuvsBruteForceIndex_t index, DLManagedTensor *query,
                                 DLManagedTensor *id, DLManagedTensor *score, cuvsFilter filter);
cuvsError_t cuvsIvfFlatSearch(cuvsResources_t res, cuvsIvfFlatSearchParams_t params, cuvsIvfFlatIndex_t index,
                              DLManagedTensor *query, DLManagedTensor *id, DLManagedTensor *score, cuvsFilter filter);
cuvsError_t cuvsIvfPqSearch(cuvsResources_t res, cuvsIvfPqSearchParams_t params, cuvsIvfPqIndex_t index,
                            DLManagedTensor *query, DLManagedTensor *id, DLManagedTensor *score);
cuvsError_t cuvsCagraSearch(cuvsResources_t res, cuvsCagraSearchParams_t params, cuvsCagraIndex_t index,
                            DLManagedTensor *query, DLManagedTensor *id, DLManagedTensor *score, cuvsFilter filter);

#ifdef __cplusplus
}
#endif
#endif
