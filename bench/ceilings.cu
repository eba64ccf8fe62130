/* What this GPU can do at most, by kernels that do nothing else: copying and reading of memory, and multiply-adds of
 * the tensor cores through mma.sync, which is what the kernels use (wgmma reaches more on sm_90). Speeds elsewhere are
 * quoted as shares of these. Usage:
 *
 *   bench_ceilings            one JSON object on standard output; medians of RUNS runs after a warm-up
 *   bench_ceilings --device   the device alone
 *
 * Exit status 77 and the words "no device" where there is none. */
#include <cuda_runtime.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

namespace
{

constexpr int RUNS = 50, WARM_UP = 5;
constexpr size_t BYTES = size_t(1) << 30; /* far past twice any L2 */
constexpr int THREADS = 256;
constexpr int ROUNDS = 2048, CHAINS = 8; /* mma: independent sums of a warp, so that latency is hidden */

void must(cudaError_t error, const char *what)
{
    if (error != cudaSuccess) {
        fprintf(stderr, "bench_ceilings: %s: %s\n", what, cudaGetErrorString(error));
        exit(1);
    }
}

__global__ void __launch_bounds__(THREADS) copy_kernel(float4 *to, const float4 *from, size_t count)
{
    for (size_t i = blockIdx.x * size_t(THREADS) + threadIdx.x; i < count; i += size_t(gridDim.x) * THREADS) {
        to[i] = from[i];
    }
}

/* Sums that are written only where they cannot be: nothing but the reading is left of it. */
__global__ void __launch_bounds__(THREADS) read_kernel(float4 *to, const float4 *from, size_t count)
{
    float sum = 0.0f;
    for (size_t i = blockIdx.x * size_t(THREADS) + threadIdx.x; i < count; i += size_t(gridDim.x) * THREADS) {
        const float4 value = from[i];
        sum += value.x + value.y + value.z + value.w;
    }
    if (sum == 1.0f) {
        to[0].x = sum;
    }
}

__global__ void __launch_bounds__(THREADS) mma_f16_kernel(float *to, uint32_t bits)
{
    float sum[CHAINS][4] = {};
    for (int round = 0; round < ROUNDS; round++) {
#pragma unroll
        for (int c = 0; c < CHAINS; c++) {
            asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%4,%4,%4}, {%4,%4}, "
                         "{%0,%1,%2,%3};"
                         : "+f"(sum[c][0]), "+f"(sum[c][1]), "+f"(sum[c][2]), "+f"(sum[c][3])
                         : "r"(bits));
        }
    }
#pragma unroll
    for (int c = 0; c < CHAINS; c++) {
        if (sum[c][0] + sum[c][1] + sum[c][2] + sum[c][3] == 1.0f) {
            *to = 1.0f;
        }
    }
}

__global__ void __launch_bounds__(THREADS) mma_s8_kernel(float *to, uint32_t bits)
{
    int sum[CHAINS][4] = {};
    for (int round = 0; round < ROUNDS; round++) {
#pragma unroll
        for (int c = 0; c < CHAINS; c++) {
            asm volatile("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0,%1,%2,%3}, {%4,%4,%4,%4}, {%4,%4}, "
                         "{%0,%1,%2,%3};"
                         : "+r"(sum[c][0]), "+r"(sum[c][1]), "+r"(sum[c][2]), "+r"(sum[c][3])
                         : "r"(bits));
        }
    }
#pragma unroll
    for (int c = 0; c < CHAINS; c++) {
        if (sum[c][0] + sum[c][1] + sum[c][2] + sum[c][3] == 1) {
            *to = 1.0f;
        }
    }
}

