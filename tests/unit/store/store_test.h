/* SPDX-License-Identifier: Apache-2.0
 *
 * Support for the store's tests: a directory of its own for each test, short calls, and children.
 * A child is the same program started afresh with arguments (SQLite does not survive fork()); it
 * talks back through a pipe on descriptor 3.
 */
#ifndef HOLDFAST_TESTS_STORE_TEST_H
#define HOLDFAST_TESTS_STORE_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/scope.h"
#include "store/store.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <sys/wait.h>

enum { TEST_WAIT_MS = 20000 };

struct fixture {
    char directory[64], url[160];
    const struct store_access *access; /* NULL: nobody asks for any */
    struct store *store;
};

static inline nsec soon(void)
{
    return clock_deadline(TEST_WAIT_MS);
}

static inline void expect_status(enum status got, enum status wanted, const struct err *err)
{
    if (got != wanted)
        fail_msg("expected %s, got %s: %s", status_name(wanted), status_name(got), err->text);
}

/* 'call' gets &trouble as its err; put_if() always does. */
static UNUSED _Thread_local struct err trouble;
#define EXPECT_OK(call) expect_status((call), ST_OK, &trouble)

static inline int remove_one(const char *path, const struct stat *status UNUSED, int type UNUSED,
                             struct FTW *ftw UNUSED)
{
    return remove(path);
}

static inline int set_up(void **state)
{
    struct fixture *fixture = mem_zalloc(sizeof(*fixture));
    snprintf(fixture->directory, sizeof(fixture->directory), "/tmp/holdfast-store-XXXXXX");
    if (!mkdtemp(fixture->directory))
        return -1;
    snprintf(fixture->url, sizeof(fixture->url), "file://%s", fixture->directory);
    struct err err = ERR_INIT;
    if (store_open(fixture->url, NULL, soon(), &fixture->store, &err))
        fail_msg("%s", err.text);
    *state = fixture;
    return 0;
}

static inline int tear_down(void **state)
{
    struct fixture *fixture = *state;
    store_close(fixture->store);
    nftw(fixture->directory, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    free(fixture);
    return 0;
}

#define STORE_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

/* One put, under one compare when 'compare' is given. */
static inline enum status put_if(struct store *store, const struct store_compare *compare,
                                 const char *key, const char *value, int64_t lease,
                                 int64_t *ret_revision)
{
    struct store_op op = {STORE_PUT, key, value, lease};
    struct store_txn txn = {compare, compare ? 1 : 0, &op, 1};
    struct store_txn_result result = {0};
    enum status status = store_txn(store, &txn, soon(), &result, &trouble);
    if (ret_revision && !status)
        *ret_revision = result.revision;
    return status;
}

static inline int64_t put(struct store *store, const char *key, const char *value)
{
    int64_t revision = 0;
    EXPECT_OK(put_if(store, NULL, key, value, 0, &revision));
    return revision;
}

static inline int64_t delete_key(struct store *store, const char *key)
{
    struct store_op op = {STORE_DELETE, key, NULL, 0};
    struct store_txn txn = {NULL, 0, &op, 1};
    struct store_txn_result result = {0};
    EXPECT_OK(store_txn(store, &txn, soon(), &result, &trouble));
    return result.revision;
}

static inline void expect_entry(struct store *store, const char *key, const char *value)
{
    AUTO(store_entry_release) struct store_entry entry = {0};
    struct err err = ERR_INIT;
    enum status status = store_get(store, key, soon(), &entry, &err);
    expect_status(status, value ? ST_OK : ST_NOT_FOUND, &err);
    if (value)
        assert_string_equal(entry.value, value);
}

/* ---- children ---- */

struct child {
    pid_t pid;
    int pipe; /* what it writes on descriptor 3 */
};

static inline struct child child_start(const char *role, const char *url, const char *argument)
{
    int ends[2];
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    struct child child = {fork(), ends[0]};
    assert_true(child.pid >= 0);
    if (child.pid == 0) {
        if (ends[1] == 3)
            fcntl(3, F_SETFD, 0);
        else
            dup2(ends[1], 3);
        execl("/proc/self/exe", "child", role, url, argument, (char *)NULL);
        _exit(127);
    }
    close(ends[1]);
    return child;
}

static inline int child_end(struct child *child, int signal)
{
    int status = 0;
    if (signal)
        kill(child->pid, signal);
    waitpid(child->pid, &status, 0);
    close(child->pipe);
    return status;
}

/* One number that the child reported; -1 when it has ended. */
static inline int64_t child_read(const struct child *child)
{
    int64_t value = -1;
    return read(child->pipe, &value, sizeof(value)) == (ssize_t)sizeof(value) ? value : -1;
}

static inline void parent_tell(int64_t value)
{
    if (write(3, &value, sizeof(value)) != (ssize_t)sizeof(value))
        _exit(3);
}

static inline struct store *child_open(const char *url)
{
    struct store *store = NULL;
    struct err err = ERR_INIT;
    if (store_open(url, NULL, soon(), &store, &err)) {
        fprintf(stderr, "child: %s\n", err.text);
        _exit(2);
    }
    return store;
}

#endif
