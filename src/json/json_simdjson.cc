/* The reading half of vireo/json.h over simdjson's DOM parser; no exception and no C++ type leaves this file.
 *
 * A vr_json_value is a place on simdjson's tape (document, index), two words that C code copies freely, so values are
 * read through simdjson's tape_ref rather than its element class. Parser, document, padded input and the scratch of
 * the duplicate check are kept between documents and grow by doubling: after warm-up nothing is allocated. */
#include "vireo/json.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <new>

#include <simdjson.h>

using simdjson::dom::document;
using simdjson::internal::tape_ref;
using simdjson::internal::tape_type;

struct vr_json {
    simdjson::dom::parser parser;
    document doc;
    std::unique_ptr<char[]> input; /* [capacity + SIMDJSON_PADDING] */
    size_t capacity = 0;           /* bytes that fit without growing */
    std::unique_ptr<vr_str[]> key; /* [key_capacity], keys of one object, sorted to find equal ones */
    size_t key_capacity = 0;
    size_t max_bytes = 0;
    size_t max_depth = 0;
};

namespace
{

constexpr size_t smallest_capacity = 1024;       /* bytes */
constexpr size_t largest_document = 0xfffff000u; /* simdjson's tape holds 32-bit places */
constexpr size_t count_saturated = 0xffffff;     /* the tape's member count stops there */
constexpr size_t few_keys = 8;                   /* up to here comparing all pairs is cheaper than sorting */

tape_ref place(vr_json_value value)
{
    return tape_ref(static_cast<const document *>(value.document), value.index);
}

bool is_container(tape_type type)
{
    return type == tape_type::START_OBJECT || type == tape_type::START_ARRAY;
}

vr_str string_at(const tape_ref &at)
{
    return vr_str{at.get_c_str(), at.get_string_length()};
}

size_t grown(size_t capacity, size_t needed, size_t smallest)
{
    size_t size = std::max(capacity, smallest);
    while (size < needed) {
        size *= 2;
    }
    return size;
}

/* Room for a document of `len` bytes. On failure the old capacity is forgotten, so the next parse starts afresh. */
vr_status reserve(vr_json *json, size_t len)
{
    if (len <= json->capacity) {
        return VR_OK;
    }
    size_t capacity = std::min(grown(json->capacity, len, smallest_capacity), json->max_bytes);
    json->capacity = 0;
    json->input.reset(new (std::nothrow) char[capacity + simdjson::SIMDJSON_PADDING]);
    if (!json->input || json->parser.allocate(capacity, json->max_depth) || json->doc.allocate(capacity)) {
        return vr_fail(VR_ERR_NOMEM, "JSON: no memory for a document of %zu bytes", len);
    }
    json->capacity = capacity;
    return VR_OK;
}

vr_status parse_failure(const vr_json *json, simdjson::error_code error)
{
    switch (error) {
    case simdjson::MEMALLOC: return vr_fail(VR_ERR_NOMEM, "JSON: no memory");
    case simdjson::CAPACITY: return vr_fail(VR_ERR_TOO_LARGE, "JSON: the document is too large");
    case simdjson::DEPTH_ERROR:
        return vr_fail(VR_ERR_TOO_LARGE, "JSON: nested deeper than %zu levels", json->max_depth);
    case simdjson::STRING_ERROR: return vr_fail(VR_ERR_FORMAT, "JSON: a malformed string or escape");
    case simdjson::T_ATOM_ERROR:
    case simdjson::F_ATOM_ERROR:
    case simdjson::N_ATOM_ERROR: return vr_fail(VR_ERR_FORMAT, "JSON: a word that is not true, false or null");
    case simdjson::NUMBER_ERROR: return vr_fail(VR_ERR_FORMAT, "JSON: a malformed number, or one out of range");
    case simdjson::UTF8_ERROR: return vr_fail(VR_ERR_FORMAT, "JSON: text that is not UTF-8");
    case simdjson::EMPTY: return vr_fail(VR_ERR_FORMAT, "JSON: an empty document");
    case simdjson::UNESCAPED_CHARS: return vr_fail(VR_ERR_FORMAT, "JSON: a control character inside a string");
    case simdjson::UNCLOSED_STRING: return vr_fail(VR_ERR_FORMAT, "JSON: a string without its closing quote");
    default: return vr_fail(VR_ERR_FORMAT, "JSON: misplaced or missing brace, bracket, comma, colon or value");
    }
}

bool key_less(const vr_str &a, const vr_str &b)
{
    return a.len != b.len ? a.len < b.len : memcmp(a.data, b.data, a.len) < 0;
}

/* A key that occurs twice among `key[0..count-1]`, or nullptr. Sorting compares at most count * log(count) times, and
 * keys of equal length alone byte by byte: the cost is bounded by the document's bytes times log(count). */
const vr_str *repeated_key(vr_str *key, size_t count)
{
    if (count <= few_keys) {
        for (size_t i = 1; i < count; i++) {
            for (size_t k = 0; k < i; k++) {
                if (vr_str_equal(key[i], key[k])) {
                    return &key[i];
                }
            }
        }
        return nullptr;
    }
    std::sort(key, key + count, key_less);
    for (size_t i = 1; i < count; i++) {
        if (vr_str_equal(key[i - 1], key[i])) {
            return &key[i];
        }
    }
    return nullptr;
}

vr_status reserve_keys(vr_json *json, size_t count)
{
    if (count <= json->key_capacity) {
        return VR_OK;
    }
    size_t capacity = grown(json->key_capacity, count, 64);
    json->key_capacity = 0;
    json->key.reset(new (std::nothrow) vr_str[capacity]);
    if (!json->key) {
        return vr_fail(VR_ERR_NOMEM, "JSON: no memory");
    }
    json->key_capacity = capacity;
    return VR_OK;
}

vr_status check_object(vr_json *json, vr_json_value object)
{
    size_t count = vr_json_count(object);
    vr_status status = reserve_keys(json, count);
    if (status != VR_OK) {
        return status;
    }
    vr_json_iter it = vr_json_begin(object);
    vr_json_value member;
    for (size_t i = 0; i < count; i++) {
        vr_json_next(&it, &json->key[i], &member);
    }
    const vr_str *key = repeated_key(json->key.get(), count);
    if (key != nullptr) {
        int shown = static_cast<int>(std::min<size_t>(key->len, 64));
        return vr_fail(VR_ERR_FORMAT, "JSON: the key \"%.*s\" occurs twice in one object", shown, key->data);
    }
    return VR_OK;
}

/* Refuse an object that names a key twice, anywhere in the document: one pass along the tape. */
vr_status check_keys(vr_json *json, vr_json_value root)
{
    size_t end = place(root).after_element();
    for (size_t i = root.index; i < end;) {
        tape_ref at(&json->doc, i);
        if (at.tape_ref_type() == tape_type::START_OBJECT) {
            vr_status status = check_object(json, vr_json_value{&json->doc, i});
            if (status != VR_OK) {
                return status;
            }
        }
        i = is_container(at.tape_ref_type()) ? i + 1 : at.after_element();
    }
    return VR_OK;
}

vr_status wrong_type(vr_json_value value, const char *wanted)
{
    return vr_fail(VR_ERR_FORMAT, "expected %s, found %s", wanted, vr_json_type_name(vr_json_type_of(value)));
}

} // namespace

