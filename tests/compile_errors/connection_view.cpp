// expect: plait: a string_view cannot be decoded, for it would view characters that nobody owns
// SPDX-License-Identifier: MIT
#include <plait/multiprocessing/connection.hpp>

#include <string>
#include <string_view>

std::string receive(plait::multiprocessing::Connection& end) {
#if defined(NO_MISTAKE)
    return end.recv<std::string>();
#else
    return std::string(end.recv<std::string_view>());
#endif
}
