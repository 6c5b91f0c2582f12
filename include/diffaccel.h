/* DiffAccel: accelerated sampling of published generative models on CPUs, inside a host program.
 *
 * What the library promises, and in brackets the tests under Tests/ that prove it
 *   1. No input - file, option, contents of a buffer, order of calls or handle value - makes it abort, corrupt memory
 *      or hang: it returns a status. Exceptions: a pointer that does not point to the memory its documentation asks
 *      for; a buffer written by another thread while it is read; the system
 *      killing the process, or refusing small objects (not tensors) until the library's reserve of 4 MiB is exhausted.
 *      [CABI/misuse_handles: test_handles; CABI/misuse_requests: test_numbers, test_types, test_names; CABI/misuse_json: test_json,
 *      test_lengths, test_depth; CABI/misuse_tensors: test_names, test_shapes; CABI/misuse_tensor_data: test_labels, test_noise;
 *      CABI/misuse_scales: test_options, test_pictures; CABI/misuse_texts: test_every_value, test_tensors; CABI/misuse_events:
 *      test_refusals, test_threads; CABI/misuse_prompts: test_options, test_sizes, test_texts, test_pictures, test_embeddings;
 *      CABI/misuse_settings: test_settings; CABI/misuse_forward: test_forward; CABI/misuse_training: test_settings, test_numbers;
 *      CABI/failing: use; CABI/failing_training: use]
 *   2. A failed call has no visible effect: out-parameters hold zero or null, handles stay as they were.
 *      [CABI/failing: use; CABI/misuse_structs: test_struct_sizes; CABI/misuse_arguments: test_text_buffers]
 *   3. Long-running work can be cancelled from any thread; it stops within one block of the network, and the session
 *      or trainer can be used again.
 *      [CABI/cancel: test_every_step, test_other_threads, test_random_moments; CABI/training_stops: test_outside]
 *   4. Tensor memory of a session or trainer stays under the limit its creator set; da_session_estimate and
 *      da_trainer_estimate report the need beforehand.
 *      [DiffAccelTests/SessionTests: theEstimateIsTheMeasuredPeak, aSessionBeyondItsLimitServesSmallerRequests;
 *      CABI/training_memory: test_limits]
 *   5. Files are opened read-only; nothing outside a given directory is opened through names found inside files;
 *      nothing is written except to a path the caller passed, and that atomically.
 *      [CABI/files: test_read_only, test_nothing_outside, test_atomic_writing]
 *   6. Distinct sessions may be used from distinct threads at once, also over one model, and distinct trainers. Each
 *      is used by one thread at a time: a second one gets DA_BUSY. Only da_session_cancel and da_trainer_cancel may be called
 *      at any time.
 *      [CABI/threads: test_shared_model, test_contention; CABI/training_threads: test_second_thread, test_side_by_side]
 *   7. No signal handler, locale, rounding mode, working directory or environment variable is changed; errno and the
 *      floating-point environment are restored; nothing is printed. Loading it starts nothing. No symbol of the host replaces
 *      one inside, except the C library's own (Tests/CABI/interposable.txt); no variable of the Swift runtime is read.
 *      [CABI/environment: test_locale, test_floating_point, test_errno, test_process, test_signals,
 *      prints_nothing; CABI/loading.sh]
 *   8. Same inputs, seed and thread count give the same bits on the same CPU.
 *      [DiffAccelTests/ReproducibilityTests: aSeedDecidesEveryBit; CABI/threads: test_shared_model]
 *   9. Functions and the leading members of structs never change once released; da_abi_version() says which exist.
 *      [CABI/layout; CABI/abi.sh; CABI/misuse_structs: test_earlier_sizes]
 *  10. Whatever ends a training run - an error, a stop, the death of the process - the trainer is left after its last whole
 *      step, and a state file is either the old or the new one, complete. A resumed run is bit-identical to an uninterrupted one.
 *      [CABI/training_stops: test_every_step, test_outside; CABI/training_states: test_killed, test_full_disk;
 *      CABI/misuse_trainers: test_data_at_work; CABI/failing_training: settle]
 *
 * Conventions
 *   - Every function that can fail returns a status: 0 is success, negative values are errors, positive ones are
 *     outcomes other than errors. da_last_error() has the text of this thread's last failure.
 *   - Handles are values, not addresses: null, closed, foreign or random ones yield DA_INVALID_HANDLE. Children keep
 *     their parents alive, so handles may be closed in any order.
 *   - The out-parameter comes last and is set to null when the call fails.
 *   - Option structs start with struct_size and are filled by their _init function, which is given sizeof of the
 *     caller's struct. Members unknown to the library must be zero.
 *   - Text is UTF-8. JSON comes in the caller's buffer: *needed is the size including the final NUL; if the buffer is
 *     too small, the status is DA_MORE and no text is written; buf may be null when capacity is 0.
 *   - Tensors are row-major. n: samples, C: channels, H, W: height and width.
 *   - A function may be called from any thread and from inside an event callback, where da_session_run of the same session
 *     returns DA_BUSY, as it does on a second thread.
 *   - Callbacks return normally. A C++ exception or a longjmp out of one bypasses the library, which never learns of it: the
 *     session or trainer stays busy forever (DA_BUSY), what its run held is leaked, and the thread keeps the library's floating-point
 *     environment; an exception may also end the process. Catch it inside, keep it, return non-zero, and rethrow it
 *     when the call has returned.
 *   - Threads: 0 stands for the processors that the calling thread may use at that moment: the minimum of those online, those
 *     allowed by its affinity, and the CPU quotas of its control groups, a fraction counting as one; at most 256.
 *   - Environment variables that are read: DIFFACCEL_ISA (base, avx2, avx512 or neon: a lower instruction set than the best available),
 *     DIFFACCEL_GEMM (openblas: matrix products by libopenblas.so.0, for comparison), and, when a plan asks for ranks,
 *     DIFFACCEL_MPI_PLUGIN (the plug-in's path, not in a process with raised privileges) and, for tests, DIFFACCEL_RANKS_APART.
 */
#ifndef DIFFACCEL_H
#define DIFFACCEL_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- status ----------------------------------------------------------------------------------------------------- */

#define DA_OK 0
#define DA_CANCELLED 1          /* stopped by da_session_cancel, a callback or a cancel flag */
#define DA_MORE 2               /* the buffer is too small; *needed says how large it must be */
#define DA_INVALID_ARGUMENT (-1) /* an argument or option is out of its documented range */
#define DA_IO (-2)              /* a file cannot be opened, read or written */
#define DA_FORMAT (-3)          /* a file or JSON text is malformed */
#define DA_UNSUPPORTED (-4)     /* known, but not available: format, option, combination */
#define DA_SHAPE (-5)           /* a tensor has the wrong shape or element type */
#define DA_NO_MEMORY (-6)       /* the system has no more memory */
#define DA_OVER_BUDGET (-7)     /* the session's memory limit would be exceeded */
#define DA_INVALID_HANDLE (-8)  /* a handle that is null, closed, foreign or of the wrong kind */
#define DA_BUSY (-9)            /* another thread, or the caller's own callback, is using the session */
#define DA_INCOMPATIBLE (-10)   /* a plan does not fit the model, the request or itself */
#define DA_NOT_FINITE (-11)     /* NaN or infinity where finite numbers are needed */
#define DA_INTERNAL (-12)       /* a defect of the library: please report it */

/* Opaque handles. */
typedef struct da_model_handle *da_model;
typedef struct da_plan_handle *da_plan;
typedef struct da_session_handle *da_session;
typedef struct da_result_handle *da_result;
typedef struct da_trainer_handle *da_trainer;
typedef struct da_tokenizer_handle *da_tokenizer;

/* The library's version, "major.minor.patch". Static; never null. */
const char *da_version_string(void);

