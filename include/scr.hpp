/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/**
 * scr.hpp: SCR for C++17. What scr.h starts and completes are objects here, and its codes are exceptions.
 *
 *     scr::Session session;                              // after MPI_Init
 *     while (auto restart = session.restart()) {
 *         if (restart->commit(read_state(restart->route(file(restart->name()))))) break;
 *     }
 *     ...
 *     auto output = session.output("step.100", SCR_FLAG_CHECKPOINT);
 *     write_state(output.route(file("step.100")));       // if this throws, the dataset is not valid
 *     output.commit();
 *     ...
 *     session.finalize();                                // before MPI_Finalize
 *
 * "Collective" means, as in scr.h: all ranks do it, in the same order, with equal arguments. Destructors of an Output or a
 * Restart that was not committed are collective, too: they meet the commit of the other ranks. So an exception that one
 * rank alone throws may leave such an object, but must be caught before the next collective call: decide together how to
 * go on, or call MPI_Abort. Errors that collective functions throw are thrown on all ranks.
 *
 * No destructor throws. None of this may be used by two threads at a time.
 */
#ifndef SCR_HPP
#define SCR_HPP

#include <scr.h>

#include <cstdlib>
#include <exception>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>

namespace scr {

/** What went wrong and what to do, in words, and as one of SCR_E_*. */
class Error : public std::runtime_error {
public:
    /** What the call that just gave this code left in SCR_Last_error. */
    explicit Error(int code) : std::runtime_error(message(code)), code_(code) {}

    /** One of SCR_E_*. */
    int code() const noexcept { return code_; }

private:
    static std::string message(int code)
    {
        const std::string last = SCR_Last_error();
        return last.empty() ? SCR_Strerror(code) : last;
    }

    int code_;
};

/** Throws unless the code is SCR_SUCCESS. */
inline void check(int code)
{
    if (code != SCR_SUCCESS) {
        throw Error(code);
    }
}

/** The version of the library that is running. */
inline std::string version() { return SCR_Get_version(); }

/** What SCR_Config answers to a text of any of its forms; nothing for a set, and where there is no value. */
inline std::optional<std::string> config(const std::string &text)
{
    const std::unique_ptr<char, void (*)(void *)> value(const_cast<char *>(SCR_Config(text.c_str())), std::free);
    if (value) {
        return std::string(value.get());
    }
    if (SCR_Last_error()[0] != '\0') {
        throw Error(SCR_E_CONFIG);
    }
    return std::nullopt;
}

/** Where to write or read the file that the application calls name. Not collective. */
inline std::string route(const std::string &name)
{
    char file[SCR_MAX_FILENAME];
    check(SCR_Route_file(name.c_str(), file));
    return file;
}

/** How a dataset was committed. */
enum class Outcome {
    whole,    /**< With the protection that is configured. */
    degraded, /**< It can be used, but has less protection than that. */
};

/** A dataset that is being written; Session::output makes it. One that is not committed counts as not valid. */
class Output {
public:
    Output(Output &&other) noexcept : open_(std::exchange(other.open_, false)) {}
    Output(const Output &) = delete;
    Output &operator=(const Output &) = delete;
    Output &operator=(Output &&) = delete;

    /** Collective, with the commit or the destructor of the other ranks, unless it was committed. */
    ~Output()
    {
        if (open_) {
            SCR_Complete_output(0);
        }
    }

    /** Where to write the file that belongs at name in the prefix. Not collective. */
    std::string route(const std::string &name) const { return scr::route(name); }

    /**
     * Ends the dataset; valid: whether this rank wrote all its files, closed, without error.
     *
     * Collective. After an error the dataset is no restart point; earlier ones still are.
     */
    Outcome commit(bool valid = true)
    {
        open_ = false;
        const int code = SCR_Complete_output(valid ? 1 : 0);
        if (code == SCR_E_DEGRADED) {
            return Outcome::degraded;
        }
        check(code);
        return Outcome::whole;
    }

private:
    friend class Session;
    Output() noexcept = default;

