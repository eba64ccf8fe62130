/* Writing JSON: text against expectations, numbers against the C library's own conversions, and random trees parsed
 * back. */
#include "vireo/json.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include <criterion/criterion.h>
#include <ctype.h>

static int cases_wanted(int usual)
{
    return getenv("VIREO_LONG") != NULL ? usual * 20 : usual;
}

static uint64_t next_random(uint64_t *state)
{
    *state += 0x9e3779b97f4a7c15u;
    uint64_t x = *state;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

static void expect(struct vr_json_writer *w, const char *text)
{
    cr_assert_not(w->failed);
    cr_assert(w->len == strlen(text) && memcmp(w->data, text, w->len) == 0, "%.*s is not %s", (int)w->len, w->data,
              text);
    w->len = 0;
}

Test(json_write, commas_and_brackets)
{
    struct vr_json_writer w = {0};
    vr_json_open_object(&w);
    vr_json_key(&w, "a");
    vr_json_open_array(&w);
    vr_json_put_int(&w, 1);
    vr_json_open_array(&w);
    vr_json_close_array(&w);
    vr_json_open_object(&w);
    vr_json_close_object(&w);
    vr_json_put_null(&w);
    vr_json_close_array(&w);
    vr_json_key(&w, "b");
    vr_json_put_bool(&w, true);
    vr_json_key(&w, "c");
    vr_json_put_bool(&w, false);
    vr_json_key(&w, "d");
    vr_json_put_text(&w, NULL);
    vr_json_close_object(&w);
    expect(&w, "{\"a\":[1,[],{},null],\"b\":true,\"c\":false,\"d\":null}");
    vr_json_put_int(&w, INT64_MIN); /* reused: no comma in front */
    expect(&w, "-9223372036854775808");
    vr_json_put_uint(&w, UINT64_MAX);
    expect(&w, "18446744073709551615");
    vr_json_writer_destroy(&w);
    cr_assert_null(w.data);
}

Test(json_write, strings_are_escaped_and_repaired)
{
    static const struct {
        struct vr_str value;
        const char *text;
    } cases[] = {
        {{NULL, 0}, "\"\""},
        {{"a\"b\\c/", 6}, "\"a\\\"b\\\\c/\""},
        {{"\b\f\n\r\t", 5}, "\"\\b\\f\\n\\r\\t\""},
        {{"\0\x01\x1f\x7f", 4}, "\"\\u0000\\u0001\\u001f\x7f\""},
        {{"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", 9}, "\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\""},
        {{"\xff", 1}, "\"\xef\xbf\xbd\""},
        {{"a\x80z", 3}, "\"a\xef\xbf\xbdz\""},
        {{"\xc3", 1}, "\"\xef\xbf\xbd\""},
        {{"\xc0\xaf", 2}, "\"\xef\xbf\xbd\xef\xbf\xbd\""},
        {{"\xe0\x80\x80", 3}, "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""},
        {{"\xed\xa0\x80", 3}, "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""},
        {{"\xf4\x90\x80\x80", 4}, "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""},
        {{"\xe2\x82", 2}, "\"\xef\xbf\xbd\xef\xbf\xbd\""},
        {{"\xf0\x9f\x98\x80\xf0\x9f", 6}, "\"\xf0\x9f\x98\x80\xef\xbf\xbd\xef\xbf\xbd\""},
    };
    struct vr_json_writer w = {0};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        vr_json_put_str(&w, cases[i].value);
        expect(&w, cases[i].text);
    }
    vr_json_writer_destroy(&w);
}

/* Whatever the bytes, the text parses; where they are UTF-8, it reads back to the same bytes. */
Test(json_write, random_bytes_read_back)
{
    struct vr_json_writer w = {0};
    struct vr_json *json = NULL;
    cr_assert_eq(vr_json_create(10000, 4, &json), VR_OK);
    uint64_t state = 3;
    int kept = 0;
    for (int i = 0; i < cases_wanted(20000); i++) {
        char bytes[64];
        struct vr_str value = {bytes, next_random(&state) % sizeof bytes};
        bool ascii = i % 2 == 0;
        for (size_t k = 0; k < value.len; k++) {
            bytes[k] = (char)(next_random(&state) & (ascii ? 0x7f : 0xff));
        }
        struct vr_json_value root;
        struct vr_str back;
        w.len = 0;
        vr_json_put_str(&w, value);
        cr_assert_eq(vr_json_parse(json, w.data, w.len, &root), VR_OK, "%s", vr_error_text());
        cr_assert_eq(vr_json_as_str(root, &back), VR_OK);
        if (ascii) {
            cr_assert(vr_str_equal(back, value));
            kept++;
        }
    }
    cr_assert_gt(kept, 1000);
    vr_json_destroy(json);
    vr_json_writer_destroy(&w);
}

static const char *number_text(struct vr_json_writer *w)
{
    static char text[64];
    cr_assert_lt(w->len, sizeof text);
    memcpy(text, w->data, w->len);
    text[w->len] = '\0';
    return text;
}

/* The C library as oracle: strtof reads back the same bits, and no %.<n>g that does is shorter. */
Test(json_write, floats_read_back_and_are_shortest)
{
    struct vr_json_writer w = {0};
    uint64_t state = 11;
    for (int i = 0; i < cases_wanted(100000); i++) {
        uint32_t bits = (uint32_t)next_random(&state);
        float value;
        memcpy(&value, &bits, sizeof value);
        w.len = 0;
        vr_json_put_float(&w, value);
        const char *text = number_text(&w);
        if (!isfinite(value)) {
            cr_assert_str_eq(text, "null");
            continue;
        }
        char *end;
        float back = strtof(text, &end);
        cr_assert(*end == '\0' && memcmp(&back, &value, sizeof value) == 0, "%a gives %s", (double)value, text);
        bool kept_real = strlen(text) > 2 && strcmp(text + strlen(text) - 2, ".0") == 0;
        for (int digits = 1; digits <= 9 && !kept_real; digits++) {
            char other[64];
            snprintf(other, sizeof other, "%.*g", digits, (double)value);
            cr_assert(strtof(other, NULL) != value || strlen(other) >= strlen(text), "%s could be %s", text, other);
        }
    }
    vr_json_writer_destroy(&w);
}

/* One float of a usual size against the C library: the digits are those of the shortest %e that reads back, which is
 * the closest decimal of so many digits. */
static void check_usual(struct vr_json_writer *w, float value)
{
    char wanted[32], got[32];
    size_t len = 0;
    w->len = 0;
    vr_json_put_float(w, value);
    const char *text = number_text(w);
    cr_assert_eq(strtof(text, NULL), value, "%a gives %s", (double)value, text);
    for (const char *at = text; *at != '\0' && *at != 'e'; at++) {
        if (isdigit((unsigned char)*at) && (len > 0 || *at != '0')) {
            got[len++] = *at;
        }
    }
    while (len > 1 && got[len - 1] == '0') {
        len--;
    }
    int digits = 0;
    do {
        snprintf(wanted, sizeof wanted, "%.*e", digits, (double)fabsf(value));
    } while (strtof(wanted, NULL) != fabsf(value) && ++digits < 9);
    memmove(wanted + 1, wanted + 2, strlen(wanted + 1)); /* the point goes */
    cr_assert(len == (size_t)digits + 1 && memcmp(got, wanted, len) == 0, "%a gives %s, not %s", (double)value, text,
              wanted);
}

/* Scores, probabilities and seconds take a way of their own: from 1e-4 to 1e5, with both sides of each end. */
Test(json_write, usual_floats_have_the_closest_of_the_shortest_digits)
{
    struct vr_json_writer w = {0};
    uint64_t state = 5;
    for (int i = 0; i < cases_wanted(100000); i++) {
        uint32_t bits = 0x38000000 + (uint32_t)(next_random(&state) % 0x10000000);
        float value;
        memcpy(&value, &bits, sizeof value);
        check_usual(&w, i % 2 == 0 ? value : -value);
    }
    for (float decade = 1e-5f; decade < 1e7f; decade *= 10.0f) {
        float value = nextafterf(nextafterf(decade, 0.0f), 0.0f);
        for (int i = 0; i < 5; i++, value = nextafterf(value, INFINITY)) {
            check_usual(&w, value);
        }
    }
    for (int exponent = -14; exponent < 18; exponent++) {
        check_usual(&w, ldexpf(1.0f, exponent));
    }
    for (int i = 1; i < 4000; i++) {
        check_usual(&w, (float)i / 1000.0f);
        check_usual(&w, (float)i / 128.0f);
        check_usual(&w, (float)i * 25.0f);
    }
    vr_json_writer_destroy(&w);
}

/* Strings are looked through by words: a byte that needs more than copying is found at each place of each length, also
 * behind others, and its neighbours in value are not taken for it. */
Test(json_write, each_place_of_a_string_is_looked_at)
{
    static const struct {
        const char *byte, *written;
    } cases[] = {{"\"", "\\\""},
                 {"\\", "\\\\"},
                 {"\x1f", "\\u001f"},
                 {"\n", "\\n"},
                 {"\x80", "\xef\xbf\xbd"},
                 {"\xff", "\xef\xbf\xbd"},
                 {" ", " "},
                 {"!", "!"},
                 {"#", "#"},
                 {"[", "["},
                 {"]", "]"},
                 {"\x7f", "\x7f"}};
    struct vr_json_writer w = {0};
    for (size_t len = 1; len <= 40; len++) {
        for (size_t place = 0; place < len; place++) {
            for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
                char text[40], wanted[64];
                memset(text, 'a', len);
                text[place] = cases[c].byte[0];
                struct vr_str value = {text, len};
                int wanted_len = snprintf(wanted, sizeof wanted, "\"%.*s%s%.*s\"", (int)place, text, cases[c].written,
                                          (int)(len - place - 1), text + place + 1);
                w.len = 0;
                w.need_comma = false;
                vr_json_put_str(&w, value);
                cr_assert(w.len == (size_t)wanted_len && memcmp(w.data, wanted, w.len) == 0, "%.*s", (int)w.len,
                          w.data);
            }
        }
    }
    vr_json_writer_destroy(&w);
}

Test(json_write, doubles_read_back_through_strtod_and_the_parser)
{
    struct vr_json_writer w = {0};
    struct vr_json *json = NULL;
    cr_assert_eq(vr_json_create(100, 4, &json), VR_OK);
    static const double special[] = {0.0,
                                     -0.0,
                                     1.0,
                                     5e-324,
                                     2.2250738585072014e-308,
                                     1.7976931348623157e308,
                                     1e21,
                                     1e22,
                                     1e23,
                                     9007199254740993.0,
                                     0.1,
                                     123456789012345680.0,
                                     -1e16,
                                     18446744073709551616.0};
    uint64_t state = 17;
    int count = cases_wanted(100000);
    int specials = (int)(sizeof special / sizeof special[0]);
    for (int i = 0; i < count; i++) {
        uint64_t bits = next_random(&state);
        double value;
        memcpy(&value, &bits, sizeof value);
        value = i < specials ? special[i] : value;
        w.len = 0;
        vr_json_put_double(&w, value);
        const char *text = number_text(&w);
        if (!isfinite(value)) {
            cr_assert_str_eq(text, "null");
            continue;
        }
        char *end;
        double back = strtod(text, &end);
        cr_assert(*end == '\0' && memcmp(&back, &value, sizeof value) == 0, "%a gives %s", value, text);
        struct vr_json_value root;
        cr_assert_eq(vr_json_parse(json, w.data, w.len, &root), VR_OK, "%s: %s", text, vr_error_text());
        cr_assert_eq(vr_json_as_double(root, &back), VR_OK);
        cr_assert_eq(memcmp(&back, &value, sizeof value), 0, "%s parses to another number", text);
    }
    vr_json_destroy(json);
    vr_json_writer_destroy(&w);
}

/* A random tree; the same draws rebuild it for the comparison. */
static void write_tree(struct vr_json_writer *w, uint64_t *state, int depth)
{
    uint64_t draw = next_random(state);
    size_t members = (draw >> 8) % 5;
    switch (draw % (depth > 0 ? 7 : 5)) {
    case 0: vr_json_put_null(w); break;
    case 1: vr_json_put_bool(w, (draw >> 9 & 1) != 0); break;
    case 2: vr_json_put_int(w, (int64_t)next_random(state)); break;
    case 3: vr_json_put_double(w, (double)(draw >> 12) / 3); break;
    case 4: vr_json_put_text(w, (draw >> 9 & 1) != 0 ? "te\"xt\n" : ""); break;
    case 5:
        vr_json_open_array(w);
        for (size_t i = 0; i < members; i++) {
            write_tree(w, state, depth - 1);
        }
        vr_json_close_array(w);
        break;
    default:
        vr_json_open_object(w);
        for (size_t i = 0; i < members; i++) {
            char key[8];
            snprintf(key, sizeof key, "k%zu", i);
            vr_json_key(w, key);
            write_tree(w, state, depth - 1);
        }
        vr_json_close_object(w);
        break;
    }
}

static void check_tree(struct vr_json_value v, uint64_t *state, int depth)
{
    uint64_t draw = next_random(state);
    size_t members = (draw >> 8) % 5;
    static const enum vr_json_type types[] = {VR_JSON_NULL,   VR_JSON_BOOL,  VR_JSON_INT,   VR_JSON_DOUBLE,
                                              VR_JSON_STRING, VR_JSON_ARRAY, VR_JSON_OBJECT};
    enum vr_json_type type = types[draw % (depth > 0 ? 7 : 5)];
    bool flag;
    int64_t number;
    double real;
    struct vr_str text;
    if (type == VR_JSON_DOUBLE) { /* a whole double prints as an integer */
        cr_assert_eq(vr_json_as_double(v, &real), VR_OK);
        cr_assert_eq(real, (double)(draw >> 12) / 3);
        return;
    }
    cr_assert_eq(vr_json_type_of(v), type);
    if (type == VR_JSON_BOOL) {
        cr_assert(vr_json_as_bool(v, &flag) == VR_OK && flag == ((draw >> 9 & 1) != 0));
    } else if (type == VR_JSON_INT) {
        cr_assert(vr_json_as_int(v, &number) == VR_OK && number == (int64_t)next_random(state));
    } else if (type == VR_JSON_STRING) {
        cr_assert_eq(vr_json_as_str(v, &text), VR_OK);
        cr_assert(vr_str_equal(text, vr_str_of((draw >> 9 & 1) != 0 ? "te\"xt\n" : "")));
    } else if (type != VR_JSON_NULL) {
        struct vr_json_value member;
        cr_assert_eq(vr_json_count(v), members);
        for (struct vr_json_iter it = vr_json_begin(v); vr_json_next(&it, NULL, &member);) {
            check_tree(member, state, depth - 1);
        }
    }
}

Test(json_write, random_trees_read_back)
{
    struct vr_json_writer w = {0};
    struct vr_json *json = NULL;
    cr_assert_eq(vr_json_create(1000000, 16, &json), VR_OK);
    for (int i = 0; i < cases_wanted(3000); i++) {
        uint64_t writing = (uint64_t)i * 77;
        uint64_t reading = writing;
        struct vr_json_value root;
        w.len = 0;
        write_tree(&w, &writing, 6);
        cr_assert_eq(vr_json_parse(json, w.data, w.len, &root), VR_OK, "%s: %.*s", vr_error_text(), (int)w.len, w.data);
        check_tree(root, &reading, 6);
    }
    vr_json_destroy(json);
    vr_json_writer_destroy(&w);
}
