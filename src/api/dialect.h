/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The dialects: what a client says becomes a question in hangar's own words (manager/ask.h), what a model says becomes the client's bytes.
 * Both ways are text to text, know no server and are tested so; answer.c and the files of routes (openai.c, ollama.c, ollama_models.c)
 * put them behind HTTP. What each route takes and refuses is docs/formats/dialects.md.
 *
 * A *shape* is how one route writes its answers. In a stream the constant parts around a piece of text are made once per
 * request; a piece, which comes as a ready JSON string, is copied between them.
 */
#ifndef HG_API_DIALECT_H
#define HG_API_DIALECT_H

#include "api/http.h"
#include "base/buf.h"

/* Limits of what a request may hold; each is named in its error. */
#define HG_TOOL_NAME_MAX    128
#define HG_TOOL_CALLS_MAX   128
#define HG_EMBED_INPUTS_MAX 2048
#define HG_ANSWER_BYTES     (64 * HG_MIB) /* one whole answer in memory */

typedef struct hg_shape hg_shape;

/* A tool call of the answer. */
typedef struct hg_said_tool {
    char *id, *name, *arguments;
} hg_said_tool;

/* The functions append to `out` what goes to the client; the first error of out sticks and is looked at afterwards. */
typedef struct hg_shape_fns {
    const char *stream_type; /* NULL = this route does not stream */
    /* Who answers is known (shape->model is set), or it has changed in mid-text: makes the constant parts. May be NULL. */
    void (*head)(hg_shape *f);
    void (*begin)(hg_shape *f, hg_buf *out); /* the stream's first bytes; may be NULL */
    void (*text)(hg_shape *f, hg_str literal, const hg_jval *logprobs, hg_buf *out);
    hangar_code (*tool)(hg_shape *f, const hg_said_tool *tool, hg_buf *out, hangar_err *err);
    void (*end)(hg_shape *f, const hg_ask_end *end, hg_buf *out);
    void (*fail)(hg_shape *f, const hangar_err *err, hg_buf *out);
    /* The answer of a request that does not stream. */
    hangar_code (*whole)(hg_shape *f, const hg_ask_end *end, hg_buf *out, hangar_err *err);
} hg_shape_fns;

struct hg_shape {
    const hg_shape_fns *fns;
    /* Of the request; set where it is read. */
    char id[20]; /* hg_req_id */
    int64_t created;
    bool usage;         /* stream_options.include_usage */
    bool logprobs;      /* asked for */
    bool base64;        /* vectors as base64 */
    bool single;        /* one vector, in the older shape */
    bool no_cut;        /* an input over the model's limit is an error */
    int64_t dimensions; /* asked for; 0 = any */
    const char *type;   /* of the whole answer; NULL = JSON */
    const char *layout; /* of a transcript: "json", "text", "srt", "vtt", "verbose_json" */
    const char *task;   /* of a transcript */
    char *echo;         /* of a response: members that repeat the request, as text */
    /* Of the answer. */
    char *model; /* who answers */
    bool fell_back;
    bool streaming;
    hg_buf lead;      /* constant part of a chunk before its text */
    size_t lead_base; /* bytes of it that all chunks have */
    hg_buf said;      /* the text so far, escaped as in a JSON string, without quotes */
    hg_buf probs;     /* the logprobs so far, items of a JSON array with commas */
    hg_said_tool *tools;
    size_t tool_count, tool_cap;
    /* Of a response (openai_response_shape.c). */
    hg_buf items;      /* finished items of its output, with commas */
    size_t item_count; /* of those */
    bool item_open;    /* a message is being written */
    int64_t sequence;  /* number of the next event; of a completion with logprobs, characters so far */
};

