/* SPDX-License-Identifier: Apache-2.0
 * See mysql.h. A packet is three bytes of length, one of sequence, and that many bytes. */
#include "wire/mysql.h"

#include <string.h>

enum { HEADER = 4, PART_MAX = 0xffffff, COMMAND_QUERY = 3 };
enum { BYTE_OK = 0x00, BYTE_NULL = 0xfb, BYTE_EOF = 0xfe, BYTE_ERR = 0xff, EOF_MAX = 9 };
enum { STATUS_MORE_RESULTS = 8 };
enum { STAGE_FIRST, STAGE_COLUMNS, STAGE_COLUMNS_END, STAGE_ROWS };
enum { DEFINITION_NAME = 4 /* fifth text of a column's definition */ };

struct span {
    const uint8_t *at, *end;
};

static bool take_number(struct span *from, size_t bytes, uint64_t *ret)
{
    uint64_t number = 0;
    if ((size_t)(from->end - from->at) < bytes)
        return false;
    for (size_t i = 0; i < bytes; i++)
        number |= (uint64_t)from->at[i] << (8 * i);
    from->at += bytes;
    *ret = number;
    return true;
}

/* A length, or a number, in one to nine bytes. */
static bool take_length(struct span *from, uint64_t *ret)
{
    uint64_t first = 0;
    if (!take_number(from, 1, &first))
        return false;
    if (first < BYTE_NULL) {
        *ret = first;
        return true;
    }
    size_t bytes = first == 0xfc ? 2 : first == 0xfd ? 3 : first == 0xfe ? 8 : 0;
    return bytes > 0 && take_number(from, bytes, ret);
}

static bool take_text(struct span *from, const char **ret, size_t *ret_length)
{
    uint64_t length = 0;
    if (!take_length(from, &length) || length > (uint64_t)(from->end - from->at))
        return false;
    *ret = (const char *)from->at;
    *ret_length = (size_t)length;
    from->at += length;
    return true;
}

/* The packet at 'at'; 'more': it has not come whole; 'broken': longer than what we ask for gives.
 */
static enum mysql_answer_state packet_at(const uint8_t *bytes, size_t length, size_t at,
                                         struct span *ret)
{
    if (length - at < HEADER)
        return MYSQL_ANSWER_MORE;
    size_t size = (size_t)bytes[at] | (size_t)bytes[at + 1] << 8 | (size_t)bytes[at + 2] << 16;
    if (size == 0 || size == PART_MAX)
        return MYSQL_ANSWER_BROKEN;
    if (length - at - HEADER < size)
        return MYSQL_ANSWER_MORE;
    *ret = (struct span){bytes + at + HEADER, bytes + at + HEADER + size};
    return MYSQL_ANSWER_DONE;
}

static size_t size_of(const struct span *packet)
{
    return (size_t)(packet->end - packet->at);
}

static bool is_eof(const struct span *packet)
{
    return packet->at[0] == BYTE_EOF && size_of(packet) < EOF_MAX;
}

/* ---- reading as it comes ---- */

static enum mysql_answer_state end_statement(struct mysql_answer *answer, uint64_t status)
{
    answer->statements++;
    answer->stage = STAGE_FIRST;
    return status & STATUS_MORE_RESULTS ? MYSQL_ANSWER_MORE : MYSQL_ANSWER_DONE;
}

/* Error: number, "#" and five letters of SQL state, the words. */
static enum mysql_answer_state read_error(struct mysql_answer *answer, struct span packet)
{
    uint64_t number = 0;
    packet.at++;
    if (!take_number(&packet, 2, &number))
        return MYSQL_ANSWER_BROKEN;
    if (size_of(&packet) >= 6 && packet.at[0] == '#')
        packet.at += 6;
    size_t length = size_of(&packet);
    if (length >= MYSQL_ERROR_MAX)
        length = MYSQL_ERROR_MAX - 1;
    answer->number = (unsigned)number;
    memcpy(answer->text, packet.at, length);
    answer->text[length] = '\0';
    return MYSQL_ANSWER_ERROR;
}

static enum mysql_answer_state read_ok(struct mysql_answer *answer, struct span packet)
{
    uint64_t rows = 0, id = 0, status = 0;
    packet.at++;
    if (!take_length(&packet, &rows) || !take_length(&packet, &id) ||
        !take_number(&packet, 2, &status))
        return MYSQL_ANSWER_BROKEN;
    return end_statement(answer, status);
}

static enum mysql_answer_state read_eof(struct mysql_answer *answer, struct span packet)
{
    uint64_t warnings = 0, status = 0;
    packet.at++;
    if (!take_number(&packet, 2, &warnings) || !take_number(&packet, 2, &status))
        return MYSQL_ANSWER_BROKEN;
    return end_statement(answer, status);
}

