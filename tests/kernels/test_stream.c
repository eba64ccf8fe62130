/* A stream's memory and its end (kernels/backend.c): a search that needs more scratch than one before takes nothing
 * from under work in flight or from a plan; a stream that is destroyed waits for what was put on it. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/emulator/emulator.h"
#include "support_scan.h"
#include "vireo/clock.h"

TestSuite(stream, .init = open_cuda, .fini = close_cuda);

#define QUERIES 3u
#define K 7u
#define RESULTS (QUERIES * K)

/* Two indexes over one table: of its first rows, whose searches need little, and of all, which are sampled. */
#define FEW 200u
#define MANY 8300u

struct search {
    struct vr_index *index;
    struct vr_index_search args;
    int32_t want[RESULTS]; /* what it finds when nothing else is in flight */
};

struct two {
    struct rig rig; /* its stream is the one that is tested */
    struct search few, many;
};

static void begin(struct rig *rig, const struct search *search)
{
    const enum vr_status status = cuda->ops->index_search(rig->stream, search->index, &search->args);
    cr_assert_eq(status, VR_OK, "%s", vr_error_text());
}

static void check(struct rig *rig, const struct search *search)
{
    int32_t row[RESULTS];
    rig_get(rig, search->args.row, sizeof row, row);
    cr_assert_eq(memcmp(row, search->want, sizeof row), 0);
}

static struct search make(struct rig *rig, const struct vr_table *table, uint32_t rows, struct vr_view query)
{
    static const float nothing[RESULTS];
    struct search made = {.args = {.queries = QUERIES, .k = K, .query = query}};
    struct rig own; /* a stream of its own, whose scratch is nobody's */
    const struct vr_index_spec spec = {
        .config.kind = VR_INDEX_EXACT, .rows = rows, .dim = table->width, .vectors = *table};
    cr_assert_eq(cuda->ops->index_create(cuda, &spec, &made.index), VR_OK, "%s", vr_error_text());
    made.args.row = rig_put(rig, nothing, sizeof nothing);
    made.args.score = rig_put(rig, nothing, sizeof nothing);
    rig_open(&own, cuda);
    begin(&own, &made);
    rig_get(&own, made.args.row, sizeof made.want, made.want);
    rig_close(&own);
    cr_assert_geq(made.want[0], 0);
    return made;
}

static void open_two(struct two *two, uint64_t seed)
{
    struct dice dice = {seed};
    struct vr_table table = {.rows = MANY, .width = DIM, .dtype = VR_TABLE_F32};
    float *vector = must_alloc((size_t)MANY * DIM * sizeof *vector);
    vr_emulator_seed(seed);
    rig_open(&two->rig, cuda);
    dice_floats(&dice, vector, (size_t)MANY * DIM);
    table.data = rig_put(&two->rig, vector, (size_t)MANY * DIM * sizeof *vector);
    const struct vr_view query = rig_put(&two->rig, vector, QUERIES * DIM * sizeof *vector);
    two->few = make(&two->rig, &table, FEW, query);
    two->many = make(&two->rig, &table, MANY, query);
    free(vector);
}

static void close_two(struct two *two)
{
    rig_close(&two->rig);
    cuda->ops->index_destroy(two->few.index);
    cuda->ops->index_destroy(two->many.index);
}

static void wait(struct rig *rig)
{
    cr_assert_eq(vr_stream_wait(cuda, rig->stream, vr_clock_mono_us() + 60000000), VR_OK, "%s", vr_error_text());
}

/* ---- scratch ---- */

/* Nobody waits between the searches. Afterwards the smaller block is gone, and nothing is taken any more. */
Test(stream, scratch_grows_while_a_search_is_in_flight)
{
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct two two;
        open_two(&two, seed);
        const size_t before = vr_emulator_memory_used();
        begin(&two.rig, &two.few);
        begin(&two.rig, &two.many);
        wait(&two.rig);
        const size_t now = vr_emulator_memory_used(); /* 0 on a GPU */
        cr_assert(now == 0 || now - before == two.rig.stream->scratch_bytes, "seed %u", (unsigned)seed);
        check(&two.rig, &two.few);
        check(&two.rig, &two.many);
        const uint64_t taken = vr_seam_calls(VR_SEAM_MEMORY);
        begin(&two.rig, &two.few);
        begin(&two.rig, &two.many);
        cr_assert_eq(vr_seam_calls(VR_SEAM_MEMORY), taken);
        wait(&two.rig);
        close_two(&two);
    }
}

