/* SPDX-License-Identifier: Apache-2.0
 *
 * A password. It has no formatter, so it cannot reach a log or a message by accident: the one way
 * to the text is secret_reveal(), which is easy to search for. Wiped when released. {0} is empty.
 */
#ifndef HOLDFAST_BASE_SECRET_H
#define HOLDFAST_BASE_SECRET_H

#include <stdbool.h>
#include <stddef.h>

struct secret {
    char *hidden; /* only secret.c touches it */
};

void secret_set(struct secret *secret, const char *text, size_t length);
void secret_release(struct secret *secret);
bool secret_is_set(const struct secret *secret);
/* The text, for handing to a client library; "" while unset. Never print, log or copy it. */
const char *secret_reveal(const struct secret *secret);

#endif
