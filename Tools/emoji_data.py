"""Emoji as pictures with captions: Debian's Noto Color Emoji drawn on white at 64 x 64, named by Unicode CLDR's English annotations.

Three packages: `fonts-noto-color-emoji`, `unicode-cldr-core` (names and keywords) and `unicode-data` (which emoji there are, and their
groups).  Left out: skin tones, the flags of countries and regions, and what the font or the annotations do not know.  Emoji that look
the same are one picture with several names.

    python Tools/emoji_data.py --sheet all.png
"""

import argparse
import zlib
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import torch

FONT = "/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf"
ANNOTATIONS = ("/usr/share/unicode/cldr/common/annotations/en.xml", "/usr/share/unicode/cldr/common/annotationsDerived/en.xml")
LIST = "/usr/share/unicode/emoji/emoji-test.txt"
CACHE = ".cache/emoji/pictures.pt"
SIDE = 64
STRIKE = 109  # the only bitmap size of the font; its glyphs are 136 x 128

# Hues in degrees of the colours that pictures are repainted in.
COLOURS = {"red": 0, "yellow": 50, "green": 125, "blue": 215, "purple": 275, "pink": 325}
COLOUR_WORDS = {*COLOURS, "orange", "brown", "black", "white", "rainbow", "palette", "colored"}


def plain(text):
    """Lower case, with the quotation marks of a keyboard or none."""
    return text.lower().replace("\u2019", "'").replace("\u201c", "").replace("\u201d", "").strip()


def annotations():
    """Name and keywords of every annotated sequence, which are written without U+FE0F."""
    names, keywords = {}, {}
    for path in ANNOTATIONS:
        for entry in ElementTree.parse(path).iter("annotation"):
            if entry.get("type") == "tts":
                names[entry.get("cp")] = plain(entry.text)
            else:
                keywords[entry.get("cp")] = [plain(word) for word in entry.text.split("|")]
    return names, keywords


def listed():
    """(sequence, group) of the emoji that are drawn, in the list's order."""
    group = subgroup = ""
    for line in Path(LIST).read_text(encoding="utf-8").splitlines():
        if line.startswith("# group:"):
            group = line.split(":", 1)[1].strip()
        elif line.startswith("# subgroup:"):
            subgroup = line.split(":", 1)[1].strip()
        elif "; fully-qualified" in line:
            points = [int(point, 16) for point in line.split(";")[0].split()]
            toned = any(0x1F3FB <= point <= 0x1F3FF for point in points)
            if not toned and subgroup not in ("country-flag", "subdivision-flag"):
                yield "".join(map(chr, points)), group