/* The number of the newest interface that the library offers; it grows when functions are added. */
int32_t da_abi_version(void);

/* Name of a status, such as "DA_IO"; "DA_UNKNOWN" for other numbers. Static; never null. */
const char *da_status_name(int32_t status);

/* Text of the last failure on the calling thread: which tensor, file or option, what was expected and found. Empty after
 * a success. Owned by the library, valid until the next call on this thread; at most 2 KiB. Never null. */
const char *da_last_error(void);

/* JSON about the library: {"version", "abi", "isa" (kernels in use), "families", "methods", "plan_options" (of plan entries, by method) and
 * "training_options" (of settings of da_trainer_create, by training), each option {"name", "description", its type as in JSON
 * Schema, "default" or "default_text" or "required"}, "samplers" (of discrete processes; U-ViT, SiT and Stable Diffusion 3 have
 * their own, see da_model_describe), "limits"}. */
int32_t da_library_describe(char *buf, size_t capacity, size_t *needed);

/* Log levels: a message has one of the first three; a level of DA_LOG_NONE turns logging off (default). */
#define DA_LOG_NONE 0
#define DA_LOG_ERROR 1
#define DA_LOG_WARNING 2
#define DA_LOG_INFO 3

/* Receives one line without newline; `message` is valid during the call. Must not call the library, and must return
 * normally. */
typedef void (*da_log_callback)(void *user, int32_t level, const char *message);

/* Sends messages up to `level` to `callback` (null: none), on whichever thread they arise. Applies to the whole library. */
int32_t da_set_log(da_log_callback callback, void *user, int32_t level);

/* ---- tensors ----------------------------------------------------------------------------------------------------- */

#define DA_MAX_RANK 8

#define DA_F32 0   /* float */
#define DA_U8 16   /* uint8_t */
#define DA_I64 17  /* int64_t */

/* A named tensor in memory. Where it is used, the owner and lifetime of `data` are stated. */
typedef struct da_tensor {
    uint32_t struct_size;
    int32_t dtype;              /* DA_F32, DA_U8 or DA_I64 */
    const char *name;
    void *data;                 /* row-major elements, aligned for their type */
    size_t bytes;               /* bytes at data */
    int32_t rank;               /* 0...DA_MAX_RANK */
    int32_t reserved;           /* zero */
    int64_t shape[DA_MAX_RANK];
} da_tensor;

/* ---- models ------------------------------------------------------------------------------------------------------ */

/* Options of da_model_open. Strings may be null and are copied. */
typedef struct da_model_options {
    uint32_t struct_size;
    int32_t widen;              /* 1: the same as weights "f32"; 0 (default) */
    const char *family;         /* "dit", "uvit", "sit", "stable_diffusion", "audioldm", "unet2d_condition", "sd3_transformer",
                                   "autoencoder_kl", "autoencoder_tiny", "var", "mar", "vqvae", "llada", "illada", "dream",
                                   "clip_text", "clap_text", "t5_encoder", "speecht5_hifigan"; null: the config
                                   decides */
    const char *config;         /* JSON text used instead of the checkpoint's config.json; null: the file */
    const char *conventions;    /* DiT: "official" or "diffusers" (time frequencies over 127, norm_eps); null: official, unless the
                                   checkpoint shows that it was trained in diffusers: its blocks have embedders of their own */
    const char *decoder;        /* folder of the autoencoder that turns latents into pixels; null: the checkpoint's vae/ */
    uint64_t memory_limit;      /* bytes for the weights, the largest counted twice while it is packed; 0: no limit */
    int32_t follow_links;       /* 1: symbolic links inside the folder are followed, as download caches have them, and inside the folders
                                   of the autoencoder and of models that a plan or a trainer adds; 0: refused */
    int32_t reserved;           /* zero */
    const char *weights;        /* how weights are kept in memory: "stored" (default: the file's element type), "f32", or "int8": matrices
                                   of linear layers over tokens (heads too) as integers in -127...127 with an f32 scale per output,
                                   the largest magnitude / 127; all else as stored. Not for learning: DA_UNSUPPORTED */
    int64_t mask_token;         /* language models: the mask token; -1 (default): the one that the config names */
    const char *settings;       /* JSON text, an object of settings that only some families have; null: none. Stable Diffusion:
                                     "lora": Files of low-rank updates (LoRA) that are merged into the weights: a path, or
                                         {"path", "scale"}, or several.
                                     "text_encoders": Whether text encoders stay in memory or are loaded by each request and given
                                         back after it: "resident" (default) or "on_demand".
                                     "t5": Whether Stable Diffusion 3's third text encoder is loaded (true); without it the model
                                         follows prompts less well, in a third of the memory.
                                     "variant": Which variant of a pipeline's weight files is read, such as fp16.
                                     "prediction_type": What the network predicts, where a single file does not say.
                                     "tokenizer": Folder of the tokenizers, of a checkpoint that has none.
                                   AudioLDM: "text_encoders" and "tokenizer" as above, and
                                     "heads": Attention heads of the network: "config" (default), as diffusers computes, or
                                         "channels/32" and the like, one for so many channels, as the original was trained: published
                                         configs have other numbers, which change what is heard.
                                   All that have convolutions:
                                     "convolution": How 3 x 3 convolutions, and those of vocoders, are computed: "auto" (default: by
                                         Winograd's transforms where these are faster), "direct" or "winograd".
                                   All models:
                                     "precision": What linear layers over tokens, direct convolutions and attention multiply in: "f32"
                                         (default), "bf16" (factors rounded to bf16, sums in f32; where the processor has AVX512_BF16,
                                         else refused with DA_UNSUPPORTED) or "auto" (bf16 where the processor has it, else f32). "int8"
                                         is refused: "weights" "int8" keeps weights so, and computes in f32. Not for learning.
                                   All that plans divide into components:
                                     "ranks": The plan, with the executor mpi, of whose ranks this process is one: only the weights
                                         of its own component are loaded, and those of encoders and decoder on rank 0. A word such
                                         as "async:3", or an object.
                                     "ranks_decode": Beside it: whether all ranks have the decoder, to share the tiles of pictures,
                                         or the pictures of a batch (false). */
} da_model_options;

/* Fills *options with defaults. DA_INVALID_ARGUMENT when options is null or `size` is not a size of this struct. */
int32_t da_model_options_init(da_model_options *options, uint32_t size);

/* Loads a checkpoint: a folder with config.json and *.safetensors (also sharded), a single file of Stable Diffusion, or another
 * .safetensors file together with options->config. Official, diffusers and pipeline folders are recognised. `options` may be null. The model is immutable
 * and may be shared by threads and sessions. Every setting in its config files is honoured, refused by name with DA_UNSUPPORTED when
 * it would change results, or known to change none; others are logged as warnings. Errors: DA_IO, DA_FORMAT, DA_UNSUPPORTED,
 * DA_NO_MEMORY, DA_OVER_BUDGET, DA_INVALID_ARGUMENT; DA_SHAPE and DA_INCOMPATIBLE with a text that lists the tensors that are
 * missing, unused or of the wrong shape. */
int32_t da_model_open(const char *path, const da_model_options *options, da_model *model);

/* JSON about the model: {"family", "parameters", "bytes", "weights", "precision" ("f32" or "bf16", what "auto" became), "input", "config", "sites", "labels", "decoder", "flops",
 * "convolutions" ("forms": how many are computed as "direct" sums and by Winograd's transforms "F(2,3)" and "F(4,3)"; "layers": each with
 * "name", "form", "because" of a direct one ("kernel" or "stride", which have no transforms; "size", for which sums are faster; "setting"),
 * "inputs", "kernel" and "output" [C,h,w] at the model's own size, on which the choice depends; absent when there are none),
 * "sampler" (the model's own), "samplers" (those that requests may name), "prediction_type", "request" (options and tensors of
 * requests: see da_session_run)}, and how its config files were read: "unknown_keys" (settings without effect, as "file: key"),
 * "defaults" (by file, the values of absent settings) and "assumptions" (what else was assumed, and how to change it). A label
 * holds all names of a class, separated by commas; those of a pipeline come from its id2label. */
