/* SPDX-License-Identifier: Apache-2.0
 *
 * Real etcd members for tests: on loopback, with their data in memory (/dev/shm), ending with the
 * test whatever happens to it.
 */
#ifndef HOLDFAST_TESTS_ETCD_TEST_H
#define HOLDFAST_TESTS_ETCD_TEST_H

#include "base/buf.h"
#include "etcd_secure.h"

#include <arpa/inet.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>

enum { MEMBERS_MAX = 3 };

struct members {
    size_t count;
    char directory[64];
    int client[MEMBERS_MAX], peer[MEMBERS_MAX]; /* ports */
    pid_t pids[MEMBERS_MAX];
    bool is_secure;
    struct secure secure;
};

/* For store_open(). */
static inline const struct store_access *members_access(const struct members *members)
{
    return members->is_secure ? &members->secure.access : NULL;
}

static inline bool etcd_is_installed(void)
{
    return access("/usr/bin/etcd", X_OK) == 0;
}

/* A listening socket on a port that was free. */
static inline int listen_any(int *ret_port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t length = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, length), 0);
    assert_int_equal(listen(fd, 64), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &length), 0);
    *ret_port = ntohs(address.sin_port);
    return fd;
}

static inline void choose_ports(struct members *members)
{
    int fds[2 * MEMBERS_MAX];
    for (size_t i = 0; i < members->count; i++) {
        fds[2 * i] = listen_any(&members->client[i]);
        fds[2 * i + 1] = listen_any(&members->peer[i]);
    }
    for (size_t i = 0; i < 2 * members->count; i++)
        close(fds[i]);
}

static inline void member_exec(const struct members *members, size_t index)
{
    AUTO(buf_release) struct buf all = {0};
    for (size_t i = 0; i < members->count; i++)
        buf_printf(&all, "%sm%zu=http://127.0.0.1:%d", i ? "," : "", i, members->peer[i]);
    char *name = mem_printf("m%zu", index);
    char *data = mem_printf("%s/m%zu", members->directory, index);
    char *client = mem_printf("%s://127.0.0.1:%d", members->is_secure ? "https" : "http",
                              members->client[index]);
    char *peer = mem_printf("http://127.0.0.1:%d", members->peer[index]);
    char *cert = mem_printf("%s/server.pem", members->directory);
    char *key = mem_printf("%s/server.key", members->directory);
    const char *words[] = {"etcd",
                           "--name",
                           name,
                           "--data-dir",
                           data,
                           "--listen-client-urls",
                           client,
                           "--advertise-client-urls",
                           client,
                           "--listen-peer-urls",
                           peer,
                           "--initial-advertise-peer-urls",
                           peer,
                           "--initial-cluster",
                           buf_text(&all),
                           "--heartbeat-interval",
                           "50",
                           "--election-timeout",
                           "500",
                           "--log-level",
                           "error",
                           members->is_secure ? "--cert-file"
                                              : NULL, /* the end, where there is no more to say */
                           cert,
                           "--key-file",
                           key,
                           "--trusted-ca-file",
                           members->secure.ca,
                           "--client-cert-auth",
                           "--auth-token-ttl",
                           SECURE_TOKEN_TTL,
                           "--bcrypt-cost",
                           "4",
                           NULL};
    int log = open(mem_printf("%s/m%zu.log", members->directory, index),
                   O_WRONLY | O_CREAT | O_APPEND, 0600);
    dup2(log, 1);
    dup2(log, 2);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    execv("/usr/bin/etcd", (char *const *)words);
    _exit(127);
}

static inline void member_start(struct members *members, size_t index)
{
    members->pids[index] = fork();
    assert_true(members->pids[index] >= 0);
    if (members->pids[index] == 0)
        member_exec(members, index);
}

static inline void member_end(struct members *members, size_t index)
{
    if (members->pids[index] <= 0)
        return;
    kill(members->pids[index], SIGKILL);
    waitpid(members->pids[index], NULL, 0);
    members->pids[index] = 0;
}

/* etcd://all of them/PREFIX; a member of 'first' comes first. */
static inline void members_url(const struct members *members, size_t first, const char *prefix,
                               char ret_url[static 128])
{
    size_t length = (size_t)snprintf(ret_url, 128, "etcd://");
    for (size_t i = 0; i < members->count; i++)
        length += (size_t)snprintf(ret_url + length, 128 - length, "%s127.0.0.1:%d", i ? "," : "",
                                   members->client[(first + i) % members->count]);
    snprintf(ret_url + length, 128 - length, "/%s", prefix);
}

static inline void members_stop(struct members *members)
{
    for (size_t i = 0; i < members->count; i++)
        member_end(members, i);
    if (members->count)
        nftw(members->directory, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    if (members->is_secure)
        secure_release(&members->secure);
    members->count = 0;
}

static inline void members_wait(struct members *members)
{
    char url[128];
    members_url(members, 0, "start", url);
    struct store *store = NULL;
    EXPECT_OK(store_open(url, members_access(members), soon(), &store, &trouble));
    store_close(store);
}

static inline void members_init(struct members *members, size_t count)
{
    *members = (struct members){.count = count};
    snprintf(members->directory, sizeof(members->directory), "/dev/shm/holdfast-etcd-XXXXXX");
    assert_non_null(mkdtemp(members->directory));
    choose_ports(members);
}

static inline void members_start(struct members *members, size_t count)
{
    members_init(members, count);
    for (size_t i = 0; i < count; i++)
        member_start(members, i);
    members_wait(members);
}

/* Under TLS, with users; demanding that one logs in is left to the test. */
static inline void members_start_secure(struct members *members, size_t count)
{
    members_init(members, count);
    members->is_secure = true;
    secure_init(&members->secure, members->directory);
    members->secure.port = members->client[0];
    for (size_t i = 0; i < count; i++)
        member_start(members, i);
    members_wait(members);
    secure_make_users(&members->secure);
}

#endif