/* A plan holds the scratch of its day, however the stream's grows afterwards. */
Test(stream, a_plan_keeps_its_scratch)
{
    static const int32_t nothing[RESULTS];
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct two two;
        struct vr_plan *plan = NULL;
        open_two(&two, seed);
        begin(&two.rig, &two.few);
        cr_assert_eq(cuda->ops->plan_begin(two.rig.stream), VR_OK);
        begin(&two.rig, &two.few);
        cr_assert_eq(cuda->ops->plan_end(two.rig.stream, &plan), VR_OK, "%s", vr_error_text());
        begin(&two.rig, &two.many);
        check(&two.rig, &two.many);
        const struct vr_view zeros = rig_put(&two.rig, nothing, sizeof nothing);
        cr_assert_eq(cuda->ops->copy(two.rig.stream, two.few.args.row, zeros, sizeof nothing), VR_OK);
        cr_assert_eq(cuda->ops->plan_launch(two.rig.stream, plan), VR_OK, "%s", vr_error_text());
        check(&two.rig, &two.few);
        cuda->ops->plan_destroy(plan);
        close_two(&two);
    }
}

/* No memory for more scratch, on the device or the host's side of it: the stream keeps what it has. */
Test(stream, scratch_that_cannot_grow)
{
    struct two two;
    open_two(&two, 1);
    begin(&two.rig, &two.few);
    vr_seam_fail(VR_SEAM_MEMORY, 1, VR_SEAM_FAIL_NOMEM);
    cr_assert_eq(cuda->ops->index_search(two.rig.stream, two.many.index, &two.many.args), VR_ERR_NOMEM);
    vr_seam_heal();
    begin(&two.rig, &two.few);
    check(&two.rig, &two.few);
    begin(&two.rig, &two.many);
    check(&two.rig, &two.many);
    close_two(&two);
}

/* ---- the end ---- */

/* What was put on the stream has been done when it is gone, also where a poll fails meanwhile; its buffers may go. */
Test(stream, destroying_waits_for_what_is_in_flight)
{
    for (uint64_t seed = 1; seed <= 2 * SEEDS; seed++) {
        struct two two;
        int32_t *got = NULL;
        struct vr_view staging = {NULL, 0};
        open_two(&two, 1 + seed % SEEDS);
        cr_assert_eq(cuda->ops->buffer_create(cuda, VR_MEMORY_STAGING, sizeof two.few.want, &staging.buffer), VR_OK);
        got = cuda->ops->buffer_host(staging.buffer);
        begin(&two.rig, &two.few);
        cr_assert_eq(cuda->ops->copy(two.rig.stream, staging, two.few.args.row, sizeof two.few.want), VR_OK);
        if (seed > SEEDS) {
            vr_seam_fail(VR_SEAM_POLL, 2, VR_SEAM_FAIL_ONCE);
        }
        cuda->ops->stream_destroy(two.rig.stream);
        vr_seam_heal();
        cr_assert_eq(memcmp(got, two.few.want, sizeof two.few.want), 0, "seed %u", (unsigned)seed);
        cuda->ops->buffer_destroy(staging.buffer);
        cr_assert_eq(cuda->ops->stream_create(cuda, &two.rig.stream), VR_OK);
        close_two(&two);
    }
}

/* A device that hangs or is lost is given up, and all that the host holds goes. */
Test(stream, destroying_ends_where_the_device_does_not)
{
    static const enum vr_seam_failure failures[] = {VR_SEAM_FAIL_HANG, VR_SEAM_FAIL_LOST};
    for (size_t i = 0; i < sizeof failures / sizeof failures[0]; i++) {
        struct two two;
        open_two(&two, 1 + i);
        begin(&two.rig, &two.few);
        vr_seam_fail(VR_SEAM_POLL, 1, failures[i]);
        const uint64_t start_us = vr_clock_mono_us();
        cuda->ops->stream_destroy(two.rig.stream);
        cr_assert_lt(vr_clock_mono_us() - start_us, 20000000);
        while (two.rig.buffers > 0) { /* nothing touches them any more */
            cuda->ops->buffer_destroy(two.rig.buffer[--two.rig.buffers]);
        }
        vr_seam_heal();
        cr_assert_eq(cuda->ops->stream_create(cuda, &two.rig.stream), VR_OK);
        close_two(&two);
    }
}