int32_t da_model_describe(da_model model, char *buf, size_t capacity, size_t *needed);

/* Releases the handle; sessions of the model stay usable. */
int32_t da_model_close(da_model model);

/* Options of da_model_forward. */
typedef struct da_forward_options {
    uint32_t struct_size;
    int32_t threads;            /* 0: one per processor that may be used; else 1...256 */
    uint64_t memory_limit;      /* bytes of working memory; 0: none */
} da_forward_options;

/* Fills *options with defaults. */
int32_t da_forward_options_init(da_forward_options *options, uint32_t size);

/* Evaluates the raw network once, without sampler or plan.
 *   dit:             "x" f32 [n,C,S,S], "t" f32 [n] (original timesteps), "y" i64 [n]   ->  "out" f32 [n,C or 2C,S,S]
 *   uvit:            "x" f32 [n,C,S,S], "t" f32 [n] (1...1000), "y" i64 [n] of a model with classes   ->  "out" f32 [n,C,S,S], the noise
 *   sit:             "x" f32 [n,C,S,S], "t" f32 [n] (0, noise, ... 1, data), "y" i64 [n]   ->  "out" f32 [n,C,S,S], the velocity
 *   var:             "x" f32 [n,t-1,C] (codes of the image so far, for all scales after the first), "y" i64 [n]
 *                    ->  "logits" f32 [n,t,V], t being the number of tokens up to some scale
 *   mar:             "latents" f32 [n,C,S,S], "mask" i64 [n,tokens] (1 where a token is unknown, as many in each sample), "y" i64 [n]
 *                    ->  "z" f32 [n,tokens,width], what the head is told; "encoded" f32 [n,rows,width], of the class and the known tokens
 *                    "x" f32 [m,numbers of a token], "t" f32 [m] (0...999), "z" f32 [m,width]  ->  "out" f32 [m,2 * numbers] of the head
 *   vqvae:           "image" f32 [n,3,H,W], "tokens" i64 [n*L], or "state" f32 [n,C,h,w]
 *                    ->  "image", "state", "tokens" f32 [n,L] (integers), "features" (before the codes)
 *   autoencoder_kl:  "latents" f32 [n,C,h,w]  ->  "image" f32 [n,3,H,W];   "image" f32 [n,3,H,W]  ->  "moments" f32 [n,2C,h,w]
 *   autoencoder_tiny:  "latents" f32 [n,C,h,w]  ->  "image" f32 [n,3,H,W];   "image" f32 [n,3,H,W]  ->  "latents" f32 [n,C,h,w]
 *   sd3_transformer: "hidden_states" f32 [n,C,h,w], "timestep" f32 [n] (0, data, ... 1000, noise), "encoder_hidden_states"
 *                    f32 [n,tokens,D], "pooled_projections" f32 [n,P]   ->  "out" f32 [n,C,h,w], the velocity
 *   unet2d_condition:  "sample" f32 [n,C,h,w], "timestep" f32 [n] (original timesteps), "encoder_hidden_states" f32 [n,tokens,D]; of SDXL
 *                    also "text_embeds" f32 [n,P] and "time_ids" f32 [n,6]; of a network that is told guidance perhaps
 *                    "timestep_cond" f32 [n,features]   ->  "out" f32 [n,C,h,w]
 *   stable_diffusion:  its network with the inputs of unet2d_condition, but "timestep_cond", under these names also in SD3
 *   llada, illada, dream:  "tokens" i64 [n], one text  ->  "logits" f32 [1,n,vocabulary]
 *   clip_text:       "tokens" i64 [n,t] or [t]  ->  "last_hidden_state" f32 [n,t,width], "pooled" f32 [n,width or projection],
 *                    "hidden_state" f32 [n,t,width], without the final norm: that of layer "layer" i64 [1], 0 being the embeddings
 *                    (absent: the last but one)
 *   audioldm:        "sample" f32 [n,C,t,f], "timestep" f32 [n], and of AudioLDM 2 "encoder_hidden_states" f32 [n,k,width] (vectors of
 *                    the language model), "encoder_hidden_states_1" f32 [n,tokens,width] (states of T5) and perhaps
 *                    "encoder_attention_mask_1" f32 [n,tokens] (1 seen, 0 padding), of AudioLDM "class_labels" f32 [n,width]
 *                    ->  "out" f32 [n,C,t,f]
 *   clap_text:       "tokens" i64 [n,t] or [t], "mask" i64 of the same shape, 0 for padding (absent: none)  ->  "text_features" f32
 *                    [n,projection], of length 1, "text_embeds", before that, "pooled" f32 [n,width], "last_hidden_state"
 *   t5_encoder:      "tokens" i64 [n,t] or [t], "mask" i64 of the same shape, 0 for tokens that nothing sees (absent: all are seen)
 *                    ->  "last_hidden_state" f32 [n,t,width]
 *   speecht5_hifigan:  "mel" f32 [n,frames,bins]  ->  "waveform" f32 [n,values]
 * Inputs are read during the call. For each output the caller gives name, data and bytes; rank, shape, dtype and bytes are
 * set. If data is null, only these are set (a size query; nothing is computed). `options` may be null. Without a memory limit the
 * working memory stays with the model, for the next call of the same sizes.
 * Errors: DA_INVALID_ARGUMENT (unknown or missing name), DA_SHAPE, DA_MORE (an output buffer is too small), DA_NOT_FINITE (an
 * output holds NaN or infinity: weights or inputs), memory errors. */
int32_t da_model_forward(da_model model, const da_tensor *inputs, size_t input_count, da_tensor *outputs,
                         size_t output_count, const da_forward_options *options);

/* ---- plans ------------------------------------------------------------------------------------------------------- */

