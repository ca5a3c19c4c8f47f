/* SPDX-License-Identifier: Apache-2.0
 * Bearer tokens: read from files, kept as digests, compared in constant time. */
#include "net/internal.h"

#include "base/mem.h"
#include "base/scope.h"
#include "os/file.h"

#include <openssl/crypto.h>
#include <openssl/sha.h>
#include <string.h>

bool watched_file__has_changed(struct watched_file *file)
{
    struct stat now = {0};
    if (!file->path || stat(file->path, &now))
        return false; /* it is being replaced; what was read stays */
    bool is_same = now.st_mtim.tv_sec == file->seen.st_mtim.tv_sec &&
                   now.st_mtim.tv_nsec == file->seen.st_mtim.tv_nsec &&
                   now.st_size == file->seen.st_size && now.st_ino == file->seen.st_ino;
    file->seen = now;
    return !is_same;
}

static enum status read_token(struct token *token, struct err *err)
{
    AUTO_FREE char *text = NULL;
    bool is_exposed = false;
    enum status status = file_read_secret(token->path, &text, &is_exposed, err);
    if (status)
        return err_wrap(err, "token '%s'", token->name);
    size_t length = strlen(text);
    bool is_good = http_token_is_good(text, length);
    if (is_good)
        SHA256((const unsigned char *)text, length, token->digest);
    explicit_bzero(text, length);
    if (is_good)
        return ST_OK;
    err_set(err, ST_INVALID,
            "token '%s': '%s' must hold one line of %d to %d letters, digits and "
            "-._~+/",
            token->name, token->path, HTTP_TOKEN_MIN, HTTP_TOKEN_MAX);
    return err_hint(err, "openssl rand -hex 32 >'%.200s'; chmod 600 '%.100s'", token->path,
                    token->path);
}

static void note(struct http_server *server, const char *path, const struct err *err)
{
    if (server->config.note)
        server->config.note(server->config.context, path, err);
}

enum status server__load_tokens(struct http_server *server, struct err *err)
{
    const struct http_server_config *config = &server->config;
    server->tokens = mem_zalloc((config->token_count + 1) * sizeof(*server->tokens));
    for (size_t i = 0; i < config->token_count; i++) {
        struct token *token = &server->tokens[i];
        token->name = mem_strdup(config->tokens[i].name);
        token->path = mem_strdup(config->tokens[i].path);
        token->role = config->tokens[i].role;
        token->file.path = token->path;
        watched_file__has_changed(&token->file);
        if (read_token(token, err))
            return err->status;
    }
    return ST_OK;
}

void server__reload_tokens(struct http_server *server)
{
    for (size_t i = 0; i < server->config.token_count; i++) {
        struct token *token = &server->tokens[i];
        struct err err = ERR_INIT;
        if (!watched_file__has_changed(&token->file))
            continue;
        status_ignore(read_token(token, &err), "the note says it; the token before stays");
        note(server, token->path, &err);
    }
}

void server__free_tokens(struct http_server *server)
{
    for (size_t i = 0; server->tokens && i < server->config.token_count; i++) {
        free(server->tokens[i].name);
        free(server->tokens[i].path);
    }
    free(server->tokens);
}

/* All of them are compared, to the end, whichever it is. */
enum http_role server__find_role(const struct http_server *server, const char *text, size_t length,
                                 const char **ret_name)
{
    unsigned char digest[SHA256_DIGEST_LENGTH];
    enum http_role role = HTTP_OPEN;
    SHA256((const unsigned char *)text, length, digest);
    for (size_t i = 0; i < server->config.token_count; i++) {
        const struct token *token = &server->tokens[i];
        bool is_it = CRYPTO_memcmp(token->digest, digest, sizeof(digest)) == 0;
        role = is_it ? token->role : role;
        *ret_name = is_it ? token->name : *ret_name;
    }
    return role;
}
