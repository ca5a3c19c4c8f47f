/* SPDX-License-Identifier: Apache-2.0
 * Opening the embedded store, and what it says when it cannot; a full disk; a damaged file. */
#include "store_test.h"

#include <sched.h>
#include <sqlite3.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>

static void expect_refusal(const char *url, enum status wanted, const char *text, const char *hint)
{
    struct store *store = NULL;
    struct err err = ERR_INIT;
    expect_status(store_open(url, NULL, clock_deadline(2000), &store, &err), wanted, &err);
    if (!strstr(err.text, text) || !strstr(err.hint, hint))
        fail_msg("'%s' (hint '%s') does not say '%s' ('%s')", err.text, err.hint, text, hint);
    assert_null(store);
}

static void edit(const char *directory, const char *sql)
{
    AUTO_FREE char *path = mem_printf("%s/store.db", directory);
    sqlite3 *handle = NULL;
    assert_int_equal(sqlite3_open(path, &handle), SQLITE_OK);
    assert_int_equal(sqlite3_exec(handle, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(handle);
}

/* Of the database and of what the write-ahead log could still repair. */
static void overwrite(const char *directory, off_t at, size_t length)
{
    AUTO_FREE char *path = mem_printf("%s/store.db", directory);
    AUTO_FREE char *wal = mem_printf("%s/store.db-wal", directory);
    assert_true(truncate(wal, 0) == 0 || errno == ENOENT);
    AUTO_FREE char *noise = mem_zalloc(length);
    memset(noise, 'Z', length);
    AUTO_CLOSE int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_int_equal(pwrite(fd, noise, length, at), length);
}

static void close_it(struct fixture *fixture)
{
    store_close(fixture->store);
    fixture->store = NULL;
}

static void unknown_url_is_refused_with_the_right_form(void **state UNUSED)
{
    expect_refusal("http://x", ST_INVALID, "http://x", "file:///DIRECTORY");
    expect_refusal("file://relative", ST_INVALID, "file://relative", "file:///DIRECTORY");
}

static void directory_is_made_private_when_its_parent_exists(void **state)
{
    struct fixture *fixture = *state;
    AUTO_FREE char *directory = mem_printf("%s/new", fixture->directory);
    AUTO_FREE char *url = mem_printf("file://%s", directory);
    struct store *store = NULL;
    EXPECT_OK(store_open(url, NULL, soon(), &store, &trouble));
    struct stat status;
    assert_int_equal(stat(directory, &status), 0);
    assert_int_equal(status.st_mode & 07777, 0700);
    store_close(store);
    AUTO_FREE char *orphan = mem_printf("file://%s/missing/new", fixture->directory);
    expect_refusal(orphan, ST_NOT_FOUND, "missing/new", "create the directory");
}

static void file_in_place_of_the_directory_is_refused(void **state)
{
    struct fixture *fixture = *state;
    AUTO_FREE char *url = mem_printf("file://%s/store.db", fixture->directory);
    expect_refusal(url, ST_INVALID, "not a directory", "directory of its own");
}

static void unwritable_directory_is_refused(void **state)
{
    struct fixture *fixture = *state;
    if (geteuid() == 0 && (setegid(65534) || seteuid(65534))) {
        print_message("SKIPPED: cannot act as an ordinary user\n");
        skip();
    }
    if (geteuid() != 65534)
        assert_int_equal(chmod(fixture->directory, 0500), 0);
    expect_refusal("file:///proc/holdfast", ST_NOT_FOUND, "create directory", "writable");
    struct store *store = NULL;
    struct err err = ERR_INIT;
    enum status status = store_open(fixture->url, NULL, clock_deadline(2000), &store, &err);
    if (geteuid() == 65534)
        assert_true(!seteuid(0) && !setegid(0));
    expect_status(status, ST_DENIED, &err);
    assert_non_null(strstr(err.hint, "owns the directory"));
    assert_int_equal(chmod(fixture->directory, 0700), 0);
}

static void foreign_and_newer_databases_are_left_alone(void **state)
{
    struct fixture *fixture = *state;
    close_it(fixture);
    edit(fixture->directory, "PRAGMA user_version = 2");
    expect_refusal(fixture->url, ST_INVALID, "written by a newer Holdfast (format 2", "newer");
    edit(fixture->directory, "PRAGMA application_id = 7");
    expect_refusal(fixture->url, ST_INVALID, "database of another program", "of its own");
    edit(fixture->directory, "PRAGMA application_id = 0; PRAGMA user_version = 0");
    expect_refusal(fixture->url, ST_INVALID, "database of another program", "of its own");
}

static void damaged_files_are_reported_by_name(void **state)
{
    struct fixture *fixture = *state;
    close_it(fixture);
    overwrite(fixture->directory, 100, 3900);
    expect_refusal(fixture->url, ST_IO, "store.db': database disk image is malformed", "backup");
    overwrite(fixture->directory, 0, 100);
    expect_refusal(fixture->url, ST_INVALID, "store.db': file is not a database", "of its own");
}

static void damage_found_while_reading_is_an_error_not_an_absence(void **state)
{
    struct fixture *fixture = *state;
    char key[16];
    for (int i = 0; i < 300; i++) {
        snprintf(key, sizeof(key), "key/%04d", i);
        put(fixture->store, key, "some value that takes its place on a page of the database file");
    }
    close_it(fixture);
    AUTO_FREE char *path = mem_printf("%s/store.db", fixture->directory);
    struct stat status;
    assert_int_equal(stat(path, &status), 0);
    overwrite(fixture->directory, 3 * 4096, (size_t)status.st_size - 3 * 4096);
    EXPECT_OK(store_open(fixture->url, NULL, soon(), &fixture->store, &trouble));
    AUTO(store_list_release) struct store_list list = {0};
    struct err err = ERR_INIT;
    expect_status(store_list(fixture->store, "", soon(), &list, &err), ST_IO, &err);
    expect_status(put_if(fixture->store, NULL, "key/0007", "x", 0, NULL), ST_IO, &trouble);
}

static void interrupted_creation_is_taken_up_again(void **state)
{
    struct fixture *fixture = *state;
    AUTO_FREE char *directory = mem_printf("%s/half", fixture->directory);
    AUTO_FREE char *url = mem_printf("file://%s", directory);
    assert_int_equal(mkdir(directory, 0700), 0);
    edit(directory, "PRAGMA journal_mode = WAL"); /* died before the tables were committed */
    struct store *store = NULL;
    EXPECT_OK(store_open(url, NULL, soon(), &store, &trouble));
    put(store, "a", "1");
    store_close(store);
}

static int child_open_once(const char *url)
{
    struct store *store = child_open(url);
    bool ok = put_if(store, NULL, "a", "1", 0, NULL) == ST_OK;
    store_close(store);
    return ok ? 0 : 1;
}

static void processes_may_create_it_together(void **state)
{
    struct fixture *fixture = *state;
    AUTO_FREE char *url = mem_printf("file://%s/new", fixture->directory);
    struct child children[6];
    for (size_t i = 0; i < ARRAY_SIZE(children); i++)
        children[i] = child_start("open", url, "");
    for (size_t i = 0; i < ARRAY_SIZE(children); i++)
        assert_int_equal(child_end(&children[i], 0), 0);
}

/* A disk of 8 MiB that only this process sees. */
static bool mount_small_disk(const char *directory)
{
    bool mounted = unshare(CLONE_NEWNS) == 0 || unshare(CLONE_NEWUSER | CLONE_NEWNS) == 0;
    mounted = mounted && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0;
    return mounted && mount("tmpfs", directory, "tmpfs", 0, "size=8m") == 0;
}

/* Writes values of 100 KiB until it cannot; returns why. */
static enum status fill(struct store *store, int64_t *ret_count)
{
    AUTO_FREE char *value = mem_zalloc(100 * 1024 + 1);
    memset(value, 'v', 100 * 1024);
    enum status status = ST_OK;
    int64_t count = 0;
    for (; count < 1000; count++) {
        char key[16];
        snprintf(key, sizeof(key), "fill/%03d", (int)count);
        status = put_if(store, NULL, key, value, 0, NULL);
        if (status)
            break;
    }
    *ret_count = count;
    return status;
}

/* Tells: why it could not go on, how many writes fitted, how many a new reader finds, and what came
 * of a small write after space was made. */
static void tell_of_full_disk(const char *url, void (*make_space)(const char *directory))
{
    struct store *store = child_open(url);
    int64_t fitted = 0;
    parent_tell(fill(store, &fitted));
    parent_tell(fitted);
    AUTO(store_list_release) struct store_list list = {0};
    parent_tell(store_list(store, "fill/", soon(), &list, NULL) ? -2 : (int64_t)list.count);
    make_space(url + sizeof("file://") - 1);
    parent_tell(put_if(store, NULL, "after", "x", 0, NULL));
    store_close(store);
}

static void remove_ballast(const char *directory)
{
    AUTO_FREE char *ballast = mem_printf("%s/../ballast", directory);
    unlink(ballast);
}

static int child_fill_disk(const char *directory)
{
    AUTO_FREE char *ballast = mem_printf("%s/ballast", directory);
    AUTO_FREE char *url = mem_printf("file://%s/store", directory);
    if (!mount_small_disk(directory))
        return 77;
    AUTO_CLOSE int fd = open(ballast, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (posix_fallocate(fd, 0, 1024 * 1024))
        return 1;
    tell_of_full_disk(url, remove_ballast);
    return 0;
}

static void lift_limit(const char *directory UNUSED)
{
    struct rlimit none = {RLIM_INFINITY, RLIM_INFINITY};
    if (setrlimit(RLIMIT_FSIZE, &none))
        _exit(11);
}

static int child_fill_limit(const char *url)
{
    struct rlimit limit = {5 * 1024 * 1024, RLIM_INFINITY};
    signal(SIGXFSZ, SIG_IGN);
    if (setrlimit(RLIMIT_FSIZE, &limit))
        return 10;
    tell_of_full_disk(url, lift_limit);
    return 0;
}

static void expect_full(struct child *child, enum status wanted)
{
    int64_t status = child_read(child), fitted = child_read(child);
    if (status < 0) {
        int ended = child_end(child, 0);
        if (WIFEXITED(ended) && WEXITSTATUS(ended) == 77) {
            print_message("SKIPPED: may not mount a small tmpfs\n");
            skip();
        }
    }
    assert_int_equal(status, wanted);
    assert_true(fitted > 0);
    assert_int_equal(child_read(child), fitted);
    assert_int_equal(child_read(child), ST_OK);
    assert_int_equal(child_end(child, 0), 0);
}

static void full_disk_is_said_and_nothing_of_it_happened(void **state)
{
    struct fixture *fixture = *state;
    struct child child = child_start("disk", fixture->directory, "");
    expect_full(&child, ST_FULL);
}

/* EFBIG stands for any write that fails halfway through COMMIT: settled at once, so not unknown. */
static void failed_write_in_commit_is_settled_as_not_happened(void **state)
{
    struct fixture *fixture = *state;
    struct child child = child_start("limit", fixture->url, "");
    expect_full(&child, ST_IO);
    expect_entry(fixture->store, "after", "x");
}

static int run_child(const char *role, const char *where)
{
    if (strcmp(role, "disk") == 0)
        return child_fill_disk(where);
    return strcmp(role, "limit") == 0 ? child_fill_limit(where) : child_open_once(where);
}

int main(int argc, char **argv)
{
    if (argc == 4)
        return run_child(argv[1], argv[2]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unknown_url_is_refused_with_the_right_form),
        STORE_TEST(directory_is_made_private_when_its_parent_exists),
        STORE_TEST(file_in_place_of_the_directory_is_refused),
        STORE_TEST(unwritable_directory_is_refused),
        STORE_TEST(foreign_and_newer_databases_are_left_alone),
        STORE_TEST(damaged_files_are_reported_by_name),
        STORE_TEST(damage_found_while_reading_is_an_error_not_an_absence),
        STORE_TEST(interrupted_creation_is_taken_up_again),
        STORE_TEST(processes_may_create_it_together),
        STORE_TEST(full_disk_is_said_and_nothing_of_it_happened),
        STORE_TEST(failed_write_in_commit_is_settled_as_not_happened),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
