/* SPDX-License-Identifier: Apache-2.0
 *
 * TLS of HTTP requests. Every connection is proved anew: no sessions are resumed and no authorities
 * are remembered, so that a certificate that was replaced, or has ended, counts from the next
 * connection on. Under TLS 1.3 a client learns that its certificate was refused only when it reads,
 * after it has sent its request; but nobody looks at that request, so it counts as unsent.
 */
#include "net/http_tls.h"

#include "base/scope.h"
#include "net/certificate.h"

#include <string.h>

void http_tls__set(CURL *easy, const struct http_tls *tls)
{
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, tls ? "https" : "http");
    if (!tls)
        return;
    curl_easy_setopt(easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, tls->ca ? 1L : 0L);
    curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, tls->verify ? 2L : 0L);
    curl_easy_setopt(easy, CURLOPT_CAPATH, NULL); /* no authority but ours */
    if (tls->ca)
        curl_easy_setopt(easy, CURLOPT_CAINFO, tls->ca);
    if (tls->cert) {
        curl_easy_setopt(easy, CURLOPT_SSLCERT, tls->cert);
        curl_easy_setopt(easy, CURLOPT_SSLKEY, tls->key);
    }
    curl_easy_setopt(easy, CURLOPT_SSL_SESSIONID_CACHE, 0L);
    curl_easy_setopt(easy, CURLOPT_CA_CACHE_TIMEOUT, 0L);
    curl_easy_setopt(easy, CURLOPT_CERTINFO, 1L);
}

/* In the words of libcurl 7.88 and OpenSSL 3; the first that fits. */
/* clang-format off */
static const struct {
    const char *words;
    bool is_alert; /* the other side said so, before it looked at what was sent */
    const char *meaning, *hint;
} cases[] = {
    {"alert bad certificate",      true, "it does not accept our certificate, or wants one", ""},
    {"alert certificate required", true, "it wants a certificate from us", ""},
    {"alert certificate expired",  true, "it does not accept our certificate: expired", ""},
    {"alert certificate",          true, "it does not accept our certificate", ""},
    {"alert unsupported certif",   true, "it does not accept our certificate", ""},
    {"alert unknown ca",           true, "it does not know who signed our certificate", ""},
    {"alert access denied",        true, "it does not accept our certificate", ""},
    {"certificate has expired",    false, "its certificate has expired", "renew it there"},
    {"not yet valid",              false, "its certificate is not valid yet", "look at the clocks of both sides"},
    {"does not match target host", false, "its certificate is for another name", ""},
    {"no alternative certificate subject name", false, "its certificate is for another name", ""},
    {"unable to obtain common name", false, "its certificate is for no name", ""},
    {"local issuer certificate",   false, "nobody in our 'ca' has signed its certificate", ""},
    {"self-signed certificate",    false, "nobody in our 'ca' has signed its certificate", ""},
    {"self signed certificate",    false, "nobody in our 'ca' has signed its certificate", ""},
    {"certificate signature fail", false, "nobody in our 'ca' has signed its certificate", ""},
    {"wrong version number",       false, "it offers no TLS", "serve TLS there, or take 'tls' away here"},
};
/* clang-format on */

static const char another_name[] = "its certificate must name the host as it is written in the "
                                   "fleet file: an address as IP, a name as DNS";
static const char our_own[] = "see that our certificate has not expired, that it is for clients, "
                              "and that the other side knows who signed it";
static const char our_ca[] = "'ca' must hold the authority that signed the certificate there";

static const char *hint_of(size_t index)
{
    if (cases[index].is_alert)
        return our_own;
    if (cases[index].hint[0])
        return cases[index].hint;
    return strstr(cases[index].meaning, "name") ? another_name : our_ca;
}

static bool is_of_tls(CURLcode code)
{
    return code == CURLE_PEER_FAILED_VERIFICATION || code == CURLE_SSL_CONNECT_ERROR ||
           code == CURLE_SSL_CERTPROBLEM || code == CURLE_SSL_CACERT_BADFILE ||
           code == CURLE_SSL_ISSUER_ERROR || code == CURLE_SSL_CIPHER;
}

enum status http_tls__judge(CURLcode code, const char *reason, bool *ret_unsent, struct err *err)
{
    bool may_be_alert = code == CURLE_RECV_ERROR || code == CURLE_SEND_ERROR;
    *ret_unsent = is_of_tls(code);
    if (!*ret_unsent && !may_be_alert)
        return ST_OK;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        if (!strstr(reason, cases[i].words) || (may_be_alert && !cases[i].is_alert))
            continue;
        *ret_unsent = true;
        err_set(err, ST_UNTRUSTED, "%s (%s)", cases[i].meaning, reason);
        return err_hint(err, "%s", hint_of(i));
    }
    return *ret_unsent ? err_set(err, ST_UNTRUSTED, "no TLS connection: %s", reason) : ST_OK;
}

int64_t http_tls__end(CURL *easy)
{
    static const char field[] = "Expire date:";
    struct curl_certinfo *shown = NULL;
    int64_t end_s = 0;
    if (curl_easy_getinfo(easy, CURLINFO_CERTINFO, &shown) || !shown || shown->num_of_certs < 1)
        return 0;
    for (struct curl_slist *at = shown->certinfo[0]; at; at = at->next)
        if (strncmp(at->data, field, sizeof(field) - 1) == 0 &&
            certificate_parse_time(at->data + sizeof(field) - 1, &end_s))
            return end_s;
    return 0;
}
