/* Satisfaction terms: values, refusals with the term and the column, linearity, and nothing allocated per row. */
#include "vireo/terms.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include <criterion/criterion.h>

#include "../base/failing_alloc.h"

static enum vr_status create_one(const char *expression, struct vr_terms **out)
{
    struct vr_term_spec spec = {vr_str_of("watch"), vr_str_of(expression)};
    *out = NULL;
    return vr_terms_create(&spec, 1, out);
}

/* The value at click 0.5, watch_s 10, like 0.25, finish 0.125, duration_s 20. */
static float value_of(const char *expression)
{
    static const float heads[VR_HEAD_COUNT] = {0.5f, 10, 0.25f, 0.125f}, duration = 20;
    struct vr_terms *terms;
    float value = -1, score = -1;
    cr_assert_eq(create_one(expression, &terms), VR_OK, "%s: %s", expression, vr_error_text());
    cr_expect_eq(vr_terms_evaluate(terms, 1, heads, &duration, &value, &score), VR_OK);
    vr_terms_destroy(terms);
    return value;
}

Test(terms, values)
{
    static const struct {
        const char *expression;
        float value;
    } cases[] = {
        {"click", 0.5f},
        {"0.01*watch_s", 0.1f},
        {"5*like", 1.25f},
        {"finish", 0.125f},
        {"watch_s/duration_s", 0.5f},
        {"-click + 2", 1.5f},
        {"(click+like)*4", 3},
        {"2^3", 8},
        {"min(click, like)", 0.25f},
        {"max(1,2,3)", 3},
        {"sqrt(16)", 4},
        {"click > 0.4 ? 1 : 2", 1},
        {"click == 0.5", 1},
        {"click != 0.5 || like <= 0.25", 1},
        {"1e-3 + 1E+2", 100.001f},
        {" 1 ", 1},
        {"log(exp(1))", 1},
        {"abs(-3)", 3},
        {"click >= 0.5 && finish < 1", 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        cr_expect_float_eq(value_of(cases[i].expression), cases[i].value, 1e-6, "%s", cases[i].expression);
    }
}

Test(terms, refusals_name_the_term_and_the_column)
{
    static const struct {
        const char *expression;
        const char *says;
    } cases[] = {
        {"", "term 'watch', column 1"},
        {"clicks", "term 'watch', column 1: Unexpected token \"clicks\""},
        {"0.5*clik", "term 'watch', column 5"},
        {"click + ", "term 'watch', column 9"},
        {"click +* like", "term 'watch', column 8"},
        {"(click", "term 'watch', column"},
        {"click)", "term 'watch', column 6: unexpected ')'"},
        {"click = 1", "column 7: an assignment"},
        {"a = 1", "column 3: an assignment"},
        {"click === 1", "column 9: an assignment"},
        {"click, like", "column 6: a ','"},
        {"(click, like)", "column 7: a ','"},
        {"max((click, like))", "column 11: a ','"},
        {"\"text\"", "column 1: unexpected character"},
        {"click; like", "column 6: unexpected character"},
        {"click @ 2", "column 7: unexpected character"},
        {"cl\xc3\xaf", "column 3: unexpected character"},
        {"click\n+1", "column 6: unexpected character"},
        {"system(1)", "term 'watch', column 1"},
        {"min()", "term 'watch', column"},
        {"sqrt(1, 2)", "term 'watch', column"},
        {"1 2", "term 'watch', column 3"},
        {"click ? 1", "term 'watch', column"},
        {"click : 1", "term 'watch', column"},
        {"1..2", "term 'watch', column"},
        {"0x", "term 'watch', column 2"},
        {"5e", "term 'watch', column"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct vr_terms *terms;
        cr_expect_eq(create_one(cases[i].expression, &terms), VR_ERR_FORMAT, "%s is accepted", cases[i].expression);
        cr_expect(strstr(vr_error_text(), cases[i].says) != NULL, "%s: '%s' lacks '%s'", cases[i].expression,
                  vr_error_text(), cases[i].says);
        cr_expect_null(terms);
        vr_terms_destroy(terms);
    }
}

Test(terms, bytes_behind_a_nul_are_not_lost)
{
    struct vr_term_spec spec = {vr_str_of("a"), {"click\0+1", 8}};
    struct vr_terms *terms = NULL;
    cr_expect_eq(vr_terms_create(&spec, 1, &terms), VR_ERR_FORMAT);
    spec.expression.len = 5;
    cr_expect_eq(vr_terms_create(&spec, 1, &terms), VR_OK);
    vr_terms_destroy(terms);
}

/* Depth, length and number have limits, and what is at the limit is accepted. */
Test(terms, limits)
{
    char text[2100];
    struct vr_terms *terms;
    for (int depth = 63; depth <= 65; depth++) {
        snprintf(text, sizeof text, "%.*s1%.*s", depth,
                 "((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((", depth,
                 "))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))");
        cr_expect_eq(create_one(text, &terms), depth <= 64 ? VR_OK : VR_ERR_FORMAT, "%d", depth);
        vr_terms_destroy(terms);
    }
    for (size_t length = 1023; length <= 1025; length += 2) {
        memset(text, '1', length);
        memset(text + 3, ' ', length - 3);
        text[length] = '\0';
        cr_expect_eq(create_one(text, &terms), length <= 1024 ? VR_OK : VR_ERR_FORMAT, "%zu", length);
        vr_terms_destroy(terms);
    }
}

Test(terms, counts_and_names)
{
    struct vr_term_spec spec[VR_TERM_COUNT_MAX + 1];
    char name[VR_TERM_COUNT_MAX + 1][8];
    struct vr_terms *terms = NULL;
    for (uint32_t i = 0; i <= VR_TERM_COUNT_MAX; i++) {
        snprintf(name[i], sizeof name[i], "t%u", i);
        spec[i] = (struct vr_term_spec){vr_str_of(name[i]), vr_str_of("click")};
    }
    cr_expect_eq(vr_terms_create(spec, 0, &terms), VR_ERR_FORMAT);
    cr_expect_eq(vr_terms_create(spec, VR_TERM_COUNT_MAX + 1, &terms), VR_ERR_FORMAT);
    cr_assert_eq(vr_terms_create(spec, VR_TERM_COUNT_MAX, &terms), VR_OK);
    cr_expect_eq(vr_terms_count(terms), VR_TERM_COUNT_MAX);
    cr_expect(vr_str_equal(vr_terms_name(terms, 7), vr_str_of("t7")));
    vr_terms_destroy(terms);
    spec[1].name = spec[0].name;
    cr_expect_eq(vr_terms_create(spec, 2, &terms), VR_ERR_FORMAT);
    cr_expect(strstr(vr_error_text(), "'t0' is there twice") != NULL);
    static const char *const bad[] = {"", "Upper", "a-b", "a b", "\xc3\xa4"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        spec[0].name = vr_str_of(bad[i]);
        cr_expect_eq(vr_terms_create(spec, 1, &terms), VR_ERR_FORMAT, "%s", bad[i]);
    }
    char long_name[65];
    memset(long_name, 'a', sizeof long_name);
    spec[0].name = (struct vr_str){long_name, 65};
    cr_expect_eq(vr_terms_create(spec, 1, &terms), VR_ERR_FORMAT);
    spec[0].name.len = 64;
    cr_expect_eq(vr_terms_create(spec, 1, &terms), VR_OK);
    vr_terms_destroy(terms);
    vr_terms_destroy(NULL);
}

Test(terms, linear_or_not)
{
    static const struct {
        const char *expression;
        int linear;
    } cases[] = {
        {"0.3*click", 1},
        {"click", 1},
        {"3", 1},
        {"watch_s/duration_s", 1},
        {"(click+like)*2/3 - finish", 1},
        {"click*duration_s*duration_s", 1},
        {"-(click)", 1},
        {"1e-3*watch_s", 1},
        {"(click+1)*(click+1)-click*click", 1},
        {"click*like", 0},
        {"click*click", 0},
        {"1/(1+click)", 0},
        {"click/like", 0},
        {"sqrt(click)", 0},
        {"click^2", 0},
        {"click > 0.999999 ? 2*click : click", 0},
        {"min(click, 10)", 0},
        {"click*(1+0.001*like)", 0},
        {"log(1+watch_s)", 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct vr_terms *terms;
        cr_assert_eq(create_one(cases[i].expression, &terms), VR_OK, "%s", vr_error_text());
        cr_expect_eq(vr_terms_are_linear(terms), cases[i].linear, "%s", cases[i].expression);
        vr_terms_destroy(terms);
    }
}

Test(terms, scores_that_are_not_finite_are_nan)
{
    static const float heads[2][VR_HEAD_COUNT] = {{0, 1, 1, 1}, {1, 1, 1, 1}}, duration[2] = {1, 1};
    static const struct vr_term_spec spec[2] = {{{"a", 1}, {"1/click", 7}}, {{"b", 1}, {"like", 4}}};
    struct vr_terms *terms;
    float value[2][2], score[2];
    cr_assert_eq(vr_terms_create(spec, 2, &terms), VR_OK);
    cr_expect_eq(vr_terms_evaluate(terms, 2, heads[0], duration, value[0], score), VR_OK);
    cr_expect(isnan(score[0]));
    cr_expect_eq(value[0][1], 1);
    cr_expect_eq(score[1], 2);
    vr_terms_destroy(terms);
}

Test(terms, evaluation_allocates_nothing)
{
    static const struct vr_term_spec spec[2] = {{{"a", 1}, {"0.3*click + max(like, finish)", 29}},
                                                {{"b", 1}, {"watch_s > 5 ? 1 : sqrt(2)", 25}}};
    static const float heads[4 * VR_HEAD_COUNT] = {0.5f, 1, 2, 3, 0.25f, 10, 2, 3}, duration[4] = {1, 2, 3, 4};
    struct vr_terms *terms;
    float value[8], score[4];
    cr_assert_eq(vr_terms_create(spec, 2, &terms), VR_OK);
    fail_from(1000000);
    enum vr_status status = vr_terms_evaluate(terms, 4, heads, duration, value, score);
    fail_stop();
    cr_expect_eq(status, VR_OK);
    cr_expect_eq(fail_calls(), 0);
    cr_expect_float_eq(score[0], 0.15 + 3 + sqrt(2), 1e-6);
    vr_terms_destroy(terms);
}

Test(terms, no_memory_for_terms)
{
    struct vr_terms *terms = NULL;
    struct vr_term_spec spec = {vr_str_of("a"), vr_str_of("click")};
    fail_from(0);
    enum vr_status status = vr_terms_create(&spec, 1, &terms);
    fail_stop();
    cr_expect_eq(status, VR_ERR_NOMEM);
    cr_expect_null(terms);
}

Test(terms, heads_have_names)
{
    cr_expect_str_eq(vr_head_name(VR_HEAD_CLICK), "click");
    cr_expect_str_eq(vr_head_name(VR_HEAD_WATCH_S), "watch_s");
    cr_expect_str_eq(vr_head_name(VR_HEAD_LIKE), "like");
    cr_expect_str_eq(vr_head_name(VR_HEAD_FINISH), "finish");
}
