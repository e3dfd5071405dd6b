/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Audio in a stream: libav reads the descriptor through pread (the cage has no files), decodes the best audio
 * stream, and libswresample makes 16 kHz mono floats of it. Memory is bounded by one packet and one frame. A
 * damaged packet is passed over, as players do; a file without a single sound sample, or with DAMAGED_MAX
 * damaged packets in a row, is refused. Nothing else is ever opened: no playlists, no protocols.
 */
#include "runner.h"

#include "base/mem.h"

#include <errno.h>
#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libavutil/opt.h>
#include <libswresample/swresample.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BUFFER      65536
#define DAMAGED_MAX 1000
#define STREAMS_MAX 64
/* Packets that may show to be of another codec than the file says: each is held against all formats, and of a WAV file of 3 s libav would take
 * all (4 ms). */
#define PROBE_PACKETS 4
#define RATE_MIN      100 /* samples per second of a file: one frame is at most 160 times as long at 16 kHz */
#define RATE_MAX      1536000

struct hg_audio {
    int fd;
    int64_t size, at; /* at: where libav reads next */
    AVIOContext *io;
    AVFormatContext *format;
    AVCodecContext *codec;
    SwrContext *swr;
    AVPacket *packet;
    AVFrame *frame;
    int stream;
    int rate, sample_format; /* what swr was made for */
    AVChannelLayout layout;
    float *ready; /* 16 kHz samples that are not given out yet: [ready_at, ready_len) */
    size_t ready_at, ready_len, ready_cap;
    bool flushed;     /* the decoder knows that there is no more */
    bool ended;       /* the decoder gave all it had, and the resampler too */
    unsigned damaged; /* packets in a row */
    uint64_t samples; /* given out so far */
};

/* A libav error as ours. */
static hangar_code av_fail(hangar_err *err, int rc, const char *what)
{
    if (rc == AVERROR(ENOMEM)) return hg_fail_memory(err);
    char words[AV_ERROR_MAX_STRING_SIZE] = "";
    av_strerror(rc, words, sizeof words);
    return hg_fail(err, HANGAR_E_INVALID, "%s: %s", what, words);
}

static int read_bytes(void *ctx, uint8_t *to, int len)
{
    hg_audio *a = ctx;
    ssize_t n;
    do n = pread(a->fd, to, (size_t)len, a->at);
    while (n < 0 && errno == EINTR);
    if (n < 0) return AVERROR(errno);
    if (n == 0) return AVERROR_EOF;
    a->at += n;
    return (int)n;
}

static int64_t seek_bytes(void *ctx, int64_t offset, int whence)
{
    hg_audio *a = ctx;
    if (whence & AVSEEK_SIZE) return a->size;
    whence &= ~AVSEEK_FORCE;
    int64_t base = whence == SEEK_SET ? 0 : whence == SEEK_CUR ? a->at : whence == SEEK_END ? a->size : -1;
    int64_t to;
    if (base < 0 || __builtin_add_overflow(base, offset, &to) || to < 0) return AVERROR(EINVAL);
    a->at = to;
    return to;
}

/* A format that wants another file or address gets none. */
static int open_nothing(AVFormatContext *s, AVIOContext **io, const char *url, int flags,
                        AVDictionary **options)
{
    (void)s;
    (void)io;
    (void)url;
    (void)flags;
    (void)options;
    return AVERROR(EPERM);
}

static hangar_code open_format(hg_audio *a, hangar_err *err)
{
    uint8_t *buffer = av_malloc(BUFFER);
    if (!buffer) return hg_fail_memory(err);
    a->io = avio_alloc_context(buffer, BUFFER, 0, a, read_bytes, NULL, seek_bytes);
    if (!a->io) {
        av_free(buffer);
        return hg_fail_memory(err);
    }
    a->format = avformat_alloc_context();
    if (!a->format) return hg_fail_memory(err);
    a->format->pb = a->io;
    a->format->flags |= AVFMT_FLAG_CUSTOM_IO;
    a->format->io_open = open_nothing;
    a->format->max_streams = STREAMS_MAX;
    a->format->max_probe_packets = PROBE_PACKETS;
    int rc = avformat_open_input(&a->format, NULL, NULL, NULL); /* frees the context when it fails */
    if (rc >= 0) rc = avformat_find_stream_info(a->format, NULL);
    return rc < 0 ? av_fail(err, rc, "not a readable audio file") : HANGAR_OK;
}

