/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The YAML file, read event by event: groups of settings and plain values, nothing else. Anchors, aliases, tags, lists
 * and second documents are mistakes. A mistake is noted with its place and reading goes on behind it, so that one look
 * shows all; broken YAML ends it. Bounds: the size of the file, its depth (which bounds the recursion here and the time
 * that the library takes, which grows with the square of the depth), the number of mistakes.
 */
#include "settings/inner.h"

#include "base/buf.h"
#include "base/fsx.h"
#include "base/table.h"

#include <stdio.h>
#include <yaml.h>

typedef struct reader {
    yaml_parser_t parser;
    yaml_event_t event; /* the one that was read last */
    hg_loaded *l;
    const char *dir;
    hg_problems *problems;
    unsigned depth;                       /* of lists and groups that are open */
    bool stop;                            /* broken YAML, or enough mistakes */
    hangar_code code;                     /* want of memory */
    unsigned long line[HG_SETTING_COUNT]; /* where each was set, 0 = not yet */
    hangar_err *err;
} reader;

static void add_problem(reader *r, yaml_mark_t mark, const char *key, const char *message)
{
    hg_problems *p = r->problems;
    if (r->stop) return;
    if (!hg_grow((void **)&p->items, &p->cap, p->len + 1, sizeof *p->items)) {
        r->code = hg_fail_memory(r->err);
        r->stop = true;
        return;
    }
    hg_problem *item = &p->items[p->len++];
    *item = (hg_problem){.line = mark.line + 1, .column = mark.column + 1};
    hg_escape(hg_str_of(key), item->key, sizeof item->key);
    hg_escape(hg_str_of(message), item->message, sizeof item->message);
    r->stop = p->len == HG_CONFIG_PROBLEMS;
}

static bool opens(yaml_event_type_t type)
{
    return type == YAML_MAPPING_START_EVENT || type == YAML_SEQUENCE_START_EVENT;
}

static bool closes(yaml_event_type_t type)
{
    return type == YAML_MAPPING_END_EVENT || type == YAML_SEQUENCE_END_EVENT;
}

/* Keeps count of the depth; false when it is too much. */
static bool depth_fits(reader *r)
{
    if (opens(r->event.type)) r->depth++;
    if (closes(r->event.type)) r->depth--;
    if (r->depth <= HG_CONFIG_DEPTH) return true;
    char message[64];
    snprintf(message, sizeof message, "nested deeper than %d levels", HG_CONFIG_DEPTH);
    add_problem(r, r->event.start_mark, "", message);
    r->stop = true;
    return false;
}

/* Reads the next event over the last one; false at an error, which is noted. */
static bool next_event(reader *r)
{
    if (r->stop) return false;
    yaml_event_delete(&r->event);
    if (yaml_parser_parse(&r->parser, &r->event)) return depth_fits(r);
    if (r->parser.error == YAML_MEMORY_ERROR) {
        r->code = hg_fail_memory(r->err);
    } else {
        yaml_mark_t mark = r->parser.problem_mark;
        const char *what = r->parser.problem ? r->parser.problem : "malformed";
        char text[200];
        if (r->parser.error == YAML_READER_ERROR) {
            /* The reader knows bytes only: it tells of characters that YAML does not allow, or that are not UTF-8. */
            mark = r->parser.mark;
            snprintf(text, sizeof text, "not YAML: %s (byte %zu)", what, r->parser.problem_offset);
        } else {
            snprintf(text, sizeof text, "not YAML: %s", what);
        }
        add_problem(r, mark, "", text);
    }
    r->stop = true;
    return false;
}

/* Passes over the rest of the value whose first event is there. */
static void skip_value(reader *r)
{
    size_t depth = opens(r->event.type) ? 1 : 0;
    while (depth && next_event(r)) {
        if (opens(r->event.type)) depth++;
        if (closes(r->event.type)) depth--;
    }
}

