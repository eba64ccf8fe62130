/* Words of the command line into a setup (options.h). */
#include "options.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* One word of a value: the value itself, or what stands between two commas. */
struct word {
    const char *text;
    size_t len;
};

/* The number that a word is, digits with at most one point; NaN when it is none. */
static double number_of(struct word word, const char *letters)
{
    char digits[24] = "", *end = NULL;
    if (word.len == 0 || word.len >= sizeof digits || strspn(word.text, letters) < word.len) {
        return NAN;
    }
    memcpy(digits, word.text, word.len);
    const double number = strtod(digits, &end);
    return *end == '\0' ? number : NAN;
}

static enum vr_status take_number(const struct bench_flag *flag, struct word word, const char *letters, double *out)
{
    *out = number_of(word, letters);
    if (!(*out >= flag->least && *out <= flag->most)) {
        return vr_fail(VR_ERR_INVALID, "%s: a number in %.10g..%.10g, not \"%.*s\"", flag->name, flag->least,
                       flag->most, (int)word.len, word.text);
    }
    return VR_OK;
}

static bool is_count(enum bench_value value)
{
    return value == BENCH_COUNT || value == BENCH_COUNTS;
}

static const char *letters_of(enum bench_value value)
{
    return is_count(value) ? "0123456789" : "0123456789.";
}

/* The place of a word among the flag's names. */
static enum vr_status take_name(const struct bench_flag *flag, struct word word, uint32_t *out)
{
    char known[128] = "";
    for (uint32_t i = 0; flag->names[i] != NULL; i++) {
        if (strlen(flag->names[i]) == word.len && memcmp(flag->names[i], word.text, word.len) == 0) {
            *out = i;
            return VR_OK;
        }
        const size_t used = strlen(known);
        snprintf(known + used, sizeof known - used, "%s%s", i > 0 ? ", " : "", flag->names[i]);
    }
    return vr_fail(VR_ERR_INVALID, "%s: one of %s, not \"%.*s\"", flag->name, known, (int)word.len, word.text);
}

static enum vr_status take_choice(const struct bench_flag *flag, struct word word, const char **out)
{
    uint32_t at = 0;
    const enum vr_status status = take_name(flag, word, &at);
    *out = status == VR_OK ? flag->names[at] : NULL;
    return status;
}

/* ---- lists ---- */

static enum vr_status add_number(const struct bench_flag *flag, struct word word, char *setup, uint32_t *count)
{
    double number = 0.0, before = -INFINITY;
    uint32_t *counts = (uint32_t *)(void *)(setup + flag->offset);
    double *numbers = (double *)(void *)(setup + flag->offset);
    const enum vr_status status = take_number(flag, word, letters_of(flag->value), &number);
    if (status != VR_OK) {
        return status;
    }
    if (*count == VR_BENCH_LIST_MAX) {
        return vr_fail(VR_ERR_INVALID, "%s: more than %u", flag->name, VR_BENCH_LIST_MAX);
    }
    if (*count > 0) {
        before = is_count(flag->value) ? counts[*count - 1] : numbers[*count - 1];
    }
    if (number <= before) {
        return vr_fail(VR_ERR_INVALID, "%s: rising numbers, and %.10g follows %.10g", flag->name, number, before);
    }
    if (is_count(flag->value)) {
        counts[(*count)++] = (uint32_t)number;
    } else {
        numbers[(*count)++] = number;
    }
    return VR_OK;
}

static enum vr_status add_name(const struct bench_flag *flag, struct word word, char *setup, uint32_t *count)
{
    const char **list = (const char **)(void *)(setup + flag->offset);
    uint32_t at = 0;
    const enum vr_status status = take_name(flag, word, &at);
    for (uint32_t i = 0; status == VR_OK && i < *count; i++) {
        if (list[i] == flag->names[at]) {
            return vr_fail(VR_ERR_INVALID, "%s: %s is named twice", flag->name, list[i]);
        }
    }
    if (status == VR_OK) {
        list[(*count)++] = flag->names[at];
    }
    return status;
}

