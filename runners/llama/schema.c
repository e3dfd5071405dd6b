/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A JSON Schema as a GBNF grammar that the engine holds to token by token.
 *
 * The grammar is as strict as the schema or stricter, never looser: properties come in the order of the
 * schema, none that it does not name; a keyword that a grammar cannot express (pattern, minimum, oneOf, ...)
 * is refused by name. Annotations (title, description, ...) are passed over. References within the document
 * ("#/$defs/x") become rules, so schemas may be recursive. Vocabulary: JSON Schema 2020-12,
 * json-schema.org/draft/2020-12; grammar: GBNF as llama.cpp reads it.
 */
#include "runner.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

#define DEPTH_MAX   32     /* nesting of schemas         */
#define RULES_MAX   4096   /* rules of one grammar       */
#define REPEAT_MAX  2000   /* minItems, maxLength, ...: as the engine has it */
#define GROUPS_MAX  64     /* groups inside one another, of a caller's grammar */
#define LINES_MAX   16384  /* rules of a grammar as text */
#define REPEATS_MAX 100000 /* of all its repetitions together: the engine makes a rule for each */

/* A grammar in the making. */
typedef struct maker {
    const hg_jval *root;
    hg_buf *out;          /* finished rules                     */
    const hg_jval **refs; /* targets of $ref; rule "r<index>"   */
    size_t refs_len, refs_cap;
    size_t rules; /* numbers given to "o" and "e" rules */
    unsigned depth;
    bool lenient; /* keywords of `loose` are passed over */
    hangar_err *err;
} maker;

static hangar_code write_schema(maker *m, const hg_jval *schema, hg_buf *expr);

/* What JSON looks like; always part of the grammar. */
static const char common[] =
    "ws ::= ( \"\\n\" [ ]{0,16} | \" \" )?\n"
    "char ::= [^\"\\\\\\x00-\\x1F\\x7F] | \"\\\\\" ( [\"\\\\/bfnrt] | \"u\" [0-9a-fA-F]{4} )\n"
    "string ::= \"\\\"\" char* \"\\\"\"\n"
    "integer ::= \"-\"? ( \"0\" | [1-9] [0-9]{0,17} )\n"
    "number ::= integer ( \".\" [0-9]{1,17} )? ( [eE] [-+]? [0-9]{1,3} )?\n"
    "boolean ::= \"true\" | \"false\"\n"
    "null ::= \"null\"\n"
    "object ::= \"{\" ws ( string \":\" ws value ( \",\" ws string \":\" ws value )* )? ws \"}\"\n"
    "array ::= \"[\" ws ( value ( \",\" ws value )* )? ws \"]\"\n"
    "value ::= object | array | string | number | boolean | null\n";

/* Keywords that say nothing of what may be generated, or are read where they belong. */
static const char *const known[] = {
    "$schema",     "$id",        "$comment",    "$defs",
    "definitions", "title",      "description", "default",
    "examples",    "deprecated", "readOnly",    "writeOnly",
    "type",        "properties", "required",    "additionalProperties",
    "items",       "minItems",   "maxItems",    "minLength",
    "maxLength",   "enum",       "const",       "anyOf",
    "$ref",
};

/* What narrows single values in a way that no grammar can say; and oneOf, which is anyOf but for values that fit two. */
static const char *const loose[] = {
    "pattern",          "format",           "minimum",         "maximum",
    "exclusiveMinimum", "exclusiveMaximum", "multipleOf",      "uniqueItems",
    "minProperties",    "maxProperties",    "propertyNames",   "oneOf",
    "strict",           "nullable",         "contentEncoding", "contentMediaType",
};

/* Refuses a keyword that is not in `known`. */
static hangar_code check_keywords(const maker *m, const hg_jval *schema)
{
    for (hg_json_iter it = hg_json_iter_of(schema); hg_json_next(&it);) {
        bool found = false;
        for (size_t i = 0; i < HG_LEN(known) && !found; i++) found = hg_str_eq(it.key, hg_str_of(known[i]));
        for (size_t i = 0; i < HG_LEN(loose) && !found && m->lenient; i++)
            found = hg_str_eq(it.key, hg_str_of(loose[i]));
        if (!found)
            return hg_fail(m->err, HANGAR_E_UNSUPPORTED,
                           "JSON schema: the keyword \"%.*s\" cannot be held to", HG_STR_ARG(it.key));
    }
    return HANGAR_OK;
}

