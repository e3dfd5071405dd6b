/* SPDX-License-Identifier: Apache-2.0 */
/* Loading a GGUF model and keeping a context for it. */
#include "runner.h"

#include "base/clock.h"
#include "base/fsx.h"
#include "base/spread.h"
#include "engine/wire.h"
#include "format/output.h"

#include <dlfcn.h>
#include <ggml-backend.h>
#include <stdlib.h>

#define ONE_THREAD_BYTES \
    ((uint64_t)32 << 20) /* a model smaller than that is read in a few milliseconds by one */

#define LOOK 0.001 /* seconds */

/* What load_progress needs. */
typedef struct load_watch {
    int fd;
    int last;
} load_watch;

/* Tells hangar how far the load is; ends it when hangar has something to say (a cancel) or is gone. */
static bool load_progress(float part, void *ctx)
{
    load_watch *w = ctx;
    int now = (int)(part * 1000);
    if (now != w->last) {
        w->last = now;
        char text[64];
        int n = snprintf(text, sizeof text, "{\"done\":%d,\"total\":1000}", now);
        if (hg_wire_send(w->fd, HG_WIRE_TICK, (hg_str){text, (size_t)n}, NULL, 0, NULL) != HANGAR_OK)
            return false;
    }
    return !hg_wire_pending(w->fd);
}

void hg_llama_backends(void)
{
    Dl_info info;
    char *dir = dladdr((void *)(uintptr_t)llama_backend_init, &info) ? hg_path_dir(info.dli_fname) : NULL;
    if (dir) ggml_backend_load_all_from_path(dir);
    if (ggml_backend_dev_count() == 0) ggml_backend_load_all();
    free(dir);
    llama_backend_init();
}

hangar_code hg_llama_load(hg_llama *l, const hg_jval *load, hangar_err *err)
{
    const char *path = hg_json_text(hg_json_get(load, "model"));
    if (!path) return hg_fail(err, HANGAR_E_USAGE, "LOAD names no model");
    load_watch watch = {.fd = l->fd, .last = -1};
    struct llama_model_params params = llama_model_default_params();
    params.progress_callback = load_progress;
    params.progress_callback_user_data = &watch;
    params.check_tensors = true;
    l->model = llama_model_load_from_file(path, params);
    if (!l->model) return hg_fail(err, HANGAR_E_ENGINE, "llama.cpp does not load the model");
    l->vocab = llama_model_get_vocab(l->model);
    int64_t threads = hg_json_i64_or(hg_json_get(load, "threads"), 0);
    l->threads = threads > 0 && threads <= 1024 ? (int32_t)threads : (int32_t)hg_usable_cores();
    /* Threads of llama.cpp wait for one another by spinning: on a busy machine that costs a small model far
     * more than a second one gives. */
    if (threads <= 0 && llama_model_size(l->model) < ONE_THREAD_BYTES) l->threads = 1;
    if (!llama_model_has_decoder(l->model) || llama_model_has_encoder(l->model))
        return hg_fail(err, HANGAR_E_UNSUPPORTED, "this model does not generate text from text alone");
    return hg_llama_templates(l, err);
}

void hg_llama_unload(hg_llama *l)
{
    if (l->ctx) llama_free(l->ctx);
    if (l->model) llama_model_free(l->model);
    hg_templates_deinit(&l->templates);
    free(l->seen);
    *l = (hg_llama){.fd = l->fd};
}

hg_jw *hg_llama_ready(const hg_llama *l)
{
    char text[256] = "";
    llama_model_desc(l->model, text, sizeof text);
    hg_jw *w = hg_jw_new();
    hg_jw_obj(w, NULL);
    hg_jw_text(w, "description", text);
    hg_jw_u64(w, "parameters", llama_model_n_params(l->model));
    hg_jw_u64(w, "bytes", llama_model_size(l->model));
    hg_jw_i64(w, "context_trained", llama_model_n_ctx_train(l->model));
    hg_jw_i64(w, "vocabulary", llama_vocab_n_tokens(l->vocab));
    hg_jw_bool(w, "has_template", llama_model_chat_template(l->model, NULL) != NULL);
    hg_jw_end(w);
    return w;
}

hangar_code hg_llama_alive(hg_llama *l, size_t done, size_t total, hangar_err *err)
{
    char text[64];
    int len = snprintf(text, sizeof text, "{\"done\":%zu,\"total\":%zu}", done, total);
    l->spoke = hg_now();
    return hg_wire_send(l->fd, HG_WIRE_TICK, (hg_str){text, (size_t)len}, NULL, 0, err);
}

/*
 * Ends a decode when hangar has something to say: during a call that is a cancel, or its end. llama.cpp asks before each node of the graph,
 * on the thread that decodes; the socket is looked at once in LOOK seconds, and a sign of life sent once in HG_OUTPUT_SILENCE.
 */
static bool abort_decode(void *ctx)
{
    hg_llama *l = ctx;
    double now = hg_now();
    if (now - l->looked < LOOK) return false;
    l->looked = now;
    if (hg_wire_pending(l->fd)) return true;
    return now - l->spoke >= HG_OUTPUT_SILENCE && hg_llama_alive(l, 0, 0, NULL) != HANGAR_OK;
}

hangar_code hg_llama_context(hg_llama *l, int64_t asked, hangar_err *err)
{
    int64_t trained = llama_model_n_ctx_train(l->model);
    int64_t n = asked;
    if (n <= 0) n = trained > 0 && trained < HG_GENERATE_CONTEXT ? trained : HG_GENERATE_CONTEXT;
    if (n > HG_GENERATE_CONTEXT_MAX)
        return hg_fail(err, HANGAR_E_LIMIT, "a context of %lld tokens is over the limit of %d", (long long)n,
                       HG_GENERATE_CONTEXT_MAX);
    if (l->ctx && l->n_ctx == (uint32_t)n) return HANGAR_OK;
    if (l->ctx) llama_free(l->ctx);
    l->seen_len = 0;
    struct llama_context_params params = llama_context_default_params();
    params.n_ctx = (uint32_t)n;
    params.n_batch = n < 512 ? (uint32_t)n : 512;
    params.n_threads = l->threads;
    params.n_threads_batch = l->threads;
    params.abort_callback = abort_decode;
    params.abort_callback_data = l;
    l->ctx = llama_init_from_model(l->model, params);
    l->n_ctx = l->ctx ? (uint32_t)n : 0;
    if (!l->ctx)
        return hg_fail(err, HANGAR_E_NO_MEMORY,
                       "no memory for a context of %lld tokens; --context-length makes it smaller",
                       (long long)n);
    return HANGAR_OK;
}
