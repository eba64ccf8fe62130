/* Event loops on a whole feed over the small random bundle, for tests of the server room: what server.c makes, without
 * its signals, its loader and its way down. Include it in one file of a test. */
#ifndef VIREO_TESTS_LOOP_RIG_H
#define VIREO_TESTS_LOOP_RIG_H

#include "../feed/support_feed.c"
#include "server/loop.h"

struct loop_rig {
    struct feed_rig feed;
    struct vr_shared shared;
};

/* `count` loops, none running and none listening. */
static void loop_rig_open(struct loop_rig *rig, uint32_t count, void (*change)(struct vr_feed_config *config))
{
    memset(rig, 0, sizeof *rig);
    feed_rig_open(&rig->feed, change);
    rig->feed.config->server.loops = count;
    struct vr_shared *shared = &rig->shared;
    *shared = (struct vr_shared){.config = rig->feed.config,
                                 .state = rig->feed.state,
                                 .feed = rig->feed.feed,
                                 .loop_count = count,
                                 .readiness = VR_READY_YES,
                                 .started_ms = vr_clock_wall_ms(),
                                 .id_prefix = "0123456789abcdef"};
    must(vr_admission_create(rig->feed.config->server.max_connections, 0, &shared->admission), "admission");
    must(vr_loops_create(shared), "loops");
}

/* Loops that run are joined first. */
static void loop_rig_close(struct loop_rig *rig)
{
    vr_loops_join(&rig->shared);
    vr_loops_close(&rig->shared);
    vr_feed_stop(rig->feed.feed);
    vr_loops_destroy(&rig->shared);
    vr_admission_destroy(rig->shared.admission);
    feed_rig_close(&rig->feed);
}

#endif
