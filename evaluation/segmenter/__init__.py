"""A segmentation network, trained on real defects with or without synthetic ones, and tested on whole images."""
