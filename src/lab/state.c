/* SPDX-License-Identifier: Apache-2.0
 * 'lab.json': what makes a folder a lab. It says how big the lab is, its port, and the identity of
 * each process. It is the first file made, so that whatever happens then, 'down' knows the folder.
 * Also the lock that keeps two changing commands apart: on the folder itself, it leaves no file. */
#include "base/mem.h"
#include "base/scope.h"
#include "lab/internal.h"
#include "os/file.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

enum { FORMAT = 1, STATE_MAX_BYTES = 256 * 1024, STATE_MODE = 0600, PORT_MAX = 65535 };

static const char state_name[] = "lab.json";

static void json_freep(json_t **json)
{
    json_decref(*json);
}

/* With errno when not. */
bool lab__exists(const char *dir)
{
    AUTO_FREE char *path = mem_printf("%s/%s", dir, state_name);
    struct stat info;
    return stat(path, &info) == 0; /* free() keeps errno */
}

static json_t *encode_servers(const struct lab *lab)
{
    json_t *servers = json_array();
    for (size_t i = 0; i < lab->server_count; i++) {
        const struct lab_server *server = &lab->servers[i];
        char identity[PROCESS_TEXT_MAX] = "";
        if (server->process.pid)
            process_format(&server->process, identity);
        json_array_append_new(servers,
                              json_pack("{s:s, s:s}", "name", server->name, "process", identity));
    }
    return servers;
}

/* Without agents: their keepers note who they are, and start others. */
static json_t *encode_daemons(const struct lab *lab)
{
    json_t *daemons = lab->daemon_count > 0 ? json_array() : NULL;
    for (size_t i = 0; i < lab->daemon_count; i++) {
        const struct lab_daemon *daemon = &lab->daemons[i];
        if (daemon->kind == LAB_AGENT)
            continue;
        char identity[PROCESS_TEXT_MAX] = "";
        if (daemon->process.pid)
            process_format(&daemon->process, identity);
        json_array_append_new(daemons,
                              json_pack("{s:s, s:s}", "name", daemon->name, "process", identity));
    }
    return daemons;
}

/* Absent: the loopback. */
static json_t *encode_network(const struct lab *lab)
{
    const struct lab_network *network = &lab->network;
    return network->is_netns ? json_pack("{s:i, s:i, s:i, s:i}", "rtt_ms", network->rtt_ms,
                                         "jitter_ms", network->jitter_ms, "loss_ppm",
                                         network->loss_ppm, "mbit_s", network->mbit_s)
                             : NULL;
}

/* Absent: as it was before there was a choice. */
static json_t *encode_policy(const struct lab *lab)
{
    return json_pack("{s:i, s:s}", "ttl_ms", lab->policy.ttl_ms, "automatic",
                     lab_automatic_name(lab->policy.automatic));
}

enum status lab__store(const struct lab *lab, struct err *err)
{
    AUTO(json_freep)
    json_t *json = json_pack("{s:i, s:i, s:i, s:b, s:s, s:o, s:o*, s:o, s:o*}", "format", FORMAT,
                             "port", lab->port, "shards", (int)lab->shard_count, "tls",
                             (int)lab->is_tls, "mariadbd", lab->mariadbd ? lab->mariadbd : "",
                             "servers", encode_servers(lab), "daemons", encode_daemons(lab),
                             "policy", encode_policy(lab), "network", encode_network(lab));
    AUTO_FREE char *text = json_dumps(json, JSON_INDENT(2));
    AUTO_FREE char *path = lab__path(lab, state_name);
    return file_write(path, text, strlen(text), STATE_MODE, err);
}

static enum status decode_servers(struct lab *lab, json_t *servers, struct err *err)
{
    for (size_t i = 0; i < lab->server_count; i++) {
        json_t *entry = json_array_get(servers, i);
        const char *name = json_string_value(json_object_get(entry, "name"));
        const char *identity = json_string_value(json_object_get(entry, "process"));
        if (!name || !identity || strcmp(name, lab->servers[i].name) != 0)
            return err_set(err, ST_INVALID, "server %zu is not %s", i + 1, lab->servers[i].name);
        if (identity[0] && process_parse(identity, &lab->servers[i].process, err))
            return err_wrap(err, "server %s", name);
    }
    return ST_OK;
}

static struct lab_daemon *find_daemon(const struct lab *lab, const char *name)
{
    for (size_t i = 0; i < lab->daemon_count; i++)
        if (strcmp(lab->daemons[i].name, name) == 0)
            return &lab->daemons[i];
    return NULL;
}

static enum status decode_daemons(struct lab *lab, json_t *daemons, struct err *err)
{
    if (daemons && !json_is_array(daemons))
        return err_set(err, ST_INVALID, "'daemons' is not a list");
    for (size_t i = 0; i < json_array_size(daemons); i++) {
        json_t *entry = json_array_get(daemons, i);
        const char *name = json_string_value(json_object_get(entry, "name"));
        const char *identity = json_string_value(json_object_get(entry, "process"));
        struct lab_daemon *daemon = name ? find_daemon(lab, name) : NULL;
        if (!daemon || !identity)
            return err_set(err, ST_INVALID, "daemon %zu is not one of a lab", i + 1);
        if (identity[0] && process_parse(identity, &daemon->process, err))
            return err_wrap(err, "daemon %s", name);
    }
    lab__agents_read(lab);
    return ST_OK;
}

static bool is_in_range(int number, int maximum)
{
    return number >= 0 && number <= maximum;
}

