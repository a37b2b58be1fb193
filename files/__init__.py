"""Files that survive a power cut, have one writer, and hold what others wrote. Imports nothing of ours but `errors`."""
