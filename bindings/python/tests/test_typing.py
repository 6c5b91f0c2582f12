"""Types: the package under `mypy --strict`, and a user's script that needs neither casts nor checks for None."""

import subprocess
import sys

import pytest
from conftest import PACKAGE

pytest.importorskip("mypy")

SCRIPT = '''
import numpy as np
import numpy.typing as npt

import diffaccel
from diffaccel.options import SampleOptions


def draw(path: str) -> npt.NDArray[np.uint8]:
    model = diffaccel.Model(path)
    with model.session(plan="alternate", threads=1) as session:
        result = session.sample(labels=["sneaker", 3], steps=20, guidance=2.0, top_k=[1, 2])
    result.save("grid.png")
    height: int = result.images.shape[1] + result.latents.shape[2] + result.pixels.shape[3] + len(result.names)
    seconds: float = result.stats["seconds"] * height
    print(f"{seconds:.2f}", result.tokens.sum())
    return result.images[:1]


def write(path: str, prompts: list[str]) -> list[str]:
    model = diffaccel.Model(path, weights="int8")
    session = model.session(plan=diffaccel.Plan(dkv={"variant": "decode"}))
    tokens: npt.NDArray[np.int64] = model.tokenizer.encode("text")
    ids, places = model.tokenizer.encode("text", offsets=True)
    print(ids.size + places.size, session.sample(tokens=tokens).text, session.sample(tokens=[[1, 2], [3]]).texts[0].upper())
    return [text.strip() for text in session.sample(prompt=prompts, length=8).texts]


def network(model: diffaccel.Model) -> float:
    x = diffaccel.randn((1, 4, 8, 8), seed=3)
    out = model.forward(x=x, t=[1], y=[2])
    both = model.forward(outputs=["out"], x=x, t=[1], y=[2])
    grid: npt.NDArray[np.int8] = diffaccel.Plan.load("interval:3").grid(model, 20)
    return float(out.mean() + both["out"].max() + grid.sum())


def learn(path: str) -> diffaccel.Plan:
    trainer = diffaccel.learn.router(path, data="train.safetensors", steps=10, callback=lambda event: event.loss < 0.1)
    print(trainer.evaluate()["error"] + trainer.describe()["step"])
    return trainer.plan() + diffaccel.Plan()


def watch(event: diffaccel.Event) -> bool:
    states = 0 if event.latents is None else event.latents.shape[0]
    written = sum(text.revealed.size + text.queries for text in event.texts) + event.tensor("latents").size
    return event.step + event.seconds + event.fraction + states + written > 3 and event.stage.startswith("denoise")


def options(session: diffaccel.Session, request: SampleOptions) -> float:
    request["steps"] = 20
    request["noise"] = diffaccel.randn((1, 4, 8, 8), seed=3)
    result = session.sample(**request, progress=True, callback=watch)
    session.sample(labels=range(3), tile="never", guidance_channels="all", seed=None)
    result.save(result.text + result.texts[0] + ".txt")
    peak: int = session.estimate(**request)["bytes"]["peak"]
    return float(result.sequences[0].sum()) + peak


def main() -> None:
    diffaccel.set_log(lambda level, message: print(level + message), level="info")
    try:
        draw("model").tobytes()
    except diffaccel.DiffAccelError as error:
        print(error.status + 1, error.name.lower())
'''


def mypy(folder, *arguments):
    done = subprocess.run([sys.executable, "-m", "mypy", "--strict", "--cache-dir", folder / "cache", *arguments], cwd=PACKAGE,
                          capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_package(tmp_path):
    mypy(tmp_path, "-p", "diffaccel")


def test_a_script(tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT)
    mypy(tmp_path, tmp_path / "script.py")


@pytest.mark.parametrize("call", [
    "session.sample(stepz=3)", 'session.sample(steps="3")', 'session.sample("ddim")', "session.estimate(labels=1.5)"])
def test_mistakes_are_found(tmp_path, call):
    (tmp_path / "script.py").write_text(f"import diffaccel\n\n\ndef run(session: diffaccel.Session) -> None:\n    {call}\n")
    done = subprocess.run([sys.executable, "-m", "mypy", "--strict", "--cache-dir", tmp_path / "cache", tmp_path / "script.py"], cwd=PACKAGE,
                          capture_output=True, text=True, timeout=300)
    assert done.returncode == 1 and "script.py:5" in done.stdout, done.stdout
