// expect: plait: the arguments do not fit the callable: give one for each parameter
// SPDX-License-Identifier: MIT
#include <plait/multiprocessing/pool.hpp>

#include <string>

int length(const std::string& text);

#if defined(NO_MISTAKE)
int call(plait::multiprocessing::Pool& pool) { return pool.apply(length, "text"); }
#else
int call(plait::multiprocessing::Pool& pool) { return pool.apply(length, "text", 2); }
#endif
