/* Status codes and error text. Every fallible function of Vireo returns an enum vr_status (0 is success) and gives
 * its results through its last parameters. The detail of the latest failure is text local to the thread. */
#ifndef VIREO_STATUS_H
#define VIREO_STATUS_H

#ifdef __cplusplus
extern "C" {
#endif

enum vr_status {
    VR_OK = 0,
    VR_ERR_NOMEM,       /* an allocation failed */
    VR_ERR_INVALID,     /* the caller's argument or request is wrong */
    VR_ERR_FORMAT,      /* data (bundle, JSON, configuration, expression) is malformed */
    VR_ERR_CHECKSUM,    /* data is well formed but not what its checksum says */
    VR_ERR_UNSUPPORTED, /* understood, but this build or version does not do it */
    VR_ERR_NOT_FOUND,   /* no such id, file or key */
    VR_ERR_IO,          /* the operating system refused; the text holds strerror */
    VR_ERR_BUSY,        /* a bounded queue or table is full; try again later */
    VR_ERR_TIMEOUT,     /* a deadline passed before the work was done */
    VR_ERR_CLOSED,      /* the object is shutting down */
    VR_ERR_TOO_LARGE,   /* a stated limit was exceeded */
    VR_ERR_BACKEND,     /* the compute device or its library failed */
    VR_ERR_DEVICE_LOST, /* the compute device is beyond use for this process */
};

/* The code's name in lower case, e.g. "not_found". Never NULL. */
const char *vr_status_name(enum vr_status status);

/* Store a printf-formatted text as this thread's error detail and return `status`, so that a failure is one line:
 * `return vr_fail(VR_ERR_FORMAT, "tensor '%s' ends past the file", name);`. Text past 511 bytes is cut. */
enum vr_status vr_fail(enum vr_status status, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Put a context and ": " in front of the detail that is already there: vr_fail_in(status, "%s", "weights.safetensors")
 * gives "weights.safetensors: <old text>". Returns `status`. */
enum vr_status vr_fail_in(enum vr_status status, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The detail of this thread's latest failure; "" when there was none. Valid until the next failure of the thread. */
const char *vr_error_text(void);

#ifdef __cplusplus
}
#endif
#endif
