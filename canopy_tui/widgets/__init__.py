"""Widgets: each holds a state and a style; what they say comes from pure functions."""
