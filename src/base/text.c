/* SPDX-License-Identifier: Apache-2.0
 * Making foreign text fit to be shown; see text.h. */
#include "base/text.h"

#include <string.h>

/* The length of the character that begins at 'at'; 0 when there is none: cut off, too long a form,
 * a surrogate, or beyond Unicode. */
static size_t character(const unsigned char *at, size_t left)
{
    size_t length = at[0] < 0x80   ? 1
                    : at[0] < 0xc2 ? 0
                    : at[0] < 0xe0 ? 2
                    : at[0] < 0xf0 ? 3
                    : at[0] < 0xf5 ? 4
                                   : 0;
    if (length > left)
        return 0;
    for (size_t i = 1; i < length; i++)
        if ((at[i] & 0xc0) != 0x80)
            return 0;
    bool is_wrong = (at[0] == 0xe0 && at[1] < 0xa0) || (at[0] == 0xed && at[1] >= 0xa0) ||
                    (at[0] == 0xf0 && at[1] < 0x90) || (at[0] == 0xf4 && at[1] >= 0x90);
    return is_wrong ? 0 : length;
}

/* Besides control characters: U+200E/F and the other marks of direction, with which a name could
 * pose as another, and the separators that are line breaks to some. */
static bool is_hidden(const unsigned char *at, size_t length)
{
    if (length == 1)
        return (at[0] < ' ' && at[0] != '\n' && at[0] != '\t') || at[0] == 0x7f;
    if (length == 2)
        return at[0] == 0xc2 && at[1] < 0xa0;
    if (length != 3 || at[0] != 0xe2)
        return false;
    bool is_mark = at[1] == 0x80 && (at[2] == 0x8e || at[2] == 0x8f);
    bool is_turn = at[1] == 0x80 && at[2] >= 0xa8 && at[2] <= 0xae;
    bool is_isolate = at[1] == 0x81 && at[2] >= 0xa6 && at[2] <= 0xa9;
    return is_mark || is_turn || is_isolate;
}

size_t text_next(const unsigned char *at, size_t left, bool *ret_is_shown)
{
    size_t length = character(at, left);
    *ret_is_shown = length > 0 && !is_hidden(at, length);
    return length ? length : 1;
}

void text_add_clean(struct buf *out, const void *bytes, size_t length)
{
    const unsigned char *text = bytes;
    size_t kept = 0, size = 0;
    for (size_t at = 0; at < length; at += size) {
        bool is_shown = false;
        size = text_next(text + at, length - at, &is_shown);
        if (is_shown)
            continue;
        buf_add_bytes(out, text + kept, at - kept);
        buf_add(out, TEXT_REPLACED);
        kept = at + size;
    }
    buf_add_bytes(out, text + kept, length - kept);
}

char *text_clean_line(const char *text)
{
    struct buf out = {0};
    text_add_clean(&out, text, strlen(text));
    char *line = buf_take(&out);
    for (char *at = line; *at; at++)
        if (*at == '\n' || *at == '\t')
            *at = ' ';
    return line;
}
