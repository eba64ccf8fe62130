/* See support_left.h. */
#include "support_left.h"

#include <stdio.h>
#include <stdlib.h>

#include "kernels/emulator/emulator.h"

void must_leave_nothing(void)
{
    const size_t left = vr_emulator_memory_used();
    if (left != 0) {
        fprintf(stderr, "%zu bytes are left on the device\n", left);
        abort();
    }
}
