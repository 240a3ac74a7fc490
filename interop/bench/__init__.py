"""``interop bench``: what sharing costs on this machine, by consumer and strategy."""
