#!/usr/bin/env bash
# Runs a search with workers as Kubernetes pods, through the Dask operator (https://kubernetes.dask.org). The document:
#
#   execution:
#     where: kubernetes
#     workers: 50
#     cluster:
#       image: registry.example.org/darkop:0.1.0    # holds the same versions as this environment: they are compared
#       namespace: cms
#       memory: 3 GB                    # of one pod, which has one core and one worker
#
# kubectl must work here, or this must run in a pod with a service account:   bash jobs/kubernetes.sh search.yml
set -euo pipefail
exec "${DARKOP:-darkop}" run "$@"
