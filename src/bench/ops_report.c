/* The results of `vireo bench ops`, as a table and as JSON (ops_parts.h; docs/benchmarks.md names the members). */
#include <math.h>

#include "ops_parts.h"

static void print_number(FILE *out, int width, int digits, double value)
{
    if (isnan(value)) {
        fprintf(out, " %*s", width, "-");
    } else {
        fprintf(out, " %*.*f", width, digits, value);
    }
}

void ops_report_print(const struct ops_bench *bench, FILE *out)
{
    const struct bench_limits *limits = &bench->limits;
    bench_machine_print(&bench->machine, out);
    if (bench->has_limits) {
        fprintf(out, "%-12s one core, %s: %.0f GFLOP/s fp32, copying %.1f GB/s, reading", "limits", limits->arithmetic,
                limits->gflops, limits->copy_gb_s);
        for (uint32_t i = 0; i < BENCH_READ_SIZES; i++) {
            fprintf(out, "%s %zu KiB at %.1f", i > 0 ? "," : "", bench_limits_size(i) >> 10, limits->read_gb_s[i]);
        }
        fprintf(out, " GB/s\n");
    } else {
        fprintf(out, "%-12s of a device: bench/ceilings.cu\n", "limits");
    }
    fprintf(out, "\n%-32s %-44s %11s %9s %8s %7s %-10s %10s %7s\n", "operation", "shape", "us a call", "GFLOP/s",
            "GB/s", "ratio", "bound by", "queries/s", "recall");
    for (uint32_t i = 0; i < bench->results; i++) {
        const struct ops_result *r = &bench->result[i];
        fprintf(out, "%-32s %-44s %11.2f", r->name, r->shape, r->us);
        print_number(out, 9, 1, r->gflops);
        print_number(out, 8, 1, r->gb_s);
        print_number(out, 7, 2, r->ratio);
        fprintf(out, " %-10s", r->bound != NULL ? r->bound : "-");
        print_number(out, 10, 0, r->queries_per_s);
        print_number(out, 7, 4, r->recall);
        fputc('\n', out);
    }
    if (bench->left_out[0] != '\0') {
        fprintf(out, "left out: %s\n", bench->left_out);
    }
}

static void put_limits(struct vr_json_writer *w, const struct ops_bench *bench)
{
    const struct bench_limits *limits = &bench->limits;
    vr_json_key(w, "limits");
    if (!bench->has_limits) {
        vr_json_put_null(w);
        return;
    }
    vr_json_open_object(w);
    bench_json_text(w, "arithmetic", limits->arithmetic);
    bench_json_number(w, "gflops", limits->gflops);
    vr_json_key(w, "reading");
    vr_json_open_array(w);
    for (uint32_t i = 0; i < BENCH_READ_SIZES; i++) {
        vr_json_open_object(w);
        bench_json_count(w, "bytes", bench_limits_size(i));
        bench_json_number(w, "gb_s", limits->read_gb_s[i]);
        vr_json_close_object(w);
    }
    vr_json_close_array(w);
    bench_json_number(w, "copy_gb_s", limits->copy_gb_s);
    vr_json_close_object(w);
}

static void put_result(struct vr_json_writer *w, const struct ops_result *r)
{
    vr_json_open_object(w);
    bench_json_text(w, "operation", r->name);
    bench_json_text(w, "shape", r->shape);
    bench_json_count(w, "calls", r->calls);
    bench_json_number(w, "us", r->us);
    bench_json_number(w, "gflops", r->gflops);
    bench_json_number(w, "gb_s", r->gb_s);
    bench_json_number(w, "ratio", r->ratio);
    bench_json_text(w, "bound", r->bound);
    bench_json_number(w, "queries_per_s", r->queries_per_s);
    bench_json_number(w, "recall", r->recall);
    vr_json_close_object(w);
}

void ops_report_json(const struct ops_bench *bench, struct vr_json_writer *w)
{
    bench_json_begin(w, "ops");
    bench_json_hardware(w, &bench->machine);
    vr_json_key(w, "settings");
    vr_json_open_object(w);
    bench_json_text(w, "backend", vr_backend_ops_of(bench->backend)->name);
    bench_json_count(w, "rows", bench->setup.rows);
    bench_json_count(w, "dim", bench->setup.dim);
    bench_json_number(w, "seconds", bench->setup.seconds);
    bench_json_text(w, "left_out", bench->left_out[0] != '\0' ? bench->left_out : NULL);
    vr_json_close_object(w);
    put_limits(w, bench);
    vr_json_key(w, "results");
    vr_json_open_array(w);
    for (uint32_t i = 0; i < bench->results; i++) {
        put_result(w, &bench->result[i]);
    }
    vr_json_close_array(w);
    vr_json_close_object(w);
}