void hg_shape_init(hg_shape *f, const hg_shape_fns *fns, const char *id, int64_t created);
void hg_shape_deinit(hg_shape *f);
/* NO_MEMORY. */
hangar_code hg_shape_head(hg_shape *f, const hg_ask_head *head, hangar_err *err);
/* Of a whole answer: keeps a piece. LIMIT, NO_MEMORY. */
hangar_code hg_shape_keep(hg_shape *f, hg_str literal, const hg_jval *logprobs, hangar_err *err);
/* Keeps a tool call (an id is made when there is none); *out is borrowed. LIMIT, NO_MEMORY. */
hangar_code hg_shape_keep_tool(hg_shape *f, const char *id, const char *name, hg_str arguments,
                               const hg_said_tool **out, hangar_err *err);

/* ---- pieces of text that forms share (shape.c) ---- */

/* s as a JSON string with quotes. */
void hg_put_json(hg_buf *out, hg_str s);
/* Without the quotes of a literal. */
hg_str hg_literal_inner(hg_str literal);
/* The dialect's shape of an error, as text; "{}" without memory. */
void hg_put_error(hg_buf *out, hg_dialect dialect, const hangar_err *err);
/* The items of logprobs in the shape that OpenAI's chat and Ollama have, with commas between them. */
void hg_put_logprobs(hg_buf *out, const hg_jval *logprobs);
/* All logprobs that were kept, as an array; NULL when out of memory. */
hg_json *hg_shape_probs(const hg_shape *f);
/* OpenAI's usage object, or null when it is not known; an error in mid-stream (openai_chat.c). */
void hg_openai_put_usage(const hg_ask_end *end, hg_buf *out);
void hg_openai_put_fail(hg_shape *f, const hangar_err *err, hg_buf *out);
/* A vector as base64 of little-endian 32-bit floats, with quotes. */
void hg_put_base64_floats(hg_buf *out, const hg_jval *vector);
/* As JSON numbers; nine digits tell every 32-bit float from the next (openai_embeddings.c). */
void hg_put_numbers(hg_buf *out, const hg_jval *vector);
/* Of hangar_embed's document: USAGE when another number of dimensions was asked for than it has; the tokens of all its texts. */
hangar_code hg_shape_dimensions(const hg_shape *f, const hg_jval *doc, hangar_err *err);
int64_t hg_doc_tokens(const hg_jval *doc);

/* ---- reading (read.c): each writes members of the question into w ---- */

hangar_code hg_read_doc(hg_jw *w, hg_json **out, hangar_err *err); /* what w holds, as a document */
const char *hg_read_model(const hg_jval *body, hangar_err *err);   /* NULL = USAGE */
/* A number within min..max as member `as`; left out or null = nothing. */
hangar_code hg_read_number(const hg_jval *body, const char *key, double min, double max, const char *as,
                           hg_jw *w, hangar_err *err);
hangar_code hg_read_integer(const hg_jval *body, const char *key, int64_t min, int64_t max, const char *as,
                            hg_jw *w, hangar_err *err);
/* temperature, top_p, min_p, top_k, repeat_penalty, presence_penalty, frequency_penalty, seed, stop. */
hangar_code hg_read_sampling(const hg_jval *body, hg_jw *w, hangar_err *err);
/* "logprobs" (whether, kept in f) and "top_logprobs" (of how many others, told in *out_top). */
hangar_code hg_read_logprobs(const hg_jval *body, hg_jw *w, hg_shape *f, int64_t *out_top, hangar_err *err);
/* A text, or a list of texts. */
hangar_code hg_read_stop(const hg_jval *stop, hg_jw *w, hangar_err *err);
/* Refuses a member that is there and says something: not null, false, 0, "", [] or {}. */
hangar_code hg_read_nothing(const hg_jval *body, const char *key, const char *why, hangar_err *err);
/* One tool: where = "tools[3]", fn holds name, description, parameters. */
hangar_code hg_read_tool(const hg_jval *fn, const char *where, hg_jw *w, hangar_err *err);
/* tools in OpenAI's chat shape, which is Ollama's. *out_count: how many. */
hangar_code hg_read_tools(const hg_jval *tools, hg_jw *w, size_t *out_count, hangar_err *err);
/* tool_choice; nested: {"type":"function","function":{"name"}}, else {"type":"function","name"}. tools: the list, to look the name up in. */
hangar_code hg_read_tool_choice(const hg_jval *choice, const hg_jval *tools, bool nested, hg_jw *w,
                                hangar_err *err);
