/* A folder of a test's own, and a file system for the event log that fails on command and can lose what was not synced
 * (src/state/file_ops.h). */
#ifndef VIREO_TESTS_SUPPORT_FILES_H
#define VIREO_TESTS_SUPPORT_FILES_H

#include <stdbool.h>
#include <stdint.h>

#include "state/file_ops.h"

/* An empty folder, removed by files_end with all that is in it. */
const char *files_begin(void);
void files_end(void);

/* The calls of the table. */
enum files_call { FILES_OPEN = 0, FILES_WRITE, FILES_SYNC, FILES_TRUNCATE, FILES_RENAME };
#define FILES_CALLS 5

extern const struct vr_file_ops files_ops;

/* Let `after` more calls of a kind succeed and the next `times` fail with `error`; a failing write puts most of its
 * bytes down first. `after` < 0: no failure. Nothing else is changed. */
void files_fail(enum files_call call, long after, long times, int error);

/* How many calls of a kind there were since files_begin or the latest files_fail of that kind. */
long files_calls(enum files_call call);

/* The machine stops: bytes that were not synced are gone (0), there (1), or some of their pages are zeros (2 and up,
 * which seeds the choice). Nothing may be open. */
void files_lose(unsigned how);

/* Bytes of a file; and one of its bits changed, or its end cut. */
long files_size(const char *folder, const char *name);
void files_flip(const char *folder, const char *name, long at);
void files_cut(const char *folder, const char *name, long size);

#endif
