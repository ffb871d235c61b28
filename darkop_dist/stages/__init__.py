"""Stages: what a run does, in order, each from the run directory to the run directory.

    document -> search -> operator -> events -> calibrate -> limits -> report

Words:
    search: a checked document with its datasets found and its processor loaded.
    context: a run whose events have been processed, as its directory tells it.

Inputs: an analysis document, or a run directory. Outputs: the files of the run directory.
"""
