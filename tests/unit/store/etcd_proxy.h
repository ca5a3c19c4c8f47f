/* SPDX-License-Identifier: Apache-2.0
 *
 * A TCP proxy before one port, for tests: a thread that passes bytes on, holds requests back, or
 * keeps answers to itself. What it holds when its mode changes it passes on, even when the client
 * has long gone: the slow network that delivers late.
 */
#ifndef HOLDFAST_TESTS_ETCD_PROXY_H
#define HOLDFAST_TESTS_ETCD_PROXY_H

#include "etcd_test.h"

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>

enum proxy_mode {
    PROXY_PASS,
    PROXY_HOLD, /* requests wait here */
    PROXY_KEEP, /* those that wait go on waiting, new connections pass */
    PROXY_DEAF, /* requests are passed on; instead of an answer the connection is closed */
    PROXY_CLOSE /* new connections are closed */
};

enum { PROXY_PAIRS = 128, PROXY_TICK_MS = 5 };

struct proxy_pair {
    int client, server; /* -1: closed; the client's may be while the server's is not */
    struct buf held;
    bool was_held;
};

struct proxy {
    int listener, port, target;
    pthread_t thread;
    atomic_int mode, held_requests, late_answers; /* answers to requests that were held */
    atomic_bool stop;
    struct proxy_pair pairs[PROXY_PAIRS];
    size_t count;
};

static inline void proxy_close(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

static inline void proxy_send(int *fd, const char *bytes, size_t length)
{
    while (*fd >= 0 && length) {
        ssize_t sent = send(*fd, bytes, length, MSG_NOSIGNAL);
        if (sent <= 0) {
            proxy_close(fd);
            return;
        }
        bytes += sent;
        length -= (size_t)sent;
    }
}

static inline void proxy_accept(struct proxy *proxy)
{
    int client = accept4(proxy->listener, NULL, NULL, SOCK_CLOEXEC);
    if (client < 0)
        return;
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)proxy->target),
                                  .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (atomic_load(&proxy->mode) == PROXY_CLOSE || proxy->count == PROXY_PAIRS ||
        connect(server, (struct sockaddr *)&address, sizeof(address))) {
        close(client);
        close(server);
        return;
    }
    proxy->pairs[proxy->count++] = (struct proxy_pair){.client = client, .server = server};
}

static inline void proxy_from_client(struct proxy *proxy, struct proxy_pair *pair)
{
    char bytes[65536];
    ssize_t length = recv(pair->client, bytes, sizeof(bytes), 0);
    int mode = atomic_load(&proxy->mode);
    bool holds = mode == PROXY_HOLD || (mode == PROXY_KEEP && pair->was_held);
    if (length <= 0) {
        proxy_close(&pair->client);
        if (!pair->was_held)
            proxy_close(&pair->server);
    } else if (holds) {
        buf_add_bytes(&pair->held, bytes, (size_t)length);
        if (!pair->was_held)
            atomic_fetch_add(&proxy->held_requests, 1);
        pair->was_held = true;
    } else {
        proxy_send(&pair->server, bytes, (size_t)length);
    }
}

static inline void proxy_from_server(struct proxy *proxy, struct proxy_pair *pair)
{
    char bytes[65536];
    ssize_t length = recv(pair->server, bytes, sizeof(bytes), 0);
    if (length > 0 && pair->was_held)
        atomic_fetch_add(&proxy->late_answers, 1);
    if (length > 0 && atomic_load(&proxy->mode) != PROXY_DEAF) {
        proxy_send(&pair->client, bytes, (size_t)length);
        return;
    }
    proxy_close(&pair->server);
    proxy_close(&pair->client);
}

static inline void proxy_release(struct proxy *proxy, struct proxy_pair *pair)
{
    int mode = atomic_load(&proxy->mode);
    if (mode == PROXY_HOLD || mode == PROXY_KEEP || !pair->held.length)
        return;
    proxy_send(&pair->server, pair->held.data, pair->held.length);
    buf_clear(&pair->held);
}

static inline void *proxy_run(void *argument)
{
    struct proxy *proxy = argument;
    while (!atomic_load(&proxy->stop)) {
        struct pollfd fds[2 * PROXY_PAIRS + 1];
        size_t count = proxy->count;
        for (size_t i = 0; i < count; i++) {
            proxy_release(proxy, &proxy->pairs[i]);
            fds[2 * i] = (struct pollfd){proxy->pairs[i].client, POLLIN, 0};
            fds[2 * i + 1] = (struct pollfd){proxy->pairs[i].server, POLLIN, 0};
        }
        fds[2 * count] = (struct pollfd){proxy->listener, POLLIN, 0};
        poll(fds, 2 * count + 1, PROXY_TICK_MS);
        for (size_t i = 0; i < count; i++) {
            if (fds[2 * i].revents && proxy->pairs[i].client >= 0)
                proxy_from_client(proxy, &proxy->pairs[i]);
            if (fds[2 * i + 1].revents && proxy->pairs[i].server >= 0)
                proxy_from_server(proxy, &proxy->pairs[i]);
        }
        if (fds[2 * count].revents)
            proxy_accept(proxy);
    }
    return NULL;
}

static inline struct proxy *proxy_start(int target)
{
    struct proxy *proxy = mem_zalloc(sizeof(*proxy));
    proxy->target = target;
    proxy->listener = listen_any(&proxy->port);
    assert_int_equal(pthread_create(&proxy->thread, NULL, proxy_run, proxy), 0);
    return proxy;
}

static inline void proxy_stop(struct proxy *proxy)
{
    atomic_store(&proxy->stop, true);
    pthread_join(proxy->thread, NULL);
    for (size_t i = 0; i < proxy->count; i++) {
        proxy_close(&proxy->pairs[i].client);
        proxy_close(&proxy->pairs[i].server);
        buf_release(&proxy->pairs[i].held);
    }
    close(proxy->listener);
    free(proxy);
}

static inline void proxy_wait(atomic_int *counter, int least)
{
    nsec deadline = soon();
    while (atomic_load(counter) < least && clock_now() < deadline)
        poll(NULL, 0, PROXY_TICK_MS);
    assert_true(atomic_load(counter) >= least);
}

#endif
