/* The results of `vireo bench load`, as a table and as JSON (load_parts.h; docs/benchmarks.md names the members). */
#include "load_parts.h"

const char *const load_error_name[LOAD_ERRORS] = {"timeout", "closed", "protocol", "backlog", "connect"};
const char *const load_schedule_name[] = {"poisson", "constant", "step", "spike", "replay"};

double load_ms(const struct vr_histogram_fine *h, double quantile)
{
    return (double)vr_histogram_fine_quantile(h, quantile) / 1e6;
}

static void print_head(const struct load_bench *bench, FILE *out)
{
    const struct vr_bench_load_setup *setup = &bench->setup;
    fprintf(out, "%-12s %s%s, %u connections on %u threads, timeout %u ms\n", "target", bench->target.host,
            bench->target.path, setup->connections, setup->threads, setup->timeout_ms);
    fprintf(out, "%-12s %s, %.3g s after %.3g s of warm-up, seed %u\n", "schedule", load_schedule_name[setup->schedule],
            setup->seconds, setup->warm_up_s, setup->seed);
    bench_machine_print(&bench->machine, out);
}

static void print_histogram(const char *name, const struct vr_histogram_fine *h, FILE *out)
{
    if (h->count > 0) {
        fprintf(out, "%-12s %10llu %9.3f %9.3f %9.3f %9.3f %9.3f %9.3f\n", name, (unsigned long long)h->count,
                load_ms(h, 0.5), load_ms(h, 0.9), load_ms(h, 0.99), load_ms(h, 0.999), (double)h->max / 1e6,
                (double)h->sum / (double)h->count / 1e6);
    }
}

static void print_failures(const struct load_counts *counts, FILE *out)
{
    fprintf(out, "%-12s", "answers");
    for (uint32_t i = 0; i < LOAD_STATUSES; i++) {
        if (counts->status[i] > 0) {
            fprintf(out, "  %u: %llu", i, (unsigned long long)counts->status[i]);
        }
    }
    fprintf(out, "\n%-12s", "errors");
    for (uint32_t i = 0; i < LOAD_ERRORS; i++) {
        fprintf(out, "  %s: %llu", load_error_name[i], (unsigned long long)counts->error[i]);
    }
    fprintf(out, "\n%-12s  %llu answers", "degraded", (unsigned long long)counts->degraded.answers);
    for (uint32_t i = 0; i < counts->degraded.names; i++) {
        fprintf(out, "  %s: %llu", counts->degraded.name[i], (unsigned long long)counts->degraded.count[i]);
    }
    fputc('\n', out);
}

static void print_tries(const struct load_bench *bench, FILE *out)
{
    const struct vr_bench_load_setup *setup = &bench->setup;
    fprintf(out, "\nsearch: p99 under %.3g ms, at most %.3g %% without a 2xx answer and %.3g %% of those degraded\n",
            setup->p99_ms, 100.0 * setup->loss, 100.0 * setup->degraded);
    fprintf(out, "%12s %10s %10s %10s\n", "requests/s", "p99 ms", "lost", "degraded");
    for (uint32_t i = 0; i < bench->tries; i++) {
        const struct load_tried *tried = &bench->tried[i];
        fprintf(out, "%12.1f %10.3f %9.3f%% %9.3f%%  %s%s\n", tried->rate, tried->p99_ms, 100.0 * tried->lost,
                100.0 * tried->degraded, tried->passed ? "passed" : "failed",
                tried->sound ? "" : ", the generator was late");
    }
    if (bench->search.low > 0.0) {
        fprintf(out, "largest rate that passed: %.1f requests/s; its figures:\n", bench->search.low);
    } else {
        fprintf(out, "no rate passed; the figures of the smallest tried:\n");
    }
}

