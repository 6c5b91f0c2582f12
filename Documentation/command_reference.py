"""The page of the command line, from the tables that it parses its arguments by, and the options of each kind of model."""

import json
import subprocess
import sys
from pathlib import Path

import dialects

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "Packaging"))
import manual  # noqa: E402

_INTRODUCTION = """# Command-line reference

What `diffaccel COMMAND --help` says, as one page; `man diffaccel` has the same where the command line is installed.
[The command line](../guide/command-line.md) shows it at work.

"""


def spelled(name):
    return ("--" if name["kind"] == "long" else "-") + name["name"]


def form(argument):
    """How an argument is written: its names, and its value where it has one."""
    if argument["kind"] == "positional":
        return argument["valueName"].upper()
    value = " " + argument["valueName"].upper() if argument["kind"] == "option" else ""
    return ", ".join(spelled(name) for name in argument["names"]) + value


def option(argument):
    text = dialects.escaped(argument.get("abstract", "").strip())
    if argument.get("allValues"):
        text += " Values: " + ", ".join(f"`{value}`" for value in argument["allValues"]) + "."
    if argument.get("defaultValue") not in (None, ""):
        text += f" Default: `{argument['defaultValue']}`."
    return f"- `{form(argument)}`: {text}\n"


def discussion(text):
    """Running text, with indented lines as examples."""
    lines, fenced = [], False
    for line in text.split("\n"):
        if (line.startswith("  ") and line.strip() != "") != fenced:
            lines.append("```" if fenced else "\n```text")
            fenced = not fenced
        lines.append(line[2:] if fenced else dialects.escaped(line.strip()))
    return "\n".join(lines + (["```"] if fenced else [])) + "\n\n"


def section(words, command, program, models):
    """The sections of a command and of all below it."""
    inner = manual.subcommands(command)
    parts = [f"## {' '.join(words)}\n\n", dialects.escaped(command.get("abstract", "")) + "\n\n"]
    if command.get("discussion"):
        parts.append(discussion(command["discussion"]))
    parts += [option(argument) for argument in manual.shown(command)]
    if words[1:] == ["sample"]:
        for kind, options in manual.options_of_models(program, models):
            parts.append(f"\n### Options of {kind}\n\n")
            parts += [f"- `{name}`: {dialects.escaped(text)}\n" for name, text in options]
    parts.append("\n")
    for one in inner:
        parts += section([*words, one["commandName"]], one, program, models)
    return parts


def page(program, models):
    described = json.loads(subprocess.run([program, "--experimental-dump-help"], capture_output=True, text=True, check=True).stdout)
    return _INTRODUCTION + "".join(section(["diffaccel"], described["command"], program, models))
