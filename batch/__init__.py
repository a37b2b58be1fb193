"""Long batches through ComfyUI's HTTP API: planned, resumed after any crash, every pair written exactly once."""
