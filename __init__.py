"""Anomaly Synthesis: industrial defects with exact masks, as ComfyUI nodes and as a command line."""

WEB_DIRECTORY = "./web"


async def comfy_entrypoint():
    """Called once by ComfyUI; the nodes, and with them ComfyUI's own modules, are imported here and not before."""
    from .nodes import AnomalySynthesis

    return AnomalySynthesis()
