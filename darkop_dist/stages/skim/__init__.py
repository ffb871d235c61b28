"""Skims: selected events and columns of datasets, as files that every later stage takes in place of the whole.

Words:
    skim        ROOT (TTree, RNTuple) or Parquet in the layout of NanoAOD, an output for each input file.
    jet set     arrays of fixed shape for machine learning instead: jets with their constituents.
    part        what one chunk keeps, an Arrow file beside the results of chunks; outputs are put together from parts.
    side trees  what stands beside ``Events``: ``Runs`` with the sums of weights, ``LuminosityBlocks``.

In: a document, or names of datasets; a selection; columns. Out: a directory

    DIR/DATASET/*        the files
    DIR/skim.record.json a dataset record each, for ``catalogue: [DIR/skim.record.json]`` (not of jet sets)
    DIR/skim.json        what was asked, and for every output its inputs, entries read, kept, rejected and lost
    DIR/ledger.json      what became of every chunk
    DIR/provenance.json  versions, command, seconds
"""
