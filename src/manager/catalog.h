/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The catalogue: every model that can be asked for by name, local and in the cloud. It is put together from (earlier wins) the
 * configuration's models.list, models.json beside the configuration file, $HANGAR_HOME/models.json, and what hangar ships (catalogue.def:
 * claude-3.7-sonnet and its like). A name that none of them has is looked up in the store, as a REF; so are Ollama's spellings ("name:latest").
 *
 * Entries are made once and live as long as the catalogue, so that they may be pointed to. Loop's thread, but for
 * hg_catalog_open and what says so.
 */
#ifndef HG_MANAGER_CATALOG_H
#define HG_MANAGER_CATALOG_H

#include "base/json.h"
#include "manager/handle.h"

typedef struct hg_catalog hg_catalog;

typedef enum hg_entry_kind { HG_ENTRY_LOCAL, HG_ENTRY_CLOUD } hg_entry_kind;

typedef struct hg_entry {
    char *name; /* what clients say */
    hg_entry_kind kind;
    bool declared; /* in a configuration; else it came from the store or was shipped */
    bool
        local_only; /* what is asked of it never leaves the machine: a cloud entry in its chain is refused when it is read */
    bool pinned; /* never evicted, never unloaded for being idle */
    /* of a local one */
    char *ref; /* ORG/NAME[@REV][:FILE] */
    char *
        path; /* absolute; a file or folder outside the store that hg_entry_ensure takes into it as `ref`; "" = none */
    int64_t context;       /* tokens; 0 = the model's own */
    uint64_t memory_limit; /* bytes resident that its runner may reach; 0 = no limit */
    double keep_alive;     /* seconds idle until it is unloaded; negative = never; NAN = the setting */
    /* of a cloud one */
    char *provider; /* "openai", "gemini", "anthropic" (provider/provider.h) */
    char *url;      /* base address; "" = the provider's own */
    char *model;    /* what the provider calls it */
    char *key_env;  /* the variable that holds the key; "" = none is sent */
    hg_json *extra; /* members passed on as they are (safety_settings, ...); NULL = none */
    int64_t cloud_context;
    /* of both */
    char **fallback; /* names that hg_catalog_find knows, or REFs, in order, NULL-terminated; NULL = none */
    double deadline; /* seconds for a whole answer, all of the chain; 0 = the setting */
} hg_entry;

#define HG_CATALOG_MAX  1024 /* declared models */
#define HG_FOUND_MAX    4096 /* models of the store that were asked for, while the catalogue lives */
#define HG_FALLBACK_MAX 16   /* names in a chain */

/* INVALID names file, line and key of what is wrong: an unknown key, a chain that names nothing or itself, a URL without TLS to another machine. */
hangar_code hg_catalog_open(hangar *h, hg_catalog **out, hangar_err *err);
void hg_catalog_free(hg_catalog *c);
/* The same checks of a configuration alone. *line is where in the settings' file the mistake is, 0 when it is elsewhere. */
hangar_code hg_catalog_check(const hg_settings *s, unsigned long *line, hangar_err *err);
/*
 * NOT_FOUND says what is near. A model of the store is found only when it is there. "NAME:latest" is NAME, "hf.co/ORG/NAME" is ORG/NAME, and
 * "ORG/NAME:Q4_K_M" the one GGUF file whose name ends so; all spellings of a model yield one entry.
 */
hangar_code hg_catalog_find(hg_catalog *c, const char *name, const hg_entry **out, hangar_err *err);
/* The same, but a REF need not be in the store yet: for who fetches what is missing (hg_entry_ensure). */
hangar_code hg_catalog_want(hg_catalog *c, const char *name, const hg_entry **out, hangar_err *err);
/* The declared and shipped ones, in order. */
size_t hg_catalog_count(const hg_catalog *c);
const hg_entry *hg_catalog_at(const hg_catalog *c, size_t index);
/* True when the key that a cloud entry needs is in the environment (or it needs none). */
bool hg_entry_has_key(const hg_entry *e);
/*
 * Blocking, for a worker: puts the files of a local entry into the store when they are not there: its path is taken in, its REF fetched. OK at once
 * when they are. Events and errors are those of hangar_model_add and hangar_model_download.
 */
hangar_code hg_entry_ensure(hangar *h, const hg_entry *e, hangar_job *job, hangar_err *err);
/* For verbs that are about files: UNSUPPORTED, with what to set, when the name is that of a cloud model; else OK. */
hangar_code hg_catalog_has_weights(hangar *h, const char *name, hangar_err *err);
/*
 * Opens the model of a REF, or of a declared name, for verbs that are about files; a file that the REF names is there. NOT_FOUND;
 * UNSUPPORTED as above.
 */
hangar_code hg_catalog_snapshot(hangar *h, const char *name, hg_snapshot **out, hangar_err *err);

#endif