/* Median seconds of what `work` puts on the default stream. */
template <typename Work> double median_s(Work work)
{
    cudaEvent_t begin, end;
    must(cudaEventCreate(&begin), "event");
    must(cudaEventCreate(&end), "event");
    std::vector<float> sample;
    for (int run = 0; run < WARM_UP + RUNS; run++) {
        must(cudaEventRecord(begin), "event");
        work();
        must(cudaGetLastError(), "launch");
        must(cudaEventRecord(end), "event");
        must(cudaEventSynchronize(end), "run");
        float ms = 0.0f;
        must(cudaEventElapsedTime(&ms, begin, end), "event");
        if (run >= WARM_UP) {
            sample.push_back(ms);
        }
    }
    must(cudaEventDestroy(begin), "event");
    must(cudaEventDestroy(end), "event");
    std::sort(sample.begin(), sample.end());
    return sample[sample.size() / 2] / 1e3;
}

cudaDeviceProp take_device()
{
    int count = 0; /* without a driver the call leaves it as it is */
    const cudaError_t error = cudaGetDeviceCount(&count);
    if (error != cudaSuccess || count == 0) {
        fprintf(stderr, "no device: %s\n", error != cudaSuccess ? cudaGetErrorString(error) : "none is there");
        exit(77);
    }
    cudaDeviceProp device;
    must(cudaGetDeviceProperties(&device, 0), "device properties");
    return device;
}

void print_device(const cudaDeviceProp &device)
{
    int driver = 0, runtime = 0, clock_khz = 0;
    must(cudaDriverGetVersion(&driver), "driver");
    must(cudaRuntimeGetVersion(&runtime), "runtime");
    must(cudaDeviceGetAttribute(&clock_khz, cudaDevAttrClockRate, 0), "clock rate");
    printf("\"device\":\"%s\",\"compute_capability\":\"%d.%d\",\"processors\":%d,\"memory_bytes\":%zu,\"l2_bytes\":%d,"
           "\"clock_mhz\":%d,\"driver\":%d,\"runtime\":%d",
           device.name, device.major, device.minor, device.multiProcessorCount, device.totalGlobalMem,
           device.l2CacheSize, clock_khz / 1000, driver, runtime);
}

void measure(const cudaDeviceProp &device)
{
    const size_t count = BYTES / sizeof(float4);
    const unsigned blocks = static_cast<unsigned>(device.multiProcessorCount) * 8;
    float4 *from = nullptr, *to = nullptr;
    must(cudaMalloc(&from, BYTES), "memory");
    must(cudaMalloc(&to, BYTES), "memory");
    must(cudaMemset(from, 0, BYTES), "memory");
    const double copy = median_s([&] { copy_kernel<<<blocks, THREADS>>>(to, from, count); });
    const double memcpy_s = median_s([&] { must(cudaMemcpyAsync(to, from, BYTES, cudaMemcpyDeviceToDevice), "copy"); });
    const double read = median_s([&] { read_kernel<<<blocks, THREADS>>>(to, from, count); });
    float *sink = reinterpret_cast<float *>(to);
    const double f16 = median_s([&] { mma_f16_kernel<<<blocks, THREADS>>>(sink, 0u); });
    const double s8 = median_s([&] { mma_s8_kernel<<<blocks, THREADS>>>(sink, 0u); });
    const double multiplies = double(blocks) * (THREADS / 32) * ROUNDS * CHAINS * 16 * 8;
    printf(",\"runs\":%d,\"copy_bytes_per_s\":%.4g,\"memcpy_bytes_per_s\":%.4g,\"read_bytes_per_s\":%.4g,"
           "\"mma_f16_flop_per_s\":%.4g,\"mma_s8_op_per_s\":%.4g",
           RUNS, 2.0 * double(BYTES) / copy, 2.0 * double(BYTES) / memcpy_s, double(BYTES) / read,
           multiplies * 16 * 2 / f16, multiplies * 32 * 2 / s8);
    must(cudaFree(from), "memory");
    must(cudaFree(to), "memory");
}

} // namespace

int main(int argc, char **argv)
{
    const bool device_alone = argc == 2 && strcmp(argv[1], "--device") == 0;
    if (argc > 1 && !device_alone) {
        fprintf(stderr, "usage: bench_ceilings [--device]\n");
        return 2;
    }
    const cudaDeviceProp device = take_device();
    printf("{\"bench\":\"ceilings\",");
    print_device(device);
    if (!device_alone) {
        measure(device);
    }
    printf("}\n");
    return 0;
}
