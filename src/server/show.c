/* `vireo show` (commands.h): one feed of a running server as a table for people. */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "client.h"
#include "commands.h"
#include "vireo/json.h"

#define REPLY_DEPTH 16u
#define REPLY_BYTES_MAX (8u << 20)
#define TITLE_WIDTH 34
#define CREATOR_WIDTH 12
#define SOURCES_WIDTH 36
#define WHY_BYTES 256u

/* ---- reading: absent or odd members read as nothing, for this is a viewer, not a check ---- */

static struct vr_str text_of(struct vr_json_value object, const char *key)
{
    struct vr_json_value value;
    struct vr_str text = {"", 0};
    if (vr_json_get(object, key, &value) == VR_OK) {
        (void)vr_json_as_str(value, &text);
    }
    return text;
}

static double number_of(struct vr_json_value object, const char *key)
{
    struct vr_json_value value;
    double number = 0.0;
    if (vr_json_get(object, key, &value) == VR_OK) {
        (void)vr_json_as_double(value, &number);
    }
    return number;
}

static struct vr_json_iter members_of(struct vr_json_value object, const char *key)
{
    struct vr_json_value value;
    struct vr_json_iter nothing = {0};
    return vr_json_get(object, key, &value) == VR_OK ? vr_json_begin(value) : nothing;
}

/* ---- printing ---- */

/* Bytes of the character that begins at text[at], 1 at least. */
static size_t character(struct vr_str text, size_t at)
{
    size_t end = at + 1;
    while (end < text.len && ((unsigned char)text.data[end] & 0xc0) == 0x80) {
        end++;
    }
    return end - at;
}

/* C0, DEL and C1 (U+0080 to U+009F): titles come from uploaders, and a terminal obeys them. */
static bool is_control(struct vr_str text, size_t at)
{
    unsigned char first = (unsigned char)text.data[at];
    unsigned char second = at + 1 < text.len ? (unsigned char)text.data[at + 1] : 0;
    return first < 0x20 || first == 0x7f || (first == 0xc2 && second < 0xa0);
}

/* Print `text` in exactly `width` columns, one a character, filled up with spaces or cut with "~" at the end. Control
 * characters become spaces. */
static void print_cell(FILE *out, struct vr_str text, int width)
{
    int used = 0;
    for (size_t at = 0; at < text.len && used < width; used++) {
        size_t bytes = character(text, at);
        bool control = is_control(text, at);
        if (used == width - 1 && at + bytes < text.len) {
            fputc('~', out);
        } else if (control) {
            fputc(' ', out);
        } else {
            fwrite(text.data + at, 1, bytes, out);
        }
        at += bytes;
    }
    fprintf(out, "%*s ", width - used, "");
}

__attribute__((format(printf, 2, 3))) static void append(char *text, const char *format, ...)
{
    size_t len = strlen(text);
    va_list args;
    va_start(args, format);
    vsnprintf(text + len, WHY_BYTES - len, format, args);
    va_end(args);
}

/* "two_tower 3, social 1": where the video was found and its rank there. */
static void describe_sources(struct vr_json_value item, char *out)
{
    struct vr_json_iter it = members_of(item, "sources");
    struct vr_json_value source;
    out[0] = '\0';
    while (vr_json_next(&it, NULL, &source)) {
        struct vr_str name = text_of(source, "name");
        append(out, "%s%.*s %.0f", out[0] != '\0' ? ", " : "", (int)name.len, name.data, number_of(source, "rank"));
    }
}

/* The term that gives most of the score. */
static void describe_terms(struct vr_json_value trace, char *out)
{
    struct vr_json_iter it = members_of(trace, "terms");
    struct vr_json_value value;
    struct vr_str key, best = {"", 0};
    double most = 0.0;
    while (vr_json_next(&it, &key, &value)) {
        double number = 0.0;
        (void)vr_json_as_double(value, &number);
        if (best.len == 0 || number > most) {
            best = key;
            most = number;
        }
    }
    if (best.len > 0) {
        append(out, ", most from %.*s (%.2f)", (int)best.len, best.data, most);
    }
}

static void describe_moves(struct vr_json_value trace, char *out)
{
    struct vr_json_iter it = members_of(trace, "moves");
    struct vr_json_value move;
    while (vr_json_next(&it, NULL, &move)) {
        struct vr_str kind = text_of(move, "kind"), rule = text_of(move, "rule");
        const char *words = vr_str_equal(kind, vr_str_of("lifted")) ? "lifted for"
                            : vr_str_equal(kind, vr_str_of("held")) ? "held back by"
                                                                    : "gave way:";
        append(out, "; %s %.*s", words, (int)rule.len, rule.data);
        if (vr_str_equal(kind, vr_str_of("held"))) {
            append(out, " at %.0f", number_of(move, "position"));
        }
    }
}

/* "4th by score, most from finishes (0.41); lifted for freshness". */
static void describe_place(struct vr_json_value item, char *out)
{
    struct vr_json_value trace;
    out[0] = '\0';
    if (vr_json_get(item, "trace", &trace) == VR_OK) {
        append(out, "no. %.0f by score", number_of(trace, "score_rank"));
        describe_terms(trace, out);
        describe_moves(trace, out);
    }
}

