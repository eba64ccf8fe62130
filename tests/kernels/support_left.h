/* For the .fini of a test on the emulated device. Criterion passes over assertions that fail in a .fini; a process that
 * aborts there makes the executable's exit status an error, which ctest and tests/run_all.py look at. */
#ifndef VIREO_TESTS_KERNELS_SUPPORT_LEFT_H
#define VIREO_TESTS_KERNELS_SUPPORT_LEFT_H

/* Says how much, and aborts, where device or pinned memory is still taken. */
void must_leave_nothing(void);

#endif
