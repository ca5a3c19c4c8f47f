/* SPDX-License-Identifier: Apache-2.0
 * The accounts of a lab, and the tokens of its daemons. Grants, which are the least that each
 * needs, and their passwords: random, made anew for each lab, each in a file of its own. Also the
 * tables that Holdfast's accounts work in. */
#include "base/mem.h"
#include "base/scope.h"
#include "lab/internal.h"
#include "os/file.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

enum { PASSWORD_LENGTH = 24, TOKEN_LENGTH = 40 };

static const char *const admin_grants[] = {"GRANT ALL ON *.* TO %s WITH GRANT OPTION", NULL};

static const char *const control_grants[] = {
    "GRANT RELOAD, PROCESS, EVENT, SET USER, BINLOG MONITOR, BINLOG ADMIN, CONNECTION ADMIN, "
    "READ_ONLY ADMIN, REPLICATION MASTER ADMIN, REPLICATION SLAVE ADMIN, SLAVE MONITOR "
    "ON *.* TO %s",
    "GRANT SELECT ON mysql.* TO %s",
    "GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER, INDEX, DROP ON holdfast.* TO %s",
    NULL,
};

static const char *const replication_grants[] = {"GRANT REPLICATION SLAVE ON *.* TO %s", NULL};

static const char *const probe_grants[] = {
    "GRANT SELECT, INSERT, UPDATE, DELETE ON holdfast.* TO %s", NULL};

static const char *const app_grants[] = {"GRANT ALL ON app.* TO %s", NULL};

static const struct {
    const char *user;
    const char *password_file;
    const char *const *grants; /* %s is the account */
    const char *tls;           /* what it requires in a lab with TLS */
} accounts[LAB_ACCOUNTS] = {
    [LAB_ADMIN] = {"admin", "admin.password", admin_grants, "SSL"},
    [LAB_CONTROL] = {"holdfast", "holdfast.password", control_grants, "X509"},
    [LAB_REPLICATION] = {"repl", "repl.password", replication_grants, "X509"},
    [LAB_PROBE] = {"probe", "probe.password", probe_grants, "SSL"},
    [LAB_APP] = {"app", "app.password", app_grants, "SSL"},
};

static const char *const tables[] = {
    "CREATE DATABASE app",
    "CREATE DATABASE holdfast",
    "CREATE TABLE holdfast.probe (slot INT UNSIGNED PRIMARY KEY, n BIGINT UNSIGNED NOT NULL, "
    "at_us BIGINT NOT NULL) ENGINE=InnoDB",
    "CREATE TABLE holdfast.heartbeat (shard VARCHAR(64) PRIMARY KEY, run VARCHAR(64) NOT NULL, "
    "n BIGINT UNSIGNED NOT NULL) ENGINE=InnoDB",
    "CREATE TABLE holdfast.load_row (id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY, "
    "load_run VARCHAR(40) NOT NULL, writer INT UNSIGNED NOT NULL, seq BIGINT UNSIGNED NOT NULL, "
    "KEY (load_run, writer, seq)) ENGINE=InnoDB",
};

const char *lab_account_name(enum lab_account account)
{
    return accounts[account].user;
}

const char *lab_database_name(void)
{
    return "app";
}

const char *lab__password_file(enum lab_account account)
{
    return accounts[account].password_file;
}

/* No letter that is mistaken for another; 32 of them, so that each random byte gives one. */
static enum status make_secret(size_t length, struct secret *ret, struct err *err)
{
    static const char letters[] = "abcdefghijkmnpqrstuvwxyz23456789";
    _Static_assert(sizeof(letters) == 32 + 1, "a byte must map evenly");
    unsigned char bytes[TOKEN_LENGTH];
    char text[TOKEN_LENGTH];
    if (getrandom(bytes, sizeof(bytes), 0) != sizeof(bytes))
        return err_set_errno(err, errno, "read", "random bytes");
    for (size_t i = 0; i < length; i++)
        text[i] = letters[bytes[i] % 32];
    secret_set(ret, text, length);
    explicit_bzero(text, sizeof(text));
    return ST_OK;
}

static enum status write_secret(const struct lab *lab, const char *file,
                                const struct secret *secret, struct err *err)
{
    AUTO_FREE char *path = lab__path(lab, file);
    AUTO(buf_release) struct buf line = {0};
    buf_printf(&line, "%s\n", secret_reveal(secret));
    enum status status = file_write_unsynced(path, line.data, line.length, err);
    explicit_bzero(line.data, line.length);
    return status;
}

enum status lab__passwords_make(struct lab *lab, struct err *err)
{
    enum status status = ST_OK;
    for (size_t i = 0; i < LAB_ACCOUNTS && !status; i++) {
        status = make_secret(PASSWORD_LENGTH, &lab->passwords[i], err);
        status =
            status ? status : write_secret(lab, accounts[i].password_file, &lab->passwords[i], err);
    }
    return status;
}

char *lab__token_file(enum http_role role)
{
    return mem_printf("%s.token", http_role_name(role));
}

enum status lab__tokens_make(const struct lab *lab, struct err *err)
{
    enum status status = ST_OK;
    for (int role = HTTP_VIEWER; role < HTTP_ROLES && lab->has_daemons && !status; role++) {
        AUTO(secret_release) struct secret token = {0};
        AUTO_FREE char *file = lab__token_file((enum http_role)role);
        status = make_secret(TOKEN_LENGTH, &token, err);
        status = status ? status : write_secret(lab, file, &token, err);
    }
    return status;
}

enum status lab__passwords_load(struct lab *lab, struct err *err)
{
    for (size_t i = 0; i < LAB_ACCOUNTS; i++) {
        AUTO_FREE char *path = lab__path(lab, accounts[i].password_file), *text = NULL;
        bool is_exposed = false;
        enum status status = file_read_secret(path, &text, &is_exposed, err);
        if (status)
            return status;
        secret_set(&lab->passwords[i], text, strlen(text));
    }
    return ST_OK;
}

/* Run by 'mariadbd --bootstrap', one statement a line. It starts without access rules; FLUSH
 * PRIVILEGES lets them in. */
void lab__accounts_sql(const struct lab *lab, struct buf *sql)
{
    buf_add(sql, "DELETE FROM mysql.global_priv WHERE User IN ('root', '');\n"
                 "DELETE FROM mysql.proxies_priv;\n"
                 "FLUSH PRIVILEGES;\n");
    for (size_t i = 0; i < LAB_ACCOUNTS; i++) {
        AUTO_FREE char *account = mem_printf("'%s'@'%%'", accounts[i].user);
        buf_printf(sql, "CREATE USER %s IDENTIFIED BY '%s' REQUIRE %s;\n", account,
                   secret_reveal(&lab->passwords[i]), lab->is_tls ? accounts[i].tls : "NONE");
        for (const char *const *grant = accounts[i].grants; *grant; grant++) {
            const char *mark = strstr(*grant, "%s");
            buf_printf(sql, "%.*s%s%s;\n", (int)(mark - *grant), *grant, account, mark + 2);
        }
    }
}

void lab__tables_sql(struct buf *sql)
{
    for (size_t i = 0; i < ARRAY_SIZE(tables); i++)
        buf_printf(sql, "%s; ", tables[i]);
}
