"""`diffaccel` and the C example with a model that makes the sounds that prompts describe."""

import io
import json
import shutil
import subprocess
import wave
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT
from small_audio import LATENT, RATE, write_audioldm
from test_command_line import PROGRAM, call

import diffaccel
from diffaccel import _ffi

built = pytest.mark.skipif(not PROGRAM.is_file(), reason="the command line is not built")
SECONDS = 40 * LATENT


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return write_audioldm(tmp_path_factory.mktemp("sounds") / "audioldm")


@pytest.fixture(scope="module")
def session(path):
    return diffaccel.Model(path).session()


def levels(data):
    """The values of a WAV file of 16 bits."""
    with wave.open(io.BytesIO(data)) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, RATE)
        return np.frombuffer(file.readframes(10**7), "<i2")


def expected(session, **request):
    audio = session.sample(**{**dict(prompt="rain", steps=3, seconds=SECONDS), **request}).audio
    return np.rint(audio.astype(np.float64) * 32767).astype(np.int16)


def sample(path, *arguments, **options):
    return call("sample", path, "--prompt", "rain", "--steps", "3", "--seconds", str(SECONDS), *arguments, **options)


@built
def test_a_file_and_a_pipe(path, session, tmp_path):
    done = sample(path, "--seed", "4", "--out", tmp_path / "x.wav", "--spectrogram", tmp_path / "x.png")
    assert "x.wav" in done.stdout and "x.png" in done.stdout
    one = expected(session, seed=4)[0]
    assert np.array_equal(levels((tmp_path / "x.wav").read_bytes()), one)
    assert (tmp_path / "x.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    piped = subprocess.run([PROGRAM, "sample", path, "--prompt", "rain", "--steps", "3", "--seconds", str(SECONDS), "--seed", "4", "--quiet",
                            "--out", "-"], capture_output=True, check=True).stdout
    assert piped == (tmp_path / "x.wav").read_bytes()


@built
def test_several_sounds(path, session, tmp_path):
    sample(path, "--count", "2", "--seed", "7", "--out", tmp_path / "y.wav", "--individual", tmp_path / "each")
    both = expected(session, waveforms_per_prompt=2, seeds=[7, 8])
    for number, sound in enumerate(both):
        assert np.array_equal(levels((tmp_path / f"y-{number + 1}.wav").read_bytes()), sound)
        assert np.array_equal(levels((tmp_path / "each" / f"000{number}-seed{7 + number}.wav").read_bytes()), sound)


@built
def test_forms_of_files(path, session, tmp_path):
    sample(path, "--out", tmp_path / "x.flac")
    assert (tmp_path / "x.flac").read_bytes()[:4] == b"fLaC"
    sample(path, "--out", tmp_path / "f.wav", "--audio-format", "float")
    data = (tmp_path / "f.wav").read_bytes()
    found = np.frombuffer(data[data.index(b"data") + 8:], "<f4")
    audio = session.sample(prompt="rain", steps=3, seconds=SECONDS, seed=0).audio[0]
    assert np.array_equal(found[: len(audio)], audio)
    facts = json.loads(sample(path, "--out", tmp_path / "z.wav", "--json").stdout)
    assert facts["statistics"]["sample_rate"] == RATE and facts["files"] == [str(tmp_path / "z.wav")] and "labels" not in facts
    assert "memory beside them" in sample(path, "--estimate").stdout
    sample(path, "--latents", tmp_path / "l.safetensors")
    assert (tmp_path / "l.safetensors").exists()


@built
@pytest.mark.parametrize("arguments, words", [
    (["--out", "x.mp3"], ".wav or .flac"), (["--out", "x.flac", "--audio-format", "float"], "pcm16"), (["--out", "-", "--count", "2"], "one sound"),
    (["--seconds", "0"], "seconds"), (["--seconds", "1e9"], "600"), (["--audio-format", "mp3"], "audio-format"), (["--out", "no/folder/x.wav"], "no/folder"),
])
def test_what_is_refused(path, tmp_path, arguments, words):
    done = subprocess.run([PROGRAM, "sample", path, "--prompt", "rain", "--steps", "3", *arguments], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode != 0 and words in done.stderr and not list(tmp_path.iterdir())


@built
def test_pictures_have_no_sound(tmp_path):
    done = subprocess.run([PROGRAM, "sample", ROOT / "Models" / "fashion-dit", "--labels", "1", "--steps", "2", "--spectrogram", "x.png"],
                          capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode != 0 and "make sounds" in done.stderr


def test_the_c_example(path, session, tmp_path):
    compiler = shutil.which("cc")
    if not compiler:
        pytest.skip("no C compiler")
    program = tmp_path / "sound"
    subprocess.run([compiler, ROOT / "bindings" / "c" / "sound.c", "-I", ROOT / "include", "-o", program, _ffi.lib._name,
                    f"-Wl,-rpath,{Path(_ffi.lib._name).parent}", "-lm"], check=True)
    prompt = 'a "loud" dog\\'
    done = subprocess.run([program, path, prompt, tmp_path / "x.wav", "--steps", "3", "--seed", "2", "--negative", "rain", "--seconds", "0.1"],
                          capture_output=True, text=True, check=True)
    assert [stage in done.stderr for stage in ("encode", "denoise", "decode", "vocode")] == [True] * 4
    found = levels((tmp_path / "x.wav").read_bytes())
    one = expected(session, prompt=prompt, negative_prompt="rain", seed=2, seconds=0.1)[0]
    assert np.abs(found.astype(int) - one.astype(int)).max() <= 1  # rounded in single and in double precision
    done = subprocess.run([program, path, "a", tmp_path / "y.wav", "--seconds", "700"], capture_output=True, text=True)
    assert done.returncode == 1 and "600" in done.stderr and not (tmp_path / "y.wav").exists()
