/* Planted bugs of the host: streams, staging, captures. */
#include "rig.h"

namespace
{

constexpr unsigned THREADS = 64;

__global__ void add(const int *in, int *out, int more)
{
    out[threadIdx.x] = in[threadIdx.x] + more;
}

enum vr_status launch_add(const rig &rig, int more)
{
    return vr_launch(rig.stream, "planted", add, 1, THREADS, 0, rig.in, rig.out, more);
}

int reads_too_early(bool bug)
{
    const rig rig;
    rig::must(launch_add(rig, 7));
    rig::must(vr_seam_copy(rig.stream, rig.result, rig.out, THREADS * sizeof(int)));
    if (!bug) {
        rig::must(rig.wait());
    }
    return rig.compare(THREADS, [](unsigned i) { return i + 7; });
}

int overwrites_staging(bool bug)
{
    const rig rig;
    rig::must(vr_seam_copy(rig.stream, rig.in, rig.staged_in, THREADS * sizeof(int)));
    if (!bug) {
        rig::must(rig.wait());
    }
    rig.staged_in[THREADS - 1] = -5; /* the next batch's */
    return rig.outcome(launch_add(rig, 7), THREADS, [](unsigned i) { return i + 7; });
}

/* Staging that is filled after the copy was asked for. */
int fills_too_late(bool bug)
{
    const rig rig;
    if (!bug) {
        rig.staged_in[0] = 50;
    }
    rig::must(vr_seam_copy(rig.stream, rig.in, rig.staged_in, THREADS * sizeof(int)));
    if (bug) {
        rig.staged_in[0] = 50;
    }
    return rig.outcome(launch_add(rig, 7), THREADS, [](unsigned i) { return i == 0 ? 57 : i + 7; });
}

int touches_device(bool bug)
{
    const rig rig;
    const int *volatile at = bug ? rig.in : rig.staged_in;
    return at[3] == 3 ? RIGHT : WRONG;
}

int copies_past(bool bug)
{
    const rig rig;
    return rig.outcome(vr_seam_copy(rig.stream, rig.out, rig.in, (rig::COUNT + (bug ? 1 : 0)) * sizeof(int)),
                       rig::COUNT, [](unsigned i) { return i; });
}

int copies_from_unknown(bool bug)
{
    const rig rig;
    static int elsewhere[THREADS];
    return rig.outcome(vr_seam_copy(rig.stream, rig.out, bug ? elsewhere : rig.in, sizeof elsewhere), THREADS,
                       [](unsigned i) { return i; });
}

int fills_past(bool bug)
{
    const rig rig;
    return rig.outcome(vr_seam_fill(rig.stream, rig.out, 0, (rig::COUNT + (bug ? 1 : 0)) * sizeof(int)), rig::COUNT,
                       [](unsigned) { return 0; });
}

/* A graph made while `more` was 1 is launched when it is 2: to count on the new one is the bug. */
int changed_argument(bool bug)
{
    const rig rig;
    vr_seam_graph *graph = nullptr;
    int more = 1;
    rig::must(vr_seam_capture_begin(rig.stream));
    rig::must(launch_add(rig, more));
    rig::must(vr_seam_capture_end(rig.stream, &graph));
    more = 2;
    rig::must(vr_seam_graph_launch(rig.stream, graph));
    const int found = rig.outcome(VR_OK, THREADS, [=](unsigned i) { return i + (bug ? more : 1); });
    vr_seam_graph_destroy(graph);
    return found;
}

/* A captured kernel and a captured copy whose memory is gone when the graph is launched. */
template <bool COPY> int freed_before_launch(bool bug)
{
    const rig rig;
    vr_seam_graph *graph = nullptr;
    int *scratch = rig::take(false);
    rig::must(vr_seam_capture_begin(rig.stream));
    rig::must(COPY ? vr_seam_copy(rig.stream, scratch, rig.in, THREADS * sizeof(int))
                   : vr_launch(rig.stream, "planted", add, 1, THREADS, 0, rig.in, scratch, 1));
    rig::must(vr_seam_capture_end(rig.stream, &graph));
    if (bug) {
        vr_seam_memory_destroy(false, scratch);
    }
    const enum vr_status status = vr_seam_graph_launch(rig.stream, graph);
    const int found =
        rig.outcome(status == VR_OK ? launch_add(rig, 3) : status, THREADS, [](unsigned i) { return i + 3; });
    vr_seam_graph_destroy(graph);
    if (!bug) {
        vr_seam_memory_destroy(false, scratch);
    }
    return found;
}

int polls_capture(bool bug)
{
    const rig rig;
    vr_seam_graph *graph = nullptr;
    bool done = false;
    rig::must(vr_seam_capture_begin(rig.stream));
    rig::must(launch_add(rig, 1));
    const enum vr_status status = bug ? vr_seam_stream_poll(rig.stream, &done) : VR_OK;
    rig::must(vr_seam_capture_end(rig.stream, &graph));
    vr_seam_graph_destroy(graph);
    return status == VR_OK ? RIGHT : FAILED;
}

} // namespace

const struct planted planted_hosts[] = {
    {"the host reads before the stream is done", CATCH_RESULT, nullptr, reads_too_early},
    {"staging is overwritten under a copy", CATCH_RESULT, nullptr, overwrites_staging},
    {"staging is filled after its copy", CATCH_RESULT, nullptr, fills_too_late},
    {"the host touches device memory", CATCH_SANITIZER, nullptr, touches_device},
    {"a copy past an allocation", CATCH_TEXT, "leaves its memory", copies_past},
    {"a copy from memory that was never taken", CATCH_TEXT, "leaves its memory", copies_from_unknown},
    {"a fill past an allocation", CATCH_TEXT, "leaves its memory", fills_past},
    {"an argument changed after capture", CATCH_RESULT, nullptr, changed_argument},
    {"a captured kernel's memory is freed", CATCH_SANITIZER, nullptr, freed_before_launch<false>},
    {"a captured copy's memory is freed", CATCH_TEXT, "leaves its memory", freed_before_launch<true>},
    {"a stream is polled while it is captured", CATCH_TEXT, "polled while it is captured", polls_capture},
    {},
};
