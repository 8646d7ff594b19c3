# SPDX-License-Identifier: MIT OR Apache-2.0
"""loop: the shortest way to a program that goes on where it stopped.

    python3 loop.py [steps [checkpoint every [pause in ms]]]

Kill it, or send it SIGTERM, and run it again: it ends with the same checksum.
"""

import pickle
import random
import sys
import time
import zlib

import scr

steps, every, pause_ms = (list(map(int, sys.argv[1:])) + [60, 10, 0][len(sys.argv) - 1 :])[:3]

# All that the next step depends on.
state = {"random": random.Random(1), "weights": [0.0] * 100}


def save(route):
    with open(route("state.pickle"), "wb") as file:
        pickle.dump(state, file)


def load(route):
    with open(route("state.pickle"), "rb") as file:
        state.update(pickle.load(file))


loop = scr.loop(steps, save=save, load=load, every=every, name="loop")
if loop.checkpoint:
    print(f"loop: restarted from {loop.checkpoint} at step {loop.done}", flush=True)

for step in loop:
    if step % every == 0 and step > 0:
        print(f"loop: step {step} checkpoint {loop.checkpoint}", flush=True)
    state["weights"] = [0.9 * weight + state["random"].random() for weight in state["weights"]]
    time.sleep(pause_ms / 1000)

print(f"loop: final checksum 0x{zlib.crc32(repr(state['weights']).encode()):08x} after step {loop.done}")
