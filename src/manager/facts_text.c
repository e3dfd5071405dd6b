/* SPDX-License-Identifier: Apache-2.0 */
/* Facts from the texts of a repository: config.json, and the head of README.md (a few lines of YAML between two "---"). */
#include "base/buf.h"
#include "base/fsx.h"
#include "format/hfconfig.h"
#include "manager/facts.h"

/* Of README.md only so much is looked at. */
#define README_MAX (64 * HG_KIB)
/* A number in a configuration beyond that is nonsense. */
#define NUMBER_MAX ((uint64_t)1 << 40)

/* ---- config.json ---- */

/* The first of `keys` that is a sane number, in the model's own object or in that of its text part. */
static uint64_t number(const hg_jval *root, const char *const *keys)
{
    const hg_jval *places[] = {root, hg_json_get(root, "text_config"), hg_json_get(root, "llm_config")};
    for (size_t p = 0; p < HG_LEN(places); p++) {
        for (size_t i = 0; keys[i]; i++) {
            uint64_t n;
            if (hg_json_u64(hg_json_get(places[p], keys[i]), &n) && n > 0 && n <= NUMBER_MAX) return n;
        }
    }
    return 0;
}

static const char *text(const hg_jval *root, const char *key)
{
    const char *t = hg_json_text(hg_json_get(root, key));
    return t ? t : hg_json_text(hg_json_path(root, "text_config", key, NULL));
}

/* "float32" as "F32". */
static void dtype_name(const char *name, char *out, size_t cap)
{
    static const char *const names[][2] = {
        {"float32", "F32"}, {"float16", "F16"}, {"bfloat16", "BF16"},         {"float64", "F64"},
        {"int8", "I8"},     {"uint8", "U8"},    {"float8_e4m3fn", "F8_E4M3"},
    };
    for (size_t i = 0; name && i < HG_LEN(names); i++)
        if (hg_streq(name, names[i][0])) hg_facts_copy(out, cap, hg_str_of(names[i][1]));
}

/* What a model of that class does, when its card does not say. */
static const char *task_of(const char *type, const char *class)
{
    static const char *const tasks[][2] = {
        {"ForCausalLM", "text-generation"},
        {"LMHeadModel", "text-generation"},
        {"ForSpeechSeq2Seq", "automatic-speech-recognition"},
        {"ForCTC", "automatic-speech-recognition"},
        {"ForMaskedLM", "fill-mask"},
        {"ForSequenceClassification", "text-classification"},
        {"ForTokenClassification", "token-classification"},
        {"ForQuestionAnswering", "question-answering"},
        {"ForImageClassification", "image-classification"},
        {"Model", "feature-extraction"},
    };
    if (hg_streq(type, "whisper")) return "automatic-speech-recognition";
    for (size_t i = 0; class && i < HG_LEN(tasks); i++)
        if (hg_str_ends(hg_str_of(class), hg_str_of(tasks[i][0]))) return tasks[i][1];
    return "";
}

static void read_shape(const hg_jval *root, hg_shape *shape)
{
    static const char *const layers[] = {"decoder_layers", "num_hidden_layers", "n_layer", "num_layers",
                                         NULL};
    static const char *const kv_heads[] = {"num_key_value_heads", "decoder_attention_heads",
                                           "num_attention_heads", "n_head", NULL};
    static const char *const heads[] = {"decoder_attention_heads", "num_attention_heads", "n_head", NULL};
    static const char *const dims[] = {"head_dim", NULL};
    static const char *const widths[] = {"hidden_size", "d_model", "n_embd", NULL};
    static const char *const sources[] = {"max_source_positions", NULL};
    uint64_t n = number(root, heads);
    shape->layers = number(root, layers);
    shape->kv_heads = number(root, kv_heads);
    shape->head_dim = number(root, dims);
    if (!shape->head_dim && n) shape->head_dim = number(root, widths) / n;
    shape->cross_context = number(root, sources);
    shape->cache_bytes = 4;
}

