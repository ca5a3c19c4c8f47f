/* SPDX-License-Identifier: Apache-2.0
 * The cache of host names and the threads that fill it; see resolve.h.
 *
 * Not glibc's getaddrinfo_a(): it has 20 threads for all requests and cannot take back one that has
 * begun, so 20 names that only a dead DNS server knows keep a name of /etc/hosts waiting for 10 s.
 * Here a lookup that hangs keeps its thread, and its entry of the cache outlives it, as all do. */
#include "sql/resolve.h"

#include "base/invariant.h"
#include "base/mem.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <pthread.h>
#include <search.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

enum { THREADS_MAX = 256 }; /* names that hang beside each other without delaying the next one */

struct resolve_name {
    const char *host;
    struct resolve_answer answer; /* the last good addresses, and why the last lookup failed */
    nsec stands_until;
    bool is_pending;            /* queued, or being looked up */
    struct resolve_name *queue; /* the next one that wants a thread */
    struct resolve *waits;
};

static void ask_libc(const char *host, struct resolve_answer *ret)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found = NULL;
    int error = getaddrinfo(host, NULL, &hints, &found);
    if (error) {
        snprintf(ret->why, sizeof(ret->why), "%s", gai_strerror(error));
        return;
    }
    for (const struct addrinfo *at = found; at && ret->count < RESOLVE_ADDRESSES_MAX;
         at = at->ai_next)
        if (getnameinfo(at->ai_addr, at->ai_addrlen, ret->addresses[ret->count],
                        RESOLVE_ADDRESS_SIZE, NULL, 0, NI_NUMERICHOST) == 0)
            ret->count++;
    freeaddrinfo(found);
}

/* Fresh: a command's steps use one lookup, and a name that a failover points elsewhere is followed
 * well before the 30 to 60 s that such records live. Patience, before the last good addresses are
 * used and before others are told that a name failed: DNS that works answers sooner. */
static const struct resolve_rules real_rules = {
    .look_up = ask_libc,
    .fresh = 5 * NSEC_PER_SEC,
    .pause = 1 * NSEC_PER_SEC,
    .patience = 250 * NSEC_PER_MS,
};

static struct {
    pthread_mutex_t lock; /* never held across a lookup */
    void *names;          /* a tree; names stay as long as the process */
    struct resolve_name *queue, **queue_end;
    int threads;
    const struct resolve_rules *rules;
} cache = {
    .lock = PTHREAD_MUTEX_INITIALIZER,
    .queue_end = &cache.queue,
    .rules = &real_rules,
};

void resolve__set_rules(const struct resolve_rules *rules)
{
    pthread_mutex_lock(&cache.lock);
    cache.rules = rules ? rules : &real_rules;
    pthread_mutex_unlock(&cache.lock);
}

static int by_host(const void *left, const void *right)
{
    return strcmp(((const struct resolve_name *)left)->host,
                  ((const struct resolve_name *)right)->host);
}

static struct resolve_name *name_get(const char *host)
{
    const struct resolve_name wanted = {.host = host};
    struct resolve_name **found = tfind(&wanted, &cache.names, by_host);
    if (found)
        return *found;
    struct resolve_name *name = mem_zalloc(sizeof(*name));
    name->host = mem_strdup(host);
    found = tsearch(name, &cache.names, by_host);
    INVARIANT(found); /* no memory */
    return name;
}

static void set_timer(int fd, int flags, nsec when)
{
    struct itimerspec timer = {.it_value = {when / NSEC_PER_SEC, when % NSEC_PER_SEC}};
    INVARIANT(timerfd_settime(fd, flags, &timer, NULL) == 0);
}

static void settle(struct resolve_name *name, const struct resolve_answer *answer)
{
    if (answer->count > 0)
        name->answer = *answer;
    else
        memcpy(name->answer.why, answer->why, sizeof(answer->why));
    name->stands_until =
        clock_now() + (answer->count > 0 ? cache.rules->fresh : cache.rules->pause);
    name->is_pending = false;
    for (struct resolve *wait = name->waits; wait; wait = wait->next)
        set_timer(wait->fd, 0, 1);
}

