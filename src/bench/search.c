/* Search of the largest passing rate (search.h). */
#include "search.h"

#include <math.h>

#define SMALLEST_RATE 0.01

struct bench_search bench_search_begin(double first, uint32_t steps)
{
    return (struct bench_search){.next = first, .left = steps, .done = steps == 0};
}

void bench_search_tell(struct bench_search *search, bool passed)
{
    if (passed) {
        search->low = search->next;
    } else {
        search->high = search->next;
    }
    search->left--;
    if (search->high == 0.0) {
        search->next = 2.0 * search->low;
    } else if (search->low == 0.0) {
        search->next = search->high / 2.0;
    } else {
        search->next = sqrt(search->low * search->high);
    }
    const bool close = search->low > 0.0 && search->high > 0.0 && search->high <= BENCH_SEARCH_PRECISION * search->low;
    search->done = search->left == 0 || close || search->next < SMALLEST_RATE;
}
