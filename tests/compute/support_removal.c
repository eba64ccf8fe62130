/* See support_removal.h. */
#include "support_removal.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "vireo/clock.h"

static enum vr_status try_remove(struct world *w, const int32_t *row, uint32_t count)
{
    return w->rig.backend->ops->index_remove(w->index, row, count, vr_clock_mono_us() + REMOVAL_US);
}

void world_remove(struct world *w, const int32_t *row, uint32_t count)
{
    cr_assert_eq(try_remove(w, row, count), VR_OK, "%s", vr_error_text());
    for (uint32_t i = 0; i < count; i++) {
        w->removed[row[i]] = true;
    }
}

/* One world, with what is asked of its answers. */
struct trial {
    struct world w;
    struct setting s;
    enum removal_check check;
    struct dice dice;
};

static void check_search(struct trial *t, const uint32_t *offset, const int32_t *exclude)
{
    const struct setting *s = &t->s;
    cr_assert_eq(search(&t->w, s->queries, s->k, t->w.query, offset, exclude), VR_OK, "%s", vr_error_text());
    for (uint32_t q = 0; t->check == REMOVAL_SOUND && q < s->queries; q++) {
        check_answer(&t->w, s, q, offset, exclude);
    }
    if (t->check == REMOVAL_EXACT) {
        check_exact(&t->w, s, offset, exclude);
    }
}

/* Without exclusions last, so that the best rows stand in w.row afterwards. */
static void check_both(struct trial *t)
{
    uint32_t *offset;
    int32_t *exclude = exclusions(&t->s, 3, &offset);
    check_search(t, offset, exclude);
    check_search(t, NULL, NULL);
    free(offset);
    free(exclude);
}

/* None of a list with a bad row goes; an empty list is none. */
static void check_refusals(struct trial *t)
{
    const int32_t below[] = {0, -1}, above[] = {0, (int32_t)t->s.rows};
    cr_assert_eq(try_remove(&t->w, below, 2), VR_ERR_INVALID);
    cr_assert_eq(try_remove(&t->w, above, 2), VR_ERR_INVALID);
    cr_assert_eq(try_remove(&t->w, NULL, 0), VR_OK, "%s", vr_error_text());
    check_both(t);
}

/* What the last query found, best first, the best one twice; again when it is out. */
static void check_best(struct trial *t)
{
    const uint32_t q = t->s.queries - 1;
    uint32_t count = 0;
    int32_t *row = must_alloc((t->s.k + 2) * sizeof *row);
    while (count < t->s.k && t->w.row[(size_t)q * t->s.k + count] >= 0) {
        row[count] = t->w.row[(size_t)q * t->s.k + count];
        count++;
    }
    row[count] = row[0];
    world_remove(&t->w, row, count + 1);
    check_both(t);
    world_remove(&t->w, row, count);
    check_both(t);
    free(row);
}

/* Some of the rows at random, often more than a launch takes and some of them twice. */
static void check_random(struct trial *t, uint32_t count)
{
    int32_t *row = must_alloc((count + 1) * sizeof *row);
    for (uint32_t i = 0; i < count; i++) {
        row[i] = (int32_t)(dice_next(&t->dice) % t->s.rows);
    }
    world_remove(&t->w, row, count);
    check_both(t);
    free(row);
}

/* All but `left` of the rows that are there, from the end on. */
static void check_all_but(struct trial *t, uint32_t left)
{
    int32_t *row = must_alloc((t->s.rows + 1) * sizeof *row);
    uint32_t count = 0;
    for (uint32_t r = 0, kept = 0; r < t->s.rows; r++) {
        const bool keep = !t->w.removed[r] && kept < left;
        kept += keep;
        if (!keep && !t->w.removed[r]) {
            row[count++] = (int32_t)r;
        }
    }
    world_remove(&t->w, row, count);
    check_both(t);
    free(row);
}

static void run(struct trial *t, struct vr_backend *backend)
{
    world_open(&t->w, backend, &t->s);
    check_refusals(t);
    check_best(t);
    check_random(t, t->s.rows / 3);
    check_random(t, t->s.rows / 2);
    check_all_but(t, 3);
    check_all_but(t, 0);
    for (uint32_t i = 0; i < t->s.queries * t->s.k; i++) {
        cr_assert_eq(t->w.row[i], -1);
    }
    world_close(&t->w);
}

void check_removals(struct vr_backend *backend, enum vr_index_kind kind, enum removal_check check, uint64_t seed)
{
    const struct setting settings[] = {
        {.dtype = VR_TABLE_F32, .rows = 1, .queries = 1, .k = 1},
        {.dtype = VR_TABLE_F16, .rows = 40, .queries = 3, .k = 50},
        {.dtype = VR_TABLE_I8, .rows = 700, .queries = 5, .k = 20},
        {.dtype = VR_TABLE_F16, .rows = 1300, .queries = 19, .k = 60},
    };
    for (size_t i = 0; i < sizeof settings / sizeof settings[0]; i++) {
        struct trial trial = {.s = settings[i], .check = check, .dice = {seed * 100 + i}};
        trial.s.kind = kind;
        trial.s.probes = 1000000; /* all lists: exact */
        run(&trial, backend);
    }
}
