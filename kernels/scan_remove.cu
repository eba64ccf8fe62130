/* remove: rows out of an index of scan.h or ivf.h. A slot whose row is -1 holds none: whoever meets it passes it over,
 * where scores are noted, where what was noted is scored again, and in the safe pass; in a sample its score is struck.
 * Its codes and values stay, so a search that runs meanwhile sees the row as it was or not at all. */
#include "remove.cuh"
#include "scan.h"

namespace
{

__global__ void __launch_bounds__(VR_REMOVE_THREADS)
    scan_remove_kernel(const vr_scan_vectors vectors, vr_scan_counts *counts, const vr_some_rows some)
{
    if (threadIdx.x < some.count) {
        const int32_t slot = vectors.slot_of_row[some.row[threadIdx.x]];
        if (atomicExch(&vectors.row_of_slot[slot], -1) >= 0) {
            atomicAdd(&counts->removed, 1ull);
        }
    }
}

} // namespace

enum vr_status vr_scan_remove(struct vr_stream *stream, const struct vr_scan_vectors *vectors,
                              struct vr_scan_counts *counts, const int32_t *row, uint32_t count)
{
    return vr_remove_each(row, count, [=](const vr_some_rows &some) {
        return vr_launch(stream->seam, "scan_remove", scan_remove_kernel, 1, VR_REMOVE_THREADS, 0, *vectors, counts,
                         some);
    });
}
