/* See support_parity.h. */
#include "support_parity.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

void parity_row(const char *operation, uint32_t cases, uint64_t seed, double error, const char *bound)
{
    char row[256];
    const char *path = getenv("VIREO_PARITY");
    if (path == NULL) {
        return;
    }
    const int length =
        snprintf(row, sizeof row, "%s\t%u\t%u\t%.6g\t%s\n", operation, cases, (unsigned)seed, error, bound);
    const int file = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
    cr_assert(file >= 0 && length < (int)sizeof row && write(file, row, (size_t)length) == length, "%s", path);
    close(file);
}

void parity_same_bits(const char *operation, uint32_t cases, uint64_t seed)
{
    parity_row(operation, cases, seed, 0.0, "the same bits");
}

void parity_ops(const struct op_report report[OP_COUNT], const char *engine, uint64_t seed)
{
    for (uint32_t op = 0; op < OP_COUNT; op++) {
        const struct op_tolerance *tolerance = &op_tolerance[op];
        char name[64], bound[64];
        if (report[op].cases == 0) {
            continue;
        }
        snprintf(name, sizeof name, "%s%s", tolerance->name, engine);
        snprintf(bound, sizeof bound, "%g + %g |x|%s", tolerance->absolute, tolerance->relative,
                 report[op].halves ? ", halves 2^-10 |x| more" : "");
        if (tolerance->absolute == 0.0 && tolerance->relative == 0.0) {
            parity_same_bits(name, report[op].cases, seed);
        } else {
            parity_row(name, report[op].cases, seed, report[op].error, bound);
        }
    }
}
