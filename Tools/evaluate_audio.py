"""Judge tiny-audio: whether what is heard is what was asked for, and how its sounds are distributed.

Captions that say everything of clips that are held out are sampled, 10.24 seconds each, one seed a clip.  "family" and "tempo" are the shares for which
music_classifier.py recognises what was asked; the Fréchet distance compares its features of the samples with those of all clips held out.  The same
for as many clips of the training, and for the clips held out after autoencoder and vocoder, show what is possible.

    python Tools/evaluate_audio.py --solver dpmpp_2m --steps 8 --guidance 3 --ends --sheet
    python Tools/evaluate_audio.py --solver dpmpp_2m --steps 8 --guidance 3 --plan litefocus
    python Tools/evaluate_audio.py --sampler diffusers --samples 20

Samples are made by diffusers or by this library.
"""

import argparse
import json
import random
import time

import numpy as np
import torch

from checkpoints import write_json
from evaluate_fashion import frechet_distance
from music_captions import caption
from music_classifier import FAMILIES, accuracy, describe, load_or_train, targets
from music_data import RATE, SAMPLES, TRAINED, load, to_float
from music_mel import log_mel

SHOWN = [
    "a slow melody on a flute", "a fast low arpeggio on a piano", "fast drum loop", "a slow high scale on a trumpet", "music box playing a fast melody",
    "a slow low melody on the strings",
]  # fmt: skip


