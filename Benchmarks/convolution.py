"""Stable Diffusion beside torch and OpenVINO: its convolutions, its attentions, the autoencoder's decoder, one call of the U-Net of SD 1.5.

    python Benchmarks/convolution.py --parts convolutions attentions decoder unet --json out/convolution.json

All compute in f32 on the same number of threads with random weights. The layers run on the library's kernels alone (native/layers.c), the
networks through its public interface, from checkpoints of the real sizes that are written once: f16, which the others widen as they load
them. With all three in one process the U-Net takes 11 GB.
"""

import copy
import tempfile
import warnings

import numpy as np
import torch

import common
import contenders
import native

#: Of the U-Net of SD 1.5 at 64 x 64 latents: inputs, outputs, side of the image, kernel, stride; how many there are.
CONVOLUTIONS = [
    ((320, 320, 64, 3, 1), 7), ((640, 320, 64, 3, 1), 2), ((960, 320, 64, 3, 1), 1), ((640, 640, 64, 3, 1), 1), ((320, 640, 32, 3, 1), 1),
    ((640, 640, 32, 3, 1), 6), ((960, 640, 32, 3, 1), 1), ((1280, 640, 32, 3, 1), 1), ((1920, 640, 32, 3, 1), 1),
    ((1280, 1280, 32, 3, 1), 1), ((640, 1280, 16, 3, 1), 1), ((1280, 1280, 16, 3, 1), 7), ((1920, 1280, 16, 3, 1), 1),
    ((2560, 1280, 16, 3, 1), 2), ((1280, 1280, 8, 3, 1), 11), ((2560, 1280, 8, 3, 1), 3), ((4, 320, 64, 3, 1), 1), ((320, 4, 64, 3, 1), 1),
    ((320, 320, 64, 3, 2), 1), ((640, 640, 32, 3, 2), 1), ((1280, 1280, 16, 3, 2), 1), ((960, 320, 64, 1, 1), 1),
    ((1920, 640, 32, 1, 1), 1), ((2560, 1280, 16, 1, 1), 2),
]
#: Batch, heads, queries, keys, width of a head; whose.
ATTENTIONS = [
    ((2, 8, 4096, 4096, 40), "SD 1.5, 64 x 64"), ((2, 8, 1024, 1024, 80), "SD 1.5, 32 x 32"), ((2, 8, 256, 256, 160), "SD 1.5, 16 x 16"),
    ((2, 8, 4096, 77, 40), "SD 1.5, text"), ((2, 5, 4096, 4096, 64), "SD 2, 64 x 64"), ((2, 10, 4096, 4096, 64), "SDXL, 64 x 64"),
    ((2, 20, 1024, 1024, 64), "SDXL, 32 x 32"), ((2, 20, 1024, 77, 64), "SDXL, text"), ((1, 1, 4096, 4096, 512), "decoder, 512 px"),
]
UNET = {"_class_name": "UNet2DConditionModel", "sample_size": 64, "cross_attention_dim": 768, "attention_head_dim": 8,
        "block_out_channels": [320, 640, 1280, 1280]}
PARTS = ["convolutions", "attentions", "decoder", "unet"]
NAMES = ("ours", "openvino", "torch")
DECODER = {"_class_name": "AutoencoderKL", "in_channels": 3, "out_channels": 3, "latent_channels": 4,
           "block_out_channels": [128, 256, 512, 512], "layers_per_block": 2, "norm_num_groups": 32,
           "down_block_types": ["DownEncoderBlock2D"] * 4, "up_block_types": ["UpDecoderBlock2D"] * 4, "scaling_factor": 0.18215}


