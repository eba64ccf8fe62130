/* Feature spaces from JSON text: hand-computed values of every kind, and declarations that are refused beside the valid
 * twin. Random rows are compared with NumPy in tests/models/test_features_native.py. */
#include "vireo/features.h"

#include <math.h>
#include <stdalign.h>
#include <stdio.h>
#include <string.h>

#include <criterion/criterion.h>

#include "model/features_space.h"

#define DENSE                                                                                              \
    "{\"name\":\"age\",\"entity\":\"viewer\",\"kind\":\"dense\",\"field\":\"age\",\"scale\":\"identity\"," \
    "\"mean\":30,\"std\":10,\"clip\":2}"
#define FIELDS                                                                            \
    "{\"viewer\":[{\"name\":\"level\",\"type\":\"string\",\"vocab\":[\"low\",\"high\"]}," \
    "{\"name\":\"days\",\"type\":\"number\"}]}"
#define BUNDLE(fields, features) \
    "{\"tower_dim\":8,\"content_dim\":16,\"fields\":" fields ",\"features\":[" features "]}"

/* One parser and one space; the parser may go before the space. */
static enum vr_status create(const char *text, struct vr_feature_space **out)
{
    struct vr_json *json;
    struct vr_json_value root;
    *out = NULL;
    cr_assert_eq(vr_json_create(65536, 16, &json), VR_OK);
    cr_assert_eq(vr_json_parse(json, text, strlen(text), &root), VR_OK, "%s: %s", text, vr_error_text());
    enum vr_status status = vr_feature_space_create(root, NULL, out);
    vr_json_destroy(json);
    return status;
}

static struct vr_feature_space *make(const char *text)
{
    struct vr_feature_space *space;
    cr_assert_eq(create(text, &space), VR_OK, "%s", vr_error_text());
    return space;
}

static enum vr_status make_block(const struct vr_feature_space *space, const char *names, enum vr_entity entity,
                                 struct vr_feature_block *block)
{
    struct vr_json *json;
    struct vr_json_value root;
    cr_assert_eq(vr_json_create(65536, 16, &json), VR_OK);
    cr_assert_eq(vr_json_parse(json, names, strlen(names), &root), VR_OK);
    enum vr_status status = vr_feature_block_create(space, root, entity, block);
    vr_json_destroy(json);
    return status;
}

Test(features, fields_are_built_in_then_declared)
{
    struct vr_feature_space *space = make(BUNDLE(FIELDS, DENSE));
    cr_expect_eq(vr_feature_field_count(space, VR_ENTITY_VIEWER), VR_VIEWER_FIELDS + 2);
    cr_expect_eq(vr_feature_field_count(space, VR_ENTITY_CONTEXT), VR_CONTEXT_FIELDS);
    cr_expect_eq(vr_feature_field_count(space, VR_ENTITY_VIDEO), VR_VIDEO_FIELDS);
    cr_expect_eq(vr_feature_field_count(space, VR_ENTITY_PAIR), VR_PAIR_FIELDS);
    cr_expect_eq(vr_feature_field_find(space, VR_ENTITY_VIEWER, vr_str_of("recent_watch_s")), VR_VIEWER_RECENT_WATCH_S);
    cr_expect_eq(vr_feature_field_find(space, VR_ENTITY_VIDEO, vr_str_of("sum_watch_s")), VR_VIDEO_WATCH_S);
    cr_expect_eq(vr_feature_field_find(space, VR_ENTITY_PAIR, vr_str_of("watched_n")), VR_PAIR_WATCHED_N);
    cr_expect_eq(vr_feature_field_find(space, VR_ENTITY_CONTEXT, vr_str_of("weekday")), VR_CONTEXT_WEEKDAY);
    cr_expect_eq(vr_feature_field_find(space, VR_ENTITY_VIEWER, vr_str_of("none")), UINT32_MAX);
    uint32_t level = vr_feature_field_find(space, VR_ENTITY_VIEWER, vr_str_of("level"));
    cr_assert_eq(level, VR_VIEWER_FIELDS);
    cr_expect_eq(vr_feature_field(space, VR_ENTITY_VIEWER, level).type, VR_FIELD_STRING);
    cr_expect_eq(vr_feature_field(space, VR_ENTITY_VIEWER, level).vocab_size, 2);
    cr_expect_eq(vr_feature_code(space, VR_ENTITY_VIEWER, level, vr_str_of("low")), 1);
    cr_expect_eq(vr_feature_code(space, VR_ENTITY_VIEWER, level, vr_str_of("high")), 2);
    cr_expect_eq(vr_feature_code(space, VR_ENTITY_VIEWER, level, vr_str_of("middle")), 0);
    cr_expect_eq(vr_feature_code(space, VR_ENTITY_VIEWER, level, vr_str_of("")), 0);
    vr_feature_space_destroy(space);
}

