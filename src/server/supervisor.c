/* The parent process (supervisor.h): one loop that waits for signals, among them the end of its worker. */
#include "supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "loop.h"
#include "role.h"
#include "vireo/backend.h"
#include "vireo/clock.h"
#include "vireo/log.h"

#define PEACE_US (10u * 60 * 1000000) /* a worker that lived so long clears the count of troubles */
#define RESTART_STEP_MS 100u          /* doubled with each trouble after the first, up to: */
#define RESTART_MAX_MS 30000u
#define PROBE_STEP_MS 1000u
#define PROBE_MAX_MS 600000u
#define EXIT_FAILED 1

struct supervisor {
    char *const *argv;
    struct vr_role role; /* of the next worker */
    sigset_t signals;    /* waited for, blocked all the time */
    pid_t worker;        /* 0: none */
    int control;         /* write end of the worker's control pipe */
    uint64_t started_us; /* the worker */
    uint32_t troubles;   /* workers that ended badly, since one lived in peace */
    bool stopping;
};

/* ---- the worker ---- */

static void inherit(int fd)
{
    (void)fcntl(fd, F_SETFD, 0);
}

/* In the child: signals are the parent's to take, also those that a terminal or a service manager sends to all. */
static void become_worker(const struct supervisor *supervisor)
{
    signal(SIGTERM, SIG_IGN);
    signal(SIGINT, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    sigprocmask(SIG_UNBLOCK, &supervisor->signals, NULL);
    for (uint32_t i = 0; i < supervisor->role.listen_count; i++) {
        inherit(supervisor->role.listen_fd[i]);
    }
    inherit(supervisor->role.admin_fd);
    inherit(supervisor->role.control_fd);
    inherit(supervisor->role.note_fd);
    execv("/proc/self/exe", supervisor->argv);
    _exit(EXIT_FAILED);
}

static enum vr_status start_worker(struct supervisor *supervisor)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) {
        return vr_fail(VR_ERR_IO, "pipe: %s", strerror(errno));
    }
    supervisor->role.control_fd = ends[0];
    enum vr_status status = vr_role_give(&supervisor->role);
    pid_t child = status == VR_OK ? fork() : -1;
    if (child == 0) {
        become_worker(supervisor);
    }
    int error = errno;
    close(ends[0]);
    if (child < 0) {
        close(ends[1]);
        return status != VR_OK ? status : vr_fail(VR_ERR_IO, "fork: %s", strerror(error));
    }
    supervisor->worker = child;
    supervisor->control = ends[1];
    supervisor->started_us = vr_clock_mono_us();
    vr_log(VR_LOG_INFO, "worker_started", "pid=%d restarts=%u backend=%s", (int)child, supervisor->role.restarts,
           supervisor->role.on_device ? "device" : "cpu");
    return VR_OK;
}

/* Tell the worker to stop; a second byte ends it at once. No more connections come from here on. */
static void stop_worker(struct supervisor *supervisor, int number)
{
    vr_log(VR_LOG_INFO, "stopping", "signal=%d worker=%d", number, (int)supervisor->worker);
    if (!supervisor->stopping) {
        for (uint32_t i = 0; i < supervisor->role.listen_count; i++) {
            close(supervisor->role.listen_fd[i]);
        }
        supervisor->stopping = true;
    }
    while (supervisor->worker != 0 && write(supervisor->control, "s", 1) < 0 && errno == EINTR) {
    }
}

/* Collect whatever child has ended; true with its wait status once it was the worker. */
static bool reap(struct supervisor *supervisor, int *wait_status)
{
    int status;
    pid_t child;
    while ((child = waitpid(-1, &status, WNOHANG)) > 0) {
        if (child == supervisor->worker) {
            close(supervisor->control);
            supervisor->worker = 0;
            *wait_status = status;
            return true;
        }
    }
    return false;
}

static int wait_for_worker(struct supervisor *supervisor)
{
    int wait_status = 0;
    for (;;) {
        int number = sigwaitinfo(&supervisor->signals, NULL);
        if (number == SIGCHLD && reap(supervisor, &wait_status)) {
            return wait_status;
        }
        if (number > 0 && number != SIGCHLD) {
            stop_worker(supervisor, number);
        }
    }
}

/* ---- from one worker to the next ---- */

static uint32_t doubled(uint32_t step, uint32_t times, uint32_t most)
{
    return times < 20 && step << times < most ? step << times : most;
}

