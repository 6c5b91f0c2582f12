"""The C helpers of the benchmarks: compiled when first used, called through ctypes.

`Roofline` measures what the machine can do at this moment; `Replay` runs a network's linear layers and nothing else; `Layers` runs a
convolution or an attention.
"""

import ctypes
import os
import pathlib
import shutil
import subprocess
from ctypes import POINTER, Structure, c_char_p, c_double, c_float, c_int32, c_int64, c_void_p

ROOT = pathlib.Path(__file__).resolve().parent.parent
NATIVE = ROOT / "Benchmarks" / "native"
KERNELS = ROOT / "Sources" / "CKernels"


def compiler():
    """clang: the kernels' instruction sets are chosen by its pragmas. The one beside swift is what built the library."""
    wish = os.environ.get("CLANG") or shutil.which("clang")
    if not wish and shutil.which("swift"):
        wish = str(pathlib.Path(shutil.which("swift")).resolve().parent / "clang")
    if not wish or not shutil.which(wish):
        raise SystemExit("clang is needed to compile the kernels for the replay; set CLANG to it")
    return wish


def build():
    """The shared object with both helpers, compiled again when a source is newer than it."""
    sources = [NATIVE / "replay.c", NATIVE / "roofline.c", NATIVE / "layers.c", *sorted(KERNELS.glob("*.c"))]
    headers = [*KERNELS.glob("**/*.h"), *KERNELS.glob("generic/*")]
    target = ROOT / "build" / "benchmarks" / "native.so"
    if target.exists() and all(p.stat().st_mtime < target.stat().st_mtime for p in [*sources, *headers]):
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_suffix(f".{os.getpid()}")
    subprocess.run([compiler(), "-O3", "-std=gnu17", "-fPIC", "-shared", "-pthread", "-Wl,--wrap=ck_pool_run",
                    "-o", str(partial), *map(str, sources), "-lm", "-ldl"], check=True)
    os.replace(partial, target)
    return target


class Layer(Structure):
    """replay_layer"""

    _fields_ = [("m", c_int64), ("n", c_int64), ("k", c_int64), ("vectors", c_int32), ("reserved", c_int32),
                ("weights", c_void_p)]


def load():
    library = ctypes.CDLL(str(build()))
    for name, result, arguments in [
            ("roofline_name", c_char_p, [c_int32]),
            ("roofline_fma", c_double, [c_int32, c_double, c_int32, POINTER(c_double)]),
            ("roofline_read", c_double, [c_int32, c_void_p, c_int64, c_double]),
            ("replay_create", c_void_p, [POINTER(Layer), c_int32, c_int32]),
            ("replay_destroy", None, [c_void_p]),
            ("replay_run", None, [c_void_p]),
            ("replay_run_openblas", c_int32, [c_void_p, c_int32]),
            ("replay_output", c_float, [c_void_p, c_int64]),
            ("replay_tasks", c_int32, [c_void_p, c_int32, POINTER(c_int64)]),
            ("replay_barrier", c_double, [c_void_p, c_int32]),
            ("ck_pool_create", c_void_p, [c_int32]),
            ("layers_convolution", c_int32, [c_void_p, c_void_p, c_void_p, c_int32, c_void_p, c_void_p, POINTER(c_int64), c_int32]),
            ("layers_attention", c_int32, [c_void_p, c_void_p, c_void_p, c_void_p, c_void_p, POINTER(c_int64), c_float]),
            ("layers_frequencies", c_int32, [*[c_void_p] * 7, POINTER(c_int64), c_float])]:
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


