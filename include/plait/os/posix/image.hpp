// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>

#include <elf.h>
#include <link.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace plait::inline PLAIT_ABI::os {

class ExecutableImage {
public:
    [[nodiscard]] std::uintptr_t base() const noexcept { return info_.dlpi_addr; }
    [[nodiscard]] bool contains(std::uintptr_t address, std::size_t size) const noexcept {
        return in_segment(address, size, 0);
    }
    [[nodiscard]] bool contains_code(std::uintptr_t address) const noexcept { return in_segment(address, 1, PF_X); }
    [[nodiscard]] const std::array<std::byte, 16>& identity() const noexcept { return identity_; }

    /// The one of this process.
    static const ExecutableImage& current() {
        static const ExecutableImage image;
        return image;
    }

private:
    ExecutableImage() {
        // The first module that is told is the executable.
        ::dl_iterate_phdr(
            [](dl_phdr_info* info, std::size_t, void* self) {
                static_cast<ExecutableImage*>(self)->info_ = *info;
                return 1;
            },
            this);
        if (!read_build_id()) hash_segments();
    }

    template <class Function>
    void for_each_segment(std::uint32_t type, Function function) const {
        for (std::size_t i = 0; i < info_.dlpi_phnum; ++i)
            if (info_.dlpi_phdr[i].p_type == type) function(info_.dlpi_phdr[i]);
    }

    [[nodiscard]] bool in_segment(std::uintptr_t address, std::size_t size, std::uint32_t flags) const noexcept {
        bool found = false;
        for_each_segment(PT_LOAD, [&](const ElfW(Phdr) & segment) {
            const std::uintptr_t begin = info_.dlpi_addr + segment.p_vaddr;
            if ((segment.p_flags & flags) == flags && address >= begin && size <= segment.p_memsz &&
                address - begin <= segment.p_memsz - size)
                found = true;
        });
        return found;
    }

    /// The linker's own mark of the build, where it leaves one.
    bool read_build_id() noexcept {
        bool found = false;
        for_each_segment(PT_NOTE, [&](const ElfW(Phdr) & segment) {
            const auto* at = reinterpret_cast<const std::byte*>(info_.dlpi_addr + segment.p_vaddr);
            const std::byte* const end = at + segment.p_memsz;
            while (static_cast<std::size_t>(end - at) >= sizeof(ElfW(Nhdr))) {
                ElfW(Nhdr) note;
                std::memcpy(&note, at, sizeof note);
                const std::byte* const name = at + sizeof note;
                const std::byte* const text = name + (note.n_namesz + 3U) / 4U * 4U;
                if (note.n_type == NT_GNU_BUILD_ID && note.n_namesz == 4 && std::memcmp(name, "GNU", 4) == 0) {
                    std::memcpy(identity_.data(), text, (std::min<std::size_t>)(note.n_descsz, identity_.size()));
                    found = true;
                }
                at = text + (note.n_descsz + 3U) / 4U * 4U;
            }
        });
        return found;
    }

    void hash_segments() noexcept {
        // FNV-1a, eight bytes a step, over what no run of the program changes.
        std::uint64_t hash = 0xCBF29CE484222325;
        std::uint64_t length = 0;
        for_each_segment(PT_LOAD, [&](const ElfW(Phdr) & segment) {
            if ((segment.p_flags & PF_W) != 0 || (segment.p_flags & PF_R) == 0) return;
            const auto* const bytes = reinterpret_cast<const std::byte*>(info_.dlpi_addr + segment.p_vaddr);
            for (std::size_t at = 0; at + sizeof hash <= segment.p_filesz; at += sizeof hash) {
                std::uint64_t word = 0;
                std::memcpy(&word, bytes + at, sizeof word);
                hash = (hash ^ word) * 0x100000001B3;
            }
            length += segment.p_filesz;
        });
        std::memcpy(identity_.data(), &hash, sizeof hash);
        std::memcpy(identity_.data() + sizeof hash, &length, sizeof length);
    }

    dl_phdr_info info_{};
    std::array<std::byte, 16> identity_{};
};

inline const ExecutableImage& executable_image() { return ExecutableImage::current(); }

}  // namespace plait::inline PLAIT_ABI::os
