# SPDX-License-Identifier: MIT OR Apache-2.0
"""Each function of scr.h, in a program of one process."""

import re

import scr

WRITE = """
    scr.init()
    assert scr.have_restart() is None
    for step in (1, 2):
        scr.start_output(f"a.{step}", scr.FLAG_CHECKPOINT)
        with open(scr.route_file(f"a.{step}/file"), "w") as file:
            file.write(f"step {step}")
        assert scr.complete_output() is True
    scr.finalize()
"""


def test_constants_are_those_of_the_header(tree):
    header = (tree / "include/scr.h").read_text()
    codes = {name: int(code) for name, code in re.findall(r"#define SCR_(E_\w+|SUCCESS|MAX_FILENAME) (\d+)", header)}
    flags = {name: int(bit) for name, bit in re.findall(r"#define SCR_(FLAG_\w+) (?:\(1 << (\d+)\))", header)}
    assert len(codes) > 14 and len(flags) == 2
    for name, code in codes.items():
        assert getattr(scr, name) == code, name
    for name, bit in flags.items():
        assert getattr(scr, name) == 1 << bit, name
    assert scr.FLAG_NONE == 0


def test_every_function_of_the_header_is_there(tree):
    header = (tree / "include/scr.h").read_text()
    functions = set(re.findall(r"^\w[\w *]*\bSCR_(\w+)\(", header, re.MULTILINE)) - {"Configf"}
    assert len(functions) > 18
    for function in functions:
        assert callable(getattr(scr, function.lower())), function
        assert getattr(scr, function.lower()).__doc__, function


def test_what_was_written_is_read(job):
    job.run(WRITE)
    job.run("""
        scr.init()
        assert scr.have_restart() == "a.2"
        assert scr.start_restart() == "a.2"
        assert open(scr.route_file("a.2/file")).read() == "step 2"
        assert scr.complete_restart(False) is False
        assert scr.last_error() != ""
        assert scr.have_restart() == "a.1"
        assert scr.start_restart() == "a.1"
        assert open(scr.route_file("a.1/file")).read() == "step 1"
        assert scr.complete_restart(valid=True) is True
        scr.finalize()
    """)


def test_the_old_names_write_a_checkpoint(job):
    job.run("""
        scr.init()
        for valid in (True, False):
            scr.start_checkpoint()
            open(scr.route_file(f"d/{valid}"), "w").close()
            assert scr.complete_checkpoint(valid) is valid
        scr.finalize()
    """)
    job.run("""
        scr.init()
        assert scr.have_restart() is not None
        scr.start_restart()
        assert open(scr.route_file("d/True")).read() == ""
        scr.complete_restart()
        scr.finalize()
    """)


def test_datasets_are_dropped_deleted_and_made_current(job):
    job.run(WRITE, SCR_FLUSH="1")
    job.run("""
        scr.init()
        assert os.path.exists("a.1/file") and os.path.exists("a.2/file")
        scr.delete("a.2")
        assert not os.path.exists("a.2")
        scr.current("a.1")
        scr.drop("a.1")
        assert os.path.exists("a.1/file")
        scr.start_output("late.1", scr.FLAG_CHECKPOINT | scr.FLAG_OUTPUT)
        open(scr.route_file("late.1/file"), "w").close()
        assert scr.complete_output()
        assert os.path.exists("late.1/file"), "output is in the prefix"
        scr.delete("late.1")
        assert not os.path.exists("late.1/file")
        scr.finalize()
    """)


def test_questions_are_answered(job):
    answers = """
        scr.init()
        print(scr.need_checkpoint(), scr.should_exit())
        scr.finalize()
    """
    assert job.run(answers) == "False False\n"
    assert job.run(answers, SCR_CHECKPOINT_INTERVAL="1", SCR_HALT_SECONDS="9", SCR_END_TIME="9") == "True True\n"


def test_parameters_are_set_and_asked(job):
    job.run("""
        assert scr.config("SCR_CHECKPOINT_INTERVAL") is None
        assert scr.config("SCR_CHECKPOINT_INTERVAL=1") is None
        assert scr.config("SCR_CHECKPOINT_INTERVAL") == "1"
        scr.init()
        assert scr.need_checkpoint()
        assert scr.config("SCR_CHECKPOINT_INTERVAL") == "1"
        try:
            scr.config("SCR_CHECKPOINT_INTERVAL=2")
        except scr.Error as error:
            assert error.code == scr.E_CONFIG and "before SCR_Init" in str(error)
        else:
            raise AssertionError("it comes too late")
        scr.finalize()
    """)