#define WORD_FIELD(name) "{\"name\":\"" name "\",\"type\":\"string\",\"vocab_tensor\":\"words\"}"
#define WORDS                                                                       \
    "{\"words.offsets\":{\"dtype\":\"U32\",\"shape\":[3],\"data_offsets\":[0,12]}," \
    "\"words.bytes\":{\"dtype\":\"U8\",\"shape\":[7],\"data_offsets\":[12,19]}}"

/* The string list "words" of "low" and "high", as a safetensors file. */
static struct vr_safetensors *make_words(char *bytes, size_t room)
{
    static const uint32_t offsets[] = {0, 3, 7};
    struct vr_safetensors *weights;
    uint64_t length = (strlen(WORDS) + 7) / 8 * 8;
    memset(bytes, ' ', room);
    memcpy(bytes, &length, sizeof length);
    memcpy(bytes + 8, WORDS, strlen(WORDS));
    memcpy(bytes + 8 + length, offsets, sizeof offsets);
    memcpy(bytes + 8 + length + sizeof offsets, "lowhigh", 7);
    cr_assert_eq(vr_safetensors_parse(bytes, 8 + length + sizeof offsets + 7, &weights), VR_OK, "%s", vr_error_text());
    return weights;
}

/* Thousands of fields may name one long vocabulary: it is held once. */
Test(features, fields_of_one_vocabulary_share_it)
{
    alignas(8) char bytes[512];
    struct vr_safetensors *weights = make_words(bytes, sizeof bytes);
    struct vr_feature_space *space;
    struct vr_json *json;
    struct vr_json_value root;
    const char *text = BUNDLE("{\"viewer\":[" WORD_FIELD("a") "],\"video\":[" WORD_FIELD(
                                  "b") "],\"context\":["
                                       "{\"name\":\"c\",\"type\":\"string\",\"vocab\":[\"high\"]}]}",
                              DENSE);
    cr_assert_eq(vr_json_create(65536, 16, &json), VR_OK);
    cr_assert_eq(vr_json_parse(json, text, strlen(text), &root), VR_OK);
    cr_assert_eq(vr_feature_space_create(root, weights, &space), VR_OK, "%s", vr_error_text());
    cr_expect_eq(vr_feature_field(space, VR_ENTITY_VIEWER, VR_VIEWER_FIELDS).vocab_size, 2);
    cr_expect_eq(vr_feature_field(space, VR_ENTITY_VIDEO, VR_VIDEO_FIELDS).vocab_size, 2);
    cr_expect_eq(vr_feature_code(space, VR_ENTITY_VIEWER, VR_VIEWER_FIELDS, vr_str_of("high")), 2);
    cr_expect_eq(vr_feature_code(space, VR_ENTITY_VIDEO, VR_VIDEO_FIELDS, vr_str_of("high")), 2);
    cr_expect_eq(vr_feature_code(space, VR_ENTITY_CONTEXT, VR_CONTEXT_FIELDS, vr_str_of("high")), 1);
    cr_expect_eq(space->fields[VR_ENTITY_VIEWER].vocab[VR_VIEWER_FIELDS],
                 space->fields[VR_ENTITY_VIDEO].vocab[VR_VIDEO_FIELDS]);
    vr_feature_space_destroy(space);
    vr_safetensors_close(weights);
    vr_json_destroy(json);
}

