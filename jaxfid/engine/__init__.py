"""The machine: devices and the pass of images through the network."""