vr_status vr_json_create(size_t max_bytes, size_t max_depth, vr_json **out)
{
    if (max_bytes == 0 || max_bytes > largest_document || max_depth == 0) {
        return vr_fail(VR_ERR_INVALID, "JSON: limits of %zu bytes and %zu levels", max_bytes, max_depth);
    }
    vr_json *json = new (std::nothrow) vr_json;
    if (json == nullptr) {
        return vr_fail(VR_ERR_NOMEM, "JSON: no memory");
    }
    json->max_bytes = max_bytes;
    json->max_depth = max_depth;
    *out = json;
    return VR_OK;
}

vr_status vr_json_parse(vr_json *json, const char *data, size_t len, vr_json_value *root)
{
    if (len > json->max_bytes) {
        return vr_fail(VR_ERR_TOO_LARGE, "JSON: %zu bytes, more than %zu", len, json->max_bytes);
    }
    if (len == 0) {
        return parse_failure(json, simdjson::EMPTY);
    }
    vr_status status = reserve(json, len);
    if (status != VR_OK) {
        return status;
    }
    memcpy(json->input.get(), data, len);
    memset(json->input.get() + len, ' ', simdjson::SIMDJSON_PADDING);
    simdjson::error_code error = json->parser.parse_into_document(json->doc, json->input.get(), len, false).error();
    if (error) {
        return parse_failure(json, error);
    }
    vr_json_value top = {&json->doc, 1}; /* place 0 holds the document's own bracket */
    status = check_keys(json, top);
    if (status == VR_OK) {
        *root = top;
    }
    return status;
}

