/* SPDX-License-Identifier: Apache-2.0 */
#include "provider/call.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

#define LINGER_SECONDS 2   /* for the connection's sake, when the answer is whole */
#define KEY_RUN        8   /* characters in common with the key that are too many */
#define WORDS_MAX      400 /* bytes of what a service says in an error */

/* ---- the key stays out of what is said ---- */

void hg_redact(char *text, const char *key)
{
    size_t len = strlen(text), keylen = key ? strlen(key) : 0;
    size_t run = keylen < KEY_RUN ? keylen : KEY_RUN;
    if (run == 0) return;
    for (size_t i = 0; i + run <= len; i++) {
        size_t most = 0;
        for (size_t k = 0; k + run <= keylen; k++) {
            size_t n = 0;
            while (i + n < len && k + n < keylen && text[i + n] == key[k + n]) n++;
            if (n > most) most = n;
        }
        if (most < run) continue;
        memset(text + i, '*', most);
        i += most - 1;
    }
}

/* ---- states ---- */

/* The only place where a call's state changes. */
static void move(hg_cloud_call *call, hg_call_state state)
{
    static const char *const names[] = {"asking", "answering", "whole", "ended"};
    if (call->state == state) return;
    hg_log(HG_LOG_DEBUG, "provider", "%s (%s): %s, was %s", call->target->name, call->target->provider,
           names[state], names[call->state]);
    call->state = state;
}

static void unlink_call(hg_cloud_call *call)
{
    hg_cloud *cloud = call->cloud;
    if (call->running) curl_multi_remove_handle(cloud->multi, call->easy);
    call->running = false;
    hg_timer_free(call->timer);
    call->timer = NULL;
    for (hg_cloud_call **at = &cloud->ready; call->queued && *at; at = &(*at)->after)
        if (*at == call) {
            *at = call->after;
            break;
        }
    call->queued = false;
    if (call->prev) call->prev->next = call->next;
    else if (cloud->calls == call) cloud->calls = call->next;
    if (call->next) call->next->prev = call->prev;
    call->prev = call->next = NULL;
}

void hg_call_free(hg_cloud_call *call)
{
    if (!call) return;
    unlink_call(call);
    if (call->easy) curl_easy_cleanup(call->easy);
    hg_web_wipe(call->headers);
    if (call->key) explicit_bzero(call->key, strlen(call->key));
    free(call->key);
    free(call->url);
    free(call->body);
    hg_buf_deinit(&call->inbox);
    hg_buf_deinit(&call->refusal);
    hg_sse_deinit(&call->sse);
    hg_cloud_answer_deinit(&call->answer);
    free(call);
}

void hg_cloud_cancel(hg_cloud_call *call)
{
    if (!call || call->dead) return;
    call->answer.deaf = true;
    if (!call->busy) {
        hg_call_free(call);
        return;
    }
    call->dead = true;
    unlink_call(call);
}

static hangar_code code_of(hg_cloud_fault fault)
{
    switch (fault) {
    case HG_CLOUD_NONE: return HANGAR_OK;
    case HG_CLOUD_CONFIG: return HANGAR_E_INVALID;
    case HG_CLOUD_TIMEOUT: return HANGAR_E_TIMEOUT;
    case HG_CLOUD_RATE: return HANGAR_E_RATE_LIMITED;
    case HG_CLOUD_KEY: return HANGAR_E_DENIED;
    case HG_CLOUD_TOO_LONG: return HANGAR_E_TOO_LONG;
    case HG_CLOUD_CLIENT: return HANGAR_E_USAGE;
    case HG_CLOUD_CANCELLED: return HANGAR_E_CANCELLED;
    case HG_CLOUD_REFUSED:
    case HG_CLOUD_SERVER:
    case HG_CLOUD_BROKEN: break;
    }
    return HANGAR_E_NETWORK;
}

/* The error that goes out: without the key, with the names before it. */
static void put_words(hg_cloud_call *call, const hangar_err *why, hangar_err *out)
{
    *out = *why;
    hg_redact(out->msg, call->key);
    hg_wrap(out, out->code, "%s (%s)", call->target->name, call->target->provider);
}

void hg_call_end(hg_cloud_call *call, hg_cloud_fault fault, const hangar_err *why)
{
    hg_cloud_answer *a = &call->answer;
    bool tools = a->tool_count && hg_streq(a->finish, "stop");
    hg_cloud_end end = {.finish = tools ? "tool_calls" : a->finish,
                        .prompt_tokens = a->prompt_tokens,
                        .generated_tokens = a->generated_tokens};
    double wait = call->head.waits ? call->head.retry_after : a->retry_after;
    hangar_err err = {0};
    unlink_call(call);
    move(call, HG_CALL_ENDED);
    if (fault != HG_CLOUD_NONE) {
        put_words(call, why, &err);
        hg_log(HG_LOG_INFO, "provider", "%s", err.msg);
    }
    call->busy = true;
    if (!a->deaf)
        call->fns.end(call->ctx, fault, fault == HG_CLOUD_NONE ? -1 : wait,
                      fault == HG_CLOUD_NONE ? &end : NULL, fault == HG_CLOUD_NONE ? NULL : &err);
    hg_call_free(call);
}

