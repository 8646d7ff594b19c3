#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
#SBATCH --no-kill
# The same loop as in scr_run.sh, but in the script, for jobs that have something to do between two launches.
#
#   scr_run_loop.sh mpirun -n 4 ./app               on one machine, with virtual nodes
#   sbatch -N 5 scr_run_loop.sh srun -N 4 ./app     in an allocation of Slurm, with a spare node
#   sbatch -N 5 scr_run_loop.sh -N 4 ./app          the same, as in SCR
#
# Ends with the status of the last launch.
set -uo pipefail

case ${1:-} in -*) set -- srun "$@" ;; esac

export SCR_PREFIX=${SCR_PREFIX:-$PWD}
runs=${SCR_RUNS:-5}
pause=${SCR_RELAUNCH_SECONDS:-60}
# Where the nodes are kept from one launch to the next, and their caches. After success scr run removes them; after a
# failure its last lines say how to go on with them.
run_dir=${SCR_RUN_DIR:-${TMPDIR:-/tmp}/scr-loop.$$}
cache=${SCR_CACHE_BASE:-/dev/shm}

stopped=
trap 'stopped=1' TERM INT HUP

for ((left = runs - 1; left >= 0; left--)); do
    status=0
    scr run --runs 1 --run-dir "$run_dir" --cache-base "$cache" -- "$@" || status=$?
    if [ "$status" -eq 0 ] || [ -n "$stopped" ]; then
        break
    fi
    # A halt condition, no launches left, work that is done although its status says otherwise.
    if scr should-exit --runs "$left" --verbose; then
        break
    fi
    # Here is the place for what the job does between two launches.
    sleep "$pause"
done
exit "$status"
