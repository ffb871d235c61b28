"""Events from Pythia 8 with a parametrised detector response, written in the layout of NanoAOD.

Words:
    process     what collides into what: settings of Pythia and the parameters that a user may set. One TOML file each
                in ``processes/``; `list_processes` names them.
    part        a fixed number of events with a seed of its own. A sample is its parts in order, so it is the same
                whatever the number of workers.
    truth       what the generator knows: stable visible particles, invisible momentum, heavy hadrons, tau decays.
    response    what a detector would make of it: acceptance, efficiencies, resolutions, tags. One card with its
                numbers and where they come from in ``responses/``.
    makers      where the parts are made: in this process here, anywhere by `stages.generation`, which also keeps them
                for a resume.
    injection   events of a signal among those of a background or of data, with a column that says which they are.
    sample      one ROOT file: ``Events`` in the layout of NanoAOD, ``Runs`` with the sum of weights and cross section.

In: the name of a process, a number of events, a seed, settings. Out: one ROOT file and a `GeneratedSample`;
`materialise` does the same for a dataset record of the catalogue and keeps the file in a cache.

Pythia, fastjet and uproot are imported when events are made, not when this room is imported.
"""

from darkop_dist.generation.materialise import materialise
from darkop_dist.generation.pileup_profile import PileupProfile, read_profile
from darkop_dist.generation.plan import Measurement
from darkop_dist.generation.process import Parameter, Process, list_processes, load_process
from darkop_dist.generation.record import GeneratedSample
from darkop_dist.generation.sample import generate, shower

__all__ = [
    "GeneratedSample",
    "Measurement",
    "Parameter",
    "PileupProfile",
    "Process",
    "generate",
    "list_processes",
    "load_process",
    "materialise",
    "read_profile",
    "shower",
]
