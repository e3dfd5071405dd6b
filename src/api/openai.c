/* SPDX-License-Identifier: Apache-2.0 */
/* OpenAI's routes that ask a model. What they read and write: openai_*.c, openai_response_shape.c; the list of models: openai_models.c. */
#include "api/dialect.h"
#include "format/generate.h"

typedef hangar_code read_fn(const hg_jval *body, hg_ask_spec *spec, hg_shape *f, hangar_err *err);

static void ask(hg_req *r, read_fn *read, const hg_shape_fns *fns)
{
    hangar_err err = {0};
    hg_ask_spec spec = {.file = -1};
    hg_shape *f = hg_answer_shape(r, fns);
    if (!f) return;
    hangar_code code = read(hg_req_json(r), &spec, f, &err);
    hg_answer_ask(r, f, &spec, code, &err);
}

static void chat(hg_req *r)
{
    ask(r, hg_openai_chat_read, &hg_shape_openai_chat);
}

static void completions(hg_req *r)
{
    ask(r, hg_openai_completion_read, &hg_shape_openai_completion);
}

static void embeddings(hg_req *r)
{
    ask(r, hg_openai_embeddings_read, &hg_shape_openai_embeddings);
}

static void responses(hg_req *r)
{
    ask(r, hg_openai_response_read, &hg_shape_openai_response);
}

/* No response is kept, whatever `store` said. */
static void no_response(hg_req *r)
{
    hangar_err err = {0};
    hg_fail(&err, HANGAR_E_NOT_FOUND, "no response %s: responses are not kept here", hg_req_part(r, 0));
    hg_reply_error(r, &err, -1);
}

static void audio(hg_req *r, bool translate)
{
    hangar_err err = {0};
    hg_ask_spec spec = {.file = -1};
    const char *granularities = hg_req_form(r, "timestamp_granularities[]");
    const hg_audio_form form = {
        .model = hg_req_form(r, "model"),
        .language = translate ? NULL : hg_req_form(r, "language"),
        .response_format = hg_req_form(r, "response_format"),
        .temperature = hg_req_form(r, "temperature"),
        .stream = hg_req_form(r, "stream"),
        .granularities = granularities ? granularities : hg_req_form(r, "timestamp_granularities"),
        .translate = translate,
    };
    hg_shape *f = hg_answer_shape(r, &hg_shape_openai_transcript);
    if (!f) return;
    hangar_code code = hg_openai_audio_read(&form, &spec, f, &err);
    if (code == HANGAR_OK) {
        spec.file = hg_req_take_file(r, NULL);
        if (spec.file < 0) code = hg_fail(&err, HANGAR_E_USAGE, "\"file\" must be an uploaded sound file");
    }
    hg_answer_ask(r, f, &spec, code, &err);
}

static void transcriptions(hg_req *r)
{
    audio(r, false);
}

static void translations(hg_req *r)
{
    audio(r, true);
}

/* ---- the tables ---- */

#define MODEL_FIELD \
    HG_FIELD_NEEDED("model", 's', "name of a model: of the catalogue, or ORG/NAME of the store")
#define STREAM_FIELD HG_FIELD("stream", 'b', "send the answer in events while it is made")
#define MAX_FIELD(n) HG_FIELD_RANGE(n, 'i', 1, HG_GENERATE_CONTEXT_MAX, "most tokens of the answer")
#define USAGE_FIELD  HG_FIELD("stream_options", 'o', "include_usage: a last chunk with the usage")
#define N_FIELD(n)   HG_FIELD_RANGE(n, 'i', 1, 1, "1 alone")
#define PENALTY_FIELD(n, help) \
    HG_FIELD_RANGE(n, 'n', -HG_GENERATE_PRESENCE_MAX, HG_GENERATE_PRESENCE_MAX, help)
#define SAMPLING_FIELDS                                                                                     \
    HG_FIELD_RANGE("temperature", 'n', 0, HG_GENERATE_TEMPERATURE_MAX, "0 = always the likeliest token"),   \
        HG_FIELD_RANGE("top_p", 'n', 0, 1, "share of probability that is drawn from"),                      \
        HG_FIELD_RANGE("top_k", 'i', 0, HG_GENERATE_TOP_K_MAX, "how many tokens are drawn from; 0 = all"),  \
        HG_FIELD_RANGE("min_p", 'n', 0, 1, "least probability beside the likeliest"),                       \
        HG_FIELD_RANGE("repeat_penalty", 'n', HG_GENERATE_PENALTY_MIN, HG_GENERATE_PENALTY_MAX, "1 = off"), \
        PENALTY_FIELD("presence_penalty", "against tokens that were said"),                                 \
        PENALTY_FIELD("frequency_penalty", "against them, for each time"),                                  \
        HG_FIELD("seed", 'i', "the same seed gives the same answer; negative = random"),                    \
        HG_FIELD("stop", '*', "a text, or a list of texts, that ends the answer")

