/* The memory of a set of rows (vireo/rowset.h). */
#include "vireo/rowset.h"

#include <stdlib.h>

enum vr_status vr_rowset_open(uint32_t rows, struct vr_rowset *out)
{
    *out = (struct vr_rowset){.word = calloc(vr_rowset_bytes(rows), 1), .rows = rows};
    return out->word != NULL ? VR_OK : vr_fail(VR_ERR_NOMEM, "no memory for a set of %u rows", rows);
}

void vr_rowset_close(struct vr_rowset *set)
{
    free(set->word);
    *set = (struct vr_rowset){0};
}
