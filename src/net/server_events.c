/* SPDX-License-Identifier: Apache-2.0
 *
 * Server-sent events: a backlog that any thread adds to, and the loop thread sends from. While
 * there is nothing to send the connection is suspended; a comment now and then finds out whether
 * somebody is still there. Who does not keep up is cut off: he comes back and begins with what is.
 */
#include "net/internal.h"

#include "base/mem.h"
#include "base/scope.h"

#include <stdlib.h>
#include <string.h>

enum { BLOCK_BYTES = 16 * 1024 };

static const char comment[] = ":\n\n";

/* All three under the lock. */
static void unlink_events(struct http_events *events)
{
    if (events->previous)
        events->previous->next = events->next;
    else
        events->server->events = events->next;
    if (events->next)
        events->next->previous = events->previous;
    events->server->event_count--;
}

static void drop_reference(struct http_events *events)
{
    if (--events->references > 0)
        return;
    unlink_events(events);
    buf_release(&events->backlog);
    free(events);
}

static void wake_up(struct http_events *events)
{
    if (!events->is_suspended)
        return;
    events->is_suspended = false;
    MHD_resume_connection(events->mhd);
}

/* The loop thread asks for bytes. */
static ssize_t give_bytes(void *context, uint64_t position UNUSED, char *into, size_t room)
{
    struct http_events *events = context;
    struct http_server *server = events->server;
    ssize_t given = 0;
    pthread_mutex_lock(&server->lock);
    size_t left = events->backlog.length - events->sent;
    if (events->is_gone || (left == 0 && events->has_ended)) {
        given = MHD_CONTENT_READER_END_OF_STREAM;
    } else if (left == 0) {
        MHD_suspend_connection(events->mhd);
        events->is_suspended = true;
    } else {
        given = (ssize_t)(left < room ? left : room);
        memcpy(into, events->backlog.data + events->sent, (size_t)given);
        events->sent += (size_t)given;
        events->silent_since = clock_now();
    }
    if (events->sent == events->backlog.length) {
        buf_clear(&events->backlog);
        events->sent = 0;
    }
    pthread_mutex_unlock(&server->lock);
    return given;
}

static void on_free(void *context)
{
    struct http_events *events = context;
    struct http_server *server = events->server;
    pthread_mutex_lock(&server->lock);
    events->is_gone = true;
    drop_reference(events);
    pthread_mutex_unlock(&server->lock);
}

/* False: there are too many. */
static bool link_events(struct http_server *server, struct http_events *events)
{
    pthread_mutex_lock(&server->lock);
    bool has_room = server->event_count < server->limits.events && !atomic_load(&server->must_stop);
    if (has_room) {
        server->event_count++;
        events->next = server->events;
        if (events->next)
            events->next->previous = events;
        server->events = events;
    }
    pthread_mutex_unlock(&server->lock);
    return has_room;
}

struct http_events *http_respond_events(struct http_request *request, const char *first)
{
    struct http_server *server = request->server;
    struct http_events *events = mem_zalloc(sizeof(*events));
    *events = (struct http_events){.server = server,
                                   .references = 2, /* the response's, and the caller's */
                                   .mhd = request->mhd,
                                   .silent_since = clock_now()};
    if (!link_events(server, events)) {
        free(events);
        http_fail(request, MHD_HTTP_SERVICE_UNAVAILABLE, "ask without 'watch', or try again later",
                  "there are %u streams of events already", server->limits.events);
        return NULL;
    }
    buf_add(&events->backlog, first);
    events->backlog_max = events->backlog.length + server->limits.backlog_bytes;
    struct MHD_Response *response = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, BLOCK_BYTES,
                                                                      give_bytes, events, on_free);
    MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, "text/event-stream");
    MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
    server__answer(request, &(struct answer){MHD_HTTP_OK, response, true});
    return events;
}

bool http_events_send(struct http_events *events, const char *text)
{
    struct http_server *server = events->server;
    pthread_mutex_lock(&server->lock);
    size_t left = events->backlog.length - events->sent, length = strlen(text);
    if (left + length > events->backlog_max)
        events->is_gone = true;
    bool is_open = !events->is_gone && !events->has_ended;
    if (is_open && events->sent > 0) {
        memmove(events->backlog.data, events->backlog.data + events->sent, left + 1);
        events->backlog.length = left;
        events->sent = 0;
    }
    if (is_open)
        buf_add_bytes(&events->backlog, text, length);
    wake_up(events);
    pthread_mutex_unlock(&server->lock);
    return is_open;
}

void http_events_drop(struct http_events *events)
{
    if (!events)
        return;
    struct http_server *server = events->server;
    pthread_mutex_lock(&server->lock);
    events->has_ended = true;
    wake_up(events);
    drop_reference(events);
    pthread_mutex_unlock(&server->lock);
}

void server__tend_events(struct http_server *server, nsec now)
{
    pthread_mutex_lock(&server->lock);
    for (struct http_events *each = server->events; each; each = each->next) {
        if (!each->is_suspended || now - each->silent_since < HTTP_EVENTS_PACE_MS * NSEC_PER_MS)
            continue;
        buf_add(&each->backlog, comment);
        wake_up(each);
    }
    pthread_mutex_unlock(&server->lock);
}

void server__end_events(struct http_server *server)
{
    pthread_mutex_lock(&server->lock);
    for (struct http_events *each = server->events; each; each = each->next) {
        each->has_ended = true;
        wake_up(each);
    }
    pthread_mutex_unlock(&server->lock);
}
