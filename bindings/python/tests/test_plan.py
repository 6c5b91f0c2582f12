"""Plans as data, and by name."""

import json

import numpy as np
import pytest

import diffaccel

LOGITS = np.random.default_rng(0).normal(size=(6, 6)).astype(np.float32)


def test_empty():
    plan = diffaccel.Plan()
    assert plan.describe() == {"methods": []} and "plain model" in repr(plan)


def test_grid(tiny):
    plan = diffaccel.Plan(l2c={"logits": LOGITS, "threshold": 0.5})
    grid = plan.grid(tiny, 6)
    assert grid.shape == (6, 6) and grid.dtype == np.int8
    # Rows run from the noisiest; row 5 is the first step, and every second one is cached.
    for row, step in enumerate(range(5, -1, -1)):
        expected = np.ones(6) if step % 2 else (1 / (1 + np.exp(-LOGITS[step].astype(float))) > 0.5)
        np.testing.assert_array_equal(grid[row], expected)
    facts = plan.describe(tiny, 6)
    assert facts["saved"] == pytest.approx(1 - grid.mean()) and facts["flops"] < facts["baseline_flops"]
    assert facts["timesteps"] == [999, 799, 599, 400, 200, 0] and len(facts["sites"]) == 6


def test_policies(tiny):
    assert diffaccel.Plan(l2c={"policy": "none"}).grid(tiny, 6).all()
    interval = diffaccel.Plan(l2c={"policy": "interval", "interval": 3}).grid(tiny, 6)
    assert [bool(row.all()) for row in interval] == [True, False, False, True, False, False]
    random = [diffaccel.Plan(l2c={"policy": "random", "ratio": 0.5, "seed": seed}).grid(tiny, 6) for seed in (0, 0, 1)]
    assert np.array_equal(random[0], random[1]) and not np.array_equal(random[0], random[2])


def test_save_load(tmp_path, tiny):
    plan = diffaccel.Plan(l2c={"logits": LOGITS, "threshold": 0.3})
    path = tmp_path / "plan.json"
    plan.save(path)
    loaded = diffaccel.Plan.load(path)
    assert loaded.describe() == plan.describe()
    np.testing.assert_array_equal(np.array(loaded.describe()["methods"][0]["logits"], np.float32), LOGITS)
    assert [entry.name for entry in tmp_path.iterdir()] == ["plan.json"], "no temporary file is left"
    with pytest.raises(diffaccel.FileError):
        plan.save(tmp_path / "no" / "folder" / "plan.json")


def test_released_router(tmp_path, tiny):
    path = tmp_path / "router.json"
    path.write_text(json.dumps({"source_file": "x.pt", "official_threshold": 0.9, "depth": 3, "logits": LOGITS.tolist()}))
    inlined = diffaccel.Plan(l2c={"router": path})
    assert inlined.describe()["methods"][0]["threshold"] == 0.9
    np.testing.assert_array_equal(inlined.grid(tiny, 6), diffaccel.Plan.load(path).grid(tiny, 6))
    assert diffaccel.Plan(l2c={"router": str(path), "threshold": 0.2}).describe()["methods"][0]["threshold"] == 0.2
    beside = tmp_path / "plan.json"
    beside.write_text(json.dumps({"method": "l2c", "router": "router.json"}))
    np.testing.assert_array_equal(diffaccel.Plan.load(beside).grid(tiny, 6), inlined.grid(tiny, 6))


def test_stack():
    one, two = diffaccel.Plan(l2c={"policy": "none"}), diffaccel.Plan()
    both = one + two
    one.close()
    two.close()
    assert len(both.describe()["methods"]) == 1
    with pytest.raises(TypeError):
        both + 3


def test_same_method_twice(tiny):
    twice = diffaccel.Plan(l2c={"policy": "none"}) + diffaccel.Plan(l2c={"policy": "alternate"})
    with pytest.raises(diffaccel.IncompatibleError):
        tiny.session(plan=twice)


def test_plan_that_does_not_fit(tiny):
    plan = diffaccel.Plan(l2c={"logits": np.zeros((6, 8))})
    with pytest.raises(diffaccel.IncompatibleError, match="8 columns"):
        tiny.session(plan=plan)
    with pytest.raises(diffaccel.IncompatibleError):
        plan.grid(tiny, 6)
    wrong_steps = diffaccel.Plan(l2c={"logits": LOGITS})
    with pytest.raises(diffaccel.IncompatibleError):
        wrong_steps.grid(tiny, 10)
    with tiny.session(plan=wrong_steps) as session, pytest.raises(diffaccel.IncompatibleError):
        session.sample(labels=[0], steps=10)


