/* SPDX-License-Identifier: Apache-2.0
 * A small fleet file, and how the tests of it read one. */
#ifndef HOLDFAST_TEST_INVENTORY_H
#define HOLDFAST_TEST_INVENTORY_H

#include "fleet/inventory.h"

#include "base/scope.h"

#include <string.h>

/* Lines 1 to 5 of most files below. */
#define ACCOUNTS                                                                                   \
    "credentials: { user: holdfast, password_file: holdfast.password }\n"                          \
    "replication: { user: repl, password_file: repl.password }\n"
#define HEAD "promise: { rto: 30s, rpo: 5s }\n" AFTER_PROMISE
#define AFTER_PROMISE                                                                              \
    "regions: [ west, east ]\n"                                                                    \
    "store: file:///var/lib/holdfast\n" ACCOUNTS
/* Lines 6 to 12. */
#define SHARDS                                                                                     \
    "deployments:\n"                                                                               \
    "  - name: orders\n"                                                                           \
    "    shards:\n"                                                                                \
    "      - name: orders-0\n"                                                                     \
    "        servers:\n"                                                                           \
    "          - { region: west, hosts: [ 10.0.1.11:3306, 10.0.1.12:3307 ] }\n"                    \
    "          - { region: east, hosts: [ 10.0.2.11, db-2.example.com:3308 ] }\n"
UNUSED static struct inventory *parse(const char *text)
{
    struct inventory *inventory = NULL;
    struct err err = ERR_INIT;
    if (inventory_parse(text, strlen(text), "holdfast.yaml", &inventory, &err))
        fail_msg("%s", err.text);
    return inventory;
}

UNUSED static void assert_refused(const char *text, const char *message)
{
    struct inventory *inventory = NULL;
    struct err err = ERR_INIT;
    enum status status = inventory_parse(text, strlen(text), "holdfast.yaml", &inventory, &err);
    if (status == ST_OK)
        fail_msg("accepted:\n%s", text);
    assert_string_equal(err.text, message);
    assert_int_equal(status, ST_INVALID);
    assert_null(inventory);
}

struct bad_file {
    const char *text, *message;
};

UNUSED static void refuse_all(const struct bad_file *files, size_t count)
{
    for (size_t i = 0; i < count; i++)
        assert_refused(files[i].text, files[i].message);
}

#endif
