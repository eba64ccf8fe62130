// Stand-in (standin.h).
#ifndef VIREO_STANDIN_FAISS_FLAT_H
#define VIREO_STANDIN_FAISS_FLAT_H

#include "StandardGpuResources.h"

namespace faiss
{
inline namespace standin_names
{
namespace gpu
{
struct GpuIndexFlatConfig : GpuIndexConfig {
    bool useFloat16 = false;
};
class GpuIndexFlat : public GpuIndex
{
  public:
    GpuIndexFlat(StandardGpuResources *resources, int dims, MetricType metric, GpuIndexFlatConfig)
        : GpuIndex(resources, dims, metric)
    {
    }
};
} // namespace gpu
} // namespace standin_names
} // namespace faiss
#endif
