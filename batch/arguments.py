"""The arguments of `anomaly-synthesis batch`, and the help that comes with them."""

from __future__ import annotations

import argparse

_JOB = """\
  run (the default)  start the job            resume  go on after a stop or a crash, as often as needed
  status             how far it is            cancel  stop it; resume goes on
  export             a table of all items

the job file:
  workflow: aias-synthesis.json      # what the page's "Export (API)" or "Save" writes
  out: pairs                         # folder to make, in MVTec layout, with manifest.jsonl
  count: 500                         # items of every kind
  seed: 0                            # decides every seed and every choice
  servers: [http://127.0.0.1:8188, http://127.0.0.1:8189]
  kinds:                             # made in turn; leave out for one kind
    - {object: bottle, type: [crack, dirt]}
  inputs:                            # a node's title or id, its inputs, and what they get:
    KSampler (AIAS):
      steps: 20                      # the same for all items
      seed: {seed: anomaly}          # a seed per item; inputs of one name share it
    Load Image:
      image: {files: "data/{object}/train/good/*.png"}  # sent to the server; one at random per item
    # {files_in_turn: ..}  {kind: type}  {text: "a {type}"}  {item: 0}: number of the item, from 0
    # {each: [1, 2]}: in turn  {choose: [1, 2]}: at random
  results:                           # what makes a pair of a run; all but these nodes is left out of it
    image: Save Image                # an output node, or an output of any node:
    mask: {node: Load Defect Dataset, output: mask}
    normal: {node: Load Image, input: image}   # the file that this input gets
    object: bottle                   # or {kind: object}, or {node: .., output: ..}
    type: {kind: type}
  record: {base: my base}            # more entries of the manifest, as object and type
  limits: {tries: 3, seconds: 3600, ahead: 8, megabytes: 64}
                                     # failures of an item, seconds of a run, prompts in a server's queue, MB of a file
  cluster: {comfyui: /opt/ComfyUI, actors: 2}  # for --ray: also python, arguments, gpus (of each actor, 1)

paths start from the job file's folder. Beside `out`, <out>.batch keeps the table of items and report.html.
For servers behind a proxy that asks for a header, the environment's ANOMALY_SYNTHESIS_HEADERS has "Name: value" lines.
Ctrl-C stops cleanly, twice at once; either way `resume` repeats nothing in the output. More in docs/batch.md."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments, on the command's own parser."""
    parser.epilog = _JOB
    parser.add_argument(
        "action",
        nargs="?",
        default="run",
        choices=("run", "resume", "status", "cancel", "export"),
        metavar="ACTION",
        help="run (default), resume, status, cancel, export",
    )
    parser.add_argument("job", metavar="JOB.yaml", help="the job file; see below")
    parser.add_argument(
        "--dry-run", action="store_true", help="check job and servers, tell plan and estimate, run nothing"
    )
    parser.add_argument("--retry", action="store_true", help="with resume: try what was set aside")
    parser.add_argument(
        "--ray", metavar="ADDRESS", help="start ComfyUI on a Ray cluster, not the job's servers ('local': here)"
    )
    parser.add_argument("--json", action="store_true", help="with status: as JSON")
    parser.add_argument("--to", default="items.csv", metavar="FILE", help="with export: a .csv or .jsonl (items.csv)")