static hangar_code open_codec(hg_audio *a, hangar_err *err)
{
    const AVCodec *codec = NULL;
    a->stream = av_find_best_stream(a->format, AVMEDIA_TYPE_AUDIO, -1, -1, &codec, 0);
    if (a->stream < 0 || !codec)
        return hg_fail(err, HANGAR_E_INVALID, "the file holds no sound that can be decoded");
    for (unsigned i = 0; i < a->format->nb_streams; i++)
        if ((int)i != a->stream) a->format->streams[i]->discard = AVDISCARD_ALL;
    a->codec = avcodec_alloc_context3(codec);
    a->packet = av_packet_alloc();
    a->frame = av_frame_alloc();
    if (!a->codec || !a->packet || !a->frame) return hg_fail_memory(err);
    AVStream *stream = a->format->streams[a->stream];
    int rc = avcodec_parameters_to_context(a->codec, stream->codecpar);
    a->codec->pkt_timebase = stream->time_base;
    a->codec->thread_count = 1;
    if (rc >= 0) rc = avcodec_open2(a->codec, codec, NULL);
    return rc < 0 ? av_fail(err, rc, "the sound cannot be decoded") : HANGAR_OK;
}

hangar_code hg_audio_open(int fd, hg_audio **out, hangar_err *err)
{
    *out = NULL;
    struct stat st;
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
        return hg_fail(err, HANGAR_E_INVALID, "not a regular file");
    av_log_set_level(AV_LOG_QUIET);
    hg_audio *a = hg_calloc(1, sizeof *a);
    if (!a) return hg_fail_memory(err);
    a->fd = fd;
    a->size = st.st_size;
    hangar_code code = open_format(a, err);
    if (code == HANGAR_OK) code = open_codec(a, err);
    if (code != HANGAR_OK) {
        hg_audio_close(a);
        return code;
    }
    *out = a;
    return HANGAR_OK;
}

void hg_audio_close(hg_audio *a)
{
    if (!a) return;
    swr_free(&a->swr);
    free(a->ready);
    av_channel_layout_uninit(&a->layout);
    av_frame_free(&a->frame);
    av_packet_free(&a->packet);
    avcodec_free_context(&a->codec);
    avformat_close_input(&a->format);
    if (a->io) av_freep(&a->io->buffer);
    avio_context_free(&a->io);
    free(a);
}

double hg_audio_duration(const hg_audio *a)
{
    int64_t d = a->format->duration;
    return d > 0 && d < (int64_t)HG_ONNX_AUDIO_MAX * AV_TIME_BASE * 2 ? (double)d / AV_TIME_BASE : 0;
}

/*
 * Puts `count` samples of the file (NULL: nothing more, give what is left inside) through the resampler, into
 * a->ready.
 */
static hangar_code resample(hg_audio *a, const uint8_t **in, int count, hangar_err *err)
{
    if (!a->swr) return HANGAR_OK;
    if (a->ready_at == a->ready_len) a->ready_at = a->ready_len = 0;
    int room = swr_get_out_samples(a->swr, count);
    if (room < 0) return av_fail(err, room, "the sound cannot be resampled");
    if (room == 0) return HANGAR_OK;
    if (!hg_grow((void **)&a->ready, &a->ready_cap, a->ready_len + (size_t)room, sizeof *a->ready))
        return hg_fail_memory(err);
    uint8_t *out[1] = {(uint8_t *)(a->ready + a->ready_len)};
    int n = swr_convert(a->swr, out, room, in, count);
    if (n < 0) return av_fail(err, n, "the sound cannot be resampled");
    a->ready_len += (size_t)n;
    return HANGAR_OK;
}

