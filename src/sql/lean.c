/* SPDX-License-Identifier: Apache-2.0
 * See lean.h. */
#include "sql/lean.h"

#include "base/buf.h"
#include "base/mem.h"
#include "base/scope.h"
#include "sql/conn.h"
#include "sql/internal.h"
#include "wire/mysql.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { VERSION_MAX = 64, ANSWER_MAX = 4 * 1024 * 1024, PIECE = 16 * 1024 };

struct lean {
    int fd;
    char version[VERSION_MAX];
    struct buf answer; /* so far; released when it is complete */
    struct mysql_answer at;
};

struct lean *lean_take(struct sql_conn *conn)
{
    char version[VERSION_MAX];
    snprintf(version, sizeof(version), "%s", sql_conn_server_version(conn));
    int fd = sql__conn_give_socket(conn);
    if (fd < 0)
        return NULL;
    struct lean *lean = mem_zalloc(sizeof(*lean));
    lean->fd = fd;
    memcpy(lean->version, version, sizeof(version));
    return lean;
}

void lean_free(struct lean *lean)
{
    if (!lean)
        return;
    close(lean->fd);
    buf_release(&lean->answer);
    free(lean);
}

int lean_fd(const struct lean *lean)
{
    return lean->fd;
}

const char *lean_server_version(const struct lean *lean)
{
    return lean->version;
}

static enum lean_state broken(struct err *err, const char *what)
{
    err_set(err, ST_UNREACHABLE, "%s", what);
    return LEAN_BROKEN;
}

/* What is asked fits into the socket's buffer, which is empty before each question. */
enum lean_state lean_ask(struct lean *lean, const char *sql, struct err *err)
{
    AUTO(buf_release) struct buf packet = {0};
    char farewell;
    ssize_t got = recv(lean->fd, &farewell, 1, MSG_PEEK | MSG_DONTWAIT);
    if (got >= 0 || (errno != EAGAIN && errno != EINTR))
        return broken(err, "the server closed the connection");
    lean->at = (struct mysql_answer){0};
    buf_clear(&lean->answer);
    mysql_add_query(&packet, sql);
    ssize_t sent = send(lean->fd, packet.data, packet.length, MSG_DONTWAIT | MSG_NOSIGNAL);
    return sent == (ssize_t)packet.length ? LEAN_WAITS : broken(err, "the server takes nothing");
}

/* ---- the answer as a result: counted first, then copied into one piece a set ---- */

struct counts {
    size_t columns, rows, bytes;
};

struct builder {
    struct sql_result *result;
    struct counts *counts; /* of each set; counted in the first visit */
    size_t sets, capacity;
    char **cell, *text; /* of the second visit */
};

static void count_set(void *context, size_t columns)
{
    struct builder *builder = context;
    struct counts counts = {.columns = columns};
    VEC_PUSH(builder->counts, builder->sets, builder->capacity, counts);
}

static void count_text(void *context, const char *text, size_t length)
{
    struct builder *builder = context;
    if (text)
        builder->counts[builder->sets - 1].bytes += length + 1;
}

static void count_row(void *context)
{
    struct builder *builder = context;
    builder->counts[builder->sets - 1].rows++;
}

static void fill_set(void *context, size_t columns)
{
    struct builder *builder = context;
    const struct counts *counts = &builder->counts[builder->result->count];
    struct sql_set set = {.rows = counts->rows, .columns = columns};
    size_t cells = columns ? (counts->rows + 1) * columns * sizeof(*set.cells) : 0;
    set.cells = columns ? mem_zalloc(cells + counts->bytes) : NULL;
    builder->cell = set.cells;
    builder->text = set.cells ? (char *)set.cells + cells : NULL;
    VEC_PUSH(builder->result->sets, builder->result->count, builder->result->capacity, set);
}

static void fill_text(void *context, const char *text, size_t length)
{
    struct builder *builder = context;
    *builder->cell++ = text ? builder->text : NULL;
    if (!text)
        return;
    memcpy(builder->text, text, length);
    builder->text[length] = '\0';
    builder->text += length + 1;
}

static void no_row(void *context UNUSED)
{
}

static void build_result(const struct buf *answer, struct sql_result *ret)
{
    struct builder builder = {.result = ret};
    const uint8_t *bytes = (const uint8_t *)answer->data;
    *ret = (struct sql_result){0};
    const struct mysql_visitor count = {count_set, count_text, count_row, count_text, &builder};
    mysql_answer_visit(bytes, answer->length, &count);
    const struct mysql_visitor fill = {fill_set, fill_text, no_row, fill_text, &builder};
    mysql_answer_visit(bytes, answer->length, &fill);
    free(builder.counts);
}

/* What has come, at once. */
static enum mysql_answer_state receive(struct lean *lean, struct err *err)
{
    char piece[PIECE];
    for (;;) {
        ssize_t got = recv(lean->fd, piece, sizeof(piece), MSG_DONTWAIT);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0 && errno == EAGAIN)
            return MYSQL_ANSWER_MORE;
        if (got <= 0 || lean->answer.length + (size_t)got > ANSWER_MAX) {
            err_set(err, ST_UNREACHABLE,
                    got == 0  ? "the server closed the connection"
                    : got < 0 ? "the connection broke"
                              : "its answer is too long");
            return MYSQL_ANSWER_BROKEN;
        }
        buf_add_bytes(&lean->answer, piece, (size_t)got);
        enum mysql_answer_state state =
            mysql_answer_read(&lean->at, (const uint8_t *)lean->answer.data, lean->answer.length);
        if (state == MYSQL_ANSWER_BROKEN)
            err_set(err, ST_UNREACHABLE, "its answer is not the protocol");
        if (state != MYSQL_ANSWER_MORE)
            return state;
    }
}

enum lean_state lean_step(struct lean *lean, struct sql_result *ret_result, struct err *err)
{
    enum mysql_answer_state state = receive(lean, err);
    *ret_result = (struct sql_result){0};
    if (state == MYSQL_ANSWER_MORE)
        return LEAN_WAITS;
    if (state == MYSQL_ANSWER_BROKEN)
        return LEAN_BROKEN;
    if (state == MYSQL_ANSWER_DONE)
        build_result(&lean->answer, ret_result);
    else
        err_set(err, ST_SQL, "statement %zu: %s (error %u)", lean->at.statements + 1, lean->at.text,
                lean->at.number);
    buf_release(&lean->answer);
    return LEAN_ANSWERED;
}
