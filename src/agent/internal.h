/* SPDX-License-Identifier: Apache-2.0
 *
 * Shared by the files of agent/ only. The loop thread owns 'struct agent' and all in it; the asker
 * (HTTP) and the scribe (disk) are threads of their own, because both may hang: what they have is
 * handed over under their locks, and they ring the loop's bell.
 */
#ifndef HOLDFAST_AGENT_INTERNAL_H
#define HOLDFAST_AGENT_INTERNAL_H

#include "agent/agent.h"
#include "agent/fence.h"
#include "api/permit.h"
#include "base/buf.h"
#include "base/log.h"
#include "os/process.h"
#include "permit/holder.h"
#include "sql/conn.h"
#include "sql/flavour.h"

struct agent;

/* ---- state.c: files that outlive the agent ---- */
/* What was permitted: for this boot only, so it is not synced. False: nothing was kept in it. */
bool state_load_permission(const char *folder, struct permit_holder *holder);
char *state_write_permission(const struct permit_holder *holder); /* the caller frees */
void state_keep_permission(const char *folder, const char *text);
void state_forget_permission(const char *folder);
bool state_load_process(const char *folder, const char *server, struct process *ret);
void state_keep_process(const char *folder, const char *server, const struct process *process);
MUST_CHECK enum status state_keep_positions(const char *folder, const char *server,
                                            const char *json, struct err *err);
char *state_positions_path(const char *folder, const char *server); /* the caller frees */
MUST_CHECK enum status state_lock(const char *folder, int *ret_fd, struct err *err);

/* ---- identity.c ---- */
/* The process that is the server which said this of itself, on this machine. */
MUST_CHECK enum status identity_find(const struct sql_process *said, struct process *ret,
                                     struct err *err);
/* All its threads have ended: none of them does anything any more. */
bool identity_has_ended(const struct process *process);

/* ---- scribe.c: all that touches a disk ---- */
struct scribe;
struct scribe *scribe_start(const char *folder, const struct agent *agent, int bell);
void scribe_stop(struct scribe *scribe); /* NULL is fine */
void scribe_keep_permission(struct scribe *scribe, char *take_text);
void scribe_keep_positions(struct scribe *scribe, size_t server, char *take_json);
void scribe_identify(struct scribe *scribe, size_t server, const struct sql_process *said);
/* False: nothing was found yet. Else 'ret', or why not in 'ret_err'. */
bool scribe_take_process(struct scribe *scribe, size_t server, struct process *ret,
                         struct err *ret_err);

/* ---- asker.c: asks the conductors of the region ---- */
struct asker;
struct asker_answer {
    nsec sent; /* before the question was */
    const char *conductor;
    struct permit_answer answer;
};
struct asker *asker_start(const struct agent_config *config, int bell);
void asker_stop(struct asker *asker);  /* NULL is fine */
void asker_pause(struct asker *asker); /* asks no more; returns at once */
/* What is asked from now on; at once when 'is_urgent'. */
void asker_set_question(struct asker *asker, json_t *take_question, bool is_urgent);
bool asker_take(struct asker *asker, struct asker_answer *ret); /* the oldest not taken yet */
bool asker_went_round(struct asker *asker);                     /* each was asked once */
void asker_problem(struct asker *asker, struct err *ret);       /* of the last that gave nothing */

/* ---- notify.c: systemd, if it started us ---- */
void notify_send(const char *state);
nsec notify_watchdog(void); /* after which silence it takes us for dead; 0: never */

/* ---- guard.c, errand.c: one server ---- */
enum slot_id { SLOT_STANDBY, SLOT_WATCH, SLOT_FRESH, SLOTS };
enum errand {
    ERRAND_NONE,
    ERRAND_LOOK,
    ERRAND_POSITIONS,
    ERRAND_SHUT,
    ERRAND_CONFIRM,
    ERRAND_EVICT
};

struct slot { /* a connection, and the call on it */
    struct sql_conn *conn;
    struct sql_call call;
    struct buf sql;
    enum errand errand;
    struct permit_moment moment; /* what was known before the call began */
};

struct guard {
    struct agent *agent;
    size_t index; /* in the agent's guards[] */
    const struct inventory_server *server;
    struct slot slots[SLOTS];

    /* What was seen of it. */
    nsec looked; /* when the newest look began that was answered; 0: none */
    bool is_open;
    struct process process;
    bool has_process;
    bool is_dead;          /* that process ended, and no other answered since */
    enum closure reported; /* to the conductors */
    int64_t reported_revision;

    /* What is done about it. */
    struct fence_view fence;
    nsec shut_at; /* it confirmed to have been closed then */
    int failures; /* in a row, to close it */
    nsec next_look, next_positions, next_confirm;
    int64_t evict;   /* the connection that has the server's lock; 0: none was seen */
    int64_t evicted; /* the last one that was ended; 0: nobody had the lock since */
    bool is_identifying;
    char *trouble;       /* what was said last of why it cannot be killed */
    struct err kill_err; /* why the last signal did not reach it */
};

void guard_init(struct guard *guard, struct agent *agent, size_t index);
void guard_release(struct guard *guard);
void guard_fence(struct guard *guard, nsec now); /* first of all */
void guard_look(struct guard *guard, nsec now);  /* what is due beside that */
nsec guard_next(const struct guard *guard, nsec now);
enum closure guard_closure(const struct guard *guard, nsec now, int64_t *ret_revision);
bool guard_is_settled(const struct guard *guard); /* closed, or dead, or nothing is left to do */
void guard_on_done(struct guard *guard, struct slot *slot);
void guard_check_process(struct guard *guard); /* whether it has ended */

bool slot_is_ready(const struct slot *slot); /* open and idle */
void errand_begin(struct guard *guard, enum slot_id id, enum errand errand, nsec deadline);

/* ---- loop.c ---- */
struct agent_note { /* said when everything was done that had to be done first */
    enum log_event_id event;
    char *server, *is, *why;
};

struct agent {
    const struct agent_config *config;
    nsec began;
    nsec period;                 /* of asking, and of looking at a server */
    nsec ttl;                    /* or the RPO, with rpo_guard, if that is shorter */
    struct permit_holder holder; /* what is permitted: its servers are the guards, in order */
    nsec trial_until; /* until then it means nothing yet that nobody permitted anything */
    bool was_permitted;
    struct guard *guards;
    size_t guard_count;
    struct asker *asker; /* NULL: it asks nobody */
    struct scribe *scribe;
    int bell, timer, signals;
    bool is_to_keep; /* what is permitted has changed */
    nsec next_beat;  /* to systemd */
    bool is_changed; /* what is asked has to be written anew */
    bool is_ready;   /* told to systemd */
    int stops;       /* how often it was told to stop */
    bool is_to_reload;
    struct agent_note *notes;
    size_t note_count, note_capacity;
};
/* server: NULL when it is of none. Texts are copied. */
void agent_note(struct agent *agent, enum log_event_id event, const struct guard *guard,
                const char *is, const char *why);
nsec agent_end(const struct agent *agent); /* of the last permission */
void agent_loop(struct agent *agent);      /* until it is to end */

#endif