def test_strings_that_were_asked_for_are_freed(job):
    job.run("""
        import resource
        value = "x" * 100_000
        scr.config("SCR_JOB_NAME=" + value)
        used = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for _ in range(20):
            assert scr.config("SCR_JOB_NAME") == value
        before = used()
        for _ in range(300):
            scr.config("SCR_JOB_NAME")
        assert used() - before < 10_000, f"{used() - before} KiB more for 30,000 KiB asked for"
    """)


def test_errors_have_a_code_and_the_words_of_the_library(job):
    job.run("""
        import pickle
        calls = [scr.finalize, scr.need_checkpoint, scr.should_exit, scr.have_restart, scr.start_restart, scr.start_output,
            scr.complete_output, scr.complete_restart, scr.start_checkpoint, scr.complete_checkpoint,
            lambda: scr.current("a"), lambda: scr.drop("a"), lambda: scr.delete("a")]
        for call in calls:
            try:
                call()
            except scr.Error as error:
                assert isinstance(error, RuntimeError)
                assert error.code == scr.E_MISUSE and "SCR_" in str(error), error
                again = pickle.loads(pickle.dumps(error))
                assert (again.code, str(again)) == (error.code, str(error))
            else:
                raise AssertionError(call)
        assert scr.strerror(scr.E_NO_SPACE) and scr.get_version().startswith("v4.")
        scr.init()
        try:
            scr.start_output("a", 4)
        except scr.Error as error:
            assert error.code == scr.E_MISUSE
        scr.finalize()
    """)


def test_names_of_files_are_bytes(job):
    job.run("""
        name = b"d/\\xff\\xfe.bin"
        scr.init()
        scr.start_output("bytes", scr.FLAG_CHECKPOINT)
        as_bytes, as_text = scr.route_file(name), scr.route_file(os.fsdecode(name))
        assert isinstance(as_bytes, bytes) and isinstance(as_text, str) and os.fsencode(as_text) == as_bytes
        assert as_bytes.endswith(b"\\xff\\xfe.bin")
        import pathlib
        assert scr.route_file(pathlib.Path(os.fsdecode(name))) == as_text
        open(as_text, "w").close()
        for wrong, kind in [("a\\0b", ValueError), ("", scr.Error), ("x" * 1024, scr.Error), (7, TypeError)]:
            try:
                scr.route_file(wrong)
            except kind:
                pass
            else:
                raise AssertionError(wrong)
        assert scr.complete_output()
        try:
            scr.start_output(b"\\xff", scr.FLAG_CHECKPOINT)
        except scr.Error as error:
            assert error.code == scr.E_MISUSE and "UTF-8" in str(error)
        else:
            raise AssertionError("names of datasets are text")
        scr.finalize()
    """)


def test_what_one_rank_passes_wrongly_is_an_error_on_all(job, mpi):
    job.run("""
        scr.init()
        from mpi4py import MPI
        rank, size = MPI.COMM_WORLD.rank, MPI.COMM_WORLD.size

        class Vague:
            def __bool__(self):
                raise ValueError("neither")

        def fails(call, good, bad, kind):
            for odd in range(size):
                try:
                    call(bad if rank == odd else good)
                except kind if rank == odd else scr.Error as error:
                    assert rank == odd or error.code == scr.E_PEER_FAILED, error
                else:
                    raise AssertionError((call, bad))

        for call in (scr.start_output, scr.current, scr.drop, scr.delete):
            fails(call, "a", "a\\0b", ValueError)
            fails(call, "a", 7, TypeError)
        fails(lambda flags: scr.start_output("a", flags), 1, "CHECKPOINT", TypeError)
        scr.start_output("a")
        open(scr.route_file(f"a/{rank}"), "w").close()
        try:
            assert not scr.complete_output(Vague() if rank == 0 else True)
        except ValueError:
            assert rank == 0
        assert scr.have_restart() is None
        scr.finalize()
    """, ranks=2)


def test_less_protection_is_a_warning_and_no_failure(job):
    job.run("""
        import warnings
        from scr import _calls
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            assert _calls._completed(scr.E_DEGRADED) is True
            assert _calls._completed(scr.E_NO_SPACE) is False
        assert [w.category for w in caught] == [scr.DegradedWarning]
    """)
