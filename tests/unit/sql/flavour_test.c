/* SPDX-License-Identifier: Apache-2.0
 * A compact state keeps all its texts without the answer that they were read from. */
#include "base/scope.h"
#include "sql/flavour.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void compact_state_keeps_all_its_texts(void **state)
{
    (void)state;
    char answer[] = "text";
    struct sql_server_state seen = {0};
    const char **const texts[] = {
        &seen.version,         &seen.binlog_format, &seen.isolation, &seen.channel_name,
        &seen.source_host,     &seen.source_user,   &seen.io_error,  &seen.sql_error,
        &seen.replica_filters, &seen.received,      &seen.applied,   &seen.position,
        &seen.binlog_state,
    };
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
        *texts[i] = answer;
    sql_server_state_compact(&seen);
    memset(answer, 'x', sizeof(answer) - 1);
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
        assert_string_equal(*texts[i], "text");
    sql_server_state_release(&seen);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(compact_state_keeps_all_its_texts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
