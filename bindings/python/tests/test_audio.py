"""Sounds from prompts: AudioLDM and AudioLDM 2."""

import base64
import io
import math
import wave

import numpy as np
import pytest
from small_audio import BINS, FACTOR, HOP, LATENT, RATE, SHORT, sampled, write_audioldm, write_audioldm2

import diffaccel

KINDS = {"audioldm": write_audioldm, "audioldm2": write_audioldm2}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("sounds")
    return {kind: write(root / kind) for kind, write in KINDS.items()}


@pytest.fixture(scope="module")
def models(folders):
    return {kind: diffaccel.Model(folder) for kind, folder in folders.items()}


@pytest.mark.parametrize("kind", KINDS)
def test_descriptions(models, kind):
    facts = models[kind].description
    assert facts["family"] == "audioldm" and facts["kind"] == kind and facts["sample_rate"] == RATE and facts["mel_bins"] == BINS
    assert facts["input"] == [4, 16, BINS // FACTOR] and facts["seconds"] == 16 * FACTOR * HOP / RATE and facts["reads_texts"]
    assert facts["guidance"] == (3.5 if kind == "audioldm2" else 2.5) and facts["sampler"] == "ddim" and facts["unknown_keys"] == []
    steps = next(option for option in models[kind].request["options"] if option["name"] == "steps")
    assert steps["default_text"].endswith("200" if kind == "audioldm2" else "10")
    whole = ["text_encoder/audio_model", "text_encoder/audio_projection", "text_encoder/logit_scale_a"]
    assert facts["unused_parts"] == (whole if kind == "audioldm2" else [])
    parts = ["text_encoder"] + (["text_encoder_2", "projection_model", "language_model"] if kind == "audioldm2" else [])
    assert facts["text_encoders"] == parts


@pytest.mark.parametrize("kind", KINDS)
def test_a_sound_and_its_events(models, kind):
    events, streamed = [], {}

    def watch(event):
        events.append((event.stage, event.step, event.steps, event.fraction))
        if event.audio is not None:
            number, first = event.audio_place
            streamed.setdefault(number, []).append((first, event.audio))

    result = sampled(models[kind], prompt=["a dog", "rain on a roof"], seed=2, callback=watch)
    assert result.names == ["audio", "latents", "mel"] and result.sample_rate == RATE
    assert result.audio.shape == (2, int(8 * LATENT * RATE)) and result.latents.shape == (2, 4, 8, BINS // FACTOR)
    assert result.tensor("mel").shape == (2, 8 * FACTOR, BINS) and abs(result.audio).max() <= 1
    stages = [stage for stage, *_ in events]
    assert stages[:4] == ["encode", "denoise", "denoise", "denoise"] and stages[4:6] == ["decode", "decode"]
    assert set(stages[6:]) == {"vocode"} and events[-1][1] == events[-1][2] == result.audio.size
    fractions = [fraction for *_, fraction in events]
    assert fractions == sorted(fractions) and fractions[-1] == pytest.approx(1)
    for number, sound in enumerate(result.audio):
        starts = np.cumsum([0] + [len(values) for _, values in streamed[number]])
        assert [first for first, _ in streamed[number]] == starts[:-1].tolist()
        assert np.array_equal(np.concatenate([values for _, values in streamed[number]]), sound)


@pytest.mark.parametrize("kind", KINDS)
def test_batches_seeds_and_numbers(models, kind):
    model = models[kind]
    both = sampled(model, prompt=["dogs", "rain"], waveforms_per_prompt=2, seeds=[1, 2, 3, 4])
    assert len(both.audio) == 4 and len({sound.tobytes() for sound in both.audio}) == 4
    # Prompts of as many letters: the language model counts the padding of shorter ones.
    alone = sampled(model, prompt="rain", seeds=[4])
    np.testing.assert_array_equal(alone.audio[0], both.audio[3])
    again = sampled(model, prompt="rain", seed=4)
    assert np.array_equal(again.audio, alone.audio)
    assert not np.array_equal(sampled(model, prompt="rain", seed=4, negative_prompt="dogs").audio, again.audio)
    assert not np.array_equal(sampled(model, prompt="rain", seed=4, guidance=1).audio, again.audio)
    given = sampled(model, prompt="rain", noise=np.zeros((1, 4, 8, BINS // FACTOR), np.float32))
    assert np.array_equal(given.audio, sampled(model, prompt="rain", noise=np.zeros((1, 4, 8, BINS // FACTOR), np.float32), seed=9).audio)
    assert not np.array_equal(sampled(model, prompt="rain", seed=4, eta=1).audio, again.audio)
    assert sampled(model, prompt="rain", decode=False).names == ["latents"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seconds", [LATENT, 0.0062, 0.29, 0.035])
def test_lengths(models, kind, seconds):
    """As diffusers has them, in double."""
    frames = int(seconds / (HOP / RATE))
    latents = math.ceil(frames / FACTOR)
    result = sampled(models[kind], prompt="rain", seconds=seconds, steps=1)
    assert result.latents.shape[2] == latents and result.tensor("mel").shape[1] == latents * FACTOR
    # A kernel that is odd beside its rate makes a frame of the last stage more.
    assert result.audio.shape[1] == min(int(seconds * RATE), HOP * latents * FACTOR + 4)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seconds", [0, -1, 0.5 * LATENT, 600.1, 1e9, 1e308])
def test_lengths_that_are_refused(models, kind, seconds):
    for call in ("sample", "estimate"):
        with models[kind].session() as session, pytest.raises(diffaccel.InvalidArgumentError, match="seconds.*600"):
            getattr(session, call)(prompt="rain", seconds=seconds)
    with models[kind].session() as session, pytest.raises((diffaccel.InvalidArgumentError, diffaccel.FormatError, ValueError)):
        session.sample(prompt="rain", seconds=float("nan"))


def test_estimates_are_right(models):
    for kind, model in models.items():
        for request in (SHORT, dict(steps=2, seconds=1.0), dict(steps=1, seconds=0.5, prompt=["a", "b"], waveforms_per_prompt=2)):
            request = {"prompt": "rain", **request}
            with model.session(threads=1) as session:
                peak = session.estimate(**request)["bytes"]["peak"]
                used = session.sample(**request).stats["memory"]["peak"]
            assert used <= peak <= 1.1 * used + 65536, f"{kind}: {request}"


def test_minutes_are_estimated_without_being_computed(models):
    for model in models.values():
        with model.session() as session:
            one, ten = (session.estimate(prompt="rain", seconds=seconds) for seconds in (60, 600))
        assert 8 < ten["flops"]["total"] / one["flops"]["total"] < 200


def test_a_window_in_time(models):
    """None is LiteFocus as published; one over all times, without random keys, sees what dense attention sees."""
    def latents(**settings):
        plan = diffaccel.Plan(litefocus={"scope": "all", **settings}) if settings else None
        with models["audioldm2"].session(plan) as session:
            request = {"prompt": "a dog", "steps": 2, "seed": 1, "seconds": 8 * LATENT, "decode": False}
            result = session.sample(**request)
            assert session.estimate(**request)["flops"]["total"] == result.stats["totals"]["flops"]
            return result.latents.tobytes()

    assert latents(ratio=0.1, window=0) == latents(ratio=0.1) != latents(ratio=0.1, window=1)
    assert latents(cross_frequency=False, window=10**9) == latents()
    with pytest.raises(diffaccel.FormatError, match="window"):
        diffaccel.Plan(litefocus={"window": -1})


def test_embeddings_in_place_of_texts(models):
    g, shape = np.random.default_rng(0), (2, 4, 8, BINS // FACTOR)
    vectors = g.standard_normal((2, 10)).astype(np.float32)
    model = models["audioldm"]
    noise = g.standard_normal(shape).astype(np.float32)
    told = sampled(model, prompt_embeds=vectors, negative_prompt_embeds=vectors[::-1].copy(), noise=noise)
    swapped = sampled(model, prompt_embeds=vectors, negative_prompt_embeds=vectors, noise=noise)
    assert told.audio.shape[0] == 2 and not np.array_equal(told.audio, swapped.audio)
    # Both sides alike: guidance leads nowhere.
    np.testing.assert_allclose(swapped.latents, sampled(model, prompt_embeds=vectors, guidance=1, noise=noise).latents, atol=1e-4)

    model = models["audioldm2"]
    states = g.standard_normal((2, 5, 20)).astype(np.float32)
    mask = np.array([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0]], np.float32)
    made = g.standard_normal((2, 8, 12)).astype(np.float32)
    first = dict(prompt_embeds=states, attention_mask=mask, generated_prompt_embeds=made)
    plain = sampled(model, **first, guidance=1, noise=noise)
    hidden = states.copy()
    hidden[1, 2:] = 7
    np.testing.assert_array_equal(sampled(model, **{**first, "prompt_embeds": hidden}, guidance=1, noise=noise).latents, plain.latents)
    assert not np.array_equal(sampled(model, **{**first, "attention_mask": None}, guidance=1, noise=noise).latents, plain.latents)
    # Of CLAP's vectors and the states the language model makes the rest, and an empty text is read where no negative one is given.
    second = dict(prompt_embeds=states, attention_mask=mask, clap_embeds=vectors)
    assert sampled(model, **second, noise=noise).audio.shape[0] == 2
    zeros = sampled(model, **first, unconditional="zeros", noise=noise)
    assert not np.array_equal(zeros.latents, sampled(model, **first, noise=noise).latents)
    said = sampled(model, **first, noise=noise, **{f"negative_{name}": value for name, value in first.items()})
    np.testing.assert_allclose(said.latents, plain.latents, atol=1e-3)


@pytest.mark.parametrize("request_, words", [
    (dict(), "prompt or prompt_embeds"), (dict(prompt="a", prompt_embeds=np.zeros((1, 3, 20)), generated_prompt_embeds=np.zeros((1, 8, 12))), "both given"),
    (dict(prompt_embeds=np.zeros((1, 3, 20))), "either"), (dict(generated_prompt_embeds=np.zeros((1, 8, 12))), "either"),
    (dict(prompt_embeds=np.zeros((1, 3, 20)), generated_prompt_embeds=np.zeros((1, 8, 12)), clap_embeds=np.zeros((1, 10))), "either"),
    (dict(prompt_embeds=np.zeros((1, 3, 21)), generated_prompt_embeds=np.zeros((1, 8, 12))), r"\[n, tokens, 20\]"),
    (dict(prompt_embeds=np.zeros((2, 3, 20)), generated_prompt_embeds=np.zeros((1, 8, 12))), r"\[1, n, 20\]"),
    (dict(prompt_embeds=np.zeros((1, 3, 20)), generated_prompt_embeds=np.zeros((1, 8, 12)), attention_mask=np.zeros((1, 4))), r"\[1, 3\]"),
    (dict(prompt_embeds=np.zeros((1, 3, 20)), generated_prompt_embeds=np.zeros((1, 8, 12)), attention_mask=np.full((1, 3), 0.5)), "0 or 1"),
    (dict(prompt_embeds=np.zeros((1, 3, 20)), clap_embeds=np.zeros((1, 11))), r"\[n, 10\]"),
    (dict(prompt="a", max_new_tokens=48), "positions"), (dict(prompt="a", max_new_tokens=49), "max_new_tokens"),
    (dict(prompt=["a", "b"], negative_prompt=["a", "b", "c"]), "one for all"), (dict(prompt="a", seeds=[1, 2]), "seeds"),
    (dict(prompt="a", unconditional="noise"), "unconditional"), (dict(prompt="a", labels=[1]), "labels"),
])
def test_what_is_refused(models, request_, words):
    with models["audioldm2"].session() as session, pytest.raises(diffaccel.DiffAccelError, match=words):
        session.sample(**SHORT, **{name: value.astype(np.float32) if isinstance(value, np.ndarray) else value for name, value in request_.items()})


def test_masks_of_nothing_and_long_prompts(models):
    model = models["audioldm2"]
    told = dict(prompt_embeds=np.ones((1, 3, 20), np.float32), generated_prompt_embeds=np.ones((1, 8, 12), np.float32))
    assert np.isfinite(sampled(model, **told, attention_mask=np.zeros((1, 3), np.float32), guidance=1).audio).all()
    long = "many words " * 100_000
    for kind in KINDS:
        assert np.array_equal(sampled(models[kind], prompt=long).audio, sampled(models[kind], prompt=long[:500]).audio), kind


def test_stopping(models):
    """In the encoders' event, and between stretches of the vocoder."""
    for stage in ("encode", "decode", "vocode"):
        with models["audioldm2"].session() as session:
            with pytest.raises(diffaccel.Cancelled):
                session.sample(prompt="rain", **SHORT, callback=lambda event: event.stage == stage)
            assert session.sample(prompt="rain", **SHORT).audio.size


def test_encoders_on_demand(folders, models):
    model = diffaccel.Model(folders["audioldm2"], text_encoders="on_demand")
    assert model.description["bytes"] < models["audioldm2"].description["bytes"]
    assert np.array_equal(sampled(model, prompt="rain").audio, sampled(models["audioldm2"], prompt="rain").audio)


def test_heads(folders, models):
    other = diffaccel.Model(folders["audioldm2"], heads="channels/8")
    assert not np.array_equal(sampled(other, prompt="rain").latents, sampled(models["audioldm2"], prompt="rain").latents)
    same = diffaccel.Model(folders["audioldm2"], heads="channels/4")
    assert np.array_equal(sampled(same, prompt="rain").latents, sampled(models["audioldm2"], prompt="rain").latents)
    for heads, words in (("channels/3", "divide"), ("channels/0", "heads"), ("16", "heads"), ("channels/", "heads")):
        with pytest.raises(diffaccel.DiffAccelError, match=words):
            diffaccel.Model(folders["audioldm2"], heads=heads)
    for setting in (dict(t5=False), dict(prediction_type="epsilon"), dict(lora=folders["audioldm2"] / "x.safetensors")):
        with pytest.raises(diffaccel.UnsupportedError, match=next(iter(setting))):
            diffaccel.Model(folders["audioldm2"], **setting)


def test_files_and_notebooks(models, tmp_path):
    result = sampled(models["audioldm"], prompt=["a", "b"], seed=1)
    result.save(tmp_path / "b.wav", index=1)
    with wave.open(str(tmp_path / "b.wav")) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, RATE)
        values = np.frombuffer(file.readframes(10**6), "<i2")
    assert np.array_equal(values, np.rint(result.audio[1].astype(np.float64) * 32767).astype(np.int16))
    for wrong in (dict(), dict(index=2), dict(index=0, columns=2)):
        with pytest.raises(diffaccel.InvalidArgumentError, match="index"):
            result.save(tmp_path / "c.wav", **wrong)
    page = result._repr_html_()
    assert page.count("<audio controls") == 2
    first = base64.b64decode(page.split("base64,")[1].split('"')[0])
    with wave.open(io.BytesIO(first)) as file:
        assert file.getnframes() == result.audio.shape[1]
    latents = sampled(models["audioldm"], prompt="a", decode=False)
    assert latents._repr_html_() is None and latents.sample_rate == RATE
    with pytest.raises(diffaccel.InvalidArgumentError, match="audio"):
        latents.save(tmp_path / "c.wav")
    with pytest.raises(diffaccel.InvalidArgumentError, match="images"):
        result.save(tmp_path / "c.png")


def test_the_raw_network_and_the_tower(models, folders):
    out = models["audioldm2"].forward(
        sample=np.ones((1, 4, 6, 4)), timestep=[5.0], encoder_hidden_states=np.ones((1, 8, 12)), encoder_hidden_states_1=np.ones((1, 3, 20)),
        encoder_attention_mask_1=np.ones((1, 3)))
    assert out.shape == (1, 4, 6, 4)
    out = models["audioldm"].forward(sample=np.ones((1, 4, 6, 4)), timestep=[5.0], class_labels=np.ones((1, 10)))
    assert out.shape == (1, 4, 6, 4)
    tower = diffaccel.Model(folders["audioldm2"] / "text_encoder")
    assert tower.description["family"] == "clap_text" and "audio_model" in tower.description["unused_parts"]
    vectors = tower.forward(tokens=np.array([[0, 9, 9, 2], [0, 9, 2, 1]]), mask=np.array([[1, 1, 1, 1], [1, 1, 1, 0]]))
    np.testing.assert_allclose((vectors**2).sum(1), 1, atol=1e-5)
    short = tower.forward(tokens=np.array([[0, 9, 2]]))
    np.testing.assert_allclose(short[0], vectors[1], atol=1e-6)
