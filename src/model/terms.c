/* Satisfaction terms over muParser's C interface. muParser alone evaluates; before it sees an expression, characters
 * that would reach beyond one arithmetic expression are refused (terms_scan.c). One parser a term, all reading the same
 * variables, evaluated row by row: its bulk mode would start OpenMP threads of its own. */
#include "vireo/terms.h"

#include <math.h>
#include <muParserDLL.h>
#include <stdbool.h>
#include <stdlib.h>

#include "terms_scan.h"
#include "text.h"

#define EXPRESSION_MAX_BYTES 1024u
#define VARIABLES (VR_HEAD_COUNT + 1u)
#define DURATION VR_HEAD_COUNT /* the variable behind the heads */

struct term {
    char name[65];
    int length;              /* of the expression, bytes */
    muParserHandle_t parser; /* compiled: evaluating it again allocates nothing */
};

struct vr_terms {
    uint32_t count;
    bool linear;
    double variable[VARIABLES]; /* heads, then duration_s; every parser reads these */
    struct term term[VR_TERM_COUNT_MAX];
};

static const char *const variable_names[VARIABLES] = {"click", "watch_s", "like", "finish", "duration_s"};

const char *vr_head_name(enum vr_head head)
{
    return variable_names[head];
}

/* muParser's message without its own position, which counts from 0: 'Unexpected token "x" found at position 4.' */
static struct vr_str without_position(const char *message)
{
    static const char *const tails[] = {" found at position", " at expression position", " at position", " (position"};
    struct vr_str text = vr_str_of(message);
    for (size_t i = 0; i < sizeof tails / sizeof *tails; i++) {
        const char *tail = strstr(message, tails[i]);
        if (tail != NULL && (size_t)(tail - message) < text.len) {
            text.len = (size_t)(tail - message);
        }
    }
    return text;
}

/* The error of muParser's latest call, or VR_OK. Its positions count from 0, may lie past the end, and -1 is none. */
static enum vr_status check(const struct term *term)
{
    if (!mupError(term->parser)) {
        return VR_OK;
    }
    int at = mupGetErrorPos(term->parser);
    int column = at < 0 ? 1 : at < term->length ? at + 1 : term->length + 1;
    enum vr_status status = vr_fail(VR_ERR_FORMAT, "term '%s', column %d: %s", term->name, column,
                                    vr_show(without_position(mupGetErrorMsg(term->parser))).text);
    mupErrorReset(term->parser);
    return status;
}

static bool name_is_valid(struct vr_str name)
{
    for (size_t i = 0; i < name.len; i++) {
        char c = name.data[i];
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_')) {
            return false;
        }
    }
    return name.len > 0 && name.len <= 64;
}

/* Copies the name into the term that is being added. */
static enum vr_status take_name(struct vr_terms *terms, struct vr_str name)
{
    if (!name_is_valid(name)) {
        return vr_fail(VR_ERR_FORMAT, "term '%s': a name must be 1 to 64 of [a-z0-9_]", vr_show(name).text);
    }
    for (uint32_t i = 0; i < terms->count; i++) {
        if (vr_str_equal(name, vr_str_of(terms->term[i].name))) {
            return vr_fail(VR_ERR_FORMAT, "term '%s' is there twice", terms->term[i].name);
        }
    }
    memcpy(terms->term[terms->count].name, name.data, name.len);
    terms->term[terms->count].name[name.len] = '\0';
    return VR_OK;
}

/* Parse and compile: muParser does both at the first evaluation. */
static enum vr_status compile(struct vr_terms *terms, struct term *term, const char *expression)
{
    for (uint32_t i = 0; i < VARIABLES; i++) {
        mupDefineVar(term->parser, variable_names[i], &terms->variable[i]);
        terms->variable[i] = 0.5;
    }
    mupSetExpr(term->parser, expression);
    enum vr_status status = check(term);
    if (status != VR_OK) {
        return status;
    }
    int results = 0;
    mupEvalMulti(term->parser, &results);
    status = check(term);
    if (status == VR_OK && results != 1) {
        status = vr_fail(VR_ERR_FORMAT, "term '%s', column 1: %d expressions in one term", term->name, results);
    }
    if (status == VR_OK) {
        mupEval(term->parser);
        status = check(term);
    }
    return status;
}

/* f at the point that `variable` holds. */
static double value_at(struct vr_terms *terms, const struct term *term, const double head[VR_HEAD_COUNT])
{
    memcpy(terms->variable, head, VR_HEAD_COUNT * sizeof *head);
    double value = mupEval(term->parser);
    return mupError(term->parser) ? NAN : value;
}

/* Whether f(x) = f(0) + sum x_i (f(e_i) - f(0)) at 16 points, for the duration that is set. A quotient of polynomials
 * that is not linear differs at almost every point. */