@pytest.mark.parametrize("text", [
    "", "{", "[]", "3", "null", '{"method": "unknown"}', '{"method": 3}', '{"methods": {}}', '{"methods": [3]}',
    '{"method": "l2c"}', '{"method": "l2c", "policy": "sometimes"}', '{"method": "l2c", "policy": "interval"}',
    '{"method": "l2c", "policy": "interval", "interval": 0}', '{"method": "l2c", "policy": "random"}',
    '{"method": "l2c", "policy": "random", "ratio": 2}', '{"method": "l2c", "logits": []}',
    '{"method": "l2c", "logits": [[]]}', '{"method": "l2c", "logits": [[1], [1, 2]]}',
    '{"method": "l2c", "logits": [["a"]]}', '{"method": "l2c", "logits": [[1]], "threshold": 2}',
    '{"method": "l2c", "logits": [[1e400]]}', '{"method": "l2c", "policy": "none", "typo": 1}',
    '{"method": "l2c", "method": "l2c"}', '{"method": "l2c", "router": "x.json"}', "[" * 1000,
    '{"methods": [' + ", ".join(['{"method": "l2c", "policy": "none"}'] * 65) + "]}",
])
def test_refused_json(text):
    with pytest.raises(diffaccel.DiffAccelError):
        diffaccel.Plan.parse(text)


@pytest.mark.parametrize("settings, error", [
    ({"router": "no/such/file"}, diffaccel.FileError), ({"logits": [[float("nan")]]}, diffaccel.FormatError),
    ("none", TypeError), ({"logits": object()}, TypeError),
])
def test_refused_settings(settings, error):
    with pytest.raises(error):
        diffaccel.Plan(l2c=settings)


def test_refused_router_files(tmp_path):
    for content in ("[]", "{}", "{", '"text"'):
        (tmp_path / "r.json").write_text(content)
        with pytest.raises(diffaccel.FormatError):
            diffaccel.Plan(l2c={"router": tmp_path / "r.json"})


def test_load_refuses(tmp_path):
    for path, error in ((tmp_path / "missing", diffaccel.FileError), (tmp_path, diffaccel.DiffAccelError)):
        with pytest.raises(error):
            diffaccel.Plan.load(path)


def test_plans_by_name(tiny, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    expected = tiny.session(plan=diffaccel.Plan(l2c={"policy": "alternate"})).sample(labels=[1], steps=4).latents
    diffaccel.Plan(l2c={"policy": "alternate"}).save("mine.json")
    for plan in ("alternate", "mine.json", tmp_path / "mine.json", {"method": "l2c", "policy": "alternate"}, diffaccel.Plan.load("alternate")):
        assert np.array_equal(tiny.session(plan=plan).sample(labels=[1], steps=4).latents, expected)
    diffaccel.Plan.load("interval:2").save("alternate")
    assert diffaccel.Plan.load("alternate").describe()["methods"][0]["policy"] == "interval", "a file of that name comes first"
    for plan in (3, b"alternate", ["alternate"]):
        with pytest.raises(TypeError, match="plan"):
            tiny.session(plan=plan)
    with pytest.raises(diffaccel.FileError, match='did you mean "alternate"'):
        tiny.session(plan="altrenate")
    with pytest.raises(diffaccel.FormatError, match='did you mean "alternate"'):
        diffaccel.Plan.parse("altrenate")
    with pytest.raises(diffaccel.InvalidArgumentError, match="interval:N"):
        tiny.session(plan="interval:0")
    with pytest.raises(TypeError, match="names"):
        diffaccel.Plan(l2c={1: 2})


def test_steps_of_a_router(tiny):
    router = diffaccel.Plan(l2c={"logits": np.ones((7, 6)), "threshold": 0.5})
    assert len(tiny.session(plan=router).sample(labels=[1]).stats["steps"]) == 7
    assert router.grid(tiny).shape == (7, 6) and diffaccel.Plan().grid(tiny).shape == (50, 6)
    assert len(tiny.session().sample(labels=[1], spacing="3,2").stats["steps"]) == 5
    with pytest.raises(diffaccel.IncompatibleError):
        tiny.session(plan=router).sample(labels=[1], steps=6)