static void end_with(hg_cloud_call *call, hg_cloud_fault fault, const char *words)
{
    hangar_err why = {0};
    hg_fail(&why, code_of(fault), "%s", words);
    hg_call_end(call, fault, &why);
}

/* ---- what libcurl calls ---- */

static bool is_success(const hg_cloud_call *call)
{
    return call->head.status >= 200 && call->head.status < 300;
}

static bool is_stream(const hg_cloud_call *call)
{
    return is_success(call) && hg_streq(call->head.type, "text/event-stream");
}

size_t hg_call_on_header(char *bytes, size_t size, size_t count, void *ctx)
{
    hg_cloud_call *call = ctx;
    size_t len = size * count;
    hg_web_line(&call->head, (hg_str){bytes, len});
    if (!call->head.over) return len;
    call->fault = HG_CLOUD_BROKEN;
    hg_fail(&call->why, HANGAR_E_LIMIT, "an answer with more than %u bytes of headers", HG_WEB_HEADERS_MAX);
    return 0;
}

size_t hg_call_on_body(char *bytes, size_t size, size_t count, void *ctx)
{
    hg_cloud_call *call = ctx;
    size_t len = size * count;
    call->last = hg_now();
    if (!is_stream(call)) {
        size_t room = HG_CLOUD_ERROR_MAX - call->refusal.len;
        hg_buf_add(&call->refusal, bytes, len < room ? len : room);
        return call->refusal.state == HANGAR_OK && len <= room ? len : 0;
    }
    hg_buf_add(&call->inbox, bytes, len);
    if (hg_buf_check(&call->inbox, &call->why) != HANGAR_OK) {
        call->fault = HG_CLOUD_BROKEN;
        return 0;
    }
    if (!call->queued) {
        call->queued = true;
        call->after = call->cloud->ready;
        call->cloud->ready = call;
    }
    return len;
}

/* ---- reading the stream ---- */

bool hg_call_on_event(void *ctx, const char *event, hg_str data)
{
    hg_cloud_call *call = ctx;
    hg_cloud_answer *a = &call->answer;
    const hg_json_limits limits = {.bytes = HG_SSE_EVENT_MAX, .depth = 128};
    hg_json *doc = NULL;
    hangar_err err = {0};
    if (hg_str_eq(hg_str_trim(data), HG_STR("[DONE]"))) {
        a->done = true;
        return false;
    }
    if (hg_json_parse(data, &limits, &doc, &err) == HANGAR_OK) {
        call->provider->event(a, event, hg_json_root(doc));
    } else {
        hg_wrap(&err, err.code, "an event of the stream");
        hg_cloud_answer_error(a, HG_CLOUD_BROKEN, err.msg);
    }
    hg_json_free(doc);
    return !a->deaf && !a->done && a->fault == HG_CLOUD_NONE;
}

/* The answer's progress as the call's state; each state has its limit of time. An answer that says how it finished lacks at most its counts. */
static void follow(hg_cloud_call *call)
{
    const hg_cloud_answer *a = &call->answer;
    bool whole = a->done || a->finish[0];
    if (whole && call->state != HG_CALL_WHOLE) {
        move(call, HG_CALL_WHOLE);
        hg_timer_set(call->timer, LINGER_SECONDS, 0);
    } else if (!whole && a->alive && call->state == HG_CALL_ASKING) {
        move(call, HG_CALL_ANSWERING);
        hg_timer_set(call->timer, call->stall_timeout, 0);
    }
}

static void feed(hg_cloud_call *call)
{
    hangar_err err = {0};
    call->busy = true;
    hangar_code code = hg_sse_feed(&call->sse, hg_buf_view(&call->inbox), &err);
    call->busy = false;
    if (call->dead) {
        hg_call_free(call);
        return;
    }
    hg_buf_reset(&call->inbox);
    if (code != HANGAR_OK) hg_call_end(call, HG_CLOUD_BROKEN, &err);
    else if (call->answer.fault != HG_CLOUD_NONE) hg_call_end(call, call->answer.fault, &call->answer.err);
    else follow(call);
}

/* ---- the end of a transfer ---- */

