"""What runs inside a ComfyUI, in its own Python: every function `check_*` of these modules is one test there.

A check passes when it returns; the figures it returns (a dict) are shown by `pytest -rA`.
"""