/* The next worker begins on the CPU: it is there soonest, and if it was the device the next one must not meet it. */
static uint32_t plan_next(struct supervisor *supervisor, bool device_lost)
{
    if (vr_clock_mono_us() - supervisor->started_us > PEACE_US) {
        supervisor->troubles = 0;
    }
    struct vr_role *role = &supervisor->role;
    role->restarts++;
    role->on_device = false;
    role->failure = device_lost ? VR_DEVICE_BROKE : VR_DEVICE_FAILED;
    role->probe_after_ms = doubled(PROBE_STEP_MS, supervisor->troubles, PROBE_MAX_MS);
    uint32_t troubles = supervisor->troubles++;
    return device_lost || troubles == 0 ? 0 : doubled(RESTART_STEP_MS, troubles - 1, RESTART_MAX_MS);
}

/* True when a signal came meanwhile. */
static bool wait_out(struct supervisor *supervisor, uint32_t ms)
{
    uint64_t until_us = vr_clock_mono_us() + (uint64_t)ms * 1000;
    for (uint64_t now_us = vr_clock_mono_us(); now_us < until_us; now_us = vr_clock_mono_us()) {
        uint64_t left_us = until_us - now_us;
        struct timespec left = {(time_t)(left_us / 1000000), (long)(left_us % 1000000) * 1000};
        int number = sigtimedwait(&supervisor->signals, NULL, &left);
        if (number > 0 && number != SIGCHLD) {
            stop_worker(supervisor, number);
            return true;
        }
    }
    return false;
}

/* Whether another worker follows one that ended so; else *exit_status is what the parent ends with. */
static bool follows(struct supervisor *supervisor, int wait_status, int *exit_status)
{
    bool exited = WIFEXITED(wait_status);
    bool device_lost = exited && WEXITSTATUS(wait_status) == VR_EXIT_DEVICE_LOST;
    vr_log(exited && WEXITSTATUS(wait_status) == 0 ? VR_LOG_INFO : VR_LOG_WARN, "worker_ended", "%s=%d",
           exited ? "status" : "signal", exited ? WEXITSTATUS(wait_status) : WTERMSIG(wait_status));
    *exit_status = exited && !device_lost ? WEXITSTATUS(wait_status) : EXIT_FAILED;
    if (supervisor->stopping || (exited && !device_lost)) {
        return false;
    }
    uint32_t wait_ms = plan_next(supervisor, device_lost);
    return wait_ms == 0 || !wait_out(supervisor, wait_ms);
}

static enum vr_status run_workers(struct supervisor *supervisor, int *exit_status)
{
    bool next = true;
    while (next) {
        enum vr_status status = start_worker(supervisor);
        if (status == VR_OK) {
            next = follows(supervisor, wait_for_worker(supervisor), exit_status);
        } else if (supervisor->role.restarts == 0) {
            return status;
        } else {
            vr_log(VR_LOG_ERROR, "worker_not_started", "error=\"%s\"", vr_error_text());
            next = !wait_out(supervisor, RESTART_STEP_MS);
        }
    }
    return VR_OK;
}

/* ---- the way up ---- */

/* SIGHUP only where it is not ignored: blocked signals are kept, ignored or not. */
static void block_signals(struct supervisor *supervisor)
{
    struct sigaction hup;
    sigemptyset(&supervisor->signals);
    sigaddset(&supervisor->signals, SIGTERM);
    sigaddset(&supervisor->signals, SIGINT);
    sigaddset(&supervisor->signals, SIGCHLD);
    if (sigaction(SIGHUP, NULL, &hup) == 0 && hup.sa_handler != SIG_IGN) {
        sigaddset(&supervisor->signals, SIGHUP);
    }
    sigprocmask(SIG_BLOCK, &supervisor->signals, NULL);
    signal(SIGPIPE, SIG_IGN);
}

enum vr_status vr_supervisor_run(const struct vr_config *config, char *const *argv, int *exit_status)
{
    struct supervisor supervisor = {.argv = argv, .role = {.kind = VR_ROLE_WORKER}};
    supervisor.role.on_device = true;
    block_signals(&supervisor);
    enum vr_status status = vr_admin_address_check(&config->server);
    if (status == VR_OK) {
        supervisor.role.listen_count = config->server.loops;
        status = vr_listener_bind(config->server.listen, config->server.loops, supervisor.role.listen_fd);
    }
    if (status == VR_OK) {
        status = vr_listener_bind(config->server.admin, 1, &supervisor.role.admin_fd);
    }
    if (status == VR_OK) {
        status = vr_note_create(&supervisor.role.note_fd);
    }
    return status == VR_OK ? run_workers(&supervisor, exit_status) : status; /* the caller ends: the sockets with it */
}
