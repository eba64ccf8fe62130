/* What the files of `vireo bench load` share (vireo/bench.h). load.c runs it; load_url.c finds the server,
 * load_requests.c makes the bytes that are sent; load_trial.c is one run of the schedule over some threads,
 * load_thread.c one of them with its load_connection.c; load_answer.c reads answers, load_report.c tells the results.
 *
 * Open loop: a request has the time at which it is to be sent whatever came of the ones before. Where all connections
 * are busy then, it waits in the thread's backlog, and its latency runs. */
#ifndef VIREO_BENCH_LOAD_PARTS_H
#define VIREO_BENCH_LOAD_PARTS_H

#include <netinet/in.h>
#include <sys/socket.h>

#include "machine.h"
#include "schedule.h"
#include "search.h"
#include "vireo/arena.h"
#include "vireo/bench.h"
#include "vireo/histogram.h"

/* ---- load_url.c ---- */

struct load_target {
    struct sockaddr_storage address; /* the one that is connected to: names are looked up once */
    socklen_t address_len;
    char host[256]; /* of the Host field */
    char path[1024];
};

/* VR_ERR_INVALID: no such URL, or its address is not loopback and allow_remote is not set; VR_ERR_IO: the name has no
 * address. */
enum vr_status load_url_read(const char *url, bool allow_remote, struct load_target *out);

/* ---- load_requests.c ---- */

/* Whole requests, ready to be sent. */
struct load_requests {
    struct vr_str *request; /* [count] */
    double *at_s;           /* [count], never falling; for a replay */
    uint32_t count;
    char *memory; /* what `request` points into */
};
enum vr_status load_requests_make(const struct vr_bench_load_setup *setup, const struct load_target *target,
                                  struct load_requests *out);
void load_requests_free(struct load_requests *requests); /* zeroed memory is accepted */

/* ---- load_arrivals.c ---- */

/* Which request is to be sent when: the schedule, or the request file's own times behind a warm-up at their mean rate.
 * A pure sequence. */
struct load_arrivals {
    struct bench_schedule schedule;       /* of all, or of a replay's warm-up */
    const struct load_requests *requests; /* borrowed */
    bool replay;
    double warm_up_s, seconds, speed;
    uint64_t next, limit; /* number of the next request; how many there may be */
    uint32_t replayed;    /* lines of the file that have been given */
};

/* VR_ERR_INVALID: times that do not fit the schedule. `rate` as for load_trial_run. */
enum vr_status load_arrivals_begin(const struct vr_bench_load_setup *setup, const struct load_requests *requests,
                                   double rate, struct load_arrivals *out);
/* Seconds from the begin, never falling, and the request; false: there are no more. */
bool load_arrivals_next(struct load_arrivals *arrivals, double *at_s, uint32_t *request);

/* ---- load_answer.c ---- */

enum load_outcome { LOAD_MORE = 0, LOAD_COMPLETE, LOAD_BAD };

/* An HTTP/1.1 answer with a Content-Length; zeroed at first. */
struct load_answer {
    int status;
    bool close;       /* the server closes behind it */
    size_t head, len; /* bytes of the head (0: not all there yet), and of head and body */
};

/* Read what has arrived since the answer's first byte; `data` may only grow between calls. */
enum load_outcome load_answer_read(const char *data, size_t len, struct load_answer *answer);

#define LOAD_REASONS_MAX 32u
#define LOAD_REASON_BYTES 48u

/* What `coverage.degraded` of answers named, and how often; what comes when the table is full counts as "other". */
struct load_degraded {
    uint64_t answers; /* with at least one reason */
    char name[LOAD_REASONS_MAX][LOAD_REASON_BYTES];
    uint64_t count[LOAD_REASONS_MAX];
    uint32_t names;
};
void load_degraded_count(struct load_degraded *degraded, const char *body, size_t len);
void load_degraded_merge(struct load_degraded *into, const struct load_degraded *from);

/* ---- what is counted ---- */

