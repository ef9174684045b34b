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
#include <optional>
#include <span>
#include <vector>

// What tells two builds apart: the linker's own mark where it leaves one (a build-id), else a hash of what no run of the
// program changes. Both are the same in memory and in the file.

namespace plait::inline PLAIT_ABI::os {

using ImageIdentity = std::array<std::byte, 16>;

namespace detail {

using namespace plait::detail;

/// The build-id among the notes in `bytes`, whose parts begin at multiples of `alignment`. False where there is none.
inline bool find_build_id(std::span<const std::byte> bytes, std::size_t alignment, ImageIdentity& identity) noexcept {
    // Passes `size` bytes, which are there, and their padding, of which the last may be missing.
    std::size_t at = 0;
    const auto pass = [&](std::size_t size) {
        at += size;
        at = (std::min)((at + alignment - 1) / alignment * alignment, bytes.size());
    };
    ElfW(Nhdr) note;
    while (bytes.size() - at >= sizeof note) {
        std::memcpy(&note, bytes.data() + at, sizeof note);
        const std::byte* const name = bytes.data() + at + sizeof note;
        if (note.n_namesz > bytes.size() - at - sizeof note) return false;
        pass(sizeof note + note.n_namesz);
        if (note.n_descsz > bytes.size() - at) return false;
        if (note.n_type == NT_GNU_BUILD_ID && note.n_descsz != 0 && note.n_namesz == 4 &&
            std::memcmp(name, "GNU", 4) == 0) {
            std::memcpy(identity.data(), bytes.data() + at, (std::min<std::size_t>)(note.n_descsz, identity.size()));
            return true;
        }
        pass(note.n_descsz);
    }
    return false;
}

/// FNV-1a, eight bytes a step; the shift lets every bit reach every other. AddressSanitizer keeps out: between constants
/// are bytes that it lets nobody read.
__attribute__((no_sanitize("address"))) inline std::uint64_t hash_more(std::uint64_t hash,
                                                                       std::span<const std::byte> bytes) noexcept {
    const std::byte* at = bytes.data();
    const std::byte* const end = at + bytes.size();
    while (at != end) {
        std::uint64_t word = 0;
        for (unsigned shift = 0; shift < 64 && at != end; shift += 8)
            word |= std::uint64_t{static_cast<unsigned char>(*at++)} << shift;
        hash = (hash ^ word) * 0x100000001B3;
        hash ^= hash >> 32;
    }
    return hash;
}

/// `content(segment)` gives what of a segment stands in the file: empty where that cannot be had.
template <class Content>
ImageIdentity identity_of(std::span<const ElfW(Phdr)> segments, Content content) {
    ImageIdentity identity{};
    for (const ElfW(Phdr) & segment : segments) {
        if (segment.p_type != PT_NOTE) continue;
        const auto bytes = content(segment);
        if (find_build_id(bytes, segment.p_align == 8 ? 8 : 4, identity)) return identity;
    }
    std::uint64_t hash = 0xCBF29CE484222325;
    std::uint64_t length = 0;
    for (const ElfW(Phdr) & segment : segments) {
        if (segment.p_type != PT_LOAD || (segment.p_flags & PF_W) != 0 || (segment.p_flags & PF_R) == 0) continue;
        const auto bytes = content(segment);
        hash = hash_more(hash, bytes);
        length += bytes.size();
    }
    std::memcpy(identity.data(), &hash, sizeof hash);
    std::memcpy(identity.data() + sizeof hash, &length, sizeof length);
    return identity;
}

/// `read(offset, size)` gives an optional vector of bytes. Nothing where the file is no library of this architecture.
template <class Read>
std::optional<ImageIdentity> identity_of_file(Read read) {
    ElfW(Ehdr) header;
    const auto start = read(0, sizeof header);
    if (!start) return std::nullopt;
    std::memcpy(&header, start->data(), sizeof header);
    constexpr unsigned char word_size = sizeof(void*) == 8 ? ELFCLASS64 : ELFCLASS32;
    if (std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 || header.e_ident[EI_CLASS] != word_size ||
        header.e_phentsize != sizeof(ElfW(Phdr)))
        return std::nullopt;
    std::vector<ElfW(Phdr)> segments(header.e_phnum);
    const auto table = read(header.e_phoff, segments.size() * sizeof(ElfW(Phdr)));
    if (!table || table->empty()) return std::nullopt;
    std::memcpy(segments.data(), table->data(), table->size());
    return identity_of(std::span<const ElfW(Phdr)>{segments}, [&](const ElfW(Phdr) & segment) {
        return read(segment.p_offset, static_cast<std::size_t>(segment.p_filesz)).value_or(std::vector<std::byte>{});
    });
}

}  // namespace detail
}  // namespace plait::inline PLAIT_ABI::os
