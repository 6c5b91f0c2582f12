"""How many threads "one per processor" are, and what the environment has no part in."""

import os

import pytest

CODE = """
import os, sys
import diffaccel

def taken():
    with diffaccel.Model(sys.argv[1]) as model, model.session() as session:
        return session.sample(labels=[1], steps=2).stats["threads"]

allowed = os.sched_getaffinity(0)
assert taken() <= len(allowed), taken()
all_of_them = taken()
os.sched_setaffinity(0, {min(allowed)})
assert taken() == 1, taken()
os.sched_setaffinity(0, allowed)
assert taken() == all_of_them, taken()
print("well")
"""


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="there is no affinity here")
def test_affinity_decides_at_each_session(run_python, tiny_path):
    done = run_python(CODE, tiny_path)
    assert done.stdout == "well\n"


def test_the_swift_runtimes_variables_have_no_effect(run_python, tiny_path):
    """run_python sets them: nothing is printed, no handler is installed."""
    done = run_python(
        "import signal, sys, diffaccel\n"
        "before = [signal.getsignal(n) for n in range(1, 32)]\n"
        "diffaccel.Model(sys.argv[1]).session().sample(labels=[1], steps=2)\n"
        "mask = next(line for line in open('/proc/self/status') if line.startswith('SigCgt')).split()[1]\n"
        "import os; assert not int(mask, 16) & (1 << 10 | 1 << 6 | 1 << 7 | 1 << 3 | 1 << 4 | 1 << 5), mask\n",
        tiny_path,
    )
    assert done.stderr == "" and done.stdout == ""
