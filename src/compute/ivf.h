/* IVF-Flat of the CPU backend: rows in lists by their nearest centroid (clusters.h), int8 codes with true values beside
 * them (codes.h). A query looks into the lists of its nearest centroids, and each list is read once for all queries of
 * a group that ask for it. The answer is the exact top k of the probed lists, in the bits of the exact scan, the same
 * in any batch; with all lists probed it is that of all rows. */
#ifndef VIREO_COMPUTE_IVF_H
#define VIREO_COMPUTE_IVF_H

#include "clusters.h"
#include "codes.h"

#define VR_LISTS_MAX 65536u

struct vr_ivf {
    struct vr_codes codes; /* list l is cluster l; some may be empty */
    struct vr_clusters clusters;
    uint32_t probes; /* at most the lists */
};

/* Lists that an index of these rows gets: what is configured, or 4 * sqrt(rows); VR_ERR_UNSUPPORTED: too many. */
enum vr_status vr_ivf_lists(const struct vr_index_spec *spec, uint32_t *out);

/* ivf_build.c. After a failure too vr_ivf_free frees what was taken. */
enum vr_status vr_ivf_make(const struct vr_index_spec *spec, const struct vr_cpu_table *table, struct vr_ivf *ivf);
void vr_ivf_free(struct vr_ivf *ivf);

uint64_t vr_ivf_bytes(const struct vr_index_spec *spec); /* at most */

/* For benchmarks and tests: another number of probes for an index of this kind, while nobody searches it. */
void vr_ivf_set_probes(struct vr_index *index, uint32_t probes);

#endif
