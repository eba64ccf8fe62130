/* The head of an HTTP answer. */
#ifndef VIREO_SERVER_ANSWER_H
#define VIREO_SERVER_ANSWER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define VR_ANSWER_HEAD_BYTES 512u

struct vr_answer_head {
    int status;
    const char *date;       /* of the Date field */
    const char *media_type; /* at most 64 bytes */
    size_t body_bytes;
    const char *allow;      /* NULL: no Allow field; at most 32 bytes */
    uint32_t retry_after_s; /* 0: no Retry-After field */
    bool close;
};

/* Status line and fields with the empty line behind them; returns their bytes. */
size_t vr_answer_write_head(const struct vr_answer_head *head, char out[VR_ANSWER_HEAD_BYTES]);

#endif
