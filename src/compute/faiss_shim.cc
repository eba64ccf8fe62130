// FAISS behind C (faiss_shim.h). Written against 1.7.3 and newer: int64_t for ids, and search parameters set on the
// index before it is shared, as 1.7.3 has no other way for HNSW.
#include "faiss_shim.h"

#include <algorithm>
#include <cmath>
#include <exception>
#include <memory>
#include <new>
#include <thread>
#include <vector>

#include <faiss/IndexFlat.h>
#include <faiss/IndexHNSW.h>
#include <faiss/IndexIVFFlat.h>

// OpenMP's own names; its header is the compiler's and not needed for one call.
extern "C" void omp_set_num_threads(int threads);

struct vr_faiss {
    std::unique_ptr<faiss::IndexFlat> quantizer; // of an IVF index, which borrows it
    std::unique_ptr<faiss::Index> index;
};

namespace
{
template <typename Body> enum vr_status guarded(Body body)
{
    try {
        body();
        return VR_OK;
    } catch (const std::bad_alloc &) {
        return vr_fail(VR_ERR_NOMEM, "faiss: no memory");
    } catch (const std::exception &error) {
        return vr_fail(VR_ERR_BACKEND, "faiss: %s", error.what());
    } catch (...) {
        return vr_fail(VR_ERR_BACKEND, "faiss: an unknown exception");
    }
}

std::unique_ptr<faiss::Index> make_hnsw(const vr_index_config &config, int dim)
{
    auto index =
        std::make_unique<faiss::IndexHNSWFlat>(dim, static_cast<int>(config.hnsw_m), faiss::METRIC_INNER_PRODUCT);
    index->hnsw.efSearch = static_cast<int>(config.hnsw_ef_search);
    return index;
}

size_t list_count(const vr_index_config &config, size_t rows)
{
    const size_t wanted =
        config.ivf_lists > 0 ? config.ivf_lists : static_cast<size_t>(4.0 * std::sqrt(static_cast<double>(rows)));
    return std::clamp<size_t>(wanted, 1, rows);
}

void make_ivf(const vr_index_config &config, int dim, uint32_t rows, const float *vector, vr_faiss &out)
{
    out.quantizer = std::make_unique<faiss::IndexFlat>(dim, faiss::METRIC_INNER_PRODUCT);
    auto index = std::make_unique<faiss::IndexIVFFlat>(out.quantizer.get(), static_cast<size_t>(dim),
                                                       list_count(config, rows), faiss::METRIC_INNER_PRODUCT);
    index->cp.min_points_per_centroid = 1; // few rows are no reason to print a warning
    index->nprobe = std::min<size_t>(std::max<size_t>(config.ivf_probes, 1), index->nlist);
    index->train(rows, vector);
    out.index = std::move(index);
}

void build(const vr_index_config &config, uint32_t rows, int dim, const float *vector, vr_faiss &out)
{
    switch (config.kind) {
    case VR_INDEX_FAISS_HNSW: out.index = make_hnsw(config, dim); break;
    case VR_INDEX_FAISS_IVF: make_ivf(config, dim, rows, vector, out); break;
    default: out.index = std::make_unique<faiss::IndexFlat>(dim, faiss::METRIC_INNER_PRODUCT); break;
    }
    out.index->add(rows, vector);
    if (config.kind == VR_INDEX_FAISS_IVF) {
        static_cast<faiss::IndexIVFFlat &>(*out.index).make_direct_map();
    }
}
} // namespace

extern "C" enum vr_status vr_faiss_create(const struct vr_index_config *config, uint32_t rows, uint32_t dim,
                                          const float *vector, unsigned threads, struct vr_faiss **out)
{
    return guarded([&] {
        auto made = std::make_unique<vr_faiss>();
        omp_set_num_threads(
            static_cast<int>(threads > 0 ? threads : std::max(1u, std::thread::hardware_concurrency())));
        build(*config, rows, static_cast<int>(dim), vector, *made);
        *out = made.release();
    });
}

extern "C" enum vr_status vr_faiss_search(const struct vr_faiss *index, uint32_t queries, const float *query,
                                          uint32_t k, int64_t *id)
{
    return guarded([&] {
        omp_set_num_threads(1);
        std::vector<float> score(static_cast<size_t>(queries) * k);
        index->index->search(queries, query, k, score.data(), id);
    });
}

extern "C" enum vr_status vr_faiss_vector(const struct vr_faiss *index, int64_t id, float *vector)
{
    return guarded([&] { index->index->reconstruct(id, vector); });
}

extern "C" void vr_faiss_destroy(struct vr_faiss *index)
{
    delete index;
}
