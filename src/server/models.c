/* The stages of a model on its way into service (models.h). Each is a thread of its own, which writes `done_fd` last;
 * the loop then joins it and goes on:
 *
 *   OPEN     idle priority: verify, make the engine, compute the golden cases
 *   JOIN     ids get their numbers in the store; at normal priority, for it takes locks that lanes wait for
 *   PREPARE  idle priority: slots and plans for the lanes, on the device too
 *            the loop: the lanes exchange the model, the call is answered
 *   RETIRE   idle priority: wait until nobody uses what was replaced, then free it, so that no lane has to
 *
 * At start nobody is served yet, and everything runs at normal priority. */
#include "models.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "vireo/clock.h"
#include "vireo/log.h"

#define RECORDS 16u
#define RETIRE_LOOK_MS 5
#define RETIRE_LOOKS 2000u /* ten seconds: whoever still uses it then frees it */

enum stage { STAGE_NONE = 0, STAGE_OPEN, STAGE_JOIN, STAGE_PREPARE, STAGE_RETIRE };

/* What is being made ready. Its stages' threads write to it and the loop between them. */
struct load {
    struct vr_model_record *record; /* the loop's; NULL: nothing is being made ready */
    struct vr_call *call;           /* the loop's: waits for the outcome; NULL: nobody does */
    bool rollback, on_device;
    char path[VR_PATH_MAX];
    struct vr_mark mark;
    struct vr_model *base; /* with one reference */
    struct vr_swap *swap;  /* to serve with: base, or base on the device */
    enum vr_status status;
    char error[512];
    uint64_t began_us;
};

struct vr_models {
    struct vr_models_setup setup;
    struct vr_model_record record[RECORDS];
    uint64_t numbered;                             /* records so far */
    struct vr_model_record *serving, *previous;    /* NULL: none */
    struct vr_model *serving_base, *previous_base; /* with one reference each */
    struct vr_model *retiring[2];                  /* likewise: no longer used by the models */
    struct load load;
    enum stage stage;
    bool working; /* the stage's thread has not been joined */
    pthread_t thread;
    int done_fd;
    struct event done, look;
    bool in_loop;
    bool stopping;  /* __atomic builtins */
    bool from_note; /* the first load is of what served before this worker */
    struct vr_folder_watch watch;
    struct vr_model_counts counts;
};

/* ---- records ---- */

static bool is_live(const struct vr_models *models, const struct vr_model_record *record)
{
    return record == models->serving || record == models->previous || record == models->load.record;
}

/* A free record, or the oldest that is history. */
static struct vr_model_record *claim_record(struct vr_models *models)
{
    struct vr_model_record *oldest = NULL;
    for (uint32_t i = 0; i < RECORDS; i++) {
        struct vr_model_record *record = &models->record[i];
        if (!is_live(models, record) && (oldest == NULL || record->number < oldest->number)) {
            oldest = record;
        }
    }
    return oldest;
}

const struct vr_model_record *vr_models_next(const struct vr_models *models, uint64_t number)
{
    const struct vr_model_record *next = NULL;
    for (uint32_t i = 0; i < RECORDS; i++) {
        const struct vr_model_record *record = &models->record[i];
        if (record->number > number && (next == NULL || record->number < next->number)) {
            next = record;
        }
    }
    return next;
}

void vr_models_count(const struct vr_models *models, struct vr_model_counts *out)
{
    const struct vr_model_counts *counts = &models->counts;
    *out = (struct vr_model_counts){.loaded = vr_counted(&counts->loaded),
                                    .failed = vr_counted(&counts->failed),
                                    .rollbacks = vr_counted(&counts->rollbacks),
                                    .loading = vr_counted(&counts->loading),
                                    .took_ms = vr_counted(&counts->took_ms),
                                    .served_ms = vr_counted(&counts->served_ms)};
}

static void leave_note(const struct vr_models *models)
{
    struct vr_note note = {.tried = models->watch.tried};
    if (models->serving != NULL) {
        memcpy(note.bundle, models->serving->path, sizeof note.bundle);
    }
    vr_note_write(models->setup.role->note_fd, &note);
}

/* ---- the stages' threads ---- */

static bool is_first(const struct vr_models *models)
{
    return models->serving == NULL;
}

