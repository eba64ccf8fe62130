/* A scan of an expression's characters: muParser also knows assignments, strings, several expressions behind commas,
 * and more, none of which a term may use. */
#include "terms_scan.h"

#define DEPTH_MAX 64u

struct scan {
    const char *term;
    struct vr_str text;
    size_t at;
    bool after_name; /* the token before is an identifier: a '(' begins a call */
    bool is_call[DEPTH_MAX];
    size_t depth;
    bool plain;
};

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static char peek(const struct scan *s, size_t ahead)
{
    return s->at + ahead < s->text.len ? s->text.data[s->at + ahead] : '\0';
}

static enum vr_status fail(const struct scan *s, const char *what)
{
    return vr_fail(VR_ERR_FORMAT, "term '%s', column %zu: %s", s->term, s->at + 1, what);
}

/* A name; one that is followed by '(' is a function. */
static void skip_name(struct scan *s)
{
    while (is_letter(peek(s, 0)) || is_digit(peek(s, 0))) {
        s->at++;
    }
    s->after_name = true;
}

/* 12, 0.5, 1e-3. What is malformed is left to muParser. */
static void skip_number(struct scan *s)
{
    while (is_digit(peek(s, 0)) || peek(s, 0) == '.') {
        s->at++;
    }
    if (peek(s, 0) == 'e' || peek(s, 0) == 'E') {
        s->at += peek(s, 1) == '-' || peek(s, 1) == '+' ? 2 : 1;
        while (is_digit(peek(s, 0))) {
            s->at++;
        }
    }
    s->after_name = false;
}

static enum vr_status open_bracket(struct scan *s)
{
    if (s->depth == DEPTH_MAX) {
        return fail(s, "more than 64 open parentheses");
    }
    s->is_call[s->depth++] = s->after_name;
    s->plain = s->plain && !s->after_name;
    return VR_OK;
}

static enum vr_status check_symbol(struct scan *s, char c)
{
    switch (c) {
    case '+':
    case '-':
    case '*':
    case '/': return VR_OK;
    case '(': return open_bracket(s);
    case ')':
        if (s->depth == 0) {
            return fail(s, "unexpected ')'");
        }
        s->depth--;
        return VR_OK;
    case ',':
        return s->depth > 0 && s->is_call[s->depth - 1] ? VR_OK : fail(s, "a ',' outside of a function's arguments");
    case '=': return peek(s, 1) == '=' ? VR_OK : fail(s, "an assignment is not allowed (compare with '==')");
    default: break;
    }
    s->plain = false;
    return c != '\0' && strchr("^<>!&|?:", c) != NULL ? VR_OK : fail(s, "unexpected character");
}

/* ==, <=, >=, != are one token: the '=' in them is no assignment. */
static size_t symbol_length(const struct scan *s, char c)
{
    return (c == '=' || c == '<' || c == '>' || c == '!') && peek(s, 1) == '=' ? 2 : 1;
}

enum vr_status vr_terms_scan(const char *term, struct vr_str expression, bool *plain)
{
    struct scan s = {.term = term, .text = expression, .plain = true};
    while (s.at < expression.len) {
        char c = expression.data[s.at];
        if (c == ' ') {
            s.at++;
        } else if (is_letter(c)) {
            skip_name(&s);
        } else if (is_digit(c) || c == '.') {
            skip_number(&s);
        } else {
            enum vr_status status = check_symbol(&s, c);
            if (status != VR_OK) {
                return status;
            }
            s.plain = s.plain && symbol_length(&s, c) == 1;
            s.at += symbol_length(&s, c);
            s.after_name = false;
        }
    }
    *plain = s.plain;
    return VR_OK;
}
