// SPDX-License-Identifier: MIT
#pragma once

#include <plait/os/thread.hpp>

#include <algorithm>
#include <atomic>
#include <string>

// Declared by hand, with the types that windows.h gives them, so that no header of ours includes it.
struct HINSTANCE__;
extern "C" {
__declspec(dllimport) unsigned long __stdcall GetCurrentThreadId();
__declspec(dllimport) unsigned long __stdcall GetCurrentProcessId();
__declspec(dllimport) void* __stdcall GetCurrentThread();
__declspec(dllimport) void* __stdcall GetCurrentProcess();
__declspec(dllimport) int __stdcall GetProcessAffinityMask(void*, unsigned long long*, unsigned long long*);
__declspec(dllimport) HINSTANCE__* __stdcall GetModuleHandleA(const char*);
__declspec(dllimport) long long(__stdcall* __stdcall GetProcAddress(HINSTANCE__*, const char*))();
__declspec(dllimport) int __stdcall MultiByteToWideChar(unsigned int, unsigned long, const char*, int, wchar_t*, int);
}

namespace plait::inline PLAIT_ABI::os {

namespace detail {

// Names are read back from here: the system has no call for it before Windows 10.
PLAIT_VISIBLE inline char (&own_thread_name() noexcept)[thread_name_size + 1] {
    static constinit thread_local char name[thread_name_size + 1]{};
    return name;
}

PLAIT_VISIBLE inline std::atomic<std::uint64_t>& remembered_main_thread() noexcept {
    static constinit std::atomic<std::uint64_t> id{0};
    return id;
}

using SetThreadDescription = long(__stdcall*)(void* thread, const wchar_t* text);

/// The system's own, or null before Windows 10.
inline SetThreadDescription find_set_thread_description() noexcept {
    // By way of void*: compilers warn of a cast between two function types.
    return reinterpret_cast<SetThreadDescription>(
        reinterpret_cast<void*>(::GetProcAddress(::GetModuleHandleA("kernel32.dll"), "SetThreadDescription")));
}

}  // namespace detail

inline void set_thread_name(std::string_view name) noexcept {
    static const detail::SetThreadDescription set = detail::find_set_thread_description();
    auto& text = detail::own_thread_name();
    const std::string_view cut = detail::cut_thread_name(name);
    *std::copy(cut.begin(), cut.end(), text) = '\0';

    constexpr unsigned int utf8 = 65001;
    wchar_t wide[detail::thread_name_size + 1];
    constexpr int size = static_cast<int>(detail::thread_name_size + 1);
    if (set != nullptr && ::MultiByteToWideChar(utf8, 0, text, -1, wide, size) > 0) set(::GetCurrentThread(), wide);
}

inline std::string thread_name() { return detail::own_thread_name(); }

inline std::uint64_t native_thread_id() noexcept { return ::GetCurrentThreadId(); }
inline std::int64_t current_process_id() noexcept { return static_cast<std::int64_t>(::GetCurrentProcessId()); }

inline bool is_main_thread() noexcept {
    std::uint64_t main = 0;
    const std::uint64_t self = native_thread_id();
    return detail::remembered_main_thread().compare_exchange_strong(main, self, std::memory_order_relaxed) ||
           main == self;
}

inline void remember_main_thread() noexcept {
    detail::remembered_main_thread().store(native_thread_id(), std::memory_order_relaxed);
}

inline std::uint64_t main_thread_id() noexcept {
    return detail::remembered_main_thread().load(std::memory_order_relaxed);
}

inline void call_in_forked_children(void (*)()) {}
inline void call_around_forks(void (*)(), void (*)(), void (*)()) {}

inline unsigned usable_processors() {
    unsigned long long own = 0;
    unsigned long long all = 0;
    unsigned count = 0;
    if (::GetProcessAffinityMask(::GetCurrentProcess(), &own, &all) != 0)
        for (; own != 0; own &= own - 1) ++count;
    return (std::max)(count, 1U);  // an empty mask means several processor groups, of which this process has one
}

}  // namespace plait::inline PLAIT_ABI::os
