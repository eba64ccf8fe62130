/* LMDB behind driver.h: a table a database, keys are numbers. Reading takes no lock and copies nothing; a put is one
 * transaction, which is durable and whole or not there. */
#include <errno.h>
#include <lmdb.h>
#include <stdlib.h>
#include <string.h>

#include "driver.h"
#include "vireo/clock.h"

#define MAP_BYTES ((size_t)256 << 30) /* of address space; the file is as large as what it holds */
#define READERS 1024u

struct vr_driver {
    MDB_env *env;
    MDB_dbi table[VR_TABLE_COUNT];
};

static enum vr_status fail(int error, const char *what)
{
    return vr_fail(error == ENOMEM ? VR_ERR_NOMEM : VR_ERR_IO, "store: %s: %s", what, mdb_strerror(error));
}

static void lmdb_close(struct vr_driver *driver)
{
    if (driver->env != NULL) {
        mdb_env_close(driver->env);
    }
    free(driver);
}

static int open_tables(struct vr_driver *driver)
{
    static const char *const names[VR_TABLE_COUNT] = {"meta", "video_id", "creator_id", "viewer_id", "video", "viewer"};
    MDB_txn *txn;
    int error = mdb_txn_begin(driver->env, NULL, 0, &txn);
    if (error != 0) {
        return error;
    }
    for (uint32_t i = 0; i < VR_TABLE_COUNT && error == 0; i++) {
        error = mdb_dbi_open(txn, names[i], MDB_CREATE | MDB_INTEGERKEY, &driver->table[i]);
    }
    if (error != 0) {
        mdb_txn_abort(txn);
        return error;
    }
    return mdb_txn_commit(txn);
}

static int open_env(struct vr_driver *driver, const char *folder)
{
    int error = mdb_env_create(&driver->env);
    if (error == 0) {
        error = mdb_env_set_mapsize(driver->env, MAP_BYTES);
    }
    if (error == 0) {
        error = mdb_env_set_maxreaders(driver->env, READERS);
    }
    if (error == 0) {
        error = mdb_env_set_maxdbs(driver->env, VR_TABLE_COUNT);
    }
    return error == 0 ? mdb_env_open(driver->env, folder, MDB_NOTLS | MDB_NORDAHEAD, 0640) : error;
}

enum vr_status vr_lmdb_open(const char *folder, struct vr_driver **out)
{
    struct vr_driver *driver = calloc(1, sizeof *driver);
    if (driver == NULL) {
        return vr_fail(VR_ERR_NOMEM, "store: no memory");
    }
    int error = open_env(driver, folder);
    if (error == 0) {
        error = open_tables(driver);
    }
    if (error != 0) {
        lmdb_close(driver);
        return fail(error, folder);
    }
    *out = driver;
    return VR_OK;
}

static enum vr_status lmdb_get(struct vr_driver *driver, enum vr_table table, uint32_t key, uint64_t deadline_us,
                               vr_driver_visit *visit, void *context)
{
    MDB_txn *txn;
    MDB_val name = {sizeof key, &key};
    MDB_val value;
    if (deadline_us != 0 && vr_clock_mono_us() > deadline_us) {
        return vr_fail(VR_ERR_TIMEOUT, "store: no time is left");
    }
    int error = mdb_txn_begin(driver->env, NULL, MDB_RDONLY, &txn);
    if (error != 0) {
        return fail(error, "reading");
    }
    error = mdb_get(txn, driver->table[table], &name, &value);
    enum vr_status status = error == 0              ? visit(context, key, value.mv_data, value.mv_size)
                            : error == MDB_NOTFOUND ? VR_ERR_NOT_FOUND
                                                    : fail(error, "reading");
    mdb_txn_abort(txn);
    return status;
}

static enum vr_status walk_cursor(MDB_cursor *cursor, vr_driver_visit *visit, void *context)
{
    MDB_val name;
    MDB_val value;
    int error = mdb_cursor_get(cursor, &name, &value, MDB_FIRST);
    while (error == 0) {
        uint32_t key;
        memcpy(&key, name.mv_data, sizeof key);
        enum vr_status status = visit(context, key, value.mv_data, value.mv_size);
        if (status != VR_OK) {
            return status;
        }
        error = mdb_cursor_get(cursor, &name, &value, MDB_NEXT);
    }
    return error == MDB_NOTFOUND ? VR_OK : fail(error, "reading");
}

static enum vr_status lmdb_walk(struct vr_driver *driver, enum vr_table table, vr_driver_visit *visit, void *context)
{
    MDB_txn *txn;
    MDB_cursor *cursor;
    int error = mdb_txn_begin(driver->env, NULL, MDB_RDONLY, &txn);
    if (error != 0) {
        return fail(error, "reading");
    }
    error = mdb_cursor_open(txn, driver->table[table], &cursor);
    enum vr_status status = error == 0 ? walk_cursor(cursor, visit, context) : fail(error, "reading");
    if (error == 0) {
        mdb_cursor_close(cursor);
    }
    mdb_txn_abort(txn);
    return status;
}

static enum vr_status lmdb_put(struct vr_driver *driver, const struct vr_put *put, size_t count)
{
    MDB_txn *txn;
    int error = mdb_txn_begin(driver->env, NULL, 0, &txn);
    if (error != 0) {
        return fail(error, "writing");
    }
    for (size_t i = 0; i < count && error == 0; i++) {
        uint32_t key = put[i].key;
        MDB_val name = {sizeof key, &key};
        MDB_val value = {put[i].len, (void *)(uintptr_t)put[i].data};
        error = mdb_put(txn, driver->table[put[i].table], &name, &value, 0);
    }
    if (error != 0) {
        mdb_txn_abort(txn);
        return fail(error, "writing");
    }
    error = mdb_txn_commit(txn);
    return error == 0 ? VR_OK : fail(error, "writing");
}

const struct vr_driver_ops vr_lmdb_ops = {
    .name = "lmdb", .close = lmdb_close, .get = lmdb_get, .walk = lmdb_walk, .put = lmdb_put};
