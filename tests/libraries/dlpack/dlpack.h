/* Stand-in (standin.h). */
#ifndef VIREO_STANDIN_DLPACK_H
#define VIREO_STANDIN_DLPACK_H

#include <stdint.h>

enum { kDLCUDA = 2 };
enum { kDLInt = 0, kDLUInt, kDLFloat };

typedef struct {
    int device_type;
    int device_id;
} DLDevice;
typedef struct {
    uint8_t code, bits;
    uint16_t lanes;
} DLDataType;
typedef struct {
    void *data;
    DLDevice device;
    int ndim;
    DLDataType dtype;
    int64_t *shape, *strides;
    uint64_t byte_offset;
} DLTensor;
typedef struct {
    DLTensor dl_tensor;
} DLManagedTensor;

#endif
