/* The log's lines, read back from standard error, and the clocks they carry. */
#include "vireo/log.h"

#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "vireo/clock.h"

static int saved_stderr;
static FILE *captured;

static void capture(void)
{
    captured = tmpfile();
    fflush(stderr);
    saved_stderr = dup(STDERR_FILENO);
    dup2(fileno(captured), STDERR_FILENO);
}

/* Puts standard error back; what was written is in `text`. */
static size_t captured_text(char *text, size_t size)
{
    dup2(saved_stderr, STDERR_FILENO);
    close(saved_stderr);
    fseek(captured, 0, SEEK_SET);
    size_t len = fread(text, 1, size - 1, captured);
    text[len] = '\0';
    fclose(captured);
    return len;
}

Test(log, a_line_has_time_level_event_and_pairs)
{
    char text[4096];
    char level[16];
    char event[32];
    int year = 0;
    capture();
    vr_log(VR_LOG_WARN, "bundle_loaded", "version=%s videos=%d", "v1", 7);
    captured_text(text, sizeof text);
    cr_assert_eq(sscanf(text, "ts=%4d-%*2d-%*2dT%*2d:%*2d:%*2d.%*3dZ level=%15s event=%31s", &year, level, event), 3);
    cr_assert_geq(year, 2024);
    cr_assert_str_eq(level, "warn");
    cr_assert_str_eq(event, "bundle_loaded");
    cr_assert_str_eq(strstr(text, "event="), "event=bundle_loaded version=v1 videos=7\n");
}

Test(log, lines_below_the_level_are_dropped)
{
    char text[4096];
    capture();
    vr_log(VR_LOG_DEBUG, "hidden", "a=1");
    vr_log_set_level(VR_LOG_ERROR);
    vr_log(VR_LOG_WARN, "hidden_too", "a=1");
    vr_log(VR_LOG_ERROR, "shown", "a=1");
    captured_text(text, sizeof text);
    cr_assert_null(strstr(text, "hidden"));
    cr_assert_not_null(strstr(text, "event=shown a=1\n"));
}

Test(log, control_bytes_cannot_make_a_second_line)
{
    char text[4096];
    capture();
    vr_log(VR_LOG_INFO, "x", "v=%s", "a\nb\rc\x1b[31m");
    captured_text(text, sizeof text);
    cr_assert_not_null(strstr(text, "v=a\\nb\\x0dc\\x1b[31m\n"));
    cr_assert_eq(strchr(text, '\n'), text + strlen(text) - 1);
}

Test(log, a_long_line_is_cut_and_still_ends)
{
    char text[8192];
    char value[5000];
    memset(value, 'y', sizeof value - 1);
    value[sizeof value - 1] = '\0';
    capture();
    vr_log(VR_LOG_INFO, "x", "v=%s", value);
    vr_log(VR_LOG_INFO, value, "v=%s", value);
    memset(value, '\n', sizeof value - 1);
    vr_log(VR_LOG_INFO, "x", "v=%s", value);
    size_t len = captured_text(text, sizeof text);
    size_t lines = 0;
    for (size_t at = 0, begin = 0; at < len; at++) {
        if (text[at] == '\n') {
            cr_assert_leq(at - begin, 2047);
            begin = at + 1;
            lines++;
        }
    }
    cr_assert_eq(lines, 3);
}

Test(clock, clocks_agree_with_the_system)
{
    uint64_t before = vr_clock_mono_us();
    int64_t wall = vr_clock_wall_ms();
    struct timespec pause = {0, 20000000};
    nanosleep(&pause, NULL);
    cr_assert_geq(vr_clock_mono_us() - before, 20000);
    cr_assert_geq(vr_clock_wall_ms() - wall, 19);
    int64_t now_s = (int64_t)time(NULL);
    cr_assert_geq(now_s, wall / 1000);
    cr_assert_leq(now_s, wall / 1000 + 60);
}
