"""Music for tiny-audio: solo instruments and drum loops that `fluidsynth` plays from Debian's General MIDI sound font, with what they are.

Two packages: `fluidsynth` and `fluid-soundfont-gm`.  A clip is 10.24 seconds of 16 kHz: an instrument, slow or fast, low or high, playing a melody,
a scale or broken chords; or a drum loop, slow or fast.  Everything about clip n follows from the seed and n.

    python Tools/music_data.py --listen out/music
"""

import argparse
import multiprocessing
import random
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import torch

FONT = "/usr/share/sounds/sf2/FluidR3_GM.sf2"
CACHE = ".cache/music/clips.pt"
RATE, SAMPLES = 16000, 163840
TRAINED, HELD_OUT = 2400, 600
CHUNK = 50  # clips that one run of fluidsynth plays

# Instrument: (family, General MIDI program, notes of the low and of the high register).
INSTRUMENTS = {
    "piano": ("piano", 0, (36, 55), (67, 88)),
    "guitar": ("guitar", 24, (40, 55), (60, 76)),
    "bass guitar": ("bass", 33, (28, 38), (41, 52)),
    "violin": ("strings", 40, (55, 67), (76, 93)),
    "string ensemble": ("strings", 48, (38, 55), (67, 86)),
    "flute": ("flute", 73, (60, 72), (79, 96)),
    "trumpet": ("trumpet", 56, (54, 66), (70, 84)),
    "organ": ("organ", 19, (36, 55), (65, 84)),
    "music box": ("bells", 10, (60, 72), (79, 96)),
    "glockenspiel": ("bells", 9, (72, 82), (88, 103)),
    "choir": ("choir", 52, (43, 55), (64, 79)),
    "drums": ("drums", None, None, None),
}
FAMILIES = sorted({family for family, *_ in INSTRUMENTS.values()})
TEMPI, REGISTERS, PATTERNS = ["slow", "fast"], ["low", "high"], ["melody", "scale", "arpeggio"]
MAJOR, MINOR = (0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10)
KICK, SNARE, CLOSED, OPEN, RIDE, TOMS, CRASH = 36, 38, 42, 46, 51, (41, 45, 48), 49


def facts(index, seed):
    """What clip `index` is: instruments in turn, the rest by chance."""
    chance = random.Random(f"{seed} {index}")
    instrument = list(INSTRUMENTS)[index % len(INSTRUMENTS)]
    about = {"instrument": instrument, "family": INSTRUMENTS[instrument][0], "tempo": chance.choice(TEMPI)}
    if instrument != "drums":
        about |= {"register": chance.choice(REGISTERS), "pattern": chance.choice(PATTERNS)}
    return about


def tones(about, chance):
    """The scale's notes within the register, lowest first."""
    low, high = INSTRUMENTS[about["instrument"]][2 if about["register"] == "low" else 3]
    key, scale = chance.randrange(12), chance.choice((MAJOR, MINOR))
    return [note for note in range(low, high + 1) if (note - key) % 12 in scale]


def line(pattern, top, chance):
    """Places in a scale, 0 to `top`, without end; and how many beats each lasts."""
    place, direction = chance.randrange(top), 1
    if pattern == "scale":
        while True:
            yield place, 1
            direction = direction if 0 <= place + direction <= top else -direction
            place += direction
    if pattern == "arpeggio":
        while True:
            root = chance.randrange(max(1, top - 4))
            for step in chance.choice(((0, 2, 4, 2), (0, 2, 4, 6), (4, 2, 0, 2), (0, 4, 2, 4))) * 2:
                yield min(root + step, top), 1
    while True:
        for beats in chance.choice(((1, 1, 1, 1), (1, 1, 2), (2, 1, 1), (1.5, 0.5, 1, 1), (1, 0.5, 0.5, 2))):
            yield place, beats
            place += chance.choice((-2, -1, -1, 1, 1, 2, chance.choice((-3, 0, 3))))
            place = min(max(place, 0), top)


def notes(about, chance):
    """(begin, end, note, loudness) in seconds of one clip."""
    loud, last = chance.randint(75, 110), SAMPLES / RATE
    if about["instrument"] == "drums":
        yield from drums(about, chance, loud, last)
        return
    beat = chance.uniform(0.5, 0.8) if about["tempo"] == "slow" else chance.uniform(0.14, 0.22)
    scale, time = tones(about, chance), 0.0
    for place, beats in line(about["pattern"], len(scale) - 1, chance):
        if time >= last - 0.05:
            return
        end = min(time + 0.95 * beats * beat, last)
        yield time, end, scale[place], loud + chance.randint(-8, 8)
        time += beats * beat


