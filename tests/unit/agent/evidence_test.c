/* SPDX-License-Identifier: Apache-2.0
 * Copies of logs, of folders that look like a server's. */
#include "agent/evidence.h"
#include "agent/logs.h"
#include "base/mem.h"
#include "base/scope.h"
#include "os/file.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

enum { MIB = 1024 * 1024 };

static char folder[256];
static struct err err;

static void put(const char *name, const char *text, size_t length)
{
    AUTO_FREE char *path = mem_printf("%s/data/%s", folder, name);
    assert_int_equal(file_write(path, text, length, 0600, &err), ST_OK);
}

static void put_text(const char *name, const char *text)
{
    put(name, text, strlen(text));
}

static void put_log(const char *name, bool is_relay, size_t length)
{
    AUTO_FREE char *bytes = mem_zalloc(length);
    memcpy(bytes,
           "\xfe"
           "bin",
           4);
    bytes[21] = is_relay ? 0x40 : 1;
    put(name, bytes, length);
}

static int make_server(void **state UNUSED)
{
    snprintf(folder, sizeof(folder), "/tmp/holdfast-test-XXXXXX");
    err = (struct err)ERR_INIT;
    if (!mkdtemp(folder))
        return -1;
    AUTO_FREE char *data = mem_printf("%s/data", folder);
    if (folder_make(data, 0700, &err))
        return -1;
    put_text("ibdata1", "x");
    put_text("binlog.index", "./binlog.000001\n./binlog.000002\n./binlog.000003\n");
    put_text("relay.index", "./relay.000007\n./relay.000008\n");
    put_text("relay-log.info", "5\n./relay.000007\n4\n");
    put_log("binlog.000001", false, MIB);
    put_log("binlog.000002", false, MIB);
    put_log("binlog.000003", false, 1000);
    put_log("relay.000007", true, 2000);
    put_log("relay.000008", true, 3000);
    return 0;
}

static int remove_server(void **state UNUSED)
{
    return folder_remove(folder, NULL) ? -1 : 0;
}

static enum status keep(struct evidence *ret, int64_t tail_bytes, int64_t max_bytes)
{
    AUTO_FREE char *data = mem_printf("%s/data", folder);
    AUTO_FREE char *into = mem_printf("%s/into", folder);
    struct evidence_job job = {.server = "10.0.0.1:3306",
                               .data = data,
                               .into = into,
                               .tail_bytes = tail_bytes,
                               .max_bytes = max_bytes};
    return evidence_keep(&job, ret, &err);
}

static bool has(const struct evidence *evidence, const char *name)
{
    AUTO_FREE char *path = mem_printf("%s/%s", evidence->folder, name);
    return access(path, R_OK) == 0;
}

static void the_newest_binary_logs_and_all_relay_logs_are_kept(void **state UNUSED)
{
    AUTO(evidence_release) struct evidence evidence = {0};
    assert_int_equal(keep(&evidence, 2000, 100 * MIB), ST_OK);
    assert_true(evidence.is_new);
    assert_int_equal(evidence.binary_count, 2);
    assert_int_equal(evidence.relay_count, 2);
    assert_int_equal(evidence.older_count, 1);
    assert_true(has(&evidence, "binlog.000003") && has(&evidence, "binlog.000002"));
    assert_true(has(&evidence, "relay.000007") && has(&evidence, "relay.000008"));
    assert_true(has(&evidence, "relay-log.info") && has(&evidence, "files.json"));
    assert_false(has(&evidence, "binlog.000001"));
}

static void a_second_time_there_is_nothing_to_do(void **state UNUSED)
{
    AUTO(evidence_release) struct evidence first = {0}, second = {0};
    assert_int_equal(keep(&first, 0, 100 * MIB), ST_OK);
    assert_int_equal(keep(&second, 0, 100 * MIB), ST_OK);
    assert_false(second.is_new);
    assert_string_equal(first.folder, second.folder);
}

static void what_changed_is_kept_beside_what_was(void **state UNUSED)
{
    AUTO(evidence_release) struct evidence first = {0}, second = {0};
    struct stat one, other;
    assert_int_equal(keep(&first, 0, 100 * MIB), ST_OK);
    put_log("binlog.000003", false, 900); /* cut off by recovery */
    assert_int_equal(keep(&second, 0, 100 * MIB), ST_OK);
    assert_true(second.is_new);
    AUTO_FREE char *longer = mem_printf("%s/binlog.000003", first.folder);
    AUTO_FREE char *shorter = mem_printf("%s/binlog.000003", second.folder);
    assert_int_equal(stat(longer, &one) | stat(shorter, &other), 0);
    assert_int_equal(one.st_size, 1000);
    assert_int_equal(other.st_size, 900);
    AUTO_FREE char *same = mem_printf("%s/relay.000007", first.folder);
    assert_int_equal(stat(same, &one), 0);
    assert_int_equal(one.st_nlink, 2); /* costs no room */
}

