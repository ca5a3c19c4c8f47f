/* SPDX-License-Identifier: Apache-2.0
 * What a YAML scalar can mean in a fleet file, and what a mistyped word was meant to be; see
 * yaml.h. All scalars are text here: 'no' is a name, 010 is ten. */
#include "wire/yaml.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/scope.h"

#include <ctype.h>
#include <string.h>

static const char name_characters[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-";

enum status yaml_read_text(struct yaml_file *file, yaml_node_t *node, void *target, struct err *err)
{
    char where[YAML_SHOWN_MAX];
    enum status status = yaml_expect(file, node, YAML_SCALAR_NODE, err);
    if (status)
        return status;
    const char *text = (const char *)node->data.scalar.value;
    size_t length = node->data.scalar.length;
    if (length == 0)
        return yaml_error(file, node, err, "%s must not be empty", yaml_place(file, where));
    for (size_t i = 0; i < length; i++)
        if (iscntrl((unsigned char)text[i]))
            return yaml_error(file, node, err, "%s contains a control character",
                              yaml_place(file, where));
    *(char **)target = mem_strdup(text);
    return ST_OK;
}

enum status yaml_read_name(struct yaml_file *file, yaml_node_t *node, void *target, struct err *err)
{
    char where[YAML_SHOWN_MAX], shown[YAML_SHOWN_MAX];
    AUTO_FREE char *name = NULL;
    enum status status = yaml_read_text(file, node, &name, err);
    if (status)
        return status;
    if (name[strspn(name, name_characters)])
        return yaml_error(file, node, err, "%s: '%s' may only have letters, digits, '_', '.', '-'",
                          yaml_place(file, where), yaml_show(node, shown));
    if (strlen(name) > YAML_NAME_MAX)
        return yaml_error(file, node, err, "%s: '%s' is longer than %d characters",
                          yaml_place(file, where), yaml_show(node, shown), YAML_NAME_MAX);
    *(char **)target = take_pointer(name);
    return ST_OK;
}

/* Leading digits; returns what follows them, NULL when there are none or too many. */
static const char *parse_digits(const char *text, uint64_t *ret_number)
{
    size_t digits = strspn(text, "0123456789");
    uint64_t number = 0;
    if (digits == 0 || digits > 18)
        return NULL;
    for (size_t i = 0; i < digits; i++)
        number = number * 10 + (uint64_t)(text[i] - '0');
    *ret_number = number;
    return text + digits;
}

enum status yaml_read_duration(struct yaml_file *file, yaml_node_t *node, void *target,
                               struct err *err)
{
    char shown[YAML_SHOWN_MAX];
    int64_t ms = 0;
    enum status status = yaml_expect(file, node, YAML_SCALAR_NODE, err);
    if (status)
        return status;
    if (!clock_parse_span((const char *)node->data.scalar.value, &ms))
        return yaml_error(file, node, err,
                          "'%s': '%s' is not a duration; write 500ms, 30s, 5m or 1h", file->key,
                          yaml_show(node, shown));
    if (ms > (int64_t)YAML_DURATION_MAX_HOURS * 3600 * 1000)
        return yaml_error(file, node, err, "'%s': '%s' is longer than %dh", file->key,
                          yaml_show(node, shown), YAML_DURATION_MAX_HOURS);
    *(int64_t *)target = ms;
    return ST_OK;
}

enum status yaml_read_number(struct yaml_file *file, yaml_node_t *node, void *target,
                             struct err *err)
{
    char shown[YAML_SHOWN_MAX];
    uint64_t number = 0;
    enum status status = yaml_expect(file, node, YAML_SCALAR_NODE, err);
    if (status)
        return status;
    const char *rest = parse_digits((const char *)node->data.scalar.value, &number);
    if (!rest || rest[0] || number > UINT32_MAX)
        return yaml_error(file, node, err, "'%s': '%s' is not a whole number up to %u", file->key,
                          yaml_show(node, shown), UINT32_MAX);
    *(uint32_t *)target = (uint32_t)number;
    return ST_OK;
}

enum status yaml_read_bool(struct yaml_file *file, yaml_node_t *node, void *target, struct err *err)
{
    char shown[YAML_SHOWN_MAX];
    enum status status = yaml_expect(file, node, YAML_SCALAR_NODE, err);
    if (status)
        return status;
    const char *text = (const char *)node->data.scalar.value;
    bool is_true = strcmp(text, "true") == 0;
    if (!is_true && strcmp(text, "false") != 0)
        return yaml_error(file, node, err, "'%s': '%s' is neither true nor false", file->key,
                          yaml_show(node, shown));
    *(bool *)target = is_true;
    return ST_OK;
}

/* ---- slips of the keyboard ---- */

/* Levenshtein's distance; words longer than the cap are never close. */
static size_t distance(const char *left, const char *right)
{
    size_t row[YAML_NAME_MAX + 1], rows = strlen(left), columns = strlen(right);
    if (rows > YAML_NAME_MAX || columns > YAML_NAME_MAX)
        return SIZE_MAX;
    for (size_t j = 0; j <= columns; j++)
        row[j] = j;
    for (size_t i = 1; i <= rows; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= columns; j++) {
            size_t best = diagonal + (left[i - 1] != right[j - 1]);
            diagonal = row[j];
            best = row[j] + 1 < best ? row[j] + 1 : best;
            row[j] = row[j - 1] + 1 < best ? row[j - 1] + 1 : best;
        }
    }
    return row[columns];
}

const char *yaml_closest(const char *word, const char *const *candidates, size_t count)
{
    const char *closest = NULL;
    size_t least = 3; /* two slips at most, and fewer than half of the word */
    for (size_t i = 0; i < count; i++) {
        size_t slips = distance(word, candidates[i]);
        if (slips < least && slips * 2 < strlen(candidates[i])) {
            least = slips;
            closest = candidates[i];
        }
    }
    return closest;
}
