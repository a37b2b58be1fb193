"""What both doors share: from a normal image and a mask to a checked pair."""
