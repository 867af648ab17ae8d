"""jaxfid: the Frechet Inception Distance and its family of metrics in JAX."""
