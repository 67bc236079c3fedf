"""Turns an execution into a run: papermill engine, live session, environment capture, models."""
