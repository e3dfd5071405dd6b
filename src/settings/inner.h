/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of this room share. For them alone. */
#ifndef HG_SETTINGS_INNER_H
#define HG_SETTINGS_INNER_H

#include "base/mem.h"
#include "base/str.h"
#include "settings/settings.h"

typedef enum hg_setting_type {
    HG_SETTING_PATH,
    HG_SETTING_URL,
    HG_SETTING_SECRET,
    HG_SETTING_BOOL,
    HG_SETTING_INT,
    HG_SETTING_SIZE,
    HG_SETTING_DURATION,
    HG_SETTING_CHOICE,
    HG_SETTING_TEXT,
    HG_SETTING_TEXTS,
    HG_SETTING_MAP,
    HG_SETTING_LIST,
} hg_setting_type;

/* A line of settings.def. */
typedef struct hg_setting {
    const char *key;
    hg_setting_type type;
    size_t at; /* offset in hg_settings */
    const char *def;
    const char *allowed;
    const char *env;
    const char *help;
} hg_setting;

enum {
#define HG_SETTING(key, type, field, def, allowed, env, help) HG_SETTING_IS_##field,
#include "settings/settings.def"
#undef HG_SETTING
    HG_SETTING_COUNT
};

typedef enum hg_source {
    HG_SOURCE_DEFAULT,
    HG_SOURCE_FILE,
    HG_SOURCE_ENVIRONMENT,
    HG_SOURCE_OPTION
} hg_source;

/* Where a member of a MAP or LIST stands in the file. */
typedef struct hg_line_of {
    char *path; /* the setting's key and the keys below it, a line end between them */
    unsigned long line, column;
} hg_line_of;

/* What hg_settings_load really makes: the settings, and where each came from. */
typedef struct hg_loaded {
    hg_settings s; /* first, so that a pointer to it is one to the whole */
    hg_source source[HG_SETTING_COUNT];
    hg_line_of *lines; /* of every member of the MAPs and LISTs, sorted by path */
    size_t lines_len, lines_cap;
} hg_loaded;

/* ---- rows.c: one setting and its value ---- */

extern const hg_setting hg_setting_rows[HG_SETTING_COUNT];
const char *hg_setting_type_name(hg_setting_type type);
/* Reads `text` into the setting's field; PATHs must be absolute by now. INVALID says what is wrong, and the old value
 * stays. */
hangar_code hg_setting_set(hg_settings *s, const hg_setting *row, hg_str text, hangar_err *err);
/* Puts a list of texts in place; `texts` (NULL-terminated) is taken in any case. INVALID when one is too long or there are too many. */
hangar_code hg_setting_set_texts(hg_settings *s, const hg_setting *row, char **texts, hangar_err *err);
void hg_setting_free_texts(char **texts);
/* The part of a dotted key up to `len` names a group of settings ("models", "models.cache"; len 0 = the top). */
bool hg_setting_group(const char *prefix, size_t len);

/* ---- places.c: paths ---- */

/* `~`, `~user`, `$NAME`, `${NAME}` as Python's expanduser and expandvars do; what is not known stays. The caller's. */
hangar_code hg_place_expand(hg_str text, char **out, hangar_err *err);
/* Absolute (from `dir`; NULL = the working folder), without "." components, doubled or final slashes. The caller's. */
hangar_code hg_place_absolute(const char *path, const char *dir, char **out, hangar_err *err);
/* A default such as "$HF_HOME/hub" with the folder put in; home is hangar's own, for "$HANGAR_HOME/". The caller's. */
hangar_code hg_place_default(const char *def, const char *home, char **out, hangar_err *err);
/* The configuration file: `asked`, else $HANGAR_CONFIG, else the user's own; *explicit tells that it was named. */
hangar_code hg_place_config(const char *asked, char **out, bool *named, hangar_err *err);

/* ---- file.c: the YAML file ---- */

#define HG_CONFIG_BYTES    ((size_t)1 << 20)
#define HG_CONFIG_DEPTH    16
#define HG_CONFIG_PROBLEMS 50
#define HG_CONFIG_TEXTS    256   /* in a list of texts */
#define HG_CONFIG_TEXT     1024  /* bytes of a text */
#define HG_CONFIG_MEMBERS  16384 /* in all MAPs and LISTs */
#define HG_CONFIG_KEY      128   /* bytes of a key of theirs */

/* One mistake; line and column count from 1. */
typedef struct hg_problem {
    unsigned long line, column;
    char key[128]; /* "" when the text itself is broken */
    char message[HANGAR_ERR_MAX];
} hg_problem;

typedef struct hg_problems {
    hg_problem *items; /* at most HG_CONFIG_PROBLEMS; the reader stops there */
    size_t len, cap;
} hg_problems;

/* Reads `text` into *l. Mistakes are added to `problems` and are no error here; an error is want of memory. dir: the
 * folder of the file. */
hangar_code hg_config_read(hg_str text, const char *dir, hg_loaded *l, hg_problems *problems,
                           hangar_err *err);
/* The same from a file. *found is false when there is none and it was not named. */
hangar_code hg_config_read_file(const char *file, bool named, hg_loaded *l, bool *found,
                                hg_problems *problems, hangar_err *err);

/* ---- settings.c ---- */

hangar_code hg_loaded_new(hg_loaded **out, hangar_err *err);

#endif
