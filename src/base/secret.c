/* SPDX-License-Identifier: Apache-2.0
 * Passwords; see secret.h. */
#include "base/secret.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

void secret_set(struct secret *secret, const char *text, size_t length)
{
    secret_release(secret);
    secret->hidden = mem_zalloc(length + 1);
    memcpy(secret->hidden, text, length);
}

void secret_release(struct secret *secret)
{
    if (secret->hidden)
        explicit_bzero(secret->hidden, strlen(secret->hidden));
    free(secret->hidden);
    secret->hidden = NULL;
}

bool secret_is_set(const struct secret *secret)
{
    return secret->hidden != NULL;
}

const char *secret_reveal(const struct secret *secret)
{
    return secret->hidden ? secret->hidden : "";
}
