// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <utility>

/// Every error that plait throws, by cause. What goes wrong at run time is an `Error`; what the program does wrong is a
/// `UsageError` or std::invalid_argument; a failed system call is std::system_error with the call named in its text.
namespace plait::inline PLAIT_ABI {

/// The root of what goes wrong at run time, so that one `catch` takes all of it.
class PLAIT_VISIBLE Error : public std::runtime_error {
public:
    using std::runtime_error::runtime_error;
};

/// The program used an object as its contract forbids (a lock released by a stranger, `join` before `start`); the text
/// says what to do instead. Nothing was changed.
class PLAIT_VISIBLE UsageError : public std::logic_error {
public:
    using std::logic_error::logic_error;
};

/// A wait that had a value to give ended without it; what was waited for goes on.
class PLAIT_VISIBLE TimeoutError : public Error {
public:
    using Error::Error;
};

/// A pool's task ran longer than its limit and was killed: told from a mere `get(1s)`, after which it goes on.
class PLAIT_VISIBLE TaskTimeoutError : public TimeoutError {
public:
    TaskTimeoutError(const std::string& text, std::int64_t pid, std::uint64_t task)
        : TimeoutError{text}, pid_{pid}, task_{task} {}

    /// The process that was killed with the task.
    std::int64_t pid() const noexcept { return pid_; }
    /// The task's number in its pool, counted from 0.
    std::uint64_t task() const noexcept { return task_; }

private:
    std::int64_t pid_;
    std::uint64_t task_;
};

/// A queue had no item to give: in time, or for a `get_nowait` at once. It is still open.
class PLAIT_VISIBLE QueueEmpty : public TimeoutError {
public:
    using TimeoutError::TimeoutError;
};

/// A queue had no room: in time, or for a `put_nowait` at once. The item stays with the caller.
class PLAIT_VISIBLE QueueFull : public TimeoutError {
public:
    using TimeoutError::TimeoutError;
};

/// A queue takes no more items, or has given its last: somebody called `shutdown`.
class PLAIT_VISIBLE QueueShutDown : public Error {
public:
    using Error::Error;
};

/// A generator was asked for more than it had to give: its body has ended.
class PLAIT_VISIBLE StopIteration : public Error {
public:
    using Error::Error;
};

/// A barrier was broken while a thread waited at it, or before: by `abort`, `reset`, a timeout, or an action that threw.
class PLAIT_VISIBLE BrokenBarrierError : public Error {
public:
    using Error::Error;
};

/// The process that held a lock died, and what the lock guards may be half changed: nobody gets it until somebody has
/// called `recover()`, repaired that, and released it. Whoever is told so holds nothing.
class PLAIT_VISIBLE OwnerDiedError : public Error {
public:
    using Error::Error;
};

/// A promise went away before it was kept, so the future has neither a value nor an error of its own.
class PLAIT_VISIBLE BrokenPromiseError : public Error {
public:
    using Error::Error;
};

/// A pool can have no workers any more: they died again and again while starting, or their initializer failed.
class PLAIT_VISIBLE BrokenPoolError : public Error {
public:
    using Error::Error;
};

/// The call never began: its pool was terminated while it queued.
class PLAIT_VISIBLE PoolTerminatedError : public Error {
public:
    using Error::Error;
};

/// Bytes that are no encoding of the type asked for: truncated, of another type, or hostile.
class PLAIT_VISIBLE CodecError : public Error {
public:
    using Error::Error;
};

/// The other end of a connection is closed and everything it sent has been read.
class PLAIT_VISIBLE EndOfStream : public Error {
public:
    using Error::Error;
};

/// A stream ended before all that was asked for had come; what did come is `partial()`.
class PLAIT_VISIBLE IncompleteReadError : public EndOfStream {
public:
    /// `expected` is 0 where a separator was looked for.
    IncompleteReadError(std::string partial, std::size_t expected)
        : EndOfStream{"the stream ended after " + std::to_string(partial.size()) +
                      (expected != 0 ? " of " + std::to_string(expected) + " bytes"
                                     : " bytes, before the separator that was asked for")},
          partial_{std::move(partial)},
          expected_{expected} {}

    const std::string& partial() const noexcept { return partial_; }
    /// How many bytes were asked for; 0 where the end of a line or another separator was.
    std::size_t expected() const noexcept { return expected_; }

private:
    std::string partial_;
    std::size_t expected_;
};

/// A line, or what else ends with a separator, is longer than the stream's limit. It stays in the stream, for `read(n)`.
class PLAIT_VISIBLE LimitOverrunError : public Error {
public:
    LimitOverrunError(const std::string& text, std::size_t consumed) : Error{text}, consumed_{consumed} {}

