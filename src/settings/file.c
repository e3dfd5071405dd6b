/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The YAML file, read event by event: groups of settings and plain values, lists and maps where a setting is one. Anchors,
 * aliases, tags and second documents are mistakes. A mistake is noted with its place and reading goes on behind it, so that one look shows all; broken YAML ends it. Bounds: the size of the file, its depth (which bounds the recursion here and the time
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

/* Why a node is none of those that a configuration is made of; NULL when it is fine. list: one may be here. */
static const char *node_fault(const yaml_event_t *e, bool list)
{
    const yaml_char_t *anchor = NULL, *tag = NULL;
    switch (e->type) {
    case YAML_ALIAS_EVENT: return "aliases are not allowed here";
    case YAML_SEQUENCE_START_EVENT:
        if (!list) return "a list is not wanted here";
        anchor = e->data.sequence_start.anchor;
        tag = e->data.sequence_start.tag;
        break;
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

/* ---- lists of texts ---- */

/* The items of a list whose start is there. */
static void read_texts(reader *r, size_t index)
{
    const hg_setting *row = &hg_setting_rows[index];
    yaml_mark_t mark = r->event.start_mark;
    size_t len = 0, cap = 0, mistakes = r->problems->len;
    char **texts = NULL;
    hangar_err why = {0};
    bool grown = hg_grow((void **)&texts, &cap, 1, sizeof *texts);
    if (grown) texts[0] = NULL;
    while (grown && next_event(r) && r->event.type != YAML_SEQUENCE_END_EVENT) {
        const char *fault = node_fault(&r->event, false);
        const char *text = (const char *)r->event.data.scalar.value;
        if (!fault && (r->event.type != YAML_SCALAR_EVENT || is_null(&r->event)))
            fault = "a text is wanted here";
        else if (!fault && memchr(text, '\0', r->event.data.scalar.length)) fault = "the text has a NUL";
        if (fault) {
            add_problem(r, r->event.start_mark, row->key, fault);
            skip_value(r);
            continue;
        }
        grown = hg_grow((void **)&texts, &cap, len + 2, sizeof *texts) && (texts[len] = hg_strdup(text));
        if (grown) texts[++len] = NULL;
    }
    if (!grown) {
        r->code = hg_fail_memory(r->err);
        r->stop = true;
    }
    if (!grown || r->stop || r->problems->len != mistakes) hg_setting_free_texts(texts);
    else if (hg_setting_set_texts(&r->l->s, row, texts, &why) == HANGAR_OK)
        r->l->source[index] = HG_SOURCE_FILE;
    else add_problem(r, mark, row->key, why.msg);
}

/* ---- maps and lists of anything ---- */

/* One that is being read. */
typedef struct doc {
    reader *r;
    const char *key; /* the setting's */
    bool texts;      /* every value is a text */
    hg_jw *w;
    hg_buf path; /* of where we are, as in hg_line_of */
} doc;

/* Notes where the member stands that the path names. */
static void note_line(doc *d, yaml_mark_t mark)
{
    reader *r = d->r;
    hg_loaded *l = r->l;
    char *path = d->path.state == HANGAR_OK ? hg_strdup(hg_buf_text(&d->path)) : NULL;
    if (l->lines_len == HG_CONFIG_MEMBERS) {
        char message[64];
        snprintf(message, sizeof message, "more than %d keys and items", HG_CONFIG_MEMBERS);
        add_problem(r, mark, d->key, message);
        r->stop = true;
    } else if (!path || !hg_grow((void **)&l->lines, &l->lines_cap, l->lines_len + 1, sizeof *l->lines)) {
        r->code = hg_fail_memory(r->err);
        r->stop = true;
    } else {
        l->lines[l->lines_len++] = (hg_line_of){path, mark.line + 1, mark.column + 1};
        path = NULL;
    }
    free(path);
}

/* A plain number or truth is one, "~" is null, all else is text, as what is in quotes. */
static void doc_scalar(doc *d, const char *key)
{
    const yaml_event_t *e = &d->r->event;
    hg_str text = {(const char *)e->data.scalar.value, e->data.scalar.length};
    HG_AUTO(hg_json_auto_free) hg_json *number = NULL;
    if (is_null(e)) {
        hg_jw_null(d->w, key);
        return;
    }
    if (!d->texts && e->data.scalar.style == YAML_PLAIN_SCALAR_STYLE) {
        if (hg_streq(text.ptr, "true") || hg_streq(text.ptr, "false")) {
            hg_jw_bool(d->w, key, *text.ptr == 't');
            return;
        }
        if (strchr("-0123456789", *text.ptr)) hg_json_parse(text, NULL, &number, NULL);
    }
    if (number) hg_jw_val(d->w, key, hg_json_root(number));
    else hg_jw_str(d->w, key, text);
}

static void read_doc_value(doc *d, const char *key);

/* One member of a map, whose key is the present event. */
static void read_doc_member(doc *d)
{
    reader *r = d->r;
    yaml_mark_t mark = r->event.start_mark;
    const char *fault = node_fault(&r->event, false), *key = "";
    if (!fault && r->event.type == YAML_SCALAR_EVENT) {
        key = (const char *)r->event.data.scalar.value;
        for (size_t i = 0; i < r->event.data.scalar.length; i++)
            if ((unsigned char)key[i] < ' ') fault = "a key must be a plain word";
        if (!*key || r->event.data.scalar.length > HG_CONFIG_KEY) fault = "a key has 1 to 128 bytes";
    } else if (!fault) {
        fault = "a key must be a plain word";
    }
    if (fault) {
        add_problem(r, mark, d->key, fault);
        skip_value(r);
        if (next_event(r)) skip_value(r);
        return;
    }
    size_t before = d->path.len;
    hg_buf_printf(&d->path, "\n%s", key);
    note_line(d, mark);
    if (next_event(r)) read_doc_value(d, hg_buf_text(&d->path) + before + 1);
    d->path.len = before;
    if (d->path.data) d->path.data[before] = '\0';
}

/* The value whose first event is there. key is the last one of the path, NULL in a list. Bounded by HG_CONFIG_DEPTH. */
static void read_doc_value(doc *d, const char *key)
{
    reader *r = d->r;
    const char *fault = node_fault(&r->event, true);
    if (fault) {
        add_problem(r, r->event.start_mark, d->key, fault);
        skip_value(r);
    } else if (r->event.type == YAML_SCALAR_EVENT) {
        doc_scalar(d, key);
    } else if (r->event.type == YAML_MAPPING_START_EVENT) {
        hg_jw_obj(d->w, key);
        while (next_event(r) && r->event.type != YAML_MAPPING_END_EVENT) read_doc_member(d);
        hg_jw_end(d->w);
    } else {
        hg_jw_arr(d->w, key);
        for (size_t i = 0; next_event(r) && r->event.type != YAML_SEQUENCE_END_EVENT; i++) {
            size_t before = d->path.len;
            hg_buf_printf(&d->path, "\n%zu", i);
            note_line(d, r->event.start_mark);
            read_doc_value(d, NULL);
            d->path.len = before;
            if (d->path.data) d->path.data[before] = '\0';
        }
        hg_jw_end(d->w);
    }
}

/* A whole MAP or LIST from the event that is there. */
static void read_doc(reader *r, size_t index)
{
    const hg_setting *row = &hg_setting_rows[index];
    bool list = row->type == HG_SETTING_LIST;
    if (is_null(&r->event)) return;
    if (r->event.type != (list ? YAML_SEQUENCE_START_EVENT : YAML_MAPPING_START_EVENT)) {
        add_problem(r, r->event.start_mark, row->key,
                    list ? "a list is wanted here" : "a map is wanted here");
        skip_value(r);
        return;
    }
    HG_AUTO(hg_jw_auto_free) hg_jw *w = hg_jw_new();
    HG_AUTO(hg_auto_free) char *text = NULL;
    doc d = {.r = r, .key = row->key, .texts = list, .w = w};
    size_t mistakes = r->problems->len;
    hg_buf_init(&d.path, (size_t)HG_CONFIG_DEPTH * (HG_CONFIG_KEY + 24));
    hg_buf_puts(&d.path, row->key);
    read_doc_value(&d, NULL);
    hg_buf_deinit(&d.path);
    if (r->stop || r->problems->len != mistakes) return;
    r->code = hg_jw_finish(w, false, &text, r->err);
    if (r->code == HANGAR_OK)
        r->code = hg_json_parse(hg_str_of(text), NULL, (hg_json **)((char *)&r->l->s + row->at), r->err);
    r->stop = r->code != HANGAR_OK;
    if (!r->stop) r->l->source[index] = HG_SOURCE_FILE;
}

static int by_path(const void *a, const void *b)
{
    const hg_line_of *x = a, *y = b;
    int order = strcmp(x->path, y->path);
    if (order) return order;
    return x->line != y->line ? (x->line < y->line ? -1 : 1)
                              : (x->column > y->column) - (x->column < y->column);
}

/* Sorts the lines, and finds the keys that are there twice. */
static void sort_lines(reader *r)
{
    hg_loaded *l = r->l;
    if (l->lines_len) qsort(l->lines, l->lines_len, sizeof *l->lines, by_path);
    for (size_t i = 1; i < l->lines_len && !r->stop; i++) {
        const hg_line_of *first = &l->lines[i - 1], *second = &l->lines[i];
        if (!hg_streq(first->path, second->path)) continue;
        char message[80], key[128];
        snprintf(message, sizeof message, "is there twice, first in line %lu", first->line);
        snprintf(key, sizeof key, "%s", second->path);
        for (char *c = key; *c; c++)
            if (*c == '\n') *c = '.';
        add_problem(r, (yaml_mark_t){.line = second->line - 1, .column = second->column - 1}, key, message);
    }
}

/* ---- groups ---- */

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
    hg_setting_type type = group || index == HG_SETTING_COUNT ? HG_SETTING_TEXT : hg_setting_rows[index].type;
    bool tree = type == HG_SETTING_MAP || type == HG_SETTING_LIST;
    const char *fault = node_fault(&r->event, tree || type == HG_SETTING_TEXTS);
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
    } else if (r->event.type == YAML_MAPPING_START_EVENT && !tree) {
        add_problem(r, r->event.start_mark, key, "a value is wanted here");
        skip_value(r);
    } else if (r->line[index]) {
        char message[80];
        snprintf(message, sizeof message, "is there twice, first in line %lu", r->line[index]);
        add_problem(r, mark, key, message);
        skip_value(r);
    } else {
        r->line[index] = mark.line + 1;
        if (tree) read_doc(r, index);
        else if (r->event.type == YAML_SEQUENCE_START_EVENT) read_texts(r, index);
        else read_value(r, index);
    }
}

/* The members of a mapping whose start is there, up to its end. */
static void read_group(reader *r, const char *prefix)
{
    while (next_event(r) && r->event.type != YAML_MAPPING_END_EVENT) {
        yaml_mark_t mark = r->event.start_mark;
        const char *fault = node_fault(&r->event, false);
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
        } else if (r->event.type == YAML_MAPPING_START_EVENT && !node_fault(&r->event, false)) {
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
    sort_lines(&r);
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
