/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ONNX runner's words (frames: engine/wire.h). Nothing to link: names and shapes only. A tensor is described by
 *   {"name","dtype":"F32"|"F16"|"F64"|"I8"|"U8"|"I16"|"I32"|"I64"|"BOOL","shape":[...],"offset","bytes"}
 * where offset and bytes lie in the frame's binary part; `bytes` is exactly what dtype and shape say, 0 for an
 * empty tensor.
 *
 * LOAD  {"folder","files":[...],"graphs":[{"name","path","initializers":[
 *          {"name","file","offset","bytes","dtype","shape"}]}],
 *        "threads": 0 = all usable, "prepack": false = weights stay mapped and are not packed anew (default true),
 *        "optimize": "off", "basic" or "all" (the default): what the engine may do to the graphs,
 *        "media": true = "transcribe", "ctc" and "picture" will be called: they need libav, which takes 0.1 s to load (default false)}
 *        "texts":[{"name","offset","bytes"}]: files of the repository, which lie in the frame's binary part, for "generate":
 *          tokenizer.json, tokenizer_config.json, chat_template.jinja, generation_config.json, config.json; any may be missing
 *        "initializers" may be left out. The runner reads only "folder" and "files"; before it reads the first
 *        it locks itself in.
 * READY {"version","sandbox":level,"graphs":[{"name","inputs":[{"name","dtype","shape"}],"outputs":[...]}]};
 *        -1 in a shape = any length
 *
 * CALL  {"op":"run","graph","inputs":[tensor... or {"name","kept":"present.0.decoder.key"}],"outputs":["logits",...],"keep":["present.0.decoder.key",...]}
 *        What `keep` names stays with the runner, each in the place of what was kept under that name before, as input of later runs of any graph. No
 *        outputs = all that are not kept.
 * DONE  {"outputs":[tensor...],"seconds"} + the bytes; offsets are multiples of 64
 *
 * CALL  {"op":"time","graph","inputs":[{"name","dtype","shape","fill":number} or {...,"random":n}],"warm","repeats","seconds"}
 *        Runs the graph on inputs made here, `fill` everywhere, or `random` numbers: whole ones of [0, n), others of [-n, n); with "sound":f the last
 *        axis is random before f, and behind it the lowest of these numbers, as features of silence are. {"name","of":output,"graph","inputs":[...]} is
 *        what another graph gives for such inputs. After `warm` runs that
 *        do not count come up to `repeats`; none is begun when `seconds` have passed, and then the last of what there was counts.
 * DONE  {"seconds":[of each run that counts]}; a TICK after each run
 *
 * CALL  {"op":"encode","mels","frames"} + float samples at 16 kHz: features and encoder of one Whisper window
 * DONE  {"outputs":[tensor "input_features", tensor "last_hidden_state"]} + the bytes
 *
 * CALL  {"op":"transcribe","mels","frames","start","eos","no_timestamps","no_speech","max_tokens",
 *        "max_initial_timestamp","suppress":[ids],"begin_suppress":[ids],"languages":[ids],"language":id,
 *        "task":id,"beams","timestamps"} + a descriptor of the audio file.
 *        An id of -1 = none; language -1 with `languages` given = find out. `frames` are 10 ms each (3000).
 *        With timestamps, and for audio longer than one window when no_timestamps is known, the model is asked
 *        for times.
 * PIECE {"window","language","no_speech","segments":[{"start","end","tokens":[ids]}]}, one per window; times in
 *        seconds of the file
 * TICK  {"done","total"}: milliseconds of audio
 * DONE  {"duration","windows","seconds"}
 *
 * CALL  {"op":"ctc","window","stride","ratio","least","normalize"} + a descriptor of the audio file: speech models with an answer for each
 *        frame. The graph "model" takes input_values [1][samples] and gives logits [1][frames][vocabulary]. A frame is `ratio` samples further
 *        than the one before it; `least` samples give the first. Sound of more than `window` samples is heard in windows that overlap by
 *        twice `stride`, of which the frames of the outer `stride` samples are left out where a window follows or precedes. window and
 *        stride are multiples of ratio. normalize: each window to mean 0 and variance 1.
 * PIECE {"window","from":frame,"ids":[ids]}: the likeliest id of each frame, from that frame of the file on
 * TICK, DONE as of "transcribe"
 *
 * CALL  {"op":"picture","graph","output","prepare":{"height","width" or "shortest","longest","resample":1|2|3,"crop_height","crop_width","scale",
 *        "mean":[3],"std":[3]}} + a descriptor of a JPEG, PNG or WebP: resized to height x width, or so that the shorter side is `shortest`, as PIL
 *        does it (its numbers: 1 Lanczos, 2 bilinear, 3 bicubic); the middle of it; (x * scale - mean) / std. Members may be left out. Then the graph,
 *        whose only input is pixel_values; no graph: pixel_values itself is the answer.
 * DONE  {"outputs":[tensor]} + the bytes
 *
 * CALL  {"op":"generate"} with the members of engine/llama_ops.h; "grammar", "json_schema", "json" and a "tool_choice" that
 *        forces a call are UNSUPPORTED. "ids":[...] is a prompt that is
 *        tokens already. The graph is "model", or "encoder_model" with "decoder_model_merged" (then the prompt is the encoder's).
 * PIECE, TICK, DONE as there, and in DONE "cache_in_place"; TICK counts tokens of the prompt.
 */
#ifndef HG_ENGINE_ONNX_OPS_H
#define HG_ENGINE_ONNX_OPS_H

#define HG_ONNX_GRAPHS_MAX       8
#define HG_ONNX_FILES_MAX        1024
#define HG_ONNX_INITIALIZERS_MAX 100000
#define HG_ONNX_TENSORS_MAX      256 /* inputs or outputs of one run */
#define HG_ONNX_RANK_MAX         8
#define HG_ONNX_TEXTS_MAX        16 /* files of a LOAD */
#define HG_ONNX_BEAMS_MAX        16
#define HG_ONNX_REPEATS_MAX      1000                /* of a timing */
#define HG_ONNX_FILLED_MAX       ((uint64_t)4 << 30) /* bytes of the inputs that are made for one */
#define HG_ONNX_AUDIO_MAX        86400               /* seconds of one audio file */
#define HG_ONNX_WINDOW_FRAMES    3000                /* at most, of one window */
#define HG_ONNX_MELS_MAX         256
#define HG_ONNX_CTC_WINDOW_MAX   960000 /* samples */
/* Of a picture: bytes of its file, pixels, pixels of a side, and of a side when it is prepared. */
#define HG_ONNX_PICTURE_BYTES_MAX    (128 << 20)
#define HG_ONNX_PICTURE_PIXELS_MAX   100000000
#define HG_ONNX_PICTURE_SIDE_MAX     65535
#define HG_ONNX_PICTURE_PREPARED_MAX 4096

#endif
