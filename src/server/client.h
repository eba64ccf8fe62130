/* A small blocking HTTP client for `vireo show`: one request, one answer with a Content-Length, one connection. */
#ifndef VIREO_SERVER_CLIENT_H
#define VIREO_SERVER_CLIENT_H

#include <stddef.h>

#include "vireo/status.h"

struct vr_client_answer {
    int status;       /* HTTP */
    char *data;       /* the whole answer, owned: free(data) */
    const char *body; /* in data */
    size_t body_len;
};

/* POST `body` as JSON to "HOST:PORT". VR_ERR_INVALID (address), VR_ERR_IO (connection, deadline of 10 s for the
 * answer), VR_ERR_FORMAT (no HTTP answer), VR_ERR_NOMEM. */
enum vr_status vr_client_post(const char *server, const char *path, const char *body, size_t body_len,
                              struct vr_client_answer *out);

#endif
