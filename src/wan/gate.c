/* SPDX-License-Identifier: Apache-2.0
 * The doors: TCP connections from the host into a site. A socket belongs to the namespace in which
 * it was made, wherever the thread goes then: those that listen are made on the host, each
 * connection's other half inside the site. A half that is closed, or fails, does so for the other.
 */
#include "base/mem.h"
#include "base/scope.h"
#include "wan/internal.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <sys/socket.h>

enum { PIPE_BYTES = 64 * 1024, BACKLOG = 128, PAUSE_MS = 100 };
enum { OUTSIDE, INSIDE, SIDES };

/* What comes from one side, on its way to the other. */
struct pipe {
    char bytes[PIPE_BYTES];
    size_t begin, end;
    bool is_over;   /* nothing more comes */
    bool is_closed; /* and the other side knows */
};

struct stream {
    int fds[SIDES];
    bool is_connected, has_failed;
    struct pipe pipes[SIDES]; /* by where it comes from */
};

struct door {
    int fd;
    struct sockaddr_in address;
    size_t site;
};

struct gate {
    struct door *doors;
    size_t door_count;
    struct stream **streams;
    size_t stream_count, stream_capacity;
    struct pollfd *polls; /* doors, then two for each stream */
    int spaces[WAN_SITES];
    bool is_full; /* the last one could not be let in */
};

/* --- Doors --------------------------------------------------------------------------------------
 */

static enum status open_door(const struct wan_plan *plan, size_t index, struct door *ret,
                             struct err *err)
{
    const struct wan_door *door = &plan->doors[index];
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)plan->port)};
    int on = 1;
    AUTO_CLOSE int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || inet_pton(AF_INET, door->host, &address.sin_addr) != 1 ||
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) ||
        bind(fd, (struct sockaddr *)&address, sizeof(address)) || listen(fd, BACKLOG)) {
        int error = errno;
        if (error == EADDRINUSE)
            return err_set(err, ST_CONFLICT, "%s:%d: address already in use", door->host,
                           plan->port);
        return err_set_errno(err, error, "listen on", door->host);
    }
    *ret = (struct door){take_fd(&fd), address, door->site};
    return ST_OK;
}

enum status wan__gate_open(const struct wan_plan *plan, struct gate **ret, struct err *err)
{
    struct gate *gate = mem_zalloc(sizeof(*gate));
    gate->doors = mem_zalloc((plan->door_count + 1) * sizeof(*gate->doors));
    enum status status = ST_OK;
    for (size_t i = 0; i < plan->door_count && !status; i++)
        status = open_door(plan, i, &gate->doors[i], err);
    gate->door_count = plan->door_count;
    *ret = gate;
    return status;
}

/* --- Streams ------------------------------------------------------------------------------------
 */

static bool is_empty(const struct pipe *pipe)
{
    return pipe->begin == pipe->end;
}

static void fill(struct stream *stream, int side)
{
    struct pipe *pipe = &stream->pipes[side];
    if (!is_empty(pipe) || pipe->is_over || !stream->is_connected)
        return;
    ssize_t count = recv(stream->fds[side], pipe->bytes, PIPE_BYTES, 0);
    if (count < 0) {
        stream->has_failed |= errno != EAGAIN && errno != EINTR;
        return;
    }
    pipe->begin = 0;
    pipe->end = (size_t)count;
    pipe->is_over = count == 0;
}

static void drain(struct stream *stream, int side)
{
    struct pipe *pipe = &stream->pipes[side];
    int to = stream->fds[side == OUTSIDE ? INSIDE : OUTSIDE];
    if (!is_empty(pipe)) {
        ssize_t count = send(to, pipe->bytes + pipe->begin, pipe->end - pipe->begin, MSG_NOSIGNAL);
        if (count >= 0)
            pipe->begin += (size_t)count;
        else
            stream->has_failed |= errno != EAGAIN && errno != EINTR;
    }
    if (is_empty(pipe) && pipe->is_over && !pipe->is_closed) {
        shutdown(to, SHUT_WR);
        pipe->is_closed = true;
    }
}

static void see_connected(struct stream *stream, short events)
{
    int error = 0;
    socklen_t length = sizeof(error);
    if (stream->is_connected || !events)
        return;
    if (getsockopt(stream->fds[INSIDE], SOL_SOCKET, SO_ERROR, &error, &length) || error)
        stream->has_failed = true;
    stream->is_connected = !stream->has_failed;
}

