"""Batch Plan: item i of a plan of many pairs."""

from __future__ import annotations

from comfy_api.latest import io

from ..datasets.batch_plan import BatchPlan, PlanItem, kinds_from_text
from .errors import answer
from .provenance import remember_output
from .sockets import CATEGORY, MAX_DATA_SEED, NEXT


class BatchPlanNode(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SIAS_BatchPlan",
            display_name="Batch Plan",
            category=f"{CATEGORY}/dataset",
            description=(
                "Item i of a plan of many pairs: so many of every object and type, the types in turn, each with its "
                "own seed. Let index increment and queue as many runs as the plan has items; a run that is stopped "
                "goes on at its index, and the same index is always the same item. For servers that crash, use the "
                "command `anomaly-synthesis batch`."
            ),
            inputs=[
                io.String.Input(
                    "kinds",
                    default="brushed_metal / scratch\ncast_grain / pit",
                    multiline=True,
                    tooltip="What to make: one 'object / type' a line, as the dataset's folders call them.",
                ),
                io.Int.Input(
                    "count",
                    default=500,
                    min=1,
                    max=1_000_000,
                    tooltip="Items of every kind. Default 500 (papers). More adds items and changes none.",
                ),
                io.Int.Input(
                    "plan_seed",
                    default=0,
                    min=0,
                    max=MAX_DATA_SEED,
                    tooltip="Decides the seeds of all items; the command line's --seed. Default 0.",
                ),
                io.Int.Input(
                    "index",
                    default=0,
                    min=0,
                    max=2**31 - 1,
                    control_after_generate=NEXT,
                    tooltip="Which item, from 0; 'increment' walks through the plan, run by run. After the last item "
                    "the run ends with an error that says so.",
                ),
            ],
            outputs=[
                io.String.Output("object", display_name="object", tooltip="The item's object."),
                io.String.Output("type", display_name="type", tooltip="The item's anomaly type."),
                io.Int.Output(
                    "seed", display_name="seed", tooltip="For the sampler: the command line's seed of this item."
                ),
                io.Int.Output(
                    "round",
                    display_name="round",
                    tooltip="How many items of its kind came before it: for "
                    "the index of Load Defect Dataset, whose type is connected.",
                ),
                io.Int.Output("total", display_name="total", tooltip="Items of the whole plan: how often to queue."),
            ],
            hidden=[io.Hidden.prompt, io.Hidden.unique_id],
        )

    @classmethod
    def validate_inputs(cls, kinds=None, count=None, index=None):
        return answer(cls, _planned, kinds, count, 0, index)

    @classmethod
    def execute(cls, kinds: str, count: int, plan_seed: int, index: int) -> io.NodeOutput:
        plan, item = _planned(kinds, count, plan_seed, index)
        remember_output(cls.hidden, 2, [item.seed()])
        return io.NodeOutput(item.kind["object"], item.kind["type"], item.seed(), item.round, len(plan))


def _planned(kinds: str, count: int, seed: int, index: int) -> tuple[BatchPlan, PlanItem]:
    """The plan and its item at `index`. Raises Refused for kinds that are none, and for an index behind the last."""
    plan = BatchPlan(kinds_from_text(kinds), count, seed)
    return plan, plan.item(index)


NODES = [BatchPlanNode]
