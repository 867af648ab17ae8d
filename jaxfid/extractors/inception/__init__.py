"""The FID's Inception-v3 of 2015-12-05. It is not the network of the paper, nor any other Inception-v3.

What is easiest to get wrong, each of which moves every score:

* Average pools inside the blocks do not count the padding.
* The last block, Mixed_7c, pools by maximum, not by average.
* There are 1008 classes, of which ImageNet has 1000. The Inception Score leaves out the last layer's bias.
* BatchNorm has an epsilon of 0.001.
* Kernels of size 1 x 7 and 7 x 1 are written height first.
* sFID's features are the first 7 channels of Mixed_6d.branch1x1: 17 x 17 x 7, flattened, channels last.
* The input is scaled as the protocol says: (x - 128) / 128 in TensorFlow's graph, and not to ImageNet's mean.
"""