/* A tool call of an earlier answer; arguments as text or object. */
hangar_code hg_read_tool_call(const char *id, const hg_jval *name, const hg_jval *arguments,
                              const char *where, hg_jw *w, hangar_err *err);
/* Members of a tool's answer: the call that it is for, and that call's name where it is known. */
void hg_read_tool_answer(const char *id, const hg_jval *name, hg_jw *w);
/* A text, or a list of parts whose types are in `types` (NULL-terminated). Pictures, sound and files are USAGE, naming the part. */
hangar_code hg_read_content(const hg_jval *content, const char *where, const char *const *types, hg_buf *out,
                            hangar_err *err);
/* A JSON Schema (an object) as member json_schema. */
hangar_code hg_read_schema(const hg_jval *schema, const char *where, hg_jw *w, hangar_err *err);
/* Texts to embed, as member input; USAGE for lists of tokens. *out_count: how many. */
hangar_code hg_read_inputs(const hg_jval *input, const char *key, hg_jw *w, size_t *out_count,
                           hangar_err *err);
/* "5m", "1h30m", -1, 0, 300: seconds; negative = for ever; NAN when left out. */
hangar_code hg_read_keep_alive(const hg_jval *v, double *out, hangar_err *err);

/* ---- a request's body to a question: all but spec->model are taken over by the question; file = -1 ---- */

hangar_code hg_openai_chat_read(const hg_jval *body, hg_ask_spec *spec, hg_shape *f, hangar_err *err);
hangar_code hg_openai_completion_read(const hg_jval *body, hg_ask_spec *spec, hg_shape *f, hangar_err *err);
hangar_code hg_openai_embeddings_read(const hg_jval *body, hg_ask_spec *spec, hg_shape *f, hangar_err *err);
hangar_code hg_openai_response_read(const hg_jval *body, hg_ask_spec *spec, hg_shape *f, hangar_err *err);
/* The text fields of an upload; strings borrowed, NULL = left out. */
typedef struct hg_audio_form {
    const char *model, *language, *response_format, *temperature, *stream, *granularities;
    bool translate;
} hg_audio_form;
hangar_code hg_openai_audio_read(const hg_audio_form *form, hg_ask_spec *spec, hg_shape *f, hangar_err *err);

/* What an Ollama request without a question wants. */
typedef enum hg_ollama_want { HG_OLLAMA_ASK, HG_OLLAMA_LOAD, HG_OLLAMA_UNLOAD } hg_ollama_want;
hangar_code hg_ollama_generate_read(const hg_jval *body, hg_ask_spec *spec, hg_shape *f, hg_ollama_want *want,
                                    hangar_err *err);
hangar_code hg_ollama_chat_read(const hg_jval *body, hg_ask_spec *spec, hg_shape *f, hg_ollama_want *want,
                                hangar_err *err);
hangar_code hg_ollama_embed_read(const hg_jval *body, hg_ask_spec *spec, hg_shape *f, hangar_err *err);
hangar_code hg_ollama_embeddings_read(const hg_jval *body, hg_ask_spec *spec, hg_shape *f, hangar_err *err);
/* "model", or "name" as older clients say. */
const char *hg_ollama_model(const hg_jval *body, hangar_err *err);

extern const hg_shape_fns hg_shape_openai_chat, hg_shape_openai_completion, hg_shape_openai_embeddings,
    hg_shape_openai_response, hg_shape_openai_transcript, hg_shape_ollama_generate, hg_shape_ollama_chat,
    hg_shape_ollama_embed;

