// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace plait::inline PLAIT_ABI::multiprocessing::detail {

/// How the compiler spells `NamedType`, for the text of errors, without RTTI. Not the same from one compiler to another.
template <class NamedType>
[[nodiscard]] constexpr std::string_view type_name() {
    std::string_view text = plait::detail::signature_naming<NamedType>();
    constexpr std::string_view key = "NamedType = ";
    const std::size_t begin = text.find(key);
    if (begin == std::string_view::npos) return "a value";
    text.remove_prefix(begin + key.size());
    std::size_t depth = 0;
    for (std::size_t i = 0; i < text.size(); ++i) {
        const char c = text[i];
        if (depth == 0 && (c == ';' || c == ']')) return text.substr(0, i);
        if (c == '<' || c == '(' || c == '[' || c == '{') ++depth;
        if (depth > 0 && (c == '>' || c == ')' || c == ']' || c == '}')) --depth;
    }
    return text;
}

/// Of a type's name, say: the same in every start of one program.
constexpr std::uint64_t hash_of(std::string_view text) {
    std::uint64_t hash = 0xCBF29CE484222325;  // FNV-1a
    for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001B3;
    return hash;
}

}  // namespace plait::inline PLAIT_ABI::multiprocessing::detail