/* The number that one dense or rate feature makes of age (dense) or clicks of impressions (rate). */
static float dense_value(const char *feature, double age, double clicks, double impressions)
{
    char text[1024];
    double raw[VR_VIEWER_FIELDS] = {0};
    float dense = -99;
    struct vr_feature_block block;
    snprintf(text, sizeof text, BUNDLE("{}", "%s"), feature);
    struct vr_feature_space *space = make(text);
    cr_assert_eq(make_block(space, "[\"f\"]", VR_ENTITY_VIEWER, &block), VR_OK, "%s", vr_error_text());
    raw[VR_VIEWER_AGE] = age;
    raw[VR_VIEWER_CLICKS] = clicks;
    raw[VR_VIEWER_IMPRESSIONS] = impressions;
    vr_feature_transform(space, &block, 1, raw, (struct vr_feature_rows){.dense = &dense, .dense_stride = 1});
    vr_feature_block_destroy(&block);
    vr_feature_space_destroy(space);
    return dense;
}

#define F_DENSE(scale)                                                                              \
    "{\"name\":\"f\",\"entity\":\"viewer\",\"kind\":\"dense\",\"field\":\"age\",\"scale\":\"" scale \
    "\",\"mean\":1,\"std\":2,\"clip\":3}"
#define F_RATE(scale)                                                                                     \
    "{\"name\":\"f\",\"entity\":\"viewer\",\"kind\":\"rate\",\"numerator\":\"n_clicks\",\"denominator\":" \
    "\"n_impressions\",\"prior\":0.5,\"strength\":4,\"scale\":\"" scale "\",\"mean\":0,\"std\":1,\"clip\":20}"

Test(features, dense_values)
{
    cr_expect_eq(dense_value(F_DENSE("identity"), 4, 0, 0), 1.5f);
    cr_expect_eq(dense_value(F_DENSE("identity"), 100, 0, 0), 3);
    cr_expect_eq(dense_value(F_DENSE("identity"), -100, 0, 0), -3);
    cr_expect_eq(dense_value(F_DENSE("identity"), NAN, 0, 0), 0);
    cr_expect_eq(dense_value(F_DENSE("identity"), INFINITY, 0, 0), 3);
    cr_expect_float_eq(dense_value(F_DENSE("log1p"), 9, 0, 0), (log(10) - 1) / 2, 1e-7);
    cr_expect_eq(dense_value(F_DENSE("log1p"), -5, 0, 0), -0.5f);
    cr_expect_eq(dense_value(F_DENSE("log1p"), NAN, 0, 0), 0);
}

Test(features, rate_values)
{
    cr_expect_eq(dense_value(F_RATE("identity"), 0, 6, 12), 0.5f);
    cr_expect_eq(dense_value(F_RATE("identity"), 0, NAN, 12), 0.125f);
    cr_expect_eq(dense_value(F_RATE("identity"), 0, NAN, NAN), 0.5f);
    cr_expect_eq(dense_value(F_RATE("identity"), 0, -7, -9), 0.5f);
    cr_expect_eq(dense_value(F_RATE("identity"), 0, INFINITY, INFINITY), 0);
    cr_expect_float_eq(dense_value(F_RATE("log1p"), 0, 6, 12), log(1.5), 1e-7);
    cr_expect_eq(dense_value(F_RATE("logit"), 0, 6, 12), 0);
    cr_expect_float_eq(dense_value(F_RATE("logit"), 0, 1000, 12), log((1 - 1e-6) / 1e-6), 1e-4);
}

#define TABLES                                                                                                             \
    "{\"name\":\"level\",\"entity\":\"viewer\",\"kind\":\"embedding\",\"field\":\"level\",\"table\":\"t\",\"width\":3},"   \
    "{\"name\":\"days\",\"entity\":\"viewer\",\"kind\":\"embedding\",\"field\":\"days\",\"table\":\"u\",\"width\":2,"      \
    "\"rows\":5},{\"name\":\"ages\",\"entity\":\"viewer\",\"kind\":\"bucket\",\"field\":\"age\",\"boundaries\":[10,20.5]," \
    "\"table\":\"v\",\"width\":4},{\"name\":\"history\",\"entity\":\"viewer\",\"kind\":\"vector\",\"vector\":"             \
    "\"hist_content\"}"

