/* Number printing through C++17's std::to_chars, which C lacks: correctly rounded, shortest, independent of the
 * locale, and it neither throws nor allocates. */
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
    return print_real(text, value);
}

size_t json_number_double(char *text, double value)
{
    return print_real(text, value);
}
