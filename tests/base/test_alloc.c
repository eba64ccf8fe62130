/* Dictionary, arena, configuration and pool when memory runs out at every possible moment: no crash, no leak (the
 * sanitizer looks), and the object as it was before. */
#include <stdio.h>
#include <string.h>

#include <criterion/criterion.h>

#include "failing_alloc.h"
#include "vireo/config.h"
#include "vireo/dict.h"
#include "vireo/pool.h"

Test(alloc, arena_survives_every_failure)
{
    bool failed = true;
    long n = 0;
    for (; failed; n++) {
        struct vr_arena *arena = NULL;
        int blocks = 0;
        fail_from(n);
        enum vr_status status = vr_arena_create(256, &arena);
        for (int i = 0; i < 40 && status == VR_OK; i++) {
            blocks += vr_arena_calloc(arena, 10, 10) != NULL;
        }
        failed = fail_stop();
        cr_assert_eq(status == VR_OK && blocks == 40, !failed);
        vr_arena_destroy(arena);
    }
    cr_assert_gt(n, 10);
}

static struct vr_str id_text(char *buffer, size_t size, uint32_t number)
{
    struct vr_str id = {buffer, (size_t)snprintf(buffer, size, "some-longer-video-id-%u", number)};
    return id;
}

/* Interning goes on after each failure, and in the end every string has its number. */
Test(alloc, dictionary_survives_every_failure)
{
    enum { STRINGS = 2000 };
    bool failed = true;
    long n = 0;
    for (; failed; n++) {
        struct vr_dict *dict = NULL;
        char buffer[64];
        fail_from(n);
        enum vr_status status = vr_dict_create(0, &dict);
        uint32_t number;
        for (uint32_t i = 0; i < STRINGS && status == VR_OK; i++) {
            status = vr_dict_intern(dict, id_text(buffer, sizeof buffer, i), &number);
        }
        failed = fail_stop();
        cr_assert_eq(status, failed ? VR_ERR_NOMEM : VR_OK);
        uint32_t kept = dict != NULL ? vr_dict_count(dict) : 0;
        for (uint32_t i = 0; i < kept; i++) {
            cr_assert_eq(vr_dict_find(dict, id_text(buffer, sizeof buffer, i)), i);
        }
        for (uint32_t i = kept; dict != NULL && i < STRINGS; i++) {
            cr_assert_eq(vr_dict_intern(dict, id_text(buffer, sizeof buffer, i), &number), VR_OK);
            cr_assert_eq(number, i);
        }
        vr_dict_destroy(dict);
    }
    cr_assert_gt(n, 15);
}

static const char *const file = "server: {listen: 'a:1', replay: true}\n"
                                "satisfaction: [{name: a, expression: '1'}, {name: b, expression: '2'}]\n"
                                "rerank: {blocked: [a, b, c], caps: [{by: topic, window: 3, max: 1}],"
                                " freshness: [{by_position: 3, count: 1}], give_way: [seen]}\n";

Test(alloc, configuration_survives_every_failure)
{
    bool failed = true;
    long n = 0;
    for (; failed; n++) {
        struct vr_config *config = NULL;
        fail_from(n);
        enum vr_status status = vr_config_parse("f.yaml", file, strlen(file), &config);
        failed = fail_stop();
        cr_assert_eq(status, failed ? VR_ERR_NOMEM : VR_OK, "allocation %ld: %s", n, vr_error_text());
        cr_assert_eq(config == NULL, failed);
        vr_config_destroy(config);
    }
    cr_assert_gt(n, 50);
}

/* Strings set at the end of a full chunk need memory too; the setting keeps its old value without it. */
Test(alloc, a_refused_setting_keeps_its_value)
{
    struct vr_config *config = NULL;
    char value[1100];
    memset(value, 'h', sizeof value);
    cr_assert_eq(vr_config_default(&config), VR_OK);
    strcpy(value + 900, ":1");
    int refusals = 0;
    for (int i = 0; i < 20; i++) {
        fail_from(0);
        enum vr_status status = vr_config_set(config, "server.listen", value);
        if (fail_stop()) {
            refusals++;
            cr_assert_eq(status, VR_ERR_NOMEM);
            cr_assert_eq(vr_config_set(config, "server.listen", value), VR_OK);
        }
        cr_assert_str_eq(config->server.listen, value);
        value[0]++;
    }
    cr_assert_gt(refusals, 2);
    vr_config_destroy(config);
}

Test(alloc, pool_says_when_memory_is_short)
{
    struct vr_pool *pool = NULL;
    fail_from(0);
    enum vr_status status = vr_pool_create(2, &pool);
    cr_assert(fail_stop());
    cr_assert_eq(status, VR_ERR_NOMEM);
    cr_assert_null(pool);
}
