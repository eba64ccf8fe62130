/* Several event loops under ThreadSanitizer: clients on real sockets ask for feeds, metrics and /debug, drop their
 * connections at every point, while the loops are held and let go again and the model is swapped; then the way down:
 * listeners finish, every request in hand is answered, the loops end. No answer is lost. */
#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "../support/loop_rig.h"

#define LOOPS 3u
#define CLIENTS 4u
#define CONNECTIONS 12u /* a client, one after the other */
#define REQUESTS 6u     /* a connection */

static struct loop_rig rig;
static struct vr_model *other;
static uint16_t port;
static uint32_t good, dropped, lost, done; /* __atomic builtins */

#define COUNT(counter) __atomic_fetch_add(&(counter), 1, __ATOMIC_RELAXED)

static int open_connection(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct timeval patience = {60, 0};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) != 0) {
        abort();
    }
    return fd;
}

static size_t answer_bytes(const char *data, size_t len)
{
    const char *end = len > 0 ? memmem(data, len, "\r\n\r\n", 4) : NULL;
    const char *field = end != NULL ? memmem(data, (size_t)(end - data), "Content-Length: ", 16) : NULL;
    size_t whole = field != NULL ? (size_t)(end + 4 - data) + strtoul(field + 16, NULL, 10) : SIZE_MAX;
    return whole <= len ? whole : 0;
}

/* True when a whole 200 came. */
static bool read_answer(int fd, char *room, size_t size)
{
    size_t len = 0;
    while (answer_bytes(room, len) == 0) {
        ssize_t got = len < size ? recv(fd, room + len, size - len, 0) : 0;
        if (got <= 0) {
            return false;
        }
        len += (size_t)got;
    }
    return memcmp(room, "HTTP/1.1 200 ", 13) == 0;
}

static void send_request(int fd, uint32_t which, bool half)
{
    static const char *const observing[] = {"/metrics", "/readyz", "/v1/similar/v1"};
    char text[256], body[64];
    int len;
    if (which % 4 == 3) {
        len = snprintf(text, sizeof text, "GET %s HTTP/1.1\r\nHost: a\r\n\r\n", observing[which / 4 % 3]);
    } else {
        int body_len = snprintf(body, sizeof body, "{\"user_id\":\"%u\",\"timeout_ms\":60000}", which % 45);
        len = snprintf(text, sizeof text,
                       "POST /v1/recommend HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
                       "Content-Length: %d\r\n\r\n%s",
                       body_len, body);
    }
    if (send(fd, text, (size_t)(half ? len / 2 : len), MSG_NOSIGNAL) < 0) {
        abort();
    }
}

/* Every third connection goes away with a request under way, or with half of one. */
static void *ask(void *argument)
{
    uint32_t seed = *(uint32_t *)argument * 100;
    const size_t size = 1u << 20;
    char *room = malloc(size);
    for (uint32_t c = 0; room != NULL && c < CONNECTIONS; c++) {
        int fd = open_connection();
        for (uint32_t i = 0; i < REQUESTS; i++) {
            bool drop = c % 3 == 2 && i == REQUESTS / 2;
            send_request(fd, seed++, drop && c % 2 == 0);
            if (drop) {
                COUNT(dropped);
                break;
            }
            read_answer(fd, room, size) ? COUNT(good) : COUNT(lost);
        }
        struct linger reset = {c % 3 == 2, 0};
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
        close(fd);
    }
    free(room);
    __atomic_fetch_add(&done, 1, __ATOMIC_RELEASE);
    return NULL;
}

/* What the first loop's thread does in a server: it tells the others and looks at their counts. */
static void meddle(void)
{
    for (uint32_t i = 0; __atomic_load_n(&done, __ATOMIC_ACQUIRE) < CLIENTS; i++) {
        vr_loops_tell(&rig.shared, i % 2 == 0 ? VR_ORDER_HOLD : VR_ORDER_ACCEPT);
        vr_feed_set_model(rig.feed.feed, i % 2 == 0 ? other : rig.feed.model);
        (void)vr_loops_sum(&rig.shared);
        poll(NULL, 0, 10);
    }
    vr_loops_tell(&rig.shared, VR_ORDER_ACCEPT);
}

static void listen_everywhere(void)
{
    int fd[LOOPS];
    must(vr_listener_bind("127.0.0.1:0", LOOPS, fd), "listen");
    for (uint32_t i = 0; i < LOOPS; i++) {
        vr_listener_adopt(rig.shared.loop[i], VR_PORT_PUBLIC, fd[i]);
        vr_listener_start(&rig.shared.loop[i]->listener[VR_PORT_PUBLIC]);
    }
    port = (uint16_t)strtoul(strrchr(rig.shared.loop[0]->listener[VR_PORT_PUBLIC].address, ':') + 1, NULL, 10);
}

/* The requests of some connections are in hand when the order to finish comes. True when all are answered, and the
 * loops say that they are done. */
static bool drain(void)
{
    static char room[1u << 20];
    int fd[8];
    bool whole = true;
    for (uint32_t i = 0; i < 8; i++) {
        fd[i] = open_connection();
        send_request(fd[i], 4 * i, false);
    }
    __atomic_store_n(&rig.shared.readiness, VR_READY_DRAINING, __ATOMIC_RELEASE);
    vr_loops_tell(&rig.shared, VR_ORDER_FINISH);
    for (uint32_t i = 0; i < 8; i++) {
        whole = read_answer(fd[i], room, sizeof room) && whole;
        close(fd[i]);
    }
    for (int i = 0; i < 3000 && !vr_loops_are_done(&rig.shared); i++) {
        vr_loops_tell(&rig.shared, VR_ORDER_CLOSE_IDLE);
        poll(NULL, 0, 10);
    }
    return whole && vr_loops_are_done(&rig.shared);
}

static void two_lanes(struct vr_feed_config *config)
{
    config->lanes.count = 2;
    config->lanes.pool_workers = 1;
}

int main(void)
{
    pthread_t client[CLIENTS];
    uint32_t number[CLIENTS];
    if (feed_bundle(1) == NULL) {
        printf("skipped: no data (the small bundle is made by the Python environment)\n");
        return 77; /* seen as skipped by CTest and tests/run_all.py */
    }
    loop_rig_open(&rig, LOOPS, two_lanes);
    must(vr_model_load(feed_bundle(2), rig.feed.backend, rig.feed.config, rig.feed.state, FEED_NOW_MS, &other),
         "model");
    listen_everywhere();
    for (uint32_t i = 0; i < LOOPS; i++) {
        must(vr_loop_start(rig.shared.loop[i]), "loop");
    }
    for (uint32_t i = 0; i < CLIENTS; i++) {
        number[i] = i;
        pthread_create(&client[i], NULL, ask, &number[i]);
    }
    meddle();
    for (uint32_t i = 0; i < CLIENTS; i++) {
        pthread_join(client[i], NULL);
    }
    bool drained = drain();
    vr_loop_join(rig.shared.loop[0]);
    vr_model_release(other);
    loop_rig_close(&rig);
    printf("%u answers, %u dropped, %u lost, %s\n", good, dropped, lost, drained ? "drained" : "not drained");
    return drained && lost == 0 && good + dropped > CLIENTS * CONNECTIONS ? 0 : 1;
}
