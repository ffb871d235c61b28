"""Events: physics objects from NanoAOD or flat columns, selections, variations, and fixed-shape model inputs.

Words:
    events: coffea NanoEvents; columns are read when they are touched.
    entry: position of an event in its file.
    variation: the objects or weights under a systematic shift.
    representation: events as an array of fixed shape that an operator takes.
    split: which events train, calibrate and check, by a hash of dataset, file and entry.

Inputs: dataset records and files. Outputs: arrays. Files: none.
"""
