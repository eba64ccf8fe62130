/* Reading JSON: what is accepted and refused, typed access, limits, and that a warm parser allocates nothing. */
#include "vireo/json.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <criterion/criterion.h>

static struct vr_json *make(size_t max_bytes, size_t max_depth)
{
    struct vr_json *json = NULL;
    cr_assert_eq(vr_json_create(max_bytes, max_depth, &json), VR_OK);
    return json;
}

static enum vr_status parse(struct vr_json *json, const char *text, struct vr_json_value *root)
{
    return vr_json_parse(json, text, strlen(text), root);
}

static enum vr_status parse_once(const char *text, size_t len)
{
    struct vr_json *json = make(1000000, 64);
    struct vr_json_value root;
    enum vr_status status = vr_json_parse(json, text, len, &root);
    vr_json_destroy(json);
    return status;
}

/* Each malformed document stands beside a valid twin that differs only in the fault. */
Test(json_read, malformed_documents_are_refused_and_their_twins_accepted)
{
    static const struct {
        const char *bad, *good;
    } cases[] = {
        {"", "0"},
        {"   ", " 1 "},
        {"{", "{}"},
        {"[1,]", "[1]"},
        {"[,1]", "[1]"},
        {"[1 2]", "[1,2]"},
        {"{\"a\":1,}", "{\"a\":1}"},
        {"{\"a\" 1}", "{\"a\": 1}"},
        {"{a:1}", "{\"a\":1}"},
        {"{'a':1}", "{\"a\":1}"},
        {"{\"a\":}", "{\"a\":0}"},
        {"{1:2}", "{\"1\":2}"},
        {"{\"a\":1,\"a\":2}", "{\"a\":1,\"b\":2}"},
        {"[{\"x\":{\"k\":1,\"k\":1}}]", "[{\"x\":{\"k\":1,\"K\":1}}]"},
        {"{\"\\u0061\":1,\"a\":2}", "{\"\\u0062\":1,\"a\":2}"},
        {"[1]]", "[[1]]"},
        {"[1] [2]", "[1 ,2]"},
        {"1 2", "12"},
        {"nul", "null"},
        {"True", "true"},
        {"tru", "true"},
        {"falsey", "false"},
        {"01", "10"},
        {"-", "-1"},
        {"+1", "1"},
        {"1.", "1.0"},
        {".5", "0.5"},
        {"1e", "1e1"},
        {"0x10", "16"},
        {"NaN", "0"},
        {"Infinity", "1e308"},
        {"1e400", "1e300"},
        {"18446744073709551616", "18446744073709551615"},
        {"-9223372036854775809", "-9223372036854775808"},
        {"\"a", "\"a\""},
        {"\"a\nb\"", "\"a\\nb\""},
        {"\"\t\"", "\"\\t\""},
        {"\"\\x41\"", "\"\\u0041\""},
        {"\"\\u12\"", "\"\\u1234\""},
        {"\"\\ud800\"", "\"\\ud800\\udc00\""},
        {"\"\\udc00\"", "\"\\ud7ff\""},
        {"\"\\ud800\\u0041\"", "\"\\ud83d\\ude00\""},
        {"\"\xff\"", "\"\xc3\xbf\""},
        {"\"\xc0\xaf\"", "\"\xc2\xaf\""},
        {"\"\xed\xa0\x80\"", "\"\xed\x9f\xbf\""},
        {"\"\xf4\x90\x80\x80\"", "\"\xf4\x8f\xbf\xbf\""},
        {"\xef\xbb\xbf{}", "{}"},
        {"/* c */ 1", "1"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        cr_assert_eq(parse_once(cases[i].bad, strlen(cases[i].bad)), VR_ERR_FORMAT, "accepted: %s", cases[i].bad);
        cr_assert_str_neq(vr_error_text(), "");
        cr_assert_eq(parse_once(cases[i].good, strlen(cases[i].good)), VR_OK, "refused: %s (%s)", cases[i].good,
                     vr_error_text());
    }
    cr_assert_eq(parse_once("1\0", 2), VR_ERR_FORMAT);
    cr_assert_eq(parse_once("\"a\0b\"", 5), VR_ERR_FORMAT);
}

Test(json_read, values_have_their_types)
{
    struct vr_json *json = make(1000, 8);
    struct vr_json_value root;
    struct vr_json_value v;
    cr_assert_eq(parse(json,
                       "{\"n\":null,\"b\":true,\"i\":-7,\"d\":0.25,\"u\":18446744073709551615,\"s\":\"x\\u0000y\","
                       "\"a\":[1,[2],{}],\"o\":{\"k\":false}}",
                       &root),
                 VR_OK);
    static const struct {
        const char *key;
        enum vr_json_type type;
    } expected[] = {{"n", VR_JSON_NULL},   {"b", VR_JSON_BOOL},   {"i", VR_JSON_INT},   {"d", VR_JSON_DOUBLE},
                    {"u", VR_JSON_DOUBLE}, {"s", VR_JSON_STRING}, {"a", VR_JSON_ARRAY}, {"o", VR_JSON_OBJECT}};
    for (size_t i = 0; i < 8; i++) {
        cr_assert_eq(vr_json_get(root, expected[i].key, &v), VR_OK);
        cr_assert_eq(vr_json_type_of(v), expected[i].type, "%s", expected[i].key);
    }
    bool flag = false;
    int64_t number = 0;
    double real = 0;
    struct vr_str text;
    vr_json_get(root, "b", &v);
    cr_assert(vr_json_as_bool(v, &flag) == VR_OK && flag);
    cr_assert_eq(vr_json_as_int(v, &number), VR_ERR_FORMAT);
    vr_json_get(root, "i", &v);
    cr_assert(vr_json_as_int(v, &number) == VR_OK && number == -7);
    cr_assert(vr_json_as_double(v, &real) == VR_OK && real == -7.0);
    cr_assert_eq(vr_json_as_str(v, &text), VR_ERR_FORMAT);
    cr_assert_str_eq(vr_error_text(), "expected string, found integer");
    vr_json_get(root, "d", &v);
    cr_assert(vr_json_as_double(v, &real) == VR_OK && real == 0.25);
    cr_assert_eq(vr_json_as_int(v, &number), VR_ERR_FORMAT);
    vr_json_get(root, "u", &v);
    cr_assert(vr_json_as_double(v, &real) == VR_OK && real == 18446744073709551616.0);
    cr_assert_eq(vr_json_as_int(v, &number), VR_ERR_FORMAT);
    vr_json_get(root, "s", &v);
    cr_assert(vr_json_as_str(v, &text) == VR_OK && text.len == 3 && memcmp(text.data, "x\0y", 3) == 0);
    cr_assert_eq(vr_json_get(root, "missing", &v), VR_ERR_NOT_FOUND);
    cr_assert_eq(vr_json_get(v, "k", &v), VR_ERR_FORMAT);
    vr_json_destroy(json);
}

Test(json_read, iteration_visits_members_in_order)
{
    struct vr_json *json = make(1000, 8);
    struct vr_json_value root;
    struct vr_json_value v;
    struct vr_str key;
    cr_assert_eq(parse(json, "{\"a\":[[],[1,2],{\"x\":[3]}],\"b\":{},\"c\":1.5}", &root), VR_OK);
    cr_assert_eq(vr_json_count(root), 3);
    char order[8] = "";
    for (struct vr_json_iter it = vr_json_begin(root); vr_json_next(&it, &key, &v);) {
        strncat(order, key.data, key.len);
    }
    cr_assert_str_eq(order, "abc");
    vr_json_get(root, "a", &v);
    cr_assert_eq(vr_json_count(v), 3);
    size_t counts[3];
    size_t n = 0;
    struct vr_json_value inner;
    for (struct vr_json_iter it = vr_json_begin(v); vr_json_next(&it, &key, &inner);) {
        cr_assert_eq(key.len, 0);
        counts[n++] = vr_json_count(inner);
    }
    cr_assert(n == 3 && counts[0] == 0 && counts[1] == 2 && counts[2] == 1);
    vr_json_get(root, "c", &v);
    cr_assert_eq(vr_json_count(v), 0);
    struct vr_json_iter it = vr_json_begin(v);
    cr_assert_not(vr_json_next(&it, NULL, &inner));
    vr_json_get(root, "b", &v);
    it = vr_json_begin(v);
    cr_assert_not(vr_json_next(&it, &key, &inner));
    vr_json_destroy(json);
}

static char *nested(size_t levels)
{
    char *text = malloc(2 * levels + 1);
    memset(text, '[', levels);
    memset(text + levels, ']', levels);
    text[2 * levels] = '\0';
    return text;
}

Test(json_read, limits_are_kept_to_the_byte_and_the_level)
{
    struct vr_json *json = make(100, 8);
    struct vr_json_value root;
    char *text = nested(8);
    cr_assert_eq(parse(json, text, &root), VR_OK);
    free(text);
    text = nested(9);
    cr_assert_eq(parse(json, text, &root), VR_ERR_TOO_LARGE);
    free(text);
    char padded[101];
    memset(padded, ' ', sizeof padded);
    padded[0] = '1';
    cr_assert_eq(vr_json_parse(json, padded, 100, &root), VR_OK);
    cr_assert_eq(vr_json_parse(json, padded, 101, &root), VR_ERR_TOO_LARGE);
    vr_json_destroy(json);
    cr_assert_eq(vr_json_create(0, 1, &json), VR_ERR_INVALID);
    cr_assert_eq(vr_json_create(1, 0, &json), VR_ERR_INVALID);
    vr_json_destroy(NULL);
}

/* {"<prefix>0":0,"<prefix>1":0,...}; with `repeat` the first key comes again at the end. */
static char *object_of(size_t keys, const char *prefix, bool repeat)
{
    char *text = malloc((keys + 1) * (strlen(prefix) + 16) + 16);
    size_t len = 0;
    text[len++] = '{';
    for (size_t i = 0; i < keys + (repeat ? 1 : 0); i++) {
        len += (size_t)sprintf(text + len, "%s\"%s%zu\":0", i == 0 ? "" : ",", prefix, i % keys);
    }
    text[len++] = '}';
    text[len] = '\0';
    return text;
}

static double parse_seconds(struct vr_json *json, const char *text, enum vr_status expected)
{
    struct timespec begin;
    struct timespec end;
    struct vr_json_value root;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &begin);
    cr_assert_eq(parse(json, text, &root), expected);
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &end);
    return (double)(end.tv_sec - begin.tv_sec) + 1e-9 * (double)(end.tv_nsec - begin.tv_nsec);
}

