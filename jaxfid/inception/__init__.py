"""From pixels to features on the device: resize, network, weights."""
