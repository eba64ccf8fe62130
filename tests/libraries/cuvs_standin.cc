// cuVS's C API over the stand-in (standin.h). Handles that were never made are refused, as are shapes and types that do
// not fit.
#include <exception>
#include <memory>
#include <stdexcept>
#include <string>

#include <cuvs/core/c_api.h>

#include "standin.hh"

struct standin_cuvs_index {
    standin::vectors data;
};
struct standin_cuvs_dataset : standin::counted {
    DLTensor of;
};

namespace
{
thread_local std::string last_error;

template <typename Body> cuvsError_t guarded(Body body)
{
    try {
        body();
        return CUVS_SUCCESS;
    } catch (const std::exception &error) {
        last_error = error.what();
        return CUVS_ERROR;
    }
}

void want(bool holds, const char *what)
{
    if (!holds) {
        throw std::runtime_error(what);
    }
}

// Parameters are counted too.
template <typename Params> struct held : Params, standin::counted {
    held() : Params()
    {
    }
};

standin::handles &handles_of(cuvsResources_t res)
{
    want(res != 0, "no resources");
    return *reinterpret_cast<standin::handles *>(res);
}

const DLTensor &matrix(const DLTensor &tensor, uint8_t code, uint8_t bits)
{
    want(tensor.device.device_type == kDLCUDA && tensor.ndim == 2 && tensor.strides == nullptr &&
             tensor.byte_offset == 0 && tensor.dtype.code == code && tensor.dtype.bits == bits &&
             tensor.dtype.lanes == 1,
         "not the matrix that is wanted");
    return tensor;
}

void build(cuvsResources_t res, const DLTensor &vectors, standin_cuvs_index *index, bool copied)
{
    want(index != nullptr, "no index");
    matrix(vectors, kDLFloat, 32);
    index->data.build(handles_of(res), static_cast<size_t>(vectors.shape[0]), static_cast<size_t>(vectors.shape[1]),
                      static_cast<const float *>(vectors.data), copied);
}

void want_lists(const cuvsIndexParams &params, const DLTensor &vectors)
{
    want(params.metric == InnerProduct && params.n_lists > 0 && params.n_lists <= vectors.shape[0],
         "lists do not fit the rows");
}

void search(cuvsResources_t res, const standin_cuvs_index *index, const DLManagedTensor *query,
            const DLManagedTensor *id, const DLManagedTensor *score)
{
    want(index != nullptr && index->data.vector != nullptr, "the index is not built");
    const DLTensor &x = matrix(query->dl_tensor, kDLFloat, 32), &found = matrix(id->dl_tensor, kDLInt, 64),
                   &scores = matrix(score->dl_tensor, kDLFloat, 32);
    want(x.shape[1] == static_cast<int64_t>(index->data.dim) && found.shape[0] == x.shape[0] &&
             scores.shape[0] == x.shape[0] && scores.shape[1] == found.shape[1],
         "matrices do not fit");
    index->data.search(handles_of(res), static_cast<size_t>(x.shape[0]), static_cast<const float *>(x.data),
                       static_cast<size_t>(found.shape[1]), static_cast<int64_t *>(found.data),
                       static_cast<float *>(scores.data));
}
} // namespace

const char *cuvsGetLastErrorText(void)
{
    return last_error.c_str();
}

cuvsError_t cuvsResourcesCreate(cuvsResources_t *res)
{
    return guarded([&] { *res = reinterpret_cast<cuvsResources_t>(new standin::handles); });
}

cuvsError_t cuvsResourcesDestroy(cuvsResources_t res)
{
    return guarded([&] { delete &handles_of(res); });
}

cuvsError_t cuvsStreamSet(cuvsResources_t res, cudaStream_t stream)
{
    return guarded([&] { handles_of(res).stream = reinterpret_cast<vr_seam_stream *>(stream); });
}

cuvsError_t cuvsResourcesSetWorkspacePool(cuvsResources_t res, size_t bytes)
{
    return guarded([&] { handles_of(res).reserve(bytes); });
}

static cuvsError_t make_dataset(cuvsResources_t res, const DLManagedTensor *from, cuvsDataset_t *out)
{
    return guarded([&] {
        handles_of(res).use();
        auto made = std::make_unique<standin_cuvs_dataset>();
        made->of = matrix(from->dl_tensor, kDLFloat, 32);
        *out = made.release();
    });
}

cuvsError_t cuvsDatasetMakePaddedView(cuvsResources_t res, DLManagedTensor *from, cuvsDataset_t *out)
{
    const bool aligned = from->dl_tensor.shape[1] % 4 == 0;
    return aligned ? make_dataset(res, from, out) : guarded([] { want(false, "rows are not aligned"); });
}

cuvsError_t cuvsDatasetMakePadded(cuvsResources_t res, DLManagedTensor *from, cuvsDatasetMemType_t to,
                                  cuvsDataset_t *out)
{
    return to == CUVS_DATASET_MEM_TYPE_DEVICE ? make_dataset(res, from, out)
                                              : guarded([] { want(false, "not on the device"); });
}