def compiled(module, inputs, threads, precision="f32", example=None):
    """The module in OpenVINO with fixed shapes and the latency hint, as a function of arrays; without any, of `inputs`. The converter runs
    torch's module on `example` several times: smaller tensors than `inputs` save minutes."""
    import openvino as ov

    with torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's, about the tracer that the converter uses
        converted = ov.convert_model(module, example_input=example or inputs)
    converted.reshape({port: list(tensor.shape) for port, tensor in zip(converted.inputs, inputs)})
    common.CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=common.CACHE) as folder:
        # From a file, as a program has it: what was converted holds torch's weights in memory.
        ov.save_model(converted, f"{folder}/network.xml", compress_to_fp16=False)
        del converted
        network = ov.Core().compile_model(f"{folder}/network.xml", "CPU", {
            **contenders.precision_hint(precision), "PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1})
    request, arrays = network.create_infer_request(), [tensor.numpy() for tensor in inputs]
    return lambda *given: request.infer(list(given) or arrays, share_inputs=True)[network.output(0)]


def eager(module, inputs):
    def run():
        with torch.inference_mode():
            return module(*inputs).float().numpy()
    return run


def eager_in(precision, module, inputs):
    if precision == "f32":
        return eager(module, inputs)
    return eager(copy.deepcopy(module).bfloat16(), tuple(x.bfloat16() if x.is_floating_point() else x for x in inputs))


class Wrapped(torch.nn.Module):
    """`call(*modules, *inputs)` as a module: what a network gives in the form in which outputs are compared."""

    def __init__(self, call, *modules):
        super().__init__()
        self.call, self.inner = call, torch.nn.ModuleList(modules)

    def forward(self, *inputs):
        return self.call(*self.inner, *inputs)


def predicting(network):
    """A U-Net of diffusers: sample, times and states of the text to the prediction."""
    return Wrapped(lambda module, sample, time, text: module(sample, time, text, return_dict=False)[0], network)


def decoding(autoencoder, scale):
    """The decoder of an autoencoder of diffusers, for latents that are `scale` times as large as it takes."""
    return Wrapped(lambda module, latents: module.decode(latents / scale, return_dict=False)[0], autoencoder)


class Attention(torch.nn.Module):
    def __init__(self, heads):
        super().__init__()
        self.heads = heads

    def forward(self, q, k, v):
        q, k, v = (x.unflatten(2, (self.heads, -1)).transpose(1, 2) for x in (q, k, v))
        return torch.nn.functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)


def contest(ours, module, inputs, given, loop, example=None):
    """Seconds of all three by the clock and of processor time, taking turns, with the loop of multiply-adds between; the largest relative
    difference from torch in f32."""
    wanted = eager(module, inputs)()
    precision = getattr(given, "precision", "f32")
    runs = {"ours": ours, "torch": eager_in(precision, module, inputs),
            "openvino": compiled(module, inputs, given.threads, precision, example)}
    difference = float(np.abs(ours() - wanted).max() / np.abs(wanted).max())
    found = common.alternate(runs, given.repeat, beside=lambda: loop.fma()[1], settle=0.02)
    rates = [rate for pair in found["ours"].around for rate in pair]
    figures = {name: {"clock": taken.seconds, "processor": taken.processor} for name, taken in found.items()}
    return figures | {"difference": difference, "loop": float(np.median(rates))}


def one_convolution(sizes, given, layers, loop, random):
    inputs, outputs, side, kernel, stride = sizes
    module = torch.nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2).requires_grad_(False)
    x = random.standard_normal((given.batch, inputs, side, side), dtype=np.float32)
    out = np.empty((given.batch, outputs, side // stride, side // stride), np.float32)
    weight, bias = module.weight.numpy(), module.bias.numpy()
    form = layers.convolution(x, weight, bias, out, stride)

    def ours():
        layers.convolution(x, weight, bias, out, stride)
        return out

    return {"form": form, "flops": 2.0 * out.size * inputs * kernel**2} | contest(ours, module, (torch.from_numpy(x),), given, loop)


def one_attention(sizes, given, layers, loop, random):
    batch, heads, queries, keys, width = sizes
    q, k, v = (random.standard_normal((batch, rows, heads * width), dtype=np.float32) for rows in (queries, keys, keys))
    out = np.empty_like(q)

    def ours():
        layers.attention(q, k, v, out, heads)
        return out

    tensors = tuple(map(torch.from_numpy, (q, k, v)))
    return {"form": "", "flops": 4.0 * out.size * keys} | contest(ours, Attention(heads), tensors, given, loop)


def network(kind, config, name):
    """The diffusers network `kind` of random weights, read from its folder in the cache; and the folder."""
    folder = common.CACHE / name
    if not (folder / "config.json").exists():
        torch.manual_seed(0)
        kind.from_config(config).half().save_pretrained(folder)
    return kind.from_pretrained(folder, torch_dtype=torch.float32).requires_grad_(False), folder


def by_method(folder, inputs, module, given, loop):
    """The contest of the network in `folder`, its convolutions as the library chooses and direct. `inputs`: arrays by name."""
    import diffaccel

    found = {}
    tensors = tuple(map(torch.from_numpy, inputs.values()))
    for method in ("auto", "direct"):
        model = diffaccel.Model(folder, convolution=method)
        found[method] = contest(lambda model=model: model.forward(threads=given.threads, **inputs), module, tensors, given, loop)
        model.close()
    return found


def decoder(given, loop, random):
    """The decoder of Stable Diffusion at --pixels."""
    from diffusers import AutoencoderKL

    autoencoder, folder = network(AutoencoderKL, DECODER, "sd-decoder")
    latents = random.standard_normal((1, 4, given.pixels // 8, given.pixels // 8), dtype=np.float32)
    return by_method(folder, {"latents": latents}, decoding(autoencoder, DECODER["scaling_factor"]), given, loop)


def unet(given, loop, random):
    """One call of the U-Net of SD 1.5 at --pixels, for a batch of --batch."""
    from diffusers import UNet2DConditionModel

    predictor, folder = network(UNet2DConditionModel, UNET, "sd15-unet")
    side = given.pixels // 8
    inputs = {"sample": random.standard_normal((given.batch, 4, side, side), dtype=np.float32),
              "timestep": np.full(given.batch, 500, np.float32),
              "encoder_hidden_states": random.standard_normal((given.batch, 77, 768), dtype=np.float32)}
    return by_method(folder, inputs, predicting(predictor), given, loop)


def milliseconds(found, key):
    """Median of the processor time of all threads."""
    return 1e3 * float(np.median(found[key]["processor"]))


def row(name, found):
    """Processor time and ratios of one contest."""
    cells = [name, found.get("form", ""), *(f"{milliseconds(found, key):.2f}" for key in NAMES)]
    rate = 1e3 * found["flops"] / milliseconds(found, "ours") if "flops" in found else 0
    cells += [f"{rate / 1e9:.0f}", f"{rate / found['loop']:.0%}"] if rate else ["", ""]
    for key in ("openvino", "torch"):
        by = {kind: common.paired_ratio(found[key][kind], found["ours"][kind]) for kind in ("processor", "clock")}
        cells.append(f"**{by['processor']:.2f}**, {by['clock']:.2f}")
    return [*cells, f"{found['difference']:.1e}"]


def main():
    parser = common.arguments(__doc__.split("\n")[0], size=None)
    parser.add_argument("--parts", nargs="+", default=PARTS, choices=PARTS)
    parser.add_argument("--batch", type=int, default=2, help="of the convolutions and the U-Net")
    parser.add_argument("--pixels", type=int, default=512, help="side of the picture")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    import openvino

    facts = common.machine(np, torch, openvino)
    torch.set_num_threads(given.threads)
    layers, loop, random = native.Layers(given.threads), native.Roofline(given.threads, 0.05), np.random.default_rng(given.seed)
    rows, figures = [], {}
    if "convolutions" in given.parts:
        total = dict.fromkeys(NAMES, 0.0)
        for sizes, count in CONVOLUTIONS:
            inputs, outputs, side, kernel, stride = sizes
            name = f"{inputs} -> {outputs}, {side} x {side}, {kernel} x {kernel}{' / 2' if stride == 2 else ''} ({count})"
            figures[name] = found = one_convolution(sizes, given, layers, loop, random)
            for key in total:
                total[key] += count * milliseconds(found, key)
            rows.append(row(name, found))
        rows.append(["all of the U-Net", "", *(f"{total[key]:.0f}" for key in NAMES), "", "",
                     *(f"**{total[key] / total['ours']:.2f}**" for key in ("openvino", "torch")), ""])
    if "attentions" in given.parts:
        for sizes, whose in ATTENTIONS:
            batch, heads, queries, keys, width = sizes
            name = f"{whose}: {batch} x {heads} heads of {width}, {queries} x {keys}"
            figures[name] = one_attention(sizes, given, layers, loop, random)
            rows.append(row(name, figures[name]))
    for part, measure in (("decoder", decoder), ("unet", unet)):
        for method, found in measure(given, loop, random).items() if part in given.parts else ():
            name = f"{part}, {given.pixels} px, convolution {method}"
            figures[name] = found
            rows.append(row(name, found))
    text = (f"Threads: {given.threads}. Medians of {given.repeat} runs in turn; milliseconds and GFLOP/s (the direct form's operations) of "
            "processor time of all threads; ratios by processor time and by the clock.\n\n")
    text += common.table(["", "form", "DiffAccel, ms", "OpenVINO, ms", "torch, ms", "GFLOP/s", "of the loop", "OpenVINO / DiffAccel",
                          "torch / DiffAccel", "difference from torch"], rows)
    common.finish("Layers of Stable Diffusion", facts, text, figures, given.json)


if __name__ == "__main__":
    main()
