"""Who else makes a plain pass of a diffusion language model. Each builder gives a function (tokens [n], wanted rows [r]) -> logits
[r, vocabulary] on the weights of `language_model.write`.
"""

import time
import warnings

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


def llama_cpp(folder, sizes, layers, threads, tokens, rows):
    """{type: pass} of llama.cpp: with 16-bit weights of whichever kind is faster here, and with its 8-bit ones."""
    import llama_cpp_contender as library

    runs = {dtype: library.contender(folder, sizes, layers, dtype, threads, len(tokens)) for dtype in library.TYPES}
    seconds = {}
    for dtype, run in runs.items():
        run(tokens, rows)
        began = time.perf_counter()
        run(tokens, rows)
        seconds[dtype] = time.perf_counter() - began
    print("llama.cpp, one pass: " + ", ".join(f"{dtype} {value:.2f} s" for dtype, value in seconds.items()), flush=True)
    del runs[max(("bf16", "f16"), key=seconds.get)]
    return runs


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
