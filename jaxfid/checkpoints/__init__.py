"""Checkpoints of training runs: finding them, and drawing images from them."""
