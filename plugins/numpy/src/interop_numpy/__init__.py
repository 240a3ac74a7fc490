"""NumPy as a consumer: the smallest complete backend, and the one to copy."""