static enum status decode_network(json_t *json, struct lab_network *ret, struct err *err)
{
    json_error_t error;
    struct lab_network network = {.is_netns = json != NULL};
    if (json && json_unpack_ex(json, &error, 0, "{s:i, s?i, s?i, s?i}", "rtt_ms", &network.rtt_ms,
                               "jitter_ms", &network.jitter_ms, "loss_ppm", &network.loss_ppm,
                               "mbit_s", &network.mbit_s))
        return err_set(err, ST_INVALID, "network: %s", error.text);
    if (!is_in_range(network.rtt_ms, LAB_RTT_MAX_MS) ||
        !is_in_range(network.jitter_ms, LAB_RTT_MAX_MS) ||
        !is_in_range(network.loss_ppm, LAB_LOSS_MAX_PPM) ||
        !is_in_range(network.mbit_s, LAB_MBIT_MAX))
        return err_set(err, ST_INVALID, "network: a number that cannot be");
    *ret = network;
    return ST_OK;
}

static enum status decode_policy(json_t *json, struct lab_policy *ret, struct err *err)
{
    json_error_t error;
    const char *automatic = lab_automatic_name(AUTOMATIC_HOST);
    struct lab_policy policy = {.ttl_ms = LAB_TTL_MS_DEFAULT};
    if (json && json_unpack_ex(json, &error, 0, "{s:i, s:s}", "ttl_ms", &policy.ttl_ms, "automatic",
                               &automatic))
        return err_set(err, ST_INVALID, "policy: %s", error.text);
    if (policy.ttl_ms < INVENTORY_TTL_MS_MIN || policy.ttl_ms > INVENTORY_TTL_MS_MAX)
        return err_set(err, ST_INVALID, "policy: a TTL that cannot be");
    enum status status = lab_automatic(automatic, &policy.automatic, err);
    if (!status)
        *ret = policy;
    return status;
}

static enum status decode(const char *dir, const char *text, struct lab **ret, struct err *err)
{
    json_error_t error;
    AUTO(json_freep) json_t *json = json_loads(text, 0, &error);
    if (!json)
        return err_set(err, ST_INVALID, "line %d: %s", error.line, error.text);
    int format = 0, port = 0, shards = 0, is_tls = 0;
    const char *mariadbd = NULL;
    json_t *servers = NULL, *daemons = NULL, *policy = NULL, *network = NULL;
    if (json_unpack_ex(json, &error, 0, "{s:i, s:i, s:i, s?b, s:s, s:o, s?o, s?o, s?o}", "format",
                       &format, "port", &port, "shards", &shards, "tls", &is_tls, "mariadbd",
                       &mariadbd, "servers", &servers, "daemons", &daemons, "policy", &policy,
                       "network", &network))
        return err_set(err, ST_INVALID, "%s", error.text);
    if (format != FORMAT)
        return err_set(err, ST_INVALID, "format %d, but this program knows %d", format, FORMAT);
    if (port < 0 || port > PORT_MAX || shards < 1 || shards > LAB_SHARDS_MAX)
        return err_set(err, ST_INVALID, "a port or a number of shards that cannot be");
    struct lab_shape shape = {.shards = (size_t)shards, .is_tls = is_tls};
    if (decode_network(network, &shape.network, err) || decode_policy(policy, &shape.policy, err))
        return err->status;
    shape.has_daemons = json_array_size(daemons) > (size_t)shape.network.is_netns;
    AUTO(lab_freep) struct lab *lab = lab__new(dir, &shape);
    lab->port = port;
    lab->mariadbd = mem_strdup(mariadbd);
    enum status status = decode_servers(lab, servers, err);
    status = status ? status : decode_daemons(lab, daemons, err);
    if (!status)
        *ret = take_pointer(lab);
    return status;
}

enum status lab_open(const char *dir, struct lab **ret, struct err *err)
{
    if (!lab__exists(dir)) {
        if (errno != ENOENT)
            return err_set_errno(err, errno, "look for a lab in", dir);
        err_set(err, ST_NOT_FOUND, "there is no lab in %s", dir);
        return err_hint(err, "holdfast lab up, or say where it is: --dir DIR");
    }
    AUTO_FREE char *path = mem_printf("%s/%s", dir, state_name);
    AUTO(buf_release) struct buf text = {0};
    enum status status = file_read(path, STATE_MAX_BYTES, &text, err);
    if (status)
        return status;
    AUTO(lab_freep) struct lab *lab = NULL;
    status = decode(dir, buf_text(&text), &lab, err);
    if (status) {
        err_wrap(err, "%s", path);
        return err_hint(err, "if it was changed by hand, put it back; processes of a lab show in "
                             "'ps' with their --defaults-file");
    }
    /* An interrupted 'up' may not have come to the passwords: enough for 'down'. */
    status_ignore(lab__passwords_load(lab, NULL), "missing passwords show when they are used");
    *ret = take_pointer(lab);
    return ST_OK;
}

enum status lab__lock(const char *dir, int *ret_fd, struct err *err)
{
    AUTO_CLOSE int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return err_set_errno(err, errno, "open", dir);
    if (flock(fd, LOCK_EX | LOCK_NB) == 0) {
        *ret_fd = take_fd(&fd);
        return ST_OK;
    }
    if (errno != EWOULDBLOCK)
        return err_set_errno(err, errno, "lock", dir);
    err_set(err, ST_BUSY, "another command is changing the lab in %s", dir);
    return err_hint(err, "try again when it has ended");
}
