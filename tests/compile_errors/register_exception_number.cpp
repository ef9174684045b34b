// expect: plait: an exception is registered by its class
// SPDX-License-Identifier: MIT
#include <plait/multiprocessing/register_exception.hpp>

void prepare() { plait::multiprocessing::register_exception<int>(); }
