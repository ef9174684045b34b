// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>
#include <plait/os/posix/handle.hpp>
#include <plait/os/posix/image_identity.hpp>

#include <dlfcn.h>
#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace plait::inline PLAIT_ABI::os {

namespace detail {

using namespace plait::detail;

// Weak: a static program has none, and is linked without a word about it.
static decltype(::dlsym) weak_dlsym __attribute__((weakref("dlsym")));

/// Calls `function(const dl_phdr_info&)` for each image, the executable first, until it returns true. It must not throw:
/// the loader's lock is held.
template <class Function>
bool find_image(Function function) noexcept {
    return ::dl_iterate_phdr([](dl_phdr_info* info, std::size_t,
                                void* called) { return (*static_cast<Function*>(called))(*info) ? 1 : 0; },
                             &function) != 0;
}

}  // namespace detail

class Image {
public:
    [[nodiscard]] std::uintptr_t base() const noexcept { return base_; }
    [[nodiscard]] bool contains(std::uintptr_t address, std::size_t size) const noexcept {
        return lies_in(base_, segments_, address, size, 0);
    }
    [[nodiscard]] bool contains_code(std::uintptr_t address) const noexcept {
        return lies_in(base_, segments_, address, 1, PF_X);
    }
    [[nodiscard]] const ImageIdentity& identity() const noexcept { return identity_; }
    [[nodiscard]] const std::string& path() const noexcept { return path_; }

private:
    friend const Image& executable_image();
    friend const Image* image_at(std::uintptr_t address);
    friend const Image* loaded_image(const ImageIdentity& identity);
    friend const void* find_in_executable(std::array<std::uint64_t, 2> words) noexcept;

    explicit Image(const dl_phdr_info& info)
        : base_{info.dlpi_addr},
          segments_{info.dlpi_phdr, info.dlpi_phnum},
          unloads_{info.dlpi_subs},
          identity_{identity_in_memory(base_, segments_)},
          path_{info.dlpi_name} {
        // Opened by a relative path: it means the same for as long as the working directory does.
        if (path_.empty() || path_.starts_with('/')) return;
        if (char* const absolute = ::realpath(info.dlpi_name, nullptr)) {
            path_ = absolute;
            std::free(absolute);
        }
    }

    static bool lies_in(std::uintptr_t base, std::span<const ElfW(Phdr)> segments, std::uintptr_t address,
                        std::size_t size, std::uint32_t flags) noexcept {
        for (const ElfW(Phdr) & segment : segments) {
            const std::uintptr_t begin = base + segment.p_vaddr;
            if (segment.p_type == PT_LOAD && (segment.p_flags & flags) == flags && address >= begin &&
                size <= segment.p_memsz && address - begin <= segment.p_memsz - size)
                return true;
        }
        return false;
    }
    static ImageIdentity identity_in_memory(std::uintptr_t base, std::span<const ElfW(Phdr)> segments) noexcept {
        return detail::identity_of(segments, [&](const ElfW(Phdr) & segment) {
            const std::uintptr_t begin = base + segment.p_vaddr;
            // Notes may stand in the file alone.
            if (!lies_in(base, segments, begin, segment.p_filesz, PF_R)) return std::span<const std::byte>{};
            return std::span{reinterpret_cast<const std::byte*>(begin), static_cast<std::size_t>(segment.p_filesz)};
        });
    }

    /// The one that is kept for what `info` tells: hashing a large library takes its time.
    static const Image* kept(const dl_phdr_info& info);

    std::uintptr_t base_;
    std::span<const ElfW(Phdr)> segments_;
    unsigned long long unloads_;  // how many were unloaded before: another library may then lie in its place
    ImageIdentity identity_;
    std::string path_;
    const Image* next_ = nullptr;
};

inline const Image& executable_image() {
    static const Image& image = *[] {
        dl_phdr_info executable{};
        detail::find_image([&](const dl_phdr_info& info) {
            executable = info;
            return true;
        });
        executable.dlpi_name = "";     // some loaders tell a name here too
        return new Image(executable);  // never destroyed: threads may outlive static objects
    }();
    return image;
}

namespace detail {

/// All that were ever asked for, the newest first. They are never freed, so that walking needs no lock.
PLAIT_VISIBLE inline std::atomic<const Image*>& kept_images() noexcept {
    static constinit std::atomic<const Image*> first{nullptr};
    return first;
}

}  // namespace detail

inline const Image* Image::kept(const dl_phdr_info& info) {
    std::atomic<const Image*>& first = detail::kept_images();
    // Acquire pairs with the release below: what a pointer leads to was written before.
    for (const Image* image = first.load(std::memory_order_acquire); image != nullptr; image = image->next_)
        if (image->base_ == info.dlpi_addr && image->segments_.data() == info.dlpi_phdr &&
            image->unloads_ == info.dlpi_subs)
            return image;
    auto* const image = new Image(info);
    image->next_ = first.load(std::memory_order_acquire);
    while (!first.compare_exchange_weak(image->next_, image, std::memory_order_release, std::memory_order_acquire)) {
    }
    return image;
}

