/* The counters of admission.h. */
#include "admission.h"

#include <netinet/in.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "peer_table.h"

#define IPV4_MARK UINT64_C(0xffffffff00000000) /* as the upper half of an IPv6 prefix it would be multicast */

struct vr_admission {
    uint32_t limit[2];     /* by enum vr_port */
    uint32_t per_address;  /* of the public port; 0: no limit */
    uint32_t open[2];      /* __atomic builtins */
    uint32_t refused[2];   /* __atomic builtins */
    pthread_mutex_t mutex; /* of peers */
    struct vr_peer_table *peers;
};

enum vr_status vr_admission_create(uint32_t max_connections, uint32_t per_address, struct vr_admission **out)
{
    struct vr_admission *admission = calloc(1, sizeof *admission);
    if (admission == NULL) {
        return vr_fail(VR_ERR_NOMEM, "no memory for the count of connections");
    }
    admission->limit[VR_PORT_PUBLIC] = max_connections;
    admission->limit[VR_PORT_ADMIN] = VR_ADMIN_CONNECTIONS_MAX;
    admission->per_address = per_address;
    pthread_mutex_init(&admission->mutex, NULL); /* cannot fail with default attributes on Linux */
    enum vr_status status = per_address > 0 ? vr_peer_table_create(max_connections, &admission->peers) : VR_OK;
    if (status != VR_OK) {
        vr_admission_destroy(admission);
        return status;
    }
    *out = admission;
    return VR_OK;
}

void vr_admission_destroy(struct vr_admission *admission)
{
    if (admission == NULL) {
        return;
    }
    vr_peer_table_destroy(admission->peers);
    pthread_mutex_destroy(&admission->mutex);
    free(admission);
}

static uint64_t prefix_of(const struct in6_addr *address)
{
    uint64_t prefix = 0;
    for (size_t i = 0; i < sizeof prefix; i++) {
        prefix = prefix << 8 | address->s6_addr[i];
    }
    return prefix;
}

uint64_t vr_admission_peer(const struct sockaddr *address)
{
    uint32_t ipv4 = 0;
    if (address->sa_family == AF_INET) {
        struct sockaddr_in in;
        memcpy(&in, address, sizeof in);
        return IPV4_MARK | ntohl(in.sin_addr.s_addr);
    }
    if (address->sa_family != AF_INET6) {
        return 0;
    }
    struct sockaddr_in6 in6;
    memcpy(&in6, address, sizeof in6);
    if (IN6_IS_ADDR_V4MAPPED(&in6.sin6_addr)) {
        memcpy(&ipv4, &in6.sin6_addr.s6_addr[12], sizeof ipv4);
        return IPV4_MARK | ntohl(ipv4);
    }
    uint64_t prefix = prefix_of(&in6.sin6_addr);
    return prefix != 0 ? prefix : 1; /* ::1 and its like */
}

/* One more, unless there are `limit` already. */
static bool take(uint32_t *count, uint32_t limit)
{
    uint32_t now = __atomic_load_n(count, __ATOMIC_RELAXED);
    do {
        if (now >= limit) {
            return false;
        }
    } while (!__atomic_compare_exchange_n(count, &now, now + 1, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
    return true;
}

static void give(uint32_t *count)
{
    __atomic_fetch_sub(count, 1, __ATOMIC_RELAXED);
}

/* True when the address may have one more, which is then counted. */
static bool take_address(struct vr_admission *admission, uint64_t peer)
{
    pthread_mutex_lock(&admission->mutex);
    bool free_place = vr_peer_table_count(admission->peers, peer) < admission->per_address;
    if (free_place) {
        (void)vr_peer_table_add(admission->peers, peer);
    }
    pthread_mutex_unlock(&admission->mutex);
    return free_place;
}

static enum vr_admission_verdict judge(struct vr_admission *admission, struct vr_place *place,
                                       const struct sockaddr *peer)
{
    uint32_t *open = &admission->open[place->port];
    if (!take(open, admission->limit[place->port])) {
        return VR_ADMISSION_FULL;
    }
    if (admission->per_address == 0 || place->port != VR_PORT_PUBLIC) {
        return VR_ADMISSION_OPEN;
    }
    place->peer = vr_admission_peer(peer);
    if (place->peer != 0 && !take_address(admission, place->peer)) {
        place->peer = 0;
        give(open);
        return VR_ADMISSION_ADDRESS;
    }
    return VR_ADMISSION_OPEN;
}

struct vr_place vr_admission_enter(struct vr_admission *admission, enum vr_port port, const struct sockaddr *peer)
{
    struct vr_place place = {.port = port};
    place.verdict = judge(admission, &place, peer);
    place.by_address = place.verdict == VR_ADMISSION_ADDRESS;
    if (place.verdict != VR_ADMISSION_OPEN && !take(&admission->refused[port], VR_REFUSALS_MAX)) {
        place.verdict = VR_ADMISSION_FLOOD;
    }
    return place;
}

void vr_admission_leave(struct vr_admission *admission, const struct vr_place *place)
{
    if (place->peer != 0) {
        pthread_mutex_lock(&admission->mutex);
        vr_peer_table_drop(admission->peers, place->peer);
        pthread_mutex_unlock(&admission->mutex);
    }
    if (place->verdict != VR_ADMISSION_FLOOD) {
        give(place->verdict == VR_ADMISSION_OPEN ? &admission->open[place->port] : &admission->refused[place->port]);
    }
}

uint32_t vr_admission_count(const struct vr_admission *admission, enum vr_port port)
{
    return __atomic_load_n(&admission->open[port], __ATOMIC_RELAXED);
}

uint32_t vr_admission_limit(const struct vr_admission *admission, enum vr_port port)
{
    return admission->limit[port];
}
