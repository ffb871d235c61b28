"""PHYSLITE: the events of ATLAS as the physics objects of NanoAOD.

Words:
    container: a collection of ATLAS, such as ``AnalysisJets``; its variables are the branches ``AnalysisJetsAuxDyn.pt``
        of a TTree or the fields ``AnalysisJetsAuxDyn:pt`` of an RNTuple.
    mapping: which variable becomes which column of NanoAOD, in ``columns.toml``.
    recipe: how one column of NanoAOD is made of what a file holds.
    link: ATLAS' reference to an object of another container, by a key of the container and a position in it.

Inputs: ROOT files. Outputs: NanoEvents whose columns are read when they are touched. Files: none.
"""