static void move(struct stream *stream)
{
    for (int side = 0; side < SIDES && !stream->has_failed; side++) {
        fill(stream, side);
        drain(stream, side);
    }
}

static short events_of(const struct stream *stream, int side)
{
    const struct pipe *from = &stream->pipes[side];
    const struct pipe *to = &stream->pipes[side == OUTSIDE ? INSIDE : OUTSIDE];
    if (!stream->is_connected)
        return side == INSIDE ? POLLOUT : 0;
    return (short)((is_empty(from) && !from->is_over ? POLLIN : 0) | (is_empty(to) ? 0 : POLLOUT));
}

static bool is_done(const struct stream *stream)
{
    return stream->has_failed ||
           (stream->pipes[OUTSIDE].is_closed && stream->pipes[INSIDE].is_closed);
}

static void stream_free(struct stream *stream)
{
    struct linger reset = {.l_onoff = 1, .l_linger = 0};
    for (int side = 0; side < SIDES; side++) {
        if (stream->has_failed)
            setsockopt(stream->fds[side], SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
        scope_close(&stream->fds[side]);
    }
    free(stream);
}

/* --- The loop -----------------------------------------------------------------------------------
 */

static int connect_inside(const struct gate *gate, const struct door *door)
{
    int on = 1;
    if (setns(gate->spaces[door->site], CLONE_NEWNET))
        return -1;
    AUTO_CLOSE int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) ||
        (connect(fd, (const struct sockaddr *)&door->address, sizeof(door->address)) &&
         errno != EINPROGRESS))
        return -1;
    return take_fd(&fd);
}

static void let_in(struct gate *gate, const struct door *door)
{
    int on = 1, outside = accept4(door->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    gate->is_full |= outside < 0;
    if (outside < 0)
        return;
    struct stream *stream = mem_zalloc(sizeof(*stream));
    stream->fds[OUTSIDE] = outside;
    stream->fds[INSIDE] = connect_inside(gate, door);
    stream->has_failed = stream->fds[INSIDE] < 0 ||
                         setsockopt(outside, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) != 0;
    VEC_PUSH(gate->streams, gate->stream_count, gate->stream_capacity, stream);
}

/* What has nothing to wait for is not looked at: an end that hung up would wake us for ever. */
static nfds_t prepare(struct gate *gate)
{
    nfds_t count = 0;
    gate->polls =
        mem_grow(gate->polls, gate->door_count + SIDES * gate->stream_count, sizeof(*gate->polls));
    for (size_t i = 0; i < gate->door_count; i++)
        gate->polls[count++] =
            (struct pollfd){.fd = gate->is_full ? -1 : gate->doors[i].fd, .events = POLLIN};
    for (size_t i = 0; i < gate->stream_count; i++)
        for (int side = 0; side < SIDES; side++) {
            short events = events_of(gate->streams[i], side);
            int fd = events ? gate->streams[i]->fds[side] : -1;
            gate->polls[count++] = (struct pollfd){.fd = fd, .events = events};
        }
    return count;
}

static void serve(struct gate *gate)
{
    const struct pollfd *polls = gate->polls + gate->door_count;
    size_t kept = 0, count = gate->stream_count;
    for (size_t i = 0; i < count; i++) {
        struct stream *stream = gate->streams[i];
        const struct pollfd *both = &polls[SIDES * i];
        see_connected(stream, both[INSIDE].revents);
        if (both[OUTSIDE].revents || both[INSIDE].revents)
            move(stream);
        if (is_done(stream))
            stream_free(stream);
        else
            gate->streams[kept++] = stream;
    }
    gate->stream_count = kept;
    for (size_t i = 0; i < gate->door_count; i++)
        if (gate->polls[i].revents)
            let_in(gate, &gate->doors[i]);
}

/* Without descriptors for one more, those who wait at a door are left there for a moment. */
static void *work(void *context)
{
    struct gate *gate = context;
    for (;;) {
        nfds_t count = prepare(gate);
        int ready = poll(gate->polls, count, gate->is_full ? PAUSE_MS : -1);
        gate->is_full = false;
        if (ready > 0)
            serve(gate);
    }
    return NULL;
}

enum status wan__gate_start(struct gate *gate, const struct wan_port *ports, struct err *err)
{
    pthread_t thread;
    for (size_t i = 0; i < WAN_SITES; i++)
        gate->spaces[i] = ports[i].space;
    int error = pthread_create(&thread, NULL, work, gate);
    return error ? err_set_errno(err, error, "start", "the thread of the doors") : ST_OK;
}
