// expect: plait: a shared_ptr cannot share across processes
// SPDX-License-Identifier: MIT
#include <plait/multiprocessing/codec.hpp>

#include <memory>

auto write(const std::shared_ptr<int>& number) { return plait::multiprocessing::encode(number); }
