// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/error.hpp>
#include <plait/core/report.hpp>
#include <plait/multiprocessing/codec.hpp>
#include <plait/os/exception_type.hpp>
#include <plait/os/process.hpp>

#include <cstdint>
#include <cstring>
#include <exception>
#include <memory>
#include <new>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <system_error>
#include <typeinfo>
#include <variant>
#include <vector>

// How an exception crosses a process boundary: as its own type where it is exactly one of the standard library's or of
// plait's that can be made again from what it says, else as a RemoteError with the type's name and text.

namespace plait::inline PLAIT_ABI::multiprocessing::detail {

/// What is kept of an exception's text: a task may throw megabytes.
inline constexpr std::size_t longest_text = 64 * 1024;

inline std::string shortened(const std::string& text) { return text.substr(0, longest_text); }

/// How one type is taken apart and made again.
struct RebuildableException {
    const char* type;  ///< its mangled name
    void (*take_apart)(Encoder& out, const std::exception_ptr& exception);
    std::exception_ptr (*rebuild)(Decoder& in);
};

/// The mangled name of `Exception`, got by throwing one: there is no RTTI to ask.
template <class Exception>
const char* mangled_name(const Exception& prototype) {
    try {
        throw prototype;
    } catch (...) {
        return os::current_exception_type();
    }
}

template <class Exception, class Function>
void with(const std::exception_ptr& exception, Function function) {
    try {
        std::rethrow_exception(exception);
    } catch (const Exception& error) {
        function(error);
    }
}

/// For types that are what a text makes of them.
template <class Exception>
RebuildableException made_of_text() {
    return {mangled_name(Exception("")),
            [](Encoder& out, const std::exception_ptr& exception) {
                with<Exception>(exception, [&](const Exception& error) { out.write(shortened(error.what())); });
            },
            [](Decoder& in) { return std::make_exception_ptr(Exception(in.read<std::string>())); }};
}

/// For types that say nothing of their own.
template <class Exception>
RebuildableException made_of_nothing() {
    return {mangled_name(Exception()), [](Encoder&, const std::exception_ptr&) {},
            [](Decoder&) { return std::make_exception_ptr(Exception()); }};
}

inline RebuildableException rebuildable_system_error() {
    return {mangled_name(std::system_error(std::error_code{})),
            [](Encoder& out, const std::exception_ptr& exception) {
                with<std::system_error>(exception, [&](const std::system_error& error) {
                    std::string text = error.what();
                    const std::string message = ": " + error.code().message();
                    if (text.ends_with(message)) text.resize(text.size() - message.size());
                    const bool generic = error.code().category() == std::generic_category();
                    if (!generic && error.code().category() != std::system_category())
                        throw CodecError("a system_error of a category that is not the standard library's");
                    out.write(error.code().value(), generic, shortened(text));
                });
            },
            [](Decoder& in) {
                const int value = in.read<int>();
                const bool generic = in.read<bool>();
                const auto text = in.read<std::string>();
                return std::make_exception_ptr(
                    std::system_error(value, generic ? std::generic_category() : std::system_category(), text));
            }};
}

inline RebuildableException rebuildable_cancelled_error() {
    return {mangled_name(CancelledError()),
            [](Encoder& out, const std::exception_ptr& exception) {
                with<CancelledError>(exception,
                                     [&](const CancelledError& error) { out.write(shortened(error.message())); });
            },
            [](Decoder& in) { return std::make_exception_ptr(CancelledError(in.read<std::string>())); }};
}

inline RebuildableException rebuildable_process_died() {
    return {mangled_name(ProcessDied("", 0, 0)),
            [](Encoder& out, const std::exception_ptr& exception) {
                with<ProcessDied>(exception, [&](const ProcessDied& error) {
                    out.write(shortened(error.what()), error.pid(), error.exitcode());
                });
            },
            [](Decoder& in) {
                const auto text = in.read<std::string>();
                const auto pid = in.read<std::int64_t>();
                const auto exitcode = in.read<std::int64_t>();
                return std::make_exception_ptr(ProcessDied(text, pid, exitcode));
            }};
}

inline RebuildableException rebuildable_task_timeout_error() {
    return {mangled_name(TaskTimeoutError("", 0, 0)),
            [](Encoder& out, const std::exception_ptr& exception) {
                with<TaskTimeoutError>(exception, [&](const TaskTimeoutError& error) {
                    out.write(shortened(error.what()), error.pid(), error.task());
                });
            },
            [](Decoder& in) {
                const auto text = in.read<std::string>();
                const auto pid = in.read<std::int64_t>();
                const auto task = in.read<std::uint64_t>();
                return std::make_exception_ptr(TaskTimeoutError(text, pid, task));
            }};
}

inline RebuildableException rebuildable_remote_error() {
    return {mangled_name(RemoteError("", "", "")),
            [](Encoder& out, const std::exception_ptr& exception) {
                with<RemoteError>(exception, [&](const RemoteError& error) {
                    out.write(shortened(error.type_name()), shortened(error.text()), shortened(error.where()));
                });
            },
            [](Decoder& in) {
                const auto type = in.read<std::string>();
                const auto text = in.read<std::string>();
                const auto where = in.read<std::string>();
                return std::make_exception_ptr(RemoteError(type, text, where));
            }};
}

inline std::span<const RebuildableException> rebuildable_exceptions() {
    // Never destroyed: a pool may outlive static objects. The place in it is what travels: both ends are one program.
    static const auto& table = *new std::vector<RebuildableException>{
        made_of_text<std::runtime_error>(),
        made_of_text<std::logic_error>(),
        made_of_text<std::invalid_argument>(),
        made_of_text<std::domain_error>(),
        made_of_text<std::length_error>(),
        made_of_text<std::out_of_range>(),
        made_of_text<std::range_error>(),
        made_of_text<std::overflow_error>(),
        made_of_text<std::underflow_error>(),
        made_of_nothing<std::exception>(),
        made_of_nothing<std::bad_alloc>(),
        made_of_nothing<std::bad_cast>(),
        made_of_nothing<std::bad_array_new_length>(),
        made_of_nothing<std::bad_exception>(),
        made_of_nothing<std::bad_optional_access>(),
        made_of_nothing<std::bad_variant_access>(),
        made_of_nothing<std::bad_weak_ptr>(),
        made_of_text<Error>(),
        made_of_text<UsageError>(),
        made_of_text<TimeoutError>(),
        made_of_text<CodecError>(),
        made_of_text<EndOfStream>(),
        made_of_text<BrokenPromiseError>(),
        made_of_text<BrokenPoolError>(),
        made_of_text<PoolTerminatedError>(),
        rebuildable_system_error(),
        rebuildable_cancelled_error(),
        rebuildable_process_died(),
        rebuildable_task_timeout_error(),
        rebuildable_remote_error(),
    };
    return table;
}

inline constexpr std::uint32_t not_rebuildable = 0xFFFF'FFFF;

/// Writes `exception`, which is not null, so that `read_exception` makes the like of it in another process.
inline void write_exception(Encoder& out, const std::exception_ptr& exception) {
    const char* type = nullptr;
    try {
        std::rethrow_exception(exception);
    } catch (...) {
        type = os::current_exception_type();
    }
    const auto table = rebuildable_exceptions();
    for (std::uint32_t i = 0; type != nullptr && i < table.size(); ++i) {
        if (std::strcmp(type, table[i].type) != 0) continue;
        try {
            Encoder parts;
            table[i].take_apart(parts, exception);
            out.write(i);
            return out.write_bytes(parts.bytes());
        } catch (...) {
            break;  // it cannot be taken apart after all: tell its name and text
        }
    }
    std::string text;
    try {
        text = shortened(plait::detail::describe(exception));
    } catch (...) {
        text = "its what() threw";
    }
    out.write(not_rebuildable, os::readable_type(type), text, "process " + std::to_string(os::process_id()));
}

/// Throws: CodecError where the bytes are no exception.
inline std::exception_ptr read_exception(Decoder& in) {
    const auto place = in.read<std::uint32_t>();
    const auto table = rebuildable_exceptions();
    if (place < table.size()) return table[place].rebuild(in);
    if (place != not_rebuildable) throw CodecError("cannot decode an exception: it is of no known kind");
    const auto type = in.read<std::string>();
    const auto text = in.read<std::string>();
    const auto where = in.read<std::string>();
    return std::make_exception_ptr(RemoteError(type, text, where));
}

}  // namespace plait::inline PLAIT_ABI::multiprocessing::detail
