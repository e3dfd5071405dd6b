/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The catalogue: every model that can be asked for by name, local and in the cloud. It is put together from (earlier wins) the
 * configuration's models.list, the file models.json in the seed's schema, and what hangar ships (catalogue.def: claude-3.7-sonnet and its
 * like). A name that none of them has is looked up in the store, as a REF; so are Ollama's spellings ("name:latest").
 *
 * Entries are made once and live as long as the catalogue, so that they may be pointed to. Loop's thread, but for hg_catalog_open.
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
    char *ref;             /* ORG/NAME[@REV][:FILE] */
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
    char **fallback; /* names, in order, NULL-terminated; NULL = none */
    double deadline; /* seconds for a whole answer, all of the chain; 0 = the setting */
} hg_entry;

/* INVALID names file, line and key of what is wrong: an unknown key, a chain that names nothing or itself, a URL without TLS to another machine. */
hangar_code hg_catalog_open(hangar *h, hg_catalog **out, hangar_err *err);
void hg_catalog_free(hg_catalog *c);
/* NOT_FOUND says what is near. A model of the store is found only when it is there. */
hangar_code hg_catalog_find(hg_catalog *c, const char *name, const hg_entry **out, hangar_err *err);
/* The declared and shipped ones, in order. */
size_t hg_catalog_count(const hg_catalog *c);
const hg_entry *hg_catalog_at(const hg_catalog *c, size_t index);
/* True when the key that a cloud entry needs is in the environment (or it needs none). */
bool hg_entry_has_key(const hg_entry *e);

#endif
