/* The safetensors reader over headers in memory: each hostile one beside a valid twin that differs in one place. */
#include "vireo/safetensors.h"

#include <stdalign.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <criterion/criterion.h>

#define FILE_MAX 4096u

struct image {
    alignas(8) char bytes[FILE_MAX];
    size_t size;
};

/* A file of `header`, padded with spaces to a multiple of 8, and `data_bytes` bytes 0, 1, 2, ... */
static struct image image_of(const char *header, size_t data_bytes)
{
    struct image file;
    uint64_t length = (strlen(header) + 7) / 8 * 8;
    memset(file.bytes, ' ', sizeof file.bytes);
    memcpy(file.bytes, &length, sizeof length);
    memcpy(file.bytes + 8, header, strlen(header));
    for (size_t i = 0; i < data_bytes; i++) {
        file.bytes[8 + length + i] = (char)i;
    }
    file.size = 8 + (size_t)length + data_bytes;
    return file;
}

static enum vr_status parse(const struct image *file)
{
    struct vr_safetensors *parsed = NULL;
    enum vr_status status = vr_safetensors_parse(file->bytes, file->size, &parsed);
    vr_safetensors_close(parsed);
    return status;
}

#define T(dtype, shape, offsets) "{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":" offsets "}"
#define TWO "{\"a\":" T("F32", "[2,2]", "[0,16]") ",\"b\":" T("I8", "[3]", "[16,19]") "}"

Test(safetensors, reads_tensors)
{
    struct image file = image_of("{\"__metadata__\":{\"by\":\"test\"},\"a\":" T("F32", "[2,2]", "[0,16]") ",\"b\":" T(
                                     "I8", "[3]", "[16,19]") ",\"z\":" T("U8", "[0,5]", "[19,19]") "}",
                                 19);
    struct vr_safetensors *parsed;
    cr_assert_eq(vr_safetensors_parse(file.bytes, file.size, &parsed), VR_OK, "%s", vr_error_text());
    cr_assert_eq(vr_safetensors_count(parsed), 3);
    const struct vr_tensor *b = vr_safetensors_find(parsed, vr_str_of("b"));
    cr_assert_not_null(b);
    cr_assert_eq(b, vr_safetensors_at(parsed, 1));
    cr_assert_eq(b->dtype, VR_DTYPE_I8);
    cr_assert_eq(b->rank, 1);
    cr_assert_eq(b->dim[0], 3);
    cr_assert_eq(((const int8_t *)b->data)[2], 18);
    cr_assert_eq(vr_safetensors_find(parsed, vr_str_of("z"))->bytes, 0);
    cr_assert_null(vr_safetensors_find(parsed, vr_str_of("c")));
    cr_assert_null(vr_safetensors_find(parsed, vr_str_of("")));
    vr_safetensors_close(parsed);
    vr_safetensors_close(NULL);
}

Test(safetensors, names_and_sizes_of_types)
{
    static const char *const names[] = {"F32", "F16", "F64", "I8", "U8", "I32", "U32", "I64"};
    static const size_t sizes[] = {4, 2, 8, 1, 1, 4, 4, 8};
    for (int i = 0; i < 8; i++) {
        char header[128];
        cr_assert_str_eq(vr_dtype_name((enum vr_dtype)i), names[i]);
        cr_assert_eq(vr_dtype_bytes((enum vr_dtype)i), sizes[i]);
        snprintf(header, sizeof header, "{\"a\":{\"dtype\":\"%s\",\"shape\":[3],\"data_offsets\":[0,%zu]}}", names[i],
                 3 * sizes[i]);
        struct image file = image_of(header, 3 * sizes[i]);
        cr_assert_eq(parse(&file), VR_OK, "%s", vr_error_text());
    }
}

