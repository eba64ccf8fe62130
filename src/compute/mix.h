/* Gates and heads on the CPU: their arguments' addresses, checked once, and what fills the rows. */
#ifndef VIREO_COMPUTE_MIX_H
#define VIREO_COMPUTE_MIX_H

#include "cpu.h"

#define VR_MIX_EXPERTS_MAX 64u
#define VR_MIX_GATES_MAX 16u
#define VR_HEADS_TASKS_MAX 8u
#define VR_HEADS_COLUMNS_MAX 512u

struct vr_mix_at {
    const float *logit;
    const void *expert;
    void *y;
    float *weights; /* NULL: not wanted */
};
enum vr_status vr_mix_resolve(const struct vr_expert_mix *args, struct vr_mix_at *out);

struct vr_heads_at {
    const void *z;
    const float *widths;
    float *head;
    size_t columns; /* of z */
};
enum vr_status vr_heads_resolve(const struct vr_task_heads *args, struct vr_heads_at *out);

/* All rows of an expert_mix or task_heads whose matrices are float32 or bfloat16. A row's bits depend on itself alone.
 * exp is a polynomial of degree 6 after Cephes' expf: within 3e-7 of the true value, relative. */
struct vr_mix_form {
    const char *name;
    bool (*runs)(void);
    void (*mix)(const struct vr_expert_mix *args, const struct vr_mix_at *at);
    void (*heads)(const struct vr_task_heads *args, const struct vr_heads_at *at);
};
extern const struct vr_mix_form vr_mix_avx512;

#endif
