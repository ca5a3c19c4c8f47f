/* SPDX-License-Identifier: Apache-2.0
 * A client's connection; see session.h. A session that is idle owns no buffers. */
#include "sim/session.h"

#include "base/mem.h"
#include "base/scope.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>

enum { READ_SIZE = 64 * 1024, KEEP_SIZE = 256 };

#define VERSION "5.5.5-10.11.19-MariaDB-simfleet"

static void process_input(struct session *session);

/* --- Begin and end ---------------------------------------------------------------------------- */

void session_shrink(struct buf *buf)
{
    buf_clear(buf);
    if (buf->capacity > KEEP_SIZE)
        buf_release(buf);
}

static void let_go(struct session *session)
{
    struct sim_server *server = session->server;
    session_stop_waiting(session);
    if (server->backup == session)
        server->backup = NULL;
    for (size_t i = 0; i < SIM_LOCKS; i++)
        if (server->locks[i].holder == session)
            server->locks[i].holder = NULL;
    sim_server_changed(server);
}

void session_end(struct session *session)
{
    struct sim *sim = sim_of(session->server);
    let_go(session);
    loop_close(sim->loop, &session->watch);
    if (session->next)
        session->next->previous = session->previous;
    if (session->previous)
        session->previous->next = session->next;
    else
        session->server->sessions = session->next;
    buf_release(&session->in);
    buf_release(&session->out);
    buf_release(&session->packet);
    session->serial++;
    session->next = sim->free_sessions;
    sim->free_sessions = session;
    sim->stats.sessions--;
}

/* A server does not notice that the client of a running statement went away. */
static void client_gone(struct session *session)
{
    if (!session->is_waiting) {
        session_end(session);
        return;
    }
    loop_close(sim_of(session->server)->loop, &session->watch);
    session->is_orphan = true;
}

/* --- Sending ---------------------------------------------------------------------------------- */

static void answered(struct session *session)
{
    session->sent = 0;
    session_shrink(&session->out);
    if (session->is_leaving)
        session_end(session);
    else if (session->phase == SESSION_ANSWERING)
        session->phase = SESSION_READY;
}

static void flush(struct session *session)
{
    struct loop *loop = sim_of(session->server)->loop;
    if (session->server->is_hung)
        return;
    session->is_blocked = false;
    while (session->sent < session->out.length) {
        ssize_t count = send(session->watch.fd, session->out.data + session->sent,
                             session->out.length - session->sent, MSG_NOSIGNAL);
        if (count < 0 && errno == EAGAIN) {
            session->is_blocked = true;
            loop_want_write(loop, &session->watch, true);
            return;
        }
        if (count < 0) {
            session_end(session);
            return;
        }
        session->sent += (size_t)count;
    }
    answered(session);
}

static void on_late(const struct timer *timer)
{
    struct session *session = timer->object;
    if (session->serial != timer->stamp)
        return;
    flush(session);
    if (session->serial == timer->stamp)
        process_input(session);
}

static void send_after(struct session *session, nsec delay)
{
    if (delay == 0) {
        flush(session);
        return;
    }
    struct timer timer = {clock_now() + delay, on_late, session, session->serial, 0};
    loop_at(sim_of(session->server)->loop, &timer);
}

void session_reply(struct session *session)
{
    if (session->is_orphan) {
        session_end(session);
        return;
    }
    session->phase = SESSION_ANSWERING;
    send_after(session, sim_server_delay(session->server));
}

/* --- Log-in ----------------------------------------------------------------------------------- */

static const struct sim_account *find_account(const struct sim *sim, const char *user,
                                              int *ret_index)
{
    for (int i = 0; i < SIM_ACCOUNTS; i++)
        if (strcmp(sim->accounts[i].user, user) == 0) {
            *ret_index = i;
            return &sim->accounts[i];
        }
    return NULL;
}

static void log_in(struct session *session, const uint8_t *body, size_t length)
{
    struct wire_login login;
    bool is_read = wire_read_login(body, length, &login);
    const struct sim_account *account =
        is_read ? find_account(sim_of(session->server), login.user, &session->account) : NULL;
    session->reply.sequence = 2;
    if (account && wire_key_opens(&account->key, session->scramble, &login)) {
        wire_ok(&session->reply, 0);
    } else {
        session->is_leaving = true;
        session_fail(session, 1045, "28000",
                     "Access denied for user '%s'@'127.0.0.1' (using "
                     "password: %s)",
                     login.user, login.has_token ? "YES" : "NO");
    }
    session_reply(session);
}

