# SPDX-License-Identifier: MIT OR Apache-2.0
"""A loop goes on where the last run stopped, however that one ended."""

import shutil
import signal

import pytest

# A state that depends on every step and on their order. The program says each step, and waits where it is told to.
TRAIN = """
    import json
    try:
        rank = sys.modules["mpi4py.MPI"].COMM_WORLD.rank
    except KeyError:
        rank = 0
    state = {"value": 1}
    wait_at = int(os.environ.get("WAIT_AT", -1))

    def save(route):
        with open(route(f"state.{rank}"), "w") as file:
            json.dump(state, file)

    def load(route):
        with open(route(f"state.{rank}")) as file:
            state.update(json.load(file))

    def train(step):
        state["value"] = (state["value"] * 31 + step) % 1000003
        if rank == 0:
            print("step", step, flush=True)
            if step == wait_at:
                sys.stdin.readline()

    def end():
        if rank == 0:
            print("end", training.done, training.stopped, state["value"], training.checkpoint)
"""

RUN = TRAIN + """
    training = scr.loop(10, save=save, load=load, every=3)
    for step in training:
        train(step)
    end()
"""

RUN_MPI = "    from mpi4py import MPI\n" + RUN


def result():
    value = 1
    for step in range(10):
        value = (value * 31 + step) % 1000003
    return f"end 10 False {value} ckpt.10"


def steps(said):
    return [int(line.split()[1]) for line in said.splitlines() if line.startswith("step ")]


def start_and_wait(job, code, step, **options):
    """Starts the program and returns it when it is in `step`."""
    process = job.start(code, WAIT_AT=str(step), **options)
    for line in process.stdout:
        if line == f"step {step}\n":
            return process
    pytest.fail(f"it ended before step {step}")


def test_a_loop_left_in_peace_does_all_steps(job):
    said = job.run(RUN)
    assert steps(said) == list(range(10))
    assert said.splitlines()[-1] == result()


def test_a_finished_loop_does_nothing_more(job):
    job.run(RUN)
    said = job.run(RUN)
    assert steps(said) == []
    assert said.splitlines()[-1] == result()


@pytest.mark.parametrize("bypass", ["0", "1"])
def test_after_sigkill_it_goes_on_from_the_last_checkpoint(job, bypass):
    job.env["SCR_CACHE_BYPASS"] = bypass
    process = start_and_wait(job, RUN, 7)
    process.kill()
    process.communicate()
    said = job.run(RUN)
    assert steps(said) == [6, 7, 8, 9], "six steps were in the checkpoint"
    assert said.splitlines()[-1] == result()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_stops_after_the_step_with_a_checkpoint(job, number):
    process = start_and_wait(job, RUN, 4)
    process.send_signal(number)
    said, _ = process.communicate("\n", timeout=60)
    assert process.returncode == 0, said
    assert "step 5" not in said and "end 5 True" in said and said.endswith("ckpt.5\n"), said
    said = job.run(RUN)
    assert steps(said) == [5, 6, 7, 8, 9]
    assert said.splitlines()[-1] == result()


def test_a_halt_condition_stops_with_a_checkpoint(job):
    said = job.run(RUN, SCR_HALT_SECONDS="60", SCR_END_TIME="60")
    assert steps(said) == [0] and "end 1 True" in said
    assert steps(job.run(RUN)) == list(range(1, 10))


def test_stop_is_for_the_program_itself(job):
    code = RUN.replace("    end()", "        if step == 3:\n            training.stop()\n    end()")
    assert "end 4 True" in job.run(code)
    assert steps(job.run(RUN)) == list(range(4, 10))


def test_the_library_says_when(job):
    code = RUN.replace(", every=3", "")
    process = start_and_wait(job, code, 7, SCR_CHECKPOINT_INTERVAL="5")
    process.kill()
    process.communicate()
    assert steps(job.run(code)) == [5, 6, 7, 8, 9]


def test_break_and_exceptions_leave_without_checkpoint_and_handlers(job):
    for leave in ("break", "raise KeyError"):
        job.run(TRAIN + f"""
    before = signal.getsignal(signal.SIGTERM)
    try:
        for step in scr.loop(10, save=save, load=load, every=3):
            assert signal.getsignal(signal.SIGTERM) != before
            if step == 4:
                {leave}
    except KeyError:
        pass
    assert signal.getsignal(signal.SIGTERM) == before
        """)
        assert steps(job.run(RUN.replace("loop(10", "loop(4")))[:1] == [3]
        for left in job.place.iterdir():
            if left.name != "program.py":
                shutil.rmtree(left)


def test_handlers_are_restored_and_other_threads_have_none(job):
    job.run(TRAIN + """
    import threading
    mine = lambda number, frame: None
    signal.signal(signal.SIGTERM, mine)

    def run(is_ours):
        for step in scr.loop(None, save=save, load=load):
            assert (signal.getsignal(signal.SIGTERM) == mine) == (not is_ours)
            break

    run(True)
    assert signal.getsignal(signal.SIGTERM) == mine
    thread = threading.Thread(target=run, args=(False,))
    thread.start()
    thread.join()
    """)