def drums(about, chance, loud, last):
    """One bar of eight to sixteen steps, again and again, with some hits left out or added."""
    step = chance.uniform(0.34, 0.46) if about["tempo"] == "slow" else chance.uniform(0.1, 0.15)
    count, hat = chance.choice((8, 16)), chance.choice((CLOSED, CLOSED, OPEN, RIDE))
    bar = [[hat] if chance.random() < 0.85 else [] for _ in range(count)]
    for place in range(0, count, 8):
        bar[place].append(KICK)
        bar[place + 4].append(SNARE)
        bar[place + chance.choice((2, 3, 5, 6))].append(KICK)
        if chance.random() < 0.5:
            bar[place + 7].append(chance.choice((SNARE, *TOMS)))
    if chance.random() < 0.3:
        bar[0].append(CRASH)
    time, place = 0.0, 0
    while time < last - 0.05:
        for drum in bar[place % count]:
            if chance.random() < 0.96:
                yield time, time + 0.08, drum, min(120, loud + chance.randint(-10, 15))
        time, place = time + step, place + 1


def play(task):
    """Bytes of int16 [n, SAMPLES], each clip as loud as the others at its loudest."""
    import mido
    from scipy.io import wavfile
    from scipy.signal import resample_poly

    first, count, seed = task
    gap = SAMPLES / RATE + 1
    events = []
    for number in range(count):
        about = facts(first + number, seed)
        channel, start = (9, number * gap) if about["instrument"] == "drums" else (0, number * gap)
        if channel == 0:
            events.append((start, 0, mido.Message("program_change", program=INSTRUMENTS[about["instrument"]][1])))
        for begin, end, note, loud in notes(about, random.Random(f"notes {seed} {first + number}")):
            events.append((start + begin, 2, mido.Message("note_on", channel=channel, note=note, velocity=loud)))
            events.append((start + end, 1, mido.Message("note_off", channel=channel, note=note)))
        # What still sounds is cut, so that no clip is heard in the next.
        events.append((start + SAMPLES / RATE + 0.1, 1, mido.Message("control_change", channel=channel, control=120)))
    events.append((count * gap + 1, 1, mido.Message("control_change", control=120)))
    track, time = mido.MidiTrack([mido.MetaMessage("set_tempo", tempo=1_000_000)]), 0
    for seconds, _, message in sorted(events, key=lambda event: event[:2]):
        tick = round(seconds * 1000)
        track.append(message.copy(time=tick - time))
        time = tick
    with tempfile.TemporaryDirectory() as folder:
        mido.MidiFile(type=0, ticks_per_beat=1000, tracks=[track]).save(f"{folder}/clips.mid")
        subprocess.run(["fluidsynth", "-ni", "-q", "-R", "0", "-C", "0", "-g", "0.5", "-r", str(2 * RATE), "-F", f"{folder}/clips.wav",
                        FONT, f"{folder}/clips.mid"], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        sound = wavfile.read(f"{folder}/clips.wav")[1].mean(1)
    clips = []
    for number in range(count):
        begin = round(number * gap * 2 * RATE)
        clip = resample_poly(sound[begin : begin + 2 * SAMPLES], 1, 2)
        clips.append((clip / np.abs(clip).max() * 0.5 * 32767).astype(np.int16))
    return np.stack(clips)


def load(cache=CACHE, seed=1, workers=2):
    """{"audio": int16 [n, SAMPLES], "about": list of dicts}; the last HELD_OUT are for judging.  Played once."""
    count = TRAINED + HELD_OUT
    if not Path(cache).exists():
        Path(cache).parent.mkdir(parents=True, exist_ok=True)
        tasks = [(first, min(CHUNK, count - first), seed) for first in range(0, count, CHUNK)]
        with multiprocessing.Pool(workers) as pool:
            audio = np.concatenate(pool.map(play, tasks, chunksize=1))
        torch.save({"audio": torch.from_numpy(audio), "about": [facts(index, seed) for index in range(count)]}, cache)
    return torch.load(cache)


def to_float(audio):
    return audio.float() / 32767


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--cache", default=CACHE)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--listen", help="write one clip of each instrument, slow or fast, into this folder")
    options = p.parse_args()
    from scipy.io import wavfile

    clips = load(options.cache, options.seed)
    print(f"{len(clips['audio'])} clips, {len(clips['audio']) * SAMPLES / RATE / 3600:.1f} hours")
    if options.listen:
        Path(options.listen).mkdir(parents=True, exist_ok=True)
        for about, audio in list(zip(clips["about"], clips["audio"]))[: 3 * len(INSTRUMENTS)]:
            wavfile.write(f"{options.listen}/{' '.join(about[key] for key in about if key != 'family')}.wav", RATE, audio.numpy())


if __name__ == "__main__":
    main()
