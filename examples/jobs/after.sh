#!/usr/bin/env bash
# SPDX-License-Identifier: MIT OR Apache-2.0
#SBATCH --nodes=4
#SBATCH --time=01:00:00
set -eu

scr_run srun -N 4 ./app "$@"
