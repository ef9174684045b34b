// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>
#include <plait/multiprocessing/codec.hpp>
#include <plait/os/exception_type.hpp>
#include <plait/os/image.hpp>

#include <atomic>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <exception>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>

// How exceptions of one type are taken apart and made again. Types are told from each other by their mangled names,
// exactly: what is merely derived from one is another type.

namespace plait::inline PLAIT_ABI::multiprocessing::detail {

/// What is kept of an exception's text: a task may throw megabytes.
inline constexpr std::size_t longest_text = 64 * 1024;
/// And of a type's name, which templates make long.
inline constexpr std::size_t longest_name = 4 * 1024;

inline std::string shortened(const std::string& text, std::size_t longest = longest_text) {
    return text.substr(0, longest);
}

struct RebuildableException {
    std::string type;  ///< its mangled name
    /// Throws where this one cannot be made again from what it says.
    void (*take_apart)(Encoder& out, const std::exception_ptr& exception);
    std::exception_ptr (*rebuild)(Decoder& in);
};

/// The mangled name of `Exception`; empty on Windows.
template <class Exception>
std::string mangled_name() {
    // There is no RTTI to ask, and no object to throw: a pointer's name is "P" and that of what it points to.
    const char* name = nullptr;
    try {
        throw static_cast<Exception*>(nullptr);
    } catch (...) {
        name = os::current_exception_type();
    }
    return name != nullptr && *name == 'P' ? name + 1 : "";
}

inline std::string mangled_name_of(const std::exception_ptr& exception) {
    const char* name = nullptr;
    try {
        std::rethrow_exception(exception);
    } catch (...) {
        name = os::current_exception_type();
    }
    return name != nullptr ? name : "";
}

template <class Exception, class Function>
void with(const std::exception_ptr& exception, Function function) {
    try {
        std::rethrow_exception(exception);
    } catch (const Exception& error) {
        function(error);
    }
}

/// Too little to hold anything beside a text, which would be lost where that alone travels.
template <class Exception>
inline constexpr bool holds_a_text_at_most =
    std::is_base_of_v<std::runtime_error, Exception> || std::is_base_of_v<std::logic_error, Exception>
        ? sizeof(Exception) == sizeof(std::runtime_error)
        : sizeof(Exception) <= sizeof(std::exception) + sizeof(std::string);

/// What is nested in an exception is told in a text alone: see `told_with_causes`.
template <class Exception>
concept MadeOfText = holds_a_text_at_most<Exception> && std::is_constructible_v<Exception, std::string> &&
                     requires(const Exception& error) {
                         { error.what() } -> std::convertible_to<const char*>;
                     } && !std::is_base_of_v<std::nested_exception, Exception>;

template <class Exception>
concept MadeOfNothing = std::is_base_of_v<std::exception, Exception> && sizeof(Exception) == sizeof(std::exception) &&
                        std::is_default_constructible_v<Exception>;

/// For types that are what a text makes of them.
template <MadeOfText Exception>
RebuildableException made_of_text() {
    return {mangled_name<Exception>(),
            [](Encoder& out, const std::exception_ptr& exception) {
                with<Exception>(exception, [&](const Exception& error) {
                    const std::string text = shortened(error.what());
                    // A constructor may make more of its argument than what it was given.
                    if (Exception(text).what() != text) throw CodecError("its what() is not what it was made from");
                    out.write(text);
                });
            },
            [](Decoder& in) { return std::make_exception_ptr(Exception(in.read<std::string>())); }};
}

/// For types that say nothing of their own.
template <class Exception>
RebuildableException made_of_nothing() {
    return {mangled_name<Exception>(), [](Encoder&, const std::exception_ptr&) {},
            [](Decoder&) { return std::make_exception_ptr(Exception()); }};
}

/// For types that the codec takes.
template <class Exception>
RebuildableException made_by_codec() {
    return {mangled_name<Exception>(),
            [](Encoder& out, const std::exception_ptr& exception) {
                with<Exception>(exception, [&](const Exception& error) { out.write(error); });
            },
            [](Decoder& in) { return std::make_exception_ptr(in.read<Exception>()); }};
}

/// A type that the program has registered. Its name is a copy, for the library that registered it may be unloaded.
struct RegisteredException {
    RebuildableException how;
    std::uint64_t home;
    const RegisteredException* next;
};

/// The newest first; they are never freed, so that walking needs no lock.
PLAIT_VISIBLE inline std::atomic<const RegisteredException*>& registered_exceptions() noexcept {
    static constinit std::atomic<const RegisteredException*> first{nullptr};
    return first;
}

/// Tells apart types of one name, which those of anonymous namespaces may have: by the module in which `how` lies, and
/// the place there, which are the same in every process. Other types have one name in the whole program: 0.
inline std::uint64_t home_of(const RebuildableException& how) {
    if (how.type.find("_GLOBAL__N_") == std::string::npos) return 0;
    const auto address = reinterpret_cast<std::uintptr_t>(how.rebuild);
    const os::Image* const image = os::image_at(address);
    if (image == nullptr) return 0;
    std::uint64_t module = 0;
    std::memcpy(&module, image->identity().data(), sizeof module);
    return module ^ (address - image->base());
}

inline void add_registered_exception(RebuildableException how) {
    if (how.type.empty() || how.type.size() > longest_name) return;
    const std::uint64_t home = home_of(how);
    std::atomic<const RegisteredException*>& first = registered_exceptions();
    auto* const added = new RegisteredException{std::move(how), home, first.load(std::memory_order_relaxed)};
    // Release pairs with the acquire of who walks: what a pointer leads to was written before.
    while (!first.compare_exchange_weak(added->next, added, std::memory_order_release, std::memory_order_relaxed)) {
    }
}

}  // namespace plait::inline PLAIT_ABI::multiprocessing::detail
