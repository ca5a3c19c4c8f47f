/* SPDX-License-Identifier: Apache-2.0
 *
 * Back to the old home: the old primary accepts writes again. The plan comes here only when the
 * new primary was never sent a promote statement or is confirmed closed. A frozen session is
 * evicted first: a freeze that still waits would close the server again after it was opened. */
#include "move/internal.h"
#include "move/mandate.h"

#include "base/scope.h"

enum { UNDO_MS = 3000 };

enum status step_undo(struct move *move, struct err *err)
{
    if (!move->old_server)
        return err_set(err, ST_INVALID,
                       "the route names the old primary %s, which the fleet file "
                       "does not have",
                       move->route.old_primary);
    nsec began = clock_now(), deadline = clock_deadline(UNDO_MS);
    AUTO(buf_release) struct buf sql = {0};
    AUTO(sql_result_release) struct sql_result result = {0};
    session_drop(&move->old_session);
    enum status status = session_take(move, &move->old_session, deadline, err);
    move->flavour->open(&sql);
    if (!status)
        status =
            session_exec(&move->old_session, CALL_OPEN_OLD, buf_text(&sql), deadline, &result, err);
    move_phase_add(move, PHASE_UNDO, began);
    if (status == ST_FENCED)
        return status;
    if (status) {
        err_wrap(err, "open %s again", move->old_server->name);
        err_hint(err, "bring %s back, then: holdfast run resume %s", move->old_server->name,
                 move->mandate->run);
        return status;
    }
    if (sql_number(session_last_value(&result), 1) != 0)
        return err_set(err, ST_SQL, "%s is still read-only", move->old_server->name);
    move->view.old_primary = OLD_OPEN;
    return ST_OK;
}
