// expect: plait: a string_view cannot be decoded, for it would view characters that nobody owns: use std::string
// SPDX-License-Identifier: MIT
#include <plait/multiprocessing/process.hpp>

#include <string_view>

void greet(std::string_view name);

void start() { plait::multiprocessing::Process child(greet, "Bob"); }
