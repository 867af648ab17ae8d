"""The Frechet distance between Gaussians: value, derivative, error bar, check."""
