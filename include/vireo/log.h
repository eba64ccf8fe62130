/* The program's own log: one logfmt line an event on standard error, written with one write(2).
 * `vr_log(VR_LOG_INFO, "bundle_loaded", "version=%s videos=%u", v, n)` prints
 * `ts=2026-01-02T03:04:05.678Z level=info event=bundle_loaded version=... videos=...`. Safe from any thread. */
#ifndef VIREO_LOG_H
#define VIREO_LOG_H

#ifdef __cplusplus
extern "C" {
#endif

enum vr_log_level { VR_LOG_DEBUG = 0, VR_LOG_INFO, VR_LOG_WARN, VR_LOG_ERROR };

/* Lines below `level` are dropped. Default VR_LOG_INFO. Set before threads start. */
void vr_log_set_level(enum vr_log_level level);

/* `event` is a snake_case name; `format` gives key=value pairs. Line breaks in values are escaped; a line is cut at
 * 2,047 bytes. */
void vr_log(enum vr_log_level level, const char *event, const char *format, ...) __attribute__((format(printf, 3, 4)));

#ifdef __cplusplus
}
#endif
#endif