void hg_facts_config(const hg_snapshot *snap, hg_facts *f, hg_shape *shape, hangar_err *problem)
{
    static const char *const contexts[] = {"max_target_positions",
                                           "max_position_embeddings",
                                           "n_positions",
                                           "max_sequence_length",
                                           "max_seq_len",
                                           "seq_length",
                                           "n_ctx",
                                           "max_source_positions",
                                           NULL};
    hangar_err why = {0};
    hg_hfconfig c;
    if (!hg_snapshot_file_get(snap, "config.json")) return;
    HG_AUTO(hg_auto_free) char *path = hg_snapshot_file_path(snap, "config.json");
    hangar_code code = path ? hg_hfconfig_open(path, &c, &why) : hg_fail_memory(&why);
    if (code != HANGAR_OK) {
        hg_facts_trouble(problem, "config.json", &why);
        return;
    }
    const char *type = hg_json_text(hg_json_get(c.root, "model_type")), *class = hg_hfconfig_class(&c);
    const char *dtype = text(c.root, "torch_dtype");
    if (type || class) hg_facts_copy(f->architecture, sizeof f->architecture, hg_str_of(type ? type : class));
    dtype_name(dtype ? dtype : text(c.root, "dtype"), f->dtype, sizeof f->dtype);
    f->context_length = number(c.root, contexts);
    hg_facts_copy(f->task, sizeof f->task, hg_str_of(task_of(type, class)));
    /* Only models that write word after word keep a cache. */
    if (hg_streq(f->task, "text-generation") || hg_streq(f->task, "automatic-speech-recognition"))
        read_shape(c.root, shape);
    hg_hfconfig_deinit(&c);
}

/* ---- README.md ---- */

/* `key: value` of one line, quotes taken off; false when it is another key. */
static bool field(hg_str line, const char *key, hg_str *out)
{
    hg_str name;
    if (!hg_str_cut(&line, ':', &name) || !hg_str_eq(name, hg_str_of(key))) return false;
    line = hg_str_trim(line);
    if (line.len >= 2 && (line.ptr[0] == '"' || line.ptr[0] == '\'') && line.ptr[line.len - 1] == line.ptr[0])
        line = (hg_str){line.ptr + 1, line.len - 2};
    *out = line;
    return line.len > 0;
}

/* The first bytes of a file, as many as there are. */
static bool read_head(const hg_snapshot *snap, const char *name, hg_buf *out)
{
    HG_AUTO(hg_auto_free) char *path = hg_snapshot_file_path(snap, name);
    HG_AUTO(hg_auto_close) int fd = -1;
    uint64_t size = 0;
    if (!path || hg_open_regular(path, &fd, &size, NULL) != HANGAR_OK) return false;
    size_t len = size < README_MAX ? (size_t)size : README_MAX;
    void *room = hg_buf_reserve(out, len);
    if (!room || hg_pread_all(fd, room, len, 0, NULL) != HANGAR_OK) return false;
    out->len += len;
    return true;
}

void hg_facts_readme(const hg_snapshot *snap, hg_facts *f)
{
    hg_buf head;
    hg_str rest, line, value;
    if (!hg_snapshot_file_get(snap, "README.md")) return;
    hg_buf_init(&head, README_MAX + 1);
    if (read_head(snap, "README.md", &head)) {
        rest = hg_buf_view(&head);
        hg_str_cut(&rest, '\n', &line);
        bool inside = hg_str_eq(hg_str_trim(line), HG_STR("---"));
        while (inside && rest.len) {
            hg_str_cut(&rest, '\n', &line);
            if (hg_str_eq(hg_str_trim(line), HG_STR("---"))) break;
            if (field(line, "license", &value)) hg_facts_copy(f->license, sizeof f->license, value);
            if (field(line, "pipeline_tag", &value)) hg_facts_copy(f->task, sizeof f->task, value);
        }
    }
    hg_buf_deinit(&head);
}