static enum mysql_answer_state read_first(struct mysql_answer *answer, struct span packet)
{
    uint64_t columns = 0;
    if (packet.at[0] == BYTE_OK)
        return read_ok(answer, packet);
    if (!take_length(&packet, &columns) || columns == 0 || columns > MYSQL_COLUMNS_MAX)
        return MYSQL_ANSWER_BROKEN;
    /* MariaDB may add that the columns are described, which they are in this protocol. */
    if (size_of(&packet) > 1 || (size_of(&packet) == 1 && *packet.at != 1))
        return MYSQL_ANSWER_BROKEN;
    answer->columns_left = (size_t)columns;
    answer->stage = STAGE_COLUMNS;
    return MYSQL_ANSWER_MORE;
}

static enum mysql_answer_state read_packet(struct mysql_answer *answer, struct span packet)
{
    if (packet.at[0] == BYTE_ERR && answer->stage != STAGE_COLUMNS)
        return read_error(answer, packet);
    switch (answer->stage) {
    case STAGE_FIRST:
        return read_first(answer, packet);
    case STAGE_COLUMNS:
        answer->stage = --answer->columns_left == 0 ? STAGE_COLUMNS_END : STAGE_COLUMNS;
        return MYSQL_ANSWER_MORE;
    case STAGE_COLUMNS_END:
        answer->stage = STAGE_ROWS;
        return is_eof(&packet) ? MYSQL_ANSWER_MORE : MYSQL_ANSWER_BROKEN;
    default:
        return is_eof(&packet) ? read_eof(answer, packet) : MYSQL_ANSWER_MORE;
    }
}

enum mysql_answer_state mysql_answer_read(struct mysql_answer *answer, const uint8_t *bytes,
                                          size_t length)
{
    enum mysql_answer_state state = MYSQL_ANSWER_MORE;
    while (state == MYSQL_ANSWER_MORE) {
        struct span packet;
        state = packet_at(bytes, length, answer->at, &packet);
        if (state != MYSQL_ANSWER_DONE)
            return state;
        answer->at = (size_t)(packet.end - bytes);
        state = read_packet(answer, packet);
    }
    if (state == MYSQL_ANSWER_DONE && answer->at != length)
        return MYSQL_ANSWER_BROKEN; /* nobody asked for more */
    return state;
}

/* ---- what is in it ---- */

static void visit_column(struct span packet, const struct mysql_visitor *visitor)
{
    const char *text = "";
    size_t length = 0;
    for (int i = 0; i <= DEFINITION_NAME; i++)
        if (!take_text(&packet, &text, &length))
            text = "", length = 0;
    visitor->column(visitor->context, text, length);
}

/* A row that has fewer values than columns has NULLs. */
static void visit_row(struct span packet, size_t columns, const struct mysql_visitor *visitor)
{
    visitor->row(visitor->context);
    for (size_t i = 0; i < columns; i++) {
        const char *text = NULL;
        size_t length = 0;
        bool is_null = packet.at < packet.end && *packet.at == BYTE_NULL;
        if (is_null)
            packet.at++;
        else if (!take_text(&packet, &text, &length))
            text = NULL;
        visitor->value(visitor->context, text, length);
    }
}

void mysql_answer_visit(const uint8_t *bytes, size_t length, const struct mysql_visitor *visitor)
{
    struct mysql_answer answer = {0};
    size_t columns = 0;
    enum mysql_answer_state state = MYSQL_ANSWER_MORE;
    struct span packet;
    while (state == MYSQL_ANSWER_MORE &&
           packet_at(bytes, length, answer.at, &packet) == MYSQL_ANSWER_DONE) {
        int stage = answer.stage;
        answer.at = (size_t)(packet.end - bytes);
        state = read_packet(&answer, packet);
        if (stage == STAGE_FIRST && state <= MYSQL_ANSWER_DONE) {
            columns = answer.stage == STAGE_COLUMNS ? answer.columns_left : 0;
            visitor->set(visitor->context, columns);
        } else if (stage == STAGE_COLUMNS) {
            visit_column(packet, visitor);
        } else if (stage == STAGE_ROWS && !is_eof(&packet) && state == MYSQL_ANSWER_MORE) {
            visit_row(packet, columns, visitor);
        }
    }
}

void mysql_add_query(struct buf *out, const char *sql)
{
    size_t size = strlen(sql) + 1;
    const uint8_t header[HEADER + 1] = {(uint8_t)size, (uint8_t)(size >> 8), (uint8_t)(size >> 16),
                                        0, COMMAND_QUERY};
    buf_add_bytes(out, header, sizeof(header));
    buf_add(out, sql);
}
