"""One rank of a run through Python: session.py MODEL COMPONENTS. Rank 0 prints a checksum of its picture, the others that they have none."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "bindings" / "python"))
import diffaccel  # noqa: E402

settings = {"components": int(sys.argv[2]), "executor": "mpi"}
model = diffaccel.Model(sys.argv[1], ranks={"method": "async", **settings})
plan = diffaccel.Plan(**{"async": settings})
session = model.session(plan, threads=1)
result = session.sample(prompt="red apple", steps=8, seed=3)
if "images" in result.names:
    total = 14695981039346656037
    for byte in result.images.tobytes():
        total = (total ^ byte) * 1099511628211 % 2**64
    print(f"picture {total:016x}")
else:
    print("no picture")
