/* Ranges of numbers in a bundle's tensors. */
#include <math.h>

#include "bundle_parts.h"

static bool fits(double value, struct vr_number_rules rules)
{
    return isnan(value) ? rules.may_be_nan : isfinite(value) && value >= rules.low && value <= rules.high;
}

static enum vr_status refuse(const char *name, uint64_t at, double value, struct vr_number_rules rules)
{
    if (!isfinite(value)) {
        return vr_fail(VR_ERR_FORMAT, "tensor '%s': element %llu is %s", name, (unsigned long long)at,
                       isnan(value) ? "no number" : "infinite");
    }
    return vr_fail(VR_ERR_FORMAT, "tensor '%s': element %llu is %g, outside %g to %g", name, (unsigned long long)at,
                   value, rules.low, rules.high);
}

enum vr_status vr_check_floats(const char *name, const float *value, uint64_t count, struct vr_number_rules rules)
{
    for (uint64_t i = 0; i < count; i++) {
        if (!fits(value[i], rules)) {
            return refuse(name, i, value[i], rules);
        }
    }
    return VR_OK;
}

enum vr_status vr_check_doubles(const char *name, const double *value, uint64_t count, struct vr_number_rules rules)
{
    for (uint64_t i = 0; i < count; i++) {
        if (!fits(value[i], rules)) {
            return refuse(name, i, value[i], rules);
        }
    }
    return VR_OK;
}

enum vr_status vr_claim_numbers(struct vr_claims *claims, const char *name, struct vr_shape shape,
                                struct vr_number_rules rules, const float **out)
{
    const struct vr_tensor *tensor;
    enum vr_status status = vr_claim_tensor(claims, name, VR_DTYPE_F32, shape, &tensor);
    if (status == VR_OK) {
        *out = tensor->data;
        status = vr_check_floats(name, *out, tensor->bytes / sizeof(float), rules);
    }
    return status;
}
