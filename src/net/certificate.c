/* SPDX-License-Identifier: Apache-2.0
 * See certificate.h. Elliptic curve P-256 and SHA-256: every TLS library of the last ten years
 * knows them, and a key takes no time to make. */
#include "net/certificate.h"

#include "base/mem.h"
#include "base/scope.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { DAY_S = 24 * 3600, SERIAL_BYTES = 8, BACKDATED_S = 3600 };

struct certificate_authority {
    X509 *cert;
    EVP_PKEY *key;
};

static void x509_freep(X509 **cert)
{
    X509_free(*cert);
}

static void key_freep(EVP_PKEY **key)
{
    EVP_PKEY_free(*key);
}

static void bio_freep(BIO **bio)
{
    BIO_free_all(*bio);
}

static void file_closep(FILE **file)
{
    if (*file)
        fclose(*file);
}

static enum status failed(struct err *err, const char *what, const char *of)
{
    const char *reason = ERR_reason_error_string(ERR_peek_last_error());
    err_set(err, ST_INVALID, "%s '%s': %s", what, of, reason ? reason : "failed");
    ERR_clear_error();
    return ST_INVALID;
}

/* --- Looking ---------------------------------------------------------------------------------- */

static enum status open_file(const char *path, FILE **ret, struct err *err)
{
    *ret = fopen(path, "re");
    return *ret ? ST_OK : err_set_errno(err, errno, "open", path);
}

static enum status read_certificate(const char *path, X509 **ret, struct err *err)
{
    AUTO(file_closep) FILE *file = NULL;
    enum status status = open_file(path, &file, err);
    if (status)
        return status;
    *ret = PEM_read_X509(file, NULL, NULL, NULL);
    return *ret ? ST_OK : failed(err, "no certificate in PEM", path);
}

/* Nobody is there to be asked for a passphrase. */
static int refuse_passphrase(char *text UNUSED, int size UNUSED, int mode UNUSED, void *of UNUSED)
{
    return -1;
}

static enum status read_key(const char *path, EVP_PKEY **ret, struct err *err)
{
    AUTO(file_closep) FILE *file = NULL;
    enum status status = open_file(path, &file, err);
    if (status)
        return status;
    *ret = PEM_read_PrivateKey(file, NULL, refuse_passphrase, NULL);
    if (*ret)
        return ST_OK;
    failed(err, "no private key in PEM without a passphrase", path);
    return ST_INVALID;
}

static bool to_seconds(const ASN1_TIME *time, int64_t *ret_s)
{
    struct tm at = {0};
    if (!ASN1_TIME_to_tm(time, &at))
        return false;
    *ret_s = timegm(&at);
    return true;
}

enum status certificate_read_end(const char *path, int64_t *ret_end_s, struct err *err)
{
    AUTO(x509_freep) X509 *cert = NULL;
    enum status status = read_certificate(path, &cert, err);
    if (status)
        return status;
    return to_seconds(X509_get0_notAfter(cert), ret_end_s) ? ST_OK
                                                           : failed(err, "no date in", path);
}

enum status certificate_check_key(const char *cert_path, const char *key_path, struct err *err)
{
    AUTO(x509_freep) X509 *cert = NULL;
    AUTO(key_freep) EVP_PKEY *key = NULL;
    enum status status = read_certificate(cert_path, &cert, err);
    status = status ? status : read_key(key_path, &key, err);
    if (status || X509_check_private_key(cert, key) == 1)
        return status;
    ERR_clear_error();
    return err_set(err, ST_INVALID, "'%s' is not the key of the certificate '%s'", key_path,
                   cert_path);
}

bool certificate_parse_time(const char *text, int64_t *ret_s)
{
    struct tm at = {0};
    const char *end = strptime(text, "%b %e %H:%M:%S %Y GMT", &at);
    if (!end || *end)
        return false;
    *ret_s = timegm(&at);
    return true;
}

/* --- Making ----------------------------------------------------------------------------------- */

static bool set_serial(X509 *cert)
{
    unsigned char bytes[SERIAL_BYTES];
    if (RAND_bytes(bytes, sizeof(bytes)) != 1)
        return false;
    bytes[0] &= 0x7f;
    bytes[0] |= 1; /* neither negative nor zero */
    BIGNUM *number = BN_bin2bn(bytes, sizeof(bytes), NULL);
    bool is_set = number && BN_to_ASN1_INTEGER(number, X509_get_serialNumber(cert));
    BN_free(number);
    return is_set;
}

static bool add_extension(X509 *cert, X509 *issuer, int kind, const char *value)
{
    X509V3_CTX context;
    X509V3_set_ctx(&context, issuer, cert, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, kind, value);
    bool is_added = extension && X509_add_ext(cert, extension, -1);
    X509_EXTENSION_free(extension);
    return is_added;
}

