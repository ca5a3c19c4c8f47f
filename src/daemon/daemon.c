/* SPDX-License-Identifier: Apache-2.0
 * The conductor's life: everything is started, it waits for its signal, everything is stopped in
 * the reverse order; see daemon.h. */
#include "daemon/daemon.h"

#include "base/buf.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/scope.h"
#include "conductor/run.h"
#include "daemon/election.h"
#include "daemon/healer.h"
#include "daemon/hearing.h"
#include "daemon/internal.h"
#include "daemon/observer.h"
#include "daemon/steward.h"
#include "daemon/warden.h"
#include "exposure/surveyor.h"
#include "fleet/inventory.h"
#include "mirror/mirror.h"
#include "orders/runner.h"
#include "os/caller.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

enum { GRACE_MS = 1000, STORE_MS = 1000 /* else the first look says that there is no store */ };

double daemon_age_ms(nsec began)
{
    return clock_ms(clock_now() - began);
}

struct picture *daemon_picture(struct daemon *daemon)
{
    pthread_mutex_lock(&daemon->lock);
    struct picture *picture = daemon->picture;
    if (picture)
        atomic_fetch_add(&picture->references, 1);
    pthread_mutex_unlock(&daemon->lock);
    return picture;
}

static void on_observation(void *context, struct fleet_observation *seen, nsec began)
{
    struct daemon *daemon = context;
    surveyor_see(daemon->surveyor, seen, began);
    struct picture *picture = picture_new(daemon, seen, began);
    pthread_mutex_lock(&daemon->lock);
    struct picture *old = daemon->picture;
    daemon->picture = picture;
    pthread_mutex_unlock(&daemon->lock);
    picture_unref(old);
}

static void on_file(void *context, const char *path, const struct err *err)
{
    (void)context;
    log_event(EV_FILE, "path", path, "is", err->status ? err->text : "read again", NULL);
}

static enum status start_server(struct daemon *daemon, struct err *err)
{
    const struct inventory_api *api = &daemon->fleet->api;
    AUTO_FREE struct http_token *tokens = mem_zalloc((api->token_count + 1) * sizeof(*tokens));
    for (size_t i = 0; i < api->token_count; i++)
        tokens[i] =
            (struct http_token){api->tokens[i].name, api->tokens[i].role, api->tokens[i].path};
    struct http_server_config config = {
        .host = daemon->self->host,
        .port = daemon->self->port,
        .routes = daemon_routes,
        .context = daemon,
        .tokens = tokens,
        .token_count = api->token_count,
        .cert = api->tls.cert,
        .key = api->tls.key,
        .note = on_file,
    };
    return http_server_start(&config, &daemon->server, err);
}

static struct store *store_now(void *context)
{
    return daemon_store_get(((struct daemon *)context)->store);
}

/* Not while somebody may be lost: the healer calls it off then, and heals. */
static bool find_left(void *context, struct run_record *ret)
{
    struct daemon *daemon = context;
    return election_get(daemon->election, clock_now()).is_leader &&
           !healer_is_urgent(daemon->healer) && mirror_get_left(daemon->mirror, ret);
}

static void lend_ears(void *context, struct run *run)
{
    run->ears = hearing_ears(((struct daemon *)context)->hearing);
}

/* Openers wait until each conductor knows of it. */
static void on_revoked(void *context)
{
    struct daemon *daemon = context;
    steward_hurry(daemon->steward);
    hearing_hurry(daemon->hearing);
}

static struct runner *start_runner(struct daemon *daemon)
{
    struct runner_host host = {.fleet = daemon->fleet,
                               .context = daemon,
                               .store = store_now,
                               .find_left = find_left,
                               .lend_ears = lend_ears};
    return runner_start(&host);
}

/* Blocked from here on, in every thread that is started: only sigwait() takes them. */
static void take_signals(sigset_t *signals)
{
    sigemptyset(signals);
    sigaddset(signals, SIGTERM);
    sigaddset(signals, SIGINT);
    pthread_sigmask(SIG_BLOCK, signals, NULL);
}

static void wait_for_signal(const sigset_t *signals)
{
    int number = 0;
    sigwait(signals, &number);
    log_event(EV_CONDUCTOR, "stops", strsignal(number), NULL);
}

static void stop_all(struct daemon *daemon, struct observer *observer)
{
    election_stop(daemon->election); /* first: another one can lead at once */
    observer_stop(observer);
    judge_stop(daemon->judge);
    steward_stop(daemon->steward);
    mirror_stop(daemon->mirror);
    daemon_store_stop(daemon->store);
    mirror_free(daemon->mirror);
    picture_unref(daemon->picture);
    pthread_mutex_destroy(&daemon->lock);
}

enum status daemon_run(const struct inventory *fleet, const char *name, struct err *err)
{
    struct daemon daemon = {
        .fleet = fleet, .self = inventory_find_conductor(fleet, name), .began = clock_now()};
    sigset_t signals;
    if (!daemon.self)
        return err_set(err, ST_INVALID, "the fleet file has no conductor '%s'", name);
    AUTO_FREE char *self = mem_printf("conductor %s", name);
    caller_settle(self);
    take_signals(&signals);
    pthread_mutex_init(&daemon.lock, NULL);
    daemon.store = daemon_store_start(fleet);
    daemon.mirror = mirror_start(daemon.store, fleet);
    mirror_wait(daemon.mirror, clock_deadline(STORE_MS));
    daemon.election = election_start(daemon.store, name);
    daemon.judge = judge_start(fleet, daemon.store, daemon.mirror);
    daemon.surveyor = surveyor_start(fleet, daemon.self->region);
    daemon.steward = steward_start(fleet, daemon.self, daemon.store, daemon.surveyor);
    struct observer *observer = NULL;
    if (daemon.steward) {
        daemon.hearing = hearing_new(&daemon);
        mirror_on_revoked(daemon.mirror, on_revoked, &daemon);
    }
    daemon.healer = healer_start(&daemon);
    struct warden *warden = warden_start(&daemon);
    daemon.runner = start_runner(&daemon);
    enum status status = start_server(&daemon, err);
    if (!status) {
        observer = observer_start(fleet, on_observation, &daemon);
        log_event(EV_CONDUCTOR, "name", name, "listens", daemon.self->listen, "tls",
                  fleet->api.tls.is_on ? "yes" : "no", NULL);
        wait_for_signal(&signals);
        http_server_stop(daemon.server, GRACE_MS);
    }
    runner_stop(daemon.runner);
    warden_stop(warden);
    healer_stop(daemon.healer);
    mirror_on_revoked(daemon.mirror, NULL, NULL);
    hearing_free(daemon.hearing);
    stop_all(&daemon, observer);
    http_server_free(daemon.server);
    steward_free(daemon.steward);
    surveyor_stop(daemon.surveyor);
    return status;
}

void daemon_list_routes(struct buf *buf)
{
    for (const struct http_route *at = daemon_routes; at->method; at++)
        buf_printf(buf, "%s %s %s %s\n", at->method, at->path, http_role_name(at->role),
                   at->summary);
}
