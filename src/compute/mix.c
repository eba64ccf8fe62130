/* expert_mix and task_heads where the processor has a form for them (mix.h); the reference serves the rest, which is
 * halves and processors without AVX-512. */
#include "mix.h"

const struct vr_mix_form *vr_mix_form_choose(void)
{
    return vr_mix_avx512.runs() ? &vr_mix_avx512 : NULL;
}

static bool is_half(enum vr_element element)
{
    return element != VR_ELEMENT_F32 && element != VR_ELEMENT_BF16;
}

enum vr_status vr_cpu_expert_mix(struct vr_stream *stream, const struct vr_expert_mix *args)
{
    const struct vr_mix_form *form = stream->backend->device->mix;
    if (form == NULL || is_half(args->expert_element) || is_half(args->y_element)) {
        return vr_reference_expert_mix(stream, args);
    }
    struct vr_mix_at at;
    const enum vr_status status = vr_mix_resolve(args, &at);
    if (status == VR_OK) {
        form->mix(args, &at);
    }
    return status;
}

enum vr_status vr_cpu_task_heads(struct vr_stream *stream, const struct vr_task_heads *args)
{
    const struct vr_mix_form *form = stream->backend->device->mix;
    struct vr_heads_at at;
    const enum vr_status status = vr_heads_resolve(args, &at);
    if (status != VR_OK) {
        return status;
    }
    if (form == NULL || is_half(args->z_element) || at.columns > VR_HEADS_COLUMNS_MAX) {
        return vr_reference_task_heads(stream, args);
    }
    form->heads(args, &at);
    return VR_OK;
}