/* A plan is a stack of methods written down as data. An empty plan is the plain model. JSON forms:
 *   {"methods": [ENTRY, ...]}, one ENTRY alone, or a released router file. ENTRY for Learning-to-Cache:
 *   {"method": "l2c", "threshold": 0.1, "logits": [[2 * depth numbers] * steps]}     learned router (score > threshold: compute)
 *   {"method": "l2c", "router": "file.json", "threshold": 0.1}                       the same, in a file beside the plan
 *   {"method": "l2c", "policy": "none" | "alternate" | "interval" | "random", ...}   baselines: "interval": k; "ratio", "seed" (0)
 *   "threshold" and "period" (2: one step in 2 is a full one) default to the router file's
 *   A router has a row for each network call: for samplers that make several calls per step (dpmpp_2s, midpoint and heun2 two, heun3
 *   three, rk4 four) that many rows per step. Where steps differ in their number of calls (pndm, heun, sde_heun) rules count calls, and
 *   routers are refused with DA_UNSUPPORTED by da_session_run; so are both where a sampler chooses its calls while running (dopri5).
 * ENTRY for depth pruning: {"method": "depth", "keep": [0, 2, 5, ...]}   the blocks that run, ascending
 *   {"method": "depth", "keep": {"blocks": [0, 2, 4]}}     by the name of the block list; lists not named stay whole. Blocks of a
 *     U-ViT joined by a skip connection stay or go together
 * ENTRY for CoDe, for models that generate scale by scale:
 *   {"method": "code", "refiner": "folder", "draft_scales": 8}     the session's model makes the first scales, the refiner the rest.
 * In a plan file "refiner" names a folder beside the file, in a plan given as text any path; without it the session needs a
 * partner. It is opened with the options of the session's model (weights, memory_limit, follow_links). A refiner that does not fit
 * (codes, classes, scales) is refused by da_session_create. A file beside a plan may be a symbolic link only if the plan's file is
 * one too, into the same folder, as in download caches.
 * ENTRY for caching keys and values, for masked diffusion language models:
 *   {"method": "dkv", "variant": "decode", "refresh": 8}     dKV-Cache: "decode" (LLaDA, Dream), "greedy" with "window" (LLaDA), "prefill",
 *     "pd" (Dream); Fast-dLLM: "prefix", "dual". "refresh" (8), for decode, greedy and pd: every that many steps all positions
 *     are computed. "shift" ("un" or "un_right"), for decode and pd on Dream: when a position counts as decided
 * ENTRY for U-Nets, whose deep features change little from call to call:
 *   {"method": "deepcache", "interval": 3, "layers": 1}     one call in "interval" (3) computes everything, the others only what leads
 *     to the last "layers" (1) layers of the way up, which get the deep features of the last full call
 * ENTRY for denoisers in components that work at the same time, each on what the others gave in the call before (AsyncDiff):
 *   {"method": "async", "components": 2, "stride": 1, "warm_up": 1, "time_shift": false, "variant": "paper", "split": "balanced",
 *    "executor": "threads", "wire": "f32"}     2...4 components; stride 2: two steps share one evaluation, of which the second prediction
 *     is the last component's own ("paper") or the first one again ("released"); warm_up: whole evaluations before; time_shift:
 *     components are told the time of the call before; split: "official" (the published one of Stable Diffusion 1, 2, XL, 3; default
 *     where there is one), "balanced" (by operations at the request's size), "measured" (by time) or the modules of each component
 *     [["conv_in", "down_blocks"], ["mid_block", ...]]; executor: "sequential" (default), "threads" (each on a part of the session's
 *     threads) or "mpi" (each a rank of components + stride - 1 processes started together: da_session_run on all of them, rank 0 has
 *     the pictures). Results do not depend on the executor; "wire" bf16 halves what ranks send and changes results
 * ENTRY for networks of sounds, whose self-attention over times and frequencies becomes sparse (LiteFocus):
 *   {"method": "litefocus", "same_frequency": true, "cross_frequency": true, "ratio": 0.1, "levels": [1], "scope": "official",
 *    "deduplicate": false, "keys": "call", "window": 0}     a query sees the tokens of its own frequency, a random share ("ratio")
 *     of all and all frequencies up to "window" time steps of the level's grid away (0: none; 0.08 s each on level 1 of AudioLDM 2);
 *     "early_ratio" in the first "early_steps" (0...1) of the steps; scope "all": every self-attention of these levels; keys: what a
 *     share is drawn for ("call", "step", "run"); "deduplicate": a token seen both ways counts once; "seed": that of the draws
 * Simple plans have a word, accepted wherever a plan is named: none, alternate, interval:N, random:RATIO[:SEED], deepcache:N[:LAYERS],
 * async:COMPONENTS[:STRIDE[:WARM_UP]], litefocus[:RATIO], dkv:VARIANT[:REFRESH[:WINDOW]], depth:BLOCKS (such as depth:0,2,5-8), code[:DRAFT_SCALES] (the session supplies the partner). */

/* Reads a plan from a JSON file or, where there is no file of that name, from a word. Errors: DA_IO, DA_FORMAT, DA_UNSUPPORTED,
 * DA_INVALID_ARGUMENT for a malformed word. */
int32_t da_plan_load(const char *path, da_plan *plan);

/* Reads a plan from `length` bytes of JSON, which may not name other files, or from a word. Errors: DA_FORMAT, DA_UNSUPPORTED,
 * DA_INVALID_ARGUMENT for a malformed word. */
int32_t da_plan_parse(const char *json, size_t length, da_plan *plan);

/* A plan with the methods of `first`, then those of `second` (outermost first). */
int32_t da_plan_stack(da_plan first, da_plan second, da_plan *plan);

/* JSON about the plan. If a model is given, the plan is checked against it and "grid" says, for each of `steps` steps (0: the default of
 * requests; for a flow, with "euler") and each site, "1" for compute, "0" for reuse and "-" for not needed, with the share
 * reused and FLOPs; "components" the parts into which the plan divides the network, each with its "modules", its "share" of the
 * operations and what it "receives" of others in a call. `model` may be null; steps is then ignored.
 * Errors: DA_INCOMPATIBLE. */
int32_t da_plan_describe(da_plan plan, da_model model, int32_t steps, char *buf, size_t capacity, size_t *needed);

/* Writes the plan as JSON, atomically. Errors: DA_IO. */
int32_t da_plan_save(da_plan plan, const char *path);

int32_t da_plan_close(da_plan plan);

/* ---- sessions ---------------------------------------------------------------------------------------------------- */

/* Options of da_session_create. */
typedef struct da_session_options {
    uint32_t struct_size;
    int32_t threads;            /* 0: one per processor that may be used; else 1...256 */
    uint64_t memory_limit;      /* bytes for states, caches and workspace (weights excluded); 0: none */
    da_model partner;           /* the second model of a plan that needs one, already open; null: the plan says where it is */
} da_session_options;

/* Fills *options with defaults. */
int32_t da_session_options_init(da_session_options *options, uint32_t size);

/* A session holds everything a run changes: threads, memory, caches. `plan` may be null (the plain model), `options` too.
 * Errors: DA_INCOMPATIBLE when the plan does not fit the model, DA_INVALID_ARGUMENT, DA_NO_MEMORY. */
int32_t da_session_create(da_model model, da_plan plan, const da_session_options *options, da_session *session);

/* Stages of an event. */
#define DA_STAGE_DENOISE 0
#define DA_STAGE_DECODE 1
#define DA_STAGE_SCALE 2  /* a scale of a model that generates scale by scale */
#define DA_STAGE_UNMASK 3 /* a pass of a masked diffusion language model, an iteration of a MAR */
#define DA_STAGE_ENCODE 4 /* prompts and pictures were encoded: one event, before the first step */
#define DA_STAGE_VOCODE 5 /* a stretch of a sound is finished; step and steps count the values of all sounds */

typedef struct da_event_handle *da_event_source;

/* What a callback is told after each network call (for most samplers a step) and while decoding. Valid during the call. */
typedef struct da_event {
    uint32_t struct_size;
    int32_t stage;              /* DA_STAGE_* */
    int32_t step;               /* network calls or samples done in this stage, 1...steps */
    int32_t steps;              /* how many there are; an upper bound where the sampler decides while running */
    double fraction;            /* share of the whole run's arithmetic that is done, 0...1, decoding included */
    double seconds;             /* since the run began */
    da_event_source source;     /* what da_event_tensor and da_event_describe read */
} da_event;

/* Called on the thread that called da_session_run, with no lock held. A non-zero return cancels the run. It must return
 * normally: an exception or a longjmp out of it leaves the session busy forever. */
typedef int32_t (*da_event_callback)(void *user, const da_event *event);

/* A tensor of the current state: `view` (its struct_size set) is filled; its data belong to the library, are read-only and valid until
 * the callback returns. Until then the event and copies of it may be queried from any thread.
 *   "latents"    f32 [n,C,h,w], the state after the step; not while decoding, not for language models
 *   "preview"    u8 [n,H,W,C], the image that the state decodes to so far, if the request says "previews": true; of prompts "linear"
 *                (as small as the latents) or "decoder"
 *   "audio"      f32 [count], the next values of a sound, while the vocoder goes on (DA_STAGE_VOCODE); "audio_place" i64 [2], which sound it
 *                is, and where in it they begin
 * Language models, for the texts that took part in the pass:
 *   "sequences"  i64 [sum of lengths], prompts and texts one after the other, masks included;  "lengths" i64 [texts]
 *   "prompts"    i64 [texts], the number of each one's prompt;  "queries" i64 [texts], positions that the network computed
 *   "revealed"   i64 [k,2], prompt and position of each token written in this pass, in the order of revelation
 * Errors: DA_INVALID_ARGUMENT when there is no such tensor now, naming those there are; DA_INVALID_HANDLE for an event whose callback has
 * returned; DA_NO_MEMORY. */
