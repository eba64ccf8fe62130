// Stand-in (standin.h). The inline namespace keeps its names apart from those of FAISS's CPU library in one program.
#ifndef VIREO_STANDIN_FAISS_RESOURCES_H
#define VIREO_STANDIN_FAISS_RESOURCES_H

#include "standin.hh"

typedef struct CUstream_st *cudaStream_t;

namespace faiss
{
inline namespace standin_names
{
enum MetricType { METRIC_INNER_PRODUCT = 0 };
struct SearchParameters {
    virtual ~SearchParameters() = default;
};

namespace gpu
{
class StandardGpuResources
{
  public:
    void setTempMemory(size_t bytes)
    {
        own.reserve(bytes);
    }
    void setDefaultStream(int, cudaStream_t stream)
    {
        own.use();
        own.stream = reinterpret_cast<vr_seam_stream *>(stream);
    }
    standin::handles own;
};

struct GpuIndexConfig {
    int device = -1;
    bool use_cuvs = true;
};

class GpuIndex
{
  public:
    GpuIndex(StandardGpuResources *resources, int dims, MetricType) : from(resources), dim(static_cast<size_t>(dims))
    {
    }
    virtual ~GpuIndex()
    {
        from->own.use();
    }
    virtual void train(int64_t, const float *)
    {
    }
    void add(int64_t rows, const float *x)
    {
        data.build(from->own, static_cast<size_t>(rows), dim, x, true);
    }
    virtual void search(int64_t n, const float *x, int64_t k, float *distances, int64_t *labels,
                        const SearchParameters * = nullptr) const
    {
        data.search(from->own, static_cast<size_t>(n), x, static_cast<size_t>(k), labels, distances);
    }

  protected:
    StandardGpuResources *from;
    size_t dim;
    standin::vectors data;
};
} // namespace gpu
} // namespace standin_names
} // namespace faiss
#endif
