#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
#SBATCH --no-kill
# Launches by srun until the application has done its work, leaving out the nodes that failed.
#
#   sbatch -N 5 scr_srun_loop.sh -N 4 -n 64 ./app     four nodes, and a spare one
#
# Ends with the status of the last launch. scr_run.sh does the same in one line; take this where the job has something to
# do between two launches.
set -uo pipefail

export SCR_PREFIX=${SCR_PREFIX:-$PWD}
runs=${SCR_RUNS:-5}
pause=${SCR_RELAUNCH_SECONDS:-60}

scr prerun --prefix "$SCR_PREFIX" || exit

# A node that failed once is left out for good: it may come back with an old cache.
down=
for ((left = runs - 1; left >= 0; left--)); do
    status=0
    # A rank that fails ends the launch; without the option the others would wait for it.
    srun --kill-on-bad-exit=1 ${down:+--exclude "$down"} "$@" || status=$?
    if [ "$status" -eq 0 ]; then
        break
    fi
    down=$(scr list-down-nodes --down "$down")
    # A halt condition, no launches left, too few nodes left.
    if scr should-exit --runs "$left" --down "$down" --verbose; then
        break
    fi
    sleep "$pause"
done

# Saves what is only in the caches.
scr postrun --prefix "$SCR_PREFIX" || exit
exit "$status"
