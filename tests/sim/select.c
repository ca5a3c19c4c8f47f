/* SPDX-License-Identifier: Apache-2.0
 * SELECT of expressions without a table: variables, and the functions that the conductor calls. */
#include "sim/statement.h"

#include "base/mem.h"
#include "base/scope.h"

#include <string.h>

enum { LIST_MAX = 32 };

typedef enum outcome value_fn(struct session *session, const struct args *args, struct buf *ret);

static value_fn value_variable, value_clock, value_connection, value_literal, value_none;

/* An empty value is NULL where that says so. */
static const struct {
    const char *pattern;
    value_fn *value;
    bool is_null_empty;
} expressions[] = {
    {"@@global.%w", value_variable, false},
    {"@@session.%w", value_variable, false},
    {"@@%w", value_variable, false},
    {"%n", value_literal, false},
    {"MASTER_GTID_WAIT(%s, %n)", hold_gtid_wait, false},
    {"GET_LOCK(%s, %n)", hold_get_lock, false},
    {"IS_USED_LOCK(%s)", hold_lock_user, true},
    {"UNIX_TIMESTAMP(SYSDATE(6))", value_clock, false},
    {"CONNECTION_ID()", value_connection, false},
    {"(SELECT COALESCE(MAX(TIME_MS), 0) FROM %*", value_none, false}, /* commits that wait */
};

static enum outcome value_variable(struct session *session, const struct args *args,
                                   struct buf *ret)
{
    return variable_get(session->server, &args->items[0], ret)
               ? RUN_DONE
               : session_unknown(session, args->items[0].text);
}

static enum outcome value_clock(struct session *session UNUSED, const struct args *args UNUSED,
                                struct buf *ret)
{
    int64_t now = clock_wall_us();
    buf_printf(ret, "%lld.%06lld", (long long)(now / 1000000), (long long)(now % 1000000));
    return RUN_DONE;
}

static enum outcome value_connection(struct session *session, const struct args *args UNUSED,
                                     struct buf *ret)
{
    buf_printf(ret, "%u", (unsigned)session->id);
    return RUN_DONE;
}

static enum outcome value_none(struct session *session UNUSED, const struct args *args UNUSED,
                               struct buf *ret)
{
    buf_add(ret, "0");
    return RUN_DONE;
}

static enum outcome value_literal(struct session *session UNUSED, const struct args *args,
                                  struct buf *ret)
{
    buf_add_bytes(ret, args->items[0].text, args->items[0].length);
    return RUN_DONE;
}

/* --- The list --------------------------------------------------------------------------------- */

/* Where the item ends: a comma outside of parentheses and quotes, or the end. */
static size_t item_length(const char *text)
{
    int depth = 0;
    bool is_quoted = false;
    size_t at = 0;
    for (; text[at] && (is_quoted || depth > 0 || text[at] != ','); at++) {
        is_quoted = is_quoted != (text[at] == '\'');
        depth += !is_quoted && text[at] == '(';
        depth -= !is_quoted && text[at] == ')';
    }
    return at;
}

/* "expression AS name" becomes two texts in place; the name is the expression when there is none.
 */
static const char *cut_name(char *item)
{
    char *at = strstr(item, " AS ");
    if (!at)
        return item;
    *at = '\0';
    return at + strlen(" AS ");
}

static enum outcome evaluate(struct session *session, const char *text, struct buf *ret,
                             bool *ret_is_null)
{
    for (size_t i = 0; i < ARRAY_SIZE(expressions); i++) {
        struct args args = {.count = 0};
        if (!pattern_matches(expressions[i].pattern, text, &args))
            continue;
        enum outcome outcome = expressions[i].value(session, &args, ret);
        *ret_is_null = expressions[i].is_null_empty && ret->length == 0;
        return outcome;
    }
    return session_unknown(session, session->statement);
}

struct list {
    char *text; /* a copy, cut into pieces */
    struct buf values[LIST_MAX];
    const char *names[LIST_MAX], *shown[LIST_MAX];
    size_t count;
};

static void list_release(struct list *list)
{
    for (size_t i = 0; i < list->count; i++)
        buf_release(&list->values[i]);
    free(list->text);
}

static enum outcome evaluate_all(struct session *session, struct list *list)
{
    bool is_last = false;
    for (char *at = list->text; !is_last; list->count++) {
        if (list->count == LIST_MAX)
            return session_unknown(session, session->statement);
        at += strspn(at, " \t\r\n");
        size_t length = item_length(at), i = list->count;
        is_last = at[length] == '\0';
        at[length] = '\0';
        bool is_null = false;
        list->names[i] = cut_name(at);
        enum outcome outcome = evaluate(session, at, &list->values[i], &is_null);
        list->shown[i] = is_null ? NULL : buf_text(&list->values[i]);
        if (outcome != RUN_DONE) {
            list->count++;
            return outcome;
        }
        at += length + 1;
    }
    return RUN_DONE;
}

enum outcome select_list(struct session *session, const struct args *args)
{
    AUTO(list_release) struct list list = {.text = mem_strdup(args->items[0].text)};
    enum outcome outcome = evaluate_all(session, &list);
    if (outcome != RUN_DONE)
        return outcome;
    session_columns(session, list.names, list.count);
    session_row(session, list.shown, list.count);
    return session_rows_end(session);
}
