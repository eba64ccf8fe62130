/* Fuzz target: any bytes are parsed; what is accepted is walked whole, written back and parsed again, and both trees
 * must be equal. */
#include <stdint.h>
#include <stdlib.h>

#include "vireo/json.h"

#define MAX_BYTES 65536u
#define MAX_DEPTH 64u

static struct vr_json *first;
static struct vr_json *second;
static struct vr_json_writer writer;

static void require(bool condition)
{
    if (!condition) {
        abort();
    }
}

static void copy_value(struct vr_json_value value);

/* Keys are put through the string writer, which escapes; the key writer takes identifiers only. */
static void copy_members(struct vr_json_value value)
{
    struct vr_str key;
    struct vr_json_value member;
    size_t count = 0;
    for (struct vr_json_iter it = vr_json_begin(value); vr_json_next(&it, &key, &member); count++) {
        if (it.is_object) { /* as an array of pairs */
            vr_json_open_array(&writer);
            vr_json_put_str(&writer, key);
            copy_value(member);
            vr_json_close_array(&writer);
        } else {
            copy_value(member);
        }
    }
    require(count == vr_json_count(value));
}

static void copy_number(struct vr_json_value value)
{
    int64_t integer;
    double real;
    require(vr_json_as_double(value, &real) == VR_OK);
    if (vr_json_as_int(value, &integer) == VR_OK) {
        vr_json_put_int(&writer, integer);
    } else {
        vr_json_put_double(&writer, real);
    }
}

static void copy_value(struct vr_json_value value)
{
    struct vr_str text;
    bool flag;
    switch (vr_json_type_of(value)) {
    case VR_JSON_NULL: vr_json_put_null(&writer); break;
    case VR_JSON_BOOL:
        require(vr_json_as_bool(value, &flag) == VR_OK);
        vr_json_put_bool(&writer, flag);
        break;
    case VR_JSON_INT:
    case VR_JSON_DOUBLE: copy_number(value); break;
    case VR_JSON_STRING:
        require(vr_json_as_str(value, &text) == VR_OK);
        vr_json_put_str(&writer, text);
        break;
    case VR_JSON_ARRAY:
    case VR_JSON_OBJECT:
        vr_json_open_array(&writer);
        copy_members(value);
        vr_json_close_array(&writer);
        break;
    }
}

static bool same_number(struct vr_json_value a, struct vr_json_value b)
{
    double x;
    double y;
    return vr_json_as_double(a, &x) == VR_OK && vr_json_as_double(b, &y) == VR_OK && memcmp(&x, &y, sizeof x) == 0;
}

static bool same_value(struct vr_json_value a, struct vr_json_value b);

/* `a` is the original; its objects are arrays of [key, value] in `b`. */
static bool same_members(struct vr_json_value a, struct vr_json_value b)
{
    struct vr_str key;
    struct vr_json_value x;
    struct vr_json_value y;
    struct vr_json_iter copies = vr_json_begin(b);
    for (struct vr_json_iter it = vr_json_begin(a); vr_json_next(&it, &key, &x);) {
        if (!vr_json_next(&copies, NULL, &y)) {
            return false;
        }
        if (it.is_object) {
            struct vr_json_iter pair = vr_json_begin(y);
            struct vr_str name;
            if (!vr_json_next(&pair, NULL, &y) || vr_json_as_str(y, &name) != VR_OK || !vr_str_equal(name, key) ||
                !vr_json_next(&pair, NULL, &y)) {
                return false;
            }
        }
        if (!same_value(x, y)) {
            return false;
        }
    }
    return !vr_json_next(&copies, NULL, &y);
}

static bool same_value(struct vr_json_value a, struct vr_json_value b)
{
    struct vr_str s;
    struct vr_str t;
    bool f;
    bool g;
    switch (vr_json_type_of(a)) {
    case VR_JSON_NULL: return vr_json_type_of(b) == VR_JSON_NULL;
    case VR_JSON_BOOL: return vr_json_as_bool(a, &f) == VR_OK && vr_json_as_bool(b, &g) == VR_OK && f == g;
    case VR_JSON_INT:
    case VR_JSON_DOUBLE: return same_number(a, b);
    case VR_JSON_STRING: return vr_json_as_str(a, &s) == VR_OK && vr_json_as_str(b, &t) == VR_OK && vr_str_equal(s, t);
    default: return same_members(a, b);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (first == NULL) {
        require(vr_json_create(MAX_BYTES, MAX_DEPTH, &first) == VR_OK);
        require(vr_json_create(16 * MAX_BYTES, 2 * MAX_DEPTH + 2, &second) == VR_OK);
    }
    struct vr_json_value root;
    struct vr_json_value again;
    if (vr_json_parse(first, (const char *)data, size, &root) != VR_OK) {
        require(*vr_error_text() != '\0');
        return 0;
    }
    writer.len = 0;
    copy_value(root);
    require(!writer.failed);
    require(vr_json_parse(second, writer.data, writer.len, &again) == VR_OK);
    require(same_value(root, again));
    return 0;
}
