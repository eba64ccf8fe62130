/* The greedy selector of the guardrails (selector.h). */
#include "selector.h"

#include <string.h>

#include "freshness.h"

#define RULE_BIT(rule) (1u << (rule))
#define RULE_MASKS (1u << VR_RULE_COUNT)
#define TAKEN RULE_MASKS /* the bit behind the rules': placed already, or removed by a filter */
#define LEVEL_NEVER UINT8_MAX
#define NOBODY UINT32_MAX

struct selector {
    const struct vr_rerank_input *input;
    const struct vr_filtered *filtered;
    struct vr_arena *arena;
    struct vr_rerank_output *out;
    uint32_t length; /* of the arrays: the candidates, and TAKEN ones up to a whole block */
    struct vr_caps caps;
    struct vr_gains gains;
    uint32_t *standing;               /* [length], TAKEN, and the bit of SEEN for who is there only if it gives way */
    uint32_t *stale;                  /* [length], the bit of FRESHNESS, or 0 */
    uint32_t *broken;                 /* [length], TAKEN and rule bits broken at the position that is being filled */
    uint32_t *held_at[VR_RULE_COUNT]; /* with trace: [count], 1-based first position where the rule held it, or 0 */
    uint8_t level_of[RULE_MASKS];     /* rules that must have given way before this set may be broken */
    uint8_t level_late[RULE_MASKS];   /* the same once the feed holds min_items: SEEN never gives way */
    uint32_t fresh;                   /* fresh videos placed */
};

/* The number of leading entries of give_way that cover `mask`; LEVEL_NEVER when one of its rules is not listed. */
static uint8_t level_of_mask(const struct vr_rerank_config *config, uint32_t mask)
{
    uint8_t level = 0;
    while (mask != 0 && level < config->give_way_count) {
        mask &= ~RULE_BIT(config->give_way[level]);
        level++;
    }
    return mask == 0 ? level : LEVEL_NEVER;
}

static void set_levels(struct selector *s)
{
    for (uint32_t mask = 0; mask < RULE_MASKS; mask++) {
        bool with_seen = (mask & RULE_BIT(VR_RULE_SEEN)) != 0;
        s->level_of[mask] = level_of_mask(s->input->config, mask);
        s->level_late[mask] = with_seen ? LEVEL_NEVER : s->level_of[mask];
    }
}

static void set_standing(struct selector *s)
{
    for (uint32_t i = 0; i < s->length; i++) {
        const bool open = i < s->input->count && (s->filtered->passed[i] || s->filtered->reserve[i]);
        s->standing[i] = !open ? TAKEN : s->filtered->reserve[i] ? RULE_BIT(VR_RULE_SEEN) : 0;
        s->stale[i] = open && !vr_is_fresh(s->input, i) ? RULE_BIT(VR_RULE_FRESHNESS) : 0;
    }
}

static enum vr_status allocate(struct selector *s)
{
    s->standing = vr_arena_alloc(s->arena, s->length * sizeof *s->standing);
    s->stale = vr_arena_alloc(s->arena, s->length * sizeof *s->stale);
    s->broken = vr_arena_alloc(s->arena, s->length * sizeof *s->broken);
    s->out->item = vr_arena_calloc(s->arena, s->input->want, sizeof *s->out->item);
    if (s->standing == NULL || s->stale == NULL || s->broken == NULL || s->out->item == NULL) {
        return VR_ERR_NOMEM;
    }
    for (uint32_t r = 0; s->input->want_trace && r < VR_RULE_COUNT; r++) {
        s->held_at[r] = vr_arena_calloc(s->arena, s->input->count, sizeof *s->held_at[r]);
        if (s->held_at[r] == NULL) {
            return VR_ERR_NOMEM;
        }
    }
    return VR_OK;
}

static enum vr_status set_up(struct selector *s)
{
    const struct vr_selection_loops *loops = vr_selection_loops_choose();
    enum vr_status status = vr_gains_create(s->input, s->filtered, loops, s->arena, &s->gains);
    s->length = s->gains.length;
    if (status == VR_OK) {
        status = vr_caps_create(s->input, loops, s->length, s->arena, &s->caps);
    }
    if (status == VR_OK) {
        status = allocate(s);
    }
    if (status == VR_OK) {
        set_standing(s);
        set_levels(s);
    }
    return status;
}

