#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
#SBATCH --no-kill
# Starts an application, and again after failures, until it has done its work: the shortest job script there is.
#
#   scr_run.sh mpirun -n 4 ./app               on one machine, with virtual nodes
#   sbatch -N 5 scr_run.sh srun -N 4 ./app     in an allocation of Slurm, with a spare node
#   sbatch -N 5 scr_run.sh -N 4 ./app          the same, as in SCR
#
# --no-kill keeps the allocation when a node fails; without it there is nothing to go on with.
set -euo pipefail

case ${1:-} in -*) set -- srun "$@" ;; esac

# Where the job's checkpoints and records are.
export SCR_PREFIX=${SCR_PREFIX:-$PWD}
# How often it is launched, and how long nodes may take to tidy up in between.
export SCR_RUNS=${SCR_RUNS:-5}
export SCR_RELAUNCH_SECONDS=${SCR_RELAUNCH_SECONDS:-60}

# It prepares the nodes, leaves out those that failed, saves what is only in the caches, and ends with the status of the
# application.
exec scr run -- "$@"
