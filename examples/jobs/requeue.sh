#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
#SBATCH --nodes=5
#SBATCH --no-kill
#SBATCH --time=01:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
# Work that is longer than an allocation, on four nodes and a spare one:
#
#   sbatch requeue.sh
#
# Ten minutes before its time is over the application is asked to stop, and the job goes back into the queue. In the next
# allocation it goes on from its last checkpoint.
set -eu

export SCR_RUNS=-1 SCR_HALT_SECONDS=600
# By exec the signals that Slurm sends to the script come to scr run.
exec scr_run --requeue srun -N 4 ./app "$@"
