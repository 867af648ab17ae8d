"""The pass of images through a network: devices, accumulators, snapshots."""
