/* Small checks of names and text that come from files, and a form of them that is safe in an error text. */
#ifndef VIREO_MODEL_TEXT_H
#define VIREO_MODEL_TEXT_H

#include <stdbool.h>

#include "vireo/arena.h"

#define VR_SHOWN_BYTES 72u

/* At most 64 bytes of `s`, NUL-terminated, with everything but printable ASCII as '?'. */
struct vr_shown {
    char text[VR_SHOWN_BYTES];
};
struct vr_shown vr_show(struct vr_str s);

bool vr_text_is_utf8(const char *data, size_t bytes);

/* Printable ASCII without spaces, not empty: what a tensor's name consists of. */
bool vr_text_is_printable(struct vr_str s);

/* [a-z][a-z0-9_]*, at most 64 characters: fields, features, gates. */
bool vr_text_is_identifier(struct vr_str s);

#endif
