#!/usr/bin/env bash
# Runs a search with workers from a dask-gateway server, as analysis facilities offer it. The document:
#
#   execution:
#     where: https://dask.facility.org  # or gateway: the address that the facility has set for its notebooks
#     workers: 50
#     cluster:
#       auth: jupyterhub                # basic, kerberos or jupyterhub; left out: what the facility has set
#       options: {worker_cores: 1, worker_memory: 3.0}    # the names are the facility's own
#
# The gateway's image must hold the same versions as this environment: they are compared first.
# jupyterhub needs JUPYTERHUB_API_TOKEN, kerberos a ticket (kinit):   bash jobs/gateway.sh search.yml
set -euo pipefail
exec "${DARKOP:-darkop}" run "$@"