static void a_copy_that_was_not_finished_is_made_anew(void **state UNUSED)
{
    AUTO(evidence_release) struct evidence evidence = {0};
    AUTO_FREE char *partial = mem_printf("%s/into/10.0.0.1:3306/partial", folder);
    AUTO_FREE char *file = mem_printf("%s/binlog.000003", partial);
    assert_int_equal(folder_make(partial, 0700, &err), ST_OK);
    assert_int_equal(file_write(file, "half", 4, 0600, &err), ST_OK);
    assert_int_equal(keep(&evidence, 0, 100 * MIB), ST_OK);
    AUTO_FREE char *kept = mem_printf("%s/binlog.000003", evidence.folder);
    struct stat info;
    assert_int_equal(stat(kept, &info), 0);
    assert_int_equal(info.st_size, 1000);
    assert_int_equal(access(partial, F_OK), -1);
}

static void more_than_is_allowed_is_refused_with_the_figures(void **state UNUSED)
{
    struct evidence evidence = {0};
    assert_int_equal(keep(&evidence, 100 * MIB, MIB), ST_FULL);
    assert_non_null(strstr(err.text, "have 2 MiB, and 1 are allowed"));
    assert_non_null(strstr(err.hint, "--max-mb"));
    assert_null(evidence.folder);
}

static void a_running_server_is_refused(void **state UNUSED)
{
    int ready[2], end[2];
    char byte = 0;
    struct evidence evidence = {0};
    AUTO_FREE char *path = mem_printf("%s/data/ibdata1", folder);
    assert_int_equal(pipe(ready) | pipe(end), 0);
    pid_t pid = fork();
    if (pid == 0) {
        int fd = open(path, O_RDWR);
        struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
        close(end[1]);
        if (fcntl(fd, F_SETLK, &lock) == 0 && write(ready[1], "x", 1) == 1 &&
            read(end[0], &byte, 1) == 0)
            _exit(0);
        _exit(1);
    }
    assert_int_equal(read(ready[0], &byte, 1), 1);
    assert_int_equal(keep(&evidence, 0, 100 * MIB), ST_BUSY);
    close(end[1]);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    close(ready[0]);
    close(ready[1]);
    close(end[0]);
}

static void a_file_that_is_no_log_is_not_copied_whatever_an_index_says(void **state UNUSED)
{
    struct evidence evidence = {0};
    put_text("secret", "not a log");
    put_text("binlog.index", "./binlog.000003\n./secret\n");
    assert_int_equal(keep(&evidence, 0, 100 * MIB), ST_INVALID);
    put_text("binlog.index", "/etc/hostname\n");
    assert_int_equal(keep(&evidence, 0, 100 * MIB), ST_INVALID);
}

static void a_log_that_was_purged_meanwhile_is_left_out(void **state UNUSED)
{
    AUTO(evidence_release) struct evidence evidence = {0};
    put_text("binlog.index", "./binlog.000000\n./binlog.000003\n");
    assert_int_equal(keep(&evidence, 100 * MIB, 100 * MIB), ST_OK);
    assert_int_equal(evidence.binary_count, 1);
}

static void the_kind_of_a_log_is_in_its_first_bytes(void **state UNUSED)
{
    unsigned char head[LOGS_HEAD_BYTES] = {0xfe, 'b', 'i', 'n'};
    assert_int_equal(log_kind_of(head, sizeof(head)), LOG_BINARY);
    assert_int_equal(log_kind_of(head, 4), LOG_BINARY);
    assert_int_equal(log_kind_of(head, 3), LOG_OTHER);
    head[21] = 0x41;
    assert_int_equal(log_kind_of(head, sizeof(head)), LOG_RELAY);
    head[0] = 0;
    assert_int_equal(log_kind_of(head, sizeof(head)), LOG_OTHER);
}

#define WITH_SERVER(name) cmocka_unit_test_setup_teardown(name, make_server, remove_server)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_SERVER(the_newest_binary_logs_and_all_relay_logs_are_kept),
        WITH_SERVER(a_second_time_there_is_nothing_to_do),
        WITH_SERVER(what_changed_is_kept_beside_what_was),
        WITH_SERVER(a_copy_that_was_not_finished_is_made_anew),
        WITH_SERVER(more_than_is_allowed_is_refused_with_the_figures),
        WITH_SERVER(a_running_server_is_refused),
        WITH_SERVER(a_file_that_is_no_log_is_not_copied_whatever_an_index_says),
        WITH_SERVER(a_log_that_was_purged_meanwhile_is_left_out),
        cmocka_unit_test(the_kind_of_a_log_is_in_its_first_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