    bool open_ = true;
};

/** A checkpoint that is being read; Session::restart makes it. One that is not committed is set aside. */
class Restart {
public:
    Restart(Restart &&other) noexcept : name_(std::move(other.name_)), open_(std::exchange(other.open_, false)) {}
    Restart(const Restart &) = delete;
    Restart &operator=(const Restart &) = delete;
    Restart &operator=(Restart &&) = delete;

    /** Collective, with the commit or the destructor of the other ranks, unless it was committed. */
    ~Restart()
    {
        if (open_) {
            SCR_Complete_restart(0);
        }
    }

    /** The name that the checkpoint was given. */
    const std::string &name() const noexcept { return name_; }

    /** Where to read the file that belongs at name in the prefix. Not collective. */
    std::string route(const std::string &name) const { return scr::route(name); }

    /**
     * Ends reading; valid: whether this rank read all it needs. Returns whether all ranks did. If not, the checkpoint is
     * set aside, and Session::restart offers the next one.
     *
     * Collective.
     */
    bool commit(bool valid = true)
    {
        open_ = false;
        const int code = SCR_Complete_restart(valid ? 1 : 0);
        if (code == SCR_E_COMMUNICATION) {
            throw Error(code);
        }
        return code == SCR_SUCCESS;
    }

private:
    friend class Session;
    explicit Restart(std::string name) noexcept : name_(std::move(name)) {}

    std::string name_;
    bool open_ = true;
};

/** SCR from SCR_Init to SCR_Finalize. There is one at a time; it can be moved. */
class Session {
public:
    /** Collective, after MPI_Init. */
    Session() : exceptions_(std::uncaught_exceptions()) { check(SCR_Init()); }

    Session(Session &&other) noexcept
        : open_(std::exchange(other.open_, false)), exceptions_(std::uncaught_exceptions())
    {
    }
    Session(const Session &) = delete;
    Session &operator=(const Session &) = delete;
    Session &operator=(Session &&) = delete;

    /**
     * Ends SCR as finalize does, which is collective; its error is lost.
     *
     * Not where an exception passes: other ranks may not come, and SCR_Finalize says that the job ended well, after which
     * `scr run` does not start it again. What is committed stays in the cache, for the next launch.
     */
    ~Session()
    {
        if (open_ && std::uncaught_exceptions() <= exceptions_) {
            SCR_Finalize();
        }
    }

    /** Ends SCR, even if it throws. Collective, before MPI_Finalize. */
    void finalize()
    {
        open_ = false;
        check(SCR_Finalize());
    }

    /** Starts a dataset: SCR_FLAG_CHECKPOINT, SCR_FLAG_OUTPUT or both. With an empty name SCR makes one. Collective. */
    Output output(const std::string &name, int flags)
    {
        check(SCR_Start_output(name.c_str(), flags));
        return Output();
    }

    /**
     * Starts reading the newest checkpoint that can be used, or returns nothing where there is none.
     *
     * Collective. Throws where there are checkpoints and none can be used: to start from zero then would hide a loss.
     */
    std::optional<Restart> restart()
    {
        int found = 0;
        char name[SCR_MAX_FILENAME];
        check(SCR_Have_restart(&found, name));
        if (!found) {
            return std::nullopt;
        }
        check(SCR_Start_restart(name));
        return Restart(name);
    }

    /** Whether the application should write a checkpoint now. Collective. */
    bool need_checkpoint() { return ask(SCR_Need_checkpoint); }

    /** Whether the application should stop. Collective. */
    bool should_exit() { return ask(SCR_Should_exit); }

    /** Tells SCR that the application restarted from this checkpoint without asking SCR. Collective. */
    void current(const std::string &name) { check(SCR_Current(name.c_str())); }

    /** Takes the dataset out of the index; its files stay. Collective. */
    void drop(const std::string &name) { check(SCR_Drop(name.c_str())); }

    /** Deletes the dataset, its files and its entry in the index. Collective. */
    void remove(const std::string &name) { check(SCR_Delete(name.c_str())); }

private:
    static bool ask(int (*question)(int *))
    {
        int flag = 0;
        check(question(&flag));
        return flag != 0;
    }

    bool open_ = true;
    int exceptions_;
};

} // namespace scr

#endif
