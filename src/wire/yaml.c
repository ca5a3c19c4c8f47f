/* SPDX-License-Identifier: Apache-2.0
 * Reading YAML by tables; see yaml.h. Knows nothing of what a fleet is.
 *
 * The text is parsed twice: the events are checked first, because libyaml's document no longer
 * tells whether a node came from an alias, and because deep nesting must be refused before it is
 * built. */
#include "wire/yaml.h"

#include "base/invariant.h"
#include "base/scope.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int yaml_line(const yaml_node_t *node)
{
    return (int)node->start_mark.line + 1;
}

enum status yaml_error(const struct yaml_file *file, const yaml_node_t *node, struct err *err,
                       const char *format, ...)
{
    char text[ERR_TEXT_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    return err_set(err, ST_INVALID, "%s:%d: %s", file->path, yaml_line(node), text);
}

const char *yaml_show(const yaml_node_t *node, char ret_shown[static YAML_SHOWN_MAX])
{
    static const char more[] = "...";
    size_t length = node->type == YAML_SCALAR_NODE ? node->data.scalar.length : 0;
    size_t shown = length < YAML_SHOWN_MAX ? length : YAML_SHOWN_MAX - sizeof(more);
    for (size_t i = 0; i < shown; i++) {
        unsigned char c = node->data.scalar.value[i];
        ret_shown[i] = (char)(iscntrl(c) ? '?' : c);
    }
    ret_shown[shown] = '\0';
    if (shown < length)
        memcpy(ret_shown + shown, more, sizeof(more));
    return ret_shown;
}

/* ---- opening ---- */

static int line_of_offset(const char *text, size_t length, size_t offset)
{
    int line = 1;
    for (size_t i = 0; i < offset && i < length; i++)
        line += text[i] == '\n';
    return line;
}

struct text {
    const char *start;
    size_t length;
};

static enum status syntax_error(const struct yaml_file *file, const yaml_parser_t *parser,
                                const struct text *text, struct err *err)
{
    const char *problem = parser->problem ? parser->problem : "out of memory";
    if (parser->error == YAML_READER_ERROR)
        return err_set(err, ST_INVALID, "%s:%d: invalid YAML: %s", file->path,
                       line_of_offset(text->start, text->length, parser->problem_offset), problem);
    int line = (int)parser->problem_mark.line + 1, from = (int)parser->context_mark.line + 1;
    if (!parser->context)
        return err_set(err, ST_INVALID, "%s:%d: invalid YAML: %s", file->path, line, problem);
    return err_set(err, ST_INVALID, "%s:%d: invalid YAML: %s %s that begins in line %d", file->path,
                   line, problem, parser->context, from);
}

static bool has_anchor(const yaml_event_t *event)
{
    return event->type == YAML_ALIAS_EVENT ||
           (event->type == YAML_SCALAR_EVENT && event->data.scalar.anchor) ||
           (event->type == YAML_SEQUENCE_START_EVENT && event->data.sequence_start.anchor) ||
           (event->type == YAML_MAPPING_START_EVENT && event->data.mapping_start.anchor);
}

static bool has_tag(const yaml_event_t *event)
{
    return (event->type == YAML_SCALAR_EVENT && event->data.scalar.tag) ||
           (event->type == YAML_SEQUENCE_START_EVENT && event->data.sequence_start.tag) ||
           (event->type == YAML_MAPPING_START_EVENT && event->data.mapping_start.tag);
}

struct stream {
    int depth, documents;
};

/* What is wrong with this event, or NULL. */
static const char *check_event(const yaml_event_t *event, struct stream *stream)
{
    bool starts =
        event->type == YAML_SEQUENCE_START_EVENT || event->type == YAML_MAPPING_START_EVENT;
    bool ends = event->type == YAML_SEQUENCE_END_EVENT || event->type == YAML_MAPPING_END_EVENT;
    stream->depth += starts - ends;
    stream->documents += event->type == YAML_DOCUMENT_START_EVENT;
    if (has_anchor(event))
        return "anchors and aliases (& and *) are not supported; write the value out";
    if (has_tag(event))
        return "tags (!) are not supported";
    if (stream->depth > YAML_DEPTH_MAX)
        return "nested too deep";
    if (stream->documents > 1)
        return "a second document begins here (---); a fleet file has one";
    return NULL;
}

static void feed(yaml_parser_t *parser, const struct text *text)
{
    yaml_parser_set_input_string(parser, (const unsigned char *)text->start, text->length);
}

static enum status check_stream(const struct yaml_file *file, const struct text *text,
                                struct err *err)
{
    AUTO(yaml_parser_delete) yaml_parser_t parser;
    INVARIANT(yaml_parser_initialize(&parser));
    feed(&parser, text);
    struct stream stream = {0};
    for (bool done = false; !done;) {
        AUTO(yaml_event_delete) yaml_event_t event;
        if (!yaml_parser_parse(&parser, &event))
            return syntax_error(file, &parser, text, err);
        const char *wrong = check_event(&event, &stream);
        if (wrong)
            return err_set(err, ST_INVALID, "%s:%d: %s", file->path, (int)event.start_mark.line + 1,
                           wrong);
        done = event.type == YAML_STREAM_END_EVENT;
    }
    return ST_OK;
}

enum status yaml_file_open(struct yaml_file *file, const char *path, const char *text,
                           size_t length, struct err *err)
{
    *file = (struct yaml_file){.path = path};
    struct text input = {text, length};
    enum status status = check_stream(file, &input, err);
    if (status)
        return status;
    AUTO(yaml_parser_delete) yaml_parser_t parser;
    INVARIANT(yaml_parser_initialize(&parser));
    feed(&parser, &input);
    if (!yaml_parser_load(&parser, &file->document))
        return syntax_error(file, &parser, &input, err);
    if (!yaml_document_get_root_node(&file->document))
        return err_set(err, ST_INVALID, "%s:1: the file is empty", path);
    return ST_OK;
}

void yaml_file_close(struct yaml_file *file)
{
    yaml_document_delete(&file->document);
}

yaml_node_t *yaml_root(struct yaml_file *file)
{
    return yaml_document_get_root_node(&file->document);
}

/* ---- mappings and lists ---- */

static const char *kind_words(yaml_node_type_t kind)
{
    if (kind == YAML_MAPPING_NODE)
        return "keys with values";
    return kind == YAML_SEQUENCE_NODE ? "a list" : "a single value";
}

const char *yaml_place(const struct yaml_file *file, char ret_place[static YAML_SHOWN_MAX])
{
    if (!file->key)
        return "the file";
    snprintf(ret_place, YAML_SHOWN_MAX, "%s'%.40s'", file->in_list ? "an item of " : "", file->key);
    return ret_place;
}

static bool has_nul(const yaml_node_t *node)
{
    return node->type == YAML_SCALAR_NODE &&
           memchr(node->data.scalar.value, '\0', node->data.scalar.length);
}

enum status yaml_expect(const struct yaml_file *file, const yaml_node_t *node,
                        yaml_node_type_t kind, struct err *err)
{
    char where[YAML_SHOWN_MAX];
    if (node->type == kind && !has_nul(node))
        return ST_OK;
    if (node->type == kind)
        return yaml_error(file, node, err, "%s contains a NUL byte", yaml_place(file, where));
    if (node->type == YAML_SCALAR_NODE && node->data.scalar.length == 0)
        return yaml_error(file, node, err, "%s must be %s, but nothing follows",
                          yaml_place(file, where), kind_words(kind));
    return yaml_error(file, node, err, "%s must be %s, not %s", yaml_place(file, where),
                      kind_words(kind), kind_words(node->type));
}

static enum status unknown_key(const struct yaml_file *file, const yaml_node_t *key,
                               const struct yaml_field *fields, struct err *err)
{
    const char *names[YAML_FIELDS_MAX];
    char shown[YAML_SHOWN_MAX], known[ERR_HINT_MAX / 2] = "";
    size_t count = 0, used = 0;
    for (; fields[count].name; count++) {
        names[count] = fields[count].name;
        int more =
            snprintf(known + used, sizeof(known) - used, "%s%s", count ? ", " : "", names[count]);
        used += (size_t)more < sizeof(known) - used ? (size_t)more : 0;
    }
    const char *closest = yaml_closest(yaml_show(key, shown), names, count);
    enum status status =
        closest
            ? yaml_error(file, key, err, "unknown key '%s' (did you mean '%s'?)", shown, closest)
            : yaml_error(file, key, err, "unknown key '%s'", shown);
    err_hint(err, "the keys here are: %s", known);
    return status;
}

static bool is_text(const yaml_node_t *node, const char *text)
{
    return node->type == YAML_SCALAR_NODE && node->data.scalar.length == strlen(text) &&
           memcmp(node->data.scalar.value, text, strlen(text)) == 0;
}

/* Read one key with its value; 'lines' remembers where each field was seen, 0 if not yet. */
static enum status read_pair(struct yaml_file *file, const yaml_node_pair_t *pair,
                             const struct yaml_field *fields, int lines[static YAML_FIELDS_MAX],
                             void *target, struct err *err)
{
    yaml_node_t *key = yaml_document_get_node(&file->document, pair->key);
    yaml_node_t *value = yaml_document_get_node(&file->document, pair->value);
    size_t i = 0;
    if (key->type != YAML_SCALAR_NODE)
        return yaml_error(file, key, err, "a key must be a single word");
    while (fields[i].name && !is_text(key, fields[i].name))
        i++;
    if (!fields[i].name)
        return unknown_key(file, key, fields, err);
    if (lines[i])
        return yaml_error(file, key, err, "duplicate key '%s' (first in line %d)", fields[i].name,
                          lines[i]);
    lines[i] = yaml_line(key);
    file->key = fields[i].name;
    file->in_list = false;
    return fields[i].read(file, value, (char *)target + fields[i].offset, err);
}

static enum status check_required(const struct yaml_file *file, const yaml_node_t *node,
                                  const struct yaml_field *fields,
                                  const int lines[static YAML_FIELDS_MAX], struct err *err)
{
    char where[YAML_SHOWN_MAX];
    for (size_t i = 0; fields[i].name; i++)
        if (fields[i].required && !lines[i])
            return yaml_error(file, node, err, "%s lacks the key '%s'", yaml_place(file, where),
                              fields[i].name);
    return ST_OK;
}

enum status yaml_read_fields(struct yaml_file *file, yaml_node_t *node,
                             const struct yaml_field *fields, void *target, struct err *err)
{
    enum status status = yaml_expect(file, node, YAML_MAPPING_NODE, err);
    if (status)
        return status;
    int lines[YAML_FIELDS_MAX] = {0};
    const char *key = file->key;
    bool in_list = file->in_list;
    const yaml_node_pair_t *pair = node->data.mapping.pairs.start;
    for (; !status && pair < node->data.mapping.pairs.top; pair++)
        status = read_pair(file, pair, fields, lines, target, err);
    file->key = key;
    file->in_list = in_list;
    return status ? status : check_required(file, node, fields, lines, err);
}

enum status yaml_read_items(struct yaml_file *file, yaml_node_t *node, yaml_read_fn *read,
                            void *target, struct err *err)
{
    enum status status = yaml_expect(file, node, YAML_SEQUENCE_NODE, err);
    if (status)
        return status;
    const yaml_node_item_t *item = node->data.sequence.items.start;
    if (item == node->data.sequence.items.top)
        return yaml_error(file, node, err, "'%s' must not be empty", file->key);
    for (; !status && item < node->data.sequence.items.top; item++) {
        file->in_list = true;
        status = read(file, yaml_document_get_node(&file->document, *item), target, err);
    }
    file->in_list = false;
    return status;
}

yaml_node_t *yaml_find(struct yaml_file *file, yaml_node_t *node, const char *name)
{
    if (node->type != YAML_MAPPING_NODE)
        return NULL;
    const yaml_node_pair_t *pair = node->data.mapping.pairs.start;
    for (; pair < node->data.mapping.pairs.top; pair++)
        if (is_text(yaml_document_get_node(&file->document, pair->key), name))
            return yaml_document_get_node(&file->document, pair->value);
    return NULL;
}
