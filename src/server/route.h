/* The routing table: a method and a path in, a route out. Pure look-up, no handler is called here. */
#ifndef VIREO_SERVER_ROUTE_H
#define VIREO_SERVER_ROUTE_H

#include <stdbool.h>
#include <stddef.h>

#include "http_parse.h"

/* Which port a connection came in on. */
enum vr_port { VR_PORT_PUBLIC = 0, VR_PORT_ADMIN };

enum vr_route {
    VR_ROUTE_NONE = 0, /* no such path */
    VR_ROUTE_RECOMMEND,
    VR_ROUTE_EVENTS,
    VR_ROUTE_SIMILAR,
    VR_ROUTE_HEALTH,
    VR_ROUTE_READY,
    VR_ROUTE_METRICS,
    VR_ROUTE_DRY_RUN,
    VR_ROUTE_CONFIG,
    VR_ROUTE_DEBUG,
    VR_ROUTE_MODELS,
    VR_ROUTE_MODEL_LOAD,
    VR_ROUTE_MODEL_ROLLBACK,
    VR_ROUTE_RANK
};
#define VR_ROUTE_COUNT 14u

/* The route's name in metrics. */
const char *vr_route_name(enum vr_route route);

#define VR_ROUTE_PARAMETER_MAX 192u /* bytes of an encoded path parameter: 64 bytes, each as %XX */

struct vr_route_match {
    enum vr_route route;
    bool method_allowed;
    const char *allow; /* the Allow field's value */
    bool takes_body;   /* its body must be application/json */
    struct vr_str
        parameter; /* the path's variable segment, still percent-encoded; never empty where the route has one */
};

/* HEAD is allowed wherever GET is. */
void vr_route_find(enum vr_port port, enum vr_http_method method, struct vr_str path, struct vr_route_match *out);
#endif
