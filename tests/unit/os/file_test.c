/* SPDX-License-Identifier: Apache-2.0
 * Files and folders, in a folder of their own below the temporary one. */
#include "base/mem.h"
#include "base/scope.h"
#include "os/file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[256];
static struct err err;

static int make_folder(void **state UNUSED)
{
    const char *parent = getenv("TMPDIR");
    snprintf(folder, sizeof(folder), "%s/holdfast-test-XXXXXX", parent ? parent : "/tmp");
    err = (struct err)ERR_INIT;
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state UNUSED)
{
    return folder_remove(folder, NULL) ? -1 : 0;
}

static const char *path_of(const char *name)
{
    static char path[512];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    return path;
}

static void put(const char *name, const char *text, mode_t mode)
{
    assert_int_equal(file_write(path_of(name), text, strlen(text), mode, &err), ST_OK);
}

static void what_was_written_is_read_and_the_mode_is_exact(void **state UNUSED)
{
    put("a", "one", 0600);
    put("a", "two words", 0666);
    AUTO(buf_release) struct buf text = {0};
    assert_int_equal(file_read(path_of("a"), 100, &text, &err), ST_OK);
    assert_string_equal(buf_text(&text), "two words");
    struct stat info;
    assert_int_equal(stat(path_of("a"), &info), 0);
    assert_int_equal(info.st_mode & 07777, 0666);
}

static void a_failed_write_leaves_nothing_beside_the_old_file(void **state UNUSED)
{
    assert_int_equal(folder_make(path_of("taken/child"), 0755, &err), ST_OK);
    assert_int_equal(file_write(path_of("taken"), "x", 1, 0600, &err), ST_IO);
    assert_non_null(strstr(err.text, "taken"));
    assert_int_equal(rmdir(path_of("taken/child")), 0);
    assert_int_equal(rmdir(path_of("taken")), 0);
    assert_int_equal(rmdir(folder), 0); /* works only when it is empty */
    assert_int_equal(mkdir(folder, 0755), 0);
}

static void a_file_at_the_cap_is_read_and_one_byte_more_is_refused(void **state UNUSED)
{
    put("a", "12345", 0600);
    AUTO(buf_release) struct buf text = {0};
    buf_add(&text, "kept ");
    assert_int_equal(file_read(path_of("a"), 4, &text, &err), ST_INVALID);
    assert_non_null(strstr(err.text, "larger than 4 bytes"));
    assert_string_equal(buf_text(&text), "kept ");
    assert_int_equal(file_read(path_of("a"), 5, &text, &err), ST_OK);
    assert_string_equal(buf_text(&text), "kept 12345");
}

static void a_missing_file_is_not_found_and_named(void **state UNUSED)
{
    AUTO(buf_release) struct buf text = {0};
    assert_int_equal(file_read(path_of("none"), 5, &text, &err), ST_NOT_FOUND);
    assert_non_null(strstr(err.text, "none"));
}

static void a_secret_loses_one_newline_and_only_one(void **state UNUSED)
{
    static const struct {
        const char *content, *secret;
    } cases[] = {{"s3cret", "s3cret"}, {"s3cret\n", "s3cret"}, {"a\n\n", "a\n"}, {" a ", " a "}};
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        put("secret", cases[i].content, 0600);
        AUTO_FREE char *secret = NULL;
        bool is_exposed = true;
        assert_int_equal(file_read_secret(path_of("secret"), &secret, &is_exposed, &err), ST_OK);
        assert_string_equal(secret, cases[i].secret);
        assert_false(is_exposed);
    }
}

static void an_empty_secret_is_refused_with_a_hint(void **state UNUSED)
{
    static const char *const contents[] = {"", "\n"};
    for (size_t i = 0; i < ARRAY_SIZE(contents); i++) {
        put("secret", contents[i], 0600);
        char *secret = NULL;
        bool is_exposed = false;
        assert_int_equal(file_read_secret(path_of("secret"), &secret, &is_exposed, &err),
                         ST_INVALID);
        assert_non_null(strstr(err.text, "is empty"));
        assert_string_not_equal(err.hint, "");
        assert_null(secret);
    }
}

static void a_secret_that_others_can_read_is_reported(void **state UNUSED)
{
    static const mode_t modes[] = {0640, 0604, 0644};
    for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
        put("secret", "x\n", modes[i]);
        AUTO_FREE char *secret = NULL;
        bool is_exposed = false;
        assert_int_equal(file_read_secret(path_of("secret"), &secret, &is_exposed, &err), ST_OK);
        assert_true(is_exposed);
    }
}

static void a_secret_with_a_nul_byte_is_refused(void **state UNUSED)
{
    assert_int_equal(file_write(path_of("secret"), "a\0b", 3, 0600, &err), ST_OK);
    char *secret = NULL;
    bool is_exposed = false;
    assert_int_equal(file_read_secret(path_of("secret"), &secret, &is_exposed, &err), ST_INVALID);
}