void vr_json_destroy(vr_json *json)
{
    delete json;
}

vr_json_type vr_json_type_of(vr_json_value value)
{
    switch (place(value).tape_ref_type()) {
    case tape_type::START_OBJECT: return VR_JSON_OBJECT;
    case tape_type::START_ARRAY: return VR_JSON_ARRAY;
    case tape_type::STRING: return VR_JSON_STRING;
    case tape_type::INT64: return VR_JSON_INT;
    case tape_type::UINT64: /* past INT64_MAX, or it would be INT64 */
    case tape_type::DOUBLE: return VR_JSON_DOUBLE;
    case tape_type::TRUE_VALUE:
    case tape_type::FALSE_VALUE: return VR_JSON_BOOL;
    default: return VR_JSON_NULL;
    }
}

const char *vr_json_type_name(vr_json_type type)
{
    static const char *const names[] = {"null", "bool", "integer", "number", "string", "array", "object"};
    size_t index = static_cast<size_t>(type);
    return index < sizeof names / sizeof names[0] ? names[index] : "unknown";
}

vr_status vr_json_get(vr_json_value object, const char *key, vr_json_value *out)
{
    if (vr_json_type_of(object) != VR_JSON_OBJECT) {
        return wrong_type(object, "object");
    }
    vr_str wanted = vr_str_of(key);
    vr_str name;
    vr_json_value value;
    for (vr_json_iter it = vr_json_begin(object); vr_json_next(&it, &name, &value);) {
        if (vr_str_equal(name, wanted)) {
            *out = value;
            return VR_OK;
        }
    }
    return vr_fail(VR_ERR_NOT_FOUND, "no key \"%.64s\"", key);
}

vr_status vr_json_as_bool(vr_json_value value, bool *out)
{
    if (vr_json_type_of(value) != VR_JSON_BOOL) {
        return wrong_type(value, "bool");
    }
    *out = place(value).is_true();
    return VR_OK;
}

vr_status vr_json_as_int(vr_json_value value, int64_t *out)
{
    if (vr_json_type_of(value) != VR_JSON_INT) {
        return wrong_type(value, "integer");
    }
    *out = place(value).next_tape_value<int64_t>();
    return VR_OK;
}

vr_status vr_json_as_double(vr_json_value value, double *out)
{
    tape_ref at = place(value);
    switch (at.tape_ref_type()) {
    case tape_type::DOUBLE: *out = at.next_tape_value<double>(); return VR_OK;
    case tape_type::INT64: *out = static_cast<double>(at.next_tape_value<int64_t>()); return VR_OK;
    case tape_type::UINT64: *out = static_cast<double>(at.next_tape_value<uint64_t>()); return VR_OK;
    default: return wrong_type(value, "number");
    }
}

vr_status vr_json_as_str(vr_json_value value, vr_str *out)
{
    if (vr_json_type_of(value) != VR_JSON_STRING) {
        return wrong_type(value, "string");
    }
    *out = string_at(place(value));
    return VR_OK;
}

size_t vr_json_count(vr_json_value value)
{
    tape_ref at = place(value);
    if (!is_container(at.tape_ref_type())) {
        return 0;
    }
    size_t count = at.scope_count();
    if (count < count_saturated) {
        return count;
    }
    count = 0;
    vr_json_value member;
    for (vr_json_iter it = vr_json_begin(value); vr_json_next(&it, nullptr, &member);) {
        count++;
    }
    return count;
}

vr_json_iter vr_json_begin(vr_json_value value)
{
    tape_ref at = place(value);
    vr_json_iter it = {value.document, value.index + 1, value.index + 1, false};
    if (is_container(at.tape_ref_type())) {
        it.end = at.matching_brace_index() - 1; /* the closing bracket's place */
        it.is_object = at.tape_ref_type() == tape_type::START_OBJECT;
    }
    return it;
}

bool vr_json_next(vr_json_iter *iter, vr_str *key, vr_json_value *value)
{
    if (iter->index >= iter->end) {
        return false;
    }
    const document *doc = static_cast<const document *>(iter->document);
    vr_str name = {"", 0};
    if (iter->is_object) {
        name = string_at(tape_ref(doc, iter->index));
        iter->index++; /* a key takes one place */
    }
    if (key != nullptr) {
        *key = name;
    }
    *value = vr_json_value{doc, iter->index};
    iter->index = tape_ref(doc, iter->index).after_element();
    return true;
}
