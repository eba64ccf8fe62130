// FAISS on the GPU behind knn.h: the one file that sees its headers. Written against 1.8 and newer. FAISS throws where
// it refuses or memory is out, which ends here; where the CUDA API itself fails inside it, it aborts the process.
#include <algorithm>
#include <exception>
#include <memory>
#include <new>

#include <faiss/gpu/GpuIndexFlat.h>
#include <faiss/gpu/GpuIndexIVFFlat.h>
#include <faiss/gpu/GpuIndexIVFPQ.h>
#include <faiss/gpu/StandardGpuResources.h>
#if __has_include(<faiss/gpu/GpuIndexCagra.h>) // of a FAISS that was built with cuVS
#include <faiss/gpu/GpuIndexCagra.h>
#define HAS_CAGRA 1
#else
#define HAS_CAGRA 0
#endif

#include "knn.h"

struct vr_knn {
    faiss::gpu::StandardGpuResources resources; // outlives the index
    std::unique_ptr<faiss::gpu::GpuIndex> index;
};

namespace
{
constexpr int DEVICE = 0;
constexpr int CODE_BITS = 8;
constexpr uint64_t GRAPH_DEGREE = 64; // FAISS's own choice

template <typename Body> enum vr_status guarded(Body body)
{
    try {
        body();
        return VR_OK;
    } catch (const std::bad_alloc &) {
        return vr_fail(VR_ERR_NOMEM, "faiss: no memory");
    } catch (const std::exception &error) {
        return vr_knn_fail("faiss", error.what());
    } catch (...) {
        return vr_fail(VR_ERR_BACKEND, "faiss: an unknown exception");
    }
}

// FAISS's own kernels, also where it could call cuVS: cuVS has kinds of its own.
template <typename Config> Config own_kernels()
{
    Config config;
    config.device = DEVICE;
    config.use_cuvs = false;
    return config;
}

template <typename Config> Config lists_config()
{
    auto config = own_kernels<Config>();
    config.flatConfig = own_kernels<faiss::gpu::GpuIndexFlatConfig>();
    config.indicesOptions = faiss::gpu::INDICES_32_BIT;
    return config;
}

std::unique_ptr<faiss::gpu::GpuIndex> make_flat(vr_knn &knn, const vr_knn_spec &spec)
{
    auto config = own_kernels<faiss::gpu::GpuIndexFlatConfig>();
    config.useFloat16 = true;
    return std::make_unique<faiss::gpu::GpuIndexFlat>(&knn.resources, static_cast<int>(spec.dim),
                                                      faiss::METRIC_INNER_PRODUCT, config);
}

std::unique_ptr<faiss::gpu::GpuIndex> make_ivf(vr_knn &knn, const vr_knn_spec &spec)
{
    auto index = std::make_unique<faiss::gpu::GpuIndexIVFFlat>(&knn.resources, static_cast<int>(spec.dim), spec.lists,
                                                               faiss::METRIC_INNER_PRODUCT,
                                                               lists_config<faiss::gpu::GpuIndexIVFFlatConfig>());
    index->cp.min_points_per_centroid = 1; // few rows are no reason to print a warning
    index->nprobe = spec.probes;
    return index;
}

std::unique_ptr<faiss::gpu::GpuIndex> make_ivfpq(vr_knn &knn, const vr_knn_spec &spec)
{
    auto index = std::make_unique<faiss::gpu::GpuIndexIVFPQ>(
        &knn.resources, static_cast<int>(spec.dim), spec.lists, vr_knn_code_bytes(spec.dim), CODE_BITS,
        faiss::METRIC_INNER_PRODUCT, lists_config<faiss::gpu::GpuIndexIVFPQConfig>());
    index->cp.min_points_per_centroid = 1;
    index->nprobe = spec.probes;
    return index;
}

#if HAS_CAGRA
std::unique_ptr<faiss::gpu::GpuIndex> make_cagra(vr_knn &knn, const vr_knn_spec &spec)
{
    faiss::gpu::GpuIndexCagraConfig config;
    config.device = DEVICE;
    config.graph_degree = GRAPH_DEGREE;
    config.build_algo = faiss::gpu::graph_build_algo::NN_DESCENT; // needs no codes, so any dimensions do
    return std::make_unique<faiss::gpu::GpuIndexCagra>(&knn.resources, static_cast<int>(spec.dim),
                                                       faiss::METRIC_INNER_PRODUCT, config);
}

// Its search keeps as many rows as it is to give, in blocks of 32.
bool search_cagra(const faiss::gpu::GpuIndex &index, uint32_t queries, const float *query, uint32_t k, float *score,
                  int64_t *id)
{
    if (dynamic_cast<const faiss::gpu::GpuIndexCagra *>(&index) == nullptr) {
        return false;
    }
    faiss::gpu::SearchParametersCagra wide;
    wide.itopk_size = (static_cast<size_t>(k) + 31) / 32 * 32;
    index.search(queries, query, k, score, id, &wide);
    return true;
}
#else
std::unique_ptr<faiss::gpu::GpuIndex> make_cagra(vr_knn &, const vr_knn_spec &)
{
    return nullptr; // not among this library's kinds
}

bool search_cagra(const faiss::gpu::GpuIndex &, uint32_t, const float *, uint32_t, float *, int64_t *)
{
    return false;
}
#endif

std::unique_ptr<faiss::gpu::GpuIndex> make(vr_knn &knn, const vr_knn_spec &spec)
{
    switch (spec.kind) {
    case VR_INDEX_FAISS_GPU_IVF: return make_ivf(knn, spec);
    case VR_INDEX_FAISS_GPU_IVFPQ: return make_ivfpq(knn, spec);
    case VR_INDEX_FAISS_GPU_CAGRA: return make_cagra(knn, spec);
    default: return make_flat(knn, spec);
    }
}

enum vr_status create(const struct vr_knn_spec *spec, struct vr_knn **out)
{
    return guarded([&] {
        auto made = std::make_unique<vr_knn>();
        made->resources.setTempMemory(VR_KNN_RESERVE);
        made->resources.setDefaultStream(DEVICE, static_cast<cudaStream_t>(spec->stream));
        made->index = make(*made, *spec);
        made->index->train(spec->rows, spec->vector);
        if (spec->kind != VR_INDEX_FAISS_GPU_CAGRA) { // which is made of what it was trained on
            made->index->add(spec->rows, spec->vector);
        }
        *out = made.release();
    });
}

enum vr_status search(struct vr_knn *knn, uint32_t queries, const float *query, uint32_t k, int64_t *id, float *score)
{
    return guarded([&] {
        if (!search_cagra(*knn->index, queries, query, k, score, id)) {
            knn->index->search(queries, query, k, score, id);
        }
    });
}

void destroy(struct vr_knn *knn)
{
    delete knn;
}

// CAGRA reads the caller's vectors where they lie; IVF keeps room to grow in its lists, which is not counted.
uint64_t memory(const struct vr_knn_spec *spec)
{
    const uint64_t rows = spec->rows, dim = spec->dim, centroids = uint64_t{spec->lists} * dim * sizeof(float);
    switch (spec->kind) {
    case VR_INDEX_FAISS_GPU_IVF: return VR_KNN_RESERVE + centroids + rows * (dim * sizeof(float) + sizeof(int32_t));
    case VR_INDEX_FAISS_GPU_IVFPQ:
        return VR_KNN_RESERVE + centroids + rows * (vr_knn_code_bytes(spec->dim) + sizeof(int32_t));
    case VR_INDEX_FAISS_GPU_CAGRA: return VR_KNN_RESERVE + rows * GRAPH_DEGREE * sizeof(uint32_t);
    default: return VR_KNN_RESERVE + rows * dim * sizeof(uint16_t);
    }
}
} // namespace

extern "C" const struct vr_knn_library vr_knn_faiss = {
    "faiss",
    1u << VR_INDEX_FAISS_GPU_FLAT | 1u << VR_INDEX_FAISS_GPU_IVF | 1u << VR_INDEX_FAISS_GPU_IVFPQ |
        (HAS_CAGRA ? 1u << VR_INDEX_FAISS_GPU_CAGRA : 0u),
    create,
    search,
    destroy,
    memory,
};
