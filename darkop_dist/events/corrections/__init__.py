"""Corrections: certified data and their luminosity, pile-up weights, jet energies, MET filters and triggers.

Words:
    section: a luminosity section (CMS) or block (ATLAS) of a run, the unit in which luminosity is known.
    certified: in the golden JSON or good-runs list.
    nuisance: a source of uncertainty with variations of its own.

Inputs: events, and files that the user names, held by content so that they travel to workers. Outputs: masks, columns,
weights, sums. Files: met_filters.toml and triggers.toml, read; none written.
"""