static const struct hostile {
    const char *name;
    const char *header;
    size_t data_bytes;
    const char *says; /* part of the message */
} hostile[] = {
    {"empty object but data", "{}", 8, "the file holds 8 bytes"},
    {"not an object", "[1]", 0, "does not begin with '{'"},
    {"white space first", " {}", 0, "does not begin with '{'"},
    {"not JSON", "{\"a\"", 0, "header"},
    {"text behind", "{} x", 0, "header"},
    {"not UTF-8", "{\"\xff\":1}", 0, "header"},
    {"key twice", "{\"a\":" T("U8", "[1]", "[0,1]") ",\"a\":" T("U8", "[1]", "[1,2]") "}", 2, "header"},
    {"key twice by escape", "{\"a\":" T("U8", "[1]", "[0,1]") ",\"\\u0061\":" T("U8", "[1]", "[1,2]") "}", 2, ""},
    {"tensor is a number", "{\"a\":1}", 0, "'a': must be an object"},
    {"unknown key", "{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1],\"x\":1}}", 1, "unknown key 'x'"},
    {"no dtype", "{\"a\":{\"shape\":[1],\"data_offsets\":[0,1]}}", 1, "'dtype' is missing"},
    {"no shape", "{\"a\":{\"dtype\":\"U8\",\"data_offsets\":[0,1]}}", 1, "'shape' is missing"},
    {"no offsets", "{\"a\":{\"dtype\":\"U8\",\"shape\":[1]}}", 1, "'data_offsets' is missing"},
    {"unknown dtype", "{\"a\":" T("BF16", "[1]", "[0,2]") "}", 2, "'BF16'"},
    {"dtype in lower case", "{\"a\":" T("f32", "[1]", "[0,4]") "}", 4, "'f32'"},
    {"rank 0", "{\"a\":" T("U8", "[]", "[0,1]") "}", 1, "1 to 4 elements"},
    {"rank 5", "{\"a\":" T("U8", "[1,1,1,1,1]", "[0,1]") "}", 1, "1 to 4 elements"},
    {"negative dimension", "{\"a\":" T("U8", "[-1]", "[0,1]") "}", 1, "dimension"},
    {"two negative dimensions", "{\"a\":" T("U8", "[-1,-1]", "[0,1]") "}", 1, "dimension"},
    {"dimension is real", "{\"a\":" T("U8", "[1.0]", "[0,1]") "}", 1, "dimension"},
    {"dimension past int64", "{\"a\":" T("U8", "[18446744073709551616]", "[0,1]") "}", 1, "header"},
    {"product overflows", "{\"a\":" T("U8", "[4294967296,4294967296]", "[0,1]") "}", 1, "overflows"},
    {"product overflows to a fit", "{\"a\":" T("U8", "[9223372036854775807,2,2]", "[0,4]") "}", 4, "overflows"},
    {"bytes overflow", "{\"a\":" T("F64", "[4611686018427387904]", "[0,8]") "}", 8, "overflows"},
    {"huge dimension", "{\"a\":" T("U8", "[1099511627776]", "[0,1]") "}", 1, "its shape takes 1099511627776"},
    {"offset negative", "{\"a\":" T("U8", "[1]", "[-1,0]") "}", 1, "data offset"},
    {"offset is text", "{\"a\":" T("U8", "[1]", "[\"0\",1]") "}", 1, "data offset"},
    {"one offset", "{\"a\":" T("U8", "[1]", "[0]") "}", 1, "2 to 2 elements"},
    {"three offsets", "{\"a\":" T("U8", "[1]", "[0,1,2]") "}", 1, "2 to 2 elements"},
    {"ends past the file", "{\"a\":" T("U8", "[9]", "[0,9]") "}", 8, "ends at byte 9"},
    {"offset past int32", "{\"a\":" T("U8", "[4294967297]", "[0,4294967297]") "}", 1, "ends at byte 4294967297"},
    {"ends before it begins", "{\"a\":" T("U8", "[4]", "[0,4]") ",\"b\":" T("U8", "[1]", "[4,3]") "}", 8, "'b' ends"},
    {"shape larger than range", "{\"a\":" T("F32", "[3]", "[0,8]") "}", 8, "takes 12 bytes"},
    {"shape smaller than range", "{\"a\":" T("F32", "[1]", "[0,8]") "}", 8, "takes 4 bytes"},
    {"gap at the start", "{\"a\":" T("U8", "[4]", "[4,8]") "}", 8, "begins at byte 4"},
    {"gap", "{\"a\":" T("U8", "[2]", "[0,2]") ",\"b\":" T("U8", "[4]", "[4,8]") "}", 8, "'b' begins at byte 4"},
    {"overlap", "{\"a\":" T("U8", "[6]", "[0,6]") ",\"b\":" T("U8", "[4]", "[4,8]") "}", 8, "'b' begins at byte 4"},
    {"the same data", "{\"a\":" T("U8", "[8]", "[0,8]") ",\"b\":" T("U8", "[8]", "[0,8]") "}", 8, "'b' begins"},
    {"unsorted", "{\"b\":" T("U8", "[4]", "[4,8]") ",\"a\":" T("U8", "[4]", "[0,4]") "}", 8, "'b' begins at byte 4"},
    {"data behind the last", "{\"a\":" T("U8", "[4]", "[0,4]") "}", 8, "the tensors end at byte 4"},
    {"misaligned", "{\"a\":" T("U8", "[2]", "[0,2]") ",\"b\":" T("F32", "[1]", "[2,6]") "}", 6, "not aligned for F32"},
    {"misaligned half", "{\"a\":" T("U8", "[1]", "[0,1]") ",\"b\":" T("F16", "[1]", "[1,3]") "}", 3, "for F16"},
    {"empty name", "{\"\":" T("U8", "[1]", "[0,1]") "}", 1, "printable"},
    {"name with a line break", "{\"a\\nb\":" T("U8", "[1]", "[0,1]") "}", 1, "'a?b'"},
    {"name with NUL", "{\"a\\u0000b\":" T("U8", "[1]", "[0,1]") "}", 1, "'a?b'"},
    {"metadata is a list", "{\"__metadata__\":[]}", 0, "__metadata__"},
    {"metadata holds a number", "{\"__metadata__\":{\"a\":1}}", 0, "__metadata__"},
    {"deep metadata", "{\"__metadata__\":{\"a\":[[[[[[[[[[]]]]]]]]]]}}", 0, "header"},
};