/* The folder itself, whatever links lead there: the name may mean another one tomorrow. */
static enum vr_status resolve(struct load *load)
{
    char *path = realpath(load->path, NULL);
    if (path == NULL) {
        enum vr_status status = errno == ENOENT || errno == ENOTDIR ? VR_ERR_NOT_FOUND : VR_ERR_IO;
        return vr_fail(status, "bundle %.256s: %s", load->path, strerror(errno));
    }
    bool fits = strlen(path) < sizeof load->path;
    if (fits) {
        memcpy(load->path, path, strlen(path) + 1);
    }
    free(path);
    return fits ? VR_OK : vr_fail(VR_ERR_INVALID, "the path of the bundle is too long");
}

static enum vr_status open_bundle(struct vr_models *models)
{
    struct load *load = &models->load;
    enum vr_status status = resolve(load);
    if (status == VR_OK) {
        (void)vr_mark_read(load->path, &load->mark);
        status = vr_model_open(load->path, models->setup.backend, models->setup.config, &load->base);
    }
    return status;
}

static enum vr_status join_store(struct vr_models *models)
{
    const struct vr_shared *shared = models->setup.shared;
    uint64_t replayed;
    enum vr_status status = vr_model_join(models->load.base, shared->state, shared->started_ms);
    /* what the log says comes over what the first bundle brought; later it says nothing new */
    return status == VR_OK ? vr_state_recover(shared->state, &replayed) : status;
}

static enum vr_status prepare_lanes(struct vr_models *models)
{
    struct load *load = &models->load;
    return is_first(models) ? vr_keeper_load(models->setup.keeper, load->base, &load->swap)
                            : vr_keeper_prepare(models->setup.keeper, load->base, load->on_device, &load->swap);
}

static bool is_used(struct vr_models *models, const struct vr_model *model)
{
    return __atomic_load_n(&model->references, __ATOMIC_ACQUIRE) > 1 &&
           !__atomic_load_n(&models->stopping, __ATOMIC_ACQUIRE);
}

static enum vr_status retire(struct vr_models *models)
{
    for (uint32_t i = 0; i < 2; i++) {
        struct vr_model *model = models->retiring[i];
        models->retiring[i] = NULL;
        for (uint32_t looks = 0; model != NULL && looks < RETIRE_LOOKS && is_used(models, model); looks++) {
            (void)poll(NULL, 0, RETIRE_LOOK_MS);
        }
        vr_model_release(model);
    }
    return VR_OK;
}

static const struct {
    enum vr_status (*run)(struct vr_models *models);
    bool idle;
} stages[] = {[STAGE_OPEN] = {open_bundle, true},
              [STAGE_JOIN] = {join_store, false},
              [STAGE_PREPARE] = {prepare_lanes, true},
              [STAGE_RETIRE] = {retire, true}};

/* Lanes and loops come first. Where that is refused it competes with them as an equal. */
static void lower_priority(void)
{
    const struct sched_param none = {0};
    (void)pthread_setschedparam(pthread_self(), SCHED_IDLE, &none);
}

static void drop(struct load *load)
{
    vr_swap_destroy(load->swap);
    vr_model_release(load->base);
    load->swap = NULL;
    load->base = NULL;
}

/* What failed is freed here, and not by the loop. */
static void *work(void *argument)
{
    struct vr_models *models = argument;
    if (stages[models->stage].idle && !is_first(models)) {
        lower_priority();
    }
    enum vr_status status = stages[models->stage].run(models);
    if (status != VR_OK) {
        models->load.status = status;
        snprintf(models->load.error, sizeof models->load.error, "%s", vr_error_text());
        drop(&models->load);
    }
    uint64_t one = 1;
    while (write(models->done_fd, &one, sizeof one) < 0 && errno == EINTR) {
    }
    return NULL;
}

/* ---- the loop ---- */

static enum vr_status start_stage(struct vr_models *models, enum stage stage)
{
    models->stage = stage;
    int error = pthread_create(&models->thread, NULL, work, models);
    models->working = error == 0;
    if (error != 0) {
        models->stage = STAGE_NONE;
        return vr_fail(VR_ERR_IO, "the loading thread cannot be started: %s", strerror(error));
    }
    return VR_OK;
}

static void answer(struct vr_models *models, const struct vr_model_record *record, enum vr_status status,
                   const char *error)
{
    struct vr_call *call = models->load.call;
    models->load = (struct load){0};
    vr_count(&models->counts.loading, -1);
    if (call != NULL) {
        vr_models_answer(models->setup.shared->loop[0], call, record, status, error);
    }
}

static enum vr_status begin(struct vr_models *models, const char *folder, enum vr_model_origin origin,
                            struct vr_call *call);