enum load_error {
    LOAD_ERROR_TIMEOUT = 0, /* no whole answer within timeout_ms of the intended time */
    LOAD_ERROR_CLOSED,      /* the connection ended before the whole answer */
    LOAD_ERROR_PROTOCOL,    /* what came is no answer with a length */
    LOAD_ERROR_BACKLOG,     /* so many waited for a connection that there was no room */
    LOAD_ERROR_CONNECT      /* attempts to connect that failed; no request is lost by one */
};
#define LOAD_ERRORS 5u
#define LOAD_STATUSES 600u

/* A stretch of time by intended send times. */
struct load_interval {
    uint64_t sent, ok, lost;
    struct vr_histogram us; /* as `latency`, in microseconds */
};

/* Of one thread, then of all. Nanoseconds; only requests that were to be sent after the warm-up. */
struct load_counts {
    struct vr_histogram_fine latency;  /* 2xx answers, and those that timed out, at their age then */
    struct vr_histogram_fine rejected; /* other answers */
    struct vr_histogram_fine lag;      /* from the intended time until the thread looked at the request */
    struct vr_histogram_fine waited;   /* from then until a connection was free */
    uint64_t offered, ok, answered;    /* answered: with any status */
    uint64_t bytes;                    /* of answers */
    uint64_t error[LOAD_ERRORS];
    uint64_t status[LOAD_STATUSES];
    struct load_degraded degraded;
    uint64_t last_answer_ns;        /* monotonic */
    uint64_t cpu_ns, wall_ns;       /* of the busiest thread */
    struct load_interval *interval; /* [intervals] */
    uint32_t intervals;
};

/* ---- load_trial.c ---- */

struct load_trial {
    const struct vr_bench_load_setup *setup;
    const struct load_target *target;
    const struct load_requests *requests;
    struct load_arrivals arrivals; /* at their begin: each thread has its copy and sends every threads-th */
    uint32_t intervals;
    uint64_t begin_ns; /* monotonic; set when all threads have their connections */
};

struct load_result {
    double rate;              /* asked for */
    double offered, achieved; /* requests to be sent a second; 2xx answers a second until the last of them */
    double degraded;          /* share of the 2xx answers that say so */
    double lost;              /* share of requests without a 2xx answer */
    double cpu_share;         /* of the busiest thread */
    bool sound;               /* the generator kept up: its figures can be believed */
    struct load_counts counts;
};
#define LOAD_LAG_BOUND_US 1000.0 /* of a sound generator: p99 of its lag, or a tenth of the latency's p99 */
#define LOAD_CPU_BOUND 0.8

/* Run the schedule once at `rate` (a step and a spike keep their ratio to it). The caller frees with
 * load_result_free. */
enum vr_status load_trial_run(const struct vr_bench_load_setup *setup, const struct load_target *target,
                              const struct load_requests *requests, double rate, struct load_result *out);
void load_result_free(struct load_result *result);

/* ---- load_thread.c ---- */

struct load_thread;

/* Connections `connections` for the thread `index` of the trial's; waits until they are open. VR_ERR_IO when not one
 * can be opened. */
enum vr_status load_thread_create(const struct load_trial *trial, uint32_t index, uint32_t connections,
                                  struct load_thread **out);
void load_thread_run(struct load_thread *thread); /* to the end of the schedule; begins at trial->begin_ns */
const struct load_counts *load_thread_counts(const struct load_thread *thread);
void load_thread_destroy(struct load_thread *thread); /* NULL is accepted */

/* ---- load_report.c ---- */

struct load_tried {
    double rate, p99_ms, lost, degraded;
    bool passed, sound;
};

struct load_bench {
    struct vr_bench_load_setup setup; /* with defaults */
    struct bench_machine machine;
    struct load_target target;
    struct load_requests requests;
    struct load_result result; /* of the one rate, or of the largest that passed */
    struct bench_search search;
    struct load_tried tried[64];
    uint32_t tries;
};
double load_ms(const struct vr_histogram_fine *h, double quantile);
void load_report_print(const struct load_bench *bench, FILE *out);
void load_report_json(const struct load_bench *bench, struct vr_json_writer *w);

extern const char *const load_error_name[LOAD_ERRORS];
extern const char *const load_schedule_name[];

#endif