/* Of its own columns alone; tables are not there in training. */
Test(features, a_block_has_a_bound)
{
    struct vr_feature_space *space = make(BUNDLE(FIELDS, DENSE ",{\"name\":\"wide\",\"entity\":\"viewer\",\"kind\":"
                                                               "\"dense\",\"field\":\"age\",\"scale\":\"identity\","
                                                               "\"mean\":0,\"std\":1,\"clip\":70000}," TABLES));
    static const struct {
        const char *names;
        double bound;
    } blocks[] = {
        {"[]", 0},
        {"[\"level\"]", 0},
        {"[\"history\"]", 1},
        {"[\"age\"]", 2},
        {"[\"age\",\"wide\",\"history\"]", 70000},
    };
    for (size_t i = 0; i < sizeof blocks / sizeof blocks[0]; i++) {
        struct vr_feature_block block;
        cr_assert_eq(make_block(space, blocks[i].names, VR_ENTITY_VIEWER, &block), VR_OK, "%s", blocks[i].names);
        cr_expect_eq(vr_feature_block_bound(space, &block), blocks[i].bound, "%s", blocks[i].names);
        vr_feature_block_destroy(&block);
    }
    vr_feature_space_destroy(space);
}

Test(features, layout_and_table_rows)
{
    struct vr_feature_space *space = make(BUNDLE(FIELDS, DENSE "," TABLES));
    struct vr_feature_block block;
    cr_assert_eq(make_block(space, "[\"level\",\"history\",\"age\",\"ages\",\"days\"]", VR_ENTITY_VIEWER, &block),
                 VR_OK);
    cr_expect_eq(block.count, 5);
    cr_expect_eq(block.width, 3 + 16 + 1 + 4 + 2);
    cr_expect_eq(block.dense_count, 1);
    cr_expect_eq(block.index_count, 3);
    cr_expect_eq(block.column[1].kind, VR_COLUMN_VECTOR);
    cr_expect_eq(block.column[1].vector, VR_VECTOR_HIST_CONTENT);
    cr_expect_eq(block.column[3].offset, 20);
    cr_expect_eq(block.column[3].slot, 1);
    static const double level[] = {1, 2, 3, -1, NAN, 1.4, 1.5}, days[] = {4, 4.6, -0.4, 1e300, -INFINITY, 2.5, NAN},
                        age[] = {9.999, 10, 20.5, INFINITY, -INFINITY, NAN, 15};
    static const int32_t expected[][3] = {{1, 1, 4}, {2, 2, 0}, {0, 3, 0}, {0, 3, 0}, {0, 1, 0}, {1, 0, 2}, {2, 2, 0}};
    double raw[7][VR_VIEWER_FIELDS + 2] = {{0}};
    float dense[7];
    int32_t index[7][3];
    for (int i = 0; i < 7; i++) {
        raw[i][VR_VIEWER_AGE] = age[i];
        raw[i][VR_VIEWER_FIELDS] = level[i];
        raw[i][VR_VIEWER_FIELDS + 1] = days[i];
    }
    vr_feature_transform(space, &block, 7, raw[0], (struct vr_feature_rows){dense, 1, index[0], 3});
    for (int i = 0; i < 7; i++) {
        for (int k = 0; k < 3; k++) {
            cr_expect_eq(index[i][k], expected[i][k], "row %d, table %d: %d", i, k, index[i][k]);
        }
    }
    vr_feature_block_destroy(&block);
    vr_feature_space_destroy(space);
}

Test(features, blocks_take_their_entity_and_refuse_the_rest)
{
    static const struct {
        const char *names;
        enum vr_status status;
    } cases[] = {{"[]", VR_OK},
                 {"[\"age\"]", VR_OK},
                 {"[\"age\",\"age\"]", VR_ERR_FORMAT},
                 {"[\"none\"]", VR_ERR_FORMAT},
                 {"[1]", VR_ERR_FORMAT},
                 {"[\"\"]", VR_ERR_FORMAT},
                 {"{}", VR_ERR_FORMAT},
                 {"\"age\"", VR_ERR_FORMAT}};
    struct vr_feature_space *space = make(BUNDLE("{}", DENSE));
    struct vr_feature_block block;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        enum vr_status status = make_block(space, cases[i].names, VR_ENTITY_VIEWER, &block);
        cr_expect_eq(status, cases[i].status, "%s", cases[i].names);
        if (status == VR_OK) {
            vr_feature_block_destroy(&block);
        }
    }
    cr_assert_eq(make_block(space, "[\"age\"]", VR_ENTITY_VIDEO, &block), VR_OK);
    cr_expect_eq(block.count, 0);
    cr_expect_eq(block.width, 0);
    vr_feature_block_destroy(&block);
    vr_feature_space_destroy(space);
}

