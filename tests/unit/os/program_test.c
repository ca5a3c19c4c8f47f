/* SPDX-License-Identifier: Apache-2.0
 * Where programs are. */
#include "base/scope.h"
#include "os/program.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void a_program_is_found_also_without_a_path(void **state UNUSED)
{
    static const char *const paths[] = {"/nowhere:/usr/bin:/bin", "", ":::", NULL};
    for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
        if (paths[i])
            setenv("PATH", paths[i], 1);
        else
            unsetenv("PATH");
        AUTO_FREE char *found = program_find("env");
        assert_non_null(found);
        assert_int_equal(access(found, X_OK), 0);
        assert_null(program_find("no-such-program"));
    }
}

static void the_first_folder_of_the_path_wins(void **state UNUSED)
{
    setenv("PATH", "/nowhere:/bin:/usr/bin", 1);
    AUTO_FREE char *found = program_find("sh");
    assert_string_equal(found, "/bin/sh");
}

static void this_program_knows_its_own_file(void **state UNUSED)
{
    AUTO_FREE char *self = NULL;
    assert_int_equal(program_self(&self, NULL), ST_OK);
    assert_string_equal(strrchr(self, '/'), "/os-program_test");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_program_is_found_also_without_a_path),
        cmocka_unit_test(the_first_folder_of_the_path_wins),
        cmocka_unit_test(this_program_knows_its_own_file),
    };
    return cmocka_run_group_tests_name("os/program", tests, NULL, NULL);
}
