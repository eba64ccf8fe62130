/* `vireo bench load` under ThreadSanitizer: three of its threads, with connections of their own, load a server of two
 * loops in this very process, once at a rate and once in search of the largest. Every request is answered, and the
 * server and the generator count the same. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../support/loop_rig.h"
#include "vireo/bench.h"

#define LOOPS 2u
#define REQUESTS 120u

static struct loop_rig rig;

static void two_lanes(struct vr_feed_config *config)
{
    config->lanes.count = 2;
    config->lanes.pool_workers = 1;
    config->lanes.target_wait_ms = 60000;
}

static uint16_t listen_everywhere(void)
{
    int fd[LOOPS];
    must(vr_listener_bind("127.0.0.1:0", LOOPS, fd), "listen");
    for (uint32_t i = 0; i < LOOPS; i++) {
        vr_listener_adopt(rig.shared.loop[i], VR_PORT_PUBLIC, fd[i]);
        vr_listener_start(&rig.shared.loop[i]->listener[VR_PORT_PUBLIC]);
        must(vr_loop_start(rig.shared.loop[i]), "loop");
    }
    return (uint16_t)strtoul(strrchr(rig.shared.loop[0]->listener[VR_PORT_PUBLIC].address, ':') + 1, NULL, 10);
}

/* Answers with 200 so far. */
static uint64_t good(void)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < LOOPS; i++) {
        sum += vr_counted(&rig.shared.loop[i]->metrics.answers[VR_ROUTE_RECOMMEND][0]);
    }
    return sum;
}

/* Answers that one run of the generator brought; it is told what it should find. */
static uint64_t answers_of(const struct vr_bench_load_setup *setup, const char *words)
{
    char *text = NULL;
    size_t bytes = 0;
    const uint64_t before = good();
    FILE *out = open_memstream(&text, &bytes);
    must(vr_bench_load_run(setup, out), "load");
    fclose(out);
    if (strstr(text, words) == NULL) {
        printf("no '%s' in:\n%s", words, text);
        exit(1);
    }
    free(text);
    return good() - before;
}

static uint64_t run(uint16_t port)
{
    char url[64];
    snprintf(url, sizeof url, "http://127.0.0.1:%u", port);
    struct vr_bench_load_setup setup = {
        .url = url,
        .rate = 400.0,
        .seconds = 60.0, /* the limit ends it */
        .limit = REQUESTS,
        .viewers = 40,
        .connections = 12,
        .threads = 3,
        .timeout_ms = 60000,
        .no_warm_up = true,
    };
    const uint64_t counted = answers_of(&setup, "200");
    setup.p99_ms = 30000.0;
    setup.seconds = 0.2;
    setup.at_least = 20;
    setup.steps = 2;
    return answers_of(&setup, "search:") > 0 ? counted : 0;
}

int main(void)
{
    if (feed_bundle(1) == NULL) {
        printf("skipped: no data (the small bundle is made by the Python environment)\n");
        return 77; /* seen as skipped by CTest and tests/run_all.py */
    }
    loop_rig_open(&rig, LOOPS, two_lanes);
    rig.feed.config->lanes.default_timeout_ms = 60000; /* nothing is refused, however slow the sanitizer is */
    const uint64_t counted = run(listen_everywhere());
    __atomic_store_n(&rig.shared.readiness, VR_READY_DRAINING, __ATOMIC_RELEASE);
    vr_loops_tell(&rig.shared, VR_ORDER_FINISH);
    for (int i = 0; i < 3000 && !vr_loops_are_done(&rig.shared); i++) {
        vr_loops_tell(&rig.shared, VR_ORDER_CLOSE_IDLE);
        usleep(10000);
    }
    vr_loop_join(rig.shared.loop[0]);
    loop_rig_close(&rig);
    printf("%llu of %u requests answered\n", (unsigned long long)counted, REQUESTS);
    return counted == REQUESTS ? 0 : 1;
}