/* A text as a GBNF literal. */
static void literal(hg_buf *expr, hg_str text)
{
    hg_buf_putc(expr, '"');
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        if (c == '"' || c == '\\') hg_buf_printf(expr, "\\%c", c);
        else if (c < 0x20 || c == 0x7f) hg_buf_printf(expr, "\\x%02X", c);
        else hg_buf_putc(expr, (char)c);
    }
    hg_buf_putc(expr, '"');
}

/* A JSON value as a literal of its compact text. */
static hangar_code literal_value(const maker *m, const hg_jval *v, hg_buf *expr)
{
    char *text = hg_json_print(v, false);
    if (!text) return hg_fail_memory(m->err);
    literal(expr, hg_str_of(text));
    free(text);
    return HANGAR_OK;
}

/* A count such as minItems; `def` when it is not there. */
static hangar_code count_of(const maker *m, const hg_jval *schema, const char *key, int64_t def, int64_t *out)
{
    const hg_jval *v = hg_json_get(schema, key);
    *out = def;
    /* More than the engine counts to is as good as any number where values are not held to the letter. */
    if (m->lenient && def < 0 && hg_json_i64_or(v, 0) > REPEAT_MAX) return HANGAR_OK;
    if (v && (!hg_json_i64(v, out) || *out < 0 || *out > REPEAT_MAX))
        return hg_fail(m->err, HANGAR_E_LIMIT, "JSON schema: %s must be a whole number from 0 to %d", key,
                       REPEAT_MAX);
    return HANGAR_OK;
}

/* "x{min,max}" behind an expression; max negative = open. */
static void repeat(hg_buf *expr, int64_t min, int64_t max)
{
    if (max < 0) hg_buf_printf(expr, "{%lld,}", (long long)min);
    else hg_buf_printf(expr, "{%lld,%lld}", (long long)min, (long long)max);
}

/* A new number for a rule. */
static hangar_code next_rule(maker *m, size_t *out)
{
    if (m->rules >= RULES_MAX)
        return hg_fail(m->err, HANGAR_E_LIMIT, "JSON schema: over the limit of %d rules", RULES_MAX);
    *out = m->rules++;
    return HANGAR_OK;
}

/* $ref and anyOf stand alone here: a neighbour that narrows them further would be lost. */
static hangar_code check_alone(const maker *m, const hg_jval *schema, const char *keyword)
{
    static const char *const narrowing[] = {"properties", "required", "items",    "enum",
                                            "const",      "minItems", "maxItems", "minLength",
                                            "maxLength",  "anyOf",    "$ref"};
    for (size_t i = 0; i < HG_LEN(narrowing); i++)
        if (!hg_streq(narrowing[i], keyword) && hg_json_get(schema, narrowing[i]))
            return hg_fail(m->err, HANGAR_E_UNSUPPORTED, "JSON schema: %s beside %s cannot be held to",
                           narrowing[i], keyword);
    return HANGAR_OK;
}

/* Is that name in the schema's `required`? */
static bool is_required(const hg_jval *schema, hg_str name)
{
    hg_str s;
    for (hg_json_iter it = hg_json_iter_of(hg_json_get(schema, "required")); hg_json_next(&it);)
        if (hg_json_str(it.val, &s) && hg_str_eq(s, name)) return true;
    return false;
}

/* Each required name must be one that the schema describes, or the grammar could not hold to it. */
static hangar_code check_required(const maker *m, const hg_jval *schema, const hg_jval *properties)
{
    for (hg_json_iter it = hg_json_iter_of(hg_json_get(schema, "required")); hg_json_next(&it);) {
        const char *name = hg_json_text(it.val);
        if (!name || !hg_json_get(properties, name))
            return hg_fail(m->err, HANGAR_E_UNSUPPORTED,
                           "JSON schema: required names \"%s\", which has no schema", name ? name : "?");
    }
    return HANGAR_OK;
}

