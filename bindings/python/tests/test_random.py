"""torch's numbers: against torch when it is there, against stored values always."""

import numpy as np
import pytest

import diffaccel

NORMAL = {
    0: ["0x1.8a7eb8p+0", "-0x1.2c78a0p-2", "-0x1.16e292p+1", "0x1.23096cp-1", "-0x1.15a342p+0"],
    1: ["0x1.529cc0p-1", "0x1.11548ep-2", "0x1.f94296p-5", "0x1.3e1d4ep-1", "-0x1.cec070p-2"],
    2**31: ["-0x1.72739ep-2", "0x1.11e860p+0", "0x1.76a0f4p-4", "0x1.f35964p-2", "-0x1.6fd278p-4"],
    2**32 + 5: ["-0x1.f276a8p-2", "-0x1.35281ap-1", "-0x1.1dbecap-1", "0x1.55c5bep-1", "-0x1.944e5ep-3"],
    2**64 - 1: ["0x1.384264p+0", "-0x1.926936p-2", "0x1.05e840p+0", "-0x1.7e621cp-2", "-0x1.354a2ep-4"],
}
# 16 values and more are drawn by torch in blocks, with other pairs.
NORMAL_20_SEED_7 = [
    "-0x1.a3e8acp-1", "0x1.952056p-2", "0x1.cc3dbcp-1", "-0x1.636e70p+0", "0x1.966a5cp-3", "0x1.906bd4p-1",
    "0x1.0a02f6p+0", "-0x1.72f312p-1", "-0x1.b2a426p-1", "-0x1.3788b0p+0", "-0x1.4bdd4ap-4", "0x1.5c8a4ap+0",
    "-0x1.07de82p+1", "0x1.5923bap-1", "-0x1.52c6cap+0", "-0x1.5c19d2p+0", "-0x1.bbc050p-1", "-0x1.20c57cp-1",
    "-0x1.073a2ap+1", "-0x1.6d48acp-2",
]
UNIFORM_SEED_7 = ["0x1.11e15ep-1", "0x1.972620p-3", "0x1.518432p-1", "0x1.5053ecp-1", "0x1.dcb218p-3"]


def numbers(texts):
    return np.array([float.fromhex(text) for text in texts], np.float32)


@pytest.mark.parametrize("seed", NORMAL)
def test_normal_values(seed):
    np.testing.assert_allclose(diffaccel.randn(5, seed), numbers(NORMAL[seed]), atol=2e-7, rtol=2e-7)


def test_normal_blocks():
    np.testing.assert_allclose(diffaccel.randn((4, 5), 7).ravel(), numbers(NORMAL_20_SEED_7), atol=2e-7, rtol=2e-7)


def test_uniform_values():
    np.testing.assert_array_equal(diffaccel.rand(5, 7), numbers(UNIFORM_SEED_7))


def test_permutation_values():
    assert diffaccel.randperm(12, 7).tolist() == [3, 4, 0, 5, 7, 9, 11, 6, 8, 1, 10, 2]
    long = diffaccel.randperm(40000, 3)
    assert long[:6].tolist() == [18986, 8643, 23819, 24255, 31316, 7430] and long[-3:].tolist() == [23266, 22103, 2345]


@pytest.mark.parametrize("count", [0, 1, 2, 15, 16, 17, 31, 32, 33, 100, 623, 624, 625, 4096, 100003])
@pytest.mark.parametrize("seed", [0, 1, 42, 2**32 - 1, 2**40 + 3])
def test_against_torch(count, seed):
    torch = pytest.importorskip("torch")
    draw = lambda function: (torch.manual_seed(seed), function(count).numpy())[1]  # noqa: E731
    np.testing.assert_array_equal(diffaccel.rand(count, seed), draw(torch.rand))
    np.testing.assert_array_equal(diffaccel.randperm(count, seed), draw(torch.randperm))
    np.testing.assert_allclose(diffaccel.randn(count, seed), draw(torch.randn), atol=2e-7, rtol=2e-7)


@pytest.mark.parametrize("shape", [0, (), (3,), (2, 3), [4, 0, 2], (1, 2, 3, 4), np.int64(6)])
def test_shapes(shape):
    for function, dtype in ((diffaccel.randn, np.float32), (diffaccel.rand, np.float32)):
        array = function(shape)
        assert array.shape == np.empty(shape).shape and array.dtype == dtype
    assert diffaccel.randperm(0).shape == (0,)


@pytest.mark.parametrize("arguments, error", [
    ((-1,), ValueError), (((2, -3),), ValueError), ((2**41,), ValueError), (((2**30, 2**30),), ValueError),
    ((3, -1), OverflowError), ((3, 2**64), OverflowError), ((3, 0.5), TypeError), ((2.5,), TypeError), (("x",), TypeError),
])
def test_refused(arguments, error):
    with pytest.raises(error):
        diffaccel.randn(*arguments)
    with pytest.raises(error):
        diffaccel.randperm(*arguments)
