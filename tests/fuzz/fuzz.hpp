// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/error.hpp>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <span>

// What the targets share. Each defines `fuzz`: it takes any bytes, and throws nothing but what it is documented to throw.

namespace support {

inline std::span<const std::byte> next(std::span<const std::byte>& bytes, std::size_t size) {
    const auto taken = bytes.first(size < bytes.size() ? size : bytes.size());
    bytes = bytes.subspan(taken.size());
    return taken;
}

/// A choice that the input makes.
inline unsigned choose(std::span<const std::byte>& bytes, unsigned choices) {
    const auto taken = next(bytes, 1);
    return taken.empty() ? 0 : std::to_integer<unsigned>(taken[0]) % choices;
}

/// A finding.
inline void require(bool holds) {
    if (!holds) std::abort();
}

/// Runs `function`; whether it did without a CodecError. Any other exception is a finding.
template <class Function>
bool accepts(Function function) {
    try {
        function();
        return true;
    } catch (const plait::CodecError&) {
        return false;
    }
}

}  // namespace support

void fuzz(std::span<const std::byte> bytes);

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    fuzz({reinterpret_cast<const std::byte*>(data), size});
    return 0;
}