static void folders_are_made_to_the_last_and_again(void **state UNUSED)
{
    assert_int_equal(folder_make(path_of("a/b//c/"), 0755, &err), ST_OK);
    assert_int_equal(folder_make(path_of("a/b/c"), 0755, &err), ST_OK);
    assert_int_equal(access(path_of("a/b/c"), F_OK), 0);
    put("a/file", "", 0600);
    assert_int_not_equal(folder_make(path_of("a/file/c"), 0755, &err), ST_OK);
    assert_int_not_equal(folder_make(path_of("a/file"), 0755, &err), ST_OK);
    assert_int_equal(folder_make("", 0755, &err), ST_NOT_FOUND);
}

static void a_removed_tree_takes_its_links_but_not_their_targets(void **state UNUSED)
{
    assert_int_equal(folder_make(path_of("kept"), 0755, &err), ST_OK);
    put("kept/file", "x", 0600);
    assert_int_equal(folder_make(path_of("tree/deep/deeper"), 0755, &err), ST_OK);
    put("tree/deep/file", "x", 0400);
    AUTO_FREE char *kept = mem_strdup(path_of("kept"));
    assert_int_equal(symlink(kept, path_of("tree/deep/link")), 0);
    assert_int_equal(folder_remove(path_of("tree"), &err), ST_OK);
    assert_int_equal(access(path_of("tree"), F_OK), -1);
    assert_int_equal(access(path_of("kept/file"), F_OK), 0);
    assert_int_equal(folder_remove(path_of("tree"), &err), ST_OK);
    assert_int_equal(folder_remove(path_of("kept/file"), &err), ST_OK);
}

static void
what_is_written_unsynced_replaces_what_was_there_and_is_for_the_owner(void **state UNUSED)
{
    put("file", "old and longer", 0644);
    assert_int_equal(file_write_unsynced(path_of("file"), "new", 3, &err), ST_OK);
    AUTO(buf_release) struct buf text = {0};
    assert_int_equal(file_read(path_of("file"), 100, &text, &err), ST_OK);
    assert_string_equal(buf_text(&text), "new");
    struct stat info;
    assert_int_equal(stat(path_of("file"), &info), 0);
    assert_int_equal(info.st_mode & 0777, 0600);
}

static void a_copy_has_all_files_and_folders_but_no_links(void **state UNUSED)
{
    assert_int_equal(folder_make(path_of("from/a/b"), 0755, &err), ST_OK);
    put("from/a/b/c", "hello", 0644);
    put("from/empty", "", 0644);
    assert_int_equal(symlink("a", path_of("from/link")), 0);
    AUTO_FREE char *from = mem_strdup(path_of("from"));
    assert_int_equal(folder_copy(from, path_of("to"), &err), ST_OK);
    AUTO(buf_release) struct buf text = {0};
    assert_int_equal(file_read(path_of("to/a/b/c"), 100, &text, &err), ST_OK);
    assert_string_equal(buf_text(&text), "hello");
    assert_int_equal(access(path_of("to/empty"), F_OK), 0);
    assert_int_equal(access(path_of("to/link"), F_OK), -1);
}

static void the_root_is_never_removed(void **state UNUSED)
{
    assert_int_equal(folder_remove("", &err), ST_INVALID);
    assert_int_equal(folder_remove("/", &err), ST_INVALID);
    assert_int_equal(folder_remove("//", &err), ST_INVALID);
}

#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, make_folder, remove_folder)

static void a_copied_file_has_its_bytes_and_its_time(void **state UNUSED)
{
    struct stat one, other;
    put("a", "one", 0644);
    AUTO_FREE char *from = mem_strdup(path_of("a"));
    AUTO_FREE char *to = mem_strdup(path_of("b"));
    assert_int_equal(file_copy(from, to, &err), ST_OK);
    assert_int_equal(folder_sync(folder, &err), ST_OK);
    AUTO(buf_release) struct buf text = {0};
    assert_int_equal(file_read(to, 100, &text, &err), ST_OK);
    assert_string_equal(buf_text(&text), "one");
    assert_int_equal(stat(from, &one) | stat(to, &other), 0);
    assert_memory_equal(&one.st_mtim, &other.st_mtim, sizeof(one.st_mtim));
    assert_int_equal(other.st_mode & 0777, 0600);
    assert_int_equal(file_copy(from, to, &err), ST_EXISTS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_FOLDER(what_was_written_is_read_and_the_mode_is_exact),
        IN_FOLDER(a_failed_write_leaves_nothing_beside_the_old_file),
        IN_FOLDER(a_file_at_the_cap_is_read_and_one_byte_more_is_refused),
        IN_FOLDER(a_missing_file_is_not_found_and_named),
        IN_FOLDER(a_secret_loses_one_newline_and_only_one),
        IN_FOLDER(an_empty_secret_is_refused_with_a_hint),
        IN_FOLDER(a_secret_that_others_can_read_is_reported),
        IN_FOLDER(a_secret_with_a_nul_byte_is_refused),
        IN_FOLDER(folders_are_made_to_the_last_and_again),
        IN_FOLDER(a_copied_file_has_its_bytes_and_its_time),
        IN_FOLDER(what_is_written_unsynced_replaces_what_was_there_and_is_for_the_owner),
        IN_FOLDER(a_copy_has_all_files_and_folders_but_no_links),
        IN_FOLDER(a_removed_tree_takes_its_links_but_not_their_targets),
        cmocka_unit_test(the_root_is_never_removed),
    };
    return cmocka_run_group_tests_name("os/file", tests, NULL, NULL);
}