/*
 * An object with named properties. Rule o<n>-<i>-<some> is "the properties from the i-th on, <some> = one
 * stands before": an optional one is either there or left out, and only one that follows another begins with
 * a comma.
 */
static hangar_code write_object(maker *m, const hg_jval *schema, hg_buf *expr)
{
    const hg_jval *properties = hg_json_get(schema, "properties");
    hangar_code code = check_required(m, schema, properties);
    size_t id = 0, n = hg_json_len(properties);
    if (code == HANGAR_OK && n == 0) {
        bool more = hg_json_bool_or(hg_json_get(schema, "additionalProperties"), true);
        hg_buf_puts(expr, more ? "object" : "\"{\" ws \"}\"");
        if (hg_json_is_object(hg_json_get(schema, "additionalProperties")))
            code = hg_fail(m->err, HANGAR_E_UNSUPPORTED,
                           "JSON schema: additionalProperties with a schema cannot be held to");
        return code;
    }
    if (code == HANGAR_OK) code = next_rule(m, &id);
    for (hg_json_iter it = hg_json_iter_of(properties); code == HANGAR_OK && hg_json_next(&it);) {
        hg_buf pair;
        hg_buf_init(&pair, m->out->max);
        hg_jw *w = hg_jw_new();
        char *key = NULL;
        hg_jw_str(w, NULL, it.key);
        code = hg_jw_finish(w, false, &key, m->err);
        hg_jw_free(w);
        if (code == HANGAR_OK) {
            literal(&pair, hg_str_of(key));
            hg_buf_puts(&pair, " \":\" ws ");
            code = write_schema(m, it.val, &pair);
        }
        free(key);
        bool must = is_required(schema, it.key);
        for (int some = 0; some < 2; some++) {
            const char *comma = some ? "\",\" ws " : "";
            hg_buf_printf(m->out, "o%zu-%zu-%d ::= %s%s o%zu-%zu-1", id, it.index, some, comma,
                          hg_buf_text(&pair), id, it.index + 1);
            if (!must) hg_buf_printf(m->out, " | o%zu-%zu-%d", id, it.index + 1, some);
            hg_buf_putc(m->out, '\n');
        }
        hg_buf_deinit(&pair);
    }
    hg_buf_printf(m->out, "o%zu-%zu-0 ::= \"\"\no%zu-%zu-1 ::= \"\"\n", id, n, id, n);
    hg_buf_printf(expr, "\"{\" ws o%zu-0-0 ws \"}\"", id);
    return code;
}

/* An array of items that all have one schema. */
static hangar_code write_array(maker *m, const hg_jval *schema, hg_buf *expr)
{
    int64_t min = 0, max = -1;
    size_t id = 0;
    hangar_code code = count_of(m, schema, "minItems", 0, &min);
    if (code == HANGAR_OK) code = count_of(m, schema, "maxItems", -1, &max);
    if (code == HANGAR_OK && max >= 0 && max < min)
        code = hg_fail(m->err, HANGAR_E_USAGE, "JSON schema: maxItems is smaller than minItems");
    if (code == HANGAR_OK) code = next_rule(m, &id);
    hg_buf item;
    hg_buf_init(&item, m->out->max);
    const hg_jval *items = hg_json_get(schema, "items");
    if (code == HANGAR_OK && items) code = write_schema(m, items, &item);
    else hg_buf_puts(&item, "value");
    hg_buf_printf(m->out, "e%zu ::= %s\n", id, hg_buf_text(&item));
    hg_buf_deinit(&item);
    if (max == 0) {
        hg_buf_puts(expr, "\"[\" ws \"]\"");
        return code;
    }
    hg_buf_printf(expr, "\"[\" ws %se%zu ( \",\" ws e%zu )", min == 0 ? "( " : "", id, id);
    repeat(expr, min > 0 ? min - 1 : 0, max < 0 ? -1 : max - 1);
    hg_buf_printf(expr, "%s ws \"]\"", min == 0 ? " )?" : "");
    return code;
}