/* Everything is as it was, but at start there is nothing: then what the command line names has its turn, where it was
 * not that, or the server ends. */
static void refuse(struct vr_models *models)
{
    struct load *load = &models->load;
    struct vr_model_record *record = load->record;
    enum vr_status status = load->status;
    char error[sizeof load->error];
    memcpy(error, load->error, sizeof error);
    memcpy(record->error, load->error, sizeof record->error);
    record->state = load->rollback ? record->state : VR_MODEL_FAILED;
    vr_count(&models->counts.failed, 1);
    vr_log(VR_LOG_ERROR, "model_refused", "path=\"%s\" status=%s error=\"%s\"", load->path, vr_status_name(status),
           error);
    answer(models, record, status, error);
    if (!is_first(models)) {
        return;
    }
    if (models->from_note) {
        models->from_note = false;
        status = begin(models, models->setup.bundle, VR_MODEL_START, NULL);
        snprintf(error, sizeof error, "%s", status != VR_OK ? vr_error_text() : "");
    }
    if (status != VR_OK) {
        models->setup.on_first(models->setup.argument, vr_fail(status, "%s", error));
    }
}

static void fail(struct vr_models *models, enum vr_status status)
{
    models->load.status = status;
    snprintf(models->load.error, sizeof models->load.error, "%s", vr_error_text());
    drop(&models->load);
    refuse(models);
}

static void add_retiring(struct vr_models *models, struct vr_model *model)
{
    models->retiring[models->retiring[0] != NULL ? 1 : 0] = model;
}

/* The records and references change hands: `load` serves. */
static void hand_over(struct vr_models *models)
{
    struct load *load = &models->load;
    struct vr_model *gone = load->rollback ? models->serving_base : models->previous_base;
    struct vr_model_record *left = load->rollback ? models->serving : models->previous;
    if (left != NULL) {
        left->state = load->rollback ? VR_MODEL_WITHDRAWN : VR_MODEL_RETIRED;
        add_retiring(models, gone);
    }
    if (load->rollback) {
        vr_model_release(models->previous_base); /* load->base is another reference of it */
    } else if (models->serving != NULL) {
        models->serving->state = VR_MODEL_PREVIOUS;
    }
    models->previous = load->rollback ? NULL : models->serving;
    models->previous_base = load->rollback ? NULL : models->serving_base;
    models->serving = load->record;
    models->serving_base = load->base;
    load->base = NULL;
}

static void report(struct vr_models *models)
{
    struct vr_model_record *record = models->serving;
    const struct load *load = &models->load;
    record->state = VR_MODEL_SERVING;
    record->served_ms = vr_clock_wall_ms();
    record->took_ms = (vr_clock_mono_us() - load->began_us) / 1000;
    record->error[0] = '\0';
    vr_count(load->rollback ? &models->counts.rollbacks : &models->counts.loaded, 1);
    __atomic_store_n(&models->counts.took_ms, record->took_ms, __ATOMIC_RELEASE);
    __atomic_store_n(&models->counts.served_ms, (uint64_t)record->served_ms, __ATOMIC_RELEASE);
    vr_log(VR_LOG_INFO, load->rollback ? "model_rolled_back" : "model_serves", "version=%s path=\"%s\" took_ms=%llu",
           record->version, record->path, (unsigned long long)record->took_ms);
}

/* The lanes get the load's model; the swap is gone, whatever comes of it. */
static enum vr_status put_in_service(struct vr_models *models)
{
    struct load *load = &models->load;
    struct vr_swap *swap = load->swap;
    load->swap = NULL;
    if (!is_first(models)) {
        return vr_keeper_replace(models->setup.keeper, load->base, load->record->path, load->on_device, swap);
    }
    if (__atomic_load_n(&models->stopping, __ATOMIC_ACQUIRE)) { /* what waits in the queue is still answered */
        vr_feed_swap(models->setup.shared->feed, swap);
        return VR_OK;
    }
    vr_keeper_begin(models->setup.keeper, models->setup.shared->loop[0]->base, load->base, load->record->path, swap);
    return VR_OK;
}

static void free_retiring(struct vr_models *models)
{
    vr_model_release(models->retiring[0]);
    vr_model_release(models->retiring[1]);
    models->retiring[0] = models->retiring[1] = NULL;
}

static void start_retiring(struct vr_models *models)
{
    if (models->retiring[0] != NULL && start_stage(models, STAGE_RETIRE) != VR_OK) {
        free_retiring(models);
    }
}

