"""Sites: where Dask workers come from, one file for each kind of site.

Words:
    site: a place that lends workers: this machine, a running scheduler, a batch system, a gateway, Kubernetes.
    owned: made here and ended here; a client that the caller passed in is neither.
    lifetime: how long a worker of a batch job takes work; it ends before the job's walltime does.

Inputs: the section ``execution`` of the document. Outputs: a connected client whose workers have been checked.
Files: the batch systems' logs and the workers' certificates, in ``cluster.shared_directory``.
"""

from darkop_dist.execution.sites.connect import get_client, open_client
from darkop_dist.execution.sites.environment import check_environment
from darkop_dist.execution.sites.site import SiteClient

__all__ = ["SiteClient", "check_environment", "get_client", "open_client"]