/* A string with a bounded length, or any. */
static hangar_code write_string(maker *m, const hg_jval *schema, hg_buf *expr)
{
    int64_t min = 0, max = -1;
    hangar_code code = count_of(m, schema, "minLength", 0, &min);
    if (code == HANGAR_OK) code = count_of(m, schema, "maxLength", -1, &max);
    if (min == 0 && max < 0) {
        hg_buf_puts(expr, "string");
    } else {
        hg_buf_puts(expr, "\"\\\"\" char");
        repeat(expr, min, max);
        hg_buf_puts(expr, " \"\\\"\"");
    }
    return code;
}

/* One of the seven types. */
static hangar_code write_type(maker *m, const char *type, const hg_jval *schema, hg_buf *expr)
{
    if (hg_streq(type, "object")) return write_object(m, schema, expr);
    if (hg_streq(type, "array")) return write_array(m, schema, expr);
    if (hg_streq(type, "string")) return write_string(m, schema, expr);
    static const char *const plain[] = {"integer", "number", "boolean", "null"};
    for (size_t i = 0; i < HG_LEN(plain); i++) {
        if (hg_streq(type, plain[i])) {
            hg_buf_puts(expr, type);
            return HANGAR_OK;
        }
    }
    return hg_fail(m->err, HANGAR_E_UNSUPPORTED, "JSON schema: there is no type \"%s\"", type ? type : "?");
}

/* "( a | b )" over the items of a list: of schemas (anyOf), of values (enum), or of type names. */
static hangar_code write_choice(maker *m, const hg_jval *list, const char *keyword, const hg_jval *schema,
                                hg_buf *expr)
{
    hangar_code code = HANGAR_OK;
    if (hg_json_len(list) == 0) return hg_fail(m->err, HANGAR_E_USAGE, "JSON schema: %s is empty", keyword);
    hg_buf_puts(expr, "( ");
    for (hg_json_iter it = hg_json_iter_of(list); code == HANGAR_OK && hg_json_next(&it);) {
        if (it.index) hg_buf_puts(expr, " | ");
        if (keyword[0] == 'a') code = write_schema(m, it.val, expr);
        else if (keyword[0] == 'e') code = literal_value(m, it.val, expr);
        else code = write_type(m, hg_json_text(it.val), schema, expr);
    }
    hg_buf_puts(expr, " )");
    return code;
}

/* "#/$defs/x": the rule of its target, remembered so that it is written once, even if it names itself. */
static hangar_code write_ref(maker *m, const char *ref, hg_buf *expr)
{
    hg_str path = hg_str_of(ref), part;
    const hg_jval *target = m->root;
    if (!hg_str_starts(path, HG_STR("#")))
        return hg_fail(m->err, HANGAR_E_UNSUPPORTED, "JSON schema: $ref \"%s\" leaves the document", ref);
    hg_str_cut(&path, '/', &part);
    while (path.len && target) {
        hg_str_cut(&path, '/', &part);
        char *key = hg_strndup(part.ptr, part.len);
        if (!key) return hg_fail_memory(m->err);
        target = hg_json_get(target, key);
        free(key);
    }
    if (!target) return hg_fail(m->err, HANGAR_E_USAGE, "JSON schema: $ref \"%s\" leads nowhere", ref);
    for (size_t i = 0; i < m->refs_len; i++) {
        if (m->refs[i] == target) {
            hg_buf_printf(expr, "r%zu", i);
            return HANGAR_OK;
        }
    }
    if (!hg_grow((void **)&m->refs, &m->refs_cap, m->refs_len + 1, sizeof *m->refs))
        return hg_fail_memory(m->err);
    size_t id = m->refs_len++;
    m->refs[id] = target;
    hg_buf rule;
    hg_buf_init(&rule, m->out->max);
    hangar_code code = write_schema(m, target, &rule);
    hg_buf_printf(m->out, "r%zu ::= %s\n", id, hg_buf_text(&rule));
    hg_buf_deinit(&rule);
    hg_buf_printf(expr, "r%zu", id);
    return code;
}

