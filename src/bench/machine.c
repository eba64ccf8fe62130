/* Machine, commit and result file (machine.h). */
#include "machine.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vireo/bench.h"
#include "vireo/clock.h"

void bench_machine_read(struct bench_machine *out)
{
    char line[256];
    FILE *info = fopen("/proc/cpuinfo", "r");
    *out = (struct bench_machine){.cpu = "unknown", .host = "unknown", .cores = sysconf(_SC_NPROCESSORS_ONLN)};
    while (info != NULL && fgets(line, sizeof line, info) != NULL) {
        if (strncmp(line, "model name", 10) == 0 && strchr(line, ':') != NULL) {
            line[strcspn(line, "\n")] = '\0';
            snprintf(out->cpu, sizeof out->cpu, "%.90s", strchr(line, ':') + 2);
            break;
        }
    }
    if (info != NULL) {
        fclose(info);
    }
    (void)gethostname(out->host, sizeof out->host - 1);
    if (getloadavg(&out->load, 1) != 1) {
        out->load = NAN;
    }
}

void bench_machine_print(const struct bench_machine *machine, FILE *out)
{
    fprintf(out, "%-12s %s, %ld cores, load %.1f at start\n", "machine", machine->cpu, machine->cores, machine->load);
    fprintf(out, "%-12s %s\n", "commit", vr_commit);
}

void bench_json_number(struct vr_json_writer *w, const char *key, double value)
{
    vr_json_key(w, key);
    vr_json_put_double(w, value);
}

void bench_json_count(struct vr_json_writer *w, const char *key, uint64_t value)
{
    vr_json_key(w, key);
    vr_json_put_uint(w, value);
}

void bench_json_text(struct vr_json_writer *w, const char *key, const char *value)
{
    vr_json_key(w, key);
    vr_json_put_text(w, value);
}

void bench_json_begin(struct vr_json_writer *w, const char *bench)
{
    vr_json_open_object(w);
    bench_json_text(w, "bench", bench);
    bench_json_text(w, "commit", vr_commit);
    vr_json_key(w, "time_ms");
    vr_json_put_int(w, vr_clock_wall_ms());
}

void bench_json_open_hardware(struct vr_json_writer *w, const struct bench_machine *machine)
{
    vr_json_key(w, "hardware");
    vr_json_open_object(w);
    bench_json_text(w, "cpu", machine->cpu);
    bench_json_count(w, "cores", (uint64_t)machine->cores);
    bench_json_text(w, "host", machine->host);
    bench_json_number(w, "load_average", machine->load);
}

void bench_json_hardware(struct vr_json_writer *w, const struct bench_machine *machine)
{
    bench_json_open_hardware(w, machine);
    vr_json_close_object(w);
}

enum vr_status bench_file_open(const char *path, struct bench_file *out)
{
    *out = (struct bench_file){.path = path};
    if (path == NULL) {
        return VR_OK;
    }
    if ((size_t)snprintf(out->beside, sizeof out->beside, "%s.part", path) >= sizeof out->beside) {
        return vr_fail(VR_ERR_INVALID, "--json: the path is too long");
    }
    out->file = fopen(out->beside, "w");
    return out->file != NULL ? VR_OK : vr_fail(VR_ERR_IO, "--json: %s: %s", out->beside, strerror(errno));
}

static enum vr_status write_out(const struct vr_json_writer *w, FILE *file)
{
    if (w->failed) {
        return vr_fail(VR_ERR_NOMEM, "no memory for the results");
    }
    if (fwrite(w->data, 1, w->len, file) != w->len || fputc('\n', file) == EOF) {
        return vr_fail(VR_ERR_IO, "--json: %s", strerror(errno));
    }
    return VR_OK;
}

enum vr_status bench_file_finish(struct bench_file *file, const struct vr_json_writer *w, enum vr_status status)
{
    if (file->file == NULL) {
        return status;
    }
    if (status == VR_OK) {
        status = write_out(w, file->file);
    }
    const bool closed = fclose(file->file) == 0;
    if (status == VR_OK && (!closed || rename(file->beside, file->path) != 0)) {
        status = vr_fail(VR_ERR_IO, "--json: %s: %s", file->path, strerror(errno));
    }
    if (status != VR_OK) {
        (void)unlink(file->beside);
    }
    return status;
}