static bool set_validity(X509 *cert, int days)
{
    long begin_s = -BACKDATED_S - (days < 0 ? (1L - days) * DAY_S : 0);
    return X509_gmtime_adj(X509_getm_notBefore(cert), begin_s) &&
           X509_gmtime_adj(X509_getm_notAfter(cert), (long)days * DAY_S);
}

/* Everything but extensions and signature; NULL when the library is out of order. */
static X509 *new_certificate(const char *name, int days, X509 *issuer, EVP_PKEY *key)
{
    AUTO(x509_freep) X509 *cert = X509_new();
    X509_NAME *subject = cert ? X509_get_subject_name(cert) : NULL;
    bool is_set =
        subject && X509_set_version(cert, 2) && set_serial(cert) && set_validity(cert, days) &&
        X509_NAME_add_entry_by_txt(subject, name ? "CN" : "O", MBSTRING_UTF8,
                                   (const unsigned char *)(name ? name : "holdfast"), -1, -1, 0) &&
        X509_set_issuer_name(cert, issuer ? X509_get_subject_name(issuer) : subject) &&
        X509_set_pubkey(cert, key);
    return is_set ? take_pointer(cert) : NULL;
}

enum status certificate_authority_new(const char *name, int days,
                                      struct certificate_authority **ret, struct err *err)
{
    AUTO(certificate_authority_freep)
    struct certificate_authority *made = mem_zalloc(sizeof(*made));
    made->key = EVP_EC_gen("P-256");
    made->cert = made->key ? new_certificate(name, days, NULL, made->key) : NULL;
    if (!made->cert ||
        !add_extension(made->cert, made->cert, NID_basic_constraints, "critical,CA:TRUE") ||
        !add_extension(made->cert, made->cert, NID_key_usage, "critical,keyCertSign,cRLSign") ||
        !add_extension(made->cert, made->cert, NID_subject_key_identifier, "hash") ||
        !X509_sign(made->cert, made->key, EVP_sha256()))
        return failed(err, "make the authority", name);
    *ret = take_pointer(made);
    return ST_OK;
}

void certificate_authority_free(struct certificate_authority *authority)
{
    if (!authority)
        return;
    X509_free(authority->cert);
    EVP_PKEY_free(authority->key);
    free(authority);
}

void certificate_authority_freep(struct certificate_authority **authority)
{
    certificate_authority_free(*authority);
}

static bool write_out(BIO *bio, struct buf *ret)
{
    char *bytes = NULL;
    long length = BIO_get_mem_data(bio, &bytes);
    if (length > 0)
        buf_add_bytes(ret, bytes, (size_t)length);
    return length > 0;
}

static bool write_certificate(X509 *cert, struct buf *ret)
{
    AUTO(bio_freep) BIO *bio = BIO_new(BIO_s_mem());
    return bio && PEM_write_bio_X509(bio, cert) && write_out(bio, ret);
}

static bool write_key(EVP_PKEY *key, struct buf *ret)
{
    AUTO(bio_freep) BIO *bio = BIO_new(BIO_s_secmem());
    return bio && PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL) &&
           write_out(bio, ret);
}

enum status certificate_authority_write(const struct certificate_authority *authority,
                                        struct buf *ret_pem, struct buf *ret_key, struct err *err)
{
    bool is_written = write_certificate(authority->cert, ret_pem) &&
                      (!ret_key || write_key(authority->key, ret_key));
    return is_written ? ST_OK : failed(err, "write", "authority");
}

/* "IP:10.0.0.1,IP:10.0.0.2" */
static char *alternative_names(const char *addresses)
{
    AUTO(buf_release) struct buf names = {0};
    for (const char *at = addresses; at && *at; at += *at == ',') {
        size_t length = strcspn(at, ",");
        buf_printf(&names, "%sIP:%.*s", names.length ? "," : "", (int)length, at);
        at += length;
    }
    return buf_take(&names);
}

enum status certificate_issue(const struct certificate_authority *authority,
                              const struct certificate_request *request, struct buf *ret_pem,
                              struct buf *ret_key, struct err *err)
{
    AUTO(key_freep) EVP_PKEY *key = EVP_EC_gen("P-256");
    AUTO(x509_freep)
    X509 *cert = key ? new_certificate(request->name, request->days, authority->cert, key) : NULL;
    AUTO_FREE char *address = alternative_names(request->address);
    if (!cert || !add_extension(cert, authority->cert, NID_basic_constraints, "CA:FALSE") ||
        !add_extension(cert, authority->cert, NID_authority_key_identifier, "keyid") ||
        (request->address &&
         !add_extension(cert, authority->cert, NID_subject_alt_name, address)) ||
        !X509_sign(cert, authority->key, EVP_sha256()) || !write_certificate(cert, ret_pem) ||
        !write_key(key, ret_key))
        return failed(err, "make the certificate", request->name ? request->name : "of no name");
    return ST_OK;
}