/* Sixteen features of 4,096 columns fill a row; one more column is refused. */
Test(features, rows_have_a_largest_width)
{
    char features[4096] = DENSE, names[256] = "", text[8192];
    struct vr_feature_block block;
    for (int i = 0; i < 16; i++) {
        size_t at = strlen(features), end = strlen(names);
        snprintf(features + at, sizeof features - at,
                 ",{\"name\":\"w%d\",\"entity\":\"viewer\",\"kind\":\"embedding\",\"field\":\"age\",\"table\":\"t\","
                 "\"width\":4096}",
                 i);
        snprintf(names + end, sizeof names - end, "%s\"w%d\"", i == 0 ? "" : ",", i);
    }
    snprintf(text, sizeof text, BUNDLE("{}", "%s"), features);
    struct vr_feature_space *space = make(text);
    snprintf(text, sizeof text, "[%s]", names);
    cr_assert_eq(make_block(space, text, VR_ENTITY_VIEWER, &block), VR_OK, "%s", vr_error_text());
    cr_expect_eq(block.width, 65536);
    vr_feature_block_destroy(&block);
    snprintf(text, sizeof text, "[%s,\"age\"]", names);
    cr_expect_eq(make_block(space, text, VR_ENTITY_VIEWER, &block), VR_ERR_FORMAT);
    cr_expect(strstr(vr_error_text(), "wider than 65536") != NULL, "%s", vr_error_text());
    vr_feature_space_destroy(space);
}

#define ONE(kind, rest) "{\"name\":\"f\",\"entity\":\"viewer\",\"kind\":\"" kind "\"," rest "}"
#define BUCKET(boundaries) ONE("bucket", "\"field\":\"age\",\"table\":\"t\",\"width\":2,\"boundaries\":" boundaries)

