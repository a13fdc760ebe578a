"""flags.yaml: its text -> flags, its shape as a schema, and changes that touch one number of it.

Text in, text out: knows neither where the text is kept nor who changes it. No input,
no output, no clock.
"""
