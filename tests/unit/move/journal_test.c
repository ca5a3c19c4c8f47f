/* SPDX-License-Identifier: Apache-2.0
 * The journal of a run: its lines, and how many journals a folder keeps. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/scope.h"
#include "move/journal.h"
#include "os/file.h"

#include <stdio.h>
#include <string.h>

static char folder[64];

static int make_folder(void **state UNUSED)
{
    snprintf(folder, sizeof(folder), "/tmp/holdfast-journal-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state UNUSED)
{
    return folder_remove(folder, NULL) ? -1 : 0;
}

static bool is_there(const char *name)
{
    AUTO_FREE char *path = mem_printf("%s/%s", folder, name);
    return access(path, F_OK) == 0;
}

static void lines_of_a_run_that_goes_on_are_appended(void **state UNUSED)
{
    for (int i = 0; i < 2; i++) { /* the second is after a resume */
        struct journal *journal = journal_open(folder, "20261122-194248-803b");
        journal_add(journal, i ? "s0" : NULL, "begin", "number %d", i);
        journal_close(journal);
    }
    AUTO_FREE char *path = mem_printf("%s/20261122-194248-803b.jsonl", folder);
    AUTO(buf_release) struct buf text = {0};
    assert_int_equal(file_read(path, 4096, &text, NULL), ST_OK);
    assert_non_null(strstr(buf_text(&text), "number 0"));
    assert_non_null(strstr(buf_text(&text), "\"shard\":\"s0\""));
    assert_non_null(strstr(buf_text(&text), "number 1"));
}

static void oldest_journals_make_room_and_nothing_else(void **state UNUSED)
{
    static const char *const names[] = {"20261122-194248-803b.jsonl", "20251122-194248-ffff.jsonl",
                                        "20261122-194247-0000.jsonl", "20261122-194248-803b.json",
                                        "20261122-194248-803g.jsonl", "20261122-194248-803b.jsonl~",
                                        "20261122-194248-.jsonl",     "notes"};
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        AUTO_FREE char *path = mem_printf("%s/%s", folder, names[i]);
        assert_int_equal(file_write(path, "x", 1, 0600, NULL), ST_OK);
    }
    journal_trim(folder, 2);
    assert_false(is_there(names[1]));
    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        if (i != 1 && !is_there(names[i]))
            fail_msg("%s is gone", names[i]);
    journal_trim(folder, 0);
    assert_false(is_there(names[0]));
    assert_false(is_there(names[2]));
    assert_true(is_there("notes"));
    journal_trim("/tmp/holdfast-no-such-folder", 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(lines_of_a_run_that_goes_on_are_appended, make_folder,
                                        remove_folder),
        cmocka_unit_test_setup_teardown(oldest_journals_make_room_and_nothing_else, make_folder,
                                        remove_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