cuvsError_t cuvsDatasetDestroy(cuvsDataset_t dataset)
{
    return guarded([&] { delete dataset; });
}

#define DEFINE_KIND(Kind)                                           \
    cuvsError_t cuvs##Kind##IndexCreate(cuvs##Kind##Index_t *index) \
    {                                                               \
        return guarded([&] { *index = new standin_cuvs_index; });   \
    }                                                               \
    cuvsError_t cuvs##Kind##IndexDestroy(cuvs##Kind##Index_t index) \
    {                                                               \
        return guarded([&] { delete index; });                      \
    }
#define DEFINE_PARAMS(Kind)                                                            \
    cuvsError_t cuvs##Kind##IndexParamsCreate(cuvs##Kind##IndexParams_t *params)       \
    {                                                                                  \
        return guarded([&] { *params = new held<cuvsIndexParams>; });                  \
    }                                                                                  \
    cuvsError_t cuvs##Kind##IndexParamsDestroy(cuvs##Kind##IndexParams_t params)       \
    {                                                                                  \
        return guarded([&] { delete static_cast<held<cuvsIndexParams> *>(params); });  \
    }                                                                                  \
    cuvsError_t cuvs##Kind##SearchParamsCreate(cuvs##Kind##SearchParams_t *params)     \
    {                                                                                  \
        return guarded([&] { *params = new held<cuvsSearchParams>; });                 \
    }                                                                                  \
    cuvsError_t cuvs##Kind##SearchParamsDestroy(cuvs##Kind##SearchParams_t params)     \
    {                                                                                  \
        return guarded([&] { delete static_cast<held<cuvsSearchParams> *>(params); }); \
    }
DEFINE_KIND(BruteForce)
DEFINE_KIND(IvfFlat)
DEFINE_KIND(IvfPq)
DEFINE_KIND(Cagra)
DEFINE_PARAMS(IvfFlat)
DEFINE_PARAMS(IvfPq)
DEFINE_PARAMS(Cagra)

cuvsError_t cuvsBruteForceBuild(cuvsResources_t res, DLManagedTensor *vectors, cuvsDistanceType metric, float,
                                cuvsBruteForceIndex_t index)
{
    return guarded([&] {
        want(metric == InnerProduct, "not the metric that is wanted");
        build(res, vectors->dl_tensor, index, false);
    });
}

cuvsError_t cuvsIvfFlatBuild(cuvsResources_t res, cuvsIvfFlatIndexParams_t params, DLManagedTensor *vectors,
                             cuvsIvfFlatIndex_t index)
{
    return guarded([&] {
        want_lists(*params, vectors->dl_tensor);
        build(res, vectors->dl_tensor, index, true);
    });
}

cuvsError_t cuvsIvfPqBuild(cuvsResources_t res, cuvsIvfPqIndexParams_t params, DLManagedTensor *vectors,
                           cuvsIvfPqIndex_t index)
{
    return guarded([&] {
        want_lists(*params, vectors->dl_tensor);
        want(params->pq_bits == 8 && params->pq_dim > 0, "codes");
        build(res, vectors->dl_tensor, index, true);
    });
}

cuvsError_t cuvsCagraBuild(cuvsResources_t res, cuvsCagraIndexParams_t params, cuvsDataset_t dataset,
                           cuvsCagraIndex_t index)
{
    return guarded([&] {
        want(params->metric == InnerProduct && params->graph_degree > 0 && dataset != nullptr, "no graph");
        build(res, dataset->of, index, false);
    });
}

cuvsError_t cuvsBruteForceSearch(cuvsResources_t res, cuvsBruteForceIndex_t index, DLManagedTensor *query,
                                 DLManagedTensor *id, DLManagedTensor *score, cuvsFilter)
{
    return guarded([&] { search(res, index, query, id, score); });
}

cuvsError_t cuvsIvfFlatSearch(cuvsResources_t res, cuvsIvfFlatSearchParams_t params, cuvsIvfFlatIndex_t index,
                              DLManagedTensor *query, DLManagedTensor *id, DLManagedTensor *score, cuvsFilter)
{
    return guarded([&] {
        want(params->n_probes > 0, "no probes");
        search(res, index, query, id, score);
    });
}

cuvsError_t cuvsIvfPqSearch(cuvsResources_t res, cuvsIvfPqSearchParams_t params, cuvsIvfPqIndex_t index,
                            DLManagedTensor *query, DLManagedTensor *id, DLManagedTensor *score)
{
    return guarded([&] {
        want(params->n_probes > 0, "no probes");
        search(res, index, query, id, score);
    });
}

cuvsError_t cuvsCagraSearch(cuvsResources_t res, cuvsCagraSearchParams_t params, cuvsCagraIndex_t index,
                            DLManagedTensor *query, DLManagedTensor *id, DLManagedTensor *score, cuvsFilter)
{
    return guarded([&] {
        want(params->itopk_size >= static_cast<size_t>(id->dl_tensor.shape[1]) && params->itopk_size % 32 == 0,
             "the search keeps fewer rows than it is to give");
        search(res, index, query, id, score);
    });
}
