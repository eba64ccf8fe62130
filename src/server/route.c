/* The routing table of route.h. */
#include "route.h"

#include <string.h>

static const struct entry {
    enum vr_route route;
    const char *name;
    const char *path; /* ending in '/': one more segment, the parameter */
    bool on_public, on_admin;
    enum vr_http_method method;
    const char *allow;
} table[] = {
    {VR_ROUTE_RECOMMEND, "recommend", "/v1/recommend", true, false, VR_HTTP_POST, "POST"},
    {VR_ROUTE_RANK, "rank", "/v1/rank", true, false, VR_HTTP_POST, "POST"},
    {VR_ROUTE_EVENTS, "events", "/v1/events", true, false, VR_HTTP_POST, "POST"},
    {VR_ROUTE_SIMILAR, "similar", "/v1/similar/", true, false, VR_HTTP_GET, "GET, HEAD"},
    {VR_ROUTE_HEALTH, "healthz", "/healthz", true, true, VR_HTTP_GET, "GET, HEAD"},
    {VR_ROUTE_READY, "readyz", "/readyz", true, true, VR_HTTP_GET, "GET, HEAD"},
    {VR_ROUTE_METRICS, "metrics", "/metrics", true, true, VR_HTTP_GET, "GET, HEAD"},
    {VR_ROUTE_DRY_RUN, "dry_run", "/admin/dry_run", false, true, VR_HTTP_POST, "POST"},
    {VR_ROUTE_CONFIG, "config", "/admin/config", false, true, VR_HTTP_GET, "GET, HEAD"},
    {VR_ROUTE_DEBUG, "debug", "/debug", false, true, VR_HTTP_GET, "GET, HEAD"},
    {VR_ROUTE_MODELS, "models", "/admin/models", false, true, VR_HTTP_GET, "GET, HEAD"},
    {VR_ROUTE_MODEL_LOAD, "model_load", "/admin/models/load", false, true, VR_HTTP_POST, "POST"},
    {VR_ROUTE_MODEL_ROLLBACK, "model_rollback", "/admin/models/rollback", false, true, VR_HTTP_POST, "POST"},
};

const char *vr_route_name(enum vr_route route)
{
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        if (table[i].route == route) {
            return table[i].name;
        }
    }
    return "none";
}

static bool path_matches(const char *pattern, struct vr_str path, struct vr_str *parameter)
{
    size_t len = strlen(pattern);
    parameter->data = path.data;
    parameter->len = 0;
    if (pattern[len - 1] != '/') {
        return vr_str_equal(path, vr_str_of(pattern));
    }
    if (path.len <= len || memcmp(path.data, pattern, len) != 0) {
        return false;
    }
    parameter->data = path.data + len;
    parameter->len = path.len - len;
    return memchr(parameter->data, '/', parameter->len) == NULL;
}

void vr_route_find(enum vr_port port, enum vr_http_method method, struct vr_str path, struct vr_route_match *out)
{
    *out = (struct vr_route_match){.route = VR_ROUTE_NONE, .allow = ""};
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        const struct entry *entry = &table[i];
        struct vr_str parameter;
        bool here = port == VR_PORT_ADMIN ? entry->on_admin : entry->on_public;
        if (here && path_matches(entry->path, path, &parameter)) {
            out->route = entry->route;
            out->allow = entry->allow;
            out->takes_body = entry->method == VR_HTTP_POST && entry->route != VR_ROUTE_MODEL_ROLLBACK;
            out->parameter = parameter;
            out->method_allowed = method == entry->method || (method == VR_HTTP_HEAD && entry->method == VR_HTTP_GET);
            return;
        }
    }
}
