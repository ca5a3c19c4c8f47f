/* SPDX-License-Identifier: Apache-2.0
 *
 * A server's answer to a packet of statements, in the text protocol that MySQL and MariaDB share
 * (protocol 4.1, EOF packets, no compression). Read as it comes, from a stranger: whatever the
 * bytes are, nothing is read outside them. Pure: no I/O.
 */
#ifndef HOLDFAST_WIRE_MYSQL_H
#define HOLDFAST_WIRE_MYSQL_H

#include "base/buf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    MYSQL_COLUMNS_MAX = 512, /* more in one set is no answer to what we ask */
    MYSQL_ERROR_MAX = 256    /* bytes of an error's text that are kept */
};

enum mysql_answer_state {
    MYSQL_ANSWER_MORE,  /* the rest has not come yet */
    MYSQL_ANSWER_DONE,  /* all statements were answered */
    MYSQL_ANSWER_ERROR, /* one failed: 'number', 'text'; those before it were answered */
    MYSQL_ANSWER_BROKEN /* this is not the protocol */
};

/* Where the reading is. {0} at the beginning of an answer. */
struct mysql_answer {
    size_t at; /* bytes that were understood */
    int stage; /* what the next packet is; private */
    size_t columns_left;
    size_t statements; /* answered without an error */
    unsigned number;
    char text[MYSQL_ERROR_MAX];
};

/* 'bytes': the whole answer so far, from its beginning. */
enum mysql_answer_state mysql_answer_read(struct mysql_answer *answer, const uint8_t *bytes,
                                          size_t length);

/* What is in an answer that mysql_answer_read() found done, in order. A statement without rows has
 * no columns. */
struct mysql_visitor {
    void (*set)(void *context, size_t columns);
    void (*column)(void *context, const char *name, size_t length);
    void (*row)(void *context);
    void (*value)(void *context, const char *text, size_t length); /* NULL: SQL NULL */
    void *context;
};
void mysql_answer_visit(const uint8_t *bytes, size_t length, const struct mysql_visitor *visitor);

/* Append the command that runs these statements. */
void mysql_add_query(struct buf *out, const char *sql);

#endif
