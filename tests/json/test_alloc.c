/* Reading and writing when memory runs out at every possible moment, and that warm ones take none. */
#include "vireo/json.h"

#include <criterion/criterion.h>

#include "../base/failing_alloc.h"

/* More keys than the pairwise check handles, nested, so that every growing buffer is used. */
static const char *const document =
    "{\"a\":1,\"b\":[1,2.5,\"text\"],\"c\":{\"d\":null},\"e\":0,\"f\":0,\"g\":0,\"h\":0,\"i\":0,\"j\":0,\"k\":0}";

static enum vr_status read_once(void)
{
    struct vr_json *json = NULL;
    struct vr_json_value root;
    enum vr_status status = vr_json_create(10000, 8, &json);
    if (status != VR_OK) {
        return status;
    }
    status = vr_json_parse(json, document, strlen(document), &root);
    vr_json_destroy(json);
    return status;
}

Test(json_alloc, reading_survives_every_failure)
{
    long n = 0;
    for (bool failed = true; failed; n++) {
        fail_from(n);
        enum vr_status status = read_once();
        failed = fail_stop();
        cr_assert_eq(status, failed ? VR_ERR_NOMEM : VR_OK, "allocation %ld: %s", n, vr_status_name(status));
    }
    cr_assert_gt(n, 5);
}

Test(json_alloc, a_parser_that_failed_once_works_again)
{
    struct vr_json *json = NULL;
    struct vr_json_value root;
    cr_assert_eq(vr_json_create(10000, 8, &json), VR_OK);
    bool failed = true;
    for (long n = 0; failed; n++) {
        fail_from(n);
        enum vr_status status = vr_json_parse(json, document, strlen(document), &root);
        failed = fail_stop();
        cr_assert_eq(status, failed ? VR_ERR_NOMEM : VR_OK);
    }
    cr_assert_eq(vr_json_count(root), 10);
    vr_json_destroy(json);
}

Test(json_alloc, a_warm_parser_takes_no_memory)
{
    struct vr_json *json = NULL;
    struct vr_json_value root;
    cr_assert_eq(vr_json_create(10000, 8, &json), VR_OK);
    cr_assert_eq(vr_json_parse(json, document, strlen(document), &root), VR_OK);
    fail_from(1000000);
    for (int i = 0; i < 100; i++) {
        cr_assert_eq(vr_json_parse(json, document, strlen(document), &root), VR_OK);
    }
    long calls = fail_calls();
    fail_stop();
    cr_assert_eq(calls, 0);
    vr_json_destroy(json);
}

static void write_once(struct vr_json_writer *w)
{
    vr_json_open_array(w);
    for (int i = 0; i < 400; i++) {
        vr_json_put_text(w, "some text to make it grow");
        vr_json_put_double(w, i / 7.0);
    }
    vr_json_close_array(w);
}

Test(json_alloc, writing_survives_every_failure_and_a_warm_writer_takes_none)
{
    bool failed = true;
    long n = 0;
    for (; failed; n++) {
        struct vr_json_writer w = {0};
        fail_from(n);
        write_once(&w);
        failed = fail_stop();
        cr_assert_eq(w.failed, failed);
        if (!failed) {
            size_t len = w.len;
            w.len = 0;
            fail_from(1000000);
            write_once(&w);
            long calls = fail_calls();
            fail_stop();
            cr_assert_eq(calls, 0);
            cr_assert_eq(w.len, len);
        }
        vr_json_writer_destroy(&w);
    }
    cr_assert_gt(n, 3);
}
