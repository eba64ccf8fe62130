// Stand-in (standin.h).
#ifndef VIREO_STANDIN_FAISS_IVFPQ_H
#define VIREO_STANDIN_FAISS_IVFPQ_H

#include "GpuIndexIVFFlat.h"

namespace faiss
{
inline namespace standin_names
{
namespace gpu
{
struct GpuIndexIVFPQConfig : GpuIndexIVFConfig {
};
class GpuIndexIVFPQ : public GpuIndexIVF
{
  public:
    GpuIndexIVFPQ(StandardGpuResources *resources, int dims, int64_t lists, int64_t codes, int64_t bits,
                  MetricType metric, GpuIndexIVFPQConfig)
        : GpuIndexIVF(resources, dims, lists, metric)
    {
        if (dims % codes != 0 || bits != 8) {
            throw std::runtime_error("codes do not divide the dimensions");
        }
    }
};
} // namespace gpu
} // namespace standin_names
} // namespace faiss
#endif
