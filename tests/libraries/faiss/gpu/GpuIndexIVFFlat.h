// Stand-in (standin.h): lists, with vectors or codes.
#ifndef VIREO_STANDIN_FAISS_IVF_H
#define VIREO_STANDIN_FAISS_IVF_H

#include <stdexcept>

#include "GpuIndexFlat.h"

namespace faiss
{
inline namespace standin_names
{
namespace gpu
{
enum IndicesOptions { INDICES_32_BIT = 2, INDICES_64_BIT = 3 };
struct GpuIndexIVFConfig : GpuIndexConfig {
    IndicesOptions indicesOptions = INDICES_64_BIT;
    GpuIndexFlatConfig flatConfig;
};
class GpuIndexIVF : public GpuIndex
{
  public:
    GpuIndexIVF(StandardGpuResources *resources, int dims, int64_t lists, MetricType metric)
        : GpuIndex(resources, dims, metric), nlist(static_cast<size_t>(lists))
    {
    }
    void train(int64_t rows, const float *) override
    {
        if (nlist == 0 || nlist > static_cast<size_t>(rows) || nprobe == 0 || nprobe > nlist) {
            throw std::runtime_error("lists and probes do not fit");
        }
    }
    size_t nlist, nprobe = 1;
    struct {
        int min_points_per_centroid = 39;
    } cp;
};

struct GpuIndexIVFFlatConfig : GpuIndexIVFConfig {
};
class GpuIndexIVFFlat : public GpuIndexIVF
{
  public:
    GpuIndexIVFFlat(StandardGpuResources *resources, int dims, int64_t lists, MetricType metric, GpuIndexIVFFlatConfig)
        : GpuIndexIVF(resources, dims, lists, metric)
    {
    }
};
} // namespace gpu
} // namespace standin_names
} // namespace faiss
#endif
