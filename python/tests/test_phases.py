# SPDX-License-Identifier: MIT OR Apache-2.0
"""``with`` statements: what was begun is ended, by success or by an exception."""

WRITE = """
    def write(name):
        with scr.output(name) as out:
            assert out.name == name
            with open(out.route(name + "/file"), "w") as file:
                file.write(name)
"""

NEWEST = """
    scr.init()
    print(scr.have_restart())
"""


def test_what_was_written_is_read(job):
    job.run(WRITE + """
    with scr.session():
        with scr.restart() as r:
            assert r is None
        write("a.1")
    """)
    job.run("""
        with scr.session():
            with scr.restart() as r:
                assert r.name == "a.1"
                assert open(r.route("a.1/file")).read() == "a.1"
    """)


def test_an_exception_makes_the_output_invalid_and_passes(job):
    job.run(WRITE + """
    with scr.session():
        write("a.1")
        for kind in (KeyError, KeyboardInterrupt):
            try:
                with scr.output("a.2") as out:
                    open(out.route("a.2/file"), "w").close()
                    raise kind("mine")
            except kind as error:
                assert error.args == ("mine",)
            else:
                raise AssertionError("it did not pass")
    """)
    assert job.run(NEWEST) == "a.1\n"


def test_an_output_that_cannot_be_used_raises(job):
    job.run(WRITE + """
    with scr.session():
        try:
            with scr.output("a.1") as out:
                out.route("a.1/never-written")
        except scr.Error as error:
            assert error.code == scr.E_NOT_FOUND and "never-written" in str(error)
        else:
            raise AssertionError("a file is missing")
    """)
    assert job.run(NEWEST) == "None\n"


def test_an_exception_sets_the_checkpoint_aside_and_passes(job):
    job.run(WRITE + """
    with scr.session():
        write("a.1")
        write("a.2")
    """)
    job.run("""
        with scr.session():
            try:
                with scr.restart() as r:
                    assert r.name == "a.2"
                    raise KeyError("mine")
            except KeyError:
                pass
            with scr.restart() as r:
                assert r.name == "a.1"
    """)


def test_a_session_left_by_an_exception_is_not_finalized(job):
    said = job.run("""
        try:
            with scr.session():
                raise KeyError("mine")
        except KeyError:
            print(scr.need_checkpoint())
        scr.finalize()
    """)
    assert said == "False\n"


def test_on_two_ranks_one_exception_is_invalid_for_both(job, mpi):
    job.run(WRITE.replace('"/file"', 'f"/{rank}"') + """
    from mpi4py import MPI
    rank = MPI.COMM_WORLD.rank
    with scr.session():
        write("a.1")
        try:
            with scr.output("a.2") as out:
                open(out.route(f"a.2/{rank}"), "w").close()
                if rank == 1:
                    raise KeyError
        except KeyError:
            assert rank == 1
        except scr.Error as error:
            assert rank == 0 and error.code in (scr.E_INVALID, scr.E_PEER_FAILED)
        else:
            raise AssertionError("not valid")
    """, ranks=2)
    assert job.run(NEWEST, ranks=2) == "a.1\n" * 2