/* Gain first; of equal gains the higher score, of equal scores the earlier candidate. */
static bool is_better(const struct selector *s, uint32_t a, uint32_t b)
{
    if (s->gains.value[a] != s->gains.value[b]) {
        return s->gains.value[a] > s->gains.value[b];
    }
    if (s->input->score[a] != s->input->score[b]) {
        return s->input->score[a] > s->input->score[b];
    }
    return a < b;
}

static const uint8_t *levels_now(const struct selector *s)
{
    return s->out->count < s->input->config->min_items ? s->level_of : s->level_late;
}

static void find_broken(struct selector *s)
{
    const bool fresh_due = vr_freshness_is_due(s->input, s->out->count, s->fresh);
    const uint32_t due = fresh_due ? RULE_BIT(VR_RULE_FRESHNESS) : 0;
    for (uint32_t i = 0; i < s->length; i++) {
        s->broken[i] = s->standing[i] | (s->stale[i] & due);
    }
    vr_caps_mark(&s->caps, s->broken);
}

/* The best of those that break nothing, or NOBODY. */
static uint32_t best_without_fault(const struct selector *s)
{
    const struct vr_gains *gains = &s->gains;
    const float most = gains->loops->largest(gains->value, s->broken, s->length);
    uint32_t best = gains->loops->find(gains->value, s->broken, most, 0, s->length);
    for (uint32_t i = best; i < s->length; i = gains->loops->find(gains->value, s->broken, most, i + 1, s->length)) {
        best = is_better(s, i, best) ? i : best;
    }
    return best < s->length ? best : NOBODY;
}

/* The best of those whose broken rules give way first, or NOBODY. */
static uint32_t best_that_gives_way(const struct selector *s)
{
    const uint8_t *level = levels_now(s);
    uint32_t best = NOBODY;
    uint8_t best_level = LEVEL_NEVER;
    for (uint32_t i = 0; i < s->input->count; i++) {
        const uint8_t mine = (s->broken[i] & TAKEN) != 0 ? LEVEL_NEVER : level[s->broken[i]];
        if (mine < best_level || (mine == best_level && best != NOBODY && is_better(s, i, best))) {
            best = i;
            best_level = mine;
        }
    }
    return best;
}

/* The candidate for the next position, or NOBODY: the lowest level, then the best gain. Fills s->broken. */
static uint32_t best_candidate(struct selector *s)
{
    find_broken(s);
    const uint32_t best = best_without_fault(s);
    return best != NOBODY ? best : best_that_gives_way(s);
}

static bool is_taken(const struct selector *s, uint32_t i)
{
    return (s->standing[i] & TAKEN) != 0;
}

/* Note which better candidates a rule kept from this position. */
static void note_held(struct selector *s, uint32_t chosen)
{
    for (uint32_t i = 0; i < s->input->count; i++) {
        uint32_t held = s->broken[i] & ~s->broken[chosen] & ~RULE_BIT(VR_RULE_SEEN);
        if (is_taken(s, i) || held == 0 || s->filtered->reserve[i] || !is_better(s, i, chosen)) {
            continue;
        }
        for (uint32_t r = 0; r < VR_RULE_COUNT; r++) {
            if ((held & RULE_BIT(r)) != 0 && s->held_at[r][i] == 0) {
                s->held_at[r][i] = s->out->count + 1;
            }
        }
    }
}

/* Whether a better candidate had to stand back only because it is not fresh. */
static bool is_lifted(const struct selector *s, uint32_t chosen)
{
    if ((s->broken[chosen] & RULE_BIT(VR_RULE_FRESHNESS)) != 0) {
        return false;
    }
    for (uint32_t i = 0; i < s->input->count; i++) {
        if (!is_taken(s, i) && s->broken[i] == RULE_BIT(VR_RULE_FRESHNESS) && is_better(s, i, chosen)) {
            return true;
        }
    }
    return false;
}

static void add_move(struct vr_rerank_item *item, enum vr_move_kind kind, enum vr_rule rule, uint32_t position)
{
    item->moves[item->move_count++] = (struct vr_move){kind, rule, position};
}

