// SPDX-License-Identifier: MIT
#include "fuzz.hpp"

#include <plait/multiprocessing/freeze_support.hpp>

#include <algorithm>
#include <cstring>
#include <span>
#include <string>
#include <vector>

// A program's arguments: `freeze_support` returns at once, and leaves them as they are, unless they are exactly those
// that plait starts a child with.

void fuzz(std::span<const std::byte> bytes) {
    std::vector<std::string> words;
    while (!bytes.empty()) {
        const unsigned choice = support::choose(bytes, 8);
        if (choice == 0) {
            words.emplace_back(plait::multiprocessing::detail::child_argument);
        } else {
            const auto text = support::next(bytes, choice * choice);
            std::string word(reinterpret_cast<const char*>(text.data()), text.size());
            words.push_back(word.substr(0, word.find('\0')));
        }
    }
    if (words.size() == 2 && words[1] == plait::multiprocessing::detail::child_argument) words.emplace_back();
    const auto before = words;
    std::vector<char*> arguments;
    for (std::string& word : words) arguments.push_back(word.data());
    arguments.push_back(nullptr);
    plait::multiprocessing::freeze_support(static_cast<int>(words.size()), arguments.data());
    support::require(words == before);
}
