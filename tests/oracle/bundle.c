/* Opens a bundle for the tests in Python (test_bundle_refusals.py), under the sanitizers. `oracle_bundle FOLDER` prints
 * "ok" or the status and the text of the refusal; with `--no-memory` it opens the folder with the first allocation
 * failing, then the second, and so on, and prints how many openings it took until one succeeded. */
#include <stdio.h>

#include "../base/failing_alloc.h"
#include "vireo/bundle.h"

static int open_once(const char *folder)
{
    struct vr_bundle *bundle = NULL;
    enum vr_status status = vr_bundle_open(folder, &bundle);
    if (status != VR_OK && bundle != NULL) {
        printf("a refused bundle was given out\n");
        return 3;
    }
    if (status == VR_OK) {
        printf("ok %u videos, %u viewers\n", bundle->videos.count, bundle->state.viewer_id.count);
    } else {
        printf("%s: %s\n", vr_status_name(status), vr_error_text());
    }
    vr_bundle_close(bundle);
    return 0;
}

/* Every failure must be reported as one, and leave nothing behind: the leak check at the exit sees it. libcrypto, which
 * does not survive a failure while it sets itself up, has done so in a first opening. */
static int open_without_memory(const char *folder)
{
    struct vr_bundle *first = NULL;
    vr_bundle_open(folder, &first);
    vr_bundle_close(first);
    for (long n = 0;; n++) {
        struct vr_bundle *bundle = NULL;
        fail_from(n);
        enum vr_status status = vr_bundle_open(folder, &bundle);
        bool failed = fail_stop();
        vr_bundle_close(bundle);
        if (!failed) {
            printf("%s after %ld\n", vr_status_name(status), n);
            return status == VR_OK ? 0 : 4;
        }
        if (status != VR_ERR_NOMEM) {
            printf("allocation %ld: %s: %s\n", n, vr_status_name(status), vr_error_text());
            return 5;
        }
    }
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "--no-memory") == 0) {
        return open_without_memory(argv[2]);
    }
    return argc == 2 ? open_once(argv[1]) : 2;
}