/* 1 + the candidates that passed the filters and have a higher score, or the same and an earlier place. */
static uint32_t score_rank(const struct selector *s, uint32_t candidate)
{
    const float *score = s->input->score;
    uint32_t rank = 1;
    for (uint32_t i = 0; i < s->input->count; i++) {
        bool before = score[i] > score[candidate] || (score[i] == score[candidate] && i < candidate);
        rank += s->filtered->passed[i] && before ? 1u : 0u;
    }
    return rank;
}

/* The moves of the chosen item, in order of position, and its place by score. VR_ERR_NOMEM. */
static enum vr_status trace(struct selector *s, struct vr_rerank_item *item)
{
    uint32_t chosen = item->candidate;
    uint32_t position = s->out->count + 1;
    item->moves = vr_arena_calloc(s->arena, 2 * VR_RULE_COUNT + 1, sizeof *item->moves);
    if (item->moves == NULL) {
        return VR_ERR_NOMEM;
    }
    item->score_rank = score_rank(s, chosen);
    for (uint32_t r = 0; r < VR_RULE_COUNT; r++) {
        if (s->held_at[r][chosen] != 0) {
            add_move(item, VR_MOVE_HELD, (enum vr_rule)r, s->held_at[r][chosen]);
        }
    }
    if (is_lifted(s, chosen)) {
        add_move(item, VR_MOVE_LIFTED, VR_RULE_FRESHNESS, position);
    }
    for (uint32_t r = 0; r < VR_RULE_COUNT; r++) {
        if ((s->broken[chosen] & RULE_BIT(r)) != 0) {
            add_move(item, VR_MOVE_RULE_GAVE_WAY, (enum vr_rule)r, position);
        }
    }
    note_held(s, chosen);
    return VR_OK;
}

static enum vr_status place(struct selector *s, uint32_t chosen)
{
    struct vr_rerank_item *item = &s->out->item[s->out->count];
    item->candidate = chosen;
    item->gain = vr_gains_of(&s->gains, chosen);
    enum vr_status status = s->input->want_trace ? trace(s, item) : VR_OK;
    if (status != VR_OK) {
        return status;
    }
    for (uint32_t r = 0; r < VR_RULE_COUNT; r++) {
        s->out->gave_way[r] += (s->broken[chosen] >> r) & 1u;
    }
    if (s->filtered->reserve[chosen]) {
        s->out->filtered[s->filtered->by[chosen]]--; /* it is back */
    }
    s->fresh += vr_is_fresh(s->input, chosen) ? 1u : 0u;
    s->standing[chosen] |= TAKEN;
    vr_caps_place(&s->caps, chosen);
    vr_gains_place(&s->gains, chosen);
    s->out->count++;
    return VR_OK;
}

/* The rule that keeps most of the remaining candidates out, or NULL when none remains. */
static const char *holding_rule(const struct selector *s)
{
    uint32_t held[VR_RULE_COUNT] = {0};
    uint32_t most = 0;
    for (uint32_t i = 0; i < s->input->count; i++) {
        for (uint32_t r = 0; r < VR_RULE_COUNT && !is_taken(s, i) && !s->filtered->reserve[i]; r++) {
            held[r] += (s->broken[i] >> r) & 1u;
        }
    }
    for (uint32_t r = 1; r < VR_RULE_COUNT; r++) {
        most = held[r] > held[most] ? r : most;
    }
    return held[most] > 0 ? vr_rule_name((enum vr_rule)most) : NULL;
}

/* The filter that removed most candidates, or "candidates" when none removed any: the sources gave too few. */
static const char *removing_filter(const struct vr_rerank_output *out)
{
    uint32_t most = 0;
    for (uint32_t f = 1; f < VR_FILTER_COUNT; f++) {
        most = out->filtered[f] > out->filtered[most] ? f : most;
    }
    return out->filtered[most] > 0 ? vr_filter_name((enum vr_filter)most) : "candidates";
}

enum vr_status vr_select(const struct vr_rerank_input *input, const struct vr_filtered *filtered,
                         struct vr_arena *arena, struct vr_rerank_output *out)
{
    struct selector s = {.input = input, .filtered = filtered, .arena = arena, .out = out};
    enum vr_status status = set_up(&s);
    while (status == VR_OK && out->count < input->want) {
        uint32_t chosen = best_candidate(&s);
        if (chosen == NOBODY) {
            const char *rule = holding_rule(&s);
            out->short_reason = rule != NULL ? rule : removing_filter(out);
            break;
        }
        status = place(&s, chosen);
    }
    return status;
}
