"""Who else makes a plain pass of a diffusion language model. Each builder gives a function (tokens [n], wanted rows [r]) -> logits
[r, vocabulary] on the weights of `language_model.write`.
"""

import ctypes
import time
import warnings

import numpy as np

import language_model


def torch_eager(folder, sizes, layers, threads, tokens, rows, dtypes=("bf16", "f32")):
    """torch in bf16 or in f32, whichever makes a pass faster here; the other is let go. `name` says which, `trials` the seconds."""
    import torch

    torch.set_num_threads(threads)
    names = {"bf16": torch.bfloat16, "f32": torch.float32}
    best, trials = None, {}
    for name in dtypes:
        network = language_model.torch_network(folder, sizes, layers, names[name])
        run = _torch_pass(network)
        run(tokens[:8], rows[:1] * 0)  # kernels are chosen
        began = time.perf_counter()
        run(tokens, rows)
        trials[name] = time.perf_counter() - began
        if best is None or trials[name] < trials[best.name]:
            best, best.name = run, name
        del network, run
    best.trials = trials
    return best


def _torch_pass(network):
    import torch

    def run(tokens, rows):
        with torch.inference_mode():
            return network(torch.from_numpy(tokens[None]), torch.from_numpy(rows)).float().numpy()

    run.network = network
    return run


def openvino(network, threads, tokens, rows):
    """OpenVINO's CPU plugin on the graph of the torch network in f32, asked for f32 arithmetic and the shortest single pass. Shapes are
    fixed: every pass wants as many rows as a block has places."""
    import openvino as ov
    import torch

    with torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's, about the tracer that the converter uses
        example = (torch.from_numpy(tokens[None]), torch.from_numpy(rows))
        converted = ov.convert_model(network, example_input=example)
    converted.reshape({port: list(array.shape) for port, array in zip(converted.inputs, example)})
    settings = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1}
    compiled = ov.Core().compile_model(converted, "CPU", settings)
    request = compiled.create_infer_request()

    def run(tokens, rows):
        return request.infer([tokens[None], rows], share_inputs=True)[compiled.output(0)].copy()

    return run


def llama_cpp(folder, sizes, layers, threads, most):
    """llama.cpp through llama-cpp-python on a GGUF with the same bf16 matrices. `most`: places of the longest canvas."""
    import llama_cpp

    path = _gguf(folder, sizes, layers)
    llama_cpp.llama_backend_init()
    quiet = llama_cpp.llama_log_callback(lambda level, text, user: None)
    llama_cpp.llama_log_set(quiet, ctypes.c_void_p())
    model = llama_cpp.llama_model_load_from_file(str(path).encode(), llama_cpp.llama_model_default_params())
    settings = llama_cpp.llama_context_default_params()
    settings.n_ctx = settings.n_batch = settings.n_ubatch = most
    settings.n_threads = settings.n_threads_batch = threads
    context = llama_cpp.llama_init_from_model(model, settings)
    if not model or not context:
        raise RuntimeError("llama.cpp does not open the model")
    llama_cpp.llama_set_causal_attn(context, False)
    batch = llama_cpp.llama_batch_init(most, 0, 1)

    def run(tokens, rows):
        wanted = set(rows.tolist())
        batch.n_tokens = len(tokens)
        for i, token in enumerate(tokens.tolist()):
            batch.token[i], batch.pos[i], batch.n_seq_id[i], batch.seq_id[i][0] = token, i, 1, 0
            batch.logits[i] = i in wanted
        if llama_cpp.llama_decode(context, batch):
            raise RuntimeError("llama.cpp makes no pass")
        found = llama_cpp.llama_get_logits(context)
        return np.ctypeslib.as_array(found, (len(rows), sizes["embedding_size"])).copy()

    run.kept = (quiet, model, context, batch)
    return run


def _gguf(folder, sizes, layers):
    """The checkpoint as GGUF, written once beside it."""
    import gguf
    import torch
    from safetensors.torch import load_file

    path = folder / "model.gguf"
    if path.exists():
        return path
    writer = gguf.GGUFWriter(str(path.with_suffix(".partial")), "llada")
    writer.add_context_length(4096)
    writer.add_embedding_length(sizes["d_model"])
    writer.add_block_count(layers)
    writer.add_feed_forward_length(sizes["mlp_hidden_size"])
    writer.add_head_count(sizes["n_heads"])
    writer.add_head_count_kv(sizes["n_kv_heads"])
    writer.add_layer_norm_rms_eps(language_model.EPS)
    writer.add_rope_freq_base(language_model.ROPE)
    writer.add_rope_dimension_count(sizes["d_model"] // sizes["n_heads"])
    writer.add_vocab_size(sizes["embedding_size"])
    writer.add_causal_attention(False)
    writer.add_tokenizer_model("none")
    names = {"wte": "token_embd", "ln_f": "output_norm", "ff_out": "output"}
    parts = {"attn_norm": "attn_norm", "ff_norm": "ffn_norm", "q_proj": "attn_q", "k_proj": "attn_k", "v_proj": "attn_v",
             "attn_out": "attn_output", "ff_proj": "ffn_gate", "up_proj": "ffn_up", "ff_out": "ffn_down"}
    state = load_file(str(folder / "model.safetensors"))
    for name, value in state.items():
        path_of = name.split(".")
        if "blocks" in path_of:
            target = f"blk.{path_of[3]}.{parts[path_of[4]]}.weight"
        else:
            target = f"{names[path_of[2]]}.weight"
        if path_of[-2] in ("q_proj", "k_proj"):
            # Its rotary pairs are neighbours; the checkpoint's are halves of a head.
            heads = sizes["n_heads"] if path_of[-2] == "q_proj" else sizes["n_kv_heads"]
            value = value.view(heads, 2, -1, value.shape[1]).transpose(1, 2).reshape(value.shape)
        if value.dim() == 1:
            writer.add_tensor(target, value.float().numpy())
        else:
            writer.add_tensor(target, value.contiguous().view(torch.uint8).numpy(), raw_dtype=gguf.GGMLQuantizationType.BF16)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    path.with_suffix(".partial").rename(path)
    return path
