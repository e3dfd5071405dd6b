/* SPDX-License-Identifier: Apache-2.0 */
/* The table of settings, and how a text becomes a value. */
#include "settings/inner.h"

const hg_setting hg_setting_rows[HG_SETTING_COUNT] = {
#define HG_SETTING(key, type, field, def, allowed, env, help) \
    {key, HG_SETTING_##type, offsetof(hg_settings, field), def, allowed, env, help},
#include "settings/settings.def"
#undef HG_SETTING
};

const char *hg_setting_type_name(hg_setting_type type)
{
    static const char *const names[] = {"path",     "url",    "secret", "bool",  "int", "size",
                                        "duration", "choice", "text",   "texts", "map", "list"};
    return names[type];
}

bool hg_setting_group(const char *prefix, size_t len)
{
    if (len == 0) return true;
    for (size_t i = 0; i < HG_SETTING_COUNT; i++)
        if (strncmp(hg_setting_rows[i].key, prefix, len) == 0 && hg_setting_rows[i].key[len] == '.')
            return true;
    return false;
}

static bool same_word(hg_str s, const char *lower)
{
    size_t i = 0;
    for (; i < s.len && lower[i]; i++)
        if ((s.ptr[i] >= 'A' && s.ptr[i] <= 'Z' ? s.ptr[i] + 32 : s.ptr[i]) != lower[i]) return false;
    return i == s.len && !lower[i];
}

static bool read_bool(hg_str s, bool *out)
{
    static const char *const yes[] = {"true", "yes", "on"}, *const no[] = {"false", "no", "off"};
    for (size_t i = 0; i < HG_LEN(yes); i++) {
        if (!same_word(s, yes[i]) && !same_word(s, no[i])) continue;
        *out = same_word(s, yes[i]);
        return true;
    }
    return false;
}

/* One number of a type, so that bounds can be compared; false when malformed. */
static bool read_number(hg_setting_type type, hg_str s, double *out)
{
    uint64_t n;
    if (type == HG_SETTING_DURATION) return hg_duration_parse(s, out);
    if (!(type == HG_SETTING_SIZE ? hg_size_parse(s, &n) : hg_u64_parse(s, &n))) return false;
    *out = (double)n;
    return true;
}

static bool within(const hg_setting *row, double value)
{
    const char *dots = strstr(row->allowed, "..");
    double least, most;
    if (!dots || value < 0) return true; /* -1 is "never", where that may be said */
    if (!read_number(row->type, (hg_str){row->allowed, (size_t)(dots - row->allowed)}, &least)) return false;
    return read_number(row->type, (hg_str){dots + 2, strcspn(dots + 2, "|")}, &most) && value >= least &&
           value <= most;
}

static bool one_of(const char *words, hg_str word)
{
    hg_str rest = hg_str_of(words), head;
    bool more = true;
    while (more) {
        more = hg_str_cut(&rest, '|', &head);
        if (hg_str_eq(head, word)) return true;
    }
    return false;
}

/* http://HOST... or https://HOST..., printable, without user, query and fragment. */
static const char *url_fault(hg_str s)
{
    hg_str rest = s;
    if (hg_str_starts(s, HG_STR("https://"))) rest = (hg_str){s.ptr + 8, s.len - 8};
    else if (hg_str_starts(s, HG_STR("http://"))) rest = (hg_str){s.ptr + 7, s.len - 7};
    else return "does not begin with https:// or http://";
    if (rest.len == 0 || rest.ptr[0] == '/' || rest.ptr[0] == ':') return "names no host";
    for (size_t i = 0; i < rest.len; i++) {
        unsigned char c = (unsigned char)rest.ptr[i];
        if (c <= ' ' || c >= 0x7f || strchr("?#@\\\"<>^`{|}", c))
            return "has a character that an address cannot have";
    }
    return NULL;
}

static hangar_code put_text(char **field, hg_str text, hangar_err *err)
{
    char *copy = hg_strndup(text.ptr, text.len);
    if (!copy) return hg_fail_memory(err);
    free(*field);
    *field = copy;
    return HANGAR_OK;
}

static hangar_code set_number(void *field, const hg_setting *row, hg_str text, const char *shown,
                              hangar_err *err)
{
    static const char *const wanted[] = {
        [HG_SETTING_INT] = "a whole number",
        [HG_SETTING_SIZE] = "a size such as 10GB or 64MiB",
        [HG_SETTING_DURATION] = "a duration such as 30s, 1h or 30d",
    };
    double number;
    uint64_t n;
    const char *word = strchr(row->allowed, '|');
    if (word && hg_str_eq(text, hg_str_of(word + 1))) number = -1;
    else if (!read_number(row->type, text, &number))
        return hg_fail(err, HANGAR_E_INVALID, "'%s' is not %s", shown, wanted[row->type]);
    if (!within(row, number))
        return hg_fail(err, HANGAR_E_INVALID, "'%s' is not within %s", shown, row->allowed);
    if (row->type == HG_SETTING_DURATION) {
        *(double *)field = number;
    } else if (row->type == HG_SETTING_SIZE) {
        hg_size_parse(text, (uint64_t *)field);
    } else {
        if (!hg_u64_parse(text, &n) || n > INT64_MAX)
            return hg_fail(err, HANGAR_E_INVALID, "'%s' is too large", shown);
        *(int64_t *)field = (int64_t)n;
    }
    return HANGAR_OK;
}

static hangar_code set_url(char **field, hg_str text, const char *shown, hangar_err *err)
{
    while (text.len && text.ptr[text.len - 1] == '/') text.len--;
    const char *fault = url_fault(text);
    return fault ? hg_fail(err, HANGAR_E_INVALID, "'%s' %s", shown, fault) : put_text(field, text, err);
}

void hg_setting_free_texts(char **texts)
{
    for (size_t i = 0; texts && texts[i]; i++) free(texts[i]);
    free(texts);
}

hangar_code hg_setting_set_texts(hg_settings *s, const hg_setting *row, char **texts, hangar_err *err)
{
    char ***field = (char ***)((char *)s + row->at);
    hangar_code code = HANGAR_OK;
    for (size_t i = 0; code == HANGAR_OK && texts[i]; i++) {
        if (i == HG_CONFIG_TEXTS)
            code = hg_fail(err, HANGAR_E_INVALID, "more than %d texts", HG_CONFIG_TEXTS);
        else if (strlen(texts[i]) > HG_CONFIG_TEXT)
            code = hg_fail(err, HANGAR_E_INVALID, "a text of more than %d bytes", HG_CONFIG_TEXT);
    }
    if (code != HANGAR_OK) {
        hg_setting_free_texts(texts);
        return code;
    }
    hg_setting_free_texts(*field);
    *field = texts;
    return HANGAR_OK;
}

/* "a, b" as a list; what is empty is left out. */
static hangar_code split_texts(hg_settings *s, const hg_setting *row, hg_str text, hangar_err *err)
{
    size_t most = 2, n = 0;
    hg_str word;
    for (size_t i = 0; i < text.len; i++) most += text.ptr[i] == ',';
    char **texts = hg_calloc(most, sizeof *texts);
    hangar_code code = texts ? HANGAR_OK : hg_fail_memory(err);
    for (bool more = true; code == HANGAR_OK && more;) {
        more = hg_str_cut(&text, ',', &word);
        word = hg_str_trim(word);
        if (word.len && !(texts[n++] = hg_strndup(word.ptr, word.len))) code = hg_fail_memory(err);
    }
    if (code == HANGAR_OK) return hg_setting_set_texts(s, row, texts, err);
    hg_setting_free_texts(texts);
    return code;
}

hangar_code hg_setting_set(hg_settings *s, const hg_setting *row, hg_str text, hangar_err *err)
{
    char shown[64];
    void *field = (char *)s + row->at;
    hg_escape(text, shown, sizeof shown);
    if (text.len && memchr(text.ptr, '\0', text.len))
        return hg_fail(err, HANGAR_E_INVALID, "'%s' has a NUL", shown);
    switch (row->type) {
    case HG_SETTING_PATH:
        if (text.len == 0 && row->def[0]) return hg_fail(err, HANGAR_E_INVALID, "an empty path");
        return put_text(field, text, err);
    case HG_SETTING_SECRET: return put_text(field, text, err);
    case HG_SETTING_TEXT:
        if (text.len <= HG_CONFIG_TEXT) return put_text(field, text, err);
        return hg_fail(err, HANGAR_E_INVALID, "a text of more than %d bytes", HG_CONFIG_TEXT);
    case HG_SETTING_TEXTS: return split_texts(s, row, text, err);
    case HG_SETTING_MAP:
    case HG_SETTING_LIST: return HANGAR_OK; /* only the file can say those: file.c */
    case HG_SETTING_URL: return set_url(field, text, shown, err);
    case HG_SETTING_BOOL:
        if (read_bool(text, field)) return HANGAR_OK;
        return hg_fail(err, HANGAR_E_INVALID, "'%s' is neither true nor false", shown);
    case HG_SETTING_CHOICE:
        if (one_of(row->allowed, text)) return put_text(field, text, err);
        return hg_fail(err, HANGAR_E_INVALID, "'%s' is none of %s", shown, row->allowed);
    case HG_SETTING_INT:
    case HG_SETTING_SIZE:
    case HG_SETTING_DURATION: break;
    }
    return set_number(field, row, text, shown, err);
}