static const struct refused {
    const char *text;
    const char *says;
} refused[] = {
    {BUNDLE("[]", DENSE), "'fields' must be"},
    {BUNDLE("{\"pair\":[]}", DENSE), "unknown key 'pair'"},
    {BUNDLE("{\"viewer\":{}}", DENSE), "'viewer' must be"},
    {BUNDLE("{\"viewer\":[{\"name\":\"age\",\"type\":\"number\"}]}", DENSE), "of this name already"},
    {BUNDLE("{\"viewer\":[{\"name\":\"X\",\"type\":\"number\"}]}", DENSE), "viewer field 'X'"},
    {BUNDLE("{\"viewer\":[{\"name\":\"x\",\"type\":\"real\"}]}", DENSE), "'real'"},
    {BUNDLE("{\"viewer\":[{\"name\":\"x\"}]}", DENSE), "'type' is missing"},
    {BUNDLE("{\"viewer\":[{\"name\":\"x\",\"type\":\"string\"}]}", DENSE), "'vocab' is missing"},
    {BUNDLE("{\"viewer\":[{\"name\":\"x\",\"type\":\"number\",\"vocab\":[]}]}", DENSE), "no vocabulary"},
    {BUNDLE("{\"viewer\":[{\"name\":\"x\",\"type\":\"string\",\"vocab\":[\"a\",\"a\"]}]}", DENSE), "'a' is twice"},
    {BUNDLE("{\"viewer\":[{\"name\":\"x\",\"type\":\"string\",\"vocab\":[\"\"]}]}", DENSE), "0 bytes"},
    {BUNDLE("{\"viewer\":[{\"name\":\"x\",\"type\":\"string\",\"vocab\":[1]}]}", DENSE), "must hold strings"},
    {BUNDLE("{\"viewer\":[{\"name\":\"x\",\"type\":\"string\",\"vocab_tensor\":\"v\"}]}", DENSE), "no tensors yet"},
    {BUNDLE("{\"viewer\":[{\"name\":\"x\",\"type\":\"string\",\"vocab_tensor\":\"v\",\"vocab\":[]}]}", DENSE),
     "exclude each other"},
    {BUNDLE("{}", ""), "1 to 4096 elements"},
    {BUNDLE("{}", "7"), "must hold objects"},
    {BUNDLE("{}", DENSE "," DENSE), "feature 'age' is there twice"},
    {BUNDLE("{}", "{\"name\":\"f\",\"entity\":\"user\",\"kind\":\"dense\"}"), "'user'"},
    {BUNDLE("{}", "{\"name\":\"f\",\"entity\":\"viewer\",\"kind\":\"sparse\"}"), "'sparse'"},
    {BUNDLE("{}", "{\"name\":\"F\",\"entity\":\"viewer\",\"kind\":\"dense\"}"), "feature 'F'"},
    {BUNDLE("{}", ONE("dense", "\"field\":\"row\",\"scale\":\"identity\",\"mean\":0,\"std\":1,\"clip\":1")), "'row'"},
    {BUNDLE("{}", ONE("dense", "\"field\":\"age\",\"scale\":\"logit\",\"mean\":0,\"std\":1,\"clip\":1")), "'logit'"},
    {BUNDLE("{}", ONE("dense", "\"field\":\"age\",\"scale\":\"identity\",\"mean\":0,\"std\":0,\"clip\":1")), "'std'"},
    {BUNDLE("{}", ONE("dense", "\"field\":\"age\",\"scale\":\"identity\",\"mean\":0,\"std\":1,\"clip\":-1")), "'clip'"},
    {BUNDLE("{}", ONE("dense", "\"field\":\"age\",\"scale\":\"identity\",\"mean\":0,\"std\":1,\"clip\":1e39")),
     "'clip'"},
    {BUNDLE("{}", ONE("dense", "\"field\":\"age\",\"scale\":\"identity\",\"mean\":\"0\",\"std\":1,\"clip\":1")),
     "'mean'"},
    {BUNDLE("{}", ONE("dense", "\"field\":\"age\",\"scale\":\"identity\",\"mean\":0,\"std\":1")), "'clip' is missing"},
    {BUNDLE("{}", ONE("dense", "\"field\":\"age\",\"scale\":\"identity\",\"mean\":0,\"std\":1,\"clip\":1,\"x\":1")),
     "'x'"},
    {BUNDLE("{}", ONE("rate", "\"numerator\":\"n_clicks\",\"denominator\":\"n\",\"prior\":0,\"strength\":1")), "'n'"},
    {BUNDLE("{}", ONE("rate", "\"numerator\":\"n_clicks\",\"denominator\":\"age\",\"prior\":-1,\"strength\":1,"
                              "\"scale\":\"identity\",\"mean\":0,\"std\":1,\"clip\":1")),
     "'prior'"},
    {BUNDLE("{}", ONE("rate", "\"numerator\":\"n_clicks\",\"denominator\":\"age\",\"prior\":0,\"strength\":0,"
                              "\"scale\":\"identity\",\"mean\":0,\"std\":1,\"clip\":1")),
     "'strength'"},
    {BUNDLE("{}", BUCKET("[]")), "1 to 255 elements"},
    {BUNDLE("{}", BUCKET("[1,1]")), "must be numbers that rise"},
    {BUNDLE("{}", BUCKET("[2,1]")), "must be numbers that rise"},
    {BUNDLE("{}", BUCKET("[\"1\"]")), "must be numbers that rise"},
    {BUNDLE("{}", ONE("embedding", "\"field\":\"age\",\"table\":\"t\"")), "'width' is missing"},
    {BUNDLE("{}", ONE("embedding", "\"field\":\"age\",\"table\":\"t\",\"width\":0")), "'width'"},
    {BUNDLE("{}", ONE("embedding", "\"field\":\"age\",\"table\":\"t\",\"width\":2,\"rows\":0")), "'rows'"},
    {BUNDLE("{}", ONE("embedding", "\"field\":\"age\",\"width\":2")), "'table' is missing"},
    {BUNDLE("{}", ONE("bucket", "\"field\":\"age\",\"table\":\"t\",\"width\":2,\"rows\":4,\"boundaries\":[1]")), "3"},
    {BUNDLE("{}", ONE("vector", "\"vector\":\"tower\"")), "belongs to the entity video"},
    {BUNDLE("{}", ONE("vector", "\"vector\":\"x\"")), "'x'"},
    {"{\"tower_dim\":4,\"content_dim\":16,\"fields\":{},\"features\":[" DENSE "]}", "'tower_dim' is 4"},
    {"{\"tower_dim\":8,\"content_dim\":12,\"fields\":{},\"features\":[" DENSE "]}", "multiples of 8"},
    {"{\"tower_dim\":8,\"fields\":{},\"features\":[" DENSE "]}", "'content_dim' is missing"},
    {"{\"tower_dim\":8,\"content_dim\":8,\"features\":[" DENSE "]}", "'fields' is missing"},
};

