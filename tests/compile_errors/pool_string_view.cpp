// expect: plait: a string_view cannot be decoded, for it would view characters that nobody owns: use std::string
// SPDX-License-Identifier: MIT
#include <plait/multiprocessing/pool.hpp>

#include <string_view>

int length(std::string_view name);

int call(plait::multiprocessing::Pool& pool) { return pool.apply(length, "Bob"); }
