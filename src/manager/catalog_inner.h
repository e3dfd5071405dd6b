/* SPDX-License-Identifier: Apache-2.0 */
/* What catalog.c and catalog_read.c share. */
#ifndef HG_MANAGER_CATALOG_INNER_H
#define HG_MANAGER_CATALOG_INNER_H

#include "manager/catalog.h"

/* An entry and where it was written. */
typedef struct hg_declared {
    hg_entry e;       /* first, so that a pointer to it is one to the whole */
    const char *file; /* of the settings or a models.json, borrowed; NULL = shipped or found in the store */
    bool yaml;        /* in the settings: there are lines */
    hg_stamp stamp;   /* of one found in the store, when it was looked up last */
} hg_declared;

typedef struct hg_declared_list {
    hg_declared **items;
    size_t len, cap;
} hg_declared_list;

struct hg_catalog {
    hg_store *store; /* NULL while only the configuration is checked */
    const hg_settings *s;
    char *files[2];         /* models.json as they were read; NULL = not there */
    hg_declared_list named; /* declared, then shipped */
    hg_declared_list found; /* of the store, by what was asked for */
    unsigned long line;     /* of the mistake that ended the reading */
};

#define HG_NAME_MAX 200 /* bytes of a model's name */

/* A zeroed entry with a name; NULL when out of memory. */
hg_declared *hg_declared_new(const char *name);
void hg_declared_free(hg_declared *d);
bool hg_declared_add(hg_declared_list *list, hg_declared *d);
/* Among the named ones, as it is and without ":latest"; NULL. */
hg_declared *hg_catalog_named(const hg_catalog *c, const char *name);
/* Replaces *to by a copy of text. */
hangar_code hg_put_text(char **to, const char *text, hangar_err *err);

/* ---- catalog_read.c ---- */

/* What is configured, the shipped ones, and all checks of the chains. */
hangar_code hg_catalog_read(hg_catalog *c, hangar_err *err);
/* A shipped model's entry by name; false when there is none. */
bool hg_shipped_entry(const char *name, hg_declared **out);
/* INVALID with the place: what is wrong with `key` of an entry (NULL = the entry as a whole). */
hangar_code hg_catalog_wrong(hg_catalog *c, const hg_declared *d, const char *key, hangar_err *err,
                             const char *fmt, ...) HG_PRINTF(5, 6);

#endif