/* No zero bytes: the scramble is sent as a text. */
static void make_scramble(uint8_t ret[static WIRE_SCRAMBLE])
{
    if (getrandom(ret, WIRE_SCRAMBLE, 0) != WIRE_SCRAMBLE)
        abort();
    for (int i = 0; i < WIRE_SCRAMBLE; i++)
        ret[i] = (uint8_t)(ret[i] % 94 + 33);
}

static struct session *session_new(struct sim_server *server)
{
    struct sim *sim = sim_of(server);
    struct session *session = sim->free_sessions;
    uint64_t serial = session ? session->serial : 0;
    if (session)
        sim->free_sessions = session->next;
    else
        session = mem_zalloc(sizeof(*session));
    *session = (struct session){.server = server,
                                .serial = serial,
                                .next = server->sessions,
                                .id = ++server->last_connection,
                                .account = -1};
    session->reply.out = &session->out;
    if (session->next)
        session->next->previous = session;
    server->sessions = session;
    sim->stats.connections++;
    if (++sim->stats.sessions > sim->stats.sessions_peak)
        sim->stats.sessions_peak = sim->stats.sessions;
    return session;
}

static void on_ready(struct watch *watch);

/* Connecting costs a round trip of its own before the greeting; the loopback has none. */
static void greet(struct session *session)
{
    const struct sim_server *server = session->server;
    make_scramble(session->scramble);
    wire_greet(&session->reply, VERSION, session->id, session->scramble);
    send_after(session, sim_server_delay(server) + sim_of(server)->rtt[server->region]);
}

void session_accept(struct watch *listener)
{
    struct sim_server *server = (struct sim_server *)listener;
    int fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC), on = 1;
    if (fd < 0 && (errno == EMFILE || errno == ENFILE)) {
        perror("simfleet: accept (raise 'ulimit -n')");
        loop_stop(sim_of(server)->loop);
    }
    if (fd < 0)
        return;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    struct session *session = session_new(server);
    session->watch.on_ready = on_ready;
    loop_add(sim_of(server)->loop, &session->watch, fd);
    greet(session);
}

/* --- Packets ---------------------------------------------------------------------------------- */

static void command(struct session *session, const uint8_t *body, size_t length)
{
    session->reply.sequence = 1;
    session->reply.has_more = false;
    if (session->phase == SESSION_LOGIN) {
        log_in(session, body, length);
    } else if (length > 1 && body[0] == WIRE_QUERY) {
        session_run(session, body + 1, length - 1);
    } else if (length > 0 && body[0] == WIRE_QUIT) {
        session_end(session);
    } else if (length > 0 && body[0] == WIRE_PING) {
        wire_ok(&session->reply, 0);
        session_reply(session);
    } else {
        session_unknown(session, "a command of the protocol");
        session_reply(session);
    }
}

static bool has_packet(const struct session *session, size_t *ret_length)
{
    const uint8_t *head = (const uint8_t *)session->in.data;
    if (session->in.length < WIRE_HEADER)
        return false;
    *ret_length = head[0] | (size_t)head[1] << 8 | (size_t)head[2] << 16;
    return session->in.length >= WIRE_HEADER + *ret_length;
}

/* One at a time: what the client sends before its answer waits in 'in'. */
static void process_input(struct session *session)
{
    uint64_t serial = session->serial;
    size_t length = 0;
    while (session->serial == serial &&
           (session->phase == SESSION_LOGIN || session->phase == SESSION_READY) &&
           has_packet(session, &length)) {
        AUTO(buf_release) struct buf taken = session->in;
        session->in = (struct buf){0};
        size_t used = WIRE_HEADER + length;
        if (taken.length > used)
            buf_add_bytes(&session->in, taken.data + used, taken.length - used);
        command(session, (const uint8_t *)taken.data + WIRE_HEADER, length);
    }
}

static void on_ready(struct watch *watch)
{
    static char bytes[READ_SIZE];
    struct session *session = (struct session *)watch;
    uint64_t serial = session->serial;
    if (session->is_blocked) {
        loop_want_write(sim_of(session->server)->loop, watch, false);
        flush(session);
    }
    if (session->serial != serial)
        return;
    ssize_t count = recv(watch->fd, bytes, sizeof(bytes), 0);
    if (count < 0 && errno == EAGAIN)
        return;
    if (count <= 0 || session->in.length + (size_t)count > WIRE_PACKET_MAX) {
        client_gone(session);
        return;
    }
    if (session->server->is_hung)
        return;
    buf_add_bytes(&session->in, bytes, (size_t)count);
    process_input(session);
}
