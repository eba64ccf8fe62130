/* Number printing through C++17's std::to_chars, which C lacks: correctly rounded, shortest, independent of the
 * locale, and it neither throws nor allocates. Floats of a usual size take a shorter way to the same text. */
#include "json_number.h"

#include <charconv>
#include <cmath>
#include <cstring>

namespace
{

template <typename Number> size_t print(char *text, Number value)
{
    return static_cast<size_t>(std::to_chars(text, text + JSON_NUMBER_BYTES, value).ptr - text);
}

/* A real number that prints as digits alone reads back as an integer. That is meant for 30.0, but a bare "-0" would
 * lose its sign, and past 2^53 it may be more than readers' integers hold; there ".0" keeps it real. */
template <typename Real> size_t print_real(char *text, Real value)
{
    size_t len = print(text, value);
    bool digits_alone = std::memchr(text, '.', len) == nullptr && std::memchr(text, 'e', len) == nullptr;
    if (digits_alone && (std::abs(value) >= Real(9007199254740992.0) || (value == 0 && std::signbit(value)))) {
        text[len++] = '.';
        text[len++] = '0';
    }
    return len;
}

/* ---- floats of a usual size ---- */

constexpr uint32_t ten_to_8 = 100000000;

void store8(char *to, uint64_t bytes)
{
    std::memcpy(to, &bytes, sizeof bytes);
}

/* The eight decimal digits of a number below 10^8 as text, the first in the lowest byte: halves, quarters and eighths
 * of the number side by side in one register. Quotients by multiplication, exact for 4 and for 2 digits. */
uint64_t eight_digits(uint32_t value)
{
    uint64_t fours = value / 10000 | static_cast<uint64_t>(value % 10000) << 32;
    uint64_t hundreds = (fours * 10486 >> 20) & 0x0000007f0000007f;
    uint64_t twos = hundreds | (fours - 100 * hundreds) << 16;
    uint64_t tens = (twos * 103 >> 10) & 0x000f000f000f000f;
    return (tens | (twos - 10 * tens) << 8) + 0x3030303030303030;
}

/* digits * 10^-places, digits of nine places (10^8 to 10^9 - 1) with `zeros` zeros at their end; places is 4 to 12.
 * Whole words are stored, so more is written than is there. */
size_t print_fixed(char *text, uint32_t digits, int zeros, int places)
{
    char first = static_cast<char>('0' + digits / ten_to_8);
    uint64_t others = eight_digits(digits % ten_to_8);
    auto count = static_cast<size_t>(9 - zeros);
    if (places >= 9) { /* nothing before the point */
        auto after = static_cast<size_t>(places - 9);
        store8(text, 0x3030303030302e30); /* 0.000000 */
        text[2 + after] = first;
        store8(text + 3 + after, others);
        return 2 + after + count;
    }
    auto whole = static_cast<size_t>(9 - places); /* digits before the point */
    text[0] = first;
    store8(text + 1, others);
    if (count <= whole) {
        return whole;
    }
    text[whole] = '.';
    store8(text + whole + 1, others >> 8 * (whole - 1));
    return count + 1;
}

/* The shortest digits of |value| in [1e-4, 1e5), the range of scores and times; 0 where it is not in it or its text is
 * shorter with an exponent, which std::to_chars prints.
 *
 * A float is m * 2^e, and whatever lies within half a step of m reads back to it. Scaled by 10^k to nine digits, these
 * bounds are odd numbers over a power of two that fit 64 bits: nothing is rounded, and none of them is whole. The
 * largest power of ten with a multiple between the bounds gives the fewest digits, and the multiple next to the value
 * is the closest of them; between two at the same distance it is the even one. Like the shortest digits of Steele and
 * White and of Ryu, without their tables. At a power of two the step below is half as wide; none of the thirty in the
 * range has other digits for it. */
size_t print_usual(char *text, float value)
{
    static const float begin[] = {1e-4F, 1e-3F, 1e-2F, 1e-1F, 1e0F, 1e1F, 1e2F, 1e3F, 1e4F, 1e5F};
    static const uint64_t power_of_five[] = {625, 3125, 15625, 78125, 390625, 1953125, 9765625, 48828125, 244140625};
    /* By the float's exponent, from 2^-14: the decade of the smallest float of it. */
    static const uint8_t decade_of_exponent[] = {0, 0, 0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4,
                                                 4, 4, 5, 5, 5, 6, 6, 6, 7, 7, 7, 7, 8, 8, 8};
    uint32_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    float size = std::fabs(value);
    if (!(size >= begin[0] && size < begin[9])) {
        return 0;
    }
    int exponent = static_cast<int>(bits >> 23 & 0xff);
    int decade = decade_of_exponent[exponent - 113]; /* begin[decade] <= size < begin[decade + 1] */
    decade += size >= begin[decade + 1] ? 1 : 0;
    int k = 12 - decade; /* 4 to 12 */
    uint64_t m = (bits & 0x7fffff) | 0x800000;
    int shift = 151 - exponent - k; /* value * 10^k = 2 m * 5^k >> shift */
    uint64_t middle = 2 * m * power_of_five[k - 4];
    uint64_t half_step = power_of_five[k - 4];
    uint64_t low = ((middle - half_step) >> shift) + 1;
    uint64_t high = (middle + half_step) >> shift;
    uint64_t ten = 1;
    int zeros = 0;
    for (uint64_t l = (low + 9) / 10, h = high / 10; l <= h; l = (l + 9) / 10, h /= 10) {
        ten *= 10;
        zeros++;
    }
    uint64_t unit = ten << shift;
    uint64_t digits = middle / unit;
    uint64_t rest = middle % unit;
    digits += rest > unit - rest || (rest == unit - rest && digits % 2 == 1) ? 1 : 0;
    if (decade == 0 && zeros == 8) {
        return 0; /* 1e-04 is shorter */
    }
    text[0] = '-';
    size_t sign = value < 0 ? 1 : 0;
    return sign + print_fixed(text + sign, static_cast<uint32_t>(digits * ten), zeros, k);
}

} // namespace

size_t json_number_int(char *text, int64_t value)
{
    return print(text, value);
}

size_t json_number_uint(char *text, uint64_t value)
{
    return print(text, value);
}

size_t json_number_float(char *text, float value)
{
    size_t len = print_usual(text, value);
    return len > 0 ? len : print_real(text, value);
}

size_t json_number_double(char *text, double value)
{
    return print_real(text, value);
}
