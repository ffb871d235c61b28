"""preservation: a run as a package that says what it is, and that can be run again and compared.

A *package* is a directory or a zip file with RO-Crate metadata. It holds the document, the user's code, the operator,
the records of the datasets and the results, and names every input file with what tells it from every other. A *local*
input is a file of the machine of the run; its path stays there, and the package calls it ``local:/LABEL``. A package is
*reproduced* when its search has been run again and each result has been compared with the one that it holds.

In: a run directory. Out: a package; from a package, a run directory and a `Reproduction`.

PACKAGE/
ro-crate-metadata.json   what every file is, with its size and SHA-256; the run as a CreateAction
README.md                the same for people
package.json             what a reproduction needs to know besides
document/                the document as resolved (search.json), and as it was written
code/, files/            the processor with the user's modules that it imports, and the files that both name
operator/                the checkpoint that the run trained, chose or was given; not one that comes with the package
catalogue/records.json   the records of all datasets: DOIs, licences, cross sections
inputs.json              every input file; inputs/ holds the local ones where that was asked for
requirements.txt         versions of all libraries
results/                 what the run wrote, its page in results/report
"""

from darkop_dist.stages.preservation.compare import Finding
from darkop_dist.stages.preservation.crate import METADATA
from darkop_dist.stages.preservation.package import Package, PackageRequest, write_package
from darkop_dist.stages.preservation.reproduce import Reproduction, ReproductionRequest, reproduce_package

__all__ = [
    "METADATA",
    "Finding",
    "Package",
    "PackageRequest",
    "Reproduction",
    "ReproductionRequest",
    "reproduce_package",
    "write_package",
]
