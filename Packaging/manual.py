#!/usr/bin/env python3
"""Manual pages of the command line, one a command, from the tables that it parses its arguments by.

Usage: manual.py PROGRAM FOLDER_OF_MODELS OUTPUT

The options of models, which `diffaccel sample MODEL --help` lists, are asked of the bundled models, one of each kind.
"""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

KINDS = {"emoji-sd": "Stable Diffusion", "tiny-audio": "AudioLDM", "fashion-dit": "DiT", "fashion-uvit": "U-ViT", "fashion-var": "VAR", "tiny-llada": "LLaDA"}


def escaped(text):
    """Plain text as roff has it."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    for character, name in {"…": "\\&...", "≥": "\\(>=", "≤": "\\(<=", "×": "\\(mu", "σ": "\\(*s", "–": "\\(en", "’": "'"}.items():
        text = text.replace(character, name)
    return "\n".join("\\&" + line if line[:1] in (".", "'") else line for line in text.split("\n"))


def paragraphs(text):
    """Running text, with indented lines as examples."""
    lines, examples = [], False
    for line in text.split("\n"):
        example = line.startswith("  ")
        if example != examples:
            lines.append(".PP\n.nf\n.RS 4" if example else ".RE\n.fi\n.PP")
            examples = example
        if line.strip():
            lines.append(escaped(line.strip()))
        elif not example:
            lines.append(".PP")
    return lines + ([".RE", ".fi"] if examples else [])


def spelled(name):
    return {"long": "\\-\\-", "short": "\\-", "longWithSingleDash": "\\-"}[name["kind"]] + escaped(name["name"])


def forms(argument):
    """How an argument is written: its names, and its value where it has one."""
    if argument["kind"] == "positional":
        return "\\fI" + escaped(argument["valueName"]) + "\\fR"
    names = ", ".join("\\fB" + spelled(name) + "\\fR" for name in argument["names"])
    return names + (" \\fI" + escaped(argument["valueName"]) + "\\fR" if argument["kind"] == "option" else "")


def synopsis(words, command):
    parts = []
    for argument in shown(command):
        form = forms(argument).split(", ")[0] if argument["kind"] == "positional" else forms(argument).split(", ")[-1]
        form += "..." if argument["isRepeating"] else ""
        parts.append("[" + form + "]" if argument["isOptional"] else form)
    name = "\\fB" + escaped(" ".join(words)) + "\\fR"
    return name + (" \\fIcommand\\fR ..." if subcommands(command) else " " + " ".join(parts))


def shown(command):
    return [argument for argument in command.get("arguments", []) if argument.get("shouldDisplay")]


def subcommands(command):
    return [inner for inner in command.get("subcommands", []) if inner["commandName"] != "help"]


def listed(command):
    lines = []
    for argument in shown(command):
        text = argument.get("abstract", "").strip()
        if argument.get("allValues"):
            text += " (values: " + ", ".join(argument["allValues"]) + ")"
        if argument.get("defaultValue") not in (None, ""):
            text += " (default: " + argument["defaultValue"] + ")"
        lines += [".TP", forms(argument), escaped(text)]
    return lines


def options_of_models(program, models):
    """What `sample MODEL --help` says of the models' own options, by kind of model: (kind, [(option, text)])."""
    for folder, kind in KINDS.items():
        if not (models / folder).is_dir():
            continue
        said = subprocess.run([program, "sample", models / folder, "--help"], capture_output=True, text=True, check=True).stdout
        part = said.partition("\nOPTIONS OF ")[2].partition("\n")[2].partition("\nTENSORS")[0]
        found = re.findall(r"^  (--[a-z0-9-]+) +(.*(?:\n {4,}.*)*)", part, re.M)
        if not found:
            raise SystemExit(f"{program} sample {folder} --help lists no options of the model")
        yield kind, [(name, " ".join(text.split())) for name, text in found]


def model_options(program, models):
    """The same as sections of a page."""
    lines = []
    for kind, options in options_of_models(program, models):
        lines.append(f'.SH "OPTIONS OF MODELS: {escaped(kind)}"')
        for name, text in options:
            lines += [".TP", "\\fB" + escaped(name) + "\\fR", escaped(text)]
    return lines


def page(words, command, extra, others):
    title = "-".join(words).upper()
    date = time.strftime("%Y-%m-%d", time.gmtime(int(os.environ.get("SOURCE_DATE_EPOCH", time.time()))))
    lines = [f'.TH "{escaped(title)}" 1 "{date}" "diffaccel" "User commands"', ".SH NAME",
             escaped("-".join(words)) + " \\- " + escaped(command.get("abstract", "").rstrip(".")), ".SH SYNOPSIS", synopsis(words, command)]
    if command.get("discussion"):
        lines += [".SH DESCRIPTION", *paragraphs(command["discussion"])]
    if shown(command):
        lines += [".SH OPTIONS", *listed(command)]
    inner = subcommands(command)
    if inner:
        lines.append(".SH COMMANDS")
        for one in inner:
            lines += [".TP", "\\fB" + escaped(one["commandName"]) + "\\fR", escaped(one.get("abstract", ""))]
    lines += extra
    if others:
        lines += [".SH SEE ALSO", ",\n".join("\\fB" + escaped(other) + "\\fR(1)" for other in others)]
    return "\n".join(line for line in lines if line) + "\n"


def pages(words, command, program, models):
    """(name, text) of a command and all below it."""
    inner = subcommands(command)
    extra = model_options(program, models) if words[1:] == ["sample"] else []
    others = ["-".join([*words, one["commandName"]]) for one in inner] + (["-".join(words[:-1])] if words[1:] else [])
    yield "-".join(words), page(words, command, extra, others)
    for one in inner:
        yield from pages([*words, one["commandName"]], one, program, models)


def main():
    program, models, output = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    described = json.loads(subprocess.run([program, "--experimental-dump-help"], capture_output=True, text=True, check=True).stdout)
    output.mkdir(parents=True, exist_ok=True)
    for name, text in pages(["diffaccel"], described["command"], program, models):
        (output / f"{name}.1").write_text(text)


if __name__ == "__main__":
    main()
