/* Errors as RFC 9457 problem documents, and the one table that maps a status to an HTTP answer. */
#ifndef VIREO_SERVER_PROBLEM_H
#define VIREO_SERVER_PROBLEM_H

#include "vireo/json.h"
#include "vireo/status.h"

/* HTTP status of a Vireo status: VR_ERR_INVALID is 400, VR_ERR_BUSY 503, ... */
int vr_problem_http_status(enum vr_status status);

/* The reason phrase of an HTTP status this server sends, "Unknown" for others. */
const char *vr_problem_phrase(int http_status);

/* Write {"type", "title", "status", "code", "detail", "request_id"?}: `code` is stable and for programs, `detail` for
 * people. request_id is left out when its data is NULL. */
void vr_problem_write(struct vr_json_writer *out, int http_status, const char *code, const char *detail,
                      struct vr_str request_id);

/* The code of an HTTP status where no Vireo status led to it, e.g. 405: "method_not_allowed". */
const char *vr_problem_code(int http_status);
#endif
