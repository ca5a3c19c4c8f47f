/* SPDX-License-Identifier: Apache-2.0
 * The table of metrics: X(id, name, type, help). docs/conductor.md is held against it. */
#ifndef HOLDFAST_DAEMON_METRICS_H
#define HOLDFAST_DAEMON_METRICS_H

/* clang-format off */
#define METRIC_TABLE(X)                                                                                       \
    X(METRIC_BUILD,        "holdfast_build_info",              "gauge",   "1, with the version")              \
    X(METRIC_LEADS,        "holdfast_conductor_leads",         "gauge",   "1 while this conductor leads")     \
    X(METRIC_LOOK_AGE,     "holdfast_observation_age_seconds", "gauge",   "since the last look began")        \
    X(METRIC_LOOK_TIME,    "holdfast_observation_seconds",     "gauge",   "how long the last look took")      \
    X(METRIC_STORE_UP,     "holdfast_store_up",                "gauge",   "1 while the store answers")        \
    X(METRIC_PAUSED,       "holdfast_paused",                  "gauge",   "1 while the fleet is paused")      \
    X(METRIC_READY_AGE,    "holdfast_readiness_age_seconds",   "gauge",   "since readiness was looked at")    \
    X(METRIC_FINDINGS,     "holdfast_readiness_findings",      "gauge",   "findings, by severity")            \
    X(METRIC_SHARD_OPEN,   "holdfast_shard_primary",           "gauge",   "1 if exactly one server accepts writes") \
    X(METRIC_SHARD_HOME,   "holdfast_shard_home",              "gauge",   "1 for the region of the primary")  \
    X(METRIC_SHARD_EPOCH,  "holdfast_shard_epoch",             "gauge",   "how often its primary changed")    \
    X(METRIC_SHARD_LAG,    "holdfast_shard_lag_seconds",       "gauge",   "how far the other region is behind") \
    X(METRIC_SHARD_LOSS,   "holdfast_shard_loss_seconds",      "gauge",   "acknowledged writes of so long would be lost with its home region now, at most") \
    X(METRIC_SHARD_LOST,   "holdfast_shard_loss_transactions", "gauge",   "about so many transactions would be") \
    X(METRIC_SHARD_ACKERS, "holdfast_shard_ackers",            "gauge",   "replicas that acknowledge its writes") \
    X(METRIC_SHARD_WRONG,  "holdfast_shard_problems",          "gauge",   "what 'holdfast status' finds wrong") \
    X(METRIC_SERVER_UP,    "holdfast_server_up",               "gauge",   "1 if it answers")                  \
    X(METRIC_SERVER_LAG,   "holdfast_server_lag_seconds",      "gauge",   "how far a replica is behind")      \
    X(METRIC_REQUESTS,     "holdfast_http_requests_total",     "counter", "requests answered")                \
    X(METRIC_REFUSED,      "holdfast_http_refused_total",      "counter", "of these with a code from 400 on") \
    X(METRIC_CONNECTIONS,  "holdfast_http_connections",        "gauge",   "connections now")                  \
    X(METRIC_EVENTS,       "holdfast_http_event_streams",      "gauge",   "streams of events now")
/* clang-format on */

#endif
