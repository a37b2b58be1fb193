"""The arguments of `anomaly-synthesis batch`, and the help that comes with them."""

from __future__ import annotations

import argparse

from ..settings import settings_of
from .settings import Limits

_JOB = """\
  run (the default)  start the job            resume  continue after a stop or a crash, as often as needed
  status             show the progress        cancel  stop it; resume continues
  export             write a table of all items

the job file:
  workflow: aias-synthesis.json      # what the page's "Export (API)" or "Save" writes
  out: pairs                         # folder to create, in MVTec layout, with manifest.jsonl
  count: 500                         # items of every kind
  seed: 0                            # decides every random choice
  servers: [http://127.0.0.1:8188, http://127.0.0.1:8189]
  kinds:                             # made in turn; leave it out for a single kind
    - {object: bottle, type: [crack, dirt]}
  inputs:                            # by node title or id: its inputs and their values
    KSampler (AIAS):
      steps: 20                      # the same value for all items
      seed: {seed: anomaly}          # one seed per item; inputs of the same name share it
    Load Image:
      image: {files: "data/{object}/train/good/*.png"}  # uploaded; one at random per item
    # {files_in_turn: ..}  {kind: type}  {text: "a {type}"}  {item: 0}: number of the item, from 0
    # {each: [1, 2]}: in turn  {choose: [1, 2]}: at random
  results:                           # what forms a pair; nodes that these do not need are not run
    image: Save Image                # an output node, or an output of any node:
    mask: {node: Load Defect Dataset, output: mask}
    normal: {node: Load Image, input: image}   # the file given to this input
    object: bottle                   # or {kind: object}, or {node: .., output: ..}
    type: {kind: type}
  record: {base: my base}            # more manifest entries, given like object and type
  limits:                            # these are the defaults
LIMITS
  cluster: {comfyui: /opt/ComfyUI, actors: 2}  # for --ray: also python, arguments, gpus (of each actor, 1)

Paths are relative to the job file's folder. <out>.batch beside `out` holds the table of items and report.html.
For a proxy that requires headers, put "Name: value" lines into the variable ANOMALY_SYNTHESIS_HEADERS.
Ctrl-C stops after the current items, a second Ctrl-C at once; `resume` never makes a pair twice. See docs/batch.md."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments, on the command's own parser."""
    limits = (f"    {name}: {one.default}".ljust(37) + f"# {one.help}" for name, one in settings_of(Limits).items())
    parser.epilog = _JOB.replace("LIMITS", "\n".join(limits))
    parser.add_argument(
        "action",
        nargs="?",
        default="run",
        choices=("run", "resume", "status", "cancel", "export"),
        metavar="ACTION",
        help="run, resume, status, cancel or export. [default: run]",
    )
    parser.add_argument("job", metavar="JOB.yaml", help="The job file; see below.")
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="Check the job and its servers, show the plan and an estimate, run nothing.",
    )
    parser.add_argument("--retry", action="store_true", help="With resume: try again what was set aside.")
    parser.add_argument(
        "--ray",
        metavar="ADDRESS",
        help="Start ComfyUI on the Ray cluster at this address ('local': here) instead of using the job's servers.",
    )
    parser.add_argument("--json", action="store_true", help="With status: print JSON.")
    parser.add_argument(
        "--to",
        default="items.csv",
        metavar="FILE",
        help="With export: the .csv or .jsonl to write. [default: items.csv]",
    )
