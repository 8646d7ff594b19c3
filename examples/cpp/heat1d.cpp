/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * heat1d: heat spreads along a rod, with checkpoints through SCR, in C++17.
 *
 *   mpicxx -std=c++17 -O2 heat1d.cpp -o heat1d -I<prefix>/include -L<prefix>/lib -lscr
 *   mpirun -n 2 ./heat1d [steps [checkpoint every [pause in ms]]]
 *
 * Kill it, run it again: it goes on from the last checkpoint and ends with the same checksum.
 */
#include <mpi.h>
#include <scr.hpp>

#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iostream>
#include <thread>
#include <vector>

namespace {

/* One rank's piece of the rod, with a cell on either side for the neighbours' values. */
class Rod {
public:
    Rod()
    {
        MPI_Comm_rank(MPI_COMM_WORLD, &rank);
        MPI_Comm_size(MPI_COMM_WORLD, &ranks);
        heat_up();
    }

    void heat_up()
    {
        step = 0;
        now.assign(cells + 2, 0.0);
        for (int i = 1; i <= cells; i++) {
            now[i] = std::sin(0.01 * i) + rank;
        }
    }

    void step_forward()
    {
        const int left = rank > 0 ? rank - 1 : MPI_PROC_NULL;
        const int right = rank < ranks - 1 ? rank + 1 : MPI_PROC_NULL;
        MPI_Sendrecv(&now[1], 1, MPI_DOUBLE, left, 1, &now[cells + 1], 1, MPI_DOUBLE, right, 1, MPI_COMM_WORLD,
                     MPI_STATUS_IGNORE);
        MPI_Sendrecv(&now[cells], 1, MPI_DOUBLE, right, 2, &now[0], 1, MPI_DOUBLE, left, 2, MPI_COMM_WORLD,
                     MPI_STATUS_IGNORE);
        std::vector<double> next = now;
        for (int i = 1; i <= cells; i++) {
            next[i] = now[i] + 0.25 * (now[i - 1] - 2 * now[i] + now[i + 1]);
        }
        now.swap(next);
        step++;
    }

    /* Throws when anything fails, at the end too: a full disk may show only there. */
    void write(const std::string &path) const
    {
        std::ofstream out;
        out.exceptions(std::ios::failbit | std::ios::badbit);
        out.open(path, std::ios::binary);
        out.write(reinterpret_cast<const char *>(&step), sizeof(step));
        out.write(reinterpret_cast<const char *>(&now[1]), sizeof(double) * cells);
        out.close();
    }

    bool read(const std::string &path)
    {
        std::ifstream in(path, std::ios::binary);
        in.read(reinterpret_cast<char *>(&step), sizeof(step));
        in.read(reinterpret_cast<char *>(&now[1]), sizeof(double) * cells);
        return in.good();
    }

    /* The exclusive or of all bits, so that nothing depends on the order of a sum. */
    std::uint64_t checksum() const
    {
        std::uint64_t mine = 0, whole = 0;
        for (int i = 1; i <= cells; i++) {
            std::uint64_t bits;
            std::memcpy(&bits, &now[i], sizeof(bits));
            mine = (mine << 5 | mine >> 59) ^ bits;
        }
        MPI_Reduce(&mine, &whole, 1, MPI_UINT64_T, MPI_BXOR, 0, MPI_COMM_WORLD);
        return whole;
    }

    /* The file of this rank as the program calls it; where it ends up if SCR copies it to the file system. */
    std::string file(const std::string &dataset) const { return "ckpt/" + dataset + "/rank." + std::to_string(rank); }

    int rank = 0, ranks = 1;
    std::int64_t step = 0;

private:
    static constexpr int cells = 1000;
    std::vector<double> now;
};

/* Prints a line from rank 0, at once, so that it is seen even if the job is killed right after. */
template <typename... Parts> void say(const Rod &rod, const Parts &...parts)
{
    if (rod.rank == 0) {
        ((std::cout << "heat1d: ") << ... << parts) << std::endl;
    }
}

/* Writes a checkpoint. If that fails the program goes on: it still has the one before. */
void write_checkpoint(scr::Session &session, const Rod &rod)
{
    const std::string dataset = "heat." + std::to_string(rod.step);
    try {
        scr::Output output = session.output(dataset, SCR_FLAG_CHECKPOINT);
        /* If this throws, the destructor of output tells the other ranks, in their commit, that it is not valid. */
        rod.write(output.route(rod.file(dataset)));
        const bool is_whole = output.commit() == scr::Outcome::whole;
        say(rod, "step ", rod.step, " checkpoint ", dataset, is_whole ? "" : " degraded");
    } catch (const std::exception &error) {
        say(rod, "step ", rod.step, " checkpoint ", dataset, " failed: ", error.what());
    }
}

/* Goes back to the newest checkpoint that all ranks can read, if there is one. */
void restart(scr::Session &session, Rod &rod)
{
    while (auto restart = session.restart()) {
        const std::string dataset = restart->name();
        const bool is_valid = rod.read(restart->route(rod.file(dataset)));
        if (restart->commit(is_valid)) {
            say(rod, "restarted from ", dataset, " at step ", rod.step);
            return;
        }
        rod.heat_up();
    }
}

void run(long steps, long every, long pause_ms)
{
    Rod rod;
    scr::Session session; /* after MPI_Init */
    restart(session, rod);
    while (rod.step < steps) {
        rod.step_forward();
        std::this_thread::sleep_for(std::chrono::milliseconds(pause_ms));
        const bool is_asked_for = session.need_checkpoint();
        if (is_asked_for || rod.step % every == 0) {
            write_checkpoint(session, rod);
            if (session.should_exit()) {
                break;
            }
        }
    }
    const std::uint64_t checksum = rod.checksum();
    say(rod, "final checksum 0x", std::hex, checksum, std::dec, " after step ", rod.step);
    session.finalize(); /* before MPI_Finalize */
}

} // namespace

int main(int argc, char **argv)
{
    MPI_Init(&argc, &argv);
    const auto argument = [&](int place, long otherwise) {
        return place < argc ? std::strtol(argv[place], nullptr, 10) : otherwise;
    };
    try {
        run(argument(1, 60), argument(2, 10), argument(3, 0));
    } catch (const std::exception &error) {
        std::cerr << "heat1d: " << error.what() << std::endl;
        MPI_Abort(MPI_COMM_WORLD, 1);
    }
    MPI_Finalize();
    return 0;
}