def draw(font, text):
    """Bytes [3,64,64] of one emoji on white, or nothing where the font has no single glyph for it."""
    from PIL import Image, ImageDraw

    if font.getlength(text) > 1.5 * font.getlength("\U0001F600"):
        return None
    sheet = Image.new("RGB", (136, 136), "white")
    left, top, right, bottom = font.getbbox(text)
    place = ((136 - right + left) // 2 - left, (136 - bottom + top) // 2 - top)
    ImageDraw.Draw(sheet).text(place, text, font=font, embedded_color=True)
    pixels = np.asarray(sheet.resize((SIDE, SIDE), Image.Resampling.LANCZOS))
    return None if pixels.min() > 250 else torch.from_numpy(pixels.copy()).permute(2, 0, 1)


def render():
    """All pictures: {"images": bytes [n,3,64,64], "names": a list of lists, "keywords": same, "groups": names [n]}."""
    from PIL import ImageFont

    font = ImageFont.truetype(FONT, STRIKE, layout_engine=ImageFont.Layout.RAQM)
    names, keywords = annotations()
    images, known, result = [], {}, {"names": [], "keywords": [], "groups": []}
    for text, group in listed():
        key = text.replace("\uFE0F", "")
        image = draw(font, text) if key in names else None
        if image is None:
            continue
        name, words = names[key], [word for word in keywords.get(key, []) if word != names[key]]
        twin = known.setdefault(image.numpy().tobytes(), len(images))
        if twin < len(images):
            result["names"][twin].append(name)
            result["keywords"][twin] += [word for word in words if word not in result["keywords"][twin]]
            continue
        images.append(image)
        for member, value in (("names", [name]), ("keywords", words), ("groups", group)):
            result[member].append(value)
    return {"images": torch.stack(images), **result}


def load(cache=CACHE):
    """The pictures of `render`, which are drawn once."""
    if not Path(cache).exists():
        Path(cache).parent.mkdir(parents=True, exist_ok=True)
        torch.save(render(), cache)
    return torch.load(cache)


def to_float(images):
    """Bytes as float in -1...1, the range of the autoencoder."""
    return images.float() / 127.5 - 1


def to_bytes(images):
    return ((images.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)


def repaint(image, colour):
    """The picture with its main hue turned to `colour`, or nothing where it has no main hue or has that colour already."""
    from PIL import Image

    hsv = np.array(Image.fromarray(image.permute(1, 2, 0).numpy()).convert("HSV")).astype(np.float64)
    hue, chroma = hsv[..., 0] * 360 / 256, hsv[..., 1] * hsv[..., 2] / 255**2
    weights = np.histogram(hue, 36, (0, 360), weights=chroma)[0]
    weights = weights + np.roll(weights, 1) + np.roll(weights, -1)
    main = 10 * int(weights.argmax()) + 5

    def away(a, b):
        return abs((a - b + 180) % 360 - 180)

    chosen = (away(hue, main) < 40) & (chroma > 0.1)
    if chroma[chosen].sum() < 0.06 * hue.size or away(main, COLOURS[colour]) < 55:
        return None
    hsv[..., 0] = np.where(chosen, (hue - main + COLOURS[colour]) % 360, hue) * 256 / 360
    turned = Image.fromarray(hsv.astype(np.uint8), "HSV").convert("RGB")
    return torch.from_numpy(np.array(turned)).permute(2, 0, 1)


def trained(colour, name):
    """Whether training may see this emoji in this colour: half of the pairs are kept for judging what it makes of words it knows."""
    return zlib.crc32(f"{colour} {name}".encode()) % 2 == 0


def repainted(pictures):
    """(index, colour, picture) of all pairs that make sense, trained or not."""
    for index, names in enumerate(pictures["names"]):
        if COLOUR_WORDS.isdisjoint(" ".join(names).replace(":", "").replace("-", " ").split()):
            for colour in COLOURS:
                image = repaint(pictures["images"][index], colour)
                if image is not None:
                    yield index, colour, image


def sheet(images, columns, gap=2):
    """Bytes [height, width, 3] of pictures in rows on white."""
    rows = -(-len(images) // columns)
    page = torch.full((3, rows * (SIDE + gap) + gap, columns * (SIDE + gap) + gap), 255, dtype=torch.uint8)
    for index, image in enumerate(images):
        top, left = (gap + place * (SIDE + gap) for place in divmod(index, columns))
        page[:, top : top + SIDE, left : left + SIDE] = image
    return page.permute(1, 2, 0).numpy()


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--cache", default=CACHE)
    p.add_argument("--sheet", help="write a PNG with all pictures here")
    p.add_argument("--repainted", help="write a PNG with some repainted pictures here")
    options = p.parse_args()
    from PIL import Image

    pictures = load(options.cache)
    print(f"{len(pictures['names'])} pictures, {sum(map(len, pictures['names']))} names")
    if options.sheet:
        Image.fromarray(sheet(pictures["images"], 40)).save(options.sheet)
    if options.repainted:
        pairs = list(repainted(pictures))
        print(f"{len(pairs)} repainted, {sum(trained(c, pictures['names'][i][0]) for i, c, _ in pairs)} for training")
        Image.fromarray(sheet([image for _, _, image in pairs[::20]], 24)).save(options.repainted)


if __name__ == "__main__":
    main()
