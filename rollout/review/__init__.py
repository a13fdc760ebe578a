"""What a change of flags.yaml does to units, and what a file in good order is not like.

Takes flags and units that somebody else has read. No input, no output, no clock.
"""
