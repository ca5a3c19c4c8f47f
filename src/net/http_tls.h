/* SPDX-License-Identifier: Apache-2.0
 *
 * Inside net/ only: what TLS asks of libcurl, and what its failures mean in our words.
 */
#ifndef HOLDFAST_NET_HTTP_TLS_H
#define HOLDFAST_NET_HTTP_TLS_H

#include "net/http.h"

#include <curl/curl.h>

/* NULL: nothing, and https is refused. */
void http_tls__set(CURL *easy, const struct http_tls *tls);

/* ST_UNTRUSTED when 'code' and libcurl's words for it are about TLS, else ST_OK and 'err' is as it
 * was. '*ret_unsent': the other side has refused us before it looked at what was sent. */
enum status http_tls__judge(CURLcode code, const char *reason, bool *ret_unsent, struct err *err);

/* When the certificate that the other side just showed ends, in seconds since 1970; 0: it showed
 * none for this request. */
int64_t http_tls__end(CURL *easy);

#endif
