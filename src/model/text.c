/* Checks of names and text from files. */
#include "text.h"

#include <stdint.h>

struct vr_shown vr_show(struct vr_str s)
{
    struct vr_shown shown;
    size_t n = s.len < 64 ? s.len : 64;
    for (size_t i = 0; i < n; i++) {
        shown.text[i] = s.data[i] >= ' ' && s.data[i] <= '~' ? s.data[i] : '?';
    }
    size_t dots = s.len > n ? 3 : 0;
    memcpy(shown.text + n, "...", dots);
    shown.text[n + dots] = '\0';
    return shown;
}

/* Continuation bytes that follow a lead byte, and the smallest code point of that length; -1 for no lead byte. */
static int lead(uint8_t byte, uint32_t *code, uint32_t *smallest)
{
    static const uint32_t first[4] = {0, 0x80, 0x800, 0x10000};
    int more = byte < 0x80 ? 0 : byte >= 0xC0 && byte < 0xE0 ? 1 : byte < 0xF0 && byte >= 0xE0 ? 2 : -1;
    if (byte >= 0xF0 && byte < 0xF8) {
        more = 3;
    }
    if (more >= 0) {
        *code = more == 0 ? byte : byte & (0x3Fu >> more);
        *smallest = first[more];
    }
    return more;
}

bool vr_text_is_utf8(const char *data, size_t bytes)
{
    for (size_t i = 0; i < bytes;) {
        uint32_t code, smallest;
        int more = lead((uint8_t)data[i++], &code, &smallest);
        if (more < 0 || (size_t)more > bytes - i) {
            return false;
        }
        for (; more > 0; more--, i++) {
            if (((uint8_t)data[i] & 0xC0u) != 0x80u) {
                return false;
            }
            code = code << 6 | ((uint8_t)data[i] & 0x3Fu);
        }
        if (code < smallest || code > 0x10FFFF || (code >= 0xD800 && code <= 0xDFFF)) {
            return false;
        }
    }
    return true;
}

bool vr_text_is_printable(struct vr_str s)
{
    for (size_t i = 0; i < s.len; i++) {
        if (s.data[i] <= ' ' || s.data[i] > '~') {
            return false;
        }
    }
    return s.len > 0;
}

bool vr_text_is_identifier(struct vr_str s)
{
    if (s.len == 0 || s.len > 64 || s.data[0] < 'a' || s.data[0] > 'z') {
        return false;
    }
    for (size_t i = 1; i < s.len; i++) {
        char c = s.data[i];
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_')) {
            return false;
        }
    }
    return true;
}