def test_a_forked_child_dies_of_the_signal(job):
    job.run(TRAIN + """
    for step in scr.loop(2, save=save, load=load):
        reads, writes = os.pipe()
        child = os.fork()
        if child == 0:
            os.write(writes, b"!")
            while True:
                signal.pause()
        os.read(reads, 1)
        os.kill(child, signal.SIGTERM)
        assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGTERM
    """)


def test_an_exception_of_load_passes_and_the_checkpoint_stays(job):
    job.run(RUN)
    job.run(RUN.replace("state.update(json.load(file))", "raise KeyError('a bug')"), status=1)
    assert steps(job.run(RUN)) == [], "it is still there"


def test_a_checkpoint_that_load_calls_invalid_is_set_aside(job):
    job.run(RUN)
    code = RUN.replace("state.update(json.load(file))", "state.update(json.load(file))\n            CHECK")
    said = job.run(code.replace("CHECK", "if 'ckpt.10' in file.name: raise scr.Invalid('not ten')"))
    assert steps(said) == [9] and said.splitlines()[-1] == result()


def test_no_run_starts_from_zero_beside_checkpoints_that_are_not_used(job):
    job.run(RUN)
    code = RUN.replace("state.update(json.load(file))", "raise scr.Invalid('none of them')")
    for _ in range(2):
        said = job.run(code, status=1)
        assert steps(said) == [] and "scr._error.Error: " in said


def test_an_exception_of_save_passes_and_the_checkpoint_before_stays(job):
    code = RUN.replace("json.dump(state, file)", "json.dump(state, file)\n            if '.6' in file.name: raise KeyError")
    said = job.run(code, status=1)
    assert steps(said) == list(range(6)) and "KeyError" in said
    assert steps(job.run(RUN)) == list(range(3, 10))


def test_a_checkpoint_that_the_library_cannot_complete_is_a_warning_unless_it_is_the_last(job):
    lose = "json.dump(state, file)\n        if LOST in file.name: os.unlink(file.name)"
    said = job.run(RUN.replace("json.dump(state, file)", lose.replace("LOST", "'ckpt.6'")))
    assert "RuntimeWarning: no checkpoint after step 6" in said and said.splitlines()[-1] == result()
    for left in (job.place / "cache", job.place / ".scr"):
        shutil.rmtree(left)
    said = job.run(RUN.replace("json.dump(state, file)", lose.replace("LOST", "'ckpt.10'")), status=1)
    assert "scr._error.Error" in said


def test_checkpoints_of_another_program_are_not_taken(job):
    job.run(RUN)
    said = job.run(RUN.replace("every=3", "name='other'"), status=1)
    assert "ckpt.10, is not one of the loop 'other'" in said


def test_a_session_of_the_program_is_used_and_left_open(job):
    job.run(TRAIN + """
    with scr.session():
        for step in scr.loop(3, save=save, load=load):
            pass
        assert not scr.need_checkpoint()
    """)


def test_the_prefix_counts_not_the_working_directory(job):
    prefix = job.place / "prefix"
    prefix.mkdir()
    for _ in range(2):
        said = job.run(RUN, SCR_PREFIX=str(prefix), SCR_FLUSH="1")
    assert steps(said) == [] and (prefix / "ckpt.10" / "state.0").exists()


def test_without_scr_it_does_all_steps(job):
    for _ in range(2):
        said = job.run(RUN, SCR_ENABLE="0")
        assert steps(said) == list(range(10)) and said.splitlines()[-1] == result()


def test_wrong_arguments_are_refused(job):
    job.run(TRAIN + """
    for wrong in ({"every": 0}, {"name": ""}, {"name": "a/b"}):
        try:
            scr.loop(3, save=save, load=load, **wrong)
        except ValueError:
            continue
        raise AssertionError(wrong)
    assert scr._library._loaded is None
    """)


def test_two_ranks_stop_for_a_signal_that_one_of_them_saw(job, mpi):
    code = RUN_MPI.replace("train(step)\n    end", "train(step)\n        hit(step)\n    end").replace(
        "    def end", "    def hit(step):\n        if rank == 1 and step == 4: os.kill(os.getpid(), signal.SIGUSR1)\n\n    def end"
    )
    said = job.run(code, ranks=2)
    assert steps(said) == list(range(5)) and "end 5 True" in said
    said = job.run(RUN_MPI, ranks=2)
    assert steps(said) == [5, 6, 7, 8, 9]
    assert said.splitlines()[-1] == result()


@pytest.mark.parametrize("where", ["save", "load"])
def test_an_exception_on_one_rank_is_one_for_all(job, mpi, where):
    if where == "load":
        job.run(RUN_MPI, ranks=2)
        code = RUN_MPI.replace("state.update(json.load(file))", "if rank == 1: raise KeyError")
    else:
        code = RUN_MPI.replace("json.dump(state, file)", "if rank == 1: raise KeyError")
    # Both ranks come to the end, so that mpirun has nobody to kill.
    code = code.replace("    training =", "    try:\n     training =").replace("    for step", "     for step")
    code = code.replace("        train(step)\n    end()", "       train(step)\n    except KeyError: assert rank == 1\n"
        "    except scr.Error as error: assert rank == 0 and error.code == scr.E_PEER_FAILED and 'another rank' in str(error)\n"
        "    else: raise AssertionError")
    job.run(code, ranks=2)
