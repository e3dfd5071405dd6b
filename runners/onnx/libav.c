/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The functions of libav that audio.c and picture.c call, each handed on. Its libraries come with a hundred others, so a model that only
 * reads text is loaded without them; within the cage no library can be opened, so one that hears or sees has them loaded before.
 */
#include "runner.h"

#include "base/lazy.h"
#include "base/mem.h"

#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libavutil/opt.h>
#include <libavutil/pixdesc.h>
#include <libswresample/swresample.h>

/* The name and the number that the headers are of. */
#define FILE_OF(name, major) "lib" name ".so." AV_STRINGIFY(major)
#define LIBRARY(name, major)                                                    \
    {                                                                           \
        .file = FILE_OF(name, major), .package = "lib" name AV_STRINGIFY(major) \
    }
static hg_lazy format = LIBRARY("avformat", LIBAVFORMAT_VERSION_MAJOR);
static hg_lazy codec = LIBRARY("avcodec", LIBAVCODEC_VERSION_MAJOR);
static hg_lazy util = LIBRARY("avutil", LIBAVUTIL_VERSION_MAJOR);
static hg_lazy resample = LIBRARY("swresample", LIBSWRESAMPLE_VERSION_MAJOR);

hangar_code hg_libav_ready(hangar_err *err)
{
    hg_lazy *all[] = {&util, &codec, &format, &resample};
    hangar_code code = HANGAR_OK;
    for (size_t i = 0; i < HG_LEN(all) && code == HANGAR_OK; i++) code = hg_lazy_load(all[i], err);
    return code;
}

HG_LAZY(util, const char *, av_version_info, (void), ())
HG_LAZY(util, void, av_log_set_level, (int level), (level))
HG_LAZY(util, int, av_strerror, (int rc, char *words, size_t size), (rc, words, size))
HG_LAZY(util, void *, av_malloc, (size_t size), (size))
HG_LAZY(util, void, av_free, (void *at), (at))
HG_LAZY(util, void, av_freep, (void *at), (at))
HG_LAZY(util, AVDictionaryEntry *, av_dict_get,
        (const AVDictionary *dict, const char *key, const AVDictionaryEntry *before, int flags),
        (dict, key, before, flags))
HG_LAZY(util, AVFrame *, av_frame_alloc, (void), ())
HG_LAZY(util, void, av_frame_free, (AVFrame * *frame), (frame))
HG_LAZY(util, void, av_frame_unref, (AVFrame * frame), (frame))
HG_LAZY(util, int, av_channel_layout_compare, (const AVChannelLayout *a, const AVChannelLayout *b), (a, b))
HG_LAZY(util, int, av_channel_layout_copy, (AVChannelLayout * to, const AVChannelLayout *from), (to, from))
HG_LAZY(util, void, av_channel_layout_default, (AVChannelLayout * layout, int channels), (layout, channels))
HG_LAZY(util, void, av_channel_layout_uninit, (AVChannelLayout * layout), (layout))
HG_LAZY(util, const AVPixFmtDescriptor *, av_pix_fmt_desc_get, (enum AVPixelFormat pixels), (pixels))
HG_LAZY(util, void, av_read_image_line2,
        (void *to, const uint8_t *data[4], const int sizes[4], const AVPixFmtDescriptor *pixels, int x, int y,
         int component, int width, int palette, int element),
        (to, data, sizes, pixels, x, y, component, width, palette, element))

HG_LAZY(codec, AVPacket *, av_packet_alloc, (void), ())
HG_LAZY(codec, void, av_packet_free, (AVPacket * *packet), (packet))
HG_LAZY(codec, void, av_packet_unref, (AVPacket * packet), (packet))
HG_LAZY(codec, int, av_new_packet, (AVPacket * packet, int size), (packet, size))
HG_LAZY(codec, const AVCodec *, avcodec_find_decoder, (enum AVCodecID id), (id))
HG_LAZY(codec, AVCodecContext *, avcodec_alloc_context3, (const AVCodec *of), (of))
HG_LAZY(codec, void, avcodec_free_context, (AVCodecContext * *context), (context))
HG_LAZY(codec, int, avcodec_open2, (AVCodecContext * context, const AVCodec *of, AVDictionary **options),
        (context, of, options))
HG_LAZY(codec, int, avcodec_parameters_to_context, (AVCodecContext * context, const AVCodecParameters *of),
        (context, of))
HG_LAZY(codec, int, avcodec_send_packet, (AVCodecContext * context, const AVPacket *packet),
        (context, packet))
HG_LAZY(codec, int, avcodec_receive_frame, (AVCodecContext * context, AVFrame *frame), (context, frame))

HG_LAZY(format, AVFormatContext *, avformat_alloc_context, (void), ())
HG_LAZY(format, int, avformat_open_input,
        (AVFormatContext * *context, const char *url, const AVInputFormat *input, AVDictionary **options),
        (context, url, input, options))
HG_LAZY(format, int, avformat_find_stream_info, (AVFormatContext * context, AVDictionary **options),
        (context, options))
HG_LAZY(format, void, avformat_close_input, (AVFormatContext * *context), (context))
HG_LAZY(format, int, av_find_best_stream,
        (AVFormatContext * context, enum AVMediaType type, int wanted, int related, const AVCodec **decoder,
         int flags),
        (context, type, wanted, related, decoder, flags))
HG_LAZY(format, int, av_read_frame, (AVFormatContext * context, AVPacket *packet), (context, packet))
HG_LAZY(format, AVIOContext *, avio_alloc_context,
        (unsigned char *buffer, int size, int writes, void *ctx, int (*read)(void *, uint8_t *, int),
         int (*write)(void *, uint8_t *, int), int64_t (*seek)(void *, int64_t, int)),
        (buffer, size, writes, ctx, read, write, seek))
HG_LAZY(format, void, avio_context_free, (AVIOContext * *context), (context))

HG_LAZY(resample, int, swr_alloc_set_opts2,
        (SwrContext * *swr, AVChannelLayout *out, enum AVSampleFormat out_format, int out_rate,
         AVChannelLayout *in, enum AVSampleFormat in_format, int in_rate, int log_offset, void *log),
        (swr, out, out_format, out_rate, in, in_format, in_rate, log_offset, log))
HG_LAZY(resample, int, swr_init, (SwrContext * swr), (swr))
HG_LAZY(resample, int, swr_get_out_samples, (SwrContext * swr, int in), (swr, in))
HG_LAZY(resample, int, swr_convert,
        (SwrContext * swr, uint8_t **out, int room, const uint8_t **in, int count),
        (swr, out, room, in, count))
HG_LAZY(resample, void, swr_free, (SwrContext * *swr), (swr))
