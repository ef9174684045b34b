// SPDX-License-Identifier: MIT
#pragma once

#include <plait/os/handle.hpp>
#include <plait/os/system_error.hpp>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

namespace plait::inline PLAIT_ABI::os {

/// A file of memory without a name, close-on-exec and empty.
Handle make_anonymous_memory();

class SharedMapping {
public:
    SharedMapping() noexcept = default;
    SharedMapping(SharedMapping&& other) noexcept
        : handle_{std::move(other.handle_)},
          data_{std::exchange(other.data_, nullptr)},
          size_{std::exchange(other.size_, 0)} {}
    SharedMapping& operator=(SharedMapping&& other) noexcept {
        std::swap(handle_, other.handle_);
        std::swap(data_, other.data_);
        std::swap(size_, other.size_);
        return *this;
    }
    ~SharedMapping() {
        if (data_ != nullptr) ::munmap(data_, size_);
    }

    static SharedMapping create(std::size_t size) {
        Handle handle = make_anonymous_memory();
        // Allocated now: a full memory is an error here, and not a SIGBUS at the first touch.
        int error = 0;
        do error = ::posix_fallocate(handle.get(), 0, static_cast<off_t>(size));
        while (error == EINTR);
        if (error != 0) throw_system_error("posix_fallocate of shared memory", error);
        return SharedMapping{std::move(handle), size};
    }
    static SharedMapping open(Handle handle) {
        struct ::stat status{};
        if (::fstat(handle.get(), &status) != 0) throw_system_error("fstat of shared memory");
        return SharedMapping{std::move(handle), static_cast<std::size_t>(status.st_size)};
    }

    /// What tells the object from every other that there is now, by whatever handle.
    using Identity = std::array<std::uint64_t, 2>;
    static Identity identity_of(const Handle& handle) {
        struct ::stat status{};
        if (::fstat(handle.get(), &status) != 0) throw_system_error("fstat of shared memory");
        return {static_cast<std::uint64_t>(status.st_dev), static_cast<std::uint64_t>(status.st_ino)};
    }

    [[nodiscard]] const Handle& handle() const noexcept { return handle_; }
    /// Lets go of the handle; the memory stays as long as this does.
    void drop_handle() noexcept { handle_.reset(); }
    /// Has the memory stay mapped as long as the process lives.
    void keep_mapped() noexcept { data_ = nullptr; }
    [[nodiscard]] std::byte* data() const noexcept { return static_cast<std::byte*>(data_); }
    [[nodiscard]] std::size_t size() const noexcept { return size_; }
    [[nodiscard]] std::span<std::byte> bytes() const noexcept { return {data(), size_}; }

private:
    SharedMapping(Handle handle, std::size_t size) : handle_{std::move(handle)}, size_{size} {
        void* const address = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, handle_.get(), 0);
        if (address == MAP_FAILED) throw_system_error("mmap of shared memory");
        data_ = address;
    }

    Handle handle_;
    void* data_ = nullptr;
    std::size_t size_ = 0;
};

}  // namespace plait::inline PLAIT_ABI::os