static void print_course(const struct load_bench *bench, FILE *out)
{
    const struct load_counts *counts = &bench->result.counts;
    if (bench->setup.schedule != VR_BENCH_STEP && bench->setup.schedule != VR_BENCH_SPIKE) {
        return;
    }
    fprintf(out, "\n%8s %10s %10s %10s %9s %9s\n", "from s", "sent/s", "ok/s", "lost", "p50 ms", "p99 ms");
    for (uint32_t i = 0; i < counts->intervals; i++) {
        const struct load_interval *one = &counts->interval[i];
        fprintf(out, "%8.2f %10.1f %10.1f %10llu %9.3f %9.3f\n", i * bench->setup.interval_s,
                (double)one->sent / bench->setup.interval_s, (double)one->ok / bench->setup.interval_s,
                (unsigned long long)one->lost, (double)vr_histogram_quantile(&one->us, 0.5) / 1e3,
                (double)vr_histogram_quantile(&one->us, 0.99) / 1e3);
    }
}

void load_report_print(const struct load_bench *bench, FILE *out)
{
    const struct load_result *result = &bench->result;
    const struct load_counts *counts = &result->counts;
    print_head(bench, out);
    if (bench->tries > 0) {
        print_tries(bench, out);
    }
    fprintf(out, "\n%-12s %.1f offered, %.1f answered with 2xx, a second; %llu requests, %.3f %% lost\n", "rate",
            result->offered, result->achieved, (unsigned long long)counts->offered, 100.0 * result->lost);
    fprintf(out, "%-12s %10s %9s %9s %9s %9s %9s %9s\n", "ms", "count", "p50", "p90", "p99", "p99.9", "max", "mean");
    print_histogram("latency", &counts->latency, out);
    print_histogram("other codes", &counts->rejected, out);
    print_histogram("own lag", &counts->lag, out);
    print_histogram("own wait", &counts->waited, out);
    print_failures(counts, out);
    fprintf(out, "%-12s busiest thread %.0f %% of a core; %s\n", "generator", 100.0 * result->cpu_share,
            result->sound ? "it kept up"
                          : "IT DID NOT KEEP UP: what is above holds its own delays (more threads, or fewer requests)");
    print_course(bench, out);
}

/* ---- JSON ---- */

static void put_histogram(struct vr_json_writer *w, const char *key, const struct vr_histogram_fine *h)
{
    vr_json_key(w, key);
    vr_json_open_object(w);
    bench_json_count(w, "count", h->count);
    bench_json_number(w, "p50", load_ms(h, 0.5));
    bench_json_number(w, "p90", load_ms(h, 0.9));
    bench_json_number(w, "p99", load_ms(h, 0.99));
    bench_json_number(w, "p999", load_ms(h, 0.999));
    bench_json_number(w, "max", (double)h->max / 1e6);
    bench_json_number(w, "mean", h->count > 0 ? (double)h->sum / (double)h->count / 1e6 : 0.0);
    vr_json_close_object(w);
}

static void put_settings(struct vr_json_writer *w, const struct load_bench *bench)
{
    const struct vr_bench_load_setup *setup = &bench->setup;
    vr_json_key(w, "settings");
    vr_json_open_object(w);
    bench_json_text(w, "url", setup->url);
    bench_json_text(w, "schedule", load_schedule_name[setup->schedule]);
    bench_json_text(w, "requests", setup->requests);
    bench_json_count(w, "different_requests", bench->requests.count);
    bench_json_number(w, "rate", setup->rate);
    bench_json_number(w, "seconds", setup->seconds);
    bench_json_number(w, "warm_up_s", setup->warm_up_s);
    bench_json_count(w, "connections", setup->connections);
    bench_json_count(w, "threads", setup->threads);
    bench_json_count(w, "timeout_ms", setup->timeout_ms);
    bench_json_count(w, "seed", setup->seed);
    vr_json_close_object(w);
}

static void put_failures(struct vr_json_writer *w, const struct load_counts *counts)
{
    char code[16];
    vr_json_key(w, "statuses");
    vr_json_open_object(w);
    for (uint32_t i = 0; i < LOAD_STATUSES; i++) {
        if (counts->status[i] > 0) {
            snprintf(code, sizeof code, "%u", i);
            bench_json_count(w, code, counts->status[i]);
        }
    }
    vr_json_close_object(w);
    vr_json_key(w, "errors");
    vr_json_open_object(w);
    for (uint32_t i = 0; i < LOAD_ERRORS; i++) {
        bench_json_count(w, load_error_name[i], counts->error[i]);
    }
    vr_json_close_object(w);
    vr_json_key(w, "degraded");
    vr_json_open_object(w);
    bench_json_count(w, "answers", counts->degraded.answers);
    vr_json_key(w, "reasons");
    vr_json_open_array(w);
    for (uint32_t i = 0; i < counts->degraded.names; i++) {
        vr_json_open_object(w);
        bench_json_text(w, "reason", counts->degraded.name[i]);
        bench_json_count(w, "count", counts->degraded.count[i]);
        vr_json_close_object(w);
    }
    vr_json_close_array(w);
    vr_json_close_object(w);
}

