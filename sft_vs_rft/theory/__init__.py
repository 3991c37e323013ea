"""The theory of arXiv 2310.20703, measured: the gradient bound, and the linear model."""
