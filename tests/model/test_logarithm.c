/* vr_logarithms against libm's long double logarithm: within two units of the last place over all sizes, and what has
 * no logarithm stays. */
#include <criterion/criterion.h>
#include <float.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

#include "model/logarithm.h"

#define COUNT 4096u

static uint64_t state = 42;

static double unit(void) /* splitmix64 */
{
    uint64_t z = state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return (double)((z ^ (z >> 31)) >> 11) / 9007199254740992.0;
}

/* In units of the last place of the true value. */
static double off(double x, double value)
{
    const long double exact = logl((long double)x);
    const double size = fabs((double)exact);
    const double step = nextafter(size, (double)INFINITY) - size;
    return (double)(fabsl((long double)value - exact) / (long double)step);
}

static void check(const double *x, const double *value)
{
    for (uint32_t i = 0; i < COUNT; i++) {
        cr_assert(off(x[i], value[i]) <= 2.0, "log(%a) is %a", x[i], value[i]);
    }
}

Test(logarithm, is_within_two_units_of_the_last_place)
{
    static double x[COUNT], value[COUNT];
    for (uint32_t round = 0; round < 40; round++) {
        for (uint32_t i = 0; i < COUNT; i++) {
            const double size = round % 4 == 0 ? 600.0 : round % 4 == 1 ? 14.0 : round % 4 == 2 ? 0.7 : 1e-6;
            x[i] = exp((2.0 * unit() - 1.0) * size); /* the last two: around 1 */
        }
        memcpy(value, x, sizeof x);
        vr_logarithms(value, COUNT);
        check(x, value);
    }
}

Test(logarithm, edges)
{
    double x[VR_LOG_BLOCK] = {1.0, (double)INFINITY, NAN, DBL_MIN, DBL_MAX, 2.0, 0.5, 0x1.6a09e667f3bcdp0};
    vr_logarithms(x, VR_LOG_BLOCK);
    cr_expect_eq(x[0], 0.0);
    cr_expect_eq(x[1], (double)INFINITY);
    cr_expect(isnan(x[2]));
    cr_expect_float_eq(x[3], log(DBL_MIN), 1e-12);
    cr_expect_float_eq(x[4], log(DBL_MAX), 1e-12);
    cr_expect_float_eq(x[5], log(2.0), 1e-16);
    cr_expect_eq(x[6], -x[5]);
    cr_expect_float_eq(x[7], 0.5 * log(2.0), 2e-16);
}
