/* SPDX-License-Identifier: Apache-2.0
 *
 * The privileges that Holdfast's three accounts need, each with its reason: one table, from which
 * 'fleet grants' prints SQL, readiness says what is missing, and docs/grants.md is checked.
 */
#ifndef HOLDFAST_FLEET_GRANTS_H
#define HOLDFAST_FLEET_GRANTS_H

#include "base/buf.h"
#include "fleet/inventory.h"

enum account_kind { ACCOUNT_CONTROL, ACCOUNT_REPLICATION, ACCOUNT_PROBE, ACCOUNT_KINDS };

struct grant {
    enum account_kind account;
    const char *scope;             /* "*.*", "holdfast.*" */
    const char *privilege, *alias; /* alias: another name that servers use; NULL: none */
    bool is_optional; /* Holdfast works without, with a warning that says what is not done */
    const char *why;
};

extern const struct grant grants[];
extern const size_t grant_count;

/* What SHOW GRANTS printed, line by line. */
struct grant_lines {
    const char *const *lines;
    size_t count;
};

/* Does the account that these lines are of have the privilege? */
bool grant_is_held(const struct grant_lines *held, const struct grant *grant);
/* Append "PROCESS, RELOAD on *.*; CREATE on holdfast.*": what the account lacks of what it needs.
 * False when nothing is missing. */
bool grants_describe_missing(const struct grant_lines *held, enum account_kind account,
                             struct buf *ret);
/* May it write on a read-only server? */
bool grants_write_past_read_only(const struct grant_lines *held);

/* The statements that create the accounts and their grants, for the primary of a shard. 'fleet'
 * gives names and, when they are loaded and wanted, passwords; else there is a placeholder that no
 * server accepts. */
void grants_write_sql(const struct inventory *fleet, const char *host, bool with_passwords,
                      struct buf *sql);
const struct inventory_account *grants_account(const struct inventory *fleet,
                                               enum account_kind account);

#endif
