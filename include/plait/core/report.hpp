// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>
#include <plait/core/error.hpp>

#include <atomic>
#include <cstdio>
#include <exception>
#include <string>

namespace plait::inline PLAIT_ABI {

/// What is told of an exception that nobody is there to catch: a sentence saying where, and the exception (may be null).
using UnraisableHook = void (*)(const std::string& where, std::exception_ptr exception);

namespace detail {

/// The text of any exception, without RTTI: what() where there is one.
inline std::string describe(const std::exception_ptr& exception) {
    const auto text_of = [](const char* text) { return std::string(text != nullptr ? text : ""); };
    if (!exception) return "no exception";
    try {
        std::rethrow_exception(exception);
    } catch (const std::exception& error) {
        return text_of(error.what());
    } catch (const CancelledError& error) {
        return error.what();
    } catch (const std::string& text) {
        return text;
    } catch (const char* text) {
        return text_of(text);
    } catch (...) {
        return "an exception that is no std::exception";
    }
}

/// One line on stderr, in one write so that lines of several threads stay whole. Never throws: stderr may be closed.
inline void print_error_line(const std::string& line) noexcept {
    try {
        const std::string whole = line + "\n";
        std::fwrite(whole.data(), 1, whole.size(), stderr);
        std::fflush(stderr);
    } catch (...) {
        // Out of memory while reporting: there is nobody left to tell.
    }
}

inline void print_unraisable(const std::string& where, std::exception_ptr exception) {
    print_error_line("plait: " + where + (exception ? ": " + describe(exception) : std::string{}));
}

PLAIT_VISIBLE inline std::atomic<UnraisableHook>& unraisable_hook() {
    static constinit std::atomic<UnraisableHook> hook{&print_unraisable};
    return hook;
}

/// Tells the hook; what the hook itself throws is printed and goes no further.
inline void report_unraisable(const std::string& where, std::exception_ptr exception) noexcept {
    try {
        // Acquire pairs with the release in set_unraisable_hook: the hook may use what was written before it was set.
        unraisable_hook().load(std::memory_order_acquire)(where, exception);
    } catch (...) {
        print_error_line("plait: the unraisable hook itself threw an exception");
    }
}

/// The same from where nothing may be thrown: without memory for the words too.
inline void report_unraisable(const char* where, std::exception_ptr exception) noexcept {
    try {
        report_unraisable(std::string{where}, std::move(exception));
    } catch (...) {
        std::fputs(where, stderr);
        std::fputs(" (and there is no memory to say more)\n", stderr);
    }
}

}  // namespace detail

/// Sets who is told of exceptions that have no caller: of a callback, or of a future that nobody asked. Null gives back
/// the default, one line on stderr. Returns the hook before.
///
/// Python: sys.unraisablehook. Exceptions that leave a thread go to `threading::excepthook`.
/// Threads: the hook is called on whichever thread meets the exception, by several at once.
inline UnraisableHook set_unraisable_hook(UnraisableHook hook) noexcept {
    return detail::unraisable_hook().exchange(hook != nullptr ? hook : &detail::print_unraisable,
                                              std::memory_order_acq_rel);
}

}  // namespace plait::inline PLAIT_ABI
