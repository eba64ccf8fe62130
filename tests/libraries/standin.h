/* Stand-ins for the GPU parts of FAISS and cuVS: as much of their interfaces as knn_*.c and knn_*.cc of kernels/ call,
 * in headers of their names, over one plain search that runs as work on the emulator's streams. They show that the
 * shims use the libraries as they may be used, and nothing of the libraries. Every kind of index finds exactly, but as
 * libraries do: in an order of its own (worst first), with a row given twice, and with places that hold no row.
 *
 * What they may be asked by tests: */
#ifndef VIREO_TESTS_LIBRARIES_STANDIN_H
#define VIREO_TESTS_LIBRARIES_STANDIN_H

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum standin_call { STANDIN_OPEN = 0, STANDIN_BUILD, STANDIN_SEARCH };

/* The `at`-th call of this kind from now on (1 is the next) fails with these words; 0: none. */
void standin_fail(enum standin_call call, unsigned at, const char *words);

/* Searches do not come back from here on. */
void standin_hang(void);

unsigned standin_alive(void);       /* handles and indexes that were made and not freed */
unsigned standin_strangers(void);   /* calls by another thread than made the handles, since the start */
unsigned standin_odd_queries(void); /* queries that were not finite, since the start */
unsigned standin_searches(void);    /* since the start */
uint32_t standin_fetched(void);     /* rows asked for a query by the latest search */

#ifdef __cplusplus
}
#endif
#endif
