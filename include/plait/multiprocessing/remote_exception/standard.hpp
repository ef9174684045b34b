// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/error.hpp>
#include <plait/multiprocessing/remote_exception/rebuildable.hpp>

#include <cstdint>
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

// The exceptions that are made again in another process without a line from the user: the standard library's, and
// plait's.

namespace plait::inline PLAIT_ABI::multiprocessing::detail {

inline RebuildableException rebuildable_system_error() {
    return {mangled_name<std::system_error>(),
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
    return {mangled_name<CancelledError>(),
            [](Encoder& out, const std::exception_ptr& exception) {
                with<CancelledError>(exception,
                                     [&](const CancelledError& error) { out.write(shortened(error.message())); });
            },
            [](Decoder& in) { return std::make_exception_ptr(CancelledError(in.read<std::string>())); }};
}

inline RebuildableException rebuildable_process_died() {
    return {mangled_name<ProcessDied>(),
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
    return {mangled_name<TaskTimeoutError>(),
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

/// One that has come from elsewhere goes on as what it was there.
inline RebuildableException rebuildable_remote_error() {
    return {mangled_name<RemoteError>(),
            [](Encoder& out, const std::exception_ptr& exception) {
                with<RemoteError>(exception, [&](const RemoteError& error) {
                    out.write(shortened(error.type_name(), longest_name), shortened(error.text()),
                              shortened(error.where(), longest_name));
                });
            },
            [](Decoder& in) {
                const auto type = in.read<std::string>();
                const auto text = in.read<std::string>();
                const auto where = in.read<std::string>();
                return std::make_exception_ptr(RemoteError(type, text, where));
            }};
}

inline std::span<const RebuildableException> standard_exceptions() {
    // Never destroyed: a pool may outlive static objects.
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
        made_of_nothing<std::bad_typeid>(),
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
        made_of_text<OwnerDiedError>(),
        made_of_text<QueueEmpty>(),
        made_of_text<QueueFull>(),
        made_of_text<QueueShutDown>(),
        made_of_text<BrokenBarrierError>(),
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

}  // namespace plait::inline PLAIT_ABI::multiprocessing::detail