/* The chat template of a model (hangar_model_get's document), the caller's; NULL when it has none. Reads files (ollama_template.c). */
char *hg_ollama_template(const hg_jval *model);
/* The line that ends an Ollama answer to a request without a question: reason "load" or "unload". */
void hg_ollama_put_done(const hg_shape *f, bool chat, const char *reason, hg_buf *out);

/* Rows of a table of fields: of any value, needed, within a range. */
#define HG_FIELD(name, kind, help)    \
    {                                 \
        name, kind, false, 0, 0, help \
    }
#define HG_FIELD_NEEDED(name, kind, help) \
    {                                     \
        name, kind, true, 0, 0, help      \
    }
#define HG_FIELD_RANGE(name, kind, lo, hi, help) \
    {                                            \
        name, kind, false, lo, hi, help          \
    }
#define HG_FIELD_MODEL                                                                     \
    HG_FIELD("model", 's', "name of a model: of the catalogue, or ORG/NAME of the store"), \
        HG_FIELD("name", 's', "the same, as Ollama's older clients say")
#define HG_FIELD_KEEP_ALIVE     \
    HG_FIELD("keep_alive", '*', \
             "how long the model stays in memory afterwards: \"5m\", seconds, negative = for ever")

/* ---- behind HTTP (answer.c) ---- */

/* A shape that lives as long as the request; NULL: the request is answered (no memory). */
hg_shape *hg_answer_shape(hg_req *r, const hg_shape_fns *fns);
/* Asks (spec->streams: as a stream) and answers by itself, whatever happens; `code` and err: what reading the request gave. spec->doc and file are taken in any case. */
void hg_answer_ask(hg_req *r, hg_shape *f, hg_ask_spec *spec, hangar_code code, const hangar_err *err);

/* ---- work beside the loop for a request (aside.c) ---- */

/*
 * `work` runs on a thread, then `done` on the loop: there r is NULL when the client has gone meanwhile. The aside is freed after done. With
 * `cancels` a client that goes cancels the job.
 */
typedef struct hg_aside hg_aside;
struct hg_aside {
    hg_req *r;
    hg_host *host;
    hangar_job *job; /* of work; with on_event, if any */
    char *
        name; /* what was asked for: as the client named it, and what it stands for in the store; may be NULL */
    char *ref;
    char *json; /* what work found */
    hangar_code code;
    hangar_err err;
    bool cancels;
    void (*work)(hg_aside *a);
    void (*done)(hg_aside *a);
    void *more; /* the work's own; freed with free() after `leave` (may be NULL) */
    void (*leave)(hg_aside *a);
};
/* NULL: the request is answered (no memory). name and ref are copied. */
hg_aside *hg_aside_new(hg_req *r, const char *name, const char *ref, hangar_event_fn *on_event);
/* Begins; the aside frees itself in any case. It is the worker's from here on, and must not be touched before done. */
void hg_aside_start(hg_aside *a);
/* The same with other functions than the aside's own: `ends` frees it, or sees to it that it is freed. */
void hg_aside_run(hg_aside *a, hg_loop_fn *does, hg_loop_fn *ends);
/* For who starts it later or never. */
void hg_aside_free(hg_aside *a);
/* In done: answers with the error when there is one, or when nobody is there: true = nothing is left to do. */
bool hg_aside_over(hg_aside *a);

/* What w holds as the whole answer. */
void hg_answer_written(hg_req *r, hg_jw *w);

/* A model that clients are told of: of the catalogue, of the store, or of both. */
typedef struct hg_told_model {
    const char *name;
    const hg_entry *entry; /* NULL = of the store alone */
    const hg_jval *stored; /* its row of hangar_model_list; NULL = not there, or in the cloud */
} hg_told_model;
/* All of them: what the catalogue declares, what it ships and has a key for, then the rest of the store. list: hangar_model_list's document. */
void hg_models_each(const hg_host *host, const hg_jval *list,
                    void (*fn)(void *ctx, const hg_told_model *model), void *ctx);
/* An aside's work: hangar_model_list. */
void hg_models_list(hg_aside *a);

#endif