static hg_cloud_fault fault_of_status(unsigned status)
{
    switch (status) {
    case 401:
    case 402:
    case 403: return HG_CLOUD_KEY;
    case 404: return HG_CLOUD_CONFIG;
    case 408: return HG_CLOUD_TIMEOUT;
    case 429: return HG_CLOUD_RATE;
    default: break;
    }
    if (status >= 500) return HG_CLOUD_SERVER;
    return status >= 400 ? HG_CLOUD_CLIENT : HG_CLOUD_BROKEN;
}

/* An answer that is no stream: what its status means and its body says. */
static void end_refused(hg_cloud_call *call)
{
    hg_json *doc = NULL;
    hangar_err why = {0};
    unsigned status = call->head.status;
    hg_cloud_fault fault = is_success(call) ? HG_CLOUD_BROKEN : fault_of_status(status);
    (void)hg_json_parse(hg_buf_view(&call->refusal), NULL, &doc, NULL);
    const char *words = hg_cloud_answer_words(hg_json_root(doc));
    if (call->provider->fault)
        call->provider->fault(hg_json_root(doc), status, &fault, &call->answer.retry_after);
    if (is_success(call))
        hg_fail(&why, code_of(fault), "answered with %s instead of a stream of events%s%.*s",
                call->head.type[0] ? call->head.type : "something without a type", words ? ": " : "",
                words ? WORDS_MAX : 0, words ? words : "");
    else if (status >= 300 && status < 400)
        hg_fail(&why, code_of(fault), "a redirect (%u), which is not followed", status);
    else
        hg_fail(&why, code_of(fault), "%u%s%.*s", status, words ? ": " : "", words ? WORDS_MAX : 0,
                words ? words : "");
    hg_json_free(doc);
    hg_call_end(call, fault, &why);
}

/* Why there was no answer. */
static hg_cloud_fault fault_of_curl(CURLcode rc)
{
    switch (rc) {
    case CURLE_OPERATION_TIMEDOUT: return HG_CLOUD_TIMEOUT;
    case CURLE_PARTIAL_FILE:
    case CURLE_GOT_NOTHING:
    case CURLE_RECV_ERROR:
    case CURLE_WEIRD_SERVER_REPLY:
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_WRITE_ERROR:
    case CURLE_BAD_CONTENT_ENCODING: return HG_CLOUD_BROKEN;
    default: return HG_CLOUD_REFUSED;
    }
}

static void end_transfer(hg_cloud_call *call, CURLcode rc)
{
    const hg_cloud_answer *a = &call->answer;
    if (call->fault != HG_CLOUD_NONE) hg_call_end(call, call->fault, &call->why);
    else if (call->head.status != 0 && !is_stream(call)) end_refused(call);
    else if (a->finish[0]) hg_call_end(call, HG_CLOUD_NONE, NULL);
    else if (rc != CURLE_OK)
        end_with(call, call->head.status ? HG_CLOUD_BROKEN : fault_of_curl(rc),
                 call->detail[0] ? call->detail : curl_easy_strerror(rc));
    else end_with(call, HG_CLOUD_BROKEN, "the stream ended before the answer did");
}

void hg_call_drain(hg_cloud *cloud)
{
    for (;;) {
        while (cloud->ready) {
            hg_cloud_call *call = cloud->ready;
            cloud->ready = call->after;
            call->queued = false;
            feed(call);
        }
        int left = 0;
        CURLMsg *msg = curl_multi_info_read(cloud->multi, &left);
        if (!msg) break;
        if (msg->msg != CURLMSG_DONE) continue;
        CURLcode rc = msg->data.result;
        char *call = NULL;
        curl_easy_getinfo(msg->easy_handle, CURLINFO_PRIVATE, &call);
        end_transfer((hg_cloud_call *)(void *)call, rc);
    }
}

/* ---- time ---- */

void hg_call_watch_time(hg_cloud_call *call)
{
    call->began = call->last = hg_now();
    hg_timer_set(call->timer, call->fault == HG_CLOUD_NONE ? call->first_timeout : 0, 0);
}

void hg_call_on_timer(void *ctx)
{
    hg_cloud_call *call = ctx;
    bool asking = call->state == HG_CALL_ASKING;
    char words[80];
    if (call->fault != HG_CLOUD_NONE) {
        hg_call_end(call, call->fault, &call->why);
        return;
    }
    if (call->state == HG_CALL_WHOLE) {
        if (call->answer.finish[0]) hg_call_end(call, HG_CLOUD_NONE, NULL);
        else end_with(call, HG_CLOUD_BROKEN, "the stream ended before the answer did");
        return;
    }
    double limit = asking ? call->first_timeout : call->stall_timeout;
    double left = (asking ? call->began : call->last) + limit - hg_now();
    if (left > 0) {
        hg_timer_set(call->timer, left, 0);
        return;
    }
    snprintf(words, sizeof words, asking ? "no answer within %g s" : "nothing more came for %g s", limit);
    end_with(call, HG_CLOUD_TIMEOUT, words);
}
