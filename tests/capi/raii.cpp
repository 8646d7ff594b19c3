/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Objects of scr.hpp: what is not committed is not valid, what was moved is ended once, errors carry code and words. */
#include <mpi.h>
#include <scr.hpp>

#include <cstdio>
#include <fstream>
#include <type_traits>

static_assert(!std::is_copy_constructible_v<scr::Session> && std::is_nothrow_move_constructible_v<scr::Session>);
static_assert(!std::is_copy_constructible_v<scr::Output> && std::is_nothrow_move_constructible_v<scr::Output>);
static_assert(!std::is_copy_constructible_v<scr::Restart> && std::is_nothrow_move_constructible_v<scr::Restart>);
static_assert(std::is_nothrow_destructible_v<scr::Session> && std::is_nothrow_destructible_v<scr::Output> &&
              std::is_nothrow_destructible_v<scr::Restart>);

static int failures;
static int rank;

#define CHECK(condition)                                                                       \
    do {                                                                                       \
        if (!(condition)) {                                                                    \
            std::fprintf(stderr, "%s:%d: %s; last error: %s\n", __FILE__, __LINE__, #condition, \
                         SCR_Last_error());                                                    \
            failures++;                                                                        \
        }                                                                                      \
    } while (0)

/* The code of the error that a call throws, 0 without one. */
template <typename Call> static int code_of(Call call)
{
    try {
        call();
    } catch (const scr::Error &error) {
        CHECK(error.what()[0] != '\0');
        return error.code();
    }
    return 0;
}

static void write(const scr::Output &output, const std::string &dataset)
{
    std::ofstream(output.route(dataset + "/rank." + std::to_string(rank))) << dataset;
}

/* The name of what a restart offers, which is not taken. */
static std::string offered(scr::Session &session, bool is_valid)
{
    auto restart = session.restart();
    if (!restart) {
        return "";
    }
    CHECK(restart->commit(is_valid) == is_valid);
    return restart->name();
}

static void write_datasets()
{
    scr::Session first;
    scr::Session session(std::move(first)); /* only this one is ended */
    CHECK(!session.restart());
    CHECK(!session.should_exit());
    session.need_checkpoint();

    for (const char *name : {"one", "two"}) {
        auto started = session.output(name, SCR_FLAG_CHECKPOINT);
        scr::Output output(std::move(started));
        write(output, name);
        CHECK(output.commit() == scr::Outcome::whole);
    }
    {
        auto forgotten = session.output("forgotten", SCR_FLAG_CHECKPOINT);
        write(forgotten, "forgotten");
    }
    /* One rank throws; its destructor meets the commit of the others, which are told. */
    const int code = code_of([&] {
        auto output = session.output("thrown", SCR_FLAG_CHECKPOINT);
        write(output, "thrown");
        if (rank == 0) {
            throw scr::Error(SCR_E_IO);
        }
        output.commit();
    });
    CHECK(code == (rank == 0 ? SCR_E_IO : SCR_E_PEER_FAILED));
    CHECK(code_of([&] { session.output("bad", 64); }) == SCR_E_MISUSE);
    CHECK(code_of([] { scr::Session second; }) == SCR_E_MISUSE);
    session.remove("one");
    CHECK(code_of([] { SCR_Finalize(); }) == 0); /* behind the session's back: its destructor keeps quiet */
}

static void read_datasets()
{
    {
        scr::Session session;
        {
            auto restart = session.restart();
            CHECK(restart && restart->name() == "two");
            std::string text;
            std::ifstream(restart->route("two/rank." + std::to_string(rank))) >> text;
            CHECK(text == "two");
            CHECK(restart->commit());
        }
        auto output = session.output("three", SCR_FLAG_CHECKPOINT | SCR_FLAG_OUTPUT);
        write(output, "three");
        output.commit();
        session.finalize();
        CHECK(code_of([&] { session.finalize(); }) == SCR_E_MISUSE);
    }
    scr::Session session;
    { auto dropped = session.restart(); CHECK(dropped && dropped->name() == "three"); }
    CHECK(offered(session, true) == "two");
}

/* An exception that passes a session leaves SCR open, a session that ends within one does not. */
static void exceptions()
{
    struct During {
        ~During() { scr::Session session; }
    };
    try {
        During during;
        throw 1;
    } catch (int) {
    }
    try {
        scr::Session session;
        throw 2;
    } catch (int) {
    }
    CHECK(code_of([] { scr::Session second; }) == SCR_E_MISUSE);
    CHECK(SCR_Finalize() == SCR_SUCCESS);
}

int main(int argc, char **argv)
{
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    CHECK(scr::version() == SCR_VERSION);
    CHECK(scr::config("SCR_JOB_NAME=raii") == std::nullopt);
    CHECK(scr::config("SCR_JOB_NAME") == "raii");
    write_datasets();
    read_datasets();
    exceptions();
    CHECK(code_of([] { scr::config("KEY VALUE"); }) == SCR_E_CONFIG);
    MPI_Finalize();
    return failures != 0;
}
