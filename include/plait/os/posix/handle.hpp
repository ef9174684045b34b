// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>
#include <plait/os/system_error.hpp>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <utility>

namespace plait::inline PLAIT_ABI::os {

using NativeHandle = int;

class Handle {
public:
    static constexpr NativeHandle none = -1;

    Handle() noexcept = default;
    explicit Handle(NativeHandle owned) noexcept : native_{owned} {}
    Handle(Handle&& other) noexcept : native_{other.release()} {}
    Handle& operator=(Handle&& other) noexcept {
        if (this != &other) reset(other.release());
        return *this;
    }
    ~Handle() { reset(); }

    explicit operator bool() const noexcept { return native_ != none; }
    [[nodiscard]] NativeHandle get() const noexcept { return native_; }
    [[nodiscard]] NativeHandle release() noexcept { return std::exchange(native_, none); }
    void reset(NativeHandle owned = none) noexcept {
        const int error = errno;
        // Not again on EINTR: Linux has freed the number by then, and another thread may have it.
        if (native_ != none) ::close(native_);
        errno = error;
        native_ = owned;
    }

private:
    NativeHandle native_ = none;
};

/// Owns what a call returned; numbers 0 to 2 are moved up, for a program that closed its standard streams gets those,
/// and would print into our channel.
inline Handle above_standard_streams(NativeHandle owned) noexcept {
    Handle handle{owned};
    if (owned < 0 || owned > 2) return handle;
    return Handle{::fcntl(owned, F_DUPFD_CLOEXEC, 3)};
}

/// Another handle of the same. Throws: std::system_error where there is no number left.
inline Handle duplicate(NativeHandle handle) {
    Handle copy{::fcntl(handle, F_DUPFD_CLOEXEC, 3)};
    if (!copy) throw_system_error("fcntl(F_DUPFD_CLOEXEC)");
    return copy;
}
inline Handle duplicate(const Handle& handle) { return duplicate(handle.get()); }

/// Which object a handle is of.
struct HandleIdentity {
    std::uint64_t device = 0;
    std::uint64_t number = 0;  ///< 0 for a handle that is closed
    friend bool operator==(const HandleIdentity&, const HandleIdentity&) = default;
};
inline HandleIdentity identity_of(NativeHandle handle) noexcept {
    struct ::stat status{};
    if (::fstat(handle, &status) != 0) return {};
    return {status.st_dev, status.st_ino};
}

/// Owns a handle that this process was started with; what it executes itself shall not have it.
inline Handle inherited_handle(NativeHandle native) noexcept {
    ::fcntl(native, F_SETFD, FD_CLOEXEC);
    return Handle{native};
}

}  // namespace plait::inline PLAIT_ABI::os
