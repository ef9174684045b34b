// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>

#include <cxxabi.h>

#include <cstdlib>
#include <string>
#include <string_view>
#include <typeinfo>

namespace plait::inline PLAIT_ABI::os {

inline const char* current_exception_type() noexcept {
    const std::type_info* const type = abi::__cxa_current_exception_type();
    return type != nullptr ? type->name() : nullptr;
}

inline std::string readable_type(const char* name) {
    if (name == nullptr) return "an unknown type";
    int status = 0;
    char* const text = abi::__cxa_demangle(name, nullptr, nullptr, &status);
    std::string result = status == 0 && text != nullptr ? text : name;
    std::free(text);
    // What std::throw_with_nested throws has a name of the library's own around the programmer's.
    for (const std::string_view wrapper : {"std::_Nested_exception<", "std::__1::__nested<", "std::__nested<"})
        if (result.starts_with(wrapper) && result.ends_with('>'))
            return result.substr(wrapper.size(), result.size() - wrapper.size() - 1);
    return result;
}

}  // namespace plait::inline PLAIT_ABI::os
