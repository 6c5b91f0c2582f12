"""AudioLDM2 beside torch: one self-attention dense and with LiteFocus, the U-Net of the base model at several lengths, the vocoder, the
mel decoder; and beside OpenVINO what it converts.

    python Benchmarks/audio.py --parts attention unet vocoder decoder --seconds 10 20 40 80 --json out/audio.json

All compute in f32 on the same number of threads with random weights of the real sizes, f16 on disk, written once. LiteFocus is compared with
the library's own dense run, and with the ratio of operations, which is the most it can save. torch runs dense: "flash" is its fused
attention, "eager" the arithmetic of the original code, which holds all logits (at 80 s some GB); "published" is the published code of
LiteFocus' attention in its own arithmetic.
"""

import json
import statistics

import numpy as np
import torch

import common
import native
from convolution import compiled, decoding, network
from l2c_sampling import together, total

PARTS = ["attention", "unet", "vocoder", "decoder"]
HEADS, WIDTH, FREQUENCIES, RATIO = 8, 256, 8, 0.1
UNET = {"_class_name": "AudioLDM2UNet2DConditionModel", "attention_head_dim": 8, "block_out_channels": [128, 256, 384, 640],
        "cross_attention_dim": [[None, 768, 1024]] * 4, "in_channels": 8, "out_channels": 8, "sample_size": 256, "layers_per_block": 2,
        "down_block_types": ["DownBlock2D"] + ["CrossAttnDownBlock2D"] * 3, "up_block_types": ["CrossAttnUpBlock2D"] * 3 + ["UpBlock2D"],
        "mid_block_type": "UNetMidBlock2DCrossAttn"}
LARGE = UNET | {"cross_attention_dim": [[None, 768, 1024, None]] * 4, "transformer_layers_per_block": 2}
DECODER = {"_class_name": "AutoencoderKL", "in_channels": 1, "out_channels": 1, "latent_channels": 8, "block_out_channels": [128, 256, 512],
           "layers_per_block": 2, "norm_num_groups": 32, "down_block_types": ["DownEncoderBlock2D"] * 3,
           "up_block_types": ["UpDecoderBlock2D"] * 3, "scaling_factor": 0.4110932946205139}
#: What stands beside the U-Net in a pipeline that is there for its sake: the same places, next to no work.
SMALL_DECODER = DECODER | {"block_out_channels": [4, 4, 4], "layers_per_block": 1, "norm_num_groups": 2, "mid_block_add_attention": False}
SCHEDULER = {"_class_name": "DDIMScheduler", "num_train_timesteps": 1000, "beta_start": 0.0015, "beta_end": 0.0195,
             "beta_schedule": "scaled_linear", "steps_offset": 1, "set_alpha_to_one": False, "clip_sample": False}


def eager(module, *inputs):
    def run():
        with torch.inference_mode():
            return module(*inputs).numpy()
    return run


# ---- one attention ----


def flash(q, k, v):
    return torch.nn.functional.scaled_dot_product_attention(q, k, v)


def logits(q, k, v):
    return torch.softmax(q @ k.transpose(2, 3) * q.shape[3] ** -0.5, -1) @ v