Test(json_read, many_keys_are_checked_in_bounded_time)
{
    struct vr_json *json = make(10000000, 8);
    char prefix[65];
    memset(prefix, 'k', 64);
    prefix[64] = '\0';
    for (size_t keys = 1; keys < 300; keys++) {
        char *text = object_of(keys, "k", true);
        parse_seconds(json, text, VR_ERR_FORMAT);
        free(text);
        text = object_of(keys, "k", false);
        parse_seconds(json, text, VR_OK);
        free(text);
    }
    char *hostile = object_of(100000, prefix, false);
    /* Comparing all pairs would take 5e9 compares of 70 bytes, minutes under the sanitizers. */
    cr_assert_lt(parse_seconds(json, hostile, VR_OK), 10);
    free(hostile);
    hostile = object_of(100000, prefix, true);
    cr_assert_lt(parse_seconds(json, hostile, VR_ERR_FORMAT), 10);
    cr_assert_not_null(strstr(vr_error_text(), "occurs twice"));
    free(hostile);
    vr_json_destroy(json);
}

Test(json_read, a_failed_parse_leaves_the_parser_usable)
{
    struct vr_json *json = make(100000, 16);
    struct vr_json_value root;
    static const char *const bad[] = {"{\"a\":", "[1,2", "\"\xff\"", "{\"k\":1,\"k\":2}", "", "[[[[[[[[[[[[[[[[[[[]"};
    for (size_t i = 0; i < 60; i++) {
        cr_assert_neq(parse(json, bad[i % 6], &root), VR_OK);
        cr_assert_eq(parse(json, "{\"a\":[1,2,3]}", &root), VR_OK);
        cr_assert_eq(vr_json_count(root), 1);
    }
    vr_json_destroy(json);
}
