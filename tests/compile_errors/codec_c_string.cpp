// expect: plait: a pointer cannot cross to another process, where its address means nothing
// SPDX-License-Identifier: MIT
#include <plait/multiprocessing/codec.hpp>

#include <map>
#include <string>
#include <vector>

auto write(const std::map<std::string, std::vector<const char*>>& texts) {
    return plait::multiprocessing::encode(texts);
}