int32_t da_event_tensor(const da_event *event, const char *name, da_tensor *view);

/* JSON: {"stage", "step", "steps", "fraction", "seconds", "timestep" (the original one of the call, the side of its scale, or the
 * tokens of a picture that it leaves unknown; null while decoding), "network" (0: the session's model made the step; 1: the partner of its
 * plan), "computed", "reused", "skipped" (attention and MLP outputs of the call), "flops" (of the call), "tensors" (names that da_event_tensor has now)}. */
int32_t da_event_describe(const da_event *event, char *buf, size_t capacity, size_t *needed);

/* Requests: what is said is JSON, an object of options; bulk data are named tensors. The options and tensors that a model takes, with type,
 * range, default and a sentence each, are da_model_describe's "request": {"options": [{"name", "description", "type", "minimum", "maximum",
 * "enum", "items", "anyOf" (as in JSON Schema), "default" or "default_text", "required"}], "tensors": [{"name", "dtype", "shape",
 * "description"}]}. What is not given has its default; null counts as not given; "comment" is ignored. A text option may also be given as a
 * tensor of DA_U8, UTF-8 without final NUL, so that a host need not escape a user's text.
 * Images (dit, uvit, sit):
 *   "labels": The class of each sample, by number or by name.
 *   "steps": Number of sampling steps.
 *   "sampler": The sampler, by its name or by its class in diffusers.
 *   "spacing": How timesteps are spaced: leading, trailing, linspace (diffusers); of ddim and ddpm also even (official
 *       respacing), strided (ddimN), or counts per section such as 10,15,25.
 *   "steps_offset": Added to every timestep of the leading spacing; 0: what the model's scheduler says.
 *   "eta": The noise of DDIM, 0 (none) to 1.
 *   "guidance": Classifier-free guidance scale; 1 or less: none.
 *   "guidance_channels": How many channels are guided, counted from the first.
 *   "guidance_rescale": How far the guided prediction is rescaled to the standard deviation of the conditional one (Lin et al.
 *       2023); 0: not at all.
 *   "guidance_interval": Part of the run in which guidance applies, as fractions of its steps; outside only the conditional
 *       prediction is used.
 *   "guidance_execution": How predictions are computed, bit for bit the same: the two in one batch, one after the other, side by
 *       side on parts of the threads, or by rows on the ranks of an MPI program.
 *   "seed": Seed of the random numbers, as in torch.manual_seed on the CPU.
 *   "decode": Whether the final state is decoded to images, where the model can.
 *   "tile": Side of the decoder's tiles, in latents; auto: whole images, or tiles when the memory limit requires them.
 *   "noise": The initial noise, instead of that of the seed.
 *   "step_noise": The noise that steps add, in the order of use; ddim and ddpm draw once a step.
 * Prompts (stable_diffusion):
 *   "prompt": What to draw, or several as a batch.
 *   "negative_prompt": What to keep away from: one text for all prompts, or one for each.
 *   "prompt_2": What text encoder 2 reads, where that is another text.
 *   "negative_prompt_2": What text encoder 2 reads of it, where that is another text.
 *   "prompt_3": What text encoder 3 reads, where that is another text.
 *   "negative_prompt_3": What text encoder 3 reads of it, where that is another text.
 *   "images_per_prompt": Pictures of each prompt.
 *   "clip_skip": Layers left out at the end of the CLIP text encoders.
 *   "max_sequence_length": Tokens of the text that T5 reads.
 *   "height": Pixels, a multiple of 8.
 *   "width": Pixels, a multiple of 8.
 *   "steps": Number of sampling steps.
 *   "sampler": The sampler, by its name or by its class in diffusers.
 *   "spacing": How timesteps are spaced: leading, trailing, linspace (diffusers); of ddim and ddpm also even (official
 *       respacing), strided (ddimN), or counts per section such as 10,15,25.
 *   "steps_offset": Added to every timestep of the leading spacing; 0: what the model's scheduler says.
 *   "eta": The noise of DDIM, 0 (none) to 1.
 *   "guidance": Classifier-free guidance scale; 1 or less: none.
 *   "guidance_rescale": How far the guided prediction is rescaled to the standard deviation of the conditional one (Lin et al.
 *       2023); 0: not at all.
 *   "guidance_interval": Part of the run in which guidance applies, as fractions of its steps; outside only the conditional
 *       prediction is used.
 *   "guidance_execution": How predictions are computed, bit for bit the same: the two in one batch, one after the other, side by
 *       side on parts of the threads, or by rows on the ranks of an MPI program.
 *   "image": The picture to begin with, in -1 … 1.
 *   "strength": How much of the given picture is changed: the share of the steps that is made.
 *   "mask": Where to paint: 1 (0.5 or more), and where the picture stays: 0.
 *   "image_latents": The same as scaled latents, instead of image.
 *   "original_size": Height and width that the picture is to look like it had before it was scaled.
 *   "crop": Top and left of the part that it is to look like it was cut from.
 *   "target_size": Height and width that the network is told to aim at.
 *   "negative_original_size": Height and width that the picture is to look like it had before it was scaled. For the negative
 *       prompt.
 *   "negative_crop": Top and left of the part that it is to look like it was cut from. For the negative prompt.
 *   "negative_target_size": Height and width that the network is told to aim at. For the negative prompt.
 *   "seed": Seed of the random numbers, as in torch.manual_seed on the CPU.
 *   "seeds": A seed for each picture, which is then the same in whatever batch.
 *   "previews": What events show: nothing, a linear projection of the latents, or what the decoder makes of them.
 *   "decode": Whether the final state is decoded to images, where the model can.
 *   "tile": Side of the decoder's tiles, in latents; auto: whole images, or tiles when the memory limit requires them.
 *   "noise": The initial noise, instead of that of the seed.
 *   "step_noise": The noise that steps add, in the order of use.
 *   "prompt_embeds": States of the text, instead of prompt.
 *   "negative_prompt_embeds": The same of the negative prompt.
 *   "pooled_prompt_embeds": The pooled text beside prompt_embeds.
 *   "negative_pooled_prompt_embeds": The same of the negative prompt.
 * Sounds (audioldm):
 *   "prompt": What is to be heard, or several as a batch.
 *   "negative_prompt": What to keep away from: one text for all prompts, or one for each.
 *   "waveforms_per_prompt": Sounds of each prompt, in the order in which they are made: none is judged.
 *   "seconds": Length of the sounds. What the network was not trained on it may do less well.
 *   "steps": Number of sampling steps.
 *   "sampler": The sampler, by its name or by its class in diffusers.
 *   "spacing": How timesteps are spaced: leading, trailing, linspace (diffusers); of ddim and ddpm also even (official
 *       respacing), strided (ddimN), or counts per section such as 10,15,25.
 *   "steps_offset": Added to every timestep of the leading spacing; 0: what the model's scheduler says.
 *   "eta": The noise of DDIM, 0 (none) to 1.
 *   "guidance": Classifier-free guidance scale; 1 or less: none.
 *   "guidance_rescale": How far the guided prediction is rescaled to the standard deviation of the conditional one (Lin et al.
 *       2023); 0: not at all.
 *   "guidance_interval": Part of the run in which guidance applies, as fractions of its steps; outside only the conditional
 *       prediction is used.
 *   "guidance_execution": How predictions are computed, bit for bit the same: the two in one batch, one after the other, side by
 *       side on parts of the threads, or by rows on the ranks of an MPI program.
 *   "max_new_tokens": Vectors that the language model makes of a prompt.
 *   "unconditional": What guidance leads away from, without a negative prompt: what the language model makes of an empty text,
 *       or zeros, as in the original code.
 *   "seed": Seed of the random numbers, as in torch.manual_seed on the CPU.
 *   "seeds": A seed for each sound, which is then the same in whatever batch.
 *   "decode": Whether the final state is made a sound: its spectrogram, and its values.
 *   "noise": The initial noise, instead of that of the seed.
 *   "step_noise": The noise that steps add, in the order of use.
 *   "prompt_embeds": CLAP's vectors, of length 1 (AudioLDM), or the second encoder's states (AudioLDM 2), instead of texts.
 *   "attention_mask": 1 for states of prompt_embeds that are seen, 0 for padding; without it all are seen.
 *   "generated_prompt_embeds": What the language model makes, beside prompt_embeds.
 *   "clap_embeds": CLAP's vectors: of these and of prompt_embeds the language model makes the rest.
 *   "negative_prompt_embeds": The same of the negative prompt.
 *   "negative_attention_mask": The same of the negative prompt.
 *   "negative_generated_prompt_embeds": The same of the negative prompt.
 *   "negative_clap_embeds": The same of the negative prompt.
 * Scale by scale (var):
 *   "labels": The class of each sample, by number or by name.
 *   "guidance": Classifier-free guidance t of (1 + t) c - t u, growing from 0 at the first scale to this at the last; 0: none.
 *   "top_k": Keep only the top_k most likely codes, 0: all; one number, or one per scale.
 *   "top_p": Nucleus sampling: keep the smallest set of codes with cumulative probability ≥ top_p; 0: all.
 *   "temperature": Divides the remaining logits; one number, or one per scale. top_k 1 takes the most probable code.
 *   "more_smooth": Mixes codes instead of sampling them: for looks, not for statistics.
 *   "seed": Seed of the random numbers, as in torch.manual_seed on the CPU.
 *   "decode": Whether the final state is decoded to images, where the model can.
 *   "previews": Whether events have a preview, the image that the state decodes to so far; each costs a decoding.
 *   "uniforms": A number in 0 ..< 1 for each token, scale by scale, instead of those of the seed.
 *   "image": An image in -1...1, part of which is kept while the rest is drawn to fit it; needs the VQ-VAE's encoder.
 *   "mask": Non-zero where the image is kept; of any size, resized by nearest neighbour; goes with image.
 * Token by token (mar):
 *   "labels": The class of each sample, by number or by name.
 *   "steps": Iterations, each of which predicts some tokens; as many as there are tokens predict one each.
 *   "guidance": Classifier-free guidance scale; 1: none.
 *   "guidance_schedule": Whether guidance grows with the share of tokens that are generated, or is the same in all
 *       iterations.
 *   "temperature": What the noise of the head's steps is multiplied by.
 *   "head_steps": Diffusion steps of each token: a number, ddimN, or counts per section such as 10,15,25.
 *   "order": Whose random numbers draw the order of the tokens from the seed: torch.randperm, or numpy.random.shuffle as the
 *       published code has it.
 *   "seed": Seed of the random numbers, as in torch.manual_seed on the CPU.
 *   "decode": Whether the final state is decoded to images, where the model can.
 *   "tile": Side of the decoder's tiles, in latents; auto: whole images, or tiles when the memory limit requires them.
 *   "previews": Whether events have a preview, the image that the tokens so far decode to; each costs a decoding.
 *   "noise": The start noise of all tokens, instead of that of the seed.
 *   "step_noise": The noise that the head's steps add, in the order of use; the last is drawn and not used.
 * Texts (llada, illada, dream):
 *   "prompt": The text to continue, or several as a batch.
 *   "tokens": The tokens of the prompt, or of several, instead of prompt.
 *   "chat": Whether the prompt is a user's message to an instruction-tuned model.
 *   "blank": A mark in the prompt that stands for one token to be filled in, such as ___.
 *   "allow_control": Whether control tokens that the prompt spells out are those tokens, and not text like any other.
 *   "length": Tokens to generate after each prompt; 0: only masks in the prompts are filled.
 *   "infill": Whether masks in the prompts are filled like those after them; steps and blocks then cover all of them.
 *   "steps": Number of passes over the whole text.
 *   "block_length": Tokens per block.
 *   "order": Which positions are revealed first.
 *   "temperature": Temperature of the tokens; 0: the most probable.
 *   "threshold": Each pass reveals all positions of at least this probability, and at least one.
 *   "guidance": Guidance away from a masked prompt; 0: none.
 *   "end_last": Whether tokens that end a text are chosen only when nothing else is left to reveal.
 *   "no_end": Whether tokens that end a text are never chosen.
 *   "allow_mask": Whether the mask token may be chosen, as in the published code, which then leaves masks in the text.
 *   "seed": Seed of the random numbers, as in torch.manual_seed: one stream for the whole batch.
 *   "seeds": A seed for each prompt instead; each is then sampled as if it were alone.
 *   "lengths": Number of tokens of each prompt in the tensor tokens; without it they are one prompt.
 *   "order_temperature": Randomness of the order.
 *   "top_p": Nucleus sampling: keep the smallest set with cumulative probability ≥ top_p.
 *   "top_k": Keep only the top_k most likely tokens; 0: all.
 *   "eps": Last time of the schedule. */

