/* UTF-8, identifiers, and what an error text shows of a hostile string. */
#include "model/text.h"

#include <criterion/criterion.h>

Test(text, utf8)
{
    static const struct {
        const char *text;
        bool valid;
    } cases[] = {
        {"", true},
        {"plain", true},
        {"\xc3\xa4", true},
        {"\xe2\x82\xac", true},
        {"\xf0\x9f\x90\xa6", true},
        {"\xed\x9f\xbf", true},
        {"\xee\x80\x80", true},
        {"\xf4\x8f\xbf\xbf", true},
        {"\x80", false},
        {"\xc3", false},
        {"\xc3\x28", false},
        {"\xc0\xaf", false},
        {"\xc1\xbf", false},
        {"\xe0\x80\xaf", false},
        {"\xe2\x82", false},
        {"\xed\xa0\x80", false},
        {"\xf0\x80\x80\xaf", false},
        {"\xf4\x90\x80\x80", false},
        {"\xf5\x80\x80\x80", false},
        {"\xfe", false},
        {"\xff", false},
        {"a\xc3\xa4\xff", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        cr_expect_eq(vr_text_is_utf8(cases[i].text, strlen(cases[i].text)), cases[i].valid, "case %zu", i);
    }
    cr_expect(vr_text_is_utf8("a\0b", 3));
}

Test(text, identifiers)
{
    static const char *const valid[] = {"a", "a_1", "recent_watch_s"}, *const invalid[] = {"",   "A",   "1a",
                                                                                           "_a", "a-b", "a b"};
    for (size_t i = 0; i < sizeof valid / sizeof *valid; i++) {
        cr_expect(vr_text_is_identifier(vr_str_of(valid[i])), "%s", valid[i]);
    }
    for (size_t i = 0; i < sizeof invalid / sizeof *invalid; i++) {
        cr_expect_not(vr_text_is_identifier(vr_str_of(invalid[i])), "%s", invalid[i]);
    }
    char name[66];
    memset(name, 'a', sizeof name);
    cr_expect(vr_text_is_identifier((struct vr_str){name, 64}));
    cr_expect_not(vr_text_is_identifier((struct vr_str){name, 65}));
}

Test(text, printable)
{
    cr_expect(vr_text_is_printable(vr_str_of("!user_tower.0~")));
    static const struct vr_str invalid[] = {{"", 0},    {"a b", 3},   {"a\0b", 3},
                                            {"a\n", 2}, {"a\x7f", 2}, {"\xc3\xa4", 2}};
    for (size_t i = 0; i < sizeof invalid / sizeof *invalid; i++) {
        cr_expect_not(vr_text_is_printable(invalid[i]), "case %zu", i);
    }
}

Test(text, shown_strings_are_short_and_printable)
{
    char text[200];
    memset(text, 'x', sizeof text);
    struct vr_shown shown = vr_show((struct vr_str){text, sizeof text});
    cr_expect_eq(strlen(shown.text), 67);
    shown = vr_show((struct vr_str){"a\n\0\x1b\xff", 5});
    cr_expect_str_eq(shown.text, "a????");
}