static void *work(void *unused)
{
    pthread_mutex_lock(&cache.lock);
    while (cache.queue) {
        struct resolve_name *name = cache.queue;
        cache.queue = name->queue;
        if (!cache.queue)
            cache.queue_end = &cache.queue;
        const struct resolve_rules *rules = cache.rules;
        pthread_mutex_unlock(&cache.lock);
        struct resolve_answer answer = {0};
        rules->look_up(name->host, &answer);
        pthread_mutex_lock(&cache.lock);
        settle(name, &answer);
    }
    cache.threads--;
    pthread_mutex_unlock(&cache.lock);
    return unused;
}

/* Without a thread the name stays in the queue: whoever asks next tries again. */
static void start_thread(void)
{
    pthread_t thread;
    sigset_t all, before;
    sigfillset(&all); /* signals belong to the program's own threads */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    if (pthread_create(&thread, NULL, work, NULL) == 0) {
        pthread_detach(thread);
        cache.threads++;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

static void enqueue(struct resolve_name *name)
{
    name->is_pending = true;
    name->queue = NULL;
    *cache.queue_end = name;
    cache.queue_end = &name->queue;
}

/* False when there is no descriptor left to wait with. */
static bool join(struct resolve *wait, struct resolve_name *name, nsec deadline)
{
    wait->fd = timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK);
    if (wait->fd < 0) {
        snprintf(name->answer.why, sizeof(name->answer.why), "%s", strerrordesc_np(errno));
        return false;
    }
    wait->name = name;
    wait->next = name->waits;
    name->waits = wait;
    if (!name->is_pending)
        enqueue(name);
    if (cache.queue && cache.threads < THREADS_MAX)
        start_thread();
    nsec half = (deadline - wait->began) / 2; /* the other half is for connecting */
    nsec patience = half < cache.rules->patience ? half : cache.rules->patience;
    if (name->answer.count > 0)
        set_timer(wait->fd, TFD_TIMER_ABSTIME, wait->began + (patience > 0 ? patience : 0));
    return true;
}

static bool is_numeric(const char *host)
{
    struct in6_addr unused;
    return inet_pton(AF_INET, host, &unused) == 1 || inet_pton(AF_INET6, host, &unused) == 1;
}

bool resolve_begin(struct resolve *wait, const char *host, nsec deadline)
{
    *wait = (struct resolve){.began = clock_now()};
    if (is_numeric(host)) {
        wait->answer.count = 1;
        snprintf(wait->answer.addresses[0], RESOLVE_ADDRESS_SIZE, "%s", host);
        return true;
    }
    pthread_mutex_lock(&cache.lock);
    struct resolve_name *name = name_get(host);
    bool is_known = wait->began < name->stands_until || !join(wait, name, deadline);
    if (is_known)
        wait->answer = name->answer;
    pthread_mutex_unlock(&cache.lock);
    return is_known;
}

void resolve_finish(struct resolve *wait)
{
    struct resolve_name *name = wait->name;
    nsec now = clock_now();
    pthread_mutex_lock(&cache.lock);
    if (name->is_pending) {
        snprintf(name->answer.why, sizeof(name->answer.why), "not within %.0f ms",
                 clock_ms(now - wait->began));
        if (name->answer.count > 0 || now - wait->began >= cache.rules->patience)
            name->stands_until = now + cache.rules->pause;
    }
    wait->answer = name->answer;
    pthread_mutex_unlock(&cache.lock);
    resolve_release(wait);
}

void resolve_release(struct resolve *wait)
{
    if (!wait->name)
        return;
    pthread_mutex_lock(&cache.lock);
    struct resolve **at = &wait->name->waits;
    while (*at != wait)
        at = &(*at)->next;
    *at = wait->next;
    pthread_mutex_unlock(&cache.lock);
    wait->name = NULL;
    close(wait->fd);
}
