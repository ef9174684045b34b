// SPDX-License-Identifier: MIT
#pragma once

#include <plait/os/handle.hpp>
#include <plait/os/system_error.hpp>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <utility>

namespace plait::inline PLAIT_ABI::os {

/// A file of memory without a name, close-on-exec and empty.
Handle make_anonymous_memory();

/// Where a limit of the process forbids a file of that size, asking for one would end the program by a signal.
inline void check_size_limit(std::uint64_t size, const char* call) {
    struct ::rlimit limit{};
    if (size > static_cast<std::uint64_t>((std::numeric_limits<off_t>::max)()) ||
        (::getrlimit(RLIMIT_FSIZE, &limit) == 0 && size > limit.rlim_cur))
        throw_system_error(call, EFBIG);
}

inline void set_memory_size(const Handle& handle, std::uint64_t size) {
    check_size_limit(size, "ftruncate of shared memory");
    int result = 0;
    do result = ::ftruncate(handle.get(), static_cast<off_t>(size));
    while (result != 0 && errno == EINTR);
    if (result != 0) throw_system_error("ftruncate of shared memory");
}

inline std::uint64_t memory_size(const Handle& handle) {
    struct ::stat status{};
    if (::fstat(handle.get(), &status) != 0) throw_system_error("fstat of shared memory");
    return static_cast<std::uint64_t>(status.st_size);
}

inline void allocate_memory(const Handle& handle, std::uint64_t offset, std::uint64_t size) {
    check_size_limit(offset + size, "posix_fallocate of shared memory");
    // Asked for more than there is, a system that keeps no account of such memory kills processes until nobody is left.
    const long pages = ::sysconf(_SC_PHYS_PAGES);
    if (pages > 0 &&
        offset + size > static_cast<std::uint64_t>(pages) * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE)))
        throw_system_error("posix_fallocate of shared memory", ENOMEM);
    int error = 0;
    do error = ::posix_fallocate(handle.get(), static_cast<off_t>(offset), static_cast<off_t>(size));
    while (error == EINTR);
    if (error != 0) throw_system_error("posix_fallocate of shared memory", error);
}

/// Memory that is mapped; a part of what `handle` names, which may go meanwhile.
class MemoryView {
public:
    MemoryView() noexcept = default;
    MemoryView(const Handle& handle, std::uint64_t offset, std::size_t size) : size_{size} {
        void* const address =
            ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, handle.get(), static_cast<off_t>(offset));
        if (address == MAP_FAILED) throw_system_error("mmap of shared memory");
        data_ = address;
    }
    MemoryView(MemoryView&& other) noexcept
        : data_{std::exchange(other.data_, nullptr)}, size_{std::exchange(other.size_, 0)} {}
    MemoryView& operator=(MemoryView&& other) noexcept {
        std::swap(data_, other.data_);
        std::swap(size_, other.size_);
        return *this;
    }
    ~MemoryView() {
        if (data_ != nullptr) ::munmap(data_, size_);
    }

    [[nodiscard]] std::byte* data() const noexcept { return static_cast<std::byte*>(data_); }
    [[nodiscard]] std::size_t size() const noexcept { return size_; }
    /// Leaves it mapped for who has the address: to be given back by `adopt`.
    std::byte* release() noexcept { return static_cast<std::byte*>(std::exchange(data_, nullptr)); }
    static MemoryView adopt(std::byte* address, std::size_t size) noexcept {
        MemoryView view;
        view.data_ = address;
        view.size_ = size;
        return view;
    }

private:
    void* data_ = nullptr;
    std::size_t size_ = 0;
};

/// Who makes memory under a name keeps others from it until it is whole. Where files of memory know no such locks, so be it.
inline void lock_memory_file(const Handle& handle, int how) noexcept {
    while (::flock(handle.get(), how) != 0 && errno == EINTR) {
    }
}

inline Handle open_memory_name(const std::string& name) {
    Handle handle = above_standard_streams(::shm_open(("/" + name).c_str(), O_RDWR | O_CLOEXEC, 0));
    if (!handle) throw_system_error("shm_open of " + name);
    lock_memory_file(handle, LOCK_SH);
    const bool is_made = memory_size(handle) != 0;  // else its maker has only just begun, or died
    lock_memory_file(handle, LOCK_UN);
    if (!is_made) throw_system_error("shm_open of " + name, ENOENT);
    return handle;
}

inline void remove_memory_name(const std::string& name) {
    if (::shm_unlink(("/" + name).c_str()) != 0) throw_system_error("shm_unlink of " + name);
}

class SharedMapping {
public:
    SharedMapping() noexcept = default;

    static SharedMapping create(std::size_t size) { return create_in(make_anonymous_memory(), size); }
    static SharedMapping open(Handle handle) {
        const std::uint64_t size = memory_size(handle);
        if (size > (std::numeric_limits<std::size_t>::max)()) throw_system_error("mmap of shared memory", ENOMEM);
        return SharedMapping{std::move(handle), static_cast<std::size_t>(size)};
    }

    static SharedMapping create_named(const std::string& name, std::size_t size) {
        Handle handle = above_standard_streams(
            ::shm_open(("/" + name).c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, S_IRUSR | S_IWUSR));
        if (!handle) throw_system_error("shm_open of " + name);
        try {
            lock_memory_file(handle, LOCK_EX);
            SharedMapping mapping = create_in(std::move(handle), size);
            lock_memory_file(mapping.handle(), LOCK_UN);
            return mapping;
        } catch (...) {
            ::shm_unlink(("/" + name).c_str());
            throw;
        }
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
    void keep_mapped() noexcept { static_cast<void>(view_.release()); }
    [[nodiscard]] std::byte* data() const noexcept { return view_.data(); }
    [[nodiscard]] std::size_t size() const noexcept { return view_.size(); }
    [[nodiscard]] std::span<std::byte> bytes() const noexcept { return {data(), size()}; }

private:
    SharedMapping(Handle handle, std::size_t size) : handle_{std::move(handle)}, view_{handle_, 0, size} {}
    static SharedMapping create_in(Handle handle, std::size_t size) {
        // Allocated now: a full memory is an error here, and not a SIGBUS at the first touch.
        allocate_memory(handle, 0, size);
        return SharedMapping{std::move(handle), size};
    }

    Handle handle_;
    MemoryView view_;
};

}  // namespace plait::inline PLAIT_ABI::os