class Roofline:
    """Operations and bytes per second on this many threads, now."""

    def __init__(self, threads, seconds=0.25, precision="f32"):
        self.library, self.threads, self.seconds, self.pairs = load(), threads, seconds, int(precision == "bf16")
        self.name = self.library.roofline_name(self.pairs).decode()

    def fma(self):
        """A loop of multiply-adds on registers: (FLOP/s of all threads by the clock, FLOP/s of one by processor time)."""
        core = c_double()
        rate = self.library.roofline_fma(self.threads, self.seconds, self.pairs, ctypes.byref(core))
        if rate <= 0:
            raise RuntimeError("the threads of the roofline loop could not be started")
        return rate, core.value

    def read(self, array):
        """Bytes a second read from a float32 array, which should be far larger than the caches."""
        rate = self.library.roofline_read(self.threads, array.ctypes.data, array.size, self.seconds)
        if rate <= 0:
            raise RuntimeError("the threads of the reading loop could not be started")
        return rate


class Replay:
    """Linear layers in order. `layers`: (rows, weight as a float32 array [n, k], whether rows are one per sample)."""

    def __init__(self, layers, threads):
        self.library, self.threads = load(), threads
        self.layers = layers
        self.flops = sum(2.0 * rows * weight.size for rows, weight, _ in layers)
        table = (Layer * len(layers))(*(
            Layer(rows, *weight.shape, int(vectors), 0, weight.ctypes.data) for rows, weight, vectors in layers))
        self.handle = self.library.replay_create(table, len(layers), threads)
        if not self.handle:
            raise MemoryError("the replay's packed weights")

    def run(self):
        self.library.replay_run(self.handle)

    def run_openblas(self):
        if not self.library.replay_run_openblas(self.handle, self.threads):
            raise RuntimeError("OpenBLAS (libopenblas.so.0) is not installed")

    def output(self, count):
        return [self.library.replay_output(self.handle, index) for index in range(count)]

    def tasks(self, threads):
        """How many tasks each layer is cut into for this many threads."""
        counts = (c_int64 * len(self.layers))()
        if not self.library.replay_tasks(self.handle, threads, counts):
            raise MemoryError("a pool of threads")
        return list(counts)

    def barrier(self, calls=20000):
        """Seconds of one parallel call that has nothing to do."""
        return self.library.replay_barrier(self.handle, calls)

    def close(self):
        self.library.replay_destroy(self.handle)
        self.handle = None


class Layers:
    """Single layers on float32 arrays, on this many threads."""

    FORMS = {0: "direct", 4: "F(2,3)", 6: "F(4,3)"}

    def __init__(self, threads):
        self.library = load()
        self.pool = self.library.ck_pool_create(threads)

    def convolution(self, x, weight, bias, out, stride=1, upsample=1, form=-1):
        """Fills `out`; the name of the form taken."""
        (batch, inputs, height, width), (outputs, _, kernel, _) = x.shape, weight.shape
        sizes = (c_int64 * 8)(batch, inputs, height, width, outputs, kernel, stride, upsample)
        taken = self.library.layers_convolution(self.pool, x.ctypes.data, weight.ctypes.data, 0, bias.ctypes.data, out.ctypes.data,
                                                sizes, form)
        if taken < 0:
            raise MemoryError("a convolution's scratch memory")
        return self.FORMS[taken]

    def frequencies(self, q, k, v, chosen, out, heads, frequencies):
        """LiteFocus' attention of rows [1, times * frequencies, heads * head_dim] with the shared tokens `chosen`; fills `out`."""
        head_dim = q.shape[2] // heads
        shared_k, shared_v = k[0, chosen], v[0, chosen]
        sizes = (c_int64 * 5)(heads, q.shape[1] // frequencies, frequencies, len(chosen), head_dim)
        if not self.library.layers_frequencies(self.pool, *(a.ctypes.data for a in (q, k, v, shared_k, shared_v, out)), sizes,
                                               head_dim**-0.5):
            raise MemoryError("an attention's scratch memory")

    def attention(self, q, k, v, out, heads):
        """Attention of rows [batch, tokens, heads * head_dim]; fills `out`."""
        head_dim = q.shape[2] // heads
        sizes = (c_int64 * 5)(q.shape[0], heads, q.shape[1], k.shape[1], head_dim)
        if not self.library.layers_attention(self.pool, *(a.ctypes.data for a in (q, k, v, out)), sizes, head_dim**-0.5):
            raise MemoryError("an attention's scratch memory")
