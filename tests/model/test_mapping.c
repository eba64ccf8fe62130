/* Files mapped for reading: their bytes, their limits, and what is no file. */
#include "model/mapping.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <criterion/criterion.h>

Test(mapping, files)
{
    char path[] = "/tmp/vireo_mapping_XXXXXX";
    struct vr_mapping mapping;
    int fd = mkstemp(path);
    cr_assert_geq(fd, 0);
    cr_expect_eq(vr_mapping_open(path, 5, &mapping), VR_OK, "%s", vr_error_text());
    cr_expect_null(mapping.data);
    cr_expect_eq(mapping.bytes, 0);
    vr_mapping_close(&mapping);
    cr_assert_eq(write(fd, "hello", 5), 5);
    cr_assert_eq(vr_mapping_open(path, 5, &mapping), VR_OK, "%s", vr_error_text());
    cr_expect_eq(mapping.bytes, 5);
    cr_expect_arr_eq(mapping.data, "hello", 5);
    vr_mapping_close(&mapping);
    vr_mapping_close(&mapping);
    cr_expect_eq(vr_mapping_open(path, 4, &mapping), VR_ERR_TOO_LARGE);
    cr_expect_null(mapping.data);
    close(fd);
    unlink(path);
    cr_expect_eq(vr_mapping_open(path, 5, &mapping), VR_ERR_NOT_FOUND);
    cr_expect(strstr(vr_error_text(), "No such file") != NULL, "%s", vr_error_text());
    cr_expect_null(mapping.data);
}

Test(mapping, a_folder_is_no_file)
{
    struct vr_mapping mapping;
    cr_expect_eq(vr_mapping_open("/", 5, &mapping), VR_ERR_FORMAT);
    cr_expect_null(mapping.data);
}