/* JSON with the memory a request needs, found by a dry run: {"bytes": {"weights", "cache", "workspace", "decode", "peak"},
 * "calls": {"total" (of networks), "exact" (false: the sampler decides while running; calls, flops and sites are then upper bounds)},
 * "flops": {"total", "baseline"}, "sites": {"computed", "reused", "skipped"}, "convolutions": {"direct", "F(2,3)", "F(4,3)"} (how many are
 * computed so at the request's sizes)}. Arguments as da_session_run. Nothing large is allocated. */
int32_t da_session_estimate(da_session session, const char *json, size_t length, const da_tensor *tensors, size_t tensor_count,
                            char *buf, size_t capacity, size_t *needed);

/* Runs a request: `length` bytes of JSON (0: no options; json may then be null), and `tensor_count` tensors (0...64; tensors may be null
 * when 0), all read during the call. Blocks until done, failed or cancelled; the session can be used again in every case. `callback` may
 * be null.
 * Errors: DA_INVALID_ARGUMENT naming the option (unknown, missing, out of range); DA_FORMAT (no JSON); DA_SHAPE naming the tensor;
 * DA_INCOMPATIBLE, DA_UNSUPPORTED, DA_OVER_BUDGET, DA_NO_MEMORY, DA_BUSY; DA_NOT_FINITE for NaN or infinity, naming where it arose:
 * an input, the network and its step, the decoder and its image; DA_CANCELLED when stopped. */
int32_t da_session_run(da_session session, const char *json, size_t length, const da_tensor *tensors, size_t tensor_count,
                       da_event_callback callback, void *user, da_result *result);

/* Stops the session's current run, if any. May be called from any thread or signal handler; returns at once and does not
 * touch da_last_error. */
int32_t da_session_cancel(da_session session);

/* Releases the handle, also from a callback; a run in progress ends normally. */
int32_t da_session_close(da_session session);

/* ---- results ----------------------------------------------------------------------------------------------------- */