static const hg_field chat_fields[] = {
    MODEL_FIELD,
    HG_FIELD_NEEDED("messages", 'a', "the conversation: role and content, text alone"),
    SAMPLING_FIELDS,
    MAX_FIELD("max_tokens"),
    MAX_FIELD("max_completion_tokens"),
    STREAM_FIELD,
    USAGE_FIELD,
    N_FIELD("n"),
    HG_FIELD("logprobs", 'b', "tell how likely each token was"),
    HG_FIELD_RANGE("top_logprobs", 'i', 0, HG_GENERATE_LOGPROBS_MAX, "and how many others"),
    HG_FIELD("tools", 'a', "functions that the model may call"),
    HG_FIELD("tool_choice", '*', "\"none\", \"auto\", \"required\" or one function"),
    HG_FIELD("parallel_tool_calls", 'b', "passed over"),
    HG_FIELD("response_format", 'o', "type: text, json_object, json_schema"),
    HG_FIELD_KEEP_ALIVE,
    {0}};

static const hg_field completion_fields[] = {
    MODEL_FIELD,
    HG_FIELD_NEEDED("prompt", '*', "a text, or a list of one"),
    SAMPLING_FIELDS,
    HG_FIELD_RANGE("max_tokens", 'i', 1, HG_GENERATE_CONTEXT_MAX,
                   "most tokens of the answer; 16 when left out"),
    STREAM_FIELD,
    USAGE_FIELD,
    HG_FIELD_RANGE("logprobs", 'i', 0, HG_GENERATE_LOGPROBS_MAX,
                   "tell how likely each token was, and so many others"),
    N_FIELD("n"),
    N_FIELD("best_of"),
    HG_FIELD("echo", 'b', "false alone"),
    HG_FIELD_KEEP_ALIVE,
    {0}};

static const hg_field embedding_fields[] = {MODEL_FIELD,
                                            HG_FIELD_NEEDED("input", '*', "a text, or a list of texts"),
                                            HG_FIELD("encoding_format", 's', "float or base64"),
                                            HG_FIELD("dimensions", 'i', "the model's own number alone"),
                                            HG_FIELD_KEEP_ALIVE,
                                            {0}};

static const hg_field response_fields[] = {
    MODEL_FIELD,
    HG_FIELD_NEEDED("input", '*', "a text, or a list of messages, function calls and their outputs"),
    HG_FIELD("instructions", 's', "a message of the system before all others"),
    SAMPLING_FIELDS,
    MAX_FIELD("max_output_tokens"),
    STREAM_FIELD,
    HG_FIELD("tools", 'a', "functions that the model may call"),
    HG_FIELD("tool_choice", '*', "\"none\", \"auto\", \"required\" or one function"),
    HG_FIELD("parallel_tool_calls", 'b', "passed over"),
    HG_FIELD("text", 'o', "format: text, json_object, json_schema"),
    HG_FIELD("metadata", 'o', "repeated in the response"),
    HG_FIELD("store", 'b', "passed over: nothing is kept"),
    HG_FIELD_KEEP_ALIVE,
    {0}};

#define ASKS(at, table, how, what, call)                                                     \
    {                                                                                        \
        .method = "POST", .path = at, .dialect = HG_DIALECT_OPENAI, .scope = HG_SCOPE_INFER, \
        .body = HG_BODY_JSON, .fields = table, .streams = how, .summary = what, .fn = call   \
    }
#define HEARS(at, how, what, call)                                                           \
    {                                                                                        \
        .method = "POST", .path = at, .dialect = HG_DIALECT_OPENAI, .scope = HG_SCOPE_INFER, \
        .body = HG_BODY_FORM, .streams = how, .summary = what, .fn = call                    \
    }
#define KEEPS_NONE(how)                                                                                  \
    {                                                                                                    \
        .method = how, .path = "/v1/responses/:", .dialect = HG_DIALECT_OPENAI, .scope = HG_SCOPE_INFER, \
        .summary = "always 404: responses are not kept", .fn = no_response                               \
    }

const hg_endpoint hg_endpoints_openai[] = {
    ASKS("/v1/chat/completions", chat_fields, "text/event-stream", "answer a conversation", chat),
    ASKS("/v1/completions", completion_fields, "text/event-stream", "go on with a text", completions),
    ASKS("/v1/embeddings", embedding_fields, NULL, "turn texts into vectors", embeddings),
    ASKS("/v1/responses", response_fields, "text/event-stream", "answer an input", responses),
    KEEPS_NONE("GET"),
    KEEPS_NONE("DELETE"),
    HEARS("/v1/audio/transcriptions", "text/event-stream", "turn speech into text", transcriptions),
    HEARS("/v1/audio/translations", NULL, "turn speech into English text", translations),
    {0}};