    /// How many bytes at the front of the stream belong to it for certain.
    std::size_t consumed() const noexcept { return consumed_; }

private:
    std::size_t consumed_;
};

/// An exception that crossed a process boundary and whose type the receiver cannot rebuild.
class PLAIT_VISIBLE RemoteError : public Error {
public:
    RemoteError(const std::string& type_name, const std::string& text, const std::string& where)
        : Error{type_name + ": " + text + " (in " + where + ")"}, type_name_{type_name}, text_{text}, where_{where} {}

    /// The exception's type, as the sender's compiler spells it.
    const std::string& type_name() const noexcept { return type_name_; }
    /// What its `what()` said.
    const std::string& text() const noexcept { return text_; }
    /// The process that threw it.
    const std::string& where() const noexcept { return where_; }

private:
    std::string type_name_;
    std::string text_;
    std::string where_;
};

/// A process ended before it gave its result: by a signal, by an exit of its own, or killed from outside.
class PLAIT_VISIBLE ProcessDied : public Error {
public:
    /// `exitcode` as Python tells it: a signal is negative on POSIX.
    ProcessDied(const std::string& text, std::int64_t pid, std::int64_t exitcode)
        : Error{text}, pid_{pid}, exitcode_{exitcode} {}

    std::int64_t pid() const noexcept { return pid_; }
    /// The code it exited with; minus the signal's number where a signal ended it.
    std::int64_t exitcode() const noexcept { return exitcode_; }
    /// The signal that ended it, or 0.
    int signal() const noexcept { return exitcode_ < 0 ? static_cast<int>(-exitcode_) : 0; }

private:
    std::int64_t pid_;
    std::int64_t exitcode_;
};

/// A program that was to succeed ended with another code than 0.
class PLAIT_VISIBLE CalledProcessError : public Error {
public:
    CalledProcessError(const std::string& text, std::string command, int returncode, std::string out, std::string err)
        : Error{text},
          command_{std::move(command)},
          returncode_{returncode},
          out_{std::move(out)},
          err_{std::move(err)} {}

    /// Its words, as one would type them.
    const std::string& command() const noexcept { return command_; }
    /// Negative for a signal.
    int returncode() const noexcept { return returncode_; }
    /// What it wrote, where that was captured.
    const std::string& out() const noexcept { return out_; }
    const std::string& err() const noexcept { return err_; }

private:
    std::string command_;
    int returncode_;
    std::string out_;
    std::string err_;
};

/// A program ran longer than its limit, and was killed.
class PLAIT_VISIBLE TimeoutExpired : public TimeoutError {
public:
    TimeoutExpired(const std::string& text, std::string command, std::string out, std::string err)
        : TimeoutError{text}, command_{std::move(command)}, out_{std::move(out)}, err_{std::move(err)} {}

    /// Its words, as one would type them.
    const std::string& command() const noexcept { return command_; }
    /// What it had written until then, where that was captured.
    const std::string& out() const noexcept { return out_; }
    const std::string& err() const noexcept { return err_; }

private:
    std::string command_;
    std::string out_;
    std::string err_;
};

/// Ctrl-C (SIGINT) ended what `asyncio::run` ran: its main task was cancelled, and has cleaned up.
///
/// Python: KeyboardInterrupt.
class PLAIT_VISIBLE KeyboardInterrupt : public Error {
public:
    using Error::Error;
};

/// What a cancelled task or future throws where it is awaited.
///
/// Python: asyncio.CancelledError. Not a std::exception, so that `catch (const std::exception&)` does not swallow a
/// cancellation: catch it by name only to clean up, and throw it on.
class PLAIT_VISIBLE CancelledError {
public:
    CancelledError() = default;
    explicit CancelledError(std::string message) : message_{std::move(message)} {}

    /// What was said to `cancel`; may be empty.
    const std::string& message() const noexcept { return message_; }
    const char* what() const noexcept { return message_.empty() ? "cancelled" : message_.c_str(); }

private:
    std::string message_;
};

/// What an AsyncGenerator's body is thrown at its `co_yield` when the generator is closed.
///
/// Python: GeneratorExit. Not a std::exception, for the reason why CancelledError is none; throw it on as that.
class PLAIT_VISIBLE GeneratorExit {
public:
    GeneratorExit() noexcept = default;
    const char* what() const noexcept { return "the generator is being closed"; }
};

}  // namespace plait::inline PLAIT_ABI
