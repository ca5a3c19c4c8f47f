/* SPDX-License-Identifier: Apache-2.0
 * See pulse.h. What needs no permission is asked: whoever has an answer to give, be it a refusal,
 * lives. */
#include "etcd/pulse.h"

#include "base/mem.h"
#include "base/scope.h"
#include "etcd/errors.h"

enum { ANSWER_MAX = 64 * 1024 };

struct etcd_pulse {
    struct http_stream *stream;
    bool is_asking;
};

struct etcd_pulse *etcd_pulse_new(void)
{
    struct etcd_pulse *pulse = mem_zalloc(sizeof(*pulse));
    pulse->stream = http_stream_new();
    if (pulse->stream)
        return pulse;
    free(pulse);
    return NULL;
}

void etcd_pulse_free(struct etcd_pulse *pulse)
{
    if (pulse)
        http_stream_free(pulse->stream);
    free(pulse);
}

int etcd_pulse_fd(const struct etcd_pulse *pulse)
{
    return http_stream_fd(pulse->stream);
}

void etcd_pulse_ask(struct etcd_pulse *pulse, struct etcd_client *client, size_t member)
{
    AUTO(etcd_errand_release) struct etcd_errand errand;
    etcd_errand_init_at(client, member, "/v3/maintenance/status", &errand);
    struct http_post post = {.url = errand.url,
                             .body = "{}",
                             .headers = errand.headers,
                             .tls = errand.tls,
                             .connect_ms = ETCD_CONNECT_MS,
                             .answer_max = ANSWER_MAX};
    http_stream_start(pulse->stream, &post);
    pulse->is_asking = true;
}

bool etcd_pulse_is_asking(const struct etcd_pulse *pulse)
{
    return pulse->is_asking;
}

bool etcd_pulse_felt(struct etcd_pulse *pulse)
{
    AUTO(etcd_answer_release) struct etcd_answer answer = {0};
    struct err err = ERR_INIT;
    if (!http_stream_run(pulse->stream, &err) || !pulse->is_asking)
        return false; /* it goes on, or nothing was asked */
    const struct buf *body = http_stream_body(pulse->stream);
    pulse->is_asking = false;
    if (etcd_answer_parse(buf_text(body), body->length, &answer, &err))
        return false;
    return !answer.error || etcd_error_find(&answer)->status == ST_DENIED;
}
