/* Kernels that compare the emulator's instructions with what the PTX ISA and the CUDA programming guide say of them, in
 * other words than the emulator's own. Each gives the number of differences. */
#ifndef VIREO_TESTS_KERNELS_MEANING_H
#define VIREO_TESTS_KERNELS_MEANING_H

#ifdef __cplusplus
extern "C" {
#endif

int meaning_shuffles(void);
int meaning_votes(void);
int meaning_load_matrices(void);
int meaning_mma_f16(void);
int meaning_mma_s8(void);
int meaning_copy_sizes(void);
int meaning_copy_groups(void);
int meaning_exited_threads(void);
int meaning_atomics(void);
int meaning_indices(void);
int meaning_after_errors(void);    /* launches that failed leave nothing behind */
int meaning_order(int *order);     /* [64]: the order in which the threads of two warps came first */
int meaning_capture_and_run(void); /* a stream with a graph, as a thread of several would use it */

#ifdef __cplusplus
}
#endif
#endif