Test(features, wrong_declarations_are_refused)
{
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        struct vr_feature_space *space = NULL;
        cr_expect_eq(create(refused[i].text, &space), VR_ERR_FORMAT, "%s is accepted", refused[i].text);
        cr_expect(strstr(vr_error_text(), refused[i].says) != NULL, "%s: '%s' lacks '%s'", refused[i].text,
                  vr_error_text(), refused[i].says);
        vr_feature_space_destroy(space);
        vr_feature_space_destroy(make(BUNDLE(FIELDS, DENSE "," TABLES)));
    }
}

/* Features of a video that read no counter, and those that do: as numerator or as denominator, or directly. */
Test(features, a_block_of_videos_has_a_still_part)
{
    struct vr_feature_space *space = make(BUNDLE(
        "{\"video\":[{\"name\":\"level\",\"type\":\"number\"}]}",
        "{\"name\":\"duration\",\"entity\":\"video\",\"kind\":\"dense\",\"field\":\"duration_s\",\"scale\":\"log1p\","
        "\"mean\":0,\"std\":1,\"clip\":9},"
        "{\"name\":\"shown\",\"entity\":\"video\",\"kind\":\"dense\",\"field\":\"n_impressions\",\"scale\":\"log1p\","
        "\"mean\":0,\"std\":1,\"clip\":9},"
        "{\"name\":\"topic\",\"entity\":\"video\",\"kind\":\"embedding\",\"field\":\"topic\",\"table\":\"t\","
        "\"width\":3},"
        "{\"name\":\"rate\",\"entity\":\"video\",\"kind\":\"rate\",\"numerator\":\"level\",\"denominator\":"
        "\"sum_watch_s\",\"prior\":0.1,\"strength\":1,\"scale\":\"identity\",\"mean\":0,\"std\":1,\"clip\":9},"
        "{\"name\":\"own_rate\",\"entity\":\"video\",\"kind\":\"rate\",\"numerator\":\"level\",\"denominator\":"
        "\"duration_s\",\"prior\":0.1,\"strength\":1,\"scale\":\"identity\",\"mean\":0,\"std\":1,\"clip\":9},"
        "{\"name\":\"likes\",\"entity\":\"video\",\"kind\":\"rate\",\"numerator\":\"n_likes\",\"denominator\":"
        "\"duration_s\",\"prior\":0.1,\"strength\":1,\"scale\":\"identity\",\"mean\":0,\"std\":1,\"clip\":9},"
        "{\"name\":\"place\",\"entity\":\"video\",\"kind\":\"vector\",\"vector\":\"tower\"}"));
    struct vr_feature_block whole, still, counters;
    cr_assert_eq(make_block(space, "[\"shown\",\"topic\",\"rate\",\"duration\",\"likes\",\"place\",\"own_rate\"]",
                            VR_ENTITY_VIDEO, &whole),
                 VR_OK, "%s", vr_error_text());
    cr_assert_eq(vr_feature_block_part(space, &whole, true, &still), VR_OK);
    cr_assert_eq(vr_feature_block_part(space, &whole, false, &counters), VR_OK);
    cr_expect_eq(counters.count, 3);
    cr_expect_eq(counters.width, 3);
    cr_expect_eq(counters.dense_count, 3);
    cr_expect_eq(counters.index_count, 0);
    static const uint32_t counter_of[] = {0, 2, 4}, still_of[] = {1, 3, 5, 6};
    for (uint32_t i = 0; i < 3; i++) {
        cr_expect_eq(counters.feature[i], whole.feature[counter_of[i]]);
        cr_expect_eq(counters.column[i].offset, i);
        cr_expect_eq(counters.column[i].slot, i);
    }
    cr_assert_eq(still.count, 4);
    cr_expect_eq(still.width + counters.width, whole.width);
    cr_expect_eq(still.index_count, 1);
    cr_expect_eq(still.dense_count, 2);
    uint32_t offset = 0;
    for (uint32_t i = 0; i < 4; i++) {
        cr_expect_eq(still.feature[i], whole.feature[still_of[i]]);
        cr_expect_eq(still.column[i].offset, offset);
        offset += still.column[i].width;
    }
    vr_feature_block_destroy(&whole);
    vr_feature_block_destroy(&still);
    vr_feature_block_destroy(&counters);
    vr_feature_space_destroy(space);
}
