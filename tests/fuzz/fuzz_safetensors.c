/* Fuzz target: any bytes are read as a safetensors file. A refusal has a text; what is accepted has tensors that lie in
 * order within the file, aligned, of the size that their shapes say, and are found by name. Every byte is read. */
#include "vireo/safetensors.h"

#include <stdbool.h>
#include <stdlib.h>

static void require(bool condition)
{
    if (!condition) {
        abort();
    }
}

static size_t shape_bytes(const struct vr_tensor *tensor)
{
    size_t bytes = vr_dtype_bytes(tensor->dtype);
    require(tensor->rank >= 1 && tensor->rank <= VR_TENSOR_MAX_RANK);
    for (uint32_t i = 0; i < tensor->rank; i++) {
        bytes *= tensor->dim[i];
    }
    return bytes;
}

static void check_tensor(const struct vr_safetensors *file, const struct vr_tensor *tensor, const uint8_t **end)
{
    const uint8_t *data = tensor->data;
    unsigned sum = 0;
    require(tensor->bytes == shape_bytes(tensor));
    require((uintptr_t)data % vr_dtype_bytes(tensor->dtype) == 0);
    require(*end == NULL || data == *end);
    require(vr_safetensors_find(file, tensor->name) == tensor);
    for (size_t i = 0; i < tensor->bytes; i++) {
        sum += data[i];
    }
    require(sum <= 255 * tensor->bytes);
    *end = data + tensor->bytes;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *copy = aligned_alloc(8, (size + 8) / 8 * 8);
    struct vr_safetensors *file = NULL;
    const uint8_t *end = NULL;
    require(copy != NULL);
    memcpy(copy, data, size);
    if (vr_safetensors_parse(copy, size, &file) != VR_OK) {
        require(file == NULL && *vr_error_text() != '\0');
    } else {
        for (size_t i = 0; i < vr_safetensors_count(file); i++) {
            check_tensor(file, vr_safetensors_at(file, i), &end);
        }
        require(end == NULL || end == copy + size);
    }
    vr_safetensors_close(file);
    free(copy);
    return 0;
}