def published(q, k, v, chosen):
    """The joint softmax over the logits of the own frequency and of the shared tokens."""
    b, h, n, d = q.shape
    by_frequency = [x.view(b, h, n // FREQUENCIES, FREQUENCIES, d).transpose(2, 3) for x in (q, k, v)]
    own = torch.einsum("bhfqd,bhfkd->bhfqk", *by_frequency[:2]).transpose(2, 3).reshape(b, h, n, -1) * d**-0.5
    shared = torch.einsum("bhqd,bhkd->bhqk", q, k[:, :, chosen]) * d**-0.5
    weights = torch.softmax(torch.cat([own, shared], -1), -1)
    own, shared = weights.split([n // FREQUENCIES, len(chosen)], -1)
    own = own.reshape(b, h, n // FREQUENCIES, FREQUENCIES, -1).transpose(2, 3)
    mixed = torch.einsum("bhfqk,bhfkd->bhfqd", own, by_frequency[2]).transpose(2, 3).reshape(b, h, n, d)
    return mixed + torch.einsum("bhqk,bhkd->bhqd", shared, v[:, :, chosen])


def attention(given, random):
    layers = native.Layers(given.threads)
    rows, figures = [], {}
    for seconds in given.seconds:
        tokens = int(seconds * 25.6) // 2 * FREQUENCIES
        q, k, v = (random.standard_normal((1, tokens, WIDTH), dtype=np.float32) for _ in range(3))
        chosen = random.permutation(tokens)[:int(tokens * RATIO)]
        out = np.empty_like(q)
        heads = [torch.from_numpy(x).unflatten(2, (HEADS, -1)).transpose(1, 2).contiguous() for x in (q, k, v)]
        picked = torch.from_numpy(chosen)
        runs = {"dense": lambda: layers.attention(q, k, v, out, HEADS),
                "litefocus": lambda: layers.frequencies(q, k, v, chosen, out, HEADS, FREQUENCIES),
                "flash": eager(flash, *heads), "published": eager(lambda *x: published(*x, picked), *heads)}
        if tokens <= given.logits:
            runs["eager"] = eager(logits, *heads)
        expected = runs["published"]()[0].transpose(1, 0, 2).reshape(tokens, WIDTH)
        runs["litefocus"]()
        difference = float(np.abs(out[0] - expected).max())
        found = common.alternate(runs, given.repeat)
        figures[seconds] = {name: {"clock": taken.seconds, "processor": taken.processor} for name, taken in found.items()}
        ideal = tokens / (tokens // FREQUENCIES + len(chosen))

        def ratio(name, base):
            return " / ".join(f"{common.paired_ratio(getattr(found[name], kind), getattr(found[base], kind)):.2f}"
                              for kind in ("processor", "seconds"))

        rows.append([f"{seconds:g} s", tokens, *(f"{1e3 * statistics.median(found[name].processor):.1f}" if name in found else ""
                                                 for name in ("dense", "litefocus", "flash", "eager", "published")),
                     ratio("dense", "litefocus"), f"{ideal:.2f}", ratio("flash", "dense"), ratio("flash", "litefocus"),
                     ratio("published", "litefocus"), f"{difference:.1e}"])
    text = common.table(["", "tokens", "dense, ms", "LiteFocus, ms", "torch flash, ms", "torch eager, ms", "published, ms",
                         "dense / LiteFocus", "ideal", "flash / dense", "flash / LiteFocus", "published / LiteFocus", "difference"], rows)
    return f"One self-attention of {HEADS} heads of {WIDTH // HEADS}; ratios by processor time / by the clock.\n\n{text}\n", figures


# ---- the U-Net ----


def pipeline(kind, config):
    """A folder with the U-Net of `config` and small other parts, without text encoders; and the U-Net in torch."""
    from diffusers import AudioLDM2UNet2DConditionModel, AutoencoderKL
    from transformers import SpeechT5HifiGan, SpeechT5HifiGanConfig

    folder = common.CACHE / f"audioldm2-{kind}"
    if not (folder / "model_index.json").exists():
        torch.manual_seed(0)
        AudioLDM2UNet2DConditionModel.from_config(config).half().save_pretrained(folder / "unet")
        AutoencoderKL.from_config(SMALL_DECODER).save_pretrained(folder / "vae")
        vocoder = SpeechT5HifiGanConfig(model_in_dim=64, upsample_initial_channel=32, upsample_rates=[5, 4, 2, 2, 2],
                                        upsample_kernel_sizes=[16, 16, 8, 4, 4], resblock_kernel_sizes=[3],
                                        resblock_dilation_sizes=[[1]], normalize_before=False)
        SpeechT5HifiGan(vocoder).save_pretrained(folder / "vocoder")
        (folder / "scheduler").mkdir(exist_ok=True)
        (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps(SCHEDULER))
        (folder / "model_index.json").write_text(json.dumps({
            "_class_name": "AudioLDM2Pipeline", "unet": ["audioldm2", "AudioLDM2UNet2DConditionModel"],
            "vae": ["diffusers", "AutoencoderKL"], "vocoder": ["transformers", "SpeechT5HifiGan"],
            "scheduler": ["diffusers", "DDIMScheduler"]}))
    return folder, lambda: AudioLDM2UNet2DConditionModel.from_pretrained(folder / "unet", torch_dtype=torch.float32).requires_grad_(False)


def torch_unet(predictor, latents, states, given, is_eager):
    """The runs of one call."""
    from diffusers.models.attention_processor import AttnProcessor, AttnProcessor2_0

    processor = AttnProcessor if is_eager else AttnProcessor2_0
    for module in predictor.modules():
        if hasattr(module, "set_processor"):
            module.set_processor(processor())

    def run():
        with torch.inference_mode():
            return predictor(latents, torch.tensor(500.0), encoder_hidden_states=states["generated_prompt_embeds"],
                             encoder_hidden_states_1=states["prompt_embeds"], return_dict=False)[0].numpy()

    return common.alternate({"torch": run}, given.repeat)["torch"]


def unet(kind, given, random):
    import diffaccel

    folder, make = pipeline(kind, UNET if kind == "base" else LARGE)
    plans = {"dense": None, "litefocus": "litefocus"}
    if kind == "large":
        plans["litefocus, all"] = diffaccel.Plan(litefocus={"scope": "all"})
    rows, figures = [], {}
    predictor = make() if given.torch else None
    with diffaccel.Model(folder) as model:
        sessions = [model.session(plan, threads=given.threads) for plan in plans.values()]
        for seconds in given.seconds:
            states = {"generated_prompt_embeds": random.standard_normal((1, 8, 768), dtype=np.float32),
                      "prompt_embeds": random.standard_normal((1, 20, 1024), dtype=np.float32)}
            request = {"seconds": seconds, "steps": given.calls, "guidance": 1.0, "seed": 0} | states
            for session in sessions:
                together([session], request, stop_after=1)
            rounds = [dict(zip(plans, together(sessions, request, 0))) for _ in range(given.repeat)]
            times = {kind: {name: [total(turn[name].steps, key) / given.calls for turn in rounds] for name in plans}
                     for kind, key in (("processor", "processor"), ("clock", "seconds"))}
            work = {name: total(rounds[0][name].steps, "flops") / given.calls for name in plans}
            if predictor is not None:
                tensors = {name: torch.from_numpy(array) for name, array in states.items()}
                latents = torch.from_numpy(random.standard_normal((1, 8, int(seconds * 25), 16), dtype=np.float32))
                for name, is_eager in (("flash", False), ("eager", True)):
                    if is_eager and int(seconds * 25) // 2 * FREQUENCIES > given.logits:
                        continue
                    found = torch_unet(predictor, latents, tensors, given, is_eager)
                    times["processor"][name], times["clock"][name] = found.processor, found.seconds
            figures[seconds] = times | {"flops": work}

            def both(ratio, form="{:.2f}"):
                return " / ".join(form.format(ratio(taken)) for taken in times.values())

            for name in plans:
                ideal = work["dense"] / work[name]
                rows.append([
                    f"{seconds:g} s", name, f"{work[name] / 1e9:.0f}", both(lambda taken: statistics.median(taken[name]), "{:.3f}"),
                    both(lambda taken: common.paired_ratio(taken["dense"], taken[name])), f"{ideal:.2f}",
                    both(lambda taken: common.paired_ratio(taken["dense"], taken[name]) / ideal, "{:.0%}"),
                    *(both(lambda taken: statistics.median(taken[peer]) / statistics.median(taken[name])) if peer in times["clock"] else ""
                      for peer in ("flash", "eager"))])
    text = common.table(["", "", "GFLOP", "seconds", "of dense", "ideal", "of that", "torch flash / ours", "torch eager / ours"], rows)
    return f"One call of the U-Net of AudioLDM2 {kind}, batch 1, by processor time / by the clock.\n\n{text}\n", figures


# ---- vocoder and decoder ----


def contest(ours, module, inputs, given):
    """The three in turns: ours, torch, OpenVINO where it converts the module."""
    runs = {"ours": ours, "torch": eager(module, *inputs)}
    if given.openvino:
        try:
            runs["openvino"] = compiled(module, inputs, given.threads)
        except Exception as problem:  # what a converter cannot do is its own affair
            print(f"OpenVINO does not convert it: {str(problem).splitlines()[0][:200]}")
    wanted = runs["torch"]()
    difference = float(np.abs(ours() - wanted).max() / np.abs(wanted).max())
    found = common.alternate(runs, given.repeat)
    return {name: {"clock": taken.seconds, "processor": taken.processor} for name, taken in found.items()} | {"difference": difference}


def beside(name, seconds, found):
    cells = [name, f"{seconds:g} s", *(f"{statistics.median(found[who]['clock']):.2f}" if who in found else ""
                                       for who in ("ours", "torch", "openvino"))]
    for peer in ("torch", "openvino"):
        cells.append(" / ".join(f"{common.paired_ratio(found[peer][kind], found['ours'][kind]):.2f}" for kind in ("processor", "clock"))
                     if peer in found else "")
    return [*cells, f"{found['difference']:.1e}"]


def vocoder(given, random):
    import diffaccel
    from transformers import SpeechT5HifiGan, SpeechT5HifiGanConfig

    folder = common.CACHE / "audioldm2-vocoder"
    if not (folder / "config.json").exists():
        torch.manual_seed(0)
        SpeechT5HifiGan(SpeechT5HifiGanConfig(
            model_in_dim=64, upsample_initial_channel=1024, upsample_rates=[5, 4, 2, 2, 2], upsample_kernel_sizes=[16, 16, 8, 4, 4],
            normalize_before=False)).save_pretrained(folder)
    module = SpeechT5HifiGan.from_pretrained(folder).requires_grad_(False)
    found = {}
    with diffaccel.Model(folder) as model:
        for seconds in given.pieces:
            mel = random.standard_normal((1, int(seconds * 100), 64), dtype=np.float32)
            found[seconds] = contest(lambda mel=mel: model.forward("waveform", threads=given.threads, mel=mel), module, (torch.from_numpy(mel),), given)
    return found


def decoder(given, random):
    import diffaccel
    from diffusers import AutoencoderKL

    autoencoder, folder = network(AutoencoderKL, DECODER, "audioldm2-vae")
    module = decoding(autoencoder, DECODER["scaling_factor"])
    found = {}
    with diffaccel.Model(folder) as model:
        for seconds in given.pieces:
            latents = random.standard_normal((1, 8, int(seconds * 25), 16), dtype=np.float32)
            found[seconds] = contest(lambda latents=latents: model.forward(threads=given.threads, latents=latents), module,
                                     (torch.from_numpy(latents),), given)
    return found


def main():
    parser = common.arguments(__doc__.split("\n")[0], size=None)
    parser.add_argument("--parts", nargs="+", default=PARTS, choices=PARTS)
    parser.add_argument("--kinds", nargs="+", default=["base"], choices=["base", "large"], help="of the U-Net")
    parser.add_argument("--seconds", nargs="+", type=float, default=[10, 20, 40, 80], help="lengths of the attention and the U-Net")
    parser.add_argument("--pieces", nargs="+", type=float, default=[10], help="lengths of vocoder and decoder")
    parser.add_argument("--calls", type=int, default=2, help="of the U-Net in a run")
    parser.add_argument("--logits", type=int, default=8192, help="most tokens whose logits torch holds at once")
    parser.add_argument("--no-torch", dest="torch", action="store_false", help="leave torch out of the U-Net")
    parser.add_argument("--no-openvino", dest="openvino", action="store_false")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    import openvino

    facts = common.machine(np, torch, openvino)
    torch.set_num_threads(given.threads)
    random, texts, figures = np.random.default_rng(given.seed), [], {}
    if "attention" in given.parts:
        text, figures["attention"] = attention(given, random)
        texts.append(text)
    for kind in given.kinds if "unet" in given.parts else ():
        text, figures[f"unet {kind}"] = unet(kind, given, random)
        texts.append(text)
    rows = []
    for part, measure in (("vocoder", vocoder), ("decoder", decoder)):
        if part in given.parts:
            figures[part] = measure(given, random)
            rows += [beside(part, seconds, found) for seconds, found in figures[part].items()]
    if rows:
        texts.append(common.table(["", "sound", "DiffAccel, s", "torch, s", "OpenVINO, s", "torch / DiffAccel", "OpenVINO / DiffAccel",
                                   "difference from torch"], rows) + "\n\nRatios by processor time / by the clock.\n")
    text = f"Threads: {given.threads}. Medians of {given.repeat} runs in turn.\n\n" + "\n".join(texts)
    common.finish("Sounds", facts, text, figures, given.json)


if __name__ == "__main__":
    main()
