#!/usr/bin/env bash
# Runs a search with its workers as LSF jobs. The document says what one job is:
#
#   execution:
#     where: lsf
#     workers: 200                      # kept at this number: a job that ends is submitted again
#     cluster:
#       queue: medium
#       account: atlas                  # the project, bsub -P
#       walltime: "02:00:00"            # workers retire before it ends; LSF is told minutes, rounded up
#       memory: 3 GB
#       shared_directory: /shared/me    # logs and certificates: seen by this machine and the nodes
#       env_prologue: ["source /shared/me/darkop/bin/activate"]
#
# On a login node, in a screen or tmux:    bash jobs/lsf.sh search.yml
# Or with the driver as a job of its own:  bsub -W 24:00 bash jobs/lsf.sh search.yml
set -euo pipefail
command -v bsub >/dev/null || { echo 'error: bsub is not on this machine: start from a login node' >&2; exit 2; }
exec "${DARKOP:-darkop}" run "$@"
