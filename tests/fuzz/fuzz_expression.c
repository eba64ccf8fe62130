/* Fuzz target: any bytes are compiled as a satisfaction term. A refusal names the term and a column within the text;
 * what is accepted gives the same value twice, and a linear term passes through the middle of two points. */
#include "vireo/terms.h"

#include <float.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>

static void require(bool condition)
{
    if (!condition) {
        abort();
    }
}

static void check_refusal(size_t size)
{
    static const char start[] = "term 't', column ";
    const char *text = vr_error_text();
    require(strncmp(text, start, sizeof start - 1) == 0);
    long column = strtol(text + sizeof start - 1, NULL, 10);
    require(column >= 1 && (size_t)column <= size + 1);
}

static bool same(float a, float b)
{
    return a == b || (isnan(a) && isnan(b));
}

/* Rows 0 and 1, row 2 in the middle of them, row 3 equal to row 0. */
static void check_values(struct vr_terms *terms)
{
    static const float heads[4][VR_HEAD_COUNT] = {
        {0, 2, 0.5f, 1}, {1, 18, 0.25f, 0.5f}, {0.5f, 10, 0.375f, 0.75f}, {0, 2, 0.5f, 1}};
    static const float duration[4] = {16, 16, 16, 16};
    float value[4], score[4];
    if (vr_terms_evaluate(terms, 4, heads[0], duration, value, score) != VR_OK) {
        require(isnan(score[0]) || isnan(score[1]) || isnan(score[2]));
        return;
    }
    require(same(value[0], value[3]) && same(score[0], score[3]));
    for (int i = 0; i < 4; i++) {
        require(isnan(score[i]) || same(score[i], value[i]));
    }
    if (vr_terms_are_linear(terms) && isfinite(value[0]) && isfinite(value[1])) {
        float middle = value[0] / 2 + value[1] / 2, size = fabsf(value[0]) + fabsf(value[1]) + fabsf(value[2]);
        require(fabsf(value[2] - middle) <= 1e-3f * size + FLT_MIN); /* below it halves are rounded */
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct vr_term_spec spec = {{"t", 1}, {(const char *)data, size}};
    struct vr_terms *terms = NULL;
    if (vr_terms_create(&spec, 1, &terms) != VR_OK) {
        require(terms == NULL);
        check_refusal(size);
        return 0;
    }
    check_values(terms);
    vr_terms_destroy(terms);
    return 0;
}
