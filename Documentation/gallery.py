"""The gallery: pictures of the bundled models' cards, and pictures and sounds made by the program that was just built."""

import subprocess

#: What is made: a file, what it is, and the arguments of `diffaccel sample`.
MADE = {
    "flute.wav": ("tiny-audio", ["--prompt", "a slow melody on a flute", "--seconds", "10", "--steps", "20", "--guidance", "3",
                                 "--plan", "litefocus"]),
    "drums.wav": ("tiny-audio", ["--prompt", "fast drum loop", "--seconds", "5", "--sampler", "dpmpp_2m", "--steps", "8", "--guidance", "3"]),
    "apples.png": ("emoji-sd", ["--prompt", "red apple", "--prompt", "green apple", "--prompt", "blue dog face", "--steps", "20", "--seed", "1"]),
}
#: Pictures of the cards: a path in Models, and what it shows.
SHOWN = {
    "emoji-sd/samples.png": "emoji-sd: prompts that are names of emoji",
    "emoji-sd/new.png": "emoji-sd: prompts that are no emoji",
    "emoji-sd/async.png": "emoji-sd: what AsyncDiff's components and strides do to a picture",
    "fashion-dit/samples.png": "fashion-dit: ten samples of each class",
    "fashion-dit-half/samples.png": "fashion-dit-half: the same with half of the blocks",
    "fashion-uvit/samples.png": "fashion-uvit: plain and with its routers",
    "fashion-var/splits.png": "fashion-var: the same labels and seed at every split of CoDe",
    "tiny-audio/samples.png": "tiny-audio: mel spectrograms of six prompts",
}


def command(name, model, arguments):
    words = [f'"{word}"' if " " in word else word for word in arguments]
    return f"diffaccel sample Models/{model} {' '.join(words)} --out {name}"


def page(program, models, folder, site):
    folder.mkdir(parents=True, exist_ok=True)
    parts = ["# Gallery\n\nWhat the models in `Models` draw and play. All of them are small, trained from nothing on a CPU, and described in their "
             "cards.\n"]
    parts.append("\n## From the program that this site was made with\n")
    for name, (model, arguments) in MADE.items():
        subprocess.run([program, "sample", models / model, *arguments, "--out", folder / name, "--quiet"], check=True, stdout=subprocess.DEVNULL)
        shown = f'<audio controls src="made/{name}"></audio>' if name.endswith(".wav") else f"![What the command draws](made/{name}){{ .large }}"
        parts.append(f"\n```sh\n{command(name, model, arguments)}\n```\n\n{shown}\n")
    parts.append("\n## Of the cards\n")
    for picture, text in SHOWN.items():
        card = picture.split("/")[0]
        parts.append(f"\n![{text}]({site.target('README.md', 'gallery.md', f'Models/{picture}')})\n\n[{text}](models/{card}.md)\n")
    return "".join(parts)
