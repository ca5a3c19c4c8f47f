/* SPDX-License-Identifier: Apache-2.0
 * Fuzz wire/mysql: nothing is read outside the bytes, an answer in pieces reads like the whole, and
 * what is visited has as many columns as it says. */
#include "base/invariant.h"
#include "wire/mysql.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct seen {
    size_t columns, names, values, rows, bytes;
};

static void close_set(struct seen *seen)
{
    INVARIANT(seen->names <= seen->columns && seen->values == seen->rows * seen->columns);
}

static void see_set(void *context, size_t columns)
{
    struct seen *seen = context;
    close_set(seen);
    *seen = (struct seen){.columns = columns, .bytes = seen->bytes};
}

static void see_column(void *context, const char *name, size_t length)
{
    struct seen *seen = context;
    seen->names++;
    for (size_t i = 0; i < length; i++)
        seen->bytes += name[i] != 0;
}

static void see_row(void *context)
{
    ((struct seen *)context)->rows++;
}

static void see_value(void *context, const char *text, size_t length)
{
    struct seen *seen = context;
    seen->values++;
    for (size_t i = 0; text && i < length; i++)
        seen->bytes += text[i] != 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct mysql_answer whole = {0}, pieces = {0};
    enum mysql_answer_state state = mysql_answer_read(&whole, data, size);
    enum mysql_answer_state now = MYSQL_ANSWER_MORE;
    for (size_t length = 1; length <= size && now == MYSQL_ANSWER_MORE; length++)
        now = mysql_answer_read(&pieces, data, length);
    INVARIANT(whole.at <= size);
    INVARIANT(size == 0 || now == state || now == MYSQL_ANSWER_DONE); /* more may follow it */
    struct seen seen = {0};
    struct mysql_visitor visitor = {see_set, see_column, see_row, see_value, &seen};
    mysql_answer_visit(data, size, &visitor);
    close_set(&seen);
    return 0;
}