static void serve(struct vr_models *models)
{
    struct vr_model *before = vr_feed_model(models->setup.shared->feed);
    bool first = is_first(models);
    enum vr_status status = put_in_service(models);
    if (status != VR_OK) {
        vr_model_release(before);
        fail(models, status);
        return;
    }
    if (before != NULL && before->base != NULL) { /* on the device: to be freed there by no lane */
        add_retiring(models, before);
    } else {
        vr_model_release(before); /* serving_base is another reference of it */
    }
    hand_over(models);
    report(models);
    leave_note(models);
    start_retiring(models);
    if (first) {
        models->setup.on_first(models->setup.argument, VR_OK);
    }
    answer(models, models->serving, VR_OK, ""); /* last: the client's next request may begin another load */
}

/* What OPEN has found out. */
static void note_opened(struct vr_models *models)
{
    const struct load *load = &models->load;
    struct vr_model_record *record = load->record;
    memcpy(record->path, load->path, sizeof record->path);
    record->mark = load->mark;
    snprintf(record->version, sizeof record->version, "%s", load->base->bundle->model_version);
}

static void go_on(struct vr_models *models, enum stage done)
{
    struct load *load = &models->load;
    if (done == STAGE_OPEN) {
        note_opened(models);
    }
    if (!is_first(models) && __atomic_load_n(&models->stopping, __ATOMIC_ACQUIRE)) {
        fail(models, vr_fail(VR_ERR_CLOSED, "the server is stopping"));
    } else if (done == STAGE_PREPARE) {
        serve(models);
    } else {
        enum stage next = (enum stage)(done + 1);
        load->on_device = next == STAGE_PREPARE && !is_first(models) && vr_keeper_is_up(models->setup.keeper);
        enum vr_status status = start_stage(models, next);
        if (status != VR_OK) {
            fail(models, status);
        }
    }
}

static enum stage first_stage(const struct load *load)
{
    return load->rollback ? STAGE_PREPARE : STAGE_OPEN;
}

static void on_done(evutil_socket_t fd, short what, void *argument)
{
    struct vr_models *models = argument;
    struct load *load = &models->load;
    enum stage done = models->stage;
    uint64_t count;
    (void)what;
    while (read(fd, &count, sizeof count) < 0 && errno == EINTR) {
    }
    if (!models->working) {
        return; /* vr_models_stop has joined it */
    }
    pthread_join(models->thread, NULL);
    models->working = false;
    models->stage = STAGE_NONE;
    if (done == STAGE_RETIRE) {
        if (load->record != NULL) { /* it has waited for this */
            go_on(models, (enum stage)(first_stage(load) - 1));
        }
    } else if (load->status == VR_OK) {
        go_on(models, done);
    } else {
        if (load->on_device) {
            vr_keeper_blame(models->setup.keeper, load->status);
        }
        refuse(models);
    }
}

/* ---- beginning ---- */

static enum vr_status may_begin(const struct vr_models *models)
{
    if (__atomic_load_n(&models->stopping, __ATOMIC_ACQUIRE)) {
        return vr_fail(VR_ERR_CLOSED, "the server is stopping");
    }
    return models->load.record == NULL
               ? VR_OK
               : vr_fail(VR_ERR_BUSY, "another model is being made ready: %.256s", models->load.path);
}

/* What was replaced before is freed first: there are never three models and a half. */
static enum vr_status start_load(struct vr_models *models, struct vr_call *call)
{
    struct load *load = &models->load;
    load->began_us = vr_clock_mono_us();
    load->on_device = load->rollback && vr_keeper_is_up(models->setup.keeper);
    vr_count(&models->counts.loading, 1);
    enum vr_status status = models->working ? VR_OK : start_stage(models, first_stage(load));
    if (status == VR_OK) {
        load->call = call;
        return VR_OK;
    }
    vr_count(&models->counts.loading, -1);
    vr_model_release(load->base);
    models->load = (struct load){0};
    return status;
}

