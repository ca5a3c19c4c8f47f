/* SPDX-License-Identifier: Apache-2.0
 * Shared inside move/ only: the parts of a move, and the gate before the freeze. */
#ifndef HOLDFAST_MOVE_INTERNAL_H
#define HOLDFAST_MOVE_INTERNAL_H

#include "move/move.h"

enum { MOVE_RECORD_MS = 2000 }; /* for writing a state */

/* ---- the route (record.c) ---- */
/* Write the next state. ST_FENCED: another process took over. Other failures surely did not
 * happen, or move->is_route_doubtful is set. */
MUST_CHECK enum status move_record(struct move *move, enum shard_state next, nsec deadline,
                                   struct err *err);

/* The right to open this end of the move again, in the store, later than a look at its clock: from
 * then on nobody opens another server before the statement counts no more, *ret_span after that
 * look. The route stays as it is. ST_NO_GO: it may not serve; view.is_refused is set. */
MUST_CHECK enum status move_claim(struct move *move, const struct inventory_server *server,
                                  nsec deadline, nsec *ret_span, struct err *err);

/* ---- steps: each sets what it found out in move->view ---- */
MUST_CHECK enum status step_prepare(struct move *move, struct err *err);
MUST_CHECK enum status step_freeze(struct move *move, struct err *err);
MUST_CHECK enum status step_promote(struct move *move, struct err *err);
MUST_CHECK enum status step_confirm(struct move *move, struct err *err);
MUST_CHECK enum status step_redirect(struct move *move, struct err *err);
MUST_CHECK enum status step_verify(struct move *move, struct err *err);
MUST_CHECK enum status step_undo(struct move *move, struct err *err);

/* The old primary replicates from the new one (follow.c); the new one has forgotten its source. */
MUST_CHECK enum status move_follow(struct move *move, nsec deadline, struct err *err);
/* Who else of the shard accepts writes than this server, which is to do so (verify.c)? ST_CONFLICT
 * says who; view.is_moved_on is set when that is exactly one, which follows nobody, in its place.
 */
MUST_CHECK enum status move_check_alone(struct move *move, const struct inventory_server *end,
                                        struct err *err);
/* The same of an end of the move that does not answer, or is not known any more (NULL): true with
 * the words when somebody else made another server the primary instead. */
bool move_was_moved_on(struct move *move, const struct inventory_server *end, struct err *err);
/* Does this server answer, and accept writes (verify.c)? NULL does not. */
bool move_accepts_writes(struct move *move, const struct inventory_server *server, nsec deadline);
/* One packet to the old primary and to all servers that are not in the new one's region, by
 * connections of their own (verify.c). */
void move_tell_region(struct move *move, const char *sql, nsec deadline);

/* Add a line of warning to the shard's report. */
void move_note(struct move *move, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