/* A tensor of the result.
 *   Images: "latents" f32 [n,C,h,w] (for pixel models the same as "pixels"), and if decoded "pixels" f32 [n,3,H,W] (nominally -1...1) and
 *     "images" u8 [n,H,W,3] (or 1 channel). Models that generate scale by scale also have "tokens" i64 [n,L], one scale after the other.
 *   Sounds: "latents" f32 [n,C,t,f], and if decoded "audio" f32 [n, values] (-1...1, of which "sample_rate" of da_result_stats are a second)
 *     and "mel" f32 [n, frames, bins], the spectrograms.
 *   Language models: "tokens" i64 [prompts, length], generated after the prompts; "sequences" i64 [sum of lengths], prompts and texts one
 *     after the other; "lengths" i64 [prompts]; "filled" i64 [sum of lengths], 1 where the run wrote a token; and, if the model has a
 *     tokenizer, "text" u8, the texts in UTF-8 one after the other, with "text_lengths" i64 [prompts] in bytes.
 * `view` (its struct_size set) is filled; data belongs to the result and must not be written. Errors: DA_INVALID_ARGUMENT when there is no
 * such tensor. */
int32_t da_result_tensor(da_result result, const char *name, da_tensor *view);

/* JSON: {"seconds", "encode_seconds", "decode_seconds", "threads", "isa", "precision", "sampler",
 * "steps": [{"timestep", "network", "seconds", "computed", "reused", "skipped", "flops"}],
 * "totals", "memory", "sample_rate" (of sounds, else null), "tensors": {name: shape}}; "steps" has an entry for each network call; for language
 * models also "query_rows" and "head_rows", the rows that the network computed and those that went through its head. Pictures from
 * prompts have "parameters", a text for each: what it was made with, in the form that programs of this field write into PNG files under
 * that name ("PROMPT\nNegative prompt: ...\nSteps: 20, Sampler: Euler, CFG scale: 7.5, Seed: 1, Size: 512x512, ..."); else it is empty.
 * Of a plan that divides the network "components", as da_plan_describe tells them: those that the run had, at its size, cut by measured
 * times where the plan says so. */
int32_t da_result_stats(da_result result, char *buf, size_t capacity, size_t *needed);

int32_t da_result_close(da_result result);

/* ---- learning ------------------------------------------------------------------------------------------------------- */

/* Settings, a JSON object, say what is learned. Members of all methods:
 *   "method": "router" (Learning-to-Cache), of DiT, U-ViT and U-Net models; "prune" (depth pruning) or "finetune" (weights), of DiT models;
 *     "specialise" (weights of a VAR, for its part of CoDe)
 *   "data": {"path": "file.safetensors"} with tensors "latents" and "labels", or {"latents": "x.npy", "labels": "y.npy"}; latents
 *     [N,C,h,w], or [N,2,C,h,w] with horizontally flipped copies, F32, F16, BF16, F64 or U8 (0...255 means -1...1), times "factor"
 *     (1); labels integers [N]. Of specialise: "tokens" instead, integers [N, tokens of all scales], coarse to fine, or "images"
 *     [N,3,H,W] as the VQ-VAE takes them (types as above), encoded again each time. Data are read from disk batch by batch.
 *   "steps", "batch", "seed" (0...2^63-1), "label_dropout" (0.1), "recompute" (false: blocks keep their activations)
 *   "state": file the state is written to (atomically) every "save_every" (100) steps, at the end, and when stopped; "resume": true
 *     resumes from it if it exists
 * router: "sampling_steps" (20), "period" (2: one step in 2 is a full one), "l1" (5e-6), "learning_rate" (1e-3), "clamp" (5; 0: none),
 *   "straight_through" (threshold; absent: soft), "threshold" (0.1, of the exported plan), "trajectory": "data" (as published) or
 *   "own" (the model's own samples, with the earlier steps cached; data may be absent) with "guidance" (1) and "guidance_channels",
 *   "cache_limit" (bytes of kept outputs per network row, of the exported plan). For a U-ViT, whose steps are two network calls
 *   with a row each: "sampling_steps" (10), "period" 2, "l1" (0.1, on a sum of squares), "clamp" (0), "threshold" (0.9). For a U-Net
 *   (a pipeline's folder, or its unet/ with the scheduler's file in it), for DDIM on the scheduler's timesteps: "prompts", a safetensors file with "prompt_embeds" [P,t,D], of SDXL "pooled_prompt_embeds" [P,W] and
 *   "time_ids" [P,6], and the same after "negative_" with one row, which stands for no prompt; labels are numbers of prompts
 * prune, learned: "pattern": "1:2" or "groups": [[kept, blocks], ...]; "update": "lora", "full" or "gates"; "rank" (8), "alpha" (16),
 *   "learning_rate" (1e-4), "gate_rate" (1e-3), "temperature" ([4, 0.1]), "scaling" ([100, 100]), "clip" (1), "average_decay" (0.999)
 * prune, by rule: "rule": "index" with "keep": [...], "pairs", "similarity", "change", "sensitivity" or "random" with "keep_count";
 *   "calibration": "official" or "noised"
 * finetune: "learning_rate" ([2e-4, 1e-4], half a cosine), "warmup" (0), "weight_decay" (0), "clip" (1), "average_decay" (0.9999), "start":
 *   "checkpoint" or "scratch"; "distillation": "none", "logits" or "masked" with "teacher": path, "distillation_weight" (0.9),
 *   "ground_weight" (0.1), "feature_weight" ([0.01, 0]), "masking": "published", "paper" or "none", "sigmas" (2), "layer_map":
 *   [[student, teacher], ...] or "groups"; "dtype": "f32", "f16", "bf16" or "stored" and "averaged" (true) of exports
 * specialise: "role": "drafter" (cross-entropy on the tokens of the first scales, seeing only those) or "refiner" (divergence from the
 *   distribution of "teacher": path of another VAR, on the other scales) and "draft_scales", both required; for a refiner "alpha"
 *   (1: weight of the divergence, cross-entropy has the rest; above 0 a teacher is required) and "temperature" (1);
 *   "label_smoothing" (0), "learning_rate" ([1e-4, 1e-5], half a cosine), "warmup" (a fiftieth of the steps), "weight_decay" (0.05,
 *   of matrices), "clip" (2), "average_decay" (0.999);
 *   "vae": path of the VQ-VAE where neither model nor teacher has one in a folder vae; "dtype" and "averaged" as above */

/* Options of da_trainer_create. */
typedef struct da_trainer_options {
    uint32_t struct_size;
    int32_t threads;            /* 0: one per processor that may be used; else 1...256 */
    uint64_t memory_limit;      /* bytes for weights, gradients, moments, averages and activations; 0: none */
} da_trainer_options;

/* Fills *options with defaults. */
int32_t da_trainer_options_init(da_trainer_options *options, uint32_t size);

/* What a callback is told after each step. All pointers are valid during the call. */
typedef struct da_training_event {
    uint32_t struct_size;
    int32_t reserved;           /* zero */
    int64_t step;               /* the step just made, from 1 */
    int64_t steps;              /* of the whole training */
    double loss;                /* all terms together */
    double gradient_norm;       /* of everything that learns, before clipping */
    double learning_rate;
    double seconds;             /* since da_trainer_run began */
    const float *confidences;   /* [confidence_count] in 0...1: of each group of gates, or a router's scores of the row just trained */
    size_t confidence_count;
    const char *json;           /* the same as one line of JSON, with the terms of the loss by name */
} da_training_event;

/* Called on the thread that called da_trainer_run, with no lock held. A non-zero return stops the run. It must
 * return normally: an exception or a longjmp out of it leaves the trainer busy forever. */
typedef int32_t (*da_training_callback)(void *user, const da_training_event *event);

/* A trainer of the checkpoint at `path` (as for da_model_open, of a family that has the method) with `length` bytes of settings.
 * `model_options` and `options` may be null. Errors: DA_INVALID_ARGUMENT and DA_FORMAT naming the setting, DA_SHAPE, DA_IO,
 * DA_INCOMPATIBLE (a state of another training), DA_UNSUPPORTED, DA_NO_MEMORY, DA_OVER_BUDGET. */
