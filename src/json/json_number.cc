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

const char digit_pairs[] =
    "00010203040506070809101112131415161718192021222324252627282930313233343536373839404142434445464748"
    "4950515253545556575859606162636465666768697071727374757677787980818283848586878889909192939495969798"
    "99";

/* The digits of `value` (> 0) so that they end before `end`; returns the first. */
char *print_backwards(char *end, uint32_t value)
{
    while (value >= 100) {
        end -= 2;
        std::memcpy(end, digit_pairs + 2 * (value % 100), 2);
        value /= 100;
    }
    if (value < 10) {
        *--end = static_cast<char>('0' + value);
        return end;
    }
    end -= 2;
    std::memcpy(end, digit_pairs + 2 * value, 2);
    return end;
}

/* digits * 10^-places, digits > 0 without trailing zeros where places > 0. */
size_t print_fixed(char *text, uint32_t digits, int places)
{
    char room[16];
    char *end = room + sizeof room;
    const char *first = print_backwards(end, digits);
    int count = static_cast<int>(end - first);
    char *at = text;
    if (count > places) {
        int whole = count - (places > 0 ? places : 0);
        at = static_cast<char *>(std::memcpy(at, first, static_cast<size_t>(whole))) + whole;
        first += whole;
        for (int i = places; i < 0; i++) {
            *at++ = '0';
        }
        if (places <= 0) {
            return static_cast<size_t>(at - text);
        }
        *at++ = '.';
    } else {
        std::memset(at, '0', 10);
        at[1] = '.';
        at += 2 + places - count;
    }
    size_t rest = static_cast<size_t>(end - first);
    std::memcpy(at, first, rest);
    return static_cast<size_t>(at - text) + rest;
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
    if (decade == 0 && digits < 10) {
        return 0; /* 1e-04 is shorter */
    }
    text[0] = '-';
    size_t sign = value < 0 ? 1 : 0;
    return sign + print_fixed(text + sign, static_cast<uint32_t>(digits), k - zeros);
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