/* A resampler for the frame at hand; a file may change its shape in the midst. */
static hangar_code need_swr(hg_audio *a, hangar_err *err)
{
    const AVFrame *f = a->frame;
    if (a->swr && f->sample_rate == a->rate && f->format == a->sample_format &&
        av_channel_layout_compare(&f->ch_layout, &a->layout) == 0)
        return HANGAR_OK;
    hangar_code code = resample(a, NULL, 0, err);
    if (code != HANGAR_OK) return code;
    if (f->sample_rate < RATE_MIN || f->sample_rate > RATE_MAX || f->ch_layout.nb_channels < 1)
        return hg_fail(err, HANGAR_E_INVALID, "sound of %d samples per second in %d channels", f->sample_rate,
                       f->ch_layout.nb_channels);
    swr_free(&a->swr);
    a->rate = f->sample_rate;
    a->sample_format = f->format;
    int rc = av_channel_layout_copy(&a->layout, &f->ch_layout);
    AVChannelLayout from = {0}, mono = AV_CHANNEL_LAYOUT_MONO;
    if (rc >= 0 && f->ch_layout.order == AV_CHANNEL_ORDER_UNSPEC)
        av_channel_layout_default(&from, f->ch_layout.nb_channels);
    else if (rc >= 0) rc = av_channel_layout_copy(&from, &f->ch_layout);
    if (rc >= 0)
        rc = swr_alloc_set_opts2(&a->swr, &mono, AV_SAMPLE_FMT_FLT, HG_MEL_RATE, &from,
                                 (enum AVSampleFormat)f->format, f->sample_rate, 0, NULL);
    if (rc >= 0) rc = swr_init(a->swr);
    av_channel_layout_uninit(&from);
    return rc < 0 ? av_fail(err, rc, "the sound cannot be resampled") : HANGAR_OK;
}

/* The next packet of our stream to the decoder, or the news that there is none. */
static hangar_code feed(hg_audio *a, hangar_err *err)
{
    int rc = av_read_frame(a->format, a->packet);
    if (rc == AVERROR(ENOMEM)) return hg_fail_memory(err);
    if (rc < 0) { /* the end, or what cannot be read on: what is there counts */
        a->flushed = true;
        rc = avcodec_send_packet(a->codec, NULL);
        return HANGAR_OK;
    }
    bool ours = a->packet->stream_index == a->stream;
    rc = ours ? avcodec_send_packet(a->codec, a->packet) : 0;
    av_packet_unref(a->packet);
    if (rc == AVERROR(ENOMEM)) return hg_fail_memory(err);
    if (rc < 0 && ++a->damaged >= DAMAGED_MAX)
        return hg_fail(err, HANGAR_E_INVALID, "the sound is damaged: %u packets in a row cannot be decoded",
                       a->damaged);
    return HANGAR_OK;
}

/* The decoder's next frame into a->frame; false in *got when there is none any more. */
static hangar_code next_frame(hg_audio *a, bool *got, hangar_err *err)
{
    for (;;) {
        int rc = avcodec_receive_frame(a->codec, a->frame);
        *got = rc >= 0;
        if (rc >= 0 || rc == AVERROR_EOF || (a->flushed && rc != AVERROR(ENOMEM))) return HANGAR_OK;
        if (rc == AVERROR(ENOMEM)) return hg_fail_memory(err);
        if (rc != AVERROR(EAGAIN) && ++a->damaged >= DAMAGED_MAX)
            return hg_fail(err, HANGAR_E_INVALID,
                           "the sound is damaged: %u frames in a row cannot be decoded", a->damaged);
        hangar_code code = feed(a, err);
        if (code != HANGAR_OK) return code;
    }
}

/* One more frame of sound into a->ready, or the end. */
static hangar_code advance(hg_audio *a, hangar_err *err)
{
    bool got = false;
    hangar_code code = next_frame(a, &got, err);
    if (code != HANGAR_OK) return code;
    if (!got) {
        a->ended = true;
        return resample(a, NULL, 0, err);
    }
    a->damaged = 0;
    code = need_swr(a, err);
    if (code == HANGAR_OK)
        code = resample(a, (const uint8_t **)(void *)a->frame->extended_data, a->frame->nb_samples, err);
    av_frame_unref(a->frame);
    return code;
}

hangar_code hg_audio_read(hg_audio *a, float *to, size_t want, size_t *out_got, hangar_err *err)
{
    size_t got = 0;
    while (got < want) {
        size_t left = a->ready_len - a->ready_at, n = left < want - got ? left : want - got;
        if (n > 0) memcpy(to + got, a->ready + a->ready_at, n * sizeof *to);
        a->ready_at += n;
        got += n;
        if (got == want || (n == 0 && a->ended)) break;
        hangar_code code = n == 0 ? advance(a, err) : HANGAR_OK;
        if (code != HANGAR_OK) return code;
    }
    a->samples += got;
    if (a->samples > (uint64_t)HG_ONNX_AUDIO_MAX * HG_MEL_RATE)
        return hg_fail(err, HANGAR_E_LIMIT, "the sound is longer than %d hours", HG_ONNX_AUDIO_MAX / 3600);
    *out_got = got;
    return HANGAR_OK;
}
