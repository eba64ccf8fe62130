/* Who may connect: how many connections are open over all loops, in all and of one address. Asked when a connection
 * comes and told when it goes, never for a request. Any thread; without a limit per address nothing is locked. */
#ifndef VIREO_SERVER_ADMISSION_H
#define VIREO_SERVER_ADMISSION_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "route.h"
#include "vireo/status.h"

#define VR_ADMIN_CONNECTIONS_MAX 64u
#define VR_REFUSALS_MAX 64u /* connections of a port beyond its limit that are told so at one time */

enum vr_admission_verdict {
    VR_ADMISSION_OPEN = 0,
    VR_ADMISSION_FULL,    /* one too many: to be told so and closed */
    VR_ADMISSION_ADDRESS, /* one too many of its address: likewise */
    VR_ADMISSION_FLOOD,   /* too many are being told already: to be closed at once, holds no place */
};

struct vr_admission;

/* A connection's place. */
struct vr_place {
    enum vr_port port;
    enum vr_admission_verdict verdict;
    bool by_address; /* it was refused for its address's count */
    uint64_t peer;   /* counted by address; 0: not */
};

/* Limits of the public port; per_address 0: none. The caller frees with vr_admission_destroy. VR_ERR_NOMEM. */
enum vr_status vr_admission_create(uint32_t max_connections, uint32_t per_address, struct vr_admission **out);
void vr_admission_destroy(struct vr_admission *admission); /* NULL is accepted */

/* A place for a new connection from `peer`; given back with vr_admission_leave unless the verdict is FLOOD. */
struct vr_place vr_admission_enter(struct vr_admission *admission, enum vr_port port, const struct sockaddr *peer);
void vr_admission_leave(struct vr_admission *admission, const struct vr_place *place);

/* Open connections of a port, those that are being refused left out. */
uint32_t vr_admission_count(const struct vr_admission *admission, enum vr_port port);
uint32_t vr_admission_limit(const struct vr_admission *admission, enum vr_port port);

/* What counts as one address: an IPv4 address (mapped into IPv6 or not), or the /64 of an IPv6 address, for a host may
 * take any address of its /64. 0 for other families. */
uint64_t vr_admission_peer(const struct sockaddr *address);

#endif