static void print_item(struct vr_json_value item, FILE *out)
{
    char sources[WHY_BYTES], why[WHY_BYTES];
    struct vr_json_value heads;
    describe_sources(item, sources);
    describe_place(item, why);
    fprintf(out, "%3.0f ", number_of(item, "position"));
    struct vr_str title = text_of(item, "title");
    print_cell(out, title.len > 0 ? title : text_of(item, "id"), TITLE_WIDTH);
    print_cell(out, text_of(item, "creator"), CREATOR_WIDTH);
    print_cell(out, vr_str_of(sources), SOURCES_WIDTH);
    if (vr_json_get(item, "heads", &heads) == VR_OK) {
        fprintf(out, "%6.3f %7.1f %6.3f %6.3f ", number_of(heads, "click"), number_of(heads, "watch_s"),
                number_of(heads, "like"), number_of(heads, "finish"));
    }
    fprintf(out, "%7.3f  %s\n", number_of(item, "score"), why);
}

static void print_coverage(struct vr_json_value root, FILE *out)
{
    struct vr_json_value coverage, source, entry;
    if (vr_json_get(root, "coverage", &coverage) != VR_OK) {
        return;
    }
    struct vr_json_iter it = members_of(coverage, "sources");
    fprintf(out, "sources:");
    while (vr_json_next(&it, NULL, &source)) {
        struct vr_str name = text_of(source, "name"), status = text_of(source, "status");
        fprintf(out, "  %.*s %.*s %.0f", (int)name.len, name.data, (int)status.len, status.data,
                number_of(source, "returned"));
    }
    it = members_of(coverage, "degraded");
    for (bool first = true; vr_json_next(&it, NULL, &entry); first = false) {
        struct vr_str text = {"", 0};
        (void)vr_json_as_str(entry, &text);
        fprintf(out, "%s%.*s", first ? "\ndegraded: " : ", ", (int)text.len, text.data);
    }
    fputc('\n', out);
}

static void print_took(struct vr_json_value root, FILE *out)
{
    struct vr_json_value took;
    if (vr_json_get(root, "took_us", &took) == VR_OK) {
        fprintf(out, "took (us): queue %.0f, retrieve %.0f, merge %.0f, rank %.0f, rerank %.0f\n",
                number_of(took, "queue"), number_of(took, "retrieve"), number_of(took, "merge"),
                number_of(took, "rank"), number_of(took, "rerank"));
    }
}

static void print_feed(struct vr_json_value root, const char *user, FILE *out)
{
    struct vr_str version = text_of(root, "model_version"), id = text_of(root, "request_id");
    fprintf(out, "feed of viewer %s, model %.*s, request %.*s\n\n", user, (int)version.len, version.data, (int)id.len,
            id.data);
    fprintf(out, "%3s ", "pos");
    print_cell(out, vr_str_of("title"), TITLE_WIDTH);
    print_cell(out, vr_str_of("creator"), CREATOR_WIDTH);
    print_cell(out, vr_str_of("sources (rank there)"), SOURCES_WIDTH);
    fprintf(out, "%6s %7s %6s %6s %7s  %s\n", "click", "watch_s", "like", "finish", "score", "why it is there");
    struct vr_json_iter it = members_of(root, "items");
    struct vr_json_value item;
    while (vr_json_next(&it, NULL, &item)) {
        print_item(item, out);
    }
    fputc('\n', out);
    print_coverage(root, out);
    print_took(root, out);
}

static enum vr_status print_answer(const struct vr_client_answer *answer, const char *user, FILE *out)
{
    struct vr_json *json = NULL;
    struct vr_json_value root;
    enum vr_status status = vr_json_create(REPLY_BYTES_MAX, REPLY_DEPTH, &json);
    if (status == VR_OK) {
        status = vr_json_parse(json, answer->body, answer->body_len, &root);
    }
    if (status == VR_OK && answer->status != 200) {
        struct vr_str detail = text_of(root, "detail");
        status = vr_fail(VR_ERR_INVALID, "the server answered %d: %.*s", answer->status, (int)detail.len, detail.data);
    } else if (status == VR_OK) {
        print_feed(root, user, out);
    }
    vr_json_destroy(json);
    return status;
}

enum vr_status vr_show_feed(const char *server, const char *user, uint32_t count, FILE *out)
{
    struct vr_json_writer body = {0};
    vr_json_open_object(&body);
    vr_json_key(&body, "user_id");
    vr_json_put_text(&body, user);
    vr_json_key(&body, "count");
    vr_json_put_uint(&body, count);
    vr_json_key(&body, "explain");
    vr_json_put_bool(&body, true);
    vr_json_close_object(&body);
    if (body.failed) {
        vr_json_writer_destroy(&body);
        return vr_fail(VR_ERR_NOMEM, "no memory for the request");
    }
    struct vr_client_answer answer;
    enum vr_status status = vr_client_post(server, "/v1/recommend", body.data, body.len, &answer);
    vr_json_writer_destroy(&body);
    if (status == VR_OK) {
        status = print_answer(&answer, user, out);
        free(answer.data);
    }
    return status;
}
