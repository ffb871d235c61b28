#!/usr/bin/env bash
# Runs a search with its workers as SLURM jobs. The document says what one job is:
#
#   execution:
#     where: slurm
#     workers: 200                      # kept at this number: a job that ends is submitted again
#     cluster:
#       queue: short                    # the partition
#       account: cms
#       walltime: "02:00:00"            # workers retire before it ends, so that no chunk is cut off
#       memory: 3 GB                    # of one job; one core and one worker each, if cores is not given
#       shared_directory: /shared/me    # logs and certificates: seen by this machine and the nodes
#       env_prologue: ["source /shared/me/darkop/bin/activate"]
#
# On a login node, in a screen or tmux:    bash jobs/slurm.sh search.yml
# Or with the driver as a job of its own:  sbatch jobs/slurm.sh search.yml
# Either ends its worker jobs when it ends. Should it be killed, they end by themselves after a minute.
#SBATCH --job-name=darkop-run
#SBATCH --time=24:00:00
#SBATCH --cpus-per-task=2
#SBATCH --mem=4G
set -euo pipefail
command -v sbatch >/dev/null || { echo 'error: sbatch is not on this machine: start from a login node' >&2; exit 2; }
exec "${DARKOP:-darkop}" run "$@"
