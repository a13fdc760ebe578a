"""Deciding what to do: values in, values out."""