static bool is_linear_at_points(struct vr_terms *terms, const struct term *term)
{
    double slope[VR_HEAD_COUNT], point[VR_HEAD_COUNT] = {0};
    double origin = value_at(terms, term, point);
    for (uint32_t i = 0; i < VR_HEAD_COUNT; i++) {
        point[i] = 1;
        slope[i] = value_at(terms, term, point) - origin;
        point[i] = 0;
    }
    uint64_t seed = 1;
    for (uint32_t n = 0; n < 16; n++) {
        double expected = origin, size = fabs(origin);
        for (uint32_t i = 0; i < VR_HEAD_COUNT; i++) {
            seed = seed * 6364136223846793005u + 1442695040888963407u; /* Knuth's MMIX generator */
            point[i] = (double)(seed >> 40) / 4194304.0 - 2.0;         /* in [-2, 2) */
            expected += slope[i] * point[i];
            size += fabs(slope[i] * point[i]);
        }
        if (!(fabs(value_at(terms, term, point) - expected) <= 1e-9 * size)) {
            return false;
        }
    }
    return true;
}

static bool is_linear(struct vr_terms *terms, const struct term *term)
{
    static const double durations[] = {1, 7.25, 180};
    for (size_t i = 0; i < sizeof durations / sizeof *durations; i++) {
        terms->variable[DURATION] = durations[i];
        if (!is_linear_at_points(terms, term)) {
            return false;
        }
    }
    return true;
}

static enum vr_status add_term(struct vr_terms *terms, const struct vr_term_spec *spec)
{
    struct term *term = &terms->term[terms->count];
    char expression[EXPRESSION_MAX_BYTES + 1];
    bool plain = false;
    enum vr_status status = take_name(terms, spec->name);
    if (status != VR_OK) {
        return status;
    }
    if (spec->expression.len == 0 || spec->expression.len > EXPRESSION_MAX_BYTES) {
        return vr_fail(VR_ERR_FORMAT, "term '%s', column 1: an expression must have 1 to %u bytes, not %zu", term->name,
                       EXPRESSION_MAX_BYTES, spec->expression.len);
    }
    status = vr_terms_scan(term->name, spec->expression, &plain);
    if (status != VR_OK) {
        return status;
    }
    memcpy(expression, spec->expression.data, spec->expression.len);
    expression[spec->expression.len] = '\0';
    term->length = (int)spec->expression.len;
    term->parser = mupCreate(muBASETYPE_FLOAT);
    if (term->parser == NULL) {
        return vr_fail(VR_ERR_NOMEM, "no memory for an expression");
    }
    terms->count++; /* from here on destroy releases the parser */
    status = compile(terms, term, expression);
    terms->linear = terms->linear && status == VR_OK && plain && is_linear(terms, term);
    return status;
}

enum vr_status vr_terms_create(const struct vr_term_spec *spec, uint32_t count, struct vr_terms **out)
{
    if (count == 0 || count > VR_TERM_COUNT_MAX) {
        return vr_fail(VR_ERR_FORMAT, "%u terms, must be 1 to %u", count, VR_TERM_COUNT_MAX);
    }
    struct vr_terms *terms = calloc(1, sizeof *terms);
    if (terms == NULL) {
        return vr_fail(VR_ERR_NOMEM, "no memory for terms");
    }
    terms->linear = true;
    for (uint32_t i = 0; i < count; i++) {
        enum vr_status status = add_term(terms, &spec[i]);
        if (status != VR_OK) {
            vr_terms_destroy(terms);
            return status;
        }
    }
    *out = terms;
    return VR_OK;
}

void vr_terms_destroy(struct vr_terms *terms)
{
    if (terms == NULL) {
        return;
    }
    for (uint32_t i = 0; i < terms->count; i++) {
        mupRelease(terms->term[i].parser);
    }
    free(terms);
}

uint32_t vr_terms_count(const struct vr_terms *terms)
{
    return terms->count;
}

struct vr_str vr_terms_name(const struct vr_terms *terms, uint32_t index)
{
    return vr_str_of(terms->term[index].name);
}

int vr_terms_are_linear(const struct vr_terms *terms)
{
    return terms->linear;
}

/* The terms of one row at the variables that are set -> value [count]; returns their sum, NaN after a failure. */
static double evaluate_row(struct vr_terms *terms, float *value, enum vr_status *status)
{
    double sum = 0;
    for (uint32_t t = 0; t < terms->count; t++) {
        double v = mupEval(terms->term[t].parser);
        enum vr_status now = check(&terms->term[t]);
        if (now != VR_OK) {
            *status = now;
            v = NAN;
        }
        value[t] = (float)v;
        sum += v;
    }
    return sum;
}

enum vr_status vr_terms_evaluate(struct vr_terms *terms, size_t rows, const float *heads, const float *duration_s,
                                 float *value, float *score)
{
    enum vr_status status = VR_OK;
    for (size_t r = 0; r < rows; r++) {
        for (uint32_t i = 0; i < VR_HEAD_COUNT; i++) {
            terms->variable[i] = heads[r * VR_HEAD_COUNT + i];
        }
        terms->variable[DURATION] = duration_s[r];
        float sum = (float)evaluate_row(terms, value + r * terms->count, &status);
        score[r] = isfinite(sum) ? sum : NAN;
    }
    return status;
}
