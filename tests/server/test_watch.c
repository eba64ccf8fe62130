/* What a watched folder offers and when that is loaded, and what a worker leaves for the next one. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/role.h"
#include "server/watch.h"

static char root[] = "/tmp/vireo-watch-XXXXXX";

static void make_root(void)
{
    cr_assert_not_null(mkdtemp(root));
}

static void drop_root(void)
{
    char command[64];
    snprintf(command, sizeof command, "rm -rf %s", root);
    cr_assert_eq(system(command), 0);
}

/* A folder under the root with a bundle.json that was written at a second of 2001. */
static void put(const char *name, long second)
{
    char path[256];
    struct timespec times[2] = {{.tv_sec = 1000000000 + second}, {.tv_sec = 1000000000 + second}};
    snprintf(path, sizeof path, "%s/%s", root, name);
    (void)mkdir(path, 0700);
    snprintf(path, sizeof path, "%s/%s/bundle.json", root, name);
    FILE *file = fopen(path, "w");
    cr_assert_not_null(file);
    fputs("{}", file);
    fclose(file);
    cr_assert_eq(utimensat(AT_FDCWD, path, times, 0), 0);
}

static const char *offered(const char *folder)
{
    static struct vr_offer offer;
    return vr_watch_look(folder, &offer) ? strrchr(offer.path, '/') + 1 : "none";
}

Test(watch, the_newest_complete_bundle_is_offered, .init = make_root, .fini = drop_root)
{
    char path[256];
    cr_expect_str_eq(offered(root), "none");
    cr_expect_str_eq(offered("/nowhere/at/all"), "none");
    snprintf(path, sizeof path, "%s/incomplete", root);
    cr_assert_eq(mkdir(path, 0700), 0);
    cr_expect_str_eq(offered(root), "none");
    put("b", 5);
    put("a", 3);
    put(".hidden", 9);
    cr_expect_str_eq(offered(root), "b");
    put("a", 7);
    cr_expect_str_eq(offered(root), "a");
    put("b", 7);
    cr_expect_str_eq(offered(root), "b", "the later name where the times are equal");
    snprintf(path, sizeof path, "%s/a", root);
    cr_expect_str_eq(offered(path), "a", "a bundle itself");
}

static struct vr_mark mark(uint64_t inode)
{
    return (struct vr_mark){.device = 1, .inode = inode, .mtime_ns = 5, .bytes = 2};
}

static bool wants(struct vr_folder_watch *watch, uint64_t inode, uint64_t serving)
{
    struct vr_mark offer = inode != 0 ? mark(inode) : (struct vr_mark){0}, now = mark(serving);
    return vr_watch_wants(watch, &offer, &now);
}

Test(watch, an_offer_is_wanted_once_it_has_settled_and_once_only)
{
    struct vr_folder_watch watch = {.tried = {0}};
    cr_expect_not(wants(&watch, 2, 1), "seen for the first time");
    cr_expect(wants(&watch, 2, 1));
    cr_expect_not(wants(&watch, 2, 1), "it may have been refused");
    cr_expect_not(wants(&watch, 3, 2));
    cr_expect_not(wants(&watch, 4, 2), "changed meanwhile");
    cr_expect_not(wants(&watch, 0, 2), "gone");
    cr_expect_not(wants(&watch, 4, 2));
    cr_expect(wants(&watch, 4, 2));
}

Test(watch, what_serves_is_not_wanted_and_counts_as_tried)
{
    struct vr_folder_watch watch = {.tried = {0}};
    for (int look = 0; look < 3; look++) {
        cr_expect_not(wants(&watch, 1, 1));
    }
    cr_expect_not(wants(&watch, 1, 2), "another one was loaded by hand");
    cr_expect_not(wants(&watch, 1, 2));
}

Test(watch, a_mark_is_of_size_and_time_and_place)
{
    struct vr_mark a = mark(1);
    for (int member = 0; member < 4; member++) {
        struct vr_mark b = a;
        cr_expect(vr_mark_equal(&a, &b));
        b.device += member == 0;
        b.inode += member == 1;
        b.mtime_ns += member == 2;
        b.bytes += member == 3;
        cr_expect_not(vr_mark_equal(&a, &b));
    }
}

/* ---- notes and roles ---- */

Test(role, a_note_is_read_as_it_was_written_and_nothing_is_empty)
{
    int fd = -1;
    struct vr_note out, note = {.tried = mark(7), .bundle = "/bundles/v2"};
    vr_note_read(-1, &out);
    cr_expect_str_eq(out.bundle, "");
    vr_note_write(-1, &note);
    cr_assert_eq(vr_note_create(&fd), VR_OK);
    vr_note_read(fd, &out);
    cr_expect_str_eq(out.bundle, "");
    vr_note_write(fd, &note);
    vr_note_read(fd, &out);
    cr_expect_str_eq(out.bundle, "/bundles/v2");
    cr_expect(vr_mark_equal(&out.tried, &note.tried));
    close(fd);
}

Test(role, a_worker_and_a_probe_read_what_they_were_given)
{
    struct vr_role out, role = {.kind = VR_ROLE_WORKER,
                                .listen_count = 1,
                                .listen_fd = {dup(0)},
                                .admin_fd = dup(0),
                                .control_fd = dup(0),
                                .note_fd = dup(0),
                                .restarts = 3,
                                .failure = 2,
                                .probe_after_ms = 99};
    char variable[VR_ROLE_PROBE_BYTES];
    cr_assert_eq(vr_role_give(&role), VR_OK);
    cr_assert_eq(vr_role_take(&out), VR_OK, "%s", vr_error_text());
    cr_expect_eq(out.kind, VR_ROLE_WORKER);
    cr_expect(out.note_fd == role.note_fd && out.control_fd == role.control_fd && out.admin_fd == role.admin_fd);
    cr_expect(out.restarts == 3 && out.failure == 2 && out.probe_after_ms == 99 && !out.on_device);
    cr_assert_eq(vr_role_take(&out), VR_OK);
    cr_expect_eq(out.kind, VR_ROLE_PROBE, "a worker's children are probes");
    cr_expect_null(out.bundle);
    vr_role_probe("/bundles/a b", variable);
    cr_expect(vr_role_is_variable(variable));
    cr_expect_not(vr_role_is_variable("PATH=/bin"));
    cr_assert_eq(putenv(variable), 0);
    cr_assert_eq(vr_role_take(&out), VR_OK);
    cr_expect_eq(out.kind, VR_ROLE_PROBE);
    cr_expect_str_eq(out.bundle, "/bundles/a b");
}
