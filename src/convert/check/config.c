/* SPDX-License-Identifier: Apache-2.0 */
/* config.json, read anew: typed, null taken for absent, the first wrong value ends the run. */
#include "convert/check/inner.h"

#include "base/mem.h"

#include <string.h>

#define INT_MOST ((int64_t)1 << 31)

/* A key that is there and not null. */
const hg_jval *hg_plain_key(const hg_plain_state *r, const char *key)
{
    const hg_jval *v = hg_json_get(r->config, key);
    return hg_json_is_null(v) ? NULL : v;
}

/* A whole number. */
size_t hg_plain_int(hg_plain_state *r, const char *key, int64_t def, int64_t least)
{
    const hg_jval *v = hg_plain_key(r, key);
    int64_t n = def;
    if (!v && def == HG_REF_NEEDED) {
        hg_plain_fail(r, HANGAR_E_INVALID, "config.json: %s is missing", key);
        return 1;
    }
    if (v && (!hg_json_i64(v, &n) || n < least || n > INT_MOST)) {
        hg_plain_fail(r, HANGAR_E_INVALID, "config.json: %s is no whole number from %lld to %lld", key,
                      (long long)least, (long long)INT_MOST);
        return least > 0 ? (size_t)least : 1;
    }
    return (size_t)n;
}

/* Any number. */
double hg_plain_real(hg_plain_state *r, const char *key, double def)
{
    const hg_jval *v = hg_plain_key(r, key);
    double x = def;
    if (v && !hg_json_f64(v, &x)) {
        hg_plain_fail(r, HANGAR_E_INVALID, "config.json: %s is no number", key);
    }
    return x;
}

/* true or false. */
bool hg_plain_flag(hg_plain_state *r, const char *key, bool def)
{
    const hg_jval *v = hg_plain_key(r, key);
    bool b = def;
    if (v && !hg_json_bool(v, &b)) {
        hg_plain_fail(r, HANGAR_E_INVALID, "config.json: %s is neither true nor false", key);
    }
    return b;
}

/* A text. */
const char *hg_plain_text(hg_plain_state *r, const char *key, const char *def)
{
    const hg_jval *v = hg_plain_key(r, key);
    if (!v) return def;
    const char *text = hg_json_text(v);
    if (!text) {
        hg_plain_fail(r, HANGAR_E_INVALID, "config.json: %s is no text", key);
        return def;
    }
    return text;
}

/* A key that would change what is computed here must be off. */
void hg_plain_refuse(hg_plain_state *r, const char *key)
{
    const hg_jval *v = hg_plain_key(r, key);
    bool on = true;
    if (!v || (hg_json_bool(v, &on) && !on) || (hg_json_is_array(v) && hg_json_len(v) == 0)) return;
    hg_plain_fail(r, HANGAR_E_UNSUPPORTED, "config.json: the reference does not know %s", key);
}

/* An activation by the name that config files give it. */
hg_plain_act hg_plain_act_named(hg_plain_state *r, const char *key, const char *name)
{
    static const struct {
        const char *name;
        hg_plain_act act;
    } acts[] = {
        {"relu", HG_REF_RELU},
        {"gelu", HG_REF_GELU},
        {"gelu_python", HG_REF_GELU},
        {"gelu_new", HG_REF_GELU_TANH},
        {"gelu_fast", HG_REF_GELU_TANH},
        {"gelu_pytorch_tanh", HG_REF_GELU_TANH},
        {"gelu_python_tanh", HG_REF_GELU_TANH},
        {"quick_gelu", HG_REF_QUICK_GELU},
        {"silu", HG_REF_SILU},
        {"swish", HG_REF_SILU},
        {"tanh", HG_REF_TANH},
        {"relu2", HG_REF_RELU2},
    };
    for (size_t i = 0; i < HG_LEN(acts); i++) {
        if (strcmp(acts[i].name, name) == 0) return acts[i].act;
    }
    hg_plain_fail(r, HANGAR_E_UNSUPPORTED, "config.json: the reference does not know %s \"%s\"", key, name);
    return HG_REF_RELU;
}

/* The activation of a key. */
hg_plain_act hg_plain_act_key(hg_plain_state *r, const char *key, const char *def)
{
    return hg_plain_act_named(r, key, hg_plain_text(r, key, def));
}

static bool ends_with(const char *text, const char *end)
{
    size_t n = strlen(text), m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

/* What the class adds to the bare model. */
hg_plain_head hg_plain_head_key(hg_plain_state *r, unsigned allowed)
{
    static const struct {
        const char *end;
        hg_plain_head head;
    } heads[] = {
        {"ForCausalLM", HG_REF_CAUSAL},
        {"LMHeadModel", HG_REF_CAUSAL},
        {"ForMaskedLM", HG_REF_MASKED},
        {"ForSequenceClassification", HG_REF_SEQUENCE},
        {"ForTokenClassification", HG_REF_TOKEN},
        {"ForQuestionAnswering", HG_REF_QUESTION},
        {"ForImageClassification", HG_REF_IMAGE},
        {"ForConditionalGeneration", HG_REF_GENERATE},
        {"MTModel", HG_REF_GENERATE},
        {"ForCTC", HG_REF_CTC},
        {"Model", HG_REF_BARE},
    };
    const hg_jval *list = hg_plain_key(r, "architectures");
    const char *name = hg_json_text(hg_json_at(list, 0));
    if (!name) return HG_REF_BARE;
    for (size_t i = 0; i < HG_LEN(heads); i++) {
        if (!ends_with(name, heads[i].end)) continue;
        if (allowed & (1U << heads[i].head)) return heads[i].head;
        break;
    }
    hg_plain_fail(r, HANGAR_E_UNSUPPORTED, "config.json: the reference does not know architectures \"%s\"",
                  name);
    return HG_REF_BARE;
}
