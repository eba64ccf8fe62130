/* The ranker of a bundle: inputs, levels of experts and gates, tasks (docs/bundle.md, "Ranker"). */
#include <math.h>
#include <stdio.h>

#include "bundle_parts.h"
#include "manifest.h"
#include "text.h"

#define SIZE_LIMIT 4096u

static enum vr_status read_inputs(struct vr_bundle *bundle, struct vr_json_value spec)
{
    struct vr_json_value inputs;
    enum vr_status status = vr_manifest_array(spec, "ranker", "inputs", 1, 4096, &inputs);
    if (status != VR_OK) {
        return status;
    }
    struct vr_ranker *ranker = &bundle->ranker;
    for (uint32_t e = 0; status == VR_OK && e < VR_ENTITY_COUNT; e++) {
        status = vr_feature_block_create(bundle->features, inputs, (enum vr_entity)e, &ranker->block[e]);
        ranker->width += status == VR_OK ? ranker->block[e].width : 0;
    }
    return status == VR_OK ? VR_OK : vr_fail_in(status, "ranker");
}

/* An array of `count` whole numbers below `limit`. */
static enum vr_status read_numbers(struct vr_json_value spec, const char *where, const char *key, uint32_t count,
                                   uint32_t limit, uint32_t *out)
{
    struct vr_json_value list, value;
    enum vr_status status = vr_manifest_array(spec, where, key, count, count, &list);
    if (status != VR_OK) {
        return status;
    }
    for (struct vr_json_iter it = vr_json_begin(list); vr_json_next(&it, NULL, &value); out++) {
        int64_t number;
        if (vr_json_as_int(value, &number) != VR_OK || number < 0 || number >= limit) {
            return vr_fail(VR_ERR_FORMAT, "%s: '%s' must hold whole numbers below %u", where, key, limit);
        }
        *out = (uint32_t)number;
    }
    return VR_OK;
}

/* The experts that a gate lists, as bits. */
static enum vr_status read_listed(struct vr_json_value spec, const char *where, uint32_t experts, uint64_t *bits)
{
    struct vr_json_value list;
    uint32_t listed[VR_EXPERTS_MAX];
    enum vr_status status = vr_manifest_array(spec, where, "experts", 1, experts, &list);
    uint32_t count = status == VR_OK ? (uint32_t)vr_json_count(list) : 0;
    if (status == VR_OK) {
        status = read_numbers(spec, where, "experts", count, experts, listed);
    }
    *bits = 0;
    for (uint32_t i = 0; status == VR_OK && i < count; i++) {
        uint64_t bit = UINT64_C(1) << listed[i];
        if (*bits & bit) {
            return vr_fail(VR_ERR_FORMAT, "%s: 'experts' lists %u twice", where, listed[i]);
        }
        *bits |= bit;
    }
    return status;
}

static enum vr_status take_gate_name(struct vr_bundle *bundle, const struct vr_level *level, const char *where,
                                     struct vr_str name, struct vr_gate *gate)
{
    if (!vr_text_is_identifier(name)) {
        return vr_fail(VR_ERR_FORMAT, "%s: the name '%s' of a gate must be [a-z][a-z0-9_]*", where, vr_show(name).text);
    }
    for (uint32_t g = 0; g < level->gates; g++) {
        if (vr_str_equal(level->gate[g].name, name)) {
            return vr_fail(VR_ERR_FORMAT, "%s: there are two gates '%s'", where, vr_show(name).text);
        }
    }
    gate->name = vr_arena_copy(bundle->storage->arena, name);
    return gate->name.data == NULL ? VR_ERR_NOMEM : VR_OK;
}

static enum vr_status read_gate(struct vr_bundle *bundle, struct vr_json_value entry, const char *where,
                                struct vr_level *level)
{
    struct vr_gate *gate = &level->gate[level->gates];
    struct vr_str name = {NULL, 0};
    enum vr_status status = vr_manifest_keys(entry, where, "name input experts");
    if (status == VR_OK) {
        status = vr_manifest_str(entry, where, "name", 64, &name);
    }
    if (status == VR_OK) {
        status = take_gate_name(bundle, level, where, name, gate);
    }
    if (status == VR_OK) {
        status = vr_manifest_u32(entry, where, "input", 0, level->inputs - 1, &gate->input);
    }
    if (status == VR_OK) {
        status = read_listed(entry, where, level->experts, &gate->experts);
    }
    level->gates += status == VR_OK;
    return status;
}

