#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
#SBATCH --no-kill
# One launch by srun, and what SCR needs around it.
#
#   sbatch -N 4 scr_srun.sh -n 64 ./app
#
# --no-kill keeps the allocation when a node fails, so that what the other nodes have in their caches can be saved.
set -uo pipefail

export SCR_PREFIX=${SCR_PREFIX:-$PWD}

scr prerun --prefix "$SCR_PREFIX" || exit
status=0
# A rank that fails ends the launch; without the option the others would wait for it.
srun --kill-on-bad-exit=1 "$@" || status=$?
# Saves what is only in the caches.
scr postrun --prefix "$SCR_PREFIX" || exit
exit "$status"