static enum vr_status take_list(const struct bench_flag *flag, const char *value, char *setup)
{
    uint32_t *count = (uint32_t *)(void *)(setup + flag->count_offset);
    for (const char *at = value;; at++) {
        const struct word word = {at, strcspn(at, ",")};
        const enum vr_status status =
            flag->value == BENCH_NAMES ? add_name(flag, word, setup, count) : add_number(flag, word, setup, count);
        at += word.len;
        if (status != VR_OK || *at == '\0') {
            return status;
        }
    }
}

/* ---- flags ---- */

static enum vr_status take(const struct bench_flag *flag, const char *value, char *setup)
{
    const struct word whole = {value, value != NULL ? strlen(value) : 0};
    char *member = setup + flag->offset;
    double number = 0.0;
    enum vr_status status = VR_OK;
    switch (flag->value) {
    case BENCH_SWITCH: *(bool *)member = true; return VR_OK;
    case BENCH_TEXT:
        *(const char **)(void *)member = value;
        return whole.len > 0 ? VR_OK : vr_fail(VR_ERR_INVALID, "%s: a text, not nothing", flag->name);
    case BENCH_NAME: return take_name(flag, whole, (uint32_t *)(void *)member);
    case BENCH_CHOICE: return take_choice(flag, whole, (const char **)(void *)member);
    case BENCH_COUNT:
        status = take_number(flag, whole, letters_of(flag->value), &number);
        *(uint32_t *)(void *)member = status == VR_OK ? (uint32_t)number : 0;
        return status;
    case BENCH_NUMBER: return take_number(flag, whole, letters_of(flag->value), (double *)(void *)member);
    default: return take_list(flag, value, setup);
    }
}

/* The flag that a word names, up to '='; `count` when none. */
static size_t find(const struct bench_flag *flags, size_t count, const char *word)
{
    const size_t len = strcspn(word, "=");
    size_t i = 0;
    while (i < count && (strlen(flags[i].name) != len || memcmp(flags[i].name, word, len) != 0)) {
        i++;
    }
    return i;
}

/* Take the flag at argv[*at], with its value behind '=' or in the next word; *at moves past both. */
static enum vr_status take_word(const struct bench_flag *flag, int argc, char *const *argv, int *at, char *setup)
{
    const char *equals = strchr(argv[*at], '='), *value = equals != NULL ? equals + 1 : NULL;
    if (flag->value == BENCH_SWITCH && equals != NULL) {
        return vr_fail(VR_ERR_INVALID, "%s: takes no value", flag->name);
    }
    if (flag->value != BENCH_SWITCH && value == NULL && *at + 1 < argc) {
        value = argv[++*at];
    }
    ++*at;
    if (flag->value != BENCH_SWITCH && value == NULL) {
        return vr_fail(VR_ERR_INVALID, "%s: needs a value", flag->name);
    }
    return take(flag, value, setup);
}

enum vr_status bench_options_read(const struct bench_flag *flags, size_t count, int argc, char *const *argv,
                                  void *setup)
{
    bool given[BENCH_FLAGS_MAX] = {false};
    for (int at = 0; at < argc;) {
        const size_t i = find(flags, count, argv[at]);
        if (i == count) {
            return vr_fail(VR_ERR_INVALID, "%s: %s", argv[at],
                           argv[at][0] == '-' ? "unknown flag" : "not expected here");
        }
        if (given[i]) {
            return vr_fail(VR_ERR_INVALID, "%s: given twice", flags[i].name);
        }
        given[i] = true;
        const enum vr_status status = take_word(&flags[i], argc, argv, &at, setup);
        if (status != VR_OK) {
            return status;
        }
    }
    for (size_t i = 0; i < count; i++) {
        if (flags[i].required && !given[i]) {
            return vr_fail(VR_ERR_INVALID, "%s: missing", flags[i].name);
        }
    }
    return VR_OK;
}
