"""llama.cpp as a contender: the random LLaDA as a GGUF file, and one plain pass through llama.cpp's C interface.

The library comes from the `xllamacpp` package, whose binary wheel exports llama.cpp whole; `llama-cpp-python` is the same code, to be
compiled for most of an hour. Activations are rounded to the type of the weights inside its products; that is how llama.cpp works.
"""

import ctypes
import importlib.util
import json
import pathlib

import numpy as np

import language_model

TYPES = ("bf16", "f16", "q8_0")


def _grouped(matrix, heads):
    """Rows of queries and keys in the order of llama.cpp's rotary embedding: neighbours instead of halves."""
    rows, width = matrix.shape
    return matrix.reshape(heads, 2, rows // heads // 2, width).swapaxes(1, 2).reshape(rows, width)


def write(folder, sizes, layers, dtype):
    """The checkpoint of `folder` as a GGUF file beside it, written once."""
    import gguf
    from safetensors.torch import load_file

    path = folder / f"model-{dtype}.gguf"
    if path.exists():
        return path
    kind = getattr(gguf.GGMLQuantizationType, dtype.upper())
    config = json.loads((folder / "config.json").read_text())
    writer = gguf.GGUFWriter(path.with_suffix(".part"), "llada")
    writer.add_context_length(config["max_sequence_length"])
    writer.add_embedding_length(sizes["d_model"])
    writer.add_block_count(layers)
    writer.add_feed_forward_length(sizes["mlp_hidden_size"])
    writer.add_head_count(sizes["n_heads"])
    writer.add_head_count_kv(sizes["n_kv_heads"])
    writer.add_rope_dimension_count(sizes["d_model"] // sizes["n_heads"])
    writer.add_rope_freq_base(language_model.ROPE)
    writer.add_layer_norm_rms_eps(language_model.EPS)
    writer.add_vocab_size(sizes["embedding_size"])
    writer.add_causal_attention(False)
    writer.add_tokenizer_model("none")
    state = load_file(str(folder / "model.safetensors"))

    def add(name, source, heads=None):
        values = state.pop(source).float().numpy()
        if values.ndim == 1:
            writer.add_tensor(name, values)
            return
        if heads:
            values = _grouped(values, heads)
        writer.add_tensor(name, gguf.quants.quantize(values, kind), raw_dtype=kind)

    top = "model.transformer."
    add("token_embd.weight", f"{top}wte.weight")
    add("output_norm.weight", f"{top}ln_f.weight")
    add("output.weight", f"{top}ff_out.weight")
    parts = {"attn_norm": ("attn_norm", None), "attn_q": ("q_proj", "n_heads"), "attn_k": ("k_proj", "n_kv_heads"),
             "attn_v": ("v_proj", None), "attn_output": ("attn_out", None), "ffn_norm": ("ff_norm", None),
             "ffn_gate": ("ff_proj", None), "ffn_up": ("up_proj", None), "ffn_down": ("ff_out", None)}
    for layer in range(layers):
        for name, (source, heads) in parts.items():
            add(f"blk.{layer}.{name}.weight", f"{top}blocks.{layer}.{source}.weight", heads and sizes[heads])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    path.with_suffix(".part").rename(path)
    return path


class _Batch(ctypes.Structure):
    _fields_ = [("count", ctypes.c_int32), ("token", ctypes.POINTER(ctypes.c_int32)), ("embedding", ctypes.c_void_p),
                ("position", ctypes.POINTER(ctypes.c_int32)), ("sequences", ctypes.POINTER(ctypes.c_int32)),
                ("sequence", ctypes.POINTER(ctypes.POINTER(ctypes.c_int32))), ("wanted", ctypes.POINTER(ctypes.c_int8))]


class _Parameters(ctypes.Structure):
    """Parameters of a model or a context. Passed in memory, so that more room than this version's fields take does no harm."""

    _fields_ = [("words", ctypes.c_uint32 * 256)]


def _library():
    # Without importing the module, which would load its own bindings; its symbols need the interpreter's, which are here.
    place = pathlib.Path(importlib.util.find_spec("xllamacpp").origin).parent
    library = ctypes.CDLL(str(next(place.glob("xllamacpp*.so"))))
    for name, result, arguments in (
            ("llama_model_default_params", _Parameters, []), ("llama_context_default_params", _Parameters, []),
            ("llama_model_load_from_file", ctypes.c_void_p, [ctypes.c_char_p, _Parameters]),
            ("llama_init_from_model", ctypes.c_void_p, [ctypes.c_void_p, _Parameters]),
            ("llama_batch_init", _Batch, [ctypes.c_int32] * 3), ("llama_decode", ctypes.c_int32, [ctypes.c_void_p, _Batch]),
            ("llama_get_logits_ith", ctypes.POINTER(ctypes.c_float), [ctypes.c_void_p, ctypes.c_int32]),
            ("llama_set_n_threads", None, [ctypes.c_void_p, ctypes.c_int32, ctypes.c_int32]),
            ("llama_set_causal_attn", None, [ctypes.c_void_p, ctypes.c_bool])):
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


_SILENT = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)(lambda level, text, user: None)


def contender(folder, sizes, layers, dtype, threads, places):
    """(tokens [n], wanted rows [r]) -> logits [r, vocabulary], for up to `places` tokens."""
    library = _library()
    library.llama_log_set(_SILENT, None)
    library.llama_backend_init()
    model = library.llama_model_load_from_file(str(write(folder, sizes, layers, dtype)).encode(),
                                               library.llama_model_default_params())
    if not model:
        raise RuntimeError(f"llama.cpp does not open {folder} as {dtype}")
    parameters = library.llama_context_default_params()
    # n_ctx, n_batch, n_ubatch, n_seq_max: where this version has them shows by their defaults.
    if list(parameters.words[:4]) != [512, 2048, 512, 1]:
        raise RuntimeError(f"another llama.cpp: its context begins with {list(parameters.words[:4])}")
    parameters.words[0] = parameters.words[1] = parameters.words[2] = places
    context = library.llama_init_from_model(model, parameters)
    if not context:
        raise RuntimeError("llama.cpp makes no context")
    library.llama_set_n_threads(context, threads, threads)
    library.llama_set_causal_attn(context, False)
    batch = library.llama_batch_init(places, 0, 1)

    def run(tokens, rows):
        wanted = np.zeros(len(tokens), np.int8)
        wanted[rows] = 1
        batch.count = len(tokens)
        for i, token in enumerate(tokens):
            batch.token[i], batch.position[i], batch.sequences[i] = int(token), i, 1
            batch.sequence[i][0], batch.wanted[i] = 0, int(wanted[i])
        if library.llama_decode(context, batch):
            raise RuntimeError("llama.cpp refuses the batch")
        width = sizes["embedding_size"]
        return np.stack([np.ctypeslib.as_array(library.llama_get_logits_ith(context, int(row)), (width,)) for row in rows])

    return run