def by_diffusers(options):
    """A function from prompts and a seed to sounds [n, SAMPLES], by diffusers."""
    from diffusers import AudioLDM2Pipeline

    pipe = AudioLDM2Pipeline.from_pretrained(options.model, torch_dtype=torch.float32)
    pipe.set_progress_bar_config(disable=True)

    def play(prompts, seed):
        noise = [torch.randn(1, 8, SAMPLES // 640, 16, generator=torch.Generator().manual_seed(seed + i)) for i in range(len(prompts))]
        sounds = pipe(prompts, latents=torch.cat(noise), num_inference_steps=options.steps, guidance_scale=options.guidance,
                      audio_length_in_s=SAMPLES / RATE).audios
        return torch.from_numpy(np.asarray(sounds))

    return play


def by_library(options):
    """The same by this library, through its Python package."""
    import diffaccel

    session = diffaccel.Model(options.model).session(plan=options.plan, threads=options.threads)

    def play(prompts, seed):
        seeds = [seed + i for i in range(len(prompts))]
        request = {"sampler": options.solver} if options.solver else {}
        result = session.sample(prompt=prompts, steps=options.steps, guidance=options.guidance, seconds=SAMPLES / RATE, seeds=seeds, **request)
        return torch.from_numpy(np.array(result.audio))

    return play


@torch.inference_mode()
def through_the_ends(options, audio):
    """Sounds after mel spectrogram, autoencoder and vocoder."""
    from diffusers import AutoencoderKL
    from transformers import SpeechT5HifiGan

    autoencoder = AutoencoderKL.from_pretrained(f"{options.model}/vae", torch_dtype=torch.float32)
    vocoder = SpeechT5HifiGan.from_pretrained(f"{options.model}/vocoder", torch_dtype=torch.float32)
    sounds, errors = [], []
    for chunk in audio.split(10):
        mel = log_mel(to_float(chunk))
        decoded = autoencoder.decode(autoencoder.encode(mel.unsqueeze(1)).latent_dist.mean).sample.squeeze(1)
        errors.append((decoded - mel).abs().mean(2).mean(1))
        sounds.append(vocoder(decoded)[:, : audio.shape[1]])
    return torch.cat(sounds), float(torch.cat(errors).mean())


class Judge:
    def __init__(self):
        self.clips = load()
        self.classifier = load_or_train(self.clips)
        self.labels = targets(self.clips)
        self.reference = describe(self.classifier, to_float(self.clips["audio"][TRAINED:]))[2]

    def verdict(self, sounds, labels):
        family, tempo, features = describe(self.classifier, sounds)
        right = [(family == labels[:, 0]), (tempo == labels[:, 1])]
        families = {name: round(float(right[0][labels[:, 0] == index].float().mean()), 3) for index, name in enumerate(FAMILIES)
                    if (labels[:, 0] == index).any()}
        return {"family": round(float(right[0].float().mean()), 4), "tempo": round(float(right[1].float().mean()), 4),
                "both": round(float((right[0] & right[1]).float().mean()), 4),
                "frechet": round(frechet_distance(features, self.reference), 3), "families": families}


def sheet(sounds, texts, path):
    """A PNG of mel spectrograms, low notes below, with their prompts."""
    from PIL import Image, ImageDraw

    mel = log_mel(sounds).transpose(1, 2).flip(1)
    pictures = ((mel + 9) / 10 * 255).clamp(0, 255).byte().numpy()
    height, line = 2 * 64, 16
    page = Image.new("L", (pictures.shape[2], len(texts) * (height + line)), 255)
    for row, (picture, text) in enumerate(zip(pictures, texts)):
        ImageDraw.Draw(page).text((2, row * (height + line) + 1), text, fill=0)
        page.paste(Image.fromarray(picture).resize((pictures.shape[2], height)), (0, row * (height + line) + line))
    page.quantize(32).save(path, optimize=True)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--model", default="Models/tiny-audio")
    p.add_argument("--sampler", choices=["diffusers", "library"], default="library")
    p.add_argument("--solver", help="of the library, instead of the model's own DDIM")
    p.add_argument("--plan", help="of the library: litefocus, or a file")
    p.add_argument("--steps", type=int, default=20)
    p.add_argument("--guidance", type=float, nargs="*", default=[3.0])
    p.add_argument("--samples", type=int, default=500)
    p.add_argument("--batch", type=int, default=10)
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--ends", action="store_true", help="what autoencoder and vocoder make of the clips held out, too")
    p.add_argument("--sheet", action="store_true", help="write samples.png into the model folder")
    p.add_argument("--out", help="write the figures to this JSON file")
    options = p.parse_args()
    torch.set_num_threads(options.threads)

    judge, guidances = Judge(), options.guidance
    family, tempo = accuracy(judge.classifier, judge.clips)
    asked, labels = judge.clips["about"][TRAINED:][: options.samples], judge.labels[TRAINED:][: options.samples]
    real = to_float(judge.clips["audio"][: options.samples])
    results = {"captions": len(asked), "classifier": {"family": round(family, 4), "tempo": round(tempo, 4)},
               "rendered": judge.verdict(real, judge.labels[: options.samples]), "sets": []}
    if options.ends:
        sounds, results["mel error"] = through_the_ends(options, judge.clips["audio"][TRAINED:][: options.samples])
        results["reconstructed"] = judge.verdict(sounds, labels)
    print(json.dumps(results), flush=True)
    prompts = [caption(about, random.Random(f"{options.seed} {index}"), full=True) for index, about in enumerate(asked)]
    for options.guidance in guidances if options.samples else ():
        play = by_library(options) if options.sampler == "library" else by_diffusers(options)
        begin = time.monotonic()
        sounds = []
        for first in range(0, len(prompts), options.batch):
            sounds.append(play(prompts[first : first + options.batch], options.seed + first))
            print(f"{first + len(sounds[-1])} of {len(prompts)}, {time.monotonic() - begin:.0f} s", end="\r", flush=True)
        figures = {"sampler": options.sampler, "solver": options.solver, "plan": options.plan, "steps": options.steps, "guidance": options.guidance,
                   **judge.verdict(torch.cat(sounds), labels), "seconds": round(time.monotonic() - begin, 1)}
        results["sets"].append(figures)
        print(json.dumps(figures), flush=True)
    if options.sheet:
        options.guidance = guidances[0]
        sheet(by_library(options)(SHOWN, options.seed), SHOWN, f"{options.model}/samples.png")
    if options.out:
        write_json(options.out, results)


if __name__ == "__main__":
    main()
