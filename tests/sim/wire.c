/* SPDX-License-Identifier: Apache-2.0
 * The MySQL protocol; see wire.h. All values are texts, and nothing is announced that would make a
 * client use a newer form (no EOF deprecation, no session tracking, no TLS). */
#include "sim/wire.h"

#include "base/invariant.h"

#include <openssl/sha.h>
#include <string.h>

enum {
    CAPABILITIES = 0x1 | 0x4 | 0x8 | 0x200 | 0x2000 | 0x8000 | 0x10000 | 0x20000 | 0x80000,
    /* long password, long flag, with database, protocol 41, transactions, secure connection,
     * multi-statements, multi-results, plugin authentication */
    CHARSET = 45, /* utf8mb4_general_ci */
    TYPE_TEXT = 253,
    STATUS_AUTOCOMMIT = 2,
    STATUS_MORE = 8,
    LENGTH_NULL = 0xfb,
    LENGTH_16 = 0xfc,
    LENGTH_24 = 0xfd,
};

#define PLUGIN "mysql_native_password"

static void add_number(struct buf *out, uint64_t number, size_t bytes)
{
    for (; bytes > 0; bytes--, number >>= 8)
        buf_add_bytes(out, &(uint8_t){(uint8_t)number}, 1);
}

static void add_length(struct buf *out, size_t length)
{
    if (length < LENGTH_NULL) {
        add_number(out, length, 1);
        return;
    }
    bool is_short = length <= UINT16_MAX;
    add_number(out, is_short ? LENGTH_16 : LENGTH_24, 1);
    add_number(out, length, is_short ? 2 : 3);
}

static void add_text(struct buf *out, const char *text)
{
    size_t length = strlen(text);
    add_length(out, length);
    buf_add_bytes(out, text, length);
}

/* A packet's header is filled in when its length is known. */
static size_t packet_begin(struct wire_reply *reply)
{
    size_t begun = reply->out->length;
    add_number(reply->out, 0, WIRE_HEADER);
    return begun;
}

static void packet_end(struct wire_reply *reply, size_t begun)
{
    size_t length = reply->out->length - begun - WIRE_HEADER;
    INVARIANT(length < 1 << 24);
    char *header = reply->out->data + begun;
    for (int i = 0; i < 3; i++)
        header[i] = (char)(uint8_t)(length >> (8 * i));
    header[3] = (char)reply->sequence++;
}

static uint64_t status_flags(const struct wire_reply *reply)
{
    return STATUS_AUTOCOMMIT | (reply->has_more ? STATUS_MORE : 0);
}

/* --- Authentication --------------------------------------------------------------------------- */

void wire_key_init(struct wire_key *key, const char *password)
{
    SHA1((const uint8_t *)password, strlen(password), key->once);
    SHA1(key->once, WIRE_DIGEST, key->twice);
}

bool wire_key_opens(const struct wire_key *key, const uint8_t scramble[static WIRE_SCRAMBLE],
                    const struct wire_login *login)
{
    uint8_t both[WIRE_SCRAMBLE + WIRE_DIGEST], mask[WIRE_DIGEST];
    memcpy(both, scramble, WIRE_SCRAMBLE);
    memcpy(both + WIRE_SCRAMBLE, key->twice, WIRE_DIGEST);
    SHA1(both, sizeof(both), mask);
    for (int i = 0; i < WIRE_DIGEST; i++)
        mask[i] ^= key->once[i];
    return login->has_token && memcmp(mask, login->token, WIRE_DIGEST) == 0;
}

