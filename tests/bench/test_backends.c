/* `vireo bench backends` on the small bundle: the CPU backend against itself under the name "cuda", whole and with
 * faults that the self-test at opening does not see; those must leave no speed behind, on the terminal or in the file.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "vireo/backend.h"
#include "vireo/bench.h"

#define CANDIDATES 5u
#define BATCH 3u

enum fault { NO_FAULT = 0, FAULT_EXCLUSIONS, FAULT_BIAS, FAULT_SELFTEST, FAULT_OPEN };
static enum fault fault;
static struct vr_backend_ops ops;
static const struct vr_backend_ops *inner;

/* The self-test excludes nothing, so it does not see this. */
static enum vr_status search(struct vr_stream *stream, struct vr_index *index, const struct vr_index_search *args)
{
    struct vr_index_search changed = *args;
    changed.has_exclude = changed.has_exclude && fault != FAULT_EXCLUSIONS;
    return inner->index_search(stream, index, &changed);
}

/* Rows of the ranker in this test's batches, or in the self-test's, and of nothing else. */
static enum vr_status linear(struct vr_stream *stream, const struct vr_linear *args)
{
    struct vr_linear changed = *args;
    const uint32_t wrong = fault == FAULT_BIAS ? BATCH * CANDIDATES : fault == FAULT_SELFTEST ? 64 : UINT32_MAX;
    changed.has_bias = changed.has_bias && args->rows != wrong;
    return inner->linear(stream, &changed);
}

static enum vr_status open_changed(unsigned threads, struct vr_backend **out)
{
    if (fault == FAULT_OPEN) {
        return vr_fail(VR_ERR_UNSUPPORTED, "there is no such device");
    }
    const enum vr_status status = vr_backend_open("cpu", threads, out);
    if (status == VR_OK) {
        inner = (*out)->ops;
        ops = *inner;
        ops.index_search = search;
        ops.linear = linear;
        ops.name = "cuda";
        (*out)->ops = &ops;
    }
    return status;
}

static char json[64], printed[8192], written[8192];

static void read_back(const char *path, char *to, size_t size)
{
    FILE *file = fopen(path, "r");
    to[0] = '\0';
    if (file != NULL) {
        to[fread(to, 1, size - 1, file)] = '\0';
        fclose(file);
    }
}

/* Run with a fault; what was printed and written lies in the two texts. */
static enum vr_status run_in(const char *precision, enum fault with)
{
    if (access(VIREO_TINY_BUNDLES "/1/bundle.json", R_OK) != 0) {
        cr_skip_test("no small bundle: `make deps-test` makes the Python environment");
    }
    fault = with;
    cr_assert_eq(vr_backend_register("cuda", open_changed), VR_OK);
    snprintf(json, sizeof json, "/tmp/vireo-bench-%d.json", (int)getpid());
    struct vr_bench_backends_setup setup = {.bundle = VIREO_TINY_BUNDLES "/1",
                                            .json = json,
                                            .precision = precision,
                                            .backend = {"cpu", "cuda"},
                                            .batch = {1, BATCH},
                                            .backend_count = 2,
                                            .batch_count = 2,
                                            .seconds = 0.01,
                                            .calls = 2,
                                            .candidates = CANDIDATES,
                                            .k = 40};
    FILE *out = fmemopen(printed, sizeof printed, "w");
    const enum vr_status status = vr_bench_backends_run(&setup, out);
    fclose(out);
    read_back(json, written, sizeof written);
    unlink(json);
    return status;
}

static enum vr_status run(enum fault with)
{
    return run_in(NULL, with);
}

static void check_refused(const char *what)
{
    cr_assert(strstr(vr_error_text(), what) != NULL, "%s", vr_error_text());
    cr_assert_str_empty(printed);
    cr_assert_str_empty(written);
    strcat(json, ".part");
    cr_assert_neq(access(json, F_OK), 0, "%s was left behind", json);
}

Test(bench, the_same_answers_are_timed)
{
    cr_assert_eq(run(NO_FAULT), VR_OK, "%s", vr_error_text());
    cr_assert(strstr(printed, "agreement    cpu in fp32 and cuda in fp32") != NULL, "%s", printed);
    cr_assert(strstr(printed, "crossover") != NULL, "%s", printed);
    cr_assert(strstr(written, "\"compared_with\":\"cpu\",\"answers\":130,") != NULL, "%s", written); /* 64 + 66 */
    cr_assert(strstr(written, "\"user_tower\":0,") != NULL, "%s", written);
}

/* The CPU stands beside a device that is wanted, so its precision is its own; the bound is both precisions' together.
 */
Test(bench, the_device_runs_in_what_is_asked_for)
{
    cr_assert_eq(run_in("fp16", NO_FAULT), VR_OK, "%s", vr_error_text());
    cr_assert(strstr(printed, "agreement    cpu in fp32 and cuda in fp16") != NULL, "%s", printed);
    cr_assert(strstr(written, "\"precision\":\"fp16\"") != NULL, "%s", written);
    const char *bound = strstr(written, "\"bound\":{");
    cr_assert(bound != NULL && strstr(bound, "\"probability\":0.0006") != NULL, "%s", written);
}

Test(bench, a_precision_that_is_none_is_refused)
{
    cr_assert_eq(run_in("fp17", NO_FAULT), VR_ERR_FORMAT);
    check_refused("compute.precision");
}

Test(bench, other_rows_are_refused)
{
    cr_assert_eq(run(FAULT_EXCLUSIONS), VR_ERR_CHECKSUM);
    check_refused("two-tower search");
}

Test(bench, other_heads_are_refused)
{
    cr_assert_eq(run(FAULT_BIAS), VR_ERR_CHECKSUM);
    check_refused("in batches of 3, click");
}

Test(bench, a_failed_selftest_is_refused)
{
    cr_assert_eq(run(FAULT_SELFTEST), VR_ERR_CHECKSUM);
    check_refused("cuda: golden case");
}

Test(bench, a_backend_that_cannot_be_opened_is_named_and_the_rest_goes_on)
{
    cr_assert_eq(run(FAULT_OPEN), VR_OK, "%s", vr_error_text());
    cr_assert(strstr(printed, "cuda         not measured: there is no such device") != NULL, "%s", printed);
    cr_assert(strstr(printed, "\ncpu          3") != NULL, "%s", printed);
    cr_assert(strstr(written,
                     "\"measured\":false,\"reason\":\"there is no such device\",\"precision\":null,\"results\":[]") !=
                  NULL,
              "%s", written);
}
