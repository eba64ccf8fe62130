/* Names of statuses and the thread's error text. */
#include "vireo/status.h"

#include <pthread.h>
#include <string.h>

#include <criterion/criterion.h>

Test(status, every_code_has_its_own_name)
{
    for (int a = VR_OK; a <= VR_ERR_DEVICE_LOST; a++) {
        for (int b = VR_OK; b < a; b++) {
            cr_assert_str_neq(vr_status_name((enum vr_status)a), vr_status_name((enum vr_status)b));
        }
    }
    cr_assert_str_eq(vr_status_name(VR_OK), "ok");
    cr_assert_str_eq(vr_status_name(VR_ERR_NOT_FOUND), "not_found");
    cr_assert_str_eq(vr_status_name((enum vr_status)999), "unknown");
    cr_assert_str_eq(vr_status_name((enum vr_status) - 1), "unknown");
}

Test(status, text_is_kept_and_prefixed)
{
    cr_assert_str_eq(vr_error_text(), "");
    cr_assert_eq(vr_fail(VR_ERR_FORMAT, "tensor '%s' has %d rows", "a", 3), VR_ERR_FORMAT);
    cr_assert_str_eq(vr_error_text(), "tensor 'a' has 3 rows");
    cr_assert_eq(vr_fail_in(VR_ERR_IO, "%s", "weights"), VR_ERR_IO);
    cr_assert_str_eq(vr_error_text(), "weights: tensor 'a' has 3 rows");
}

Test(status, old_text_may_be_an_argument)
{
    vr_fail(VR_ERR_IO, "inner");
    vr_fail(VR_ERR_FORMAT, "outer (%s)", vr_error_text());
    cr_assert_str_eq(vr_error_text(), "outer (inner)");
    vr_fail_in(VR_ERR_FORMAT, "<%s>", vr_error_text());
    cr_assert_str_eq(vr_error_text(), "<outer (inner)>: outer (inner)");
}

Test(status, long_text_is_cut)
{
    char text[2000];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    vr_fail(VR_ERR_FORMAT, "%s", text);
    cr_assert_eq(strlen(vr_error_text()), 511);
    vr_fail_in(VR_ERR_FORMAT, "%s", "front");
    cr_assert_eq(strlen(vr_error_text()), 511);
    cr_assert_eq(strncmp(vr_error_text(), "front: xxx", 10), 0);
}

static void *fail_elsewhere(void *argument)
{
    (void)argument;
    vr_fail(VR_ERR_BUSY, "elsewhere");
    return NULL;
}

Test(status, text_belongs_to_the_thread)
{
    pthread_t thread;
    vr_fail(VR_ERR_IO, "here");
    cr_assert_eq(pthread_create(&thread, NULL, fail_elsewhere, NULL), 0);
    pthread_join(thread, NULL);
    cr_assert_str_eq(vr_error_text(), "here");
}