void wire_greet(struct wire_reply *reply, const char *version, uint32_t connection,
                const uint8_t scramble[static WIRE_SCRAMBLE])
{
    struct buf *out = reply->out;
    size_t begun = packet_begin(reply);
    add_number(out, 10, 1);
    buf_add_bytes(out, version, strlen(version) + 1);
    add_number(out, connection, 4);
    buf_add_bytes(out, scramble, 8);
    add_number(out, 0, 1);
    add_number(out, CAPABILITIES & 0xffff, 2);
    add_number(out, CHARSET, 1);
    add_number(out, STATUS_AUTOCOMMIT, 2);
    add_number(out, CAPABILITIES >> 16, 2);
    add_number(out, WIRE_SCRAMBLE + 1, 1);
    add_number(out, 0, 10);
    buf_add_bytes(out, scramble + 8, WIRE_SCRAMBLE - 8);
    add_number(out, 0, 1);
    buf_add_bytes(out, PLUGIN, sizeof(PLUGIN));
    packet_end(reply, begun);
}

/* Flags, packet size, charset, 23 reserved bytes; the user; the answer to the scramble. What comes
 * after that (a database, attributes) changes nothing here. */
bool wire_read_login(const uint8_t *body, size_t length, struct wire_login *ret)
{
    enum { FIXED = 32 };
    *ret = (struct wire_login){0};
    const uint8_t *end = length > FIXED ? memchr(body + FIXED, 0, length - FIXED) : NULL;
    if (!end || end - body - FIXED >= WIRE_USER_MAX)
        return false;
    memcpy(ret->user, body + FIXED, (size_t)(end - body) - FIXED);
    size_t left = length - (size_t)(end + 1 - body);
    ret->has_token = left > WIRE_DIGEST && end[1] == WIRE_DIGEST;
    if (ret->has_token)
        memcpy(ret->token, end + 2, WIRE_DIGEST);
    return true;
}

/* --- Replies ---------------------------------------------------------------------------------- */

void wire_ok(struct wire_reply *reply, uint64_t rows)
{
    size_t begun = packet_begin(reply);
    add_number(reply->out, 0, 1);
    add_length(reply->out, rows);
    add_length(reply->out, 0); /* last insert id */
    add_number(reply->out, status_flags(reply), 2);
    add_number(reply->out, 0, 2);
    packet_end(reply, begun);
}

void wire_error(struct wire_reply *reply, unsigned code, const char *state, const char *text)
{
    size_t begun = packet_begin(reply);
    add_number(reply->out, 0xff, 1);
    add_number(reply->out, code, 2);
    buf_add(reply->out, "#");
    buf_add(reply->out, state);
    buf_add(reply->out, text);
    packet_end(reply, begun);
}

static void add_eof(struct wire_reply *reply)
{
    size_t begun = packet_begin(reply);
    add_number(reply->out, 0xfe, 1);
    add_number(reply->out, 0, 2);
    add_number(reply->out, status_flags(reply), 2);
    packet_end(reply, begun);
}

static void add_column(struct wire_reply *reply, const char *name)
{
    struct buf *out = reply->out;
    size_t begun = packet_begin(reply);
    add_text(out, "def");
    for (int i = 0; i < 3; i++) /* database, table, its alias */
        add_text(out, "");
    add_text(out, name);
    add_text(out, "");
    add_number(out, 12, 1);
    add_number(out, CHARSET, 2);
    add_number(out, 1024, 4);
    add_number(out, TYPE_TEXT, 1);
    add_number(out, 0, 2 + 1 + 2);
    packet_end(reply, begun);
}

void wire_columns(struct wire_reply *reply, const char *const *names, size_t count)
{
    size_t begun = packet_begin(reply);
    add_length(reply->out, count);
    packet_end(reply, begun);
    for (size_t i = 0; i < count; i++)
        add_column(reply, names[i]);
    add_eof(reply);
}

size_t wire_row_begin(struct wire_reply *reply)
{
    return packet_begin(reply);
}

void wire_value(struct wire_reply *reply, const char *text)
{
    if (text)
        add_text(reply->out, text);
    else
        add_number(reply->out, LENGTH_NULL, 1);
}

void wire_row_end(struct wire_reply *reply, size_t begun)
{
    packet_end(reply, begun);
}

void wire_rows_end(struct wire_reply *reply)
{
    add_eof(reply);
}