/* Why a node is none of those that a configuration is made of; NULL when it is fine. */
static const char *node_fault(const yaml_event_t *e)
{
    const yaml_char_t *anchor = NULL, *tag = NULL;
    switch (e->type) {
    case YAML_ALIAS_EVENT: return "aliases are not allowed here";
    case YAML_SEQUENCE_START_EVENT: return "a list is not wanted here";
    case YAML_SCALAR_EVENT:
        anchor = e->data.scalar.anchor;
        tag = e->data.scalar.tag;
        break;
    case YAML_MAPPING_START_EVENT:
        anchor = e->data.mapping_start.anchor;
        tag = e->data.mapping_start.tag;
        break;
    default: break;
    }
    if (anchor) return "anchors are not allowed here";
    return tag ? "tags are not allowed here" : NULL;
}

/* Nothing written, "~" or "null". */
static bool is_null(const yaml_event_t *e)
{
    if (e->type != YAML_SCALAR_EVENT || e->data.scalar.style != YAML_PLAIN_SCALAR_STYLE) return false;
    const char *text = (const char *)e->data.scalar.value;
    return e->data.scalar.length == 0 || hg_streq(text, "~") || hg_streq(text, "null");
}

/* The value of a setting, from the event that is there. */
static void read_value(reader *r, size_t index)
{
    const hg_setting *row = &hg_setting_rows[index];
    hg_str text = {(const char *)r->event.data.scalar.value, r->event.data.scalar.length};
    hangar_err why = {0};
    hangar_code code = HANGAR_OK;
    if (row->type == HG_SETTING_SECRET) {
        add_problem(r, r->event.start_mark, row->key,
                    "a secret does not belong here: use HF_TOKEN or the token file");
        return;
    }
    if (is_null(&r->event)) return; /* the default stays */
    if (row->type == HG_SETTING_PATH && text.len && !memchr(text.ptr, '\0', text.len)) {
        HG_AUTO(hg_auto_free) char *plain = NULL;
        HG_AUTO(hg_auto_free) char *absolute = NULL;
        code = hg_place_expand(text, &plain, &why);
        if (code == HANGAR_OK) code = hg_place_absolute(plain, r->dir, &absolute, &why);
        if (code == HANGAR_OK) code = hg_setting_set(&r->l->s, row, hg_str_of(absolute), &why);
    } else {
        code = hg_setting_set(&r->l->s, row, text, &why);
    }
    if (code == HANGAR_OK) r->l->source[index] = HG_SOURCE_FILE;
    else add_problem(r, r->event.start_mark, row->key, why.msg);
}

/* "unknown key", and the one that was probably meant: a neighbour with a like name, or the same name elsewhere. */
static void unknown_key(reader *r, yaml_mark_t mark, const char *key, size_t group_len)
{
    const char *names[HG_SETTING_COUNT + 1];
    char parts[HG_SETTING_COUNT][64];
    const char *leaf = group_len ? key + group_len + 1 : key;
    size_t n = 0;
    char message[HANGAR_ERR_MAX];
    for (size_t i = 0; i < HG_SETTING_COUNT; i++) {
        const char *other = hg_setting_rows[i].key;
        if (strncmp(other, key, group_len) != 0 || (group_len && other[group_len] != '.')) continue;
        const char *part = group_len ? other + group_len + 1 : other;
        snprintf(parts[n], sizeof parts[n], "%.*s", (int)strcspn(part, "."), part);
        names[n] = parts[n];
        n++;
    }
    names[n] = NULL;
    const char *near = hg_nearest(leaf, names);
    for (size_t i = 0; !near && i < HG_SETTING_COUNT; i++) {
        const char *dot = strrchr(hg_setting_rows[i].key, '.');
        if (hg_streq(dot ? dot + 1 : hg_setting_rows[i].key, leaf)) near = hg_setting_rows[i].key;
    }
    if (near) snprintf(message, sizeof message, "unknown key; did you mean '%s'?", near);
    else snprintf(message, sizeof message, "unknown key");
    add_problem(r, mark, key, message);
}

static void read_group(reader *r, const char *prefix);

