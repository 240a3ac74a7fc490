"""The cases, by theme. They name no backend: what a pair does not offer is asked of its devices."""