/* Any schema, as an expression. */
static hangar_code write_schema(maker *m, const hg_jval *schema, hg_buf *expr)
{
    bool any = false;
    if (hg_json_bool(schema, &any) && any) {
        hg_buf_puts(expr, "value");
        return HANGAR_OK;
    }
    if (!hg_json_is_object(schema))
        return hg_fail(m->err, HANGAR_E_USAGE, "JSON schema: a schema must be an object");
    if (m->depth >= DEPTH_MAX)
        return hg_fail(m->err, HANGAR_E_LIMIT, "JSON schema: nested deeper than %d", DEPTH_MAX);
    hangar_code code = check_keywords(m, schema);
    if (code != HANGAR_OK) return code;
    m->depth++;
    const hg_jval *type = hg_json_get(schema, "type"), *v, *any_of = hg_json_get(schema, "anyOf");
    const char *ref = hg_json_text(hg_json_get(schema, "$ref"));
    if (!any_of && m->lenient) any_of = hg_json_get(schema, "oneOf");
    if (ref || any_of) code = check_alone(m, schema, ref ? "$ref" : "anyOf");
    if (code != HANGAR_OK) {
        m->depth--;
        return code;
    }
    if (ref) code = write_ref(m, ref, expr);
    else if ((v = hg_json_get(schema, "const"))) code = literal_value(m, v, expr);
    else if ((v = hg_json_get(schema, "enum"))) code = write_choice(m, v, "enum", schema, expr);
    else if (any_of) code = write_choice(m, any_of, "anyOf", schema, expr);
    else if (hg_json_is_array(type)) code = write_choice(m, type, "type", schema, expr);
    else if (type || hg_json_get(schema, "properties"))
        code = write_type(m, type ? hg_json_text(type) : "object", schema, expr);
    else if (hg_json_get(schema, "items")) code = write_array(m, schema, expr);
    else hg_buf_puts(expr, "value");
    m->depth--;
    return code == HANGAR_OK ? hg_buf_check(expr, m->err) : code;
}

hangar_code hg_schema_grammar(const char *schema, hg_buf *out, hangar_err *err)
{
    hg_json *doc = NULL;
    hg_json_limits limits = {.bytes = HG_MIB, .depth = 2 * DEPTH_MAX, .unique_keys = true};
    hangar_code code = hg_json_parse(hg_str_of(schema), &limits, &doc, err);
    if (code != HANGAR_OK) return hg_wrap(err, code, "JSON schema");
    maker m = {.root = hg_json_root(doc), .out = out, .err = err};
    hg_buf root;
    hg_buf_init(&root, out->max);
    code = write_schema(&m, m.root, &root);
    hg_buf_printf(out, "root ::= %s\n", hg_buf_text(&root));
    hg_buf_puts(out, common);
    if (code == HANGAR_OK) code = hg_buf_check(out, err);
    hg_buf_deinit(&root);
    free(m.refs);
    hg_json_free(doc);
    return code;
}

/* The arguments of a tool: an object of its parameters' shape, an empty one when it has none. */
static hangar_code write_arguments(maker *m, const hg_jval *function, hg_buf *expr)
{
    const hg_jval *parameters = hg_json_get(function, "parameters");
    const char *type = hg_json_text(hg_json_get(parameters, "type"));
    m->lenient = !hg_json_bool_or(hg_json_get(function, "strict"), false);
    m->root = parameters;
    const hg_jval *properties = hg_json_get(parameters, "properties");
    bool none = hg_json_is_object(properties) && hg_json_len(properties) == 0 &&
                !hg_json_get(parameters, "additionalProperties");
    /* Whoever lists no properties means that there are none. */
    if (hg_json_is_null(parameters) || none) {
        hg_buf_puts(expr, "\"{\" ws \"}\"");
    } else if (hg_json_is_object(parameters) && hg_json_len(parameters) == 0) {
        hg_buf_puts(expr, "object");
    } else {
        if (type && !hg_streq(type, "object"))
            return hg_fail(m->err, HANGAR_E_USAGE, "the parameters of a tool are an object, not of type %s",
                           type);
        return write_schema(m, parameters, expr);
    }
    return HANGAR_OK;
}