/* The value behind a key: a setting, a group, or something unknown. The key's mark is where it stands. */
static void read_member(reader *r, const char *key, size_t group_len, yaml_mark_t mark)
{
    size_t index = 0;
    while (index < HG_SETTING_COUNT && !hg_streq(hg_setting_rows[index].key, key)) index++;
    bool group = index == HG_SETTING_COUNT && hg_setting_group(key, strlen(key));
    if (!next_event(r)) return;
    const char *fault = node_fault(&r->event);
    if (!group && index == HG_SETTING_COUNT) {
        unknown_key(r, mark, key, group_len);
        skip_value(r);
    } else if (fault) {
        add_problem(r, r->event.start_mark, key, fault);
        skip_value(r);
    } else if (group) {
        if (r->event.type == YAML_MAPPING_START_EVENT) read_group(r, key);
        else if (!is_null(&r->event))
            add_problem(r, r->event.start_mark, key, "settings are wanted here, not a value");
    } else if (r->event.type != YAML_SCALAR_EVENT) {
        add_problem(r, r->event.start_mark, key, "a value is wanted here");
        skip_value(r);
    } else if (r->line[index]) {
        char message[80];
        snprintf(message, sizeof message, "is there twice, first in line %lu", r->line[index]);
        add_problem(r, mark, key, message);
    } else {
        r->line[index] = mark.line + 1;
        read_value(r, index);
    }
}

/* The members of a mapping whose start is there, up to its end. */
static void read_group(reader *r, const char *prefix)
{
    while (next_event(r) && r->event.type != YAML_MAPPING_END_EVENT) {
        yaml_mark_t mark = r->event.start_mark;
        const char *fault = node_fault(&r->event);
        if (fault || r->event.type != YAML_SCALAR_EVENT) {
            add_problem(r, mark, prefix, fault ? fault : "a key must be a plain word");
            skip_value(r);
            if (next_event(r)) skip_value(r);
            continue;
        }
        char name[64], key[128];
        hg_escape((hg_str){(const char *)r->event.data.scalar.value, r->event.data.scalar.length}, name,
                  sizeof name);
        snprintf(key, sizeof key, "%s%s%s", prefix, *prefix ? "." : "", name);
        read_member(r, key, strlen(prefix), mark);
    }
}

/* The one document of the file. */
static void read_stream(reader *r)
{
    bool any = false;
    while (next_event(r) && r->event.type != YAML_STREAM_END_EVENT) {
        if (r->event.type == YAML_DOCUMENT_START_EVENT && any) {
            add_problem(r, r->event.start_mark, "", "more than one document");
            r->stop = true;
        } else if (r->event.type == YAML_MAPPING_START_EVENT && !node_fault(&r->event)) {
            any = true;
            read_group(r, "");
        } else if (is_null(&r->event)) {
            any = true;
        } else if (r->event.type == YAML_SCALAR_EVENT || r->event.type == YAML_ALIAS_EVENT ||
                   opens(r->event.type)) {
            any = true;
            add_problem(r, r->event.start_mark, "", "settings are wanted here, each with a key");
            skip_value(r);
        }
    }
}

hangar_code hg_config_read(hg_str text, const char *dir, hg_loaded *l, hg_problems *problems, hangar_err *err)
{
    reader r = {.l = l, .dir = dir, .problems = problems, .err = err};
    if (!yaml_parser_initialize(&r.parser)) return hg_fail_memory(err);
    yaml_parser_set_input_string(&r.parser, (const unsigned char *)(text.len ? text.ptr : ""), text.len);
    yaml_parser_set_encoding(&r.parser, YAML_UTF8_ENCODING);
    read_stream(&r);
    yaml_event_delete(&r.event);
    yaml_parser_delete(&r.parser);
    return r.code;
}

hangar_code hg_config_read_file(const char *file, bool named, hg_loaded *l, bool *found,
                                hg_problems *problems, hangar_err *err)
{
    hg_buf text;
    hg_buf_init(&text, HG_CONFIG_BYTES);
    hangar_code code = hg_read_file(file, &text, err);
    *found = code == HANGAR_OK;
    if (code == HANGAR_E_NOT_FOUND && !named) code = HANGAR_OK;
    HG_AUTO(hg_auto_free) char *dir = hg_path_dir(file);
    if (!dir) code = hg_fail_memory(err);
    if (code == HANGAR_OK && *found) code = hg_config_read(hg_buf_view(&text), dir, l, problems, err);
    hg_buf_deinit(&text);
    return hg_wrap(err, code, "the configuration");
}