static enum vr_status begin(struct vr_models *models, const char *folder, enum vr_model_origin origin,
                            struct vr_call *call)
{
    enum vr_status status = may_begin(models);
    if (status == VR_OK && strlen(folder) >= VR_PATH_MAX) {
        status = vr_fail(VR_ERR_INVALID, "the path of the bundle is too long");
    }
    if (status != VR_OK) {
        return status;
    }
    struct vr_model_record *record = claim_record(models);
    *record = (struct vr_model_record){
        .number = ++models->numbered, .origin = origin, .state = VR_MODEL_LOADING, .began_ms = vr_clock_wall_ms()};
    models->load = (struct load){.record = record};
    snprintf(record->path, sizeof record->path, "%s", folder);
    snprintf(models->load.path, sizeof models->load.path, "%s", folder);
    vr_log(VR_LOG_INFO, "model_loading", "path=\"%s\"", folder);
    status = start_load(models, call);
    if (status != VR_OK) {
        record->state = VR_MODEL_FAILED;
    }
    return status;
}

enum vr_status vr_models_load(struct vr_models *models, const char *folder, struct vr_call *call)
{
    return begin(models, folder, VR_MODEL_ADMIN, call);
}

enum vr_status vr_models_rollback(struct vr_models *models, struct vr_call *call)
{
    enum vr_status status = may_begin(models);
    if (status != VR_OK) {
        return status;
    }
    if (models->previous == NULL) {
        return vr_fail(VR_ERR_NOT_FOUND, "there is no model before the one that serves");
    }
    models->load =
        (struct load){.record = models->previous, .rollback = true, .base = vr_model_retain(models->previous_base)};
    memcpy(models->load.path, models->previous->path, sizeof models->load.path);
    return start_load(models, call);
}

/* ---- the watched folder ---- */

static void on_look(evutil_socket_t fd, short what, void *argument)
{
    struct vr_models *models = argument;
    struct vr_offer offer = {.mark = {0}};
    (void)fd;
    (void)what;
    if (may_begin(models) != VR_OK || is_first(models)) {
        return;
    }
    if (!vr_watch_look(models->setup.config->model.watch, &offer)) {
        offer.mark = (struct vr_mark){0};
    }
    if (vr_watch_wants(&models->watch, &offer.mark, &models->serving->mark)) {
        leave_note(models);
        if (begin(models, offer.path, VR_MODEL_WATCH, NULL) != VR_OK) {
            vr_log(VR_LOG_ERROR, "model_refused", "path=\"%s\" error=\"%s\"", offer.path, vr_error_text());
        }
    }
}

/* ---- begin and end ---- */

enum vr_status vr_models_create(const struct vr_models_setup *setup, struct vr_models **out)
{
    struct vr_models *models = calloc(1, sizeof *models);
    if (models == NULL) {
        return vr_fail(VR_ERR_NOMEM, "no memory for the models");
    }
    models->setup = *setup;
    models->done_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (models->done_fd < 0) {
        free(models);
        return vr_fail(VR_ERR_IO, "eventfd: %s", strerror(errno));
    }
    *out = models;
    return VR_OK;
}

enum vr_status vr_models_start(struct vr_models *models)
{
    const struct vr_model_config *config = &models->setup.config->model;
    struct event_base *base = models->setup.shared->loop[0]->base;
    struct vr_note note;
    struct timeval interval = {(time_t)(config->watch_ms / 1000), (suseconds_t)(config->watch_ms % 1000) * 1000};
    event_assign(&models->done, base, models->done_fd, EV_READ | EV_PERSIST, on_done, models);
    event_assign(&models->look, base, -1, EV_PERSIST, on_look, models);
    event_add(&models->done, NULL);
    if (config->watch[0] != '\0') {
        event_add(&models->look, &interval);
    }
    models->in_loop = true;
    vr_note_read(models->setup.role->note_fd, &note);
    models->watch.tried = note.tried;
    models->from_note = note.bundle[0] != '\0';
    return begin(models, models->from_note ? note.bundle : models->setup.bundle, VR_MODEL_START, NULL);
}

bool vr_models_stop(struct vr_models *models)
{
    __atomic_store_n(&models->stopping, true, __ATOMIC_RELEASE);
    if (models->working && models->stage == STAGE_RETIRE) {
        pthread_join(models->thread, NULL);
        models->working = false;
    }
    return !models->working;
}

void vr_models_leave_loop(struct vr_models *models)
{
    if (models->in_loop) {
        event_del(&models->done);
        event_del(&models->look);
        models->in_loop = false;
    }
    if (models->load.call != NULL) {
        vr_call_put(models->setup.shared->loop[0], models->load.call);
        models->load.call = NULL;
    }
}

void vr_models_destroy(struct vr_models *models)
{
    if (models == NULL) {
        return;
    }
    drop(&models->load);
    vr_model_release(models->serving_base);
    vr_model_release(models->previous_base);
    free_retiring(models);
    close(models->done_fd);
    free(models);
}
