/* Where the load goes (load_parts.h): nowhere but to this machine, unless somebody says so. */
#include <netdb.h>
#include <string.h>

#include "load_parts.h"

#define PATH_DEFAULT "/v1/recommend"

static bool is_loopback(const struct sockaddr *address)
{
    if (address->sa_family == AF_INET) {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)(const void *)address;
        return ntohl(v4->sin_addr.s_addr) >> 24 == 127;
    }
    if (address->sa_family == AF_INET6) {
        const struct in6_addr *v6 = &((const struct sockaddr_in6 *)(const void *)address)->sin6_addr;
        return IN6_IS_ADDR_LOOPBACK(v6) || (IN6_IS_ADDR_V4MAPPED(v6) && v6->s6_addr[12] == 127);
    }
    return false;
}

/* "HOST:PORT", "HOST", "[ADDRESS]:PORT": the two parts; port 80 where none is given. */
static bool split_authority(const char *authority, char host[256], char port[8])
{
    const bool bracketed = authority[0] == '[';
    const char *begin = authority + bracketed;
    const char *end = bracketed ? strchr(begin, ']') : begin + strcspn(begin, ":");
    if (end == NULL || end == begin) {
        return false;
    }
    memcpy(host, begin, (size_t)(end - begin));
    host[end - begin] = '\0';
    end += bracketed;
    const size_t digits = strlen(end) > 0 ? strlen(end) - 1 : 0;
    if (*end == '\0') {
        memcpy(port, "80", sizeof "80");
        return true;
    }
    if (*end != ':' || digits == 0 || digits > 5 || strspn(end + 1, "0123456789") != digits) {
        return false;
    }
    memcpy(port, end + 1, digits + 1);
    return true;
}

/* The scheme, then "HOST[:PORT]" into out->host, then the path. */
static enum vr_status split(const char *url, struct load_target *out)
{
    static const char scheme[] = "http://";
    const size_t begin = sizeof scheme - 1;
    if (strncmp(url, scheme, begin) != 0) {
        return vr_fail(VR_ERR_INVALID, "--url: http://HOST[:PORT][/PATH], not \"%s\"", url);
    }
    for (const char *at = url; *at != '\0'; at++) {
        if ((unsigned char)*at <= ' ' || *at == 0x7f || *at == '#' || *at == '@') {
            return vr_fail(VR_ERR_INVALID, "--url: white space, '#' and '@' have no place in \"%s\"", url);
        }
    }
    const size_t len = strcspn(url + begin, "/?");
    const char *path = url + begin + len;
    if (len == 0 || len >= sizeof out->host || strlen(path) + 2 > sizeof out->path) {
        return vr_fail(VR_ERR_INVALID, "--url: no host, or too long: \"%s\"", url);
    }
    memcpy(out->host, url + begin, len);
    snprintf(out->path, sizeof out->path, "%s%s", *path == '?' ? "/" : "", *path != '\0' ? path : PATH_DEFAULT);
    return VR_OK;
}

static enum vr_status look_up(struct load_target *out, const char *host, const char *port, bool allow_remote)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    struct addrinfo *list = NULL;
    const int error = getaddrinfo(host, port, &hints, &list);
    if (error != 0 || list == NULL) {
        return vr_fail(VR_ERR_IO, "--url: %s: %s", out->host, gai_strerror(error));
    }
    const struct addrinfo *chosen = list;
    for (const struct addrinfo *one = list; one != NULL; one = one->ai_next) {
        if (one->ai_family == AF_INET) { /* "localhost" is ::1 as well, where few servers listen */
            chosen = one;
            break;
        }
    }
    memcpy(&out->address, chosen->ai_addr, chosen->ai_addrlen);
    out->address_len = chosen->ai_addrlen;
    const bool allowed = allow_remote || is_loopback(chosen->ai_addr);
    freeaddrinfo(list);
    return allowed ? VR_OK
                   : vr_fail(VR_ERR_INVALID,
                             "--url: %s is not this machine; --allow-remote says that load is wanted there", out->host);
}

enum vr_status load_url_read(const char *url, bool allow_remote, struct load_target *out)
{
    char host[256], port[8];
    *out = (struct load_target){0};
    const enum vr_status status = split(url, out);
    if (status != VR_OK) {
        return status;
    }
    if (!split_authority(out->host, host, port)) {
        return vr_fail(VR_ERR_INVALID, "--url: HOST[:PORT], not \"%s\"", out->host);
    }
    return look_up(out, host, port, allow_remote);
}
