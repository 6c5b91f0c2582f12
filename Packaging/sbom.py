#!/usr/bin/env python3
"""The software bill of materials in CycloneDX 1.5: what components.json says is linked in, with the versions found here.

Usage: sbom.py VERSION OUTPUT

Versions are those of Debian's packages, of the Swift toolchain ($SWIFT) and of Package.resolved. Fails where one cannot be told.
"""

import json
import os
import re
import subprocess
import sys
import time
import uuid
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent


def swift():
    said = subprocess.run([os.environ.get("SWIFT", "swift"), "--version"], capture_output=True, text=True, check=True).stdout
    return re.search(r"Swift version (\S+)", said)[1]


def resolved(name):
    """The version of a Swift package that the build took."""
    for folder in (ROOT, ROOT / ".build", ROOT / ".build-dist"):
        path = folder / "Package.resolved"
        if path.is_file():
            for pin in json.loads(path.read_text())["pins"]:
                if pin["identity"] == name:
                    return pin["state"]["version"]
    raise SystemExit(f"{name}: Package.resolved does not say its version: make build-dist first")


def version(component):
    source, _, package = component["version"].partition(":")
    if source == "swift":
        return swift()
    if source == "swiftpm":
        return resolved(component["name"])
    if source == "debian":
        said = subprocess.run(["dpkg-query", "-W", "-f=${Version}", package], capture_output=True, text=True)
        if said.returncode != 0:
            raise SystemExit(f"{package}: not installed here, so its version is not known: make deps")
        return said.stdout
    return component["version"]


def licence(text):
    """An SPDX expression, or one licence by its name."""
    return {"expression": text} if " " in text else {"license": {"id": text}}


def described(component):
    found = version(component)
    return {"type": "library", "bom-ref": component["name"], "name": component["name"], "version": found,
            "description": component["description"], "licenses": [licence(component["licence"])],
            "purl": f"{component['purl'].replace('+', '%2B')}@{found.replace('+', '%2B')}",
            "properties": [{"name": "diffaccel:linked-into", "value": place} for place in component["in"]]}


def main():
    release, output = sys.argv[1], sys.argv[2]
    components = [described(component) for component in json.loads((HERE / "components.json").read_text())]
    parts = {"libdiffaccel": "library", "diffaccel-cli": "command line"}
    own = [{"type": "library" if part == "library" else "application", "bom-ref": name, "name": name, "version": release,
            "licenses": [licence("Apache-2.0")]} for name, part in parts.items()]
    links = [{"ref": name, "dependsOn": [one["bom-ref"] for one in components if {"name": "diffaccel:linked-into", "value": part} in one["properties"]]}
             for name, part in parts.items()]
    when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(int(os.environ.get("SOURCE_DATE_EPOCH", time.time()))))
    text = json.dumps(components, sort_keys=True)
    bill = {"$schema": "http://cyclonedx.org/schema/bom-1.5.schema.json", "bomFormat": "CycloneDX", "specVersion": "1.5",
            "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, f'diffaccel {release} {text}')}", "version": 1,
            "metadata": {"timestamp": when, "component": {"type": "library", "bom-ref": "diffaccel", "name": "diffaccel", "version": release,
                                                          "licenses": [licence("Apache-2.0")]}},
            "components": own + components,
            "dependencies": [{"ref": "diffaccel", "dependsOn": list(parts)}, *links]}
    Path(output).write_text(json.dumps(bill, indent=2) + "\n")
    print(f"{output}: {len(components)} components")


if __name__ == "__main__":
    main()
