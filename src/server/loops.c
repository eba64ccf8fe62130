/* All loops of a server (loop.h). */
#include <stdlib.h>

#include "loop.h"

enum vr_status vr_loops_create(struct vr_shared *shared)
{
    uint32_t count = shared->loop_count;
    shared->loop = calloc(count, sizeof(struct vr_loop *));
    if (shared->loop == NULL) {
        return vr_fail(VR_ERR_NOMEM, "no memory for %u loops", count);
    }
    enum vr_status status = VR_OK;
    for (uint32_t i = 0; i < count && status == VR_OK; i++) {
        status = vr_loop_create(shared, i, &shared->loop[i]);
    }
    return status;
}

enum vr_status vr_loops_start(struct vr_shared *shared)
{
    enum vr_status status = VR_OK;
    for (uint32_t i = 1; i < shared->loop_count && status == VR_OK; i++) {
        status = vr_loop_start(shared->loop[i]);
    }
    return status;
}

void vr_loops_tell(struct vr_shared *shared, unsigned orders)
{
    for (uint32_t i = 0; i < shared->loop_count; i++) {
        vr_loop_tell(shared->loop[i], orders);
    }
}

bool vr_loops_have_obeyed(const struct vr_shared *shared)
{
    bool all = true;
    for (uint32_t i = 0; i < shared->loop_count; i++) {
        all = all && vr_loop_has_obeyed(shared->loop[i]);
    }
    return all;
}

/* Connections before calls: only a connection begins a call, so that what is read of a loop without connections is no
 * less than what it has. */
struct vr_loops_sum vr_loops_sum(const struct vr_shared *shared)
{
    struct vr_loops_sum sum = {0};
    for (uint32_t i = 0; i < shared->loop_count; i++) {
        const struct vr_loop_counts *counts = &shared->loop[i]->counts;
        sum.connections += vr_counted(&counts->connections[VR_PORT_PUBLIC]);
        sum.calls += vr_counted(&counts->calls);
    }
    return sum;
}

bool vr_loops_are_done(const struct vr_shared *shared)
{
    bool obeyed = vr_loops_have_obeyed(shared);
    struct vr_loops_sum sum = vr_loops_sum(shared);
    return obeyed && sum.connections == 0 && sum.calls == 0;
}

void vr_loops_join(struct vr_shared *shared)
{
    for (uint32_t i = 1; shared->loop != NULL && i < shared->loop_count; i++) {
        vr_loop_join(shared->loop[i]);
    }
}

void vr_loops_close(struct vr_shared *shared)
{
    for (uint32_t i = 0; shared->loop != NULL && i < shared->loop_count; i++) {
        if (shared->loop[i] != NULL) {
            vr_loop_close(shared->loop[i]);
        }
    }
}

void vr_loops_destroy(struct vr_shared *shared)
{
    for (uint32_t i = 0; shared->loop != NULL && i < shared->loop_count; i++) {
        vr_loop_destroy(shared->loop[i]);
    }
    free(shared->loop);
    shared->loop = NULL;
}