inline const Image* image_at(std::uintptr_t address) {
    if (executable_image().contains(address, 1)) return &executable_image();
    dl_phdr_info found{};
    const bool any = detail::find_image([&](const dl_phdr_info& info) {
        if (!Image::lies_in(info.dlpi_addr, {info.dlpi_phdr, info.dlpi_phnum}, address, 1, 0)) return false;
        found = info;
        return true;
    });
    return any ? Image::kept(found) : nullptr;
}

inline const Image* loaded_image(const ImageIdentity& identity) {
    if (executable_image().identity() == identity) return &executable_image();
    unsigned long long unloads = 0;
    detail::find_image([&](const dl_phdr_info& info) {
        unloads = info.dlpi_subs;
        return true;
    });
    // Acquire pairs with the release in `kept`.
    for (const Image* image = detail::kept_images().load(std::memory_order_acquire); image != nullptr;
         image = image->next_)
        if (image->unloads_ == unloads && image->identity_ == identity) return image;
    dl_phdr_info found{};
    const bool any = detail::find_image([&](const dl_phdr_info& info) {
        if (Image::identity_in_memory(info.dlpi_addr, {info.dlpi_phdr, info.dlpi_phnum}) != identity) return false;
        found = info;
        return true;
    });
    return any ? Image::kept(found) : nullptr;
}

// What other threads write meanwhile, and what no instrumented code may read, is looked at too: that harms nothing.
__attribute__((no_sanitize("address"), no_sanitize("thread"))) inline const void* find_in_executable(
    std::array<std::uint64_t, 2> words) noexcept {
    const Image& image = executable_image();
    for (const ElfW(Phdr) & segment : image.segments_) {
        if (segment.p_type != PT_LOAD || (segment.p_flags & PF_R) == 0) continue;
        const std::uintptr_t end = image.base_ + segment.p_vaddr + segment.p_filesz;
        std::uintptr_t at =
            (image.base_ + segment.p_vaddr + alignof(std::uint64_t) - 1) & ~(alignof(std::uint64_t) - 1);
        for (; at < end && end - at >= sizeof words + sizeof(void*); at += sizeof(std::uint64_t)) {
            const auto* const word = reinterpret_cast<const volatile std::uint64_t*>(at);
            if (word[0] == words[0] && word[1] == words[1] &&
                *reinterpret_cast<const volatile std::uintptr_t*>(at + sizeof words) == at)
                return reinterpret_cast<const void*>(at);
        }
    }
    return nullptr;
}

inline void keep_in_image(const void* constant) noexcept { asm volatile("" : : "r"(constant)); }

inline std::optional<ImageIdentity> identity_of_file(const std::string& path) {
    // What these name is another file in another process.
    if (!path.starts_with('/') || path.starts_with("/proc/self/") || path.starts_with("/dev/fd/")) return std::nullopt;
    const Handle file{::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
    struct stat status{};
    if (!file || ::fstat(file.get(), &status) != 0 || !S_ISREG(status.st_mode)) return std::nullopt;
    return detail::identity_of_file(
        [&](std::uint64_t offset, std::size_t size) -> std::optional<std::vector<std::byte>> {
            const auto length = static_cast<std::uint64_t>(status.st_size);
            if (offset > length || size > length - offset) return std::nullopt;
            std::vector<std::byte> bytes(size);
            for (std::size_t read = 0; read < size;) {
                const ssize_t count =
                    ::pread(file.get(), bytes.data() + read, size - read, static_cast<off_t>(offset + read));
                if (count < 0 && errno == EINTR) continue;
                if (count <= 0) return std::nullopt;  // it has become shorter meanwhile
                read += static_cast<std::size_t>(count);
            }
            return bytes;
        });
}

inline std::string open_library(const std::string& path) {
    // Asked for by name: the linker warns of static programs that mention dlopen, wherever they do.
    const auto find = [](const char* name) {
        return detail::weak_dlsym != nullptr ? detail::weak_dlsym(RTLD_DEFAULT, name) : nullptr;
    };
    const auto open = reinterpret_cast<decltype(&::dlopen)>(find("dlopen"));
    const auto error = reinterpret_cast<decltype(&::dlerror)>(find("dlerror"));
    if (open == nullptr || error == nullptr) return "this program is linked statically and opens no libraries";
    if (open(path.c_str(), RTLD_NOW | RTLD_LOCAL) != nullptr) return {};
    const char* const text = error();
    return text != nullptr ? text : "the dynamic linker does not say why";
}

}  // namespace plait::inline PLAIT_ABI::os
