/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An architecture: one line in archs.def and one file in arch/ that writes a model's equations down as graphs. docs/howto/add-an-arch.md shows how.
 */
#ifndef HG_CONVERT_ARCH_H
#define HG_CONVERT_ARCH_H

#include "convert/checkpoint.h"
#include "convert/form.h"
#include "format/hfconfig.h"
#include "convert/make.h"
#include "graph/graph.h"

#define HG_BUILD_GRAPHS_MAX 4

/* One model being built. */
typedef struct hg_build {
    const hg_checkpoint *ck;
    hg_hfconfig *config;
    int opset;
    hg_style style;
    const hg_form *form;
    uint32_t layers; /* only the first ones of each stack are built, for a proof of a large model; 0 = all */
    /* what the architecture says */
    const char *task; /* as the Hub calls it: "feature-extraction", ... */
    hg_graph *graphs[HG_BUILD_GRAPHS_MAX];
    const char *names[HG_BUILD_GRAPHS_MAX];  /* "model", "encoder_model": file names without .onnx */
    hg_make_plan makes[HG_BUILD_GRAPHS_MAX]; /* the data of each graph that are written anew */
    size_t count;
    /* the graph at work */
    hg_graph *g;
    const char *prefix; /* before the scope in the checkpoint's names: "model.", "bert.", "" */
    const char *
        module; /* in place of the scope in them, where nodes are called otherwise (branches); NULL = the scope */
} hg_build;

typedef struct hg_arch {
    const char *name; /* model_type of config.json */
    /* Fills b->task and b->graphs (hg_build_begin). An error of a graph or of the configuration may be left in them. */
    hangar_code (*build)(hg_build *b, hangar_err *err);
    bool hears_windows; /* of sound, filled up with silence: a form may sample it (hg_form.silence) */
} hg_arch;

/* By model_type; NULL when there is none. */
const hg_arch *hg_arch_get(const char *model_type);
/* "bert, whisper" into out. */
#define HG_ARCH_NAMES_MAX 1024
const char *hg_arch_names(char out[HG_ARCH_NAMES_MAX]);

/* A new graph, which becomes the one at work. NO_MEMORY, or LIMIT for an opset that is not to be had. */
hangar_code hg_build_begin(hg_build *b, const char *name, hangar_err *err);
void hg_build_deinit(hg_build *b);
/* The plan of the graph at work. */
hg_make_plan *hg_build_makes(hg_build *b);
/* How many of a stack's layers are to be built. */
uint32_t hg_build_layers(const hg_build *b, uint32_t all);

#endif
