/* Number printing through C++17's std::to_chars, which C lacks: correctly rounded, shortest, independent of the
 * locale, and it neither throws nor allocates. */
#include "json_number.h"

#include <charconv>

namespace
{

template <typename Number> size_t print(char *text, Number value)
{
    return static_cast<size_t>(std::to_chars(text, text + JSON_NUMBER_BYTES, value).ptr - text);
}

/* A bare "-0" would read back as the integer 0 and lose its sign. */
template <typename Real> size_t print_real(char *text, Real value)
{
    size_t len = print(text, value);
    if (len == 2 && text[0] == '-' && text[1] == '0') {
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
