/* SPDX-License-Identifier: Apache-2.0
 *
 * Sets of global transaction ids, in the text forms of MariaDB and of MySQL. Pure: no I/O.
 *
 * MariaDB text is a position (gtid_binlog_pos, gtid_slave_pos, gtid_current_pos, Gtid_IO_Pos: one
 * entry a domain) or gtid_binlog_state (one entry a domain and server). An entry stands for all
 * transactions of its domain up to its sequence number; the entry with the highest sequence number
 * is where the domain is. MySQL text is a list of intervals per source (a server UUID, since 8.4
 * with an optional tag); parsing merges them.
 *
 * A set owns one array; {0} is an empty MariaDB set; release with gtid_set_release(). Sets are
 * always kept sorted. An empty set compares equal to an empty set of the other flavour; otherwise
 * sets of two flavours have nothing in common. Not thread-safe for writers.
 */
#ifndef HOLDFAST_WIRE_GTID_H
#define HOLDFAST_WIRE_GTID_H

#include "base/buf.h"
#include "base/err.h"

#include <stdint.h>

/* Caps on input: longer text or more entries than these are refused. */
enum { GTID_TEXT_MAX = 64 * 1024, GTID_ENTRIES_MAX = 4096 };
enum { GTID_TAG_MAX = 32, GTID_SOURCE_SIZE = 36 + 1 + GTID_TAG_MAX + 1 };

enum gtid_flavour { GTID_MARIADB, GTID_MYSQL };

struct gtid_entry {
    union {
        struct {
            uint32_t domain, server;
        };
        char source[GTID_SOURCE_SIZE]; /* MySQL: "uuid" or "uuid:tag", lower case */
    };
    uint64_t first, last; /* MariaDB: 'last' is the sequence number; MySQL: both inclusive */
};

struct gtid_set {
    enum gtid_flavour flavour;
    struct gtid_entry *items;
    size_t count, capacity;
};

/* How the left set relates to the right one. */
enum gtid_order { GTID_EQUAL, GTID_BEHIND, GTID_AHEAD, GTID_DIVERGED };

/* What a MariaDB replica is held against: where the primary's domains are (any position will do),
 * or also which servers wrote there (both sides must be gtid_binlog_state). */
enum gtid_scope { GTID_BY_DOMAIN, GTID_BY_SERVER };

void gtid_set_release(struct gtid_set *set);

/* White space between the parts is ignored; empty text is the empty set. ST_INVALID says at which
 * offset what is wrong. '*ret_set' is overwritten, not released. */
MUST_CHECK enum status gtid_set_parse(enum gtid_flavour flavour, const char *text, size_t length,
                                      struct gtid_set *ret_set, struct err *err);
/* The same for NUL-terminated text; NULL is the empty set. */
MUST_CHECK enum status gtid_set_parse_text(enum gtid_flavour flavour, const char *text,
                                           struct gtid_set *ret_set, struct err *err);
/* Append the canonical text: what the server would print, without white space. */
void gtid_set_format(const struct gtid_set *set, struct buf *buf);

bool gtid_set_is_empty(const struct gtid_set *set);
/* Is everything in 'inner' also in 'outer'? MariaDB: in each domain of 'inner', 'outer' is at
 * least as far. Server ids do not matter. */
bool gtid_set_contains(const struct gtid_set *outer, const struct gtid_set *inner);
bool gtid_set_equal(const struct gtid_set *left, const struct gtid_set *right);
enum gtid_order gtid_set_compare(const struct gtid_set *left, const struct gtid_set *right);
/* MariaDB: the same domains; MySQL: the same sources. */
bool gtid_set_same_domains(const struct gtid_set *left, const struct gtid_set *right);
/* MariaDB: the entry that says where the domain is; NULL when the domain is unknown. */
const struct gtid_entry *gtid_set_find_domain(const struct gtid_set *set, uint32_t domain);

/* What 'set' has and 'minus' lacks. MySQL: exactly. MariaDB: one entry for each domain in which
 * 'minus' is behind, 'first'..'last' being the sequence numbers that it lacks. */
void gtid_set_subtract(const struct gtid_set *set, const struct gtid_set *minus,
                       struct gtid_set *ret_set);
/* How many transactions of 'want' are missing in 'have'; stops at UINT64_MAX. MariaDB: the distance
 * of the sequence numbers, which is too high where numbers were skipped. */
uint64_t gtid_set_count_missing(const struct gtid_set *have, const struct gtid_set *want);
/* The same in words, appended: "12 transactions of domain 0 (0-*-101 to 0-1-112)"; false and
 * nothing appended when nothing is missing. */
bool gtid_set_describe_missing(const struct gtid_set *have, const struct gtid_set *want,
                               struct buf *buf);
/* Does the replica have transactions that its primary never had? Say so in words in 'buf'. Read the
 * primary's set after the replica's, or a healthy replica looks ahead. GTID_BY_SERVER finds writes
 * hidden below the primary's sequence number, but takes history that the primary purged for errant.
 */
bool gtid_set_find_errant(const struct gtid_set *replica, const struct gtid_set *primary,
                          enum gtid_scope scope, struct buf *buf);

#endif