static enum vr_status read_gates(struct vr_bundle *bundle, struct vr_json_value spec, const char *where,
                                 struct vr_level *level)
{
    struct vr_json_value gates, entry;
    enum vr_status status = vr_manifest_array(spec, where, "gates", 1, VR_GATES_MAX, &gates);
    if (status != VR_OK) {
        return status;
    }
    for (struct vr_json_iter it = vr_json_begin(gates); status == VR_OK && vr_json_next(&it, NULL, &entry);) {
        status = read_gate(bundle, entry, where, level);
    }
    return status;
}

/* What bundle.json says of a level; `in` and `inputs` are set. */
static enum vr_status read_wiring(struct vr_bundle *bundle, struct vr_json_value spec, const char *where,
                                  struct vr_level *level)
{
    enum vr_status status = vr_manifest_keys(spec, where, "experts hidden width expert_input gates");
    if (status == VR_OK) {
        status = vr_manifest_u32(spec, where, "experts", 1, VR_EXPERTS_MAX, &level->experts);
    }
    if (status == VR_OK) {
        status = vr_manifest_u32(spec, where, "hidden", 1, SIZE_LIMIT, &level->hidden);
    }
    if (status == VR_OK) {
        status = vr_manifest_u32(spec, where, "width", 1, SIZE_LIMIT, &level->width);
    }
    if (status == VR_OK) {
        status = read_numbers(spec, where, "expert_input", level->experts, level->inputs, level->expert_input);
    }
    return status == VR_OK ? read_gates(bundle, spec, where, level) : status;
}

static enum vr_status claim_part(struct vr_bundle *bundle, const char *prefix, const char *part, struct vr_shape shape,
                                 const float **out)
{
    char name[128];
    snprintf(name, sizeof name, "%s.%s", prefix, part);
    return vr_claim_f32(&bundle->storage->file[VR_FILE_WEIGHTS].claims, name, shape, out);
}

static enum vr_status claim_level(struct vr_bundle *bundle, uint32_t number, struct vr_level *level)
{
    const uint32_t e = level->experts, h = level->hidden, o = level->width, g = level->gates, in = level->in;
    const struct {
        const char *part;
        struct vr_shape shape;
        const float **out;
    } parts[] = {
        {"w1", VR_SHAPE_3(e, h, in), &level->w1},         {"b1", VR_SHAPE_2(e, h), &level->b1},
        {"w2", VR_SHAPE_3(e, o, h), &level->w2},          {"b2", VR_SHAPE_2(e, o), &level->b2},
        {"gate.w", VR_SHAPE_3(g, e, in), &level->gate_w}, {"gate.b", VR_SHAPE_2(g, e), &level->gate_b},
    };
    char prefix[32];
    enum vr_status status = VR_OK;
    snprintf(prefix, sizeof prefix, "ranker.level%u", number);
    for (size_t i = 0; status == VR_OK && i < sizeof parts / sizeof *parts; i++) {
        status = claim_part(bundle, prefix, parts[i].part, parts[i].shape, parts[i].out);
    }
    return vr_in_file(status, VR_FILE_WEIGHTS);
}

static enum vr_status read_levels(struct vr_bundle *bundle, struct vr_json_value spec)
{
    struct vr_ranker *ranker = &bundle->ranker;
    struct vr_json_value levels, entry;
    enum vr_status status = vr_in_json(vr_manifest_array(spec, "ranker", "levels", 1, VR_LEVELS_MAX, &levels));
    if (status != VR_OK) {
        return status;
    }
    uint32_t in = ranker->width, inputs = 1;
    for (struct vr_json_iter it = vr_json_begin(levels); vr_json_next(&it, NULL, &entry); ranker->level_count++) {
        struct vr_level *level = &ranker->level[ranker->level_count];
        char where[32];
        snprintf(where, sizeof where, "ranker level %u", ranker->level_count);
        level->in = in;
        level->inputs = inputs;
        status = vr_in_json(read_wiring(bundle, entry, where, level));
        if (status == VR_OK) {
            status = claim_level(bundle, ranker->level_count, level);
        }
        if (status != VR_OK) {
            return status;
        }
        in = level->width;
        inputs = level->gates;
    }
    return VR_OK;
}

static enum vr_status read_widths(struct vr_json_value entry, const char *where, enum vr_head head,
                                  struct vr_task *task)
{
    struct vr_json_value widths, value;
    size_t most = head == VR_HEAD_WATCH_S ? VR_WIDTHS_MAX : 1;
    enum vr_status status = vr_manifest_array(entry, where, "widths", 1, most, &widths);
    if (status != VR_OK) {
        return status;
    }
    for (struct vr_json_iter it = vr_json_begin(widths); vr_json_next(&it, NULL, &value); task->outputs++) {
        double width;
        if (vr_json_as_double(value, &width) != VR_OK || !isfinite((float)width) || !((float)width > 0)) {
            return vr_fail(VR_ERR_FORMAT, "%s: 'widths' must hold numbers above 0", where);
        }
        task->widths[task->outputs] = (float)width;
    }
    if (head != VR_HEAD_WATCH_S && task->widths[0] != 1.0f) {
        return vr_fail(VR_ERR_FORMAT, "%s: 'widths' of a probability must be [1]", where);
    }
    return VR_OK;
}