hangar_code hg_tools_grammar(const hg_jval *tools, const char *name, bool list, hg_buf *out, hangar_err *err)
{
    maker m = {.out = out, .err = err};
    hangar_code code = HANGAR_OK;
    hg_buf root;
    hg_buf_init(&root, out->max);
    bool first = true;
    for (hg_json_iter it = hg_json_iter_of(tools); code == HANGAR_OK && hg_json_next(&it);) {
        const hg_jval *function = hg_json_get(it.val, "function");
        const char *own = hg_json_text(hg_json_get(function, "name"));
        if (!own || (name && !hg_streq(own, name))) continue;
        hg_buf_puts(&root, first ? "" : " | ");
        hg_buf_puts(&root, "\"{\" ws \"\\\"name\\\":\" ws ");
        code = literal_value(&m, hg_json_get(function, "name"), &root);
        hg_buf_puts(&root, " \",\" ws \"\\\"arguments\\\":\" ws ");
        if (code == HANGAR_OK)
            code = hg_wrap(err, write_arguments(&m, function, &root), "the parameters of tool \"%s\"", own);
        hg_buf_puts(&root, " ws \"}\"");
        first = false;
    }
    if (code == HANGAR_OK) code = hg_buf_check(&root, err);
    if (list) hg_buf_printf(out, "root ::= \"[\" ws ( %s ) ws \"]\"\n", hg_buf_text(&root));
    else hg_buf_printf(out, "root ::= %s\n", hg_buf_text(&root));
    hg_buf_puts(out, common);
    if (code == HANGAR_OK) code = hg_buf_check(out, err);
    hg_buf_deinit(&root);
    free(m.refs);
    return code;
}

/* How often "{m,n}" repeats at most, as far as it says so; 0 when that is no repetition. */
static uint64_t repeats_of(const char *brace)
{
    uint64_t most = 0;
    for (const char *p = brace + 1; *p && *p != '}'; p++) {
        uint64_t n = 0;
        if (*p != ',' && *p != ' ' && (*p < '0' || *p > '9')) return 0;
        for (; *p >= '0' && *p <= '9' && n <= REPEATS_MAX; p++) n = n * 10 + (uint64_t)(*p - '0');
        if (n > most) most = n;
        if (!*p || *p == '}') break;
    }
    return most;
}

hangar_code hg_grammar_check(const char *grammar, hangar_err *err)
{
    unsigned depth = 0, rules = 0;
    uint64_t repeats = 0;
    char inside = '\0'; /* the sign that ends a literal, a class or a comment */
    for (const char *p = grammar; *p; p++) {
        if (inside) {
            if (*p == '\\' && inside != '\n' && p[1]) p++;
            else if (*p == inside) inside = '\0';
        } else if (*p == '"' || *p == '[' || *p == '#') {
            inside = *p == '"' ? '"' : *p == '[' ? ']' : '\n';
        } else if (*p == '(') {
            depth++;
        } else if (*p == ')') {
            depth -= depth > 0;
        } else if (*p == '{') {
            repeats += repeats_of(p);
        } else if (strncmp(p, "::=", 3) == 0) {
            rules++;
        }
        if (depth > GROUPS_MAX)
            return hg_fail(err, HANGAR_E_LIMIT, "the grammar has groups nested deeper than %d", GROUPS_MAX);
        if (rules > LINES_MAX)
            return hg_fail(err, HANGAR_E_LIMIT, "the grammar has more than %d rules", LINES_MAX);
        if (repeats > REPEATS_MAX)
            return hg_fail(err, HANGAR_E_LIMIT, "the grammar repeats things more than %d times in all",
                           REPEATS_MAX);
    }
    return HANGAR_OK;
}