Test(safetensors, hostile_headers_are_refused)
{
    struct image twin = image_of(TWO, 19);
    for (size_t i = 0; i < sizeof hostile / sizeof *hostile; i++) {
        const struct hostile *h = &hostile[i];
        struct image file = image_of(h->header, h->data_bytes);
        cr_expect_eq(parse(&twin), VR_OK);
        cr_expect_eq(parse(&file), VR_ERR_FORMAT, "%s is accepted", h->name);
        cr_expect(strstr(vr_error_text(), h->says) != NULL, "%s: '%s' lacks '%s'", h->name, vr_error_text(), h->says);
    }
}

/* Every prefix of a valid file is refused; so is the file with a byte more. Each is an exact heap block, so that the
 * sanitizer sees a read past the end. */
Test(safetensors, truncated_files_are_refused)
{
    struct image file = image_of(TWO, 19);
    for (size_t size = 0; size < file.size; size++) {
        char *copy = malloc(size + (size == 0));
        struct vr_safetensors *parsed = NULL;
        memcpy(copy, file.bytes, size);
        cr_expect_eq(vr_safetensors_parse(copy, size, &parsed), VR_ERR_FORMAT, "%zu bytes are accepted", size);
        free(copy);
    }
    cr_expect_eq(parse(&file), VR_OK);
    file.size++;
    cr_expect_eq(parse(&file), VR_ERR_FORMAT);
}

Test(safetensors, hostile_lengths_are_refused)
{
    static const uint64_t lengths[] = {0, 1, 7, 9, 1u << 20, (16u << 20) + 8, UINT64_MAX, UINT64_MAX - 7, 1ull << 63};
    struct image twin = image_of(TWO, 19);
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        struct image file = twin;
        memcpy(file.bytes, &lengths[i], sizeof lengths[i]);
        cr_expect_eq(parse(&file), VR_ERR_FORMAT, "%llu", (unsigned long long)lengths[i]);
    }
    cr_expect_eq(parse(&twin), VR_OK);
}

/* The name of a tensor may have 128 characters, and no more. */
Test(safetensors, long_names)
{
    for (int length = 127; length <= 130; length++) {
        char header[512], name[256];
        memset(name, 'n', sizeof name);
        name[length] = '\0';
        snprintf(header, sizeof header, "{\"%s\":%s}", name, T("U8", "[1]", "[0,1]"));
        struct image file = image_of(header, 1);
        cr_expect_eq(parse(&file), length <= 128 ? VR_OK : VR_ERR_FORMAT, "%d", length);
    }
}

Test(safetensors, unaligned_memory_is_refused)
{
    struct image file = image_of(TWO, 19);
    struct vr_safetensors *parsed = NULL;
    memmove(file.bytes + 4, file.bytes, file.size);
    cr_expect_eq(vr_safetensors_parse(file.bytes + 4, file.size, &parsed), VR_ERR_INVALID);
}

/* One changed byte anywhere in the header: refused or read, and never a fault. */
Test(safetensors, changed_bytes_do_no_harm)
{
    struct image twin = image_of(TWO, 19);
    unsigned accepted = 0, refused = 0;
    for (size_t at = 0; at < twin.size - 19; at++) {
        for (int bit = 0; bit < 8; bit++) {
            struct image file = twin;
            file.bytes[at] = (char)(file.bytes[at] ^ (1 << bit));
            if (parse(&file) == VR_OK) {
                accepted++; /* a name has changed */
            } else {
                refused++;
            }
        }
    }
    cr_expect_gt(refused, 10 * accepted);
    cr_expect_gt(accepted, 0);
}
