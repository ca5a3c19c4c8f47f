/* SPDX-License-Identifier: Apache-2.0
 * The certificates of a lab with TLS: an authority, with its key, so that others can be signed; one
 * certificate for each server, for its address; one for Holdfast, and one with which the servers
 * replicate. */
#include "base/mem.h"
#include "base/scope.h"
#include "lab/internal.h"
#include "net/certificate.h"
#include "os/file.h"

#include <string.h>

enum { DAYS = 365, FOLDER_MODE = 0700 };

char *lab__tls_path(const struct lab *lab, const char *name)
{
    return mem_printf("%s/tls/%s", lab->dir, name);
}

static enum status write_pem(const struct lab *lab, const char *name, const char *kind,
                             struct buf *pem, struct err *err)
{
    AUTO_FREE char *file = mem_printf("%s.%s", name, kind);
    AUTO_FREE char *path = lab__tls_path(lab, file);
    enum status status = file_write_unsynced(path, pem->data, pem->length, err);
    explicit_bzero(pem->data, pem->length);
    return status;
}

static enum status issue(const struct lab *lab, const struct certificate_authority *authority,
                         const char *name, const char *address, struct err *err)
{
    struct certificate_request request = {.name = name, .address = address, .days = DAYS};
    AUTO(buf_release) struct buf cert = {0};
    AUTO(buf_release) struct buf key = {0};
    enum status status = certificate_issue(authority, &request, &cert, &key, err);
    status = status ? status : write_pem(lab, name, "pem", &cert, err);
    return status ? status : write_pem(lab, name, "key", &key, err);
}

static enum status write_authority(const struct lab *lab,
                                   const struct certificate_authority *authority, struct err *err)
{
    AUTO(buf_release) struct buf cert = {0};
    AUTO(buf_release) struct buf key = {0};
    enum status status = certificate_authority_write(authority, &cert, &key, err);
    status = status ? status : write_pem(lab, LAB_TLS_AUTHORITY, "pem", &cert, err);
    return status ? status : write_pem(lab, LAB_TLS_AUTHORITY, "key", &key, err);
}

/* Each member of etcd has one for both of its addresses, and for the one that its connections come
 * from: a member compares that, too; the conductors share one, because a fleet
 * file names one. */
static enum status issue_daemons(const struct lab *lab,
                                 const struct certificate_authority *authority, struct err *err)
{
    AUTO(buf_release) struct buf conductors = {0};
    enum status status = ST_OK;
    for (size_t i = 0; i < lab->daemon_count && !status; i++) {
        const struct lab_daemon *daemon = &lab->daemons[i];
        char source[LAB_HOST_MAX];
        lab__source(lab, daemon->region, source);
        AUTO_FREE char *all = mem_printf("%s,%s,%s", daemon->host, daemon->peer_host, source);
        if (daemon->kind == LAB_ETCD)
            status = issue(lab, authority, daemon->name, all, err);
        if (daemon->kind == LAB_CONDUCTOR)
            buf_printf(&conductors, "%s%s", conductors.length ? "," : "", daemon->host);
    }
    if (status || !lab->has_daemons)
        return status;
    return issue(lab, authority, LAB_TLS_CONDUCTOR, buf_text(&conductors), err);
}

enum status lab__certificates_make(const struct lab *lab, struct err *err)
{
    AUTO(certificate_authority_freep) struct certificate_authority *authority = NULL;
    AUTO_FREE char *folder = lab__path(lab, "tls");
    if (!lab->is_tls)
        return ST_OK;
    enum status status = folder_make(folder, FOLDER_MODE, err);
    status = status ? status : certificate_authority_new("holdfast lab", DAYS, &authority, err);
    status = status ? status : write_authority(lab, authority, err);
    status = status ? status : issue(lab, authority, LAB_TLS_CLIENT, NULL, err);
    status = status ? status : issue(lab, authority, LAB_TLS_REPLICATION, NULL, err);
    for (size_t i = 0; i < lab->server_count && !status; i++)
        status = issue(lab, authority, lab->servers[i].name, lab->servers[i].host, err);
    status = status ? status : issue_daemons(lab, authority, err);
    return status ? err_wrap(err, "certificates") : ST_OK;
}
