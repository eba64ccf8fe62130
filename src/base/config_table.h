/* The table of scalar settings, private to src/base/config*.c: the one place that knows each setting's path, type,
 * range and home in its struct. The file, the environment and the flags all go through it. */
#ifndef VIREO_CONFIG_TABLE_H
#define VIREO_CONFIG_TABLE_H

#include <stdbool.h>
#include <stddef.h>

#include "vireo/arena.h"
#include "vireo/config.h"

#define CONFIG_TEXT_MAX 1024u /* bytes of a string setting */

enum setting_type {
    SETTING_BOOL = 0, /* bool */
    SETTING_U32,      /* uint32_t, min..max */
    SETTING_FLOAT,    /* float, min..max */
    SETTING_TEXT,     /* const char *, 1..CONFIG_TEXT_MAX bytes */
    SETTING_NAME,     /* const char *, [a-z0-9_]+ */
    SETTING_ADDRESS,  /* const char *, HOST:PORT or [IPV6]:PORT */
    SETTING_CHOICE,   /* an enum, by the names of `choice` */
};

struct setting {
    const char *path; /* "server.listen"; inside a list item the key alone */
    enum setting_type type;
    size_t offset; /* into struct vr_config, or into the list item's struct */
    double min, max;
    const char *(*choice)(unsigned value); /* name of a value; NULL past the last */
};

extern const struct setting config_settings[];
extern const size_t config_settings_count;

/* NULL when no scalar setting has that path. */
const struct setting *config_setting_find(const char *path);

/* Read `text` (`len` bytes, no NUL needed) into the setting's place in `base`; strings are copied into `arena`.
 * VR_ERR_FORMAT with a text like "expected a whole number from 1 to 16, found 'x'"; VR_ERR_NOMEM. On failure `base`
 * is as it was. */
enum vr_status config_setting_assign(const struct setting *setting, const char *text, size_t len, void *base,
                                     struct vr_arena *arena);

/* Name tables in the form of struct setting's `choice`. */
const char *config_choice_cap_by(unsigned value);
const char *config_choice_rule(unsigned value);

/* `text` as it may stand in a one-line message: at most 63 bytes, what is not printable ASCII shown as '?'. */
struct config_shown {
    char text[64];
};
struct config_shown config_show(const char *text, size_t len);

#endif
