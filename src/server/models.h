/* The models of a server: the one that serves, the one before it, and the one that is being made ready. A model comes
 * from a folder: at start, because somebody asked (POST /admin/models/load), or because the watched folder offers it
 * (watch.h). It is opened, checked and self-tested, joined to the store, and given slots for every lane, all on threads
 * of its own at idle priority; then the lanes exchange it between two of their batches. One that fails any of these
 * leaves everything as it was.
 *
 * All calls are the first loop's thread. The model before stays in memory, so that vr_models_rollback is at once. */
#ifndef VIREO_SERVER_MODELS_H
#define VIREO_SERVER_MODELS_H

#include "keeper.h"
#include "loop.h"
#include "role.h"

struct vr_models;

struct vr_models_setup {
    const struct vr_config *config; /* outlives the models, as all that follows */
    const struct vr_role *role;
    const char *bundle; /* the command line's folder */
    struct vr_backend *backend;
    struct vr_shared *shared;
    struct vr_keeper *keeper;
    /* The first model serves, or was refused (then the error text says why). */
    void (*on_first)(void *argument, enum vr_status status);
    void *argument;
};

/* VR_ERR_NOMEM, VR_ERR_IO. */
enum vr_status vr_models_create(const struct vr_models_setup *setup, struct vr_models **out);

/* Begin to load the first: what served before this worker, or the command line's. The loops exist. VR_ERR_IO. */
enum vr_status vr_models_start(struct vr_models *models);

/* Take no more. False: a thread is at work that cannot be broken off. */
bool vr_models_stop(struct vr_models *models);

/* Nothing is at work, and the loop has been left; NULL is accepted. */
void vr_models_destroy(struct vr_models *models);

/* Leave the loop: give back the call that waits, whose connection is gone. Before the loop is destroyed. */
void vr_models_leave_loop(struct vr_models *models);

/* Begin to load a folder. `call` (may be NULL) is answered when the model serves or was refused, and is the models'
 * until then. VR_ERR_BUSY while another one is being made ready, VR_ERR_CLOSED while stopping; the call then stays the
 * caller's. */
enum vr_status vr_models_load(struct vr_models *models, const char *folder, struct vr_call *call);

/* Go back to the model before; likewise. VR_ERR_NOT_FOUND where there is none. */
enum vr_status vr_models_rollback(struct vr_models *models, struct vr_call *call);

/* ---- what is told of them ---- */

enum vr_model_origin { VR_MODEL_START = 0, VR_MODEL_WATCH, VR_MODEL_ADMIN };
enum vr_model_state {
    VR_MODEL_LOADING = 0,
    VR_MODEL_SERVING,
    VR_MODEL_PREVIOUS,  /* in memory, rollback goes there */
    VR_MODEL_RETIRED,   /* replaced */
    VR_MODEL_WITHDRAWN, /* rolled back from */
    VR_MODEL_FAILED
};
#define VR_MODEL_STATES 6u

struct vr_model_record {
    uint64_t number; /* 1, 2, ... in the order of loads; 0: no record */
    enum vr_model_origin origin;
    enum vr_model_state state;
    char version[72];       /* "" until it is known */
    char path[VR_PATH_MAX]; /* as resolved when it was opened */
    struct vr_mark mark;
    int64_t began_ms, served_ms; /* wall clock; 0: it never served */
    uint64_t took_ms;            /* to make it ready */
    char error[512];             /* of FAILED, and of a rollback that did not come about */
};

/* The record after `number` (0: the first), oldest first; NULL past the last. At most 16 are kept. */
const struct vr_model_record *vr_models_next(const struct vr_models *models, uint64_t number);

/* For /metrics, from any thread; counters (counter.h). */
struct vr_model_counts {
    uint64_t loaded, failed, rollbacks;
    uint64_t loading;   /* 1 while one is being made ready */
    uint64_t took_ms;   /* of the one that serves, to make it ready */
    uint64_t served_ms; /* wall clock, when it came into service; 0: none did */
};
void vr_models_count(const struct vr_models *models, struct vr_model_counts *out);

/* ---- models_http.c ---- */

enum vr_handled vr_handle_models(struct vr_loop *loop, struct vr_exchange *exchange);
enum vr_handled vr_handle_model_load(struct vr_loop *loop, struct vr_exchange *exchange, struct vr_call **call);
enum vr_handled vr_handle_model_rollback(struct vr_loop *loop, struct vr_exchange *exchange, struct vr_call **call);

/* Answer the call of a load or rollback with its record, or with the problem that `status` and `error` tell. */
void vr_models_answer(struct vr_loop *loop, struct vr_call *call, const struct vr_model_record *record,
                      enum vr_status status, const char *error);

#endif
