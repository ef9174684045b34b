// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/error.hpp>
#include <plait/core/report.hpp>
#include <plait/multiprocessing/codec.hpp>
#include <plait/multiprocessing/remote_exception/rebuildable.hpp>
#include <plait/multiprocessing/remote_exception/standard.hpp>
#include <plait/os/exception_type.hpp>
#include <plait/os/process.hpp>

#include <cstddef>
#include <cstdint>
#include <exception>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

// How an exception crosses a process boundary: as its own type where it is exactly one of the standard library's or of
// plait's that can be made again from what it says, or one that `register_exception` was told of; else as a RemoteError
// with the type's name and text.

namespace plait::inline PLAIT_ABI::multiprocessing::detail {

/// An exception on its way.
struct CarriedException {
    std::string type;  ///< as a programmer writes it
    std::string text;
    std::string where;
    struct Parts {
        std::string type;  ///< the mangled name
        std::uint64_t home = 0;
        std::vector<std::byte> bytes;
    };
    std::optional<Parts> parts;  ///< of what to make it again; empty where nobody knows how
};

/// Calls `function(how, home)` for each way to make exceptions of `type` again, until it returns true.
template <class Function>
void find_rebuildable(std::string_view type, Function function) {
    if (type.empty()) return;
    for (const RebuildableException& each : standard_exceptions())
        if (each.type == type && function(each, std::uint64_t{0})) return;
    // Acquire pairs with the release in add_registered_exception.
    for (const auto* each = registered_exceptions().load(std::memory_order_acquire); each != nullptr; each = each->next)
        if (each->how.type == type && function(each->how, each->home)) return;
}

/// The text of `exception`, and those of the exceptions that are nested in it, the one that caused another behind it.
inline std::string told_with_causes(std::exception_ptr exception) {
    std::string text = plait::detail::describe(exception);
    for (int depth = 0; depth < 16 && text.size() < longest_text; ++depth) {
        std::exception_ptr cause;
        try {
            std::rethrow_exception(exception);
        } catch (const std::nested_exception& nested) {
            cause = nested.nested_ptr();
        } catch (...) {
            break;
        }
        if (cause == nullptr) break;
        text +=
            "; caused by " + os::readable_type(mangled_name_of(cause).c_str()) + ": " + plait::detail::describe(cause);
        exception = cause;
    }
    return shortened(text);
}

/// Writes `exception`, which is not null, so that `read_exception` makes the like of it in another process.
inline void write_exception(Encoder& out, const std::exception_ptr& exception) {
    const std::string type = mangled_name_of(exception);
    CarriedException carried{shortened(os::readable_type(type.empty() ? nullptr : type.c_str()), longest_name),
                             told_with_causes(exception), "process " + std::to_string(os::process_id()), std::nullopt};
    find_rebuildable(type, [&](const RebuildableException& how, std::uint64_t home) {
        try {
            Encoder parts;
            how.take_apart(parts, exception);
            if (parts.size() <= 2 * longest_text) carried.parts = {type, home, parts.take()};
            return true;
        } catch (...) {
            // It is of another type of that name, or cannot be taken apart after all: its name and text are told.
            return false;
        }
    });
    out.write(carried);
}

inline std::exception_ptr rebuilt(const CarriedException::Parts& parts) {
    std::exception_ptr found;
    find_rebuildable(parts.type, [&](const RebuildableException& how, std::uint64_t home) {
        if (home != parts.home) return false;
        try {
            Decoder in(parts.bytes);
            auto exception = how.rebuild(in);
            // Where its constructor threw, that is what is in there.
            if (in.remaining() == 0 && mangled_name_of(exception) == parts.type) found = std::move(exception);
        } catch (...) {
            // This process cannot make it: a RemoteError tells of it.
        }
        return true;
    });
    return found;
}

/// Throws: CodecError where the bytes are no exception.
inline std::exception_ptr read_exception(Decoder& in) {
    const auto carried = in.read<CarriedException>();
    if (carried.parts)
        if (auto exception = rebuilt(*carried.parts)) return exception;
    return std::make_exception_ptr(RemoteError(carried.type, carried.text, carried.where));
}

}  // namespace plait::inline PLAIT_ABI::multiprocessing::detail