int32_t da_trainer_create(const char *path, const char *settings, size_t length, const da_model_options *model_options,
                          const da_trainer_options *options, da_trainer *trainer);

/* JSON with the memory that a trainer with these arguments would need, by a dry run of a step: {"bytes": {"weights", "learning",
 * "workspace", "peak"}, "trained_parameters"}. Weights are not read, except copies, to compare them. */
int32_t da_trainer_estimate(const char *path, const char *settings, size_t length, const da_model_options *model_options,
                            const da_trainer_options *options, char *buf, size_t capacity, size_t *needed);

/* Makes `steps` more steps; 0: all that are left. `callback` may be null. Whatever ends the run, the trainer is left after its last whole
 * step and can continue. Errors: DA_INVALID_ARGUMENT, DA_NOT_FINITE (data; the very first loss; or losses 50 times in a row), DA_IO
 * (data or state), DA_OVER_BUDGET, DA_NO_MEMORY, DA_BUSY; DA_CANCELLED when stopped. */
int32_t da_trainer_run(da_trainer trainer, int64_t steps, da_training_callback callback, void *user);

/* Stops the trainer's current run, if any. May be called from any thread or signal handler; returns at once. */
int32_t da_trainer_cancel(da_trainer trainer);

/* JSON: {"method", "step", "steps", "bytes"} and what was learned: a router's "removed" and "rows"; "keep", "confidences" and
 * "probabilities" of gates; "keep" and measures of a rule. */
int32_t da_trainer_describe(da_trainer trainer, char *buf, size_t capacity, size_t *needed);

/* JSON with what was learned so far, measured on `batches` (1...100000) batches without randomness: a router's "error" (mean
 * squared difference from the plain network) and "removed"; "loss" of the decided blocks and "loss_all_blocks"; "loss" of weights,
 * with its terms "ce" and "kl" when they are specialised. Every call computes, even a size query; the text is shorter than 512
 * bytes. */
int32_t da_trainer_evaluate(da_trainer trainer, int32_t batches, char *buf, size_t capacity, size_t *needed);

/* Writes everything that later steps depend on to `path`, atomically; reads it back. A state of other settings is
 * DA_INCOMPATIBLE, one with NaN or infinity DA_NOT_FINITE; the trainer is then unchanged. */
int32_t da_trainer_save(da_trainer trainer, const char *path);
int32_t da_trainer_restore(da_trainer trainer, const char *path);

/* What was learned, as a plan: a router, or the blocks to keep. Errors: DA_UNSUPPORTED for finetune and specialise. */
int32_t da_trainer_plan(da_trainer trainer, da_plan *plan);

/* Writes a checkpoint folder in the layout of the original one, created if it does not exist: pruned, with the original weights, or with
 * the trained weights (of a VAR with its folder vae, if it has one). Errors: DA_UNSUPPORTED for a router, DA_NOT_FINITE, DA_IO. */
int32_t da_trainer_export(da_trainer trainer, const char *folder);

/* Releases the handle; a run in progress ends normally. */
int32_t da_trainer_close(da_trainer trainer);

/* ---- text ----------------------------------------------------------------------------------------------------------- */

/* The tokenizer in a model's folder (see da_tokenizer_load). Errors: DA_UNSUPPORTED if the model is not a
 * language model or has none; the errors of reading it. Immutable; may be used by several threads at once. */
int32_t da_model_tokenizer(da_model model, da_tokenizer *tokenizer);

/* A tokenizer.json, or a folder with one, by its path; a folder may also have vocab.json with merges.txt (byte pairs: CLIP's or Qwen2's)
 * or spiece.model (pieces: T5's). Errors: DA_IO, DA_FORMAT, DA_UNSUPPORTED. */
int32_t da_tokenizer_load(const char *path, da_tokenizer *tokenizer);

/* Tokens of `length` bytes of UTF-8 at `text`. Invalid UTF-8 counts as U+FFFD. `flags` are DA_ENCODE_*, added. Control tokens
 * such as <|endoftext|> are plain text unless DA_ENCODE_CONTROL says otherwise, so that user text cannot open a turn of a chat or
 * insert masks. *needed is the number of tokens; if capacity is less, the status is DA_MORE and nothing is written. `tokens` has room
 * for capacity ids; `offsets`, null or with room for twice as many, receives each token's first byte and the one after its last: within
 * 0...length and never decreasing [CABI/text_safety: test_offsets]; tokens of one character share its bytes. `cancel`, null
 * or a word that any thread or signal handler may set to other than 0 during the call, ends it with DA_CANCELLED.
 * Errors: DA_INVALID_ARGUMENT (more than 64 MiB), DA_UNSUPPORTED (the tokenizer's pattern takes too long). */
int32_t da_tokenizer_encode(da_tokenizer tokenizer, const char *text, size_t length, int32_t flags, const int32_t *cancel,
                            int64_t *tokens, int64_t *offsets, size_t capacity, size_t *needed);

#define DA_ENCODE_SPECIAL 1     /* add what the tokenizer puts around a text; not for chats */
#define DA_ENCODE_CONTROL 2     /* control tokens spelled out in the text become those tokens */

/* The text of `count` tokens into buf, with a final NUL; the text may hold NULs of its own, and is *needed - 1 bytes long.
 * skip_special 1: without special tokens. Numbers that are not tokens are dropped. `cancel`: as in da_tokenizer_encode. */
int32_t da_tokenizer_decode(da_tokenizer tokenizer, const int64_t *tokens, size_t count, int32_t skip_special,
                            const int32_t *cancel, char *buf, size_t capacity, size_t *needed);

int32_t da_tokenizer_close(da_tokenizer tokenizer);

/* A conversation as instruction-tuned models of `family` ("llada", "dream") were trained to read it, as tokens. `messages` is JSON
 * of `length` bytes: [{"role": "user", "content": "..."}, ...], roles being "system", "user" and "assistant". ask 1: open the
 * assistant's turn. Contents are plain text unless `flags` is DA_ENCODE_CONTROL. `tokens`, capacity, *needed and `cancel`
 * as in da_tokenizer_encode. Errors: DA_INVALID_ARGUMENT (roles), DA_FORMAT (JSON), DA_UNSUPPORTED (the folder's own template is not one
 * of the family's), those of da_tokenizer_encode. */
int32_t da_chat_encode(da_tokenizer tokenizer, const char *family, const char *messages, size_t length, int32_t ask,
                       int32_t flags, const int32_t *cancel, int64_t *tokens, size_t capacity, size_t *needed);

/* The same as a text, for reading: a content that holds the text of a control token looks like one here, and encoding this with
 * DA_ENCODE_CONTROL makes it one. */
int32_t da_chat_render(const char *family, const char *messages, size_t length, int32_t ask, char *buf, size_t capacity,
                       size_t *needed);

/* ---- random numbers ------------------------------------------------------------------------------------------------ */

/* torch's CPU generator after torch.manual_seed(seed): the first `count` values of torch.randn(count), torch.rand(count) and
 * torch.randperm(count), into the caller's array of that many elements. Stable forever. The integer stream is exact; normal
 * values x agree with torch to 2e-7 + 2e-7 |x|. Errors: DA_INVALID_ARGUMENT for a null array with a count above 0, or more than 2^40. */
int32_t da_random_normal(uint64_t seed, size_t count, float *out);
int32_t da_random_uniform(uint64_t seed, size_t count, float *out);
int32_t da_random_permutation(uint64_t seed, size_t count, int64_t *out);

#ifdef __cplusplus
}
#endif
#endif /* DIFFACCEL_H */
