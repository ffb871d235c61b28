#!/usr/bin/env bash
# Runs a search with its workers as HTCondor jobs. The document says what one job is:
#
#   execution:
#     where: htcondor
#     workers: 200                      # kept at this number: a job that ends or is held is submitted again
#     cluster:
#       memory: 3 GB
#       disk: 2 GB
#       walltime: "02:00:00"            # becomes +MaxRuntime; workers retire before it ends
#       account: group_u_CMS.u_zh       # the accounting group
#       shared_directory: /afs/cern.ch/work/m/me    # logs and certificates: seen by this machine and the nodes
#       job_extra: ['requirements = (OpSysAndVer =?= "AlmaLinux9")']
#       env_prologue: ["source /cvmfs/sft.cern.ch/lcg/views/setup.sh"]
#
# On a machine with a schedd, in a screen or tmux:   bash jobs/htcondor.sh search.yml
# The workers connect to this process: the nodes must be able to reach this machine.
set -euo pipefail
command -v condor_submit >/dev/null || { echo 'error: condor_submit is not on this machine' >&2; exit 2; }
exec "${DARKOP:-darkop}" run "$@"