static void put_generator(struct vr_json_writer *w, const struct load_result *result)
{
    vr_json_key(w, "generator");
    vr_json_open_object(w);
    put_histogram(w, "lag_ms", &result->counts.lag);
    put_histogram(w, "wait_for_connection_ms", &result->counts.waited);
    bench_json_number(w, "cpu_share", result->cpu_share);
    vr_json_key(w, "sound");
    vr_json_put_bool(w, result->sound);
    vr_json_close_object(w);
}

static void put_course(struct vr_json_writer *w, const struct load_bench *bench)
{
    const struct load_counts *counts = &bench->result.counts;
    bench_json_number(w, "interval_s", bench->setup.interval_s);
    vr_json_key(w, "intervals");
    vr_json_open_array(w);
    for (uint32_t i = 0; i < counts->intervals; i++) {
        const struct load_interval *one = &counts->interval[i];
        vr_json_open_object(w);
        bench_json_count(w, "sent", one->sent);
        bench_json_count(w, "ok", one->ok);
        bench_json_count(w, "lost", one->lost);
        bench_json_number(w, "p50_ms", (double)vr_histogram_quantile(&one->us, 0.5) / 1e3);
        bench_json_number(w, "p99_ms", (double)vr_histogram_quantile(&one->us, 0.99) / 1e3);
        vr_json_close_object(w);
    }
    vr_json_close_array(w);
}

static void put_search(struct vr_json_writer *w, const struct load_bench *bench)
{
    vr_json_key(w, "search");
    vr_json_open_object(w);
    bench_json_number(w, "p99_ms", bench->setup.p99_ms);
    bench_json_number(w, "loss", bench->setup.loss);
    bench_json_number(w, "degraded", bench->setup.degraded);
    bench_json_number(w, "largest_rate", bench->search.low);
    vr_json_key(w, "tried");
    vr_json_open_array(w);
    for (uint32_t i = 0; i < bench->tries; i++) {
        vr_json_open_object(w);
        bench_json_number(w, "rate", bench->tried[i].rate);
        bench_json_number(w, "p99_ms", bench->tried[i].p99_ms);
        bench_json_number(w, "lost", bench->tried[i].lost);
        bench_json_number(w, "degraded", bench->tried[i].degraded);
        vr_json_key(w, "passed");
        vr_json_put_bool(w, bench->tried[i].passed);
        vr_json_key(w, "sound");
        vr_json_put_bool(w, bench->tried[i].sound);
        vr_json_close_object(w);
    }
    vr_json_close_array(w);
    vr_json_close_object(w);
}

void load_report_json(const struct load_bench *bench, struct vr_json_writer *w)
{
    const struct load_result *result = &bench->result;
    bench_json_begin(w, "load");
    bench_json_hardware(w, &bench->machine);
    put_settings(w, bench);
    if (bench->tries > 0) {
        put_search(w, bench);
    }
    bench_json_count(w, "offered", result->counts.offered);
    bench_json_count(w, "ok", result->counts.ok);
    bench_json_number(w, "offered_per_s", result->offered);
    bench_json_number(w, "achieved_per_s", result->achieved);
    bench_json_number(w, "lost", result->lost);
    bench_json_count(w, "bytes", result->counts.bytes);
    put_histogram(w, "latency_ms", &result->counts.latency);
    put_histogram(w, "other_codes_ms", &result->counts.rejected);
    put_failures(w, &result->counts);
    put_generator(w, result);
    put_course(w, bench);
    vr_json_close_object(w);
}
