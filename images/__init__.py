"""Pictures and masks as pixels: files, windows, pieces, outlines. Imports nothing of ours but `files` and `errors`."""
