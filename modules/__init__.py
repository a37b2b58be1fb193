"""Networks, one per file, and the files that hold them."""
