"""Who takes part in a forward of DiT. Each builder gives a function of no arguments that runs one forward.

All of them compute in f32, or all in bf16, with the same number of threads on the same weights and inputs.
"""

import warnings

import numpy as np
import torch


class Inputs:
    """One batch for a network of the given configuration."""

    def __init__(self, config, batch, seed):
        generator = np.random.default_rng(seed)
        side = config["input_size"]
        self.x = generator.standard_normal((batch, config["in_channels"], side, side), dtype=np.float32)
        self.t = np.full(batch, 500, dtype=np.float32)
        self.y = np.arange(batch, dtype=np.int64) % config["num_classes"]

    @property
    def tensors(self):
        return tuple(torch.from_numpy(value) for value in (self.x, self.t, self.y))


def ours(model, inputs, threads):
    return lambda: model.forward(x=inputs.x, t=inputs.t, y=inputs.y, threads=threads)


def torch_eager(network, inputs, threads):
    torch.set_num_threads(threads)
    kind = next(network.parameters()).dtype
    tensors = tuple(value.to(kind) if value.is_floating_point() else value for value in inputs.tensors)

    def run():
        with torch.inference_mode():
            return network(*tensors).float().numpy()

    return run


def precision_hint(precision):
    """OpenVINO's setting: f32 must be asked for, bf16 is what it does by itself where the processor has it."""
    return {"INFERENCE_PRECISION_HINT": "f32"} if precision == "f32" else {}


def openvino(network, inputs, threads, precision="f32"):
    """OpenVINO's CPU plugin, asked for one stream for the shortest single forward, and for f32 arithmetic or nothing of the kind."""
    import openvino as ov

    with torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torch's, about the tracer that the converter uses
        converted = ov.convert_model(network, example_input=inputs.tensors)
    settings = {**precision_hint(precision), "PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1}
    # Fixed shapes are the better case for it: nothing is left to be found out while it runs.
    arrays = (inputs.x, inputs.t, inputs.y)
    converted.reshape({port: list(array.shape) for port, array in zip(converted.inputs, arrays)})
    compiled = ov.Core().compile_model(converted, "CPU", settings)
    request = compiled.create_infer_request()

    def run():
        return request.infer(list(arrays), share_inputs=True)[compiled.output(0)].copy()

    run.settings = {name: str(compiled.get_property(name)) for name in ("INFERENCE_PRECISION_HINT", *settings)}
    return run


def largest_difference(found, wanted):
    """Largest difference relative to the largest value."""
    return float(np.abs(found - wanted).max() / np.abs(wanted).max())
