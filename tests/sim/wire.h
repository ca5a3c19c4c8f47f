/* SPDX-License-Identifier: Apache-2.0
 *
 * The MySQL protocol, as far as a client library needs it from a server: bytes only, no I/O.
 * A reply is built in a buffer, packet by packet; 'sequence' numbers them.
 */
#ifndef HOLDFAST_SIM_WIRE_H
#define HOLDFAST_SIM_WIRE_H

#include "base/buf.h"

#include <stdbool.h>
#include <stdint.h>

enum { WIRE_HEADER = 4, WIRE_SCRAMBLE = 20, WIRE_DIGEST = 20, WIRE_PACKET_MAX = 1024 * 1024 };
enum { WIRE_USER_MAX = 64 };
enum wire_command { WIRE_QUIT = 1, WIRE_QUERY = 3, WIRE_PING = 14 };

struct wire_reply {
    struct buf *out;
    uint8_t sequence;
    bool has_more; /* another result follows this one */
};

/* SHA1(password), SHA1(SHA1(password)) */
struct wire_key {
    uint8_t once[WIRE_DIGEST], twice[WIRE_DIGEST];
};

struct wire_login {
    char user[WIRE_USER_MAX];
    uint8_t token[WIRE_DIGEST];
    bool has_token; /* false: no password was given */
};

void wire_key_init(struct wire_key *key, const char *password);
/* Is this the answer of somebody who knows the password? */
bool wire_key_opens(const struct wire_key *key, const uint8_t scramble[static WIRE_SCRAMBLE],
                    const struct wire_login *login);

void wire_greet(struct wire_reply *reply, const char *version, uint32_t connection,
                const uint8_t scramble[static WIRE_SCRAMBLE]);
bool wire_read_login(const uint8_t *body, size_t length, struct wire_login *ret);

void wire_ok(struct wire_reply *reply, uint64_t rows);
void wire_error(struct wire_reply *reply, unsigned code, const char *state, const char *text);
/* A result set: columns, then for each row begin, values (NULL is one), end; then end. */
void wire_columns(struct wire_reply *reply, const char *const *names, size_t count);
size_t wire_row_begin(struct wire_reply *reply);
void wire_value(struct wire_reply *reply, const char *text);
void wire_row_end(struct wire_reply *reply, size_t begun);
void wire_rows_end(struct wire_reply *reply);

#endif
