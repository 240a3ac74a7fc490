"""``interop compare``: one producer against every consumer on this machine, side by side."""
