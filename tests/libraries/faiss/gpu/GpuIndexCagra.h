// Stand-in (standin.h).
#ifndef VIREO_STANDIN_FAISS_CAGRA_H
#define VIREO_STANDIN_FAISS_CAGRA_H

#include <stdexcept>

#include "GpuIndexFlat.h"

namespace faiss
{
inline namespace standin_names
{
namespace gpu
{
enum class graph_build_algo { IVF_PQ, NN_DESCENT };
struct GpuIndexCagraConfig : GpuIndexConfig {
    size_t graph_degree = 64;
    graph_build_algo build_algo = graph_build_algo::IVF_PQ;
};
struct SearchParametersCagra : SearchParameters {
    size_t itopk_size = 64;
};
class GpuIndexCagra : public GpuIndex
{
  public:
    GpuIndexCagra(StandardGpuResources *resources, int dims, MetricType metric, GpuIndexCagraConfig)
        : GpuIndex(resources, dims, metric)
    {
    }
    void train(int64_t rows, const float *x) override
    {
        data.build(from->own, static_cast<size_t>(rows), dim, x, false);
    }
    void search(int64_t n, const float *x, int64_t k, float *distances, int64_t *labels,
                const SearchParameters *params = nullptr) const override
    {
        const auto *own = dynamic_cast<const SearchParametersCagra *>(params);
        if (own == nullptr || own->itopk_size < static_cast<size_t>(k) || own->itopk_size % 32 != 0) {
            throw std::runtime_error("the search keeps fewer rows than it is to give");
        }
        GpuIndex::search(n, x, k, distances, labels);
    }
};
} // namespace gpu
} // namespace standin_names
} // namespace faiss
#endif
