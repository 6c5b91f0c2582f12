#!/usr/bin/env python3
"""Checks a wheel: auditwheel finds nothing newer than its name says, and all is in it. Usage: check_wheel.py WHEEL"""

import re
import subprocess
import sys
import zipfile

NEEDED = ("diffaccel/libdiffaccel.so", "diffaccel/bin/diffaccel", "diffaccel/py.typed", "diffaccel/__main__.py")


def main():
    wheel = sys.argv[1]
    named = re.search(r"manylinux_2_(\d+)_", wheel)
    with zipfile.ZipFile(wheel) as file:
        names = file.namelist()
        missing = [name for name in NEEDED if name not in names]
        missing += [name for name in ("LICENSE", "THIRD-PARTY.txt") if not any(path.endswith(f"licenses/{name}") for path in names)]
        executable = not missing and file.getinfo("diffaccel/bin/diffaccel").external_attr >> 16 & 0o111
    if missing or not executable:
        sys.exit(f"{wheel}: lacks {', '.join(missing) or 'the right to execute diffaccel/bin/diffaccel'}")
    said = subprocess.run([sys.executable, "-m", "auditwheel", "show", wheel], capture_output=True, text=True)
    text = " ".join(said.stdout.split())
    found = re.search(r'consistent with the following platform tag: "manylinux_2_(\d+)_', text)
    if said.returncode != 0 or not found or not named or int(found[1]) > int(named[1]):
        sys.exit(f"{wheel}: auditwheel says otherwise:\n{said.stdout}{said.stderr}")
    print(f"{wheel}: {len(names)} files; auditwheel: manylinux_2_{found[1]}")


if __name__ == "__main__":
    main()
