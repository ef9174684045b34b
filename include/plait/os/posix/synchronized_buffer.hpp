// SPDX-License-Identifier: MIT
#pragma once

#include <plait/core/config.hpp>

#include <ext/stdio_sync_filebuf.h>

#include <cstdio>
#include <cstring>
#include <streambuf>

namespace plait::inline PLAIT_ABI::os {

// The table of virtual functions of the buffer that libstdc++ gives a stream which is synchronised with C's. A buffer is
// known by it without RTTI.
extern char synchronized_buffer_table[] __asm__("_ZTVN9__gnu_cxx18stdio_sync_filebufIcSt11char_traitsIcEEE");

inline bool is_of_standard_stream(std::streambuf& buffer) noexcept {
    const char* table = nullptr;
    std::memcpy(&table, static_cast<const void*>(&buffer), sizeof table);
    // An object points behind the offset and the type that the table begins with.
    if (table != synchronized_buffer_table + 2 * sizeof(void*)) return false;
    const std::FILE* const file = static_cast<__gnu_cxx::stdio_sync_filebuf<char>&>(buffer).file();
    return file == stdout || file == stderr;
}

}  // namespace plait::inline PLAIT_ABI::os
