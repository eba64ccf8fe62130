/* Stand-in (standin.h). */
#include <cuvs/core/c_api.h>