static enum vr_status claim_task(struct vr_bundle *bundle, enum vr_head head, struct vr_task *task)
{
    const struct vr_ranker *ranker = &bundle->ranker;
    const uint32_t hidden = ranker->tower_hidden, width = ranker->level[ranker->level_count - 1].width;
    char prefix[32];
    snprintf(prefix, sizeof prefix, "ranker.task.%s", vr_head_name(head));
    enum vr_status status = claim_part(bundle, prefix, "w1", VR_SHAPE_2(hidden, width), &task->w1);
    if (status == VR_OK) {
        status = claim_part(bundle, prefix, "b1", VR_SHAPE_1(hidden), &task->b1);
    }
    if (status == VR_OK) {
        status = claim_part(bundle, prefix, "w2", VR_SHAPE_2(task->outputs, hidden), &task->w2);
    }
    if (status == VR_OK) {
        status = claim_part(bundle, prefix, "b2", VR_SHAPE_1(task->outputs), &task->b2);
    }
    return vr_in_file(status, VR_FILE_WEIGHTS);
}

static enum vr_status read_task(struct vr_bundle *bundle, struct vr_json_value entry, enum vr_head head)
{
    struct vr_ranker *ranker = &bundle->ranker;
    struct vr_task *task = &ranker->task[head];
    char where[32];
    uint32_t word;
    snprintf(where, sizeof where, "ranker task '%s'", vr_head_name(head));
    enum vr_status status = vr_manifest_keys(entry, where, "name gate widths");
    if (status == VR_OK) {
        status = vr_manifest_word(entry, where, "name", vr_head_name(head), &word);
    }
    if (status == VR_OK) {
        uint32_t gates = ranker->level[ranker->level_count - 1].gates;
        status = vr_manifest_u32(entry, where, "gate", 0, gates - 1, &task->gate);
    }
    if (status == VR_OK) {
        status = read_widths(entry, where, head, task);
    }
    return status == VR_OK ? claim_task(bundle, head, task) : vr_in_json(status);
}

static enum vr_status read_tasks(struct vr_bundle *bundle, struct vr_json_value spec)
{
    struct vr_json_value tasks, entry;
    enum vr_status status =
        vr_manifest_u32(spec, "ranker", "tower_hidden", 1, SIZE_LIMIT, &bundle->ranker.tower_hidden);
    if (status == VR_OK) {
        status = vr_manifest_array(spec, "ranker", "tasks", VR_HEAD_COUNT, VR_HEAD_COUNT, &tasks);
    }
    if (status != VR_OK) {
        return vr_in_json(status);
    }
    uint32_t head = 0;
    for (struct vr_json_iter it = vr_json_begin(tasks); status == VR_OK && vr_json_next(&it, NULL, &entry); head++) {
        status = read_task(bundle, entry, (enum vr_head)head);
    }
    return status;
}

/* The label, which is for reports. */
static enum vr_status read_architecture(struct vr_bundle *bundle, struct vr_json_value spec)
{
    uint32_t word;
    struct vr_str name = {NULL, 0};
    enum vr_status status = vr_manifest_word(spec, "ranker", "architecture", "hard moe mmoe ple", &word);
    if (status == VR_OK) {
        status = vr_manifest_str(spec, "ranker", "architecture", sizeof bundle->ranker.architecture - 1, &name);
    }
    if (status == VR_OK) {
        memcpy(bundle->ranker.architecture, name.data, name.len);
    }
    return status;
}

enum vr_status vr_bundle_read_ranker(struct vr_bundle *bundle, struct vr_json_value root)
{
    struct vr_json_value spec;
    enum vr_status status = vr_manifest_get(root, "", "ranker", VR_JSON_OBJECT, &spec);
    if (status == VR_OK) {
        status = vr_manifest_keys(spec, "ranker", "architecture inputs levels tower_hidden tasks");
    }
    if (status == VR_OK) {
        status = read_architecture(bundle, spec);
    }
    if (status == VR_OK) {
        status = read_inputs(bundle, spec);
    }
    if (status != VR_OK) {
        return vr_in_json(status);
    }
    status = read_levels(bundle, spec);
    return status == VR_OK ? read_tasks(bundle, spec) : status;
}
